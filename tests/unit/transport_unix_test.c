/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* unix://: what the conformance suite does not see - names, stale files, permissions, descriptors, credentials. */
#include "core/transport.h"
#include "harness.h"

#include <confab/confab.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const int64_t SOON_NS = INT64_C(2000000000);

static int64_t soon(void) {
        return confab_after(SOON_NS);
}

static void check_says(const char *words) {
        char text[512];

        confab_explain(text, sizeof(text));
        if (!strstr(text, words))
                check_str(text, words); /* shows both */
}

static confab_endpoint *listen_on(const char *address) {
        confab_endpoint *endpoint = NULL;

        check_ok(confab_listen(&endpoint, address, NULL, soon()));
        return endpoint;
}

static confab_endpoint *open_to(const char *address) {
        confab_endpoint *endpoint = NULL;

        check_ok(confab_open(&endpoint, address, NULL, soon()));
        return endpoint;
}

static confab_endpoint *accept_of(confab_endpoint *listener) {
        confab_endpoint *endpoint = NULL;

        check_ok(confab_accept(&endpoint, listener, soon()));
        return endpoint;
}

static void send_text(confab_endpoint *endpoint, const char *text) {
        struct confab_message message = confab_message_of(text, strlen(text));

        check_eq(confab_send(endpoint, &message, soon()), strlen(text));
}

static void receive_text(confab_endpoint *endpoint, const char *text) {
        struct confab_message message = confab_message_of(NULL, 0);

        check_eq(check_ok(confab_receive(endpoint, &message, NULL, soon())), 1);
        check_eq(message.data_len, strlen(text));
        check_mem(message.data, text, strlen(text));
        confab_release(endpoint, &message);
}

static mode_t mode_of(const char *path) {
        struct stat st;

        check(lstat(path, &st) == 0);
        check(S_ISSOCK(st.st_mode));
        return st.st_mode & 07777;
}

static int refused(const char *address) {
        confab_endpoint *endpoint = NULL;
        int r = confab_listen(&endpoint, address, NULL, soon());

        check(r < 0 && !endpoint);
        return r;
}

/* What a killed process leaves behind: a socket file nobody is bound to. */
static void leave_stale(const char *path, int type) {
        struct sockaddr_un name = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

        snprintf(name.sun_path, sizeof(name.sun_path), "%s", path);
        check(bind(fd, (struct sockaddr *)&name, sizeof(name)) == 0);
        close(fd);
}

static unsigned n_files(void) {
        return (unsigned)(system("test -z \"$(ls -A)\"") == 0 ? 0 : 1);
}

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
                check_eq(n_files(), 0);
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
        check_eq(n_files(), 0); /* from= is removed like the listener's */
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
        check((cpu[1].tv_sec - cpu[0].tv_sec) * 1000000000 + cpu[1].tv_nsec - cpu[0].tv_nsec < 25000000);
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
                while (at < sizeof(bytes) - 100 * 9000) {
                        struct confab_message messages[100];
                        uint64_t next = at;
                        int n;

                        for (int i = 0; i < 100; i++) {
                                size_t len = (size_t)rand_r(&seed) % (i % 7 ? 300 : 9000);

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
        check_eq(n, 1); /* the second was cut and is not counted */
        check_eq(confab_send_many(ends[1], messages + 1, 3, confab_after(20000000)), -ETIMEDOUT);
        check_eq(confab_send_many(ends[1], messages + 1, 3, CONFAB_NOW), -EAGAIN);
        while (confab_receive(ends[0], &got, NULL, CONFAB_NOW) == 1) {
                came += got.data_len;
                confab_release(ends[0], &got);
        }
        check(came > 1000 && came < 1 << 20);
        check_eq(confab_send_many(ends[1], messages + 1, 3, confab_after(20000000)),
                 -ETIMEDOUT); /* cut in the first */
        confab_close(ends[0]);
        confab_close(ends[1]);
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

/* --- names (FAULTS 19, 20) --- */

TEST(names_that_can_be_none) {
        static const struct {
                const char *address, *words;
        } table[] = {
                {"unix://", "missing"},     {"unix:///", "ends in /"},
                {"unix://a/", "ends in /"}, {"unix://.", "a folder"},
                {"unix://..", "a folder"},  {"unix://a/..", "a folder"},
                {"unix://a%00b", ""},       {"unix://@x?mode=0600", "abstract"},
                {"unix://x?from=", ""},     {"unix://x?from=a/", "ends in /"},
                {"unix://x?type=raw", ""},  {"unix://x?type=seqpacket&frame=line", "boundaries"},
        };
        char text[700] = "unix://@";

        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                int r = refused(table[i].address);

                check(r == -EINVAL || r == -EOPNOTSUPP);
                check_says(table[i].words);
        }
        memset(text + 8, 'n', 108);
        check_eq(refused(text), -EINVAL);
        check_says("107");
        text[8 + 107] = '\0';
        confab_close(listen_on(text));
        strcpy(text, "unix://");
        memset(text + 7, 'n', 256);
        check_eq(refused(text), -EINVAL);
        check_says("255");
        check_eq(n_files(), 0);
}

/* Names that are only odd: taken as they are. */
TEST(names_that_are_only_odd) {
        static const char *const names[] = {"...",   "a b", "%C3%A4", "%FF%FE",           "-x",
                                            "NAME.", "*",   "./@at",  "a:b?type=datagram"};

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
                char address[100];
                confab_endpoint *listener;

                snprintf(address, sizeof(address), "unix://%s", names[i]);
                listener = listen_on(address);
                confab_close(open_to(address));
                check_eq(n_files(), 1);
                confab_close(listener);
                check_eq(n_files(), 0);
        }
}

