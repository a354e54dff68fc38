/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * confab run --service ADDRESS --model MODEL -- COMMAND: a service, its clients served by programs or by one of three functions of ours.
 *
 * The functions are what every model can do without a program: to try a model, to measure one, to answer a probe.
 */
#include "run_service.h"
#include "endpoints.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { NOT_EXECUTABLE = 126, NOT_FOUND = 127, LISTENERS_MAX = 64 };

struct service {
        struct cli_args *args;
        struct confab_service_options options;
        confab_client_function function;
        confab_endpoint *listeners[LISTENERS_MAX];
        unsigned n_listeners;
        bool timed_out;
        char **successor; /* its command line; owned, as the path of its program where that had to be made */
        char *program;
};

/* --- functions that serve --- */

/* A message that is going back. */
struct owed {
        struct confab_message message;
        uint64_t sent;
        bool owes;
};

/* Sends on what is owed: 1 when all is out, -EAGAIN, or what failed. */
static int pay(struct confab_client *client, struct owed *owed) {
        const struct confab_message *in = &owed->message;

        do {
                struct confab_message out =
                        confab_message_of((const char *)in->data + owed->sent, in->data_len - owed->sent);
                int64_t n;

                out.type = in->type;
                out.priority = in->priority;
                if (in->peer != NULL && (in->peer->flags & CONFAB_PEER_ADDRESS) != 0)
                        out.peer = in->peer;
                n = confab_send(client->endpoint, &out, client->deadline_ns);
                if (n < 0)
                        return (int)n;
                owed->sent += (uint64_t)n;
        } while (owed->sent < in->data_len);
        return 1;
}

/* Who does not take its answers is read from no more, and holds up nobody else. */
static int echo(struct confab_client *client, void *data) {
        struct owed *owed = client->state;
        int r;

        (void)data;
        if (owed == NULL)
                owed = client->state = cli_allocate(sizeof(*owed));
        if (!owed->owes) {
                *owed = (struct owed){.message = confab_message_of(NULL, 0)};
                r = confab_receive(client->endpoint, &owed->message, NULL, client->deadline_ns);
                if (r <= 0)
                        return r;
                owed->owes = true;
        }
        r = pay(client, owed);
        client->wait_for = r == -EAGAIN ? CONFAB_SEND : CONFAB_RECEIVE;
        if (r != -EAGAIN) {
                confab_release(client->endpoint, &owed->message);
                owed->owes = false;
        }
        return r;
}

static int discard(struct confab_client *client, void *data) {
        struct confab_message message = confab_message_of(NULL, 0);
        int r = confab_receive(client->endpoint, &message, NULL, client->deadline_ns);

        (void)data;
        if (r > 0)
                confab_release(client->endpoint, &message);
        return r;
}

