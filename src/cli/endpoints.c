/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include "endpoints.h"
#include "json.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

bool cli_has_key(const char *address, const char *key) {
        size_t len = strcspn(address, ":");
        char scheme[32];
        const char *name;

        if (len >= sizeof(scheme))
                return false;
        memcpy(scheme, address, len);
        scheme[len] = '\0';
        for (unsigned i = 0; confab_key(scheme, i, &name, NULL, NULL) == 0; i++)
                if (strcmp(name, key) == 0)
                        return true;
        return false;
}

bool cli_gives_key(const char *address, const char *key) {
        size_t len = strlen(key);

        for (const char *at = strchr(address, '?'); at != NULL; at = strchr(at + 1, '&'))
                if (strncmp(at + 1, key, len) == 0 &&
                    (at[1 + len] == '=' || at[1 + len] == '&' || at[1 + len] == '\0'))
                        return true;
        return false;
}

char *cli_with_key(const char *address, const char *pair) {
        size_t len = strlen(address) + strlen(pair) + 2;
        char *longer = cli_allocate(len);

        snprintf(longer, len, "%s%c%s", address, strchr(address, '?') != NULL ? '&' : '?', pair);
        return longer;
}

struct confab_options cli_one_way(const char *address, uint32_t direction) {
        struct confab_options options = {.size = sizeof(options)};

        if (cli_has_key(address, "direction") && !cli_gives_key(address, "direction"))
                options.direction = direction;
        return options;
}

static struct confab_properties properties_of(const confab_endpoint *endpoint) {
        struct confab_properties properties = {.size = sizeof(properties)};

        confab_endpoint_properties(&properties, endpoint);
        return properties;
}

bool cli_is_stream_address(const char *address) {
        struct confab_properties properties = {.size = sizeof(properties)};

        return !cli_gives_key(address, "frame") && confab_properties(&properties, address) == 0 &&
               properties.boundaries == CONFAB_BOUNDARIES_STREAM;
}

bool cli_is_stream(const confab_endpoint *endpoint) {
        return properties_of(endpoint).boundaries == CONFAB_BOUNDARIES_STREAM;
}

bool cli_accepts(const confab_endpoint *listener) {
        return properties_of(listener).connection == CONFAB_CONNECTION_ACCEPTED;
}

int cli_flush(const struct cli_args *args) {
        if (fflush(stdout) == 0 && ferror(stdout) == 0)
                return CLI_DONE;
        return cli_failed_output(args, errno);
}

int cli_print_bytes(const struct cli_args *args, const void *data, size_t data_len) {
        const char *at = data;

        while (data_len > 0) {
                ssize_t n = write(STDOUT_FILENO, at, data_len);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno == EAGAIN) { /* whoever shares the description set O_NONBLOCK */
                        poll(&(struct pollfd){.fd = STDOUT_FILENO, .events = POLLOUT}, 1, -1);
                        continue;
                }
                if (n < 0)
                        return cli_failed_output(args, errno);
                at += n;
                data_len -= (size_t)n;
        }
        return CLI_DONE;
}

void cli_peer_words(const confab_endpoint *endpoint, const struct confab_peer *peer, char *text,
                    size_t text_cap) {
        struct confab_peer connected = {.size = sizeof(connected)};

        text[0] = '\0';
        if (peer == NULL && confab_peer(endpoint, &connected) == 0)
                peer = &connected;
        if (peer == NULL || confab_peer_address(peer, text, text_cap) > 0)
                return;
        if ((peer->flags & CONFAB_PEER_CREDENTIALS) != 0)
                snprintf(text, text_cap, "pid %u, uid %u", peer->pid, peer->uid);
}

int cli_print_json(const struct cli_args *args, const confab_endpoint *endpoint,
                   const struct confab_message *message) {
        struct confab_peer connected = {.size = sizeof(connected)};
        const struct confab_peer *peer = message->peer;
        struct cli_json json;
        char address[256];

        if (peer == NULL && confab_peer(endpoint, &connected) == 0)
                peer = &connected;
        cli_json_init(&json, stdout);
        cli_json_object(&json, NULL);
        cli_json_text(&json, "address", confab_address(endpoint));
        cli_json_text(&json, "peer",
                      confab_peer_address(peer, address, sizeof(address)) > 0 ? address : NULL);
        if (peer != NULL && (peer->flags & CONFAB_PEER_CREDENTIALS) != 0) {
                cli_json_unsigned(&json, "pid", peer->pid);
                cli_json_unsigned(&json, "uid", peer->uid);
                if (peer->gid != UINT32_MAX)
                        cli_json_unsigned(&json, "gid", peer->gid);
        } else if (peer != NULL && peer->pid != 0) { /* what the sender says of itself */
                cli_json_unsigned(&json, "claimed-pid", peer->pid);
                cli_json_unsigned(&json, "claimed-uid", peer->uid);
        }
        cli_json_signed(&json, "type", message->type);
        cli_json_unsigned(&json, "priority", message->priority);
        cli_json_unsigned(&json, "descriptors", message->n_descriptors);
        cli_json_unsigned(&json, "size", message->data_len);
        cli_json_bytes(&json, "data", message->data, message->data_len);
        cli_json_end(&json);
        return cli_flush(args);
}

