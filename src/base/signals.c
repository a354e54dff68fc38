/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * The table of signals, signal(7) in one place: what confab signal prints, what names mean, what can be caught.
 *
 * Real-time signals have no row: SIGRTMIN is a call of the C library's, which keeps the first two (glibc) or three (musl) to itself. They are
 * named from the nearer end, as shells do.
 */
#include "base/signals.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/nudge.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define CATCHES_NOT CONFAB_SIGNAL_UNCATCHABLE
#define FAULT       CONFAB_SIGNAL_FAULT
#define ROW(name, action, flags, comment) \
        [SIG##name] = {"SIG" #name, CONFAB_ACTION_##action, (flags), (comment)}

static const struct {
        const char *name;
        uint32_t action, flags;
        const char *comment;
} table[] = {
        ROW(HUP, TERMINATE, 0, "the terminal is gone; asks services to read their configuration again"),
        ROW(INT, TERMINATE, 0, "Ctrl-C in the terminal"),
        ROW(QUIT, CORE, 0, "Ctrl-\\ in the terminal"),
        ROW(ILL, CORE, FAULT, "an instruction the processor does not have"),
        ROW(TRAP, CORE, FAULT, "a breakpoint or a traced step"),
        ROW(ABRT, CORE, 0, "abort(), a failed assert"),
        ROW(BUS, CORE, FAULT, "memory behind a mapping is missing, or misaligned access"),
        ROW(FPE, CORE, FAULT, "division by zero and other faults of arithmetic"),
        ROW(KILL, TERMINATE, CATCHES_NOT, "ends a process for certain; cannot be caught"),
        ROW(USR1, TERMINATE, 0, "free for programs"),
        ROW(SEGV, CORE, FAULT, "access to memory that is not mapped or not allowed"),
        ROW(USR2, TERMINATE, 0, "free for programs"),
        ROW(PIPE, TERMINATE, 0, "writing where nobody reads any more"),
        ROW(ALRM, TERMINATE, 0, "alarm(), setitimer(): the time is up"),
        ROW(TERM, TERMINATE, 0, "asks a process to end; what kill sends unless told otherwise"),
#ifdef SIGSTKFLT
        ROW(STKFLT, TERMINATE, 0, "unused by today's kernels"),
#endif
        ROW(CHLD, IGNORE, 0, "a child has ended, stopped or gone on"),
        ROW(CONT, CONTINUE, 0, "lets a stopped process go on, also where it is caught or ignored"),
        ROW(STOP, STOP, CATCHES_NOT, "stops a process for certain; cannot be caught"),
        ROW(TSTP, STOP, 0, "Ctrl-Z in the terminal"),
        ROW(TTIN, STOP, 0, "reading the terminal from the background"),
        ROW(TTOU, STOP, 0, "writing to the terminal from the background, where stty tostop is set"),
        ROW(URG, IGNORE, 0, "urgent data on a socket"),
        ROW(XCPU, CORE, 0, "RLIMIT_CPU: the processor time is used up"),
        ROW(XFSZ, CORE, 0, "RLIMIT_FSIZE: a file would grow too large"),
        ROW(VTALRM, TERMINATE, 0, "setitimer() on processor time of the program"),
        ROW(PROF, TERMINATE, 0, "setitimer() on processor time of program and kernel"),
        ROW(WINCH, IGNORE, 0, "the terminal's window has another size"),
        ROW(IO, TERMINATE, 0, "a descriptor with O_ASYNC is ready"),
        ROW(PWR, TERMINATE, 0, "power fails"),
        ROW(SYS, CORE, FAULT, "a system call that seccomp forbids"),
};

/* Second names, and those of other systems. */
static const struct {
        const char *name;
        int number;
} aliases[] = {{"CLD", SIGCHLD}, {"POLL", SIGIO}, {"IOT", SIGABRT}};

static const char *const action_names[] = {"", "terminate", "core", "ignore", "stop", "continue"};

static bool is_standard(int number) {
        return number > 0 && number < (int)CFB_ARRAY_LEN(table) && table[number].name;
}

static bool is_real_time(int number) {
        return number >= SIGRTMIN && number <= SIGRTMAX;
}

void cfb_signal_name(char name[16], int number) {
        int from_min = number - SIGRTMIN, from_max = SIGRTMAX - number;

        if (is_standard(number))
                snprintf(name, 16, "%s", table[number].name);
        else if (!is_real_time(number))
                snprintf(name, 16, "%d", number);
        else if (from_min == 0 || from_max == 0)
                snprintf(name, 16, from_min ? "SIGRTMAX" : "SIGRTMIN");
        else if (from_min <= (SIGRTMAX - SIGRTMIN) / 2)
                snprintf(name, 16, "SIGRTMIN+%u", (unsigned)from_min & 0x3F);
        else
                snprintf(name, 16, "SIGRTMAX-%u", (unsigned)from_max & 0x3F);
}

static size_t explain_rule(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: %s: %s", failure->subject, failure->call, failure->detail);
        return used;
}

int cfb_signal_refuse(int error, const char *call, const char *subject, const char *why) {
        return cfb_failed_with(error, call, subject, explain_rule, why, 0, 0);
}

static size_t explain_number(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: %s: programs have no such signal", failure->subject,
                   failure->call);
        if (failure->a > 31 && failure->a < SIGRTMIN)
                cfb_append(text, text_cap, &used, ": the C library keeps it to itself");
        cfb_append(text, text_cap, &used,
                   "; there are 1 to 31 and SIGRTMIN (%d) to SIGRTMAX (%d): confab signal lists them",
                   SIGRTMIN, SIGRTMAX);
        return used;
}

