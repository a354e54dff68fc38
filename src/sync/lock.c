/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * The public calls of every kind of lock, and what all kinds share: one thread at a time, interrupts, closing, forks.
 *
 *   [L1] a caller:  busy 0 -> 1;  look at closing (cfb_lock_ended, before every wait);  ...;  busy = 0
 *        close:     closing = 1;  nudge;  until busy is 0
 *
 * Sequentially consistent: either the caller sees that it is closing, or close sees the caller and waits for it.
 *
 *   [L2] an opener: n = forks, even;  open;  the descriptor stands in its handle;  forks still n, else once more
 *        fork:      forks++;  the descriptors are copied, the memory is copied;  forks++
 *
 * Sequentially consistent too. A child that has a copy of the descriptor sees it in its handle and closes it, or the opener sees the fork and throws
 * the descriptor away, with nothing locked by it yet. So a handle is in the list before it opens, and until it has closed.
 *
 * Fork: the handler goes through the list of handles. The child's list is its own from then on; its parent's threads do not exist there,
 * so nobody is within a call. Children of vfork, posix_spawn and a bare clone run no handlers: close-on-exec is what they get.
 */
#include "sync/lock.h"
#include "base/cancel.h"
#include "base/error.h"
#include "base/memory.h"
#include "sync/board.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <time.h>

/* What has "://" in it is looked for here; the first one is what has not. */
static const struct cfb_lock_kind *const cfb_lock_kinds[] = {&cfb_file_lock};

enum { N_YIELDS = 100, NAP_NS = 1000000 };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* the list */
static confab_lock *all;
static _Atomic uint32_t forks; /* [L2]; odd: one is under way */

static void before_fork(void) {
        pthread_mutex_lock(&mutex);
        cfb_board_before_fork();
        atomic_fetch_add(&forks, 1); /* [L2] */
}

static void after_fork_parent(void) {
        atomic_fetch_add(&forks, 1); /* [L2] */
        cfb_board_after_fork(false);
        pthread_mutex_unlock(&mutex);
}

static void after_fork_child(void) {
        atomic_fetch_add(&forks, 1); /* [L2] */
        cfb_board_after_fork(true);
        for (confab_lock *lock = all; lock; lock = lock->next) {
                lock->foreign = !(lock->flags & CONFAB_LOCK_INHERIT);
                atomic_store(&lock->busy, 0);
                memset(&lock->nudge, 0, sizeof(lock->nudge));
                lock->kind->forked(lock);
        }
        pthread_mutex_unlock(&mutex);
}

uint32_t cfb_lock_forks(void) {
        uint32_t n;

        while ((n = atomic_load(&forks)) % 2) { /* [L2] */
                pthread_mutex_lock(&mutex);
                pthread_mutex_unlock(&mutex);
        }
        return n;
}

static void prepare(void) {
        pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

static void enlist(confab_lock *lock) {
        pthread_mutex_lock(&mutex);
        lock->next = all;
        lock->placep = &all;
        if (all)
                all->placep = &lock->next;
        all = lock;
        pthread_mutex_unlock(&mutex);
}

static void delist(confab_lock *lock) {
        pthread_mutex_lock(&mutex);
        if (lock->placep) {
                *lock->placep = lock->next;
                if (lock->next)
                        lock->next->placep = lock->placep;
        }
        pthread_mutex_unlock(&mutex);
}

/* --- one thread at a time --- */

static size_t explain_foreign(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(
                text, text_cap, &used,
                "%s: %s: this handle belongs to the process that forked, and so does what it holds; open one "
                "in the child, or open it with CONFAB_LOCK_INHERIT where both shall have it",
                failure->subject, failure->call);
        return used;
}

static size_t explain_ended(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: lock: %s", failure->subject,
                   failure->error == -EINTR   ? "confab_lock_interrupt ended the wait"
                   : failure->error == -EBUSY ? "another thread is within a call on this handle; each thread "
                                                "needs a handle of its own"
                                              : "another thread closed the handle");
        return used;
}

