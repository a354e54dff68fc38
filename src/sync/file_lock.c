/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Locks of files and of byte ranges: open-file-description locks (F_OFD_SETLK, Linux 3.15), one description a handle.
 *
 * Why these: classical record locks belong to the process: two threads do not exclude each other, and closing any descriptor of the file
 * anywhere in the process, in a library one has never heard of, drops them all. flock(2) has no ranges and cannot change its mode without
 * letting go. Open-file-description locks belong to the description, exclude classical record locks, and change mode in place.
 *
 * What they lack is added here:
 * - deadlines: the wait blocks in F_OFD_SETLKW, ended by this thread's timer (base/nudge.h); where that is not to be had, or the file system
 *   would not let go for a signal, naps from 50 us to 5 ms with a try after each;
 * - finding deadlocks: board.c, deadlock.c. The first look comes 10 ms after the wait began, a second one 10 ms later if it found one, the next ones after ever longer times up to a
 *   second: most waits are over before, and looking costs some reads of /proc. Each look leaves the kernel's queue and joins it again;
 * - whose they are: holders.c.
 *
 * A death, at any instruction: the kernel closes the description, which releases, and drops the board. Nothing else exists.
 *
 * Owner of what is held, for the search: the thread that locked; where several have locked by one handle without releasing everything
 * in between, nobody in particular.
 */
#include "base/cleanup.h"
#include "base/error.h"
#include "base/libc.h"
#include "base/memory.h"
#include "base/wake.h"
#include "sync/boards.h"
#include "sync/kernel_lock.h"
#include "sync/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef F_OFD_GETLK
#define F_OFD_GETLK  36
#define F_OFD_SETLK  37
#define F_OFD_SETLKW 38
#endif

enum {
        SIGNALLED = 1, /* of set: a signal ended it, look why */
        REPLACED = 1,  /* of look_again */
        SUSPECTED = 1, /* of look_for_deadlock */
        RACES = 100,   /* creation and removal by others, alternating with ours, before we give up */
        NAP_FIRST_NS = 50 * 1000,
        NAP_LAST_NS = 5 * 1000 * 1000,
        LOOK_FIRST_NS = 10 * 1000 * 1000,
        LOOK_LAST_NS = 1000 * 1000 * 1000,
};

struct file_state {
        int fd;
        int denied; /* why it is not open for both reading and writing: an errno, or 0 */
        bool reads, writes;
        bool naps;
        uint32_t mode;                        /* of a new file */
        uint64_t device, inode;               /* as stat has it */
        uint64_t kernel_device, kernel_inode; /* as /proc/locks has it; 0: not asked yet */
        bool holds;                           /* something, within: */
        struct cfb_range hull;
        struct cfb_note *note; /* on this process's board; NULL: none */
        int32_t owner;         /* as on the note */
};

/* --- opening --- */

static size_t explain_open(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: %s", failure->subject, failure->detail);
        return used;
}

static int refuse(int error, const confab_lock *lock, const char *why) {
        return cfb_failed_with(error, "lock", lock->name, explain_open, why, 0, 0);
}

/* a: owner, b: mode. */
static size_t explain_permission(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used,
                   "%s: no permission to open it: it belongs to uid %" PRId64 " with mode %04" PRIo64
                   "; a shared lock needs permission to read, an exclusive one to write",
                   failure->subject, failure->a, failure->b);
        return used;
}

static int open_failed(const confab_lock *lock, int error, const struct stat *status) {
        if (error == ENOENT)
                return refuse(-error, lock,
                              lock->flags & CONFAB_LOCK_CREATE ? "the folder it would be in is not there"
                                                               : "there is no such file; CONFAB_LOCK_CREATE "
                                                                 "(confab lock --create) makes it");
        if (error == ELOOP && !(lock->flags & CONFAB_LOCK_FOLLOW))
                return refuse(-error, lock,
                              "it is a symbolic link, which somebody may turn elsewhere; give the file it "
                              "leads to, "
                              "or say CONFAB_LOCK_FOLLOW (confab lock --follow)");
        if (error == EACCES && status->st_nlink)
                return cfb_failed_with(-error, "lock", lock->name, explain_permission, NULL,
                                       (int64_t)status->st_uid, (int64_t)(status->st_mode & 07777));
        if (error == EWOULDBLOCK)
                return refuse(-EBUSY, lock, "another program holds a lease on it (a file server?)");
        return cfb_failed(-error, "open", lock->name);
}

