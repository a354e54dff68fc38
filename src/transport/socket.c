/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Sockets: the steps that unix, tcp and udp share.
 *
 * Not waiting is said with every call (MSG_DONTWAIT), never set on the description: a connected socket may be handed to another
 * program (confab_inherit, a descriptor in a message), which would not expect O_NONBLOCK. Two exceptions: accept and connect take no
 * flags, so listeners, which are nobody else's, are O_NONBLOCK for good, and connecting sockets until they are connected.
 * SIGPIPE is kept away by MSG_NOSIGNAL in the same way.
 *
 * Costs: one system call a step. send() for contiguous bytes, since sendmsg costs 150 to 200 ns more on the machine this was
 * measured on (of 1.65 us for a 64-byte message sent and received); gathering, descriptors and receivers named in the message need it.
 *
 * A process that dies leaves nothing of what is here: the kernel ends its connections.
 */
#include "transport/socket.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/hot.h"
#include "base/libc.h"
#include "base/syscall.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* --- names and peers --- */

enum { HEAD_LEN = offsetof(struct cfb_socket_peer, any) };

/* An unbound sender has a family and no more; and our own way to reach long paths (unix_name.c) is nobody else's. */
static bool is_name(const unsigned char *name, socklen_t len) {
        static const char by_fd[] = "/proc/self/fd/";
        sa_family_t family;

        if (len <= sizeof(family))
                return false;
        memcpy(&family, name, sizeof(family));
        return family != AF_UNIX || len < sizeof(family) + sizeof(by_fd) ||
               memcmp(name + sizeof(family), by_fd, sizeof(by_fd) - 1) != 0;
}

void cfb_socket_peer_placed(struct confab_peer *peer, enum cfb_socket_kind kind, int type,
                            socklen_t name_len) {
        if (name_len > sizeof(struct sockaddr_un) || !is_name(peer->address + HEAD_LEN, name_len)) {
                peer->flags &= ~CONFAB_PEER_ADDRESS;
                peer->address_len = 0;
                return;
        }
        peer->address[0] = (unsigned char)kind;
        peer->address[1] = (unsigned char)type;
        peer->address[2] = 0;
        peer->address[3] = (unsigned char)name_len;
        peer->address_len = HEAD_LEN + name_len;
        peer->flags |= CONFAB_PEER_ADDRESS;
}

void cfb_socket_peer_set(struct confab_peer *peer, enum cfb_socket_kind kind, int type,
                         const struct cfb_socket_name *name) {
        socklen_t len = name->len < sizeof(name->un) ? name->len : (socklen_t)sizeof(name->un);

        memcpy(cfb_socket_peer_place(peer), &name->any, len);
        cfb_socket_peer_placed(peer, kind, type, len);
}

int cfb_socket_peer_read(struct cfb_socket_peer *read, const struct confab_peer *peer,
                         enum cfb_socket_kind kind) {
        if (!(peer->flags & CONFAB_PEER_ADDRESS) || peer->address_len <= HEAD_LEN + sizeof(sa_family_t) ||
            peer->address_len > sizeof(*read) || peer->address[0] != kind)
                return -EINVAL;
        *read = (struct cfb_socket_peer){0};
        memcpy(read, peer->address, peer->address_len);
        return read->name_len > sizeof(sa_family_t) && read->name_len <= sizeof(read->un) &&
                               (uint32_t)HEAD_LEN + read->name_len <= peer->address_len
                       ? 0
                       : -EINVAL;
}

/* --- options --- */

static size_t begin(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        if (text_cap)
                text[0] = '\0';
        cfb_append(text, text_cap, &used, "%s: %s: ", failure->subject, failure->call);
        return used;
}

static size_t explain_capacity(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = begin(failure, text, text_cap);

        if (failure->error == -EPERM)
                cfb_append(text, text_cap, &used,
                           "the kernel gives %lld bytes at most; ask for less, or raise the sysctl %s",
                           (long long)failure->a, failure->detail);
        else
                cfb_append(text, text_cap, &used, "a socket's buffer has at most %lld bytes",
                           (long long)failure->a);
        return used;
}

/*
 * capacity= sets what the kernel counts for the buffers of both directions (it doubles the figure for its own book-keeping). Beyond
 * the sysctl it gives less without a word, unless one may use the FORCE form: less than asked for is refused here.
 */
