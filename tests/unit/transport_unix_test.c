/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* unix://: what the conformance suite does not see - answers, batches, credentials, waiting, ends. Names and descriptors have files of their own. */
#include "conversation.h"
#include "harness.h"

#include <confab/confab.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* --- exchange --- */

TEST(every_type_talks_both_ways) {
        static const char *const addresses[] = {"unix://s", "unix://s?type=seqpacket",
                                                "unix://@confab-unit-talk",
                                                "unix://@confab-unit-talk?type=seqpacket"};

        for (size_t i = 0; i < 4; i++) {
                confab_endpoint *listener = listen_on(addresses[i]), *a = open_to(addresses[i]),
                                *b = accept_of(listener);

                send_text(a, "question");
                receive_text(b, "question");
                send_text(b, "answer");
                receive_text(a, "answer");
                confab_close(a);
                confab_close(b);
                confab_close(listener);
                check(folder_is_empty());
        }
}

TEST(datagrams_are_answered_by_peer) {
        confab_endpoint *listener = listen_on("unix://d?type=datagram"),
                        *one = open_to("unix://d?type=datagram"),
                        *two = open_to("unix://d?type=datagram&from=two");
        struct confab_message got = confab_message_of(NULL, 0), answer = confab_message_of("hello two", 9);
        struct confab_peer kept;
        char text[200];

        send_text(two, "from two");
        send_text(one, "from one");
        check_eq(check_ok(confab_receive(listener, &got, NULL, soon())), 1);
        check_mem(got.data, "from two", 8);
        check(got.peer && got.peer->flags == (CONFAB_PEER_ADDRESS | CONFAB_PEER_CREDENTIALS));
        check_eq(got.peer->pid, getpid());
        check_eq(got.peer->uid, getuid());
        check_eq(confab_peer_address(got.peer, text, sizeof(text)), strlen("unix://two?type=datagram"));
        check_str(text, "unix://two?type=datagram");
        kept = *got.peer;
        confab_release(listener, &got);
        answer.peer = &kept;
        check_eq(check_ok(confab_send(listener, &answer, soon())), 9);
        receive_text(two, "hello two");

        got = confab_message_of(NULL, 0);
        check_eq(check_ok(confab_receive(listener, &got, NULL, soon())), 1);
        check(confab_peer_address(got.peer, text, sizeof(text)) > 0);
        check(strncmp(text, "unix://@", 8) == 0); /* autobind */
        answer.peer = got.peer;
        check_eq(check_ok(confab_send(listener, &answer, soon())), 9);
        receive_text(one, "hello two");
        confab_release(listener, &got);

        answer.peer = NULL;
        check_eq(confab_send(listener, &answer, soon()), -EDESTADDRREQ);
        check_says("message.peer");
        kept.address[0] = 99;
        answer.peer = &kept;
        check_eq(confab_send(listener, &answer, soon()), -EINVAL);
        confab_close(one);
        confab_close(two);
        confab_close(listener);
        check(folder_is_empty()); /* from= is removed like the listener's */
}

/* Answers until there is no room, then waits for some: asleep, not asking without end. How many fitted. */
static int fill_and_wait(confab_endpoint *listener, const struct confab_peer *to) {
        struct confab_message answer = confab_message_of("x", 1);
        struct timespec cpu[2];
        int64_t r, before;
        int n = 0;

        answer.peer = to;
        while ((r = confab_send(listener, &answer, CONFAB_NOW)) == 1)
                check(++n < 100000);
        check_eq(r, -EAGAIN);
        before = confab_now();
        check(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu[0]) == 0);
        check_eq(confab_send(listener, &answer, confab_after(100000000)), -ETIMEDOUT);
        check(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu[1]) == 0);
        check(confab_now() - before >= 100000000);
        check((cpu[1].tv_sec - cpu[0].tv_sec) * 1000000000 + cpu[1].tv_nsec - cpu[0].tv_nsec < 60000000);
        return n;
}

TEST(a_full_receiver_is_waited_for) {
        confab_endpoint *listener = listen_on("unix://full?type=datagram"),
                        *asker = open_to("unix://full?type=datagram");
        struct confab_message got = confab_message_of(NULL, 0), answer = confab_message_of("x", 1);

        send_text(asker, "?");
        check_ok(confab_receive(listener, &got, NULL, soon()));
        check(fill_and_wait(listener, got.peer) > 50); /* as much as our send buffer holds */
        receive_text(asker, "x");
        answer.peer = got.peer;
        check_eq(check_ok(confab_send(listener, &answer, soon())), 1);
        confab_release(listener, &got);
        confab_close(asker);
        confab_close(listener);
}

