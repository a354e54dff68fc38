/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * A service: listeners in an event loop, a model that serves who comes, and the way to the end.
 *
 *      CFB_SERVING --- first signal ---> CFB_FINISHING --- grace ---> CFB_ENDING --- 1 s ---> CFB_KILLING
 *           |                                  |                          ^                        ^
 *           |                                  +------- second signal ----|------------------------+
 *           +--- nobody for idle_stop_ns: as a signal
 *
 * The service is over when it finishes and nobody is left (n_clients: connections, processes or workers, as the model counts).
 *
 * Accepting pauses, by taking the listeners out of the loop, at max_clients and while a client could not be served for lack of
 * processes, memory or descriptors: that one is kept (pending) and tried again after a pause that doubles, so that a fork
 * bomb next door costs nobody a connection. Others wait in the kernel's queue, whose length is the address's backlog=.
 *
 * Nothing here outlives the supervisor: its processes are killed by the kernel with it (PR_SET_PDEATHSIG, and a look at getppid for a
 * supervisor that died before), so a listener that they share is closed, and a socket file left behind is stale.
 */
#include "base/cancel.h"
#include "base/error.h"
#include "base/hot.h"
#include "base/memory.h"
#include "base/syscall.h"
#include "process/service_process.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

enum { ACCEPT_AT_ONCE = 16, FAILURES_IN_A_ROW = 16 };
#define MS           INT64_C(1000000)
#define GRACE_NS     (5000 * MS)
#define TERM_TO_KILL (1000 * MS)
#define RETRY_MIN    (10 * MS)
#define RETRY_MAX    (1000 * MS)
#define RESTART_NS   (10 * MS)
#define RESTART_MAX  (1000 * MS)

static const int ending_signals[] = {SIGTERM, SIGINT, SIGHUP};

CFB_HOT bool cfb_service_short_of(int error) {
        return error == -EAGAIN || error == -ENOMEM || error == -EMFILE || error == -ENFILE;
}

int64_t cfb_service_jitter(int64_t ns) {
        uint64_t x = (uint64_t)confab_now() ^ ((uint64_t)getpid() << 32);

        x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
        return ns - (int64_t)(x % (uint64_t)(ns / 2 + 1));
}

bool cfb_service_connects(const confab_endpoint *listener) {
        return listener->listening;
}

void cfb_service_paused(struct cfb_service *service, int error) {
        if (error && !service->paused_told)
                cfb_tell(CONFAB_EVENT_SERVICE_PAUSED, confab_address(service->listeners[0].endpoint), -error);
        service->paused_told = error;
}

bool cfb_service_has_clients(struct cfb_service *service) {
        return service->n_clients > 0;
}

bool cfb_service_queued(const struct cfb_service *service) {
        for (unsigned i = 0; i < service->n_listeners; i++) {
                struct pollfd pollfd;

                if (cfb_plain_descriptor(service->listeners[i].endpoint, CONFAB_RECEIVE, &pollfd) >= 0 &&
                    poll(&pollfd, 1, 0) > 0)
                        return true;
        }
        return false;
}

/* --- accepting --- */

static bool room(const struct cfb_service *service) {
        return service->phase == CFB_SERVING && !service->pausing &&
               (!service->options.max_clients || service->n_clients < service->options.max_clients);
}

/* Watches the listeners, or does not. A kernel that refuses to take one back is told at the end of the service. */
static void set_accepting(struct cfb_service *service, bool accepting) {
        if (service->accepting == accepting)
                return;
        service->accepting = accepting;
        for (unsigned i = 0; i < service->n_listeners; i++) {
                confab_source *source = service->listeners[i].source;
                int r = source ? confab_loop_change(source, accepting ? CONFAB_RECEIVE : 0) : 0;

                if (r < 0)
                        cfb_service_fail(service, r);
        }
}

static void look_for_room(struct cfb_service *service) {
        bool has_room = room(service);

        if (!has_room && service->phase == CFB_SERVING && !service->pausing && !service->full_told) {
                service->full_told = true;
                cfb_tell(CONFAB_EVENT_SERVICE_FULL, confab_address(service->listeners[0].endpoint),
                         service->n_clients);
        }
        set_accepting(service, has_room);
}

