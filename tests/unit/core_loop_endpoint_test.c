/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* Endpoints in the event loop; ten thousand of them: tests/e2e. */
#include "conversation.h"
#include "core/endpoint.h"
#include "harness.h"

#include <confab/confab.h>
#include <errno.h>
#include <string.h>

struct seen {
        int n_calls, n_messages;
        uint32_t events;
        confab_endpoint *endpoint;
        confab_loop *loop;
};

/* Takes one message a call, and stops the loop at the end. */
static int take_one(confab_source *source, uint32_t events, void *data) {
        struct seen *seen = data;
        struct confab_message message = confab_message_of(NULL, 0);
        int r;

        seen->n_calls++;
        seen->events |= events;
        check(events & CONFAB_RECEIVE);
        r = confab_receive(seen->endpoint, &message, NULL, CONFAB_NOW);
        check_ok(r);
        if (r == 0) {
                confab_loop_remove(source);
                confab_loop_stop(seen->loop);
                return 0;
        }
        seen->n_messages++;
        confab_release(seen->endpoint, &message);
        return 0;
}

TEST(pipe_received_to_its_end) {
        struct seen seen = {0};
        confab_endpoint *ends[2];

        check_ok(confab_pair(ends, "pipe://", NULL));
        check_ok(confab_loop_new(&seen.loop));
        seen.endpoint = ends[0];
        check_ok(confab_loop_add_endpoint(NULL, seen.loop, ends[0], CONFAB_RECEIVE, take_one, &seen));
        check_eq(confab_loop_once(seen.loop, CONFAB_NOW), 0);
        send_text(ends[1], "one");
        check_eq(confab_loop_once(seen.loop, CONFAB_FOREVER), 1);
        check_eq(seen.n_messages, 1);
        confab_close(ends[1]);
        check_ok(confab_loop_run(seen.loop));
        check_eq(seen.n_calls, 2);
        confab_loop_free(seen.loop);
        confab_close(ends[0]);
}

/* One read brings three messages; the loop must tell of those in our buffer, which no descriptor shows by itself. */
TEST(framed_messages_in_the_buffer_are_told) {
        struct seen seen = {0};
        confab_endpoint *ends[2];

        check_ok(confab_pair(ends, "pipe://?frame=line", NULL));
        check_ok(confab_loop_new(&seen.loop));
        seen.endpoint = ends[0];
        check_ok(confab_loop_add_endpoint(NULL, seen.loop, ends[0], CONFAB_RECEIVE, take_one, &seen));
        for (int i = 0; i < 3; i++)
                send_text(ends[1], "line");
        for (int i = 0; i < 3; i++)
                check_eq(confab_loop_once(seen.loop, CONFAB_FOREVER), 1);
        check_eq(seen.n_messages, 3);
        check_eq(confab_loop_once(seen.loop, CONFAB_NOW), 0);
        confab_close(ends[1]);
        check_ok(confab_loop_run(seen.loop));
        check_eq(seen.n_messages, 3);
        confab_loop_free(seen.loop);
        confab_close(ends[0]);
}

/* Takes all there is, without ever being told for nothing. */
static int take_all(confab_source *source, uint32_t events, void *data) {
        struct seen *seen = data;
        struct confab_message message = confab_message_of(NULL, 0);

        (void)source;
        (void)events;
        seen->n_calls++;
        check_eq(confab_receive(seen->endpoint, &message, NULL, CONFAB_NOW), 1);
        do {
                seen->n_messages++;
                confab_release(seen->endpoint, &message);
        } while (confab_receive(seen->endpoint, &message, NULL, CONFAB_NOW) == 1);
        return 0;
}

