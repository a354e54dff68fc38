/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_BASE_SIGPIPE_H
#define CFB_BASE_SIGPIPE_H
/* Writing to pipes without SIGPIPE: see sigpipe.c. */
#include "base/syscall.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

enum { CFB_SIGPIPE_UNKNOWN, CFB_SIGPIPE_BARE, CFB_SIGPIPE_HANDLED };
extern _Atomic int
        cfb_sigpipe_way; /* relaxed everywhere: each value is right on its own, and looked at anew at every open */
extern _Thread_local volatile sig_atomic_t cfb_sigpipe_writing; /* the guard swallows what comes now */

/* Called when an endpoint that writes to a pipe is opened: looks at SIGPIPE's disposition and guards it if it is default. */
void cfb_sigpipe_guard(void);

/*
 * writev to a descriptor that may be a pipe; SIGPIPE neither kills nor reaches a handler of the program's.
 * @flags: RWF_NOWAIT on a description that others share, else 0. Returns the count or -errno.
 */
int64_t cfb_writev(int fd, const struct iovec *iov, unsigned n_iov, int flags);
/* One contiguous piece on a description of our own (O_NONBLOCK set): the fast path, a bare write(2) where that is safe. */
int64_t cfb_write_handled(int fd, const void *data, size_t data_len); /* its slow way */
void cfb_sigpipe_fetch(void); /* after -EPIPE: takes the SIGPIPE back where this thread blocks it */

static inline int64_t cfb_write(int fd, const void *data, size_t data_len) {
        int64_t n;

        if (__builtin_expect(atomic_load_explicit(&cfb_sigpipe_way, memory_order_relaxed) != CFB_SIGPIPE_BARE,
                             0))
                return cfb_write_handled(fd, data, data_len);
        cfb_sigpipe_writing = 1;
        n = cfb_sys_write(fd, data, data_len);
        cfb_sigpipe_writing = 0;
        if (__builtin_expect(n == -EPIPE, 0))
                cfb_sigpipe_fetch();
        return n;
}

/* From now on as on a kernel before 6.18, which has no RWF_NOSIGNAL: how the tests reach the old way. */
void cfb_sigpipe_old_kernel(void);

/* splice of @len bytes at most, one of the two a pipe, without waiting for it; SIGPIPE as above. The count or -errno. */
int64_t cfb_splice(int from, int to, size_t len);

#endif
