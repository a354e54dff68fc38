/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_TRANSPORT_GIVEN_H
#define CFB_TRANSPORT_GIVEN_H
/* Descriptors that somebody else opened: what fd:// and stdio:// share. See given.c. */
#include "base/fdio.h"
#include "core/transport.h"

enum cfb_given_kind {
        CFB_GIVEN_NONE,
        CFB_GIVEN_PIPE, /* and FIFO */
        CFB_GIVEN_SOCKET,
        CFB_GIVEN_TERMINAL,
        CFB_GIVEN_FILE, /* and block device */
        CFB_GIVEN_OTHER,
};

/* The state of both transports begins with this. By side (CFB_RECEIVING, CFB_SENDING). */
struct cfb_given {
        enum cfb_given_kind kind[2];
        enum cfb_fd_way way[2];
        int terminal_plus_1; /* a description of our own to write to a terminal; 0: none */
        unsigned refused;    /* sends in a row that had to wait; the sending thread's */
        /* Shut down by us. Relaxed: a call under way in another thread may or may not see it, as with shutdown(2). */
        atomic_bool shut[2];
};

/* What can be done with @fd, as CONFAB_* bits of its access mode, or -errno, not recorded (-EBADF: not open). */
int cfb_given_access(int fd);
/* Makes @fd one side of @endpoint: looks at its kind, changes nothing about it. */
int cfb_given_use(struct confab_endpoint *endpoint, int side, int fd);
/* Records -EBADF for descriptor @fd with what is open instead. */
int cfb_given_absent(const struct cfb_address *address, int fd);

/* Fills what depends on the kinds; the caller has filled addressing and half_close. */
void cfb_given_properties(struct confab_properties *properties, const struct confab_endpoint *endpoint);
/* Closes what cfb_given_use opened. */
void cfb_given_close(struct confab_endpoint *endpoint);
int64_t cfb_given_send(struct confab_endpoint *endpoint, const struct confab_message *message);
int cfb_given_wait(struct confab_endpoint *endpoint, uint32_t direction, int64_t deadline_ns);
int cfb_given_descriptor(struct confab_endpoint *endpoint, uint32_t direction, struct pollfd *pollfd);
int cfb_given_receive(struct confab_endpoint *endpoint, struct confab_message *message,
                      struct cfb_buffer **bufferp, const struct confab_filter *filter);

#endif
