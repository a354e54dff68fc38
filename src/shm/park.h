/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_SHM_PARK_H
#define CFB_SHM_PARK_H
/*
 * Sleeping until another process has changed something in shared memory, without a lost wake-up and without a fence where nobody sleeps.
 *
 * A park is one word in shared memory, of one sleeper and of those who wake it: which of its ways of sleeping want a call.
 *
 *   [P1] sleeper:  park |= FUTEX or BELL;  heavy fence;  look whether it is there;  sleep while park keeps the bit
 *        waker:    publish it;  light fence;  look at park;  if not 0: park = 0, a call for each bit that was set
 *
 * Either the sleeper's look finds what was published, or the waker's look finds the bit. That needs store and load in order on both sides, and for the
 * waker, who publishes all the time, a full fence would cost half to four fifths of the throughput. So the sleeper pays for both: membarrier
 * makes every processor that runs a registered process pass one, and the waker's fence is the compiler's alone. Whoever cannot register says so to
 * the other, and then the waker looks by a read-modify-write, which comes before the sleeper's own (the bit is found) or after it (and what was published is
 * acquired with it). The two variants, and some that must be rejected: tests/models/park.pml.
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum {
        CFB_PARK_FUTEX = 1, /* asleep on the word itself */
        CFB_PARK_BELL = 2,  /* watches a descriptor that the waker makes readable */
        CFB_PARK_POKE = 4,  /* set by the sleeper's own process, to end the sleep */
};

/* Registers this process with membarrier: true if it can fence others, and others it. Once a process; a forked child registers anew. */
bool cfb_park_register(void);

/* [P1] Says how this side sleeps; then look once more, then sleep. @registered: this side is, so that the waker may look lightly. */
void cfb_park_arm(_Atomic uint32_t *park, uint32_t bits, bool registered);
static inline void cfb_park_disarm(_Atomic uint32_t *park) {
        atomic_exchange_explicit(
                park, 0,
                memory_order_acq_rel); /* [P1] a store would part the next arm from the waker's look before it */
}

/* [P1] After something was published: not 0 where somebody has to be woken. @light: both sides are registered. */
static inline uint32_t cfb_park_look(_Atomic uint32_t *park, bool light) {
        if (__builtin_expect(!light, false))
                return atomic_fetch_or_explicit(park, 0, memory_order_acq_rel);
        atomic_signal_fence(memory_order_seq_cst);
        return atomic_load_explicit(park, memory_order_relaxed);
}

/* Sleeps while @park has CFB_PARK_FUTEX and nothing else, until @until_ns at most. 0: look again, -ETIMEDOUT. */
int cfb_park_sleep(_Atomic uint32_t *park, int64_t until_ns);
/* Ends a sleep of this process's own, in whatever thread. Async-signal-safe. */
void cfb_park_poke(_Atomic uint32_t *park);
/* [P1] After a look that found @park not 0: wakes who sleeps on the word; true: a bell has to be rung, too. */
bool cfb_park_wake(_Atomic uint32_t *park);

/*
 * Spinning before sleeping, while that has paid: a wake-up costs the woken 17 to 28 us here. One per place where a thread waits; zeroed.
 * cfb_spin_next is false when it is time to sleep; cfb_spin_judge learns whether it came.
 *
 *      cfb_spin_begin(&spin, deadline_ns);
 *      while (!(there = is it there) && cfb_spin_next(&spin))
 *              ;
 *      cfb_spin_judge(&spin, there);
 */
struct cfb_spin {
        uint8_t left_out; /* so many of the next waits go without */
        uint8_t next;     /* how many the last fruitless one left out */
        uint16_t turns;   /* since the clock was looked at */
        int64_t until_ns; /* 0: none this time */
};
enum {
        CFB_SPIN_NS = 50000,
        CFB_SPIN_LEAVES_OUT = 64, /* at most */
        CFB_SPIN_TURNS = 32,      /* between two looks at the clock */
};

void cfb_spin_begin(struct cfb_spin *spin, int64_t deadline_ns);
bool cfb_spin_clock(struct cfb_spin *spin);
void cfb_spin_judge(struct cfb_spin *spin, bool there);

static inline void cfb_spin_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("isb" ::: "memory"); /* yield does nothing on most */
#endif
}

static inline bool cfb_spin_next(struct cfb_spin *spin) {
        if (spin->until_ns == 0)
                return false;
        cfb_spin_relax();
        return ++spin->turns < CFB_SPIN_TURNS || cfb_spin_clock(spin);
}

#endif
