/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* Locks of files, against the kernel's own calls: who excludes whom, how waits end, deadlocks, owners, forks, names. */
#include "base/cleanup.h"
#include "harness.h"
#include "sync/board.h"
#include "sync/kernel_lock.h"

#include <confab/confab.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { S = CONFAB_LOCK_SHARED, X = CONFAB_LOCK_EXCLUSIVE };
#define MS         INT64_C(1000000)
#define SOON       confab_after(20 * MS)
#define EVENTUALLY confab_after(8000 * MS)

static void check_explained(const char *part) {
        char text[1024];

        confab_explain(text, sizeof(text));
        if (!strstr(text, part)) {
                fprintf(stderr, "no \"%s\" in: %s\n", part, text);
                check(!"the sentence says so");
        }
}

static confab_lock *opened_with(const char *name, uint32_t flags) {
        struct confab_lock_options options = {.size = sizeof(options), .flags = flags};
        confab_lock *lock = NULL;

        check_ok(confab_lock_open(&lock, name, &options));
        return lock;
}

/* One thread here holds by one handle and waits by another, which is a deadlock, unless it says that others may release. */
static confab_lock *opened(const char *name) {
        return opened_with(name, CONFAB_LOCK_CREATE | CONFAB_LOCK_ANY_THREAD);
}

static void closep(confab_lock **lockp) {
        *lockp = confab_lock_close(*lockp);
}
#define LOCK CFB_CLEANUP(closep) confab_lock

static int try_lock(confab_lock *lock, uint32_t mode, uint64_t start, uint64_t len) {
        return confab_lock_acquire(lock, mode, start, len, CONFAB_NOW);
}

/* What is shared with forked children. */
static void *shared_memory(size_t len) {
        void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        check(memory != MAP_FAILED);
        return memory;
}

static void reap(pid_t pid, int wanted) {
        int status;

        check_eq(waitpid(pid, &status, 0), pid);
        check_eq(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), wanted);
}

/* --- excluding --- */

TEST(exclusive_and_shared_as_the_kernel_has_them) {
        LOCK *a = opened("file"), *b = opened("file");
        static const struct {
                uint32_t mode, other;
                int result;
        } cases[] = {{S, S, 0}, {S, X, -EAGAIN}, {X, S, -EAGAIN}, {X, X, -EAGAIN}};

        for (size_t i = 0; i < CFB_ARRAY_LEN(cases); i++) {
                check_eq(try_lock(a, cases[i].mode, 0, 0), 0);
                check_eq(try_lock(b, cases[i].other, 0, 0), cases[i].result);
                check_eq(confab_lock_release(a, 0, 0), 0);
                check_eq(confab_lock_release(b, 0, 0), 0);
        }
}

TEST(ranges_exclude_where_they_meet) {
        LOCK *a = opened("file"), *b = opened("file");
        static const struct {
                uint64_t start, len;
                bool meets;
        } cases[] = {{0, 100, false},      {0, 101, true},  {100, 1, true},        {149, 1, true},
                     {150, 0, false},      {150, 1, false}, {INT64_MAX, 0, false}, {INT64_MAX, 1, false},
                     {0, INT64_MAX, true}, {0, 0, true},    {120, 10, true}};

        check_eq(try_lock(a, X, 100, 50), 0);
        for (size_t i = 0; i < CFB_ARRAY_LEN(cases); i++) {
                check_eq(try_lock(b, X, cases[i].start, cases[i].len), cases[i].meets ? -EAGAIN : 0);
                check_eq(confab_lock_release(b, 0, 0), 0);
        }
        /* Several of one file in one handle, and a hole in one of them. */
        check_eq(try_lock(a, X, 1000, 100), 0);
        check_eq(confab_lock_release(a, 1040, 20), 0);
        check_eq(try_lock(b, X, 1040, 20), 0);
        check_eq(try_lock(b, X, 1039, 1), -EAGAIN);
        check_eq(try_lock(b, X, 1060, 1), -EAGAIN);
        check_eq(try_lock(b, X, 149, 1), -EAGAIN);
}

TEST(ranges_that_cannot_be_are_refused) {
        LOCK *a = opened("file");

        check_eq(try_lock(a, X, UINT64_C(1) << 63, 0), -EINVAL);
        check_eq(try_lock(a, X, INT64_MAX, 2), -EINVAL);
        check_explained("2^63");
        check_eq(try_lock(a, X, UINT64_MAX, 2), -EINVAL);
        check_eq(try_lock(a, X, 1, UINT64_MAX), -EINVAL);
        check_eq(confab_lock_release(a, INT64_MAX, 2), -EINVAL);
        check_eq(try_lock(a, 0, 0, 0), -EINVAL);
        check_eq(try_lock(a, S | X, 0, 0), -EINVAL);
        check_eq(try_lock(NULL, X, 0, 0), -EINVAL);
        check_eq(confab_lock_holders(a, NULL, NULL), -EINVAL);
}

/* Others' locks: fcntl's exclude ours, flock's do not. */
TEST(classical_record_locks_exclude_ours) {
        struct flock record = {.l_type = F_WRLCK, .l_start = 10, .l_len = 10};
        LOCK *a = opened("file");
        CFB_CLEANUP(cfb_closep) int fd = open("file", O_RDWR | O_CLOEXEC);

        check_eq(fcntl(fd, F_SETLK, &record), 0);
        check_eq(try_lock(a, S, 0, 0), -EAGAIN);
        check_eq(try_lock(a, X, 0, 10), 0);
        check_eq(flock(fd, LOCK_EX), 0);
        check_eq(try_lock(a, X, 20, 0), 0);
        record.l_start = 25;
        check_eq(fcntl(fd, F_SETLK, &record), -1);
}

TEST(a_lock_is_not_counted) {
        LOCK *a = opened("file"), *b = opened("file");

        check_eq(try_lock(a, X, 0, 0), 0);
        check_eq(try_lock(a, X, 0, 0), 0);
        check_eq(confab_lock_release(a, 0, 0), 0);
        check_eq(confab_lock_release(a, 0, 0), 0);
        check_eq(try_lock(b, X, 0, 0), 0);
}

/* --- changing the mode --- */

TEST(downgrade_leaves_no_gap_and_upgrade_waits_for_readers) {
        LOCK *a = opened("file"), *b = opened("file");

        check_eq(try_lock(a, X, 0, 0), 0);
        check_eq(try_lock(a, S, 0, 0), 0);
        check_eq(try_lock(b, S, 0, 0), 0);
        check_eq(try_lock(a, X, 0, 0), -EAGAIN);
        check_eq(confab_lock_acquire(a, X, 0, 0, SOON), -ETIMEDOUT);
        check_eq(try_lock(b, X, 0, 0), -EAGAIN); /* a has kept its shared lock */
        check_eq(confab_lock_release(b, 0, 0), 0);
        check_eq(try_lock(a, X, 0, 0), 0);
        check_eq(try_lock(b, S, 0, 0), -EAGAIN);
}

struct waiter {
        confab_lock *lock;
        uint32_t mode;
        int64_t deadline_ns;
        int result;
        _Atomic int done;
        pthread_t thread;
};

static void *wait_for_all(void *data) {
        struct waiter *waiter = data;

        waiter->result = confab_lock_acquire(waiter->lock, waiter->mode, 0, 0, waiter->deadline_ns);
        atomic_store(&waiter->done, 1);
        return NULL;
}

static void start(struct waiter *waiter, confab_lock *lock, uint32_t mode, int64_t deadline_ns) {
        *waiter = (struct waiter){.lock = lock, .mode = mode, .deadline_ns = deadline_ns};
        check_eq(pthread_create(&waiter->thread, NULL, wait_for_all, waiter), 0);
}

static int finish(struct waiter *waiter) {
        check_eq(pthread_join(waiter->thread, NULL), 0);
        return waiter->result;
}

struct count {
        int n_waits, n_holds;
        int64_t pid;
        uint32_t mode;
};

static int count_all(const struct confab_lock_holder *holder, void *data) {
        struct count *count = data;

        if (holder->waits)
                count->n_waits++;
        else
                count->n_holds++;
        return 0;
}

