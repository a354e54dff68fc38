/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CLI_MEASURE_H
#define CLI_MEASURE_H
/*
 * Measuring a mechanism between two real processes: what confab bench and confab demo share.
 *
 *      the command  ---fork---->  near  ---fork, or exec://, or fork and exec--->  far
 *
 * Near leads: it gives orders ("receive a hundred thousand messages of 64 bytes"), far obeys; both lie in one file that all
 * three map, so that far may also be a program started anew (exec://, fd://, stdio://). While a figure is being taken the two
 * talk through nothing but the mechanism under test.
 */
#include <confab/confab.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

enum {
        MEASURE_TEXT = 512,
        MEASURE_PAIRS_MAX = 101,
        MEASURE_NOT_HERE =
                1, /* a condition: this mechanism has no such thing (a message of this size, a raw counterpart) */
};

/* How the far end comes into being. */
enum measure_way {
        MEASURE_FORK_PAIR,  /* confab_pair, then fork */
        MEASURE_FORK_NAMED, /* fork, then listen there and open here */
        MEASURE_EXEC,       /* exec:// here, stdio:// there */
        MEASURE_INHERIT,    /* fork and exec with a descriptor: fd:// on both sides */
        MEASURE_STDIO,      /* fork and exec with 0 and 1 connected: fd:// here, stdio:// there */
};

/* Who carries the messages: confab, or bare system calls as one writes them by hand. */
enum measure_by { MEASURE_CONFAB, MEASURE_BARE };
enum measure_mode { MEASURE_BLOCKING, MEASURE_POLLING };

enum measure_what {
        MEASURE_QUIT,
        MEASURE_ECHO,        /* send every message back */
        MEASURE_SINK,        /* receive them all */
        MEASURE_TAKE_READY,  /* receive each when it is surely there, counted by the tracer */
        MEASURE_TAKE_WAITING /* receive each before it is sent */
};

struct measure_order {
        enum measure_what what;
        enum measure_by by;
        enum measure_mode mode;
        uint64_t size;
        uint64_t count;
};

struct measure_latency {
        int64_t p50, p90, p99, p999, max; /* ns of a round trip */
        uint64_t count;
};

struct measure_throughput {
        double messages_per_s, bytes_per_s, cpu_ns_per_message;
        uint64_t count, lost;
};

struct measure_ratio {
        double median, low, high;
        unsigned n_pairs;                /* 0: not measured */
        double confab_per_s, bare_per_s; /* medians */
};

struct measure_calls {
        bool counted;
        double send, receive, receive_waiting; /* system calls a message */
};

/* One size of a sweep. */
struct measure_point {
        uint64_t size; /* 0: not measured */
        struct measure_latency latency;
        struct measure_throughput throughput;
};

/* What one process leaves for the other two. One cache line for each writer. */
struct measure_side {
        _Alignas(64) _Atomic uint32_t round; /* near: the order stands; far: it is being obeyed */
        _Atomic uint32_t done;               /* far: the order is done */
        _Atomic uint64_t step;               /* TAKE_*: messages sent (near), about to be received (far) */
        _Atomic uint32_t counting;           /* the tracer counts system calls now */
        _Atomic int pid;
        int64_t begin_ns, end_ns, cpu_ns;
        uint64_t count;
        uint64_t calls; /* the tracer's */
};

/* What the demo's far end found. */
struct measure_carried {
        uint64_t n_files, n_bytes; /* whole ones, with the right sum */
        uint64_t n_parts;          /* messages on the way, the small header in each */
        uint64_t n_resent;         /* near's count of those sent again, where messages may be lost */
        uint64_t tree_len;
        bool tree_right, complete; /* complete: the end was announced, and all that it counted had come */
        int64_t files_ns, tree_ns; /* from near's first send to far's last receive */
        char tree_sum[65];
};

struct measure_job {
        uint32_t size; /* of this struct: far may be another build */
        enum measure_way way;
        bool bare;   /* set up the bare counterpart too */
        bool corpus; /* far verifies the demo's corpus instead of obeying orders */
        bool lossy;
        bool stream;  /* no boundaries: the receiver cuts the bytes by itself */
        bool one_way; /* a second, opposite connection carries the answers */
        bool traced;
        int cpus[2];     /* near's and far's processor; -1: any */
        int fds[2];      /* INHERIT: far's end; bare descriptors are in bare_fds */
        int bare_fds[4]; /* near out, near in, far out, far in */
        char scheme[16];
        char label[MEASURE_TEXT];      /* how the mechanism is called in the results */
        char address[2][MEASURE_TEXT]; /* where far listens, where near listens */
        char folder[128];              /* temporary names go there */
        char job_path[160];
        char self[MEASURE_TEXT];
        struct measure_order order;
        struct measure_side near, far;
        _Atomic uint32_t published[2]; /* address[i] is bound */
        _Atomic uint32_t failed;       /* error says why; the first one to fail writes */
        char error[MEASURE_TEXT];
        /* results */
        struct confab_properties properties;
        struct measure_latency latency;
        struct measure_throughput throughput;
        struct measure_ratio ratio;
        struct measure_calls calls;
        struct measure_carried carried;
        struct measure_point points[8];
        struct measure_latency polling;
        _Atomic uint64_t progress; /* bytes or messages so far, for the watcher */
};

