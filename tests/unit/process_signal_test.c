/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* Sending to processes and groups, handlers that are set and set back, alarms. */
#include "emulated.h"
#include "harness.h"
#include "process/signal_message.h"

#include <confab/confab.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const int64_t MS = 1000000;

static void need_values(void) {
        if (emulator_sends_no_values())
                skip(emulator_sends_no_values());
}

static void explained(const char *word) {
        char text[600];

        confab_explain(text, sizeof(text));
        if (!strstr(text, word))
                check_str(text, word);
}

/* A child that waits for signals; it ends with @test when that goes. */
static pid_t sleeper(void) {
        pid_t pid = fork();

        check(pid >= 0);
        if (pid == 0)
                for (;;)
                        pause();
        return pid;
}

static int status_of(pid_t pid) {
        int status;

        check_eq(waitpid(pid, &status, WUNTRACED | WCONTINUED), pid);
        return status;
}

/* Holds @number back in this thread and takes the next one: what came. */
static void hold_back(int number) {
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, number);
        check_eq(sigprocmask(SIG_BLOCK, &set, NULL), 0);
}

static bool next_one(int number, siginfo_t *info, int seconds) {
        struct timespec patience = {.tv_sec = seconds};
        sigset_t set;
        int r;

        sigemptyset(&set);
        sigaddset(&set, number);
        do
                r = sigtimedwait(&set, info, &patience);
        while (r < 0 && errno == EINTR);
        return r == number;
}

/* --- sending --- */

TEST(to_a_process) {
        pid_t child = sleeper();

        check_ok(confab_signal_send(child, 0, NULL, CONFAB_NOW));
        check_ok(confab_signal_send(child, SIGSTOP, NULL, CONFAB_NOW));
        check(WIFSTOPPED(status_of(child)));
        check_ok(confab_signal_send(child, SIGCONT, NULL, CONFAB_NOW));
        check(WIFCONTINUED(status_of(child)));
        check_ok(confab_signal_send(child, SIGTERM, NULL, CONFAB_NOW));
        check_eq(WTERMSIG(status_of(child)), SIGTERM);
        check_eq(confab_signal_send(child, 0, NULL, CONFAB_NOW), -ESRCH);
        explained("there is no process");
}

TEST(to_a_pidfd) {
        pid_t child = sleeper();
        int fd = (int)syscall(434 /* pidfd_open */, child, 0);

        check(fd >= 0);
        check_ok(confab_signal_send_pidfd(fd, 0, NULL, CONFAB_NOW));
        check_ok(confab_signal_send_pidfd(fd, SIGKILL, NULL, CONFAB_NOW));
        check_eq(WTERMSIG(status_of(child)), SIGKILL);
        check_eq(confab_signal_send_pidfd(fd, SIGKILL, NULL, CONFAB_NOW), -ESRCH);
        explained("has ended");
        close(fd);
        check_eq(confab_signal_send_pidfd(fd, SIGKILL, NULL, CONFAB_NOW), -EBADF);
        explained("signal_send_pidfd");
}

/* Into a namespace of processes nobody from outside is signalled, whatever pidfd was handed in. */
TEST(to_a_pidfd_from_another_namespace) {
        pid_t outside = sleeper(), pid;
        int fd = (int)syscall(434 /* pidfd_open */, outside, 0), status;

        pid = fork();
        if (pid == 0) {
                pid_t inner;

                if (unshare(CLONE_NEWPID) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0)
                        _exit(77);
                inner = fork();
                if (inner == 0) {
                        check_eq(confab_signal_send_pidfd(fd, SIGTERM, NULL, CONFAB_NOW), -EINVAL);
                        explained("namespace of processes");
                        _exit(0);
                }
                check_eq(waitpid(inner, &status, 0), inner);
                _exit(status != 0);
        }
        check_eq(waitpid(pid, &status, 0), pid);
        kill(outside, SIGKILL);
        status_of(outside);
        close(fd);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
                skip("needs root or a user namespace to make a namespace of pids");
        check_eq(status, 0);
}

TEST(to_a_group) {
        pid_t members[3];

        for (int i = 0; i < 3; i++) {
                members[i] = sleeper();
                check_eq(setpgid(members[i], members[0]), 0);
        }
        check_ok(confab_signal_send_group(members[0], 0));
        check_ok(confab_signal_send_group(members[0], SIGUSR2));
        for (int i = 0; i < 3; i++)
                check_eq(WTERMSIG(status_of(members[i])), SIGUSR2);
        check_eq(confab_signal_send_group(members[0], SIGUSR2), -ESRCH);
        explained("no process group");
}

