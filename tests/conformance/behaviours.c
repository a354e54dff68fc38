/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* What every mechanism must do alike: deadlines, interrupts, threads, processes that die, sizes, nothing left behind. */
#include "conformance/link.h"
#include "conversation.h"
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static const int64_t MS = 1000000;

static bool is_stream(const struct confab_properties *properties) {
        return properties->boundaries == CONFAB_BOUNDARIES_STREAM;
}

static bool sends_alone(const struct row *row, const struct confab_properties *properties) {
        (void)properties;
        return row->making != MADE_LOOP;
}

static bool has_path(const struct row *row, const struct confab_properties *properties) {
        return row->making != MADE_LOOP && row->making != MADE_INHERIT && row->making != MADE_PAIR &&
               properties->reach != CONFAB_REACH_FAMILY;
}

static bool waits_when_full(const struct row *row, const struct confab_properties *properties) {
        (void)row;
        return properties->when_full == CONFAB_FULL_WAIT;
}

static bool streams(const struct row *row, const struct confab_properties *properties) {
        (void)row;
        return is_stream(properties);
}

static bool keeps_messages(const struct row *row, const struct confab_properties *properties) {
        (void)row;
        return !is_stream(properties);
}

static bool lossless(const struct row *row, const struct confab_properties *properties) {
        (void)row;
        return properties->loss == CONFAB_LOSS_NONE;
}

static bool pollable(const struct row *row, const struct confab_properties *properties) {
        (void)row;
        return properties->waiting == CONFAB_WAITING_DESCRIPTOR;
}

/* --- deadlines --- */

static void nothing_to_receive(const struct row *row) {
        struct link link = link_make(row);
        struct confab_message got = confab_message_of(NULL, 0);
        int64_t before_ns, took_ns, until_ns = soon();

        check_eq(confab_receive(link.receiver, &got, NULL, CONFAB_NOW), -EAGAIN);
        before_ns = confab_now();
        check_eq(confab_receive(link.receiver, &got, NULL, confab_after(50 * MS)), -ETIMEDOUT);
        took_ns = confab_now() - before_ns;
        check(took_ns >= 50 * MS && confab_now() < until_ns);
        check_eq(confab_receive(link.receiver, &got, NULL, confab_now() - 1), -ETIMEDOUT);
        link_close(&link);
}

static void fill(const struct link *link) {
        static char data[4096];
        struct confab_message message = confab_message_of(data, sizeof(data));
        struct confab_properties properties = {.size = sizeof(properties)};

        check_ok(confab_endpoint_properties(&properties, link->sender));
        if (properties.message_max < message.data_len)
                message.data_len = properties.message_max;
        payload(data, message.data_len);
        if (link->row->narrow)
                link->row->narrow();
        for (;;) {
                int64_t n = confab_send(link->sender, &message, CONFAB_NOW);

                if (n == -EAGAIN && link->row->slow) { /* its carrier may take some more */
                        nap_ms(20);
                        n = confab_send(link->sender, &message, CONFAB_NOW);
                }
                if (n == -EAGAIN)
                        return;
                check_ok(n);
        }
}

static void no_room_to_send(const struct row *row) {
        struct link link = link_make(row);
        struct confab_message message = confab_message_of("1234567890", 10);
        int64_t before_ns, took_ns, n, until_ns = soon();

        fill(&link);
        before_ns = confab_now();
        do /* a little room may be left for small ones */
                n = confab_send(link.sender, &message, confab_after(50 * MS));
        while (n > 0);
        took_ns = confab_now() - before_ns;
        check_eq(n, -ETIMEDOUT);
        check(took_ns >= 50 * MS && confab_now() < until_ns);
        link_close(&link);
}

static void *drain_slowly(void *data) {
        confab_endpoint *endpoint = data;
        struct confab_message got = confab_message_of(NULL, 0);

        nap_ms(30);
        for (int i = 0; i < 1000; i++) {
                if (confab_receive(endpoint, &got, NULL, confab_after(300 * MS)) != 1)
                        break;
                confab_release(endpoint, &got);
        }
        return NULL;
}

