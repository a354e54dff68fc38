/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * shm:// - messages through the rings of a channel.
 *
 * Fast paths, no system call in either:
 *   send      one comparison says that nothing is out of the ordinary; room as far as known; copy; publish; is somebody asleep?
 *   receive   the same comparison; the next slot's stamp; the message is lent where it lies
 *   release   freed moves on; is the sender asleep for want of room?
 * Everything else (descriptors, several parts, a full ring, a larger one, a peer that is not trusted, the end) goes the slow way below.
 *
 * Growth. A channel begins with rings of 16 KiB, so that an idle one costs 36 KiB. A sender that finds its ring full, or has a message that does not
 * fit, makes memory of its own for a larger one (1,024 slots and 512 KiB, or twice the message), passes it over the socket and leaves the old
 * ring by a last slot that says so; one slot is always kept free for that. The receiver gives the old memory back when nothing in it is lent any more.
 *
 * Not trusting the other end (trust=no, and always between different users): what it sent is copied before it is lent, because it could
 * change until it is given back. Rings and positions are checked either way: a process may be buggy without being hostile.
 *
 * A message with descriptors: they go over the socket first, in a packet with the message's position, then the message is published. A death
 * between the two sends neither.
 */
#include "transport/shm_channel.h"
#include "base/cleanup.h"
#include "base/memory.h"
#include "core/message.h"

#include <sys/socket.h>
#include <unistd.h>

enum {
        GROWN_SLOTS = 1024,
        GROWN_UNITS = 8192, /* each larger one has at least twice the units, so there are few of them */
        LOOKS_APART = 256,  /* fruitless receives between two that ask whether the peer is there */
};

#define RING_MOST \
        (SIZE_MAX / 2 - (size_t)CFB_RING_SLOTS_MOST * CFB_RING_UNIT) /* bytes of data: a matter of 32 bits */

static struct cfb_channel *channel_of(struct confab_endpoint *endpoint) {
        return cfb_state(endpoint);
}

static int failed(struct confab_endpoint *endpoint, int error, const char *call, const char *sentence) {
        return cfb_failed_with(error, call, confab_address(endpoint), NULL, sentence, 0, 0);
}

/* What stands against a call of @side, where the generation does not say that nothing does; 0: only that it has not been asked since. */
static int why_not(struct confab_endpoint *endpoint, int side, const char *call) {
        struct cfb_channel *channel = channel_of(endpoint);
        int error = channel->failed[side];

        if (channel->generation != cfb_generation)
                return failed(endpoint, -EOWNERDEAD, call,
                              "the end belongs to the process this one was forked from; open one here, or "
                              "take over one of a "
                              "pair with confab_adopt");
        if (!channel->attached && !error) { /* accepted before its client said HELLO */
                int r = cfb_channel_attach_late(endpoint);

                if (r < 0)
                        return r;
        }
        if (side == CFB_SENDING && channel->claimed)
                return failed(endpoint, -EBUSY, call, "the last claim was neither committed nor aborted");
        if (error == -EPIPE)
                return failed(endpoint, error, call,
                              channel->told_end ? "this end was shut down for sending" : "the peer has gone");
        if (error == -ECONNRESET)
                return failed(endpoint, error, call, "the client went away before it said anything");
        if (error == -EMFILE)
                return failed(endpoint, error, call,
                              "there was no descriptor left for the memory of a larger ring (RLIMIT_NOFILE); "
                              "what came after is lost");
        return error ? failed(endpoint, error, call, "the peer does not keep to the rules of the channel")
                     : 0;
}

/* --- sending --- */

static void copy_parts(unsigned char *to, const struct confab_message *message) {
        if (!message->n_iov) {
                if (message->data_len)
                        memcpy(to, message->data, message->data_len);
                return;
        }
        for (uint32_t i = 0; i < message->n_iov; i++) {
                if (message->iov[i].iov_len)
                        memcpy(to, message->iov[i].iov_base, message->iov[i].iov_len);
                to += message->iov[i].iov_len;
        }
}

