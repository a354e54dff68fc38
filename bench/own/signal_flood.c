/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * signal_flood confab|bare N: one process sends N real-time signals to another, each with its number as value.
 *   confab  confab_signal_send_pidfd, received as messages from signal://
 *   bare    sigqueue and sigwaitinfo
 * Prints "N received, lost, doubled, out of order, signals a second": each number's arrivals are counted.
 */
#include <confab/confab.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

enum { BATCH = 64, SECOND = 1000000000 };

static int n_sent, n_received, n_doubled, n_disordered;
static unsigned char *arrivals;

static void need(int64_t result, const char *what) {
        char why[512] = "";

        if (result >= 0)
                return;
        confab_explain(why, sizeof(why));
        fprintf(stderr, "signal_flood: %s: %s\n", what, why[0] ? why : strerror(errno));
        exit(1);
}

static void count(int value) {
        static int last = -1;

        if (value < 0 || value >= n_sent) {
                fprintf(stderr, "signal_flood: %d came, which nobody sent\n", value);
                exit(1);
        }
        n_disordered += value <= last;
        last = value;
        n_doubled += arrivals[value] != 0;
        arrivals[value] = 1;
        n_received++;
}

/* --- both sides, both ways --- */

static confab_endpoint *signals;

static void confab_prepare(void) {
        char address[64];

        snprintf(address, sizeof(address), "signal://self?signal=RTMIN");
        need(confab_listen(&signals, address, NULL, CONFAB_NOW), "listen");
}

/* Up to @deadline_ns for the next ones; false: none came. */
static int confab_take(int64_t deadline_ns) {
        struct confab_signal_received received = {.size = sizeof(received)};
        struct confab_message messages[BATCH];
        int n;

        for (int i = 0; i < BATCH; i++)
                messages[i] = confab_message_of(NULL, 0);
        n = confab_receive_many(signals, messages, BATCH, NULL, deadline_ns);
        for (int i = 0; i < n; i++) {
                need(confab_signal_read(&received, &messages[i]), "read");
                count(received.value);
                confab_release(signals, &messages[i]);
        }
        if (n < 0 && n != -ETIMEDOUT)
                need(n, "receive");
        return n > 0;
}

static void confab_give(int pid, int value) {
        static int pidfd = -1;
        int32_t with = value;

        if (pidfd < 0)
                need(pidfd = (int)syscall(SYS_pidfd_open, pid, 0), "pidfd_open");
        need(confab_signal_send_pidfd(pidfd, SIGRTMIN, &with, CONFAB_FOREVER), "send");
}

static void bare_prepare(void) {
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGRTMIN);
        need(sigprocmask(SIG_BLOCK, &set, NULL), "sigprocmask");
}

static int bare_take(int64_t deadline_ns) {
        int64_t left_ns = deadline_ns - confab_now();
        struct timespec left = {.tv_sec = left_ns / SECOND, .tv_nsec = left_ns % SECOND};
        siginfo_t received;
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGRTMIN);
        if (left_ns < 0 || sigtimedwait(&set, &received, &left) < 0)
                return 0;
        count(received.si_value.sival_int);
        return 1;
}

static void bare_give(int pid, int value) {
        while (sigqueue(pid, SIGRTMIN, (union sigval){.sival_int = value}) < 0)
                if (errno == EAGAIN) /* no room for more: the receiver's turn */
                        sched_yield();
                else
                        need(-1, "sigqueue");
}

static const struct way {
        const char *name;
        void (*prepare)(void);
        int (*take)(int64_t deadline_ns);
        void (*give)(int pid, int value);
} ways[] = {{"confab", confab_prepare, confab_take, confab_give},
            {"bare", bare_prepare, bare_take, bare_give}};

static void receive(const struct way *way, int ready) {
        int64_t begun, took;

        way->prepare();
        arrivals = calloc((size_t)n_sent, 1);
        if (!arrivals || write(ready, "r", 1) != 1)
                need(-1, "write");
        begun = confab_now();
        while (n_received < n_sent && way->take(confab_after((int64_t)5 * SECOND)))
                ;
        took = confab_now() - begun;
        while (way->take(confab_after(SECOND / 20))) /* surplus ones */
                ;
        printf("%d %d %d %d %.0f\n", n_received, n_sent - (n_received - n_doubled), n_doubled, n_disordered,
               n_received * 1e9 / (double)took);
        confab_close(signals);
        exit(0);
}

int main(int argc, char *argv[]) {
        const struct way *way = NULL;
        int ready[2], status;
        pid_t receiver;
        char byte;

        for (size_t i = 0; argc == 3 && i < sizeof(ways) / sizeof(ways[0]); i++)
                if (strcmp(argv[1], ways[i].name) == 0)
                        way = &ways[i];
        n_sent = argc == 3 ? atoi(argv[2]) : 0;
        if (!way || n_sent < 1) {
                fprintf(stderr, "signal_flood confab|bare N\n");
                return 2;
        }
        need(pipe(ready), "pipe");
        receiver = fork();
        need(receiver, "fork");
        if (receiver == 0)
                receive(way, ready[1]);
        close(ready[1]);
        if (read(ready[0], &byte, 1) != 1) /* it has ended, and said why */
                return 1;
        for (int i = 0; i < n_sent; i++)
                way->give(receiver, i);
        return waitpid(receiver, &status, 0) == receiver && status == 0 ? 0 : 1;
}
