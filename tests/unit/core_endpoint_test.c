/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* What the core does for every transport, on pipes: the conformance suite asks the same of each mechanism. */
#include "conversation.h"
#include "core/endpoint.h"
#include "harness.h"

#include <confab/confab.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const int64_t MS = 1000000;

static void pair(confab_endpoint *ends[2], const char *address) {
        check_ok(confab_pair(ends, address, NULL));
}

TEST(deadlines_add_up) {
        check_eq(confab_after(0), CONFAB_NOW);
        check_eq(confab_after(-5), CONFAB_NOW);
        check_eq(confab_after(CONFAB_FOREVER), CONFAB_FOREVER);
        check_eq(confab_after(INT64_MAX - 10), CONFAB_FOREVER);
        check(confab_after(INT64_C(3600) * 1000000000) > confab_now());
        check_str(confab_version(), "0.1.0");
}

TEST(an_options_field_wins_over_the_key) {
        struct confab_options options = {.size = sizeof(options), .capacity = 8192};
        struct confab_properties properties = {.size = sizeof(properties)};
        confab_endpoint *ends[2];

        check_ok(confab_pair(ends, "pipe://?capacity=65536", &options));
        check_ok(confab_endpoint_properties(&properties, ends[1]));
        check_eq(properties.capacity, 8192);
        close_pair(ends);
        options.mode = 0644; /* a pipe has no name to give it to */
        check_eq(confab_pair(ends, "pipe://", &options), -EOPNOTSUPP);
        options = (struct confab_options){.size = 3};
        check_eq(confab_pair(ends, "pipe://", &options), -EINVAL);
}

TEST(what_a_mechanism_lacks_is_said) {
        confab_endpoint *endpoint;

        check_eq(confab_open(&endpoint, "pipe://", NULL, CONFAB_NOW), -EOPNOTSUPP);
        check(strstr(explained(), "confab_pair"));
        check_eq(confab_listen(&endpoint, "pipe://", NULL, CONFAB_NOW), -EOPNOTSUPP);
        check_eq(confab_remove("pipe://"), -EOPNOTSUPP);
        check_eq(confab_open(&endpoint, "nonsense://x", NULL, CONFAB_NOW), -EINVAL);
        check(strstr(explained(), "pipe"));
        check_eq(confab_open(NULL, "pipe://", NULL, CONFAB_NOW), -EINVAL);
        check_eq(confab_open(&endpoint, NULL, NULL, CONFAB_NOW), -EINVAL);
        check(confab_close(NULL) == NULL);
}

TEST(an_end_has_one_direction) {
        confab_endpoint *ends[2];
        struct confab_message got = confab_message_of(NULL, 0);

        pair(ends, "pipe://");
        check_eq(try_send(ends[0], "x", CONFAB_NOW), -EOPNOTSUPP);
        check_eq(confab_receive(ends[1], &got, NULL, CONFAB_NOW), -EOPNOTSUPP);
        check_eq(confab_shutdown(ends[1], CONFAB_SEND, CONFAB_NOW), -EOPNOTSUPP);
        close_pair(ends);
}

TEST(a_claim_is_written_in_place_and_sent) {
        confab_endpoint *ends[2];
        struct confab_message message = confab_message_of(NULL, 5);
        void *room;

        pair(ends, "pipe://?frame=record&max=1000");
        check_eq(confab_claim(ends[1], &room, 1001, CONFAB_NOW), -EMSGSIZE);
        check_ok(confab_claim(ends[1], &room, 100, CONFAB_NOW));
        check_eq(confab_claim(ends[1], &room, 100, CONFAB_NOW), -EBUSY);
        memcpy(room, "claim", 5);
        check_eq(confab_commit(ends[1], &message, CONFAB_NOW), 5);
        receive_text(ends[0], "claim");
        check_eq(confab_commit(ends[1], &message, CONFAB_NOW), -EINVAL);
        check_ok(confab_claim(ends[1], &room, 10, CONFAB_NOW));
        confab_abort(ends[1]);
        check_ok(confab_claim(ends[1], &room, 10, CONFAB_NOW));
        message.data_len = 11;
        check_eq(confab_commit(ends[1], &message, CONFAB_NOW), -EINVAL);
        close_pair(ends);
}

