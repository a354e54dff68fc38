/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Reading the kernel's locks. /proc/locks has them all, and who waits behind each:
 *
 *   1: OFDLCK ADVISORY  WRITE -1 fe:00:10952932 0 99        the file system's device and the inode, first and last byte
 *   1: -> OFDLCK ADVISORY  WRITE -1 fe:00:10952932 50 59    waits for it (deeper ones are indented)
 *   2: POSIX  ADVISORY  READ 31519 00:01:9532 0 EOF
 *
 * /proc/PID/fdinfo/FD has those of one open file, as "lock:" and the same. It is the one place that says whose an open-file-description
 * lock is. A list longer than a page is no snapshot: readers look twice where it matters.
 */
#include "sync/kernel_lock.h"
#include "base/cleanup.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Lines of a file of /proc, without stdio, which would allocate. */
struct lines {
        int fd;
        size_t at, n;
        bool ended;
        char bytes[4096];
};

/* The next line, cut out of the buffer; one longer than that comes in pieces. NULL: no more. */
static char *next_line(struct lines *lines) {
        for (;;) {
                char *begin = lines->bytes + lines->at, *newline = memchr(begin, '\n', lines->n - lines->at);
                ssize_t n;

                if (newline || (lines->at < lines->n &&
                                (lines->ended || (lines->at == 0 && lines->n == sizeof(lines->bytes) - 1)))) {
                        char *end = newline ? newline : lines->bytes + lines->n;

                        lines->at = (size_t)(end - lines->bytes) + (newline != NULL);
                        *end = '\0';
                        return begin;
                }
                if (lines->ended)
                        return NULL;
                lines->n -= lines->at;
                memmove(lines->bytes, begin, lines->n);
                lines->at = 0;
                n = read(lines->fd, lines->bytes + lines->n, sizeof(lines->bytes) - 1 - lines->n);
                if (n > 0)
                        lines->n += (size_t)n;
                else if (n == 0 || errno != EINTR)
                        lines->ended = true;
        }
}

static bool parse_kind(const char *word, uint32_t *kindp) {
        *kindp = strcmp(word, "OFDLCK") == 0  ? CONFAB_LOCK_BY_DESCRIPTION
                 : strcmp(word, "POSIX") == 0 ? CONFAB_LOCK_BY_PROCESS
                 : strcmp(word, "FLOCK") == 0 ? CONFAB_LOCK_BY_FLOCK
                                              : 0; /* leases and the like */
        return *kindp != 0;
}

static bool parse(const char *line, struct cfb_kernel_lock *lock) {
        char kind[16], manner[16], mode[16], last[32];
        unsigned major, minor;

        if (strncmp(line, "lock:", 5) == 0)
                line += 5;
        line += strspn(line, " \t0123456789:");
        lock->waits = line[0] == '-' && line[1] == '>';
        if (lock->waits)
                line += 2;
        if (sscanf(line, "%15s %15s %15s %" SCNd64 " %x:%x:%" SCNu64 " %" SCNu64 " %31s", kind, manner, mode,
                   &lock->pid, &major, &minor, &lock->inode, &lock->range.start, last) != 9)
                return false;
        lock->device = CFB_DEVICE(major, minor);
        lock->exclusive = strcmp(mode, "WRITE") == 0;
        lock->range.last = CFB_LOCK_END;
        return parse_kind(kind, &lock->kind) && (lock->exclusive || strcmp(mode, "READ") == 0) &&
               (strcmp(last, "EOF") == 0 || sscanf(last, "%" SCNu64, &lock->range.last) == 1) &&
               lock->range.start <= lock->range.last;
}

