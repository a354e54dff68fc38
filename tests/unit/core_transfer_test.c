/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* Transfers: every way bytes and messages can go, the end, and what is kept when a step stops in the middle. */
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
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LEN = 3 << 20 };

static unsigned char *pattern(void) {
        unsigned char *bytes = malloc(LEN);
        uint32_t state = 12345;

        for (size_t i = 0; i < LEN; i++) {
                state = state * 1664525 + 1013904223;
                bytes[i] = (unsigned char)(state >> 24);
        }
        return bytes;
}

struct side {
        confab_endpoint *endpoint;
        unsigned char *bytes;
        size_t n;
};

static void *send_side(void *data) {
        struct side *side = data;

        for (size_t at = 0; at < LEN;) {
                size_t len = LEN - at < 100000 ? LEN - at : 100000;
                struct confab_message message = confab_message_of(side->bytes + at, len);

                check_eq(confab_send(side->endpoint, &message, CONFAB_FOREVER), len);
                at += len;
        }
        side->endpoint = confab_close(side->endpoint);
        return NULL;
}

static void *receive_side(void *data) {
        struct side *side = data;
        int r;

        for (;;) {
                struct confab_message message = confab_message_of(NULL, 0);

                r = confab_receive(side->endpoint, &message, NULL, CONFAB_FOREVER);
                if (r <= 0)
                        break;
                check(side->n + message.data_len <= LEN);
                memcpy(side->bytes + side->n, message.data, message.data_len);
                side->n += message.data_len;
                confab_release(side->endpoint, &message);
        }
        check_eq(r, 0);
        return NULL;
}

/* LEN bytes from a pair of @from through a transfer to a pair of @to. */
static void through(const char *from, const char *to, uint32_t flags) {
        struct confab_transfer_options options = {.size = sizeof(options), .flags = flags};
        confab_endpoint *in[2], *out[2];
        confab_transfer *transfer;
        pthread_t sender, receiver;
        struct side sending = {.bytes = pattern()}, receiving = {.bytes = malloc(LEN)};
        uint64_t moved = 0;
        int r;

        check_ok(confab_pair(in, from, NULL));
        check_ok(confab_pair(out, to, NULL));
        sending.endpoint = in[1];
        receiving.endpoint = out[0];
        check_ok(confab_transfer_new(&transfer, in[0], out[1], &options));
        pthread_create(&sender, NULL, send_side, &sending);
        pthread_create(&receiver, NULL, receive_side, &receiving);
        while ((r = confab_transfer_step(transfer, &moved, CONFAB_FOREVER)) > 0)
                ;
        check_ok(r);
        check_eq(moved, LEN);
        check_eq(confab_transfer_step(transfer, &moved, CONFAB_NOW), 0); /* the end stays the end */
        check(confab_transfer_free(transfer) == NULL);
        confab_close(out[1]);
        pthread_join(sender, NULL);
        pthread_join(receiver, NULL);
        check_eq(receiving.n, LEN);
        check_mem(receiving.bytes, sending.bytes, LEN);
        confab_close(in[0]);
        confab_close(out[0]);
        free(sending.bytes);
        free(receiving.bytes);
}

TEST(unix_to_unix) {
        through("unix://", "unix://", 0);
}

TEST(unix_to_unix_copied) {
        through("unix://", "unix://", CONFAB_TRANSFER_DESCRIPTORS);
}

TEST(pipe_to_unix) {
        through("pipe://", "unix://", 0);
}

TEST(unix_to_pipe) {
        through("unix://", "pipe://", 0);
}

TEST(pipe_to_pipe) {
        through("pipe://", "pipe://", 0);
}

TEST(records_to_a_stream) {
        through("pipe://?frame=record", "unix://", 0);
}

TEST(messages_to_messages) {
        through("unix://?type=seqpacket", "pipe://?frame=record", 0);
}

TEST(stream_to_messages) {
        through("pipe://", "unix://?type=seqpacket", 0);
}

