/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Many clients on one loop, in a process of their own (RLIMIT_NOFILE ends at 20,000 on the test platform).
 *
 * ten_thousand_clients: what each costs the server in our memory, by a counting allocator and by resident pages. Limit: 4 KiB.
 * no_descriptor_left: FAULTS row 37. With 64 descriptors and a thousand clients accepting pauses, those accepted are served without a
 * gap, the processor is not kept busy, and everybody is served in the end. CLIENTS in the environment sets how many (soak: 10000).
 *
 * PLANT in the environment plants a mistake that the test must find: memory (4 KiB more for each client), spin (a listener that
 * is not put aside). The suite runs both and expects them to fail.
 */
#include "core/endpoint.h"
#include "harness.h"

#include <arpa/inet.h>
#include <confab/confab.h>
#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MS = 1000000, LIMIT_BYTES = 4096, FEW_DESCRIPTORS = 64 };

/* --- our memory --- */

static size_t allocated;

static void *counting_allocate(size_t len, void *data) {
        void *memory = malloc(len);

        (void)data;
        allocated += malloc_usable_size(memory) + sizeof(size_t); /* malloc's own word */
        return memory;
}

static void counting_release(void *memory, void *data) {
        (void)data;
        if (memory)
                allocated -= malloc_usable_size(memory) + sizeof(size_t);
        free(memory);
}

static bool planted(const char *mistake) {
        const char *plant = getenv("PLANT");

        return plant && strcmp(plant, mistake) == 0;
}

