/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Signals as events: one signalfd for all signals of a loop.
 *
 * A signal taken is blocked in the thread that adds it, because a signalfd only gets what would otherwise stay pending; if it was not
 * blocked before, removing the source in that thread unblocks it again, and one still pending then takes its usual way; any other thread's mask
 * is that thread's own affair. Threads that do not block it would receive it in the old way: block it before they start.
 *
 * One siginfo is read at a time, so what a stop leaves unread stays pending in the kernel. The same signal sent twice before it
 * is read is one (real-time signals are queued): the kernel's rule, not ours.
 */
#include "base/cancel.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/signals.h"
#include "loop/loop.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct signal_source {
        struct confab_source source;
        int number;
        bool unblock;     /* at the end: we blocked it */
        pthread_t thread; /* where */
};

struct cfb_signals {
        struct cfb_watch watch;
        sigset_t taken;
        confab_source *by_number[_NSIG];
};

enum { N_AT_ONCE = 16 }; /* signals in one step: a storm of them leaves room for the rest */

static int signals_ready(struct cfb_watch *watch, uint32_t events) {
        int r = 0;

        (void)events;
        for (int i = 0; i < N_AT_ONCE && r >= 0 && !cfb_loop_stopping(watch->loop); i++) {
                struct signalfd_siginfo info;
                confab_source *source;

                if (read(watch->fd, &info, sizeof(info)) != sizeof(info))
                        break;
                source = info.ssi_signo < _NSIG ? watch->loop->signals->by_number[info.ssi_signo] : NULL;
                if (source)
                        r = cfb_source_call(source, info.ssi_signo);
        }
        return r;
}

static int signals_new(confab_loop *loop) {
        struct cfb_signals *signals = cfb_allocate(sizeof(*signals));
        int fd, r;

        if (!signals)
                return cfb_failed(-ENOMEM, "add_signal", "loop");
        sigemptyset(&signals->taken);
        fd = signalfd(-1, &signals->taken, SFD_CLOEXEC | SFD_NONBLOCK);
        r = fd < 0 ? cfb_failed(-errno, "signalfd", "loop") : 0;
        cfb_watch_init(&signals->watch, loop, NULL, fd, signals_ready);
        if (r >= 0)
                r = cfb_watch_set(&signals->watch, POLLIN);
        if (r < 0) {
                cfb_closep(&fd);
                cfb_release(signals);
                return r;
        }
        loop->signals = signals;
        return 0;
}

void cfb_signals_free(confab_loop *loop) {
        if (!loop->signals)
                return;
        cfb_closep(&loop->signals->watch.fd);
        cfb_release(loop->signals);
        loop->signals = NULL;
}

static void signal_end(confab_source *source) {
        struct signal_source *own = (struct signal_source *)source;
        struct cfb_signals *signals = source->loop->signals;
        sigset_t one;

        if (signals->by_number[own->number] != source)
                return; /* adding it failed */
        signals->by_number[own->number] = NULL;
        sigdelset(&signals->taken, own->number);
        if (cfb_loop_check(source->loop, "remove") >=
            0) /* in a forked child the signalfd is still the parent's */
                signalfd(signals->watch.fd, &signals->taken, 0);
        if (own->unblock && pthread_equal(own->thread, pthread_self())) {
                sigemptyset(&one);
                sigaddset(&one, own->number);
                pthread_sigmask(SIG_UNBLOCK, &one, NULL);
        }
}

static const struct cfb_source_kind signal_kind = {"add_signal", NULL, signal_end};

static int check_number(const confab_loop *loop, int number) {
        char name[16];
        int r = cfb_signal_check_catch("add_signal", number, 1);

        if (r < 0 || !loop->signals || !loop->signals->by_number[number])
                return r;
        cfb_signal_name(name, number);
        return cfb_signal_refuse(-EBUSY, "add_signal", name, "another source of this loop takes it");
}

static int take(confab_loop *loop, confab_source *source, int number) {
        struct signal_source *own = (struct signal_source *)source;
        struct cfb_signals *signals = loop->signals;
        sigset_t one, before;

        sigaddset(&signals->taken, number);
        if (signalfd(signals->watch.fd, &signals->taken, 0) < 0) {
                int error = -errno;

                sigdelset(&signals->taken, number);
                return cfb_failed(error, "signalfd", "loop");
        }
        sigemptyset(&one);
        sigaddset(&one, number);
        pthread_sigmask(SIG_BLOCK, &one, &before);
        own->unblock = !sigismember(&before, number);
        own->thread = pthread_self();
        signals->by_number[number] = source;
        return 0;
}

int confab_loop_add_signal(confab_source **sourcep, confab_loop *loop, int signal_number,
                           confab_source_callback callback, void *data) {
        CFB_UNCANCELLED;
        confab_source *source;
        int r = cfb_loop_check(loop, "add_signal");

        if (r >= 0)
                r = check_number(loop, signal_number);
        if (r >= 0 && !loop->signals)
                r = signals_new(loop);
        if (r >= 0)
                r = cfb_source_new(&source, loop, sizeof(struct signal_source), &signal_kind, callback, data);
        if (r < 0)
                return r;
        ((struct signal_source *)source)->number = signal_number;
        r = take(loop, source, signal_number);
        if (r < 0) {
                confab_loop_remove(source);
                return r;
        }
        if (sourcep)
                *sourcep = source;
        return 0;
}
