/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* The ring: every message arrives whole, once and in order, whatever its size, whenever it is given back; lies are seen. */
#include "base/memory.h"
#include "harness.h"
#include "shm/ring.h"

#include <stdlib.h>

enum { SLOTS = 8, UNITS = 16 };

struct pair {
        struct cfb_ring_lines *lines;
        struct cfb_ring_memory memory;
        struct cfb_ring_sender sender;
        struct cfb_ring_receiver receiver;
};

static void *zeroes(size_t len) {
        void *memory = aligned_alloc(128, (len + 127) / 128 * 128);

        check(memory != NULL);
        memset(memory, 0, len);
        return memory;
}

static struct cfb_ring_memory memory_of(uint32_t n_slots, uint32_t n_units) {
        struct cfb_ring_memory memory = {
                .len = cfb_ring_len(n_slots, n_units), .n_slots = n_slots, .n_units = n_units};

        memory.bytes = zeroes(memory.len);
        return memory;
}

/* Both ends, beginning at @position: counters just below a wrap are as good as any. */
static void begin(struct pair *pair, uint64_t position) {
        *pair = (struct pair){.lines = zeroes(sizeof(*pair->lines)), .memory = memory_of(SLOTS, UNITS)};
        atomic_store(&pair->lines->freed, position);
        check_eq(cfb_ring_send_from(&pair->sender, pair->lines, &pair->memory, position), 0);
        check_eq(cfb_ring_receive_from(&pair->receiver, pair->lines, &pair->memory, position), 0);
}

static void end(struct pair *pair) {
        cfb_ring_sender_fini(&pair->sender);
        cfb_ring_receiver_fini(&pair->receiver);
        free(pair->memory.bytes);
        free(pair->lines);
}

/* Each message says its number in every byte. */
static int put(struct pair *pair, size_t len, unsigned char number) {
        unsigned char *bytes;
        int r = cfb_ring_claim(&pair->sender, len, &bytes);

        if (r < 0)
                return r;
        memset(bytes, number, len);
        cfb_ring_commit(&pair->sender, len, len, 0);
        return 0;
}

static struct cfb_ring_message got(struct pair *pair, size_t len, unsigned char number) {
        struct cfb_ring_message message = {0};

        check_eq(cfb_ring_take(&pair->receiver, &message), 1);
        check_eq(message.len, len);
        check(message.bytes != NULL);
        for (size_t i = 0; i < len; i++)
                check_eq(message.bytes[i], number);
        return message;
}

static const uint64_t begins[] = {0, 1, UINT32_MAX - 5, UINT64_MAX / 2, UINT64_MAX - 4096};

TEST(one_at_a_time) {
        for (size_t b = 0; b < sizeof(begins) / sizeof(begins[0]); b++) {
                struct cfb_ring_message message;
                struct pair pair;

                begin(&pair, begins[b]);
                for (unsigned i = 0; i < 3 * SLOTS; i++) {
                        size_t len = i * 37 % (UNITS * CFB_RING_UNIT / 2);

                        check_eq(cfb_ring_take(&pair.receiver, &message), 0);
                        check(!cfb_ring_has_message(&pair.receiver));
                        check_eq(put(&pair, len, (unsigned char)i), 0);
                        check(cfb_ring_has_message(&pair.receiver));
                        message = got(&pair, len, (unsigned char)i);
                        check_eq(message.position, begins[b] + i);
                        cfb_ring_release(&pair.receiver, message.position);
                }
                end(&pair);
        }
}

TEST(every_size_in_one_piece) {
        for (size_t len = 0; len <= (size_t)UNITS * CFB_RING_UNIT; len++) {
                struct pair pair;

                begin(&pair, 0);
                for (unsigned i = 0; i < SLOTS + 2; i++) {
                        check_eq(put(&pair, len, (unsigned char)i), 0);
                        cfb_ring_release(&pair.receiver, got(&pair, len, (unsigned char)i).position);
                }
                check_eq(put(&pair, UNITS * CFB_RING_UNIT + 1, 0), -EAGAIN); /* never */
                end(&pair);
        }
}

TEST(full_by_slots) {
        struct pair pair;

        begin(&pair, 0);
        for (unsigned i = 0; i < SLOTS - 1; i++) /* one stays for a last word */
                check_eq(put(&pair, 1, (unsigned char)i), 0);
        check_eq(put(&pair, 1, 0), -EAGAIN);
        check(!cfb_ring_has_room(&pair.sender, 0));
        cfb_ring_release(&pair.receiver, got(&pair, 1, 0).position);
        check_eq(cfb_ring_refresh(&pair.sender), 1);
        check_eq(put(&pair, 1, 7), 0);
        check_eq(put(&pair, 1, 0), -EAGAIN);
        end(&pair);
}

