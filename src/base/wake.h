/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_BASE_WAKE_H
#define CFB_BASE_WAKE_H
/*
 * Waking a thread that waits: one eventfd per waiting thread, made at its first wait. See wake.c.
 */
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>

/* Another number in each forked child, never 0. Counts from the first cfb_generation_prepare (any endpoint's opening does it). */
extern uint32_t cfb_generation;
void cfb_generation_prepare(void);

/* Where a waiting thread is found by those who wake it. Zeroed: nobody waits. */
typedef _Atomic uint64_t cfb_waiter;

/* This thread's wake descriptor, or -errno. Another one after a fork: ask again after -EINTR. */
int cfb_wake_descriptor(void);
/* An endpoint is opened, or was closed: with the last one gone every wake descriptor is closed. */
void cfb_wake_user_added(void);
void cfb_wake_user_gone(void);
/* [K1] Says that who holds the wake descriptor @descriptor waits here; -1: nobody any more. */
void cfb_wake_publish(cfb_waiter *waiter, int descriptor);
/* [K1] Wakes the one who waits there, if any. Async-signal-safe, any thread. */
void cfb_wake_waiter(cfb_waiter *waiter);
/* Makes an eventfd readable that cannot be closed meanwhile. Async-signal-safe, any thread. */
void cfb_wake(int descriptor);
/* After a wait returned: makes it unreadable again. */
void cfb_wake_drain(int descriptor);

/*
 * ppoll until @deadline_ns, over signals. Returns the count of ready descriptors, 0 at the deadline, or -errno.
 * An -EINTR of the kernel's is returned as it is: the caller looks whether it was interrupted on purpose, then goes on.
 */
int cfb_poll(struct pollfd *fds, unsigned n_fds, int64_t deadline_ns);

#endif
