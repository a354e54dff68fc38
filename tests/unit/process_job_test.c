/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include "harness.h"

#include <confab/confab.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const int64_t ms = 1000000, s = 1000000000;

/* Starts the pipeline @text with its last standard output in *@outp (may be NULL). */
static int start_text(confab_job **jobp, const char *text, uint32_t flags, int *outp) {
        struct confab_job_options options = {.size = sizeof(options), .flags = flags};
        struct confab_redirection output = {.kind = CONFAB_REDIRECT_DESCRIPTOR, .descriptor = 1};
        struct confab_pipeline *pipeline;
        struct confab_stage *last;
        int fds[2] = {-1, -1}, r;

        check_ok(confab_pipeline_parse(&pipeline, text));
        last = &pipeline->stages[pipeline->n_stages - 1];
        if (outp) {
                check_eq(pipe2(fds, O_CLOEXEC), 0);
                output.source = fds[1];
                last->redirections = &output;
                last->n_redirections = 1;
                *outp = fds[0];
        }
        r = confab_job_start(jobp, pipeline->stages, pipeline->n_stages, &options);
        close(fds[1]);
        confab_pipeline_free(pipeline);
        return r;
}

static void read_all(int fd, char *text, size_t text_cap) {
        size_t len = 0;
        ssize_t n;

        while ((n = read(fd, text + len, text_cap - 1 - len)) > 0)
                len += (size_t)n;
        text[len] = '\0';
        close(fd);
}

/* Runs @text to its end: what it printed, and its result. */
static int run(const char *text, char *printed, size_t printed_cap) {
        confab_job *job;
        int out, result;

        check_ok(start_text(&job, text, 0, &out));
        read_all(out, printed, printed_cap);
        check_ok(confab_job_wait(job, CONFAB_FOREVER));
        result = confab_job_result(job);
        confab_job_free(job);
        return result;
}

static struct confab_stage_status status_of(const confab_job *job, unsigned index) {
        struct confab_stage_status status = {.size = sizeof(status)};

        check_ok(confab_job_status(job, index, &status));
        return status;
}

/* Until @path exists, which a program of the test makes. */
static void appears(const char *path) {
        while (access(path, F_OK) < 0)
                poll(NULL, 0, 5);
}

static void file(const char *name, const char *text) {
        FILE *to = fopen(name, "w");

        check(to && fputs(text, to) >= 0);
        fclose(to);
}

static const char *content(const char *name) {
        static char text[4096];
        int fd = open(name, O_RDONLY | O_CLOEXEC);

        check(fd >= 0);
        read_all(fd, text, sizeof(text));
        return text;
}

TEST(pipeline_of_five) {
        char text[64];

        check_eq(run("printf 'b\\na\\nb\\nc\\na\\n' | cat | sort | uniq | wc -l", text, sizeof(text)), 0);
        check_eq(atoi(text), 3);
}

TEST(status_of_every_stage) {
        struct confab_stage_status status = {.size = sizeof(status)};
        confab_job *job;

        check_ok(start_text(&job, "sh -c 'exit 3' | sh -c 'kill -TERM $$' | true | sh -c 'exit 5' | true", 0,
                            NULL));
        check_eq(confab_job_result(job) == -EAGAIN || confab_job_result(job) == 5, 1);
        check_ok(confab_job_wait(job, CONFAB_FOREVER));
        check_eq(status_of(job, 0).state, CONFAB_STAGE_EXITED);
        check_eq(status_of(job, 0).code, 3);
        check_eq(status_of(job, 1).state, CONFAB_STAGE_KILLED);
        check_eq(status_of(job, 1).code, SIGTERM);
        check_eq(status_of(job, 2).code, 0);
        check_eq(status_of(job, 3).code, 5);
        check(status_of(job, 0).pid > 0 && status_of(job, 0).wall_ns > 0 && status_of(job, 0).memory_len > 0);
        check(status_of(job, 0).wall_ns ==
              status_of(job, 0).wall_ns); /* it has ended: its time stands still */
        check_eq(confab_job_status(job, 5, &status), -ENOENT);
        check_eq(confab_job_result(job), 5);
        check_ok(confab_job_wait(job, CONFAB_FOREVER)); /* again: nothing new */
        check(confab_job_free(job) == NULL);

        check_ok(start_text(&job, "true | sh -c 'kill -9 $$' | true", 0, NULL));
        check_ok(confab_job_wait(job, CONFAB_FOREVER));
        check_eq(confab_job_result(job), 128 + SIGKILL);
        confab_job_free(job);
}

/* The reader goes, the writer is told by SIGPIPE, as in a shell. */
TEST(a_reader_that_ends_ends_its_writer) {
        char text[64];

        check_eq(run("yes | head -n 1", text, sizeof(text)), 128 + SIGPIPE);
        check_str(text, "y\n");
}

TEST(one_group_of_its_own) {
        char text[256];
        int a, b, ours = getpgrp();

        check_eq(run("sh -c 'ps -o pgid= -p $$' | sh -c 'cat; ps -o pgid= -p $$'", text, sizeof(text)), 0);
        check_eq(sscanf(text, "%d %d", &a, &b), 2);
        check_eq(a, b);
        check(a != ours);
}

TEST(the_same_group) {
        char text[64];
        confab_job *job;
        int out;

        check_ok(start_text(&job, "sh -c 'ps -o pgid= -p $$'", CONFAB_JOB_SAME_GROUP, &out));
        read_all(out, text, sizeof(text));
        check_eq(atoi(text), getpgrp());
        check_ok(confab_job_wait(job, CONFAB_FOREVER));
        confab_job_free(job);
}

