/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_BASE_OWNER_H
#define CFB_BASE_OWNER_H
/*
 * Which process made something, so that a forked one leaves it alone. Its pid alone does not say: a child that is the first in a namespace of
 * processes of its own is 1, as its parent may be. The count of forks alone does not either: a bare clone runs no handlers.
 */
#include "base/wake.h"

#include <stdbool.h>
#include <unistd.h>

struct cfb_owner {
        uint32_t generation; /* 0: nobody */
        pid_t pid;
};

static inline struct cfb_owner cfb_owner_here(void) {
        cfb_generation_prepare();
        return (struct cfb_owner){cfb_generation, getpid()};
}

static inline bool cfb_owner_is_here(const struct cfb_owner *owner) {
        return owner->generation == cfb_generation && owner->pid == getpid();
}

#endif
