/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Tables. Rows are kept until the end, because the width of a column is that of its widest cell; a command whose output
 * never ends (listen) does not use one.
 */
#include "columns.h"
#include "json.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

struct cli_table {
        const struct cli_column *columns;
        unsigned n_columns;
        unsigned *shown; /* n_shown indices of columns */
        unsigned n_shown;
        bool json, raw;
        char **cells; /* n_columns a row; NULL: nothing there */
        size_t n_rows, rows_cap;
};

static int choose(struct cli_table *table, const struct cli_args *args, const char *wanted) {
        while (*wanted != '\0') {
                size_t len = strcspn(wanted, ",");
                unsigned i = 0;

                while (i < table->n_columns && (strlen(table->columns[i].name) != len ||
                                                strncasecmp(table->columns[i].name, wanted, len) != 0))
                        i++;
                if (i == table->n_columns) {
                        char names[512] = "";

                        for (i = 0; i < table->n_columns; i++) {
                                size_t used = strlen(names);

                                snprintf(names + used, sizeof(names) - used, "%s%s", i > 0 ? ", " : "",
                                         table->columns[i].name);
                        }
                        return cli_usage(args, "there is no column '%.*s'; there are: %s", (int)len, wanted,
                                         names);
                }
                table->shown = cli_reallocate(table->shown, (table->n_shown + 1) * sizeof(*table->shown));
                table->shown[table->n_shown++] = i;
                wanted += len;
                wanted += *wanted == ',';
        }
        if (table->n_shown == 0)
                return cli_usage(args, "--output names no column");
        return 0;
}

static void free_table(struct cli_table *table) {
        for (size_t i = 0; i < table->n_rows * table->n_columns; i++)
                free(table->cells[i]);
        free(table->cells);
        free(table->shown);
        free(table);
}

int cli_table_new(struct cli_table **tablep, const struct cli_args *args) {
        struct cli_table *table = cli_allocate(sizeof(*table));
        const char *wanted = cli_text(args, "output");
        int r = 0;

        table->columns = args->cmd->columns;
        while (table->columns[table->n_columns].name != NULL)
                table->n_columns++;
        table->json = cli_given(args, "json");
        table->raw = cli_given(args, "raw");
        if (table->json && table->raw) {
                r = cli_usage(args, "--json and --raw exclude each other");
        } else if (wanted != NULL) {
                r = choose(table, args, wanted);
        } else {
                table->shown = cli_allocate(table->n_columns * sizeof(*table->shown));
                for (; table->n_shown < table->n_columns; table->n_shown++)
                        table->shown[table->n_shown] = table->n_shown;
        }
        if (r != 0) {
                free_table(table);
                return r;
        }
        *tablep = table;
        return 0;
}

void cli_table_add(struct cli_table *table, const char *const *cells) {
        char **row;

        if (table->n_rows == table->rows_cap) {
                table->rows_cap = table->rows_cap == 0 ? 16 : table->rows_cap * 2;
                table->cells =
                        cli_reallocate(table->cells, table->rows_cap * table->n_columns * sizeof(char *));
        }
        row = table->cells + table->n_rows * table->n_columns;
        for (unsigned i = 0; i < table->n_columns; i++) {
                row[i] = NULL;
                if (cells[i] != NULL) {
                        size_t len = strlen(cells[i]) + 1;

                        row[i] = memcpy(cli_allocate(len), cells[i], len);
                }
        }
        table->n_rows++;
}

static void print_json(const struct cli_table *table, char *const *row) {
        struct cli_json json;

        cli_json_init(&json, stdout);
        cli_json_object(&json, NULL);
        for (unsigned i = 0; i < table->n_shown; i++) {
                const struct cli_column *column = &table->columns[table->shown[i]];
                const char *cell = row[table->shown[i]];

                if (column->type == CLI_NUMBER)
                        cli_json_number(&json, column->name, cell);
                else if (column->type == CLI_TRUTH && cell != NULL)
                        cli_json_truth(&json, column->name, strcmp(cell, "yes") == 0);
                else
                        cli_json_text(&json, column->name, cell);
        }
        cli_json_end(&json);
}

static void print_raw(const struct cli_table *table, char *const *row) {
        for (unsigned i = 0; i < table->n_shown; i++) {
                const char *cell = row[table->shown[i]];

                if (i > 0)
                        putchar('\t');
                for (; cell != NULL && *cell != '\0'; cell++) {
                        const char *special = strchr("\tt\nn\\\\", *cell);

                        if (*cell == '\t' || *cell == '\n' || *cell == '\\')
                                printf("\\%c", special[1]);
                        else
                                putchar(*cell);
                }
        }
        putchar('\n');
}

/* Columns of the screen @text takes: one a character (the tables hold no wide ones). */
static unsigned text_width(const char *text) {
        unsigned width = 0;

        for (; text != NULL && *text != '\0'; text++)
                width += ((unsigned char)*text & 0xc0) != 0x80;
        return width;
}

static void print_cell(const char *cell, unsigned width, bool right, bool last) {
        unsigned has = text_width(cell);
        int gap = has < width ? (int)(width - has) : 0;

        printf("%*s%s%*s%s", right ? gap : 0, "", cell == NULL ? "" : cell, right || last ? 0 : gap, "",
               last ? "\n" : "  ");
}

static void print_plain(const struct cli_table *table) {
        unsigned *widths = cli_allocate(table->n_columns * sizeof(*widths));
        bool bold = cli_colours(STDOUT_FILENO);

        for (unsigned i = 0; i < table->n_columns; i++) {
                widths[i] = text_width(table->columns[i].name);
                if (table->columns[i].width > widths[i])
                        widths[i] = table->columns[i].width;
                for (size_t row = 0; row < table->n_rows; row++) {
                        unsigned width = text_width(table->cells[row * table->n_columns + i]);

                        if (width > widths[i])
                                widths[i] = width;
                }
        }
        for (unsigned i = 0; i < table->n_shown; i++) {
                const struct cli_column *column = &table->columns[table->shown[i]];

                if (bold)
                        fputs("\033[1m", stdout);
                print_cell(column->name, widths[table->shown[i]], column->type == CLI_NUMBER,
                           i + 1 == table->n_shown);
                if (bold)
                        fputs("\033[0m", stdout);
        }
        for (size_t row = 0; row < table->n_rows; row++)
                for (unsigned i = 0; i < table->n_shown; i++)
                        print_cell(table->cells[row * table->n_columns + table->shown[i]],
                                   widths[table->shown[i]],
                                   table->columns[table->shown[i]].type == CLI_NUMBER,
                                   i + 1 == table->n_shown);
        free(widths);
}

struct cli_table *cli_table_drop(struct cli_table *table) {
        if (table != NULL)
                free_table(table);
        return NULL;
}

struct cli_table *cli_table_end(struct cli_table *table) {
        if (table == NULL)
                return NULL;
        if (!table->json && !table->raw)
                print_plain(table);
        for (size_t row = 0; row < table->n_rows && (table->json || table->raw); row++) {
                if (table->json)
                        print_json(table, table->cells + row * table->n_columns);
                else
                        print_raw(table, table->cells + row * table->n_columns);
        }
        free_table(table);
        return NULL;
}