static void end_if_over(struct cfb_service *service) {
        if (service->phase == CFB_SERVING || service->n_clients || service->over)
                return;
        service->over = true;
        confab_loop_stop(service->loop);
}

void cfb_service_gone(struct cfb_service *service) {
        service->n_clients--;
        if (service->model->busy && !service->n_clients)
                service->last_busy_ns = confab_now();
        if (service->model->came)
                look_for_room(service);
        end_if_over(service);
}

static void pause_accepting(struct cfb_service *service, int error) {
        service->pausing = true;
        service->retry_ns = service->retry_ns ? service->retry_ns * 2 : RETRY_MIN;
        if (service->retry_ns > RETRY_MAX)
                service->retry_ns = RETRY_MAX;
        confab_loop_set_timer(service->retry_timer, confab_after(cfb_service_jitter(service->retry_ns)), 0);
        cfb_service_paused(service, error);
}

/* Serves @client or keeps it for later. */
static void admit(struct cfb_service *service, confab_endpoint *client) {
        int r;

        service->n_clients++;
        r = service->model->came(service, client);
        if (r >= 0) {
                service->retry_ns = 0;
                cfb_service_paused(service, 0);
                return;
        }
        if (cfb_service_short_of(r)) {
                service->n_clients--;
                service->pending = client;
                pause_accepting(service, r);
                return;
        }
        cfb_tell(CONFAB_EVENT_CLIENT_FAILED, confab_address(service->listeners[0].endpoint), r);
        cfb_service_gone(service);
}

static int retry(confab_source *timer, uint32_t events, void *data) {
        struct cfb_service *service = data;
        confab_endpoint *client = service->pending;

        (void)events;
        confab_loop_set_timer(timer, CONFAB_FOREVER, 0);
        service->pending = NULL;
        service->pausing = false;
        if (client && service->phase == CFB_SERVING)
                admit(service, client);
        else
                confab_close(client);
        look_for_room(service);
        return 0;
}

static int connection(confab_source *source, uint32_t events, void *data) {
        struct cfb_service_listener *listener = data;
        struct cfb_service *service = listener->service;

        (void)source;
        (void)events;
        for (int i = 0; i < ACCEPT_AT_ONCE && room(service); i++) {
                confab_endpoint *client;
                int r = confab_accept(&client, listener->endpoint, CONFAB_NOW);

                if (r == -ENOMEM || r == -ENOBUFS)
                        pause_accepting(service, r);
                if (r < 0)
                        break; /* nobody more; or no descriptor, which the loop waits for; or one that died queued */
                service->full_told = false;
                admit(service, client);
        }
        look_for_room(service);
        return 0;
}

/* --- without connections: the listener itself is what the function serves --- */

/* Nobody's next message will go better. All others are one message's failures: who sends bad ones must not end the service. */
static bool is_the_listeners(int error) {
        return error == -EBADF || error == -EIDRM || error == -EOWNERDEAD || error == -ECANCELED ||
               error == -ENOTSOCK;
}

static int message(confab_source *source, uint32_t events, void *data) {
        struct cfb_service_listener *listener = data;
        struct cfb_service *service = listener->service;
        int r;

        (void)events;
        service->last_busy_ns = confab_now();
        r = service->function(&listener->client, service->data);
        if (r < 0 && r != -EAGAIN) {
                cfb_tell(CONFAB_EVENT_CLIENT_FAILED, confab_address(listener->endpoint), r);
                listener->n_failures = is_the_listeners(r) ? listener->n_failures + 1 : 0;
                if (listener->n_failures == FAILURES_IN_A_ROW)
                        cfb_service_fail(service, r);
                return 0;
        }
        listener->n_failures = 0;
        if (r) {
                r = confab_loop_change(source, listener->client.wait_for);
                if (r < 0)
                        cfb_service_fail(service, r);
                return 0;
        }
        listener->source = confab_loop_remove(source); /* the end: nothing can come there any more */
        for (unsigned i = 0; i < service->n_listeners; i++)
                if (service->listeners[i].source)
                        return 0;
        cfb_service_stop(service);
        return 0;
}