/* A sender that waits because it is full goes on as soon as somebody receives: no lost wake-up. */
static void full_then_room(const struct row *row) {
        struct link link = link_make(row);
        struct confab_message message = confab_message_of("1234567890", 10);
        pthread_t drainer;

        fill(&link);
        check(pthread_create(&drainer, NULL, drain_slowly, link.receiver) == 0);
        for (int i = 0; i < 10; i++)
                check_eq(confab_send(link.sender, &message, soon()), 10);
        pthread_join(drainer, NULL);
        link_close(&link);
}

/* The deadline in the middle of a large message: a stream says how far it came, and those bytes and no others arrive. */
static void deadline_in_the_middle(const struct row *row) {
        struct link link = link_make(row);
        size_t len = 16 << 20;
        unsigned char *data = malloc(len);
        struct confab_message message = confab_message_of(data, len), got = confab_message_of(NULL, 0);
        int64_t n;
        size_t received = 0;

        check(data);
        for (size_t i = 0; i < len; i++)
                data[i] = (unsigned char)(i * 7 + (i >> 8));
        n = confab_send(link.sender, &message, confab_after(50 * MS));
        check(n > 0 && n < (int64_t)len);
        while (received < (size_t)n) {
                check_eq(confab_receive(link.receiver, &got, NULL, soon()), 1);
                check(received + got.data_len <= (size_t)n);
                check_mem(got.data, data + received, got.data_len);
                received += got.data_len;
                confab_release(link.receiver, &got);
        }
        check_eq(confab_receive(link.receiver, &got, NULL, confab_after(20 * MS)), -ETIMEDOUT);
        free(data);
        link_close(&link);
}

/* --- interrupts and signals --- */

static void *interrupt_soon(void *data) {
        nap_ms(30);
        confab_interrupt(data);
        return NULL;
}

static void interrupted_receive(const struct row *row) {
        struct link link = link_make(row);
        struct confab_message got = confab_message_of(NULL, 0);
        pthread_t other;
        char data[4];

        check(pthread_create(&other, NULL, interrupt_soon, link.receiver) == 0);
        check_eq(confab_receive(link.receiver, &got, NULL, CONFAB_FOREVER), -EINTR);
        pthread_join(other, NULL);
        /* once only, and what comes next is received */
        send_bytes(link.sender, "1", 1);
        check_eq(receive_bytes(link.receiver, data, 4), 1);
        /* one that comes while nobody waits ends the next wait */
        confab_interrupt(link.receiver);
        check_eq(confab_receive(link.receiver, &got, NULL, CONFAB_FOREVER), -EINTR);
        check_eq(confab_receive(link.receiver, &got, NULL, confab_after(10 * MS)), -ETIMEDOUT);
        link_close(&link);
}

static void interrupted_send(const struct row *row) {
        struct link link = link_make(row);
        struct confab_message message = confab_message_of("1234567890", 10);
        pthread_t other;
        int64_t n;

        fill(&link);
        check(pthread_create(&other, NULL, interrupt_soon, link.sender) == 0);
        do
                n = confab_send(link.sender, &message, CONFAB_FOREVER);
        while (n > 0);
        check_eq(n, -EINTR);
        pthread_join(other, NULL);
        link_close(&link);
}

static atomic_int n_signals;
static confab_endpoint *interrupt_from_handler;

static void count_signal(int number) {
        (void)number;
        atomic_fetch_add(&n_signals, 1);
        if (interrupt_from_handler)
                confab_interrupt(interrupt_from_handler);
}

static void signal_every_ms(bool on) {
        struct sigaction action = {.sa_handler = count_signal};
        struct itimerval timer = {.it_interval = {0, on ? 1000 : 0}, .it_value = {0, on ? 1000 : 0}};

        sigaction(SIGALRM, &action, NULL);
        setitimer(ITIMER_REAL, &timer, NULL);
}

/* Signals without SA_RESTART arrive all the time: a wait still ends only at its deadline. */
static void signals_during_a_wait(const struct row *row) {
        struct link link = link_make(row);
        struct confab_message got = confab_message_of(NULL, 0);
        int64_t before_ns = confab_now();

        signal_every_ms(true);
        check_eq(confab_receive(link.receiver, &got, NULL, confab_after(100 * MS)), -ETIMEDOUT);
        check(confab_now() - before_ns >= 100 * MS);
        /* 100 on an idle machine; on a busy one the alarm's clock stands while nobody runs. */
        while (atomic_load(&n_signals) < 10)
                check_eq(confab_receive(link.receiver, &got, NULL, confab_after(100 * MS)), -ETIMEDOUT);
        signal_every_ms(false);
        link_close(&link);
}

