#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Adds up Meson's test logs: tally.py [--row NOTE] LOG.json...

Every test program of ours ends in the line "N passed, N failed, N skipped" and prints "skip NAME: reason" for each skip; one
without that line counts as one test. A skip that tests/allowed-skips does not allow is a failure. The last line is the sum.
With --row only that line is printed, with the log's name and NOTE: the matrix's progress.
"""
import fnmatch
import json
import pathlib
import re
import sys

COUNTS = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", re.M)
SKIP = re.compile(r"^skip ([^:\n]+): (.*)$", re.M)


def allowed_skips(path):
    """Lines of "ROW PROGRAM/TEST reason": the first two as shell patterns, the reason as the program prints it."""
    for line in path.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            yield line.split(None, 2)


def is_allowed(rules, row, name, reason):
    return any(
        fnmatch.fnmatchcase(row, rule[0]) and fnmatch.fnmatchcase(name, rule[1]) and rule[2] in reason for rule in rules
    )


def count(test, row, rules, say):
    """(passed, failed, skipped) of one Meson test."""
    output = test.get("stdout") or ""
    name = test["name"].split(" / ")[-1]
    found = COUNTS.findall(output)
    skips = SKIP.findall(output)
    if test["result"] == "EXPECTEDFAIL":  # a plant that was found
        return 1, 0, 0
    if found:
        passed, failed, skipped = map(int, found[-1])
    elif test["result"] == "SKIP":
        passed, failed, skipped = 0, 0, 1
        skips = [("", (output.strip().splitlines() or ["no reason given"])[-1])]
    else:
        passed, failed, skipped = int(test["result"] == "OK"), 0, 0
    if test["result"] not in ("OK", "SKIP") and not failed:
        failed = 1
    if failed:
        say(f"{row}: {name}: {test['result']}")
        lines = (output + (test.get("stderr") or "")).splitlines()
        wanted = [i for i, line in enumerate(lines) if re.match("FAIL|not ok", line)]
        for i in wanted or range(max(0, len(lines) - 15), len(lines)):
            say("    " + lines[i])
            for line in lines[i + 1 : i + 9] if wanted else []:
                if re.match("FAIL|ok |skip ", line) or COUNTS.match(line):
                    break
                say("    " + line)
    refused = [s for s in skips if not is_allowed(rules, row, f"{name}/{s[0]}", s[1])]
    refused += [("?", "skipped without a reason")] * (skipped - len(skips))
    for skip in refused:
        say(f"{row}: {name}/{skip[0]}: skipped, which tests/allowed-skips does not allow: {skip[1]}")
    return passed, failed + len(refused), skipped - len(refused)


def main(arguments):
    note = None
    if arguments[:1] == ["--row"]:
        note, arguments = arguments[1], arguments[2:]
    rules = list(allowed_skips(pathlib.Path(__file__).with_name("allowed-skips")))
    total = [0, 0, 0]
    per_row = {}
    for log in map(pathlib.Path, arguments):
        counts = [0, 0, 0]
        for line in log.read_text().splitlines():
            test = json.loads(line)
            for i, n in enumerate(count(test, log.stem, rules, print if note is None else lambda text: None)):
                counts[i] += n
        per_row[log.stem] = counts
        total = [a + b for a, b in zip(total, counts)]
    words = "{} passed, {} failed, {} skipped".format(*total)
    print(f"{arguments and pathlib.Path(arguments[0]).stem}: {words} ({note})" if note is not None else words)
    return 1 if total[1] or not total[0] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
