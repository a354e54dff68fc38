/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Waiting for a job.
 *
 * Exits come through pidfds, one for each stage, so nothing is shared with the rest of the program: no SIGCHLD, no wait for any child.
 * The kernel has nothing to poll for a stop: where stops are asked for, waiting is cut into pieces of 50 ms, after each of
 * which waitid(WSTOPPED) is asked. (SIGCHLD tells of stops, but it belongs to the program, and in a process with several threads any
 * of them may swallow it.) Orphans that come to us are looked for once a second.
 *
 *   [J1] the waiter:  waiter = its wake descriptor;  look at interrupted;  poll
 *        the other:   interrupted = true;            read waiter;          write to it
 *
 * All four accesses are sequentially consistent, as in core/wait.c.
 */
#include "base/cancel.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/libc.h"
#include "base/memory.h"
#include "base/wake.h"
#include "process/job.h"

#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define STOP_LOOK_NS   INT64_C(50000000)
#define ORPHAN_LOOK_NS INT64_C(1000000000)

static int64_t time_ns(struct timeval time) {
        return (int64_t)time.tv_sec * 1000000000 + (int64_t)time.tv_usec * 1000;
}

static void ended(confab_job *job, struct cfb_stage *stage, uint32_t state, int code,
                  const struct rusage *used) {
        stage->state = state;
        stage->code = code;
        stage->ended_ns = confab_now();
        if (used) {
                stage->user_ns = time_ns(used->ru_utime);
                stage->system_ns = time_ns(used->ru_stime);
                stage->memory_len = (uint64_t)used->ru_maxrss * 1024;
        }
        if (job->events >= 0)
                epoll_ctl(job->events, EPOLL_CTL_DEL, stage->pidfd, NULL);
        cfb_closep(&stage->pidfd);
}

/* What the kernel has to tell of it. The C library's waitid has no place for the times. */
static void look(confab_job *job, struct cfb_stage *stage) {
        int what = WEXITED | WNOHANG | (job->flags & CONFAB_JOB_STOPS ? WSTOPPED | WCONTINUED : 0);
        struct rusage used;
        siginfo_t info;

        while (stage->pidfd >= 0) {
                info.si_pid = 0;
                if (syscall(SYS_waitid, CFB_P_PIDFD, stage->pidfd, &info, what, &used) < 0) {
                        if (errno != EINTR)
                                ended(job, stage, CONFAB_STAGE_LOST, 0, NULL);
                        continue;
                }
                if (info.si_pid == 0)
                        return;
                switch (info.si_code) {
                case CLD_EXITED:
                        ended(job, stage, CONFAB_STAGE_EXITED, info.si_status & 0xff, &used);
                        break;
                case CLD_STOPPED:
                case CLD_TRAPPED:
                        stage->state = CONFAB_STAGE_STOPPED;
                        stage->code = info.si_status;
                        break;
                case CLD_CONTINUED:
                        stage->state = CONFAB_STAGE_RUNNING;
                        stage->code = 0;
                        break;
                default:
                        ended(job, stage, CONFAB_STAGE_KILLED, info.si_status, &used);
                }
        }
}

/* How many are in @state. */
static unsigned count(const confab_job *job, uint32_t state) {
        unsigned n = 0;

        for (unsigned i = 0; i < job->n_stages; i++)
                n += job->stages[i].pidfd >= 0 && job->stages[i].state == state;
        return n;
}

/* Orphans that came to us and ended; our stages have been looked at before. */
static void reap_orphans(const confab_job *job) {
        siginfo_t info;

        for (;;) {
                info.si_pid = 0;
                if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) < 0 || info.si_pid == 0 ||
                    info.si_pid == job->guard_pid)
                        return;
                for (unsigned i = 0; i < job->n_stages; i++)
                        if (job->stages[i].pidfd >= 0 && job->stages[i].pid == info.si_pid)
                                return;
                waitpid(info.si_pid, NULL, WNOHANG);
        }
}

bool cfb_job_look(confab_job *job) {
        for (unsigned i = 0; i < job->n_stages; i++)
                if (job->stages[i].pidfd >= 0)
                        look(job, &job->stages[i]);
        if (job->flags & CONFAB_JOB_ADOPT)
                reap_orphans(job);
        return count(job, CONFAB_STAGE_RUNNING) + count(job, CONFAB_STAGE_STOPPED) > 0;
}

/* Room in @polled: each stage, each pump, the wake descriptor. */
static int make_room(confab_job *job) {
        size_t n = job->n_stages + 1;

        if (job->polled)
                return 0;
        for (const struct cfb_pump *pump = job->pumps; pump; pump = pump->next)
                n++;
        job->polled = cfb_allocate(n * sizeof(*job->polled));
        return job->polled ? 0 : cfb_failed(-ENOMEM, "wait", NULL);
}

