/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Ending a blocking system call of another thread, without a descriptor to wake and without losing the race against its beginning.
 *
 * A signal sent once may arrive just before the thread enters the kernel, and then the call sleeps on. So each waiting thread owns a POSIX
 * timer that signals this very thread (SIGEV_THREAD_ID). cfb_nudge arms it to fire at once and then every millisecond until the
 * waiter has left: the first may be lost, the next is not. The handler does nothing; that it ran makes the call return EINTR. It is installed
 * without SA_RESTART, which would have file locks waited for again (signal(7)): nobody else's calls are disturbed all the same, since
 * the signal goes to the waiting thread alone, while it waits, and is delivered before the call that disarms the timer has returned.
 *
 * A deadline is the same timer, armed by the waiter itself before it says that it waits; a nudge only makes it earlier.
 *
 *   [N1] waiter:  timer = mine;  look whether the wait was ended;  block       (leave: timer = 0;  wait until arming is 0;  disarm)
 *   [N2] other:   end the wait;  arming++;  read timer;  arm it;  arming--
 *
 * All sequentially consistent: either the waiter sees the end, or the other sees its timer; and the waiter never leaves while somebody is
 * about to arm its timer. Should that happen all the same (a thread that never comes back, a copy made by fork), the handler finds
 * that nobody waits and disarms the timer itself.
 *
 * The signal is the highest real-time one whose action is the default and which the first waiter does not block, chosen once. From then on
 * confab gives it to nobody (cfb_signal_check_catch). A program that sets another handler by sigaction all the same is noticed before a wait
 * with a deadline: a handler with SA_RESTART would have F_OFD_SETLKW waited for beyond it.
 * Rejected: one for all with tgkill, which needs somebody to repeat it; pthread_cancel, which cannot be taken back; jumping out of the handler.
 */
#include "base/nudge.h"

#include <confab/types.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The kernel's own layouts: the C libraries disagree on names and on the width of time. */
struct kernel_sigevent {
        union sigval value;
        int signo, notify, tid;
        char rest[64 - sizeof(union sigval) - 3 * sizeof(int)];
};
struct kernel_itimerspec {
        int64_t interval_s, interval_ns, value_s, value_ns;
};
enum { THREAD_ID = 4, FIRST_NS = 1000, EVERY_NS = 1000000, SECOND_NS = 1000000000, PATIENCE = 10000 };
#ifdef SYS_timer_settime64
#define TIMER_SETTIME SYS_timer_settime64
#else
#define TIMER_SETTIME SYS_timer_settime
#endif

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t ended;
/* The signal; 0: none is free. Relaxed everywhere: the once orders it for waiters, others only compare it. */
static _Atomic int chosen;

static _Thread_local uint32_t own; /* this thread's timer, plus one */
static _Thread_local volatile sig_atomic_t waiting;
static _Thread_local bool was_blocked, timed;

static void set_timer_by(uint32_t timer, int flags, int64_t first_ns, int64_t every_ns) {
        struct kernel_itimerspec spec = {
                .interval_ns = every_ns, .value_s = first_ns / SECOND_NS, .value_ns = first_ns % SECOND_NS};
        int saved = errno; /* signal handlers come here */

        syscall(TIMER_SETTIME, (int)(timer - 1), flags, &spec, NULL);
        errno = saved;
}

static void set_timer(uint32_t timer, int64_t first_ns, int64_t every_ns) {
        set_timer_by(timer, 0, first_ns, every_ns);
}

static void nudged(int signo) {
        (void)signo;
        if (!waiting && own)
                set_timer(own, 0, 0);
}

static void thread_ended(void *unused) {
        (void)unused;
        if (own)
                syscall(SYS_timer_delete, (int)(own - 1));
        own = 0;
}

/* Timers do not live through fork. */
static void after_fork_child(void) {
        own = 0;
        waiting = 0;
}

static bool is_ours(int signo) {
        struct sigaction now;

        return sigaction(signo, NULL, &now) == 0 && !(now.sa_flags & SA_SIGINFO) && now.sa_handler == nudged;
}

