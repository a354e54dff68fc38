/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* Descriptors over unix:// (FAULTS 17, 18): every kind, too many, not taken, in a ring. */
#include "conversation.h"
#include "core/transport.h"
#include "harness.h"

#include <confab/confab.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int64_t send_descriptors(confab_endpoint *endpoint, const char *text, const int *fds, uint32_t n) {
        struct confab_message message = confab_message_of(text, strlen(text));

        message.descriptors = fds;
        message.n_descriptors = n;
        return confab_send(endpoint, &message, soon());
}

TEST(descriptors_of_every_kind_travel) {
        static const char *const addresses[] = {"unix://", "unix://?type=seqpacket", "unix://?type=datagram",
                                                "unix://?frame=record"};

        for (size_t t = 0; t < 4; t++) {
                confab_endpoint *ends[2];
                struct confab_message got = confab_message_of(NULL, 0);
                int fds[5], taken;
                struct stat before, after;

                check_ok(confab_pair(ends, addresses[t], NULL));
                fds[0] = open("/dev/zero", O_RDONLY | O_CLOEXEC);
                fds[1] = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                fds[2] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
                fds[3] = open(".", O_PATH | O_CLOEXEC);
                fds[4] = open("plain", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
                send_text(ends[1], "before ");
                check_eq(check_ok(send_descriptors(ends[1], "with", fds, 5)), 4);
                send_text(ends[1], " after");
                if (t == 0) { /* a stream: the read ends behind the message that brought them */
                        check_eq(check_ok(confab_receive(ends[0], &got, NULL, soon())), 1);
                        check_mem(got.data, "before with", 11);
                } else {
                        receive_text(ends[0], "before ");
                        check_eq(check_ok(confab_receive(ends[0], &got, NULL, soon())), 1);
                        check_mem(got.data, "with", 4);
                }
                check_eq(got.n_descriptors, 5);
                for (int i = 0; i < 5; i++)
                        check(fcntl(got.descriptors[i], F_GETFD) == FD_CLOEXEC);
                taken = (int)check_ok(confab_take_descriptor(&got, 4));
                check_eq(confab_take_descriptor(&got, 4), -ENODATA);
                check_eq(confab_take_descriptor(&got, 5), -EINVAL);
                check(fstat(taken, &after) == 0 && fstat(fds[4], &before) == 0 &&
                      before.st_ino == after.st_ino);
                confab_release(ends[0], &got);
                receive_text(ends[0], " after");
                close(taken);
                for (int i = 0; i < 5; i++)
                        close(fds[i]);
                confab_close(ends[0]);
                confab_close(ends[1]);
        }
}

TEST(descriptors_not_taken_are_closed) {
        confab_endpoint *ends[2];
        int fds[253], last;

        check_ok(confab_pair(ends, "unix://?type=seqpacket", NULL));
        for (int i = 0; i < 253; i++)
                fds[i] = 0;
        last = dup(0);
        close(last);
        for (int round = 0; round < 4; round++) { /* 1,012 descriptors */
                struct confab_message got = confab_message_of(NULL, 0);
                int probe;

                check_eq(check_ok(send_descriptors(ends[1], "x", fds, 253)), 1);
                check_eq(check_ok(confab_receive(ends[0], &got, NULL, soon())), 1);
                check_eq(got.n_descriptors, 253);
                confab_release(ends[0], &got);
                probe = dup(0);
                check_eq(probe, last);
                close(probe);
        }
        /* under way when the receiver closes: the kernel's to close */
        check_eq(check_ok(send_descriptors(ends[1], "x", fds, 253)), 1);
        check_eq(send_descriptors(ends[1], "x", fds, 254), -EINVAL);
        fds[7] = 9999;
        check_eq(send_descriptors(ends[1], "x", fds, 253), -EBADF);
        check_says("not open");
        confab_close(ends[0]);
        confab_close(ends[1]);
}

TEST(descriptors_need_a_byte_on_a_stream) {
        confab_endpoint *ends[2];
        int fd = 0;

        check_ok(confab_pair(ends, "unix://", NULL));
        check_eq(send_descriptors(ends[1], "", &fd, 1), -EINVAL);
        check_says("one byte");
        confab_close(ends[0]);
        confab_close(ends[1]);
}

static int64_t refused_descriptors = -1;

static void note_refused(const struct confab_event *event, void *data) {
        (void)data;
        if (event->kind == CONFAB_EVENT_DESCRIPTORS_REFUSED)
                refused_descriptors = event->value;
}

/* 253 descriptors for one who may have 64: all refused, nothing leaked, and life goes on. */
TEST(descriptor_flood) {
        static const char *const addresses[] = {"unix://?type=seqpacket", "unix://?type=datagram", "unix://",
                                                "unix://?frame=record"};
        struct rlimit old, few = {64, 64};
        int fds[253] = {0};

        confab_on_event(note_refused, NULL);
        check(getrlimit(RLIMIT_NOFILE, &old) == 0);
        few.rlim_max = old.rlim_max;
        for (size_t t = 0; t < 4; t++) {
                confab_endpoint *ends[2];
                struct confab_message got = confab_message_of(NULL, 0);
                bool stream = t >= 2;
                int before, after;

                check_ok(confab_pair(ends, addresses[t], NULL));
                check_eq(check_ok(send_descriptors(ends[1], "flood", fds, 253)), 5);
                send_text(ends[1], "next");
                check(setrlimit(RLIMIT_NOFILE, &few) == 0);
                before = dup(0);
                close(before);
                refused_descriptors = -1;
                check_eq(confab_receive(ends[0], &got, NULL, soon()), stream ? -EPROTO : -EMSGSIZE);
                check_says("RLIMIT_NOFILE");
                check(refused_descriptors > 0);
                after = dup(0);
                close(after);
                check_eq(after, before);
                if (stream) /* what follows would not fit to what came before */
                        check_eq(confab_receive(ends[0], &got, NULL, soon()), -EPROTO);
                else
                        receive_text(ends[0], "next");
                check(setrlimit(RLIMIT_NOFILE, &old) == 0);
                confab_close(ends[0]);
                confab_close(ends[1]);
        }
        confab_on_event(NULL, NULL);
}

/* Under way and never taken: the kernel counts them to the user who sent them, and stops him. */
TEST(descriptors_under_way_are_limited) {
        pid_t pid;
        int status;

        if (geteuid() != 0)
                skip("needs root");
        pid = fork();
        if (pid == 0) {
                struct rlimit few = {64, 64};
                confab_endpoint *ends[2];
                int fds[50] = {0};
                int64_t r = 0;

                check(setgid(61234) == 0 && setuid(61234) == 0); /* a user who has nothing else under way */
                check_ok(confab_pair(ends, "unix://?type=seqpacket", NULL));
                check(setrlimit(RLIMIT_NOFILE, &few) == 0);
                for (int i = 0; i < 5 && r >= 0; i++)
                        r = send_descriptors(ends[1], "x", fds, 50);
                check_eq(r, -ETOOMANYREFS);
                check_says("under way");
                send_text(ends[1], "without"); /* nothing else is disturbed */
                _exit(0);
        }
        check(waitpid(pid, &status, 0) == pid && status == 0);
}

/* Unix sockets in a ring, sent through each other and given up: the kernel's collector gets them, we hold none. */
TEST(descriptors_in_a_ring) {
        for (int round = 0; round < 50; round++) {
                confab_endpoint *a[2], *b[2];
                int fd;

                check_ok(confab_pair(a, "unix://?type=seqpacket", NULL));
                check_ok(confab_pair(b, "unix://?type=seqpacket", NULL));
                fd = b[0]->fds[0];
                check_eq(check_ok(send_descriptors(a[1], "b in a", &fd, 1)), 6);
                fd = a[0]->fds[0];
                check_eq(check_ok(send_descriptors(b[1], "a in b", &fd, 1)), 6);
                fd = a[0]->fds[0];
                check_eq(check_ok(send_descriptors(a[1], "a in a", &fd, 1)), 6);
                confab_close(a[0]);
                confab_close(a[1]);
                confab_close(b[0]);
                confab_close(b[1]);
        }
        { /* and one that is received does not disturb */
                confab_endpoint *a[2];
                struct confab_message got = confab_message_of(NULL, 0);
                int fd;

                check_ok(confab_pair(a, "unix://", NULL));
                fd = a[0]->fds[0];
                check_eq(check_ok(send_descriptors(a[1], "self", &fd, 1)), 4);
                check_eq(check_ok(confab_receive(a[0], &got, NULL, soon())), 1);
                check_eq(got.n_descriptors, 1);
                confab_release(a[0], &got);
                send_text(a[1], "alive");
                receive_text(a[0], "alive");
                confab_close(a[0]);
                confab_close(a[1]);
        }
}
