/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Services: every model, its limits, its end, and what a killed supervisor leaves. The supervisor is a process of its own here; what its
 * processes do is counted in a page that all of them share.
 */
#include "conversation.h"
#include "harness.h"

#include <confab/confab.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define MS INT64_C(1000000)

/* The test's own. */
static pid_t own_pid;

/* What all processes of a test see. */
static struct shared {
        _Atomic int n_refused, short_of_memory, n_calls, n_gone, n_events[32], last_pid, stubborn_may_end;
} * shared;

static struct supervisor {
        pid_t pid;
        char address[128];
        void (*before)(void); /* in its process, before it serves */
} service;

static void share(void) {
        shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        check(shared != MAP_FAILED);
}

static void (*when_told)(const struct confab_event *event, void *data);

static void count_event(const struct confab_event *event, void *data) {
        atomic_fetch_add(&shared->n_events[event->kind], 1);
        if (when_told)
                when_told(event, data);
}

static struct confab_service_options with(uint32_t model) {
        return (struct confab_service_options){
                .size = sizeof(struct confab_service_options), .model = model, .n_workers = 2};
}

/* Listens on @address and serves in a forked process, whose status tells confab_serve's answer: 0..99 as it is, 100 less an errno. */
static void start(const char *address, const struct confab_service_options *options,
                  confab_client_function function) {
        int told[2];
        ssize_t n;

        if (!shared)
                share();
        check_eq(pipe(told), 0);
        service.pid = fork();
        check(service.pid >= 0);
        if (service.pid == 0) {
                confab_endpoint *listener;
                int r;

                confab_on_event(count_event, NULL);
                if (service.before)
                        service.before();
                /* the last processes of a killed service may just be dying */
                while ((r = confab_listen(&listener, address, NULL, CONFAB_FOREVER)) == -EADDRINUSE)
                        usleep(1000);
                check_ok(r);
                check(write(told[1], confab_address(listener), strlen(confab_address(listener))) > 0);
                close(told[0]);
                close(told[1]);
                r = confab_serve(&listener, 1, options, function, NULL);
                confab_close(listener);
                _exit(r < 0 ? 100 - r : r);
        }
        close(told[1]);
        n = read(told[0], service.address, sizeof(service.address) - 1);
        close(told[0]);
        check(n > 0);
        service.address[n] = '\0';
}

static int result(void) {
        int status;

        check_eq(waitpid(service.pid, &status, 0), service.pid);
        check(WIFEXITED(status));
        return WEXITSTATUS(status) > 100 ? 100 - WEXITSTATUS(status) : WEXITSTATUS(status);
}

static int stop(void) {
        check_eq(kill(service.pid, SIGTERM), 0);
        return result();
}

static confab_endpoint *connected(void) {
        confab_endpoint *client;

        check_ok(confab_open(&client, service.address, NULL, soon()));
        return client;
}

/* Waits for what other processes do; the harness's timeout ends a wait in vain. */
#define await(condition)     \
        while (!(condition)) \
        usleep(1000)

/* --- functions that serve --- */

/* Sends back what comes, and then the own pid where "pid" came. As good in a loop as in a process. */
static int echo(struct confab_client *client, void *data) {
        struct confab_message message = confab_message_of(NULL, 0);
        int r = confab_receive(client->endpoint, &message, NULL, client->deadline_ns);
        char pid[32];

        (void)data;
        atomic_fetch_add(&shared->n_calls, 1);
        if (r <= 0)
                return r;
        if (message.data_len == 3 && memcmp(message.data, "pid", 3) == 0) {
                snprintf(pid, sizeof(pid), "%d", (int)getpid());
                message.data = pid;
                message.data_len = strlen(pid);
        }
        {
                struct confab_message answer = confab_message_of(message.data, message.data_len);

                answer.peer =
                        message.peer && (message.peer->flags & CONFAB_PEER_ADDRESS) ? message.peer : NULL;
                answer.type = message.type;
                r = confab_send(client->endpoint, &answer, client->deadline_ns) < 0 ? -EIO : 1;
        }
        confab_release(client->endpoint, &message);
        return r;
}

static int ask_pid(confab_endpoint *client) {
        struct confab_message message = confab_message_of(NULL, 0);
        char text[32] = "";

        send_text(client, "pid");
        check_eq(confab_receive(client, &message, NULL, soon()), 1);
        memcpy(text, message.data, message.data_len < 31 ? message.data_len : 31);
        confab_release(client, &message);
        return atoi(text);
}

static void check_end(confab_endpoint *client) {
        struct confab_message message = confab_message_of(NULL, 0);
        int r = confab_receive(client, &message, NULL, soon());

        check(r == 0 || r == -ECONNRESET);
        confab_close(client);
}

/* Never returns by itself, and is not ended by SIGTERM. */
static int stubborn(struct confab_client *client, void *data) {
        (void)data;
        signal(SIGTERM, SIG_IGN);
        atomic_fetch_add(&shared->n_calls, 1);
        send_text(client->endpoint, "x");
        while (!atomic_load(&shared->stubborn_may_end)) /* nobody says so */
                pause();
        return 0;
}

static int die(struct confab_client *client, void *data) {
        (void)client;
        (void)data;
        kill(getpid(), SIGKILL);
        return 0;
}

static const uint32_t models[] = {CONFAB_SERVE_FORK, CONFAB_SERVE_PREFORK, CONFAB_SERVE_LOOP};

/* --- the models --- */

