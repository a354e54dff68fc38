/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_CORE_MESSAGE_H
#define CFB_CORE_MESSAGE_H
/* What sending and receiving share across the core and the transports. */
#include "core/endpoint.h"

enum { CFB_IOV_MAX = 1024 }; /* the kernel's own limit */

/* Bytes of @message, gathered or not. */
static inline uint64_t cfb_message_len(const struct confab_message *message) {
        uint64_t len = 0;

        if (!message->n_iov)
                return message->data_len;
        for (uint32_t i = 0; i < message->n_iov; i++)
                len += message->iov[i].iov_len;
        return len;
}

/* @message's bytes as iovecs: its own, or @one filled with data. Sets *@n_iovp. */
static inline const struct iovec *cfb_message_iov(const struct confab_message *message, struct iovec *one,
                                                  unsigned *n_iovp) {
        if (message->n_iov) {
                *n_iovp = message->n_iov;
                return message->iov;
        }
        *one = (struct iovec){(void *)(uintptr_t)message->data, message->data_len};
        *n_iovp = 1;
        return one;
}

/* -EMSGSIZE with the figures: a message of @len bytes (0: not known) against @max. */
int64_t cfb_too_large(const struct confab_endpoint *endpoint, const char *call, uint64_t len, uint64_t max);

#endif
