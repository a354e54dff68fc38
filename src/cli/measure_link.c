/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Connecting two processes by any mechanism.
 *
 * Messages go from near to far, answers back. Where an endpoint is duplex and connected the answers come the same way; else
 * (simplex pipes, queues, datagrams) a second endpoint in the opposite direction carries them, because a mechanism that
 * only goes one way is always used in twos.
 *
 * Names are temporary: paths lie in a fresh folder, queues are called after our pid, ports are the kernel's choice. near runs
 * in a process group of its own, so that a mechanism that hangs is ended with all its processes; then the folder goes.
 */
#include "command.h"
#include "measure.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROOM_BEFORE = 16 };
#define START_PATIENCE_NS INT64_C(10000000000)

int measure_fail(struct measure_job *job, int r, const char *format, ...) {
        static _Thread_local char text[MEASURE_TEXT];
        va_list list;

        va_start(list, format);
        vsnprintf(text, sizeof(text), format, list);
        va_end(list);
        if (atomic_exchange(&job->failed, 1) == 0) {
                memcpy(job->error, text, sizeof(text));
                atomic_store(&job->failed, 2); /* the watcher reads error after seeing 2 */
        }
        return r < 0 ? r : -EIO;
}

int measure_fail_explained(struct measure_job *job, int64_t r, const char *what) {
        char text[MEASURE_TEXT - 64];

        confab_explain(text, sizeof(text));
        return measure_fail(job, (int)r, "%s: %s", what, text);
}

/* --- the job and its addresses --- */

int measure_job_new(struct measure_job **jobp) {
        const char *tmp = getenv("TMPDIR");
        char folder[sizeof(((struct measure_job *)0)->folder)], path[sizeof(folder) + 8];
        struct measure_job *job;
        int fd;

        snprintf(folder, sizeof(folder), "%s/confab-XXXXXX",
                 tmp && tmp[0] == '/' && strlen(tmp) < 80 ? tmp : "/tmp");
        if (!mkdtemp(folder))
                return -errno;
        snprintf(path, sizeof(path), "%s/job", folder);
        fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 || ftruncate(fd, sizeof(*job)) < 0)
                return -errno;
        job = mmap(NULL, sizeof(*job), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
        if (job == MAP_FAILED)
                return -errno;
        job->size = sizeof(*job);
        snprintf(job->folder, sizeof(job->folder), "%s", folder);
        snprintf(job->job_path, sizeof(job->job_path), "%s", path);
        if (readlink("/proc/self/exe", job->self, sizeof(job->self) - 1) < 0)
                return -errno;
        job->cpus[0] = job->cpus[1] = -1;
        *jobp = job;
        return 0;
}

static void empty_folder(const struct measure_job *job) {
        static const char *const names[] = {"job", "here", "back", "bare0", "bare1"};
        char path[sizeof(job->folder) + 16];

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
                snprintf(path, sizeof(path), "%s/%s", job->folder, names[i]);
                unlink(path);
        }
}

struct measure_job *measure_job_free(struct measure_job *job) {
        if (!job)
                return NULL;
        empty_folder(job);
        rmdir(job->folder);
        munmap(job, sizeof(*job));
        return NULL;
}

/* A fresh name for the connection @i of @scheme; its text stands between :// and ?. */
static void temporary_rest(const struct measure_job *job, int i, char *rest, size_t rest_cap) {
        static _Atomic unsigned number;
        const char *scheme = job->scheme;

        if (strcmp(scheme, "fifo") == 0 || strcmp(scheme, "unix") == 0)
                snprintf(rest, rest_cap, "%s/%s", job->folder, i ? "back" : "here");
        else if (strcmp(scheme, "tcp") == 0 || strcmp(scheme, "udp") == 0)
                snprintf(rest, rest_cap, "%s:0", strstr(job->label, "family=6") ? "[::1]" : "127.0.0.1");
        else if (strcmp(scheme, "mq") == 0 || strcmp(scheme, "shm") == 0)
                snprintf(rest, rest_cap, "%sconfab-bench-%d-%u", scheme[0] == 'm' ? "/" : "", getpid(),
                         atomic_fetch_add(&number, 1));
        else if (strcmp(scheme, "sysv") == 0)
                snprintf(rest, rest_cap, "0x%x",
                         0x0c000000u + (unsigned)getpid() % 0x400000u * 4u +
                                 atomic_fetch_add(&number, 1) % 4u);
        else
                rest[0] = '\0';
}