TEST(framed_endpoint_ready_twice_is_told_once) {
        struct seen seen = {0};
        struct confab_message message = confab_message_of(NULL, 0);
        struct pollfd foreign;
        confab_endpoint *ends[2];
        confab_source *source;

        check_ok(confab_pair(ends, "unix://?frame=record", NULL));
        check_ok(confab_loop_new(&seen.loop));
        seen.endpoint = ends[0];
        send_text(ends[1], "one");
        send_text(ends[1], "two");
        check_eq(confab_receive(ends[0], &message, NULL, CONFAB_NOW), 1); /* and "two" lies in the buffer */
        confab_release(ends[0], &message);
        check_ok(confab_loop_add_endpoint(&source, seen.loop, ends[0], CONFAB_RECEIVE, take_all, &seen));
        foreign = (struct pollfd){.fd = confab_loop_descriptor(seen.loop), .events = POLLIN};
        check_eq(poll(&foreign, 1, 0), 1); /* a foreign loop sees what is in the buffer */
        send_text(ends[1], "three");       /* and now the descriptor is ready as well */
        check_eq(confab_loop_once(seen.loop, CONFAB_FOREVER), 1);
        check_eq(seen.n_messages, 2);
        check_eq(confab_loop_once(seen.loop, CONFAB_NOW), 0);
        check_eq(poll(&foreign, 1, 0), 0);

        send_text(ends[1], "four");
        send_text(ends[1], "five");
        check_eq(confab_receive(ends[0], &message, NULL, CONFAB_NOW), 1); /* outside of any callback */
        confab_release(ends[0], &message);
        check_eq(poll(&foreign, 1, 0), 1);
        check_ok(confab_loop_change(source, 0));
        check_eq(poll(&foreign, 1, 0), 0);
        check_ok(confab_loop_change(source, CONFAB_RECEIVE));
        check_eq(confab_loop_once(seen.loop, CONFAB_FOREVER), 1);
        check_eq(seen.n_messages, 3);
        confab_loop_free(seen.loop);
        confab_close(ends[0]);
        confab_close(ends[1]);
}

TEST(endpoint_closed_before_its_loop) {
        confab_endpoint *ends[2];
        struct seen seen = {0};

        check_ok(confab_pair(ends, "unix://?frame=line", NULL));
        check_ok(confab_loop_new(&seen.loop));
        check_ok(confab_loop_add_endpoint(NULL, seen.loop, ends[0], CONFAB_RECEIVE, take_all, &seen));
        confab_close(ends[0]); /* against the rule, and often done at the end of main */
        confab_close(ends[1]);
        check_eq(confab_loop_once(seen.loop, CONFAB_NOW), 0);
        confab_loop_free(seen.loop);
}

static int note_events(confab_source *source, uint32_t events, void *data) {
        (void)source;
        *(uint32_t *)data = events;
        return 0;
}

TEST(both_directions_and_changes) {
        confab_endpoint *ends[2];
        confab_source *source;
        confab_loop *loop;
        uint32_t events = 0;

        check_ok(confab_pair(ends, "pipe://?duplex", NULL));
        check_ok(confab_loop_new(&loop));
        check_ok(confab_loop_add_endpoint(&source, loop, ends[0], CONFAB_BOTH, note_events, &events));
        check_eq(confab_loop_once(loop, CONFAB_FOREVER), 1);
        check_eq(events, CONFAB_SEND);
        check_ok(confab_loop_change(source, CONFAB_RECEIVE));
        check_eq(confab_loop_once(loop, CONFAB_NOW), 0);
        send_text(ends[1], "x");
        check_eq(confab_loop_once(loop, CONFAB_FOREVER), 1);
        check_eq(events, CONFAB_RECEIVE);
        check_ok(confab_loop_change(source, 0));
        check_eq(confab_loop_once(loop, CONFAB_NOW), 0);
        check_eq(confab_loop_change(source, 4), -EINVAL);
        check_ok(confab_loop_change(source, CONFAB_BOTH));
        check_eq(confab_loop_once(loop, CONFAB_FOREVER), 2); /* two descriptors: told one after the other */
        confab_loop_remove(source);
        check_eq(confab_loop_once(loop, CONFAB_NOW), 0);
        confab_loop_free(loop);
        confab_close(ends[0]);
        confab_close(ends[1]);
}

TEST(a_direction_that_is_not_there) {
        confab_endpoint *ends[2];
        confab_loop *loop;
        char text[300];

        check_ok(confab_pair(ends, "pipe://", NULL));
        check_ok(confab_loop_new(&loop));
        check_eq(confab_loop_add_endpoint(NULL, loop, ends[0], CONFAB_SEND, note_events, NULL), -EOPNOTSUPP);
        confab_explain(text, sizeof(text));
        check(strstr(text, "sending"));
        check_eq(confab_loop_add_endpoint(NULL, loop, ends[0], CONFAB_BOTH, note_events, NULL), -EOPNOTSUPP);
        check_eq(confab_loop_once(loop, CONFAB_NOW), 0);
        check_eq(confab_loop_add_endpoint(NULL, loop, NULL, CONFAB_BOTH, note_events, NULL), -EINVAL);
        check_eq(confab_loop_add_endpoint(NULL, loop, ends[0], CONFAB_RECEIVE, NULL, NULL), -EINVAL);
        confab_loop_free(loop);
        confab_close(ends[0]);
        confab_close(ends[1]);
}

