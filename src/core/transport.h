/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_CORE_TRANSPORT_H
#define CFB_CORE_TRANSPORT_H
/*
 * What a transport implements: one file in src/transport with one const struct, one line in table.c.
 *
 * The core does what is common: deadlines, interrupts, closing from another thread, framing, partial sends, buffers,
 * filters that do not exist, properties and options that do not fit. A transport does single non-blocking steps.
 *
 * Rules for every member: results are 0 or a count, or -errno with the failure recorded (cfb_failed) - except that -EAGAIN
 * is recorded nowhere: it tells the core to wait and call again. Nothing here blocks unless it takes a deadline. One
 * thread sends and one receives at a time; open, listen, pair and accept fill an endpoint nobody else sees yet.
 */
#include "core/address.h"
#include "core/buffer.h"
#include "core/endpoint.h"

#include <errno.h>

struct cfb_transport {
        const char *scheme;
        const char *summary; /* one line, for lists: "anonymous pipe between related processes" */
        const char *example; /* an address with all it takes: "tcp://host:port" */
        uint64_t keys;       /* CFB_KEY bits it has */
        size_t state_len;    /* bytes of zeroed private state in each endpoint: cfb_state() */

        /* Required. What it promises at @address; @endpoint is NULL before opening, else tells it as it is. */
        void (*properties)(struct confab_properties *properties, const struct cfb_address *address,
                           const struct confab_endpoint *endpoint);
        /* Optional, more than the core's reading of keys: checks rest. Runs before any of the following. */
        int (*check)(const struct cfb_address *address);

        /* Each optional: absent means -EOPNOTSUPP. They set the descriptors and the state of @endpoint; after a failure
         * the core closes what they set (by close below). */
        int (*open)(struct confab_endpoint *endpoint, int64_t deadline_ns);
        int (*listen)(struct confab_endpoint *endpoint, int64_t deadline_ns);
        int (*accept)(struct confab_endpoint *endpoint, struct confab_endpoint *listener);
        int (*pair)(struct confab_endpoint *ends[2]);

        /*
         * Sends @message (data or iov, never both; the core has checked type, priority, peer and descriptors against the properties).
         * Streams: the count of bytes taken, >= 1 unless the message is empty. Message mechanisms: all of it, its length.
         */
        int64_t (*send)(struct confab_endpoint *endpoint, const struct confab_message *message);
        /* Optional, asked only where boundaries are kept: several at once; the count sent whole, >= 1, or -errno of the first. */
        int (*send_many)(struct confab_endpoint *endpoint, const struct confab_message *messages,
                         unsigned n_messages);
        /*
         * Receives into @buffer (bytes, descriptors, peer): sets message->data_len and what else it knows (type, priority, peer);
         * the core sets data (unless the transport did, to a place within the bytes), lender, descriptors. Returns 1, or 0 at the end. *@bufferp may be exchanged for a larger one.
         */
        int (*receive)(struct confab_endpoint *endpoint, struct confab_message *message,
                       struct cfb_buffer **bufferp, const struct confab_filter *filter);
        /* Optional: as receive, one buffer each; the count, 0 at the end. */
        int (*receive_many)(struct confab_endpoint *endpoint, struct confab_message *messages,
                            struct cfb_buffer **buffers, unsigned n_messages);

        /*
         * Optional, for mechanisms that share memory: present, and receive lends bytes of its own in message->data with a mark of its
         * own in message->lender, is handed no buffer (bufferp is NULL), and gets each message back here.
         */
        void (*release)(struct confab_endpoint *endpoint, struct confab_message *message);
        /* Optional: room in the mechanism itself (absent: the core's own, sent by send). -EAGAIN: none for now. */
        int (*claim)(struct confab_endpoint *endpoint, void **datap, size_t data_len);
        int64_t (*commit)(struct confab_endpoint *endpoint, const struct confab_message *message);
        void (*abort)(struct confab_endpoint *endpoint);
        /* Optional, where receiving is leased; each also releases. */
        int (*ack)(struct confab_endpoint *endpoint, struct confab_message *message);
        int (*reject)(struct confab_endpoint *endpoint, struct confab_message *message);
        /* Optional: what confab_adopt has to do in a forked child. */
        int (*adopt)(struct confab_endpoint *endpoint);

        /* Optional; absent: poll on the descriptors. Waits until @direction may be possible; see cfb_wait_direction. */
        int (*wait)(struct confab_endpoint *endpoint, uint32_t direction, int64_t deadline_ns);
        /* Required where wait waits for something without a descriptor: 1 if @direction is possible now, else 0. Not asked of endpoints
         * that set polls. */
        int (*ready)(struct confab_endpoint *endpoint, uint32_t direction);
        /* Optional: ends a wait that does not look at the waiter's wake descriptor. Async-signal-safe, any thread. */
        void (*interrupt)(struct confab_endpoint *endpoint);
        /* Optional; absent: the endpoint's own descriptors. As confab_descriptor. */
        int (*descriptor)(struct confab_endpoint *endpoint, uint32_t direction, struct pollfd *pollfd);
        int (*shutdown)(struct confab_endpoint *endpoint, uint32_t direction);
        int (*peer)(const struct confab_endpoint *endpoint, struct confab_peer *peer);
        int (*remove)(const struct cfb_address *address);
        /* Optional: frees the state and removes names. The core closes the descriptors afterwards. Runs in the closing thread. */
        void (*close)(struct confab_endpoint *endpoint);
        /* Optional: size of receive buffers (absent: 64 KiB). Message mechanisms return what their largest message needs. */
        size_t (*buffer_cap)(const struct confab_endpoint *endpoint);
        /* Optional: a peer of this transport as an address; as confab_peer_address. */
        size_t (*peer_address)(const struct confab_peer *peer, char *text, size_t text_cap);
};

/*
 * A step, made again where the kernel gave it up for a signal: only confab_interrupt ends a call. Few non-blocking calls can be
 * given up (files of FUSE behind fd://), so transports need not look.
 */
#define CFB_STEP(step)                                        \
        __extension__({                                       \
                __typeof__(step) step_;                       \
                                                              \
                do                                            \
                        step_ = (step);                       \
                while (__builtin_expect(step_ == -EINTR, 0)); \
                step_;                                        \
        })

/* Ends with NULL; the one deliberate link upwards, defined in transport/table.c. */
extern const struct cfb_transport *const cfb_transports[];

#endif
