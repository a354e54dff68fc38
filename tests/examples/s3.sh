#!/bin/sh
# SPDX-License-Identifier: MIT
# Document S3's examples of signals, the slides' own and ours: both stop, go on, ignore SIGINT, and wake for the alarm; then SIGINT ends them.
. "$(dirname "$0")/common.sh"
slides_are_theirs "$here/../../examples/s3/slides_signals.c" 4169e71cfb93c4d79c698f38cff309c3d7e58d376b56842243de9627361fe988

for program in slides_signals signals; do
        S3_SECONDS=1 start "$program" "$bin/s3/s3_$program"
        line "$program" >/dev/null
        state "$pid" T
        kill -CONT "$pid"
        wait "$pid" || die "$program ended with $?: $(cat "$dir/$program")"
        for said in "$pid stops" continued "SIGINT ignored" alarm; do
                grep -qxF "$said" "$dir/$program" || die "$program does not say '$said': $(cat "$dir/$program")"
        done
done
grep -q "SIGKILL" "$dir/signals" || die "not a word of what cannot be caught: $(cat "$dir/signals")"

# The default is back: a process that a shell started in the background has SIGINT ignored, hence the interactive one.
terminal
for program in slides_signals signals; do
        clears
        types "S3_SECONDS=300 $bin/s3/s3_$program" Enter
        patient
        until stopped=$(screen | sed -n 's/^\([0-9]*\) stops$/\1/p') && [ -n "$stopped" ]; do
                waits "does not stop: $(screen)"
        done
        state "$stopped" T
        sees '$'
        types fg Enter
        sees "SIGINT ignored"
        patient
        while [ -e "/proc/$stopped" ]; do # it may not have set the default back when the first one comes
                types "" C-c
                waits "SIGINT does not end $program: $(screen)"
        done
        ! screen | grep -qx alarm || die "$program did not end by SIGINT: $(screen)"
done
