/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include "base/wake.h"
#include "harness.h"

#include <confab/types.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static const int64_t MS = 1000000;

static bool readable(int fd) {
        struct pollfd pollfd = {.fd = fd, .events = POLLIN};

        return poll(&pollfd, 1, 0) == 1;
}

TEST(a_thread_has_one_and_keeps_it) {
        int fd;

        cfb_wake_user_added();
        fd = cfb_wake_descriptor();
        check(fd >= 0 && (fcntl(fd, F_GETFD) & FD_CLOEXEC));
        check_eq(cfb_wake_descriptor(), fd);
        check(!readable(fd));
        cfb_wake(fd);
        cfb_wake(fd);
        check(readable(fd));
        cfb_wake_drain(fd);
        check(!readable(fd));
        cfb_wake_drain(fd); /* does not block */
        cfb_wake_user_gone();
        check(fcntl(fd, F_GETFD) < 0); /* closed with the last user */
}

/* Waits for nothing until @go, with a wake descriptor of its own, in @fd. */
struct other {
        pthread_t thread;
        _Atomic int fd;
        int go[2];
};

static void *have_one(void *data) {
        struct other *other = data;
        char byte;

        atomic_store(&other->fd, cfb_wake_descriptor());
        check_eq(read(other->go[0], &byte, 1), 1);
        return NULL;
}

static void begin_other(struct other *other) {
        atomic_store(&other->fd, -1);
        check(pipe2(other->go, O_CLOEXEC) == 0);
        check(pthread_create(&other->thread, NULL, have_one, other) == 0);
        while (atomic_load(&other->fd) < 0)
                sched_yield();
}

static void end_other(struct other *other) {
        check(write(other->go[1], "", 1) == 1);
        pthread_join(other->thread, NULL);
        close(other->go[0]);
        close(other->go[1]);
}

static bool is_open(int fd) {
        return fcntl(fd, F_GETFD) >= 0;
}

TEST(a_thread_that_ends_closes_its_own) {
        struct other other;
        cfb_waiter waiter = 0;

        cfb_wake_user_added();
        begin_other(&other);
        cfb_wake_publish(&waiter, atomic_load(&other.fd));
        cfb_wake_waiter(&waiter);
        check(readable(atomic_load(&other.fd)));
        cfb_wake_publish(&waiter, -1);
        end_other(&other);
        check(!is_open(atomic_load(&other.fd)));
        cfb_wake_waiter(&waiter); /* nobody: nothing is written anywhere */
        cfb_wake_user_gone();
}

/* A program without endpoints holds no descriptor of ours, whichever thread closed the last one. */
TEST(the_last_user_closes_them_all) {
        struct other other;
        int fd;

        cfb_wake_user_added();
        begin_other(&other);
        fd = cfb_wake_descriptor();
        check(is_open(fd) && is_open(atomic_load(&other.fd)));
        cfb_wake_user_gone();
        check(!is_open(fd) && !is_open(atomic_load(&other.fd)));
        end_other(&other);
}

/* One wakes over and over; a number that has just been closed and given to a file must get nothing. */
struct waking {
        cfb_waiter waiter;
        atomic_bool over;
};

static _Thread_local bool slow;

