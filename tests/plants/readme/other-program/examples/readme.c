/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* The program of README.md, which has the lines below letter by letter (tests/tree/readme.py). */
#include <confab/confab.h>
#include <stdio.h>

int main(int n_arguments, char **arguments) {
        struct confab_message hello = confab_message_of("hello", 5);
        confab_endpoint *out = NULL;
        char why[400];
        int64_t r = confab_open(&out, n_arguments > 1 ? arguments[1] : "stdio://", NULL, CONFAB_FOREVER);

        if (r == 0)
                r = confab_send(out, &hello, confab_after(1000000000));
        if (r < 0 && confab_explain(why, sizeof(why)))
                fprintf(stderr, "%s\n", why);
        confab_close(out);
        return r < 0;
}
