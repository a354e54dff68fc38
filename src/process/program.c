/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Finding a program as execvp does, but before anything is started: so a name that is not there costs no half-started pipeline.
 * What lies behind a name can change until execve; then that says so.
 */
#include "process/program.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/libc.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_DEFAULT "/usr/bin:/bin"

/* A name nobody finds in PATH may be one only a shell knows. */
static const char *const builtins[] = {"alias",  "bg",    "cd",    "eval", "exec",  "exit",   "export",
                                       "fg",     "jobs",  "read",  "set",  "shift", "source", "trap",
                                       "ulimit", "umask", "unset", "wait", "."};

/* a: it is a folder; b: no bit of its mode says that it can be executed. */
static size_t explain_program(const struct cfb_failure *failure, char *text, size_t text_cap) {
        const char *name = failure->subject;
        size_t used = 0;

        if (!name[0]) {
                cfb_append(text, text_cap, &used, "the name of the program is empty");
                return used;
        }
        if (failure->error == -EACCES) {
                cfb_append(text, text_cap, &used,
                           failure->a ? "%s: a folder is no program" : "%s: no permission to execute it",
                           name);
                if (failure->b)
                        cfb_append(text, text_cap, &used, "; chmod +x makes it executable");
                return used;
        }
        cfb_append(text, text_cap, &used, "%s: no such program%s%s", name,
                   failure->detail[0] ? " in PATH, which is " : "", failure->detail);
        if (strpbrk(name, " \t|<>;"))
                cfb_append(text, text_cap, &used,
                           "; all of this was taken for its name: give each argument as a word of its own, "
                           "and a text "
                           "for a shell as sh -c '...'");
        for (size_t i = 0; i < CFB_ARRAY_LEN(builtins); i++)
                if (strcmp(builtins[i], failure->subject) == 0)
                        cfb_append(text, text_cap, &used, "; it is built into shells: sh -c '%s ...'",
                                   builtins[i]);
        return used;
}

/* The program that a script's first line names, without its arguments; false: it has no such line. */
static bool read_interpreter(const char *script, char *name, size_t name_cap) {
        CFB_CLEANUP(cfb_closep) int fd = open(script, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        ssize_t n = fd < 0 ? -1 : read(fd, name, name_cap - 1);
        size_t skipped;

        if (n < 2 || name[0] != '#' || name[1] != '!')
                return false;
        name[n] = '\0';
        skipped = 2 + strspn(name + 2, " \t");
        memmove(name, name + skipped, (size_t)n + 1 - skipped);
        name[strcspn(name, " \t\n")] = '\0';
        return name[0] != '\0';
}

size_t cfb_explain_start(const struct cfb_failure *failure, char *text, size_t text_cap) {
        char interpreter[256];
        size_t used = 0, len;

        cfb_append(text, text_cap, &used, "%s: %s: ", failure->subject, failure->call);
        switch (-failure->error) {
        case ENOENT:
                if (!read_interpreter(failure->subject, interpreter, sizeof(interpreter))) {
                        cfb_append(text, text_cap, &used,
                                   "the loader it names is not there: it is made for another C library or "
                                   "processor");
                        break;
                }
                len = strlen(interpreter);
                cfb_append(text, text_cap, &used, "its first line names %s, which is not there%s",
                           interpreter,
                           interpreter[len - 1] == '\r' ? ": lines that end in CR LF, as on Windows, do that"
                                                        : "");
                break;
        case EAGAIN:
                cfb_append(text, text_cap, &used,
                           "a limit on processes is reached: RLIMIT_NPROC (ulimit -u) or pids.max of the "
                           "control group");
                break;
        case E2BIG:
                cfb_append(text, text_cap, &used,
                           "arguments and environment are too large: together a quarter of the stack limit "
                           "(ulimit -s), "
                           "128 KiB each");
                break;
        default:
                cfb_append(text, text_cap, &used, "%s", cfb_errno_text(-failure->error));
        }
        return used;
}

static const char *path_of(const char *const *envp) {
        const char *path = PATH_DEFAULT;

        if (!envp) {
                path = getenv("PATH");
                return path ? path : PATH_DEFAULT;
        }
        for (; *envp; envp++)
                if (strncmp(*envp, "PATH=", 5) == 0)
                        path = *envp + 5;
        return path;
}

/* 0: @path can be executed. Of one that cannot, *@st tells, if it is there at all. */
static int look(const char *path, int directory, struct stat *st) {
        int at = directory >= 0 ? directory : AT_FDCWD;

        *st = (struct stat){0};
        if (fstatat(at, path, st, 0) < 0)
                return -errno;
        if (faccessat(at, path, X_OK, AT_EACCESS) < 0)
                return -errno;
        return S_ISREG(st->st_mode) ? 0 : -EACCES;
}

/* @list: where it was looked for, or NULL; @st: of what was found instead. */
static int not_to_be_had(int error, const char *name, const char *list, const struct stat *st) {
        return cfb_failed_with(error, "execve", name,
                               error == -ENOENT || error == -EACCES ? explain_program : NULL, list,
                               S_ISDIR(st->st_mode), S_ISREG(st->st_mode) && !(st->st_mode & 0111));
}

int cfb_program_find(char **pathp, const char *name, const char *const *envp, int directory) {
        CFB_CLEANUP(cfb_releasep) char *path = NULL;
        const char *list = path_of(envp);
        size_t name_len = strlen(name);
        struct stat st, found = {0};
        bool denied = false;

        if (strchr(name, '/')) {
                int r = look(name, directory, &st);

                if (r < 0)
                        return not_to_be_had(r, name, NULL, &st);
                *pathp = cfb_copy_text(name);
                return *pathp ? 0 : cfb_failed(-ENOMEM, "execve", name);
        }
        path = cfb_allocate(strlen(list) + name_len + 3);
        if (!path)
                return cfb_failed(-ENOMEM, "execve", name);
        for (const char *at = list; name_len > 0;) {
                size_t len = strcspn(at, ":");
                int r;

                memcpy(path, len ? at : ".", len ? len : 1); /* an empty one is the working directory */
                path[len ? len : 1] = '/';
                memcpy(path + (len ? len : 1) + 1, name, name_len + 1);
                r = look(path, directory, &st);
                if (r == 0) {
                        *pathp = cfb_steal(&path);
                        return 0;
                }
                denied = denied || r == -EACCES;
                if (r == -EACCES && st.st_mode)
                        found = st;
                if (!at[len])
                        break;
                at += len + 1;
        }
        return not_to_be_had(denied ? -EACCES : -ENOENT, name, list, &found);
}
