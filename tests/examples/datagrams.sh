#!/bin/sh
# SPDX-License-Identifier: MIT
# The receiver and the sender of datagrams, over udp and over unix sockets; and a sender whom nobody answers.
. "$(dirname "$0")/common.sh"
start udp "$bin/datagram_receiver" udp://127.0.0.1:0 2
address=$(line udp)
for text in one two; do
        "$bin/datagram_sender" "$address" "$text" >"$dir/answer"
        wants "answer: thank you" "$dir/answer"
done
wait "$pid"
grep -q '^from udp://127.0.0.1:[0-9]*: one$' "$dir/udp" || die "udp: $(cat "$dir/udp")"
grep -q '^from udp://127.0.0.1:[0-9]*: two$' "$dir/udp" || die "udp: $(cat "$dir/udp")"

start unix "$bin/datagram_receiver" "unix://$dir/socket?type=datagram" 1
address=$(line unix)
"$bin/datagram_sender" "$address" three >"$dir/answer"
wants "answer: thank you" "$dir/answer"
wait "$pid"
grep -q '^from unix://.*: three$' "$dir/unix" || die "unix: $(cat "$dir/unix")"
[ ! -e "$dir/socket" ] || die "the socket file was left behind"
