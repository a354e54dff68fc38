#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""listed.py ROOT: every source and test is built: it stands in a meson.build, and that one is reached from the root's."""
import pathlib
import re
import sys


def reached(root, folder):
    """The text of every meson.build that the one in @folder reaches, and the folders."""
    text = (folder / "meson.build").read_text()
    yield folder, text
    for name in re.findall(r"^\s*subdir\('([^']+)'\)", text, re.M):
        yield from reached(root, folder / name)


def faults(root):
    builds = dict(reached(root, root))
    for build in sorted(root.glob("*/**/meson.build")):
        name = build.relative_to(root)
        if not str(name).startswith(("build", "tests/plants")) and build.parent not in builds:
            yield f"{name}: nobody calls subdir() for it"
    text = "\n".join(builds.values())
    for path in sorted([*root.glob("src/**/*.c"), *root.glob("tests/*/*.c"), *root.glob("tests/**/*.sh"),
                        *root.glob("examples/**/*.c")]):
        stem = path.stem.removesuffix("_test").removeprefix("slides_")
        if path.name == "common.sh" or "tests/plants" in str(path.relative_to(root)):
            continue
        if not re.search(rf"'(?:[^'\n]*/)?{re.escape(stem)}(?:_test)?(?:\.\w+)*'", text):
            yield f"{path.relative_to(root)}: in no meson.build that is reached"


if __name__ == "__main__":
    found = list(faults(pathlib.Path(sys.argv[1])))
    print("\n".join(found))
    sys.exit(bool(found))