/* confab_interrupt from this thread's own signal handler. */
static void interrupted_by_handler(const struct row *row) {
        struct link link = link_make(row);
        struct confab_message got = confab_message_of(NULL, 0);
        /* Once; but ThreadSanitizer may keep the handler back until after the wait it was to end. */
        struct itimerval once = {.it_value = {0, 30000}, .it_interval = {0, HARNESS_TSAN ? 30000 : 0}};
        struct sigaction action = {.sa_handler = count_signal};

        interrupt_from_handler = link.receiver;
        sigaction(SIGALRM, &action, NULL);
        setitimer(ITIMER_REAL, &once, NULL);
        check_eq(confab_receive(link.receiver, &got, NULL, CONFAB_FOREVER), -EINTR);
        check(HARNESS_TSAN || atomic_load(&n_signals) == 1);
        setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, NULL);
        interrupt_from_handler = NULL;
        link_close(&link);
}

struct waiting {
        confab_endpoint *endpoint;
        int result;
};

static void *receive_for_ever(void *data) {
        struct waiting *waiting = data;
        struct confab_message got = confab_message_of(NULL, 0);

        waiting->result = confab_receive(waiting->endpoint, &got, NULL, CONFAB_FOREVER);
        return NULL;
}

static void closed_while_waiting(const struct row *row) {
        struct link link = link_make(row);
        struct waiting waiting = {.endpoint = link.receiver, .result = 1};
        pthread_t other;

        check(pthread_create(&other, NULL, receive_for_ever, &waiting) == 0);
        until_used(link.receiver, CONFAB_RECEIVE);
        nap_ms(10); /* let it really sleep */
        confab_close(link.receiver);
        pthread_join(other, NULL);
        check_eq(waiting.result, -ECANCELED);
        if (!link.loop)
                confab_close(link.sender);
        confab_close(link.listener);
}

/* --- many messages --- */

enum { N_STREAM = 20000, FROM = 10000, DIGITS = 5 };

static void *send_numbers(void *data) {
        confab_endpoint *endpoint = data;

        for (int i = FROM; i < FROM + N_STREAM; i++) {
                char text[16];
                struct confab_message message =
                        confab_message_of(text, (size_t)snprintf(text, sizeof(text), "%d", i));

                check_eq(confab_send(endpoint, &message, soon()), DIGITS);
        }
        return NULL;
}

/* Bytes of a stream may be cut anywhere; five in a row are a number again. */
static void receive_numbers(confab_endpoint *endpoint) {
        char text[DIGITS + 1] = "";
        size_t have = 0;
        int next = FROM;

        while (next < FROM + N_STREAM) {
                struct confab_message got = confab_message_of(NULL, 0);

                check_eq(confab_receive(endpoint, &got, NULL, soon()), 1);
                for (uint64_t i = 0; i < got.data_len; i++) {
                        text[have++] = ((const char *)got.data)[i];
                        if (have == DIGITS) {
                                check_eq(atoi(text), next);
                                next++;
                                have = 0;
                        }
                }
                confab_release(endpoint, &got);
        }
}

static void two_threads(const struct row *row) {
        struct link link = link_make(row);
        pthread_t other;

        if (row->narrow)
                row->narrow();
        check(pthread_create(&other, NULL, send_numbers, link.sender) == 0);
        receive_numbers(link.receiver);
        pthread_join(other, NULL);
        link_close(&link);
}

static void two_processes(const struct row *row) {
        struct link link = link_make(row);
        pid_t child;

        if (row->narrow)
                row->narrow();
        child = link_fork(&link, true);
        if (child == 0) {
                send_numbers(link.sender);
                _exit(0);
        }
        receive_numbers(link.receiver);
        ended_well(child);
        link_close(&link);
}