static enum measure_way way_of(const char *scheme) {
        return strcmp(scheme, "pipe") == 0    ? MEASURE_FORK_PAIR
               : strcmp(scheme, "exec") == 0  ? MEASURE_EXEC
               : strcmp(scheme, "fd") == 0    ? MEASURE_INHERIT
               : strcmp(scheme, "stdio") == 0 ? MEASURE_STDIO
                                              : MEASURE_FORK_NAMED;
}

/* What a user named stays as it is; the answers' way gets a name beside it. */
static void second_rest(const struct measure_job *job, const char *given, char *rest, size_t rest_cap) {
        const char *port = strrchr(given, ':');

        if (strcmp(job->scheme, "udp") == 0 && port)
                snprintf(rest, rest_cap, "%.*s:0", (int)(port - given), given);
        else if (strcmp(job->scheme, "sysv") == 0)
                temporary_rest(job, 1, rest, rest_cap);
        else
                snprintf(rest, rest_cap, "%.200s.back", given);
}

static void read_properties(struct measure_job *job) {
        const struct confab_properties *p = &job->properties;

        job->stream = p->boundaries == CONFAB_BOUNDARIES_STREAM;
        job->lossy = p->loss == CONFAB_LOSS_POSSIBLE;
        job->one_way = p->direction == CONFAB_DIRECTION_SIMPLEX || p->connection == CONFAB_CONNECTION_NONE;
}

int measure_job_for(struct measure_job *job, const char *address, bool frame) {
        const char *end = strstr(address, "://"), *query = strchr(address, '?');
        char rest[MEASURE_TEXT / 2], given[MEASURE_TEXT / 2];
        const char *probe;
        int r;

        job->order = (struct measure_order){0};
        memset(&job->near, 0, sizeof(job->near));
        memset(&job->far, 0, sizeof(job->far));
        atomic_store(&job->published[0], 0);
        atomic_store(&job->published[1], 0);
        atomic_store(&job->failed, 0);
        atomic_store(&job->progress, 0);
        job->error[0] = '\0';
        job->calls = (struct measure_calls){0};
        job->ratio = (struct measure_ratio){0};
        if (!end || (size_t)(end - address) >= sizeof(job->scheme) || strlen(address) >= sizeof(given))
                return measure_fail(job, -EINVAL, "%.200s: an address begins with scheme://", address);
        snprintf(job->scheme, sizeof(job->scheme), "%.*s", (int)(end - address), address);
        snprintf(job->label, sizeof(job->label), "%s", address);
        snprintf(given, sizeof(given), "%.*s", query ? (int)(query - end - 3) : (int)strlen(end + 3),
                 end + 3);
        job->way = way_of(job->scheme);
        if (job->way != MEASURE_FORK_NAMED && given[0])
                return measure_fail(job, -EINVAL,
                                    "%s: bench makes both ends of %s:// itself: give nothing after ://",
                                    address, job->scheme);
        for (int i = 0; i < 2; i++) {
                if (!given[0])
                        temporary_rest(job, i, rest, sizeof(rest));
                else if (i)
                        second_rest(job, given, rest, sizeof(rest));
                else
                        snprintf(rest, sizeof(rest), "%s", given);
                snprintf(job->address[i], sizeof(job->address[i]), "%s://%s%.200s", job->scheme, rest,
                         query ? query : "");
        }
        /* exec and fd want something after :// even to be asked what they promise */
        probe = job->way == MEASURE_EXEC      ? "exec://true"
                : job->way == MEASURE_INHERIT ? "unix://@probe" /* the descriptor is a socket */
                : job->way == MEASURE_STDIO   ? "pipe://?duplex"
                                              : job->address[0];
        job->properties.size = sizeof(job->properties);
        r = confab_properties(&job->properties, probe);
        if (r < 0)
                return measure_fail_explained(job, r, address);
        read_properties(job);
        if (frame && job->stream) {
                for (int i = 0; i < 2; i++) {
                        size_t len = strlen(job->address[i]);

                        snprintf(job->address[i] + len, sizeof(job->address[i]) - len, "%sframe=record",
                                 strchr(job->address[i], '?') ? "&" : "?");
                }
                job->stream = false;
        }
        return 0;
}

