/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* confab receive [--listen] ADDRESS: messages to standard output, as they are, as lines, or as JSON. */
#include "endpoints.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct cli_option options[] = {
        {"listen", 'L', NULL, "be the passive side: make the name, accept connections", NULL},
        {"count", 'n', "N", "end after N messages; what a byte stream brings up to its end is one", NULL},
        {"lines", 'l', NULL, "a newline after each message; on a byte stream frame=line", NULL},
        {"json", 'j', NULL, "print one JSON object a message", NULL},
        {"type", 't', "N", "only messages of type N; -N: the lowest type up to N", NULL},
        {"deadline", 'd', "DURATION", "give up after so long, with exit status 124: 5s, 250ms, 2m", NULL},
        CLI_OPTIONS_END,
};

struct receiving {
        const struct cli_args *args;
        struct confab_filter filter;
        int64_t count; /* still to come; -1: until the end */
        int64_t deadline_ns;
        bool json, lines, stream;
};

static int print(struct receiving *r, confab_endpoint *endpoint, const struct confab_message *message) {
        int code;

        if (r->json)
                return cli_print_json(r->args, endpoint, message);
        code = cli_print_bytes(r->args, message->data, message->data_len);
        return code == CLI_DONE && r->lines ? cli_print_bytes(r->args, "\n", 1) : code;
}

/* Until the end of @endpoint or of the count. */
static int receive_from(struct receiving *r, confab_endpoint *endpoint) {
        const struct confab_filter *filter = r->filter.type != 0 ? &r->filter : NULL;
        int code = CLI_DONE;

        while (code == CLI_DONE && r->count != 0) {
                struct confab_message message = confab_message_of(NULL, 0);
                int result = confab_receive(endpoint, &message, filter, r->deadline_ns);

                if (result < 0)
                        return cli_failed(r->args, result);
                if (result == 0) {
                        if (r->stream && r->count > 0)
                                r->count--;
                        break;
                }
                code = print(r, endpoint, &message);
                confab_release(endpoint, &message);
                if (!r->stream && r->count > 0)
                        r->count--;
        }
        return code;
}

static int accept_and_receive(struct receiving *r, confab_endpoint *listener) {
        confab_endpoint *endpoint;
        int code, result = confab_accept(&endpoint, listener, r->deadline_ns);

        if (result < 0)
                return cli_failed(r->args, result);
        cli_watch(endpoint);
        r->stream = cli_is_stream(endpoint);
        code = receive_from(r, endpoint);
        cli_unwatch(endpoint);
        confab_close(endpoint);
        return code;
}

static int receive_all(struct receiving *r, confab_endpoint *endpoint) {
        int code;

        if (!cli_given(r->args, "listen") || !cli_accepts(endpoint)) {
                r->stream = cli_is_stream(endpoint);
                return receive_from(r, endpoint);
        }
        do
                code = accept_and_receive(r, endpoint);
        while (code == CLI_DONE && r->count > 0);
        return code;
}

static int read_options(struct receiving *r) {
        int code = cli_number(r->args, "count", 0, INT64_MAX, &r->count);

        if (code == 0)
                code = cli_number(r->args, "type", INT64_MIN + 1, INT64_MAX, &r->filter.type);
        if (code == 0)
                code = cli_deadline(r->args, "deadline", &r->deadline_ns);
        r->json = cli_given(r->args, "json");
        r->lines = cli_given(r->args, "lines");
        return code;
}

static int run(struct cli_args *args) {
        struct receiving r = {.args = args, .filter.size = sizeof(r.filter), .count = -1};
        const char *address = args->operands[0];
        struct confab_options how;
        confab_endpoint *endpoint;
        char *framed = NULL;
        int code = read_options(&r);
        int result;

        if (code != CLI_DONE)
                return code;
        cli_tell_events(args);
        if (r.lines && cli_is_stream_address(address))
                address = framed = cli_with_key(address, "frame=line");
        how = cli_one_way(address, CONFAB_RECEIVE);
        if (cli_given(args, "listen"))
                cli_catch_signals(); /* from now on there is a name to take along */
        if (cli_given(args, "listen"))
                result = confab_listen(&endpoint, address, &how, r.deadline_ns);
        else
                result = confab_open(&endpoint, address, &how, r.deadline_ns);
        free(framed);
        if (result < 0)
                return cli_failed(args, result);
        if (cli_given(args, "listen"))
                cli_tell_chosen(args, endpoint, args->operands[0]);
        cli_watch(endpoint);
        code = receive_all(&r, endpoint);
        cli_unwatch(endpoint);
        confab_close(endpoint);
        /* One that was still writing when we had enough has ended by that. */
        return code == CLI_DONE && !cli_given(args, "count") && cli_command_failed() ? CLI_FAILED : code;
}

const struct cli_cmd cmd_receive = {
        .name = "receive",
        .summary = "Receives messages and prints them to standard output",
        .usage = "ADDRESS",
        .details = "Without --count it ends with the conversation: the end of the stream, or never where "
                   "there is none. With --listen\n"
                   "and connections, one after the other is served until the count is reached, without a "
                   "count the first one.",
        .options = options,
        .operand_words = "@addresses",
        .min_operands = 1,
        .max_operands = 1,
        .run = run,
};
