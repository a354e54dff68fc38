/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Receives datagrams and answers each sender: datagram_receiver [ADDRESS [COUNT]]
 * udp://127.0.0.1:0 (the default) takes a free port and prints it; unix:///path?type=datagram works the same.
 */
#include <confab/confab.h>
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

int main(int argc, char *argv[]) {
        long count = argc > 2 ? atol(argv[2]) : 1;
        confab_endpoint *receiver;

        need(confab_listen(&receiver, argc > 1 ? argv[1] : "udp://127.0.0.1:0", NULL, CONFAB_FOREVER));
        printf("%s\n", confab_address(receiver)); /* with the port it got */
        fflush(stdout);
        while (count-- > 0) {
                struct confab_message message = confab_message_of(NULL, 0),
                                      answer = confab_message_of("thank you", 9);
                char from[200];

                need(confab_receive(receiver, &message, NULL, CONFAB_FOREVER));
                confab_peer_address(message.peer, from, sizeof(from));
                printf("from %s: %.*s\n", from[0] ? from : "somebody without an address",
                       (int)message.data_len, (const char *)message.data);
                answer.peer = message.peer; /* to whom the answer goes */
                if (from[0])
                        need(confab_send(receiver, &answer, CONFAB_FOREVER));
                confab_release(receiver, &message);
        }
        confab_close(receiver);
        return 0;
}
