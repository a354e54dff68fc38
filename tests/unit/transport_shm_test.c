/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* shm:// beyond what every mechanism has in common: growth, lending, descriptors, late clients, forks, deaths. */
#include "conversation.h"
#include "core/endpoint.h"
#include "harness.h"
#include "transport/shm_channel.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

struct link {
        confab_endpoint *listener, *client, *server;
};

/* Names lie in the test's own folder. */
static void private_names(void) {
        char here[2048];

        check(getcwd(here, sizeof(here)) != NULL);
        setenv("CONFAB_DIR", here, 1);
}

static struct link linked(const char *address) {
        struct link link;

        private_names();
        link.listener = listen_on(address);
        link.client = open_to(address);
        link.server = accept_of(link.listener);
        return link;
}

static void unlink_ends(struct link *link) {
        confab_close(link->client);
        confab_close(link->server);
        confab_close(link->listener);
}

static void fill(unsigned char *bytes, size_t len, unsigned number) {
        for (size_t i = 0; i < len; i++)
                bytes[i] = (unsigned char)(number + i * 7);
}

static void check_filled(const void *data, size_t len, unsigned number) {
        const unsigned char *bytes = data;

        for (size_t i = 0; i < len; i++)
                if (bytes[i] != (unsigned char)(number + i * 7))
                        check_eq(bytes[i], (unsigned char)(number + i * 7));
}

static void send_filled(confab_endpoint *endpoint, size_t len, unsigned number) {
        unsigned char *bytes = calloc(1, len + 1); /* filled behind the message's back */
        struct confab_message message = confab_message_of(bytes, len);

        check(bytes);
        fill(bytes, len, number);
        check_eq(check_ok(confab_send(endpoint, &message, soon())), (int64_t)len);
        free(bytes);
}

static struct confab_message received(confab_endpoint *endpoint, size_t len, unsigned number) {
        struct confab_message message = confab_message_of(NULL, 0);

        check_eq(check_ok(confab_receive(endpoint, &message, NULL, soon())), 1);
        check_eq(message.data_len, len);
        check_filled(message.data, len, number);
        return message;
}

static void receive_filled(confab_endpoint *endpoint, size_t len, unsigned number) {
        struct confab_message message = received(endpoint, len, number);

        confab_release(endpoint, &message);
}

/* --- sizes and growth --- */

TEST(messages_of_every_size) {
        static const size_t lens[] = {0,      1,     39,    40,     41,     63,     64,      65,
                                      4095,   12288, 12289, 500000, 524288, 524289, 1 << 20, (1 << 24) - 1,
                                      1 << 24};
        struct link link = linked("shm://sizes");

        for (int round = 0; round < 2; round++)
                for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
                        send_filled(link.client, lens[i], (unsigned)i);
                        receive_filled(link.server, lens[i], (unsigned)i);
                        send_filled(link.server, lens[i], (unsigned)i + 1);
                        receive_filled(link.client, lens[i], (unsigned)i + 1);
                }
        unlink_ends(&link);
}

/* A ring is left for a larger one again and again while messages of all of them are lent. */
TEST(lent_over_every_growth) {
        static const size_t lens[] = {10, 30000, 600000, 17, 2500000, 100, 9000000, 40, 41};
        enum { N = sizeof(lens) / sizeof(lens[0]) };
        struct confab_message lent[N];
        struct link link = linked("shm://growth");

        for (unsigned i = 0; i < N; i++) {
                send_filled(link.client, lens[i], i);
                lent[i] = received(link.server, lens[i], i);
        }
        for (unsigned i = 0; i < N; i++) /* what was lent first is still as it was */
                check_filled(lent[i].data, lent[i].data_len, i);
        for (unsigned i = 0; i < N; i++) /* given back in an order nobody expects */
                confab_release(link.server, &lent[(i * 5 + 4) % N]);
        send_filled(link.client, 1000, 99);
        receive_filled(link.server, 1000, 99);
        check(((struct cfb_channel *)cfb_state(link.server))->left == NULL); /* nothing is kept mapped */
        unlink_ends(&link);
}

