/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * A process for each client, made a little before the client comes. Each serves one and ends: what differs from service_fork.c is who
 * accepts, and when fork runs.
 *
 *      supervisor --- fork, several at a time ---> spare, spare, spare   all asleep in epoll_wait of one shared set (the gate)
 *          ^                                         |   a client wakes one of them: accept, open the gate for the next, serve, _exit
 *          +------ few are left (an eventfd) --------+
 *
 * The board is a page that all share: how many spares there are, and a place for each process, FREE, SPARE, TAKEN or DISMISSED.
 *   - A spare writes TAKEN before it accepts and never writes again. SPARE is therefore a promise that it has nobody: the supervisor may turn
 *     it into DISMISSED and kill, at any time, and no client is lost by it.
 *   - Who takes a client and leaves fewer than board->low spares rings. So at a thousand clients a second the supervisor is woken
 *     dozens of times, not thousands: it counts who was taken, reaps who has ended and forks what is missing in one go.
 *   - The listeners are in the gate with EPOLLONESHOT: a client wakes one spare, whoever accepted arms the listener again. The supervisor does
 *     too after any spare's death, which may have been between the two.
 *
 * How many spares: one when nobody comes. Rung for twice within NEAR_NS it doubles, up to STOCK_MAX; each tick of TICK_NS in which fewer came
 * than half of it halves it, and the surplus is dismissed. Without spares of more than one and without young processes there is no tick.
 *
 * A process that lives longer than a tick gets a pidfd, which tells its end at once; most have gone before and cost no more than a
 * waitpid by number (a child not waited for keeps its number), and no descriptor that each later fork copies. Where the end of one is what
 * others wait for (max_clients, the end of the service) all get theirs at once. That waitpid is for numbers of ours only, so the program's children stay its own; one that ignores SIGCHLD
 * has its children reaped by the kernel, ECHILD, which counts as an end.
 *
 * Why it is cheaper (docs/performance.md, "process: what was tried"): a fork makes all pages of the supervisor read-only, and what it
 * does between two forks copies them again, nine pages for accept, pidfd_open, epoll_ctl and waitid of one client; here that is shared by a batch.
 *
 * What a spare knows is what the program knew a little before its client came. Nothing of the program runs in the meantime, except
 * its handlers of signals: so only where the loop is the service's own. One that dies before it had a client (killed) is replaced after
 * a pause that doubles. With OUTLIVE a spare would keep the listener's name after the supervisor's death: never then.
 */
#include "process/service_ahead.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/hot.h"
#include "base/memory.h"
#include "base/syscall.h"
#include "base/wake.h"
#include "core/transport.h"
#include "process/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STOCK_MAX = 64 };
#define NEAR_NS   INT64_C(10000000)
#define TICK_NS   INT64_C(250000000)
#define RETRY_MIN INT64_C(10000000)
#define RETRY_MAX INT64_C(1000000000)

bool cfb_service_can_ahead(const struct cfb_service *service) {
        return service->function && !service->options.loop &&
               !(service->options.flags & CONFAB_SERVE_OUTLIVE);
}

/* --- who has come and gone --- */

static void give_place_back(struct cfb_client_process *process) {
        struct cfb_ahead *ahead = process->service->ahead;

        if (process->place < 0)
                return;
        atomic_store(&ahead->board->places[process->place], CFB_PLACE_FREE);
        ahead->at[process->place] = NULL;
        process->place = -1;
}

/* Seen to have been taken: a client of ours from now on. */
static void notice(struct cfb_client_process *process) {
        struct cfb_service *service = process->service;

        if (process->has_client ||
            atomic_load(&service->ahead->board->places[process->place]) != CFB_PLACE_TAKEN)
                return;
        service->n_clients++;
        service->ahead->n_came++;
        service->full_told = false;
        cfb_client_process_begin(process);
}

/* None could be made, or somebody killed one that had nobody yet. */
static void pause_making(struct cfb_service *service) {
        struct cfb_ahead *ahead = service->ahead;

        if (ahead->waiting)
                return;
        ahead->waiting = true;
        ahead->retry_ns = ahead->retry_ns ? ahead->retry_ns * 2 : RETRY_MIN;
        if (ahead->retry_ns > RETRY_MAX)
                ahead->retry_ns = RETRY_MAX;
        confab_loop_set_timer(ahead->retry, confab_after(cfb_service_jitter(ahead->retry_ns)), 0);
}

