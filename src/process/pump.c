/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Redirections to and from confab's addresses.
 *
 *      program  > tcp://...     the connected socket itself becomes the program's descriptor: the kernel needs nobody in between
 *      program  > mq:///jobs    pipe -> our end -> transfer -> the queue: a pump, driven inside confab_job_wait
 *
 * An end is handed over where it is one plain descriptor of a byte stream: unix and tcp streams, fd://, a FIFO that is written to. Everything
 * else is pumped: messages, framed streams, exec:// (which has a child to be waited for), a FIFO that is read (before its first
 * writer comes it would look ended). With mechanisms that keep boundaries, a line of the program's is a message,
 * the last one without its newline too, as for confab send --lines.
 *
 * In this process, not in a `confab relay` child: the library does not know where the command is, and the job would have a
 * stage nobody asked for. There is no hidden thread, so somebody has to call confab_job_wait; it does not return before
 * the last byte has been carried.
 */
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "core/endpoint.h"
#include "core/framed.h"
#include "core/transport.h"
#include "process/job.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONNECT_NS INT64_C(5000000000)

static void close_endpointp(confab_endpoint **endpointp) {
        *endpointp = confab_close(*endpointp);
}

static int open_address(confab_endpoint **endpointp, const char *text, uint32_t direction) {
        struct confab_options options = {.size = sizeof(options)};
        struct cfb_address address;
        int r = cfb_address_read(&address, text, NULL);

        if (r < 0)
                return r;
        if ((address.transport->keys & CFB_KEY(DIRECTION)) && !address.direction)
                options.direction = direction;
        cfb_address_fini(&address);
        return confab_open(endpointp, text, &options, confab_after(CONNECT_NS));
}

static int descriptor_of(const confab_endpoint *endpoint, bool input) {
        int fd = endpoint->fds[input ? CFB_RECEIVING : CFB_SENDING];
        struct stat st;

        if (fd < 0 || endpoint->framed || endpoint->properties.boundaries != CONFAB_BOUNDARIES_STREAM ||
            endpoint->properties.addressing == CONFAB_ADDRESSING_COMMAND || fstat(fd, &st) < 0)
                return -1;
        return input && S_ISFIFO(st.st_mode) && endpoint->properties.addressing == CONFAB_ADDRESSING_PATH
                       ? -1
                       : fd;
}

/* A copy of its descriptor for the program, which expects one that blocks. */
static int hand_over(struct cfb_plans *plans, confab_endpoint *endpoint, int fd) {
        int flags = fcntl(fd, F_GETFL), copy;

        if (endpoint->owns_fds && flags >= 0 && (flags & O_NONBLOCK))
                fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
        copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (copy < 0)
                return cfb_failed(-errno, "fcntl", confab_address(endpoint));
        return cfb_plans_keep(plans, copy);
}

static void end_pump(struct cfb_pump *pump) {
        pump->transfer = confab_transfer_free(pump->transfer);
        pump->source = confab_close(pump->source);
        pump->sink = confab_close(pump->sink);
}

/* Between a pipe whose other end becomes the program's, and @endpoint, which is taken over. */
static int add_pump(confab_job *job, struct cfb_plans *plans, confab_endpoint **endpointp, bool input) {
        bool lines = (*endpointp)->properties.boundaries == CONFAB_BOUNDARIES_MESSAGE;
        CFB_CLEANUP(close_endpointp) confab_endpoint *ours = NULL;
        struct cfb_pump *pump;
        struct pollfd pollfd;
        char address[64];
        int fds[2], r;

        r = confab_descriptor(*endpointp, input ? CONFAB_RECEIVE : CONFAB_SEND, &pollfd);
        if (r < 0) /* the wait could not be woken by it */
                return r;
        if (pipe2(fds, O_CLOEXEC) < 0)
                return cfb_failed(-errno, "pipe2", confab_address(*endpointp));
        fcntl(fds[input], F_SETFL, O_NONBLOCK);
        snprintf(address, sizeof(address), "fd://%d?take%s", fds[input], lines ? "&frame=line" : "");
        r = confab_open(&ours, address, NULL, CONFAB_NOW);
        if (r < 0) {
                close(fds[0]);
                close(fds[1]);
                return r;
        }
        if (lines)
                cfb_framed_take_rest(ours->framed);
        r = cfb_plans_keep(plans, fds[!input]);
        if (r < 0)
                return r;
        pump = cfb_allocate(sizeof(*pump));
        if (!pump)
                return cfb_failed(-ENOMEM, "redirect", confab_address(*endpointp));
        r = confab_transfer_new(&pump->transfer, input ? *endpointp : ours, input ? ours : *endpointp, NULL);
        if (r < 0) {
                cfb_release(pump);
                return r;
        }
        pump->input = input;
        pump->watched = -1;
        pump->source = input ? cfb_steal(endpointp) : cfb_steal(&ours);
        pump->sink = input ? cfb_steal(&ours) : cfb_steal(endpointp);
        pump->next = job->pumps;
        job->pumps = pump;
        return fds[!input];
}

