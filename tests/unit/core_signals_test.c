/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * A storm of signals, 10,000 a second without SA_RESTART, on every mechanism: nothing changes. Not when waits end, not what arrives, not what
 * accept, open and close do. The handler calls confab_interrupt, the one call it may: on a bystander, which must disturb nobody
 * else, and on the endpoint that waits, which must end exactly its waits.
 */
#include "conformance/each_row.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const int64_t MS = 1000000;
enum {
        EVERY_US = 100,
        N_NUMBERS = 2000,
        LARGE = 3 << 20,
        DIGITS = 8,
        FROM = 10000000,
        TINY = 64,
        N_TINY = 2000
};

static atomic_int n_signals;
static confab_endpoint *_Atomic target;

static void handler(int number) {
        confab_endpoint *endpoint = atomic_load(&target);
        int saved = errno;

        (void)number;
        atomic_fetch_add(&n_signals, 1);
        errno = 0;
        if (endpoint)
                confab_interrupt(endpoint);
        check_eq(errno, 0);
        errno = saved;
}

/* Starts or ends the storm; the calling thread gets it, those made by calm_thread do not. */
static void storm(bool on) {
        struct sigaction action = {.sa_handler = handler};
        struct itimerval timer = {.it_interval = {0, on ? EVERY_US : 0}, .it_value = {0, on ? EVERY_US : 0}};

        sigaction(SIGALRM, &action, NULL);
        check_eq(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

static pthread_t calm_thread(void *(*run)(void *), void *data) {
        sigset_t alarm, before;
        pthread_t thread;

        sigemptyset(&alarm);
        sigaddset(&alarm, SIGALRM);
        pthread_sigmask(SIG_BLOCK, &alarm, &before);
        check_eq(pthread_create(&thread, NULL, run, data), 0);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return thread;
}

/* The bystander: an endpoint nobody waits on. */
static confab_endpoint *bystanders[2];

static void begin_storm(void) {
        check_ok(confab_pair(bystanders, "pipe://", NULL));
        atomic_store(&target, bystanders[0]);
        storm(true);
}

static void end_storm(void) {
        storm(false);
        atomic_store(&target, NULL);
        confab_close(bystanders[0]);
        confab_close(bystanders[1]);
}

static bool waits_when_full(const struct row *row, const struct confab_properties *properties) {
        (void)row;
        return properties->when_full == CONFAB_FULL_WAIT && properties->loss == CONFAB_LOSS_NONE;
}

static bool accepts(const struct row *row, const struct confab_properties *properties) {
        (void)properties;
        return row->making == MADE_ACCEPT;
}

static void waits_last_as_long(const struct row *row) {
        struct link link = link_make(row);

        begin_storm();
        /* 400 signals a wait on an idle machine; on a busy one the alarm's clock stands while nobody runs. */
        for (int i = 0; i < 3 || atomic_load(&n_signals) < 15; i++) {
                struct confab_message message = confab_message_of(NULL, 0);
                struct confab_interest interest = {link.receiver, CONFAB_RECEIVE, 0};
                int64_t began_ns = confab_now();

                check_eq(confab_receive(link.receiver, &message, NULL, confab_after(40 * MS)), -ETIMEDOUT);
                check(confab_now() - began_ns >= 40 * MS);
                began_ns = confab_now();
                check_eq(confab_wait(&interest, 1, confab_after(20 * MS)), -ETIMEDOUT);
                check(confab_now() - began_ns >= 20 * MS);
        }
        end_storm();
        link_close(&link);
}

struct numbers {
        confab_endpoint *endpoint;
        uint64_t n;
};

static void *send_numbers(void *data) {
        struct numbers *numbers = data;

        for (unsigned i = 0; i < numbers->n; i++) {
                char text[DIGITS + 1];
                struct confab_message message = confab_message_of(text, DIGITS);

                snprintf(text, sizeof(text), "%08u", (FROM + i) % 100000000);
                check_eq(confab_send(numbers->endpoint, &message, CONFAB_FOREVER), DIGITS);
                if (i % 8 == 0) { /* let the receiver wait */
                        struct timespec little = {.tv_nsec = 50000};

                        nanosleep(&little, NULL);
                }
        }
        return NULL;
}

static void receive_numbers(confab_endpoint *endpoint, uint64_t n) {
        char text[DIGITS + 1] = "";
        size_t have = 0;

        for (uint64_t expected = 0; expected < n;) {
                struct confab_message message = confab_message_of(NULL, 0);
                const char *p;

                check_eq(check_ok(confab_receive(endpoint, &message, NULL, CONFAB_FOREVER)), 1);
                p = message.data;
                for (uint64_t i = 0; i < message.data_len; i++) {
                        text[have++] = p[i];
                        if (have < DIGITS)
                                continue;
                        check_eq(strtoul(text, NULL, 10), FROM + expected++);
                        have = 0;
                }
                confab_release(endpoint, &message);
        }
}

/* The storm over the receiver, then over the sender. */
static void all_arrives_in_order(const struct row *row) {
        struct link link = link_make(row);
        struct numbers numbers = {link.sender, N_NUMBERS};
        pthread_t thread;

        begin_storm();
        thread = calm_thread(send_numbers, &numbers);
        receive_numbers(link.receiver, N_NUMBERS);
        pthread_join(thread, NULL);
        end_storm();
        link_close(&link);
}

struct draining {
        confab_endpoint *endpoint;
        uint64_t len, sum;
};

static uint64_t sum_of(uint64_t sum, const void *data, uint64_t len) {
        const unsigned char *p = data;

        for (uint64_t i = 0; i < len; i++)
                sum = sum * 31 + p[i];
        return sum;
}

static void *drain_slowly(void *data) {
        struct draining *draining = data;

        for (uint64_t have = 0; have < draining->len;) {
                struct confab_message message = confab_message_of(NULL, 0);
                struct timespec little = {.tv_nsec = 200000};

                check_eq(check_ok(confab_receive(draining->endpoint, &message, NULL, CONFAB_FOREVER)), 1);
                draining->sum = sum_of(draining->sum, message.data, message.data_len);
                have += message.data_len;
                confab_release(draining->endpoint, &message);
                nanosleep(&little, NULL); /* so that the sender waits */
        }
        return NULL;
}

/* Bytes for messages of @step: no newlines; where a message is a number, numbers. */
static void fill_in(unsigned char *bytes, size_t len, size_t step) {
        for (size_t i = 0; i < len; i++) {
                bytes[i] = (unsigned char)(i * 2654435761u >> 11) | 1; /* odd, and never 11 */
                if (bytes[i] == '\n' || bytes[i] == '\r')
                        bytes[i] = 'x';
        }
        for (size_t i = 0; step < TINY && i < len; i += step) {
                payload(bytes + i, step);
                bytes[i + step - 1] = (unsigned char)('0' + i / step % 10);
        }
}

static void a_blocked_sender_sends_all(const struct row *row) {
        static unsigned char bytes[LARGE];
        struct link link = link_make(row);
        struct confab_properties properties = believed(&link);
        struct draining draining = {.endpoint = link.receiver, .len = LARGE};
        size_t step = properties.message_max < LARGE ? (size_t)properties.message_max : LARGE;
        pthread_t thread;

        if (properties.boundaries == CONFAB_BOUNDARIES_MESSAGE && step > 60000)
                step = 60000;
        if (step < TINY)
                draining.len = N_TINY * step;
        if (row->narrow)
                row->narrow();
        fill_in(bytes, draining.len, step);
        thread = calm_thread(drain_slowly, &draining);
        begin_storm();
        for (size_t sent = 0; sent < draining.len;) {
                size_t len = draining.len - sent < step ? draining.len - sent : step;
                struct confab_message message = confab_message_of(bytes + sent, len);

                check_eq(confab_send(link.sender, &message, CONFAB_FOREVER), (int64_t)len);
                sent += len;
        }
        pthread_join(thread, NULL);
        end_storm();
        check(draining.sum == sum_of(0, bytes, draining.len));
        link_close(&link);
}

struct connecting {
        const char *address;
        confab_endpoint *endpoint;
};

static void *connect_later(void *data) {
        struct connecting *connecting = data;
        struct timespec later = {.tv_nsec = 20 * MS};

        nanosleep(&later, NULL);
        check_ok(confab_open(&connecting->endpoint, connecting->address, NULL, CONFAB_FOREVER));
        return NULL;
}

static void accepting(const struct row *row) {
        struct link link = link_make(row);
        struct connecting connecting = {link.address, NULL};
        confab_endpoint *accepted = NULL;
        pthread_t thread;

        begin_storm();
        check_eq(confab_accept(&accepted, link.listener, confab_after(20 * MS)), -ETIMEDOUT);
        thread = calm_thread(connect_later, &connecting);
        check_ok(confab_accept(&accepted, link.listener, CONFAB_FOREVER));
        pthread_join(thread, NULL);
        confab_close(accepted);
        confab_close(connecting.endpoint);
        end_storm();
        link_close(&link);
}

/* Opened, used and closed within the storm: no step of it is cut short (exec:// waits for its child in close). */
static void opened_and_closed(const struct row *row) {
        begin_storm();
        for (int i = 0; i < 5; i++) {
                struct link link = link_make(row);
                char data[8];

                send_bytes(link.sender, "1", 1);
                check_eq(receive_bytes(link.receiver, data, sizeof(data)), 1);
                link_close(&link);
                if (row->making == MADE_LOOP && row->prepare)
                        break; /* the prepared descriptors are used up */
        }
        end_storm();
}

/* Every signal interrupts the endpoint that waits: each wait ends with -EINTR, what need not wait is not disturbed. */
static void own_interrupts_end_only_waits(const struct row *row) {
        struct link link = link_make(row);
        struct confab_message message = confab_message_of(NULL, 0);
        char data[8];
        int r;

        atomic_store(&target, link.receiver);
        storm(true);
        for (int i = 0; i < 200; i++)
                check_eq(confab_receive(link.receiver, &message, NULL, CONFAB_FOREVER), -EINTR);
        for (int i = 0; i < 100 && !row->slow; i++) {
                /* a loop's one endpoint is interrupted in both directions, but sending has no need to wait */
                struct confab_message sent = confab_message_of("1", 1);

                check_eq(confab_send(link.sender, &sent, CONFAB_FOREVER), 1);
                while ((r = confab_receive(link.receiver, &message, NULL, CONFAB_FOREVER)) == -EINTR)
                        ;
                check_eq(r, 1);
                confab_release(link.receiver, &message);
        }
        storm(false);
        atomic_store(&target, NULL);
        /* At most one interrupt is left over for the next wait, then all is as before. */
        r = confab_receive(link.receiver, &message, NULL, confab_after(5 * MS));
        check(r == -EINTR || r == -ETIMEDOUT);
        check_eq(confab_receive(link.receiver, &message, NULL, confab_after(5 * MS)), -ETIMEDOUT);
        send_bytes(link.sender, "2", 1);
        check_eq(receive_bytes(link.receiver, data, sizeof(data)), 1);
        link_close(&link);
}

#define CASE(function, seconds, applies) \
        { #function, function, seconds, applies, NULL }
static const struct conformance_case cases[] = {
        CASE(waits_last_as_long, 10, NULL),
        CASE(all_arrives_in_order, 30, waits_when_full),
        CASE(a_blocked_sender_sends_all, 30, waits_when_full),
        CASE(accepting, 10, accepts),
        CASE(opened_and_closed, 30, NULL),
        CASE(own_interrupts_end_only_waits, 20, NULL),
};

__attribute__((constructor)) static void register_all(void) {
        add_on_each_row(cases, sizeof(cases) / sizeof(cases[0]));
}
