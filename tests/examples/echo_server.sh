#!/bin/sh
# SPDX-License-Identifier: MIT
# The echo server: a client that only sends, and meanwhile others of two mechanisms that are served.
. "$(dirname "$0")/common.sh"

# How long the server has been on a processor, in hundredths of a second.
ticks() {
        cut -d' ' -f14,15 "/proc/$pid/stat" | sed 's/ / + /;s/.*/echo $((&))/' | sh
}

for address in tcp://127.0.0.1:0 "unix://$dir/socket"; do
        start server "$bin/echo_server" "$address"
        address=$(line server)
        "$bin/../tests/examples/echo_client" "$address" 40 || die "clients of $address failed"
        before=$(ticks)
        sleep 1 # long enough for one that is busy to show it on processors that are busy
        [ $(($(ticks) - before)) -le 10 ] || die "$address: busy with nobody there"
        kill -TERM "$pid"
        wait "$pid" || die "$address: ended with $?: $(cat "$dir/server.err")"
        : >"$dir/server"
done
[ ! -e "$dir/socket" ] || die "the socket file was left behind"
