/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Transfers: receive on one endpoint, send on another, with at most one thing under way.
 *
 *   streams     source --splice--> pipe of 256 KiB --splice--> sink      (pages change hands, no copy in user space)
 *               source --splice--> sink                                  (where one of them is a pipe itself)
 *   otherwise   source --confab_receive--> a lent message --confab_send--> sink
 *
 * Measured here, 1 GiB: unix to unix 4.7 GB/s spliced against 2.5 GB/s copied with 64 KiB to 1 MiB buffers; a pipe of 1 MiB is slower
 * than one of 256 KiB, whose pages stay in the cache. From tcp to a file it is the file system's part that costs, and it costs least
 * for large writes (large folios): the pipe is filled with all there is before it is emptied, 0.21 s of processor a GiB against
 * 0.48 s with 256 KiB at a time and 0.32 to 0.45 s copied.
 *
 * ext4 books every block of a delayed write by itself, a third of what the write costs; blocks that lie in one unwritten extent cost nearly
 * nothing. So exactly the bytes in the pipe are reserved before they are written (0.11 against 0.19 s a GiB for 4 MiB at a time); elsewhere (tmpfs)
 * that costs more than it spares. A death between the two leaves at most 4 MiB of blocks behind the file's end, until it is truncated or removed.
 *
 * splice waits inside the kernel when the description it moves to or from is blocking, whatever its flags say (sockets look at
 * O_NONBLOCK alone). So a description of our own gets O_NONBLOCK here; one that is lent and blocking is spliced only if it is a
 * pipe (SPLICE_F_NONBLOCK is honoured there) or a regular file (which never waits). What the kernel refuses to splice (-EINVAL:
 * a file opened for appending, some devices) is copied from then on; bytes already in the pipe are read out of it first.
 *
 * Nothing is lost between two steps: what was taken from the source and not given to the sink is in the pipe or in the lent
 * message, and the next step begins with that. A death drops both, as it drops what lies in any process's buffers.
 */
#include "base/cancel.h"
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/sigpipe.h"
#include "core/endpoint.h"
#include "core/framed.h"
#include "core/transport.h"

#include <confab/transfer.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum {
        STEPS_MAX = 16,
        MOVE_LEN = 256 << 10,       /* bytes between sockets at once, and the pipe for them */
        FILE_MOVE_LEN = 4096 << 10, /* towards a file: as much as the pieces in the pipe hold */
        FILE_PIPE_LEN = 1024 << 10, /* 256 pieces; more needs a privilege */
        RESERVE_LEAST = 128 << 10,  /* below, the call costs what it spares */
        MAGIC_EXT4 = 0xEF53,        /* of ext2 and ext3 too, which refuse to reserve */
};

enum way {
        COPY,
        PIPED,  /* through our pipe */
        DIRECT, /* one end is a pipe itself */
};

struct confab_transfer {
        confab_endpoint *source, *sink;
        struct confab_transfer_options options;
        enum way way;
        bool ended;                    /* the source */
        bool reserves;                 /* the sink is a file of ext4's: blocks before bytes */
        bool flushing;                 /* the sink may still keep a part of a message */
        uint32_t waits;                /* CONFAB_RECEIVE: for the source, CONFAB_SEND: for the sink */
        int pipe_fds[2];               /* PIPED, and what is left of it after a change to COPY; -1 */
        size_t piped;                  /* bytes in it */
        size_t move_len;               /* bytes to move at once */
        int failure;                   /* of the source, told once what came before it has gone out */
        size_t cut;                    /* the longest piece of a stream the sink carries */
        bool carries_boundaries;       /* the source's messages are whole */
        struct confab_message message; /* under way, lent by the source or @piece */
        bool holding;
        size_t sent;          /* bytes of it */
        unsigned char *piece; /* bytes read back out of the pipe; owned */
};

static bool is_stream(const confab_endpoint *endpoint) {
        return endpoint->properties.boundaries == CONFAB_BOUNDARIES_STREAM && !endpoint->framed;
}

enum kind { UNSUITED, OTHER, PIPE };

/* Whether splice on @endpoint's @side never waits inside the kernel. */
static enum kind spliced_kind(const confab_endpoint *endpoint, int side) {
        int fd = endpoint->fds[side], flags;
        struct stat st;