static int check_type(const confab_lock *lock, const struct stat *status) {
        switch (status->st_mode & S_IFMT) {
        case S_IFREG:
        case S_IFBLK:
                return 0;
        case S_IFDIR:
                return refuse(-EISDIR, lock, "it is a directory; lock a file in it");
        case S_IFLNK:
                return open_failed(lock, ELOOP, status);
        case S_IFIFO:
                return refuse(-EOPNOTSUPP, lock, "it is a FIFO; files and block devices have locks");
        case S_IFSOCK:
                return refuse(-EOPNOTSUPP, lock, "it is a socket; files and block devices have locks");
        }
        return refuse(-EOPNOTSUPP, lock, "it is a character device; files and block devices have locks");
}

static int open_as(const confab_lock *lock, int flags, mode_t mode) {
        int nofollow = lock->flags & CONFAB_LOCK_FOLLOW ? 0 : O_NOFOLLOW;

        return open(lock->name, flags | nofollow | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, mode);
}

/* A new file, complete from its first moment: made without the mode asked for, since the umask cuts that. */
static int create(const confab_lock *lock, int *fdp) {
        const struct file_state *state = cfb_lock_state(lock);
        CFB_CLEANUP(cfb_closep) int fd = open_as(lock, O_RDWR | O_CREAT | O_EXCL, 0600 & state->mode);

        if (fd < 0)
                return -errno;
        if (fchmod(fd, state->mode) < 0)
                return -errno;
        *fdp = cfb_steal_fd(&fd);
        return 0;
}

/* Opens what is there as far as it goes: to read and write, else to read, else to write. */
static int open_there(confab_lock *lock) {
        struct file_state *state = cfb_lock_state(lock);

        state->reads = state->writes = true;
        state->denied = 0;
        state->fd = open_as(lock, O_RDWR, 0);
        if (state->fd >= 0 || (errno != EACCES && errno != EROFS && errno != EPERM && errno != ETXTBSY))
                return state->fd < 0 ? -errno : 0;
        state->denied = errno;
        state->writes = false;
        state->fd = open_as(lock, O_RDONLY, 0);
        if (state->fd < 0) {
                state->reads = false;
                state->writes = true;
                state->fd = open_as(lock, O_WRONLY, 0);
        }
        return state->fd < 0 ? -errno : 0;
}

/*
 * Opening a FIFO or a device does things: its type is looked at before (O_PATH does nothing), and after, should somebody have
 * exchanged it meanwhile.
 */
static int open_once(confab_lock *lock) {
        struct file_state *state = cfb_lock_state(lock);
        struct stat status = {0};
        int r = 0;

        for (int i = 0; i < RACES; i++) {
                CFB_CLEANUP(cfb_closep) int path = open_as(lock, O_PATH, 0);

                r = path < 0 ? -errno : 0;
                if (path >= 0) {
                        if (fstat(path, &status) < 0)
                                return cfb_failed(-errno, "fstat", lock->name);
                        r = check_type(lock, &status);
                        if (r < 0)
                                return r;
                        r = open_there(lock);
                } else if (r == -ENOENT && (lock->flags & CONFAB_LOCK_CREATE)) {
                        state->reads = state->writes = true;
                        r = create(lock, &state->fd);
                }
                if (r != -EEXIST && (r != -ENOENT || !(lock->flags & CONFAB_LOCK_CREATE)))
                        break;
        }
        if (r < 0)
                return open_failed(lock, -r, &status);
        if (fstat(state->fd, &status) < 0)
                return cfb_failed(-errno, "fstat", lock->name);
        state->device = status.st_dev;
        state->inode = status.st_ino;
        state->kernel_inode = 0;
        return check_type(lock, &status);
}

/* Out of the handle first: of a number that is closed already a forked child would close a stranger's file. */
static void close_file(struct file_state *state) {
        int fd = cfb_steal_fd(&state->fd);

        cfb_closep(&fd);
}

