/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* Tests that must fail, each in its own way, and some that must pass: harness_selftest.sh knows what the runner must say to each. */
#include "harness.h"

#include <fcntl.h>
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* The names it plants: harness_selftest.sh tells a number, so that the last test can tidy up where the runner has no namespace. */
static unsigned own_number(void) {
        const char *number = getenv("HARNESS_SELFTEST");

        return number ? (unsigned)atoi(number) : (unsigned)getppid();
}

static const char *own_name(void) {
        static char name[64];

        snprintf(name, sizeof(name), "/confab-selftest-%u", own_number());
        return name;
}

static key_t own_key(void) {
        return (key_t)(0x5e000000 + own_number());
}

TEST(pass_plain) {
        check(1 + 1 == 2);
        check_eq(-1, -1);
        check_str("a", "a");
        check_mem("abc", "abd", 2);
        check_ok(0);
}

TEST(pass_with_a_file_and_a_child) {
        int fd = open("left-here", O_CREAT | O_WRONLY | O_CLOEXEC, 0600), status;
        pid_t pid = fork();

        if (pid == 0)
                _exit(0);
        check(fd >= 0 && close(fd) == 0);
        check_eq(waitpid(pid, &status, 0), pid);
}

/* Felt by a test and by what it forks; a call made again is not disturbed. */
TEST(pass_in_a_storm) {
        pid_t pid;
        int status;

        if (!getenv("HARNESS_STORM_HZ"))
                return;
        check(poll(NULL, 0, -1) < 0 && errno == EINTR);
        pid = fork();
        if (pid == 0) {
                check(poll(NULL, 0, -1) < 0 && errno == EINTR);
                _exit(0);
        }
        check_eq(restarted(waitpid(pid, &status, 0)), pid);
        check_eq(status, 0);
}

TEST(skip_with_reason) {
        skip("the moon is full");
}

TEST(fail_check) {
        check(1 > 2);
}

TEST(fail_check_eq) {
        check_eq(3, 4);
}

TEST(fail_check_str) {
        check_str("this", "that");
}

TEST(fail_check_mem) {
        check_mem("abc", "abd", 3);
}

TEST(fail_check_ok) {
        check_ok(-2);
}

TEST(fail_in_a_forked_child) {
        pid_t pid = fork();

        if (pid == 0)
                check(!"the child is not happy");
        waitpid(pid, NULL, 0);
}

static void *check_in_a_thread(void *unused) {
        check(!"the thread is not happy");
        return unused;
}

TEST(fail_in_a_thread) {
        pthread_t thread;

        pthread_create(&thread, NULL, check_in_a_thread, NULL);
        pthread_join(thread, NULL);
}

TEST(fail_crash) {
        raise(SIGSEGV);
}

TEST(fail_sigpipe) {
        int ends[2];

        check(pipe2(ends, O_CLOEXEC) == 0);
        close(ends[0]);
        check(write(ends[1], "x", 1) == 1);
}

TEST(fail_exit) {
        _exit(9);
}

TEST_TIMEOUT(fail_timeout, 1) {
        fprintf(stderr, "the last words\n");
        pause();
}

TEST_TIMEOUT(fail_timeout_with_family, 1) {
        for (int i = 0; i < 3; i++)
                if (fork() == 0) {
                        alarm(20); /* for emulators, where the runner does not get them */
                        if (i == 1)
                                setsid(); /* out of the test's process group */
                        pause();
                }
        pause();
}

TEST(fail_descriptor) {
        check(dup(STDIN_FILENO) >= 0);
}

TEST(fail_zombie) {
        siginfo_t ended;

        if (fork() == 0)
                _exit(0);
        waitid(P_ALL, 0, &ended, WEXITED | WNOWAIT);
}

TEST(fail_child) {
        if (fork() == 0)
                pause();
}

TEST(fail_grandchild) {
        pid_t pid = fork();

        if (pid == 0) {
                if (fork() == 0) {
                        alarm(20);
                        setsid();
                        pause();
                }
                _exit(0);
        }
        waitpid(pid, NULL, 0);
}

TEST(fail_posix_queue) {
        mqd_t queue = mq_open(own_name(), O_CREAT | O_RDWR, 0600, NULL);

        check(queue >= 0);
        mq_close(queue);
}

TEST(fail_sysv_queue) {
        check(msgget(own_key(), IPC_CREAT | 0600) >= 0);
}

TEST(fail_sysv_semaphores) {
        check(semget(own_key(), 1, IPC_CREAT | 0600) >= 0);
}

TEST(fail_sysv_segment) {
        check(shmget(own_key(), 4096, IPC_CREAT | 0600) >= 0);
}

TEST(fail_dev_shm) {
        int fd = shm_open(own_name(), O_CREAT | O_RDWR, 0600);

        check(fd >= 0);
        close(fd);
}

TEST(fail_fifo) {
        check(mkfifo("pipe", 0600) == 0);
}

TEST(fail_socket_file) {
        struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "folder/sock"};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        check(mkdir("folder", 0700) == 0);
        check(bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
        close(fd);
}

/* The temporary directory is gone and the next test has a new, empty one. */
TEST(pass_in_an_empty_directory) {
        check(access("folder", F_OK) < 0 && access("left-here", F_OK) < 0);
        check(rmdir("../t") == 0 && mkdir("../t", 0700) == 0);
}

TEST(tidy) {
        mq_unlink(own_name());
        shm_unlink(own_name());
        msgctl(msgget(own_key(), 0), IPC_RMID, NULL);
        semctl(semget(own_key(), 0, 0), 0, IPC_RMID);
        shmctl(shmget(own_key(), 0, 0), IPC_RMID, NULL);
}
