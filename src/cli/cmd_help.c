/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* confab help [TOPIC]: the commands, one command, the addresses, one kind of address. */
#include "columns.h"

#include <stdlib.h>
#include <string.h>

static const struct cli_option options[] = {CLI_OPTIONS_END};

static void print_addresses(void) {
        const char *scheme, *summary, *example;

        puts("An address is scheme://rest?key=value&key=value; bytes that mean something else there are "
             "written %NN.\n");
        for (unsigned i = 0; confab_mechanism(i, &scheme, &summary, &example) == 0; i++)
                printf("  %-34s  %s\n", example, summary);
        puts("\nconfab help SCHEME tells the keys of one; confab properties what each promises.");
}

static bool print_scheme(const char *wanted) {
        const char *scheme, *summary, *example, *name, *values, *help;
        size_t len = strcspn(wanted, ":");

        for (unsigned i = 0; confab_mechanism(i, &scheme, &summary, &example) == 0; i++) {
                if (strlen(scheme) != len || strncmp(scheme, wanted, len) != 0)
                        continue;
                printf("%s: %s\n\n", example, summary);
                for (unsigned key = 0; confab_key(scheme, key, &name, &values, &help) == 0; key++) {
                        if (key == 0)
                                puts("Keys, the default first:");
                        printf("  %-14s %-32s  %s\n", name, values, help);
                }
                printf("\nMore: man confab-%s\n", scheme);
                return true;
        }
        return false;
}

static int run(struct cli_args *args) {
        const char *topic = args->n_operands > 0 ? args->operands[0] : NULL;
        const struct cli_cmd *cmd = topic != NULL ? cli_find_command(topic) : NULL;

        if (topic == NULL)
                cli_print_commands(stdout);
        else if (cmd != NULL)
                cli_print_help(stdout, cmd);
        else if (strcmp(topic, "addresses") == 0)
                print_addresses();
        else if (!print_scheme(topic))
                return cli_usage(NULL,
                                 "there is no help on '%s', only on the commands, on addresses, and on the "
                                 "schemes that confab help addresses lists",
                                 topic);
        return CLI_DONE;
}

const struct cli_cmd cmd_help = {
        .name = "help",
        .summary = "Explains a command, the addresses, or the keys of one kind of address",
        .usage = "[TOPIC]",
        .options = options,
        .operand_words = "@topics",
        .max_operands = 1,
        .run = run,
};
