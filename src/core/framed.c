/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Messages over a byte stream.
 *
 * Receiving: one read brings what is there (64 KiB at most), the decoder of wire/frame.h finds the messages in it, and each is lent in place:
 * a reference on the buffer. A buffer that is still lent is never written to again; the beginning of a message at its end
 * moves to a fresh one. Buffers grow by doubling, up to the size of a message that has really arrived, so a claim costs nothing.
 * An idle endpoint holds no buffer. Cost: one system call for as many messages as one read brings; a message that crosses
 * two buffers is copied once.
 *
 * Descriptors: the kernel ends a read behind the bytes they came with, and cfb_framed_send gives a message with descriptors a
 * system call of its own, so they belong to the message that covers the last byte of that read, however the bytes
 * before it were coalesced.
 *
 * Sending: frame edges and message go out in one writev. What the deadline cuts is copied and queued; it goes first next
 * time, so the stream never loses its boundaries. If there is no memory for the copy, sending is over: the peer sees the
 * end within a message and says so. So it is after an error within a message (a full disk): every further send answers the same.
 *
 * confab_descriptor: bytes in our buffer are invisible to poll, so it gives an epoll descriptor over the stream's own one and an
 * eventfd that is readable while something is buffered (updated after each receive, only once somebody asked for it). The event loop,
 * which has its own way to keep a source ready, is told instead: ten thousand clients need no twenty thousand descriptors more.
 */
#include "core/framed.h"
#include "base/cleanup.h"
#include "base/memory.h"
#include "core/message.h"
#include "core/transport.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

struct cfb_framed {
        enum cfb_frame_kind kind;
        uint64_t max;
        struct cfb_frame_decoder decoder;
        struct cfb_buffer *buffer; /* what has arrived: bytes start .. end */
        size_t start, end;
        size_t descriptors_end; /* the buffer's descriptors belong to the message covering the byte before this; 0: none */
        int found;              /* 1: the next message is decoded already: at, len, consumed */
        size_t at, len, consumed;
        int broken; /* what every further receive answers */
        bool ended;
        bool takes_rest;           /* what stands behind the last newline is a message, too */
        int buffered_fd, epoll_fd; /* confab_descriptor's; -1 until asked for */
        bool buffered_shown;
        void (*told)(void *data, enum cfb_framed_state state);
        void *told_data;
};

int cfb_framed_new(struct cfb_framed **framedp, enum cfb_frame_kind kind, uint64_t max) {
        struct cfb_framed *framed = cfb_allocate(sizeof(*framed));

        if (!framed)
                return -ENOMEM;
        framed->kind = kind;
        framed->max = max;
        framed->buffered_fd = framed->epoll_fd = -1;
        cfb_frame_decoder_init(&framed->decoder, kind, max);
        *framedp = framed;
        return 0;
}

struct cfb_framed *cfb_framed_free(struct cfb_framed *framed) {
        if (!framed)
                return NULL;
        if (framed->told)
                framed->told(framed->told_data, CFB_FRAMED_GONE);
        cfb_buffer_unref(framed->buffer);
        cfb_closep(&framed->buffered_fd);
        cfb_closep(&framed->epoll_fd);
        cfb_release(framed);
        return NULL;
}

void cfb_framed_properties(struct confab_properties *properties, enum cfb_frame_kind kind, uint64_t max) {
        struct cfb_frame_edges edges = {0};

        cfb_frame_edges(&edges, kind, 0);
        properties->boundaries = CONFAB_BOUNDARIES_MESSAGE;
        properties->message_max = max;
        properties->empty = CONFAB_YES;
        properties->capacity = 0; /* the edges take room too */
        if (properties->atomic_max && properties->atomic_max != UINT64_MAX)
                properties->atomic_max -= edges.before_len + edges.after_len;
}

/* --- sending --- */

static bool has_newline(const struct confab_message *message) {
        if (!message->n_iov)
                return message->data_len && memchr(message->data, '\n', message->data_len);
        for (unsigned i = 0; i < message->n_iov; i++)
                if (message->iov[i].iov_len &&
                    memchr(message->iov[i].iov_base, '\n', message->iov[i].iov_len))
                        return true;
        return false;
}

