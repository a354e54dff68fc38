#!/bin/sh
# SPDX-License-Identifier: MIT
# Copyright (c) The confab authors
# shm_planted.sh LIBCONFAB_INTERNAL: proof that the tests of shm:// find what they are there for. Each line below breaks one rule, in a copy of
# src/shm and src/transport, and the test named must fail. The copy's objects stand before the library, whose own are then left out.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
library=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
cd "$work"

compile() { # SOURCE OBJECT
        ${CC:-gcc} -std=gnu17 -O1 -g -w -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Icopy -I"$root/include" -I"$root/src" -I"$root/tests" \
                -c "$1" -o "$2"
}
for name in harness storm conversation unit/transport_shm_hostile_test unit/transport_shm_corners_test; do
        compile "$root/tests/$name.c" "$(basename "$name").o"
done

missed=0
while IFS='	' read -r source test only what edit; do
        rm -rf copy
        mkdir -p copy/shm copy/transport
        cp "$root"/src/shm/*.[ch] copy/shm
        cp "$root"/src/transport/shm* copy/transport
        sed "$edit" "$root/src/$source" >"copy/$source"
        if cmp -s "copy/$source" "$root/src/$source"; then
                echo "NO PLANT: $what ($source has changed: bring the line up to date)"
                missed=1
                continue
        fi
        for file in copy/shm/ring.c copy/shm/memory.c copy/transport/shm.c copy/transport/shm_channel.c copy/transport/shm_wait.c; do
                compile "$file" "planted_$(basename "$file" .c).o"
        done
        ${CC:-gcc} planted_*.o "transport_shm_${test}_test.o" conversation.o harness.o storm.o "$library" -pthread -lrt -o run_planted
        if ./run_planted --only "$only" >out 2>&1; then
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
shm/ring.h	hostile	lies_are_told	a length is not held against its slot	s/if (message->len > CFB_RING_INLINE)/if (0)/
shm/ring.h	hostile	lies_are_told	a place is not held against the data	s/if (place >= ring->n_units || .*/if (0)/
shm/ring.c	hostile	lies_are_told	what was given back is believed	s/freed < ring->freed || freed > ring->position/0/
shm/ring.c	hostile	lies_are_told	any stamp is none yet	s/return stamp == before ? 0 : -EPROTO/return 0 * (stamp == before)/
shm/ring.c	corners	one_lent_over_several_moves	two rings' worth is kept	s/while (n < n_slots + n_before)/while (n < n_slots * 2)/
shm/memory.c	hostile	moved_to_wrong*	seals are not looked for	s/(seals \& SEALS) != SEALS/0/
transport/shm_wait.c	hostile	descriptors_where*	descriptors of an empty packet stay	/or an empty packet, which nobody/{n;d}
transport/shm_wait.c	hostile	descriptors_without*	descriptors without messages are kept	s/channel->n_arrivals > 1 \&\&/0 \&\&/
transport/shm_wait.c	corners	last_descriptors*	a reset ends the reading	s/errno == ECONNRESET) {/0) {/
transport/shm_channel.c	hostile	moved_to_wrong*	a ring may grow by a little	s/memory.n_units \/ 2 < channel->receiver.n_units/0/
transport/shm_channel.c	hostile	moved_to_wrong*	any number of slots	s/(memory.n_slots \& (memory.n_slots - 1))/0/
transport/shm_channel.c	corners	descriptors_of_what*	descriptors of what is too large stay	s/if (found->n_descriptors) \/\*.*/if (0)/
END
exit $missed