/* --- both processes --- */

void measure_pin(int cpu) {
        cpu_set_t set;

        if (cpu < 0)
                return;
        CPU_ZERO(&set);
        CPU_SET((unsigned)cpu, &set);
        sched_setaffinity(0, sizeof(set), &set);
}

/* Waits in naps until *@word is @value: before and after measuring, never during. */
int measure_await(struct measure_job *job, const _Atomic uint32_t *word, uint32_t value) {
        int64_t deadline = confab_now() + 20 * START_PATIENCE_NS;

        while (atomic_load(word) != value) {
                if (atomic_load(&job->failed))
                        return -EIO;
                if (confab_now() > deadline)
                        return measure_fail(job, -ETIMEDOUT, "%s: the other process does not answer",
                                            job->label);
                usleep(50);
        }
        return 0;
}

static int prepare_room(struct measure_job *job, struct measure_ends *ends) {
        enum { LARGEST = 16 * 1024 * 1024 };
        const size_t room_len = ROOM_BEFORE + LARGEST;
        unsigned char *memory;

        ends->room_len = LARGEST;
        memory = mmap(NULL, 2 * room_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED)
                return measure_fail(job, -ENOMEM, "no memory for messages");
        ends->room = memory + ROOM_BEFORE;
        ends->bare_room = memory + room_len + ROOM_BEFORE;
        return 0;
}

static void close_ends(struct measure_ends *ends) {
        if (ends->in != ends->out)
                confab_close(ends->in);
        confab_close(ends->out);
        confab_close(ends->listener);
        measure_bare_close(ends->bare);
}

static int listen_and_publish(struct measure_job *job, int i, confab_endpoint **endpointp) {
        int r = confab_listen(endpointp, job->address[i], NULL, CONFAB_FOREVER);

        if (r < 0)
                return measure_fail_explained(job, r, "listen");
        snprintf(job->address[i], sizeof(job->address[i]), "%s", confab_address(*endpointp));
        atomic_store(&job->published[i], 1);
        return 0;
}

static int open_published(struct measure_job *job, int i, confab_endpoint **endpointp) {
        int r = measure_await(job, &job->published[i], 1);

        if (r < 0)
                return r;
        r = confab_open(endpointp, job->address[i], NULL, confab_after(START_PATIENCE_NS));
        return r < 0 ? measure_fail_explained(job, r, "open") : 0;
}

static int open_far_named(struct measure_job *job, struct measure_ends *ends) {
        int r;

        if (job->one_way) {
                r = listen_and_publish(job, 0, &ends->in);
                return r < 0 ? r : open_published(job, 1, &ends->out);
        }
        r = listen_and_publish(job, 0, &ends->listener);
        if (r < 0)
                return r;
        r = confab_accept(&ends->in, ends->listener, confab_after(START_PATIENCE_NS));
        if (r < 0)
                return measure_fail_explained(job, r, "accept");
        ends->out = ends->in;
        return 0;
}

static int open_near_named(struct measure_job *job, struct measure_ends *ends) {
        int r = open_published(job, 0, &ends->out);

        if (r < 0)
                return r;
        if (job->one_way)
                return listen_and_publish(job, 1, &ends->in);
        ends->in = ends->out;
        return 0;
}

static const char *query_of(const struct measure_job *job) {
        const char *query = strchr(job->address[0], '?');

        return query ? query + 1 : "";
}

