#!/bin/sh
# SPDX-License-Identifier: MIT
. "$(dirname "$0")/common.sh"
"$bin/pipe_child_parent" | tr -d '\0' >"$dir/out"
wants "parent received: message for parent" "$dir/out"