/* --- the end --- */

static void end_clients(struct cfb_service *service, enum cfb_service_phase phase, int signal_number) {
        service->phase = phase;
        if (!service->n_ended)
                service->n_ended = service->n_clients;
        service->model->end(service, signal_number);
}

static int next_phase(confab_source *timer, uint32_t events, void *data) {
        struct cfb_service *service = data;

        (void)events;
        if (service->phase == CFB_FINISHING) {
                confab_loop_set_timer(timer, confab_after(TERM_TO_KILL), 0);
                end_clients(service, CFB_ENDING, SIGTERM);
        } else {
                confab_loop_set_timer(timer, CONFAB_FOREVER, 0);
                end_clients(service, CFB_KILLING, SIGKILL);
        }
        return 0;
}

void cfb_service_stop(struct cfb_service *service) {
        if (service->phase == CFB_SERVING) {
                service->phase = CFB_FINISHING;
                if (!service->handed_on)
                        cfb_service_notify(service, "STOPPING=1");
                set_accepting(service, false);
                service->pending = confab_close(service->pending);
                for (unsigned i = 0; i < service->n_listeners; i++)
                        if (service->listeners[i].source)
                                confab_loop_change(service->listeners[i].source, 0);
                confab_loop_set_timer(service->phase_timer, confab_after(service->options.grace_ns), 0);
                if (service->model->finish)
                        service->model->finish(service);
        } else if (service->phase != CFB_KILLING) {
                end_clients(service, CFB_KILLING, SIGKILL);
        }
        end_if_over(service);
}

void cfb_service_fail(struct cfb_service *service, int error) {
        if (service->failure >= 0)
                service->failure = error;
        if (service->phase == CFB_SERVING)
                cfb_service_stop(service);
}

static int stopped_by_signal(confab_source *source, uint32_t events, void *data) {
        (void)source;
        (void)events;
        cfb_service_stop(data);
        return 0;
}

static int idle(confab_source *timer, uint32_t events, void *data) {
        struct cfb_service *service = data;
        /* who is in the queue, or came and could not be served yet, is a client */
        bool busy = (service->model->busy && service->model->busy(service)) || service->pending ||
                    cfb_service_queued(service);
        int64_t since_ns = busy ? confab_now() : service->last_busy_ns;

        (void)events;
        if (service->phase != CFB_SERVING || since_ns + service->options.idle_stop_ns > confab_now()) {
                confab_loop_set_timer(timer, since_ns + service->options.idle_stop_ns, 0);
                return 0;
        }
        confab_loop_set_timer(timer, CONFAB_FOREVER, 0); /* else the loop would free it */
        cfb_service_stop(service);
        return 0;
}

/* --- in the processes that serve --- */

CFB_HOT void cfb_service_in_child(const struct cfb_service *service) {
        if (!(service->options.flags & CONFAB_SERVE_OUTLIVE)) {
                if (cfb_sys_die_with_parent() != service->pid)
                        _exit(1); /* it died before it could be said */
        }
        cfb_sys_set_mask(&service->signals);
}

CFB_HOT int cfb_service_converse(const struct cfb_service *service, confab_endpoint *endpoint) {
        const struct confab_service_options *options = &service->options;
        struct confab_client client = {
                .size = sizeof(client), .wait_for = CONFAB_RECEIVE, .endpoint = endpoint};
        int64_t end_ns = options->client_ns ? confab_after(options->client_ns) : CONFAB_FOREVER;
        int r;

        do {
                client.deadline_ns = options->idle_ns ? confab_after(options->idle_ns) : CONFAB_FOREVER;
                if (client.deadline_ns > end_ns)
                        client.deadline_ns = end_ns;
                r = service->function(&client, service->data);
                if (r == -EAGAIN) {
                        struct confab_interest interest = {.endpoint = endpoint,
                                                           .direction = client.wait_for};

                        r = confab_wait(&interest, 1, client.deadline_ns);
                }
        } while (r > 0);
        if (options->gone)
                options->gone(&client, service->data);
        return r;
}

/* --- running --- */

