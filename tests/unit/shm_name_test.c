/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* Names of shared things: one rule, with the position; folders of the right owner, and nobody else's. */
#include "conversation.h"
#include "harness.h"
#include "shm/name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void refused_at(const char *name, size_t at) {
        size_t found = 12345;

        check(cfb_shared_name_check(name, &found) != NULL);
        check_eq(found, at);
}

static void taken(const char *name) {
        size_t at;

        check(cfb_shared_name_check(name, &at) == NULL);
}

TEST(the_rule) {
        char longest[80];

        taken("a");
        taken("orders");
        taken("Orders-2.old_1");
        taken("_x");
        taken("9");
        taken("system/clock");
        taken("~root/clock");
        taken("~user-1/a.b");
        memset(longest, 'x', 64);
        longest[64] = '\0';
        taken(longest);
        longest[64] = 'x';
        longest[65] = '\0';
        refused_at(longest, 64);
        refused_at("", 0);
        refused_at("a b", 1);
        refused_at("a\nb", 1);
        refused_at("na\xc3\xafve", 2);
        refused_at("na\xff", 2);
        refused_at(".", 0);
        refused_at("..", 0);
        refused_at(".hidden", 0);
        refused_at("-x", 0);
        refused_at("dot.", 3);
        refused_at("a/b", 1);
        refused_at("../x", 2);
        refused_at("/x", 0);
        refused_at("system/", 7);
        refused_at("system/a/b", 8);
        refused_at("system/..", 7);
        refused_at("~", 0);
        refused_at("~user", 0);
        refused_at("~/x", 1);
        refused_at("~user/", 6);
        refused_at("~us er/x", 3);
        refused_at("~user/a/b", 7);
}

static char folder[4096], path[CFB_SHARED_PATH_MAX];

static void given(const char *name) {
        char here[2048];

        check(getcwd(here, sizeof(here)) != NULL);
        snprintf(folder, sizeof(folder), "%s/%s", here, name);
        setenv("CONFAB_DIR", folder, 1);
}

static int find(const char *name, int make) {
        return cfb_shared_path(path, name, ".box", make, "open", "box://name");
}

TEST(the_folder_is_made_when_needed) {
        struct stat st;
        char expected[5000];

        given("private");
        check_eq(find("a", 0), -ENOENT);
        check_says("there is no folder");
        umask(0);
        check_ok(find("a", 1));
        snprintf(expected, sizeof(expected), "%s/a.box", folder);
        check_str(path, expected);
        check(stat(folder, &st) == 0 && S_ISDIR(st.st_mode) && (st.st_mode & 07777) == 0700);
        check_ok(find("a", 0));
        umask(0777);
        rmdir(folder);
        check_ok(find("a", 1));
        check(stat(folder, &st) == 0 && (st.st_mode & 07777) == 0700);
        umask(022);
        rmdir(folder);
}

TEST(a_folder_others_may_write_is_refused) {
        given("open");
        check_eq(mkdir(folder, 0700), 0);
        check_eq(chmod(folder, 0777), 0);
        check_eq(find("a", 1), -EPERM);
        check_says("others could exchange what lies in it");
        check_eq(chmod(folder, 01777), 0);
        check_ok(find("a", 1));
        check_eq(chmod(folder, 0755), 0);
        check_ok(find("a", 1));
        rmdir(folder);
}

TEST(no_link_no_file) {
        given("link");
        check_eq(mkdir("real", 0700), 0);
        check_eq(symlink("real", "link"), 0);
        check_eq(find("a", 1), -ENOTDIR);
        unlink("link");
        check_eq(symlink("nothing", "link"), 0);
        check_eq(find("a", 1), -ENOTDIR);
        unlink("link");
        fclose(fopen("link", "w"));
        check_eq(find("a", 1), -ENOTDIR);
        unlink("link");
        rmdir("real");
}

static void meets_a_stranger(void) {
        check_eq(find("a", 1), -EPERM);
        check_says("belongs to user 0, not to user 65534");
}

TEST(a_strangers_folder) {
        if (geteuid() != 0)
                return;
        unsetenv("CONFAB_DIR");
        check_eq(mkdir("/dev/shm/confab.65534", 0755), 0);
        as_user(65534, meets_a_stranger);
        rmdir("/dev/shm/confab.65534");
}

TEST(of_another_user) {
        unsetenv("CONFAB_DIR");
        check_eq(find("~nobody-of-that-name/x", 0), -ENOENT);
        check_says("no such user");
        if (access("/dev/shm/confab.system", F_OK) < 0) {
                check_eq(find("system/x", 1), -ENOENT);
                check_says("mkdir -m 1777 /dev/shm/confab.system");
        }
}

TEST(too_long) {
        char *longest = malloc(5000);

        memset(longest, 'x', 4999);
        longest[0] = '/';
        longest[4999] = '\0';
        setenv("CONFAB_DIR", longest, 1);
        check_eq(find("a", 0), -ENAMETOOLONG);
        free(longest);
}
