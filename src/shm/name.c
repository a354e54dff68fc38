/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Where named things lie:
 *
 *      name          /dev/shm/confab.UID/           0700, the caller's own (its effective user), made when first needed
 *      ~user/name    /dev/shm/confab.UID.shared/    0711, that user's, made by that user; others may enter and not list it
 *      system/name   /dev/shm/confab.system/        1777, root's, made by root or at boot
 *
 * CONFAB_DIR names another folder for the first kind (not in a program with more rights than its caller's). /dev/shm is open to everybody, so
 * somebody may have been there first: a folder is looked at after it was opened, without following a link, and used only if its owner is the one it
 * must have. The sticky bit of /dev/shm keeps others from exchanging it afterwards.
 *
 * One rule for names: letters, digits, '.', '_' and '-'; not first or last a dot, not first a hyphen; 1 to 64 bytes. So a name is the same on
 * every file system, in every shell, and never a path.
 */
#include "shm/name.h"
#include "base/cleanup.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char base[] = "/dev/shm/confab.";

static bool is_name_byte(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
               c == '_' || c == '-';
}

/* One component; *@atp counts from @name's begin. */
static const char *check_component(const char *name, size_t len, size_t *atp) {
        if (len == 0)
                return "a name is missing here";
        if (len > CFB_SHARED_NAME_MAX) {
                *atp += CFB_SHARED_NAME_MAX;
                return "a name has at most 64 bytes";
        }
        for (size_t i = 0; i < len; i++)
                if (!is_name_byte(name[i])) {
                        *atp += i;
                        return "a name has letters, digits, '.', '_' and '-' only";
                }
        if (name[0] == '.' || name[0] == '-')
                return "a name begins with a letter, a digit or '_'";
        if (name[len - 1] == '.') {
                *atp += len - 1;
                return "a name does not end with a dot";
        }
        return NULL;
}

const char *cfb_shared_name_check(const char *name, size_t *atp) {
        const char *slash = strchr(name, '/'), *why;

        *atp = 0;
        if (name[0] == '~') {
                if (!slash)
                        return "after ~user a /name has to follow";
                *atp = 1;
                why = check_component(name + 1, (size_t)(slash - name - 1), atp);
                if (why)
                        return why;
        } else if (slash && strncmp(name, "system/", 7) != 0) {
                *atp = (size_t)(slash - name);
                return "a name has no '/' in it, but behind ~user and system";
        }
        if (slash) {
                *atp = (size_t)(slash + 1 - name);
                name = slash + 1;
        }
        return check_component(name, strlen(name), atp);
}

/* --- folders --- */

enum kind { OWN, USERS, SYSTEM, GIVEN };

static size_t explain_missing(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: %s: there is no folder %s", failure->subject, failure->call,
                   failure->detail);
        if (failure->a == SYSTEM)
                cfb_append(text, text_cap, &used, "; root makes it: mkdir -m 1777 %s", failure->detail);
        else if (failure->a == USERS)
                cfb_append(text, text_cap, &used, "; that user makes it, by listening there");
        return used;
}

static size_t explain_stranger(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used,
                   "%s: %s: %s belongs to user %" PRId64 ", not to user %" PRId64
                   ": somebody took the name; remove it (as root), or set CONFAB_DIR to a folder of your own",
                   failure->subject, failure->call, failure->detail, failure->a, failure->b);
        return used;
}

static size_t explain_open(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used,
                   "%s: %s: the folder %s has mode %04" PRIo64
                   ": others could exchange what lies in it; chmod go-w it",
                   failure->subject, failure->call, failure->detail, failure->a);
        return used;
}

/* What the folder of @name is, who must own it, and how it is made. */
static int find_folder(char *folder, enum kind *kindp, uid_t *ownerp, const char *name, const char *call,
                       const char *subject) {
        const char *given = secure_getenv("CONFAB_DIR");

        *ownerp = geteuid();
        *kindp = OWN;
        if (strncmp(name, "system/", 7) == 0) {
                *kindp = SYSTEM;
                *ownerp = 0;
                snprintf(folder, CFB_SHARED_PATH_MAX, "%ssystem", base);
        } else if (name[0] == '~') {
                char user[CFB_SHARED_NAME_MAX + 1], room[4096];
                struct passwd entry, *found = NULL;

                *kindp = USERS;
                snprintf(user, sizeof(user), "%.*s", (int)strcspn(name + 1, "/"), name + 1);
                if (getpwnam_r(user, &entry, room, sizeof(room), &found) != 0 || !found)
                        return cfb_failed_with(-ENOENT, call, subject, NULL, "there is no such user", 0, 0);
                *ownerp = found->pw_uid;
                snprintf(folder, CFB_SHARED_PATH_MAX, "%s%ju.shared", base, (uintmax_t)*ownerp);
        } else if (given && given[0]) {
                *kindp = GIVEN;
                if ((size_t)snprintf(folder, CFB_SHARED_PATH_MAX, "%s", given) >= CFB_SHARED_PATH_MAX - 256)
                        return cfb_failed_with(-ENAMETOOLONG, call, subject, NULL, "CONFAB_DIR is too long",
                                               0, 0);
        } else {
                snprintf(folder, CFB_SHARED_PATH_MAX, "%s%ju", base, (uintmax_t)*ownerp);
        }
        return 0;
}

static int verify(const char *folder, enum kind kind, uid_t owner, const char *call, const char *subject) {
        CFB_CLEANUP(cfb_closep) int fd = open(folder, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0)
                return errno == ENOENT
                               ? cfb_failed_with(-ENOENT, call, subject, explain_missing, folder, kind, 0)
                               : cfb_failed_with(-errno, call, subject, NULL, folder, 0, 0);
        if (st.st_uid != owner && !(kind == GIVEN && st.st_uid == 0))
                return cfb_failed_with(-EPERM, call, subject, explain_stranger, folder, st.st_uid, owner);
        if ((st.st_mode & 022) && !(st.st_mode & S_ISVTX))
                return cfb_failed_with(-EPERM, call, subject, explain_open, folder, st.st_mode & 07777, 0);
        return 0;
}

/* mkdir obeys the umask: what was just made, and nobody else can have entered, gets its mode by name. */
static int make_folder(const char *folder, mode_t mode, const char *call, const char *subject) {
        if (mkdir(folder, 0700) < 0)
                return errno == EEXIST ? 0 : cfb_failed_with(-errno, call, subject, NULL, folder, 0, 0);
        return chmod(folder, mode) == 0 ? 0 : cfb_failed_with(-errno, call, subject, NULL, folder, 0, 0);
}

int cfb_shared_path(char *path, const char *name, const char *suffix, int make, const char *call,
                    const char *subject) {
        const char *slash = strrchr(name, '/');
        char folder[CFB_SHARED_PATH_MAX];
        enum kind kind;
        uid_t owner;
        int r = find_folder(folder, &kind, &owner, name, call, subject);

        if (r >= 0 && make && kind != SYSTEM && owner == geteuid())
                r = make_folder(folder, kind == USERS ? 0711 : 0700, call, subject);
        if (r >= 0)
                r = verify(folder, kind, owner, call, subject);
        if (r < 0)
                return r;
        if ((size_t)snprintf(path, CFB_SHARED_PATH_MAX, "%s/%s%s", folder, slash ? slash + 1 : name,
                             suffix) >= CFB_SHARED_PATH_MAX)
                return cfb_failed(-ENAMETOOLONG, call, subject);
        return 0;
}
