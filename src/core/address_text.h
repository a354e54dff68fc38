/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_CORE_ADDRESS_TEXT_H
#define CFB_CORE_ADDRESS_TEXT_H
/* What address.c needs to know about characters, and how it says what is wrong. */
#include "base/error.h"
#include "base/utf8.h"
#include "core/address.h"

#include <stdbool.h>

/* Locale-independent on purpose: the C library's isalpha() is not. */
static inline bool cfb_is_alpha(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline bool cfb_is_digit(char c) {
        return c >= '0' && c <= '9';
}

/* Explainers; beside each: what it finds in the failure's fields. */
cfb_explainer cfb_explain_place;   /* detail: why; a: position, 0: none */
cfb_explainer cfb_explain_control; /* detail: the character or code; a: position */
cfb_explainer cfb_explain_percent; /* detail: the sign and what follows; a: position */
cfb_explainer cfb_explain_shape;   /* detail: what stands where the scheme should; a: position */
cfb_explainer cfb_explain_scheme;  /* detail: the scheme; a: position */
cfb_explainer
        cfb_explain_key; /* detail: the key; a: position, 0: a field of the options; b: number of the mechanism */
cfb_explainer
        cfb_explain_value; /* detail: the value; a: position, 0: as above; b: enum cfb_why << 8 | number of the key */
cfb_explainer cfb_explain_twice;  /* detail: the key; a, b: positions of the second and the first */
cfb_explainer cfb_explain_length; /* a: position of the first byte too many */

/* Records a failure with @text; @from and @from_len are the part of it (or a word) that goes into detail. Returns @error. */
int cfb_refuse(int error, const char *text, cfb_explainer *explain, const char *from, size_t from_len,
               int64_t a, int64_t b);
/* -EINVAL with a reason in words, at @position (0: none). */
int cfb_refuse_place(const char *text, int64_t position, const char *why);

/* Where @transport stands in cfb_transports, as explainers have it. */
int64_t cfb_transport_number(const struct cfb_transport *transport);

#endif
