/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Sending and receiving.
 *
 * The fast path of each is: a few checks of the arguments, two stores that mark the side busy, the transport's single step
 * (one system call), for receiving one buffer from the pool (two atomic operations). Only when the step says -EAGAIN does it
 * wait (wait.c: one ppoll) and try again: at most three system calls. No allocation unless more messages are lent at once than ever before.
 */
#include "core/message.h"
#include "base/cancel.h"
#include "base/hot.h"
#include "core/framed.h"
#include "core/transport.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static size_t explain_too_large(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: %s: the message is too large", failure->subject,
                   failure->call);
        if (failure->a)
                cfb_append(text, text_cap, &used, ": %" PRId64 " bytes", failure->a);
        cfb_append(text, text_cap, &used,
                   ", at most %" PRId64 " are possible here; see max= and confab-address(7)", failure->b);
        return used;
}

static size_t explain_priority(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used,
                   "%s: %s: priority %" PRId64 " is too high: 0 to %" PRId64 " there are", failure->subject,
                   failure->call, failure->a, failure->b);
        return used;
}

int64_t cfb_too_large(const confab_endpoint *endpoint, const char *call, uint64_t len, uint64_t max) {
        return cfb_failed_with(-EMSGSIZE, call, confab_address(endpoint), explain_too_large, NULL,
                               (int64_t)len, (int64_t)max);
}

/* --- sending --- */

/* Fields that few messages use, against what the mechanism has. */
static int check_extras(confab_endpoint *endpoint, const struct confab_message *message) {
        const struct confab_properties *properties = &endpoint->properties;

        if (message->flags || message->n_iov > CFB_IOV_MAX ||
            (message->n_iov && (message->data || !message->iov)))
                return cfb_failed_with(-EINVAL, "send", confab_address(endpoint), NULL,
                                       message->flags                 ? "flags of a message to send are 0"
                                       : message->n_iov > CFB_IOV_MAX ? "more than 1024 parts"
                                                                      : "either data or iov, not both",
                                       0, 0);
        if (message->type && !properties->types)
                return cfb_unsupported_of(endpoint, "send", "message types");
        if (message->type < 0)
                return cfb_failed_with(-EINVAL, "send", confab_address(endpoint), NULL, "a type is > 0", 0,
                                       0);
        if (message->priority && message->priority >= properties->priorities)
                return properties->priorities
                               ? cfb_failed_with(-EINVAL, "send", confab_address(endpoint), explain_priority,
                                                 NULL, message->priority, properties->priorities - 1)
                               : cfb_unsupported_of(endpoint, "send", "priorities");
        if (message->n_descriptors && !properties->descriptors)
                return cfb_unsupported_of(endpoint, "send", "descriptors in messages");
        if (message->n_descriptors > CFB_DESCRIPTORS_MAX)
                return cfb_failed_with(-EINVAL, "send", confab_address(endpoint), NULL,
                                       "more than 253 descriptors in one message", 0, 0);
        if (message->peer && !properties->reply)
                return cfb_unsupported_of(endpoint, "send", "choosing a receiver for each message");
        return 0;
}

/* What nobody may leave out. */
CFB_HOT static int check_given(const confab_endpoint *endpoint, const struct confab_message *message,
                               const char *call) {
        if (!endpoint)
                return cfb_failed_with(-EINVAL, call, "NULL", NULL, "there is no endpoint", 0, 0);
        if (!message)
                return cfb_failed_with(-EINVAL, call, confab_address(endpoint), NULL, "there is no message",
                                       0, 0);
        if (message->size < sizeof(*message))
                return cfb_failed_with(-EINVAL, call, confab_address(endpoint), NULL,
                                       "message->size is not set: begin with confab_message_of", 0, 0);
        return 0;
}

static int check_message(confab_endpoint *endpoint, const struct confab_message *message) {
        int r = check_given(endpoint, message, "send");

        if (r < 0)
                return r;
        if (!(endpoint->direction & CONFAB_SEND))
                return cfb_unsupported_of(endpoint, "send", "sending on this end");
        if (message->flags | message->n_iov | message->priority | message->n_descriptors |
            (message->type != 0) | (message->peer != NULL))
                return check_extras(endpoint, message);
        if (!message->data && message->data_len)
                return cfb_failed_with(-EINVAL, "send", confab_address(endpoint), NULL, "data is NULL", 0, 0);
        return 0;
}

