/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* The names of unix://: odd, long, taken, stale and forbidden ones. */
#include "conversation.h"
#include "harness.h"

#include <confab/confab.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static mode_t mode_of(const char *path) {
        struct stat st;

        check(lstat(path, &st) == 0);
        check(S_ISSOCK(st.st_mode));
        return st.st_mode & 07777;
}

static int refused(const char *address) {
        confab_endpoint *endpoint = NULL;
        int r = confab_listen(&endpoint, address, NULL, soon());

        check(r < 0 && !endpoint);
        return r;
}

/* What a killed process leaves behind: a socket file nobody is bound to. */
static void leave_stale(const char *path, int type) {
        struct sockaddr_un name = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

        snprintf(name.sun_path, sizeof(name.sun_path), "%s", path);
        check(bind(fd, (struct sockaddr *)&name, sizeof(name)) == 0);
        close(fd);
}

/* --- names (FAULTS 19, 20) --- */

TEST(names_that_can_be_none) {
        static const struct {
                const char *address, *words;
        } table[] = {
                {"unix://", "missing"},     {"unix:///", "ends in /"},
                {"unix://a/", "ends in /"}, {"unix://.", "a folder"},
                {"unix://..", "a folder"},  {"unix://a/..", "a folder"},
                {"unix://a%00b", ""},       {"unix://@x?mode=0600", "abstract"},
                {"unix://x?from=", ""},     {"unix://x?from=a/", "ends in /"},
                {"unix://x?type=raw", ""},  {"unix://x?type=seqpacket&frame=line", "boundaries"},
        };
        char text[700] = "unix://@";

        for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
                int r = refused(table[i].address);

                check(r == -EINVAL || r == -EOPNOTSUPP);
                check_says(table[i].words);
        }
        memset(text + 8, 'n', 108);
        check_eq(refused(text), -EINVAL);
        check_says("107");
        text[8 + 107] = '\0';
        confab_close(listen_on(text));
        strcpy(text, "unix://");
        memset(text + 7, 'n', 256);
        check_eq(refused(text), -EINVAL);
        check_says("255");
        check(folder_is_empty());
}

/* Names that are only odd: taken as they are. */
TEST(names_that_are_only_odd) {
        static const char *const names[] = {"...",   "a b", "%C3%A4", "%FF%FE",           "-x",
                                            "NAME.", "*",   "./@at",  "a:b?type=datagram"};

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
                char address[100];
                confab_endpoint *listener;

                snprintf(address, sizeof(address), "unix://%s", names[i]);
                listener = listen_on(address);
                confab_close(open_to(address));
                check(!folder_is_empty());
                confab_close(listener);
                check(folder_is_empty());
        }
}

TEST(long_paths_work) {
        char path[3000], address[3400];
        confab_endpoint *listener, *a, *b;
        struct confab_peer peer = {.size = sizeof(peer)};
        char text[200], cwd[1000];
        size_t path_len = 0;

        check(getcwd(cwd, sizeof(cwd)));
        for (int i = 0; i < 12; i++) {
                char part[201];

                memset(part, 'a' + i, 200);
                part[200] = '\0';
                check(mkdir(part, 0700) == 0 && chdir(part) == 0);
                path_len += (size_t)snprintf(path + path_len, sizeof(path) - path_len, "%s/", part);
        }
        check(chdir(cwd) == 0);
        snprintf(path + path_len, sizeof(path) - path_len, "socket");
        snprintf(address, sizeof(address), "unix://%s", path);
        listener = listen_on(address);
        check_eq(mode_of(path), 0600);
        check_eq(refused(address), -EADDRINUSE);
        a = open_to(address);
        b = accept_of(listener);
        send_text(a, "far");
        receive_text(b, "far");
        check_ok(confab_peer(a, &peer));
        check_eq(confab_peer_address(&peer, text, sizeof(text)), 0); /* no name anybody else could use */
        check_eq(peer.pid, getpid());
        confab_close(a);
        confab_close(b);
        confab_close(listener);
        check(access(path, F_OK) < 0 && errno == ENOENT);
        leave_stale("short", SOCK_STREAM); /* a stale one there is replaced as well */
        check(rename("short", path) == 0);
        confab_close(listen_on(address));
        check(access(path, F_OK) < 0);

        path[path_len] = '\0';
        memset(text, 'z', 120);
        text[120] = '\0';
        snprintf(address, sizeof(address), "unix://%s%.120s", path, text);
        check_eq(refused(address), -ENAMETOOLONG);
        check_says("shorten");
        check(system("rm -rf a*") == 0);
}

