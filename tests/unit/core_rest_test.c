/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* What a deadline cuts on a byte stream goes out first with whatever comes next: no byte is lost, doubled or moved. */
#include "conversation.h"
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *const streams[] = {"unix://", "pipe://?duplex", "unix://?frame=record",
                                      "pipe://?duplex&frame=record"};

static unsigned char nth_byte(uint64_t n) {
        return (unsigned char)(n * 31 + n / 251);
}

static unsigned char *bytes_of(size_t len) {
        unsigned char *bytes = malloc(len);

        check(bytes);
        for (size_t i = 0; i < len; i++)
                bytes[i] = nth_byte(i);
        return bytes;
}

/* What is there now, checked against the place it has in the whole. */
static void drain(confab_endpoint *endpoint, uint64_t *at) {
        struct confab_message got = confab_message_of(NULL, 0);

        while (confab_receive(endpoint, &got, NULL, CONFAB_NOW) == 1) {
                for (uint64_t i = 0; i < got.data_len; i++, ++*at)
                        check_eq(((const unsigned char *)got.data)[i], nth_byte(*at));
                confab_release(endpoint, &got);
        }
}

static void finish(confab_endpoint *ends[2], uint64_t *at) {
        while (confab_send(ends[1], NULL, CONFAB_NOW) == -EAGAIN)
                drain(ends[0], at);
        drain(ends[0], at);
}

/* Batches whose messages are larger than what the kernel takes at once, small ones and gathered ones among them. */
TEST(batches_cut_again_and_again) {
        enum { LEN = 6 << 20, N = 8 };
        unsigned char *bytes = bytes_of(LEN);

        for (size_t s = 0; s < 4; s++) {
                confab_endpoint *ends[2];
                uint64_t at = 0, came = 0;
                unsigned seed = (unsigned)s + 1;

                check_ok(confab_pair(ends, streams[s], NULL));
                for (;;) {
                        struct confab_message messages[N];
                        struct iovec parts[N][2];
                        uint64_t next = at;
                        int n;

                        for (int i = 0; i < N; i++) {
                                size_t len = (size_t)rand_r(&seed) % (i % 3 ? 400 : 400000), half = len / 3;

                                messages[i] = confab_message_of(bytes + next, len);
                                if (i % 4 == 3) {
                                        parts[i][0] = (struct iovec){bytes + next, half};
                                        parts[i][1] = (struct iovec){bytes + next + half, len - half};
                                        messages[i] = confab_message_of(NULL, 0);
                                        messages[i].iov = parts[i];
                                        messages[i].n_iov = 2;
                                }
                                next += len;
                        }
                        if (next > LEN)
                                break;
                        n = confab_send_many(ends[1], messages, N, CONFAB_NOW);
                        check(n == -EAGAIN || (n >= 1 && n <= N));
                        for (int i = 0; i < n; i++)
                                at += messages[i].n_iov ? parts[i][0].iov_len + parts[i][1].iov_len
                                                        : messages[i].data_len;
                        if (n < N)
                                drain(ends[0], &came);
                }
                finish(ends, &came);
                check_eq(came, at);
                close_pair(ends);
        }
        free(bytes);
}

/* Cuts one, so that @ends[1] keeps a rest. Returns how many bytes are to come. */
static uint64_t cut_one(confab_endpoint *ends[2], unsigned char *bytes, size_t len) {
        struct confab_message message = confab_message_of(bytes, len);

        check_eq(confab_send_many(ends[1], &message, 1, CONFAB_NOW), 1);
        check_eq(confab_send(ends[1], NULL, CONFAB_NOW), -EAGAIN);
        return len;
}

TEST(a_send_goes_behind_it) {
        enum { LEN = 2 << 20 };
        unsigned char *bytes = bytes_of(LEN + 5);

        for (size_t s = 0; s < 4; s++) {
                confab_endpoint *ends[2];
                struct confab_message small = confab_message_of(bytes + LEN, 5);
                uint64_t came = 0;

                check_ok(confab_pair(ends, streams[s], NULL));
                cut_one(ends, bytes, LEN);
                check_eq(confab_send(ends[1], &small, CONFAB_NOW), -EAGAIN);
                check_eq(confab_send(ends[1], &small, after_ms(10)), -ETIMEDOUT);
                check_eq(confab_send_many(ends[1], &small, 1, CONFAB_NOW), -EAGAIN);
                for (int64_t n = -EAGAIN; n != 5;) {
                        drain(ends[0], &came);
                        n = confab_send(ends[1], &small, CONFAB_NOW);
                        check(n == 5 || n == -EAGAIN);
                }
                check_eq(confab_send(ends[1], NULL, CONFAB_NOW), 0);
                drain(ends[0], &came);
                check_eq(came, LEN + 5);
                close_pair(ends);
        }
        free(bytes);
}