static int open_text(struct measure_job *job, confab_endpoint **endpointp, const char *address) {
        int r = confab_open(endpointp, address, NULL, confab_after(START_PATIENCE_NS));

        return r < 0 ? measure_fail_explained(job, r, "open") : 0;
}

/* fd:// and stdio://: descriptors @in and @out of ours become endpoints that own them. */
static int open_descriptors(struct measure_job *job, struct measure_ends *ends, int in, int out) {
        const char *query = query_of(job), *more = query[0] ? "&" : "";
        char address[MEASURE_TEXT + 64];
        int r;

        if (in == out) {
                snprintf(address, sizeof(address), "fd://%d?take%s%s", in, more, query);
                r = open_text(job, &ends->in, address);
                ends->out = ends->in;
                return r;
        }
        snprintf(address, sizeof(address), "fd://%d?take&direction=receive%s%s", in, more, query);
        r = open_text(job, &ends->in, address);
        if (r < 0)
                return r;
        snprintf(address, sizeof(address), "fd://%d?take&direction=send%s%s", out, more, query);
        return open_text(job, &ends->out, address);
}

static int open_far_started(struct measure_job *job, struct measure_ends *ends) {
        char address[MEASURE_TEXT];
        int r;

        if (job->way == MEASURE_INHERIT)
                return open_descriptors(job, ends, job->fds[1], job->fds[1]);
        snprintf(address, sizeof(address), "stdio://%s%s", query_of(job)[0] ? "?" : "", query_of(job));
        r = open_text(job, &ends->in, address);
        ends->out = ends->in;
        return r;
}

/* far's life, whichever way it was born. */
static int live_far(struct measure_job *job, struct measure_ends *ends) {
        int r = 0;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_NAME, "confab-far");
        measure_pin(job->cpus[1]);
        atomic_store(&job->far.pid, getpid());
        if (job->bare) {
                if (job->way != MEASURE_EXEC)
                        measure_bare_clean(job, false);
                r = measure_bare_open(&ends->bare, job, false);
        }
        if (r >= 0 && !ends->in)
                r = job->way == MEASURE_FORK_NAMED ? open_far_named(job, ends) : open_far_started(job, ends);
        if (r >= 0)
                r = prepare_room(job, ends);
        if (r >= 0) {
                atomic_store(&job->far.done, 1); /* round 0: ready */
                if (job->corpus)
                        r = measure_verify(job, ends);
                else
                        measure_obey(job, ends);
        }
        close_ends(ends);
        return r < 0 || atomic_load(&job->failed) ? 1 : 0;
}

