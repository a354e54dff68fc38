/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Endpoints in the event loop: their descriptors, told as CONFAB_RECEIVE and CONFAB_SEND.
 *
 * An endpoint with one descriptor for both directions (sockets) has one registration with both events, because epoll holds a
 * descriptor once; one with two (duplex pipes) has two. A source is 200 bytes, one allocation, and an endpoint that
 * is watched holds no buffer until something arrives.
 *
 * A framed stream may hold messages that it has read already. confab_descriptor shows them with two more descriptors for each
 * endpoint; here the stream tells the source instead, which then is ready without epoll's help (loop/loop.c). Such a source may be
 * found ready twice in a step, by what it holds and by its descriptor; it is told once, because after the first call neither may be true
 * any more.
 *
 * A message cut short by a deadline leaves its rest in the endpoint. Who watches for CONFAB_SEND has it sent here, and is told when it has gone.
 *
 * A listener without descriptors left. Its connection stays queued, so it stays ready: a level-triggered loop would spin at full speed
 * on -EMFILE while the clients that could free a descriptor wait. confab_accept says when to look again (accept_again_ns); until
 * then the listener is out of the set, and a timer, made together with the source so that it cannot fail now, brings it back.
 */
#include "base/cancel.h"
#include "base/error.h"
#include "core/framed.h"
#include "loop/loop.h"

#include <errno.h>

struct endpoint_source {
        struct confab_source source;
        confab_endpoint *endpoint;
        uint32_t direction;   /* watched for */
        bool framed;          /* it is a struct framed_source */
        bool paused;          /* a listener that looks again later */
        confab_source *again; /* listeners: the timer */
        struct cfb_watch watch[2];
        uint32_t events[2]; /* poll's, by side; what makes it ready. 0: not possible or not looked up yet */
        bool known[2];
};

struct framed_source {
        struct endpoint_source own;
        struct cfb_watch buffered; /* messages it has read already */
        uint32_t told_in;          /* the step it was told in */
};

static const uint32_t side_bit[2] = {[CFB_RECEIVING] = CONFAB_RECEIVE, [CFB_SENDING] = CONFAB_SEND};

static int endpoint_ready(struct cfb_watch *watch, uint32_t events) {
        struct endpoint_source *own = (struct endpoint_source *)watch->source;
        uint32_t ready = 0;
        int r;

        if (!own->endpoint)
                return 0;
        for (int side = 0; side < 2; side++)
                if (own->known[side] && own->watch[side].fd == watch->fd &&
                    (events & (own->events[side] | POLLERR | POLLHUP)))
                        ready |= side_bit[side];
        ready &= own->direction;
        if (own->framed && (ready & CONFAB_RECEIVE)) {
                struct framed_source *framed = (struct framed_source *)own;

                if (framed->told_in == own->source.loop->n_steps)
                        ready &= ~CONFAB_RECEIVE;
                framed->told_in = own->source.loop->n_steps;
        }
        /* An error is the callback's to meet, by its next send. */
        if ((ready & CONFAB_SEND) && own->endpoint->rest.bytes &&
            confab_send(own->endpoint, NULL, CONFAB_NOW) == -EAGAIN)
                ready &= ~CONFAB_SEND;
        if (!ready)
                return 0;
        r = cfb_source_call(&own->source, ready);
        if (own->source.removed || !own->again || !own->endpoint->accept_again_ns)
                return r;
        own->paused = true;
        cfb_watch_set(&own->watch[CFB_RECEIVING], 0);
        confab_loop_set_timer(own->again, own->endpoint->accept_again_ns, 0);
        return r;
}

static int buffered_ready(struct cfb_watch *watch, uint32_t events) {
        struct framed_source *framed = (struct framed_source *)watch->source;

        (void)events;
        if (framed->told_in == watch->loop->n_steps)
                return 0;
        framed->told_in = watch->loop->n_steps;
        return cfb_source_call(watch->source, CONFAB_RECEIVE);
}

/* After each receive: the source is ready while the stream holds something. */
static void buffered_changed(void *data, enum cfb_framed_state state) {
        struct framed_source *framed = data;

        if (state == CFB_FRAMED_GONE)
                framed->own.endpoint = NULL; /* closed before its source was removed */
        if (cfb_loop_here(framed->own.source.loop))
                cfb_watch_always(&framed->buffered,
                                 state == CFB_FRAMED_READY && (framed->own.direction & CONFAB_RECEIVE));
}

