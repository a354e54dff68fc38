/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * confab run 'a | b | c', confab run COMMAND ARGUMENT...: a program or a pipeline, its group, its terminal, its end.
 *
 * Where it runs: with a terminal of our own and nobody beside us in our group (we were typed at a prompt), in a group of its own which
 * gets the terminal, so that keys reach it and nothing else, and stops are handed up to the shell. With a terminal that others
 * in our group use too (we are in a script or in a shell's pipeline): in our group, as if the shell had started it. Without a
 * terminal: in a group of its own.
 */
#include "command.h"
#include "json.h"
#include "run_service.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct cli_option options[] = {
        {"deadline", 'd', "DURATION",
         "end it, with all it started, after so long; exit status 124: 5s, 250ms, 2m", NULL},
        {"timeout", 't', "DURATION", "the same", NULL},
        {"kill-after", 'k', "DURATION", "from SIGTERM to SIGKILL when it is ended (default: 5s)", NULL},
        {"cwd", 'C', "FOLDER", "run it there", NULL},
        {"env", 'e', "SETTING",
         "NAME=VALUE sets a variable for it, NAME takes one away; may be given many times", NULL},
        {"foreground", 'f', NULL,
         "hand it the terminal in any case, or fail (default: where nobody else uses it)", NULL},
        {"new-session", 's', NULL, "in a session of its own, without a terminal", NULL},
        {"die-with-parent", 'D', NULL, "whatever ends this command, kill -9 included, ends it too", NULL},
        {"json", 'j', NULL, "tell of every stage, on standard error: command, pid, status, times", NULL},
        {"service", 'S', "ADDRESS",
         "listen there and serve each client with COMMAND; may be given many times", NULL},
        {"model", 'm', "MODEL",
         "fork: a process for each client (default); prefork: workers that accept; loop: this process",
         "fork prefork loop"},
        {"function", 'F', "NAME", "one of ours instead of COMMAND: echo, discard, daytime",
         "echo discard daytime"},
        {"workers", 'w', "N", "prefork: how many (default: one a processor)", NULL},
        {"max-clients", 'n', "N", "so many at once; others wait (default: no limit)", NULL},
        {"client-deadline", 0, "DURATION", "end a client after so long", NULL},
        {"client-idle", 0, "DURATION", "end a client that was silent for so long (with --function)", NULL},
        {"grace", 'g', "DURATION",
         "at the end of the service its clients may finish for so long (default: 5s)", NULL},
        {"restarts", 0, "N", "prefork: give up after so many deaths of a worker in a row (default: never)",
         NULL},
        {"on-demand", 'o', NULL, "prefork: start the workers when the first client comes", NULL},
        {"idle-stop", 'i', "DURATION",
         "end after so long without a client; with --on-demand: end the workers until the next comes", NULL},
        {"activated", 'a', NULL,
         "serve the listeners this command was started with (LISTEN_FDS), if there are any", NULL},
        {"verbose", 'v', NULL, "tell of clients and workers that failed, and of pauses", NULL},
        CLI_OPTIONS_END,
};

#define KILL_AFTER_NS INT64_C(5000000000)
#define LOOK_NS       INT64_C(100000000)
enum { NOT_EXECUTABLE = 126, NOT_FOUND = 127 };

struct run {
        struct cli_args *args;
        const struct confab_stage *stages;
        unsigned n_stages;
        confab_job *job;
        uint32_t flags;
        int terminal;  /* -1: none */
        bool in_front; /* the pipeline has it, or nobody is to hand it over */
        int64_t deadline_ns, kill_after_ns, began_ns;
        int64_t carry_until_ns; /* after a signal ended its programs, for what they have written */
        bool timed_out;
        int forwarded; /* signals passed on so far */
};