TEST_TIMEOUT(every_model_serves, 60) {
        static const char *const addresses[] = {"tcp://127.0.0.1:0", "unix://@", "unix://@?type=seqpacket"};

        for (unsigned a = 0; a < 3; a++)
                for (unsigned m = 0; m < 3; m++) {
                        struct confab_service_options options = with(models[m]);
                        confab_endpoint *clients[6];

                        options.max_clients = m == 0 ? 0 : 8;
                        start(addresses[a], &options, echo);
                        for (int i = 0; i < 6; i++)
                                clients[i] = connected();
                        for (int round = 0; round < 2; round++)
                                for (int i = 0; i < 6; i++) {
                                        send_text(clients[i], "hello");
                                        receive_text(clients[i], "hello");
                                }
                        for (int i = 0; i < 6; i++)
                                confab_close(clients[i]);
                        check_eq(stop(), 0);
                }
}

TEST_TIMEOUT(processes_are_as_the_model_says, 60) {
        for (unsigned m = 0; m < 3; m++) {
                struct confab_service_options options = with(models[m]);
                confab_endpoint *a, *b;
                int pid_a, pid_b;

                start("unix://@", &options, echo);
                a = connected();
                b = connected();
                pid_a = ask_pid(a);
                pid_b = ask_pid(b);
                check_eq(pid_a == pid_b, models[m] == CONFAB_SERVE_LOOP);
                check_eq(pid_a == service.pid, models[m] == CONFAB_SERVE_LOOP);
                confab_close(a);
                confab_close(b);
                check_eq(stop(), 0);
                check_eq(kill(pid_a, 0), -1); /* nobody is left */
        }
}

/* The program's own child, and its mask, are none of the service's business. */
TEST(the_program_keeps_its_children_and_signals) {
        struct confab_service_options options = with(CONFAB_SERVE_FORK);
        confab_endpoint *listener = listen_on("unix://@");
        sigset_t before, after;
        pid_t own, killer;

        share();
        own = fork();
        if (own == 0)
                _exit(7);
        killer = fork();
        if (killer == 0) {
                confab_endpoint *client = open_to(confab_address(listener));

                check(ask_pid(client) > 0);
                confab_close(client);
                await(atomic_load(&shared->n_calls) == 2);
                kill(getppid(), SIGINT);
                _exit(0);
        }
        sigprocmask(SIG_SETMASK, NULL, &before);
        check_eq(confab_serve(&listener, 1, &options, echo, NULL), 0);
        sigprocmask(SIG_SETMASK, NULL, &after);
        for (int number = 1; number < 32; number++)
                check_eq(sigismember(&before, number), sigismember(&after, number));
        {
                int status;

                check_eq(waitpid(own, &status, 0), own);
                check_eq(WEXITSTATUS(status), 7);
                check_eq(waitpid(killer, &status, 0), killer);
                check_eq(status, 0);
        }
        confab_close(listener);
}

static const char *const cat[] = {"cat", NULL};

TEST_TIMEOUT(programs_serve, 60) {
        struct confab_service_options options = with(CONFAB_SERVE_FORK);
        confab_endpoint *clients[4];

        options.command = (char *const *)(uintptr_t)cat;
        options.grace_ns = 20 * MS;
        start("tcp://127.0.0.1:0", &options, NULL);
        for (int i = 0; i < 4; i++)
                clients[i] = connected();
        for (int i = 0; i < 4; i++) {
                send_text(clients[i], "hello");
                receive_text(clients[i], "hello");
        }
        for (int i = 0; i < 3; i++)
                confab_close(clients[i]);
        check(stop() >= 1); /* one has to be ended; the others may not have got so far */
        check_end(clients[3]);
}

/* Loop and workers without connections: a message is a call. */
TEST_TIMEOUT(datagrams_and_queues, 60) {
        static const char *const addresses[] = {"udp://127.0.0.1:0", "unix://@?type=datagram"};
        static const uint32_t fit[] = {CONFAB_SERVE_PREFORK, CONFAB_SERVE_LOOP};

        for (unsigned a = 0; a < 2; a++)
                for (unsigned m = 0; m < 2; m++) {
                        struct confab_service_options options = with(fit[m]);
                        confab_endpoint *client;

                        start(addresses[a], &options, echo);
                        client = connected();
                        for (int i = 0; i < 10; i++) {
                                send_text(client, "hello");
                                receive_text(client, "hello");
                        }
                        confab_close(client);
                        check_eq(stop(), 0);
                }
}

/* Does not like what is "bad", as a parser. */
static int picky(struct confab_client *client, void *data) {
        struct confab_message message = confab_message_of(NULL, 0);
        int r = confab_receive(client->endpoint, &message, NULL, client->deadline_ns);

        (void)data;
        if (r <= 0)
                return r;
        if (message.data_len == 3 && memcmp(message.data, "bad", 3) == 0) {
                r = -EPROTO;
        } else {
                struct confab_message answer = confab_message_of(message.data, message.data_len);

                answer.peer = message.peer;
                r = confab_send(client->endpoint, &answer, client->deadline_ns) < 0 ? -EIO : 1;
        }
        confab_release(client->endpoint, &message);
        return r;
}

static void *allocate(size_t len, void *data) {
        (void)data;
        if (shared && atomic_load(&shared->short_of_memory) && getpid() != own_pid) {
                atomic_fetch_add(&shared->n_refused, 1);
                return NULL;
        }
        return malloc(len);
}

static void release(void *memory, void *data) {
        (void)data;
        free(memory);
}

