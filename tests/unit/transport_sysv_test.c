/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* sysv://, against the kernel's own calls: types and filters, waits without a descriptor and how they end, limits, removal. */
#include "base/cleanup.h"
#include "conversation.h"
#include "harness.h"

#include <confab/endpoint.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static const int64_t MS = 1000000;

/* A key of this test only, the same in its children: the suite may run twice at the same time. */
static key_t test_key(void) {
        static key_t key;

        if (!key)
                key = (key_t)(0x5e000000u + (unsigned)getpid());
        return key;
}

static const char *address_with(const char *keys) {
        static char address[128];

        snprintf(address, sizeof(address), "sysv://0x%x%s", (unsigned)test_key(), keys);
        return address;
}

static confab_endpoint *listening(const char *keys) {
        confab_endpoint *endpoint = NULL;

        check_ok(confab_listen(&endpoint, address_with(keys), NULL, CONFAB_NOW));
        return endpoint;
}

static confab_endpoint *opened(const char *keys) {
        confab_endpoint *endpoint = NULL;

        check_ok(confab_open(&endpoint, address_with(keys), NULL, CONFAB_NOW));
        return endpoint;
}

static int64_t send_typed(confab_endpoint *to, const char *text, int64_t type, int64_t deadline_ns) {
        struct confab_message message = confab_message_of(text, strlen(text));

        message.type = type;
        return confab_send(to, &message, deadline_ns);
}

/* Receives with the filter @wanted; the message's type, or the failure. */
static int64_t receive_type(confab_endpoint *from, int64_t wanted, int64_t deadline_ns, char *text) {
        struct confab_message message = confab_message_of(NULL, 0);
        struct confab_filter filter = {.size = sizeof(filter), .type = wanted};
        int r = confab_receive(from, &message, wanted ? &filter : NULL, deadline_ns);
        int64_t type;

        if (r < 0)
                return r;
        check_eq(r, 1);
        if (text) {
                memcpy(text, message.data, message.data_len);
                text[message.data_len] = '\0';
        }
        type = message.type;
        confab_release(from, &message);
        return type;
}

static void private_namespace(void) {
        if (unshare(CLONE_NEWIPC) < 0)
                skip("needs root to make a private IPC namespace");
}

TEST(keys_are_refused_with_their_position) {
        static const struct {
                const char *address, *says;
        } wrong[] = {
                {"sysv://", "(position 8)"},
                {"sysv://12x", "(position 10)"},
                {"sysv://0x", "(position 9)"},
                {"sysv://0x12g4", "(position 12)"},
                {"sysv://-5", "(position 8)"},
                {"sysv://0", "IPC_PRIVATE"},
                {"sysv://4294967296", "at most 0xffffffff"},
                {"sysv://99999999999999999999999999", "at most 0xffffffff"},
                {"sysv:///tmp:0", "(position 13)"},
                {"sysv:///tmp:256", "(position 13)"},
                {"sysv://1/2", "(position 9)"},
        };
        confab_endpoint *endpoint = NULL;

        for (size_t i = 0; i < CFB_ARRAY_LEN(wrong); i++) {
                check_eq(confab_listen(&endpoint, wrong[i].address, NULL, CONFAB_NOW), -EINVAL);
                check_says(wrong[i].says);
                check_eq(confab_remove(wrong[i].address), -EINVAL);
        }
}

static void check_key(const char *address, key_t key) {
        confab_endpoint *endpoint = NULL;

        check_ok(confab_listen(&endpoint, address, NULL, CONFAB_NOW));
        check(msgget(key, 0) >= 0);
        confab_close(endpoint);
        check_eq(msgget(key, 0), -1);
}

