/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * confab relay A B: what comes from one goes to the other, both ways, on one loop.
 *
 * A pair is two endpoints and two transfers, one for each direction. The end of one direction is passed on as a half-close and the
 * other goes on; the pair is over when both have ended, or when one has failed. With --listen the first address is
 * listened on, and each connection there gets a pair with a new connection to the second.
 */
#include "endpoints.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static const struct cli_option options[] = {
        {"listen", 'L', NULL, "listen on the first address and serve every client that connects", NULL},
        {"one-way", 'u', NULL, "only from the first to the second; mechanisms with one direction imply it",
         NULL},
        {"descriptors", 'D', NULL,
         "hand on descriptors passed over unix streams, which costs copying the bytes", NULL},
        {"count", 'n', "N", "with --listen: end after N clients", NULL},
        {"linger", 'l', "DURATION",
         "once one direction has ended the other may go on for so long (default: for ever)", NULL},
        {"deadline", 'd', "DURATION", "give up after so long, with exit status 124: 5s, 250ms, 2m", NULL},
        CLI_OPTIONS_END,
};

#define CONNECT_NS INT64_C(5000000000)

struct relay {
        const struct cli_args *args;
        confab_loop *loop;
        const char *second;        /* address each client is connected to */
        confab_endpoint *listener; /* with --listen and connections, else NULL */
        confab_source *accepting;
        struct pair *pairs;
        int64_t count; /* clients still to come; -1: no end */
        int64_t linger_ns, deadline_ns;
        int code;
        bool one_way, descriptors;
};

struct direction {
        confab_transfer *transfer; /* NULL: ended, or never was */
        confab_endpoint *sink;
};

struct pair {
        struct relay *relay;
        struct pair *next, **link;
        confab_endpoint *ends[2];
        confab_source *sources[2]; /* of ends */
        uint32_t watched[2];
        struct direction directions[2]; /* [0]: ends[0] to ends[1] */
        struct confab_peer asker;       /* of a first end without connections: who asked last */
        confab_source *timer;
};

static void end_pair(struct pair *pair) {
        struct relay *relay = pair->relay;

        for (int i = 0; i < 2; i++) {
                confab_transfer_free(pair->directions[i].transfer);
                confab_loop_remove(pair->sources[i]);
        }
        confab_loop_remove(pair->timer);
        for (int i = 0; i < 2; i++) {
                confab_close(pair->ends[i]);
        }
        *pair->link = pair->next;
        if (pair->next != NULL)
                pair->next->link = pair->link;
        free(pair);
        if (relay->pairs == NULL && (relay->listener == NULL || relay->count == 0))
                confab_loop_stop(relay->loop);
}

/* Where one direction alone could be opened (fd://, stdio://, descriptors open for reading only) the pair does that one. */
static int begin_direction(struct pair *pair, int i) {
        struct confab_transfer_options how = {.size = sizeof(how)};
        int r;

        if (pair->relay->descriptors)
                how.flags = CONFAB_TRANSFER_DESCRIPTORS;
        if (i == 0)
                how.from_peer = &pair->asker;
        else
                how.to_peer = &pair->asker;
        pair->directions[i].sink = pair->ends[1 - i];
        r = confab_transfer_new(&pair->directions[i].transfer, pair->ends[i], pair->ends[1 - i], &how);
        return r == -EOPNOTSUPP ? 0 : r;
}

static int lingered(confab_source *source, uint32_t events, void *data) {
        struct pair *pair = data;

        (void)source;
        (void)events;
        pair->timer = NULL; /* a timer that fires once is removed by the loop */
        end_pair(pair);
        return 0;
}

static void pass_end_on(struct pair *pair, struct direction *direction) {
        struct relay *relay = pair->relay;
        struct confab_properties properties = {.size = sizeof(properties)};
        int r = 0;

        direction->transfer = confab_transfer_free(direction->transfer);
        confab_endpoint_properties(&properties, direction->sink);
        if (properties.half_close == CONFAB_YES)
                r = confab_shutdown(direction->sink, CONFAB_SEND, confab_after(1000000000));
        if (r < 0 && r != -ENOTCONN)
                relay->code = cli_failed(relay->args, r);
        if (relay->linger_ns != CONFAB_FOREVER && pair->timer == NULL)
                confab_loop_add_timer(&pair->timer, relay->loop, confab_after(relay->linger_ns), 0, lingered,
                                      pair);
}

