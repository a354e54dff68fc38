/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * The test runner.
 *
 * Model: main forks N workers (--jobs); a worker takes one test after another (a shared counter), forks it, and is the reaper of all
 * its descendants (PR_SET_CHILD_SUBREAPER), so a process that a test leaves behind becomes the worker's child and is found.
 *
 * Leaks of system-wide names are found by comparing lists from before and after. Other people's tests must not be seen in them, so a
 * worker takes IPC and mount namespaces of its own, with an empty /dev/shm, where it may (root); where it may not, what is new must
 * be ours (same user) and still be there two seconds later. Descriptors are compared inside the test's own process.
 *
 * Options: [--list] [--only PATTERN] [--jobs N] [--verbose]; environment: HARNESS_TIMEOUT_SCALE (a factor, for sanitizers and
 * emulators), HARNESS_SHARE=1 (no namespaces), HARNESS_ROW and HARNESS_SKIPS (see is_skipped),
 * HARNESS_STORM_HZ (storm.h). Ends in the line "N passed, N failed, N skipped".
 */
#include "harness.h"
#include "storm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_SKIP = 77, NAMES_CAP = 16384, REASON_CAP = 480, SETTLE_MS = 2000 };

/* From the library, where the test links it. */
#pragma weak confab_explain
size_t confab_explain(char *text, size_t text_cap);

/* What a test tells its worker; in shared memory, so that it survives the test's death and reaches it from forked children. */
struct verdict {
        _Atomic int n_failures;
        char reason[REASON_CAP];
};

/* What all workers share. */
struct board {
        _Atomic unsigned next, n_passed, n_failed, n_skipped;
        struct verdict verdicts[]; /* one a worker */
};

static struct harness_test *first_test, **last_test = &first_test;
static struct verdict *verdict; /* the running test's */
static char program_name[100];  /* without folder and "_test", as Meson's test is called */
static bool reaper;             /* what a test leaves behind becomes our child */
static bool verbose;
static double timeout_scale = 1;

void harness_add(struct harness_test *test) {
        *last_test = test;
        last_test = &test->next;
}

