/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_BASE_CANCEL_H
#define CFB_BASE_CANCEL_H
/*
 * No call of the library is a cancellation point (FAULTS 10): CFB_UNCANCELLED on a public function's first line puts pthread_cancel off
 * until it has returned. A thread that ended within read() or ppoll() would leave its side of the endpoint busy, and close waiting for it.
 *
 * Rejected: cleaning up behind a cancelled thread, which every function on the way would have to take part in, and which musl does not
 * do by unwinding. Cost: nothing but a look while the process has one thread, 8 to 12 ns otherwise.
 */
#include "base/cleanup.h"

#include <pthread.h>

#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#define CFB_SINGLE_THREADED __libc_single_threaded
#else
#define CFB_SINGLE_THREADED 0
#endif

static inline int cfb_cancel_off(void) {
        int before = PTHREAD_CANCEL_DISABLE;

        if (!CFB_SINGLE_THREADED)
                pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before);
        return before;
}

static inline void cfb_cancel_back(const int *beforep) {
        int unused;

        if (*beforep != PTHREAD_CANCEL_DISABLE)
                pthread_setcancelstate(*beforep, &unused);
}

#define CFB_UNCANCELLED \
        CFB_CLEANUP(cfb_cancel_back) __attribute__((unused)) const int cancel_before_ = cfb_cancel_off()

#endif
