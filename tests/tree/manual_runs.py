#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""manual_runs.py ROOT BUILD_FOLDER COMPILER...: the manual against the library (manual.py: the manual by itself).

Every C program in a page is linked with the library and run: it ends with 0 within 10 s. Every symbol of the map stands in the SYNOPSIS of its
section 3 page, and every name such a page has is declared in a header.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

REAL = pathlib.Path(__file__).resolve().parents[2]


def programs(text):
    """The literal blocks of a page that are whole programs, as a reader of the page sees them."""
    for block in re.findall(r"^```\n(.*?)^```$", text, re.M | re.S):
        if "int main(" in block:
            yield re.sub(r"\\(.)", r"\1", block)


def fault_of(program, build, compiler):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "example.c").write_text(program)
        built = subprocess.run([*compiler, "-I", REAL / "include", folder / "example.c", "-o", folder / "example",
                                "-L", build, "-lmysocks", "-lconfab", f"-Wl,-rpath,{build}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if built.returncode:
            return f"cannot be built:\n{built.stdout}"
        try:
            ran = subprocess.run([folder / "example"], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, errors="replace", timeout=10)
        except subprocess.TimeoutExpired:
            return "did not end within 10 s"
        return f"ended with {ran.returncode}:\n{ran.stdout}" if ran.returncode else None


def section(text, name):
    found = re.search(rf"^# {name}\n(.*?)(?:^# |\Z)", text, re.S | re.M)
    return found[1] if found else ""


def faults(root, build, compiler):
    pages = {path.stem: path.read_text() for path in sorted((root / "man").glob("*.scd"))}
    named = {name.strip(): page for page, text in pages.items() if page.endswith(".3")
             for name in section(text, "NAME").split(" - ")[0].split(",")}
    for page, text in pages.items():
        for number, program in enumerate(programs(text), 1):
            fault = fault_of(program, build, compiler)
            if fault:
                yield f"{page}: program {number} {fault}"
    headers = "".join(path.read_text() for path in (REAL / "include").rglob("*.h"))
    for name, page in named.items():
        if not re.search(rf"\b{name}\b", headers):
            yield f"{page}: names {name}, which no header declares"
        elif re.search(rf"^(?:CONFAB|MYSOCKS)_API [^;]*\b{name}\(", headers, re.M) and f"{name}(" not in section(pages[page], "SYNOPSIS"):
            yield f"{name}: not in the SYNOPSIS of {page}"


if __name__ == "__main__":
    found = list(faults(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve(), sys.argv[3:]))
    print("\n".join(found))
    sys.exit(bool(found))
