/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CONFAB_ENDPOINT_H
#define CONFAB_ENDPOINT_H
/*
 * Endpoints: open one by its address, then send and receive messages; the same calls for every mechanism.
 *
 * Addresses are "scheme://rest?key=value&key=value", percent-encoded as in RFC 3986; confab(7) lists them.
 * Threads: one sending and one receiving thread at once on an endpoint; confab_interrupt and confab_close are safe from
 * any thread; different endpoints are independent. confab_interrupt is also async-signal-safe, no other call is.
 * Cancellation: no call is a cancellation point; pthread_cancel takes effect after it. confab_interrupt ends its wait.
 * Signals: a signal never ends a wait (-EINTR comes from confab_interrupt alone), and SIGPIPE never ends a caller.
 * Errors common to all: -EINVAL (argument or address; confab_explain gives the position), -EOPNOTSUPP (the mechanism
 * does not have that), -EAGAIN (CONFAB_NOW and it would wait), -ETIMEDOUT (deadline), -EINTR (confab_interrupt),
 * -ECANCELED (closed by another thread during the call), -ENOMEM; others are the kernel's own and say what it says.
 */
#include <confab/message.h>
#include <poll.h>

CONFAB_BEGIN_DECLS

/* Directions, as an option, as what to wait for, and as what to shut down. */
#define CONFAB_RECEIVE 1u
#define CONFAB_SEND    2u
#define CONFAB_BOTH    3u

/*
 * What can be said at opening beside the address; a field that is not 0 wins over the address's key of that name.
 * A field the mechanism does not have is refused with -EOPNOTSUPP, as its key would be.
 */
struct confab_options {
        uint32_t size;      /* sizeof(struct confab_options) */
        uint32_t flags;     /* 0 */
        uint32_t direction; /* CONFAB_RECEIVE, CONFAB_SEND, CONFAB_BOTH */
        uint32_t mode;      /* permissions of what gets a name: 0600 unless said; at most 0777 */
        uint32_t backlog;   /* connections that may wait to be accepted: 4096 */
        uint32_t reserved;  /* 0 */
        uint64_t max_len;   /* bytes in the largest message: 16 MiB */
        uint64_t capacity;  /* bytes (pipe, sockets, sysv) or messages (mq) the mechanism may hold */
};

/*
 * The active side: connect, attach, open. On success *@endpointp is the caller's (confab_close).
 * Blocks until @deadline_ns where a peer is needed (tcp, unix: to be accepted by the kernel; fifo for sending: until
 * somebody reads). Returns 0; -ENOENT, -ECONNREFUSED, -ENXIO: nobody is there; -EACCES; others as above.
 */
CONFAB_API int confab_open(confab_endpoint **endpointp, const char *address,
                           const struct confab_options *options, int64_t deadline_ns);

/*
 * The passive side: bind the name, then confab_accept where the mechanism has connections, else receive at once
 * (udp, unix datagram, fifo, mq, sysv). Does not wait, but for names to be looked up. What it creates in the system
 * it removes at confab_close, unless the address says lifetime=persistent. -EADDRINUSE: somebody listens there.
 */
CONFAB_API int confab_listen(confab_endpoint **endpointp, const char *address,
                             const struct confab_options *options, int64_t deadline_ns);

/*
 * The next connection of @listener, in *@endpointp, the caller's. Blocks until @deadline_ns. -EMFILE, -ENFILE: no
 * descriptor is left; the connection stays queued, those accepted go on. -EOPNOTSUPP: no connections here.
 */
CONFAB_API int confab_accept(confab_endpoint **endpointp, confab_endpoint *listener, int64_t deadline_ns);

/*
 * Both ends at once, for related processes (before fork) or threads: pipe, shm, unix. @ends[0] receives and @ends[1] sends
 * where the mechanism is simplex. Both are the caller's; after a fork each process closes the one it does not use.
 */
CONFAB_API int confab_pair(confab_endpoint *ends[2], const char *address,
                           const struct confab_options *options);

/* In a forked child: take over an end that was made for it. Kernel mechanisms need nothing done and answer 0. */
CONFAB_API int confab_adopt(confab_endpoint *endpoint);

/*
 * Prepares the descriptor of @endpoint to live through exec and writes the address under which the new program finds
 * it ("fd://5?take") into @address (at most @address_cap bytes; -ENOSPC if it is longer). -EOPNOTSUPP where the end is more
 * than one descriptor. The caller's next exec, from any thread, passes it on.
 */
CONFAB_API int confab_inherit(confab_endpoint *endpoint, char *address, size_t address_cap);

