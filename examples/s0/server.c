/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* The server of document S0, with confab: takes one client after the other, reads its hello and answers. */
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

/* Exactly @len bytes of a stream into @data; 0 if the client ends before. */
static int64_t receive_all(confab_endpoint *client, char *data, size_t len) {
        struct confab_message part = confab_message_of(NULL, 0);

        for (size_t at = 0; at < len;) {
                int r = confab_receive(client, &part, NULL, confab_after(5000000000));

                if (r <= 0)
                        return r;
                if (part.data_len > len - at) /* more than a hello: no client of ours */
                        part.data_len = len - at;
                memcpy(data + at, part.data, part.data_len);
                at += part.data_len;
                confab_release(client, &part);
        }
        return (int64_t)len;
}

int main(void) {
        struct confab_message answer = confab_message_of(SERVER_STR, SERVER_BYTES);
        char address[100], hello[BUF_LEN];
        confab_endpoint *server, *client;

        setvbuf(stdout, NULL, _IOLBF, 0);
        snprintf(address, sizeof(address), "tcp://0.0.0.0:%u", (unsigned)PORT);
        need(confab_listen(&server, address, NULL, CONFAB_FOREVER));
        for (;;) {
                need(confab_accept(&client, server, CONFAB_FOREVER));
                if (receive_all(client, hello, CLIENT_BYTES) == CLIENT_BYTES) {
                        printf("client sent %s\nserver sending %s\n", hello, SERVER_STR);
                        confab_send(client, &answer,
                                    confab_after(5000000000)); /* a client that has gone ends only itself */
                }
                confab_close(client);
        }
}
