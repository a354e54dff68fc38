/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* From samples to figures: percentiles, medians, and how sure a median is. */
#include "measure.h"

#include <stdlib.h>
#include <string.h>

static int by_value(const void *a, const void *b) {
        int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

        return (x > y) - (x < y);
}

static int by_real_value(const void *a, const void *b) {
        double x = *(const double *)a, y = *(const double *)b;

        return (x > y) - (x < y);
}

/* The smallest sample that at least @share of all do not exceed. */
static int64_t at_share(const int64_t *sorted, size_t n, double share) {
        size_t rank = (size_t)(share * (double)n);

        if ((double)rank < share * (double)n)
                rank++;
        return sorted[rank ? rank - 1 : 0];
}

void measure_percentiles(struct measure_latency *latency, int64_t *samples, size_t n_samples) {
        *latency = (struct measure_latency){.count = n_samples};
        if (!n_samples)
                return;
        qsort(samples, n_samples, sizeof(*samples), by_value);
        latency->p50 = at_share(samples, n_samples, 0.50);
        latency->p90 = at_share(samples, n_samples, 0.90);
        latency->p99 = at_share(samples, n_samples, 0.99);
        latency->p999 = at_share(samples, n_samples, 0.999);
        latency->max = samples[n_samples - 1];
}

double measure_median(double *values, size_t n_values) {
        if (!n_values)
                return 0;
        qsort(values, n_values, sizeof(*values), by_real_value);
        return n_values % 2 ? values[n_values / 2] : (values[n_values / 2 - 1] + values[n_values / 2]) / 2;
}

enum { RESAMPLES = 4000 };

void measure_interval(const double *values, size_t n_values, double *lowp, double *highp) {
        uint64_t state = UINT64_C(0x9e3779b97f4a7c15);
        double *medians = calloc(RESAMPLES, sizeof(*medians));
        double *drawn = calloc(n_values + 1, sizeof(*drawn));

        *lowp = *highp = 0;
        if (medians && drawn && n_values) {
                for (size_t i = 0; i < RESAMPLES; i++) {
                        for (size_t j = 0; j < n_values; j++) {
                                /* xorshift64: the same figures from the same samples, every time */
                                state ^= state << 13;
                                state ^= state >> 7;
                                state ^= state << 17;
                                drawn[j] = values[(state >> 11) % n_values];
                        }
                        medians[i] = measure_median(drawn, n_values);
                }
                qsort(medians, RESAMPLES, sizeof(*medians), by_real_value);
                *lowp = medians[RESAMPLES * 25 / 1000];
                *highp = medians[RESAMPLES * 975 / 1000];
        }
        free(drawn);
        free(medians);
}
