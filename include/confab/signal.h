/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CONFAB_SIGNAL_H
#define CONFAB_SIGNAL_H
/*
 * Signals: which there are, sending them, handlers, alarms. As messages beside other endpoints: signal://, confab-signal(7); as
 * events of a loop: confab_loop_add_signal, confab_loop_add_child, confab_loop_add_timer.
 *
 * Threads: what a signal does (handler, ignored, default) is the process's, one for all its threads; which ones are held back (the
 * mask) is each thread's own. A handler runs in any thread that does not hold its signal back, and in it only async-signal-safe
 * calls are allowed: of confab confab_interrupt, confab_loop_stop, confab_loop_wake and confab_now.
 * Fork and exec: a child has its parent's handlers and mask, but no signal that waits and no alarm. exec makes handled signals
 * default, and leaves ignored ones ignored and the mask as it is.
 * Numbers differ between processors and, for SIGRTMIN+n, between C libraries: go by names.
 */
#include <confab/message.h>

CONFAB_BEGIN_DECLS

/* What a signal does to a process that has set nothing for it. */
#define CONFAB_ACTION_TERMINATE 1u
#define CONFAB_ACTION_CORE      2u /* terminates, with a core dump where they are allowed */
#define CONFAB_ACTION_IGNORE    3u
#define CONFAB_ACTION_STOP      4u
#define CONFAB_ACTION_CONTINUE  5u

#define CONFAB_SIGNAL_UNCATCHABLE 1u /* SIGKILL, SIGSTOP: never handled, ignored, held back or received */
#define CONFAB_SIGNAL_FAULT       2u /* of the running instruction: can be handled, not received as a message */
#define CONFAB_SIGNAL_QUEUED \
        4u /* real-time: each one that is sent arrives, in order; others merge while they wait */

struct confab_signal {
        uint32_t size; /* sizeof(struct confab_signal), set by the caller */
        int32_t number;
        uint32_t flags;          /* CONFAB_SIGNAL_* */
        uint32_t action;         /* CONFAB_ACTION_* */
        const char *action_name; /* "terminate", "core", "ignore", "stop", "continue"; borrowed for ever */
        const char *comment;     /* what it is for, in a line; borrowed for ever */
        char name[16];           /* "SIGINT", "SIGRTMIN+3" */
};

/*
 * Signal @number in *@signal. -EINVAL: programs have no such signal (1 to SIGRTMAX are asked for a list; the C library keeps a
 * few of them to itself). Does not block, any thread.
 */
CONFAB_API int confab_signal_describe(struct confab_signal *signal, int number);

/*
 * The number of the signal @name: "INT", "SIGINT", "int", "2", "RTMIN+3", "RTMAX-1". "0" is 0, the question whether somebody is
 * there. -EINVAL: there is no such signal. Does not block, any thread.
 */
CONFAB_API int confab_signal_number(const char *name);

/*
 * Sends @number to the process @pid (> 0), by a pidfd opened first: a process that gets the same pid later is never hit. With
 * 0 as @number it only asks whether the process is there and may be signalled; one that has ended and was not waited for is there.
 * @value: NULL, or the number that goes along (its siginfo says SI_QUEUE). Real-time signals always carry one, 0 unless given, since only
 * so the kernel says when there is no room. Standard signals merge with one that waits already, and its value stays.
 * Blocks until @deadline_ns only while as many signals wait as the receiver's RLIMIT_SIGPENDING allows, in naps of up to 5 ms.
 * Returns 0; -EINVAL (no such signal; pid <= 0; a thread's id; a pidfd of a process outside of this namespace), -ESRCH (no such process), -EPERM (not yours), -EAGAIN, -ETIMEDOUT (no room).
 */
CONFAB_API int confab_signal_send(int32_t pid, int number, const int32_t *value, int64_t deadline_ns);

/* The same to the process behind @pidfd (pidfd_open, clone; lent): from a child's birth on, no race is left. */
CONFAB_API int confab_signal_send_pidfd(int pidfd, int number, const int32_t *value, int64_t deadline_ns);

