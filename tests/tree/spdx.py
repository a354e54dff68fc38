#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""spdx.py ROOT: every source file says its licence, and C files whose they are."""
import pathlib
import sys

# Generated, foreign, or not ours to write in; data needs none.
SKIPPED = ("build", "tests/plants", "seeds", "third-party")
SUFFIXES = {".c", ".h", ".py", ".sh", ".build", ".ini"}


def faults(root):
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if name.startswith(SKIPPED) or ".git/" in name or not path.is_file() or path.is_symlink():
            continue
        try:
            head = path.read_bytes()[:400].decode(errors="replace")
        except OSError as error:
            yield f"{name}: {error}"
            continue
        script = head.startswith("#!")
        if path.suffix not in SUFFIXES and path.name != "meson_options.txt" and not script:
            continue
        if "SPDX-License-Identifier: " not in head:
            yield f"{name}: no SPDX-License-Identifier line"
        if path.suffix in {".c", ".h"} and "Copyright (c) The confab authors" not in head:
            yield f"{name}: no copyright line"


if __name__ == "__main__":
    found = list(faults(pathlib.Path(sys.argv[1])))
    print("\n".join(found))
    sys.exit(bool(found))