/* @message without its first @n bytes, in @rest; a gathered one needs @parts for that. */
static void skip(struct confab_message *rest, const struct confab_message *message, struct iovec *parts,
                 uint64_t n) {
        *rest = *message;
        rest->descriptors = NULL; /* they went with the first bytes */
        rest->n_descriptors = 0;
        if (!message->n_iov) {
                rest->data = (const unsigned char *)message->data + n;
                rest->data_len -= n;
                return;
        }
        while (rest->n_iov && n >= rest->iov->iov_len) {
                n -= rest->iov->iov_len;
                rest->iov++;
                rest->n_iov--;
        }
        memcpy(parts, rest->iov, rest->n_iov * sizeof(*parts));
        rest->iov = parts;
        if (rest->n_iov) {
                parts[0].iov_base = (unsigned char *)parts[0].iov_base + n;
                parts[0].iov_len -= n;
        }
}

/* The step took @sent bytes of @len (a stream), or had to wait. */
static int64_t send_rest(confab_endpoint *endpoint, const struct confab_message *message, uint64_t sent,
                         uint64_t len, int64_t deadline_ns) {
        struct iovec parts[CFB_IOV_MAX];
        struct confab_message rest = *message;

        for (;;) {
                int64_t n;

                if (sent)
                        skip(&rest, message, parts, sent);
                n = CFB_STEP(endpoint->transport->send(endpoint, &rest));
                if (n == -EAGAIN) {
                        n = cfb_wait_direction(endpoint, CONFAB_SEND, deadline_ns);
                        if (n >= 0)
                                continue;
                        if (!sent || n == -ECANCELED) /* closed: there is no next call to tell it to */
                                return n;
                        if (n == -EINTR)
                                endpoint->interrupts_seen[CFB_SENDING]--; /* told to the next wait */
                        return (int64_t)sent;
                }
                if (n < 0)
                        return sent ? cfb_rest_break(endpoint, (int)n) : n;
                sent += (uint64_t)n;
                if (sent >= len)
                        return (int64_t)sent;
        }
}

/* The first step answered @n: not the whole message. */
static int64_t send_on(confab_endpoint *endpoint, const struct confab_message *message, int64_t n,
                       int64_t deadline_ns) {
        if (n == -EINTR) /* of the kernel's, see CFB_STEP: the fast paths leave it to this one */
                n = 0;
        if (n == -EAGAIN)
                n = cfb_wait_direction(endpoint, CONFAB_SEND, deadline_ns);
        return n < 0 ? n : send_rest(endpoint, message, (uint64_t)n, cfb_message_len(message), deadline_ns);
}

static int64_t send_entered(confab_endpoint *endpoint, const struct confab_message *message,
                            int64_t deadline_ns) {
        uint64_t len = cfb_message_len(message);
        int64_t n;

        if (endpoint->framed)
                return cfb_framed_send(endpoint, message, deadline_ns);
        if (len > endpoint->plain_max)
                return cfb_too_large(endpoint, "send", len, endpoint->max);
        n = cfb_rest_flush(endpoint, deadline_ns);
        if (n < 0)
                return n;
        n = endpoint->transport->send(endpoint, message);
        return n == (int64_t)len ? n : send_on(endpoint, message, n, deadline_ns);
}

/* confab_send without a message: only what an interrupted one left queued. */
static int64_t finish_queued(confab_endpoint *endpoint, int64_t deadline_ns) {
        int r = cfb_enter(endpoint, CFB_SENDING);

        if (r < 0)
                return r;
        r = cfb_rest_flush(endpoint, deadline_ns);
        cfb_leave(endpoint, CFB_SENDING);
        return r;
}

/* A message of data alone, on an endpoint that has nothing to do but pass it on: what nearly all are. */
static inline bool is_plain(const confab_endpoint *endpoint, const struct confab_message *message) {
        return endpoint && endpoint->plain_send && message && message->size == sizeof(*message) &&
               !(message->flags | message->n_iov | message->priority | message->n_descriptors) &&
               !message->type && !message->peer && message->data && message->data_len <= endpoint->plain_max;
}

