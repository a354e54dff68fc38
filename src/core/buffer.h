/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_CORE_BUFFER_H
#define CFB_CORE_BUFFER_H
/*
 * Receive buffers: lent with a message, given back by confab_release. An endpoint that is opened has a pool of its own with one
 * buffer made at once; endpoints accepted from one listener share the listener's pool, so that an idle connection holds none.
 */
#include <confab/message.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>

#define CFB_DESCRIPTORS_MAX 253 /* the kernel's SCM_MAX_FD */

struct cfb_pool;

struct cfb_buffer {
        struct cfb_pool *pool;
        _Atomic uint32_t refs; /* messages lent out of it, and the endpoint that still fills it */
        uint32_t n_descriptors;
        size_t cap;
        unsigned char *bytes; /* cap of them, behind this struct */
        struct confab_peer peer;
        _Alignas(16) int descriptors[CFB_DESCRIPTORS_MAX]; /* so that the bytes are aligned, too */
};

/* A pool of buffers of @buffer_cap bytes with one made already; -ENOMEM. */
int cfb_pool_new(struct cfb_pool **poolp, size_t buffer_cap);
struct cfb_pool *cfb_pool_ref(struct cfb_pool *pool);
struct cfb_pool *
cfb_pool_unref(struct cfb_pool *pool); /* the last one frees it; every buffer is back by then */
size_t cfb_pool_buffer_cap(const struct cfb_pool *pool);

/* A buffer with one reference, from the pool or, where all are lent, new. NULL: no memory. Any thread. */
struct cfb_buffer *cfb_buffer_take(struct cfb_pool *pool);
/* One of @cap bytes (> the pool's usual): freed, not pooled, when given back. */
struct cfb_buffer *cfb_buffer_take_large(struct cfb_pool *pool, size_t cap);
void cfb_buffer_ref(struct cfb_buffer *buffer);
/* Whether the caller's reference is the only one: then the bytes may be moved. */
bool cfb_buffer_alone(const struct cfb_buffer *buffer);
/* Drops a reference; the last one closes the descriptors left in it and gives it back. NULL is fine. */
void cfb_buffer_unref(struct cfb_buffer *buffer);

#endif