/* The two ends a process has: the same endpoint twice where one does both. */
struct measure_ends {
        confab_endpoint *out, *in, *listener;
        struct measure_bare *bare; /* NULL: none */
        unsigned char
                *room; /* a message to send, measure_room_len bytes; bare ones may use 16 bytes before it */
        unsigned char *bare_room; /* to receive into */
        size_t room_len;
};

/* Runs in near, with both ends ready. 0 or negative with job->error set (measure_fail). */
typedef int (*measure_lead)(struct measure_job *job, struct measure_ends *ends, void *data);

/* measure_link.c */
/* A job in its file under a fresh folder; the caller's, to be freed with measure_job_free. Negative errno. */
int measure_job_new(struct measure_job **jobp);
struct measure_job *measure_job_free(struct measure_job *job);
/*
 * Prepares @job for @address: "tcp://" or "unix://?type=seqpacket" (nothing between // and ?) takes a temporary name. @frame: streams get
 * "frame=record". 0; -EINVAL with job->error: not an address that can be measured.
 */
int measure_job_for(struct measure_job *job, const char *address, bool frame);
/*
 * Starts near and far, runs @lead in near, waits for both. @tick is called about ten times a second. 0, or negative with job->error.
 * After @limit_ns the two are killed and -ETIMEDOUT returned.
 */
int measure_run(struct measure_job *job, measure_lead lead, void *data, int64_t limit_ns,
                void (*tick)(struct measure_job *job, void *data));
/* The far end of a job as a program of its own: what `confab bench --far-end FILE` does. Returns an exit code. */
int measure_far_end(const char *job_path);
/* Records why, once; returns @r. */
int measure_fail(struct measure_job *job, int r, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
int measure_fail_explained(struct measure_job *job, int64_t r, const char *what);

/* measure_bare.c: the same messages by bare, blocking system calls. */
int measure_bare_make(struct measure_job *job); /* in near, before far exists. MEASURE_NOT_HERE */
int measure_bare_open(struct measure_bare **barep, struct measure_job *job, bool near);
struct measure_bare *measure_bare_close(struct measure_bare *bare);
void measure_bare_clean(struct measure_job *job, bool near); /* after the start: closes what is the other's */
void measure_bare_remove(struct measure_job *job); /* what would outlive the processes: System V queues */
int64_t measure_bare_send(struct measure_bare *bare, const void *data, size_t data_len);
/* At most @cap bytes, 0 at the end; -EAGAIN after 50 ms where messages may be lost. */
int64_t measure_bare_receive(struct measure_bare *bare, void *data, size_t cap);
const char *measure_bare_calls(const struct measure_job *job); /* "write/read" */

/* measure_run.c */
void measure_obey(struct measure_job *job, struct measure_ends *ends); /* far's life */
int measure_latency(struct measure_job *job, struct measure_ends *ends, enum measure_by by,
                    enum measure_mode mode, uint64_t size, double seconds, struct measure_latency *latency);
int measure_throughput(struct measure_job *job, struct measure_ends *ends, enum measure_by by,
                       enum measure_mode mode, uint64_t size, double seconds,
                       struct measure_throughput *throughput);
int measure_compare(struct measure_job *job, struct measure_ends *ends, uint64_t size, double seconds,
                    unsigned n_pairs, struct measure_ratio *ratio);
int measure_count_calls(struct measure_job *job, struct measure_ends *ends, uint64_t size,
                        struct measure_calls *calls);
void measure_give_order(struct measure_job *job, const struct measure_order *order);
int measure_await(struct measure_job *job, const _Atomic uint32_t *word, uint32_t value);
void measure_pin(int cpu);

/* measure_figures.c */
void measure_percentiles(struct measure_latency *latency, int64_t *samples,
                         size_t n_samples);             /* sorts them */
double measure_median(double *values, size_t n_values); /* sorts them */
/* The 95 % interval of the median by the bootstrap (4,000 resamples, always the same sequence). */
void measure_interval(const double *values, size_t n_values, double *lowp, double *highp);

/* measure_trace.c: runs @near (already stopped by PTRACE_TRACEME) and its children, counting while a side's counting is set. */
int measure_trace(struct measure_job *job, pid_t near, int64_t deadline_ns, int *statusp);

/* demo_carry.c: the far end of a demo's job. */
int measure_verify(struct measure_job *job, struct measure_ends *ends);

#endif
