#!/bin/sh
# SPDX-License-Identifier: MIT
# Row B5: document S4's concurrent server; a client that holds its connection does not keep another waiting, and no process stays.
. "$(dirname "$0")/common.sh"

# A port that nobody has: the echo server asks the kernel for one and gives it back; if somebody else takes it meanwhile, another one.
tries=0
until [ -n "${listens-}" ]; do
        tries=$((tries + 1))
        [ $tries -le 20 ] || die "no server: $(cat "$dir/server.err")"
        : >"$dir/port"
        start port "$bin/echo_server" tcp://127.0.0.1:0
        port=$(line port)
        port=${port##*:}
        kill "$pid"
        wait "$pid" || :
        start server "$bin/mysocks/mysocks_server" "$port"
        server=$pid
        # without a word the client only connects
        until "$bin/mysocks/mysocks_client" 127.0.0.1 "$port" 2>/dev/null; do
                kill -0 "$server" 2>/dev/null || break
                sleep 0.02
        done
        ! kill -0 "$server" 2>/dev/null || listens=yes
done

# One that is connected and silent: confab, its input open.
mkfifo "$dir/input"
start idle sh -c 'exec "$1" relay stdio:// "$2" <"$3"' sh "$bin/../confab" "tcp://127.0.0.1:$port" "$dir/input"
idle=$pid
exec 9>"$dir/input"
printf first >&9
line idle >/dev/null
wants FIRST "$dir/idle"

"$bin/mysocks/mysocks_client" localhost "$port" one "two words" "" >"$dir/client" || die "client: $(cat "$dir/client")"
printf 'ONE\nTWO WORDS\n' | cmp - "$dir/client" || die "the client printed: $(cat "$dir/client")"
printf second >&9
exec 9>&-
patient
while kill -0 "$idle" 2>/dev/null; do
        waits "the silent one never sees the end"
done
wait "$idle" || die "the silent one: $(cat "$dir/idle.err")"
wants FIRSTSECOND "$dir/idle"

# Both clients have ended: so have their processes.
patient
while [ -n "$(cat "/proc/$server/task/$server/children")" ]; do
        waits "children stay: $(cat "/proc/$server/task/$server/children")"
done

if "$bin/mysocks/mysocks_server" "$port" 2>"$dir/why"; then die "two servers on one port"; fi
grep -qi "in use" "$dir/why" || die "does not say why: $(cat "$dir/why")"
kill "$server"
wait "$server" 2>/dev/null || :
if "$bin/mysocks/mysocks_client" 127.0.0.1 0 x 2>"$dir/why"; then die "connected to port 0"; fi
grep -q "client: " "$dir/why" || die "does not say why: $(cat "$dir/why")"
