/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Frames: whatever the pieces a stream comes in, the same messages come out; claims are refused before they cost anything
 * (FAULTS row 36); nothing behind the bytes that have come is touched.
 */
#include "wire/frame.h"

#include "guarded.h"
#include "harness.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define LAST 0x80000000u

/* What came out of a stream: messages in order, then the end, an error or a rest. */
struct outcome {
        unsigned n_messages;
        size_t lens[64];
        unsigned char bytes[1 << 16];
        size_t bytes_len;
        int result;  /* CFB_FRAME_MORE, or the error */
        size_t left; /* bytes of a message that is not whole */
        uint64_t claim;
};

/*
 * A caller as the core is one: it appends what arrives, lets the decoder look after each piece, takes what is found. The bytes lie
 * against a page nobody may touch, so they move at each piece. When the decoder asks for n more bytes, fewer must not do.
 */
static void feed(struct outcome *outcome, enum cfb_frame_kind kind, uint64_t max, const unsigned char *stream,
                 size_t stream_len, size_t piece_len) {
        struct guarded guarded = guarded_new(stream_len + 1);
        struct cfb_frame_decoder decoder;
        unsigned char *data = guarded.end;
        size_t data_len = 0, needed = 1, came = 0; /* since the decoder said how much it needs */

        memset(outcome, 0, sizeof(*outcome));
        outcome->result = CFB_FRAME_MORE;
        cfb_frame_decoder_init(&decoder, kind, max);
        for (size_t at = 0; at < stream_len && outcome->result > 0;) {
                size_t n = piece_len < stream_len - at ? piece_len : stream_len - at;

                guarded_put(&guarded, data, data_len);
                memmove(guarded.end - data_len - n, guarded.end - data_len, data_len);
                data = guarded.end - data_len - n;
                memcpy(data + data_len, stream + at, n);
                data_len += n;
                at += n;
                came += n;
                for (;;) {
                        size_t message_at = SIZE_MAX, message_len = SIZE_MAX, consumed = 0;
                        int r = cfb_frame_decode(&decoder, data, data_len, &message_at, &message_len,
                                                 &consumed, &needed);

                        if (r == CFB_FRAME_FOUND) {
                                check(came >= needed);
                                check(consumed <= data_len && message_at + message_len <= consumed);
                                check(message_len <= max && outcome->n_messages < 64);
                                check(outcome->bytes_len + message_len <= sizeof(outcome->bytes));
                                memcpy(outcome->bytes + outcome->bytes_len, data + message_at, message_len);
                                outcome->bytes_len += message_len;
                                outcome->lens[outcome->n_messages++] = message_len;
                                data += consumed;
                                data_len -= consumed;
                                needed = 0; /* of what follows nothing is known yet */
                                came = 0;
                                if (data_len)
                                        continue;
                                break;
                        }
                        outcome->result = r;
                        if (r < 0) {
                                check(r == -EMSGSIZE || r == -EPROTO);
                                /* It stays broken. */
                                check_eq(cfb_frame_decode(&decoder, data, data_len, &message_at, &message_len,
                                                          &consumed, &needed),
                                         r);
                                outcome->claim = decoder.claim;
                        } else {
                                check_eq(r, CFB_FRAME_MORE);
                                check(needed >= 1 && (needed <= 8 || needed - 8 <= max));
                                came = 0;
                        }
                        break;
                }
        }
        outcome->left = data_len;
        guarded_free(&guarded);
}

static const size_t pieces[] = {1, 3, 4, 7, 64, SIZE_MAX};

/* The same stream in every kind of pieces. */
static void feed_all(struct outcome *first, enum cfb_frame_kind kind, uint64_t max, const void *stream,
                     size_t stream_len) {
        static struct outcome other;

        feed(first, kind, max, stream, stream_len, pieces[0]);
        for (size_t i = 1; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
                feed(&other, kind, max, stream, stream_len, pieces[i]);
                check_eq(other.n_messages, first->n_messages);
                check_eq(other.bytes_len, first->bytes_len);
                check_mem(other.bytes, first->bytes, first->bytes_len);
                check_mem(other.lens, first->lens, sizeof(first->lens));
                check_eq(other.result, first->result);
                if (first->result > 0)
                        check_eq(other.left, first->left);
        }
}

