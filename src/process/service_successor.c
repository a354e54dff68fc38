/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Handing a service on: at SIGUSR2 another program (mostly a newer version of this one) takes the listeners over, and no client is refused.
 *
 *      SIGUSR2 --> the successor is started: listeners from descriptor 3 on (sd_listen_fds(3)), NOTIFY_SOCKET
 *                  both accept, from the one queue that the kernel has
 *      READY=1 --> this one finishes: it accepts nobody, its clients have their grace time, names stay
 *      it ends before, or takes too long --> all goes on as if nothing had been
 *
 * The listeners are never closed between the two, so a connection is in the queue of somebody at any time. Both protocols are systemd's: a
 * program that can be socket-activated can succeed, and a service below systemd tells it the new main process (MAINPID=), for which
 * NOTIFY_SOCKET is handed on as CONFAB_NOTIFY_SOCKET and put back by whoever reported.
 *
 * Words on the socket count from the successor alone (SO_PASSCRED): its name is abstract, anybody may write there.
 * The successor is no child to be killed with us: it outlives us, that is its purpose.
 *
 * Rejected: exec in place, which keeps the pid, but the new image would have to know the processes of the old one's clients; telling
 * the successor by a signal of ours (it would have to know us).
 */
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "process/service.h"
#include "process/spawn.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define READY_WITHIN_NS INT64_C(60000000000)

struct cfb_successor {
        struct cfb_service *service;
        confab_source *asked, *timer;
        struct cfb_watch ended, told; /* its pidfd; what it has to say */
        int pid;                      /* 0: none is being started */
};

/* --- telling others --- */

void cfb_service_notify(const struct cfb_service *service, const char *words) {
        const char *path = getenv("NOTIFY_SOCKET");
        struct sockaddr_un name = {.sun_family = AF_UNIX};
        CFB_CLEANUP(cfb_closep) int fd = -1;
        size_t len = path ? strlen(path) : 0;

        if (!(service->options.flags & CONFAB_SERVE_NOTIFY) || len < 2 || len >= sizeof(name.sun_path))
                return;
        memcpy(name.sun_path, path, len);
        if (path[0] == '@')
                name.sun_path[0] = '\0';
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd >= 0) /* nobody there: nobody wants to know */
                sendto(fd, words, strlen(words), MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&name,
                       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
}

void cfb_service_ready(const struct cfb_service *service) {
        const char *next = getenv("CONFAB_NOTIFY_SOCKET");

        cfb_service_notify(service, "READY=1");
        if (!(service->options.flags & CONFAB_SERVE_NOTIFY) || !next)
                return;
        setenv("NOTIFY_SOCKET", next, 1); /* what we were told by ended with the predecessor */
        unsetenv("CONFAB_NOTIFY_SOCKET");
}

/* --- the successor --- */

static void tell_failed(const struct cfb_service *service, int64_t value) {
        cfb_tell(CONFAB_EVENT_SUCCESSOR_FAILED, confab_address(service->listeners[0].endpoint), value);
}

/* Nothing is under way any more. */
static void forget(struct cfb_successor *successor) {
        cfb_watch_set(&successor->ended, 0);
        cfb_watch_set(&successor->told, 0);
        cfb_closep(&successor->ended.fd);
        cfb_closep(&successor->told.fd);
        confab_loop_set_timer(successor->timer, CONFAB_FOREVER, 0);
        successor->pid = 0;
}

static int ended(struct cfb_watch *watch, uint32_t events) {
        struct cfb_successor *successor =
                (struct cfb_successor *)((char *)watch - offsetof(struct cfb_successor, ended));
        int status = 0;

        (void)events;
        if (cfb_spawn_reap(watch->fd, &status) == CFB_SPAWN_RUNNING)
                return 0;
        forget(successor);
        tell_failed(successor->service, status);
        return 0;
}

static int took_too_long(confab_source *timer, uint32_t events, void *data) {
        struct cfb_successor *successor = data;

        (void)events;
        confab_loop_set_timer(timer, CONFAB_FOREVER, 0);
        cfb_spawn_signal(successor->ended.fd, SIGKILL);
        return 0;
}

static void hand_over(struct cfb_successor *successor) {
        struct cfb_service *service = successor->service;
        char words[64];

        snprintf(words, sizeof(words), "MAINPID=%d", successor->pid);
        forget(successor);
        service->handed_on = true;
        for (unsigned i = 0; i < service->n_listeners; i++)
                service->listeners[i].endpoint->address.lifetime =
                        CFB_LIFETIME_PERSISTENT; /* its file stays */
        cfb_service_notify(service, words);
        if (service->phase == CFB_SERVING)
                cfb_service_stop(service);
}

