/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Reading and writing descriptors that others may share.
 *
 * O_NONBLOCK belongs to the open file description: set on an inherited standard output it would turn up in the shell, in the
 * parent and in every other stage of a pipeline, whose writes then fail with EAGAIN. So nothing here touches it; whether a call may
 * wait is said in the call. What there is for that, tried on Linux 6.18:
 *
 *   socket                     MSG_DONTWAIT                         exact
 *   pipe                       RWF_NOWAIT (6.4; 5.10 refuses it)    exact
 *   /dev/null, zero, eventfd   RWF_NOWAIT, some only for reading    exact where it is taken
 *   regular file, block device nothing needed: they never answer EAGAIN, poll always says ready
 *   FIFO, terminal, the rest   no flag is taken: poll, then read, or write at most PIPE_BUF
 *
 * The last way leans on pipe(7): POLLOUT means that PIPE_BUF bytes fit. It is exact as long as no other process takes the bytes or the
 * room between the poll and the call; one that competes on the same end can make the call wait, never lose bytes.
 * Opening /proc/self/fd/N anew gives a description of our own. It needs permission on the file, which a process that was handed the
 * descriptor often lacks, and another end of a pipe held open changes when the peer sees the end: so not for pipes. But for writing
 * to terminals there is nothing else: one that is stopped, or whose window hangs, has room for a byte (POLLOUT) and lets a write of
 * 100 wait for ever. The other side of a pseudo-terminal cannot be opened anew (that makes a new pair) and keeps this fault.
 */
#include "base/fdio.h"
#include "base/libc.h"
#include "base/sigpipe.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#define PIPE_FS_MAGIC 0x50495045 /* linux/magic.h, which musl does not ship */

/* The kernel refused RWF_NOWAIT on a pipe (before 6.4). Relaxed: true is true for ever, and not to know costs one call. */
static atomic_bool pipes_polled;

static bool is_anonymous_pipe(int fd) {
        struct statfs fs;

        return fstatfs(fd, &fs) == 0 && fs.f_type == PIPE_FS_MAGIC;
}

int cfb_fd_way(int fd) {
        int flags = fcntl(fd, F_GETFL);
        struct stat st;

        if (flags < 0 || fstat(fd, &st) < 0)
                return -errno;
        if (S_ISDIR(st.st_mode))
                return -EISDIR;
        if (flags & O_PATH)
                return -EBADF;
        if (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode))
                return CFB_FD_FILE;
        if (flags & O_NONBLOCK)
                return CFB_FD_OWN;
        if (S_ISSOCK(st.st_mode))
                return CFB_FD_SOCKET;
        if (S_ISFIFO(st.st_mode))
                return is_anonymous_pipe(fd) && !atomic_load_explicit(&pipes_polled, memory_order_relaxed)
                               ? CFB_FD_NOWAIT
                               : CFB_FD_POLLED;
        if (S_ISCHR(st.st_mode))
                return major(st.st_rdev) == 1 ? CFB_FD_NOWAIT
                                              : CFB_FD_POLLED; /* 1: null, zero, full, urandom */
        return CFB_FD_NOWAIT;                                  /* no file type at all: eventfd and its like */
}

/* 1: the call will not wait; 0: it would. */
static int poll_now(int fd, short events) {
        struct pollfd pollfd = {.fd = fd, .events = events};
        int r;

        do
                r = poll(&pollfd, 1, 0);
        while (r < 0 && errno == EINTR);
        return r < 0 ? -errno : r > 0;
}

static int64_t read_plain(int fd, void *data, size_t data_cap) {
        ssize_t n;

        do
                n = read(fd, data, data_cap);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : n;
}

static int64_t read_polled(int fd, void *data, size_t data_cap) {
        int r = poll_now(fd, POLLIN);

        if (r <= 0)
                return r < 0 ? r : -EAGAIN;
        return read_plain(fd, data, data_cap);
}

static void pipe_refused(int fd) {
        if (is_anonymous_pipe(fd))
                atomic_store_explicit(&pipes_polled, true, memory_order_relaxed);
}

