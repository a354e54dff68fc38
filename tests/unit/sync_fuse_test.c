/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Locks on FUSE, with a file server of our own: one that leaves them to the kernel, one that keeps them itself and never ends a wait for a
 * signal, and one that has none. It speaks the kernel's protocol, <linux/fuse.h>, as far as one file needs it.
 */
#include "base/cleanup.h"
#include "harness.h"

#include <confab/sync.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { S = CONFAB_LOCK_SHARED, X = CONFAB_LOCK_EXCLUSIVE };
#define MS         INT64_C(1000000)
#define EVENTUALLY confab_after(8000 * MS)

enum kind { BY_KERNEL, BY_SERVER, NO_LOCKS };
enum { FILE_NODE = 2, N_LOCKS = 16, BUFFER_LEN = 65536 + FUSE_MIN_READ_BUFFER };

/* --- the server --- */

struct held {
        uint64_t file; /* the open file; 0: nobody */
        struct fuse_file_lock lock;
};
struct server {
        int fd;
        enum kind kind;
        uint64_t n_opened;
        struct held held[N_LOCKS];
};

static void answer(const struct server *server, uint64_t unique, int error, const void *data, size_t len) {
        struct fuse_out_header head = {
                .len = (uint32_t)(sizeof(head) + (error ? 0 : len)), .error = -error, .unique = unique};
        struct iovec parts[2] = {{&head, sizeof(head)}, {(void *)data, error ? 0 : len}};

        if (writev(server->fd, parts, 2) < 0 && errno != ENOENT) /* ENOENT: who asked was killed */
                _exit(9);
}

static struct fuse_attr attributes(uint64_t node) {
        return (struct fuse_attr){
                .ino = node, .mode = node == FILE_NODE ? S_IFREG | 0600 : S_IFDIR | 0700, .nlink = 1};
}

static bool meets(const struct fuse_file_lock *a, const struct fuse_file_lock *b) {
        return a->start <= b->end && b->start <= a->end;
}

static const struct held *in_the_way(const struct server *server, const struct fuse_lk_in *wanted) {
        for (int i = 0; i < N_LOCKS; i++)
                if (server->held[i].file && server->held[i].file != wanted->fh &&
                    meets(&server->held[i].lock, &wanted->lk) &&
                    (server->held[i].lock.type == F_WRLCK || wanted->lk.type == F_WRLCK))
                        return &server->held[i];
        return NULL;
}

/* Whole locks only: what meets an own one replaces it. */
static int keep_lock(struct server *server, const struct fuse_lk_in *wanted) {
        if (wanted->lk.type != F_UNLCK && in_the_way(server, wanted))
                return EAGAIN;
        for (int i = 0; i < N_LOCKS; i++)
                if (server->held[i].file == wanted->fh && meets(&server->held[i].lock, &wanted->lk))
                        server->held[i].file = 0;
        for (int i = 0; wanted->lk.type != F_UNLCK && i < N_LOCKS; i++)
                if (!server->held[i].file) {
                        server->held[i] = (struct held){wanted->fh, wanted->lk};
                        return 0;
                }
        return wanted->lk.type == F_UNLCK ? 0 : ENOLCK;
}

static void forget_file(struct server *server, uint64_t file) {
        for (int i = 0; i < N_LOCKS; i++)
                if (server->held[i].file == file)
                        server->held[i].file = 0;
}

static void serve_lock(struct server *server, const struct fuse_in_header *head,
                       const struct fuse_lk_in *wanted) {
        struct fuse_lk_out out = {.lk = {.type = F_UNLCK}};
        const struct held *held;

        if (server->kind == NO_LOCKS) {
                answer(server, head->unique, ENOSYS, NULL, 0);
        } else if (head->opcode == FUSE_GETLK) {
                held = in_the_way(server, wanted);
                if (held)
                        out.lk = held->lock;
                answer(server, head->unique, 0, &out, sizeof(out));
        } else if (head->opcode == FUSE_SETLK) {
                answer(server, head->unique, keep_lock(server, wanted), NULL, 0);
        } /* SETLKW: never answered, whatever signal comes */
}

