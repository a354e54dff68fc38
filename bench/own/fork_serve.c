/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* bench/peers/fork_server.c with confab_serve: each connection served by a process of its own. Prints its address, serves until SIGTERM. */
#include <confab/confab.h>
#include <stdio.h>

static int serve(struct confab_client *client, void *data) {
        struct confab_message request = confab_message_of(NULL, 0), answer;
        int r = confab_receive(client->endpoint, &request, NULL, client->deadline_ns);

        (void)data;
        if (r <= 0)
                return r;
        answer = confab_message_of(request.data, request.data_len);
        r = confab_send(client->endpoint, &answer, client->deadline_ns) < 0 ? -1 : 0;
        confab_release(client->endpoint, &request);
        return r;
}

int main(void) {
        struct confab_service_options options = {.size = sizeof(options), .model = CONFAB_SERVE_FORK};
        confab_endpoint *listener;
        char why[512];
        int r;

        r = confab_listen(&listener, "tcp://127.0.0.1:0", NULL, CONFAB_NOW);
        if (r == 0) {
                printf("%s\n", confab_address(listener));
                fflush(stdout);
                r = confab_serve(&listener, 1, &options, serve, NULL);
        }
        if (r < 0 && confab_explain(why, sizeof(why)))
                fprintf(stderr, "fork_serve: %s\n", why);
        confab_close(listener);
        return r < 0;
}