/* A stream without frames knows no messages: neither call has a largest one there. */
TEST(max_is_for_messages) {
        confab_endpoint *ends[2];
        struct confab_message message = confab_message_of(NULL, 20);
        void *room;

        pair(ends, "pipe://?max=10");
        check_eq(try_send(ends[1], "twelve bytes", CONFAB_NOW), 12);
        receive_text(ends[0], "twelve bytes");
        check_ok(confab_claim(ends[1], &room, 20, CONFAB_NOW));
        memcpy(room, "twenty bytes of claim", 20);
        check_eq(confab_commit(ends[1], &message, CONFAB_NOW), 20);
        receive_text(ends[0], "twenty bytes of clai");
        close_pair(ends);
        check_ok(confab_pair(ends, "unix://?type=seqpacket&max=10", NULL));
        check_eq(try_send(ends[1], "twelve bytes", CONFAB_NOW), -EMSGSIZE);
        check_eq(confab_claim(ends[1], &room, 20, CONFAB_NOW), -EMSGSIZE);
        close_pair(ends);
}

TEST(what_is_missing_is_said) {
        confab_endpoint *ends[2];
        struct confab_message message = confab_message_of("x", 1);

        pair(ends, "pipe://");
        check_eq(confab_send(NULL, &message, CONFAB_NOW), -EINVAL);
        check_says("no endpoint");
        check_eq(confab_receive(NULL, &message, NULL, CONFAB_NOW), -EINVAL);
        check_says("no endpoint");
        check_eq(confab_receive(ends[0], NULL, NULL, CONFAB_NOW), -EINVAL);
        check_says("no message");
        message.size = 0;
        check_eq(confab_send(ends[1], &message, CONFAB_NOW), -EINVAL);
        check_says("message->size");
        close_pair(ends);
}

/* A wait that fails leaves no answer of the wait before it. */
TEST(a_wait_that_fails_says_nothing_is_ready) {
        confab_endpoint *ends[2];
        struct confab_interest interests[2] = {{NULL, CONFAB_RECEIVE, 0}, {NULL, CONFAB_RECEIVE, 0}};

        pair(ends, "pipe://");
        send_text(ends[1], "x");
        interests[0].endpoint = ends[0];
        check_eq(confab_wait(interests, 1, CONFAB_NOW), 1);
        check_eq(interests[0].ready, CONFAB_RECEIVE);
        interests[1].ready = CONFAB_RECEIVE;
        check_eq(confab_wait(interests, 2, CONFAB_NOW), -EINVAL);
        check_eq(interests[0].ready | interests[1].ready, 0);
        interests[0].ready = interests[1].ready = CONFAB_RECEIVE;
        interests[1].endpoint = ends[1]; /* which cannot */
        check_eq(confab_wait(interests, 2, CONFAB_NOW), -EOPNOTSUPP);
        check_eq(interests[0].ready | interests[1].ready, 0);
        close_pair(ends);
}

/* Contract 2: what the deadline cuts stays queued and is finished by the next call. */
TEST(a_framed_message_cut_by_the_deadline_is_finished_later) {
        confab_endpoint *ends[2];
        size_t len = 1 << 20;
        char *large = calloc(1, len);
        struct confab_message message = confab_message_of(large, len), got = confab_message_of(NULL, 0);
        struct confab_properties properties = {.size = sizeof(properties)};

        check(large);
        memset(large, 'l', len);
        pair(ends, "pipe://?frame=record&duplex");
        check_ok(confab_endpoint_properties(&properties, ends[0]));
        check_eq(properties.boundaries, CONFAB_BOUNDARIES_MESSAGE);
        check_eq(confab_send(ends[1], &message, confab_after(20 * MS)),
                 (int64_t)len); /* a part went out: it counts as sent */
        check_eq(try_send(ends[1], "next", confab_after(20 * MS)), -ETIMEDOUT); /* nothing of this one did */
        check_eq(confab_send(ends[1], NULL, CONFAB_NOW), -EAGAIN);
        check_eq(confab_send(ends[0], NULL, CONFAB_NOW), 0);
        check_eq(confab_shutdown(ends[1], CONFAB_SEND, CONFAB_NOW), -EAGAIN); /* the rest is still queued */
        /* draining the pipe and calling again alternate until all is through */
        check_eq(confab_receive(ends[0], &got, NULL, confab_after(10 * MS)), -ETIMEDOUT);
        for (int i = 0; i < 100; i++) {
                int64_t n = try_send(ends[1], "next", CONFAB_NOW);

                if (n == 4)
                        break;
                check_eq(n, -EAGAIN);
                check(confab_receive(ends[0], &got, NULL, CONFAB_NOW) == -EAGAIN);
        }
        check_eq(confab_receive(ends[0], &got, NULL, confab_after(1000 * MS)), 1);
        check_eq(got.data_len, len);
        check_mem(got.data, large, len);
        confab_release(ends[0], &got);
        receive_text(ends[0], "next");
        check_eq(confab_send(ends[1], NULL, CONFAB_NOW), 0);
        check_ok(confab_shutdown(ends[1], CONFAB_SEND, confab_after(1000 * MS)));
        check_eq(confab_receive(ends[0], &got, NULL, confab_after(1000 * MS)), 0);
        free(large);
        close_pair(ends);
}

