/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CLI_RUN_SERVICE_H
#define CLI_RUN_SERVICE_H
/* confab run --service: see run_service.c. The options stand in the table of cmd_run.c. */
#include "command.h"

/* Whether the command line asks for a service. */
int cli_service_wanted(const struct cli_args *args);
/* What only a service has was given without one: CLI_USAGE after a complaint, else CLI_DONE. */
int cli_service_unwanted(const struct cli_args *args);
/* Serves until the end: an enum cli_exit. */
int cli_run_service(struct cli_args *args);

#endif