static int open_file(confab_lock *lock) {
        struct file_state *state = cfb_lock_state(lock);
        uint32_t n_forks;
        int r;

        do {
                close_file(state);
                n_forks = cfb_lock_forks(); /* [L2] */
                r = open_once(lock);
        } while (r >= 0 && cfb_lock_forks() != n_forks); /* [L2] */
        return r;
}

static void file_init(confab_lock *lock, uint32_t mode) {
        struct file_state *state = cfb_lock_state(lock);

        state->fd = -1;
        state->mode = mode;
}

static int file_open(confab_lock *lock) {
        struct file_state *state = cfb_lock_state(lock);
        struct cfb_file_system file_system;
        int r;

        r = open_file(lock);
        if (r < 0)
                return r;
        cfb_file_system_of(state->fd, &file_system);
        state->naps = file_system.naps;
        return 0;
}

/* --- the kernel's calls --- */

/* a: f_type of the file system, b: what it said; detail: its name, or "". */
static size_t explain_file_system(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: %s: the file system (", failure->subject,
                   failure->error == -ENOLCK ? "no lock to be had" : "no locks there");
        if (failure->detail[0])
                cfb_append(text, text_cap, &used, "%s", failure->detail);
        else
                cfb_append(text, text_cap, &used, "type 0x%" PRIx64, (uint64_t)failure->a);
        cfb_append(text, text_cap, &used, ") says '%s'", cfb_errno_text((int)failure->b));
        if (strcmp(failure->detail, "nfs") == 0)
                cfb_append(
                        text, text_cap, &used,
                        "; its server's lock service does not answer: mount with vers=4, or start rpc.statd, "
                        "or mount with local_lock=posix where one machine alone uses it");
        else
                cfb_append(text, text_cap, &used, "; lock a file on a local file system instead");
        return used;
}

/* b: the errno for which the file is not open for both. */
static size_t explain_access(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: %s lock needs permission to %s: %s", failure->subject,
                   failure->a ? "an exclusive" : "a shared", failure->a ? "write" : "read",
                   cfb_errno_text((int)failure->b));
        if (failure->a)
                cfb_append(text, text_cap, &used, "; a shared lock can be had");
        return used;
}

static int call_failed(const confab_lock *lock, int error) {
        const struct file_state *state = cfb_lock_state(lock);
        struct cfb_file_system file_system;

        if (error != ENOLCK && error != EOPNOTSUPP && error != ENOSYS && error != EINVAL)
                return cfb_failed(-error, "lock", lock->name);
        cfb_file_system_of(state->fd, &file_system);
        return cfb_failed_with(error == ENOLCK ? -ENOLCK : -EOPNOTSUPP, "lock", lock->name,
                               explain_file_system, file_system.name, (int64_t)file_system.type, error);
}

static struct flock description_of(short type, const struct cfb_range *range) {
        return (struct flock){.l_type = type,
                              .l_whence = SEEK_SET,
                              .l_start = (off_t)range->start,
                              .l_len = range->last == CFB_LOCK_END ? 0
                                                                   : (off_t)(range->last - range->start + 1)};
}

/* 0; -EAGAIN (unrecorded): somebody has it; SIGNALLED; or a failure, recorded. */
static int set(const confab_lock *lock, int command, short type, const struct cfb_range *range) {
        const struct file_state *state = cfb_lock_state(lock);
        struct flock description = description_of(type, range);

        if (cfb_lock_calls.lock(state->fd, command, &description) == 0)
                return 0;
        if (errno == EINTR)
                return SIGNALLED;
        if (errno == EAGAIN || errno == EACCES)
                return -EAGAIN;
        return call_failed(lock, errno);
}

static short type_of(const struct cfb_lock_request *request) {
        return request->exclusive ? F_WRLCK : F_RDLCK;
}

/* A try; signals do not end it. */
static int try_it(const confab_lock *lock, short type, const struct cfb_range *range) {
        int r;

        do
                r = set(lock, F_OFD_SETLK, type, range);
        while (r == SIGNALLED);
        return r;
}

/* --- replaced files --- */