TEST(full_then_larger_then_full) {
        struct link link = linked("shm://full");
        struct confab_message message = confab_message_of("12345678", 8);
        unsigned n = 0;
        int64_t r;

        while ((r = confab_send(link.client, &message, CONFAB_NOW)) == 8)
                n++;
        check_eq(r, -EAGAIN);
        check(n > 1000); /* the larger ring's slots */
        check_eq(confab_send(link.client, &message, after_ms(20)), -ETIMEDOUT);
        for (unsigned i = 0; i < n; i++)
                receive_text(link.server, "12345678");
        check_eq(confab_send(link.client, &message, soon()), 8);
        unlink_ends(&link);
}

TEST(an_idle_channel_is_small) {
        struct link link = linked("shm://small");
        struct cfb_channel *channel = cfb_state(link.client);

        check(CFB_CHANNEL_LEN <= 40 * 1024);
        send_filled(link.client, 100, 1);
        receive_filled(link.server, 100, 1);
        check(channel->out_memory.bytes == NULL && channel->in_memory.bytes == NULL);
        unlink_ends(&link);
}

TEST(larger_than_the_peer_takes) {
        struct link link;
        struct confab_message message = confab_message_of(calloc(1, 1 << 20), 1 << 20),
                              got = confab_message_of(NULL, 0);

        private_names();
        link.listener = listen_on("shm://small-max?max=100000");
        link.client = open_to("shm://small-max");
        link.server = accept_of(link.listener);
        check_eq(confab_send(link.client, &message, soon()), -EMSGSIZE);
        check_says("at most 100000");
        message.data_len = 100000;
        check_eq(confab_send(link.client, &message, soon()), 100000);
        check_eq(confab_receive(link.server, &got, NULL, soon()), 1);
        check_eq(got.data_len, 100000);
        confab_release(link.server, &got);
        unlink_ends(&link);
        free((void *)(uintptr_t)message.data);
}

/* --- in place --- */

TEST(claimed_and_lent_without_a_copy) {
        struct link link = linked("shm://in-place");
        struct confab_message message = confab_message_of(NULL, 0), got = confab_message_of(NULL, 0);
        static const size_t lens[] = {8, 64, 100000, 3000000};

        for (size_t i = 0; i < 4; i++) {
                void *room;

                check_ok(confab_claim(link.client, &room, lens[i], soon()));
                fill(room, lens[i], 5);
                message.data_len = lens[i];
                check_eq(confab_commit(link.client, &message, soon()), (int64_t)lens[i]);
                got = received(link.server, lens[i], 5);
                ((unsigned char *)room)[0] = 77; /* the same memory, mapped twice */
                check_eq(((const unsigned char *)got.data)[0], 77);
                confab_release(link.server, &got);
        }
        unlink_ends(&link);
}

TEST(a_claim_excludes_a_send) {
        struct link link = linked("shm://claims");
        struct confab_message message = confab_message_of("x", 1);
        void *room;

        check_ok(confab_claim(link.client, &room, 10, soon()));
        check_eq(confab_send(link.client, &message, soon()), -EBUSY);
        check_says("neither committed nor aborted");
        confab_abort(link.client);
        send_text(link.client, "x");
        receive_text(link.server, "x");
        unlink_ends(&link);
}

/* Whom one does not trust is not lent to: what was received does not change any more. */
TEST(not_trusted_is_copied) {
        struct link link = linked("shm://distrusted?trust=no");
        struct confab_message message = confab_message_of(NULL, 64), got = confab_message_of(NULL, 0);
        void *room;

        check_ok(confab_claim(link.client, &room, 64, soon()));
        memset(room, 1, 64);
        check_eq(confab_commit(link.client, &message, soon()), 64);
        check_eq(confab_receive(link.server, &got, NULL, soon()), 1);
        memset(room, 2, 64);
        check_eq(((const unsigned char *)got.data)[63], 1);
        confab_release(link.server, &got);
        unlink_ends(&link);
}