/* Whoever connects is told; where nobody connects, whoever asks. */
static int daytime(struct confab_client *client, void *data) {
        struct confab_message message = confab_message_of(NULL, 0), answer;
        time_t now = time(NULL);
        struct tm parts;
        char text[64];
        int64_t n;
        int r;

        (void)data;
        answer = confab_message_of(
                text, strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S%z\n", localtime_r(&now, &parts)));
        if (cli_accepts(client->endpoint)) {
                n = confab_send(client->endpoint, &answer, client->deadline_ns);
                return n < 0 ? (int)n : 0;
        }
        r = confab_receive(client->endpoint, &message, NULL, client->deadline_ns);
        if (r <= 0)
                return r;
        answer.peer = message.peer;
        n = confab_send(client->endpoint, &answer, client->deadline_ns);
        confab_release(client->endpoint, &message);
        return n < 0 ? (int)n : 1;
}

static void gone(struct confab_client *client, void *data) {
        struct owed *owed = client->state;

        (void)data;
        if (owed != NULL && owed->owes)
                confab_release(client->endpoint, &owed->message);
        free(owed);
}

static const struct {
        const char *name;
        confab_client_function function;
} functions[] = {{"echo", echo}, {"discard", discard}, {"daytime", daytime}};

/* --- options --- */

static int read_model(struct service *service) {
        static const struct {
                const char *name;
                uint32_t model;
        } models[] = {
                {"fork", CONFAB_SERVE_FORK}, {"prefork", CONFAB_SERVE_PREFORK}, {"loop", CONFAB_SERVE_LOOP}};
        const char *text = cli_text(service->args, "model");

        if (text == NULL)
                return CLI_DONE;
        for (unsigned i = 0; i < sizeof(models) / sizeof(models[0]); i++)
                if (strcmp(models[i].name, text) == 0)
                        service->options.model = models[i].model;
        return service->options.model != 0
                       ? CLI_DONE
                       : cli_usage(service->args, "--model: '%s' is none of fork, prefork, loop", text);
}

static int read_function(struct service *service) {
        struct cli_args *args = service->args;
        const char *text = cli_text(args, "function");

        if ((text == NULL) == (args->n_operands == 0))
                return cli_usage(args, text == NULL ? "a service needs a COMMAND, or --function"
                                                    : "either a COMMAND or --function serves the clients");
        for (unsigned i = 0; text != NULL && i < sizeof(functions) / sizeof(functions[0]); i++)
                if (strcmp(functions[i].name, text) == 0)
                        service->function = functions[i].function;
        if (text != NULL && service->function == NULL)
                return cli_usage(args, "--function: '%s' is none of echo, discard, daytime", text);
        if (text == NULL && service->options.model == CONFAB_SERVE_LOOP)
                return cli_usage(args, "--model loop calls a function: give --function, or take fork (a "
                                       "process for each client) or "
                                       "prefork (the command accepts by itself)");
        if (service->function != NULL)
                service->options.gone = gone;
        else
                service->options.command = args->operands;
        return CLI_DONE;
}

static int read_numbers(struct service *service) {
        static const struct {
                const char *name;
                size_t at;
        } numbers[] = {{"max-clients", offsetof(struct confab_service_options, max_clients)},
                       {"workers", offsetof(struct confab_service_options, n_workers)},
                       {"restarts", offsetof(struct confab_service_options, max_restarts)}},
          durations[] = {{"client-idle", offsetof(struct confab_service_options, idle_ns)},
                         {"client-deadline", offsetof(struct confab_service_options, client_ns)},
                         {"idle-stop", offsetof(struct confab_service_options, idle_stop_ns)},
                         {"grace", offsetof(struct confab_service_options, grace_ns)}};
        char *options = (char *)&service->options;
        int code = CLI_DONE;

        for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]) && code == CLI_DONE; i++) {
                int64_t value = 0;

                code = cli_number(service->args, numbers[i].name, 1, 1000000, &value);
                *(uint32_t *)(void *)(options + numbers[i].at) = (uint32_t)value;
        }
        for (unsigned i = 0; i < sizeof(durations) / sizeof(durations[0]) && code == CLI_DONE; i++)
                code = cli_duration(service->args, durations[i].name,
                                    (int64_t *)(void *)(options + durations[i].at));
        if (cli_given(service->args, "grace") && service->options.grace_ns == 0)
                service->options.grace_ns = -1;
        return code;
}

