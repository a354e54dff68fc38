/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Echoes to many clients in one thread: echo_server [ADDRESS] (tcp://127.0.0.1:0); ends at SIGTERM or SIGINT.
 * A client that sends and does not receive stalls only itself: what it is owed is kept, and it is read from no more until that is out.
 */
#include <confab/confab.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

struct client {
        confab_endpoint *endpoint;
        struct confab_message owed; /* received, not yet all sent back */
        uint64_t sent;
        int owes;
};

static void need(int64_t result) {
        char why[512];

        if (result >= 0)
                return;
        confab_explain(why, sizeof(why));
        fprintf(stderr, "%s\n", why);
        exit(1);
}

static confab_loop *loop;

static int64_t echo(struct client *client) {
        struct confab_message rest;
        int64_t r = client->owes ? 1 : confab_receive(client->endpoint, &client->owed, NULL, CONFAB_NOW);

        if (r <= 0)
                return r == 0 ? -EPIPE : r; /* the end: this client is done */
        client->owes = 1;
        rest = confab_message_of((const char *)client->owed.data + client->sent,
                                 client->owed.data_len - client->sent);
        r = confab_send(client->endpoint, &rest, CONFAB_NOW);
        client->sent += r > 0 ? (uint64_t)r : 0;
        if (r >= 0 && client->sent == client->owed.data_len) {
                confab_release(client->endpoint, &client->owed);
                client->owes = 0;
                client->sent = 0;
        }
        return r;
}

static int on_client(confab_source *source, uint32_t events, void *data) {
        struct client *client = data;
        int64_t r = echo(client);

        (void)events;
        if (r >= 0 || r == -EAGAIN)
                return confab_loop_change(source, client->owes ? CONFAB_SEND : CONFAB_RECEIVE);
        confab_loop_remove(source); /* before the endpoint is closed */
        confab_release(client->endpoint, &client->owed);
        confab_close(client->endpoint);
        free(client);
        return 0;
}

static int on_connection(confab_source *source, uint32_t events, void *data) {
        confab_endpoint *listener = data, *endpoint;
        struct client *client;

        (void)source;
        (void)events;
        if (confab_accept(&endpoint, listener, CONFAB_NOW) < 0)
                return 0; /* gone again; or no descriptor is left: then the loop looks again later */
        client = calloc(1, sizeof(*client));
        if (!client)
                return -ENOMEM;
        client->endpoint = endpoint;
        client->owed = confab_message_of(NULL, 0);
        return confab_loop_add_endpoint(NULL, loop, endpoint, CONFAB_RECEIVE, on_client, client);
}

static int on_signal(confab_source *source, uint32_t number, void *data) {
        (void)source;
        (void)number;
        (void)data;
        confab_loop_stop(loop);
        return 0;
}

int main(int argc, char *argv[]) {
        confab_endpoint *listener;

        need(confab_loop_new(&loop));
        need(confab_loop_add_signal(NULL, loop, SIGTERM, on_signal, NULL));
        need(confab_loop_add_signal(NULL, loop, SIGINT, on_signal, NULL));
        need(confab_listen(&listener, argc > 1 ? argv[1] : "tcp://127.0.0.1:0", NULL, CONFAB_FOREVER));
        need(confab_loop_add_endpoint(NULL, loop, listener, CONFAB_RECEIVE, on_connection, listener));
        printf("%s\n", confab_address(listener)); /* with the port it got */
        fflush(stdout);
        need(confab_loop_run(loop));
        confab_loop_free(loop);
        confab_close(listener);
        return 0;
}
