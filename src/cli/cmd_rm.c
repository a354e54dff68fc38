/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* confab rm ADDRESS...: removes what the addresses name from the system: FIFOs, socket files, queues. */
#include "command.h"

#include <errno.h>
#include <limits.h>

static const struct cli_option options[] = {
        {"force", 'f', NULL, "what is not there is no failure", NULL},
        {"verbose", 'v', NULL, "say what was removed", NULL},
        CLI_OPTIONS_END,
};

static int run(struct cli_args *args) {
        int code = CLI_DONE;

        for (unsigned i = 0; i < args->n_operands; i++) {
                int r = confab_remove(args->operands[i]);

                if (r == -ENOENT && cli_given(args, "force"))
                        continue;
                if (r < 0)
                        code = cli_failed(args, r); /* the others are removed all the same */
                else if (cli_given(args, "verbose"))
                        cli_say(args, "removed %s", args->operands[i]);
        }
        return code;
}

const struct cli_cmd cmd_rm = {
        .name = "rm",
        .summary = "Removes what addresses name in the system: FIFOs, socket files, message queues",
        .usage = "ADDRESS...",
        .options = options,
        .operand_words = "@addresses",
        .min_operands = 1,
        .max_operands = UINT_MAX,
        .run = run,
};
