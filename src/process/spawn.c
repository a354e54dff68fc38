/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Starting a program.
 *
 * clone(CLONE_VM | CLONE_VFORK): the child borrows the parent's memory until it has called execve, so a parent of many
 * gigabytes pays nothing for its size, and a failure in the child is simply written where the parent reads it. Rejected:
 * fork, which copies page tables (1 ms a gigabyte); posix_spawn, which closes no surplus descriptors on musl and gives no
 * pidfd before glibc 2.39; a pipe that tells of failures, which another thread's fork would hold open.
 *
 * What must hold while two processes run in one memory:
 *  - All signals are blocked in the caller before, so no handler of the program runs in the child; the child puts handled
 *    signals back to default before it unblocks any. The dispositions are its own copy (no CLONE_SIGHAND).
 *  - The child makes bare system calls only: no allocation, no lock, nothing of stdio. It runs on a stack of its own.
 *  - Cancellation is a signal, hence blocked; the kernel stops only the calling thread, others go on and may even open
 *    descriptors: the descriptor table is the child's own copy, and what is not wanted in it is closed there.
 *
 * Dispositions: execve makes handled signals default. Ignored ones stay ignored, which nohup (SIGHUP) and the background jobs of
 * plain shells (SIGINT, SIGQUIT) rely on, so they are left; but a child that inherits an ignored SIGPIPE writes into the void for
 * ever (`yes | head`), and an ignored SIGCHLD breaks every shell: these two go back to default.
 *
 * Under emulators that make a fork of this (qemu-user) the call does not see a failing execve; the child then ends with 127.
 */
#include "process/spawn.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/libc.h"
#include "base/memory.h"
#include "base/wake.h"
#include "process/program.h"

#include <confab/types.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STACK_LEN = 64 * 1024 };

struct child {
        const struct cfb_spawn *spawn;
        int parent; /* who must still be there: CFB_SPAWN_DIE */
        /* Written by the child before it gives up, read by the parent, which stands still meanwhile. */
        int error;
        const char *failed;
        /* Of a session: what this child starts before its own program, as its parent's children. */
        struct child *others;
        int *pids;
        unsigned n_others;
        unsigned char *stacks; /* STACK_LEN each */
};

/*
 * Instrumentation of what runs in the child would leave its marks in the parent's shadow memory, and so would the C library's
 * functions that sanitizers replace (close, sigaction): hence the attribute, and nothing but bare system calls.
 */
#define IN_CHILD __attribute__((no_sanitize("address", "thread", "undefined")))

IN_CHILD static _Noreturn void give_up(struct child *child, const char *failed) {
        child->error = errno;
        child->failed = failed;
        for (;;)
                syscall(SYS_exit_group, 127);
}

/* The kernel's struct sigaction begins with the handler; all zero is SIG_DFL without flags, and an empty mask of 8 bytes. */
IN_CHILD static void reset_signals(bool deaf) {
        union {
                void (*handler)(int);
                unsigned char bytes[64];
        } now;
        const uint64_t none[8] = {0}, all = UINT64_MAX;

        for (int number = 1; number < _NSIG; number++) {
                if (syscall(SYS_rt_sigaction, number, NULL, &now, sizeof(none[0])) < 0 ||
                    now.handler == SIG_DFL)
                        continue;
                if (now.handler == SIG_IGN && number != SIGPIPE && number != SIGCHLD)
                        continue;
                syscall(SYS_rt_sigaction, number, none, NULL, sizeof(none[0]));
        }
        syscall(SYS_rt_sigprocmask, SIG_SETMASK, deaf ? &all : none, NULL, sizeof(all));
}

/*
 * First everything to be mapped is moved above all targets, so that no mapping overwrites what a later one needs.
 * dup3 then makes each target without close-on-exec.
 */
