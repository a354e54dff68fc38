/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * udp:// - datagrams between machines, over IPv4 and IPv6. They may be lost, doubled and overtaken; that is declared, not hidden.
 *
 * An opened endpoint is connected to its receiver: it receives from there alone, and what the network answers to a datagram nobody
 * wanted (ICMP) comes back as -ECONNREFUSED from the next call. A listener is bound: it receives from anyone, with the sender in
 * message.peer, and answers by giving that back.
 *
 * An answer must leave from the address that was asked, or the asker's connected socket drops it. A listener on every interface has
 * no address of its own: the kernel would take the one of the way back, on a machine with several (or 127.0.0.2) a wrong one. So
 * such a listener has the kernel note where each datagram arrived (IP_PKTINFO, IPV6_RECVPKTINFO); it travels in the opaque
 * peer and goes back with the answer. Listeners on one address, and opened ends, do without.
 *
 * No SO_REUSEADDR: for udp it would let a second process take the datagrams of the first.
 *
 * A sender that is faster than its receiver loses datagrams there, without a word (property when-full: drop).
 */
#include "base/cleanup.h"
#include "base/error.h"
#include "core/message.h"
#include "transport/inet.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum {
        MESSAGE_MAX = 65507 /* 65,535 less the headers of IPv4 and UDP; IPv6 alone would carry 20 more */,
        BUFFER = 65536
};

struct udp_state {
        bool connected;
        bool noting; /* where datagrams arrive, and sends them from there */
        int pending; /* what the next receive answers, a batch having ended before it */
};

/* Room for where a datagram arrived, of either family. */
union control {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo)) + CMSG_SPACE(sizeof(struct in_pktinfo))];
};

static void properties(struct confab_properties *properties, const struct cfb_address *address,
                       const struct confab_endpoint *endpoint) {
        (void)endpoint;
        *properties = (struct confab_properties){
                .size = sizeof(*properties),
                .addressing = address->transport == &cfb_tr_udp ? CONFAB_ADDRESSING_HOST_PORT
                                                                : CONFAB_ADDRESSING_NUMBER, /* of fd:// */
                .reach = CONFAB_REACH_NETWORK,
                .connection = CONFAB_CONNECTION_NONE,
                .direction = CONFAB_DIRECTION_DUPLEX,
                .boundaries = CONFAB_BOUNDARIES_MESSAGE,
                .order = CONFAB_ORDER_NONE,
                .loss = CONFAB_LOSS_POSSIBLE,
                .when_full = CONFAB_FULL_DROP,
                .peer_gone = CONFAB_GONE_ERROR,
                .end = CONFAB_NO,
                .half_close = CONFAB_NO,
                .empty = CONFAB_YES,
                .descriptors = CONFAB_NO,
                .credentials = CONFAB_CREDENTIALS_NONE,
                .reply = CONFAB_YES,
                .types = CONFAB_NO,
                .waiting = CONFAB_WAITING_DESCRIPTOR,
                .in_place = CONFAB_NO,
                .residue = CONFAB_RESIDUE_NONE,
                .after_fork = CONFAB_FORK_SHARED,
                .message_max = address->max < MESSAGE_MAX ? address->max : MESSAGE_MAX,
                .atomic_max = UINT64_MAX,
                .capacity = 0, /* the kernel counts its own overhead with every datagram */
        };
}

static size_t buffer_cap(const struct confab_endpoint *endpoint) {
        return endpoint->max < BUFFER ? (size_t)endpoint->max : BUFFER;
}

/* --- opening --- */

static int connect_to(int *fdp, const struct confab_endpoint *endpoint, const struct addrinfo *info) {
        CFB_CLEANUP(cfb_closep) int fd = -1;
        int r = cfb_socket_new(&fd, endpoint, info->ai_family, SOCK_DGRAM, 0);

        if (r >= 0)
                r = cfb_inet_bind_from(endpoint, fd, info->ai_family, SOCK_DGRAM);
        if (r < 0)
                return r;
        if (connect(fd, info->ai_addr, info->ai_addrlen) < 0) /* sends nothing, waits for nobody */
                return cfb_inet_failed(-errno, "connect", endpoint, info->ai_addr);
        *fdp = cfb_steal_fd(&fd);
        return 0;
}

static int open_udp(struct confab_endpoint *endpoint, int64_t deadline_ns) {
        CFB_CLEANUP(cfb_inet_free) struct addrinfo *list = NULL;
        const struct cfb_address *address = &endpoint->address;
        struct udp_state *state = cfb_state(endpoint);
        int fd = -1, r;

        (void)deadline_ns; /* only the look-up takes time, and nothing interrupts that */
        r = cfb_inet_check_open(address);
        if (r >= 0)
                r = cfb_inet_look_up(&list, endpoint, address->rest, address->family, SOCK_DGRAM, false);
        if (r < 0)
                return r;
        for (const struct addrinfo *info = list; info; info = info->ai_next) {
                r = connect_to(&fd, endpoint, info);
                if (r >= 0) {
                        state->connected = true;
                        cfb_socket_use(endpoint, fd);
                        return 0;
                }
        }
        return r;
}

