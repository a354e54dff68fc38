/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Names of unix sockets.
 *
 * A socket file is an inode to which the kernel binds one socket, for ever: when that socket is closed the file stays and connecting to it
 * is refused. So a name is taken by creating the file (bind fails where anything at all exists there), and a file left
 * behind by a death must be replaced, by one of possibly many who start at the same time.
 *
 * Is anybody there? A *datagram* socket is connected to the file, whatever the type in question: the kernel looks the inode up among all
 * bound sockets first and compares types second (unix_find_bsd). ECONNREFUSED means that no socket is bound to this inode
 * any more; EPROTOTYPE, EPERM or success that one is, even one that does not listen yet. So a starter between its bind and
 * its listen is not taken for dead, and the one who listens sees no connection come and go.
 *
 * Replacing a stale file, under a lock (flock on the folder, which leaves nothing behind):
 *
 *   1. stat the file (S_ISSOCK, never through a symbolic link), ask as above, stat again: the inode asked is the inode seen
 *   2. rename it to .confab-stale-RANDOM (RENAME_NOREPLACE): now it is out of reach of everybody's bind
 *   3. stat what was moved. Another inode than the one asked: somebody who does not take the lock came between; it is moved
 *      back and counts as somebody who listens
 *   4. unlink it, drop the lock, bind
 *
 * The last bind is a race for an empty name that exactly one wins; the others get EADDRINUSE, go back to 1 and find the winner alive. The
 * lock is needed only between 2 and 3, so that two of us do not move each other's fresh sockets; everybody else's bind needs
 * none. It is waited for a second at most: who holds it in a folder that all may read (/tmp) may be anybody; then the stale file stays
 * and the error says so. A death between 2 and 4 leaves .confab-stale-RANDOM, which means nothing to anybody.
 *
 * Rejected: binding a temporary name and renaming it over the stale one is atomic too, but the kernel goes on calling the socket by the
 * temporary name (getsockname, ss, the sender of a datagram), so that answers by name would go nowhere.
 *
 * Permissions. bind makes the file with the mode of the socket's own inode, less the umask: fchmod of the descriptor before bind, so
 * that the file is never more open than mode= says, not for a moment and not under umask 0. What the umask took away, and
 * owner= and group=, come afterwards, on an O_PATH descriptor of the file that was verified to be the socket just made.
 *
 * Long paths. sun_path has 108 bytes. A longer path goes by "/proc/self/fd/N/NAME", N an O_PATH descriptor of its folder, up to the
 * kernel's PATH_MAX; connecting goes by a descriptor of the socket file itself, so that only listening needs NAME to fit. Such a
 * name says nothing outside of this process: cfb_socket_peer_set passes it over.
 *
 * The owner. Only the process that bound removes the file, and only while the name still leads to that inode: a forked child's close
 * leaves it alone, and so does the close of one whose file was replaced. Programs that remove a live socket without asking can come between our
 * bind and our look at the file, or between the look and the unlink at close; against those nothing helps for certain (the kernel
 * does not say which inode a socket is bound to), and the next listener puts it right.
 */
#include "transport/unix_name.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/folder.h"
#include "base/libc.h"
#include "base/memory.h"
#include "base/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE (1 << 0)
#endif

enum { SUN_PATH_LEN = sizeof(((struct sockaddr_un *)NULL)->sun_path), BIND_TRIES = 16 };
static const int64_t LOCK_NS = 1000000000; /* a lock that no longer wait is worth */

struct cfb_unix_held {
        int dir_fd;             /* O_PATH: still right after a chdir or a rename of the folder */
        struct cfb_owner owner; /* who made it */
        dev_t dev;
        ino_t ino;
        char base[]; /* its name in the folder */
};

/* --- paths --- */

static const char *base_of(const char *path) {
        const char *slash = strrchr(path, '/');

        return slash ? slash + 1 : path;
}

static int refuse(const struct cfb_address *address, bool is_rest, size_t at, const char *why) {
        if (is_rest)
                return cfb_address_refuse(address, at, why);
        return cfb_socket_refused(-EINVAL, "from=", address->text, why);
}

