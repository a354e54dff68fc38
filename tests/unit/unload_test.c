/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * FAULTS 47: the library is closed by dlclose while its handlers of signals, forks and ends of threads are set, as by a plug-in that uses it.
 * It stays in memory (-z nodelete): the kernel and the C library know addresses in it.
 */
#include "harness.h"

#include <confab/confab.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <sys/wait.h>
#include <unistd.h>

static void *library;

/* A plug-in's view: nothing of it is linked, all is looked up. */
static void *found(const char *name) {
        void *function = dlsym(library, name);

        check(function);
        return function;
}
#define CONFAB(name) ((__typeof__(confab_##name) *)found("confab_" #name))

static int n_came;

static void came(const struct confab_signal_received *received) {
        n_came += received->number == SIGUSR1;
}

static void send_to_nobody(void) {
        struct confab_message message = confab_message_of("x", 1);
        confab_endpoint *ends[2];

        check_eq(CONFAB(pair)(ends, "pipe://", NULL), 0);
        CONFAB(close)(ends[0]);
        check_eq(CONFAB(send)(ends[1], &message, CONFAB_NOW), -EPIPE);
        CONFAB(close)(ends[1]);
}

static confab_lock *lock_of_file(void) {
        struct confab_lock_options options = {.size = sizeof(options),
                                              .flags = CONFAB_LOCK_CREATE | CONFAB_LOCK_ANY_THREAD};
        confab_lock *lock = NULL;

        check_eq(CONFAB(lock_open)(&lock, "file", &options), 0);
        return lock;
}

static sem_t waited, unloaded;

/* Waits once for a lock and once for a message, so that this thread has all that is given back at its end, which comes after dlclose. */
static void *wait_and_outlive(void *unused) {
        struct confab_message message = confab_message_of(NULL, 0);
        confab_lock *held = lock_of_file(), *wanted = lock_of_file();
        int64_t (*after)(int64_t) = CONFAB(after);
        confab_endpoint *ends[2];

        (void)unused;
        check_eq(CONFAB(lock_acquire)(held, CONFAB_LOCK_EXCLUSIVE, 0, 0, CONFAB_NOW), 0);
        check_eq(CONFAB(lock_acquire)(wanted, CONFAB_LOCK_EXCLUSIVE, 0, 0, after(1000000)), -ETIMEDOUT);
        CONFAB(lock_close)(held);
        CONFAB(lock_close)(wanted);
        check_eq(CONFAB(pair)(ends, "unix://", NULL), 0);
        check_eq(CONFAB(receive)(ends[0], &message, NULL, after(1000000)), -ETIMEDOUT);
        CONFAB(close)(ends[0]);
        CONFAB(close)(ends[1]);
        check_eq(sem_post(&waited), 0);
        check_eq(restarted(sem_wait(&unloaded)), 0);
        return NULL;
}

TEST(handlers_outlive_dlclose) {
        pthread_t thread;
        int status;
        pid_t pid;

        library = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
        if (!library)
                harness_failed(dlerror(), __FILE__, __LINE__);
        check_eq(CONFAB(signal_handle)(NULL, SIGUSR1, came, 0), 0);
        send_to_nobody();
        check_eq(sem_init(&waited, 0, 0), 0);
        check_eq(sem_init(&unloaded, 0, 0), 0);
        check_eq(pthread_create(&thread, NULL, wait_and_outlive, NULL), 0);
        check_eq(restarted(sem_wait(&waited)), 0);
        check_eq(dlclose(library), 0);

        check_eq(raise(SIGUSR1), 0);
        check_eq(n_came, 1);
        pid = fork();
        if (pid == 0) {
                raise(SIGPIPE); /* the guard of ours lets it end the program as ever */
                _exit(1);
        }
        check_eq(restarted(waitpid(pid, &status, 0)), pid);
        check_eq(WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status), SIGPIPE);
        check_eq(sem_post(&unloaded), 0);
        check_eq(pthread_join(thread, NULL), 0);
}