TEST(long_paths_work) {
        char path[3000] = "", address[3400];
        confab_endpoint *listener, *a, *b;
        struct confab_peer peer = {.size = sizeof(peer)};
        char text[200], cwd[1000];

        check(getcwd(cwd, sizeof(cwd)));
        for (int i = 0; i < 12; i++) {
                char part[201];

                memset(part, 'a' + i, 200);
                part[200] = '\0';
                check(mkdir(part, 0700) == 0 && chdir(part) == 0);
                strcat(path, part);
                strcat(path, "/");
        }
        check(chdir(cwd) == 0);
        strcat(path, "socket");
        snprintf(address, sizeof(address), "unix://%s", path);
        listener = listen_on(address);
        check_eq(mode_of(path), 0600);
        check_eq(refused(address), -EADDRINUSE);
        a = open_to(address);
        b = accept_of(listener);
        send_text(a, "far");
        receive_text(b, "far");
        check_ok(confab_peer(a, &peer));
        check_eq(confab_peer_address(&peer, text, sizeof(text)), 0); /* no name anybody else could use */
        check_eq(peer.pid, getpid());
        confab_close(a);
        confab_close(b);
        confab_close(listener);
        check(access(path, F_OK) < 0 && errno == ENOENT);
        leave_stale("short", SOCK_STREAM); /* a stale one there is replaced as well */
        check(rename("short", path) == 0);
        confab_close(listen_on(address));
        check(access(path, F_OK) < 0);

        path[strlen(path) - strlen("socket")] = '\0';
        memset(text, 'z', 120);
        text[120] = '\0';
        snprintf(address, sizeof(address), "unix://%s%.120s", path, text);
        check_eq(refused(address), -ENAMETOOLONG);
        check_says("shorten");
        check(system("rm -rf a*") == 0);
}

TEST(kernel_chooses_an_abstract_name) {
        confab_endpoint *listener = listen_on("unix://@?type=seqpacket"), *a, *b;

        check(strncmp(confab_address(listener), "unix://@", 8) == 0 && strlen(confab_address(listener)) > 20);
        a = open_to(confab_address(listener));
        b = accept_of(listener);
        send_text(a, "x");
        receive_text(b, "x");
        confab_close(a);
        confab_close(b);
        confab_close(listener);
}

