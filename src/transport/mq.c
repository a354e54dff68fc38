/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * mq:///name - the kernel's POSIX message queues: whole messages with priorities, found by name, queued without a receiver.
 *
 * The description is ours (mq_open makes a new one each time), so it is O_NONBLOCK from the start; on Linux it is a descriptor that
 * polls. A send is one mq_send, a receive one mq_receive.
 *
 * Names live in the IPC namespace's mqueue file system. It need not be mounted: nothing here depends on /dev/mqueue, which is looked at
 * only to say in a failure's sentence who uses what.
 *
 * Listening creates the queue (O_EXCL first, so that we know whether it is ours), gives it its mode by fchmod because the umask
 * would cut what mq_open was told, and takes an existing one only if it is as asked and does not belong to a stranger.
 *
 * A death leaves the queue with its messages: that is what such queues are for. Closing removes it only in the process that
 * created it (not in a forked child that closes its copy), and only while the name still leads to the same queue.
 */
#include "base/cleanup.h"
#include "base/memory.h"
#include "base/owner.h"
#include "core/message.h"
#include "core/transport.h"
#include "transport/queue.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <mqueue.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Of ipc/mqueue.c and include/linux/ipc_namespace.h: they are in no header for programs. */
enum {
        PRIORITIES = 32768,
        HARD_CAPACITY = 65536,
        HARD_MESSAGE_SIZE = 16 * 1024 * 1024,
        DEFAULT_CAPACITY = 10,
        DEFAULT_MESSAGE_SIZE = 8192,
        MQUEUE_MAGIC = 0x19800202,
        RACES = 100, /* creation and removal by others, alternating with ours, before we give up */
};
#define SYSCTL "/proc/sys/fs/mqueue/"

struct mq_state {
        uint64_t message_size, capacity; /* of the queue; they never change */
        dev_t dev;
        ino_t ino;
        struct cfb_owner creator;
        unsigned char *gathered; /* where the parts of a message are put together; senders only */
};

static uint64_t smaller(uint64_t a, uint64_t b) {
        return a < b ? a : b;
}

/* What a queue made for @address would have: what is asked for, else the kernel's defaults, which its maxima bound. */
static void asked_attributes(struct mq_attr *attr, const struct cfb_address *address) {
        uint64_t capacity = address->capacity, size = address->message_size;

        if (!capacity)
                capacity = smaller((uint64_t)cfb_queue_sysctl(SYSCTL "msg_default", DEFAULT_CAPACITY),
                                   (uint64_t)cfb_queue_sysctl(SYSCTL "msg_max", DEFAULT_CAPACITY));
        if (!size)
                size = smaller((uint64_t)cfb_queue_sysctl(SYSCTL "msgsize_default", DEFAULT_MESSAGE_SIZE),
                               (uint64_t)cfb_queue_sysctl(SYSCTL "msgsize_max", DEFAULT_MESSAGE_SIZE));
        *attr = (struct mq_attr){.mq_maxmsg = (long)smaller(capacity, LONG_MAX),
                                 .mq_msgsize = (long)smaller(size, LONG_MAX)};
}

static void mq_properties(struct confab_properties *properties, const struct cfb_address *address,
                          const confab_endpoint *endpoint) {
        const struct mq_state *state = endpoint ? cfb_state(endpoint) : NULL;
        uint64_t size, capacity;

        if (state) {
                size = state->message_size;
                capacity = state->capacity;
        } else {
                struct mq_attr attr;

                asked_attributes(&attr, address);
                size = (uint64_t)attr.mq_msgsize;
                capacity = (uint64_t)attr.mq_maxmsg;
        }
        *properties = (struct confab_properties){
                .size = sizeof(*properties),
                .addressing = CONFAB_ADDRESSING_NAME,
                .reach = CONFAB_REACH_MACHINE,
                .connection = CONFAB_CONNECTION_NONE,
                .direction = CONFAB_DIRECTION_SIMPLEX,
                .boundaries = CONFAB_BOUNDARIES_MESSAGE,
                .order = CONFAB_ORDER_PRIORITY,
                .when_full = CONFAB_FULL_WAIT,
                .peer_gone = CONFAB_GONE_UNNOTICED,
                .empty = CONFAB_YES,
                .priorities = PRIORITIES,
                .waiting = CONFAB_WAITING_DESCRIPTOR,
                .residue = CONFAB_RESIDUE_QUEUE,
                .message_max = smaller(size, address->max),
                .atomic_max = UINT64_MAX,
                .capacity = capacity * size,
        };
}

