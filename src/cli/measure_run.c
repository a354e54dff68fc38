/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Orders and the loops that carry them out.
 *
 * Every message begins with its number (as much of 64 bits as fit), checked by the receiver, also where bare system calls carry it;
 * so both pay for it alike. A stream's receiver takes up to 64 KiB at once and walks the numbers in it.
 *
 * Throughput is what arrived, divided by the time from the first send to the last receive, of two processes on one clock. The processor
 * time is both processes', from getrusage, over the same span.
 */
#include "measure.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { STREAM_CHUNK = 64 * 1024, PATIENCE_MS = 50 };

static bool alone; /* one processor: polling gives way */

static int64_t cpu_ns(void) {
        struct rusage usage;

        getrusage(RUSAGE_SELF, &usage);
        return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * INT64_C(1000000000) +
               (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * INT64_C(1000);
}

static void give_way(void) {
        if (alone)
                sched_yield();
}

static void number(unsigned char *message, size_t size, uint64_t value) {
        memcpy(message, &value, size < sizeof(value) ? size : sizeof(value));
}

/* --- one message there, by either --- */

static inline int64_t send_confab(struct measure_ends *ends, enum measure_mode mode,
                                  const unsigned char *data, size_t size) {
        int64_t deadline = mode == MEASURE_BLOCKING ? CONFAB_FOREVER : CONFAB_NOW;
        size_t sent = 0;

        for (;;) {
                struct confab_message message = confab_message_of(data + sent, size - sent);
                int64_t n = confab_send(ends->out, &message, deadline);

                if (__builtin_expect(n == (int64_t)(size - sent), true))
                        return (int64_t)size;
                if (n > 0)
                        sent += (size_t)n; /* an unframed stream took a part */
                else if (n == -EAGAIN)
                        give_way();
                else
                        return n;
        }
}

static inline int64_t send_bare(struct measure_ends *ends, const unsigned char *data, size_t size) {
        int64_t n = measure_bare_send(ends->bare, data, size);

        while (n > 0 && n < (int64_t)size) { /* a stream may take a part when a signal comes */
                int64_t more = measure_bare_send(ends->bare, data + n, size - (size_t)n);

                if (more < 0)
                        return more;
                n += more;
        }
        return n;
}

/* --- receiving: chunks in, numbers checked --- */

struct checker {
        uint64_t size, next, lost;
        uint64_t have; /* bytes of a message cut by a chunk's end */
        unsigned char head[8];
        bool stream, lossy;
        const char *wrong; /* NULL: all right */
};

static inline void check_number(struct checker *checker, const unsigned char *head) {
        size_t n = checker->size < 8 ? checker->size : 8;
        uint64_t mask = n == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * n) - 1, got = 0;

        memcpy(&got, head, n);
        if (__builtin_expect(got == (checker->next & mask), true))
                checker->next++;
        else if (checker->lossy && n == 8 && got > checker->next) {
                checker->lost += got - checker->next;
                checker->next = got + 1;
        } else
                checker->wrong = "a message came out of order";
}

static inline void check_message(struct checker *checker, const unsigned char *data, size_t len) {
        if (len != checker->size)
                checker->wrong = "a message came with another length";
        else
                check_number(checker, data);
}

/* A stream's bytes: numbers stand every size bytes, and may be cut in two. */
static inline void check_stream(struct checker *checker, const unsigned char *data, size_t len) {
        size_t head_len = checker->size < 8 ? checker->size : 8;

        while (len) {
                size_t take = checker->size - checker->have < len ? checker->size - checker->have : len;

                if (checker->have == 0 && take >= head_len) {
                        check_number(checker, data);
                } else if (checker->have < head_len) {
                        size_t part = take < head_len - checker->have ? take : head_len - checker->have;

                        memcpy(checker->head + checker->have, data, part);
                        if (checker->have + part == head_len)
                                check_number(checker, checker->head);
                }
                checker->have = checker->have + take == checker->size ? 0 : checker->have + take;
                data += take;
                len -= take;
        }
}