/* As nohup and the background jobs of plain shells want it: it stays ignored. (Once blocked it would come through the signalfd all the same.) */
static bool is_ignored(int signal_number) {
        struct sigaction now;

        return sigaction(signal_number, NULL, &now) == 0 && now.sa_handler == SIG_IGN;
}

static int add_listeners(struct cfb_service *service) {
        int r = 0;

        service->accepting = true;
        for (unsigned i = 0; i < service->n_listeners && r >= 0; i++) {
                struct cfb_service_listener *listener = &service->listeners[i];

                listener->service = service;
                listener->client = (struct confab_client){.size = sizeof(listener->client),
                                                          .wait_for = CONFAB_RECEIVE,
                                                          .endpoint = listener->endpoint,
                                                          .deadline_ns = CONFAB_NOW};
                if (service->model->came)
                        r = confab_loop_add_endpoint(
                                &listener->source, service->loop, listener->endpoint, CONFAB_RECEIVE,
                                cfb_service_connects(listener->endpoint) ? connection : message, listener);
        }
        return r;
}

static int begin(struct cfb_service *service) {
        confab_loop *loop = service->loop;
        int r;

        r = confab_loop_add_timer(&service->phase_timer, loop, CONFAB_FOREVER, 0, next_phase, service);
        if (r >= 0)
                r = confab_loop_add_timer(&service->retry_timer, loop, CONFAB_FOREVER, 0, retry, service);
        service->last_busy_ns = confab_now();
        if (r >= 0 && service->options.idle_stop_ns && !(service->options.flags & CONFAB_SERVE_ON_DEMAND))
                r = confab_loop_add_timer(&service->idle_timer, loop,
                                          confab_after(service->options.idle_stop_ns), 0, idle, service);
        if (r >= 0)
                r = cfb_successor_begin(service); /* who is served can count on it */
        if (r >= 0)
                r = service->model->begin(service);
        if (r >= 0)
                r = add_listeners(service);
        if (r >= 0)
                cfb_service_ready(service);
        return r;
}

static void end(struct cfb_service *service) {
        for (unsigned i = 0; i < service->n_listeners; i++)
                confab_loop_remove(service->listeners[i].source);
        confab_close(service->pending);
        cfb_successor_end(service);
        service->model->fini(service);
        confab_loop_remove(service->phase_timer);
        confab_loop_remove(service->retry_timer);
        confab_loop_remove(service->idle_timer);
}

/* A stop that is not ours is the program's: as a signal. */
static int run(struct cfb_service *service) {
        int r = 0;

        while (r >= 0 && !service->over) {
                r = confab_loop_run(service->loop);
                if (r >= 0 && !service->over)
                        cfb_service_stop(service);
        }
        service->over = true;
        if (service->failure < 0)
                return service->failure;
        return r < 0 ? r : (int)service->n_ended;
}

int cfb_service_run(struct cfb_service *service) {
        confab_source *signals[sizeof(ending_signals) / sizeof(ending_signals[0])] = {NULL};
        struct cfb_failure failure;
        bool own = !service->options.loop;
        int r = 0;

        service->loop = service->options.loop;
        if (own && (r = confab_loop_new(&service->loop)) < 0)
                return r;
        for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]) && r >= 0; i++)
                if (!(service->options.flags & CONFAB_SERVE_KEEP_SIGNALS) && !is_ignored(ending_signals[i]))
                        r = confab_loop_add_signal(&signals[i], service->loop, ending_signals[i],
                                                   stopped_by_signal, service);
        if (r >= 0)
                r = begin(service);
        if (r >= 0)
                r = run(service);
        failure = *cfb_last_failure();
        end(service);
        for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
                confab_loop_remove(signals[i]);
        if (own)
                confab_loop_free(service->loop);
        *cfb_last_failure() = failure;
        return r;
}

/* --- what is asked for --- */

static int refuse(int error, const char *why) {
        return cfb_failed_with(error, "serve", NULL, NULL, why, 0, 0);
}