static int enter(confab_lock *lock, const char *call) {
        uint32_t nobody = 0;

        if (!lock)
                return cfb_failed(-EINVAL, call, "NULL");
        if (lock->foreign)
                return cfb_failed_with(-EOWNERDEAD, call, lock->name, explain_foreign, NULL, 0, 0);
        if (!atomic_compare_exchange_strong(&lock->busy, &nobody, 1)) /* [L1] */
                return cfb_failed_with(-EBUSY, call, lock->name, explain_ended, NULL, 0, 0);
        return 0;
}

static void leave(confab_lock *lock) {
        atomic_store(&lock->busy, 0); /* [L1] */
}

int cfb_lock_ended(confab_lock *lock) {
        uint32_t interrupts = atomic_load(&lock->interrupts);

        if (atomic_load(&lock->closing)) /* [L1] */
                return cfb_failed_with(-ECANCELED, "lock", lock->name, explain_ended, NULL, 0, 0);
        if (interrupts == lock->interrupts_seen)
                return 0;
        lock->interrupts_seen = interrupts;
        return cfb_failed_with(-EINTR, "lock", lock->name, explain_ended, NULL, 0, 0);
}

/* --- the calls --- */

/* a: how long the scheme is. */
static size_t explain_kind(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(
                text, text_cap, &used,
                "%s: there is no kind of lock '%.*s://'; a file is locked by its path, ./NAME where the name "
                "itself has '://' in it",
                failure->subject, (int)failure->a, failure->subject);
        return used;
}

static const struct cfb_lock_kind *kind_of(const char *name) {
        const char *colon = strstr(name, "://"), *slash = strchr(name, '/');
        size_t len = colon ? (size_t)(colon - name) : 0;

        if (!colon || slash < colon)
                return cfb_lock_kinds[0];
        for (size_t i = 1; i < CFB_ARRAY_LEN(cfb_lock_kinds); i++)
                if (strlen(cfb_lock_kinds[i]->scheme) == len &&
                    strncmp(cfb_lock_kinds[i]->scheme, name, len) == 0)
                        return cfb_lock_kinds[i];
        cfb_failed_with(-EOPNOTSUPP, "lock", name, explain_kind, NULL, (int64_t)len, 0);
        return NULL;
}

static void end(confab_lock *lock) {
        lock->kind->close(lock);
        delist(lock);
        cfb_release(lock->name);
        cfb_release(lock);
}

int confab_lock_open(confab_lock **lockp, const char *name, const struct confab_lock_options *options) {
        CFB_UNCANCELLED;
        const uint32_t known = CONFAB_LOCK_CREATE | CONFAB_LOCK_FOLLOW | CONFAB_LOCK_REOPEN |
                               CONFAB_LOCK_INHERIT | CONFAB_LOCK_ANY_THREAD;
        const struct cfb_lock_kind *kind;
        confab_lock *lock;
        int r;

        if (!lockp || !name || !name[0])
                return cfb_failed_with(-EINVAL, "lock", NULL, NULL,
                                       name && lockp ? "the name is missing" : "NULL", 0, 0);
        if (options && (options->size < sizeof(*options) || (options->flags & ~known) || options->reserved ||
                        (options->mode & ~07777u)))
                return cfb_failed_with(-EINVAL, "lock", NULL, NULL, "options this version does not know", 0,
                                       0);
        kind = kind_of(name);
        if (!kind)
                return -EOPNOTSUPP;
        pthread_once(&once, prepare);
        lock = cfb_allocate(sizeof(*lock) + kind->state_len);
        if (!lock || !(lock->name = cfb_copy_text(name))) {
                cfb_release(lock);
                return cfb_failed(-ENOMEM, "lock", name);
        }
        lock->kind = kind;
        lock->flags = options ? options->flags : 0;
        kind->init(lock, options && options->mode ? options->mode : 0600);
        enlist(lock);
        r = kind->open(lock);
        if (r < 0) {
                end(lock);
                return r;
        }
        *lockp = lock;
        return 0;
}

