/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * One case a cell of the property table: each observes what the mechanism does and compares it with what the library says.
 * None of them looks at the scheme: a flipped cell (CONFAB_FLIP, tests/conformance/flip) must make its case fail.
 */
#include "conformance/link.h"
#include "conversation.h"
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/msg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MANY = 100000 };
static const int64_t MS = 1000000;

/* Until when to look for what the table says is there: long, so that a busy machine fails nobody, and short for what it says is not. */
static int64_t as_declared(bool is_there) {
        return is_there ? soon() : confab_after(300 * MS);
}

/* --- addressing: which kind of thing the address names, by evidence --- */

static uint32_t observed_addressing(const struct link *link) {
        const char *rest = strstr(link->address, "://") + 3;
        char path[256];
        struct stat status;
        confab_endpoint *other = NULL;
        const char *colon;
        int number = 0, used = 0;

        snprintf(path, sizeof(path), "%.*s", (int)strcspn(rest, "?"), rest);
        colon = strrchr(path, ':');
        if (!path[0])
                return CONFAB_ADDRESSING_NONE; /* there is no name: only made in pairs, or the process's own */
        if (path[0] == '/' && stat(path, &status) == 0)
                return CONFAB_ADDRESSING_PATH;
        if (colon && sscanf(colon, ":%d%n", &number, &used) == 1 && number > 0 && !colon[used])
                return CONFAB_ADDRESSING_HOST_PORT;
        used = 0;
        if (sscanf(path, "%d%n", &number, &used) == 1 && !path[used])
                return msgget(number, 0) >= 0                              ? CONFAB_ADDRESSING_KEY
                       : fcntl(number, F_GETFD) >= 0 || number == getpid() ? CONFAB_ADDRESSING_NUMBER
                                                                           : UINT32_MAX;
        if (confab_open(&other, link->address, NULL, CONFAB_NOW) < 0)
                return UINT32_MAX;
        confab_close(other);
        /* A command is new each time it is opened; a name is the same thing for all. */
        return link->loop ? CONFAB_ADDRESSING_COMMAND : CONFAB_ADDRESSING_NAME;
}

static void cell_addressing(const struct row *row) {
        struct link link = link_make(row);

        check_eq(believed(&link).addressing, observed_addressing(&link));
        link_close(&link);
}

/* --- reach: can a process that inherited nothing open it; does it have an address of the network --- */

static bool stranger_opens(const char *address) {
        pid_t child = fork();

        check(child >= 0);
        if (child == 0) {
                confab_endpoint *endpoint;

                syscall(SYS_close_range, 3, ~0U, 0); /* a stranger inherits nothing */
                _exit(confab_open(&endpoint, address, NULL, soon()) < 0);
        }
        return reap(child) == 0;
}

