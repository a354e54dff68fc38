/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_TRANSPORT_SHM_CHANNEL_H
#define CFB_TRANSPORT_SHM_CHANNEL_H
/*
 * A channel of shared memory between two processes, as one end sees it: the memory both map, and what this end keeps to itself.
 * One thread may send while another receives: what is not atomic belongs to one side, or is set before [C2] says that it is.
 * shm.c makes it and ends it; shm_channel.c moves messages; shm_wait.c sleeps and wakes.
 */
#include "core/transport.h"
#include "shm/memory.h"
#include "shm/park.h"
#include "shm/ring.h"

#include <sys/socket.h>

enum {
        CFB_CHANNEL_VERSION = 1,
        CFB_CHANNEL_SLOTS = 64, /* of the rings every channel begins with: 36 KiB with both and the head */
        CFB_CHANNEL_UNITS = 192,
        CFB_CHANNEL_HEAD = 4096,
};
#define CFB_CHANNEL_MAGIC UINT64_C(0x6c656e6e61686366) /* "fchannel" */

/* What an end says about itself, once, before it uses the rings. */
enum {
        CFB_CHANNEL_ATTACHED = 1,
        CFB_CHANNEL_REGISTERED = 2, /* with membarrier: park.h */
};
struct cfb_channel_end {
        _Atomic uint32_t flags; /* [C1] release, after max; acquire */
        uint32_t reserved;
        _Atomic uint64_t max; /* bytes of the largest message it takes */
};

/* The head of the memory; the two rings follow at CFB_CHANNEL_HEAD. End 0 accepted, end 1 opened; ring 0 goes from end 0 to end 1. */
struct cfb_channel_shared {
        uint64_t magic;
        uint32_t version, len;
        struct cfb_channel_end ends[2];
        struct cfb_ring_lines lines[2];
};
_Static_assert(sizeof(struct cfb_channel_shared) <= CFB_CHANNEL_HEAD, "the head fits its page");

#define CFB_CHANNEL_LEN (CFB_CHANNEL_HEAD + 2 * (CFB_CHANNEL_SLOTS + CFB_CHANNEL_UNITS) * CFB_RING_UNIT)

/* What goes over the socket beside bells: one packet each, in the order of the positions it is about. */
enum cfb_channel_packet_kind {
        CFB_CHANNEL_BELL = 1,
        CFB_CHANNEL_HELLO, /* with the memory and the end's bell; @position is CFB_CHANNEL_MAGIC, @n_slots the version */
        CFB_CHANNEL_DESCRIPTORS, /* of the message at @position */
        CFB_CHANNEL_MEMORY,      /* for the ring from @position on: @n_slots, @n_units */
};
struct cfb_channel_packet {
        uint32_t kind, n_slots, n_units, reserved;
        uint64_t position;
};

/* A packet that came before what it is about was looked at. */
struct cfb_channel_arrival {
        struct cfb_channel_arrival *next;
        struct cfb_channel_packet packet;
        uint32_t n_fds;
        bool cut;  /* of the descriptors some could not be taken here: all were closed */
        int fds[]; /* owned */
};

/* Memory of a ring left for a larger one, while messages in it are lent. */
struct cfb_channel_left {
        struct cfb_channel_left *next;
        struct cfb_ring_memory memory;
        uint64_t until; /* unmapped when all positions below were given back */
};

/* The descriptor that confab_descriptor shows for one side. */
struct cfb_channel_eye {
        int epoll_fd; /* 0: none yet */
        int self_fd;  /* readable while this side is known to be ready */
};

struct cfb_channel {
        _Atomic uint32_t open_generation
                [2]; /* [C2] by side: cfb_generation while its calls need no second look, else 0 */
        struct cfb_ring_lines *out, *in;
        _Atomic bool light; /* both ends are registered, as far as this one knows: park.h */
        bool registered;    /* this one is */
        bool in_place;      /* received messages are lent where they lie */
        struct cfb_ring_sender sender;
        struct cfb_ring_receiver receiver;

        struct cfb_channel_shared *shared;
        uint32_t generation;   /* of the process it belongs to */
        int end;               /* 0 or 1 */
        bool paired;           /* made by confab_pair: a forked child may adopt it */
        _Atomic bool attached; /* [C2] release, after all that attaching sets; acquire */
        _Atomic bool told_end; /* ours to send */
        _Atomic bool deaf;     /* shut down for receiving */
        bool claimed;
        bool waits_for_socket; /* a packet did not fit: sending waits for the socket, not for room */
        bool stays;            /* in its ring: there was no memory for a larger one */
        size_t wanted;         /* bytes of the message that found no room */
        _Atomic int failed[2]; /* by side: what every further call answers */
        bool hung_up[2];       /* by side: its socket says that the peer is gone */
        uint32_t looks;        /* fruitless ones since the socket was asked */
        uint64_t forks;        /* of this process, when it was attached */
        int memory_fd;         /* pairs, for adopt; else -1 */
        struct cfb_ring_memory out_memory, in_memory; /* mapped on their own, or NULL: in the channel's */
        struct cfb_channel_left *left;
        struct cfb_channel_arrival *arrivals;
        unsigned n_arrivals;
        struct cfb_spin spin[2];
        struct cfb_channel_eye eyes[2];
        struct ucred who;        /* the peer, as it connected */
        struct cfb_pool *copies; /* buffers of messages that are not lent in place; made when needed */
        struct confab_endpoint *endpoint;
        struct cfb_channel *next, **linkp; /* of all in this process */
};

