/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Workers: processes made before their clients come, which accept from the listener that all share.
 *
 *      supervisor --- listeners, kept open ---> the kernel's queue of clients <--- accept --- worker, worker, worker
 *          |                                                                                       |
 *          +------------- the writing end of a pipe (lifeline): closed, it says "finish" ----------+
 *
 * One queue for all, and the supervisor holds it: when a worker dies no client in the queue is lost, and whoever is free takes the next. A
 * listener each (SO_REUSEPORT) was rejected for that: a dying worker takes its queue along, and clients wait behind a busy one
 * while others are free. The herd is kept small by EPOLLEXCLUSIVE: a client wakes one waiting worker.
 *
 * The lifeline tells workers to finish: it also ends when the supervisor is killed, no signal has to be handled in a function's process,
 * and one that serves is not disturbed. Programs get SIGTERM, which is what they know.
 *
 * Deaths: the first is answered at once, further ones in a row after a pause that doubles, with jitter, up to restart_max_ns: a worker that
 * cannot live costs one fork a second. It counts as alive again once it lasted twice that time.
 *
 * On demand: nobody runs, the supervisor watches the listeners; when a client comes all workers start. From then on it is told of each
 * further client by the same watch, edge-triggered, without taking it, and so knows when none has come for idle_stop_ns.
 */
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "process/service.h"
#include "process/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef EPOLLEXCLUSIVE
#define EPOLLEXCLUSIVE (1u << 28)
#endif
#define NO_DESCRIPTOR_NAP_MS 100
#define TERM_TO_KILL_NS      INT64_C(1000000000)

struct worker {
        struct cfb_watch watch; /* its pidfd */
        struct cfb_service *service;
        confab_source *timer; /* starts it again */
        int64_t started_ns;
        unsigned n_deaths; /* in a row */
        unsigned n_pauses; /* in a row: deaths, and starts for which something was short */
        int pid;
        bool running;
};

/* Tells that a client has come, without taking it. */
struct arrivals {
        struct cfb_watch watch;
        struct cfb_service *service;
};

struct cfb_workers {
        int lifeline[2];
        struct arrivals arrivals[CFB_SERVICE_LISTENERS];
        int flags[CFB_SERVICE_LISTENERS]; /* the listeners' own, where a program gets them; -1: not changed */
        confab_source *idle;
        bool resting; /* on demand: nobody runs, and nobody shall before a client comes */
        int emptying; /* on demand: for want of clients they were told to end; how often */
        unsigned n;
        struct worker all[];
};

static bool on_demand(const struct cfb_service *service) {
        return service->options.flags & CONFAB_SERVE_ON_DEMAND;
}

static unsigned clients_each(const struct cfb_service *service) {
        unsigned each = service->options.max_clients / service->workers->n;

        return each ? each : 1;
}

/* --- in a worker --- */

static int lifeline_ended(confab_source *source, uint32_t events, void *data) {
        (void)events;
        confab_loop_remove(source);
        cfb_service_stop(data);
        return 0;
}

static int add_lifeline(struct cfb_service *service) {
        return confab_loop_add_descriptor(NULL, service->loop, service->workers->lifeline[0], POLLIN,
                                          lifeline_ended, service);
}

static int begin_loop(struct cfb_service *service) {
        int r = cfb_service_loop.begin(service);

        return r < 0 ? r : add_lifeline(service);
}

/* Several clients a worker: a loop of its own, which the lifeline stops. */
static int serve_many(const struct cfb_service *supervisor) {
        static struct cfb_service service; /* there is one in a process that is a worker */
        static struct cfb_service_model model;

        model = cfb_service_loop;
        model.begin = begin_loop;
        service = (struct cfb_service){.options = supervisor->options,
                                       .model = &model,
                                       .function = supervisor->function,
                                       .data = supervisor->data,
                                       .n_listeners = supervisor->n_listeners,
                                       .workers = supervisor->workers,
                                       .pid = supervisor->pid};
        service.options.flags = CONFAB_SERVE_KEEP_SIGNALS;
        service.options.max_clients = clients_each(supervisor);
        service.options.idle_stop_ns = 0;
        service.options.successor = NULL;
        service.options.loop = NULL;
        for (unsigned i = 0; i < service.n_listeners; i++)
                service.listeners[i].endpoint = supervisor->listeners[i].endpoint;
        return cfb_service_run(&service);
}

