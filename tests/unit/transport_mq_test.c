/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* mq://, against the kernel's own calls: what it refuses, creates, keeps in order, removes, and says about limits. */
#include "base/cleanup.h"
#include "conversation.h"
#include "harness.h"

#include <confab/endpoint.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const int64_t MS = 1000000;

/* Names of this process only: the suite may run twice at the same time. */
static const char *name_of(const char *suffix) {
        static char name[300];

        snprintf(name, sizeof(name), "/confab-test-%d-%s", (int)getpid(), suffix);
        return name;
}

static const char *address_of(const char *suffix, const char *keys) {
        static char address[512];

        snprintf(address, sizeof(address), "mq://%s%s", name_of(suffix), keys);
        return address;
}

static void send_at(confab_endpoint *to, const char *text, unsigned priority) {
        struct confab_message message = confab_message_of(text, strlen(text));

        message.priority = priority;
        check_eq(confab_send(to, &message, CONFAB_NOW), strlen(text));
}

static void expect_text(confab_endpoint *from, const char *text, unsigned priority) {
        struct confab_message message = confab_message_of(NULL, 0);

        check_ok(confab_receive(from, &message, NULL, CONFAB_NOW));
        check_eq(message.data_len, strlen(text));
        check_mem(message.data, text, strlen(text));
        check_eq(message.priority, priority);
        confab_release(from, &message);
}

TEST(names_are_refused_with_their_position) {
        char longest[256 + 6] = "mq:///", longer[257 + 6] = "mq:///";
        static const struct {
                const char *address, *says;
        } wrong[] = {
                {"mq://name", "(position 6)"}, {"mq://", "(position 6)"},    {"mq:///", "(position 7)"},
                {"mq:///a/b", "(position 8)"}, {"mq:////", "(position 7)"},  {"mq:///a%2Fb", "(position 8)"},
                {"mq:///.", "(position 7)"},   {"mq:///..", "(position 7)"}, {"mq:///a%00b", "control"},
                {"mq:///a\nb", "control"},
        };
        confab_endpoint *endpoint = NULL;

        for (size_t i = 0; i < CFB_ARRAY_LEN(wrong); i++) {
                check_eq(confab_listen(&endpoint, wrong[i].address, NULL, CONFAB_NOW), -EINVAL);
                check_says(wrong[i].says);
                check_eq(confab_remove(wrong[i].address), -EINVAL);
        }
        memset(longest + 6, 'x', 255);
        memset(longer + 6, 'x', 256);
        check_eq(confab_listen(&endpoint, longer, NULL, CONFAB_NOW), -EINVAL);
        check_says("(position 262)");
        endpoint = listen_on(longest);
        confab_close(endpoint);
        check_eq(confab_open(&endpoint, longest, NULL, CONFAB_NOW), -ENOENT);
}

TEST(higher_priorities_come_first_and_equal_ones_in_order) {
        confab_endpoint *receiver = listen_on(address_of("priority", "")),
                        *sender = open_to(address_of("priority", ""));
        struct confab_message message = confab_message_of("x", 1);
        struct confab_properties properties = {.size = sizeof(properties)};

        send_at(sender, "low", 0);
        send_at(sender, "high", 32767);
        send_at(sender, "first", 7);
        send_at(sender, "second", 7);
        send_at(sender, "", 1);
        expect_text(receiver, "high", 32767);
        expect_text(receiver, "first", 7);
        expect_text(receiver, "second", 7);
        expect_text(receiver, "", 1);
        expect_text(receiver, "low", 0);
        message.priority = 32768;
        check_eq(confab_send(sender, &message, CONFAB_NOW), -EINVAL);
        message = confab_message_of("x", 1);
        message.type = 1;
        check_eq(confab_send(sender, &message, CONFAB_NOW), -EOPNOTSUPP);
        check_ok(confab_endpoint_properties(&properties, sender));
        check_eq(properties.priorities, 32768);
        check_eq(properties.order, CONFAB_ORDER_PRIORITY);
        confab_close(sender);
        confab_close(receiver);
}