TEST(never_half_a_message) {
        confab_endpoint *ends[2];
        struct confab_message got = confab_message_of(NULL, 0);
        struct pollfd pollfd;

        for (int line = 0; line < 2; line++) {
                pair(ends, line ? "pipe://?frame=line" : "pipe://?frame=record");
                check_ok(confab_descriptor(ends[1], CONFAB_SEND, &pollfd));
                /* half a message, written past the framing, then the end */
                check(write(pollfd.fd, line ? "ha" : "\x80\x00\x00\x04ha", line ? 2 : 6) > 0);
                ends[1] = confab_close(ends[1]);
                check_eq(confab_receive(ends[0], &got, NULL, confab_after(1000 * MS)), -EPIPE);
                check(strstr(explained(), "within a"));
                check_eq(confab_receive(ends[0], &got, NULL, confab_after(1000 * MS)), 0);
                confab_close(ends[0]);
        }
}

/* A claim of 2 GiB costs nothing and breaks only its own stream. */
TEST(a_giant_claim_is_refused_before_anything_is_allocated) {
        confab_endpoint *ends[2];
        struct confab_message got = confab_message_of(NULL, 0);
        struct pollfd pollfd;

        pair(ends, "pipe://?frame=record");
        check_ok(confab_descriptor(ends[1], CONFAB_SEND, &pollfd));
        check_eq(write(pollfd.fd, "\xff\xff\xff\xff", 4), 4);
        check_eq(confab_receive(ends[0], &got, NULL, confab_after(1000 * MS)), -EMSGSIZE);
        check(strstr(explained(), "16777216"));
        check_eq(confab_receive(ends[0], &got, NULL, CONFAB_NOW), -EMSGSIZE); /* and stays so */
        close_pair(ends);
}

TEST(a_line_cannot_hold_a_newline) {
        confab_endpoint *ends[2];
        struct iovec parts[2] = {{(void *)(uintptr_t) "a", 1}, {(void *)(uintptr_t) "b\n", 2}};
        struct confab_message message = confab_message_of(NULL, 0);

        pair(ends, "pipe://?frame=line");
        check_eq(try_send(ends[1], "a\nb", CONFAB_NOW), -EINVAL);
        message.iov = parts;
        message.n_iov = 2;
        check_eq(confab_send(ends[1], &message, CONFAB_NOW), -EINVAL);
        check_eq(try_send(ends[1], "a\rb", CONFAB_NOW), 3);
        receive_text(ends[0], "a\rb");
        close_pair(ends);
}