/* Small ones by overlapping moves: a call of memcpy costs as much as the rest of a send. */
static inline void copy_in(unsigned char *to, const unsigned char *from, size_t len) {
        if (len >= 16 && len <= 64) {
                unsigned char a[16], b[16], c[16], d[16];
                size_t half = len >= 32 ? 16 : 0;

                memcpy(a, from, 16);
                memcpy(b, from + half, 16);
                memcpy(c, from + len - 16 - half, 16);
                memcpy(d, from + len - 16, 16);
                memcpy(to, a, 16);
                memcpy(to + half, b, 16);
                memcpy(to + len - 16 - half, c, 16);
                memcpy(to + len - 16, d, 16);
        } else if (len) {
                memcpy(to, from, len);
        }
}

static inline bool is_light(const struct cfb_channel *channel) {
        return atomic_load_explicit(&channel->light, memory_order_relaxed);
}

/* [P1] What was published is there for the peer; wakes it where it sleeps. */
static inline void published(struct confab_endpoint *endpoint, struct cfb_channel *channel) {
        if (__builtin_expect(cfb_park_look(&channel->out->receiver_park, is_light(channel)) |
                                     atomic_load_explicit(&channel->out->receiver_gone, memory_order_relaxed),
                             0))
                cfb_channel_rouse(endpoint, CFB_RECEIVING);
        if (__builtin_expect(channel->eyes[CFB_SENDING].epoll_fd, 0) &&
            !cfb_ring_has_room(&channel->sender, 0))
                cfb_channel_idle(endpoint,
                                 CFB_SENDING); /* a descriptor is watched: it shows that there is no room */
}

bool cfb_channel_is_attached(struct cfb_channel *channel) {
        struct cfb_channel_end *other = &channel->shared->ends[!channel->end];
        uint32_t flags = atomic_load_explicit(&other->flags, memory_order_acquire); /* [C1] */

        bool light = channel->registered && (flags & CFB_CHANNEL_REGISTERED);

        if (light != is_light(channel)) /* both sides' threads ask; it changes once */
                atomic_store_explicit(&channel->light, light, memory_order_relaxed);
        return flags & CFB_CHANNEL_ATTACHED;
}

static uint32_t power_of_two(uint64_t least) {
        uint64_t value = 1;

        while (value < least)
                value *= 2;
        return (uint32_t)value;
}

/* Moves the sending ring to memory where @len bytes fit. 0, -EAGAIN: not now, -errno recorded. */
static int grow(struct confab_endpoint *endpoint, size_t len) {
        struct cfb_channel *channel = channel_of(endpoint);
        uint64_t units = (uint64_t)cfb_ring_units(len) * 2;
        struct cfb_channel_packet packet = {.kind = CFB_CHANNEL_MEMORY,
                                            .position = channel->sender.position + 1};
        struct cfb_ring_memory memory = {.n_slots = GROWN_SLOTS};
        struct cfb_ring_sender next = {0};
        CFB_CLEANUP(cfb_closep) int fd = -1;
        int r;

        memory.n_units = units > GROWN_UNITS ? power_of_two(units) : GROWN_UNITS;
        if ((uint64_t)memory.n_units * CFB_RING_UNIT > RING_MOST)
                return failed(endpoint, -ENOMEM, "send",
                              "there is no address space for a ring the message fits into");
        memory.len = cfb_ring_len(memory.n_slots, memory.n_units);
        fd = cfb_shared_new("confab-ring", memory.len);
        r = fd < 0 ? fd : cfb_shared_map(&memory.bytes, fd, memory.len);
        if (r < 0)
                return cfb_failed_with(r, "send", confab_address(endpoint), NULL,
                                       "there is no memory for a ring the message fits into", 0, 0);
        packet.n_slots = memory.n_slots;
        packet.n_units = memory.n_units;
        r = cfb_ring_send_from(&next, channel->out, &memory, packet.position);
        if (r >= 0)
                r = cfb_channel_tell(endpoint, &packet, &fd, 1);
        if (r < 0) {
                cfb_ring_sender_fini(&next);
                cfb_shared_unmap(memory.bytes, memory.len);
                return r == -EAGAIN ? r : cfb_failed(r, "send", confab_address(endpoint));
        }
        cfb_ring_move(&channel->sender);
        cfb_ring_sender_fini(&channel->sender);
        cfb_shared_unmap(channel->out_memory.bytes, channel->out_memory.len);
        channel->sender = next;
        channel->out_memory = memory;
        published(endpoint, channel);
        return 0;
}

