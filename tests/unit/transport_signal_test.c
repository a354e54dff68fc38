/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* signal:// - what the conformance suite does not see: names, standard signals, senders, order, threads, fork, 100,000 of them. */
#include "emulated.h"
#include "harness.h"

#include <confab/confab.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const int64_t MS = 1000000, S = 1000000000;

static void need_values(void) {
        if (emulator_sends_no_values())
                skip(emulator_sends_no_values());
}

static void explained(const char *word) {
        char text[800];

        confab_explain(text, sizeof(text));
        if (!strstr(text, word))
                check_str(text, word);
}

static confab_endpoint *listening(const char *address) {
        confab_endpoint *endpoint;

        check_ok(confab_listen(&endpoint, address, NULL, CONFAB_NOW));
        return endpoint;
}

static confab_endpoint *opened(const char *address) {
        confab_endpoint *endpoint;

        check_ok(confab_open(&endpoint, address, NULL, CONFAB_NOW));
        return endpoint;
}

/* The next message, as what it says and as its text. */
static struct confab_signal_received next(confab_endpoint *endpoint, char text[16]) {
        struct confab_signal_received received = {.size = sizeof(received)};
        struct confab_message message = confab_message_of(NULL, 0);

        check_eq(check_ok(confab_receive(endpoint, &message, NULL, confab_after(10 * S))), 1);
        check_ok(confab_signal_read(&received, &message));
        check(message.data_len < 16);
        if (text) {
                memcpy(text, message.data, message.data_len);
                text[message.data_len] = '\0';
        }
        confab_release(endpoint, &message);
        return received;
}

static void say(confab_endpoint *endpoint, const char *name, const char *text) {
        struct confab_message message = confab_message_of(text, strlen(text));

        message.type = name ? confab_signal_number(name) : 0;
        check_eq(check_ok(confab_send(endpoint, &message, confab_after(10 * S))), strlen(text));
}

static int nothing_comes(confab_endpoint *endpoint) {
        struct confab_message message = confab_message_of(NULL, 0);

        return confab_receive(endpoint, &message, NULL, CONFAB_NOW) == -EAGAIN;
}

/* --- names --- */

TEST(a_listener_says_where_to_send) {
        confab_endpoint *endpoint = listening("signal://self?signal=usr2,10,RTMIN+3");
        char address[64];

        snprintf(address, sizeof(address), "signal://%d?signal=USR2,USR1,RTMIN+3", (int)getpid());
        check_str(confab_address(endpoint), address);
        confab_close(endpoint);
        snprintf(address, sizeof(address), "signal://%d?signal=USR1", (int)getpid());
        confab_close(listening(address)); /* by its own number */
}

TEST(wrong_addresses_are_refused_with_a_reason) {
        static const struct {
                const char *address, *word;
                bool listen;
        } cases[] = {
                {"signal://self?signal=NONE", "list of signals", true},
                {"signal://self?signal=USR1,,USR2", "list of signals", true},
                {"signal://self?signal=0", "list of signals", true},
                {"signal://self?signal=32", "list of signals", true},
                {"signal://self?signal=KILL", "no process can catch", true},
                {"signal://self?signal=USR1,SEGV", "confab_signal_handle", true},
                {"signal://self", "which signals", true},
                {"signal://1?signal=USR1", "its own signals only", true},
                {"signal://0?signal=USR1", "every process", false},
                {"signal://-1?signal=USR1", "every process", false},
                {"signal://", "signal://1234", false},
                {"signal://12x", "signal://1234", false},
                {"signal://99999999999", "signal://1234", false},
                {"signal://self?mode=0600", "mode", false},
        };
        confab_endpoint *endpoint = NULL;

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                check((cases[i].listen ? confab_listen : confab_open)(&endpoint, cases[i].address, NULL,
                                                                      CONFAB_NOW) < 0);
                explained(cases[i].word);
        }
        check_eq(confab_open(&endpoint, "signal://2147483647?signal=USR1", NULL, CONFAB_NOW), -ENOENT);
        explained("no process 2147483647");
        check_eq(confab_open(&endpoint, "signal://-2147483647?signal=USR1", NULL, CONFAB_NOW), -ENOENT);
        explained("no process group 2147483647");
}