/* One who is not connected, as programs with sendto are: the kernel polls writable all the time. */
TEST(a_full_stranger_is_waited_for) {
        confab_endpoint *listener = listen_on("unix://full?type=datagram");
        struct sockaddr_un own = {.sun_family = AF_UNIX, .sun_path = "stranger"},
                           to = {.sun_family = AF_UNIX, .sun_path = "full"};
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        struct confab_message got = confab_message_of(NULL, 0), answer = confab_message_of("x", 1);
        char bytes[8];

        check(bind(fd, (struct sockaddr *)&own, sizeof(own)) == 0);
        check(sendto(fd, "?", 1, 0, (struct sockaddr *)&to, sizeof(to)) == 1);
        check_ok(confab_receive(listener, &got, NULL, soon()));
        check(fill_and_wait(listener, got.peer) < 5000);
        check(recv(fd, bytes, sizeof(bytes), 0) == 1);
        answer.peer = got.peer;
        check_eq(check_ok(confab_send(listener, &answer, soon())), 1);
        confab_release(listener, &got);
        close(fd);
        check(unlink("stranger") == 0);
        confab_close(listener);
}

TEST(batches_of_datagrams) {
        static const char *const addresses[] = {"unix://?type=seqpacket", "unix://?type=datagram"};

        for (int t = 0; t < 2; t++) {
                confab_endpoint *ends[2];
                struct confab_message messages[40], got[40];
                char bytes[40];
                int n = 0, came = 0;

                check_ok(confab_pair(ends, addresses[t], NULL));
                for (int i = 0; i < 40; i++) {
                        bytes[i] = (char)i;
                        messages[i] = confab_message_of(&bytes[i], i % 5 ? 1 : 0); /* empty ones between */
                        got[i] = confab_message_of(NULL, 0);
                }
                n = (int)check_ok(confab_send_many(ends[1], messages, 40, soon()));
                check_eq(n, 32); /* one sendmmsg */
                n += (int)check_ok(confab_send_many(ends[1], messages + n, 40 - (unsigned)n, soon()));
                check_eq(n, 40);
                while (came < 40)
                        came += (int)check_ok(
                                confab_receive_many(ends[0], got + came, 40 - (unsigned)came, NULL, soon()));
                for (int i = 0; i < 40; i++) {
                        check_eq(got[i].data_len, i % 5 ? 1 : 0);
                        if (i % 5)
                                check_eq(*(const char *)got[i].data, i);
                        check_eq(got[i].peer->pid, getpid());
                        confab_release(ends[0], &got[i]);
                }
                if (t == 0) { /* the end, behind a message, in one batch */
                        send_text(ends[1], "last");
                        check_ok(confab_shutdown(ends[1], CONFAB_SEND, soon()));
                        check_eq(confab_receive_many(ends[0], got, 40, NULL, soon()), 1);
                        confab_release(ends[0], &got[0]);
                        got[0] = confab_message_of(NULL, 0);
                        check_eq(confab_receive_many(ends[0], got, 40, NULL, soon()), 0);
                }
                confab_close(ends[0]);
                confab_close(ends[1]);
        }
}

/* Streams gather a batch into one step, which the kernel cuts anywhere: not a byte is lost, doubled or moved. */
static unsigned char nth_byte(uint64_t n) {
        return (unsigned char)(n * 31 + n / 251);
}

static void *read_all(void *data) {
        confab_endpoint *endpoint = data;
        struct confab_message got = confab_message_of(NULL, 0);
        uint64_t at = 0;

        while (check_ok(confab_receive(endpoint, &got, NULL, soon())) == 1) {
                for (uint64_t i = 0; i < got.data_len; i++, at++)
                        check_eq(((const unsigned char *)got.data)[i], nth_byte(at));
                confab_release(endpoint, &got);
                if (at % 3 == 0)
                        usleep(200); /* so that the sender meets a full buffer */
        }
        return (void *)(uintptr_t)at;
}

