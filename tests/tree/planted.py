#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""planted.py CHECK [ARGUMENT...]: the check tests/tree/CHECK.py must find nothing in this tree, and something in each plant.

A plant is a folder tests/plants/CHECK/NAME: a small tree with one fault in it, and the file "expect", a line the check must print.
A check is called with the root of the tree it looks at, then the arguments, and exits with 1 if it found something.
"""
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(check, root, arguments):
    done = subprocess.run([sys.executable, ROOT / "tests/tree" / (check + ".py"), root, *arguments],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return done.returncode, done.stdout


def main(check, arguments):
    passed = failed = 0
    status, output = run(check, ROOT, arguments)
    if status == 0:
        passed += 1
    else:
        failed += 1
        print(f"FAIL {check} finds in this tree:\n{output}")
    plants = sorted(p for p in (ROOT / "tests/plants" / check).iterdir() if p.is_dir())
    for plant in plants:
        expected = (plant / "expect").read_text().strip()
        status, output = run(check, plant, arguments)
        if status == 1 and expected in output:
            passed += 1
        else:
            failed += 1
            print(f"FAIL {check} on {plant.name}: exit status {status}, expected \"{expected}\", got:\n{output}")
    if not plants:
        failed += 1
        print(f"FAIL {check}: no plant: nobody has seen it fail")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