static bool is_everywhere(const struct cfb_socket_name *name) {
        return name->any.sa_family == AF_INET ? name->in.sin_addr.s_addr == INADDR_ANY
                                              : IN6_IS_ADDR_UNSPECIFIED(&name->in6.sin6_addr);
}

static int note_arrivals(const struct confab_endpoint *endpoint, int fd, int family) {
        int one = 1, r;

        r = family == AF_INET ? setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof(one))
                              : setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one));
        return r < 0 ? cfb_socket_failed(-errno, "setsockopt", endpoint) : 0;
}

static int listen_udp(struct confab_endpoint *endpoint, int64_t deadline_ns) {
        struct udp_state *state = cfb_state(endpoint);
        struct cfb_socket_name name = {.len = sizeof(name.un)};
        CFB_CLEANUP(cfb_closep) int fd = -1;
        int r;

        (void)deadline_ns;
        r = cfb_inet_listen(&fd, endpoint, SOCK_DGRAM, 0, NULL);
        if (r < 0)
                return r;
        if (getsockname(fd, &name.any, &name.len) < 0)
                return cfb_socket_failed(-errno, "getsockname", endpoint);
        state->noting = is_everywhere(&name);
        r = state->noting ? note_arrivals(endpoint, fd, name.any.sa_family) : 0;
        if (r >= 0)
                r = cfb_inet_name_chosen(endpoint, fd, "udp");
        if (r < 0)
                return r;
        cfb_socket_use(endpoint, cfb_steal_fd(&fd));
        return 0;
}

int cfb_udp_adopt(struct confab_endpoint *endpoint, int fd) {
        struct udp_state *state = cfb_state(endpoint);
        struct cfb_socket_name name = {.len = sizeof(name.un)};
        int r = 0;

        endpoint->transport = &cfb_tr_udp;
        state->connected = getpeername(fd, &name.any, &name.len) == 0;
        name.len = sizeof(name.un);
        if (getsockname(fd, &name.any, &name.len) < 0)
                return cfb_socket_failed(-errno, "getsockname", endpoint);
        state->noting = !state->connected && is_everywhere(&name);
        if (state->noting)
                r = note_arrivals(endpoint, fd, name.any.sa_family);
        if (r >= 0)
                cfb_socket_use(endpoint, fd);
        return r;
}

/* --- sending --- */

/* A message's receiver and where it is to be sent from, laid into @header. */
struct way {
        struct cfb_socket_peer peer;
        union control control;
};

/* IPv4 within an IPv6 socket travels as IPv6, pktinfo included: one form for each family of the socket. */
static void lay_local(struct msghdr *header, struct way *way) {
        struct cmsghdr *head = &way->control.align;

        memset(&way->control, 0, sizeof(way->control));
        header->msg_control = &way->control;
        if (way->peer.local_family == AF_INET) {
                struct in_pktinfo info = {0};

                memcpy(&info.ipi_spec_dst, way->peer.inet.local, sizeof(info.ipi_spec_dst));
                *head = (struct cmsghdr){.cmsg_level = IPPROTO_IP,
                                         .cmsg_type = IP_PKTINFO,
                                         .cmsg_len = CMSG_LEN(sizeof(info))};
                memcpy(CMSG_DATA(head), &info, sizeof(info));
                header->msg_controllen = CMSG_SPACE(sizeof(info));
        } else {
                struct in6_pktinfo info = {.ipi6_ifindex = way->peer.inet.local_interface};

                memcpy(&info.ipi6_addr, way->peer.inet.local, sizeof(info.ipi6_addr));
                *head = (struct cmsghdr){.cmsg_level = IPPROTO_IPV6,
                                         .cmsg_type = IPV6_PKTINFO,
                                         .cmsg_len = CMSG_LEN(sizeof(info))};
                memcpy(CMSG_DATA(head), &info, sizeof(info));
                header->msg_controllen = CMSG_SPACE(sizeof(info));
        }
}

static int lay_receiver(struct msghdr *header, struct way *way, const struct confab_endpoint *endpoint,
                        const struct confab_message *message) {
        const struct udp_state *state = cfb_state(endpoint);

        if (!message->peer)
                return 0;
        if (cfb_socket_peer_read(&way->peer, message->peer, CFB_SOCKET_UDP) < 0 ||
            (way->peer.any.sa_family != AF_INET && way->peer.any.sa_family != AF_INET6))
                return cfb_socket_refused(-EINVAL, "send", confab_address(endpoint),
                                          "message.peer is not the sender of an udp datagram");
        header->msg_name = &way->peer.any;
        header->msg_namelen = way->peer.name_len;
        if (way->peer.local_family && state->noting)
                lay_local(header, way);
        return 0;
}

