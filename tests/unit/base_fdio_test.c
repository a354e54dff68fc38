/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include "base/fdio.h"
#include "base/sigpipe.h"
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int64_t put(int fd, enum cfb_fd_way way, const void *data, size_t len) {
        struct iovec part = {(void *)(uintptr_t)data, len};

        return cfb_fd_write(fd, way, &part, 1);
}

static int64_t take(int fd, enum cfb_fd_way way, void *data, size_t cap) {
        return cfb_fd_read(fd, way, data, cap);
}

/* Writes until it would wait; how many bytes fitted. */
static size_t fill(int fd, enum cfb_fd_way way) {
        static const unsigned char block[10000];
        size_t total = 0;
        int64_t n;

        while ((n = put(fd, way, block, sizeof(block))) > 0)
                total += (size_t)n;
        check_eq(n, -EAGAIN);
        return total;
}

static void drain(int fd, enum cfb_fd_way way, size_t expected) {
        unsigned char block[10000];
        size_t total = 0;
        int64_t n;

        while ((n = take(fd, way, block, sizeof(block))) > 0)
                total += (size_t)n;
        check_eq(n, -EAGAIN);
        check_eq(total, expected);
}

/* Both ends, blocking descriptions all along: empty, a message, full, drained, the end. */
static void both_ends(int reader, int writer, enum cfb_fd_way way) {
        char data[8];

        check_eq(take(reader, way, data, sizeof(data)), -EAGAIN);
        check_eq(put(writer, way, "hello", 5), 5);
        check_eq(take(reader, way, data, sizeof(data)), 5);
        check_mem(data, "hello", 5);
        drain(reader, way, fill(writer, way));
        check_eq(fcntl(reader, F_GETFL) & O_NONBLOCK, 0);
        check_eq(fcntl(writer, F_GETFL) & O_NONBLOCK, 0);
        check_eq(put(writer, way, "last", 4), 4);
        close(writer);
        check_eq(take(reader, way, data, sizeof(data)), 4);
        check_eq(take(reader, way, data, sizeof(data)), 0);
        close(reader);
}

TEST(ways_are_told_by_kind) {
        int fds[2], fd;

        check_eq(pipe2(fds, O_CLOEXEC), 0);
        check_eq(cfb_fd_way(fds[0]), CFB_FD_NOWAIT);
        check_eq(fcntl(fds[0], F_SETFL, O_NONBLOCK), 0);
        check_eq(cfb_fd_way(fds[0]), CFB_FD_OWN);
        close(fds[0]);
        close(fds[1]);
        check_eq(cfb_fd_way(fds[1]), -EBADF);

        check_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        check_eq(cfb_fd_way(fds[0]), CFB_FD_SOCKET);
        close(fds[0]);
        close(fds[1]);

        fd = open(".", O_RDONLY | O_CLOEXEC);
        check_eq(cfb_fd_way(fd), -EISDIR);
        close(fd);
        fd = open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        check_eq(cfb_fd_way(fd), CFB_FD_FILE);
        close(fd);
        fd = open("file", O_PATH | O_CLOEXEC);
        check_eq(cfb_fd_way(fd), -EBADF);
        close(fd);
        fd = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (fd >= 0)
                check_eq(cfb_fd_way(fd), CFB_FD_POLLED);
        close(fd);
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        check_eq(cfb_fd_way(fd), CFB_FD_NOWAIT);
        check_eq(put(fd, CFB_FD_NOWAIT, "x", 1), 1);
        check_eq(take(fd, CFB_FD_NOWAIT, &(char){0}, 1), 0);
        close(fd);
}

TEST(pipe_without_waiting) {
        int fds[2];

        check_eq(pipe2(fds, O_CLOEXEC), 0);
        both_ends(fds[0], fds[1], CFB_FD_NOWAIT);
}

/* What a kernel before 6.4 leaves us. */
TEST(pipe_polled) {
        int fds[2];

        check_eq(pipe2(fds, O_CLOEXEC), 0);
        both_ends(fds[0], fds[1], CFB_FD_POLLED);
}

TEST(socket_without_waiting) {
        int fds[2];

        check_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        both_ends(fds[0], fds[1], CFB_FD_SOCKET);
}

