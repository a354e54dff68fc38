/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* The client of document S0, with confab: says hello to the server and prints what it answers. */
#include "defs.h"
#include <confab/confab.h>

static void need(int64_t result) {
        char why[512];

        if (result >= 0)
                return;
        confab_explain(why, sizeof(why));
        fprintf(stderr, "%s\n", why);
        exit(1);
}

int main(int argc, char *argv[]) {
        struct confab_message hello = confab_message_of(CLIENT_STR, CLIENT_BYTES),
                              part = confab_message_of(NULL, 0);
        char address[300], answer[BUF_LEN];
        size_t answer_len = 0;
        confab_endpoint *server;
        int r = 1;

        if (argc != 3) {
                fprintf(stderr, "client serverhost port#\n");
                return 1;
        }
        snprintf(address, sizeof(address), "tcp://%s:%s", argv[1], argv[2]);
        need(confab_open(&server, address, NULL, confab_after(5000000000)));
        need(confab_send(server, &hello, CONFAB_FOREVER));
        while (answer_len < SERVER_BYTES &&
               r > 0) { /* a stream has no boundaries: the answer may come in parts */
                need(r = confab_receive(server, &part, NULL, confab_after(5000000000)));
                if (r > 0 && part.data_len <= sizeof(answer) - answer_len) {
                        memcpy(answer + answer_len, part.data, part.data_len);
                        answer_len += part.data_len;
                }
                confab_release(server, &part);
        }
        confab_close(server);
        if (answer_len != SERVER_BYTES) {
                fprintf(stderr, "client: the server ended in the middle of its answer\n");
                return 1;
        }
        printf("sent %s\nreceived %s\n", CLIENT_STR, answer);
        return 0;
}
