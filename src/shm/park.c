/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Sleeping and waking: the system calls behind park.h.
 *
 * Costs: nobody sleeps: a load for the waker. A sleep: membarrier (2 to 8 us, interrupting the processors that run registered processes) and
 * one futex call; a wake-up: one exchange and one futex call. The futex is a shared one: both processes know the word by its page.
 *
 * Spinning tunes itself as base/pause.c does: a fruitless spin leaves out the next 1, 2, 4 ... 64 waits, a fruitful one none. On one processor
 * it would keep the other side from running, so there is none; where both sides only happen to be on one, it stays fruitless and is left out.
 */
#include "shm/park.h"
#include "base/wake.h"

#include <confab/types.h>
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* linux/membarrier.h, which musl does not ship */
enum { MEMBARRIER_GLOBAL_EXPEDITED = 1 << 1, MEMBARRIER_REGISTER_GLOBAL_EXPEDITED = 1 << 2 };

bool cfb_park_register(void) {
        static _Atomic uint32_t
                registered; /* relaxed: the generation it was done in; doing it twice does no harm */

        if (atomic_load_explicit(&registered, memory_order_relaxed) == cfb_generation)
                return true;
        if (syscall(SYS_membarrier, MEMBARRIER_REGISTER_GLOBAL_EXPEDITED, 0, 0) < 0 ||
            syscall(SYS_membarrier, MEMBARRIER_GLOBAL_EXPEDITED, 0, 0) < 0)
                return false;
        atomic_store_explicit(&registered, cfb_generation, memory_order_relaxed);
        return true;
}

void cfb_park_arm(_Atomic uint32_t *park, uint32_t bits, bool registered) {
        atomic_fetch_or_explicit(park, bits, memory_order_acq_rel); /* [P1] */
        if (registered)
                syscall(SYS_membarrier, MEMBARRIER_GLOBAL_EXPEDITED, 0,
                        0); /* tried when registering: it does not fail */
}

int cfb_park_sleep(_Atomic uint32_t *park, int64_t until_ns) {
        /* What SYS_futex takes, which in 32 bits is no struct timespec where that has 64; there later ends are cut to what it can say. */
        int64_t s = until_ns / 1000000000;
        const long until[2] = {s < LONG_MAX ? (long)s : LONG_MAX, (long)(until_ns % 1000000000)};
        long r = syscall(SYS_futex, park, FUTEX_WAIT_BITSET, CFB_PARK_FUTEX, until, NULL,
                         FUTEX_BITSET_MATCH_ANY);

        return r < 0 && errno == ETIMEDOUT ? -ETIMEDOUT : 0;
}

static void futex_wake(_Atomic uint32_t *park) {
        syscall(SYS_futex, park, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void cfb_park_poke(_Atomic uint32_t *park) {
        int saved = errno;

        if (atomic_fetch_or_explicit(park, CFB_PARK_POKE, memory_order_relaxed) & CFB_PARK_FUTEX)
                futex_wake(park);
        errno = saved;
}

bool cfb_park_wake(_Atomic uint32_t *park) {
        uint32_t bits = atomic_exchange_explicit(park, 0, memory_order_relaxed); /* [P1] */

        if (bits & CFB_PARK_FUTEX)
                futex_wake(park);
        return bits & CFB_PARK_BELL;
}

static bool is_alone(void) {
        static _Atomic int known; /* relaxed: every asker finds the same; 1: one processor, 2: more */
        int n = atomic_load_explicit(&known, memory_order_relaxed);

        if (!n) {
                n = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 2 : 1;
                atomic_store_explicit(&known, n, memory_order_relaxed);
        }
        return n == 1;
}

void cfb_spin_begin(struct cfb_spin *spin, int64_t deadline_ns) {
        int64_t now_ns;

        spin->until_ns = 0;
        spin->turns = 0;
        if (is_alone())
                return;
        if (spin->left_out) {
                spin->left_out--;
                return;
        }
        now_ns = confab_now();
        spin->until_ns = deadline_ns - now_ns < CFB_SPIN_NS ? deadline_ns : now_ns + CFB_SPIN_NS;
        if (spin->until_ns <= now_ns)
                spin->until_ns = 0;
}

bool cfb_spin_clock(struct cfb_spin *spin) {
        spin->turns = 0;
        return confab_now() < spin->until_ns;
}

void cfb_spin_judge(struct cfb_spin *spin, bool there) {
        if (there) {
                spin->next = 0;
        } else if (spin->until_ns) {
                spin->next = spin->next ? spin->next * 2 : 1;
                if (spin->next > CFB_SPIN_LEAVES_OUT)
                        spin->next = CFB_SPIN_LEAVES_OUT;
                spin->left_out = spin->next;
        }
}