/* a: start, b: length. */
static size_t explain_range(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used,
                   "%s: %s: %llu bytes from %llu: a file ends before byte 9223372036854775808 (2^63)",
                   failure->subject, failure->call, (unsigned long long)failure->b,
                   (unsigned long long)failure->a);
        return used;
}

static int read_range(const confab_lock *lock, const char *call, uint64_t start, uint64_t len,
                      struct cfb_range *range) {
        range->start = start;
        range->last = CFB_LOCK_END;
        if (start <= CFB_LOCK_END && len <= CFB_LOCK_END && start + len <= CFB_LOCK_END + 1) {
                if (len)
                        range->last = start + len - 1;
                return 0;
        }
        return cfb_failed_with(-EINVAL, call, lock->name, explain_range, NULL, (int64_t)start, (int64_t)len);
}

int confab_lock_acquire(confab_lock *lock, uint32_t mode, uint64_t start, uint64_t len, int64_t deadline_ns) {
        CFB_UNCANCELLED;
        struct cfb_lock_request request = {.exclusive = mode == CONFAB_LOCK_EXCLUSIVE,
                                           .deadline_ns = deadline_ns};
        int r;

        if (mode != CONFAB_LOCK_SHARED && mode != CONFAB_LOCK_EXCLUSIVE)
                return cfb_failed_with(-EINVAL, "lock", NULL, NULL,
                                       "a mode is CONFAB_LOCK_SHARED or CONFAB_LOCK_EXCLUSIVE", 0, 0);
        r = enter(lock, "lock");
        if (r < 0)
                return r;
        r = read_range(lock, "lock", start, len, &request.range);
        if (r >= 0)
                r = lock->kind->acquire(lock, &request);
        leave(lock);
        return r;
}

int confab_lock_release(confab_lock *lock, uint64_t start, uint64_t len) {
        CFB_UNCANCELLED;
        struct cfb_range range;
        int r = enter(lock, "unlock");

        if (r < 0)
                return r;
        r = read_range(lock, "unlock", start, len, &range);
        if (r >= 0)
                r = lock->kind->release(lock, &range);
        leave(lock);
        return r;
}

int confab_lock_holders(confab_lock *lock, int (*each)(const struct confab_lock_holder *holder, void *data),
                        void *data) {
        CFB_UNCANCELLED;
        int r;

        if (!each)
                return cfb_failed(-EINVAL, "holders", lock ? lock->name : "NULL");
        r = enter(lock, "holders");
        if (r < 0)
                return r;
        r = lock->kind->holders(lock, each, data);
        leave(lock);
        return r;
}

int confab_lock_descriptor(confab_lock *lock) {
        int r = enter(lock, "descriptor");

        if (r < 0)
                return r;
        r = lock->kind->descriptor
                    ? lock->kind->descriptor(lock)
                    : cfb_failed_with(-EOPNOTSUPP, "descriptor", lock->name, NULL, "it has none", 0, 0);
        leave(lock);
        return r;
}

static void end_wait(confab_lock *lock) {
        cfb_nudge(&lock->nudge);
        if (lock->kind->interrupt)
                lock->kind->interrupt(lock);
}

void confab_lock_interrupt(confab_lock *lock) {
        if (!lock || lock->foreign)
                return;
        atomic_fetch_add(&lock->interrupts, 1);
        end_wait(lock);
}

static void await_leaving(confab_lock *lock) {
        for (int i = 0; atomic_load(&lock->busy); i++) { /* [L1] */
                end_wait(lock);
                if (i < N_YIELDS)
                        sched_yield();
                else
                        nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
        }
}

confab_lock *confab_lock_close(confab_lock *lock) {
        CFB_UNCANCELLED;

        if (!lock)
                return NULL;
        atomic_store(&lock->closing, 1); /* [L1] */
        await_leaving(lock);
        end(lock);
        return NULL;
}
