/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * pipe:// - the anonymous pipe, between related processes; with duplex a pair of them.
 *
 * confab_pair("pipe://") makes ends[0], which receives, and ends[1], which sends. With ?duplex both do both, over two
 * pipes crossed over. The descriptions are ours and O_NONBLOCK: a read or write is one bare system call. When the last
 * sender has gone the receiver gets the end; when the last receiver has gone the sender gets -EPIPE, never SIGPIPE
 * (base/sigpipe.c).
 *
 * A death leaves nothing: the kernel drops the pipe with its last descriptor.
 */
#include "base/sigpipe.h"
#include "transport/pipe_ends.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

static void pipe_properties(struct confab_properties *properties, const struct cfb_address *address,
                            const confab_endpoint *endpoint) {
        *properties = (struct confab_properties){
                .size = sizeof(*properties),
                .addressing = CONFAB_ADDRESSING_NONE,
                .reach = CONFAB_REACH_FAMILY,
                .connection = CONFAB_CONNECTION_MADE,
                .direction = address->duplex ? CONFAB_DIRECTION_DUPLEX : CONFAB_DIRECTION_SIMPLEX,
                .boundaries = CONFAB_BOUNDARIES_STREAM,
                .order = CONFAB_ORDER_FIFO,
                .end = CONFAB_YES,
                .half_close = address->duplex ? CONFAB_YES : CONFAB_NO,
                .message_max = UINT64_MAX,
                .atomic_max = PIPE_BUF,
                .capacity = cfb_pipe_capacity(endpoint, address->capacity),
        };
}

static int pipe_pair(confab_endpoint *ends[2]) {
        const struct cfb_address *address = &ends[0]->address;
        int n_pipes = address->duplex ? 2 : 1;

        cfb_sigpipe_guard();
        for (int i = 0; i < n_pipes; i++) {
                int fds[2], r;

                if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
                        return cfb_failed(-errno, "pipe2", confab_address(ends[0]));
                ends[i]->fds[CFB_RECEIVING] = fds[0];
                ends[!i]->fds[CFB_SENDING] = fds[1];
                r = cfb_pipe_set_capacity(fds[1], address);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int pipe_shutdown(confab_endpoint *endpoint, uint32_t direction) {
        if (endpoint->properties.direction != CONFAB_DIRECTION_DUPLEX)
                return cfb_unsupported_of(endpoint, "shutdown",
                                          "half-close on one end of a simplex pipe: close it");
        return cfb_pipe_shutdown(endpoint, direction);
}

const struct cfb_transport cfb_tr_pipe = {
        .scheme = "pipe",
        .summary = "anonymous pipe between related processes",
        .example = "pipe://",
        .keys = CFB_KEY(FRAME) | CFB_KEY(CAPACITY) | CFB_KEY(MAX) | CFB_KEY(DUPLEX),
        .properties = pipe_properties,
        .check = cfb_rest_empty,
        .pair = pipe_pair,
        .send = cfb_pipe_send,
        .receive = cfb_pipe_receive,
        .shutdown = pipe_shutdown,
};