/* --- descriptors --- */

TEST(descriptors_travel) {
        struct link link = linked("shm://descriptors");
        struct confab_message message = confab_message_of("take these", 10), got = confab_message_of(NULL, 0);
        int fds[253], pipes[2], taken;
        char byte;

        check_eq(pipe2(pipes, O_CLOEXEC), 0);
        for (int i = 0; i < 253; i++)
                fds[i] = pipes[1];
        message.descriptors = fds;
        for (unsigned n = 1; n <= 253; n += 84) {
                message.n_descriptors = n;
                check_eq(check_ok(confab_send(link.client, &message, soon())), 10);
                send_text(link.client, "without");
                check_eq(check_ok(confab_receive(link.server, &got, NULL, soon())), 1);
                check_eq(got.n_descriptors, n);
                check_mem(got.data, "take these", 10);
                taken = confab_take_descriptor(&got, n - 1);
                check(taken >= 0);
                confab_release(link.server, &got);
                check_eq(write(taken, "!", 1), 1);
                check_eq(read(pipes[0], &byte, 1), 1);
                close(taken);
                receive_text(link.server, "without");
        }
        close(pipes[0]);
        close(pipes[1]);
        unlink_ends(&link);
}

/* The socket that carries them is full long before the ring. */
TEST(more_descriptors_than_the_socket_holds) {
        struct link link = linked("shm://many-descriptors");
        struct confab_message message = confab_message_of("x", 1), got = confab_message_of(NULL, 0);
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), n_sent = 0, n_got = 0;
        int64_t r;

        message.descriptors = &fd;
        message.n_descriptors = 1;
        while ((r = confab_send(link.client, &message, CONFAB_NOW)) == 1)
                n_sent++;
        check(r == -EAGAIN || r == -ETOOMANYREFS);
        check(n_sent > 10);
        while (n_got < n_sent) {
                check_eq(check_ok(confab_receive(link.server, &got, NULL, soon())), 1);
                check_eq(got.n_descriptors, 1);
                confab_release(link.server, &got);
                n_got++;
        }
        check_eq(check_ok(confab_send(link.client, &message, soon())), 1);
        check_eq(confab_receive(link.server, &got, NULL, soon()), 1);
        confab_release(link.server, &got);
        close(fd);
        unlink_ends(&link);
}

/* Those nobody took in are closed with the end: the harness counts. */
TEST(descriptors_nobody_received) {
        struct link link = linked("shm://left-descriptors");
        struct confab_message message = confab_message_of("x", 1);
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

        message.descriptors = &fd;
        message.n_descriptors = 1;
        for (int i = 0; i < 5; i++)
                check_eq(check_ok(confab_send(link.client, &message, soon())), 1);
        check_eq(confab_send(link.server, &(struct confab_message){.size = sizeof(message)}, soon()), 0);
        close(fd);
        unlink_ends(&link);
}

/* What does not fit and what cannot be taken goes with its message: the next one is fine. */
TEST(descriptors_that_cannot_be_taken) {
        struct link link = linked("shm://no-descriptors?max=5000");
        struct confab_message message = confab_message_of("x", 1), got = confab_message_of(NULL, 0);
        struct rlimit limit, few;
        int fds[20], fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

        for (int i = 0; i < 20; i++)
                fds[i] = fd;
        message.descriptors = fds;
        message.n_descriptors = 20;
        check_eq(check_ok(confab_send(link.client, &message, soon())), 1);
        check_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        few = (struct rlimit){.rlim_cur = (rlim_t)fd + 5, .rlim_max = limit.rlim_max};
        check_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
        check_eq(confab_receive(link.server, &got, NULL, soon()), -EMSGSIZE);
        check_says("no descriptors left");
        check_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);

        message = confab_message_of(calloc(1, 10000), 10000); /* larger than the server takes */
        message.descriptors = fds;
        message.n_descriptors = 2;
        confab_close(link.client);
        link.client = open_to("shm://no-descriptors");
        confab_close(link.server);
        link.server = accept_of(link.listener);
        check_eq(check_ok(confab_send(link.client, &message, soon())), 10000);
        check_eq(confab_receive(link.server, &got, NULL, soon()), -EMSGSIZE);
        message.data_len = 10;
        check_eq(check_ok(confab_send(link.client, &message, soon())), 10);
        check_eq(check_ok(confab_receive(link.server, &got, NULL, soon())), 1);
        check_eq(got.n_descriptors, 2);
        confab_release(link.server, &got);
        free((void *)(uintptr_t)message.data);
        close(fd);
        unlink_ends(&link);
}

