/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include "base/memory.h"

#include <confab/types.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/*
 * Set once, before the first use: no allocation takes a lock or an atomic read-modify-write to find its allocator. @used is the only field
 * another thread may look at early; a program that sets the allocator from one thread while another already opens
 * endpoints breaks the contract and may mix two allocators, so the store is also refused as soon as it is seen.
 */
static struct confab_allocator chosen;
static atomic_bool used;

int confab_set_allocator(const struct confab_allocator *allocator) {
        if (!allocator || allocator->size < sizeof(*allocator) || allocator->flags || !allocator->allocate ||
            !allocator->release)
                return -EINVAL;
        /* relaxed: an order between threads is the caller's contract, see above */
        if (atomic_load_explicit(&used, memory_order_relaxed))
                return -EBUSY;
        chosen = *allocator;
        return 0;
}

void *cfb_allocate_untouched(size_t len) {
        /* relaxed, and read first: a line written once stays shared by all */
        if (!atomic_load_explicit(&used, memory_order_relaxed))
                atomic_store_explicit(&used, true, memory_order_relaxed);
        return chosen.allocate ? chosen.allocate(len, chosen.data) : malloc(len);
}

void *cfb_allocate(size_t len) {
        void *memory;

        if (!chosen.allocate) {
                if (!atomic_load_explicit(&used, memory_order_relaxed))
                        atomic_store_explicit(&used, true, memory_order_relaxed);
                return calloc(1, len);
        }
        memory = cfb_allocate_untouched(len);
        if (memory)
                memset(memory, 0, len);
        return memory;
}

void cfb_release(void *memory) {
        if (chosen.release)
                chosen.release(memory, chosen.data);
        else
                free(memory);
}

void *cfb_grow(void *items, unsigned n, unsigned *capp, size_t item_len) {
        unsigned cap = 2 * *capp + 16;
        void *longer;

        if (n < *capp)
                return items;
        longer = cfb_allocate(cap * item_len);
        if (!longer)
                return NULL;
        if (n)
                memcpy(longer, items, n * item_len);
        cfb_release(items);
        *capp = cap;
        return longer;
}

char *cfb_copy_text(const char *text) {
        size_t len = strlen(text) + 1;
        char *copy = cfb_allocate_untouched(len);

        return copy ? memcpy(copy, text, len) : NULL;
}

void cfb_releasep(void *memoryp) {
        cfb_release(*(void **)memoryp);
}
