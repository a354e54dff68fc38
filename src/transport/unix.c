/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * unix:// - sockets between processes of one machine: streams, connected messages (seqpacket) and datagrams, by path, by abstract name
 * or as a pair. How names are taken and given back is in unix_name.c.
 *
 * Receiving uses recvmsg with room for all the descriptors a message can carry (253), always: with plain recv the kernel drops
 * descriptors without a word. That costs 200 ns of 1.65 us at 64 bytes in a strict exchange of one message at a time (measured),
 * and next to nothing on a busy stream, where one receive takes what many sends brought.
 *
 * Descriptors that cannot be taken (RLIMIT_NOFILE, or a security module) are dropped by the kernel with MSG_CTRUNC: a part of a set is
 * worth nothing, so all of it is closed, an event tells, and the message is refused: -EMSGSIZE, the next one is fine. On a stream
 * the bytes are read by then and what follows would not fit to what came before: -EPROTO from then on. Received descriptors are
 * never looked into, so a socket in a socket in a ring is only a number here; the kernel collects rings nobody holds.
 *
 * The kernel ends a stream's read behind the bytes that brought descriptors, and puts messages of different senders' descriptors never
 * together: the last byte of a read belongs to the message they came with (core/framed.c builds on it).
 *
 * seqpacket has empty messages and an end, and recvmsg says 0 to both. SO_PASSCRED tells them apart: a message has credentials
 * attached, the end has not. So every message also says who sent it, which after a fork may be another one than who connected.
 *
 * Datagrams: an opened one is connected to its receiver and has a name of its own (autobind, or from=), so that answers find it. A
 * listener has no receiver: it answers message.peer. One that is connected to us has all the room of our send buffer, and poll tells when.
 * Others have a queue of their own (net.unix.max_dgram_qlen, 10), and when that is full the kernel has nothing to wait on for a socket
 * that is connected to nobody: polling says writable all the time. Those waits are naps of a millisecond.
 *
 * A process that dies leaves its socket file behind, nothing else; the next listener replaces it.
 */
#include "base/cleanup.h"
#include "base/error.h"
#include "base/hot.h"
#include "base/memory.h"
#include "base/syscall.h"
#include "core/message.h"
#include "transport/unix_name.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct unix_state {
        struct cfb_unix_held *held; /* the socket file of ours */
        int type;                   /* SOCK_* */
        bool connected;
        int broken;  /* stream: what every further receive answers */
        int pending; /* messages: what the next receive answers, a batch having ended before it */
};

enum {
        NAP_NS = 1000000,
        OVERHEAD = 32 /* unix_dgram_sendmsg: a message is at most the send buffer less this */
};

static int type_of(const struct cfb_address *address) {
        return address->type ? address->type : SOCK_STREAM;
}

/* --- properties --- */

/* What the kernel gives a socket that says nothing, asked once: bytes of its send buffer. */
static int default_buffer(void) {
        static _Atomic int known; /* relaxed: every asker finds the same */
        int len = atomic_load_explicit(&known, memory_order_relaxed);

        if (!len) {
                CFB_CLEANUP(cfb_closep) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
                socklen_t size = sizeof(len);

                if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &len, &size) < 0)
                        len = 212992;
                atomic_store_explicit(&known, len, memory_order_relaxed);
        }
        return len;
}

/* The most an unprivileged sender can have, whatever its capacity=: twice the sysctl. */
static int largest_buffer(void) {
        static _Atomic int known; /* relaxed: every asker finds the same */
        int len = atomic_load_explicit(&known, memory_order_relaxed);

        if (!len) {
                CFB_CLEANUP(cfb_closep) int fd = open("/proc/sys/net/core/wmem_max", O_RDONLY | O_CLOEXEC);
                char text[24] = "";
                long value = 0;

                if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0)
                        value = strtol(text, NULL, 10);
                len = value > 0 && value <= INT_MAX / 2 ? (int)value * 2 : default_buffer();
                if (len < default_buffer())
                        len = default_buffer();
                atomic_store_explicit(&known, len, memory_order_relaxed);
        }
        return len;
}

