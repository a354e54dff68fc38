/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include "base/folder.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The rights are this process's own, with its effective user, its groups and access lists: the mode alone does not tell. */
static bool refuses(const char *folder, int right) {
        return faccessat(AT_FDCWD, folder, right, AT_EACCESS) < 0 && errno == EACCES;
}

bool cfb_append_refusing_folder(char *text, size_t text_cap, size_t *used, const char *path, bool making) {
        char folder[PATH_MAX] = ".";
        const char *what = "search";
        bool found = *path != '/' && refuses(folder, X_OK);
        struct stat st;

        for (const char *at = strchr(path, '/'); at && !found; at = strchr(at + 1, '/')) {
                size_t len = at == path ? 1 : (size_t)(at - path);

                if (len >= sizeof(folder))
                        return false;
                memcpy(folder, path, len);
                folder[len] = '\0';
                found = refuses(folder, X_OK);
        }
        if (!found && making) {
                what = "make a file in";
                found = refuses(folder, W_OK);
        }
        if (!found || stat(folder, &st) < 0)
                return false;
        cfb_append(text, text_cap, used,
                   "user %u may not %s the folder %s, of mode %04o, which belongs to user %u and group %u",
                   (unsigned)geteuid(), what, folder, (unsigned)st.st_mode & 07777, (unsigned)st.st_uid,
                   (unsigned)st.st_gid);
        return true;
}