static int look_up(struct endpoint_source *own, int side) {
        struct pollfd pollfd;
        int r = cfb_plain_descriptor(own->endpoint, side_bit[side], &pollfd);

        if (r < 0)
                return r;
        cfb_watch_init(&own->watch[side], own->source.loop, &own->source, pollfd.fd, endpoint_ready);
        own->events[side] = (uint32_t)pollfd.events;
        own->known[side] = true;
        return 0;
}

/* Puts own->direction into effect on the descriptors. */
static int apply(struct endpoint_source *own) {
        uint32_t wanted[2] = {0, 0};
        int r;

        for (int side = 0; side < 2; side++) {
                if ((own->direction & side_bit[side]) && !own->known[side] && (r = look_up(own, side)) < 0)
                        return r;
                if ((own->direction & side_bit[side]) && !own->paused)
                        wanted[side] = own->events[side];
        }
        if (own->known[0] && own->known[1] && own->watch[0].fd == own->watch[1].fd) {
                /* one registration: the one that is there, else the receiving side's */
                int holder = own->watch[CFB_SENDING].wanted ? CFB_SENDING : CFB_RECEIVING;

                return cfb_watch_set(&own->watch[holder], wanted[0] | wanted[1]);
        }
        for (int side = 0; side < 2; side++)
                if (own->known[side] && (r = cfb_watch_set(&own->watch[side], wanted[side])) < 0)
                        return r;
        return 0;
}

static int look_again(confab_source *timer, uint32_t events, void *data) {
        struct endpoint_source *own = data;

        (void)events;
        own->paused = false;
        own->endpoint->accept_again_ns = 0;
        confab_loop_set_timer(timer, CONFAB_FOREVER, 0); /* keeps it for the next time */
        return apply(own);
}

static int endpoint_change(confab_source *source, uint32_t direction) {
        struct endpoint_source *own = (struct endpoint_source *)source;
        uint32_t before = own->direction;
        int r;

        if (direction & ~CONFAB_BOTH)
                return cfb_failed_with(-EINVAL, "add_endpoint", confab_address(own->endpoint), NULL,
                                       "the direction is CONFAB_RECEIVE, CONFAB_SEND or both", 0, 0);
        own->direction = direction;
        r = apply(own);
        if (r < 0)
                own->direction = before;
        else if (own->framed)
                cfb_framed_tell(own->endpoint, buffered_changed, own);
        return r;
}

static void endpoint_end(confab_source *source) {
        struct endpoint_source *own = (struct endpoint_source *)source;

        if (own->framed) {
                cfb_watch_always(&((struct framed_source *)own)->buffered, false);
                if (own->endpoint)
                        cfb_framed_tell(own->endpoint, NULL, NULL);
        }
        own->again = confab_loop_remove(own->again);
        for (int side = 0; side < 2; side++)
                if (own->known[side])
                        cfb_watch_set(&own->watch[side], 0);
}

static const struct cfb_source_kind endpoint_kind = {"add_endpoint", endpoint_change, endpoint_end};

int confab_loop_add_endpoint(confab_source **sourcep, confab_loop *loop, confab_endpoint *endpoint,
                             uint32_t direction, confab_source_callback callback, void *data) {
        CFB_UNCANCELLED;
        confab_source *source;
        struct endpoint_source *own;
        int r = 0;

        if (!endpoint)
                return cfb_failed(-EINVAL, "add_endpoint", "NULL");
        if (endpoint->framed && (r = cfb_loop_check(loop, "add_endpoint")) >= 0)
                r = cfb_watch_always_prepare(loop);
        if (r >= 0)
                r = cfb_source_new(&source, loop,
                                   endpoint->framed ? sizeof(struct framed_source) : sizeof(*own),
                                   &endpoint_kind, callback, data);
        if (r < 0)
                return r;
        own = (struct endpoint_source *)source;
        own->endpoint = endpoint;
        own->framed = endpoint->framed != NULL;
        if (own->framed)
                cfb_watch_init(&((struct framed_source *)own)->buffered, loop, source, -1, buffered_ready);
        if (endpoint->listening)
                r = confab_loop_add_timer(&own->again, loop, CONFAB_FOREVER, 0, look_again, own);
        if (r >= 0)
                r = endpoint_change(source, direction);
        if (r < 0) {
                confab_loop_remove(source);
                return r;
        }
        if (sourcep)
                *sourcep = source;
        return 0;
}