/* Messages lent out of one buffer stay whole while more arrive and buffers grow. */
TEST(lent_messages_do_not_move) {
        enum { N = 200 };
        confab_endpoint *ends[2];
        struct confab_message got[N];
        char text[600];

        pair(ends, "pipe://?frame=record&capacity=1048576");
        for (int i = 0; i < N; i++) {
                memset(text, 'a' + i % 26, sizeof(text));
                snprintf(text, sizeof(text), "%d", i);
                struct confab_message message = confab_message_of(text, sizeof(text));

                check_eq(confab_send(ends[1], &message, CONFAB_NOW), sizeof(text));
        }
        for (int i = 0; i < N; i++) {
                got[i] = confab_message_of(NULL, 0);
                check_eq(confab_receive(ends[0], &got[i], NULL, CONFAB_NOW), 1);
        }
        for (int i = 0; i < N; i++) {
                check_eq(got[i].data_len, sizeof(text));
                check_eq(atoi(got[i].data), i);
                check(((const char *)got[i].data)[500] == 'a' + i % 26);
        }
        for (int i = 0; i < N; i += 2)
                confab_release(ends[0], &got[i]);
        check_eq(try_send(ends[1], "more", CONFAB_NOW), 4);
        receive_text(ends[0], "more");
        for (int i = 1; i < N; i += 2) {
                check_eq(atoi(got[i].data), i);
                confab_release(ends[0], &got[i]);
        }
        close_pair(ends);
}

/* Large messages in every position of the buffer: growing, moving, doubling. */
TEST(framed_messages_of_every_size_in_a_row) {
        confab_endpoint *ends[2];
        unsigned char *data = malloc(400000);
        pid_t child;
        int status;

        check(data);
        for (size_t i = 0; i < 400000; i++)
                data[i] = (unsigned char)(i * 13 + i / 251);
        pair(ends, "pipe://?frame=record");
        child = fork();
        check(child >= 0);
        if (child == 0) {
                for (size_t i = 0, len = 0; i < 300; i++, len = (len * 7 + 12345) % 400000) {
                        struct confab_message message = confab_message_of(data, len);

                        if (confab_send(ends[1], &message, CONFAB_FOREVER) != (int64_t)len)
                                _exit(1);
                }
                _exit(0);
        }
        for (size_t i = 0, len = 0; i < 300; i++, len = (len * 7 + 12345) % 400000) {
                struct confab_message got = confab_message_of(NULL, 0);

                check_eq(confab_receive(ends[0], &got, NULL, confab_after(5000 * MS)), 1);
                check_eq(got.data_len, len);
                check_mem(got.data, data, len);
                confab_release(ends[0], &got);
        }
        check(waitpid(child, &status, 0) == child && status == 0);
        free(data);
        close_pair(ends);
}

TEST(descriptors_are_lent_and_taken) {
        struct confab_message message = confab_message_of("x", 1);
        confab_endpoint *ends[2];
        int fd = 0;

        check_eq(confab_take_descriptor(&message, 0), -EINVAL);
        check_eq(confab_take_descriptor(NULL, 0), -EINVAL);
        pair(ends, "pipe://");
        message.descriptors = &fd;
        message.n_descriptors = 1;
        check_eq(confab_send(ends[1], &message, CONFAB_NOW), -EOPNOTSUPP);
        check(strstr(explained(), "descriptors"));
        close_pair(ends);
}

TEST(inherit_names_the_descriptor) {
        confab_endpoint *ends[2];
        char address[32];
        int fd = -1;

        pair(ends, "pipe://");
        check_eq(confab_inherit(ends[0], address, 4), -ENOSPC);
        check_ok(confab_inherit(ends[0], address, sizeof(address)));
        check_eq(sscanf(address, "fd://%d?take", &fd), 1);
        check(fd >= 0 && !(fcntl(fd, F_GETFD) & FD_CLOEXEC));
        close_pair(ends);
        pair(ends, "pipe://?duplex");
        check_eq(confab_inherit(ends[0], address, sizeof(address)), -EOPNOTSUPP);
        close_pair(ends);
}

TEST(every_property_has_words) {
        struct confab_properties properties = {.size = sizeof(properties)};
        unsigned n = 0;

        check_ok(confab_properties(&properties, "pipe://"));
        for (unsigned i = 0;; i++, n++) {
                const char *name = NULL, *help = NULL;
                char text[32] = "";
                int r = confab_property(&properties, i, &name, &help, text, sizeof(text));

                if (r == -ENOENT)
                        break;
                check(r > 0 && name && help && text[0]);
                check_eq(r, strlen(text));
        }
        check_eq(n, 24);
        properties.size = 1;
        check_eq(confab_properties(&properties, "pipe://"), -EINVAL);
}