static void forget(confab_lock *lock) {
        struct file_state *state = cfb_lock_state(lock);

        cfb_board_leave(state->note);
        state->note = NULL;
        state->owner = 0;
        state->holds = false;
        close_file(state);
}

/*
 * CONFAB_LOCK_REOPEN, of a handle that held nothing: 0 if the name leads to this file; REPLACED: another one is open now, not locked.
 * Asked when the lock was got, and while it is waited for: who holds the old file may never let go of it.
 */
static int look_again(confab_lock *lock, bool held_before) {
        struct file_state *state = cfb_lock_state(lock);
        int no_follow = lock->flags & CONFAB_LOCK_FOLLOW ? 0 : AT_SYMLINK_NOFOLLOW, r;
        struct stat status;

        if (!(lock->flags & CONFAB_LOCK_REOPEN) || held_before)
                return 0;
        if (fstatat(AT_FDCWD, lock->name, &status, no_follow) == 0 && status.st_dev == state->device &&
            status.st_ino == state->inode)
                return 0;
        forget(lock);
        r = open_file(lock);
        return r < 0 ? r : REPLACED;
}

/* --- waiting --- */

struct first_holder {
        const struct cfb_lock_request *request;
        struct confab_lock_holder holder;
        char command[32];
};

/* The first that stands in the way; one of this process only if there is no other: it may be this handle itself. */
static int keep_first(const struct confab_lock_holder *holder, void *data) {
        struct first_holder *first = data;
        struct cfb_range range = {holder->start,
                                  holder->len ? holder->start + holder->len - 1 : CFB_LOCK_END};

        if (holder->waits || holder->kind == CONFAB_LOCK_BY_FLOCK ||
            !cfb_ranges_meet(&range, &first->request->range) ||
            (holder->mode == CONFAB_LOCK_SHARED && !first->request->exclusive))
                return 0;
        first->holder = *holder;
        snprintf(first->command, sizeof(first->command), "%s", holder->command);
        return holder->pid != getpid();
}

/* a, b: the file as the kernel has it; detail: the request. */
static size_t explain_held(const struct cfb_failure *failure, char *text, size_t text_cap) {
        struct cfb_lock_request request = {.exclusive = failure->detail[0] == 'e'};
        struct cfb_held_file file = {.device = (uint64_t)failure->a, .inode = (uint64_t)failure->b, .fd = -1};
        struct first_holder first = {.request = &request};
        const char *numbers = strchr(failure->detail, ' ');
        size_t used = 0;

        if (numbers)
                sscanf(numbers, "%" SCNu64 " %" SCNu64, &request.range.start, &request.range.last);
        cfb_append(text, text_cap, &used, "%s: %s lock ", failure->subject,
                   request.exclusive ? "an exclusive" : "a shared");
        if (request.range.start || request.range.last != CFB_LOCK_END)
                cfb_append(text, text_cap, &used, "of bytes %" PRIu64 "-%" PRIu64 " ", request.range.start,
                           request.range.last);
        cfb_append(text, text_cap, &used, "was not to be had before the deadline; ");
        if (cfb_holders(&file, keep_first, &first) < 0)
                cfb_append(text, text_cap, &used, "who holds it cannot be seen without /proc");
        else if (!first.holder.size)
                cfb_append(text, text_cap, &used, "nobody holds it any more");
        else if (!first.holder.pid)
                cfb_append(text, text_cap, &used,
                           "who holds it may not be seen from here: another user's process, another "
                           "namespace or "
                           "another machine");
        else
                cfb_append(text, text_cap, &used, "pid %" PRId64 " (%s) holds it", first.holder.pid,
                           first.command[0] ? first.command : "?");
        return used;
}

static struct cfb_held_file held_file(confab_lock *lock) {
        struct file_state *state = cfb_lock_state(lock);

        if (!state->kernel_inode)
                cfb_kernel_file(state->fd, &state->kernel_device, &state->kernel_inode);
        return (struct cfb_held_file){.device = state->kernel_device,
                                      .inode = state->kernel_inode,
                                      .stat_device = state->device,
                                      .stat_inode = state->inode,
                                      .fd = state->fd};
}

