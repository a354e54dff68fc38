/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* An end by SIGINT, SIGTERM or SIGHUP: waits are interrupted, the command closes what it has, then the signal takes effect. */
#include "command.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#define WATCHED_MAX 8

/* The handler of a signal knows no context, so this one list is the program's own. Written by the main thread only,
 * read by the handler that interrupts it: lock-free atomics, in program order. */
static _Atomic(confab_endpoint *) watched[WATCHED_MAX];
static _Atomic(confab_lock *) watched_lock;
static volatile sig_atomic_t signalled;

static void interrupt_all(int number) {
        signalled = number;
        for (unsigned i = 0; i < WATCHED_MAX; i++) {
                confab_endpoint *endpoint = atomic_load(&watched[i]);

                if (endpoint != NULL)
                        confab_interrupt(endpoint);
        }
        confab_lock_interrupt(atomic_load(&watched_lock));
}

static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
enum { N_NUMBERS = sizeof(numbers) / sizeof(numbers[0]) };

/* nohup and background jobs ignore some of them: those stay ignored. */
static bool is_default(int number) {
        struct sigaction now;

        return sigaction(number, NULL, &now) == 0 && now.sa_handler == SIG_DFL;
}

void cli_catch_signals(void) {
        static bool caught;
        struct sigaction action = {.sa_handler = interrupt_all, .sa_flags = SA_RESETHAND};

        if (caught)
                return;
        caught = true;
        for (unsigned i = 0; i < N_NUMBERS; i++)
                if (is_default(numbers[i]))
                        sigaction(numbers[i], &action, NULL);
}

void cli_watch(confab_endpoint *endpoint) {
        cli_catch_signals();
        for (unsigned i = 0; i < WATCHED_MAX; i++)
                if (atomic_load(&watched[i]) == NULL) {
                        atomic_store(&watched[i], endpoint);
                        break;
                }
        if (signalled != 0)
                confab_interrupt(endpoint);
}

void cli_unwatch(confab_endpoint *endpoint) {
        for (unsigned i = 0; i < WATCHED_MAX; i++)
                if (atomic_load(&watched[i]) == endpoint)
                        atomic_store(&watched[i], NULL);
}

void cli_note_signal(int number) {
        signalled = number;
}

void cli_watch_lock(confab_lock *lock) {
        cli_catch_signals();
        atomic_store(&watched_lock, lock);
        if (signalled != 0)
                confab_lock_interrupt(lock);
}

int cli_signalled(void) {
        return signalled;
}

static int stop_loop(confab_source *source, uint32_t events, void *data) {
        (void)source;
        signalled = (int)events;
        confab_loop_stop(data);
        return 0;
}

int cli_loop_signals(confab_loop *loop) {
        int r = 0;

        for (unsigned i = 0; r >= 0 && i < N_NUMBERS; i++)
                if (is_default(numbers[i]))
                        r = confab_loop_add_signal(NULL, loop, numbers[i], stop_loop, loop);
        return r;
}

void cli_die_if_signalled(void) {
        sigset_t set;

        if (signalled == 0)
                return;
        signal(signalled, SIG_DFL);
        sigemptyset(&set);
        sigaddset(&set, signalled);
        raise(signalled);
        sigprocmask(SIG_UNBLOCK, &set, NULL);
}
