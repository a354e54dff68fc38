#!/bin/sh
# SPDX-License-Identifier: MIT
. "$(dirname "$0")/common.sh"

"$bin/record_lock" "$dir/records" 500 >"$dir/counts"
wants "1500
1500
1500
1500" "$dir/counts"