static inline __attribute__((always_inline)) int64_t
send_one(confab_endpoint *endpoint, const struct confab_message *message, int64_t deadline_ns) {
        int64_t n;

        if (__builtin_expect(is_plain(endpoint, message), true)) {
                n = cfb_enter(endpoint, CFB_SENDING);
                if (n < 0)
                        return n;
                n = endpoint->transport->send(endpoint, message);
                if (__builtin_expect(n != (int64_t)message->data_len, false))
                        n = send_on(endpoint, message, n, deadline_ns);
                cfb_leave(endpoint, CFB_SENDING);
                return n;
        }
        if (endpoint && !message)
                return finish_queued(endpoint, deadline_ns);
        n = check_message(endpoint, message);
        if (n < 0 || (n = cfb_enter(endpoint, CFB_SENDING)) < 0)
                return n;
        n = send_entered(endpoint, message, deadline_ns);
        cfb_leave(endpoint, CFB_SENDING);
        return n;
}

/* Apart, so that the usual case of one thread saves no registers for it. */
static __attribute__((noinline)) int64_t
send_uncancelled(confab_endpoint *endpoint, const struct confab_message *message, int64_t deadline_ns) {
        CFB_UNCANCELLED;

        return send_one(endpoint, message, deadline_ns);
}

CFB_HOT int64_t confab_send(confab_endpoint *endpoint, const struct confab_message *message,
                            int64_t deadline_ns) {
        return CFB_SINGLE_THREADED ? send_one(endpoint, message, deadline_ns)
                                   : send_uncancelled(endpoint, message, deadline_ns);
}

/*
 * One of several on a bare stream, of which @sent bytes went out. There is no place to tell a part in: it is finished while there is
 * time, and the rest is kept for the next call, as a framed stream's. 0, or what made the stream end there.
 */
static int send_whole(confab_endpoint *endpoint, const struct confab_message *message, uint64_t sent,
                      int64_t deadline_ns) {
        struct iovec storage[CFB_IOV_MAX], *parts = storage, one;
        const struct iovec *all;
        uint64_t len = cfb_message_len(message);
        unsigned n_parts;
        int64_t n = sent < len ? send_rest(endpoint, message, sent, len, deadline_ns) : (int64_t)len;

        if (n < 0 || (uint64_t)n == len)
                return n < 0 ? (int)n : 0;
        all = cfb_message_iov(message, &one, &n_parts);
        memcpy(parts, all, n_parts * sizeof(*parts));
        cfb_skip_parts(&parts, &n_parts, (size_t)n);
        return cfb_rest_keep(endpoint, parts, n_parts);
}

/*
 * Messages of a bare stream, as many as fit into one gathered step. Where the mechanism keeps small sends together (pipes), only as much as
 * it keeps together: else another sender's bytes could get into the middle of a message that alone they could not.
 */
enum { GATHER_MAX = 64 };

static unsigned gather(struct iovec *parts, const confab_endpoint *endpoint,
                       const struct confab_message *messages, unsigned n_messages) {
        uint64_t atomic = endpoint->properties.atomic_max, total = 0;
        unsigned n = 0;

        if (endpoint->framed || endpoint->properties.boundaries != CONFAB_BOUNDARIES_STREAM)
                return 0;
        while (n < n_messages && n < GATHER_MAX && !messages[n].n_iov && !messages[n].n_descriptors) {
                total += messages[n].data_len;
                if (atomic && total > atomic)
                        break;
                parts[n] = (struct iovec){(void *)(uintptr_t)messages[n].data, messages[n].data_len};
                n++;
        }
        return n;
}

/* What send_many answers when @n_sent went out before @error; whose endpoint has been closed has no next call to be told in. */
static int sent_before(unsigned n_sent, int64_t error) {
        return n_sent && error != -ECANCELED ? (int)n_sent : (int)error;
}