int64_t cfb_framed_send(confab_endpoint *endpoint, const struct confab_message *message,
                        int64_t deadline_ns) {
        struct cfb_framed *framed = endpoint->framed;
        struct iovec storage[CFB_IOV_MAX + 2], *parts = storage;
        struct confab_message step = *message;
        struct cfb_frame_edges edges;
        unsigned n_parts = 0;
        uint64_t len = cfb_message_len(message);
        size_t left, whole;
        int r;

        if (framed->kind == CFB_FRAME_LINE && has_newline(message))
                return cfb_failed_with(-EINVAL, "send", confab_address(endpoint), NULL,
                                       "a line cannot hold a newline: use frame=record", 0, 0);
        r = len > framed->max ? -EMSGSIZE : cfb_frame_edges(&edges, framed->kind, len);
        if (r < 0)
                return cfb_too_large(endpoint, "send", len, framed->max);
        r = cfb_rest_flush(endpoint, deadline_ns);
        if (r < 0)
                return r;

        parts[n_parts++] = (struct iovec){edges.before, edges.before_len};
        if (message->n_iov)
                for (unsigned i = 0; i < message->n_iov; i++)
                        parts[n_parts++] = message->iov[i];
        else
                parts[n_parts++] = (struct iovec){(void *)(uintptr_t)message->data, message->data_len};
        parts[n_parts++] = (struct iovec){edges.after, edges.after_len};
        left = whole = cfb_skip_parts(&parts, &n_parts, 0);
        step.data = NULL;
        step.data_len = 0;
        for (;;) {
                int64_t n;

                step.iov = parts;
                step.n_iov = n_parts < CFB_IOV_MAX ? n_parts : CFB_IOV_MAX; /* the edges come on top */
                n = CFB_STEP(endpoint->transport->send(endpoint, &step));
                if (n == -EAGAIN) {
                        n = cfb_wait_direction(endpoint, CONFAB_SEND, deadline_ns);
                        if (n >= 0)
                                continue;
                        if (left == whole || n == -ECANCELED)
                                return n;
                        if (n == -EINTR)
                                endpoint->interrupts_seen
                                        [CFB_SENDING]--; /* this call succeeds; the next wait gets it */
                        r = cfb_rest_keep(endpoint, parts, n_parts);
                        return r < 0 ? r : (int64_t)len;
                }
                if (n < 0) /* what went out stays: a next message would be read as the rest of this one */
                        return left < whole ? cfb_rest_break(endpoint, (int)n) : n;
                left = cfb_skip_parts(&parts, &n_parts, (size_t)n);
                if (!left)
                        return (int64_t)len;
                step.descriptors = NULL; /* they went with the first bytes */
                step.n_descriptors = 0;
        }
}

/* --- receiving --- */

/* Puts "the next answer needs no reading" where the descriptor shows it, and tells it the loop. */
static void show_buffered(confab_endpoint *endpoint) {
        struct cfb_framed *framed = endpoint->framed;
        uint64_t one = 1;
        bool ready;
        ssize_t n;

        if (framed->buffered_fd < 0 && !framed->told)
                return;
        ready = cfb_framed_ready(endpoint);
        if (framed->told)
                framed->told(framed->told_data, ready ? CFB_FRAMED_READY : CFB_FRAMED_WAITS);
        if (framed->buffered_fd < 0 || ready == framed->buffered_shown)
                return;
        n = ready ? write(framed->buffered_fd, &one, sizeof(one))
                  : read(framed->buffered_fd, &one, sizeof(one));
        if (n == (ssize_t)sizeof(one))
                framed->buffered_shown = ready;
}

/*
 * Decodes ahead. 1: a message is found; 0: more bytes are needed (*@neededp); negative: the stream is broken for good.
 */
static int find(confab_endpoint *endpoint, size_t *neededp) {
        struct cfb_framed *framed = endpoint->framed;
        int r;

        *neededp = 1;
        if (framed->broken)
                return framed->broken;
        if (framed->found)
                return 1;
        if (!framed->buffer || framed->start == framed->end)
                return 0;
        r = cfb_frame_decode(&framed->decoder, framed->buffer->bytes + framed->start,
                             framed->end - framed->start, &framed->at, &framed->len, &framed->consumed,
                             neededp);
        if (r == CFB_FRAME_MORE)
                return 0;
        if (r < 0) {
                framed->broken = r;
                return r;
        }
        framed->found = 1;
        return 1;
}

bool cfb_framed_ready(confab_endpoint *endpoint) {
        size_t needed;

        return endpoint->framed->ended || find(endpoint, &needed) != 0;
}

