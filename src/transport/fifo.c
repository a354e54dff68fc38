/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * fifo:///path - the named pipe, between processes that know nothing of each other but a path.
 *
 * confab_listen makes the FIFO and receives, confab_open finds it and sends; direction= turns either round, for FIFOs that somebody else
 * made and for the other way of working. The descriptions are our own, by our own open(2): they are O_NONBLOCK, which no other
 * process sees, also on a foreign FIFO.
 *
 * Opening. Plain open(2) of a FIFO blocks until the other side comes, in a call no deadline ends. So:
 *  - Receiving: O_RDONLY | O_NONBLOCK opens at once. A read answers 0 both before the first writer and after the last one. Linux
 *    tells them apart in poll: POLLHUP comes only once a writer has come and gone since this description was opened
 *    (fs/pipe.c compares w_counter). So 0 without POLLHUP is -EAGAIN: wait for the first writer.
 *  - Sending: O_WRONLY | O_NONBLOCK answers ENXIO while nobody reads; we look again after naps of 1 to 10 ms. Rejected: inotify.
 *    A reader like `cat fifo` blocks inside its open until we come, and IN_OPEN is only told after that.
 *    O_RDWR would open at once, but then writing into a FIFO nobody reads is no error any more.
 *
 * Names. Nothing is followed and nothing but a FIFO is opened (lstat first: opening a device can have effects; and fstat after,
 * against a swap in between). Whose FIFO may be listened on: one in a folder that all may write (/tmp) must belong
 * to us or to the folder's owner, else another user could plant it and feed us: fs.protected_fifos, done here because that
 * only covers O_CREAT. Mode and owner are set through an O_PATH descriptor of the FIFO that was made, not through its path.
 *
 * A killed listener leaves the FIFO in the file system; the next one uses it, and leaves it too, since it did not make it.
 */
#include "base/cleanup.h"
#include "base/folder.h"
#include "base/libc.h"
#include "base/owner.h"
#include "base/sigpipe.h"
#include "transport/pipe_ends.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452 /* Linux 6.6 */
#endif

enum { NAP_FIRST_NS = 1000 * 1000, NAP_LAST_NS = 10 * 1000 * 1000 };

struct fifo_state {
        dev_t dev; /* of the FIFO this endpoint created */
        ino_t ino;
        struct cfb_owner
                creator; /* the process that did: a forked one that closes its copy leaves the FIFO */
};

static uint32_t direction_of(const confab_endpoint *endpoint, uint32_t usual) {
        return endpoint->address.direction ? endpoint->address.direction : usual;
}

static void fifo_properties(struct confab_properties *properties, const struct cfb_address *address,
                            const confab_endpoint *endpoint) {
        *properties = (struct confab_properties){
                .size = sizeof(*properties),
                .addressing = CONFAB_ADDRESSING_PATH,
                .reach = CONFAB_REACH_MACHINE,
                .connection = CONFAB_CONNECTION_NONE,
                .direction = CONFAB_DIRECTION_SIMPLEX,
                .boundaries = CONFAB_BOUNDARIES_STREAM,
                .order = CONFAB_ORDER_FIFO,
                .end = CONFAB_YES,
                .residue = CONFAB_RESIDUE_FILE,
                .message_max = UINT64_MAX,
                .atomic_max = PIPE_BUF,
                .capacity = cfb_pipe_capacity(endpoint, address->capacity),
        };
}

static int fifo_check(const struct cfb_address *address) {
        size_t len = strlen(address->rest);

        if (address->rest[0] != '/')
                return cfb_address_refuse(address, 0, "an absolute path belongs here: fifo:///run/feed");
        if (address->rest[len - 1] == '/')
                return cfb_address_refuse(address, len - 1,
                                          "the path ends with '/': that names a folder, not a FIFO");
        if (len >= PATH_MAX)
                return cfb_address_refuse(address, PATH_MAX, "the path is longer than the kernel takes");
        return 0;
}

/* --- what goes wrong, in words --- */

