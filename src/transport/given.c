/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Descriptors that somebody else opened, and perhaps still uses: they are taken as they are.
 *
 * No flag of the description is changed, as the parent, the shell and other stages of a pipeline share it (base/fdio.c has the
 * ways of not waiting without O_NONBLOCK). What kind of thing it is decides the way of use and the properties; what one may do
 * with it is its access mode.
 *
 * A file is a stream that never waits: reading ends where the file does, at that moment.
 */
#include "transport/given.h"
#include "base/cleanup.h"
#include "base/sigpipe.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TERMINAL_NAP_NS = 2 * 1000 * 1000 };

int cfb_given_access(int fd) {
        int flags = fcntl(fd, F_GETFL);

        if (flags < 0)
                return -errno;
        if (flags & O_PATH)
                return 0;
        switch (flags & O_ACCMODE) {
        case O_RDONLY:
                return CONFAB_RECEIVE;
        case O_WRONLY:
                return CONFAB_SEND;
        default:
                return CONFAB_BOTH;
        }
}

static enum cfb_given_kind kind_of(int fd) {
        struct stat st;

        if (fstat(fd, &st) < 0)
                return CFB_GIVEN_OTHER;
        return S_ISFIFO(st.st_mode)                         ? CFB_GIVEN_PIPE
               : S_ISSOCK(st.st_mode)                       ? CFB_GIVEN_SOCKET
               : S_ISREG(st.st_mode) || S_ISBLK(st.st_mode) ? CFB_GIVEN_FILE
               : S_ISCHR(st.st_mode) && isatty(fd)          ? CFB_GIVEN_TERMINAL
                                                            : CFB_GIVEN_OTHER;
}

/* Writing to a terminal without waiting, where that can be had: else it goes on polled. */
static void own_terminal(struct cfb_given *given, int fd) {
        int own = cfb_fd_own_terminal(fd);

        if (own < 0)
                return;
        given->terminal_plus_1 = own + 1;
        given->way[CFB_SENDING] = CFB_FD_OWN;
}

void cfb_given_close(confab_endpoint *endpoint) {
        struct cfb_given *given = cfb_state(endpoint);

        if (given->terminal_plus_1)
                close(given->terminal_plus_1 - 1);
        given->terminal_plus_1 = 0;
}

int cfb_given_use(confab_endpoint *endpoint, int side, int fd) {
        struct cfb_given *given = cfb_state(endpoint);
        int way = cfb_fd_way(fd);

        if (way == -EBADF)
                return cfb_given_absent(&endpoint->address, fd);
        if (way < 0)
                return cfb_failed_with(way, "open", endpoint->address.text, NULL,
                                       way == -EISDIR ? "it is a folder" : NULL, 0, 0);
        given->way[side] = (enum cfb_fd_way)way;
        given->kind[side] = kind_of(fd);
        endpoint->fds[side] = fd;
        if (side == CFB_SENDING) {
                cfb_sigpipe_guard();
                if (given->kind[side] == CFB_GIVEN_TERMINAL && way == CFB_FD_POLLED)
                        own_terminal(given, fd);
        }
        return 0;
}

/* --- not open --- */

/* "0 (/dev/pts/3), 1 (pipe:[123])", at most @most of them: what /proc knows. */
static void append_open(char *text, size_t text_cap, size_t *used, int most) {
        DIR *folder = opendir("/proc/self/fd");
        const struct dirent *entry;
        int n = 0;

        while (folder && (entry = readdir(folder)) != NULL) {
                char target[64];
                ssize_t len;

                if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(folder))
                        continue;
                if (n++ >= most)
                        continue;
                len = readlinkat(dirfd(folder), entry->d_name, target, sizeof(target));
                cfb_append(text, text_cap, used, "%s%s (%.*s)", n > 1 ? ", " : "", entry->d_name,
                           len > 0 ? (int)len : 0, target);
        }
        if (n > most)
                cfb_append(text, text_cap, used, " and %d more", n - most);
        if (n == 0)
                cfb_append(text, text_cap, used, "none");
        if (folder)
                closedir(folder);
}

static size_t explain_absent(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used,
                   "%s: descriptor %" PRId64 " is not open in this process; open are: ", failure->subject,
                   failure->a);
        append_open(text, text_cap, &used, 12);
        return used;
}

int cfb_given_absent(const struct cfb_address *address, int fd) {
        return cfb_failed_with(-EBADF, "open", address->text, explain_absent, NULL, fd, 0);
}

/* --- properties --- */

static uint64_t capacity_of(int fd, enum cfb_given_kind kind) {
        int size = 0;
        socklen_t len = sizeof(size);

        if (kind == CFB_GIVEN_PIPE)
                size = fcntl(fd, F_GETPIPE_SZ);
        else if (kind == CFB_GIVEN_SOCKET && getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &len) < 0)
                size = 0;
        return size > 0 ? (uint64_t)size : 0;
}

