/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* The demo's input: the regular files of one folder, each with its SHA-256. */
#include "demo.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int by_path(const void *a, const void *b) {
        return strcmp(((const struct demo_file *)a)->path, ((const struct demo_file *)b)->path);
}

/* 0, or negative where the file is not one to send. */
static int sum_file(struct demo_file *file) {
        int fd = open(file->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        struct sha256_ctx context;
        struct stat status;
        void *bytes = NULL;

        if (fd < 0)
                return -errno;
        if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
                close(fd);
                return -EINVAL;
        }
        file->len = (uint64_t)status.st_size;
        if (file->len)
                bytes = mmap(NULL, file->len, PROT_READ, MAP_SHARED, fd, 0);
        close(fd);
        if (bytes == MAP_FAILED)
                return -errno;
        sha256_init(&context);
        if (bytes) {
                sha256_update(&context, file->len, bytes);
                munmap(bytes, file->len);
        }
        sha256_digest(&context, sizeof(file->sum), file->sum);
        return 0;
}

int demo_corpus_read(struct demo_corpus *corpus, const char *tree, const char *files,
                     void (*tick)(uint64_t n_bytes, void *data), void *data) {
        DIR *folder = opendir(files);
        struct dirent *entry;
        unsigned cap = 0;

        if (!folder)
                return -errno;
        corpus->tree = tree;
        while ((entry = readdir(folder))) {
                struct demo_file *file;

                if (corpus->n_files == cap) {
                        struct demo_file *more =
                                reallocarray(corpus->files, cap = cap ? 2 * cap : 512, sizeof(*more));

                        if (!more)
                                break;
                        corpus->files = more;
                }
                file = &corpus->files[corpus->n_files];
                if (asprintf(&file->path, "%s/%s", files, entry->d_name) < 0)
                        break;
                if (sum_file(file) < 0) {
                        free(file->path);
                        continue;
                }
                corpus->n_files++;
                corpus->n_bytes += file->len;
                if (tick)
                        tick(corpus->n_bytes, data);
        }
        closedir(folder);
        if (entry)
                return -ENOMEM;
        qsort(corpus->files, corpus->n_files, sizeof(*corpus->files), by_path);
        return 0;
}

void demo_corpus_free(struct demo_corpus *corpus) {
        for (unsigned i = 0; i < corpus->n_files; i++)
                free(corpus->files[i].path);
        free(corpus->files);
        *corpus = (struct demo_corpus){0};
}