TEST(keys_are_numbers_and_what_ftok_makes_of_paths) {
        char folder[200], address[300], text[64];
        int fd = open("name", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

        check(fd >= 0);
        close(fd);
        fd = open("odd:7", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        check(fd >= 0);
        close(fd);
        check(getcwd(folder, sizeof(folder)) != NULL);
        snprintf(text, sizeof(text), "sysv://%u", (unsigned)test_key());
        check_key(text, test_key());
        snprintf(text, sizeof(text), "sysv://0X%X", (unsigned)test_key());
        check_key(text, test_key());
        snprintf(address, sizeof(address), "sysv://%s/name", folder);
        check_key(address, ftok("name", 1));
        snprintf(address, sizeof(address), "sysv://%s/name:65", folder);
        check_key(address, ftok("name", 'A'));
        snprintf(address, sizeof(address), "sysv://%s/name:0x41", folder);
        check_key(address, ftok("name", 'A'));
        snprintf(address, sizeof(address), "sysv://%s/odd:7:1", folder);
        check_key(address, ftok("odd:7", 1));
        snprintf(address, sizeof(address), "sysv://%s/none", folder);
        check_eq(confab_remove(address), -ENOENT);
        check_says("make it with touch");
}

/* The same messages in a queue of the kernel's own, received with the same filter: the same answers. */
TEST(filters_are_exactly_msgrcvs) {
        static const long types[] = {5, 3, 9, 3, 1, 0x7fffffffL, 5, 2};
        static const long filters[] = {0, 3, 1, 9, 4, -1, -2, -4, -5, -0x7fffffffL, 0x7fffffffL};

        for (size_t f = 0; f < CFB_ARRAY_LEN(filters); f++) {
                confab_endpoint *receiver = listening(""), *sender = opened("");
                int bare = msgget(IPC_PRIVATE, 0600);

                check(bare >= 0);
                for (size_t i = 0; i < CFB_ARRAY_LEN(types); i++) {
                        struct {
                                long type;
                                char text[2];
                        } message = {types[i], {(char)('a' + i), 0}};

                        check_eq(msgsnd(bare, &message, 1, IPC_NOWAIT), 0);
                        check_eq(send_typed(sender, message.text, types[i], CONFAB_NOW), 1);
                }
                for (size_t i = 0; i <= CFB_ARRAY_LEN(types); i++) {
                        struct {
                                long type;
                                char text[8];
                        } expected = {0, ""};
                        char text[8] = "";
                        ssize_t n = msgrcv(bare, &expected, 8, filters[f], IPC_NOWAIT);
                        int64_t type = receive_type(receiver, filters[f], CONFAB_NOW, text);

                        check_eq(type, n < 0 ? -EAGAIN : expected.type);
                        if (n < 0)
                                break;
                        expected.text[n] = '\0';
                        check_str(text, expected.text);
                }
                check_eq(msgctl(bare, IPC_RMID, NULL), 0);
                confab_close(sender);
                confab_close(receiver);
        }
}

TEST(a_message_without_a_type_has_type_1) {
        confab_endpoint *receiver = listening(""), *sender = opened("");
        struct confab_message message = confab_message_of(NULL, 0);
        const struct iovec parts[] = {{(void *)"in ", 3}, {NULL, 0}, {(void *)"parts", 5}};
        char text[16];

        check_eq(send_typed(sender, "", 0, CONFAB_NOW), 0);
        check_eq(receive_type(receiver, 0, CONFAB_NOW, text), 1);
        check_str(text, "");
        check_eq(send_typed(sender, "x", -1, CONFAB_NOW), -EINVAL);
        message.priority = 1;
        check_eq(confab_send(sender, &message, CONFAB_NOW), -EOPNOTSUPP);
        message = confab_message_of(NULL, 0);
        message.iov = parts;
        message.n_iov = 3;
        check_eq(confab_send(sender, &message, CONFAB_NOW), 8);
        check_eq(receive_type(receiver, 0, CONFAB_NOW, text), 1);
        check_str(text, "in parts");
        /* What is lent is aligned for anything. */
        check_eq(send_typed(sender, "x", 0, CONFAB_NOW), 1);
        check_ok(confab_receive(receiver, &message, NULL, CONFAB_NOW));
        check_eq((uintptr_t)message.data % 16, 0);
        confab_release(receiver, &message);
        confab_close(sender);
        confab_close(receiver);
}

TEST(full_and_empty_queues_wait_until_the_deadline) {
        confab_endpoint *receiver = listening("?capacity=100"), *sender = opened("");
        struct confab_properties properties = {.size = sizeof(properties)};
        char bytes[101] = {0};
        struct confab_message message = confab_message_of(bytes, 100);
        int64_t began_ns = confab_now();

        check_ok(confab_endpoint_properties(&properties, sender));
        check_eq(properties.capacity, 100);
        check_eq(properties.message_max, 100);
        check_eq(properties.waiting, CONFAB_WAITING_NAPS);
        check_eq(receive_type(receiver, 0, CONFAB_NOW, NULL), -EAGAIN);
        check_eq(receive_type(receiver, 0, confab_after(20 * MS), NULL), -ETIMEDOUT);
        check(confab_now() - began_ns >= 20 * MS);
        check_eq(confab_send(sender, &message, CONFAB_NOW), 100);
        check_eq(confab_send(sender, &message, CONFAB_NOW), -EAGAIN);
        began_ns = confab_now();
        check_eq(confab_send(sender, &message, confab_after(20 * MS)), -ETIMEDOUT);
        check(confab_now() - began_ns >= 20 * MS);
        check_eq(receive_type(receiver, 2, confab_after(5 * MS), NULL), -ETIMEDOUT);
        check_eq(receive_type(receiver, 0, CONFAB_NOW, NULL), 1);
        check_eq(confab_send(sender, &message, CONFAB_NOW), 100);
        message = confab_message_of(bytes, 101);
        check_eq(confab_send(sender, &message, CONFAB_FOREVER), -EMSGSIZE);
        check_says("101 bytes");
        check_says("allows 100");
        confab_close(sender);
        confab_close(receiver);
}

struct task {
        confab_endpoint *endpoint;
        int64_t deadline_ns, wanted;
        int64_t result;
        bool sends, blocks_signals;
        atomic_int begun;
};

static void *run_task(void *data) {
        struct task *task = data;
        sigset_t all;

        if (task->blocks_signals) {
                sigfillset(&all);
                pthread_sigmask(SIG_SETMASK, &all, NULL);
        }
        task->begun = 1;
        task->result = task->sends ? send_typed(task->endpoint, "0123456789", 1, task->deadline_ns)
                                   : receive_type(task->endpoint, task->wanted, task->deadline_ns, NULL);
        if (task->blocks_signals) {
                pthread_sigmask(SIG_SETMASK, NULL, &all);
                for (int signo = SIGRTMIN; signo <= SIGRTMAX; signo++)
                        check_eq(sigismember(&all, signo), 1);
        }
        return NULL;
}

static pthread_t begin(struct task *task) {
        pthread_t thread;

        task->begun = 0;
        task->result = -1000;
        check_eq(pthread_create(&thread, NULL, run_task, task), 0);
        while (!task->begun)
                sched_yield();
        return thread;
}

/* Each kind of wait, ended by a message, by room, by confab_interrupt, by confab_close. */
static void waits_end(int64_t deadline_ns, bool blocks_signals) {
        confab_endpoint *receiver = listening("?capacity=10"), *sender = opened("");
        struct task task = {
                .endpoint = receiver, .deadline_ns = deadline_ns, .blocks_signals = blocks_signals};
        pthread_t thread = begin(&task);

        usleep(10000);
        check_eq(send_typed(sender, "x", 7, CONFAB_NOW), 1);
        pthread_join(thread, NULL);
        check_eq(task.result, 7);

        task.wanted = 3;
        thread = begin(&task);
        usleep(10000);
        check_eq(send_typed(sender, "x", 4, CONFAB_NOW), 1);
        check_eq(send_typed(sender, "x", 3, CONFAB_NOW), 1);
        pthread_join(thread, NULL);
        check_eq(task.result, 3);
        check_eq(receive_type(receiver, 0, CONFAB_NOW, NULL), 4);

        task.wanted = 0;
        thread = begin(&task);
        usleep(10000);
        confab_interrupt(receiver);
        pthread_join(thread, NULL);
        check_eq(task.result, -EINTR);

        check_eq(send_typed(sender, "0123456789", 1, CONFAB_NOW), 10);
        task = (struct task){.endpoint = sender,
                             .deadline_ns = deadline_ns,
                             .sends = true,
                             .blocks_signals = blocks_signals};
        thread = begin(&task);
        usleep(10000);
        confab_interrupt(sender);
        pthread_join(thread, NULL);
        check_eq(task.result, -EINTR);
        thread = begin(&task);
        usleep(10000);
        check_eq(receive_type(receiver, 0, CONFAB_NOW, NULL), 1);
        pthread_join(thread, NULL);
        check_eq(task.result, 10);
        thread = begin(&task);
        until_used(sender, CONFAB_SEND);
        usleep(10000);
        confab_close(sender);
        pthread_join(thread, NULL);
        check_eq(task.result, -ECANCELED);
        check_eq(receive_type(receiver, 0, CONFAB_NOW, NULL), 1);

        task = (struct task){
                .endpoint = receiver, .deadline_ns = deadline_ns, .blocks_signals = blocks_signals};
        thread = begin(&task);
        until_used(receiver, CONFAB_RECEIVE);
        usleep(10000);
        confab_close(receiver);
        pthread_join(thread, NULL);
        check_eq(task.result, -ECANCELED);
}

TEST(waits_with_a_deadline_end) {
        waits_end(soon(), false);
}

TEST(waits_without_a_deadline_end) {
        waits_end(CONFAB_FOREVER, false);
}

TEST(waits_end_in_a_thread_that_blocks_all_signals) {
        waits_end(CONFAB_FOREVER, true);
}

static void ignore(int signo) {
        (void)signo;
}

TEST(waits_end_where_no_signal_is_free) {
        for (int signo = SIGRTMIN; signo <= SIGRTMAX; signo++)
                signal(signo, ignore);
        waits_end(CONFAB_FOREVER, false);
        for (int signo = SIGRTMIN; signo <= SIGRTMAX; signo++)
                check(signal(signo, SIG_DFL) == ignore);
}

/* The signal in use is none the program has taken: its handler stays and is not called. */
TEST(a_signal_the_program_uses_is_left_alone) {
        int taken = 0;

        signal(SIGRTMAX, ignore);
        waits_end(CONFAB_FOREVER, false);
        for (int signo = SIGRTMIN; signo <= SIGRTMAX; signo++) {
                struct sigaction action;

                check_eq(sigaction(signo, NULL, &action), 0);
                if (signo == SIGRTMAX)
                        check(action.sa_handler == ignore);
                else
                        taken += action.sa_handler != SIG_DFL;
        }
        check_eq(taken, 1);
}

/* Interrupts at every moment of a wait's life: none is lost, and after it nothing ticks on. */
TEST_TIMEOUT(no_interrupt_is_lost, 30) {
        confab_endpoint *receiver = listening("");
        struct task task = {.endpoint = receiver, .deadline_ns = CONFAB_FOREVER};

        for (int i = 0; i < 1000; i++) {
                pthread_t thread = begin(&task);

                for (int j = 0; j < (i % 100) * 20; j++)
                        atomic_signal_fence(memory_order_seq_cst);
                confab_interrupt(receiver);
                pthread_join(thread, NULL);
                check_eq(task.result, -EINTR);
        }
        confab_close(receiver);
}

TEST(nothing_ticks_on_after_a_wait) {
        confab_endpoint *receiver = listening("");
        struct timespec long_enough = {.tv_nsec = 50 * MS};

        for (int i = 0; i < 10; i++) {
                confab_interrupt(receiver);
                check_eq(receive_type(receiver, 0, CONFAB_FOREVER, NULL), -EINTR);
        }
        check_eq(nanosleep(&long_enough, NULL), 0); /* a signal would end it */
        confab_close(receiver);
}

static confab_endpoint *_Atomic to_interrupt;

static void interrupting(int signo) {
        confab_endpoint *endpoint = to_interrupt;

        (void)signo;
        if (endpoint)
                confab_interrupt(endpoint);
}

/*
 * The next alarm interrupts @endpoint; NULL: none does, from now on. ThreadSanitizer keeps a handler back until the thread's next call that it
 * knows, and msgrcv is none: an alarm just before it would be lost. There it comes again.
 */
static void alarm_interrupts(confab_endpoint *endpoint, int after_us) {
        struct itimerval alarm = {.it_value = {.tv_usec = after_us},
                                  .it_interval = {.tv_usec = HARNESS_TSAN && endpoint ? 1000 : 0}};

        to_interrupt = endpoint;
        signal(SIGALRM, interrupting);
        check_eq(setitimer(ITIMER_REAL, &alarm, NULL), 0);
}

TEST(the_own_handler_ends_a_wait) {
        for (int i = 0; i < 50; i++) {
                confab_endpoint *receiver = listening("");

                alarm_interrupts(receiver, 1 + i * 10);
                check_eq(receive_type(receiver, 0, CONFAB_FOREVER, NULL), -EINTR);
                alarm_interrupts(NULL, 0);
                confab_close(receiver);
        }
}

TEST(signals_alone_end_no_wait) {
        struct itimerval often = {.it_value = {.tv_usec = 100}, .it_interval = {.tv_usec = 100}}, never = {0};
        confab_endpoint *receiver = listening(""), *sender = opened("");
        struct task task = {.endpoint = receiver, .deadline_ns = CONFAB_FOREVER};
        struct sigaction action = {.sa_handler = ignore}; /* without SA_RESTART */
        pthread_t thread;

        sigaction(SIGALRM, &action, NULL);
        thread = begin(&task);
        check_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
        usleep(1000);
        for (int i = 0; i < 100; i++)
                pthread_kill(thread, SIGALRM);
        check_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
        check_eq(send_typed(sender, "x", 2, CONFAB_NOW), 1);
        pthread_join(thread, NULL);
        check_eq(task.result, 2);
        confab_close(sender);
        confab_close(receiver);
}

TEST(a_child_waits_and_is_interrupted_like_its_parent) {
        confab_endpoint *receiver = listening("");
        int status;
        pid_t pid;

        confab_interrupt(receiver);
        check_eq(receive_type(receiver, 0, CONFAB_FOREVER, NULL), -EINTR); /* the parent has its timer */
        pid = fork();
        if (pid == 0) {
                struct task task = {.endpoint = receiver, .deadline_ns = CONFAB_FOREVER};
                pthread_t thread;

                alarm_interrupts(receiver, 5000);
                check_eq(receive_type(receiver, 0, CONFAB_FOREVER, NULL), -EINTR);
                alarm_interrupts(NULL, 0);
                thread = begin(&task);
                usleep(5000);
                confab_interrupt(receiver);
                pthread_join(thread, NULL);
                check_eq(task.result, -EINTR);
                confab_close(receiver);
                _exit(0);
        }
        check_eq(waitpid(pid, &status, 0), pid);
        check_eq(status, 0);
        check(msgget(test_key(), 0) >= 0); /* the child's close left it */
        confab_close(receiver);
}

/* Whether it will sleep in the kernel: msgrcv or msgsnd without IPC_NOWAIT, which some C libraries call through ipc. */
static bool will_block(const struct __ptrace_syscall_info *entry) {
        uint64_t number = entry->entry.nr, flags = entry->entry.args[3];

#ifdef SYS_ipc
        if (number == SYS_ipc) {
                enum { MSGSND = 11, MSGRCV = 12 };
                uint64_t call = entry->entry.args[0] & 0xffff;

                return (call == MSGSND || call == MSGRCV) && !(flags & IPC_NOWAIT);
        }
#endif
        if (number == SYS_msgrcv)
                flags = entry->entry.args[4];
        return (number == SYS_msgrcv || number == SYS_msgsnd) && !(flags & IPC_NOWAIT);
}

/* System calls of the traced child between its two getppid; @unblock is called once it sleeps in one. */
static int count_calls(pid_t child, void (*unblock)(confab_endpoint *), confab_endpoint *peer) {
        int status, n_calls = -1 /* the first mark */, n_marks = 0;
        bool entering = true, blocks = false;

        check_eq(waitpid(child, &status, 0), child);
        check(WIFSTOPPED(status));
        check_eq(ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)(long)PTRACE_O_TRACESYSGOOD), 0);
        for (;;) {
                struct __ptrace_syscall_info info;

                check_eq(ptrace(PTRACE_SYSCALL, child, NULL, NULL), 0);
                if (blocks && n_marks == 1 && unblock) {
                        /* asleep in the kernel for longer than any nap would be */
                        for (int quiet = 0; quiet < 50; quiet++) {
                                if (waitpid(child, &status, WNOHANG) == child)
                                        goto stopped;
                                usleep(1000);
                        }
                        unblock(peer);
                        unblock = NULL;
                }
                check_eq(waitpid(child, &status, 0), child);
        stopped:
                check(WIFSTOPPED(status));
                check_eq(WSTOPSIG(status), SIGTRAP | 0x80);
                check(syscall(SYS_ptrace, 0x420e, child, sizeof(info), &info) > 0);
                entering = info.op == 1;
                blocks = entering && will_block(&info);
                if (!entering)
                        continue;
                if (info.entry.nr == SYS_getppid && ++n_marks == 2)
                        break;
                if (n_marks == 1)
                        n_calls++;
        }
        check_eq(ptrace(PTRACE_DETACH, child, NULL, NULL), 0);
        check_eq(waitpid(child, &status, 0), child);
        check_eq(status, 0);
        return n_calls;
}