TEST(the_end_comes_behind_it) {
        enum { LEN = 2 << 20 };
        unsigned char *bytes = bytes_of(LEN);

        for (size_t s = 0; s < 4; s++) {
                confab_endpoint *ends[2];
                struct confab_message got = confab_message_of(NULL, 0);
                uint64_t came = 0;

                check_ok(confab_pair(ends, streams[s], NULL));
                cut_one(ends, bytes, LEN);
                while (confab_shutdown(ends[1], CONFAB_SEND, CONFAB_NOW) == -EAGAIN)
                        drain(ends[0], &came);
                drain(ends[0], &came);
                check_eq(came, LEN);
                check_eq(confab_receive(ends[0], &got, NULL, soon()), 0);
                close_pair(ends);
        }
        free(bytes);
}

/* Spliced, a transfer does not go through confab_send. */
TEST(a_transfer_goes_behind_it) {
        enum { LEN = 2 << 20, MORE = 1000 };
        unsigned char *bytes = bytes_of(LEN + MORE);

        for (size_t s = 0; s < 2; s++) {
                confab_endpoint *ends[2], *source[2];
                confab_transfer *transfer;
                struct confab_message more = confab_message_of(bytes + LEN, MORE);
                uint64_t came = 0;

                check_ok(confab_pair(ends, streams[s], NULL));
                check_ok(confab_pair(source, "unix://", NULL));
                cut_one(ends, bytes, LEN);
                check_eq(confab_send(source[1], &more, soon()), MORE);
                check_ok(confab_transfer_new(&transfer, source[0], ends[1], NULL));
                while (came < LEN + MORE) {
                        int r = confab_transfer_step(transfer, NULL, CONFAB_NOW);

                        check(r == 1 || r == -EAGAIN);
                        drain(ends[0], &came);
                }
                check_eq(came, LEN + MORE);
                confab_transfer_free(transfer);
                close_pair(source);
                close_pair(ends);
        }
        free(bytes);
}

/* An event loop finishes it before it says that there is room. */
struct told {
        confab_endpoint *endpoint;
        int n_told;
};

static int told_of_room(confab_source *source, uint32_t events, void *data) {
        struct told *told = data;

        check_eq(events, CONFAB_SEND);
        check_eq(confab_send(told->endpoint, NULL, CONFAB_NOW), 0);
        told->n_told++;
        return confab_loop_change(source, 0);
}

static int count_call(confab_source *source, uint32_t events, void *data) {
        (void)source;
        check_eq(events, CONFAB_SEND);
        ++*(int *)data;
        return 0;
}

TEST(a_loop_finishes_it) {
        enum { LEN = 2 << 20 };
        unsigned char *bytes = bytes_of(LEN);

        for (size_t s = 0; s < 4; s++) {
                confab_endpoint *ends[2];
                confab_loop *loop;
                struct told told = {0};
                uint64_t came = 0;

                check_ok(confab_pair(ends, streams[s], NULL));
                told.endpoint = ends[1];
                cut_one(ends, bytes, LEN);
                check_ok(confab_loop_new(&loop));
                check_ok(confab_loop_add_endpoint(NULL, loop, ends[1], CONFAB_SEND, told_of_room, &told));
                check_eq(confab_loop_once(loop, CONFAB_NOW), 0); /* no room yet */
                while (!told.n_told) {
                        drain(ends[0], &came);
                        check_ok(confab_loop_once(loop, CONFAB_NOW));
                }
                drain(ends[0], &came);
                check_eq(came, LEN);
                check_eq(told.n_told, 1);
                confab_loop_free(loop);
                close_pair(ends);
        }
        free(bytes);
}

