/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* The event loop: descriptors, timers, signals, children, waking, nesting; and removal at every bad moment. */
#include "harness.h"

#include <confab/confab.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static const int64_t MS = 1000000;

static confab_loop *loop_of_test(void) {
        confab_loop *loop;

        check_ok(confab_loop_new(&loop));
        return loop;
}

static int stop_loop(confab_source *source, uint32_t events, void *data) {
        (void)source;
        (void)events;
        confab_loop_stop(data);
        return 0;
}

static int count_call(confab_source *source, uint32_t events, void *data) {
        (void)source;
        (void)events;
        ++*(int *)data;
        return 0;
}

/* Fails the test if it is called. */
static int not_expected(confab_source *source, uint32_t events, void *data) {
        (void)source;
        (void)events;
        (void)data;
        check(!"called");
        return 0;
}

static void fill_pipe(int ends[2]) {
        check_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
        check_eq(write(ends[1], "x", 1), 1);
}

static void close_pipe(int ends[2]) {
        close(ends[0]);
        close(ends[1]);
}

/* --- descriptors --- */

TEST(descriptor_ready_is_told_level_triggered) {
        confab_loop *loop = loop_of_test();
        int ends[2], n = 0;

        fill_pipe(ends);
        check_ok(confab_loop_add_descriptor(NULL, loop, ends[0], POLLIN, count_call, &n));
        check_eq(confab_loop_once(loop, CONFAB_NOW), 1);
        check_eq(confab_loop_once(loop, CONFAB_FOREVER), 1); /* nobody read: told again */
        check_eq(n, 2);
        check_eq(read(ends[0], (char[1]){0}, 1), 1);
        check_eq(confab_loop_once(loop, CONFAB_NOW), 0);
        confab_loop_free(loop);
        close_pipe(ends);
}

static int expect_events(confab_source *source, uint32_t events, void *data) {
        (void)source;
        check_eq(events, *(uint32_t *)data);
        return 0;
}

TEST(descriptor_change_and_hang_up) {
        confab_loop *loop = loop_of_test();
        confab_source *source;
        uint32_t expected = POLLHUP;
        int ends[2];

        fill_pipe(ends);
        check_ok(confab_loop_add_descriptor(&source, loop, ends[0], 0, expect_events, &expected));
        check_eq(confab_loop_once(loop, CONFAB_NOW), 0);
        close(ends[1]);
        check_eq(confab_loop_once(loop, CONFAB_NOW),
                 0); /* not even the hang-up, while it is watched for nothing */
        check_ok(confab_loop_change(source, POLLIN));
        expected = POLLIN | POLLHUP;
        check_eq(confab_loop_once(loop, CONFAB_NOW), 1);
        check_ok(confab_loop_change(source, 0));
        check_eq(confab_loop_once(loop, CONFAB_NOW), 0);
        confab_loop_free(loop);
        close(ends[0]);
}

TEST(descriptor_errors) {
        confab_loop *loop = loop_of_test();
        char text[300];
        int ends[2];

        fill_pipe(ends);
        check_ok(confab_loop_add_descriptor(NULL, loop, ends[0], POLLIN, not_expected, NULL));
        check_eq(confab_loop_add_descriptor(NULL, loop, ends[0], POLLIN, not_expected, NULL), -EEXIST);
        confab_explain(text, sizeof(text));
        check(strstr(text, "watches it already"));
        check_eq(confab_loop_add_descriptor(NULL, loop, -1, POLLIN, not_expected, NULL), -EBADF);
        check_eq(confab_loop_add_descriptor(NULL, loop, ends[1], POLLIN, NULL, NULL), -EINVAL);
        check_eq(confab_loop_add_descriptor(NULL, loop, ends[1], 0x80000000u, not_expected, NULL), -EINVAL);
        check_eq(confab_loop_add_descriptor(NULL, NULL, ends[1], POLLIN, not_expected, NULL), -EINVAL);
        check_eq(confab_loop_set_timer(NULL, 0, 0), -EINVAL);
        check_eq(confab_loop_change(NULL, 0), -EINVAL);
        check(confab_loop_remove(NULL) == NULL);
        check(confab_loop_free(NULL) == NULL);
        confab_loop_free(loop);
        close_pipe(ends);
}

