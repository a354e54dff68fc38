/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_BASE_NUDGE_H
#define CFB_BASE_NUDGE_H
/*
 * Ending a system call that blocks on something no poll can watch (msgrcv, msgsnd, semop, F_OFD_SETLKW). See nudge.c.
 *
 *      if (cfb_nudge_begin(&nudge) == 0) {
 *              while (nothing ended the wait && the call said EINTR) ...
 *              cfb_nudge_end(&nudge);
 *      } else
 *              nap
 */
#include <stdatomic.h>
#include <stdint.h>

/* One per place where a single thread waits; zeroed at first. */
struct cfb_nudge {
        _Atomic uint32_t timer;  /* [N1] the waiting thread's timer, plus one; 0: nobody waits */
        _Atomic uint32_t arming; /* [N2] how many are just using it */
        _Atomic uint32_t armed;
};

/*
 * From here to cfb_nudge_end this thread's blocking calls return EINTR soon after cfb_nudge, also if that came before the call.
 * 0, or -errno where it cannot be had (no signal or no timer left): wait in another way. One system call.
 */
int cfb_nudge_begin(struct cfb_nudge *nudge);
/* The same, and as if cfb_nudge came at @deadline_ns, again and again until cfb_nudge_end. */
int cfb_nudge_begin_until(struct cfb_nudge *nudge, int64_t deadline_ns);
void cfb_nudge_end(struct cfb_nudge *nudge);

/* The signal all this is done with; 0: none is taken yet. Nobody else may have it. */
int cfb_nudge_signal(void);

/* Async-signal-safe, any thread, also the waiting one's own handler. */
void cfb_nudge(struct cfb_nudge *nudge);

#endif
