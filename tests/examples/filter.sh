#!/bin/sh
# SPDX-License-Identifier: MIT
# The filter, started with its first client, ended when idle, started with the next.
. "$(dirname "$0")/common.sh"

start service "$bin/../confab" run --service "unix://$dir/filter" --model prefork --workers 1 --on-demand -- \
        "$bin/filter" casino
appears "$dir/filter"
for life in 1 2; do
        printf 'hello\nplay in our casino\n' | "$bin/../confab" relay stdio:// "unix://$dir/filter" >"$dir/verdicts"
        wants 'accept
reject: casino' "$dir/verdicts"
        sleep 1.5 # it has ended by itself by now, on most days: either way the next one is served
done
kill -TERM "$pid"
wait "$pid" || die "ended with $?: $(cat "$dir/service.err")"
[ ! -e "$dir/filter" ] || die "the socket file was left behind"