TEST(kernel_chooses_an_abstract_name) {
        confab_endpoint *listener = listen_on("unix://@?type=seqpacket"), *a, *b;

        check(strncmp(confab_address(listener), "unix://@", 8) == 0 && strlen(confab_address(listener)) > 20);
        a = open_to(confab_address(listener));
        b = accept_of(listener);
        send_text(a, "x");
        receive_text(b, "x");
        confab_close(a);
        confab_close(b);
        confab_close(listener);
}

TEST(what_is_no_socket_is_left_alone) {
        struct stat st;

        check(mkdir("folder", 0700) == 0);
        check(close(open("file", O_CREAT | O_WRONLY, 0600)) == 0);
        check(mkfifo("fifo", 0600) == 0);
        check(symlink("target", "dangling") == 0);
        check(symlink("file", "link") == 0);
        leave_stale("stale", SOCK_STREAM);
        check(symlink("stale", "to-stale") == 0);

        check_eq(refused("unix://folder"), -EEXIST);
        check_says("is a folder");
        check_eq(refused("unix://file"), -EEXIST);
        check_says("a regular file");
        check_eq(refused("unix://fifo"), -EEXIST);
        check_eq(refused("unix://dangling"), -EEXIST);
        check_says("a symbolic link");
        check_eq(refused("unix://link"), -EEXIST);
        check_eq(refused("unix://to-stale"), -EEXIST);
        check(lstat("target", &st) < 0);
        check(lstat("stale", &st) == 0);
        check_eq(refused("unix://nowhere/x"), -ENOENT);
        check_says("folder for it does not exist (nowhere/)");
        check_eq(refused("unix://file/x"), -ENOTDIR);

        check_eq(confab_remove("unix://file"), -EEXIST);
        check_eq(confab_remove("unix://to-stale"), -EEXIST);
        check_eq(confab_remove("unix://none"), -ENOENT);
        check_eq(confab_remove("unix://@none"), -EOPNOTSUPP);
        check_ok(confab_remove("unix://stale"));
        check(lstat("stale", &st) < 0);
        check(unlink("fifo") == 0);
}

/* --- stale files --- */

static int n_replaced;

static void count_replaced(const struct confab_event *event, void *data) {
        (void)data;
        if (event->kind == CONFAB_EVENT_STALE_SOCKET_REPLACED)
                n_replaced++;
}

TEST(stale_files_are_replaced) {
        static const int left[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
        static const char *const addresses[] = {"unix://s", "unix://s?type=seqpacket",
                                                "unix://s?type=datagram"};
        confab_endpoint *listener, *other;

        confab_on_event(count_replaced, NULL);
        for (int i = 0; i < 3; i++)
                for (int j = 0; j < 3; j++) {
                        leave_stale("s", left[i]);
                        n_replaced = 0;
                        listener = listen_on(addresses[j]);
                        check_eq(n_replaced, 1);
                        other = open_to(addresses[j]);
                        confab_close(other);
                        /* somebody is there now, whatever type is asked for */
                        for (int k = 0; k < 3; k++)
                                check_eq(refused(addresses[k]), -EADDRINUSE);
                        check_says("listens on s already");
                        confab_close(listener);
                        check(folder_is_empty());
                }
        n_replaced = 0;
        listener = listen_on("unix://s");
        check_eq(n_replaced, 0);
        confab_close(listener);
        confab_on_event(NULL, NULL);
}

/* Bound, but not listening yet: alive all the same. */
TEST(a_starter_is_not_taken_for_dead) {
        struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "s"};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        check(bind(fd, (struct sockaddr *)&name, sizeof(name)) == 0);
        check_eq(refused("unix://s"), -EADDRINUSE);
        close(fd);
        confab_close(listen_on("unix://s"));
}

