/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* Takes an open file from another process and prints what is in it: descriptor_receiver ADDRESS */
#include <confab/confab.h>
#include <stdio.h>
#include <stdlib.h>
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
        struct confab_message message = confab_message_of(NULL, 0);
        struct confab_peer who = {.size = sizeof(who)};
        confab_endpoint *listener, *peer;
        char data[4096];
        ssize_t n;
        int fd;

        if (argc != 2) {
                fprintf(stderr, "descriptor_receiver ADDRESS\n");
                return 2;
        }
        need(confab_listen(&listener, argv[1], NULL, CONFAB_FOREVER));
        need(confab_accept(&peer, listener, CONFAB_FOREVER));
        need(confab_peer(peer, &who));
        need(confab_receive(peer, &message, NULL, confab_after(5000000000)));
        need(fd = confab_take_descriptor(&message, 0)); /* ours from now on */
        fprintf(stderr, "user %u passed %.*s\n", who.uid, (int)message.data_len, (const char *)message.data);
        confab_release(peer, &message);
        while ((n = read(fd, data, sizeof(data))) > 0)
                fwrite(data, 1, (size_t)n, stdout);
        close(fd);
        confab_close(peer);
        confab_close(listener);
        return 0;
}