IN_CHILD static void map_descriptors(struct child *child) {
        const struct cfb_spawn *spawn = child->spawn;
        int moved[CFB_SPAWN_FDS], above = 3;

        for (unsigned i = 0; i < spawn->n_fds; i++)
                if (spawn->fds[i].to >= above)
                        above = spawn->fds[i].to + 1;
        for (unsigned i = 0; i < spawn->n_fds; i++) {
                moved[i] = -1;
                if (spawn->fds[i].from < 0)
                        continue;
                moved[i] = (int)syscall(SYS_fcntl, spawn->fds[i].from, F_DUPFD_CLOEXEC, above);
                if (moved[i] < 0)
                        give_up(child, "fcntl");
        }
        for (unsigned i = 0; i < spawn->n_fds; i++) {
                if (moved[i] < 0)
                        syscall(SYS_close, spawn->fds[i].to);
                else if (syscall(SYS_dup3, moved[i], spawn->fds[i].to, 0) < 0)
                        give_up(child, "dup3");
        }
}

IN_CHILD static bool is_target(const struct cfb_spawn *spawn, unsigned fd) {
        for (unsigned i = 0; i < spawn->n_fds; i++)
                if ((unsigned)spawn->fds[i].to == fd)
                        return true;
        return false;
}

/* Closes all from 3 but the targets: also what the program opened without close-on-exec. */
IN_CHILD static void close_the_rest(struct child *child) {
        const struct cfb_spawn *spawn = child->spawn;
        unsigned first = 3;

        for (;;) {
                unsigned last = UINT_MAX;

                while (is_target(spawn, first))
                        first++;
                for (unsigned i = 0; i < spawn->n_fds; i++)
                        if ((unsigned)spawn->fds[i].to > first && (unsigned)spawn->fds[i].to - 1 < last)
                                last = (unsigned)spawn->fds[i].to - 1;
                if (syscall(SYS_close_range, first, last, 0) < 0)
                        give_up(child, "close_range");
                if (last == UINT_MAX)
                        return;
                first = last + 1;
        }
}

/*
 * Session, group, terminal: before anything of the program runs, so nothing of it is ever in a wrong group. SIGTTOU, which a
 * background process gets for giving the terminal away, is blocked with all signals. A parent that died before the wish to die with
 * it was known is seen by its number having changed.
 */