static void send_one(confab_endpoint *sender) {
        check_eq(send_typed(sender, "x", 1, CONFAB_NOW), 1);
}

static void receive_one(confab_endpoint *receiver) {
        check_eq(receive_type(receiver, 0, CONFAB_NOW, NULL), 1);
}

TEST(a_wait_without_a_deadline_is_three_system_calls) {
        confab_endpoint *receiver = listening("?capacity=10"), *sender = opened("");

        for (int sends = 0; sends < 2; sends++) {
                pid_t child = fork();

                if (child == 0) {
                        struct task task = {.endpoint = sends ? sender : receiver,
                                            .deadline_ns = CONFAB_FOREVER,
                                            .sends = sends};

                        if (sends) /* the queue is full, so the first wait is that of a warmed-up thread */
                                confab_interrupt(sender);
                        else
                                confab_interrupt(receiver);
                        run_task(&task);
                        check_eq(task.result, -EINTR);
                        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
                        raise(SIGSTOP);
                        getppid();
                        run_task(&task);
                        getppid();
                        check_eq(task.result, sends ? 10 : 1);
                        _exit(0);
                }
                check_eq(count_calls(child, sends ? receive_one : send_one, sends ? receiver : sender), 3);
                if (!sends)
                        check_eq(send_typed(sender, "0123456789", 1, CONFAB_NOW), 10);
                else
                        receive_one(receiver);
        }
        confab_close(sender);
        confab_close(receiver);
}