TEST_TIMEOUT(one_of_many_starters_wins, 60) {
        enum { STARTERS = 6, ROUNDS = 100 };

        for (int round = 0; round < ROUNDS; round++) {
                int ready[2], go[2], n_won = 0, status;

                check(pipe(ready) == 0 && pipe(go) == 0);
                leave_stale("s", SOCK_STREAM);
                for (int i = 0; i < STARTERS; i++) {
                        pid_t pid = fork();

                        check(pid >= 0);
                        if (pid == 0) {
                                confab_endpoint *listener = NULL;
                                char byte;
                                int r;

                                close(go[1]);
                                check(read(go[0], &byte, 1) == 0);
                                r = confab_listen(&listener, "unix://s", NULL, CONFAB_FOREVER);
                                check(r == 0 || r == -EADDRINUSE);
                                check(write(ready[1], r == 0 ? "w" : "l", 1) == 1);
                                close(ready[1]);
                                if (r == 0) /* the winner stays until it is killed: its file is stale then */
                                        for (;;)
                                                pause();
                                _exit(0);
                        }
                        if (i == 0)
                                n_won = 0;
                }
                close(go[0]);
                close(go[1]);
                for (int i = 0; i < STARTERS; i++) {
                        char byte = 0;

                        check(read(ready[0], &byte, 1) == 1);
                        n_won += byte == 'w';
                }
                check_eq(n_won, 1);
                {
                        confab_endpoint *client =
                                open_to("unix://s"); /* and it is the winner who has the name */
                        struct confab_peer peer = {.size = sizeof(peer)};

                        check_ok(confab_peer(client, &peer));
                        check(kill((pid_t)peer.pid, SIGKILL) == 0);
                        confab_close(client);
                }
                while (wait(&status) > 0)
                        ;
                close(ready[0]);
                close(ready[1]);
                check(system("test \"$(ls -A)\" = s") == 0); /* nothing set aside was left */
                check(unlink("s") == 0);
        }
}

TEST(a_locked_folder_is_not_waited_for_long) {
        int folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int64_t until_ns = soon();

        leave_stale("s", SOCK_STREAM);
        check(flock(folder, LOCK_EX) == 0);
        check_eq(refused("unix://s"), -EADDRINUSE);
        check_says("locked");
        check(confab_now() < until_ns);
        close(folder);
        confab_close(listen_on("unix://s"));
}

static void ignore(int number) {
        (void)number;
}

/* A second, however many signals come: who keeps the lock has all of it to let go. */
TEST(signals_do_not_shorten_the_wait_for_a_lock) {
        int folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct sigaction action = {.sa_handler = ignore};
        struct itimerval often = {{0, 100}, {0, 100}}, never = {{0, 0}, {0, 0}};
        int64_t before_ns;

        leave_stale("s", SOCK_STREAM);
        check(flock(folder, LOCK_EX) == 0);
        check(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &often, NULL) == 0);
        before_ns = confab_now();
        check_eq(refused("unix://s"), -EADDRINUSE);
        check(setitimer(ITIMER_REAL, &never, NULL) == 0);
        check(elapsed_ms(before_ns) >= 1000);
        close(folder);
        check(unlink("s") == 0);
}

TEST(only_its_own_file_is_removed) {
        confab_endpoint *listener = listen_on("unix://s"), *second;
        struct stat st;
        pid_t pid;
        int status;

        pid = fork(); /* a child's close is not the owner's */
        if (pid == 0) {
                confab_close(listener);
                _exit(0);
        }
        check(waitpid(pid, &status, 0) == pid && status == 0);
        check(lstat("s", &st) == 0);
        confab_close(open_to("unix://s"));

        check(unlink("s") == 0); /* somebody took the name by force */
        second = listen_on("unix://s");
        confab_close(listener);
        check(lstat("s", &st) == 0);
        confab_close(open_to("unix://s"));
        confab_close(second);
        check(folder_is_empty());

        check(mkdir("folder", 0700) == 0); /* removed wherever the folder and the process have gone */
        listener = listen_on("unix://folder/s");
        check(rename("folder", "moved") == 0 && chdir("/") == 0);
        confab_close(listener);
}

TEST(persistent_files_stay) {
        confab_endpoint *listener = listen_on("unix://s?lifetime=persistent");
        struct stat st;

        confab_close(listener);
        check(lstat("s", &st) == 0);
        confab_close(listen_on("unix://s"));
        check(folder_is_empty());
}

/* --- permissions (FAULTS 21) --- */

TEST(mode_is_what_was_asked_for) {
        static const mode_t masks[] = {0, 022, 077, 0777};
        static const unsigned modes[] = {0600, 0666, 0777, 0020, 0660};

        for (size_t i = 0; i < 4; i++)
                for (size_t j = 0; j < 5; j++) {
                        char address[64];
                        confab_endpoint *listener;
                        mode_t old = umask(masks[i]);

                        if (j == 0)
                                snprintf(address, sizeof(address), "unix://s");
                        else
                                snprintf(address, sizeof(address), "unix://s?mode=%04o&type=%s", modes[j],
                                         j % 2 ? "stream" : "datagram");
                        listener = listen_on(address);
                        umask(old);
                        check_eq(mode_of("s"), modes[j]);
                        confab_close(listener);
                }
}

/* Never more open than asked for, not for a moment: another thread looks all the time. */
static _Atomic bool looking;
static _Atomic int n_seen, n_too_open;

