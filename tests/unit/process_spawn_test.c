/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include "harness.h"
#include "process/spawn.h"

#include <confab/types.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORD(word) ((char *)(uintptr_t)(word)) /* execve takes them without const and leaves them alone */

/* Runs @command in /bin/sh with its output in @text; returns its status. */
static int run(const char *command, char *text, size_t text_cap, const struct cfb_spawn_fd *more) {
        char *argv[] = {WORD("sh"), WORD("-c"), WORD(command), NULL};
        struct cfb_spawn_fd fds[3];
        struct cfb_spawn spawn = {.path = "/bin/sh", .argv = argv, .fds = fds};
        int out[2], pidfd, status = -1;
        size_t len = 0;
        ssize_t n;

        check_eq(pipe2(out, O_CLOEXEC), 0);
        fds[spawn.n_fds++] = (struct cfb_spawn_fd){out[1], 1};
        if (more)
                fds[spawn.n_fds++] = *more;
        check_ok(cfb_spawn(&pidfd, &spawn));
        close(out[1]);
        while ((n = read(out[0], text + len, text_cap - 1 - len)) > 0)
                len += (size_t)n;
        text[len] = '\0';
        close(out[0]);
        check_eq(cfb_spawn_wait(pidfd, CONFAB_FOREVER), 0);
        check_eq(cfb_spawn_reap(pidfd, &status), 0);
        check_eq(cfb_spawn_reap(pidfd, &status), CFB_SPAWN_REAPED);
        close(pidfd);
        return status;
}

TEST(output_and_status) {
        char text[64];

        check_eq(run("echo hello; exit 7", text, sizeof(text), NULL), 7 << 8);
        check_str(text, "hello\n");
        check_eq(run("kill -9 $$", text, sizeof(text), NULL), SIGKILL);
}

TEST(child_has_only_what_it_is_given) {
        int extra = open("/dev/null", O_RDONLY),
            high = fcntl(extra, F_DUPFD, 200); /* without close-on-exec, on purpose */
        char text[256];

        /* ls itself opens the folder as the next free number, which is 3. */
        check_eq(run("exec ls /proc/self/fd | tr '\\n' ' '", text, sizeof(text), NULL), 0);
        check_str(text, "0 1 2 3 ");
        check_eq(run("exec ls /proc/self/fd | tr '\\n' ' '", text, sizeof(text),
                     &(struct cfb_spawn_fd){extra, 9}),
                 0);
        check_str(text, "0 1 2 3 9 ");
        close(extra);
        close(high);
}

TEST(descriptors_change_places) {
        char *argv[] = {WORD("sh"), WORD("-c"), WORD("read a; read b <&3; echo $a$b >&4"), NULL};
        int first[2], second[2], out[2], pidfd, status;
        struct cfb_spawn_fd fds[3];
        struct cfb_spawn spawn = {.path = "/bin/sh", .argv = argv, .fds = fds, .n_fds = 3};
        char text[16] = "";

        check_eq(pipe2(first, O_CLOEXEC), 0);
        check_eq(pipe2(second, O_CLOEXEC), 0);
        check_eq(pipe2(out, O_CLOEXEC), 0);
        /* Numbers that are each other's targets: 3 is somebody's source and somebody's target. */
        fds[0] = (struct cfb_spawn_fd){second[0], 3};
        fds[1] = (struct cfb_spawn_fd){out[1], 4};
        fds[2] = (struct cfb_spawn_fd){first[0], 0};
        check_eq(write(first[1], "x\n", 2), 2);
        check_eq(write(second[1], "y\n", 2), 2);
        check_ok(cfb_spawn(&pidfd, &spawn));
        close(first[0]);
        close(first[1]);
        close(second[0]);
        close(second[1]);
        close(out[1]);
        check_eq(read(out[0], text, sizeof(text)), 3);
        check_mem(text, "xy\n", 3);
        close(out[0]);
        check_eq(cfb_spawn_wait(pidfd, CONFAB_FOREVER), 0);
        check_eq(cfb_spawn_reap(pidfd, &status), 0);
        close(pidfd);
}

TEST(closed_on_request) {
        char text[64];

        check_eq(run("test -e /proc/self/fd/0 && echo open || echo closed", text, sizeof(text),
                     &(struct cfb_spawn_fd){-1, 0}),
                 0);
        check_str(text, "closed\n");
}

static void handler(int number) {
        (void)number;
}

static uint64_t mask_of(const char *text, const char *name) {
        const char *at = strstr(text, name);

        check(at != NULL);
        return strtoull(at + strlen(name), NULL, 16);
}

