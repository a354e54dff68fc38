/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * FAULTS 26: threads that are scheduled in real time (SCHED_FIFO), on one processor. The one of higher priority runs until it sleeps: whoever
 * waits for the other without sleeping, by spinning or by sched_yield, waits for ever.
 */
#include "conversation.h"
#include "emulated.h"
#include "harness.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { LOW = 1, HIGH = 2, HIGHEST = 3 };

/* From here on this process has the first of its processors only, and this thread goes before all others on it. */
static void in_real_time(void) {
        struct sched_param param = {.sched_priority = HIGHEST};
        cpu_set_t allowed, one;
        int cpu = 0;

        if (emulator_sends_no_values())
                skip("emulator: its own threads are not scheduled in real time");
        check_eq(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
        while (!CPU_ISSET(cpu, &allowed))
                cpu++;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        check_eq(sched_setaffinity(0, sizeof(one), &one), 0);
        if (sched_setscheduler(0, SCHED_FIFO, &param) < 0)
                skip("needs root to be scheduled in real time");
}

static pthread_t start(int priority, void *(*run)(void *), void *data) {
        struct sched_param param = {.sched_priority = priority};
        pthread_attr_t attributes;
        pthread_t thread;

        pthread_attr_init(&attributes);
        pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
        pthread_attr_setschedpolicy(&attributes, SCHED_FIFO);
        pthread_attr_setschedparam(&attributes, &param);
        check_eq(pthread_create(&thread, &attributes, run, data), 0);
        pthread_attr_destroy(&attributes);
        return thread;
}

/* --- closing what the other is inside of --- */

static void *receive_until_closed(void *endpoint) {
        struct confab_message message = confab_message_of(NULL, 0);

        check_eq(confab_receive(endpoint, &message, NULL, CONFAB_FOREVER), -ECANCELED);
        return NULL;
}

static void *close_endpoint(void *endpoint) {
        until_used(endpoint, CONFAB_RECEIVE);
        confab_close(endpoint);
        return NULL;
}

TEST(closing_an_endpoint_lets_the_other_leave) {
        static const char *const addresses[] = {"pipe://", "unix://", "unix://?frame=record"};

        in_real_time();
        for (int i = 0; i < 30; i++) {
                confab_endpoint *ends[2];
                pthread_t low, high;

                check_ok(confab_pair(ends, addresses[i % 3], NULL));
                low = start(LOW, receive_until_closed, ends[0]);
                high = start(HIGH, close_endpoint, ends[0]);
                check_eq(pthread_join(high, NULL), 0);
                check_eq(pthread_join(low, NULL), 0);
                confab_close(ends[1]);
        }
}

static sem_t inside;

/* The other goes before us, so it runs from here on until it sleeps. */
static int let_the_other_in(const struct confab_lock_holder *holder, void *data) {
        (void)holder;
        (void)data;
        return sem_post(&inside);
}

static void *look_for_holders(void *lock) {
        check(confab_lock_holders(lock, let_the_other_in, NULL) >= 1);
        return NULL;
}

static void *close_lock(void *lock) {
        check_eq(restarted(sem_wait(&inside)), 0);
        confab_lock_close(lock);
        return NULL;
}

TEST(closing_a_lock_lets_the_other_leave) {
        struct confab_lock_options options = {.size = sizeof(options),
                                              .flags = CONFAB_LOCK_CREATE | CONFAB_LOCK_ANY_THREAD};

        in_real_time();
        check_eq(sem_init(&inside, 0, 0), 0);
        for (int i = 0; i < 10; i++) {
                confab_lock *lock;
                pthread_t low, high;

                check_ok(confab_lock_open(&lock, "file", &options));
                check_ok(confab_lock_acquire(lock, CONFAB_LOCK_EXCLUSIVE, 0, 0, CONFAB_NOW));
                high = start(HIGH, close_lock, lock);
                low = start(LOW, look_for_holders, lock);
                check_eq(pthread_join(high, NULL), 0);
                check_eq(pthread_join(low, NULL), 0);
        }
}

/* --- waiting for what the other has --- */

enum { N_ROUNDS = 300 };

static void *answer(void *endpoint) {
        char text[16];

        for (int i = 0; i < N_ROUNDS; i++) {
                check_eq(try_receive(endpoint, text, sizeof(text), soon()), 1);
                send_text(endpoint, text);
        }
        return NULL;
}

static void *ask(void *endpoint) {
        for (int i = 0; i < N_ROUNDS; i++) {
                send_text(endpoint, "question");
                receive_text(endpoint, "question");
        }
        return NULL;
}

TEST(questions_are_answered_whoever_goes_first) {
        in_real_time();
        for (int asker = LOW; asker <= HIGH; asker++) {
                confab_endpoint *ends[2];
                pthread_t threads[2];

                check_ok(confab_pair(ends, "unix://?type=seqpacket", NULL));
                threads[0] = start(LOW + HIGH - asker, answer, ends[0]);
                threads[1] = start(asker, ask, ends[1]);
                for (int i = 0; i < 2; i++)
                        check_eq(pthread_join(threads[i], NULL), 0);
                close_pair(ends);
        }
}

struct turn {
        confab_lock *lock;
        _Atomic int *n_turns;
};

static void *take_turns(void *data) {
        const struct turn *turn = data;

        for (int i = 0; i < N_ROUNDS; i++) {
                check_ok(confab_lock_acquire(turn->lock, CONFAB_LOCK_EXCLUSIVE, 0, 0, soon()));
                atomic_store(turn->n_turns,
                             atomic_load(turn->n_turns) + 1); /* whole only if nobody comes between */
                if (i % 50 == 0)
                        nap_ms(1); /* with the lock: the other comes, and waits */
                check_ok(confab_lock_release(turn->lock, 0, 0));
        }
        return NULL;
}

TEST(a_lock_goes_from_the_low_to_the_high_and_back) {
        struct confab_lock_options options = {.size = sizeof(options), .flags = CONFAB_LOCK_CREATE};
        struct turn turns[2];
        pthread_t threads[2];
        _Atomic int n_turns = 0;

        in_real_time();
        for (int i = 0; i < 2; i++) {
                turns[i].n_turns = &n_turns;
                check_ok(confab_lock_open(&turns[i].lock, "file", &options));
                threads[i] = start(i ? HIGH : LOW, take_turns, &turns[i]);
        }
        for (int i = 0; i < 2; i++) {
                check_eq(pthread_join(threads[i], NULL), 0);
                confab_lock_close(turns[i].lock);
        }
        check_eq(n_turns, 2 * N_ROUNDS);
}