static int send_gathered(confab_endpoint *endpoint, const struct confab_message *messages,
                         struct iovec *parts, unsigned n_parts, int64_t deadline_ns) {
        struct confab_message all = confab_message_of(NULL, 0);
        unsigned n_sent = 0;
        int64_t n;

        all.iov = parts;
        all.n_iov = n_parts;
        while ((n = CFB_STEP(endpoint->transport->send(endpoint, &all))) == -EAGAIN) {
                n = cfb_wait_direction(endpoint, CONFAB_SEND, deadline_ns);
                if (n < 0)
                        break;
        }
        if (n < 0)
                return (int)n;
        for (; n_sent < n_parts && (uint64_t)n >= messages[n_sent].data_len; n_sent++)
                n -= (int64_t)messages[n_sent].data_len;
        if (n > 0) {
                n = send_whole(endpoint, &messages[n_sent], (uint64_t)n, deadline_ns);
                if (n < 0)
                        return sent_before(n_sent, n);
                n_sent++;
        }
        return (int)n_sent;
}

/* One step for all where the transport has it, else one after the other; only the first waits. */
static int send_many_entered(confab_endpoint *endpoint, const struct confab_message *messages,
                             unsigned n_messages, int64_t deadline_ns) {
        struct iovec parts[GATHER_MAX];
        unsigned n_sent = 0, n_parts;
        int r = cfb_rest_flush(endpoint, deadline_ns);

        if (r < 0)
                return r;
        n_parts = gather(parts, endpoint, messages, n_messages);
        if (n_parts > 1)
                return send_gathered(endpoint, messages, parts, n_parts, deadline_ns);
        if (endpoint->transport->send_many && !endpoint->framed &&
            endpoint->properties.boundaries == CONFAB_BOUNDARIES_MESSAGE) {
                while ((r = CFB_STEP(endpoint->transport->send_many(endpoint, messages, n_messages))) ==
                       -EAGAIN) {
                        r = cfb_wait_direction(endpoint, CONFAB_SEND, deadline_ns);
                        if (r < 0)
                                break;
                }
                return r;
        }
        while (n_sent < n_messages) {
                const struct confab_message *message = &messages[n_sent];
                int64_t n = send_entered(endpoint, message, n_sent ? CONFAB_NOW : deadline_ns);
                uint64_t len = cfb_message_len(message);

                if (n >= 0 && (uint64_t)n < len)
                        n = send_whole(endpoint, message, (uint64_t)n, deadline_ns);
                if (n < 0)
                        return sent_before(n_sent, n);
                n_sent++;
        }
        return (int)n_sent;
}

int confab_send_many(confab_endpoint *endpoint, const struct confab_message *messages, unsigned n_messages,
                     int64_t deadline_ns) {
        CFB_UNCANCELLED;
        int r = 0;

        if (!messages || !n_messages || n_messages > INT32_MAX)
                return cfb_failed(-EINVAL, "send_many", endpoint ? confab_address(endpoint) : "NULL");
        for (unsigned i = 0; i < n_messages; i++) {
                r = check_message(endpoint, &messages[i]);
                if (r >= 0 && cfb_message_len(&messages[i]) > endpoint->plain_max)
                        r = (int)cfb_too_large(endpoint, "send_many", cfb_message_len(&messages[i]),
                                               endpoint->max);
                if (r < 0 && i == 0)
                        return r;
                if (r < 0) { /* send those before it; it fails when it is the first of the next call */
                        n_messages = i;
                        break;
                }
        }
        r = cfb_enter(endpoint, CFB_SENDING);
        if (r < 0)
                return r;
        r = send_many_entered(endpoint, messages, n_messages, deadline_ns);
        cfb_leave(endpoint, CFB_SENDING);
        return r;
}

/* --- receiving --- */

CFB_HOT static int check_receive(confab_endpoint *endpoint, const struct confab_message *message,
                                 const struct confab_filter *filter) {
        int r = check_given(endpoint, message, "receive");

        if (r < 0)
                return r;
        if (!(endpoint->direction & CONFAB_RECEIVE))
                return cfb_unsupported_of(endpoint, "receive", "receiving on this end");
        if (endpoint->listening)
                return cfb_unsupported_of(
                        endpoint, "receive",
                        "messages on a listener: confab_accept gives the endpoints to receive on");
        if (filter && (filter->size < sizeof(*filter) || filter->flags))
                return cfb_failed_with(-EINVAL, "receive", confab_address(endpoint), NULL,
                                       "the filter's size is not set", 0, 0);
        if (filter && filter->type && !endpoint->properties.types)
                return cfb_unsupported_of(endpoint, "receive", "receiving by type");
        if (filter && filter->peer)
                return cfb_unsupported_of(endpoint, "receive", "receiving from one sender only");
        return 0;
}