/* A client that came, if no other worker was faster. */
static int serve_next(const struct cfb_service *service, confab_endpoint *listener) {
        confab_endpoint *client;
        int r = confab_accept(&client, listener, CONFAB_NOW);

        if (r == -EMFILE || r == -ENFILE || r == -ENOMEM || r == -ENOBUFS)
                poll(&(struct pollfd){.fd = service->workers->lifeline[0], .events = POLLIN}, 1,
                     NO_DESCRIPTOR_NAP_MS);
        if (r < 0)
                return 1;
        cfb_service_converse(service, client);
        confab_close(client);
        return 1;
}

/* A message of a listener without connections: 0 at its end. */
static int serve_message(const struct cfb_service *service, confab_endpoint *listener) {
        struct confab_client client = {.size = sizeof(client),
                                       .wait_for = CONFAB_RECEIVE,
                                       .endpoint = listener,
                                       .deadline_ns = CONFAB_NOW};

        return service->function(&client, service->data) != 0;
}

static int watch_all(const struct cfb_service *service, int epoll_fd) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};

        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, service->workers->lifeline[0], &event) < 0)
                return cfb_failed(-errno, "epoll_ctl", "lifeline");
        for (unsigned i = 0; i < service->n_listeners; i++) {
                struct pollfd pollfd;
                int r = cfb_plain_descriptor(service->listeners[i].endpoint, CONFAB_RECEIVE, &pollfd);

                if (r < 0)
                        return r;
                event.events = EPOLLIN | EPOLLEXCLUSIVE;
                event.data.ptr = service->listeners[i].endpoint;
                if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pollfd.fd, &event) < 0)
                        return cfb_failed(-errno, "epoll_ctl",
                                          confab_address(service->listeners[i].endpoint));
        }
        return 0;
}

/* One client at a time: the function may wait for it. */
static int serve_one_by_one(const struct cfb_service *service) {
        CFB_CLEANUP(cfb_closep) int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        int r;

        if (epoll_fd < 0)
                return cfb_failed(-errno, "epoll_create1", NULL);
        r = watch_all(service, epoll_fd);
        while (r >= 0) {
                struct epoll_event event;
                int n = epoll_wait(epoll_fd, &event, 1, -1);

                if (n < 0 && errno != EINTR)
                        return cfb_failed(-errno, "epoll_wait", NULL);
                if (n <= 0)
                        continue;
                if (!event.data.ptr)
                        return 0;
                r = cfb_service_connects(event.data.ptr) ? serve_next(service, event.data.ptr)
                                                         : serve_message(service, event.data.ptr);
                if (r == 0)
                        return 0;
        }
        return r;
}

static _Noreturn void be_a_worker(struct cfb_service *service) {
        cfb_service_in_child(service);
        cfb_closep(&service->workers->lifeline[1]);
        _exit((clients_each(service) > 1 ? serve_many(service) : serve_one_by_one(service)) < 0);
}

/* --- life and death --- */

static void rest(struct cfb_service *service);

static int fork_worker(int *pidfdp, struct cfb_service *service) {
        /* Keeps a number for its pidfd: a worker that cannot be watched, and so is killed again, might have a client by then. */
        int kept = fcntl(service->workers->lifeline[0], F_DUPFD_CLOEXEC, 0), pid;

        if (kept < 0)
                return cfb_failed(-errno, "fcntl", "worker");
        pid = fork();
        close(kept);
        if (pid == 0)
                be_a_worker(service);
        if (pid < 0)
                return cfb_failed(-errno, "fork", "worker");
        *pidfdp = (int)syscall(SYS_pidfd_open, pid, 0);
        if (*pidfdp < 0) {
                int r = cfb_failed(-errno, "pidfd_open", "worker");

                kill(pid, SIGKILL);
                while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                        ;
                return r;
        }
        return pid;
}

/* The pause before the next life: none after the first death in a row. */
static int64_t pause_ns(const struct worker *worker) {
        const struct confab_service_options *options = &worker->service->options;
        int64_t ns = options->restart_ns;

        if (worker->n_pauses <= 1)
                return 0;
        for (unsigned i = 2; i < worker->n_pauses && ns < options->restart_max_ns; i++)
                ns *= 2;
        return cfb_service_jitter(ns < options->restart_max_ns ? ns : options->restart_max_ns);
}

