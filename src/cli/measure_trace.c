/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Counting system calls: near and far stop at each (ptrace), and those made while a side says "counting" are its own. An own
 * counter and not strace, because strace counts a whole process, and what happens around the messages is most of that.
 *
 * PTRACE_O_TRACEFORK and _TRACEEXEC follow far however it is started; PTRACE_O_EXITKILL ends all if we are killed.
 */
#include "measure.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TRACED_MAX = 16, OUR_STOP = SIGTRAP | 0x80 };

struct traced {
        pid_t pid;
        bool inside; /* the next stop is a return */
};

static struct traced *find(struct traced *all, pid_t pid) {
        for (int i = 0; i < TRACED_MAX; i++)
                if (all[i].pid == pid)
                        return &all[i];
        for (int i = 0; i < TRACED_MAX; i++)
                if (!all[i].pid) {
                        all[i].pid = pid;
                        return &all[i];
                }
        return NULL;
}

static void at_stop(struct measure_job *job, struct traced *traced) {
        struct measure_side *sides[] = {&job->near, &job->far};

        traced->inside = !traced->inside;
        if (!traced->inside)
                return;
        for (int i = 0; i < 2; i++)
                if (atomic_load(&sides[i]->pid) == traced->pid && atomic_load(&sides[i]->counting))
                        sides[i]->calls++;
}

int measure_trace(struct measure_job *job, pid_t near, int64_t deadline_ns, int *statusp) {
        struct traced all[TRACED_MAX] = {0};
        long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                       PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
        int status;

        if (waitpid(near, &status, 0) != near || !WIFSTOPPED(status) ||
            ptrace(PTRACE_SETOPTIONS, near, 0, options) < 0) {
                kill(near, SIGKILL);
                waitpid(near, statusp, 0);
                return measure_fail(job, -EPERM,
                                    "system calls cannot be counted: ptrace is not allowed here");
        }
        ptrace(PTRACE_SYSCALL, near, 0, 0);
        for (;;) {
                pid_t pid = waitpid(-1, &status, __WALL);
                struct traced *traced;
                int deliver = 0;

                if (pid < 0 && errno == EINTR)
                        continue;
                if (pid < 0)
                        return measure_fail(job, -errno, "waitpid: %s", strerror(errno));
                traced = find(all, pid);
                if (WIFEXITED(status) || WIFSIGNALED(status)) {
                        if (traced)
                                traced->pid = 0;
                        if (pid == near) {
                                *statusp = status;
                                return 0;
                        }
                        continue;
                }
                if (confab_now() > deadline_ns) {
                        kill(-near, SIGKILL);
                        measure_fail(job, -ETIMEDOUT, "%s: not finished in time", job->label);
                }
                if (WSTOPSIG(status) == OUR_STOP && traced)
                        at_stop(job, traced);
                else if (status >> 16 || WSTOPSIG(status) == SIGSTOP || WSTOPSIG(status) == SIGTRAP)
                        deliver = 0; /* an event of the tracer's, or a new process's first stop */
                else
                        deliver = WSTOPSIG(status);
                ptrace(PTRACE_SYSCALL, pid, 0, deliver);
        }
}