TEST(a_session_of_its_own) {
        char text[256];
        confab_job *job;
        int out, a[2], b[2], r;

        r = start_text(&job, "sh -c 'ps -o sid=,pgid= -p $$; exit 4' | sh -c 'cat; ps -o sid=,pgid= -p $$'",
                       CONFAB_JOB_SESSION, &out);
        if (r == -EOPNOTSUPP) {
                close(out);
                skip("clone(CLONE_VFORK) is emulated by fork here");
        }
        check_ok(r);
        read_all(out, text, sizeof(text));
        check_eq(sscanf(text, "%d %d %d %d", &a[0], &a[1], &b[0], &b[1]), 4);
        check_ok(confab_job_wait(job, CONFAB_FOREVER));
        check_eq(a[0], status_of(job, 0).pid);
        check_eq(a[0], a[1]);
        check_eq(a[0], b[0]);
        check_eq(a[0], b[1]);
        check_eq(confab_job_result(job), 4);
        confab_job_free(job);
}

TEST(no_descriptor_of_ours_in_any_stage) {
        int plain = open("/dev/null", O_RDONLY); /* without close-on-exec, on purpose */
        char text[512];

        check_eq(run("sh -c 'exec ls /proc/self/fd' | sh -c 'cat; exec ls /proc/self/fd' | sh -c 'cat; exec "
                     "ls /proc/self/fd'",
                     text, sizeof(text)),
                 0);
        check_str(text, "0\n1\n2\n3\n0\n1\n2\n3\n0\n1\n2\n3\n"); /* 3: the folder itself */
        close(plain);
}

static int run_plain(const char *text) {
        struct confab_pipeline *pipeline;
        confab_job *job;
        int result;

        check_ok(confab_pipeline_parse(&pipeline, text));
        check_ok(confab_job_start(&job, pipeline->stages, pipeline->n_stages, NULL));
        confab_pipeline_free(pipeline);
        check_ok(confab_job_wait(job, CONFAB_FOREVER));
        result = confab_job_result(job);
        confab_job_free(job);
        return result;
}

TEST(redirections_in_their_order) {
        file("in", "b\na\n");
        check_eq(run_plain("sort < in > out"), 0);
        check_str(content("out"), "a\nb\n");
        check_eq(run_plain("echo c >> out"), 0);
        check_str(content("out"), "a\nb\nc\n");
        check_eq(run_plain("sh -c 'echo x; echo y >&2' > both 2>&1"), 0);
        check_str(content("both"), "x\ny\n");
        check_eq(run_plain("sh -c 'echo x; echo y >&2' 2>&1 > out | cat > both"), 0);
        check_str(content("out"), "x\n");
        check_str(content("both"), "y\n");
        check_eq(run_plain("sh -c 'echo x; echo y >&2' |& sort -r > both"), 0);
        check_str(content("both"), "y\nx\n");
        check_eq(run_plain("sh -c 'echo z >&7' 7> seven"), 0);
        check_str(content("seven"), "z\n");
        check_eq(run_plain("sh -c 'test -e /proc/self/fd/0' <&-"), 1);
}

TEST(folder_and_environment) {
        const char *argv[] = {"sh", "-c", "pwd; echo $A; cat", NULL},
                   *envp[] = {"A=b", "PATH=/usr/bin:/bin", NULL};
        struct confab_redirection redirections[] = {
                {.kind = CONFAB_REDIRECT_READ, .descriptor = 0, .name = "in"},
                {.kind = CONFAB_REDIRECT_WRITE, .descriptor = 1, .name = "out"},
        };
        struct confab_stage stage = {.size = sizeof(stage),
                                     .argv = argv,
                                     .envp = envp,
                                     .directory = "sub",
                                     .redirections = redirections,
                                     .n_redirections = 2};
        char wanted[4200], here[4096];
        confab_job *job;

        check_eq(mkdir("sub", 0755), 0);
        file("sub/in", "inside\n");
        check_ok(confab_job_start(&job, &stage, 1, NULL));
        check_ok(confab_job_wait(job, CONFAB_FOREVER));
        check_eq(confab_job_result(job), 0);
        confab_job_free(job);
        check(getcwd(here, sizeof(here)) != NULL);
        snprintf(wanted, sizeof(wanted), "%s/sub\nb\ninside\n", here);
        check_str(content("sub/out"), wanted);
}

static int refused(const char *text, uint32_t *failedp) {
        struct confab_job_options options = {.size = sizeof(options), .failedp = failedp};
        struct confab_pipeline *pipeline;
        confab_job *job = NULL;
        int r;

        check_ok(confab_pipeline_parse(&pipeline, text));
        r = confab_job_start(&job, pipeline->stages, pipeline->n_stages, &options);
        confab_pipeline_free(pipeline);
        check(job == NULL);
        check_eq(waitpid(-1, NULL, WNOHANG), -1);
        return r;
}

static const char *explained(void) {
        static char text[512];

        confab_explain(text, sizeof(text));
        return text;
}