TEST(batches_on_a_stream) {
        static const char *const addresses[] = {"unix://", "pipe://", "unix://?capacity=5000"};
        static unsigned char bytes[4 << 20];
        const size_t longest = 9000;
        unsigned seed = 7;

        for (uint64_t i = 0; i < sizeof(bytes); i++)
                bytes[i] = nth_byte(i);
        for (size_t t = 0; t < 3; t++) {
                confab_endpoint *ends[2];
                uint64_t at = 0;
                pthread_t thread;
                void *total;

                check_ok(confab_pair(ends, addresses[t], NULL));
                check(pthread_create(&thread, NULL, read_all, ends[0]) == 0);
                while (at < sizeof(bytes) - 100 * longest) {
                        struct confab_message messages[100];
                        uint64_t next = at;
                        int n;

                        for (int i = 0; i < 100; i++) {
                                size_t len = (size_t)rand_r(&seed) % (i % 7 ? 300 : longest);

                                messages[i] = confab_message_of(bytes + next, len);
                                next += len;
                        }
                        n = (int)check_ok(confab_send_many(ends[1], messages, 100, soon()));
                        check(n >= 1 && n <= 100);
                        for (int i = 0; i < n; i++)
                                at += messages[i].data_len;
                }
                ends[1] = confab_close(ends[1]);
                pthread_join(thread, &total);
                check_eq((uintptr_t)total, at);
                confab_close(ends[0]);
        }
}

TEST(a_batch_the_deadline_cuts) {
        confab_endpoint *ends[2];
        static char bytes[1 << 20];
        struct confab_message messages[4], got = confab_message_of(NULL, 0);
        uint64_t came = 0;
        int n;

        check_ok(confab_pair(ends, "unix://", NULL));
        for (int i = 0; i < 4; i++)
                messages[i] = confab_message_of(bytes, i ? 1 << 20 : 1000);
        n = confab_send_many(ends[1], messages, 4, confab_after(20000000));
        check_eq(n, 2); /* the second was cut: it counts, and its rest is queued */
        check_eq(confab_send_many(ends[1], messages + n, 2, confab_after(20000000)), -ETIMEDOUT);
        check_eq(confab_send_many(ends[1], messages + n, 2, CONFAB_NOW), -EAGAIN);
        while (confab_send(ends[1], NULL, CONFAB_NOW) == -EAGAIN)
                while (confab_receive(ends[0], &got, NULL, CONFAB_NOW) == 1) {
                        came += got.data_len;
                        confab_release(ends[0], &got);
                }
        while (confab_receive(ends[0], &got, NULL, CONFAB_NOW) == 1) {
                came += got.data_len;
                confab_release(ends[0], &got);
        }
        check_eq(came, 1000 + (1 << 20)); /* nothing of the third */
        close_pair(ends);
}

/* Alone before the end in its batch, it is told, and the end is after it. */
TEST(too_large_just_before_the_end) {
        confab_endpoint *listener = listen_on("unix://e?type=seqpacket&max=10"),
                        *sender = open_to("unix://e?type=seqpacket"), *receiver = accept_of(listener);
        struct confab_message got[4];

        for (int i = 0; i < 4; i++)
                got[i] = confab_message_of(NULL, 0);
        send_text(sender, "much too large");
        confab_close(sender);
        check_eq(confab_receive_many(receiver, got, 4, NULL, soon()), -EMSGSIZE);
        check_eq(confab_receive_many(receiver, got, 4, NULL, soon()), 0);
        confab_close(receiver);
        confab_close(listener);
}

TEST(too_large_in_a_batch_is_told_after_it) {
        confab_endpoint *listener = listen_on("unix://b?type=datagram&max=10"),
                        *sender = open_to("unix://b?type=datagram");
        struct confab_message got[4];
        int n;

        for (int i = 0; i < 4; i++)
                got[i] = confab_message_of(NULL, 0);
        send_text(sender, "one");
        send_text(sender, "much too large");
        send_text(sender, "three");
        n = (int)check_ok(confab_receive_many(listener, got, 4, NULL, soon()));
        check_eq(n, 2);
        check_mem(got[0].data, "one", 3);
        check_mem(got[1].data, "three", 5);
        for (int i = 0; i < 2; i++)
                confab_release(listener, &got[i]);
        check_eq(confab_receive(listener, &got[0], NULL, CONFAB_NOW), -EMSGSIZE);
        check_eq(confab_receive(listener, &got[0], NULL, CONFAB_NOW), -EAGAIN);
        send_text(sender, "again too large");
        check_eq(confab_receive(listener, &got[0], NULL, soon()), -EMSGSIZE);
        check_says("15 bytes");
        confab_close(sender);
        confab_close(listener);
}

