#!/bin/sh
# SPDX-License-Identifier: MIT
# Row B4: the slides' client and server and ours, all four combinations; and that the slides' own lines are theirs, letter by letter.
. "$(dirname "$0")/common.sh"
source=$here/../../examples/s0

slides_are_theirs "$source/slides_client.c" 43be9ca59aece93490118ded1d82f50feaf061119606effedfab7d90190f24cf
slides_are_theirs "$source/slides_server.c" e0be65ea39c0e41fa7d91d1811a137c300b1f036ea58d667e4bfc9d3547e163b

# A port that nobody has: the echo server asks the kernel for one and gives it back.
free_port() {
        start port "$bin/echo_server" tcp://127.0.0.1:0
        address=$(line port)
        kill "$pid"
        wait "$pid" || :
        : >"$dir/port"
        S0_PORT=${address##*:}
        export S0_PORT
}

for server in server slides_server; do
        free_port
        : >"$dir/server"
        start server "$bin/s0/s0_$server"
        for client in client slides_client client; do
                end=$(($(date +%s) + 60))
                until "$bin/s0/s0_$client" 127.0.0.1 "$S0_PORT" >"$dir/client" 2>"$dir/client.err"; do
                        # it may not listen yet
                        [ "$(date +%s)" -lt $end ] || die "$client with $server: $(cat "$dir/client.err" "$dir/server.err")"
                        sleep 0.02
                done
                grep -q '^sent hello from the client$' "$dir/client" || die "$client with $server: $(cat "$dir/client")"
                grep -q '^received hello from the server$' "$dir/client" || die "$client with $server: $(cat "$dir/client")"
        done
        kill "$pid"
        wait "$pid" 2>/dev/null || :
        [ "$(grep -c '^client sent hello from the client$' "$dir/server")" = 3 ] || die "$server: $(cat "$dir/server")"
        [ "$(grep -c '^server sending hello from the server$' "$dir/server")" = 3 ] || die "$server: $(cat "$dir/server")"
done
