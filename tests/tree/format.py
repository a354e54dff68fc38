#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""format.py ROOT: every C file is as clang-format leaves it (./run format)."""
import pathlib
import subprocess
import sys

FOLDERS = ("include", "src", "tests", "examples", "fuzz", "bench")


def main(root):
    files = [p for folder in FOLDERS for p in sorted((root / folder).rglob("*.[ch]"))
             if not str(p.relative_to(root)).startswith("tests/plants") and not p.name.startswith("slides_")]  # as the slides have them
    if not files:
        print("no C files")
        return 1
    done = subprocess.run(["clang-format", "--dry-run", "-Werror", *files],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print("\n".join(line for line in done.stdout.splitlines() if ": error:" in line))
    return 1 if done.returncode else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
