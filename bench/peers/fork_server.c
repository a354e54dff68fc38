/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * The course's plain concurrent server (documents S3 and S4): socket, bind, listen, accept, fork; the parent goes back to accept, the child receives,
 * answers and exits; a handler of SIGCHLD reaps. fork_server: prints its port, serves until it is killed. What bench/process compares with.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void need(int result, const char *what) {
        if (result >= 0)
                return;
        perror(what);
        exit(1);
}

static void on_child(int number) {
        int error = errno;

        (void)number;
        while (waitpid(-1, NULL, WNOHANG) > 0)
                ;
        errno = error;
}

static void serve(int client) {
        char request[64];
        ssize_t n = recv(client, request, sizeof(request), 0);

        if (n > 0)
                send(client, request, (size_t)n, MSG_NOSIGNAL);
        close(client);
        exit(0);
}

int main(void) {
        struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof(name);
        int server = socket(AF_INET, SOCK_STREAM, 0), client;
        struct sigaction action = {.sa_handler = on_child, .sa_flags = SA_RESTART};

        need(server, "socket");
        need(bind(server, (struct sockaddr *)&name, sizeof(name)), "bind");
        need(listen(server, 4096), "listen");
        need(getsockname(server, (struct sockaddr *)&name, &len), "getsockname");
        need(sigaction(SIGCHLD, &action, NULL), "sigaction");
        printf("%d\n", ntohs(name.sin_port));
        fflush(stdout);
        for (;;) {
                client = accept(server, NULL, NULL);
                need(client, "accept");
                switch (fork()) {
                case 0:
                        close(server);
                        serve(client);
                        break;
                case -1:
                        perror("fork");
                }
                close(client);
        }
}
