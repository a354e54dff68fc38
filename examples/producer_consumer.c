/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * A producer and a consumer (documents S1 and S4) with a pipe as the bounded buffer between them: the producer waits while the pipe is
 * full, the consumer while it is empty. producer_consumer [N]
 */
#include <confab/confab.h>
#include <errno.h>
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

static void produce(confab_endpoint *buffer, int n) {
        int n_waits = 0;

        for (int item = 1; item <= n; item++) {
                struct confab_message message = confab_message_of(&item, sizeof(item));
                int64_t r = confab_send(buffer, &message, CONFAB_NOW);

                if (r == -EAGAIN) { /* full; what is queued of the item goes out first */
                        n_waits++;
                        r = confab_send(buffer, &message, CONFAB_FOREVER);
                }
                need(r);
        }
        printf("the producer made %d items and %s\n", n, n_waits ? "had to wait" : "never waited");
}

static void consume(confab_endpoint *buffer) {
        struct confab_message message = confab_message_of(NULL, 0);
        int item, n = 0, r;
        long sum = 0;

        while ((r = confab_receive(buffer, &message, NULL, CONFAB_FOREVER)) > 0) {
                memcpy(&item, message.data, sizeof(item));
                sum += item;
                n++;
                confab_release(buffer, &message);
        }
        need(r);
        printf("the consumer used %d items, %ld in all\n", n, sum);
}

int main(int argc, char *argv[]) {
        confab_endpoint *ends[2];
        int pid;

        need(confab_pair(ends, "pipe://?frame=record&capacity=4k", NULL));
        pid = fork();
        if (pid == 0) {
                confab_close(ends[0]);
                produce(ends[1], argc > 1 ? atoi(argv[1]) : 10000);
                confab_close(ends[1]); /* the consumer receives the end */
                return 0;
        }
        confab_close(ends[1]);
        consume(ends[0]);
        confab_close(ends[0]);
        return waitpid(pid, NULL, 0) == pid ? 0 : 1;
}
