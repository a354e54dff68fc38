/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include "conversation.h"
#include "harness.h"

#include <confab/confab.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int kept[2] = {-1, -1}; /* the test's own ends, which its child must not hold */

/* Runs @run in a process whose standard streams are @input and @output (-1: closed), both closed here; returns its pid. */
static pid_t with_streams(int input, int output, void (*run)(void)) {
        pid_t pid = fork();

        if (pid) {
                if (input >= 0)
                        close(input);
                if (output >= 0 && output != input)
                        close(output);
                return pid;
        }
        close(kept[0]);
        close(kept[1]);
        if (input < 0)
                close(0);
        else
                check_eq(dup2(input, 0), 0);
        if (output < 0)
                close(1);
        else
                check_eq(dup2(output, 1), 1);
        if (input > 2)
                close(input);
        if (output > 2 && output != input)
                close(output);
        run();
        _exit(0);
}

/* The same between two pipes: what is written to *@to is its input, *@from has its output. */
static pid_t between_pipes(int *to, int *from, void (*run)(void)) {
        int in[2], out[2];

        check_eq(pipe2(in, O_CLOEXEC), 0);
        check_eq(pipe2(out, O_CLOEXEC), 0);
        kept[0] = *to = in[1];
        kept[1] = *from = out[0];
        return with_streams(in[0], out[1], run);
}

/* Sends back what it receives, up to the end. */
static void echo(void) {
        confab_endpoint *endpoint;
        char text[70000];
        int r;

        check_ok(confab_open(&endpoint, "stdio://", NULL, CONFAB_NOW));
        while ((r = try_receive(endpoint, text, sizeof(text), soon())) == 1)
                check_eq(try_send(endpoint, text, soon()), strlen(text));
        check_eq(r, 0);
        confab_close(endpoint);
        check_eq(fcntl(0, F_GETFL) & O_NONBLOCK, 0);
        check_eq(fcntl(1, F_GETFL) & O_NONBLOCK, 0);
}

TEST(pipes) {
        int to, from;
        char text[16];
        pid_t pid = between_pipes(&to, &from, echo);

        check_eq(write(to, "hello", 5), 5);
        check_eq(read(from, text, sizeof(text)), 5);
        check_mem(text, "hello", 5);
        close(to);
        check_eq(read(from, text, sizeof(text)), 0);
        close(from);
        ended_well(pid);
}