/* Messages that one sink cannot take are no reason to end: they are told and dropped. */
static bool survives(const struct direction *direction, int r) {
        struct confab_properties properties = {.size = sizeof(properties)};

        confab_endpoint_properties(&properties, direction->sink);
        return properties.boundaries == CONFAB_BOUNDARIES_MESSAGE &&
               properties.connection == CONFAB_CONNECTION_NONE &&
               (r == -EMSGSIZE || r == -ECONNREFUSED || r == -EDESTADDRREQ || r == -ENOTCONN);
}

/* Moves what can be moved; false: the direction failed. */
static bool pump(struct pair *pair, struct direction *direction) {
        int r;

        if (direction->transfer == NULL)
                return true;
        r = confab_transfer_step(direction->transfer, NULL, CONFAB_NOW);
        if (r == 1 || r == -EAGAIN)
                return true;
        if (r == 0) {
                pass_end_on(pair, direction);
                return true;
        }
        pair->relay->code = cli_failed(pair->relay->args, r);
        if (survives(direction, r))
                return true;
        direction->transfer = confab_transfer_free(direction->transfer);
        return false;
}

/* Watches each end for what the transfers wait for there. */
static int watch(struct pair *pair) {
        uint32_t wanted[2] = {0, 0};

        for (int i = 0; i < 2; i++) {
                struct confab_interest interest;

                if (pair->directions[i].transfer == NULL)
                        continue;
                confab_transfer_waits(pair->directions[i].transfer, &interest);
                wanted[interest.endpoint == pair->ends[0] ? 0 : 1] |= interest.direction;
        }
        for (int i = 0; i < 2; i++)
                if (wanted[i] != pair->watched[i]) {
                        int r = confab_loop_change(pair->sources[i], wanted[i]);

                        if (r < 0)
                                return r;
                        pair->watched[i] = wanted[i];
                }
        return 0;
}

static int ready(confab_source *source, uint32_t events, void *data) {
        struct pair *pair = data;
        bool good = pump(pair, &pair->directions[0]);
        int r;

        (void)source;
        (void)events;
        good = pump(pair, &pair->directions[1]) && good;
        if (!good || (pair->directions[0].transfer == NULL && pair->directions[1].transfer == NULL)) {
                end_pair(pair);
                return 0;
        }
        r = watch(pair);
        if (r < 0) {
                pair->relay->code = cli_failed(pair->relay->args, r);
                end_pair(pair);
        }
        return 0;
}

/* A pair of @first, which it takes, and a new connection to the second address. */
static int begin_pair(struct relay *relay, confab_endpoint *first) {
        struct confab_options how = {.size = sizeof(how)};
        struct pair *pair = cli_allocate(sizeof(*pair));
        int64_t deadline_ns = relay->deadline_ns;
        int r;

        pair->relay = relay;
        pair->ends[0] = first;
        pair->asker.size = sizeof(pair->asker);
        pair->next = relay->pairs;
        pair->link = &relay->pairs;
        if (pair->next != NULL)
                pair->next->link = &pair->next;
        relay->pairs = pair;
        if (relay->one_way)
                how = cli_one_way(relay->second, CONFAB_SEND);
        /* The other clients stand still while one is connected to nobody. */
        if (relay->listener != NULL && confab_after(CONNECT_NS) < deadline_ns)
                deadline_ns = confab_after(CONNECT_NS);
        r = confab_open(&pair->ends[1], relay->second, &how, deadline_ns);
        for (int i = 0; r >= 0 && i < (relay->one_way ? 1 : 2); i++)
                r = begin_direction(pair, i);
        if (r >= 0 && pair->directions[0].transfer == NULL && pair->directions[1].transfer == NULL)
                r = -EOPNOTSUPP; /* as the second of them said */
        for (int i = 0; r >= 0 && i < 2; i++) {
                r = confab_loop_add_endpoint(&pair->sources[i], relay->loop, pair->ends[i], 0, ready, pair);
        }
        if (r >= 0)
                r = watch(pair);
        if (r < 0) {
                relay->code = cli_failed(relay->args, r);
                end_pair(pair);
        }
        return r;
}

