/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_SHM_MEMORY_H
#define CFB_SHM_MEMORY_H
/*
 * Memory that two processes share by a descriptor: made, sealed, checked when it comes from another, mapped. See memory.c.
 *
 * All return 0 or -errno, not recorded: whose memory it is only the caller can say.
 */
#include <stddef.h>

/* @len bytes (a multiple of the page size) of zeroes under @label (seen in /proc), their space reserved, sealed: the descriptor (close-on-exec), the caller's. */
int cfb_shared_new(const char *label, size_t len);
/* Whether what @fd names, a stranger's, is such memory of @least to @most bytes, which nobody can shrink or grow; its size in *@lenp. -EPROTO if not. */
int cfb_shared_check(int fd, size_t least, size_t most, size_t *lenp);
/* Maps all @len bytes for reading and writing, in *@memoryp; no child of a fork has them. */
int cfb_shared_map(void **memoryp, int fd, size_t len);
/* Returns NULL; accepts NULL. */
void *cfb_shared_unmap(void *memory, size_t len);

#endif