/* Where the peer has gone meanwhile the callback is told too: its next send says what it was. */
TEST(a_loop_tells_that_the_peer_has_gone) {
        enum { LEN = 2 << 20 };
        unsigned char *bytes = bytes_of(LEN);
        confab_endpoint *ends[2];
        confab_loop *loop;
        int n = 0;

        check_ok(confab_pair(ends, "unix://?frame=record", NULL));
        cut_one(ends, bytes, LEN);
        check_ok(confab_loop_new(&loop));
        check_ok(confab_loop_add_endpoint(NULL, loop, ends[1], CONFAB_SEND, count_call, &n));
        ends[0] = confab_close(ends[0]);
        check_eq(confab_loop_once(loop, soon()), 1);
        check(confab_send(ends[1], NULL, CONFAB_NOW) < 0);
        confab_loop_free(loop);
        confab_close(ends[1]);
        free(bytes);
}

/* --- what a message that is under way is told --- */

struct sending {
        confab_endpoint *endpoint;
        struct confab_message message;
        int64_t result;
};

static void *send_it(void *data) {
        struct sending *sending = data;

        sending->result = confab_send(sending->endpoint, &sending->message, CONFAB_FOREVER);
        return NULL;
}

/* Sends from another thread; a part of it has come when this returns, and all of it cannot. */
static pthread_t begin_to_send(struct sending *sending, confab_endpoint *ends[2], const void *bytes,
                               size_t len) {
        struct pollfd pollfd;
        pthread_t thread;

        *sending = (struct sending){.endpoint = ends[1], .message = confab_message_of(bytes, len)};
        check_eq(pthread_create(&thread, NULL, send_it, sending), 0);
        check_ok(confab_descriptor(ends[0], CONFAB_RECEIVE, &pollfd));
        check_eq(restarted(poll(&pollfd, 1, -1)), 1);
        return thread;
}

enum { MUCH = 8 << 20 };

/* Not how much went out: there is no endpoint any more with which to go on. */
TEST(closing_cancels_a_message_under_way) {
        unsigned char *bytes = bytes_of(MUCH);

        for (size_t s = 0; s < 4; s++) {
                confab_endpoint *ends[2];
                struct sending sending;
                pthread_t thread;

                check_ok(confab_pair(ends, streams[s], NULL));
                thread = begin_to_send(&sending, ends, bytes, MUCH);
                confab_close(ends[1]);
                check_eq(pthread_join(thread, NULL), 0);
                check_eq(sending.result, -ECANCELED);
                confab_close(ends[0]);
        }
        free(bytes);
}

/* How much went out, or that the rest is kept; the interrupt is the next wait's. */
TEST(an_interrupt_cuts_a_message_under_way) {
        unsigned char *bytes = bytes_of(MUCH);

        for (size_t s = 0; s < 4; s++) {
                confab_endpoint *ends[2];
                struct sending sending;
                pthread_t thread;
                int64_t n = 1;

                check_ok(confab_pair(ends, streams[s], NULL));
                thread = begin_to_send(&sending, ends, bytes, MUCH);
                confab_interrupt(ends[1]);
                check_eq(pthread_join(thread, NULL), 0);
                check(sending.result > 0 && (sending.result < MUCH || s >= 2));
                while (n > 0) /* what may still fit */
                        n = confab_send(ends[1], &sending.message, soon());
                check_eq(n, -EINTR);
                close_pair(ends);
        }
        free(bytes);
}

/*
 * A file that may not grow any more takes a part. Once it may, nothing is sent behind that part: whoever sent the message again would have it there
 * one and a half times.
 */
TEST(what_fails_within_a_message_fails_for_good) {
        struct rlimit limit, small;
        confab_endpoint *file;
        char address[32], text[300] = "";
        int fd = open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

        check(fd >= 0);
        signal(SIGXFSZ, SIG_IGN);
        snprintf(address, sizeof(address), "fd://%d?direction=send", fd);
        check_ok(confab_open(&file, address, NULL, CONFAB_NOW));
        check_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
        small = limit;
        small.rlim_cur = 100;
        check_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
        memset(text, 'x', sizeof(text) - 1);
        check_eq(try_send(file, text, soon()), -EFBIG);
        check_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        check_eq(try_send(file, text, soon()), -EFBIG);
        check_eq(lseek(fd, 0, SEEK_END), 100);
        confab_close(file);
        close(fd);
}