#define BIT(number) (UINT64_C(1) << ((number)-1))

TEST(signal_state_is_clean) {
        struct sigaction ours = {.sa_handler = handler}, now;
        sigset_t blocked;
        char text[4096];

        signal(SIGPIPE, SIG_IGN);
        signal(SIGHUP, SIG_IGN); /* as nohup does */
        sigaction(SIGUSR1, &ours, NULL);
        sigemptyset(&blocked);
        sigaddset(&blocked, SIGTERM);
        sigaddset(&blocked, SIGUSR1);
        sigprocmask(SIG_BLOCK, &blocked, NULL);
        check_eq(run("exec cat /proc/self/status", text, sizeof(text), NULL), 0);
        check_eq(mask_of(text, "SigBlk:"), 0);
        check_eq(mask_of(text, "SigCgt:") & (BIT(SIGUSR1) | BIT(SIGPIPE)), 0);
        check_eq(mask_of(text, "SigIgn:") & BIT(SIGPIPE), 0);
        check_eq(mask_of(text, "SigIgn:") & BIT(SIGHUP), BIT(SIGHUP));

        /* Ours are as they were: the child changed its own. */
        sigaction(SIGUSR1, NULL, &now);
        check(now.sa_handler == handler);
        sigprocmask(SIG_BLOCK, NULL, &blocked);
        check(sigismember(&blocked, SIGTERM) == 1);
        check(sigismember(&blocked, SIGINT) == 0);
}

TEST(failure_is_told_and_leaves_no_child) {
        char *argv[] = {WORD("nothing"), NULL};
        struct cfb_spawn spawn = {.path = "/nonexistent/program", .argv = argv};
        char text[256];
        int pidfd = -5, r;

        r = cfb_spawn(&pidfd, &spawn);
        if (r > 0) { /* an emulator: see spawn.c */
                cfb_spawn_wait(pidfd, CONFAB_FOREVER);
                waitpid(r, NULL, 0);
                close(pidfd);
                skip("clone(CLONE_VFORK) is emulated by fork here");
        }
        check_eq(r, -ENOENT);
        check_eq(pidfd, -5);
        check(confab_explain(text, sizeof(text)) > 0);
        check(strstr(text, "/nonexistent/program") != NULL);
        check(strstr(text, "execve") != NULL);
        check_eq(waitpid(-1, NULL, WNOHANG), -1);
        check_eq(errno, ECHILD);

        spawn.path = "/bin/sh";
        spawn.fds = &(struct cfb_spawn_fd){987, 5};
        spawn.n_fds = 1;
        check_eq(cfb_spawn(&pidfd, &spawn), -EBADF);
        check_eq(waitpid(-1, NULL, WNOHANG), -1);
}

TEST(waiting_has_a_deadline_and_killing_works) {
        char *argv[] = {WORD("sleep"), WORD("100"), NULL};
        struct cfb_spawn spawn = {.path = "/bin/sleep", .argv = argv};
        int pidfd, status;

        check_ok(cfb_spawn(&pidfd, &spawn));
        check_eq(fcntl(pidfd, F_GETFD), FD_CLOEXEC);
        check_eq(cfb_spawn_reap(pidfd, &status), CFB_SPAWN_RUNNING);
        check_eq(cfb_spawn_wait(pidfd, confab_after(20000000)), -ETIMEDOUT);
        cfb_spawn_signal(pidfd, SIGTERM);
        check_eq(cfb_spawn_wait(pidfd, CONFAB_FOREVER), 0);
        check_eq(cfb_spawn_reap(pidfd, &status), 0);
        check_eq(status, SIGTERM);
        cfb_spawn_signal(pidfd, SIGTERM); /* to nobody */
        close(pidfd);
}

/* With SIGCHLD ignored the kernel reaps by itself: no status, no hang. */
TEST(reaped_behind_our_back) {
        char *argv[] = {WORD("true"), NULL};
        struct cfb_spawn spawn = {.path = "/bin/true", .argv = argv};
        int pidfd, status;

        signal(SIGCHLD, SIG_IGN);
        check_ok(cfb_spawn(&pidfd, &spawn));
        check_eq(cfb_spawn_wait(pidfd, CONFAB_FOREVER), 0);
        check_eq(cfb_spawn_reap(pidfd, &status), CFB_SPAWN_REAPED);
        close(pidfd);
}

TEST_TIMEOUT(many_in_a_row, 30) {
        char text[16];

        for (int i = 0; i < 100; i++)
                check_eq(run("echo x", text, sizeof(text), NULL), 0);
}
