/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * confab demo: the main job. A source tree as a tar stream and every file of a folder as a message go through every mechanism
 * between two processes; the far end verifies SHA-256; then latency and throughput by size. A table and a page come of it.
 *
 * Fitness, 0 to 100: the geometric mean of three figures, each as a share of the best mechanism's: how short the median round
 * trip of 64 bytes is, how many messages of 64 bytes a second arrive, how many verified bytes of the files a second. 0 where
 * anything arrived wrong. It is one number for one machine and says nothing of reach: the page's last table does.
 */
#include "arithmetic.h"
#include "columns.h"
#include "demo.h"
#include "mechanisms.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct cli_option options[] = {
        {"tree", 't', "DIR", "send this folder as a tar stream (.)", NULL},
        {"files", 'f', "DIR", "send every file of this folder as a message (/usr/bin)", NULL},
        {"report", 'R', "FILE", "write the page there (report.html)", NULL},
        {"seconds", 's', "S", "how long it may take in all: a busy machine sends fewer files (90)", NULL},
        CLI_TABLE_OPTIONS,
        CLI_OPTIONS_END,
};

static const struct cli_column columns[] = {
        {"mechanism", "what carried the messages", CLI_TEXT, 0},
        {"fitness", "0 to 100: geometric mean of latency, messages/s and bytes/s as shares of the best",
         CLI_NUMBER, 0},
        {"verified", "SHA-256 was right at the far end: tar stream and all files", CLI_TRUTH, 0},
        {"p50-us", "median round trip of 64 bytes", CLI_NUMBER, 0},
        {"p99-us", "99th percentile of it", CLI_NUMBER, 0},
        {"messages/s", "of 64 bytes, one way", CLI_NUMBER, 0},
        {"files-MB/s", "the files, hashed at both ends", CLI_NUMBER, 0},
        {"files", "how many arrived", CLI_NUMBER, 0},
        {"MB", "bytes of them", CLI_NUMBER, 0},
        {"parts", "messages they took", CLI_NUMBER, 0},
        {"resent", "messages sent again after a loss", CLI_NUMBER, 0},
        {0},
};

struct demo {
        struct cli_args *args;
        struct demo_corpus corpus;
        struct demo_row rows[DEMO_ROWS_MAX];
        unsigned n_rows, n_all;
        bool terminal;
        int64_t shown_ns, began_ns, deadline_ns;
};

static const uint64_t sizes[DEMO_POINTS] = {64, 1024, 8192, 65536};

/* --- progress: one line, rewritten on a terminal --- */

static void clear_line(const struct demo *demo) {
        if (demo->terminal)
                fputs("\r\033[K", stderr);
}

static bool may_show(struct demo *demo) {
        enum { BETWEEN_NS = 100 * 1000 * 1000 };
        int64_t now_ns = confab_now();

        if (!demo->terminal || now_ns - demo->shown_ns < BETWEEN_NS)
                return false;
        demo->shown_ns = now_ns;
        return true;
}

static void show_reading(uint64_t n_bytes, void *data) {
        struct demo *demo = data;

        if (!may_show(demo))
                return;
        fprintf(stderr, "\r\033[Kreading the input: %.0f MB", (double)n_bytes / 1e6);
}

static void show_progress(struct measure_job *job, void *data) {
        struct demo *demo = data;
        uint64_t done = atomic_load(&job->progress);

        if (!may_show(demo))
                return;
        if (job->corpus)
                fprintf(stderr, "\r\033[K[%u/%u] %s: %.0f MB carried and verified", demo->n_rows + 1,
                        demo->n_all, job->label, (double)done / 1e6);
        else
                fprintf(stderr, "\r\033[K[%u/%u] %s: measuring", demo->n_rows + 1, demo->n_all, job->label);
}

static void show_row(const struct demo *demo, const struct demo_row *row) {
        const struct measure_carried *carried = &row->carried;

        clear_line(demo);
        if (row->failed)
                fprintf(stderr, "[%u/%u] %-15s FAILED: %s\n", demo->n_rows + 1, demo->n_all, row->name,
                        row->error);
        else
                fprintf(stderr,
                        "[%u/%u] %-15s tar stream %.1f MB and %" PRIu64
                        " files, %.0f MB: SHA-256 right; %.0f MB/s, %.1f us\n",
                        demo->n_rows + 1, demo->n_all, row->name, (double)carried->tree_len / 1e6,
                        carried->n_files, (double)carried->n_bytes / 1e6, row->bytes_per_s / 1e6,
                        demo_point_p50(row) / 1e3);
}

/* --- one mechanism --- */

static int lead_carry(struct measure_job *job, struct measure_ends *ends, void *data) {
        return demo_carry(job, ends, &((struct demo *)data)->corpus);
}