static int set_buffer(int fd, const struct confab_endpoint *endpoint, int force, int plain,
                      const char *limit) {
        uint64_t capacity = endpoint->address.capacity;
        int asked = (int)capacity, got = 0;
        socklen_t len = sizeof(got);

        if (capacity > INT_MAX / 2)
                return cfb_failed_with(-EINVAL, "capacity=", confab_address(endpoint), explain_capacity,
                                       limit, INT_MAX / 2, 0);
        if (setsockopt(fd, SOL_SOCKET, force, &asked, sizeof(asked)) == 0)
                return 0;
        if (setsockopt(fd, SOL_SOCKET, plain, &asked, sizeof(asked)) < 0 ||
            getsockopt(fd, SOL_SOCKET, plain, &got, &len) < 0)
                return cfb_socket_failed(-errno, "setsockopt", endpoint);
        return got / 2 >= asked ? 0
                                : cfb_failed_with(-EPERM, "capacity=", confab_address(endpoint),
                                                  explain_capacity, limit, got / 2, 0);
}

int cfb_socket_set_capacity(const struct confab_endpoint *endpoint, int fd) {
        int r;

        if (!endpoint->address.capacity)
                return 0;
        r = set_buffer(fd, endpoint, SO_SNDBUFFORCE, SO_SNDBUF, "net.core.wmem_max");
        return r < 0 ? r : set_buffer(fd, endpoint, SO_RCVBUFFORCE, SO_RCVBUF, "net.core.rmem_max");
}

int cfb_socket_new(int *fdp, const struct confab_endpoint *endpoint, int family, int type, int flags) {
        CFB_CLEANUP(cfb_closep) int fd = socket(family, type | SOCK_CLOEXEC | flags, 0);
        int r;

        if (fd < 0)
                return cfb_socket_failed(-errno, "socket", endpoint);
        r = cfb_socket_set_capacity(endpoint, fd);
        if (r < 0)
                return r;
        *fdp = cfb_steal_fd(&fd);
        return 0;
}

CFB_HOT void cfb_socket_use(struct confab_endpoint *endpoint, int fd) {
        endpoint->fds[CFB_RECEIVING] = endpoint->fds[CFB_SENDING] = fd;
}

int cfb_socket_set_blocking(int fd) {
        return fcntl(fd, F_SETFL, O_RDWR) < 0 ? -errno : 0; /* a socket we made has no other flags */
}

/* --- sending and receiving --- */

void cfb_socket_parts(struct msghdr *header, struct iovec *part, const struct confab_message *message) {
        if (message->n_iov) {
                header->msg_iov = (struct iovec *)(uintptr_t)message->iov; /* the kernel only reads them */
                header->msg_iovlen = message->n_iov;
                return;
        }
        *part = (struct iovec){(void *)(uintptr_t)message->data, message->data_len};
        header->msg_iov = part;
        header->msg_iovlen = 1;
}

static int64_t send_header(struct confab_endpoint *endpoint, const struct confab_message *message,
                           const struct cfb_socket_name *name) {
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(CFB_DESCRIPTORS_MAX * sizeof(int))];
        } control;
        struct msghdr header = {0};
        struct iovec part;
        ssize_t n;

        cfb_socket_parts(&header, &part, message);
        if (name) {
                header.msg_name = (void *)(uintptr_t)&name->any;
                header.msg_namelen = name->len;
        }
        if (message->n_descriptors) {
                size_t len = message->n_descriptors * sizeof(int); /* at most 253: the core sees to it */
                struct cmsghdr *head = &control.align;

                memset(&control, 0, CMSG_SPACE(len)); /* its padding too goes to the kernel */
                header.msg_control = &control;
                header.msg_controllen = CMSG_SPACE(len);
                head->cmsg_level = SOL_SOCKET;
                head->cmsg_type = SCM_RIGHTS;
                head->cmsg_len = CMSG_LEN(len);
                memcpy(CMSG_DATA(head), message->descriptors, len);
        }
        n = cfb_sendmsg(endpoint->fds[CFB_SENDING], &header, MSG_DONTWAIT | MSG_NOSIGNAL);
        return n < 0 ? cfb_socket_failed(-errno, "send", endpoint) : n;
}

CFB_HOT int64_t cfb_socket_send(struct confab_endpoint *endpoint, const struct confab_message *message,
                                const struct cfb_socket_name *name) {
        return message->n_iov || message->n_descriptors || name ? send_header(endpoint, message, name)
                                                                : cfb_socket_send_data(endpoint, message);
}

