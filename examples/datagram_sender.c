/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Sends one datagram and waits a second for the answer: datagram_sender ADDRESS TEXT
 * Datagrams may be lost: that nothing comes back is an answer as well, and the reason for the deadline.
 */
#include <confab/confab.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void need(int64_t result) {
        char why[512];

        if (result >= 0)
                return;
        confab_explain(why, sizeof(why));
        fprintf(stderr, "%s\n", why);
        exit(1);
}

int main(int argc, char *argv[]) {
        struct confab_message message;
        confab_endpoint *sender;
        int r;

        if (argc != 3) {
                fprintf(stderr, "datagram_sender ADDRESS TEXT\n");
                return 2;
        }
        message = confab_message_of(argv[2], strlen(argv[2]));
        need(confab_open(&sender, argv[1], NULL, confab_after(1000000000)));
        need(confab_send(sender, &message, confab_after(1000000000)));
        r = confab_receive(sender, &message, NULL, confab_after(1000000000));
        if (r == -ETIMEDOUT) {
                printf("no answer\n");
        } else {
                need(r);
                printf("answer: %.*s\n", (int)message.data_len, (const char *)message.data);
                confab_release(sender, &message);
        }
        confab_close(sender);
        return 0;
}