static const char *kind_name(mode_t mode) {
        return S_ISREG(mode)    ? "a regular file"
               : S_ISDIR(mode)  ? "a folder"
               : S_ISLNK(mode)  ? "a symbolic link; give the path it points to"
               : S_ISSOCK(mode) ? "a socket; that would be unix://"
               : S_ISCHR(mode)  ? "a character device"
               : S_ISBLK(mode)  ? "a block device"
                                : "something else";
}

static size_t explain_kind(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: not a FIFO but %s", failure->subject,
                   kind_name((mode_t)failure->a));
        return used;
}

static size_t explain_nobody(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used,
                   "%s: nobody reads it%s; start the receiver (confab receive --listen), or give a later "
                   "deadline",
                   failure->subject, failure->error == -ETIMEDOUT ? " until the deadline" : "");
        return used;
}

static size_t explain_absent(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: there is no FIFO; confab_listen makes one, as mkfifo(1) does",
                   failure->subject);
        return used;
}

static size_t explain_planted(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used,
                   "%s: the FIFO belongs to user %" PRId64
                   ", in a folder where everybody may put one, so it may be a trap; "
                   "remove it, or take a path in a folder of your own",
                   failure->subject, failure->a);
        return used;
}

static size_t explain_access(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: %s: %s", failure->subject, failure->call,
                   cfb_errno_text(-failure->error));
        if (failure->a >= 0)
                cfb_append(text, text_cap, &used, ": mode %04" PRIo64 ", owner %" PRId64, failure->a,
                           failure->b);
        else {
                cfb_append(text, text_cap, &used, ": ");
                if (!cfb_append_refusing_folder(text, text_cap, &used, failure->detail,
                                                strcmp(failure->call, "mkfifo") == 0))
                        cfb_append(text, text_cap, &used, "a folder of the path");
        }
        cfb_append(text, text_cap, &used, "; this process is user %u, group %u", (unsigned)geteuid(),
                   (unsigned)getegid());
        return used;
}

/* Records what a call on the path failed with; @st: what is there, or NULL. */
static int failed_at(int error, const char *call, const struct cfb_address *address, const struct stat *st) {
        assert(error < 0);
        if (error == -ENOENT && strcmp(call, "mkfifo") != 0)
                return cfb_failed_with(error, call, address->text, explain_absent, NULL, 0, 0);
        if (error == -EACCES || error == -EPERM)
                return cfb_failed_with(error, call, address->text, explain_access, address->rest,
                                       st ? (int64_t)(st->st_mode & 07777) : -1,
                                       st ? (int64_t)st->st_uid : -1);
        return cfb_failed(error, call, address->text);
}

/* --- finding and making --- */

/* That there is a FIFO at the path: -ENOENT, -EEXIST for anything else. */
static int find(const struct cfb_address *address, struct stat *st) {
        if (lstat(address->rest, st) < 0)
                return failed_at(-errno, "lstat", address, NULL);
        if (!S_ISFIFO(st->st_mode))
                return cfb_failed_with(-EEXIST, "open", address->text, explain_kind, NULL,
                                       (int64_t)st->st_mode, 0);
        return 0;
}

/* Opens the FIFO seen as @seen. -ENXIO (not recorded): for sending, and nobody reads. */
static int open_end(int *fdp, const struct cfb_address *address, const struct stat *seen, int access) {
        CFB_CLEANUP(cfb_closep) int fd = -1;
        struct stat st;

        fd = open(address->rest, access | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY);
        if (fd < 0 && errno == ENXIO)
                return -ENXIO;
        if (fd < 0)
                return failed_at(-errno, "open", address, seen);
        if (fstat(fd, &st) < 0)
                return cfb_failed(-errno, "fstat", address->text);
        if (st.st_dev != seen->st_dev || st.st_ino != seen->st_ino || !S_ISFIFO(st.st_mode))
                return cfb_failed(-ESTALE, "open", address->text); /* swapped in between */
        *fdp = cfb_steal_fd(&fd);
        return 0;
}