static int mq_check(const struct cfb_address *address) {
        const char *name = address->rest, *slash;

        if (name[0] != '/')
                return cfb_address_refuse(address, 0, "a queue's name begins with one slash: mq:///name");
        if (!name[1])
                return cfb_address_refuse(address, 1, "the queue's name is missing: mq:///name");
        slash = strchr(name + 1, '/');
        if (slash)
                return cfb_address_refuse(
                        address, (size_t)(slash - name),
                        "a queue's name holds no slash but the first: there are no folders of queues");
        if (strcmp(name, "/.") == 0 || strcmp(name, "/..") == 0)
                return cfb_address_refuse(address, 1, "this is no name for a queue");
        if (strlen(name + 1) > NAME_MAX)
                return cfb_address_refuse(address, NAME_MAX + 1, "a queue's name has at most 255 bytes");
        return 0;
}

/* --- failures in words --- */

/* What a queue takes of RLIMIT_MSGQUEUE, as getrlimit(2) has it: message headers, tree nodes, the messages. */
static uint64_t queue_cost(uint64_t capacity, uint64_t message_size) {
        const uint64_t header = sizeof(void *) == 8 ? 48 : 24, node = sizeof(void *) == 8 ? 48 : 24;

        return capacity * header + smaller(capacity, PRIORITIES) * node + capacity * message_size;
}

struct usage {
        uint64_t cost;
        unsigned n_queues, n_own, n_hidden; /* all; the caller's; those of them that cannot be asked */
};

