#!/bin/sh
# SPDX-License-Identifier: MIT
. "$(dirname "$0")/common.sh"
"$bin/pipeline" "printf 'b\na\nb\n' | cut -c1-8 | sort | uniq | wc -l" >"$dir/out" 2>"$dir/told"
wants 2 "$dir/out"
[ "$(grep -c 'ended with status 0$' "$dir/told")" -eq 5 ] || die "not every stage was told of: $(cat "$dir/told")"
"$bin/pipeline" "sh -c 'kill -9 \$\$' | cat" 2>"$dir/told"
[ "$(sed 's/process [0-9]*/process N/' "$dir/told" | head -n 1)" = "sh: process N ended with signal 9" ] || die "$(cat "$dir/told")"
