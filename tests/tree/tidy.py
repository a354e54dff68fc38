#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""tidy.py ROOT BUILD: clang-tidy finds nothing that .clang-tidy asks for in any C file, and nobody has silenced it.

A file that BUILD does not compile gets the flags of the one most like it (clang does that). That each file was read is taken from clang-tidy's
own record, not from its silence.
"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

FOLDERS = ("include", "src", "tests", "examples", "fuzz", "bench")
# Plants, and what is letter by letter as the slides have it, so that nobody may mend it (slides_* too).
LEFT_OUT = ("tests/plants/", "examples/s0/")


def ours(root):
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.[ch]")):
            name = str(path.relative_to(root))
            if not name.startswith(LEFT_OUT) and not path.name.startswith("slides_"):
                yield path


def tidy(build, path):
    """(what clang-tidy says of the file, whether it read it)"""
    with tempfile.TemporaryDirectory() as record:
        done = subprocess.run(["clang-tidy", "-p", ".", "--quiet", "--enable-check-profile", "--store-check-profile=" + record, path],
                              cwd=build, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        read = [(build / json.loads(p.read_text())["file"]).resolve() for p in pathlib.Path(record).iterdir()]
    said = done.stdout if done.returncode == 0 or done.stdout else done.stderr
    return said, path in read


def main(root, build):
    files = list(ours(root))
    sources = [p for p in files if p.suffix == ".c"]
    faults = [f"{p.relative_to(root)}: NOLINT silences a finding: mend the code, or turn the check off in .clang-tidy with the reason"
              for p in files if "NOLINT" in p.read_text()]
    n_read = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, (said, read) in zip(sources, pool.map(lambda p: tidy(build, p), sources)):
            n_read += read
            if not read:
                faults.append(f"{path.relative_to(root)}: clang-tidy did not read it: {said[:200]}")
                continue
            # A finding in a header comes once for each file that includes it.
            faults += [finding for finding in re.split(r"^(?=\S+:\d+:\d+: (?:warning|error): )", said, flags=re.M) if finding.strip()]
    print("\n".join(dict.fromkeys(faults)))
    print(f"clang-tidy read {n_read} of {len(sources)} files")
    return 1 if faults or not sources else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()))
