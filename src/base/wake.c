/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Wake descriptors and the one poll of the library.
 *
 * Every thread that ever waits owns one eventfd, until it ends or the last endpoint is closed: a program that uses no endpoint holds no
 * descriptor of ours. Others find its number where it waits (cfb_waiter) and write to it. That write must never reach a stranger's file
 * that got the number afterwards, so who closes an eventfd first lets everybody finish who may have read its number:
 *
 *   [K1] waker:  n_waking[phase]++;  read the waiter;  write;  n_waking[phase]--
 *        owner:  the waiter = nobody;  twice: turn the phase, see the old phase's n_waking at 0;  close
 *
 * All are sequentially consistent. A waker counted before that 0 was seen has written before the close; one that counts itself afterwards
 * reads "nobody". Twice, because a waker may have read the phase long before it counts itself; turned, because with one counter
 * wakers that follow each other closely would keep it above 0 for ever. With the last endpoint gone nobody can be a waker any more.
 *
 * Fork: the eventfds are shared with the child, which would steal the parent's wakes. Its handler closes them all, those of the threads that
 * it does not have too, and counts a generation on: a waiter of an older one is nobody. The next wait makes a new eventfd.
 * Children of raw clone without the handler share them: they must exec or not wait (confab(3) says so).
 *
 * Rejected: renewing the numbers in the child (dup3), which needs room for one more descriptor and then fails halfway; a list of idle eventfds
 * handed from thread to thread instead of closing, which must end somewhere, and leaks from there.
 */
#include "base/wake.h"
#include "base/cancel.h"
#include "base/error.h"
#include "base/hot.h"

#include <confab/types.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* One thread's, in its own memory; linked while it has a descriptor. */
struct waker {
        int fd;
        struct waker *next, **linkp;
};

uint32_t cfb_generation = 1;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t ended;
static bool have_key;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool locked_for_fork; /* under lock */
static struct waker *wakers; /* under lock, as the links */
static unsigned n_users;     /* open endpoints; under lock */
static _Thread_local struct waker own = {.fd = -1};
static _Atomic uint32_t phase, n_waking[2]; /* [K1] */

static void let_wakers_finish(void) {
        for (int turn = 0; turn < 2; turn++) {
                uint32_t before = atomic_fetch_xor(&phase, 1); /* [K1] */

                while (atomic_load(&n_waking[before])) /* [K1] */
                        usleep(50);
        }
}

static void link_waker(struct waker *waker, int fd) {
        waker->fd = fd;
        waker->next = wakers;
        waker->linkp = &wakers;
        if (wakers)
                wakers->linkp = &waker->next;
        wakers = waker;
}

static void close_waker(struct waker *waker) {
        *waker->linkp = waker->next;
        if (waker->next)
                waker->next->linkp = waker->linkp;
        close(waker->fd);
        waker->fd = -1;
}

static void thread_ended(void *unused) {
        (void)unused;
        pthread_mutex_lock(&lock);
        if (own.fd >= 0) {
                let_wakers_finish();
                close_waker(&own);
        }
        pthread_mutex_unlock(&lock);
}

/* With one thread there is nobody to lock out, and a lock written between two forks is a page copied for each of them (a service's). */
CFB_HOT static void before_fork(void) {
        if (CFB_SINGLE_THREADED)
                return;
        pthread_mutex_lock(&lock);
        locked_for_fork = true;
}

CFB_HOT static void unlock_after_fork(void) {
        if (!locked_for_fork)
                return;
        locked_for_fork = false;
        pthread_mutex_unlock(&lock);
}

CFB_HOT static void after_fork_child(void) {
        if (++cfb_generation == 0)
                cfb_generation = 1;
        while (wakers)
                close_waker(wakers);
        atomic_store(&n_waking[0], 0); /* those of threads that do not exist here */
        atomic_store(&n_waking[1], 0);
        unlock_after_fork();
}

static void prepare(void) {
        have_key = pthread_key_create(&ended, thread_ended) == 0;
        pthread_atfork(before_fork, unlock_after_fork, after_fork_child);
}

void cfb_generation_prepare(void) {
        pthread_once(&once, prepare);
}

void cfb_wake_user_added(void) {
        cfb_generation_prepare();
        pthread_mutex_lock(&lock);
        n_users++;
        pthread_mutex_unlock(&lock);
}

void cfb_wake_user_gone(void) {
        pthread_mutex_lock(&lock);
        if (--n_users == 0)
                while (wakers)
                        close_waker(wakers);
        pthread_mutex_unlock(&lock);
}

int cfb_wake_descriptor(void) {
        int fd;

        /* Without the lock: others change it only in a process without endpoints, and the caller has one. */
        if (own.fd >= 0)
                return own.fd;
        /* Any value but NULL makes thread_ended run, without which the list would outlive the thread. */
        if (!have_key || pthread_setspecific(ended, &own) != 0)
                return cfb_failed(-ENOMEM, "pthread_setspecific", NULL);
        fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd < 0)
                return cfb_failed(-errno, "eventfd", NULL);
        pthread_mutex_lock(&lock);
        link_waker(&own, fd);
        pthread_mutex_unlock(&lock);
        return fd;
}

void cfb_wake_publish(cfb_waiter *waiter, int descriptor) {
        atomic_store(waiter, descriptor < 0 ? 0 : (uint64_t)cfb_generation << 32 | (uint32_t)descriptor);
}

void cfb_wake(int descriptor) {
        uint64_t one = 1;
        int saved = errno; /* signal handlers call this */
        /* EAGAIN: the counter is full, so it is readable already. Not write(): that is a cancellation point. */
        long n = syscall(SYS_write, descriptor, &one, sizeof(one));

        (void)n;
        errno = saved;
}

void cfb_wake_waiter(cfb_waiter *waiter) {
        uint32_t generation = cfb_generation, now = atomic_load(&phase);
        uint64_t found;

        atomic_fetch_add(&n_waking[now], 1); /* [K1] */
        found = atomic_load(waiter);         /* [K1] */
        if (found >> 32 == generation)
                cfb_wake((int)(uint32_t)found);
        /* Not in the child of a handler's fork, where the count has been dropped. */
        if (generation == cfb_generation)
                atomic_fetch_sub(&n_waking[now], 1); /* [K1] */
}

void cfb_wake_drain(int descriptor) {
        uint64_t count;
        ssize_t n = read(descriptor, &count, sizeof(count));

        (void)n; /* EAGAIN: nobody woke us after all */
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
