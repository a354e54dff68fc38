/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include "conversation.h"
#include "harness.h"

#include <arpa/inet.h>
#include <confab/confab.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *address_of(int fd, const char *keys) {
        static char text[64];

        snprintf(text, sizeof(text), "fd://%d%s", fd, keys);
        return text;
}

static confab_endpoint *open_fd(int fd, const char *keys) {
        confab_endpoint *endpoint;

        check_ok(confab_open(&endpoint, address_of(fd, keys), NULL, CONFAB_NOW));
        return endpoint;
}

static bool is_open(int fd) {
        return fcntl(fd, F_GETFD) >= 0;
}

TEST(lent_pipe_is_used_and_left) {
        confab_endpoint *receiver, *sender;
        struct confab_properties properties = {.size = sizeof(properties)};
        char text[70000];
        int fds[2];
        static char block[65536];
        struct confab_message message = confab_message_of(block, sizeof(block));

        check_eq(pipe(fds), 0);
        receiver = open_fd(fds[0], "");
        sender = open_fd(fds[1], "");
        check_eq(try_receive(receiver, text, sizeof(text), CONFAB_NOW), -EAGAIN);
        check_eq(try_receive(receiver, text, sizeof(text), after_ms(20)), -ETIMEDOUT);
        send_text(sender, "hello");
        check_eq(try_receive(receiver, text, sizeof(text), CONFAB_NOW), 1);
        check_str(text, "hello");
        check_eq(try_send(receiver, "no", soon()), -EOPNOTSUPP);
        check_ok(confab_endpoint_properties(&properties, sender));
        check_eq(properties.capacity, 65536);
        check_eq(properties.atomic_max, 4096);
        check_eq(properties.direction, CONFAB_DIRECTION_SIMPLEX);
        check_eq(confab_send(sender, &message, CONFAB_NOW), sizeof(block));
        check_eq(confab_send(sender, &message, CONFAB_NOW), -EAGAIN);
        check_eq(confab_send(sender, &message, after_ms(20)), -ETIMEDOUT);
        /* No flag was touched: neither of the descriptor nor of the description. */
        for (int i = 0; i < 2; i++) {
                check_eq(fcntl(fds[i], F_GETFD), 0);
                check_eq(fcntl(fds[i], F_GETFL) & O_NONBLOCK, 0);
        }
        confab_close(receiver);
        confab_close(sender);
        check(is_open(fds[0]) && is_open(fds[1]));
        close(fds[0]);
        sender = open_fd(fds[1], "");
        check_eq(try_send(sender, "x", soon()), -EPIPE);
        confab_close(sender);
        close(fds[1]);
}

