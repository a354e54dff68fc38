/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include "base/memory.h"
#include "harness.h"

#include <confab/types.h>
#include <stdbool.h>
#include <stdlib.h>

static bool refuses;

static void *allocate(size_t len, void *data) {
        (void)data;
        return refuses ? NULL : malloc(len);
}

static void release(void *memory, void *data) {
        (void)data;
        free(memory);
}

TEST(what_grows_keeps_its_items) {
        unsigned *items = NULL, cap = 0;

        for (unsigned n = 0; n < 1000; n++) {
                unsigned *more = cfb_grow(items, n, &cap, sizeof(*items));

                check(more != NULL);
                items = more;
                check(cap > n);
                items[n] = n;
        }
        for (unsigned n = 0; n < 1000; n++)
                check_eq(items[n], n);
        check(cap < 4000);
        cfb_release(items);
}

TEST(what_cannot_grow_stays_as_it_is) {
        static const struct confab_allocator allocator = {
                .size = sizeof(allocator), .allocate = allocate, .release = release};
        unsigned cap = 0, had, n = 0;
        char *items;

        check_ok(confab_set_allocator(&allocator));
        items = cfb_grow(NULL, 0, &cap, 1);
        check(items != NULL);
        while (n < cap)
                items[n++] = 'x';
        had = cap;
        refuses = true;
        check(cfb_grow(items, n - 1, &cap, 1) == items); /* there is room */
        check(cfb_grow(items, n, &cap, 1) == NULL);
        check_eq(cap, had);
        check_eq(items[n - 1], 'x');
        cfb_release(items);
}
