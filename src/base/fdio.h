/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_BASE_FDIO_H
#define CFB_BASE_FDIO_H
/*
 * Reading and writing descriptors that others may share: never blocks, never changes the description's flags.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum cfb_fd_way {
        CFB_FD_OWN,    /* O_NONBLOCK is set on it, by us or by its owner: plain calls */
        CFB_FD_SOCKET, /* MSG_DONTWAIT */
        CFB_FD_NOWAIT, /* RWF_NOWAIT: pipes, FIFOs, what else supports it */
        CFB_FD_FILE,   /* regular files and block devices never wait: plain calls */
        CFB_FD_POLLED, /* terminals and the like: poll first, then at most PIPE_BUF a write */
};

/* How @fd can be used without blocking; -EBADF if it is not open, -EISDIR for a directory. */
int cfb_fd_way(int fd);
/* Non-blocking read and write; the count (read: 0 is the end), -EAGAIN, or -errno. */
int64_t cfb_fd_read(int fd, enum cfb_fd_way way, void *data, size_t data_cap);
int64_t cfb_fd_write(int fd, enum cfb_fd_way way, const struct iovec *iov, unsigned n_iov);
/* A description of our own (O_NONBLOCK) for writing to the terminal @fd, the caller's; -errno where there is none to be had. See fdio.c. */
int cfb_fd_own_terminal(int fd);

#endif