TEST(sentences_of_what_is_not_there) {
        static const struct {
                const char *pipeline, *sentence;
        } cases[] = {
                {"cat < nofile", "nofile: there is no such file"},
                {"echo > nofolder/x", "nofolder/x: the folder it would be in is not there"},
                {"echo >> nofolder/x", "nofolder/x: the folder it would be in is not there"},
                {"echo > plain/x", "plain/x: what should be a folder on the way there is none"},
                {"echo > .", ".: a folder cannot be written to"},
                {"./nofile", "./nofile: no such program"},
                {"./plain", "./plain: no permission to execute it; chmod +x makes it executable"},
                {"./.", "./.: a folder is no program"},
        };
        struct confab_stage stage = {.size = sizeof(stage), .argv = (const char *[]){"true", NULL}};
        confab_job *job;
        uint32_t failed;

        file("plain", "x");
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                check(refused(cases[i].pipeline, &failed) < 0);
                check_str(explained(), cases[i].sentence);
        }
        stage.directory = "nofolder";
        check_eq(confab_job_start(&job, &stage, 1, NULL), -ENOENT);
        check_str(explained(), "nofolder: there is no such folder to run in");
        stage.directory = "plain";
        check_eq(confab_job_start(&job, &stage, 1, NULL), -ENOTDIR);
        check_str(explained(), "plain: it is no folder to run in");
        stage = (struct confab_stage){.size = sizeof(stage), .argv = (const char *[]){"echo hi", NULL}};
        check_eq(confab_job_start(&job, &stage, 1, NULL), -ENOENT);
        check(strstr(explained(), "all of this was taken for its name") != NULL);
        stage.argv = (const char *[]){"", NULL};
        check_eq(confab_job_start(&job, &stage, 1, NULL), -ENOENT);
        check_str(explained(), "the name of the program is empty");
}

TEST(all_or_nothing) {
        uint32_t failed = 77;
        char text[512];

        check_eq(refused("touch made | nosuchprogram", &failed), -ENOENT);
        check_eq(failed, 2);
        confab_explain(text, sizeof(text));
        check(strstr(text, "nosuchprogram: no such program in PATH") != NULL);
        check(access("made", F_OK) < 0);

        check_eq(refused("cd /", &failed), -ENOENT);
        confab_explain(text, sizeof(text));
        check(strstr(text, "built into shells") != NULL);

        check_eq(refused("touch made | cat < nosuchfile", &failed), -ENOENT);
        check_eq(failed, 0);
        check_eq(refused("touch made > no/such/folder", &failed), -ENOENT);
        check(access("made", F_OK) < 0);

        file("plain", "x");
        check_eq(refused("./plain", &failed), -EACCES);
        check_eq(failed, 1);
        check_eq(refused("cat >&9", &failed), -EBADF);
        check_eq(refused("cat > nosuch://x", &failed), -EINVAL);
}

/* Found, executable by its bits, and no program: those before it are gone again. */
TEST(a_later_one_that_is_no_program) {
        struct confab_job_options options = {.size = sizeof(options)};
        struct confab_pipeline *pipeline;
        uint32_t failed = 0;
        confab_job *job;
        int r;

        file("broken", "#!/nonexistent/interpreter\n");
        check_eq(chmod("broken", 0755), 0);
        check_ok(confab_pipeline_parse(&pipeline, "sleep 1000 | ./broken"));
        options.failedp = &failed;
        r = confab_job_start(&job, pipeline->stages, pipeline->n_stages, &options);
        confab_pipeline_free(pipeline);
        if (r == 0) {
                confab_job_free(job);
                skip("clone(CLONE_VFORK) is emulated by fork here"); /* see spawn.c */
        }
        check_eq(r, -ENOENT);
        check_eq(failed, 2);
        check_eq(waitpid(-1, NULL, WNOHANG), -1);
        check_str(explained(),
                  "./broken: execve: its first line names /nonexistent/interpreter, which is not there");
        file("broken", "#! /bin/nosh\r\necho\r\n");
        check_eq(refused("./broken", &failed), -ENOENT);
        check(strstr(explained(), "CR LF") != NULL);

        file("script", "echo from a script without a first line: $1\n");
        check_eq(chmod("script", 0755), 0);
        check_eq(run_plain("./script word > out"), 0);
        check_str(content("out"), "from a script without a first line: word\n");
}

TEST(bad_arguments) {
        const char *argv[] = {"true", NULL};
        struct confab_stage stage = {.size = sizeof(stage), .argv = argv};
        struct confab_job_options options = {.size = sizeof(options)};
        confab_job *job;

        check_eq(confab_job_start(NULL, &stage, 1, NULL), -EINVAL);
        check_eq(confab_job_start(&job, NULL, 1, NULL), -EINVAL);
        check_eq(confab_job_start(&job, &stage, 0, NULL), -EINVAL);
        options.flags = CONFAB_JOB_SAME_GROUP | CONFAB_JOB_SESSION;
        check_eq(confab_job_start(&job, &stage, 1, &options), -EINVAL);
        options.flags = CONFAB_JOB_SAME_GROUP | CONFAB_JOB_DIE;
        check_eq(confab_job_start(&job, &stage, 1, &options), -EINVAL);
        options.flags = 1u << 31;
        check_eq(confab_job_start(&job, &stage, 1, &options), -EINVAL);
        options.flags = 0;
        options.size = 4;
        check_eq(confab_job_start(&job, &stage, 1, &options), -EINVAL);
        stage.size = 0;
        check_eq(confab_job_start(&job, &stage, 1, NULL), -EINVAL);
        check_eq(confab_job_wait(NULL, CONFAB_NOW), -EINVAL);
        check_eq(confab_job_signal(NULL, SIGTERM), -EINVAL);
        check_eq(confab_job_end(NULL, 0), -EINVAL);
        check_eq(confab_job_result(NULL), -EINVAL);
        check_eq(confab_job_descriptor(NULL), -EINVAL);
        check_eq(confab_job_continue(NULL, 0), -EINVAL);
        check(confab_job_free(NULL) == NULL);
        signal(SIGCHLD, SIG_IGN);
        stage.size = sizeof(stage);
        check_eq(confab_job_start(&job, &stage, 1, NULL), -ECHILD);
}

