/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include "conversation.h"
#include "harness.h"

#include <confab/confab.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static struct confab_event events[8];
static int n_events;

static void on_event(const struct confab_event *event, void *data) {
        (void)data;
        check(n_events < 8);
        check(strncmp(event->address, "exec://", 7) == 0);
        events[n_events++] = *event;
}

static confab_endpoint *open_command(const char *address) {
        confab_endpoint *endpoint;

        confab_on_event(on_event, NULL);
        check_ok(confab_open(&endpoint, address, NULL, CONFAB_FOREVER));
        return endpoint;
}

/* Everything up to the end. */
static size_t receive_all(confab_endpoint *endpoint, char *text, size_t text_cap) {
        struct confab_message message = confab_message_of(NULL, 0);
        size_t len = 0;
        int r;

        while ((r = confab_receive(endpoint, &message, NULL, CONFAB_FOREVER)) == 1) {
                if (len + message.data_len < text_cap)
                        memcpy(text + len, message.data, message.data_len);
                len += message.data_len;
                confab_release(endpoint, &message);
        }
        check_ok(r);
        if (len < text_cap)
                text[len] = '\0';
        return len;
}

static void no_child_left(void) {
        check_eq(waitpid(-1, NULL, WNOHANG), -1);
        check_eq(errno, ECHILD);
}

TEST(both_ways_through_a_filter) {
        confab_endpoint *endpoint = open_command("exec://sort -r");
        char text[64];

        send_text(endpoint, "a\nc\nb\n");
        check_ok(confab_shutdown(endpoint, CONFAB_SEND, CONFAB_FOREVER));
        check_eq(receive_all(endpoint, text, sizeof(text)), 6);
        check_str(text, "c\nb\na\n");
        check_eq(confab_send(endpoint,
                             &(struct confab_message){
                                     .size = sizeof(struct confab_message), .data = "x", .data_len = 1},
                             CONFAB_NOW),
                 -EPIPE);
        confab_close(endpoint);
        no_child_left();
        check_eq(n_events, 1);
        check_eq(events[0].kind, CONFAB_EVENT_CHILD_ENDED);
        check_eq(events[0].value, 0);
}

TEST(status_is_told_once) {
        char text[8];
        confab_endpoint *endpoint = open_command("exec://exit 3");

        check_eq(receive_all(endpoint, text, sizeof(text)), 0);
        usleep(50000);
        check_eq(receive_all(endpoint, text, sizeof(text)), 0);
        check_eq(n_events, 1);
        check_eq(events[0].value, 3 << 8);
        confab_close(endpoint);
        check_eq(n_events, 1);
        no_child_left();
}

TEST(directions) {
        struct confab_properties properties = {.size = sizeof(properties)};
        confab_endpoint *endpoint = open_command("exec://cat > got?direction=send");
        char text[16] = "";
        int fd;

        check_ok(confab_endpoint_properties(&properties, endpoint));
        check_eq(properties.direction, CONFAB_DIRECTION_SIMPLEX);
        send_text(endpoint, "to a file");
        check_eq(confab_receive(endpoint, &(struct confab_message){.size = sizeof(struct confab_message)},
                                NULL, CONFAB_NOW),
                 -EOPNOTSUPP);
        confab_close(endpoint);
        fd = open("got", O_RDONLY);
        check_eq(read(fd, text, sizeof(text)), 9);
        check_mem(text, "to a file", 9);
        close(fd);

        endpoint = open_command("exec://printf out%25s put?direction=receive");
        check_eq(receive_all(endpoint, text, sizeof(text)), 6);
        check_str(text, "output");
        confab_close(endpoint);
        no_child_left();
}

TEST(child_gone_is_an_error) {
        confab_endpoint *endpoint = open_command("exec://exec true");
        struct confab_message message = confab_message_of("x", 1);
        int64_t n;

        while ((n = confab_send(endpoint, &message, CONFAB_FOREVER)) == 1)
                usleep(1000);
        check_eq(n, -EPIPE);
        confab_close(endpoint);
        no_child_left();
        check_eq(n_events, 1);
}