/* Memory is short when a client comes: the service looks again after pauses, not all the time, and serves in the end. */
TEST_TIMEOUT(little_memory, 60) {
        struct confab_allocator allocator = {
                .size = sizeof(allocator), .allocate = allocate, .release = release};

        own_pid = getpid();
        check_ok(confab_set_allocator(&allocator));
        share();
        for (unsigned m = 1; m < 3; m++) {
                struct confab_service_options options = with(models[m]);
                confab_endpoint *client;
                int64_t since_ns;

                start("unix://@", &options, echo);
                client = connected();
                check(ask_pid(client) > 0); /* it serves */
                confab_close(client);
                atomic_store(&shared->n_refused, 0);
                atomic_store(&shared->short_of_memory, 1);
                since_ns = confab_now();
                client = connected();
                send_text(client, "hello");
                await(atomic_load(&shared->n_refused) >= 3);
                nap_ms(200);
                check(atomic_load(&shared->n_refused) <
                      200 + elapsed_ms(since_ns)); /* without a pause a hundred a ms */
                atomic_store(&shared->short_of_memory, 0);
                receive_text(client, "hello");
                confab_close(client);
                check_eq(stop(), 0);
        }
}

/* A failure drops its message alone, however many there are: nobody ends a service by bad messages. */
TEST_TIMEOUT(bad_messages_end_nothing, 60) {
        static const uint32_t fit[] = {CONFAB_SERVE_PREFORK, CONFAB_SERVE_LOOP};

        for (unsigned m = 0; m < 2; m++) {
                struct confab_service_options options = with(fit[m]);
                confab_endpoint *client;

                start("unix://@?type=datagram", &options, picky);
                client = connected();
                for (int i = 0; i < 100; i++)
                        send_text(client, "bad");
                send_text(client, "good");
                receive_text(client, "good");
                confab_close(client);
                check_eq(stop(), 0);
        }
}

TEST(what_a_model_cannot_do_is_said) {
        static const struct {
                const char *address;
                uint32_t model, flags;
                int error;
                const char *says;
        } cases[] = {
                {"udp://127.0.0.1:0", CONFAB_SERVE_FORK, 0, -EOPNOTSUPP, "prefork"},
                {"fifo://", CONFAB_SERVE_PREFORK, 0, -EOPNOTSUPP, "one stream"},
                {"unix://@", 4, 0, -EINVAL, "model"},
                {"unix://@", CONFAB_SERVE_FORK, 64, -EINVAL, "flag"},
                {"unix://@", CONFAB_SERVE_LOOP, CONFAB_SERVE_ON_DEMAND, -EINVAL, "demand"},
        };
        struct confab_service_options whole = with(CONFAB_SERVE_LOOP);
        confab_endpoint *other = listen_on("unix://@");
        static const char *const nothing[] = {"/no/such/program", NULL};
        char names[498] = "";

        check_eq(confab_serve(&other, 1, &whole, NULL, NULL), -EINVAL);
        whole.command = (char *const *)(uintptr_t)cat;
        check_eq(confab_serve(&other, 1, &whole, NULL, NULL), -EOPNOTSUPP);
        whole.model = CONFAB_SERVE_FORK;
        check_eq(confab_serve(&other, 1, &whole, echo, NULL), -EINVAL);
        whole.idle_ns = MS;
        check_eq(confab_serve(&other, 1, &whole, NULL, NULL), -EOPNOTSUPP);
        whole.idle_ns = 0;
        whole.model = CONFAB_SERVE_PREFORK;
        whole.max_clients = 1;
        check_eq(confab_serve(&other, 1, &whole, NULL, NULL), -EOPNOTSUPP);
        check_says("by itself");
        whole.max_clients = 0;
        whole.client_ns = MS;
        check_eq(confab_serve(&other, 1, &whole, NULL, NULL), -EOPNOTSUPP);
        whole.client_ns = 0;
        memset(names, 'n', sizeof(names) - 1);
        whole.listener_names = names;
        check_eq(confab_serve(&other, 1, &whole, NULL, NULL), -EINVAL);
        check_says("listener_names");
        whole.listener_names = NULL;
        whole.model = CONFAB_SERVE_FORK;
        whole.command = (char *const *)(uintptr_t)nothing;
        check_eq(confab_serve(&other, 1, &whole, NULL, NULL), -ENOENT);
        confab_close(other);

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                char address[200], folder[128];
                confab_endpoint *listener;
                struct confab_service_options options = with(cases[i].model);
                bool fifo = strcmp(cases[i].address, "fifo://") == 0;

                check(getcwd(folder, sizeof(folder)));
                snprintf(address, sizeof(address), "%s%s%s", cases[i].address, fifo ? folder : "",
                         fifo ? "/fifo" : "");
                listener = listen_on(address);
                options.flags = cases[i].flags;
                check_eq(confab_serve(&listener, 1, &options, echo, NULL), cases[i].error);
                check_says(cases[i].says);
                confab_close(listener);
        }
        check_eq(confab_serve(NULL, 0, NULL, echo, NULL), -EINVAL);
}

/* --- limits --- */

TEST_TIMEOUT(more_clients_than_may_be_wait, 60) {
        static const uint32_t limited[] = {CONFAB_SERVE_PREFORK, CONFAB_SERVE_FORK, CONFAB_SERVE_LOOP};

        for (unsigned m = 0; m < 3; m++) {
                struct confab_service_options options = with(limited[m]);
                struct confab_message message = confab_message_of(NULL, 0);
                confab_endpoint *a, *b, *late;

                options.max_clients = 2;
                options.n_workers = 4;
                start("tcp://127.0.0.1:0", &options, echo);
                a = connected();
                b = connected();
                check(ask_pid(a) > 0 && ask_pid(b) > 0);
                late = connected();
                send_text(late, "late");
                check_eq(confab_receive(late, &message, NULL, after_ms(50)), -ETIMEDOUT);
                send_text(a, "still here");
                receive_text(a, "still here");
                if (m > 0) /* workers accept by themselves */
                        await(atomic_load(&shared->n_events[CONFAB_EVENT_SERVICE_FULL]) > 0);
                confab_close(a);
                receive_text(late, "late");
                confab_close(b);
                confab_close(late);
                check_eq(stop(), 0);
        }
}

