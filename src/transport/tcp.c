/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * tcp:// - byte streams between machines, over IPv4 and IPv6.
 *
 * Opening tries each address the host's name has, in the order of the resolver (RFC 6724), until one answers. An address that
 * does not answer must not use up the time of those behind it: each gets its share of what is left of the deadline, without a
 * deadline five seconds; the last one all there is. The failure told is the last one's.
 *
 * A connection to a port of this machine that nobody listens on, out of the range the kernel gives to connecting sockets, can
 * meet itself (simultaneous open with one side). It would echo what is sent; it is recognised and counts as refused.
 *
 * TCP_NODELAY always: a program that sends a message means it to go now; small writes are gathered with confab_send_many or iov. The
 * listener has it set and accepted sockets inherit it, and the buffer sizes, from there: accepting is one system call.
 *
 * A listener has SO_REUSEADDR: else connections of its predecessor in TIME_WAIT keep the port for a minute. Two listeners on one port
 * are still refused (SO_REUSEPORT is not set).
 *
 * A process that dies leaves nothing: the kernel ends its connections, with a reset where data lay unread. A machine that
 * dies leaves the other side waiting: deadlines tell, TCP itself only when something is sent.
 */
#include "base/cleanup.h"
#include "base/error.h"
#include "base/hot.h"
#include "transport/inet.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct tcp_state {
        socklen_t peer_len; /* 0: a listener */
        union {
                struct sockaddr any;
                struct sockaddr_in in;
                struct sockaddr_in6 in6;
        } peer; /* kept: the kernel forgets it when the peer resets */
};

enum { ATTEMPT_NS_S = 5 };

CFB_HOT static void properties(struct confab_properties *properties, const struct cfb_address *address,
                               const struct confab_endpoint *endpoint) {
        (void)endpoint;
        *properties = (struct confab_properties){
                .size = sizeof(*properties),
                .addressing = address->transport == &cfb_tr_tcp ? CONFAB_ADDRESSING_HOST_PORT
                                                                : CONFAB_ADDRESSING_NUMBER, /* of fd:// */
                .reach = CONFAB_REACH_NETWORK,
                .connection = CONFAB_CONNECTION_ACCEPTED,
                .direction = CONFAB_DIRECTION_DUPLEX,
                .boundaries = CONFAB_BOUNDARIES_STREAM,
                .order = CONFAB_ORDER_FIFO,
                .loss = CONFAB_LOSS_NONE,
                .when_full = CONFAB_FULL_WAIT,
                .peer_gone = CONFAB_GONE_ERROR,
                .end = CONFAB_YES,
                .half_close = CONFAB_YES,
                .empty = CONFAB_NO,
                .descriptors = CONFAB_NO,
                .credentials = CONFAB_CREDENTIALS_NONE,
                .reply = CONFAB_NO,
                .types = CONFAB_NO,
                .waiting = CONFAB_WAITING_DESCRIPTOR,
                .in_place = CONFAB_NO,
                .residue = CONFAB_RESIDUE_NONE,
                .after_fork = CONFAB_FORK_SHARED,
                .message_max = UINT64_MAX,
                .atomic_max = 0, /* what does not fit at once goes out in parts */
                .capacity = 0,   /* the kernel sizes the buffers as it goes */
        };
}

/* --- connecting --- */

static bool met_itself(int fd, const struct sockaddr *to, socklen_t to_len) {
        struct cfb_socket_name own = {.len = sizeof(own.un)};

        if (getsockname(fd, &own.any, &own.len) < 0 || own.any.sa_family != to->sa_family)
                return false;
        if (to->sa_family == AF_INET) {
                const struct sockaddr_in *in = (const void *)to;

                return in->sin_port == own.in.sin_port && in->sin_addr.s_addr == own.in.sin_addr.s_addr;
        }
        return to_len >= sizeof(own.in6) &&
               ((const struct sockaddr_in6 *)(const void *)to)->sin6_port == own.in6.sin6_port &&
               memcmp(&((const struct sockaddr_in6 *)(const void *)to)->sin6_addr, &own.in6.sin6_addr, 16) ==
                       0;
}

