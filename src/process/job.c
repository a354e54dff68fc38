/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * A job's life: started, signalled, ended; waiting is in wait.c.
 *
 * The group's number is its first member's pid: the guard's, else the first stage's. It is the group's as long as that is not reaped, and
 * while anybody is in the group the kernel gives the number to no process: so a process that has it then is a stranger. Stages are
 * reaped by the wait alone. Those before cannot go away while others are being started: so setpgid finds the group.
 */
#include "process/job.h"
#include "base/cancel.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/libc.h"
#include "base/memory.h"
#include "base/wake.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define FLAGS_KNOWN                                                                              \
        (CONFAB_JOB_SAME_GROUP | CONFAB_JOB_FOREGROUND | CONFAB_JOB_SESSION | CONFAB_JOB_STOPS | \
         CONFAB_JOB_DIE | CONFAB_JOB_ADOPT)

int cfb_job_refuse_other(const confab_job *job) {
        return cfb_owner_is_here(&job->owner) ? 0 : cfb_failed(-EOWNERDEAD, "job", NULL);
}

static int check_options(const struct confab_job_options *options, uint32_t flags) {
        uint32_t places = flags & (CONFAB_JOB_SAME_GROUP | CONFAB_JOB_FOREGROUND | CONFAB_JOB_SESSION);
        struct sigaction now;

        if (options && (options->size < sizeof(*options) || options->reserved || (flags & ~FLAGS_KNOWN)))
                return cfb_failed_with(-EINVAL, "start", NULL, NULL, "options: size or flags", 0, 0);
        if (places & (places - 1))
                return cfb_failed_with(-EINVAL, "start", NULL, NULL,
                                       "the same group, the foreground and a session exclude each other", 0,
                                       0);
        if ((flags & CONFAB_JOB_DIE) && (flags & CONFAB_JOB_SAME_GROUP))
                return cfb_failed_with(-EINVAL, "start", NULL, NULL,
                                       "what dies with us is killed as a group, which then must not be ours",
                                       0, 0);
        if (sigaction(SIGCHLD, NULL, &now) == 0 &&
            (now.sa_handler == SIG_IGN || (now.sa_flags & SA_NOCLDWAIT)))
                return cfb_failed_with(-ECHILD, "start", NULL, NULL,
                                       "SIGCHLD is ignored here, so the kernel throws statuses away", 0, 0);
        return 0;
}

/* A script without "#!": as execvp does. */
static int spawn_as_script(int *pidfdp, const struct cfb_plan *plan) {
        static char shell[] = "/bin/sh";
        struct cfb_spawn spawn = plan->spawn;
        size_t n = 0;
        char **argv;
        int r;

        while (spawn.argv[n])
                n++;
        argv = cfb_allocate((n + 2) * sizeof(*argv));
        if (!argv)
                return cfb_failed(-ENOMEM, "start", plan->path);
        argv[0] = shell;
        argv[1] = plan->path;
        for (size_t i = 1; i <= n; i++)
                argv[i + 1] = spawn.argv[i];
        spawn.path = shell;
        spawn.argv = argv;
        r = cfb_spawn(pidfdp, &spawn);
        cfb_release(argv);
        return r;
}

static void place(confab_job *job, unsigned index, struct cfb_spawn *spawn) {
        bool main_thread = getpid() == (int)syscall(SYS_gettid);

        if (!(job->flags & (CONFAB_JOB_SAME_GROUP | CONFAB_JOB_SESSION))) {
                spawn->flags |= CFB_SPAWN_GROUP;
                spawn->group = job->group;
        }
        if (index == 0 && (job->flags & CONFAB_JOB_FOREGROUND)) {
                spawn->flags |= CFB_SPAWN_TERMINAL;
                spawn->terminal = job->terminal;
        }
        if ((job->flags & CONFAB_JOB_DIE) && main_thread)
                spawn->flags |= CFB_SPAWN_DIE;
}

/* The child has done it; but where an emulator makes a fork of the clone it may come late: the group not there yet, or no more. */
static void join(confab_job *job, int pid) {
        if (!job->group)
                job->group = pid;
        setpgid(pid, job->group);
}