/* What @uid's queues take, where the mqueue file system is mounted at its usual place. */
static bool look_at_queues(struct usage *usage, uid_t uid) {
        const char *folder = "/dev/mqueue";
        struct statfs fs;
        struct dirent *entry;
        DIR *dir;

        *usage = (struct usage){0};
        if (statfs(folder, &fs) < 0 || (uint32_t)fs.f_type != MQUEUE_MAGIC || !(dir = opendir(folder)))
                return false;
        while ((entry = readdir(dir))) {
                char name[NAME_MAX + 2];
                struct mq_attr attr;
                struct stat st;
                mqd_t fd;

                if (entry->d_name[0] == '.' ||
                    fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        continue;
                usage->n_queues++;
                if (st.st_uid != uid)
                        continue;
                usage->n_own++;
                snprintf(name, sizeof(name), "/%s", entry->d_name);
                fd = mq_open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
                if (fd >= 0 && mq_getattr(fd, &attr) == 0)
                        usage->cost += queue_cost((uint64_t)attr.mq_maxmsg, (uint64_t)attr.mq_msgsize);
                else
                        usage->n_hidden++;
                if (fd >= 0)
                        mq_close(fd);
        }
        closedir(dir);
        return true;
}

/* a: capacity, b: bytes of a message that were asked for. */
static size_t explain_msgqueue(const struct cfb_failure *failure, char *text, size_t text_cap) {
        uint64_t cost = queue_cost((uint64_t)failure->a, (uint64_t)failure->b);
        struct rlimit limit = {0};
        struct usage usage;
        size_t used = 0;

        getrlimit(RLIMIT_MSGQUEUE, &limit);
        cfb_append(text, text_cap, &used, "%s: mq_open says EMFILE: RLIMIT_MSGQUEUE, ", failure->subject);
        if (look_at_queues(&usage, geteuid()))
                cfb_append(text, text_cap, &used,
                           "%s%" PRIu64 " KiB of %" PRIu64 " KiB used by %u queues of user %u%s",
                           usage.n_hidden ? "at least " : "", usage.cost / 1024,
                           (uint64_t)limit.rlim_cur / 1024, usage.n_own, (unsigned)geteuid(),
                           usage.n_hidden || usage.cost + cost > limit.rlim_cur
                                   ? ""
                                   : ", the rest by some in other IPC namespaces or removed but still open");
        else
                cfb_append(text, text_cap, &used,
                           "%" PRIu64
                           " KiB for all queues of user %u (mount -t mqueue none /dev/mqueue shows them)",
                           (uint64_t)limit.rlim_cur / 1024, (unsigned)geteuid());
        cfb_append(text, text_cap, &used,
                   "; this one of %" PRId64 " x %" PRId64 " bytes needs %" PRIu64
                   " KiB; raise it with ulimit -q BYTES "
                   "(LimitMSGQUEUE= in a systemd unit%s), remove queues, or ask for less with capacity= and "
                   "message-size=",
                   failure->a, failure->b, (cost + 1023) / 1024,
                   limit.rlim_cur == limit.rlim_max ? "; as root, it is the hard limit" : "");
        return used;
}

/* One figure above its maximum: @key in the address, @sysctl's name, what is possible at all. */
static void append_maximum(char *text, size_t text_cap, size_t *used, const char *key, int64_t asked,
                           const char *sysctl, int64_t now, int64_t hard) {
        cfb_append(text, text_cap, used,
                   "%s=%" PRId64 ": fs.mqueue.%s allows %" PRId64 " now and at most %" PRId64, key, asked,
                   sysctl, now, hard);
        if (asked <= hard)
                cfb_append(text, text_cap, used, "; raise it with sysctl fs.mqueue.%s=%" PRId64, sysctl,
                           asked);
}

/* a: capacity, b: bytes of a message that were asked for. */
static size_t explain_attributes(const struct cfb_failure *failure, char *text, size_t text_cap) {
        int64_t capacity = cfb_queue_sysctl(SYSCTL "msg_max", DEFAULT_CAPACITY);
        int64_t size = cfb_queue_sysctl(SYSCTL "msgsize_max", DEFAULT_MESSAGE_SIZE);
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: mq_open says %s: ", failure->subject,
                   failure->error == -EINVAL ? "EINVAL" : "EOVERFLOW");
        if (failure->a > capacity)
                append_maximum(text, text_cap, &used, "capacity", failure->a, "msg_max", capacity,
                               HARD_CAPACITY);
        else if (failure->b > size)
                append_maximum(text, text_cap, &used, "message-size", failure->b, "msgsize_max", size,
                               HARD_MESSAGE_SIZE);
        else
                cfb_append(text, text_cap, &used, "no queue of %" PRId64 " x %" PRId64 " bytes is possible",
                           failure->a, failure->b);
        return used;
}

static size_t explain_queues_max(const struct cfb_failure *failure, char *text, size_t text_cap) {
        struct usage usage;
        size_t used = 0;

        cfb_append(text, text_cap, &used,
                   "%s: mq_open says ENOSPC: fs.mqueue.queues_max = %" PRId64 " queues", failure->subject,
                   cfb_queue_sysctl(SYSCTL "queues_max", 256));
        if (look_at_queues(&usage, geteuid()))
                cfb_append(text, text_cap, &used, ", %u exist (%u of user %u)", usage.n_queues, usage.n_own,
                           (unsigned)geteuid());
        cfb_append(text, text_cap, &used, "; raise it with sysctl fs.mqueue.queues_max=N, or remove queues");
        return used;
}

/* a: owner and mode, packed, or -1; b: the access tried. */
static size_t explain_access(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: %s: no permission to %s the queue: ", failure->subject,
                   failure->call,
                   failure->b == O_RDONLY   ? "receive from"
                   : failure->b == O_WRONLY ? "send to"
                                            : "remove");
        cfb_queue_append_owner(text, text_cap, &used, failure->a);
        cfb_append(text, text_cap, &used,
                   failure->a < 0
                           ? " (mount -t mqueue none /dev/mqueue; ls -l /dev/mqueue shows its owner and mode)"
                   : failure->b >= 0 ? "; give it rights with mode=, owner= or group= where it listens"
                                     : "; its owner or root can");
        return used;
}