static inline void check_chunk(struct checker *checker, const unsigned char *data, size_t len) {
        if (checker->stream)
                check_stream(checker, data, len);
        else
                check_message(checker, data, len);
}

/* Whole messages seen so far, lost ones included. */
static inline bool reached(const struct checker *checker, uint64_t count) {
        return checker->next >= count && checker->have == 0;
}

/* Receives one chunk. 1; 0: the end; -EAGAIN only where messages may be lost. */
static inline int take_confab(struct measure_ends *ends, enum measure_mode mode, struct checker *checker,
                              int64_t deadline) {
        struct confab_message message = confab_message_of(NULL, 0);
        int r = confab_receive(ends->in, &message, NULL, mode == MEASURE_POLLING ? CONFAB_NOW : deadline);

        if (__builtin_expect(r == 1, true)) {
                check_chunk(checker, message.data, message.data_len);
                confab_release(ends->in, &message);
        }
        return r;
}

static inline int take_bare(struct measure_ends *ends, struct checker *checker) {
        int64_t n = measure_bare_receive(ends->bare, ends->bare_room,
                                         checker->stream ? STREAM_CHUNK : ends->room_len);

        if (n <= 0)
                return (int)n;
        check_chunk(checker, ends->bare_room, (size_t)n);
        return 1;
}

/* Until @count messages were seen. The time of the last one goes to *@lastp where that must be known at every step. */
static int take_until(struct measure_job *job, struct measure_ends *ends, const struct measure_order *order,
                      struct checker *checker, uint64_t count, int64_t *lastp) {
        int64_t deadline = job->lossy ? confab_after(PATIENCE_MS * INT64_C(1000000)) : CONFAB_FOREVER;
        unsigned idle = 0;

        while (!reached(checker, count)) {
                int r = order->by == MEASURE_BARE ? take_bare(ends, checker)
                                                  : take_confab(ends, order->mode, checker, deadline);

                if (__builtin_expect(r == 1, true)) {
                        if (checker->wrong)
                                return measure_fail(job, -EBADMSG, "%s: %s (number %llu)", job->label,
                                                    checker->wrong, (unsigned long long)checker->next);
                        if (job->lossy) {
                                /* Any may be the last: look at the clock each time, whoever carries them. */
                                idle = 0;
                                *lastp = confab_now();
                                deadline = *lastp + PATIENCE_MS * INT64_C(1000000);
                        }
                        continue;
                }
                if (r == 0)
                        return measure_fail(job, -EPIPE, "%s: the end came too early", job->label);
                if (r != -EAGAIN && !(job->lossy && r == -ETIMEDOUT))
                        return order->by == MEASURE_BARE
                                       ? measure_fail(job, r, "%s, bare: %s", job->label, strerror(-r))
                                       : measure_fail_explained(job, r, "receive");
                give_way();
                if (!job->lossy)
                        continue;
                if (order->mode == MEASURE_POLLING && ++idle % 4096)
                        continue;
                if (confab_now() > deadline) {
                        /* Nothing for a while after near has sent everything: the rest is lost. */
                        if (atomic_load(&job->near.step) >= count)
                                return MEASURE_NOT_HERE;
                        deadline = confab_after(PATIENCE_MS * INT64_C(1000000));
                }
        }
        *lastp = confab_now();
        return 0;
}

static struct checker checker_for(const struct measure_job *job, uint64_t size) {
        return (struct checker){.size = size, .stream = job->stream, .lossy = job->lossy};
}

static int64_t send_by(struct measure_job *job, struct measure_ends *ends, const struct measure_order *order,
                       uint64_t value) {
        int64_t n;

        number(ends->room, order->size, value);
        n = order->by == MEASURE_BARE ? send_bare(ends, ends->room, order->size)
                                      : send_confab(ends, order->mode, ends->room, order->size);
        if (__builtin_expect(n == (int64_t)order->size, true))
                return n;
        if (order->by == MEASURE_BARE)
                return measure_fail(job, (int)(n < 0 ? n : -EIO), "%s, bare: %s", job->label,
                                    strerror(n < 0 ? (int)-n : EIO));
        return measure_fail_explained(job, n < 0 ? n : -EIO, "send");
}