static void lend(struct confab_message *message, struct cfb_buffer *buffer) {
        if (!message->data)
                message->data = buffer->bytes;
        message->lender = buffer;
        message->flags = CONFAB_MESSAGE_LENT;
        message->descriptors = buffer->n_descriptors ? buffer->descriptors : NULL;
        message->n_descriptors = buffer->n_descriptors;
}

static inline __attribute__((always_inline)) int
receive_step(confab_endpoint *endpoint, struct confab_message *message, const struct confab_filter *filter) {
        struct cfb_buffer *buffer;
        int r;

        if (endpoint->transport->release) {
                *message = confab_message_of(NULL, 0);
                r = CFB_STEP(endpoint->transport->receive(endpoint, message, NULL, filter));
                if (r == 1)
                        message->flags = CONFAB_MESSAGE_LENT;
                return r;
        }
        buffer = cfb_buffer_take(endpoint->pool);
        if (!buffer)
                return cfb_failed(-ENOMEM, "receive", confab_address(endpoint));
        *message = confab_message_of(NULL, 0);
        r = CFB_STEP(endpoint->transport->receive(endpoint, message, &buffer, filter));
        if (r == 1)
                lend(message, buffer);
        else
                cfb_buffer_unref(buffer); /* a waiting endpoint holds none */
        return r;
}

static inline __attribute__((always_inline)) int receive_entered(confab_endpoint *endpoint,
                                                                 struct confab_message *message,
                                                                 const struct confab_filter *filter,
                                                                 int64_t deadline_ns) {
        int r;

        if (__builtin_expect(endpoint->framed != NULL, false))
                return cfb_framed_receive(endpoint, message, deadline_ns);
        while ((r = receive_step(endpoint, message, filter)) == -EAGAIN) {
                r = cfb_wait_message(endpoint, deadline_ns);
                if (r < 0)
                        break;
        }
        return r;
}

static inline __attribute__((always_inline)) int receive_one(confab_endpoint *endpoint,
                                                             struct confab_message *message,
                                                             const struct confab_filter *filter,
                                                             int64_t deadline_ns) {
        int r = check_receive(endpoint, message, filter);

        if (r < 0 || (r = cfb_enter(endpoint, CFB_RECEIVING)) < 0)
                return r;
        r = receive_entered(endpoint, message, filter, deadline_ns);
        cfb_leave(endpoint, CFB_RECEIVING);
        return r;
}

static __attribute__((noinline)) int receive_uncancelled(confab_endpoint *endpoint,
                                                         struct confab_message *message,
                                                         const struct confab_filter *filter,
                                                         int64_t deadline_ns) {
        CFB_UNCANCELLED;

        return receive_one(endpoint, message, filter, deadline_ns);
}

CFB_HOT int confab_receive(confab_endpoint *endpoint, struct confab_message *message,
                           const struct confab_filter *filter, int64_t deadline_ns) {
        return CFB_SINGLE_THREADED ? receive_one(endpoint, message, filter, deadline_ns)
                                   : receive_uncancelled(endpoint, message, filter, deadline_ns);
}

enum { MANY = 64 }; /* messages in one step of the kernel's */

static int receive_many_step(confab_endpoint *endpoint, struct confab_message *messages,
                             unsigned n_messages) {
        struct cfb_buffer *buffers[MANY];
        unsigned n_buffers = 0;
        int n;

        if (n_messages > MANY)
                n_messages = MANY;
        while (n_buffers < n_messages && (buffers[n_buffers] = cfb_buffer_take(endpoint->pool)))
                messages[n_buffers++] = confab_message_of(NULL, 0);
        if (!n_buffers)
                return cfb_failed(-ENOMEM, "receive_many", confab_address(endpoint));
        n = CFB_STEP(endpoint->transport->receive_many(endpoint, messages, buffers, n_buffers));
        for (unsigned i = 0; i < n_buffers; i++)
                if (n > 0 && i < (unsigned)n)
                        lend(&messages[i], buffers[i]);
                else
                        cfb_buffer_unref(buffers[i]);
        return n;
}

