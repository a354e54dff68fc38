/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Ending a whole tree.
 *
 * Who belongs to it is read from /proc: the members of the job's group or session, what descends from a running stage, and, with
 * CONFAB_JOB_ADOPT, every child of ours that is no stage (an orphan that came to us), with all their descendants. Each is held by a pidfd before
 * its line is believed: a process that is still there after its line was read is the one that was read, so a number that changes
 * its owner hits nobody.
 *
 *      SIGTERM (and SIGCONT, for the stopped ones) -> wait for all of them, up to the grace
 *      SIGSTOP to all that is found, again until nothing new is found: a tree that stands still forks no more and loses no orphan
 *      SIGKILL -> wait -> look again, since with ADOPT the children of the killed come to us
 *
 * Without /proc the group alone is reached. Where descriptors are short some cannot be held: that is told, and the group is reached all the same.
 */
#include "base/cleanup.h"
#include "base/error.h"
#include "base/libc.h"
#include "base/memory.h"
#include "base/wake.h"
#include "process/job.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
        ROUNDS = 100, /* of looking: a tree that grows faster than it can be stopped is given up */
        LOOK_NS = 10 * 1000 * 1000, /* between two looks at what cannot be polled for */
};
#define KILLED_NS \
        INT64_C(10000000000) /* SIGKILL takes effect within that, or something hangs in the kernel */

struct process {
        int pid, parent, group, session, pidfd;
        bool ours;
};

struct tree {
        struct process *all;
        unsigned n, cap;
};

static void tree_fini(struct tree *tree) {
        for (unsigned i = 0; i < tree->n; i++)
                cfb_closep(&tree->all[i].pidfd);
        cfb_release(tree->all);
        *tree = (struct tree){0};
}

static bool add(struct tree *tree, struct process process) {
        struct process *all = cfb_grow(tree->all, tree->n, &tree->cap, sizeof(*all));

        if (!all)
                return false;
        tree->all = all;
        tree->all[tree->n++] = process;
        return true;
}

/* What is not because of the process: it may be there. */
static bool is_short(int error) {
        return error == EMFILE || error == ENFILE || error == ENOMEM;
}

