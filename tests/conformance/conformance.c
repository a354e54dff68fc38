/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * The conformance suite: every case on every row of transports.c, each as a test of its own ("tcp/cell-order").
 * A case that does not apply to what a mechanism declares is not registered; a flipped cell's case always is.
 */
#include "conformance/each_row.h"

#include <string.h>

__attribute__((constructor)) static void register_all(void) {
        add_on_each_row(cell_cases, n_cell_cases);
        add_on_each_row(behaviour_cases, n_behaviour_cases);
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
