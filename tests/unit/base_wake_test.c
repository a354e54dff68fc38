/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include "base/wake.h"
#include "harness.h"

#include <confab/types.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
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
        cfb_wake(-1);
        cfb_wake_user_gone();
        check(fcntl(fd, F_GETFD) < 0); /* closed with the last user */
}

static atomic_int number;

static void *note_number(void *data) {
        (void)data;
        atomic_store(&number, cfb_wake_descriptor());
        return NULL;
}

/* A late write to a number must meet an eventfd of ours: threads hand theirs on while an endpoint lives. */
TEST(numbers_are_handed_on) {
        pthread_t thread;
        int first;

        cfb_wake_user_added();
        check(pthread_create(&thread, NULL, note_number, NULL) == 0);
        pthread_join(thread, NULL);
        first = atomic_load(&number);
        check(fcntl(first, F_GETFD) >= 0);
        cfb_wake(first); /* the late write */
        check(pthread_create(&thread, NULL, note_number, NULL) == 0);
        pthread_join(thread, NULL);
        check_eq(atomic_load(&number), first);
        cfb_wake_user_gone();
        check(fcntl(first, F_GETFD) < 0);
}

TEST(a_child_has_its_own) {
        int fd, status;
        pid_t child;

        cfb_wake_user_added();
        fd = cfb_wake_descriptor();
        child = fork();
        check(child >= 0);
        if (child == 0) {
                cfb_wake(cfb_wake_descriptor());
                _exit(cfb_wake_descriptor() == fd && readable(fd) ? 0 : 1);
        }
        check(waitpid(child, &status, 0) == child && status == 0);
        check(!readable(fd));
        cfb_wake_user_gone();
}

static void alarmed(int number_of_signal) {
        (void)number_of_signal;
}

TEST(poll_says_what_ended_it) {
        struct pollfd none = {.fd = -1};
        struct itimerval once = {.it_value = {0, 20000}};
        struct sigaction action = {.sa_handler = alarmed};
        int64_t before_ns = confab_now();

        check_eq(cfb_poll(&none, 1, CONFAB_NOW), 0);
        check_eq(cfb_poll(&none, 1, confab_now() - 1000), 0);
        check_eq(cfb_poll(&none, 1, confab_after(10 * MS)), 0);
        check(confab_now() - before_ns >= 10 * MS);
        sigaction(SIGALRM, &action, NULL);
        setitimer(ITIMER_REAL, &once, NULL);
        check_eq(cfb_poll(&none, 1, CONFAB_FOREVER), -EINTR);
}