static int send_buffer(const struct cfb_address *address, const struct confab_endpoint *endpoint) {
        int len = 0;
        socklen_t size = sizeof(len);

        if (endpoint && endpoint->fds[CFB_RECEIVING] >= 0 &&
            getsockopt(endpoint->fds[CFB_RECEIVING], SOL_SOCKET, SO_SNDBUF, &len, &size) == 0)
                return len;
        if (address->capacity && address->capacity < INT_MAX / 2)
                return (int)address->capacity * 2;
        return default_buffer();
}

CFB_HOT static void properties(struct confab_properties *properties, const struct cfb_address *address,
                               const struct confab_endpoint *endpoint) {
        int type = endpoint ? ((struct unix_state *)cfb_state(endpoint))->type : type_of(address);
        /* accepted ones have no rest of their own, only the listener's address to show */
        /* a socket of fd:// was made elsewhere: what its name was says nothing about this end */
        bool given = address->transport != &cfb_tr_unix;
        bool given_listens =
                given && endpoint && (endpoint->listening || !address->rest); /* or was accepted */
        bool paired = given || (address->rest && !address->rest[0]);
        bool abstract = address->rest ? address->rest[0] == '@'
                                      : endpoint && strncmp(confab_address(endpoint), "unix://@", 8) == 0;
        uint64_t fits;

        *properties = (struct confab_properties){
                .size = sizeof(*properties),
                .addressing = given      ? CONFAB_ADDRESSING_NUMBER
                              : paired   ? CONFAB_ADDRESSING_NONE
                              : abstract ? CONFAB_ADDRESSING_NAME
                                         : CONFAB_ADDRESSING_PATH,
                .reach = paired ? CONFAB_REACH_FAMILY : CONFAB_REACH_MACHINE,
                .connection = given_listens        ? CONFAB_CONNECTION_ACCEPTED
                              : paired             ? CONFAB_CONNECTION_MADE
                              : type == SOCK_DGRAM ? CONFAB_CONNECTION_NONE
                                                   : CONFAB_CONNECTION_ACCEPTED,
                .direction = CONFAB_DIRECTION_DUPLEX,
                .boundaries = type == SOCK_STREAM ? CONFAB_BOUNDARIES_STREAM : CONFAB_BOUNDARIES_MESSAGE,
                .order = CONFAB_ORDER_FIFO,
                .loss = CONFAB_LOSS_NONE,
                .when_full = CONFAB_FULL_WAIT,
                .peer_gone = CONFAB_GONE_ERROR,
                .end = type == SOCK_DGRAM ? CONFAB_NO : CONFAB_YES,
                .half_close = type == SOCK_DGRAM ? CONFAB_NO : CONFAB_YES,
                .empty = type == SOCK_STREAM ? CONFAB_NO : CONFAB_YES,
                .descriptors = CONFAB_YES,
                .credentials =
                        type == SOCK_STREAM ? CONFAB_CREDENTIALS_CONNECTION : CONFAB_CREDENTIALS_MESSAGE,
                .reply = type == SOCK_DGRAM ? CONFAB_YES
                                            : CONFAB_NO, /* pairs too: SO_PASSCRED gives them names */
                .types = CONFAB_NO,
                .waiting = CONFAB_WAITING_DESCRIPTOR,
                .in_place = CONFAB_NO,
                .residue = paired || abstract ? CONFAB_RESIDUE_NONE : CONFAB_RESIDUE_FILE,
                .after_fork = CONFAB_FORK_SHARED,
                .message_max = UINT64_MAX,
                .atomic_max =
                        0, /* a stream's send is cut where the room ends; in one piece: some 32 KiB, but no manual says so */
                .capacity = 0,
        };
        if (type == SOCK_STREAM)
                return;
        fits = (uint64_t)send_buffer(address, endpoint) - OVERHEAD;
        properties->message_max = fits < address->max ? fits : address->max;
        properties->atomic_max = UINT64_MAX;
}

