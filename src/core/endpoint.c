/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * The life of an endpoint: open, listen, accept, pair, close; and who may be inside while it is closed.
 *
 * Closing from another thread. Each side (receiving, sending) marks itself busy with a plain store when a call begins and ends. The
 * closer writes `closing`, makes every running thread pass a full barrier (membarrier), then waits until no side is busy,
 * waking those that wait. So the fast path pays two stores and no fence:
 *
 *   [B1] a side:   busy = true;  compiler barrier;  look at closing   (leave: busy = false, release)
 *        closer:   closing = true; membarrier;      look at busy (acquire): it then sees all that side did
 *
 * Either the side sees closing, or the closer sees busy. Where membarrier does not exist (some emulators) the sides make
 * their two accesses sequentially consistent, and pay for it. busy is the count of forks on the way to this process: a forked child does
 * not wait for the calls of threads that only its parent has. A call that begins after confab_close returned is the caller's use of a freed handle, as with any free.
 */
#include "core/endpoint.h"
#include "base/cancel.h"
#include "base/cleanup.h"
#include "base/hot.h"
#include "base/memory.h"
#include "base/wake.h"
#include "core/framed.h"
#include "core/transport.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* linux/membarrier.h, which musl does not ship */
enum { MEMBARRIER_PRIVATE = 1 << 3, MEMBARRIER_REGISTER_PRIVATE = 1 << 4 };

bool cfb_fence_in_sides;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void prepare(void) {
        if (syscall(SYS_membarrier, MEMBARRIER_REGISTER_PRIVATE, 0, 0) < 0)
                cfb_fence_in_sides = true;
}

/*
 * The callback and its data belong together, and each of them is one word: two places, of which the count names the one in use.
 *
 *   [E1] setting: the other place = new;  n_set = n + 1        telling: n = n_set;  read the place;  n_set still n, else again
 *
 * All are sequentially consistent. Who tells takes no lock, so a callback may set another one.
 */
static struct {
        void (*_Atomic callback)(const struct confab_event *, void *);
        void *_Atomic data;
} events[2];
static _Atomic unsigned n_set; /* [E1] */
static pthread_mutex_t setting = PTHREAD_MUTEX_INITIALIZER;

void confab_on_event(void (*callback)(const struct confab_event *event, void *data), void *data) {
        CFB_UNCANCELLED;
        unsigned next;

        pthread_mutex_lock(&setting);
        next = atomic_load(&n_set) + 1;
        atomic_store(&events[next % 2].callback, callback); /* [E1] */
        atomic_store(&events[next % 2].data, data);         /* [E1] */
        atomic_store(&n_set, next);                         /* [E1] */
        pthread_mutex_unlock(&setting);
}

void cfb_tell(uint32_t kind, const char *address, int64_t value) {
        struct confab_event event = {.size = sizeof(event), .kind = kind, .address = address, .value = value};
        void (*callback)(const struct confab_event *, void *);
        void *data;
        unsigned n;

        do {
                n = atomic_load(&n_set);                         /* [E1] */
                callback = atomic_load(&events[n % 2].callback); /* [E1] */
                data = atomic_load(&events[n % 2].data);         /* [E1] */
        } while (n != atomic_load(&n_set));                      /* [E1] */
        if (callback)
                callback(&event, data);
}

int cfb_address_read(struct cfb_address *address, const char *text, const struct confab_options *options) {
        int r = cfb_address_init(address, text, options);

        if (r < 0 || !address->transport->check)
                return r;
        r = address->transport->check(address);
        if (r < 0) {
                cfb_address_fini(address);
                *address = (struct cfb_address){0};
        }
        return r;
}

void cfb_record_unsupported_of(const confab_endpoint *endpoint, const char *call, const char *what) {
        struct cfb_address named = endpoint->address;

        named.text = endpoint->name ? endpoint->name : endpoint->address.text;
        cfb_record_unsupported(&named, call, what);
}

static size_t buffer_cap_of(const confab_endpoint *endpoint) {
        return endpoint->transport->buffer_cap ? endpoint->transport->buffer_cap(endpoint)
                                               : CFB_STREAM_BUFFER;
}

