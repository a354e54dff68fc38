/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * The other side of socket activation, written from sd_listen_fds(3) alone.
 *
 *      activated serve          takes the listener passed as descriptor 3: tells each client "PID NAMES" and closes
 *      activated give COMMAND   listens on a free port, prints it, waits for a client, and becomes COMMAND with the listener as 3
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int serve(void) {
        const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS"),
                   *names = getenv("LISTEN_FDNAMES");

        if (!pid || !count || atoi(pid) != getpid() || atoi(count) != 1)
                return 3;
        for (;;) {
                int client = accept(3, NULL, NULL);
                char text[64];

                if (client < 0)
                        return 4;
                snprintf(text, sizeof(text), "%d %.30s\n", (int)getpid(), names ? names : "-");
                if (write(client, text, strlen(text)) < 0)
                        return 5;
                close(client);
        }
}

static int give(char **command) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof(address);
        int listener = socket(AF_INET, SOCK_STREAM, 0);
        char pid[16];

        if (listener < 0 || bind(listener, (struct sockaddr *)&address, len) < 0 ||
            listen(listener, 16) < 0 || getsockname(listener, (struct sockaddr *)&address, &len) < 0)
                return 6;
        printf("%d\n", ntohs(address.sin_port));
        fflush(stdout);
        poll(&(struct pollfd){.fd = listener, .events = POLLIN}, 1, -1);
        snprintf(pid, sizeof(pid), "%d", (int)getpid());
        setenv("LISTEN_PID", pid, 1);
        setenv("LISTEN_FDS", "1", 1);
        if (listener != 3 && (dup2(listener, 3) < 0 || close(listener) < 0))
                return 7;
        execvp(command[0], command);
        return 8;
}

int main(int argc, char *argv[]) {
        if (argc == 2 && strcmp(argv[1], "serve") == 0)
                return serve();
        if (argc > 2 && strcmp(argv[1], "give") == 0)
                return give(argv + 2);
        return 2;
}
