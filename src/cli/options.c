/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* The options of a command, read by its table (getopt_long underneath). */
#include "command.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

static unsigned place(const struct cli_args *args, const char *name) {
        unsigned i = 0;

        while (args->cmd->options[i].name != NULL && strcmp(args->cmd->options[i].name, name) != 0)
                i++;
        if (args->cmd->options[i].name == NULL) {
                fprintf(stderr, "confab: bug: %s has no option --%s\n", args->cmd->name, name);
                abort();
        }
        return i;
}

bool cli_resembles(const char *a, const char *b) {
        size_t a_len, b_len;

        for (; *a != '\0' && *a == *b; b++)
                a++;
        a_len = strlen(a);
        b_len = strlen(b);
        while (a_len > 0 && b_len > 0 && a[a_len - 1] == b[b_len - 1]) {
                a_len--;
                b_len--;
        }
        return (a_len <= 1 && b_len <= 1) || (a_len == 2 && b_len == 2 && a[0] == b[1] && a[1] == b[0]);
}

/* What other programs call it. */
static const char *known_as(const struct cli_args *args, const char *name) {
        static const struct {
                const char *theirs, *ours;
        } words[] = {{"timeout", "deadline"},
                     {"time-out", "deadline"},
                     {"wait", "deadline"},
                     {"number", "count"},
                     {"times", "count"}};

        for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
                for (const struct cli_option *o = args->cmd->options; o->name != NULL; o++)
                        if (strcmp(words[i].theirs, name) == 0 && strcmp(words[i].ours, o->name) == 0)
                                return o->name;
        return NULL;
}

/* What the command has instead of the option @name that it does not have; NULL. */
static const char *instead_of(const struct cli_args *args, const char *name) {
        size_t len = strlen(name);

        for (const struct cli_foreign *f = args->cmd->foreign; f != NULL && f->names != NULL; f++)
                for (const char *at = f->names;; at += strcspn(at, " ") + 1) {
                        if (f->names[0] == '\0' || (strcspn(at, " ") == len && strncmp(at, name, len) == 0))
                                return f->hint;
                        if (at[strcspn(at, " ")] == '\0')
                                break;
                }
        return NULL;
}

/* --@word is no option, or the beginning of several: these, or the one it resembles, are named. */
static int no_such_option(const struct cli_args *args, const char *word) {
        const char *begins[CLI_OPTIONS_MAX], *resembled = NULL;
        const char *hint;
        char name[64];
        unsigned n = 0;

        snprintf(name, sizeof(name), "%.*s", (int)strcspn(word + 2, "="), word + 2);
        for (const struct cli_option *o = args->cmd->options; o->name != NULL; o++) {
                if (strncmp(o->name, name, strlen(name)) == 0)
                        begins[n++] = o->name;
                if (cli_resembles(name, o->name))
                        resembled = o->name;
        }
        if (n > 1)
                return cli_usage(args, "'--%s' is the beginning of several options: --%s, --%s%s", name,
                                 begins[0], begins[1], n > 2 ? ", ..." : "");
        if (resembled == NULL)
                resembled = known_as(args, name);
        if (resembled != NULL)
                return cli_usage(args, "there is no option '--%s'; perhaps --%s is meant", name, resembled);
        hint = instead_of(args, name);
        return cli_usage(args, "there is no option '--%s'%s%s", name, hint != NULL ? "; " : "",
                         hint != NULL ? hint : "");
}

static int no_such_letter(const struct cli_args *args, char letter) {
        const char *hint = instead_of(args, (const char[]){letter, '\0'});

        return cli_usage(args, "there is no option -%c%s%s", letter, hint != NULL ? "; " : "",
                         hint != NULL ? hint : "");
}

/* What getopt_long could not use, in our words. */
static int complain(const struct cli_args *args, char **argv, int code, int was_at) {
        const char *word = argv[optind > was_at && optind > 0 ? optind - 1 : was_at];

        if (code == ':') {
                for (const struct cli_option *o = args->cmd->options; o->name != NULL; o++)
                        if ((o->letter != 0 && optopt == o->letter) ||
                            optopt == 256 + (int)(o - args->cmd->options))
                                return cli_usage(args, "--%s needs a value: --%s %s", o->name, o->name,
                                                 o->value);
        }
        if (optopt >= 256)
                return cli_usage(args, "'%s': this option takes no value", word);
        if (optopt != 0 && word[0] == '-' && word[1] != '-')
                return no_such_letter(args, (char)optopt);
        return no_such_option(args, word);
}