static confab_endpoint *endpoint_new(const struct cfb_transport *transport) {
        confab_endpoint *endpoint = cfb_allocate(sizeof(*endpoint) + transport->state_len);

        if (!endpoint)
                return NULL;
        cfb_wake_user_added();
        endpoint->transport = transport;
        endpoint->fds[CFB_RECEIVING] = endpoint->fds[CFB_SENDING] = -1;
        endpoint->owns_fds = true;
        return endpoint;
}

/* What lies in the process, not in the system: close and every failed opening end here. */
static void endpoint_free(confab_endpoint *endpoint) {
        endpoint->framed = cfb_framed_free(endpoint->framed);
        cfb_rest_drop(&endpoint->rest);
        cfb_buffer_unref(endpoint->claim);
        if (endpoint->owns_fds) {
                if (endpoint->fds[CFB_RECEIVING] >= 0)
                        close(endpoint->fds[CFB_RECEIVING]);
                if (endpoint->fds[CFB_SENDING] >= 0 &&
                    endpoint->fds[CFB_SENDING] != endpoint->fds[CFB_RECEIVING])
                        close(endpoint->fds[CFB_SENDING]);
        }
        cfb_pool_unref(endpoint->pool);
        cfb_address_fini(&endpoint->address);
        cfb_release(endpoint->name);
        cfb_release(endpoint);
        cfb_wake_user_gone();
}

static confab_endpoint *endpoint_abandon(confab_endpoint *endpoint) {
        struct cfb_failure failure;

        if (!endpoint)
                return NULL;
        failure = *cfb_last_failure(); /* the reason, not what cleaning up meets */
        if (endpoint->transport->close)
                endpoint->transport->close(endpoint);
        *cfb_last_failure() = failure;
        endpoint_free(endpoint);
        return NULL;
}

static void abandonp(confab_endpoint **endpointp) {
        endpoint_abandon(*endpointp);
}

/* An endpoint with its address read and its options checked: what open, listen and pair have in common. */
static int prepare_endpoint(confab_endpoint **endpointp, const struct cfb_address *address) {
        struct confab_properties properties = {.size = sizeof(properties)};
        confab_endpoint *endpoint;

        pthread_once(&once, prepare);
        address->transport->properties(&properties, address, NULL);
        if (address->frame && properties.boundaries != CONFAB_BOUNDARIES_STREAM)
                return cfb_unsupported(address, "open", "frame=: it keeps message boundaries by itself");
        if (address->direction == CONFAB_BOTH && properties.direction == CONFAB_DIRECTION_SIMPLEX)
                return cfb_unsupported(address, "open", "both directions on one endpoint");
        endpoint = endpoint_new(address->transport);
        if (!endpoint)
                return cfb_failed(-ENOMEM, "open", address->text);
        endpoint->max = address->max;
        *endpointp = endpoint;
        return 0;
}

/* After the transport filled it: direction, properties, buffers, framing. */
CFB_HOT static int complete(confab_endpoint *endpoint, struct cfb_pool *pool) {
        uint32_t possible = (endpoint->fds[CFB_RECEIVING] >= 0 ? CONFAB_RECEIVE : 0) |
                            (endpoint->fds[CFB_SENDING] >= 0 ? CONFAB_SEND : 0);
        int r;

        if (!endpoint->direction)
                endpoint->direction = possible;
        if (endpoint->address.direction)
                endpoint->direction &= endpoint->address.direction;
        endpoint->properties.size = sizeof(endpoint->properties);
        endpoint->transport->properties(&endpoint->properties, &endpoint->address, endpoint);
        if (endpoint->address.frame)
                cfb_framed_properties(&endpoint->properties, endpoint->address.frame, endpoint->max);
        if (pool)
                endpoint->pool = cfb_pool_ref(pool);
        else if (!endpoint->transport->release &&
                 (r = cfb_pool_new(&endpoint->pool, buffer_cap_of(endpoint))) < 0)
                return cfb_failed(r, "open", confab_address(endpoint));
        if (endpoint->address.frame && !endpoint->listening && !endpoint->framed) {
                r = cfb_framed_new(&endpoint->framed, endpoint->address.frame, endpoint->max);
                if (r < 0)
                        return cfb_failed(r, "open", confab_address(endpoint));
        }
        endpoint->plain_send = cfb_sends_plainly(endpoint);
        endpoint->plain_max =
                endpoint->properties.boundaries == CONFAB_BOUNDARIES_MESSAGE ? endpoint->max : UINT64_MAX;
        return 0;
}

