/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* The rows: one line a transport and type. */
#include "conformance/link.h"
#include "conversation.h"
#include "emulated.h"
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static int inherited_pipe(int fds[2]) {
        return pipe2(fds, O_CLOEXEC);
}

static int inherited_sockets(int fds[2]) {
        return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds);
}

/* stdio:// sends to 1 and receives from 0: a pipe from 1 to 0 makes it a loop. The runner reads what the test prints, so stderr stays. */
static int stdio_loop(int fds[2]) {
        if (pipe2(fds, O_CLOEXEC) < 0 || dup2(fds[0], 0) < 0 || dup2(fds[1], 1) < 0)
                return -1;
        close(fds[0]);
        close(fds[1]);
        return 0;
}

/* Signals that come when nobody receives any more would end this process; none of these tests has a meaning for them. */
static void ignore_signals(void) {
        signal(SIGRTMIN + 1, SIG_IGN);
        signal(SIGRTMIN + 2, SIG_IGN);
}

/* RLIMIT_SIGPENDING is this process's own, but what waits in all processes of the user counts. */
static void few_signals(void) {
        struct rlimit limit;

        check(getrlimit(RLIMIT_SIGPENDING, &limit) == 0);
        if (limit.rlim_cur > 500)
                limit.rlim_cur = 500;
        check(setrlimit(RLIMIT_SIGPENDING, &limit) == 0);
}

static void other_signals(void) {
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGRTMIN + 3);
        sigprocmask(SIG_BLOCK, &set, NULL);
        for (int i = 0; i < 7; i++)
                sigqueue(getpid(), SIGRTMIN + 3, (union sigval){.sival_int = i});
}

const struct row rows[] = {
        {"pipe", "pipe://", MADE_PAIR, NULL, false, NULL},
        {"pipe-duplex", "pipe://?duplex", MADE_PAIR, NULL, false, NULL},
        {"pipe-record", "pipe://?frame=record", MADE_PAIR, NULL, false, NULL},
        {"pipe-line", "pipe://?frame=line", MADE_PAIR, NULL, false, NULL},
        {"fifo", "fifo://%s/fifo", MADE_BOUND, NULL, false, NULL},
        {"unix-stream", "unix://%s/socket", MADE_ACCEPT, NULL, false, NULL},
        {"unix-stream-pair", "unix://", MADE_PAIR, NULL, false, NULL},
        {"unix-stream-record", "unix://%s/socket?frame=record", MADE_ACCEPT, NULL, false, NULL},
        {"unix-seqpacket", "unix://%s/socket?type=seqpacket", MADE_ACCEPT, NULL, false, NULL},
        {"unix-seqpacket-pair", "unix://?type=seqpacket", MADE_PAIR, NULL, false, NULL},
        {"unix-datagram", "unix://%s/socket?type=datagram", MADE_BOUND, NULL, false, NULL},
        {"unix-datagram-pair", "unix://?type=datagram", MADE_PAIR, NULL, false, NULL},
        {"unix-abstract", "unix://@confab-test-%d", MADE_ACCEPT, NULL, false, NULL},
        {"shm", "shm://confab-test-%d", MADE_ACCEPT, NULL, false, NULL},
        {"shm-pair", "shm://", MADE_PAIR, NULL, false, NULL},
        {"shm-distrusted", "shm://confab-test-%d?trust=no", MADE_ACCEPT, NULL, false, NULL},
        {"tcp", "tcp://127.0.0.1:0", MADE_ACCEPT, NULL, false, NULL},
        {"tcp6", "tcp://[::1]:0", MADE_ACCEPT, NULL, false, NULL},
        {"tcp-record", "tcp://127.0.0.1:0?frame=record", MADE_ACCEPT, NULL, false, NULL},
        {"udp", "udp://127.0.0.1:0", MADE_BOUND, NULL, false, NULL},
        {"udp6", "udp://[::1]:0", MADE_BOUND, NULL, false, NULL},
        {"mq", "mq:///confab-test-%d?message-size=1024", MADE_BOUND, NULL, false, NULL},
        {"sysv", "sysv://%d", MADE_BOUND, NULL, false, NULL},
        {"signal",
         "signal://self?signal=RTMIN+1,RTMIN+2",
         MADE_BOUND,
         NULL,
         false,
         NULL,
         ignore_signals,
         few_signals,
         other_signals,
         emulator_sends_no_values,
         {"RTMIN+1", "RTMIN+2"}},
        {"exec", "exec://cat", MADE_LOOP, NULL, true, "exec://exec%20sleep%2010?grace=1ms"},
        {"fd-pipe", "fd://%d?take", MADE_INHERIT, inherited_pipe, false, NULL},
        {"fd-socket", "fd://%d?take", MADE_INHERIT, inherited_sockets, false, NULL},
        {"stdio", "stdio://", MADE_LOOP, stdio_loop, false, NULL},
};
const unsigned n_rows = sizeof(rows) / sizeof(rows[0]);

