/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* Feeds a fuzz target every file of the folders and files named: its kept corpus, in ./run check. */
#include "fuzz.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

static unsigned n_files;

static void replay_file(const char *path) {
        FILE *file = fopen(path, "rb");
        size_t cap = 1 << 20, len;
        uint8_t *bytes = malloc(cap), *exact;

        must(file && bytes);
        len = fread(bytes, 1, cap, file);
        must(feof(file) && !ferror(file));
        fclose(file);
        exact = malloc(len ? len : 1); /* of its very size, so that a sanitizer sees one byte too many */
        must(exact);
        memcpy(exact, bytes, len);
        free(bytes);
        fprintf(stderr, "%s\n", path); /* the last line of a crash names its input */
        must(LLVMFuzzerTestOneInput(exact, len) == 0);
        free(exact);
        n_files++;
}

static void replay(const char *path) {
        struct dirent **entries;
        struct stat status;
        int n;

        must(stat(path, &status) == 0);
        if (!S_ISDIR(status.st_mode)) {
                replay_file(path);
                return;
        }
        n = scandir(path, &entries, NULL, alphasort);
        must(n >= 0);
        for (int i = 0; i < n; i++) {
                char inner[4096];

                must((size_t)snprintf(inner, sizeof(inner), "%s/%s", path, entries[i]->d_name) <
                     sizeof(inner));
                if (entries[i]->d_name[0] != '.')
                        replay(inner);
                free(entries[i]);
        }
        free(entries);
}

int main(int argc, char **argv) {
        for (int i = 1; i < argc; i++)
                replay(argv[i]);
        must(n_files > 0); /* an empty corpus proves nothing */
        printf("%u inputs\n", n_files);
        return 0;
}