/* Into a file, one that splice refuses too (opened for appending): the bytes already taken into the pipe are not lost. */
static void into_file(int flags) {
        unsigned char *bytes = pattern(), *back = malloc(LEN);
        confab_endpoint *in[2], *file;
        confab_transfer *transfer;
        struct side sending = {.bytes = bytes};
        char address[32];
        struct stat st;
        pthread_t sender;
        uint64_t moved = 0;
        int fd = open("file", O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC | flags, 0600), r;

        check(fd >= 0);
        snprintf(address, sizeof(address), "fd://%d", fd);
        check_ok(confab_open(
                &file, address,
                &(struct confab_options){.size = sizeof(struct confab_options), .direction = CONFAB_SEND},
                CONFAB_FOREVER));
        check_ok(confab_pair(in, "unix://", NULL));
        sending.endpoint = in[1];
        check_ok(confab_transfer_new(&transfer, in[0], file, NULL));
        pthread_create(&sender, NULL, send_side, &sending);
        while ((r = confab_transfer_step(transfer, &moved, CONFAB_FOREVER)) > 0)
                ;
        check_ok(r);
        pthread_join(sender, NULL);
        confab_transfer_free(transfer);
        confab_close(file);
        confab_close(in[0]);
        check_eq(moved, LEN);
        check_eq(pread(fd, back, LEN, 0), LEN);
        check_mem(back, bytes, LEN);
        /* Blocks reserved before they are written: for no more than what was written; its index and the like take some. */
        check_eq(fstat(fd, &st), 0);
        check((uint64_t)st.st_blocks * 512 <= LEN + 256 * 1024);
        close(fd);
        free(bytes);
        free(back);
}

TEST(unix_to_file) {
        into_file(0);
}

TEST(unix_to_file_for_appending) {
        into_file(O_APPEND);
}

TEST(a_step_says_what_it_waits_for) {
        confab_endpoint *in[2], *out[2];
        confab_transfer *transfer;
        struct confab_interest interest;
        struct confab_message message;
        unsigned char *bytes = pattern();
        uint64_t moved = 0, received = 0;
        int r;

        check_ok(confab_pair(in, "unix://", NULL));
        check_ok(confab_pair(out, "unix://", NULL));
        check_ok(confab_transfer_new(&transfer, in[0], out[1], NULL));
        check_eq(confab_transfer_step(transfer, &moved, CONFAB_NOW), -EAGAIN);
        confab_transfer_waits(transfer, &interest);
        check(interest.endpoint == in[0] && interest.direction == CONFAB_RECEIVE);
        check_eq(confab_transfer_step(transfer, &moved, confab_after(20000000)), -ETIMEDOUT);

        /* more than the sink holds: the step waits for the sink, and the rest is kept */
        for (size_t sent = 0; sent < LEN;) {
                int64_t n;

                message = confab_message_of(bytes + sent, LEN - sent);
                n = confab_send(in[1], &message, CONFAB_NOW);
                if (n > 0)
                        sent += (size_t)n;
                r = confab_transfer_step(transfer, &moved, CONFAB_NOW);
                check(r == 1 || r == -EAGAIN);
                if (n == -EAGAIN && r == -EAGAIN) {
                        confab_transfer_waits(transfer, &interest);
                        check(interest.endpoint == out[1] && interest.direction == CONFAB_SEND);
                        message = confab_message_of(NULL, 0);
                        check_eq(confab_receive(out[0], &message, NULL, CONFAB_NOW), 1);
                        check_mem(message.data, bytes + received, message.data_len);
                        received += message.data_len;
                        confab_release(out[0], &message);
                }
        }
        check(received > 0);
        confab_transfer_free(transfer);
        for (int i = 0; i < 2; i++) {
                confab_close(in[i]);
                confab_close(out[i]);
        }
        free(bytes);
}

/* splice answers 0 for a FIFO before its first writer, as after its last. */
TEST(a_fifo_nobody_has_written_to_is_waited_for) {
        static const char *const sinks[] = {"pipe://", "unix://"}; /* one splice, and two */

        for (unsigned i = 0; i < 2; i++) {
                struct confab_message message = confab_message_of("first", 5),
                                      got = confab_message_of(NULL, 0);
                confab_endpoint *reader, *writer, *sink[2];
                confab_transfer *transfer;
                char address[512], folder[400];
                uint64_t moved = 0;

                check(getcwd(folder, sizeof(folder)) != NULL);
                snprintf(address, sizeof(address), "fifo://%s/fifo", folder);
                check_ok(confab_listen(&reader, address, NULL, CONFAB_NOW));
                check_ok(confab_pair(sink, sinks[i], NULL));
                check_ok(confab_transfer_new(&transfer, reader, sink[1], NULL));
                check_eq(confab_transfer_step(transfer, &moved, CONFAB_NOW), -EAGAIN);
                check_ok(confab_open(&writer, address, NULL, soon()));
                check_eq(confab_send(writer, &message, soon()), 5);
                check_eq(confab_transfer_step(transfer, &moved, soon()), 1);
                check_eq(moved, 5);
                confab_close(writer);
                check_eq(confab_transfer_step(transfer, &moved, soon()), 0);
                check_eq(confab_receive(sink[0], &got, NULL, soon()), 1);
                check_mem(got.data, "first", 5);
                confab_release(sink[0], &got);
                confab_transfer_free(transfer);
                confab_close(reader);
                confab_close(sink[0]);
                confab_close(sink[1]);
        }
}