static int start_stage(confab_job *job, struct cfb_plan *plan, unsigned index) {
        struct cfb_stage *stage = &job->stages[index];
        int r;

        place(job, index, &plan->spawn);
        /* Before: a program that cannot be executed had it already, and it is to be taken back from a group that is no more. */
        if (index == 0 && (job->flags & CONFAB_JOB_FOREGROUND))
                job->terminal_given = true;
        r = cfb_spawn(&stage->pidfd, &plan->spawn);
        if (r == -ENOEXEC)
                r = spawn_as_script(&stage->pidfd, plan);
        if (r < 0)
                return r;
        stage->pid = r;
        stage->started_ns = confab_now();
        if (plan->spawn.flags & CFB_SPAWN_GROUP)
                join(job, r);
        return 0;
}

/* The group's first member. */
static int start_guard(confab_job *job, struct cfb_guard *guard) {
        guard->spawn.flags |= CFB_SPAWN_GROUP;
        job->guard_pid = cfb_spawn(&job->guard_pidfd, &guard->spawn);
        if (job->guard_pid < 0)
                return job->guard_pid;
        join(job, job->guard_pid);
        return 0;
}

static int start_in_turn(confab_job *job, struct cfb_plans *plans, struct cfb_guard *guard) {
        int r = job->flags & CONFAB_JOB_DIE ? start_guard(job, guard) : 0;

        for (unsigned i = 0; r >= 0 && i < job->n_stages; i++) {
                if (i + 1 < job->n_stages)
                        r = cfb_plans_pipe(plans, i);
                if (r >= 0) {
                        r = start_stage(job, &plans->plans[i], i);
                        if (r < 0 && strcmp(cfb_last_failure()->call, "execve") == 0)
                                plans->failed = i + 1;
                }
                cfb_plan_started(&plans->plans[i]);
        }
        return r;
}

/* All of a session are started by the first of them: the guard, then the other stages. */
static int start_session(confab_job *job, struct cfb_plans *plans, struct cfb_guard *guard) {
        unsigned n_guards = (job->flags & CONFAB_JOB_DIE) != 0, n = job->n_stages + n_guards;
        CFB_CLEANUP(cfb_releasep) struct cfb_spawn *spawns = cfb_allocate(n * sizeof(*spawns));
        CFB_CLEANUP(cfb_releasep) int *pids = cfb_allocate(2 * sizeof(*pids) * n);
        int r = 0;

        if (!spawns || !pids)
                return cfb_failed(-ENOMEM, "start", NULL);
        for (unsigned i = 0; r >= 0 && i + 1 < job->n_stages; i++)
                r = cfb_plans_pipe(plans, i);
        if (r < 0)
                return r;
        for (unsigned i = 0; i < job->n_stages; i++) {
                place(job, i, &plans->plans[i].spawn);
                spawns[i ? i + n_guards : 0] = plans->plans[i].spawn;
        }
        if (n_guards)
                spawns[1] = guard->spawn;
        r = cfb_spawn_session(pids, pids + n, spawns, n);
        if (r < 0)
                return r;
        for (unsigned i = 0; i < job->n_stages; i++) {
                unsigned at = i ? i + n_guards : 0;

                job->stages[i].pid = pids[at];
                job->stages[i].pidfd = pids[n + at];
                job->stages[i].started_ns = confab_now();
        }
        if (n_guards) {
                job->guard_pid = pids[1];
                job->guard_pidfd = pids[n + 1];
        }
        job->group = pids[0];
        return 0;
}

static int adopt(confab_job *job) {
        int before = 0;

        if (prctl(PR_GET_CHILD_SUBREAPER, &before, 0, 0, 0) == 0 && before)
                return 0;
        if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
                return cfb_failed(-errno, "prctl", NULL);
        job->adopts = true;
        return 0;
}

