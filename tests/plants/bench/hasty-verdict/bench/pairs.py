# SPDX-License-Identifier: MIT
"""The tree's own."""
import pathlib

_own = pathlib.Path(__file__).resolve().parents[5] / "bench/pairs.py"
exec(compile(_own.read_text(), str(_own), "exec"))


def verdict(row, needed):
    return "met" if row["ratio"] >= needed else "**missed**"
