/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Carrying the corpus, and verifying it.
 *
 * Each message begins with a small header (struct part). A file that fits is one message; a larger one goes in parts. Streams get
 * boundaries by frame=record. The header repeats all the receiver must expect - which item, where in it, how long it is -
 * and carries the SHA-256 the sender has of the whole item, so a changed byte anywhere is noticed: in the bytes by the sum,
 * in the header by what does not follow.
 *
 *      TREE part ... TREE part, TREE_END (the sum of the tar stream), FILE part ..., END (how many files)
 *
 * Where messages may be lost (udp) near keeps the last WINDOW of them until far's acknowledgement, and after 20 ms without one sends
 * them all again (go-back-n); far takes only the next in order. That is the price of datagrams, and counted in the report.
 */
#include "demo.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
        MAGIC = 0x6e6f6366,
        LARGEST = 16 * 1024 * 1024, /* max= of framed streams, unless said */
        LOSSY_PART = 32 * 1024,
        WINDOW = 3, /* of LOSSY_PART bytes: fits the usual receive buffer of a udp socket */
        RESEND_MS = 20,
        RESENDS_MAX = 500,
};

enum part_kind { PART_TREE = 1, PART_TREE_END, PART_FILE, PART_END, PART_ACK };

struct part {
        uint32_t magic;
        uint32_t kind;
        uint64_t sequence; /* of the message, from 1; PART_ACK: the last one that came in order */
        uint64_t item;     /* number of the file; PART_END: how many there were */
        uint64_t offset;   /* of these bytes in the item */
        uint64_t len;      /* of these bytes */
        uint64_t item_len; /* of the item; PART_TREE: 0, nobody knows yet */
        unsigned char sum[DEMO_SUM];
};
_Static_assert(sizeof(struct part) == 80, "the page says so");

/* --- near --- */

struct carrier {
        struct measure_job *job;
        struct measure_ends *ends;
        uint64_t sequence;
        uint64_t part_cap;
        /* where messages may be lost */
        uint64_t acknowledged;
        unsigned char *kept[WINDOW];
        size_t kept_len[WINDOW];
};

static int send_bytes(struct carrier *carrier, const struct iovec *iov, unsigned n_iov) {
        struct confab_message message = confab_message_of(NULL, 0);
        int64_t n;

        message.iov = iov;
        message.n_iov = n_iov;
        n = confab_send(carrier->ends->out, &message, CONFAB_FOREVER);
        return n < 0 ? measure_fail_explained(carrier->job, n, "send") : 0;
}

static int send_kept_again(struct carrier *carrier) {
        for (uint64_t i = carrier->acknowledged + 1; i <= carrier->sequence; i++) {
                struct iovec iov = {carrier->kept[i % WINDOW], carrier->kept_len[i % WINDOW]};
                int r = send_bytes(carrier, &iov, 1);

                if (r < 0)
                        return r;
                carrier->job->carried.n_resent++;
        }
        return 0;
}

/* Until everything up to @sequence has been acknowledged. */
static int await_ack(struct carrier *carrier, uint64_t sequence) {
        for (int resends = 0; carrier->acknowledged < sequence;) {
                struct confab_message message = confab_message_of(NULL, 0);
                struct part part;
                int r = confab_receive(carrier->ends->in, &message, NULL,
                                       confab_after(RESEND_MS * INT64_C(1000000)));

                if (r == -ETIMEDOUT) {
                        if (atomic_load(&carrier->job->far.done) == 2) /* its last word was lost */
                                return 0;
                        r = ++resends > RESENDS_MAX ? measure_fail(carrier->job, -ETIMEDOUT,
                                                                   "the far end acknowledges nothing")
                                                    : send_kept_again(carrier);
                        if (r < 0)
                                return r;
                        continue;
                }
                if (r < 0)
                        return measure_fail_explained(carrier->job, r, "receive");
                if (message.data_len == sizeof(part)) {
                        memcpy(&part, message.data, sizeof(part));
                        if (part.kind == PART_ACK && part.sequence > carrier->acknowledged &&
                            part.sequence <= carrier->sequence)
                                carrier->acknowledged = part.sequence;
                }
                confab_release(carrier->ends->in, &message);
        }
        return 0;
}