static bool is_pipe(int descriptor) {
        struct stat st;

        return fstat(descriptor, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
}

/* See above. */
static void choose_place(struct run *run) {
        bool alone = getpgrp() == getpid() && !is_pipe(STDIN_FILENO) && !is_pipe(STDOUT_FILENO);

        if (cli_given(run->args, "new-session")) {
                run->flags = CONFAB_JOB_SESSION;
                return;
        }
        run->terminal = open("/dev/tty", O_RDWR | O_CLOEXEC);
        if (cli_given(run->args, "foreground"))
                run->flags = CONFAB_JOB_FOREGROUND;
        else if (run->terminal >= 0 && alone)
                run->flags = tcgetpgrp(run->terminal) == getpgrp() ? CONFAB_JOB_FOREGROUND : CONFAB_JOB_STOPS;
        else if (run->terminal >= 0 && !cli_given(run->args, "die-with-parent"))
                run->flags = CONFAB_JOB_SAME_GROUP;
        run->in_front = run->flags != CONFAB_JOB_STOPS;
}

/* Nobody who could continue us: no parent in another group of our session. Then a stop would be for ever. */
static bool is_orphaned(void) {
        pid_t parent = getppid();

        return getsid(0) == getpid() || getsid(parent) != getsid(0) || getpgid(parent) == getpgrp();
}

static bool has_terminal(const struct run *run) {
        return run->terminal >= 0 && tcgetpgrp(run->terminal) == getpgrp();
}

/*
 * The job stopped: so do we, for our shell to see, unless it was for want of the terminal that we have got meanwhile. When the shell lets us
 * go on, so do we the job, in front or behind as we are.
 */
static int stopped(struct run *run) {
        if ((run->in_front || !has_terminal(run)) && !is_orphaned())
                raise(SIGSTOP);
        run->in_front = has_terminal(run);
        return confab_job_continue(run->job, run->in_front);
}

/*
 * `fg` gives the terminal to our group, and sends no signal to one that runs: it has to be looked for, as stops are. So is the end of the
 * programs after a signal, which the wait does not tell before all that they wrote has been carried.
 */
static int64_t next_look(const struct run *run) {
        int64_t look_ns = confab_after(LOOK_NS);

        return (run->in_front && run->forwarded == 0) || look_ns > run->deadline_ns ? run->deadline_ns
                                                                                    : look_ns;
}

static int look(struct run *run) {
        if (!run->in_front) /* what fails now is tried again */
                run->in_front = has_terminal(run) && confab_job_continue(run->job, true) >= 0;
        if (run->forwarded == 0 || confab_job_result(run->job) == -EAGAIN)
                return 0;
        if (run->carry_until_ns == 0)
                run->carry_until_ns = confab_after(run->kill_after_ns);
        return confab_now() >= run->carry_until_ns ? confab_job_end(run->job, CONFAB_NOW) : 0;
}

/* A signal that the terminal sent to our whole group has reached the job already. A second one means: now. */
static void pass_on(struct run *run, int number, bool from_terminal) {
        cli_note_signal(number);
        if ((run->flags & CONFAB_JOB_SAME_GROUP) != 0 && from_terminal)
                return;
        if (run->forwarded++ > 0 || confab_job_signal(run->job, number) == -ESRCH)
                confab_job_end(run->job, CONFAB_NOW);
}

static void pass_all_on(struct run *run) {
        bool from_terminal;
        int number;

        while ((number = cli_next_for_job(&from_terminal)) != 0)
                pass_on(run, number, from_terminal);
}

static int wait_for_it(struct run *run) {
        for (;;) {
                int64_t until_ns = next_look(run);
                int r = confab_job_wait(run->job, until_ns);

                if (r == CONFAB_JOB_STOPPED)
                        r = stopped(run);
                else if (r == -EINTR)
                        pass_all_on(run);
                else if (r != -ETIMEDOUT)
                        return r;
                else if (until_ns != run->deadline_ns)
                        r = look(run);
                else if (!run->timed_out) {
                        run->timed_out = true;
                        run->deadline_ns = CONFAB_FOREVER;
                        r = confab_job_end(run->job, run->kill_after_ns);
                }
                if (r < 0 && r != -EINTR)
                        return r;
        }
}

static void print_stage(struct cli_json *json, const struct run *run, unsigned index) {
        const char *const *argv = run->stages[index].argv;
        struct confab_stage_status status = {.size = sizeof(status)};

        confab_job_status(run->job, index, &status);
        cli_json_object(json, NULL);
        cli_json_text(json, "command", argv[0]);
        cli_json_array(json, "arguments");
        for (unsigned i = 1; argv[i] != NULL; i++)
                cli_json_text(json, NULL, argv[i]);
        cli_json_end(json);
        cli_json_signed(json, "pid", status.pid);
        if (status.state == CONFAB_STAGE_EXITED)
                cli_json_signed(json, "status", status.code);
        else
                cli_json_number(json, "status", NULL);
        if (status.state == CONFAB_STAGE_KILLED)
                cli_json_signed(json, "signal", status.code);
        else
                cli_json_number(json, "signal", NULL);
        cli_json_signed(json, "wall_ns", status.wall_ns);
        cli_json_signed(json, "user_ns", status.user_ns);
        cli_json_signed(json, "system_ns", status.system_ns);
        cli_json_unsigned(json, "memory_max", status.memory_len);
        cli_json_end(json);
}

/* Returns whether all of it arrived: there is no place to say that it did not. */
static bool print_json(const struct run *run, int code) {
        struct cli_json json;

        cli_json_init(&json, stderr);
        cli_json_object(&json, NULL);
        cli_json_signed(&json, "status", code);
        cli_json_truth(&json, "timed_out", run->timed_out);
        cli_json_signed(&json, "wall_ns", confab_now() - run->began_ns);
        cli_json_array(&json, "stages");
        for (unsigned i = 0; i < run->n_stages; i++)
                print_stage(&json, run, i);
        cli_json_end(&json);
        cli_json_end(&json);
        return fflush(stderr) == 0 && ferror(stderr) == 0;
}

static void interrupt(int number) {
        (void)number;
}

/*
 * Starting opens files, and a FIFO as long as nobody is at its other end. The deadline holds there, too: from then on a signal ends the
 * call, every now and then, should one come just before it.
 */
static int start(struct run *run, const struct confab_job_options *how) {
        struct sigaction action = {.sa_handler = interrupt}, before;
        struct itimerval never = {0}, timer = {.it_interval.tv_usec = 50000};
        int64_t left_us = (run->deadline_ns - confab_now()) / 1000;
        int r;

        sigaction(SIGALRM, NULL, &before);
        if (run->deadline_ns == CONFAB_FOREVER ||
            before.sa_handler == SIG_IGN) /* what is ignored stays so in the programs */
                return confab_job_start(&run->job, run->stages, run->n_stages, how);
        left_us = left_us > 0 ? left_us : 1;
        timer.it_value = (struct timeval){.tv_sec = (time_t)(left_us / 1000000),
                                          .tv_usec = (suseconds_t)(left_us % 1000000)};
        sigaction(SIGALRM, &action, NULL);
        setitimer(ITIMER_REAL, &timer, NULL);
        r = confab_job_start(&run->job, run->stages, run->n_stages, how);
        setitimer(ITIMER_REAL, &never, NULL);
        sigaction(SIGALRM, &before, NULL);
        return r;
}

/* Nothing ran. As shells have it: 127 no such program, 126 one that cannot be executed. */
static int could_not_start(struct run *run, int r, uint32_t failed) {
        bool from_terminal;
        bool late = (r == -EINTR || r == -ETIMEDOUT) && confab_now() >= run->deadline_ns;
        int number;

        while ((number = cli_next_for_job(&from_terminal)) != 0)
                cli_note_signal(number);
        if (!late || r != -EINTR)
                cli_failed(run->args, r);
        if (failed == 0)
                return late ? CLI_TIMED_OUT : CLI_FAILED;
        return r == -ENOENT ? NOT_FOUND : NOT_EXECUTABLE;
}

static int run_job(struct run *run) {
        uint32_t failed = 0;
        struct confab_job_options how = {.size = sizeof(how),
                                         .flags = run->flags,
                                         .terminal = run->terminal > 0 ? run->terminal : 0,
                                         .failedp = &failed};
        int r, code;

        if (cli_given(run->args, "die-with-parent"))
                how.flags |= CONFAB_JOB_DIE;
        if (run->deadline_ns != CONFAB_FOREVER)
                how.flags |= CONFAB_JOB_ADOPT;
        signal(SIGCHLD, SIG_DFL); /* whoever ignores it loses our statuses too */
        run->began_ns = confab_now();
        cli_catch_for_job();
        r = start(run, &how);
        if (r < 0)
                return could_not_start(run, r, failed);
        cli_watch_job(run->job);
        r = wait_for_it(run);
        if (r < 0 && (!run->timed_out || r == -ETIMEDOUT)) /* what ending it does to addresses is no news */
                cli_failed(run->args, r);
        code = run->timed_out ? CLI_TIMED_OUT : r < 0 ? CLI_FAILED : confab_job_result(run->job);
        if (cli_given(run->args, "json") && !print_json(run, code) && code == CLI_DONE)
                code = CLI_FAILED;
        cli_watch_job(NULL);
        run->job = confab_job_free(run->job);
        /* Ctrl-C at the pipeline is meant for the script we are in as well: as shells, we die of it too. */
        if ((run->flags & (CONFAB_JOB_FOREGROUND | CONFAB_JOB_STOPS)) != 0 &&
            (code == 128 + SIGINT || code == 128 + SIGQUIT))
                cli_note_signal(code - 128);
        return code;
}

/* The environment with what --env says laid over it; NULL: as it is. The caller's. */
static const char **make_environment(struct cli_args *args) {
        const char **envp, *setting;
        unsigned n = 0, n_settings = 0;

        while (cli_text_nth(args, "env", n_settings) != NULL)
                n_settings++;
        if (n_settings == 0)
                return NULL;
        while (environ[n] != NULL)
                n++;
        envp = cli_allocate((n + n_settings + 1) * sizeof(*envp));
        memcpy(envp, environ, n * sizeof(*envp));
        for (unsigned i = 0; (setting = cli_text_nth(args, "env", i)) != NULL; i++) {
                size_t len = strcspn(setting, "=");
                unsigned kept = 0;

                for (unsigned k = 0; k < n; k++)
                        if (strncmp(envp[k], setting, len) != 0 || envp[k][len] != '=')
                                envp[kept++] = envp[k];
                n = kept;
                if (setting[len] == '=')
                        envp[n++] = setting;
                envp[n] = NULL;
        }
        return envp;
}

static int read_options(struct run *run) {
        struct cli_args *args = run->args;
        int code = cli_deadline(args, "deadline", &run->deadline_ns);

        if (cli_given(args, "deadline") && cli_given(args, "timeout"))
                return cli_usage(args, "--deadline and --timeout are the same: give one of them");
        if (code == CLI_DONE && cli_given(args, "timeout"))
                code = cli_deadline(args, "timeout", &run->deadline_ns);
        if (code == CLI_DONE)
                code = cli_duration(args, "kill-after", &run->kill_after_ns);
        if (code == CLI_DONE && cli_given(args, "foreground") && cli_given(args, "new-session"))
                return cli_usage(
                        args,
                        "--foreground and --new-session exclude each other: a new session has no terminal");
        return code;
}

static int run(struct cli_args *args) {
        struct run run = {.args = args, .terminal = -1, .in_front = true, .kill_after_ns = KILL_AFTER_NS};
        bool text = args->n_operands == 1 && strcmp(args->operands[-1], "--") != 0;
        struct confab_stage command = {.size = sizeof(command), .argv = (const char *const *)args->operands};
        struct confab_pipeline *pipeline = NULL, whole = {.n_stages = 1, .stages = &command};
        const char **envp;
        int code, r;

        if (cli_service_wanted(args))
                return cli_run_service(args);
        if (args->n_operands == 0)
                return cli_usage(args, "a command or a pipeline is missing");
        code = cli_service_unwanted(args);
        if (code == CLI_DONE)
                code = read_options(&run);
        if (code != CLI_DONE)
                return code;
        if (text) {
                r = confab_pipeline_parse(&pipeline, args->operands[0]);
                if (r < 0)
                        return r == -EINVAL ? (cli_failed(args, r), CLI_USAGE) : cli_failed(args, r);
                whole = *pipeline;
        }
        envp = make_environment(args);
        for (unsigned i = 0; i < whole.n_stages; i++) {
                whole.stages[i].envp = envp;
                whole.stages[i].directory = cli_text(args, "cwd");
        }
        run.stages = whole.stages;
        run.n_stages = whole.n_stages;
        choose_place(&run);
        code = run_job(&run);
        if (run.terminal >= 0)
                close(run.terminal);
        free(envp);
        confab_pipeline_free(pipeline);
        return code;
}

const struct cli_cmd cmd_run = {
        .name = "run",
        .summary = "Runs a program or a pipeline: its exit status, its terminal, its end",
        .usage = "'PIPELINE' | COMMAND ARGUMENT...",
        .details = "One operand is a pipeline as a shell has it: confab run 'ps -ef | sort | wc -l > "
                   "tcp://host:7000'.\n"
                   "More, or one behind --, are a command. The exit status is the last one that is not 0 "
                   "(128 + N: signal N);\n"
                   "127: no such program, 126: it cannot be executed.\n"
                   "With --service COMMAND serves clients: confab run --service tcp://:7000 -- cat.",
        .options = options,
        .min_operands = 0,
        .max_operands = UINT_MAX,
        .verbatim = true,
        .run = run,
};
