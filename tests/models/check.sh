#!/bin/sh
# SPDX-License-Identifier: MIT
# Copyright (c) The confab authors
# check.sh: the models of src/shm, by spin. Each line: verdict expected, model, its settings, what it is. A broken variant that passes proves that
# the model looks at nothing, and fails this test as a sound one that does not hold would.
set -u
models=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
cd "$work" || exit 1
command -v spin >/dev/null || { echo "spin is missing (Debian: spin)"; exit 1; }

failed=0
while IFS='	' read -r expected model settings what; do
        # shellcheck disable=SC2086 # settings are words
        if ! spin -a $settings "$models/$model.pml" >out 2>&1 || ! ${CC:-gcc} -O1 -w -DSAFETY -DVECTORSZ=4096 -o pan pan.c >>out 2>&1; then
                cat out
                exit 1
        fi
        ./pan -m1000000 >out 2>&1
        if ! grep -q 'errors:' out || grep -q 'error: max search depth\|out of memory' out; then
                cat out
                echo "NOT DECIDED: $model: $what"
                failed=1
                continue
        fi
        if grep -q 'errors: 0' out; then verdict=holds; else verdict=broken; fi
        states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' out)
        if [ "$verdict" = "$expected" ]; then
                echo "$verdict, as it should: $model: $what ($states states)"
        else
                cat out
                echo "$verdict, but expected $expected: $model: $what"
                failed=1
        fi
done <<'END'
holds	park	-DSLEEPER_FENCE=2 -DWAKER_FENCE=0	membarrier by the sleeper, none by the waker
holds	park	-DSLEEPER_FENCE=1 -DWAKER_FENCE=1	each for itself
holds	park	-DSLEEPER_FENCE=2 -DWAKER_FENCE=1	the waker does not know yet that both are registered
holds	park	-DSLEEPER_FENCE=2 -DWAKER_FENCE=0 -DDEADLINE	the same with deadlines
broken	park	-DSLEEPER_FENCE=1 -DWAKER_FENCE=0	no fence by the waker, and no membarrier
broken	park	-DSLEEPER_FENCE=0 -DWAKER_FENCE=1	no fence by the sleeper
broken	park	-DSLEEPER_FENCE=2 -DWAKER_FENCE=0 -DLOOK_FIRST=1	looks before it arms
broken	park	-DSLEEPER_FENCE=2 -DWAKER_FENCE=0 -DPOKE_LAST=1	the interrupter pokes before it says why
END
exit $failed
