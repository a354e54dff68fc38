/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CONFAB_TESTS_STORM_H
#define CONFAB_TESTS_STORM_H
/*
 * HARNESS_STORM_HZ=10000: every test of any program runs in a storm of so many signals a second (FAULTS 24). No result may change.
 *
 * The signal is SIGURG, which no test and nothing of the library's uses. A timer of the test's process sends it, one more each process the test
 * forks; none lives through exec. The handler does nothing, but one signal restarts the call it meets and the next one does not.
 */
#include <stdbool.h>

/* In the harness's first process: whether there is to be a storm. Shares the counter with all that come. */
bool storm_prepare(void);
/* In the test's process. Without storm_prepare nothing happens. */
void storm_begin(void);
void storm_end(void);
/* How many signals there were, in all processes. */
unsigned long storm_signals(void);

#endif