static void many_at_once(const struct row *row) {
        struct link link = link_make(row);
        struct confab_message out[8], in[8];
        char texts[8][8];
        int sent;
        unsigned received = 0;

        for (int i = 0; i < 8; i++) {
                snprintf(texts[i], sizeof(texts[i]), "1%d", i);
                out[i] = confab_message_of(texts[i], 2);
                in[i] = confab_message_of(NULL, 0);
        }
        sent = confab_send_many(link.sender, out, 8, soon());
        check_eq(sent, 8);
        let_carry(row);
        while (received < 8) {
                int n = confab_receive_many(link.receiver, in, 8 - received, NULL, soon());

                check(n >= 1);
                for (int i = 0; i < n; i++) {
                        const char *bytes = in[i].data;

                        for (uint64_t at = 0; at < in[i].data_len; at += 2, received++)
                                check(received < 8 && bytes[at] == '1' &&
                                      bytes[at + 1] == (char)('0' + received));
                        confab_release(link.receiver, &in[i]);
                }
        }
        link_close(&link);
}

static void gathered(const struct row *row) {
        struct link link = link_make(row);
        struct iovec parts[3] = {{(void *)(uintptr_t) "1234", 4}, {NULL, 0}, {(void *)(uintptr_t) "567", 3}};
        struct confab_message message = confab_message_of(NULL, 0);
        char data[16] = "";
        int64_t got = 0;

        message.iov = parts;
        message.n_iov = 3;
        check_eq(confab_send(link.sender, &message, soon()), 7);
        while (got < 7) {
                int64_t n = receive_bytes(link.receiver, data + got, sizeof(data) - (size_t)got);

                check(n > 0);
                got += n;
        }
        check_str(data, "1234567");
        link_close(&link);
}

static void several_lent(const struct row *row) {
        struct link link = link_make(row);
        struct confab_message got[3];

        for (int i = 0; i < 3; i++) {
                char byte = (char)('1' + i);

                got[i] = confab_message_of(NULL, 0);
                send_bytes(link.sender, &byte, 1);
                check_eq(confab_receive(link.receiver, &got[i], NULL, soon()), 1);
        }
        for (int i = 0; i < 3; i++)
                check(*(const char *)got[i].data == '1' + i);
        for (int i = 2; i >= 0; i--)
                confab_release(link.receiver, &got[i]);
        link_close(&link);
}

/* --- sizes --- */

static void every_size(const struct row *row) {
        struct link link = link_make(row);
        struct confab_properties properties = {.size = sizeof(properties)};
        static unsigned char data[65536];

        check_ok(confab_endpoint_properties(&properties, link.sender));
        for (size_t len = 1; len <= sizeof(data) && len <= properties.message_max; len = len * 5 / 2 + 1) {
                struct confab_message message = confab_message_of(data, len),
                                      got = confab_message_of(NULL, 0);
                size_t received = 0;
                int64_t n;

                for (size_t i = 0; i < len; i++)
                        data[i] = (unsigned char)('1' + (i * 31 + len) % 9);
                n = confab_send(link.sender, &message, confab_after(20 * MS));
                if (n == -EMSGSIZE || n == -EAGAIN || n == -ETIMEDOUT)
                        break; /* more than fits with nobody receiving */
                check_ok(n);
                while (received < (size_t)n) {
                        check_eq(confab_receive(link.receiver, &got, NULL, soon()), 1);
                        check(received + got.data_len <= (size_t)n);
                        check_mem(got.data, data + received, got.data_len);
                        received += got.data_len;
                        confab_release(link.receiver, &got);
                        if (!is_stream(&properties))
                                break;
                }
                check_eq(received, n);
        }
        link_close(&link);
}

struct giant {
        confab_endpoint *endpoint;
        uint64_t len;
};

static void *send_giant(void *data) {
        struct giant *giant = data;
        enum { PIECE = 1 << 20 };
        unsigned char *piece = malloc(PIECE);

        check(piece);
        for (size_t i = 0; i < PIECE; i++)
                piece[i] = (unsigned char)(i ^ (i >> 8));
        for (uint64_t sent = 0; sent < giant->len; sent += PIECE) {
                struct confab_message message = confab_message_of(piece, PIECE);

                check_eq(confab_send(giant->endpoint, &message, CONFAB_FOREVER), PIECE);
        }
        free(piece);
        return NULL;
}

