/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CONFAB_TESTS_GUARDED_H
#define CONFAB_TESTS_GUARDED_H
/* Memory that ends at a page nobody may touch: a parser that looks one byte too far dies of SIGSEGV. */
#include "harness.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct guarded {
        unsigned char *map;
        size_t map_len;
        unsigned char *end; /* the first byte that must not be touched */
};

static inline struct guarded guarded_new(size_t cap) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE), len = (cap + page - 1) / page * page;
        struct guarded guarded = {.map_len = len + page};

        guarded.map = mmap(NULL, guarded.map_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        check(guarded.map != MAP_FAILED);
        guarded.end = guarded.map + len;
        check_eq(mprotect(guarded.end, page, PROT_NONE), 0);
        return guarded;
}

static inline void guarded_free(struct guarded *guarded) {
        munmap(guarded->map, guarded->map_len);
}

/* @len bytes of @data, against the guard. @data may lie in the same memory. */
static inline unsigned char *guarded_put(struct guarded *guarded, const void *data, size_t len) {
        check(len <= (size_t)(guarded->end - guarded->map));
        if (len)
                memmove(guarded->end - len, data, len);
        return guarded->end - len;
}

#endif