static void drop_buffer(struct cfb_framed *framed) {
        cfb_buffer_unref(framed->buffer);
        framed->buffer = NULL;
        framed->start = framed->end = framed->descriptors_end = 0;
}

static void lend(struct cfb_framed *framed, struct confab_message *message) {
        struct cfb_buffer *buffer = framed->buffer;
        size_t covers = framed->start + framed->consumed;

        assert(buffer); /* what was found lies in it */
        *message = confab_message_of(buffer->bytes + framed->start + framed->at, framed->len);
        message->flags = CONFAB_MESSAGE_LENT;
        message->lender = buffer;
        if (framed->descriptors_end && covers >= framed->descriptors_end) {
                message->descriptors = buffer->descriptors;
                message->n_descriptors = buffer->n_descriptors;
        }
        cfb_buffer_ref(buffer);
        framed->start = covers;
        framed->found = 0;
        if (framed->start == framed->end || message->n_descriptors)
                framed->descriptors_end = 0;
        if (framed->start == framed->end)
                drop_buffer(framed); /* an idle endpoint holds none */
}

/* Room to read into behind what is there, a quarter of a usual buffer at least, in a buffer nobody else holds. */
static int make_room(confab_endpoint *endpoint) {
        struct cfb_framed *framed = endpoint->framed;
        struct cfb_buffer *old = framed->buffer, *fresh;
        size_t have = framed->end - framed->start, usual = cfb_pool_buffer_cap(endpoint->pool),
               want = usual / 4;
        bool alone = old && cfb_buffer_alone(old);

        if (alone && old->cap - framed->end >= want)
                return 0;
        if (alone && old->cap / 2 >= have && old->cap - have >= want) {
                memmove(old->bytes, old->bytes + framed->start, have);
                fresh = old;
        } else {
                /* Doubling bounds the copying, and grows only with what has arrived, never with what is claimed. */
                fresh = have > usual / 2 ? cfb_buffer_take_large(endpoint->pool, have * 2)
                                         : cfb_buffer_take(endpoint->pool);
                if (!fresh)
                        return cfb_failed(-ENOMEM, "receive", confab_address(endpoint));
                if (old)
                        memcpy(fresh->bytes, old->bytes + framed->start, have);
                if (old && framed->descriptors_end) {
                        memcpy(fresh->descriptors, old->descriptors, old->n_descriptors * sizeof(int));
                        fresh->n_descriptors = old->n_descriptors;
                        old->n_descriptors = 0;
                }
                cfb_buffer_unref(old);
        }
        if (framed->descriptors_end)
                framed->descriptors_end -= framed->start;
        framed->buffer = fresh;
        framed->start = 0;
        framed->end = have;
        return 0;
}

static int too_many_descriptors(confab_endpoint *endpoint) {
        struct cfb_framed *framed = endpoint->framed;

        cfb_tell(CONFAB_EVENT_DESCRIPTORS_REFUSED, confab_address(endpoint), framed->buffer->n_descriptors);
        framed->broken = -EPROTO;
        return cfb_failed_with(-EPROTO, "receive", confab_address(endpoint), NULL,
                               "descriptors came within a message that already had some", 0, 0);
}

/* One read behind what is there. 1: something came; 0: the end; negative as the transport's receive. */
static int read_more(confab_endpoint *endpoint) {
        struct cfb_framed *framed = endpoint->framed;
        struct cfb_buffer *buffer = framed->buffer;
        struct confab_message read = confab_message_of(NULL, 0);
        int kept[CFB_DESCRIPTORS_MAX];
        uint32_t n_kept = framed->descriptors_end ? buffer->n_descriptors : 0;
        int r;

        if (n_kept)
                memcpy(kept, buffer->descriptors, n_kept * sizeof(int));
        buffer->n_descriptors = 0;
        /* The transport sees a window: the room behind what is there. */
        buffer->bytes += framed->end;
        buffer->cap -= framed->end;
        r = CFB_STEP(endpoint->transport->receive(endpoint, &read, &buffer, NULL));
        buffer->bytes -= framed->end;
        buffer->cap += framed->end;
        if (r == 1)
                framed->end += read.data_len;
        if (n_kept) {
                if (buffer->n_descriptors) {
                        /* both sets lie in the buffer's care now, as far as they fit; it closes them */
                        for (uint32_t i = 0; i < n_kept; i++)
                                close(kept[i]);
                        return too_many_descriptors(endpoint);
                }
                memcpy(buffer->descriptors, kept, n_kept * sizeof(int));
                buffer->n_descriptors = n_kept;
        } else if (buffer->n_descriptors) {
                framed->descriptors_end = framed->end;
        }
        return r;
}

