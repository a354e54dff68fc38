/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_PROCESS_EXPIRY_H
#define CFB_PROCESS_EXPIRY_H
/*
 * Many things that expire after the same time: a list in the order of their beginnings, and one timer for the first of them.
 * Beginning, going on and ending cost no system call and no memory; only what really expires does.
 */
#include <confab/loop.h>

struct cfb_expiring {
        struct cfb_expiring *previous, *next; /* in a ring with the list's head */
        int64_t since_ns;
};

struct cfb_expiry {
        struct cfb_expiring all; /* the ring's head; all.next began first */
        int64_t after_ns;        /* 0: they never expire, it is a list only */
        confab_source *timer;
        void (*expired)(struct cfb_expiring *one, void *data); /* takes it out */
        void *data;
};

/* 0 or -errno (the timer). To be ended by fini, before the loop is freed. */
int cfb_expiry_init(struct cfb_expiry *expiry, confab_loop *loop, int64_t after_ns,
                    void (*expired)(struct cfb_expiring *one, void *data), void *data);
void cfb_expiry_fini(struct cfb_expiry *expiry);
void cfb_expiry_add(struct cfb_expiry *expiry, struct cfb_expiring *one);
void cfb_expiry_remove(struct cfb_expiring *one);
/* It begins anew. */
void cfb_expiry_touch(struct cfb_expiry *expiry, struct cfb_expiring *one);

#endif
