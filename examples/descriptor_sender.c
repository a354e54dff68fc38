/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* Passes an open file to another process over a unix socket: descriptor_sender ADDRESS FILE */
#include <confab/confab.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void need(int64_t result) {
        char why[512];

        if (result >= 0)
                return;
        confab_explain(why, sizeof(why));
        fprintf(stderr, "%s\n", why);
        exit(1);
}

int main(int argc, char *argv[]) {
        struct confab_message message;
        confab_endpoint *peer;
        int fd;

        if (argc != 3) {
                fprintf(stderr, "descriptor_sender ADDRESS FILE\n");
                return 2;
        }
        fd = open(argv[2], O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
                perror(argv[2]);
                return 1;
        }
        message = confab_message_of(argv[2], strlen(argv[2])); /* its name as the bytes of the message */
        message.descriptors = &fd;
        message.n_descriptors = 1;
        need(confab_open(&peer, argv[1], NULL, confab_after(5000000000)));
        need(confab_send(peer, &message, CONFAB_FOREVER));
        confab_close(peer);
        close(fd); /* sending lends it: ours is still ours */
        return 0;
}