static int open_with(confab_endpoint **endpointp, const char *text, const struct confab_options *options,
                     int64_t deadline_ns, const char *call, bool passive) {
        CFB_UNCANCELLED;
        CFB_CLEANUP(cfb_address_fini) struct cfb_address address = {0};
        CFB_CLEANUP(abandonp) confab_endpoint *endpoint = NULL;
        int (*step)(struct confab_endpoint *, int64_t);
        int r;

        if (!endpointp || !text)
                return cfb_failed(-EINVAL, call, "NULL");
        r = cfb_address_read(&address, text, options);
        if (r < 0)
                return r;
        step = passive ? address.transport->listen : address.transport->open;
        if (!step)
                return cfb_unsupported(&address, call,
                                       passive ? "a passive side (use confab_pair or confab_open)"
                                               : "an active side (use confab_pair)");
        r = prepare_endpoint(&endpoint, &address);
        if (r < 0)
                return r;
        endpoint->address = address;
        address = (struct cfb_address){0};
        r = step(endpoint, deadline_ns);
        if (r < 0)
                return r;
        r = complete(endpoint, NULL);
        if (r < 0)
                return r;
        *endpointp = cfb_steal(&endpoint);
        return 0;
}

int confab_open(confab_endpoint **endpointp, const char *address, const struct confab_options *options,
                int64_t deadline_ns) {
        return open_with(endpointp, address, options, deadline_ns, "open", false);
}

int confab_listen(confab_endpoint **endpointp, const char *address, const struct confab_options *options,
                  int64_t deadline_ns) {
        return open_with(endpointp, address, options, deadline_ns, "listen", true);
}

int confab_pair(confab_endpoint *ends[2], const char *text, const struct confab_options *options) {
        CFB_UNCANCELLED;
        CFB_CLEANUP(abandonp) confab_endpoint *first = NULL;
        CFB_CLEANUP(abandonp) confab_endpoint *second = NULL;
        int r;

        if (!ends || !text)
                return cfb_failed(-EINVAL, "pair", "NULL");
        for (int i = 0; i < 2; i++) {
                CFB_CLEANUP(cfb_address_fini) struct cfb_address address = {0};
                confab_endpoint **endp = i ? &second : &first;

                r = cfb_address_read(&address, text, options);
                if (r < 0)
                        return r;
                if (!address.transport->pair)
                        return cfb_unsupported(&address, "pair", "pairs (use confab_listen and confab_open)");
                r = prepare_endpoint(endp, &address);
                if (r < 0)
                        return r;
                (*endp)->address = address;
                address = (struct cfb_address){0};
        }
        r = first->transport->pair((confab_endpoint *[2]){first, second});
        if (r < 0)
                return r;
        r = complete(first, NULL);
        if (r >= 0)
                r = complete(second, NULL);
        if (r < 0)
                return r;
        ends[0] = cfb_steal(&first);
        ends[1] = cfb_steal(&second);
        return 0;
}

enum { ACCEPT_PAUSE_NS = 100 * 1000 * 1000 };

/* Out of descriptors: the connection stays queued in the kernel; a loop looks again a little later. */
static int accept_pauses(confab_endpoint *listener, int error) {
        listener->accept_again_ns = confab_now() + ACCEPT_PAUSE_NS;
        cfb_tell(CONFAB_EVENT_ACCEPT_PAUSED, confab_address(listener), sysconf(_SC_OPEN_MAX));
        return error;
}

int cfb_accept_prepare(confab_endpoint **endpointp, confab_endpoint *listener) {
        CFB_CLEANUP(abandonp) confab_endpoint *endpoint = NULL;
        int r;

        if (!listener->transport->accept || !listener->listening)
                return cfb_unsupported_of(listener, "accept",
                                          "connections to accept: receive on this endpoint itself");
        endpoint = endpoint_new(listener->transport);
        if (!endpoint)
                return cfb_failed(-ENOMEM, "accept", confab_address(listener));
        endpoint->max = listener->max;
        endpoint->address = listener->address;
        endpoint->address.text = endpoint->address.rest = endpoint->address.from = NULL;
        endpoint->name = cfb_copy_text(confab_address(listener));
        if (!endpoint->name)
                return cfb_failed(-ENOMEM, "accept", confab_address(listener));
        /* All memory first: once a connection is taken from the kernel's queue, running out of it would lose it. */
        if (endpoint->address.frame) {
                r = cfb_framed_new(&endpoint->framed, endpoint->address.frame, endpoint->max);
                if (r < 0)
                        return cfb_failed(r, "accept", confab_address(listener));
        }
        *endpointp = cfb_steal(&endpoint);
        return 0;
}

