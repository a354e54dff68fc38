/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * A named pipe between strangers, the reading side: named_pipe_reader PATH
 * It makes the pipe and removes it at the end. Any program can write into it: echo hello > PATH.
 */
#include <confab/confab.h>
#include <stdio.h>
#include <stdlib.h>

static void need(int64_t result) {
        char why[512];

        if (result >= 0)
                return;
        confab_explain(why, sizeof(why));
        fprintf(stderr, "%s\n", why);
        exit(1);
}

int main(int argc, char *argv[]) {
        struct confab_message line = confab_message_of(NULL, 0);
        confab_endpoint *reader;
        char address[4096];
        int r;

        if (argc != 2) {
                fprintf(stderr, "named_pipe_reader PATH\n");
                return 2;
        }
        snprintf(address, sizeof(address), "fifo://%s?frame=line", argv[1]);
        need(confab_listen(&reader, address, NULL, CONFAB_FOREVER));
        while ((r = confab_receive(reader, &line, NULL, CONFAB_FOREVER)) >
               0) { /* until the last writer has gone */
                printf("%.*s\n", (int)line.data_len, (const char *)line.data);
                confab_release(reader, &line);
        }
        need(r);
        confab_close(reader);
        return 0;
}
