/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_PROCESS_JOB_H
#define CFB_PROCESS_JOB_H
/* A job's parts, shared by job.c (life), plan.c (before it starts), pump.c (addresses), terminal.c, tree.c and guard.c. */
#include "base/owner.h"
#include "base/wake.h"
#include "process/spawn.h"

#include <confab/process.h>
#include <confab/transfer.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <termios.h>

struct cfb_stage {
        int pid, pidfd; /* pidfd -1: ended and reaped */
        uint32_t state; /* CONFAB_STAGE_* */
        int code;
        int64_t started_ns, ended_ns, user_ns, system_ns;
        uint64_t memory_len;
};

/* Carries what a program says to an address, or the other way: in this process, inside confab_job_wait. */
struct cfb_pump {
        confab_endpoint *source, *sink; /* NULL: over */
        confab_transfer *transfer;
        bool input;  /* to a program */
        int watched; /* what confab_job_descriptor's set has of it; -1: nothing */
        struct cfb_pump *next;
};

struct confab_job {
        unsigned n_stages;
        uint32_t flags;         /* CONFAB_JOB_* */
        struct cfb_owner owner; /* the process that started it */
        int group;              /* process group of its own; 0: ours. To be signalled: cfb_job_group */
        int terminal;           /* of FOREGROUND; -1: none */
        bool terminal_given;
        bool adopts;         /* ADOPT, and it was this job that made us a subreaper */
        bool terminal_known; /* modes holds what it was when the job got it */
        struct termios modes;
        int guard_pid, guard_pidfd, guard_pipe; /* of DIE; -1: none */
        int events; /* the epoll set behind confab_job_descriptor; -1: not asked for */
        int error;  /* of a pump: told once by confab_job_wait */
        struct cfb_pump *pumps;
        struct pollfd *polled; /* room for the stages, the pumps and the wake descriptor */
        /* [J1] as in core/wait.c: the waiter publishes its wake descriptor, then looks at interrupted; the other way round here */
        cfb_waiter waiter;
        _Atomic bool interrupted;
        struct cfb_stage stages[];
};

/* plan.c: everything that can fail before the first program runs. */
struct cfb_plan {
        char *path;
        bool failed;           /* the program is not to be had */
        int directory;         /* -1: here */
        int pipe_in, pipe_out; /* ours for a moment; -1: none */
        struct cfb_spawn spawn;
        struct cfb_spawn_fd fds[CFB_SPAWN_FDS];
};
struct cfb_plans {
        struct cfb_plan *plans;
        unsigned n_plans;
        int *opened; /* to be closed when all have started */
        unsigned n_opened, opened_cap;
        uint32_t failed; /* 1 + the stage whose program is not to be had */
};
int cfb_plans_init(struct cfb_plans *plans, confab_job *job, const struct confab_stage *stages);
/* The pipe between stage @index and the next one. */
int cfb_plans_pipe(struct cfb_plans *plans, unsigned index);
/* Its program has the pipes now: ours are closed. */
void cfb_plan_started(struct cfb_plan *plan);
void cfb_plans_fini(struct cfb_plans *plans);
/* Keeps @fd to be closed later; closes it at once and answers -ENOMEM where it cannot. */
int cfb_plans_keep(struct cfb_plans *plans, int fd); /* @fd */

/* pump.c. A descriptor for a program that leads to or from @address; it goes into plans->opened. */
int cfb_pump_open(confab_job *job, struct cfb_plans *plans, const char *address, bool input);
/* Moves what there is. */
void cfb_pumps_step(confab_job *job);
/* What is not carried yet never will be. */
void cfb_pumps_drop(confab_job *job);
/* The programs have ended: nobody reads what comes in. True: some output is still to be carried. */
bool cfb_pumps_finish(confab_job *job);
/* Fills @fds with what they wait for; how many. */
unsigned cfb_pumps_poll(confab_job *job, struct pollfd *fds);
/* Makes job->events watch what they wait for now, and no more. */
void cfb_pumps_watch(confab_job *job);
void cfb_pumps_free(confab_job *job);

/* terminal.c */
int cfb_terminal_init(confab_job *job, int terminal); /* ours to give? */
void cfb_terminal_take_back(confab_job *job, bool restore_modes);
int cfb_terminal_give(confab_job *job);

/* guard.c */
struct cfb_guard {
        struct cfb_spawn spawn; /* what starts it */
        struct cfb_spawn_fd fds[3];
};
int cfb_guard_init(struct cfb_guard *guard, confab_job *job);
void cfb_guard_fini(struct cfb_guard *guard);
void cfb_guard_end(confab_job *job);

/* tree.c: SIGTERM, @grace_ns, SIGKILL. */
int cfb_tree_end(confab_job *job, int64_t grace_ns);

/* wait.c */
bool cfb_job_look(confab_job *job); /* reaps what has ended; whether something still runs or is stopped */

/* job.c */
void cfb_job_ended(confab_job *job); /* nothing runs: terminal and guard */
int cfb_job_signal(confab_job *job, int signal_number);
/* The group's number, if it is still the group's; 0: none, or the number may be a stranger's by now. */
int cfb_job_group(const confab_job *job);
int cfb_job_refuse_other(const confab_job *job); /* -EOWNERDEAD in a forked child */

#endif