/* --- clients that are late, silent or something else --- */

static int bare_client(const char *name) {
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        snprintf(to.sun_path, sizeof(to.sun_path), "%s.channel", name);
        check_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
        return fd;
}

TEST(a_silent_client_keeps_nobody_waiting) {
        confab_endpoint *listener, *silent, *client, *server;
        struct confab_message message = confab_message_of("x", 1), got = confab_message_of(NULL, 0);
        struct confab_interest interest;
        struct pollfd pollfd;
        int fd;

        private_names();
        listener = listen_on("shm://silent");
        fd = bare_client("silent");
        silent = accept_of(listener);
        check_eq(confab_receive(silent, &got, NULL, CONFAB_NOW), -EAGAIN);
        check_eq(confab_send(silent, &message, CONFAB_NOW), -EAGAIN);
        check_eq(confab_receive(silent, &got, NULL, after_ms(20)), -ETIMEDOUT);
        check_eq(confab_send(silent, &message, after_ms(20)), -ETIMEDOUT);
        interest = (struct confab_interest){.endpoint = silent, .direction = CONFAB_BOTH};
        check_eq(confab_wait(&interest, 1, after_ms(20)), -ETIMEDOUT);
        check_ok(confab_descriptor(silent, CONFAB_RECEIVE, &pollfd));
        check_eq(restarted(poll(&pollfd, 1, 0)), 0);
        client = open_to("shm://silent");
        server = accept_of(listener);
        send_text(client, "hello");
        receive_text(server, "hello");
        close(fd);
        check_eq(confab_receive(silent, &got, NULL, soon()), -ECONNRESET);
        confab_close(silent);
        confab_close(client);
        confab_close(server);
        confab_close(listener);
}

TEST(a_client_that_speaks_something_else) {
        static const char texts[][64] = {"GET / HTTP/1.1", "", "x"};

        private_names();
        for (size_t i = 0; i < 3; i++) {
                confab_endpoint *listener = listen_on("shm://else"), *endpoint;
                struct confab_message got = confab_message_of(NULL, 0);
                int fd = bare_client("else"), r;

                check_eq(send(fd, texts[i], i == 1 ? 24 : strlen(texts[i]), 0),
                         i == 1 ? 24 : (ssize_t)strlen(texts[i]));
                endpoint = accept_of(listener);
                r = confab_receive(endpoint, &got, NULL, soon());
                check_eq(r, -EPROTO);
                check_eq(confab_send(endpoint, &got, soon()), -EPROTO);
                close(fd);
                confab_close(endpoint);
                confab_close(listener);
        }
}

/* Sent before it was accepted, and ended: all of it arrives. */
TEST(gone_before_it_was_accepted) {
        confab_endpoint *listener, *client, *server;
        struct confab_message got = confab_message_of(NULL, 0);

        private_names();
        listener = listen_on("shm://early");
        client = open_to("shm://early");
        for (int i = 0; i < 10; i++)
                send_filled(client, 1000, (unsigned)i);
        confab_close(client);
        server = accept_of(listener);
        for (int i = 0; i < 10; i++)
                receive_filled(server, 1000, (unsigned)i);
        check_eq(confab_receive(server, &got, NULL, soon()), 0);
        confab_close(server);
        confab_close(listener);
}

