/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * One conversation over one mechanism, for tests/e2e/syscall_failures to make its system calls fail.
 *
 *     conversation pair|accept|named|alone|lent|loop|relay ADDRESS
 *
 * Exits with 0: everything was said and understood; 1: a call failed and said why; 3: a descriptor was left behind; 4: something was wrong
 * that no call reported. Three system calls the library never makes mark where the conversation begins, closes and ends in a trace.
 */
#include <confab/confab.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { LEFT_BEHIND = 3, WRONG = 4 };
#define WAIT_NS 1000000000

static confab_endpoint *listener, *sender, *receiver, *further[2], *ends[2];
static confab_transfer *transfer;
static int lent[2] = {-1, -1};
static int child, file = -1; /* what a loop watches */
static const char *doing;
static int planted = -1;

static _Noreturn void wrong(const char *what) {
        printf("wrong: %s\n", what);
        exit(WRONG);
}

/* A failure must come with a sentence. */
static int failed(int64_t result) {
        char text[512];

        if (getenv("PLANT")) /* the fault syscall_failures must find: an error path that forgets a descriptor */
                planted = dup(STDIN_FILENO);
        if (confab_explain(text, sizeof(text)) == 0)
                wrong("a failure without a sentence");
        printf("%s: %s (%d)\n", doing, text, (int)result);
        return (int)result;
}

#define TRY(expr)                               \
        __extension__({                         \
                int64_t result_;                \
                                                \
                doing = #expr;                  \
                result_ = (expr);               \
                if (result_ < 0)                \
                        return failed(result_); \
                result_;                        \
        })

static int receive_all(confab_endpoint *endpoint, const char *expected, size_t expected_len,
                       int *descriptorp) {
        struct confab_message message;
        size_t got = 0;

        do {
                message = confab_message_of(NULL, 0);
                if (TRY(confab_receive(endpoint, &message, NULL, confab_after(WAIT_NS))) == 0) {
                        printf("the end came early\n");
                        return -EPIPE; /* of what failed elsewhere; the other side could not say it */
                }
                if (message.data_len > expected_len - got ||
                    memcmp(message.data, expected + got, message.data_len) != 0)
                        wrong("other bytes than were sent");
                got += message.data_len;
                if (descriptorp && message.n_descriptors)
                        *descriptorp = confab_take_descriptor(&message, 0);
                confab_release(endpoint, &message);
        } while (got < expected_len);
        return 0;
}

static int talk(confab_endpoint *from, confab_endpoint *to, bool descriptors) {
        struct confab_message message = confab_message_of("good morning", 12), many[2];
        struct confab_interest interest = {.endpoint = to, .direction = CONFAB_RECEIVE};
        struct confab_peer peer = {.size = sizeof(peer)};
        int fd = -1, r;

        if (TRY(confab_send(from, &message, confab_after(WAIT_NS))) != 12)
                wrong("a part was sent");
        TRY(confab_wait(&interest, 1, confab_after(WAIT_NS)));
        r = receive_all(to, "good morning", 12, NULL);
        if (r < 0)
                return r;
        many[0] = confab_message_of("how are ", 8);
        many[1] = confab_message_of("you", 3);
        r = (int)TRY(confab_send_many(from, many, 2, confab_after(WAIT_NS)));
        if (r == 1)
                TRY(confab_send(from, &many[1], confab_after(WAIT_NS)));
        r = receive_all(to, "how are you", 11, NULL);
        if (r < 0)
                return r;
        if (descriptors) {
                message = confab_message_of("take this", 9);
                message.descriptors = (int[]){STDIN_FILENO};
                message.n_descriptors = 1;
                TRY(confab_send(from, &message, confab_after(WAIT_NS)));
                r = receive_all(to, "take this", 9, &fd);
                if (fd >= 0)
                        close(fd);
                if (r < 0)
                        return r;
                if (fd < 0)
                        wrong("a message without its descriptor");
        }
        if (confab_peer(to, &peer) < 0 && confab_peer(from, &peer) < 0)
                (void)peer; /* many mechanisms have none */
        return 0;
}

/* --- the same told by an event loop, with one source of each kind --- */

static confab_loop *loop;
static unsigned told; /* bits of who was */
enum { ENDPOINT = 1, TIMER = 2, SIGNAL = 4, CHILD = 8, FILES = 16, ALL = 31 };

static int tell(confab_source *source, uint32_t events, void *data) {
        struct confab_message message = confab_message_of(NULL, 0);

        (void)source;
        (void)events;
        if (data == &receiver && confab_receive(receiver, &message, NULL, CONFAB_NOW) > 0) {
                confab_release(receiver, &message);
                told |= ENDPOINT;
        } else if (data != &receiver) {
                told |= (unsigned)(uintptr_t)data;
        }
        return 0;
}