TEST(deadlines) {
        confab_job *job;
        int64_t began = confab_now();

        check_ok(start_text(&job, "sleep 1000 | sleep 1000", 0, NULL));
        check_eq(confab_job_wait(job, CONFAB_NOW), -EAGAIN);
        check_eq(confab_job_wait(job, confab_after(50 * ms)), -ETIMEDOUT);
        check(confab_now() - began >= 50 * ms);
        check_ok(confab_job_signal(job, SIGTERM));
        check_ok(confab_job_wait(job, CONFAB_FOREVER));
        check_eq(confab_job_result(job), 128 + SIGTERM);
        check_eq(confab_job_signal(job, SIGTERM), -ESRCH);
        confab_job_free(job);
}

TEST(freeing_kills) {
        confab_job *job;
        int pid;

        check_ok(start_text(&job, "sleep 1000 | sh -c 'trap \"\" TERM; sleep 1000 & wait'", 0, NULL));
        pid = status_of(job, 1).pid;
        confab_job_free(job);
        check_eq(kill(pid, 0), -1);
        check_eq(errno, ESRCH);
}

static void *interrupt(void *job) {
        confab_job_interrupt(job);
        return NULL;
}

TEST(interrupted) {
        pthread_t thread;
        confab_job *job;

        check_ok(start_text(&job, "sleep 1000", 0, NULL));
        confab_job_interrupt(job); /* before the wait */
        check_eq(confab_job_wait(job, CONFAB_FOREVER), -EINTR);
        check_eq(pthread_create(&thread, NULL, interrupt, job), 0);
        check_eq(confab_job_wait(job, CONFAB_FOREVER), -EINTR);
        pthread_join(thread, NULL);
        confab_job_free(job);
}

TEST(descriptor_tells_of_the_end) {
        struct pollfd ready = {.events = POLLIN};
        confab_job *job;
        int out;

        check_ok(start_text(&job, "sleep 1000 | sleep 1000", 0, &out));
        check_ok(confab_job_signal(job, SIGTERM));
        ready.fd = (int)check_ok(confab_job_descriptor(job));
        do {
                check_eq(poll(&ready, 1, -1), 1);
        } while (confab_job_wait(job, CONFAB_NOW) == -EAGAIN);
        check_eq(poll(&ready, 1, 0), 0); /* all has been told */
        check_eq(confab_job_result(job), 128 + SIGTERM);
        confab_job_free(job);
        close(out);
}

TEST(stopped_and_continued) {
        confab_job *job;

        check_ok(start_text(&job, "sleep 1000 | sleep 1000", CONFAB_JOB_STOPS, NULL));
        check_ok(confab_job_signal(job, SIGSTOP));
        check_eq(confab_job_wait(job, CONFAB_FOREVER), CONFAB_JOB_STOPPED);
        check_eq(status_of(job, 0).state, CONFAB_STAGE_STOPPED);
        check_eq(status_of(job, 1).code, SIGSTOP);
        check_eq(confab_job_wait(job, CONFAB_NOW), CONFAB_JOB_STOPPED);
        check_ok(confab_job_continue(job, 0));
        check_eq(confab_job_wait(job, CONFAB_NOW), -EAGAIN);
        check_eq(status_of(job, 0).state, CONFAB_STAGE_RUNNING);
        check_ok(confab_job_signal(job, SIGKILL));
        check_ok(confab_job_wait(job, CONFAB_FOREVER));
        confab_job_free(job);
}

/* A tree that does not want to end: a polite one, one that ignores SIGTERM, one in a session of its own, a stopped one. */
TEST_TIMEOUT(the_whole_tree_ends, 60) {
        static const char script[] =
                "setsid sh -c 'trap \"\" TERM; echo $$ > a; sleep 1000 & wait; sleep 1000' & "
                "sh -c 'echo $$ > b; kill -STOP $$; sleep 1000' & "
                "trap '' TERM; sleep 1000 & echo $$ > c; while :; do sleep 1000; done";
        const char *argv[] = {"sh", "-c", script, NULL};
        struct confab_stage stage = {.size = sizeof(stage), .argv = argv};
        confab_job *job;

        check_ok(confab_job_start(&job, &stage, 1, NULL));
        appears("a");
        appears("b");
        appears("c");
        check_ok(confab_job_end(job, 100 * ms));
        check_eq(confab_job_wait(job, CONFAB_NOW), 0);
        check_eq(confab_job_result(job), 128 + SIGKILL);
        confab_job_free(job);
        /* the harness fails the test if a process is left */
}

/* Its parent has ended long ago, its group and session are its own: found because orphans come to us. */
TEST_TIMEOUT(a_daemon_ends_with_its_job, 60) {
        static const char script[] = "sh -c 'setsid sh -c \"echo > daemon; sleep 1000\" & ' ; sleep 1000";
        const char *argv[] = {"sh", "-c", script, NULL};
        struct confab_stage stage = {.size = sizeof(stage), .argv = argv};
        struct confab_job_options options = {.size = sizeof(options), .flags = CONFAB_JOB_ADOPT};
        confab_job *job;
        int r;

        r = confab_job_start(&job, &stage, 1, &options);
        if (r == -EINVAL)
                skip("emulator: qemu-user 7.2 has no PR_SET_CHILD_SUBREAPER");
        check_ok(r);
        appears("daemon");
        check_ok(confab_job_end(job, 10 * s)); /* all of them are polite */
        check_eq(confab_job_result(job), 128 + SIGTERM);
        confab_job_free(job);
        check_eq(prctl(PR_GET_CHILD_SUBREAPER, &r), 0);
        check_eq(r, 0); /* they come to us no more */
}

