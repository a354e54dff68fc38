/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * confab listen ADDRESS: any number of clients on one loop; each message is printed with its sender, --echo sends it back.
 *
 * An echo that does not fit yet is kept, and nothing more is received from that client until it has gone out: who does not
 * read its answers holds up nobody else.
 */
#include "endpoints.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct cli_option options[] = {
        {"echo", 'e', NULL, "send each message back to who sent it", NULL},
        {"count", 'n', "N", "end after N messages", NULL},
        {"lines", 'l', NULL, "on a byte stream frame=line: each line is a message", NULL},
        {"json", 'j', NULL, "print one JSON object a message", NULL},
        {"quiet", 'q', NULL, "do not print the messages", NULL},
        {"deadline", 'd', "DURATION", "end after so long, with exit status 124: 5s, 250ms, 2m", NULL},
        CLI_OPTIONS_END,
};

struct server {
        const struct cli_args *args;
        confab_loop *loop;
        struct client *clients;
        int64_t count; /* messages still to come; -1: no end */
        int code;
        bool echo, json, quiet;
};

struct client {
        struct server *server;
        struct client *next, **link;
        confab_endpoint *endpoint;
        confab_source *source;
        struct confab_message message; /* its echo is under way */
        uint64_t sent;
        bool answering;
};

static void end_client(struct client *client) {
        confab_loop_remove(client->source);
        if (client->answering)
                confab_release(client->endpoint, &client->message);
        confab_close(client->endpoint);
        *client->link = client->next;
        if (client->next != NULL)
                client->next->link = client->link;
        free(client);
}

/* Bytes that would disturb a terminal or a reader line by line as \n, \t, \\, \xNN. */
static void print_escaped(const unsigned char *data, size_t data_len) {
        for (size_t i = 0; i < data_len; i++) {
                if (data[i] == '\n')
                        fputs("\\n", stdout);
                else if (data[i] == '\t')
                        fputs("\\t", stdout);
                else if (data[i] == '\\')
                        fputs("\\\\", stdout);
                else if (data[i] < 0x20 || data[i] == 0x7f)
                        printf("\\x%02x", data[i]);
                else
                        putchar(data[i]);
        }
}

static int print(const struct client *client) {
        const struct confab_message *message = &client->message;
        char peer[256];

        if (client->server->quiet)
                return CLI_DONE;
        if (client->server->json)
                return cli_print_json(client->server->args, client->endpoint, message);
        cli_peer_words(client->endpoint, message->peer, peer, sizeof(peer));
        printf("%s%s", peer, peer[0] != '\0' ? ": " : "");
        print_escaped(message->data, message->data_len);
        putchar('\n');
        return cli_flush(client->server->args);
}

/* Goes on with the echo under way: 1: done, -EAGAIN, or what failed. */
static int answer(struct client *client) {
        const struct confab_message *in = &client->message;

        do {
                struct confab_message out =
                        confab_message_of((const char *)in->data + client->sent, in->data_len - client->sent);
                int64_t n;

                out.type = in->type;
                out.priority = in->priority;
                out.peer = in->peer;
                if (in->peer != NULL && (in->peer->flags & CONFAB_PEER_ADDRESS) == 0)
                        out.peer = NULL;
                n = confab_send(client->endpoint, &out, CONFAB_NOW);
                if (n < 0)
                        return (int)n;
                client->sent += (uint64_t)n;
        } while (client->sent < in->data_len);
        return 1;
}

static int receive(struct client *client) {
        struct server *server = client->server;
        int r;

        client->message = confab_message_of(NULL, 0);
        r = confab_receive(client->endpoint, &client->message, NULL, CONFAB_NOW);
        if (r <= 0)
                return r;
        if (print(client) != CLI_DONE) {
                server->code = CLI_FAILED;
                confab_loop_stop(server->loop);
        }
        client->sent = 0;
        client->answering = true;
        return 1;
}

static void done_with_message(struct client *client) {
        struct server *server = client->server;

        confab_release(client->endpoint, &client->message);
        client->answering = false;
        if (server->count > 0 && --server->count == 0)
                confab_loop_stop(server->loop);
}

/* A listener without connections outlives what one sender does to it. */
static bool shared(const struct client *client) {
        struct confab_properties properties = {.size = sizeof(properties)};

        confab_endpoint_properties(&properties, client->endpoint);
        return properties.connection == CONFAB_CONNECTION_NONE;
}