static void serve_one(struct server *server, const struct fuse_in_header *head, const void *body) {
        struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION,
                                     .minor = 31,
                                     .max_write = 4096,
                                     .flags = server->kind == BY_KERNEL ? 0 : FUSE_POSIX_LOCKS};
        struct fuse_entry_out entry = {.nodeid = FILE_NODE, .attr = attributes(FILE_NODE)};
        struct fuse_attr_out attr = {.attr = attributes(head->nodeid)};
        struct fuse_statfs_out statfs = {.st = {.namelen = 255}};
        struct fuse_open_out opened = {0};

        switch (head->opcode) {
        case FUSE_INIT:
                answer(server, head->unique, 0, &init, sizeof(init));
                break;
        case FUSE_LOOKUP:
                answer(server, head->unique, strcmp(body, "file") == 0 ? 0 : ENOENT, &entry, sizeof(entry));
                break;
        case FUSE_GETATTR:
                answer(server, head->unique, 0, &attr, sizeof(attr));
                break;
        case FUSE_STATFS:
                answer(server, head->unique, 0, &statfs, sizeof(statfs));
                break;
        case FUSE_OPEN:
                opened.fh = ++server->n_opened;
                answer(server, head->unique, 0, &opened, sizeof(opened));
                break;
        case FUSE_RELEASE:
                forget_file(server, ((const struct fuse_release_in *)body)->fh);
                answer(server, head->unique, 0, NULL, 0);
                break;
        case FUSE_FLUSH:
                answer(server, head->unique, 0, NULL, 0);
                break;
        case FUSE_GETLK:
        case FUSE_SETLK:
        case FUSE_SETLKW:
                serve_lock(server, head, body);
                break;
        case FUSE_FORGET:
        case FUSE_BATCH_FORGET:
        case FUSE_INTERRUPT:
                break;
        default:
                answer(server, head->unique, ENOSYS, NULL, 0);
        }
}

static void serve(int fd, enum kind kind) {
        static _Alignas(struct fuse_in_header) char buffer[BUFFER_LEN];
        struct server server = {.fd = fd, .kind = kind};

        for (;;) {
                ssize_t n = read(fd, buffer, sizeof(buffer));

                if (n < 0 && errno == ENODEV) /* unmounted */
                        _exit(0);
                if (n < 0 && errno != EINTR && errno != ENOENT && errno != EAGAIN)
                        _exit(8);
                if (n > 0)
                        serve_one(&server, (const struct fuse_in_header *)(const void *)buffer,
                                  buffer + sizeof(struct fuse_in_header));
        }
}

/* --- the tests --- */

static pid_t server_pid;

static void mount_it(enum kind kind) {
        CFB_CLEANUP(cfb_closep) int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
        char options[64];

        if (fd < 0 || (unshare(CLONE_NEWNS) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0) ||
            mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                skip("needs root or a user namespace, and /dev/fuse");
        check_eq(mkdir("mnt", 0700), 0);
        snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=%u,group_id=%u", fd,
                 (unsigned)geteuid(), (unsigned)getegid());
        if (mount("confab-test", "mnt", "fuse", MS_NOSUID | MS_NODEV, options) < 0)
                skip("needs root or a user namespace, and /dev/fuse");
        server_pid = fork();
        if (server_pid == 0)
                serve(fd, kind);
}

static void unmount_it(void) {
        int status;

        check_eq(umount2("mnt", MNT_DETACH), 0);
        check_eq(waitpid(server_pid, &status, 0), server_pid);
        check_eq(status, 0);
        check_eq(rmdir("mnt"), 0);
}

static confab_lock *opened(uint32_t flags) {
        struct confab_lock_options options = {.size = sizeof(options), .flags = flags};
        confab_lock *lock = NULL;

        check_ok(confab_lock_open(&lock, "mnt/file", &options));
        return lock;
}

static void check_explained(const char *part) {
        char text[1024];

        confab_explain(text, sizeof(text));
        if (!strstr(text, part)) {
                fprintf(stderr, "no \"%s\" in: %s\n", part, text);
                check(!"the sentence says so");
        }
}

struct seen {
        int n_unnamed, n_own;
};