TEST(values_arrive_with_their_sender) {
        int32_t values[] = {0, 42, -1, INT32_MAX, INT32_MIN};
        siginfo_t info;

        need_values();
        hold_back(SIGRTMIN + 1);
        hold_back(SIGUSR1);
        for (size_t i = 0; i < 5; i++)
                check_ok(confab_signal_send(getpid(), SIGRTMIN + 1, &values[i], CONFAB_NOW));
        for (size_t i = 0; i < 5; i++) {
                check(next_one(SIGRTMIN + 1, &info, 5));
                check_eq(info.si_code, SI_QUEUE);
                check_eq(info.si_value.sival_int, values[i]);
                check_eq(info.si_pid, getpid());
                check_eq(info.si_uid, getuid());
        }
        check_ok(confab_signal_send(getpid(), SIGUSR1, &values[1], CONFAB_NOW));
        check(next_one(SIGUSR1, &info, 5) && info.si_value.sival_int == 42);
        check_ok(confab_signal_send(getpid(), SIGUSR1, NULL, CONFAB_NOW));
        check(next_one(SIGUSR1, &info, 5) && info.si_code == SI_USER);
        /* a real-time one always has a value: kill(2) would lose it in silence where there is no room */
        check_ok(confab_signal_send(getpid(), SIGRTMIN + 1, NULL, CONFAB_NOW));
        check(next_one(SIGRTMIN + 1, &info, 5) && info.si_code == SI_QUEUE && !info.si_value.sival_int);
}

TEST(what_would_surprise_is_refused) {
        check_eq(confab_signal_send(0, SIGTERM, NULL, CONFAB_NOW), -EINVAL);
        check_eq(confab_signal_send(-1, SIGTERM, NULL, CONFAB_NOW), -EINVAL);
        explained("confab_signal_send_group");
        check_eq(confab_signal_send_group(0, SIGTERM), -EINVAL);
        explained("getpgrp()");
        check_eq(confab_signal_send_group(1, SIGTERM), -EINVAL);
        explained("every process");
        check_eq(confab_signal_send_group(-1, SIGTERM), -EINVAL);
        check_eq(confab_signal_send(getpid(), 65, NULL, CONFAB_NOW), -EINVAL);
        check_eq(confab_signal_send(getpid(), -1, NULL, CONFAB_NOW), -EINVAL);
        check_eq(confab_signal_send(getpid(), 32, NULL, CONFAB_NOW), -EINVAL);
        explained("the C library");
        check_eq(confab_signal_send(INT32_MAX, 0, NULL, CONFAB_NOW), -ESRCH);
        explained("2147483647");
}

static void *wait_a_while(void *tid) {
        *(int32_t *)tid = (int32_t)syscall(SYS_gettid);
        check_eq(confab_signal_send(*(int32_t *)tid, 0, NULL, CONFAB_NOW), -EINVAL);
        explained("a thread");
        return NULL;
}

TEST(a_threads_number_is_no_process) {
        pthread_t thread;
        int32_t tid;

        check_eq(pthread_create(&thread, NULL, wait_a_while, &tid), 0);
        pthread_join(thread, NULL);
}

TEST(somebody_elses_process_is_named) {
        int status;
        pid_t victim, other;

        if (geteuid() != 0)
                skip("needs root");
        victim = sleeper();
        other = fork();
        if (other == 0) {
                check_eq(setuid(54321), 0);
                check_eq(confab_signal_send(victim, SIGTERM, NULL, CONFAB_NOW), -EPERM);
                explained("belongs to user 0, you are user 54321");
                check_eq(setpgid(0, 0), 0);
                check_eq(confab_signal_send_group(getpgid(victim), SIGTERM), -EPERM);
                explained("no member");
                _exit(0);
        }
        check_eq(waitpid(other, &status, 0), other);
        check_eq(status, 0);
        kill(victim, SIGKILL);
        status_of(victim);
}

/* --- no room --- */

static void allow_pending(rlim_t n) {
        struct rlimit limit;

        check_eq(getrlimit(RLIMIT_SIGPENDING, &limit), 0);
        if (limit.rlim_cur > n)
                limit.rlim_cur = n;
        check_eq(setrlimit(RLIMIT_SIGPENDING, &limit), 0);
}

enum { ROOM = 100 };

