#!/bin/sh
# SPDX-License-Identifier: MIT
# Copyright (c) The confab authors
# storm_planted.sh LIBCONFAB_INTERNAL: proof that the conformance suite in a storm of signals (tests/storm.h) finds a call that does not go
# on after one. Each line below breaks one such place, in a copy; the case named must fail in the storm, and pass without it.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
library=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
cd "$work"

compile() { # SOURCE OBJECT
        ${CC:-gcc} -std=gnu17 -O1 -g -w -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -I"$root/include" -I"$root/src" -I"$root/tests" \
                -c "$1" -o "$2"
}
objects=
for name in harness storm conversation conformance/conformance conformance/transports conformance/cells conformance/behaviours; do
        object=$(basename "$name").o
        compile "$root/tests/$name.c" "$object"
        objects="$objects $object"
done

missed=0
while IFS='	' read -r source only what edit; do
        sed "$edit" "$root/$source" >planted.c
        if cmp -s planted.c "$root/$source"; then
                echo "NO PLANT: $what ($source has changed: bring the line up to date)"
                missed=1
                continue
        fi
        compile planted.c planted.o
        ${CC:-gcc} planted.o $objects "$library" -pthread -lrt -o planted
        if ! ./planted --only "$only" >out 2>&1; then
                cat out
                echo "NO STORM NEEDED: $what"
                missed=1
        elif HARNESS_STORM_HZ=10000 ./planted --only "$only" >out 2>&1; then
                echo "MISSED: $what"
                missed=1
        elif grep -q '^FAIL' out; then
                echo "found: $what"
        else
                cat out
                echo "NOT RUN: $what"
                missed=1
        fi
done <<'END'
src/core/wait.c	unix-stream/nothing_to_receive	a wait for one endpoint ends with the signal	s/if (r == -EINTR)/if (0)/
src/core/wait.c	tcp/waiting_for_two	a wait for several ends with the signal	s/if (n == -EINTR)/if (0)/
src/transport/sysv.c	sysv/interrupted_by_handler	a blocked msgrcv ends with the signal	s/if (r != -EINTR)/if (1)/
END
exit $missed