/* FAULTS row 37: with few descriptors everybody is served in the end. */
TEST_TIMEOUT(few_descriptors, 60) {
        enum { N = 60 };

        for (unsigned m = 0; m < 3; m++) {
                struct confab_service_options options = with(models[m]);
                struct rlimit few, before;
                confab_endpoint *clients[N];

                options.max_clients = m == 1 ? 200 : 0;
                check_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
                few = before;
                few.rlim_cur = 32;
                check_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
                start("tcp://127.0.0.1:0", &options, echo);
                check_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
                for (int i = 0; i < N; i++) {
                        clients[i] = connected();
                        send_text(clients[i], "hello");
                }
                for (int i = 0; i < N; i++) {
                        receive_text(clients[i], "hello");
                        confab_close(clients[i]);
                }
                check_eq(stop(), 0);
        }
}

static struct rlimit enough;

static void give_descriptors(int number) {
        (void)number;
        setrlimit(RLIMIT_NOFILE, &enough);
}

/* In a service that lacks descriptors: after more pauses than an idle time lasts there are enough again. */
static void descriptors_come_back(const struct confab_event *event, void *data) {
        static const struct itimerval later = {.it_interval.tv_usec = 300000, .it_value.tv_usec = 700000};
        static int n_accept_pauses;

        (void)data;
        n_accept_pauses += event->kind == CONFAB_EVENT_ACCEPT_PAUSED;
        if (event->kind == CONFAB_EVENT_SERVICE_PAUSED) { /* told once */
                signal(SIGALRM, give_descriptors);
                setitimer(ITIMER_REAL, &later, NULL);
        }
        if (n_accept_pauses >= 25)
                give_descriptors(0);
}

/*
 * A service that lacks a descriptor, where is found by trying: neither does it take a client that it cannot serve yet for nobody, nor a worker
 * that it cannot start yet for one that died.
 */
static void serve_with_few(struct confab_service_options options, confab_client_function function) {
        int first = dup(0);

        check(first >= 0);
        close(first);
        check_eq(getrlimit(RLIMIT_NOFILE, &enough), 0);
        when_told = descriptors_come_back;
        share();
        for (int more = 4; more < 16; more++) {
                struct rlimit few = enough;
                confab_endpoint *client;
                char text[16];
                int r;

                few.rlim_cur = (rlim_t)first + (rlim_t)more;
                check_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
                start("unix://@", &options, function);
                check_eq(setrlimit(RLIMIT_NOFILE, &enough), 0);
                r = confab_open(&client, service.address, NULL, soon());
                if (r >= 0) {
                        r = try_send(client, "hello", soon()) < 0
                                    ? 0
                                    : try_receive(client, text, sizeof(text), soon());
                        confab_close(client);
                }
                /* Else there were too few to begin, or the idle time was over before anybody came. */
                if (atomic_exchange(&shared->n_events[CONFAB_EVENT_SERVICE_PAUSED], 0))
                        check_eq(r, 1);
                r = r == 1 ? stop() : result();
                check(r == 0 || r == -EMFILE);
        }
}

TEST_TIMEOUT(who_could_not_be_served_yet_is_a_client, 120) {
        struct confab_service_options options = with(CONFAB_SERVE_FORK);

        options.command = (char *const *)(uintptr_t)cat;
        options.idle_stop_ns = 100 * MS;
        serve_with_few(options, NULL);
}

TEST_TIMEOUT(a_worker_that_cannot_be_started_has_not_died, 120) {
        struct confab_service_options options = with(CONFAB_SERVE_PREFORK);

        options.n_workers = 1;
        options.max_restarts = 3;
        serve_with_few(options, echo);
}

static void gone(struct confab_client *client, void *data) {
        (void)client;
        (void)data;
        atomic_fetch_add(&shared->n_gone, 1);
}

TEST_TIMEOUT(silent_clients_are_ended, 60) {
        for (unsigned m = 0; m < 3; m++) {
                struct confab_service_options options = with(models[m]);
                confab_endpoint *client;

                options.idle_ns = 30 * MS;
                options.gone = gone;
                start("unix://@", &options, echo);
                client = connected();
                check_end(client);
                check_eq(stop(), 0);
                check_eq(atomic_exchange(&shared->n_gone, 0), 1);
        }
}

/* A talkative client ends too; and a function that waits for something else, by force. */
TEST_TIMEOUT(long_clients_are_ended, 60) {
        struct confab_service_options options = with(CONFAB_SERVE_FORK);
        confab_endpoint *client;

        options.client_ns = 3000 * MS; /* so long it may take to be ready for the signal */
        start("unix://@", &options, stubborn);
        client = connected();
        receive_text(client, "x");
        check_end(client);
        await(atomic_load(&shared->n_events[CONFAB_EVENT_CLIENT_PROCESS_ENDED]) == 1);
        check_eq(atomic_load(&shared->n_events[CONFAB_EVENT_CLIENT_OUT_OF_TIME]), 1);
        check_eq(stop(), 0);
        for (unsigned m = 0; m < 3; m++) {
                char text[16];
                int r;

                options = with(models[m]);
                options.client_ns = 50 * MS;
                start("unix://@", &options, echo);
                client = connected();
                do
                        r = try_send(client, "more", soon()) < 0
                                    ? 0
                                    : try_receive(client, text, sizeof(text), soon());
                while (r > 0);
                check(r == 0 || r == -ECONNRESET || r == -EPIPE);
                confab_close(client);
                check_eq(stop(), 0);
        }
}

