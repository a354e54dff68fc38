/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Waiting: for one side of an endpoint, for several endpoints, and how confab_interrupt and close end it.
 *
 *   [W1] a waiter:   waiter[side] = its wake descriptor;  look at closing and interrupts;  poll(descriptor, wake descriptor)
 *        the other:  closing or interrupts = new;         read waiter[side];               write to the wake descriptor
 *
 * All four accesses are sequentially consistent: either the waiter sees the news before it sleeps, or the other sees the waiter and
 * its write makes the poll return. Cost of a wait: one ppoll (and the read that drains the wake descriptor when woken by it).
 */
#include "base/cancel.h"
#include "base/memory.h"
#include "base/wake.h"
#include "core/endpoint.h"
#include "core/framed.h"
#include "core/transport.h"

#include <errno.h>

static const char *side_name(int side) {
        return side == CFB_SENDING ? "send" : "receive";
}

/* What a wait was for is what its side lacked: who sends to a full queue needs another advice than who hears nothing. */
static size_t explain_late(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: %s: the deadline passed: %s", failure->subject, failure->call,
                   failure->a == CFB_SENDING
                           ? "there was no room, the other side did not receive; give it more time, or see "
                             "whether it still runs"
                           : "nothing came; give it more time, or see whether the other side still runs");
        return used;
}

static int too_late(const confab_endpoint *endpoint, int side) {
        return cfb_failed_with(-ETIMEDOUT, side_name(side), confab_address(endpoint), explain_late, NULL,
                               side, 0);
}

static int side_of(uint32_t direction) {
        return direction == CONFAB_SEND ? CFB_SENDING : CFB_RECEIVING;
}

int cfb_closed_by_another(confab_endpoint *endpoint, const char *call) {
        return cfb_failed(-ECANCELED, call, confab_address(endpoint));
}

/* After [W1]: what ends a wait whatever else happens. */
static int ended(confab_endpoint *endpoint, int side) {
        uint32_t interrupts;

        if (atomic_load(&endpoint->closing))
                return cfb_closed_by_another(endpoint, side_name(side));
        interrupts = atomic_load(&endpoint->interrupts);
        if (interrupts != endpoint->interrupts_seen[side]) {
                endpoint->interrupts_seen[side] = interrupts;
                return cfb_failed(-EINTR, side_name(side), confab_address(endpoint));
        }
        return 0;
}

int cfb_wait_ended(confab_endpoint *endpoint, uint32_t direction) {
        return ended(endpoint, side_of(direction));
}

/* poll until ready (its count) or the deadline (0), over signals; @fds[n_fds] is the wake descriptor's place. */
static int poll_over_signals(struct confab_endpoint *endpoint, int side, struct pollfd *fds, unsigned n_fds,
                             int64_t deadline_ns) {
        int r;

        for (;;) {
                /* Each time: the signal's handler may have forked, and this be the child. */
                int wake = cfb_wake_descriptor();

                if (wake < 0)
                        return wake;
                fds[n_fds] = (struct pollfd){.fd = wake, .events = POLLIN};
                cfb_wake_publish(&endpoint->waiter[side], wake); /* [W1] */
                r = ended(endpoint, side);
                if (r < 0)
                        break;
                r = cfb_poll(fds, n_fds + 1, deadline_ns);
                if (r == -EINTR)
                        continue;
                if (r < 0) {
                        cfb_failed(r, "ppoll", confab_address(endpoint));
                        break;
                }
                if (!(r > 0 && fds[n_fds].revents))
                        break;
                cfb_wake_drain(
                        wake); /* by ended's reasons, or by a late one meant for this thread's wait before */
        }
        cfb_wake_publish(&endpoint->waiter[side], -1); /* [W1] */
        return r;
}

int cfb_wait_descriptor(confab_endpoint *endpoint, uint32_t direction, int fd, short events,
                        int64_t deadline_ns) {
        struct pollfd fds[2] = {{.fd = fd, .events = events}};
        int side = side_of(direction), r;

        if (deadline_ns <= CONFAB_NOW)
                return -EAGAIN;
        r = poll_over_signals(endpoint, side, fds, 1, deadline_ns);
        if (r == 0)
                return too_late(endpoint, side);
        return r < 0 ? r : 0;
}

int cfb_wait_nap(confab_endpoint *endpoint, uint32_t direction, int64_t nap_ns, int64_t deadline_ns) {
        struct pollfd fds[1];
        int side = side_of(direction), r;
        int64_t until_ns;

        if (deadline_ns <= CONFAB_NOW)
                return -EAGAIN;
        if (confab_now() >= deadline_ns)
                return too_late(endpoint, side);
        until_ns = confab_after(nap_ns);
        if (until_ns > deadline_ns)
                until_ns = deadline_ns;
        r = poll_over_signals(endpoint, side, fds, 0, until_ns);
        return r < 0 ? r : 0;
}