TEST(one_endpoint_takes_a_signal) {
        confab_endpoint *first = listening("signal://self?signal=USR1,RTMIN+1"), *second;

        check_eq(confab_listen(&second, "signal://self?signal=USR2,USR1", NULL, CONFAB_NOW), -EADDRINUSE);
        explained("another endpoint");
        second = listening("signal://self?signal=USR2"); /* the refusal left nothing behind */
        confab_close(first);
        first = listening("signal://self?signal=USR1");
        confab_close(first);
        confab_close(second);
}

/* --- messages --- */

TEST(a_value_and_who_sent_it) {
        confab_endpoint *receiver = listening("signal://self?signal=RTMIN+1,USR1"),
                        *sender = opened(confab_address(receiver));
        struct confab_signal_received received;
        char text[16];

        need_values();
        say(sender, NULL, "-2147483648");
        received = next(receiver, text);
        check_str(text, "-2147483648");
        check_eq(received.number, SIGRTMIN + 1);
        check_eq(received.value, INT32_MIN);
        check_eq(received.pid, getpid());
        check_eq(received.uid, getuid());
        check(received.flags & CONFAB_RECEIVED_CLAIMED); /* with a value all of it is the sender's word */
        say(sender, "USR1", "");
        received = next(receiver, text);
        check_str(text, "");
        check_eq(received.number, SIGUSR1);
        check_eq(received.flags, 0); /* the kernel says who */
        check_eq(received.pid, getpid());
        kill(getpid(), SIGUSR1); /* those of programs that know nothing of us */
        check_eq(next(receiver, text).flags, 0);
        sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 9});
        check_eq(next(receiver, text).value, 9);
        check(nothing_comes(receiver));
        confab_close(sender);
        confab_close(receiver);
}

TEST(what_is_no_number_is_refused) {
        static const char *const wrong[] = {"01", "+1", "x", "1 ", "2147483648", "1.0", "-"};
        confab_endpoint *receiver = listening("signal://self?signal=RTMIN+1"),
                        *sender = opened("signal://self");
        struct confab_message message = confab_message_of("1", 1);

        check_eq(confab_send(sender, &message, CONFAB_NOW), -EINVAL);
        explained("which signal?");
        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
                message = confab_message_of(wrong[i], strlen(wrong[i]));
                message.type = SIGRTMIN + 1;
                check_eq(confab_send(sender, &message, CONFAB_NOW), -EINVAL);
                explained("one number");
        }
        message = confab_message_of("123456789012", 12);
        message.type = SIGRTMIN + 1;
        check_eq(confab_send(sender, &message, CONFAB_NOW), -EMSGSIZE);
        message = confab_message_of("1", 1);
        message.type = 1000;
        check_eq(confab_send(sender, &message, CONFAB_NOW), -EINVAL);
        message.type = 32;
        check_eq(confab_send(sender, &message, CONFAB_NOW), -EINVAL);
        check(nothing_comes(receiver));
        confab_close(sender);
        confab_close(receiver);
}

/* Standard signals merge while one waits, and their properties say so. */
TEST(standard_signals_merge) {
        confab_endpoint *receiver = listening("signal://self?signal=USR1"),
                        *sender = opened(confab_address(receiver));
        struct confab_properties properties = {.size = sizeof(properties)};

        check_ok(confab_endpoint_properties(&properties, sender));
        check_eq(properties.loss, CONFAB_LOSS_POSSIBLE);
        check_eq(properties.when_full, CONFAB_FULL_DROP);
        check_eq(properties.empty, CONFAB_YES);
        for (int i = 0; i < 3; i++)
                say(sender, NULL, i ? "2" : "1");
        check_eq(next(receiver, NULL).value, 1); /* the first one's value */
        check(nothing_comes(receiver));
        confab_close(sender);
        confab_close(receiver);
        check_ok(confab_properties(&properties, "signal://-77?signal=RTMIN+1"));
        check_eq(properties.loss, CONFAB_LOSS_POSSIBLE);
}

