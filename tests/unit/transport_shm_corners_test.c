/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* Honest ends of shm:// in the corners: before the other end is there, after it has gone, with more than it takes. */
#include "conversation.h"
#include "harness.h"
#include "transport/shm_channel.h"

#include <confab/confab.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static confab_endpoint *listens(const char *address) {
        char folder[4096];

        check(getcwd(folder, sizeof(folder)));
        setenv("CONFAB_DIR", folder, 1);
        return listen_on(address);
}

static void *send_large(void *client) {
        static const char bytes[1000000];
        struct confab_message message = confab_message_of(bytes, sizeof(bytes));

        check_eq(check_ok(confab_send(client, &message, soon())), sizeof(bytes));
        return NULL;
}

/* The sender sleeps until somebody can follow it to a larger ring. */
TEST(too_large_for_the_first_ring_before_accept) {
        confab_endpoint *listener = listens("shm://early"), *client = open_to("shm://early"), *served;
        struct confab_message got = confab_message_of(NULL, 0);
        pthread_t thread;

        check_eq(pthread_create(&thread, NULL, send_large, client), 0);
        until_used(client, CONFAB_SEND);
        nap_ms(20); /* by then it sleeps in poll; where it does not yet, this proves less and fails nowhere */
        served = accept_of(listener);
        check_eq(check_ok(confab_receive(served, &got, NULL, soon())), 1);
        check_eq(got.data_len, 1000000);
        confab_release(served, &got);
        pthread_join(thread, NULL);
        confab_close(client);
        confab_close(served);
        confab_close(listener);
}

static void send_with(confab_endpoint *endpoint, size_t len, int fd) {
        static const char bytes[4000];
        struct confab_message message = confab_message_of(bytes, len);

        message.descriptors = &fd;
        message.n_descriptors = 1;
        check_eq(check_ok(confab_send(endpoint, &message, soon())), len);
}

static void receive_with(confab_endpoint *endpoint, size_t len) {
        struct confab_message got = confab_message_of(NULL, 0);

        check_eq(check_ok(confab_receive(endpoint, &got, NULL, soon())), 1);
        check_eq(got.data_len, len);
        check_eq(got.n_descriptors, 1);
        confab_release(endpoint, &got);
}

/* It never read what we sent, which the kernel tells us before what it sent. */
TEST(last_descriptors_of_one_that_did_not_listen) {
        confab_endpoint *ends[2];

        check_ok(confab_pair(ends, "shm://", NULL));
        send_with(ends[0], 1, 0);
        send_with(ends[1], 2, 0);
        send_with(ends[1], 3, 0);
        ends[1] = confab_close(ends[1]);
        receive_with(ends[0], 2);
        receive_with(ends[0], 3);
        check_eq(try_receive(ends[0], (char[8]){0}, 8, soon()), 0);
        confab_close(ends[0]);
}

TEST(descriptors_of_what_was_too_large) {
        confab_endpoint *listener = listens("shm://small?max=1000"), *client = open_to("shm://small");
        confab_endpoint *served = accept_of(listener);
        struct confab_message got = confab_message_of(NULL, 0);

        send_with(client, 2000, 0);
        check_eq(confab_receive(served, &got, NULL, soon()), -EMSGSIZE);
        send_with(client, 500, 0);
        receive_with(served, 500);
        confab_close(client);
        confab_close(served);
        confab_close(listener);
}

/* One message stays lent while its ring is left for another, and that for a third: what is given back early is remembered by position. */
TEST(one_lent_over_several_moves) {
        enum { SLOTS = 64 };
        struct cfb_ring_lines *lines = aligned_alloc(128, sizeof(*lines));
        struct cfb_ring_memory memories[5];
        struct cfb_ring_sender sender = {0};
        struct cfb_ring_receiver receiver = {0};
        struct cfb_ring_message message = {0};
        unsigned char *bytes;
        uint64_t total = 0;

        check(lines);
        memset(lines, 0, sizeof(*lines));
        for (int i = 0; i < 5; i++) {
                memories[i] = (struct cfb_ring_memory){
                        .n_slots = SLOTS, .n_units = 64, .len = cfb_ring_len(SLOTS, 64)};
                memories[i].bytes = aligned_alloc(128, memories[i].len);
                check(memories[i].bytes);
                memset(memories[i].bytes, 0, memories[i].len);
        }
        for (int i = 0; i < 5; i++) {
                check_eq(cfb_ring_send_from(&sender, lines, &memories[i], total), 0);
                check_eq(cfb_ring_receive_from(&receiver, lines, &memories[i], total), 0);
                for (; cfb_ring_claim(&sender, 8, &bytes) == 0; total++) {
                        cfb_ring_commit(&sender, 8, 8, 0);
                        check_eq(cfb_ring_take(&receiver, &message), 1);
                        if (message.position > 0)
                                cfb_ring_release(&receiver, message.position);
                        if (total % SLOTS == SLOTS - 2 && i == 4)
                                break;
                }
                if (i < 4) {
                        cfb_ring_move(&sender);
                        check_eq(cfb_ring_take(&receiver, &message), 1);
                        check_eq(message.kind, CFB_RING_MOVED);
                        cfb_ring_release(&receiver, message.position);
                        total++;
                }
        }
        cfb_ring_release(&receiver, 0);
        check_eq(receiver.released, receiver.position);
        check_eq(receiver.n_early, 0);
        check_eq(atomic_load(&lines->freed), receiver.position);
        cfb_ring_sender_fini(&sender);
        cfb_ring_receiver_fini(&receiver);
        for (int i = 0; i < 5; i++)
                free(memories[i].bytes);
        free(lines);
}
