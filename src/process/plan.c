/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * What each program of a job will have: its path, its folder, its descriptors. All names are looked up and all files opened here, in the
 * parent, before the first program runs: what fails here has started nothing, and is told with the name it failed on.
 *
 * Redirections are done in their order on a table "descriptor of the program -> descriptor of ours", so 2>&1 copies what 1 is at that
 * place, and the child only has to install the outcome.
 */
#include "base/cleanup.h"
#include "base/error.h"
#include "base/folder.h"
#include "base/libc.h"
#include "base/memory.h"
#include "process/job.h"
#include "process/program.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { DESCRIPTOR_MAX = 65535 };

static int set(struct cfb_plan *plan, int to, int from) {
        unsigned i = 0;

        while (i < plan->spawn.n_fds && plan->fds[i].to != to)
                i++;
        if (i == CFB_SPAWN_FDS)
                return cfb_failed_with(-EINVAL, "redirect", plan->path, NULL, "more than 64 descriptors", 0,
                                       0);
        plan->fds[i] = (struct cfb_spawn_fd){from, to};
        if (i == plan->spawn.n_fds)
                plan->spawn.n_fds++;
        return 0;
}

/* What the program's descriptor @number is by now; -1: nothing. */
static int get(const struct cfb_plan *plan, int number) {
        for (unsigned i = 0; i < plan->spawn.n_fds; i++)
                if (plan->fds[i].to == number)
                        return plan->fds[i].from;
        return number <= 2 && fcntl(number, F_GETFD) >= 0 ? number : -1;
}

int cfb_plans_keep(struct cfb_plans *plans, int fd) {
        int *opened = cfb_grow(plans->opened, plans->n_opened, &plans->opened_cap, sizeof(*opened));

        if (!opened) {
                close(fd);
                return cfb_failed(-ENOMEM, "redirect", NULL);
        }
        plans->opened = opened;
        plans->opened[plans->n_opened++] = fd;
        return fd;
}

/* Of a file that a program was to have; a: it was to be written; b: its name begins in a folder of the program's. */
static size_t explain_file(const struct cfb_failure *failure, char *text, size_t text_cap) {
        const char *why = cfb_errno_text(-failure->error);
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: ", failure->subject);
        switch (-failure->error) {
        case ENOENT:
                why = failure->a ? "the folder it would be in is not there" : "there is no such file";
                break;
        case ENOTDIR:
                why = "what should be a folder on the way there is none";
                break;
        case EISDIR:
                why = "a folder cannot be written to";
                break;
        case EACCES:
                why = failure->a ? "no permission to write it" : "no permission to read it";
                if (!failure->b &&
                    cfb_append_refusing_folder(text, text_cap, &used, failure->subject,
                                               failure->a && access(failure->subject, F_OK) < 0))
                        return used;
                break;
        }
        cfb_append(text, text_cap, &used, "%s", why);
        return used;
}

static size_t explain_folder(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: %s", failure->subject,
                   failure->error == -ENOENT    ? "there is no such folder to run in"
                   : failure->error == -ENOTDIR ? "it is no folder to run in"
                                                : cfb_errno_text(-failure->error));
        return used;
}

static int open_file(struct cfb_plans *plans, const struct cfb_plan *plan,
                     const struct confab_redirection *redirection) {
        static const int modes[] = {
                [CONFAB_REDIRECT_READ] = O_RDONLY,
                [CONFAB_REDIRECT_WRITE] = O_WRONLY | O_CREAT | O_TRUNC,
                [CONFAB_REDIRECT_APPEND] = O_WRONLY | O_CREAT | O_APPEND,
        };
        int fd = openat(plan->directory >= 0 ? plan->directory : AT_FDCWD, redirection->name,
                        modes[redirection->kind] | O_CLOEXEC | O_NOCTTY, 0666);

        if (fd < 0)
                return cfb_failed_with(-errno, "open", redirection->name, explain_file, NULL,
                                       redirection->kind != CONFAB_REDIRECT_READ,
                                       plan->directory >= 0 && redirection->name[0] != '/');
        return cfb_plans_keep(plans, fd);
}

static int bad_redirection(const struct cfb_plan *plan, const char *why) {
        return cfb_failed_with(-EINVAL, "redirect", plan->path, NULL, why, 0, 0);
}

static int redirect(confab_job *job, struct cfb_plans *plans, struct cfb_plan *plan,
                    const struct confab_redirection *redirection) {
        int fd = -1;

        if (redirection->descriptor < 0 || redirection->descriptor > DESCRIPTOR_MAX)
                return bad_redirection(plan, "no such number of a descriptor");
        switch (redirection->kind) {
        case CONFAB_REDIRECT_READ:
        case CONFAB_REDIRECT_WRITE:
        case CONFAB_REDIRECT_APPEND:
                if (!redirection->name)
                        return bad_redirection(plan, "a name is missing");
                fd = strstr(redirection->name, "://")
                             ? cfb_pump_open(job, plans, redirection->name,
                                             redirection->kind == CONFAB_REDIRECT_READ)
                             : open_file(plans, plan, redirection);
                if (fd < 0)
                        return fd;
                break;
        case CONFAB_REDIRECT_DESCRIPTOR:
                fd = redirection->source;
                if (fd < 0 || fcntl(fd, F_GETFD) < 0)
                        return cfb_failed(-EBADF, "redirect", plan->path);
                break;
        case CONFAB_REDIRECT_COPY:
                fd = get(plan, redirection->source);
                if (fd == -1)
                        return cfb_failed_with(-EBADF, "redirect", plan->path, NULL,
                                               "the descriptor to be copied is not open there", 0, 0);
                break;
        case CONFAB_REDIRECT_CLOSE:
                break;
        default:
                return bad_redirection(plan, "no such kind of redirection");
        }
        return set(plan, redirection->descriptor, fd);
}