static unsigned fill_polled(confab_job *job) {
        unsigned n = 0;

        for (unsigned i = 0; i < job->n_stages; i++)
                if (job->stages[i].pidfd >= 0)
                        job->polled[n++] = (struct pollfd){.fd = job->stages[i].pidfd, .events = POLLIN};
        return n + cfb_pumps_poll(job, job->polled + n);
}

/* Sleeps until something may have happened: 0; -EINTR by confab_job_interrupt. */
static int sleep_once(confab_job *job, int64_t deadline_ns) {
        int64_t nap_ns = job->flags & CONFAB_JOB_STOPS   ? STOP_LOOK_NS
                         : job->flags & CONFAB_JOB_ADOPT ? ORPHAN_LOOK_NS
                                                         : CONFAB_FOREVER;
        int wake = cfb_wake_descriptor(), r;
        unsigned n;

        if (wake < 0)
                return cfb_failed(wake, "eventfd", NULL);
        n = fill_polled(job);
        job->polled[n] = (struct pollfd){.fd = wake, .events = POLLIN};
        if (nap_ns != CONFAB_FOREVER && deadline_ns > confab_after(nap_ns))
                deadline_ns = confab_after(nap_ns);
        cfb_wake_publish(&job->waiter, wake); /* [J1] seq_cst, as all four */
        r = atomic_load(&job->interrupted) ? 0 : cfb_poll(job->polled, n + 1, deadline_ns);
        cfb_wake_publish(&job->waiter, -1);
        if (r > 0 && job->polled[n].revents)
                cfb_wake_drain(wake);
        if (atomic_exchange(&job->interrupted, false)) /* [J1] */
                return cfb_failed(-EINTR, "wait", NULL);
        return r == -EINTR || r >= 0 ? 0 : cfb_failed(r, "poll", NULL);
}

/* 0, CONFAB_JOB_STOPPED, or -EAGAIN: something runs or is being carried. */
static int state_of(confab_job *job) {
        bool more = cfb_job_look(job);

        cfb_pumps_step(job);
        if (!more) {
                cfb_job_ended(job); /* now: while something is still carried the keys are ours */
                return cfb_pumps_finish(job) ? -EAGAIN : 0;
        }
        return (job->flags & CONFAB_JOB_STOPS) && count(job, CONFAB_STAGE_RUNNING) == 0 ? CONFAB_JOB_STOPPED
                                                                                        : -EAGAIN;
}

static int wait_for(confab_job *job, int64_t deadline_ns) {
        for (;;) {
                int r = state_of(job);

                if (r == 0) {
                        int error = job->error;

                        job->error = 0;
                        return error;
                }
                if (r == CONFAB_JOB_STOPPED) {
                        cfb_terminal_take_back(job, true);
                        return r;
                }
                if (deadline_ns == CONFAB_NOW)
                        return atomic_exchange(&job->interrupted, false) ? cfb_failed(-EINTR, "wait", NULL)
                                                                         : -EAGAIN;
                if (confab_now() >= deadline_ns)
                        return cfb_failed(-ETIMEDOUT, "wait", "the job");
                r = sleep_once(job, deadline_ns);
                if (r < 0)
                        return r;
        }
}

int confab_job_wait(confab_job *job, int64_t deadline_ns) {
        CFB_UNCANCELLED;
        int r;

        if (!job)
                return cfb_failed(-EINVAL, "wait", "NULL");
        r = cfb_job_refuse_other(job);
        if (r >= 0)
                r = make_room(job);
        if (r < 0)
                return r;
        r = wait_for(job, deadline_ns);
        if (job->events >= 0)
                cfb_pumps_watch(job);
        return r;
}

void confab_job_interrupt(confab_job *job) {
        atomic_store(&job->interrupted, true); /* [J1] */
        cfb_wake_waiter(&job->waiter);         /* [J1] */
}

int confab_job_descriptor(confab_job *job) {
        CFB_UNCANCELLED;
        struct epoll_event event = {.events = EPOLLIN};
        int r;

        if (!job)
                return cfb_failed(-EINVAL, "descriptor", "NULL");
        r = cfb_job_refuse_other(job);
        if (r >= 0)
                r = make_room(job);
        if (r < 0 || job->events >= 0)
                return r < 0 ? r : job->events;
        job->events = epoll_create1(EPOLL_CLOEXEC);
        if (job->events < 0)
                return cfb_failed(-errno, "epoll_create1", NULL);
        for (unsigned i = 0; i < job->n_stages; i++) {
                event.data.fd = job->stages[i].pidfd;
                if (event.data.fd >= 0 && epoll_ctl(job->events, EPOLL_CTL_ADD, event.data.fd, &event) < 0) {
                        r = cfb_failed(-errno, "epoll_ctl", NULL);
                        cfb_closep(&job->events);
                        return r;
                }
        }
        cfb_pumps_watch(job);
        return job->events;
}