static int check_options(const struct cfb_service *service) {
        const struct confab_service_options *options = &service->options;

        if (options->flags & ~(CONFAB_SERVE_ON_DEMAND | CONFAB_SERVE_OUTLIVE | CONFAB_SERVE_KEEP_SIGNALS |
                               CONFAB_SERVE_NOTIFY))
                return refuse(-EINVAL, "a flag that there is not");
        if (!service->function == !options->command)
                return refuse(-EINVAL, "either a function or a command serves the clients");
        if ((options->command && !options->command[0]) || (options->successor && !options->successor[0]))
                return refuse(-EINVAL, "the command is empty");
        if (options->idle_ns < 0 || options->client_ns < 0 || options->idle_stop_ns < 0 ||
            options->restart_ns < 0 || options->restart_max_ns < 0)
                return refuse(-EINVAL, "a duration is negative");
        if ((options->flags & CONFAB_SERVE_ON_DEMAND) && service->model != &cfb_service_prefork)
                return refuse(-EINVAL, "starting on demand is for prefork: fork starts a process for each "
                                       "client, loop none");
        if (options->command && options->idle_ns)
                return refuse(
                        -EOPNOTSUPP,
                        "a time a program's client may be silent: nobody sees what it says to the program");
        for (unsigned i = 0; i < service->n_listeners && options->command; i++)
                if (service->listeners[i].endpoint->address.frame)
                        return cfb_unsupported_of(service->listeners[i].endpoint, "serve",
                                                  "frame= for a program: it gets the connection itself");
        return service->model->check ? service->model->check(service) : 0;
}

static void set_defaults(struct confab_service_options *options) {
        int64_t *durations[] = {&options->idle_ns, &options->client_ns, &options->idle_stop_ns,
                                &options->restart_ns, &options->restart_max_ns};

        for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++)
                if (*durations[i] > INT64_MAX / 4) /* can be doubled, and added to any time there is */
                        *durations[i] = INT64_MAX / 4;
        if (!options->grace_ns)
                options->grace_ns = GRACE_NS;
        if (options->grace_ns < 0)
                options->grace_ns = 0;
        if (!options->restart_ns)
                options->restart_ns = RESTART_NS;
        if (!options->restart_max_ns)
                options->restart_max_ns = RESTART_MAX;
}

static int serve(struct cfb_service *service) {
        static const struct cfb_service_model *const models[] = {&cfb_service_fork, &cfb_service_prefork,
                                                                 &cfb_service_loop};
        uint32_t model = service->options.model ? service->options.model : CONFAB_SERVE_FORK;
        int r;

        if (model > sizeof(models) / sizeof(models[0]))
                return refuse(-EINVAL, "a model that there is not");
        service->model = models[model - 1];
        service->pid = getpid();
        pthread_sigmask(SIG_SETMASK, NULL, &service->signals);
        if (!(service->options.flags & CONFAB_SERVE_KEEP_SIGNALS)) {
                /* A terminal sends these to its whole group: the clients of a function are to finish all the same. */
                sigaddset(&service->signals, SIGINT);
                sigaddset(&service->signals, SIGHUP);
        }
        set_defaults(&service->options);
        r = check_options(service);
        if (service->model == &cfb_service_fork && cfb_service_can_ahead(service))
                service->model = &cfb_service_ahead;
        if (r >= 0 && service->options.command)
                r = cfb_service_command_new(&service->command, service, service->options.command);
        if (r >= 0)
                r = cfb_service_run(service);
        cfb_service_command_free(service->command);
        return r;
}

int confab_serve(confab_endpoint *const *listeners, unsigned n_listeners,
                 const struct confab_service_options *options, confab_client_function function, void *data) {
        CFB_UNCANCELLED;
        struct cfb_service *service;
        int r;

        if (!listeners || !n_listeners || n_listeners > CFB_SERVICE_LISTENERS ||
            (options && (!options->size || options->size > sizeof(*options))))
                return refuse(-EINVAL, "1 to 64 listeners, and options of this version of the library");
        service = cfb_allocate(sizeof(*service));
        if (!service)
                return cfb_failed(-ENOMEM, "serve", NULL);
        if (options)
                memcpy(&service->options, options, options->size);
        service->function = function;
        service->data = data;
        service->n_listeners = n_listeners;
        for (unsigned i = 0; i < n_listeners; i++)
                service->listeners[i].endpoint = listeners[i];
        r = serve(service);
        cfb_release(service);
        return r;
}
