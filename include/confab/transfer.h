/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CONFAB_TRANSFER_H
#define CONFAB_TRANSFER_H
/*
 * Transfers: what one endpoint receives, another one sends. Between byte streams the kernel moves the bytes (splice) where it
 * can, else they are copied; messages stay messages. One transfer is one direction: a relay has two.
 *
 * Threads: a transfer belongs to one thread at a time. Each step counts as a receive on its source and a send on its sink.
 */
#include <confab/endpoint.h>

CONFAB_BEGIN_DECLS

typedef struct confab_transfer confab_transfer;

/*
 * Copies messages with the descriptors in them. Without it splice carries bytes alone between streams: descriptors passed over
 * a unix stream are closed on the way. Between message mechanisms that both carry them they go along always.
 */
#define CONFAB_TRANSFER_DESCRIPTORS 1u

struct confab_transfer_options {
        uint32_t size;  /* sizeof(struct confab_transfer_options) */
        uint32_t flags; /* CONFAB_TRANSFER_* */
        /* A source without connections: who sent the last message is written here. NULL: not wanted. */
        struct confab_peer *from_peer;
        /* A sink that reaches many: to whom; lent, looked at in each step, must have CONFAB_PEER_ADDRESS then. NULL: nobody in particular.
         * A relay's two directions point at the same struct: answers go to who asked last. */
        const struct confab_peer *to_peer;
};

/*
 * A transfer in *@transferp, the caller's (confab_transfer_free). Both endpoints are lent until then; nobody else may receive on
 * @source or send on @sink. @options may be NULL. -EINVAL, -ENOMEM. Does not block.
 */
CONFAB_API int confab_transfer_new(confab_transfer **transferp, confab_endpoint *source,
                                   confab_endpoint *sink, const struct confab_transfer_options *options);

/*
 * Moves what is there now; waits until @deadline_ns only while nothing can be moved. Adds the bytes that went out to *@movedp, if not NULL.
 * Returns 1: some were moved, 0: the source has ended and everything it brought has been sent (half-closing the sink is
 * the caller's), or what confab_receive and confab_send answer. After -EAGAIN (CONFAB_NOW), -ETIMEDOUT and -EINTR nothing is lost, the next
 * step goes on; after another error of the sink, what was to be sent is dropped: the next step goes on with the next message.
 * A message longer than the sink carries: -EMSGSIZE, dropped; bytes of a stream are cut to messages that fit.
 */
CONFAB_API int confab_transfer_step(confab_transfer *transfer, uint64_t *movedp, int64_t deadline_ns);

/* What the next step waits for: fills @interest, for confab_wait and confab_loop_add_endpoint. */
CONFAB_API void confab_transfer_waits(const confab_transfer *transfer, struct confab_interest *interest);

/* Ends it; bytes received and not sent yet are dropped. Accepts NULL; returns NULL. */
CONFAB_API confab_transfer *confab_transfer_free(confab_transfer *transfer);

CONFAB_END_DECLS
#endif