/*
 * Sends @number to all processes of the group @group (> 1) that may be signalled, at once; 0 only asks. A value cannot go along:
 * the kernel has no call for it, and member by member those born meanwhile would be missed. Real-time signals that find no room merge.
 * Returns 0 if one member at least got it; -EINVAL (0 would be the caller's own group: say getpgrp(); 1 would be everybody), -ESRCH (no
 * such group), -EPERM (none may be signalled). Never blocks.
 */
CONFAB_API int confab_signal_send_group(int32_t group, int number);

/* A signal that came: what a handler is told, and what is in a message of signal://. */
#define CONFAB_RECEIVED_VALUE 1u /* @value came with it */
#define CONFAB_RECEIVED_CLAIMED \
        2u /* @pid and @uid are the sender's own words; otherwise they are the kernel's */
#define CONFAB_RECEIVED_STATUS 4u /* SIGCHLD: @pid is the child, and @status what became of it */
struct confab_signal_received {
        uint32_t size;
        int32_t number;
        uint32_t flags;
        int32_t value;
        uint32_t pid;   /* who sent it; 0: the kernel, or nobody visible from here */
        uint32_t uid;   /* its real user */
        int32_t status; /* as waitpid has it (WIFEXITED, WIFSTOPPED ...) */
        uint32_t reserved;
};

/*
 * What was set for a signal before, for confab_signal_restore: a plain value, copied and kept as long as wanted. size is set by the
 * caller; the rest is the library's.
 */
struct confab_signal_before {
        uint32_t size;
        int32_t number;
        uint64_t kept[32];
};

#define CONFAB_HANDLE_INTERRUPTS \
        1u                    /* system calls under way fail with EINTR; without it they go on (SA_RESTART) */
#define CONFAB_HANDLE_ONCE 2u /* the first one sets it back to default */

typedef void (*confab_signal_handler)(const struct confab_signal_received *received);

/*
 * From now on @number calls @handler, is ignored, or does what it does by default; in *@before (may be NULL) what was set.
 * @flags: CONFAB_HANDLE_*. While its handler runs the signal itself is held back; errno is kept over it; it runs on the alternate stack
 * where the thread has one. -EINVAL: SIGKILL and SIGSTOP cannot be caught, some numbers are no signals. -EBUSY: the one real-time signal
 * with which the library ends waits for locks and System V queues: the highest that was free at the first of them. Never block; any thread.
 */
CONFAB_API int confab_signal_handle(struct confab_signal_before *before, int number,
                                    confab_signal_handler handler, uint32_t flags);
CONFAB_API int confab_signal_ignore(struct confab_signal_before *before, int number);
CONFAB_API int confab_signal_default(struct confab_signal_before *before, int number);
/* Sets it back as it was, whoever had set it. -EINVAL: @before was not filled by the calls above; -EBUSY, as there. */
CONFAB_API int confab_signal_restore(const struct confab_signal_before *before);

/* What a message received from signal:// says, in *@received (its size set by the caller). -EINVAL: it is not one of those. */
CONFAB_API int confab_signal_read(struct confab_signal_received *received,
                                  const struct confab_message *message);

/*
 * Alarms: signal @number with @value to this process at @deadline_ns (CONFAB_FOREVER: not until it is set), then every @interval_ns
 * (0: once). As many as wanted, each its own; confab_loop_add_timer does without signals. One that comes due while its last still waits
 * merges with it. On success *@alarmp is the caller's (confab_alarm_free); a forked child has none of them (there they answer -EOWNERDEAD).
 * -EINVAL (no such signal, a negative interval), -EAGAIN (RLIMIT_SIGPENDING: each alarm takes one of it), -ENOMEM. Never block; any thread.
 */
typedef struct confab_alarm confab_alarm;
CONFAB_API int confab_alarm_new(confab_alarm **alarmp, int number, int32_t value, int64_t deadline_ns,
                                int64_t interval_ns);
CONFAB_API int confab_alarm_set(confab_alarm *alarm, int64_t deadline_ns, int64_t interval_ns);
/* Ends it; a signal sent already still arrives. Accepts NULL; returns NULL. */
CONFAB_API confab_alarm *confab_alarm_free(confab_alarm *alarm);

CONFAB_END_DECLS
#endif
