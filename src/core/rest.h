/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_CORE_REST_H
#define CFB_CORE_REST_H
/*
 * The rest of a message that was cut short on a byte stream: copied, kept in the endpoint, sent before anything else.
 * Used by frames and by confab_send_many, which has no other way to say how much of a message went out.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct confab_endpoint;

struct cfb_rest {
        unsigned char *bytes; /* at .. len; NULL: nothing is kept */
        size_t at, len;
        int broken; /* what every further send answers: the stream has ended within a message */
};

/*
 * Keeps @parts. Where there is no memory for them sending is over, since what went out cannot be taken back: the peer is told the end
 * there where it can be. 0 or -ENOMEM.
 */
int cfb_rest_keep(struct confab_endpoint *endpoint, const struct iovec *parts, unsigned n_parts);
/* Nothing can be sent behind what went out of a message before @error: every further send answers it. Returns @error. */
int cfb_rest_break(struct confab_endpoint *endpoint, int error);
/* Sends what is kept: 0 when nothing is any more. */
int cfb_rest_flush(struct confab_endpoint *endpoint, int64_t deadline_ns);
void cfb_rest_drop(struct cfb_rest *rest);

/* @parts without their first @n bytes, changed in place. Returns how many bytes are left. */
size_t cfb_skip_parts(struct iovec **partsp, unsigned *n_partsp, size_t n);

#endif
