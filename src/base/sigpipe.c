/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Writing to pipes without SIGPIPE.
 *
 * Sockets have MSG_NOSIGNAL, pipes have nothing before RWF_NOSIGNAL of Linux 6.18, and pwritev2, which takes it, costs 100 ns more
 * than write here (a fifth of a pipe's throughput). So the way depends on what SIGPIPE does in this process, looked at
 * when a pipe is opened for writing:
 *
 *   default  - a guard handler is installed. Inside cfb_write it swallows the signal (it comes to the writing thread itself);
 *              anywhere else it puts the default back and raises the signal again, so the program dies as it would have.
 *              exec resets it to default, as for any handler. Then a bare write(2). In a thread that blocks SIGPIPE it is fetched
 *              back after -EPIPE.
 *   ignored  - a bare write(2).
 *   handled  - the program's handler must not see our SIGPIPE: pwritev2(RWF_NOSIGNAL), or on older kernels the signal
 *              is blocked around the write and fetched back (three system calls more).
 *
 * A program that changes SIGPIPE's disposition after opening is told so by confab(3): it must open first, or ignore it.
 * Cost of a bare write: one system call and two stores to a thread-local byte.
 */
#include "base/sigpipe.h"
#include "base/libc.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#ifndef RWF_NOSIGNAL
#define RWF_NOSIGNAL 0x00000100
#endif

/* Both relaxed everywhere: each value is right on its own. The way is looked at anew at every open. */
_Atomic int cfb_sigpipe_way = CFB_SIGPIPE_UNKNOWN;
static atomic_bool no_rwf; /* the kernel refused RWF_NOSIGNAL once */
_Thread_local volatile sig_atomic_t cfb_sigpipe_writing;

static void guard(int number) {
        struct sigaction standard = {.sa_handler = SIG_DFL};

        if (cfb_sigpipe_writing)
                return;
        sigaction(number, &standard, NULL);
        raise(number); /* delivered when the handler returns */
}

void cfb_sigpipe_guard(void) {
        struct sigaction now, guarded = {.sa_handler = guard, .sa_flags = SA_RESTART};

        if (sigaction(SIGPIPE, NULL, &now) < 0)
                return;
        if (!(now.sa_flags & SA_SIGINFO) && now.sa_handler == SIG_DFL) {
                sigemptyset(&guarded.sa_mask);
                sigaction(SIGPIPE, &guarded, NULL);
                atomic_store_explicit(&cfb_sigpipe_way, CFB_SIGPIPE_BARE, memory_order_relaxed);
        } else if (!(now.sa_flags & SA_SIGINFO) && (now.sa_handler == SIG_IGN || now.sa_handler == guard)) {
                atomic_store_explicit(&cfb_sigpipe_way, CFB_SIGPIPE_BARE, memory_order_relaxed);
        } else {
                atomic_store_explicit(&cfb_sigpipe_way, CFB_SIGPIPE_HANDLED, memory_order_relaxed);
        }
}

/* The old way: block, write, fetch what we caused, restore. A SIGPIPE that was pending before stays pending. */
struct blocked {
        sigset_t before;
        bool was_pending;
};

static void block_sigpipe(struct blocked *blocked) {
        sigset_t sigpipe, pending;

        sigemptyset(&sigpipe);
        sigaddset(&sigpipe, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &sigpipe, &blocked->before);
        sigpending(&pending);
        blocked->was_pending = sigismember(&pending, SIGPIPE) == 1;
}

static void unblock_sigpipe(const struct blocked *blocked, int64_t result) {
        sigset_t sigpipe;

        sigemptyset(&sigpipe);
        sigaddset(&sigpipe, SIGPIPE);
        if (result == -EPIPE && !blocked->was_pending)
                while (sigtimedwait(&sigpipe, NULL, &(struct timespec){0}) < 0 && errno == EINTR)
                        ;
        pthread_sigmask(SIG_SETMASK, &blocked->before, NULL);
}

static int64_t write_blocked(int fd, const struct iovec *iov, unsigned n_iov, int flags) {
        struct blocked blocked;
        int64_t n;

        block_sigpipe(&blocked);
        n = flags ? cfb_pwritev2(fd, iov, n_iov, flags) : writev(fd, iov, (int)n_iov);
        if (n < 0)
                n = -errno;
        unblock_sigpipe(&blocked, n);
        return n;
}

void cfb_sigpipe_old_kernel(void) {
        atomic_store_explicit(&no_rwf, true, memory_order_relaxed);
}

static int64_t write_handled(int fd, const struct iovec *iov, unsigned n_iov, int flags) {
        if (!atomic_load_explicit(&no_rwf, memory_order_relaxed)) {
                int64_t n = cfb_pwritev2(fd, iov, n_iov, flags | RWF_NOSIGNAL);

                if (n >= 0 || (errno != EOPNOTSUPP && errno != EINVAL && errno != ENOSYS))
                        return n < 0 ? -errno : n;
                /* Some files refuse any flag at all (-EOPNOTSUPP): the old way then decides whether that was it. */
                if (!flags)
                        atomic_store_explicit(&no_rwf, true, memory_order_relaxed);
        }
        return write_blocked(fd, iov, n_iov, flags);
}

/*
 * A thread that blocks SIGPIPE has ours pending after -EPIPE, and it would end the process once it is unblocked, where the guard
 * no longer knows it for ours. One that was pending before goes with it: afterwards nobody can tell them apart.
 */
void cfb_sigpipe_fetch(void) {
        sigset_t set;

        pthread_sigmask(SIG_BLOCK, NULL, &set);
        if (sigismember(&set, SIGPIPE) != 1)
                return;
        sigemptyset(&set);
        sigaddset(&set, SIGPIPE);
        while (sigtimedwait(&set, NULL, &(struct timespec){0}) < 0 && errno == EINTR)
                ;
}

int64_t cfb_writev(int fd, const struct iovec *iov, unsigned n_iov, int flags) {
        int64_t n;

        if (atomic_load_explicit(&cfb_sigpipe_way, memory_order_relaxed) != CFB_SIGPIPE_BARE)
                return write_handled(fd, iov, n_iov, flags);
        cfb_sigpipe_writing = 1;
        n = flags ? cfb_pwritev2(fd, iov, n_iov, flags) : writev(fd, iov, (int)n_iov);
        if (n < 0)
                n = -errno;
        cfb_sigpipe_writing = 0;
        if (n == -EPIPE)
                cfb_sigpipe_fetch();
        return n;
}

int64_t cfb_write_handled(int fd, const void *data, size_t data_len) {
        return write_handled(fd, &(struct iovec){(void *)(uintptr_t)data, data_len}, 1, 0);
}

/* splice has no flag against SIGPIPE, and to a socket it does not even pass MSG_NOSIGNAL on. */
int64_t cfb_splice(int from, int to, size_t len) {
        bool bare = atomic_load_explicit(&cfb_sigpipe_way, memory_order_relaxed) == CFB_SIGPIPE_BARE;
        struct blocked blocked;
        int64_t n;

        if (!bare)
                block_sigpipe(&blocked);
        cfb_sigpipe_writing = 1;
        n = splice(from, NULL, to, NULL, len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n < 0)
                n = -errno;
        cfb_sigpipe_writing = 0;
        if (!bare)
                unblock_sigpipe(&blocked, n);
        else if (n == -EPIPE)
                cfb_sigpipe_fetch();
        return n;
}