static int too_late(confab_lock *lock, const struct cfb_lock_request *request) {
        struct cfb_held_file file = held_file(lock);
        char detail[64];

        snprintf(detail, sizeof(detail), "%s %" PRIu64 " %" PRIu64,
                 request->exclusive ? "exclusive" : "shared", request->range.start, request->range.last);
        return cfb_failed_with(-ETIMEDOUT, "lock", lock->name, explain_held, detail, (int64_t)file.device,
                               (int64_t)file.inode);
}

static size_t explain_deadlock(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used,
                   "%s: deadlock: %s; waiting would never end: release what you hold and begin again",
                   failure->subject, failure->detail);
        return used;
}

/* 0: none; SUSPECTED: the first look that found one; or -EDEADLK. */
static int look_for_deadlock(confab_lock *lock, bool suspected) {
        const struct file_state *state = cfb_lock_state(lock);
        char words[240];

        if (!state->note || !cfb_deadlocked(state->note, words, sizeof(words)))
                return 0;
        if (!suspected)
                return SUSPECTED;
        return cfb_failed_with(-EDEADLK, "lock", lock->name, explain_deadlock, words, 0, 0);
}

static int nap(confab_lock *lock, const struct cfb_lock_request *request, int64_t until_ns,
               int64_t *nap_nsp) {
        int64_t end_ns = confab_after(*nap_nsp);
        int r = cfb_lock_ended(lock);

        if (r < 0)
                return r;
        cfb_poll(NULL, 0, end_ns < until_ns ? end_ns : until_ns);
        if (*nap_nsp < NAP_LAST_NS)
                *nap_nsp *= 2;
        return try_it(lock, type_of(request), &request->range);
}

/* Waits until @until_ns at most: 0; SIGNALLED or -EAGAIN: not yet; or a failure, recorded. */
static int wait_until(confab_lock *lock, const struct cfb_lock_request *request, int64_t until_ns,
                      int64_t *nap_nsp) {
        struct file_state *state = cfb_lock_state(lock);
        int r;

        if (state->naps || cfb_nudge_begin_until(&lock->nudge, until_ns) < 0)
                return nap(lock, request, until_ns, nap_nsp);
        r = cfb_lock_ended(lock); /* [N1] */
        if (r >= 0)
                r = set(lock, F_OFD_SETLKW, type_of(request), &request->range);
        cfb_nudge_end(&lock->nudge);
        if (r == -EAGAIN) /* this file system does not wait; asking it at once again would be all we did */
                state->naps = true;
        return r;
}

static int wait_for(confab_lock *lock, const struct cfb_lock_request *request) {
        int64_t nap_ns = NAP_FIRST_NS, pause_ns = LOOK_FIRST_NS, look_ns = confab_after(pause_ns);
        bool suspected = false;

        for (;;) {
                int r = wait_until(lock, request,
                                   look_ns < request->deadline_ns ? look_ns : request->deadline_ns, &nap_ns);

                if (r != SIGNALLED && r != -EAGAIN)
                        return r;
                if (confab_now() >= request->deadline_ns)
                        return too_late(lock, request);
                if (confab_now() < look_ns)
                        continue;
                r = look_for_deadlock(lock, suspected);
                if (r < 0)
                        return r;
                suspected = r == SUSPECTED;
                r = look_again(lock, ((struct file_state *)cfb_lock_state(lock))->holds);
                if (r)
                        return r;
                pause_ns = pause_ns < LOOK_LAST_NS / 4 ? 4 * pause_ns : LOOK_LAST_NS;
                look_ns = confab_after(suspected ? LOOK_FIRST_NS : pause_ns);
        }
}

/* --- acquiring and releasing --- */

/* Before the first byte is held: a note that says too little only hides a deadlock, one that says too much would invent one. */
static void note_owner(confab_lock *lock) {
        struct file_state *state = cfb_lock_state(lock);
        int32_t self = (int32_t)syscall(SYS_gettid), owner = self;

        if (lock->flags & (CONFAB_LOCK_ANY_THREAD | CONFAB_LOCK_INHERIT) ||
            (state->holds && state->owner != self))
                owner = 0;
        if (state->note && owner == state->owner)
                return;
        if (!state->note)
                state->note = cfb_board_join();
        if (state->note)
                cfb_note_owner(state->note, state->fd, state->device, state->inode, owner);
        state->owner = owner;
}

