#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""rows.py ROOT BUILD: docs/rows.md says what docs/rows.tsv says, and every function, command, page, example and test in it exists.
rows.py --write: writes docs/rows.md.

That a test of a row really ran is the tally's affair: a skip that tests/allowed-skips does not allow counts as failed there.
Where ROOT has a file "tests" (a plant), its lines are the names of the tests there are.
"""
import fnmatch
import json
import pathlib
import re
import subprocess
import sys

HOME = pathlib.Path(__file__).resolve().parents[2]
HEAD = """# FEATURES row by row

Written by `./run docs` from `docs/rows.tsv`; `./run check` fails when one of these does not exist, differs, or has a test that is skipped without leave.

| row | system | functions | commands | manual | examples | tests |
| --- | --- | --- | --- | --- | --- | --- |
"""


def rows(root):
    for line in (root / "docs/rows.tsv").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            row, system, *lists = line.split("\t")
            yield [row, system] + [[word.strip() for word in words.split(",")] for words in lists]


def page(root):
    text = HEAD
    for row, system, functions, commands, pages, examples, tests in rows(root):
        cells = [row, system, ", ".join(f"`{f}`" for f in functions), ", ".join(f"`confab {c}`" for c in commands),
                 ", ".join(f"[{p}](../man/{p}.scd)" for p in pages), ", ".join(f"[{e}](../examples/{e})" for e in examples),
                 ", ".join(f"`{t}`" for t in tests)]
        text += "| " + " | ".join(cells) + " |\n"
    return text


def all_tests(root, build):
    """Meson's names, and PROGRAM/TEST for each test inside a program of ours."""
    if (root / "tests").is_file():
        return (root / "tests").read_text().split()
    listing = subprocess.run(["meson", "introspect", "--tests", build], stdout=subprocess.PIPE, check=True).stdout
    names = []
    for test in json.loads(listing):
        names.append(test["name"])
        program = pathlib.Path(test["cmd"][0])
        # Only what was built has --list: a script would take it for an argument, and run.
        if program.is_file() and program.is_relative_to(build) and program.stem.removesuffix("_test") == test["name"]:
            inside = subprocess.run([program, "--list"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            names += [f"{test['name']}/{line}" for line in inside.stdout.splitlines()] if inside.returncode == 0 else []
    return names


def faults(root, build):
    headers = "".join(path.read_text() for path in (root / "include").rglob("*.h"))
    tests = all_tests(root, build)
    for row, _, functions, commands, pages, examples, wanted in rows(root):
        for name in functions:
            if not re.search(rf"^(?:CONFAB|MYSOCKS)_API\b[^;]*?\b{name}\s*\(", headers, re.M):
                yield f"{row}: there is no function {name}"
        for name in commands:
            if not (root / f"src/cli/cmd_{name}.c").exists():
                yield f"{row}: there is no command confab {name}"
        for name in pages:
            if not (root / f"man/{name}.scd").exists():
                yield f"{row}: there is no manual page {name}"
        for name in examples:
            if not (root / "examples" / name).exists():
                yield f"{row}: there is no example {name}"
        for pattern in wanted:
            if not fnmatch.filter(tests, pattern):
                yield f"{row}: there is no test {pattern}"
    if (root / "docs/rows.md").read_text() != page(root):
        yield "docs/rows.md is not what docs/rows.tsv says: ./run docs"


if __name__ == "__main__":
    if sys.argv[1] == "--write":
        (HOME / "docs/rows.md").write_text(page(HOME))
        sys.exit(0)
    found = list(faults(pathlib.Path(sys.argv[1]), sys.argv[2]))
    print("\n".join(found))
    sys.exit(bool(found))