static void cell_reach(const struct row *row) {
        struct link link = link_make(row);
        struct pollfd pollfd;
        uint32_t observed = CONFAB_REACH_FAMILY;
        int domain = 0;
        socklen_t len = sizeof(domain);

        if (!link.loop && stranger_opens(link.address))
                observed = CONFAB_REACH_MACHINE;
        if (confab_descriptor(link.receiver, CONFAB_RECEIVE, &pollfd) >= 0) {
                struct confab_peer peer = {.size = sizeof(peer)};
                char text[128] = "";

                if (getsockopt(pollfd.fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0 &&
                    confab_peer(link.sender, &peer) >= 0)
                        confab_peer_address(
                                &peer, text,
                                sizeof(text)); /* a framed stream's descriptor is not the socket */
                if (domain == AF_INET || domain == AF_INET6 || strstr(text, "tcp:"))
                        observed = CONFAB_REACH_NETWORK;
        }
        check_eq(believed(&link).reach, observed);
        link_close(&link);
}

/* --- connection --- */

static void cell_connection(const struct row *row) {
        struct link link = link_make(row);
        uint32_t observed = CONFAB_CONNECTION_MADE;
        confab_endpoint *accepted = NULL, *second = link_second_sender(&link);
        char byte[2];

        if (link.listener && confab_accept(&accepted, link.listener, CONFAB_NOW) == -EAGAIN)
                observed = CONFAB_CONNECTION_ACCEPTED;
        if (second) {
                send_bytes(link.sender, "1", 1);
                check_eq(receive_bytes(link.receiver, byte, 2), 1);
                send_bytes(second, "2", 1);
                check_eq(receive_bytes(link.receiver, byte, 2), 1);
                observed = CONFAB_CONNECTION_NONE;
        }
        check_eq(believed(&link).connection, observed);
        confab_close(second);
        link_close(&link);
}

/* --- direction --- */

static void cell_direction(const struct row *row) {
        struct link link = link_make(row);
        struct confab_message message = confab_message_of("1234", 4), got = confab_message_of(NULL, 0);
        uint32_t observed = CONFAB_DIRECTION_SIMPLEX;
        int64_t back;
        char data[8];

        send_bytes(link.sender, "12345", 5);
        if (link.loop) {
                check_eq(receive_bytes(link.receiver, data, 8), 5);
                observed = CONFAB_DIRECTION_DUPLEX; /* it sends and receives on one endpoint */
        } else {
                /* while "forth" is still under way, so half-duplex would not do */
                back = confab_send(link.receiver, &message, CONFAB_NOW);
                if (back == -EDESTADDRREQ) { /* nobody to send to until somebody was heard */
                        check_eq(confab_receive(link.receiver, &got, NULL, soon()), 1);
                        message.peer = got.peer;
                        back = confab_send(link.receiver, &message, CONFAB_NOW);
                        confab_release(link.receiver, &got);
                }
                if (back == 4 && receive_bytes(link.sender, data, 8) == 4)
                        observed = CONFAB_DIRECTION_DUPLEX;
                else
                        check_eq(back, -EOPNOTSUPP);
        }
        check_eq(believed(&link).direction, observed);
        link_close(&link);
}

/* --- boundaries, empty messages --- */

static void cell_boundaries(const struct row *row) {
        struct link link = link_make(row);
        uint32_t observed = CONFAB_BOUNDARIES_MESSAGE;
        char data[16];

        /* A stream joins what is there together; where somebody carries it that may take a few tries. */
        for (unsigned i = 0; i < 50 && observed == CONFAB_BOUNDARIES_MESSAGE; i++) {
                int64_t n;

                send_bytes(link.sender, "12", 2);
                send_bytes(link.sender, "3", 1);
                let_carry(row);
                n = receive_bytes(link.receiver, data, sizeof(data));
                check(n == 2 || n == 3);
                if (n == 3)
                        observed = CONFAB_BOUNDARIES_STREAM;
                else
                        check_eq(receive_bytes(link.receiver, data, sizeof(data)), 1);
        }
        check_eq(believed(&link).boundaries, observed);
        link_close(&link);
}

static void cell_empty(const struct row *row) {
        struct link link = link_make(row);
        struct confab_message message = confab_message_of("", 0);
        char data[16];
        int64_t n;

        check_eq(confab_send(link.sender, &message, soon()), 0);
        send_bytes(link.sender, "1", 1);
        n = receive_bytes(link.receiver, data, sizeof(data));
        check(n == 0 || n == 1);
        check_eq(believed(&link).empty, n == 0 ? CONFAB_YES : CONFAB_NO);
        link_close(&link);
}

/* --- order --- */

/* The network may deliver datagrams in another order; loopback never does, so a relay of ours swaps two. Whether the far end notices? */
static bool swapped_unnoticed(const struct link *link) {
        confab_endpoint *relay;
        struct confab_message first = confab_message_of(NULL, 0), second = confab_message_of(NULL, 0);
        confab_endpoint *sender;
        char got[3] = "";

        check_ok(confab_listen(&relay, link->row->address, NULL, CONFAB_FOREVER));
        check_ok(confab_open(&sender, confab_address(relay), NULL, CONFAB_FOREVER));
        send_bytes(sender, "1", 1);
        send_bytes(sender, "2", 1);
        check_eq(confab_receive(relay, &first, NULL, soon()), 1);
        check_eq(confab_receive(relay, &second, NULL, soon()), 1);
        send_bytes(link->sender, second.data, second.data_len);
        send_bytes(link->sender, first.data, first.data_len);
        confab_release(relay, &first);
        confab_release(relay, &second);
        check_eq(receive_bytes(link->receiver, got, 1), 1);
        check_eq(receive_bytes(link->receiver, got + 1, 1), 1);
        confab_close(sender);
        confab_close(relay);
        return got[0] == '2' && got[1] == '1';
}

static int64_t type_of(const struct row *row, int which) {
        return row->types[which] ? confab_signal_number(row->types[which]) : which ? 7 : 3;
}

/* Two types, the higher sent first: does the kernel give the lower one first, unasked? */
static bool lower_type_first(const struct link *link) {
        struct confab_message high = confab_message_of("1", 1), low = confab_message_of("22", 2);
        char data[4];
        int64_t n;

        high.type = type_of(link->row, 1);
        low.type = type_of(link->row, 0);
        if (confab_send(link->sender, &high, soon()) == -EOPNOTSUPP)
                return false;
        check_eq(confab_send(link->sender, &low, soon()), 2);
        n = receive_bytes(link->receiver, data, sizeof(data));
        check_eq(receive_bytes(link->receiver, data, sizeof(data)), 3 - n);
        return n == 2;
}

static void cell_order(const struct row *row) {
        struct link link = link_make(row);
        struct confab_properties properties = {.size = sizeof(properties)};
        struct confab_message low = confab_message_of("123", 3), high = confab_message_of("4567", 4);
        uint32_t observed = CONFAB_ORDER_FIFO;
        char data[16];
        unsigned next = 0;

        high.priority = 1;
        if (confab_send(link.sender, &low, soon()) == 3 && confab_send(link.sender, &high, soon()) == 4) {
                if (receive_bytes(link.receiver, data, sizeof(data)) == 4)
                        observed = CONFAB_ORDER_PRIORITY;
                receive_bytes(link.receiver, data, sizeof(data));
        } else {
                receive_bytes(link.receiver, data, 3);
        }
        if (lower_type_first(&link))
                observed = CONFAB_ORDER_PRIORITY;
        for (unsigned round = 0; round < 20; round++) {
                for (unsigned char i = 0; i < 5; i++) {
                        unsigned char value = (unsigned char)('0' + (round * 5 + i) % 10);

                        send_bytes(link.sender, &value, 1);
                }
                for (unsigned got = 0; got < 5;) {
                        unsigned char few[5];
                        int64_t n = receive_bytes(link.receiver, few, sizeof(few));

                        check(n >= 1);
                        for (int64_t i = 0; i < n; i++)
                                check_eq(few[i], '0' + next++ % 10);
                        got += (unsigned)n;
                }
        }
        check_ok(confab_endpoint_properties(&properties, link.receiver));
        if (row->making == MADE_BOUND && properties.addressing == CONFAB_ADDRESSING_HOST_PORT &&
            swapped_unnoticed(&link))
                observed = CONFAB_ORDER_NONE;
        check_eq(believed(&link).order, observed);
        link_close(&link);
}

/* --- what happens when nobody receives: loss, when-full, capacity --- */

struct flood {
        uint64_t n_sent, bytes_sent;
        bool waited; /* the sender was told to wait at last */
};

static struct flood flood(const struct link *link, size_t len) {
        static char data[65536];
        struct confab_properties properties = {.size = sizeof(properties)};
        struct flood flood = {0};

        check_ok(confab_endpoint_properties(&properties, link->sender));
        if (properties.message_max < len)
                len = properties.message_max;
        payload(data, len);
        if (link->row->narrow)
                link->row->narrow();
        while (flood.n_sent < MANY) {
                struct confab_message message = confab_message_of(data, len);
                int64_t n = confab_send(link->sender, &message, CONFAB_NOW);

                if (n == -EAGAIN) {
                        let_carry(link->row);
                        if (link->row->slow &&
                            (n = confab_send(link->sender, &message, CONFAB_NOW)) != -EAGAIN && n > 0) {
                                flood.bytes_sent += (uint64_t)n;
                                flood.n_sent++;
                                continue;
                        }
                        flood.waited = true;
                        break;
                }
                check_ok(n);
                flood.n_sent++;
                flood.bytes_sent += (uint64_t)n;
        }
        return flood;
}

/* Receives until @wanted bytes came, the end did, or nothing comes any more: how many came. */
static uint64_t drain(const struct link *link, uint64_t wanted) {
        bool all_come = believed(link).loss == CONFAB_LOSS_NONE;
        uint64_t bytes = 0;

        while (bytes < wanted) {
                struct confab_message message = confab_message_of(NULL, 0);
                int r = confab_receive(link->receiver, &message, NULL,
                                       as_declared(all_come && link->row->slow));

                if (r <= 0)
                        break;
                bytes += message.data_len;
                confab_release(link->receiver, &message);
        }
        return bytes;
}

static void cell_loss(const struct row *row) {
        struct link link = link_make(row);
        struct flood sent = flood(&link, 1000);
        uint64_t received = drain(&link, sent.bytes_sent);

        if (received < sent.bytes_sent &&
            sent.waited) { /* a framed stream still holds what the last call could not finish */
                confab_shutdown(link.sender, CONFAB_SEND, CONFAB_NOW);
                received += drain(&link, sent.bytes_sent - received);
        }
        check(received <= sent.bytes_sent);
        check_eq(believed(&link).loss, received == sent.bytes_sent ? CONFAB_LOSS_NONE : CONFAB_LOSS_POSSIBLE);
        link_close(&link);
}

static void cell_when_full(const struct row *row) {
        struct link link = link_make(row);
        struct flood sent = flood(&link, 1000);

        check_eq(believed(&link).when_full, sent.waited ? CONFAB_FULL_WAIT : CONFAB_FULL_DROP);
        link_close(&link);
}

/*
 * Capacity is a promise only where two fillings end at the same count, the declared one: with pieces of two sizes where bytes are
 * counted, with the largest messages where messages are.
 */
static void cell_capacity(const struct row *row) {
        struct row deaf = *row;
        struct link link;
        struct confab_properties properties;
        size_t len = 4096, other_len = 1024;
        uint64_t measured;
        struct flood first, second;

        if (row->deaf) { /* the far end of this one never receives */
                deaf.address = row->deaf;
                deaf.slow = false;
        }
        link = link_make(&deaf);
        properties = believed(&link);
        if (properties.boundaries == CONFAB_BOUNDARIES_MESSAGE && properties.message_max <= 65536)
                len = other_len = properties.message_max;
        first = flood(&link, len);
        if (row->deaf) {
                link_close(&link);
                link = link_make(&deaf);
        } else {
                drain(&link, UINT64_MAX);
        }
        if (row->crowd)
                row->crowd();
        second = flood(&link, other_len);
        measured = first.bytes_sent == second.bytes_sent && first.waited ? first.bytes_sent : 0;
        if (measured && !properties.capacity && !row->deaf && len != other_len) {
                /* Sockets sometimes end at the same count twice by chance: a promise holds for another size too. */
                drain(&link, UINT64_MAX);
                if (flood(&link, 2 * len).bytes_sent != measured)
                        measured = 0;
        }
        check_eq(properties.capacity, measured);
        link_close(&link);
}

/* --- the other side has gone --- */

static void cell_peer_gone(const struct row *row) {
        struct link link = link_make(row);
        uint32_t observed = CONFAB_GONE_UNNOTICED;
        int64_t until_ns = as_declared(believed(&link).peer_gone == CONFAB_GONE_ERROR);

        link_drop_receiver(&link);
        while (observed == CONFAB_GONE_UNNOTICED && confab_now() < until_ns) {
                struct confab_message message = confab_message_of("1", 1);
                int64_t n = confab_send(link.sender, &message, CONFAB_NOW);

                if (n == -EPIPE || n == -ECONNRESET || n == -ECONNREFUSED)
                        observed = CONFAB_GONE_ERROR;
                else
                        check(n == 1 || n == -EAGAIN || n == -ENOENT || n == -EIDRM);
                if (n == -EAGAIN || n == -EIDRM)
                        break; /* it waits for ever, or closing removed the queue, as a death would not: nothing was noticed */
                nap_ms(10);
        }
        check_eq(believed_of(row, link.address).peer_gone, observed);
        link_close(&link);
}

static void cell_end(const struct row *row) {
        struct link link = link_make(row);
        char data[4];
        int64_t n;

        send_bytes(link.sender, "1", 1);
        link_drop_sender(&link);
        check_eq(receive_bytes(link.receiver, data, 4), 1);
        n = receive_bytes_until(link.receiver, data, 4, as_declared(believed(&link).end == CONFAB_YES));
        check(n == AT_END || n == -ETIMEDOUT);
        check_eq(believed(&link).end, n == AT_END ? CONFAB_YES : CONFAB_NO);
        link_close(&link);
}

static void cell_half_close(const struct row *row) {
        struct link link = link_make(row);
        uint32_t observed = CONFAB_NO;
        char data[8];
        int r;

        send_bytes(link.sender, "12345", 5);
        check_eq(receive_bytes(link.receiver, data, 8), 5);
        r = confab_shutdown(link.sender, CONFAB_SEND, soon());
        if (r >= 0) {
                /* the receiver learns it, and the way back still works */
                check_eq(receive_bytes(link.receiver, data, 8), AT_END);
                if (!link.loop) {
                        send_bytes(link.receiver, "1234", 4);
                        check_eq(receive_bytes(link.sender, data, 8), 4);
                }
                observed = CONFAB_YES;
        } else {
                check_eq(r, -EOPNOTSUPP);
        }
        check_eq(believed(&link).half_close, observed);
        link_close(&link);
}

/* --- what travels beside the bytes --- */

static void cell_descriptors(const struct row *row) {
        struct link link = link_make(row);
        struct confab_message message = confab_message_of("12", 2), got = confab_message_of(NULL, 0);
        uint32_t observed = CONFAB_NO;
        int fds[2], taken;
        char byte = 0;
        int64_t n;

        check(pipe2(fds, O_CLOEXEC) == 0);
        message.descriptors = &fds[0];
        message.n_descriptors = 1;
        n = confab_send(link.sender, &message, soon());
        if (n >= 0) {
                check_eq(confab_receive(link.receiver, &got, NULL, soon()), 1);
                check_eq(got.n_descriptors, 1);
                taken = confab_take_descriptor(&got, 0);
                check(taken >= 0 && (fcntl(taken, F_GETFD) & FD_CLOEXEC));
                check(write(fds[1], "y", 1) == 1 && read(taken, &byte, 1) == 1 && byte == 'y');
                close(taken);
                confab_release(link.receiver, &got);
                observed = CONFAB_YES;
        } else {
                check_eq(n, -EOPNOTSUPP);
        }
        close(fds[0]);
        close(fds[1]);
        check_eq(believed(&link).descriptors, observed);
        link_close(&link);
}

static bool ours(const struct confab_peer *peer) {
        return (peer->flags & CONFAB_PEER_CREDENTIALS) && peer->uid == geteuid() && peer->gid == getegid() &&
               peer->pid == (uint32_t)getpid();
}

static void cell_credentials(const struct row *row) {
        struct link link = link_make(row);
        struct confab_message got = confab_message_of(NULL, 0);
        struct confab_peer peer = {.size = sizeof(peer)};
        uint32_t observed = CONFAB_CREDENTIALS_NONE;

        send_bytes(link.sender, "1", 1);
        check_eq(confab_receive(link.receiver, &got, NULL, soon()), 1);
        if (confab_peer(link.receiver, &peer) >= 0 && ours(&peer))
                observed = CONFAB_CREDENTIALS_CONNECTION;
        if (got.peer && ours(got.peer))
                observed = CONFAB_CREDENTIALS_MESSAGE;
        confab_release(link.receiver, &got);
        check_eq(believed(&link).credentials, observed);
        link_close(&link);
}

static void cell_reply(const struct row *row) {
        struct link link = link_make(row);
        struct confab_message got = confab_message_of(NULL, 0), answer = confab_message_of("123456", 6);
        struct confab_peer nobody = {.size = sizeof(nobody)};
        uint32_t observed = CONFAB_NO;
        char data[8];

        send_bytes(link.sender, "12345678", 8);
        check_eq(confab_receive(link.receiver, &got, NULL, soon()), 1);
        if (got.peer && (got.peer->flags & CONFAB_PEER_ADDRESS)) {
                answer.peer = got.peer;
                check_eq(confab_send(link.receiver, &answer, soon()), 6);
                check_eq(receive_bytes(link.sender, data, 8), 6);
                observed = CONFAB_YES;
        } else {
                answer.peer = &nobody;
                check(confab_send(link.receiver, &answer, CONFAB_NOW) < 0);
        }
        confab_release(link.receiver, &got);
        check_eq(believed(&link).reply, observed);
        link_close(&link);
}

static void cell_types(const struct row *row) {
        struct link link = link_make(row);
        int64_t lower = type_of(row, 0), higher = type_of(row, 1);
        struct confab_message high = confab_message_of("77777", 5), low = confab_message_of("3", 1);
        struct confab_message got = confab_message_of(NULL, 0);
        struct confab_filter filter = {.size = sizeof(filter), .type = lower};
        uint32_t observed = CONFAB_NO;
        int64_t n;

        high.type = higher;
        low.type = lower;
        n = confab_send(link.sender, &high, soon());
        if (n == 5) {
                check_eq(confab_send(link.sender, &low, soon()), 1);
                check_eq(confab_receive(link.receiver, &got, &filter, soon()), 1);
                check_eq(got.type, lower);
                confab_release(link.receiver, &got);
                filter.type = -(higher + 2);
                check_eq(confab_receive(link.receiver, &got, &filter, soon()), 1);
                check_eq(got.type, higher);
                confab_release(link.receiver, &got);
                observed = CONFAB_YES;
        } else {
                check_eq(n, -EOPNOTSUPP);
                check_eq(confab_receive(link.receiver, &got, &filter, CONFAB_NOW), -EOPNOTSUPP);
        }
        check_eq(believed(&link).types, observed);
        link_close(&link);
}

static void cell_priorities(const struct row *row) {
        struct link link = link_make(row);
        uint32_t declared = believed(&link).priorities;
        struct confab_message message = confab_message_of("1", 1);
        int64_t n;

        message.priority = declared ? declared : 1;
        n = confab_send(link.sender, &message, soon());
        check(n == (declared ? -EINVAL : -EOPNOTSUPP));
        if (declared) {
                char data[4];

                message.priority = declared - 1;
                check_eq(confab_send(link.sender, &message, soon()), 1);
                check_eq(receive_bytes(link.receiver, data, 4), 1);
        }
        link_close(&link);
}

/* --- how it waits, copies, dies, forks --- */

static void cell_waiting(const struct row *row) {
        struct link link = link_make(row);
        struct pollfd pollfd;
        int r = confab_descriptor(link.receiver, CONFAB_RECEIVE, &pollfd);

        check(r == 0 || r == -EOPNOTSUPP);
        check_eq(believed(&link).waiting, r == 0 ? CONFAB_WAITING_DESCRIPTOR : CONFAB_WAITING_NAPS);
        if (r == 0) { /* level-triggered: not ready, ready as long as nothing is received, not ready */
                char data[4];

                check_eq(restarted(poll(&pollfd, 1, 0)), 0);
                send_bytes(link.sender, "1", 1);
                check_eq(restarted(poll(&pollfd, 1, -1)), 1);
                check_eq(restarted(poll(&pollfd, 1, -1)), 1);
                check_eq(receive_bytes(link.receiver, data, 4), 1);
                check_eq(restarted(poll(&pollfd, 1, 0)), 0);
        }
        link_close(&link);
}

static void cell_in_place(const struct row *row) {
        struct link link = link_make(row);
        struct confab_message message = confab_message_of(NULL, 1), got = confab_message_of(NULL, 0);
        void *room;

        check_ok(confab_claim(link.sender, &room, 1, soon()));
        *(char *)room = '1';
        check_eq(confab_commit(link.sender, &message, soon()), 1);
        *(volatile char *)room = '2'; /* in place, the receiver would see this */
        check_eq(confab_receive(link.receiver, &got, NULL, soon()), 1);
        check_eq(believed(&link).in_place, *(const char *)got.data == '2' ? CONFAB_YES : CONFAB_NO);
        confab_release(link.receiver, &got);
        link_close(&link);
}

/* An owner that is killed: what the next one finds. */
static void cell_residue(const struct row *row) {
        uint32_t observed = CONFAB_RESIDUE_NONE;
        char address[256], *path;
        struct stat status;
        int ready[2];
        pid_t owner;
        char byte;

        row_address(row, address, sizeof(address));
        check(pipe(ready) == 0);
        owner = fork();
        check(owner >= 0);
        if (owner == 0) {
                struct row child_row = *row;
                struct link link;

                if (row->making != MADE_INHERIT)
                        child_row.address = address; /* of the parent: its pid and directory are in it */
                link = link_make(&child_row);
                check(write(ready[1], "1", 1) == 1 && link.sender);
                for (;;)
                        pause();
        }
        close(ready[1]);
        check(restarted(read(ready[0], &byte, 1)) == 1);
        close(ready[0]);
        kill(owner, SIGKILL);
        check_eq(reap(owner), SIGKILL);

        path = strstr(address, "://") + 3;
        path[strcspn(path, "?")] = '\0';
        if (path[0] == '/' && strchr(path + 1, '/') && lstat(path, &status) == 0) {
                observed = CONFAB_RESIDUE_FILE;
                unlink(path);
        } else {
                row_address(row, address, sizeof(address));
                if (row->making == MADE_BOUND && confab_remove(address) >= 0)
                        observed = CONFAB_RESIDUE_QUEUE;
                if (row->making == MADE_ACCEPT && confab_remove(address) >= 0)
                        observed = CONFAB_RESIDUE_FILE; /* by name */
        }
        row_address(row, address, sizeof(address));
        check_eq(believed_of(row, address).residue, observed);
}

static void cell_after_fork(const struct row *row) {
        enum { BOTH, SENDS, NEITHER, WRONG }; /* what the child can */
        struct link link = link_make(row);
        uint32_t observed;
        char data[4];
        int status;
        pid_t child = fork();

        check(child >= 0);
        if (child == 0) {
                struct confab_message message = confab_message_of("1", 1), got = confab_message_of(NULL, 0);
                int r = confab_receive(link.receiver, &got, NULL, CONFAB_NOW);
                int64_t n = confab_send(link.sender, &message, soon());

                _exit(n == 1 ? r == -EOWNERDEAD ? SENDS : BOTH : n == -EOWNERDEAD ? NEITHER : WRONG);
        }
        status = reap(child);
        check(WIFEXITED(status) && WEXITSTATUS(status) < WRONG);
        observed = WEXITSTATUS(status) == BOTH ? CONFAB_FORK_SHARED : CONFAB_FORK_OWNER;
        if (WEXITSTATUS(status) != NEITHER) {
                check_eq(receive_bytes(link.receiver, data, 4), 1);
                check(data[0] == '1');
        }
        send_bytes(link.sender, "2", 1); /* and the parent goes on */
        check_eq(receive_bytes(link.receiver, data, 4), 1);
        check(data[0] == '2');
        check_eq(believed(&link).after_fork, observed);
        link_close(&link);
}

/* --- sizes --- */

static void cell_message_max(const struct row *row) {
        struct link link = link_make(row);
        uint64_t max = believed(&link).message_max;
        size_t len = max == UINT64_MAX ? (1 << 20) + 1 : (size_t)max + 1;
        char *data = calloc(1, len);
        struct confab_message message = confab_message_of(data, len);
        int64_t n;

        check(data);
        payload(data, max == UINT64_MAX ? len : (size_t)max);
        n = confab_send(link.sender, &message, confab_after(50 * MS));
        if (max == UINT64_MAX) {
                check(n > 0); /* as far as it goes until the deadline; never refused for its size */
        } else {
                check_eq(n, -EMSGSIZE);
                message.data_len = max;
                n = confab_send(link.sender, &message, confab_after(50 * MS));
                check(n == (int64_t)max);
        }
        free(data);
        link_close(&link);
}

/*
 * Whether a send of @len bytes is ever cut: into a mechanism that is filled up, emptied, filled up again. A stream says so itself; a
 * framed one queues the rest, so fewer messages arrive than were sent.
 */
static bool ever_cut(const struct row *row, size_t len) {
        struct link link = link_make(row);
        char *data = calloc(1, len);
        bool cut = false;

        check(data);
        payload(data, len);
        for (unsigned round = 0; round < 12 && !cut; round++) {
                unsigned n_sent = 0, n_received = 0;
                struct confab_message message = confab_message_of(data, len),
                                      got = confab_message_of(NULL, 0);

                for (unsigned i = 0; i < 200 && !cut; i++) {
                        int64_t n = confab_send(link.sender, &message, CONFAB_NOW);

                        if (n == -EAGAIN)
                                break;
                        check_ok(n);
                        cut = n < (int64_t)len;
                        n_sent++;
                }
                let_carry(row);
                while (confab_receive(link.receiver, &got, NULL, CONFAB_NOW) == 1) {
                        confab_release(link.receiver, &got);
                        n_received++;
                        if (round % 2 && n_received == n_sent / 2)
                                break; /* the next filling begins in the middle */
                }
                if (believed(&link).boundaries == CONFAB_BOUNDARIES_MESSAGE && round == 0 &&
                    believed(&link).loss == CONFAB_LOSS_NONE)
                        cut |= n_received < n_sent;
        }
        free(data);
        link_close(&link);
        return cut;
}

static void cell_atomic_max(const struct row *row) {
        struct link link = link_make(row);
        struct confab_properties properties = believed(&link);
        uint64_t atomic = properties.atomic_max;
        size_t large =
                properties.boundaries == CONFAB_BOUNDARIES_MESSAGE && properties.message_max < (4 << 20)
                        ? (size_t)properties.message_max
                        : 4 << 20;

        link_close(&link);
        if (atomic == UINT64_MAX) {
                check(!ever_cut(row, large));
        } else {
                check(atomic == 0 || !ever_cut(row, atomic));
                check(ever_cut(row, atomic ? (size_t)atomic + 1 : large));
        }
}

#define CELL(text, function, seconds) \
        { "cell-" text, function, seconds, NULL, text }
const struct conformance_case cell_cases[] = {
        CELL("addressing", cell_addressing, 10),
        CELL("reach", cell_reach, 10),
        CELL("connection", cell_connection, 10),
        CELL("direction", cell_direction, 10),
        CELL("boundaries", cell_boundaries, 10),
        CELL("order", cell_order, 10),
        CELL("loss", cell_loss, 20),
        CELL("when-full", cell_when_full, 20),
        CELL("peer-gone", cell_peer_gone, 20),
        CELL("end", cell_end, 10),
        CELL("half-close", cell_half_close, 20),
        CELL("empty", cell_empty, 10),
        CELL("descriptors", cell_descriptors, 10),
        CELL("credentials", cell_credentials, 10),
        CELL("reply", cell_reply, 10),
        CELL("types", cell_types, 10),
        CELL("priorities", cell_priorities, 10),
        CELL("waiting", cell_waiting, 10),
        CELL("in-place", cell_in_place, 10),
        CELL("residue", cell_residue, 10),
        CELL("after-fork", cell_after_fork, 10),
        CELL("message-max", cell_message_max, 20),
        CELL("atomic-max", cell_atomic_max, 20),
        CELL("capacity", cell_capacity, 20),
};
const unsigned n_cell_cases = sizeof(cell_cases) / sizeof(cell_cases[0]);
