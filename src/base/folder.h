/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_BASE_FOLDER_H
#define CFB_BASE_FOLDER_H
/* Which folder on the way to a path refuses: for sentences, since the kernel says EACCES and no more. */
#include <stdbool.h>
#include <stddef.h>

/*
 * Appends to @text (as cfb_append) the folder on the way to @path that this process may not search or, with @making, not make a file in, with
 * its mode and owner. false, and nothing, where there is none.
 */
bool cfb_append_refusing_folder(char *text, size_t text_cap, size_t *used, const char *path, bool making);

#endif