static struct outcome outcome;

TEST(lines_in_pieces) {
        static const struct {
                const char *stream;
                size_t stream_len;
                uint64_t max;
                unsigned n_messages;
                size_t lens[4];
                const char *bytes;
                int result;
                size_t left;
        } cases[] = {
                {"", 0, 10, 0, {0}, "", CFB_FRAME_MORE, 0},
                {"a", 1, 10, 0, {0}, "", CFB_FRAME_MORE, 1},
                {"\n", 1, 10, 1, {0}, "", CFB_FRAME_MORE, 0},
                {"\n\n\n", 3, 10, 3, {0}, "", CFB_FRAME_MORE, 0},
                {"a\n", 2, 10, 1, {1}, "a", CFB_FRAME_MORE, 0},
                {"a\r\nbc\n", 6, 10, 2, {2, 2}, "a\rbc", CFB_FRAME_MORE, 0},
                {"a\0b\n", 4, 10, 1, {3}, "a\0b", CFB_FRAME_MORE, 0},
                {"abc\nde", 6, 10, 1, {3}, "abc", CFB_FRAME_MORE, 2},
                {"0123456789\n", 11, 10, 1, {10}, "0123456789", CFB_FRAME_MORE, 0},
                {"0123456789", 10, 10, 0, {0}, "", CFB_FRAME_MORE, 10},
                {"0123456789A", 11, 10, 0, {0}, "", -EMSGSIZE, 0},
                {"0123456789A\n", 12, 10, 0, {0}, "", -EMSGSIZE, 0},
                {"ok\n0123456789A\n", 15, 10, 1, {2}, "ok", -EMSGSIZE, 0},
                {"\n", 1, 0, 1, {0}, "", CFB_FRAME_MORE, 0},
                {"a\n", 2, 0, 0, {0}, "", -EMSGSIZE, 0},
                {"a\n", 2, UINT64_MAX, 1, {1}, "a", CFB_FRAME_MORE, 0},
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                feed_all(&outcome, CFB_FRAME_LINE, cases[i].max, cases[i].stream, cases[i].stream_len);
                check_eq(outcome.n_messages, cases[i].n_messages);
                check_mem(outcome.lens, cases[i].lens, sizeof(cases[i].lens));
                check_mem(outcome.bytes, cases[i].bytes, outcome.bytes_len);
                check_eq(outcome.result, cases[i].result);
                if (outcome.result > 0)
                        check_eq(outcome.left, cases[i].left);
                else
                        check(outcome.claim > cases[i].max);
        }
}

/* A byte that was looked at is not looked at again: a newline put there afterwards stays unseen. */
TEST(lines_are_scanned_once) {
        struct cfb_frame_decoder decoder;
        unsigned char data[4096];
        size_t at, len, consumed, needed;

        memset(data, 'x', sizeof(data));
        cfb_frame_decoder_init(&decoder, CFB_FRAME_LINE, 10000);
        check_eq(cfb_frame_decode(&decoder, data, 4000, &at, &len, &consumed, &needed), CFB_FRAME_MORE);
        data[100] = '\n';
        check_eq(cfb_frame_decode(&decoder, data, 4000, &at, &len, &consumed, &needed), CFB_FRAME_MORE);
        data[4000] = '\n';
        check_eq(cfb_frame_decode(&decoder, data, 4096, &at, &len, &consumed, &needed), CFB_FRAME_FOUND);
        check_eq(len, 4000);
        /* And the next message starts afresh. */
        check_eq(cfb_frame_decode(&decoder, data, 4096, &at, &len, &consumed, &needed), CFB_FRAME_FOUND);
        check_eq(len, 100);
}

static size_t put_header(unsigned char *to, uint32_t word) {
        to[0] = (unsigned char)(word >> 24);
        to[1] = (unsigned char)(word >> 16);
        to[2] = (unsigned char)(word >> 8);
        to[3] = (unsigned char)word;
        return 4;
}

