/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_SYNC_LOCK_H
#define CFB_SYNC_LOCK_H
/*
 * What every kind of lock implements. lock.c checks arguments, lets one thread in at a time, keeps interrupts and closing, and tells
 * forked children; a kind is one file and a line in cfb_lock_kinds. A kind without ranges refuses all but 0, 0; a semaphore would get
 * a member for its count here.
 */
#include "base/nudge.h"

#include <confab/sync.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A range as its first and last byte: what the kernel prints. The last byte of all is CFB_LOCK_END. */
struct cfb_range {
        uint64_t start, last;
};
#define CFB_LOCK_END ((uint64_t)INT64_MAX)

struct cfb_lock_request {
        struct cfb_range range;
        bool exclusive;
        int64_t deadline_ns;
};

typedef int cfb_lock_each(const struct confab_lock_holder *holder, void *data);

struct cfb_lock_kind {
        const char *scheme; /* "lock" of lock://name; NULL: a name without one */
        size_t state_len;
        /* lock->state is zeroed, name and flags are set: makes it one with nothing open, which forked() and close() can be called on. */
        void (*init)(confab_lock *lock, uint32_t mode);
        /* Records its failures, as all do. close is called after a failure too. */
        int (*open)(confab_lock *lock);
        /* Waits, and asks cfb_lock_ended whenever it may have been interrupted; -EAGAIN unrecorded. */
        int (*acquire)(confab_lock *lock, const struct cfb_lock_request *request);
        int (*release)(confab_lock *lock, const struct cfb_range *range);
        int (*holders)(confab_lock *lock, cfb_lock_each *each, void *data);
        int (*descriptor)(const confab_lock *lock); /* NULL: it has none */
        void (*interrupt)(confab_lock *lock);       /* beside the nudge; NULL: nothing. Async-signal-safe */
        void (*forked)(confab_lock *lock); /* in the child: system calls that are async-signal-safe only */
        void (*close)(confab_lock *lock);  /* lock->foreign: without a word to the others */
};

struct confab_lock {
        const struct cfb_lock_kind *kind;
        char *name;
        uint32_t flags;
        bool foreign;                       /* a forked child's copy, and not INHERIT */
        _Atomic uint32_t busy;              /* [L1] a thread is within a call */
        _Atomic uint32_t closing;           /* [L1] */
        _Atomic uint32_t interrupts;        /* how often; sticky, as confab_interrupt's */
        uint32_t interrupts_seen;           /* of the thread within */
        struct cfb_nudge nudge;             /* of the thread that waits within a system call */
        struct confab_lock *next, **placep; /* all of this process: fork goes through them */
        _Alignas(max_align_t) unsigned char state[];
};

static inline void *cfb_lock_state(const confab_lock *lock) {
        return (void *)lock->state;
}

/*
 * [L2] How many forks there were; waits for the end of one that is under way. What a kind opens between two looks that answer the same is in no
 * child that forked() could not tell.
 */
uint32_t cfb_lock_forks(void);

/* -EINTR or -ECANCELED, recorded, where the wait shall end; else 0. */
int cfb_lock_ended(confab_lock *lock);

extern const struct cfb_lock_kind cfb_file_lock;

#endif
