/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* FAULTS 7: a forked process that has its parent's pid, since each is the first in a namespace of processes, is another one all the same. */
#include "base/owner.h"
#include "harness.h"

#include <confab/confab.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(a_child_is_another) {
        struct cfb_owner nobody = {0}, here = cfb_owner_here();
        int status;
        pid_t pid;

        check(cfb_owner_is_here(&here) && !cfb_owner_is_here(&nobody));
        pid = fork();
        if (pid == 0)
                _exit(cfb_owner_is_here(&here));
        check_eq(restarted(waitpid(pid, &status, 0)), pid);
        check_eq(status, 0);
}

/* As the first process of a namespace of its own. Its exit status; 77: such namespaces are not allowed here. */
static int as_the_first(void (*body)(void)) {
        int status;
        pid_t pid;

        if (unshare(CLONE_NEWPID) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWPID) < 0)
                return 77;
        pid = fork();
        if (pid == 0) {
                check_eq(getpid(), 1);
                body();
                _exit(0);
        }
        check_eq(restarted(waitpid(pid, &status, 0)), pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static confab_endpoint *fifo, *listener;
static confab_alarm *alarm_of_parent;
static confab_job *job;

/* Closes its copies, which take nothing away from the parent. */
static void leave_it_alone(void) {
        check_eq(confab_alarm_set(alarm_of_parent, CONFAB_NOW, 0), -EOWNERDEAD);
        confab_alarm_free(alarm_of_parent);
        confab_close(fifo);
        confab_close(listener);
        check_eq(confab_job_signal(job, SIGKILL), -EOWNERDEAD);
        confab_job_free(job);
}

static confab_endpoint *listening(const char *scheme, const char *name) {
        confab_endpoint *endpoint = NULL;
        char folder[2048], address[4096];

        check(getcwd(folder, sizeof(folder)));
        snprintf(address, sizeof(address), "%s://%s/%s", scheme, folder, name);
        check_ok(confab_listen(&endpoint, address, NULL, CONFAB_NOW));
        return endpoint;
}

static void own_and_fork(void) {
        const char *const sleeps[] = {"sleep", "1000", NULL};
        struct confab_stage stage = {.size = sizeof(stage), .argv = sleeps};

        fifo = listening("fifo", "fifo");
        listener = listening("unix", "socket");
        check_ok(confab_alarm_new(&alarm_of_parent, SIGALRM, 0, CONFAB_FOREVER, 0));
        check_ok(confab_job_start(&job, &stage, 1, NULL));
        check_eq(as_the_first(leave_it_alone), 0);
        check_eq(access("fifo", F_OK), 0);
        check_eq(access("socket", F_OK), 0);
        check_eq(confab_job_wait(job, CONFAB_NOW), -EAGAIN); /* it lives */
        check_ok(confab_alarm_set(alarm_of_parent, CONFAB_FOREVER, 0));
        confab_alarm_free(alarm_of_parent);
        confab_close(fifo);
        confab_close(listener);
        confab_job_free(job);
        check_eq(access("fifo", F_OK), -1);
        check_eq(access("socket", F_OK), -1);
}

TEST(a_child_with_the_same_pid_is_another) {
        int status;
        pid_t pid = fork();

        if (pid == 0) /* unshare is for good */
                _exit(as_the_first(own_and_fork));
        check_eq(restarted(waitpid(pid, &status, 0)), pid);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
                skip("needs root or a user namespace to make a namespace of pids");
        check_eq(status, 0);
}
