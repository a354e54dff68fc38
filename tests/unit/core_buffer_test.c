/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include "core/buffer.h"
#include "harness.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

TEST(one_buffer_goes_round) {
        struct cfb_pool *pool;
        struct cfb_buffer *buffer, *again;

        check_eq(cfb_pool_new(&pool, 1000), 0);
        check_eq(cfb_pool_buffer_cap(pool), 1000);
        buffer = cfb_buffer_take(pool);
        check(buffer && buffer->cap == 1000 && cfb_buffer_alone(buffer));
        memset(buffer->bytes, 'x', 1000);
        cfb_buffer_unref(buffer);
        again = cfb_buffer_take(pool);
        check(again == buffer);
        cfb_buffer_unref(again);
        cfb_buffer_unref(NULL);
        check(cfb_pool_unref(pool) == NULL);
        check(cfb_pool_unref(NULL) == NULL);
}

TEST(a_burst_is_served_and_mostly_freed) {
        struct cfb_buffer *buffers[100];
        struct cfb_pool *pool;

        check_eq(cfb_pool_new(&pool, 64), 0);
        for (int round = 0; round < 3; round++) {
                for (int i = 0; i < 100; i++) {
                        buffers[i] = cfb_buffer_take(pool);
                        check(buffers[i]);
                        for (int k = 0; k < i; k++)
                                check(buffers[k] != buffers[i]);
                }
                for (int i = 0; i < 100; i++)
                        cfb_buffer_unref(buffers[i]);
        }
        cfb_pool_unref(pool);
}

TEST(large_ones_are_not_pooled) {
        struct cfb_buffer *large, *usual;
        struct cfb_pool *pool;

        check_eq(cfb_pool_new(&pool, 64), 0);
        large = cfb_buffer_take_large(pool, 100000);
        check(large && large->cap == 100000);
        large->bytes[99999] = 1;
        cfb_buffer_ref(large);
        check(!cfb_buffer_alone(large));
        cfb_buffer_unref(large);
        cfb_buffer_unref(large);
        usual = cfb_buffer_take(pool);
        check_eq(usual->cap, 64);
        cfb_buffer_unref(usual);
        check(cfb_buffer_take_large(pool, SIZE_MAX - 8) == NULL);
        cfb_pool_unref(pool);
}

TEST(the_last_reference_closes_descriptors) {
        struct cfb_buffer *buffer;
        struct cfb_pool *pool;
        int fds[2];

        check_eq(cfb_pool_new(&pool, 64), 0);
        check(pipe(fds) == 0);
        buffer = cfb_buffer_take(pool);
        buffer->descriptors[0] = fds[0];
        buffer->descriptors[1] = -1; /* taken */
        buffer->n_descriptors = 2;
        cfb_buffer_ref(buffer);
        cfb_buffer_unref(buffer);
        check(fcntl(fds[0], F_GETFD) >= 0);
        cfb_buffer_unref(buffer);
        check(fcntl(fds[0], F_GETFD) < 0);
        close(fds[1]);
        cfb_pool_unref(pool);
}

static void *take_and_give(void *data) {
        struct cfb_pool *pool = data;

        for (int i = 0; i < 20000; i++) {
                struct cfb_buffer *one = cfb_buffer_take(pool), *two = cfb_buffer_take(pool);

                check(one && two && one != two);
                memset(one->bytes, i, 64);
                memset(two->bytes, i + 1, 64);
                check(one->bytes[63] == (unsigned char)i);
                cfb_buffer_unref(one);
                cfb_buffer_unref(two);
        }
        return NULL;
}

TEST_TIMEOUT(endpoints_of_a_listener_share_a_pool, 30) {
        pthread_t threads[4];
        struct cfb_pool *pool;

        check_eq(cfb_pool_new(&pool, 64), 0);
        for (int i = 0; i < 4; i++)
                check(pthread_create(&threads[i], NULL, take_and_give, pool) == 0);
        for (int i = 0; i < 4; i++)
                pthread_join(threads[i], NULL);
        cfb_pool_unref(pool);
}

static _Atomic bool forked_enough;
enum { IN_HAND = 4 };

/* Takes and gives back more than one, so that more than the first place is used. */
static void *use_buffers(void *poolp) {
        struct cfb_buffer *buffers[IN_HAND];

        do {
                for (int i = 0; i < IN_HAND; i++)
                        buffers[i] = cfb_buffer_take(poolp);
                for (int i = 0; i < IN_HAND; i++) {
                        check(buffers[i]);
                        buffers[i]->bytes[0] = (unsigned char)i;
                        cfb_buffer_unref(buffers[i]);
                }
        } while (!forked_enough);
        return NULL;
}

/* A fork at any instruction of another thread leaves the child a pool that works; a lock would be held there by nobody. */
TEST_TIMEOUT(a_child_can_use_its_parents_pool, 60) {
        struct cfb_buffer
                *enough[3 * IN_HAND]; /* for both threads and the child: nothing is allocated afterwards */
        struct cfb_pool *pool;
        pthread_t threads[2];
        int status;

        check_eq(cfb_pool_new(&pool, 64), 0);
        for (int i = 0; i < 3 * IN_HAND; i++)
                check(enough[i] = cfb_buffer_take(pool));
        for (int i = 0; i < 3 * IN_HAND; i++)
                cfb_buffer_unref(enough[i]);
        for (int i = 0; i < 2; i++)
                check_eq(pthread_create(&threads[i], NULL, use_buffers, pool), 0);
        for (int i = 0; i < 200; i++) {
                pid_t pid = fork();

                if (pid == 0) {
                        forked_enough = true;
                        use_buffers(pool);
                        _exit(0);
                }
                check_eq(restarted(waitpid(pid, &status, 0)), pid);
                check_eq(status, 0);
        }
        forked_enough = true;
        for (int i = 0; i < 2; i++)
                pthread_join(threads[i], NULL);
        cfb_pool_unref(pool);
}
