#!/bin/sh
# SPDX-License-Identifier: MIT
# A named pipe between strangers: two of ours, and one that knows nothing of us.
. "$(dirname "$0")/common.sh"
start reader "$bin/named_pipe_reader" "$dir/fifo"
appears "$dir/fifo"
"$bin/named_pipe_writer" "$dir/fifo" one "two words" ""
wait "$pid"
printf 'one\ntwo words\n\n' | cmp - "$dir/reader" || die "the reader printed: $(cat "$dir/reader")"
[ ! -e "$dir/fifo" ] || die "the pipe was left behind"

start stranger "$bin/named_pipe_reader" "$dir/fifo"
appears "$dir/fifo"
echo hello >"$dir/fifo"
wait "$pid"
wants hello "$dir/stranger"

if "$bin/named_pipe_writer" "$dir/none" x 2>"$dir/err"; then die "wrote to nothing"; fi
grep -q "$dir/none" "$dir/err" || die "the refusal does not name the path: $(cat "$dir/err")"