TEST(regular_file_is_always_ready) {
        confab_loop *loop = loop_of_test();
        confab_source *first, *second;
        int a = open("a", O_RDWR | O_CREAT | O_CLOEXEC, 0600),
            b = open("b", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        int n_a = 0, n_b = 0;
        struct pollfd pollfd = {.fd = confab_loop_descriptor(loop), .events = POLLIN};

        check(a >= 0 && b >= 0);
        check_ok(confab_loop_add_descriptor(&first, loop, a, POLLIN, count_call, &n_a));
        check_ok(confab_loop_add_descriptor(&second, loop, b, POLLOUT, count_call, &n_b));
        check_eq(poll(&pollfd, 1, 0), 1); /* a foreign loop sees it as well */
        check_eq(confab_loop_once(loop, CONFAB_FOREVER), 2);
        check_ok(confab_loop_change(first, 0));
        check_eq(confab_loop_once(loop, CONFAB_FOREVER), 1);
        check_ok(confab_loop_change(first, POLLIN | POLLOUT));
        check_eq(confab_loop_once(loop, CONFAB_FOREVER), 2);
        confab_loop_remove(second);
        check_eq(confab_loop_once(loop, CONFAB_FOREVER), 1);
        confab_loop_remove(first);
        check_eq(confab_loop_once(loop, CONFAB_NOW), 0);
        check_eq(poll(&pollfd, 1, 0), 0);
        check_eq(n_a, 3);
        check_eq(n_b, 3);
        confab_loop_free(loop);
        close(a);
        close(b);
}

/* Each callback removes one of the others, so only half of them can be called in a step. */
enum { N_RING = 20 };
static struct {
        confab_source *sources[N_RING];
        int n_called;
} ring;

static int remove_opposite(confab_source *source, uint32_t events, void *data) {
        int own = (int)(intptr_t)data, other = (own + N_RING / 2) % N_RING;

        (void)events;
        check(ring.sources[own] == source); /* else: called after it was removed */
        ring.sources[other] = confab_loop_remove(ring.sources[other]);
        ring.n_called++;
        return 0;
}

static void removal_ring(bool files) {
        confab_loop *loop = loop_of_test();
        int fds[N_RING];

        ring.n_called = 0;
        for (int i = 0; i < N_RING; i++) {
                char name[16];

                snprintf(name, sizeof(name), "%d", i);
                fds[i] = files ? open(name, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : eventfd(1, EFD_CLOEXEC);
                check(fds[i] >= 0);
                check_ok(confab_loop_add_descriptor(&ring.sources[i], loop, fds[i], POLLIN, remove_opposite,
                                                    (void *)(intptr_t)i));
        }
        while (ring.n_called < N_RING / 2)
                check(confab_loop_once(loop, CONFAB_NOW) > 0);
        check_eq(ring.n_called, N_RING / 2);
        confab_loop_free(loop);
        for (int i = 0; i < N_RING; i++)
                close(fds[i]);
}

TEST(removal_of_others_in_callbacks) {
        removal_ring(false);
}

TEST(removal_of_others_in_callbacks_of_files) {
        removal_ring(true);
}

/* Removes itself, closes its descriptor, and puts another pipe at the same number in the loop, which is not ready. */
struct two_pipes {
        confab_loop *loop;
        int ends[4];
};

static int replace_itself(confab_source *source, uint32_t events, void *data) {
        struct two_pipes *pipes = data;
        int *ends = pipes->ends, fresh[2];

        (void)events;
        confab_loop_remove(source);
        close(ends[0]);
        close(ends[1]);
        check_eq(pipe2(fresh, O_CLOEXEC), 0);
        check(fresh[0] == ends[0] || fresh[1] == ends[0]);
        ends[2] = fresh[0];
        ends[3] = fresh[1];
        return confab_loop_add_descriptor(NULL, pipes->loop, fresh[0], POLLIN, not_expected, NULL);
}

TEST(removal_of_itself_and_the_same_number_again) {
        struct two_pipes pipes = {.loop = loop_of_test()};

        fill_pipe(pipes.ends);
        check_ok(confab_loop_add_descriptor(NULL, pipes.loop, pipes.ends[0], POLLIN, replace_itself, &pipes));
        check_eq(confab_loop_once(pipes.loop, CONFAB_NOW), 1);
        check_eq(confab_loop_once(pipes.loop, CONFAB_NOW), 0);
        confab_loop_free(pipes.loop);
        close_pipe(pipes.ends + 2);
}

static int change_other_to_nothing(confab_source *source, uint32_t events, void *data) {
        confab_source **both = data;

        (void)events;
        check_ok(confab_loop_change(both[source == both[0]], 0));
        return 0;
}

TEST(change_silences_what_was_fetched) {
        confab_loop *loop = loop_of_test();
        confab_source *both[2];
        int a[2], b[2];

        fill_pipe(a);
        fill_pipe(b);
        check_ok(confab_loop_add_descriptor(&both[0], loop, a[0], POLLIN, change_other_to_nothing, both));
        check_ok(confab_loop_add_descriptor(&both[1], loop, b[0], POLLIN, change_other_to_nothing, both));
        check_eq(confab_loop_once(loop, CONFAB_NOW), 1);
        confab_loop_free(loop);
        close_pipe(a);
        close_pipe(b);
}

static int answer_minus_five(confab_source *source, uint32_t events, void *data) {
        (void)source;
        (void)events;
        (void)data;
        return -5;
}

TEST(negative_answer_ends_the_run) {
        confab_loop *loop = loop_of_test();
        int ends[2];

        fill_pipe(ends);
        check_ok(confab_loop_add_descriptor(NULL, loop, ends[0], POLLIN, answer_minus_five, NULL));
        check_eq(confab_loop_run(loop), -5);
        check_eq(confab_loop_once(loop, CONFAB_NOW), -5);
        confab_loop_free(loop);
        close_pipe(ends);
}

static int run_inside(confab_source *source, uint32_t events, void *data) {
        (void)source;
        (void)events;
        check_eq(confab_loop_run(data), -EBUSY);
        check_eq(confab_loop_once(data, CONFAB_NOW), -EBUSY);
        return 0;
}

TEST(running_inside_itself_is_refused) {
        confab_loop *loop = loop_of_test();
        int ends[2];

        fill_pipe(ends);
        check_ok(confab_loop_add_descriptor(NULL, loop, ends[0], POLLIN, run_inside, loop));
        check_eq(confab_loop_once(loop, CONFAB_NOW), 1);
        confab_loop_free(loop);
        close_pipe(ends);
}

TEST_TIMEOUT(ten_thousand_descriptors, 60) {
        enum { N = 10000 };
        confab_loop *loop;
        struct rlimit limit;
        int *fds = calloc(N, sizeof(*fds)), n_called = 0, n = 0;

        check_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
        limit.rlim_cur = limit.rlim_max;
        check_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        if (limit.rlim_cur < N + 100)
                skip("RLIMIT_NOFILE is below 10,100");
        loop = loop_of_test();
        for (int i = 0; i < N; i++) {
                fds[i] = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
                check(fds[i] >= 0);
                check_ok(confab_loop_add_descriptor(NULL, loop, fds[i], POLLIN, count_call, &n_called));
        }
        while (n_called <
               N) /* level-triggered and all ready: the kernel goes round, so each is told once before any twice */
                check((n = confab_loop_once(loop, CONFAB_FOREVER)) > 0);
        confab_loop_free(loop);
        for (int i = 0; i < N; i++)
                close(fds[i]);
        free(fds);
}

/* --- timers --- */

static struct {
        int order[200];
        int n;
} fired;

static int note_order(confab_source *source, uint32_t events, void *data) {
        (void)source;
        check_eq(events, 1);
        fired.order[fired.n++] = (int)(intptr_t)data;
        return 0;
}

TEST(timers_fire_in_order) {
        confab_loop *loop = loop_of_test();
        int64_t start_ns = confab_now() + 5 * MS;
        unsigned seed = 1;

        /* deadlines shuffled, some the same: those fire in the order they were set */
        for (int i = 0; i < 200; i++) {
                int64_t key = rand_r(&seed) % 50;

                check_ok(confab_loop_add_timer(NULL, loop, start_ns + key * 1000, 0, note_order,
                                               (void *)(intptr_t)(key * 1000 + i)));
        }
        while (fired.n < 200)
                check(confab_loop_once(loop, CONFAB_FOREVER) > 0);
        for (int i = 1; i < 200; i++)
                check(fired.order[i - 1] < fired.order[i]);
        check_eq(confab_loop_once(loop, confab_after(2 * MS)), 0); /* each once */
        confab_loop_free(loop);
}

TEST(timer_is_precise) {
        confab_loop *loop = loop_of_test();
        int n = 0;
        int64_t best_ns = INT64_MAX;

        for (int i = 0; i < 20 || best_ns >= MS; i++) { /* a busy machine needs more tries */
                int64_t deadline_ns = confab_after(2 * MS), late_ns;

                check_ok(confab_loop_add_timer(NULL, loop, deadline_ns, 0, count_call, &n));
                check_eq(confab_loop_once(loop, CONFAB_FOREVER), 1);
                late_ns = confab_now() - deadline_ns;
                check(late_ns >= 0);
                if (late_ns < best_ns)
                        best_ns = late_ns;
        }
        confab_loop_free(loop);
}

TEST(once_returns_at_its_deadline) {
        confab_loop *loop = loop_of_test();
        confab_source *timer;
        int64_t deadline_ns = confab_after(3 * MS);

        /* put off: the timerfd fires for nothing, and that is not the end of the wait */
        check_ok(confab_loop_add_timer(&timer, loop, confab_after(1 * MS), 0, not_expected, NULL));
        check_ok(confab_loop_set_timer(timer, CONFAB_FOREVER, 0));
        check_eq(confab_loop_once(loop, deadline_ns), 0);
        check(confab_now() >= deadline_ns);
        check_eq(confab_loop_once(loop, CONFAB_NOW), 0);
        confab_loop_free(loop);
}

static int count_expirations(confab_source *source, uint32_t events, void *data) {
        (void)source;
        *(uint32_t *)data += events;
        return 0;
}

TEST(interval_keeps_its_grid_and_counts_what_it_missed) {
        confab_loop *loop = loop_of_test();
        uint32_t n = 0;
        int64_t first_ns = confab_now() + 2 * MS;

        check_ok(confab_loop_add_timer(NULL, loop, first_ns, 2 * MS, count_expirations, &n));
        usleep(11000); /* at least first, +2, +4, +6, +8 ms */
        check_eq(confab_loop_once(loop, CONFAB_FOREVER), 1);
        check(n >= 5);
        check(first_ns + ((int64_t)n - 1) * 2 * MS <= confab_now());
        while (n < 20)
                check_eq(confab_loop_once(loop, CONFAB_FOREVER), 1);
        check(confab_now() >= first_ns + ((int64_t)n - 1) * 2 * MS);
        confab_loop_free(loop);
}

TEST(timer_in_the_past_and_tiny_intervals_do_not_starve_descriptors) {
        confab_loop *loop = loop_of_test();
        int ends[2], n = 0;

        fill_pipe(ends);
        check_ok(confab_loop_add_timer(NULL, loop, CONFAB_NOW, 1, count_call, &n));
        check_ok(confab_loop_add_timer(NULL, loop, -5, 0, count_call, &n));
        check_ok(confab_loop_add_descriptor(NULL, loop, ends[0], POLLIN, stop_loop, loop));
        check_ok(confab_loop_run(loop));
        confab_loop_free(loop);
        close_pipe(ends);
}

static int set_again_twice(confab_source *source, uint32_t events, void *data) {
        (void)events;
        if (++*(int *)data < 3)
                check_ok(confab_loop_set_timer(source, CONFAB_NOW, 0));
        return 0;
}

TEST(timer_set_again_in_its_own_callback) {
        confab_loop *loop = loop_of_test();
        int n = 0;

        check_ok(confab_loop_add_timer(NULL, loop, confab_now(), 0, set_again_twice, &n));
        check_eq(confab_loop_once(loop, CONFAB_FOREVER), 1); /* one a step, though it is due at once */
        check_eq(confab_loop_once(loop, CONFAB_FOREVER), 1);
        check_eq(confab_loop_once(loop, CONFAB_FOREVER), 1);
        check_eq(confab_loop_once(loop, confab_after(2 * MS)), 0);
        check_eq(n, 3);
        confab_loop_free(loop);
}

static int remove_itself(confab_source *source, uint32_t events, void *data) {
        (void)events;
        ++*(int *)data;
        confab_loop_remove(source);
        return 0;
}

static int remove_other(confab_source *source, uint32_t events, void *data) {
        confab_source **other = data;

        (void)source;
        (void)events;
        *other = confab_loop_remove(*other);
        return 0;
}

TEST(timers_removed_in_callbacks) {
        confab_loop *loop = loop_of_test();
        confab_source *other, *later;
        int64_t now_ns = confab_now();
        int n = 0;

        check_ok(confab_loop_add_timer(NULL, loop, now_ns, 1, remove_itself, &n));
        check_ok(confab_loop_add_timer(NULL, loop, now_ns, 0, remove_itself, &n));
        check_ok(confab_loop_add_timer(NULL, loop, now_ns + 1, 0, remove_other, &other));
        check_ok(confab_loop_add_timer(&other, loop, now_ns + 2, 1, not_expected,
                                       NULL)); /* due already when removed */
        check_ok(confab_loop_add_timer(NULL, loop, now_ns + 3, 0, remove_other, &later));
        check_ok(confab_loop_add_timer(&later, loop, now_ns + 3600000000000, 0, not_expected, NULL));
        usleep(100);
        check_eq(confab_loop_once(loop, CONFAB_FOREVER), 4);
        check_eq(n, 2);
        check_eq(confab_loop_once(loop, confab_after(MS)), 0);
        confab_loop_free(loop);
}

/* Thousands of timers set, put off and removed at random, against a simple list. */
TEST_TIMEOUT(heap_against_a_model, 30) {
        enum { N = 500 };
        static confab_source *timers[N];
        static int64_t model[N];
        static int counts[N];
        confab_loop *loop = loop_of_test();
        unsigned seed = 7;
        int64_t base_ns = confab_now();

        for (int i = 0; i < 20000; i++) {
                int at = rand_r(&seed) % N;
                int64_t deadline_ns =
                        base_ns + (rand_r(&seed) % 2000) * (int64_t)10 * MS; /* up to 20 s: half stay */

                if (!timers[at])
                        check_ok(confab_loop_add_timer(&timers[at], loop, deadline_ns + 3600000000000, 0,
                                                       count_call, &counts[at]));
                else if (rand_r(&seed) % 4)
                        check_ok(confab_loop_set_timer(timers[at], deadline_ns + 3600000000000, 0));
                else
                        timers[at] = confab_loop_remove(timers[at]);
                model[at] = deadline_ns;
        }
        for (int i = 0; i < N; i++) /* now for real: an hour earlier, all of them in the past or far away */
                if (timers[i])
                        check_ok(confab_loop_set_timer(timers[i],
                                                       model[i] < base_ns + 10000 * (int64_t)MS
                                                               ? model[i] - 3600000000000
                                                               : CONFAB_FOREVER,
                                                       0));
        check(confab_loop_once(loop, CONFAB_FOREVER) > 0);
        check_eq(confab_loop_once(loop, CONFAB_NOW), 0);
        for (int i = 0; i < N; i++)
                if (timers[i])
                        check_eq(counts[i], model[i] < base_ns + 10000 * (int64_t)MS ? 1 : 0);
        confab_loop_free(loop);
}

TEST(stop_among_due_timers_loses_none) {
        confab_loop *loop = loop_of_test();
        int n = 0;

        check_ok(confab_loop_add_timer(NULL, loop, CONFAB_NOW, 0, stop_loop, loop));
        check_ok(confab_loop_add_timer(NULL, loop, CONFAB_NOW, 0, count_call, &n));
        check_ok(confab_loop_run(loop));
        check_eq(n, 0);
        while (!n) /* the stop's wake may come first */
                check(confab_loop_once(loop, CONFAB_FOREVER) >= 0);
        check_eq(n, 1);
        confab_loop_free(loop);
}

/* --- signals --- */

static int note_event(confab_source *source, uint32_t events, void *data) {
        (void)source;
        *(uint32_t *)data = events;
        return 0;
}

TEST(signals_as_events) {
        confab_loop *loop = loop_of_test();
        confab_source *source;
        uint32_t got = 0, other = 0;
        sigset_t blocked;

        check_ok(confab_loop_add_signal(&source, loop, SIGUSR1, note_event, &got));
        check_ok(confab_loop_add_signal(NULL, loop, SIGRTMIN + 3, note_event, &other));
        check_eq(confab_loop_add_signal(NULL, loop, SIGUSR1, note_event, &got), -EBUSY);
        check_eq(kill(getpid(), SIGUSR1), 0);
        check_eq(confab_loop_once(loop, CONFAB_FOREVER), 1);
        check_eq(got, SIGUSR1);
        check_eq(kill(getpid(), SIGRTMIN + 3), 0);
        check_eq(kill(getpid(), SIGRTMIN + 3), 0); /* queued: told twice */
        check_eq(confab_loop_once(loop, CONFAB_FOREVER), 2);
        check_eq(other, SIGRTMIN + 3);
        confab_loop_remove(source);
        pthread_sigmask(SIG_SETMASK, NULL, &blocked);
        check(!sigismember(&blocked, SIGUSR1));
        check(sigismember(&blocked, SIGRTMIN + 3));
        confab_loop_free(loop);
        pthread_sigmask(SIG_SETMASK, NULL, &blocked);
        check(!sigismember(&blocked, SIGRTMIN + 3));
}

TEST(signal_blocked_before_stays_blocked) {
        confab_loop *loop = loop_of_test();
        sigset_t one, blocked;

        sigemptyset(&one);
        sigaddset(&one, SIGUSR2);
        pthread_sigmask(SIG_BLOCK, &one, NULL);
        check_ok(confab_loop_add_signal(NULL, loop, SIGUSR2, not_expected, NULL));
        confab_loop_free(loop);
        pthread_sigmask(SIG_SETMASK, NULL, &blocked);
        check(sigismember(&blocked, SIGUSR2));
}

static void *free_with_a_mask_of_its_own(void *loop) {
        sigset_t one, blocked;

        sigemptyset(&one);
        sigaddset(&one, SIGUSR2);
        pthread_sigmask(SIG_BLOCK, &one, NULL);
        confab_loop_free(loop);
        pthread_sigmask(SIG_SETMASK, NULL, &blocked);
        return (void *)(intptr_t)sigismember(&blocked, SIGUSR2);
}

/* Made in one thread, run and freed in another that blocks the signal itself: there it stays blocked. */
TEST(another_threads_mask_is_left_alone) {
        confab_loop *loop = loop_of_test();
        pthread_t thread;
        void *is_blocked;

        check_ok(confab_loop_add_signal(NULL, loop, SIGUSR2, not_expected, NULL));
        check_eq(pthread_create(&thread, NULL, free_with_a_mask_of_its_own, loop), 0);
        check_eq(pthread_join(thread, &is_blocked), 0);
        check(is_blocked);
}

TEST(signals_that_cannot_be_taken) {
        static const int refused[] = {SIGKILL, SIGSTOP, SIGSEGV, SIGBUS, SIGFPE, SIGILL, 0, -1, 33, 1000};
        confab_loop *loop = loop_of_test();
        char text[256];

        for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
                check_eq(confab_loop_add_signal(NULL, loop, refused[i], not_expected, NULL), -EINVAL);
        check_ok(confab_loop_add_signal(NULL, loop, SIGUSR1, not_expected, NULL));
        check_eq(confab_loop_add_signal(NULL, loop, SIGUSR1, not_expected, NULL), -EBUSY);
        confab_explain(text, sizeof(text));
        check_str(text, "SIGUSR1: add_signal: another source of this loop takes it");
        confab_loop_free(loop);
}

/* --- children --- */

static int child_that(int exit_status, int own_signal) {
        int pid = fork();

        if (pid == 0) {
                signal(SIGTERM, SIG_DFL);
                usleep(2000);
                if (own_signal)
                        kill(getpid(), own_signal);
                _exit(exit_status);
        }
        check(pid > 0);
        return pid;
}

TEST(children_are_reaped_and_told) {
        confab_loop *loop = loop_of_test();
        uint32_t first = UINT32_MAX, second = UINT32_MAX, third = UINT32_MAX;
        int calls = 0, ended, pid = child_that(7, 0);

        check_ok(confab_loop_add_child(NULL, loop, pid, note_event, &first));
        check_ok(confab_loop_add_child(NULL, loop, child_that(0, SIGTERM), note_event, &second));
        ended = child_that(3, 0);
        usleep(10000); /* ended before it is watched: told all the same */
        check_ok(confab_loop_add_child(NULL, loop, ended, note_event, &third));
        while (calls < 3)
                calls += confab_loop_once(loop, CONFAB_FOREVER);
        check(WIFEXITED((int)first) && WEXITSTATUS((int)first) == 7);
        check(WIFSIGNALED((int)second) && WTERMSIG((int)second) == SIGTERM);
        check(WIFEXITED((int)third) && WEXITSTATUS((int)third) == 3);
        check_eq(waitpid(-1, NULL, WNOHANG), -1);
        check_eq(errno, ECHILD);
        check_eq(confab_loop_add_child(NULL, loop, pid, note_event, &first), -ECHILD);
        confab_loop_free(loop);
}

TEST(strangers_are_no_children) {
        confab_loop *loop = loop_of_test();

        check_eq(confab_loop_add_child(NULL, loop, 1, not_expected, NULL), -ECHILD);
        check_eq(confab_loop_add_child(NULL, loop, getpid(), not_expected, NULL), -ECHILD);
        check_eq(confab_loop_add_child(NULL, loop, 0, not_expected, NULL), -ECHILD);
        check_eq(confab_loop_add_child(NULL, loop, -1, not_expected, NULL), -ECHILD);
        signal(SIGCHLD, SIG_IGN);
        check_eq(confab_loop_add_child(NULL, loop, child_that(0, 0), not_expected, NULL), -ECHILD);
        check_eq(waitpid(-1, NULL, 0), -1); /* returns when it has ended */
        confab_loop_free(loop);
}

TEST(child_reaped_by_somebody_else) {
        confab_loop *loop = loop_of_test();
        uint32_t status = 0;
        int pid = child_that(0, 0);

        check_ok(confab_loop_add_child(NULL, loop, pid, note_event, &status));
        check_eq(waitpid(pid, NULL, 0), pid);
        check_eq(confab_loop_once(loop, CONFAB_FOREVER), 1);
        check(!WIFEXITED((int)status) && !WIFSIGNALED((int)status));
        confab_loop_free(loop);
}

TEST(child_removed_before_its_end_is_left_alone) {
        confab_loop *loop = loop_of_test();
        confab_source *source;
        int pid = child_that(0, 0);

        check_ok(confab_loop_add_child(&source, loop, pid, not_expected, NULL));
        confab_loop_remove(source);
        check_eq(waitpid(pid, NULL, 0), pid);
        confab_loop_free(loop);
}

/* --- stop and wake --- */

static void *stop_from_thread(void *data) {
        usleep(2000);
        confab_loop_stop(data);
        return NULL;
}

TEST(stop_from_another_thread) {
        confab_loop *loop = loop_of_test();
        pthread_t thread;

        for (int i = 0; i < 20; i++) {
                check_eq(pthread_create(&thread, NULL, stop_from_thread, loop), 0);
                check_ok(confab_loop_run(loop));
                pthread_join(thread, NULL);
        }
        confab_loop_stop(loop); /* before a run: not lost */
        check_ok(confab_loop_run(loop));
        confab_loop_free(loop);
}

static confab_loop *signalled;

static void stop_in_handler(int number) {
        (void)number;
        confab_loop_stop(signalled);
}

static void wake_in_handler(int number) {
        (void)number;
        confab_loop_wake(signalled);
}

TEST(stop_and_wake_from_a_signal_handler) {
        struct itimerval soon = {.it_value.tv_usec = 3000};

        signalled = loop_of_test();
        signal(SIGALRM, stop_in_handler);
        check_eq(setitimer(ITIMER_REAL, &soon, NULL), 0);
        check_ok(confab_loop_run(signalled));
        check_eq(confab_loop_once(signalled, CONFAB_NOW), 0); /* the rest of the stop's wake, if any */
        signal(SIGALRM, wake_in_handler);
        check_eq(setitimer(ITIMER_REAL, &soon, NULL), 0);
        check_eq(confab_loop_once(signalled, CONFAB_FOREVER), 0);
        confab_loop_free(signalled);
}

static void ignore_it(int number) {
        (void)number;
}

TEST(signals_do_not_end_a_wait) {
        struct itimerval often = {.it_value.tv_usec = 500, .it_interval.tv_usec = 500}, never = {0};
        struct sigaction action = {.sa_handler = ignore_it}; /* no SA_RESTART */
        confab_loop *loop = loop_of_test();
        int64_t deadline_ns = confab_after(20 * MS);

        sigaction(SIGALRM, &action, NULL);
        check_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
        check_eq(confab_loop_once(loop, deadline_ns), 0);
        check(confab_now() >= deadline_ns);
        setitimer(ITIMER_REAL, &never, NULL);
        confab_loop_free(loop);
}

static int stop_at_ten(confab_source *source, uint32_t events, void *data) {
        static int n;

        (void)source;
        (void)events;
        if (++n == 10)
                confab_loop_stop(data);
        check(n <= 10); /* after the callback under way, not after the step */
        return 0;
}

TEST(stop_ends_after_the_callback_under_way) {
        confab_loop *loop = loop_of_test();
        int fds[30];

        for (int i = 0; i < 30; i++) {
                fds[i] = eventfd(1, EFD_CLOEXEC);
                check_ok(confab_loop_add_descriptor(NULL, loop, fds[i], POLLIN, stop_at_ten, loop));
        }
        check_ok(confab_loop_run(loop));
        confab_loop_free(loop);
        for (int i = 0; i < 30; i++)
                close(fds[i]);
}

/* --- nesting, fork --- */

TEST(nests_in_a_foreign_loop) {
        confab_loop *loop = loop_of_test();
        struct pollfd foreign = {.fd = confab_loop_descriptor(loop), .events = POLLIN};
        int ends[2], n = 0;

        check_eq(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
        check_ok(confab_loop_add_descriptor(NULL, loop, ends[0], POLLIN, count_call, &n));
        check_eq(poll(&foreign, 1, 0), 0);
        check_eq(write(ends[1], "x", 1), 1);
        check_eq(poll(&foreign, 1, 1000), 1);
        check_eq(confab_loop_once(loop, CONFAB_NOW), 1);
        check_eq(read(ends[0], (char[1]){0}, 1), 1);
        check_eq(poll(&foreign, 1, 0), 0);
        check_ok(confab_loop_add_timer(NULL, loop, confab_after(2 * MS), 0, count_call,
                                       &n)); /* set between two steps */
        check_eq(poll(&foreign, 1, 1000), 1);
        check_eq(confab_loop_once(loop, CONFAB_NOW), 1);
        check_eq(poll(&foreign, 1, 0), 0);
        confab_loop_wake(loop);
        check_eq(poll(&foreign, 1, 0), 1);
        check_eq(confab_loop_once(loop, CONFAB_NOW), 0);
        check_eq(poll(&foreign, 1, 0), 0);
        check_eq(n, 2);
        confab_loop_free(loop);
        close_pipe(ends);
}

static int run_inner(confab_source *source, uint32_t events, void *data) {
        (void)source;
        (void)events;
        return confab_loop_once(data, CONFAB_NOW);
}

TEST(nests_in_a_loop_of_ours) {
        confab_loop *outer = loop_of_test(), *inner = loop_of_test();

        check_ok(confab_loop_add_descriptor(NULL, outer, confab_loop_descriptor(inner), POLLIN, run_inner,
                                            inner));
        check_ok(confab_loop_add_timer(NULL, inner, confab_after(MS), 0, stop_loop, outer));
        check_ok(confab_loop_run(outer));
        confab_loop_free(outer);
        confab_loop_free(inner);
}

TEST(forked_child_does_not_disturb_the_parent) {
        confab_loop *loop = loop_of_test();
        confab_source *source;
        int ends[2], n = 0, status, pid;

        fill_pipe(ends);
        check_ok(confab_loop_add_descriptor(&source, loop, ends[0], POLLIN, count_call, &n));
        check_ok(confab_loop_add_signal(NULL, loop, SIGUSR1, count_call, &n));
        check_ok(confab_loop_add_timer(NULL, loop, confab_after(500 * MS), 0, count_call, &n));
        pid = fork();
        if (pid == 0) {
                int own_calls = 0;

                check_eq(confab_loop_once(loop, CONFAB_NOW), -EOWNERDEAD);
                check_eq(confab_loop_run(loop), -EOWNERDEAD);
                check_eq(confab_loop_add_descriptor(NULL, loop, ends[1], POLLOUT, count_call, &n),
                         -EOWNERDEAD);
                check_eq(confab_loop_change(source, 0), -EOWNERDEAD);
                check_eq(confab_loop_descriptor(loop), -EOWNERDEAD);
                confab_loop_free(loop);
                loop = loop_of_test(); /* a new one works */
                check_ok(confab_loop_add_timer(NULL, loop, CONFAB_NOW, 0, count_call, &own_calls));
                check_eq(confab_loop_once(loop, CONFAB_FOREVER), 1);
                confab_loop_free(loop);
                _exit(0);
        }
        check_eq(waitpid(pid, &status, 0), pid);
        check_eq(status, 0);
        check_eq(confab_loop_once(loop, CONFAB_NOW), 1);
        check_eq(read(ends[0], (char[1]){0}, 1), 1);
        check_eq(kill(getpid(), SIGUSR1), 0);
        check_eq(confab_loop_once(loop, CONFAB_NOW), 1);
        check_eq(confab_loop_once(loop, confab_after(2000 * MS)), 1);
        check_eq(n, 3);
        confab_loop_free(loop);
        close_pipe(ends);
}

/* The eventfd behind them is one description for both. */
TEST(forked_child_does_not_wake_the_parent) {
        confab_loop *loop = loop_of_test();
        struct pollfd pollfd = {.fd = confab_loop_descriptor(loop), .events = POLLIN};
        int status, pid = fork();

        if (pid == 0) {
                confab_loop_wake(loop);
                confab_loop_stop(loop);
                _exit(0);
        }
        check_eq(waitpid(pid, &status, 0), pid);
        check_eq(status, 0);
        check_eq(poll(&pollfd, 1, 0), 0);
        confab_loop_free(loop);
}

TEST(no_descriptor_left) {
        struct rlimit limit = {.rlim_cur = 0, .rlim_max = 0}, before;
        confab_loop *loop = loop_of_test(), *second = NULL;
        int n = 0;

        check_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
        limit.rlim_max = before.rlim_max;
        check_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
        check_eq(confab_loop_new(&second), -EMFILE);
        check_eq(confab_loop_add_timer(NULL, loop, CONFAB_NOW, 0, count_call, &n), -EMFILE);
        check_eq(confab_loop_add_signal(NULL, loop, SIGUSR1, count_call, &n), -EMFILE);
        check_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
        check_ok(confab_loop_add_timer(NULL, loop, CONFAB_NOW, 0, count_call, &n));
        check_eq(confab_loop_once(loop, CONFAB_FOREVER), 1);
        confab_loop_free(loop);
}
