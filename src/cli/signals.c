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

/* --- for a job --- */

static _Atomic(confab_job *) watched_job;
/* Bit n: signal n has come: from the terminal, or to us alone. Set by the handler, taken by the main thread: none is lost, whenever it comes. */
static _Atomic unsigned from_terminal, from_others;

static void note_for_job(int number, siginfo_t *info, void *context) {
        confab_job *job = atomic_load(&watched_job);

        (void)context;
        atomic_fetch_or(info->si_code == SI_KERNEL ? &from_terminal : &from_others, 1u << number);
        if (job != NULL)
                confab_job_interrupt(job);
}

void cli_catch_for_job(void) {
        static const int caught[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP};
        struct sigaction now, action = {.sa_sigaction = note_for_job, .sa_flags = SA_SIGINFO};

        for (unsigned i = 0; i < sizeof(caught) / sizeof(caught[0]); i++)
                if (sigaction(caught[i], NULL, &now) == 0 && now.sa_handler != SIG_IGN)
                        sigaction(caught[i], &action, NULL);
}

void cli_watch_job(confab_job *job) {
        atomic_store(&watched_job, job);
        if (job != NULL && (atomic_load(&from_terminal) | atomic_load(&from_others)) != 0)
                confab_job_interrupt(job); /* it came before the handler knew whom to wake */
}

/* The lowest bit's number, and the bit is gone; 0: there is none. */
static int take_lowest(_Atomic unsigned *bits) {
        unsigned found = atomic_load(bits);
        int number = found == 0 ? 0 : __builtin_ctz(found);

        atomic_fetch_and(bits, ~(1u << number));
        return number;
}

int cli_next_for_job(bool *from_terminalp) {
        int number = take_lowest(&from_terminal);

        *from_terminalp = number != 0;
        return number != 0 ? number : take_lowest(&from_others);
}

/* --- for a loop --- */

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
