/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * fd://N, fd://NAME - a descriptor this process was started with, or has got otherwise.
 *
 * Lent by default: used as it is, left open at close, no flag of it changed. With ?take it becomes the endpoint's: close-on-exec
 * at once (so that it is not passed on by accident), closed at confab_close. O_NONBLOCK is set on a taken listening socket only: any
 * other description may be shared with whoever passed it, and can do without. Directions are those of its access mode.
 *
 * A name is looked up by the protocol of sd_listen_fds(3): LISTEN_PID must be this process, LISTEN_FDS descriptors begin at 3,
 * LISTEN_FDNAMES names them in order. The environment is only read, so nothing is taken away from the program's own use.
 *
 * Pipes, FIFOs, terminals and files are used by given.c. A socket is used by the transport of its family: fd.c looks at what it is
 * and hands the endpoint over (descriptors, credentials, boundaries and accepting are then theirs), while the address stays fd://.
 */
#include "base/cleanup.h"
#include "transport/given.h"
#include "transport/socket.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FIRST_PASSED = 3 }; /* SD_LISTEN_FDS_START */

union fd_state {
        struct cfb_given given;
        unsigned char socket[256]; /* of the transport that a socket is handed to */
};

static void fd_properties(struct confab_properties *properties, const struct cfb_address *address,
                          const confab_endpoint *endpoint) {
        (void)address;
        *properties = (struct confab_properties){.addressing = CONFAB_ADDRESSING_NUMBER};
        cfb_given_properties(properties, endpoint);
        if (!endpoint && (address->direction == CONFAB_RECEIVE || address->direction == CONFAB_SEND))
                properties->direction = CONFAB_DIRECTION_SIMPLEX;
}

/* --- which one --- */

static bool is_number(const char *text) {
        return text[0] && text[strspn(text, "0123456789")] == '\0';
}

static int fd_check(const struct cfb_address *address) {
        if (!address->rest[0])
                return cfb_address_refuse(address, 0,
                                          "a descriptor is missing: fd://3, or fd://NAME of LISTEN_FDNAMES");
        if (is_number(address->rest) &&
            (strlen(address->rest) > 10 || strtoll(address->rest, NULL, 10) > INT_MAX))
                return cfb_address_refuse(address, 0, "no descriptor has so large a number");
        return 0;
}

static size_t explain_name(const struct cfb_failure *failure, char *text, size_t text_cap) {
        const char *count = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES"),
                   *pid = getenv("LISTEN_PID");
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: ", failure->subject);
        if (!count || !pid)
                cfb_append(text, text_cap, &used,
                           "no descriptors were passed by name: LISTEN_FDS and LISTEN_PID are not set (a "
                           "socket unit of systemd sets them, "
                           "systemd-socket-activate too)");
        else if (strtoll(pid, NULL, 10) != getpid())
                cfb_append(text, text_cap, &used,
                           "the descriptors passed are for process %.20s (LISTEN_PID), this is process %d",
                           pid, (int)getpid());
        else if (failure->a > 1)
                cfb_append(text, text_cap, &used,
                           "%" PRId64 " descriptors have that name, the first is fd://%" PRId64
                           ": give the number",
                           failure->a, failure->b);
        else
                cfb_append(text, text_cap, &used, "no descriptor has that name; there are %.20s: %.200s",
                           count, names ? names : "without names (LISTEN_FDNAMES)");
        return used;
}

/* Descriptor number of the name, or -ENOENT, -EEXIST where it is not the only one. */
static int find_name(const struct cfb_address *address) {
        const char *count = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES"),
                   *pid = getenv("LISTEN_PID");
        int64_t n_passed = count && pid && strtoll(pid, NULL, 10) == getpid() ? strtoll(count, NULL, 10) : 0;
        int found = -1, n_found = 0;

        for (int i = 0; names && i < n_passed; i++) {
                size_t len = strcspn(names, ":");

                if (strlen(address->rest) == len && memcmp(names, address->rest, len) == 0) {
                        if (n_found++ == 0)
                                found = FIRST_PASSED + i;
                }
                names = names[len] ? names + len + 1 : NULL;
        }
        if (n_found == 1)
                return found;
        return cfb_failed_with(n_found ? -EEXIST : -ENOENT, "open", address->text, explain_name, NULL,
                               n_found, found);
}

static int find(const struct cfb_address *address) {
        return is_number(address->rest) ? (int)strtol(address->rest, NULL, 10) : find_name(address);
}

/* --- opening --- */

/* A listening socket that is ours is O_NONBLOCK: accept takes no flag that says so. */
static int take(confab_endpoint *endpoint, int fd) {
        int flags = fcntl(fd, F_GETFD), status = fcntl(fd, F_GETFL);

        if (flags < 0 || status < 0 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0 ||
            (endpoint->listening && fcntl(fd, F_SETFL, status | O_NONBLOCK) < 0))
                return cfb_failed(-errno, "fcntl", endpoint->address.text);
        endpoint->owns_fds = true;
        return 0;
}