TEST(a_sink_that_has_gone_is_an_error_and_no_signal) {
        static const char *const kinds[] = {"unix://", "pipe://"};

        for (unsigned i = 0; i < 2; i++) {
                confab_endpoint *in[2], *out[2];
                struct confab_message message = confab_message_of("lost", 4);
                confab_transfer *transfer;

                check_ok(confab_pair(in, "unix://", NULL));
                check_ok(confab_pair(out, kinds[i], NULL));
                check_ok(confab_transfer_new(&transfer, in[0], out[1], NULL));
                out[0] = confab_close(out[0]);
                check_eq(confab_send(in[1], &message, CONFAB_FOREVER), 4);
                check_eq(confab_transfer_step(transfer, NULL, CONFAB_FOREVER), -EPIPE);
                confab_transfer_free(transfer);
                confab_close(in[0]);
                confab_close(in[1]);
                confab_close(out[1]);
        }
}

/* A sink that has gone is an error for bytes only: without any there is nothing to wait for but the source, and its end is an end. */
TEST(a_sink_that_has_gone_matters_only_for_bytes) {
        static const char *const from[] = {"pipe://", "unix://", "pipe://", "unix://"};
        static const char *const to[] = {"pipe://", "pipe://", "unix://", "unix://"};

        for (unsigned i = 0; i < 4; i++) {
                confab_endpoint *in[2], *out[2];
                confab_transfer *transfer;

                check_ok(confab_pair(in, from[i], NULL));
                check_ok(confab_pair(out, to[i], NULL));
                check_ok(confab_transfer_new(&transfer, in[0], out[1], NULL));
                out[0] = confab_close(out[0]);
                check_eq(confab_transfer_step(transfer, NULL, CONFAB_NOW), -EAGAIN);
                in[1] = confab_close(in[1]);
                check_eq(confab_transfer_step(transfer, NULL, CONFAB_NOW), 0);
                confab_transfer_free(transfer);
                confab_close(in[0]);
                confab_close(out[1]);
        }
}

static void abort_on_signal(int number) {
        (void)number;
        abort();
}

/* The way around SIGPIPE differs with its disposition. */
TEST(the_programs_own_handler_sees_no_sigpipe) {
        confab_endpoint *in[2], *out[2];
        struct confab_message message = confab_message_of("lost", 4);
        struct sigaction action = {.sa_handler = abort_on_signal};
        confab_transfer *transfer;

        sigaction(SIGPIPE, &action, NULL);
        check_ok(confab_pair(in, "unix://", NULL));
        check_ok(confab_pair(out, "unix://", NULL));
        check_ok(confab_transfer_new(&transfer, in[0], out[1], NULL));
        out[0] = confab_close(out[0]);
        check_eq(confab_send(in[1], &message, CONFAB_FOREVER), 4);
        check_eq(confab_transfer_step(transfer, NULL, CONFAB_FOREVER), -EPIPE);
        confab_transfer_free(transfer);
        confab_close(in[0]);
        confab_close(in[1]);
        confab_close(out[1]);
}

TEST(an_interrupt_ends_a_step_and_loses_nothing) {
        confab_endpoint *in[2], *out[2];
        struct confab_message message = confab_message_of("kept", 4);
        confab_transfer *transfer;
        uint64_t moved = 0;

        check_ok(confab_pair(in, "unix://", NULL));
        check_ok(confab_pair(out, "unix://", NULL));
        check_ok(confab_transfer_new(&transfer, in[0], out[1], NULL));
        confab_interrupt(in[0]);
        check_eq(confab_transfer_step(transfer, &moved, CONFAB_FOREVER), -EINTR);
        check_eq(confab_send(in[1], &message, CONFAB_FOREVER), 4);
        check_eq(confab_transfer_step(transfer, &moved, CONFAB_FOREVER), 1);
        check_eq(moved, 4);
        confab_transfer_free(transfer);
        for (int i = 0; i < 2; i++) {
                confab_close(in[i]);
                confab_close(out[i]);
        }
}