/* In the C library's place: a waker pauses when it knows the number and is about to write. */
long syscall(long sysno, ...) {
        static _Atomic(long (*)(long, ...)) real;
        long a[6], (*next)(long, ...) = atomic_load(&real);
        va_list list;

        va_start(list, sysno);
        for (int i = 0; i < 6; i++)
                a[i] = va_arg(list, long);
        va_end(list);
        if (!next) {
                next = (long (*)(long, ...))(uintptr_t)dlsym(RTLD_NEXT, "syscall");
                atomic_store(&real, next);
        }
        if (slow && sysno == SYS_write)
                usleep(200);
        return next(sysno, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static void *wake_always(void *data) {
        struct waking *waking = data;

        slow = true;
        while (!atomic_load(&waking->over))
                cfb_wake_waiter(&waking->waiter);
        return NULL;
}

static _Atomic int closed;

static void *wait_once(void *data) {
        struct waking *waking = data;
        struct pollfd pollfd = {.fd = cfb_wake_descriptor(), .events = POLLIN};

        atomic_store(&closed, pollfd.fd);
        cfb_wake_publish(&waking->waiter, pollfd.fd);
        check_eq(cfb_poll(&pollfd, 1, CONFAB_FOREVER), 1);
        cfb_wake_publish(&waking->waiter, -1);
        return NULL;
}

TEST(late_wakes_reach_no_stranger) {
        enum { N_WAKERS = 3, N_WAITERS = 60 };
        struct waking waking = {0};
        pthread_t wakers[N_WAKERS];
        int held[N_WAITERS], file = open("stranger", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        cfb_wake_user_added();
        check(file >= 0);
        for (int i = 0; i < N_WAKERS; i++)
                check(pthread_create(&wakers[i], NULL, wake_always, &waking) == 0);
        for (int i = 0; i < N_WAITERS; i++) {
                pthread_t waiter;

                check(pthread_create(&waiter, NULL, wait_once, &waking) == 0);
                pthread_join(waiter, NULL);
                held[i] = dup3(file, atomic_load(&closed), O_CLOEXEC); /* the next ones get other numbers */
                check(held[i] >= 0);
        }
        atomic_store(&waking.over, true);
        for (int i = 0; i < N_WAKERS; i++)
                pthread_join(wakers[i], NULL);
        check_eq(lseek(file, 0, SEEK_END), 0);
        for (int i = 0; i < N_WAITERS; i++)
                close(held[i]);
        close(file);
        cfb_wake_user_gone();
}

TEST(a_child_has_its_own) {
        struct other other;
        int fd, status;
        pid_t child;

        cfb_wake_user_added();
        begin_other(&other);
        fd = cfb_wake_descriptor();
        child = fork();
        check(child >= 0);
        if (child == 0) {
                check(!is_open(fd) && !is_open(atomic_load(&other.fd)));
                cfb_wake(cfb_wake_descriptor());
                check(readable(cfb_wake_descriptor()));
                _exit(0);
        }
        check(waitpid(child, &status, 0) == child && status == 0);
        check(!readable(fd) && !readable(atomic_load(&other.fd)));
        end_other(&other);
        cfb_wake_user_gone();
}

/* What the child inherits names a thread of its parent's; the number may be any file by now. */
TEST(a_child_wakes_no_thread_of_its_parents) {
        struct other other;
        cfb_waiter waiter = 0;
        int status;
        pid_t child;

        cfb_wake_user_added();
        begin_other(&other);
        cfb_wake_publish(&waiter, atomic_load(&other.fd));
        child = fork();
        check(child >= 0);
        if (child == 0) {
                int file = open("stranger", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

                check(file >= 0 && dup2(file, atomic_load(&other.fd)) >= 0);
                cfb_wake_waiter(&waiter);
                check_eq(lseek(file, 0, SEEK_END), 0);
                _exit(0);
        }
        check(waitpid(child, &status, 0) == child && status == 0);
        check(!readable(atomic_load(&other.fd)));
        end_other(&other);
        cfb_wake_user_gone();
}

/* With every number taken, or with a limit far below those in use: forking needs no descriptor. */
TEST(a_fork_without_descriptors_left) {
        struct rlimit before, full;
        int fd, status;
        pid_t child;

        cfb_wake_user_added();
        fd = cfb_wake_descriptor();
        check(getrlimit(RLIMIT_NOFILE, &before) == 0);
        full = before;
        full.rlim_cur = 0;
        check(setrlimit(RLIMIT_NOFILE, &full) == 0);
        child = fork();
        check(child >= 0);
        if (child == 0) {
                check(!is_open(fd));
                check_eq(cfb_wake_descriptor(), -EMFILE); /* not the parent's */
                check(setrlimit(RLIMIT_NOFILE, &before) == 0);
                cfb_wake(cfb_wake_descriptor());
                check(readable(cfb_wake_descriptor()));
                _exit(0);
        }
        check(waitpid(child, &status, 0) == child && status == 0);
        check(setrlimit(RLIMIT_NOFILE, &before) == 0);
        check(!readable(fd));
        cfb_wake_user_gone();
}

static void alarmed(int number_of_signal) {
        (void)number_of_signal;
}

TEST(poll_says_what_ended_it) {
        struct pollfd none = {.fd = -1};
        struct itimerval often = {{0, 20000}, {0, 20000}},
                         never = {{0, 0}, {0, 0}}; /* one may come before the call */
        struct sigaction action = {.sa_handler = alarmed};
        int64_t before_ns = confab_now();

        check_eq(cfb_poll(&none, 1, CONFAB_NOW), 0);
        check_eq(cfb_poll(&none, 1, confab_now() - 1000), 0);
        check_eq(cfb_poll(&none, 1, confab_after(10 * MS)), 0);
        check(confab_now() - before_ns >= 10 * MS);
        sigaction(SIGALRM, &action, NULL);
        setitimer(ITIMER_REAL, &often, NULL);
        check_eq(cfb_poll(&none, 1, CONFAB_FOREVER), -EINTR);
        setitimer(ITIMER_REAL, &never, NULL);
}
