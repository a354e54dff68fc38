/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_SHM_RING_H
#define CFB_SHM_RING_H
/*
 * A ring of messages from one sender to one receiver in memory they share. Nothing here waits or makes a system call.
 *
 *      slots   n of 64 bytes, one a message: stamp, length, place, kind, and up to 40 bytes of the message itself
 *      data    longer messages, each in one piece, in units of 64 bytes
 *      lines   what each side tells the other, one writer a cache line (struct cfb_ring_lines), apart from the rest because it outlives it:
 *              a ring that is too small is left for a larger one by a last slot of kind CFB_RING_MOVED
 *
 * Position p (counted from 0, never wrapping: 64 bits) uses slot p mod n. Its stamp is p + 1 from its publication on; until then it is what it
 * was a lap before, or 0 in new memory; anything else is damage.
 *
 *   [R1] sender: fields and bytes;  stamp = p + 1 (release)          receiver: stamp (acquire);  fields and bytes
 *   [R2] receiver: last look at the bytes;  freed = p (release)      sender: freed (acquire);  fields and bytes anew
 *   [R3] sender: end = p + 1 (release) behind its last stamp         receiver: end (acquire), then the stamp once more
 *
 * Publication is one store, so a death at any instruction leaves a message sent or not sent and nothing to repair; the same holds for freed.
 *
 * Cost of a message that fits its slot: the slot's line goes over and comes back; 64 bytes more of data, a line more each. The sender reads freed (a
 * line of the receiver's) only when what it knew is used up.
 *
 * The other side may lie: what it writes is read once into a local and bounded before use, and own positions are private. -EPROTO says so, and
 * nothing is done on the ring afterwards.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum {
        CFB_RING_UNIT = 64,
        CFB_RING_INLINE = 40,      /* bytes of a message in its slot */
        CFB_RING_SLOTS_MOST = 4096 /* of the largest ring */
};

enum cfb_ring_kind {
        CFB_RING_MESSAGE = 1, /* its bytes are in the slot */
        CFB_RING_PLACED = 2,  /* in data, from unit @place on */
        CFB_RING_MOVED = 3,   /* none: what follows is in other memory, which came another way */
};

struct cfb_ring_slot {
        _Atomic uint64_t stamp; /* [R1] */
        /* Written by the sender alone before the stamp; relaxed, because a lying sender may write at any time. */
        _Atomic uint32_t len, place;
        _Atomic uint16_t kind, n_descriptors;
        uint32_t reserved;
        unsigned char bytes[CFB_RING_INLINE];
};
_Static_assert(sizeof(struct cfb_ring_slot) == CFB_RING_UNIT, "a slot is a cache line");

/* One writer a line. park: see park.h; [R4] gone: this side was closed. */
struct cfb_ring_lines {
        _Alignas(128) _Atomic uint32_t receiver_park;
        _Atomic uint32_t receiver_gone; /* [R4] */
        _Alignas(128) _Atomic uint32_t sender_park;
        uint32_t reserved;
        _Atomic uint64_t end;                 /* [R3] 0: it goes on */
        _Alignas(128) _Atomic uint64_t freed; /* [R2] */
};
_Static_assert(sizeof(struct cfb_ring_lines) == 384, "the layout two programs share");

/* Memory of one ring: slots, then data. */
struct cfb_ring_memory {
        void *bytes;
        size_t len;
        uint32_t n_slots; /* a power of two */
        uint32_t n_units; /* of data */
};

static inline size_t cfb_ring_len(uint32_t n_slots, uint32_t n_units) {
        return ((size_t)n_slots + n_units) * CFB_RING_UNIT;
}

struct cfb_ring_sender {
        struct cfb_ring_lines *lines;
        struct cfb_ring_slot *slots;
        unsigned char *data;
        uint64_t *ends;      /* by slot: the count of units used up to its message's end; owned */
        uint64_t position;   /* of the next message */
        uint64_t free_until; /* positions below may be used: what freed said when last asked */
        uint64_t freed;      /* so much of what freed said */
        uint64_t switched;   /* the first position in this memory */
        uint64_t used, gone; /* units, counted up: used so far, and of those given back */
        uint32_t mask, n_units;
        uint32_t at; /* next unit */
        uint32_t claimed_at,
                claimed_skip; /* of what is claimed: its first unit, and those left unused at the end for it */
};