TEST(child_has_clean_state) {
        int extra = open("/dev/null", O_RDONLY); /* without close-on-exec, on purpose */
        char text[256];
        confab_endpoint *endpoint, *other = open_command("exec://cat");

        signal(SIGPIPE, SIG_IGN);
        endpoint = open_command("exec://ls /proc/self/fd | tr '\\n' ' '");
        receive_all(endpoint, text, sizeof(text));
        check_str(text, "0 1 2 3 ");
        confab_close(endpoint);
        /* `yes` ends by SIGPIPE: with it ignored it would write an error and go on to exit 1. */
        endpoint = open_command("exec://{ yes; echo $%3F >status; } | head -n 1");
        check_eq(receive_all(endpoint, text, sizeof(text)), 2);
        check_str(text, "y\n");
        confab_close(endpoint);
        confab_close(other);
        close(extra);
        no_child_left();
}

/* The child's own ends are blocking, ours are not: it must never see EAGAIN. */
TEST(child_sees_blocking_descriptors) {
        confab_endpoint *endpoint =
                open_command("exec://grep -h flags /proc/self/fdinfo/0 /proc/self/fdinfo/1");
        char text[128], *second;

        receive_all(endpoint, text, sizeof(text));
        check_eq(strtoul(text + 6, &second, 8) & O_NONBLOCK, 0);
        check_eq(strtoul(strchr(second, ':') + 1, NULL, 8) & O_NONBLOCK, 0);
        confab_close(endpoint);
}

TEST_TIMEOUT(megabytes_both_ways, 30) {
        enum { LEN = 8 << 20 };
        confab_endpoint *endpoint = open_command("exec://cat");
        unsigned char *data = malloc(LEN), *back = malloc(LEN);
        size_t sent = 0, got = 0;

        for (size_t i = 0; i < LEN; i++)
                data[i] = (unsigned char)(i * 2654435761u >> 24);
        while (got < LEN) {
                struct confab_interest interest = {endpoint, sent < LEN ? CONFAB_BOTH : CONFAB_RECEIVE, 0};

                check_ok(confab_wait(&interest, 1, CONFAB_FOREVER));
                if (interest.ready & CONFAB_SEND) {
                        struct confab_message message = confab_message_of(data + sent, LEN - sent);
                        int64_t n = confab_send(endpoint, &message, confab_after(1));

                        if (n > 0)
                                sent += (size_t)n;
                        if (sent == LEN)
                                check_ok(confab_shutdown(endpoint, CONFAB_SEND, CONFAB_FOREVER));
                }
                if (interest.ready & CONFAB_RECEIVE) {
                        struct confab_message message = confab_message_of(NULL, 0);

                        check_eq(confab_receive(endpoint, &message, NULL, CONFAB_NOW), 1);
                        memcpy(back + got, message.data, message.data_len);
                        got += message.data_len;
                        confab_release(endpoint, &message);
                }
        }
        check(memcmp(data, back, LEN) == 0);
        confab_close(endpoint);
        free(data);
        free(back);
}

TEST(framed_lines) {
        confab_endpoint *endpoint = open_command("exec://while read l; do echo \"<$l>\"; done?frame=line");
        struct confab_message message = confab_message_of(NULL, 0);

        send_text(endpoint, "one");
        check_eq(confab_receive(endpoint, &message, NULL, CONFAB_FOREVER), 1);
        check_eq(message.data_len, 5);
        check_mem(message.data, "<one>", 5);
        confab_release(endpoint, &message);
        confab_close(endpoint);
}

TEST(capacity_is_set_and_seen) {
        struct confab_properties properties = {.size = sizeof(properties)};
        confab_endpoint *endpoint = open_command("exec://cat?capacity=131072");
        char text[512];

        check_ok(confab_endpoint_properties(&properties, endpoint));
        check_eq(properties.capacity, 131072);
        confab_close(endpoint);
        check(confab_open(&endpoint, "exec://cat?capacity=4294967296", NULL, CONFAB_FOREVER) < 0);
        confab_explain(text, sizeof(text));
        check(strstr(text, "capacity=4294967296") != NULL);
        no_child_left();
}

