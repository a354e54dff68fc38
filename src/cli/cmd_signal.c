/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * confab signal [NAME [TARGET...]]: sends a signal to processes and groups; without a target, the table of signals (row A1).
 *
 * Options come first: behind the name a word such as -1234 is a group, not an option.
 */
#include "columns.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct cli_option options[] = {
        {"value", 'v', "N", "a number that goes along, to processes only", NULL},
        {"group", 'g', NULL, "the targets are process groups, without a sign", NULL},
        {"deadline", 'd', "DURATION", "give up after so long, with exit status 124: 5s, 250ms, 2m", NULL},
        CLI_TABLE_OPTIONS,
        CLI_OPTIONS_END,
};

/* kill(1)'s. */
static const struct cli_foreign foreign[] = {
        {"l list table L", "confab signal alone lists them"},
        {"q queue", "--value N goes along"},
        {"", "a signal is named without one: confab signal TERM 1234"},
        {0},
};

static const struct cli_column columns[] = {
        {"number", "of the signal", CLI_NUMBER, 0},
        {"name", "of the signal", CLI_TEXT, 0},
        {"action", "by default: terminate, core, ignore, stop, continue", CLI_TEXT, 0},
        {"caught", "whether a process can catch it", CLI_TRUTH, 0},
        {"queued", "whether each one sent arrives", CLI_TRUTH, 0},
        {"comment", "what it is for", CLI_TEXT, 0},
        {0},
};

static void add(struct cli_table *table, const struct confab_signal *signal) {
        char number[16];

        snprintf(number, sizeof(number), "%d", signal->number);
        cli_table_add(table,
                      (const char *[]){number, signal->name, signal->action_name,
                                       signal->flags & CONFAB_SIGNAL_UNCATCHABLE ? "no" : "yes",
                                       signal->flags & CONFAB_SIGNAL_QUEUED ? "yes" : "no", signal->comment});
}

enum { NUMBERS = 128 }; /* more than any architecture has */

/* All signals, or those with the number @only. */
static int print_table(struct cli_args *args, int only) {
        struct confab_signal signal = {.size = sizeof(signal)};
        struct cli_table *table;
        int code = cli_table_new(&table, args);

        if (code != CLI_DONE)
                return code;
        for (int number = 1; number <= NUMBERS; number++)
                if ((only == 0 || only == number) && confab_signal_describe(&signal, number) == 0)
                        add(table, &signal);
        cli_table_end(table);
        return CLI_DONE;
}

struct sending {
        struct cli_args *args;
        const int32_t *valuep;
        int64_t deadline_ns;
        int number;
        bool groups;
};

/* "1234", or for a group "-1234"; @groups says that all are. False: neither. */
static bool read_target(const char *word, bool groups, int32_t *targetp) {
        const char *digits = word + (word[0] == '-' && !groups);
        char *end;
        long long value;

        if (digits[0] < '0' || digits[0] > '9')
                return false;
        value = strtoll(digits, &end, 10);
        if (*end != '\0' || value > INT32_MAX)
                return false;
        *targetp = (int32_t)(digits > word || groups ? -value : value);
        return true;
}

/* 0, or CLI_USAGE: looked at before anything is sent. */
static int check_target(const struct sending *s, const char *word) {
        int32_t target;

        if (word[0] == '-' && (word[1] < '0' || word[1] > '9'))
                return cli_usage(s->args, "'%s': options come before the signal's name", word);
        if (!read_target(word, s->groups, &target))
                return cli_usage(s->args, "'%s' is no process: 1234 is one, -1234 a group", word);
        if ((s->groups || word[0] == '-') && s->valuep != NULL)
                return cli_usage(s->args, "a value cannot go to a group: the kernel has no call for it");
        return CLI_DONE;
}

static int send_to(const struct sending *s, const char *word) {
        int32_t target = 0;
        int r;

        read_target(word, s->groups, &target);
        r = s->groups || word[0] == '-' ? confab_signal_send_group(-target, s->number)
                                        : confab_signal_send(target, s->number, s->valuep, s->deadline_ns);
        return r < 0 ? cli_failed(s->args, r) : CLI_DONE;
}

/* The first word is none. */
static int no_such_signal(struct cli_args *args) {
        const char *word = args->operands[0],
                   *short_name = strncasecmp(word, "SIG", 3) == 0 ? word + 3 : word;
        struct confab_signal signal = {.size = sizeof(signal)};
        char name[16];

        if (args->n_operands == 2 && word[0] >= '0' && word[0] <= '9' &&
            confab_signal_number(args->operands[1]) >= 0)
                return cli_usage(args, "'%s' is no signal; the signal comes first: confab signal %s %s", word,
                                 args->operands[1], word);
        for (int number = 1; confab_signal_describe(&signal, number) == 0; number++) {
                for (size_t i = 0; i <= strlen(signal.name + 3) && i < sizeof(name); i++)
                        name[i] = islower((unsigned char)short_name[0])
                                          ? (char)tolower((unsigned char)signal.name[3 + i])
                                          : signal.name[3 + i];
                if (cli_resembles(short_name, name))
                        return cli_usage(args, "there is no signal '%s'; perhaps %s is meant", word,
                                         signal.name + 3);
        }
        cli_failed(args, confab_signal_number(word)); /* again: asking for names has failed since */
        return CLI_USAGE;
}

static int run(struct cli_args *args) {
        struct sending s = {.args = args, .groups = cli_given(args, "group")};
        int64_t value = 0;
        int32_t narrow;
        unsigned first;
        int code = cli_number(args, "value", INT32_MIN, INT32_MAX, &value);

        if (code == CLI_DONE)
                code = cli_deadline(args, "deadline", &s.deadline_ns);
        if (code != CLI_DONE)
                return code;
        if (args->n_operands > 0 && (s.number = confab_signal_number(args->operands[0])) < 0)
                return no_such_signal(args);
        if (args->n_operands < 2 &&
            (s.groups || cli_given(args, "value") || (args->n_operands == 1 && s.number == 0)))
                return cli_usage(args, "a target is missing: confab signal NAME 1234, or -1234 for a group");
        if (args->n_operands < 2)
                return print_table(args, s.number);
        if (cli_given(args, "value")) {
                narrow = (int32_t)value;
                s.valuep = &narrow;
        }
        first = strcmp(args->operands[1], "--") == 0 ? 2 : 1;
        if (first == args->n_operands)
                return cli_usage(args, "there is no target behind '--'");
        for (unsigned i = first; code == CLI_DONE && i < args->n_operands; i++)
                code = check_target(&s, args->operands[i]);
        if (code != CLI_DONE)
                return code;
        for (unsigned i = first; i < args->n_operands; i++) {
                int one = send_to(&s, args->operands[i]); /* the others get it all the same */

                code = one != CLI_DONE ? one : code;
        }
        return code;
}

const struct cli_cmd cmd_signal = {
        .name = "signal",
        .summary = "Sends a signal to processes or groups; without a target prints the table of signals",
        .usage = "[NAME [TARGET...]]",
        .details = "NAME is TERM, SIGTERM, 15, RTMIN+3; 0 only asks whether the target is there. TARGET is a "
                   "process, 1234, or a group,\n"
                   "-1234. Options come before NAME.",
        .options = options,
        .columns = columns,
        .operand_words = "@signals",
        .foreign = foreign,
        .max_operands = UINT_MAX,
        .verbatim = true,
        .run = run,
};