IN_CHILD static void take_place(struct child *child) {
        const struct cfb_spawn *spawn = child->spawn;
        int group;

        if ((spawn->flags & CFB_SPAWN_SESSION) && syscall(SYS_setsid) < 0)
                give_up(child, "setsid");
        if ((spawn->flags & CFB_SPAWN_GROUP) && syscall(SYS_setpgid, 0, spawn->group) < 0)
                give_up(child, "setpgid");
        if (spawn->flags & CFB_SPAWN_TERMINAL) {
                group = (int)syscall(SYS_getpgid, 0);
                if (syscall(SYS_ioctl, spawn->terminal, TIOCSPGRP, &group) < 0)
                        give_up(child, "tcsetpgrp");
        }
        if ((spawn->flags & CFB_SPAWN_DIRECTORY) && syscall(SYS_fchdir, spawn->directory) < 0)
                give_up(child, "fchdir");
        if (spawn->flags & CFB_SPAWN_DIE) {
                if (syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
                        give_up(child, "prctl");
                if (syscall(SYS_getppid) != child->parent) {
                        errno = ESRCH;
                        give_up(child, "getppid");
                }
        }
}

/* In the parent's memory, which is the child's until execve. */
IN_CHILD static void write_pid(char *text) {
        unsigned pid = (unsigned)syscall(SYS_getpid);
        unsigned n_digits = 1;

        for (unsigned left = pid; left >= 10; left /= 10)
                n_digits++;
        text[n_digits] = '\0';
        for (; n_digits > 0; pid /= 10)
                text[--n_digits] = (char)('0' + pid % 10);
}

static void start_others(struct child *child);

IN_CHILD static int run(void *data) {
        struct child *child = data;

        take_place(child);
        if (child->n_others > 0)
                start_others(child);
        map_descriptors(child);
        close_the_rest(child);
        reset_signals(child->spawn->flags & CFB_SPAWN_DEAF);
        if (child->spawn->pid_text)
                write_pid(child->spawn->pid_text);
        syscall(SYS_execve, child->spawn->path, child->spawn->argv,
                child->spawn->envp ? child->spawn->envp : environ);
        give_up(child, "execve");
}

/*
 * ThreadSanitizer replaces clone by a version that does a fork's bookkeeping in the child, which here would be done in the parent's
 * memory; glibc's other name of the same function is left alone.
 */
#ifdef __GLIBC__
int __clone(int (*run_in_child)(void *), void *stack_top, int flags, void *data, ...);
#define clone __clone
#endif

/* In the first child of a session, whose memory is its parent's: CLONE_PARENT makes the others children of that. */
IN_CHILD static void start_others(struct child *child) {
        for (unsigned i = 0; i < child->n_others; i++) {
                struct child *other = &child->others[i];

                child->pids[i] = clone(run, child->stacks + (size_t)(i + 1) * STACK_LEN,
                                       CLONE_VM | CLONE_VFORK | CLONE_PARENT | SIGCHLD, other);
                if (child->pids[i] < 0)
                        give_up(child, "clone");
                if (other->error) {
                        errno = other->error;
                        give_up(child, other->failed);
                }
        }
}

/* The pidfd comes from clone itself where the kernel gives it: then even a child reaped behind our back has the right one. */
static int clone_child(int *pidfdp, struct child *child, unsigned char *stack_top) {
        int flags = CLONE_VM | CLONE_VFORK | SIGCHLD;
        int pidfd = -1, pid;

        pid = clone(run, stack_top, flags | CLONE_PIDFD, child, &pidfd);
        if (pid < 0 && errno == EINVAL) { /* qemu-user up to 7.2 */
                pid = clone(run, stack_top, flags, child);
                if (pid > 0) {
                        pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
                        if (pidfd < 0) {
                                int error = errno;

                                kill(pid, SIGKILL);
                                waitpid(pid, NULL, 0);
                                errno = error;
                                return -1;
                        }
                }
        }
        *pidfdp = pidfd;
        return pid;
}

/*
 * All of them, by a bare call: the C library keeps two from being blocked, one of which (setuid in another thread) would run
 * its handler in the child, in the parent's memory. The kernel's set has 64 bits, on every architecture of ours.
 */
static uint64_t set_mask(uint64_t mask) {
        uint64_t before = 0;

        syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, &before, sizeof(mask));
        return before;
}