void cfb_given_properties(struct confab_properties *properties, const confab_endpoint *endpoint) {
        const struct cfb_given *given = endpoint ? cfb_state(endpoint) : NULL;
        enum cfb_given_kind to = given ? given->kind[CFB_SENDING] : CFB_GIVEN_PIPE;
        int fd;

        properties->size = sizeof(*properties);
        properties->reach = CONFAB_REACH_FAMILY;
        properties->connection = CONFAB_CONNECTION_MADE;
        properties->direction = CONFAB_DIRECTION_DUPLEX;
        properties->order = CONFAB_ORDER_FIFO;
        properties->end = CONFAB_YES;
        properties->message_max = UINT64_MAX;
        properties->atomic_max = to == CFB_GIVEN_PIPE ? PIPE_BUF : to == CFB_GIVEN_FILE ? UINT64_MAX : 0;
        properties->peer_gone =
                to == CFB_GIVEN_FILE || to == CFB_GIVEN_OTHER ? CONFAB_GONE_UNNOTICED : CONFAB_GONE_ERROR;
        if (!endpoint)
                return;
        if (endpoint->fds[CFB_RECEIVING] < 0 || endpoint->fds[CFB_SENDING] < 0)
                properties->direction = CONFAB_DIRECTION_SIMPLEX;
        fd = endpoint->fds[CFB_SENDING] >= 0 ? CFB_SENDING : CFB_RECEIVING;
        properties->capacity = capacity_of(endpoint->fds[fd], given->kind[fd]);
}

/* --- using --- */

static bool is_shut(const confab_endpoint *endpoint, int side) {
        const struct cfb_given *given = cfb_state(endpoint);

        return __builtin_expect(atomic_load_explicit(&given->shut[side], memory_order_relaxed), false);
}

/*
 * A serial line with room for one byte polls ready and still refuses a newline, which it makes two bytes of: so one that has refused
 * after polling ready gets a nap. (Pseudo-terminals have room in steps of 256 bytes: there it does not happen.)
 */
int cfb_given_wait(confab_endpoint *endpoint, uint32_t direction, int64_t deadline_ns) {
        const struct cfb_given *given = cfb_state(endpoint);
        int side = direction == CONFAB_SEND ? CFB_SENDING : CFB_RECEIVING, r;

        r = cfb_wait_descriptor(endpoint, direction, endpoint->fds[side],
                                side == CFB_SENDING ? POLLOUT : POLLIN, deadline_ns);
        if (r < 0 || side != CFB_SENDING || !given->terminal_plus_1 || given->refused < 2)
                return r;
        return cfb_wait_nap(endpoint, direction, TERMINAL_NAP_NS, deadline_ns);
}

int cfb_given_descriptor(confab_endpoint *endpoint, uint32_t direction, struct pollfd *pollfd) {
        int side = direction == CONFAB_SEND ? CFB_SENDING : CFB_RECEIVING;

        if (endpoint->fds[side] < 0)
                return cfb_unsupported_of(endpoint, "descriptor",
                                          side == CFB_SENDING ? "sending" : "receiving");
        *pollfd =
                (struct pollfd){.fd = endpoint->fds[side], .events = side == CFB_SENDING ? POLLOUT : POLLIN};
        return 0;
}

int64_t cfb_given_send(confab_endpoint *endpoint, const struct confab_message *message) {
        struct cfb_given *given = cfb_state(endpoint);
        struct iovec whole = {(void *)(uintptr_t)message->data, message->data_len};
        int64_t n;

        if (is_shut(endpoint, CFB_SENDING))
                return cfb_failed(-EPIPE, "write", confab_address(endpoint));
        n = cfb_fd_write(given->terminal_plus_1 ? given->terminal_plus_1 - 1 : endpoint->fds[CFB_SENDING],
                         given->way[CFB_SENDING], message->n_iov ? message->iov : &whole,
                         message->n_iov ? message->n_iov : 1);
        given->refused = n == -EAGAIN ? given->refused + 1 : 0;
        if (n == -EBADF)
                return cfb_given_absent(&endpoint->address, endpoint->fds[CFB_SENDING]);
        return n < 0 && n != -EAGAIN ? cfb_failed((int)n, "write", confab_address(endpoint)) : n;
}

int cfb_given_receive(confab_endpoint *endpoint, struct confab_message *message, struct cfb_buffer **bufferp,
                      const struct confab_filter *filter) {
        const struct cfb_given *given = cfb_state(endpoint);
        struct cfb_buffer *buffer = *bufferp;
        int64_t n;

        (void)filter;
        if (is_shut(endpoint, CFB_RECEIVING))
                return 0;
        n = cfb_fd_read(endpoint->fds[CFB_RECEIVING], given->way[CFB_RECEIVING], buffer->bytes, buffer->cap);
        if (n > 0) {
                message->data_len = (uint64_t)n;
                return 1;
        }
        if (n == 0 || n == -EAGAIN)
                return (int)n;
        /* The master of a pseudo-terminal says EIO once its last slave is closed: that is its end. */
        if (n == -EIO && given->kind[CFB_RECEIVING] == CFB_GIVEN_TERMINAL &&
            ioctl(endpoint->fds[CFB_RECEIVING], TIOCGPTN, &(unsigned){0}) == 0)
                return 0;
        if (n == -EBADF)
                return cfb_given_absent(&endpoint->address, endpoint->fds[CFB_RECEIVING]);
        return cfb_failed((int)n, "read", confab_address(endpoint));
}
