#!/bin/sh
# SPDX-License-Identifier: MIT
# A service that hears signals beside datagrams, from the example and from the shell's own kill.
. "$(dirname "$0")/common.sh"
confab=$bin/../confab
start service "$bin/signal_receive" "unix://$dir/socket?type=datagram"
address=$(line service)
[ "$address" = "signal://$pid?signal=USR1,ALRM,TERM,RTMIN+1" ] || die "address: $address"

# says TEXT: the service has printed that line, within 10 s
says() {
        tries=0
        until grep -qx "$1" "$dir/service"; do
                tries=$((tries + 1))
                [ $tries -lt 1000 ] || die "the service did not say '$1': $(cat "$dir/service" "$dir/service.err")"
                sleep 0.01
        done
}

for number in 1 2 -3; do "$bin/signal_send" RTMIN+1 "$pid" "$number"; done
"$confab" send "unix://$dir/socket?type=datagram" hello
says "message: hello"
says "number: -3"
[ "$(grep '^number' "$dir/service" | tr '\n' ' ')" = "number: 1 number: 2 number: -3 " ] || die "$(cat "$dir/service")"
kill -USR1 "$pid"
says "1 came; process $$ asks"
says "still here"
"$bin/signal_send" TERM "$pid"
wait "$pid"
if "$bin/signal_send" TERM "$pid" 2>"$dir/said"; then die "signalled a process that is gone"; fi
grep -q "there is no process $pid" "$dir/said" || die "$(cat "$dir/said")"
if "$bin/signal_send" NONE "$pid" 2>"$dir/said"; then die "sent a signal that is none"; fi
grep -q "NONE: there is no such signal" "$dir/said" || die "$(cat "$dir/said")"
