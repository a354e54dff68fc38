#!/bin/sh
# SPDX-License-Identifier: MIT
# Copyright (c) The confab authors
# locks_planted.sh LIBCONFAB_INTERNAL: proof that the tests of locks find what they are there for. Each line below breaks one rule, in a
# copy, and the test named must fail. The copy's object stands before the library, whose own is then left out.
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
for name in harness storm; do
        compile "$root/tests/$name.c" "$name.o"
done
compile "$root/tests/unit/sync_file_lock_test.c" test.o

missed=0
while IFS='	' read -r source only what edit; do
        sed "$edit" "$root/src/sync/$source" >planted.c
        if cmp -s planted.c "$root/src/sync/$source"; then
                echo "NO PLANT: $what ($source has changed: bring the line up to date)"
                missed=1
                continue
        fi
        compile planted.c planted.o
        ${CC:-gcc} planted.o test.o harness.o storm.o "$library" -pthread -lrt -o planted
        if ./planted --only "$only" >out 2>&1; then
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
file_lock.c	what_is_no*	what others may release counts as the thread's	s/lock->flags \& (CONFAB_LOCK_ANY_THREAD | CONFAB_LOCK_INHERIT)/0/
deadlock.c	what_is_no*	readers stand in each other's way	s/(lock->exclusive || wanted->exclusive)/1/
deadlock.c	what_is_no*	other bytes stand in the way	s/cfb_ranges_meet(\&lock->range, \&wanted->range)/1/
deadlock.c	two_that_upgrade*	a waiting handle holds nothing	s/if (holds == waits ||/if (holds->waiter ||/
deadlock.c	a_circle_of_two*	who is the later one is turned round	s/is_later(search, edge->waits_board, edge->waits_note)/(i == 0)/
file_lock.c	a_child_keeps*	a forked child keeps the descriptor	s/if (lock->foreign)/if (0)/
lock.c	a_forked_child*	a forked child has its parent's lock	s/lock->foreign = .*;/lock->foreign = false;/
file_lock.c	a_replaced*	a replaced file is not noticed	s/status.st_ino == state->inode/1/
file_lock.c	names*	symbolic links are followed	s/: O_NOFOLLOW;/: 0;/
file_lock.c	a_created*	the mode is left to the umask	s/fchmod(fd, state->mode) < 0/0/
file_lock.c	deadlines*	the holder is not asked for	s/first->holder = \*holder;/;/
holders.c	holders_of*	other programs' descriptors are not looked at	s/each_number("\/proc", ask_process, \&search);/;/
holders.c	holders_of*	the end is told as a byte	s/== CFB_LOCK_END ? 0$/== 0 ? 0/
lock.c	one_thread*	two threads at once	s/atomic_compare_exchange_strong(\&lock->busy, \&nobody, 1)/(nobody = 0, 1)/
lock.c	interrupt*	an interrupt is forgotten	s/atomic_fetch_add(\&lock->interrupts, 1);/;/
END
exit $missed