static void start_later(struct worker *worker) {
        if (worker->service->phase != CFB_SERVING)
                return;
        worker->n_pauses++;
        confab_loop_set_timer(worker->timer, confab_after(pause_ns(worker)), 0);
}

/* a: how many; b: they are programs. */
static size_t explain_deaths(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: its workers die as soon as they are started, %lld in a row",
                   failure->subject, (long long)failure->a);
        if (failure->b)
                cfb_append(text, text_cap, &used,
                           "; a worker accepts from the listener it has as descriptor 3: a program that "
                           "serves its "
                           "standard input wants the model fork");
        return used;
}

static void died(struct worker *worker) {
        struct cfb_service *service = worker->service;
        uint32_t most = service->options.max_restarts;

        if (service->phase != CFB_SERVING)
                return;
        worker->n_deaths++;
        if (most && worker->n_deaths > most) {
                cfb_service_fail(service, cfb_failed_with(-ECHILD, "serve",
                                                          confab_address(service->listeners[0].endpoint),
                                                          explain_deaths, NULL, worker->n_deaths,
                                                          service->options.command != NULL));
                return;
        }
        start_later(worker);
}

static int ended(struct cfb_watch *watch, uint32_t events) {
        struct worker *worker = (struct worker *)watch;
        struct cfb_service *service = worker->service;
        int status = 0, r;

        (void)events;
        r = cfb_spawn_reap(watch->fd, &status);
        if (r == CFB_SPAWN_RUNNING)
                return 0;
        cfb_watch_set(watch, 0);
        cfb_closep(&watch->fd);
        worker->running = false;
        if (confab_now() - worker->started_ns > 2 * service->options.restart_max_ns)
                worker->n_deaths = worker->n_pauses = 0;
        if (service->phase == CFB_SERVING && !service->workers->emptying && (status || !on_demand(service)))
                cfb_tell(CONFAB_EVENT_WORKER_ENDED, confab_address(service->listeners[0].endpoint), status);
        cfb_service_gone(service);
        if (service->workers->emptying) {
                if (!service->n_clients)
                        rest(service);
        } else if (status || !on_demand(service) || !service->n_clients) {
                died(worker); /* on demand one may end by itself: the others suffice */
        }
        return 0;
}

static void start(struct worker *worker) {
        struct cfb_service *service = worker->service;
        int pidfd = -1, r;

        worker->started_ns = confab_now();
        r = service->function ? fork_worker(&pidfd, service)
                              : cfb_service_command_start(&pidfd, service, NULL);
        if (r >= 0) {
                cfb_service_paused(service, 0);
                cfb_watch_init(&worker->watch, service->loop, NULL, pidfd, ended);
                worker->running = true;
                worker->pid = r;
                service->n_clients++;
                r = cfb_watch_set(&worker->watch, POLLIN);
                if (r >= 0)
                        return;
                cfb_service_signal(service, worker->pid, pidfd, SIGKILL);
                cfb_spawn_wait(pidfd, CONFAB_FOREVER);
                ended(&worker->watch, POLLIN);
                return;
        }
        cfb_service_paused(service, r);
        if (!cfb_service_short_of(r))
                cfb_service_fail(service, r);
        else
                start_later(worker); /* that is nobody's death */
}

/* Time to start again; on demand, where it was the last one, only when there is somebody to serve. */
static int again(confab_source *timer, uint32_t events, void *data) {
        struct worker *worker = data;

        (void)events;
        confab_loop_set_timer(timer, CONFAB_FOREVER, 0);
        if (worker->service->phase != CFB_SERVING || worker->running || worker->service->workers->resting)
                return 0;
        if (on_demand(worker->service) && !worker->service->n_clients)
                rest(worker->service);
        else
                start(worker);
        return 0;
}

static void tell_all(struct cfb_service *service, int signal_number) {
        for (unsigned i = 0; i < service->workers->n; i++)
                if (service->workers->all[i].running)
                        cfb_service_signal(service, service->workers->all[i].pid,
                                           service->workers->all[i].watch.fd, signal_number);
}

/* They end once they have served whom they serve. */
static void finish(struct cfb_service *service) {
        if (service->function)
                cfb_closep(&service->workers->lifeline[1]);
        else
                tell_all(service, SIGTERM);
}