/* --- far obeys --- */

static int far_echo(struct measure_job *job, struct measure_ends *ends, const struct measure_order *order) {
        struct checker checker = checker_for(job, order->size);
        int64_t last;
        int r;

        for (uint64_t i = 0; i < order->count; i++) {
                r = take_until(job, ends, order, &checker, i + 1, &last);
                if (r == MEASURE_NOT_HERE)
                        return measure_fail(job, -EIO, "%s: a message was lost", job->label);
                if (r == 0 && send_by(job, ends, order, i) < 0)
                        r = -EIO;
                if (r < 0)
                        return r;
        }
        return 0;
}

static int far_sink(struct measure_job *job, struct measure_ends *ends, const struct measure_order *order) {
        struct checker checker = checker_for(job, order->size);
        int64_t cpu = cpu_ns(), last = confab_now();
        int r = take_until(job, ends, order, &checker, order->count, &last);

        job->far.end_ns = last;
        job->far.cpu_ns = cpu_ns() - cpu;
        job->far.count = checker.next - checker.lost;
        return r < 0 ? r : 0;
}

/* Spins, because a nap of ours would be counted, and because the tracer's stops are long anyway. */
static void until_step(const _Atomic uint64_t *step, uint64_t value) {
        while (atomic_load(step) < value)
                sched_yield();
}

static int far_take_counted(struct measure_job *job, struct measure_ends *ends,
                            const struct measure_order *order) {
        struct checker checker = checker_for(job, order->size);
        int64_t last;
        int r = 0;

        for (uint64_t i = 0; r == 0 && i < order->count; i++) {
                if (order->what == MEASURE_TAKE_READY)
                        until_step(&job->near.step, i + 1);
                atomic_store(&job->far.counting, 1);
                atomic_store(&job->far.step, i + 1);
                r = take_until(job, ends, order, &checker, i + 1, &last);
                atomic_store(&job->far.counting, 0);
                if (order->what == MEASURE_TAKE_READY)
                        atomic_store(&job->far.step, i + 2); /* taken: the next may be sent */
        }
        return r;
}

void measure_obey(struct measure_job *job, struct measure_ends *ends) {
        alone = sysconf(_SC_NPROCESSORS_ONLN) < 2;
        for (uint32_t round = 2;; round++) {
                struct measure_order order;
                int r = 0;

                if (measure_await(job, &job->near.round, round) < 0)
                        return;
                order = job->order;
                atomic_store(&job->far.round, round);
                if (order.what == MEASURE_QUIT)
                        return;
                if (order.what == MEASURE_ECHO)
                        r = far_echo(job, ends, &order);
                else if (order.what == MEASURE_SINK)
                        r = far_sink(job, ends, &order);
                else
                        r = far_take_counted(job, ends, &order);
                if (r < 0) {
                        measure_fail(job, r, "%s: far failed: %s", job->label, strerror(-r));
                        return;
                }
                atomic_store(&job->far.done, round);
        }
}

/* --- near leads --- */

void measure_give_order(struct measure_job *job, const struct measure_order *order) {
        uint32_t round = atomic_load(&job->near.round);

        round = round ? round + 1 : 2;
        job->order = *order;
        atomic_store(&job->near.step, 0);
        atomic_store(&job->far.step, 0);
        atomic_store(&job->near.round, round);
        if (order->what != MEASURE_QUIT)
                measure_await(job, &job->far.round, round);
}

static int until_done(struct measure_job *job) {
        return measure_await(job, &job->far.done, atomic_load(&job->near.round));
}