/*
 * Sends one message. On a byte stream: some bytes, all of them unless the deadline or confab_interrupt comes first.
 * Returns the count of bytes sent: @message's whole length, or less (but not 0) on an unframed stream that was cut so; the next wait
 * answers -EINTR then. What fails within a stream's message fails for good: every further send answers the same, since nobody
 * would know how much of it went out.
 * -EMSGSIZE: larger than max= or than the kernel carries, nothing sent. -EPIPE, -ECONNRESET: the peer has gone.
 * Framed streams: a message the deadline cuts short counts as sent; its rest stays queued and goes out first in the
 * next confab_send, confab_send_many or confab_shutdown. With @message NULL only that is done: 0, nothing is queued any more; -EAGAIN or
 * -ETIMEDOUT, something still is. Who sends with CONFAB_NOW asks this before it waits for answers alone. Descriptors travel with the message or not at all.
 */
CONFAB_API int64_t confab_send(confab_endpoint *endpoint, const struct confab_message *message,
                               int64_t deadline_ns);

/*
 * Sends up to @n_messages in order, with one system call where the kernel can; waits only for the first.
 * Returns how many were sent (1..n), or what the first one failed with. On a stream, framed or not, one that the kernel cuts short
 * is finished until @deadline_ns; what the deadline cuts counts as sent, and its rest stays queued as confab_send says: no byte is lost or
 * sent twice by who goes on with the message after the last one counted.
 */
CONFAB_API int confab_send_many(confab_endpoint *endpoint, const struct confab_message *messages,
                                unsigned n_messages, int64_t deadline_ns);

/* Which messages to receive; NULL: any. Where the mechanism cannot choose: -EOPNOTSUPP. */
struct confab_filter {
        uint32_t size;
        uint32_t flags;                 /* 0 */
        int64_t type;                   /* 0: any; N > 0: type N; -N: the lowest type there is, up to N */
        const struct confab_peer *peer; /* only from this one */
};

/*
 * Receives one message (on an unframed stream: the bytes that are there, at least one) and lends it in *@message, whose
 * size field must be set (confab_message_of(NULL, 0)), until confab_release. Several may be lent at once.
 * Returns 1: a message, 0: the end, the peer has shut down and everything it sent was received; negative: an error,
 * nothing lent. An empty message is 1 with data_len 0. -EPIPE: the peer ended within a framed message; what had come of it
 * is dropped, never lent. -EMSGSIZE: a message larger than max=.
 */
CONFAB_API int confab_receive(confab_endpoint *endpoint, struct confab_message *message,
                              const struct confab_filter *filter, int64_t deadline_ns);

/* Up to @n_messages at once: waits for the first only. Returns how many (1..n), 0 at the end, or an error. */
CONFAB_API int confab_receive_many(confab_endpoint *endpoint, struct confab_message *messages,
                                   unsigned n_messages, const struct confab_filter *filter,
                                   int64_t deadline_ns);

/* Done with a received message: its bytes and the descriptors not taken are gone. Accepts one that is not lent. */
CONFAB_API void confab_release(confab_endpoint *endpoint, struct confab_message *message);

/* Where receiving is leased (lease=): it was handled, or give it back to the queue. Both release it. */
CONFAB_API int confab_ack(confab_endpoint *endpoint, struct confab_message *message);
CONFAB_API int confab_reject(confab_endpoint *endpoint, struct confab_message *message);

/*
 * Write a message in place: confab_claim lends room for @data_len bytes in *@datap, confab_commit publishes the first
 * message->data_len (<= the claim) of them with the other fields of @message, as confab_send would, confab_abort gives
 * the room back. One claim at a time. After a commit that failed with -EAGAIN, -ETIMEDOUT or -EINTR the claim still stands.
 * Kernel mechanisms copy at commit (property in-place: no), and keep the room for the next claim. -EMSGSIZE: larger than max= where there
 * are messages; an unframed stream knows none, so it has no largest one, as in confab_send.
 */
CONFAB_API int confab_claim(confab_endpoint *endpoint, void **datap, size_t data_len, int64_t deadline_ns);
CONFAB_API int64_t confab_commit(confab_endpoint *endpoint, const struct confab_message *message,
                                 int64_t deadline_ns);
CONFAB_API void confab_abort(confab_endpoint *endpoint);

/*
 * For poll, epoll, io_uring: fills @pollfd with a descriptor and the events to ask for, so that it polls ready, level-
 * triggered, while @direction (CONFAB_RECEIVE or CONFAB_SEND; a listener: CONFAB_RECEIVE) is possible without waiting.
 * A framed stream also polls ready when only a part of a message is there: receiving then answers -EAGAIN.
 * The descriptor stays the endpoint's: never read, write or close it. -EOPNOTSUPP: sysv without poll=MS.
 */
