/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * The event loop: one epoll set, and the descriptors in it.
 *
 * Everything the loop knows is a descriptor in one epoll set: timers are one timerfd armed for the earliest (timer.c), signals one
 * signalfd (signal.c), children a pidfd each (child.c), wake and stop one eventfd. So the epoll descriptor itself is readable exactly
 * while there is something to do, and the loop nests in a foreign one by that single number.
 *
 * Level-triggered on purpose: a callback may take one message and return; what is left is told again. One step takes at most
 * N_EVENTS of what is ready (the kernel goes round, so nobody starves), then calls back. One epoll_wait per step, nothing else:
 * watching costs a system call only when it changes.
 *
 * Removal inside callbacks. Events of a step may still name a source that an earlier callback of the same step removed. Removed
 * sources are only marked and unlinked; their memory is freed when the step is over, and a mark or a descriptor no longer wanted
 * silences what was already fetched. A callback can therefore remove itself, any other source, and add new ones on the same number.
 *
 * What is ready without epoll's help: regular files, which cannot be in epoll (EPERM) and which poll calls always ready, and sources that
 * hold something in a buffer of ours. They form a ring, each called once a step. While the ring is not empty one eventfd is readable
 * in the place of all; it is written and read between steps only, so what comes and goes within a step costs no system call.
 *
 * Stop and wake, from any thread and any signal handler:
 *   [L1] stop:  stop = true;  write(eventfd)        run:  epoll_wait returns for the eventfd;  read stop
 * The write and the return of epoll_wait order the two; stop is sticky until a run ends by it, so a stop before run is not lost.
 *
 * Fork: the epoll set is one description that parent and child share; a child that changed it would change its parent's. Each fork makes
 * a new generation: in the child every call answers -EOWNERDEAD, and confab_loop_free closes without touching the set.
 */
#include "loop/loop.h"
#include "base/cancel.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/wake.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { N_EVENTS = 64, STEP_AGAIN = INT_MAX };

/* Poll's bits are handed to epoll as they are. */
static_assert(POLLIN == EPOLLIN && POLLOUT == EPOLLOUT && POLLPRI == EPOLLPRI, "epoll has bits of its own");
static_assert(POLLERR == EPOLLERR && POLLHUP == EPOLLHUP && POLLRDHUP == EPOLLRDHUP,
              "epoll has bits of its own");

int cfb_loop_check(const confab_loop *loop, const char *call) {
        if (!loop)
                return cfb_failed(-EINVAL, call, "NULL");
        if (loop->owner != cfb_generation)
                return cfb_failed_with(-EOWNERDEAD, call, "loop", NULL,
                                       "make a loop of its own in the forked child", 0, 0);
        return 0;
}

/* --- what is watched --- */

void cfb_watch_init(struct cfb_watch *watch, confab_loop *loop, confab_source *source, int fd,
                    int (*ready)(struct cfb_watch *, uint32_t)) {
        *watch = (struct cfb_watch){.ready = ready, .source = source, .loop = loop, .fd = fd};
}

static int watch_failed(const struct cfb_watch *watch, int error) {
        char subject[32];

        snprintf(subject, sizeof(subject), "descriptor %d", watch->fd);
        return cfb_failed_with(
                error, "epoll_ctl", subject, NULL,
                error == -EEXIST ? "this loop watches it already: change that source instead" : NULL, 0, 0);
}

/* --- what is ready without epoll's help --- */

static void always_arm(confab_loop *loop) {
        uint64_t one = 1;
        bool arm = loop->always != NULL;
        ssize_t n = -1;

        if (loop->dispatching || loop->always_armed == arm || loop->owner != cfb_generation)
                return;
        /* an eventfd that is empty can be written, one that is not can be read; only something in between (seccomp, a tracer) fails */
        for (int i = 0; i < 3 && n < 0; i++)
                n = arm ? write(loop->always_ready.fd, &one, sizeof(one))
                        : read(loop->always_ready.fd, &one, sizeof(one));
        if (n >= 0)
                loop->always_armed = arm; /* else once more after the next step */
}

static int always_ready(struct cfb_watch *own, uint32_t events) {
        confab_loop *loop = own->loop;
        int r = 0;

        (void)events;
        while (loop->always && loop->always->called_in != loop->n_steps && r >= 0 &&
               !cfb_loop_stopping(loop)) {
                struct cfb_watch *watch = loop->always;

                watch->called_in = loop->n_steps;
                loop->always = watch->next; /* first, since the callback may take any of them out */
                r = watch->ready(watch, watch->wanted & (POLLIN | POLLOUT));
        }
        return r;
}