static int watch(int pid, int regular) {
        struct confab_message message = confab_message_of("good morning", 12);
        int64_t deadline = confab_after(WAIT_NS);

        TRY(confab_loop_new(&loop));
        TRY(confab_loop_add_endpoint(NULL, loop, receiver, CONFAB_RECEIVE, tell, &receiver));
        TRY(confab_loop_add_timer(NULL, loop, confab_after(1000000), 1000000, tell, (void *)TIMER));
        TRY(confab_loop_add_signal(NULL, loop, SIGUSR1, tell, (void *)SIGNAL));
        TRY(confab_loop_add_child(NULL, loop, pid, tell, (void *)CHILD));
        TRY(confab_loop_add_descriptor(NULL, loop, regular, POLLIN, tell, (void *)FILES));
        raise(SIGUSR1);
        TRY(confab_send(sender, &message, deadline));
        while (told != ALL && confab_now() < deadline)
                TRY(confab_loop_once(loop, deadline));
        if (told == ALL)
                return 0;
        printf("told of %u only\n", told);
        return -ETIMEDOUT;
}

/* From a stream through a pair of pipes into another: splice where the kernel can. */
static int relay(const char *address) {
        struct confab_message message = confab_message_of("carry this over", 15);
        uint64_t moved = 0;

        TRY(confab_pair(ends, address, NULL));
        receiver = ends[0];
        sender = ends[1];
        TRY(confab_pair(ends, "pipe://", NULL));
        further[0] = ends[0];
        further[1] = ends[1];
        TRY(confab_transfer_new(&transfer, receiver, further[1], NULL));
        TRY(confab_send(sender, &message, confab_after(WAIT_NS)));
        while (moved < 15)
                if (TRY(confab_transfer_step(transfer, &moved, confab_after(WAIT_NS))) == 0)
                        wrong("the end came early");
        return receive_all(further[0], "carry this over", 15, NULL);
}

static int converse(const char *kind, const char *address) {
        int64_t deadline = confab_after(2 * (int64_t)WAIT_NS);
        char name[64];

        if (strcmp(kind, "relay") == 0)
                return relay(address);
        if (strcmp(kind, "pair") == 0) {
                TRY(confab_pair(ends, address, NULL));
                receiver = ends[0];
                sender = ends[1];
        } else if (strcmp(kind, "accept") == 0) {
                TRY(confab_listen(&listener, address, NULL, deadline));
                TRY(confab_open(&sender, confab_address(listener), NULL, deadline));
                TRY(confab_accept(&receiver, listener, deadline));
        } else if (strcmp(kind, "named") == 0) {
                TRY(confab_listen(&receiver, address, NULL, deadline));
                TRY(confab_open(&sender, confab_address(receiver), NULL, deadline));
        } else if (strcmp(kind, "alone") == 0) {
                TRY(confab_open(&sender, address, NULL, deadline));
                return talk(sender, sender, false);
        } else if (strcmp(kind, "loop") == 0) {
                TRY(confab_pair(ends, address, NULL));
                receiver = ends[0];
                sender = ends[1];
                return watch(child, file);
        } else if (strcmp(kind, "lent") == 0) {
                snprintf(name, sizeof(name), "%s%d", address, lent[0]);
                TRY(confab_open(&receiver, name, NULL, deadline));
                snprintf(name, sizeof(name), "%s%d", address, lent[1]);
                TRY(confab_open(&sender, name, NULL, deadline));
        }
        return talk(sender, receiver, strncmp(address, "unix:", 5) == 0);
}

/* Names what each open descriptor is, and returns how many there are. */
static unsigned list_descriptors(bool print) {
        DIR *dir = opendir("/proc/self/fd");
        struct dirent *entry;
        unsigned n = 0;

        if (!dir)
                wrong("no /proc");
        while ((entry = readdir(dir))) {
                char to[256] = "";

                if (entry->d_name[0] == '.' || atoi(entry->d_name) == dirfd(dir))
                        continue;
                n++;
                if (print && readlinkat(dirfd(dir), entry->d_name, to, sizeof(to) - 1) > 0)
                        printf("descriptor %s: %s\n", entry->d_name, to);
        }
        closedir(dir);
        return n;
}

int main(int argc, char **argv) {
        unsigned before;
        int r;

        if (argc != 3)
                return 2;
        setvbuf(stdout, NULL, _IOFBF, 4096); /* a failing write of ours is not what is tested */
        if (strcmp(argv[1], "lent") == 0 && pipe2(lent, O_CLOEXEC) < 0)
                return 2;
        if (strcmp(argv[1], "loop") == 0) {
                signal(SIGUSR1, SIG_IGN);
                file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
                child = fork();
                if (child == 0)
                        _exit(0);
                if (child < 0 || file < 0)
                        return 2;
        }
        before = list_descriptors(false);
        sched_get_priority_max(SCHED_IDLE); /* begin */
        r = converse(argv[1], argv[2]);
        getpriority(PRIO_PROCESS, 0); /* closing */
        confab_loop_free(loop);
        confab_transfer_free(transfer);
        confab_close(further[0]);
        confab_close(further[1]);
        confab_close(sender);
        confab_close(receiver);
        confab_close(listener);
        sched_get_priority_min(SCHED_IDLE); /* end */
        if (list_descriptors(false) != before) {
                list_descriptors(true);
                return LEFT_BEHIND;
        }
        return r < 0 ? 1 : 0;
}
