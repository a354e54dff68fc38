/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CONFAB_PROCESS_H
#define CONFAB_PROCESS_H
/*
 * Jobs: one program, or a pipeline of any length, started together, signalled together, waited for together.
 *
 * Starting copies nothing of this process, however large it is. A program has the descriptors 0, 1 and 2 and what its redirections
 * say, nothing else; no signal blocked, no handler, SIGPIPE and SIGCHLD as at login; umask, limits and priorities as here.
 * Threads: a job belongs to one thread at a time; only confab_job_interrupt is safe from any. In a forked child a
 * job answers -EOWNERDEAD to all but confab_job_free, which there frees memory alone: the processes are the parent's.
 */
#include <confab/types.h>
#include <poll.h>

CONFAB_BEGIN_DECLS

typedef struct confab_job confab_job;

/* What becomes of one descriptor of a program; done in the order given, after the pipes of the pipeline are in place. */
struct confab_redirection {
        uint32_t kind;      /* CONFAB_REDIRECT_* */
        int32_t descriptor; /* the program's */
        int32_t source; /* DESCRIPTOR: ours, lent until confab_job_start returns; COPY: another of the program's */
        uint32_t reserved; /* 0 */
        const char
                *name; /* READ, WRITE, APPEND: a path, or an address of confab's (whatever has "://" in it) */
};
#define CONFAB_REDIRECT_READ       1u /* <  */
#define CONFAB_REDIRECT_WRITE      2u /* >  created with 0666 less the umask, or emptied */
#define CONFAB_REDIRECT_APPEND     3u /* >> */
#define CONFAB_REDIRECT_DESCRIPTOR 4u
#define CONFAB_REDIRECT_COPY       5u /* 2>&1: descriptor 2, source 1 */
#define CONFAB_REDIRECT_CLOSE      6u /* 2>&- */

/* One program of a job. Everything is borrowed until confab_job_start returns. */
struct confab_stage {
        uint32_t size; /* sizeof(struct confab_stage), the same in all of an array */
        uint32_t n_redirections;
        const struct confab_redirection *redirections;
        const char *const *argv; /* ends with NULL; argv[0] is looked for in PATH unless it has a slash */
        const char *const *envp; /* "NAME=value", ends with NULL; NULL: the environment of this process */
        const char *directory;   /* where it runs, and where its relative names begin; NULL: here */
};

struct confab_job_options {
        uint32_t size;
        uint32_t flags;   /* CONFAB_JOB_* */
        int32_t terminal; /* FOREGROUND: a descriptor of the terminal, lent; 0: the controlling one, /dev/tty. STOPS: for confab_job_continue */
        uint32_t reserved; /* 0 */
        /* Set by a start that fails: 1 + the index of the stage whose program could not be executed; 0: it was something else. May be NULL. */
        uint32_t *failedp;
};
/* Without one of the next three: a process group of its own, in the background. */
#define CONFAB_JOB_SAME_GROUP 1u /* stays in our process group: what the terminal sends us it gets too */
#define CONFAB_JOB_FOREGROUND 2u /* its group gets the terminal: Ctrl-C, Ctrl-Z and the keys are its alone */
#define CONFAB_JOB_SESSION    4u /* a session of its own, so without a terminal; its group has the same number */
/* confab_job_wait tells when it stops (implied by FOREGROUND). */
#define CONFAB_JOB_STOPS 8u
/*
 * Whatever ends us, kill -9 included, ends it: its group or session is killed, with the descendants in there. What moves
 * to a group of its own (a daemon) is not. Costs a small guarding process.
 */
#define CONFAB_JOB_DIE 16u
/*
 * Orphans of this process come to it (PR_SET_CHILD_SUBREAPER, until the job is freed) and count to the job: confab_job_end finds even
 * daemons. For programs with no other children than one job's.
 */
#define CONFAB_JOB_ADOPT 32u

/*
 * Starts @n_stages programs, each one's standard output the next one's standard input; the job in *@jobp is the caller's
 * (confab_job_free). @options may be NULL. All or nothing: names are looked up and files opened before the first starts, and if
 * a later one cannot be started the earlier ones are killed. -ENOENT: no such program (confab_explain names it), or file;
 * -EACCES: not executable, or no permission; -ECHILD: SIGCHLD is ignored, so no status could be had; -EPERM: FOREGROUND,
 * and we do not have the terminal ourselves; -EINVAL; -EMFILE; -EAGAIN: a limit on processes. Blocks while programs
 * are loaded, FIFOs opened and addresses connected (5 s). Any thread; with DIE the process's first one is best.
 */