static int keep(struct carrier *carrier, const struct part *part, const void *data) {
        unsigned slot = carrier->sequence % WINDOW;

        if (!carrier->kept[slot] && !(carrier->kept[slot] = malloc(sizeof(*part) + LOSSY_PART)))
                return measure_fail(carrier->job, -ENOMEM, "no memory for what may be sent again");
        memcpy(carrier->kept[slot], part, sizeof(*part));
        if (part->len)
                memcpy(carrier->kept[slot] + sizeof(*part), data, part->len);
        carrier->kept_len[slot] = sizeof(*part) + part->len;
        return 0;
}

static int send_part(struct carrier *carrier, struct part *part, const void *data) {
        struct iovec iov[2];
        int r = 0;

        if (carrier->job->lossy && carrier->sequence >= WINDOW)
                r = await_ack(carrier, carrier->sequence + 1 - WINDOW);
        if (r < 0)
                return r;
        part->magic = MAGIC;
        part->sequence = ++carrier->sequence;
        if (carrier->job->lossy)
                r = keep(carrier, part, data);
        if (r < 0)
                return r;
        iov[0] = (struct iovec){part, sizeof(*part)};
        iov[1] = (struct iovec){(void *)(uintptr_t)data, part->len};
        atomic_fetch_add(&carrier->job->progress, part->len);
        return send_bytes(carrier, iov, part->len ? 2 : 1);
}

/* All of @bytes as parts; an empty item is one empty part. */
static int send_parts(struct carrier *carrier, struct part *part, const unsigned char *bytes, uint64_t len) {
        uint64_t at = 0;

        do {
                int r;

                part->len = len - at < carrier->part_cap ? len - at : carrier->part_cap;
                r = send_part(carrier, part, bytes + at);
                if (r < 0)
                        return r;
                at += part->len;
                part->offset += part->len;
        } while (at < len);
        return 0;
}

/* tar as a child, read through exec://: the demo's input comes by one of the mechanisms it shows. */
static int carry_tree(struct carrier *carrier, const char *tree) {
        struct part part = {.kind = PART_TREE};
        char command[1024], address[3200] = "exec://";
        confab_endpoint *tar = NULL;
        struct sha256_ctx context;
        size_t n = strlen(address);
        int r;

        if (snprintf(command, sizeof(command),
                     "cd '%s' && exec tar --exclude=./.git --exclude='./build*' -cf - . 2>/dev/null",
                     tree) >= (int)sizeof(command) ||
            strchr(tree, '\''))
                return measure_fail(carrier->job, -EINVAL, "--tree: no such long names, and none with '");
        for (const char *c = command; *c; c++)
                n += (size_t)snprintf(address + n, sizeof(address) - n, "%%%02X", (unsigned char)*c);
        snprintf(address + n, sizeof(address) - n, "?direction=receive");
        r = confab_open(&tar, address, NULL, CONFAB_FOREVER);
        if (r < 0)
                return measure_fail_explained(carrier->job, r, "tar");
        sha256_init(&context);
        for (;;) {
                struct confab_message message = confab_message_of(NULL, 0);

                r = confab_receive(tar, &message, NULL, CONFAB_FOREVER);
                if (r < 0)
                        measure_fail_explained(carrier->job, r, "tar");
                if (r <= 0)
                        break;
                sha256_update(&context, message.data_len, message.data);
                r = send_parts(carrier, &part, message.data, message.data_len);
                confab_release(tar, &message);
                if (r < 0)
                        break;
        }
        confab_close(tar);
        if (r < 0)
                return r;
        part = (struct part){.kind = PART_TREE_END, .offset = part.offset, .item_len = part.offset};
        sha256_digest(&context, sizeof(part.sum), part.sum);
        return send_part(carrier, &part, NULL);
}