int measure_far_end(const char *job_path) {
        struct measure_ends ends = {0};
        struct measure_job *job;
        struct stat status;
        int fd = open(job_path, O_RDWR | O_CLOEXEC);

        if (fd < 0 || fstat(fd, &status) < 0 || status.st_size != (off_t)sizeof(*job))
                return 1;
        job = mmap(NULL, sizeof(*job), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        close(fd);
        if (job == MAP_FAILED || job->size != sizeof(*job))
                return 1;
        return live_far(job, &ends);
}

/* --- near starts far --- */

static pid_t start_forked(struct measure_job *job, struct measure_ends *mine, struct measure_ends *theirs) {
        pid_t pid = fork();

        if (pid < 0)
                return measure_fail(job, -errno, "fork: %s", strerror(errno));
        if (pid)
                return pid;
        close_ends(mine);
        *mine = (struct measure_ends){0};
        _exit(live_far(job, theirs));
}

static int pair(struct measure_job *job, confab_endpoint *ends[2]) {
        int r = confab_pair(ends, job->address[0], NULL);

        return r < 0 ? measure_fail_explained(job, r, "pair") : 0;
}

static int start_paired(struct measure_job *job, struct measure_ends *ends, pid_t *pidp) {
        struct measure_ends theirs = {0};
        confab_endpoint *there[2], *back[2];
        int r = pair(job, there);

        if (r < 0)
                return r;
        if (job->properties.direction == CONFAB_DIRECTION_DUPLEX) {
                theirs.in = theirs.out = there[0];
                ends->in = ends->out = there[1];
        } else {
                r = pair(job, back);
                if (r < 0)
                        return r;
                theirs.in = there[0];
                ends->out = there[1];
                ends->in = back[0];
                theirs.out = back[1];
        }
        *pidp = start_forked(job, ends, &theirs);
        if (*pidp < 0)
                return *pidp;
        close_ends(&theirs);
        return 0;
}

static int start_named(struct measure_job *job, struct measure_ends *ends, pid_t *pidp) {
        struct measure_ends theirs = {0};

        *pidp = start_forked(job, ends, &theirs);
        return *pidp < 0 ? *pidp : open_near_named(job, ends);
}

static int start_exec(struct measure_job *job, struct measure_ends *ends) {
        static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/";
        const char *query = query_of(job);
        char command[2 * MEASURE_TEXT], address[6 * MEASURE_TEXT + 64];
        size_t n = 0;
        int r;

        snprintf(command, sizeof(command), "exec '%s' bench --far-end '%s'", job->self, job->job_path);
        n = (size_t)snprintf(address, sizeof(address), "exec://");
        for (const char *c = command; *c && n + 4 < sizeof(address); c++)
                n += (size_t)snprintf(address + n, sizeof(address) - n, strchr(plain, *c) ? "%c" : "%%%02X",
                                      (unsigned char)*c);
        snprintf(address + n, sizeof(address) - n, "%s%s", query[0] ? "?" : "", query);
        r = open_text(job, &ends->out, address);
        ends->in = ends->out;
        return r;
}

static void become_far(struct measure_job *job, int in, int out) {
        if (job->way == MEASURE_STDIO && (dup2(in, 0) < 0 || dup2(out, 1) < 0))
                _exit(1);
        execl(job->self, job->self, "bench", "--far-end", job->job_path, (char *)NULL);
        measure_fail(job, -errno, "%s: %s", job->self, strerror(errno));
        _exit(1);
}

static int start_inheriting(struct measure_job *job, struct measure_ends *ends, pid_t *pidp) {
        int there[2], back[2], pair_of[2], in, out, their_in, their_out;

        if (job->way == MEASURE_INHERIT) {
                if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair_of) < 0)
                        return measure_fail(job, -errno, "socketpair: %s", strerror(errno));
                in = out = pair_of[0];
                their_in = their_out = pair_of[1];
        } else {
                if (pipe(there) < 0 || pipe(back) < 0)
                        return measure_fail(job, -errno, "pipe: %s", strerror(errno));
                in = back[0];
                out = there[1];
                their_in = there[0];
                their_out = back[1];
        }
        job->fds[1] = their_in;
        *pidp = fork();
        if (*pidp < 0)
                return measure_fail(job, -errno, "fork: %s", strerror(errno));
        if (!*pidp) {
                close(in);
                if (out != in)
                        close(out);
                become_far(job, their_in, their_out);
        }
        close(their_in);
        if (their_out != their_in)
                close(their_out);
        return open_descriptors(job, ends, in, out);
}

static int start_far(struct measure_job *job, struct measure_ends *ends, pid_t *pidp) {
        switch (job->way) {
        case MEASURE_FORK_PAIR:
                return start_paired(job, ends, pidp);
        case MEASURE_FORK_NAMED:
                return start_named(job, ends, pidp);
        case MEASURE_EXEC:
                return start_exec(job, ends);
        default:
                return start_inheriting(job, ends, pidp);
        }
}

