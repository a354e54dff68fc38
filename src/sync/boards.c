/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Reading the boards of other processes.
 *
 * Only those of processes of our own user: another one's claims could refuse us a lock for nothing. (A process's folder in /proc belongs to its
 * effective user, dumpable or not; the files in it do not.) A process that cannot be looked at (not dumpable, another namespace of pids) is not
 * found; the answer is then "no deadlock", never a wrong one.
 *
 * Nor is anything opened that is no board: a sign can be put on any file, and opening some does things, or does not return.
 *
 * Our own board is never opened anew: closing that descriptor would drop the record lock by which the others find it.
 */
#include "sync/boards.h"
#include "base/cleanup.h"
#include "base/memory.h"
#include "sync/kernel_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { BOARDS_MAX = 4096 };

void cfb_board_path(const struct cfb_board_read *board, const char *folder, int fd, char *path,
                    size_t path_cap) {
        if (board->own)
                snprintf(path, path_cap, "/proc/self/%s/%d", folder, fd);
        else
                snprintf(path, path_cap, "/proc/%" PRId64 "/%s/%d", board->pid, folder, fd);
}

/* The folder of @pid in /proc, of this one process whoever gets its number later; -1: it is gone, or another user's. */
static int folder_of(int64_t pid) {
        CFB_CLEANUP(cfb_closep) int folder = -1;
        struct stat status;
        char path[32];

        snprintf(path, sizeof(path), "/proc/%" PRId64, pid);
        folder = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
        return folder >= 0 && fstat(folder, &status) == 0 && status.st_uid == geteuid()
                       ? cfb_steal_fd(&folder)
                       : -1;
}

/* A descriptor of the board, or -1; to be given to done_with. */
static int reach(const struct cfb_board_read *board) {
        static const char is_board[] = "/memfd:" CFB_BOARD_NAME " (deleted)";
        CFB_CLEANUP(cfb_closep) int folder = -1;
        char path[32], target[sizeof(is_board)];

        if (board->own)
                return board->fd;
        folder = folder_of(board->pid);
        snprintf(path, sizeof(path), "fd/%d", board->fd);
        if (folder < 0 || readlinkat(folder, path, target, sizeof(target)) != sizeof(is_board) - 1 ||
            memcmp(target, is_board, sizeof(is_board) - 1) != 0)
                return -1;
        return openat(folder, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static void done_with(const struct cfb_board_read *board, int fd) {
        if (!board->own)
                cfb_closep(&fd);
}

static bool read_all(int fd, void *to, size_t len, size_t at) {
        return pread(fd, to, len, (off_t)at) == (ssize_t)len;
}

static bool read_notes(struct cfb_board_read *board) {
        struct {
                uint64_t magic;
                uint32_t version, note_len, n_notes;
        } head;
        int fd = reach(board);
        bool good = fd >= 0 && read_all(fd, &head, sizeof(head), 0) && head.magic == CFB_BOARD_MAGIC &&
                    head.version == CFB_BOARD_VERSION && head.note_len == sizeof(struct cfb_note) &&
                    head.n_notes > 0 && head.n_notes <= CFB_BOARD_NOTES;

        if (good) {
                size_t len = head.n_notes * sizeof(struct cfb_note_read);

                board->n_notes = head.n_notes;
                board->notes = cfb_allocate(len + head.n_notes * sizeof(*board->seen));
                board->seen = (bool *)(board->notes + (board->notes ? head.n_notes : 0));
                good = board->notes && read_all(fd, board->notes, len, sizeof(struct cfb_board_head));
        }
        done_with(board, fd);
        return good;
}

struct gathering {
        struct cfb_boards *boards;
        bool has_own;
        int own_fd;
        uint64_t own_device, own_inode;
};

static bool is_own(const struct gathering *gathering, const struct cfb_kernel_lock *lock) {
        return gathering->has_own && lock->inode == gathering->own_inode &&
               lock->device == CFB_DEVICE(major(gathering->own_device), minor(gathering->own_device));
}

static bool is_our_users(int64_t pid) {
        CFB_CLEANUP(cfb_closep) int folder = folder_of(pid);

        return folder >= 0;
}

/*
 * One line of /proc/locks: if it is the sign of a board, its place is noted; it is read when the list is closed. Other users' signs are not
 * counted: they could have as many as hide ours.
 */
static int gather(const struct cfb_kernel_lock *lock, void *data) {
        struct gathering *gathering = data;
        struct cfb_boards *boards = gathering->boards;
        struct cfb_board_read *board;

        if (lock->kind != CONFAB_LOCK_BY_PROCESS || lock->exclusive || lock->waits ||
            lock->range.start != CFB_BOARD_SIGN || lock->range.last - lock->range.start >= CFB_BOARD_FDS)
                return 0;
        if (!is_own(gathering, lock) && !is_our_users(lock->pid))
                return 0;
        if (boards->n_boards == BOARDS_MAX)
                return -E2BIG;
        board = cfb_grow(boards->boards, boards->n_boards, &boards->boards_cap, sizeof(*board));
        if (!board)
                return -ENOMEM;
        boards->boards = board;
        board += boards->n_boards++;
        *board = (struct cfb_board_read){.pid = lock->pid, .fd = (int)(lock->range.last - lock->range.start)};
        board->own = is_own(gathering, lock);
        if (board->own)
                board->fd = gathering->own_fd;
        return 0;
}

int cfb_boards_read(struct cfb_boards *boards) {
        struct gathering gathering = {.boards = boards};
        unsigned n = 0;
        int r;

        gathering.has_own = cfb_board_own(&gathering.own_fd, &gathering.own_device, &gathering.own_inode);
        r = cfb_kernel_locks("/proc/locks", gather, &gathering);
        for (unsigned i = 0; i < boards->n_boards; i++) {
                struct cfb_board_read board = boards->boards[i];

                if (r >= 0 && read_notes(&board))
                        boards->boards[n++] = board;
                else
                        cfb_release(board.notes);
        }
        boards->n_boards = n;
        return r < 0 ? r : 0;
}

void cfb_boards_release(struct cfb_boards *boards) {
        for (unsigned i = 0; i < boards->n_boards; i++)
                cfb_release(boards->boards[i].notes);
        cfb_release(boards->boards);
        *boards = (struct cfb_boards){0};
}

bool cfb_board_read_again(const struct cfb_board_read *board, unsigned index, struct cfb_note_read *note) {
        int fd = reach(board);
        bool good = fd >= 0 &&
                    read_all(fd, note, sizeof(*note), sizeof(struct cfb_board_head) + index * sizeof(*note));

        done_with(board, fd);
        return good && note->change % 2 == 0;
}