static int lead_sweep(struct measure_job *job, struct measure_ends *ends, void *data) {
        const double seconds = 0.12;
        int r = measure_latency(job, ends, MEASURE_CONFAB, MEASURE_POLLING, sizes[0], seconds, &job->polling);

        (void)data;
        for (unsigned i = 0; r >= 0 && i < DEMO_POINTS; i++) {
                if (sizes[i] > job->properties.message_max)
                        continue;
                r = measure_latency(job, ends, MEASURE_CONFAB, MEASURE_BLOCKING, sizes[i], seconds,
                                    &job->points[i].latency);
                if (r >= 0)
                        r = measure_throughput(job, ends, MEASURE_CONFAB, MEASURE_BLOCKING, sizes[i], seconds,
                                               &job->points[i].throughput);
                job->points[i].size = sizes[i];
        }
        return r;
}

enum { SWEEP_MS = 3000, FILES_LEAST_MS = 500, FILES_MOST_MS = 15000 };

/* Those still to come share the time that is left; on an idle machine all files go long before. */
static int64_t time_for_files(const struct demo *demo) {
        int64_t share = (demo->deadline_ns - confab_now()) / (int64_t)(demo->n_all - demo->n_rows) / 1000000 -
                        SWEEP_MS;

        share = share < FILES_LEAST_MS ? FILES_LEAST_MS : share > FILES_MOST_MS ? FILES_MOST_MS : share;
        return share * 1000000;
}

static int measure_both(struct measure_job *job, struct demo *demo, struct demo_row *row) {
        const int64_t patience = INT64_C(60000000000);
        int r = measure_job_for(job, row->address, true);

        if (r < 0)
                return r;
        row->properties = job->properties;
        job->corpus = true;
        demo->corpus.limit_ns = time_for_files(demo);
        r = measure_run(job, lead_carry, demo, patience + 4 * demo->corpus.limit_ns, show_progress);
        row->carried = job->carried;
        if (r < 0)
                return r;
        job->corpus = false;
        r = measure_job_for(job, row->address, false);
        if (r >= 0)
                r = measure_run(job, lead_sweep, demo, patience, show_progress);
        row->properties = job->properties;
        if (job->way == MEASURE_STDIO) /* near's end was fd://, and one direction of two */
                confab_properties(&row->properties, "stdio://");
        memcpy(row->points, job->points, sizeof(row->points));
        row->polling = job->polling;
        return r;
}

static void measure_mechanism(struct demo *demo, const char *address) {
        struct demo_row *row = &demo->rows[demo->n_rows];
        const struct measure_carried *carried = &row->carried;
        struct measure_job *job;
        int r;

        snprintf(row->address, sizeof(row->address), "%s", address);
        mechanisms_name(address, row->name, sizeof(row->name));
        r = measure_job_new(&job);
        if (r < 0) {
                row->failed = true;
                snprintf(row->error, sizeof(row->error), "temporary folder: %s", strerror(-r));
        } else {
                mechanisms_pin(job);
                r = measure_both(job, demo, row);
                row->failed = r < 0;
                snprintf(row->error, sizeof(row->error), "%s", job->error);
                measure_job_free(job);
        }
        row->verified = !row->failed && carried->complete && (carried->tree_right || !demo->corpus.tree);
        if (carried->files_ns > 0)
                row->bytes_per_s = (double)carried->n_bytes * 1e9 / (double)carried->files_ns;
        show_row(demo, row);
        demo->n_rows++;
}

/* --- fitness --- */

double demo_point_p50(const struct demo_row *row) {
        return (double)row->points[0].latency.p50;
}

double demo_point_rate(const struct demo_row *row) {
        return row->points[0].throughput.messages_per_s;
}

static int by_fitness(const void *a, const void *b) {
        const struct demo_row *x = a, *y = b;

        return x->fitness < y->fitness ? 1 : x->fitness > y->fitness ? -1 : strcmp(x->name, y->name);
}

static void rate(struct demo *demo) {
        double shortest = INFINITY, most = 0, widest = 0;

        for (unsigned i = 0; i < demo->n_rows; i++) {
                const struct demo_row *row = &demo->rows[i];

                if (!row->verified)
                        continue;
                shortest = cli_least(shortest, demo_point_p50(row));
                most = cli_most(most, demo_point_rate(row));
                widest = cli_most(widest, row->bytes_per_s);
        }
        for (unsigned i = 0; i < demo->n_rows; i++) {
                struct demo_row *row = &demo->rows[i];

                if (row->verified && demo_point_p50(row) > 0)
                        row->fitness = 100 * cli_cube_root(shortest / demo_point_p50(row) *
                                                           (demo_point_rate(row) / most) *
                                                           (row->bytes_per_s / widest));
        }
        qsort(demo->rows, demo->n_rows, sizeof(demo->rows[0]), by_fitness);
}