int cfb_wait_direction(confab_endpoint *endpoint, uint32_t direction, int64_t deadline_ns) {
        int side = side_of(direction);

        if (endpoint->transport->wait)
                return endpoint->transport->wait(endpoint, direction, deadline_ns);
        return cfb_wait_descriptor(endpoint, direction, endpoint->fds[side],
                                   side == CFB_SENDING ? POLLOUT : POLLIN, deadline_ns);
}

int cfb_wait_message(confab_endpoint *endpoint, int64_t deadline_ns) {
        /* Where memory is shared the transport's own wait spins, looking all the time. */
        bool pauses = deadline_ns > CONFAB_NOW && !endpoint->transport->release;
        int64_t begin_ns = pauses ? cfb_pause(&endpoint->pause, deadline_ns) : 0;
        int r = cfb_wait_direction(endpoint, CONFAB_RECEIVE, deadline_ns);

        if (begin_ns)
                cfb_pause_judge(&endpoint->pause, begin_ns, confab_now());
        return r;
}

int cfb_plain_descriptor(confab_endpoint *endpoint, uint32_t direction, struct pollfd *pollfd) {
        int side = side_of(direction);

        if (endpoint->transport->descriptor)
                return endpoint->transport->descriptor(endpoint, direction, pollfd);
        if (endpoint->fds[side] < 0)
                return cfb_unsupported_of(endpoint, "descriptor",
                                          side == CFB_SENDING ? "sending" : "receiving");
        *pollfd =
                (struct pollfd){.fd = endpoint->fds[side], .events = side == CFB_SENDING ? POLLOUT : POLLIN};
        return 0;
}

int confab_descriptor(confab_endpoint *endpoint, uint32_t direction, struct pollfd *pollfd) {
        CFB_UNCANCELLED;
        struct pollfd found;
        int r;

        if (!endpoint || !pollfd || (direction != CONFAB_RECEIVE && direction != CONFAB_SEND))
                return cfb_failed(-EINVAL, "descriptor", endpoint ? confab_address(endpoint) : "NULL");
        r = cfb_plain_descriptor(endpoint, direction, &found);
        if (r >= 0 && endpoint->framed && direction == CONFAB_RECEIVE)
                r = cfb_framed_descriptor(endpoint, &found);
        if (r >= 0)
                *pollfd = found;
        return r;
}

/*
 * confab_wait. Each asked direction gets a pollfd; what has none (a transport that naps) is asked anew after each nap.
 */
enum { FEW = 32, NAP_FIRST_NS = 50 * 1000, NAP_LAST_NS = 5 * 1000 * 1000 };

static bool has_no_descriptor(const confab_endpoint *endpoint) {
        return endpoint->transport->ready && !endpoint->polls;
}

/* Marks what is ready without polling: buffered frames, and napping transports. Sets *@napsp if any of those is asked for. */
static int look(struct confab_interest *interests, unsigned n_interests, bool *napsp) {
        int n_ready = 0;

        for (unsigned i = 0; i < n_interests; i++) {
                struct confab_interest *interest = &interests[i];
                confab_endpoint *endpoint = interest->endpoint;

                interest->ready = 0;
                if ((interest->direction & CONFAB_RECEIVE) && endpoint->framed && cfb_framed_ready(endpoint))
                        interest->ready |= CONFAB_RECEIVE;
                if (has_no_descriptor(endpoint)) {
                        *napsp = true;
                        for (uint32_t direction = CONFAB_RECEIVE; direction <= CONFAB_SEND; direction++)
                                if ((interest->direction & endpoint->direction & direction) &&
                                    endpoint->transport->ready(endpoint, direction))
                                        interest->ready |= direction;
                }
                n_ready += interest->ready != 0;
        }
        return n_ready;
}

/*
 * One pollfd for each asked direction, one for both where one descriptor does both: ppoll takes no more of them than
 * RLIMIT_NOFILE (-EINVAL), so a place for each direction of each endpoint would refuse half of what a process may open.
 * Returns how many, or what an endpoint without a descriptor answers.
 */