static int open_receiving(confab_endpoint *endpoint, const struct stat *st) {
        int *fdp = &endpoint->fds[CFB_RECEIVING];
        int r = open_end(fdp, &endpoint->address, st, O_RDONLY);

        return r < 0 ? r : cfb_pipe_set_capacity(*fdp, &endpoint->address);
}

static int nobody_reads(const confab_endpoint *endpoint, int error) {
        return cfb_failed_with(error, "open", endpoint->address.text, explain_nobody, NULL, 0, 0);
}

/* @named: between the naps the path is looked up anew, as another FIFO may have taken its place. */
static int open_sending(confab_endpoint *endpoint, struct stat *st, bool named, int64_t deadline_ns) {
        int *fdp = &endpoint->fds[CFB_SENDING];
        int64_t nap_ns = NAP_FIRST_NS;
        int r;

        cfb_sigpipe_guard();
        while ((r = open_end(fdp, &endpoint->address, st, O_WRONLY)) == -ENXIO) {
                r = cfb_wait_nap(endpoint, CONFAB_SEND, nap_ns, deadline_ns);
                if (r == -EAGAIN)
                        return nobody_reads(endpoint, -ENXIO);
                if (r == -ETIMEDOUT)
                        return nobody_reads(endpoint, -ETIMEDOUT);
                if (r >= 0 && named)
                        r = find(&endpoint->address, st);
                if (r < 0)
                        return r;
                if (nap_ns < NAP_LAST_NS)
                        nap_ns *= 2;
        }
        return r < 0 ? r : cfb_pipe_set_capacity(*fdp, &endpoint->address);
}

static int fifo_open(confab_endpoint *endpoint, int64_t deadline_ns) {
        struct stat st;
        int r = find(&endpoint->address, &st);

        if (r < 0)
                return r;
        return direction_of(endpoint, CONFAB_SEND) == CONFAB_SEND
                       ? open_sending(endpoint, &st, true, deadline_ns)
                       : open_receiving(endpoint, &st);
}

/* chmod of the file behind an O_PATH descriptor, whatever the path names by now. */
static int set_mode(int fd, mode_t mode) {
        char path[32];

        if (syscall(SYS_fchmodat2, fd, "", mode, AT_EMPTY_PATH) == 0)
                return 0;
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        return chmod(path, mode) < 0 ? -errno : 0;
}

/*
 * Owner first, then the mode asked for, over any umask: the FIFO never stands open to more than it should. mkfifo's own mode
 * is at most 0600, so until then nobody else gets in.
 */
static int dress(confab_endpoint *endpoint, struct stat *st) {
        CFB_CLEANUP(cfb_closep) int fd = -1;
        const struct cfb_address *address = &endpoint->address;
        struct fifo_state *state = cfb_state(endpoint);
        int r;

        fd = open(address->rest, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fstat(fd, st) < 0) {
                r = failed_at(-errno, "open", address, NULL);
                unlink(address->rest); /* we made it a moment ago: nothing half made stays */
                return r;
        }
        if (!S_ISFIFO(st->st_mode) || st->st_uid != geteuid())
                return cfb_failed(-ESTALE, "open", address->text); /* no longer what we made */
        endpoint->owns_name = true;
        state->dev = st->st_dev;
        state->ino = st->st_ino;
        state->creator = cfb_owner_here();
        if ((address->given & (CFB_KEY(OWNER) | CFB_KEY(GROUP))) &&
            fchownat(fd, "", address->owner, address->group, AT_EMPTY_PATH) < 0)
                return failed_at(-errno, "fchownat", address, st);
        r = (st->st_mode & 07777) == address->mode ? 0 : set_mode(fd, address->mode);
        if (r < 0)
                return failed_at(r, "fchmod", address, st);
        return fstat(fd, st) < 0 ? cfb_failed(-errno, "fstat", address->text) : 0;
}