        if (!is_stream(endpoint) || fd < 0 || fstat(fd, &st) < 0)
                return UNSUITED;
        if (S_ISFIFO(st.st_mode))
                return PIPE;
        if (S_ISREG(st.st_mode))
                return OTHER;
        flags = fcntl(fd, F_GETFL);
        if (!S_ISSOCK(st.st_mode) || flags < 0)
                return UNSUITED; /* terminals and other devices: each its own rules */
        if ((flags & O_NONBLOCK) == 0 && (!endpoint->owns_fds || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0))
                return UNSUITED;
        return OTHER;
}

static enum way choose_way(const confab_transfer *transfer) {
        enum kind from, to;

        if ((transfer->options.flags & CONFAB_TRANSFER_DESCRIPTORS) != 0)
                return COPY;
        from = spliced_kind(transfer->source, CFB_RECEIVING);
        to = spliced_kind(transfer->sink, CFB_SENDING);
        if (from == UNSUITED || to == UNSUITED)
                return COPY;
        return from == PIPE || to == PIPE ? DIRECT : PIPED;
}

static bool is_on_ext4(int fd) {
        struct statfs fs;

        return fstatfs(fd, &fs) == 0 && fs.f_type == MAGIC_EXT4;
}

int confab_transfer_new(confab_transfer **transferp, confab_endpoint *source, confab_endpoint *sink,
                        const struct confab_transfer_options *options) {
        CFB_UNCANCELLED;
        confab_transfer *transfer;
        struct stat st;
        bool to_file;

        if (transferp == NULL || source == NULL || sink == NULL)
                return cfb_failed(-EINVAL, "transfer", "NULL");
        if (options != NULL &&
            (options->size < sizeof(*options) || (options->flags & ~CONFAB_TRANSFER_DESCRIPTORS) != 0))
                return cfb_failed_with(-EINVAL, "transfer", NULL, NULL, "options of another version", 0, 0);
        if (source->listening || (source->direction & CONFAB_RECEIVE) == 0)
                return cfb_unsupported_of(source, "transfer", "receiving on this endpoint");
        if (sink->listening || (sink->direction & CONFAB_SEND) == 0)
                return cfb_unsupported_of(sink, "transfer", "sending on this endpoint");
        transfer = cfb_allocate(sizeof(*transfer));
        if (transfer == NULL)
                return cfb_failed(-ENOMEM, "transfer", confab_address(source));
        transfer->source = source;
        transfer->sink = sink;
        if (options != NULL)
                transfer->options = *options;
        transfer->waits = CONFAB_RECEIVE;
        transfer->pipe_fds[0] = transfer->pipe_fds[1] = -1;
        transfer->carries_boundaries = !is_stream(source);
        transfer->cut =
                sink->properties.message_max > SIZE_MAX / 2 ? SIZE_MAX / 2 : sink->properties.message_max;
        transfer->way = choose_way(transfer);
        if (transfer->way != COPY)
                cfb_sigpipe_guard();
        to_file = fstat(sink->fds[CFB_SENDING], &st) == 0 && S_ISREG(st.st_mode);
        transfer->move_len = to_file ? FILE_MOVE_LEN : MOVE_LEN;
        transfer->reserves = to_file && is_on_ext4(sink->fds[CFB_SENDING]);
        if (transfer->way == PIPED) {
                if (pipe2(transfer->pipe_fds, O_CLOEXEC | O_NONBLOCK) < 0)
                        transfer->way = COPY; /* no descriptors left: the slower way needs none */
                else                          /* it keeps its 64 KiB where the user has too many already */
                        fcntl(transfer->pipe_fds[0], F_SETPIPE_SZ, to_file ? FILE_PIPE_LEN : MOVE_LEN);
        }
        *transferp = transfer;
        return 0;
}

void confab_transfer_waits(const confab_transfer *transfer, struct confab_interest *interest) {
        interest->endpoint = transfer->waits == CONFAB_SEND ? transfer->sink : transfer->source;
        interest->direction = transfer->waits;
        interest->ready = 0;
}