int cfb_unix_check(const struct cfb_address *address, const char *name, bool is_rest) {
        const char *base = base_of(name);
        size_t at = (size_t)(base - name);

        if (!*name)
                return refuse(address, is_rest, 0, "a path or an @abstract name is missing");
        if (*name == '@')
                return strlen(name) <= SUN_PATH_LEN ? 0
                                                    : refuse(address, is_rest, SUN_PATH_LEN,
                                                             "an abstract name has at most 107 bytes");
        if (!*base)
                return refuse(address, is_rest, at,
                              "a path that ends in / is a folder: the socket's name is missing");
        if (strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
                return refuse(address, is_rest, at, "that is a folder, not a name for a socket");
        if (strlen(base) > 255)
                return refuse(address, is_rest, at + 255, "a file name has at most 255 bytes");
        return 0;
}

static void abstract_name(struct cfb_socket_name *name, const char *text) {
        size_t len = strlen(text);

        memset(&name->un, 0, sizeof(name->un));
        name->un.sun_family = AF_UNIX;
        if (len > 1)
                memcpy(name->un.sun_path + 1, text + 1, len - 1);
        /* "@" alone: the family and nothing else asks the kernel for a free name */
        name->len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (len > 1 ? len : 0));
}

/* The name as it is where it fits, else by way of @fd (-1: does not fit). -ENAMETOOLONG, recorded nowhere. */
static int path_name(struct cfb_socket_name *name, const char *path, int fd, const char *base) {
        int n;

        memset(&name->un, 0, sizeof(name->un));
        name->un.sun_family = AF_UNIX;
        if (strlen(path) < SUN_PATH_LEN)
                n = snprintf(name->un.sun_path, SUN_PATH_LEN, "%s", path);
        else if (fd >= 0)
                n = snprintf(name->un.sun_path, SUN_PATH_LEN, "/proc/self/fd/%d%s%s", fd, base ? "/" : "",
                             base ? base : "");
        else
                n = SUN_PATH_LEN;
        name->len = sizeof(name->un);
        return n < SUN_PATH_LEN ? 0 : -ENAMETOOLONG;
}

/* --- failures about files in words --- */

/* detail: the path; a: the file's type and mode, and its owner above; b: who we are; a 0: it could not be seen. */
static size_t explain_file(const struct cfb_failure *failure, char *text, size_t text_cap) {
        static const struct {
                unsigned type;
                const char *word;
        } kinds[] = {{S_IFREG, "a regular file"}, {S_IFDIR, "a folder"}, {S_IFLNK, "a symbolic link"},
                     {S_IFIFO, "a FIFO"},         {S_IFCHR, "a device"}, {S_IFBLK, "a device"},
                     {S_IFSOCK, "a socket"}};
        unsigned mode = (unsigned)(failure->a & 0xFFFF), owner = (unsigned)(failure->a >> 16);
        const char *kind = "something else";
        size_t used = 0;

        for (size_t i = 0; i < CFB_ARRAY_LEN(kinds); i++)
                if (kinds[i].type == (mode & S_IFMT))
                        kind = kinds[i].word;
        if (text_cap)
                text[0] = '\0';
        cfb_append(text, text_cap, &used, "%s: %s: ", failure->subject, failure->call);
        if (failure->error == -EEXIST || failure->error == -ECONNREFUSED)
                cfb_append(text, text_cap, &used, "%s is %s, not a socket%s", failure->detail, kind,
                           failure->error == -EEXIST ? ", and is left alone; take another path, or remove it"
                                                     : "");
        else if (failure->error == -EADDRINUSE)
                cfb_append(text, text_cap, &used,
                           "somebody listens on %s already (its owner is user %u; ss -xlp shows who); end "
                           "it, or take another path",
                           failure->detail, owner);
        else if (!failure->a) {
                bool making = strcmp(failure->call, "listen") == 0;

                cfb_append(text, text_cap, &used, "no permission: ");
                if (!cfb_append_refusing_folder(text, text_cap, &used, failure->detail, making))
                        cfb_append(text, text_cap, &used, "the file system refuses user %lld to %s %s",
                                   (long long)failure->b, making ? "make" : "use", failure->detail);
                if (making)
                        cfb_append(text, text_cap, &used, "; take a path in a folder of your own");
        } else
                cfb_append(text, text_cap, &used,
                           "no permission: %s is %s of mode %04o that belongs to user %u, and this process "
                           "is user %lld; "
                           "give it rights with mode=, owner= or group= where it listens",
                           failure->detail, kind, mode & 07777, owner, (long long)failure->b);
        return used;
}