/* Until so many wait for @lock's file. */
static void until_waiting(confab_lock *lock, int n) {
        for (;;) {
                struct count count = {0};

                check_ok(confab_lock_holders(lock, count_all, &count));
                if (count.n_waits >= n)
                        return;
                poll(NULL, 0, 2);
        }
}

/* --- waiting --- */

TEST(deadlines_are_kept_and_name_the_holder) {
        LOCK *a = opened("file"), *b = opened("file");
        int64_t began = confab_now();
        char expected[128];

        check_eq(try_lock(a, X, 5, 5), 0);
        check_eq(try_lock(b, X, 0, 0), -EAGAIN);
        check_eq(confab_lock_acquire(b, X, 0, 10, confab_after(30 * MS)), -ETIMEDOUT);
        check(confab_now() - began >= 30 * MS);
        snprintf(expected, sizeof(expected),
                 "an exclusive lock of bytes 0-9 was not to be had before the deadline; pid %d (",
                 (int)getpid());
        check_explained(expected);
        check_eq(confab_lock_acquire(b, X, 0, 10, 1), -ETIMEDOUT); /* long past */
        check_eq(confab_lock_release(a, 0, 0), 0);
        check_explained("nobody holds it any more");
        check_eq(confab_lock_acquire(b, X, 0, 10, 1), 0); /* need not wait */
}

TEST(a_release_ends_the_wait) {
        LOCK *a = opened("file"), *b = opened("file"), *watch = opened("file");
        struct waiter waiter;

        for (int i = 0; i < 20; i++) {
                check_eq(try_lock(a, X, 0, 0), 0);
                start(&waiter, b, i % 2 ? S : X, i % 4 < 2 ? CONFAB_FOREVER : EVENTUALLY);
                until_waiting(watch, 1);
                check_eq(atomic_load(&waiter.done), 0);
                check_eq(confab_lock_release(a, 0, 0), 0);
                check_eq(finish(&waiter), 0);
                check_eq(try_lock(a, X, 0, 0), -EAGAIN);
                check_eq(confab_lock_release(b, 0, 0), 0);
        }
}

TEST(interrupt_ends_the_wait_or_the_next_one) {
        LOCK *a = opened("file"), *b = opened("file"), *watch = opened("file");
        struct waiter waiter;

        check_eq(try_lock(a, X, 0, 0), 0);
        for (int i = 0; i < 20; i++) {
                start(&waiter, b, X, CONFAB_FOREVER);
                if (i % 2)
                        until_waiting(watch, 1);
                confab_lock_interrupt(b);
                check_eq(finish(&waiter), -EINTR);
        }
        confab_lock_interrupt(b);
        check_eq(try_lock(b, X, 0, 0), -EAGAIN); /* does not wait: not disturbed */
        check_eq(confab_lock_acquire(b, X, 0, 0, CONFAB_FOREVER), -EINTR);
        check_explained("confab_lock_interrupt");
        check_eq(confab_lock_acquire(b, X, 0, 0, SOON), -ETIMEDOUT);
        confab_lock_interrupt(NULL);
}

TEST(close_ends_the_wait) {
        LOCK *a = opened("file"), *watch = opened("file");
        struct waiter waiter;

        check_eq(try_lock(a, X, 0, 0), 0);
        for (int i = 0; i < 10; i++) {
                start(&waiter, opened("file"), X, CONFAB_FOREVER);
                until_waiting(watch, 1);
                confab_lock_close(waiter.lock);
                check_eq(finish(&waiter), -ECANCELED);
        }
}

TEST(one_thread_at_a_time) {
        LOCK *a = opened("file"), *b = opened("file"), *watch = opened("file");
        struct waiter waiter;

        check_eq(try_lock(a, X, 0, 0), 0);
        start(&waiter, b, X, EVENTUALLY);
        until_waiting(watch, 1);
        check_eq(try_lock(b, X, 0, 0), -EBUSY);
        check_explained("another thread");
        check_eq(confab_lock_release(b, 0, 0), -EBUSY);
        check_eq(confab_lock_release(a, 0, 0), 0);
        check_eq(finish(&waiter), 0);
}

static void ignore(int number) {
        (void)number;
}

/* 10 kHz without SA_RESTART: no wait ends early, none late, none with another answer. */
TEST(a_storm_of_signals_changes_nothing) {
        struct sigaction action = {.sa_handler = ignore}, before;
        struct itimerval storm = {{0, 100}, {0, 100}}, calm = {{0, 0}, {0, 0}};
        LOCK *a = opened("file"), *b = opened("file"), *watch = opened("file");
        struct waiter waiter;

        check_eq(sigaction(SIGALRM, &action, &before), 0);
        check_eq(setitimer(ITIMER_REAL, &storm, NULL), 0);
        for (int i = 0; i < 10; i++) {
                int64_t began = confab_now();

                check_eq(confab_lock_acquire(a, X, 0, 0, CONFAB_FOREVER), 0);
                check_eq(confab_lock_acquire(b, X, 0, 0, confab_after(5 * MS)), -ETIMEDOUT);
                check(confab_now() - began >= 5 * MS);
                start(&waiter, b, X, EVENTUALLY);
                until_waiting(watch, 1);
                check_eq(confab_lock_release(a, 0, 0), 0);
                check_eq(finish(&waiter), 0);
                check_eq(confab_lock_release(b, 0, 0), 0);
        }
        check_eq(setitimer(ITIMER_REAL, &calm, NULL), 0);
        check_eq(sigaction(SIGALRM, &before, NULL), 0);
}

/* --- names --- */

