/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* confab version: of the library in use, and which mechanisms it has. Also: confab --version. */
#include "command.h"

static const struct cli_option options[] = {CLI_OPTIONS_END};

static int run(struct cli_args *args) {
        (void)args;
        cli_print_version(stdout);
        return CLI_DONE;
}

const struct cli_cmd cmd_version = {
        .name = "version",
        .summary = "Prints the version and the mechanisms of this build",
        .usage = "",
        .options = options,
        .operand_words = "",
        .run = run,
};
