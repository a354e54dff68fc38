/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * confab bench: what each mechanism does on this machine. One row for an address, a size and a mode; see measure.h for how.
 */
#include "json.h"
#include "mechanisms.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SIZES_MAX = 32, SIZE_MAX_BYTES = 16 * 1024 * 1024, PAIRS_LEAST = 11 };

static const struct cli_option options[] = {
        {"json", 'j', NULL, "print one JSON object a line", NULL},
        {"size", 's', "N,...", "bytes of a message, several with commas (64,4096,65536)", NULL},
        {"seconds", 't', "S", "how long one row measures (1)", NULL},
        {"mode", 'm', "MODE", "blocking, polling or both (both)", "blocking polling both"},
        {"raw", 'r', NULL, "compare with bare system calls in interleaved pairs", NULL},
        {"pairs", 'p', "N", "how many pairs --raw takes (15)", NULL},
        {"count-syscalls", 'c', NULL, "count system calls a message, in a run of its own", NULL},
        {"far-end", 0, "FILE", "for confab itself: be the far end of the measurement in FILE", NULL},
        CLI_OPTIONS_END,
};

struct bench {
        struct cli_args *args;
        uint64_t sizes[SIZES_MAX];
        unsigned n_sizes;
        double seconds;
        bool json, raw, calls, modes[2];
        int64_t n_pairs;
        bool heading;
        int code;
};

struct row {
        struct bench *bench;
        uint64_t size;
        enum measure_mode mode;
};

static int lead_row(struct measure_job *job, struct measure_ends *ends, void *data) {
        const struct row *row = data;
        double half = row->bench->seconds / 2;
        int r;

        if (row->size > job->properties.message_max)
                return MEASURE_NOT_HERE;
        r = measure_latency(job, ends, MEASURE_CONFAB, row->mode, row->size, half, &job->latency);
        if (r >= 0)
                r = measure_throughput(job, ends, MEASURE_CONFAB, row->mode, row->size, half,
                                       &job->throughput);
        if (r >= 0 && job->bare && row->mode == MEASURE_BLOCKING)
                r = measure_compare(job, ends, row->size, row->bench->seconds, (unsigned)row->bench->n_pairs,
                                    &job->ratio);
        return r;
}

static int lead_calls(struct measure_job *job, struct measure_ends *ends, void *data) {
        const struct row *row = data;

        return row->size > job->properties.message_max
                       ? MEASURE_NOT_HERE
                       : measure_count_calls(job, ends, row->size, &job->calls);
}

static const char *const mode_words[] = {"blocking", "polling"};

static void print_json(const struct row *row, const struct measure_job *job) {
        struct cli_json json;

        cli_json_init(&json, stdout);
        cli_json_object(&json, NULL);
        cli_json_text(&json, "address", job->label);
        cli_json_unsigned(&json, "size", row->size);
        cli_json_text(&json, "mode", mode_words[row->mode]);
        cli_json_object(&json, "latency_ns");
        cli_json_signed(&json, "p50", job->latency.p50);
        cli_json_signed(&json, "p99", job->latency.p99);
        cli_json_signed(&json, "p999", job->latency.p999);
        cli_json_signed(&json, "max", job->latency.max);
        cli_json_end(&json);
        cli_json_real(&json, "messages_per_s", job->throughput.messages_per_s);
        cli_json_real(&json, "bytes_per_s", job->throughput.bytes_per_s);
        cli_json_real(&json, "cpu_ns_per_message", job->throughput.cpu_ns_per_message);
        cli_json_unsigned(&json, "lost", job->throughput.lost);
        if (job->ratio.n_pairs) {
                cli_json_object(&json, "ratio_to_raw");
                cli_json_real(&json, "median", job->ratio.median);
                cli_json_real(&json, "low", job->ratio.low);
                cli_json_real(&json, "high", job->ratio.high);
                cli_json_unsigned(&json, "pairs", job->ratio.n_pairs);
                cli_json_real(&json, "confab_per_s", job->ratio.confab_per_s);
                cli_json_real(&json, "raw_per_s", job->ratio.bare_per_s);
                cli_json_text(&json, "raw", measure_bare_calls(job));
                cli_json_end(&json);
        }
        if (job->calls.counted) {
                cli_json_object(&json, "syscalls_per_message");
                cli_json_real(&json, "send", job->calls.send);
                cli_json_real(&json, "receive", job->calls.receive);
                cli_json_real(&json, "receive_waiting", job->calls.receive_waiting);
                cli_json_end(&json);
        }
        cli_json_end(&json);
        fflush(stdout);
}