/* Whether the peer can still receive; asks the socket. */
static int peer_is_there(struct confab_endpoint *endpoint, const char *call) {
        struct cfb_channel *channel = channel_of(endpoint);
        int r = cfb_channel_collect(endpoint, CFB_SENDING);

        if (r < 0)
                return r;
        if (channel->hung_up[CFB_SENDING] ||
            atomic_load_explicit(&channel->out->receiver_gone, memory_order_relaxed)) { /* [R4] */
                channel->failed[CFB_SENDING] = -EPIPE;
                cfb_channel_stop(channel, CFB_SENDING);
                return why_not(endpoint, CFB_SENDING, call);
        }
        return 0;
}

/* Room for @len bytes in *@bytesp, in a larger ring if need be. 0, -EAGAIN, -errno recorded. */
static int make_room(struct confab_endpoint *endpoint, size_t len, unsigned char **bytesp, const char *call) {
        struct cfb_channel *channel = channel_of(endpoint);
        struct cfb_ring_sender *ring = &channel->sender;
        bool too_small = cfb_ring_units(len) > ring->n_units;
        int r = cfb_ring_claim(ring, len, bytesp);

        if (r == -EPROTO)
                return cfb_channel_lies(endpoint, "freed");
        if (r == 0)
                return 0;
        channel->wanted = len;
        r = peer_is_there(endpoint, call);
        if (r < 0)
                return r;
        if (too_small || (ring->mask + 1 < GROWN_SLOTS && !channel->stays)) {
                uint64_t max = UINT64_MAX;

                /* Whoever has not looked at its HELLO yet takes at least the next larger ring. */
                if (cfb_channel_is_attached(channel)) {
                        max = atomic_load_explicit(&channel->shared->ends[!channel->end].max,
                                                   memory_order_relaxed);
                } else if (cfb_ring_units(len) > GROWN_UNITS / 2) {
                        cfb_channel_idle(endpoint, CFB_SENDING);
                        return -EAGAIN;
                }
                if (len > max)
                        return (int)cfb_too_large(endpoint, call, len, max);
                r = grow(endpoint, len);
                if (r == 0)
                        r = cfb_ring_claim(ring, len, bytesp);
                else if (r == -EAGAIN)
                        channel->waits_for_socket = true;
                else if (!too_small) { /* it goes on in the small one */
                        channel->stays = true;
                        r = -EAGAIN;
                }
                if (r != -EAGAIN)
                        return r;
        }
        cfb_channel_idle(endpoint, CFB_SENDING);
        return -EAGAIN;
}

static int64_t send_slowly(struct confab_endpoint *endpoint, const struct confab_message *message) {
        struct cfb_channel *channel = channel_of(endpoint);
        uint64_t len = cfb_message_len(message);
        unsigned char *bytes;
        int r = why_not(endpoint, CFB_SENDING, "send");

        if (r < 0)
                return r;
        channel->waits_for_socket = false;
        if (len > endpoint->max)
                return cfb_too_large(endpoint, "send", len, endpoint->max);
        r = make_room(endpoint, len, &bytes, "send");
        if (r < 0)
                return r;
        if (message->n_descriptors) {
                struct cfb_channel_packet packet = {.kind = CFB_CHANNEL_DESCRIPTORS,
                                                    .position = channel->sender.position};

                r = cfb_channel_tell(endpoint, &packet, message->descriptors, message->n_descriptors);
                if (r == -EAGAIN)
                        channel->waits_for_socket = true;
                if (r < 0)
                        return r == -EAGAIN ? r : cfb_failed(r, "send", confab_address(endpoint));
        }
        copy_parts(bytes, message);
        cfb_ring_commit(&channel->sender, len, len, (uint16_t)message->n_descriptors);
        published(endpoint, channel);
        return (int64_t)len;
}