TEST(files) {
        int input = open("input", O_RDWR | O_CREAT | O_CLOEXEC, 0600), output;
        struct stat st;

        for (int i = 0; i < 3000; i++)
                check_eq(write(input, "0123456789012345678901234567890123456789", 40), 40);
        check_eq(lseek(input, 0, SEEK_SET), 0);
        output = open("output", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ended_well(with_streams(input, output, echo));
        check_eq(stat("output", &st), 0);
        check_eq(st.st_size, 120000);
}

TEST(one_socket_for_both) {
        int fds[2];
        char text[16];
        pid_t pid;

        check_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        kept[0] = fds[0];
        pid = with_streams(fds[1], fds[1], echo);
        check_eq(write(fds[0], "hello", 5), 5);
        check_eq(read(fds[0], text, sizeof(text)), 5);
        check_eq(shutdown(fds[0], SHUT_WR), 0);
        check_eq(read(fds[0], text, sizeof(text)), 0);
        close(fds[0]);
        ended_well(pid);
}

TEST(a_terminal) {
        int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
        char text[64];
        pid_t pid;

        if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
                skip("no pseudo-terminals here");
        slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
        pid = with_streams(slave, slave, echo);
        check_eq(write(master, "hi\n", 3), 3);
        for (size_t len = 0; len < 8;) { /* its echo and ours, each with a carriage return */
                ssize_t n = read(master, text, sizeof(text));

                check(n > 0);
                len += (size_t)n;
        }
        check_eq(write(master, "\4", 1), 1); /* end of file, typed */
        ended_well(pid);
        close(master);
}

/* Half-close: the one behind the pipe sees the end while the other direction goes on. */
static void half_close(void) {
        confab_endpoint *endpoint;
        char text[16];
        struct stat st, null;

        check_ok(confab_open(&endpoint, "stdio://", NULL, CONFAB_NOW));
        send_text(endpoint, "all");
        check_ok(confab_shutdown(endpoint, CONFAB_SEND, CONFAB_NOW));
        check_ok(confab_shutdown(endpoint, CONFAB_SEND, CONFAB_NOW));
        check_eq(try_send(endpoint, "more", soon()), -EPIPE);
        receive_text(endpoint, "after");
        check_ok(confab_shutdown(endpoint, CONFAB_RECEIVE, CONFAB_NOW));
        check_eq(try_receive(endpoint, text, sizeof(text), CONFAB_NOW), 0);
        confab_close(endpoint);
        /* The numbers stay taken: no file the program opens later becomes its standard output. */
        if (fstat(1, &st) == 0 && !S_ISSOCK(st.st_mode)) {
                check_eq(stat("/dev/null", &null), 0);
                check_eq(st.st_rdev, null.st_rdev);
        }
}

TEST(half_close_of_pipes) {
        int to, from;
        char text[16];
        pid_t pid = between_pipes(&to, &from, half_close);

        check_eq(read(from, text, sizeof(text)), 3);
        check_eq(read(from, text, sizeof(text)), 0);
        check_eq(write(to, "after", 5), 5);
        ended_well(pid);
        close(to);
        close(from);
}

TEST(half_close_of_a_socket) {
        int fds[2];
        char text[16];
        pid_t pid;

        check_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        kept[0] = fds[0];
        pid = with_streams(fds[1], fds[1], half_close);
        check_eq(read(fds[0], text, sizeof(text)), 3);
        check_eq(read(fds[0], text, sizeof(text)), 0);
        check_eq(write(fds[0], "after", 5), 5);
        ended_well(pid);
        close(fds[0]);
}

static void only_output(void) {
        struct confab_properties properties = {.size = sizeof(properties)};
        confab_endpoint *endpoint = NULL;
        char text[512];

        check_eq(confab_open(&endpoint, "stdio://?direction=receive", NULL, CONFAB_NOW), -EBADF);
        confab_explain(text, sizeof(text));
        check(strstr(text, "descriptor 0 is not open") != NULL);
        check_ok(confab_open(&endpoint, "stdio://", NULL, CONFAB_NOW));
        check_ok(confab_endpoint_properties(&properties, endpoint));
        check_eq(properties.direction, CONFAB_DIRECTION_SIMPLEX);
        check_eq(try_receive(endpoint, text, sizeof(text), CONFAB_NOW), -EOPNOTSUPP);
        send_text(endpoint, "out");
        confab_close(endpoint);
}

TEST(what_is_not_open_is_left_out) {
        int out[2];
        char text[16];
        pid_t pid;

        check_eq(pipe2(out, O_CLOEXEC), 0);
        pid = with_streams(-1, out[1], only_output);
        check_eq(read(out[0], text, sizeof(text)), 3);
        ended_well(pid);
        close(out[0]);
}

static void wrong_directions(void) {
        confab_endpoint *endpoint = NULL;

        check_eq(confab_open(&endpoint, "stdio://?direction=receive", NULL, CONFAB_NOW), -EOPNOTSUPP);
        check_eq(confab_open(&endpoint, "stdio://?direction=send", NULL, CONFAB_NOW), -EOPNOTSUPP);
        check_eq(confab_open(&endpoint, "stdio://", NULL, CONFAB_NOW), -EBADF);
        check_eq(confab_open(&endpoint, "stdio://1", NULL, CONFAB_NOW), -EINVAL);
}

TEST(access_modes_are_looked_at) {
        int fds[2];

        check_eq(pipe2(fds, O_CLOEXEC), 0);
        ended_well(with_streams(fds[1], fds[0], wrong_directions));
}

static void to_nobody(void) {
        confab_endpoint *endpoint;

        check_ok(confab_open(&endpoint, "stdio://", NULL, CONFAB_NOW));
        check_eq(try_send(endpoint, "x", soon()), -EPIPE);
        confab_close(endpoint);
}

TEST(reader_gone_is_an_error) {
        int out[2];

        check_eq(pipe2(out, O_CLOEXEC), 0);
        close(out[0]);
        ended_well(with_streams(-1, out[1], to_nobody));
}