/* --- the end --- */

TEST_TIMEOUT(clients_may_finish, 60) {
        for (unsigned m = 0; m < 3; m++) {
                struct confab_service_options options = with(models[m]);
                confab_endpoint *client, *late;

                options.grace_ns = 60000 * MS;
                start("unix://@", &options, echo);
                client = connected();
                check(ask_pid(client) > 0);
                check_eq(kill(service.pid, SIGTERM), 0);
                late = connected(); /* the queue is the kernel's: it gets in, and is mostly served by nobody */
                check_ok(confab_shutdown(late, CONFAB_SEND, soon()));
                send_text(client, "finish");
                receive_text(client, "finish");
                confab_close(client);
                check_eq(result(), 0);
                check_end(late);
        }
}

TEST_TIMEOUT(who_does_not_finish_is_ended, 60) {
        for (unsigned m = 0; m < 2; m++) {
                struct confab_service_options options = with(models[m]);
                confab_endpoint *client;

                options.grace_ns = 20 * MS;
                options.n_workers = 1;
                start("unix://@", &options, stubborn);
                client = connected();
                receive_text(client, "x");
                check_eq(stop(), 1);
                check_end(client);
        }
}

TEST_TIMEOUT(a_second_signal_ends_at_once, 60) {
        for (unsigned m = 0; m < 3; m++) {
                struct confab_service_options options = with(models[m]);
                confab_endpoint *client;

                options.grace_ns = INT64_MAX;
                options.n_workers = 1;
                start("unix://@", &options, m == 2 ? echo : stubborn);
                client = connected();
                if (m == 2)
                        check(ask_pid(client) > 0);
                else
                        receive_text(client, "x");
                check_eq(kill(service.pid, SIGTERM), 0);
                check_eq(kill(service.pid, SIGINT), 0);
                check_eq(result(), 1);
                check_end(client);
        }
}

/* Ctrl-C reaches every process of the group: clients of a function finish with theirs all the same. */
TEST_TIMEOUT(a_signal_to_the_whole_group_lets_clients_finish, 60) {
        static const int numbers[] = {SIGINT, SIGHUP};

        for (unsigned i = 0; i < 6; i++) {
                struct confab_service_options options = with(models[i % 3]);
                int number = numbers[i / 3];
                confab_endpoint *client;
                sigset_t one, before;

                options.grace_ns = 60000 * MS;
                start("unix://@", &options, echo);
                client = connected();
                check(ask_pid(client) > 0);
                sigemptyset(&one);
                sigaddset(&one, number);
                sigprocmask(SIG_BLOCK, &one, &before);
                check_eq(kill(0, number), 0);
                check_eq(restarted(sigwaitinfo(&one, NULL)), number); /* ours */
                sigprocmask(SIG_SETMASK, &before, NULL);
                send_text(client, "finish");
                receive_text(client, "finish");
                confab_close(client);
                check_eq(result(), 0);
        }
}

/* Under nohup a hang-up is none, and in the background of a plain shell's script Ctrl-C is none. */
TEST_TIMEOUT(what_is_ignored_ends_nothing, 60) {
        for (unsigned m = 0; m < 3; m++) {
                struct confab_service_options options = with(models[m]);
                confab_endpoint *client;

                signal(SIGHUP, SIG_IGN);
                signal(SIGINT, SIG_IGN);
                start("unix://@", &options, echo);
                client = connected();
                check(ask_pid(client) > 0); /* it serves, so what it wants to hear of it hears of by now */
                check_eq(kill(service.pid, SIGHUP), 0);
                check_eq(kill(service.pid, SIGINT), 0);
                check(ask_pid(client) > 0);
                confab_close(client);
                client = connected();
                check(ask_pid(client) > 0); /* a loop that had heard of the end would accept nobody now */
                confab_close(client);
                check_eq(stop(), 0);
        }
}

/* Kill -9: nothing of it lives on, and the name it leaves is taken over. */
TEST_TIMEOUT(a_killed_supervisor_leaves_nothing, 60) {
        for (unsigned m = 0; m < 3; m++) {
                struct confab_service_options options = with(models[m]);
                confab_endpoint *client;
                int status, pid;

                for (int life = 0; life < 3; life++) {
                        start("unix://socket", &options, echo);
                        client = connected();
                        pid = ask_pid(client);
                        check(pid > 0);
                        check_eq(kill(service.pid, SIGKILL), 0);
                        check_eq(waitpid(service.pid, &status, 0), service.pid);
                        check_end(client); /* its process has ended too, or it would wait for more */
                        if (pid != service.pid)
                                await(waitpid(pid, NULL, WNOHANG) != 0); /* the harness adopts it */
                }
                start("unix://socket", &options, echo);
                client = connected();
                check(ask_pid(client) > 0);
                confab_close(client);
                check_eq(stop(), 0);
                check(folder_is_empty());
        }
}

/* Who outlives the service goes on with its client, and holds neither the listener nor a signal back. */
static int tell_blocked(struct confab_client *client, void *data) {
        sigset_t blocked;

        sigprocmask(SIG_SETMASK, NULL, &blocked);
        try_send(client->endpoint, sigismember(&blocked, SIGTERM) ? "blocked" : "free", CONFAB_NOW);
        return echo(client, data);
}