static size_t put_fragment(unsigned char *to, const void *bytes, uint32_t len, bool last) {
        put_header(to, len | (last ? LAST : 0));
        memcpy(to + 4, bytes, len);
        return 4 + len;
}

TEST(records_in_pieces) {
        unsigned char stream[256];
        size_t n = 0;

        n += put_fragment(stream + n, "one", 3, true);
        n += put_fragment(stream + n, "", 0, true); /* an empty message */
        n += put_fragment(stream + n, "t", 1, false);
        n += put_fragment(stream + n, "", 0, false); /* an empty fragment */
        n += put_fragment(stream + n, "w", 1, false);
        n += put_fragment(stream + n, "o...........", 12, true);
        n += put_fragment(stream + n, "thr", 3, false);
        n += put_fragment(stream + n, "ee", 2, false);
        n += put_fragment(stream + n, "", 0, true); /* an empty last one */
        n += put_fragment(stream + n, "", 0, false);
        n += put_fragment(stream + n, "", 0, true); /* empty, in two */
        n += put_fragment(stream + n, "four", 4, false);
        feed_all(&outcome, CFB_FRAME_RECORD, 100, stream, n);
        check_eq(outcome.n_messages, 5);
        check_eq(outcome.lens[0], 3);
        check_eq(outcome.lens[1], 0);
        check_eq(outcome.lens[2], 14);
        check_eq(outcome.lens[3], 5);
        check_eq(outcome.lens[4], 0);
        check_mem(outcome.bytes, "onetwo...........three", 22);
        check_eq(outcome.result, CFB_FRAME_MORE);
        check_eq(outcome.left, 8);

        /* Every truncation: the messages that were whole, and a rest that is never presented as one. */
        for (size_t len = 0; len <= n; len++) {
                unsigned whole = len < 7 ? 0 : len < 11 ? 1 : len < 41 ? 2 : len < 58 ? 3 : len < 66 ? 4 : 5;

                feed_all(&outcome, CFB_FRAME_RECORD, 100, stream, len);
                check_eq(outcome.result, CFB_FRAME_MORE);
                if (outcome.n_messages != whole)
                        printf("%zu bytes\n", len);
                check_eq(outcome.n_messages, whole);
        }
}

TEST(needed_is_what_is_needed) {
        struct cfb_frame_decoder decoder;
        unsigned char data[64];
        size_t at, len, consumed, needed, n;

        cfb_frame_decoder_init(&decoder, CFB_FRAME_RECORD, 40);
        n = put_header(data, 10);
        check_eq(cfb_frame_decode(&decoder, data, 1, &at, &len, &consumed, &needed), CFB_FRAME_MORE);
        check_eq(needed, 3);
        check_eq(cfb_frame_decode(&decoder, data, 4, &at, &len, &consumed, &needed), CFB_FRAME_MORE);
        check_eq(needed, 14); /* the fragment and the header that must follow */
        memset(data + n, 'x', 10);
        check_eq(cfb_frame_decode(&decoder, data, 14, &at, &len, &consumed, &needed), CFB_FRAME_MORE);
        check_eq(needed, 4);
        n = 14 + put_header(data + 14, LAST | 30);
        check_eq(cfb_frame_decode(&decoder, data, n, &at, &len, &consumed, &needed), CFB_FRAME_MORE);
        check_eq(needed, 30);
        check_eq(cfb_frame_decode(&decoder, data, n + 29, &at, &len, &consumed, &needed), CFB_FRAME_MORE);
        check_eq(needed, 1);
        check_eq(cfb_frame_decode(&decoder, data, n + 30, &at, &len, &consumed, &needed), CFB_FRAME_FOUND);
        check_eq(at, 4);
        check_eq(len, 40);
        check_eq(consumed, n + 30);
}

