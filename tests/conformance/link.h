/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef TESTS_CONFORMANCE_LINK_H
#define TESTS_CONFORMANCE_LINK_H
/*
 * Links: two ends of one conversation over each mechanism, made in the test's own process, so that a case can look at
 * both. A new transport adds one row to the table in transports.c; every case then runs on it.
 */
#include <confab/confab.h>
#include <stdbool.h>

enum making {
        MADE_PAIR,    /* confab_pair */
        MADE_ACCEPT,  /* confab_listen, confab_open, confab_accept */
        MADE_BOUND,   /* confab_listen receives, confab_open sends */
        MADE_LOOP,    /* one endpoint that gets back what it sends: exec://cat, stdio over a pipe */
        MADE_INHERIT, /* fd:// over descriptors made by hand */
};

struct row {
        const char *name;    /* "unix-seqpacket" */
        const char *address; /* %s: the test's own directory; %d: a number of the test's own */
        enum making making;
        /* MADE_INHERIT: makes the two descriptors; MADE_LOOP: prepares the process before the endpoint is opened. */
        int (*prepare)(int fds[2]);
        bool slow; /* what is sent takes a while to arrive: another process carries it */
        const char *
                deaf; /* the same, but the far end never receives; NULL: nobody receives unless the case does */
        void (*before)(void); /* prepares the process, before the ends are made */
        void (*narrow)(void); /* makes the room small, before it is filled */
        void (*crowd)(void);  /* others take a part of the room, where it is not the mechanism's alone */
        const char *(*lacks)(void); /* why the row cannot run on this machine; NULL: it can */
        const char *types[2];       /* of types: two that can be sent, the lower first; NULL: 3 and 7 */
};

struct link {
        const struct row *row;
        char address[256];
        confab_endpoint *listener; /* MADE_ACCEPT */
        confab_endpoint *sender, *receiver;
        bool loop; /* sender and receiver are the same endpoint */
};

extern const struct row rows[];
extern const unsigned n_rows;

/* What the suite believes of @link: what the library declares, with the cell CONFAB_FLIP names turned. */
struct confab_properties believed(const struct link *link);
/* The declared ones of an address, turned the same way. */
struct confab_properties believed_of(const struct row *row, const char *address);
/* Whether a flip is asked for @row and property @name. */
bool flipped(const struct row *row, const char *name);

/* The address of @row for this test process, in @text. */
void row_address(const struct row *row, char *text, size_t text_cap);

/* Opens all ends, or fails the test. */
struct link link_make(const struct row *row);
void link_close(struct link *link);
/* Closes one end (a loop's sending side is shut down) as a process that ends would. */
void link_drop_sender(struct link *link);
void link_drop_receiver(struct link *link);
/*
 * Forks: the child gets the sender (or the receiver) of @link, its parent the other end. Where ends belong to their process, the child takes its
 * end over or makes it anew. Returns as fork.
 */
pid_t link_fork(struct link *link, bool child_sends);
/* A second sender to the same receiver, where there is no connection; NULL: there cannot be one. */
confab_endpoint *link_second_sender(const struct link *link);

/*
 * What every mechanism carries: @len bytes that are one number in decimal, which is all that some can. The texts in the cases are numbers, too.
 */
void payload(void *data, size_t len);

/* Sends @len bytes, or fails the test. */
void send_bytes(confab_endpoint *endpoint, const void *data, size_t len);
/* Receives into @data: the length, AT_END, or the negative errno. */
#define AT_END INT64_MIN
int64_t receive_bytes(confab_endpoint *endpoint, void *data, size_t cap);
int64_t receive_bytes_until(confab_endpoint *endpoint, void *data, size_t cap, int64_t deadline_ns);

/* Nobody can see from outside when a carrier in another process has had its turn: gives it one. Prove nothing by it. */
void let_carry(const struct row *row);

/* Each fails the test (harness.h) or returns. One entry a cell of struct confab_properties, one a behaviour. */
struct conformance_case {
        const char *name;
        void (*run)(const struct row *row);
        unsigned timeout_s;
        bool (*applies)(const struct row *row, const struct confab_properties *properties); /* NULL: always */
        const char *cell; /* the property it proves; NULL: a behaviour */
};
extern const struct conformance_case cell_cases[], behaviour_cases[];
extern const unsigned n_cell_cases, n_behaviour_cases;

#endif
