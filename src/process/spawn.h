/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_PROCESS_SPAWN_H
#define CFB_PROCESS_SPAWN_H
/*
 * Starting a program: no copy of the parent's memory, only the descriptors it is meant to have, a clean signal state. See spawn.c.
 */
#include <stdint.h>

/* The child's descriptor number @to is the parent's @from; @from -1: @to is closed in the child. */
struct cfb_spawn_fd {
        int from, to;
};

struct cfb_spawn {
        const char *path;  /* of the program; not looked for in PATH */
        char *const *argv; /* ends with NULL */
        char *const *envp; /* ends with NULL; NULL: the environment of this process */
        const struct cfb_spawn_fd *fds;
        unsigned n_fds; /* at most CFB_SPAWN_FDS */
        uint32_t flags; /* CFB_SPAWN_* */
        int group;      /* GROUP: the process group to join; 0: one of its own */
        int terminal;   /* TERMINAL: its group becomes the foreground one there */
        int directory;  /* DIRECTORY: the descriptor of its working directory */
        char *pid_text; /* ten digits in its environment, which it fills with its own number; NULL: none */
};
#define CFB_SPAWN_FDS 64

#define CFB_SPAWN_GROUP     1u
#define CFB_SPAWN_TERMINAL  2u
#define CFB_SPAWN_DIRECTORY 4u
#define CFB_SPAWN_SESSION   8u
#define CFB_SPAWN_DIE       16u /* killed when the thread that called cfb_spawn ends */
#define CFB_SPAWN_DEAF      32u /* all signals blocked: none but SIGKILL and SIGSTOP reaches it */

/*
 * Starts @spawn. The child has descriptors 0, 1, 2 as the parent has them and what @spawn->fds says, nothing else; no signal
 * blocked (but DEAF); SIGPIPE and SIGCHLD as at login; other signals ignored only where the parent ignores them.
 * Returns its pid and, in *@pidfdp, a close-on-exec pidfd, the caller's. The program is then running or about to: if the
 * kernel refused it, -errno is returned instead with the call that failed recorded ("execve", "close_range"), and there is
 * no child. Blocks for as long as the kernel needs to load the program. Any thread.
 */
int cfb_spawn(int *pidfdp, const struct cfb_spawn *spawn);
/*
 * Starts @spawns[0] in a session of its own and the others in its session and group, which only a member of the session can do: the
 * first child starts the others as our children before it becomes its program. Fills both arrays; 0, or -errno and none of them is left.
 */
int cfb_spawn_session(int *pids, int *pidfds, struct cfb_spawn *spawns, unsigned n_spawns);

/* What a child has come to. */
#define CFB_SPAWN_RUNNING 1 /* a condition, not a failure */
#define CFB_SPAWN_REAPED  2 /* somebody else reaped it, or SIGCHLD is ignored: no status is to be had */
/* Reaps the child behind @pidfd if it has ended: 0 with its status, as waitpid has it, in *@statusp; or one of the above; or -errno. */
int cfb_spawn_reap(int pidfd, int *statusp);
/* Waits until it has ended (not reaping it) or @deadline_ns: 0 or -ETIMEDOUT. Over signals. */
int cfb_spawn_wait(int pidfd, int64_t deadline_ns);
/* Sends @signal_number to it; nothing happens if it has ended. */
void cfb_spawn_signal(int pidfd, int signal_number);

#endif
