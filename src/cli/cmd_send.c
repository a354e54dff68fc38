/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* confab send ADDRESS [WORD...]: one message from the words or standard input, or each line of it as one. */
#include "endpoints.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct cli_option options[] = {
        {"lines", 'l', NULL, "each line of standard input is a message; on a byte stream frame=line", NULL},
        {"type", 't', "N", "of the message, where the mechanism has types", NULL},
        {"priority", 'p', "N", "of the message, where the mechanism has priorities", NULL},
        {"descriptor", 'D', "N", "pass the open descriptor N along, where messages carry descriptors", NULL},
        {"count", 'n', "N", "send the message N times", NULL},
        {"deadline", 'd', "DURATION", "give up after so long, with exit status 124: 5s, 250ms, 2m", NULL},
        CLI_OPTIONS_END,
};

enum { CHUNK = 256 << 10 };

struct sending {
        const struct cli_args *args;
        confab_endpoint *endpoint;
        struct confab_message message; /* all but the data */
        int64_t count, deadline_ns;
        int descriptor;
};

static int send_bytes(struct sending *s, const void *data, size_t data_len) {
        struct confab_message message = s->message;

        message.data = data;
        message.data_len = data_len;
        for (int64_t i = 0; i < s->count; i++) {
                int64_t n = confab_send(s->endpoint, &message, s->deadline_ns);

                if (n < 0)
                        return cli_failed(s->args, n);
                if ((uint64_t)n < data_len) {
                        cli_say(s->args, "%s: the deadline passed after %lld of %zu bytes",
                                confab_address(s->endpoint), (long long)n, data_len);
                        return CLI_TIMED_OUT;
                }
        }
        return CLI_DONE;
}

static ssize_t read_some(void *data, size_t len) {
        ssize_t n;

        do
                n = read(STDIN_FILENO, data, len);
        while (n < 0 && errno == EINTR && cli_signalled() == 0);
        return n;
}

/* A byte stream takes what comes as it comes: nothing is kept, however much it is. */
static int send_stream(struct sending *s) {
        char *chunk = malloc(CHUNK); /* untouched until used */
        int code = CLI_DONE;
        ssize_t n = 0;

        if (chunk == NULL)
                return cli_failed_call(s->args, "standard input", ENOMEM);
        while (code == CLI_DONE && (n = read_some(chunk, CHUNK)) > 0)
                code = send_bytes(s, chunk, (size_t)n);
        if (n < 0)
                code = cli_failed_call(s->args, "standard input", errno);
        free(chunk);
        return code;
}

/* All of standard input as one message; reading stops where the mechanism's largest message is passed. */
static int send_whole(struct sending *s) {
        struct confab_properties properties = {.size = sizeof(properties)};
        size_t len = 0, cap = 64 << 10;
        char *data = malloc(cap);
        ssize_t n = 1;
        int code;

        confab_endpoint_properties(&properties, s->endpoint);
        while (data != NULL && n > 0 && len <= properties.message_max) {
                n = read_some(data + len, cap - len);
                len += n > 0 ? (size_t)n : 0;
                if (len == cap)
                        data = cli_reallocate(data, cap *= 2);
        }
        if (data == NULL || n < 0)
                code = cli_failed_call(s->args, "standard input", data == NULL ? ENOMEM : errno);
        else
                code = send_bytes(s, data, len);
        free(data);
        return code;
}

static int send_lines(struct sending *s) {
        char *line = NULL;
        size_t cap = 0;
        int code = CLI_DONE;
        ssize_t len;

        while (code == CLI_DONE && (len = getline(&line, &cap, stdin)) >= 0)
                code = send_bytes(s, line, (size_t)len - (len > 0 && line[len - 1] == '\n'));
        if (code == CLI_DONE && ferror(stdin) != 0)
                code = cli_failed_call(s->args, "standard input", errno);
        free(line);
        return code;
}