/* All that became ours ends, or the test's time does. */
static void all_end(void) {
        while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
                ;
        check_eq(errno, ECHILD);
}

/*
 * kill -9 of the one that started a job: nothing of it stays, grandchildren in its group included. @number is sent to the job before
 * (0: nothing); its programs do not care.
 */
static void dies_with_us(uint32_t flags, int number) {
        int ready[2], out, orphans;
        char byte;
        pid_t pid;

        check_eq(pipe2(ready, O_CLOEXEC), 0);
        pid = fork();
        if (pid == 0) {
                confab_job *job;

                close(ready[0]);
                int r = start_text(&job,
                                   "sh -c 'trap \"\" PWR; sleep 1000 & sleep 1000 & echo; wait' | "
                                   "sh -c 'trap \"\" PWR; cat; sleep 1000'",
                                   flags | CONFAB_JOB_DIE, &out);

                if (r == -EOPNOTSUPP)
                        _exit(0); /* an emulator: seen by the pipe's end */
                check_ok(r);
                check_eq(read(out, &byte, 1), 1);
                if (number)
                        check_ok(confab_job_signal(job, number));
                check_eq(write(ready[1], "x", 1), 1);
                for (;;)
                        pause();
        }
        close(ready[1]);
        if (read(ready[0], &byte, 1) != 1) {
                close(ready[0]);
                waitpid(pid, NULL, 0);
                skip("clone(CLONE_VFORK) is emulated by fork here");
        }
        close(ready[0]);
        /* What it leaves becomes ours: then we see that all of it ends. */
        orphans = prctl(PR_SET_CHILD_SUBREAPER, 1);
        kill(pid, SIGKILL);
        all_end();
        if (orphans < 0)
                skip("emulator: qemu-user 7.2 has no PR_SET_CHILD_SUBREAPER");
}

TEST_TIMEOUT(kill_9_of_the_supervisor, 60) {
        dies_with_us(0, 0);
}

/* What ends or stops a program that has not asked for it, and is meant for the job: not for its guard. */
TEST_TIMEOUT(what_is_sent_to_a_job_spares_its_guard, 60) {
        dies_with_us(0, SIGPWR);
        dies_with_us(0, SIGSTOP);
}

/* Killed by the first program, while the others are being started: the guard is there already. */
TEST_TIMEOUT(kill_9_of_a_supervisor_that_is_starting, 60) {
        char text[2000];
        size_t len = (size_t)snprintf(text, sizeof(text), "sh -c 'sleep 1000 & kill -9 $PPID; wait'");
        confab_job *job;
        pid_t pid;

        if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
                skip("emulator: qemu-user 7.2 has no PR_SET_CHILD_SUBREAPER");
        while (len < sizeof(text) - 20)
                len += (size_t)snprintf(text + len, sizeof(text) - len, " | sleep 1000");
        pid = fork();
        if (pid == 0) {
                start_text(&job, text, CONFAB_JOB_DIE, NULL);
                for (;;)
                        pause();
        }
        all_end();
}

TEST_TIMEOUT(kill_9_of_a_supervisor_of_a_session, 60) {
        dies_with_us(CONFAB_JOB_SESSION, 0);
}

TEST(the_promise_ends_with_the_job) {
        confab_job *job;

        check_ok(start_text(&job, "true", CONFAB_JOB_DIE, NULL));
        check_ok(confab_job_wait(job, CONFAB_FOREVER));
        check_eq(waitpid(-1, NULL, WNOHANG), -1); /* the guard has gone too */
        check_eq(errno, ECHILD);
        confab_job_free(job);
}

TEST(a_forked_child_has_no_job) {
        confab_job *job;
        int status;
        pid_t pid;

        check_ok(start_text(&job, "sleep 1000", 0, NULL));
        pid = fork();
        if (pid == 0) {
                check_eq(confab_job_wait(job, CONFAB_NOW), -EOWNERDEAD);
                check_eq(confab_job_signal(job, SIGKILL), -EOWNERDEAD);
                check_eq(confab_job_end(job, 0), -EOWNERDEAD);
                check_eq(confab_job_continue(job, 0), -EOWNERDEAD);
                check_eq(confab_job_descriptor(job), -EOWNERDEAD);
                check_eq(confab_job_status(
                                 job, 0,
                                 &(struct confab_stage_status){.size = sizeof(struct confab_stage_status)}),
                         -EOWNERDEAD);
                check_eq(confab_job_result(job), -EOWNERDEAD);
                confab_job_free(job);
                _exit(0);
        }
        check_eq(waitpid(pid, &status, 0), pid);
        check_eq(status, 0);
        check_eq(confab_job_wait(job, CONFAB_NOW), -EAGAIN); /* it runs on */
        confab_job_free(job);
}

static void *wait_for(void *job) {
        check_eq(confab_job_wait(job, CONFAB_FOREVER), -EINTR);
        return NULL;
}

