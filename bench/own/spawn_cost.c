/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * spawn_cost confab|posix_spawn|fork MAPPED_MIB WRITTEN_MIB: maps so much memory, writes to so much of it and reads the rest, page by page, so that
 * all of it stands in the page tables and what was read costs no memory. Then for each line "N" on its input it starts /bin/true N times, one after
 * the other, and prints how many microseconds one took from the start until it was reaped.
 */
#include <confab/confab.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MIB = 1 << 20 };

static char program[] = "/bin/true", *arguments[] = {program, NULL};
static void die(const char *what) {
        fprintf(stderr, "spawn_cost: %s\n", what);
        exit(1);
}

static void by_confab(void) {
        const struct confab_stage stage = {.size = sizeof(stage), .argv = (const char *const *)arguments};
        confab_job *job;

        if (confab_job_start(&job, &stage, 1, NULL) < 0 || confab_job_wait(job, CONFAB_FOREVER) < 0 ||
            confab_job_result(job) != 0)
                die("confab_job");
        confab_job_free(job);
}

static void reap(pid_t pid) {
        int status;

        if (waitpid(pid, &status, 0) != pid || status != 0)
                die("waitpid");
}

static void by_posix_spawn(void) {
        pid_t pid;

        if (posix_spawn(&pid, arguments[0], NULL, NULL, arguments, environ) != 0)
                die("posix_spawn");
        reap(pid);
}

static void by_fork(void) {
        pid_t pid = fork();

        if (pid < 0)
                die("fork");
        if (pid == 0) {
                execv(arguments[0], arguments);
                _exit(127);
        }
        reap(pid);
}

static const struct {
        const char *name;
        void (*start_and_reap)(void);
} ways[] = {{"confab", by_confab}, {"posix_spawn", by_posix_spawn}, {"fork", by_fork}};

static void fill(size_t mapped_len, size_t written_len) {
        size_t page_len = (size_t)sysconf(_SC_PAGESIZE);
        volatile char *memory;

        if (!mapped_len)
                return;
        memory = mmap(NULL, mapped_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                      -1, 0);
        if (memory == MAP_FAILED)
                die("mmap");
        /* small pages: the usual state of a large process, and the dearest one to copy */
        madvise((void *)memory, mapped_len, MADV_NOHUGEPAGE);
        for (size_t at = 0; at < mapped_len; at += page_len)
                if (at < written_len)
                        memory[at] = 1;
                else
                        (void)memory[at];
}

int main(int argc, char *argv[]) {
        void (*start_and_reap)(void) = NULL;
        char line[32];

        for (size_t i = 0; argc == 4 && i < sizeof(ways) / sizeof(ways[0]); i++)
                if (strcmp(argv[1], ways[i].name) == 0)
                        start_and_reap = ways[i].start_and_reap;
        if (!start_and_reap) {
                fprintf(stderr, "spawn_cost confab|posix_spawn|fork MAPPED_MIB WRITTEN_MIB\n");
                return 2;
        }
        fill((size_t)atol(argv[2]) * MIB, (size_t)atol(argv[3]) * MIB);
        while (fgets(line, sizeof(line), stdin)) {
                int n = atoi(line);
                int64_t begun = confab_now();

                for (int i = 0; i < n; i++)
                        start_and_reap();
                printf("%.3f\n", (double)(confab_now() - begun) / 1e3 / (n > 0 ? n : 1));
                fflush(stdout);
        }
        return 0;
}
