/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* udp://: what the conformance suite does not see - answers from the right address, batches, refusals, sizes. */
#include "conversation.h"
#include "harness.h"

#include <confab/confab.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A question to @to, answered by whoever listens there; the asker is connected and takes an answer from @to alone. */
static void ask(confab_endpoint *listener, const char *to, const char *from_prefix) {
        confab_endpoint *asker = open_to(to);
        struct confab_message got = confab_message_of(NULL, 0), answer = confab_message_of("answer", 6);
        struct confab_peer kept;
        char text[100];

        send_text(asker, "question");
        check_eq(check_ok(confab_receive(listener, &got, NULL, soon())), 1);
        check(got.peer && (got.peer->flags & CONFAB_PEER_ADDRESS));
        check(confab_peer_address(got.peer, text, sizeof(text)) < sizeof(text));
        check_eq(strncmp(text, from_prefix, strlen(from_prefix)), 0);
        kept = *got.peer; /* copies are as good */
        confab_release(listener, &got);
        answer.peer = &kept;
        check_eq(check_ok(confab_send(listener, &answer, soon())), 6);
        receive_text(asker, "answer");
        check_eq(check_ok(confab_send_many(listener, &answer, 1, soon())), 1);
        receive_text(asker, "answer");
        confab_close(asker);
}

TEST(answers_find_the_asker) {
        static const char *const listeners[] = {"udp://127.0.0.1:0",          "udp://[::1]:0",
                                                "udp://localhost:0?family=4", "udp://:0",
                                                "udp://:0?family=4",          "udp://:0?family=6"};

        for (size_t i = 0; i < sizeof(listeners) / sizeof(listeners[0]); i++) {
                confab_endpoint *listener = listen_on(listeners[i]);

                check(port_of(listener) > 0);
                ask(listener, confab_address(listener), "udp://");
                confab_close(listener);
        }
}

/* Asked at an address that is not the one of the way back: the answer must come from there, or a connected asker never sees it. */
TEST(answers_leave_from_where_they_were_asked) {
        static const char *const listeners[] = {"udp://:0", "udp://:0?family=4"};

        for (size_t i = 0; i < 2; i++) {
                confab_endpoint *listener = listen_on(listeners[i]);
                char address[100];

                snprintf(address, sizeof(address), "udp://127.0.0.2:%u", port_of(listener));
                ask(listener, address, "udp://127.0.0.");
                snprintf(address, sizeof(address), "udp://127.0.0.3:%u?from=127.0.0.7:0", port_of(listener));
                ask(listener, address, "udp://127.0.0.7:");
                if (i == 0) {
                        snprintf(address, sizeof(address), "udp://[::1]:%u", port_of(listener));
                        ask(listener, address, "udp://[::1]:");
                }
                confab_close(listener);
        }
}

TEST(many_askers_at_once) {
        confab_endpoint *listener = listen_on("udp://:0"), *askers[40];
        struct confab_message got[40], answers[40];
        char address[64], texts[40][8];
        int n = 0, sent = 0;

        snprintf(address, sizeof(address), "udp://127.0.0.5:%u", port_of(listener));
        for (int i = 0; i < 40; i++) {
                askers[i] = open_to(address);
                snprintf(texts[i], sizeof(texts[i]), "%d", i);
                send_text(askers[i], texts[i]);
                got[i] = confab_message_of(NULL, 0);
        }
        while (n < 40)
                n += (int)check_ok(confab_receive_many(listener, got + n, 40 - (unsigned)n, NULL, soon()));
        for (int i = 0; i < 40; i++) {
                answers[i] = confab_message_of(got[i].data, got[i].data_len);
                answers[i].peer = got[i].peer;
        }
        while (sent < 40)
                sent += (int)check_ok(
                        confab_send_many(listener, answers + sent, 40 - (unsigned)sent, soon()));
        for (int i = 0; i < 40; i++) {
                confab_release(listener, &got[i]);
                receive_text(askers[i], texts[i]);
                confab_close(askers[i]);
        }
        confab_close(listener);
}

TEST(sizes) {
        confab_endpoint *listener = listen_on("udp://[::1]:0"), *sender = open_to(confab_address(listener));
        struct confab_properties properties = {.size = sizeof(properties)};
        struct confab_message message, got = confab_message_of(NULL, 0);
        static char bytes[65536];

        check_ok(confab_endpoint_properties(&properties, sender));
        check_eq(properties.message_max, 65507);
        message = confab_message_of(bytes, 65507);
        check_eq(check_ok(confab_send(sender, &message, soon())), 65507);
        check_eq(check_ok(confab_receive(listener, &got, NULL, soon())), 1);
        check_eq(got.data_len, 65507);
        confab_release(listener, &got);
        message.data_len = 65508;
        check_eq(confab_send(sender, &message, soon()), -EMSGSIZE);
        check_says("65507 fit");
        check_eq(confab_send_many(sender, &message, 1, soon()), -EMSGSIZE);
        message.data_len = 0;
        check_eq(check_ok(confab_send(sender, &message, soon())), 0);
        got = confab_message_of(NULL, 0);
        check_eq(check_ok(confab_receive(listener, &got, NULL, soon())), 1);
        check_eq(got.data_len, 0);
        confab_release(listener, &got);
        confab_close(sender);
        confab_close(listener);
}

