/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef TESTS_CONFORMANCE_EACH_ROW_H
#define TESTS_CONFORMANCE_EACH_ROW_H
/* Registers each of @cases, where it applies, on each row of transports.c, as a test of its own ("tcp/accepting"). */
#include "conformance/link.h"
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct row_entry {
        struct harness_test test; /* first: the runner hands it back */
        const struct row *row;
        const struct conformance_case *row_case;
        char name[96];
};

static void run_row_entry(void) {
        const struct row_entry *entry = (const struct row_entry *)harness_current;
        char folder[4096];

        /* What lies in shared memory lies in the test's own folder. */
        if (getcwd(folder, sizeof(folder)))
                setenv("CONFAB_DIR", folder, 1);
        if (entry->row->lacks && entry->row->lacks())
                skip(entry->row->lacks());
        entry->row_case->run(entry->row);
}

static inline void add_on_each_row(const struct conformance_case *cases, size_t n_cases) {
        for (unsigned i = 0; i < n_rows; i++)
                for (size_t c = 0; c < n_cases; c++) {
                        struct confab_properties properties = {.size = sizeof(properties)};
                        struct row_entry *entry = calloc(1, sizeof(*entry));
                        char address[256];

                        row_address(&rows[i], address, sizeof(address));
                        if (!entry)
                                abort();
                        /* Not in this build? every_mechanism_has_a_row sees to the other direction. */
                        if (confab_properties(&properties, address) < 0 ||
                            (cases[c].applies && !cases[c].applies(&rows[i], &properties))) {
                                free(entry);
                                continue;
                        }
                        entry->row = &rows[i];
                        entry->row_case = &cases[c];
                        snprintf(entry->name, sizeof(entry->name), "%s/%s", rows[i].name, cases[c].name);
                        entry->test.name = entry->name;
                        entry->test.run = run_row_entry;
                        entry->test.timeout_s = cases[c].timeout_s > HARNESS_TIMEOUT_S
                                                        ? (int)cases[c].timeout_s
                                                        : HARNESS_TIMEOUT_S;
                        harness_add(&entry->test);
                }
}

#endif
