/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * confab lock FILE -- COMMAND: runs a command while it holds the lock of a file, or shows who holds it.
 *
 * The lock protects the command, so the command carries it too: it inherits the descriptor. While this process lives, it releases the
 * lock when the command ends, whatever the command left in the background; if this process is killed, the lock stays with the command.
 */
#include "columns.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { RANGES_MAX = 64, NOT_EXECUTABLE = 126, NOT_FOUND = 127 };

struct range {
        uint64_t start, last; /* last: UINT64_MAX: the end */
};

static const struct cli_option options[] = {
        {"range", 'R', "RANGE", "these bytes: 0-99, or 100- (to the end); several with commas", NULL},
        {"shared", 's', NULL, "together with others that say so, to read", NULL},
        {"deadline", 'd', "DURATION", "give up waiting after so long", NULL},
        {"create", 'c', NULL, "make the file if it is not there", NULL},
        {"follow", 'L', NULL, "FILE may be a symbolic link", NULL},
        {"show", 'S', NULL, "print who holds locks of FILE and who waits for one, and lock nothing", NULL},
        CLI_TABLE_OPTIONS,
        CLI_OPTIONS_END,
};

/* flock(1)'s, and those of COMMAND. */
static const struct cli_foreign foreign[] = {
        {"n nb nonblock", "--deadline 0 does not wait"},
        {"w wait", "--deadline 5s waits so long"},
        {"x e exclusive", "without --shared it is exclusive"},
        {"u unlock", "the lock ends when COMMAND does"},
        {"E conflict-exit-code", "a lock that was not to be had is told by the exit status 124"},
        {"", "what is COMMAND's stands behind --, as in confab lock FILE -- ls -l"},
        {0},
};

static const struct cli_column columns[] = {
        {"pid", "of the process; nothing: it may not be seen from here", CLI_NUMBER, 0},
        {"command", "what the process is called", CLI_TEXT, 0},
        {"mode", "shared or exclusive", CLI_TEXT, 0},
        {"kind", "description (confab's, F_OFD_SETLK), process (F_SETLK, lockf) or flock", CLI_TEXT, 0},
        {"first", "the first byte", CLI_NUMBER, 0},
        {"last", "the last byte; nothing: to the end of the file, however long it grows", CLI_NUMBER, 0},
        {"waits", "whether it does not have it yet", CLI_TRUTH, 0},
        {"seconds", "since it got it, or began to wait; nothing: unknown", CLI_NUMBER, 0},
        {0},
};

/* --- ranges --- */

static bool parse_byte(const char **textp, uint64_t *valuep) {
        char *end;

        if (**textp < '0' || **textp > '9')
                return false;
        errno = 0;
        *valuep = strtoull(*textp, &end, 10);
        *textp = end;
        return errno == 0 && *valuep <= INT64_MAX;
}

static bool parse_range(const char **textp, struct range *range) {
        if (!parse_byte(textp, &range->start))
                return false;
        range->last = range->start;
        if (**textp != '-')
                return true;
        ++*textp;
        range->last = UINT64_MAX;
        return **textp == ',' || **textp == '\0' ||
               (parse_byte(textp, &range->last) && range->last >= range->start);
}

static int compare(const void *a, const void *b) {
        const struct range *one = a, *other = b;

        return one->start < other->start ? -1 : one->start > other->start;
}

/*
 * In ascending order, those that overlap as one: so two of this command never wait for each other in a circle. Returns how many, or 0
 * after a complaint.
 */
static unsigned read_ranges(const struct cli_args *args, struct range ranges[RANGES_MAX]) {
        const char *text = cli_text(args, "range"), *at = text;
        unsigned n = 0, n_apart = 0;

        if (text == NULL) {
                ranges[0] = (struct range){0, UINT64_MAX};
                return 1;
        }
        do {
                if (n == RANGES_MAX) {
                        cli_usage(args, "--range: more than %d ranges", RANGES_MAX);
                        return 0;
                }
                if (!parse_range(&at, &ranges[n++]) || (*at != ',' && *at != '\0')) {
                        cli_usage(args,
                                  "--range: '%s' is not 'FIRST-LAST', as in 0-99 or 100-, at character %u",
                                  text, (unsigned)(at - text) + 1);
                        return 0;
                }
        } while (*at++ == ',');
        qsort(ranges, n, sizeof(ranges[0]), compare);
        for (unsigned i = 1; i < n; i++)
                if (ranges[n_apart].last >= ranges[i].start) {
                        if (ranges[i].last > ranges[n_apart].last)
                                ranges[n_apart].last = ranges[i].last;
                } else {
                        ranges[++n_apart] = ranges[i];
                }
        return n_apart + 1;
}

/* --- showing --- */

static int show_one(const struct confab_lock_holder *holder, void *data) {
        static const char *const kinds[] = {"?", "description", "process", "flock"};
        char pid[32], first[32], last[32], seconds[32];
        const char *cells[] = {
                holder->pid ? pid : NULL,
                holder->command[0] != '\0' ? holder->command : NULL,
                holder->mode == CONFAB_LOCK_SHARED ? "shared" : "exclusive",
                kinds[holder->kind <= CONFAB_LOCK_BY_FLOCK ? holder->kind : 0],
                first,
                holder->len ? last : NULL,
                holder->waits ? "yes" : "no",
                holder->since_ns ? seconds : NULL,
        };

        snprintf(pid, sizeof(pid), "%" PRId64, holder->pid);
        snprintf(first, sizeof(first), "%" PRIu64, holder->start);
        snprintf(last, sizeof(last), "%" PRIu64, holder->start + holder->len - 1);
        snprintf(seconds, sizeof(seconds), "%.3f", (double)(confab_now() - holder->since_ns) / 1e9);
        cli_table_add(data, cells);
        return 0;
}

