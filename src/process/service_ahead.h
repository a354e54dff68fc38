/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_PROCESS_SERVICE_AHEAD_H
#define CFB_PROCESS_SERVICE_AHEAD_H
/* Processes made before their clients come: what the supervisor (service_ahead.c) and a spare (service_spare.c) share. */
#include "process/service_process.h"

#include <stdatomic.h>

enum { CFB_PLACES = 256 };
enum { CFB_PLACE_FREE, CFB_PLACE_SPARE, CFB_PLACE_TAKEN, CFB_PLACE_DISMISSED };

/* In memory that all share. All accesses are sequentially consistent: there are a few for a client. */
struct cfb_board {
        _Atomic unsigned n_places; /* beyond that all are free */
        _Atomic unsigned low;      /* so few spares are left: ring */
        _Atomic bool rung;         /* and the supervisor has not come yet */
        _Atomic unsigned char places[CFB_PLACES];
};

struct cfb_ahead {
        struct cfb_board *board;
        confab_endpoint *prepared[CFB_SERVICE_LISTENERS]; /* what a spare accepts into: each has its copy */
        struct cfb_client_process *at[CFB_PLACES];        /* whose place it is */
        unsigned n_places;                                /* beyond that all are free */
        int gate, reserve; /* reserve: closed by a spare that finds no descriptor to accept with */
        struct cfb_watch bell;
        confab_source *tick, *retry;
        bool ticking, waiting; /* the timers are set */
        struct cfb_service *service;
        unsigned stock; /* how many spares there should be */
        unsigned n_processes, n_came, n_unwatched;
        int64_t rung_ns, retry_ns;
};

/* service_spare.c. Waits for a client, serves it, ends. */
_Noreturn void cfb_spare_be(struct cfb_service *service, int place);
unsigned cfb_spares_count(struct cfb_board *board);
/* Arms a listener, which then wakes one spare. */
void cfb_gate_open(const struct cfb_service *service, unsigned listener);

#endif