static int prepare_polls(struct confab_interest *interests, unsigned n_interests, struct pollfd *fds) {
        int n_fds = 0;

        for (unsigned i = 0; i < n_interests; i++) {
                confab_endpoint *endpoint = interests[i].endpoint;
                int first = n_fds;

                for (uint32_t direction = CONFAB_RECEIVE; direction <= CONFAB_SEND; direction++) {
                        struct pollfd *pollfd = &fds[n_fds];
                        int r;

                        if (!(interests[i].direction & direction))
                                continue;
                        if (has_no_descriptor(endpoint)) {
                                if (!(endpoint->direction & direction)) /* it would never be ready */
                                        return cfb_unsupported_of(endpoint, "wait",
                                                                  direction == CONFAB_SEND ? "sending"
                                                                                           : "receiving");
                                continue;
                        }
                        r = cfb_plain_descriptor(endpoint, direction, pollfd);
                        if (r < 0)
                                return r;
                        n_fds++;
                }
                if (n_fds == first + 2 && fds[first].fd == fds[first + 1].fd && fds[first].events == POLLIN &&
                    fds[first + 1].events == POLLOUT) {
                        fds[first].events = POLLIN | POLLOUT;
                        n_fds--;
                }
        }
        return n_fds;
}

/*
 * Shared memory rings for what was taken meanwhile, too: readiness is what the transport finds. One that is not ready after all is armed anew.
 */
static uint32_t confirmed(confab_endpoint *endpoint, uint32_t ready) {
        struct pollfd again;

        if (!endpoint->transport->release || endpoint->listening)
                return ready;
        for (uint32_t direction = CONFAB_RECEIVE; direction <= CONFAB_SEND; direction++)
                if ((ready & direction) && !endpoint->transport->ready(endpoint, direction)) {
                        ready &= ~direction;
                        cfb_plain_descriptor(endpoint, direction, &again);
                }
        return ready;
}

/* Walks the pollfds as prepare_polls laid them. */
static int collect(struct confab_interest *interests, unsigned n_interests, const struct pollfd *fds) {
        int n_ready = 0;

        for (unsigned i = 0; i < n_interests; i++) {
                struct confab_interest *interest = &interests[i];

                if (has_no_descriptor(interest->endpoint)) {
                        n_ready += interest->ready != 0;
                        continue;
                }
                if (interest->direction == CONFAB_BOTH && fds->events == (POLLIN | POLLOUT)) {
                        interest->ready |= (fds->revents & ~POLLOUT ? CONFAB_RECEIVE : 0) |
                                           (fds->revents & ~POLLIN ? CONFAB_SEND : 0);
                        fds++;
                } else {
                        for (uint32_t direction = CONFAB_RECEIVE; direction <= CONFAB_SEND; direction++)
                                if ((interest->direction & direction) && fds++->revents)
                                        interest->ready |= direction;
                        interest->ready = confirmed(interest->endpoint, interest->ready);
                }
                n_ready += interest->ready != 0;
        }
        return n_ready;
}

/* One that is only held (cfb_wait_holding, of two) has no direction: it holds the other end of a transfer. */
static int held_side(const struct confab_interest *interests) {
        return CFB_HELD + (interests[0].direction == CONFAB_SEND ? CFB_RECEIVING : CFB_SENDING);
}

static void publish(const struct confab_interest *interests, unsigned n_interests, int wake) {
        for (unsigned i = 0; i < n_interests; i++) {
                confab_endpoint *endpoint = interests[i].endpoint;

                for (int side = 0; side < 2; side++)
                        if (interests[i].direction & (side == CFB_SENDING ? CONFAB_SEND : CONFAB_RECEIVE))
                                cfb_wake_publish(&endpoint->waiter[side], wake); /* [W1] */
                if (!interests[i].direction)
                        cfb_wake_publish(&endpoint->waiter[held_side(interests)], wake); /* [W1] */
        }
}

/* Also after each signal: its handler may have forked, and this be the child, which has another wake descriptor. */
static int publish_waiter(const struct confab_interest *interests, unsigned n_interests,
                          struct pollfd *last) {
        int wake = cfb_wake_descriptor();

        if (wake < 0 || (last->fd == wake && last->events))
                return wake;
        *last = (struct pollfd){.fd = wake, .events = POLLIN};
        publish(interests, n_interests, wake);
        return 0;
}

static int any_ended(const struct confab_interest *interests, unsigned n_interests) {
        for (unsigned i = 0; i < n_interests; i++) {
                confab_endpoint *endpoint = interests[i].endpoint;

                for (int side = 0; side < 2; side++)
                        if (interests[i].direction & (side == CFB_SENDING ? CONFAB_SEND : CONFAB_RECEIVE)) {
                                int r = ended(endpoint, side);

                                if (r < 0)
                                        return r;
                        }
                if (!interests[i].direction && atomic_load(&endpoint->closing)) /* [W1] */
                        return cfb_closed_by_another(endpoint, "transfer");
        }
        return 0;
}