static size_t buffer_cap(const struct confab_endpoint *endpoint) {
        const struct unix_state *state = cfb_state(endpoint);
        uint64_t own, cap;

        if (state->type == SOCK_STREAM)
                return CFB_STREAM_BUFFER;
        own = (uint64_t)send_buffer(&endpoint->address, endpoint);
        cap = (uint64_t)largest_buffer();
        if (cap < own)
                cap = own;
        return endpoint->max < cap ? (size_t)endpoint->max
                                   : (size_t)cap; /* pages of it are touched only when used */
}

/* --- opening --- */

static int check(const struct cfb_address *address) {
        const uint64_t file_keys = CFB_KEY(MODE) | CFB_KEY(OWNER) | CFB_KEY(GROUP) | CFB_KEY(LIFETIME);
        int r;

        if ((address->given & file_keys) && address->rest[0] == '@')
                return cfb_unsupported(
                        address, "address",
                        "mode=, owner=, group= or lifetime= for abstract names: they are no files");
        if (address->from) {
                r = cfb_unix_check(address, address->from, false);
                if (r < 0)
                        return r;
        }
        return address->rest[0] ? cfb_unix_check(address, address->rest, true) : 0; /* none: pairs */
}

/* What is set on every socket before it can receive anything. */
static int new_socket(int *fdp, struct confab_endpoint *endpoint, int flags) {
        struct unix_state *state = cfb_state(endpoint);
        CFB_CLEANUP(cfb_closep) int fd = -1;
        int one = 1, r;

        state->type = type_of(&endpoint->address);
        r = cfb_socket_new(&fd, endpoint, AF_UNIX, state->type, flags);
        if (r < 0)
                return r;
        if (state->type != SOCK_STREAM && setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) < 0)
                return cfb_socket_failed(-errno, "setsockopt", endpoint);
        *fdp = cfb_steal_fd(&fd);
        return 0;
}

static int open_unix(struct confab_endpoint *endpoint, int64_t deadline_ns) {
        struct unix_state *state = cfb_state(endpoint);
        const struct cfb_address *address = &endpoint->address;
        CFB_CLEANUP(cfb_closep) int fd = -1;
        int r;

        r = cfb_unix_check(address, address->rest, true);
        if (r < 0)
                return r;
        r = new_socket(&fd, endpoint, SOCK_NONBLOCK);
        if (r < 0)
                return r;
        if (address->from || state->type == SOCK_DGRAM) {
                r = cfb_unix_bind(&state->held, endpoint, fd, address->from ? address->from : "@");
                if (r < 0)
                        return r;
        }
        r = cfb_unix_connect_until(endpoint, fd, address->rest, deadline_ns);
        if (r < 0)
                return r;
        state->connected = true;
        cfb_socket_use(endpoint, cfb_steal_fd(&fd));
        return 0;
}

/* "unix://@" listens under a name the kernel chose: confab_address tells it, with the keys of the address. */
static int name_chosen(struct confab_endpoint *endpoint, int fd) {
        struct cfb_socket_name name = {.len = sizeof(name.un)};
        const char *keys = strchr(endpoint->address.text, '?');
        size_t used = 0, len;
        char text[CFB_ADDRESS_MAX + 64];

        if (getsockname(fd, &name.any, &name.len) < 0)
                return cfb_socket_failed(-errno, "getsockname", endpoint);
        len = name.len - offsetof(struct sockaddr_un, sun_path);
        cfb_append(text, sizeof(text), &used, "unix://@");
        cfb_address_encode(text, sizeof(text), &used, name.un.sun_path + 1, len ? len - 1 : 0);
        cfb_append(text, sizeof(text), &used, "%s", keys ? keys : "");
        endpoint->name = cfb_copy_text(text);
        return endpoint->name ? 0 : cfb_socket_failed(-ENOMEM, "listen", endpoint);
}