CFB_HOT int cfb_accept_into(confab_endpoint *endpoint, confab_endpoint *listener, int64_t deadline_ns) {
        int r = cfb_enter(listener, CFB_RECEIVING);

        if (r < 0)
                return r;
        while ((r = listener->transport->accept(endpoint, listener)) == -EAGAIN) {
                r = cfb_wait_direction(listener, CONFAB_RECEIVE, deadline_ns);
                if (r < 0)
                        break;
        }
        if (r == -EMFILE || r == -ENFILE)
                r = accept_pauses(listener, r);
        else
                listener->accept_again_ns = 0;
        if (r >= 0)
                r = complete(endpoint, listener->pool);
        cfb_leave(listener, CFB_RECEIVING);
        return r;
}

void cfb_accept_abandon(confab_endpoint *endpoint) {
        endpoint_abandon(endpoint);
}

int confab_accept(confab_endpoint **endpointp, confab_endpoint *listener, int64_t deadline_ns) {
        CFB_UNCANCELLED;
        CFB_CLEANUP(abandonp) confab_endpoint *endpoint = NULL;
        int r;

        if (!endpointp || !listener)
                return cfb_failed(-EINVAL, "accept", "NULL");
        r = cfb_accept_prepare(&endpoint, listener);
        if (r >= 0)
                r = cfb_accept_into(endpoint, listener, deadline_ns);
        if (r < 0)
                return r;
        *endpointp = cfb_steal(&endpoint);
        return 0;
}

int confab_adopt(confab_endpoint *endpoint) {
        if (!endpoint)
                return cfb_failed(-EINVAL, "adopt", "NULL");
        return endpoint->transport->adopt ? endpoint->transport->adopt(endpoint) : 0;
}

int confab_inherit(confab_endpoint *endpoint, char *address, size_t address_cap) {
        CFB_UNCANCELLED;
        struct stat status;
        int fd, flags, n;

        if (!endpoint || !address)
                return cfb_failed(-EINVAL, "inherit", "NULL");
        fd = endpoint->fds[CFB_RECEIVING] >= 0 ? endpoint->fds[CFB_RECEIVING] : endpoint->fds[CFB_SENDING];
        if (fd < 0 || endpoint->properties.after_fork == CONFAB_FORK_OWNER ||
            (endpoint->fds[CFB_SENDING] >= 0 && endpoint->fds[CFB_SENDING] != fd))
                return cfb_unsupported_of(endpoint, "inherit", "being handed on as one descriptor");
        /* fd:// reads and writes: that is no way to use a queue, whose descriptor looks like a plain file's. */
        if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
            endpoint->properties.boundaries == CONFAB_BOUNDARIES_MESSAGE)
                return cfb_unsupported_of(endpoint, "inherit",
                                          "being handed on by number: open it anew by its name");
        n = snprintf(address, address_cap, "fd://%d?take", fd);
        if (n < 0 || (size_t)n >= address_cap)
                return cfb_failed_with(-ENOSPC, "inherit", confab_address(endpoint), NULL,
                                       "the buffer for the address is too small", 0, 0);
        flags = fcntl(fd, F_GETFD);
        if (flags < 0 || fcntl(fd, F_SETFD, flags & ~FD_CLOEXEC) < 0)
                return cfb_failed(-errno, "fcntl", confab_address(endpoint));
        return 0;
}

static void wake_waiters(confab_endpoint *endpoint) {
        for (size_t i = 0; i < CFB_ARRAY_LEN(endpoint->waiter); i++)
                cfb_wake_waiter(&endpoint->waiter[i]); /* [W1] */
        if (endpoint->transport->interrupt)
                endpoint->transport->interrupt(endpoint);
}

