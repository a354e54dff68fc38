/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * A process for each client, made when the client has come: for programs, for services in a loop of the program's own and where
 * processes may outlive the service. The others are made a little before: service_ahead.c.
 *
 * What a client costs here: accept, fork, close, pidfd_open, two epoll_ctl, one wake-up and waitid; no memory once as many clients have been
 * there at once. A pidfd and not SIGCHLD: the program's own children and handlers are left alone, no signal is merged, and
 * a handler would cost more than all of that (measured: 25 us of 190). The connection is closed before the pidfd is asked for, so the number
 * it leaves is free for it: a table of descriptors that is full after fork cannot make a process that nobody watches.
 *
 * Most of a fork's price is the child's: the pages it touches first. Binding of functions at start (-z now) keeps it from looking up each
 * function it calls anew in every child: 175 to 141 us for each client here, so the library is linked so, and services should.
 */
#include "base/cleanup.h"
#include "base/error.h"
#include "base/hot.h"
#include "base/memory.h"
#include "base/syscall.h"
#include "process/service_process.h"
#include "process/spawn.h"

#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#define TERM_TO_KILL_NS INT64_C(1000000000)

static struct cfb_client_process *of(struct cfb_expiring *age) {
        return (struct cfb_client_process *)((char *)age - offsetof(struct cfb_client_process, age));
}