TEST(full_by_bytes) {
        const size_t half = UNITS * CFB_RING_UNIT / 2;
        struct cfb_ring_message first;
        struct pair pair;

        begin(&pair, 0);
        check_eq(put(&pair, half, 1), 0);
        check_eq(put(&pair, half, 2), 0);
        check_eq(put(&pair, CFB_RING_INLINE + 1, 3), -EAGAIN);
        check_eq(put(&pair, CFB_RING_INLINE, 3), 0); /* has room in its slot */
        first = got(&pair, half, 1);
        check_eq(put(&pair, half, 4), -EAGAIN);
        cfb_ring_release(&pair.receiver, first.position);
        check_eq(put(&pair, half, 4), 0);
        got(&pair, half, 2);
        got(&pair, CFB_RING_INLINE, 3);
        got(&pair, half, 4);
        end(&pair);
}

TEST(less_than_claimed) {
        struct pair pair;
        unsigned char *bytes = NULL;

        begin(&pair, 0);
        for (unsigned i = 0; i < 5 * SLOTS; i++) {
                size_t claimed = 100 + i * 13 % 600, used = i * 7 % 100;

                check_eq(cfb_ring_claim(&pair.sender, claimed, &bytes), 0);
                memset(bytes, (int)i, used);
                cfb_ring_commit(&pair.sender, claimed, used, 0);
                cfb_ring_release(&pair.receiver, got(&pair, used, (unsigned char)i).position);
        }
        end(&pair);
}

/* A claim is a place in the ring; asking for room meanwhile must not move it. */
TEST(a_claim_stays_where_it_is) {
        struct pair pair;
        unsigned char *bytes = NULL;

        begin(&pair, 0);
        check_eq(put(&pair, 500, 1), 0);
        check_eq(cfb_ring_claim(&pair.sender, 300, &bytes), 0);
        memset(bytes, 2, 300);
        cfb_ring_release(&pair.receiver, got(&pair, 500, 1).position);
        check_eq(cfb_ring_refresh(&pair.sender), 1);
        cfb_ring_commit(&pair.sender, 300, 300, 0);
        check_eq(put(&pair, 200, 3), 0);
        got(&pair, 300, 2);
        got(&pair, 200, 3);
        end(&pair);
}

TEST(given_back_in_any_order) {
        for (unsigned seed = 1; seed < 500; seed++) {
                uint64_t lent[SLOTS];
                unsigned n_lent = 0, sent = 0, taken = 0, state = seed;
                struct pair pair;

                begin(&pair, begins[seed % 5]);
                while (taken < 200) {
                        state = state * 1103515245 + 12345;
                        if (state >> 30 == 0) {
                                if (put(&pair, state % 90, (unsigned char)sent) == 0)
                                        sent++;
                        } else if (state >> 30 == 1 && taken < sent) {
                                struct cfb_ring_message message = {0};

                                check_eq(cfb_ring_take(&pair.receiver, &message), 1);
                                for (uint32_t i = 0; i < message.len; i++)
                                        check_eq(message.bytes[i], (unsigned char)taken);
                                lent[n_lent++] = message.position;
                                taken++;
                        } else if (n_lent) {
                                unsigned which = (state >> 8) % n_lent;

                                cfb_ring_release(&pair.receiver, lent[which]);
                                lent[which] = lent[--n_lent];
                        }
                }
                while (n_lent)
                        cfb_ring_release(&pair.receiver, lent[--n_lent]);
                check_eq(pair.receiver.released, pair.receiver.position);
                check_eq(pair.receiver.n_early, 0);
                end(&pair);
        }
}

TEST(the_end_comes_last) {
        struct pair pair;

        begin(&pair, 0);
        check(!cfb_ring_at_end(&pair.receiver));
        check_eq(put(&pair, 3, 1), 0);
        cfb_ring_end(&pair.sender);
        check(!cfb_ring_at_end(&pair.receiver));
        got(&pair, 3, 1);
        check(cfb_ring_at_end(&pair.receiver));
        end(&pair);
}