/* The connection of @fd is under way: 0 when it stands, else what became of it. */
static int await_connection(struct confab_endpoint *endpoint, int fd, int64_t deadline_ns) {
        struct pollfd pollfd = {.fd = fd, .events = POLLOUT};
        socklen_t len = sizeof(int);
        int error = 0, r;

        /* to this very machine it is made within connect, but told by poll only */
        if (poll(&pollfd, 1, 0) != 1) {
                r = cfb_wait_descriptor(endpoint, CONFAB_SEND, fd, POLLOUT, deadline_ns);
                if (r < 0)
                        return r;
        }
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
                error = errno;
        return -error;
}

static int connect_to(int *fdp, struct confab_endpoint *endpoint, const struct addrinfo *info,
                      int64_t deadline_ns) {
        CFB_CLEANUP(cfb_closep) int fd = -1;
        struct tcp_state *state = cfb_state(endpoint);
        int one = 1, r;

        r = cfb_socket_new(&fd, endpoint, info->ai_family, SOCK_STREAM, SOCK_NONBLOCK);
        if (r < 0)
                return r;
        r = cfb_inet_bind_from(endpoint, fd, info->ai_family, SOCK_STREAM);
        if (r < 0)
                return r;
        if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
                return cfb_socket_failed(-errno, "setsockopt", endpoint);
        r = connect(fd, info->ai_addr, info->ai_addrlen) < 0 ? -errno : 0;
        if (r == -EINPROGRESS || r == -EINTR) {
                r = await_connection(endpoint, fd, deadline_ns);
                if (r == -EAGAIN || r == -EINTR || r == -ECANCELED)
                        return r;
        }
        if (r == 0 && met_itself(fd, info->ai_addr, info->ai_addrlen))
                r = -ECONNREFUSED;
        if (r == 0)
                r = cfb_socket_set_blocking(fd);
        /* EAGAIN of connect itself: no free local port (connect(2)) */
        if (r < 0)
                return cfb_inet_failed(r == -EAGAIN ? -EADDRNOTAVAIL : r, "connect", endpoint, info->ai_addr);
        state->peer_len = info->ai_addrlen;
        memcpy(&state->peer, info->ai_addr, info->ai_addrlen);
        *fdp = cfb_steal_fd(&fd);
        return 0;
}

/* How long the attempt with @n_left addresses behind it may take. */
static int64_t share_of(int64_t deadline_ns, unsigned n_left) {
        int64_t now_ns = confab_now();

        if (!n_left || deadline_ns <= CONFAB_NOW)
                return deadline_ns;
        if (deadline_ns == CONFAB_FOREVER)
                return now_ns + INT64_C(1000000000) * ATTEMPT_NS_S;
        return deadline_ns <= now_ns ? deadline_ns : now_ns + (deadline_ns - now_ns) / (n_left + 1);
}

static int open_tcp(struct confab_endpoint *endpoint, int64_t deadline_ns) {
        CFB_CLEANUP(cfb_inet_free) struct addrinfo *list = NULL;
        const struct cfb_address *address = &endpoint->address;
        unsigned n_left = 0;
        int fd = -1, r;

        r = cfb_inet_check_open(address);
        if (r >= 0)
                r = cfb_inet_look_up(&list, endpoint, address->rest, address->family, SOCK_STREAM, false);
        if (r < 0)
                return r;
        for (const struct addrinfo *info = list->ai_next; info; info = info->ai_next)
                n_left++;
        for (const struct addrinfo *info = list; info; info = info->ai_next, n_left--) {
                r = connect_to(&fd, endpoint, info, share_of(deadline_ns, n_left));
                if (r >= 0) {
                        cfb_socket_use(endpoint, fd);
                        return 0;
                }
                if (r == -EAGAIN || r == -EINTR || r == -ECANCELED)
                        break;
        }
        return r;
}

/* --- listening --- */

static int prepare_listener(int fd) {
        int one = 1;

        return setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
                               setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0
                       ? -errno
                       : 0;
}