int cfb_socket_shutdown(struct confab_endpoint *endpoint, uint32_t direction) {
        int how = direction == CONFAB_BOTH ? SHUT_RDWR : direction == CONFAB_SEND ? SHUT_WR : SHUT_RD;

        return shutdown(endpoint->fds[CFB_SENDING], how) < 0 ? cfb_socket_failed(-errno, "shutdown", endpoint)
                                                             : 0;
}

int cfb_socket_take_many(struct confab_endpoint *endpoint, struct confab_message *messages,
                         struct cfb_buffer **buffers, struct mmsghdr *headers, int came,
                         cfb_socket_take *take, int *pendingp) {
        int kept = 0, told;

        for (int i = 0; i < came; i++) {
                struct cfb_buffer *buffer = buffers[i];
                int r = take(endpoint, &messages[kept], buffer, &headers[i].msg_hdr, headers[i].msg_len);

                if (r == 0) /* the end, which the kernel repeats as often as it is asked */
                        break;
                if (r < 0) {
                        *pendingp = r;
                        continue;
                }
                buffers[i] = buffers[kept];
                buffers[kept++] = buffer;
        }
        if (kept || !*pendingp)
                return kept;
        told = *pendingp;
        *pendingp = 0;
        return told;
}

/* --- accepting --- */

/*
 * accept(2), "Error handling": Linux passes errors of the connection that waited through accept. They say nothing about the listener:
 * the next connection is looked at, but not for ever, since others wait for this thread.
 */
static bool died_queued(int error) {
        static const int errors[] = {ECONNABORTED, ENETDOWN,    EPROTO,     ENOPROTOOPT, EHOSTDOWN, ENONET,
                                     EHOSTUNREACH, ENETUNREACH, ECONNRESET, ETIMEDOUT,   EPERM,     EINTR};

        for (size_t i = 0; i < CFB_ARRAY_LEN(errors); i++)
                if (errors[i] == error)
                        return true;
        return false;
}

CFB_HOT int cfb_socket_accept(int *fdp, struct cfb_socket_name *name, struct confab_endpoint *listener) {
        enum { TRIES = 64 };
        struct pollfd lent = {.fd = listener->fds[CFB_RECEIVING], .events = POLLIN};

        /* A lent listener (fd://) is not O_NONBLOCK: another process that accepts between the two can make this one wait. */
        if (!listener->owns_fds && poll(&lent, 1, 0) == 0)
                return -EAGAIN;
        for (int i = 0; i < TRIES; i++) {
                socklen_t len = sizeof(name->un);
                int fd = (int)cfb_sys_accept(listener->fds[CFB_RECEIVING], &name->any, &len, SOCK_CLOEXEC);

                if (fd >= 0) {
                        name->len = len;
                        *fdp = fd;
                        return 0;
                }
                if (!died_queued(-fd))
                        return cfb_socket_failed(fd, "accept", listener);
        }
        return -EAGAIN;
}

/* --- failures in words --- */