TEST(a_ticking_descriptor_rests_only_while_the_queue_is_empty) {
        confab_endpoint *receiver = listening("?poll=500ms"), *sender = opened(""),
                        *plain = opened("?direction=receive");
        struct pollfd pollfd;

        check_eq(confab_descriptor(plain, CONFAB_RECEIVE, &pollfd), -EOPNOTSUPP);
        check_says("poll=MS");
        check_eq(confab_descriptor(receiver, CONFAB_SEND, &pollfd), -EOPNOTSUPP);
        check_ok(confab_descriptor(receiver, CONFAB_RECEIVE, &pollfd));
        for (int round = 0; round < 3; round++) {
                check_eq(receive_type(receiver, 0, CONFAB_NOW, NULL), -EAGAIN);
                check_eq(poll(&pollfd, 1, 0), 0); /* long before the next tick */
                check_eq(send_typed(sender, "x", 1, CONFAB_NOW), 1);
                check_eq(send_typed(sender, "x", 2, CONFAB_NOW), 1);
                check_eq(poll(&pollfd, 1, 20000), 1);
                check_eq(receive_type(receiver, 0, CONFAB_NOW, NULL), 1); /* one a wake */
                check_eq(poll(&pollfd, 1, 0), 1);
                check_eq(receive_type(receiver, 0, CONFAB_NOW, NULL), 2);
        }
        confab_close(plain);
        confab_close(sender);
        confab_close(receiver);
}

