#!/bin/sh
# SPDX-License-Identifier: MIT
# planted.sh BUILD_FOLDER COMPILER ...: each example with a mistake planted in it; its test must find it.
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
build=$1
shift
work=$(mktemp -d "${TMPDIR:-/tmp}/confab-planted.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
passed=0
failed=0

# plant TEST EXAMPLE BINARY 'sed command': as the test's name, the example's source, its binary below build/examples
plant() {
        rm -rf "$work/examples" "$work/tests" "$work/confab"
        for folder in "$build"/examples/*/; do
                case $folder in *.p/) ;; *) mkdir -p "$work/examples/${folder#"$build/examples/"}" ;; esac
        done
        mkdir -p "$work/tests/examples"
        for file in "$build"/examples/* "$build"/examples/*/*; do
                case $file in *.p/*) continue ;; esac
                [ -f "$file" ] && [ -x "$file" ] && ln -s "$file" "$work/examples/${file#"$build/examples/"}"
        done
        ln -s "$build/tests/examples/echo_client" "$work/tests/examples/echo_client"
        ln -s "$build/confab" "$work/confab"
        sed "$4" "$root/examples/$2.c" >"$work/planted.c"
        rm "$work/examples/$3"
        found=yes
        if cmp -s "$work/planted.c" "$root/examples/$2.c"; then
                echo "$2: '$4' changes nothing: the plant is out of date"
        elif ! $compiler -I "$root/include" -I "$root/examples/s0" "$work/planted.c" -o "$work/examples/$3" -L "$build" -lmysocks -lconfab \
                "-Wl,-rpath,$build" 2>"$work/said"; then
                cat "$work/said"
        elif timeout 60 "$here/$1.sh" "$work/examples" >"$work/said" 2>&1; then
                echo "$2: '$4' was not found"
        else
                passed=$((passed + 1))
                found=
        fi
        [ -z "$found" ] || failed=$((failed + 1))
}

compiler=$*
EXAMPLES_PATIENCE=5
export EXAMPLES_PATIENCE
plant echo_server echo_server echo_server 's/+ client->sent,/+ 0,/'
plant echo_server echo_server echo_server 's/client->sent == client->owed.data_len/1/'
plant echo_server echo_server echo_server 's/client->sent = 0;//'
plant echo_server echo_server echo_server 's/-EPIPE : r/r : r/'
plant pipe_child_parent pipe_child_parent pipe_child_parent 's/confab_send(ends/confab_send_many(ends/; s/&message, CONFAB_FOREVER));$/\&message, 0, CONFAB_FOREVER));/'
plant datagrams datagram_receiver datagram_receiver 's/answer.peer = message.peer/(void)0/'
plant datagrams datagram_sender datagram_sender '/confab_send(sender/d'
plant named_pipe named_pipe_reader named_pipe_reader 's/?frame=line//'
plant named_pipe named_pipe_writer named_pipe_writer 's/?frame=line//'
plant record_lock record_lock record_lock 's/(i + process) % N_RECORDS/0/'
plant descriptor descriptor_sender descriptor_sender 's/n_descriptors = 1/n_descriptors = 0/'
plant signal signal_receive signal_receive 's/USR1,RTMIN+1,/USR1,RTMIN+2,/'
plant signal signal_receive signal_receive '/confab_alarm_new/s/1000000000, 1000000000/1000000000, 0/; s/confab_after(1000000000)/CONFAB_FOREVER/'
plant signal signal_send signal_send 's/argc > 3 ? &value : NULL/NULL/'
plant s0 s0/client s0/s0_client 's/CLIENT_STR, CLIENT_BYTES/CLIENT_STR, CLIENT_BYTES - 1/'
plant s0 s0/server s0/s0_server 's/SERVER_STR, SERVER_BYTES/SERVER_STR, SERVER_BYTES - 1/'
plant mysocks mysocks/server mysocks/mysocks_server 's/signal(SIGCHLD, SIG_IGN);//'
plant mysocks mysocks/server mysocks/mysocks_server 's/pid = fork();/pid = fork(); if (pid == 0) pause();/'
plant mysocks mysocks/server mysocks/mysocks_server 's/closeSocket(channel); .. added .. .. the child.*//'
plant mysocks mysocks/client mysocks/mysocks_client 's/at < length/at < 1/; s/length - at/1/'
plant s2 s2/kill_child s2/s2_kill_child 's/SIGKILL, NULL/SIGTERM, NULL/'
plant s2 s2/sigint s2/s2_sigint 's/SIGINT, interrupted/SIGTERM, interrupted/'
plant s2 s2/process_group s2/s2_process_group 's/setpgid(child->pid, child->pid)/0/'
plant s3 s3/signals s3/s3_signals 's/need(confab_signal_restore(&before));//'
plant shared_frames shared_frames shared_frames 's/need(confab_adopt(ends\[1\]));//'
plant shared_frames shared_frames shared_frames 's/(p + i)/(p + i + (i == n))/'
plant producer_consumer producer_consumer producer_consumer 's/sum += item;//'
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
