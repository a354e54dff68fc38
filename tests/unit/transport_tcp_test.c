/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* tcp://: what the conformance suite does not see - addresses, names, ports, connecting, resets, inherited options. */
#include "conversation.h"
#include "core/transport.h"
#include "harness.h"

#include <arpa/inet.h>
#include <confab/confab.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int get_option(const confab_endpoint *endpoint, int level, int name) {
        int value = 0;
        socklen_t len = sizeof(value);

        check(getsockopt(endpoint->fds[0], level, name, &value, &len) == 0);
        return value;
}

/* A port that was free a moment ago, and that connecting sockets are not given. */
static unsigned free_port(void) {
        for (unsigned port = 20000 + (unsigned)getpid() % 10000; port < 32000; port++) {
                struct sockaddr_in name = {.sin_family = AF_INET,
                                           .sin_port = htons((uint16_t)port),
                                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
                int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
                int r = bind(fd, (struct sockaddr *)&name, sizeof(name));

                close(fd);
                if (r == 0)
                        return port;
        }
        skip("no port is free");
        return 0;
}

TEST(addresses_that_can_be_none) {
        static const struct {
                const char *address, *position, *words;
        } table[] = {
                {"tcp://", "7", "missing"},
                {"tcp://host", "11", "port"},
                {"tcp://host:", "12", "port"},
                {"tcp://host:65536", "12", "65535"},
                {"tcp://host:1 2", "12", "service"},
                {"tcp://::1:80", "7", "brackets"},
                {"tcp://[::1:80", "7", "]"},
                {"tcp://[::1]80", "12", ":port"},
                {"tcp://[nonsense]:80", "8", "no IPv6"},
                {"tcp://[127.0.0.1]:80", "8", "no IPv6"},
                {"tcp://host:80?from=x", "", "from="},
                {"tcp://host:80?family=5", "", ""},
                {"tcp://host:80?mode=0600", "", ""},
        };

        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                confab_endpoint *endpoint = NULL;
                int r;

                r = confab_open(&endpoint, table[i].address, NULL, CONFAB_NOW);
                check(r == -EINVAL || r == -EOPNOTSUPP);
                check_says(table[i].words);
                check_says(table[i].position);
        }
}

TEST(what_only_listening_understands) {
        confab_endpoint *endpoint = NULL;

        check_eq(confab_open(&endpoint, "tcp://:80", NULL, soon()), -EINVAL);
        check_says("host is missing");
        check_eq(confab_open(&endpoint, "tcp://127.0.0.1:0", NULL, soon()), -EINVAL);
        check_says("port 0");
        check_eq(confab_listen(&endpoint, "tcp://127.0.0.1:0?from=127.0.0.1:0", NULL, soon()), -EOPNOTSUPP);
}

TEST(both_families_names_and_services) {
        static const char *const listeners[] = {
                "tcp://127.0.0.1:0", "tcp://[::1]:0",     "tcp://localhost:0", "tcp://:0",
                "tcp://:0?family=4", "tcp://:0?family=6", "tcp://[::]:0",      "tcp://0.0.0.0:0?frame=line"};

        for (size_t i = 0; i < sizeof(listeners) / sizeof(listeners[0]); i++) {
                confab_endpoint *listener = listen_on(listeners[i]), *a, *b;
                struct confab_peer peer = {.size = sizeof(peer)}, back = {.size = sizeof(back)};
                char text[100];

                check(port_of(listener) > 0);
                check(!strchr(listeners[i], '?') ||
                      strstr(confab_address(listener), strchr(listeners[i], '?')));
                a = open_to(confab_address(listener));
                b = accept_of(listener);
                send_text(a, "there");
                receive_text(b, "there");
                send_text(b, "and back");
                receive_text(a, "and back");
                check_ok(confab_peer(b, &peer));
                check(confab_peer_address(&peer, text, sizeof(text)) > 12);
                check_eq(strncmp(text, "tcp://", 6), 0);
                check_ok(confab_peer(a, &back));
                check_eq(confab_peer(listener, &back), -ENOTCONN);
                check_eq(get_option(a, IPPROTO_TCP, TCP_NODELAY), 1);
                check_eq(get_option(b, IPPROTO_TCP, TCP_NODELAY), 1);
                /* what is handed on to other programs is as they expect it */
                check(!(fcntl(a->fds[0], F_GETFL) & O_NONBLOCK) && !(fcntl(b->fds[0], F_GETFL) & O_NONBLOCK));
                confab_close(a);
                confab_close(b);
                confab_close(listener);
        }
}

