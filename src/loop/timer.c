/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Timers: a binary heap by (deadline, order of setting), over one timerfd in the loop's epoll set.
 *
 * The timerfd is armed no later than the earliest timer. It may be earlier: putting the earliest timer off, which servers do on
 * every message, costs no system call; the timerfd then fires once for nothing and is armed anew. Setting it also makes
 * it unreadable again, so it is never read: one timerfd_settime per time that it fired or that a new earliest came.
 * A timerfd and not epoll_wait's timeout, because a foreign loop that sleeps on our epoll descriptor must wake for timers.
 *
 * When it fires, all that is due moves to a list first and is then called: a timer set again from its own callback, even for a
 * time that has passed, waits for the next step, so timers cannot starve descriptors. A stop in the middle leaves the rest on
 * the list, and arming for the past brings them in the next run.
 *
 * The heap has room for every timer there is (made with the timer), so setting one never fails for lack of memory.
 */
#include "base/cancel.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "loop/loop.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum { NOT_IN_HEAP = -1, HEAP_FIRST = 16 };
#define NOT_ARMED INT64_MAX

struct timer_source {
        struct confab_source source;
        int64_t deadline_ns, interval_ns;
        int64_t heap_index;
        struct timer_source *due_next;
        uint32_t expirations;
        bool due; /* on the due list and still to be called */
        bool set; /* since its callback began: a timer that fires once stays */
};

struct entry {
        int64_t deadline_ns;
        uint64_t order;
        struct timer_source *timer;
};

struct cfb_timers {
        struct cfb_watch watch;
        struct entry *heap;
        size_t n_heap, heap_cap, n_timers;
        uint64_t order;
        int64_t armed_ns;
        struct timer_source *due_first, **due_last;
};

/* --- the heap --- */

static bool before(const struct entry *a, const struct entry *b) {
        return a->deadline_ns != b->deadline_ns ? a->deadline_ns < b->deadline_ns : a->order < b->order;
}

static void place(struct cfb_timers *timers, size_t at, struct entry entry) {
        timers->heap[at] = entry;
        entry.timer->heap_index = (int64_t)at;
}

static void sift_up(struct cfb_timers *timers, size_t at, struct entry entry) {
        while (at && before(&entry, &timers->heap[(at - 1) / 2])) {
                place(timers, at, timers->heap[(at - 1) / 2]);
                at = (at - 1) / 2;
        }
        place(timers, at, entry);
}

static void sift_down(struct cfb_timers *timers, size_t at, struct entry entry) {
        for (;;) {
                size_t child = 2 * at + 1;

                if (child + 1 < timers->n_heap && before(&timers->heap[child + 1], &timers->heap[child]))
                        child++;
                if (child >= timers->n_heap || !before(&timers->heap[child], &entry))
                        break;
                place(timers, at, timers->heap[child]);
                at = child;
        }
        place(timers, at, entry);
}

static void heap_remove(struct cfb_timers *timers, struct timer_source *timer) {
        size_t at;
        struct entry last;

        if (timer->heap_index == NOT_IN_HEAP)
                return;
        at = (size_t)timer->heap_index;
        timer->heap_index = NOT_IN_HEAP;
        last = timers->heap[--timers->n_heap];
        if (at == timers->n_heap)
                return;
        if (at && before(&last, &timers->heap[(at - 1) / 2]))
                sift_up(timers, at, last);
        else
                sift_down(timers, at, last);
}

/* FOREVER: it waits for nothing until it is set again. */
static void heap_add(struct cfb_timers *timers, struct timer_source *timer) {
        struct entry entry = {timer->deadline_ns, timers->order++, timer};

        if (timer->deadline_ns != CONFAB_FOREVER)
                sift_up(timers, timers->n_heap++, entry);
}

static int heap_reserve(struct cfb_timers *timers) {
        size_t cap = timers->heap_cap ? 2 * timers->heap_cap : HEAP_FIRST;
        struct entry *heap;

        if (timers->n_timers < timers->heap_cap)
                return 0;
        heap = cfb_allocate_untouched(cap * sizeof(*heap));
        if (!heap)
                return cfb_failed(-ENOMEM, "add_timer", "loop");
        if (timers->n_heap)
                memcpy(heap, timers->heap, timers->n_heap * sizeof(*heap));
        cfb_release(timers->heap);
        timers->heap = heap;
        timers->heap_cap = cap;
        return 0;
}

/* --- what fires --- */

void cfb_timers_arm(confab_loop *loop) {
        struct cfb_timers *timers = loop->timers;
        struct itimerspec when = {0};
        int64_t first_ns;

        if (!timers || loop->dispatching)
                return;
        first_ns = timers->due_first ? 1 : timers->n_heap ? timers->heap[0].deadline_ns : NOT_ARMED;
        if (first_ns <= 0)
                first_ns = 1; /* 0 would disarm */
        if (timers->armed_ns <= first_ns)
                return;
        when.it_value.tv_sec = (time_t)(first_ns / 1000000000);
        when.it_value.tv_nsec = (long)(first_ns % 1000000000);
        timerfd_settime(timers->watch.fd, TFD_TIMER_ABSTIME, &when,
                        NULL); /* cannot fail with these arguments */
        timers->armed_ns = first_ns;
}

static void disarm(struct cfb_timers *timers) {
        static const struct itimerspec never;

        timerfd_settime(timers->watch.fd, TFD_TIMER_ABSTIME, &never, NULL);
        timers->armed_ns = NOT_ARMED;
}