static void open_all(const struct cfb_service *service) {
        for (unsigned i = 0; i < service->n_listeners; i++)
                cfb_gate_open(service, i);
}

static void gone(struct cfb_client_process *process, int status) {
        struct cfb_service *service = process->service;
        struct cfb_ahead *ahead = service->ahead;
        bool had_client;
        int state = CFB_PLACE_DISMISSED;

        if (process->place >= 0) {
                notice(process);
                state = atomic_load(&ahead->board->places[process->place]);
                give_place_back(process);
        }
        had_client = process->has_client;
        if (service->phase == CFB_SERVING &&
            (status || !had_client)) { /* it may have held the gate, and the bell */
                atomic_store(&ahead->board->rung, false);
                open_all(service);
        }
        ahead->n_processes--;
        ahead->n_unwatched -= process->watch.fd < 0;
        cfb_client_process_ended(process, had_client || state == CFB_PLACE_SPARE ? status : 0);
        if (had_client)
                cfb_service_gone(service);
        else if (state == CFB_PLACE_SPARE)
                pause_making(service);
}

/* By number, without a pidfd: whether it has gone. */
static bool reaped(struct cfb_client_process *process) {
        int status = 0, r;

        do
                r = waitpid(process->pid, &status, WNOHANG);
        while (r < 0 && errno == EINTR);
        if (r == 0)
                return false;
        gone(process, r < 0 ? 0 : status);
        return true;
}

static void refill(struct cfb_service *service);

static int ended(struct cfb_watch *watch, uint32_t events) {
        struct cfb_client_process *process = (struct cfb_client_process *)watch;
        struct cfb_service *service = process->service;
        int status = 0, r = cfb_spawn_reap(watch->fd, &status);

        (void)events;
        if (r == CFB_SPAWN_RUNNING)
                return 0;
        gone(process, r == 0 ? status : 0);
        refill(service);
        return 0;
}

/* Its end is told at once from now on; without a descriptor for that, at a tick. */
static void watch(struct cfb_client_process *process) {
        struct cfb_service *service = process->service;
        int fd;

        if (process->watch.fd >= 0 || reaped(process))
                return;
        fd = cfb_pidfd_open(process->pid);
        if (fd < 0)
                return;
        cfb_watch_init(&process->watch, service->loop, NULL, fd, ended);
        if (cfb_watch_set(&process->watch, POLLIN) < 0) {
                cfb_closep(&process->watch.fd);
                return;
        }
        service->ahead->n_unwatched--;
        if (process->has_client)
                give_place_back(process);
}

static void watch_all(struct cfb_service *service) {
        struct cfb_ahead *ahead = service->ahead;

        for (unsigned i = 0; i < ahead->n_places; i++)
                if (ahead->at[i])
                        watch(ahead->at[i]);
}

/*
 * At a tick. Those with a client that were there at the last one; spares, of which each fork copies the descriptor, only
 * when nobody comes. The others are looked at.
 */
static void watch_old(struct cfb_service *service) {
        struct cfb_ahead *ahead = service->ahead;

        for (unsigned i = 0; i < ahead->n_places; i++) {
                struct cfb_client_process *process = ahead->at[i];

                if (!process || process->watch.fd >= 0 || reaped(process))
                        continue;
                if (process->seen && (process->has_client || !ahead->n_came))
                        watch(process);
                else
                        process->seen = true;
        }
}

static void look(struct cfb_service *service) {
        struct cfb_ahead *ahead = service->ahead;
        struct cfb_board *board = ahead->board;

        for (unsigned i = 0; i < ahead->n_places; i++) {
                struct cfb_client_process *process = ahead->at[i];

                if (!process || atomic_load(&board->places[i]) == CFB_PLACE_SPARE)
                        continue;
                notice(process);
                if (process->watch.fd < 0)
                        reaped(process);
                else if (process->has_client)
                        give_place_back(process);
        }
        while (ahead->n_places > 0 && !ahead->at[ahead->n_places - 1])
                ahead->n_places--;
        if (service->phase == CFB_SERVING && service->options.max_clients && !service->full_told &&
            service->n_clients >= service->options.max_clients) {
                service->full_told = true;
                cfb_tell(CONFAB_EVENT_SERVICE_FULL, confab_address(service->listeners[0].endpoint),
                         service->n_clients);
        }
}