/* 0, REPLACED (and not locked), or -errno. */
static int acquire_once(confab_lock *lock, const struct cfb_lock_request *request) {
        struct file_state *state = cfb_lock_state(lock);
        int r;

        note_owner(lock);
        r = try_it(lock, type_of(request), &request->range);
        if (r != -EAGAIN)
                return r;
        r = look_again(lock, state->holds);
        if (r)
                return r;
        if (request->deadline_ns <= CONFAB_NOW)
                return -EAGAIN;
        if (state->note)
                cfb_note_wait(state->note, (int32_t)syscall(SYS_gettid),
                              request->exclusive ? CONFAB_LOCK_EXCLUSIVE : CONFAB_LOCK_SHARED,
                              request->range.start, request->range.last);
        r = wait_for(lock, request);
        if (state->note)
                cfb_note_wait(state->note, 0, 0, 0, 0);
        return r;
}

static void add_to_hull(struct file_state *state, const struct cfb_range *range) {
        if (!state->holds || range->start < state->hull.start)
                state->hull.start = range->start;
        if (!state->holds || range->last > state->hull.last)
                state->hull.last = range->last;
        state->holds = true;
        if (state->note)
                cfb_note_got(state->note);
}

static int file_acquire(confab_lock *lock, const struct cfb_lock_request *request) {
        struct file_state *state = cfb_lock_state(lock);
        int r = 0;

        do {
                bool held_before = state->holds;

                if (state->fd < 0 && (r = open_file(lock)) < 0)
                        return r;
                if (request->exclusive ? !state->writes : !state->reads)
                        return cfb_failed_with(-EACCES, "lock", lock->name, explain_access, NULL,
                                               request->exclusive, state->denied);
                r = acquire_once(lock, request);
                if (r < 0)
                        return r;
                if (r == REPLACED)
                        continue;
                add_to_hull(state, &request->range);
                r = look_again(lock, held_before);
        } while (r == REPLACED);
        return r;
}

static int file_release(confab_lock *lock, const struct cfb_range *range) {
        struct file_state *state = cfb_lock_state(lock);
        int r = state->fd < 0 ? 0 : try_it(lock, F_UNLCK, range);

        if (r >= 0 && range->start <= state->hull.start && range->last >= state->hull.last)
                state->holds = false;
        return r;
}

static int file_holders(confab_lock *lock, cfb_lock_each *each, void *data) {
        struct cfb_held_file file;
        int r;

        if (((struct file_state *)cfb_lock_state(lock))->fd < 0 && (r = open_file(lock)) < 0)
                return r;
        file = held_file(lock);
        r = cfb_holders(&file, each, data);
        return r < 0 ? cfb_failed(r, "/proc/locks", lock->name) : r;
}

static int file_descriptor(const confab_lock *lock) {
        const struct file_state *state = cfb_lock_state(lock);

        return state->fd >= 0 ? state->fd
                              : refuse(-ENOENT, lock, "the file was removed, and there is no new one yet");
}

static void file_forked(confab_lock *lock) {
        struct file_state *state = cfb_lock_state(lock);

        state->note = NULL; /* the parent's */
        state->owner = 0;
        if (lock->foreign)
                cfb_closep(&state->fd);
}

/* Released in words too: a FUSE server is not told by the close alone, and a child about to exec may still have a copy. */
static void file_close(confab_lock *lock) {
        struct file_state *state = cfb_lock_state(lock);
        struct flock all = description_of(F_UNLCK, &(struct cfb_range){0, CFB_LOCK_END});

        if (state->fd >= 0 && !lock->foreign && !(lock->flags & CONFAB_LOCK_INHERIT))
                cfb_lock_calls.lock(state->fd, F_OFD_SETLK, &all);
        forget(lock);
}

const struct cfb_lock_kind cfb_file_lock = {
        .state_len = sizeof(struct file_state),
        .init = file_init,
        .open = file_open,
        .acquire = file_acquire,
        .release = file_release,
        .holders = file_holders,
        .descriptor = file_descriptor,
        .forked = file_forked,
        .close = file_close,
};
