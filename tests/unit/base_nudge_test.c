/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* Ending a blocking call: also when the nudge came before the call, and without anything that ticks on. */
#include "base/nudge.h"
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <time.h>
#include <unistd.h>

static struct cfb_nudge nudge;

static void sleep_ms(long ms) {
        struct timespec left = {.tv_nsec = ms * 1000000};

        while (nanosleep(&left, &left) < 0)
                check_eq(errno, EINTR);
}

/* Blocks for ever on an empty queue: what the nudge has to end. */
static int block_once(int queue) {
        struct {
                long type;
                char text[1];
        } message;

        return msgrcv(queue, &message, 1, 0, 0) < 0 ? -errno : 0;
}

static void remove_queue(const int *queue) {
        msgctl(*queue, IPC_RMID, NULL);
}

/* The first signal comes and goes before the call begins: only one that is repeated ends it. */
TEST(a_nudge_before_the_call_ends_it) {
        __attribute__((cleanup(remove_queue))) int queue = msgget(IPC_PRIVATE, 0600);

        for (int i = 0; i < 5; i++) {
                check_eq(cfb_nudge_begin(&nudge), 0);
                cfb_nudge(&nudge);
                sleep_ms(2);
                check_eq(block_once(queue), -EINTR);
                cfb_nudge_end(&nudge);
        }
}

static atomic_bool ended;
static int64_t now_ns(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Also when it has passed before the call, and for a lock of a file, which the kernel would wait for again after SA_RESTART. */
TEST(a_deadline_ends_it) {
        __attribute__((cleanup(remove_queue))) int queue = msgget(IPC_PRIVATE, 0600);
        struct flock whole = {.l_type = F_WRLCK};
        int held = open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0600),
            wanted = open("file", O_RDWR | O_CLOEXEC);

        check_eq(fcntl(held, F_OFD_SETLK, &whole), 0);
        for (int64_t delay_ms = -1; delay_ms < 20; delay_ms += 5) {
                int64_t deadline_ns = now_ns() + delay_ms * 1000000;

                check_eq(cfb_nudge_begin_until(&nudge, deadline_ns), 0);
                check_eq(block_once(queue), -EINTR);
                check_eq(fcntl(wanted, F_OFD_SETLKW, &whole), -1);
                check_eq(errno, EINTR);
                cfb_nudge_end(&nudge);
                check(now_ns() >= deadline_ns);
        }
        close(held);
        close(wanted);
        sleep_ms(5);
        check_eq(nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL), 0); /* nothing ticks on */
}

static void *nudge_often(void *unused) {
        (void)unused;
        while (!ended) {
                cfb_nudge(&nudge);
                usleep(10);
        }
        return NULL;
}

/* As the closer does, which asks again and again: that must not put the signal off. */
TEST(many_nudges_end_it_as_soon_as_one) {
        __attribute__((cleanup(remove_queue))) int queue = msgget(IPC_PRIVATE, 0600);
        pthread_t thread;

        check_eq(cfb_nudge_begin(&nudge), 0);
        check_eq(pthread_create(&thread, NULL, nudge_often, NULL), 0);
        check_eq(block_once(queue), -EINTR); /* while the other still asks, or never */
        cfb_nudge_end(&nudge);
        ended = true;
        pthread_join(thread, NULL);
}

TEST(nothing_ticks_on_after_the_end) {
        struct timespec long_enough = {.tv_nsec = 20000000};

        check_eq(cfb_nudge_begin(&nudge), 0);
        cfb_nudge(&nudge);
        cfb_nudge_end(&nudge);
        check_eq(nanosleep(&long_enough, NULL), 0);
        cfb_nudge(&nudge); /* nobody waits */
        check_eq(nanosleep(&long_enough, NULL), 0);
}

/* One who armed too late, against all expectation: the handler stops it. */
TEST(a_late_timer_is_stopped_by_its_first_signal) {
        struct timespec long_enough = {.tv_nsec = 20000000};
        uint32_t timer;

        check_eq(cfb_nudge_begin(&nudge), 0);
        timer = atomic_load(&nudge.timer);
        cfb_nudge_end(&nudge);
        atomic_store(&nudge.timer, timer);
        cfb_nudge(&nudge);
        sleep_ms(5);
        for (int i = 0; nanosleep(&long_enough, NULL) < 0; i++)
                check(i < 50); /* a tick a millisecond would disturb each */
}

static void *wait_elsewhere(void *unused) {
        struct cfb_nudge other = {0};

        (void)unused;
        check_eq(cfb_nudge_begin(&other), 0);
        cfb_nudge_end(&other);
        return NULL;
}

/* Each thread's timer goes with it: the limit of pending signals is not used up. */
TEST(timers_end_with_their_threads) {
        for (int i = 0; i < 2000; i++) {
                pthread_t thread;

                check_eq(pthread_create(&thread, NULL, wait_elsewhere, NULL), 0);
                pthread_join(thread, NULL);
        }
        {
                char line[32] = "";
                int n_timers = 0;
                FILE *file = fopen("/proc/self/timers", "r");

                if (!file)
                        skip("the kernel does not show timers (/proc/self/timers)");
                while (fgets(line, sizeof(line), file))
                        n_timers += line[0] == 'I';
                fclose(file);
                check_eq(n_timers, 0);
        }
}