TEST(parts_are_gathered_into_one_message) {
        confab_endpoint *receiver = listen_on(address_of("parts", "")),
                        *sender = open_to(address_of("parts", ""));
        const struct iovec parts[] = {{(void *)"one ", 4}, {NULL, 0}, {(void *)"message", 7}};
        struct confab_message message = confab_message_of(NULL, 0);

        message.iov = parts;
        message.n_iov = 3;
        check_eq(confab_send(sender, &message, CONFAB_NOW), 11);
        expect_text(receiver, "one message", 0);
        confab_close(sender);
        confab_close(receiver);
}

TEST(full_and_empty_queues_wait_until_the_deadline) {
        const char *address = address_of("full", "?capacity=2&message-size=16");
        confab_endpoint *receiver = listen_on(address), *sender = open_to(address);
        struct confab_message message = confab_message_of("0123456789abcdef", 16);
        struct confab_properties properties = {.size = sizeof(properties)};
        struct pollfd pollfd;
        int64_t began_ns;

        check_ok(confab_endpoint_properties(&properties, receiver));
        check_eq(properties.capacity, 32);
        check_eq(properties.message_max, 16);
        check_eq(confab_receive(receiver, &message, NULL, CONFAB_NOW), -EAGAIN);
        began_ns = confab_now();
        check_eq(confab_receive(receiver, &message, NULL, confab_after(20 * MS)), -ETIMEDOUT);
        check(confab_now() - began_ns >= 20 * MS);
        message = confab_message_of("0123456789abcdef", 16);
        check_ok(confab_descriptor(sender, CONFAB_SEND, &pollfd));
        check_eq(poll(&pollfd, 1, 0), 1);
        check_eq(confab_send(sender, &message, CONFAB_NOW), 16);
        check_eq(confab_send(sender, &message, CONFAB_NOW), 16);
        check_eq(poll(&pollfd, 1, 0), 0);
        check_eq(confab_send(sender, &message, CONFAB_NOW), -EAGAIN);
        began_ns = confab_now();
        check_eq(confab_send(sender, &message, confab_after(20 * MS)), -ETIMEDOUT);
        check(confab_now() - began_ns >= 20 * MS);
        expect_text(receiver, "0123456789abcdef", 0);
        check_eq(confab_send(sender, &message, CONFAB_NOW), 16);
        confab_close(sender);
        confab_close(receiver);
}

TEST(too_large_is_refused_with_the_figures) {
        const char *address = address_of("large", "?capacity=2&message-size=100");
        confab_endpoint *receiver = listen_on(address), *sender = open_to(address), *small;
        char bytes[101] = {0};
        struct confab_message message = confab_message_of(bytes, 101);

        check_eq(confab_send(sender, &message, CONFAB_NOW), -EMSGSIZE);
        check_says("101 bytes");
        check_says("at most 100");
        check_says("message-size=101"); /* max= would not help */
        check_eq(confab_receive(receiver, &message, NULL, CONFAB_NOW), -EAGAIN);
        message = confab_message_of(bytes, 100);
        check_eq(confab_send(sender, &message, CONFAB_NOW), 100);

        small = open_to(address_of("large", "?direction=receive&max=99"));
        check_eq(confab_receive(small, &message, NULL, CONFAB_NOW), -EMSGSIZE);
        check_says("at most 99");
        check_eq(confab_receive(small, &message, NULL, CONFAB_NOW), -EAGAIN);
        confab_close(small);
        confab_close(sender);
        confab_close(receiver);
}

TEST(a_queue_is_not_inherited_by_number) {
        confab_endpoint *receiver = listen_on(address_of("inherit", ""));
        char address[64];

        check_eq(confab_inherit(receiver, address, sizeof(address)), -EOPNOTSUPP);
        check_says("by its name");
        confab_close(receiver);
}