/* 1 GiB through every stream (CONFAB_GIANT_MIB says less where a sanitizer watches each byte). */
static void a_gibibyte(const struct row *row) {
        struct link link = link_make(row);
        const char *mib = getenv("CONFAB_GIANT_MIB");
        struct giant giant = {link.sender, (uint64_t)(mib ? atoi(mib) : 1024) << 20};
        pthread_t other;
        uint64_t received = 0;

        check(pthread_create(&other, NULL, send_giant, &giant) == 0);
        while (received < giant.len) {
                struct confab_message got = confab_message_of(NULL, 0);
                const unsigned char *bytes;

                check_eq(confab_receive(link.receiver, &got, NULL, soon()), 1);
                bytes = got.data;
                for (uint64_t i = 0; i < got.data_len;
                     i += 509) { /* a prime stride meets every position in time */
                        uint64_t at = (received + i) & ((1 << 20) - 1);

                        check_eq(bytes[i], (unsigned char)(at ^ (at >> 8)));
                }
                received += got.data_len;
                confab_release(link.receiver, &got);
        }
        check_eq(received, giant.len);
        pthread_join(other, NULL);
        link_close(&link);
}

/* --- what is refused --- */

static void wrong_arguments(const struct row *row) {
        struct link link = link_make(row);
        struct confab_message message = confab_message_of("1", 1), got = {0};
        struct confab_interest interest = {.endpoint = link.receiver, .direction = 8};

        message.size = 0;
        check_eq(confab_send(link.sender, &message, CONFAB_NOW), -EINVAL);
        message = confab_message_of(NULL, 5);
        check_eq(confab_send(link.sender, &message, CONFAB_NOW), -EINVAL);
        message = confab_message_of("1", 1);
        message.flags = 4;
        check_eq(confab_send(link.sender, &message, CONFAB_NOW), -EINVAL);
        check_eq(confab_receive(link.receiver, &got, NULL, CONFAB_NOW), -EINVAL);
        check_eq(confab_wait(&interest, 1, CONFAB_NOW), -EINVAL);
        check_eq(confab_wait(&interest, 0, CONFAB_NOW), -EINVAL);
        check(confab_shutdown(link.sender, 0, CONFAB_NOW) == -EINVAL);
        message = confab_message_of("1", 1);
        check_eq(confab_commit(link.sender, &message, CONFAB_NOW), -EINVAL); /* nothing is claimed */
        check(confab_ack(link.receiver, &got) == -EOPNOTSUPP);
        link_close(&link);
}

static void opened_by_nobody(const struct row *row) {
        char address[256];
        confab_endpoint *endpoint = NULL;
        char text[512];
        int r;

        row_address(row, address, sizeof(address));
        r = confab_open(&endpoint, address, NULL, CONFAB_NOW);
        /* udp learns it only when it sends; tcp port 0 is nobody's */
        if (r < 0) {
                check(r == -ENOENT || r == -ECONNREFUSED || r == -ENXIO || r == -EINVAL || r == -EAGAIN ||
                      r == -EADDRNOTAVAIL);
                check(confab_explain(text, sizeof(text)) > 20);
        }
        confab_close(endpoint);
}

/* --- processes that die --- */

static void sender_killed(const struct row *row) {
        struct link link = link_make(row);
        struct confab_properties properties = {.size = sizeof(properties)};
        struct confab_message got = confab_message_of(NULL, 0);
        unsigned n_received = 0;
        pid_t child = link_fork(&link, true);
        int r;

        if (child == 0) {
                struct confab_message message = confab_message_of("1234567890", 10);

                for (;;)
                        if (confab_send(link.sender, &message, CONFAB_FOREVER) < 0)
                                _exit(1);
        }
        check_ok(confab_endpoint_properties(&properties, link.receiver));
        link.sender = confab_close(link.sender); /* now the child has the only one */
        while (n_received++ < 100) {
                check_eq(confab_receive(link.receiver, &got, NULL, soon()), 1);
                confab_release(link.receiver, &got);
        }
        kill(child, SIGKILL);
        check_eq(reap(child), SIGKILL);
        /* whole messages, then the end where there is one: never half a message, never a signal */
        while ((r = confab_receive(link.receiver, &got, NULL,
                                   properties.end == CONFAB_YES ? soon() : confab_after(100 * MS))) == 1) {
                if (!is_stream(&properties))
                        check_eq(got.data_len, 10);
                confab_release(link.receiver, &got);
        }
        if (properties.end == CONFAB_YES)
                check(r == 0 || r == -EPIPE || r == -ECONNRESET);
        else
                check_eq(r, -ETIMEDOUT);
        link_close(&link);
}

