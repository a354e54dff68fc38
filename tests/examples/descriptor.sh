#!/bin/sh
# SPDX-License-Identifier: MIT
# A descriptor passed: the file is gone from the file system before it is read.
. "$(dirname "$0")/common.sh"
echo "what is in the file" >"$dir/file"
start receiver "$bin/descriptor_receiver" "unix://$dir/socket"
appears "$dir/socket"
"$bin/descriptor_sender" "unix://$dir/socket" "$dir/file"
rm "$dir/file"
wait "$pid"
wants "what is in the file" "$dir/receiver"
wants "user $(id -u) passed $dir/file" "$dir/receiver.err"
[ ! -e "$dir/socket" ] || die "the socket file was left behind"