static int receive_many_entered(confab_endpoint *endpoint, struct confab_message *messages,
                                unsigned n_messages, const struct confab_filter *filter,
                                int64_t deadline_ns) {
        unsigned n_received = 0;
        int r;

        if (endpoint->transport->receive_many && !endpoint->framed && !filter) {
                while ((r = receive_many_step(endpoint, messages, n_messages)) == -EAGAIN) {
                        r = cfb_wait_message(endpoint, deadline_ns);
                        if (r < 0)
                                break;
                }
                return r;
        }
        while (n_received < n_messages) {
                /* A framed stream's buffered messages cost no system call; a bare stream has no second message to wait for. */
                if (n_received &&
                    (endpoint->framed ? !cfb_framed_ready(endpoint)
                                      : endpoint->properties.boundaries == CONFAB_BOUNDARIES_STREAM))
                        break;
                r = receive_entered(endpoint, &messages[n_received], filter,
                                    n_received ? CONFAB_NOW : deadline_ns);
                if (r != 1)
                        return n_received ? (int)n_received : r;
                n_received++;
        }
        return (int)n_received;
}

int confab_receive_many(confab_endpoint *endpoint, struct confab_message *messages, unsigned n_messages,
                        const struct confab_filter *filter, int64_t deadline_ns) {
        CFB_UNCANCELLED;
        int r;

        if (!n_messages || n_messages > INT32_MAX)
                return cfb_failed(-EINVAL, "receive_many", endpoint ? confab_address(endpoint) : "NULL");
        r = check_receive(endpoint, messages, filter);
        if (r < 0 || (r = cfb_enter(endpoint, CFB_RECEIVING)) < 0)
                return r;
        r = receive_many_entered(endpoint, messages, n_messages, filter, deadline_ns);
        cfb_leave(endpoint, CFB_RECEIVING);
        return r;
}

/* Several messages may lie in one buffer: this one's descriptors end with it, not with the last of them. */
static void close_descriptors(struct confab_message *message) {
        CFB_UNCANCELLED;

        for (uint32_t i = 0; i < message->n_descriptors; i++) {
                int *fdp = (int *)(uintptr_t)&message->descriptors[i];

                if (*fdp >= 0)
                        close(*fdp);
                *fdp = -1;
        }
}

static void release_by_transport(confab_endpoint *endpoint, struct confab_message *message) {
        CFB_UNCANCELLED;

        endpoint->transport->release(endpoint, message);
}

CFB_HOT void confab_release(confab_endpoint *endpoint, struct confab_message *message) {
        if (!message || !(message->flags & CONFAB_MESSAGE_LENT))
                return;
        if (endpoint && endpoint->transport->release) {
                release_by_transport(endpoint, message);
        } else {
                if (message->n_descriptors)
                        close_descriptors(message);
                cfb_buffer_unref(message->lender);
        }
        *message = confab_message_of(NULL, 0);
}

int confab_take_descriptor(struct confab_message *message, uint32_t index) {
        int *fdp, fd;

        if (!message || !(message->flags & CONFAB_MESSAGE_LENT) || index >= message->n_descriptors)
                return cfb_failed_with(-EINVAL, "take_descriptor", NULL, NULL,
                                       "the message has no such descriptor", 0, 0);
        fdp = (int *)(uintptr_t)&message
                      ->descriptors[index]; /* lies in the buffer; const is for the reader */
        fd = *fdp;
        *fdp = -1;
        return fd >= 0 ? fd
                       : cfb_failed_with(-ENODATA, "take_descriptor", NULL, NULL, "it was taken before", 0,
                                         0);
}

static int answer_lease(confab_endpoint *endpoint, struct confab_message *message, const char *call,
                        int (*step)(struct confab_endpoint *, struct confab_message *)) {
        if (!endpoint || !message)
                return cfb_failed(-EINVAL, call, endpoint ? confab_address(endpoint) : "NULL");
        if (!step)
                return cfb_unsupported_of(endpoint, call, "leases: what was received is gone from the queue");
        return step(endpoint, message);
}