TEST(no_room_is_said_and_waited_for) {
        int32_t value = 0;
        int64_t began_ns;
        int n = 0, r;

        need_values();
        hold_back(SIGRTMIN + 1);
        allow_pending(ROOM);
        while ((r = confab_signal_send(getpid(), SIGRTMIN + 1, &value, CONFAB_NOW)) == 0)
                check(n++ <= ROOM);
        check_eq(r, -EAGAIN);
        explained("RLIMIT_SIGPENDING");
        explained("of at most 100 wait");
        do { /* what waits for others of this user counts as well, and they may make room meanwhile */
                began_ns = confab_now();
                r = confab_signal_send(getpid(), SIGRTMIN + 1, &value, confab_after(30 * MS));
        } while (r == 0);
        check_eq(r, -ETIMEDOUT);
        check(confab_now() - began_ns >= 30 * MS);
        explained("the deadline passed");
        while ((r = confab_signal_send(getpid(), SIGRTMIN + 1, NULL, CONFAB_NOW)) == 0)
                ;
        check_eq(r, -EAGAIN);
}

/* 20,000 through a room of 100: the sender waits, none is lost, none comes twice. */
TEST_TIMEOUT(none_is_lost_where_room_is_short, 60) {
        enum { N = 20000 };
        pid_t receiver = getpid(), sender;
        siginfo_t info;
        int status;

        need_values();
        hold_back(SIGRTMIN + 1);
        allow_pending(ROOM);
        sender = fork();
        if (sender == 0) {
                for (int32_t i = 0; i < N; i++)
                        check_ok(confab_signal_send(receiver, SIGRTMIN + 1, &i, CONFAB_FOREVER));
                _exit(0);
        }
        for (int32_t i = 0; i < N; i++) {
                check(next_one(SIGRTMIN + 1, &info, 30));
                check_eq(info.si_value.sival_int, i);
        }
        check_eq(waitpid(sender, &status, 0), sender);
        check_eq(status, 0);
}

/* --- handlers --- */

static atomic_int n_first, n_second;
static struct confab_signal_received last;

static void first(const struct confab_signal_received *received) {
        last = *received;
        errno = EILSEQ; /* given back to what was interrupted */
        atomic_fetch_add(&n_first, 1);
}

static void second(const struct confab_signal_received *received) {
        last = *received;
        atomic_fetch_add(&n_second, 1);
}

/* Until @n have been counted: ThreadSanitizer runs handlers late. */
static void counted(const atomic_int *counter, int n) {
        for (int i = 0; i < 5000 && atomic_load(counter) < n; i++)
                poll(NULL, 0, 1);
        check_eq(atomic_load(counter), n);
}

TEST(handlers_are_set_and_set_back) {
        struct confab_signal_before none = {.size = sizeof(none)}, one = none, two = none;
        struct sigaction now;
        int32_t value = 7;

        check_ok(confab_signal_handle(&none, SIGUSR1, first, 0));
        check_ok(confab_signal_send(getpid(), SIGUSR1, &value, CONFAB_NOW));
        counted(&n_first, 1);
        check_eq(last.number, SIGUSR1);
        check_eq(last.flags, CONFAB_RECEIVED_VALUE | CONFAB_RECEIVED_CLAIMED);
        check_eq(last.value, 7);
        check_eq(last.pid, getpid());
        check_ok(confab_signal_handle(&one, SIGUSR1, second, CONFAB_HANDLE_INTERRUPTS));
        check_ok(confab_signal_ignore(&two, SIGUSR1));
        check_ok(confab_signal_send(getpid(), SIGUSR1, NULL, CONFAB_NOW));
        check_ok(confab_signal_restore(&two));
        check_ok(confab_signal_send(getpid(), SIGUSR1, NULL, CONFAB_NOW));
        counted(&n_second, 1);
        check_eq(last.flags, 0);
        check_eq(last.uid, getuid());
        check_ok(confab_signal_restore(&one));
        check_ok(confab_signal_send(getpid(), SIGUSR1, NULL, CONFAB_NOW));
        counted(&n_first, 2);
        check_ok(confab_signal_restore(&none));
        check_eq(sigaction(SIGUSR1, NULL, &now), 0);
        check(now.sa_handler == SIG_DFL);
        check_eq(atomic_load(&n_second), 1);
}

TEST(errno_is_kept_over_a_handler) {
        check_ok(confab_signal_handle(NULL, SIGUSR1, first, 0));
        errno = 0;
        check_eq(raise(SIGUSR1), 0);
        check_eq(errno, 0);
        counted(&n_first, 1);
}