static size_t explain_missing(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used,
                   "%s: %s: there is no such queue in this IPC namespace; the side that listens creates it, "
                   "start it first",
                   failure->subject, failure->call);
        return used;
}

/* Owner and mode of the queue @name, by whatever access we have to it; -1: none. */
static int64_t owner_of(const char *name) {
        static const int accesses[] = {O_RDONLY, O_WRONLY};
        char path[NAME_MAX + sizeof("/dev/mqueue/")];
        struct statfs fs;
        struct stat st;
        int64_t packed = -1;

        for (size_t i = 0; i < CFB_ARRAY_LEN(accesses) && packed < 0; i++) {
                CFB_CLEANUP(cfb_closep) int fd = mq_open(name, accesses[i] | O_NONBLOCK | O_CLOEXEC);

                if (fd >= 0 && fstat(fd, &st) == 0)
                        packed = cfb_queue_pack_owner(st.st_uid, st.st_mode);
        }
        snprintf(path, sizeof(path), "/dev/mqueue%s", name);
        if (packed < 0 && statfs("/dev/mqueue", &fs) == 0 && (uint32_t)fs.f_type == MQUEUE_MAGIC &&
            stat(path, &st) == 0)
                packed = cfb_queue_pack_owner(st.st_uid, st.st_mode);
        return packed;
}

static bool descriptors_left(void) {
        CFB_CLEANUP(cfb_closep) int fd = open("/", O_PATH | O_CLOEXEC);

        return fd >= 0;
}

/* @error of mq_open, which tried @access (O_RDONLY, O_WRONLY) and, for a new queue, @attr. */
static int open_failed(const confab_endpoint *endpoint, int error, int access, const struct mq_attr *attr) {
        const struct cfb_address *address = &endpoint->address;
        cfb_explainer *explain = NULL;
        int64_t a = attr->mq_maxmsg, b = attr->mq_msgsize;

        if (error == EMFILE && descriptors_left())
                explain = explain_msgqueue;
        else if (error == EINVAL || error == EOVERFLOW)
                explain = explain_attributes;
        else if (error == ENOSPC)
                explain = explain_queues_max;
        else if (error == ENOENT)
                explain = explain_missing;
        else if (error == EACCES) {
                explain = explain_access;
                a = owner_of(address->rest);
                b = access;
        }
        return cfb_failed_with(-error, "mq_open", address->text, explain, NULL, a, b);
}

/* --- opening --- */

/* After mq_open: what the queue is, and room to put messages together in. */
static int learn(confab_endpoint *endpoint, int fd, int side, const char *call) {
        struct mq_state *state = cfb_state(endpoint);
        struct mq_attr attr;
        struct stat st;

        endpoint->fds[side] = fd;
        if (fstat(fd, &st) < 0)
                return cfb_failed(-errno, call, endpoint->address.text);
        state->dev = st.st_dev;
        state->ino = st.st_ino;
        if (mq_getattr(fd, &attr) < 0)
                return cfb_failed(-errno, call, endpoint->address.text);
        state->message_size = (uint64_t)attr.mq_msgsize;
        state->capacity = (uint64_t)attr.mq_maxmsg;
        if (side == CFB_SENDING) {
                state->gathered = cfb_allocate_untouched(state->message_size);
                if (!state->gathered)
                        return cfb_failed(-ENOMEM, call, endpoint->address.text);
        }
        return 0;
}

/* A queue that was there: is it as the address says? */
static int check_existing(const confab_endpoint *endpoint, int side, bool listening, const char *call) {
        const struct cfb_address *address = &endpoint->address;
        const struct mq_state *state = cfb_state(endpoint);
        struct stat st;
        int r;

        if (fstat(endpoint->fds[side], &st) < 0)
                return cfb_failed(-errno, call, address->text);
        if (listening && (r = cfb_queue_check_foreign(address, call, st.st_uid)) < 0)
                return r;
        if (address->capacity && address->capacity != state->capacity)
                return cfb_queue_differs(address, call, "capacity", state->capacity, address->capacity);
        if (address->message_size && address->message_size != state->message_size)
                return cfb_queue_differs(address, call, "message-size", state->message_size,
                                         address->message_size);
        return cfb_queue_check_asked(address, call, st.st_uid, st.st_gid, st.st_mode);
}

