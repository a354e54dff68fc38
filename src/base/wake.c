/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Wake descriptors and the one poll of the library.
 *
 * Every thread that ever waits owns one eventfd. Interrupters learn its number from the endpoint and write to it later, so a number must
 * stay an eventfd of ours for ever: a thread that ends puts its eventfd on a free list, and the next new thread takes it from there.
 * As many exist as threads have waited at the same time.
 *
 * With the last endpoint closed nobody can know a number any more: then the closing thread gives up its own and the list, and
 * a thread that ends later closes what it had. A program that uses no endpoint holds no descriptor of ours.
 *
 * Fork: an eventfd is shared with the child, which would steal the parent's wakes. The child's handler replaces each number of the
 * list and the thread's own by a new eventfd under the same number (dup3), so that endpoints that name it stay right.
 * Raw clone children without the handler share them: they must exec or not wait (confab(3) says so).
 */
#include "base/wake.h"
#include "base/cleanup.h"
#include "base/error.h"

#include <confab/types.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { N_KEPT = 1024 };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t ended;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int kept[N_KEPT]; /* free ones; beyond that many threads at once the surplus stays open, unused */
static unsigned n_kept;
static _Thread_local int own = -1;

static unsigned n_users; /* open endpoints; under lock */

static void thread_ended(void *unused) {
        (void)unused;
        pthread_mutex_lock(&lock);
        if (!n_users)
                close(own);
        else if (n_kept < N_KEPT)
                kept[n_kept++] = own;
        pthread_mutex_unlock(&lock);
        own = -1;
}

void cfb_wake_user_added(void) {
        pthread_mutex_lock(&lock);
        n_users++;
        pthread_mutex_unlock(&lock);
}

void cfb_wake_user_gone(void) {
        pthread_mutex_lock(&lock);
        if (--n_users == 0) {
                while (n_kept)
                        close(kept[--n_kept]);
                if (own >= 0) {
                        close(own);
                        own = -1;
                        pthread_setspecific(ended, NULL);
                }
        }
        pthread_mutex_unlock(&lock);
}

static void renew(int fd) {
        int fresh = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

        if (fresh < 0)
                return;
        dup3(fresh, fd, O_CLOEXEC);
        close(fresh);
}

static void before_fork(void) {
        pthread_mutex_lock(&lock);
}

static void after_fork_parent(void) {
        pthread_mutex_unlock(&lock);
}

static void after_fork_child(void) {
        for (unsigned i = 0; i < n_kept; i++)
                renew(kept[i]);
        if (own >= 0)
                renew(own);
        pthread_mutex_unlock(&lock);
}

static void prepare(void) {
        pthread_key_create(&ended, thread_ended);
        pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

int cfb_wake_descriptor(void) {
        if (own >= 0)
                return own;
        pthread_once(&once, prepare);
        pthread_mutex_lock(&lock);
        if (n_kept)
                own = kept[--n_kept];
        pthread_mutex_unlock(&lock);
        if (own < 0) {
                own = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
                if (own < 0)
                        return cfb_failed(-errno, "eventfd", NULL);
        }
        pthread_setspecific(ended, &own); /* any value but NULL: it makes thread_ended run */
        return own;
}

void cfb_wake(int descriptor) {
        uint64_t one = 1;
        int saved = errno; /* signal handlers call this */

        if (descriptor >= 0) {
                /* EAGAIN: the counter is full, so it is readable already */
                long n = syscall(SYS_write, descriptor, &one,
                                 sizeof(one)); /* write() is a cancellation point */
                (void)n;
        }
        errno = saved;
}

void cfb_wake_drain(int descriptor) {
        uint64_t count;
        ssize_t n = read(descriptor, &count, sizeof(count));

        (void)n; /* EAGAIN: nobody woke us after all */
}

int cfb_wake_is_ours(int descriptor) {
        bool found = descriptor == own;

        pthread_mutex_lock(&lock);
        for (unsigned i = 0; i < n_kept; i++)
                found |= kept[i] == descriptor;
        pthread_mutex_unlock(&lock);
        return found;
}

int cfb_poll(struct pollfd *fds, unsigned n_fds, int64_t deadline_ns) {
        struct timespec left, *timeout = NULL;
        int n;

        if (deadline_ns != CONFAB_FOREVER) {
                int64_t left_ns = deadline_ns <= 0 ? 0 : deadline_ns - confab_now();

                if (left_ns < 0)
                        left_ns = 0;
                left.tv_sec = (time_t)(left_ns / 1000000000);
                left.tv_nsec = (long)(left_ns % 1000000000);
                timeout = &left;
        }
        n = ppoll(fds, n_fds, timeout, NULL);
        return n < 0 ? -errno : n;
}