static int start(confab_job *job, const struct confab_stage *stages, int terminal, uint32_t *failedp) {
        CFB_CLEANUP(cfb_plans_fini) struct cfb_plans plans = {0};
        CFB_CLEANUP(cfb_guard_fini) struct cfb_guard guard = {.fds = {{-1, 0}}};
        int r = 0;

        if ((job->flags & CONFAB_JOB_FOREGROUND) || ((job->flags & CONFAB_JOB_STOPS) && terminal > 0))
                r = cfb_terminal_init(job, terminal);
        if (r >= 0)
                r = cfb_plans_init(&plans, job, stages);
        if (r >= 0 && (job->flags & CONFAB_JOB_DIE))
                r = cfb_guard_init(&guard, job);
        if (r >= 0 && (job->flags & CONFAB_JOB_ADOPT))
                r = adopt(job);
        if (r >= 0)
                r = job->flags & CONFAB_JOB_SESSION ? start_session(job, &plans, &guard)
                                                    : start_in_turn(job, &plans, &guard);
        *failedp = plans.failed;
        return r < 0 ? r : 0;
}

int confab_job_start(confab_job **jobp, const struct confab_stage *stages, unsigned n_stages,
                     const struct confab_job_options *options) {
        CFB_UNCANCELLED;
        uint32_t flags = options ? options->flags : 0, failed = 0;
        confab_job *job;
        int r;

        if (!jobp || !stages || n_stages == 0 || n_stages > INT_MAX / (int)sizeof(*stages))
                return cfb_failed_with(-EINVAL, "start", NULL, NULL, "no stages", 0, 0);
        r = check_options(options, flags);
        if (r < 0)
                return r;
        job = cfb_allocate(sizeof(*job) + n_stages * sizeof(job->stages[0]));
        if (!job)
                return cfb_failed(-ENOMEM, "start", NULL);
        job->n_stages = n_stages;
        job->flags = flags & CONFAB_JOB_FOREGROUND ? flags | CONFAB_JOB_STOPS : flags;
        job->owner = cfb_owner_here();
        job->terminal = job->guard_pidfd = job->guard_pipe = job->events = -1;
        for (unsigned i = 0; i < n_stages; i++)
                job->stages[i].pidfd = -1;
        cfb_wake_user_added();
        r = start(job, stages, options ? options->terminal : 0, &failed);
        if (options && options->failedp)
                *options->failedp = failed;
        if (r < 0) {
                struct cfb_failure failure = *cfb_last_failure();

                confab_job_free(job);
                *cfb_last_failure() = failure; /* what ending the others meets is not the news */
                return r;
        }
        *jobp = job;
        return 0;
}

static bool killed(const confab_job *job) {
        for (unsigned i = 0; i < job->n_stages; i++)
                if (job->stages[i].state == CONFAB_STAGE_KILLED)
                        return true;
        return false;
}

void cfb_job_ended(confab_job *job) {
        cfb_terminal_take_back(job, killed(job));
        cfb_guard_end(job);
}

int cfb_job_group(const confab_job *job) {
        const struct cfb_stage *first = &job->stages[0];

        if (!job->group || job->guard_pidfd >= 0 ||
            (first->pidfd >= 0 && syscall(SYS_pidfd_send_signal, first->pidfd, 0, NULL, 0) == 0))
                return job->group;
        return getpgid(job->group) < 0 && errno == ESRCH ? job->group : 0;
}

int cfb_job_signal(confab_job *job, int signal_number) {
        int r = -ESRCH, group = cfb_job_group(job);
        bool left = false;

        for (unsigned i = 0; i < job->n_stages; i++)
                left = left || job->stages[i].pidfd >= 0;
        if (!left)
                return -ESRCH;
        if (group)
                r = kill(-group, signal_number) < 0 ? -errno : 0;
        if (job->guard_pidfd >= 0 && signal_number == SIGSTOP)
                cfb_spawn_signal(job->guard_pidfd, SIGCONT);
        for (unsigned i = 0; i < job->n_stages; i++) {
                const struct cfb_stage *stage = &job->stages[i];

                if (stage->pidfd < 0 || (group && getpgid(stage->pid) == group))
                        continue;
                if (syscall(SYS_pidfd_send_signal, stage->pidfd, signal_number, NULL, 0) == 0)
                        r = 0;
                else if (r == -ESRCH)
                        r = -errno;
        }
        return r;
}

