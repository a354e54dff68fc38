/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * The ways out, on every mechanism (FAULTS 9 and 10): exec with endpoints open, exit without close, a thread that ends, a thread that is
 * cancelled. Nothing of ours lives through exec, the other side learns what its mechanism can tell, and what is left works on.
 */
#include "conformance/each_row.h"

#include <confab/loop.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const int64_t MS = 1000000;

static void sleep_ms(long ms) {
        struct timespec left = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};

        while (nanosleep(&left, &left) < 0)
                check_eq(errno, EINTR);
}

static bool sends_alone(const struct row *row, const struct confab_properties *properties) {
        (void)properties;
        return row->making != MADE_LOOP;
}

static bool tells_the_end(const struct row *row, const struct confab_properties *properties) {
        return sends_alone(row, properties) && properties->end == CONFAB_YES;
}

static bool has_a_name(const struct row *row, const struct confab_properties *properties) {
        (void)properties;
        return row->making == MADE_ACCEPT || row->making == MADE_BOUND;
}

static int n_descriptors(void) {
        DIR *dir = opendir("/proc/self/fd");
        int n = -1; /* the folder's own */

        check(dir != NULL);
        for (struct dirent *entry; (entry = readdir(dir));)
                n += entry->d_name[0] != '.';
        closedir(dir);
        return n;
}

static void use(const struct link *link) {
        char data[8];

        send_bytes(link->sender, "1", 1);
        check_eq(receive_bytes(link->receiver, data, sizeof(data)), 1);
}

/* --- exec --- */

/* What a program sees in /proc/self/fd that this process executes now. Spawned: no handler of fork's runs in between. */
static void descriptors_after_exec(char *text, size_t text_cap) {
        char *arguments[] = {(char *)"ls", (char *)"/proc/self/fd", NULL};
        posix_spawn_file_actions_t actions;
        int fds[2], status;
        size_t len = 0;
        ssize_t n;
        pid_t pid;

        check_eq(pipe2(fds, O_CLOEXEC), 0);
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, fds[1], STDOUT_FILENO);
        check_eq(posix_spawn(&pid, "/bin/ls", &actions, NULL, arguments, NULL), 0);
        posix_spawn_file_actions_destroy(&actions);
        close(fds[1]);
        while ((n = read(fds[0], text + len, text_cap - 1 - len)) > 0)
                len += (size_t)n;
        text[len] = '\0';
        close(fds[0]);
        check_eq(waitpid(pid, &status, 0), pid);
        check_eq(status, 0);
}

static void nothing_lives_through_exec(const struct row *row) {
        struct confab_message message = confab_message_of(NULL, 0);
        char before[1000], after[1000];
        struct pollfd pollfd;
        struct link link;

        descriptors_after_exec(before, sizeof(before));
        link = link_make(row);
        use(&link);
        /* A wait of each kind makes what it needs. */
        check_eq(confab_receive(link.receiver, &message, NULL, confab_after(5 * MS)), -ETIMEDOUT);
        confab_interrupt(link.receiver);
        check_eq(confab_receive(link.receiver, &message, NULL, CONFAB_FOREVER), -EINTR);
        (void)confab_descriptor(link.receiver, CONFAB_RECEIVE, &pollfd);
        descriptors_after_exec(after, sizeof(after));
        check_str(after, before);
        link_close(&link);
}

/* The last sender executes another program: its end is told as if it had closed. */
static void exec_ends_a_sender(const struct row *row) {
        struct link link = link_make(row);
        int status, mark[2];
        char data[8];
        pid_t pid;

        check_eq(pipe(mark), 0); /* lives through exec, so that the child goes when the test does */
        pid = link_fork(&link, true);
        if (pid == 0) {
                close(mark[1]);
                if (mark[0] != STDIN_FILENO)
                        dup2(mark[0], STDIN_FILENO);
                send_bytes(link.sender, "last\n", 4);
                execl("/bin/cat", "cat", NULL);
                _exit(127);
        }
        close(mark[0]);
        link_drop_sender(&link);
        check_eq(receive_bytes(link.receiver, data, sizeof(data)), 4);
        check_eq(receive_bytes(link.receiver, data, sizeof(data)), AT_END);
        close(mark[1]);
        check_eq(waitpid(pid, &status, 0), pid);
        link_close(&link);
}

/* --- exit --- */

static void exit_ends_a_sender(const struct row *row) {
        struct link link = link_make(row);
        int status;
        char data[8];
        pid_t pid = link_fork(&link, true);

        if (pid == 0) {
                send_bytes(link.sender, "last\n", 4);
                exit(0);
        }
        check_eq(waitpid(pid, &status, 0), pid);
        check_eq(status, 0);
        link_drop_sender(&link);
        check_eq(receive_bytes(link.receiver, data, sizeof(data)), 4);
        check_eq(receive_bytes(link.receiver, data, sizeof(data)), AT_END);
        link_close(&link);
}

/* Everything is left open, one side waiting in a thread: the process ends, and the next one can begin anew. */
static void *wait_for_ever(void *data) {
        struct confab_message message = confab_message_of(NULL, 0);

        confab_receive(data, &message, NULL, CONFAB_FOREVER);
        return NULL;
}