static void receiver_killed(const struct row *row) {
        struct link link = link_make(row);
        struct confab_properties properties = {.size = sizeof(properties)};
        struct confab_message message = confab_message_of("1234567890", 10);
        pid_t child = link_fork(&link, false);
        int64_t n, until_ns;

        if (child == 0) {
                struct confab_message got = confab_message_of(NULL, 0);

                link.sender = confab_close(link.sender);
                while (confab_receive(link.receiver, &got, NULL, CONFAB_FOREVER) == 1)
                        confab_release(link.receiver, &got);
                for (;;) /* where it may not receive at all, it still is killed */
                        pause();
        }
        check_ok(confab_endpoint_properties(&properties, link.sender));
        { /* the parent drops its receiving ends without removing the name */
                struct pollfd pollfd;

                if ((link.receiver && confab_descriptor(link.receiver, CONFAB_RECEIVE, &pollfd) < 0) ||
                    properties.peer_gone == CONFAB_GONE_UNNOTICED) {
                        kill(child, SIGKILL);
                        check_eq(reap(child), SIGKILL);
                        return link_close(&link);
                }
        }
        link.receiver = confab_close(link.receiver);
        link.listener = confab_close(link.listener);
        for (int i = 0; i < 100; i++)
                check_ok(confab_send(link.sender, &message, soon()));
        kill(child, SIGKILL);
        check_eq(reap(child), SIGKILL);
        until_ns = soon();
        do
                n = confab_send(link.sender, &message, confab_after(100 * MS));
        while (n >= 0 && confab_now() < until_ns);
        check(n == -EPIPE || n == -ECONNRESET || n == -ECONNREFUSED);
        link_close(&link);
}

static void sigpipe_must_not_come(int number) {
        (void)number;
        atomic_store(&n_signals, 1000);
}

/* In every disposition, SIGPIPE neither kills nor is seen (FAULTS 25). */
static void no_sigpipe(const struct row *row) {
        struct sigaction handled = {.sa_handler = sigpipe_must_not_come}, ignored = {.sa_handler = SIG_IGN};

        for (int round = 0; round < 3; round++) {
                struct link link;
                struct confab_message message = confab_message_of("1", 1);

                if (round)
                        sigaction(SIGPIPE, round == 1 ? &ignored : &handled, NULL);
                link = link_make(row);
                link_drop_receiver(&link);
                for (int i = 0; i < 20; i++)
                        confab_send(link.sender, &message, CONFAB_NOW);
                link_close(&link);
                check_eq(atomic_load(&n_signals), 0);
        }
}

/* --- waiting for several --- */

static void waiting_for_two(const struct row *row) {
        struct link link = link_make(row);
        confab_endpoint *pipe[2];
        struct confab_interest interests[2];
        char data[4];

        check_ok(confab_pair(pipe, "pipe://", NULL));
        interests[0] = (struct confab_interest){.endpoint = link.receiver, .direction = CONFAB_RECEIVE};
        interests[1] = (struct confab_interest){.endpoint = pipe[0], .direction = CONFAB_RECEIVE};
        check_eq(confab_wait(interests, 2, CONFAB_NOW), -EAGAIN);
        check_eq(confab_wait(interests, 2, confab_after(10 * MS)), -ETIMEDOUT);
        send_bytes(pipe[1], "1", 1);
        check_eq(confab_wait(interests, 2, soon()), 1);
        check(!interests[0].ready && interests[1].ready == CONFAB_RECEIVE);
        send_bytes(link.sender, "1", 1);
        let_carry(row);
        check_eq(receive_bytes(pipe[0], data, 4), 1);
        check_eq(confab_wait(interests, 2, soon()), 1);
        check(interests[0].ready == CONFAB_RECEIVE && !interests[1].ready);
        check_eq(receive_bytes(link.receiver, data, 4), 1);
        interests[0].endpoint = link.sender;
        interests[0].direction = CONFAB_SEND;
        check_eq(confab_wait(interests, 2, soon()), 1);
        confab_interrupt(pipe[0]);
        interests[0].direction = CONFAB_SEND;
        check_eq(confab_wait(&interests[1], 1, CONFAB_FOREVER), -EINTR);
        confab_close(pipe[0]);
        confab_close(pipe[1]);
        link_close(&link);
}