void confab_interrupt(confab_endpoint *endpoint) {
        atomic_fetch_add(&endpoint->interrupts, 1); /* [W1] */
        wake_waiters(endpoint);
}

/* Ends the calls under way in other threads. */
static void expel(confab_endpoint *endpoint) {
        atomic_store(&endpoint->closing, true); /* [B1] [W1] */
        if (!cfb_fence_in_sides)
                syscall(SYS_membarrier, MEMBARRIER_PRIVATE, 0, 0);
        /* [B1] also acquire: what the side did to the endpoint comes before its memory is freed */
        for (size_t i = 0; i < CFB_ARRAY_LEN(endpoint->busy); i++)
                while (atomic_load(&endpoint->busy[i]) == cfb_generation) {
                        wake_waiters(endpoint);
                        usleep(50);
                }
}

confab_endpoint *confab_close(confab_endpoint *endpoint) {
        CFB_UNCANCELLED;

        if (!endpoint)
                return NULL;
        expel(endpoint);
        if (endpoint->rest.bytes)
                cfb_rest_flush(endpoint, CONFAB_NOW);
        if (endpoint->transport->close)
                endpoint->transport->close(endpoint);
        endpoint_free(endpoint);
        return NULL;
}

CFB_HOT void cfb_close_last(confab_endpoint *endpoint) {
        if (endpoint->rest.bytes)
                cfb_rest_flush(endpoint, CONFAB_NOW);
        if (endpoint->transport->close)
                endpoint->transport->close(endpoint);
}

const char *confab_address(const confab_endpoint *endpoint) {
        return endpoint->name ? endpoint->name : endpoint->address.text;
}

int confab_shutdown(confab_endpoint *endpoint, uint32_t direction, int64_t deadline_ns) {
        CFB_UNCANCELLED;
        int r = 0;

        if (!endpoint || !direction || (direction & ~CONFAB_BOTH))
                return cfb_failed(-EINVAL, "shutdown", endpoint ? confab_address(endpoint) : "NULL");
        if (!endpoint->transport->shutdown)
                return cfb_unsupported_of(endpoint, "shutdown", "half-close");
        if ((direction & CONFAB_SEND) && (endpoint->framed || endpoint->rest.bytes)) {
                r = cfb_enter(endpoint, CFB_SENDING);
                if (r >= 0) {
                        r = cfb_rest_flush(endpoint, deadline_ns);
                        cfb_leave(endpoint, CFB_SENDING);
                }
        }
        return r < 0 ? r : endpoint->transport->shutdown(endpoint, direction);
}

int confab_peer(const confab_endpoint *endpoint, struct confab_peer *peer) {
        CFB_UNCANCELLED;
        struct confab_peer found = {.size = sizeof(found)};
        int r;

        if (!endpoint || !peer || peer->size < sizeof(*peer))
                return cfb_failed(-EINVAL, "peer", endpoint ? confab_address(endpoint) : "NULL");
        if (!endpoint->transport->peer)
                return cfb_failed_with(-ENOTCONN, "peer", confab_address(endpoint), NULL,
                                       "this mechanism does not know who is at the other end", 0, 0);
        r = endpoint->transport->peer(endpoint, &found);
        if (r >= 0)
                *peer = found;
        return r;
}

int confab_remove(const char *text) {
        CFB_UNCANCELLED;
        CFB_CLEANUP(cfb_address_fini) struct cfb_address address = {0};
        int r;

        if (!text)
                return cfb_failed(-EINVAL, "remove", "NULL");
        r = cfb_address_read(&address, text, NULL);
        if (r < 0)
                return r;
        if (!address.transport->remove)
                return cfb_unsupported(&address, "remove", "anything that stays in the system");
        return address.transport->remove(&address);
}

size_t confab_peer_address(const struct confab_peer *peer, char *text, size_t text_cap) {
        if (text_cap)
                text[0] = '\0';
        if (!peer || !(peer->flags & CONFAB_PEER_ADDRESS))
                return 0;
        for (const struct cfb_transport *const *t = cfb_transports; *t; t++)
                if ((*t)->peer_address) {
                        size_t len = (*t)->peer_address(peer, text, text_cap);

                        if (len)
                                return len;
                }
        return 0;
}