/* @row's address with its %s or %d replaced by @with. */
static void fill_in(const struct row *row, const char *with, char *text, size_t text_cap) {
        const char *place = strstr(row->address, "%s");

        if (!place)
                place = strstr(row->address, "%d"); /* other percents are the address's own */
        if (place)
                snprintf(text, text_cap, "%.*s%s%s", (int)(place - row->address), row->address, with,
                         place + 2);
        else
                snprintf(text, text_cap, "%s", row->address);
}

void row_address(const struct row *row, char *text, size_t text_cap) {
        char with[200];

        if (strstr(row->address, "%d"))
                snprintf(with, sizeof(with), "%d", 0x20000000 + (int)getpid());
        else if (!getcwd(with, sizeof(with)))
                strcpy(with, ".");
        fill_in(row, with, text, text_cap);
}

bool flipped(const struct row *row, const char *name) {
        const char *flip = getenv("CONFAB_FLIP");
        size_t len = strlen(row->name);

        return flip && strncmp(flip, row->name, len) == 0 && flip[len] == ':' &&
               strcmp(flip + len + 1, name) == 0;
}

/* Turns the cells CONFAB_FLIP names. A word gets the next one, a number a neighbour: CONFAB_FLIP_BY says which way. */
static struct confab_properties turned(const struct row *row, struct confab_properties properties) {
        const char *by_text = getenv("CONFAB_FLIP_BY");
        int by = by_text ? atoi(by_text) : 1;
        static const struct {
                const char *name;
                size_t offset;
                uint32_t n_values; /* 0: a number */
                bool wide;
        } cells[] = {
#define WORD(name, field, n) {name, offsetof(struct confab_properties, field), n, false}
                WORD("addressing", addressing, 7),
                WORD("reach", reach, 3),
                WORD("connection", connection, 3),
                WORD("direction", direction, 3),
                WORD("boundaries", boundaries, 2),
                WORD("order", order, 3),
                WORD("loss", loss, 2),
                WORD("when-full", when_full, 2),
                WORD("peer-gone", peer_gone, 2),
                WORD("end", end, 2),
                WORD("half-close", half_close, 2),
                WORD("empty", empty, 2),
                WORD("descriptors", descriptors, 2),
                WORD("credentials", credentials, 3),
                WORD("reply", reply, 2),
                WORD("types", types, 2),
                WORD("priorities", priorities, 0),
                WORD("waiting", waiting, 2),
                WORD("in-place", in_place, 2),
                WORD("residue", residue, 3),
                WORD("after-fork", after_fork, 2),
                {"message-max", offsetof(struct confab_properties, message_max), 0, true},
                {"atomic-max", offsetof(struct confab_properties, atomic_max), 0, true},
                {"capacity", offsetof(struct confab_properties, capacity), 0, true},
        };

        for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++) {
                char *at = (char *)&properties + cells[i].offset;

                if (!flipped(row, cells[i].name))
                        continue;
                if (cells[i].wide) {
                        uint64_t value;

                        memcpy(&value, at, sizeof(value));
                        if (value == UINT64_MAX)
                                value = 1 << 16;
                        else
                                value = value || by > 0 ? value + (uint64_t)(int64_t)by : UINT64_MAX;
                        memcpy(at, &value, sizeof(value));
                } else {
                        uint32_t value;

                        memcpy(&value, at, sizeof(value));
                        if (cells[i].n_values)
                                value = (value + (by > 0 ? 1 : cells[i].n_values - 1)) % cells[i].n_values;
                        else
                                value = value || by > 0 ? value + (uint32_t)by : 1;
                        memcpy(at, &value, sizeof(value));
                }
        }
        return properties;
}

struct confab_properties believed(const struct link *link) {
        struct confab_properties properties = {.size = sizeof(properties)};

        check_ok(confab_endpoint_properties(&properties, link->receiver ? link->receiver : link->sender));
        return turned(link->row, properties);
}

struct confab_properties believed_of(const struct row *row, const char *address) {
        struct confab_properties properties = {.size = sizeof(properties)};

        check_ok(confab_properties(&properties, address));
        return turned(row, properties);
}

static void make_inherited(struct link *link) {
        confab_endpoint *ends[2];
        char number[16];
        int fds[2];

        check(link->row->prepare(fds) == 0);
        for (int i = 0; i < 2; i++) {
                snprintf(number, sizeof(number), "%d", fds[i]);
                fill_in(link->row, number, link->address, sizeof(link->address));
                check_ok(confab_open(&ends[i], link->address, NULL, CONFAB_NOW));
        }
        link->receiver = ends[0];
        link->sender = ends[1];
}