/* Refuses a direction that the access mode lacks; *@directionp: the ones to use. */
static int choose_direction(uint32_t *directionp, const struct cfb_address *address, int fd) {
        int access = cfb_given_access(fd);

        if (access < 0)
                return cfb_given_absent(address, fd);
        if (access == 0 || (address->direction & ~(uint32_t)access))
                return cfb_unsupported(
                        address, "open",
                        access == CONFAB_RECEIVE ? "sending: the descriptor is open for reading only"
                        : access == CONFAB_SEND
                                ? "receiving: the descriptor is open for writing only"
                                : "reading and writing: the descriptor only names a file (O_PATH)");
        *directionp = address->direction ? address->direction : (uint32_t)access;
        return 0;
}

static bool is_socket(int fd) {
        struct stat st;

        return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}

static int option_of(int fd, int option) {
        int value = -1;
        socklen_t len = sizeof(value);

        return getsockopt(fd, SOL_SOCKET, option, &value, &len) < 0 ? -1 : value;
}

/* A socket goes to the transport of its family: 0; 1 for a stream of another family, which is used as bytes. */
static int use_socket(confab_endpoint *endpoint, int fd, bool listen) {
        const struct cfb_address *address = &endpoint->address;
        int family = option_of(fd, SO_DOMAIN), type = option_of(fd, SO_TYPE),
            protocol = option_of(fd, SO_PROTOCOL);
        bool inet = family == AF_INET || family == AF_INET6, listening = option_of(fd, SO_ACCEPTCONN) == 1;

        assert(cfb_tr_unix.state_len <= sizeof(union fd_state) &&
               cfb_tr_tcp.state_len <= sizeof(union fd_state) &&
               cfb_tr_udp.state_len <= sizeof(union fd_state));
        if (listening && !listen)
                return cfb_failed_with(-EINVAL, "open", address->text, NULL,
                                       "it is a listening socket: use confab_listen", 0, 0);
        if (listen && !listening && type != SOCK_DGRAM)
                return cfb_failed_with(-EINVAL, "listen", address->text, NULL,
                                       "it is a socket that does not listen: use confab_open", 0, 0);
        if (address->frame && type != SOCK_STREAM)
                return cfb_unsupported(address, "open",
                                       "frame=: this socket keeps message boundaries by itself");
        if (family == AF_UNIX)
                return cfb_unix_adopt(endpoint, fd, type, listening);
        if (inet && type == SOCK_STREAM && protocol == IPPROTO_TCP)
                return cfb_tcp_adopt(endpoint, fd, listening);
        if (inet && type == SOCK_DGRAM && protocol == IPPROTO_UDP)
                return cfb_udp_adopt(endpoint, fd);
        if (type != SOCK_STREAM || listening)
                return cfb_unsupported(address, "open",
                                       "sockets of that family and type (unix, tcp and udp there are)");
        return 1;
}

static int use(confab_endpoint *endpoint, int fd, bool listening) {
        uint32_t direction = 0;
        int r;

        r = choose_direction(&direction, &endpoint->address, fd);
        if (r < 0)
                return r;
        if (is_socket(fd)) {
                r = use_socket(endpoint, fd, listening);
                if (r <= 0)
                        return r;
        }
        if (listening)
                return cfb_failed_with(-EINVAL, "listen", endpoint->address.text, NULL,
                                       "the descriptor is not a listening socket: use confab_open", 0, 0);
        if (direction & CONFAB_RECEIVE)
                r = cfb_given_use(endpoint, CFB_RECEIVING, fd);
        if (r >= 0 && (direction & CONFAB_SEND))
                r = cfb_given_use(endpoint, CFB_SENDING, fd);
        return r;
}

static int open_with(confab_endpoint *endpoint, bool listening) {
        int fd = find(&endpoint->address), r;

        endpoint->owns_fds = false; /* also after a failure: it is still the caller's then */
        if (fd < 0)
                return fd;
        r = use(endpoint, fd, listening);
        if (r < 0 || !endpoint->address.take)
                return r;
        return take(endpoint, fd);
}

static int fd_open(confab_endpoint *endpoint, int64_t deadline_ns) {
        (void)deadline_ns;
        return open_with(endpoint, false);
}

static int fd_listen(confab_endpoint *endpoint, int64_t deadline_ns) {
        (void)deadline_ns;
        return open_with(endpoint, true);
}

const struct cfb_transport cfb_tr_fd = {
        .scheme = "fd",
        .summary = "a descriptor that was inherited or passed, by number or name",
        .example = "fd://3?take",
        .keys = CFB_KEY(FRAME) | CFB_KEY(MAX) | CFB_KEY(DIRECTION) | CFB_KEY(TAKE),
        .state_len = sizeof(union fd_state),
        .properties = fd_properties,
        .check = fd_check,
        .open = fd_open,
        .listen = fd_listen,
        .send = cfb_given_send,
        .receive = cfb_given_receive,
        .wait = cfb_given_wait,
        .descriptor = cfb_given_descriptor,
        .close = cfb_given_close,
};