TEST_TIMEOUT(who_may_outlive_the_service_does, 60) {
        struct confab_service_options options = with(CONFAB_SERVE_FORK);
        confab_endpoint *client, *other;
        int pid, pidfd;

        options.flags = CONFAB_SERVE_OUTLIVE;
        start("unix://socket?type=seqpacket", &options, tell_blocked);
        client = connected();
        receive_text(client, "free");
        pid = ask_pid(client);
        pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        check(pidfd >= 0);
        check_eq(kill(service.pid, SIGKILL), 0);
        check_eq(waitpid(service.pid, NULL, 0), service.pid);
        other = listen_on("unix://socket?type=seqpacket");
        receive_text(client, "free");
        check_eq(ask_pid(client), pid);
        confab_close(client);
        confab_close(other);
        check_eq(poll(&(struct pollfd){.fd = pidfd, .events = POLLIN}, 1, 50000), 1);
        close(pidfd);
}

TEST(a_stop_of_the_programs_loop_is_a_signal) {
        struct confab_service_options options = with(CONFAB_SERVE_LOOP);
        confab_endpoint *listener = listen_on("unix://@");

        check_ok(confab_loop_new(&options.loop));
        for (int i = 0; i < 2; i++) {
                confab_loop_stop(options.loop);
                check_eq(confab_serve(&listener, 1, &options, echo, NULL), 0);
        }
        confab_loop_free(options.loop);
        confab_close(listener);
}

/* Also before anybody came, where the machine is slow. */
TEST_TIMEOUT(an_idle_service_ends, 60) {
        for (unsigned m = 0; m < 3; m++) {
                struct confab_service_options options = with(models[m]);
                confab_endpoint *client = NULL;

                options.idle_stop_ns = 200 * MS;
                start("unix://@", &options, echo);
                if (confab_open(&client, service.address, NULL, soon()) >= 0) {
                        char text[32];

                        if (try_send(client, "pid", soon()) == 3)
                                try_receive(client, text, sizeof(text), soon());
                        confab_close(client);
                }
                check_eq(result(), 0);
        }
}

/* --- processes made before their clients come --- */

/* Whether process @pid lives, no zombie, and is a child of the service's. */
static bool is_child(const char *pid) {
        char path[300], text[512] = "", *state;
        int parent = 0;
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%s/stat", pid);
        file = fopen(path, "r");
        if (!file)
                return false;
        if (!fgets(text, sizeof(text), file))
                text[0] = '\0';
        fclose(file);
        state = strrchr(text, ')');
        return state && state[2] != 'Z' && sscanf(state + 4, "%d", &parent) == 1 && parent == service.pid;
}

/* Those of the service's (@pids has room for 256). */
static int children(int *pids) {
        DIR *folder = opendir("/proc");
        struct dirent *entry;
        int n = 0;

        check(folder != NULL);
        while ((entry = readdir(folder)) && n < 256)
                if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9' && is_child(entry->d_name))
                        pids[n++] = atoi(entry->d_name);
        closedir(folder);
        return n;
}

static bool lives(int pid) {
        char text[16];

        snprintf(text, sizeof(text), "%d", pid);
        return is_child(text);
}

static int n_children(void) {
        int pids[256];

        return children(pids);
}

/* A process serves one client and no second one, however many come; where nobody comes one waits, in a moment again. */
TEST_TIMEOUT(spares_serve_one_each_and_go_again, 120) {
        enum { N = 600, AT_ONCE = 30 };
        struct confab_service_options options = with(CONFAB_SERVE_FORK);
        confab_endpoint *clients[AT_ONCE];
        int *pids = calloc(N, sizeof(*pids)), n = 0;

        check(pids != NULL);
        start("unix://@", &options, echo);
        await(n_children() == 1);
        while (n < N) {
                for (int i = 0; i < AT_ONCE; i++)
                        clients[i] = connected();
                for (int i = 0; i < AT_ONCE; i++, n++) {
                        pids[n] = ask_pid(clients[i]);
                        for (int k = 0; k < i; k++)
                                check(pids[n] != pids[n - 1 - k]);
                }
                for (int i = 0; i < AT_ONCE; i++)
                        confab_close(clients[i]);
        }
        await(n_children() == 1);
        check_eq(atomic_load(&shared->n_events[CONFAB_EVENT_CLIENT_PROCESS_ENDED]), 0);
        check_eq(stop(), 0);
        check_eq(atomic_load(&shared->n_calls), 2 * N); /* the message, and the end */
        free(pids);
}

/* Whatever is killed at whatever moment, those that come later are served. */
TEST_TIMEOUT(killed_spares_are_replaced, 120) {
        struct confab_service_options options = with(CONFAB_SERVE_FORK);
        int pids[256];

        start("tcp://127.0.0.1:0", &options, echo);
        for (int round = 0; round < 10; round++) {
                confab_endpoint *clients[8], *client;
                int n;

                for (int i = 0; i < 8; i++)
                        clients[i] = connected(); /* some of whom have a process by now */
                if (round % 2)
                        await(n_children() > 0);
                n = children(pids);
                for (int i = 0; i < n; i++)
                        kill(pids[i], SIGKILL);
                for (int i = 0; i < n; i++)
                        await(!lives(pids[i])); /* dying it may still take a client along */
                for (int i = 0; i < 8; i++)
                        confab_close(clients[i]);
                client = connected();
                check(ask_pid(client) > 0);
                confab_close(client);
        }
        check_eq(stop(), 0);
}