TEST(too_large_for_the_receiver) {
        confab_endpoint *listener = listen_on("udp://127.0.0.1:0?max=10"), *sender;
        struct confab_message got[4];
        char address[64];

        snprintf(address, sizeof(address), "udp://127.0.0.1:%u",
                 (unsigned)strtoul(strrchr(confab_address(listener), ':') + 1, NULL, 10));
        sender = open_to(address);
        for (int i = 0; i < 4; i++)
                got[i] = confab_message_of(NULL, 0);
        send_text(sender, "one");
        send_text(sender, "much too large");
        send_text(sender, "three");
        check_eq(check_ok(confab_receive_many(listener, got, 4, NULL, soon())), 2);
        check_mem(got[1].data, "three", 5);
        confab_release(listener, &got[0]);
        confab_release(listener, &got[1]);
        check_eq(confab_receive(listener, &got[0], NULL, CONFAB_NOW), -EMSGSIZE);
        check_eq(confab_receive(listener, &got[0], NULL, CONFAB_NOW), -EAGAIN);
        send_text(sender, "again too large");
        check_eq(confab_receive(listener, &got[0], NULL, soon()), -EMSGSIZE);
        check_says("15 bytes");
        confab_close(sender);
        confab_close(listener);
}

TEST(nobody_receives) {
        confab_endpoint *listener = listen_on("udp://127.0.0.1:0"),
                        *sender = open_to(confab_address(listener));
        struct confab_message message = confab_message_of("x", 1), got = confab_message_of(NULL, 0);
        int64_t r;

        confab_close(listener);
        check_eq(check_ok(confab_send(sender, &message, soon())), 1); /* into the void */
        check_eq(confab_receive(sender, &got, NULL, soon()), -ECONNREFUSED);
        check_says("nobody receives");
        check_eq(check_ok(confab_send(sender, &message, soon())), 1);
        while ((r = confab_send(sender, &message, soon())) == 1)
                nap_ms(1);
        check_eq(r, -ECONNREFUSED);
        confab_close(sender);
}

TEST(a_listener_does_not_suffer_from_those_who_left) {
        confab_endpoint *listener = listen_on("udp://127.0.0.1:0"),
                        *asker = open_to(confab_address(listener));
        struct confab_message got = confab_message_of(NULL, 0), answer = confab_message_of("answer", 6);

        send_text(asker, "question");
        check_ok(confab_receive(listener, &got, NULL, soon()));
        confab_close(asker);
        answer.peer = got.peer;
        for (int i = 0; i < 3; i++)
                check_eq(check_ok(confab_send(listener, &answer, soon())), 6);
        check_eq(confab_receive(listener, &(struct confab_message){.size = sizeof(got)}, NULL, CONFAB_NOW),
                 -EAGAIN);
        confab_release(listener, &got);
        confab_close(listener);
}

TEST(what_is_refused) {
        confab_endpoint *listener = listen_on("udp://127.0.0.1:0"), *other = NULL;
        struct confab_message message = confab_message_of("x", 1);
        struct confab_peer peer = {.size = sizeof(peer), .flags = CONFAB_PEER_ADDRESS, .address_len = 200};
        unsigned seed = 5;

        check_eq(confab_listen(&other, confab_address(listener), NULL, soon()), -EADDRINUSE);
        check_says("process ");
        check_eq(confab_send(listener, &message, soon()), -EDESTADDRREQ);
        check_says("message.peer");
        message.peer = &peer; /* any bytes at all */
        for (unsigned i = 0; i < 2000; i++) {
                peer.address_len = (uint32_t)rand_r(&seed) % 140;
                for (unsigned j = 0; j < sizeof(peer.address); j++)
                        peer.address[j] = (unsigned char)rand_r(&seed);
                peer.address[0] = (unsigned char)(i % 4);
                check(confab_peer_address(&peer, NULL, 0) < 400);
                if (peer.address[0] != 3)
                        check_eq(confab_send(listener, &message, CONFAB_NOW), -EINVAL);
        }
        check_eq(confab_open(&other, "udp://:53", NULL, soon()), -EINVAL);
        check_eq(confab_open(&other, "udp://127.0.0.1:53?frame=line", NULL, soon()), -EOPNOTSUPP);
        check_eq(confab_accept(&other, listener, soon()), -EOPNOTSUPP);
        check(!other);
        confab_close(listener);
}

TEST(peers) {
        confab_endpoint *listener = listen_on("udp://127.0.0.1:0"),
                        *sender = open_to(confab_address(listener));
        struct confab_peer peer = {.size = sizeof(peer)};
        char text[64];

        check_ok(confab_peer(sender, &peer));
        confab_peer_address(&peer, text, sizeof(text));
        check_str(text, confab_address(listener));
        check_eq(confab_peer(listener, &peer), -ENOTCONN);
        confab_close(sender);
        confab_close(listener);
}
