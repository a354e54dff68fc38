/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * The conformance suite: every case on every row of transports.c, each as a test of its own ("tcp/cell-order").
 * A case that does not apply to what a mechanism declares is not registered; a flipped cell's case always is.
 */
#include "conformance/link.h"
#include "harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
        struct harness_test test; /* first: the runner hands it back */
        const struct row *row;
        const struct conformance_case *conformance_case;
        char name[64];
};

static void run_entry(void) {
        const struct entry *entry = (const struct entry *)harness_current;

        entry->conformance_case->run(entry->row);
}

static void add(const struct row *row, const struct conformance_case *conformance_case,
                const struct confab_properties *properties) {
        struct entry *entry;

        if (conformance_case->applies && !conformance_case->applies(row, properties))
                return;
        entry = calloc(1, sizeof(*entry));
        if (!entry)
                abort();
        entry->row = row;
        entry->conformance_case = conformance_case;
        snprintf(entry->name, sizeof(entry->name), "%s/%s", row->name, conformance_case->name);
        entry->test.name = entry->name;
        entry->test.run = run_entry;
        entry->test.timeout_s = (int)conformance_case->timeout_s;
        harness_add(&entry->test);
}

__attribute__((constructor)) static void register_all(void) {
        for (unsigned i = 0; i < n_rows; i++) {
                struct confab_properties properties = {.size = sizeof(properties)};
                char address[256];

                row_address(&rows[i], address, sizeof(address));
                if (confab_properties(&properties, address) < 0)
                        continue; /* not in this build; every_mechanism_has_a_row sees to the other direction */
                for (unsigned c = 0; c < n_cell_cases; c++)
                        add(&rows[i], &cell_cases[c], &properties);
                for (unsigned c = 0; c < n_behaviour_cases; c++)
                        add(&rows[i], &behaviour_cases[c], &properties);
        }
}

TEST(every_mechanism_has_a_row) {
        const char *scheme;

        for (unsigned i = 0; confab_mechanism(i, &scheme, NULL, NULL) >= 0; i++) {
                unsigned n_found = 0;

                for (unsigned r = 0; r < n_rows; r++)
                        n_found += strncmp(rows[r].address, scheme, strlen(scheme)) == 0 &&
                                   rows[r].address[strlen(scheme)] == ':';
                if (!n_found)
                        check_str(scheme, "without a row in tests/conformance/transports.c");
        }
}
