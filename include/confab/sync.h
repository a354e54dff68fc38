/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CONFAB_SYNC_H
#define CONFAB_SYNC_H
/*
 * Locks: one process at a time, or several that only read. Here: of files and of parts of them, which the kernel keeps
 * (open-file-description locks) and gives up when their holder dies, at whatever instruction.
 *
 * They exclude each other, the classical record locks of fcntl and lockf, and those of other programs with descriptions of their
 * own; flock(2) is a world apart. All are advisory: who does not ask is not stopped.
 * Two handles exclude each other also within one process: a handle is what holds, not the process. A lock is not counted.
 *
 * Threads: one at a time on a handle (-EBUSY for another); confab_lock_interrupt and confab_lock_close are safe from any.
 * Fork: a handle stays the parent's; in the child it answers -EOWNERDEAD to all but confab_lock_close, and the child keeps nothing locked.
 * With CONFAB_LOCK_INHERIT both have the one lock. Exec drops it, unless the descriptor is handed on (confab_lock_descriptor).
 */
#include <confab/types.h>

CONFAB_BEGIN_DECLS

/* A handle on something that can be locked: a file. */
typedef struct confab_lock confab_lock;

struct confab_lock_options {
        uint32_t size;
        uint32_t flags; /* CONFAB_LOCK_* */
        uint32_t mode;  /* CREATE: the mode of a new file, whatever the umask; 0: 0600 */
        uint32_t reserved;
};
#define CONFAB_LOCK_CREATE 1u /* make the file if it is not there */
#define CONFAB_LOCK_FOLLOW 2u /* the name may be a symbolic link */
/*
 * What was locked shall be what the name leads to: after the first lock of a handle that held none the name is looked at again, and where the
 * file was removed or replaced meanwhile, the new one is opened and waited for. For lock files that are removed or renamed over.
 */
#define CONFAB_LOCK_REOPEN 4u
#define CONFAB_LOCK_INHERIT \
        8u /* forked children have the same lock: it ends when one releases it, or all have closed */
/* Others than the thread that locked may release: what is held is then left out of the search for deadlocks. */
#define CONFAB_LOCK_ANY_THREAD 16u

/*
 * Opens @name for locking: a path ("data.db", "/run/job.lock"; a regular file or a block device). What has "://" in it is an
 * address of another kind of lock: none in this version. Locks nothing, reads and writes nothing, does not block.
 * *@lockp is the caller's (confab_lock_close). @options may be NULL. -ENOENT; -EACCES; -ELOOP: a symbolic link;
 * -EISDIR; -EOPNOTSUPP: a FIFO, a socket, a device, or a kind of lock there is not; -EINVAL: no name; -errno.
 */
CONFAB_API int confab_lock_open(confab_lock **lockp, const char *name,
                                const struct confab_lock_options *options);

#define CONFAB_LOCK_SHARED    1u
#define CONFAB_LOCK_EXCLUSIVE 2u

/*
 * Locks @len bytes from @start; @len 0: up to the end, however long the file grows; so 0, 0 is all of it. The bytes need not exist.
 * What this handle holds of them already changes to @mode: EXCLUSIVE to SHARED at once, with no gap; SHARED to EXCLUSIVE
 * keeps the shared lock while it waits for the others to leave.
 *
 * Waits until @deadline_ns in the kernel's order, which is none in particular. 0, or -EAGAIN: CONFAB_NOW, and somebody has it
 * (confab_explain is not told); -ETIMEDOUT (confab_explain names the holder); -EINTR: confab_lock_interrupt;
 * -EDEADLK: it would wait for ever, because who holds it waits, directly or through others, for what this thread holds: release
 * something and begin again. Found among threads of one user's processes that lock through this library, about 20 ms after the wait
 * began; the wait that began last is refused, the others go on.
 * -EACCES: the file could not be opened for writing (EXCLUSIVE) or reading (SHARED); -EOPNOTSUPP, -ENOLCK: the
 * file system keeps no locks, it is named; -ENOENT: REOPEN, and the name is gone; -EINVAL: a range past 2^63 - 1; -EBUSY; -EOWNERDEAD.
 */
CONFAB_API int confab_lock_acquire(confab_lock *lock, uint32_t mode, uint64_t start, uint64_t len,
                                   int64_t deadline_ns);

/* Gives up what the handle holds of the range, as above; what it does not hold is no failure. Does not block. 0, or -errno. */
CONFAB_API int confab_lock_release(confab_lock *lock, uint64_t start, uint64_t len);

/* One who holds a lock of the file, or waits for one. Size first: it may grow. */
struct confab_lock_holder {
        uint32_t size;
        uint32_t kind;       /* enum confab_lock_kind */
        uint32_t mode;       /* CONFAB_LOCK_SHARED, CONFAB_LOCK_EXCLUSIVE */
        uint32_t waits;      /* 1: does not have it yet */
        int64_t pid;         /* 0: unknown: another user's, in another namespace, or on another machine */
        const char *command; /* "": unknown; borrowed until the callback returns */
        uint64_t start, len; /* the range; len 0: up to the end */
        int64_t since_ns;    /* monotonic: when it last got something, or began to wait; 0: unknown */
};
enum confab_lock_kind {
        CONFAB_LOCK_BY_DESCRIPTION = 1, /* open-file-description: this library's, and others' */
        CONFAB_LOCK_BY_PROCESS = 2,     /* fcntl(F_SETLK), lockf */
        CONFAB_LOCK_BY_FLOCK = 3,       /* flock(2): it does not exclude the other two */
};

/*
 * Calls @each for every lock of the file, this handle's too, and every wait for one, until it returns anything but 0. A snapshot of /proc:
 * what it says may be past already. A lock whose holder may not be seen is told with pid 0, never left out. A
 * description that several processes share is told for each. Returns how many there were, or -errno.
 */
CONFAB_API int confab_lock_holders(confab_lock *lock,
                                   int (*each)(const struct confab_lock_holder *holder, void *data),
                                   void *data);

/* Ends the wait under way on the handle, or else the next one, with -EINTR. Async-signal-safe, any thread. */
CONFAB_API void confab_lock_interrupt(confab_lock *lock);

/*
 * The descriptor that holds, close-on-exec, the handle's: to hand it on to a program that shall keep the lock when this process has
 * died. Do not close it, and do not lock through it. -ENOENT: REOPEN, and the name was gone at the last look; -EOWNERDEAD.
 */
CONFAB_API int confab_lock_descriptor(confab_lock *lock);

/*
 * Releases everything and closes. In a forked child, and with CONFAB_LOCK_INHERIT, it closes this process's copy alone.
 * A call under way in another thread returns -ECANCELED first. Accepts NULL; returns NULL.
 */
CONFAB_API confab_lock *confab_lock_close(confab_lock *lock);

CONFAB_END_DECLS
#endif
