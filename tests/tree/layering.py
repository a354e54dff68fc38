#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""layering.py ROOT: a folder of src includes only itself and folders printed above it; the command only installed headers."""
import pathlib
import re
import sys

FOLDERS = "base shm sync wire loop core mailbox process transport rpc rpcgen web inspect compat cli".split()
# docs/architecture.md: the compiler of .x files links base only; these commands may see what they drive.
ONLY = {"rpcgen": {"base", "rpcgen"}, "cli": {"cli"}}
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]', re.M)


def faults(root):
    for path in sorted(root.glob("src/**/*.[ch]")):
        folder = path.relative_to(root / "src").parts[0]
        if folder not in FOLDERS:
            yield f"{path.relative_to(root)}: the folder {folder} is not in the list of tests/tree/layering.py"
            continue
        allowed = ONLY.get(folder) or set(FOLDERS[: FOLDERS.index(folder) + 1])
        for kind, name in INCLUDE.findall(path.read_text()):
            where = f"{path.relative_to(root)}: includes {name}"
            if kind == "<" and not name.startswith("confab/"):
                continue
            if kind == "<":
                if not (root / "include" / name).exists():
                    yield f"{where}, which is not installed"
            elif "/" not in name and folder == "cli" and (path.parent / name).exists():
                continue  # the compiler itself sees nothing else: its include path is include/ and src/cli/
            elif "/" not in name:
                yield f"{where} without its folder"
            elif name.split("/")[0] not in allowed:
                yield f"{where}, which lies above {folder}"
    for path in sorted(root.glob("include/**/*.h")):
        for kind, name in INCLUDE.findall(path.read_text()):
            if kind == '"':
                yield f"{path.relative_to(root)}: includes {name}, which is not installed"


if __name__ == "__main__":
    found = list(faults(pathlib.Path(sys.argv[1])))
    print("\n".join(found))
    sys.exit(bool(found))
