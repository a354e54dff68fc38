/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Looking for a circle of threads that wait for each other.
 *
 * From the thread that asks: what it waits for is on its note; who holds bytes of that is asked of the kernel, descriptor by descriptor of the
 * notes on the same file (/proc/PID/fdinfo); the note says which thread; what that one waits for is on another note of its process; and so on,
 * until the asking thread comes up again.
 *
 * Never a false one. All notes of a circle are read again after everything else was, and must be the same (board.c: nothing of
 * them changed in between). So for a moment between the two readings all these threads were waiting. A thread that waits releases
 * nothing, and what it holds is released by no other (else CONFAB_LOCK_ANY_THREAD, which leaves the owner out of the note): so what the
 * kernel said at different times in between held at that moment too; and none of them had got what it waits for, since another of
 * them held it. Nothing in the circle can move but by a deadline, an interrupt or a death; and who has been killed counts no more, though
 * he may hold his locks until his memory has been freed. file_lock.c believes a circle when it finds it twice, some time apart: between the kill
 * and its mark there is an instant in which it cannot be seen.
 *
 * One is refused, not all: of the threads in the circle the one that began to wait last. The others find the same circle and go on
 * waiting. Times are compared by the monotonic clock, equal ones by the place of the note.
 */
#include "base/cleanup.h"
#include "base/error.h"
#include "sync/boards.h"
#include "sync/kernel_lock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { DEPTH = 32, LEN_NAME = 48 };

/* @waits waits for what @holds has: notes by board and place. */
struct edge {
        unsigned waits_board, waits_note, holds_board, holds_note;
};
struct search {
        struct cfb_boards boards;
        struct edge path[DEPTH];
        unsigned n_path, own_board, own_note;
};

static struct cfb_note_read *note_at(struct search *search, unsigned board, unsigned index) {
        return &search->boards.boards[board].notes[index];
}

struct conflict {
        struct cfb_range range;
        bool exclusive;
};

static int conflicts(const struct cfb_kernel_lock *lock, void *data) {
        const struct conflict *wanted = data;

        return lock->kind == CONFAB_LOCK_BY_DESCRIPTION && cfb_ranges_meet(&lock->range, &wanted->range) &&
               (lock->exclusive || wanted->exclusive);
}

/* Whether the handle of @holds has bytes that @waits wants: the kernel's word. */
static bool stands_in_the_way(struct search *search, unsigned board, const struct cfb_note_read *holds,
                              const struct cfb_note_read *waits) {
        struct conflict wanted = {.range = {waits->start, waits->last},
                                  .exclusive = waits->wanted == CONFAB_LOCK_EXCLUSIVE};
        char path[64];

        if (holds == waits || !holds->owner || !holds->inode || holds->inode != waits->inode ||
            holds->device != waits->device)
                return false;
        cfb_board_path(&search->boards.boards[board], "fdinfo", holds->fd, path, sizeof(path));
        return cfb_kernel_locks(path, conflicts, &wanted) > 0;
}

/* The note by which @thread of @board waits; -1: it does not. */
static int wait_of(struct search *search, unsigned board, int32_t thread) {
        const struct cfb_board_read *read = &search->boards.boards[board];

        for (unsigned i = 0; i < read->n_notes; i++)
                if (read->notes[i].waiter == thread && read->notes[i].inode)
                        return (int)i;
        return -1;
}

/* Goes on from a waiting note, once; true: back at the asking thread, and the path says how. At most DEPTH deep. */
static bool walk(struct search *search, unsigned board, unsigned note) {
        const struct cfb_note_read *waits = note_at(search, board, note);
        int32_t asking = note_at(search, search->own_board, search->own_note)->waiter;

        if (search->n_path == DEPTH || search->boards.boards[board].seen[note])
                return false;
        search->boards.boards[board].seen[note] = true;
        for (unsigned b = 0; b < search->boards.n_boards; b++)
                for (unsigned n = 0; n < search->boards.boards[b].n_notes; n++) {
                        const struct cfb_note_read *holds = note_at(search, b, n);
                        int next;

                        if (!stands_in_the_way(search, b, holds, waits))
                                continue;
                        search->path[search->n_path++] = (struct edge){board, note, b, n};
                        if (b == search->own_board && holds->owner == asking)
                                return true;
                        next = wait_of(search, b, holds->owner);
                        if (next >= 0 && walk(search, b, (unsigned)next))
                                return true;
                        search->n_path--;
                }
        return false;
}