/* The lowest number first, those of one number in the order they were sent; a filter chooses. */
TEST(order_and_filters) {
        confab_endpoint *receiver = listening("signal://self?signal=RTMIN+3,RTMIN+1,USR1"),
                        *sender = opened(confab_address(receiver));
        struct confab_filter filter = {.size = sizeof(filter), .type = SIGRTMIN + 3};
        struct confab_message message = confab_message_of(NULL, 0);
        char text[16];

        need_values();
        say(sender, "RTMIN+3", "1");
        say(sender, "RTMIN+1", "2");
        say(sender, "RTMIN+3", "3");
        say(sender, "USR1", "4");
        say(sender, "RTMIN+1", "5");
        check_eq(check_ok(confab_receive(receiver, &message, &filter, CONFAB_NOW)), 1);
        check(message.data_len == 1 && *(const char *)message.data == '1');
        confab_release(receiver, &message);
        for (const char *expected = "4253"; *expected; expected++) {
                next(receiver, text);
                check_eq(text[0], *expected);
        }
        /* What the filter leaves out does not end its wait, nor is it lost. */
        say(sender, "RTMIN+1", "6");
        check_eq(confab_receive(receiver, &message, &filter, confab_after(20 * MS)), -ETIMEDOUT);
        next(receiver, text);
        check_str(text, "6");
        filter.type = 2; /* one that is not taken */
        check_eq(confab_receive(receiver, &message, &filter, CONFAB_NOW), -EAGAIN);
        confab_close(sender);
        confab_close(receiver);
}

static void *send_later(void *data) {
        usleep(20000);
        say(data, "RTMIN+1", "1");
        usleep(20000);
        say(data, "RTMIN+2", "2");
        return NULL;
}

TEST(a_filtered_wait_ends_with_its_own) {
        confab_endpoint *receiver = listening("signal://self?signal=RTMIN+1,RTMIN+2"),
                        *sender = opened(confab_address(receiver));
        struct confab_filter filter = {.size = sizeof(filter), .type = SIGRTMIN + 2};
        struct confab_message message = confab_message_of(NULL, 0);
        pthread_t thread;
        char text[16];

        need_values();
        check_eq(pthread_create(&thread, NULL, send_later, sender), 0);
        check_eq(check_ok(confab_receive(receiver, &message, &filter, CONFAB_FOREVER)), 1);
        check_eq(message.type, SIGRTMIN + 2);
        confab_release(receiver, &message);
        next(receiver, text);
        check_str(text, "1");
        pthread_join(thread, NULL);
        confab_close(sender);
        confab_close(receiver);
}

/* Beside another endpoint, in one wait; and in a loop. */
static int one_came(confab_source *source, uint32_t events, void *data) {
        (void)source;
        check_eq(events, CONFAB_RECEIVE);
        check_eq(next(data, NULL).value, 5);
        return -ECANCELED;
}

TEST(beside_other_endpoints) {
        confab_endpoint *receiver = listening("signal://self?signal=RTMIN+1"),
                        *sender = opened(confab_address(receiver)), *pipe[2];
        struct confab_interest interests[2];
        confab_loop *loop;

        need_values();
        check_ok(confab_pair(pipe, "pipe://", NULL));
        interests[0] = (struct confab_interest){receiver, CONFAB_RECEIVE, 0};
        interests[1] = (struct confab_interest){pipe[0], CONFAB_RECEIVE, 0};
        check_eq(confab_wait(interests, 2, CONFAB_NOW), -EAGAIN);
        say(sender, NULL, "5");
        check_eq(confab_wait(interests, 2, confab_after(10 * S)), 1);
        check_eq(interests[0].ready, CONFAB_RECEIVE);
        check_ok(confab_loop_new(&loop));
        check_ok(confab_loop_add_endpoint(NULL, loop, receiver, CONFAB_RECEIVE, one_came, receiver));
        check_eq(confab_loop_run(loop), -ECANCELED);
        confab_loop_free(loop);
        for (int i = 0; i < 2; i++)
                confab_close(pipe[i]);
        confab_close(sender);
        confab_close(receiver);
}

