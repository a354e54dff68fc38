/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Pools of receive buffers.
 *
 * The usual case is one receiver that releases a message before it takes the next: then the same buffer goes through the
 * pool's first place, one atomic exchange to take it and one compare-and-swap to give it back. Only when several are lent at
 * once are the other places looked at. At most N_PLACES idle buffers are kept; a burst's surplus is freed.
 *
 * No lock: a fork while another thread held it would leave it held in the child for ever, where endpoints go on. Places that are each one word
 * are whole at every instruction; a buffer that such a thread had in its hands is lost to the child, no more.
 *
 *   [P1] place: give stores with release, take exchanges with acquire: the buffer's contents and header.
 *   [P2] refs: the last unref (acquire-release) sees everything done to the buffer by those who dropped theirs.
 */
#include "core/buffer.h"
#include "base/cancel.h"
#include "base/hot.h"
#include "base/memory.h"

#include <stdatomic.h>
#include <unistd.h>

enum { N_PLACES = 16 };

struct cfb_pool {
        _Atomic uint32_t refs;
        size_t buffer_cap;
        _Atomic(struct cfb_buffer *) places[N_PLACES]; /* NULL: nothing is kept there */
};

static struct cfb_buffer *buffer_new(struct cfb_pool *pool, size_t cap) {
        struct cfb_buffer *buffer;

        if (cap > SIZE_MAX - sizeof(*buffer))
                return NULL;
        buffer = cfb_allocate_untouched(sizeof(*buffer) + cap);
        if (!buffer)
                return NULL;
        buffer->pool = pool;
        atomic_init(&buffer->refs, 0);
        buffer->n_descriptors = 0;
        buffer->cap = cap;
        buffer->bytes = (unsigned char *)(buffer + 1);
        buffer->peer = (struct confab_peer){.size = sizeof(buffer->peer)};
        return buffer;
}

int cfb_pool_new(struct cfb_pool **poolp, size_t buffer_cap) {
        struct cfb_pool *pool = cfb_allocate(sizeof(*pool));
        struct cfb_buffer *first;

        if (!pool)
                return -ENOMEM;
        atomic_init(&pool->refs, 1);
        pool->buffer_cap = buffer_cap;
        first = buffer_new(pool, buffer_cap);
        if (!first) {
                cfb_release(pool);
                return -ENOMEM;
        }
        atomic_init(&pool->places[0], first);
        *poolp = pool;
        return 0;
}

CFB_HOT struct cfb_pool *cfb_pool_ref(struct cfb_pool *pool) {
        /* relaxed: the caller holds a reference, so the pool is alive and known to it */
        atomic_fetch_add_explicit(&pool->refs, 1, memory_order_relaxed);
        return pool;
}

struct cfb_pool *cfb_pool_unref(struct cfb_pool *pool) {
        /* acquire-release, as [P2] */
        if (!pool || atomic_fetch_sub_explicit(&pool->refs, 1, memory_order_acq_rel) != 1)
                return NULL;
        for (unsigned i = 0; i < N_PLACES; i++)
                cfb_release(atomic_load_explicit(&pool->places[i],
                                                 memory_order_relaxed)); /* relaxed: nobody else is left */
        cfb_release(pool);
        return NULL;
}

size_t cfb_pool_buffer_cap(const struct cfb_pool *pool) {
        return pool->buffer_cap;
}

static struct cfb_buffer *take_from(_Atomic(struct cfb_buffer *) *place) {
        struct cfb_buffer *buffer =
                atomic_load_explicit(place, memory_order_relaxed); /* most are empty: look first */

        return buffer ? atomic_exchange_explicit(place, NULL, memory_order_acquire) : NULL; /* [P1] acquire */
}

static bool give_to(_Atomic(struct cfb_buffer *) *place, struct cfb_buffer *buffer) {
        struct cfb_buffer *none = NULL;

        return !atomic_load_explicit(place,
                                     memory_order_relaxed) && /* only to spare the swap that would fail */
               atomic_compare_exchange_strong_explicit(place, &none, buffer, memory_order_release,
                                                       memory_order_relaxed); /* [P1] release */
}

/* Out of the first place. A process of one thread has nobody to exclude: two plain accesses, not two locked ones of 8 ns each. */
static inline struct cfb_buffer *take_first(struct cfb_pool *pool) {
        struct cfb_buffer *buffer;

        if (!CFB_SINGLE_THREADED)
                return atomic_exchange_explicit(&pool->places[0], NULL,
                                                memory_order_acquire);         /* [P1] acquire */
        buffer = atomic_load_explicit(&pool->places[0], memory_order_relaxed); /* no partner: one thread */
        atomic_store_explicit(&pool->places[0], NULL, memory_order_relaxed);
        return buffer;
}

CFB_HOT static void give_back(struct cfb_pool *pool, struct cfb_buffer *buffer) {
        if (buffer->cap != pool->buffer_cap) {
                cfb_release(buffer);
                return;
        }
        if (CFB_SINGLE_THREADED && !atomic_load_explicit(&pool->places[0], memory_order_relaxed)) {
                atomic_store_explicit(&pool->places[0], buffer,
                                      memory_order_relaxed); /* no partner: one thread */
                return;
        }
        for (unsigned i = 0; i < N_PLACES; i++)
                if (give_to(&pool->places[i], buffer))
                        return;
        cfb_release(buffer);
}

CFB_HOT struct cfb_buffer *cfb_buffer_take(struct cfb_pool *pool) {
        struct cfb_buffer *buffer = take_first(pool);

        for (unsigned i = 1; !buffer && i < N_PLACES; i++)
                buffer = take_from(&pool->places[i]);
        if (!buffer)
                buffer = buffer_new(pool, pool->buffer_cap);
        if (buffer)
                atomic_store_explicit(&buffer->refs, 1, memory_order_relaxed); /* nobody else has it */
        return buffer;
}

struct cfb_buffer *cfb_buffer_take_large(struct cfb_pool *pool, size_t cap) {
        struct cfb_buffer *buffer = buffer_new(pool, cap);

        if (buffer)
                atomic_store_explicit(&buffer->refs, 1, memory_order_relaxed); /* nobody else has it */
        return buffer;
}

void cfb_buffer_ref(struct cfb_buffer *buffer) {
        /* relaxed: the caller holds a reference */
        atomic_fetch_add_explicit(&buffer->refs, 1, memory_order_relaxed);
}

bool cfb_buffer_alone(const struct cfb_buffer *buffer) {
        /* [P2] acquire: what the other holders did to the bytes comes before what the last one does */
        return atomic_load_explicit(&buffer->refs, memory_order_acquire) == 1;
}

CFB_HOT void cfb_buffer_unref(struct cfb_buffer *buffer) {
        /* [P2]; the only holder needs no read-modify-write */
        if (!buffer || (!cfb_buffer_alone(buffer) &&
                        atomic_fetch_sub_explicit(&buffer->refs, 1, memory_order_acq_rel) != 1))
                return;
        for (uint32_t i = 0; i < buffer->n_descriptors; i++)
                if (buffer->descriptors[i] >= 0)
                        close(buffer->descriptors[i]);
        buffer->n_descriptors = 0;
        give_back(buffer->pool, buffer);
}
