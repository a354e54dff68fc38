#!/bin/sh
# SPDX-License-Identifier: MIT
# One server in three models: two clients at once, and who serves them.
. "$(dirname "$0")/common.sh"

for model in fork prefork loop; do
        start server "$bin/serve" $model
        address=$(line server)
        mkfifo "$dir/say"
        exec 3<>"$dir/say"
        start first "$bin/../confab" relay stdio:// "$address" <"$dir/say" 3>&-
        line first >"$dir/first_by"
        printf 'hello\n' | "$bin/../confab" relay stdio:// "$address" >"$dir/second" || die "$model: the second client failed"
        grep -q '^hello$' "$dir/second" || die "$model: the second was told $(cat "$dir/second")"
        first_by=$(sed 's/served by //' "$dir/first_by")
        second_by=$(sed -n 's/served by //p' "$dir/second")
        case $model in
        loop) [ "$first_by" = "$second_by" ] || die "loop: $first_by and $second_by" ;;
        fork) [ "$first_by" != "$second_by" ] || die "fork: both by $first_by" ;;
        esac
        exec 3>&-
        server=${pids% *}
        kill -TERM "${server##* }"
        wait "${server##* }" || die "$model: ended with $?: $(cat "$dir/server.err")"
        pids=
        rm -f "$dir"/*
done
