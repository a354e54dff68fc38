/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * A pipeline as the shell's, from a program: pipeline 'ls | more', pipeline 'ps -ef | cut -c1-8 | sort | uniq | wc -l' (documents S1 to S3).
 * On a terminal the pipeline has it: Ctrl-C ends ls and more, not this program, which then tells what became of them.
 */
#include <confab/confab.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void need(int64_t result) {
        char why[512];

        if (result >= 0)
                return;
        confab_explain(why, sizeof(why));
        fprintf(stderr, "%s\n", why);
        exit(1);
}

int main(int argc, char **argv) {
        struct confab_job_options options = {.size = sizeof(options)};
        struct confab_stage_status stage = {.size = sizeof(stage)};
        struct confab_pipeline *pipeline;
        confab_job *job;

        if (isatty(STDIN_FILENO))
                options.flags = CONFAB_JOB_FOREGROUND;
        need(confab_pipeline_parse(&pipeline, argc > 1 ? argv[1] : "ls | more"));
        need(confab_job_start(&job, pipeline->stages, pipeline->n_stages, &options));
        while (confab_job_wait(job, CONFAB_FOREVER) == CONFAB_JOB_STOPPED) {
                puts("stopped; it goes on now");
                need(confab_job_continue(job, 1));
        }
        for (unsigned i = 0; i < pipeline->n_stages; i++) {
                need(confab_job_status(job, i, &stage));
                fprintf(stderr, "%s: process %d ended with %s %d\n", pipeline->stages[i].argv[0], stage.pid,
                        stage.state == CONFAB_STAGE_KILLED ? "signal" : "status", stage.code);
        }
        confab_job_free(job);
        confab_pipeline_free(pipeline);
        return 0;
}
