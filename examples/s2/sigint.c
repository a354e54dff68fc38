/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Ctrl-C says something before it ends the program: the example of document S2. What a handler may do is little (printf is not among it), so the
 * signal is taken as an event here, and what answers it is an ordinary function.
 */
#include <confab/confab.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static void need(int64_t result) {
        char why[512];

        if (result >= 0)
                return;
        confab_explain(why, sizeof(why));
        fprintf(stderr, "%s\n", why);
        exit(1);
}

static int interrupted(confab_source *source, uint32_t number, void *loop) {
        struct confab_signal signal = {.size = sizeof(signal)};

        (void)source;
        need(confab_signal_describe(&signal, (int)number));
        printf("caught signal %s: %s\n", signal.name, signal.comment);
        confab_loop_stop(loop);
        return 0;
}

int main(void) {
        confab_loop *loop;

        need(confab_loop_new(&loop));
        need(confab_loop_add_signal(NULL, loop, SIGINT, interrupted, loop));
        puts("type Ctrl-C");
        fflush(stdout);
        need(confab_loop_run(loop));
        confab_loop_free(loop);
        return 0;
}
