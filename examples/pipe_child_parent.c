/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* One-way communication from a child to its parent through a simplex pipe: the example of document S0. */
#include <confab/confab.h>
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

int main(void) {
        struct confab_message message = confab_message_of("message for parent", 19);
        confab_endpoint *ends[2];
        int pid;

        need(confab_pair(ends, "pipe://", NULL));
        pid = fork();
        if (pid == 0) {
                confab_close(ends[0]); /* the child only sends */
                need(confab_send(ends[1], &message, CONFAB_FOREVER));
                confab_close(ends[1]);
                return 0;
        }
        confab_close(ends[1]); /* the parent only receives; without this it would never see the end */
        for (;;) {
                int r = confab_receive(ends[0], &message, NULL, CONFAB_FOREVER);

                need(r);
                if (r == 0)
                        break;
                printf("parent received: %.*s\n", (int)message.data_len, (const char *)message.data);
                confab_release(ends[0], &message);
        }
        confab_close(ends[0]);
        return waitpid(pid, NULL, 0) == pid ? 0 : 1;
}
