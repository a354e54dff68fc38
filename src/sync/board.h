/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_SYNC_BOARD_H
#define CFB_SYNC_BOARD_H
/* Where the threads of this process write down which handles they lock by and what they wait for, for others to read. See board.c. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One handle. Written by the thread within a call on it, read by other processes with pread: nothing in it is believed unchecked. */
struct cfb_note {
        _Atomic uint64_t change; /* odd: being changed */
        _Atomic uint64_t device; /* of the file, as stat has it */
        _Atomic uint64_t inode;  /* 0: nobody's note */
        _Atomic int32_t fd;      /* the description's, in its process */
        _Atomic int32_t owner;   /* the thread whose locks they are; 0: nobody's in particular */
        _Atomic int32_t waiter;  /* the thread that waits by this handle; 0: none */
        _Atomic uint32_t wanted; /* CONFAB_LOCK_* it waits for, of the bytes: */
        _Atomic uint64_t start, last;
        _Atomic int64_t waits_since_ns;
        _Atomic int64_t since_ns; /* when it last got something. Not covered by change: for people */
        uint64_t reserved[7];
};
/* The same as others read it. */
struct cfb_note_read {
        uint64_t change, device, inode;
        int32_t fd, owner, waiter;
        uint32_t wanted;
        uint64_t start, last;
        int64_t waits_since_ns, since_ns;
        uint64_t reserved[7];
};
_Static_assert(sizeof(struct cfb_note) == 128 && sizeof(struct cfb_note_read) == 128,
               "the layout others read");
_Static_assert(offsetof(struct cfb_note, since_ns) == offsetof(struct cfb_note_read, since_ns), "the same");

struct cfb_board_head {
        uint64_t magic;
        uint32_t version;
        uint32_t note_len;
        _Atomic uint32_t n_notes; /* ever used */
        uint32_t reserved[27];
};
_Static_assert(sizeof(struct cfb_board_head) == 128, "the layout others read");
#define CFB_BOARD_MAGIC 0x636f6e6661620b0aULL
#define CFB_BOARD_NAME \
        "confab-locks" /* the memfd's, by which it is told from other files before it is opened */

/* The record lock that says where a board is: one byte behind the other from this one on, as many as its descriptor's number plus one. */
#define CFB_BOARD_SIGN 0x636f6e6661620000ULL
enum { CFB_BOARD_FDS = 0x10000, CFB_BOARD_NOTES = 4096, CFB_BOARD_VERSION = 1 };

/* A free note, or NULL where there is none to be had: then this handle's deadlocks are not found, and nothing else is lost. */
struct cfb_note *cfb_board_join(void);
/* Gives it back; with the last one the board goes. Accepts NULL. */
void cfb_board_leave(struct cfb_note *note);

/* Whose the locks of @fd are from now on, of the file (@device, @inode). */
void cfb_note_owner(struct cfb_note *note, int fd, uint64_t device, uint64_t inode, int32_t owner);
/* @waiter waits for it, from now on; 0: no longer. */
void cfb_note_wait(struct cfb_note *note, int32_t waiter, uint32_t wanted, uint64_t start, uint64_t last);
void cfb_note_got(struct cfb_note *note);

/* This process's board: its descriptor and identity; false: it has none. */
bool cfb_board_own(int *fdp, uint64_t *devicep, uint64_t *inodep);
/* Where @note stands in it. */
unsigned cfb_board_index(const struct cfb_note *note);

void cfb_board_before_fork(void);
void cfb_board_after_fork(bool child);

#endif
