#!/bin/sh
# SPDX-License-Identifier: MIT
# Copyright (c) The confab authors
# sockets_planted.sh LIBCONFAB_INTERNAL: proof that the tests of unix, tcp and udp find what they are there for. Each line below breaks
# one rule, in a copy, and the tests named must fail. The copy's object stands before the library, whose own is then left out.
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
for name in harness storm conversation; do
        compile "$root/tests/$name.c" "$name.o"
done
for name in unix unix_name unix_descriptors tcp udp; do
        compile "$root/tests/unit/transport_${name}_test.c" "$name.o"
done

missed=0
while IFS='	' read -r source test only what edit; do
        sed "$edit" "$root/$source" >planted.c
        if cmp -s planted.c "$root/$source"; then
                echo "NO PLANT: $what ($source has changed: bring the line up to date)"
                missed=1
                continue
        fi
        compile planted.c planted.o
        ${CC:-gcc} planted.o "$test.o" conversation.o harness.o storm.o "$library" -pthread -lrt -o "planted_$test"
        if "./planted_$test" --only "$only" >out 2>&1; then
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
src/transport/unix_name.c	unix_name	a_locked*	the folder is not locked	s/flock(fd, LOCK_EX | LOCK_NB) < 0/0/
src/transport/unix_name.c	unix_name	a_starter*	who does not listen yet counts as dead	s/socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)/socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)/
src/transport/unix_name.c	unix_name	mode_is_right*	the file is open to all for a moment	s/fchmod(fd, given_away ? .*) < 0/0/
src/transport/unix_name.c	unix_name	mode_is_what*	the umask is left to itself	s/(st.st_mode \& 07777) == address->mode/1/
src/transport/unix_name.c	unix_name	only_its*	another one's file is removed	s/st.st_ino == held->ino/1/
src/transport/unix_name.c	unix_name	only_its*	a forked child removes the file	s/cfb_owner_is_here(&held->owner)/1/
src/transport/unix_name.c	unix_name	what_is_no_socket*	what is no socket is not looked at	s/if (!S_ISSOCK(before.st_mode))/if (0)/
src/transport/unix_name.c	unix_name	long_paths*	long paths are cut	s/strlen(path) < SUN_PATH_LEN/1/
src/transport/unix.c	unix_descriptors	descriptor_flood	a stream takes a part of the descriptors	s/if (__builtin_expect(header->msg_flags \& MSG_CTRUNC, false))/if (0)/
src/transport/unix.c	unix_descriptors	descriptor_flood	a message takes a part of the descriptors	s/if (header->msg_flags \& MSG_CTRUNC)/if (0)/
src/transport/unix.c	unix	empty_messages*	an empty message is the end	s/n == 0 \&\& !any \&\&/n == 0 \&\&/
src/transport/unix.c	unix_descriptors	descriptors_of_every*	descriptors live through exec	s/MSG_DONTWAIT | MSG_CMSG_CLOEXEC |/MSG_DONTWAIT |/
src/transport/unix.c	unix	a_full_stranger*	a full receiver is polled for	s/direction == CONFAB_SEND \&\& !state->connected/0/
src/transport/socket.c	unix	too_large*	what is dropped in a batch is not told	s/\*pendingp = r;/;/
src/transport/tcp.c	tcp	nobody_meets*	a connection meets itself	s/if (r == 0 \&\& met_itself(/if (0 \&\& met_itself(/
src/transport/tcp.c	tcp	a_listener_takes*	TIME_WAIT keeps the port	s/setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, \&one, sizeof(one)) < 0/0/
src/transport/tcp.c	tcp	both_families*	O_NONBLOCK stays	s/r = cfb_socket_set_blocking(fd);/r = 0;/
src/transport/udp.c	udp	answers_leave*	answers leave from anywhere	s/state->noting = is_everywhere(/state->noting = 0 * is_everywhere(/
src/transport/udp.c	udp	sizes	one byte too many is sent	s/cfb_message_len(message) > MESSAGE_MAX/cfb_message_len(message) > MESSAGE_MAX + 1/
src/core/message.c	unix	batches_on_a_stream	a batch's cut message begins again	s/send_rest(endpoint, message, sent, len, deadline_ns) :/send_rest(endpoint, message, 0, len, deadline_ns) :/
END
exit $missed