/* Where the name is that of the process itself, the next listener's is another. */
static const char *own_address(const struct row *row, const char *address) {
        return strstr(row->address, "://self") ? row->address : address;
}

static void left_open(const struct row *row, bool waiting) {
        int status, fds[2];
        char address[256] = "";
        struct link link;
        pid_t pid;

        check_eq(pipe2(fds, O_CLOEXEC), 0);
        pid = fork();
        if (pid == 0) {
                pthread_t thread;

                link = link_make(row);
                use(&link);
                check(write(fds[1], link.address, strlen(link.address)) > 0);
                if (waiting && pthread_create(&thread, NULL, wait_for_ever, link.receiver) == 0)
                        sleep_ms(10);
                exit(0);
        }
        close(fds[1]);
        check(read(fds[0], address, sizeof(address) - 1) > 0);
        close(fds[0]);
        check_eq(waitpid(pid, &status, 0), pid);
        check_eq(status, 0);

        if (row->making == MADE_BOUND || row->making == MADE_ACCEPT) {
                confab_endpoint *endpoint = NULL;

                check_ok(confab_listen(&endpoint, own_address(row, address), NULL, confab_after(1000 * MS)));
                confab_close(endpoint);
                /* Where the name was taken over as it was, it is not the last listener's to remove. */
                status = confab_remove(address);
                check(status == 0 || status == -ENOENT || status == -EOPNOTSUPP);
        }
}

static void exit_without_close(const struct row *row) {
        left_open(row, false);
}

static void exit_while_a_thread_waits(const struct row *row) {
        left_open(row, true);
}

/* What a killed process left does not keep the next listener from working. */
static void a_name_left_behind_is_used_again(const struct row *row) {
        char address[256];
        struct link link;
        int status;
        pid_t pid;

        link = link_make(row); /* for the address that %d and ports give this process */
        snprintf(address, sizeof(address), "%s", link.address);
        link_close(&link);
        pid = fork();
        if (pid == 0) {
                confab_endpoint *endpoint = NULL;

                check_ok(confab_listen(&endpoint, own_address(row, address), NULL, confab_after(1000 * MS)));
                raise(SIGKILL);
        }
        check_eq(waitpid(pid, &status, 0), pid);
        check_eq(WTERMSIG(status), SIGKILL);
        link = link_make(row);
        use(&link);
        link_close(&link);
        status = confab_remove(address);
        check(status == 0 || status == -ENOENT || status == -EOPNOTSUPP);
}

/* --- threads that end --- */

static void *wait_once(void *data) {
        struct confab_message message = confab_message_of(NULL, 0);

        check_eq(confab_receive(data, &message, NULL, confab_after(1 * MS)), -ETIMEDOUT);
        return NULL;
}

static void *wait_interrupted(void *data) {
        struct confab_message message = confab_message_of(NULL, 0);

        confab_interrupt(data);
        check_eq(confab_receive(data, &message, NULL, CONFAB_FOREVER), -EINTR);
        return NULL;
}

static void threads_come_and_go(const struct row *row) {
        struct link link = link_make(row);
        int before = 0;

        for (int i = 0; i < 60; i++) {
                pthread_t thread;

                check_eq(pthread_create(&thread, NULL, i % 2 ? wait_once : wait_interrupted, link.receiver),
                         0);
                pthread_join(thread, NULL);
                if (i == 10)
                        before = n_descriptors();
        }
        check_eq(n_descriptors(), before);
        use(&link);
        link_close(&link);
}

/* --- threads that are cancelled --- */

struct cancelled {
        void (*run)(struct cancelled *cancelled);
        const struct row *row;
        struct link link;
        confab_loop *loop;
        atomic_int begun, returned;
        int result;
        char text[8];
};

/*
 * Runs it, then acts on the request. A frame without variables in memory: AddressSanitizer does not see that a cancelled thread
 * leaves its frames.
 */
static void *run_and_end(void *data) {
        struct cancelled *cancelled = data;

        cancelled->run(cancelled);
        pthread_testcancel();
        return NULL;
}

static void receive_one(struct cancelled *cancelled) {
        struct confab_message message = confab_message_of(NULL, 0);

        cancelled->begun = 1;
        cancelled->result = confab_receive(cancelled->link.receiver, &message, NULL, CONFAB_FOREVER);
        if (cancelled->result == 1) {
                memcpy(cancelled->text, message.data, message.data_len);
                confab_release(cancelled->link.receiver, &message);
        }
        cancelled->returned = 1;
}

