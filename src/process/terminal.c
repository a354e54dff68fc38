/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * The terminal's foreground group: handed to a job and taken back, as shells do.
 *
 * Whoever hands it over must have it: a background program that takes the terminal disturbs what somebody is doing there. Taking it back
 * is a background process's act (the job had it), for which the kernel sends SIGTTOU unless that is blocked: it is, for the moment of
 * the call, in this thread alone, so no disposition is touched.
 */
#include "base/cleanup.h"
#include "base/error.h"
#include "process/job.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

static void block_ttou(sigset_t *before) {
        sigset_t ttou;

        sigemptyset(&ttou);
        sigaddset(&ttou, SIGTTOU);
        pthread_sigmask(SIG_BLOCK, &ttou, before);
}

static int set_foreground(int terminal, int group) {
        sigset_t before;
        int r;

        block_ttou(&before);
        r = tcsetpgrp(terminal, group) < 0 ? -errno : 0;
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return r;
}

/* The terminal's settings are a part of what is handed over: an editor that is stopped or killed leaves them as only it can use them. */
static void set_modes(int terminal, const struct termios *modes) {
        sigset_t before;

        block_ttou(&before);
        tcsetattr(terminal, TCSADRAIN, modes);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
}

int cfb_terminal_init(confab_job *job, int terminal) {
        job->terminal =
                terminal > 0 ? fcntl(terminal, F_DUPFD_CLOEXEC, 3) : open("/dev/tty", O_RDWR | O_CLOEXEC);
        if (job->terminal < 0)
                return cfb_failed_with(-errno, "terminal", "/dev/tty", NULL,
                                       errno == ENXIO ? "this process has no terminal" : NULL, 0, 0);
        if ((job->flags & CONFAB_JOB_FOREGROUND) && tcgetpgrp(job->terminal) != getpgrp())
                return cfb_failed_with(
                        -EPERM, "terminal", "/dev/tty", NULL,
                        "this process does not have the terminal itself, so it cannot hand it on", 0, 0);
        job->terminal_known = tcgetattr(job->terminal, &job->modes) == 0;
        return 0;
}

void cfb_terminal_take_back(confab_job *job, bool restore_modes) {
        if (!job->terminal_given)
                return;
        job->terminal_given = false;
        if (set_foreground(job->terminal, getpgrp()) == 0 && restore_modes && job->terminal_known)
                set_modes(job->terminal, &job->modes);
}

int cfb_terminal_give(confab_job *job) {
        int r;

        if (job->terminal < 0 || tcgetpgrp(job->terminal) != getpgrp())
                return cfb_failed_with(
                        -EPERM, "terminal", "/dev/tty", NULL,
                        "this process does not have the terminal itself, so it cannot hand it on", 0, 0);
        job->terminal_known = tcgetattr(job->terminal, &job->modes) == 0;
        r = set_foreground(job->terminal, job->group);
        if (r < 0)
                return cfb_failed(r, "tcsetpgrp", "/dev/tty");
        job->terminal_given = true;
        return 0;
}