static int listen_unix(struct confab_endpoint *endpoint, int64_t deadline_ns) {
        struct unix_state *state = cfb_state(endpoint);
        const struct cfb_address *address = &endpoint->address;
        CFB_CLEANUP(cfb_closep) int fd = -1;
        int r;

        (void)deadline_ns; /* see lock_folder for the one wait there is */
        r = cfb_unix_check(address, address->rest, true);
        if (r < 0)
                return r;
        if (address->from)
                return cfb_unsupported(address, "listen",
                                       "from= where one listens: the address itself is this side's name");
        r = new_socket(&fd, endpoint, type_of(address) == SOCK_DGRAM ? 0 : SOCK_NONBLOCK);
        if (r < 0)
                return r;
        r = cfb_unix_bind(&state->held, endpoint, fd, address->rest);
        if (r < 0)
                return r;
        endpoint->owns_name = state->held && address->lifetime != CFB_LIFETIME_PERSISTENT;
        if (strcmp(address->rest, "@") == 0) {
                r = name_chosen(endpoint, fd);
                if (r < 0)
                        return r;
        }
        if (state->type == SOCK_DGRAM) {
                cfb_socket_use(endpoint, cfb_steal_fd(&fd));
                return 0;
        }
        if (listen(fd, (int)address->backlog) < 0)
                return cfb_socket_failed(-errno, "listen", endpoint);
        endpoint->listening = true;
        endpoint->fds[CFB_RECEIVING] = cfb_steal_fd(&fd);
        return 0;
}

CFB_HOT static int accept_unix(struct confab_endpoint *endpoint, struct confab_endpoint *listener) {
        struct unix_state *state = cfb_state(endpoint), *of = cfb_state(listener);
        CFB_CLEANUP(cfb_closep) int fd = -1;
        struct cfb_socket_name name;
        int one = 1, r;

        r = cfb_socket_accept(&fd, &name, listener);
        if (r < 0)
                return r;
        state->type = of->type;
        state->connected = true;
        /* What came before this has its credentials from the kernel all the same: it keeps them for sockets not accepted yet. */
        if (state->type == SOCK_SEQPACKET && setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) < 0)
                return cfb_socket_failed(-errno, "setsockopt", listener);
        cfb_socket_use(endpoint, cfb_steal_fd(&fd));
        return 0;
}

static int pair_unix(struct confab_endpoint *ends[2]) {
        const struct cfb_address *address = &ends[0]->address;
        int fds[2], one = 1, type = type_of(address);

        if (address->rest[0])
                return cfb_address_refuse(address, 0, "a pair has no name: say unix:// (with ?type=...)");
        if (address->from)
                return cfb_unsupported(address, "pair", "from=: a pair has no names");
        if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) < 0)
                return cfb_socket_failed(-errno, "socketpair", ends[0]);
        for (int i = 0; i < 2; i++) {
                struct unix_state *state = cfb_state(ends[i]);

                cfb_socket_use(ends[i], fds[i]);
                state->type = type;
                state->connected = true;
        }
        for (int i = 0; i < 2; i++) {
                int r = cfb_socket_set_capacity(ends[i], fds[i]);

                if (r < 0)
                        return r;
                if (type != SOCK_STREAM && setsockopt(fds[i], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) < 0)
                        return cfb_socket_failed(-errno, "setsockopt", ends[i]);
        }
        return 0;
}

int cfb_unix_adopt(struct confab_endpoint *endpoint, int fd, int type, bool listening) {
        struct unix_state *state = cfb_state(endpoint);
        struct cfb_socket_name name = {.len = sizeof(name.un)};
        int one = 1;

        /* Other users of a shared socket only see more about their messages by it. */
        if (type != SOCK_STREAM && setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) < 0)
                return cfb_socket_failed(-errno, "setsockopt", endpoint);
        endpoint->transport = &cfb_tr_unix;
        endpoint->listening = listening;
        state->type = type;
        state->connected = getpeername(fd, &name.any, &name.len) == 0;
        cfb_socket_use(endpoint, fd);
        if (listening)
                endpoint->fds[CFB_SENDING] = -1;
        return 0;
}

CFB_HOT static void close_unix(struct confab_endpoint *endpoint) {
        struct unix_state *state = cfb_state(endpoint);

        state->held = cfb_unix_let_go(state->held, endpoint->address.lifetime == CFB_LIFETIME_PERSISTENT);
}

/* --- sending --- */

