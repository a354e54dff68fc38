# SPDX-License-Identifier: MIT
# Copyright (c) The confab authors
"""What every bench/NAME shares: interleaved pairs, the interval of their median ratio, one JSON object a figure, the page.

A bench is a file bench/NAME with one generator of rows for each figure (or family of figures):

    def fork(options):
        ours, theirs = pairs.take(options.rounds, run_ours, run_theirs)
        yield pairs.figure("fork and exec", "posix_spawn", "us", ours, theirs, higher_is_better=False)

    pairs.main("process", __doc__, {"fork": (0.95, fork)})

`./run bench NAME` runs it. Ratio is above 1 where ours is better. The number is the bound the ratio must reach: it is met when the
whole 95 % interval lies above it, missed when the whole interval lies below, else not decided.
"""
import argparse
import datetime
import json
import os
import platform
import random
import statistics
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(ROOT, "docs", "performance.md")
LEAST = 11
RESAMPLES = 4000


def take(rounds, ours, theirs):
    """Runs both, each at least 11 times, in turn; every second pair theirs first, so that a machine growing slower or faster
    favours neither. Each returns one value; the two lists."""
    a, b = [], []
    for i in range(max(LEAST, rounds)):
        for run, kept in ([(ours, a), (theirs, b)] if i % 2 == 0 else [(theirs, b), (ours, a)]):
            kept.append(run())
    return a, b


def interval(ratios):
    """The 95 % interval of the median, by the bootstrap; the same figures from the same samples, every time."""
    draw = random.Random(1)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(RESAMPLES))
    return [round(medians[RESAMPLES * 25 // 1000], 4), round(medians[RESAMPLES * 975 // 1000 - 1], 4)]


def figure(name, peer, unit, ours, theirs, higher_is_better):
    """One row from the two lists of a peer's run."""
    ratios = [x / y if higher_is_better else y / x for x, y in zip(ours, theirs)]
    return {"figure": name, "peer": peer, "value": round(statistics.median(theirs), 6), "unit": unit,
            "ours": round(statistics.median(ours), 6), "ratio": round(statistics.median(ratios), 4), "interval": interval(ratios)}


def verdict(row, needed):
    """A row without an interval (a size, a count) is decided by its ratio."""
    if needed is None:
        return "-"
    low, high = row["interval"] or (row["ratio"], row["ratio"])
    return "met" if low >= needed else "**missed**" if high < needed else "not decided"


def cells(row, needed):
    return [row["figure"], row["peer"], "{:,}".format(row["value"]), "{:,}".format(row["ours"]), row["unit"], "%.3f" % row["ratio"],
            "%.3f to %.3f" % tuple(row["interval"]) if row["interval"] else "-", "-" if needed is None else "%.2f" % needed,
            verdict(row, needed)]


HEADING = ["figure", "peer", "peer's", "ours", "unit", "ratio", "95 % interval", "needed", ""]


def table(rows):
    lines = [HEADING, ["---"] * len(HEADING)] + [cells(row, needed) for row, needed in rows]
    return "".join("| %s |\n" % " | ".join(line) for line in lines)


def machine():
    with open("/proc/cpuinfo") as file:
        cpu = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), platform.machine())
    how = {os.SCHED_FIFO: ", all under SCHED_FIFO"}.get(os.sched_getscheduler(0), "")
    return "%s, %d processors, Linux %s%s" % (cpu, os.cpu_count(), platform.release(), how)


def write(name, rows, load, page=PAGE):
    """Puts the table between bench/NAME's two marks in the page; the rest of the page is written by people."""
    begin, end = "<!-- bench/%s writes from here -->\n" % name, "<!-- bench/%s: to here -->\n" % name
    with open(page) as file:
        text = file.read()
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        sys.exit("bench/%s: %s needs the lines\n%s%s" % (name, page, begin, end))
    head, tail = text[:text.index(begin)], text[text.index(end):]
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    with open(page, "w") as file:
        file.write("%s%s%s, %s; load before: %.2f.\n\n%s%s" % (head, begin, date, machine(), load, table(rows), tail))


def main(name, doc, figures, add_options=None):
    """@figures: word -> (bound or None, generator of rows taking the options)."""
    load = os.getloadavg()[0]
    parser = argparse.ArgumentParser(prog="bench/" + name, description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object a figure, a line each")
    parser.add_argument("--confab", default=os.path.join(ROOT, "build", "confab"), help="the command to measure (build/confab)")
    parser.add_argument("--rounds", type=int, default=LEAST, help="pairs of a figure; at least, and unless said, %d" % LEAST)
    parser.add_argument("--only", default=",".join(figures), help="some of: " + ",".join(figures))
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    if add_options:
        add_options(parser)
    options = parser.parse_args()
    options.rounds = max(LEAST, options.rounds)
    rows = []
    for word in options.only.split(","):
        if word not in figures:
            parser.error("no figure %s; there are %s" % (word, ", ".join(figures)))
        needed, run = figures[word]
        for row in run(options):
            rows.append((row, needed))
            print(json.dumps(row) if options.json else "  ".join(cells(row, needed)), flush=True)
    if options.write:
        write(name, rows, load)
    return 0
