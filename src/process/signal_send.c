/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Sending signals.
 *
 * To a process always by a pidfd: between opening it and the signal the process may end and its number be given to another, which then is not
 * hit. Between the moment the caller learned the number and the opening nobody can help; a parent that cares keeps the pidfd.
 *
 * Which call: pidfd_send_signal without a siginfo is kill(2), with one it is sigqueue(3). The kernel does two things that lose: a
 * real-time signal sent by kill merges silently where RLIMIT_SIGPENDING leaves no room (sigqueue says EAGAIN), and a standard signal
 * merges with one that waits already. The first is avoided by never sending a real-time signal to a process by kill; the second is what
 * standard signals are.
 *
 * The limit is the receiver's, the count all of its user's processes' together; the sender can read both in /proc/PID/status (SigQ) and has
 * nothing to wait on, hence naps.
 */
#include "process/signal_send.h"

#include "base/cancel.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/libc.h"
#include "base/signals.h"
#include "base/wake.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { NAP_FIRST_NS = 20 * 1000, NAP_LAST_NS = 5 * 1000 * 1000 };

/* --- failures in words --- */

/* What /proc/PID/status tells of a process. */
struct facts {
        char name[32];
        uint32_t uid;
        uint64_t n_pending,
                pending_max; /* signals that wait, of all processes of its user; RLIMIT_SIGPENDING */
};

static size_t read_file(const char *path, char *text, size_t text_cap) {
        CFB_CLEANUP(cfb_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, text, text_cap - 1);

        text[n > 0 ? n : 0] = '\0';
        return n > 0 ? (size_t)n : 0;
}

static bool look_at(struct facts *facts, int32_t pid) {
        char path[32], text[4096];
        const char *uid, *pending;

        snprintf(path, sizeof(path), "/proc/%" PRId32 "/status", pid);
        *facts = (struct facts){.name = ""};
        if (!read_file(path, text, sizeof(text)))
                return false;
        uid = strstr(text, "\nUid:");
        pending = strstr(text, "\nSigQ:");
        return sscanf(text, "Name:\t%31[^\n]", facts->name) == 1 && uid && pending &&
               sscanf(uid, "\nUid: %" SCNu32, &facts->uid) == 1 &&
               sscanf(pending, "\nSigQ: %" SCNu64 "/%" SCNu64, &facts->n_pending, &facts->pending_max) == 2;
}

static void append_subject(const struct cfb_failure *failure, char *text, size_t text_cap, size_t *used) {
        if (text_cap)
                text[0] = '\0';
        if (failure->subject[0])
                cfb_append(text, text_cap, used, "%s: ", failure->subject);
        cfb_append(text, text_cap, used, "%s: ", failure->call);
}

/* a: the pid, or the group's number negative. */
static size_t explain_gone(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        append_subject(failure, text, text_cap, &used);
        if (failure->a < 0)
                cfb_append(text, text_cap, &used,
                           "ESRCH: there is no process group %" PRId64 "; ps -eo pgid,pid,args lists them",
                           -failure->a);
        else if (failure->a)
                cfb_append(text, text_cap, &used,
                           "ESRCH: there is no process %" PRId64 " (any more); ps -e lists them", failure->a);
        else
                cfb_append(text, text_cap, &used, "ESRCH: the process has ended and was waited for");
        return used;
}

static size_t explain_not_ours(const struct cfb_failure *failure, char *text, size_t text_cap) {
        struct facts facts;
        size_t used = 0;

        append_subject(failure, text, text_cap, &used);
        if (failure->a < 0)
                cfb_append(text, text_cap, &used,
                           "EPERM: no member of the process group %" PRId64 " may be signalled by you",
                           -failure->a);
        else if (failure->a && look_at(&facts, (int32_t)failure->a))
                cfb_append(text, text_cap, &used, "EPERM: process %" PRId64 " (%s) belongs to user %" PRIu32,
                           failure->a, facts.name, facts.uid);
        else
                cfb_append(text, text_cap, &used, "EPERM: the process belongs to somebody else");
        cfb_append(text, text_cap, &used,
                   ", you are user %u: its user and root may signal it (SIGCONT: everybody in its session)",
                   (unsigned)geteuid());
        return used;
}

static size_t explain_full(const struct cfb_failure *failure, char *text, size_t text_cap) {
        struct facts facts;
        size_t used = 0;

        append_subject(failure, text, text_cap, &used);
        cfb_append(text, text_cap, &used, "%s: the receiver's RLIMIT_SIGPENDING is reached: ",
                   failure->error == -ETIMEDOUT ? "the deadline passed" : "EAGAIN");
        if (failure->a > 0 && look_at(&facts, (int32_t)failure->a))
                cfb_append(text, text_cap, &used,
                           "%" PRIu64 " signals of at most %" PRIu64
                           " wait in the processes of user %" PRIu32,
                           facts.n_pending, facts.pending_max, facts.uid);
        else
                cfb_append(text, text_cap, &used, "too many signals wait in the processes of its user");
        cfb_append(text, text_cap, &used,
                   "; see whether it still receives, or raise the limit (ulimit -i) before it starts");
        return used;
}

