/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * exec://command - a program as the other end: what is sent is its standard input, what it prints is received.
 *
 *      us  fds[SENDING]   --- pipe --->  0  /bin/sh -c command
 *          fds[RECEIVING] <--- pipe ---  1
 *                                        2  stays ours
 *
 * Two pipes and not a socketpair: to the program it looks as in any shell pipeline (programs look: `head`, Node and the shells
 * treat a socket as standard input differently, /dev/stdin cannot be opened on one), and closing one of them is a half-close for
 * every program. Our two descriptions are O_NONBLOCK, the child's two are not: it never sees EAGAIN.
 * With direction=receive the standard input stays ours, with direction=send the standard output does, as popen has it.
 *
 * The child lives as long as the endpoint: close takes its input away, waits grace= for it to end, then asks it to (SIGTERM) and a
 * second later ends it (SIGKILL). It is found by its pidfd, so no other process can be hit, and it is always reaped. The signals
 * go to the shell alone; what that started sees its pipes end. (A group of its own would be easier to kill, but Ctrl-C
 * would miss it and a terminal could not be read.) If we are killed the child sees the end of its input; init reaps it.
 * After a fork the child is the parent's: in the forked process close only closes.
 */
#include "base/cleanup.h"
#include "base/libc.h"
#include "base/owner.h"
#include "base/sigpipe.h"
#include "process/spawn.h"
#include "transport/pipe_ends.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define SHELL "/bin/sh"

enum { TERM_TO_KILL_NS = 1000 * 1000 * 1000 };

struct exec_state {
        int pidfd; /* -1: no child, or it has been waited for */
        int pid;
        struct cfb_owner owner; /* who started it: only that process may wait for it */
        /* Reaped. Relaxed: only saves a system call; the kernel gives the status to one caller whatever is read here. */
        atomic_bool reaped;
};

static void exec_properties(struct confab_properties *properties, const struct cfb_address *address,
                            const confab_endpoint *endpoint) {
        bool simplex = address->direction == CONFAB_RECEIVE || address->direction == CONFAB_SEND;

        *properties = (struct confab_properties){
                .size = sizeof(*properties),
                .addressing = CONFAB_ADDRESSING_COMMAND,
                .reach = CONFAB_REACH_FAMILY,
                .connection = CONFAB_CONNECTION_MADE,
                .direction = simplex ? CONFAB_DIRECTION_SIMPLEX : CONFAB_DIRECTION_DUPLEX,
                .boundaries = CONFAB_BOUNDARIES_STREAM,
                .order = CONFAB_ORDER_FIFO,
                .end = CONFAB_YES,
                .half_close = CONFAB_YES,
                .message_max = UINT64_MAX,
                .atomic_max = PIPE_BUF,
                .capacity = cfb_pipe_capacity(endpoint, address->capacity),
        };
}

static int exec_check(const struct cfb_address *address) {
        if (address->rest[strspn(address->rest, " \t")] == '\0')
                return cfb_address_refuse(
                        address, 0, "a command is missing: exec://sort -u (a '?' in it is written %3F)");
        return 0;
}

static size_t explain_start(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: %s could not be started: %s: %s", failure->subject,
                   failure->detail, failure->call, cfb_errno_text(-failure->error));
        switch (-failure->error) {
        case EAGAIN:
                cfb_append(text, text_cap, &used,
                           "; a limit on processes is reached: RLIMIT_NPROC (ulimit -u) or pids.max of the "
                           "control group");
                break;
        case E2BIG:
                cfb_append(text, text_cap, &used,
                           "; the environment and the command together are too large: an eighth of the stack "
                           "limit (ulimit -s), 128 KiB a variable");
                break;
        case EMFILE:
                cfb_append(text, text_cap, &used, "; RLIMIT_NOFILE (ulimit -n) is reached");
                break;
        case ENOENT:
        case EACCES:
                cfb_append(text, text_cap, &used,
                           "; exec:// needs a shell there, which a chroot or a container may lack");
                break;
        default:
                break;
        }
        return used;
}

/* A pipe whose end @ours (0 or 1) goes into *@ourp, non-blocking, and the other one into *@theirp. */
static int make_pipe(confab_endpoint *endpoint, int ours, int *ourp, int *theirp) {
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                return cfb_failed(-errno, "pipe2", confab_address(endpoint));
        *ourp = fds[ours];
        *theirp = fds[!ours];
        if (fcntl(*ourp, F_SETFL, O_NONBLOCK) < 0)
                return cfb_failed(-errno, "fcntl", confab_address(endpoint));
        return cfb_pipe_set_capacity(*ourp, &endpoint->address);
}