int confab_job_signal(confab_job *job, int signal_number) {
        CFB_UNCANCELLED;
        int r;

        if (!job)
                return cfb_failed(-EINVAL, "signal", "NULL");
        r = cfb_job_refuse_other(job);
        if (r >= 0)
                r = cfb_job_signal(job, signal_number);
        return r < 0 ? cfb_failed(r, "signal", "the job") : 0;
}

int confab_job_continue(confab_job *job, int foreground) {
        CFB_UNCANCELLED;
        int r;

        if (!job)
                return cfb_failed(-EINVAL, "continue", "NULL");
        r = cfb_job_refuse_other(job);
        if (r >= 0 && foreground)
                r = cfb_terminal_give(job);
        if (r < 0)
                return r;
        for (unsigned i = 0; i < job->n_stages; i++)
                if (job->stages[i].state == CONFAB_STAGE_STOPPED)
                        job->stages[i].state = CONFAB_STAGE_RUNNING;
        r = cfb_job_signal(job, SIGCONT);
        return r < 0 ? cfb_failed(r, "continue", "the job") : 0;
}

int confab_job_end(confab_job *job, int64_t grace_ns) {
        CFB_UNCANCELLED;
        int r;

        if (!job)
                return cfb_failed(-EINVAL, "end", "NULL");
        r = cfb_job_refuse_other(job);
        if (r < 0)
                return r;
        r = cfb_tree_end(job, grace_ns);
        if (!cfb_job_look(job)) {
                cfb_pumps_step(job);
                cfb_pumps_drop(job);
                cfb_job_ended(job);
        }
        return r;
}

int confab_job_status(const confab_job *job, unsigned index, struct confab_stage_status *status) {
        const struct cfb_stage *stage;
        int r;

        if (!job || !status || status->size < sizeof(*status))
                return cfb_failed_with(-EINVAL, "status", NULL, NULL, "NULL, or a size that is too small", 0,
                                       0);
        r = cfb_job_refuse_other(job);
        if (r < 0)
                return r;
        if (index >= job->n_stages)
                return -ENOENT;
        stage = &job->stages[index];
        *status = (struct confab_stage_status){
                .size = sizeof(*status),
                .pid = stage->pid,
                .state = stage->state,
                .code = stage->code,
                .wall_ns = (stage->ended_ns ? stage->ended_ns : confab_now()) - stage->started_ns,
                .user_ns = stage->user_ns,
                .system_ns = stage->system_ns,
                .memory_len = stage->memory_len,
        };
        return 0;
}

int confab_job_result(const confab_job *job) {
        int r;

        if (!job)
                return cfb_failed(-EINVAL, "result", "NULL");
        r = cfb_job_refuse_other(job);
        if (r < 0)
                return r;
        for (unsigned i = 0; i < job->n_stages; i++)
                if (job->stages[i].pidfd >= 0)
                        return -EAGAIN;
        for (unsigned i = job->n_stages; i-- > 0;) {
                const struct cfb_stage *stage = &job->stages[i];

                if (stage->state == CONFAB_STAGE_KILLED)
                        return 128 + stage->code;
                if (stage->state == CONFAB_STAGE_LOST)
                        return 127;
                if (stage->code != 0)
                        return stage->code;
        }
        return 0;
}

confab_job *confab_job_free(confab_job *job) {
        CFB_UNCANCELLED;
        bool mine;

        if (!job)
                return NULL;
        mine = cfb_owner_is_here(&job->owner);
        if (mine && cfb_job_look(job)) {
                cfb_tree_end(job, 0);
                cfb_job_look(job);
        }
        if (mine)
                cfb_job_ended(job);
        if (mine && job->adopts)
                prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
        for (unsigned i = 0; i < job->n_stages; i++)
                cfb_closep(&job->stages[i].pidfd);
        cfb_pumps_free(job);
        cfb_closep(&job->guard_pidfd);
        cfb_closep(&job->guard_pipe);
        cfb_closep(&job->events);
        cfb_closep(&job->terminal);
        cfb_release(job->polled);
        cfb_release(job);
        cfb_wake_user_gone();
        return NULL;
}
