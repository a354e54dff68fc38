/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Message boundaries in a byte stream.
 *
 * The caller owns one buffer and appends to it what arrives; the decoder finds messages in it, in place. It keeps positions
 * relative to the start of the message under way, never pointers, so the caller may move or grow the buffer between calls.
 *
 * Lines: a message is what stands before '\n', without it. '\r' and NUL are bytes like others. Bytes looked at once are not looked
 * at again (scanned), so a line that arrives byte by byte costs what it costs in one piece; memchr looks at 32 bytes a step.
 *
 * Records (RFC 5531, section 11): fragments with a header of four bytes, highest bit: last one, other 31: its length.
 *
 *      start of the message          scanned: header of the fragment under way
 *      v                             v
 *      +----+------------------+.....+----+-----------------------+-----
 *      |head| joined bytes     |holes|head| this fragment's bytes | what follows
 *      +----+------------------+.....+----+-----------------------+-----
 *           <----- joined ---->
 *
 * A message of one fragment is found where it lies: four bytes are read and nothing is moved. When a further fragment is whole, its
 * bytes move once to the end of the joined ones, over the holes that headers left; what follows stays, so the caller's
 * count of bytes stays true. Cost: one memmove of each byte behind the first fragment, none quadratic.
 *
 * What a hostile sender can do, and what bounds it:
 * - claim 2^31 bytes: refused by the header alone, before a byte of it is waited for (joined + claim > max; no sum
 *   that can overflow is formed);
 * - send fragments of no or one byte for ever: a message has at most 65,536 of them, so that what lies in the buffer is at most
 *   max + 4 * 65,536 bytes. *neededp grows with the claim, but never past max: a caller that does not trust its
 *   peer grows its buffer with what has arrived, not with *neededp;
 * - never send the '\n': refused as soon as max + 1 bytes without one are there;
 * - stop anywhere: nothing is found; whether the end of the stream came at a boundary shows in the bytes the caller still holds.
 *
 * After -EMSGSIZE and -EPROTO the place of the next message is unknown: the stream is of no more use, and every
 * further call says the same again.
 */
#include "wire/frame.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define HEADER_LEN    4
#define LAST_FRAGMENT UINT32_C(0x80000000)
#define FRAGMENTS_MAX 65536

void cfb_frame_decoder_init(struct cfb_frame_decoder *decoder, enum cfb_frame_kind kind, uint64_t max) {
        *decoder = (struct cfb_frame_decoder){.kind = kind, .max = max};
}

static int found(struct cfb_frame_decoder *decoder) {
        decoder->scanned = 0;
        decoder->joined = 0;
        decoder->n_fragments = 0;
        return CFB_FRAME_FOUND;
}

static int more(size_t *neededp, size_t needed) {
        *neededp = needed;
        return CFB_FRAME_MORE;
}

static int too_large(struct cfb_frame_decoder *decoder, uint64_t claim) {
        decoder->claim = claim;
        return -EMSGSIZE;
}

static int decode_line(struct cfb_frame_decoder *decoder, unsigned char *data, size_t data_len,
                       size_t *message_atp, size_t *message_lenp, size_t *consumedp, size_t *neededp) {
        /* The longest line ends at data[max]: nothing behind that needs to be looked at. */
        size_t end = data_len > decoder->max ? (size_t)decoder->max + 1 : data_len;
        unsigned char *newline = NULL;

        if (end > decoder->scanned)
                newline = memchr(data + decoder->scanned, '\n', end - decoder->scanned);
        if (!newline) {
                decoder->scanned = end;
                return end > decoder->max ? too_large(decoder, data_len) : more(neededp, 1);
        }
        *message_atp = 0;
        *message_lenp = (size_t)(newline - data);
        *consumedp = *message_lenp + 1;
        return found(decoder);
}

static uint32_t read_header(const unsigned char *at) {
        return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static int decode_record(struct cfb_frame_decoder *decoder, unsigned char *data, size_t data_len,
                         size_t *message_atp, size_t *message_lenp, size_t *consumedp, size_t *neededp) {
        /* One fragment a turn; scanned <= data_len, since it only moves over bytes that are there. */
        for (;;) {
                size_t rest = data_len - decoder->scanned, len;
                unsigned char *header = data + decoder->scanned;
                uint32_t word;
                bool last;

                if (rest < HEADER_LEN)
                        return more(neededp, HEADER_LEN - rest);
                word = read_header(header);
                last = word & LAST_FRAGMENT;
                len = word & ~LAST_FRAGMENT;
                if (len > decoder->max - decoder->joined) /* joined <= max: it was checked when it grew */
                        return too_large(decoder, decoder->joined + (uint64_t)len);
                if (decoder->n_fragments == FRAGMENTS_MAX)
                        return -EPROTO;
                rest -= HEADER_LEN;
                if (rest < len)
                        return more(neededp, len - rest + (last ? 0 : HEADER_LEN));
                if (decoder->n_fragments && len)
                        memmove(data + HEADER_LEN + decoder->joined, header + HEADER_LEN, len);
                decoder->joined += len;
                decoder->scanned += HEADER_LEN + len;
                if (last) {
                        *message_atp = HEADER_LEN;
                        *message_lenp = decoder->joined;
                        *consumedp = decoder->scanned;
                        return found(decoder);
                }
                decoder->n_fragments++;
        }
}

int cfb_frame_decode(struct cfb_frame_decoder *decoder, unsigned char *data, size_t data_len,
                     size_t *message_atp, size_t *message_lenp, size_t *consumedp, size_t *neededp) {
        switch (decoder->kind) {
        case CFB_FRAME_LINE:
                return decode_line(decoder, data, data_len, message_atp, message_lenp, consumedp, neededp);
        case CFB_FRAME_RECORD:
                return decode_record(decoder, data, data_len, message_atp, message_lenp, consumedp, neededp);
        case CFB_FRAME_NONE:
                break;
        }
        /* Without frames whatever has come is the message. */
        if (data_len == 0)
                return more(neededp, 1);
        *message_atp = 0;
        *message_lenp = data_len;
        *consumedp = data_len;
        return found(decoder);
}

int cfb_frame_edges(struct cfb_frame_edges *edges, enum cfb_frame_kind kind, uint64_t len) {
        *edges = (struct cfb_frame_edges){0};
        if (kind == CFB_FRAME_LINE) {
                edges->after[0] = '\n';
                edges->after_len = 1;
        } else if (kind == CFB_FRAME_RECORD) {
                uint32_t word = LAST_FRAGMENT | (uint32_t)len;

                if (len >= LAST_FRAGMENT)
                        return -EMSGSIZE;
                edges->before[0] = (unsigned char)(word >> 24);
                edges->before[1] = (unsigned char)(word >> 16);
                edges->before[2] = (unsigned char)(word >> 8);
                edges->before[3] = (unsigned char)word;
                edges->before_len = HEADER_LEN;
        }
        return 0;
}