/* What only one of the models, or only a function, has. */
static int refuse_elsewhere(const struct service *service) {
        static const char *const of_prefork[] = {"workers", "restarts", "on-demand"},
                                 *const of_clients[] = {"max-clients", "client-deadline"};
        const struct cli_args *args = service->args;

        for (unsigned i = 0; i < sizeof(of_prefork) / sizeof(of_prefork[0]); i++)
                if (cli_given(args, of_prefork[i]) && service->options.model != CONFAB_SERVE_PREFORK)
                        return cli_usage(args,
                                         "--%s is for --model prefork: fork starts its processes with the "
                                         "clients, loop has none",
                                         of_prefork[i]);
        for (unsigned i = 0; i < sizeof(of_clients) / sizeof(of_clients[0]); i++)
                if (cli_given(args, of_clients[i]) && service->options.model == CONFAB_SERVE_PREFORK &&
                    service->function == NULL)
                        return cli_usage(args,
                                         "--%s is for --model fork, or --function: nobody sees the clients "
                                         "of a program "
                                         "that accepts by itself",
                                         of_clients[i]);
        if (cli_given(args, "timeout") && cli_given(args, "deadline"))
                return cli_usage(args, "--deadline and --timeout are the same: give one of them");
        if (cli_given(args, "client-idle") && service->function == NULL)
                return cli_usage(
                        args, "--client-idle is for --function: nobody sees what a client says to a program; "
                              "--client-deadline ends it after so long in all");
        return CLI_DONE;
}

/* What is about a pipeline, its terminal and its report says nothing here. */
static int refuse_others(const struct cli_args *args) {
        static const char *const others[] = {"foreground", "new-session", "die-with-parent", "json",
                                             "kill-after"};

        for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
                if (cli_given(args, others[i]))
                        return cli_usage(args, "--%s and --service exclude each other", others[i]);
        return CLI_DONE;
}

static int read_options(struct service *service) {
        struct cli_args *args = service->args;
        int code = refuse_others(args);

        if (code == CLI_DONE)
                code = read_model(service);
        if (code == CLI_DONE)
                code = read_function(service);
        if (code == CLI_DONE)
                code = read_numbers(service);
        if (cli_given(args, "on-demand"))
                service->options.flags |= CONFAB_SERVE_ON_DEMAND;
        return code == CLI_DONE ? refuse_elsewhere(service) : code;
}

int cli_service_wanted(const struct cli_args *args) {
        return cli_given(args, "service") || cli_given(args, "activated");
}