static size_t resident(void) {
        FILE *file = fopen("/proc/self/statm", "re");
        long pages = 0;

        check(file && fscanf(file, "%*d %ld", &pages) == 1);
        fclose(file);
        return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* --- the server --- */

static struct {
        confab_loop *loop;
        confab_endpoint *listener;
        confab_endpoint **clients; /* by number of accepting, NULL once gone */
        int n_accepted, n_answered, n_gone, n_refused, n_paused_events, stop_at;
} server;

static int on_client(confab_source *source, uint32_t events, void *data) {
        confab_endpoint **clientp = data;
        struct confab_message message = confab_message_of(NULL, 0);
        int r = confab_receive(*clientp, &message, NULL, CONFAB_NOW);

        (void)events;
        if (r > 0) {
                struct confab_message answer = confab_message_of(message.data, message.data_len);

                check_eq(confab_send(*clientp, &answer, CONFAB_NOW), (int64_t)answer.data_len);
                confab_release(*clientp, &message);
                server.n_answered++;
        } else if (r != -EAGAIN) {
                confab_loop_remove(source);
                *clientp = confab_close(*clientp);
                server.n_gone++;
        }
        if (server.n_answered == server.stop_at || server.n_gone == server.stop_at)
                confab_loop_stop(server.loop);
        return 0;
}

static int on_connection(confab_source *source, uint32_t events, void *data) {
        confab_endpoint **clientp = &server.clients[server.n_accepted];
        int r = confab_accept(clientp, server.listener, CONFAB_NOW);

        (void)source;
        (void)events;
        (void)data;
        if (r >= 0) {
                server.n_accepted++;
                if (planted("memory"))
                        memset(counting_allocate(LIMIT_BYTES, NULL), 1, LIMIT_BYTES);
                check_ok(confab_loop_add_endpoint(NULL, server.loop, *clientp, CONFAB_RECEIVE, on_client,
                                                  clientp));
        } else if (r == -EMFILE) {
                char why[400];

                server.n_refused++;
                if (planted("spin"))
                        server.listener->accept_again_ns = 0;
                confab_explain(why, sizeof(why));
                check(strstr(why, "RLIMIT_NOFILE"));
        } else {
                check_eq(r, -EAGAIN);
        }
        return 0;
}

static void on_event(const struct confab_event *event, void *data) {
        (void)data;
        check_eq(event->kind, CONFAB_EVENT_ACCEPT_PAUSED);
        check_eq(event->value, FEW_DESCRIPTORS);
        server.n_paused_events++;
}

/* Returns the port. */
static int start_server(const char *address, int n_clients) {
        const char *port;

        server.clients = calloc((size_t)n_clients, sizeof(confab_endpoint *)); /* the test's, not ours */
        check_ok(confab_loop_new(&server.loop));
        check_ok(confab_listen(&server.listener, address, NULL, CONFAB_FOREVER));
        check_ok(confab_loop_add_endpoint(NULL, server.loop, server.listener, CONFAB_RECEIVE, on_connection,
                                          NULL));
        port = strrchr(confab_address(server.listener), ':');
        check(port);
        return atoi(port + 1);
}

static void end_server(int n_clients) {
        server.loop = confab_loop_free(server.loop);
        for (int i = 0; i < n_clients; i++)
                confab_close(server.clients[i]);
        confab_close(server.listener);
        free(server.clients);
}

static void raise_limit(int needed) {
        struct rlimit limit;

        check_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        if (limit.rlim_max < (rlim_t)needed)
                skip("RLIMIT_NOFILE cannot be raised to what 10,000 clients need");
        limit.rlim_cur = limit.rlim_max;
        check_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

/* --- the clients: bare sockets --- */

static struct sockaddr_in server_address(int port) {
        return (struct sockaddr_in){.sin_family = AF_INET,
                                    .sin_port = htons((uint16_t)port),
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static int connected(int port) {
        struct sockaddr_in address = server_address(port);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        check(fd >= 0);
        check_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        return fd;
}

static void ping(int fd, int timeout_ms) {
        struct pollfd pollfd = {.fd = fd, .events = POLLIN};
        char answer[8];

        check_eq(send(fd, "ping\n", 5, MSG_NOSIGNAL), 5);
        check_eq(poll(&pollfd, 1, timeout_ms), 1);
        check_eq(recv(fd, answer, sizeof(answer), 0), 5);
}

static void many_clients(int port, int n, int go_on) {
        int *fds = calloc((size_t)n, sizeof(int));

        for (int i = 0; i < n; i++) {
                fds[i] = connected(port);
                ping(fds[i], 10000);
        }
        check_eq(read(go_on, (char[1]){0}, 1), 1); /* while the server measures */
        for (int i = 0; i < n; i++)
                ping(fds[i], 10000);
        for (int i = 0; i < n; i++)
                close(fds[i]);
        free(fds);
}

static pid_t start_clients(int port, int n, int go_on[2], void (*run)(int, int, int)) {
        pid_t pid;

        check_eq(pipe(go_on), 0);
        pid = fork();
        check(pid >= 0);
        if (pid == 0) {
                close(go_on[1]);
                confab_close(
                        server.listener); /* kernel mechanisms: the child's copy, the parent goes on listening */
                confab_loop_free(server.loop);
                run(port, n, go_on[0]);
                _exit(0);
        }
        close(go_on[0]);
        return pid;
}

static void ten_thousand(const char *address) {
        enum { N = 10000 };
        struct confab_allocator counting = {sizeof(counting), 0, counting_allocate, counting_release, NULL};
        size_t allocated_before, resident_before, allocated_each, resident_each;
        int go_on[2], status;
        pid_t pid;

        raise_limit(N + 100);
        check_ok(confab_set_allocator(&counting));
        pid = start_clients(start_server(address, N), N, go_on, many_clients);
        allocated_before = allocated;
        resident_before = resident();
        server.stop_at = N;
        check_ok(confab_loop_run(server.loop));
        check_eq(server.n_accepted, N);
        allocated_each = (allocated - allocated_before) / N;
        resident_each = resident() > resident_before ? (resident() - resident_before) / N : 0;
        fprintf(stderr, "%s: each of %d clients: %zu bytes allocated, %zu bytes resident\n", address, N,
                allocated_each, resident_each);
        check(allocated_each <= LIMIT_BYTES);
        check(HARNESS_TSAN || resident_each <= LIMIT_BYTES);
        server.n_answered = 0;
        check_eq(write(go_on[1], "x", 1), 1);
        check_ok(confab_loop_run(server.loop));
        server.n_answered = 0;
        check_ok(confab_loop_run(server.loop)); /* until all have gone */
        check_eq(waitpid(pid, &status, 0), pid);
        check_eq(status, 0);
        close(go_on[1]);
        end_server(N);
}

TEST_TIMEOUT(ten_thousand_clients, 120) {
        ten_thousand("tcp://127.0.0.1:0");
}

TEST_TIMEOUT(ten_thousand_clients_with_lines, 120) {
        ten_thousand("tcp://127.0.0.1:0?frame=line");
}

/* --- no descriptors left --- */

enum { N_OLD = 20 };

/* N_OLD clients that stay and ping without a pause, while n others want in, each for one ping. */
static void crowd(int port, int n, int unused) {
        struct sockaddr_in address = server_address(port);
        struct pollfd *polls = calloc((size_t)n, sizeof(*polls));
        int old[N_OLD], n_done = 0;

        (void)unused;
        for (int i = 0; i < N_OLD; i++) {
                old[i] = connected(port);
                ping(old[i], 30000);
        }
        for (int i = 0; i < n; i++) {
                polls[i] =
                        (struct pollfd){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0),
                                        .events = POLLOUT};
                check(polls[i].fd >= 0);
                check(connect(polls[i].fd, (struct sockaddr *)&address, sizeof(address)) == 0 ||
                      errno == EINPROGRESS);
        }
        while (n_done < n) {
                for (int i = 0; i < N_OLD; i++)
                        ping(old[i], 30000); /* those accepted go on, whatever happens at the door */
                check(poll(polls, (nfds_t)n, 10) >= 0);
                for (int i = 0; i < n; i++) {
                        char answer[8];
                        ssize_t r;

                        if (polls[i].fd < 0 || !polls[i].revents)
                                continue;
                        if (polls[i].events == POLLOUT) {
                                check_eq(send(polls[i].fd, "ping\n", 5, MSG_NOSIGNAL), 5);
                                polls[i].events = POLLIN;
                                continue;
                        }
                        r = recv(polls[i].fd, answer, sizeof(answer), 0);
                        check_eq(r, 5);
                        close(polls[i].fd);
                        polls[i].fd = -1;
                        n_done++;
                }
        }
        for (int i = 0; i < N_OLD; i++)
                close(old[i]);
        free(polls);
}

static double cpu_seconds(void) {
        struct rusage usage;

        check_eq(getrusage(RUSAGE_SELF, &usage), 0);
        return (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

TEST_TIMEOUT(no_descriptor_left, 120) {
        const char *wanted = getenv("CLIENTS");
        int n = wanted ? atoi(wanted) : 1000, go_on[2], status;
        struct rlimit limit;
        pid_t pid;

        raise_limit(n + 100);
        confab_on_event(on_event, NULL);
        pid = start_clients(start_server("tcp://127.0.0.1:0", n + N_OLD), n, go_on, crowd);
        close(go_on[1]);
        check_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        limit.rlim_cur = FEW_DESCRIPTORS;
        check_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        while (server.n_gone < n + N_OLD) /* gone: served */
                check(confab_loop_once(server.loop, CONFAB_FOREVER) >= 0);
        check_eq(waitpid(pid, &status, 0), pid);
        check_eq(status, 0);
        fprintf(stderr, "%d clients: accepting paused %d times\n", n, server.n_refused);
        check(server.n_refused > 0);
        check_eq(server.n_paused_events, server.n_refused);
        end_server(n + N_OLD);
}

/* Sixty clients that do nothing and more at the door: the loop sleeps, but for one look every 100 ms. */
static void idlers(int port, int n, int go_on) {
        int *fds = calloc((size_t)n, sizeof(int));

        for (int i = 0; i < n; i++)
                fds[i] = connected(port);
        check_eq(read(go_on, (char[1]){0}, 1), 1);
        for (int i = 0; i < n; i++)
                close(fds[i]);
        free(fds);
}

TEST_TIMEOUT(waiting_for_descriptors_does_not_spin, 60) {
        enum { N = 200 };
        int64_t deadline_ns;
        struct rlimit limit;
        int go_on[2], n_steps = 0, status;
        double cpu;
        pid_t pid;

        confab_on_event(on_event, NULL);
        pid = start_clients(start_server("tcp://127.0.0.1:0", N), N, go_on, idlers);
        check_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        limit.rlim_cur = FEW_DESCRIPTORS;
        check_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        while (!server.n_refused)
                check(confab_loop_once(server.loop, CONFAB_FOREVER) >= 0);
        deadline_ns = confab_after(1000 * (int64_t)MS);
        cpu = cpu_seconds();
        for (; confab_now() < deadline_ns; n_steps++)
                check(confab_loop_once(server.loop, deadline_ns) >= 0);
        cpu = cpu_seconds() - cpu;
        fprintf(stderr, "a second without descriptors: %d steps, %.3f s of the processor\n", n_steps, cpu);
        check(n_steps <= 50); /* ten looks: a timer and a listener each, and the last */
        check(cpu < 0.2);
        check_eq(write(go_on[1], "x", 1), 1);
        while (server.n_gone < N)
                check(confab_loop_once(server.loop, CONFAB_FOREVER) >= 0);
        check_eq(waitpid(pid, &status, 0), pid);
        check_eq(status, 0);
        close(go_on[1]);
        end_server(N);
}