TEST(what_is_no_socket_is_left_alone) {
        struct stat st;

        check(mkdir("folder", 0700) == 0);
        check(close(open("file", O_CREAT | O_WRONLY, 0600)) == 0);
        check(mkfifo("fifo", 0600) == 0);
        check(symlink("target", "dangling") == 0);
        check(symlink("file", "link") == 0);
        leave_stale("stale", SOCK_STREAM);
        check(symlink("stale", "to-stale") == 0);

        check_eq(refused("unix://folder"), -EEXIST);
        check_says("is a folder");
        check_eq(refused("unix://file"), -EEXIST);
        check_says("a regular file");
        check_eq(refused("unix://fifo"), -EEXIST);
        check_eq(refused("unix://dangling"), -EEXIST);
        check_says("a symbolic link");
        check_eq(refused("unix://link"), -EEXIST);
        check_eq(refused("unix://to-stale"), -EEXIST);
        check(lstat("target", &st) < 0);
        check(lstat("stale", &st) == 0);
        check_eq(refused("unix://nowhere/x"), -ENOENT);
        check_says("folder for it does not exist (nowhere/)");
        check_eq(refused("unix://file/x"), -ENOTDIR);

        check_eq(confab_remove("unix://file"), -EEXIST);
        check_eq(confab_remove("unix://to-stale"), -EEXIST);
        check_eq(confab_remove("unix://none"), -ENOENT);
        check_eq(confab_remove("unix://@none"), -EOPNOTSUPP);
        check_ok(confab_remove("unix://stale"));
        check(lstat("stale", &st) < 0);
        check(unlink("fifo") == 0);
}

/* --- stale files --- */

static int n_replaced;

static void count_replaced(const struct confab_event *event, void *data) {
        (void)data;
        if (event->kind == CONFAB_EVENT_STALE_SOCKET_REPLACED)
                n_replaced++;
}

TEST(stale_files_are_replaced) {
        static const int left[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
        static const char *const addresses[] = {"unix://s", "unix://s?type=seqpacket",
                                                "unix://s?type=datagram"};
        confab_endpoint *listener, *other;

        confab_on_event(count_replaced, NULL);
        for (int i = 0; i < 3; i++)
                for (int j = 0; j < 3; j++) {
                        leave_stale("s", left[i]);
                        n_replaced = 0;
                        listener = listen_on(addresses[j]);
                        check_eq(n_replaced, 1);
                        other = open_to(addresses[j]);
                        confab_close(other);
                        /* somebody is there now, whatever type is asked for */
                        for (int k = 0; k < 3; k++)
                                check_eq(refused(addresses[k]), -EADDRINUSE);
                        check_says("listens on s already");
                        confab_close(listener);
                        check_eq(n_files(), 0);
                }
        n_replaced = 0;
        listener = listen_on("unix://s");
        check_eq(n_replaced, 0);
        confab_close(listener);
        confab_on_event(NULL, NULL);
}

/* Bound, but not listening yet: alive all the same. */
TEST(a_starter_is_not_taken_for_dead) {
        struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "s"};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        check(bind(fd, (struct sockaddr *)&name, sizeof(name)) == 0);
        check_eq(refused("unix://s"), -EADDRINUSE);
        close(fd);
        confab_close(listen_on("unix://s"));
}

TEST_TIMEOUT(one_of_many_starters_wins, 60) {
        enum { STARTERS = 6, ROUNDS = 100 };

        for (int round = 0; round < ROUNDS; round++) {
                int ready[2], go[2], n_won = 0, status;

                check(pipe(ready) == 0 && pipe(go) == 0);
                leave_stale("s", SOCK_STREAM);
                for (int i = 0; i < STARTERS; i++) {
                        pid_t pid = fork();

                        check(pid >= 0);
                        if (pid == 0) {
                                confab_endpoint *listener = NULL;
                                char byte;
                                int r;

                                close(go[1]);
                                check(read(go[0], &byte, 1) == 0);
                                r = confab_listen(&listener, "unix://s", NULL, CONFAB_FOREVER);
                                check(r == 0 || r == -EADDRINUSE);
                                check(write(ready[1], r == 0 ? "w" : "l", 1) == 1);
                                close(ready[1]);
                                while (r ==
                                       0) /* the winner stays until it is killed: its file is stale then */
                                        pause();
                                _exit(0);
                        }
                        if (i == 0)
                                n_won = 0;
                }
                close(go[0]);
                close(go[1]);
                for (int i = 0; i < STARTERS; i++) {
                        char byte = 0;

                        check(read(ready[0], &byte, 1) == 1);
                        n_won += byte == 'w';
                }
                check_eq(n_won, 1);
                {
                        confab_endpoint *client =
                                open_to("unix://s"); /* and it is the winner who has the name */
                        struct confab_peer peer = {.size = sizeof(peer)};

                        check_ok(confab_peer(client, &peer));
                        check(kill((pid_t)peer.pid, SIGKILL) == 0);
                        confab_close(client);
                }
                while (wait(&status) > 0)
                        ;
                close(ready[0]);
                close(ready[1]);
                check(system("test \"$(ls -A)\" = s") == 0); /* nothing set aside was left */
                check(unlink("s") == 0);
        }
}