int cfb_signal_failed(int error, const char *call, const char *subject, int32_t pid) {
        cfb_explainer *explain = error == -ESRCH || error == -ENOENT || error == -EPIPE ? explain_gone
                                 : error == -EPERM                                      ? explain_not_ours
                                 : error == -EAGAIN || error == -ETIMEDOUT              ? explain_full
                                                                                        : NULL;

        return cfb_failed_with(error, call, subject, explain, NULL, pid, 0);
}

bool cfb_signal_has_room(int32_t pid) {
        struct facts facts;

        return !look_at(&facts, pid) || facts.n_pending < facts.pending_max;
}

/* --- single steps --- */

int cfb_signal_open(const char *call, const char *subject, int32_t pid) {
        int fd = (int)syscall(SYS_pidfd_open, pid, 0);

        if (fd >= 0)
                return fd;
        /* ENOENT: Linux 6.15 */
        if (errno == EINVAL || errno == ENOENT)
                return cfb_signal_refuse(
                        -EINVAL, call, subject,
                        "this is the number of a thread, not of a process: ps -eL shows whose");
        return cfb_signal_failed(-errno, call, subject, pid);
}

int cfb_signal_step(int pidfd, int number, const int32_t *value) {
        siginfo_t info;

        if (!value && number < SIGRTMIN)
                return syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0) < 0 ? -errno : 0;
        memset(&info, 0, sizeof(info)); /* its padding goes to another process */
        info.si_signo = number;
        info.si_code = SI_QUEUE;
        info.si_pid = getpid();
        info.si_uid = getuid();
        info.si_value.sival_int = value ? *value : 0;
        return syscall(SYS_pidfd_send_signal, pidfd, number, &info, 0) < 0 ? -errno : 0;
}

int cfb_signal_group_step(int32_t group, int number) {
        return kill(-group, number) < 0 ? -errno : 0;
}

int32_t cfb_signal_pid_of(int pidfd) {
        char path[48], text[1024];
        const char *line;
        int32_t pid = 0;

        snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
        read_file(path, text, sizeof(text));
        line = strstr(text, "\nPid:");
        return line && sscanf(line, "\nPid: %" SCNd32, &pid) == 1 && pid > 0 ? pid : 0;
}

/* --- what programs call --- */

/* The step until there is room or @deadline_ns passes: -EAGAIN with CONFAB_NOW, else -ETIMEDOUT. */
static int send_until(int pidfd, int number, const int32_t *value, int64_t deadline_ns) {
        int64_t nap_ns = NAP_FIRST_NS;
        int r;

        while ((r = cfb_signal_step(pidfd, number, value)) == -EAGAIN && deadline_ns > CONFAB_NOW) {
                int64_t until_ns = confab_after(nap_ns);

                if (confab_now() >= deadline_ns)
                        return -ETIMEDOUT;
                cfb_poll(NULL, 0,
                         until_ns < deadline_ns ? until_ns : deadline_ns); /* a signal may end it early */
                if (nap_ns < NAP_LAST_NS)
                        nap_ns *= 2;
        }
        return r;
}

int confab_signal_send_pidfd(int pidfd, int number, const int32_t *value, int64_t deadline_ns) {
        CFB_UNCANCELLED;
        int r = cfb_signal_check("signal_send_pidfd", number, 1);

        if (r < 0)
                return r;
        r = send_until(pidfd, number, value, deadline_ns);
        if (r == -EINVAL)
                return cfb_signal_refuse(
                        -EINVAL, "signal_send_pidfd", "the process behind the pidfd",
                        "it is in a namespace of processes that cannot be signalled from this one");
        return r < 0 ? cfb_signal_failed(r, "signal_send_pidfd", NULL, cfb_signal_pid_of(pidfd)) : 0;
}

static int refuse_target(const char *call, const char *what, int32_t target, const char *why) {
        char subject[32];

        snprintf(subject, sizeof(subject), "%s %" PRId32, what, target);
        return cfb_signal_refuse(-EINVAL, call, subject, why);
}

int confab_signal_send(int32_t pid, int number, const int32_t *value, int64_t deadline_ns) {
        CFB_UNCANCELLED;
        CFB_CLEANUP(cfb_closep) int fd = -1;
        char subject[32];
        int r = cfb_signal_check("signal_send", number, 1);

        if (r < 0)
                return r;
        if (pid <= 0)
                return refuse_target(
                        "signal_send", "process", pid,
                        "a process has a number above 0; confab_signal_send_group sends to groups");
        snprintf(subject, sizeof(subject), "process %" PRId32, pid);
        fd = cfb_signal_open("signal_send", subject, pid);
        if (fd < 0)
                return fd;
        r = send_until(fd, number, value, deadline_ns);
        return r < 0 ? cfb_signal_failed(r, "signal_send", subject, pid) : 0;
}

int confab_signal_send_group(int32_t group, int number) {
        CFB_UNCANCELLED;
        char subject[32];
        int r = cfb_signal_check("signal_send_group", number, 1);

        if (r < 0)
                return r;
        if (group <= 1)
                return refuse_target("signal_send_group", "group", group,
                                     group == 1 ? "the kernel would take it for every process there is"
                                     : group    ? "a group's number is above 1, without a sign"
                                                : "it would be your own group: say getpgrp()");
        snprintf(subject, sizeof(subject), "process group %" PRId32, group);
        r = cfb_signal_group_step(group, number);
        return r < 0 ? cfb_signal_failed(r, "signal_send_group", subject, -group) : 0;
}