static bool take_signal(int signo) {
        struct sigaction now, action = {.sa_handler = nudged};

        if (sigaction(signo, NULL, &now) < 0 || (now.sa_flags & SA_SIGINFO) || now.sa_handler != SIG_DFL)
                return false;
        return sigaction(signo, &action, NULL) == 0;
}

static void choose(void) {
        sigset_t blocked;

        if (pthread_key_create(&ended, thread_ended) != 0 ||
            pthread_atfork(NULL, NULL, after_fork_child) != 0)
                return;
        pthread_sigmask(SIG_BLOCK, NULL, &blocked);
        /* A blocked one may be somebody's for sigwaitinfo: taken only where all are. */
        for (int pass = 0; pass < 2; pass++)
                for (int signo = SIGRTMAX; signo >= SIGRTMIN; signo--)
                        if (sigismember(&blocked, signo) == pass && take_signal(signo)) {
                                atomic_store_explicit(&chosen, signo, memory_order_relaxed);
                                return;
                        }
}

int cfb_nudge_signal(void) {
        return atomic_load_explicit(&chosen, memory_order_relaxed);
}

static int make_timer(void) {
        struct kernel_sigevent event = {.signo = cfb_nudge_signal(), .notify = THREAD_ID};
        int timer;

        event.tid = (int)syscall(SYS_gettid);
        if (syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer) < 0)
                return -errno; /* EAGAIN: RLIMIT_SIGPENDING */
        own = (uint32_t)timer + 1;
        if (pthread_setspecific(ended, &own) != 0) {
                thread_ended(NULL);
                return -ENOMEM;
        }
        return 0;
}

int cfb_nudge_begin(struct cfb_nudge *nudge) {
        return cfb_nudge_begin_until(nudge, CONFAB_FOREVER);
}

int cfb_nudge_begin_until(struct cfb_nudge *nudge, int64_t deadline_ns) {
        sigset_t ours, before;
        int signo, r;

        pthread_once(&once, choose);
        signo = cfb_nudge_signal();
        timed = deadline_ns != CONFAB_FOREVER;
        if (!signo || (timed && !is_ours(signo)))
                return -EBUSY;
        if (!own && (r = make_timer()) < 0)
                return r;
        sigemptyset(&ours);
        sigaddset(&ours, signo);
        pthread_sigmask(SIG_UNBLOCK, &ours, &before);
        was_blocked = sigismember(&before, signo) == 1;
        waiting = 1;
        if (timed)
                set_timer_by(own, TIMER_ABSTIME, deadline_ns > 0 ? deadline_ns : 1, EVERY_NS);
        atomic_store(&nudge->armed, 0);   /* [N2]: nobody arms before the next line */
        atomic_store(&nudge->timer, own); /* [N1] */
        return 0;
}

void cfb_nudge_end(struct cfb_nudge *nudge) {
        sigset_t ours;

        atomic_store(&nudge->timer, 0);                                   /* [N1] */
        for (int i = 0; atomic_load(&nudge->arming) && i < PATIENCE; i++) /* [N2] */
                sched_yield();
        if (atomic_exchange(&nudge->armed, 0) || timed)
                set_timer(own, 0, 0);
        waiting = 0;
        if (was_blocked) {
                sigemptyset(&ours);
                sigaddset(&ours, cfb_nudge_signal());
                pthread_sigmask(SIG_BLOCK, &ours, NULL);
        }
}

void cfb_nudge(struct cfb_nudge *nudge) {
        uint32_t timer;

        atomic_fetch_add(&nudge->arming, 1); /* [N2] */
        timer = atomic_load(&nudge->timer);  /* [N1] */
        /* Once: arming it again and again would put off its first signal for ever. */
        if (timer && !atomic_exchange(&nudge->armed, 1))
                set_timer(timer, FIRST_NS, EVERY_NS);
        atomic_fetch_sub(&nudge->arming, 1); /* [N2] */
}