static int64_t ping(struct measure_job *job, struct measure_ends *ends, const struct measure_order *order,
                    int64_t *samples) {
        struct checker checker = checker_for(job, order->size);
        int64_t begin, last;
        int r;

        measure_give_order(job, order);
        last = begin = confab_now();
        for (uint64_t i = 0; i < order->count; i++) {
                int64_t sent = confab_now();

                if (send_by(job, ends, order, i) < 0)
                        return -EIO;
                r = take_until(job, ends, order, &checker, i + 1, &last);
                if (r == MEASURE_NOT_HERE)
                        return measure_fail(job, -EIO, "%s: an answer was lost", job->label);
                if (r < 0)
                        return r;
                if (samples)
                        samples[i] = last - sent;
        }
        begin = confab_now() - begin;
        r = until_done(job);
        return r < 0 ? r : begin;
}

static uint64_t between(double value, uint64_t low, uint64_t high) {
        return value < (double)low ? low : value > (double)high ? high : (uint64_t)value;
}

int measure_latency(struct measure_job *job, struct measure_ends *ends, enum measure_by by,
                    enum measure_mode mode, uint64_t size, double seconds, struct measure_latency *latency) {
        enum { SAMPLES_MAX = 4 * 1000 * 1000 };
        struct measure_order order = {MEASURE_ECHO, by, mode, size, 200};
        int64_t *samples, took;

        alone = sysconf(_SC_NPROCESSORS_ONLN) < 2;
        took = ping(job, ends, &order, NULL); /* warms up, and tells how many fit into the time */
        if (took < 0)
                return (int)took;
        order.count = between(seconds * 1e9 / ((double)took / (double)order.count + 1), 100, SAMPLES_MAX);
        samples = calloc(order.count, sizeof(*samples));
        if (!samples)
                return measure_fail(job, -ENOMEM, "no memory for samples");
        took = ping(job, ends, &order, samples);
        if (took >= 0)
                measure_percentiles(latency, samples, order.count);
        free(samples);
        return took < 0 ? (int)took : 0;
}

/* Sends order->count messages and waits until far has seen them. */
static int flood(struct measure_job *job, struct measure_ends *ends, const struct measure_order *order,
                 struct measure_throughput *throughput) {
        int64_t cpu, begin;
        double seconds;
        int r;

        measure_give_order(job, order);
        cpu = cpu_ns();
        begin = confab_now();
        for (uint64_t i = 0; i < order->count; i++)
                if (send_by(job, ends, order, i) < 0)
                        return -EIO;
        cpu = cpu_ns() - cpu;
        atomic_store(&job->near.step, order->count);
        r = until_done(job);
        if (r < 0)
                return r;
        seconds = (double)(job->far.end_ns > begin ? job->far.end_ns - begin : 1) * 1e-9;
        *throughput = (struct measure_throughput){
                .messages_per_s = (double)job->far.count / seconds,
                .bytes_per_s = (double)job->far.count * (double)order->size / seconds,
                .cpu_ns_per_message =
                        (double)(cpu + job->far.cpu_ns) / (double)(job->far.count ? job->far.count : 1),
                .count = job->far.count,
                .lost = order->count - job->far.count,
        };
        return 0;
}

/* How many messages fill @seconds: doubled until that can be told, which warms up too. */
static int calibrate(struct measure_job *job, struct measure_ends *ends, struct measure_order *order,
                     double seconds) {
        enum { LONG_ENOUGH_NS = 20 * 1000 * 1000 };
        struct measure_throughput throughput;
        double fastest = 0;
        int64_t begin, took;
        int r;

        for (order->count = 64;; order->count *= 2) {
                begin = confab_now();
                r = flood(job, ends, order, &throughput);
                if (r < 0)
                        return r;
                took = confab_now() - begin;
                /* The fastest run counts: on a busy machine a short one that was put aside would end this too early. */
                if (order->count >= 1024 && throughput.messages_per_s > fastest)
                        fastest = throughput.messages_per_s;
                if ((took > LONG_ENOUGH_NS && order->count >= 1024) || order->count >= 1 << 24)
                        break;
        }
        order->count = between(fastest * seconds, 1024, UINT64_C(1) << 32);
        return 0;
}