TEST(taken_is_closed_and_close_on_exec) {
        confab_endpoint *receiver, *sender;
        char text[16];
        int fds[2];

        check_eq(pipe(fds), 0);
        receiver = open_fd(fds[0], "?take");
        sender = open_fd(fds[1], "?take");
        check_eq(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
        check_eq(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
        send_text(sender, "last");
        confab_close(sender);
        check(!is_open(fds[1]));
        check_eq(try_receive(receiver, text, sizeof(text), soon()), 1);
        check_eq(try_receive(receiver, text, sizeof(text), soon()), 0);
        confab_close(receiver);
        check(!is_open(fds[0]));
}

TEST(absent_says_what_is_open) {
        confab_endpoint *endpoint = NULL;
        int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

        check_eq(confab_open(&endpoint, "fd://444?take", NULL, CONFAB_NOW), -EBADF);
        check_says("444 is not open");
        check_says("/dev/null");
        check_eq(confab_open(&endpoint, "fd://", NULL, CONFAB_NOW), -EINVAL);
        check_eq(confab_open(&endpoint, "fd://99999999999", NULL, CONFAB_NOW), -EINVAL);
        check_eq(confab_open(&endpoint, "fd://2147483648", NULL, CONFAB_NOW), -EINVAL);
        check_eq(confab_listen(&endpoint, address_of(fd, ""), NULL, CONFAB_NOW), -EINVAL);
        close(fd);
        fd = open(".", O_RDONLY | O_CLOEXEC);
        check_eq(confab_open(&endpoint, address_of(fd, ""), NULL, CONFAB_NOW), -EISDIR);
        /* A failure leaves it the caller's, taken or not. */
        check_eq(confab_open(&endpoint, address_of(fd, "?take"), NULL, CONFAB_NOW), -EISDIR);
        check(is_open(fd));
        close(fd);
        fd = open(".", O_PATH | O_CLOEXEC);
        check(confab_open(&endpoint, address_of(fd, ""), NULL, CONFAB_NOW) < 0);
        close(fd);
}

TEST(directions_follow_the_access_mode) {
        confab_endpoint *endpoint = NULL;
        char text[16];
        int fds[2];

        check_eq(pipe2(fds, O_CLOEXEC), 0);
        check_eq(confab_open(&endpoint, address_of(fds[0], "?direction=send"), NULL, CONFAB_NOW),
                 -EOPNOTSUPP);
        check_says("reading only");
        check_eq(confab_open(&endpoint, address_of(fds[1], "?direction=both"), NULL, CONFAB_NOW),
                 -EOPNOTSUPP);
        close(fds[0]);
        close(fds[1]);
        /* A FIFO opened for both has both. */
        check_eq(mkfifo("fifo", 0600), 0);
        fds[0] = open("fifo", O_RDWR | O_CLOEXEC);
        unlink("fifo");
        endpoint = open_fd(fds[0], "");
        check_eq(try_receive(endpoint, text, sizeof(text), CONFAB_NOW), -EAGAIN);
        send_text(endpoint, "to myself");
        check_eq(try_receive(endpoint, text, sizeof(text), CONFAB_NOW), 1);
        check_str(text, "to myself");
        confab_close(endpoint);
        endpoint = open_fd(fds[0], "?direction=receive");
        check_eq(try_send(endpoint, "x", soon()), -EOPNOTSUPP);
        confab_close(endpoint);
        close(fds[0]);
}

TEST(files) {
        confab_endpoint *endpoint;
        char text[16];
        int fd = open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        endpoint = open_fd(fd, "");
        send_text(endpoint, "one");
        send_text(endpoint, "two");
        check_eq(lseek(fd, 1, SEEK_SET), 1);
        check_eq(try_receive(endpoint, text, sizeof(text), CONFAB_NOW), 1);
        check_str(text, "netwo");
        check_eq(try_receive(endpoint, text, sizeof(text), CONFAB_NOW), 0);
        confab_close(endpoint);
        close(fd);
        fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
        endpoint = open_fd(fd, "?take");
        check_eq(try_send(endpoint, "x", soon()), -ENOSPC);
        confab_close(endpoint);
}

TEST(terminals) {
        confab_endpoint *master, *slave;
        int master_fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave_fd;
        char text[64];

        if (master_fd < 0 || grantpt(master_fd) < 0 || unlockpt(master_fd) < 0)
                skip("no pseudo-terminals here");
        slave_fd = open(ptsname(master_fd), O_RDWR | O_NOCTTY | O_CLOEXEC);
        master = open_fd(master_fd, "?take");
        slave = open_fd(slave_fd, "?take");
        check_eq(try_receive(slave, text, sizeof(text), CONFAB_NOW), -EAGAIN);
        send_text(master, "typed\n");
        receive_text(slave, "typed\n");
        check_eq(try_receive(master, text, sizeof(text), soon()), 1); /* the echo */
        send_text(slave, "shown");
        receive_text(master, "shown");
        confab_close(slave);
        check_eq(try_receive(master, text, sizeof(text), soon()), 0);
        confab_close(master);
}

/*
 * A terminal that nobody reads: a blocking write would wait for ever although it polls ready. At every fill, with and without the newline
 * that needs two bytes, sending ends at its deadline, and without burning the processor meanwhile.
 */
TEST_TIMEOUT(stuck_terminal_does_not_hold_a_sender, 30) {
        static const char *const pieces[] = {"\n", "x\n", "xx", "0123456789012345678901234567890123456789\n"};
        static char block[10000];

        for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++)
                for (size_t odd = 0; odd < 2; odd++) {
                        int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
                        struct confab_message message;
                        struct timespec began, ended;
                        confab_endpoint *endpoint;
                        int64_t n, begun_ns;

                        if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
                                skip("no pseudo-terminals here");
                        endpoint = open_fd(open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC), "?take");
                        for (size_t at = 0; at < sizeof(block); at++)
                                block[at] = pieces[i][at % strlen(pieces[i])];
                        message = confab_message_of(block, odd);
                        check_eq(confab_send(endpoint, &message, CONFAB_NOW), odd);
                        message.data_len = sizeof(block);
                        /* The kernel moves bytes on for a while, which makes room again. */
                        while ((n = confab_send(endpoint, &message, after_ms(100))) > 0)
                                ;
                        check_eq(n, -ETIMEDOUT);
                        check_eq(confab_send(endpoint, &message, CONFAB_NOW), -EAGAIN);
                        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &began);
                        begun_ns = confab_now();
                        message.data_len = 1000;
                        check_eq(confab_send(endpoint, &message, after_ms(100)), -ETIMEDOUT);
                        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ended);
                        check(confab_now() - begun_ns >= 100000000);
                        check((ended.tv_sec - began.tv_sec) * 1000000000 + ended.tv_nsec - began.tv_nsec <
                              50000000);
                        confab_close(endpoint);
                        close(master);
                }
}