static int carry_file(struct carrier *carrier, const struct demo_file *file, uint64_t number) {
        struct part part = {.kind = PART_FILE, .item = number, .item_len = file->len};
        int fd = open(file->path, O_RDONLY | O_CLOEXEC), r;
        void *bytes = NULL;

        if (fd < 0)
                return measure_fail(carrier->job, -errno, "%s: %s", file->path, strerror(errno));
        if (file->len)
                bytes = mmap(NULL, file->len, PROT_READ, MAP_SHARED, fd, 0);
        close(fd);
        if (bytes == MAP_FAILED)
                return measure_fail(carrier->job, -errno, "%s: %s", file->path, strerror(errno));
        memcpy(part.sum, file->sum, sizeof(part.sum));
        r = send_parts(carrier, &part, bytes, file->len);
        if (bytes)
                munmap(bytes, file->len);
        return r;
}

int demo_carry(struct measure_job *job, struct measure_ends *ends, const struct demo_corpus *corpus) {
        struct carrier carrier = {.job = job, .ends = ends};
        uint64_t cap = job->properties.message_max < LARGEST ? job->properties.message_max : LARGEST;
        struct part end = {.kind = PART_END};
        int64_t begin = confab_now();
        int r = 0;

        if (cap <= sizeof(struct part))
                return measure_fail(job, -EMSGSIZE, "%s carries too small messages", job->label);
        carrier.part_cap = cap - sizeof(struct part);
        if (job->lossy && carrier.part_cap > LOSSY_PART)
                carrier.part_cap = LOSSY_PART;
        job->near.begin_ns = begin;
        if (corpus->tree)
                r = carry_tree(&carrier, corpus->tree);
        begin = job->near.end_ns = confab_now(); /* the files begin */
        for (unsigned i = 0; r >= 0 && i < corpus->n_files; i++) {
                if (corpus->limit_ns && confab_now() - begin > corpus->limit_ns)
                        break;
                r = carry_file(&carrier, &corpus->files[i], i);
                end.item = i + 1;
        }
        if (r >= 0)
                r = send_part(&carrier, &end, NULL);
        if (r >= 0 && job->lossy)
                r = await_ack(&carrier, carrier.sequence);
        for (int i = 0; i < WINDOW; i++)
                free(carrier.kept[i]);
        return r < 0 ? r : measure_await(job, &job->far.done, 2);
}

/* --- far --- */

struct verifier {
        struct measure_job *job;
        struct measure_ends *ends;
        struct sha256_ctx context;
        uint64_t sequence; /* of the last message taken */
        uint64_t item, offset;
        struct part first; /* of the file under way */
        bool ended;
};

static int wrong(struct verifier *verifier, const char *what) {
        return measure_fail(verifier->job, -EBADMSG,
                            "%s: corrupted: %s (message %llu, item %llu at byte %llu)", verifier->job->label,
                            what, (unsigned long long)verifier->sequence, (unsigned long long)verifier->item,
                            (unsigned long long)verifier->offset);
}

/* The item is whole: its sum against the sender's. */
static int sum_is_right(struct verifier *verifier, const struct part *part) {
        unsigned char sum[DEMO_SUM];

        sha256_digest(&verifier->context, sizeof(sum), sum); /* begins anew, too */
        verifier->offset = 0;
        return memcmp(sum, part->sum, sizeof(sum)) == 0 ? 0 : wrong(verifier, "the SHA-256 is another");
}

static int tree_ends(struct verifier *verifier, const struct part *part) {
        struct measure_carried *carried = &verifier->job->carried;
        uint64_t len = verifier->offset;
        int r;

        if (part->item_len != len)
                return wrong(verifier, "the tar stream has another length");
        r = sum_is_right(verifier, part);
        if (r < 0)
                return r;
        carried->tree_len = len;
        carried->tree_right = true;
        carried->tree_ns = confab_now() - verifier->job->near.begin_ns;
        for (size_t i = 0; i < DEMO_SUM; i++)
                snprintf(carried->tree_sum + 2 * i, 3, "%02x", part->sum[i]);
        return 0;
}