/* Refused by the header alone: nothing lies behind it. */
TEST(claims_over_the_maximum_are_refused_at_once) {
        static const struct {
                uint32_t words[3]; /* headers of one-byte fragments, then the claim */
                unsigned n_words;
                uint64_t max;
                int result;
                uint64_t claim;
        } cases[] = {
                {{LAST | 101}, 1, 100, -EMSGSIZE, 101},
                {{101}, 1, 100, -EMSGSIZE, 101},
                {{LAST | 0x7FFFFFFF}, 1, 16 << 20, -EMSGSIZE, 0x7FFFFFFF},
                {{0x7FFFFFFF}, 1, 0x7FFFFFFE, -EMSGSIZE, 0x7FFFFFFF},
                {{0xFFFFFFFF}, 1, 0, -EMSGSIZE, 0x7FFFFFFF},
                {{1, LAST | 100}, 2, 100, -EMSGSIZE, 101},
                {{1, 0x7FFFFFFF}, 2, 0x7FFFFFFF, -EMSGSIZE, UINT64_C(0x80000000)},
                {{1, 1, 0x7FFFFFFF}, 3, UINT64_C(0x80000000), -EMSGSIZE, UINT64_C(0x80000001)},
                {{1, 1, LAST | 98}, 3, 100, CFB_FRAME_MORE, 0},
                {{LAST | 100}, 1, 100, CFB_FRAME_MORE, 0},
                {{LAST | 0x7FFFFFFF}, 1, 0x7FFFFFFF, CFB_FRAME_MORE, 0},
                {{1, 1, 0x7FFFFFFF}, 3, UINT64_MAX, CFB_FRAME_MORE, 0},
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                unsigned char stream[16];
                size_t n = 0;

                for (unsigned j = 0; j < cases[i].n_words; j++) {
                        n += put_header(stream + n, cases[i].words[j]);
                        if (j + 1 < cases[i].n_words)
                                stream[n++] = 'x';
                }
                feed_all(&outcome, CFB_FRAME_RECORD, cases[i].max, stream, n);
                check_eq(outcome.result, cases[i].result);
                check_eq(outcome.n_messages, 0);
                check_eq(outcome.claim, cases[i].claim);
        }
        /* The same rule over the whole space of the four bytes, in steps. */
        for (uint64_t word = 0; word <= UINT32_MAX; word += 65521) {
                struct cfb_frame_decoder decoder;
                unsigned char header[4];
                size_t at, len, consumed, needed;
                int r;

                put_header(header, (uint32_t)word);
                cfb_frame_decoder_init(&decoder, CFB_FRAME_RECORD, 1 << 20);
                r = cfb_frame_decode(&decoder, header, 4, &at, &len, &consumed, &needed);
                if ((word & 0x7FFFFFFF) > 1 << 20)
                        check_eq(r, -EMSGSIZE);
                else if (word == 0)
                        check_eq(r, CFB_FRAME_MORE);
                else
                        check(r == CFB_FRAME_MORE && needed >= (word & 0x7FFFFFFF));
        }
}

/* 65,536 fragments are taken, one more is an attack: of no bytes as of one. */
static void many_fragments(unsigned n_fragments, unsigned fragment_len, int expected) {
        size_t stream_len = (size_t)n_fragments * (4 + fragment_len), at = 0, message_at, len, consumed,
               needed;
        unsigned char *stream = malloc(stream_len);
        struct cfb_frame_decoder decoder;

        check(stream);
        for (unsigned i = 0; i < n_fragments; i++) {
                put_header(stream + at, fragment_len | (i + 1 == n_fragments ? LAST : 0));
                memset(stream + at + 4, 'a' + (int)(i % 26), fragment_len);
                at += 4 + fragment_len;
        }
        cfb_frame_decoder_init(&decoder, CFB_FRAME_RECORD, 1 << 20);
        check_eq(cfb_frame_decode(&decoder, stream, stream_len, &message_at, &len, &consumed, &needed),
                 expected);
        if (expected == CFB_FRAME_FOUND) {
                check_eq(len, (size_t)n_fragments * fragment_len);
                check_eq(consumed, stream_len);
                for (size_t i = 0; i < len; i++)
                        check_eq(stream[message_at + i], 'a' + (int)(i % 26));
        }
        free(stream);
}