TEST(waiting_for_several_sees_queues_too) {
        confab_endpoint *receiver = listening("?capacity=10"), *sender = opened("");
        struct confab_interest interests[] = {{receiver, CONFAB_RECEIVE, 0}, {sender, CONFAB_SEND, 0}};

        check_eq(confab_wait(interests, 2, CONFAB_NOW), 1);
        check_eq(interests[1].ready, CONFAB_SEND);
        check_eq(send_typed(sender, "0123456789", 5, CONFAB_NOW), 10);
        check_eq(send_typed(sender, "0123456789", 5, CONFAB_NOW), -EAGAIN);
        check_eq(confab_wait(interests, 2, CONFAB_NOW), 1);
        check_eq(interests[0].ready, CONFAB_RECEIVE);
        /* A filter that nothing matches has to wait, though the queue is not empty. */
        check_eq(receive_type(receiver, 6, CONFAB_NOW, NULL), -EAGAIN);
        check_eq(receive_type(receiver, 0, CONFAB_NOW, NULL), 5);
        check_eq(confab_wait(interests, 1, confab_after(10 * MS)), -ETIMEDOUT);
        /* A direction the end does not have is refused, not waited for. */
        interests[0].direction = CONFAB_SEND;
        check_eq(confab_wait(interests, 1, confab_after(10 * MS)), -EOPNOTSUPP);
        confab_close(sender);
        confab_close(receiver);
}

