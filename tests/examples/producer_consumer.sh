#!/bin/sh
# SPDX-License-Identifier: MIT
# Every item once, through a buffer that is smaller than all of them.
. "$(dirname "$0")/common.sh"
for n in 0 1 10000; do
        "$bin/producer_consumer" $n >"$dir/out"
        grep -qx "the consumer used $n items, $((n * (n + 1) / 2)) in all" "$dir/out" || die "$n: $(cat "$dir/out")"
        grep -qE "^the producer made $n items and (had to wait|never waited)$" "$dir/out" || die "$n: $(cat "$dir/out")"
done
