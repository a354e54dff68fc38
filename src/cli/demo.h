/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CLI_DEMO_H
#define CLI_DEMO_H
/* confab demo: a real input through every mechanism, verified at the far end; then a report. */
#include "measure.h"

#include <stdio.h>

enum { DEMO_SUM = 32, DEMO_POINTS = 4, DEMO_ROWS_MAX = 24 };

struct demo_file {
        char *path;
        uint64_t len;
        unsigned char sum[DEMO_SUM]; /* SHA-256, taken before anything is sent */
};

struct demo_corpus {
        const char *tree; /* a folder: sent as a tar stream */
        struct demo_file *files;
        unsigned n_files;
        uint64_t n_bytes;
        int64_t limit_ns; /* no new file is begun after so long */
};

/* What one mechanism did. */
struct demo_row {
        char address[64], name[32];
        bool failed;
        char error[MEASURE_TEXT];
        struct confab_properties properties;
        struct measure_carried carried;
        struct measure_point points[DEMO_POINTS];
        struct measure_latency polling;
        bool verified;
        double bytes_per_s; /* of the files, verified */
        double fitness;     /* 0 to 100 */
};

/* demo_corpus.c. 0 or negative errno. A file that cannot be read is left out. */
int demo_corpus_read(struct demo_corpus *corpus, const char *tree, const char *files,
                     void (*tick)(uint64_t n_bytes, void *data), void *data);
void demo_corpus_free(struct demo_corpus *corpus);

/* demo_carry.c: near's part; far's is measure_verify. */
int demo_carry(struct measure_job *job, struct measure_ends *ends, const struct demo_corpus *corpus);

/* report.c */
struct demo_report {
        const struct demo_row *rows; /* by fitness */
        unsigned n_rows;
        const struct demo_corpus *corpus;
        double seconds; /* the whole demo */
};
/* Writes the page. 0 or negative errno. */
int report_write(const char *path, const struct demo_report *report);
void report_text(FILE *file, const char *text); /* escaped */
double demo_point_p50(const struct demo_row *row);
double demo_point_rate(const struct demo_row *row);

/* report_plot.c */
void report_plot_latency(FILE *file, const struct demo_report *report);
void report_plot_throughput(FILE *file, const struct demo_report *report);

#endif