TEST(stubborn_child_is_told_then_killed) {
        int64_t began_ns;
        struct confab_message message = confab_message_of(NULL, 0);
        confab_endpoint *endpoint = open_command("exec://exec sleep 100?grace=50ms");

        confab_close(endpoint);
        check_eq(n_events, 2);
        check_eq(events[0].kind, CONFAB_EVENT_CHILD_KILLED);
        check(events[0].value > 0);
        check_eq(events[1].kind, CONFAB_EVENT_CHILD_ENDED);
        check_eq(events[1].value, SIGTERM);
        no_child_left();

        n_events = 0;
        began_ns = confab_now();
        endpoint = open_command("exec://trap '' TERM; echo ready; exec sleep 100?grace=0");
        check_eq(confab_receive(endpoint, &message, NULL, CONFAB_FOREVER), 1); /* the trap is set */
        confab_release(endpoint, &message);
        confab_close(endpoint);
        check(elapsed_ms(began_ns) >= 1000);
        check_eq(events[1].value, SIGKILL);
        no_child_left();
}

/* After a fork only the process that started the child waits for it. */
TEST(closing_in_a_forked_process_leaves_the_child) {
        confab_endpoint *endpoint = open_command("exec://cat");
        char text[16];
        int status;
        pid_t pid = fork();

        if (pid == 0) {
                confab_close(endpoint);
                _exit(n_events == 0 ? 0 : 1);
        }
        check_eq(waitpid(pid, &status, 0), pid);
        check_eq(status, 0);
        send_text(endpoint, "still there");
        check_ok(confab_shutdown(endpoint, CONFAB_SEND, CONFAB_FOREVER));
        receive_all(endpoint, text, sizeof(text));
        check_str(text, "still there");
        confab_close(endpoint);
        no_child_left();
}

static void signalled(int number) {
        (void)number;
}

TEST(signals_do_not_end_a_close) {
        struct sigaction action = {.sa_handler = signalled};
        confab_endpoint *endpoint = open_command("exec://sleep 0.3; exit 5");
        pid_t me = getpid(), pid;

        sigaction(SIGUSR1, &action, NULL);
        pid = fork();
        if (pid == 0) {
                confab_close(endpoint);
                for (int i = 0; i < 20; i++) {
                        kill(me, SIGUSR1);
                        usleep(10000);
                }
                _exit(0);
        }
        confab_close(endpoint);
        check_eq(events[0].value, 5 << 8);
        ended_well(pid); /* it still sends signals */
}

TEST(bad_addresses) {
        confab_endpoint *endpoint = NULL;
        char text[512];

        check_eq(confab_open(&endpoint, "exec://", NULL, CONFAB_NOW), -EINVAL);
        check_eq(confab_open(&endpoint, "exec:// %20", NULL, CONFAB_NOW), -EINVAL);
        check_eq(confab_open(&endpoint, "exec://ls?mode=0600", NULL, CONFAB_NOW), -EOPNOTSUPP);
        check_eq(confab_listen(&endpoint, "exec://ls", NULL, CONFAB_NOW), -EOPNOTSUPP);
        confab_explain(text, sizeof(text));
        check(text[0] != '\0');
}

/* A shell that cannot be started: named, with the reason and the remedy. */
TEST(failure_to_start_names_the_shell) {
        confab_endpoint *endpoint = NULL;
        char *large = malloc(200000), text[1024];
        int r;

        memset(large, 'x', 199999);
        large[199999] = '\0';
        setenv("LARGE", large, 1);
        r = confab_open(&endpoint, "exec://true", NULL, CONFAB_FOREVER);
        if (r >= 0) {
                confab_close(endpoint);
                skip("clone(CLONE_VFORK) is emulated by fork here");
        }
        check_eq(r, -E2BIG);
        confab_explain(text, sizeof(text));
        check(strstr(text, "/bin/sh") != NULL);
        check(strstr(text, "environment") != NULL);
        no_child_left();
        free(large);
}

/* Half-close takes two descriptors for a moment: without them it says so, and can be tried again. */
TEST(half_close_without_descriptors) {
        confab_endpoint *endpoint = open_command("exec://cat");
        struct rlimit before, now;
        char text[16];

        check_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
        now = before;
        now.rlim_cur = 0;
        check_eq(setrlimit(RLIMIT_NOFILE, &now), 0);
        check_eq(confab_shutdown(endpoint, CONFAB_SEND, CONFAB_NOW), -EMFILE);
        check_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
        send_text(endpoint, "still open");
        check_ok(confab_shutdown(endpoint, CONFAB_SEND, CONFAB_NOW));
        receive_all(endpoint, text, sizeof(text));
        check_str(text, "still open");
        confab_close(endpoint);
        no_child_left();
}