TEST(the_default_again_ends_a_process) {
        int status;
        pid_t child = fork();

        if (child == 0) {
                check_ok(confab_signal_ignore(NULL, SIGTERM));
                raise(SIGTERM);
                check_ok(confab_signal_default(NULL, SIGTERM));
                raise(SIGTERM);
                _exit(0);
        }
        check_eq(waitpid(child, &status, 0), child);
        check_eq(WTERMSIG(status), SIGTERM);
}

TEST(once_is_once) {
        struct sigaction now;

        check_ok(confab_signal_handle(NULL, SIGUSR2, first, CONFAB_HANDLE_ONCE));
        check_eq(raise(SIGUSR2), 0);
        counted(&n_first, 1);
        check_eq(sigaction(SIGUSR2, NULL, &now), 0);
        check(now.sa_handler == SIG_DFL);
}

/* A read goes on after a handler, unless it was asked to end. */
TEST(calls_go_on_or_end) {
        struct sigaction now;

        check_ok(confab_signal_handle(NULL, SIGUSR1, first, 0));
        check_eq(sigaction(SIGUSR1, NULL, &now), 0);
        check(now.sa_flags & SA_RESTART);
        check_ok(confab_signal_handle(NULL, SIGUSR1, first, CONFAB_HANDLE_INTERRUPTS));
        check_eq(sigaction(SIGUSR1, NULL, &now), 0);
        check(!(now.sa_flags & SA_RESTART));
}

TEST(those_nobody_can_catch) {
        struct confab_signal_before before = {.size = sizeof(before)};

        check_eq(confab_signal_handle(NULL, SIGKILL, first, 0), -EINVAL);
        explained("SIGKILL and SIGSTOP");
        check_eq(confab_signal_ignore(NULL, SIGSTOP), -EINVAL);
        check_eq(confab_signal_default(NULL, SIGKILL), -EINVAL);
        check_eq(confab_signal_handle(NULL, 32, first, 0), -EINVAL);
        check_eq(confab_signal_handle(NULL, 0, first, 0), -EINVAL);
        check_eq(confab_signal_handle(NULL, SIGINT, NULL, 0), -EINVAL);
        check_eq(confab_signal_handle(NULL, SIGINT, first, 8), -EINVAL);
        check_eq(confab_signal_restore(&before), -EINVAL);
        check_eq(confab_signal_restore(NULL), -EINVAL);
        before.size = 0;
        check_eq(confab_signal_ignore(&before, SIGUSR1), -EINVAL);
}

static atomic_int ended_status;

static void child_ended(const struct confab_signal_received *received) {
        if ((received->flags & CONFAB_RECEIVED_STATUS) && !WIFSTOPPED(received->status))
                atomic_store(&ended_status, received->status | 0x10000);
}

TEST(a_child_has_ended_with_what_status) {
        pid_t child;

        check_ok(confab_signal_handle(NULL, SIGCHLD, child_ended, 0));
        child = fork();
        if (child == 0)
                _exit(3);
        for (int i = 0; i < 5000 && !atomic_load(&ended_status); i++)
                poll(NULL, 0, 1);
        check_eq(WEXITSTATUS(atomic_load(&ended_status) & 0xFFFF), 3);
        check_eq(status_of(child), 3 << 8);
}

/* --- messages --- */

TEST(what_a_message_says) {
        struct confab_peer peer = {
                .size = sizeof(peer), .flags = CONFAB_PEER_CREDENTIALS, .pid = 7, .uid = 8};
        struct confab_signal_received received = {.size = sizeof(received)};
        struct confab_message message = confab_message_of("1024", 4);

        check_eq(confab_signal_read(&received, &message), -EINVAL); /* from nobody: no signal's */
        message.peer = &peer;
        check_eq(confab_signal_read(&received, &message), -EINVAL);
        message.type = SIGCHLD;
        check_ok(confab_signal_read(&received, &message));
        check_eq(received.flags, CONFAB_RECEIVED_STATUS);
        check_eq(WEXITSTATUS(received.status), 4);
        check_eq(received.pid, 7);
        check_eq(received.uid, 8);
        peer.flags = 0;
        check_ok(confab_signal_read(&received, &message));
        check_eq(received.flags, CONFAB_RECEIVED_VALUE | CONFAB_RECEIVED_CLAIMED);
        check_eq(received.value, 1024);
        check_eq(received.status, 0);
        message.data_len = 0;
        check_ok(confab_signal_read(&received, &message));
        check_eq(received.flags, CONFAB_RECEIVED_CLAIMED);
        message.data_len = 3;
        message.data = "1x2";
        check_eq(confab_signal_read(&received, &message), -EINVAL);
        received.size = 0;
        check_eq(confab_signal_read(&received, &message), -EINVAL);
}

