/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Who holds the locks of a file, and who waits for one.
 *
 * /proc/locks lists them all but names no process for open-file-description locks (pid -1), and for flock the one that locked, who may have
 * gone and left it to a child. So: 1. the lines of this file; 2. the boards, which name descriptors of our user's processes to look at, and
 * who waits; 3. if lines are left without a process: every descriptor of every process that may be looked at (/proc/PID/fdinfo). What is left
 * then is told with pid 0. On file systems shared with other machines, and where a FUSE server keeps the locks, the kernel's list is not
 * all: its test (F_OFD_GETLK) asks the server, and what that says beyond the list is told with pid 0 too.
 *
 * Nothing here opens a file of another process, only /proc's own: a dead file server or a hostile FUSE cannot hold us.
 */
#include "base/cleanup.h"
#include "base/memory.h"
#include "sync/boards.h"
#include "sync/kernel_lock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef F_OFD_GETLK
#define F_OFD_GETLK 36
#endif

enum { LINES_MAX = 65536 };

struct line {
        struct cfb_kernel_lock lock; /* pid: who; -1: not known yet */
        int64_t since_ns;
};
struct search {
        const struct cfb_held_file *file;
        struct line *lines;
        unsigned n_lines, lines_cap, n_unknown;
        /* Of the descriptor that is looked at: */
        int64_t pid, since_ns;
};

static bool is_of_file(const struct search *search, const struct cfb_kernel_lock *lock) {
        return lock->device == search->file->device && lock->inode == search->file->inode;
}

static int add(struct search *search, const struct cfb_kernel_lock *lock) {
        struct line *line;

        if (search->n_lines == LINES_MAX)
                return 0;
        line = cfb_grow(search->lines, search->n_lines, &search->lines_cap, sizeof(*line));
        if (!line)
                return -ENOMEM;
        search->lines = line;
        search->lines[search->n_lines++] = (struct line){.lock = *lock};
        return 0;
}

static int add_line(const struct cfb_kernel_lock *lock, void *data) {
        struct search *search = data;
        struct cfb_kernel_lock whose = *lock;
        int r;

        if (!is_of_file(search, lock))
                return 0;
        if (lock->kind == CONFAB_LOCK_BY_DESCRIPTION || (lock->kind == CONFAB_LOCK_BY_FLOCK && !lock->waits))
                whose.pid = -1;
        r = add(search, &whose);
        if (r >= 0 && whose.pid < 0 && !whose.waits)
                search->n_unknown++;
        return r;
}

static bool is_same(const struct cfb_kernel_lock *a, const struct cfb_kernel_lock *b) {
        return a->kind == b->kind && a->exclusive == b->exclusive && a->waits == b->waits &&
               a->range.start == b->range.start && a->range.last == b->range.last;
}

/*
 * A descriptor of search->pid has @lock. Of equal lines the first without a process gets it. If all have one, the description is shared
 * by several processes, and each is told; one process with several descriptors of it is told once.
 */
static int attribute(const struct cfb_kernel_lock *lock, void *data) {
        struct search *search = data;
        struct cfb_kernel_lock shared = *lock;
        bool told = false, there = false;
        int r;

        if (!is_of_file(search, lock) || lock->kind == CONFAB_LOCK_BY_PROCESS)
                return 0;
        for (unsigned i = 0; i < search->n_lines; i++) {
                struct line *line = &search->lines[i];

                if (!is_same(&line->lock, lock))
                        continue;
                if (line->lock.pid < 0) {
                        line->lock.pid = search->pid;
                        line->since_ns = search->since_ns;
                        search->n_unknown--;
                        return 0;
                }
                there = true;
                told |= line->lock.pid == search->pid;
        }
        if (told || !there)
                return 0;
        shared.pid = search->pid;
        r = add(search, &shared);
        return r;
}

static void name_waiter(struct search *search, int64_t pid, const struct cfb_note_read *note) {
        struct cfb_kernel_lock wait = {.kind = CONFAB_LOCK_BY_DESCRIPTION,
                                       .exclusive = note->wanted == CONFAB_LOCK_EXCLUSIVE,
                                       .waits = true,
                                       .range = {note->start, note->last}};

        for (unsigned i = 0; i < search->n_lines; i++)
                if (search->lines[i].lock.pid < 0 && is_same(&search->lines[i].lock, &wait)) {
                        search->lines[i].lock.pid = pid;
                        search->lines[i].since_ns = note->waits_since_ns;
                        return;
                }
        /* One that naps is in no list of the kernel's. */
        wait.pid = pid;
        if (add(search, &wait) == 0)
                search->lines[search->n_lines - 1].since_ns = note->waits_since_ns;
}