static void print_heading(const struct bench *bench) {
        printf("%-24s %8s %-8s %9s %9s %9s %10s %9s %8s", "address", "size", "mode", "p50 us", "p99 us",
               "p99.9 us", "messages/s", "MB/s", "cpu ns");
        if (bench->raw)
                printf("  %-22s", "ratio to raw");
        if (bench->calls)
                printf("  %-20s", "calls send/recv/wait");
        printf("\n");
}

static void print_row(const struct row *row, const struct measure_job *job) {
        const struct measure_throughput *t = &job->throughput;

        if (!row->bench->heading)
                print_heading(row->bench);
        row->bench->heading = true;
        printf("%-24s %8" PRIu64 " %-8s %9.2f %9.2f %9.2f %10.0f %9.1f %8.0f", job->label, row->size,
               mode_words[row->mode], (double)job->latency.p50 / 1e3, (double)job->latency.p99 / 1e3,
               (double)job->latency.p999 / 1e3, t->messages_per_s, t->bytes_per_s / 1e6,
               t->cpu_ns_per_message);
        if (job->ratio.n_pairs)
                printf("  %.3f (%.3f to %.3f)", job->ratio.median, job->ratio.low, job->ratio.high);
        else if (row->bench->raw) /* shm:// has no bare calls to compare with; polling is not compared */
                printf("  %-22s", "-");
        if (job->calls.counted)
                printf("  %.2f / %.2f / %.2f", job->calls.send, job->calls.receive,
                       job->calls.receive_waiting);
        if (t->lost)
                printf("  %" PRIu64 " lost", t->lost);
        printf("\n");
        fflush(stdout);
}

static void measure_row(struct row *row, const char *address) {
        struct bench *bench = row->bench;
        struct measure_calls calls = {0};
        struct measure_job *job;
        int r = measure_job_new(&job);

        if (r < 0) {
                bench->code = cli_failed_call(bench->args, "temporary folder", -r);
                return;
        }
        mechanisms_pin(job);
        r = measure_job_for(job, address, false);
        if (r >= 0 && row->size > job->properties.message_max) {
                cli_say(bench->args, "%s carries at most %" PRIu64 " bytes in a message: no row for %" PRIu64,
                        address, job->properties.message_max, row->size);
                measure_job_free(job);
                return;
        }
        if (r >= 0 && bench->calls && row->mode == MEASURE_BLOCKING) {
                job->traced = true;
                r = measure_run(job, lead_calls, row, INT64_C(60000000000), NULL);
                calls = job->calls;
                job->traced = false;
                if (r >= 0)
                        r = measure_job_for(job, address, false);
        }
        if (r >= 0) {
                memset(&job->throughput, 0, sizeof(job->throughput));
                job->bare = bench->raw && row->mode == MEASURE_BLOCKING;
                r = measure_run(job, lead_row, row, (int64_t)((4 * bench->seconds + 120) * 1e9), NULL);
        }
        job->calls = calls;
        if (r < 0) {
                cli_say(bench->args, "%s", job->error);
                bench->code = CLI_FAILED;
        } else if (job->throughput.count) {
                (bench->json ? print_json : print_row)(row, job);
        } else {
                cli_say(bench->args, "%s carries no message of %" PRIu64 " bytes", address, row->size);
        }
        measure_job_free(job);
}