int cfb_pidfd_open(int pid) {
        return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* --- what both ways share --- */

struct cfb_client_process *cfb_client_process_new(struct cfb_service *service) {
        struct cfb_client_process *process = service->unused;

        if (process)
                service->unused = process->next;
        else
                process = cfb_allocate(sizeof(*process));
        if (process)
                *process = (struct cfb_client_process){.service = service, .watch.fd = -1, .place = -1};
        return process;
}

void cfb_client_process_drop(struct cfb_client_process *process) {
        process->next = process->service->unused;
        process->service->unused = process;
}

void cfb_client_process_begin(struct cfb_client_process *process) {
        process->has_client = true;
        cfb_expiry_add(&process->service->ages, &process->age);
}

void cfb_client_process_ended(struct cfb_client_process *process, int status) {
        struct cfb_service *service = process->service;

        cfb_watch_set(&process->watch, 0);
        cfb_closep(&process->watch.fd);
        if (process->has_client)
                cfb_expiry_remove(&process->age);
        if (status)
                cfb_tell(CONFAB_EVENT_CLIENT_PROCESS_ENDED, confab_address(service->listeners[0].endpoint),
                         status);
        cfb_client_process_drop(process);
}

/* --- ending --- */

static void signal_to(const struct cfb_client_process *process, int signal_number) {
        if (process->watch.fd >= 0 || process->service->command)
                cfb_service_signal(process->service, process->pid, process->watch.fd, signal_number);
        else
                kill(process->pid, signal_number); /* no descriptor was left for its pidfd */
}

static void out_of_time(struct cfb_expiring *age, void *data) {
        struct cfb_service *service = data;

        cfb_tell(CONFAB_EVENT_CLIENT_OUT_OF_TIME, confab_address(service->listeners[0].endpoint),
                 of(age)->pid);
        signal_to(of(age), SIGTERM);
        cfb_expiry_remove(age);
        cfb_expiry_add(&service->idles, age);
}

static void not_ended_by_itself(struct cfb_expiring *age, void *data) {
        (void)data;
        signal_to(of(age), SIGKILL);
        cfb_expiry_remove(age);
        cfb_expiry_add(&((struct cfb_service *)data)->idles, age);
}

void cfb_client_processes_signal(struct cfb_service *service, int signal_number) {
        struct cfb_expiry *lists[] = {&service->ages, &service->idles};

        for (int i = 0; i < 2; i++)
                for (struct cfb_expiring *age = lists[i]->all.next; age != &lists[i]->all; age = age->next)
                        signal_to(of(age), signal_number);
}

void cfb_client_process_kill(struct cfb_client_process *process) {
        int status;

        signal_to(process, SIGKILL);
        if (process->watch.fd < 0) {
                while (waitpid(process->pid, NULL, 0) < 0 && errno == EINTR)
                        ;
                return;
        }
        cfb_spawn_wait(process->watch.fd, CONFAB_FOREVER);
        cfb_spawn_reap(process->watch.fd, &status);
}

int cfb_client_processes_begin(struct cfb_service *service) {
        int r = cfb_expiry_init(&service->ages, service->loop, service->options.client_ns, out_of_time,
                                service);

        return r < 0 ? r
                     : cfb_expiry_init(&service->idles, service->loop, TERM_TO_KILL_NS, not_ended_by_itself,
                                       service);
}

static void end_now(struct cfb_client_process *process) {
        struct cfb_service *service = process->service;

        cfb_client_process_kill(process);
        cfb_client_process_ended(process, 0);
        cfb_service_gone(service);
}

/* None is left, however the loop ended. */
void cfb_client_processes_fini(struct cfb_service *service) {
        struct cfb_expiry *lists[] = {&service->ages, &service->idles};

        for (int i = 0; i < 2; i++)
                while (lists[i]->all.next && lists[i]->all.next != &lists[i]->all)
                        end_now(of(lists[i]->all.next));
        while (service->unused) {
                struct cfb_client_process *process = service->unused;

                service->unused = process->next;
                cfb_release(process);
        }
        cfb_expiry_fini(&service->ages);
        cfb_expiry_fini(&service->idles);
}

/* No exit: what the program registered to run at its end, and what it has buffered, is the parent's. */
CFB_HOT _Noreturn void cfb_client_process_serve(struct cfb_service *service, confab_endpoint *client) {
        int r;

        for (unsigned i = 0; i < service->n_listeners; i++) {
                confab_endpoint *listener = service->listeners[i].endpoint;

                /* As long as anybody has it open its name is taken, even after the service has ended. */
                cfb_sys_close(listener->fds[CFB_RECEIVING]);
                listener->fds[CFB_RECEIVING] = listener->fds[CFB_SENDING] = -1;
        }
        r = cfb_service_converse(service, client);
        cfb_close_last(client);
        _exit(r < 0);
}

/* --- when the client has come --- */

static int ended(struct cfb_watch *watch, uint32_t events) {
        struct cfb_client_process *process = (struct cfb_client_process *)watch;
        struct cfb_service *service = process->service;
        int status = 0, r;

        (void)events;
        r = cfb_spawn_reap(watch->fd, &status);
        if (r == CFB_SPAWN_RUNNING)
                return 0;
        cfb_client_process_ended(process, r == 0 ? status : 0);
        cfb_service_gone(service);
        return 0;
}

static int fork_function(int *pidfdp, struct cfb_service *service, confab_endpoint *client) {
        int pid = fork();

        if (pid == 0) {
                cfb_service_in_child(service);
                cfb_client_process_serve(service, client);
        }
        if (pid < 0)
                return cfb_failed(-errno, "fork", confab_address(client));
        confab_close(client);
        *pidfdp = cfb_pidfd_open(pid);
        if (*pidfdp < 0) { /* the kernel has no memory; see above for descriptors */
                int r = cfb_failed(-errno, "pidfd_open", NULL);

                kill(pid, SIGKILL);
                waitpid(pid, NULL, 0);
                return cfb_service_short_of(r) ? -EIO : r; /* the client has gone with it */
        }
        return pid;
}

static int start_command(int *pidfdp, struct cfb_service *service, confab_endpoint *client) {
        int pid = cfb_service_command_start(pidfdp, service, client);

        if (!cfb_service_short_of(pid))
                confab_close(client);
        return pid;
}

static int came(struct cfb_service *service, confab_endpoint *client) {
        struct cfb_client_process *process = cfb_client_process_new(service);
        int pidfd = -1, pid, r;

        if (!process)
                return cfb_failed(-ENOMEM, "serve", confab_address(client));
        pid = service->function ? fork_function(&pidfd, service, client)
                                : start_command(&pidfd, service, client);
        if (pid < 0) {
                cfb_client_process_drop(process);
                return pid;
        }
        process->pid = pid;
        cfb_watch_init(&process->watch, service->loop, NULL, pidfd, ended);
        cfb_client_process_begin(process);
        r = cfb_watch_set(&process->watch, POLLIN);
        if (r < 0) /* nobody would see it end */
                end_now(process);
        return 0;
}

static int check(const struct cfb_service *service) {
        for (unsigned i = 0; i < service->n_listeners; i++) {
                const confab_endpoint *listener = service->listeners[i].endpoint;

                if (!cfb_service_connects(listener))
                        return cfb_unsupported_of(listener, "serve",
                                                  "a process for each client: it has no connections, so "
                                                  "nobody can tell clients "
                                                  "apart; take prefork (workers that share it) or loop");
                if (listener->properties.after_fork != CONFAB_FORK_SHARED)
                        return cfb_unsupported_of(listener, "serve",
                                                  "a process for each client: its connections do not live "
                                                  "through fork; take loop");
        }
        return 0;
}

const struct cfb_service_model cfb_service_fork = {
        .name = "fork",
        .check = check,
        .begin = cfb_client_processes_begin,
        .came = came,
        .busy = cfb_service_has_clients,
        .end = cfb_client_processes_signal,
        .fini = cfb_client_processes_fini,
};