static void always_leave(struct cfb_watch *watch) {
        confab_loop *loop = watch->loop;

        watch->previous->next = watch->next;
        watch->next->previous = watch->previous;
        if (loop->always == watch)
                loop->always = watch->next == watch ? NULL : watch->next;
        watch->always = false;
        always_arm(loop);
}

/* At the end of the ring, which is before the next to be called. */
static void always_join(struct cfb_watch *watch) {
        confab_loop *loop = watch->loop;

        if (!loop->always) {
                loop->always = watch->previous = watch->next = watch;
        } else {
                watch->next = loop->always;
                watch->previous = loop->always->previous;
                watch->previous->next = watch->next->previous = watch;
        }
        watch->always = true;
        always_arm(loop);
}

int cfb_watch_always_prepare(confab_loop *loop) {
        int fd, r;

        if (loop->always_ready.fd >= 0)
                return 0;
        fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (fd < 0)
                return cfb_failed(-errno, "eventfd", "loop");
        cfb_watch_init(&loop->always_ready, loop, NULL, fd, always_ready);
        r = cfb_watch_set(&loop->always_ready, POLLIN);
        if (r < 0)
                cfb_closep(&loop->always_ready.fd);
        return r;
}

bool cfb_loop_here(const confab_loop *loop) {
        return pthread_equal(loop->thread, pthread_self());
}

void cfb_watch_always(struct cfb_watch *watch, bool ready) {
        watch->wanted = ready ? POLLIN : 0;
        if (ready && !watch->always)
                always_join(watch);
        else if (!ready && watch->always)
                always_leave(watch);
}

int cfb_watch_set(struct cfb_watch *watch, uint32_t wanted) {
        struct epoll_event event = {.events = wanted, .data.ptr = watch};
        int operation = !watch->wanted ? EPOLL_CTL_ADD : wanted ? EPOLL_CTL_MOD : EPOLL_CTL_DEL;
        int r = 0;

        if (wanted == watch->wanted)
                return 0;
        if (watch->always) {
                if (!wanted)
                        always_leave(watch);
        } else if (watch->loop->owner != cfb_generation) {
                r = 0; /* the set is the parent's */
        } else if (epoll_ctl(watch->loop->epoll_fd, operation, watch->fd, &event) < 0) {
                if (operation == EPOLL_CTL_ADD && errno == EPERM) {
                        r = cfb_watch_always_prepare(watch->loop);
                        if (r >= 0)
                                always_join(watch);
                } else if (operation !=
                           EPOLL_CTL_DEL) /* closed too early by its owner: it has left the set already */
                        return watch_failed(watch, -errno);
        }
        if (r >= 0)
                watch->wanted = wanted;
        return r;
}

/* --- sources --- */

int cfb_source_new(confab_source **sourcep, confab_loop *loop, size_t source_len,
                   const struct cfb_source_kind *kind, confab_source_callback callback, void *data) {
        confab_source *source;
        int r = cfb_loop_check(loop, kind->name);

        if (r < 0)
                return r;
        if (!callback)
                return cfb_failed_with(-EINVAL, kind->name, "loop", NULL, "no callback", 0, 0);
        source = cfb_allocate(source_len);
        if (!source)
                return cfb_failed(-ENOMEM, kind->name, "loop");
        source->kind = kind;
        source->loop = loop;
        source->callback = callback;
        source->data = data;
        source->next = loop->sources;
        if (source->next)
                source->next->previous = source;
        loop->sources = source;
        *sourcep = source;
        return 0;
}

int cfb_source_call(confab_source *source, uint32_t events) {
        int r;

        if (source->removed)
                return 0;
        source->loop->n_called++;
        r = source->callback(source, events, source->data);
        return r < 0 ? r : 0;
}

bool cfb_loop_stopping(confab_loop *loop) {
        return loop->running && atomic_load_explicit(&loop->stop, memory_order_acquire); /* [L1] */
}

confab_source *confab_loop_remove(confab_source *source) {
        CFB_UNCANCELLED;
        confab_loop *loop;

        if (!source || source->removed)
                return NULL;
        loop = source->loop;
        source->removed = true;
        source->kind->end(source);
        if (source->previous)
                source->previous->next = source->next;
        else
                loop->sources = source->next;
        if (source->next)
                source->next->previous = source->previous;
        if (loop->dispatching) {
                source->next = loop->removed;
                loop->removed = source;
        } else {
                cfb_release(source);
        }
        return NULL;
}