static int64_t now_ms(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void nap_ms(int64_t ms) {
        struct timespec left = {(time_t)(ms / 1000), (long)(ms % 1000 * 1000000)};

        while (nanosleep(&left, &left) < 0 && errno == EINTR)
                ;
}

/* ---- failing ---- */

/* The first reason stays: it is the one to look at. */
__attribute__((format(printf, 1, 2))) static void note(const char *format, ...) {
        va_list arguments;

        if (atomic_fetch_add(&verdict->n_failures, 1))
                return;
        va_start(arguments, format);
        vsnprintf(verdict->reason, sizeof(verdict->reason), format, arguments);
        va_end(arguments);
}

__attribute__((format(printf, 3, 4))) static _Noreturn void fail_at(const char *file, int line,
                                                                    const char *format, ...) {
        char text[REASON_CAP];
        const char *base = strrchr(file, '/');
        va_list arguments;

        va_start(arguments, format);
        vsnprintf(text, sizeof(text), format, arguments);
        va_end(arguments);
        note("%s:%d: %s", base ? base + 1 : file, line, text);
        fflush(NULL);
        dprintf(STDERR_FILENO, "%s:%d: %s\n", file, line, text);
        _exit(1);
}

_Noreturn void harness_failed(const char *text, const char *file, int line) {
        fail_at(file, line, "%s failed", text);
}

void harness_check_eq(intmax_t a, intmax_t b, const char *a_text, const char *b_text, const char *file,
                      int line) {
        if (a != b)
                fail_at(file, line, "%s is %jd, not %s (%jd)", a_text, a, b_text, b);
}

void harness_check_str(const char *a, const char *b, const char *a_text, const char *b_text, const char *file,
                       int line) {
        if (a == b || (a && b && strcmp(a, b) == 0))
                return;
        fail_at(file, line, "%s is \"%s\", not %s (\"%s\")", a_text, a ? a : "(null)", b_text,
                b ? b : "(null)");
}

void harness_check_mem(const void *a, const void *b, size_t len, const char *a_text, const char *b_text,
                       const char *file, int line) {
        const unsigned char *x = a, *y = b;

        for (size_t i = 0; i < len; i++)
                if (x[i] != y[i])
                        fail_at(file, line, "%s differs from %s at byte %zu of %zu: %02x, not %02x", a_text,
                                b_text, i, len, x[i], y[i]);
}

const struct harness_test *harness_current;

int64_t harness_time_limit_ns(void) {
        return (int64_t)(harness_current->timeout_s * timeout_scale * 1e9);
}

intmax_t harness_check_ok(intmax_t result, const char *text, const char *file, int line) {
        char sentence[300] = "";

        if (result >= 0)
                return result;
        if (confab_explain)
                confab_explain(sentence, sizeof(sentence));
        fail_at(file, line, "%s is %jd (%s): %s", text, result, strerror((int)-result), sentence);
}

_Noreturn void harness_skip(const char *reason) {
        snprintf(verdict->reason, sizeof(verdict->reason), "%s", reason);
        fflush(NULL);
        _exit(EXIT_SKIP);
}

/* ---- what a test leaves behind ---- */

/* A list of names, each on a line, so that "is it in there" is a search for "\nname\n". Too long a list is cut: better than malloc here. */
struct names {
        size_t len;
        char text[NAMES_CAP];
};

static void names_add(struct names *names, const char *kind, const char *name) {
        int n;

        if (names->len == 0)
                names->text[names->len++] = '\n';
        n = snprintf(names->text + names->len, sizeof(names->text) - names->len, "%s %s\n", kind, name);
        if (n > 0 && (size_t)n < sizeof(names->text) - names->len)
                names->len += (size_t)n;
        names->text[names->len] = '\0';
}

static bool names_has(const struct names *names, const char *line, size_t line_len) {
        char wanted[400];

        snprintf(wanted, sizeof(wanted), "\n%.*s\n", (int)line_len, line);
        return names->len && strstr(names->text, wanted);
}

static void names_of_folder(struct names *names, const char *kind, const char *folder) {
        DIR *dir = opendir(folder);
        struct dirent *entry;
        struct stat status;

        while (dir && (entry = readdir(dir)))
                if (entry->d_name[0] != '.' &&
                    fstatat(dirfd(dir), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
                    status.st_uid == geteuid())
                        names_add(names, kind, entry->d_name);
        if (dir)
                closedir(dir);
}

/* /proc/sysvipc/msg, sem, shm: a header, then lines that begin with key and id; the owner is found by name in the header. */
static void names_of_sysv(struct names *names, const char *kind, const char *path) {
        FILE *file = fopen(path, "re");
        char line[400], name[40];
        int uid_column = -1;

        while (file && fgets(line, sizeof(line), file)) {
                int column = 0;
                char *rest = NULL, *key = NULL, *id = NULL, *uid = NULL;

                for (char *word = strtok_r(line, " \n", &rest); word;
                     word = strtok_r(NULL, " \n", &rest), column++) {
                        if (strcmp(word, "uid") == 0)
                                uid_column = column;
                        key = column == 0 ? word : key;
                        id = column == 1 ? word : id;
                        uid = column == uid_column ? word : uid;
                }
                if (!id || !uid || strcmp(uid, "uid") == 0 || strtoul(uid, NULL, 10) != geteuid())
                        continue;
                snprintf(name, sizeof(name), "id %s, key %s", id, key);
                names_add(names, kind, name);
        }
        if (file)
                fclose(file);
}

static char mqueue_folder[80] = "/dev/mqueue";

static void names_of_system(struct names *names) {
        names->len = 0;
        names->text[0] = '\0';
        names_of_folder(names, "POSIX queue", mqueue_folder);
        names_of_folder(names, "file in /dev/shm:", "/dev/shm");
        names_of_sysv(names, "System V queue", "/proc/sysvipc/msg");
        names_of_sysv(names, "System V semaphore set", "/proc/sysvipc/sem");
        names_of_sysv(names, "System V segment", "/proc/sysvipc/shm");
}

/* The first line of @after that is not in @before, in @line; false if there is none. */
static bool names_new(const struct names *before, const struct names *after, char *line, size_t line_cap) {
        const char *at = after->len ? after->text + 1 : "", *end;

        for (; (end = strchr(at, '\n')); at = end + 1)
                if (!names_has(before, at, (size_t)(end - at))) {
                        snprintf(line, line_cap, "%.*s", (int)(end - at), at);
                        return true;
                }
        return false;
}

static void names_of_descriptors(struct names *names) {
        DIR *dir = opendir("/proc/self/fd");
        struct dirent *entry;
        char target[200], name[240];
        ssize_t n;

        names->len = 0;
        names->text[0] = '\0';
        while (dir && (entry = readdir(dir))) {
                int fd = atoi(entry->d_name);

                if (entry->d_name[0] == '.' || fd == dirfd(dir))
                        continue;
                n = readlinkat(dirfd(dir), entry->d_name, target, sizeof(target) - 1);
                if (n < 0)
                        continue;
                target[n] = '\0';
                /* a test may put something else in a standard stream's place */
                if (fd <= STDERR_FILENO)
                        snprintf(name, sizeof(name), "%d", fd);
                else
                        snprintf(name, sizeof(name), "%d (%s)", fd, target);
                names_add(names, "descriptor", name);
        }
        if (dir)
                closedir(dir);
}

static void command_of(pid_t pid, char *text, size_t text_cap) {
        char path[40];
        ssize_t n = -1;
        int fd;

        snprintf(path, sizeof(path), "/proc/%d/comm", pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
                n = read(fd, text, text_cap - 1);
                close(fd);
        }
        text[n > 0 ? n - 1 : 0] = '\0';
}

static const char *special_file; /* what look_at found */
static char special_name[160];

static int look_at(const char *path, const struct stat *status, int kind, struct FTW *where) {
        (void)kind;
        if (S_ISSOCK(status->st_mode) || S_ISFIFO(status->st_mode)) {
                special_file = S_ISSOCK(status->st_mode) ? "socket file" : "FIFO";
                snprintf(special_name, sizeof(special_name), "%s", path + where->base);
        }
        return 0;
}

static int remove_at(const char *path, const struct stat *status, int kind, struct FTW *where) {
        (void)status, (void)where;
        if (kind == FTW_DNR && chmod(path, 0700) == 0)
                nftw(path, remove_at, 16, FTW_DEPTH | FTW_PHYS);
        remove(path);
        return 0;
}

/* ---- the test's process ---- */

static _Noreturn void be_the_test(const struct harness_test *test, const char *folder, int output) {
        static struct names before, after;
        char line[300], command[40] = "";
        siginfo_t child = {0};
        sigset_t none;
        int null = open("/dev/null", O_RDONLY);

        setpgid(0, 0);
        prctl(PR_SET_CHILD_SUBREAPER, 0L, 0L, 0L, 0L);
        prctl(PR_SET_DUMPABLE, 1L, 0L, 0L, 0L);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGPIPE, SIG_DFL);
        dup2(null, STDIN_FILENO);
        dup2(output, STDOUT_FILENO);
        dup2(output, STDERR_FILENO);
        close(null);
        close(output);
        if (chdir(folder) < 0)
                harness_failed("chdir to the temporary directory", __FILE__, __LINE__);

        names_of_descriptors(&before);
        harness_current = test;
        storm_begin();
        test->run();
        storm_end();
        fflush(NULL);
        names_of_descriptors(&after);

        if (names_new(&before, &after, line, sizeof(line)))
                note("left open: %s", line);
        if (waitid(P_ALL, 0, &child, WEXITED | WNOHANG | WNOWAIT) == 0) {
                if (child.si_pid)
                        note("left behind: child %d, which has ended and was not waited for", child.si_pid);
                else
                        note("left behind: a child that still runs");
        }
        command_of(getpid(), command, sizeof(command));
        exit(atomic_load(&verdict->n_failures) ? 1 : 0); /* not _exit: LeakSanitizer looks then */
}

/* ---- tests that cannot run here ---- */

/*
 * Emulators lack what the test is about. HARNESS_ROW names the row of the matrix that runs, HARNESS_SKIPS the file
 * tests/allowed-skips: where one of its lines says "emulator: ..." for this test, the test is skipped with those words.
 */
static bool is_skipped(const struct harness_test *test, const char *program, char *reason,
                       size_t reason_cap) {
        const char *row = getenv("HARNESS_ROW"), *path = getenv("HARNESS_SKIPS");
        FILE *file = row && path ? fopen(path, "re") : NULL;
        char line[400], row_pattern[64], test_pattern[200], name[200];
        int words_at;
        bool found = false;

        snprintf(name, sizeof(name), "%s/%s", program, test->name);
        while (file && !found && fgets(line, sizeof(line), file)) {
                words_at = 0;
                if (line[0] == '#' || sscanf(line, "%63s %199s %n", row_pattern, test_pattern, &words_at) < 2)
                        continue;
                found = words_at && strncmp(line + words_at, "emulator: ", 10) == 0 &&
                        fnmatch(row_pattern, row, 0) == 0 && fnmatch(test_pattern, name, 0) == 0;
                if (found)
                        snprintf(reason, reason_cap, "%.*s", (int)strcspn(line + words_at, "\n"),
                                 line + words_at);
        }
        if (file)
                fclose(file);
        return found;
}

/* ---- the worker ---- */

/* Kills what has become our child, and their children as those come to us; the first one's name in @text. How many there were. */
static int kill_orphans(char *text, size_t text_cap, int grace_ms) {
        int n_killed = 0;
        int64_t patience = now_ms() + grace_ms;

        for (;;) {
                siginfo_t ended = {0};
                char path[64], list[512], command[40];
                ssize_t n = 0;
                int fd;

                if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG) < 0)
                        return n_killed; /* ECHILD: all gone */
                if (ended.si_pid)
                        continue;
                if (now_ms() < patience) {
                        nap_ms(1);
                        continue;
                }
                snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
                fd = open(path, O_RDONLY | O_CLOEXEC);
                if (fd >= 0) {
                        n = read(fd, list, sizeof(list) - 1);
                        close(fd);
                }
                list[n > 0 ? n : 0] = '\0';
                for (char *at = list, *end; *at; at = end) {
                        pid_t pid = (pid_t)strtol(at, &end, 10);

                        if (end == at)
                                break;
                        if (n_killed++ == 0) {
                                command_of(pid, command, sizeof(command));
                                snprintf(text, text_cap, "process %d (%s)", pid, command);
                        }
                        kill(pid, SIGKILL);
                        while (*end == ' ')
                                end++;
                }
                if (n <= 0)
                        return n_killed; /* this kernel does not list children */
                nap_ms(1);
        }
}

