/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_CORE_KEY_H
#define CFB_CORE_KEY_H
/* The keys of addresses as a table, and the readers of their values. */
#include "core/address.h"

/* Why a value is not taken: conditions of cfb_key_read and cfb_key_store. */
enum cfb_why {
        CFB_FINE = 0,
        CFB_NO_VALUE,
        CFB_NO_WORD,
        CFB_NO_NUMBER,
        CFB_NO_SIZE,
        CFB_NO_DURATION,
        CFB_NO_MODE,
        CFB_OUT_OF_RANGE,
        CFB_NO_USER,
        CFB_NO_GROUP,
        CFB_EMPTY,
        CFB_NO_SIGNAL,
};
/* The same in words. */
extern const char *const cfb_whys[];

struct cfb_word {
        const char *text;
        uint32_t value;
};

/* A key: how its value is read, into which field, and what people are told. */
struct cfb_key {
        const char *name;
        const char *values; /* default first */
        const char *help;
        /* Reads the decoded @value (NULL: it stands alone); an enum cfb_why, or -ENOMEM. */
        int (*read)(struct cfb_address *address, const struct cfb_key *key, const char *value);
        size_t at, len;               /* the field in struct cfb_address */
        uint64_t least, most;         /* numbers, in the field's unit; 0, 0: no limits */
        const struct cfb_word *words; /* or NULL */
        uint64_t unit;                /* of a duration without one, in ns; 0: it must have one */
        bool alone;                   /* may stand without a value, which then means yes */
};
extern const struct cfb_key cfb_keys[CFB_N_KEYS];

/* Puts a number into the key's field: CFB_FINE or CFB_OUT_OF_RANGE. */
int cfb_key_store(struct cfb_address *address, const struct cfb_key *key, uint64_t value);

#endif