TEST(a_locked_folder_is_not_waited_for_long) {
        int folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int64_t before = confab_now();

        leave_stale("s", SOCK_STREAM);
        check(flock(folder, LOCK_EX) == 0);
        check_eq(refused("unix://s"), -EADDRINUSE);
        check_says("locked");
        check(confab_now() - before < INT64_C(5000000000));
        close(folder);
        confab_close(listen_on("unix://s"));
}

TEST(only_its_own_file_is_removed) {
        confab_endpoint *listener = listen_on("unix://s"), *second;
        struct stat st;
        pid_t pid;
        int status;

        pid = fork(); /* a child's close is not the owner's */
        if (pid == 0) {
                confab_close(listener);
                _exit(0);
        }
        check(waitpid(pid, &status, 0) == pid && status == 0);
        check(lstat("s", &st) == 0);
        confab_close(open_to("unix://s"));

        check(unlink("s") == 0); /* somebody took the name by force */
        second = listen_on("unix://s");
        confab_close(listener);
        check(lstat("s", &st) == 0);
        confab_close(open_to("unix://s"));
        confab_close(second);
        check_eq(n_files(), 0);

        check(mkdir("folder", 0700) == 0); /* removed wherever the folder and the process have gone */
        listener = listen_on("unix://folder/s");
        check(rename("folder", "moved") == 0 && chdir("/") == 0);
        confab_close(listener);
}

TEST(persistent_files_stay) {
        confab_endpoint *listener = listen_on("unix://s?lifetime=persistent");
        struct stat st;

        confab_close(listener);
        check(lstat("s", &st) == 0);
        confab_close(listen_on("unix://s"));
        check_eq(n_files(), 0);
}

/* --- permissions (FAULTS 21) --- */

TEST(mode_is_what_was_asked_for) {
        static const mode_t masks[] = {0, 022, 077, 0777};
        static const unsigned modes[] = {0600, 0666, 0777, 0020, 0660};

        for (size_t i = 0; i < 4; i++)
                for (size_t j = 0; j < 5; j++) {
                        char address[64];
                        confab_endpoint *listener;
                        mode_t old = umask(masks[i]);

                        if (j == 0)
                                snprintf(address, sizeof(address), "unix://s");
                        else
                                snprintf(address, sizeof(address), "unix://s?mode=%04o&type=%s", modes[j],
                                         j % 2 ? "stream" : "datagram");
                        listener = listen_on(address);
                        umask(old);
                        check_eq(mode_of("s"), modes[j]);
                        confab_close(listener);
                }
}

/* Never more open than asked for, not for a moment: another thread looks all the time. */
static _Atomic bool looking;
static _Atomic int n_seen, n_too_open;

static void *look(void *data) {
        struct stat st;

        (void)data;
        while (looking)
                if (lstat("s", &st) == 0) {
                        n_seen++;
                        if (st.st_mode & 0077)
                                n_too_open++;
                }
        return NULL;
}

TEST(mode_is_right_from_the_beginning) {
        mode_t old = umask(0);
        pthread_t thread;

        looking = true;
        check(pthread_create(&thread, NULL, look, NULL) == 0);
        for (int i = 0; i < 3000 || (n_seen < 100 && i < 30000); i++)
                confab_close(listen_on("unix://s"));
        looking = false;
        pthread_join(thread, NULL);
        umask(old);
        check(n_seen > 0);
        check_eq(n_too_open, 0);
}

