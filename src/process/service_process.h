/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_PROCESS_SERVICE_PROCESS_H
#define CFB_PROCESS_SERVICE_PROCESS_H
/* The processes of clients, as the two ways of FORK have them (service_fork.c when the client has come, service_ahead.c before). */
#include "process/service.h"

struct cfb_client_process {
        struct cfb_watch watch;          /* its pidfd; fd -1: none yet, it is looked after by its number */
        struct cfb_expiring age;         /* in service->ages, or in service->idles once it was asked to end */
        struct cfb_client_process *next; /* unused */
        struct cfb_service *service;
        int pid;
        int place; /* on the board of those made ahead; -1: none */
        bool has_client;
        bool seen; /* by a tick */
};

/* service_fork.c: the lists of those with a client and what happens to who is out of time. */
int cfb_client_processes_begin(struct cfb_service *service);
/* Kills and reaps all in the lists, frees what is unused. */
void cfb_client_processes_fini(struct cfb_service *service);
void cfb_client_processes_signal(struct cfb_service *service, int signal_number);
/* One that is in no list, or NULL; given back by drop. */
struct cfb_client_process *cfb_client_process_new(struct cfb_service *service);
void cfb_client_process_drop(struct cfb_client_process *process);
/* It has a client from now on. */
void cfb_client_process_begin(struct cfb_client_process *process);
/* It was reaped with @status: out of the lists, closed, told, dropped. */
void cfb_client_process_ended(struct cfb_client_process *process, int status);
void cfb_client_process_kill(struct cfb_client_process *process);

/* In the child: closes the listeners, serves, ends. */
_Noreturn void cfb_client_process_serve(struct cfb_service *service, confab_endpoint *client);
int cfb_pidfd_open(int pid);

/* service_ahead.c: whether a service is served best so. */
bool cfb_service_can_ahead(const struct cfb_service *service);

#endif
