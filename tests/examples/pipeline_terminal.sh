#!/bin/sh
# SPDX-License-Identifier: MIT
# What documents S1 to S3 type into a shell, as pipelines of ours; ls | more on a real terminal, where Ctrl-C ends them and not us.
. "$(dirname "$0")/common.sh"

printf 'something\nnothing\nelse\n' >"$dir/foo.txt"
"$bin/pipeline" "cat $dir/foo.txt | grep something" >"$dir/out" 2>"$dir/told"
wants something "$dir/out"
for text in 'ps -ef | wc -l' 'ps -ef | cut -d \  -f 1 | sort | uniq | wc -l'; do
        "$bin/../confab" run "$text" >"$dir/out" || die "$text: ended with $?"
        [ "$(cat "$dir/out")" -ge 2 ] || die "$text: $(cat "$dir/out")" # a heading, and ourselves
done

mkdir "$dir/many"
for i in 1 2 3 4 5 6 7 8 9; do
        (cd "$dir/many" && touch "${i}1" "${i}2" "${i}3" "${i}4" "${i}5" "${i}6" "${i}7" "${i}8" "${i}9")
done
terminal
clears
types "$bin/pipeline 'ls $dir/many | more'; echo quit: \$?" Enter
sees "--More--"
types q
sees "quit: 0"
screen | grep -q '^more: process [0-9]* ended with status 0$' || die "more: $(screen)"

clears
types "$bin/pipeline 'sleep 1000 | cat'; echo interrupted: \$?" Enter
# The terminal is the pipeline's once both run; before that Ctrl-C would be ours.
tty=$(tmux -S "$dir/tmux" display-message -p '#{pane_tty}')
patient
until [ "$(ps -t "${tty#/dev/}" -o comm= | grep -cE '^(sleep|cat)$')" = 2 ]; do
        waits "sleep and cat do not run: $(screen)"
done
types "" C-c
sees "interrupted: 0"
[ "$(screen | grep -c 'ended with signal 2$')" = 2 ] || die "Ctrl-C: $(screen)"