/* The sentence is cut at whole characters, and control characters of a subject do not reach the terminal. */
TEST(explanations_are_safe_to_print) {
        char text[64];
        confab_endpoint *endpoint;
        size_t whole;

        check_eq(confab_open(&endpoint, "no\033[31m://x", NULL, CONFAB_NOW), -EINVAL);
        whole = confab_explain(text, sizeof(text));
        check(whole > 20);
        for (size_t i = 0; text[i]; i++)
                check((unsigned char)text[i] >= 0x20);
        cfb_failed(-ENOENT, "open", "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4");
        for (size_t cap = 1; cap < 16; cap++) {
                size_t len;

                confab_explain(text, cap);
                len = strlen(text);
                check(len < cap);
                check(len == 0 || len > 12 || len % 2 == 0);
        }
        check_eq(confab_explain(NULL, 0), confab_explain(text, sizeof(text)));
}

/* --- what the fast path must not do --- */

static unsigned long n_allocations;

static void *counted(size_t len, void *data) {
        (void)data;
        n_allocations++;
        return malloc(len);
}

static void uncounted(void *memory, void *data) {
        (void)data;
        free(memory);
}

/* Contract 6: no allocation on send and receive after opening. */
TEST(sending_and_receiving_allocate_nothing) {
        struct confab_allocator allocator = {
                .size = sizeof(allocator), .allocate = counted, .release = uncounted};
        confab_endpoint *ends[2];
        unsigned long before;

        check_eq(confab_set_allocator(NULL), -EINVAL);
        check_ok(confab_set_allocator(&allocator));
        pair(ends, "pipe://");
        before = n_allocations;
        check(before > 0);
        for (int i = 0; i < 1000; i++) {
                check_eq(try_send(ends[1], "hello", CONFAB_FOREVER), 5);
                receive_text(ends[0], "hello");
        }
        check_eq(n_allocations, before);
        check_eq(confab_set_allocator(&allocator), -EBUSY);
        close_pair(ends);
        pair(ends, "pipe://?frame=record");
        before = n_allocations;
        for (int i = 0; i < 1000; i++) {
                check_eq(try_send(ends[1], "hello", CONFAB_FOREVER), 5);
                receive_text(ends[0], "hello");
        }
        check_eq(n_allocations, before);
        close_pair(ends);
}

/* --- closing under others' feet --- */

struct storm {
        confab_endpoint *endpoint;
        atomic_int n_received;
};

static void *storm(void *data) {
        struct storm *own = data;

        for (;;) {
                struct confab_message got = confab_message_of(NULL, 0);
                int r = confab_receive(own->endpoint, &got, NULL, CONFAB_FOREVER);

                if (r == -ECANCELED)
                        return NULL;
                check_eq(r, 1);
                confab_release(own->endpoint, &got);
                atomic_fetch_add(&own->n_received, 1);
        }
}

/* Closed while the other thread is inside its last call: nothing comes any more, so it stays there. */
TEST_TIMEOUT(closing_while_another_receives, 60) {
        for (int i = 0; i < 300; i++) {
                struct storm other = {0};
                confab_endpoint *ends[2];
                pthread_t thread;

                pair(ends, "pipe://?frame=line");
                other.endpoint = ends[0];
                check(pthread_create(&thread, NULL, storm, &other) == 0);
                for (int k = 0; k < i % 17; k++)
                        check_eq(try_send(ends[1], "x", CONFAB_FOREVER), 1);
                while (atomic_load(&other.n_received) < i % 17 ||
                       !atomic_load(&ends[0]->waiter[CFB_RECEIVING]))
                        usleep(20);
                confab_close(ends[0]);
                pthread_join(thread, NULL);
                confab_close(ends[1]);
        }
}

/* A forked child has wake descriptors of its own: it cannot steal the parent's. */
TEST(fork_gives_the_child_its_own_wake_descriptor) {
        confab_endpoint *ends[2];
        struct confab_message got = confab_message_of(NULL, 0);
        int status;
        pid_t child;

        pair(ends, "pipe://");
        check_eq(confab_receive(ends[0], &got, NULL, confab_after(5 * MS)),
                 -ETIMEDOUT); /* this thread has one now */
        child = fork();
        check(child >= 0);
        if (child == 0) {
                /* interrupts of the child's own reach the child */
                confab_interrupt(ends[0]);
                _exit(confab_receive(ends[0], &got, NULL, soon()) == -EINTR ? 0 : 1);
        }
        check(waitpid(child, &status, 0) == child && status == 0);
        check_eq(confab_receive(ends[0], &got, NULL, confab_after(20 * MS)), -ETIMEDOUT);
        close_pair(ends);
}