static void *look(void *data) {
        struct stat st;

        (void)data;
        while (looking)
                if (lstat("s", &st) == 0) {
                        n_seen++;
                        if (st.st_mode & 0077)
                                n_too_open++;
                }
        return NULL;
}

TEST(mode_is_right_from_the_beginning) {
        mode_t old = umask(0);
        pthread_t thread;

        looking = true;
        check(pthread_create(&thread, NULL, look, NULL) == 0);
        for (int i = 0; i < 3000 || (n_seen < 100 && i < 30000); i++)
                confab_close(listen_on("unix://s"));
        looking = false;
        pthread_join(thread, NULL);
        umask(old);
        check(n_seen > 0);
        check_eq(n_too_open, 0);
}

TEST(owner_and_group) {
        struct stat st;
        confab_endpoint *listener;

        if (geteuid() != 0)
                skip("needs root");
        listener = listen_on("unix://s?owner=65534&group=65534&mode=0660");
        check(lstat("s", &st) == 0);
        check_eq(st.st_uid, 65534);
        check_eq(st.st_gid, 65534);
        check_eq(st.st_mode & 07777, 0660);
        confab_close(listener);
        check(folder_is_empty());
}

TEST(no_permission_says_which_file_which_mode_which_user) {
        confab_endpoint *listener;
        pid_t pid;
        int status;

        if (geteuid() != 0)
                skip("needs root");
        check(chmod(".", 0711) == 0);
        listener = listen_on("unix://s");
        pid = fork();
        if (pid == 0) {
                confab_endpoint *endpoint = NULL;

                check(setgid(65534) == 0 && setuid(65534) == 0);
                check_eq(confab_open(&endpoint, "unix://s", NULL, soon()), -EACCES);
                check_says(
                        "s is a socket of mode 0600 that belongs to user 0, and this process is user 65534");
                check_eq(confab_listen(&endpoint, "unix://s2", NULL, soon()), -EACCES);
                check_says("user 65534");
                check_eq(confab_listen(&endpoint, "unix://s", NULL, soon()), -EACCES);
                _exit(0);
        }
        check(waitpid(pid, &status, 0) == pid && status == 0);
        confab_close(listener);
}

TEST(setuid_callers_make_files_of_the_effective_user) {
        pid_t pid;
        int status;

        if (geteuid() != 0)
                skip("needs root");
        check(chmod(".", 0777) == 0);
        pid = fork();
        if (pid == 0) {
                struct stat st;
                confab_endpoint *listener;

                check(setresuid(0, 65534, 0) == 0);
                listener = listen_on("unix://s?mode=0640");
                check(lstat("s", &st) == 0);
                check_eq(st.st_uid, 65534);
                check_eq(st.st_mode & 07777, 0640);
                confab_close(listener);
                _exit(0);
        }
        check(waitpid(pid, &status, 0) == pid && status == 0);
        check(folder_is_empty());
}

/* --- what opening and exiting meet --- */

TEST(what_opening_meets) {
        confab_endpoint *endpoint = NULL, *listener;

        check_eq(confab_open(&endpoint, "unix://none", NULL, soon()), -ENOENT);
        check_says("no socket of that name");
        check_eq(confab_open(&endpoint, "unix://@confab-unit-none", NULL, soon()), -ECONNREFUSED);
        leave_stale("stale", SOCK_STREAM);
        check_eq(confab_open(&endpoint, "unix://stale", NULL, soon()), -ECONNREFUSED);
        check_says("nobody listens");
        check(unlink("stale") == 0);
        check(close(open("file", O_CREAT | O_WRONLY, 0600)) == 0);
        check_eq(confab_open(&endpoint, "unix://file", NULL, soon()), -ECONNREFUSED);
        check_says("a regular file, not a socket");
        listener = listen_on("unix://s");
        check_eq(confab_open(&endpoint, "unix://s?type=datagram", NULL, soon()), -EPROTOTYPE);
        check_says("another type");
        confab_close(listener);
        check_eq(confab_open(&endpoint, "unix://", NULL, soon()), -EINVAL);
        check(!endpoint);
}

/* Nothing of a process that exits without closing is in the way of the next. */
TEST(exit_without_close) {
        pid_t pid = fork();
        struct stat st;
        int status;

        if (pid == 0) {
                listen_on("unix://s");
                _exit(0);
        }
        check(waitpid(pid, &status, 0) == pid && status == 0);
        check(lstat("s", &st) == 0);
        confab_close(listen_on("unix://s"));
        check(folder_is_empty());
}