TEST(a_message_too_long_is_dropped_and_the_next_one_goes) {
        confab_endpoint *in[2], *out[2];
        static unsigned char large[100000];
        struct confab_message messages[2] = {confab_message_of(large, sizeof(large)),
                                             confab_message_of("next", 4)};
        struct confab_message received = confab_message_of(NULL, 0);
        confab_transfer *transfer;

        check_ok(confab_pair(in, "unix://?type=seqpacket", NULL));
        check_ok(confab_pair(out, "pipe://?frame=record&max=64K", NULL));
        check_ok(confab_transfer_new(&transfer, in[0], out[1], NULL));
        for (int i = 0; i < 2; i++)
                check_eq(confab_send(in[1], &messages[i], CONFAB_FOREVER), messages[i].data_len);
        check_eq(confab_transfer_step(transfer, NULL, CONFAB_FOREVER), -EMSGSIZE);
        check_eq(confab_transfer_step(transfer, NULL, CONFAB_FOREVER), 1);
        check_eq(confab_receive(out[0], &received, NULL, CONFAB_FOREVER), 1);
        check_eq(received.data_len, 4);
        confab_release(out[0], &received);
        confab_transfer_free(transfer);
        for (int i = 0; i < 2; i++) {
                confab_close(in[i]);
                confab_close(out[i]);
        }
}

TEST(what_cannot_be_is_refused) {
        confab_endpoint *ends[2];
        confab_transfer *transfer;
        struct confab_transfer_options options = {.size = sizeof(options), .flags = 1u << 31};

        check_ok(confab_pair(ends, "pipe://", NULL));
        check_eq(confab_transfer_new(&transfer, ends[1], ends[0], NULL), -EOPNOTSUPP);
        check_eq(confab_transfer_new(&transfer, ends[0], ends[0], NULL), -EOPNOTSUPP);
        check_eq(confab_transfer_new(&transfer, ends[0], NULL, NULL), -EINVAL);
        check_eq(confab_transfer_new(&transfer, ends[0], ends[1], &options), -EINVAL);
        check(confab_transfer_free(NULL) == NULL);
        confab_close(ends[0]);
        confab_close(ends[1]);
}

/* Closed by another thread while a step waits, just when bytes come for it: the step may go on with them or not, closing waits for it. */
struct moving {
        confab_endpoint *in, *out;
        int r;
};

static void *move_once(void *data) {
        struct moving *moving = data;
        confab_transfer *transfer;

        check_ok(confab_transfer_new(&transfer, moving->in, moving->out, NULL));
        moving->r = confab_transfer_step(transfer, NULL, CONFAB_FOREVER);
        confab_transfer_free(transfer);
        return NULL;
}

static void *feed_once(void *data) {
        struct confab_message message = confab_message_of("x", 1);

        int64_t n = confab_send(data, &message, CONFAB_FOREVER);

        check(n == 1 || n == -EPIPE);
        return NULL;
}

TEST_TIMEOUT(closing_an_end_of_a_transfer_under_way, 60) {
        static const char *const sinks[] = {"unix://", "pipe://?duplex", "unix://?type=seqpacket"};

        for (int i = 0; i < 300; i++) {
                confab_endpoint *in[2], *out[2];
                pthread_t mover, feeder;
                struct moving moving = {0};
                bool close_source = i / 4 % 2;

                check_ok(confab_pair(in, "unix://", NULL));
                check_ok(confab_pair(out, sinks[i % 3], NULL));
                moving.in = in[0];
                moving.out = out[1];
                check_eq(pthread_create(&mover, NULL, move_once, &moving), 0);
                while (!atomic_load(&in[0]->waiter[CFB_RECEIVING]))
                        usleep(20);
                if (i % 4) /* else closing alone has to end it */
                        check_eq(pthread_create(&feeder, NULL, feed_once, in[1]), 0);
                if (i % 5)
                        usleep((useconds_t)(i % 97));
                if (close_source)
                        in[0] = confab_close(in[0]);
                else
                        out[1] = confab_close(out[1]);
                if (i % 4)
                        pthread_join(feeder, NULL);
                pthread_join(mover, NULL);
                check(moving.r == 1 || moving.r == -ECANCELED);
                for (int k = 0; k < 2; k++) {
                        confab_close(in[k]);
                        confab_close(out[k]);
                }
        }
}
