#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""build/confab demo | docs/img/table.py >docs/img/demo.svg: a table of the command's as a picture, light or dark as the page is."""
import html
import sys

lines = sys.stdin.read().rstrip("\n").split("\n")
width, height = max(map(len, lines)) * 8 + 32, len(lines) * 19 + 28
print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">')
print("<title>What ./run demo prints at its end</title>")
print("<style>rect{fill:#f6f8fa}text{font:13px monospace;fill:#1f2328;white-space:pre}.head{font-weight:bold}"
      "@media(prefers-color-scheme:dark){rect{fill:#161b22}text{fill:#e6edf3}}</style>")
print(f'<rect width="{width}" height="{height}" rx="8"/>')
for i, line in enumerate(lines):
    head = ' class="head"' if i == 0 else ""
    print(f'<text x="16" y="{27 + i * 19}" xml:space="preserve" textLength="{len(line) * 8}"{head}>{html.escape(line)}</text>')
print("</svg>")
