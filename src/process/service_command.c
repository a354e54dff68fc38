/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Programs that serve: what they are started with.
 *
 *      FORK     0, 1: the connection; the environment says who is there, in our words and in those of others, so that programs
 *               made for inetd, tcpserver (ucspi) and systemd (Accept=yes) find what they look for
 *      PREFORK  3, 4...: the listeners, by the protocol of sd_listen_fds(3)
 *
 * Names we set are never inherited, set or not: a program must not take our own client for its one. Each program has a process group of
 * its own, which gets the signals: what it started goes with it, and Ctrl-C at the service lets it finish. The environment is
 * made once; for each client a few short texts are written anew.
 */
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "process/program.h"
#include "process/service.h"
#include "process/spawn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum variable {
        ADDRESS,
        PEER,
        PROTO,
        REMOTE_ADDR,
        REMOTE_PORT,
        TCP_REMOTE_IP,
        TCP_REMOTE_PORT,
        UNIX_PID,
        UNIX_UID,
        UNIX_GID,
        LISTEN_FDS,
        LISTEN_PID,
        LISTEN_NAMES,
        NOTIFY,
        NOTIFY_NEXT,
        N_VARIABLES
};

static const char *const names[N_VARIABLES] = {
        [ADDRESS] = "CONFAB_ADDRESS",
        [PEER] = "CONFAB_PEER",
        [PROTO] = "PROTO",
        [REMOTE_ADDR] = "REMOTE_ADDR",
        [REMOTE_PORT] = "REMOTE_PORT",
        [TCP_REMOTE_IP] = "TCPREMOTEIP",
        [TCP_REMOTE_PORT] = "TCPREMOTEPORT",
        [UNIX_PID] = "UNIXREMOTEPID",
        [UNIX_UID] = "UNIXREMOTEEUID",
        [UNIX_GID] = "UNIXREMOTEEGID",
        [LISTEN_FDS] = "LISTEN_FDS",
        [LISTEN_PID] = "LISTEN_PID",
        [LISTEN_NAMES] = "LISTEN_FDNAMES",
        [NOTIFY] = "NOTIFY_SOCKET",
        [NOTIFY_NEXT] = "CONFAB_NOTIFY_SOCKET",
};

enum { TEXT_LEN = 512, PID_DIGITS = 10 };

struct cfb_service_command {
        char *const *argv;
        char *path;
        char **envp; /* what is inherited, then what is set for this one */
        unsigned n_inherited, n_set;
        char texts[N_VARIABLES][TEXT_LEN];
};

static bool is_ours(const char *setting) {
        size_t len = strcspn(setting, "=");

        for (unsigned i = 0; i < N_VARIABLES; i++)
                if (strlen(names[i]) == len && memcmp(names[i], setting, len) == 0)
                        return true;
        return false;
}

static int copy_environment(struct cfb_service_command *command) {
        unsigned n = 0;

        while (environ && environ[n])
                n++;
        command->envp = cfb_allocate((n + N_VARIABLES + 1) * sizeof(*command->envp));
        if (!command->envp)
                return cfb_failed(-ENOMEM, "serve", command->path);
        for (unsigned i = 0; i < n; i++)
                if (!is_ours(environ[i]))
                        command->envp[command->n_inherited++] = environ[i];
        return 0;
}

int cfb_service_command_new(struct cfb_service_command **commandp, const struct cfb_service *service,
                            char *const *argv) {
        struct cfb_service_command *command = cfb_allocate(sizeof(*command));
        int r;

        if (!command)
                return cfb_failed(-ENOMEM, "serve", argv[0]);
        command->argv = argv;
        if (service->options.listener_names &&
            strlen(service->options.listener_names) + strlen("LISTEN_FDNAMES=") >= TEXT_LEN)
                r = cfb_failed_with(-EINVAL, "serve", argv[0], NULL, "listener_names: longer than 496 bytes",
                                    0, 0);
        else
                r = cfb_program_find(&command->path, argv[0], NULL, -1);
        if (r >= 0)
                r = copy_environment(command);
        if (r < 0) {
                cfb_service_command_free(command);
                return r;
        }
        *commandp = command;
        return 0;
}

struct cfb_service_command *cfb_service_command_free(struct cfb_service_command *command) {
        if (!command)
                return NULL;
        cfb_release(command->envp);
        cfb_release(command->path);
        cfb_release(command);
        return NULL;
}

/* --- for each start --- */

static void begin_settings(struct cfb_service_command *command) {
        command->n_set = 0;
        command->envp[command->n_inherited] = NULL;
}

/* One that does not fit is left out: half an address is none. Returns its text. */
static char *set(struct cfb_service_command *command, enum variable which, const char *value,
                 size_t value_len) {
        char *text = command->texts[which];
        int n = snprintf(text, TEXT_LEN, "%s=%.*s", names[which], (int)value_len, value);

        if (n > 0 && n < TEXT_LEN) {
                command->envp[command->n_inherited + command->n_set++] = text;
                command->envp[command->n_inherited + command->n_set] = NULL;
        }
        return text;
}

static void set_text(struct cfb_service_command *command, enum variable which, const char *value) {
        set(command, which, value, strlen(value));
}

static void set_number(struct cfb_service_command *command, enum variable which, uint32_t value) {
        char text[16];

        snprintf(text, sizeof(text), "%u", value);
        set_text(command, which, text);
}

