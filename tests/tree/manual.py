#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""manual.py ROOT: the manual is whole.

Each public function has a page of section 3 with its name in the NAME line, each mechanism and each command its page, each page is
built without a word of scdoc's, each reference leads to a page there is, and every C program in a page compiles without a warning.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

COMMENT = re.compile(r"/\*.*?\*/", re.S)
DECLARATION = re.compile(r"^(?:CONFAB|MYSOCKS)_API\b[^;(]*?\b(\w+)\s*\(", re.M)
TRANSPORT = re.compile(r'^const struct cfb_transport \w+ = \{.*?\.scheme = "(\w+)"', re.M | re.S)


def programs(text):
    """The literal blocks of a page that are whole programs, as a reader of the page sees them."""
    for block in re.findall(r"^```\n(.*?)^```$", text, re.M | re.S):
        if "int main(" in block:
            yield re.sub(r"\\(.)", r"\1", block)


def compiles(root, program):
    with tempfile.NamedTemporaryFile("w", suffix=".c") as source:
        source.write(program)
        source.flush()
        return subprocess.run(["cc", "-std=gnu17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", root / "include",
                               source.name], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def faults(root):
    pages = {path.name.removesuffix(".scd"): path.read_text() for path in (root / "man").glob("*.scd")}
    functions = sorted({name for header in (root / "include").rglob("*.h")
                        for name in DECLARATION.findall(COMMENT.sub("", header.read_text()))})
    named = set()
    for page, text in sorted(pages.items()):
        summary = re.search(r"^# NAME\n\n(.*?) - ", text, re.M | re.S)
        if not summary:
            yield f"man/{page}.scd: no NAME section of the form 'name - what it is'"
            continue
        if page.endswith(".3"):
            named |= set(re.split(r",\s*", summary[1]))
        done = subprocess.run(["scdoc"], input=text, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        if done.returncode or done.stderr:
            yield f"man/{page}.scd: scdoc: {done.stderr.strip()}"
        for program in programs(text):
            done = compiles(root, program)
            if done.returncode:
                yield f"man/{page}.scd: its program does not compile: {done.stdout}"
    for name in functions:
        if name not in named:
            yield f"{name}: in the NAME line of no page of section 3"
    for source in sorted((root / "src/transport").glob("*.c")):
        for scheme in TRANSPORT.findall(source.read_text()):
            if f"confab-{scheme}.7" not in pages:
                yield f"{scheme}://: no page man/confab-{scheme}.7.scd"
    for source in sorted((root / "src/cli").glob("cmd_*.c")):
        command = source.stem.removeprefix("cmd_")
        if f"confab-{command}.1" not in pages:
            yield f"confab {command}: no page man/confab-{command}.1.scd"
    for page, text in sorted(pages.items()):
        for name, section in re.findall(r"\*(confab[\w-]*)\*\((\d)\)", text):
            if f"{name}.{section}" not in pages and not (section == "3" and name in named):
                yield f"man/{page}.scd: refers to {name}({section}), which is not there"


if __name__ == "__main__":
    found = list(faults(pathlib.Path(sys.argv[1])))
    print("\n".join(dict.fromkeys(found)))
    sys.exit(bool(found))
