# SPDX-License-Identifier: MIT
# What the tests of the examples share. $1 of each test: the folder of the built examples.
set -eu
bin=$1
dir=$(mktemp -d "${TMPDIR:-/tmp}/confab-examples.XXXXXX")
here=$(dirname "$0")
pids=
clean() {
        for pid in $pids; do kill "$pid" 2>/dev/null || :; wait "$pid" 2>/dev/null || :; done
        rm -rf "$dir"
}
trap clean EXIT
trap 'exit 1' HUP INT TERM

die() {
        echo "$*" >&2
        exit 1
}

# start NAME COMMAND ...: in the background, its output in $dir/NAME
start() {
        name=$1
        shift
        "$@" >"$dir/$name" 2>"$dir/$name.err" &
        pid=$!
        pids="$pids $pid"
}

# line NAME: the first line NAME printed, within 10 s (an address, usually)
line() {
        tries=0
        while ! [ -s "$dir/$1" ]; do
                tries=$((tries + 1))
                [ $tries -lt 1000 ] || die "$1 printed nothing; it said: $(cat "$dir/$1.err")"
                sleep 0.01
        done
        head -n 1 "$dir/$1"
}

# wants TEXT FILE: exactly that is in it
wants() {
        [ "$(cat "$2")" = "$1" ] || die "$(basename "$2"): '$(cat "$2")', not '$1'"
}

# appears PATH: until it exists, within 10 s
appears() {
        tries=0
        while ! [ -e "$1" ]; do
                tries=$((tries + 1))
                [ $tries -lt 1000 ] || die "$1 did not appear"
                sleep 0.01
        done
}
