/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Dying with the supervisor, whatever ends it.
 *
 *      we  -- pipe -->  guard: /bin/sh, the first member of the job's group, reading
 *                       the end: we died, kill the group. At the job's own end we kill the guard
 *
 * The kernel closes our end of the pipe at any death. The guard is in the group itself, so the number cannot belong to
 * somebody else by then, and SIGKILL to group 0 gets every member at once, with children being forked at that moment: grandchildren need
 * nothing of their own. It is there before any program runs, so there is no moment without it: a group is made with it, a session's first
 * child starts it before the others. All signals are blocked in it: what is sent to the job is not meant for it. SIGSTOP
 * cannot be blocked; whoever sends one to the group continues the guard. What left the group on purpose is not reached.
 *
 * Rejected: PR_SET_PDEATHSIG alone, which reaches no grandchild and fires when the *thread* that started the child ends, not the
 * process (it is used besides, where the first thread starts the job: it is the quicker one and survives the guard); a fork of ours
 * as the guard, which copies the parent's page tables and holds its memory; a thread, which dies with us.
 * A child of ours forked without exec holds the pipe too, so then the guard acts when that has ended as well.
 */
#include "base/cleanup.h"
#include "base/error.h"
#include "process/job.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#define SHELL  "/bin/sh"
#define SCRIPT "read line; kill -9 0"

int cfb_guard_init(struct cfb_guard *guard, confab_job *job) {
        static char sh[] = "sh", option[] = "-c", script[] = SCRIPT;
        static char *argv[] = {sh, option, script, NULL}, *envp[] = {NULL};
        int pipe_fds[2];

        guard->fds[0] = guard->fds[1] = (struct cfb_spawn_fd){-1, 0};
        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return cfb_failed(-errno, "pipe2", SHELL);
        job->guard_pipe = pipe_fds[1];
        guard->fds[0] = (struct cfb_spawn_fd){pipe_fds[0], 0};
        guard->fds[1] = (struct cfb_spawn_fd){-1, 1};
        guard->fds[2] = (struct cfb_spawn_fd){-1, 2};
        guard->spawn = (struct cfb_spawn){.path = SHELL,
                                          .argv = argv,
                                          .envp = envp,
                                          .fds = guard->fds,
                                          .n_fds = 3,
                                          .flags = CFB_SPAWN_DEAF};
        return 0;
}

void cfb_guard_fini(struct cfb_guard *guard) {
        cfb_closep(&guard->fds[0].from);
}

void cfb_guard_end(confab_job *job) {
        int status;

        if (job->guard_pidfd < 0) {
                cfb_closep(&job->guard_pipe);
                return;
        }
        cfb_spawn_signal(job->guard_pidfd, SIGKILL);
        cfb_spawn_wait(job->guard_pidfd, CONFAB_FOREVER);
        cfb_spawn_reap(job->guard_pidfd, &status);
        cfb_closep(&job->guard_pidfd);
        cfb_closep(&job->guard_pipe);
}