int cli_parse(struct cli_args *args, int argc, char **argv) {
        struct option longs[CLI_OPTIONS_MAX + 2];
        char shorts[2 * CLI_OPTIONS_MAX + 4];
        unsigned n = 0, n_shorts = 0;
        size_t n_letters = 0;

        if (args->cmd->verbatim)
                shorts[n_shorts++] = '+';
        shorts[n_shorts++] = ':';
        for (const struct cli_option *o = args->cmd->options; o->name != NULL; o++, n++) {
                if (n == CLI_OPTIONS_MAX)
                        abort();
                longs[n] = (struct option){o->name, o->value != NULL ? required_argument : no_argument, NULL,
                                           256 + (int)n};
                if (o->letter != 0)
                        shorts[n_shorts++] = o->letter;
                if (o->letter != 0 && o->value != NULL)
                        shorts[n_shorts++] = ':';
        }
        longs[n] = (struct option){"help", no_argument, NULL, 'h'};
        longs[n + 1] = (struct option){0};
        shorts[n_shorts++] = 'h';
        shorts[n_shorts] = '\0';

        /* "-ab" is one argument and two options. All of it lives as long as the program. */
        for (int i = 0; i < argc; i++)
                n_letters += strlen(argv[i]) + 1;
        args->all = cli_allocate(n_letters * sizeof(*args->all));
        args->all_places = cli_allocate(n_letters);
        opterr = 0;
        optind = 0; /* glibc and musl: begin anew */
        for (;;) {
                int was_at = optind == 0 ? 1 : optind;
                int code = getopt_long(argc, argv, shorts, longs, NULL);
                unsigned i = 0;

                if (code == -1)
                        break;
                if (code == '?' || code == ':')
                        return complain(args, argv, code, was_at);
                if (code >= 256)
                        i = (unsigned)code - 256;
                else
                        while (i < n && args->cmd->options[i].letter != code)
                                i++;
                if (i == n)
                        return -1; /* -h, --help: in no command's own table */
                args->values[i] = optarg != NULL ? optarg : "";
                args->all[args->n_all] = args->values[i];
                args->all_places[args->n_all++] = (unsigned char)i;
        }
        args->operands = argv + optind;
        args->n_operands = (unsigned)(argc - optind);
        if (args->n_operands < args->cmd->min_operands)
                return cli_usage(args, "something is missing: confab %s %s", args->cmd->name,
                                 args->cmd->usage);
        if (args->n_operands > args->cmd->max_operands)
                return cli_usage(args, "'%s' is too much: confab %s%s%s",
                                 args->operands[args->cmd->max_operands], args->cmd->name,
                                 args->cmd->usage[0] != '\0' ? " " : "", args->cmd->usage);
        return 0;
}

bool cli_given(const struct cli_args *args, const char *name) {
        return args->values[place(args, name)] != NULL;
}

const char *cli_text(const struct cli_args *args, const char *name) {
        return args->values[place(args, name)];
}

const char *cli_text_nth(const struct cli_args *args, const char *name, unsigned n) {
        unsigned at = place(args, name);

        for (unsigned i = 0; i < args->n_all; i++)
                if (args->all_places[i] == at && n-- == 0)
                        return args->all[i];
        return NULL;
}

int cli_number(const struct cli_args *args, const char *name, int64_t min, int64_t max, int64_t *valuep) {
        const char *text = cli_text(args, name);
        char *end;
        long long value;

        if (text == NULL)
                return 0;
        errno = 0;
        value = strtoll(text, &end, 10);
        if (end == text || *end != '\0' || text[0] == ' ')
                return cli_usage(args, "--%s: '%s' is not a whole number", name, text);
        if (errno == ERANGE || value < min || value > max) {
                if (max == INT64_MAX)
                        return cli_usage(args, "--%s: %s is too small or too large; at least %lld", name,
                                         text, (long long)min);
                return cli_usage(args, "--%s: %s is not between %lld and %lld", name, text, (long long)min,
                                 (long long)max);
        }
        *valuep = value;
        return 0;
}