static void open_fifo(int fds[2]) {
        check_eq(mkfifo("fifo", 0600), 0);
        fds[0] = open("fifo", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        fds[1] = open("fifo", O_WRONLY | O_CLOEXEC);
        check(fds[0] >= 0 && fds[1] >= 0);
        check_eq(fcntl(fds[0], F_SETFL, 0), 0);
        unlink("fifo");
}

TEST(fifo_is_polled) {
        int fds[2];

        open_fifo(fds);
        check_eq(cfb_fd_way(fds[0]), CFB_FD_POLLED);
        both_ends(fds[0], fds[1], CFB_FD_POLLED);
}

/* A FIFO refuses RWF_NOWAIT up to 6.18 at least: the call goes on polled, and pipes keep their better way. */
TEST(refused_flag_falls_back) {
        int fds[2];

        open_fifo(fds);
        both_ends(fds[0], fds[1], CFB_FD_NOWAIT);
        check_eq(pipe2(fds, O_CLOEXEC), 0);
        check_eq(cfb_fd_way(fds[0]), CFB_FD_NOWAIT);
        close(fds[0]);
        close(fds[1]);
}

TEST(eventfd_both_ways) {
        int fd = eventfd(0, EFD_CLOEXEC);
        enum cfb_fd_way way = (enum cfb_fd_way)cfb_fd_way(fd);
        uint64_t value = 7;

        check_eq(take(fd, way, &value, sizeof(value)), -EAGAIN);
        check_eq(put(fd, way, &value, sizeof(value)), 8);
        value = 0;
        check_eq(take(fd, way, &value, sizeof(value)), 8);
        check_eq(value, 7);
        close(fd);
}

TEST(file_reads_to_its_end) {
        char data[8];
        int fd = open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        check_eq(put(fd, CFB_FD_FILE, "abc", 3), 3);
        check_eq(lseek(fd, 0, SEEK_SET), 0);
        check_eq(take(fd, CFB_FD_FILE, data, sizeof(data)), 3);
        check_eq(take(fd, CFB_FD_FILE, data, sizeof(data)), 0);
        close(fd);
}

TEST(many_small_parts_go_out_in_one_piece) {
        unsigned char source[PIPE_BUF], data[PIPE_BUF + 1];
        struct iovec parts[1024];
        int fds[2];

        open_fifo(fds);
        for (size_t i = 0; i < sizeof(source); i++)
                source[i] = (unsigned char)(i * 7);
        for (size_t i = 0; i < 1024; i++)
                parts[i] = (struct iovec){source + 4 * i, 4};
        check_eq(cfb_fd_write(fds[1], CFB_FD_POLLED, parts, 1024), PIPE_BUF);
        check_eq(take(fds[0], CFB_FD_POLLED, data, sizeof(data)), PIPE_BUF);
        check_mem(data, source, sizeof(source));
        close(fds[0]);
        close(fds[1]);
}

/* No way of writing lets SIGPIPE through, whatever its disposition is. */
TEST(reader_gone_is_an_error) {
        const enum cfb_fd_way ways[] = {CFB_FD_OWN, CFB_FD_NOWAIT, CFB_FD_POLLED};
        int fds[2];

        cfb_sigpipe_guard();
        for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
                check_eq(pipe2(fds, O_CLOEXEC), 0);
                close(fds[0]);
                check_eq(put(fds[1], ways[i], "x", 1), -EPIPE);
                close(fds[1]);
        }
        check_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        close(fds[0]);
        check_eq(put(fds[1], CFB_FD_SOCKET, "x", 1), -EPIPE);
        close(fds[1]);
}

TEST(terminal_without_waiting) {
        int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
        char data[8];

        if (master < 0 || grantpt(master) < 0 || unlockpt(master) < 0)
                skip("no pseudo-terminals here");
        slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
        check(slave >= 0);
        check_eq(cfb_fd_way(slave), CFB_FD_POLLED);
        check_eq(take(slave, CFB_FD_POLLED, data, sizeof(data)), -EAGAIN);
        check_eq(write(master, "hi\n", 3), 3);
        check_eq(take(slave, CFB_FD_POLLED, data, sizeof(data)), 3);
        check_eq(put(slave, CFB_FD_POLLED, "yo", 2), 2);
        close(slave);
        close(master);
}