TEST(names_that_are_no_files_are_refused_in_words) {
        static const struct {
                const char *name;
                int result;
                const char *says;
        } cases[] = {
                {"", -EINVAL, "lock: Invalid argument (the name is missing)"},
                {"missing", -ENOENT, "CONFAB_LOCK_CREATE"},
                {"folder", -EISDIR, "a directory"},
                {"fifo", -EOPNOTSUPP, "a FIFO"},
                {"socket", -EOPNOTSUPP, "a socket"},
                {"/dev/null", -EOPNOTSUPP, "a character device"},
                {"link", -ELOOP, "a symbolic link"},
                {"dangling", -ELOOP, "a symbolic link"},
                {"file/more", -ENOTDIR, "file/more"},
                {"lock://name", -EOPNOTSUPP, "'lock://'"},
                {"://", -EOPNOTSUPP, "'://'"},
        };
        struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
        CFB_CLEANUP(cfb_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        confab_lock *lock = NULL;

        close(open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        check_eq(mkdir("folder", 0700), 0);
        check_eq(mkfifo("fifo", 0600), 0);
        check_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
        check_eq(symlink("file", "link"), 0);
        check_eq(symlink("nowhere", "dangling"), 0);
        for (size_t i = 0; i < CFB_ARRAY_LEN(cases); i++) {
                check_eq(confab_lock_open(&lock, cases[i].name, NULL), cases[i].result);
                check_explained(cases[i].says);
                check(!lock);
        }
        check_eq(confab_lock_open(NULL, "file", NULL), -EINVAL);
        check_eq(confab_lock_open(&lock, NULL, NULL), -EINVAL);
        check_eq(confab_lock_open(&lock, "file", &(struct confab_lock_options){.size = 4}), -EINVAL);
        check_eq(
                confab_lock_open(&lock, "file", &(struct confab_lock_options){.size = 16, .flags = 1u << 30}),
                -EINVAL);
        /* A link is followed where that is asked for, also to create; and is never created through without. */
        closep(&(confab_lock *){opened_with("link", CONFAB_LOCK_FOLLOW)});
        {
                struct confab_lock_options create = {.size = sizeof(create), .flags = CONFAB_LOCK_CREATE};

                check_eq(confab_lock_open(&lock, "dangling", &create), -ELOOP);
                check_eq(access("nowhere", F_OK), -1);
        }
        check_eq(unlink("socket"), 0);
        check_eq(unlink("fifo"), 0);
        check_eq(rmdir("folder"), 0);
}

TEST(a_name_with_a_scheme_in_it_is_a_path_behind_a_slash) {
        check_eq(mkdir("a:", 0700), 0);
        closep(&(confab_lock *){opened("./a://b")});
        check_eq(access("a:/b", F_OK), 0);
        check_eq(unlink("a:/b"), 0);
        check_eq(rmdir("a:"), 0);
}

TEST(a_created_file_has_its_mode_whatever_the_umask) {
        struct confab_lock_options options = {
                .size = sizeof(options), .flags = CONFAB_LOCK_CREATE, .mode = 0664};
        struct stat status;
        confab_lock *lock;

        umask(0777);
        check_ok(confab_lock_open(&lock, "new", &options));
        closep(&lock);
        check_eq(stat("new", &status), 0);
        check_eq(status.st_mode & 07777, 0664);
        check_eq(status.st_size, 0);
        options.mode = 0;
        check_ok(confab_lock_open(&lock, "newer", &options));
        closep(&lock);
        check_eq(stat("newer", &status), 0);
        check_eq(status.st_mode & 07777, 0600);
}

static void as_user(uid_t uid, void (*body)(void)) {
        pid_t pid;

        if (geteuid() != 0)
                skip("needs root to act as another user");
        check_eq(chmod(".", 0777), 0);
        pid = fork();
        if (pid == 0) {
                if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
                        _exit(2);
                body();
                _exit(0);
        }
        reap(pid, 0);
}

static void use_read_only(void) {
        LOCK *lock = opened_with("readable", 0), *other = opened_with("readable", 0);
        LOCK *writable = opened_with("writable", 0);
        confab_lock *none = NULL;

        check_eq(try_lock(lock, S, 0, 0), 0);
        check_eq(try_lock(other, S, 0, 0), 0);
        check_eq(confab_lock_release(other, 0, 0), 0);
        check_eq(try_lock(lock, X, 0, 0), -EACCES);
        check_explained("an exclusive lock needs permission to write");
        check_eq(try_lock(writable, X, 0, 0), 0);
        check_eq(try_lock(writable, S, 0, 0), -EACCES);
        check_explained("a shared lock needs permission to read");
        check_eq(confab_lock_open(&none, "secret", NULL), -EACCES);
        check_explained("uid 0 with mode 0600");
}

TEST(what_may_only_be_read_is_locked_shared) {
        static const struct {
                const char *name;
                mode_t mode;
        } files[] = {{"readable", 0644}, {"writable", 0622}, {"secret", 0600}};

        umask(0);
        for (size_t i = 0; i < CFB_ARRAY_LEN(files); i++)
                close(open(files[i].name, O_RDWR | O_CREAT | O_CLOEXEC, files[i].mode));
        check_eq(chmod("writable", 0222), 0);
        as_user(12345, use_read_only);
}

/* --- removed and replaced --- */

TEST(a_replaced_file_is_opened_anew_where_asked_for) {
        LOCK *a = opened_with("file", CONFAB_LOCK_CREATE | CONFAB_LOCK_REOPEN);
        LOCK *b = opened_with("file", CONFAB_LOCK_REOPEN), *plain = opened("file"), *watch = opened("file");
        struct stat by_name, held;
        struct waiter waiter, other;

        check_eq(try_lock(a, X, 0, 0), 0);
        start(&waiter, b, X, EVENTUALLY);
        start(&other, plain, X, EVENTUALLY);
        until_waiting(watch, 2);
        close(open("new", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        check_eq(rename("new", "file"), 0);
        check_eq(confab_lock_release(a, 0, 0), 0);
        check_eq(finish(&waiter), 0);
        check_eq(finish(&other), 0); /* the old one, as asked */
        check_eq(stat("file", &by_name), 0);
        check_eq(fstat(confab_lock_descriptor(b), &held), 0);
        check_eq(by_name.st_ino, held.st_ino);
        check_eq(try_lock(a, X, 0, 0), -EAGAIN); /* the new one too */
        check_eq(confab_lock_release(b, 0, 0), 0);

        /* Removed: created again by who may, -ENOENT for the other. */
        check_eq(unlink("file"), 0);
        check_eq(try_lock(b, X, 0, 0), -ENOENT);
        check_eq(confab_lock_descriptor(b), -ENOENT);
        check_explained("the file was removed");
        check_eq(confab_lock_release(b, 0, 0), 0);
        check_eq(try_lock(a, X, 0, 0), 0);
        check_eq(stat("file", &by_name), 0);
        check_eq(try_lock(b, X, 0, 0), -EAGAIN); /* it finds the new one by itself */
        check_eq(confab_lock_release(a, 0, 0), 0);
        check_eq(try_lock(b, X, 0, 0), 0);
        /* With something held it stays with its file. */
        check_eq(unlink("file"), 0);
        check_eq(try_lock(b, X, 5, 5), 0);
}

/* --- deadlocks --- */

/* A process that holds the first file and waits for the second; the first is told by a byte in the pipe. */
static pid_t hold_and_wait(const char *held, uint32_t mode, const char *wanted, int *heldp) {
        int ends[2];
        pid_t pid;

        check_eq(pipe2(ends, O_CLOEXEC), 0);
        pid = fork();
        if (pid == 0) {
                LOCK *first = opened_with(held, CONFAB_LOCK_CREATE), *second = NULL;

                check_ok(confab_lock_acquire(first, mode, 0, 0, EVENTUALLY));
                check_eq(write(ends[1], "h", 1), 1);
                if (strcmp(held, wanted) != 0)
                        second = opened_with(wanted, CONFAB_LOCK_CREATE);
                check_ok(confab_lock_acquire(second ? second : first, X, 0, 0, EVENTUALLY));
                _exit(0);
        }
        close(ends[1]);
        *heldp = ends[0];
        return pid;
}

static void until_told(int *fdp) {
        char byte;

        check_eq(read(*fdp, &byte, 1), 1);
        cfb_closep(fdp);
}

static int64_t waiter_pid;

static int find_waiter(const struct confab_lock_holder *holder, void *data) {
        (void)data;
        if (holder->waits)
                waiter_pid = holder->pid;
        return 0;
}

TEST(a_circle_of_two_processes_is_refused) {
        LOCK *a = opened_with("a.lock", CONFAB_LOCK_CREATE), *b = opened_with("b.lock", CONFAB_LOCK_CREATE);
        int held;
        char expected[64];
        pid_t pid;

        check_eq(try_lock(a, X, 10, 10), 0);
        pid = hold_and_wait("b.lock", X, "a.lock", &held);
        until_told(&held);
        until_waiting(a, 1);
        check_ok(confab_lock_holders(a, find_waiter, NULL));
        check_eq(waiter_pid, pid);
        check_eq(confab_lock_acquire(b, X, 0, 0, EVENTUALLY), -EDEADLK);
        snprintf(expected, sizeof(expected), "pid %d (", (int)pid);
        check_explained(expected);
        check_explained(") holds it and waits for a.lock, which you hold");
        check_eq(confab_lock_release(a, 0, 0), 0);
        check_ok(confab_lock_acquire(b, X, 0, 0,
                                     EVENTUALLY)); /* the other was not refused: it goes on, ends */
        reap(pid, 0);
}

TEST(a_circle_of_three_processes_is_refused_once) {
        LOCK *a = opened_with("a", CONFAB_LOCK_CREATE), *b = opened_with("b", CONFAB_LOCK_CREATE);
        LOCK *c = opened_with("c", CONFAB_LOCK_CREATE);
        int held;
        pid_t first, second;

        check_eq(try_lock(a, X, 0, 0), 0);
        first = hold_and_wait("b", S, "a", &held);
        until_told(&held);
        second = hold_and_wait("c", S, "b", &held);
        until_told(&held);
        until_waiting(a, 1);
        until_waiting(b, 1);
        check_eq(confab_lock_acquire(c, X, 0, 0, EVENTUALLY), -EDEADLK);
        check_explained(" and waits for b, which pid ");
        check_explained(" and waits for a, which you hold");
        check_eq(confab_lock_release(a, 0, 0), 0);
        reap(first, 0);
        reap(second, 0);
}

TEST(two_that_upgrade_are_a_deadlock) {
        LOCK *a = opened_with("file", CONFAB_LOCK_CREATE);
        int held;
        pid_t pid;

        check_eq(try_lock(a, S, 0, 0), 0);
        pid = hold_and_wait("file", S, "file", &held);
        until_told(&held);
        until_waiting(a, 1);
        check_eq(confab_lock_acquire(a, X, 0, 0, EVENTUALLY), -EDEADLK);
        check_explained(" holds it and waits for file, which you hold");
        check_eq(confab_lock_release(a, 0, 0), 0);
        reap(pid, 0);
        check_eq(confab_lock_acquire(a, X, 0, 0, EVENTUALLY), 0);
}

TEST(a_thread_that_waits_for_itself_is_refused) {
        LOCK *a = opened_with("file", CONFAB_LOCK_CREATE), *b = opened_with("file", 0);

        check_eq(try_lock(a, S, 0, 10), 0);
        check_eq(confab_lock_acquire(b, X, 5, 1, CONFAB_FOREVER), -EDEADLK);
        check_explained("this thread holds it itself, by another handle");
        check_eq(confab_lock_acquire(b, S, 5, 1, CONFAB_FOREVER), 0);
        check_eq(confab_lock_acquire(b, X, 10, 1, CONFAB_FOREVER), 0);
}

struct crossing {
        const char *held, *wanted;
        _Atomic int *n_held;
        int result;
};

static void *cross(void *data) {
        struct crossing *crossing = data;
        LOCK *first = opened_with(crossing->held, CONFAB_LOCK_CREATE);
        LOCK *second = opened_with(crossing->wanted, CONFAB_LOCK_CREATE);

        check_ok(confab_lock_acquire(first, X, 0, 0, EVENTUALLY));
        atomic_fetch_add(crossing->n_held, 1);
        while (atomic_load(crossing->n_held) < 2)
                sched_yield();
        crossing->result = confab_lock_acquire(second, X, 0, 0, EVENTUALLY);
        if (crossing->result == -EDEADLK)
                check_explained("another thread of this process holds it and waits for ");
        return NULL;
}

TEST(of_two_threads_that_cross_one_is_refused) {
        for (int i = 0; i < 5; i++) {
                _Atomic int n_held = 0;
                struct crossing one = {"a", "b", &n_held, 0}, two = {"b", "a", &n_held, 0};
                pthread_t thread;

                check_eq(pthread_create(&thread, NULL, cross, &one), 0);
                cross(&two);
                check_eq(pthread_join(thread, NULL), 0);
                check_eq(one.result + two.result, -EDEADLK);
        }
}

/* Chains, readers, ranges that do not meet: everything that looks like a circle and is none. */
TEST(what_is_no_circle_is_waited_for) {
        LOCK *a = opened_with("a", CONFAB_LOCK_CREATE), *c = opened_with("c", CONFAB_LOCK_CREATE);
        LOCK *any = opened_with("any", CONFAB_LOCK_CREATE | CONFAB_LOCK_ANY_THREAD), *again = opened("any");
        LOCK *kept = opened_with("inherit", CONFAB_LOCK_CREATE | CONFAB_LOCK_INHERIT);
        LOCK *kept_again = opened_with("inherit", 0);
        LOCK *mine = opened_with("ranges", CONFAB_LOCK_CREATE), *mine_too = opened_with("ranges", 0);
        LOCK *others = opened("ranges");
        int held;
        pid_t first, second;

        check_eq(try_lock(mine, S, 0, 10), 0);
        check_eq(try_lock(mine, X, 40, 10), 0);
        check_eq(try_lock(others, X, 20, 10), 0);
        check_eq(confab_lock_acquire(mine_too, S, 5, 20, confab_after(60 * MS)), -ETIMEDOUT);
        check_eq(confab_lock_acquire(mine_too, X, 20, 20, confab_after(60 * MS)), -ETIMEDOUT);
        check_eq(try_lock(any, X, 0, 0), 0);
        check_eq(confab_lock_acquire(again, X, 0, 0, confab_after(60 * MS)), -ETIMEDOUT);
        check_eq(try_lock(kept, X, 0, 0), 0);
        check_eq(confab_lock_acquire(kept_again, X, 0, 0, confab_after(60 * MS)), -ETIMEDOUT);
        check_eq(try_lock(a, X, 0, 0), 0);
        first = hold_and_wait("b", X, "a", &held);
        until_told(&held);
        until_waiting(a, 1);
        second = hold_and_wait("c", X, "b", &held);
        until_told(&held);
        /* c is held by one that waits for one that waits for us; we have nothing of a any more. */
        check_eq(confab_lock_release(a, 0, 0), 0);
        check_eq(confab_lock_acquire(c, X, 0, 0, EVENTUALLY), 0);
        reap(first, 0);
        reap(second, 0);
}

/* Nothing of the dead is believed: the kernel has dropped their boards with their locks. */
TEST(the_dead_are_in_no_circle) {
        LOCK *a = opened_with("a", CONFAB_LOCK_CREATE), *b = opened_with("b", CONFAB_LOCK_CREATE);

        check_eq(try_lock(a, X, 0, 0), 0);
        for (int i = 0; i < 10; i++) {
                int held;
                pid_t pid = hold_and_wait("b", X, "a", &held);

                until_told(&held);
                until_waiting(a, 1);
                check_eq(kill(pid, SIGKILL), 0);
                check_eq(confab_lock_acquire(b, X, 0, 0, EVENTUALLY),
                         0); /* a zombie at first, not yet reaped */
                check_eq(confab_lock_release(b, 0, 0), 0);
                reap(pid, 128 + SIGKILL);
        }
}

/* A sign as a board's on @fd: who looks for boards looks there. */
static void put_a_sign(int fd) {
        struct flock sign = {.l_type = F_RDLCK, .l_start = (off_t)CFB_BOARD_SIGN, .l_len = fd + 1};

        check_eq(fcntl(fd, F_SETLK, &sign), 0);
}

static int board_like(void) {
        int fd = (int)syscall(SYS_memfd_create, CFB_BOARD_NAME, 1);

        check(fd >= 0);
        return fd;
}

static void fill_note(struct cfb_note *note, int fd) {
        struct stat status;

        check_eq(fstat(fd, &status), 0);
        note->device = status.st_dev;
        note->inode = status.st_ino;
        note->fd = fd;
}

/* A board that lies: thread 1 holds what is open as @held, which is true, and waits for what is open as @wanted, which is not. */
static void lie(int held, int wanted) {
        struct flock whole = {.l_type = F_WRLCK};
        struct cfb_board_head *head;
        struct cfb_note *notes;
        int fd = board_like();

        check_eq(fcntl(held, F_OFD_SETLK, &whole), 0);
        check_eq(ftruncate(fd, 4096), 0);
        head = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        check(head != MAP_FAILED);
        notes = (struct cfb_note *)(void *)(head + 1);
        head->magic = CFB_BOARD_MAGIC;
        head->version = CFB_BOARD_VERSION;
        head->note_len = sizeof(struct cfb_note);
        head->n_notes = 2;
        fill_note(&notes[0], held);
        notes[0].owner = 1;
        fill_note(&notes[1], wanted);
        notes[1].waiter = 1;
        notes[1].wanted = X;
        notes[1].last = CFB_LOCK_END;
        notes[1].waits_since_ns = 1;
        put_a_sign(fd);
}

/* As @uid (0: as we are) does @body in a process that then stays until it is killed. */
static pid_t lying_as(uid_t uid, void (*body)(void)) {
        int ends[2];
        pid_t pid;

        check_eq(pipe2(ends, O_CLOEXEC), 0);
        pid = fork();
        if (pid == 0) {
                body();
                if (uid && (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0))
                        _exit(2);
                check_eq(write(ends[1], "l", 1), 1);
                for (;;)
                        pause();
        }
        close(ends[1]);
        until_told(&ends[0]);
        return pid;
}

static void lie_of_b_and_a(void) {
        lie(open("b", O_RDWR | O_CLOEXEC), open("a", O_RDWR | O_CLOEXEC));
}

/*
 * Our user's boards are believed (else this would show nothing), another user's are not, a process's that has given up being root among them.
 */
TEST(another_users_lies_refuse_nothing) {
        LOCK *a = opened_with("a", CONFAB_LOCK_CREATE), *b = opened_with("b", CONFAB_LOCK_CREATE);
        pid_t pid;

        check_eq(try_lock(a, X, 0, 0), 0);
        pid = lying_as(0, lie_of_b_and_a);
        check_eq(confab_lock_acquire(b, X, 0, 0, EVENTUALLY), -EDEADLK);
        check_eq(kill(pid, SIGKILL), 0);
        reap(pid, 128 + SIGKILL);
        if (geteuid() != 0)
                skip("needs root to act as another user");
        pid = lying_as(12345, lie_of_b_and_a);
        check_eq(confab_lock_acquire(b, X, 0, 0, confab_after(200 * MS)), -ETIMEDOUT);
        check_eq(kill(pid, SIGKILL), 0);
        reap(pid, 128 + SIGKILL);
}

enum { N_SIGNS = 4500 }; /* more than boards are read */

static void put_many_signs(void) {
        struct rlimit limit = {N_SIGNS + 100, N_SIGNS + 100};

        check_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        for (int i = 0; i < N_SIGNS; i++)
                put_a_sign(board_like());
}

/* However many signs another user puts up, our boards are found. */
TEST(another_users_signs_hide_nothing) {
        LOCK *a = opened_with("a", CONFAB_LOCK_CREATE), *b = opened_with("a", 0);
        pid_t pid;

        if (geteuid() != 0)
                skip("needs root to act as another user");
        pid = lying_as(12345, put_many_signs);
        check_eq(try_lock(a, X, 0, 0), 0);
        check_eq(confab_lock_acquire(b, X, 0, 0, EVENTUALLY), -EDEADLK);
        check_eq(kill(pid, SIGKILL), 0);
        reap(pid, 128 + SIGKILL);
}

static const char fifo[] = "fifo";
static int watching;

static void watch_for_opening(const char *name) {
        watching = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
        check(watching >= 0 && inotify_add_watch(watching, name, IN_OPEN) >= 0);
}

static bool was_opened(void) {
        char event[512];
        ssize_t n = read(watching, event, sizeof(event));

        close(watching);
        return n > 0;
}

static void sign_a_fifo(void) {
        put_a_sign(open(fifo, O_RDWR | O_CLOEXEC));
}

/* A sign on what is no board: it is not opened, which would, say, tell a FIFO's writer of a reader. */
TEST(what_is_no_board_is_not_opened) {
        LOCK *a = opened_with("a", CONFAB_LOCK_CREATE), *b = opened_with("a", 0);
        pid_t pid;

        check_eq(mkfifo(fifo, 0600), 0);
        pid = lying_as(0, sign_a_fifo);
        check_eq(try_lock(a, X, 0, 0), 0);
        watch_for_opening(fifo);
        check_eq(confab_lock_acquire(b, X, 0, 0, EVENTUALLY), -EDEADLK);
        check(!was_opened());
        check_eq(kill(pid, SIGKILL), 0);
        reap(pid, 128 + SIGKILL);
        check_eq(unlink(fifo), 0);
}

/* --- who --- */

struct expected {
        uint32_t kind, mode, waits;
        int64_t pid;
        uint64_t start, len;
        int n_found;
};

static int look_for(const struct confab_lock_holder *holder, void *data) {
        struct expected *expected = data;

        check_eq(holder->size, sizeof(*holder));
        if (holder->kind == expected->kind && holder->mode == expected->mode &&
            holder->waits == expected->waits && holder->pid == expected->pid &&
            holder->start == expected->start && holder->len == expected->len)
                expected->n_found++;
        if (holder->pid == getpid()) {
                char command[64];

                cfb_process_name(getpid(), command, sizeof(command));
                check_str(holder->command, command);
        }
        return 0;
}

static void check_holder(confab_lock *lock, struct expected expected) {
        check_ok(confab_lock_holders(lock, look_for, &expected));
        check_eq(expected.n_found, 1);
}

static int keep_since(const struct confab_lock_holder *holder, void *data) {
        *(int64_t *)data = holder->since_ns;
        return 0;
}

TEST(holders_of_every_kind_are_shown) {
        struct flock record = {.l_type = F_RDLCK, .l_start = 200, .l_len = 50};
        LOCK *a = opened("file");
        CFB_CLEANUP(cfb_closep) int fd = open("file", O_RDWR | O_CLOEXEC);
        CFB_CLEANUP(cfb_closep) int foreign = open("file", O_RDWR | O_CLOEXEC);
        struct count count = {0};
        int64_t before = confab_now(), since = 0;

        check_eq(confab_lock_holders(a, count_all, &count), 0);
        check_eq(try_lock(a, X, 0, 100), 0);
        check_eq(confab_lock_holders(a, keep_since, &since), 1);
        check(since >= before && since <= confab_now());
        check_eq(try_lock(a, S, 300, 0), 0);
        check_eq(fcntl(fd, F_SETLK, &record), 0);
        check_eq(flock(fd, LOCK_SH), 0);
        record.l_start = 250;
        check_eq(fcntl(foreign, 37 /* F_OFD_SETLK */, &record), 0); /* nobody's note tells of this one */
        check_eq(confab_lock_holders(a, count_all, &count), 5);
        check_eq(count.n_holds, 5);
        check_holder(a, (struct expected){CONFAB_LOCK_BY_DESCRIPTION, X, 0, getpid(), 0, 100, 0});
        check_holder(a, (struct expected){CONFAB_LOCK_BY_DESCRIPTION, S, 0, getpid(), 300, 0, 0});
        check_holder(a, (struct expected){CONFAB_LOCK_BY_DESCRIPTION, S, 0, getpid(), 250, 50, 0});
        check_holder(a, (struct expected){CONFAB_LOCK_BY_PROCESS, S, 0, getpid(), 200, 50, 0});
        check_holder(a, (struct expected){CONFAB_LOCK_BY_FLOCK, S, 0, getpid(), 0, 0, 0});
}

TEST(holders_and_waiters_of_other_processes_are_shown) {
        LOCK *a = opened("a"), *b = opened("b");
        int held, status;
        pid_t pid;

        check_eq(try_lock(a, X, 0, 1), 0);
        pid = hold_and_wait("b", S, "a", &held);
        until_told(&held);
        until_waiting(a, 1);
        check_holder(a, (struct expected){CONFAB_LOCK_BY_DESCRIPTION, X, 1, pid, 0, 0, 0});
        check_holder(b, (struct expected){CONFAB_LOCK_BY_DESCRIPTION, S, 0, pid, 0, 0, 0});
        check_eq(kill(pid, SIGKILL), 0);
        check_eq(waitpid(pid, &status, 0), pid);
}

static int forbid_pids(const struct confab_lock_holder *holder, void *data) {
        check_eq(holder->pid, 0);
        check_str(holder->command, "");
        ++*(int *)data;
        return 0;
}

static void look_as_a_stranger(void) {
        LOCK *lock = opened_with("file", 0);
        int n = 0;

        check_eq(confab_lock_holders(lock, forbid_pids, &n), 1);
        check_eq(n, 1);
        check_eq(confab_lock_acquire(lock, S, 0, 0, SOON), -ETIMEDOUT);
        check_explained("another user's process");
}

TEST(who_may_not_be_seen_is_told_without_a_name) {
        LOCK *a = opened("file");

        check_eq(chmod("file", 0644), 0);
        check_eq(try_lock(a, X, 0, 0), 0);
        as_user(12345, look_as_a_stranger);
}

TEST(another_namespace_of_pids_is_told_without_a_name) {
        LOCK *a = opened("file");
        int status, n = 0;
        pid_t pid;

        check_eq(try_lock(a, X, 0, 0), 0);
        pid = fork();
        if (pid == 0) {
                pid_t inner;

                if (unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS) < 0 &&
                    unshare(CLONE_NEWPID | CLONE_NEWNS) < 0)
                        _exit(77);
                inner = fork();
                if (inner == 0) {
                        LOCK *lock = opened_with("file", 0);
                        const char *options = NULL;

                        if (syscall(SYS_mount, "none", "/", NULL, 0x44000ul /* MS_REC | MS_PRIVATE */,
                                    options) < 0 ||
                            syscall(SYS_mount, "proc", "/proc", "proc", 0ul, options) < 0)
                                _exit(77);
                        check_eq(confab_lock_holders(lock, forbid_pids, &n), 1);
                        check_eq(confab_lock_acquire(lock, X, 0, 0, SOON), -ETIMEDOUT);
                        check_explained("another namespace");
                        _exit(0);
                }
                if (inner < 0 || waitpid(inner, &status, 0) != inner)
                        _exit(3);
                _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 4);
        }
        check_eq(waitpid(pid, &status, 0), pid);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
                skip("needs root or a user namespace to make a namespace of pids");
        check_eq(status, 0);
}

/* --- forks and programs --- */

TEST(a_forked_child_has_nothing_of_it) {
        LOCK *a = opened("file"), *b = opened("file");
        pid_t pid;

        check_eq(try_lock(a, X, 0, 0), 0);
        pid = fork();
        if (pid == 0) {
                LOCK *own = opened("file");

                check_eq(confab_lock_release(a, 0, 0), -EOWNERDEAD);
                check_explained("belongs to the process that forked");
                check_eq(try_lock(a, S, 0, 0), -EOWNERDEAD);
                check_eq(confab_lock_descriptor(a), -EOWNERDEAD);
                confab_lock_interrupt(a);
                confab_lock_close(a);
                check_eq(try_lock(own, S, 0, 0), -EAGAIN); /* the parent's stands */
                confab_lock_close(b);
                _exit(0);
        }
        reap(pid, 0);
        check_eq(try_lock(b, S, 0, 0), -EAGAIN);
        check_eq(try_lock(a, S, 0, 0), 0);
}

/* The lock of a parent that is killed ends, though its child goes on. */
TEST(a_child_keeps_no_lock_of_a_dead_parent) {
        LOCK *b = opened("file");
        _Atomic int *ready = shared_memory(sizeof(*ready));
        bool reaps = prctl(PR_SET_CHILD_SUBREAPER, 1) == 0; /* qemu-user 7.2 does not pass it on */
        int lives[2], ended[2], status;
        char byte;
        pid_t pid;

        check_eq(pipe2(lives, O_CLOEXEC), 0);
        check_eq(pipe2(ended, O_CLOEXEC), 0);
        pid = fork();
        if (pid == 0) {
                LOCK *a = opened("file");

                check_eq(try_lock(a, X, 0, 0), 0);
                if (fork() == 0) {
                        close(lives[1]);
                        atomic_store(ready, 1);
                        _exit(read(lives[0], &byte, 1) != 0);
                }
                for (;;)
                        pause();
        }
        while (!atomic_load(ready))
                sched_yield();
        check_eq(try_lock(b, X, 0, 0), -EAGAIN);
        check_eq(kill(pid, SIGKILL), 0);
        reap(pid, 128 + SIGKILL);
        check_eq(try_lock(b, X, 0, 0), 0);
        close(lives[1]);
        close(ended[1]);
        check_eq(read(ended[0], &byte, 1), 0); /* the child has ended now, not before */
        if (reaps) {
                check(wait(&status) > 0);
                check_eq(status, 0);
        }
        close(ended[0]);
        close(lives[0]);
}

static _Atomic bool forked_enough;

static void *open_and_close(void *unused) {
        (void)unused;
        while (!atomic_load(&forked_enough)) {
                LOCK *lock = opened("file");

                check_eq(try_lock(lock, S, 0, 0), 0);
                usleep(100); /* a moment in which a child can see it */
        }
        return NULL;
}

static int found_one(const struct cfb_kernel_lock *lock, void *data) {
        (void)lock;
        (void)data;
        return 1;
}

/* Whether something is locked by a description that this process has a descriptor of; looks for a while. */
static bool has_a_lock(const char *name) {
        struct stat wanted, status;
        char path[64];

        check_eq(stat(name, &wanted), 0);
        for (int i = 0; i < 10; i++)
                for (int fd = 0; fd < 64; fd++) {
                        if (fstat(fd, &status) < 0 || status.st_ino != wanted.st_ino ||
                            status.st_dev != wanted.st_dev)
                                continue;
                        snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
                        if (cfb_kernel_locks(path, found_one, NULL) > 0)
                                return true;
                }
        return false;
}

/* Wherever another thread is in opening, locking and closing: the child has no descriptor that keeps the lock, should its parent be killed. */
TEST_TIMEOUT(a_fork_at_any_moment_keeps_nothing, 60) {
        pthread_t threads[2];
        int status;

        close(open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        for (int i = 0; i < 2; i++)
                check_eq(pthread_create(&threads[i], NULL, open_and_close, NULL), 0);
        for (int i = 0; i < 300; i++) {
                pid_t pid = fork();

                if (pid == 0)
                        _exit(has_a_lock("file"));
                check_eq(restarted(waitpid(pid, &status, 0)), pid);
                check_eq(status, 0);
        }
        atomic_store(&forked_enough, true);
        for (int i = 0; i < 2; i++)
                check_eq(pthread_join(threads[i], NULL), 0);
}

TEST(an_inherited_lock_is_one) {
        LOCK *a = opened_with("file", CONFAB_LOCK_CREATE | CONFAB_LOCK_INHERIT), *b = opened("file");
        int go[2];
        char byte;
        pid_t pid;

        check_eq(pipe2(go, O_CLOEXEC), 0);
        check_eq(try_lock(a, X, 0, 0), 0);
        pid = fork();
        if (pid == 0) {
                close(go[1]);
                check_eq(read(go[0], &byte, 1), 1); /* the parent has closed */
                check_eq(try_lock(a, X, 0, 0), 0);
                check_eq(confab_lock_release(a, 0, 0), 0);
                confab_lock_close(a);
                confab_lock_close(b);
                _exit(0);
        }
        close(go[0]);
        closep(&a);
        check_eq(try_lock(b, S, 0, 0), -EAGAIN);
        check_eq(write(go[1], "g", 1), 1);
        check_eq(confab_lock_acquire(b, X, 0, 0, EVENTUALLY), 0);
        reap(pid, 0);
        close(go[1]);
}

static pid_t spawn_cat(int from, int kept) {
        char *argv[] = {(char *)"cat", NULL}, *envp[] = {NULL};
        posix_spawn_file_actions_t actions;
        pid_t pid;

        check_eq(posix_spawn_file_actions_init(&actions), 0);
        check_eq(posix_spawn_file_actions_adddup2(&actions, from, 0), 0);
        if (kept >= 0)
                check_eq(posix_spawn_file_actions_adddup2(&actions, kept, kept), 0);
        check_eq(posix_spawn(&pid, "/bin/cat", &actions, NULL, argv, envp), 0);
        posix_spawn_file_actions_destroy(&actions);
        return pid;
}

TEST(exec_drops_it_unless_handed_on) {
        LOCK *a = opened_with("file", CONFAB_LOCK_CREATE | CONFAB_LOCK_INHERIT), *b = opened("file");
        int ends[2];
        pid_t pid;

        for (int handed_on = 0; handed_on < 2; handed_on++) {
                check_eq(pipe2(ends, O_CLOEXEC), 0);
                check_eq(try_lock(a, X, 0, 0), 0);
                pid = spawn_cat(ends[0], handed_on ? confab_lock_descriptor(a) : -1);
                closep(&a);
                /* The kernel lets the parent of a vfork go on a moment before it closes the child's descriptors. */
                check_eq(confab_lock_acquire(b, X, 0, 0, handed_on ? CONFAB_NOW : EVENTUALLY),
                         handed_on ? -EAGAIN : 0);
                close(ends[0]);
                close(ends[1]);
                reap(pid, 0);
                check_eq(try_lock(b, X, 0, 0), 0); /* a's last holder has ended */
                check_eq(confab_lock_release(b, 0, 0), 0);
                a = opened_with("file", CONFAB_LOCK_INHERIT);
        }
}

static confab_lock *of_constructor;
static int result_of_constructor = -1;

/* FAULTS 47: before main, and after exit has begun. */
__attribute__((constructor)) static void lock_before_main(void) {
        char name[] = "/tmp/confab-lock-XXXXXX";
        int fd = mkstemp(name);

        if (fd < 0 || confab_lock_open(&of_constructor, name, NULL) < 0)
                return;
        result_of_constructor = confab_lock_acquire(of_constructor, X, 0, 0, CONFAB_NOW);
        of_constructor = confab_lock_close(of_constructor);
        unlink(name);
        close(fd);
}

static void lock_at_exit(void) {
        LOCK *lock = opened("file");

        if (try_lock(lock, X, 0, 0) < 0)
                _exit(5);
}

TEST(constructors_and_exit_handlers_may_lock) {
        pid_t pid;

        check_eq(result_of_constructor, 0);
        pid = fork();
        if (pid == 0) {
                atexit(lock_at_exit);
                exit(0);
        }
        reap(pid, 0);
}

/* --- file systems --- */

static long forged_type;
static int forged_error;

static int forged_statfs(int fd, struct statfs *status) {
        (void)fd;
        *status = (struct statfs){0};
        memcpy(&status->f_type, &forged_type, sizeof(status->f_type));
        return 0;
}

static int forged_lock(int fd, int command, struct flock *description) {
        if (!forged_error)
                return fcntl(fd, command, description);
        errno = forged_error;
        return -1;
}

TEST(a_file_system_without_locks_is_named) {
        static const struct {
                long type;
                int error, result;
                const char *says;
        } cases[] = {
                {0x6969, ENOLCK, -ENOLCK, "(nfs) says"},
                {0x6969, ENOLCK, -ENOLCK, "rpc.statd"},
                {0x65735546, ENOSYS, -EOPNOTSUPP, "(fuse) says"},
                {0x01021997, EOPNOTSUPP, -EOPNOTSUPP, "(9p) says"},
                {(int32_t)0xFF534D42, EINVAL, -EOPNOTSUPP, "(cifs) says"},
                {0x12345678, EINVAL, -EOPNOTSUPP, "type 0x12345678"},
        };
        LOCK *lock = opened("file");

        cfb_lock_calls = (struct cfb_lock_calls){.statfs = forged_statfs, .lock = forged_lock};
        for (size_t i = 0; i < CFB_ARRAY_LEN(cases); i++) {
                forged_type = cases[i].type;
                forged_error = cases[i].error;
                check_eq(try_lock(lock, X, 0, 0), cases[i].result);
                check_explained(cases[i].says);
                check_eq(confab_lock_acquire(lock, X, 0, 0, CONFAB_FOREVER), cases[i].result);
        }
        forged_error = 0;
}

/* Where the call would not let go for a signal (here: pretended), waits are naps: all that ends them does so all the same. */
TEST(naps_keep_deadlines_interrupts_and_circles) {
        cfb_lock_calls.statfs = forged_statfs;
        forged_type = 0x65735546;
        {
                LOCK *a = opened("file"), *b = opened("file");
                LOCK *mine = opened_with("mine", CONFAB_LOCK_CREATE), *again = opened_with("mine", 0);
                int64_t began = confab_now();
                struct waiter waiter;

                check_eq(try_lock(a, X, 0, 0), 0);
                check_eq(confab_lock_acquire(b, X, 0, 0, confab_after(30 * MS)), -ETIMEDOUT);
                check(confab_now() - began >= 30 * MS);
                start(&waiter, b, X, CONFAB_FOREVER);
                until_waiting(a, 1);
                confab_lock_interrupt(b);
                check_eq(finish(&waiter), -EINTR);
                start(&waiter, b, X, EVENTUALLY);
                check_eq(confab_lock_release(a, 0, 0), 0);
                check_eq(finish(&waiter), 0);
                check_eq(try_lock(mine, X, 0, 0), 0);
                check_eq(confab_lock_acquire(again, X, 0, 0, CONFAB_FOREVER), -EDEADLK);
        }
}

static _Atomic int n_asked;

static int answer_at_once(int fd, int command, struct flock *description) {
        n_asked++;
        return fcntl(fd, command == F_OFD_SETLKW ? F_OFD_SETLK : command, description);
}

/* One that nobody knows, and that answers "somebody has it" where it was asked to wait: it is asked now and then, not all the time. */
TEST(a_file_system_that_does_not_wait_is_waited_for) {
        LOCK *a = opened("file"), *b = opened("file");
        struct waiter waiter;

        cfb_lock_calls.lock = answer_at_once;
        check_eq(try_lock(a, X, 0, 0), 0);
        check_eq(confab_lock_acquire(b, X, 0, 0, confab_after(200 * MS)), -ETIMEDOUT);
        check(n_asked < 200); /* 50 us, 100 us ... 5 ms, 5 ms; without naps: 100,000 */
        start(&waiter, b, X, EVENTUALLY);
        check_eq(confab_lock_release(a, 0, 0), 0);
        check_eq(finish(&waiter), 0);
}

/* A program that has taken every real-time signal leaves none to end a wait with. */
TEST(without_a_free_signal_waits_are_naps) {
        LOCK *a = opened("file"), *b = opened("file");
        struct sigaction action = {.sa_handler = ignore};
        struct waiter waiter;

        for (int number = SIGRTMIN; number <= SIGRTMAX; number++)
                sigaction(number, &action, NULL);
        check_eq(try_lock(a, X, 0, 0), 0);
        check_eq(confab_lock_acquire(b, X, 0, 0, SOON), -ETIMEDOUT);
        start(&waiter, b, X, EVENTUALLY);
        check_eq(confab_lock_release(a, 0, 0), 0);
        check_eq(finish(&waiter), 0);
}

/* The signal that ends waits: the one real-time signal that has a handler now. */
static int signal_of_waits(void) {
        struct sigaction now;

        for (int number = SIGRTMAX; number >= SIGRTMIN; number--)
                if (sigaction(number, NULL, &now) == 0 && now.sa_handler != SIG_DFL)
                        return number;
        return 0;
}

static void handle(const struct confab_signal_received *received) {
        (void)received;
}

static int told(confab_source *source, uint32_t events, void *data) {
        (void)source;
        (void)events;
        (void)data;
        return 0;
}

/* With a handler or as a message of the program's it would end no wait, and the program would get what nobody sent, or miss what somebody did. */
TEST(the_signal_of_waits_is_given_to_nobody) {
        LOCK *a = opened("file"), *b = opened("file");
        struct confab_signal_before before = {.size = sizeof(before)};
        struct confab_signal signal = {.size = sizeof(signal)};
        confab_endpoint *endpoint;
        confab_loop *loop;
        char address[64];
        int number = SIGRTMAX;

        while (confab_signal_handle(&before, number, handle, 0) < 0) /* an emulator may keep some to itself */
                check(--number > SIGRTMIN);
        check_ok(confab_signal_restore(&before));
        check_eq(try_lock(a, X, 0, 0), 0);
        check_eq(confab_lock_acquire(b, X, 0, 0, SOON), -ETIMEDOUT);
        check_eq(signal_of_waits(), number);
        check_eq(confab_signal_handle(NULL, number, handle, 0), -EBUSY);
        check_explained("signal_handle: the library ends waits for locks and queues with this one");
        check_eq(confab_signal_ignore(NULL, number), -EBUSY);
        check_eq(confab_signal_default(NULL, number), -EBUSY);
        check_eq(confab_signal_restore(&before), -EBUSY);
        check_ok(confab_signal_describe(&signal, number));
        snprintf(address, sizeof(address), "signal://self?signal=USR1,%s", signal.name);
        check_eq(confab_listen(&endpoint, address, NULL, CONFAB_NOW), -EBUSY);
        check_ok(confab_loop_new(&loop));
        check_eq(confab_loop_add_signal(NULL, loop, number, told, NULL), -EBUSY);
        confab_loop_free(loop);
        check_ok(confab_signal_handle(NULL, SIGRTMIN + 1, handle, 0));
        check_eq(confab_lock_acquire(b, X, 0, 0, SOON), -ETIMEDOUT);
}

/* A program that takes it all the same, past us, and has calls restarted: the deadline is kept. */
TEST(a_deadline_is_kept_without_the_signal_of_waits) {
        struct sigaction action = {.sa_handler = ignore, .sa_flags = SA_RESTART};
        LOCK *a = opened("file"), *b = opened("file");

        check_eq(try_lock(a, X, 0, 0), 0);
        check_eq(confab_lock_acquire(b, X, 0, 0, SOON), -ETIMEDOUT);
        for (int number = SIGRTMIN; number <= SIGRTMAX; number++)
                sigaction(number, &action, NULL);
        check_eq(confab_lock_acquire(b, X, 0, 0, SOON), -ETIMEDOUT);
}

/* --- storms --- */

enum { N_PROCESSES = 8, N_BYTES = 64 };

/* Who says of himself that he holds which byte: process + 1 alone, or readers counted by bits. */
struct field {
        _Atomic uint32_t killed[N_PROCESSES]; /* its marks count no more */
        _Atomic uint32_t writer[N_BYTES];     /* process + 1, of its generation */
        _Atomic uint32_t readers[N_BYTES];    /* a bit each */
        _Atomic uint64_t n_locked;
        _Atomic uint32_t stop;
};

/*
 * Whether @marked says that process @i holds it, and it lives. A death is announced before it comes, and its marks are swept before that is
 * taken back: so a mark that still stands after a look at killed is of one that lives.
 */
static bool is_held(struct field *field, uint32_t i, const _Atomic uint32_t *marked, uint32_t mask,
                    uint32_t as) {
        return (atomic_load(marked) & mask) == as && !atomic_load(&field->killed[i]) &&
               (atomic_load(marked) & mask) == as;
}

/* Nobody alive is on a byte that we have to ourselves. */
static void mark(struct field *field, uint32_t self, bool exclusive, uint64_t byte) {
        for (uint32_t i = 0; i < N_PROCESSES; i++) {
                check(!is_held(field, i, &field->writer[byte], UINT32_MAX, i + 1));
                check(!exclusive || i == self || !is_held(field, i, &field->readers[byte], 1u << i, 1u << i));
        }
        if (exclusive)
                atomic_store(&field->writer[byte], self + 1);
        else
                atomic_fetch_or(&field->readers[byte], 1u << self);
}

static void unmark(struct field *field, uint32_t self, bool exclusive, uint64_t byte) {
        if (exclusive) {
                check_eq(atomic_load(&field->writer[byte]), self + 1);
                atomic_store(&field->writer[byte], 0);
        } else {
                atomic_fetch_and(&field->readers[byte], ~(1u << self));
        }
}

/* Ranges in ascending order only: no circle is possible, so -EDEADLK would be a false one. */
static void storm(struct field *field, uint32_t self, unsigned seed) {
        LOCK *lock = opened_with("field", CONFAB_LOCK_CREATE);

        while (!atomic_load(&field->stop)) {
                uint64_t first = (uint64_t)rand_r(&seed) % (N_BYTES / 2),
                         len = 1 + (uint64_t)rand_r(&seed) % 16;
                bool exclusive = rand_r(&seed) % 3 != 0;

                for (int i = 0; i < 2; i++) {
                        uint64_t start = first + (uint64_t)i * (N_BYTES / 2), n = len;

                        if (start + n > (uint64_t)(i + 1) * (N_BYTES / 2))
                                n = (uint64_t)(i + 1) * (N_BYTES / 2) - start;
                        check_ok(confab_lock_acquire(lock, exclusive ? X : S, start, n, CONFAB_FOREVER));
                        for (uint64_t byte = start; byte < start + n; byte++)
                                mark(field, self, exclusive, byte);
                        if (rand_r(&seed) % 16 == 0)
                                poll(NULL, 0, 12); /* longer than the first look for a circle */
                        if (i == 0 && rand_r(&seed) % 2) {
                                atomic_fetch_add(&field->n_locked, 1);
                                continue; /* keep it while the second is waited for */
                        }
                        for (uint64_t byte = start; byte < start + n; byte++)
                                unmark(field, self, exclusive, byte);
                        check_ok(confab_lock_release(lock, start, n));
                        atomic_fetch_add(&field->n_locked, 1);
                }
                for (uint64_t byte = 0; byte < N_BYTES / 2; byte++) {
                        if (atomic_load(&field->writer[byte]) == self + 1)
                                atomic_store(&field->writer[byte], 0);
                        atomic_fetch_and(&field->readers[byte], ~(1u << self));
                }
                check_ok(confab_lock_release(lock, 0, 0));
        }
}

/* How long it goes on: a moment in check, as long as tests/soak says there. */
static int64_t storm_end(void) {
        const char *seconds = getenv("CONFAB_SOAK_S");

        return confab_after((seconds ? atoi(seconds) * INT64_C(1000) : 1500) * MS);
}

TEST_TIMEOUT(a_storm_of_locks_and_kills, 60) {
        struct field *field = shared_memory(sizeof(*field));
        pid_t pids[N_PROCESSES];
        int64_t end_ns = storm_end();
        unsigned seed = 1;

        for (uint32_t i = 0; i < N_PROCESSES; i++)
                if ((pids[i] = fork()) == 0) {
                        storm(field, i, 100 + i);
                        _exit(0);
                }
        while (confab_now() < end_ns) {
                uint32_t victim = (uint32_t)rand_r(&seed) % N_PROCESSES;

                poll(NULL, 0, 20);
                atomic_store(&field->killed[victim], 1);
                check_eq(kill(pids[victim], SIGKILL), 0);
                reap(pids[victim], 128 + SIGKILL);
                for (int byte = 0; byte < N_BYTES; byte++) {
                        uint32_t mine = victim + 1;

                        atomic_compare_exchange_strong(&field->writer[byte], &mine, 0);
                        atomic_fetch_and(&field->readers[byte], ~(1u << victim));
                }
                atomic_store(&field->killed[victim], 0);
                if ((pids[victim] = fork()) == 0) {
                        storm(field, victim, (unsigned)rand_r(&seed));
                        _exit(0);
                }
        }
        atomic_store(&field->stop, 1);
        for (uint32_t i = 0; i < N_PROCESSES; i++)
                reap(pids[i], 0);
        check(atomic_load(&field->n_locked) > 100);
}

/* Two files in any order: circles come all the time, each is broken, everybody goes on. */
static void quarrel(_Atomic uint64_t *n_done, unsigned seed, _Atomic uint32_t *stop) {
        LOCK *a = opened_with("a", CONFAB_LOCK_CREATE), *b = opened_with("b", CONFAB_LOCK_CREATE);

        while (!atomic_load(stop)) {
                bool swap = rand_r(&seed) % 2;
                int r;

                check_ok(confab_lock_acquire(swap ? b : a, X, 0, 0, CONFAB_FOREVER));
                r = confab_lock_acquire(swap ? a : b, rand_r(&seed) % 2 ? X : S, 0, 0, CONFAB_FOREVER);
                if (r != -EDEADLK)
                        check_ok(r);
                check_ok(confab_lock_release(a, 0, 0));
                check_ok(confab_lock_release(b, 0, 0));
                if (r == 0)
                        atomic_fetch_add(n_done, 1);
        }
}

TEST_TIMEOUT(circles_are_broken_for_ever, 60) {
        struct {
                _Atomic uint64_t n_done;
                _Atomic uint32_t stop;
        } *shared = shared_memory(sizeof(*shared));
        pid_t pids[4];
        int64_t end_ns = storm_end();

        for (unsigned i = 0; i < 4; i++)
                if ((pids[i] = fork()) == 0) {
                        quarrel(&shared->n_done, i + 1, &shared->stop);
                        _exit(0);
                }
        while (confab_now() < end_ns || atomic_load(&shared->n_done) < 20)
                poll(NULL, 0, 10);
        atomic_store(&shared->stop, 1);
        for (unsigned i = 0; i < 4; i++)
                reap(pids[i], 0);
}