static int failed_file(int error, const char *call, const char *address, const char *path,
                       const struct stat *st) {
        int64_t seen = st ? (int64_t)st->st_uid << 16 | (int64_t)(st->st_mode & 0xFFFF) : 0;

        return cfb_failed_with(error, call, address, explain_file, path, seen, geteuid());
}

static int open_folder(const struct confab_endpoint *endpoint, const char *path, const char *call) {
        CFB_CLEANUP(cfb_releasep) char *folder = NULL;
        size_t len = (size_t)(base_of(path) - path);
        int fd;

        folder = cfb_allocate(len + 2);
        if (!folder)
                return cfb_socket_failed(-ENOMEM, call, endpoint);
        memcpy(folder, len ? path : ".", len ? len : 1);
        fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 && errno == EACCES)
                return failed_file(-EACCES, call, confab_address(endpoint), path, NULL);
        return fd < 0 ? cfb_socket_failed_on(-errno, call, confab_address(endpoint), folder) : fd;
}

static size_t explain_lock(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        if (text_cap)
                text[0] = '\0';
        cfb_append(text, text_cap, &used,
                   "%s: listen: nobody listens on %s any more, but it cannot be replaced: %s (%s); remove it "
                   "by hand",
                   failure->subject, failure->detail,
                   failure->a == EWOULDBLOCK ? "another process keeps its folder locked"
                                             : "its folder does not allow that",
                   cfb_errno_text((int)failure->a));
        return used;
}

static size_t explain_long(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        if (text_cap)
                text[0] = '\0';
        cfb_append(text, text_cap, &used,
                   "%s: %s: the path has %lld bytes, more than the 107 a socket's name holds, and its last "
                   "part has more than the %lld "
                   "that would be left by way of its folder; shorten the last part",
                   failure->subject, failure->call, (long long)failure->a, (long long)failure->b);
        return used;
}

/* --- taking a path --- */

/* Whether a socket is bound to the file: 1, 0 (nobody), or -errno, recorded nowhere. */
static int is_alive(const struct cfb_socket_name *name) {
        CFB_CLEANUP(cfb_closep) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        if (fd < 0)
                return -errno;
        if (connect(fd, &name->any, name->len) == 0)
                return 1;
        switch (errno) {
        case ECONNREFUSED:
                return 0;
        case EPROTOTYPE:
        case EPERM:
        case EAGAIN:
                return 1;
        default:
                return -errno;
        }
}

/* A lock on the folder: its descriptor, or -errno, recorded nowhere. Signals cut the naps short, not the wait. */
static int lock_folder(int dir_fd) {
        CFB_CLEANUP(cfb_closep) int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int64_t until_ns = confab_after(LOCK_NS);

        if (fd < 0)
                return -errno;
        while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
                struct timespec nap = {.tv_nsec = 1000000};

                if ((errno != EWOULDBLOCK && errno != EINTR) || confab_now() >= until_ns)
                        return -errno;
                nanosleep(&nap, NULL);
        }
        return cfb_steal_fd(&fd);
}