TEST(a_larger_message_than_the_buffer_is_received_whole) {
        static char bytes[300000], text[300001];
        confab_endpoint *receiver, *sender, *modest;
        struct confab_message message;
        struct task task;
        pthread_t thread;

        private_namespace();
        receiver = listening("");
        modest = opened("?direction=receive&max=9000");
        write_sysctl("/proc/sys/kernel/msgmax", "400000");
        write_sysctl("/proc/sys/kernel/msgmnb", "1000000");
        sender = opened("?capacity=1000000");
        for (size_t i = 0; i < sizeof(bytes); i++)
                bytes[i] = (char)('a' + i * 7 % 23);
        message = confab_message_of(bytes, sizeof(bytes));
        message.type = 9;
        check_eq(confab_send(sender, &message, CONFAB_NOW), sizeof(bytes));
        check_eq(receive_type(modest, 0, CONFAB_NOW, NULL), -EMSGSIZE);
        check_says("at most 9000");
        check_eq(receive_type(modest, 0, CONFAB_FOREVER, NULL), -EMSGSIZE); /* it is still there */
        check_eq(receive_type(receiver, 0, CONFAB_NOW, text), 9);
        check_mem(text, bytes, sizeof(bytes));

        task = (struct task){.endpoint = receiver, .deadline_ns = CONFAB_FOREVER, .wanted = 8};
        thread = begin(&task);
        usleep(10000);
        message.type = 8;
        check_eq(confab_send(sender, &message, CONFAB_NOW), sizeof(bytes));
        pthread_join(thread, NULL);
        check_eq(task.result, 8);

        /* A sender that was opened before finds the new limit, too, and loses it when it is lowered. */
        write_sysctl("/proc/sys/kernel/msgmax", "1000");
        check_eq(confab_send(sender, &message, CONFAB_NOW), -EMSGSIZE);
        check_says("300000 bytes, kernel.msgmax allows 1000");
        check_says("sysctl kernel.msgmax=300000");
        write_sysctl("/proc/sys/kernel/msgmax", "400000");
        check_eq(confab_send(sender, &message, CONFAB_NOW), sizeof(bytes));
        confab_close(sender);
        confab_close(modest);
        confab_close(receiver);
}