TEST(unix_stream_carries_descriptors) {
        confab_endpoint *ends[2];
        struct confab_properties properties = {.size = sizeof(properties)};
        struct confab_message message = confab_message_of("with", 4), got = confab_message_of(NULL, 0);
        struct confab_peer peer = {.size = sizeof(peer)};
        char text[16];
        int fds[2], passed[2], taken;

        check_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        check_eq(pipe2(passed, O_CLOEXEC), 0);
        for (int i = 0; i < 2; i++)
                ends[i] = open_fd(fds[i], "?take");
        check_ok(confab_endpoint_properties(&properties, ends[0]));
        check_eq(properties.descriptors, CONFAB_YES);
        check_eq(properties.half_close, CONFAB_YES);
        check_eq(properties.residue, CONFAB_RESIDUE_NONE);
        check_ok(confab_peer(ends[0], &peer));
        check_eq(peer.pid, getpid());
        message.descriptors = passed;
        message.n_descriptors = 1;
        check_eq(confab_send(ends[0], &message, CONFAB_NOW), 4);
        check_eq(confab_receive(ends[1], &got, NULL, soon()), 1);
        check_eq(got.n_descriptors, 1);
        taken = confab_take_descriptor(&got, 0);
        check_ok(taken);
        confab_release(ends[1], &got);
        check_eq(write(passed[1], "through", 7), 7);
        check_eq(read(taken, text, sizeof(text)), 7);
        close(taken);
        close(passed[0]);
        close(passed[1]);
        check_eq(try_receive(ends[1], text, sizeof(text), CONFAB_NOW), -EAGAIN);
        check_ok(confab_shutdown(ends[0], CONFAB_SEND, CONFAB_NOW));
        check_eq(try_receive(ends[1], text, sizeof(text), soon()), 0);
        send_text(ends[1], "back");
        receive_text(ends[0], "back");
        check_str(confab_address(ends[0]), address_of(fds[0], "?take"));
        confab_close(ends[0]);
        confab_close(ends[1]);
        check(!is_open(fds[0]) && !is_open(fds[1]));
}

TEST(seqpacket_and_datagram_keep_boundaries) {
        const int types[] = {SOCK_SEQPACKET, SOCK_DGRAM};
        confab_endpoint *ends[2], *refused = NULL;
        char text[16];
        int fds[2];

        for (int t = 0; t < 2; t++) {
                check_eq(socketpair(AF_UNIX, types[t] | SOCK_CLOEXEC, 0, fds), 0);
                check_eq(confab_open(&refused, address_of(fds[0], "?frame=line"), NULL, CONFAB_NOW),
                         -EOPNOTSUPP);
                for (int i = 0; i < 2; i++)
                        ends[i] = open_fd(fds[i], "?take");
                send_text(ends[0], "one");
                send_text(ends[0], "");
                send_text(ends[0], "three");
                receive_text(ends[1], "one");
                receive_text(ends[1], "");
                receive_text(ends[1], "three");
                confab_close(ends[0]);
                if (types[t] == SOCK_SEQPACKET)
                        check_eq(try_receive(ends[1], text, sizeof(text), soon()), 0);
                confab_close(ends[1]);
        }
}