/* --- confab_wait --- */

struct wait_in_thread {
        confab_endpoint *endpoint;
        uint32_t direction;
        int result;
};

static void *wait_in_thread(void *data) {
        struct wait_in_thread *wait = data;
        struct confab_interest interest = {wait->endpoint, wait->direction, 0};

        wait->result = confab_wait(&interest, 1, CONFAB_FOREVER);
        return NULL;
}

/* The wait is ended, and has let go of the endpoint, before close frees it (AddressSanitizer looks). */
TEST(close_ends_a_wait_for_several) {
        const char *addresses[] = {"pipe://", "unix://", "unix://?frame=line"};

        for (unsigned i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
                struct wait_in_thread wait = {.direction = CONFAB_RECEIVE};
                confab_endpoint *ends[2];
                pthread_t thread;

                pair(ends, addresses[i]);
                wait.endpoint = ends[0];
                check_eq(pthread_create(&thread, NULL, wait_in_thread, &wait), 0);
                until_used(ends[0], CONFAB_RECEIVE);
                nap_ms(10); /* let it really sleep */
                confab_close(ends[0]);
                pthread_join(thread, NULL);
                check_eq(wait.result, -ECANCELED);
                confab_close(ends[1]);
        }
}

/* ppoll refuses more entries than RLIMIT_NOFILE: all that a process can open can be waited for, in both directions. */
TEST(as_many_are_waited_for_as_can_be_open) {
        enum { N = 60 };
        const struct rlimit limit = {80, 80};
        struct confab_interest interests[N];
        confab_endpoint *ends[N];

        for (int i = 0; i < N; i += 2)
                pair(&ends[i], "unix://");
        check_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        for (int i = 0; i < N; i++)
                interests[i] = (struct confab_interest){ends[i], CONFAB_RECEIVE, 0};
        check_eq(confab_wait(interests, N, confab_after(2 * MS)), -ETIMEDOUT);
        check_eq(try_send(ends[7], "x", CONFAB_NOW), 1);
        check_eq(confab_wait(interests, N, confab_after(1000 * MS)), 1);
        for (int i = 0; i < N; i++) {
                check_eq(interests[i].ready, i == 6 ? CONFAB_RECEIVE : 0);
                interests[i].direction = i % 3 ? CONFAB_BOTH : CONFAB_RECEIVE;
        }
        check_eq(confab_wait(interests, N, confab_after(1000 * MS)), 41);
        for (int i = 0; i < N; i++)
                check_eq(interests[i].ready, (i == 6 ? CONFAB_RECEIVE : 0) | (i % 3 ? CONFAB_SEND : 0));
        receive_text(ends[6], "x");
        for (int i = 0; i < N; i++)
                confab_close(ends[i]);
}

/* --- framed sending --- */

/* The edges of a frame take parts of the gathered write, too: 1024 of the caller's stay possible. */
TEST(a_framed_message_of_the_most_parts) {
        const char *addresses[] = {"pipe://?frame=record", "unix://?frame=record", "unix://?frame=line"};
        struct iovec parts[1024];
        char bytes[1024];

        memset(bytes, 'a', sizeof(bytes));
        for (unsigned i = 0; i < 1024; i++)
                parts[i] = (struct iovec){&bytes[i], 1};
        for (unsigned i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++) {
                struct confab_message message = confab_message_of(NULL, 0), got = message;
                confab_endpoint *ends[2];

                message.iov = parts;
                message.n_iov = 1024;
                pair(ends, addresses[i]);
                check_eq(confab_send(ends[1], &message, confab_after(1000 * MS)), 1024);
                check_eq(confab_receive(ends[0], &got, NULL, confab_after(1000 * MS)), 1);
                check_mem(got.data, bytes, sizeof(bytes));
                check_eq(got.data_len, sizeof(bytes));
                confab_release(ends[0], &got);
                close_pair(ends);
        }
}

