/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * A filter as mail servers have them (milters): a client sends lines, each is judged in a line: "accept", or "reject: ..." where it has a
 * word that is not wanted. It listens on nothing by itself: it is started with its listener when the first client comes, and ends when
 * nobody has come for a second.
 *
 *      confab run --service 'unix:///run/filter' --model prefork --workers 1 --on-demand -- ./filter WORD...
 */
#include <confab/confab.h>
#include <stdio.h>
#include <string.h>

static const char *judge(const struct confab_message *line, char *words[]) {
        static char verdict[256];

        for (; *words; words++)
                if (memmem(line->data, line->data_len, *words, strlen(*words))) {
                        snprintf(verdict, sizeof(verdict), "reject: %s", *words);
                        return verdict;
                }
        return "accept";
}

static int filter(struct confab_client *client, void *words) {
        struct confab_message line = confab_message_of(NULL, 0), answer;
        const char *verdict;
        int r = confab_receive(client->endpoint, &line, NULL, client->deadline_ns);

        if (r <= 0)
                return r;
        verdict = judge(&line, words);
        answer = confab_message_of(verdict, strlen(verdict));
        r = confab_send(client->endpoint, &answer, client->deadline_ns) < 0 ? -1 : 1;
        confab_release(client->endpoint, &line);
        return r;
}

int main(int argc, char *argv[]) {
        struct confab_service_options options = {
                .size = sizeof(options), .model = CONFAB_SERVE_LOOP, .idle_stop_ns = 1000000000};
        confab_endpoint *listener;
        char why[512];
        int r = confab_activated(&listener, 1, "frame=line");

        (void)argc;
        if (r == 0)
                fprintf(stderr, "filter: started without a listener: see confab-run(1), --on-demand\n");
        if (r > 0) {
                r = confab_serve(&listener, 1, &options, filter, argv + 1);
                confab_close(listener);
                return r < 0;
        }
        if (r < 0 && confab_explain(why, sizeof(why)))
                fprintf(stderr, "filter: %s\n", why);
        return 1;
}
