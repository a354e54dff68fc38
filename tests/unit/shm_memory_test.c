/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* Sealed memory: nobody shrinks it, its space is there, nothing else is taken for it, and no child has it. */
#include "conversation.h"
#include "emulated.h"
#include "harness.h"
#include "shm/memory.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEN ((size_t)65536)

TEST(as_made) {
        int fd = cfb_shared_new("test", LEN);
        struct stat st;
        size_t len = 0;
        void *memory;

        check(fd >= 0);
        check_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
        check_eq(ftruncate(fd, LEN / 2), -1);
        check_eq(errno, EPERM);
        check_eq(ftruncate(fd, LEN * 2), -1);
        check(fstat(fd, &st) == 0 && (size_t)st.st_blocks * 512 >= LEN); /* reserved, not only promised */
        check_eq(cfb_shared_check(fd, LEN, LEN, &len), 0);
        check_eq(len, LEN);
        check_eq(cfb_shared_check(fd, LEN + 1, LEN * 2, &len), -EPROTO);
        check_eq(cfb_shared_check(fd, 1, LEN - 1, &len), -EPROTO);
        check_eq(cfb_shared_map(&memory, fd, LEN), 0);
        for (size_t i = 0; i < LEN; i++)
                check_eq(((unsigned char *)memory)[i], 0);
        close(fd);
        memset(memory, 1, LEN);
        check(cfb_shared_unmap(memory, LEN) == NULL);
        check(cfb_shared_unmap(NULL, LEN) == NULL);
}

static void not_memory(int fd) {
        size_t len;

        check(fd >= 0);
        check_eq(cfb_shared_check(fd, 0, SIZE_MAX, &len), -EPROTO);
        close(fd);
}

TEST(nothing_else_is_taken) {
        int fd, fds[2];
        size_t len;

        check_eq(cfb_shared_check(-1, 0, SIZE_MAX, &len), -EPROTO);
        not_memory(open("/dev/zero", O_RDWR));
        not_memory(open("/", O_RDONLY | O_DIRECTORY));
        not_memory(open("file", O_RDWR | O_CREAT, 0600));
        check_eq(pipe(fds), 0);
        not_memory(fds[0]);
        not_memory(fds[1]);
        check_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        not_memory(fds[0]);
        not_memory(fds[1]);
        not_memory(memfd_create("unsealable", MFD_CLOEXEC));
        fd = memfd_create("unsealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        check_eq(ftruncate(fd, LEN), 0);
        check_eq(cfb_shared_check(fd, LEN, LEN, &len), -EPROTO);
        check_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SEAL), 0);
        not_memory(fd); /* it can still shrink */
        unlink("file");
}

TEST(no_child_has_it) {
        int fd = cfb_shared_new("test", LEN);
        void *memory;
        pid_t child;

        if (emulator_leaves_children_all()) {
                close(fd);
                skip(emulator_leaves_children_all());
        }
        check(fd >= 0);
        check_eq(cfb_shared_map(&memory, fd, LEN), 0);
        child = fork();
        check(child >= 0);
        if (child == 0) {
                unsigned char there;

                _exit(mincore(memory, LEN, &there) == 0); /* ENOMEM: not mapped */
        }
        ended_well(child);
        cfb_shared_unmap(memory, LEN);
        close(fd);
}

TEST(not_to_be_had) {
        struct rlimit limit, none;
        int r;

        check_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        none = (struct rlimit){.rlim_cur = 0, .rlim_max = limit.rlim_max};
        check_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
        r = cfb_shared_new("test", LEN);
        check_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        check_eq(r, -EMFILE);
}
