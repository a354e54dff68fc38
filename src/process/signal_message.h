/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_PROCESS_SIGNAL_MESSAGE_H
#define CFB_PROCESS_SIGNAL_MESSAGE_H
/* Signals as messages: the value in decimal text, the sender as a peer. */
#include <confab/signal.h>
#include <stdbool.h>

enum { CFB_SIGNAL_TEXT_MAX = 11 }; /* "-2147483648" */

/* Whether @data is a number of 32 bits in its one way of writing: no plus, no leading zeros, no spaces. */
bool cfb_signal_number_read(int32_t *valuep, const void *data, size_t len);

/* Fills @text (CFB_SIGNAL_TEXT_MAX bytes, no NUL) and @peer from @received; returns the length, 0: no value came. */
size_t cfb_signal_write(unsigned char *text, struct confab_peer *peer,
                        const struct confab_signal_received *received);

#endif