TEST(owner_and_group) {
        struct stat st;
        confab_endpoint *listener;

        if (geteuid() != 0)
                skip("needs root");
        listener = listen_on("unix://s?owner=65534&group=65534&mode=0660");
        check(lstat("s", &st) == 0);
        check_eq(st.st_uid, 65534);
        check_eq(st.st_gid, 65534);
        check_eq(st.st_mode & 07777, 0660);
        confab_close(listener);
        check_eq(n_files(), 0);
}

TEST(no_permission_says_which_file_which_mode_which_user) {
        confab_endpoint *listener;
        pid_t pid;
        int status;

        if (geteuid() != 0)
                skip("needs root");
        check(chmod(".", 0711) == 0);
        listener = listen_on("unix://s");
        pid = fork();
        if (pid == 0) {
                confab_endpoint *endpoint = NULL;

                check(setgid(65534) == 0 && setuid(65534) == 0);
                check_eq(confab_open(&endpoint, "unix://s", NULL, soon()), -EACCES);
                check_says(
                        "s is a socket of mode 0600 that belongs to user 0, and this process is user 65534");
                check_eq(confab_listen(&endpoint, "unix://s2", NULL, soon()), -EACCES);
                check_says("user 65534");
                check_eq(confab_listen(&endpoint, "unix://s", NULL, soon()), -EACCES);
                _exit(0);
        }
        check(waitpid(pid, &status, 0) == pid && status == 0);
        confab_close(listener);
}

TEST(setuid_callers_make_files_of_the_effective_user) {
        pid_t pid;
        int status;

        if (geteuid() != 0)
                skip("needs root");
        check(chmod(".", 0777) == 0);
        pid = fork();
        if (pid == 0) {
                struct stat st;
                confab_endpoint *listener;

                check(setresuid(0, 65534, 0) == 0);
                listener = listen_on("unix://s?mode=0640");
                check(lstat("s", &st) == 0);
                check_eq(st.st_uid, 65534);
                check_eq(st.st_mode & 07777, 0640);
                confab_close(listener);
                _exit(0);
        }
        check(waitpid(pid, &status, 0) == pid && status == 0);
        check_eq(n_files(), 0);
}

/* --- opening --- */

TEST(what_opening_meets) {
        confab_endpoint *endpoint = NULL, *listener;

        check_eq(confab_open(&endpoint, "unix://none", NULL, soon()), -ENOENT);
        check_says("no socket of that name");
        check_eq(confab_open(&endpoint, "unix://@confab-unit-none", NULL, soon()), -ECONNREFUSED);
        leave_stale("stale", SOCK_STREAM);
        check_eq(confab_open(&endpoint, "unix://stale", NULL, soon()), -ECONNREFUSED);
        check_says("nobody listens");
        check(unlink("stale") == 0);
        check(close(open("file", O_CREAT | O_WRONLY, 0600)) == 0);
        check_eq(confab_open(&endpoint, "unix://file", NULL, soon()), -ECONNREFUSED);
        check_says("a regular file, not a socket");
        listener = listen_on("unix://s");
        check_eq(confab_open(&endpoint, "unix://s?type=datagram", NULL, soon()), -EPROTOTYPE);
        check_says("another type");
        confab_close(listener);
        check_eq(confab_open(&endpoint, "unix://", NULL, soon()), -EINVAL);
        check(!endpoint);
}

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

/* --- descriptors (FAULTS 17, 18) --- */

static int64_t send_descriptors(confab_endpoint *endpoint, const char *text, const int *fds, uint32_t n) {
        struct confab_message message = confab_message_of(text, strlen(text));

        message.descriptors = fds;
        message.n_descriptors = n;
        return confab_send(endpoint, &message, soon());
}