static int listen_tcp(struct confab_endpoint *endpoint, int64_t deadline_ns) {
        CFB_CLEANUP(cfb_closep) int fd = -1;
        struct cfb_socket_name name = {.len = sizeof(name.un)};
        int r;

        (void)deadline_ns; /* only the look-up takes time, and nothing interrupts that */
        r = cfb_inet_listen(&fd, endpoint, SOCK_STREAM, SOCK_NONBLOCK, prepare_listener);
        if (r < 0)
                return r;
        if (listen(fd, (int)endpoint->address.backlog) < 0) {
                r = -errno; /* EADDRINUSE: another one with SO_REUSEADDR was bound, and listened first */
                return getsockname(fd, &name.any, &name.len) < 0
                               ? cfb_socket_failed(r, "listen", endpoint)
                               : cfb_inet_failed(r, "bind", endpoint, &name.any);
        }
        r = cfb_inet_name_chosen(endpoint, fd, "tcp");
        if (r < 0)
                return r;
        endpoint->listening = true;
        endpoint->fds[CFB_RECEIVING] = cfb_steal_fd(&fd);
        return 0;
}

CFB_HOT static int accept_tcp(struct confab_endpoint *endpoint, struct confab_endpoint *listener) {
        struct tcp_state *state = cfb_state(endpoint);
        struct cfb_socket_name name;
        int fd = -1, r;

        r = cfb_socket_accept(&fd, &name, listener);
        if (r < 0)
                return r;
        if (name.len <= sizeof(state->peer)) {
                state->peer_len = name.len;
                memcpy(&state->peer, &name.any, name.len);
        }
        cfb_socket_use(endpoint, fd);
        return 0;
}

int cfb_tcp_adopt(struct confab_endpoint *endpoint, int fd, bool listening) {
        struct tcp_state *state = cfb_state(endpoint);
        struct cfb_socket_name name = {.len = sizeof(name.un)};

        endpoint->transport = &cfb_tr_tcp;
        endpoint->listening = listening;
        if (!listening && getpeername(fd, &name.any, &name.len) == 0 && name.len <= sizeof(state->peer)) {
                state->peer_len = name.len;
                memcpy(&state->peer, &name.any, name.len);
        }
        cfb_socket_use(endpoint, fd);
        if (listening)
                endpoint->fds[CFB_SENDING] = -1;
        return 0;
}

/* --- using --- */

CFB_HOT static int64_t send_tcp(struct confab_endpoint *endpoint, const struct confab_message *message) {
        return cfb_socket_send(endpoint, message, NULL);
}

CFB_HOT static int receive_tcp(struct confab_endpoint *endpoint, struct confab_message *message,
                               struct cfb_buffer **bufferp, const struct confab_filter *filter) {
        (void)filter; /* the core refuses what properties do not have */
        return cfb_socket_receive(endpoint, message, *bufferp);
}

static int shutdown_tcp(struct confab_endpoint *endpoint, uint32_t direction) {
        return endpoint->listening ? cfb_unsupported_of(endpoint, "shutdown", "half-close of a listener")
                                   : cfb_socket_shutdown(endpoint, direction);
}

static int peer_of(const struct confab_endpoint *endpoint, struct confab_peer *peer) {
        const struct tcp_state *state = cfb_state(endpoint);
        struct cfb_socket_name name = {.len = state->peer_len};

        if (!state->peer_len)
                return cfb_failed_with(-ENOTCONN, "peer", confab_address(endpoint), NULL,
                                       "this end has no single peer", 0, 0);
        memcpy(&name.any, &state->peer, state->peer_len);
        cfb_socket_peer_set(peer, CFB_SOCKET_TCP, SOCK_STREAM, &name);
        return 0;
}

static size_t peer_address(const struct confab_peer *peer, char *text, size_t text_cap) {
        return cfb_inet_peer_address(peer, CFB_SOCKET_TCP, "tcp", text, text_cap);
}

const struct cfb_transport cfb_tr_tcp = {
        .scheme = "tcp",
        .summary = "byte stream between machines, IPv4 and IPv6",
        .example = "tcp://host:port",
        .keys = CFB_KEY(FRAME) | CFB_KEY(CAPACITY) | CFB_KEY(MAX) | CFB_KEY(DIRECTION) | CFB_KEY(BACKLOG) |
                CFB_KEY(FROM) | CFB_KEY(FAMILY),
        .state_len = sizeof(struct tcp_state),
        .properties = properties,
        .check = cfb_inet_check,
        .open = open_tcp,
        .listen = listen_tcp,
        .accept = accept_tcp,
        .send = send_tcp,
        .receive = receive_tcp,
        .shutdown = shutdown_tcp,
        .peer = peer_of,
        .peer_address = peer_address,
};
