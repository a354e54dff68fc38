/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_SYNC_BOARDS_H
#define CFB_SYNC_BOARDS_H
/* The boards of all processes of this user (board.h), read. Claims: what is held is asked of the kernel. */
#include "sync/board.h"

struct cfb_board_read {
        int64_t pid; /* as /proc has it */
        int fd;      /* the board's, in that process */
        bool own;    /* this process's */
        unsigned n_notes;
        struct cfb_note_read *notes;
        bool *seen; /* the reader's own, one for each note */
};
struct cfb_boards {
        struct cfb_board_read *boards;
        unsigned n_boards, boards_cap;
};

/* 0 (what cannot be read is left out), or -errno: no /proc, no memory. Give back what came, also after a failure. */
int cfb_boards_read(struct cfb_boards *boards);
void cfb_boards_release(struct cfb_boards *boards);
/* Reads note @index of @board once more; false: it cannot be read, or is being changed. */
bool cfb_board_read_again(const struct cfb_board_read *board, unsigned index, struct cfb_note_read *note);
/* The path of /proc with the locks of @fd in the process of @board. */
void cfb_board_path(const struct cfb_board_read *board, const char *folder, int fd, char *path,
                    size_t path_cap);

/*
 * Whether the thread that waits by @note would wait for ever: it waits for a thread, ..., that waits for it; and of them all it began last.
 * Then @words (cut to @words_cap) say how: "pid 5 (cat) holds it and waits for a.lock, which you hold". Also false where it cannot be told.
 */
bool cfb_deadlocked(const struct cfb_note *note, char *words, size_t words_cap);

/*
 * Calls @each for all who hold or wait for a lock of the file, which the kernel calls (@device, @inode) and stat (@stat_device, @stat_inode;
 * 0, 0: unknown, then waiting threads are nameless). @fd: of the file, to ask its server; -1. How many there were, or -errno.
 */
struct confab_lock_holder;
struct cfb_held_file {
        uint64_t device, inode, stat_device, stat_inode;
        int fd;
};
int cfb_holders(const struct cfb_held_file *file,
                int (*each)(const struct confab_lock_holder *holder, void *data), void *data);

#endif