/* --- making and dismissing spares --- */

/* A place and a record for one more: the process, or NULL and -errno in *@errorp (-EAGAIN: no place). */
static struct cfb_client_process *reserve(struct cfb_service *service, int *errorp) {
        struct cfb_ahead *ahead = service->ahead;
        struct cfb_client_process *process;
        unsigned place = 0;

        while (place < CFB_PLACES && ahead->at[place])
                place++;
        *errorp = -EAGAIN;
        if (place == CFB_PLACES)
                return NULL;
        process = cfb_client_process_new(service);
        *errorp = -ENOMEM;
        if (!process)
                return NULL;
        process->place = (int)place;
        ahead->at[place] = process;
        if (ahead->n_places <= place)
                ahead->n_places = place + 1;
        return process;
}

static void begun(struct cfb_client_process *process, int pid) {
        struct cfb_ahead *ahead = process->service->ahead;

        process->pid = pid;
        ahead->n_processes++;
        ahead->n_unwatched++;
        cfb_service_paused(process->service, 0);
}

static void not_begun(struct cfb_client_process *process) {
        give_place_back(process);
        cfb_client_process_drop(process);
}

/*
 * Makes @n spares. What is written down for each is written before the first fork and after the last: between two forks that would be
 * pages copied. 0, or -errno where it were fewer.
 */
CFB_HOT static int make_spares(struct cfb_service *service, unsigned n) {
        struct cfb_client_process *made[STOCK_MAX];
        int pids[STOCK_MAX], r = 0;
        struct cfb_ahead *ahead = service->ahead;
        unsigned n_reserved = 0, n_forked = 0;

        while (n_reserved < n && (made[n_reserved] = reserve(service, &r))) {
                atomic_store(&ahead->board->places[made[n_reserved]->place], CFB_PLACE_SPARE);
                n_reserved++;
        }
        atomic_store(&ahead->board->n_places, ahead->n_places);
        while (n_forked < n_reserved && (pids[n_forked] = fork()) > 0)
                n_forked++;
        if (n_forked < n_reserved && pids[n_forked] == 0)
                cfb_spare_be(service, made[n_forked]->place);
        if (n_forked < n_reserved)
                r = cfb_failed(-errno, "fork", confab_address(service->listeners[0].endpoint));
        else if (n_reserved == n)
                r = 0;
        for (unsigned i = 0; i < n_forked; i++)
                begun(made[i], pids[i]);
        for (unsigned i = n_forked; i < n_reserved; i++)
                not_begun(made[i]);
        return r;
}

static void keep_ticking(struct cfb_ahead *ahead) {
        bool tick = ahead->n_unwatched > 0 || ahead->stock > 1;

        if (tick == ahead->ticking)
                return;
        ahead->ticking = tick;
        confab_loop_set_timer(ahead->tick, tick ? confab_after(TICK_NS) : CONFAB_FOREVER, tick ? TICK_NS : 0);
}

/* How many may be made. */
static unsigned missing(const struct cfb_service *service) {
        const struct cfb_ahead *ahead = service->ahead;
        unsigned n_spares = cfb_spares_count(ahead->board),
                 n = n_spares < ahead->stock ? ahead->stock - n_spares : 0;

        if (service->options.max_clients) {
                unsigned room = ahead->n_processes < service->options.max_clients
                                        ? service->options.max_clients - ahead->n_processes
                                        : 0;

                n = n < room ? n : room;
        }
        return n < STOCK_MAX ? n : STOCK_MAX;
}

