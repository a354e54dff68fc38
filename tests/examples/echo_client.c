/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * The other side of the echo server's test: echo_client ADDRESS N. One client only sends, until it is owed more than fits anywhere; N others
 * come and expect every byte back meanwhile; then the first one takes what it is owed, every byte in its place.
 */
#include <confab/confab.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static void need(int64_t result, const char *what) {
        char why[512];

        if (result >= 0)
                return;
        confab_explain(why, sizeof(why));
        fprintf(stderr, "%s: %s\n", what, why);
        exit(1);
}

static char block[100000];

/* Byte number @at of what every client sends; the period is no power of two, so that a piece out of place is seen. */
static char byte_at(int64_t at) {
        return (char)(at % 251);
}

static int64_t send_until_full(confab_endpoint *client) {
        int64_t total = 0, r;

        do {
                struct confab_message message = confab_message_of(block, sizeof(block));

                for (size_t i = 0; i < sizeof(block); i++)
                        block[i] = byte_at(total + (int64_t)i);
                r = confab_send(client, &message, confab_after(200000000));
                total += r > 0 ? r : 0;
        } while (r > 0);
        if (r != -ETIMEDOUT)
                need(r, "send");
        return total;
}

static void expect_back(confab_endpoint *client, int64_t len) {
        for (int64_t at = 0; at < len;) {
                struct confab_message part = confab_message_of(NULL, 0);
                int r = confab_receive(client, &part, NULL, confab_after(5000000000));

                need(r, "receive");
                for (size_t i = 0; r > 0 && i < part.data_len; i++)
                        if (((const char *)part.data)[i] != byte_at(at + (int64_t)i))
                                r = 0;
                at += (int64_t)part.data_len;
                confab_release(client, &part);
                if (r == 0 || at > len) {
                        fprintf(stderr, "other bytes came back, up to %lld of %lld\n", (long long)at,
                                (long long)len);
                        exit(1);
                }
        }
}

int main(int argc, char *argv[]) {
        int n = argc == 3 ? atoi(argv[2]) : 0;
        confab_endpoint *deaf, *client;
        int64_t owed;

        need(confab_open(&deaf, argv[1], NULL, confab_after(5000000000)), "open");
        owed = send_until_full(deaf);
        for (size_t i = 0; i < sizeof(block); i++)
                block[i] = byte_at((int64_t)i);
        for (int i = 0; i < n; i++) {
                struct confab_message message = confab_message_of(block, 1 + (size_t)i * 997);

                need(confab_open(&client, argv[1], NULL, confab_after(5000000000)), "open");
                need(confab_send(client, &message, confab_after(5000000000)), "send");
                expect_back(client, (int64_t)message.data_len);
                confab_close(client);
        }
        expect_back(deaf, owed);
        confab_close(deaf);
        return 0;
}
