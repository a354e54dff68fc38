/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * What a deadline cuts. While a rest is kept, plain_send is off: confab_send's fast path does not have to look for one.
 */
#include "core/rest.h"
#include "base/memory.h"
#include "core/message.h"
#include "core/transport.h"

#include <errno.h>
#include <string.h>

size_t cfb_skip_parts(struct iovec **partsp, unsigned *n_partsp, size_t n) {
        size_t left = 0;

        while (*n_partsp && n >= (*partsp)->iov_len) {
                n -= (*partsp)->iov_len;
                (*partsp)++;
                (*n_partsp)--;
        }
        if (*n_partsp) {
                (*partsp)->iov_base = (unsigned char *)(*partsp)->iov_base + n;
                (*partsp)->iov_len -= n;
        }
        for (unsigned i = 0; i < *n_partsp; i++)
                left += (*partsp)[i].iov_len;
        return left;
}

void cfb_rest_drop(struct cfb_rest *rest) {
        cfb_release(rest->bytes);
        rest->bytes = NULL;
}

int cfb_rest_break(confab_endpoint *endpoint, int error) {
        endpoint->rest.broken = error;
        endpoint->plain_send = false;
        return error;
}

int cfb_rest_keep(confab_endpoint *endpoint, const struct iovec *parts, unsigned n_parts) {
        struct cfb_rest *rest = &endpoint->rest;

        rest->at = 0;
        rest->len = 0;
        for (unsigned i = 0; i < n_parts; i++)
                rest->len += parts[i].iov_len;
        endpoint->plain_send = false;
        rest->bytes = cfb_allocate_untouched(rest->len);
        if (!rest->bytes) {
                cfb_rest_break(endpoint, -ENOMEM);
                if (endpoint->transport->shutdown)
                        endpoint->transport->shutdown(endpoint, CONFAB_SEND);
                return cfb_failed(-ENOMEM, "send", confab_address(endpoint));
        }
        for (size_t i = 0, at = 0; i < n_parts; at += parts[i++].iov_len)
                if (parts[i].iov_len)
                        memcpy(rest->bytes + at, parts[i].iov_base, parts[i].iov_len);
        return 0;
}

int cfb_rest_flush(confab_endpoint *endpoint, int64_t deadline_ns) {
        struct cfb_rest *rest = &endpoint->rest;

        if (rest->broken)
                return cfb_failed(rest->broken, "send", confab_address(endpoint));
        while (rest->bytes) {
                struct confab_message message =
                        confab_message_of(rest->bytes + rest->at, rest->len - rest->at);
                int64_t n = CFB_STEP(endpoint->transport->send(endpoint, &message));

                if (n == -EAGAIN) {
                        n = cfb_wait_direction(endpoint, CONFAB_SEND, deadline_ns);
                        if (n < 0)
                                return (int)n;
                        continue;
                }
                if (n < 0)
                        return (int)n;
                rest->at += (size_t)n;
                if (rest->at == rest->len) {
                        cfb_rest_drop(rest);
                        endpoint->plain_send = cfb_sends_plainly(endpoint);
                }
        }
        return 0;
}
