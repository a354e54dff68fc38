/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * A process that waits for its client: the child's part of service_ahead.c, which has the design.
 *
 * Between fork and the function a page touched first is 2 to 3 us. So: nothing is allocated (the endpoint was prepared), system calls
 * go by no function of the C library, and all functions on the way are CFB_HOT.
 */
#include "base/cleanup.h"
#include "base/hot.h"
#include "base/syscall.h"
#include "base/wake.h"
#include "process/service_ahead.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

enum { NO_DESCRIPTOR_NAP_MS = 100 };

CFB_HOT void cfb_gate_open(const struct cfb_service *service, unsigned listener) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u32 = listener};

        /* ENOENT: the service finishes */
        cfb_sys_epoll_ctl(service->ahead->gate, EPOLL_CTL_MOD,
                          service->listeners[listener].endpoint->fds[CFB_RECEIVING], &event);
}

CFB_HOT static void wait_for_client(const struct cfb_service *service, unsigned *listenerp) {
        struct epoll_event event;
        int64_t n;

        while ((n = cfb_sys_epoll_wait(service->ahead->gate, &event)) != 1)
                if (n != -EINTR)
                        _exit(1);
        *listenerp = event.data.u32;
}

/* Whether it may accept: not where it was dismissed. */
CFB_HOT static bool take(struct cfb_board *board, int place) {
        unsigned char spare = CFB_PLACE_SPARE;

        return atomic_compare_exchange_strong(&board->places[place], &spare, CFB_PLACE_TAKEN);
}

/* Counted, not kept as a number, which would be wrong for ever once somebody was killed between his place and the number. */
CFB_HOT unsigned cfb_spares_count(struct cfb_board *board) {
        unsigned n_places = atomic_load(&board->n_places), n = 0;

        for (unsigned i = 0; i < n_places && i < CFB_PLACES;
             i++) /* a client's process may write there what it will */
                n += atomic_load(&board->places[i]) == CFB_PLACE_SPARE;
        return n;
}

CFB_HOT static void ring_if_low(const struct cfb_ahead *ahead) {
        struct cfb_board *board = ahead->board;

        if (cfb_spares_count(board) <= atomic_load(&board->low) && !atomic_exchange(&board->rung, true))
                cfb_wake(ahead->bell.fd);
}

/* 0; or what keeps it from ever being accepted here, -EAGAIN where it has gone or another service on this listener was faster. */
CFB_HOT static int accept_one(struct cfb_ahead *ahead, confab_endpoint *client, confab_endpoint *listener) {
        for (;;) {
                int r = cfb_accept_into(client, listener, CONFAB_NOW);

                if (!cfb_service_short_of(r) || r == -EAGAIN)
                        return r;
                if (r == -EMFILE && ahead->reserve >= 0)
                        cfb_closep(&ahead->reserve);
                else
                        poll(NULL, 0, NO_DESCRIPTOR_NAP_MS);
        }
}

CFB_HOT _Noreturn void cfb_spare_be(struct cfb_service *service, int place) {
        struct cfb_ahead *ahead = service->ahead;
        unsigned listener;
        int r;

        cfb_service_in_child(service);
        wait_for_client(service, &listener);
        if (!take(ahead->board, place))
                _exit(0);
        ring_if_low(ahead);
        r = accept_one(ahead, ahead->prepared[listener], service->listeners[listener].endpoint);
        cfb_gate_open(service, listener);
        if (r < 0)
                _exit(r != -EAGAIN);
        cfb_client_process_serve(service, ahead->prepared[listener]);
}