/* Into a larger ring, with messages of the old one still lent. */
TEST(moved) {
        struct cfb_ring_memory larger = memory_of(4 * SLOTS, 4 * UNITS);
        struct cfb_ring_message first, second, last = {0};
        struct cfb_ring_sender next = {0};
        struct pair pair;
        uint64_t position;

        begin(&pair, 3);
        for (unsigned i = 0; i < SLOTS - 1; i++)
                check_eq(put(&pair, 50, (unsigned char)i), 0);
        first = got(&pair, 50, 0);
        second = got(&pair, 50, 1);
        position = cfb_ring_move(&pair.sender);
        check_eq(position, 3 + SLOTS);
        check_eq(cfb_ring_send_from(&next, pair.lines, &larger, position), 0);
        cfb_ring_sender_fini(&pair.sender);
        pair.sender = next;
        for (unsigned i = 0; i < 4 * SLOTS - 1; i++)
                check_eq(put(&pair, 100, (unsigned char)(100 + i)), 0);
        check_eq(put(&pair, 1, 0), -EAGAIN);

        for (unsigned i = 2; i < SLOTS - 1; i++)
                cfb_ring_release(&pair.receiver, got(&pair, 50, (unsigned char)i).position);
        check_eq(cfb_ring_take(&pair.receiver, &last), 1);
        check_eq(last.kind, CFB_RING_MOVED);
        check_eq(last.position + 1, position);
        check_eq(cfb_ring_receive_from(&pair.receiver, pair.lines, &larger, position), 0);
        cfb_ring_release(&pair.receiver, last.position);
        cfb_ring_release(&pair.receiver, got(&pair, 100, 100).position);
        check_eq(put(&pair, 1, 0),
                 -EAGAIN); /* two of the old ring are lent: what came after is not told as given back */
        cfb_ring_release(&pair.receiver, second.position);
        cfb_ring_release(&pair.receiver, first.position);
        check_eq(atomic_load(&pair.lines->freed), position + 1);
        check_eq(put(&pair, 1, 9), 0);
        for (unsigned i = 1; i < 4 * SLOTS - 1; i++)
                got(&pair, 100, (unsigned char)(100 + i));
        got(&pair, 1, 9);
        end(&pair);
        free(larger.bytes);
}

/* --- lies --- */

TEST(a_lying_receiver) {
        static const uint64_t absurd[] = {2, 4, 5, 6, 1000, UINT32_MAX, UINT64_MAX / 2, UINT64_MAX};

        for (size_t i = 0; i < sizeof(absurd) / sizeof(absurd[0]); i++) {
                struct pair pair;

                begin(&pair, 0);
                for (int n = 0; n < 4; n++)
                        check_eq(put(&pair, 1, 1), 0);
                atomic_store(&pair.lines->freed, 3);
                check_eq(cfb_ring_refresh(&pair.sender), 1);
                atomic_store(&pair.lines->freed, absurd[i]);
                check_eq(cfb_ring_refresh(&pair.sender), absurd[i] == 4 ? 1 : -EPROTO);
                end(&pair);
        }
}

/* Every field of a slot at every edge: a message within the ring, or -EPROTO. */
TEST(a_lying_sender) {
        static const uint32_t edges[] = {0,    1,    39,   40,         41,         63,         64,        65,
                                         1023, 1024, 1025, 0x7FFFFFFF, 0x80000000, 0xFFFFFFC0, 0xFFFFFFFF};
        enum { N = sizeof(edges) / sizeof(edges[0]) };

        for (unsigned kind = 0; kind < 6; kind++)
                for (unsigned l = 0; l < N; l++)
                        for (unsigned p = 0; p < N; p++) {
                                struct cfb_ring_message message;
                                struct cfb_ring_slot *slot;
                                struct pair pair;
                                int r;

                                begin(&pair, 0);
                                slot = pair.memory.bytes;
                                atomic_store(&slot->len, edges[l]);
                                atomic_store(&slot->place, edges[p]);
                                atomic_store(&slot->kind, (uint16_t)kind);
                                atomic_store(&slot->stamp, 1);
                                r = cfb_ring_take(&pair.receiver, &message);
                                check(r == 1 || r == -EPROTO);
                                if (r == 1 && message.kind != CFB_RING_MOVED)
                                        check(message.bytes >= (unsigned char *)pair.memory.bytes &&
                                              message.len <= pair.memory.len &&
                                              message.bytes + message.len <=
                                                      (unsigned char *)pair.memory.bytes + pair.memory.len);
                                if (r == 1)
                                        check(kind >= 1 && kind <= 3);
                                end(&pair);
                        }
}

TEST(a_lying_stamp) {
        static const uint64_t absurd[] = {0, 2, 3, 10, UINT64_MAX};

        for (size_t i = 0; i < sizeof(absurd) / sizeof(absurd[0]); i++) {
                struct cfb_ring_message message;
                struct pair pair;

                begin(&pair, 0);
                for (unsigned n = 0; n < SLOTS; n++) {
                        check_eq(put(&pair, 1, 1), 0);
                        cfb_ring_release(&pair.receiver, got(&pair, 1, 1).position);
                }
                atomic_store(&((struct cfb_ring_slot *)pair.memory.bytes)->stamp, absurd[i]);
                check_eq(cfb_ring_take(&pair.receiver, &message), -EPROTO);
                end(&pair);
        }
}