static int no_such_signal(const char *call, int number) {
        char subject[32];

        snprintf(subject, sizeof(subject), "signal %d", number);
        return cfb_failed_with(-EINVAL, call, subject, explain_number, NULL, number, 0);
}

int cfb_signal_check(const char *call, int number, int zero) {
        if ((number == 0 && zero) || is_standard(number) || is_real_time(number))
                return 0;
        return no_such_signal(call, number);
}

int cfb_signal_check_catch(const char *call, int number, int message) {
        int r = cfb_signal_check(call, number, 0);
        uint32_t flags = r >= 0 && is_standard(number) ? table[number].flags : 0;
        char name[16];

        if (r < 0)
                return r;
        cfb_signal_name(name, number);
        if (flags & CATCHES_NOT)
                return cfb_signal_refuse(-EINVAL, call, name,
                                         "no process can catch, ignore or hold back SIGKILL and SIGSTOP");
        if ((flags & FAULT) && message)
                return cfb_signal_refuse(-EINVAL, call, name,
                                         "a fault of the running instruction cannot wait to be received: use "
                                         "confab_signal_handle");
        if (number == cfb_nudge_signal())
                return cfb_signal_refuse(
                        -EBUSY, call, name,
                        "the library ends waits for locks and queues with this one: take another, or "
                        "take it before the first wait");
        return 0;
}

int confab_signal_describe(struct confab_signal *signal, int number) {
        int r;

        if (!signal || signal->size < sizeof(*signal))
                return cfb_failed_with(-EINVAL, "signal_describe", NULL, NULL, "signal->size is not set", 0,
                                       0);
        r = cfb_signal_check("signal_describe", number, 0);
        if (r < 0)
                return r;
        *signal = (struct confab_signal){.size = sizeof(*signal),
                                         .number = number,
                                         .flags = CONFAB_SIGNAL_QUEUED,
                                         .action = CONFAB_ACTION_TERMINATE,
                                         .comment = "free for programs, queued with a value"};
        if (is_standard(number)) {
                signal->flags = table[number].flags;
                signal->action = table[number].action;
                signal->comment = table[number].comment;
        }
        signal->action_name = action_names[signal->action];
        cfb_signal_name(signal->name, number);
        return 0;
}

/* --- names --- */

/* Decimal digits that are all of @text, at most 3 of them; -1: they are not. */
static int read_number(const char *text, size_t len) {
        int value = 0;

        if (len < 1 || len > 3)
                return -1;
        for (size_t i = 0; i < len; i++) {
                if (text[i] < '0' || text[i] > '9')
                        return -1;
                value = value * 10 + (text[i] - '0');
        }
        return value;
}

