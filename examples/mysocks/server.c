/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* clang-format off */
/*
 * The concurrent server of document S4: "When a new connection is made, the server acknowledges it and launches a new process to reply to the new
 * client." The slides (26 to 28) are pictures: the calls of mysocks and who makes them in which order. What they leave out is marked "added".
 */
#include <mysocks.h>
#include <ctype.h> /* added */
#include <signal.h> /* added */
#include <stdio.h> /* added */
#include <stdlib.h> /* added */
#include <unistd.h>

static void reply(int channel) {
        char request[100]; /* added */ /* the slides do not say what is asked: here, for capital letters */
        int n;

        while ((n = readSocket(channel, request, sizeof(request))) > 0) {
                for (int i = 0; i < n; i++) /* added */
                        request[i] = (char)toupper((unsigned char)request[i]); /* added */
                if (writeSocket(channel, request, n) < 0)
                        break; /* added */ /* the client has gone */
        }
        closeSocket(channel);
}

int main(int argc, char *argv[]) {
        int server = serverSocket(argc == 2 ? atoi(argv[1]) : 0);
        pid_t pid; /* added */

        if (server == -1) { /* added */
                perror("server"); /* added */
                return 1; /* added */
        } /* added */
        signal(SIGCHLD, SIG_IGN); /* added */ /* nobody waits for the children: leave no zombies */
        for (;;) {
                int channel = acceptServerSocket(server);

                if (channel == -1) { /* added */
                        perror("server"); /* added */
                        sleep(1); /* added */ /* out of descriptors, say: those who are served will give some back */
                        continue; /* added */
                } /* added */
                pid = fork();
                if (pid == 0) { /* the new process replies to the new client */
                        closeSocket(server); /* added */ /* it takes no clients itself */
                        reply(channel);
                        exit(0);
                }
                if (pid == -1) /* added */
                        perror("server"); /* added */ /* this client is not served: it sees the end */
                closeSocket(channel); /* added */ /* the child has its own: else the client would never see the end */
        }
}
