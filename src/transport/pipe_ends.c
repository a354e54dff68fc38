/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Pipe ends that are ours: one bare read or write each, one system call, no flag changed on anybody else's description.
 *
 * Half-close of a duplex pair closes one descriptor. Another thread may be using it, so its number is first replaced by
 * the end of a pipe whose other end is closed (dup3 is atomic): the number stays taken until the endpoint is closed,
 * reads find the end, writes -EPIPE, and no stranger's file can get the number meanwhile.
 */
#include "transport/pipe_ends.h"
#include "base/cleanup.h"
#include "base/sigpipe.h"
#include "core/message.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

int64_t cfb_pipe_send(confab_endpoint *endpoint, const struct confab_message *message) {
        int fd = endpoint->fds[CFB_SENDING];
        int64_t n;

        n = message->n_iov ? cfb_writev(fd, message->iov, message->n_iov, 0)
                           : cfb_write(fd, message->data, message->data_len);
        if (n < 0 && n != -EAGAIN)
                return cfb_failed((int)n, "write", confab_address(endpoint));
        return n;
}

int cfb_pipe_receive(confab_endpoint *endpoint, struct confab_message *message, struct cfb_buffer **bufferp,
                     const struct confab_filter *filter) {
        struct cfb_buffer *buffer = *bufferp;
        int64_t n;

        (void)filter;
        n = cfb_sys_read(endpoint->fds[CFB_RECEIVING], buffer->bytes, buffer->cap);
        if (n > 0) {
                message->data_len = (uint64_t)n;
                return 1;
        }
        if (n == 0)
                return 0;
        return n == -EAGAIN ? -EAGAIN : cfb_failed((int)n, "read", confab_address(endpoint));
}

static uint64_t pipe_size_limit(void) {
        CFB_CLEANUP(cfb_closep) int fd = open("/proc/sys/fs/pipe-max-size", O_RDONLY | O_CLOEXEC);
        uint64_t limit = 0;
        char text[32];
        ssize_t n;

        n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
        if (n > 0) {
                text[n] = '\0';
                sscanf(text, "%" SCNu64, &limit);
        }
        return limit;
}

static size_t explain_capacity(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: capacity=%" PRId64 " is not to be had: ", failure->subject,
                   failure->a);
        if (failure->error == -EPERM)
                cfb_append(text, text_cap, &used,
                           "an unprivileged pipe holds at most fs.pipe-max-size = %" PRIu64
                           " bytes, and all pipes of a "
                           "user fs.pipe-user-pages-soft pages; raise it with sysctl fs.pipe-max-size=N",
                           pipe_size_limit());
        else if (failure->error == -EBUSY)
                cfb_append(text, text_cap, &used, "more bytes than that lie in the pipe");
        else
                cfb_append(text, text_cap, &used, "a pipe holds at most 2 GiB");
        return used;
}

int cfb_pipe_set_capacity(int fd, const struct cfb_address *address) {
        if (!address->capacity)
                return 0;
        if (address->capacity > INT32_MAX)
                return cfb_failed_with(-EINVAL, "fcntl", address->text, explain_capacity, NULL,
                                       (int64_t)address->capacity, 0);
        if (fcntl(fd, F_SETPIPE_SZ, (int)address->capacity) < 0)
                return cfb_failed_with(-errno, "fcntl", address->text, explain_capacity, NULL,
                                       (int64_t)address->capacity, 0);
        return 0;
}

uint64_t cfb_pipe_capacity(const confab_endpoint *endpoint, uint64_t asked) {
        int side = endpoint && endpoint->fds[CFB_SENDING] >= 0 ? CFB_SENDING : CFB_RECEIVING;
        int size = endpoint ? fcntl(endpoint->fds[side], F_GETPIPE_SZ) : -1;
        uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), rounded = page;

        if (size > 0)
                return (uint64_t)size;
        if (!asked)
                return 16 * page; /* pipe(7) */
        while (rounded < asked && rounded < (UINT64_C(1) << 31))
                rounded *= 2;
        return rounded;
}

static int close_side(confab_endpoint *endpoint, int side) {
        int ends[2], r = 0;

        if (endpoint->fds[side] < 0)
                return 0;
        if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
                return cfb_failed(-errno, "shutdown", confab_address(endpoint));
        if (dup3(ends[side == CFB_SENDING ? 1 : 0], endpoint->fds[side], O_CLOEXEC) < 0)
                r = cfb_failed(-errno, "shutdown", confab_address(endpoint));
        close(ends[0]);
        close(ends[1]);
        return r;
}

int cfb_pipe_shutdown(confab_endpoint *endpoint, uint32_t direction) {
        int r = 0;

        if (direction & CONFAB_SEND)
                r = close_side(endpoint, CFB_SENDING);
        if (r >= 0 && (direction & CONFAB_RECEIVE))
                r = close_side(endpoint, CFB_RECEIVING);
        return r;
}

int cfb_rest_empty(const struct cfb_address *address) {
        return address->rest[0] ? cfb_address_refuse(address, 0, "nothing belongs between :// and ?") : 0;
}
