/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include "storm.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

static long interval_ns;
static _Atomic unsigned long *n_signals; /* shared with every process of the suite */
static timer_t timer;
static bool blowing;

static void set_handler(int flags);

/* The flags are looked at when the next signal comes, so changing them here makes restarting and ending calls take turns. */
static void handle(int number) {
        unsigned long n = atomic_fetch_add(n_signals, 1);

        (void)number;
        set_handler(n % 2 ? SA_RESTART : 0);
}

static void set_handler(int flags) {
        struct sigaction action = {.sa_handler = handle, .sa_flags = flags};

        sigaction(SIGURG, &action, NULL);
}

static void arm(void) {
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGURG};
        struct itimerspec every = {{0, interval_ns}, {0, interval_ns}};

        blowing = timer_create(CLOCK_MONOTONIC, &event, &timer) == 0 &&
                  timer_settime(timer, 0, &every, NULL) == 0;
        if (!blowing) {
                perror("harness: a timer for the storm");
                abort();
        }
}

static void arm_child(void) {
        if (blowing)
                arm();
}

bool storm_prepare(void) {
        const char *hz = getenv("HARNESS_STORM_HZ");

        if (!hz || atol(hz) <= 0)
                return false;
        n_signals = mmap(NULL, sizeof(*n_signals), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (n_signals == MAP_FAILED) {
                perror("harness: mmap");
                exit(1);
        }
        interval_ns = 1000000000 / atol(hz);
        pthread_atfork(NULL, NULL, arm_child);
        return true;
}

void storm_begin(void) {
        if (!n_signals)
                return;
        set_handler(0);
        arm();
}

void storm_end(void) {
        if (!blowing)
                return;
        timer_delete(timer);
        blowing = false;
}

unsigned long storm_signals(void) {
        return n_signals ? atomic_load(n_signals) : 0;
}