CONFAB_API int confab_descriptor(confab_endpoint *endpoint, uint32_t direction, struct pollfd *pollfd);

/*
 * Waits until at least one of @n_interests is ready, or @deadline_ns. Sets @ready in all; returns how many are ready.
 * Ready means that the next call of that direction will not wait: it brings a message, a connection, the end or an error.
 * (But where frames are cut out of a stream: bytes that came may be part of a message only. Receive with CONFAB_NOW there.)
 * The wait counts as a call of each of its directions: nobody else may receive on, or send on, the same endpoint meanwhile.
 */
struct confab_interest {
        confab_endpoint *endpoint;
        uint32_t direction; /* CONFAB_RECEIVE (also: accept), CONFAB_SEND, CONFAB_BOTH */
        uint32_t ready;     /* set by confab_wait: those of @direction that are possible */
};
CONFAB_API int confab_wait(struct confab_interest *interests, unsigned n_interests, int64_t deadline_ns);

/*
 * Ends the waits on @endpoint that are under way, or the next one of each direction where none is, with -EINTR. A call that does not
 * have to wait is not disturbed. From any thread and from any signal handler.
 */
CONFAB_API void confab_interrupt(confab_endpoint *endpoint);

/*
 * Half-close: CONFAB_SEND tells the peer that this was all (it receives the end; what a stream has queued goes
 * out first, until @deadline_ns), CONFAB_RECEIVE takes no more. -EOPNOTSUPP: no half-close here (property half-close).
 */
CONFAB_API int confab_shutdown(confab_endpoint *endpoint, uint32_t direction, int64_t deadline_ns);

/*
 * Closes, and removes from the system what this endpoint created there. Calls under way in other threads return
 * -ECANCELED first. Messages still lent must be released before. Accepts NULL; returns NULL.
 * What a stream still has queued is tried once without waiting: finish it before, by confab_send without a message.
 * exec:// waits for its child to end, see confab-exec(7); nothing else blocks.
 */
CONFAB_API confab_endpoint *confab_close(confab_endpoint *endpoint);

/* The address @endpoint was opened with; a listener on port 0 or on an unnamed socket: the one it got. Borrowed until close. */
CONFAB_API const char *confab_address(const confab_endpoint *endpoint);

/* Who is connected at the other end, in *@peer (its size field set by the caller). -ENOTCONN: nobody, or many. */
CONFAB_API int confab_peer(const confab_endpoint *endpoint, struct confab_peer *peer);

/*
 * Removes what @address names from the system: FIFO, socket file, queue. Nothing else is touched: a path of another kind answers
 * -EEXIST. -ENOENT: nothing there. -EOPNOTSUPP: nothing of that kind stays in the system.
 */
CONFAB_API int confab_remove(const char *address);

/*
 * What a mechanism promises. Each field holds one of the words below; the conformance suite proves each of them.
 * confab_property names them and puts them into words, so a program can list what it does not know yet.
 */