static int accept_client(confab_source *source, uint32_t events, void *data) {
        struct relay *relay = data;
        confab_endpoint *client;
        int r = confab_accept(&client, relay->listener, CONFAB_NOW);

        (void)source;
        (void)events;
        if (r < 0) {
                if (r != -EAGAIN && r != -EMFILE && r != -ENFILE && r != -ECONNABORTED)
                        relay->code = cli_failed(relay->args, r);
                return 0;
        }
        if (relay->count > 0)
                relay->count--;
        if (relay->count == 0)
                relay->accepting = confab_loop_remove(relay->accepting);
        begin_pair(relay, client); /* its failure is this client's alone */
        return 0;
}

static int out_of_time(confab_source *source, uint32_t events, void *data) {
        struct relay *relay = data;

        (void)source;
        (void)events;
        cli_say(relay->args, "the deadline passed");
        relay->code = CLI_TIMED_OUT;
        confab_loop_stop(relay->loop);
        return 0;
}

static bool simplex(const char *address) {
        struct confab_properties properties = {.size = sizeof(properties)};

        return confab_properties(&properties, address) == 0 &&
               properties.direction == CONFAB_DIRECTION_SIMPLEX;
}

static int read_options(struct relay *relay) {
        const struct cli_args *args = relay->args;
        int code = cli_number(args, "count", 1, INT64_MAX, &relay->count);

        if (code == 0)
                code = cli_duration(args, "linger", &relay->linger_ns);
        if (code == 0)
                code = cli_deadline(args, "deadline", &relay->deadline_ns);
        if (code == 0 && cli_given(args, "count") && !cli_given(args, "listen"))
                code = cli_usage(args, "--count counts the clients of --listen, which is not given");
        relay->descriptors = cli_given(args, "descriptors");
        relay->one_way =
                cli_given(args, "one-way") || simplex(args->operands[0]) || simplex(args->operands[1]);
        return code;
}

static int begin(struct relay *relay) {
        const char *first = relay->args->operands[0];
        struct confab_options how = {.size = sizeof(how)};
        confab_endpoint *endpoint;
        int r = confab_loop_new(&relay->loop);

        if (r >= 0 && cli_given(relay->args, "deadline"))
                r = confab_loop_add_timer(NULL, relay->loop, relay->deadline_ns, 0, out_of_time, relay);
        if (r < 0)
                return r;
        if (relay->one_way)
                how = cli_one_way(first, CONFAB_RECEIVE);
        if (!cli_given(relay->args, "listen")) {
                r = confab_open(&endpoint, first, &how, relay->deadline_ns);
        } else {
                r = cli_loop_signals(relay->loop); /* from now on there is a name to take along */
                if (r >= 0)
                        r = confab_listen(&endpoint, first, &how, relay->deadline_ns);
        }
        if (r < 0)
                return r;
        if (cli_given(relay->args, "listen"))
                cli_tell_chosen(relay->args, endpoint, first);
        else
                return begin_pair(relay, endpoint) < 0 ? 1 : cli_loop_signals(relay->loop);
        if (!cli_accepts(endpoint))
                return begin_pair(relay, endpoint) < 0;
        relay->listener = endpoint;
        return confab_loop_add_endpoint(&relay->accepting, relay->loop, endpoint, CONFAB_RECEIVE,
                                        accept_client, relay);
}

static int run(struct cli_args *args) {
        struct relay relay = {
                .args = args, .second = args->operands[1], .count = -1, .linger_ns = CONFAB_FOREVER};
        int code = read_options(&relay);
        int r;

        if (code != CLI_DONE)
                return code;
        cli_tell_events(args);
        r = begin(&relay);
        if (r == 0)
                r = confab_loop_run(relay.loop);
        if (r < 0)
                relay.code = cli_failed(args, r);
        for (struct pair *pair = relay.pairs, *next; pair != NULL; pair = next) {
                next = pair->next;
                end_pair(pair);
        }
        confab_loop_remove(relay.accepting);
        confab_close(relay.listener);
        confab_loop_free(relay.loop);
        return relay.code == CLI_DONE && !cli_given(args, "listen") && cli_command_failed() ? CLI_FAILED
                                                                                            : relay.code;
}

const struct cli_cmd cmd_relay = {
        .name = "relay",
        .summary = "Joins two addresses: what comes from one goes to the other, both ways",
        .usage = "ADDRESS ADDRESS",
        .details = "Between byte streams the kernel moves the bytes without copying them through the "
                   "program; messages stay messages.",
        .options = options,
        .operand_words = "@addresses",
        .min_operands = 2,
        .max_operands = 2,
        .run = run,
};
