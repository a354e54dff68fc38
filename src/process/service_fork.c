/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * A process for each client.
 *
 * What a client costs here: accept, fork, close, pidfd_open, two epoll_ctl, one wake-up and waitid; no memory once as many clients have been
 * there at once. A pidfd and not SIGCHLD: the program's own children and handlers are left alone, no signal is merged, and
 * a handler would cost more than all of that (measured: 25 us of 190). The connection is closed before the pidfd is asked for, so the number
 * it leaves is free for it: a table of descriptors that is full after fork cannot make a process that nobody watches.
 *
 * Most of a fork's price is the child's: the pages it touches first. Binding of functions at start (-z now) keeps it from looking up each
 * function it calls anew in every child: 175 to 141 us for each client here, so the library is linked so, and services should.
 *
 * Rejected: processes kept ready before their client comes, each accepting by itself: no cheaper (143 us), and a child would
 * have what the program knew when it was made, not when the client came. One process for client after client is PREFORK.
 */
#include "base/error.h"
#include "base/memory.h"
#include "process/service.h"
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

struct cfb_client_process {
        struct cfb_watch watch;          /* its pidfd */
        struct cfb_expiring age;         /* in service->ages, or in service->idles once it was asked to end */
        struct cfb_client_process *next; /* spare */
        struct cfb_service *service;
        int pid;
};

static struct cfb_client_process *of(struct cfb_expiring *age) {
        return (struct cfb_client_process *)((char *)age - offsetof(struct cfb_client_process, age));
}

static int ended(struct cfb_watch *watch, uint32_t events) {
        struct cfb_client_process *process = (struct cfb_client_process *)watch;
        struct cfb_service *service = process->service;
        int status = 0, r;

        (void)events;
        r = cfb_spawn_reap(watch->fd, &status);
        if (r == CFB_SPAWN_RUNNING)
                return 0;
        cfb_watch_set(watch, 0);
        close(watch->fd);
        cfb_expiry_remove(&process->age);
        process->next = service->spare;
        service->spare = process;
        if (r == 0 && status)
                cfb_tell(CONFAB_EVENT_CLIENT_PROCESS_ENDED, confab_address(service->listeners[0].endpoint),
                         status);
        cfb_service_gone(service);
        return 0;
}

/* --- ending --- */

static void signal_to(const struct cfb_client_process *process, int signal_number) {
        cfb_service_signal(process->service, process->pid, process->watch.fd, signal_number);
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

static void end_clients(struct cfb_service *service, int signal_number) {
        struct cfb_expiry *lists[] = {&service->ages, &service->idles};

        for (int i = 0; i < 2; i++)
                for (struct cfb_expiring *age = lists[i]->all.next; age != &lists[i]->all; age = age->next)
                        signal_to(of(age), signal_number);
}

static void end_now(struct cfb_client_process *process) {
        signal_to(process, SIGKILL);
        cfb_spawn_wait(process->watch.fd, CONFAB_FOREVER);
        ended(&process->watch, POLLIN);
}

/* --- beginning --- */

/* No exit: what the program registered to run at its end, and what it has buffered, is the parent's. */
static _Noreturn void be_the_client_process(struct cfb_service *service, confab_endpoint *client) {
        cfb_service_in_child(service);
        for (unsigned i = 0; i < service->n_listeners; i++) {
                confab_endpoint *listener = service->listeners[i].endpoint;

                /* As long as anybody has it open its name is taken, even after the service has ended. */
                close(listener->fds[CFB_RECEIVING]);
                listener->fds[CFB_RECEIVING] = listener->fds[CFB_SENDING] = -1;
        }
        _exit(cfb_service_converse(service, client) < 0);
}

static int fork_function(int *pidfdp, struct cfb_service *service, confab_endpoint *client) {
        int pid = fork();

        if (pid == 0)
                be_the_client_process(service, client);
        if (pid < 0)
                return cfb_failed(-errno, "fork", confab_address(client));
        confab_close(client);
        *pidfdp = (int)syscall(SYS_pidfd_open, pid, 0);
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

static struct cfb_client_process *new_process(struct cfb_service *service) {
        struct cfb_client_process *process = service->spare;

        if (process)
                service->spare = process->next;
        else
                process = cfb_allocate(sizeof(*process));
        return process;
}

static int came(struct cfb_service *service, confab_endpoint *client) {
        struct cfb_client_process *process = new_process(service);
        int pidfd = -1, pid, r;

        if (!process)
                return cfb_failed(-ENOMEM, "serve", confab_address(client));
        pid = service->function ? fork_function(&pidfd, service, client)
                                : start_command(&pidfd, service, client);
        if (pid < 0) {
                process->next = service->spare;
                service->spare = process;
                return pid;
        }
        process->service = service;
        process->pid = pid;
        cfb_watch_init(&process->watch, service->loop, NULL, pidfd, ended);
        cfb_expiry_add(&service->ages, &process->age);
        r = cfb_watch_set(&process->watch, POLLIN);
        if (r < 0) /* nobody would see it end */
                end_now(process);
        return 0;
}

static int begin(struct cfb_service *service) {
        int r = cfb_expiry_init(&service->ages, service->loop, service->options.client_ns, out_of_time,
                                service);

        return r < 0 ? r
                     : cfb_expiry_init(&service->idles, service->loop, TERM_TO_KILL_NS, not_ended_by_itself,
                                       service);
}

/* None is left, however the loop ended. */
static void fini(struct cfb_service *service) {
        struct cfb_expiry *lists[] = {&service->ages, &service->idles};

        for (int i = 0; i < 2; i++)
                while (lists[i]->all.next && lists[i]->all.next != &lists[i]->all)
                        end_now(of(lists[i]->all.next));
        while (service->spare) {
                struct cfb_client_process *process = service->spare;

                service->spare = process->next;
                cfb_release(process);
        }
        cfb_expiry_fini(&service->ages);
        cfb_expiry_fini(&service->idles);
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
        .begin = begin,
        .came = came,
        .end = end_clients,
        .fini = fini,
};
