/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_TRANSPORT_PIPE_ENDS_H
#define CFB_TRANSPORT_PIPE_ENDS_H
/* What pipe, fifo and exec share: pipe ends that are descriptions of our own, O_NONBLOCK. See pipe_ends.c. */
#include "core/transport.h"

int64_t cfb_pipe_send(struct confab_endpoint *endpoint, const struct confab_message *message);
/* A read of 0 is the end (fifo looks closer before it says so). */
int cfb_pipe_receive(struct confab_endpoint *endpoint, struct confab_message *message,
                     struct cfb_buffer **bufferp, const struct confab_filter *filter);
/* capacity= as F_SETPIPE_SZ; the kernel's limit is reported as such. 0 when it was not given. */
int cfb_pipe_set_capacity(int fd, const struct cfb_address *address);
/* Bytes the pipe of @endpoint holds, or what @asked (0: the default) will become. */
uint64_t cfb_pipe_capacity(const struct confab_endpoint *endpoint, uint64_t asked);
/* Half-close of an end that is two descriptors; later calls of that side answer -EPIPE, or the end. -EMFILE: it takes two for a moment. */
int cfb_pipe_shutdown(struct confab_endpoint *endpoint, uint32_t direction);
/* For transports whose address has no rest: refuses one. */
int cfb_rest_empty(const struct cfb_address *address);

#endif