static int show(const struct cli_args *args, confab_lock *lock) {
        struct cli_table *table;
        int r = cli_table_new(&table, args);

        if (r != 0)
                return r;
        r = confab_lock_holders(lock, show_one, table);
        if (r < 0) {
                cli_table_drop(table);
                return cli_failed(args, r);
        }
        cli_table_end(table);
        return CLI_DONE;
}

/* --- running --- */

/*
 * A signal for us is one for the command. What the terminal sends reaches it by itself, since it is in our group, and it decides what that
 * means: we wait. What was sent to us alone is handed on. Handlers, not SIG_IGN, which the command would inherit.
 */
static int wait_for_command(confab_job *job) {
        bool from_terminal;
        int number, r;

        cli_watch_job(job);
        while ((r = confab_job_wait(job, CONFAB_FOREVER)) == -EINTR)
                while ((number = cli_next_for_job(&from_terminal)) != 0)
                        if (!from_terminal)
                                confab_job_signal(job, number);
        cli_watch_job(NULL);
        return r;
}

static int run_command(const struct cli_args *args, confab_lock *lock) {
        int descriptor = confab_lock_descriptor(lock);
        struct confab_redirection kept = {
                .kind = CONFAB_REDIRECT_DESCRIPTOR, .descriptor = descriptor, .source = descriptor};
        struct confab_stage command = {.size = sizeof(command),
                                       .n_redirections = 1,
                                       .redirections = &kept,
                                       .argv = (const char *const *)args->operands + 1};
        uint32_t failed = 0;
        struct confab_job_options how = {
                .size = sizeof(how), .flags = CONFAB_JOB_SAME_GROUP, .failedp = &failed};
        confab_job *job;
        int r;

        signal(SIGCHLD, SIG_DFL); /* whoever ignores it loses the command's status too */
        cli_catch_for_job();
        if (cli_signalled() != 0) /* while we were the ones to end by it */
                return CLI_FAILED;
        r = confab_job_start(&job, &command, 1, &how);
        if (r < 0) {
                cli_failed(args, r);
                return failed == 0 ? CLI_FAILED : r == -ENOENT ? NOT_FOUND : NOT_EXECUTABLE;
        }
        r = wait_for_command(job);
        r = r < 0 ? cli_failed(args, r) : confab_job_result(job);
        confab_job_free(job);
        return r;
}

static int lock_and_run(const struct cli_args *args, confab_lock *lock, const struct range *ranges,
                        unsigned n_ranges, int64_t deadline_ns) {
        uint32_t mode = cli_given(args, "shared") ? CONFAB_LOCK_SHARED : CONFAB_LOCK_EXCLUSIVE;
        int r = 0;

        cli_watch_lock(lock);
        for (unsigned i = 0; r >= 0 && i < n_ranges; i++)
                r = confab_lock_acquire(
                        lock, mode, ranges[i].start,
                        ranges[i].last == UINT64_MAX ? 0 : ranges[i].last - ranges[i].start + 1, deadline_ns);
        cli_watch_lock(NULL);
        if (r < 0)
                return cli_failed(args, r);
        return run_command(args, lock);
}

static int run(struct cli_args *args) {
        struct confab_lock_options how = {.size = sizeof(how), .flags = CONFAB_LOCK_REOPEN};
        bool shows = cli_given(args, "show");
        int64_t deadline_ns = CONFAB_FOREVER;
        struct range ranges[RANGES_MAX];
        unsigned n_ranges;
        confab_lock *lock;
        int r;

        if (shows && args->n_operands > 1)
                return cli_usage(args, "--show runs no command");
        if (!shows && args->n_operands < 2)
                return cli_usage(args, "which command? confab lock FILE -- COMMAND, or --show");
        if (!shows && strcmp(args->operands[-1], "--") != 0) /* cp -s would have been our -s */
                return cli_usage(
                        args,
                        "put -- before the command, so that its options are its own: confab lock %s -- %s",
                        args->operands[0], args->operands[1]);
        if (shows && (cli_given(args, "range") || cli_given(args, "shared") || cli_given(args, "deadline") ||
                      cli_given(args, "create")))
                return cli_usage(
                        args,
                        "--show locks nothing: --range, --shared, --deadline and --create are for a command");
        if (!shows && (cli_given(args, "json") || cli_given(args, "raw") || cli_given(args, "output")))
                return cli_usage(args, "--json, --raw and --output are for --show");
        if ((n_ranges = read_ranges(args, ranges)) == 0 || cli_deadline(args, "deadline", &deadline_ns) != 0)
                return CLI_USAGE;
        how.flags |= (cli_given(args, "create") ? CONFAB_LOCK_CREATE : 0u) |
                     (cli_given(args, "follow") ? CONFAB_LOCK_FOLLOW : 0u);
        r = confab_lock_open(&lock, args->operands[0], &how);
        if (r < 0)
                return cli_failed(args, r);
        r = shows ? show(args, lock) : lock_and_run(args, lock, ranges, n_ranges, deadline_ns);
        confab_lock_close(lock);
        return r;
}

const struct cli_cmd cmd_lock = {
        .name = "lock",
        .summary = "Runs a command while it holds the lock of a file, or shows who holds it",
        .usage = "FILE [-- COMMAND [ARGUMENT...]]",
        .details = "Ends with the status of COMMAND, 128 + N where signal N killed it, 127 where it is not "
                   "found, "
                   "126 where it cannot\nbe run. The deadline is for the lock, not for COMMAND.",
        .options = options,
        .columns = columns,
        .foreign = foreign,
        .min_operands = 1,
        .max_operands = UINT_MAX,
        .run = run,
};