static int read_sizes(struct bench *bench) {
        const char *text = cli_text(bench->args, "size");
        char copy[512], *state = NULL;
        size_t text_len;

        if (!text)
                text = "64,4096,65536";
        text_len = strlen(text);
        if (text_len >= sizeof(copy))
                return cli_usage(bench->args, "--size: too many sizes");
        memcpy(copy, text, text_len + 1);
        for (char *word = strtok_r(copy, ",", &state); word; word = strtok_r(NULL, ",", &state)) {
                uint64_t size;

                if (!cli_parse_size(word, &size) || size < 1 || size > SIZE_MAX_BYTES)
                        return cli_usage(bench->args, "--size %s: sizes are 1 to 16M bytes", word);
                if (bench->n_sizes == SIZES_MAX)
                        return cli_usage(bench->args, "--size: at most %d sizes", SIZES_MAX);
                bench->sizes[bench->n_sizes++] = size;
        }
        return CLI_DONE;
}

static int read_options(struct bench *bench) {
        const char *mode = cli_text(bench->args, "mode");
        int64_t ns = INT64_C(1000000000);
        int code = read_sizes(bench);

        bench->n_pairs = 15;
        if (code == CLI_DONE)
                code = cli_duration(bench->args, "seconds", &ns);
        if (code == CLI_DONE)
                code = cli_number(bench->args, "pairs", PAIRS_LEAST, MEASURE_PAIRS_MAX, &bench->n_pairs);
        if (code != CLI_DONE)
                return code;
        bench->seconds = (double)ns / 1e9;
        if (bench->seconds < 0.01 || bench->seconds > 3600)
                return cli_usage(bench->args, "--seconds: 0.01 to 3600");
        if (mode && strcmp(mode, "both") != 0 && strcmp(mode, "blocking") != 0 &&
            strcmp(mode, "polling") != 0)
                return cli_usage(bench->args, "--mode %s: blocking, polling or both", mode);
        bench->modes[MEASURE_BLOCKING] = !mode || strcmp(mode, "polling") != 0;
        bench->modes[MEASURE_POLLING] = !mode || strcmp(mode, "blocking") != 0;
        bench->json = cli_given(bench->args, "json");
        bench->raw = cli_given(bench->args, "raw");
        bench->calls = cli_given(bench->args, "count-syscalls");
        return CLI_DONE;
}

static int run(struct cli_args *args) {
        struct bench bench = {.args = args};
        const char *address;
        int code;

        if (cli_given(args, "far-end"))
                return measure_far_end(cli_text(args, "far-end")) ? CLI_FAILED : CLI_DONE;
        code = read_options(&bench);
        if (code != CLI_DONE)
                return code;
        cli_watch(NULL); /* a signal ends the loop below in good order */
        for (unsigned i = 0; (address = args->n_operands ? i < args->n_operands ? args->operands[i] : NULL
                                                         : mechanisms_address(i)) != NULL;
             i++)
                for (unsigned s = 0; s < bench.n_sizes; s++)
                        for (int mode = 0; mode < 2; mode++)
                                if (bench.modes[mode] && !cli_signalled())
                                        measure_row(&(struct row){&bench, bench.sizes[s],
                                                                  (enum measure_mode)mode},
                                                    address);
        return bench.code;
}

const struct cli_cmd cmd_bench = {
        .name = "bench",
        .summary = "Measures latency and throughput of mechanisms between two processes",
        .usage = "[ADDRESS...]",
        .details = "Without ADDRESS every mechanism is measured. An ADDRESS with nothing between :// and ? "
                   "takes a temporary name:\n"
                   "tcp://, unix://?type=seqpacket. Latency is a round trip, there and back. Each message "
                   "carries a number that is checked.",
        .options = options,
        .operand_words = "@addresses",
        .min_operands = 0,
        .max_operands = UINT32_MAX,
        .run = run,
};
