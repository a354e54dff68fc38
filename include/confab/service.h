/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CONFAB_SERVICE_H
#define CONFAB_SERVICE_H
/*
 * Services: many clients of one listener, each served by a function or a program; the model is one option.
 *
 *      FORK      a process of its own for each client, gone with it; a few are made a little ahead of those who come
 *      PREFORK   workers made before, which accept from the shared listener; one that dies is started again
 *      LOOP      this process and thread serve all of them
 *
 * One function serves in every model: it is called when its client has come, then whenever the client has something to say,
 * and says itself when it is done.
 */
#include <confab/loop.h>

CONFAB_BEGIN_DECLS

struct confab_client {
        uint32_t size;
        uint32_t
                wait_for; /* for what the next call waits: CONFAB_RECEIVE; the function may say CONFAB_SEND or CONFAB_BOTH */
        confab_endpoint *endpoint; /* the client's connection; lent: the service closes it */
        int64_t deadline_ns;       /* for the calls on @endpoint: see below */
        void *state;               /* the function's own; NULL at first */
};

/*
 * Serves @client: receives from its endpoint, answers. Returns 1: to be called again when there is more; 0: done, the connection
 * is closed; negative: failed, closed too. -EAGAIN counts as 1, so the result of a receive that did not wait can be handed on.
 *
 * Give @client->deadline_ns to the calls on the endpoint. FORK, and PREFORK with one client a worker: the client's own deadline
 * (CONFAB_FOREVER without one), so the function may as well serve the whole conversation in its first call. LOOP, and workers with several
 * clients: CONFAB_NOW, because the others wait meanwhile.
 * Mechanisms without connections (udp, datagrams, queues): the endpoint is the listener itself, called when a message is there;
 * 0 means that nothing can come any more (a FIFO's end), a negative answer drops the message alone.
 */
typedef int (*confab_client_function)(struct confab_client *client, void *data);

/* Models. */
#define CONFAB_SERVE_FORK    1u
#define CONFAB_SERVE_PREFORK 2u
#define CONFAB_SERVE_LOOP    3u

/* Flags. */
/* PREFORK: workers are started when the first client comes; with @idle_stop_ns they end again and the service goes on. */
#define CONFAB_SERVE_ON_DEMAND 1u
/* The processes live on when this one is killed. Else the kernel kills them (PR_SET_PDEATHSIG): none is left behind. */
#define CONFAB_SERVE_OUTLIVE 2u
/* SIGTERM, SIGINT and SIGHUP are left alone. Else they end the service while it runs, but for those that are ignored (nohup): the first
 * gracefully, a second at once. */
#define CONFAB_SERVE_KEEP_SIGNALS 4u
/* Tells who started this process (NOTIFY_SOCKET, sd_notify(3)) when it serves, when it stops, and by whom it is succeeded. */
#define CONFAB_SERVE_NOTIFY 8u

struct confab_service_options {
        uint32_t size;  /* sizeof(struct confab_service_options) */
        uint32_t flags; /* CONFAB_SERVE_ON_DEMAND and so on */
        uint32_t model; /* CONFAB_SERVE_FORK unless said */
        uint32_t
                max_clients; /* at once; more wait in the listener's queue. 0: no limit; PREFORK: one for each worker */
        uint32_t n_workers; /* PREFORK; 0: one a processor */
        uint32_t
                max_restarts; /* PREFORK: so many deaths in a row without a worker that lasted end the service; 0: never */
        int64_t idle_ns;      /* a client is ended after so long without a word; 0: never */
        int64_t client_ns;    /* a client is ended after so long in all; 0: never */
        int64_t idle_stop_ns; /* the service ends after so long without a client; 0: never */
        int64_t grace_ns; /* how long clients may go on once the service is to end: 5 s; negative: not at all */
        /* A dead worker is started again after a pause: none at first, then restart_ns (10 ms) doubling up to
         * restart_max_ns (1 s), each a random part shorter, so that many do not start in step. */
        int64_t restart_ns;
        int64_t restart_max_ns;
        /*
         * A program instead of the function (which must be NULL then), looked for in PATH; ends with NULL.
         * FORK: it gets the connection as standard input and output, with CONFAB_PEER and others in the environment.
         * PREFORK: it gets the listeners from descriptor 3 on, with LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES (sd_listen_fds(3)). LOOP: none.
         */
        char *const *command;
        const char
                *listener_names; /* PREFORK: LISTEN_FDNAMES, "web:admin", at most 496 bytes; NULL: not set */
        /* A client goes, in whatever way: free what its state holds. In the process that served it, before its connection is closed. */
        void (*gone)(struct confab_client *client, void *data);
        /* Runs in this loop, so that the program can have timers and signals of its own there; confab_loop_stop is the first
         * signal, a second one the second. It is not freed. NULL: a loop of its own. */
        confab_loop *loop;
        /*
         * At SIGUSR2 this program is started, looked for in PATH at that moment, and takes the listeners over: sockets from descriptor 3 on
         * (confab_activated). Once it has said READY=1 on NOTIFY_SOCKET (CONFAB_SERVE_NOTIFY) the service ends as by a first signal: both
         * accept meanwhile, so nobody is refused. It ends before that, or within 60 s says nothing: the service goes on
         * (CONFAB_EVENT_SUCCESSOR_FAILED). Ends with NULL; NULL: SIGUSR2 is left alone.
         */
        char *const *successor;
};

/*
 * Serves the clients of @listeners (1 to 64; from confab_listen or confab_activated; lent), until a signal, the loop's stop or @idle_stop_ns
 * ends it: accepting stops, clients may go on for @grace_ns, then get SIGTERM, and SIGKILL a second later (LOOP: are closed). All its
 * processes have ended and been reaped when it returns: 0, or how many clients had to be ended. Blocks until then.
 *
 * Out of descriptors, processes or memory, or at @max_clients: accepting pauses, clients that are there go on (confab_on_event tells).
 * -EOPNOTSUPP: FORK without connections, PREFORK of a byte stream without connections, @idle_ns for a program (nobody sees what
 * it does), @max_clients and @client_ns for one that accepts by itself (PREFORK), LOOP for a program. -EINVAL; -ENOENT, -EACCES: no such program; -ECHILD: @max_restarts deaths.
 * Call it from the thread that shall serve, with no other threads if functions are forked; @function runs in
 * the forked process then, which ends by _exit: what it prints it must flush. SIGINT and SIGHUP, which a terminal sends to all of
 * a group, are blocked in there, unless KEEP_SIGNALS: the service tells its processes when to end.
 */
CONFAB_API int confab_serve(confab_endpoint *const *listeners, unsigned n_listeners,
                            const struct confab_service_options *options, confab_client_function function,
                            void *data);

/*
 * Socket activation, as the one that is started: takes over the listeners and datagram sockets that this process was started with
 * (LISTEN_FDS, LISTEN_PID: systemd, systemd-socket-activate, confab run --on-demand), at most @n_listeners of them, into @listeners, the
 * caller's; @keys are those of a fd:// address that all get, "frame=line", or NULL. Returns how many; 0: it was not started so. The three variables are taken out of the environment: call it
 * before there are other threads. -EINVAL: one of them does not listen; -E2BIG: more than @n_listeners. Then none is taken.
 */
CONFAB_API int confab_activated(confab_endpoint **listeners, unsigned n_listeners, const char *keys);

CONFAB_END_DECLS
#endif
