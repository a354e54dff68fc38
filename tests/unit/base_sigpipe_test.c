/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* SIGPIPE in every disposition, with and without RWF_NOSIGNAL: our writes never raise it, everybody else's still do. */
#include "base/libc.h"
#include "base/sigpipe.h"
#include "harness.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

static atomic_int n_seen;

static void seen(int number) {
        (void)number;
        atomic_fetch_add(&n_seen, 1);
}

static void without_readers(int fds[2]) {
        check(pipe(fds) == 0);
        close(fds[0]);
}

static void write_both_ways(void) {
        struct iovec parts[2] = {{(void *)(uintptr_t) "a", 1}, {(void *)(uintptr_t) "b", 1}};
        int fds[2];

        without_readers(fds);
        for (int i = 0; i < 10; i++) {
                check_eq(cfb_write(fds[1], "x", 1), -EPIPE);
                check_eq(cfb_writev(fds[1], parts, 2, 0), -EPIPE);
                check_eq(cfb_writev(fds[1], parts, 1, RWF_NOWAIT), -EPIPE);
        }
        close(fds[1]);
}

TEST(default_disposition_is_guarded) {
        cfb_sigpipe_guard();
        write_both_ways();
        cfb_sigpipe_guard(); /* and again */
        write_both_ways();
}

TEST(ignored_stays_ignored) {
        struct sigaction now;

        signal(SIGPIPE, SIG_IGN);
        cfb_sigpipe_guard();
        write_both_ways();
        check(sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_IGN);
}

/* Blocked, ours must not stay pending: it would end the process when it is unblocked. */
TEST(a_blocked_one_is_fetched_back) {
        sigset_t set, pending;
        int fds[2], from[2];

        sigemptyset(&set);
        sigaddset(&set, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        cfb_sigpipe_guard();
        without_readers(fds);
        check_eq(cfb_write(fds[1], "x", 1), -EPIPE);
        check(sigpending(&pending) == 0 && !sigismember(&pending, SIGPIPE));
        check_eq(cfb_writev(fds[1], &(struct iovec){(void *)(uintptr_t) "a", 1}, 1, 0), -EPIPE);
        check(sigpending(&pending) == 0 && !sigismember(&pending, SIGPIPE));
        check(pipe(from) == 0 && write(from[1], "x", 1) == 1);
        check_eq(cfb_splice(from[0], fds[1], 1), -EPIPE);
        check(sigpending(&pending) == 0 && !sigismember(&pending, SIGPIPE));
        pthread_sigmask(SIG_UNBLOCK, &set, NULL);
        close(fds[1]);
        close(from[0]);
        close(from[1]);
}

TEST(a_handler_of_the_program_sees_nothing) {
        signal(SIGPIPE, seen);
        cfb_sigpipe_guard();
        write_both_ways();
        check_eq(atomic_load(&n_seen), 0);
}

TEST(nor_on_an_old_kernel) {
        sigset_t pending;

        signal(SIGPIPE, seen);
        cfb_sigpipe_old_kernel();
        cfb_sigpipe_guard();
        write_both_ways();
        check_eq(atomic_load(&n_seen), 0);
        check(sigpending(&pending) == 0 && !sigismember(&pending, SIGPIPE));
        raise(SIGPIPE); /* the mask is as before */
        check_eq(atomic_load(&n_seen), 1);
}

/* A SIGPIPE that was pending before our write still is afterwards. */
TEST(a_pending_one_stays_pending) {
        sigset_t set, pending;

        signal(SIGPIPE, seen);
        cfb_sigpipe_old_kernel();
        cfb_sigpipe_guard();
        sigemptyset(&set);
        sigaddset(&set, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &set, NULL);
        pthread_kill(pthread_self(), SIGPIPE);
        write_both_ways();
        check(sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE));
        check_eq(atomic_load(&n_seen), 0);
}

/* The guard swallows ours only: the program's own writes to a closed pipe end it, as they would without us. */
TEST(the_programs_own_sigpipe_still_kills) {
        int fds[2], status;
        pid_t child;

        cfb_sigpipe_guard();
        without_readers(fds);
        child = fork();
        check(child >= 0);
        if (child == 0) {
                check_eq(cfb_write(fds[1], "x", 1), -EPIPE);
                if (write(fds[1], "x", 1) < 0)
                        _exit(7);
                _exit(8);
        }
        check(waitpid(child, &status, 0) == child);
        check(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
        close(fds[1]);
}

/* exec puts a guarded SIGPIPE back to default: programs we start die of it as in any shell. */
TEST(exec_resets_the_guard) {
        int status;
        pid_t child;

        cfb_sigpipe_guard();
        child = fork();
        check(child >= 0);
        if (child == 0) {
                execl("/bin/sh", "sh", "-c", "kill -PIPE $$; exit 5", (char *)NULL);
                _exit(9);
        }
        check(waitpid(child, &status, 0) == child);
        check(WIFSIGNALED(status) && WTERMSIG(status) == SIGPIPE);
}
