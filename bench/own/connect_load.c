/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * connect_load PORT N_CONNECTIONS N_AT_ONCE: so many connections to a server on this machine that answers each request with the same bytes and
 * closes. Prints how many were served a second. Every answer is compared; one that is wrong or missing ends it with 1.
 *
 * The last word on a connection is a reset (SO_LINGER 0, after the server's end was seen): a hundred thousand of them in TIME_WAIT would use up
 * the ports of the machine.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REQUEST_LEN = 16, MAX_AT_ONCE = 1000 };

struct connection {
        int fd;
        int n_received;
        char request[REQUEST_LEN + 1], answer[REQUEST_LEN + 1]; /* a byte too many would be seen */
};

static struct sockaddr_in server = {.sin_family = AF_INET};
static int queue, n_begun, n_served;

static void need(int result, const char *what) {
        if (result >= 0)
                return;
        perror(what);
        exit(1);
}

static void begin(struct connection *connection) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};

        connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        need(connection->fd, "socket");
        need(connect(connection->fd, (struct sockaddr *)&server, sizeof(server)), "connect");
        snprintf(connection->request, sizeof(connection->request), "request %08d", n_begun++);
        connection->n_received = 0;
        if (send(connection->fd, connection->request, REQUEST_LEN, 0) != REQUEST_LEN)
                need(-1, "send");
        need(epoll_ctl(queue, EPOLL_CTL_ADD, connection->fd, &event), "epoll_ctl");
}

/* Whether the connection has ended: then it was served. */
static int step(struct connection *connection) {
        struct linger reset = {.l_onoff = 1};
        char *at = connection->answer + connection->n_received;
        ssize_t n = recv(connection->fd, at, sizeof(connection->answer) - (size_t)connection->n_received, 0);

        need((int)n, "recv");
        connection->n_received += (int)n;
        if (n)
                return 0;
        if (connection->n_received != REQUEST_LEN ||
            memcmp(connection->answer, connection->request, REQUEST_LEN) != 0) {
                fprintf(stderr, "connect_load: %.16s was answered with %d bytes: %.*s\n", connection->request,
                        connection->n_received, connection->n_received, connection->answer);
                exit(1);
        }
        need(setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), "setsockopt");
        close(connection->fd);
        n_served++;
        return 1;
}

static double seconds(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(int argc, char *argv[]) {
        static struct connection connections[MAX_AT_ONCE];
        struct epoll_event events[64];
        int n_connections = argc == 4 ? atoi(argv[2]) : 0, n_at_once = argc == 4 ? atoi(argv[3]) : 0;
        double begun;

        if (n_at_once < 1 || n_at_once > MAX_AT_ONCE || n_connections < n_at_once) {
                fprintf(stderr, "connect_load PORT N_CONNECTIONS N_AT_ONCE\n");
                return 2;
        }
        server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        server.sin_port = htons((uint16_t)atoi(argv[1]));
        queue = epoll_create1(EPOLL_CLOEXEC);
        need(queue, "epoll_create1");
        begun = seconds();
        for (int i = 0; i < n_at_once; i++)
                begin(&connections[i]);
        while (n_served < n_connections) {
                int n = epoll_wait(queue, events, 64, 10000);

                if (n == 0) {
                        fprintf(stderr, "connect_load: no answer for 10 s, %d of %d were served\n", n_served,
                                n_connections);
                        return 1;
                }
                need(n, "epoll_wait");
                for (int i = 0; i < n; i++)
                        if (step(events[i].data.ptr) && n_begun < n_connections)
                                begin(events[i].data.ptr);
        }
        printf("%.1f\n", n_served / (seconds() - begun));
        return 0;
}