TEST(every_interface_takes_both_families) {
        confab_endpoint *listener = listen_on("tcp://:0"), *a, *b;
        struct confab_peer peer = {.size = sizeof(peer)};
        char address[64], text[64];

        snprintf(address, sizeof(address), "tcp://127.0.0.1:%u", port_of(listener));
        a = open_to(address);
        b = accept_of(listener);
        check_ok(confab_peer(b, &peer));
        confab_peer_address(&peer, text, sizeof(text));
        check(strncmp(text, "tcp://127.0.0.1:", 16) == 0); /* not ::ffff:127.0.0.1 */
        confab_close(a);
        confab_close(b);
        snprintf(address, sizeof(address), "tcp://[::1]:%u", port_of(listener));
        confab_close(open_to(address));
        snprintf(address, sizeof(address), "tcp://localhost:%u?family=4", port_of(listener));
        confab_close(open_to(address));
        confab_close(listener);
}

TEST(services_by_name) {
        confab_endpoint *endpoint = NULL;
        int r = confab_open(&endpoint, "tcp://127.0.0.1:no-such-service", NULL, soon());

        check_eq(r, -EINVAL);
        check_says("service");
        r = confab_open(&endpoint, "tcp://127.0.0.1:discard", NULL, soon()); /* 9 */
        check(r == -ECONNREFUSED || r == 0 || r == -EINVAL);
        if (r == -ECONNREFUSED)
                check_says("127.0.0.1:9");
        confab_close(endpoint);
        r = confab_open(&endpoint, "tcp://no-such-host.invalid:80", NULL, soon());
        check(r == -ENOENT || r == -EHOSTUNREACH);
        check_says("looking the host up");
}

TEST(nobody_listens) {
        confab_endpoint *endpoint = NULL;
        char address[64];

        snprintf(address, sizeof(address), "tcp://127.0.0.1:%u", free_port());
        check_eq(confab_open(&endpoint, address, NULL, soon()), -ECONNREFUSED);
        check_says("nobody listens there");
        check_eq(confab_open(&endpoint, address, NULL, CONFAB_NOW), -ECONNREFUSED);
        check(!endpoint);
}

/* Connecting to the port it is bound to itself succeeds in TCP: not here. */
TEST(nobody_meets_itself) {
        confab_endpoint *endpoint = NULL;
        unsigned port = free_port();
        char address[100];

        snprintf(address, sizeof(address), "tcp://127.0.0.1:%u?from=127.0.0.1:%u", port, port);
        check_eq(confab_open(&endpoint, address, NULL, soon()), -ECONNREFUSED);
        snprintf(address, sizeof(address), "tcp://[::1]:%u?from=[::1]:%u", port, port);
        check_eq(confab_open(&endpoint, address, NULL, soon()), -ECONNREFUSED);
}

TEST(a_port_in_use_says_by_whom) {
        confab_endpoint *listener = listen_on("tcp://127.0.0.1:0"), *second = NULL;
        char pid[40];

        check_eq(confab_listen(&second, confab_address(listener), NULL, soon()), -EADDRINUSE);
        snprintf(pid, sizeof(pid), "process %d (", (int)getpid());
        check_says(pid);
        confab_close(listener);
        check_eq(confab_listen(&second, "tcp://192.0.2.1:0", NULL, soon()), -EADDRNOTAVAIL);
        check_says("no interface");
        check(!second);
}

