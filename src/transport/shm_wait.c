/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * shm:// - waiting, waking, and what comes over the socket.
 *
 * A wait spins while that has paid (shm/park.h), then sleeps on the futex for a millisecond at most, where a wake-up is quickest, then in poll on its
 * socket, where the peer's death, confab_interrupt and every other thing can be seen too. So an idle endpoint sleeps in poll and costs nothing.
 *
 * Two sockets: the connection itself is the receiving side's (bells for messages, packets with descriptors, the peer's hanging up), a pair made for
 * it is the sending side's (bells for room). So a bell never wakes, and is never drained by, the side it is not for. A bell is one packet, sent
 * without waiting: if there is no room for it, there are bells enough to wake anybody.
 *
 * confab_descriptor: an epoll descriptor over the side's socket and an eventfd of its own. The side is armed whenever it was found to have nothing; what
 * comes between arming and the last look makes the eventfd readable, what comes later rings. It is disarmed, and so the descriptor stays
 * readable, until a call finds nothing again: level-triggered, without a system call for each message.
 */
#include "base/cleanup.h"
#include "base/libc.h"
#include "base/memory.h"
#include "transport/shm_channel.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
        FUTEX_NS = 1000000,   /* the longest sleep in which only the peer's call is heard */
        PACKETS_AT_ONCE = 64, /* read in one go: a peer that never stops sending stops nobody */
        COLLECTS_MOST = 64,   /* goes of collecting until a packet that has to be there counts as a lie */
        ARRIVALS_MOST = 8,    /* packets that may wait for their messages: see keep */
};

static struct cfb_channel *channel_of(struct confab_endpoint *endpoint) {
        return cfb_state(endpoint);
}

static int side_of(uint32_t direction) {
        return direction == CONFAB_SEND ? CFB_SENDING : CFB_RECEIVING;
}

static _Atomic uint32_t *park_of(struct cfb_channel *channel, int side) {
        return side == CFB_SENDING ? &channel->out->sender_park : &channel->in->receiver_park;
}

/* --- packets --- */

union control {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int) * CFB_DESCRIPTORS_MAX)];
};

int cfb_channel_tell(struct confab_endpoint *endpoint, const struct cfb_channel_packet *packet,
                     const int *fds, unsigned n_fds) {
        union control control;
        struct iovec part = {(void *)(uintptr_t)packet, sizeof(*packet)};
        struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
        ssize_t n;

        if (n_fds) {
                memset(&control.header, 0, sizeof(control.header));
                header.msg_control = &control;
                header.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
                control.header.cmsg_level = SOL_SOCKET;
                control.header.cmsg_type = SCM_RIGHTS;
                control.header.cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
                memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * n_fds);
        }
        do
                n = cfb_sendmsg(endpoint->fds[CFB_RECEIVING], &header, MSG_DONTWAIT | MSG_NOSIGNAL);
        while (n < 0 && errno == EINTR);
        return n < 0 ? -errno : 0;
}

static void close_all(const int *fds, uint32_t n_fds) {
        for (uint32_t i = 0; i < n_fds; i++)
                close(fds[i]);
}

struct cfb_channel_arrival *cfb_channel_arrival_free(struct cfb_channel_arrival *arrival) {
        if (arrival) {
                close_all(arrival->fds, arrival->n_fds);
                cfb_release(arrival);
        }
        return NULL;
}

/*
 * Keeps what came with a packet. The descriptors are the list's from here on. A sender publishes what a packet is about before it sends
 * another one, so where two wait there is a message: else the peer only wants us to run out of descriptors.
 */
static int keep(struct cfb_channel *channel, const struct cfb_channel_packet *packet, const int *fds,
                uint32_t n_fds, bool cut) {
        struct cfb_channel_arrival *arrival, **linkp = &channel->arrivals;

        if (channel->n_arrivals >= ARRIVALS_MOST) {
                close_all(fds, n_fds);
                return -EPROTO;
        }
        arrival = cfb_allocate(sizeof(*arrival) + n_fds * sizeof(int));
        if (!arrival) {
                close_all(fds, n_fds);
                return -ENOMEM;
        }
        arrival->packet = *packet;
        arrival->cut = cut;
        arrival->n_fds = n_fds;
        memcpy(arrival->fds, fds, n_fds * sizeof(int));
        while (*linkp)
                linkp = &(*linkp)->next;
        *linkp = arrival;
        channel->n_arrivals++;
        return channel->n_arrivals > 1 && !cfb_ring_has_message(&channel->receiver) ? -EPROTO : 0;
}