static const struct {
        const char *call; /* NULL: any */
        int error;
        const char *means, *hint;
} words[] = {
        {"connect", ECONNREFUSED, "nobody listens there", "start the side that listens first"},
        {"connect", ENOENT, "there is no socket of that name",
         "start the side that listens, or look at the path"},
        {"connect", EPROTOTYPE, "the socket there is of another type",
         "give the listener's: ?type=stream, ?type=seqpacket or ?type=datagram"},
        {"connect", EPERM, "that socket is connected to somebody else and takes nothing from others", NULL},
        {"connect", ENETUNREACH, "this machine has no route to that network", "see ip route"},
        {"connect", EHOSTUNREACH, "that host cannot be reached", "see whether it is up and on the network"},
        {"connect", EADDRNOTAVAIL, "no local port or address is free for the connection",
         "widen net.ipv4.ip_local_port_range, or look at from="},
        {"connect", ETIMEDOUT, "that host did not answer in time",
         "see whether it is up, and whether a firewall drops it"},
        {"connect", EAFNOSUPPORT, "this machine does not have that kind of address", NULL},
        {"send", ECONNREFUSED, "nobody receives there any more",
         "start the receiver again, then open a new endpoint"},
        {"send", ENOENT, "the receiver's socket file is gone", NULL},
        {"send", ENOTCONN, "nobody is connected", "give the receiver in message.peer"},
        {"send", EDESTADDRREQ, "this end listens and has no receiver of its own",
         "give the one to answer in message.peer, as a received message has it"},
        {"send", EISCONN, "this end is connected to one receiver", "leave message.peer out"},
        {"send", EPERM, "that receiver takes messages from one sender only, or a firewall refuses it", NULL},
        {"send", ETOOMANYREFS, "more descriptors are under way than this user may have open",
         "let the receivers take theirs, or raise RLIMIT_NOFILE"},
        {"send", EBADF, "a descriptor in the message is not open", NULL},
        {"receive", ECONNREFUSED, "nobody receives what was sent", "start the listening side"},
        {"accept", EMFILE, "no descriptor is left in this process; the connection stays queued",
         "close some, or raise RLIMIT_NOFILE (ulimit -n)"},
        {"accept", ENFILE, "no descriptor is left on this machine; the connection stays queued",
         "raise the sysctl fs.file-max"},
        {"bind", EADDRNOTAVAIL, "no interface of this machine has that address", "see ip address"},
        {"listen", ENOENT, "the folder for it does not exist", "make it first"},
        {"listen", ENOTDIR, "a part of the path is not a folder", NULL},
        {"listen", EROFS, "the file system is read-only", NULL},
        {"listen", ENOSPC, "the disk is full", NULL},
        {"listen", EDQUOT, "the disk quota is used up", NULL},
        {"listen", EADDRINUSE, "somebody else listens there", "end it, or take another address"},
        {"shutdown", ENOTCONN, "the connection has ended already", NULL},
        {"socket", EAFNOSUPPORT, "this machine does not have that kind of address",
         "take family=4 or family=6"},
        {NULL, EPIPE, "the other side has gone, or has shut down receiving", NULL},
        {NULL, ECONNRESET, "the other side ended the connection without closing it",
         "it was killed, or did not read what was sent"},
        {NULL, EMFILE, "no descriptor is left in this process", "raise RLIMIT_NOFILE (ulimit -n)"},
        {NULL, ENFILE, "no descriptor is left on this machine", "raise the sysctl fs.file-max"},
        {NULL, ENOBUFS, "the kernel has no room for it", NULL},
        {NULL, ETIMEDOUT, "the other side stopped answering", NULL},
        {NULL, EACCES, "no permission", NULL},
        {NULL, EADDRINUSE, "somebody else has this address",
         "end the program that listens there, or take another address"},
};

static size_t explain(const struct cfb_failure *failure, char *text, size_t text_cap) {
        const char *means = NULL, *hint = NULL;
        size_t used = begin(failure, text, text_cap);

        for (size_t i = 0; i < CFB_ARRAY_LEN(words) && !means; i++)
                if (words[i].error == -failure->error &&
                    (!words[i].call || strcmp(words[i].call, failure->call) == 0)) {
                        means = words[i].means;
                        hint = words[i].hint;
                }
        cfb_append(text, text_cap, &used, "%s", means ? means : cfb_errno_text(-failure->error));
        if (failure->detail[0])
                cfb_append(text, text_cap, &used, " (%s)", failure->detail);
        if (hint)
                cfb_append(text, text_cap, &used, "; %s", hint);
        return used;
}

int cfb_socket_failed(int error, const char *call, const struct confab_endpoint *endpoint) {
        if (error == -EAGAIN) /* no failure: the core waits */
                return error;
        return cfb_failed_with(error, call, confab_address(endpoint), explain, NULL, 0, 0);
}

int cfb_socket_failed_on(int error, const char *call, const char *subject, const char *on) {
        return cfb_failed_with(error, call, subject, explain, on, 0, 0);
}

size_t cfb_socket_explain_sentence(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = begin(failure, text, text_cap);

        cfb_append(text, text_cap, &used, "%s", failure->detail);
        return used;
}

static size_t explain_large(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = begin(failure, text, text_cap);

        cfb_append(text, text_cap, &used, "a message of %lld bytes, where %lld fit", (long long)failure->a,
                   (long long)failure->b);
        if (strcmp(failure->call, "receive") == 0)
                cfb_append(text, text_cap, &used,
                           "; it was dropped; raise max= (and capacity=, on both sides)");
        else if (strncmp(failure->subject, "unix:", 5) == 0)
                cfb_append(text, text_cap, &used, "; raise capacity= (and max=), or send it over a stream");
        else
                cfb_append(text, text_cap, &used, "; send it in parts, or over tcp");
        return used;
}

int cfb_socket_too_large(const char *call, const struct confab_endpoint *endpoint, uint64_t len,
                         uint64_t max) {
        return cfb_failed_with(-EMSGSIZE, call, confab_address(endpoint), explain_large, NULL, (int64_t)len,
                               (int64_t)max);
}
