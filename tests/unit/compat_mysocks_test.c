/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * mysocks.h, line by line of the course's table: what each call takes and returns; and what the table leaves to us: channels that are no
 * descriptors, forked servers, threads, signals.
 */
#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <mysocks.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define HERE "127.0.0.1"
#define check_refused(call, error)      \
        do {                            \
                errno = 0;              \
                check_eq((call), -1);   \
                check_eq(errno, error); \
        } while (0)

/* A socket bound to a free port and not listening: nobody else gets that port meanwhile. */
static int hold_port(int *portp) {
        struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof(name);
        int held = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        check(held >= 0 && bind(held, (struct sockaddr *)&name, len) == 0);
        check_eq(getsockname(held, (struct sockaddr *)&name, &len), 0);
        *portp = ntohs(name.sin_port);
        return held;
}

/* A server on a port nobody had a moment ago; somebody may have taken it since. */
static int served(int *portp) {
        int server;

        for (int tries = 0; tries < 100; tries++) {
                close(hold_port(portp));
                server = serverSocket(*portp);
                if (server != -1)
                        return server;
                check_eq(errno, EADDRINUSE);
        }
        check(!"a free port");
        return -1;
}

struct talk {
        int server, client, peer;
};

static struct talk connected(void) {
        struct talk talk;
        int port;

        talk.server = served(&port);
        talk.client = connectSocket(HERE, port);
        check(talk.client > 0);
        talk.peer = acceptServerSocket(talk.server);
        check(talk.peer > 0);
        return talk;
}

static void close_all(struct talk talk) {
        check_eq(closeSocket(talk.client), 0);
        check_eq(closeSocket(talk.peer), 0);
        check_eq(closeSocket(talk.server), 0);
}

static void read_all(int channel, char *buffer, int length) {
        for (int n, at = 0; at < length; at += n) {
                n = readSocket(channel, buffer + at, length - at);
                check(n > 0);
        }
}

/* --- serverSocket: > 0, the channel of the socket; -1 --- */

TEST(server_socket) {
        int port, server = served(&port), held;

        check(server > 0);
        check_refused(serverSocket(port), EADDRINUSE);
        check_eq(closeSocket(server), 0);
        held = hold_port(&port); /* bound by somebody who has not set SO_REUSEADDR */
        check_refused(serverSocket(port), EADDRINUSE);
        close(held);
        check_refused(serverSocket(0), EINVAL);
        check_refused(serverSocket(-1), EINVAL);
        check_refused(serverSocket(65536), EINVAL);
}

/* With a connection of its predecessor in TIME_WAIT. */
TEST_TIMEOUT(server_socket_again_on_its_port, 60) {
        struct talk talk;
        int port, server = -1;
        char end;

        for (int tries = 0; server == -1 && tries < 20;
             tries++) { /* a stranger may take it in the meantime, once */
                talk.server = served(&port);
                talk.client = connectSocket(HERE, port);
                talk.peer = acceptServerSocket(talk.server);
                check_eq(closeSocket(talk.peer), 0); /* the server ends first: TIME_WAIT is on its side */
                check_eq(readSocket(talk.client, &end, 1), 0);
                check_eq(closeSocket(talk.client), 0);
                check_eq(closeSocket(talk.server), 0);
                server = serverSocket(port);
        }
        check(server > 0);
        check_eq(closeSocket(server), 0);
}

/* --- acceptServerSocket: > 0, a channel to read and write bytes from and to the client; error --- */

TEST(accept_server_socket) {
        struct talk talk = connected();
        char text[8] = "";

        check(talk.peer != talk.server && talk.peer != talk.client);
        check_eq(writeSocket(talk.peer, "to", 3), 3);
        read_all(talk.client, text, 3);
        check_str(text, "to");
        check_eq(writeSocket(talk.client, "from", 5), 5);
        read_all(talk.peer, text, 5);
        check_str(text, "from");
        check_refused(acceptServerSocket(talk.client), EOPNOTSUPP);
        check_refused(acceptServerSocket(talk.peer), EOPNOTSUPP);
        close_all(talk);
        check_refused(acceptServerSocket(talk.server), EBADF);
        check_refused(acceptServerSocket(0), EBADF);
        check_refused(acceptServerSocket(-1), EBADF);
        check_refused(acceptServerSocket(STDIN_FILENO), EBADF);
}

