/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* repeat N COMMAND [ARG...]: runs it N times, one after the other; prints how many milliseconds one took, from its start until it was reaped. */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double milliseconds(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

int main(int argc, char *argv[]) {
        int n = argc > 2 ? atoi(argv[1]) : 0, status, error;
        double begun = milliseconds();
        pid_t pid;

        if (n < 1) {
                fprintf(stderr, "repeat N COMMAND [ARG...]\n");
                return 2;
        }
        for (int i = 0; i < n; i++) {
                error = posix_spawnp(&pid, argv[2], NULL, NULL, argv + 2, environ);
                if (error) {
                        fprintf(stderr, "repeat: %s: %s\n", argv[2], strerror(error));
                        return 1;
                }
                if (waitpid(pid, &status, 0) != pid || status != 0) {
                        fprintf(stderr, "repeat: %s ended with %d\n", argv[2], status);
                        return 1;
                }
        }
        printf("%.5f\n", (milliseconds() - begun) / n);
        return 0;
}
