#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""symbols.py ROOT LIBRARY...: each library's exports, its map (src/libNAME.map) and the declarations marked NAME_API are the same list.

Where ROOT has a file "exports" (a plant; of another library than libconfab: "exports-NAME"), its lines stand for what the library exports.
"""
import pathlib
import re
import subprocess
import sys

COMMENT = re.compile(r"/\*.*?\*/", re.S)


def exports_of(root, name, library):
    planted = root / ("exports" if name == "confab" else "exports-" + name)
    if planted.exists():
        return set(planted.read_text().split())
    listing = subprocess.run(["nm", "-D", "--defined-only", library], stdout=subprocess.PIPE, text=True, check=True)
    return {line.split()[-1].split("@")[0] for line in listing.stdout.splitlines() if " A " not in line}


def faults(root, library):
    name = re.match(r"lib(\w+)\.so", pathlib.Path(library).name)[1]
    if not (root / f"src/lib{name}.map").exists():
        return  # a plant of another library
    declaration = re.compile(rf"^{name.upper()}_API\b[^;(]*?\b(\w+)\s*\(", re.M)
    declared = {function for header in (root / "include").rglob("*.h")
                for function in declaration.findall(COMMENT.sub("", header.read_text()))}
    mapped = set(re.findall(r"^\s+(\w+);", (root / f"src/lib{name}.map").read_text(), re.M))
    exported = exports_of(root, name, library)
    for symbol in sorted(declared | mapped | exported):
        if name == "confab" and not symbol.startswith("confab_"):
            yield f"{symbol}: a public name must begin with confab_"
        for where, names in ((f"declared {name.upper()}_API", declared), (f"in src/lib{name}.map", mapped), ("exported", exported)):
            if symbol not in names:
                yield f"{symbol}: not {where}"
    if not declared:
        yield f"lib{name}: no declaration"


if __name__ == "__main__":
    found = [fault for library in sys.argv[2:] for fault in faults(pathlib.Path(sys.argv[1]), library)]
    print("\n".join(found))
    sys.exit(bool(found))
