/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include "conversation.h"
#include "harness.h"

#include <confab/confab.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char address[4200], path[4096];

/* "fifo:///<working folder>/<name><keys>" in address, the path in path. */
static const char *name_fifo(const char *name, const char *keys) {
        char folder[3000];

        check(getcwd(folder, sizeof(folder)) != NULL);
        snprintf(path, sizeof(path), "%s/%s", folder, name);
        snprintf(address, sizeof(address), "fifo://%s%s", path, keys);
        return address;
}

TEST(listener_receives_opener_sends) {
        confab_endpoint *receiver, *sender;
        struct confab_properties properties = {.size = sizeof(properties)};
        char text[32];
        struct stat st;

        check_ok(confab_listen(&receiver, name_fifo("fifo", ""), NULL, CONFAB_NOW));
        check_eq(stat(path, &st), 0);
        check_eq(st.st_mode, S_IFIFO | 0600);
        check_eq(try_receive(receiver, text, sizeof(text), CONFAB_NOW), -EAGAIN);
        check_ok(confab_open(&sender, address, NULL, CONFAB_NOW));
        send_text(sender, "hello");
        receive_text(receiver, "hello");
        check_eq(try_send(receiver, "no", soon()), -EOPNOTSUPP);
        check_ok(confab_endpoint_properties(&properties, sender));
        check_eq(properties.capacity, 65536);
        confab_close(sender);
        check_eq(try_receive(receiver, text, sizeof(text), soon()), 0);
        confab_close(receiver);
        check_eq(lstat(path, &st), -1);
}

/* No writer yet is no end: what tells them apart is POLLHUP, which the kernel shows only once a writer has come and gone. */
TEST(no_writer_yet_is_not_the_end) {
        confab_endpoint *receiver;
        char text[32];
        int64_t began_ns = confab_now();
        int writer;

        check_ok(confab_listen(&receiver, name_fifo("fifo", ""), NULL, CONFAB_NOW));
        check_eq(try_receive(receiver, text, sizeof(text), CONFAB_NOW), -EAGAIN);
        check_eq(try_receive(receiver, text, sizeof(text), after_ms(30)), -ETIMEDOUT);
        check(confab_now() - began_ns >= 30000000);
        writer = open(path, O_WRONLY | O_CLOEXEC);
        check_eq(try_receive(receiver, text, sizeof(text), CONFAB_NOW), -EAGAIN);
        close(writer);
        /* It wrote nothing, but it was there. */
        check_eq(try_receive(receiver, text, sizeof(text), CONFAB_NOW), 0);
        check_eq(try_receive(receiver, text, sizeof(text), CONFAB_NOW), 0);
        /* The next writer is received as the first one was. */
        writer = open(path, O_WRONLY | O_CLOEXEC);
        check_eq(try_receive(receiver, text, sizeof(text), CONFAB_NOW), -EAGAIN);
        check_eq(write(writer, "again", 5), 5);
        close(writer);
        check_eq(try_receive(receiver, text, sizeof(text), CONFAB_NOW), 1);
        check_str(text, "again");
        check_eq(try_receive(receiver, text, sizeof(text), CONFAB_NOW), 0);
        confab_close(receiver);
}

/* What the manual says for a receiver that wants no end between its senders. */
TEST(a_sender_of_ones_own_keeps_the_end_away) {
        confab_endpoint *receiver, *keeper, *sender;
        char text[32];

        check_ok(confab_listen(&receiver, name_fifo("fifo", ""), NULL, CONFAB_NOW));
        check_ok(confab_open(&keeper, address, NULL, CONFAB_NOW));
        for (int i = 0; i < 2; i++) {
                check_ok(confab_open(&sender, address, NULL, CONFAB_NOW));
                send_text(sender, "one");
                confab_close(sender);
                check_eq(try_receive(receiver, text, sizeof(text), CONFAB_NOW), 1);
                check_eq(try_receive(receiver, text, sizeof(text), CONFAB_NOW), -EAGAIN);
        }
        confab_close(keeper);
        check_eq(try_receive(receiver, text, sizeof(text), CONFAB_NOW), 0);
        confab_close(receiver);
}