TEST(descriptors_of_every_kind_travel) {
        static const char *const addresses[] = {"unix://", "unix://?type=seqpacket", "unix://?type=datagram",
                                                "unix://?frame=record"};

        for (size_t t = 0; t < 4; t++) {
                confab_endpoint *ends[2];
                struct confab_message got = confab_message_of(NULL, 0);
                int fds[5], taken;
                struct stat before, after;

                check_ok(confab_pair(ends, addresses[t], NULL));
                fds[0] = open("/dev/zero", O_RDONLY | O_CLOEXEC);
                fds[1] = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                fds[2] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
                fds[3] = open(".", O_PATH | O_CLOEXEC);
                fds[4] = open("plain", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
                send_text(ends[1], "before ");
                check_eq(check_ok(send_descriptors(ends[1], "with", fds, 5)), 4);
                send_text(ends[1], " after");
                if (t == 0) { /* a stream: the read ends behind the message that brought them */
                        check_eq(check_ok(confab_receive(ends[0], &got, NULL, soon())), 1);
                        check_mem(got.data, "before with", 11);
                } else {
                        receive_text(ends[0], "before ");
                        check_eq(check_ok(confab_receive(ends[0], &got, NULL, soon())), 1);
                        check_mem(got.data, "with", 4);
                }
                check_eq(got.n_descriptors, 5);
                for (int i = 0; i < 5; i++)
                        check(fcntl(got.descriptors[i], F_GETFD) == FD_CLOEXEC);
                taken = (int)check_ok(confab_take_descriptor(&got, 4));
                check_eq(confab_take_descriptor(&got, 4), -ENODATA);
                check_eq(confab_take_descriptor(&got, 5), -EINVAL);
                check(fstat(taken, &after) == 0 && fstat(fds[4], &before) == 0 &&
                      before.st_ino == after.st_ino);
                confab_release(ends[0], &got);
                receive_text(ends[0], " after");
                close(taken);
                for (int i = 0; i < 5; i++)
                        close(fds[i]);
                confab_close(ends[0]);
                confab_close(ends[1]);
        }
}

TEST(descriptors_not_taken_are_closed) {
        confab_endpoint *ends[2];
        int fds[253], last;

        check_ok(confab_pair(ends, "unix://?type=seqpacket", NULL));
        for (int i = 0; i < 253; i++)
                fds[i] = 0;
        last = dup(0);
        close(last);
        for (int round = 0; round < 4; round++) { /* 1,012 descriptors */
                struct confab_message got = confab_message_of(NULL, 0);
                int probe;

                check_eq(check_ok(send_descriptors(ends[1], "x", fds, 253)), 1);
                check_eq(check_ok(confab_receive(ends[0], &got, NULL, soon())), 1);
                check_eq(got.n_descriptors, 253);
                confab_release(ends[0], &got);
                probe = dup(0);
                check_eq(probe, last);
                close(probe);
        }
        /* under way when the receiver closes: the kernel's to close */
        check_eq(check_ok(send_descriptors(ends[1], "x", fds, 253)), 1);
        check_eq(send_descriptors(ends[1], "x", fds, 254), -EINVAL);
        fds[7] = 9999;
        check_eq(send_descriptors(ends[1], "x", fds, 253), -EBADF);
        check_says("not open");
        confab_close(ends[0]);
        confab_close(ends[1]);
}

TEST(descriptors_need_a_byte_on_a_stream) {
        confab_endpoint *ends[2];
        int fd = 0;

        check_ok(confab_pair(ends, "unix://", NULL));
        check_eq(send_descriptors(ends[1], "", &fd, 1), -EINVAL);
        check_says("one byte");
        confab_close(ends[0]);
        confab_close(ends[1]);
}

static int64_t refused_descriptors = -1;

static void note_refused(const struct confab_event *event, void *data) {
        (void)data;
        if (event->kind == CONFAB_EVENT_DESCRIPTORS_REFUSED)
                refused_descriptors = event->value;
}

/* 253 descriptors for one who may have 64: all refused, nothing leaked, and life goes on. */
TEST(descriptor_flood) {
        static const char *const addresses[] = {"unix://?type=seqpacket", "unix://?type=datagram", "unix://",
                                                "unix://?frame=record"};
        struct rlimit old, few = {64, 64};
        int fds[253] = {0};

        confab_on_event(note_refused, NULL);
        check(getrlimit(RLIMIT_NOFILE, &old) == 0);
        few.rlim_max = old.rlim_max;
        for (size_t t = 0; t < 4; t++) {
                confab_endpoint *ends[2];
                struct confab_message got = confab_message_of(NULL, 0);
                bool stream = t >= 2;
                int before, after;

                check_ok(confab_pair(ends, addresses[t], NULL));
                check_eq(check_ok(send_descriptors(ends[1], "flood", fds, 253)), 5);
                send_text(ends[1], "next");
                check(setrlimit(RLIMIT_NOFILE, &few) == 0);
                before = dup(0);
                close(before);
                refused_descriptors = -1;
                check_eq(confab_receive(ends[0], &got, NULL, soon()), stream ? -EPROTO : -EMSGSIZE);
                check_says("RLIMIT_NOFILE");
                check(refused_descriptors > 0);
                after = dup(0);
                close(after);
                check_eq(after, before);
                if (stream) /* what follows would not fit to what came before */
                        check_eq(confab_receive(ends[0], &got, NULL, soon()), -EPROTO);
                else
                        receive_text(ends[0], "next");
                check(setrlimit(RLIMIT_NOFILE, &old) == 0);
                confab_close(ends[0]);
                confab_close(ends[1]);
        }
        confab_on_event(NULL, NULL);
}

/* Under way and never taken: the kernel counts them to the user who sent them, and stops him. */
TEST(descriptors_under_way_are_limited) {
        pid_t pid;
        int status;

        if (geteuid() != 0)
                skip("needs root");
        pid = fork();
        if (pid == 0) {
                struct rlimit few = {64, 64};
                confab_endpoint *ends[2];
                int fds[50] = {0};
                int64_t r = 0;

                check(setgid(61234) == 0 && setuid(61234) == 0); /* a user who has nothing else under way */
                check_ok(confab_pair(ends, "unix://?type=seqpacket", NULL));
                check(setrlimit(RLIMIT_NOFILE, &few) == 0);
                for (int i = 0; i < 5 && r >= 0; i++)
                        r = send_descriptors(ends[1], "x", fds, 50);
                check_eq(r, -ETOOMANYREFS);
                check_says("under way");
                send_text(ends[1], "without"); /* nothing else is disturbed */
                _exit(0);
        }
        check(waitpid(pid, &status, 0) == pid && status == 0);
}

/* Unix sockets in a ring, sent through each other and given up: the kernel's collector gets them, we hold none. */
TEST(descriptors_in_a_ring) {
        for (int round = 0; round < 50; round++) {
                confab_endpoint *a[2], *b[2];
                int fd;

                check_ok(confab_pair(a, "unix://?type=seqpacket", NULL));
                check_ok(confab_pair(b, "unix://?type=seqpacket", NULL));
                fd = b[0]->fds[0];
                check_eq(check_ok(send_descriptors(a[1], "b in a", &fd, 1)), 6);
                fd = a[0]->fds[0];
                check_eq(check_ok(send_descriptors(b[1], "a in b", &fd, 1)), 6);
                fd = a[0]->fds[0];
                check_eq(check_ok(send_descriptors(a[1], "a in a", &fd, 1)), 6);
                confab_close(a[0]);
                confab_close(a[1]);
                confab_close(b[0]);
                confab_close(b[1]);
        }
        { /* and one that is received does not disturb */
                confab_endpoint *a[2];
                struct confab_message got = confab_message_of(NULL, 0);
                int fd;

                check_ok(confab_pair(a, "unix://", NULL));
                fd = a[0]->fds[0];
                check_eq(check_ok(send_descriptors(a[1], "self", &fd, 1)), 4);
                check_eq(check_ok(confab_receive(a[0], &got, NULL, soon())), 1);
                check_eq(got.n_descriptors, 1);
                confab_release(a[0], &got);
                send_text(a[1], "alive");
                receive_text(a[0], "alive");
                confab_close(a[0]);
                confab_close(a[1]);
        }
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

/* Nothing of a process that exits without closing is in the way of the next. */
TEST(exit_without_close) {
        pid_t pid = fork();
        struct stat st;
        int status;

        if (pid == 0) {
                listen_on("unix://s");
                _exit(0);
        }
        check(waitpid(pid, &status, 0) == pid && status == 0);
        check(lstat("s", &st) == 0);
        confab_close(listen_on("unix://s"));
        check_eq(n_files(), 0);
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