static int lay_lifeline(struct cfb_workers *workers) {
        cfb_closep(&workers->lifeline[0]);
        cfb_closep(&workers->lifeline[1]);
        return pipe2(workers->lifeline, O_CLOEXEC) < 0 ? cfb_failed(-errno, "pipe2", "workers") : 0;
}

/* --- on demand --- */

static void watch_listeners(struct cfb_service *service, uint32_t wanted) {
        for (unsigned i = 0; i < service->n_listeners; i++) {
                int r = cfb_watch_set(&service->workers->arrivals[i].watch, wanted);

                if (r < 0)
                        cfb_service_fail(service, r);
        }
}

/* Nobody runs any more. Level-triggered: who came meanwhile is seen at once. */
static void rest(struct cfb_service *service) {
        struct cfb_workers *workers = service->workers;
        int r = lay_lifeline(workers);

        workers->emptying = 0;
        workers->resting = true;
        if (workers->idle)
                confab_loop_set_timer(workers->idle, CONFAB_FOREVER, 0);
        if (r < 0)
                cfb_service_fail(service, r);
        else if (service->phase == CFB_SERVING)
                watch_listeners(service, POLLIN);
}

static void start_all(struct cfb_service *service) {
        service->workers->resting = false;
        for (unsigned i = 0; i < service->workers->n && service->phase == CFB_SERVING; i++)
                if (!service->workers->all[i].running)
                        start(&service->workers->all[i]);
}

static int somebody_came(struct cfb_watch *watch, uint32_t events) {
        struct cfb_service *service = ((struct arrivals *)watch)->service;

        (void)events;
        service->last_busy_ns = confab_now();
        if (!service->workers->resting || service->phase != CFB_SERVING)
                return 0;
        watch_listeners(service, service->workers->idle ? POLLIN | EPOLLET : 0);
        if (service->workers->idle)
                confab_loop_set_timer(service->workers->idle, confab_after(service->options.idle_stop_ns), 0);
        start_all(service);
        return 0;
}

/* Nobody came for so long: they finish; who does not within the grace time is asked, then made to. */
static int idle(confab_source *timer, uint32_t events, void *data) {
        struct cfb_service *service = data;
        struct cfb_workers *workers = service->workers;
        int64_t due_ns = service->last_busy_ns + service->options.idle_stop_ns;

        (void)events;
        confab_loop_set_timer(timer, CONFAB_FOREVER, 0);
        if (service->phase != CFB_SERVING || workers->resting)
                return 0;
        if (cfb_service_queued(service)) /* on a busy machine, nobody had the time for him yet */
                due_ns = confab_after(service->options.idle_stop_ns);
        if (!workers->emptying && due_ns > confab_now()) {
                confab_loop_set_timer(timer, due_ns, 0);
                return 0;
        }
        if (!service->n_clients) { /* between two lives: the timer of the next one sees it */
                rest(service);
                return 0;
        }
        if (++workers->emptying == 1)
                finish(service);
        else
                tell_all(service, workers->emptying == 2 ? SIGTERM : SIGKILL);
        confab_loop_set_timer(
                timer, confab_after(workers->emptying == 1 ? service->options.grace_ns : TERM_TO_KILL_NS), 0);
        return 0;
}

/* --- beginning and end --- */

/* Programs expect a listener that waits. */
static int hand_out(struct cfb_service *service) {
        for (unsigned i = 0; i < service->n_listeners; i++) {
                int fd = service->listeners[i].endpoint->fds[CFB_RECEIVING], flags = fcntl(fd, F_GETFL);

                if (flags < 0 || fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0)
                        return cfb_failed(-errno, "fcntl", confab_address(service->listeners[i].endpoint));
                service->workers->flags[i] = flags;
        }
        return 0;
}