static int wait_several(struct confab_interest *interests, unsigned n_interests, struct pollfd *fds,
                        unsigned n_fds, int64_t deadline_ns) {
        int64_t nap_ns = NAP_FIRST_NS;
        int r;

        for (;;) {
                bool naps = false;
                int64_t until_ns = deadline_ns;
                int n_ready = look(interests, n_interests, &naps), n;

                if (n_ready)
                        until_ns = CONFAB_NOW; /* only see what else is ready */
                else if (naps && confab_after(nap_ns) < deadline_ns)
                        until_ns = confab_after(nap_ns);
                if (until_ns != CONFAB_NOW && (r = any_ended(interests, n_interests)) < 0)
                        return r;
                n = cfb_poll(fds, n_fds + 1, until_ns);
                if (n == -EINTR) {
                        r = publish_waiter(interests, n_interests, &fds[n_fds]); /* of a handler's fork */
                        if (r < 0)
                                return r;
                        continue;
                }
                if (n < 0)
                        return cfb_failed(n, "ppoll", confab_address(interests[0].endpoint));
                if (fds[n_fds].revents)
                        cfb_wake_drain(fds[n_fds].fd);
                n_ready = collect(interests, n_interests, fds);
                if (n_ready)
                        return n_ready;
                if (deadline_ns <= CONFAB_NOW)
                        return -EAGAIN;
                if (confab_now() >= deadline_ns)
                        return cfb_failed(-ETIMEDOUT, "wait", confab_address(interests[0].endpoint));
                if (naps && nap_ns < NAP_LAST_NS)
                        nap_ns *= 2;
        }
}

/* [B1] The sides waited for are busy, as those of any other call: close ends the wait before it frees the endpoint. */
static void leave_sides(const struct confab_interest *interests, unsigned n_interests) {
        for (unsigned i = 0; i < n_interests; i++)
                for (uint32_t direction = CONFAB_RECEIVE; direction <= CONFAB_SEND; direction++)
                        if (interests[i].direction & direction)
                                cfb_leave(interests[i].endpoint, side_of(direction));
}

static int enter_sides(const struct confab_interest *interests, unsigned n_interests) {
        for (unsigned i = 0; i < n_interests; i++)
                for (uint32_t direction = CONFAB_RECEIVE; direction <= CONFAB_SEND; direction++) {
                        int r = interests[i].direction & direction
                                        ? cfb_enter(interests[i].endpoint, side_of(direction))
                                        : 0;

                        if (r < 0) {
                                leave_sides(interests, i);
                                if (direction == CONFAB_SEND && (interests[i].direction & CONFAB_RECEIVE))
                                        cfb_leave(interests[i].endpoint, CFB_RECEIVING);
                                return r;
                        }
                }
        return 0;
}

static int wait_checked(struct confab_interest *interests, unsigned n_interests, int64_t deadline_ns) {
        struct pollfd few[2 * FEW + 1], *fds = few;
        int r;

        if (n_interests > FEW) {
                fds = cfb_allocate((2 * (size_t)n_interests + 1) * sizeof(*fds));
                if (!fds)
                        return cfb_failed(-ENOMEM, "wait", confab_address(interests[0].endpoint));
        }
        r = enter_sides(interests, n_interests);
        if (r >= 0) {
                r = prepare_polls(interests, n_interests, fds);
                if (r >= 0) {
                        unsigned n_fds = (unsigned)r;

                        fds[n_fds].events = 0;
                        r = publish_waiter(interests, n_interests, &fds[n_fds]);
                        if (r >= 0)
                                r = wait_several(interests, n_interests, fds, n_fds, deadline_ns);
                        publish(interests, n_interests, -1);
                }
                leave_sides(interests, n_interests);
        }
        if (fds != few)
                cfb_release(fds);
        return r;
}

int confab_wait(struct confab_interest *interests, unsigned n_interests, int64_t deadline_ns) {
        CFB_UNCANCELLED;

        if (!interests || !n_interests)
                return cfb_failed_with(-EINVAL, "wait", NULL, NULL, "no endpoints", 0, 0);
        for (unsigned i = 0; i < n_interests; i++)
                interests[i].ready = 0; /* also where it fails: nobody acts on an answer of the last time */
        for (unsigned i = 0; i < n_interests; i++)
                if (!interests[i].endpoint || !interests[i].direction ||
                    (interests[i].direction & ~CONFAB_BOTH))
                        return cfb_failed_with(-EINVAL, "wait", NULL, NULL,
                                               "an interest without an endpoint or a direction", 0, 0);
        return wait_checked(interests, n_interests, deadline_ns);
}

int cfb_wait_holding(confab_endpoint *endpoint, uint32_t direction, confab_endpoint *held,
                     int64_t deadline_ns) {
        struct confab_interest interests[2] = {{endpoint, direction, 0}, {held, 0, 0}};

        return wait_checked(interests, 2, deadline_ns);
}
