/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* In the place of demo_carry.c and cmd_demo.c where nettle (SHA-256) was missing at build time. */
#include "command.h"
#include "measure.h"

#include <errno.h>

int measure_verify(struct measure_job *job, struct measure_ends *ends) {
        (void)ends;
        return measure_fail(job, -EOPNOTSUPP, "this confab was built without nettle");
}

static const struct cli_option options[] = {CLI_OPTIONS_END};

static int run(struct cli_args *args) {
        cli_say(args, "this confab was built without nettle, which verifies what arrives: install nettle-dev "
                      "and build again");
        return CLI_FAILED;
}

const struct cli_cmd cmd_demo = {
        .name = "demo",
        .summary = "Sends a real input through every mechanism (not in this build)",
        .usage = "",
        .options = options,
        .run = run,
};
