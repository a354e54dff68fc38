/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * The examples of signals of document S3: stop oneself, ignore a signal, set it back, a handler for an alarm; and that some cannot be caught.
 * S3_SECONDS in the environment shortens the alarm of 30 s.
 */
#include <confab/confab.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static volatile sig_atomic_t rung;

static void ring(const struct confab_signal_received *received) {
        rung = received->value;
}

static void explain(void) {
        char why[512];

        confab_explain(why, sizeof(why));
        printf("%s\n", why);
}

static void need(int64_t result) {
        if (result >= 0)
                return;
        explain();
        exit(1);
}

int main(void) {
        struct confab_signal_before before = {.size = sizeof(before)};
        const char *seconds = getenv("S3_SECONDS");
        confab_alarm *alarm;

        setvbuf(stdout, NULL, _IOLBF, 0);
        printf("%d stops\n", (int)getpid());
        need(confab_signal_send(getpid(), SIGSTOP, NULL,
                                CONFAB_NOW)); /* goes on after: confab signal CONT PID */
        puts("continued");

        need(confab_signal_ignore(&before, SIGINT)); /* Ctrl-C */
        need(confab_signal_send(getpid(), SIGINT, NULL, CONFAB_NOW));
        puts("SIGINT ignored");
        need(confab_signal_restore(&before)); /* as it was, which may not be the default */

        if (confab_signal_handle(NULL, SIGKILL, ring, 0) < 0)
                explain();

        need(confab_signal_handle(NULL, SIGALRM, ring, 0));
        need(confab_alarm_new(&alarm, SIGALRM, 1,
                              confab_after((seconds ? atoi(seconds) : 30) * INT64_C(1000000000)), 0));
        while (!rung)
                poll(NULL, 0, 100);
        confab_alarm_free(alarm);
        puts("alarm");
        return 0;
}
