#!/bin/sh
# SPDX-License-Identifier: MIT
# From a child to its parent: ours, and the slides' own (document S0).
. "$(dirname "$0")/common.sh"
slides_are_theirs "$here/../../examples/s0/slides_pipe.c" d7c771e60a17332eb27ce0787706a4a069a659e099efa8bdacd1ccccb43767fa
"$bin/s0/s0_slides_pipe" >"$dir/out"
wants "parent received: message for parent" "$dir/out"
"$bin/pipe_child_parent" | tr -d '\0' >"$dir/out"
wants "parent received: message for parent" "$dir/out"