/* Plain poll with one receive per wake loses nothing, although a framed read brings several messages at once. */
static void one_receive_a_wake(const struct row *row) {
        struct link link = link_make(row);
        struct pollfd pollfd;
        unsigned received = 0;

        check_ok(confab_descriptor(link.receiver, CONFAB_RECEIVE, &pollfd));
        for (int i = 0; i < 9; i++)
                send_bytes(link.sender, "1", 1);
        let_carry(row);
        while (received < 9) {
                char data[16];
                int64_t n;

                check_eq(restarted(poll(&pollfd, 1, -1)), 1);
                n = receive_bytes(link.receiver, data, sizeof(data));
                check(n >= 1);
                received += (unsigned)n;
        }
        check_eq(restarted(poll(&pollfd, 1, 0)), 0);
        link_close(&link);
}

/* --- names --- */

static void opened_again(const struct row *row) {
        for (int i = 0; i < 3; i++) {
                struct link link = link_make(row);
                char data[4];

                send_bytes(link.sender, "1", 1);
                check_eq(receive_bytes(link.receiver, data, 4), 1);
                link_close(&link);
        }
}

/* Every descriptor is born close-on-exec (FAULTS 9). */
static void nothing_lives_through_exec(const struct row *row) {
        bool before[256];
        struct link link;
        char data[4];

        for (int fd = 0; fd < 256; fd++)
                before[fd] = fcntl(fd, F_GETFD) >= 0;
        link = link_make(row);
        send_bytes(link.sender, "1", 1);
        check_eq(receive_bytes(link.receiver, data, 4), 1);
        for (int fd = 3; fd < 256; fd++) {
                int flags = fcntl(fd, F_GETFD);

                if (!before[fd] && flags >= 0 && !(flags & FD_CLOEXEC))
                        check_eq(fd, -1);
        }
        link_close(&link);
}

#define CASE(function, seconds, applies) \
        { #function, function, seconds, applies, NULL }
const struct conformance_case behaviour_cases[] = {
        CASE(nothing_to_receive, 10, NULL),
        CASE(no_room_to_send, 10, waits_when_full),
        CASE(full_then_room, 20, waits_when_full),
        CASE(deadline_in_the_middle, 20, streams),
        CASE(interrupted_receive, 10, NULL),
        CASE(interrupted_send, 10, waits_when_full),
        CASE(signals_during_a_wait, 10, NULL),
        CASE(interrupted_by_handler, 10, NULL),
        CASE(closed_while_waiting, 10, NULL),
        CASE(two_threads, 60, lossless),
        CASE(two_processes, 60, lossless),
        CASE(many_at_once, 10, NULL),
        CASE(gathered, 10, NULL),
        CASE(several_lent, 10, keeps_messages),
        CASE(every_size, 20, NULL),
        CASE(a_gibibyte, 120, streams),
        CASE(wrong_arguments, 10, NULL),
        CASE(opened_by_nobody, 10, has_path),
        CASE(sender_killed, 20, sends_alone),
        CASE(receiver_killed, 20, sends_alone),
        CASE(no_sigpipe, 20, NULL),
        CASE(waiting_for_two, 10, NULL),
        CASE(one_receive_a_wake, 10, pollable),
        CASE(opened_again, 10, sends_alone),
        CASE(nothing_lives_through_exec, 10, NULL),
};
const unsigned n_behaviour_cases = sizeof(behaviour_cases) / sizeof(behaviour_cases[0]);
