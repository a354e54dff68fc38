#!/bin/sh
# SPDX-License-Identifier: MIT
# README's program: the same one over four mechanisms, and what it says when nobody is there.
. "$(dirname "$0")/common.sh"
confab=$bin/../confab

[ "$("$bin/readme")" = hello ] || die "stdio: not hello"
for address in "unix://$dir/hello" "unix://$dir/datagram?type=datagram" "fifo://$dir/fifo" "mq:///confab-readme-$$"; do
        start receiver "$confab" receive --listen --count 1 "$address"
        tries=0
        until "$bin/readme" "$address" 2>"$dir/why"; do
                tries=$((tries + 1))
                [ $tries -lt 1200 ] || die "$address: $(cat "$dir/why")"
                sleep 0.05
        done
        wait "$pid" || die "$address: the receiver: $(cat "$dir/receiver.err")"
        [ "$(cat "$dir/receiver")" = hello ] || die "$address: received $(cat "$dir/receiver")"
done
"$bin/readme" "unix://$dir/nobody" 2>"$dir/why" && die "sent to nobody"
grep -q "$dir/nobody" "$dir/why" || die "does not say to whom: $(cat "$dir/why")"