struct confab_properties {
        uint32_t size;
        uint32_t addressing;  /* CONFAB_ADDRESSING_* */
        uint32_t reach;       /* CONFAB_REACH_* */
        uint32_t connection;  /* CONFAB_CONNECTION_* */
        uint32_t direction;   /* CONFAB_DIRECTION_* */
        uint32_t boundaries;  /* CONFAB_BOUNDARIES_* */
        uint32_t order;       /* CONFAB_ORDER_* */
        uint32_t loss;        /* CONFAB_LOSS_*: can a message that was sent be lost while both sides live? */
        uint32_t when_full;   /* CONFAB_FULL_*: what confab_send does with nobody receiving */
        uint32_t peer_gone;   /* CONFAB_GONE_*: what confab_send meets once the receiver has gone */
        uint32_t end;         /* CONFAB_NO, CONFAB_YES: the receiver learns that the last sender has gone */
        uint32_t half_close;  /* CONFAB_NO, CONFAB_YES */
        uint32_t empty;       /* CONFAB_NO, CONFAB_YES: a message without bytes arrives as one */
        uint32_t descriptors; /* CONFAB_NO, CONFAB_YES: descriptors travel in messages */
        uint32_t credentials; /* CONFAB_CREDENTIALS_* */
        uint32_t reply;       /* CONFAB_NO, CONFAB_YES: a received message says to whom an answer goes */
        uint32_t types;       /* CONFAB_NO, CONFAB_YES: messages have types, and can be received by them */
        uint32_t priorities;  /* how many; 0: none */
        uint32_t waiting;     /* CONFAB_WAITING_* */
        uint32_t in_place;    /* CONFAB_NO, CONFAB_YES: claim and receive without a copy */
        uint32_t residue;     /* CONFAB_RESIDUE_*: what stays in the system after the owner was killed */
        uint32_t after_fork;  /* CONFAB_FORK_* */
        uint64_t message_max; /* bytes in one message; UINT64_MAX: no limit (streams) */
        uint64_t
                atomic_max; /* bytes of one send that no other sender's bytes can get between; UINT64_MAX: all */
        uint64_t
                capacity; /* bytes that fit before a sender waits, in messages of the largest size; 0: not known beforehand */
};
#define CONFAB_NO                     0u
#define CONFAB_YES                    1u
#define CONFAB_ADDRESSING_NONE        0u /* made in pairs */
#define CONFAB_ADDRESSING_PATH        1u
#define CONFAB_ADDRESSING_NAME        2u
#define CONFAB_ADDRESSING_HOST_PORT   3u
#define CONFAB_ADDRESSING_KEY         4u
#define CONFAB_ADDRESSING_NUMBER      5u
#define CONFAB_ADDRESSING_COMMAND     6u
#define CONFAB_REACH_FAMILY           0u /* processes that inherit or are handed the end */
#define CONFAB_REACH_MACHINE          1u
#define CONFAB_REACH_NETWORK          2u
#define CONFAB_CONNECTION_NONE        0u /* any sender reaches the receiver */
#define CONFAB_CONNECTION_ACCEPTED    1u
#define CONFAB_CONNECTION_MADE        2u /* both ends come into being together */
#define CONFAB_DIRECTION_SIMPLEX      0u
#define CONFAB_DIRECTION_HALF_DUPLEX  1u
#define CONFAB_DIRECTION_DUPLEX       2u
#define CONFAB_BOUNDARIES_STREAM      0u
#define CONFAB_BOUNDARIES_MESSAGE     1u
#define CONFAB_ORDER_NONE             0u
#define CONFAB_ORDER_FIFO             1u
#define CONFAB_ORDER_PRIORITY         2u /* first in first out within a priority */
#define CONFAB_LOSS_NONE              0u
#define CONFAB_LOSS_POSSIBLE          1u
#define CONFAB_FULL_WAIT              0u
#define CONFAB_FULL_DROP              1u
#define CONFAB_GONE_ERROR             0u /* an error: -EPIPE, -ECONNRESET or -ECONNREFUSED */
#define CONFAB_GONE_UNNOTICED         1u /* queued, or dropped */
#define CONFAB_CREDENTIALS_NONE       0u
#define CONFAB_CREDENTIALS_CONNECTION 1u
#define CONFAB_CREDENTIALS_MESSAGE    2u
#define CONFAB_WAITING_DESCRIPTOR     0u
#define CONFAB_WAITING_NAPS           1u /* the kernel offers nothing to wait on together with other things */
#define CONFAB_RESIDUE_NONE           0u
#define CONFAB_RESIDUE_FILE           1u
#define CONFAB_RESIDUE_QUEUE          2u
#define CONFAB_FORK_SHARED            0u /* both processes may go on using the end */
#define CONFAB_FORK_OWNER             1u /* the child gets -EOWNERDEAD */

/* Of an address, before anything is opened (defaults of the mechanism where only opening could tell), or of an endpoint as it is. */
CONFAB_API int confab_properties(struct confab_properties *properties, const char *address);
CONFAB_API int confab_endpoint_properties(struct confab_properties *properties,
                                          const confab_endpoint *endpoint);

/*
 * Property number @index (from 0) of @properties: its name in *@namep, what it means in *@helpp (both borrowed for
 * ever; either may be NULL), its value in words in @text. Returns the value's length as snprintf does, -ENOENT past the last.
 */
CONFAB_API int confab_property(const struct confab_properties *properties, unsigned index, const char **namep,
                               const char **helpp, char *text, size_t text_cap);

/*
 * Mechanism number @index (from 0) of this build: its scheme and one line about it, borrowed for ever.
 * *@examplep is an address with all it takes. -ENOENT past the last. Any pointer may be NULL.
 */
CONFAB_API int confab_mechanism(unsigned index, const char **schemep, const char **summaryp,
                                const char **examplep);

/* Key number @index of the mechanism @scheme: name, values (default first) and meaning, borrowed for ever. -ENOENT past the last. */
CONFAB_API int confab_key(const char *scheme, unsigned index, const char **namep, const char **valuesp,
                          const char **helpp);

CONFAB_END_DECLS
#endif