static bool is_same(const struct stat *a, const struct stat *b) {
        return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Takes the file @seen away from its name: 0 done or gone, 1 it was another one by then, or -errno; recorded nowhere. */
static int move_away(int dir_fd, const char *base, const struct stat *seen) {
        char aside[40];
        struct stat moved;
        uint32_t random[2] = {0};

        if (getrandom(random, sizeof(random), GRND_NONBLOCK) < 0)
                random[0] = (uint32_t)getpid(); /* early at boot; NOREPLACE guards it */
        snprintf(aside, sizeof(aside), ".confab-stale-%08x%08x", random[0], random[1]);
        if (syscall(SYS_renameat2, dir_fd, base, dir_fd, aside, RENAME_NOREPLACE) < 0) {
                if (errno == ENOENT)
                        return 0;
                if (errno != EINVAL && errno != ENOSYS)
                        return -errno;
                /* a file system without NOREPLACE (some network ones): the lock alone must do */
                if (fstatat(dir_fd, base, &moved, AT_SYMLINK_NOFOLLOW) < 0 || !is_same(&moved, seen))
                        return 1;
                return unlinkat(dir_fd, base, 0) < 0 ? -errno : 0;
        }
        if (fstatat(dir_fd, aside, &moved, AT_SYMLINK_NOFOLLOW) == 0 && is_same(&moved, seen))
                return unlinkat(dir_fd, aside, 0) < 0 ? -errno : 0;
        syscall(SYS_renameat2, dir_fd, aside, dir_fd, base, RENAME_NOREPLACE);
        return 1;
}

/* Something exists at the name: 0 when it is out of the way (1: it was a stale socket), else the failure. */
static int make_way(int dir_fd, const struct cfb_socket_name *name, const char *path, const char *address) {
        CFB_CLEANUP(cfb_closep) int lock = -1;
        const char *base = base_of(path);

        for (int i = 0; i < BIND_TRIES;
             i++) { /* a new round only where others change the name at the same time */
                struct stat before, after;
                int r;

                if (fstatat(dir_fd, base, &before, AT_SYMLINK_NOFOLLOW) < 0)
                        return errno == ENOENT ? 0 : failed_file(-errno, "listen", address, path, NULL);
                if (!S_ISSOCK(before.st_mode))
                        return failed_file(-EEXIST, "listen", address, path, &before);
                r = is_alive(name);
                if (r == -ENOENT)
                        continue;
                if (r == -EACCES)
                        return failed_file(-EACCES, "listen", address, path, &before);
                if (r < 0)
                        return cfb_failed(r, "listen", address);
                if (r > 0)
                        return failed_file(-EADDRINUSE, "listen", address, path, &before);
                if (lock < 0) {
                        lock = lock_folder(dir_fd);
                        if (lock < 0)
                                return cfb_failed_with(-EADDRINUSE, "listen", address, explain_lock, path,
                                                       -lock, 0);
                        continue; /* it may have been replaced while we waited */
                }
                if (fstatat(dir_fd, base, &after, AT_SYMLINK_NOFOLLOW) < 0 || !is_same(&before, &after))
                        continue;
                r = move_away(dir_fd, base, &after);
                if (r < 0)
                        return cfb_failed_with(-EADDRINUSE, "listen", address, explain_lock, path, -r, 0);
                return r == 0 ? 1 : failed_file(-EADDRINUSE, "listen", address, path, &after);
        }
        return failed_file(-EADDRINUSE, "listen", address, path, NULL);
}

/* Owner, group and mode as the address says, on the file that is verified to be a socket of ours; it is remembered in @held. */
static int settle(struct cfb_unix_held *held, const struct confab_endpoint *endpoint, const char *path) {
        const struct cfb_address *address = &endpoint->address;
        CFB_CLEANUP(cfb_closep) int fd = openat(held->dir_fd, held->base, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        char by_fd[32];
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0) {
                int error = -errno;

                /* No descriptor is left to look at it with. It came into being a moment ago, by us: it goes again. */
                if (error !=
                    -ENOENT) /* unless somebody took it away: what comes to the name next is not ours */
                        unlinkat(held->dir_fd, held->base, 0);
                return cfb_socket_failed(error, "listen", endpoint);
        }
        if (!S_ISSOCK(st.st_mode) || st.st_uid != geteuid())
                return failed_file(-EEXIST, "listen", address->text, path, &st);
        held->dev = st.st_dev;
        held->ino = st.st_ino;
        held->owner = cfb_owner_here();
        if ((address->owner != UINT32_MAX || address->group != UINT32_MAX) &&
            fchownat(fd, "", address->owner, address->group, AT_EMPTY_PATH) < 0)
                return cfb_socket_refused(-errno, "listen", address->text,
                                          "owner= and group= need the right to give files away");
        if ((st.st_mode & 07777) == address->mode)
                return 0;
        snprintf(by_fd, sizeof(by_fd), "/proc/self/fd/%d", fd);
        return chmod(by_fd, address->mode) < 0
                       ? cfb_socket_failed_on(-errno, "listen", address->text, "chmod")
                       : 0;
}

static void let_gop(struct cfb_unix_held **heldp) {
        cfb_unix_let_go(*heldp, false);
}

static int failed_bind(int error, const struct confab_endpoint *endpoint, const char *path) {
        /* The folder is open; so says /proc, where nothing can be made. */
        if (error == -ENOENT)
                return cfb_socket_refused(
                        error, "listen", endpoint->address.text,
                        "nothing can be made in that folder: it was removed meanwhile, or it is "
                        "not one of a disk (/proc); take another path");
        if (error == -EACCES || error == -EPERM)
                return failed_file(error, "listen", endpoint->address.text, path, NULL);
        return cfb_socket_failed_on(error, "listen", endpoint->address.text, path);
}

static int bind_path(struct cfb_unix_held **heldp, struct confab_endpoint *endpoint, int fd,
                     const char *path) {
        CFB_CLEANUP(let_gop) struct cfb_unix_held *held = NULL;
        const struct cfb_address *address = &endpoint->address;
        const char *base = base_of(path);
        bool given_away = address->owner != UINT32_MAX || address->group != UINT32_MAX, replaced = false;
        struct cfb_socket_name name;
        int r;

        held = cfb_allocate(sizeof(*held) + strlen(base) + 1);
        if (!held)
                return cfb_socket_failed(-ENOMEM, "listen", endpoint);
        memcpy(held->base, base, strlen(base) + 1);
        held->dir_fd = open_folder(endpoint, path, "listen");
        if (held->dir_fd < 0)
                return held->dir_fd;
        r = path_name(&name, path, held->dir_fd, base);
        if (r < 0)
                return cfb_failed_with(r, "listen", address->text, explain_long, NULL, (int64_t)strlen(path),
                                       85);
        if (fchmod(fd, given_away ? address->mode & 0700 : address->mode) < 0)
                return cfb_socket_failed(-errno, "fchmod", endpoint);
        for (int i = 0; bind(fd, &name.any, name.len) < 0; i++) {
                if (errno != EADDRINUSE)
                        return failed_bind(-errno, endpoint, path);
                if (i == BIND_TRIES)
                        return failed_file(-EADDRINUSE, "listen", address->text, path, NULL);
                r = make_way(held->dir_fd, &name, path, address->text);
                if (r < 0)
                        return r;
                replaced |= r > 0;
        }
        r = settle(held, endpoint, path);
        if (r < 0)
                return r;
        if (replaced)
                cfb_tell(CONFAB_EVENT_STALE_SOCKET_REPLACED, address->text, 0);
        *heldp = cfb_steal(&held);
        return 0;
}

int cfb_unix_bind(struct cfb_unix_held **heldp, struct confab_endpoint *endpoint, int fd, const char *name) {
        struct cfb_socket_name abstract;

        if (*name != '@')
                return bind_path(heldp, endpoint, fd, name);
        abstract_name(&abstract, name);
        if (bind(fd, &abstract.any, abstract.len) < 0)
                return cfb_socket_failed_on(-errno, "listen", endpoint->address.text, name);
        *heldp = NULL;
        return 0;
}

/* --- the rest --- */

int cfb_unix_connect(struct confab_endpoint *endpoint, int fd, const char *name) {
        CFB_CLEANUP(cfb_closep) int file = -1;
        struct cfb_socket_name to;
        struct stat st;
        int r;

        if (*name == '@') {
                abstract_name(&to, name);
        } else {
                if (strlen(name) >= SUN_PATH_LEN) {
                        file = open(name, O_PATH | O_CLOEXEC);
                        if (file < 0)
                                return cfb_socket_failed(-errno, "connect", endpoint);
                }
                path_name(&to, name, file, NULL);
        }
        r = connect(fd, &to.any, to.len) < 0 ? -errno : 0;
        if (r == 0 || r == -EINTR) /* a unix socket's connect that was interrupted has done nothing */
                return r;
        if (r == -EACCES && *name != '@')
                return failed_file(r, "connect", endpoint->address.text, name,
                                   stat(name, &st) == 0 ? &st : NULL);
        if (r == -ECONNREFUSED && *name != '@' && stat(name, &st) == 0 && !S_ISSOCK(st.st_mode))
                return failed_file(-ECONNREFUSED, "connect", endpoint->address.text, name, &st);
        return cfb_socket_failed(r, "connect", endpoint);
}

struct cfb_unix_held *cfb_unix_let_go(struct cfb_unix_held *held, bool keep_file) {
        struct stat st;

        if (!held)
                return NULL;
        /* pid 0: nothing was made */
        if (!keep_file && cfb_owner_is_here(&held->owner) &&
            fstatat(held->dir_fd, held->base, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == held->dev &&
            st.st_ino == held->ino)
                unlinkat(held->dir_fd, held->base, 0);
        cfb_closep(&held->dir_fd);
        cfb_release(held);
        return NULL;
}

static size_t explain_nothing_to_remove(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: %s: there is no socket file of that name", failure->subject,
                   failure->call);
        return used;
}

/* How long the kernel's own waits last: the rest of the time, or for ever. */
static int limit_waits(struct confab_endpoint *endpoint, int fd, int64_t deadline_ns) {
        struct timeval left = {0};

        if (deadline_ns != CONFAB_FOREVER) {
                int64_t left_us = (deadline_ns - confab_now() + 999) / 1000;

                if (left_us <= 0)
                        return cfb_failed(-ETIMEDOUT, "connect", confab_address(endpoint));
                left.tv_sec = (time_t)(left_us / 1000000);
                left.tv_usec = (suseconds_t)(left_us % 1000000);
        }
        return setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &left, sizeof(left)) < 0
                       ? cfb_socket_failed(-errno, "setsockopt", endpoint)
                       : 0;
}

