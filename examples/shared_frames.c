/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * A camera and its viewer, two processes: each frame is drawn into memory that both share and looked at where it lies, so that no byte of it is
 * ever copied, however large it is. shared_frames [N [WIDTH HEIGHT]]
 */
#include <confab/confab.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct frame {
        uint32_t number, width, height;
        unsigned char pixels[];
};

static void need(int64_t result) {
        char why[512];

        if (result >= 0)
                return;
        confab_explain(why, sizeof(why));
        fprintf(stderr, "%s\n", why);
        exit(1);
}

static void film(confab_endpoint *out, uint32_t n, uint32_t width, uint32_t height) {
        struct confab_message message = confab_message_of(NULL, 0);

        message.data_len = sizeof(struct frame) + (size_t)width * height;
        for (uint32_t i = 1; i <= n; i++) {
                void *room;
                struct frame *frame;

                need(confab_claim(out, &room, message.data_len, CONFAB_FOREVER));
                frame = room;
                *frame = (struct frame){i, width, height};
                for (size_t p = 0; p < (size_t)width * height; p++)
                        frame->pixels[p] = (unsigned char)(p + i);
                need(confab_commit(out, &message, CONFAB_FOREVER)); /* one store: the viewer has it */
        }
}

static void view(confab_endpoint *in) {
        struct confab_message message = confab_message_of(NULL, 0);
        uint32_t n = 0;
        uint64_t light = 0;
        int r;

        while ((r = confab_receive(in, &message, NULL, CONFAB_FOREVER)) > 0) {
                const struct frame *frame = message.data;

                for (size_t p = 0; p < message.data_len - sizeof(*frame); p++)
                        light += frame->pixels[p];
                if (frame->number != ++n)
                        fprintf(stderr, "frame %u came as number %u\n", frame->number, n);
                confab_release(in, &message); /* the camera may draw there again */
        }
        need(r);
        printf("%u frames, %llu in all\n", n, (unsigned long long)light);
}

int main(int argc, char *argv[]) {
        confab_endpoint *ends[2];
        int pid, status;

        need(confab_pair(ends, "shm://", NULL));
        pid = fork();
        if (pid == 0) {
                confab_close(ends[0]);
                need(confab_adopt(ends[1])); /* a child has none of its parent's shared memory */
                film(ends[1], argc > 1 ? (uint32_t)atoi(argv[1]) : 100,
                     argc > 3 ? (uint32_t)atoi(argv[2]) : 640, argc > 3 ? (uint32_t)atoi(argv[3]) : 480);
                confab_close(ends[1]); /* the viewer receives the end */
                return 0;
        }
        confab_close(ends[1]);
        view(ends[0]);
        confab_close(ends[0]);
        return waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 1;
}
