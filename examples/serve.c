/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * One server, three models: serve fork|prefork|loop [ADDRESS] (tcp://127.0.0.1:0); ends at SIGTERM or SIGINT, once its clients have.
 * Each client is told the number of the process that serves it, then gets its messages back.
 */
#include <confab/confab.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int say(struct confab_client *client, const void *text, size_t text_len) {
        struct confab_message message = confab_message_of(text, text_len);

        return confab_send(client->endpoint, &message, client->deadline_ns) == (int64_t)text_len ? 1 : -1;
}

/* Called when the client has come, and whenever it has said something. In one loop no call waits; in a process of its own each may. */
static int serve(struct confab_client *client, void *data) {
        struct confab_message message = confab_message_of(NULL, 0);
        char greeting[64];
        int r;

        (void)data;
        if (!client->state) {
                client->state = client->endpoint; /* anything: it was greeted */
                r = say(client, greeting,
                        (size_t)snprintf(greeting, sizeof(greeting), "served by %d\n", (int)getpid()));
                if (r < 0)
                        return r;
        }
        r = confab_receive(client->endpoint, &message, NULL, client->deadline_ns);
        if (r <= 0)
                return r; /* 0: it has ended; -EAGAIN: nothing yet, call again */
        r = say(client, message.data, message.data_len);
        confab_release(client->endpoint, &message);
        return r;
}

int main(int argc, char *argv[]) {
        static const char *const models[] = {"", "fork", "prefork", "loop"};
        struct confab_service_options options = {.size = sizeof(options), .max_clients = 100};
        confab_endpoint *listener;
        char why[512];
        int r;

        for (uint32_t i = CONFAB_SERVE_FORK; argc > 1 && i <= CONFAB_SERVE_LOOP; i++)
                if (strcmp(argv[1], models[i]) == 0)
                        options.model = i;
        r = confab_listen(&listener, argc > 2 ? argv[2] : "tcp://127.0.0.1:0", NULL, CONFAB_FOREVER);
        if (r >= 0) {
                printf("%s\n", confab_address(listener));
                fflush(stdout);
                r = confab_serve(&listener, 1, &options, serve, NULL);
                confab_close(listener);
        }
        if (r >= 0)
                return 0;
        confab_explain(why, sizeof(why));
        fprintf(stderr, "%s\n", why);
        return 1;
}
