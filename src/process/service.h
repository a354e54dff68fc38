/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_PROCESS_SERVICE_H
#define CFB_PROCESS_SERVICE_H
/* A service inside: what its models (service_fork.c, service_workers.c, service_loop.c) share. See service.c. */
#include "core/endpoint.h"
#include "loop/loop.h"
#include "process/expiry.h"

#include <confab/service.h>
#include <signal.h>
#include <sys/types.h>

enum { CFB_SERVICE_LISTENERS = 64 };

struct cfb_service;
struct cfb_service_command;
struct cfb_successor;

enum cfb_service_phase {
        CFB_SERVING,
        CFB_FINISHING, /* accepts nobody; those there may go on for the grace time */
        CFB_ENDING,    /* they were asked to end (SIGTERM) */
        CFB_KILLING,
};

struct cfb_service_model {
        const char *name;
        /* Optional: refuses what the model cannot do. */
        int (*check)(const struct cfb_service *service);
        int (*begin)(struct cfb_service *service);
        /*
         * A client has come: serves it, and owns @client from then on, also after failing; but -EAGAIN, -ENOMEM, -EMFILE and -ENFILE: not now, it
         * is the caller's still, who comes again with it. Absent: the model accepts by itself.
         */
        int (*came)(struct cfb_service *service, confab_endpoint *client);
        /* Optional: whether there are clients. Absent: nobody knows; who came last counts for idle_stop_ns. */
        bool (*busy)(struct cfb_service *service);
        /* Optional: the service is about to finish. */
        void (*finish)(struct cfb_service *service);
        /* All clients have to go: SIGTERM, then SIGKILL; a model without processes closes them at the first. */
        void (*end)(struct cfb_service *service, int signal_number);
        void (*fini)(struct cfb_service *service);
};

struct cfb_service_listener {
        struct cfb_service *service;
        confab_endpoint *endpoint;
        confab_source *source;
        struct confab_client client; /* without connections: what the function is called with */
        unsigned n_failures;         /* in a row */
};

struct cfb_service {
        struct confab_service_options options;
        const struct cfb_service_model *model;
        confab_client_function function;
        void *data;
        struct cfb_service_command *command; /* instead of the function */
        confab_loop *loop;
        struct cfb_service_listener listeners[CFB_SERVICE_LISTENERS];
        unsigned n_listeners;
        pid_t pid; /* of the process that supervises */
        sigset_t
                signals; /* of every child: blocked when it began, and what the supervisor alone shall answer */
        enum cfb_service_phase phase;
        unsigned n_clients; /* or workers: what has to end before the service has ended */
        unsigned n_ended;   /* clients that had to be ended */
        int failure;        /* what confab_serve returns, if negative */
        bool accepting, full_told, paused_told, over;
        bool pausing;             /* something was short: nobody is accepted before the retry */
        confab_endpoint *pending; /* came, but could not be served yet */
        confab_source *phase_timer, *retry_timer, *idle_timer;
        int64_t retry_ns;     /* the last pause */
        int64_t last_busy_ns; /* when the last client went or came */
        struct cfb_expiry ages, idles;
        struct cfb_successor *successor;   /* NULL: no option for one */
        bool handed_on;                    /* the listeners are somebody else's now, too */
        struct cfb_workers *workers;       /* PREFORK */
        struct cfb_ahead *ahead;           /* FORK, where processes are made before their clients come */
        struct cfb_client_process *unused; /* FORK: of clients that have gone */
};

extern const struct cfb_service_model cfb_service_fork, cfb_service_ahead, cfb_service_prefork,
        cfb_service_loop;

/* service.c. Runs @service, whose options, model, function, listeners, pid and signals are set, to its end. As confab_serve. */
int cfb_service_run(struct cfb_service *service);
/* As a signal does: the first time gracefully, the second at once. */
void cfb_service_stop(struct cfb_service *service);
/* Ends it with @error (negative, recorded): clients may finish. */
void cfb_service_fail(struct cfb_service *service, int error);
/* One of n_clients has gone. */
void cfb_service_gone(struct cfb_service *service);

/* -EAGAIN, -ENOMEM, -EMFILE, -ENFILE: it may work later. */
bool cfb_service_short_of(int error);
/* No process can be made for now (@error): told once, until one could be made (@error 0). */
void cfb_service_paused(struct cfb_service *service, int error);
/* Whether there is a client: for models whose n_clients are clients. */
bool cfb_service_has_clients(struct cfb_service *service);
/* Whether somebody waits in a listener's queue (or a message). */
bool cfb_service_queued(const struct cfb_service *service);
/* Whether a listener's messages come over connections. */
bool cfb_service_connects(const confab_endpoint *listener);
/* A random part of the second half of @ns shorter than it. */
int64_t cfb_service_jitter(int64_t ns);

/* In a child, first: dies with the supervisor unless told otherwise, and has the signals a child shall have. */
void cfb_service_in_child(const struct cfb_service *service);
/* Serves the client of @endpoint in a process that has nothing else to do: 0 or what went wrong. */
int cfb_service_converse(const struct cfb_service *service, confab_endpoint *endpoint);

/* service_command.c. The program and its environment; NULL is accepted and returned by free. */
int cfb_service_command_new(struct cfb_service_command **commandp, const struct cfb_service *service,
                            char *const *argv);
struct cfb_service_command *cfb_service_command_free(struct cfb_service_command *command);
/* Starts it for @client (standard input and output), or with @client NULL for the listeners: a pid and *@pidfdp, or -errno. */
int cfb_service_command_start(int *pidfdp, const struct cfb_service *service, const confab_endpoint *client);
/* Starts @command as the service's successor, with the listeners, NOTIFY_SOCKET=@notify, and our own as CONFAB_NOTIFY_SOCKET. */
int cfb_service_command_succeed(int *pidfdp, const struct cfb_service *service,
                                struct cfb_service_command *command, const char *notify);
/* To one of the service's processes that is not reaped yet; a program's goes to all it has started. */
void cfb_service_signal(const struct cfb_service *service, int pid, int pidfd, int signal_number);

/* service_successor.c. Begin and end of answering SIGUSR2, if options.successor is set. */
int cfb_successor_begin(struct cfb_service *service);
void cfb_successor_end(struct cfb_service *service);
/* With NOTIFY: words for whoever started us (sd_notify(3)); and that the service serves. */
void cfb_service_notify(const struct cfb_service *service, const char *words);
void cfb_service_ready(const struct cfb_service *service);

#endif