/* Each number has one way of being written; what arrives is what was sent, byte for byte. */
TEST(numbers_have_one_way_of_writing) {
        static const struct {
                const char *text;
                bool fine;
                int32_t value;
        } cases[] = {{"0", true, 0},
                     {"1", true, 1},
                     {"-1", true, -1},
                     {"2147483647", true, INT32_MAX},
                     {"-2147483648", true, INT32_MIN},
                     {"2147483648", false, 0},
                     {"-2147483649", false, 0},
                     {"", false, 0},
                     {"-", false, 0},
                     {"-0", false, 0},
                     {"01", false, 0},
                     {"+1", false, 0},
                     {" 1", false, 0},
                     {"1 ", false, 0},
                     {"1.5", false, 0},
                     {"99999999999", false, 0},
                     {"999999999999999999999", false, 0},
                     {"0x10", false, 0}};

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                int32_t value = 0;

                check_eq(cfb_signal_number_read(&value, cases[i].text, strlen(cases[i].text)), cases[i].fine);
                check_eq(value, cases[i].value);
        }
}

/* --- alarms --- */

TEST(alarms_bring_their_values) {
        confab_alarm *early, *late;
        int64_t began_ns = confab_now();
        siginfo_t info;

        hold_back(SIGALRM);
        hold_back(SIGRTMIN + 2);
        check_ok(confab_alarm_new(&late, SIGALRM, 2, confab_after(60 * MS), 0));
        check_ok(confab_alarm_new(&early, SIGRTMIN + 2, -1, confab_after(20 * MS), 0));
        check(next_one(SIGRTMIN + 2, &info, 5));
        check(confab_now() - began_ns >= 20 * MS);
        check_eq(info.si_value.sival_int, -1);
        check(next_one(SIGALRM, &info, 5));
        check(confab_now() - began_ns >= 60 * MS);
        check_eq(info.si_value.sival_int, 2);
        /* set again: for the past, then for never, then every so often */
        check_ok(confab_alarm_set(early, CONFAB_NOW, 0));
        check(next_one(SIGRTMIN + 2, &info, 5));
        check_ok(confab_alarm_set(early, confab_after(5000 * MS), 0));
        check_ok(confab_alarm_set(early, CONFAB_FOREVER, 0));
        check_ok(confab_alarm_set(late, confab_after(MS), MS));
        for (int i = 0; i < 3; i++)
                check(next_one(SIGALRM, &info, 5));
        check(confab_alarm_free(late) == NULL);
        check(confab_alarm_free(early) == NULL);
        check(confab_alarm_free(NULL) == NULL);
        check(!next_one(SIGRTMIN + 2, &info, 0));
}

TEST(alarms_that_cannot_be) {
        confab_alarm *alarm = NULL;

        check_eq(confab_alarm_new(&alarm, 0, 0, CONFAB_FOREVER, 0), -EINVAL);
        check_eq(confab_alarm_new(&alarm, 32, 0, CONFAB_FOREVER, 0), -EINVAL);
        check_eq(confab_alarm_new(&alarm, SIGALRM, 0, CONFAB_FOREVER, -1), -EINVAL);
        check_eq(confab_alarm_new(NULL, SIGALRM, 0, CONFAB_FOREVER, 0), -EINVAL);
        check(!alarm);
        check_ok(confab_alarm_new(&alarm, SIGALRM, 0, CONFAB_FOREVER, 0));
        check_eq(confab_alarm_set(alarm, CONFAB_FOREVER, -1), -EINVAL);
        confab_alarm_free(alarm);
}

TEST(alarms_stay_with_the_parent) {
        confab_alarm *alarm, *own;
        int status;
        pid_t child;

        check_ok(confab_alarm_new(&alarm, SIGALRM, 0, CONFAB_FOREVER, 0));
        child = fork();
        if (child == 0) {
                siginfo_t info;

                hold_back(SIGALRM);
                check_ok(confab_alarm_new(&own, SIGALRM, 5, CONFAB_FOREVER, 0)); /* of the same number */
                check_eq(confab_alarm_set(alarm, CONFAB_NOW, 0), -EOWNERDEAD);
                confab_alarm_free(alarm);
                check_ok(confab_alarm_set(own, CONFAB_NOW, 0));
                check(next_one(SIGALRM, &info, 5) && info.si_value.sival_int == 5);
                confab_alarm_free(own);
                _exit(0);
        }
        check_eq(waitpid(child, &status, 0), child);
        check_eq(status, 0);
        confab_alarm_free(alarm);
}
