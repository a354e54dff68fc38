/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * The demo's verifier notices a changed byte, wherever it is. Near carries a small corpus, a relay between the two turns one bit of
 * byte number N, and far must say that it is wrong: for each N of the first messages, and for some of all the others.
 */
#include "demo.h"
#include "harness.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void write_file(const char *path, size_t len) {
        FILE *file = fopen(path, "w");

        check(file);
        for (size_t i = 0; i < len; i++)
                fputc((int)(i * 31 % 251), file);
        check(fclose(file) == 0);
}

static confab_endpoint *end_of(int fd) {
        confab_endpoint *endpoint = NULL;
        char address[64];

        snprintf(address, sizeof(address), "fd://%d?take&frame=record", fd);
        check_ok(confab_open(&endpoint, address, NULL, CONFAB_NOW));
        return endpoint;
}

/* Bytes from @in to @out, with one bit of byte @at turned. Ends when nothing comes for a while: a mark that now promises more
 * than comes must not let far wait for ever. */
static void relay(int in, int out, int64_t at) {
        unsigned char bytes[4096];
        int64_t seen = 0;

        for (;;) {
                struct pollfd pollfd = {in, POLLIN, 0};
                ssize_t n = poll(&pollfd, 1, 500) == 1 ? read(in, bytes, sizeof(bytes)) : 0;

                if (n <= 0)
                        _exit(0);
                if (at >= seen && at < seen + n)
                        bytes[at - seen] ^= 0x10;
                for (ssize_t done = 0; done < n;) {
                        ssize_t m = send(out, bytes + done, (size_t)(n - done), MSG_NOSIGNAL);

                        if (m < 0)
                                _exit(0);
                        done += m;
                }
                seen += n;
        }
}

static struct demo_corpus corpus;
static struct measure_job *job;

/* What far says when byte @at is changed on the way (-1: none). */
static int verify(int64_t at) {
        struct measure_ends ends = {0};
        int first[2], second[2], r;
        pid_t near, between;

        memset(job, 0, sizeof(*job));
        check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, first) == 0);
        check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, second) == 0);
        near = fork();
        if (!near) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                close(first[1]);
                close(second[0]);
                close(second[1]);
                ends.in = ends.out = end_of(first[0]);
                confab_endpoint_properties((job->properties.size = sizeof(job->properties), &job->properties),
                                           ends.in);
                _exit(demo_carry(job, &ends, &corpus) < 0);
        }
        between = fork();
        if (!between) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                close(first[0]);
                close(second[1]);
                relay(first[1], second[0], at);
        }
        close(first[0]);
        close(first[1]);
        close(second[0]);
        ends.in = ends.out = end_of(second[1]);
        r = measure_verify(job, &ends);
        confab_close(ends.in);
        if (at >= 0)
                kill(near, SIGKILL);
        kill(between, SIGKILL);
        check(waitpid(near, NULL, 0) == near);
        check(waitpid(between, NULL, 0) == between);
        return r;
}

static void prepare(bool tree) {
        check(mkdir("files", 0700) == 0 && mkdir("tree", 0700) == 0);
        write_file("files/a", 3);
        write_file("files/b", 0);
        write_file("files/c", 20000);
        write_file("tree/x", 100);
        check_eq(demo_corpus_read(&corpus, tree ? "tree" : NULL, "files", NULL, NULL), 0);
        check_eq(corpus.n_files, 3);
        job = mmap(NULL, sizeof(*job), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        check(job != MAP_FAILED);
}

TEST(unchanged_it_is_right) {
        prepare(true);
        check_ok(verify(-1));
        check_eq(job->carried.n_files, 3);
        check_eq(job->carried.n_bytes, 20003);
        check(job->carried.tree_right && job->carried.complete);
        demo_corpus_free(&corpus);
}

/* File a is mark (4), header (80), 3 bytes; b mark and header; c 20,084; the end 84. */
TEST_TIMEOUT(a_changed_byte_is_noticed, 120) {
        enum { C = 87 + 84, END = C + 4 + 80 + 20000, ALL = END + 84 };

        prepare(false);
        for (int64_t at = 0; at < ALL; at += at < C + 84 + 8 || at >= END - 8 ? 1 : 997) {
                if (verify(at) >= 0) {
                        fprintf(stderr, "byte %lld was changed and nobody noticed\n", (long long)at);
                        check(!"noticed");
                }
                check(job->error[0]);
        }
        demo_corpus_free(&corpus);
}

TEST_TIMEOUT(a_changed_byte_of_the_tar_stream_is_noticed, 60) {
        prepare(true);
        for (int64_t at = 0; at < 12000; at += at < 90 ? 1 : 499)
                check(verify(at) < 0);
        demo_corpus_free(&corpus);
}