/* In an array of a later version's stages they lie further apart. */
static const struct confab_stage *stage_at(const struct confab_stage *stages, unsigned index) {
        return (const void *)((const char *)stages + (size_t)index * stages->size);
}

static int plan_program(struct cfb_plan *plan, const struct confab_stage *stage, uint32_t size) {
        int r;

        if (stage->size != size || size < sizeof(*stage) || size % _Alignof(struct confab_stage) ||
            !stage->argv || !stage->argv[0] || (stage->n_redirections && !stage->redirections))
                return cfb_failed_with(-EINVAL, "start", NULL, NULL,
                                       "a stage without size, program or redirections", 0, 0);
        if (stage->directory) {
                plan->directory = open(stage->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
                if (plan->directory < 0)
                        return cfb_failed_with(-errno, "chdir", stage->directory, explain_folder, NULL, 0, 0);
                plan->spawn.flags |= CFB_SPAWN_DIRECTORY;
                plan->spawn.directory = plan->directory;
        }
        r = cfb_program_find(&plan->path, stage->argv[0], stage->envp, plan->directory);
        plan->failed = r < 0;
        if (r < 0)
                return r;
        plan->spawn.path = plan->path;
        plan->spawn.argv = (char *const *)(uintptr_t)stage->argv; /* execve leaves them alone */
        plan->spawn.envp = (char *const *)(uintptr_t)stage->envp;
        return 0;
}

/* Where a pipe will be: redirections copy these like descriptors (2>&1 |), and the pipe's descriptors replace them. */
enum { PIPE_READ = -2, PIPE_WRITE = -3 };

static void replace(struct cfb_plan *plan, int mark, int fd) {
        for (unsigned i = 0; i < plan->spawn.n_fds; i++)
                if (plan->fds[i].from == mark)
                        plan->fds[i].from = fd;
}

int cfb_plans_init(struct cfb_plans *plans, confab_job *job, const struct confab_stage *stages) {
        int r = 0;

        *plans = (struct cfb_plans){.plans = cfb_allocate(job->n_stages * sizeof(*plans->plans))};
        if (!plans->plans)
                return cfb_failed(-ENOMEM, "start", NULL);
        plans->n_plans = job->n_stages;
        for (unsigned i = 0; i < job->n_stages; i++) {
                plans->plans[i].directory = plans->plans[i].pipe_in = plans->plans[i].pipe_out = -1;
                plans->plans[i].spawn.fds = plans->plans[i].fds;
        }
        /* All names first: files are created only then. */
        for (unsigned i = 0; r >= 0 && i < job->n_stages; i++) {
                r = plan_program(&plans->plans[i], stage_at(stages, i), stages->size);
                plans->failed = r < 0 && plans->plans[i].failed ? i + 1 : 0;
        }
        for (unsigned i = 0; r >= 0 && i < job->n_stages; i++) {
                const struct confab_stage *stage = stage_at(stages, i);
                struct cfb_plan *plan = &plans->plans[i];

                if (i > 0)
                        set(plan, 0, PIPE_READ);
                if (i + 1 < job->n_stages)
                        set(plan, 1, PIPE_WRITE);
                for (unsigned k = 0; r >= 0 && k < stage->n_redirections; k++)
                        r = redirect(job, plans, plan, &stage->redirections[k]);
        }
        return r < 0 ? r : 0;
}

int cfb_plans_pipe(struct cfb_plans *plans, unsigned index) {
        struct cfb_plan *writer = &plans->plans[index], *reader = writer + 1;
        int fds[2];

        if (pipe2(fds, O_CLOEXEC) < 0)
                return cfb_failed(-errno, "pipe2", writer->path);
        replace(writer, PIPE_WRITE, writer->pipe_out = fds[1]);
        replace(reader, PIPE_READ, reader->pipe_in = fds[0]);
        return 0;
}

void cfb_plan_started(struct cfb_plan *plan) {
        cfb_closep(&plan->pipe_in);
        cfb_closep(&plan->pipe_out);
}

void cfb_plans_fini(struct cfb_plans *plans) {
        for (unsigned i = 0; i < plans->n_opened; i++)
                close(plans->opened[i]);
        for (unsigned i = 0; i < plans->n_plans; i++) {
                cfb_plan_started(&plans->plans[i]);
                cfb_closep(&plans->plans[i].directory);
                cfb_release(plans->plans[i].path);
        }
        cfb_release(plans->plans);
        cfb_release(plans->opened);
        *plans = (struct cfb_plans){0};
}