static int take_file_part(struct verifier *verifier, const struct part *part, const unsigned char *data) {
        struct measure_carried *carried = &verifier->job->carried;
        int r;

        if (verifier->offset == 0)
                verifier->first = *part;
        if (part->item != carried->n_files || part->item_len != verifier->first.item_len ||
            part->item_len < verifier->offset + part->len ||
            memcmp(part->sum, verifier->first.sum, sizeof(part->sum)) != 0)
                return wrong(verifier, "a part of another file");
        sha256_update(&verifier->context, part->len, data);
        verifier->offset += part->len;
        if (verifier->offset < part->item_len)
                return part->len ? 0 : wrong(verifier, "an empty part");
        r = sum_is_right(verifier, part);
        if (r < 0)
                return r;
        carried->n_files++;
        carried->n_bytes += part->item_len;
        verifier->item++;
        return 0;
}

/* What this kind of header does not use is 0, so that no byte of it is beyond checking. */
static bool rest_is_zero(const struct part *part) {
        static const unsigned char nothing[DEMO_SUM];
        bool sum = part->kind == PART_TREE_END || memcmp(part->sum, nothing, sizeof(nothing)) == 0;

        return part->kind == PART_FILE || (sum && (part->kind == PART_END || part->item == 0) &&
                                           (part->kind == PART_TREE_END || part->item_len == 0));
}

static int take_part(struct verifier *verifier, const struct part *part, const unsigned char *data) {
        struct measure_carried *carried = &verifier->job->carried;

        if (part->offset != verifier->offset || !rest_is_zero(part))
                return wrong(verifier, "a part that does not follow the one before");
        switch (part->kind) {
        case PART_TREE:
                if (carried->tree_right)
                        return wrong(verifier, "a second tar stream");
                sha256_update(&verifier->context, part->len, data);
                verifier->offset += part->len;
                return 0;
        case PART_TREE_END:
                return tree_ends(verifier, part);
        case PART_FILE:
                return take_file_part(verifier, part, data);
        case PART_END:
                if (part->item != carried->n_files || part->offset || part->len)
                        return wrong(verifier, "files are missing at the end");
                carried->files_ns = confab_now() - verifier->job->near.end_ns;
                carried->complete = true;
                verifier->ended = true;
                return 0;
        default:
                return wrong(verifier, "a header of no kind");
        }
}

static int acknowledge(struct verifier *verifier) {
        struct part part = {.magic = MAGIC, .kind = PART_ACK, .sequence = verifier->sequence};
        struct confab_message message = confab_message_of(&part, sizeof(part));
        int64_t n = confab_send(verifier->ends->out, &message, CONFAB_FOREVER);

        return n < 0 ? measure_fail_explained(verifier->job, n, "acknowledge") : 0;
}

static int take_message(struct verifier *verifier, const unsigned char *data, uint64_t data_len) {
        struct part part;
        int r = 0;

        if (data_len < sizeof(part))
                return wrong(verifier, "a message shorter than its header");
        memcpy(&part, data, sizeof(part));
        if (part.magic != MAGIC || part.len != data_len - sizeof(part))
                return wrong(verifier, "a header that does not fit its message");
        if (part.sequence == verifier->sequence + 1) {
                verifier->sequence++;
                verifier->job->carried.n_parts++;
                r = take_part(verifier, &part, data + sizeof(part));
        } else if (!verifier->job->lossy) {
                return wrong(verifier, "a message is missing, or came twice");
        }
        return r >= 0 && verifier->job->lossy ? acknowledge(verifier) : r;
}

int measure_verify(struct measure_job *job, struct measure_ends *ends) {
        struct verifier verifier = {.job = job, .ends = ends};

        sha256_init(&verifier.context);
        while (!verifier.ended) {
                struct confab_message message = confab_message_of(NULL, 0);
                int r = confab_receive(ends->in, &message, NULL, CONFAB_FOREVER);

                if (r < 0)
                        return measure_fail_explained(job, r, "receive");
                if (r == 0)
                        return wrong(&verifier, "the end came before it was announced");
                r = take_message(&verifier, message.data, message.data_len);
                confab_release(ends->in, &message);
                if (r < 0)
                        return r;
        }
        atomic_store(&job->far.done, 2);
        return 0;
}