static int close_all(confab_source *source, uint32_t events, void *data) {
        confab_endpoint **ends = data;

        (void)events;
        confab_loop_remove(source);
        ends[0] = confab_close(ends[0]);
        ends[1] = confab_close(ends[1]);
        return 0;
}

TEST(endpoint_closed_in_its_own_callback) {
        confab_endpoint *ends[2];
        confab_loop *loop;

        check_ok(confab_pair(ends, "pipe://?duplex", NULL));
        check_ok(confab_loop_new(&loop));
        send_text(ends[1], "x");
        check_ok(confab_loop_add_endpoint(NULL, loop, ends[0], CONFAB_BOTH, close_all,
                                          ends)); /* both are ready */
        check_eq(confab_loop_once(loop, CONFAB_FOREVER), 1);
        check_eq(confab_loop_once(loop, CONFAB_NOW), 0);
        confab_loop_free(loop);
}

static int accept_one(confab_source *source, uint32_t events, void *data) {
        confab_endpoint **both = data; /* the listener, and what it accepts */

        (void)source;
        check_eq(events, CONFAB_RECEIVE);
        return confab_accept(&both[1], both[0], CONFAB_NOW);
}

TEST(listener_and_its_connection) {
        confab_endpoint *both[2] = {NULL, NULL}, *client;
        confab_loop *loop;

        check_ok(confab_listen(&both[0], "unix://socket", NULL, CONFAB_NOW));
        check_ok(confab_loop_new(&loop));
        check_ok(confab_loop_add_endpoint(NULL, loop, both[0], CONFAB_RECEIVE, accept_one, both));
        check_eq(confab_loop_once(loop, CONFAB_NOW), 0);
        check_ok(confab_open(&client, "unix://socket", NULL, CONFAB_NOW));
        check_eq(confab_loop_once(loop, CONFAB_FOREVER), 1);
        check(both[1]);
        check_eq(confab_loop_once(loop, CONFAB_NOW), 0);
        confab_loop_free(loop); /* with the listener and its timer still in it */
        confab_close(client);
        confab_close(both[1]);
        confab_close(both[0]);
}

TEST(socket_has_one_registration_for_both_directions) {
        confab_endpoint *ends[2];
        confab_source *source;
        confab_loop *loop;
        uint32_t events = 0;

        check_ok(confab_pair(ends, "unix://", NULL));
        check_ok(confab_loop_new(&loop));
        check_ok(confab_loop_add_endpoint(&source, loop, ends[0], CONFAB_SEND, note_events, &events));
        check_eq(confab_loop_once(loop, CONFAB_FOREVER), 1);
        check_eq(events, CONFAB_SEND);
        check_ok(confab_loop_change(source, CONFAB_BOTH));
        check_eq(confab_loop_once(loop, CONFAB_FOREVER), 1);
        check_eq(events, CONFAB_SEND);
        send_text(ends[1], "x");
        check_eq(confab_loop_once(loop, CONFAB_FOREVER), 1); /* told together */
        check_eq(events, CONFAB_BOTH);
        check_ok(confab_loop_change(source, CONFAB_RECEIVE));
        check_eq(confab_loop_once(loop, CONFAB_FOREVER), 1);
        check_eq(events, CONFAB_RECEIVE);
        check_ok(confab_loop_change(source, 0));
        check_eq(confab_loop_once(loop, CONFAB_NOW), 0);
        check_ok(confab_loop_change(source, CONFAB_SEND));
        confab_close(ends[1]);
        check_eq(confab_loop_once(loop, CONFAB_FOREVER), 1); /* gone: sending will not wait */
        check_eq(events, CONFAB_SEND);
        confab_loop_free(loop);
        confab_close(ends[0]);
}