struct waiting {
        confab_endpoint *endpoint;
        int result;
};

static void *wait_for_message(void *data) {
        struct waiting *waiting = data;
        struct confab_message message = confab_message_of(NULL, 0);

        waiting->result = confab_receive(waiting->endpoint, &message, NULL, CONFAB_FOREVER);
        if (waiting->result == 1)
                confab_release(waiting->endpoint, &message);
        return NULL;
}

TEST(interrupt_and_close_end_a_wait) {
        struct waiting waiting = {.endpoint = listen_on(address_of("interrupt", "")), .result = 0};
        pthread_t thread;

        check_eq(pthread_create(&thread, NULL, wait_for_message, &waiting), 0);
        until_used(waiting.endpoint, CONFAB_RECEIVE);
        confab_interrupt(waiting.endpoint);
        pthread_join(thread, NULL);
        check_eq(waiting.result, -EINTR);
        check_eq(pthread_create(&thread, NULL, wait_for_message, &waiting), 0);
        until_used(waiting.endpoint, CONFAB_RECEIVE);
        nap_ms(10); /* let it really sleep */
        confab_close(waiting.endpoint);
        pthread_join(thread, NULL);
        check_eq(waiting.result, -ECANCELED);
}

TEST(the_mode_is_the_one_asked_for_whatever_the_umask) {
        static const unsigned masks[] = {0, 022, 0777}, modes[] = {0600, 0666, 0640};

        for (size_t i = 0; i < 3; i++)
                for (size_t j = 0; j < 3; j++) {
                        char keys[32];
                        confab_endpoint *receiver;
                        struct pollfd pollfd;
                        struct stat st;

                        umask(masks[i]);
                        snprintf(keys, sizeof(keys), "?mode=%04o", modes[j]);
                        receiver = listen_on(address_of("mode", keys));
                        check_ok(confab_descriptor(receiver, CONFAB_RECEIVE, &pollfd));
                        check_eq(fstat(pollfd.fd, &st), 0);
                        check_eq(st.st_mode & 0777, modes[j]);
                        confab_close(receiver);
                }
        umask(022);
}

TEST(an_existing_queue_is_taken_if_it_is_as_asked) {
        struct mq_attr attr = {.mq_maxmsg = 3, .mq_msgsize = 50};
        confab_endpoint *endpoint = NULL;
        mqd_t fd;

        fd = mq_open(name_of("there"), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600, &attr);
        check(fd >= 0);
        check_eq(mq_send(fd, "kept", 4, 5), 0);
        check_eq(confab_listen(&endpoint, address_of("there", "?capacity=4"), NULL, CONFAB_NOW), -EEXIST);
        check_says("capacity=3, asked for was 4");
        check_eq(confab_listen(&endpoint, address_of("there", "?message-size=51"), NULL, CONFAB_NOW),
                 -EEXIST);
        check_eq(confab_listen(&endpoint, address_of("there", "?mode=0640"), NULL, CONFAB_NOW), -EEXIST);
        check_says("mode=0600, asked for was 0640");
        check_eq(confab_open(&endpoint, address_of("there", "?capacity=2"), NULL, CONFAB_NOW), -EEXIST);
        endpoint = listen_on(address_of("there", "?capacity=3&message-size=50&mode=0600"));
        expect_text(endpoint, "kept", 5);
        confab_close(endpoint);
        /* It was not created here, so it is not removed here. */
        check_eq(mq_send(fd, "again", 5, 0), 0);
        mq_close(fd);
        check_ok(confab_remove(address_of("there", "")));
        check_eq(confab_remove(address_of("there", "")), -ENOENT);
        check_says("no such queue");
}