struct cfb_ring_receiver {
        struct cfb_ring_lines *lines;
        const struct cfb_ring_slot *slots;
        unsigned char *data;
        uint64_t position; /* of the next message */
        uint64_t released; /* all below were given back */
        uint64_t switched; /* the first position in this memory */
        uint64_t *early;   /* bits: positions given back before an older one; owned */
        uint64_t
                early_mask; /* of those bits: as many positions as may be lent at once, in this memory and those left for it */
        uint32_t n_early;
        uint32_t mask, n_units;
};

/* A message as it stands in the ring. */
struct cfb_ring_message {
        unsigned char *bytes; /* in the ring, until released */
        uint64_t position;
        uint32_t len;
        uint16_t kind, n_descriptors;
};

/* 0 or -ENOMEM: begins at @position in @memory, which is the caller's and outlives the ring, or is left by another start. */
int cfb_ring_send_from(struct cfb_ring_sender *ring, struct cfb_ring_lines *lines,
                       const struct cfb_ring_memory *memory, uint64_t position);
int cfb_ring_receive_from(struct cfb_ring_receiver *ring, struct cfb_ring_lines *lines,
                          const struct cfb_ring_memory *memory, uint64_t position);
void cfb_ring_sender_fini(struct cfb_ring_sender *ring);
void cfb_ring_receiver_fini(struct cfb_ring_receiver *ring);

/* Asks what was given back. 1: more than was known, 0: no more, -EPROTO. */
int cfb_ring_refresh(struct cfb_ring_sender *ring);

static inline uint32_t cfb_ring_units(size_t len) {
        return len <= CFB_RING_INLINE ? 0 : (uint32_t)((len + CFB_RING_UNIT - 1) / CFB_RING_UNIT);
}

/* Whether a message of @len bytes has room as far as is known. One slot stays free for CFB_RING_MOVED. */
static inline bool cfb_ring_has_room(const struct cfb_ring_sender *ring, size_t len) {
        uint32_t units = cfb_ring_units(len), skip;

        if (ring->position + 1 >= ring->free_until)
                return false;
        skip = units > ring->n_units - ring->at ? ring->n_units - ring->at : 0;
        return ring->used - ring->gone + skip + units <= ring->n_units;
}

/* Room for a message of at most @len bytes, in one piece, in *@bytesp: 0, -EAGAIN, -EPROTO. Claiming again forgets what was claimed. */
static inline int cfb_ring_claim(struct cfb_ring_sender *ring, size_t len, unsigned char **bytesp) {
        if (__builtin_expect(!cfb_ring_has_room(ring, len), false)) {
                int r = cfb_ring_refresh(ring);

                if (r <= 0)
                        return r < 0 ? r : -EAGAIN;
                if (!cfb_ring_has_room(ring, len))
                        return -EAGAIN;
        }
        if (len <= CFB_RING_INLINE) {
                *bytesp = ring->slots[ring->position & ring->mask].bytes;
        } else {
                bool wraps = cfb_ring_units(len) > ring->n_units - ring->at;

                ring->claimed_skip = wraps ? ring->n_units - ring->at : 0;
                ring->claimed_at = wraps ? 0 : ring->at;
                *bytesp = ring->data + (size_t)ring->claimed_at * CFB_RING_UNIT;
        }
        return 0;
}

/* Publishes what was claimed with @claimed bytes, of which @len are used. Returns its position. */
static inline uint64_t cfb_ring_commit(struct cfb_ring_sender *ring, size_t claimed, size_t len,
                                       uint16_t n_descriptors) {
        uint64_t position = ring->position++;
        struct cfb_ring_slot *slot = &ring->slots[position & ring->mask];
        bool placed = claimed > CFB_RING_INLINE;

        if (placed) {
                uint32_t at = ring->claimed_at;
                uint32_t units = (uint32_t)((len + CFB_RING_UNIT - 1) / CFB_RING_UNIT);

                ring->used += ring->claimed_skip + units;
                ring->at = at + units == ring->n_units ? 0 : at + units;
                atomic_store_explicit(&slot->place, at, memory_order_relaxed);
        }
        ring->ends[position & ring->mask] = ring->used;
        atomic_store_explicit(&slot->len, (uint32_t)len, memory_order_relaxed);
        atomic_store_explicit(&slot->kind, placed ? CFB_RING_PLACED : CFB_RING_MESSAGE, memory_order_relaxed);
        atomic_store_explicit(&slot->n_descriptors, n_descriptors, memory_order_relaxed);
        atomic_store_explicit(&slot->stamp, position + 1, memory_order_release); /* [R1] */
        return position;
}

