#!/bin/sh
# SPDX-License-Identifier: MIT
# Every frame once and whole, small and large ones; the sum over all pixels stands for what was drawn.
. "$(dirname "$0")/common.sh"
frames() { # what it prints for $1 frames of $2 by $3
        awk -v n="$1" -v size="$(($2 * $3))" 'BEGIN {
                for (i = 1; i <= n; i++) for (p = 0; p < size; p++) sum += (p + i) % 256
                printf "%d frames, %d in all\n", n, sum }'
}
for shape in "0 16 17" "1 16 17" "1000 16 17" "20 640 479"; do
        "$bin/shared_frames" $shape >"$dir/out" 2>"$dir/err" || die "shared_frames $shape: $(cat "$dir/err")"
        wants "$(frames $shape)" "$dir/out"
        wants "" "$dir/err"
done