static uint32_t descriptors_in(struct msghdr *header, int *fds) {
        uint32_t n_fds = 0;

        for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part))
                if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS) {
                        n_fds = (uint32_t)((part->cmsg_len - CMSG_LEN(0)) / sizeof(int));
                        memcpy(fds, CMSG_DATA(part), n_fds * sizeof(int));
                }
        return n_fds;
}

/*
 * A bell of the sending side: 1, 0: nothing there or the end. It may have come from the peer, who kept it, too, and set whatever can be set on a
 * socket; there is no room here for descriptors, so the kernel makes none, of whatever kind (SCM_RIGHTS, SCM_PIDFD).
 */
static int collect_bell(struct confab_endpoint *endpoint) {
        char bell;
        ssize_t n = recv(endpoint->fds[CFB_SENDING], &bell, 1, MSG_DONTWAIT);

        if (n > 0)
                return 1;
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return errno == EINTR;
        channel_of(endpoint)->hung_up[CFB_SENDING] = true; /* closed, or no use as a bell */
        return 0;
}

/* One packet of the connection: 1, 0: nothing there, the end, or enough, -errno. */
static int collect_one(struct confab_endpoint *endpoint) {
        struct cfb_channel *channel = channel_of(endpoint);
        struct cfb_channel_packet packet = {0};
        int fds[CFB_DESCRIPTORS_MAX];
        union control control;
        struct iovec part = {&packet, sizeof(packet)};
        struct msghdr header = {.msg_iov = &part,
                                .msg_iovlen = 1,
                                .msg_control = &control,
                                .msg_controllen = sizeof(control)};
        ssize_t n = recvmsg(endpoint->fds[CFB_RECEIVING], &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        uint32_t n_fds;

        if (n < 0 &&
            errno == ECONNRESET) { /* it went with bells of ours unread; told once, before what it sent */
                channel->hung_up[CFB_RECEIVING] = true;
                return 1;
        }
        if (n < 0)
                return errno == EAGAIN ? 0 : errno == EINTR ? 1 : -errno;
        n_fds = descriptors_in(&header, fds);
        if (n == 0) { /* the end, or an empty packet, which nobody of us sends */
                close_all(fds, n_fds);
                channel->hung_up[CFB_RECEIVING] = true;
                return 0;
        }
        if ((header.msg_flags & MSG_TRUNC) || (n_fds && (size_t)n != sizeof(packet))) {
                close_all(fds, n_fds);
                return -EPROTO;
        }
        if ((size_t)n == sizeof(packet) &&
            (packet.kind == CFB_CHANNEL_DESCRIPTORS || packet.kind == CFB_CHANNEL_MEMORY)) {
                bool cut = header.msg_flags & MSG_CTRUNC; /* no descriptors left in this process */

                if (cut) { /* a part of a set is worth nothing */
                        close_all(fds, n_fds);
                        n_fds = 0;
                }
                return keep(channel, &packet, fds, n_fds, cut); /* 0: the next is read when it is wanted */
        }
        close_all(fds, n_fds);
        return 1;
}

int cfb_channel_collect(struct confab_endpoint *endpoint, int side) {
        int r = 1;

        for (int i = 0; r > 0 && i < PACKETS_AT_ONCE; i++)
                r = side == CFB_SENDING ? collect_bell(endpoint) : collect_one(endpoint);
        return r < 0 ? cfb_channel_lies(endpoint, "packets") : 0;
}

struct cfb_channel_arrival *cfb_channel_take_arrival(struct confab_endpoint *endpoint, uint32_t kind,
                                                     uint64_t position) {
        struct cfb_channel *channel = channel_of(endpoint);
        struct cfb_channel_arrival *first = channel->arrivals;

        /* It was sent before the message was published: it is there, if behind bells. */
        for (int i = 0; !first && i < COLLECTS_MOST && !channel->failed[CFB_RECEIVING]; i++) {
                cfb_channel_collect(endpoint, CFB_RECEIVING);
                first = channel->arrivals;
        }
        if (!first || first->packet.kind != kind || first->packet.position != position)
                return NULL;
        channel->arrivals = first->next;
        channel->n_arrivals--;
        first->next = NULL;
        return first;
}

void cfb_channel_return_arrival(struct cfb_channel *channel, struct cfb_channel_arrival *arrival) {
        arrival->next = channel->arrivals;
        channel->arrivals = arrival;
        channel->n_arrivals++;
}

int cfb_channel_lies(struct confab_endpoint *endpoint, const char *field) {
        struct cfb_channel *channel = channel_of(endpoint);
        int none = 0;

        if (atomic_compare_exchange_strong(&channel->failed[CFB_RECEIVING], &none, -EPROTO)) {
                cfb_tell(CONFAB_EVENT_PEER_REFUSED, confab_address(endpoint), channel->who.pid);
                shutdown(endpoint->fds[CFB_RECEIVING], SHUT_RDWR);
                shutdown(endpoint->fds[CFB_SENDING], SHUT_RDWR);
        }
        channel->failed[CFB_SENDING] = -EPROTO;
        cfb_channel_stop(channel, CFB_RECEIVING);
        cfb_channel_stop(channel, CFB_SENDING);
        return cfb_failed_with(-EPROTO, "channel", confab_address(endpoint), NULL, field, 0, 0);
}

/* --- waking --- */

static void ring_bell(int fd) {
        static const char bell = CFB_CHANNEL_BELL;
        int saved = errno;

        while (send(fd, &bell, 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EINTR)
                ;
        errno = saved;
}

void cfb_channel_rouse(struct confab_endpoint *endpoint, int side) {
        struct cfb_channel *channel = channel_of(endpoint);
        _Atomic uint32_t *park =
                side == CFB_SENDING ? &channel->in->sender_park : &channel->out->receiver_park;

        if (side == CFB_RECEIVING &&
            atomic_load_explicit(&channel->out->receiver_gone, memory_order_relaxed)) {
                channel->failed[CFB_SENDING] =
                        -EPIPE; /* [R4] told by the next send: this one was sent before it was known */
                cfb_channel_stop(channel, CFB_SENDING);
        }
        if (cfb_park_wake(park))
                ring_bell(endpoint->fds[side]);
}

void cfb_channel_interrupt(struct confab_endpoint *endpoint) {
        struct cfb_channel *channel = channel_of(endpoint);

        if (endpoint->listening || channel->generation != cfb_generation || !channel->attached)
                return;
        for (int side = 0; side < 2; side++)
                cfb_park_poke(park_of(channel, side));
}

/* --- waiting --- */

static void show(int self_fd, bool ready) {
        uint64_t count = 1;
        ssize_t n = ready ? write(self_fd, &count, sizeof(count)) : read(self_fd, &count, sizeof(count));

        (void)n; /* EAGAIN: it is so already */
}

static bool is_ready(struct confab_endpoint *endpoint, int side) {
        struct cfb_channel *channel = channel_of(endpoint);
        int r;

        if (channel->failed[side] || channel->generation != cfb_generation)
                return true;
        if (!channel->attached && cfb_channel_attach_late(endpoint) == -EAGAIN)
                return false;
        if (channel->failed[side])
                return true;
        if (side == CFB_RECEIVING)
                return channel->deaf || channel->hung_up[side] || cfb_ring_has_message(&channel->receiver) ||
                       cfb_ring_at_end(&channel->receiver);
        if (channel->hung_up[side] ||
            atomic_load_explicit(&channel->out->receiver_gone, memory_order_relaxed)) /* [R4] */
                return true;
        if (channel->waits_for_socket) {
                struct pollfd pollfd = {.fd = endpoint->fds[CFB_RECEIVING], .events = POLLOUT};

                return poll(&pollfd, 1, 0) > 0;
        }
        if (cfb_ring_units(channel->wanted) >
            channel->sender.n_units) /* when somebody can follow to a larger ring */
                return cfb_channel_is_attached(channel);
        if (cfb_ring_has_room(&channel->sender, channel->wanted))
                return true;
        r = cfb_ring_refresh(&channel->sender); /* a lie is told by the send that follows */
        return r < 0 || (r > 0 && cfb_ring_has_room(&channel->sender, channel->wanted));
}

int cfb_channel_ready(struct confab_endpoint *endpoint, uint32_t direction) {
        return is_ready(endpoint, side_of(direction));
}

/* [P1] Arms and looks once more: true if there is something after all, then it is disarmed again. */
static bool arm(struct confab_endpoint *endpoint, int side, uint32_t bits) {
        struct cfb_channel *channel = channel_of(endpoint);
        bool ready;

        if (!channel->attached) { /* the client's HELLO comes over the socket; a look may find it */
                ready = is_ready(endpoint, side);
                if (ready || !channel->attached)
                        return ready;
        }
        /* The peer may know already that both are registered, and wake without a fence, where this end does not. */
        cfb_park_arm(park_of(channel, side), bits, channel->registered);
        if (!channel->light)
                cfb_channel_is_attached(channel);
        ready = is_ready(endpoint, side);
        if (ready)
                cfb_park_disarm(park_of(channel, side));
        return ready;
}

static int sleep_on_futex(struct confab_endpoint *endpoint, int side, uint32_t direction,
                          int64_t deadline_ns) {
        struct cfb_channel *channel = channel_of(endpoint);
        int64_t until_ns = confab_after(FUTEX_NS);
        int r;

        if (arm(endpoint, side, CFB_PARK_FUTEX))
                return 1;
        r = cfb_wait_ended(endpoint, direction);
        if (r >= 0)
                cfb_park_sleep(park_of(channel, side), until_ns < deadline_ns ? until_ns : deadline_ns);
        cfb_park_disarm(park_of(channel, side));
        return r < 0 ? r : is_ready(endpoint, side);
}

static int wait_in_poll(struct confab_endpoint *endpoint, int side, uint32_t direction, int64_t deadline_ns) {
        struct cfb_channel *channel = channel_of(endpoint);

        for (;;) {
                int r;

                if (arm(endpoint, side, CFB_PARK_BELL))
                        return 0;
                r = cfb_wait_descriptor(endpoint, direction, endpoint->fds[side], POLLIN, deadline_ns);
                cfb_park_disarm(park_of(channel, side));
                if (r < 0)
                        return r;
                r = cfb_channel_collect(endpoint, side);
                if (r < 0)
                        return r;
                if (is_ready(endpoint, side))
                        return 0;
                if (confab_now() >= deadline_ns) /* in its words; who rings for nothing keeps nobody longer */
                        return cfb_wait_descriptor(endpoint, direction, -1, 0, deadline_ns);
        }
}

/* wait=spin: never asleep; sees the peer's death and interrupts between turns. */
static int spin_on(struct confab_endpoint *endpoint, int side, uint32_t direction, int64_t deadline_ns) {
        enum { TURNS = 4096 };

        for (;;) {
                int r;

                for (int i = 0; i < TURNS; i++) {
                        if (is_ready(endpoint, side))
                                return 0;
                        cfb_spin_relax();
                }
                r = cfb_wait_ended(endpoint, direction);
                if (r >= 0)
                        r = cfb_channel_collect(endpoint, side);
                if (r < 0)
                        return r;
                if (confab_now() >= deadline_ns)
                        return cfb_wait_descriptor(endpoint, direction, endpoint->fds[side], 0,
                                                   deadline_ns); /* in its words */
        }
}

int cfb_channel_wait(struct confab_endpoint *endpoint, uint32_t direction, int64_t deadline_ns) {
        struct cfb_channel *channel = channel_of(endpoint);
        int side = side_of(direction), r;
        bool there;

        if (endpoint->listening)
                return cfb_wait_descriptor(endpoint, direction, endpoint->fds[CFB_RECEIVING], POLLIN,
                                           deadline_ns);
        if (deadline_ns <= CONFAB_NOW)
                return -EAGAIN;
        if (!channel->attached)
                return cfb_wait_descriptor(endpoint, direction, endpoint->fds[CFB_RECEIVING], POLLIN,
                                           deadline_ns);
        if (side == CFB_SENDING && channel->waits_for_socket) {
                channel->waits_for_socket = false;
                return cfb_wait_descriptor(endpoint, direction, endpoint->fds[CFB_RECEIVING], POLLOUT,
                                           deadline_ns);
        }
        if (endpoint->address.waiting == CFB_WAITING_SPIN)
                return spin_on(endpoint, side, direction, deadline_ns);
        if (endpoint->address.waiting == CFB_WAITING_AUTO) {
                cfb_spin_begin(&channel->spin[side], deadline_ns);
                do
                        there = is_ready(endpoint, side);
                while (!there && cfb_spin_next(&channel->spin[side]));
                cfb_spin_judge(&channel->spin[side], there);
                if (there)
                        return 0;
        }
        r = sleep_on_futex(endpoint, side, direction, deadline_ns);
        if (r == 0)
                r = wait_in_poll(endpoint, side, direction, deadline_ns);
        if (channel->eyes[side]
                    .epoll_fd) /* disarmed, and bells were drained: it shows what the next call finds */
                show(channel->eyes[side].self_fd, true);
        return r < 0 ? r : 0;
}

/* --- descriptors --- */

void cfb_channel_idle(struct confab_endpoint *endpoint, int side) {
        struct cfb_channel *channel = channel_of(endpoint);
        struct cfb_channel_eye *eye = &channel->eyes[side];

        if (!eye->epoll_fd)
                return;
        show(eye->self_fd, false);
        if (channel->attached)
                cfb_channel_collect(endpoint, side);
        if (arm(endpoint, side, CFB_PARK_BELL))
                show(eye->self_fd, true);
}

static int open_eye(struct confab_endpoint *endpoint, int side) {
        struct cfb_channel_eye *eye = &channel_of(endpoint)->eyes[side];
        CFB_CLEANUP(cfb_closep) int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        CFB_CLEANUP(cfb_closep) int self_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        struct epoll_event event = {.events = EPOLLIN};

        int fd = endpoint->fds[channel_of(endpoint)->attached ? side : CFB_RECEIVING];

        if (epoll_fd < 0 || self_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, self_fd, &event) < 0 ||
            epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
                return cfb_failed(-errno, "descriptor", confab_address(endpoint));
        eye->epoll_fd = cfb_steal_fd(&epoll_fd);
        eye->self_fd = cfb_steal_fd(&self_fd);
        return 0;
}

int cfb_channel_descriptor(struct confab_endpoint *endpoint, uint32_t direction, struct pollfd *pollfd) {
        struct cfb_channel *channel = channel_of(endpoint);
        int side = side_of(direction);

        if (endpoint->listening) {
                if (side == CFB_SENDING)
                        return cfb_unsupported_of(endpoint, "descriptor",
                                                  "sending on a listener: accept a connection first");
                *pollfd = (struct pollfd){.fd = endpoint->fds[CFB_RECEIVING], .events = POLLIN};
                return 0;
        }
        if (channel->generation != cfb_generation)
                return cfb_failed(-EOWNERDEAD, "descriptor", confab_address(endpoint));
        if (!channel->eyes[side].epoll_fd) {
                int r = open_eye(endpoint, side);

                if (r < 0)
                        return r;
        }
        cfb_channel_idle(endpoint, side);
        *pollfd = (struct pollfd){.fd = channel->eyes[side].epoll_fd, .events = POLLIN};
        return 0;
}

void cfb_channel_eyes_follow(struct confab_endpoint *endpoint) {
        struct cfb_channel_eye *eye = &channel_of(endpoint)->eyes[CFB_SENDING];
        struct epoll_event event = {.events = EPOLLIN};

        if (!eye->epoll_fd)
                return;
        epoll_ctl(eye->epoll_fd, EPOLL_CTL_DEL, endpoint->fds[CFB_RECEIVING], NULL);
        if (epoll_ctl(eye->epoll_fd, EPOLL_CTL_ADD, endpoint->fds[CFB_SENDING], &event) < 0)
                show(eye->self_fd, true); /* no memory: readable, so that the user asks again */
}

void cfb_channel_eyes_close(struct cfb_channel *channel) {
        for (int side = 0; side < 2; side++) {
                struct cfb_channel_eye *eye = &channel->eyes[side];

                if (eye->epoll_fd) {
                        close(eye->epoll_fd);
                        close(eye->self_fd);
                }
                *eye = (struct cfb_channel_eye){0};
        }
}