/* So many at once and no more processes than that, spares among them. */
TEST_TIMEOUT(spares_count_as_clients_that_may_be, 60) {
        struct confab_service_options options = with(CONFAB_SERVE_FORK);

        options.max_clients = 3;
        start("unix://@", &options, echo);
        for (int i = 0; i < 100; i++) {
                confab_endpoint *client = connected();

                check(ask_pid(client) > 0);
                check(n_children() <= 3);
                confab_close(client);
        }
        check_eq(stop(), 0);
}

static void ignore_children(void) {
        signal(SIGCHLD, SIG_IGN);
}

/* Then the kernel reaps, and numbers may be anybody's at once. */
TEST_TIMEOUT(a_program_that_ignores_its_children, 60) {
        struct confab_service_options options = with(CONFAB_SERVE_FORK);

        service.before = ignore_children;
        start("unix://@", &options, echo);
        for (int i = 0; i < 200; i++) {
                confab_endpoint *client = connected();

                check(ask_pid(client) > 0);
                confab_close(client);
        }
        await(n_children() == 1);
        check_eq(stop(), 0);
}

/* --- a successor --- */

/* One that cannot be started, and one that ends before it is ready: nothing happens but that it is told. */
TEST_TIMEOUT(a_successor_that_fails_changes_nothing, 60) {
        static const char *const bad[2][4] = {{"/no/such/program", NULL}, {"/bin/sh", "-c", "exit 3", NULL}};

        for (unsigned m = 0; m < 3; m++)
                for (int i = 0; i < 2; i++) {
                        struct confab_service_options options = with(models[m]);
                        confab_endpoint *client;

                        options.successor = (char *const *)(uintptr_t)bad[i];
                        start("unix://socket", &options, echo);
                        client = connected();
                        check(ask_pid(client) > 0);
                        check_eq(kill(service.pid, SIGUSR2), 0);
                        await(atomic_load(&shared->n_events[CONFAB_EVENT_SUCCESSOR_FAILED]) == 1);
                        atomic_store(&shared->n_events[CONFAB_EVENT_SUCCESSOR_FAILED], 0);
                        check(ask_pid(client) > 0);
                        confab_close(client);
                        client = connected();
                        check(ask_pid(client) > 0);
                        confab_close(client);
                        check_eq(stop(), 0);
                        check(folder_is_empty()); /* the name is still ours to remove */
                }
}

/* One that never says it is ready ends with the service. */
TEST_TIMEOUT(a_successor_that_is_not_ready_ends_with_the_service, 60) {
        static const char *const silent[] = {"/bin/sh", "-c", "exec sleep 1000", NULL};
        struct confab_service_options options = with(CONFAB_SERVE_LOOP);
        confab_endpoint *client;
        int pids[256];

        options.successor = (char *const *)(uintptr_t)silent;
        start("unix://@", &options, echo);
        client = connected();
        check(ask_pid(client) > 0);
        confab_close(client);
        check_eq(kill(service.pid, SIGUSR2), 0);
        await(children(pids) == 1);
        check_eq(stop(), 0);
        await(kill(pids[0], 0) < 0);
}

/* --- no process is to be had --- */

enum { NOBODY_ELSE = 54321 }; /* a user whom nobody runs anything for */

static void allow_processes(int number) {
        struct rlimit limit;

        (void)number;
        if (getrlimit(RLIMIT_NPROC, &limit) == 0) {
                limit.rlim_cur = limit.rlim_max;
                setrlimit(RLIMIT_NPROC, &limit);
        }
}

static void be_allowed_no_process(void) {
        struct rlimit limit;

        signal(SIGUSR1, allow_processes);
        check_eq(getrlimit(RLIMIT_NPROC, &limit), 0);
        limit.rlim_cur = 0;
        check_eq(setrlimit(RLIMIT_NPROC, &limit), 0);
        check_eq(setgid(NOBODY_ELSE), 0);
        check_eq(setuid(NOBODY_ELSE), 0);
}

/* Told once; who comes meanwhile waits, is refused nothing, and is served when it is over. */
static void without_processes(const struct confab_service_options *options, confab_client_function function) {
        confab_endpoint *clients[3];
        char text[16];

        if (geteuid() != 0)
                harness_skip("needs root to have a user without processes");
        service.before = be_allowed_no_process;
        start("tcp://127.0.0.1:0", options, function);
        for (int i = 0; i < 3; i++) {
                clients[i] = connected();
                send_text(clients[i], "hello");
        }
        await(atomic_load(&shared->n_events[CONFAB_EVENT_SERVICE_PAUSED]) == 1);
        check_eq(try_receive(clients[0], text, sizeof(text), after_ms(300)), -ETIMEDOUT); /* several pauses */
        check_eq(atomic_load(&shared->n_events[CONFAB_EVENT_SERVICE_PAUSED]), 1);
        check_eq(kill(service.pid, SIGUSR1), 0);
        for (int i = 0; i < 3; i++) {
                receive_text(clients[i], "hello");
                confab_close(clients[i]);
        }
        check_eq(atomic_load(&shared->n_events[CONFAB_EVENT_CLIENT_FAILED]), 0);
}

TEST_TIMEOUT(without_processes_spares_come_later, 60) {
        struct confab_service_options options = with(CONFAB_SERVE_FORK);

        without_processes(&options, echo);
        check_eq(stop(), 0);
}

TEST_TIMEOUT(without_processes_the_client_is_kept, 60) {
        struct confab_service_options options = with(CONFAB_SERVE_FORK);

        options.flags = CONFAB_SERVE_OUTLIVE; /* no spares */
        without_processes(&options, echo);
        check_eq(stop(), 0);
}