/* An existing FIFO to listen on: not one that a stranger put where everybody may. */
static int check_planted(const struct cfb_address *address, const struct stat *st) {
        char folder[PATH_MAX];
        struct stat parent;
        size_t len = (size_t)(strrchr(address->rest, '/') - address->rest);

        if (st->st_uid == geteuid())
                return 0;
        snprintf(folder, sizeof(folder), "%.*s", len ? (int)len : 1, address->rest); /* "/" of the root's */
        if (stat(folder, &parent) < 0)
                return failed_at(-errno, "stat", address, NULL);
        if ((parent.st_mode & S_ISVTX) && (parent.st_mode & S_IWOTH) && st->st_uid != parent.st_uid)
                return cfb_failed_with(-EACCES, "listen", address->text, explain_planted, NULL,
                                       (int64_t)st->st_uid, 0);
        return 0;
}

static int fifo_listen(confab_endpoint *endpoint, int64_t deadline_ns) {
        const struct cfb_address *address = &endpoint->address;
        struct stat st;
        int r;

        if (mkfifo(address->rest, 0600) == 0) {
                r = dress(endpoint, &st);
        } else if (errno == EEXIST) {
                r = find(address, &st);
                if (r >= 0)
                        r = check_planted(address, &st);
        } else {
                r = errno == ENOENT ? cfb_failed(-ENOENT, "mkfifo", address->text)
                                    : failed_at(-errno, "mkfifo", address, NULL);
        }
        if (r < 0)
                return r;
        return direction_of(endpoint, CONFAB_RECEIVE) == CONFAB_SEND
                       ? open_sending(endpoint, &st, false, deadline_ns)
                       : open_receiving(endpoint, &st);
}

/* --- using --- */

/* What a read of 0 means: 1 read again, 0 the end, -EAGAIN no writer has come yet. */
static int look_closer(const confab_endpoint *endpoint) {
        struct pollfd reader = {.fd = endpoint->fds[CFB_RECEIVING], .events = POLLIN};
        int r;

        do
                r = poll(&reader, 1, 0);
        while (r < 0 && errno == EINTR);
        if (r < 0)
                return cfb_failed(-errno, "poll", confab_address(endpoint));
        if (reader.revents & POLLIN)
                return 1; /* a writer came, wrote, perhaps went, since the read */
        return reader.revents & POLLHUP ? 0 : -EAGAIN;
}

static int fifo_receive(confab_endpoint *endpoint, struct confab_message *message,
                        struct cfb_buffer **bufferp, const struct confab_filter *filter) {
        int r;

        do {
                r = cfb_pipe_receive(endpoint, message, bufferp, filter);
                if (r != 0)
                        return r;
                r = look_closer(endpoint);
        } while (r > 0);
        return r;
}

static int fifo_remove(const struct cfb_address *address) {
        struct stat st;
        int r = find(address, &st);

        if (r < 0)
                return r;
        return unlink(address->rest) < 0 ? failed_at(-errno, "unlink", address, &st) : 0;
}

/* Only what this endpoint created, and only if the path still names it (a swap between the two calls is beyond the kernel's help). */
static void fifo_close(confab_endpoint *endpoint) {
        const struct fifo_state *state = cfb_state(endpoint);
        struct stat st;

        if (!endpoint->owns_name || endpoint->address.lifetime == CFB_LIFETIME_PERSISTENT ||
            !cfb_owner_is_here(&state->creator))
                return;
        if (lstat(endpoint->address.rest, &st) == 0 && S_ISFIFO(st.st_mode) && st.st_dev == state->dev &&
            st.st_ino == state->ino)
                unlink(endpoint->address.rest);
}

const struct cfb_transport cfb_tr_fifo = {
        .scheme = "fifo",
        .summary = "named pipe, between any processes of this machine",
        .example = "fifo:///path",
        .keys = CFB_KEY(FRAME) | CFB_KEY(MODE) | CFB_KEY(OWNER) | CFB_KEY(GROUP) | CFB_KEY(CAPACITY) |
                CFB_KEY(MAX) | CFB_KEY(DIRECTION) | CFB_KEY(LIFETIME),
        .state_len = sizeof(struct fifo_state),
        .properties = fifo_properties,
        .check = fifo_check,
        .open = fifo_open,
        .listen = fifo_listen,
        .send = cfb_pipe_send,
        .receive = fifo_receive,
        .remove = fifo_remove,
        .close = fifo_close,
};