/* A listening socket on loopback, its address in *@name. */
static int listening_socket(int type, struct sockaddr_in *name) {
        int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
        socklen_t len = sizeof(*name);

        *name = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        check_eq(bind(fd, (struct sockaddr *)name, sizeof(*name)), 0);
        check_eq(getsockname(fd, (struct sockaddr *)name, &len), 0);
        if (type == SOCK_STREAM)
                check_eq(listen(fd, 8), 0);
        return fd;
}

TEST(listening_socket_accepts) {
        confab_endpoint *listener, *server, *client, *refused = NULL;
        struct sockaddr_in name;
        struct confab_peer peer = {.size = sizeof(peer)};
        char address[64], text[64];
        int fd = listening_socket(SOCK_STREAM, &name);

        check_eq(confab_open(&refused, address_of(fd, ""), NULL, CONFAB_NOW), -EINVAL);
        check_says("confab_listen");
        for (int take = 0; take < 2; take++) {
                check_ok(confab_listen(&listener, address_of(fd, take ? "?take" : ""), NULL, CONFAB_NOW));
                check_eq(!!(fcntl(fd, F_GETFL) & O_NONBLOCK), take);
                check_eq(confab_accept(&server, listener, CONFAB_NOW), -EAGAIN);
                check_eq(confab_accept(&server, listener, after_ms(20)), -ETIMEDOUT);
                snprintf(address, sizeof(address), "tcp://127.0.0.1:%d", ntohs(name.sin_port));
                check_ok(confab_open(&client, address, NULL, soon()));
                check_ok(confab_accept(&server, listener, soon()));
                check_ok(confab_peer(server, &peer));
                check(confab_peer_address(&peer, text, sizeof(text)) > 0);
                check(strncmp(text, "tcp://127.0.0.1:", 16) == 0);
                send_text(client, "hello");
                receive_text(server, "hello");
                confab_close(server);
                confab_close(client);
                confab_close(listener);
                check_eq(is_open(fd), !take);
        }
}

TEST(unix_listening_socket_accepts) {
        confab_endpoint *listener, *server, *client;
        struct confab_properties properties = {.size = sizeof(properties)};
        struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "sock"};
        char address[4200], folder[4000], text[16];
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        check_eq(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
        check_eq(listen(fd, 8), 0);
        check_ok(confab_listen(&listener, address_of(fd, "?take"), NULL, CONFAB_NOW));
        check_ok(confab_endpoint_properties(&properties, listener));
        check_eq(properties.connection, CONFAB_CONNECTION_ACCEPTED);
        check_eq(properties.addressing, CONFAB_ADDRESSING_NUMBER);
        check(getcwd(folder, sizeof(folder)) != NULL);
        snprintf(address, sizeof(address), "unix://%s/sock?type=seqpacket", folder);
        check_ok(confab_open(&client, address, NULL, soon()));
        check_ok(confab_accept(&server, listener, soon()));
        send_text(client, "");
        receive_text(server, "");
        confab_close(client);
        check_eq(try_receive(server, text, sizeof(text), soon()), 0);
        confab_close(server);
        confab_close(listener);
        check_eq(access("sock", F_OK), 0); /* it was not ours to remove */
        unlink("sock");
}

TEST(udp_socket_answers_its_senders) {
        confab_endpoint *server, *client;
        struct confab_message message = confab_message_of(NULL, 0), answer;
        struct sockaddr_in name;
        char address[64];
        int fd = listening_socket(SOCK_DGRAM, &name);

        check_ok(confab_listen(&server, address_of(fd, "?take"), NULL, CONFAB_NOW));
        snprintf(address, sizeof(address), "udp://127.0.0.1:%d", ntohs(name.sin_port));
        check_ok(confab_open(&client, address, NULL, CONFAB_NOW));
        send_text(client, "ask");
        check_eq(confab_receive(server, &message, NULL, soon()), 1);
        check(message.peer != NULL);
        answer = confab_message_of("answer", 6);
        answer.peer = message.peer;
        check_eq(confab_send(server, &answer, soon()), 6);
        confab_release(server, &message);
        receive_text(client, "answer");
        confab_close(server);
        confab_close(client);
}

