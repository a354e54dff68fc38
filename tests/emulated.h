/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef TESTS_EMULATED_H
#define TESTS_EMULATED_H
/* What emulators do not do, seen by trying it: why a test cannot run, or NULL. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * qemu-user 7.2 gives real-time signals other numbers on the host, but not in the siginfo that goes along: the kernel sees two different ones and
 * refuses (EINVAL). The one sent here is ignored: no test holds it back.
 */
static inline const char *emulator_sends_no_values(void) {
        int fd = (int)syscall(434 /* pidfd_open */, getpid(), 0), number = SIGRTMIN + 5, error = 0;
        siginfo_t info;

        memset(&info, 0, sizeof(info));
        info.si_signo = number;
        info.si_code = SI_QUEUE;
        signal(number, SIG_IGN);
        if (fd >= 0 && syscall(424 /* pidfd_send_signal */, fd, number, &info, 0) < 0)
                error = errno;
        signal(number, SIG_DFL);
        if (fd >= 0)
                close(fd);
        return error == EINVAL ? "emulator: qemu-user 7.2 sends no real-time signals by pidfd" : NULL;
}

/* qemu-user 7.2 answers MADV_DONTFORK with success and does nothing. */
static inline const char *emulator_leaves_children_all(void) {
        void *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        int status = 1;
        pid_t child;

        madvise(page, 4096, MADV_DONTFORK);
        child = fork();
        if (child == 0) {
                unsigned char there;

                _exit(mincore(page, 4096, &there) < 0);
        }
        while (waitpid(child, &status, 0) < 0 && errno == EINTR)
                ;
        munmap(page, 4096);
        return status == 0 ? "emulator: qemu-user 7.2 does nothing for MADV_DONTFORK" : NULL;
}

#endif