TEST(largest_message_and_one_more) {
        confab_endpoint *ends[2];
        struct confab_properties properties = {.size = sizeof(properties)};
        struct confab_message message, got = confab_message_of(NULL, 0);
        char *bytes;

        check_ok(confab_pair(ends, "unix://?type=seqpacket&capacity=400000", NULL));
        check_ok(confab_endpoint_properties(&properties, ends[1]));
        check_eq(properties.message_max, 800000 - 32);
        bytes = calloc(1, properties.message_max + 1);
        bytes[properties.message_max - 1] = 'e';
        message = confab_message_of(bytes, properties.message_max + 1);
        check_eq(confab_send(ends[1], &message, soon()), -EMSGSIZE);
        check_says("capacity=");
        message.data_len--;
        check_eq(check_ok(confab_send(ends[1], &message, soon())), (int64_t)properties.message_max);
        check_eq(check_ok(confab_receive(ends[0], &got, NULL, soon())), 1);
        check_eq(got.data_len, properties.message_max);
        check_eq(((const char *)got.data)[got.data_len - 1], 'e');
        confab_release(ends[0], &got);
        free(bytes);
        confab_close(ends[0]);
        confab_close(ends[1]);
}

/* --- opening --- */

TEST(a_full_backlog_is_waited_for) {
        confab_endpoint *listener = listen_on("unix://s?backlog=1"), *waiting[8] = {0}, *late = NULL,
                        *accepted;
        int n = 0, r = 0;
        int64_t before;

        while (n < 8 && (r = confab_open(&waiting[n], "unix://s", NULL, CONFAB_NOW)) == 0)
                n++;
        check_eq(r, -EAGAIN);
        before = confab_now();
        check_eq(confab_open(&late, "unix://s", NULL, confab_after(50000000)), -ETIMEDOUT);
        check(confab_now() - before >= 40000000);
        accepted = accept_of(listener);
        check_ok(confab_open(&late, "unix://s", NULL, soon()));
        confab_close(accepted);
        confab_close(late);
        while (n)
                confab_close(waiting[--n]);
        confab_close(listener);
}

static void ignore(int number) {
        (void)number;
}

/* The kernel counts the time of a wait from its beginning, and after a signal it begins anew: the deadline must not. */
TEST(signals_do_not_put_off_the_deadline_of_an_open) {
        confab_endpoint *listener = listen_on("unix://s?backlog=1"), *waiting[8] = {0}, *late = NULL;
        struct itimerval often = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
        struct sigaction action = {.sa_handler = ignore};
        int n = 0;

        while (n < 8 && confab_open(&waiting[n], "unix://s", NULL, CONFAB_NOW) == 0)
                n++;
        check(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &often, NULL) == 0);
        check_eq(confab_open(&late, "unix://s", NULL, after_ms(50)), -ETIMEDOUT);
        check(setitimer(ITIMER_REAL, &never, NULL) == 0);
        while (n)
                confab_close(waiting[--n]);
        confab_close(listener);
}

TEST(peers_of_connections) {
        confab_endpoint *listener = listen_on("unix://s?type=seqpacket"),
                        *a = open_to("unix://s?type=seqpacket"), *b = accept_of(listener);
        struct confab_peer peer = {.size = sizeof(peer)};
        char text[100];

        check_ok(confab_peer(a, &peer));
        check_eq(peer.pid, getpid());
        check_eq(peer.uid, getuid());
        check(confab_peer_address(&peer, text, sizeof(text)) > 0);
        check_str(text, "unix://s?type=seqpacket");
        check_ok(confab_peer(b, &peer));
        check_eq(peer.pid, getpid());
        check_eq(confab_peer(listener, &peer), -ENOTCONN);
        confab_close(a);
        confab_close(b);
        confab_close(listener);
}

/* Who sent, not who connected: after a fork another one. */
TEST(credentials_of_each_message) {
        confab_endpoint *ends[2];
        struct confab_message got = confab_message_of(NULL, 0);
        pid_t pid;
        int status;

        check_ok(confab_pair(ends, "unix://?type=seqpacket", NULL));
        pid = fork();
        if (pid == 0) {
                send_text(ends[1], "child");
                _exit(0);
        }
        check_eq(check_ok(confab_receive(ends[0], &got, NULL, soon())), 1);
        check(got.peer && (got.peer->flags & CONFAB_PEER_CREDENTIALS));
        check_eq(got.peer->pid, pid);
        confab_release(ends[0], &got);
        check(waitpid(pid, &status, 0) == pid && status == 0);
        confab_close(ends[0]);
        confab_close(ends[1]);
}