TEST(waiting_receiver_meets_late_writer) {
        confab_endpoint *receiver;
        char text[32];
        int status;
        pid_t pid;

        check_ok(confab_listen(&receiver, name_fifo("fifo", ""), NULL, CONFAB_NOW));
        pid = fork();
        if (pid == 0) {
                confab_endpoint *sender;

                confab_close(receiver); /* a forked process's: leaves the FIFO where it is */
                usleep(50000);
                check_ok(confab_open(&sender, address, NULL, soon()));
                send_text(sender, "late");
                confab_close(sender);
                _exit(0);
        }
        receive_text(receiver, "late");
        check_eq(try_receive(receiver, text, sizeof(text), soon()), 0);
        check_eq(waitpid(pid, &status, 0), pid);
        check_eq(status, 0);
        confab_close(receiver);
}

TEST(sender_without_reader) {
        confab_endpoint *sender = NULL;
        int64_t began_ns;

        check_eq(confab_open(&sender, name_fifo("absent", ""), NULL, CONFAB_NOW), -ENOENT);
        check_says("there is no FIFO");
        name_fifo("fifo", "");
        check_eq(mkfifo(path, 0600), 0);
        check_eq(confab_open(&sender, address, NULL, CONFAB_NOW), -ENXIO);
        check_says("nobody reads");
        began_ns = confab_now();
        check_eq(confab_open(&sender, address, NULL, after_ms(40)), -ETIMEDOUT);
        check(confab_now() - began_ns >= 40000000);
        check_says("nobody reads");
        check(sender == NULL);
        unlink(path);
}

/* Foreign programs on a foreign FIFO: cat blocks in its open until we come, and the other way round. */
TEST(foreign_reader_and_writer) {
        confab_endpoint *endpoint;
        char command[4200], text[32];
        struct stat st;
        FILE *file;

        name_fifo("fifo", "");
        check_eq(mkfifo(path, 0600), 0);
        snprintf(command, sizeof(command), "sleep 0.05; cat %s", path);
        file = popen(command, "re");
        check_ok(confab_open(&endpoint, address, NULL, soon()));
        send_text(endpoint, "to cat\n");
        confab_close(endpoint);
        check(fgets(text, sizeof(text), file) != NULL);
        check_str(text, "to cat\n");
        check_eq(pclose(file), 0);

        snprintf(command, sizeof(command), "echo from echo >%s", path);
        file = popen(command, "re");
        check_ok(confab_open(&endpoint, name_fifo("fifo", "?direction=receive"), NULL, CONFAB_NOW));
        receive_text(endpoint, "from echo\n");
        check_eq(pclose(file), 0);
        confab_close(endpoint);
        /* Nobody of us made it. */
        check_eq(lstat(path, &st), 0);
        unlink(path);
}

TEST(existing_one_is_used_and_left) {
        confab_endpoint *receiver;
        struct stat st;

        name_fifo("fifo", "");
        check_eq(mkfifo(path, 0600), 0);
        check_ok(confab_listen(&receiver, address, NULL, CONFAB_NOW));
        confab_close(receiver);
        check_eq(lstat(path, &st), 0);
        check_ok(confab_remove(address));
        check_eq(lstat(path, &st), -1);
        check_eq(confab_remove(address), -ENOENT);
        check_ok(confab_listen(&receiver, name_fifo("fifo", "?lifetime=persistent"), NULL, CONFAB_NOW));
        confab_close(receiver);
        check_eq(lstat(path, &st), 0);
        unlink(path);
}

TEST(removes_only_its_own) {
        confab_endpoint *receiver;
        struct stat st;

        check_ok(confab_listen(&receiver, name_fifo("fifo", ""), NULL, CONFAB_NOW));
        check_eq(rename(path, "elsewhere"), 0);
        check_eq(mkfifo(path, 0600), 0);
        confab_close(receiver);
        check_eq(lstat(path, &st), 0);
        unlink(path);
        unlink("elsewhere");
}