int64_t cfb_channel_send(struct confab_endpoint *endpoint, const struct confab_message *message) {
        struct cfb_channel *channel = channel_of(endpoint);
        size_t len = message->data_len;
        unsigned char *bytes;

        if (__builtin_expect(!cfb_channel_is_open(channel, CFB_SENDING) ||
                                     (message->n_iov | message->n_descriptors),
                             false) ||
            __builtin_expect(cfb_ring_claim(&channel->sender, len, &bytes) < 0, false))
                return send_slowly(endpoint, message);
        copy_in(bytes, message->data, len);
        cfb_ring_commit(&channel->sender, len, len, 0);
        published(endpoint, channel);
        return (int64_t)len;
}

/* One publication each, one look for a sleeper after all. */
int cfb_channel_send_many(struct confab_endpoint *endpoint, const struct confab_message *messages,
                          unsigned n_messages) {
        struct cfb_channel *channel = channel_of(endpoint);
        unsigned n_sent = 0;
        unsigned char *bytes;

        while (n_sent < n_messages && cfb_channel_is_open(channel, CFB_SENDING)) {
                const struct confab_message *message = &messages[n_sent];

                if ((message->n_iov | message->n_descriptors) ||
                    cfb_ring_claim(&channel->sender, message->data_len, &bytes) < 0)
                        break;
                copy_in(bytes, message->data, message->data_len);
                cfb_ring_commit(&channel->sender, message->data_len, message->data_len, 0);
                n_sent++;
        }
        if (n_sent)
                published(endpoint, channel);
        while (n_sent < n_messages) {
                int64_t n = send_slowly(endpoint, &messages[n_sent]);

                if (n < 0)
                        return n_sent ? (int)n_sent : (int)n;
                n_sent++;
        }
        return (int)n_sent;
}

/* --- in place --- */

int cfb_channel_claim(struct confab_endpoint *endpoint, void **datap, size_t data_len) {
        struct cfb_channel *channel = channel_of(endpoint);
        unsigned char *bytes = NULL;
        int r = 0;

        if (!cfb_channel_is_open(channel, CFB_SENDING))
                r = why_not(endpoint, CFB_SENDING, "claim");
        if (r >= 0 && cfb_ring_claim(&channel->sender, data_len, &bytes) < 0)
                r = make_room(endpoint, data_len, &bytes, "claim");
        if (r < 0)
                return r;
        *datap = bytes;
        channel->claimed = true;
        cfb_channel_stop(channel, CFB_SENDING); /* a send in between would take its room */
        return 0;
}

static void unclaim(struct cfb_channel *channel) {
        channel->claimed = false;
        atomic_store_explicit(&channel->open_generation[CFB_SENDING], channel->generation,
                              memory_order_relaxed);
        if (channel->failed
                    [CFB_SENDING]) /* [C3] seq_cst, as the store: whoever sets it stops the side afterwards */
                cfb_channel_stop(channel, CFB_SENDING);
}

int64_t cfb_channel_commit(struct confab_endpoint *endpoint, const struct confab_message *message) {
        struct cfb_channel *channel = channel_of(endpoint);
        int r;

        channel->claimed = false; /* for why_not */
        channel->waits_for_socket = false;
        r = why_not(endpoint, CFB_SENDING, "commit");
        if (r >= 0 && message->n_descriptors) {
                struct cfb_channel_packet packet = {.kind = CFB_CHANNEL_DESCRIPTORS,
                                                    .position = channel->sender.position};

                r = cfb_channel_tell(endpoint, &packet, message->descriptors, message->n_descriptors);
                if (r == -EAGAIN) {
                        channel->claimed = true; /* still; the caller tries again */
                        channel->waits_for_socket = true;
                        return r;
                }
                if (r < 0)
                        cfb_failed(r, "commit", confab_address(endpoint));
        }
        unclaim(channel);
        if (r < 0)
                return r;
        cfb_ring_commit(&channel->sender, endpoint->claim_len, message->data_len,
                        (uint16_t)message->n_descriptors);
        published(endpoint, channel);
        return (int64_t)message->data_len;
}

void cfb_channel_abort(struct confab_endpoint *endpoint) {
        unclaim(channel_of(endpoint));
}

