/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_SHM_NAME_H
#define CFB_SHM_NAME_H
/*
 * Names of what is shared: "name", "~user/name", "system/name", and the folders they lie in. See name.c.
 */
#include <stddef.h>

enum {
        CFB_SHARED_NAME_MAX = 64,   /* bytes of a name */
        CFB_SHARED_PATH_MAX = 4096, /* room for a path made of one */
};

/* What is wrong with @name, and at which byte: a sentence's end, or NULL: nothing. */
const char *cfb_shared_name_check(const char *name, size_t *atp);

/*
 * The path of @name with @suffix (".channel") in @path (CFB_SHARED_PATH_MAX bytes); with @make its folder is made where it is the caller's own. The
 * folder is verified: a folder, no symbolic link, of the owner it must have, writable for nobody else unless sticky. 0 or -errno, recorded with
 * @subject: -ENOENT where there is no such folder or user, -EPERM where it is a stranger's, -EACCES.
 */
int cfb_shared_path(char *path, const char *name, const char *suffix, int make, const char *call,
                    const char *subject);

#endif
