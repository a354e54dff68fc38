/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H
/*
 * A command of confab: one struct in one file, one line in commands.c. Parsing, --help, completion and the test that
 * holds the manual page to it all read this one table.
 *
 * The commands use nothing but the installed headers <confab/...>: what they need and do not find there is missing
 * in the library.
 */
#include <confab/confab.h>
#include <stdbool.h>
#include <stdint.h>

/* Exit codes. */
enum cli_exit {
        CLI_DONE = 0,
        CLI_FAILED = 1,
        CLI_USAGE = 2,
        CLI_FOUND = 3,   /* doctor, ls --check: something found */
        CLI_UNKNOWN = 4, /* doctor, ls --check: could not tell */
        CLI_TIMED_OUT = 124,
};

/* One option. A list of them ends with CLI_OPTIONS_END. --help (-h) is everywhere and not listed. */
struct cli_option {
        const char *name;  /* "count": --count */
        char letter;       /* 'n': -n; 0: none */
        const char *value; /* what it takes, in capitals: "N", "DURATION"; NULL: nothing */
        const char *help;  /* one line, lower case, no full stop */
        const char *words; /* the values there are, "bash zsh fish", for completion; NULL: anything */
};
#define CLI_OPTIONS_MAX 32
#define CLI_OPTIONS_END \
        { 0 }

struct cli_column;
struct cli_args;

/* An option other programs have for what this one does otherwise: what is said where it is given here. */
struct cli_foreign {
        const char *names; /* letters and long names, separated by blanks; "": every other one */
        const char *hint;
};

struct cli_cmd {
        const char *name;
        const char *summary; /* one line, a capital first, no full stop */
        const char *usage;   /* what follows the options: "ADDRESS [WORD...]"; "" */
        const char *details; /* paragraphs for --help under the options; NULL: none */
        const struct cli_option *options;
        const struct cli_column *columns; /* of the table it prints (columns.h), for --help; NULL: none */
        const char *
                operand_words; /* completion of the operands: words; "@addresses"; "@signals"; "@topics"; NULL: files */
        const struct cli_foreign *foreign;   /* ends with {0}; NULL: none */
        unsigned min_operands, max_operands; /* UINT_MAX: any number */
        bool verbatim;                       /* the first operand ends the options: what follows is data */
        int (*run)(struct cli_args *args);   /* returns an enum cli_exit */
};

/* Ends with NULL, in the order `confab help` shows them. commands.c. */
extern const struct cli_cmd *const cli_commands[];
const struct cli_cmd *cli_find_command(const char *name);

/* Whether they differ by one character, or by two that changed places: one was mistyped for the other. */
bool cli_resembles(const char *a, const char *b);

/* What the command line said. */
struct cli_args {
        const struct cli_cmd *cmd;
        char **argv; /* the whole command line */
        char **operands;
        unsigned n_operands;
        const char *values[CLI_OPTIONS_MAX]; /* by place in cmd->options; NULL: not given; a flag: "" */
        /* Every value in the order given, and the place of its option: for those that may be given many times. */
        const char **all;
        unsigned char *all_places;
        unsigned n_all;
};

/*
 * options.c. Each reader names an option of the command's table (anything else is a bug and stops the program). Those that
 * return int give 0 and leave *@valuep alone where the option was not given, or complain and give CLI_USAGE.
 */
int cli_parse(struct cli_args *args, int argc, char **argv); /* 0, CLI_USAGE, or -1: --help was given */
bool cli_given(const struct cli_args *args, const char *name);
const char *cli_text(const struct cli_args *args, const char *name); /* NULL: not given */
const char *cli_text_nth(const struct cli_args *args, const char *name,
                         unsigned n); /* the n-th of several, from 0; NULL: no more */
int cli_number(const struct cli_args *args, const char *name, int64_t min, int64_t max, int64_t *valuep);
int cli_size(const struct cli_args *args, const char *name, uint64_t max,
             uint64_t *valuep); /* 64, 64K, 1MiB, 2G */
int cli_duration(const struct cli_args *args, const char *name,
                 int64_t *ns); /* 5s, 250ms, 10us, 2m, 1h; bare: seconds */
/* The absolute deadline that --NAME DURATION means from now on; CONFAB_FOREVER where it was not given. */
int cli_deadline(const struct cli_args *args, const char *name, int64_t *deadline_ns);
bool cli_parse_size(const char *text, uint64_t *valuep);
bool cli_parse_duration(const char *text, int64_t *nsp);

/* Complaints, to stderr, beginning with "confab COMMAND: ". */
#define CLI_PRINTF(which, first) __attribute__((format(printf, which, first)))
void cli_say(const struct cli_args *args, const char *format, ...) CLI_PRINTF(2, 3);
/* A wrong command line: says what, points to --help, returns CLI_USAGE. */
int cli_usage(const struct cli_args *args, const char *format, ...) CLI_PRINTF(2, 3);
/* A library call failed with @result: says confab_explain's sentence, returns CLI_TIMED_OUT for -ETIMEDOUT, else CLI_FAILED. */
int cli_failed(const struct cli_args *args, int64_t result);
/* A system call of our own failed on @subject with @error (positive errno); returns CLI_FAILED. */
int cli_failed_call(const struct cli_args *args, const char *subject, int error);
/* The same for standard output, said once: the look at it at the end of the program says nothing more. */
int cli_failed_output(const struct cli_args *args, int error);

/* main.c */
/* Memory, zeroed, or the program ends with a word and CLI_FAILED. */
void *cli_allocate(size_t len);
void *cli_reallocate(void *memory, size_t len);
/* Colours are wanted on @descriptor: a terminal, NO_COLOR not set, TERM not dumb. */
bool cli_colours(int descriptor);

/*
 * signals.c: SIGINT, SIGTERM and SIGHUP interrupt the endpoints that are watched, so that a command ends in its own words, closes
 * them and takes its names out of the system; main then dies of the signal, as the caller expects. At most eight.
 */
void cli_catch_signals(void); /* before there is anything to watch, but something to take out */
void cli_watch(confab_endpoint *endpoint);
void cli_unwatch(confab_endpoint *endpoint);
void cli_note_signal(int number);        /* as if it had come to cli_watch's handler */
void cli_watch_lock(confab_lock *lock);  /* the one lock; NULL: none any more */
int cli_signalled(void);                 /* the signal that came; 0: none */
void cli_die_if_signalled(void);         /* takes the default action of the signal that came, if one did */
int cli_loop_signals(confab_loop *loop); /* they stop the loop instead, with the same end. 0 or -errno */
/*
 * For commands that run a job: from cli_catch_for_job on SIGINT, SIGQUIT, SIGTERM and SIGHUP are noted (where they are ignored, as by nohup,
 * they stay so) and interrupt the wait for the job watched; then cli_next_for_job gives each that has come, once; 0: no more.
 */
void cli_catch_for_job(void);
void cli_watch_job(confab_job *job); /* NULL: none any more */
int cli_next_for_job(bool *from_terminalp);

/* help.c: what the table says, in words. */
#include <stdio.h>
void cli_print_help(FILE *file, const struct cli_cmd *cmd);
void cli_print_commands(FILE *file);
void cli_print_version(FILE *file);

#endif
