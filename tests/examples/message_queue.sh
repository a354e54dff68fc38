#!/bin/sh
# SPDX-License-Identifier: MIT
# The most urgent job first, by priority and by type; nothing stays.
. "$(dirname "$0")/common.sh"
for address in "mq:///confab-example-$$" "sysv://$((0x5e000000 + $$))"; do
        "$bin/message_queue" "$address" >"$dir/out" || die "message_queue $address failed"
        printf 'put out the fire\ncook\nsweep\n' | cmp - "$dir/out" || die "$address gave: $(cat "$dir/out")"
        "$bin/message_queue" "$address" >"$dir/out" || die "a queue was left behind: $address"
done
if "$bin/message_queue" mq://wrong 2>"$dir/err"; then die "took a name without its slash"; fi
grep -q "position 6" "$dir/err" || die "no position: $(cat "$dir/err")"
