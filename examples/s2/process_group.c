/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Which processes get Ctrl-C? Those of the terminal's foreground group (document S2). Two children wait: one in the group of their parent, one
 * that setpgid took out of it. Ctrl-C ends the first; the parent then ends the other by a signal to its group.
 */
#include <confab/confab.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static struct child {
        const char *where;
        int pid;
} ours = {.where = "in our group"}, apart = {.where = "in a group of its own"};

static void need(int64_t result) {
        char why[512];

        if (result >= 0)
                return;
        confab_explain(why, sizeof(why));
        fprintf(stderr, "%s\n", why);
        exit(1);
}

static int ended(confab_source *source, uint32_t status, void *data) {
        struct confab_signal by = {.size = sizeof(by)};
        struct child *child = data;

        (void)source;
        need(confab_signal_describe(&by, WTERMSIG((int)status)));
        printf("the child %s: ended by %s\n", child->where, by.name);
        if (child == &apart)
                return -1; /* the last: ends the loop's run */
        printf("the child %s: %s\n", apart.where,
               confab_signal_send(apart.pid, 0, NULL, CONFAB_NOW) == 0 ? "still there" : "gone");
        need(confab_signal_send_group(apart.pid, SIGTERM));
        return 0;
}

static int interrupted(confab_source *source, uint32_t number, void *data) {
        (void)source, (void)number, (void)data;
        puts("the parent: caught Ctrl-C");
        return 0;
}

static void start(struct child *child, int group_of_its_own) {
        fflush(stdout);
        child->pid = fork();
        if (child->pid == 0) {
                pause();
                _exit(0);
        }
        if (group_of_its_own &&
            setpgid(child->pid, child->pid) < 0) /* from here: when it returns, it is so */
                perror("setpgid");
}

int main(void) {
        confab_loop *loop;

        start(&ours, 0);
        start(&apart, 1);
        need(confab_loop_new(&loop));
        need(confab_loop_add_child(NULL, loop, ours.pid, ended, &ours));
        need(confab_loop_add_child(NULL, loop, apart.pid, ended, &apart));
        need(confab_loop_add_signal(NULL, loop, SIGINT, interrupted, NULL));
        puts("type Ctrl-C");
        fflush(stdout);
        confab_loop_run(loop);
        confab_loop_free(loop);
        return 0;
}