TEST(names) {
        confab_endpoint *listener, *second, *ends[2];

        private_names();
        check_eq(confab_open(&second, "shm://nobody", NULL, soon()), -ENOENT);
        check_eq(confab_open(&second, "shm://no/body", NULL, soon()), -EINVAL);
        check_says("no '/'");
        check_eq(confab_listen(&second, "shm://", NULL, soon()), -EINVAL);
        check_eq(confab_pair(ends, "shm://named", NULL), -EINVAL);
        listener = listen_on("shm://taken");
        check_eq(confab_listen(&second, "shm://taken", NULL, soon()), -EADDRINUSE);
        confab_close(listener);
        check_eq(confab_open(&second, "shm://taken", NULL, soon()), -ENOENT);
        listener = listen_on("shm://taken?mode=0640");
        {
                struct stat st;

                check(stat("taken.channel", &st) == 0 && (st.st_mode & 0777) == 0640);
        }
        confab_close(listener);
        check_eq(confab_remove("shm://taken"), -ENOENT);
}

TEST(who_the_peer_is) {
        struct link link = linked("shm://peers");
        struct confab_peer peer = {.size = sizeof(peer)};

        check_ok(confab_peer(link.server, &peer));
        check_eq(peer.flags, CONFAB_PEER_CREDENTIALS);
        check_eq(peer.pid, getpid());
        check_eq(peer.uid, geteuid());
        check_ok(confab_peer(link.client, &peer));
        check_eq(peer.pid, getpid());
        check_eq(confab_peer(link.listener, &peer), -ENOTCONN);
        unlink_ends(&link);
}

/* --- ways to wait --- */

static void exchanges(const char *address) {
        confab_endpoint *ends[2];
        pid_t child;

        check_ok(confab_pair(ends, address, NULL));
        child = fork();
        check(child >= 0);
        if (child == 0) {
                check_ok(confab_adopt(ends[1]));
                confab_close(ends[0]);
                for (unsigned i = 0; i < 300; i++) {
                        receive_filled(ends[1], (size_t)i * 31, i);
                        send_filled(ends[1], (size_t)i * 31, i + 1);
                }
                confab_close(ends[1]);
                _exit(0);
        }
        confab_close(ends[1]);
        for (unsigned i = 0; i < 300; i++) {
                send_filled(ends[0], (size_t)i * 31, i);
                receive_filled(ends[0], (size_t)i * 31, i + 1);
        }
        ended_well(child);
        {
                struct confab_message got = confab_message_of(NULL, 0);

                check_eq(confab_receive(ends[0], &got, NULL, soon()), 0);
        }
        confab_close(ends[0]);
}

TEST(waiting_as_it_likes) {
        exchanges("shm://");
}

TEST(waiting_asleep) {
        exchanges("shm://?wait=block");
}

TEST_TIMEOUT(waiting_awake, 120) {
        exchanges("shm://?wait=spin");
}

TEST(a_spinning_wait_ends) {
        struct link link = linked("shm://spin?wait=spin");
        struct confab_message got = confab_message_of(NULL, 0);

        check_eq(confab_receive(link.server, &got, NULL, after_ms(20)), -ETIMEDOUT);
        confab_interrupt(link.server);
        check_eq(confab_receive(link.server, &got, NULL, soon()), -EINTR);
        link.client = confab_close(link.client);
        check_eq(confab_receive(link.server, &got, NULL, soon()), 0);
        unlink_ends(&link);
}

/* --- forks and deaths --- */

