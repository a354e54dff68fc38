/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Children: a pidfd each in the epoll set, reaped by it, told once.
 *
 * A pidfd and not SIGCHLD: nothing is shared with the rest of the program (who may have a handler of its own or wait for other
 * children), no signal is merged away, and a pid used again is never mistaken for the child. Reaping is by the pidfd too.
 */
#include "base/cancel.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/libc.h"
#include "loop/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

struct child_source {
        struct confab_source source;
        struct cfb_watch watch;
};

/* waitid by pidfd, over signals. */
static int ask(int fd, siginfo_t *info, int flags) {
        int r;

        do
                r = waitid(CFB_P_PIDFD, (id_t)fd, info, WEXITED | WNOHANG | flags);
        while (r < 0 && errno == EINTR);
        return r;
}

/* As waitpid has it; nothing waitpid could give if somebody else reaped the child. */
static uint32_t status_of(int r, const siginfo_t *info) {
        if (r < 0)
                return UINT32_MAX;
        if (info->si_code == CLD_EXITED)
                return (uint32_t)(info->si_status & 0xFF) << 8;
        return (uint32_t)info->si_status | (info->si_code == CLD_DUMPED ? 0x80 : 0);
}

static int child_ready(struct cfb_watch *watch, uint32_t events) {
        confab_source *source = watch->source;
        siginfo_t info = {0};
        int r;

        (void)events;
        r = ask(watch->fd, &info, 0);
        if (r == 0 && !info.si_pid)
                return 0; /* told too early: still running */
        cfb_watch_set(watch, 0);
        r = cfb_source_call(source, status_of(r, &info));
        confab_loop_remove(source);
        return r;
}

static void child_end(confab_source *source) {
        struct child_source *own = (struct child_source *)source;

        cfb_watch_set(&own->watch, 0);
        cfb_closep(&own->watch.fd);
}

static const struct cfb_source_kind child_kind = {"add_child", NULL, child_end};

static int refuse(int error, int pid, const char *call, const char *why) {
        char subject[32];

        snprintf(subject, sizeof(subject), "child %d", pid);
        return cfb_failed_with(error, call, subject, NULL, why, 0, 0);
}

static int check_child(int fd, int pid) {
        struct sigaction action;
        siginfo_t info;

        if (ask(fd, &info, WNOWAIT) < 0)
                return refuse(-errno, pid, "waitid",
                              errno == ECHILD ? "it is no child of this process" : NULL);
        if (sigaction(SIGCHLD, NULL, &action) == 0 &&
            (action.sa_handler == SIG_IGN || (action.sa_flags & SA_NOCLDWAIT)))
                return refuse(-ECHILD, pid, "add_child",
                              "SIGCHLD is ignored, so the kernel drops the status: set it to SIG_DFL before "
                              "forking");
        return 0;
}

int confab_loop_add_child(confab_source **sourcep, confab_loop *loop, int32_t pid,
                          confab_source_callback callback, void *data) {
        CFB_UNCANCELLED;
        CFB_CLEANUP(cfb_closep) int fd = -1;
        confab_source *source;
        struct child_source *own;
        int r = cfb_loop_check(loop, "add_child");

        if (r < 0)
                return r;
        fd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
        if (pid <= 0 || (fd < 0 && errno == ESRCH))
                return refuse(-ECHILD, pid, "pidfd_open",
                              "it is no child of this process, or was reaped already");
        if (fd < 0)
                return refuse(-errno, pid, "pidfd_open", NULL);
        r = check_child(fd, pid);
        if (r < 0)
                return r;
        r = cfb_source_new(&source, loop, sizeof(*own), &child_kind, callback, data);
        if (r < 0)
                return r;
        own = (struct child_source *)source;
        cfb_watch_init(&own->watch, loop, source, cfb_steal_fd(&fd), child_ready);
        r = cfb_watch_set(&own->watch, POLLIN);
        if (r < 0) {
                confab_loop_remove(source);
                return r;
        }
        if (sourcep)
                *sourcep = source;
        return 0;
}