static void listen_on_echo(void) {
        confab_endpoint *endpoint = NULL;

        if (system("test \"$(cat /proc/sys/net/ipv4/ip_unprivileged_port_start)\" -gt 7") != 0)
                return;
        check_eq(confab_listen(&endpoint, "tcp://127.0.0.1:7", NULL, soon()), -EACCES);
        check_says("CAP_NET_BIND_SERVICE");
}

TEST(a_privileged_port_needs_the_right) {
        if (geteuid() != 0)
                skip("needs root");
        as_user(65534, listen_on_echo);
}

TEST(a_listener_takes_its_port_again_at_once) {
        confab_endpoint *listener = listen_on("tcp://127.0.0.1:0"), *a = open_to(confab_address(listener)),
                        *b = accept_of(listener);
        char address[64];

        snprintf(address, sizeof(address), "%s", confab_address(listener));
        confab_close(b); /* the active close: TIME_WAIT is on this side */
        confab_close(a);
        confab_close(listener);
        confab_close(listen_on(address));
}

TEST(from_binds_the_active_side) {
        confab_endpoint *listener = listen_on("tcp://127.0.0.1:0"), *a, *b;
        unsigned port = free_port();
        struct confab_peer peer = {.size = sizeof(peer)};
        char address[100], text[64], wanted[64];

        snprintf(address, sizeof(address), "%s?from=127.0.0.3:%u", confab_address(listener), port);
        a = open_to(address);
        b = accept_of(listener);
        check_ok(confab_peer(b, &peer));
        confab_peer_address(&peer, text, sizeof(text));
        snprintf(wanted, sizeof(wanted), "tcp://127.0.0.3:%u", port);
        check_str(text, wanted);
        confab_close(a);
        confab_close(b);
        confab_close(listener);
}

TEST(capacity_sets_both_buffers) {
        confab_endpoint *listener = listen_on("tcp://127.0.0.1:0?capacity=50000"),
                        *a = open_to(confab_address(listener)), *b = accept_of(listener), *refused = NULL;

        check_eq(get_option(a, SOL_SOCKET, SO_SNDBUF), 100000);
        check_eq(get_option(a, SOL_SOCKET, SO_RCVBUF), 100000);
        check_eq(get_option(b, SOL_SOCKET, SO_RCVBUF), 100000);
        confab_close(a);
        confab_close(b);
        confab_close(listener);
        check_eq(confab_listen(&refused, "tcp://127.0.0.1:0?capacity=1G", NULL, soon()), -EINVAL);
        check_says("at most");
}

static void ask_for_a_gigabyte(void) {
        confab_endpoint *refused = NULL;

        check_eq(confab_listen(&refused, "tcp://127.0.0.1:0?capacity=1000M", NULL, soon()), -EPERM);
        check_says("net.core.wmem_max");
}

TEST(a_capacity_the_kernel_does_not_give_is_refused) {
        if (geteuid() != 0)
                skip("needs root");
        as_user(65534, ask_for_a_gigabyte);
}

TEST(a_reset_is_told_as_such) {
        confab_endpoint *listener = listen_on("tcp://127.0.0.1:0"), *a = open_to(confab_address(listener)),
                        *b = accept_of(listener);
        struct confab_message got = confab_message_of(NULL, 0), message = confab_message_of("x", 1);
        struct linger hard = {1, 0};
        struct confab_peer peer = {.size = sizeof(peer)};

        check(setsockopt(b->fds[0], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)) == 0);
        confab_close(b);
        check_eq(confab_receive(a, &got, NULL, soon()), -ECONNRESET);
        check_says("without closing");
        check_eq(confab_send(a, &message, soon()), -EPIPE);
        check_ok(confab_peer(a, &peer)); /* still known */
        confab_close(a);
        confab_close(listener);
}

