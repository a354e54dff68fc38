/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_LOOP_LOOP_H
#define CFB_LOOP_LOOP_H
/*
 * The event loop inside: sources, the descriptors they watch, and what a folder above (core) needs to add a kind of its own.
 * Everything here belongs to the thread that runs the loop.
 */
#include <confab/loop.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct cfb_timers;
struct cfb_signals;

/*
 * One descriptor in the loop's epoll set. It lies inside the source that it belongs to (or in the loop), which must outlive
 * it: cfb_watch_set(watch, 0) takes it out.
 */
struct cfb_watch {
        int (*ready)(struct cfb_watch *watch,
                     uint32_t events); /* < 0 ends the run; poll's bits, none that is not wanted */
        confab_source *source;         /* NULL: the loop's own */
        confab_loop *loop;
        struct cfb_watch *previous, *next; /* in loop->always, a ring */
        int fd;
        uint32_t wanted;    /* poll's bits; 0: not in the set */
        bool always;        /* ready without epoll's help: in loop->always */
        uint32_t called_in; /* the step it was last called in, for that */
};

/* What a kind of source does. All run in the loop's thread. */
struct cfb_source_kind {
        const char *name; /* for failures: "timer" */
        /* Optional; absent: confab_loop_change answers -EOPNOTSUPP. */
        int (*change)(confab_source *source, uint32_t events);
        /* Takes it out of the loop: no watch, no timer afterwards. Its memory stays until no callback is under way. */
        void (*end)(confab_source *source);
};

/* The beginning of every source; kinds put their own fields behind it. */
struct confab_source {
        const struct cfb_source_kind *kind;
        confab_loop *loop;
        confab_source *previous, *next;
        confab_source_callback callback;
        void *data;
        bool removed;
};

struct confab_loop {
        int epoll_fd;
        bool running;     /* inside confab_loop_run */
        bool dispatching; /* inside a callback, or between two of one step */
        uint32_t owner;   /* cfb_generation it was made in */
        bool woken;       /* in this step: confab_loop_wake or confab_loop_stop */
        int n_called;     /* callbacks of this step */
        uint32_t n_steps;
        pthread_t thread; /* that made it, then that runs it */
        _Atomic bool stop;
        confab_source *sources, *removed;
        struct cfb_watch wake; /* an eventfd: confab_loop_wake and confab_loop_stop */
        struct cfb_watch
                always_ready; /* an eventfd, readable between steps while there is something in the ring */
        struct cfb_watch *always;    /* the ring: the next to be called */
        bool always_armed;           /* the eventfd is readable */
        struct cfb_timers *timers;   /* NULL until the first timer */
        struct cfb_signals *signals; /* NULL until the first signal */
};

/*
 * A zeroed source of @source_len bytes (its struct begins with struct confab_source), in the loop's list.
 * -EINVAL (no callback), -EOWNERDEAD (a forked child), -ENOMEM.
 */
int cfb_source_new(confab_source **sourcep, confab_loop *loop, size_t source_len,
                   const struct cfb_source_kind *kind, confab_source_callback callback, void *data);
/* Calls the callback, unless it was removed. Returns its answer. Afterwards look at source->removed before anything else. */
int cfb_source_call(confab_source *source, uint32_t events);
/* Whether the step has to end here: somebody called confab_loop_stop. */
bool cfb_loop_stopping(confab_loop *loop);
/* -EOWNERDEAD in a forked child, where the epoll set is still the parent's. */
int cfb_loop_check(const confab_loop *loop, const char *call);

void cfb_watch_init(struct cfb_watch *watch, confab_loop *loop, confab_source *source, int fd,
                    int (*ready)(struct cfb_watch *, uint32_t));
/* Watches for poll's @wanted bits from now on; 0: out of the set. -EEXIST: this loop watches the descriptor already. */
int cfb_watch_set(struct cfb_watch *watch, uint32_t wanted);

/*
 * A watch without a descriptor: ready until it is told otherwise. cfb_watch_always_prepare takes what it needs, so that switching it on
 * later cannot fail.
 */
int cfb_watch_always_prepare(confab_loop *loop);
void cfb_watch_always(struct cfb_watch *watch, bool ready);

/* Whether the caller is the loop's thread. */
bool cfb_loop_here(const confab_loop *loop);

/* timer.c: arms the one timerfd for the earliest timer, at the end of each step and after each change outside of one. */
void cfb_timers_arm(confab_loop *loop);
void cfb_timers_free(confab_loop *loop);
/* signal.c */
void cfb_signals_free(confab_loop *loop);

#endif
