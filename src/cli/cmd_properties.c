/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * confab properties [ADDRESS]: what a mechanism promises (row C7). Without an address one row a mechanism and property,
 * of the kind the mechanism's example address names.
 */
#include "columns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const struct cli_option options[] = {CLI_TABLE_OPTIONS, CLI_OPTIONS_END};

static const struct cli_column columns[] = {
        {"address", "of the mechanism", CLI_TEXT, 0},
        {"property", "its name", CLI_TEXT, 0},
        {"value", "in words", CLI_TEXT, 0},
        {"meaning", "what the property is about", CLI_TEXT, 0},
        {0},
};

static int add(struct cli_args *args, struct cli_table *table, const char *address) {
        struct confab_properties properties = {.size = sizeof(properties)};
        const char *name, *help;
        char value[128];
        int r = confab_properties(&properties, address);

        if (r < 0)
                return cli_failed(args, r);
        for (unsigned i = 0; confab_property(&properties, i, &name, &help, value, sizeof(value)) >= 0; i++)
                cli_table_add(table, (const char *[]){address, name, value, help});
        return CLI_DONE;
}

/* Kinds of one scheme that promise different things; the others are shown by their example. */
static const char *const variants[] = {
        "pipe://",
        "pipe://?duplex",
        "unix:///path?type=stream",
        "unix:///path?type=seqpacket",
        "unix:///path?type=datagram",
        "signal://self?signal=USR1",
        "signal://self?signal=RTMIN+1",
};

static bool has_variants(const char *scheme) {
        for (unsigned i = 0; i < sizeof(variants) / sizeof(variants[0]); i++)
                if (strncmp(variants[i], scheme, strlen(scheme)) == 0 && variants[i][strlen(scheme)] == ':')
                        return true;
        return false;
}

static int add_all(struct cli_args *args, struct cli_table *table) {
        const char *scheme, *example;
        int code = CLI_DONE;

        for (unsigned i = 0; code == CLI_DONE && confab_mechanism(i, &scheme, NULL, &example) == 0; i++) {
                if (!has_variants(scheme)) {
                        code = add(args, table, example);
                        continue;
                }
                for (unsigned v = 0; code == CLI_DONE && v < sizeof(variants) / sizeof(variants[0]); v++)
                        if (strncmp(variants[v], scheme, strlen(scheme)) == 0)
                                code = add(args, table, variants[v]);
        }
        return code;
}

static int run(struct cli_args *args) {
        struct cli_table *table;
        int code = cli_table_new(&table, args);

        if (code != CLI_DONE)
                return code;
        code = args->n_operands > 0 ? add(args, table, args->operands[0]) : add_all(args, table);
        if (code == CLI_DONE)
                cli_table_end(table);
        else
                cli_table_drop(table);
        return code;
}

const struct cli_cmd cmd_properties = {
        .name = "properties",
        .summary = "Prints what a mechanism promises: direction, boundaries, order, loss, limits",
        .usage = "[ADDRESS]",
        .options = options,
        .columns = columns,
        .operand_words = "@addresses",
        .max_operands = 1,
        .run = run,
};