/* --- receiving --- */

/* A lender is odd where it is a position: buffers lie at even places. Its lowest bits are enough: fewer are lent at once. */
static void *mark_of(uint64_t position) {
        return (void *)((uintptr_t)position << 1 | 1);
}

static uint64_t position_of(const struct cfb_ring_receiver *ring, const void *lender) {
        uintptr_t low = (uintptr_t)lender >> 1, mask = UINTPTR_MAX >> 1;

        return ring->released + ((low - (uintptr_t)ring->released) & mask);
}

/* [P1] Room was given back: wakes the sender where it sleeps for it. */
static inline void gave_back(struct confab_endpoint *endpoint, struct cfb_channel *channel) {
        if (__builtin_expect(cfb_park_look(&channel->in->sender_park, is_light(channel)), 0))
                cfb_channel_rouse(endpoint, CFB_SENDING);
}

static void unmap_left(struct cfb_channel *channel) {
        while (channel->left && channel->receiver.released >= channel->left->until) {
                struct cfb_channel_left *left = channel->left;

                channel->left = left->next;
                cfb_shared_unmap(left->memory.bytes, left->memory.len);
                cfb_release(left);
        }
}

static void give_back(struct confab_endpoint *endpoint, uint64_t position) {
        struct cfb_channel *channel = channel_of(endpoint);

        cfb_ring_release(&channel->receiver, position);
        if (__builtin_expect(channel->left != NULL, false))
                unmap_left(channel);
        gave_back(endpoint, channel);
}

/* The slot at @position says that what follows is in other memory, which came over the socket before it. */
static int move(struct confab_endpoint *endpoint, uint64_t position) {
        struct cfb_channel *channel = channel_of(endpoint);
        struct cfb_ring_memory old = channel->in_memory, memory = {0};
        struct cfb_channel_arrival *arrival =
                cfb_channel_take_arrival(endpoint, CFB_CHANNEL_MEMORY, position + 1);
        struct cfb_channel_left *left = NULL, **linkp = &channel->left;
        uint64_t most = (endpoint->max + (uint64_t)GROWN_UNITS * CFB_RING_UNIT) * 4;
        size_t len;
        int r = -EPROTO;

        if (arrival && arrival->cut) { /* without the memory there is no going on */
                channel->failed[CFB_RECEIVING] = -EMFILE;
                cfb_channel_stop(channel, CFB_RECEIVING);
                cfb_channel_arrival_free(arrival);
                return why_not(endpoint, CFB_RECEIVING, "receive");
        }
        if (!arrival || arrival->n_fds != 1)
                goto out;
        memory.n_slots = arrival->packet.n_slots;
        memory.n_units = arrival->packet.n_units;
        if (memory.n_slots < channel->receiver.mask + 1 || memory.n_slots > CFB_RING_SLOTS_MOST ||
            (memory.n_slots & (memory.n_slots - 1)) || memory.n_units / 2 < channel->receiver.n_units ||
            memory.n_units > most / CFB_RING_UNIT || (uint64_t)memory.n_units * CFB_RING_UNIT > RING_MOST)
                goto out;
        memory.len = cfb_ring_len(memory.n_slots, memory.n_units);
        r = cfb_shared_check(arrival->fds[0], memory.len, memory.len, &len);
        if (r < 0)
                goto out;
        left = old.bytes ? cfb_allocate(sizeof(*left)) : NULL;
        r = old.bytes && !left ? -ENOMEM : cfb_shared_map(&memory.bytes, arrival->fds[0], memory.len);
        if (r < 0)
                goto out;
        r = cfb_ring_receive_from(&channel->receiver, channel->in, &memory, position + 1);
        if (r < 0) {
                cfb_shared_unmap(memory.bytes, memory.len);
                goto out;
        }
        channel->in_memory = memory;
        if (left) {
                *left = (struct cfb_channel_left){.memory = old, .until = position + 1};
                while (*linkp)
                        linkp = &(*linkp)->next;
                *linkp = left;
                left = NULL;
        }
        give_back(endpoint, position);
out:
        cfb_release(left);
        if (r < 0 && r != -EPROTO) { /* ours to mend: it stays for a better time */
                cfb_channel_return_arrival(channel, arrival);
                channel->receiver.position = position;
        } else {
                cfb_channel_arrival_free(arrival);
        }
        return r == -EPROTO ? cfb_channel_lies(endpoint, "memory")
               : r < 0      ? cfb_failed(r, "receive", confab_address(endpoint))
                            : 0;
}