static int64_t read_nowait(int fd, void *data, size_t data_cap) {
        struct iovec part = {data, data_cap};
        ssize_t n;

        n = cfb_preadv2(fd, &part, 1, RWF_NOWAIT);
        if (n >= 0)
                return n;
        if (errno != EOPNOTSUPP && errno != ENOSYS)
                return -errno;
        pipe_refused(fd);
        return read_polled(fd, data, data_cap);
}

int64_t cfb_fd_read(int fd, enum cfb_fd_way way, void *data, size_t data_cap) {
        ssize_t n;

        switch (way) {
        case CFB_FD_SOCKET:
                n = recv(fd, data, data_cap, MSG_DONTWAIT);
                return n < 0 ? -errno : n;
        case CFB_FD_NOWAIT:
                if (!atomic_load_explicit(&pipes_polled, memory_order_relaxed))
                        return read_nowait(fd, data, data_cap);
                return read_polled(fd, data, data_cap);
        case CFB_FD_POLLED:
                return read_polled(fd, data, data_cap);
        case CFB_FD_OWN:
        case CFB_FD_FILE:
                break;
        }
        return read_plain(fd, data, data_cap);
}

/* The first bytes of @iov, at most @data_cap. */
static size_t gather(unsigned char *data, size_t data_cap, const struct iovec *iov, unsigned n_iov) {
        size_t len = 0;

        for (unsigned i = 0; i < n_iov && len < data_cap; i++) {
                size_t part = iov[i].iov_len < data_cap - len ? iov[i].iov_len : data_cap - len;

                if (part)
                        memcpy(data + len, iov[i].iov_base, part);
                len += part;
        }
        return len;
}

/* Copied together, so that what fits PIPE_BUF still goes out in one piece however many parts it has. */
static int64_t write_polled(int fd, const struct iovec *iov, unsigned n_iov) {
        unsigned char data[PIPE_BUF];
        struct iovec part = {data, 0};
        int r = poll_now(fd, POLLOUT);
        int64_t n;

        if (r <= 0)
                return r < 0 ? r : -EAGAIN;
        part.iov_len = gather(data, sizeof(data), iov, n_iov);
        n = cfb_writev(fd, &part, 1, 0);
        return n == -EINTR ? -EAGAIN : n; /* a signal while a competitor made it wait: nothing was written */
}

static int64_t write_nowait(int fd, const struct iovec *iov, unsigned n_iov) {
        int64_t n = cfb_writev(fd, iov, n_iov, RWF_NOWAIT);

        if (n != -EOPNOTSUPP && n != -ENOSYS)
                return n;
        pipe_refused(fd);
        return write_polled(fd, iov, n_iov);
}

int64_t cfb_fd_write(int fd, enum cfb_fd_way way, const struct iovec *iov, unsigned n_iov) {
        struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = n_iov};
        ssize_t n;

        switch (way) {
        case CFB_FD_SOCKET:
                n = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
                return n < 0 ? -errno : n;
        case CFB_FD_NOWAIT:
                if (!atomic_load_explicit(&pipes_polled, memory_order_relaxed))
                        return write_nowait(fd, iov, n_iov);
                return write_polled(fd, iov, n_iov);
        case CFB_FD_POLLED:
                return write_polled(fd, iov, n_iov);
        case CFB_FD_OWN:
        case CFB_FD_FILE:
                break;
        }
        return n_iov == 1 ? cfb_write(fd, iov->iov_base, iov->iov_len) : cfb_writev(fd, iov, n_iov, 0);
}

int cfb_fd_own_terminal(int fd) {
        char path[32];
        struct stat given, opened;
        unsigned number;
        int own;

        if (!isatty(fd) || ioctl(fd, TIOCGPTN, &number) == 0)
                return -ENOTTY;
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (own < 0)
                return -errno;
        if (fstat(fd, &given) < 0 || fstat(own, &opened) < 0 || given.st_rdev != opened.st_rdev) {
                close(own);
                return -ENOTTY;
        }
        return own;
}
