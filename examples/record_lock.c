/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Records of a shared file, raised by several processes at once, each under a lock of its own: record_lock FILE N_TIMES
 * Each process goes through the records; two meet only where they are at the same one. Prints what the records say in the end.
 */
#include <confab/confab.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N_RECORDS = 4, N_PROCESSES = 3 };

static void need(int64_t result, const char *what) {
        char why[512] = "";

        if (result >= 0)
                return;
        confab_explain(why, sizeof(why));
        fprintf(stderr, "%s: %s\n", what, why);
        exit(1);
}

static void raise_record(confab_lock *lock, int file, int record) {
        int64_t at = record * (int64_t)sizeof(uint64_t);
        uint64_t count = 0;

        need(confab_lock_acquire(lock, CONFAB_LOCK_EXCLUSIVE, (uint64_t)at, sizeof(count), CONFAB_FOREVER),
             "lock");
        need(pread(file, &count, sizeof(count), at), "read"); /* behind the end: nothing, so it stays 0 */
        count++;
        need(pwrite(file, &count, sizeof(count), at), "write");
        need(confab_lock_release(lock, (uint64_t)at, sizeof(count)), "unlock");
}

int main(int argc, char *argv[]) {
        struct confab_lock_options options = {.size = sizeof(options), .flags = CONFAB_LOCK_CREATE};
        int n_times = argc == 3 ? atoi(argv[2]) : 0, status, failed = 0, file;
        confab_lock *lock;

        if (n_times <= 0) {
                fprintf(stderr, "record_lock FILE N_TIMES\n");
                return 2;
        }
        for (int process = 0; process < N_PROCESSES; process++)
                if (fork() == 0) {
                        need(confab_lock_open(&lock, argv[1], &options),
                             "open"); /* each its own: a handle is what holds */
                        need(file = open(argv[1], O_RDWR | O_CLOEXEC), "open");
                        for (int i = 0; i < n_times * N_RECORDS; i++)
                                raise_record(lock, file, (i + process) % N_RECORDS);
                        confab_lock_close(lock);
                        return 0;
                }
        while (wait(&status) > 0)
                failed |= status;
        need(file = open(argv[1], O_RDONLY | O_CLOEXEC), "open");
        for (uint64_t count; read(file, &count, sizeof(count)) == sizeof(count);)
                printf("%llu\n", (unsigned long long)count);
        return failed != 0;
}