static void bury_removed(confab_loop *loop) {
        confab_source *source;

        while ((source = loop->removed)) {
                loop->removed = source->next;
                cfb_release(source);
        }
}

int confab_loop_change(confab_source *source, uint32_t events) {
        CFB_UNCANCELLED;
        int r;

        if (!source || source->removed)
                return cfb_failed(-EINVAL, "change", "NULL");
        r = cfb_loop_check(source->loop, "change");
        if (r < 0)
                return r;
        if (!source->kind->change)
                return cfb_failed_with(-EOPNOTSUPP, "change", source->kind->name, NULL,
                                       "only descriptors and endpoints are watched for one thing or another",
                                       0, 0);
        return source->kind->change(source, events);
}

/* --- descriptors --- */

struct descriptor_source {
        struct confab_source source;
        struct cfb_watch watch;
};

static int descriptor_ready(struct cfb_watch *watch, uint32_t events) {
        return cfb_source_call(watch->source, events);
}

static int descriptor_change(confab_source *source, uint32_t events) {
        if (events & ~(uint32_t)(POLLIN | POLLOUT | POLLPRI | POLLRDHUP | POLLERR | POLLHUP))
                return cfb_failed_with(-EINVAL, "add_descriptor", "loop", NULL,
                                       "only POLLIN, POLLOUT, POLLPRI and POLLRDHUP", 0, 0);
        return cfb_watch_set(&((struct descriptor_source *)source)->watch, events);
}

static void descriptor_end(confab_source *source) {
        cfb_watch_set(&((struct descriptor_source *)source)->watch, 0);
}

static const struct cfb_source_kind descriptor_kind = {"add_descriptor", descriptor_change, descriptor_end};

int confab_loop_add_descriptor(confab_source **sourcep, confab_loop *loop, int descriptor, uint32_t events,
                               confab_source_callback callback, void *data) {
        CFB_UNCANCELLED;
        confab_source *source = NULL;
        int r = cfb_source_new(&source, loop, sizeof(struct descriptor_source), &descriptor_kind, callback,
                               data);

        if (r < 0)
                return r;
        cfb_watch_init(&((struct descriptor_source *)source)->watch, loop, source, descriptor,
                       descriptor_ready);
        r = descriptor_change(source, events);
        if (r < 0) {
                confab_loop_remove(source);
                return r;
        }
        if (sourcep)
                *sourcep = source;
        return 0;
}

/* --- the loop --- */

static int woken(struct cfb_watch *watch, uint32_t events) {
        (void)events;
        watch->loop->woken = true;
        cfb_wake_drain(watch->fd);
        return 0;
}

int confab_loop_new(confab_loop **loopp) {
        CFB_UNCANCELLED;
        confab_loop *loop;
        int r;

        if (!loopp)
                return cfb_failed(-EINVAL, "loop_new", "NULL");
        cfb_generation_prepare();
        loop = cfb_allocate(sizeof(*loop));
        if (!loop)
                return cfb_failed(-ENOMEM, "loop_new", NULL);
        loop->owner = cfb_generation;
        loop->thread = pthread_self();
        loop->always_ready.fd = -1;
        loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        r = loop->epoll_fd < 0 ? cfb_failed(-errno, "epoll_create1", "loop") : 0;
        cfb_watch_init(&loop->wake, loop, NULL, r < 0 ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), woken);
        if (r >= 0)
                r = loop->wake.fd < 0 ? cfb_failed(-errno, "eventfd", "loop")
                                      : cfb_watch_set(&loop->wake, POLLIN);
        if (r < 0) {
                confab_loop_free(loop);
                return r;
        }
        *loopp = loop;
        return 0;
}

confab_loop *confab_loop_free(confab_loop *loop) {
        CFB_UNCANCELLED;

        if (!loop)
                return NULL;
        loop->dispatching = true; /* sources may own others: none is freed before all have ended */
        while (loop->sources)
                confab_loop_remove(loop->sources);
        bury_removed(loop);
        cfb_timers_free(loop);
        cfb_signals_free(loop);
        cfb_closep(&loop->always_ready.fd);
        cfb_closep(&loop->wake.fd);
        cfb_closep(&loop->epoll_fd);
        cfb_release(loop);
        return NULL;
}