int cfb_kernel_locks(const char *path, int (*each)(const struct cfb_kernel_lock *lock, void *data),
                     void *data) {
        CFB_CLEANUP(cfb_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct lines lines = {.fd = fd};
        struct cfb_kernel_lock lock;
        char *line;
        int r = 0;

        if (fd < 0)
                return -errno;
        while (r == 0 && (line = next_line(&lines)))
                if ((isdigit((unsigned char)line[0]) || strncmp(line, "lock:", 5) == 0) && parse(line, &lock))
                        r = each(&lock, data);
        return r;
}

/* --- which file --- */

static void device_of_mount(unsigned mount, uint64_t *devicep) {
        CFB_CLEANUP(cfb_closep) int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
        struct lines lines = {.fd = fd};
        unsigned id, parent, major, minor;
        char *line;

        while (fd >= 0 && (line = next_line(&lines)))
                if (sscanf(line, "%u %u %u:%u ", &id, &parent, &major, &minor) == 4 && id == mount) {
                        *devicep = CFB_DEVICE(major, minor);
                        return;
                }
}

/* stat's numbers are not the kernel's on file systems that have several of them (btrfs, overlayfs). */
int cfb_kernel_file(int file, uint64_t *devicep, uint64_t *inodep) {
        char path[64];
        struct stat status;
        struct lines lines;
        unsigned mount;
        char *line;

        if (fstat(file, &status) < 0)
                return -errno;
        *devicep = CFB_DEVICE(major(status.st_dev), minor(status.st_dev));
        *inodep = status.st_ino;
        snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", file);
        {
                CFB_CLEANUP(cfb_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);

                if (fd < 0)
                        return -errno;
                lines = (struct lines){.fd = fd};
                while ((line = next_line(&lines))) {
                        if (sscanf(line, "mnt_id: %u", &mount) == 1)
                                device_of_mount(mount, devicep);
                        sscanf(line, "ino: %" SCNu64, inodep); /* Linux 5.14 */
                }
        }
        return 0;
}

/* A small file of /proc as text; how long it is, 0: it cannot be read. */
static size_t read_text(int64_t pid, const char *name, char *text, size_t text_cap) {
        char path[64];
        CFB_CLEANUP(cfb_closep) int fd = -1;
        ssize_t n = -1;

        snprintf(path, sizeof(path), "/proc/%" PRId64 "/%s", pid, name);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0)
                n = read(fd, text, text_cap - 1);
        text[n > 0 ? n : 0] = '\0';
        return n > 0 ? (size_t)n : 0;
}

void cfb_process_name(int64_t pid, char *name, size_t name_cap) {
        read_text(pid, "comm", name, name_cap);
        name[strcspn(name, "\n")] = '\0';
}

/* The kernel marks the killed first by a pending SIGKILL, then by a flag of the task, long before it closes their files. */
bool cfb_process_is_dying(int64_t pid) {
        enum { EXITING = 0x4, DUMPED = 0x8 }; /* PF_EXITING, PF_POSTCOREDUMP */
        const uint64_t killed = UINT64_C(1) << (SIGKILL - 1);
        uint64_t thread_pending, process_pending;
        char text[4096], state;
        const char *at;
        unsigned flags;

        if (!read_text(pid, "status", text, sizeof(text)) || !(at = strstr(text, "\nSigPnd:")) ||
            sscanf(at, "\nSigPnd: %" SCNx64 " ShdPnd: %" SCNx64, &thread_pending, &process_pending) != 2 ||
            ((thread_pending | process_pending) & killed))
                return true;
        return !read_text(pid, "stat", text, sizeof(text)) || !(at = strrchr(text, ')')) ||
               sscanf(at, ") %c %*d %*d %*d %*d %*d %u", &state, &flags) != 2 || state == 'Z' ||
               state == 'X' || (flags & (EXITING | DUMPED));
}

/* --- which file system --- */

static int lock_by_fcntl(int fd, int command, struct flock *description) {
        return fcntl(fd, command, description);
}

struct cfb_lock_calls cfb_lock_calls = {.statfs = fstatfs, .lock = lock_by_fcntl};

/*
 * FUSE passes a wait on to a program that need not end it for a signal, 9p and cifs ask their server again and again by themselves: there
 * the deadline is kept by asking ourselves. nfs ends its wait for a signal.
 */
static const struct cfb_file_system known[] = {
        {"nfs", 0x6969, false, true},        {"fuse", 0x65735546, true, false},
        {"9p", 0x01021997, true, true},      {"cifs", 0xFF534D42, true, true},
        {"smb2", 0xFE534D42, true, true},    {"smb", 0x517B, true, true},
        {"ceph", 0x00C36400, true, true},    {"afs", 0x5346414F, true, true},
        {"afs", 0x6B414653, true, true},     {"lustre", 0x0BD00BD0, true, true},
        {"gfs2", 0x01161970, true, true},    {"ocfs2", 0x7461636F, true, true},
        {"vboxsf", 0x786F4256, true, true},  {"overlayfs", 0x794C7630, false, false},
        {"ext4", 0xEF53, false, false},      {"xfs", 0x58465342, false, false},
        {"btrfs", 0x9123683E, false, false}, {"tmpfs", 0x01021994, false, false},
};

void cfb_file_system_of(int fd, struct cfb_file_system *file_system) {
        struct statfs status;

        *file_system = (struct cfb_file_system){0};
        if (cfb_lock_calls.statfs(fd, &status) < 0)
                return;
        file_system->type = (uint32_t)status.f_type; /* 32 bits, with or without a sign */
        for (size_t i = 0; i < CFB_ARRAY_LEN(known); i++)
                if (known[i].type == file_system->type)
                        *file_system = known[i];
}