/*
 * connect to a listener whose backlog is full: the kernel has nothing to poll for, but it waits itself as long as SO_SNDTIMEO says
 * (nobody else can know of this endpoint yet, so nobody can want to interrupt it). After a signal it is told anew how long that is.
 */
static int connect_waiting(struct confab_endpoint *endpoint, int fd, const char *name, int64_t deadline_ns) {
        int r;

        if (deadline_ns <= CONFAB_NOW)
                return -EAGAIN;
        r = cfb_socket_set_blocking(fd);
        if (r < 0)
                return cfb_socket_failed(r, "fcntl", endpoint);
        do {
                r = limit_waits(endpoint, fd, deadline_ns);
                if (r < 0)
                        return r;
                r = cfb_unix_connect(endpoint, fd, name);
        } while (r == -EINTR);
        if (r == -EAGAIN)
                return cfb_failed(-ETIMEDOUT, "connect", confab_address(endpoint));
        return r < 0 ? r : limit_waits(endpoint, fd, CONFAB_FOREVER);
}

int cfb_unix_connect_until(struct confab_endpoint *endpoint, int fd, const char *name, int64_t deadline_ns) {
        int r = cfb_unix_connect(endpoint, fd, name);

        if (r == -EAGAIN)
                return connect_waiting(endpoint, fd, name, deadline_ns);
        if (r >= 0 && (r = cfb_socket_set_blocking(fd)) < 0)
                r = cfb_socket_failed(r, "fcntl", endpoint);
        return r;
}

int cfb_unix_remove_path(const struct cfb_address *address, const char *path) {
        struct stat st;

        if (lstat(path, &st) < 0)
                return errno == ENOENT ? cfb_failed_with(-ENOENT, "remove", address->text,
                                                         explain_nothing_to_remove, NULL, 0, 0)
                                       : cfb_failed(-errno, "remove", address->text);
        if (!S_ISSOCK(st.st_mode))
                return failed_file(-EEXIST, "remove", address->text, path, &st);
        if (unlink(path) < 0)
                return failed_file(-errno, "remove", address->text, path, &st);
        return 0;
}

int cfb_unix_remove(const struct cfb_address *address) {
        int r = cfb_unix_check(address, address->rest, true);

        if (r < 0)
                return r;
        if (address->rest[0] == '@')
                return cfb_unsupported(address, "remove", "a file: abstract names go with their socket");
        return cfb_unix_remove_path(address, address->rest);
}