/* This process has no descriptors left for what came with @found: as unix:// does, the message is refused and the next one is fine. */
static int refused_descriptors(struct confab_endpoint *endpoint, const struct cfb_ring_message *found) {
        give_back(endpoint, found->position);
        cfb_tell(CONFAB_EVENT_DESCRIPTORS_REFUSED, confab_address(endpoint), found->n_descriptors);
        return failed(endpoint, -EMSGSIZE, "receive",
                      "there were no descriptors left for those the message brought (RLIMIT_NOFILE); it was "
                      "dropped");
}

/* Copies the message at @found out of the ring, takes its descriptors, gives it back. 1 or -errno recorded. */
static int copy_out(struct confab_endpoint *endpoint, struct confab_message *message,
                    const struct cfb_ring_message *found) {
        struct cfb_channel *channel = channel_of(endpoint);
        struct cfb_channel_arrival *arrival = NULL;
        struct cfb_buffer *buffer;
        int r = 0;

        if (!channel->copies)
                r = cfb_pool_new(&channel->copies, 4096);
        if (r < 0)
                return cfb_failed(r, "receive", confab_address(endpoint));
        buffer = found->len > 4096 ? cfb_buffer_take_large(channel->copies, found->len)
                                   : cfb_buffer_take(channel->copies);
        if (!buffer)
                return cfb_failed(-ENOMEM, "receive", confab_address(endpoint));
        if (found->n_descriptors) {
                arrival = cfb_channel_take_arrival(endpoint, CFB_CHANNEL_DESCRIPTORS, found->position);
                if (arrival && arrival->cut) {
                        cfb_buffer_unref(buffer);
                        cfb_channel_arrival_free(arrival);
                        return refused_descriptors(endpoint, found);
                }
                if (!arrival || arrival->n_fds != found->n_descriptors) {
                        cfb_buffer_unref(buffer);
                        cfb_channel_arrival_free(arrival);
                        return cfb_channel_lies(endpoint, "descriptors");
                }
                memcpy(buffer->descriptors, arrival->fds, arrival->n_fds * sizeof(int));
                buffer->n_descriptors = arrival->n_fds;
                arrival->n_fds = 0;
                cfb_channel_arrival_free(arrival);
        }
        memcpy(buffer->bytes, found->bytes, found->len);
        message->data = buffer->bytes;
        message->data_len = found->len;
        message->descriptors = buffer->n_descriptors ? buffer->descriptors : NULL;
        message->n_descriptors = buffer->n_descriptors;
        message->lender = buffer;
        give_back(endpoint, found->position);
        return 1;
}

/* Nothing in the ring: the end, an error, or -EAGAIN. */
static int nothing_there(struct confab_endpoint *endpoint) {
        struct cfb_channel *channel = channel_of(endpoint);
        int r;

        if (cfb_ring_at_end(&channel->receiver))
                return cfb_ring_has_message(&channel->receiver) ? -EINTR
                                                                : 0; /* [R3] seen by now, if there was one */
        if (!channel->hung_up[CFB_RECEIVING] && ++channel->looks < LOOKS_APART &&
            !channel->eyes[CFB_RECEIVING].epoll_fd)
                return -EAGAIN;
        channel->looks = 0;
        cfb_channel_idle(endpoint, CFB_RECEIVING);
        if (!channel->hung_up[CFB_RECEIVING]) {
                r = cfb_channel_collect(endpoint, CFB_RECEIVING);
                if (r < 0)
                        return r;
        }
        if (cfb_ring_has_message(&channel->receiver) || cfb_ring_at_end(&channel->receiver))
                return -EAGAIN; /* just now: the next look finds it */
        if (!channel->hung_up[CFB_RECEIVING])
                return -EAGAIN;
        return 0; /* closed, exited or killed: all it sent has been received */
}