static int failed_send(const struct confab_endpoint *endpoint, int error,
                       const struct confab_message *message) {
        return error == -EMSGSIZE
                       ? cfb_socket_too_large("send", endpoint, cfb_message_len(message), MESSAGE_MAX)
                       : cfb_socket_failed(error, "send", endpoint);
}

/* IPv6 carries 20 bytes more than IPv4; one limit for both, so that it does not depend on what a name leads to. */
static bool is_too_large(const struct confab_message *message) {
        return cfb_message_len(message) > MESSAGE_MAX;
}

static int64_t send_udp(struct confab_endpoint *endpoint, const struct confab_message *message) {
        struct msghdr header = {0};
        struct iovec part;
        struct way way;
        ssize_t n;
        int r;

        if (is_too_large(message))
                return failed_send(endpoint, -EMSGSIZE, message);
        if (__builtin_expect(!message->peer && !message->n_iov, true)) {
                n = send(endpoint->fds[CFB_SENDING], message->data, message->data_len,
                         MSG_DONTWAIT | MSG_NOSIGNAL);
        } else {
                cfb_socket_parts(&header, &part, message);
                r = lay_receiver(&header, &way, endpoint, message);
                if (r < 0)
                        return r;
                n = sendmsg(endpoint->fds[CFB_SENDING], &header, MSG_DONTWAIT | MSG_NOSIGNAL);
        }
        return n < 0 ? failed_send(endpoint, -errno, message) : n;
}

static int send_many(struct confab_endpoint *endpoint, const struct confab_message *messages,
                     unsigned n_messages) {
        struct mmsghdr headers[CFB_SOCKET_BATCH] = {0};
        struct iovec parts[CFB_SOCKET_BATCH];
        struct way ways[CFB_SOCKET_BATCH];
        unsigned n = 0;
        int r = 0;

        for (; n < n_messages && n < CFB_SOCKET_BATCH; n++) {
                r = is_too_large(&messages[n])
                            ? failed_send(endpoint, -EMSGSIZE, &messages[n])
                            : lay_receiver(&headers[n].msg_hdr, &ways[n], endpoint, &messages[n]);
                if (r < 0)
                        break;
                cfb_socket_parts(&headers[n].msg_hdr, &parts[n], &messages[n]);
        }
        if (!n)
                return r;
        r = sendmmsg(endpoint->fds[CFB_SENDING], headers, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        return r < 0 ? failed_send(endpoint, -errno, &messages[0]) : r;
}

/* --- receiving --- */

static void note_local(struct cfb_buffer *buffer, struct msghdr *header) {
        const size_t at = offsetof(struct cfb_socket_peer, inet.local),
                     interface_at = offsetof(struct cfb_socket_peer, inet.local_interface);
        unsigned char *address = buffer->peer.address;

        for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
                if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
                        struct in_pktinfo info;

                        memcpy(&info, CMSG_DATA(c), sizeof(info));
                        address[2] = AF_INET;
                        memset(address + interface_at, 0, at + 16 - interface_at);
                        memcpy(address + at, &info.ipi_spec_dst, sizeof(info.ipi_spec_dst));
                } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
                        struct in6_pktinfo info;
                        uint32_t interface;

                        memcpy(&info, CMSG_DATA(c), sizeof(info));
                        /* an interface is part of a link-local address only; for others routing decides */
                        interface = IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr) ? (uint32_t)info.ipi6_ifindex : 0;
                        address[2] = AF_INET6;
                        memcpy(address + interface_at, &interface, sizeof(interface));
                        memcpy(address + at, &info.ipi6_addr, sizeof(info.ipi6_addr));
                } else {
                        continue;
                }
                buffer->peer.address_len = (uint32_t)(at + 16);
                return;
        }
}

static int take(struct confab_endpoint *endpoint, struct confab_message *message, struct cfb_buffer *buffer,
                struct msghdr *header, uint64_t n) {
        if (n > buffer->cap)
                return cfb_socket_too_large("receive", endpoint, n, buffer->cap);
        buffer->peer.flags = 0;
        cfb_socket_peer_placed(&buffer->peer, CFB_SOCKET_UDP, SOCK_DGRAM, header->msg_namelen);
        if (header->msg_controllen)
                note_local(buffer, header);
        message->data_len = n;
        message->peer = &buffer->peer;
        return 1;
}

