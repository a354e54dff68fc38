/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_BASE_CLEANUP_H
#define CFB_BASE_CLEANUP_H
/* Ownership by scope: CFB_CLEANUP(function) on the owner, cfb_steal() to hand it over on the last line. */
#include <unistd.h>

#define CFB_CLEANUP(function) __attribute__((cleanup(function)))

#define cfb_steal(pointerp)                                    \
        __extension__({                                        \
                __typeof__(*(pointerp)) stolen_ = *(pointerp); \
                *(pointerp) = NULL;                            \
                stolen_;                                       \
        })

static inline int cfb_steal_fd(int *fdp) {
        int fd = *fdp;

        *fdp = -1;
        return fd;
}

static inline void cfb_closep(int *fdp) {
        if (*fdp >= 0)
                close(*fdp);
        *fdp = -1;
}

#define CFB_ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

#endif
