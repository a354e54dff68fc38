#!/bin/sh
# SPDX-License-Identifier: MIT
# Copyright (c) The confab authors
# manual_keys.sh PRINT_KEYS [--write]: every key of the table stands in confab-address(7), with its values, its meaning and the mechanisms
# that have it. --write brings the page up to date.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
page=$root/man/confab-address.7.scd
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
"$1" >"$work/is"
sed -n '/^; keys begin/,/^; keys end/p' "$page" | sed '1d;$d' >"$work/written"
[ -s "$work/written" ] || { echo "$page has no lines '; keys begin' and '; keys end'"; exit 1; }
if [ "${2-}" = --write ]; then
        sed -e "/^; keys begin/r $work/is" -e '/^; keys begin/,/^; keys end/{/^; keys/!d}' "$page" >"$work/page"
        cat "$work/page" >"$page"
        exit 0
fi
diff -u "$work/written" "$work/is" && exit 0
echo "confab-address(7) and the table of keys differ: run tests/manual_keys.sh BUILD/tests/print_keys --write"
exit 1