int cfb_spawn(int *pidfdp, const struct cfb_spawn *spawn) {
        CFB_CLEANUP(cfb_closep) int pidfd = -1;
        struct child child = {.spawn = spawn, .parent = getpid()};
        unsigned char *stack;
        uint64_t before;
        int pid, status;

        if (spawn->n_fds > CFB_SPAWN_FDS)
                return cfb_failed(-EINVAL, "clone", spawn->path);
        stack = mmap(NULL, STACK_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
        if (stack == MAP_FAILED)
                return cfb_failed(-errno, "mmap", spawn->path);
        before = set_mask(UINT64_MAX);
        pid = clone_child(&pidfd, &child, stack + STACK_LEN);
        if (pid < 0)
                child.error = errno;
        set_mask(before);
        munmap(stack, STACK_LEN);
        if (pid < 0)
                return cfb_failed_with(-child.error, "clone", spawn->path, cfb_explain_start, NULL, 0, 0);
        if (child.error) {
                cfb_spawn_wait(pidfd, CONFAB_FOREVER);
                cfb_spawn_reap(pidfd, &status);
                return cfb_failed_with(-child.error, child.failed, spawn->path, cfb_explain_start, NULL, 0,
                                       0);
        }
        *pidfdp = cfb_steal_fd(&pidfd);
        return pid;
}

/* Opens what the first child of a session started for us; none of them is reaped yet, so the numbers are theirs. */
static int open_pidfds(const int *pids, int *pidfds, unsigned n) {
        for (unsigned i = 0; i < n; i++) {
                if (pids[i] <= 0) /* an emulator: the child's memory was a copy */
                        return cfb_failed(-EOPNOTSUPP, "clone", NULL);
                pidfds[i] = (int)syscall(SYS_pidfd_open, pids[i], 0);
                if (pidfds[i] < 0)
                        return cfb_failed(-errno, "pidfd_open", NULL);
        }
        return 0;
}

static void kill_and_reap(int *pids, int *pidfds, unsigned n) {
        for (unsigned i = 0; i < n; i++) {
                if (pids[i] <= 0)
                        continue;
                kill(pids[i], SIGKILL);
                while (waitpid(pids[i], NULL, 0) < 0 && errno == EINTR)
                        ;
                cfb_closep(&pidfds[i]);
        }
}

int cfb_spawn_session(int *pids, int *pidfds, struct cfb_spawn *spawns, unsigned n_spawns) {
        size_t stacks_len = (size_t)n_spawns * STACK_LEN;
        struct child *children;
        unsigned char *stacks;
        uint64_t before;
        int r = 0;

        for (unsigned i = 0; i < n_spawns; i++)
                pids[i] = pidfds[i] = -1;
        children = cfb_allocate(n_spawns * sizeof(*children));
        if (!children)
                return cfb_failed(-ENOMEM, "spawn", spawns->path);
        stacks = mmap(NULL, stacks_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1,
                      0);
        if (stacks == MAP_FAILED) {
                cfb_release(children);
                return cfb_failed(-ENOMEM, "mmap", spawns->path);
        }
        for (unsigned i = 0; i < n_spawns; i++) {
                if (i == 0)
                        spawns[i].flags |= CFB_SPAWN_SESSION;
                spawns[i].flags &=
                        ~(CFB_SPAWN_GROUP | CFB_SPAWN_TERMINAL); /* the group comes with the session */
                children[i] = (struct child){.spawn = &spawns[i], .parent = getpid()};
        }
        children[0].others = children + 1;
        children[0].n_others = n_spawns - 1;
        children[0].pids = pids + 1;
        children[0].stacks = stacks + STACK_LEN;
        before = set_mask(UINT64_MAX);
        pids[0] = clone_child(&pidfds[0], &children[0], stacks + STACK_LEN);
        if (pids[0] < 0)
                r = -errno;
        if (r == 0 && children[0].error)
                r = -children[0].error;
        if (r < 0)
                cfb_failed_with(r, children[0].error ? children[0].failed : "clone", spawns->path,
                                cfb_explain_start, NULL, 0, 0);
        else /* before a handler of SIGCHLD that reaps whatever ends can run */
                r = open_pidfds(pids + 1, pidfds + 1, n_spawns - 1);
        set_mask(before);
        if (r < 0)
                kill_and_reap(pids, pidfds, n_spawns);
        munmap(stacks, stacks_len);
        cfb_release(children);
        return r;
}

int cfb_spawn_reap(int pidfd, int *statusp) {
        siginfo_t info;
        int r;

        do {
                info.si_pid = 0;
                r = waitid(CFB_P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG);
        } while (r < 0 && errno == EINTR);
        if (r < 0)
                return errno == ECHILD ? CFB_SPAWN_REAPED : cfb_failed(-errno, "waitid", NULL);
        if (info.si_pid == 0)
                return CFB_SPAWN_RUNNING;
        *statusp = info.si_code == CLD_EXITED ? (info.si_status & 0xff) << 8
                                              : info.si_status | (info.si_code == CLD_DUMPED ? 0x80 : 0);
        return 0;
}

int cfb_spawn_wait(int pidfd, int64_t deadline_ns) {
        struct pollfd ended = {.fd = pidfd, .events = POLLIN};
        int r;

        do
                r = cfb_poll(&ended, 1, deadline_ns);
        while (r == -EINTR);
        return r > 0 ? 0 : r < 0 ? r : -ETIMEDOUT;
}

void cfb_spawn_signal(int pidfd, int signal_number) {
        syscall(SYS_pidfd_send_signal, pidfd, signal_number, NULL, 0);
}