static void drop_message(confab_transfer *transfer) {
        if (transfer->holding && transfer->message.data != transfer->piece)
                confab_release(transfer->source, &transfer->message);
        transfer->holding = false;
        transfer->sent = 0;
}

confab_transfer *confab_transfer_free(confab_transfer *transfer) {
        CFB_UNCANCELLED;

        if (transfer == NULL)
                return NULL;
        drop_message(transfer);
        cfb_release(transfer->piece);
        cfb_closep(&transfer->pipe_fds[0]);
        cfb_closep(&transfer->pipe_fds[1]);
        cfb_release(transfer);
        return NULL;
}

/* -EAGAIN and what the next step waits for. */
static int would_wait(confab_transfer *transfer, uint32_t direction) {
        transfer->waits = direction;
        return -EAGAIN;
}

/*
 * splice between descriptors of a step: the count, 0 at the end, -EAGAIN, or -errno recorded on the endpoint it is about. A
 * regular file as the sink may be full; its -EINVAL is answered by copying.
 */
static int64_t splice_step(confab_transfer *transfer, int from, int to, size_t len, bool to_sink) {
        confab_endpoint *about = to_sink ? transfer->sink : transfer->source;
        int64_t n = CFB_STEP(cfb_splice(from, to, len));

        if (n >= 0 || n == -EAGAIN || n == -EINVAL)
                return n;
        return cfb_failed((int)n, "splice", confab_address(about));
}

/* The kernel does not splice these two: copy, beginning with what is in the pipe. */
static int change_to_copy(confab_transfer *transfer) {
        transfer->way = COPY;
        return 1;
}

/* A FIFO answers 0 before its first writer too; only then does it not poll (transport/fifo.c). Everything else at its end does. */
static bool has_not_begun(int from) {
        struct pollfd source = {.fd = from, .events = POLLIN};

        return poll(&source, 1, 0) == 0;
}

/* Fills the empty pipe: with one piece for a socket, with all there is for a file. 1, 0 at the end, -EAGAIN. */
static int fill_pipe(confab_transfer *transfer) {
        int from = transfer->source->fds[CFB_RECEIVING];
        int64_t n;

        do {
                n = splice_step(transfer, from, transfer->pipe_fds[1], transfer->move_len - transfer->piped,
                                false);
                transfer->piped += n > 0 ? (size_t)n : 0;
        } while (n > 0 && transfer->move_len > MOVE_LEN && transfer->piped < transfer->move_len);
        if (n == 0 && has_not_begun(from))
                n = -EAGAIN;
        if (n == -EINVAL && transfer->piped == 0)
                return change_to_copy(transfer);
        transfer->ended = n == 0;
        if (n < 0 && n != -EAGAIN && n != -EINVAL)
                transfer->failure = (int)n;
        if (transfer->piped > 0)
                return 1;
        return n == -EAGAIN ? would_wait(transfer, CONFAB_RECEIVE) : (int)n;
}

/* Blocks for what the pipe holds. It need not succeed: a full disk is told by the write. */
static void reserve(confab_transfer *transfer) {
        int to = transfer->sink->fds[CFB_SENDING];
        off_t at = lseek(to, 0, SEEK_CUR);

        if (at < 0 || fallocate(to, FALLOC_FL_KEEP_SIZE, at, (off_t)transfer->piped) < 0)
                transfer->reserves = false;
}

/* One round through the pipe. 1: something moved, 0: the end, -EAGAIN. */
static int step_piped(confab_transfer *transfer, uint64_t *moved) {
        int64_t n;

        if (transfer->piped == 0) {
                int r = transfer->failure;

                if (transfer->ended)
                        return 0;
                if (r < 0) {
                        transfer->failure = 0;
                        return cfb_failed(r, "splice", confab_address(transfer->source));
                }
                r = fill_pipe(transfer);
                if (transfer->piped == 0) {
                        transfer->failure = 0; /* told at once */
                        return r;
                }
                if (transfer->reserves && transfer->piped >= RESERVE_LEAST)
                        reserve(transfer);
        }
        n = splice_step(transfer, transfer->pipe_fds[0], transfer->sink->fds[CFB_SENDING], transfer->piped,
                        true);
        if (n == -EINVAL)
                return change_to_copy(transfer);
        if (n < 0)
                return n == -EAGAIN ? would_wait(transfer, CONFAB_SEND) : (int)n;
        transfer->piped -= (size_t)n;
        *moved += (uint64_t)n;
        return 1;
}

