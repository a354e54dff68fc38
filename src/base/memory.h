/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_BASE_MEMORY_H
#define CFB_BASE_MEMORY_H
/* Memory: every allocation of the library goes through these (malloc, or what confab_set_allocator says). */
#include <stddef.h>

/* Zeroed memory of @len bytes (> 0), or NULL. */
void *cfb_allocate(size_t len);
/* The same without zeroing: for buffers whose pages should be touched only when used. */
void *cfb_allocate_untouched(size_t len);
void cfb_release(void *memory);
/*
 * Room for one more behind @n items of @item_len bytes: @items where there is some, else a longer copy, and @items is released. NULL: no memory, and
 * @items and *@capp are as they were. Begins with @items NULL and *@capp 0.
 */
void *cfb_grow(void *items, unsigned n, unsigned *capp, size_t item_len);
/* A copy of @text, or NULL. */
char *cfb_copy_text(const char *text);
void cfb_releasep(void *memoryp); /* for CFB_CLEANUP */

#endif
