/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_CORE_ADDRESS_H
#define CFB_CORE_ADDRESS_H
/*
 * Addresses: scheme://rest?key=value&key=value, read once into a struct. Text in, struct out; no I/O.
 */
#include "wire/frame.h"

#include <confab/endpoint.h>
#include <errno.h>
#include <stdbool.h>

/* The keys, each with one bit: a transport says which it has. One line each in the table in address.c. */
/* It would take the hyphen for a minus. */
/* clang-format off */
#define CFB_KEYS(X)             \
        X(FRAME, frame)         \
        X(MODE, mode)           \
        X(OWNER, owner)         \
        X(GROUP, group)         \
        X(CAPACITY, capacity)   \
        X(MAX, max)             \
        X(DIRECTION, direction) \
        X(LIFETIME, lifetime)   \
        X(BACKLOG, backlog)     \
        X(TYPE, type)           \
        X(DUPLEX, duplex)       \
        X(POLL, poll)           \
        X(TAKE, take)           \
        X(FROM, from)           \
        X(FAMILY, family)       \
        X(GRACE, grace)         \
        X(MESSAGE_SIZE, message-size) \
        X(SIGNAL, signal)       \
        X(TRUST, trust)         \
        X(WAIT, wait)
/* clang-format on */
enum cfb_key_number {
#define X(NAME, text) CFB_KEY_NUMBER_##NAME,
        CFB_KEYS(X)
#undef X
                CFB_N_KEYS
};
#define CFB_KEY(NAME) (UINT64_C(1) << CFB_KEY_NUMBER_##NAME)

enum cfb_lifetime { CFB_LIFETIME_CREATOR, CFB_LIFETIME_PERSISTENT };
enum cfb_trust { CFB_TRUST_AUTO, CFB_TRUST_YES, CFB_TRUST_NO };
enum cfb_waiting { CFB_WAITING_AUTO, CFB_WAITING_SPIN, CFB_WAITING_BLOCK };

#define CFB_ADDRESS_MAX 4096 /* bytes of an address's text */

struct cfb_address {
        const struct cfb_transport *transport;
        char *text;     /* as given, owned */
        char *rest;     /* decoded, NUL-terminated, no NUL inside; owned */
        size_t rest_at; /* where it begins in text, for positions in errors */
        uint64_t given; /* CFB_KEY bits */
        enum cfb_frame_kind frame;
        uint32_t mode;         /* 0600 unless given */
        uint32_t owner, group; /* UINT32_MAX: the caller's */
        uint64_t capacity;     /* 0: the mechanism's default; rendezvous is told apart by the bit in given */
        uint64_t max;          /* 16 MiB unless given */
        uint32_t direction;    /* CONFAB_*; 0: not given */
        enum cfb_lifetime lifetime;
        uint32_t backlog;
        int type; /* SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM; 0: not given */
        bool duplex, take;
        int64_t poll_ns; /* 0: not given */
        int64_t grace_ns;
        char *from;            /* owned; NULL: not given */
        int family;            /* AF_UNSPEC, AF_INET, AF_INET6 */
        uint64_t message_size; /* 0: not given */
        uint64_t signals;      /* signal n is bit n - 1 */
        int signal_first;      /* of those, as they were written; 0: not given */
        enum cfb_trust trust;
        enum cfb_waiting waiting;
};

/*
 * Reads @text, lays @options (may be NULL) over it. On success fini it with cfb_address_fini; on failure there is
 * nothing left to fini (but it may be). The transport's own check comes after it: cfb_address_read in endpoint.c.
 * -EINVAL with a failure that has the position and what there is; -EOPNOTSUPP for a key the transport does not have; -ENAMETOOLONG.
 */
int cfb_address_init(struct cfb_address *address, const char *text, const struct confab_options *options);
void cfb_address_fini(struct cfb_address *address);

/* Percent-encodes @raw so that it can stand as rest or value; appends as cfb_append does. '/' ':' '@' '[' ']' ',' stay. */
void cfb_address_encode(char *text, size_t text_cap, size_t *used, const char *raw, size_t raw_len);

/* Records -EINVAL at byte @at of the decoded rest with @why ("the port is not a number"), for a transport's own checks. */
int cfb_address_refuse(const struct cfb_address *address, size_t at, const char *why);
/* Records -EOPNOTSUPP and returns it: @what ("descriptors in messages") is not to be had with this mechanism. */
void cfb_record_unsupported(const struct cfb_address *address, const char *call, const char *what);
static inline int cfb_unsupported(const struct cfb_address *address, const char *call, const char *what) {
        cfb_record_unsupported(address, call, what);
        return -EOPNOTSUPP;
}

#endif