struct link link_make(const struct row *row) {
        struct link link = {.row = row};
        confab_endpoint *ends[2];
        int unused[2];

        row_address(row, link.address, sizeof(link.address));
        if (row->before)
                row->before();
        switch (row->making) {
        case MADE_PAIR:
                check_ok(confab_pair(ends, link.address, NULL));
                link.receiver = ends[0];
                link.sender = ends[1];
                break;
        case MADE_ACCEPT:
                check_ok(confab_listen(&link.listener, link.address, NULL, soon()));
                snprintf(link.address, sizeof(link.address), "%s", confab_address(link.listener));
                check_ok(confab_open(&link.sender, link.address, NULL, soon()));
                check_ok(confab_accept(&link.receiver, link.listener, soon()));
                break;
        case MADE_BOUND:
                check_ok(confab_listen(&link.receiver, link.address, NULL, soon()));
                snprintf(link.address, sizeof(link.address), "%s", confab_address(link.receiver));
                check_ok(confab_open(&link.sender, link.address, NULL, soon()));
                break;
        case MADE_LOOP:
                check(!row->prepare || row->prepare(unused) == 0);
                check_ok(confab_open(&link.sender, link.address, NULL, soon()));
                link.receiver = link.sender;
                link.loop = true;
                break;
        case MADE_INHERIT:
                make_inherited(&link);
                break;
        }
        return link;
}

void link_close(struct link *link) {
        if (!link->loop)
                confab_close(link->receiver);
        confab_close(link->sender);
        confab_close(link->listener);
        link->sender = link->receiver = link->listener = NULL;
}

void link_drop_sender(struct link *link) {
        if (link->loop) {
                check_ok(confab_shutdown(link->sender, CONFAB_SEND, CONFAB_NOW));
                return;
        }
        link->sender = confab_close(link->sender);
}

void link_drop_receiver(struct link *link) {
        link->listener = confab_close(link->listener);
        if (link->loop) {
                check_ok(confab_shutdown(link->receiver, CONFAB_RECEIVE, CONFAB_NOW));
                return;
        }
        link->receiver = confab_close(link->receiver);
}

pid_t link_fork(struct link *link, bool child_sends) {
        struct confab_properties properties = {.size = sizeof(properties)};
        bool anew = false;
        pid_t child;

        check_ok(confab_endpoint_properties(&properties, link->receiver));
        if (properties.after_fork == CONFAB_FORK_OWNER && link->row->making == MADE_ACCEPT) {
                link->receiver = confab_close(link->receiver);
                link->sender = confab_close(link->sender);
                anew = true;
        }
        child = fork();
        check(child >= 0);
        if (anew && (child == 0) == child_sends)
                check_ok(confab_open(&link->sender, link->address, NULL, soon()));
        else if (anew)
                check_ok(confab_accept(&link->receiver, link->listener, soon()));
        else if (child == 0 && link->row->making == MADE_PAIR)
                check_ok(confab_adopt(child_sends ? link->sender : link->receiver));
        return child;
}

confab_endpoint *link_second_sender(const struct link *link) {
        confab_endpoint *second;

        if (link->row->making != MADE_BOUND)
                return NULL;
        check_ok(confab_open(&second, link->address, NULL, soon()));
        return second;
}

void let_carry(const struct row *row) {
        if (row->slow)
                nap_ms(100);
}

void payload(void *data, size_t len) {
        memset(data, '1', len);
        if (len > 1)
                *(char *)data = '-'; /* so that 11 of them are within 32 bits */
}

void send_bytes(confab_endpoint *endpoint, const void *data, size_t len) {
        struct confab_message message = confab_message_of(data, len);

        check_eq(check_ok(confab_send(endpoint, &message, soon())), (int64_t)len);
}

int64_t receive_bytes(confab_endpoint *endpoint, void *data, size_t cap) {
        return receive_bytes_until(endpoint, data, cap, soon());
}

int64_t receive_bytes_until(confab_endpoint *endpoint, void *data, size_t cap, int64_t deadline_ns) {
        struct confab_message message = confab_message_of(NULL, 0);
        int r = confab_receive(endpoint, &message, NULL, deadline_ns);
        int64_t len;

        if (r < 0)
                return r;
        if (r == 0)
                return AT_END;
        len = (int64_t)message.data_len;
        if (len)
                memcpy(data, message.data, (size_t)len < cap ? (size_t)len : cap);
        confab_release(endpoint, &message);
        return len;
}
