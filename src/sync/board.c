/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * The board of a process: which of its threads lock by which handles, and what they wait for.
 *
 * The kernel finds no deadlocks among open-file-description locks, and does not say whose they are. So each process that locks has a board: a
 * memfd with one note for each handle. What is *held* is not on it: that is read from the kernel (/proc/PID/fdinfo), by the descriptor in the
 * note. The note adds what the kernel does not know: the thread, and what it waits for.
 *
 * Finding them. A process that has a board holds a record lock (F_SETLK) on it, on bytes that say "a board, with this descriptor"
 * (CFB_BOARD_SIGN); /proc/locks lists all locks with their pids, so one small file names every board of the machine. The kernel drops the
 * lock with the process, at whatever instruction it dies, and the memfd with it: nothing is ever stale, nothing lies anywhere, no daemon. A
 * forked child has no such lock; its copy of the descriptor is closed by the fork handler.
 *
 *   memfd:  | head | note | note | ...   sparse, CFB_BOARD_NOTES of them; pages come with their use
 *
 * Changing a note: change becomes odd; the fields, each with release order, so that who sees a new field sees that change is odd;
 * change becomes even. A reader copies the note twice, with all it concludes in between, and believes it if both are the same and even.
 *
 * Rejected: files with a lock each in a folder per user (left behind by kill -9, and need a cleaner); the blocked waiters of /proc/locks
 * alone (open-file-description locks show pid -1 there); one table shared by all (its writers would have to trust each other).
 */
#include "sync/board.h"
#include "base/cleanup.h"

#include <confab/types.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { BOARD_LEN = (CFB_BOARD_NOTES + 1) * 128 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct cfb_board_head
        *board; /* under mutex, as all here; the notes behind it belong to their handles */
static int board_fd = -1;
static uint64_t board_device, board_inode;
static unsigned n_joined;
static uint64_t taken[CFB_BOARD_NOTES / 64]; /* a bit for each note */

static struct cfb_note *notes(void) {
        return (struct cfb_note *)(void *)(board + 1);
}

static void take_down(void) {
        if (board)
                munmap(board, BOARD_LEN);
        board = NULL;
        cfb_closep(&board_fd);
}

static int memfd(const char *name, unsigned flags) {
        return (int)syscall(SYS_memfd_create, name, flags);
}

static bool put_up(void) {
        struct flock sign = {.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = (off_t)CFB_BOARD_SIGN};
        struct stat status;
        void *memory;

        board_fd = memfd(CFB_BOARD_NAME, 1 /* MFD_CLOEXEC */);
        if (board_fd < 0 || board_fd >= CFB_BOARD_FDS || fstat(board_fd, &status) < 0 ||
            ftruncate(board_fd, BOARD_LEN) < 0 ||
            (memory = mmap(NULL, BOARD_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, board_fd, 0)) == MAP_FAILED) {
                cfb_closep(&board_fd);
                return false;
        }
        board = memory;
        board->magic = CFB_BOARD_MAGIC;
        board->version = CFB_BOARD_VERSION;
        board->note_len = sizeof(struct cfb_note);
        board_device = status.st_dev;
        board_inode = status.st_ino;
        sign.l_len = board_fd + 1;
        if (fcntl(board_fd, F_SETLK, &sign) < 0) {
                take_down();
                return false;
        }
        return true;
}

struct cfb_note *cfb_board_join(void) {
        struct cfb_note *note = NULL;

        pthread_mutex_lock(&mutex);
        if (board || put_up())
                for (unsigned i = 0; i < CFB_ARRAY_LEN(taken); i++)
                        if (~taken[i]) {
                                unsigned bit = (unsigned)__builtin_ctzll(~taken[i]), index = i * 64 + bit;

                                taken[i] |= UINT64_C(1) << bit;
                                n_joined++;
                                note = &notes()[index];
                                /* Only ever grows, so a reader that sees less misses what has just begun. */
                                if (index >= atomic_load_explicit(&board->n_notes, memory_order_relaxed))
                                        atomic_store_explicit(&board->n_notes, index + 1,
                                                              memory_order_relaxed);
                                break;
                        }
        pthread_mutex_unlock(&mutex);
        return note;
}

unsigned cfb_board_index(const struct cfb_note *note) {
        return (unsigned)(note - notes());
}

/* The two ends of a change; the pair of both is the reader's second look (cycle.c). */
static void begin(struct cfb_note *note) {
        uint64_t change = atomic_load_explicit(&note->change, memory_order_relaxed); /* ours alone */

        atomic_store_explicit(&note->change, change + 1, memory_order_release);
}

static void end(struct cfb_note *note) {
        begin(note);
}

#define SET(note, field, value) atomic_store_explicit(&(note)->field, (value), memory_order_release)

void cfb_note_owner(struct cfb_note *note, int fd, uint64_t device, uint64_t inode, int32_t owner) {
        begin(note);
        SET(note, fd, fd);
        SET(note, device, device);
        SET(note, inode, inode);
        SET(note, owner, owner);
        end(note);
}

void cfb_note_wait(struct cfb_note *note, int32_t waiter, uint32_t wanted, uint64_t start, uint64_t last) {
        begin(note);
        SET(note, waiter, waiter);
        SET(note, wanted, wanted);
        SET(note, start, start);
        SET(note, last, last);
        SET(note, waits_since_ns, waiter ? confab_now() : 0);
        end(note);
}

void cfb_note_got(struct cfb_note *note) {
        atomic_store_explicit(&note->since_ns, confab_now(),
                              memory_order_relaxed); /* shown to people, no more */
}

void cfb_board_leave(struct cfb_note *note) {
        if (!note)
                return;
        pthread_mutex_lock(&mutex);
        if (board) {
                unsigned index = cfb_board_index(note);

                cfb_note_owner(note, -1, 0, 0, 0);
                cfb_note_wait(note, 0, 0, 0, 0);
                SET(note, since_ns, 0);
                taken[index / 64] &= ~(UINT64_C(1) << (index % 64));
                if (--n_joined == 0)
                        take_down();
        }
        pthread_mutex_unlock(&mutex);
}

bool cfb_board_own(int *fdp, uint64_t *devicep, uint64_t *inodep) {
        bool there;

        pthread_mutex_lock(&mutex);
        there = board != NULL;
        *fdp = board_fd;
        *devicep = board_device;
        *inodep = board_inode;
        pthread_mutex_unlock(&mutex);
        return there;
}

void cfb_board_before_fork(void) {
        pthread_mutex_lock(&mutex);
}

/* In the child the board is the parent's: handles there join anew. */
void cfb_board_after_fork(bool child) {
        if (child) {
                take_down();
                n_joined = 0;
                for (unsigned i = 0; i < CFB_ARRAY_LEN(taken); i++)
                        taken[i] = 0;
        }
        pthread_mutex_unlock(&mutex);
}