/* The timer's next time after @now_ns; sets how often it expired. */
static void advance(struct timer_source *timer, int64_t now_ns) {
        int64_t n = 1;

        if (timer->interval_ns > 0) {
                n += (now_ns - timer->deadline_ns) / timer->interval_ns;
                if (__builtin_add_overflow(timer->deadline_ns, n * timer->interval_ns, &timer->deadline_ns))
                        timer->deadline_ns = CONFAB_FOREVER;
        }
        timer->expirations = n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static void collect_due(struct cfb_timers *timers) {
        int64_t now_ns = confab_now();

        while (timers->n_heap && timers->heap[0].deadline_ns <= now_ns) {
                struct timer_source *timer = timers->heap[0].timer;

                heap_remove(timers, timer);
                advance(timer, now_ns);
                timer->due = true;
                timer->set = false;
                timer->due_next = NULL;
                *timers->due_last = timer;
                timers->due_last = &timer->due_next;
        }
        /* behind the loop, so that an interval of a nanosecond is collected once */
        for (struct timer_source *timer = timers->due_first; timer; timer = timer->due_next)
                if (timer->interval_ns > 0 && timer->due && timer->heap_index == NOT_IN_HEAP)
                        heap_add(timers, timer);
}

static int call_due(confab_loop *loop, struct cfb_timers *timers) {
        int r = 0;

        while (timers->due_first && r >= 0 && !cfb_loop_stopping(loop)) {
                struct timer_source *timer = timers->due_first;

                timers->due_first = timer->due_next;
                if (!timers->due_first)
                        timers->due_last = &timers->due_first;
                timer->due = false;
                r = cfb_source_call(&timer->source, timer->expirations);
                if (timer->interval_ns == 0 && !timer->set)
                        confab_loop_remove(&timer->source);
        }
        return r;
}

static int timers_ready(struct cfb_watch *watch, uint32_t events) {
        struct cfb_timers *timers = watch->loop->timers;

        (void)events;
        disarm(timers);
        if (!timers->due_first) /* else a run was stopped in the middle of them */
                collect_due(timers);
        return call_due(watch->loop, timers);
}

/* --- sources --- */

static void leave_due(struct cfb_timers *timers, struct timer_source *timer) {
        struct timer_source **p = &timers->due_first;

        if (!timer->due)
                return;
        timer->due = false;
        while (*p != timer)
                p = &(*p)->due_next;
        *p = timer->due_next;
        if (!*p)
                timers->due_last = p;
}

static void timer_end(confab_source *source) {
        struct timer_source *timer = (struct timer_source *)source;
        struct cfb_timers *timers = source->loop->timers;

        heap_remove(timers, timer);
        leave_due(timers, timer);
        timers->n_timers--;
}

static const struct cfb_source_kind timer_kind = {"add_timer", NULL, timer_end};

static void timer_set(struct timer_source *timer, int64_t deadline_ns, int64_t interval_ns) {
        struct cfb_timers *timers = timer->source.loop->timers;

        heap_remove(timers, timer);
        leave_due(timers, timer);
        timer->deadline_ns = deadline_ns > 0 ? deadline_ns : 0;
        timer->interval_ns = interval_ns;
        timer->set = true;
        heap_add(timers, timer);
        cfb_timers_arm(timer->source.loop);
}

int confab_loop_set_timer(confab_source *source, int64_t deadline_ns, int64_t interval_ns) {
        CFB_UNCANCELLED;
        int r;

        if (!source || source->removed || source->kind != &timer_kind || interval_ns < 0)
                return cfb_failed_with(-EINVAL, "set_timer", source ? source->kind->name : "NULL", NULL,
                                       interval_ns < 0 ? "the interval is negative" : "this is no timer", 0,
                                       0);
        r = cfb_loop_check(source->loop, "set_timer");
        if (r >= 0)
                timer_set((struct timer_source *)source, deadline_ns, interval_ns);
        return r;
}

static int timers_new(confab_loop *loop) {
        struct cfb_timers *timers = cfb_allocate(sizeof(*timers));
        int fd, r;

        if (!timers)
                return cfb_failed(-ENOMEM, "add_timer", "loop");
        fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        r = fd < 0 ? cfb_failed(-errno, "timerfd_create", "loop") : 0;
        cfb_watch_init(&timers->watch, loop, NULL, fd, timers_ready);
        if (r >= 0)
                r = cfb_watch_set(&timers->watch, POLLIN);
        if (r < 0) {
                cfb_closep(&fd);
                cfb_release(timers);
                return r;
        }
        timers->armed_ns = NOT_ARMED;
        timers->due_last = &timers->due_first;
        loop->timers = timers;
        return 0;
}

void cfb_timers_free(confab_loop *loop) {
        struct cfb_timers *timers = loop->timers;

        if (!timers)
                return;
        cfb_closep(&timers->watch.fd);
        cfb_release(timers->heap);
        cfb_release(timers);
        loop->timers = NULL;
}

int confab_loop_add_timer(confab_source **sourcep, confab_loop *loop, int64_t deadline_ns,
                          int64_t interval_ns, confab_source_callback callback, void *data) {
        CFB_UNCANCELLED;
        confab_source *source;
        int r = cfb_loop_check(loop, "add_timer");

        if (r < 0)
                return r;
        if (interval_ns < 0)
                return cfb_failed_with(-EINVAL, "add_timer", "loop", NULL, "the interval is negative", 0, 0);
        if (!loop->timers && (r = timers_new(loop)) < 0)
                return r;
        r = heap_reserve(loop->timers);
        if (r < 0)
                return r;
        r = cfb_source_new(&source, loop, sizeof(struct timer_source), &timer_kind, callback, data);
        if (r < 0)
                return r;
        loop->timers->n_timers++;
        ((struct timer_source *)source)->heap_index = NOT_IN_HEAP;
        timer_set((struct timer_source *)source, deadline_ns, interval_ns);
        if (sourcep)
                *sourcep = source;
        return 0;
}
