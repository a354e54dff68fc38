#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""uncalled.py ROOT: every function of a Python program is run: a test without its @test, or two of one name, would pass unseen."""
import ast
import pathlib
import sys

SKIPPED = ("build", "tests/plants", "seeds", "third-party")


def programs(root):
    """(name, syntax tree) of every Python file."""
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if name.startswith(SKIPPED) or "/." in "/" + name or not path.is_file():
            continue
        with open(path, "rb") as file:
            is_python = path.suffix == ".py" or b"python" in file.readline(80).partition(b"#!")[2]
        if is_python:
            yield name, ast.parse(path.read_bytes(), name)


def names_in(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name


def is_test(function):
    return any(isinstance(d, ast.Name) and d.id == "test" for d in function.decorator_list)


def faults(root):
    trees = list(programs(root))
    # What a function says of itself does not call it: names are counted, and its own taken off.
    used = {}
    for _, tree in trees:
        for name in names_in(tree):
            used[name] = used.get(name, 0) + 1
    for program, tree in trees:
        seen = {}
        for function in tree.body:
            if not isinstance(function, ast.FunctionDef):
                continue
            name = function.name
            if name in seen:
                yield f"{program}:{function.lineno}: a second function {name} takes the place of line {seen[name]}'s"
            seen[name] = function.lineno
            if not is_test(function) and used.get(name, 0) <= sum(n == name for n in names_in(function)):
                yield f"{program}:{function.lineno}: nobody calls {name}; a test needs @test"


if __name__ == "__main__":
    found = list(faults(pathlib.Path(sys.argv[1])))
    print("\n".join(found))
    sys.exit(bool(found))