/* What a refused step means here: the kernel's words for datagrams differ from everybody else's. */
static int failed_send(struct confab_endpoint *endpoint, int error, uint64_t len) {
        const struct unix_state *state = cfb_state(endpoint);

        if (error == -EMSGSIZE)
                return cfb_socket_too_large("send", endpoint, len, endpoint->properties.message_max);
        if (error == -ENOTCONN && state->type == SOCK_DGRAM)
                return cfb_socket_failed(state->connected ? -ECONNREFUSED : -EDESTADDRREQ, "send", endpoint);
        return error;
}

/* The receiver a message names, in *@name: 1; 0: it names none. */
static int read_receiver(struct cfb_socket_name *name, const struct confab_endpoint *endpoint,
                         const struct confab_message *message) {
        const struct unix_state *state = cfb_state(endpoint);
        struct cfb_socket_peer peer;

        if (!message->peer)
                return 0;
        if (state->type != SOCK_DGRAM || cfb_socket_peer_read(&peer, message->peer, CFB_SOCKET_UNIX) < 0)
                return cfb_socket_refused(-EINVAL, "send", confab_address(endpoint),
                                          "message.peer is not a sender of unix datagrams, or has no name");
        name->len = peer.name_len;
        name->un = peer.un;
        return 1;
}

/* With a receiver of its own, descriptors or parts. Apart: send_unix has no function but the system call around it (base/syscall.h). */
static __attribute__((noinline)) int64_t send_unusual(struct confab_endpoint *endpoint,
                                                      const struct confab_message *message) {
        const struct unix_state *state = cfb_state(endpoint);
        struct cfb_socket_name name;
        int r = 0;

        if (message->peer || message->n_descriptors)
                r = read_receiver(&name, endpoint, message);
        if (r < 0)
                return r;
        if (message->n_descriptors && state->type == SOCK_STREAM && !cfb_message_len(message))
                return cfb_socket_refused(-EINVAL, "send", confab_address(endpoint),
                                          "on a stream descriptors need at least one byte to travel with");
        return cfb_socket_send(endpoint, message, r ? &name : NULL);
}

CFB_HOT static int64_t send_unix(struct confab_endpoint *endpoint, const struct confab_message *message) {
        bool unusual = message->peer || message->n_descriptors || message->n_iov;
        int64_t n = __builtin_expect(unusual, false) ? send_unusual(endpoint, message)
                                                     : cfb_socket_send_data(endpoint, message);

        return n < 0 && n != -EAGAIN ? failed_send(endpoint, (int)n, cfb_message_len(message)) : n;
}

static int send_many(struct confab_endpoint *endpoint, const struct confab_message *messages,
                     unsigned n_messages) {
        struct mmsghdr headers[CFB_SOCKET_BATCH] = {0};
        struct cfb_socket_name names[CFB_SOCKET_BATCH];
        struct iovec parts[CFB_SOCKET_BATCH];
        unsigned n = 0;
        int r;

        for (; n < n_messages && n < CFB_SOCKET_BATCH && !messages[n].n_descriptors; n++) {
                struct msghdr *header = &headers[n].msg_hdr;

                r = read_receiver(&names[n], endpoint, &messages[n]);
                if (r < 0)
                        break;
                cfb_socket_parts(header, &parts[n], &messages[n]);
                if (r) {
                        header->msg_name = &names[n].any;
                        header->msg_namelen = names[n].len;
                }
        }
        if (n < 2) { /* the first alone: it carries descriptors, or names nobody, which is said here */
                int64_t sent = send_unix(endpoint, &messages[0]);

                return sent < 0 ? (int)sent : 1;
        }
        r = sendmmsg(endpoint->fds[CFB_SENDING], headers, n, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (r >= 0 || errno == EAGAIN)
                return r < 0 ? -EAGAIN : r;
        return failed_send(endpoint, cfb_socket_failed(-errno, "send", endpoint),
                           cfb_message_len(&messages[0]));
}

/* --- receiving --- */

union control {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(CFB_DESCRIPTORS_MAX * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
};

/* Descriptors into the buffer, credentials into its peer. Whether there were any credentials. */
static bool take_control(struct msghdr *header, struct cfb_buffer *buffer) {
        bool any = false;

        for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
                if (c->cmsg_level != SOL_SOCKET)
                        continue;
                if (c->cmsg_type == SCM_RIGHTS) {
                        uint32_t n = (uint32_t)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));

                        memcpy(buffer->descriptors, CMSG_DATA(c),
                               n * sizeof(int)); /* at most 253: SCM_MAX_FD */
                        buffer->n_descriptors = n;
                } else if (c->cmsg_type == SCM_CREDENTIALS) {
                        struct ucred who;

                        memcpy(&who, CMSG_DATA(c), sizeof(who));
                        any = true;
                        buffer->peer.pid = (uint32_t)who.pid;
                        buffer->peer.uid = who.uid;
                        buffer->peer.gid = who.gid;
                        /* pid 0 of nobody: sent by one whom the kernel had no reason to note */
                        if (who.pid || who.uid != 65534)
                                buffer->peer.flags |= CONFAB_PEER_CREDENTIALS;
                }
        }
        return any;
}

