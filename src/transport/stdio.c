/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * stdio:// - the own standard streams: receives from descriptor 0, sends to descriptor 1, whatever they are redirected to.
 *
 * They are lent: close leaves both open. Half-close is another matter: in `confab relay stdio:// tcp://host:7 | sort` the one behind
 * the pipe must see the end while the other direction goes on. So confab_shutdown(CONFAB_SEND) ends this process's use of
 * descriptor 1: a socket is shut down, a pipe's place is taken by /dev/null (in one step, dup3: the number is never free for a
 * stranger's file, and a later printf goes nowhere rather than into one). A terminal and a file have no end to show: they stay.
 * The peer sees the end when nobody else holds the pipe either: with `2>&1` standard error does.
 *
 * A standard stream that is not open, or not for that direction, is left out; direction= insists.
 */
#include "base/cleanup.h"
#include "transport/given.h"
#include "transport/pipe_ends.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

static void stdio_properties(struct confab_properties *properties, const struct cfb_address *address,
                             const confab_endpoint *endpoint) {
        (void)address;
        *properties =
                (struct confab_properties){.addressing = CONFAB_ADDRESSING_NONE, .half_close = CONFAB_YES};
        cfb_given_properties(properties, endpoint);
        if (!endpoint && (address->direction == CONFAB_RECEIVE || address->direction == CONFAB_SEND))
                properties->direction = CONFAB_DIRECTION_SIMPLEX;
}

static int use_side(confab_endpoint *endpoint, int side, uint32_t direction) {
        int fd = side == CFB_SENDING ? STDOUT_FILENO : STDIN_FILENO, access = cfb_given_access(fd);

        if (access >= 0 && ((uint32_t)access & direction))
                return cfb_given_use(endpoint, side, fd);
        if (!(endpoint->address.direction & direction))
                return 0;
        if (access >= 0)
                return cfb_unsupported(&endpoint->address, "open",
                                       side == CFB_SENDING
                                               ? "sending: standard output is open for reading only"
                                               : "receiving: standard input is open for writing only");
        return cfb_given_absent(&endpoint->address, fd);
}

static int stdio_open(confab_endpoint *endpoint, int64_t deadline_ns) {
        uint32_t direction = endpoint->address.direction ? endpoint->address.direction : CONFAB_BOTH;
        int r = 0;

        (void)deadline_ns;
        endpoint->owns_fds = false;
        if (direction & CONFAB_RECEIVE)
                r = use_side(endpoint, CFB_RECEIVING, CONFAB_RECEIVE);
        if (r >= 0 && (direction & CONFAB_SEND))
                r = use_side(endpoint, CFB_SENDING, CONFAB_SEND);
        if (r >= 0 && endpoint->fds[CFB_RECEIVING] < 0 && endpoint->fds[CFB_SENDING] < 0)
                r = cfb_given_absent(&endpoint->address, STDIN_FILENO);
        return r;
}

static int shut_side(confab_endpoint *endpoint, int side) {
        struct cfb_given *given = cfb_state(endpoint);
        CFB_CLEANUP(cfb_closep) int nothing = -1;
        int fd = endpoint->fds[side];

        if (fd < 0 || atomic_exchange_explicit(&given->shut[side], true, memory_order_relaxed))
                return 0;
        if (given->kind[side] == CFB_GIVEN_SOCKET)
                return shutdown(fd, side == CFB_SENDING ? SHUT_WR : SHUT_RD) < 0 && errno != ENOTCONN
                               ? cfb_failed(-errno, "shutdown", confab_address(endpoint))
                               : 0;
        if (given->kind[side] != CFB_GIVEN_PIPE)
                return 0;
        nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (nothing < 0 || dup3(nothing, fd, 0) < 0)
                return cfb_failed(-errno, nothing < 0 ? "open" : "dup3", "/dev/null");
        return 0;
}

static int stdio_shutdown(confab_endpoint *endpoint, uint32_t direction) {
        int r = 0;

        if (direction & CONFAB_RECEIVE)
                r = shut_side(endpoint, CFB_RECEIVING);
        if (r >= 0 && (direction & CONFAB_SEND))
                r = shut_side(endpoint, CFB_SENDING);
        return r;
}

const struct cfb_transport cfb_tr_stdio = {
        .scheme = "stdio",
        .summary = "the own standard input and output",
        .example = "stdio://",
        .keys = CFB_KEY(FRAME) | CFB_KEY(MAX) | CFB_KEY(DIRECTION),
        .state_len = sizeof(struct cfb_given),
        .properties = stdio_properties,
        .check = cfb_rest_empty,
        .open = stdio_open,
        .send = cfb_given_send,
        .receive = cfb_given_receive,
        .wait = cfb_given_wait,
        .descriptor = cfb_given_descriptor,
        .shutdown = stdio_shutdown,
        .close = cfb_given_close,
};