/* A line of the datagram is "READY=1", and it is the successor that says so. */
static bool says_ready(const struct cfb_successor *successor) {
        char text[4096], *line, *rest = NULL;
        union {
                struct cmsghdr align;
                char bytes[CMSG_SPACE(sizeof(struct ucred))];
        } control = {0};
        struct iovec part = {text, sizeof(text) - 1};
        struct msghdr header = {.msg_iov = &part,
                                .msg_iovlen = 1,
                                .msg_control = &control,
                                .msg_controllen = sizeof(control)};
        ssize_t n = recvmsg(successor->told.fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        struct cmsghdr *head = n < 0 ? NULL : CMSG_FIRSTHDR(&header);
        struct ucred from;

        if (!head || head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_CREDENTIALS)
                return false;
        memcpy(&from, CMSG_DATA(head), sizeof(from));
        if (from.pid != successor->pid)
                return false;
        text[n] = '\0';
        for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
                if (strcmp(line, "READY=1") == 0)
                        return true;
        return false;
}

static int told(struct cfb_watch *watch, uint32_t events) {
        struct cfb_successor *successor =
                (struct cfb_successor *)((char *)watch - offsetof(struct cfb_successor, told));

        (void)events;
        if (says_ready(successor))
                hand_over(successor);
        return 0;
}

/* A socket with a name that the kernel chooses, as NOTIFY_SOCKET has it in @name. */
static int open_ear(struct cfb_successor *successor, char *name, size_t name_cap) {
        struct sockaddr_un bound = {.sun_family = AF_UNIX};
        socklen_t len = sizeof(bound);
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), one = 1;

        if (fd < 0)
                return cfb_failed(-errno, "socket", "NOTIFY_SOCKET");
        cfb_watch_init(&successor->told, successor->service->loop, NULL, fd, told);
        if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)) < 0 ||
            bind(fd, (struct sockaddr *)&bound, sizeof(bound.sun_family)) < 0 ||
            getsockname(fd, (struct sockaddr *)&bound, &len) < 0)
                return cfb_failed(-errno, "bind", "NOTIFY_SOCKET");
        snprintf(name, name_cap, "@%.*s", (int)(len - offsetof(struct sockaddr_un, sun_path) - 1),
                 bound.sun_path + 1);
        return cfb_watch_set(&successor->told, POLLIN);
}

static int check_sockets(const struct cfb_service *service) {
        for (unsigned i = 0; i < service->n_listeners; i++) {
                const confab_endpoint *listener = service->listeners[i].endpoint;
                struct stat status;

                if (listener->fds[CFB_RECEIVING] < 0 || fstat(listener->fds[CFB_RECEIVING], &status) < 0 ||
                    !S_ISSOCK(status.st_mode))
                        return cfb_unsupported_of(listener, "serve", "being handed on: it is no socket");
        }
        return 0;
}

static int start(struct cfb_successor *successor) {
        struct cfb_service *service = successor->service;
        struct cfb_service_command *command = NULL;
        char name[128];
        int pidfd = -1, r = check_sockets(service);

        if (r >= 0)
                r = open_ear(successor, name, sizeof(name));
        if (r >= 0)
                r = cfb_service_command_new(&command, service, service->options.successor);
        if (r >= 0)
                r = cfb_service_command_succeed(&pidfd, service, command, name);
        cfb_service_command_free(command);
        if (r < 0)
                return r;
        successor->pid = r;
        cfb_watch_init(&successor->ended, service->loop, NULL, pidfd, ended);
        r = cfb_watch_set(&successor->ended, POLLIN);
        if (r < 0) {
                cfb_spawn_signal(pidfd, SIGKILL);
                cfb_spawn_wait(pidfd, CONFAB_FOREVER);
                cfb_spawn_reap(pidfd, &(int){0});
                return r;
        }
        confab_loop_set_timer(successor->timer, confab_after(READY_WITHIN_NS), 0);
        return 0;
}

/* SIGUSR2. A second one while the first is being answered says nothing new. */
static int asked(confab_source *source, uint32_t events, void *data) {
        struct cfb_successor *successor = data;
        int r;

        (void)source;
        (void)events;
        if (successor->pid || successor->service->phase != CFB_SERVING)
                return 0;
        r = start(successor);
        if (r < 0) {
                forget(successor);
                tell_failed(successor->service, r);
        }
        return 0;
}

int cfb_successor_begin(struct cfb_service *service) {
        struct cfb_successor *successor;
        int r;

        if (!service->options.successor)
                return 0;
        successor = cfb_allocate(sizeof(*successor));
        if (!successor)
                return cfb_failed(-ENOMEM, "serve", NULL);
        service->successor = successor;
        successor->service = service;
        successor->ended.fd = successor->told.fd = -1;
        r = confab_loop_add_timer(&successor->timer, service->loop, CONFAB_FOREVER, 0, took_too_long,
                                  successor);
        return r < 0 ? r
                     : confab_loop_add_signal(&successor->asked, service->loop, SIGUSR2, asked, successor);
}

/* One that is not ready yet goes with the service. */
void cfb_successor_end(struct cfb_service *service) {
        struct cfb_successor *successor = service->successor;
        int status;

        if (!successor)
                return;
        if (successor->pid) {
                cfb_spawn_signal(successor->ended.fd, SIGKILL);
                cfb_spawn_wait(successor->ended.fd, CONFAB_FOREVER);
                cfb_spawn_reap(successor->ended.fd, &status);
                forget(successor);
        }
        confab_loop_remove(successor->asked);
        confab_loop_remove(successor->timer);
        cfb_release(successor);
        service->successor = NULL;
}