/* A socket at its end polls readable as one with bytes does. */
static bool is_at_end(int fd) {
        char byte;

        return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/*
 * One of the two ends may be what -EAGAIN is about: poll tells which. -EPIPE comes before the kernel looks whether there is anything to
 * send at all: a sink that has gone is an error only for bytes that were meant for it.
 */
static int step_direct(confab_transfer *transfer, uint64_t *moved) {
        int from = transfer->source->fds[CFB_RECEIVING], to = transfer->sink->fds[CFB_SENDING];
        struct pollfd source = {.fd = from, .events = POLLIN};
        int64_t n = CFB_STEP(cfb_splice(from, to, transfer->move_len));
        bool nothing = (n == -EAGAIN || n == -EPIPE) && poll(&source, 1, 0) == 0;

        if (n == -EINVAL)
                return change_to_copy(transfer);
        if (n == -EAGAIN || (n == -EPIPE && nothing))
                return would_wait(transfer, nothing ? CONFAB_RECEIVE : CONFAB_SEND);
        if (n == -EPIPE && (source.revents & POLLIN) == 0)
                n = 0;
        if (n == -EPIPE && is_at_end(from))
                n = 0;
        if (n < 0)
                return cfb_failed((int)n, "splice", confab_address(transfer->sink));
        if (n == 0 && has_not_begun(from))
                return would_wait(transfer, CONFAB_RECEIVE);
        transfer->ended = n == 0;
        *moved += (uint64_t)n;
        return n > 0;
}

/* Bytes left in our pipe after a change to copying. */
static int take_piped(confab_transfer *transfer) {
        ssize_t n;

        if (transfer->piece == NULL)
                transfer->piece = cfb_allocate_untouched(CFB_STREAM_BUFFER);
        if (transfer->piece == NULL)
                return cfb_failed(-ENOMEM, "transfer", confab_address(transfer->source));
        n = read(transfer->pipe_fds[0], transfer->piece, CFB_STREAM_BUFFER);
        if (n <= 0)
                return cfb_failed(n < 0 ? -errno : -EPIPE, "read", confab_address(transfer->source));
        transfer->piped -= (size_t)n;
        transfer->message = confab_message_of(transfer->piece, (size_t)n);
        transfer->holding = true;
        return 1;
}

static int take_message(confab_transfer *transfer) {
        int r;

        if (transfer->piped > 0)
                return take_piped(transfer);
        if (transfer->failure < 0) {
                r = transfer->failure;
                transfer->failure = 0;
                return cfb_failed(r, "splice", confab_address(transfer->source));
        }
        transfer->message = confab_message_of(NULL, 0);
        r = confab_receive(transfer->source, &transfer->message, NULL, CONFAB_NOW);
        if (r == -EAGAIN)
                return would_wait(transfer, CONFAB_RECEIVE);
        if (r < 0)
                return r;
        transfer->ended = r == 0;
        transfer->holding = r > 0;
        if (r > 0 && transfer->message.peer != NULL && transfer->options.from_peer != NULL)
                *transfer->options.from_peer = *transfer->message.peer;
        return r;
}

/* What goes out next: the rest of the message under way, with as much around it as the sink knows. */
static struct confab_message outgoing(const confab_transfer *transfer) {
        const struct confab_properties *sink = &transfer->sink->properties;
        const struct confab_message *in = &transfer->message;
        struct confab_message out;

        out = confab_message_of((const unsigned char *)in->data + transfer->sent,
                                (size_t)in->data_len - transfer->sent);
        if (!transfer->carries_boundaries && out.data_len > transfer->cut)
                out.data_len = transfer->cut;
        if (sink->types == CONFAB_YES && in->type > 0)
                out.type = in->type;
        if (sink->priorities > 0)
                out.priority = in->priority < sink->priorities ? in->priority : sink->priorities - 1;
        if (sink->descriptors == CONFAB_YES && transfer->sent == 0) {
                out.descriptors = in->descriptors;
                out.n_descriptors = in->n_descriptors;
        }
        if (transfer->options.to_peer != NULL &&
            (transfer->options.to_peer->flags & CONFAB_PEER_ADDRESS) != 0)
                out.peer = transfer->options.to_peer;
        return out;
}

static int step_copy(confab_transfer *transfer, uint64_t *moved) {
        struct confab_message out;
        int64_t n;
        int r;

        if (!transfer->holding) {
                if (transfer->ended && transfer->piped == 0)
                        return 0;
                r = take_message(transfer);
                if (r <= 0)
                        return r;
        }
        out = outgoing(transfer);
        n = confab_send(transfer->sink, &out, CONFAB_NOW);
        if (n == -EAGAIN)
                return would_wait(transfer, CONFAB_SEND);
        if (n < 0) {
                if (n != -EINTR)
                        drop_message(transfer);
                return (int)n;
        }
        transfer->flushing = transfer->sink->framed != NULL;
        transfer->sent += (size_t)n;
        *moved += (uint64_t)n;
        if (transfer->sent == transfer->message.data_len)
                drop_message(transfer);
        return 1;
}

/* What the sink keeps of a message that was cut short: everything else comes after it. */
static int flush_sink(confab_transfer *transfer) {
        int r = cfb_rest_flush(transfer->sink, CONFAB_NOW);

        if (r == -EAGAIN)
                return would_wait(transfer, CONFAB_SEND);
        transfer->flushing = r == -EINTR;
        return r;
}

static int step_spliced(confab_transfer *transfer, uint64_t *moved) {
        int r = transfer->sink->rest.bytes ? flush_sink(transfer) : 0;

        if (r < 0)
                return r;
        return transfer->way == PIPED ? step_piped(transfer, moved) : step_direct(transfer, moved);
}

static int step_now(confab_transfer *transfer, uint64_t *moved) {
        int r = transfer->way == COPY ? step_copy(transfer, moved) : step_spliced(transfer, moved);

        if (transfer->flushing && (r == 0 || (r == -EAGAIN && transfer->waits == CONFAB_RECEIVE))) {
                int flushed = flush_sink(transfer);

                return flushed < 0 ? flushed : r;
        }
        return r;
}

static int step_held(confab_transfer *transfer, uint64_t *movedp, int64_t deadline_ns) {
        uint64_t moved = 0;
        int r;

        for (;;) {
                /* Several rounds, so that a loop's own cost counts little; not without end, so that others get their turn. */
                for (unsigned i = 0; i < STEPS_MAX && (r = step_now(transfer, &moved)) == 1; i++)
                        ;
                if (movedp != NULL)
                        *movedp += moved;
                if (r == 1) /* its turn is over: whatever may make it go on */
                        transfer->waits = transfer->piped > 0 || transfer->holding || transfer->flushing
                                                  ? CONFAB_SEND
                                                  : CONFAB_RECEIVE;
                if (r != -EAGAIN)
                        return r;
                if (moved > 0)
                        return 1;
                if (deadline_ns <= CONFAB_NOW)
                        return -EAGAIN;
                r = cfb_wait_holding(
                        transfer->waits == CONFAB_SEND ? transfer->sink : transfer->source, transfer->waits,
                        transfer->waits == CONFAB_SEND ? transfer->source : transfer->sink, deadline_ns);
                if (r < 0)
                        return r;
        }
}

int confab_transfer_step(confab_transfer *transfer, uint64_t *movedp, int64_t deadline_ns) {
        CFB_UNCANCELLED;
        int r;

        if (transfer == NULL)
                return cfb_failed(-EINVAL, "transfer", "NULL");
        /* Held from the first call of each to the last, as one: closing by another thread waits for it. */
        r = cfb_enter(transfer->source, CFB_HELD + CFB_RECEIVING);
        if (r < 0)
                return r;
        r = cfb_enter(transfer->sink, CFB_HELD + CFB_SENDING);
        if (r >= 0) {
                r = step_held(transfer, movedp, deadline_ns);
                cfb_leave(transfer->sink, CFB_HELD + CFB_SENDING);
        }
        cfb_leave(transfer->source, CFB_HELD + CFB_RECEIVING);
        return r;
}
