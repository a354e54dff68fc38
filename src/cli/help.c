/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* What the tables say, in words. */
#include "columns.h"

#include <string.h>
#include <unistd.h>

static void heading(FILE *file, const char *text) {
        bool bold = cli_colours(fileno(file));

        fprintf(file, "%s%s%s\n", bold ? "\033[1m" : "", text, bold ? "\033[0m" : "");
}

/* "-n, --count N" */
static int option_words(char *text, size_t text_cap, const struct cli_option *o) {
        char letter[5] = "    ";

        if (o->letter != 0)
                snprintf(letter, sizeof(letter), "-%c, ", o->letter);
        return snprintf(text, text_cap, "%s--%s%s%s", letter, o->name, o->value != NULL ? " " : "",
                        o->value != NULL ? o->value : "");
}

void cli_print_help(FILE *file, const struct cli_cmd *cmd) {
        static const struct cli_option help = {"help", 'h', NULL, "print this", NULL};
        char words[80];
        int width = 0;

        fprintf(file, "Usage: confab %s [OPTION...]%s%s\n\n", cmd->name, cmd->usage[0] != '\0' ? " " : "",
                cmd->usage);
        fprintf(file, "%s.\n\n", cmd->summary);
        heading(file, "Options");
        for (const struct cli_option *o = cmd->options; o->name != NULL; o++) {
                int len = option_words(words, sizeof(words), o);

                width = len > width ? len : width;
        }
        width = width < 14 ? 14 : width;
        for (const struct cli_option *o = cmd->options; o->name != NULL; o++) {
                option_words(words, sizeof(words), o);
                fprintf(file, "  %-*s  %s\n", width, words, o->help);
        }
        option_words(words, sizeof(words), &help);
        fprintf(file, "  %-*s  %s\n", width, words, help.help);
        if (cmd->columns != NULL) {
                putc('\n', file);
                heading(file, "Columns");
                for (const struct cli_column *c = cmd->columns; c->name != NULL; c++)
                        fprintf(file, "  %-*s  %s\n", width, c->name, c->help);
        }
        if (cmd->details != NULL)
                fprintf(file, "\n%s\n", cmd->details);
        fprintf(file, "\nExit status: 0 done, 1 failed, 2 wrong usage, 124 timed out. More: man confab-%s\n",
                cmd->name);
}

void cli_print_commands(FILE *file) {
        fputs("Usage: confab COMMAND [OPTION...] [OPERAND...]\n\n"
              "Every way of talking to another process, by address: unix:///run/x, tcp://host:port, "
              "mq:///jobs, ...\n\n",
              file);
        heading(file, "Commands");
        for (const struct cli_cmd *const *cmd = cli_commands; *cmd != NULL; cmd++)
                fprintf(file, "  %-12s  %s\n", (*cmd)->name, (*cmd)->summary);
        fputs("\nconfab COMMAND --help tells the options, confab help addresses the addresses, "
              "confab help ADDRESS-SCHEME its keys.\n",
              file);
}

void cli_print_version(FILE *file) {
        const char *scheme;

        fprintf(file, "confab %s\nmechanisms:", confab_version());
        for (unsigned i = 0; confab_mechanism(i, &scheme, NULL, NULL) == 0; i++)
                fprintf(file, " %s", scheme);
        putc('\n', file);
}