static void add_cells(struct cli_table *table, const struct demo_row *row) {
        char cells[10][32];

        snprintf(cells[0], 32, "%.1f", row->fitness);
        snprintf(cells[1], 32, "%.1f", demo_point_p50(row) / 1e3);
        snprintf(cells[2], 32, "%.1f", (double)row->points[0].latency.p99 / 1e3);
        snprintf(cells[3], 32, "%.0f", demo_point_rate(row));
        snprintf(cells[4], 32, "%.0f", row->bytes_per_s / 1e6);
        snprintf(cells[5], 32, "%" PRIu64, row->carried.n_files);
        snprintf(cells[6], 32, "%.0f", (double)row->carried.n_bytes / 1e6);
        snprintf(cells[7], 32, "%" PRIu64, row->carried.n_parts);
        snprintf(cells[8], 32, "%" PRIu64, row->carried.n_resent);
        cli_table_add(table,
                      (const char *[]){row->name, cells[0], row->verified ? "yes" : "no", cells[1], cells[2],
                                       cells[3], cells[4], cells[5], cells[6], cells[7], cells[8]});
}

/* --- the whole --- */

static int read_input(struct demo *demo) {
        const char *tree = cli_text(demo->args, "tree"), *files = cli_text(demo->args, "files");
        int r;

        if (!tree)
                tree = ".";
        if (!files)
                files = "/usr/bin";
        if (access(tree, R_OK | X_OK) < 0)
                return cli_failed_call(demo->args, tree, errno);
        r = demo_corpus_read(&demo->corpus, tree, files, show_reading, demo);
        if (r < 0)
                return cli_failed_call(demo->args, files, -r);
        clear_line(demo);
        fprintf(stderr, "input: %s as a tar stream, and %u files of %s, %.0f MB, as messages\n", tree,
                demo->corpus.n_files, files, (double)demo->corpus.n_bytes / 1e6);
        return CLI_DONE;
}

static int finish(struct demo *demo, struct cli_table *table) {
        const char *path = cli_text(demo->args, "report");
        struct demo_report report = {demo->rows, demo->n_rows, &demo->corpus,
                                     (double)(confab_now() - demo->began_ns) / 1e9};
        int code = CLI_DONE, r;

        rate(demo);
        for (unsigned i = 0; i < demo->n_rows; i++) {
                add_cells(table, &demo->rows[i]);
                if (!demo->rows[i].verified)
                        code = CLI_FAILED;
        }
        cli_table_end(table);
        fflush(stdout);
        if (!path)
                path = "report.html";
        r = report_write(path, &report);
        if (r < 0)
                return cli_failed_call(demo->args, path, -r);
        fprintf(stderr,
                "%u mechanisms in %.0f s; fitness is the geometric mean of round trip, messages/s and "
                "bytes/s as shares of "
                "the best.\nThe whole story: %s\n",
                demo->n_rows, report.seconds, path);
        return code;
}

static int run(struct cli_args *args) {
        struct demo *demo = cli_allocate(sizeof(*demo));
        struct cli_table *table;
        const char *address;
        int64_t limit_ns = INT64_C(90000000000);
        int code = cli_duration(args, "seconds", &limit_ns);

        demo->args = args;
        demo->terminal = isatty(STDERR_FILENO);
        demo->began_ns = confab_now();
        demo->deadline_ns = confab_after(limit_ns);
        cli_watch(NULL); /* a signal ends the loop below in good order */
        while (mechanisms_address(demo->n_all))
                demo->n_all++;
        if (code == CLI_DONE)
                code = cli_table_new(&table, args);
        if (code == CLI_DONE) {
                code = read_input(demo);
                for (unsigned i = 0;
                     code == CLI_DONE && !cli_signalled() && (address = mechanisms_address(i)); i++)
                        measure_mechanism(demo, address);
                if (code == CLI_DONE && !cli_signalled())
                        code = finish(demo, table);
                else
                        cli_table_end(table);
        }
        demo_corpus_free(&demo->corpus);
        free(demo);
        return code;
}

const struct cli_cmd cmd_demo = {
        .name = "demo",
        .summary = "Sends a real input through every mechanism, verifies it and reports",
        .usage = "",
        .details = "Ends in a table sorted by fitness and in a page to look at: plots, the property table, "
                   "which to choose when.",
        .options = options,
        .columns = columns,
        .min_operands = 0,
        .max_operands = 0,
        .run = run,
};