TEST(half_close) {
        confab_endpoint *listener = listen_on("tcp://127.0.0.1:0"), *a = open_to(confab_address(listener)),
                        *b = accept_of(listener);
        struct confab_message got = confab_message_of(NULL, 0), message = confab_message_of("x", 1);

        send_text(a, "all");
        check_ok(confab_shutdown(a, CONFAB_SEND, soon()));
        check_eq(confab_send(a, &message, soon()), -EPIPE);
        receive_text(b, "all");
        check_eq(confab_receive(b, &got, NULL, soon()), 0);
        send_text(b, "the other way");
        receive_text(a, "the other way");
        check_eq(confab_shutdown(listener, CONFAB_SEND, soon()), -EOPNOTSUPP);
        confab_close(a);
        confab_close(b);
        confab_close(listener);
}

/* A listener whose backlog is full does not answer: the deadline ends it. */
TEST(an_open_nobody_answers_ends_at_the_deadline) {
        confab_endpoint *listener = listen_on("tcp://127.0.0.1:0?backlog=1"), *ends[64] = {0};
        int n = 0, r = 0;
        int64_t before;

        while (n < 64 &&
               (r = confab_open(&ends[n], confab_address(listener), NULL, confab_after(100000000))) == 0)
                n++;
        check_eq(r, -ETIMEDOUT);
        before = confab_now();
        r = confab_open(&ends[n], confab_address(listener), NULL, confab_after(50000000));
        check_eq(r, -ETIMEDOUT);
        check(confab_now() - before >= 50000000);
        check_eq(confab_open(&ends[n], confab_address(listener), NULL, CONFAB_NOW), -EAGAIN);
        while (n)
                confab_close(ends[--n]);
        confab_close(listener);
}

/* A name with several addresses, in a private view of /etc/hosts. */
static void have_hosts(const char *hosts) {
        FILE *file = fopen("hosts", "we");

        check(file && fputs(hosts, file) >= 0 && fclose(file) == 0);
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("hosts", "/etc/hosts", NULL, MS_BIND, NULL) < 0)
                skip("needs root");
}

TEST(every_address_of_a_name_is_tried) {
        confab_endpoint *listener = listen_on("tcp://127.0.0.3:0"), *a, *refused = NULL;
        struct confab_peer peer = {.size = sizeof(peer)};
        char address[64], text[64];

        have_hosts("127.0.0.2 many\n::1 many\n127.0.0.3 many\n127.0.0.4 many\n127.0.0.5 none\n");
        snprintf(address, sizeof(address), "tcp://many:%u", port_of(listener));
        a = open_to(address);
        check_ok(confab_peer(a, &peer));
        confab_peer_address(&peer, text, sizeof(text));
        check_str(text, confab_address(listener));
        confab_close(a);
        snprintf(address, sizeof(address), "tcp://none:%u", port_of(listener));
        check_eq(confab_open(&refused, address, NULL, soon()), -ECONNREFUSED);
        check_says("(127.0.0.5:"); /* which one */
        snprintf(address, sizeof(address), "tcp://none:%u?family=6", port_of(listener));
        check_eq(confab_open(&refused, address, NULL, soon()), -ENOENT);
        confab_close(listener);
}

/* One that does not answer gets its share of the time, not all of it. */
TEST(an_address_that_does_not_answer_leaves_time_for_the_next) {
        confab_endpoint *silent = listen_on("tcp://127.0.0.2:0?backlog=1"), *listener = NULL, *ends[64] = {0},
                        *a;
        int n = 0, r;
        int64_t before;
        char address[64];

        snprintf(address, sizeof(address), "tcp://127.0.0.3:%u",
                 (unsigned)strtoul(strrchr(confab_address(silent), ':') + 1, NULL, 10));
        listener = listen_on(address);
        while (n < 64 &&
               (r = confab_open(&ends[n], confab_address(silent), NULL, confab_after(100000000))) == 0)
                n++;
        check_eq(r, -ETIMEDOUT);
        have_hosts("127.0.0.2 many\n127.0.0.3 many\n");
        snprintf(address, sizeof(address), "tcp://many:%u", port_of(listener));
        before = confab_now();
        check_ok(confab_open(&a, address, NULL, confab_after(INT64_C(4000000000))));
        check(confab_now() - before >=
              1900000000); /* half of the time; the other half is there for the next */
        confab_close(a);
        while (n)
                confab_close(ends[--n]);
        confab_close(listener);
        confab_close(silent);
}