TEST(persistent_queues_stay_and_only_the_own_one_is_removed) {
        confab_endpoint *receiver = listen_on(address_of("stay", "?lifetime=persistent"));
        mqd_t fd;

        confab_close(receiver);
        receiver = open_to(address_of("stay", "?direction=receive"));
        confab_close(receiver);
        check_ok(confab_remove(address_of("stay", "")));

        receiver = listen_on(address_of("stay", ""));
        check_eq(mq_unlink(name_of("stay")), 0);
        fd = mq_open(name_of("stay"), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600, NULL);
        check(fd >= 0);
        mq_close(fd);
        confab_close(receiver); /* the name leads to another queue now */
        check_eq(mq_unlink(name_of("stay")), 0);
}

TEST(a_child_that_closes_its_copy_leaves_the_queue) {
        confab_endpoint *receiver = listen_on(address_of("fork", ""));
        int status;
        pid_t pid = fork();

        if (pid == 0) {
                confab_close(receiver);
                _exit(0);
        }
        check_eq(waitpid(pid, &status, 0), pid);
        check_eq(status, 0);
        confab_close(open_to(address_of("fork", "")));
        confab_close(receiver);
}

TEST(a_missing_queue_says_who_makes_it) {
        confab_endpoint *endpoint = NULL;

        check_eq(confab_open(&endpoint, address_of("missing", ""), NULL, confab_after(MS)), -ENOENT);
        check_says("the side that listens creates it");
        check_eq(confab_open(&endpoint, address_of("missing", "?direction=both"), NULL, CONFAB_NOW),
                 -EOPNOTSUPP);
        check(!endpoint);
}

static const char *denied_address, *denied_plain;

static void open_denied(void) {
        confab_endpoint *endpoint = NULL;

        check_eq(confab_open(&endpoint, denied_address, NULL, CONFAB_NOW), -EACCES);
        check_says("no permission to send to the queue");
        check_says("you are user 4242");
        check_eq(confab_remove(denied_plain), -EACCES);
        check_says("no permission to remove the queue");
}

TEST(no_permission_says_who_owns_it) {
        confab_endpoint *receiver;

        if (geteuid() != 0)
                skip("needs root to become another user");
        receiver = listen_on(address_of("denied", ""));
        denied_address = denied_plain = address_of("denied", "");
        as_user(4242, open_denied);
        confab_close(receiver);

        /* Where one direction is allowed the sentence tells owner and mode without any file system. */
        receiver = listen_on(address_of("denied", "?mode=0604"));
        as_user(4242, open_denied);
        confab_close(receiver);
}

static void plant(void) {
        mqd_t fd;

        umask(0);
        fd = mq_open(denied_address + 5, O_RDWR | O_CREAT | O_EXCL, 0666, NULL);
        if (fd < 0)
                _exit(3);
}

static void listen_on_planted(void) {
        confab_endpoint *endpoint = NULL;

        check_eq(confab_listen(&endpoint, denied_address, NULL, CONFAB_NOW), -EPERM);
        check_says("belongs to user 4242");
        check_says("owner=4242");
}

TEST(a_queue_planted_by_a_stranger_is_not_listened_on) {
        confab_endpoint *endpoint;

        if (geteuid() != 0)
                skip("needs root to become another user");
        denied_address = address_of("planted", "");
        as_user(4242, plant);
        listen_on_planted();
        as_user(4243, listen_on_planted);
        endpoint = listen_on(address_of("planted", "?owner=4242"));
        confab_close(endpoint);
        check_ok(confab_remove(address_of("planted", "")));
}

