/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include <confab/types.h>
#include <time.h>

int64_t confab_now(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now); /* vDSO: no system call */
        return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t confab_after(int64_t duration_ns) {
        int64_t deadline_ns;

        if (duration_ns <= 0)
                return CONFAB_NOW;
        if (__builtin_add_overflow(confab_now(), duration_ns, &deadline_ns))
                return CONFAB_FOREVER;
        return deadline_ns;
}