TEST(empty_messages_and_the_end) {
        confab_endpoint *listener = listen_on("unix://s?type=seqpacket"),
                        *a = open_to("unix://s?type=seqpacket");
        struct confab_message empty = confab_message_of("", 0), got = confab_message_of(NULL, 0);
        confab_endpoint *b;

        check_eq(check_ok(confab_send(a, &empty, soon())),
                 0); /* before it is accepted: the kernel has to keep it apart, too */
        b = accept_of(listener);
        check_eq(check_ok(confab_send(a, &empty, soon())), 0);
        check_ok(confab_shutdown(a, CONFAB_SEND, soon()));
        for (int i = 0; i < 2; i++) {
                check_eq(check_ok(confab_receive(b, &got, NULL, soon())), 1);
                check_eq(got.data_len, 0);
                confab_release(b, &got);
        }
        for (int i = 0; i < 2; i++)
                check_eq(confab_receive(b, &got, NULL, soon()), 0);
        send_text(b, "the other way goes on");
        receive_text(a, "the other way goes on");
        confab_close(a);
        confab_close(b);
        confab_close(listener);
}

/* --- ends (FAULTS 10, 25, 35) --- */

TEST(peer_gone) {
        static const char *const addresses[] = {"unix://s", "unix://s?type=seqpacket",
                                                "unix://s?type=datagram"};

        for (int t = 0; t < 3; t++) {
                confab_endpoint *listener = listen_on(addresses[t]), *a = open_to(addresses[t]), *b = NULL;
                struct confab_message message = confab_message_of("x", 1);
                int64_t r;

                if (t < 2)
                        b = accept_of(listener);
                confab_close(t < 2 ? b : listener);
                r = confab_send(a, &message, soon());
                check_eq(r, t < 2 ? -EPIPE : -ECONNREFUSED);
                r = confab_send(a, &message, soon());
                check_eq(r, t < 2 ? -EPIPE : -ECONNREFUSED);
                confab_close(a);
                if (t < 2)
                        confab_close(listener);
        }
}

/* A sender that is killed in the middle: a framed receiver never gets half a message for a whole one. */
TEST(peer_vanishes_within_a_message) {
        confab_endpoint *listener = listen_on("unix://s?frame=record");
        struct confab_message got = confab_message_of(NULL, 0);
        confab_endpoint *b;
        pid_t pid = fork();
        int status;

        if (pid == 0) {
                struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "s"};
                int fd = socket(AF_UNIX, SOCK_STREAM, 0);

                check(connect(fd, (struct sockaddr *)&name, sizeof(name)) == 0);
                check(write(fd, "\x80\0\0\x05whole\x80\0\0\x09hal", 16) == 16);
                kill(getpid(), SIGKILL);
        }
        b = accept_of(listener);
        receive_text(b, "whole");
        check_eq(confab_receive(b, &got, NULL, soon()), -EPIPE);
        check(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
        confab_close(b);
        confab_close(listener);
}

TEST(accepting_without_descriptors_left) {
        struct rlimit old, few;
        confab_endpoint *listener = listen_on("unix://s"), *a = open_to("unix://s"), *b = NULL;
        int top;

        check(getrlimit(RLIMIT_NOFILE, &old) == 0);
        /* the thread's wake descriptor exists from here on */
        check_eq(confab_receive(a, &(struct confab_message){.size = sizeof(struct confab_message)}, NULL,
                                confab_after(1000000)),
                 -ETIMEDOUT);
        top = dup(0);
        close(top);
        few = (struct rlimit){(rlim_t)top, old.rlim_max};
        check(setrlimit(RLIMIT_NOFILE, &few) == 0);
        check_eq(confab_accept(&b, listener, soon()), -EMFILE);
        check_says("RLIMIT_NOFILE");
        check(setrlimit(RLIMIT_NOFILE, &old) == 0);
        check_ok(confab_accept(&b, listener, soon()));
        send_text(a, "still there");
        receive_text(b, "still there");
        confab_close(a);
        confab_close(b);
        confab_close(listener);
}
