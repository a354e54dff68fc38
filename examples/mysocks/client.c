/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* clang-format off */
/*
 * The client of document S4: connect, write, read the reply, close. The slides (24 and 26) are pictures of the calls; what they leave out is
 * marked "added". Usage: client HOST PORT TEXT...
 */
#include <mysocks.h>
#include <stdio.h> /* added */
#include <stdlib.h> /* added */
#include <string.h> /* added */

int main(int argc, char *argv[]) {
        int channel = connectSocket(argc > 2 ? argv[1] : "", argc > 2 ? atoi(argv[2]) : 0);
        char reply[1000]; /* added */

        if (channel == -1) { /* added */
                perror("client"); /* added */
                return 1; /* added */
        } /* added */
        for (int i = 3; i < argc; i++) { /* added */ /* a request for each word */
                int length = (int)strnlen(argv[i], sizeof(reply) - 1), n, at = 0; /* added */

                if (length == 0) /* added */ /* there is no writing of nothing */
                        continue; /* added */
                n = writeSocket(channel, argv[i], length);
                while (n > 0 && at < length) { /* added */ /* a stream may bring the reply in parts */
                        n = readSocket(channel, reply + at, length - at);
                        at += n > 0 ? n : 0; /* added */
                } /* added */
                if (n <= 0) { /* added */
                        fprintf(stderr, "client: the server has gone\n"); /* added */
                        return 1; /* added */
                } /* added */
                printf("%.*s\n", length, reply); /* added */
        } /* added */
        return closeSocket(channel) == 0 ? 0 : 1;
}