/* --- connectSocket: the server's host name and port; > 0, a channel to read from and write to the server; -1 --- */

TEST(connect_socket) {
        static const char *const names[] = {"localhost", "127.0.0.1",
                                            "::1"}; /* every interface, both families */
        int port, server = served(&port), client;

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
                client = connectSocket(names[i], port);
                check(client > 0);
                check_eq(closeSocket(client), 0);
                check_eq(closeSocket(acceptServerSocket(server)), 0);
        }
        check_eq(closeSocket(server), 0);
}

TEST_TIMEOUT(connect_socket_to_nobody, 120) { /* a resolver that asks the network may take its time */
        int port, held = hold_port(&port);

        check_refused(connectSocket(HERE, port), ECONNREFUSED);
        close(held);
        check_eq(connectSocket("no-such-host.invalid", 80), -1);
        check_refused(connectSocket(NULL, 80), EINVAL);
        check_refused(connectSocket("", 80), EINVAL);
        check_refused(connectSocket(HERE, 0), EINVAL);
        check_refused(connectSocket(HERE, 65536), EINVAL);
}

/* A name is a name: nothing in it becomes a key, a path, or another address. */
TEST_TIMEOUT(connect_socket_with_a_strange_name, 120) {
        static const char *const names[] = {
                "127.0.0.1?frame=line", "127.0.0.1:1", "127.0.0.1/", "[::1]", "a\nb", "%31", "x#y", "ü@z"};
        static char longest[5000];
        int port, server = served(&port);

        memset(longest, 'a', sizeof(longest) - 1);
        check_refused(connectSocket(longest, port), EINVAL);
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
                check_eq(connectSocket(names[i], port), -1);
        check_eq(closeSocket(server), 0);
}

/* --- writeSocket: > 0, the number of bytes sent; < 0, an error --- */

TEST(write_socket) {
        struct talk talk = connected();

        check_eq(writeSocket(talk.client, "x", 1), 1);
        check_eq(writeSocket(talk.peer, "hello", 6), 6);
        check_refused(writeSocket(talk.client, "x", 0), EINVAL);
        check_refused(writeSocket(talk.client, "x", -1), EINVAL);
        check_refused(writeSocket(talk.client, NULL, 1), EINVAL);
        check(writeSocket(talk.server, "x", 1) < 0);
        close_all(talk);
        check_refused(writeSocket(talk.client, "x", 1), EBADF);
}

enum { LARGE = 8 << 20 };

/* More than the kernel holds: all of it is sent all the same, byte for byte. */
TEST_TIMEOUT(write_socket_much, 60) {
        struct talk talk = connected();
        char *sent = malloc(LARGE), *received = malloc(LARGE);
        pid_t child;
        int status;

        check(sent && received);
        for (int i = 0; i < LARGE; i++)
                sent[i] = (char)(i % 251);
        child = fork();
        if (child == 0)
                _exit(writeSocket(talk.client, sent, LARGE) == LARGE ? 0 : 1);
        read_all(talk.peer, received, LARGE);
        check_mem(received, sent, LARGE);
        check(waitpid(child, &status, 0) == child && status == 0);
        free(sent);
        free(received);
        close_all(talk);
}

/* A peer that has gone is an error, and not the process's death. */
TEST(write_socket_to_nobody) {
        struct talk talk = connected();
        int n = 0;

        check_eq(closeSocket(talk.peer), 0);
        while (n >= 0)
                n = writeSocket(talk.client, "x", 1);
        check(errno == EPIPE || errno == ECONNRESET);
        check_eq(closeSocket(talk.client), 0);
        check_eq(closeSocket(talk.server), 0);
}

/* --- readSocket: > 0, the number of received bytes; < 0, an error; 0, the peer closed --- */