/* "RTMIN", "RTMIN+3", "RTMAX-1": the number, or -EINVAL. */
static int read_real_time(const char *text, size_t len) {
        bool from_max = strncasecmp(text, "RTMAX", 5) == 0;
        int number = from_max ? SIGRTMAX : SIGRTMIN, offset;

        if (len < 5 || (!from_max && strncasecmp(text, "RTMIN", 5) != 0))
                return -EINVAL;
        if (len == 5)
                return number;
        offset = read_number(text + 6, len - 6);
        if (offset < 0 || text[5] != (from_max ? '-' : '+'))
                return -EINVAL;
        number += from_max ? -offset : offset;
        return is_real_time(number) ? number : -EINVAL;
}

int cfb_signal_number_of(const char *text, size_t len) {
        int number = read_number(text, len);

        if (number >= 0)
                return number == 0 || is_standard(number) || is_real_time(number) ? number : -EINVAL;
        if (len > 3 && strncasecmp(text, "SIG", 3) == 0) {
                text += 3;
                len -= 3;
        }
        for (number = 1; number < (int)CFB_ARRAY_LEN(table); number++)
                if (is_standard(number) && strlen(table[number].name + 3) == len &&
                    strncasecmp(table[number].name + 3, text, len) == 0)
                        return number;
        for (size_t i = 0; i < CFB_ARRAY_LEN(aliases); i++)
                if (strlen(aliases[i].name) == len && strncasecmp(aliases[i].name, text, len) == 0)
                        return aliases[i].number;
        return read_real_time(text, len);
}

static size_t explain_name(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used,
                   "%s: there is no such signal; names look like INT, SIGINT, RTMIN+3, RTMAX-1, numbers are "
                   "1 to "
                   "31 and %d to %d: confab signal lists them",
                   failure->subject, SIGRTMIN, SIGRTMAX);
        return used;
}

int confab_signal_number(const char *name) {
        int number = name ? cfb_signal_number_of(name, strlen(name)) : -EINVAL;

        if (number < 0)
                return cfb_failed_with(-EINVAL, "signal_number", name ? name : "NULL", explain_name, NULL, 0,
                                       0);
        return number;
}

/* --- what came --- */

/* As waitpid has it. */
static int32_t child_status(int code, int status) {
        switch (code) {
        case CLD_EXITED:
                return (status & 0xFF) << 8;
        case CLD_DUMPED:
                return status | 0x80;
        case CLD_STOPPED:
        case CLD_TRAPPED:
                return status << 8 | 0x7F;
        case CLD_CONTINUED:
                return 0xFFFF;
        default:
                return status;
        }
}

/*
 * Only the kernel can send codes of 0 and more, and SI_TKILL; with any other code the whole siginfo is what the sender wrote. Which of
 * its fields mean anything depends on the code: they share their bytes.
 */
void cfb_signal_decode(struct confab_signal_received *received, const siginfo_t *info) {
        int code = info->si_code;

        *received = (struct confab_signal_received){.size = sizeof(*received), .number = info->si_signo};
        if (code < 0 && code != SI_TKILL)
                received->flags |= CONFAB_RECEIVED_CLAIMED;
        if (code == SI_QUEUE || code == SI_TIMER || code == SI_MESGQ || code == SI_ASYNCIO) {
                received->flags |= CONFAB_RECEIVED_VALUE;
                received->value = info->si_value.sival_int;
        }
        if (code == SI_USER || code == SI_TKILL || code == SI_QUEUE || code == SI_MESGQ ||
            (code > 0 && code != SI_KERNEL && info->si_signo == SIGCHLD)) {
                received->pid = (uint32_t)info->si_pid;
                received->uid = info->si_uid;
        }
        if (info->si_signo == SIGCHLD && code > 0 && code != SI_KERNEL) {
                received->flags |= CONFAB_RECEIVED_STATUS;
                received->status = child_status(code, info->si_status);
        }
}