int measure_throughput(struct measure_job *job, struct measure_ends *ends, enum measure_by by,
                       enum measure_mode mode, uint64_t size, double seconds,
                       struct measure_throughput *throughput) {
        struct measure_order order = {MEASURE_SINK, by, mode, size, 0};
        int r;

        alone = sysconf(_SC_NPROCESSORS_ONLN) < 2;
        r = calibrate(job, ends, &order, seconds);
        return r < 0 ? r : flood(job, ends, &order, throughput);
}

/*
 * Pairs, confab and bare one after the other in the same two processes; every second pair in the opposite order, so that a
 * machine growing slower or faster favours neither.
 */
int measure_compare(struct measure_job *job, struct measure_ends *ends, uint64_t size, double seconds,
                    unsigned n_pairs, struct measure_ratio *ratio) {
        double ratios[MEASURE_PAIRS_MAX], rates[2][MEASURE_PAIRS_MAX], slice;
        struct measure_order orders[2];
        int r;

        if (n_pairs > MEASURE_PAIRS_MAX)
                n_pairs = MEASURE_PAIRS_MAX;
        slice = seconds / (2 * n_pairs) > 0.02 ? seconds / (2 * n_pairs) : 0.02;
        for (int by = MEASURE_CONFAB; by <= MEASURE_BARE; by++) {
                orders[by] =
                        (struct measure_order){MEASURE_SINK, (enum measure_by)by, MEASURE_BLOCKING, size, 0};
                r = calibrate(job, ends, &orders[by], slice);
                if (r < 0)
                        return r;
        }
        for (unsigned i = 0; i < n_pairs; i++) {
                for (int turn = 0; turn < 2; turn++) {
                        int by = (turn + (int)i) % 2;
                        struct measure_throughput throughput;

                        r = flood(job, ends, &orders[by], &throughput);
                        if (r < 0)
                                return r;
                        rates[by][i] = throughput.messages_per_s;
                }
                ratios[i] = rates[MEASURE_CONFAB][i] / rates[MEASURE_BARE][i];
        }
        measure_interval(ratios, n_pairs, &ratio->low, &ratio->high);
        ratio->median = measure_median(ratios, n_pairs);
        ratio->n_pairs = n_pairs;
        ratio->confab_per_s = measure_median(rates[MEASURE_CONFAB], n_pairs);
        ratio->bare_per_s = measure_median(rates[MEASURE_BARE], n_pairs);
        return 0;
}

/* --- system calls a message, under the tracer --- */

enum { COUNTED = 200, SETTLE_US = 2000 };

static int counted_round(struct measure_job *job, struct measure_ends *ends,
                         const struct measure_order *order) {
        measure_give_order(job, order);
        for (uint64_t i = 0; i < order->count; i++) {
                if (order->what == MEASURE_TAKE_READY) {
                        until_step(&job->far.step, i ? i + 1 : 0); /* far has taken the one before */
                } else {
                        until_step(&job->far.step, i + 1);
                        usleep(SETTLE_US); /* far sleeps in its wait by now */
                }
                atomic_store(&job->near.counting, 1);
                if (send_by(job, ends, order, i) < 0)
                        return -EIO;
                atomic_store(&job->near.counting, 0);
                atomic_store(&job->near.step, i + 1);
        }
        return until_done(job);
}

int measure_count_calls(struct measure_job *job, struct measure_ends *ends, uint64_t size,
                        struct measure_calls *calls) {
        struct measure_order order = {MEASURE_TAKE_READY, MEASURE_CONFAB, MEASURE_BLOCKING, size, COUNTED};
        uint64_t sent, received;
        int r;

        r = counted_round(job, ends, &order); /* the first calls of a thread set things up: not counted */
        sent = job->near.calls;
        received = job->far.calls;
        if (r >= 0)
                r = counted_round(job, ends, &order);
        if (r < 0)
                return r;
        calls->send = (double)(job->near.calls - sent) / COUNTED;
        calls->receive = (double)(job->far.calls - received) / COUNTED;
        order.what = MEASURE_TAKE_WAITING;
        received = job->far.calls;
        r = counted_round(job, ends, &order);
        calls->receive_waiting = (double)(job->far.calls - received) / COUNTED;
        calls->counted = r >= 0;
        return r;
}
