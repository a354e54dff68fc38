#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""symbols.py ROOT LIBRARY...: each library's exports, its map (src/libNAME.map) and the declarations marked NAME_API are the same list;
and it calls nothing that answers from storage all threads share.

Where ROOT has a file "exports" (a plant; of another library than libconfab: "exports-NAME"), its lines stand for what the library exports;
"imports" likewise for what it calls.
"""
import pathlib
import re
import subprocess
import sys

# Each with another that is safe: cfb_errno_text, the forms with _r, getaddrinfo, getrandom.
SHARED = {"strerror", "strsignal", "strtok", "localtime", "gmtime", "ctime", "asctime", "getpwnam", "getpwuid", "getgrnam", "getgrgid",
          "gethostbyname", "getservbyname", "getprotobyname", "ttyname", "ptsname", "tmpnam", "rand", "random", "setlocale"}
COMMENT = re.compile(r"/\*.*?\*/", re.S)


def symbols_of(root, what, which, name, library):
    planted = root / (what if name == "confab" else f"{what}-{name}")
    if planted.exists():
        return set(planted.read_text().split())
    listing = subprocess.run(["nm", "-D", which, library], stdout=subprocess.PIPE, text=True, check=True)
    return {line.split()[-1].split("@")[0] for line in listing.stdout.splitlines() if " A " not in line}


def faults(root, library):
    name = re.match(r"lib(\w+)\.so", pathlib.Path(library).name)[1]
    if not (root / f"src/lib{name}.map").exists():
        return  # a plant of another library
    declaration = re.compile(rf"^{name.upper()}_API\b[^;(]*?\b(\w+)\s*\(", re.M)
    declared = {function for header in (root / "include").rglob("*.h")
                for function in declaration.findall(COMMENT.sub("", header.read_text()))}
    mapped = set(re.findall(r"^\s+(\w+);", (root / f"src/lib{name}.map").read_text(), re.M))
    exported = symbols_of(root, "exports", "--defined-only", name, library)
    for symbol in sorted(declared | mapped | exported):
        if name == "confab" and not symbol.startswith("confab_"):
            yield f"{symbol}: a public name must begin with confab_"
        for where, names in ((f"declared {name.upper()}_API", declared), (f"in src/lib{name}.map", mapped), ("exported", exported)):
            if symbol not in names:
                yield f"{symbol}: not {where}"
    for symbol in sorted(SHARED & symbols_of(root, "imports", "--undefined-only", name, library)):
        yield f"{symbol}: lib{name} calls it, and threads share what it returns"
    if not declared:
        yield f"lib{name}: no declaration"


if __name__ == "__main__":
    found = [fault for library in sys.argv[2:] for fault in faults(pathlib.Path(sys.argv[1]), library)]
    print("\n".join(found))
    sys.exit(bool(found))