static void refill(struct cfb_service *service) {
        struct cfb_ahead *ahead = service->ahead;
        uint32_t most = service->options.max_clients;
        unsigned n;
        int r = 0;

        if (service->phase != CFB_SERVING)
                return;
        n = ahead->waiting ? 0 : missing(service);
        if (n)
                r = make_spares(service, n);
        if (r < 0 && cfb_service_short_of(r)) {
                cfb_service_paused(service, r);
                pause_making(service);
        } else if (r < 0)
                cfb_service_fail(service, r);
        if ((most && ahead->n_processes >= most) || ahead->n_places > CFB_PLACES / 2)
                watch_all(
                        service); /* somebody's end is waited for, or places: who is watched and has a client needs none */
        keep_ticking(ahead);
}

static void dismiss(struct cfb_client_process *process) {
        struct cfb_board *board = process->service->ahead->board;
        unsigned char spare = CFB_PLACE_SPARE;

        if (process->watch.fd < 0 &&
            reaped(process)) /* where SIGCHLD is ignored its number may be a stranger's */
                return;
        if (process->place < 0 ||
            !atomic_compare_exchange_strong(&board->places[process->place], &spare, CFB_PLACE_DISMISSED))
                return;
        if (process->watch.fd >= 0)
                cfb_spawn_signal(process->watch.fd, SIGKILL);
        else
                kill(process->pid, SIGKILL); /* not waited for yet, so the number is its own */
}

static void dismiss_surplus(struct cfb_ahead *ahead, unsigned stock) {
        for (unsigned i = ahead->n_places; i > 0 && cfb_spares_count(ahead->board) > stock; i--)
                if (ahead->at[i - 1])
                        dismiss(ahead->at[i - 1]);
}

/* From which number on the bell is rung. A client's time begins when it is noticed: then for each. */
static void set_low(const struct cfb_service *service) {
        atomic_store(&service->ahead->board->low,
                     service->options.client_ns ? STOCK_MAX : service->ahead->stock / 2);
}

static int rung(struct cfb_watch *bell, uint32_t events) {
        struct cfb_ahead *ahead = (struct cfb_ahead *)((char *)bell - offsetof(struct cfb_ahead, bell));
        struct cfb_service *service = ahead->service;
        int64_t now_ns = confab_now();

        (void)events;
        cfb_wake_drain(bell->fd);
        atomic_store(&ahead->board->rung, false);
        ahead->retry_ns = ahead->waiting ? ahead->retry_ns : 0;
        if (now_ns - ahead->rung_ns < NEAR_NS && ahead->stock < STOCK_MAX) {
                ahead->stock *= 2;
                set_low(service);
        }
        ahead->rung_ns = now_ns;
        look(service);
        refill(service);
        return 0;
}

static int tick(confab_source *timer, uint32_t events, void *data) {
        struct cfb_service *service = data;
        struct cfb_ahead *ahead = service->ahead;

        (void)timer;
        (void)events;
        look(service);
        watch_old(service);
        if (ahead->n_came < ahead->stock / 2 && service->phase == CFB_SERVING) {
                ahead->stock /= 2;
                set_low(service);
                dismiss_surplus(ahead, ahead->stock);
        }
        ahead->n_came = 0;
        refill(service);
        keep_ticking(ahead);
        return 0;
}

static int retry(confab_source *timer, uint32_t events, void *data) {
        struct cfb_service *service = data;

        (void)events;
        confab_loop_set_timer(timer, CONFAB_FOREVER, 0);
        service->ahead->waiting = false;
        refill(service);
        return 0;
}

/* --- beginning and end --- */

/* Each process copies the pages that it writes to: an endpoint across the end of a page costs two. The next lies behind it then. */
static int prepare(confab_endpoint **endpointp, confab_endpoint *listener) {
        enum { PAGE = 4096 };
        size_t len = sizeof(confab_endpoint) + listener->transport->state_len;
        confab_endpoint *first;
        int r = cfb_accept_prepare(&first, listener);

        if (r < 0 || (uintptr_t)first / PAGE == ((uintptr_t)first + len) / PAGE) {
                *endpointp = r < 0 ? NULL : first;
                return r;
        }
        r = cfb_accept_prepare(endpointp, listener);
        cfb_accept_abandon(first);
        return r;
}