static int live_near(struct measure_job *job, measure_lead lead, void *data) {
        struct measure_ends ends = {0};
        pid_t far = 0;
        int r = 0, status;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_NAME, "confab-near");
        measure_pin(job->cpus[0]);
        atomic_store(&job->near.pid, getpid());
        if (job->bare) {
                r = measure_bare_make(job);
                if (r == MEASURE_NOT_HERE)
                        job->bare = false;
                else if (r == 0)
                        r = measure_bare_open(&ends.bare, job, true);
        }
        if (r >= 0)
                r = start_far(job, &ends, &far);
        if (r >= 0 && job->bare && job->way != MEASURE_EXEC)
                measure_bare_clean(job, true);
        if (r >= 0)
                r = measure_await(job, &job->far.done, 1);
        if (r >= 0 && job->bare && job->way == MEASURE_EXEC)
                measure_bare_clean(job, true); /* far has opened them by name */
        if (r >= 0)
                r = confab_endpoint_properties(&job->properties, ends.out);
        if (r >= 0)
                r = prepare_room(job, &ends);
        if (r >= 0)
                r = lead(job, &ends, data);
        if (r >= 0 && !job->corpus)
                measure_give_order(job, &(struct measure_order){.what = MEASURE_QUIT});
        if (r < 0)
                measure_fail(job, r, "%s: near failed: %s", job->label, strerror(-r));
        close_ends(&ends);
        if (far > 0)
                while (waitpid(far, &status, 0) < 0 && errno == EINTR)
                        ;
        return r < 0 ? 1 : 0;
}

/* --- the watcher --- */

static void end_group(pid_t near, int *statusp) {
        kill(-near, SIGKILL);
        kill(near, SIGKILL);
        while (waitpid(near, statusp, 0) < 0 && errno == EINTR)
                ;
}

static int watch(struct measure_job *job, pid_t near, int64_t deadline_ns,
                 void (*tick)(struct measure_job *, void *), void *data, int *statusp) {
        int64_t failed_at = 0;

        for (;;) {
                pid_t pid = waitpid(near, statusp, WNOHANG);

                if (pid == near)
                        return 0;
                if (pid < 0 && errno != EINTR)
                        return measure_fail(job, -errno, "waitpid: %s", strerror(errno));
                if (atomic_load(&job->failed) == 2 && !failed_at)
                        failed_at = confab_now();
                if ((failed_at && confab_now() - failed_at > START_PATIENCE_NS / 10) || cli_signalled() ||
                    confab_now() > deadline_ns) {
                        end_group(near, statusp);
                        return failed_at         ? -EIO
                               : cli_signalled() ? measure_fail(job, -EINTR, "%s: interrupted", job->label)
                                                 : measure_fail(job, -ETIMEDOUT, "%s: not finished in time",
                                                                job->label);
                }
                if (tick)
                        tick(job, data);
                usleep(50 * 1000);
        }
}

int measure_run(struct measure_job *job, measure_lead lead, void *data, int64_t limit_ns,
                void (*tick)(struct measure_job *job, void *data)) {
        int64_t deadline = confab_after(limit_ns);
        int status = 0, r;
        pid_t near;

        fflush(NULL);
        near = fork();
        if (near < 0)
                return measure_fail(job, -errno, "fork: %s", strerror(errno));
        if (!near) {
                setpgid(0, 0);
                if (job->traced && (ptrace(PTRACE_TRACEME, 0, 0, 0) < 0 || raise(SIGSTOP) != 0)) {
                        measure_fail(job, -errno, "ptrace is not allowed here: %s", strerror(errno));
                        _exit(1);
                }
                _exit(live_near(job, lead, data));
        }
        setpgid(near, near);
        r = job->traced ? measure_trace(job, near, deadline, &status)
                        : watch(job, near, deadline, tick, data, &status);
        measure_bare_remove(job);
        if (job->way == MEASURE_FORK_NAMED && (r < 0 || status))
                for (int i = 0; i < 2; i++)
                        confab_remove(job->address[i]); /* what the dead could not take away */
        if (r >= 0 && status && !atomic_load(&job->failed)) {
                if (WIFSIGNALED(status))
                        return measure_fail(job, -EIO, "%s: the near process died of signal %d", job->label,
                                            WTERMSIG(status));
                return measure_fail(job, -EIO, "%s: a process failed without a word", job->label);
        }
        return atomic_load(&job->failed) ? -EIO : r;
}
