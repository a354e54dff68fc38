/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_BASE_HOT_H
#define CFB_BASE_HOT_H
/*
 * CFB_HOT on what a client's process runs between its fork and its end: the linker puts these functions side by side (.text.hot), on one or two
 * of the 64 KiB windows that the kernel maps at a time, where they would lie in four. Each is a page fault of every client.
 */
#define CFB_HOT __attribute__((hot))

#endif