TEST(limits_are_named_with_their_figures) {
        const struct rlimit little = {100000, 100000};
        confab_endpoint *first, *second = NULL;

        check_eq(setrlimit(RLIMIT_MSGQUEUE, &little), 0);
        if (geteuid() == 0) {
                /* Other queues of root's count, too: be somebody who has none. */
                check_eq(setresuid(4244, 4244, 4244), 0);
        }
        first = listen_on(address_of("limit", "?capacity=10&message-size=8192"));
        check_eq(confab_listen(&second, address_of("limit2", "?capacity=10&message-size=8192"), NULL,
                               CONFAB_NOW),
                 -EMFILE);
        check_says("mq_open says EMFILE: RLIMIT_MSGQUEUE");
        check_says("97 KiB");
        check_says("needs 81 KiB");
        check_says("ulimit -q");
        confab_close(first);

        check_eq(confab_listen(&second, address_of("limit", "?capacity=65537"), NULL, CONFAB_NOW), -EINVAL);
        check_says("capacity=65537: fs.mqueue.msg_max allows ");
        check_says("at most 65536");
        check_eq(confab_listen(&second, address_of("limit", "?capacity=1&message-size=1M"), NULL, CONFAB_NOW),
                 -EINVAL);
        check_says("message-size=1048576: fs.mqueue.msgsize_max allows ");
        check_says("sysctl fs.mqueue.msgsize_max=1048576");
        check(!second);
}

TEST(no_descriptor_left_is_told_from_no_queue_left) {
        struct rlimit usual, none;
        confab_endpoint *endpoint = NULL;

        check_eq(getrlimit(RLIMIT_NOFILE, &usual), 0);
        none = (struct rlimit){3, usual.rlim_max};
        check_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
        check_eq(confab_listen(&endpoint, address_of("nofile", ""), NULL, CONFAB_NOW), -EMFILE);
        check_says("RLIMIT_NOFILE");
        check_eq(setrlimit(RLIMIT_NOFILE, &usual), 0); /* LeakSanitizer opens files at the end */
}

/* An IPC namespace of our own, with its queues at the usual place. */
static void private_queues(void) {
        if (unshare(CLONE_NEWIPC | CLONE_NEWNS) < 0)
                skip("needs root to make a private IPC namespace");
        /* In a chroot "/" is no mount point; then /dev is one. */
        check(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 ||
              mount(NULL, "/dev", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
        check_eq(mount("none", "/dev", "tmpfs", 0, NULL), 0);
        check_eq(mkdir("/dev/mqueue", 01777), 0);
        check_eq(mount("none", "/dev/mqueue", "mqueue", 0, NULL), 0);
}

TEST(queues_are_counted_where_the_file_system_is_mounted) {
        const struct rlimit little = {100000, 100000};
        confab_endpoint *first, *second = NULL;

        private_queues();
        write_sysctl("/proc/sys/fs/mqueue/queues_max", "1");
        /* Somebody who has no queues elsewhere and may not go beyond queues_max. */
        check_eq(setresuid(4245, 4245, 4245), 0);
        check_eq(setrlimit(RLIMIT_MSGQUEUE, &little), 0);
        first = listen_on(address_of("mounted", "?capacity=10&message-size=8192"));
        check_eq(confab_listen(&second, address_of("mounted2", "?capacity=1&message-size=10"), NULL,
                               CONFAB_NOW),
                 -ENOSPC);
        check_says("fs.mqueue.queues_max = 1 queues, 1 exist");
        confab_close(first);
}

TEST(usage_is_counted_in_bytes_for_the_user) {
        const struct rlimit little = {100000, 100000};
        confab_endpoint *first, *second = NULL;

        private_queues();
        check_eq(setresuid(4246, 4246, 4246), 0);
        check_eq(setrlimit(RLIMIT_MSGQUEUE, &little), 0);
        first = listen_on(address_of("mounted", "?capacity=10&message-size=8192"));
        check_eq(confab_listen(&second, address_of("mounted2", "?capacity=10&message-size=8192"), NULL,
                               CONFAB_NOW),
                 -EMFILE);
        check_says("80 KiB of 97 KiB used by 1 queues of user 4246; this one");
        check_eq(mq_unlink(name_of("mounted")), 0);
        check_eq(confab_listen(&second, address_of("mounted2", "?capacity=10&message-size=8192"), NULL,
                               CONFAB_NOW),
                 -EMFILE);
        check_says("0 KiB of 97 KiB used by 0 queues of user 4246, the rest by some");
        confab_close(first);
}