/* One line of /proc: 1; 0 where the process has ended or is a zombie; -errno. The name may hold anything, also ") R 1". */
static int read_process(struct process *process, const char *name) {
        char path[64], line[512], state;
        const char *behind;
        ssize_t len;
        int fd;

        *process = (struct process){.pid = atoi(name), .pidfd = -1};
        snprintf(path, sizeof(path), "/proc/%s/stat", name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return is_short(errno) ? -errno : 0;
        len = read(fd, line, sizeof(line) - 1);
        close(fd);
        if (len <= 0)
                return 0;
        line[len] = '\0';
        behind = strrchr(line, ')');
        if (!behind || sscanf(behind + 1, " %c %d %d %d", &state, &process->parent, &process->group,
                              &process->session) != 4)
                return 0;
        return state != 'Z' && state != 'X';
}

static bool is_stage(const confab_job *job, int pid) {
        for (unsigned i = 0; i < job->n_stages; i++)
                if (job->stages[i].pid == pid && job->stages[i].pidfd >= 0)
                        return true;
        return false;
}

/* Belongs to the job by what it is itself, not by its parent. */
static bool is_root(const confab_job *job, int group, const struct process *process) {
        if (is_stage(job, process->pid) || (group && process->group == group))
                return true;
        if ((job->flags & CONFAB_JOB_SESSION) && group && process->session == group)
                return true;
        return (job->flags & CONFAB_JOB_ADOPT) && process->parent == job->owner.pid;
}

static int by_pid(const void *a, const void *b) {
        const struct process *x = a, *y = b;

        return (x->pid > y->pid) - (x->pid < y->pid);
}

/* Children of ours are ours: once around for each generation. */
static void spread(struct tree *tree) {
        qsort(tree->all, tree->n, sizeof(*tree->all), by_pid);
        for (bool more = true; more;) {
                more = false;
                for (unsigned i = 0; i < tree->n; i++) {
                        const struct process *parent, key = {.pid = tree->all[i].parent};

                        if (tree->all[i].ours)
                                continue;
                        parent = bsearch(&key, tree->all, tree->n, sizeof(*tree->all), by_pid);
                        if (parent && parent->ours)
                                tree->all[i].ours = more = true;
                }
        }
}

/* 1: the one behind @pidfd is the one that was read; 0: that has changed; -errno. */
static int hold(struct process *process) {
        struct process again;
        char name[16];
        int r;

        process->pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
        if (process->pidfd < 0)
                return is_short(errno) ? -errno : 0;
        snprintf(name, sizeof(name), "%d", process->pid);
        r = read_process(&again, name);
        return r > 0 ? again.parent == process->parent && again.group == process->group : r;
}

/* All processes there are, ours marked; without the guard, which ends with the job. */
static int read_all(struct tree *tree, const confab_job *job, int group) {
        DIR *proc = opendir("/proc");
        const struct dirent *entry;
        int r = 0;

        if (!proc)
                return is_short(errno) ? -errno : 0;
        while (r >= 0 && (entry = readdir(proc)) != NULL) {
                struct process process;

                if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
                        continue;
                r = read_process(&process, entry->d_name);
                if (r <= 0 || process.pid == job->owner.pid || process.pid == job->guard_pid)
                        continue;
                process.ours = is_root(job, group, &process);
                if (!add(tree, process))
                        r = -ENOMEM;
        }
        closedir(proc);
        return r < 0 ? r : 0;
}

/* Everything of the job that is alive now, each with a pidfd. -errno: something else of it, out of its group, may be there. */
static int look(struct tree *tree, const confab_job *job) {
        int group = cfb_job_group(job), r;
        unsigned n = 0;

        *tree = (struct tree){0};
        r = read_all(tree, job, group);
        if (tree->n)
                spread(tree);
        for (unsigned i = 0; i < tree->n; i++) {
                struct process process = tree->all[i];
                int held = process.ours ? hold(&process) : 0;

                if (held > 0) {
                        tree->all[n++] = process;
                        continue;
                }
                cfb_closep(&process.pidfd);
                if (held < 0 && process.group != group)
                        r = held;
        }
        tree->n = n;
        return r;
}

static void signal_all(const struct tree *tree, int number) {
        for (unsigned i = 0; i < tree->n; i++)
                cfb_spawn_signal(tree->all[i].pidfd, number);
}

/* Orphans that came to us: nobody else waits for them. What is a child otherwise (ADOPT promises there is none) keeps its status. */
static void reap_adopted(const confab_job *job, const struct tree *tree) {
        int status;

        for (unsigned i = 0; i < tree->n; i++)
                if (!is_stage(job, tree->all[i].pid))
                        cfb_spawn_reap(tree->all[i].pidfd, &status);
}

/* Until all of @tree and all stages have ended, or the deadline: whether they have. */
static bool await(confab_job *job, const struct tree *tree, int64_t deadline_ns) {
        for (unsigned i = 0; i < tree->n; i++)
                if (cfb_spawn_wait(tree->all[i].pidfd, deadline_ns) < 0)
                        return false;
        reap_adopted(job, tree);
        for (unsigned i = 0; i < job->n_stages; i++)
                if (job->stages[i].pidfd >= 0 && cfb_spawn_wait(job->stages[i].pidfd, deadline_ns) < 0)
                        return false;
        return true;
}

/* 0, or what look said at last. */
static int stop_all(struct tree *tree, const confab_job *job) {
        unsigned before = 0;
        int r = 0;

        for (int round = 0; round < ROUNDS; round++) {
                tree_fini(tree);
                r = look(tree, job);
                signal_all(tree, SIGSTOP);
                if (tree->n == before)
                        break;
                before = tree->n;
        }
        return r;
}

int cfb_tree_end(confab_job *job, int64_t grace_ns) {
        CFB_CLEANUP(tree_fini) struct tree tree = {0};
        int64_t deadline_ns = confab_after(grace_ns);
        int r, missed = 0;

        if (grace_ns > 0) {
                if (look(&tree, job) == 0 && tree.n > 0) {
                        signal_all(&tree, SIGTERM);
                        signal_all(&tree, SIGCONT);
                } else {
                        cfb_job_signal(job, SIGTERM);
                        cfb_job_signal(job, SIGCONT);
                }
                await(job, &tree, deadline_ns);
        }
        deadline_ns = confab_after(KILLED_NS);
        for (int round = 0; round < ROUNDS; round++) {
                r = stop_all(&tree, job);
                /* What was missed and is no child of ours, now or as an orphan, will not be found again. */
                if (r < 0 || (job->flags & CONFAB_JOB_ADOPT))
                        missed = r;
                cfb_job_signal(job, SIGKILL);
                signal_all(&tree, SIGKILL);
                if (!await(job, &tree, deadline_ns))
                        return cfb_failed_with(-ETIMEDOUT, "end", NULL, NULL,
                                               "a process was killed and is still there", 0, 0);
                if (tree.n == 0)
                        break;
        }
        return missed < 0 ? cfb_failed(missed, "end", "the job") : 0;
}
