/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* The command confab: finds the command, reads its options, runs it, and looks whether all it printed arrived. */
#include "command.h"

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

CLI_PRINTF(2, 0)
static void say(const struct cli_args *args, const char *format, va_list list) {
        flockfile(stderr);
        if (args != NULL && args->cmd != NULL)
                fprintf(stderr, "confab %s: ", args->cmd->name);
        else
                fputs("confab: ", stderr);
        vfprintf(stderr, format, list);
        putc('\n', stderr);
        funlockfile(stderr);
}

void cli_say(const struct cli_args *args, const char *format, ...) {
        va_list list;

        va_start(list, format);
        say(args, format, list);
        va_end(list);
}

int cli_usage(const struct cli_args *args, const char *format, ...) {
        va_list list;

        va_start(list, format);
        say(args, format, list);
        va_end(list);
        if (args != NULL && args->cmd != NULL)
                fprintf(stderr, "Try: confab %s --help\n", args->cmd->name);
        else
                fputs("Try: confab help\n", stderr);
        return CLI_USAGE;
}

int cli_failed(const struct cli_args *args, int64_t result) {
        char sentence[1024];

        if (confab_explain(sentence, sizeof(sentence)) == 0)
                snprintf(sentence, sizeof(sentence), "%s", strerror((int)-result));
        if (cli_signalled() == 0) /* of our own end by a signal there is nothing to explain */
                cli_say(args, "%s", sentence);
        return result == -ETIMEDOUT ? CLI_TIMED_OUT : CLI_FAILED;
}

int cli_failed_call(const struct cli_args *args, const char *subject, int error) {
        if (cli_signalled() == 0)
                cli_say(args, "%s: %s", subject, strerror(error));
        return CLI_FAILED;
}

static bool output_failed;

int cli_failed_output(const struct cli_args *args, int error) {
        if (!output_failed)
                cli_failed_call(args, "standard output", error);
        output_failed = true;
        return CLI_FAILED;
}

void *cli_allocate(size_t len) {
        void *memory = calloc(1, len > 0 ? len : 1);

        if (memory == NULL) {
                cli_say(NULL, "out of memory: %zu bytes are not to be had", len);
                exit(CLI_FAILED);
        }
        return memory;
}

void *cli_reallocate(void *memory, size_t len) {
        void *larger = realloc(memory, len > 0 ? len : 1);

        if (larger == NULL) {
                cli_say(NULL, "out of memory: %zu bytes are not to be had", len);
                exit(CLI_FAILED);
        }
        return larger;
}

bool cli_colours(int descriptor) {
        const char *no = getenv("NO_COLOR"), *term = getenv("TERM");

        return (no == NULL || no[0] == '\0') && term != NULL && strcmp(term, "dumb") != 0 &&
               isatty(descriptor) == 1;
}

/* What was printed must have arrived: a full disk or a reader that has gone is a failure. */
static int finish(const struct cli_args *args, int code) {
        bool bad = fflush(stdout) != 0 || ferror(stdout) != 0;

        /* EBADF: it was closed before we started; where something was printed, fflush has failed */
        if (!bad && close(STDOUT_FILENO) != 0 && errno != EBADF)
                bad = true;
        if (!bad)
                return code;
        cli_failed_output(args, errno);
        return code == CLI_DONE ? CLI_FAILED : code;
}

static int run(struct cli_args *args, int argc, char **argv) {
        int r = cli_parse(args, argc, argv);

        if (r == -1) {
                cli_print_help(stdout, args->cmd);
                return CLI_DONE;
        }
        return r != 0 ? r : args->cmd->run(args);
}

static int no_such_command(const char *name) {
        if (name[0] == '-')
                return cli_usage(NULL, "there is no option '%s'", name);
        for (const struct cli_cmd *const *cmd = cli_commands; *cmd != NULL; cmd++)
                if (cli_resembles(name, (*cmd)->name))
                        return cli_usage(NULL, "there is no command '%s'; perhaps confab %s is meant", name,
                                         (*cmd)->name);
        return cli_usage(NULL, "there is no command '%s'", name);
}

int main(int argc, char **argv) {
        static struct cli_args args; /* with what it holds it lives as long as the program */
        const char *name = argc > 1 ? argv[1] : NULL;
        int code;

        /*
         * A reader that has gone is an error like others, in words, and after it names still have to be removed. Children
         * started through exec:// get the default action back from the library.
         */
        signal(SIGPIPE, SIG_IGN);
        if (name == NULL) {
                cli_print_commands(stderr);
                return CLI_USAGE;
        }
        if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
                name = "help";
        else if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)
                name = "version";
        args.argv = argv;
        args.cmd = cli_find_command(name);
        if (args.cmd == NULL)
                return no_such_command(name);
        code = run(&args, argc - 1, argv + 1);
        code = finish(&args, code);
        cli_die_if_signalled();
        return code;
}