/* A message that is not simply lent where it lies. */
static int deliver(struct confab_endpoint *endpoint, struct confab_message *message,
                   const struct cfb_ring_message *found) {
        struct cfb_channel *channel = channel_of(endpoint);
        int r;

        if (found->kind == CFB_RING_MOVED) {
                r = move(endpoint, found->position);
                return r < 0 ? r : -EINTR; /* once more, in the other memory */
        }
        if (found->len > endpoint->max) {
                if (found->n_descriptors) /* dropped with it, else the next message's would not be the first */
                        cfb_channel_arrival_free(
                                cfb_channel_take_arrival(endpoint, CFB_CHANNEL_DESCRIPTORS, found->position));
                give_back(endpoint, found->position);
                return (int)cfb_too_large(endpoint, "receive", found->len, endpoint->max);
        }
        r = copy_out(endpoint, message, found);
        if (r == -ENOMEM)
                channel->receiver.position = found->position; /* it stays for a better time */
        else if (channel->eyes[CFB_RECEIVING].epoll_fd && !cfb_ring_has_message(&channel->receiver))
                cfb_channel_idle(endpoint, CFB_RECEIVING);
        return r;
}

int cfb_channel_receive(struct confab_endpoint *endpoint, struct confab_message *message,
                        struct cfb_buffer **bufferp, const struct confab_filter *filter) {
        struct cfb_channel *channel = channel_of(endpoint);
        struct cfb_ring_message found;
        int r;

        (void)bufferp;
        (void)filter;
        if (!cfb_channel_is_open(channel, CFB_RECEIVING)) {
                r = why_not(endpoint, CFB_RECEIVING, "receive");
                if (r < 0 || channel->deaf)
                        return r;
        }
        r = cfb_ring_take(&channel->receiver, &found);
        if (__builtin_expect(r != 1, false))
                return r < 0 ? cfb_channel_lies(endpoint, "slot") : nothing_there(endpoint);
        if (__builtin_expect(!channel->in_place || found.kind == CFB_RING_MOVED || found.n_descriptors ||
                                     found.len > endpoint->max,
                             false))
                return deliver(endpoint, message, &found);
        message->data = found.bytes;
        message->data_len = found.len;
        message->lender = mark_of(found.position);
        if (__builtin_expect(channel->eyes[CFB_RECEIVING].epoll_fd, 0) &&
            !cfb_ring_has_message(&channel->receiver))
                cfb_channel_idle(endpoint,
                                 CFB_RECEIVING); /* a descriptor is watched: it shows that nothing is left */
        return 1;
}

void cfb_channel_release(struct confab_endpoint *endpoint, struct confab_message *message) {
        struct cfb_channel *channel = channel_of(endpoint);

        if (!((uintptr_t)message->lender & 1)) {
                cfb_buffer_unref(message->lender);
                return;
        }
        if (channel->generation == cfb_generation && channel->attached)
                give_back(endpoint, position_of(&channel->receiver, message->lender));
}

/* --- the end --- */

int cfb_channel_shutdown(struct confab_endpoint *endpoint, uint32_t direction) {
        struct cfb_channel *channel = channel_of(endpoint);

        if (channel->generation != cfb_generation || !channel->attached) {
                int r = why_not(endpoint, CFB_SENDING, "shutdown");

                if (r < 0)
                        return r == -EAGAIN ? failed(endpoint, -ENOTCONN, "shutdown",
                                                     "the client is not there yet")
                                            : r;
        }
        if ((direction & CONFAB_SEND) && !channel->told_end) {
                cfb_ring_end(&channel->sender);
                channel->told_end = true;
                channel->failed[CFB_SENDING] = -EPIPE;
                cfb_channel_stop(channel, CFB_SENDING);
                published(endpoint, channel);
        }
        if (direction & CONFAB_RECEIVE) {
                atomic_store_explicit(&channel->in->receiver_gone, 1, memory_order_release); /* [R4] */
                channel->deaf = true;
                cfb_channel_stop(channel, CFB_RECEIVING);
                gave_back(endpoint, channel);
        }
        return 0;
}