static int prepare(struct cfb_service *service) {
        struct cfb_workers *workers = service->workers;
        int r = lay_lifeline(workers);

        for (unsigned i = 0; i < service->n_listeners && r >= 0; i++) {
                struct pollfd pollfd;

                r = cfb_plain_descriptor(service->listeners[i].endpoint, CONFAB_RECEIVE, &pollfd);
                if (r < 0)
                        break;
                workers->arrivals[i].service = service;
                cfb_watch_init(&workers->arrivals[i].watch, service->loop, NULL, pollfd.fd, somebody_came);
        }
        for (unsigned i = 0; i < workers->n && r >= 0; i++) {
                workers->all[i].service = service;
                workers->all[i].watch.fd = -1;
                r = confab_loop_add_timer(&workers->all[i].timer, service->loop, CONFAB_FOREVER, 0, again,
                                          &workers->all[i]);
        }
        if (r >= 0 && on_demand(service) && service->options.idle_stop_ns)
                r = confab_loop_add_timer(&workers->idle, service->loop, CONFAB_FOREVER, 0, idle, service);
        return r < 0 || service->function ? r : hand_out(service);
}

static int begin(struct cfb_service *service) {
        long n =
                service->options.n_workers ? (long)service->options.n_workers : sysconf(_SC_NPROCESSORS_ONLN);
        struct cfb_workers *workers;
        int r;

        if (n < 1)
                n = 1;
        if (service->options.max_clients && n > (long)service->options.max_clients)
                n = service->options.max_clients; /* each has one at least */
        workers = cfb_allocate(sizeof(*workers) + (size_t)n * sizeof(workers->all[0]));
        if (!workers)
                return cfb_failed(-ENOMEM, "serve", NULL);
        workers->n = (unsigned)n;
        workers->lifeline[0] = workers->lifeline[1] = -1;
        for (unsigned i = 0; i < CFB_SERVICE_LISTENERS; i++)
                workers->flags[i] = -1;
        service->workers = workers;
        r = prepare(service);
        if (r < 0)
                return r;
        workers->resting = on_demand(service);
        if (workers->resting || service->options.idle_stop_ns)
                watch_listeners(service, workers->resting ? POLLIN : POLLIN | EPOLLET);
        if (!workers->resting)
                start_all(service);
        return 0;
}

/* None is left, however the loop ended. */
static void fini(struct cfb_service *service) {
        struct cfb_workers *workers = service->workers;

        if (!workers)
                return;
        tell_all(service, SIGKILL);
        for (unsigned i = 0; i < workers->n; i++) {
                if (workers->all[i].running) {
                        cfb_spawn_wait(workers->all[i].watch.fd, CONFAB_FOREVER);
                        ended(&workers->all[i].watch, POLLIN);
                }
                confab_loop_remove(workers->all[i].timer);
        }
        watch_listeners(service, 0);
        confab_loop_remove(workers->idle);
        for (unsigned i = 0; i < service->n_listeners; i++)
                if (workers->flags[i] >= 0 && !service->handed_on)
                        fcntl(service->listeners[i].endpoint->fds[CFB_RECEIVING], F_SETFL, workers->flags[i]);
        cfb_closep(&workers->lifeline[0]);
        cfb_closep(&workers->lifeline[1]);
        cfb_release(workers);
        service->workers = NULL;
}

static int check(const struct cfb_service *service) {
        for (unsigned i = 0; i < service->n_listeners; i++) {
                const confab_endpoint *listener = service->listeners[i].endpoint;
                struct stat status;

                if (!service->function && (service->options.max_clients || service->options.client_ns))
                        return cfb_unsupported_of(listener, "serve",
                                                  "a limit for the clients of a program that accepts by "
                                                  "itself: nobody sees them come and go");
                if (listener->properties.after_fork != CONFAB_FORK_SHARED)
                        return cfb_unsupported_of(listener, "serve",
                                                  "workers: it does not live through fork; take loop");
                if (!cfb_service_connects(listener) &&
                    listener->properties.boundaries == CONFAB_BOUNDARIES_STREAM)
                        return cfb_unsupported_of(
                                listener, "serve",
                                "workers: each would get some bytes of one stream; take loop");
                if (!service->function &&
                    (listener->fds[CFB_RECEIVING] < 0 || fstat(listener->fds[CFB_RECEIVING], &status) < 0 ||
                     !S_ISSOCK(status.st_mode)))
                        return cfb_unsupported_of(listener, "serve",
                                                  "being handed to a program: it is no socket");
        }
        return 0;
}

const struct cfb_service_model cfb_service_prefork = {
        .name = "prefork",
        .check = check,
        .begin = begin,
        .finish = finish,
        .end = tell_all,
        .fini = fini,
};