static int build_gate(struct cfb_service *service) {
        struct cfb_ahead *ahead = service->ahead;
        int r;

        ahead->gate = epoll_create1(EPOLL_CLOEXEC);
        if (ahead->gate < 0)
                return cfb_failed(-errno, "epoll_create1", NULL);
        for (unsigned i = 0; i < service->n_listeners; i++) {
                struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u32 = i};

                if (epoll_ctl(ahead->gate, EPOLL_CTL_ADD, service->listeners[i].endpoint->fds[CFB_RECEIVING],
                              &event) < 0)
                        return cfb_failed(-errno, "epoll_ctl",
                                          confab_address(service->listeners[i].endpoint));
                r = prepare(&ahead->prepared[i], service->listeners[i].endpoint);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int hang_bell(struct cfb_service *service) {
        struct cfb_ahead *ahead = service->ahead;
        int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

        if (fd < 0)
                return cfb_failed(-errno, "eventfd", NULL);
        cfb_watch_init(&ahead->bell, service->loop, NULL, fd, rung);
        ahead->reserve = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        return ahead->reserve < 0 ? cfb_failed(-errno, "fcntl", NULL) : cfb_watch_set(&ahead->bell, POLLIN);
}

static int begin(struct cfb_service *service) {
        struct cfb_ahead *ahead = cfb_allocate(sizeof(*ahead));
        int r;

        if (!ahead)
                return cfb_failed(-ENOMEM, "serve", NULL);
        service->ahead = ahead;
        ahead->service = service;
        ahead->stock = 1;
        ahead->gate = ahead->reserve = ahead->bell.fd = -1;
        ahead->board =
                mmap(NULL, sizeof(*ahead->board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (ahead->board == MAP_FAILED) {
                ahead->board = NULL;
                return cfb_failed(-errno, "mmap", NULL);
        }
        set_low(service);
        r = cfb_client_processes_begin(service);
        if (r >= 0)
                r = build_gate(service);
        if (r >= 0)
                r = hang_bell(service);
        if (r >= 0)
                r = confab_loop_add_timer(&ahead->tick, service->loop, CONFAB_FOREVER, 0, tick, service);
        if (r >= 0)
                r = confab_loop_add_timer(&ahead->retry, service->loop, CONFAB_FOREVER, 0, retry, service);
        if (r >= 0)
                refill(service);
        return r;
}

static void finish(struct cfb_service *service) {
        struct cfb_ahead *ahead = service->ahead;

        for (unsigned i = 0; i < service->n_listeners; i++)
                epoll_ctl(ahead->gate, EPOLL_CTL_DEL, service->listeners[i].endpoint->fds[CFB_RECEIVING],
                          NULL);
        dismiss_surplus(ahead, 0);
        look(service); /* all who have a client are known now */
        watch_all(service);
        keep_ticking(ahead);
}

static bool busy(struct cfb_service *service) {
        look(service);
        return service->n_clients > 0;
}

static void fini(struct cfb_service *service) {
        struct cfb_ahead *ahead = service->ahead;

        for (unsigned i = 0; ahead && i < CFB_PLACES; i++) {
                struct cfb_client_process *process = ahead->at[i];

                if (process && !process->has_client) {
                        cfb_client_process_kill(process);
                        cfb_client_process_ended(process, 0);
                }
        }
        cfb_client_processes_fini(service);
        if (!ahead)
                return;
        for (unsigned i = 0; i < service->n_listeners; i++)
                cfb_accept_abandon(ahead->prepared[i]);
        confab_loop_remove(ahead->tick);
        confab_loop_remove(ahead->retry);
        cfb_watch_set(&ahead->bell, 0);
        cfb_closep(&ahead->bell.fd);
        cfb_closep(&ahead->reserve);
        cfb_closep(&ahead->gate);
        if (ahead->board)
                munmap(ahead->board, sizeof(*ahead->board));
        cfb_release(ahead);
        service->ahead = NULL;
}

const struct cfb_service_model cfb_service_ahead = {
        .name = "fork",
        .begin = begin,
        .finish = finish,
        .busy = busy,
        .end = cfb_client_processes_signal,
        .fini = fini,
};
