/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* A named pipe between strangers, the writing side: named_pipe_writer PATH LINE ...; waits up to 5 s for a reader. */
#include <confab/confab.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void need(int64_t result) {
        char why[512];

        if (result >= 0)
                return;
        confab_explain(why, sizeof(why));
        fprintf(stderr, "%s\n", why);
        exit(1);
}

int main(int argc, char *argv[]) {
        confab_endpoint *writer;
        char address[4096];

        if (argc < 3) {
                fprintf(stderr, "named_pipe_writer PATH LINE ...\n");
                return 2;
        }
        snprintf(address, sizeof(address), "fifo://%s?frame=line", argv[1]);
        need(confab_open(&writer, address, NULL, confab_after(5000000000)));
        for (int i = 2; i < argc; i++) {
                struct confab_message line = confab_message_of(argv[i], strlen(argv[i]));

                need(confab_send(writer, &line, CONFAB_FOREVER));
        }
        confab_close(writer);
        return 0;
}
