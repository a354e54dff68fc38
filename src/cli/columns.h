/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CLI_COLUMNS_H
#define CLI_COLUMNS_H
/*
 * Tables with named columns: plain (aligned, with a heading), --json (one object a line), --raw (no heading, tab-separated; tab,
 * newline and backslash in a cell as \t \n \\) and -o COLS (which columns, in which order) come with the table.
 */
#include "command.h"

enum cli_column_type {
        CLI_TEXT,   /* JSON: a string */
        CLI_NUMBER, /* JSON: the cell as it is; plain: to the right */
        CLI_TRUTH,  /* "yes" or "no"; JSON: true or false */
};

/* A list of them ends with {0}. */
struct cli_column {
        const char *name; /* lower case; the key in JSON */
        const char *help;
        enum cli_column_type type;
        unsigned width; /* at least so wide; 0: as its widest cell */
};

/* Put it into the options of a command that prints a table. */
#define CLI_TABLE_OPTIONS                                                                       \
        {"json", 'j', NULL, "print one JSON object a line", NULL},                              \
                {"raw", 'r', NULL, "print without heading, columns separated by tabs", NULL}, { \
                "output", 'o', "COLS", "print these columns, separated by commas", NULL         \
        }

struct cli_table;

/* A table of args->cmd->columns, as args asks for it. 0, or CLI_USAGE after a complaint (no such column). */
int cli_table_new(struct cli_table **tablep, const struct cli_args *args);
/* One row: a cell for each column of the command, copied; NULL: nothing there (JSON: null). */
void cli_table_add(struct cli_table *table, const char *const *cells);
/* Prints what there is to stdout and frees the table. Accepts NULL; returns NULL. */
struct cli_table *cli_table_end(struct cli_table *table);
/* The same without printing, after a failure. */
struct cli_table *cli_table_drop(struct cli_table *table);

#endif