static int ready(confab_source *source, uint32_t events, void *data) {
        struct client *client = data;
        struct server *server = client->server;
        int r = 1;

        (void)events;
        for (unsigned i = 0; i < 16 && r > 0 && server->count != 0; i++) {
                if (!client->answering)
                        r = receive(client);
                if (r > 0 && server->echo)
                        r = answer(client);
                if (r > 0 || (r < 0 && r != -EAGAIN && client->answering))
                        done_with_message(client);
        }
        if (r > 0 || r == -EAGAIN) {
                r = confab_loop_change(source, client->answering ? CONFAB_SEND : CONFAB_RECEIVE);
                if (r >= 0)
                        return 0;
        }
        if (r < 0) {
                cli_failed(server->args, r);
                if (shared(client))
                        return 0;
        }
        end_client(client); /* a client's end or failure is its own */
        if (server->clients == NULL)
                confab_loop_stop(server->loop); /* it was the only endpoint there is: the end of a FIFO */
        return 0;
}

static int add_client(struct server *server, confab_endpoint *endpoint) {
        struct client *client = cli_allocate(sizeof(*client));
        int r;

        client->server = server;
        client->endpoint = endpoint;
        client->next = server->clients;
        client->link = &server->clients;
        if (client->next != NULL)
                client->next->link = &client->next;
        server->clients = client;
        r = confab_loop_add_endpoint(&client->source, server->loop, endpoint, CONFAB_RECEIVE, ready, client);
        if (r < 0)
                end_client(client);
        return r;
}

static int accept_client(confab_source *source, uint32_t events, void *data) {
        struct client *listener = data;
        confab_endpoint *endpoint;
        int r = confab_accept(&endpoint, listener->endpoint, CONFAB_NOW);

        (void)source;
        (void)events;
        if (r >= 0)
                r = add_client(listener->server, endpoint);
        if (r < 0 && r != -EAGAIN && r != -EMFILE && r != -ENFILE && r != -ECONNABORTED)
                cli_failed(listener->server->args, r);
        return 0;
}

static int out_of_time(confab_source *source, uint32_t events, void *data) {
        struct server *server = data;

        (void)source;
        (void)events;
        cli_say(server->args, "the deadline passed");
        server->code = CLI_TIMED_OUT;
        confab_loop_stop(server->loop);
        return 0;
}

static int add_listener(struct server *server, confab_endpoint *endpoint) {
        struct client *listener;

        if (!cli_accepts(endpoint))
                return add_client(server, endpoint);
        listener = cli_allocate(sizeof(*listener));
        listener->server = server;
        listener->endpoint = endpoint;
        listener->link = &server->clients;
        server->clients = listener;
        return confab_loop_add_endpoint(&listener->source, server->loop, endpoint, CONFAB_RECEIVE,
                                        accept_client, listener);
}

static int begin(struct server *server, int64_t deadline_ns) {
        const char *address = server->args->operands[0];
        struct confab_options how = {.size = sizeof(how)};
        confab_endpoint *endpoint;
        char *framed = NULL;
        int r = confab_loop_new(&server->loop);

        if (r >= 0 && cli_given(server->args, "deadline"))
                r = confab_loop_add_timer(NULL, server->loop, deadline_ns, 0, out_of_time, server);
        if (r < 0)
                return r;
        if (cli_given(server->args, "lines") && cli_is_stream_address(address))
                address = framed = cli_with_key(address, "frame=line");
        r = cli_loop_signals(server->loop); /* from now on there is a name to take along */
        if (r >= 0)
                r = confab_listen(&endpoint, address, &how, deadline_ns);
        free(framed);
        if (r >= 0) {
                cli_tell_chosen(server->args, endpoint, server->args->operands[0]);
                r = add_listener(server, endpoint);
        }
        return r;
}

static int run(struct cli_args *args) {
        struct server server = {.args = args, .count = -1};
        int64_t deadline_ns = CONFAB_FOREVER;
        int code = cli_number(args, "count", 1, INT64_MAX, &server.count);
        int r;

        if (code == 0)
                code = cli_deadline(args, "deadline", &deadline_ns);
        if (code != CLI_DONE)
                return code;
        server.echo = cli_given(args, "echo");
        server.json = cli_given(args, "json");
        server.quiet = cli_given(args, "quiet");
        cli_tell_events(args);
        r = begin(&server, deadline_ns);
        if (r >= 0)
                r = confab_loop_run(server.loop);
        if (r < 0)
                server.code = cli_failed(args, r);
        for (struct client *client = server.clients, *next; client != NULL; client = next) {
                next = client->next;
                end_client(client);
        }
        confab_loop_free(server.loop);
        return server.code;
}

const struct cli_cmd cmd_listen = {
        .name = "listen",
        .summary = "Serves any number of clients: prints each message, echoes it if wanted",
        .usage = "ADDRESS",
        .details = "Each line is the sender and the message, with \\n, \\t, \\\\ and \\xNN for what would "
                   "break the line; --json has all of it.",
        .options = options,
        .operand_words = "@addresses",
        .min_operands = 1,
        .max_operands = 1,
        .run = run,
};
