/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Shared memory without a name: a memfd.
 *
 * Its space is reserved before it is sealed, so writing to it never meets a full tmpfs (SIGBUS), and the seals keep every holder from
 * shrinking it (SIGBUS again) and from growing it. A hole that a peer punches reads as zeroes, so zero is no valid state of what lies in it;
 * writing there again takes a new page.
 *
 * What comes from a peer is memory only if it has the seals: nothing else has any (the kernel answers -EINVAL), so a file of FUSE, a device
 * or a descriptor whose page faults somebody else serves (userfaultfd is a matter of each mapping) is refused before it is mapped.
 *
 * Costs: five system calls to make one, three to check and map one.
 */
#include "shm/memory.h"
#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

enum {
        SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL,
        FUTURE_WRITE = 16, /* F_SEAL_FUTURE_WRITE, which musl 1.2.3 does not name */
        NOEXEC_SEAL = 8,   /* MFD_NOEXEC_SEAL, Linux 6.3: nobody makes a program of it */
};

int cfb_shared_new(const char *label, size_t len) {
        CFB_CLEANUP(cfb_closep) int fd = memfd_create(label, MFD_CLOEXEC | MFD_ALLOW_SEALING | NOEXEC_SEAL);
        int r;

        if (fd < 0 && errno == EINVAL)
                fd = memfd_create(label, MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0)
                return -errno;
        do
                r = fallocate(fd, 0, 0, (off_t)len);
        while (r < 0 && errno == EINTR);
        if (r < 0 || fcntl(fd, F_ADD_SEALS, SEALS) < 0)
                return -errno;
        return cfb_steal_fd(&fd);
}

int cfb_shared_check(int fd, size_t least, size_t most, size_t *lenp) {
        int seals = fcntl(fd, F_GET_SEALS);
        struct statfs fs;
        struct stat st;

        /* Huge pages can be sealed, too, but not reserved against a hole: SIGBUS. Sealed against writing it is no use. */
        if (seals < 0 || (seals & SEALS) != SEALS || (seals & (F_SEAL_WRITE | FUTURE_WRITE)) ||
            fstatfs(fd, &fs) < 0 || fs.f_type != TMPFS_MAGIC || fstat(fd, &st) < 0)
                return -EPROTO;
        if (st.st_size < 0 || (uintmax_t)st.st_size < least || (uintmax_t)st.st_size > most)
                return -EPROTO;
        *lenp = (size_t)st.st_size;
        return 0;
}

int cfb_shared_map(void **memoryp, int fd, size_t len) {
        void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        int r;

        if (memory == MAP_FAILED)
                return -errno;
        if (madvise(memory, len, MADV_DONTFORK) < 0) {
                r = -errno;
                munmap(memory, len);
                return r;
        }
        *memoryp = memory;
        return 0;
}

void *cfb_shared_unmap(void *memory, size_t len) {
        if (memory)
                munmap(memory, len);
        return NULL;
}