TEST(a_child_has_nothing_of_it) {
        struct link link = linked("shm://forked");
        struct confab_message message = confab_message_of("x", 1), got = confab_message_of(NULL, 0), lent;
        struct pollfd pollfd;
        pid_t child;

        send_text(link.client, "lent");
        lent = confab_message_of(NULL, 0);
        check_eq(confab_receive(link.server, &lent, NULL, soon()), 1);
        child = fork();
        check(child >= 0);
        if (child == 0) {
                check_eq(confab_send(link.client, &message, soon()), -EOWNERDEAD);
                check_says("forked");
                check_eq(confab_receive(link.server, &got, NULL, soon()), -EOWNERDEAD);
                check_eq(confab_descriptor(link.server, CONFAB_RECEIVE, &pollfd), -EOWNERDEAD);
                check_eq(confab_shutdown(link.client, CONFAB_SEND, soon()), -EOWNERDEAD);
                check_eq(confab_adopt(link.client), -EOWNERDEAD);
                confab_release(link.server, &lent);
                confab_close(link.client);
                confab_close(link.server);
                link.client = open_to("shm://forked"); /* but it can open one of its own */
                send_text(link.client, "from the child");
                confab_close(link.client);
                _exit(0);
        }
        ended_well(child);
        check_mem(lent.data, "lent", 4);
        confab_release(link.server, &lent);
        send_text(link.client, "go on");
        receive_text(link.server, "go on");
        confab_close(link.server);
        link.server = accept_of(link.listener);
        receive_text(link.server, "from the child");
        unlink_ends(&link);
}

/* A child that goes on living does not keep its parent's conversation open. */
TEST(a_child_keeps_nothing_open) {
        struct link link = linked("shm://kept");
        struct confab_message got = confab_message_of(NULL, 0);
        int stay[2];
        pid_t child, peer;
        char byte;

        check_eq(pipe2(stay, O_CLOEXEC), 0);
        confab_close(link.server);
        confab_close(link.client);
        peer = fork();
        check(peer >= 0);
        if (peer == 0) {
                link.client = open_to("shm://kept");
                child = fork();
                if (child == 0) {
                        close(stay[1]);
                        restarted(read(stay[0], &byte, 1)); /* lives as long as the test */
                        _exit(0);
                }
                send_text(link.client, "one");
                kill(getpid(), SIGKILL);
        }
        close(stay[0]);
        link.server = accept_of(link.listener);
        receive_text(link.server, "one");
        check_eq(reap(peer), SIGKILL);
        check_eq(confab_receive(link.server, &got, NULL, soon()), 0);
        close(stay[1]);
        link.client = NULL;
        unlink_ends(&link);
}

TEST(adopted_once) {
        confab_endpoint *ends[2];
        struct confab_message got = confab_message_of(NULL, 0);
        pid_t child;

        check_ok(confab_pair(ends, "shm://", NULL));
        check_ok(confab_adopt(ends[0])); /* the own: nothing to do */
        child = fork();
        check(child >= 0);
        if (child == 0) {
                check_ok(confab_adopt(ends[1]));
                send_text(ends[1], "adopted");
                receive_text(ends[1], "and answered");
                _exit(0); /* without closing */
        }
        receive_text(ends[0], "adopted");
        send_text(ends[0], "and answered");
        ended_well(child);
        ends[1] = confab_close(ends[1]);
        check_eq(confab_receive(ends[0], &got, NULL, soon()), 0);
        child = fork();
        check(child >= 0);
        if (child == 0) {
                check_eq(confab_adopt(ends[0]), -EBUSY); /* it has been used */
                _exit(0);
        }
        ended_well(child);
        confab_close(ends[0]);
}

TEST(half_closed) {
        struct link link = linked("shm://half");
        struct confab_message message = confab_message_of("x", 1), got = confab_message_of(NULL, 0);

        send_text(link.client, "last");
        check_ok(confab_shutdown(link.client, CONFAB_SEND, soon()));
        check_eq(confab_send(link.client, &message, soon()), -EPIPE);
        check_says("shut down for sending");
        receive_text(link.server, "last");
        check_eq(confab_receive(link.server, &got, NULL, soon()), 0);
        check_eq(confab_receive(link.server, &got, NULL, soon()), 0);
        send_text(link.server, "answer");
        receive_text(link.client, "answer");
        check_ok(confab_shutdown(link.client, CONFAB_RECEIVE, soon()));
        check_eq(confab_receive(link.client, &got, NULL, soon()), 0);
        confab_send(link.server, &message, soon()); /* may be what learns it */
        check_eq(confab_send(link.server, &message, soon()), -EPIPE);
        unlink_ends(&link);
}
