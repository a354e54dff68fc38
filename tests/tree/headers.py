#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""headers.py ROOT: each installed header compiles alone, as C11, C17 and C++, with gcc and clang, without a warning."""
import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tempfile

COMPILERS = [
    (compiler, language, standard)
    for compilers, language, standards in (
        (("gcc", "clang"), "c", ("c11", "c17", "gnu17")),
        (("g++", "clang++"), "c++", ("c++11", "c++17")),
    )
    for compiler in compilers
    for standard in standards
]


def compile_alone(root, header, compiler, language, standard):
    """Twice in a row, so that its guard is tested as well; the function uses what the header defines inline."""
    with tempfile.NamedTemporaryFile("w", suffix=".c") as source:
        source.write(f"#include <{header}>\n#include <{header}>\nint main(void);\nint main(void) {{ return 0; }}\n")
        source.flush()
        done = subprocess.run(
            [compiler, "-x", language, f"-std={standard}", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only",
             "-I", root / "include", source.name],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            return f"{header}: {compiler} -std={standard}: does not compile alone\n{done.stdout[:1500]}"
        return None


def main(root):
    headers = sorted(str(p.relative_to(root / "include")) for p in (root / "include").rglob("*.h"))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [pool.submit(compile_alone, root, header, *c) for header in headers for c in COMPILERS]
    found = [job.result() for job in jobs if job.result()]
    print("\n".join(found))
    return 1 if found or not headers else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
