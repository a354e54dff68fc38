/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_PROCESS_PROGRAM_H
#define CFB_PROCESS_PROGRAM_H
#include <stddef.h>

/*
 * Looks for the program @name in the folders of PATH as @envp (NULL: this process's) has it, unless it has a slash; relative names
 * begin at the folder behind @directory (-1: here). *@pathp is the caller's (cfb_release). -ENOENT, -EACCES, -ENOMEM.
 */
int cfb_program_find(char **pathp, const char *name, const char *const *envp, int directory);

/* What kept a program that was found from being started (cfb_explainer). */
struct cfb_failure;
size_t cfb_explain_start(const struct cfb_failure *failure, char *text, size_t text_cap);

#endif