static void drop_descriptors(struct cfb_buffer *buffer) {
        for (uint32_t i = 0; i < buffer->n_descriptors; i++)
                close(buffer->descriptors[i]);
        buffer->n_descriptors = 0;
}

static int refuse_descriptors(struct confab_endpoint *endpoint, struct cfb_buffer *buffer) {
        struct unix_state *state = cfb_state(endpoint);
        int64_t came = buffer->n_descriptors;

        drop_descriptors(buffer);
        cfb_tell(CONFAB_EVENT_DESCRIPTORS_REFUSED, confab_address(endpoint), came);
        if (state->type == SOCK_STREAM)
                state->broken = -EPROTO;
        return cfb_socket_refused(
                state->type == SOCK_STREAM ? -EPROTO : -EMSGSIZE, "receive", confab_address(endpoint),
                "the message brought more descriptors than this process may open (RLIMIT_NOFILE); "
                "it and all of them were dropped");
}

/* What a recvmsg of @n bytes brought: 1 a message, 0 the end, or a failure. */
static inline __attribute__((always_inline)) int take(struct confab_endpoint *endpoint,
                                                      struct confab_message *message,
                                                      struct cfb_buffer *buffer, struct msghdr *header,
                                                      uint64_t n) {
        const struct unix_state *state = cfb_state(endpoint);
        bool any;

        message->data_len = n;
        if (state->type == SOCK_STREAM) {
                if (__builtin_expect(header->msg_controllen != 0, false))
                        take_control(header, buffer);
                if (__builtin_expect(header->msg_flags & MSG_CTRUNC, false))
                        return refuse_descriptors(endpoint, buffer);
                return n > 0;
        }
        buffer->peer.flags = 0;
        buffer->peer.address_len = 0;
        any = take_control(header, buffer);
        if (header->msg_flags & MSG_CTRUNC)
                return refuse_descriptors(endpoint, buffer);
        if (n == 0 && !any && state->type == SOCK_SEQPACKET)
                return 0;
        if (n > buffer->cap) {
                drop_descriptors(buffer);
                return cfb_socket_too_large("receive", endpoint, n, buffer->cap);
        }
        if (state->type == SOCK_DGRAM)
                cfb_socket_peer_placed(&buffer->peer, CFB_SOCKET_UNIX, SOCK_DGRAM, header->msg_namelen);
        message->peer = &buffer->peer;
        return 1;
}

static void prepare(struct msghdr *header, struct iovec *part, union control *control,
                    struct cfb_buffer *buffer, int type) {
        *part = (struct iovec){buffer->bytes, buffer->cap};
        *header = (struct msghdr){
                .msg_iov = part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(*control)};
        if (type == SOCK_DGRAM) {
                header->msg_name = cfb_socket_peer_place(&buffer->peer);
                header->msg_namelen = sizeof(struct sockaddr_un);
        }
}