/* Waits for @pid until its time is over, then kills its group. Its status as waitpid has it. */
static int wait_for(pid_t pid, int timeout_ms, bool *timed_outp) {
        int64_t deadline = now_ms() + timeout_ms;
        sigset_t child_ended;
        int status = 0;

        sigemptyset(&child_ended);
        sigaddset(&child_ended, SIGCHLD);
        while (waitpid(pid, &status, WNOHANG) == 0) {
                int64_t left = deadline - now_ms();

                if (left <= 0 && !*timed_outp) {
                        *timed_outp = true;
                        kill(-pid, SIGKILL);
                        kill(pid, SIGKILL); /* it may not have made its group yet */
                }
                left = left <= 0 ? 100 : left;
                sigtimedwait(&child_ended, NULL, &(struct timespec){left / 1000, left % 1000 * 1000000});
        }
        return status;
}

static void find_leaks(const struct names *before, const char *folder, bool private) {
        static struct names after;
        char line[300];
        int64_t patience = now_ms() + (private ? 0 : SETTLE_MS);

        for (;;) {
                names_of_system(&after);
                if (!names_new(before, &after, line, sizeof(line)))
                        break;
                if (now_ms() >= patience) {
                        note("left behind: %s", line);
                        break;
                }
                nap_ms(20);
        }
        special_file = NULL;
        nftw(folder, look_at, 16, FTW_PHYS);
        if (special_file)
                note("left behind: %s %s", special_file, special_name);
        nftw(folder, remove_at, 16, FTW_DEPTH | FTW_PHYS);
}