TEST(read_socket) {
        struct talk talk = connected();
        char text[16] = "", last;

        check_eq(writeSocket(talk.client, "0123456789", 10), 10);
        check_eq(closeSocket(talk.client), 0);
        for (int i = 0; i < 6; i += 2) /* at most what was asked for; the rest is kept, in order */
                check_eq(readSocket(talk.peer, text + i, 2), 2);
        read_all(talk.peer, text + 6, 4);
        check_str(text, "0123456789");
        check_eq(readSocket(talk.peer, &last, 1), 0);
        check_eq(readSocket(talk.peer, &last, 1), 0); /* and stays so */
        check_refused(readSocket(talk.peer, text, 0), EINVAL);
        check_refused(readSocket(talk.peer, text, -5), EINVAL);
        check_refused(readSocket(talk.peer, NULL, 5), EINVAL);
        check(readSocket(talk.server, text, 5) < 0);
        check_eq(closeSocket(talk.peer), 0);
        check_eq(closeSocket(talk.server), 0);
        check_refused(readSocket(talk.peer, text, 1), EBADF);
}

TEST(read_socket_after_a_reset) {
        struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        struct linger reset = {.l_onoff = 1};
        int port, server = served(&port), channel, client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        char text[4];

        name.sin_port = htons((uint16_t)port);
        check_eq(connect(client, (struct sockaddr *)&name, sizeof(name)), 0);
        channel = acceptServerSocket(server);
        check(channel > 0);
        check_eq(setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
        close(client);
        check_refused(readSocket(channel, text, sizeof(text)), ECONNRESET);
        check_eq(closeSocket(channel), 0);
        check_eq(closeSocket(server), 0);
}

/* --- closeSocket: 0, OK; -1, an error --- */

TEST(close_socket) {
        struct talk talk = connected(), next;

        close_all(talk);
        check_refused(closeSocket(talk.client), EBADF);
        check_refused(closeSocket(talk.peer), EBADF);
        check_refused(closeSocket(talk.server), EBADF);
        check_refused(closeSocket(0), EBADF);
        check_refused(closeSocket(-1), EBADF);
        check_refused(closeSocket(INT32_MAX), EBADF);
        next = connected(); /* in the same slots, with other numbers */
        check_refused(closeSocket(talk.client), EBADF);
        check_refused(writeSocket(talk.peer, "x", 1), EBADF);
        close_all(next);
}

/* More channels than lie in one piece of the table, all distinct, all closed. */
TEST_TIMEOUT(many_channels, 60) {
        enum { N = 150 };
        struct talk talks[N];

        for (int i = 0; i < N; i++)
                talks[i] = connected();
        for (int i = 0; i < N; i++)
                for (int j = 0; j < i; j++)
                        check(talks[i].client != talks[j].client && talks[i].peer != talks[j].client);
        for (int i = 0; i < N; i++)
                close_all(talks[i]);
}

/* --- what the table does not say --- */

TEST(channels_are_no_descriptors) {
        struct talk talk = connected();
        char byte;

        errno = 0;
        check(read(talk.peer, &byte, 1) == -1 && errno == EBADF);
        check(close(talk.client) == -1 && errno == EBADF);
        close_all(talk);
}

static void serve_upper_case(int channel) {
        char text[64];

        for (int n; (n = readSocket(channel, text, sizeof(text))) > 0;) {
                for (int i = 0; i < n; i++)
                        text[i] = (char)(text[i] - 'a' + 'A');
                check_eq(writeSocket(channel, text, n), n);
        }
        check_eq(closeSocket(channel), 0);
}

/* The course's concurrent server: a process for each client, all of them served at once. */
TEST_TIMEOUT(a_process_for_each_client, 60) {
        enum { N = 8 };
        int port, server = served(&port), clients[N], status;
        pid_t children[N];
        char answer[4] = "";

        for (int i = 0; i < N; i++) {
                int channel;

                clients[i] = connectSocket(HERE, port);
                check(clients[i] > 0);
                channel = acceptServerSocket(server);
                check(channel > 0);
                children[i] = fork();
                if (children[i] == 0) {
                        check_eq(closeSocket(server), 0);
                        for (int j = 0; j <= i; j++)
                                check_eq(closeSocket(clients[j]), 0);
                        serve_upper_case(channel);
                        _exit(0);
                }
                check_eq(closeSocket(channel), 0); /* the child's copy goes on */
        }
        for (int i = N - 1; i >= 0; i--) { /* the last one first: nobody waits for another */
                check_eq(writeSocket(clients[i], "abc", 3), 3);
                read_all(clients[i], answer, 3);
                check_str(answer, "ABC");
        }
        for (int i = 0; i < N; i++) {
                check_eq(closeSocket(clients[i]), 0);
                check(waitpid(children[i], &status, 0) == children[i] && status == 0);
        }
        check_eq(closeSocket(server), 0);
}

static void *read_one(void *channelp) {
        char byte;
        int n = readSocket(*(int *)channelp, &byte, 1);

        return (void *)(intptr_t)(n == -1 && (errno == ECANCELED || errno == EBADF));
}

static void *accept_one(void *channelp) {
        int channel = acceptServerSocket(*(int *)channelp);

        return (void *)(intptr_t)(channel == -1 && (errno == ECANCELED || errno == EBADF));
}

/* Whether it waits already or is about to: closing ends it. */
TEST_TIMEOUT(closing_ends_the_calls_of_other_threads, 60) {
        for (int round = 0; round < 20; round++) {
                struct talk talk = connected();
                pthread_t reader, acceptor;
                void *ended;

                check_eq(pthread_create(&reader, NULL, read_one, &talk.peer), 0);
                check_eq(pthread_create(&acceptor, NULL, accept_one, &talk.server), 0);
                usleep((useconds_t)(round % 4) * 1000);
                check_eq(closeSocket(talk.peer), 0);
                check_eq(closeSocket(talk.server), 0);
                check_eq(pthread_join(reader, &ended), 0);
                check(ended);
                check_eq(pthread_join(acceptor, &ended), 0);
                check(ended);
                check_eq(closeSocket(talk.client), 0);
        }
}

enum { MORE_THAN_FITS = 64 << 20 };

static void *write_much(void *channelp) {
        char *much = calloc(1, MORE_THAN_FITS);
        int n = writeSocket(*(int *)channelp, much, MORE_THAN_FITS), error = errno;

        free(much);
        return (void *)(intptr_t)(n == -1 && error == ECANCELED);
}

/* All of it was sent, or it is an error: also where closing finds a part of it sent. */
TEST_TIMEOUT(closing_ends_a_write_under_way, 60) {
        struct talk talk = connected();
        pthread_t writer;
        void *ended;
        char byte;

        check_eq(pthread_create(&writer, NULL, write_much, &talk.client), 0);
        read_all(talk.peer, &byte, 1);
        check_eq(closeSocket(talk.client), 0);
        check_eq(pthread_join(writer, &ended), 0);
        check(ended);
        check_eq(closeSocket(talk.peer), 0);
        check_eq(closeSocket(talk.server), 0);
}

static int enough[2];

/* At the tenth it tells the peer to write. */
static void on_alarm(int number) {
        static int n_alarms;

        (void)number;
        if (++n_alarms == 10 && write(enough[1], "x", 1) != 1)
                abort();
}

/* The byte comes after ten alarms: none of them ended the wait, without SA_RESTART. */
TEST_TIMEOUT(no_signal_ends_a_wait, 60) {
        struct sigaction action = {.sa_handler = on_alarm};
        struct itimerval often = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};
        struct talk talk = connected();
        char byte;
        pid_t child;
        int status;

        check_eq(pipe(enough), 0);
        child = fork();
        if (child == 0)
                _exit(read(enough[0], &byte, 1) == 1 && writeSocket(talk.client, "x", 1) == 1 ? 0 : 1);
        check_eq(sigaction(SIGALRM, &action, NULL), 0);
        check_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
        check_eq(readSocket(talk.peer, &byte, 1), 1);
        check_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
        check(waitpid(child, &status, 0) == child && status == 0);
        close_all(talk);
        close(enough[0]);
        close(enough[1]);
}
