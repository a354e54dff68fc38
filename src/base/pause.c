/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Why a receiver pauses before it sleeps.
 *
 * A receiver that is a little faster than its sender sleeps after every message, and the sender wakes it for the next: a wake-up costs both
 * of them more than the message did, and a receiver always on the sender's heels keeps taking locks and cache lines from it.
 * Pausing for the time that a sleep and a wake-up cost anyway lets a few messages gather, which the next receive takes at once
 * (streams) or one after the other without sleeping. Measured, messages of 64 bytes: tcp 163,000 a second without, 240,000 with it, at
 * 8.3 instead of 11.5 us of processor each (docs/performance.md).
 *
 * It looks at nothing while it pauses: looking is a system call, and a call that has to wait shall make three at most.
 *
 * Whether it is worth it is learned: a pause after which the wait did not sleep was, and the next wait pauses too. One after which
 * it slept all the same was not, and leaves out 1, 3, 7 ... 127 waits: who waits for something slow, or has the sender on the same processor,
 * pays for one pause in 128 waits. (Whether there is another processor at all is not asked: a thread's own affinity does not tell where the
 * sender runs.)
 */
#include "base/pause.h"

#include <confab/types.h>

/* The processor is told that this is a loop of waiting. */
static inline void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield");
#endif
}

int64_t cfb_pause(struct cfb_pause *pause, int64_t deadline_ns) {
        enum { BETWEEN_LOOKS = 8 }; /* at the clock, which costs as much as the processor's pause */
        int64_t begin_ns;

        if (pause->left_out) {
                pause->left_out--;
                return 0;
        }
        begin_ns = confab_now();
        if (deadline_ns < begin_ns + CFB_PAUSE_NS)
                return 0;
        while (confab_now() < begin_ns + CFB_PAUSE_NS)
                for (int i = 0; i < BETWEEN_LOOKS; i++)
                        relax();
        return begin_ns;
}

void cfb_pause_judge(struct cfb_pause *pause, int64_t begin_ns, int64_t end_ns) {
        if (end_ns - begin_ns < CFB_PAUSE_NS + CFB_PAUSE_AWAKE_NS) {
                pause->next = 0;
                return;
        }
        pause->left_out = pause->next =
                (uint8_t)(pause->next < CFB_PAUSE_LEAVES_OUT / 2 ? pause->next * 2 + 1
                                                                 : CFB_PAUSE_LEAVES_OUT - 1);
}