/* MSG_TRUNC: the message's real length, so that one too long is told from one that just fits. Streams would lose bytes by it. */
static int receive_flags(int type) {
        return MSG_DONTWAIT | MSG_CMSG_CLOEXEC | (type == SOCK_STREAM ? 0 : MSG_TRUNC);
}

static int refuse_filter(const struct confab_endpoint *endpoint, const struct confab_filter *filter) {
        return filter && filter->peer ? cfb_unsupported_of(endpoint, "receive", "choosing by sender") : 0;
}

/* A failure that was kept for this call: 0 where there is none. */
static int told_late(struct confab_endpoint *endpoint) {
        struct unix_state *state = cfb_state(endpoint);
        int pending = state->pending;

        state->pending = 0;
        if (state->broken)
                return cfb_socket_refused(state->broken, "receive", confab_address(endpoint),
                                          "descriptors were dropped earlier, and bytes with them");
        return pending ? cfb_socket_refused(
                                 pending, "receive", confab_address(endpoint),
                                 "a message before this one was too large, or brought too many descriptors, "
                                 "and was dropped")
                       : 0;
}

CFB_HOT static int receive_unix(struct confab_endpoint *endpoint, struct confab_message *message,
                                struct cfb_buffer **bufferp, const struct confab_filter *filter) {
        const struct unix_state *state = cfb_state(endpoint);
        union control control;
        struct msghdr header;
        struct iovec part;
        int64_t n;
        int r;

        if (__builtin_expect(state->broken || state->pending || filter, false)) {
                r = told_late(endpoint);
                if (r >= 0)
                        r = refuse_filter(endpoint, filter);
                if (r < 0)
                        return r;
        }
        prepare(&header, &part, &control, *bufferp, state->type);
        n = cfb_sys_recvmsg(endpoint->fds[CFB_RECEIVING], &header, receive_flags(state->type));
        if (n < 0)
                return cfb_socket_failed((int)n, "receive", endpoint);
        return take(endpoint, message, *bufferp, &header, (uint64_t)n);
}

/*
 * One recvmmsg. What has to be refused in the middle is left out and told by the next receive: those behind it were read
 * with it and must not be lost.
 */
static int receive_many(struct confab_endpoint *endpoint, struct confab_message *messages,
                        struct cfb_buffer **buffers, unsigned n_messages) {
        enum { BATCH = 16 }; /* the room for descriptors makes each a kilobyte of stack */
        struct unix_state *state = cfb_state(endpoint);
        struct mmsghdr headers[BATCH];
        union control controls[BATCH];
        struct iovec parts[BATCH];
        int came, r;

        if (state->type == SOCK_STREAM || n_messages == 1)
                return receive_unix(endpoint, &messages[0], &buffers[0], NULL);
        r = told_late(endpoint);
        if (r < 0)
                return r;
        if (n_messages > BATCH)
                n_messages = BATCH;
        for (unsigned i = 0; i < n_messages; i++)
                prepare(&headers[i].msg_hdr, &parts[i], &controls[i], buffers[i], state->type);
        came = recvmmsg(endpoint->fds[CFB_RECEIVING], headers, n_messages, receive_flags(state->type), NULL);
        if (came < 0)
                return cfb_socket_failed(-errno, "receive", endpoint);
        return cfb_socket_take_many(endpoint, messages, buffers, headers, came, take, &state->pending);
}

/* --- waiting --- */

static int wait_unix(struct confab_endpoint *endpoint, uint32_t direction, int64_t deadline_ns) {
        const struct unix_state *state = cfb_state(endpoint);
        int fd = endpoint->fds[direction == CONFAB_SEND ? CFB_SENDING : CFB_RECEIVING];
        short events = direction == CONFAB_SEND ? POLLOUT : POLLIN;

        /* Writable, and yet it had to wait: it is the receiver's queue that is full. */
        if (direction == CONFAB_SEND && !state->connected &&
            poll(&(struct pollfd){.fd = fd, .events = events}, 1, 0) == 1)
                return cfb_wait_nap(endpoint, direction, NAP_NS, deadline_ns);
        return cfb_wait_descriptor(endpoint, direction, fd, events, deadline_ns);
}