/* The waiting thread is not there, and its wake descriptor's number may be anybody's by now. */
TEST(an_interrupt_in_a_forked_child_writes_nowhere) {
        pthread_t thread;
        confab_job *job;
        int status;
        pid_t pid;

        check_ok(start_text(&job, "sleep 1000", 0, NULL));
        check_eq(pthread_create(&thread, NULL, wait_for, job), 0);
        nap_ms(100); /* it waits, on most days */
        pid = fork();
        if (pid == 0) {
                int fd = open("anybody", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
                struct stat st;

                check(fd >= 0);
                for (int i = 3; i < 64; i++)
                        if (fcntl(i, F_GETFD) < 0)
                                check_eq(dup2(fd, i), i);
                confab_job_interrupt(job);
                check_eq(fstat(fd, &st), 0);
                _exit(st.st_size != 0);
        }
        check_eq(restarted(waitpid(pid, &status, 0)), pid);
        check_eq(status, 0);
        confab_job_interrupt(job);
        check_eq(pthread_join(thread, NULL), 0);
        confab_job_free(job);
}

/* The kernel's struct clone_args, whose header not every C library comes with. */
struct clone_arguments {
        uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
                set_tid_size;
};
#ifndef SYS_clone3
#define SYS_clone3 435
#endif

/* A stage has ended, the other has left the group: the number is free, and somebody else's now. */
TEST_TIMEOUT(a_group_number_used_again_is_not_ours, 60) {
        int number, stranger;
        confab_job *job;

        do {
                struct clone_arguments args = {.exit_signal = SIGCHLD, .set_tid_size = 1};

                check_ok(start_text(&job, "true | setsid sleep 1000", 0, NULL));
                number = status_of(job, 0).pid;
                args.set_tid = (uintptr_t)&number;
                while (getpgid(status_of(job, 1).pid) == number ||
                       status_of(job, 0).state == CONFAB_STAGE_RUNNING)
                        check_eq(confab_job_wait(job, confab_after(5 * ms)), -ETIMEDOUT);
                stranger = (int)syscall(SYS_clone3, &args, sizeof(args));
                if (stranger == 0) {
                        syscall(SYS_setpgid, 0, 0);
                        for (;;)
                                syscall(SYS_ppoll, NULL, 0, NULL, NULL, 0);
                }
                if (stranger < 0) {
                        int error = errno;

                        confab_job_free(job);
                        if (error == ENOSYS)
                                skip("emulator: qemu-user has no clone3");
                        if (error == EPERM)
                                skip("needs root, and CAP_CHECKPOINT_RESTORE");
                        check_eq(error, EEXIST); /* another one was quicker */
                }
        } while (stranger < 0);
        setpgid(stranger, stranger);
        check_ok(confab_job_signal(job, SIGTERM));
        check_ok(confab_job_wait(job, CONFAB_FOREVER));
        check_eq(status_of(job, 1).code, SIGTERM);
        check_eq(waitpid(stranger, NULL, WNOHANG), 0);
        check_ok(confab_job_end(job, 10 * ms));
        check_eq(waitpid(stranger, NULL, WNOHANG), 0);
        confab_job_free(job);
        check_eq(kill(stranger, SIGKILL), 0);
        check_eq(restarted(waitpid(stranger, NULL, 0)), stranger);
}

/* Without a descriptor what has left the group is not seen: that is said. */
TEST_TIMEOUT(a_tree_that_cannot_be_seen_is_not_called_ended, 60) {
        static const char script[] = "setsid sh -c 'echo $$ > a; mv a pid; sleep 1000; :' & wait";
        const char *argv[] = {"sh", "-c", script, NULL};
        struct confab_stage stage = {.size = sizeof(stage), .argv = argv};
        struct rlimit before, few;
        confab_job *job;
        int fd, pid;

        if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
                skip("emulator: qemu-user 7.2 has no PR_SET_CHILD_SUBREAPER");
        check_ok(confab_job_start(&job, &stage, 1, NULL));
        appears("pid");
        pid = atoi(content("pid"));
        check(pid > 0);
        check_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
        few = before;
        fd = dup(0);
        few.rlim_cur = (rlim_t)fd;
        close(fd);
        check_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
        check_eq(confab_job_end(job, 0), -EMFILE);
        check_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
        check_eq(confab_job_result(job), 128 + SIGKILL); /* what could be reached has ended */
        confab_job_free(job);
        check_eq(kill(-pid, SIGKILL), 0);
        all_end();
}

static void reap_all(int number) {
        int saved = errno;

        (void)number;
        while (waitpid(-1, NULL, WNOHANG) > 0)
                ;
        errno = saved;
}

/* As many a program does. It loses statuses, nothing else. */
TEST(a_session_under_a_handler_that_reaps) {
        struct sigaction action = {.sa_handler = reap_all, .sa_flags = SA_RESTART};
        confab_job *job;

        check_eq(sigaction(SIGCHLD, &action, NULL), 0);
        for (int i = 0; i < 20; i++) {
                int r = start_text(&job, "true | true | true", CONFAB_JOB_SESSION, NULL);

                if (r == -EOPNOTSUPP)
                        skip("clone(CLONE_VFORK) is emulated by fork here");
                check_ok(r);
                check_ok(confab_job_wait(job, CONFAB_FOREVER));
                confab_job_free(job);
        }
}

/* The terminal was given to a program that then could not be executed: it is ours again. */
TEST(a_terminal_comes_back_from_a_program_that_is_none) {
        int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), status;
        pid_t pid;

        check(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
        file("broken", "#!/nonexistent/interpreter\n");
        check_eq(chmod("broken", 0755), 0);
        pid = fork();
        if (pid == 0) {
                const char *argv[] = {"./broken", NULL};
                struct confab_stage stage = {.size = sizeof(stage), .argv = argv};
                struct confab_job_options options = {.size = sizeof(options), .flags = CONFAB_JOB_FOREGROUND};
                confab_job *job;
                int r;

                check(setsid() > 0);
                options.terminal = open(ptsname(master), O_RDWR | O_CLOEXEC);
                check(options.terminal > 0);
                check_eq(tcgetpgrp(options.terminal), getpgrp());
                r = confab_job_start(&job, &stage, 1, &options);
                if (r == 0) {
                        confab_job_free(job);
                        _exit(77);
                }
                check_eq(r, -ENOENT);
                check_eq(tcgetpgrp(options.terminal), getpgrp());
                _exit(0);
        }
        check_eq(restarted(waitpid(pid, &status, 0)), pid);
        close(master);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
                skip("clone(CLONE_VFORK) is emulated by fork here");
        check_eq(status, 0);
}

/* A caller that knows more of a stage than this library. */
TEST(larger_stages) {
        struct {
                struct confab_stage stage;
                uint64_t more[4];
        } stages[3];
        const char *argv[] = {"true", NULL};
        confab_job *job;

        memset(stages, 0xff, sizeof(stages));
        for (unsigned i = 0; i < 3; i++)
                stages[i].stage = (struct confab_stage){.size = sizeof(stages[0]), .argv = argv};
        check_ok(confab_job_start(&job, &stages[0].stage, 3, NULL));
        check_ok(confab_job_wait(job, CONFAB_FOREVER));
        check_eq(confab_job_result(job), 0);
        confab_job_free(job);
        stages[1].stage.size = sizeof(stages[0].stage);
        check_eq(confab_job_start(&job, &stages[0].stage, 3, NULL), -EINVAL);
}

/* Somebody waits for any child: our statuses are gone, but nothing hangs. */
TEST(statuses_taken_by_another) {
        confab_job *job;

        check_ok(start_text(&job, "true", 0, NULL));
        check_eq(waitpid(-1, NULL, 0), status_of(job, 0).pid);
        check_ok(confab_job_wait(job, CONFAB_FOREVER));
        check_eq(status_of(job, 0).state, CONFAB_STAGE_LOST);
        confab_job_free(job);
}

TEST(to_and_from_a_connected_socket) {
        confab_endpoint *listener, *peer;
        struct confab_message message = confab_message_of("b\na\n", 4);
        char text[16];
        confab_job *job;

        check_ok(confab_listen(&listener, "unix://sock", NULL, CONFAB_NOW));
        {
                struct confab_pipeline *pipeline;

                check_ok(confab_pipeline_parse(&pipeline, "sort < unix://sock > out"));
                check_ok(confab_job_start(&job, pipeline->stages, 1, NULL));
                confab_pipeline_free(pipeline);
        }
        check_ok(confab_accept(&peer, listener, CONFAB_FOREVER));
        check_eq(confab_send(peer, &message, CONFAB_FOREVER), 4);
        confab_close(peer);
        check_ok(confab_job_wait(job, CONFAB_FOREVER));
        confab_job_free(job);
        check_str(content("out"), "a\nb\n");

        {
                struct confab_pipeline *pipeline;

                check_ok(confab_pipeline_parse(&pipeline, "echo there > unix://sock"));
                check_ok(confab_job_start(&job, pipeline->stages, 1, NULL));
                confab_pipeline_free(pipeline);
        }
        check_ok(confab_accept(&peer, listener, CONFAB_FOREVER));
        check_ok(confab_job_wait(job, CONFAB_FOREVER));
        confab_job_free(job);
        message = confab_message_of(NULL, 0);
        check_eq(confab_receive(peer, &message, NULL, CONFAB_FOREVER), 1);
        snprintf(text, sizeof(text), "%.*s", (int)message.data_len, (const char *)message.data);
        check_str(text, "there\n");
        confab_release(peer, &message);
        check_eq(confab_receive(peer, &message, NULL, CONFAB_FOREVER),
                 0); /* our copy is closed: the peer sees the end */
        confab_close(peer);
        confab_close(listener);
}

/* No descriptor of a byte stream: the bytes are carried by the wait, a line a message. */
TEST(to_and_from_messages) {
        confab_endpoint *receiver;
        struct confab_message message;
        struct confab_pipeline *pipeline;
        confab_job *job;
        char text[16];

        check_ok(confab_listen(&receiver, "unix://box?type=datagram", NULL, CONFAB_NOW));
        check_ok(confab_pipeline_parse(&pipeline, "printf 'one\\ntwo\\n' > 'unix://box?type=datagram'"));
        check_ok(confab_job_start(&job, pipeline->stages, 1, NULL));
        confab_pipeline_free(pipeline);
        check_ok(confab_job_wait(job, CONFAB_FOREVER));
        check_eq(confab_job_result(job), 0);
        confab_job_free(job);
        for (int i = 0; i < 2; i++) {
                message = confab_message_of(NULL, 0);
                check_eq(confab_receive(receiver, &message, NULL, CONFAB_NOW), 1);
                snprintf(text, sizeof(text), "%.*s", (int)message.data_len, (const char *)message.data);
                check_str(text, i ? "two" : "one");
                confab_release(receiver, &message);
        }
        confab_close(receiver);
}

/* The queue is full, the pipe too: there is nothing to do, and the descriptor says so. */
TEST_TIMEOUT(the_descriptor_is_quiet_while_nobody_takes, 60) {
        confab_endpoint *receiver, *other;
        struct confab_message message = confab_message_of("x", 1);
        struct confab_pipeline *pipeline;
        struct pollfd ready = {.events = POLLIN};
        confab_job *job;

        check_ok(confab_listen(&receiver, "unix://box?type=datagram", NULL, CONFAB_NOW));
        check_ok(confab_open(&other, "unix://box?type=datagram", NULL, CONFAB_FOREVER));
        check_ok(confab_pipeline_parse(&pipeline, "seq 100000 > 'unix://box?type=datagram'"));
        check_ok(confab_job_start(&job, pipeline->stages, 1, NULL));
        confab_pipeline_free(pipeline);
        ready.fd = (int)check_ok(confab_job_descriptor(job));
        do {
                check(poll(&ready, 1, 10) >= 0 || errno == EINTR);
                check_eq(confab_job_wait(job, CONFAB_NOW), -EAGAIN);
        } while (confab_send(other, &message, CONFAB_NOW) == 1);
        for (int n_quiet = 0; n_quiet < 10;) {
                n_quiet = poll(&ready, 1, 10) == 0 ? n_quiet + 1 : 0;
                check_eq(confab_job_wait(job, CONFAB_NOW), -EAGAIN);
        }
        confab_job_free(job);
        confab_close(other);
        confab_close(receiver);
}

/* printf without a newline at its end, and a program that is cut off: what there is goes. */
TEST(the_last_line_needs_no_newline) {
        static const struct {
                const char *text, *messages[3];
        } cases[] = {
                {"printf 'one\\n\\ntwo' > 'unix://box?type=datagram'", {"one", "", "two"}},
                {"printf x > 'unix://box?type=datagram'", {"x"}},
                {"printf '\\n' > 'unix://box?type=datagram'", {""}},
                {"true > 'unix://box?type=datagram'", {NULL}},
        };
        confab_endpoint *receiver;

        check_ok(confab_listen(&receiver, "unix://box?type=datagram", NULL, CONFAB_NOW));
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                struct confab_message message = confab_message_of(NULL, 0);

                check_eq(run_plain(cases[i].text), 0);
                for (int n = 0; n < 3 && cases[i].messages[n]; n++) {
                        message = confab_message_of(NULL, 0);
                        check_eq(confab_receive(receiver, &message, NULL, CONFAB_NOW), 1);
                        check_eq(message.data_len, strlen(cases[i].messages[n]));
                        check_mem(message.data, cases[i].messages[n], message.data_len);
                        confab_release(receiver, &message);
                }
                check_eq(confab_receive(receiver, &message, NULL, CONFAB_NOW), -EAGAIN);
        }
        confab_close(receiver);
}

