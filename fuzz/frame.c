/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Any bytes as a framed stream: the same messages come out whatever pieces it comes in, within the bounds frame.h promises, and an
 * independent reading of the format agrees. The input: kind, the pieces' length, the maximum in two bytes, then the stream.
 */
#include "wire/frame.h"

#include "fuzz.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* What came out: a number for all messages with their lengths, and how it ended. */
struct outcome {
        uint64_t hash;
        unsigned n_messages;
        int result;
};

static void add(struct outcome *outcome, const uint8_t *bytes, size_t len) {
        for (size_t i = 0; i < len; i++)
                outcome->hash = (outcome->hash ^ bytes[i]) * UINT64_C(0x100000001b3);
        outcome->hash = (outcome->hash ^ len ^ 0x55aa55aa) * UINT64_C(0x100000001b3);
        outcome->n_messages++;
}

static struct outcome feed(enum cfb_frame_kind kind, uint64_t max, const uint8_t *stream, size_t stream_len,
                           size_t piece) {
        struct outcome outcome = {.result = CFB_FRAME_MORE};
        struct cfb_frame_decoder decoder;
        uint8_t *data = malloc(1);
        size_t data_len = 0, at = 0, message_at, len, consumed, needed = 1, came = 0;

        must(data);
        cfb_frame_decoder_init(&decoder, kind, max);
        while (at < stream_len && outcome.result > 0) {
                size_t n = piece < stream_len - at ? piece : stream_len - at, start = 0;
                /* A new block of the very size: one byte too far is seen. */
                uint8_t *grown = malloc(data_len + n);

                must(grown);
                memcpy(grown, data, data_len);
                memcpy(grown + data_len, stream + at, n);
                free(data);
                data = grown;
                data_len += n;
                at += n;
                came += n;
                while (start < data_len) {
                        int r = cfb_frame_decode(&decoder, data + start, data_len - start, &message_at, &len,
                                                 &consumed, &needed);

                        outcome.result = r == CFB_FRAME_FOUND ? CFB_FRAME_MORE : r;
                        if (r != CFB_FRAME_FOUND) {
                                must(r == -EMSGSIZE || r == -EPROTO ||
                                     (r == CFB_FRAME_MORE && needed >= 1 && needed <= max + 8));
                                must(r != -EMSGSIZE || decoder.claim > max);
                                came = 0;
                                break;
                        }
                        must(came >= needed);
                        must(consumed >= 1 && consumed <= data_len - start && message_at + len <= consumed &&
                             len <= max);
                        add(&outcome, data + start + message_at, len);
                        start += consumed;
                        needed = 0;
                }
                memmove(data, data + start, data_len - start);
                data_len -= start;
                must(data_len <= max + UINT64_C(4) * 65537);
        }
        free(data);
        return outcome;
}

/* The format read a second time, without pieces, positions or moving. */
static struct outcome read_plainly(enum cfb_frame_kind kind, uint64_t max, const uint8_t *stream,
                                   size_t stream_len) {
        struct outcome outcome = {.result = CFB_FRAME_MORE};
        uint8_t *message = malloc(stream_len + 1);
        size_t len = 0;
        unsigned n_fragments = 0;

        must(message);
        for (size_t at = 0; at < stream_len && outcome.result > 0;) {
                if (kind == CFB_FRAME_LINE) {
                        if (stream[at] == '\n') {
                                add(&outcome, message, len);
                                len = 0;
                        } else if (len == max) {
                                outcome.result = -EMSGSIZE;
                        } else {
                                message[len++] = stream[at];
                        }
                        at++;
                } else {
                        uint32_t claim;

                        if (stream_len - at < 4)
                                break;
                        claim = (uint32_t)(stream[at] & 0x7F) << 24 | stream[at + 1] << 16 |
                                stream[at + 2] << 8 | stream[at + 3];
                        if (len + claim > max)
                                outcome.result = -EMSGSIZE;
                        else if (++n_fragments > 65536)
                                outcome.result = -EPROTO;
                        else if (stream_len - at - 4 < claim)
                                break;
                        else {
                                memcpy(message + len, stream + at + 4, claim);
                                len += claim;
                                if (stream[at] & 0x80) {
                                        add(&outcome, message, len);
                                        len = n_fragments = 0;
                                }
                        }
                        at += 4 + (size_t)claim;
                }
        }
        free(message);
        return outcome;
}

/* A message between its edges is found again. */
static void round_trip(enum cfb_frame_kind kind, const uint8_t *bytes, size_t len) {
        struct cfb_frame_decoder decoder;
        struct cfb_frame_edges edges;
        size_t whole, message_at, message_len, consumed, needed;
        uint8_t *data;

        must(cfb_frame_edges(&edges, CFB_FRAME_RECORD, UINT64_C(0x80000000) + len) == -EMSGSIZE);
        if (kind == CFB_FRAME_LINE && len && memchr(bytes, '\n', len))
                return; /* the core refuses to send it */
        must(cfb_frame_edges(&edges, kind, len) == 0);
        whole = edges.before_len + len + edges.after_len;
        data = malloc(whole);
        must(data && whole);
        memcpy(data, edges.before, edges.before_len);
        memcpy(data + edges.before_len, bytes, len);
        memcpy(data + edges.before_len + len, edges.after, edges.after_len);
        cfb_frame_decoder_init(&decoder, kind, len);
        must(cfb_frame_decode(&decoder, data, whole, &message_at, &message_len, &consumed, &needed) ==
             CFB_FRAME_FOUND);
        must(message_at == edges.before_len && message_len == len && consumed == whole);
        free(data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len) {
        enum cfb_frame_kind kind;
        struct outcome whole, plain, pieces;
        uint64_t max;
        size_t piece;

        if (data_len < 4)
                return 0;
        kind = data[0] & 1 ? CFB_FRAME_RECORD : CFB_FRAME_LINE;
        piece = 1 + data[1] % 70;
        max = (uint64_t)data[2] << 8 | data[3];
        data += 4;
        data_len -= 4;
        round_trip(kind, data, data_len);
        whole = feed(kind, max, data, data_len, data_len ? data_len : 1);
        pieces = feed(kind, max, data, data_len, piece);
        plain = read_plainly(kind, max, data, data_len);
        must(whole.result == pieces.result && whole.n_messages == pieces.n_messages &&
             whole.hash == pieces.hash);
        must(whole.result == plain.result && whole.n_messages == plain.n_messages &&
             whole.hash == plain.hash);
        return 0;
}