TEST_TIMEOUT(without_processes_programs_start_later, 60) {
        struct confab_service_options options = with(CONFAB_SERVE_FORK);

        options.command = (char *const *)(uintptr_t)cat;
        options.grace_ns = 60000 * MS;
        without_processes(&options, NULL);
        check_eq(stop(), 0);
}

/* Workers too: none at first, all in the end. */
TEST_TIMEOUT(without_processes_workers_start_later, 60) {
        struct confab_service_options options = with(CONFAB_SERVE_PREFORK);

        options.n_workers = 1;
        without_processes(&options, echo);
        check_eq(stop(), 0);
}

/* --- workers --- */

/* FAULTS row 41. Clients queue while workers are killed all the time: whoever was not with a dying worker is served. */
TEST_TIMEOUT(workers_are_killed_while_clients_queue, 120) {
        enum { N = 2000, AT_ONCE = 100 };
        struct confab_service_options options = with(CONFAB_SERVE_PREFORK);
        confab_endpoint *clients[AT_ONCE];
        int64_t since_ns = confab_now();
        int n_served = 0, n_lost = 0, n = 0;
        pid_t killer;

        options.restart_max_ns = 50 * MS;
        start("unix://@", &options, echo);
        killer = fork();
        if (killer == 0)
                for (;;) {
                        int pid = atomic_exchange(&shared->last_pid, 0);

                        if (pid)
                                kill(pid, SIGKILL);
                        usleep(100000);
                }
        for (; n == 0 || (n < N && elapsed_ms(since_ns) < 5000); n += AT_ONCE) { /* fewer on a busy machine */
                for (int i = 0; i < AT_ONCE; i++)
                        clients[i] = connected();
                for (int i = 0; i < AT_ONCE; i++) {
                        char text[32];

                        if (try_send(clients[i], "pid", soon()) == 3 &&
                            try_receive(clients[i], text, sizeof(text), soon()) == 1) {
                                n_served++;
                                atomic_store(&shared->last_pid, atoi(text));
                        } else {
                                n_lost++;
                        }
                        confab_close(clients[i]);
                }
        }
        check_eq(kill(killer, SIGKILL), 0);
        check_eq(waitpid(killer, NULL, 0), killer);
        check_eq(n_served + n_lost, n);
        await(n_lost <=
              atomic_load(&shared->n_events[CONFAB_EVENT_WORKER_ENDED])); /* one for each death, at most */
        check_eq(stop(), 0);
}

/* A worker that cannot live: each client brings one death, and there are pauses between them. */
TEST_TIMEOUT(workers_that_die_are_started_after_pauses, 60) {
        struct confab_service_options options = with(CONFAB_SERVE_PREFORK);
        int64_t since_ns = confab_now();
        int n_deaths, least_ms = 0;

        options.n_workers = 1;
        options.restart_ns = 20 * MS;
        options.restart_max_ns = 80 * MS;
        start("unix://@", &options, die);
        for (int i = 0; i < 8; i++)
                check_end(connected());
        await(atomic_load(&shared->n_events[CONFAB_EVENT_WORKER_ENDED]) >= 8);
        n_deaths = atomic_load(&shared->n_events[CONFAB_EVENT_WORKER_ENDED]);
        for (int i = 1, pause_ms = 20; i < n_deaths - 1; i++, pause_ms = pause_ms < 80 ? pause_ms * 2 : 80)
                least_ms += pause_ms / 2; /* jitter takes half at most */
        check(elapsed_ms(since_ns) >= least_ms);
        check_eq(stop(), 0);

        options.max_restarts = 3;
        options.restart_ns = MS;
        options.restart_max_ns =
                100000 * MS; /* half of what a worker has to live for its deaths to be forgotten */
        start("unix://@", &options, die);
        for (int i = 0; i < 4; i++)
                check_end(connected());
        check_eq(result(), -ECHILD);

        options.restart_max_ns = CONFAB_FOREVER; /* no longest pause, so no death is ever forgotten */
        start("unix://@", &options, die);
        for (int i = 0; i < 4; i++)
                check_end(connected());
        check_eq(result(), -ECHILD);
}

TEST_TIMEOUT(workers_on_demand, 60) {
        struct confab_service_options options = with(CONFAB_SERVE_PREFORK);
        int first = 0;

        options.flags = CONFAB_SERVE_ON_DEMAND;
        options.n_workers = 1;
        options.idle_stop_ns = 200 * MS;
        start("unix://@", &options, echo);
        for (int life = 0; life < 3; life++) {
                confab_endpoint *client = connected();
                int pid = ask_pid(client);

                check(pid != first && pid != service.pid);
                first = pid;
                confab_close(client);
                await(kill(pid, 0) < 0);
        }
        check_eq(stop(), 0);
}

/* Who still has a client when nobody new comes finishes with it first. */
TEST_TIMEOUT(workers_on_demand_finish, 60) {
        struct confab_service_options options = with(CONFAB_SERVE_PREFORK);
        confab_endpoint *client;
        int pid;

        options.flags = CONFAB_SERVE_ON_DEMAND;
        options.n_workers = 1;
        options.idle_stop_ns = 100 * MS;
        options.grace_ns = 60000 * MS;
        start("unix://@", &options, echo);
        client = connected();
        pid = ask_pid(client);
        usleep(300000); /* long enough for the idle time to pass, on most days; never too long */
        check_eq(ask_pid(client), pid);
        confab_close(client);
        await(kill(pid, 0) < 0);
        check_eq(stop(), 0);
}