TEST(a_child_has_ended) {
        confab_endpoint *receiver = listening("signal://self?signal=CHLD");
        struct confab_signal_received received;
        char text[16];
        pid_t child = fork();

        if (child == 0)
                _exit(5);
        received = next(receiver, text);
        check_eq(received.flags, CONFAB_RECEIVED_STATUS);
        check_eq(received.pid, child);
        check_eq(WEXITSTATUS(received.status), 5);
        check_eq(atoi(text), 5 << 8);
        check_eq(waitpid(child, NULL, 0), child);
        kill(getpid(), SIGCHLD); /* one that tells of no child */
        check_eq(next(receiver, text).flags, 0);
        check_str(text, "");
        confab_close(receiver);
}

TEST(alarms_are_messages_too) {
        confab_endpoint *receiver = listening("signal://self?signal=ALRM");
        struct confab_signal_received received;
        confab_alarm *alarm_due;

        check_ok(confab_alarm_new(&alarm_due, SIGALRM, 12, confab_after(5 * MS), 0));
        received = next(receiver, NULL);
        check_eq(received.value, 12);
        check_eq(received.pid, 0);
        confab_alarm_free(alarm_due);
        alarm(1); /* the old way: no value */
        received = next(receiver, NULL);
        check_eq(received.flags, 0);
        confab_close(receiver);
}

/* --- groups, the end --- */

TEST(to_a_group) {
        confab_endpoint *sender;
        struct confab_message message = confab_message_of("1", 1);
        pid_t members[2];
        char address[64];

        for (int i = 0; i < 2; i++) {
                members[i] = fork();
                if (members[i] == 0)
                        for (;;)
                                pause();
                check_eq(setpgid(members[i], members[0]), 0);
        }
        snprintf(address, sizeof(address), "signal://-%d?signal=TERM", (int)members[0]);
        sender = opened(address);
        check_eq(confab_send(sender, &message, CONFAB_NOW), -EOPNOTSUPP);
        explained("a value to a group");
        say(sender, NULL, "");
        for (int i = 0; i < 2; i++) {
                int status;

                check_eq(waitpid(members[i], &status, 0), members[i]);
                check_eq(WTERMSIG(status), SIGTERM);
        }
        message.data_len = 0;
        check_eq(confab_send(sender, &message, CONFAB_NOW), -EPIPE);
        explained("no process group");
        confab_close(sender);
}

TEST(a_process_that_has_ended) {
        struct confab_message message = confab_message_of("", 0);
        char address[64];
        confab_endpoint *sender;
        pid_t child = fork();

        if (child == 0)
                for (;;)
                        pause();
        snprintf(address, sizeof(address), "signal://%d?signal=KILL", (int)child);
        sender = opened(address);
        say(sender, NULL, "");
        check_eq(waitpid(child, NULL, 0), child);
        check_eq(confab_send(sender, &message, CONFAB_NOW), -EPIPE);
        explained("no process");
        confab_close(sender);
}

/* What was not received goes with the endpoint and ends nobody; what was blocked before stays as it was. */
TEST(closing_leaves_the_mask_as_it_was) {
        confab_endpoint *receiver, *sender;
        sigset_t mask, pending;

        need_values();
        sigemptyset(&mask);
        sigaddset(&mask, SIGUSR2);
        check_eq(sigprocmask(SIG_BLOCK, &mask, NULL), 0);
        receiver = listening("signal://self?signal=RTMIN+1,USR2");
        sender = opened(confab_address(receiver));
        for (int i = 0; i < 50; i++)
                say(sender, "RTMIN+1", "1");
        say(sender, "USR2", "1");
        confab_close(receiver);
        check_eq(sigprocmask(SIG_BLOCK, NULL, &mask), 0);
        check(!sigismember(&mask, SIGRTMIN + 1) && sigismember(&mask, SIGUSR2));
        sigpending(&pending);
        check(sigismember(&pending, SIGUSR2));
        confab_close(sender);
}