static int start(confab_endpoint *endpoint, int input, int output) {
        struct exec_state *state = cfb_state(endpoint);
        char sh[] = "sh", option[] = "-c";
        char *argv[] = {sh, option, endpoint->address.rest, NULL};
        struct cfb_spawn_fd fds[2];
        struct cfb_spawn spawn = {.path = SHELL, .argv = argv, .fds = fds};
        int r;

        if (input >= 0)
                fds[spawn.n_fds++] = (struct cfb_spawn_fd){input, STDIN_FILENO};
        if (output >= 0)
                fds[spawn.n_fds++] = (struct cfb_spawn_fd){output, STDOUT_FILENO};
        r = cfb_spawn(&state->pidfd, &spawn);
        if (r < 0)
                return cfb_failed_with(r, cfb_last_failure()->call, confab_address(endpoint), explain_start,
                                       SHELL, 0, 0);
        state->pid = r;
        state->owner = cfb_owner_here();
        return 0;
}

static int exec_open(confab_endpoint *endpoint, int64_t deadline_ns) {
        CFB_CLEANUP(cfb_closep) int input = -1;
        CFB_CLEANUP(cfb_closep) int output = -1;
        struct exec_state *state = cfb_state(endpoint);
        uint32_t direction = endpoint->address.direction ? endpoint->address.direction : CONFAB_BOTH;
        int r = 0;

        (void)deadline_ns; /* the kernel loads the shell without a deadline */
        state->pidfd = -1;
        cfb_sigpipe_guard();
        if (direction & CONFAB_SEND)
                r = make_pipe(endpoint, 1, &endpoint->fds[CFB_SENDING], &input);
        if (r >= 0 && (direction & CONFAB_RECEIVE))
                r = make_pipe(endpoint, 0, &endpoint->fds[CFB_RECEIVING], &output);
        return r < 0 ? r : start(endpoint, input, output);
}

/* Reaps the child if it has ended, and tells so: once, since the kernel gives its status to one caller only. */
static void look_at_child(confab_endpoint *endpoint) {
        struct exec_state *state = cfb_state(endpoint);
        int status, r;

        if (state->pidfd < 0 || !cfb_owner_is_here(&state->owner) ||
            atomic_load_explicit(&state->reaped, memory_order_relaxed))
                return;
        r = cfb_spawn_reap(state->pidfd, &status);
        if (r < 0 || r == CFB_SPAWN_RUNNING)
                return;
        atomic_store_explicit(&state->reaped, true, memory_order_relaxed);
        if (r == 0)
                cfb_tell(CONFAB_EVENT_CHILD_ENDED, confab_address(endpoint), status);
}

static int64_t exec_send(confab_endpoint *endpoint, const struct confab_message *message) {
        int64_t n = cfb_pipe_send(endpoint, message);

        if (n == -EPIPE)
                look_at_child(endpoint);
        return n;
}

static int exec_receive(confab_endpoint *endpoint, struct confab_message *message,
                        struct cfb_buffer **bufferp, const struct confab_filter *filter) {
        int r = cfb_pipe_receive(endpoint, message, bufferp, filter);

        if (r == 0)
                look_at_child(endpoint);
        return r;
}

static void close_pipes(confab_endpoint *endpoint) {
        for (int side = CFB_RECEIVING; side <= CFB_SENDING; side++)
                cfb_closep(&endpoint->fds[side]);
}

static void end_child(confab_endpoint *endpoint) {
        struct exec_state *state = cfb_state(endpoint);

        if (cfb_spawn_wait(state->pidfd, confab_after(endpoint->address.grace_ns)) == 0)
                return;
        cfb_tell(CONFAB_EVENT_CHILD_KILLED, confab_address(endpoint), state->pid);
        cfb_spawn_signal(state->pidfd, SIGTERM);
        if (cfb_spawn_wait(state->pidfd, confab_after(TERM_TO_KILL_NS)) == 0)
                return;
        cfb_spawn_signal(state->pidfd, SIGKILL);
        cfb_spawn_wait(state->pidfd, CONFAB_FOREVER);
}

static void exec_close(confab_endpoint *endpoint) {
        struct exec_state *state = cfb_state(endpoint);

        close_pipes(endpoint);
        if (state->pidfd < 0)
                return;
        if (cfb_owner_is_here(&state->owner) && !atomic_load_explicit(&state->reaped, memory_order_relaxed)) {
                end_child(endpoint);
                look_at_child(endpoint);
        }
        cfb_closep(&state->pidfd);
}

const struct cfb_transport cfb_tr_exec = {
        .scheme = "exec",
        .summary = "a program: its standard input and output",
        .example = "exec://command",
        .keys = CFB_KEY(FRAME) | CFB_KEY(CAPACITY) | CFB_KEY(MAX) | CFB_KEY(DIRECTION) | CFB_KEY(GRACE),
        .state_len = sizeof(struct exec_state),
        .properties = exec_properties,
        .check = exec_check,
        .open = exec_open,
        .send = exec_send,
        .receive = exec_receive,
        .shutdown = cfb_pipe_shutdown,
        .close = exec_close,
};