/* "tcp://[::1]:4711" in the parts that others ask for. */
static void set_host_and_port(struct cfb_service_command *command, const char *peer) {
        const char *host = peer + strlen("tcp://"), *colon = strrchr(host, ':');
        size_t len;

        if (!colon)
                return;
        len = (size_t)(colon - host);
        if (host[0] == '[' && len >= 2) {
                host++;
                len -= 2;
        }
        set_text(command, PROTO, "TCP");
        set(command, REMOTE_ADDR, host, len);
        set(command, TCP_REMOTE_IP, host, len);
        set_text(command, REMOTE_PORT, colon + 1);
        set_text(command, TCP_REMOTE_PORT, colon + 1);
}

static void set_peer(struct cfb_service_command *command, const confab_endpoint *client) {
        struct confab_peer peer = {.size = sizeof(peer)};
        char text[TEXT_LEN];

        if (confab_peer(client, &peer) < 0)
                return;
        if (confab_peer_address(&peer, text, sizeof(text)) > 0) {
                set_text(command, PEER, text);
                if (strncmp(text, "tcp://", 6) == 0)
                        set_host_and_port(command, text);
        }
        if (!(peer.flags & CONFAB_PEER_CREDENTIALS))
                return;
        set_text(command, PROTO, "UNIX");
        set_number(command, UNIX_PID, peer.pid);
        set_number(command, UNIX_UID, peer.uid);
        set_number(command, UNIX_GID, peer.gid);
}

static int give_client(int *pidfdp, const struct cfb_service *service, const confab_endpoint *client) {
        struct cfb_service_command *command = service->command;
        int fd = client->fds[CFB_RECEIVING];
        struct cfb_spawn_fd fds[] = {{fd, 0}, {fd, 1}};
        struct cfb_spawn spawn = {.path = command->path,
                                  .argv = command->argv,
                                  .envp = command->envp,
                                  .fds = fds,
                                  .n_fds = 2,
                                  .flags = CFB_SPAWN_GROUP};

        if (fd < 0 || fd != client->fds[CFB_SENDING])
                return cfb_unsupported_of(client, "serve",
                                          "being a program's input and output: it is not one descriptor");
        if (!(service->options.flags & CONFAB_SERVE_OUTLIVE))
                spawn.flags |= CFB_SPAWN_DIE;
        begin_settings(command);
        set_text(command, ADDRESS, confab_address(client));
        set_peer(command, client);
        return cfb_spawn(pidfdp, &spawn);
}

/* What a program that accepts by itself gets: fills @spawn and @fds. */
static void give_listeners(struct cfb_spawn *spawn, struct cfb_spawn_fd *fds,
                           const struct cfb_service *service, struct cfb_service_command *command) {
        *spawn = (struct cfb_spawn){
                .path = command->path, .argv = command->argv, .envp = command->envp, .fds = fds};
        for (; spawn->n_fds < service->n_listeners; spawn->n_fds++)
                fds[spawn->n_fds] = (struct cfb_spawn_fd){
                        service->listeners[spawn->n_fds].endpoint->fds[CFB_RECEIVING], 3 + (int)spawn->n_fds};
        begin_settings(command);
        set_text(command, ADDRESS, confab_address(service->listeners[0].endpoint));
        set_number(command, LISTEN_FDS, service->n_listeners);
        if (service->options.listener_names)
                set_text(command, LISTEN_NAMES, service->options.listener_names);
        /* Its own number is known to the child alone, which writes it there. */
        spawn->pid_text = set(command, LISTEN_PID, "0000000000", PID_DIGITS) + strlen("LISTEN_PID=");
}

static int start_worker(int *pidfdp, const struct cfb_service *service) {
        struct cfb_spawn_fd fds[CFB_SERVICE_LISTENERS];
        struct cfb_spawn spawn;

        give_listeners(&spawn, fds, service, service->command);
        spawn.flags = CFB_SPAWN_GROUP;
        if (!(service->options.flags & CONFAB_SERVE_OUTLIVE))
                spawn.flags |= CFB_SPAWN_DIE;
        return cfb_spawn(pidfdp, &spawn);
}

int cfb_service_command_succeed(int *pidfdp, const struct cfb_service *service,
                                struct cfb_service_command *command, const char *notify) {
        struct cfb_spawn_fd fds[CFB_SERVICE_LISTENERS];
        const char *ours = getenv("NOTIFY_SOCKET");
        struct cfb_spawn spawn;

        give_listeners(&spawn, fds, service, command);
        set_text(command, NOTIFY, notify);
        if (ours)
                set_text(command, NOTIFY_NEXT, ours);
        return cfb_spawn(pidfdp, &spawn);
}

int cfb_service_command_start(int *pidfdp, const struct cfb_service *service, const confab_endpoint *client) {
        return client ? give_client(pidfdp, service, client) : start_worker(pidfdp, service);
}

void cfb_service_signal(const struct cfb_service *service, int pid, int pidfd, int signal_number) {
        if (service->command)
                kill(-pid, signal_number);            /* not reaped yet, so the number is still the group's */
        if (!service->command || getpgid(pid) != pid) /* or it has left for another one */
                cfb_spawn_signal(pidfd, signal_number);
}