/* --- fork --- */

TEST(a_child_takes_its_own_only_after_adopting) {
        confab_endpoint *receiver = listening("signal://self?signal=RTMIN+1"),
                        *sender = opened(confab_address(receiver)); /* the parent's */
        struct confab_message message = confab_message_of(NULL, 0);
        int status;
        pid_t child;

        need_values();
        child = fork();
        if (child == 0) {
                char address[64];
                confab_endpoint *own;

                check_eq(confab_receive(receiver, &message, NULL, CONFAB_NOW), -EOWNERDEAD);
                explained("confab_adopt");
                say(sender, NULL, "7"); /* still goes to the parent */
                own = listening("signal://self?signal=RTMIN+1");
                check_eq(confab_adopt(receiver), -EADDRINUSE);
                confab_close(own);
                check_ok(confab_adopt(receiver));
                snprintf(address, sizeof(address), "signal://%d?signal=RTMIN+1", (int)getpid());
                check_str(confab_address(receiver), address);
                own = opened(address);
                say(own, NULL, "8");
                check_eq(next(receiver, NULL).value, 8);
                confab_close(own);
                confab_close(sender);
                confab_close(receiver);
                _exit(0);
        }
        check_eq(next(receiver, NULL).value, 7);
        check_eq(waitpid(child, &status, 0), child);
        check_eq(status, 0);
        check(nothing_comes(receiver));
        confab_close(sender);
        confab_close(receiver);
}

/* --- many --- */

enum { N_MANY = 100000, ROOM = 400 };

/* Through a room of 400, so that the sender waits all the time: none lost, none twice, in order. */
TEST_TIMEOUT(a_hundred_thousand_arrive_once_each, 120) {
        confab_endpoint *receiver = listening("signal://self?signal=RTMIN+1");
        struct confab_message messages[32];
        struct rlimit limit;
        int status, expected = 0;
        pid_t child;

        need_values();
        check_eq(getrlimit(RLIMIT_SIGPENDING, &limit), 0);
        if (limit.rlim_cur > ROOM)
                limit.rlim_cur = ROOM;
        check_eq(setrlimit(RLIMIT_SIGPENDING, &limit), 0);
        child = fork();
        if (child == 0) {
                confab_endpoint *sender = opened(confab_address(receiver));
                char text[16];

                for (int i = 0; i < N_MANY; i++) {
                        snprintf(text, sizeof(text), "%d", i);
                        say(sender, NULL, text);
                }
                confab_close(sender);
                _exit(0);
        }
        for (int i = 0; i < 32; i++)
                messages[i] = confab_message_of(NULL, 0);
        while (expected < N_MANY) {
                int n = (int)check_ok(
                        confab_receive_many(receiver, messages, 32, NULL, confab_after(60 * S)));

                for (int i = 0; i < n; i++) {
                        struct confab_signal_received received = {.size = sizeof(received)};

                        check_ok(confab_signal_read(&received, &messages[i]));
                        check_eq(received.value, expected++);
                        check_eq(received.pid, child);
                        confab_release(receiver, &messages[i]);
                }
        }
        check_eq(waitpid(child, &status, 0), child);
        check_eq(status, 0);
        check(nothing_comes(receiver));
        confab_close(receiver);
}

TEST(no_room_is_said_with_its_limit) {
        confab_endpoint *receiver = listening("signal://self?signal=RTMIN+1"),
                        *sender = opened(confab_address(receiver));
        struct confab_message message = confab_message_of("1", 1);
        struct rlimit limit;
        int64_t r;

        need_values();
        check_eq(getrlimit(RLIMIT_SIGPENDING, &limit), 0);
        limit.rlim_cur = 50;
        check_eq(setrlimit(RLIMIT_SIGPENDING, &limit), 0);
        while ((r = confab_send(sender, &message, confab_after(20 * MS))) == 1)
                ;
        check_eq(r, -ETIMEDOUT);
        explained("RLIMIT_SIGPENDING");
        explained("at most 50");
        confab_close(sender);
        confab_close(receiver);
}