CONFAB_API int confab_job_start(confab_job **jobp, const struct confab_stage *stages, unsigned n_stages,
                                const struct confab_job_options *options);

/*
 * Waits until every stage has ended (0), or until those that have not are stopped (CONFAB_JOB_STOPPED, with STOPS), or @deadline_ns.
 * Then the terminal is ours again. -EAGAIN: CONFAB_NOW and something runs; -ETIMEDOUT; -EINTR: confab_job_interrupt.
 * Redirections to addresses whose end cannot be handed to a program are carried within this call: call it, also with CONFAB_NOW
 * when confab_job_descriptor says so. It waits for their last bytes too, until confab_job_end. Exits are told by the kernel at once, stops are
 * looked for 20 times a second.
 */
CONFAB_API int confab_job_wait(confab_job *job, int64_t deadline_ns);
#define CONFAB_JOB_STOPPED 1

/* Makes the wait under way, or the next one, return -EINTR. Any thread, any signal handler. */
CONFAB_API void confab_job_interrupt(confab_job *job);

/* Readable when confab_job_wait(job, CONFAB_NOW) has something to do: for poll, epoll and confab_loop_add_descriptor. The job's. */
CONFAB_API int confab_job_descriptor(confab_job *job);

/*
 * Sends @signal_number to all of it: its group and every stage wherever it is. 0, -ESRCH: nothing of it is left; -EPERM; -EINVAL.
 * Never reaches a process that got an old number: ended stages stay unreaped until the wait tells of them.
 */
CONFAB_API int confab_job_signal(confab_job *job, int signal_number);

/* Lets a stopped job go on; with @foreground the terminal is given to it first (it must be ours). 0, -EPERM, -ESRCH. */
CONFAB_API int confab_job_continue(confab_job *job, int foreground);

/*
 * Ends the whole tree: SIGTERM to every stage, its group and all descendants, wherever they moved; what is still there after @grace_ns
 * gets SIGKILL, until nothing is left. What they have written to addresses and nobody has taken is dropped. Returns 0 when all have ended and every status is known; -ETIMEDOUT: something cannot be killed
 * (it hangs in the kernel, or belongs to another user); -EMFILE, -ENFILE, -ENOMEM: the group has ended, of what has left it something may
 * be there.
 */
CONFAB_API int confab_job_end(confab_job *job, int64_t grace_ns);

/* Frees it. What still runs is killed first, as by confab_job_end(job, 0), and its terminal taken back. Accepts NULL; returns NULL. */
CONFAB_API confab_job *confab_job_free(confab_job *job);

/* What has become of one stage, as far as confab_job_wait has seen. */
struct confab_stage_status {
        uint32_t size;
        int32_t pid;
        uint32_t state;  /* CONFAB_STAGE_* */
        int32_t code;    /* EXITED: its status; KILLED, STOPPED: the signal */
        int64_t wall_ns; /* since it was started, or until it ended */
        int64_t user_ns; /* processor time of it and the children it waited for; known at its end */
        int64_t system_ns;
        uint64_t memory_len; /* the most it had resident, bytes */
};
#define CONFAB_STAGE_RUNNING 0u
#define CONFAB_STAGE_STOPPED 1u
#define CONFAB_STAGE_EXITED  2u
#define CONFAB_STAGE_KILLED  3u
#define CONFAB_STAGE_LOST    4u /* somebody else reaped it: its status is unknown */

/* Fills *@status (its size set by the caller) of stage @index, from 0. -ENOENT past the last, -EINVAL. */
CONFAB_API int confab_job_status(const confab_job *job, unsigned index, struct confab_stage_status *status);

/* As a shell with pipefail: the status of the last stage that did not end with 0, else 0; 128 + N for signal N. -EAGAIN: something runs. */
CONFAB_API int confab_job_result(const confab_job *job);

/* A pipeline out of a text. Its stages may be changed before they are started. */
struct confab_pipeline {
        uint32_t size;
        uint32_t n_stages;
        struct confab_stage *stages;
};

/*
 * Reads @text as a shell does: words, '...', "...", \, |, |&, <, >, >>, 2>, 2>&1, 2>&-; a redirection's name with "://" is an
 * address. What is left to a shell ($, `, ;, &, globs, ~, ...) is refused, with its position: quote it, or run sh -c.
 * *@pipelinep is the caller's (confab_pipeline_free). -EINVAL, -ENOMEM. Does not block.
 */
CONFAB_API int confab_pipeline_parse(struct confab_pipeline **pipelinep, const char *text);
CONFAB_API struct confab_pipeline *confab_pipeline_free(struct confab_pipeline *pipeline);

CONFAB_END_DECLS
#endif