/* Nobody takes what the program has written: its end is the end. */
TEST(an_ended_job_waits_for_nobody) {
        confab_endpoint *receiver;
        struct confab_pipeline *pipeline;
        confab_job *job;

        check_ok(confab_listen(&receiver, "unix://box?type=datagram", NULL, CONFAB_NOW));
        check_ok(confab_pipeline_parse(&pipeline, "yes > 'unix://box?type=datagram'"));
        check_ok(confab_job_start(&job, pipeline->stages, 1, NULL));
        confab_pipeline_free(pipeline);
        check_eq(confab_job_wait(job, confab_after(100 * ms)), -ETIMEDOUT);
        check_ok(confab_job_signal(job, SIGTERM));
        confab_job_wait(job, confab_after(100 * ms)); /* for its last bytes, on most days */
        check_ok(confab_job_end(job, 0));
        check_ok(confab_job_wait(job, confab_after(20 * s)));
        check_eq(confab_job_result(job), 128 + SIGTERM);
        confab_job_free(job);
        confab_close(receiver);
}

/* What cannot be waited for together with a program is refused: the wait would never hear of it. */
TEST(an_address_without_a_descriptor) {
        confab_endpoint *queue;
        struct confab_pipeline *pipeline;
        char address[300], folder[200], text[400];
        confab_job *job;

        file("key", "");
        check(getcwd(folder, sizeof(folder)));
        snprintf(address, sizeof(address), "sysv://%s/key", folder);
        check_ok(confab_listen(&queue, address, NULL, CONFAB_NOW));
        for (int polled = 0; polled < 2; polled++) {
                snprintf(text, sizeof(text), "seq 3 > '%s%s'", address, polled ? "?poll=1" : "");
                check_ok(confab_pipeline_parse(&pipeline, text));
                check_eq(confab_job_start(&job, pipeline->stages, 1, NULL), polled ? 0 : -EOPNOTSUPP);
                confab_pipeline_free(pipeline);
        }
        check_ok(confab_job_wait(job, CONFAB_FOREVER));
        confab_job_free(job);
        for (int i = 0; i < 3; i++) {
                struct confab_message message = confab_message_of(NULL, 0);

                check_eq(confab_receive(queue, &message, NULL, CONFAB_NOW), 1);
                check_eq(((const char *)message.data)[0], '1' + i);
                confab_release(queue, &message);
        }
        confab_close(queue);
}

TEST(through_a_program_behind_an_address) {
        check_eq(run_plain("printf 'b\\na\\n' > 'exec://sort > out'"), 0);
        check_str(content("out"), "a\nb\n");
        check_eq(run_plain("cat < 'exec://echo from it' > out"), 0);
        check_str(content("out"), "from it\n");
}

/* Resident memory of ours, KiB. */
static long resident_kib(void) {
        const char *at = strstr(content("/proc/self/status"), "VmRSS:");

        check(at != NULL);
        return strtol(at + 6, NULL, 10);
}

/* Two programs a turn; JOBS in the environment says how many turns (./run soak: 50,000). The harness looks for descriptors and children. */
TEST_TIMEOUT(nothing_leaks, 120) {
        const char *turns = getenv("JOBS");
        long n = turns ? atol(turns) : 200, before,
             more_kib = HARNESS_TSAN || HARNESS_ASAN ? 64 * 1024 : 1024;

        for (long i = 0; i < n / 10; i++)
                check_eq(run_plain("true | true"), 0);
        before = resident_kib();
        for (long i = 0; i < n - n / 10; i++)
                check_eq(run_plain("true | true"), 0);
        check(resident_kib() < before + more_kib);
}
