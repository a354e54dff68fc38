/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_BASE_PAUSE_H
#define CFB_BASE_PAUSE_H
/*
 * A moment on the processor before sleeping, where experience says that what is waited for comes within it. See pause.c.
 *
 *      int64_t begin_ns = cfb_pause(&endpoint->pause, deadline_ns);
 *      r = sleep until it is there;
 *      if (begin_ns)
 *              cfb_pause_judge(&endpoint->pause, begin_ns, confab_now());
 */
#include <stdint.h>

/* One per place where a single thread waits; zeroed at first. */
struct cfb_pause {
        uint8_t left_out; /* so many of the next waits go without */
        uint8_t next;     /* how many the last fruitless one left out */
};

enum {
        CFB_PAUSE_NS = 8000,
        CFB_PAUSE_AWAKE_NS = 2500, /* a wait that ends so soon after the pause did not sleep */
        CFB_PAUSE_LEAVES_OUT = 128 /* at most */
};

/* Pauses, or not. When it began, 0: it did not, also where @deadline_ns is that near. */
int64_t cfb_pause(struct cfb_pause *pause, int64_t deadline_ns);
/* After the wait behind it: learns whether it was worth it. */
void cfb_pause_judge(struct cfb_pause *pause, int64_t begin_ns, int64_t end_ns);

#endif