static void prepare(struct msghdr *header, struct iovec *part, union control *control,
                    struct cfb_buffer *buffer) {
        *part = (struct iovec){buffer->bytes, buffer->cap};
        *header = (struct msghdr){.msg_name = cfb_socket_peer_place(&buffer->peer),
                                  .msg_namelen = sizeof(struct sockaddr_in6),
                                  .msg_iov = part,
                                  .msg_iovlen = 1,
                                  .msg_control = control,
                                  .msg_controllen = control ? sizeof(*control) : 0};
}

static int told_late(struct confab_endpoint *endpoint) {
        struct udp_state *state = cfb_state(endpoint);
        int pending = state->pending;

        state->pending = 0;
        return pending ? cfb_socket_refused(pending, "receive", confab_address(endpoint),
                                            "a datagram before this one was larger than max= and was dropped")
                       : 0;
}

static int receive_udp(struct confab_endpoint *endpoint, struct confab_message *message,
                       struct cfb_buffer **bufferp, const struct confab_filter *filter) {
        const struct udp_state *state = cfb_state(endpoint);
        struct cfb_buffer *buffer = *bufferp;
        struct msghdr header = {.msg_namelen = sizeof(struct sockaddr_in6)};
        union control control;
        struct iovec part;
        ssize_t n;
        int r;

        (void)filter; /* the core refuses what properties do not have */
        if (state->pending && (r = told_late(endpoint)) < 0)
                return r;
        if (state->noting) {
                prepare(&header, &part, &control, buffer);
                n = recvmsg(endpoint->fds[CFB_RECEIVING], &header, MSG_DONTWAIT | MSG_TRUNC);
        } else {
                n = recvfrom(endpoint->fds[CFB_RECEIVING], buffer->bytes, buffer->cap,
                             MSG_DONTWAIT | MSG_TRUNC, cfb_socket_peer_place(&buffer->peer),
                             &header.msg_namelen);
        }
        if (n < 0)
                return cfb_socket_failed(-errno, "receive", endpoint);
        return take(endpoint, message, buffer, &header, (uint64_t)n);
}

/* One recvmmsg. One that is too large in the middle is left out and told by the next receive: those behind it were read with it. */
static int receive_many(struct confab_endpoint *endpoint, struct confab_message *messages,
                        struct cfb_buffer **buffers, unsigned n_messages) {
        struct udp_state *state = cfb_state(endpoint);
        struct mmsghdr headers[CFB_SOCKET_BATCH];
        union control controls[CFB_SOCKET_BATCH];
        struct iovec parts[CFB_SOCKET_BATCH];
        int came, r;

        r = told_late(endpoint);
        if (r < 0)
                return r;
        if (n_messages > CFB_SOCKET_BATCH)
                n_messages = CFB_SOCKET_BATCH;
        for (unsigned i = 0; i < n_messages; i++)
                prepare(&headers[i].msg_hdr, &parts[i], state->noting ? &controls[i] : NULL, buffers[i]);
        came = recvmmsg(endpoint->fds[CFB_RECEIVING], headers, n_messages, MSG_DONTWAIT | MSG_TRUNC, NULL);
        if (came < 0)
                return cfb_socket_failed(-errno, "receive", endpoint);
        return cfb_socket_take_many(endpoint, messages, buffers, headers, came, take, &state->pending);
}

/* --- peers --- */

static int peer_of(const struct confab_endpoint *endpoint, struct confab_peer *peer) {
        const struct udp_state *state = cfb_state(endpoint);
        struct cfb_socket_name name = {.len = sizeof(name.un)};

        if (!state->connected)
                return cfb_failed_with(-ENOTCONN, "peer", confab_address(endpoint), NULL,
                                       "this end has no single peer", 0, 0);
        if (getpeername(endpoint->fds[CFB_SENDING], &name.any, &name.len) < 0)
                return cfb_socket_failed(-errno, "peer", endpoint);
        cfb_socket_peer_set(peer, CFB_SOCKET_UDP, SOCK_DGRAM, &name);
        return 0;
}

static size_t peer_address(const struct confab_peer *peer, char *text, size_t text_cap) {
        return cfb_inet_peer_address(peer, CFB_SOCKET_UDP, "udp", text, text_cap);
}

const struct cfb_transport cfb_tr_udp = {
        .scheme = "udp",
        .summary = "datagrams between machines, IPv4 and IPv6: fast, and they may be lost",
        .example = "udp://host:port",
        .keys = CFB_KEY(CAPACITY) | CFB_KEY(MAX) | CFB_KEY(DIRECTION) | CFB_KEY(FROM) | CFB_KEY(FAMILY),
        .state_len = sizeof(struct udp_state),
        .properties = properties,
        .check = cfb_inet_check,
        .open = open_udp,
        .listen = listen_udp,
        .send = send_udp,
        .send_many = send_many,
        .receive = receive_udp,
        .receive_many = receive_many,
        .peer = peer_of,
        .buffer_cap = buffer_cap,
        .peer_address = peer_address,
};