/* A limit, or a full disk, within a message: no later one may look like its end. */
TEST(an_error_within_a_framed_message_ends_sending) {
        struct rlimit limit = {10, RLIM_INFINITY};
        confab_endpoint *endpoint = NULL;
        char address[64], bytes[32];
        int fd = open("log", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

        signal(SIGXFSZ, SIG_IGN);
        snprintf(address, sizeof(address), "fd://%d?frame=line&direction=send", fd);
        check_ok(confab_open(&endpoint, address, NULL, CONFAB_NOW));
        check_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        check_eq(try_send(endpoint, "0123456789abcdef", CONFAB_NOW), -EFBIG);
        limit.rlim_cur = RLIM_INFINITY;
        check_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        check_eq(try_send(endpoint, "second", CONFAB_NOW), -EFBIG);
        confab_close(endpoint);
        check_eq(pread(fd, bytes, sizeof(bytes), 0), 10);
        close(fd);
}

/* --- events --- */

static int numbers[2];
static atomic_int n_mixed;
static atomic_bool enough;

static void told_first(const struct confab_event *event, void *data) {
        (void)event;
        n_mixed += data != &numbers[0];
}

static void told_second(const struct confab_event *event, void *data) {
        (void)event;
        n_mixed += data != &numbers[1];
}

static void *set_callbacks(void *unused) {
        (void)unused;
        while (!enough) {
                confab_on_event(told_first, &numbers[0]);
                confab_on_event(told_second, &numbers[1]);
        }
        return NULL;
}

/* Set while another thread tells: each callback gets the data it was set with. */
TEST(a_callback_gets_its_own_data) {
        int64_t until_ns = confab_after(100 * MS);
        pthread_t threads[2];

        for (int i = 0; i < 2; i++)
                check_eq(pthread_create(&threads[i], NULL, set_callbacks, NULL), 0);
        while (confab_now() < until_ns)
                for (int i = 0; i < 100; i++)
                        cfb_tell(CONFAB_EVENT_ACCEPT_PAUSED, "x://", i);
        enough = true;
        for (int i = 0; i < 2; i++)
                pthread_join(threads[i], NULL);
        confab_on_event(NULL, NULL);
        check_eq(n_mixed, 0);
}

/* --- fork --- */

static void *receive_in_thread(void *endpoint) {
        struct confab_message message = confab_message_of(NULL, 0);

        check_eq(confab_receive(endpoint, &message, NULL, CONFAB_FOREVER), -EINTR);
        return NULL;
}

/* A call under way in a thread that the child does not have keeps nobody from closing there. */
TEST(a_forked_child_closes_what_another_thread_uses) {
        confab_endpoint *ends[2];
        pthread_t thread;
        int status;
        pid_t pid;

        pair(ends, "unix://");
        check_eq(pthread_create(&thread, NULL, receive_in_thread, ends[0]), 0);
        until_used(ends[0], CONFAB_RECEIVE);
        pid = fork();
        if (pid == 0) {
                confab_close(ends[0]);
                _exit(0);
        }
        check_eq(waitpid(pid, &status, 0), pid);
        check_eq(status, 0);
        confab_interrupt(ends[0]);
        pthread_join(thread, NULL);
        close_pair(ends);
}

/* base/pause.h: a receive pauses before it sleeps, and learns that it was for nothing. */
TEST(a_receive_learns_whether_to_pause) {
        struct confab_message message = confab_message_of(NULL, 0);
        confab_endpoint *ends[2];

        pair(ends, "pipe://");
        check_eq(confab_receive(ends[0], &message, NULL, CONFAB_NOW), -EAGAIN);
        check_eq(ends[0]->pause.next, 0);
        /* again: put aside for all of the time, it finds the deadline too near to pause */
        for (int i = 0; i < 1000 && !ends[0]->pause.next; i++)
                check_eq(confab_receive(ends[0], &message, NULL, confab_after(MS)), -ETIMEDOUT);
        check_eq(ends[0]->pause.next, 1);
        check_eq(ends[0]->pause.left_out, 1);
        close_pair(ends);
}