int cli_service_unwanted(const struct cli_args *args) {
        static const char *const ours[] = {"model",           "function",    "workers", "max-clients",
                                           "client-deadline", "client-idle", "grace",   "restarts",
                                           "on-demand",       "idle-stop",   "verbose"};

        for (unsigned i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
                if (cli_given(args, ours[i]))
                        return cli_usage(args, "--%s is for a service: --service ADDRESS", ours[i]);
        return CLI_DONE;
}

/* --- running --- */

/* A program that is no worker (it does not accept) dies again and again, and clients wait: told once, and each time with --verbose. */
static void tell_first_death(const struct confab_event *event, void *data) {
        const struct cli_args *args = data;

        if (event->kind != CONFAB_EVENT_WORKER_ENDED)
                return;
        cli_say(args, "a worker has ended and is started again; --verbose tells of each and how");
        confab_on_event(NULL, NULL);
}

/*
 * At SIGUSR2: this command line once more, with the program that is there then, serving the listeners it is handed. Not where they have
 * keys that a descriptor does not carry.
 */
static void make_successor(struct service *service) {
        const struct cli_args *args = service->args;
        char **argv, folder[PATH_MAX];
        unsigned n = 2; /* the program and "run" */

        for (unsigned i = 0; cli_text_nth(args, "service", i) != NULL; i++)
                if (strstr(cli_text_nth(args, "service", i), "frame=") != NULL)
                        return;
        while (args->argv[n] != NULL)
                n++;
        service->successor = argv = cli_allocate((n + 2) * sizeof(*argv));
        argv[0] = args->argv[0];
        /* before --cwd */
        if (strchr(argv[0], '/') != NULL && argv[0][0] != '/' && getcwd(folder, sizeof(folder)) != NULL) {
                size_t len = strlen(folder) + 1 + strlen(argv[0]) + 1;

                service->program = cli_allocate(len);
                snprintf(service->program, len, "%s/%s", folder, argv[0]);
                argv[0] = service->program;
        }
        argv[1] = args->argv[1];
        argv[2] = (char *)(uintptr_t) "--activated";
        for (unsigned i = 2; i < n; i++)
                argv[i + 1] = args->argv[i];
        service->options.successor = argv;
}

/* --env: for the commands, which get this process's environment. */
static void set_environment(const struct cli_args *args) {
        const char *setting;

        for (unsigned i = 0; (setting = cli_text_nth(args, "env", i)) != NULL; i++)
                if (strchr(setting, '=') != NULL)
                        putenv((char *)(uintptr_t)setting);
                else
                        unsetenv(setting);
}

/* Those we were started with, if that is wanted and they are there; else the addresses are listened on. */
static int open_listeners(struct service *service) {
        struct cli_args *args = service->args;
        const char *address;
        int r = cli_given(args, "activated") ? confab_activated(service->listeners, LISTENERS_MAX, NULL) : 0;

        if (r > 0)
                service->n_listeners = (unsigned)r;
        if (r != 0)
                return r;
        while ((address = cli_text_nth(args, "service", service->n_listeners)) != NULL) {
                r = confab_listen(&service->listeners[service->n_listeners], address, NULL, CONFAB_FOREVER);
                if (r < 0)
                        return r;
                cli_tell_chosen(args, service->listeners[service->n_listeners++], address);
        }
        return 0;
}

static int out_of_time(confab_source *source, uint32_t events, void *data) {
        struct service *service = data;

        (void)source;
        (void)events;
        service->timed_out = true;
        confab_loop_stop(service->options.loop);
        return 0;
}

static int serve(struct service *service) {
        struct cli_args *args = service->args;
        int64_t deadline_ns = CONFAB_FOREVER;
        int r, code = cli_deadline(args, cli_given(args, "timeout") ? "timeout" : "deadline", &deadline_ns);

        if (code != CLI_DONE)
                return code;
        r = 0;
        if (deadline_ns != CONFAB_FOREVER) { /* without a loop of ours, fork makes its processes ahead */
                r = confab_loop_new(&service->options.loop);
                if (r >= 0)
                        r = confab_loop_add_timer(NULL, service->options.loop, deadline_ns, 0, out_of_time,
                                                  service);
        }
        if (r >= 0)
                r = confab_serve(service->listeners, service->n_listeners, &service->options,
                                 service->function, NULL);
        confab_loop_free(service->options.loop);
        if (r == -ENOENT || r == -EACCES)
                return cli_failed(args, r), r == -ENOENT ? NOT_FOUND : NOT_EXECUTABLE;
        if (r < 0)
                return cli_failed(args, r);
        if (r > 0)
                cli_say(args,
                        r == 1 ? "%d did not end by itself and was ended"
                               : "%d did not end by themselves and were ended",
                        r);
        return service->timed_out ? CLI_TIMED_OUT : r > 0 ? CLI_FAILED : CLI_DONE;
}

int cli_run_service(struct cli_args *args) {
        struct service service = {.args = args, .options = {.size = sizeof(service.options)}};
        int code = read_options(&service), r;

        if (code != CLI_DONE)
                return code;
        service.options.flags |= CONFAB_SERVE_NOTIFY;
        if (cli_text_nth(args, "service", LISTENERS_MAX) != NULL)
                return cli_usage(args, "at most %d addresses", LISTENERS_MAX);
        make_successor(&service);
        set_environment(args);
        if (cli_given(args, "verbose"))
                cli_tell_events(args);
        else
                confab_on_event(tell_first_death, args);
        r = open_listeners(&service);
        if (r < 0)
                code = cli_failed(args, r);
        else if (service.n_listeners == 0)
                code = cli_usage(
                        args, "no listener was passed (LISTEN_FDS); --service ADDRESS is listened on then");
        else if (cli_text(args, "cwd") != NULL && chdir(cli_text(args, "cwd")) < 0)
                code = cli_failed_call(args, cli_text(args, "cwd"), errno);
        else
                code = serve(&service);
        while (service.n_listeners > 0)
                confab_close(service.listeners[--service.n_listeners]);
        free(service.successor);
        free(service.program);
        return code;
}
