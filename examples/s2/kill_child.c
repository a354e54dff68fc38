/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* A parent kills its child, which would run for ever: the example of document S2. It is told of the end by a loop. */
#include <confab/confab.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void need(int64_t result) {
        char why[512];

        if (result >= 0)
                return;
        confab_explain(why, sizeof(why));
        fprintf(stderr, "%s\n", why);
        exit(1);
}

static int ended(confab_source *source, uint32_t status, void *loop) {
        struct confab_signal by = {.size = sizeof(by)};

        (void)source;
        need(confab_signal_describe(&by, WTERMSIG((int)status)));
        printf("the child ended by signal %d (%s: %s)\n", by.number, by.name, by.comment);
        confab_loop_stop(loop);
        return 0;
}

int main(void) {
        confab_loop *loop;
        int pid = fork();

        if (pid == 0)
                for (;;) /* terminates on SIGKILL */
                        ;
        need(confab_loop_new(&loop));
        need(confab_loop_add_child(NULL, loop, pid, ended, loop));
        need(confab_signal_send(pid, SIGKILL, NULL, CONFAB_NOW));
        need(confab_loop_run(loop));
        confab_loop_free(loop);
        return 0;
}
