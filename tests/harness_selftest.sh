#!/bin/sh
# SPDX-License-Identifier: MIT
# Runs tests that must fail (harness_selftest.c) and looks at what the runner says to each.
program=$(realpath "$1") # not to be taken for another checkout's below
shift
output=$("$@" "$program" 2>&1)
status=$?
passed=0 failed=0

expect() { # PATTERN: a line of the output, as grep -x has it
        if printf '%s\n' "$output" | grep -qxE -- "$1"; then
                passed=$((passed + 1))
        else
                failed=$((failed + 1))
                echo "FAIL: no line like: $1"
        fi
}

expect 'ok pass_plain \([0-9]+ ms\)'
expect 'ok pass_with_a_file_and_a_child .*'
expect 'ok pass_in_an_empty_directory .*'
expect 'skip skip_with_reason: the moon is full'
expect 'FAIL fail_check: harness_selftest.c:[0-9]+: check\(1 > 2\) failed'
expect 'FAIL fail_check_eq: .* 3 is 3, not 4 \(4\)'
expect 'FAIL fail_check_str: .* "this" is "this", not "that" \("that"\)'
expect 'FAIL fail_check_mem: .* at byte 2 of 3: 63, not 64'
expect 'FAIL fail_check_ok: .* -2 is -2 \(No such file or directory\): .*'
expect 'FAIL fail_in_a_forked_child: .*the child is not happy.*'
expect 'FAIL fail_in_a_thread: .*the thread is not happy.*'
expect 'FAIL fail_crash: (killed by signal 11 .*|exit status .*)'
expect 'FAIL fail_sigpipe: killed by signal 13 .*'
expect 'FAIL fail_exit: exit status 9'
expect 'FAIL fail_timeout: timed out after [0-9.]+ s'
expect '  \| the last words'
expect 'FAIL fail_timeout_with_family: timed out after [0-9.]+ s'
expect 'FAIL fail_descriptor: left open: descriptor [0-9]+ \(/dev/null\)'
expect 'FAIL fail_zombie: left behind: child [0-9]+, which has ended and was not waited for'
expect 'FAIL fail_child: left behind: a child that still runs'
# Without a namespace of its own the runner sees POSIX queues only where their file system is mounted.
n_passed=5 n_failed=23
if unshare --ipc --mount --propagation unchanged true 2>/dev/null || grep -q ' /dev/mqueue mqueue ' /proc/mounts; then
        expect 'FAIL fail_posix_queue: left behind: POSIX queue confab-selftest-.*'
else
        expect 'ok fail_posix_queue .*'
        n_passed=6 n_failed=22
fi
expect 'FAIL fail_sysv_queue: left behind: System V queue id .*'
expect 'FAIL fail_sysv_semaphores: left behind: System V semaphore set id .*'
expect 'FAIL fail_sysv_segment: left behind: System V segment id .*'
expect 'FAIL fail_dev_shm: left behind: file in /dev/shm: confab-selftest-.*'
expect 'FAIL fail_fifo: left behind: FIFO pipe'
expect 'FAIL fail_socket_file: left behind: socket file sock'
if [ $# -gt 0 ]; then # qemu-user has no PR_SET_CHILD_SUBREAPER: what left the test's process group is not found
        expect 'ok fail_grandchild .*'
        n_passed=$((n_passed + 1)) n_failed=$((n_failed - 1))
else
        expect 'FAIL fail_grandchild: left behind: process [0-9]+ \(.*\)'
fi
expect "$n_passed passed, $n_failed failed, 1 skipped"
if [ "$status" -eq 0 ]; then failed=$((failed + 1)); echo "FAIL: exit status 0 in spite of failures"; fi

# The same with three workers at once, one test alone, and one there is not.
output=$("$@" "$program" --jobs 3 --only 'pass_*')
expect '4 passed, 0 failed, 0 skipped'
# In a storm of signals; one that does not come would prove nothing.
output=$(HARNESS_STORM_HZ=1000 "$@" "$program" --only pass_in_a_storm)
expect 'storm: [1-9][0-9]* signals'
expect '1 passed, 0 failed, 0 skipped'
output=$(HARNESS_STORM_HZ=1 "$@" "$program" --only pass_plain)
expect 'FAIL harness: the storm did not come'
output=$("$@" "$program" --only no_such_test)
expect 'FAIL harness: no test is called no_such_test'
output=$("$@" "$program" --list)
expect 'fail_fifo'

# Nobody is left of the families above.
if [ -n "$(ps -eo args= 2>/dev/null | grep -F -x "$program" || true)" ]; then
        failed=$((failed + 1))
        echo "FAIL: processes of $program still run"
fi
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