static int ask_boards(struct search *search) {
        struct cfb_boards boards = {0};
        int r = cfb_boards_read(&boards);

        for (unsigned b = 0; r >= 0 && b < boards.n_boards; b++)
                for (unsigned n = 0; n < boards.boards[b].n_notes; n++) {
                        const struct cfb_note_read *note = &boards.boards[b].notes[n];
                        char path[64];

                        if (!note->inode ||
                            (search->file->stat_inode && (note->inode != search->file->stat_inode ||
                                                          note->device != search->file->stat_device)))
                                continue;
                        search->pid = boards.boards[b].pid;
                        search->since_ns = note->since_ns;
                        cfb_board_path(&boards.boards[b], "fdinfo", note->fd, path, sizeof(path));
                        cfb_kernel_locks(path, attribute, search);
                        if (note->waiter && search->file->stat_inode)
                                name_waiter(search, search->pid, note);
                }
        cfb_boards_release(&boards);
        return r;
}

/* --- every descriptor there is --- */

/* The numbers among the names in a folder of /proc, without opendir, which allocates: until @each returns anything but 0. */
static void each_number(const char *folder, int (*each)(int64_t number, void *data), void *data) {
        struct entry {
                uint64_t inode;
                int64_t next;
                unsigned short len;
                unsigned char type;
                char name[];
        };
        CFB_CLEANUP(cfb_closep) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        _Alignas(struct entry) char bytes[2048];
        long n;

        while (fd >= 0 && (n = syscall(SYS_getdents64, fd, bytes, sizeof(bytes))) > 0)
                for (long at = 0; at < n;) {
                        const struct entry *entry = (const struct entry *)(const void *)(bytes + at);
                        char *end;
                        int64_t number = strtoll(entry->name, &end, 10);

                        at += entry->len;
                        if (*end == '\0' && end != entry->name && each(number, data))
                                return;
                }
}

static int ask_descriptor(int64_t fd, void *data) {
        struct search *search = data;
        char path[64];

        snprintf(path, sizeof(path), "/proc/%" PRId64 "/fdinfo/%" PRId64, search->pid, fd);
        cfb_kernel_locks(path, attribute, search);
        return search->n_unknown == 0;
}

static int ask_process(int64_t pid, void *data) {
        struct search *search = data;
        char path[64];

        search->pid = pid;
        search->since_ns = 0;
        snprintf(path, sizeof(path), "/proc/%" PRId64 "/fdinfo", pid);
        each_number(path, ask_descriptor, search);
        return search->n_unknown == 0;
}

/* What only the server knows. */
static void ask_server(struct search *search) {
        struct flock other = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        struct cfb_kernel_lock lock = {.kind = CONFAB_LOCK_BY_DESCRIPTION};
        struct cfb_file_system file_system;

        if (search->file->fd < 0)
                return;
        cfb_file_system_of(search->file->fd, &file_system);
        if ((!file_system.naps && !file_system.shared) ||
            cfb_lock_calls.lock(search->file->fd, F_OFD_GETLK, &other) < 0 || other.l_type == F_UNLCK)
                return;
        lock.exclusive = other.l_type == F_WRLCK;
        lock.range.start = (uint64_t)other.l_start;
        lock.range.last = other.l_len > 0 ? (uint64_t)(other.l_start + other.l_len - 1) : CFB_LOCK_END;
        for (unsigned i = 0; i < search->n_lines; i++)
                if (!search->lines[i].lock.waits && search->lines[i].lock.exclusive == lock.exclusive &&
                    cfb_ranges_meet(&search->lines[i].lock.range, &lock.range))
                        return;
        lock.pid = other.l_pid > 0 ? other.l_pid : -1;
        add(search, &lock);
}

static int tell(const struct search *search, int (*each)(const struct confab_lock_holder *, void *),
                void *data) {
        for (unsigned i = 0; i < search->n_lines; i++) {
                const struct cfb_kernel_lock *lock = &search->lines[i].lock;
                char command[64] = "";
                struct confab_lock_holder holder = {
                        .size = sizeof(holder),
                        .kind = lock->kind,
                        .mode = lock->exclusive ? CONFAB_LOCK_EXCLUSIVE : CONFAB_LOCK_SHARED,
                        .waits = lock->waits,
                        .pid = lock->pid > 0 ? lock->pid : 0,
                        .command = command,
                        .start = lock->range.start,
                        .len = lock->range.last == CFB_LOCK_END ? 0
                                                                : lock->range.last - lock->range.start + 1,
                        .since_ns = search->lines[i].since_ns,
                };

                if (holder.pid)
                        cfb_process_name(holder.pid, command, sizeof(command));
                if (each(&holder, data))
                        break;
        }
        return (int)search->n_lines;
}

int cfb_holders(const struct cfb_held_file *file,
                int (*each)(const struct confab_lock_holder *holder, void *data), void *data) {
        struct search search = {.file = file};
        int r = cfb_kernel_locks("/proc/locks", add_line, &search);

        if (r >= 0) {
                ask_boards(&search); /* what they do not say is looked for otherwise */
                if (search.n_unknown)
                        each_number("/proc", ask_process, &search);
                ask_server(&search);
                r = tell(&search, each, data);
        }
        cfb_release(search.lines);
        return r;
}