static int send_words(struct sending *s) {
        char **words = s->args->operands + 1;
        unsigned n_words = s->args->n_operands - 1;
        size_t len = 0;
        char *text;
        int code;

        for (unsigned i = 0; i < n_words; i++)
                len += strlen(words[i]) + 1;
        text = cli_allocate(len);
        len = 0;
        for (unsigned i = 0; i < n_words; i++) {
                size_t word_len = strlen(words[i]);

                if (i > 0)
                        text[len++] = ' ';
                memcpy(text + len, words[i], word_len);
                len += word_len;
        }
        code = send_bytes(s, text, len);
        free(text);
        return code;
}

static int read_options(struct sending *s) {
        int64_t priority = 0, descriptor = -1;
        int code = cli_number(s->args, "type", 1, INT64_MAX, &s->message.type);

        if (code == 0)
                code = cli_number(s->args, "priority", 0, UINT32_MAX, &priority);
        if (code == 0)
                code = cli_number(s->args, "descriptor", 0, INT_MAX, &descriptor);
        if (code == 0)
                code = cli_number(s->args, "count", 0, INT64_MAX, &s->count);
        if (code == 0)
                code = cli_deadline(s->args, "deadline", &s->deadline_ns);
        s->message.priority = (uint32_t)priority;
        s->descriptor = (int)descriptor;
        if (descriptor >= 0) {
                s->message.descriptors = &s->descriptor;
                s->message.n_descriptors = 1;
        }
        if (code == 0 && cli_given(s->args, "lines") && s->args->n_operands > 1)
                code = cli_usage(s->args, "--lines reads standard input; there are words beside it");
        if (code == 0 && s->args->n_operands == 1 && !cli_given(s->args, "lines") &&
            cli_given(s->args, "count"))
                code = cli_usage(s->args,
                                 "--count needs words or --lines: standard input can be read once only");
        return code;
}

static int send_all(struct sending *s) {
        if (cli_given(s->args, "lines"))
                return send_lines(s);
        if (s->args->n_operands > 1)
                return send_words(s);
        return cli_is_stream(s->endpoint) ? send_stream(s) : send_whole(s);
}

/* That this was all: what the peer has not read yet stays for it, and its half of a connection is not cut off. */
static int finish(struct sending *s) {
        struct confab_properties properties = {.size = sizeof(properties)};
        int r;

        confab_endpoint_properties(&properties, s->endpoint);
        if (properties.half_close != CONFAB_YES)
                return CLI_DONE;
        r = confab_shutdown(s->endpoint, CONFAB_SEND, s->deadline_ns);
        return r < 0 && r != -ENOTCONN ? cli_failed(s->args, r) : CLI_DONE;
}

static int run(struct cli_args *args) {
        struct sending s = {.args = args, .message = confab_message_of(NULL, 0), .count = 1};
        const char *address = args->operands[0];
        struct confab_options how;
        char *framed = NULL;
        int code = read_options(&s);
        int r;

        if (code != CLI_DONE)
                return code;
        cli_tell_events(args);
        if (cli_given(args, "lines") && cli_is_stream_address(address))
                address = framed = cli_with_key(address, "frame=line");
        how = cli_one_way(address, CONFAB_SEND);
        r = confab_open(&s.endpoint, address, &how, s.deadline_ns);
        free(framed);
        if (r < 0)
                return cli_failed(args, r);
        cli_watch(s.endpoint);
        code = send_all(&s);
        if (code == CLI_DONE)
                code = finish(&s);
        cli_unwatch(s.endpoint);
        confab_close(s.endpoint);
        return code == CLI_DONE && cli_command_failed() ? CLI_FAILED : code;
}

const struct cli_cmd cmd_send = {
        .name = "send",
        .summary = "Sends a message: the words, or standard input",
        .usage = "ADDRESS [WORD...]",
        .details = "The words are joined by a space. On a byte stream standard input is passed on as it "
                   "comes, and the end of the\n"
                   "message is the end of the stream.",
        .options = options,
        .operand_words = "@addresses",
        .min_operands = 1,
        .max_operands = UINT_MAX,
        .verbatim = true,
        .run = run,
};