int confab_ack(confab_endpoint *endpoint, struct confab_message *message) {
        CFB_UNCANCELLED;

        return answer_lease(endpoint, message, "ack", endpoint ? endpoint->transport->ack : NULL);
}

int confab_reject(confab_endpoint *endpoint, struct confab_message *message) {
        CFB_UNCANCELLED;

        return answer_lease(endpoint, message, "reject", endpoint ? endpoint->transport->reject : NULL);
}

/* --- in place --- */

static int claim_in_place(confab_endpoint *endpoint, void **datap, size_t data_len, int64_t deadline_ns) {
        int r = cfb_enter(endpoint, CFB_SENDING);

        if (r < 0)
                return r;
        while ((r = endpoint->transport->claim(endpoint, datap, data_len)) == -EAGAIN) {
                r = cfb_wait_direction(endpoint, CONFAB_SEND, deadline_ns);
                if (r < 0)
                        break;
        }
        cfb_leave(endpoint, CFB_SENDING);
        return r;
}

static int claim_own(confab_endpoint *endpoint, void **datap, size_t data_len) {
        if (!endpoint->claim || endpoint->claim->cap < data_len) {
                struct cfb_buffer *room =
                        cfb_buffer_take_large(endpoint->pool, data_len < 4096 ? 4096 : data_len);

                if (!room)
                        return cfb_failed(-ENOMEM, "claim", confab_address(endpoint));
                cfb_buffer_unref(endpoint->claim);
                endpoint->claim = room;
        }
        *datap = endpoint->claim->bytes;
        return 0;
}

int confab_claim(confab_endpoint *endpoint, void **datap, size_t data_len, int64_t deadline_ns) {
        CFB_UNCANCELLED;
        int r;

        if (!endpoint || !datap)
                return cfb_failed(-EINVAL, "claim", endpoint ? confab_address(endpoint) : "NULL");
        if (!(endpoint->direction & CONFAB_SEND))
                return cfb_unsupported_of(endpoint, "claim", "sending on this end");
        if (endpoint->claimed)
                return cfb_failed_with(-EBUSY, "claim", confab_address(endpoint), NULL,
                                       "the last claim was neither committed nor aborted", 0, 0);
        if (data_len > endpoint->plain_max)
                return (int)cfb_too_large(endpoint, "claim", data_len, endpoint->max);
        r = endpoint->transport->claim ? claim_in_place(endpoint, datap, data_len, deadline_ns)
                                       : claim_own(endpoint, datap, data_len);
        if (r < 0)
                return r;
        endpoint->claimed = true;
        endpoint->claim_len = data_len;
        return 0;
}

int64_t confab_commit(confab_endpoint *endpoint, const struct confab_message *message, int64_t deadline_ns) {
        CFB_UNCANCELLED;
        struct confab_message claimed;
        int64_t n;

        if (!endpoint || !message || message->size < sizeof(*message) || message->n_iov)
                return cfb_failed(-EINVAL, "commit", endpoint ? confab_address(endpoint) : "NULL");
        if (!endpoint->claimed || message->data_len > endpoint->claim_len)
                return cfb_failed_with(-EINVAL, "commit", confab_address(endpoint), NULL,
                                       endpoint->claimed ? "longer than the claim" : "nothing is claimed", 0,
                                       0);
        if (endpoint->transport->commit) {
                n = endpoint->transport->commit(endpoint, message);
        } else {
                claimed = *message;
                claimed.data = endpoint->claim->bytes;
                n = confab_send(endpoint, &claimed, deadline_ns);
        }
        if (n != -EAGAIN && n != -ETIMEDOUT && n != -EINTR)
                endpoint->claimed = false;
        return n;
}

void confab_abort(confab_endpoint *endpoint) {
        CFB_UNCANCELLED;

        if (!endpoint || !endpoint->claimed)
                return;
        if (endpoint->transport->abort)
                endpoint->transport->abort(endpoint);
        endpoint->claimed = false;
}