/* Descriptors 3, 4 and 5 as a service manager passes them. */
TEST(names_of_passed_descriptors) {
        confab_endpoint *endpoint = NULL;
        char pid[24], text[16];
        int fds[2];

        for (int fd = 3; fd < 6; fd++)
                check(!is_open(fd));
        check_eq(confab_open(&endpoint, "fd://feed", NULL, CONFAB_NOW), -ENOENT);
        check_says("LISTEN_FDS");
        check_eq(pipe(fds), 0);
        check_eq(fds[0], 3);
        check_eq(dup(3), 5);
        snprintf(pid, sizeof(pid), "%d", (int)getpid());
        setenv("LISTEN_PID", pid, 1);
        setenv("LISTEN_FDS", "3", 1);
        setenv("LISTEN_FDNAMES", "feed:sink:feed", 1);
        check_ok(confab_open(&endpoint, "fd://sink?take", NULL, CONFAB_NOW));
        send_text(endpoint, "named");
        confab_close(endpoint);
        check(!is_open(4));
        check_eq(confab_open(&endpoint, "fd://feed", NULL, CONFAB_NOW), -EEXIST);
        check_says("fd://3");
        setenv("LISTEN_FDNAMES", "feed:sink:other", 1);
        check_ok(confab_open(&endpoint, "fd://feed", NULL, CONFAB_NOW));
        check_eq(try_receive(endpoint, text, sizeof(text), CONFAB_NOW), 1);
        check_str(text, "named");
        confab_close(endpoint);
        check_eq(confab_open(&endpoint, "fd://nothing", NULL, CONFAB_NOW), -ENOENT);
        check_says("feed:sink:other");
        setenv("LISTEN_FDS", "1", 1); /* fewer than names */
        check_eq(confab_open(&endpoint, "fd://other", NULL, CONFAB_NOW), -ENOENT);
        setenv("LISTEN_PID", "1", 1);
        check_eq(confab_open(&endpoint, "fd://feed", NULL, CONFAB_NOW), -ENOENT);
        check_says("for process 1");
        close(3);
        close(5);
}

/* The whole way round: an end prepared by confab_inherit is found again by the program that exec brings. */
TEST(inherited_through_exec) {
        confab_endpoint *ends[2];
        char address[64], command[128], text[32];
        int status;
        pid_t pid;

        check_ok(confab_pair(ends, "pipe://", NULL));
        check_ok(confab_inherit(ends[1], address, sizeof(address)));
        check(strncmp(address, "fd://", 5) == 0);
        pid = fork();
        if (pid == 0) {
                snprintf(command, sizeof(command), "echo from exec >&%d", atoi(address + 5));
                execl("/bin/sh", "sh", "-c", command, (char *)NULL);
                _exit(127);
        }
        confab_close(ends[1]);
        check_eq(waitpid(pid, &status, 0), pid);
        check_eq(status, 0);
        receive_text(ends[0], "from exec\n");
        check_eq(try_receive(ends[0], text, sizeof(text), soon()), 0);
        confab_close(ends[0]);
}

TEST(framed_over_a_lent_pipe) {
        confab_endpoint *receiver, *sender;
        char text[16];
        int fds[2];

        check_eq(pipe2(fds, O_CLOEXEC), 0);
        receiver = open_fd(fds[0], "?take&frame=line");
        sender = open_fd(fds[1], "?take&frame=line");
        send_text(sender, "one");
        send_text(sender, "two");
        receive_text(receiver, "one");
        receive_text(receiver, "two");
        confab_close(sender);
        check_eq(try_receive(receiver, text, sizeof(text), soon()), 0);
        confab_close(receiver);
}

TEST(closed_under_its_feet) {
        confab_endpoint *endpoint;
        int fds[2];
        char text[8];

        check_eq(pipe2(fds, O_CLOEXEC), 0);
        endpoint = open_fd(fds[0], "");
        close(fds[0]);
        close(fds[1]);
        check_eq(try_receive(endpoint, text, sizeof(text), CONFAB_NOW), -EBADF);
        check_says("is not open");
        confab_close(endpoint);
}