void cli_tell_chosen(const struct cli_args *args, const confab_endpoint *listener, const char *asked) {
        bool port = strncmp(asked, "tcp://", 6) == 0 || strncmp(asked, "udp://", 6) == 0;
        size_t len = strcspn(asked, "?");

        if ((port && strncmp(asked + len - 2, ":0", 2) == 0) ||
            (len == 8 && strncmp(asked, "unix://@", 8) == 0) || strncmp(asked, "signal://self", 13) == 0)
                cli_say(args, "listening on %s", confab_address(listener));
}

static unsigned n_failed_commands;

static void tell_process_ended(const struct cli_args *args, const struct confab_event *event) {
        const char *who = event->kind == CONFAB_EVENT_WORKER_ENDED ? "worker" : "client's process";
        int status = (int)event->value;

        if (WIFSIGNALED(status))
                cli_say(args, "%s: a %s ended by signal %d", event->address, who, WTERMSIG(status));
        else
                cli_say(args, "%s: a %s ended with status %d", event->address, who, WEXITSTATUS(status));
}

static void tell_event(const struct confab_event *event, void *data) {
        const struct cli_args *args = data;
        int status = (int)event->value;

        switch (event->kind) {
        case CONFAB_EVENT_STALE_SOCKET_REPLACED:
                cli_say(args, "%s: nobody listened on the old socket file; it was replaced", event->address);
                break;
        case CONFAB_EVENT_DESCRIPTORS_REFUSED:
                cli_say(args,
                        "%s: %lld descriptors came with a message, more than are taken; all were closed",
                        event->address, (long long)event->value);
                break;
        case CONFAB_EVENT_ACCEPT_PAUSED:
                cli_say(args,
                        "%s: no descriptor is left (RLIMIT_NOFILE %lld); new connections wait, those there "
                        "are go on",
                        event->address, (long long)event->value);
                break;
        case CONFAB_EVENT_CHILD_ENDED:
                n_failed_commands += status != 0;
                if (WIFSIGNALED(status))
                        cli_say(args, "%s: ended by signal %d", event->address, WTERMSIG(status));
                else if (WEXITSTATUS(status) != 0)
                        cli_say(args, "%s: ended with status %d", event->address, WEXITSTATUS(status));
                break;
        case CONFAB_EVENT_CHILD_KILLED:
                cli_say(args, "%s: process %lld did not end by itself and was killed", event->address,
                        (long long)event->value);
                break;
        case CONFAB_EVENT_SERVICE_FULL:
                cli_say(args, "%s: %lld clients, as many as may be; others wait", event->address,
                        (long long)event->value);
                break;
        case CONFAB_EVENT_SERVICE_PAUSED:
                cli_say(args, "%s: nobody can be served now, clients wait: %s", event->address,
                        strerror((int)event->value));
                break;
        case CONFAB_EVENT_CLIENT_FAILED:
                cli_say(args, "%s: a client could not be served: %s", event->address,
                        strerror((int)-event->value));
                break;
        case CONFAB_EVENT_CLIENT_PROCESS_ENDED:
        case CONFAB_EVENT_WORKER_ENDED:
                tell_process_ended(args, event);
                break;
        case CONFAB_EVENT_SUCCESSOR_FAILED:
                cli_say(args, "%s: the successor was not ready before it ended: this one goes on (%s %lld)",
                        event->address, event->value < 0 ? strerror((int)-event->value) : "status",
                        (long long)event->value);
                break;
        case CONFAB_EVENT_CLIENT_OUT_OF_TIME:
                cli_say(args, "%s: a client's time was over", event->address);
                break;
        default:
                break;
        }
}

bool cli_command_failed(void) {
        return n_failed_commands > 0;
}

void cli_tell_events(const struct cli_args *args) {
        confab_on_event(tell_event, (void *)(uintptr_t)args);
}