/* A number with a unit out of @units ({text, factor}, ending with {NULL}); whole or with a fraction. */
struct unit {
        const char *text;
        uint64_t factor;
};

static bool parse_units(const char *text, const struct unit *units, uint64_t *valuep) {
        uint64_t whole = 0, fraction = 0, scale = 1;
        const char *at = text;

        for (; *at >= '0' && *at <= '9'; at++)
                if (__builtin_mul_overflow(whole, 10, &whole) ||
                    __builtin_add_overflow(whole, (uint64_t)(*at - '0'), &whole))
                        return false;
        if (at == text)
                return false;
        if (*at == '.') {
                const char *point = at++;

                for (; *at >= '0' && *at <= '9' && scale < 1000000000; at++) {
                        fraction = fraction * 10 + (uint64_t)(*at - '0');
                        scale *= 10;
                }
                if (at == point + 1)
                        return false;
        }
        for (; units->text != NULL; units++) {
                if (strcmp(units->text, at) != 0)
                        continue;
                if (__builtin_mul_overflow(whole, units->factor, &whole))
                        return false;
                /* fraction * factor / scale, its two halves each below 2^64: fraction < scale <= 10^9, factor < 10^13 */
                fraction = fraction * (units->factor / scale) + fraction * (units->factor % scale) / scale;
                return !__builtin_add_overflow(whole, fraction, valuep);
        }
        return false;
}

bool cli_parse_size(const char *text, uint64_t *valuep) {
        static const struct unit units[] = {
                {"", 1},         {"B", 1},           {"K", 1 << 10}, {"k", 1 << 10},   {"KiB", 1 << 10},
                {"M", 1 << 20},  {"MiB", 1 << 20},   {"G", 1 << 30}, {"GiB", 1 << 30}, {"kB", 1000},
                {"MB", 1000000}, {"GB", 1000000000}, {NULL, 0},
        };

        return parse_units(text, units, valuep);
}

bool cli_parse_duration(const char *text, int64_t *nsp) {
        static const struct unit units[] = {
                {"", 1000000000},   {"s", 1000000000},    {"ms", 1000000},      {"us", 1000}, {"ns", 1},
                {"m", 60000000000}, {"min", 60000000000}, {"h", 3600000000000}, {NULL, 0},
        };
        uint64_t value;

        if (!parse_units(text, units, &value) || value > INT64_MAX)
                return false;
        *nsp = (int64_t)value;
        return true;
}

int cli_size(const struct cli_args *args, const char *name, uint64_t max, uint64_t *valuep) {
        const char *text = cli_text(args, name);
        uint64_t value;

        if (text == NULL)
                return 0;
        if (!cli_parse_size(text, &value))
                return cli_usage(args, "--%s: '%s' is not a size such as 64, 64K or 1MiB", name, text);
        if (value > max)
                return cli_usage(args, "--%s: %s is more than %llu bytes", name, text,
                                 (unsigned long long)max);
        *valuep = value;
        return 0;
}

int cli_duration(const struct cli_args *args, const char *name, int64_t *ns) {
        const char *text = cli_text(args, name);

        if (text == NULL)
                return 0;
        if (!cli_parse_duration(text, ns))
                return cli_usage(args, "--%s: '%s' is not a duration such as 5s, 250ms, 10us or 2m", name,
                                 text);
        return 0;
}

int cli_deadline(const struct cli_args *args, const char *name, int64_t *deadline_ns) {
        int64_t ns = CONFAB_FOREVER;
        int r = cli_duration(args, name, &ns);

        if (r != 0)
                return r;
        /* A deadline of 0 s still is a deadline: CONFAB_NOW would be answered as "would wait", not as "timed out". */
        *deadline_ns = cli_given(args, name) && ns == 0 ? 1 : confab_after(ns);
        return 0;
}
