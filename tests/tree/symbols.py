#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""symbols.py ROOT LIBRARY: the library's exports, src/libconfab.map and the CONFAB_API declarations are the same list.

Where ROOT has a file "exports" (a plant), its lines stand for what the library exports.
"""
import pathlib
import re
import subprocess
import sys

DECLARATION = re.compile(r"^CONFAB_API\b[^;(]*?\b(\w+)\s*\(", re.M)
COMMENT = re.compile(r"/\*.*?\*/", re.S)


def main(root, library):
    declared = {name for header in (root / "include").rglob("*.h")
                for name in DECLARATION.findall(COMMENT.sub("", header.read_text()))}
    mapped = set(re.findall(r"^\s+(\w+);", (root / "src/libconfab.map").read_text(), re.M))
    if (root / "exports").exists():
        exported = set((root / "exports").read_text().split())
    else:
        listing = subprocess.run(["nm", "-D", "--defined-only", library], stdout=subprocess.PIPE, text=True, check=True)
        exported = {line.split()[-1].split("@")[0] for line in listing.stdout.splitlines() if " A " not in line}
    found = []
    for name in sorted(declared | mapped | exported):
        if not name.startswith("confab_"):
            found.append(f"{name}: a public name must begin with confab_")
        for where, names in (("declared CONFAB_API", declared), ("in src/libconfab.map", mapped), ("exported", exported)):
            if name not in names:
                found.append(f"{name}: not {where}")
    print("\n".join(found))
    return 1 if found or not declared else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]), sys.argv[2]))
