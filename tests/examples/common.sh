# SPDX-License-Identifier: MIT
# What the tests of the examples share. $1 of each test: the folder of the built examples.
set -eu
bin=$1
dir=$(mktemp -d "${TMPDIR:-/tmp}/confab-examples.XXXXXX")
here=$(dirname "$0")
pids=
clean() {
        for pid in $pids; do kill "$pid" 2>/dev/null || :; wait "$pid" 2>/dev/null || :; done
        [ ! -S "$dir/tmux" ] || tmux -S "$dir/tmux" kill-server 2>/dev/null || :
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

# line NAME: the first line NAME printed, within a minute (an address, usually)
line() {
        tries=0
        while ! [ -s "$dir/$1" ]; do
                tries=$((tries + 1))
                [ $tries -lt 6000 ] || die "$1 printed nothing; it said: $(cat "$dir/$1.err")"
                sleep 0.01
        done
        head -n 1 "$dir/$1"
}

# wants TEXT FILE: exactly that is in it
wants() {
        [ "$(cat "$2")" = "$1" ] || die "$(basename "$2"): '$(cat "$2")', not '$1'"
}

# appears PATH: until it exists, within a minute
appears() {
        tries=0
        while ! [ -e "$1" ]; do
                tries=$((tries + 1))
                [ $tries -lt 6000 ] || die "$1 did not appear"
                sleep 0.01
        done
}

# slides_are_theirs FILE SHA-256: the sum of the document's own lines: those not marked "added", without white space
slides_are_theirs() {
        sum=$(grep -v '/\* added \*/' "$1" | tr -d ' \t\n\r' | sha256sum | cut -d' ' -f1)
        [ "$sum" = "$2" ] || die "$1 is not what the slides have any more"
}

# patient: begins to wait. waits WHY: a moment more, or the test fails once its patience is at an end (planted.sh has less)
patient() {
        waited_until=$(($(date +%s) + ${EXAMPLES_PATIENCE:-30}))
}
waits() {
        [ "$(date +%s)" -lt $waited_until ] || die "$*"
        sleep 0.02
}

# state PID LETTERS: until its state in /proc is one of these
state() {
        patient
        until grep -q "^State:.[$2]" "/proc/$1/status"; do
                waits "process $1: $(grep State "/proc/$1/status"), not $2"
        done
}

# A real terminal: an interactive shell of its own in tmux. types TEXT KEY...: the text, then tmux's names of keys
terminal() {
        env -i PATH="$PATH" TERM=xterm LC_ALL=C.UTF-8 PS1='$ ' tmux -f /dev/null -S "$dir/tmux" new-session -d -x 100 -y 24 sh -i ||
                die "no terminal: $(tmux -V)"
        sees '$' # what is typed before the prompt is there shares its line with what is printed
}
types() {
        [ -z "$1" ] || tmux -S "$dir/tmux" send-keys -l "$1"
        shift
        [ $# = 0 ] || tmux -S "$dir/tmux" send-keys "$@"
}
screen() {
        tmux -S "$dir/tmux" capture-pane -p | sed 's/ *$//'
}
# clears: an empty screen but for the prompt, so that nothing of before is taken for something new
clears() {
        types clear Enter
        patient
        until [ "$(screen | sed '/^$/d')" = '$' ]; do
                waits "the screen does not clear: $(screen)"
        done
}
# sees TEXT: until a line of the screen is that
sees() {
        patient
        until screen | grep -qxF -- "$1"; do
                waits "no line '$1' on the screen: $(screen)"
        done
}