int cfb_pump_open(confab_job *job, struct cfb_plans *plans, const char *address, bool input) {
        CFB_CLEANUP(close_endpointp) confab_endpoint *endpoint = NULL;
        int r = open_address(&endpoint, address, input ? CONFAB_RECEIVE : CONFAB_SEND);
        int fd;

        if (r < 0)
                return r;
        fd = descriptor_of(endpoint, input);
        return fd >= 0 ? hand_over(plans, endpoint, fd) : add_pump(job, plans, &endpoint, input);
}

static void note(confab_job *job, const struct cfb_pump *pump, int error) {
        /* Programs need not read all they could. */
        if (!job->error && !(pump->input && error == -EPIPE))
                job->error = error;
}

static void step(confab_job *job, struct cfb_pump *pump) {
        int r;

        do {
                r = confab_transfer_step(pump->transfer, NULL, CONFAB_NOW);
                if (r == -EMSGSIZE)
                        note(job, pump, r);
        } while (r == 1 || r == -EMSGSIZE);
        if (r == -EAGAIN || r == -EINTR)
                return;
        if (r < 0)
                note(job, pump, r);
        else if (pump->sink->properties.half_close == CONFAB_YES)
                confab_shutdown(pump->sink, CONFAB_SEND, CONFAB_NOW);
        end_pump(pump);
}

void cfb_pumps_step(confab_job *job) {
        for (struct cfb_pump *pump = job->pumps; pump; pump = pump->next)
                if (pump->transfer)
                        step(job, pump);
}

void cfb_pumps_drop(confab_job *job) {
        for (struct cfb_pump *pump = job->pumps; pump; pump = pump->next)
                end_pump(pump);
}

bool cfb_pumps_finish(confab_job *job) {
        bool more = false;

        for (struct cfb_pump *pump = job->pumps; pump; pump = pump->next) {
                if (pump->transfer && pump->input)
                        end_pump(pump);
                more = more || pump->transfer;
        }
        return more;
}

unsigned cfb_pumps_poll(confab_job *job, struct pollfd *fds) {
        unsigned n = 0;

        for (struct cfb_pump *pump = job->pumps; pump; pump = pump->next) {
                struct confab_interest interest;

                if (!pump->transfer)
                        continue;
                confab_transfer_waits(pump->transfer, &interest);
                if (confab_descriptor(interest.endpoint, interest.direction, &fds[n]) >= 0)
                        n++;
        }
        return n;
}

void cfb_pumps_watch(confab_job *job) {
        for (struct cfb_pump *pump = job->pumps; pump; pump = pump->next) {
                struct pollfd wanted = {.fd = -1};
                struct confab_interest interest;
                struct epoll_event event;

                if (pump->transfer) {
                        confab_transfer_waits(pump->transfer, &interest);
                        confab_descriptor(interest.endpoint, interest.direction, &wanted);
                }
                if (pump->watched >= 0 && pump->watched != wanted.fd)
                        epoll_ctl(job->events, EPOLL_CTL_DEL, pump->watched, NULL);
                pump->watched = wanted.fd;
                if (wanted.fd < 0)
                        continue;
                event = (struct epoll_event){.events = (uint32_t)wanted.events, .data.fd = wanted.fd};
                if (epoll_ctl(job->events, EPOLL_CTL_MOD, wanted.fd, &event) < 0)
                        epoll_ctl(job->events, EPOLL_CTL_ADD, wanted.fd, &event);
        }
}

void cfb_pumps_free(confab_job *job) {
        while (job->pumps) {
                struct cfb_pump *next = job->pumps->next;

                end_pump(job->pumps);
                cfb_release(job->pumps);
                job->pumps = next;
        }
}
