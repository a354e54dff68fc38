/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * FAULTS row 33: memory runs out at the Nth allocation, for all N, in opening, listening, accepting, pairing, sending and receiving on
 * every transport.
 *
 * Each conversation below is held again and again. In the mode ONCE one allocation fails: the call that needed it answers -ENOMEM, and
 * the same call made again must succeed and the conversation go on as if nothing had been: so the failure changed nothing. In the mode
 * EVER all allocations from the Nth on fail: what is open must close all the same. After each round the allocator must have got
 * everything back, and the process must have as many descriptors as before.
 */
#include "harness.h"

#include <confab/confab.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum mode { NEVER, ONCE, EVER };

static struct {
        enum mode mode;
        unsigned n_allocations, fail_at; /* counted from 1 */
        unsigned n_failed;
        unsigned n_live;
} memory;

/* Its length lies before each block, so that what is given back can be made useless. */
static void *allocate(size_t len, void *data) {
        size_t *block;

        check(data == &memory && len > 0);
        memory.n_allocations++;
        if ((memory.mode == ONCE && memory.n_allocations == memory.fail_at) ||
            (memory.mode == EVER && memory.n_allocations >= memory.fail_at)) {
                memory.n_failed++;
                return NULL;
        }
        block = malloc(len + 16);
        check(block);
        *block = len;
        memset((char *)block + 16, 0xCC, len);
        memory.n_live++;
        return (char *)block + 16;
}

static void release(void *given, void *data) {
        size_t *block = given ? (size_t *)((char *)given - 16) : NULL;

        check(data == &memory);
        if (!block)
                return;
        memset(given, 0xA5, *block);
        memory.n_live--;
        free(block);
}

static unsigned count_descriptors(void) {
        DIR *dir = opendir("/proc/self/fd");
        unsigned n = 0;

        check(dir);
        while (readdir(dir))
                n++;
        closedir(dir);
        return n;
}

enum kind {
        PAIR,     /* both ends at once */
        ACCEPTED, /* listen, open, accept */
        NAMED,    /* listen receives, open sends */
        ALONE,    /* one end that hears itself: cat */
        LENT,     /* descriptors of the test's */
};

struct ends;

struct conversation {
        enum kind kind;
        const char *address;
        bool descriptors, replies, half_close, large;
        void (*instead)(struct ends *ends); /* of talking */
};

struct ends {
        confab_endpoint *listener, *sender, *receiver;
        struct confab_message held[3];
        int fds[2];
};

/*
 * One call of the conversation. A result of -ENOMEM must come from a failure that was planted, and must be explained; then the call is made
 * again, which must succeed, or (EVER) the conversation ends here.
 */
