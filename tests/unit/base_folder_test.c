/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* The sentence about a permission names the folder that refuses, wherever it lies on the way. */
#include "base/folder.h"
#include "conversation.h"
#include "harness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char here[] = "/tmp/confab-folder-XXXXXX"; /* others may search the folders above it */

static void make(const char *folder, mode_t mode) {
        char path[200];

        snprintf(path, sizeof(path), "%s/%s", here, folder);
        check(mkdir(path, 0700) == 0 && chmod(path, mode) == 0);
}

static const char *in(const char *name) {
        static char path[200];

        snprintf(path, sizeof(path), "%s/%s", here, name);
        return path;
}

static void check_refuses(const char *path, bool making, const char *words) {
        char text[300] = "";
        size_t used = 0;

        check_eq(cfb_append_refusing_folder(text, sizeof(text), &used, path, making), words != NULL);
        if (words)
                check(strstr(text, words));
        else
                check_eq(used, 0);
}

static void from_outside(void) {
        confab_endpoint *endpoint;
        char address[250];

        check_refuses(in("open/closed/deep/x"), false, "may not search the folder ");
        check_refuses(in("open/closed/deep/x"), false, "/open/closed, of mode 0700");
        check_refuses(in("open/closed/x"), true, "/open/closed, of mode 0700");
        check_refuses(in("open/x"), true, "may not make a file in the folder ");
        check_refuses(in("open/x"), true, "/open, of mode 0755");
        check_refuses(in("open/x"), false, NULL);
        for (int i = 0; i < 2; i++) {
                snprintf(address, sizeof(address), "%s://%s", i ? "fifo" : "unix", in("open/closed/x"));
                check_eq(confab_listen(&endpoint, address, NULL, CONFAB_NOW), -EACCES);
                check_says("/open/closed, of mode 0700");
                check_eq(confab_open(&endpoint, address, NULL, CONFAB_NOW), -EACCES);
                check_says("/open/closed, of mode 0700");
                snprintf(address, sizeof(address), "%s://%s", i ? "fifo" : "unix", in("open/x"));
                check_eq(confab_listen(&endpoint, address, NULL, CONFAB_NOW), -EACCES);
                check_says("/open, of mode 0755");
        }
}

TEST(the_folder_that_refuses_is_named) {
        if (geteuid() != 0)
                skip("needs root to be somebody else");
        check(mkdtemp(here) && chmod(here, 0755) == 0);
        make("open", 0755);
        make("open/closed", 0700);
        make("open/closed/deep", 0755);
        as_user(4242, from_outside);
        check(rmdir(in("open/closed/deep")) == 0 && rmdir(in("open/closed")) == 0 && rmdir(in("open")) == 0 &&
              rmdir(here) == 0);
}

/* A file system where nobody can make anything says "no such file" of what is to be made. */
TEST(a_folder_where_nothing_can_be_made) {
        confab_endpoint *endpoint;

        check_eq(confab_listen(&endpoint, "unix:///proc/x", NULL, CONFAB_NOW), -ENOENT);
        check_says("nothing can be made in that folder");
}
