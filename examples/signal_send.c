/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* Sends a signal, perhaps with a number: signal_send NAME PID [NUMBER] */
#include <confab/confab.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char *argv[]) {
        int32_t value = argc > 3 ? atoi(argv[3]) : 0;
        int number, r;
        char why[512];

        if (argc < 3) {
                fprintf(stderr, "usage: signal_send NAME PID [NUMBER]\n");
                return 2;
        }
        r = number = confab_signal_number(argv[1]);
        if (r >= 0)
                r = confab_signal_send(atoi(argv[2]), number, argc > 3 ? &value : NULL,
                                       confab_after(5000000000));
        if (r < 0) { /* no such signal, no such process, whose process it is, how many wait already */
                confab_explain(why, sizeof(why));
                fprintf(stderr, "%s\n", why);
                return 1;
        }
        return 0;
}
