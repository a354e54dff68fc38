/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Socket activation as the one that is started: the protocol of sd_listen_fds(3). LISTEN_PID must be this process (a variable that
 * a grandparent set and nobody took away is not for us), LISTEN_FDS descriptors begin at 3.
 *
 * Each is opened as fd://N?take, so what may listen and how it is used is decided in one place (transport/fd.c). All or none is taken.
 */
#include "base/cancel.h"
#include "base/error.h"

#include <confab/service.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { FIRST_PASSED = 3, MOST_PASSED = 1024 };

static int refuse(int error, const char *why) {
        return cfb_failed_with(error, "activated", "LISTEN_FDS", NULL, why, 0, 0);
}

/* A number and nothing else; -1. */
static long number_of(const char *text) {
        char *end;
        long value;

        errno = 0;
        value = strtol(text, &end, 10);
        return *text >= '0' && *text <= '9' && !*end && !errno ? value : -1;
}

/* How many were passed to this process; 0: none. */
static int n_passed(void) {
        const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
        long n;

        if (!pid || !count || number_of(pid) != getpid())
                return 0;
        n = number_of(count);
        return n < 0 || n > MOST_PASSED ? refuse(-EINVAL, "it is no number of descriptors") : (int)n;
}

static void close_all(confab_endpoint **listeners, int n) {
        struct cfb_failure failure = *cfb_last_failure();

        for (int i = 0; i < n; i++)
                listeners[i] = confab_close(listeners[i]);
        *cfb_last_failure() = failure;
}

/* Opens all of them, lent (@take "no") or to be owned. */
static int open_all(confab_endpoint **listeners, int n, const char *take, const char *keys) {
        for (int i = 0; i < n; i++) {
                char address[256];
                int r;

                if (snprintf(address, sizeof(address), "fd://%d?take=%s%s%s", FIRST_PASSED + i, take,
                             keys ? "&" : "", keys ? keys : "") >= (int)sizeof(address))
                        return refuse(-EINVAL, "the keys are too long");
                r = confab_listen(&listeners[i], address, NULL, CONFAB_NOW);
                if (r < 0) {
                        close_all(listeners, i);
                        return r;
                }
        }
        return n;
}

int confab_activated(confab_endpoint **listeners, unsigned n_listeners, const char *keys) {
        CFB_UNCANCELLED;
        int n = n_passed(), r;

        if (n <= 0)
                return n;
        if (!listeners || (unsigned)n > n_listeners)
                return refuse(-E2BIG, "more descriptors were passed than this program listens on");
        r = open_all(listeners, n, "no",
                     keys); /* lent first: one that does not listen leaves the others as they were */
        if (r < 0)
                return r;
        close_all(listeners, n);
        r = open_all(listeners, n, "yes", keys);
        if (r < 0)
                return r;
        unsetenv("LISTEN_PID");
        unsetenv("LISTEN_FDS");
        unsetenv("LISTEN_FDNAMES");
        return n;
}
