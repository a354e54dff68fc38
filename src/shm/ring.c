/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* The slow parts of the ring: beginning, asking for room, giving back out of order. How it works: ring.h. */
#include "shm/ring.h"
#include "base/memory.h"

/* Positions that may be lent at once: those of this memory, and all before it that are not given back; as a power of two, at least 64. */
static uint64_t n_kept(uint32_t n_slots, uint64_t n_before) {
        uint64_t n = 64;

        while (n < n_slots + n_before)
                n *= 2;
        return n;
}

int cfb_ring_send_from(struct cfb_ring_sender *ring, struct cfb_ring_lines *lines,
                       const struct cfb_ring_memory *memory, uint64_t position) {
        uint64_t *ends = cfb_allocate(memory->n_slots * sizeof(*ends));

        if (!ends)
                return -ENOMEM;
        cfb_release(ring->ends);
        *ring = (struct cfb_ring_sender){
                .lines = lines,
                .slots = memory->bytes,
                .data = (unsigned char *)memory->bytes + (size_t)memory->n_slots * CFB_RING_UNIT,
                .ends = ends,
                .position = position,
                .freed = position,
                .switched = position,
                .free_until = position + memory->n_slots,
                .mask = memory->n_slots - 1,
                .n_units = memory->n_units,
        };
        return 0;
}

int cfb_ring_receive_from(struct cfb_ring_receiver *ring, struct cfb_ring_lines *lines,
                          const struct cfb_ring_memory *memory, uint64_t position) {
        struct cfb_ring_receiver old = *ring;
        uint64_t n = n_kept(memory->n_slots, old.early ? position - old.released : 0);
        uint64_t *early = cfb_allocate((size_t)(n / 64) * sizeof(*early));

        if (!early)
                return -ENOMEM;
        *ring = (struct cfb_ring_receiver){
                .lines = lines,
                .slots = memory->bytes,
                .data = (unsigned char *)memory->bytes + (size_t)memory->n_slots * CFB_RING_UNIT,
                .position = position,
                .released = position,
                .switched = position,
                .early = early,
                .early_mask = n - 1,
                .mask = memory->n_slots - 1,
                .n_units = memory->n_units,
        };
        if (old.early) { /* what is still lent of the old one is given back here */
                ring->released = old.released;
                for (uint64_t p = old.released; p < position; p++)
                        if (old.early[(p & old.early_mask) / 64] >> (p % 64) & 1)
                                cfb_ring_release_early(ring, p);
                cfb_release(old.early);
        }
        return 0;
}

void cfb_ring_sender_fini(struct cfb_ring_sender *ring) {
        cfb_release(ring->ends);
        *ring = (struct cfb_ring_sender){0};
}

void cfb_ring_receiver_fini(struct cfb_ring_receiver *ring) {
        cfb_release(ring->early);
        *ring = (struct cfb_ring_receiver){0};
}

int cfb_ring_refresh(struct cfb_ring_sender *ring) {
        uint64_t freed = atomic_load_explicit(&ring->lines->freed, memory_order_acquire); /* [R2] */

        if (freed == ring->freed || freed < ring->switched)
                return freed > ring->position ? -EPROTO : 0;
        if (freed < ring->freed || freed > ring->position)
                return -EPROTO;
        ring->freed = freed;
        ring->free_until = freed + ring->mask + 1;
        if (freed > ring->switched)
                ring->gone = ring->ends[(freed - 1) & ring->mask];
        if (ring->used == ring->gone) /* nothing is there: all of it in one piece */
                ring->at = 0;
        return 1;
}

int cfb_ring_nothing(const struct cfb_ring_receiver *ring, uint64_t stamp) {
        uint64_t n_slots = (uint64_t)ring->mask + 1, position = ring->position;
        uint64_t before = position - ring->switched < n_slots ? 0 : position + 1 - n_slots;

        return stamp == before ? 0 : -EPROTO;
}

static uint64_t *word_of(struct cfb_ring_receiver *ring, uint64_t position) {
        return &ring->early[(position & ring->early_mask) / 64];
}

void cfb_ring_release_early(struct cfb_ring_receiver *ring, uint64_t position) {
        *word_of(ring, position) |= UINT64_C(1) << (position % 64);
        ring->n_early++;
}

void cfb_ring_release_kept(struct cfb_ring_receiver *ring) {
        while (ring->n_early > 0 && (*word_of(ring, ring->released) >> (ring->released % 64) & 1)) {
                *word_of(ring, ring->released) &= ~(UINT64_C(1) << (ring->released % 64));
                ring->n_early--;
                ring->released++;
        }
}