TEST(the_buffer_of_a_sender_grows_with_msgmax) {
        static char bytes[100000];
        confab_endpoint *receiver, *sender;
        struct confab_message message = confab_message_of(bytes, sizeof(bytes));

        private_namespace();
        write_sysctl("/proc/sys/kernel/msgmax", "1000");
        receiver = listening("");
        sender = opened("");
        check_eq(confab_send(sender, &message, CONFAB_NOW), -EMSGSIZE);
        write_sysctl("/proc/sys/kernel/msgmax", "200000");
        write_sysctl("/proc/sys/kernel/msgmnb", "200000");
        confab_close(opened("?capacity=200000"));
        check_eq(confab_send(sender, &message, CONFAB_NOW), sizeof(bytes));
        check_eq(receive_type(receiver, 0, CONFAB_NOW, NULL), 1);
        confab_close(sender);
        confab_close(receiver);
}

TEST(limits_are_named_with_their_figures) {
        confab_endpoint *receiver, *endpoint = NULL;
        struct confab_properties properties = {.size = sizeof(properties)};

        private_namespace();
        receiver = listening("");
        check_eq(confab_open(&endpoint, address_with("?capacity=1M"), NULL, CONFAB_NOW), -EPERM);
        check_says("capacity=1048576: kernel.msgmnb allows 16384 bytes without CAP_SYS_RESOURCE");
        check_says("sysctl kernel.msgmnb=1048576");
        endpoint = opened("?capacity=2000");
        check_ok(confab_endpoint_properties(&properties, endpoint));
        check_eq(properties.capacity, 2000);
        endpoint = confab_close(endpoint);
        write_sysctl("/proc/sys/kernel/msgmni", "1");
        check_eq(confab_listen(&endpoint, "sysv://77", NULL, CONFAB_NOW), -ENOSPC);
        check_says("kernel.msgmni = 1 queues, 1 exist");
        confab_close(receiver);
}

TEST(a_queue_that_is_removed_says_so) {
        confab_endpoint *receiver = listening(""), *sender = opened("");
        struct task forever = {.endpoint = receiver, .deadline_ns = CONFAB_FOREVER};
        struct task napping = {.endpoint = opened("?direction=receive"), .deadline_ns = soon()};
        pthread_t threads[2] = {begin(&forever), begin(&napping)};

        usleep(20000);
        check_ok(confab_remove(address_with("")));
        pthread_join(threads[0], NULL);
        pthread_join(threads[1], NULL);
        check_eq(forever.result, -EIDRM);
        check_eq(napping.result, -EIDRM);
        check_eq(send_typed(sender, "x", 1, CONFAB_NOW), -EIDRM);
        check_says("removed while in use");
        check_eq(confab_remove(address_with("")), -ENOENT);
        check_says("no queue has the key 0x");
        confab_close(napping.endpoint);
        confab_close(sender);

        /* Made anew by somebody else: closing the old one does not take it away. */
        check(msgget(test_key(), IPC_CREAT | IPC_EXCL | 0600) >= 0);
        confab_close(receiver);
        check_ok(confab_remove(address_with("")));
}

