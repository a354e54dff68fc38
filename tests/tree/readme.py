#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""readme.py ROOT: the program in README.md is examples/readme.c, and every file README.md points at is there."""
import pathlib
import re
import sys


def faults(root):
    text = (root / "README.md").read_text()
    program = (root / "examples/readme.c").read_text()
    program = program[program.index("#include"):]
    if f"```c\n{program}```" not in text:
        yield "README.md: its program is not examples/readme.c"
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target and not (root / target).exists():
            yield f"README.md: points at {target}, which is not there"


if __name__ == "__main__":
    found = list(faults(pathlib.Path(sys.argv[1])))
    print("\n".join(found))
    sys.exit(bool(found))
