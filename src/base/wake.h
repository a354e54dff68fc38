/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_BASE_WAKE_H
#define CFB_BASE_WAKE_H
/*
 * Waking a thread that waits: one eventfd per waiting thread, made at its first wait.
 *
 * A descriptor another thread may be about to write to is never closed, only handed to the next thread that needs one:
 * a late write wakes somebody for nothing and never reaches a stranger's file. After fork the child makes its own.
 */
#include <poll.h>
#include <stdint.h>

/* This thread's wake descriptor, or -errno. */
int cfb_wake_descriptor(void);
/* An endpoint was opened, or closed: with the last one gone the wake descriptors are closed too. */
void cfb_wake_user_added(void);
void cfb_wake_user_gone(void);
/* Makes it readable. Async-signal-safe, any thread; -1 is ignored. */
void cfb_wake(int descriptor);
/* After a wait returned: makes it unreadable again. */
void cfb_wake_drain(int descriptor);
/* Whether @descriptor is this thread's or one kept for the next: for tests that look for descriptors left open. */
int cfb_wake_is_ours(int descriptor);

/*
 * ppoll until @deadline_ns, over signals. Returns the count of ready descriptors, 0 at the deadline, or -errno.
 * An -EINTR of the kernel's is returned as it is: the caller looks whether it was interrupted on purpose, then goes on.
 */
int cfb_poll(struct pollfd *fds, unsigned n_fds, int64_t deadline_ns);

#endif