/* In a forked child the eventfd is the parent's. */
void confab_loop_wake(confab_loop *loop) {
        if (loop->owner == cfb_generation)
                cfb_wake(loop->wake.fd);
}

void confab_loop_stop(confab_loop *loop) {
        atomic_store_explicit(&loop->stop, true, memory_order_release); /* [L1] */
        confab_loop_wake(loop);
}

int confab_loop_descriptor(const confab_loop *loop) {
        int r = cfb_loop_check(loop, "loop_descriptor");

        return r < 0 ? r : loop->epoll_fd;
}

/* epoll_wait until @deadline_ns: to the nanosecond where the kernel can (5.11), else to the millisecond after it. */
static int wait_events(confab_loop *loop, struct epoll_event *events, int64_t deadline_ns) {
        int64_t left_ns;

        if (deadline_ns == CONFAB_FOREVER)
                return epoll_wait(loop->epoll_fd, events, N_EVENTS, -1);
        left_ns = deadline_ns <= CONFAB_NOW ? 0 : deadline_ns - confab_now();
        if (left_ns <= 0)
                return epoll_wait(loop->epoll_fd, events, N_EVENTS, 0);
#ifdef SYS_epoll_pwait2
        struct {
                int64_t seconds, nanoseconds;
        } left = {left_ns / 1000000000, left_ns % 1000000000};
        int n = (int)syscall(SYS_epoll_pwait2, loop->epoll_fd, events, N_EVENTS, &left, NULL, 0);

        if (n >= 0 || errno != ENOSYS)
                return n;
#endif
        left_ns = (left_ns + 999999) / 1000000;
        return epoll_wait(loop->epoll_fd, events, N_EVENTS, left_ns > INT32_MAX ? INT32_MAX : (int)left_ns);
}

static int dispatch(confab_loop *loop, const struct epoll_event *events, int n_events) {
        int r = 0;

        for (int i = 0; i < n_events && r >= 0 && !cfb_loop_stopping(loop); i++) {
                struct cfb_watch *watch = events[i].data.ptr;
                uint32_t wanted = events[i].events & (watch->wanted | POLLERR | POLLHUP);

                if ((watch->source && watch->source->removed) || !watch->wanted || !wanted)
                        continue;
                r = watch->ready(watch, wanted);
        }
        return r;
}

/*
 * One wait and the callbacks of what it brought: how many were called, or what one of them or the kernel answered. STEP_AGAIN: none,
 * and neither did the deadline pass nor anybody wake us (a timer was put off after the timerfd was armed for it).
 */
static int step(confab_loop *loop, int64_t deadline_ns) {
        struct epoll_event events[N_EVENTS];
        int n_events, r;

        do
                n_events = wait_events(loop, events, deadline_ns);
        while (n_events < 0 && errno == EINTR);
        if (n_events < 0)
                return cfb_failed(-errno, "epoll_wait", "loop");
        loop->n_called = 0;
        loop->n_steps++;
        loop->woken = false;
        loop->dispatching = true;
        r = dispatch(loop, events, n_events);
        loop->dispatching = false;
        bury_removed(loop);
        always_arm(loop);
        cfb_timers_arm(loop);
        if (r < 0)
                return r;
        return n_events && !loop->n_called && !loop->woken && deadline_ns > CONFAB_NOW ? STEP_AGAIN
                                                                                       : loop->n_called;
}

static int begin(confab_loop *loop, const char *call) {
        int r = cfb_loop_check(loop, call);

        if (r < 0)
                return r;
        if (loop->dispatching || loop->running)
                return cfb_failed_with(-EBUSY, call, "loop", NULL,
                                       "it is running: call this outside of its callbacks", 0, 0);
        loop->thread = pthread_self();
        return 0;
}

int confab_loop_once(confab_loop *loop, int64_t deadline_ns) {
        CFB_UNCANCELLED;
        int r = begin(loop, "loop_once");

        if (r < 0)
                return r;
        while ((r = step(loop, deadline_ns)) == STEP_AGAIN)
                ;
        return r;
}

int confab_loop_run(confab_loop *loop) {
        CFB_UNCANCELLED;
        int r = begin(loop, "loop_run");

        if (r < 0)
                return r;
        loop->running = true;
        while (r >= 0 && !cfb_loop_stopping(loop))
                r = step(loop, CONFAB_FOREVER);
        loop->running = false;
        if (r < 0)
                return r;
        atomic_store_explicit(&loop->stop, false,
                              memory_order_relaxed); /* consumed by this run; the caller orders the next */
        return 0;
}
