/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Deadlines of many clients. All wait equally long, so the list in order of beginning is also in order of ending: the timer is set for
 * its first only. It is never put off when that one goes; it fires, finds nothing due and is set for the next.
 */
#include "process/expiry.h"
#include <stdbool.h>

static void arm(struct cfb_expiry *expiry) {
        const struct cfb_expiring *first = expiry->all.next;

        confab_loop_set_timer(expiry->timer,
                              first == &expiry->all ? CONFAB_FOREVER : first->since_ns + expiry->after_ns, 0);
}

static int due(confab_source *source, uint32_t events, void *data) {
        struct cfb_expiry *expiry = data;
        int64_t now_ns = confab_now();

        (void)source;
        (void)events;
        while (expiry->all.next != &expiry->all && expiry->all.next->since_ns + expiry->after_ns <= now_ns)
                expiry->expired(expiry->all.next, expiry->data);
        arm(expiry);
        return 0;
}

int cfb_expiry_init(struct cfb_expiry *expiry, confab_loop *loop, int64_t after_ns,
                    void (*expired)(struct cfb_expiring *one, void *data), void *data) {
        *expiry = (struct cfb_expiry){.after_ns = after_ns, .expired = expired, .data = data};
        expiry->all.previous = expiry->all.next = &expiry->all;
        return after_ns > 0 ? confab_loop_add_timer(&expiry->timer, loop, CONFAB_FOREVER, 0, due, expiry) : 0;
}

void cfb_expiry_fini(struct cfb_expiry *expiry) {
        expiry->timer = confab_loop_remove(expiry->timer);
}

void cfb_expiry_add(struct cfb_expiry *expiry, struct cfb_expiring *one) {
        bool first = expiry->all.next == &expiry->all;

        one->next = &expiry->all;
        one->previous = expiry->all.previous;
        one->previous->next = one->next->previous = one;
        if (expiry->timer) {
                one->since_ns = confab_now();
                if (first)
                        arm(expiry);
        }
}

void cfb_expiry_remove(struct cfb_expiring *one) {
        one->previous->next = one->next;
        one->next->previous = one->previous;
}

void cfb_expiry_touch(struct cfb_expiry *expiry, struct cfb_expiring *one) {
        if (!expiry->timer)
                return;
        cfb_expiry_remove(one);
        cfb_expiry_add(expiry, one);
}
