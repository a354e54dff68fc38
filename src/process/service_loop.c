/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * All clients in this thread: the function is called for whoever has something to say.
 *
 * It gets CONFAB_NOW as its deadline, so no client can make another one wait; what it cannot send yet it keeps and asks for CONFAB_SEND.
 * A function that blocks all the same holds up everybody: that is what the other two models are for.
 */
#include "base/error.h"
#include "base/memory.h"
#include "process/service.h"

#include <errno.h>
#include <stddef.h>

struct served {
        struct confab_client client;
        struct cfb_service *service;
        confab_source *source;
        uint32_t watched;
        struct cfb_expiring age, idle;
};

static void end_client(struct served *served) {
        struct cfb_service *service = served->service;

        cfb_expiry_remove(&served->age);
        cfb_expiry_remove(&served->idle);
        confab_loop_remove(served->source);
        if (service->options.gone)
                service->options.gone(&served->client, service->data);
        confab_close(served->client.endpoint);
        cfb_release(served);
        cfb_service_gone(service);
}

/* Calls the function, and does what it says. */
static void serve(struct served *served) {
        struct cfb_service *service = served->service;
        int r = service->function(&served->client, service->data);

        if (r == -EAGAIN)
                r = 1;
        if (r > 0 && served->client.wait_for != served->watched) {
                r = confab_loop_change(served->source, served->client.wait_for);
                if (r >= 0) {
                        served->watched = served->client.wait_for;
                        r = 1;
                }
        }
        if (r > 0) {
                cfb_expiry_touch(&service->idles, &served->idle);
                return;
        }
        if (r < 0)
                cfb_tell(CONFAB_EVENT_CLIENT_FAILED, confab_address(served->client.endpoint), r);
        end_client(served);
}

static int ready(confab_source *source, uint32_t events, void *data) {
        (void)source;
        (void)events;
        serve(data);
        return 0;
}

static int came(struct cfb_service *service, confab_endpoint *client) {
        struct served *served = cfb_allocate(sizeof(*served));
        int r;

        if (!served)
                return cfb_failed(-ENOMEM, "serve", confab_address(client));
        r = confab_loop_add_endpoint(&served->source, service->loop, client, CONFAB_RECEIVE, ready, served);
        if (r < 0) {
                cfb_release(served);
                if (!cfb_service_short_of(r))
                        confab_close(client);
                return r;
        }
        served->service = service;
        served->watched = CONFAB_RECEIVE;
        served->client = (struct confab_client){.size = sizeof(served->client),
                                                .wait_for = CONFAB_RECEIVE,
                                                .endpoint = client,
                                                .deadline_ns = CONFAB_NOW};
        cfb_expiry_add(&service->ages, &served->age);
        cfb_expiry_add(&service->idles, &served->idle);
        serve(served);
        return 0;
}

static void out_of_time(struct served *served) {
        cfb_tell(CONFAB_EVENT_CLIENT_OUT_OF_TIME, confab_address(served->client.endpoint), 0);
        end_client(served);
}

static void too_old(struct cfb_expiring *age, void *data) {
        (void)data;
        out_of_time((struct served *)((char *)age - offsetof(struct served, age)));
}

static void too_silent(struct cfb_expiring *idle, void *data) {
        (void)data;
        out_of_time((struct served *)((char *)idle - offsetof(struct served, idle)));
}

static void end_clients(struct cfb_service *service, int signal_number) {
        (void)signal_number;
        while (service->ages.all.next != &service->ages.all)
                end_client((struct served *)((char *)service->ages.all.next - offsetof(struct served, age)));
}

static int begin(struct cfb_service *service) {
        int r = cfb_expiry_init(&service->ages, service->loop, service->options.client_ns, too_old, service);

        return r < 0 ? r
                     : cfb_expiry_init(&service->idles, service->loop, service->options.idle_ns, too_silent,
                                       service);
}

static void fini(struct cfb_service *service) {
        if (service->ages.all.next)
                end_clients(service, 0);
        cfb_expiry_fini(&service->ages);
        cfb_expiry_fini(&service->idles);
}

static int check(const struct cfb_service *service) {
        if (!service->options.command)
                return 0;
        return cfb_failed_with(-EOPNOTSUPP, "serve", service->options.command[0], NULL,
                               "one loop calls a function: fork starts a program for each client, in prefork "
                               "it accepts by itself",
                               0, 0);
}

const struct cfb_service_model cfb_service_loop = {
        .name = "loop",
        .check = check,
        .begin = begin,
        .came = came,
        .busy = cfb_service_has_clients,
        .end = end_clients,
        .fini = fini,
};