static int side_of(const confab_endpoint *endpoint, uint32_t usual) {
        uint32_t direction = endpoint->address.direction ? endpoint->address.direction : usual;

        return direction == CONFAB_SEND ? CFB_SENDING : CFB_RECEIVING;
}

static int open_existing(confab_endpoint *endpoint, int side, bool listening, const char *call) {
        int access = side == CFB_SENDING ? O_WRONLY : O_RDONLY, r;
        mqd_t fd = mq_open(endpoint->address.rest, access | O_NONBLOCK | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        r = learn(endpoint, fd, side, call);
        return r < 0 ? r : check_existing(endpoint, side, listening, call);
}

static int mq_open_step(confab_endpoint *endpoint, int64_t deadline_ns) {
        int side = side_of(endpoint, CONFAB_SEND), r;

        (void)deadline_ns;
        r = open_existing(endpoint, side, false, "open");
        if (r < 0 && endpoint->fds[side] < 0)
                return open_failed(endpoint, -r, side == CFB_SENDING ? O_WRONLY : O_RDONLY,
                                   &(struct mq_attr){0});
        return r;
}

/* The queue is ours and nobody else may use it yet: give it what the address asks for, the mode last. */
static int create(confab_endpoint *endpoint, int fd, int side) {
        const struct cfb_address *address = &endpoint->address;
        struct mq_state *state = cfb_state(endpoint);
        int r;

        endpoint->owns_name = address->lifetime != CFB_LIFETIME_PERSISTENT;
        state->creator = cfb_owner_here();
        r = learn(endpoint, fd, side, "listen");
        if (r < 0)
                goto remove;
        if ((address->owner != UINT32_MAX || address->group != UINT32_MAX) &&
            fchown(fd, address->owner, address->group) < 0) {
                r = cfb_failed_with(-errno, "fchown", address->text, NULL,
                                    "owner= and group= need the right to give the queue away", 0, 0);
                goto remove;
        }
        if (fchmod(fd, (mode_t)address->mode) == 0)
                return 0;
        r = cfb_failed(-errno, "fchmod", address->text);
remove:
        endpoint->owns_name = true; /* nothing half made stays, whatever lifetime= says */
        return r;
}

static int mq_listen(confab_endpoint *endpoint, int64_t deadline_ns) {
        const struct cfb_address *address = &endpoint->address;
        int side = side_of(endpoint, CONFAB_RECEIVE), access = side == CFB_SENDING ? O_WRONLY : O_RDONLY,
            r = -EEXIST;
        struct mq_attr attr;

        (void)deadline_ns;
        asked_attributes(&attr, address);
        for (int i = 0; i < RACES; i++) {
                mqd_t fd = mq_open(address->rest, access | O_CREAT | O_EXCL | O_NONBLOCK | O_CLOEXEC,
                                   (mode_t)(address->mode & 0600), &attr);

                if (fd >= 0)
                        return create(endpoint, fd, side);
                if (errno != EEXIST)
                        return open_failed(endpoint, errno, access, &attr);
                r = open_existing(endpoint, side, true, "listen");
                if (r >= 0 || endpoint->fds[side] >= 0)
                        return r;
                if (r != -ENOENT)
                        break;
        }
        return open_failed(endpoint, -r, access, &attr);
}

/* --- messages --- */

/* max= would not help: the kernel keeps the size the queue was made with. */
static size_t explain_message(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(
                text, text_cap, &used,
                "%s: send: the message is too large: %" PRId64 " bytes, the queue takes at most %" PRId64
                "; a queue's message-size= is chosen when it is made: remove it (confab rm) and listen with "
                "message-size=%" PRId64 " or more",
                failure->subject, failure->a, failure->b, failure->a);
        return used;
}

static int64_t mq_send_step(confab_endpoint *endpoint, const struct confab_message *message) {
        struct mq_state *state = cfb_state(endpoint);
        uint64_t len = cfb_message_len(message);
        const void *data = message->data;

        if (len > state->message_size)
                return cfb_failed_with(-EMSGSIZE, "send", confab_address(endpoint), explain_message, NULL,
                                       (int64_t)len, (int64_t)state->message_size);
        if (message->n_iov) {
                cfb_queue_gather(state->gathered, message);
                data = state->gathered;
        }
        if (mq_send(endpoint->fds[CFB_SENDING], data, len, message->priority) == 0)
                return (int64_t)len;
        return errno == EAGAIN ? -EAGAIN : cfb_failed(-errno, "mq_send", confab_address(endpoint));
}

static int mq_receive_step(confab_endpoint *endpoint, struct confab_message *message,
                           struct cfb_buffer **bufferp, const struct confab_filter *filter) {
        struct cfb_buffer *buffer = *bufferp;
        unsigned priority;
        ssize_t n;

        (void)filter;
        n = mq_receive(endpoint->fds[CFB_RECEIVING], (char *)buffer->bytes, buffer->cap, &priority);
        if (n < 0)
                return errno == EAGAIN ? -EAGAIN : cfb_failed(-errno, "mq_receive", confab_address(endpoint));
        if ((uint64_t)n > endpoint->max)
                return (int)cfb_too_large(endpoint, "receive", (uint64_t)n, endpoint->max);
        message->data_len = (uint64_t)n;
        message->priority = priority;
        return 1;
}

static size_t mq_buffer_cap(const confab_endpoint *endpoint) {
        const struct mq_state *state = cfb_state(endpoint);

        return state->message_size;
}

/* --- the end --- */

/*
 * Whether the name still leads to this endpoint's queue. Where we may not even open it the answer is yes: the folder is sticky, a
 * stranger's queue would not be removed.
 */
static bool name_is_ours(const confab_endpoint *endpoint) {
        const struct mq_state *state = cfb_state(endpoint);
        static const int accesses[] = {O_RDONLY, O_WRONLY};
        struct stat st;

        if (!state->ino)
                return true; /* made a moment ago, and not even that could be learned of it */
        for (size_t i = 0; i < CFB_ARRAY_LEN(accesses); i++) {
                CFB_CLEANUP(cfb_closep)
                int fd = mq_open(endpoint->address.rest, accesses[i] | O_NONBLOCK | O_CLOEXEC);

                if (fd >= 0 && fstat(fd, &st) == 0)
                        return st.st_dev == state->dev && st.st_ino == state->ino;
                if (fd < 0 && errno == ENOENT)
                        return false;
        }
        return true;
}

static void mq_close_step(confab_endpoint *endpoint) {
        struct mq_state *state = cfb_state(endpoint);

        if (endpoint->owns_name && cfb_owner_is_here(&state->creator) && name_is_ours(endpoint))
                mq_unlink(endpoint->address.rest);
        cfb_release(state->gathered);
}

static int mq_remove(const struct cfb_address *address) {
        int error;

        if (mq_unlink(address->rest) == 0)
                return 0;
        error = errno;
        if (error == ENOENT)
                return cfb_failed_with(-error, "mq_unlink", address->text, explain_missing, NULL, 0, 0);
        if (error == EACCES || error == EPERM)
                return cfb_failed_with(-error, "mq_unlink", address->text, explain_access, NULL,
                                       owner_of(address->rest), -1);
        return cfb_failed(-error, "mq_unlink", address->text);
}

const struct cfb_transport cfb_tr_mq = {
        .scheme = "mq",
        .summary = "POSIX message queue of the kernel, with priorities",
        .example = "mq:///name?capacity=10&message-size=8192",
        .keys = CFB_KEY(MODE) | CFB_KEY(OWNER) | CFB_KEY(GROUP) | CFB_KEY(CAPACITY) | CFB_KEY(MAX) |
                CFB_KEY(DIRECTION) | CFB_KEY(LIFETIME) | CFB_KEY(MESSAGE_SIZE),
        .state_len = sizeof(struct mq_state),
        .properties = mq_properties,
        .check = mq_check,
        .open = mq_open_step,
        .listen = mq_listen,
        .send = mq_send_step,
        .receive = mq_receive_step,
        .remove = mq_remove,
        .close = mq_close_step,
        .buffer_cap = mq_buffer_cap,
};
