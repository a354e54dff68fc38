#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""bench.py ROOT: what bench/pairs.py says of known samples is right, and each bench/NAME has its place in docs/performance.md, in the help of
./run, and explains itself."""
import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True


def load(path):
    spec = importlib.util.spec_from_file_location("pairs", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page_after(pairs, rows):
    with tempfile.TemporaryDirectory() as folder:
        page = os.path.join(folder, "page.md")
        with open(page, "w") as file:
            file.write("before\n<!-- bench/x writes from here -->\nold\n<!-- bench/x: to here -->\nafter\n")
        pairs.write("x", rows, 0.5, page)
        with open(page) as file:
            return file.read()


def faults_of_pairs(pairs):
    order = []
    ours, theirs = pairs.take(12, lambda: order.append("o") or 4.0, lambda: order.append("t") or 2.0)
    if "".join(order) != "otto" * 6 or len(ours) != 12:
        yield "bench/pairs.py: the order of the pairs is " + "".join(order)
    row = pairs.figure("f", "p", "MB/s", ours, theirs, True)
    if (row["ratio"], row["value"], row["ours"], row["interval"]) != (2.0, 2.0, 4.0, [2.0, 2.0]):
        yield "bench/pairs.py: higher is better, and yet %s" % row
    if pairs.figure("f", "p", "s", ours, theirs, False)["ratio"] != 0.5:
        yield "bench/pairs.py: lower is better, and yet the ratio is not theirs to ours"
    low, high = pairs.interval([1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0])
    if not (1.0 < low < 1.5 < high < 2.0):
        yield "bench/pairs.py: the interval %s to %s" % (low, high)
    for interval, expected in (([1.0, 1.2], "met"), ([0.9, 1.2], "not decided"), ([0.8, 0.9], "**missed**")):
        if pairs.verdict({"interval": interval, "ratio": 1.1}, 1.0) != expected:
            yield "bench/pairs.py: %s against 1.0 is %s" % (interval, pairs.verdict({"interval": interval, "ratio": 1.1}, 1.0))
    page = page_after(pairs, [(row, 1.5)])
    if not page.startswith("before\n<!--") or not page.endswith("-->\nafter\n") or "old" in page or "| met |" not in page:
        yield "bench/pairs.py: writes the page as\n" + page


def faults(root):
    page = (root / "docs/performance.md").read_text()
    usage = (root / "run").read_text()
    yield from faults_of_pairs(load(root / "bench/pairs.py"))
    for bench in sorted(p for p in (root / "bench").iterdir() if p.is_file() and os.access(p, os.X_OK)):
        for mark in ("<!-- bench/%s writes from here -->\n", "<!-- bench/%s: to here -->\n"):
            if page.count(mark % bench.name) != 1:
                yield "docs/performance.md: the line %s" % (mark % bench.name).strip()
        if bench.name not in usage:
            yield "run: its help does not name bench/" + bench.name
        done = subprocess.run([bench, "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode or "--json" not in done.stdout:
            yield "bench/%s --help: %s" % (bench.name, done.stdout)


if __name__ == "__main__":
    found = list(faults(pathlib.Path(sys.argv[1])))
    print("\n".join(found))
    sys.exit(bool(found))
