/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_CORE_ENDPOINT_H
#define CFB_CORE_ENDPOINT_H
/* The endpoint as the core and the transports see it. */
#include "base/error.h"
#include "base/pause.h"
#include "base/wake.h"
#include "core/address.h"
#include "core/buffer.h"
#include "core/rest.h"

#include <confab/endpoint.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>

struct cfb_transport;
struct cfb_framed;

enum { CFB_STREAM_BUFFER = 64 * 1024 };      /* receive buffers of streams */
enum { CFB_RECEIVING = 0, CFB_SENDING = 1 }; /* indices of the two sides */
enum { CFB_HELD = 2 }; /* added to a side: of a call that is made of several, which enter and leave */

struct confab_endpoint {
        const struct cfb_transport *transport;
        int fds[2];         /* by side; the same number twice where one descriptor does both; -1: none */
        uint32_t direction; /* CONFAB_* this endpoint can do */
        bool listening;     /* accept is what receives here */
        bool owns_fds;      /* close them at close; true unless lent (fd://, stdio://) */
        bool owns_name;     /* it created the name in the system and removes it */
        bool polls;         /* its descriptor is waited on, although its transport has ready() */
        struct cfb_framed *framed; /* streams with frame=, else NULL */
        struct cfb_rest rest;      /* of a message that was cut short */
        struct cfb_pool *pool;
        struct cfb_buffer *claim; /* confab_claim's room */
        size_t claim_len;
        bool claimed;
        uint64_t max; /* largest message */
        /* It sends, unframed, and nothing is kept of the last one: a message of data alone, of at most plain_max bytes (a stream knows
         * no messages, so no largest one), goes straight to the transport. */
        uint64_t plain_max;
        bool plain_send;
        struct confab_properties properties;
        struct cfb_address address; /* of accepted ones: a view of the listener's without text of its own */
        char *name;                 /* confab_address: what it got, where that differs from address.text */
        /* Waiting: [W1] a waiter publishes its wake descriptor, then looks at interrupts and closing (both seq_cst);
         * confab_interrupt and close write those first, then read the waiter. */
        cfb_waiter waiter[4];
        _Atomic uint32_t interrupts;
        uint32_t interrupts_seen[2];
        _Atomic bool closing;
        /* [B1] a call of this side is under way (in the process of that generation, else 0); close waits for it after membarrier */
        _Atomic uint32_t busy[4];
        struct cfb_pause pause;             /* of receiving */
        int64_t accept_again_ns;            /* listener out of descriptors: when to look again; 0: now */
        _Alignas(16) unsigned char state[]; /* the transport's, state_len bytes */
};

static inline void *cfb_state(const struct confab_endpoint *endpoint) {
        return (void *)endpoint->state;
}

/*
 * Waits until @direction (one of CONFAB_RECEIVE, CONFAB_SEND) may be possible on the endpoint's own descriptors, or by the
 * transport's wait. 0, -ETIMEDOUT, -EAGAIN (CONFAB_NOW), -EINTR, -ECANCELED.
 */
int cfb_wait_direction(struct confab_endpoint *endpoint, uint32_t direction, int64_t deadline_ns);
/* The same for a message, where the next is often there within microseconds. */
int cfb_wait_message(struct confab_endpoint *endpoint, int64_t deadline_ns);
/* The same on any descriptor and poll events, for a transport's own waits (a connection being made). */
int cfb_wait_descriptor(struct confab_endpoint *endpoint, uint32_t direction, int fd, short events,
                        int64_t deadline_ns);
/* As confab_wait on @endpoint alone, ended by the closing of @held too, on whose other side this thread is. */
int cfb_wait_holding(struct confab_endpoint *endpoint, uint32_t direction, struct confab_endpoint *held,
                     int64_t deadline_ns);
/* confab_descriptor without what framing may hold back in its buffer. */
int cfb_plain_descriptor(struct confab_endpoint *endpoint, uint32_t direction, struct pollfd *pollfd);
/* A nap of @nap_ns at most, ended early by confab_interrupt and close; same answers, 0 when the nap is over. */
int cfb_wait_nap(struct confab_endpoint *endpoint, uint32_t direction, int64_t nap_ns, int64_t deadline_ns);
/* For a transport's own waits, after it published how interrupt() finds the waiter: -ECANCELED, -EINTR, or 0 to wait. */
int cfb_wait_ended(struct confab_endpoint *endpoint, uint32_t direction);

/* What plain_send is while nothing is kept. */
static inline bool cfb_sends_plainly(const struct confab_endpoint *endpoint) {
        return (endpoint->direction & CONFAB_SEND) && !endpoint->framed;
}

/* [B1] A call of @side begins: -ECANCELED if the endpoint is being closed. Ends with cfb_leave. */
extern bool cfb_fence_in_sides;
int cfb_closed_by_another(struct confab_endpoint *endpoint, const char *call);

static inline int cfb_enter(struct confab_endpoint *endpoint, int side) {
        bool closing;

        if (__builtin_expect(cfb_fence_in_sides, false)) {
                atomic_store(
                        &endpoint->busy[side],
                        cfb_generation); /* [B1] seq_cst, as the look at closing and both of the closer's */
                closing = atomic_load(&endpoint->closing);
        } else {
                /* [B1] relaxed: ordered before the look at closing by the closer's membarrier; see endpoint.c */
                atomic_store_explicit(&endpoint->busy[side], cfb_generation, memory_order_relaxed);
                atomic_signal_fence(memory_order_seq_cst);
                closing = atomic_load_explicit(&endpoint->closing, memory_order_relaxed);
        }
        if (__builtin_expect(closing, false)) {
                atomic_store_explicit(&endpoint->busy[side], 0, memory_order_release); /* [B1] */
                return cfb_closed_by_another(endpoint, side % CFB_HELD == CFB_SENDING ? "send" : "receive");
        }
        return 0;
}

static inline void cfb_leave(struct confab_endpoint *endpoint, int side) {
        atomic_store_explicit(&endpoint->busy[side], 0, memory_order_release); /* [B1] */
}

/*
 * confab_accept in two steps: all its memory first, then the connection, with no allocation any more. A service that makes processes
 * ahead prepares once, and each of them has the copy (process/service_ahead.c). After a failure of the second it can be called
 * again; the first's is the caller's, for abandon until the second has succeeded, for confab_close from then on. NULL is accepted.
 */
int cfb_accept_prepare(confab_endpoint **endpointp, confab_endpoint *listener);
int cfb_accept_into(confab_endpoint *endpoint, confab_endpoint *listener, int64_t deadline_ns);
void cfb_accept_abandon(confab_endpoint *endpoint);

/*
 * confab_close by a process whose next call is _exit, which gives memory back and closes descriptors, in that order: a peer that sees the end
 * sooner runs beside the exit and gets in its way (16 us of a client's 150, docs/performance.md).
 */
void cfb_close_last(confab_endpoint *endpoint);

/* cfb_address_init, then the transport's own check of the rest: what every call that takes an address begins with. */
int cfb_address_read(struct cfb_address *address, const char *text, const struct confab_options *options);

/* Tells confab_on_event's callback. */
void cfb_tell(uint32_t kind, const char *address, int64_t value);

/* As cfb_unsupported, for an endpoint (accepted ones have no address text of their own). */
void cfb_record_unsupported_of(const struct confab_endpoint *endpoint, const char *call, const char *what);
static inline int cfb_unsupported_of(const struct confab_endpoint *endpoint, const char *call,
                                     const char *what) {
        cfb_record_unsupported_of(endpoint, call, what);
        return -EOPNOTSUPP;
}

#endif