/* Maps and enters; the descriptor stays the caller's. @made: the memory is ours and new. 0 or -errno recorded. */
int cfb_channel_attach(struct confab_endpoint *endpoint, int memory_fd, int end, bool made);
/* Of an accepted end whose client has not said HELLO by then: looks for it. 0, -EAGAIN, -errno recorded (and kept in failed). */
int cfb_channel_attach_late(struct confab_endpoint *endpoint);
void cfb_channel_detach(struct confab_endpoint *endpoint);

int64_t cfb_channel_send(struct confab_endpoint *endpoint, const struct confab_message *message);
int cfb_channel_send_many(struct confab_endpoint *endpoint, const struct confab_message *messages,
                          unsigned n_messages);
int cfb_channel_claim(struct confab_endpoint *endpoint, void **datap, size_t data_len);
int64_t cfb_channel_commit(struct confab_endpoint *endpoint, const struct confab_message *message);
void cfb_channel_abort(struct confab_endpoint *endpoint);
int cfb_channel_receive(struct confab_endpoint *endpoint, struct confab_message *message,
                        struct cfb_buffer **bufferp, const struct confab_filter *filter);
void cfb_channel_release(struct confab_endpoint *endpoint, struct confab_message *message);
int cfb_channel_shutdown(struct confab_endpoint *endpoint, uint32_t direction);
/* Whether the other end is there; learns what it says about itself. */
bool cfb_channel_is_attached(struct cfb_channel *channel);

/* --- shm_wait.c --- */
int cfb_channel_wait(struct confab_endpoint *endpoint, uint32_t direction, int64_t deadline_ns);
int cfb_channel_ready(struct confab_endpoint *endpoint, uint32_t direction);
int cfb_channel_descriptor(struct confab_endpoint *endpoint, uint32_t direction, struct pollfd *pollfd);
void cfb_channel_interrupt(struct confab_endpoint *endpoint);
/* A side found nothing to do and says so: what watches it is armed anew. */
void cfb_channel_idle(struct confab_endpoint *endpoint, int side);
/* [P1] After something was published for the other end's @side: wakes it if it sleeps. */
void cfb_channel_rouse(struct confab_endpoint *endpoint, int side);
void cfb_channel_eyes_close(struct cfb_channel *channel);
/* The sending side has got its bell: its descriptor, where there is one, watches that. */
void cfb_channel_eyes_follow(struct confab_endpoint *endpoint);
/* Takes in what lies in @side's socket: bells, packets, the peer's hanging up. 0, -EPROTO and -ENOMEM recorded. */
int cfb_channel_collect(struct confab_endpoint *endpoint, int side);

/* [C2] Nothing is out of the ordinary for a call of @side. */
static inline bool cfb_channel_is_open(struct cfb_channel *channel, int side) {
        return __builtin_expect(atomic_load_explicit(&channel->open_generation[side], memory_order_acquire) ==
                                        cfb_generation,
                                true);
}
/* [C2] Every further call of @side looks twice. */
static inline void cfb_channel_stop(struct cfb_channel *channel, int side) {
        atomic_store_explicit(&channel->open_generation[side], 0, memory_order_release);
}
/* The packet of @kind about @position, or NULL; the caller's. */
struct cfb_channel_arrival *cfb_channel_take_arrival(struct confab_endpoint *endpoint, uint32_t kind,
                                                     uint64_t position);
/* Puts back what was taken. */
void cfb_channel_return_arrival(struct cfb_channel *channel, struct cfb_channel_arrival *arrival);
struct cfb_channel_arrival *cfb_channel_arrival_free(struct cfb_channel_arrival *arrival);
/* Sends a packet with descriptors. 0, -EAGAIN: the socket is full, -errno. */
int cfb_channel_tell(struct confab_endpoint *endpoint, const struct cfb_channel_packet *packet,
                     const int *fds, unsigned n_fds);
/* -EPROTO: the other end does not keep to the rules: @field says where. Ends the channel, told once by an event. */
int cfb_channel_lies(struct confab_endpoint *endpoint, const char *field);

#endif