/* Publishes the last slot of this memory: the message after it is in the next, at the position returned. */
static inline uint64_t cfb_ring_move(struct cfb_ring_sender *ring) {
        uint64_t position = ring->position++;
        struct cfb_ring_slot *slot = &ring->slots[position & ring->mask];

        atomic_store_explicit(&slot->kind, CFB_RING_MOVED, memory_order_relaxed);
        atomic_store_explicit(&slot->n_descriptors, 0, memory_order_relaxed);
        atomic_store_explicit(&slot->stamp, position + 1, memory_order_release); /* [R1] */
        return ring->position;
}

/* The end comes after what was sent so far. */
static inline void cfb_ring_end(struct cfb_ring_sender *ring) {
        atomic_store_explicit(&ring->lines->end, ring->position + 1, memory_order_release); /* [R3] */
}

static inline bool cfb_ring_has_message(const struct cfb_ring_receiver *ring) {
        return atomic_load_explicit(&ring->slots[ring->position & ring->mask].stamp, memory_order_relaxed) ==
               ring->position + 1; /* [R1] take looks again, with acquire */
}

/* Whether the sender ended here: asked where there is no message. */
static inline bool cfb_ring_at_end(const struct cfb_ring_receiver *ring) {
        return atomic_load_explicit(&ring->lines->end, memory_order_acquire) == ring->position + 1; /* [R3] */
}

/* What there is where no message was: 0 for nothing yet, -EPROTO. */
int cfb_ring_nothing(const struct cfb_ring_receiver *ring, uint64_t stamp);

/* Takes the next message: 1, 0: there is none yet, -EPROTO. */
static inline int cfb_ring_take(struct cfb_ring_receiver *ring, struct cfb_ring_message *message) {
        const struct cfb_ring_slot *slot = &ring->slots[ring->position & ring->mask];
        uint64_t stamp = atomic_load_explicit(&slot->stamp, memory_order_acquire); /* [R1] */

        if (stamp != ring->position + 1)
                return cfb_ring_nothing(ring, stamp) < 0 ? -EPROTO : 0;
        message->len = atomic_load_explicit(&slot->len, memory_order_relaxed);
        message->kind = atomic_load_explicit(&slot->kind, memory_order_relaxed);
        message->n_descriptors = atomic_load_explicit(&slot->n_descriptors, memory_order_relaxed);
        message->position = ring->position;
        if (message->kind == CFB_RING_MESSAGE) {
                if (message->len > CFB_RING_INLINE)
                        return -EPROTO;
                message->bytes = (unsigned char *)(uintptr_t)slot->bytes;
        } else if (message->kind == CFB_RING_PLACED) {
                uint32_t place = atomic_load_explicit(&slot->place, memory_order_relaxed);

                if (place >= ring->n_units || message->len > (size_t)(ring->n_units - place) * CFB_RING_UNIT)
                        return -EPROTO;
                message->bytes = ring->data + (size_t)place * CFB_RING_UNIT;
        } else if (message->kind != CFB_RING_MOVED) {
                return -EPROTO;
        }
        ring->position++;
        return 1;
}

/* Out of order: keeps it in mind. */
void cfb_ring_release_early(struct cfb_ring_receiver *ring, uint64_t position);
void cfb_ring_release_kept(struct cfb_ring_receiver *ring);

/* Gives the message at @position back, in any order, once. */
static inline void cfb_ring_release(struct cfb_ring_receiver *ring, uint64_t position) {
        if (__builtin_expect(position != ring->released, false)) {
                cfb_ring_release_early(ring, position);
                return;
        }
        ring->released++;
        if (__builtin_expect(ring->n_early > 0, false))
                cfb_ring_release_kept(ring);
        atomic_store_explicit(&ring->lines->freed, ring->released, memory_order_release); /* [R2] */
}

#endif
