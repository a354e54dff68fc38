/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Finding a program as execvp does, but before anything is started: so a name that is not there costs no half-started pipeline.
 * What lies behind a name can change until execve; then that says so.
 */
#include "process/program.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PATH_DEFAULT "/usr/bin:/bin"

/* A name nobody finds in PATH may be one only a shell knows. */
static const char *const builtins[] = {"alias",  "bg",    "cd",    "eval", "exec",  "exit",   "export",
                                       "fg",     "jobs",  "read",  "set",  "shift", "source", "trap",
                                       "ulimit", "umask", "unset", "wait", "."};

static size_t explain_program(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        if (failure->error == -EACCES) {
                cfb_append(text, text_cap, &used, "%s: no permission to execute it%s", failure->subject,
                           failure->detail[0] ? " (found, but not executable: chmod +x)" : "");
                return used;
        }
        cfb_append(text, text_cap, &used, "%s: no such program%s%s", failure->subject,
                   failure->detail[0] ? " in PATH, which is " : "", failure->detail);
        for (size_t i = 0; i < CFB_ARRAY_LEN(builtins); i++)
                if (strcmp(builtins[i], failure->subject) == 0)
                        cfb_append(text, text_cap, &used, "; it is built into shells: sh -c '%s ...'",
                                   builtins[i]);
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

/* 0: @path can be executed. */
static int look(const char *path, int directory) {
        struct stat st;
        int at = directory >= 0 ? directory : AT_FDCWD;

        if (faccessat(at, path, X_OK, AT_EACCESS) < 0)
                return -errno;
        if (fstatat(at, path, &st, 0) < 0)
                return -errno;
        return S_ISREG(st.st_mode) ? 0 : -EACCES;
}

int cfb_program_find(char **pathp, const char *name, const char *const *envp, int directory) {
        CFB_CLEANUP(cfb_releasep) char *path = NULL;
        const char *list = path_of(envp);
        size_t name_len = strlen(name);
        bool denied = false;

        if (strchr(name, '/')) {
                int r = look(name, directory);

                if (r < 0)
                        return cfb_failed_with(r, "execve", name,
                                               r == -ENOENT || r == -EACCES ? explain_program : NULL, NULL, 0,
                                               0);
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
                r = look(path, directory);
                if (r == 0) {
                        *pathp = cfb_steal(&path);
                        return 0;
                }
                denied = denied || r == -EACCES;
                if (!at[len])
                        break;
                at += len + 1;
        }
        return cfb_failed_with(denied ? -EACCES : -ENOENT, "execve", name, explain_program,
                               denied ? "found" : list, 0, 0);
}