TEST(other_kinds_are_refused) {
        static const char *const words[] = {"a regular file", "a folder", "a symbolic link",
                                            "a character device"};
        confab_endpoint *endpoint = NULL;
        struct stat st;

        close(open("thing0", O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        check_eq(mkdir("thing1", 0700), 0);
        check_eq(mkfifo("real", 0600), 0);
        check_eq(symlink("real", "thing2"), 0);
        for (int i = 0; i < 4; i++) {
                char name[16];

                snprintf(name, sizeof(name), "thing%d", i);
                name_fifo(name, "");
                if (i == 3)
                        snprintf(address, sizeof(address), "fifo:///dev/null");
                check_eq(confab_listen(&endpoint, address, NULL, CONFAB_NOW), -EEXIST);
                check_says(words[i]);
                check_eq(confab_open(&endpoint, address, NULL, CONFAB_NOW), -EEXIST);
                check_eq(confab_remove(address), -EEXIST);
        }
        check_eq(lstat("thing0", &st), 0);
        check_eq(lstat("thing2", &st), 0);
        unlink("real");
        check_eq(confab_listen(&endpoint, name_fifo("no/such/folder", ""), NULL, CONFAB_NOW), -ENOENT);
        check_eq(confab_listen(&endpoint, "fifo://relative", NULL, CONFAB_NOW), -EINVAL);
        check_eq(confab_listen(&endpoint, "fifo://", NULL, CONFAB_NOW), -EINVAL);
        check_eq(confab_listen(&endpoint, "fifo:///tmp/", NULL, CONFAB_NOW), -EINVAL);
        check_eq(confab_listen(&endpoint, name_fifo("fifo", "?direction=both"), NULL, CONFAB_NOW),
                 -EOPNOTSUPP);
        check_eq(confab_listen(&endpoint, name_fifo("fifo", "?backlog=3"), NULL, CONFAB_NOW), -EOPNOTSUPP);
}

TEST(mode_over_any_umask) {
        confab_endpoint *receiver;
        const mode_t umasks[] = {0, 0022, 0777};
        struct stat st;

        for (int i = 0; i < 3; i++) {
                umask(umasks[i]);
                check_ok(confab_listen(&receiver, name_fifo("fifo", "?mode=0624"), NULL, CONFAB_NOW));
                check_eq(stat(path, &st), 0);
                check_eq(st.st_mode & 07777, 0624);
                confab_close(receiver);
                check_ok(confab_listen(&receiver, name_fifo("fifo", ""), NULL, CONFAB_NOW));
                check_eq(stat(path, &st), 0);
                check_eq(st.st_mode & 07777, 0600);
                confab_close(receiver);
        }
}

TEST(owner_and_group) {
        confab_endpoint *receiver = NULL;
        struct stat st;
        int r;

        r = confab_listen(&receiver, name_fifo("fifo", "?owner=1&group=2&mode=0660"), NULL, CONFAB_NOW);
        if (geteuid() != 0) {
                check_eq(r, -EPERM);
                check_eq(lstat(path, &st), -1); /* what was half made is gone */
                return;
        }
        check_ok(r);
        check_eq(stat(path, &st), 0);
        check_eq(st.st_uid, 1);
        check_eq(st.st_gid, 2);
        check_eq(st.st_mode & 07777, 0660);
        confab_close(receiver);
        check_eq(lstat(path, &st), -1);
}

TEST(stranger_may_not_plant_one) {
        confab_endpoint *receiver = NULL;
        int writer;

        if (geteuid() != 0)
                skip("needs root to act as two users");
        check_eq(mkdir("shared", 0700), 0);
        check_eq(chmod("shared", 01777), 0);
        name_fifo("shared/fifo", "");
        check_eq(mkfifo(path, 0600), 0);
        check_eq(chown(path, 1234, 1234), 0);
        check_eq(confab_listen(&receiver, address, NULL, CONFAB_NOW), -EACCES);
        check_says("1234");
        /* To open what another user listens on is what it is there for. */
        writer = open(path, O_RDWR | O_CLOEXEC);
        check_ok(confab_open(&receiver, address, NULL, CONFAB_NOW));
        confab_close(receiver);
        close(writer);
        unlink(path);
}

TEST(no_permission_says_who_and_what) {
        confab_endpoint *endpoint = NULL;
        int status;
        pid_t pid;

        if (geteuid() != 0)
                skip("needs root to act as two users");
        check_eq(chmod(".", 0755), 0);
        name_fifo("fifo", "");
        check_eq(mkfifo(path, 0600), 0);
        pid = fork();
        if (pid == 0) {
                char folder[] = "/";

                /* The temporary folder's parents let nobody pass: the answer is the same, on the folder. */
                check_eq(setgid(65534), 0);
                check_eq(setuid(65534), 0);
                check_eq(confab_open(&endpoint, address, NULL, CONFAB_NOW), -EACCES);
                check_says("65534");
                check_says(folder);
                _exit(0);
        }
        check_eq(waitpid(pid, &status, 0), pid);
        check_eq(status, 0);
        unlink(path);
}

TEST(capacity_set_seen_and_refused) {
        struct confab_properties properties = {.size = sizeof(properties)};
        confab_endpoint *receiver = NULL;

        check_ok(confab_listen(&receiver, name_fifo("fifo", "?capacity=262144"), NULL, CONFAB_NOW));
        check_ok(confab_endpoint_properties(&properties, receiver));
        check_eq(properties.capacity, 262144);
        confab_close(receiver);
        check(confab_listen(&receiver, name_fifo("fifo", "?capacity=3000000000"), NULL, CONFAB_NOW) < 0);
        check_says("capacity=3000000000");
        check_eq(access(path, F_OK), -1);
        check_ok(confab_properties(&properties, name_fifo("fifo", "?capacity=70000")));
        check_eq(properties.capacity, 131072);
}

TEST(full_waits_and_reader_gone_is_an_error) {
        confab_endpoint *receiver, *sender;
        static char block[65536];
        struct confab_message message = confab_message_of(block, sizeof(block));
        char text[65537];

        check_ok(confab_listen(&receiver, name_fifo("fifo", ""), NULL, CONFAB_NOW));
        check_ok(confab_open(&sender, address, NULL, CONFAB_NOW));
        check_eq(confab_send(sender, &message, CONFAB_NOW), sizeof(block));
        send_text(sender, "");
        check_eq(confab_send(sender, &message, CONFAB_NOW), -EAGAIN);
        check_eq(confab_send(sender, &message, after_ms(20)), -ETIMEDOUT);
        check_eq(try_receive(receiver, text, sizeof(text), CONFAB_NOW), 1);
        send_text(sender, "room");
        confab_close(receiver);
        check_eq(try_send(sender, "nobody", soon()), -EPIPE);
        confab_close(sender);
}

TEST(two_processes_a_killed_sender) {
        confab_endpoint *receiver;
        char text[65537];
        int status, r;
        pid_t pid;

        check_ok(confab_listen(&receiver, name_fifo("fifo", ""), NULL, CONFAB_NOW));
        pid = fork();
        if (pid == 0) {
                confab_endpoint *sender;

                check_ok(confab_open(&sender, address, NULL, soon()));
                for (;;)
                        send_text(sender, "x");
        }
        check_eq(try_receive(receiver, text, sizeof(text), soon()), 1);
        kill(pid, SIGKILL);
        check_eq(waitpid(pid, &status, 0), pid);
        while ((r = try_receive(receiver, text, sizeof(text), soon())) == 1)
                ;
        check_eq(r, 0);
        confab_close(receiver);
}

/* A listener that was killed leaves its FIFO; the next one takes it over. */
TEST(killed_listener_leaves_a_usable_name) {
        confab_endpoint *receiver;
        struct stat st;
        int status;
        pid_t pid;

        name_fifo("fifo", "");
        pid = fork();
        if (pid == 0) {
                check_ok(confab_listen(&receiver, address, NULL, CONFAB_NOW));
                kill(getpid(), SIGKILL);
        }
        check_eq(waitpid(pid, &status, 0), pid);
        check_eq(lstat(path, &st), 0);
        check_ok(confab_listen(&receiver, address, NULL, CONFAB_NOW));
        confab_close(receiver);
        check_ok(confab_remove(address));
}