TEST(fragments_are_counted) {
        many_fragments(65536, 0, CFB_FRAME_FOUND);
        many_fragments(65536, 1, CFB_FRAME_FOUND);
        many_fragments(65537, 0, -EPROTO);
        many_fragments(65537, 1, -EPROTO);
        many_fragments(1000000, 0, -EPROTO);
}

static uint32_t seed = 20;

static uint32_t random_below(uint32_t limit) {
        seed = seed * 1664525u + 1013904223u;
        return (seed >> 8) % limit;
}

/* Random messages cut into random fragments, read in every kind of pieces. */
TEST_TIMEOUT(random_records, 30) {
        static unsigned char stream[1 << 16], sent[1 << 15];

        for (unsigned round = 0; round < 200; round++) {
                size_t lens[20], n = 0, sent_len = 0;
                unsigned n_messages = 1 + random_below(20);

                for (unsigned i = 0; i < n_messages; i++) {
                        size_t left = random_below(i % 5 == 0 ? 1000 : 12);

                        lens[i] = left;
                        for (;;) {
                                uint32_t part =
                                        random_below(4) ? random_below((uint32_t)left + 1) : (uint32_t)left;
                                bool last = part == left && random_below(4);

                                for (uint32_t j = 0; j < part; j++)
                                        sent[sent_len + j] = (unsigned char)random_below(256);
                                n += put_fragment(stream + n, sent + sent_len, part, last);
                                sent_len += part;
                                left -= part;
                                if (last)
                                        break;
                        }
                }
                feed_all(&outcome, CFB_FRAME_RECORD, 1000, stream, n);
                check_eq(outcome.n_messages, n_messages);
                check_eq(outcome.bytes_len, sent_len);
                check_mem(outcome.bytes, sent, sent_len);
                check_mem(outcome.lens, lens, n_messages * sizeof(lens[0]));
                check_eq(outcome.left, 0);
        }
}

TEST(edges_are_what_the_decoder_reads) {
        static const uint64_t lens[] = {0, 1, 255, 256, 65535, 65536, 16 << 20, 0x7FFFFFFF};
        struct cfb_frame_edges edges;

        for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
                struct cfb_frame_decoder decoder;
                size_t at, len, consumed, needed = 0;
                int r;

                check_eq(cfb_frame_edges(&edges, CFB_FRAME_RECORD, lens[i]), 0);
                check_eq(edges.before_len, 4);
                check_eq(edges.after_len, 0);
                cfb_frame_decoder_init(&decoder, CFB_FRAME_RECORD, UINT64_MAX);
                r = cfb_frame_decode(&decoder, edges.before, 4, &at, &len, &consumed, &needed);
                check_eq(r, lens[i] ? CFB_FRAME_MORE : CFB_FRAME_FOUND);
                check_eq(needed, lens[i]);
        }
        check_eq(cfb_frame_edges(&edges, CFB_FRAME_RECORD, 0x80000000), -EMSGSIZE);
        check_eq(cfb_frame_edges(&edges, CFB_FRAME_RECORD, UINT64_MAX), -EMSGSIZE);
        check_eq(cfb_frame_edges(&edges, CFB_FRAME_LINE, UINT64_MAX), 0);
        check_eq(edges.before_len, 0);
        check_eq(edges.after_len, 1);
        check_eq(edges.after[0], '\n');
        check_eq(cfb_frame_edges(&edges, CFB_FRAME_NONE, 5), 0);
        check_eq(edges.before_len + edges.after_len, 0);
}

TEST(without_frames_what_came_is_the_message) {
        struct cfb_frame_decoder decoder;
        unsigned char data[4] = "abc";
        size_t at, len, consumed, needed = 0;

        cfb_frame_decoder_init(&decoder, CFB_FRAME_NONE, 2);
        check_eq(cfb_frame_decode(&decoder, data, 0, &at, &len, &consumed, &needed), CFB_FRAME_MORE);
        check_eq(needed, 1);
        check_eq(cfb_frame_decode(&decoder, data, 3, &at, &len, &consumed, &needed), CFB_FRAME_FOUND);
        check(at == 0 && len == 3 && consumed == 3);
}
