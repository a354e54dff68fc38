/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CONFAB_MESSAGE_H
#define CONFAB_MESSAGE_H
/*
 * Messages: bytes with a little around them. One struct for streams, datagrams, queues and mailboxes; a field that a
 * mechanism does not have is refused when sent (-EOPNOTSUPP) and 0 when received. Which ones it has: confab_properties.
 */
#include <confab/types.h>
#include <string.h>
#include <sys/uio.h>

CONFAB_BEGIN_DECLS

/*
 * Who is at the other end. Copy the struct to keep it: the one a message points to is lent with the message.
 * @address is opaque: hand the whole struct back in confab_message.peer to answer that sender; confab_peer_address
 * makes it readable.
 */
#define CONFAB_PEER_ADDRESS 1u /* @address can be sent to, and is not empty */
#define CONFAB_PEER_CREDENTIALS \
        2u /* @pid, @uid and @gid come from the kernel, as they were when the peer connected or sent; without it they are 0, or what the sender claims (signal://) */
struct confab_peer {
        uint32_t size;
        uint32_t flags; /* CONFAB_PEER_* */
        uint32_t pid;   /* 0: not visible from this pid namespace */
        uint32_t uid;
        uint32_t gid;         /* UINT32_MAX: the mechanism does not tell it (signal://) */
        uint32_t address_len; /* bytes used of @address */
        unsigned char address[128];
};

/* Flags of a received message. */
#define CONFAB_MESSAGE_LENT 1u /* it holds a buffer or descriptors until confab_release */

struct confab_message {
        uint32_t size;  /* sizeof(struct confab_message) */
        uint32_t flags; /* CONFAB_MESSAGE_*; 0 when sending */
        const void
                *data; /* sending: yours, read before the call returns; received: lent until confab_release */
        uint64_t data_len;       /* bytes */
        const struct iovec *iov; /* sending, instead of data: gathered in order; at most 1024 parts */
        uint32_t n_iov;
        uint32_t n_descriptors; /* at most 253 */
        const int *
                descriptors; /* sending: lent to the call, still yours; received: closed by confab_release unless taken */
        const struct confab_peer
                *peer; /* sending: to whom, where one endpoint reaches many; received: from whom, or NULL */
        int64_t type;  /* > 0 where the mechanism has types */
        uint32_t priority; /* higher first, where the mechanism has priorities */
        uint32_t reserved; /* 0 */
        uint64_t sequence; /* received: the mailbox's number of the message, from 1; 0 where there is none */
        int64_t time_ns;   /* received: when it was sent, CLOCK_MONOTONIC; 0 where unknown */
        void *lender;      /* the library's; leave it */
};

/* A message of @data_len bytes at @data, everything else default. An empty one to receive into: confab_message_of(NULL, 0). */
static inline struct confab_message confab_message_of(const void *data, size_t data_len) {
        struct confab_message message;

        memset(&message, 0, sizeof(message)); /* C and C++ agree on no initialiser for it */
        message.size = (uint32_t)sizeof(message);
        message.data = data;
        message.data_len = data_len;
        return message;
}

/*
 * Takes descriptor number @index out of a received message: it is the caller's to close from now on.
 * Returns it (>= 0; close-on-exec is set), -EINVAL for an index there is not, -ENODATA if it was taken before.
 */
CONFAB_API int confab_take_descriptor(struct confab_message *message, uint32_t index);

/*
 * The peer as an address that confab_open understands, where it has one ("udp://127.0.0.1:4711",
 * "unix://@00001?type=datagram"). Writes at most @text_cap bytes with the final NUL; returns the whole length as
 * snprintf does, 0 where the peer has no address. Never blocks: no names are looked up.
 */
CONFAB_API size_t confab_peer_address(const struct confab_peer *peer, char *text, size_t text_cap);

CONFAB_END_DECLS
#endif
