/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_SYNC_KERNEL_LOCK_H
#define CFB_SYNC_KERNEL_LOCK_H
/* The kernel's list of locks as /proc shows it, and what file system a descriptor is on. */
#include "sync/lock.h"

struct cfb_kernel_lock {
        uint64_t device,
                inode; /* the kernel's own: CFB_DEVICE(major, minor) of the file system, not always what stat says */
        struct cfb_range range;
        int64_t pid;   /* -1: the kernel does not say */
        uint32_t kind; /* enum confab_lock_kind */
        bool exclusive, waits;
};
#define CFB_DEVICE(major, minor) ((uint64_t)(major) << 32 | (uint64_t)(minor))

/*
 * Calls @each for the locks of @path, "/proc/locks" or one of /proc/PID/fdinfo, until it returns anything but 0. That, or 0; or
 * -errno where @path cannot be read. Unknown lines are passed over. Allocates nothing.
 */
int cfb_kernel_locks(const char *path, int (*each)(const struct cfb_kernel_lock *lock, void *data),
                     void *data);

static inline bool cfb_ranges_meet(const struct cfb_range *a, const struct cfb_range *b) {
        return a->start <= b->last && b->start <= a->last;
}

/* The file behind the descriptor @file as the kernel's list has it. 0, or -errno (no /proc). */
int cfb_kernel_file(int file, uint64_t *devicep, uint64_t *inodep);

/* What the process is called ("" if that may not be seen), at most @name_cap bytes with the NUL. */
void cfb_process_name(int64_t pid, char *name, size_t name_cap);

/* Whether it has been killed, or is on its way out, or cannot be looked at. It may still hold everything it held, for as long as its memory takes to be freed. */
bool cfb_process_is_dying(int64_t pid);

/* What is known of locks on the file system of a descriptor. */
struct cfb_file_system {
        const char *name; /* "nfs", "fuse", "ext4"; "file system 0x1234" has none here and is NULL */
        uint64_t type;    /* statfs f_type */
        bool naps;        /* a wait within the call may not end when it should: try and nap */
        bool shared;      /* other machines have it too: their holders are not seen here */
};
void cfb_file_system_of(int fd, struct cfb_file_system *file_system);

/* What the file system answers, replaced by tests: the kernel of the test machine has neither nfs nor 9p. */
#include <fcntl.h>
#include <sys/vfs.h>
struct cfb_lock_calls {
        int (*statfs)(int fd, struct statfs *status);                /* fstatfs */
        int (*lock)(int fd, int command, struct flock *description); /* fcntl */
};
extern struct cfb_lock_calls cfb_lock_calls;

#endif