static int descriptor(struct confab_endpoint *endpoint, uint32_t direction, struct pollfd *pollfd) {
        int fd = endpoint->fds[direction == CONFAB_SEND ? CFB_SENDING : CFB_RECEIVING];

        if (fd < 0)
                return cfb_unsupported_of(endpoint, "descriptor",
                                          "sending on a listener: accept a connection first");
        *pollfd = (struct pollfd){.fd = fd, .events = direction == CONFAB_SEND ? POLLOUT : POLLIN};
        return 0;
}

static int shutdown_unix(struct confab_endpoint *endpoint, uint32_t direction) {
        const struct unix_state *state = cfb_state(endpoint);

        if (state->type == SOCK_DGRAM || endpoint->listening)
                return cfb_unsupported_of(endpoint, "shutdown", "half-close without a connection");
        return cfb_socket_shutdown(endpoint, direction);
}

/* --- peers --- */

static int peer_of(const struct confab_endpoint *endpoint, struct confab_peer *peer) {
        const struct unix_state *state = cfb_state(endpoint);
        struct cfb_socket_name name = {.len = sizeof(name.un)};
        struct ucred who;
        socklen_t len = sizeof(who);

        if (!state->connected)
                return cfb_socket_refused(-ENOTCONN, "peer", confab_address(endpoint),
                                          "this end has no single peer");
        if (getpeername(endpoint->fds[CFB_SENDING], &name.any, &name.len) == 0)
                cfb_socket_peer_set(peer, CFB_SOCKET_UNIX, state->type, &name);
        if (getsockopt(endpoint->fds[CFB_SENDING], SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 &&
            who.uid != UINT32_MAX) {
                peer->flags |= CONFAB_PEER_CREDENTIALS;
                peer->pid = (uint32_t)who.pid;
                peer->uid = who.uid;
                peer->gid = who.gid;
        }
        return 0;
}

static size_t peer_address(const struct confab_peer *peer, char *text, size_t text_cap) {
        struct cfb_socket_peer read;
        const char *path = read.un.sun_path;
        size_t used = 0, len;

        if (cfb_socket_peer_read(&read, peer, CFB_SOCKET_UNIX) < 0)
                return 0;
        len = read.name_len - offsetof(struct sockaddr_un, sun_path);
        if (!*path && memchr(path + 1, '\0', len - 1))
                return 0; /* a name with a NUL in it, which no address can say */
        cfb_append(text, text_cap, &used, "unix://");
        if (*path) {
                cfb_address_encode(text, text_cap, &used, path, strnlen(path, len));
        } else {
                cfb_append(text, text_cap, &used, "@");
                cfb_address_encode(text, text_cap, &used, path + 1, len - 1);
        }
        if (read.type != SOCK_STREAM)
                cfb_append(text, text_cap, &used, "?type=%s",
                           read.type == SOCK_DGRAM ? "datagram" : "seqpacket");
        return used;
}

const struct cfb_transport cfb_tr_unix = {
        .scheme = "unix",
        .summary = "socket between processes of one machine, by path, abstract name or as a pair",
        .example = "unix:///run/name.sock?type=stream",
        .keys = CFB_KEY(FRAME) | CFB_KEY(MODE) | CFB_KEY(OWNER) | CFB_KEY(GROUP) | CFB_KEY(CAPACITY) |
                CFB_KEY(MAX) | CFB_KEY(DIRECTION) | CFB_KEY(LIFETIME) | CFB_KEY(BACKLOG) | CFB_KEY(TYPE) |
                CFB_KEY(FROM),
        .state_len = sizeof(struct unix_state),
        .properties = properties,
        .check = check,
        .open = open_unix,
        .listen = listen_unix,
        .accept = accept_unix,
        .pair = pair_unix,
        .send = send_unix,
        .send_many = send_many,
        .receive = receive_unix,
        .receive_many = receive_many,
        .wait = wait_unix,
        .descriptor = descriptor,
        .shutdown = shutdown_unix,
        .peer = peer_of,
        .remove = cfb_unix_remove,
        .close = close_unix,
        .buffer_cap = buffer_cap,
        .peer_address = peer_address,
};
