/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * The kernel's message queues, between a parent and its child: message_queue ADDRESS
 * mq:///jobs hands out the job with the highest priority first; sysv://0x5eed0001 lets the receiver choose by type.
 */
#include <confab/confab.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

static void send_jobs(const char *address, const struct confab_properties *properties) {
        static const char *const jobs[] = {"sweep", "cook", "put out the fire"};
        confab_endpoint *queue;

        need(confab_open(&queue, address, NULL, CONFAB_NOW));
        for (unsigned i = 0; i < 3; i++) {
                struct confab_message job = confab_message_of(jobs[i], strlen(jobs[i]));

                if (properties->priorities)
                        job.priority = i;
                if (properties->types)
                        job.type = 3 - (int)i;
                need(confab_send(queue, &job, CONFAB_FOREVER));
        }
        confab_close(queue);
}

int main(int argc, char *argv[]) {
        struct confab_properties properties = {.size = sizeof(properties)};
        struct confab_filter lowest = {.size = sizeof(lowest),
                                       .type = -9}; /* the lowest type there is, up to 9 */
        struct confab_message job = confab_message_of(NULL, 0);
        confab_endpoint *queue;

        if (argc != 2) {
                fprintf(stderr, "message_queue ADDRESS\n");
                return 2;
        }
        need(confab_listen(&queue, argv[1], NULL, CONFAB_NOW));
        need(confab_endpoint_properties(&properties, queue));
        if (fork() == 0) {
                send_jobs(argv[1], &properties);
                return 0;
        }
        wait(NULL); /* the queue keeps them meanwhile */
        for (int i = 0; i < 3; i++) {
                need(confab_receive(queue, &job, properties.types ? &lowest : NULL, CONFAB_FOREVER));
                printf("%.*s\n", (int)job.data_len, (const char *)job.data);
                confab_release(queue, &job);
        }
        confab_close(queue); /* it was made here, so it is removed here */
        return 0;
}