static int see(const struct confab_lock_holder *holder, void *data) {
        struct seen *seen = data;

        if (!holder->waits && holder->pid == getpid())
                seen->n_own++;
        else if (!holder->waits)
                seen->n_unnamed++;
        return 0;
}

static void *wait_for_it(void *lock) {
        return confab_lock_acquire(lock, X, 0, 0, EVENTUALLY) == 0 ? lock : NULL;
}

/* What works on every file system that has locks. */
static void check_locks(void) {
        confab_lock *a = opened(CONFAB_LOCK_ANY_THREAD), *b = opened(CONFAB_LOCK_ANY_THREAD);
        confab_lock *own = opened(0);
        int64_t began = confab_now();
        pthread_t thread;
        void *result;

        check_eq(confab_lock_acquire(a, X, 0, 10, CONFAB_NOW), 0);
        check_eq(confab_lock_acquire(b, S, 5, 1, CONFAB_NOW), -EAGAIN);
        check_eq(confab_lock_acquire(b, S, 10, 1, CONFAB_NOW), 0);
        check_eq(confab_lock_acquire(b, X, 0, 0, confab_after(30 * MS)), -ETIMEDOUT);
        check(confab_now() - began >= 30 * MS);
        confab_lock_interrupt(b);
        check_eq(confab_lock_acquire(b, X, 0, 0, CONFAB_FOREVER), -EINTR);
        check_eq(pthread_create(&thread, NULL, wait_for_it, b), 0);
        check_eq(confab_lock_release(a, 0, 10), 0);
        check_eq(pthread_join(thread, &result), 0);
        check(result == b);
        check_eq(confab_lock_acquire(own, S, 0, 0, CONFAB_NOW), -EAGAIN);
        confab_lock_close(b); /* releases, also where the server keeps it */
        check_eq(confab_lock_acquire(own, S, 0, 0, EVENTUALLY), 0);
        confab_lock_close(own);
        confab_lock_close(a);
}

TEST(locks_that_the_kernel_keeps) {
        struct seen seen = {0};
        confab_lock *a, *b;

        mount_it(BY_KERNEL);
        check_locks();
        a = opened(0);
        b = opened(0);
        check_eq(confab_lock_acquire(a, X, 0, 0, CONFAB_NOW), 0);
        check_eq(confab_lock_holders(b, see, &seen), 1);
        check_eq(seen.n_own, 1);
        check_eq(confab_lock_acquire(b, X, 0, 0, EVENTUALLY), -EDEADLK);
        confab_lock_close(a);
        confab_lock_close(b);
        unmount_it();
}

/* A wait in the kernel would never end here, not even at its deadline: the server has heard of the signal and does not care. */
TEST(locks_that_the_server_keeps) {
        struct seen seen = {0};
        confab_lock *a, *b;
        int status;
        pid_t pid;

        mount_it(BY_SERVER);
        check_locks();
        a = opened(0);
        b = opened(0);
        check_eq(confab_lock_acquire(a, X, 5, 5, CONFAB_NOW), 0);
        check_eq(confab_lock_holders(b, see, &seen), 1); /* the server says that somebody does */
        check_eq(seen.n_own + seen.n_unnamed, 1);
        check_eq(confab_lock_release(a, 0, 0), 0);
        /* The holder's death closes its file: the server is told. */
        pid = fork();
        if (pid == 0) {
                confab_lock *mine = opened(0);

                check_eq(confab_lock_acquire(mine, X, 0, 0, CONFAB_NOW), 0);
                kill(getpid(), SIGKILL);
        }
        check_eq(waitpid(pid, &status, 0), pid);
        check_eq(confab_lock_acquire(a, X, 0, 0, EVENTUALLY), 0);
        confab_lock_close(a);
        confab_lock_close(b);
        unmount_it();
}

TEST(a_server_without_locks_is_named) {
        confab_lock *a;

        mount_it(NO_LOCKS);
        a = opened(0);
        check_eq(confab_lock_acquire(a, X, 0, 0, CONFAB_NOW), -EOPNOTSUPP);
        check_explained("the file system (fuse) says 'Function not implemented'");
        check_eq(confab_lock_acquire(a, S, 0, 0, CONFAB_FOREVER), -EOPNOTSUPP);
        confab_lock_close(a);
        unmount_it();
}