/* In the middle of a wait: the call goes on to its end, and the thread ends at its own next cancellation point. */
static void cancelled_while_waiting(const struct row *row) {
        struct cancelled cancelled = {.run = receive_one, .row = row, .link = link_make(row)};
        pthread_t thread;
        void *result;

        check_eq(pthread_create(&thread, NULL, run_and_end, &cancelled), 0);
        while (!cancelled.begun)
                sleep_ms(1);
        sleep_ms(5);
        check_eq(pthread_cancel(thread), 0);
        sleep_ms(20);
        check_eq(cancelled.returned, 0);
        send_bytes(cancelled.link.sender, "12345", 5);
        check_eq(pthread_join(thread, &result), 0);
        check(result == PTHREAD_CANCELED);
        check_eq(cancelled.returned, 1);
        check_eq(cancelled.result, 1);
        check_str(cancelled.text, "12345");
        use(&cancelled.link);

        cancelled.returned = cancelled.begun = 0;
        check_eq(pthread_create(&thread, NULL, run_and_end, &cancelled), 0);
        while (!cancelled.begun)
                sleep_ms(1);
        sleep_ms(5);
        check_eq(pthread_cancel(thread), 0);
        confab_interrupt(cancelled.link.receiver); /* how to end the wait of a thread that is to go */
        check_eq(pthread_join(thread, &result), 0);
        check(result == PTHREAD_CANCELED);
        check_eq(cancelled.result, -EINTR);
        link_close(&cancelled.link);
}

/* With the request pending all the time: no call acts on it, from opening to closing. */
static void use_everything(struct cancelled *cancelled) {
        struct confab_message message = confab_message_of(NULL, 0);
        struct confab_properties properties = {.size = sizeof(properties)};
        struct confab_interest interest = {NULL, CONFAB_RECEIVE, 0};
        struct pollfd pollfd;
        char text[500];

        pthread_cancel(pthread_self());
        if (!cancelled->row->prepare && !cancelled->row->before)
                cancelled->link = link_make(cancelled->row);
        use(&cancelled->link);
        check_eq(confab_receive(cancelled->link.receiver, &message, NULL, confab_after(2 * MS)), -ETIMEDOUT);
        confab_explain(text, sizeof(text));
        interest.endpoint = cancelled->link.receiver;
        check_eq(confab_wait(&interest, 1, confab_after(2 * MS)), -ETIMEDOUT);
        confab_interrupt(cancelled->link.receiver);
        check_eq(confab_receive(cancelled->link.receiver, &message, NULL, CONFAB_FOREVER), -EINTR);
        check_ok(confab_endpoint_properties(&properties, cancelled->link.receiver));
        check_ok(confab_properties(&properties, cancelled->link.address));
        (void)confab_descriptor(cancelled->link.receiver, CONFAB_RECEIVE, &pollfd);
        (void)confab_shutdown(cancelled->link.sender, CONFAB_SEND, CONFAB_NOW);
        link_close(&cancelled->link);
        cancelled->returned = 1;
}

static void cancelled_before_every_call(const struct row *row) {
        struct cancelled cancelled = {.run = use_everything, .row = row};
        pthread_t thread;
        void *result;

        if (row->prepare || row->before) /* which calls cancellation points, or is for all threads to come */
                cancelled.link = link_make(row);
        check_eq(pthread_create(&thread, NULL, run_and_end, &cancelled), 0);
        check_eq(pthread_join(thread, &result), 0);
        check_eq(cancelled.returned, 1);
        check(result == PTHREAD_CANCELED);
}

static void run_loop(struct cancelled *cancelled) {
        pthread_cancel(pthread_self());
        check_ok(confab_loop_run(cancelled->loop));
}

TEST(a_loop_is_stopped_not_cancelled) {
        struct cancelled cancelled = {.run = run_loop};
        pthread_t thread;
        void *result;

        check_ok(confab_loop_new(&cancelled.loop));
        check_eq(pthread_create(&thread, NULL, run_and_end, &cancelled), 0);
        sleep_ms(20);
        confab_loop_stop(cancelled.loop);
        check_eq(pthread_join(thread, &result), 0);
        check(result == PTHREAD_CANCELED);
        confab_loop_free(cancelled.loop);
}

/* The caller's own choice is given back as it was. */
TEST(a_disabled_cancellation_stays_disabled) {
        confab_endpoint *ends[2];
        struct confab_message message = confab_message_of("1", 1);
        int before;

        check_eq(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &before), 0);
        check_ok(confab_pair(ends, "pipe://", NULL));
        check_eq(confab_send(ends[1], &message, CONFAB_NOW), 1);
        confab_close(ends[0]);
        confab_close(ends[1]);
        check_eq(pthread_setcancelstate(before, &before), 0);
        check_eq(before, PTHREAD_CANCEL_DISABLE);
}

#define CASE(function, seconds, applies) \
        { #function, function, seconds, applies, NULL }
static const struct conformance_case cases[] = {
        CASE(nothing_lives_through_exec, 10, NULL),  CASE(exec_ends_a_sender, 10, tells_the_end),
        CASE(exit_ends_a_sender, 10, tells_the_end), CASE(exit_without_close, 10, NULL),
        CASE(exit_while_a_thread_waits, 10, NULL),   CASE(a_name_left_behind_is_used_again, 10, has_a_name),
        CASE(threads_come_and_go, 10, NULL),         CASE(cancelled_while_waiting, 10, NULL),
        CASE(cancelled_before_every_call, 10, NULL),
};

__attribute__((constructor)) static void register_all(void) {
        add_on_each_row(cases, sizeof(cases) / sizeof(cases[0]));
}