static bool is_unchanged(struct search *search, unsigned board, unsigned index) {
        struct cfb_note_read again, *before = note_at(search, board, index);

        return cfb_board_read_again(&search->boards.boards[board], index, &again) &&
               memcmp(&again, before, sizeof(again)) == 0;
}

static bool is_later(struct search *search, unsigned board, unsigned note) {
        const struct cfb_note_read *other = note_at(search, board, note),
                                   *own = note_at(search, search->own_board, search->own_note);

        if (other->waits_since_ns != own->waits_since_ns)
                return other->waits_since_ns > own->waits_since_ns;
        return search->boards.boards[board].pid > search->boards.boards[search->own_board].pid ||
               (board == search->own_board && note > search->own_note);
}

static bool is_true_and_ours(struct search *search) {
        for (unsigned i = 0; i < search->n_path; i++) {
                const struct edge *edge = &search->path[i];

                if (!is_unchanged(search, edge->waits_board, edge->waits_note) ||
                    !is_unchanged(search, edge->holds_board, edge->holds_note) ||
                    (!search->boards.boards[edge->holds_board].own &&
                     cfb_process_is_dying(search->boards.boards[edge->holds_board].pid)) ||
                    is_later(search, edge->waits_board, edge->waits_note))
                        return false;
        }
        return true;
}

/* --- in words --- */

/* The last part of what a descriptor of a process is called. */
static void name_of(const struct cfb_board_read *board, int fd, char *name, size_t name_cap) {
        char path[64], target[4096];
        const char *slash;
        ssize_t n;

        cfb_board_path(board, "fd", fd, path, sizeof(path));
        n = readlink(path, target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = '\0';
        slash = strrchr(target, '/');
        snprintf(name, name_cap, "%s", slash && slash[1] ? slash + 1 : "another file");
}

/* " and waits for bytes 0-9 of a.lock" */
static void tell_wait(struct search *search, const struct edge *edge, char *words, size_t cap, size_t *used) {
        const struct cfb_note_read *waits = note_at(search, edge->waits_board, edge->waits_note);
        char name[LEN_NAME];

        name_of(&search->boards.boards[edge->waits_board], waits->fd, name, sizeof(name));
        if (waits->start == 0 && waits->last == CFB_LOCK_END)
                cfb_append(words, cap, used, " and waits for %s, which ", name);
        else
                cfb_append(words, cap, used, " and waits for bytes %" PRIu64 "-%" PRIu64 " of %s, which ",
                           waits->start, waits->last, name);
}

static void tell(struct search *search, char *words, size_t cap) {
        size_t used = 0;

        if (search->n_path == 1) {
                cfb_append(words, cap, &used, "this thread holds it itself, by another handle");
                return;
        }
        for (unsigned i = 0; i < search->n_path; i++) {
                const struct edge *edge = &search->path[i];
                const struct cfb_board_read *board = &search->boards.boards[edge->holds_board];
                char name[32];

                if (i > 0)
                        tell_wait(search, edge, words, cap, &used);
                if (i + 1 == search->n_path) {
                        cfb_append(words, cap, &used, "you hold");
                        break;
                }
                cfb_process_name(board->pid, name, sizeof(name));
                if (board->own)
                        cfb_append(words, cap, &used, "another thread of this process holds%s",
                                   i ? "" : " it");
                else
                        cfb_append(words, cap, &used, "pid %" PRId64 " (%s) holds%s", board->pid, name,
                                   i ? "" : " it");
        }
}

static void releasep(struct search *search) {
        cfb_boards_release(&search->boards);
}

bool cfb_deadlocked(const struct cfb_note *note, char *words, size_t words_cap) {
        CFB_CLEANUP(releasep) struct search search = {0};

        if (cfb_boards_read(&search.boards) < 0)
                return false;
        search.own_note = cfb_board_index(note);
        while (search.own_board < search.boards.n_boards && !search.boards.boards[search.own_board].own)
                search.own_board++;
        if (search.own_board == search.boards.n_boards ||
            search.own_note >= search.boards.boards[search.own_board].n_notes)
                return false;
        if (!walk(&search, search.own_board, search.own_note) || !is_true_and_ours(&search))
                return false;
        tell(&search, words, words_cap);
        return true;
}