TEST(persistent_queues_stay_and_those_of_others_do) {
        confab_endpoint *receiver = listening("?lifetime=persistent"), *sender = opened("");

        check_eq(send_typed(sender, "kept", 6, CONFAB_NOW), 4);
        confab_close(sender);
        confab_close(receiver);
        receiver = listening("");
        check_eq(receive_type(receiver, 0, CONFAB_NOW, NULL), 6);
        confab_close(receiver); /* it was there before */
        check_ok(confab_remove(address_with("")));
        check_eq(confab_open(&receiver, address_with(""), NULL, CONFAB_NOW), -ENOENT);
        check_says("the side that listens creates it");
}

TEST(the_mode_is_the_one_asked_for_whatever_the_umask) {
        static const unsigned masks[] = {0, 022, 0777}, modes[] = {0600, 0666, 0640};

        for (size_t i = 0; i < 3; i++)
                for (size_t j = 0; j < 3; j++) {
                        confab_endpoint *receiver;
                        struct msqid_ds queue;
                        char keys[32];

                        umask(masks[i]);
                        snprintf(keys, sizeof(keys), "?mode=%04o", modes[j]);
                        receiver = listening(keys);
                        check_eq(msgctl(msgget(test_key(), 0), IPC_STAT, &queue), 0);
                        check_eq(queue.msg_perm.mode & 0777, modes[j]);
                        check_eq(confab_listen(&(confab_endpoint *){NULL}, address_with("?mode=0444"), NULL,
                                               CONFAB_NOW),
                                 -EEXIST);
                        check_says("asked for was 0444");
                        confab_close(receiver);
                }
        umask(022);
}

static void denied(void) {
        confab_endpoint *endpoint = NULL;

        check_eq(confab_open(&endpoint, address_with(""), NULL, CONFAB_NOW), -EACCES);
        check_says("no permission to send to the queue: its owner is user 0 and its mode 0600, you are "
                   "user 4242");
        check_eq(confab_remove(address_with("")), -EPERM);
        check_says("no permission to remove the queue");
}

static void sends_only(void) {
        confab_endpoint *endpoint = opened(""), *receiver = NULL;
        struct confab_interest interest = {endpoint, CONFAB_SEND, 0};

        check_eq(confab_wait(&interest, 1, CONFAB_NOW), 1);
        check_eq(send_typed(endpoint, "x", 1, CONFAB_NOW), 1);
        check_eq(confab_open(&receiver, address_with("?direction=receive"), NULL, CONFAB_NOW), -EACCES);
        confab_close(endpoint);
}

static void changes_nothing(void) {
        confab_endpoint *endpoint = NULL;

        check_eq(confab_open(&endpoint, address_with("?capacity=5"), NULL, CONFAB_NOW), -EPERM);
        check_says("no permission to change the queue");
}

static void plant(void) {
        if (msgget(test_key(), IPC_CREAT | IPC_EXCL | 0666) < 0)
                _exit(3);
}

static void listen_on_planted(void) {
        confab_endpoint *endpoint = NULL;

        check_eq(confab_listen(&endpoint, address_with(""), NULL, CONFAB_NOW), -EPERM);
        check_says("belongs to user 4242");
        check_says("owner=4242");
}

TEST(no_permission_says_who_owns_it) {
        confab_endpoint *receiver;

        if (geteuid() != 0)
                skip("needs root to become another user");
        receiver = listening("");
        as_user(4242, denied);
        confab_close(receiver);
        receiver = listening("?mode=0622");
        as_user(4242, sends_only);
        as_user(4242, changes_nothing);
        check_eq(receive_type(receiver, 0, CONFAB_NOW, NULL), 1);
        confab_close(receiver);
        receiver = listening("?owner=4242&mode=0200");
        as_user(4242, sends_only);
        confab_close(receiver);
}

TEST(a_queue_planted_by_a_stranger_is_not_listened_on) {
        if (geteuid() != 0)
                skip("needs root to become another user");
        test_key();
        as_user(4242, plant);
        listen_on_planted();
        as_user(4243, listen_on_planted);
        confab_close(listening("?owner=4242"));
        check_ok(confab_remove(address_with("")));
}
