#!/bin/sh
# SPDX-License-Identifier: MIT
# Document S2's programs of signals and process groups, the slides' own and ours; Ctrl-C is typed on a real terminal.
. "$(dirname "$0")/common.sh"
source=$here/../../examples/s2
slides_are_theirs "$source/slides_kill_child.c" 2aea08cf11df01cd7e6346650489d0de15db27c1eb356ef7416cbaacac9fbf21
slides_are_theirs "$source/slides_sigint.c" 36ed8b69010619c7e0e81a0a8b1477a7a09ba575cf0bbd0058663f1c56c63cee

"$bin/s2/s2_slides_kill_child" >"$dir/out"
wants "the child ended by signal 9 (Killed)" "$dir/out"
"$bin/s2/s2_kill_child" >"$dir/out"
grep -q '^the child ended by signal 9 (SIGKILL: ' "$dir/out" || die "kill_child: $(cat "$dir/out")"

terminal
types "$bin/s2/s2_slides_sigint; echo slides: \$?" Enter
sees "type Ctrl-C"
types "" C-c
sees "slides: 0"
screen | grep -q '^^Ccaught signal$' || die "$(screen)"

clears
types "$bin/s2/s2_sigint; echo ours: \$?" Enter
sees "type Ctrl-C"
types "" C-c
sees "ours: 0"
screen | grep -q '^^Ccaught signal SIGINT: ' || die "$(screen)"

clears
types "$bin/s2/s2_process_group; echo group: \$?" Enter
sees "type Ctrl-C"
types "" C-c
sees "group: 0"
sees "the child in our group: ended by SIGINT"
sees "the child in a group of its own: still there"
sees "the child in a group of its own: ended by SIGTERM"
screen | grep -q 'the parent: caught Ctrl-C$' || die "$(screen)"