#define STEP(expr)                                                    \
        __extension__({                                               \
                unsigned failed_before_ = memory.n_failed;            \
                int64_t result_ = (expr);                             \
                                                                      \
                if (result_ == -ENOMEM) {                             \
                        check_planted(#expr, failed_before_);         \
                        if (memory.mode == EVER)                      \
                                return;                               \
                        result_ = (expr);                             \
                }                                                     \
                harness_check_ok(result_, #expr, __FILE__, __LINE__); \
                result_;                                              \
        })

static void check_planted(const char *call, unsigned failed_before) {
        char text[512];

        if (memory.n_failed == failed_before)
                printf("%s\n", call);
        check(memory.n_failed > failed_before);
        check(confab_explain(text, sizeof(text)) > 0);
        check(strstr(text, "memory"));
}

static char bytes[1 << 20];

static void receive_one(struct ends *ends, confab_endpoint *receiver, size_t len, unsigned held) {
        size_t got = 0;

        while (got < len) {
                struct confab_message *message = &ends->held[held];

                *message = confab_message_of(NULL, 0);
                if (STEP(confab_receive(receiver, message, NULL, confab_after(5000000000))) == 0)
                        check(!"the end");
                check(got + message->data_len <= len);
                check_mem(message->data, bytes + got, message->data_len);
                got += message->data_len;
                if (got < len)
                        confab_release(receiver, message);
        }
        /* Left lent: the caller releases it. */
}

static bool is_gone(const struct ends *ends, unsigned held) {
        return ends->held[held].flags == 0;
}

/* Both ends are there: everything that can be said. Returns early where memory has run out for good. */
static void talk(const struct conversation *conversation, struct ends *ends, confab_endpoint *from,
                 confab_endpoint *to) {
        struct confab_message message = confab_message_of(bytes, 100), many[3];
        struct confab_peer peer = {.size = sizeof(peer)};
        void *room = NULL;
        int64_t deadline = confab_after(5000000000);

        check_eq(STEP(confab_send(from, &message, deadline)), 100);
        receive_one(ends, to, 100, 0);
        if (is_gone(ends, 0))
                return;
        /* A second one lent while the first is. */
        check_eq(STEP(confab_send(from, &message, deadline)), 100);
        receive_one(ends, to, 100, 1);
        if (is_gone(ends, 1))
                return;
        confab_release(to, &ends->held[0]);
        confab_release(to, &ends->held[1]);

        if (conversation->large) {
                message.data_len = 150000; /* more than a usual buffer, less than what a socket holds */
                check_eq(STEP(confab_send(from, &message, deadline)), 150000);
                receive_one(ends, to, 150000, 0);
                if (is_gone(ends, 0))
                        return;
                confab_release(to, &ends->held[0]);
        }

        STEP(confab_claim(from, &room, 50, deadline));
        memcpy(room, bytes, 50);
        message = confab_message_of(NULL, 0);
        message.data_len = 50;
        check_eq(STEP(confab_commit(from, &message, deadline)), 50);
        receive_one(ends, to, 50, 0);
        if (is_gone(ends, 0))
                return;
        confab_release(to, &ends->held[0]);

        for (unsigned i = 0; i < 3; i++)
                many[i] = confab_message_of(bytes, 10);
        check_eq(STEP(confab_send_many(from, many, 3, deadline)), 3);
        for (unsigned got = 0; got < 30;) {
                int n;

                for (unsigned i = 0; i < 3; i++)
                        ends->held[i] = confab_message_of(NULL, 0);
                n = (int)STEP(confab_receive_many(to, ends->held, 3, NULL, deadline));
                check(n > 0);
                for (int i = 0; i < n; i++) {
                        got += (unsigned)ends->held[i].data_len;
                        confab_release(to, &ends->held[i]);
                }
                check(got <= 30);
        }

        if (conversation->descriptors) {
                int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
                int64_t n;

                message = confab_message_of(bytes, 5);
                message.descriptors = &null;
                message.n_descriptors = 1;
                ends->fds[0] = null;
                n = STEP(confab_send(from, &message, deadline));
                check_eq(n, 5);
                close(null);
                ends->fds[0] = -1;
                receive_one(ends, to, 5, 0);
                if (is_gone(ends, 0))
                        return;
                check_eq(ends->held[0].n_descriptors, 1);
                confab_release(to, &ends->held[0]);
        }
        if (conversation->replies) {
                message = confab_message_of(bytes, 5);
                check_eq(STEP(confab_send(from, &message, deadline)), 5);
                receive_one(ends, to, 5, 0);
                if (is_gone(ends, 0))
                        return;
                check(ends->held[0].peer);
                peer = *ends->held[0].peer;
                confab_release(to, &ends->held[0]);
                message = confab_message_of(bytes, 7);
                message.peer = &peer;
                check_eq(STEP(confab_send(to, &message, deadline)), 7);
                receive_one(ends, from, 7, 0);
                if (is_gone(ends, 0))
                        return;
                confab_release(from, &ends->held[0]);
        }
        if (conversation->half_close) {
                STEP(confab_shutdown(from, CONFAB_SEND, deadline));
                ends->held[0] = confab_message_of(NULL, 0);
                check_eq(STEP(confab_receive(to, &ends->held[0], NULL, deadline)), 0);
        }
}

/* Writes @from with the working directory for {here} and @number for {n}. */
static void fill(char *text, size_t text_cap, const char *from, int number) {
        char here[PATH_MAX];
        size_t used = 0;

        check(getcwd(here, sizeof(here)));
        text[0] = '\0';
        while (*from) {
                int n;

                if (strncmp(from, "{here}", 6) == 0) {
                        n = snprintf(text + used, text_cap - used, "%s", here);
                        from += 6;
                } else if (strncmp(from, "{n}", 3) == 0) {
                        n = snprintf(text + used, text_cap - used, "%d", number);
                        from += 3;
                } else {
                        n = snprintf(text + used, text_cap - used, "%c", *from++);
                }
                used += (size_t)n;
                check(used < text_cap);
        }
}

/*
 * An opening that ran out of memory once it was connected has closed the connection again: the listener sees one that ends at once, as it
 * would of a client that dies. A connection that accept ran out of memory for must not be lost.
 */
static void accept_one(struct ends *ends, bool open_failed) {
        struct confab_message message = confab_message_of(NULL, 0);

        STEP(confab_accept(&ends->receiver, ends->listener, confab_after(5000000000)));
        if (!open_failed || confab_receive(ends->receiver, &message, NULL, confab_after(20000000)) != 0)
                return;
        ends->receiver = confab_close(ends->receiver);
        STEP(confab_accept(&ends->receiver, ends->listener, confab_after(5000000000)));
}

static void hold(const struct conversation *conversation, struct ends *ends, const char *address) {
        confab_endpoint *pair[2];
        int64_t deadline = confab_after(5000000000);
        unsigned failed = 0;
        char name[64];

        switch (conversation->kind) {
        case PAIR:
                STEP(confab_pair(pair, address, NULL));
                ends->receiver = pair[0];
                ends->sender = pair[1];
                break;
        case ACCEPTED:
                STEP(confab_listen(&ends->listener, address, NULL, deadline));
                failed = memory.n_failed;
                STEP(confab_open(&ends->sender, confab_address(ends->listener), NULL, deadline));
                accept_one(ends, memory.n_failed > failed);
                if (!ends->receiver)
                        return;
                break;
        case NAMED:
                STEP(confab_listen(&ends->receiver, address, NULL, deadline));
                STEP(confab_open(&ends->sender, confab_address(ends->receiver), NULL, deadline));
                break;
        case ALONE:
                STEP(confab_open(&ends->sender, address, NULL, deadline));
                break;
        case LENT:
                check_eq(pipe2(ends->fds, O_CLOEXEC), 0);
                fill(name, sizeof(name), address, ends->fds[0]);
                STEP(confab_open(&ends->receiver, name, NULL, deadline));
                fill(name, sizeof(name), address, ends->fds[1]);
                STEP(confab_open(&ends->sender, name, NULL, deadline));
                break;
        }
        if (conversation->instead)
                conversation->instead(ends);
        else
                talk(conversation, ends, ends->sender,
                     conversation->kind == ALONE ? ends->sender : ends->receiver);
}

/* More interests than a wait has room for on its stack. */
static void wait_for_many(struct ends *ends) {
        struct confab_message message = confab_message_of(bytes, 10);
        struct confab_interest interests[300];

        for (size_t i = 0; i < 300; i++)
                interests[i] =
                        (struct confab_interest){.endpoint = ends->receiver, .direction = CONFAB_RECEIVE};
        check_eq(STEP(confab_send(ends->sender, &message, CONFAB_FOREVER)), 10);
        check_eq(STEP(confab_wait(interests, 300, confab_after(5000000000))), 300);
}

static int count_call(confab_source *source, uint32_t events, void *data) {
        check(source && events);
        ++*(unsigned *)data;
        return 0;
}

static confab_loop *loop;

static void watch_all(struct ends *ends, unsigned *n_calls) {
        struct confab_message message = confab_message_of(bytes, 10);

        STEP(confab_loop_new(&loop));
        STEP(confab_loop_add_endpoint(NULL, loop, ends->receiver, CONFAB_RECEIVE, count_call, n_calls));
        STEP(confab_loop_add_timer(NULL, loop, confab_after(1), 0, count_call, n_calls));
        STEP(confab_loop_add_signal(NULL, loop, SIGUSR1, count_call, n_calls));
        STEP(confab_loop_add_descriptor(NULL, loop, STDIN_FILENO, POLLIN, count_call, n_calls));
        raise(SIGUSR1);
        check_eq(STEP(confab_send(ends->sender, &message, CONFAB_FOREVER)), 10);
        while (*n_calls < 4)
                STEP(confab_loop_once(loop, confab_after(5000000000)));
}

static void loop_over(struct ends *ends) {
        unsigned n_calls = 0;

        watch_all(ends, &n_calls);
        loop = confab_loop_free(loop);
}

static confab_endpoint *further[2];
static confab_transfer *transfer;

static void carry(struct ends *ends) {
        struct confab_message message = confab_message_of(bytes, 5000);
        uint64_t moved = 0;

        STEP(confab_pair(further, "unix://", NULL));
        STEP(confab_transfer_new(&transfer, ends->receiver, further[1], NULL));
        check_eq(STEP(confab_send(ends->sender, &message, CONFAB_FOREVER)), 5000);
        while (moved < 5000)
                STEP(confab_transfer_step(transfer, &moved, confab_after(5000000000)));
        /* What was moved is there; it is lent and given back within. */
        for (size_t got = 0; got < 5000;) {
                struct confab_message part = confab_message_of(NULL, 0);

                STEP(confab_receive(further[0], &part, NULL, confab_after(5000000000)));
                check_mem(part.data, bytes + got, part.data_len);
                got += part.data_len;
                confab_release(further[0], &part);
        }
}

static void carry_on(struct ends *ends) {
        carry(ends);
        transfer = confab_transfer_free(transfer);
        further[0] = confab_close(further[0]);
        further[1] = confab_close(further[1]);
}

/*
 * A framed message that the deadline cuts short is queued, which needs memory. Where there is none it cannot be taken back either: the
 * stream ends in the middle of it, and the receiver must not take what came for a message.
 */
static void cut_short(struct ends *ends) {
        struct confab_message message =
                confab_message_of(bytes, sizeof(bytes)); /* more than any socket holds */
        unsigned failed = memory.n_failed;
        int64_t n = confab_send(ends->sender, &message, CONFAB_NOW);

        if (n == -ENOMEM) {
                check_planted("confab_send", failed);
                check(confab_send(ends->sender, &message, CONFAB_NOW) < 0);
                ends->sender = confab_close(ends->sender);
                ends->held[0] = confab_message_of(NULL, 0);
                check_eq(confab_receive(ends->receiver, &ends->held[0], NULL, confab_after(5000000000)),
                         memory.mode == EVER ? -ENOMEM : -EPIPE);
                return;
        }
        check_eq(n, sizeof(bytes)); /* it counts as sent */
        ends->held[0] = confab_message_of(NULL, 0);
        if (confab_receive(ends->receiver, &ends->held[0], NULL, CONFAB_NOW) == -ENOMEM)
                check(memory.n_failed > failed);
}

/* One round; true: an allocation was failed in it. */
static bool round_of(const struct conversation *conversation, const char *address, enum mode mode,
                     unsigned fail_at) {
        struct ends ends = {.fds = {-1, -1}};
        unsigned live = memory.n_live;

        memory.mode = mode;
        memory.fail_at = fail_at;
        memory.n_allocations = memory.n_failed = 0;
        hold(conversation, &ends, address);
        for (unsigned i = 0; i < 3; i++)
                confab_release(conversation->kind == ALONE ? ends.sender : ends.receiver, &ends.held[i]);
        confab_close(ends.sender);
        confab_close(ends.receiver);
        confab_close(ends.listener);
        for (unsigned i = 0; i < 2; i++)
                if (ends.fds[i] >= 0)
                        close(ends.fds[i]);
        memory.mode = NEVER;
        if (memory.n_live != live)
                printf("%s: mode %d, allocation %u: %u blocks before, %u after\n", address, mode, fail_at,
                       live, memory.n_live);
        check_eq(memory.n_live, live);
        return memory.n_failed > 0;
}

static void run(const struct conversation *conversation) {
        static const struct confab_allocator allocator = {sizeof(allocator), 0, allocate, release, &memory};
        char address[PATH_MAX + 128];
        unsigned n_descriptors, n_rounds = 0;

        for (size_t i = 0; i < sizeof(bytes); i++)
                bytes[i] = (char)('0' + (i * 7 + i / 251) % 64); /* no newline, which a line cannot hold */
        check_ok(confab_set_allocator(&allocator));
        if (conversation->kind == LENT)
                snprintf(address, sizeof(address), "%s", conversation->address);
        else
                fill(address, sizeof(address), conversation->address, (int)getpid());
        round_of(conversation, address, NEVER, 0);
        n_descriptors = count_descriptors();
        for (enum mode mode = ONCE; mode <= EVER; mode++)
                for (unsigned fail_at = 1; round_of(conversation, address, mode, fail_at); fail_at++) {
                        if (count_descriptors() != n_descriptors)
                                printf("%s: mode %d, allocation %u\n", address, mode, fail_at);
                        check_eq(count_descriptors(), n_descriptors);
                        check(fail_at < 1000);
                        n_rounds++;
                }
        check(n_rounds >= 4);
        printf("%u allocations failed\n", n_rounds);
}

#define CONVERSATION(test_name, ...)                                           \
        TEST_TIMEOUT(test_name, 60) {                                          \
                static const struct conversation conversation = {__VA_ARGS__}; \
                run(&conversation);                                            \
        }

CONVERSATION(pipe, PAIR, "pipe://")
CONVERSATION(pipe_duplex, PAIR, "pipe://?duplex")
CONVERSATION(pipe_lines, PAIR, "pipe://?frame=line")
CONVERSATION(pipe_records, PAIR, "pipe://?frame=record")
CONVERSATION(unix_pair, PAIR, "unix://", .descriptors = true, .half_close = true, .large = true)
CONVERSATION(unix_pair_records, PAIR, "unix://?frame=record", .descriptors = true, .half_close = true,
             .large = true)
CONVERSATION(unix_pair_seqpacket, PAIR, "unix://?type=seqpacket", .descriptors = true, .large = true)
CONVERSATION(unix_pair_datagram, PAIR, "unix://?type=datagram", .descriptors = true)
CONVERSATION(unix_stream, ACCEPTED, "unix://{here}/socket", .descriptors = true, .half_close = true,
             .large = true)
CONVERSATION(unix_records, ACCEPTED, "unix://{here}/socket?frame=record", .descriptors = true,
             .half_close = true, .large = true)
CONVERSATION(unix_seqpacket, ACCEPTED, "unix://{here}/socket?type=seqpacket", .descriptors = true,
             .half_close = true)
CONVERSATION(unix_datagram, NAMED, "unix://{here}/socket?type=datagram", .descriptors = true, .replies = true)
CONVERSATION(unix_abstract, ACCEPTED, "unix://@confab-allocation-{n}", .half_close = true)
CONVERSATION(tcp, ACCEPTED, "tcp://127.0.0.1:0", .half_close = true)
CONVERSATION(tcp_lines, ACCEPTED, "tcp://127.0.0.1:0?frame=line", .half_close = true)
CONVERSATION(udp, NAMED, "udp://127.0.0.1:0", .replies = true)
CONVERSATION(fifo, NAMED, "fifo://{here}/fifo")
CONVERSATION(fifo_records, NAMED, "fifo://{here}/fifo?frame=record")
CONVERSATION(mq, NAMED, "mq:///confab-allocation-{n}")
CONVERSATION(sysv, NAMED, "sysv://{n}")
CONVERSATION(sysv_polled, NAMED, "sysv://{n}?poll=5")
CONVERSATION(exec, ALONE, "exec://cat", .half_close = true)
CONVERSATION(exec_records, ALONE, "exec://cat?frame=record", .half_close = true)
CONVERSATION(waiting_for_many, PAIR, "pipe://", .instead = wait_for_many)
CONVERSATION(looping, PAIR, "pipe://", .instead = loop_over)
CONVERSATION(carried_by_splice, PAIR, "pipe://", .instead = carry_on)
CONVERSATION(carried_from_records, PAIR, "pipe://?frame=record", .instead = carry_on)
CONVERSATION(cut_short, PAIR, "unix://?frame=record", .instead = cut_short)
CONVERSATION(fd, LENT, "fd://{n}")
CONVERSATION(fd_records, LENT, "fd://{n}?frame=record")