static int end_within_message(confab_endpoint *endpoint) {
        struct cfb_framed *framed = endpoint->framed;
        int64_t came = (int64_t)(framed->end - framed->start);

        framed->ended = true;
        drop_buffer(framed);
        return cfb_failed_with(-EPIPE, "receive", confab_address(endpoint), NULL,
                               framed->kind == CFB_FRAME_LINE
                                       ? "the peer ended within a line: its last line has no newline"
                                       : "the peer ended within a message",
                               came, 0);
}

static int take_rest(struct cfb_framed *framed, struct confab_message *message) {
        framed->ended = true;
        framed->at = 0;
        framed->len = framed->consumed = framed->end - framed->start;
        lend(framed, message);
        return 1;
}

void cfb_framed_take_rest(struct cfb_framed *framed) {
        framed->takes_rest = framed->kind == CFB_FRAME_LINE;
}

static int explain_broken(confab_endpoint *endpoint) {
        struct cfb_framed *framed = endpoint->framed;

        if (framed->broken == -EMSGSIZE)
                return (int)cfb_too_large(endpoint, "receive", 0, framed->max);
        return cfb_failed_with(framed->broken, "receive", confab_address(endpoint), NULL,
                               "what came is not framed as this address says", 0, 0);
}

int cfb_framed_receive(confab_endpoint *endpoint, struct confab_message *message, int64_t deadline_ns) {
        struct cfb_framed *framed = endpoint->framed;
        int r;

        for (;;) {
                size_t needed;

                r = find(endpoint, &needed);
                if (r < 0) {
                        r = explain_broken(endpoint);
                        break;
                }
                if (r == 1) {
                        lend(framed, message);
                        break;
                }
                if (framed->ended)
                        break;
                r = make_room(endpoint);
                if (r < 0)
                        break;
                r = read_more(endpoint);
                if (r == 1)
                        continue;
                if (r == -EAGAIN) {
                        if (framed->start == framed->end)
                                drop_buffer(framed);
                        r = cfb_wait_message(endpoint, deadline_ns);
                        if (r < 0)
                                break;
                        continue;
                }
                if (r == 0 && framed->end > framed->start) {
                        r = framed->takes_rest ? take_rest(framed, message) : end_within_message(endpoint);
                        break;
                }
                if (r == 0)
                        framed->ended = true;
                break;
        }
        show_buffered(endpoint);
        return r;
}

int cfb_framed_descriptor(confab_endpoint *endpoint, struct pollfd *pollfd) {
        struct cfb_framed *framed = endpoint->framed;
        struct epoll_event stream = {.events = EPOLLIN}, buffered = {.events = EPOLLIN};

        if (framed->epoll_fd < 0) {
                CFB_CLEANUP(cfb_closep) int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
                CFB_CLEANUP(cfb_closep) int buffered_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

                if (epoll_fd < 0 || buffered_fd < 0 ||
                    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, buffered_fd, &buffered) < 0)
                        return cfb_failed(-errno, "epoll_create1", confab_address(endpoint));
                /* EPERM: a regular file, which never waits and which epoll does not take: its own descriptor polls ready */
                if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pollfd->fd, &stream) < 0)
                        return errno == EPERM ? 0 : cfb_failed(-errno, "epoll_ctl", confab_address(endpoint));
                framed->epoll_fd = cfb_steal_fd(&epoll_fd);
                framed->buffered_fd = cfb_steal_fd(&buffered_fd);
                show_buffered(endpoint);
        }
        *pollfd = (struct pollfd){.fd = framed->epoll_fd, .events = POLLIN};
        return 0;
}

void cfb_framed_tell(confab_endpoint *endpoint, void (*told)(void *data, enum cfb_framed_state state),
                     void *data) {
        endpoint->framed->told = told;
        endpoint->framed->told_data = data;
        if (told)
                told(data, cfb_framed_ready(endpoint) ? CFB_FRAMED_READY : CFB_FRAMED_WAITS);
}
