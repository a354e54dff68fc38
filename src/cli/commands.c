/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* The list of commands, in the order `confab help` shows them. */
#include "command.h"

#include <string.h>

#define COMMANDS(X)   \
        X(send)       \
        X(receive)    \
        X(listen)     \
        X(relay)      \
        X(run)        \
        X(lock)       \
        X(bench)      \
        X(demo)       \
        X(rm)         \
        X(signal)     \
        X(properties) \
        X(help)       \
        X(completion) \
        X(version)

#define X(name) extern const struct cli_cmd cmd_##name;
COMMANDS(X)
#undef X

const struct cli_cmd *const cli_commands[] = {
#define X(name) &cmd_##name,
        COMMANDS(X)
#undef X
                NULL};

const struct cli_cmd *cli_find_command(const char *name) {
        for (const struct cli_cmd *const *cmd = cli_commands; *cmd != NULL; cmd++)
                if (strcmp((*cmd)->name, name) == 0)
                        return *cmd;
        return NULL;
}