TEST(connections_that_died_queued_are_passed_over) {
        confab_endpoint *listener = listen_on("tcp://127.0.0.1:0"), *a, *b = NULL, *c;
        struct linger hard = {1, 0};
        struct confab_message got = confab_message_of(NULL, 0);

        a = open_to(confab_address(listener));
        check(setsockopt(a->fds[0], SOL_SOCKET, SO_LINGER, &hard, sizeof(hard)) == 0);
        confab_close(a); /* reset before it is accepted */
        c = open_to(confab_address(listener));
        send_text(c, "alive");
        check_ok(confab_accept(&b, listener, soon()));
        if (confab_receive(b, &got, NULL, soon()) !=
            1) { /* Linux hands the dead one out: it says so on first use */
                confab_close(b);
                b = accept_of(listener);
                receive_text(b, "alive");
        }
        confab_release(b, &got);
        confab_close(b);
        confab_close(c);
        confab_close(listener);
}

TEST(accepting_without_descriptors_left) {
        struct rlimit old, few;
        confab_endpoint *listener = listen_on("tcp://127.0.0.1:0"), *a = open_to(confab_address(listener)),
                        *b = NULL;
        struct confab_message got = confab_message_of(NULL, 0);
        int top;

        check(getrlimit(RLIMIT_NOFILE, &old) == 0);
        check_eq(confab_receive(a, &got, NULL, confab_after(1000000)),
                 -ETIMEDOUT); /* makes the wake descriptor */
        top = dup(0);
        close(top);
        few = (struct rlimit){(rlim_t)top, old.rlim_max};
        check(setrlimit(RLIMIT_NOFILE, &few) == 0);
        check_eq(confab_accept(&b, listener, soon()), -EMFILE);
        check_eq(confab_open(&b, confab_address(listener), NULL, soon()), -EMFILE);
        check_says("RLIMIT_NOFILE");
        check(setrlimit(RLIMIT_NOFILE, &old) == 0);
        check_ok(confab_accept(&b, listener, soon()));
        confab_close(a);
        confab_close(b);
        confab_close(listener);
}

/* Killed in the middle of a message, and one byte at a time: never half a message for a whole one. */
TEST(peer_vanishes_within_a_message) {
        confab_endpoint *listener = listen_on("tcp://127.0.0.1:0?frame=record");
        struct confab_message got = confab_message_of(NULL, 0);
        unsigned port = (unsigned)strtoul(strrchr(confab_address(listener), ':') + 1, NULL, 10);
        confab_endpoint *b;
        pid_t pid = fork();
        int status;

        if (pid == 0) {
                struct sockaddr_in name = {.sin_family = AF_INET,
                                           .sin_port = htons((uint16_t)port),
                                           .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
                int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

                check(connect(fd, (struct sockaddr *)&name, sizeof(name)) == 0);
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
                for (int i = 0; i < 16; i++) {
                        check(write(fd, &"\x80\0\0\x05whole\x80\0\0\x09hal"[i], 1) == 1);
                        usleep(2000);
                }
                kill(getpid(), SIGKILL);
        }
        b = accept_of(listener);
        receive_text(b, "whole");
        check_eq(confab_receive(b, &got, NULL, soon()), -EPIPE);
        check(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
        confab_close(b);
        confab_close(listener);
}