static void show_output(int output) {
        char text[16384];
        off_t size = lseek(output, 0, SEEK_END);
        ssize_t n;

        if (size > (off_t)sizeof(text)) /* its end says what went wrong */
                printf("  | (%jd bytes before this)\n", (intmax_t)(size - (off_t)sizeof(text)));
        n = pread(output, text, sizeof(text), size > (off_t)sizeof(text) ? size - (off_t)sizeof(text) : 0);
        for (char *at = text, *end; n > 0 && at < text + n; at = end + 1) {
                end = memchr(at, '\n', (size_t)(text + n - at));
                if (!end)
                        end = text + n;
                printf("  | %.*s\n", (int)(end - at), at);
        }
}

static void run_test(const struct harness_test *test, struct board *board, const char *temporary,
                     bool private) {
        static struct names before;
        char skip_reason[300];
        char folder[120], orphan[80] = "";
        int output = memfd_create("output", MFD_CLOEXEC), status;
        int64_t start = now_ms();
        bool timed_out = false, skipped;
        pid_t pid;

        if (is_skipped(test, program_name, skip_reason, sizeof(skip_reason))) {
                atomic_fetch_add(&board->n_skipped, 1);
                printf("skip %s: %s\n", test->name, skip_reason);
                return;
        }
        snprintf(folder, sizeof(folder), "%s/t", temporary);
        memset(verdict, 0, sizeof(*verdict));
        names_of_system(&before);
        if (output < 0 || mkdir(folder, 0700) < 0)
                note("no output file or temporary directory: %s", strerror(errno));
        fflush(NULL);
        pid = fork();
        if (pid == 0)
                be_the_test(test, folder, output);
        status = wait_for(pid, (int)(test->timeout_s * 1000 * timeout_scale), &timed_out);
        skipped = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SKIP && !atomic_load(&verdict->n_failures);
        if (timed_out)
                note("timed out after %g s", test->timeout_s * timeout_scale);
        else if (WIFSIGNALED(status))
                note("killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
        else if (WEXITSTATUS(status) && !skipped && !atomic_load(&verdict->n_failures))
                note("exit status %d", WEXITSTATUS(status));
        if (!reaper)
                kill(-pid,
                     SIGKILL); /* an emulator without PR_SET_CHILD_SUBREAPER: at least the test's own group goes */
        if (kill_orphans(orphan, sizeof(orphan), timed_out ? 0 : 300) && !timed_out)
                note("left behind: %s", orphan);
        find_leaks(&before, folder, private);

        if (atomic_load(&verdict->n_failures)) {
                atomic_fetch_add(&board->n_failed, 1);
                printf("FAIL %s: %s\n", test->name, verdict->reason);
        } else if (skipped) {
                atomic_fetch_add(&board->n_skipped, 1);
                printf("skip %s: %s\n", test->name, verdict->reason);
        } else {
                atomic_fetch_add(&board->n_passed, 1);
                printf("ok %s (%jd ms)\n", test->name, (intmax_t)(now_ms() - start));
        }
        if (verbose || atomic_load(&verdict->n_failures))
                show_output(output);
        fflush(stdout);
        if (output >= 0)
                close(output);
}

/* IPC and mount namespaces of our own, with an empty /dev/shm: nobody else's objects come and go in the lists. */
static bool go_private(const char *temporary) {
        char folder[sizeof(mqueue_folder)];

        if (getenv("HARNESS_SHARE") || unshare(CLONE_NEWIPC | CLONE_NEWNS) < 0)
                return false;
        /* In a chroot "/" is no mount point; what counts is that our mounts do not travel back. */
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                mount(NULL, "/dev/shm", NULL, MS_REC | MS_PRIVATE, NULL);
        if (mount("confab-test", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777") < 0)
                return false;
        snprintf(folder, sizeof(folder), "%s/mqueue", temporary);
        if (mkdir(folder, 0700) == 0 && mount("confab-test", folder, "mqueue", 0, NULL) == 0)
                memcpy(mqueue_folder, folder, sizeof(folder));
        return true;
}

static _Noreturn void be_a_worker(struct board *board, const char *only) {
        const char *parent = getenv("TMPDIR");
        char temporary[64];
        const struct harness_test *test = first_test;
        sigset_t child_ended;
        bool private;

        snprintf(temporary, sizeof(temporary), "%.40s/confab-XXXXXX",
                 parent && strlen(parent) < 40 ? parent : "/tmp");
        if (!mkdtemp(temporary)) {
                fprintf(stderr, "harness: %s: %s\n", temporary, strerror(errno));
                _exit(1);
        }
        prctl(PR_SET_PDEATHSIG, (long)SIGKILL, 0L, 0L, 0L);
        reaper = prctl(PR_SET_CHILD_SUBREAPER, 1L, 0L, 0L, 0L) == 0;
        sigemptyset(&child_ended);
        sigaddset(&child_ended, SIGCHLD);
        sigprocmask(SIG_BLOCK, &child_ended, NULL);
        private = go_private(temporary);
        for (unsigned at = 0, mine = atomic_fetch_add(&board->next, 1); test; test = test->next) {
                if (only && fnmatch(only, test->name, 0) != 0)
                        continue;
                if (at++ != mine)
                        continue;
                run_test(test, board, temporary, private);
                mine = atomic_fetch_add(&board->next, 1);
        }
        if (private)
                umount2(mqueue_folder, MNT_DETACH);
        nftw(temporary, remove_at, 16, FTW_DEPTH | FTW_PHYS);
        fflush(stdout);
        _exit(0);
}

int main(int n_arguments, char **arguments) {
        const char *only = NULL, *scale = getenv("HARNESS_TIMEOUT_SCALE");
        unsigned n_jobs = 1, n_dead = 0;
        bool stormy;
        struct board *board;
        int status;

        snprintf(program_name, sizeof(program_name), "%s",
                 strrchr(arguments[0], '/') ? strrchr(arguments[0], '/') + 1 : arguments[0]);
        if (strlen(program_name) > 5 && strcmp(program_name + strlen(program_name) - 5, "_test") == 0)
                program_name[strlen(program_name) - 5] = '\0';
        for (int i = 1; i < n_arguments; i++) {
                if (strcmp(arguments[i], "--list") == 0) {
                        for (const struct harness_test *test = first_test; test; test = test->next)
                                puts(test->name);
                        return 0;
                } else if (strcmp(arguments[i], "--only") == 0 && i + 1 < n_arguments) {
                        only = arguments[++i];
                } else if (strcmp(arguments[i], "--jobs") == 0 && i + 1 < n_arguments) {
                        n_jobs = (unsigned)atoi(arguments[++i]);
                        n_jobs = n_jobs < 1 || n_jobs > 64 ? 1 : n_jobs;
                } else if (strcmp(arguments[i], "--verbose") == 0) {
                        verbose = true;
                } else {
                        fprintf(stderr, "usage: %s [--list] [--only PATTERN] [--jobs N] [--verbose]\n",
                                arguments[0]);
                        return 2;
                }
        }
        if (scale && atof(scale) > 0)
                timeout_scale = atof(scale);

        stormy = storm_prepare();
        board = mmap(NULL, sizeof(*board) + n_jobs * sizeof(board->verdicts[0]), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (board == MAP_FAILED) {
                perror("harness: mmap");
                return 1;
        }
        for (unsigned i = 0; i < n_jobs; i++) {
                pid_t pid;

                fflush(NULL);
                verdict = &board->verdicts[i];
                pid = fork();
                if (pid == 0)
                        be_a_worker(board, only);
                n_dead += pid < 0;
        }
        while (wait(&status) > 0)
                n_dead += status != 0;
        if (n_dead)
                printf("FAIL harness: a worker ended early\n");
        if (only && !board->n_passed && !board->n_failed && !board->n_skipped)
                printf("FAIL harness: no test is called %s\n", only), n_dead++;
        if (stormy)
                printf("storm: %lu signals\n", storm_signals());
        if (stormy && !storm_signals())
                printf("FAIL harness: the storm did not come\n"), n_dead++;
        printf("%u passed, %u failed, %u skipped\n", board->n_passed, board->n_failed + n_dead,
               board->n_skipped);
        return board->n_failed || n_dead ? 1 : 0;
}
