/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_WIRE_FRAME_H
#define CFB_WIRE_FRAME_H
/*
 * Message boundaries in a byte stream: lines, and the record marking of RFC 5531 section 11. Bytes in, bytes out; no I/O.
 *
 * A decoder is fed what has arrived and finds the next message in it, in place. A message of several record fragments is
 * moved together inside the buffer it lies in (towards its front), so nothing is allocated here. A claim larger than
 * @max is refused as soon as its header is seen.
 */
#include <stddef.h>
#include <stdint.h>

enum cfb_frame_kind { CFB_FRAME_NONE, CFB_FRAME_LINE, CFB_FRAME_RECORD };

struct cfb_frame_decoder {
        enum cfb_frame_kind kind;
        uint64_t max;   /* bytes in the largest message */
        size_t scanned; /* bytes of the buffer looked at already */
        size_t joined;  /* record: bytes of earlier fragments of this message, lying at the message's start */
        uint32_t n_fragments; /* record: of this message, bounded */
        uint64_t claim;       /* after -EMSGSIZE: how large the message said it was (line: at least that) */
};

enum { CFB_FRAME_MORE = 1, CFB_FRAME_FOUND = 2 }; /* conditions of cfb_frame_decode */

void cfb_frame_decoder_init(struct cfb_frame_decoder *decoder, enum cfb_frame_kind kind, uint64_t max);

/*
 * Looks for the next message in the @data_len bytes at @data, which begin where the last call's message ended.
 * CFB_FRAME_FOUND: the message is the *@message_lenp bytes at data + *@message_atp; the *@consumedp bytes from the start of @data
 * are used up (the caller passes what follows next time). The decoder is ready for the next message.
 * CFB_FRAME_MORE: not whole yet; call again with the same bytes (moved or not) and more behind them; *@neededp (>= 1) is
 * how many more at least: a claim of the sender's (at most max + 8), not a fact. At most max + 4 * 65,537 bytes lie before a
 * message is found. -EMSGSIZE: larger than max; -EPROTO: malformed (more than 65,536 fragments in one record).
 */
int cfb_frame_decode(struct cfb_frame_decoder *decoder, unsigned char *data, size_t data_len,
                     size_t *message_atp, size_t *message_lenp, size_t *consumedp, size_t *neededp);

/* The bytes that go before and after a message of @len bytes. Returns -EMSGSIZE where the frame cannot hold it. */
struct cfb_frame_edges {
        unsigned char before[4], after[1];
        uint8_t before_len, after_len;
};
int cfb_frame_edges(struct cfb_frame_edges *edges, enum cfb_frame_kind kind, uint64_t len);

#endif
