/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_BASE_LIBC_H
#define CFB_BASE_LIBC_H
/* What glibc has and musl 1.2.3 has not, and what neither had when the kernels began that we run on. */
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 0x00000008
#endif
#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
/* The same numbers on every architecture. */
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_close_range
#define SYS_close_range 436 /* Linux 5.9 */
#endif
#define CFB_P_PIDFD ((idtype_t)3) /* P_PIDFD, Linux 5.4; glibc 2.36 and musl 1.2.3 do not both name it */

/* preadv2 and pwritev2 at the file's own position: the kernel takes the position -1 in two halves. */
static inline ssize_t cfb_preadv2(int fd, const struct iovec *iov, unsigned n_iov, int flags) {
        return syscall(SYS_preadv2, fd, iov, (long)n_iov, -1L, -1L, flags);
}

static inline ssize_t cfb_pwritev2(int fd, const struct iovec *iov, unsigned n_iov, int flags) {
        return syscall(SYS_pwritev2, fd, iov, (long)n_iov, -1L, -1L, flags);
}

/*
 * sendmsg. musl's copies the control part into 1,024 bytes of its own, to clear padding, and so refuses more than 250
 * descriptors; the kernel takes 253. @header and its control part must have been zeroed before they were filled.
 */
static inline ssize_t cfb_sendmsg(int fd, const struct msghdr *header, int flags) {
#ifdef __GLIBC__
        return sendmsg(fd, header, flags);
#else
        return syscall(SYS_sendmsg, fd, header, flags);
#endif
}

/* What @error (positive) means, in English. Static storage, any thread. */
static inline const char *cfb_errno_text(int error) {
#ifdef __GLIBC__
        const char *text = strerrordesc_np(error);

        return text ? text : "unknown error";
#else
        return strerror(error); /* a constant there */
#endif
}

#endif
