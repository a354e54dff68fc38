/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * sysv://KEY - the kernel's System V message queues: whole messages with types, received by type.
 *
 * The key is a number (decimal, or 0x and hexadecimal digits as ipcs prints it) or a path, /path or /path:ID, which ftok turns into one; ID is
 * the project number, 1 unless said. A path that itself ends in a colon and digits gets ":1" behind it.
 *
 * Waiting. There is no descriptor, so nothing can wait for a queue and something else together.
 * - CONFAB_FOREVER blocks in msgrcv or msgsnd themselves: try, unblock the nudging signal, block - three system calls. What was received or
 *   sent in the wait is handed to the next step. confab_interrupt and close get it out of there by base/nudge.h.
 * - Any other deadline: a few yields, then naps that grow from 20 us to 5 ms, with a try after each (property waiting=naps).
 * - poll=MS: a timer descriptor that ticks, for event loops. It stays readable until a try finds the queue empty (full), so a loop
 *   that receives one message a wake loses none.
 *
 * Copies. The kernel wants the type in front of the bytes: receive buffers have 16 bytes in front of what is lent; a message sent is
 * first copied behind its type.
 *
 * A message larger than the buffer stays in the queue (E2BIG): the buffer is doubled up to max= and it is tried again, losing nothing.
 *
 * A death leaves the queue with its messages. Closing removes it only in the process that created it, and only while the key still
 * leads to the same id: ids carry a generation, so a queue made anew under the key is never mistaken for ours.
 */
#include "base/cleanup.h"
#include "base/libc.h"
#include "base/memory.h"
#include "base/nudge.h"
#include "base/owner.h"
#include "core/message.h"
#include "core/transport.h"
#include "transport/queue.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/timerfd.h>
#include <unistd.h>

#ifndef MSG_STAT_ANY
#define MSG_STAT_ANY 13 /* Linux 4.17 */
#endif

enum {
        HEAD = 16, /* in front of the bytes: the type, at its end, so that the bytes stay aligned */
        DEFAULT_MSGMAX = 8192,
        DEFAULT_MSGMNB = 16384,
        BUFFER_ROOM = 64 * 1024, /* of pooled receive buffers at most, whatever msgmax is */
        PROJECT = 1,
        RACES = 100, /* creation and removal by others, alternating with ours, before we give up */
        N_YIELDS = 16,
        NAP_FIRST_NS = 20 * 1000,
        NAP_LAST_NS = 5 * 1000 * 1000,
        INDEX_BITS = 15, /* of an id: the place in the kernel's table; 24 with ipcmni_extend */
        INDEX_BITS_EXTENDED = 24,
};
#define SYSCTL "/proc/sys/kernel/"

struct sysv_state {
        int id;
        key_t key;
        struct cfb_owner creator;
        int timer;                      /* poll=; -1: none */
        uint64_t message_max, capacity; /* as last seen: msgmax, msg_qbytes */
        unsigned n_naps;                /* since the last message */
        struct cfb_nudge nudge;
        /* Senders. */
        unsigned char *staged; /* HEAD, then the message that is being sent */
        size_t staged_cap, staged_len;
        bool sent; /* by the wait */
        /* Receivers. */
        int64_t wanted;           /* the filter of the receive that waits */
        struct cfb_buffer *taken; /* what the wait received, and how much it is */
        size_t taken_len;
};

static uint64_t smaller(uint64_t a, uint64_t b) {
        return a < b ? a : b;
}

static uint64_t msgmax(void) {
        return (uint64_t)cfb_queue_sysctl(SYSCTL "msgmax", DEFAULT_MSGMAX);
}

static void sysv_properties(struct confab_properties *properties, const struct cfb_address *address,
                            const confab_endpoint *endpoint) {
        const struct sysv_state *state = endpoint ? cfb_state(endpoint) : NULL;
        uint64_t capacity = state               ? state->capacity
                            : address->capacity ? address->capacity
                                                : (uint64_t)cfb_queue_sysctl(SYSCTL "msgmnb", DEFAULT_MSGMNB);
        uint64_t message_max = smaller(state ? state->message_max : msgmax(), capacity);

        *properties = (struct confab_properties){
                .size = sizeof(*properties),
                .addressing = CONFAB_ADDRESSING_KEY,
                .reach = CONFAB_REACH_MACHINE,
                .connection = CONFAB_CONNECTION_NONE,
                .direction = CONFAB_DIRECTION_SIMPLEX,
                .boundaries = CONFAB_BOUNDARIES_MESSAGE,
                .order = CONFAB_ORDER_FIFO,
                .when_full = CONFAB_FULL_WAIT,
                .peer_gone = CONFAB_GONE_UNNOTICED,
                .empty = CONFAB_YES,
                .types = CONFAB_YES,
                .waiting = CONFAB_WAITING_NAPS,
                .residue = CONFAB_RESIDUE_QUEUE,
                .message_max = smaller(message_max, address->max),
                .atomic_max = UINT64_MAX,
                .capacity = capacity,
        };
}

/* --- keys --- */

/* Digits, or 0x and hexadecimal ones, up to the end of @text: the number and where it stopped to be one (at the end: all of it is). */
static const char *read_number(const char *text, uint64_t *valuep) {
        bool hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X') && text[2];
        uint64_t value = 0;
        const char *p;

        for (p = hex ? text + 2 : text; *p; p++) {
                unsigned digit = *p >= '0' && *p <= '9'          ? (unsigned)(*p - '0')
                                 : hex && *p >= 'a' && *p <= 'f' ? (unsigned)(*p - 'a' + 10)
                                 : hex && *p >= 'A' && *p <= 'F' ? (unsigned)(*p - 'A' + 10)
                                                                 : 99;

                if (digit == 99)
                        return p;
                if (value <= UINT32_MAX)
                        value = value * (hex ? 16 : 10) + digit;
        }
        *valuep = value;
        return p;
}

/* The colon in front of a path's project number, or NULL where it has none; the number in *@projectp. */
static const char *project_of(const char *path, uint64_t *projectp) {
        const char *colon = strrchr(path, ':');

        *projectp = PROJECT;
        return colon && colon[1] && *read_number(colon + 1, projectp) == '\0' ? colon : NULL;
}

static int sysv_check(const struct cfb_address *address) {
        const char *text = address->rest, *end;
        uint64_t value = 0;

        if (!text[0])
                return cfb_address_refuse(address, 0, "the key is missing: sysv://NUMBER or sysv:///path");
        if (text[0] == '/') {
                end = project_of(text, &value);
                if (end && (value < 1 || value > 255))
                        return cfb_address_refuse(address, (size_t)(end + 1 - text),
                                                  "a project number is 1 to 255");
                if (strnlen(text, PATH_MAX) >= PATH_MAX)
                        return cfb_address_refuse(address, PATH_MAX, "the path is too long");
                return 0;
        }
        end = read_number(text, &value);
        if (*end)
                return cfb_address_refuse(
                        address, (size_t)(end - text),
                        "a key is a number, decimal or 0x and hexadecimal digits, or an absolute path");
        if (value > UINT32_MAX)
                return cfb_address_refuse(address, 0, "a key is at most 0xffffffff");
        if (value == 0)
                return cfb_address_refuse(address, 0, "key 0 is IPC_PRIVATE, a queue nobody else can find");
        return 0;
}

static size_t explain_ftok(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used,
                   "%s: ftok: %s; a key made of a path needs a file there, the same one for all who use the "
                   "queue: make it with touch",
                   failure->subject, cfb_errno_text(-failure->error));
        return used;
}

static int key_of(const struct cfb_address *address, key_t *keyp) {
        CFB_CLEANUP(cfb_releasep) char *path = NULL;
        const char *colon;
        uint64_t value = 0;

        if (address->rest[0] != '/') {
                read_number(address->rest, &value);
                *keyp = (key_t)(uint32_t)value;
                return 0;
        }
        path = cfb_copy_text(address->rest);
        if (!path)
                return cfb_failed(-ENOMEM, "ftok", address->text);
        colon = project_of(path, &value);
        if (colon)
                path[colon - path] = '\0';
        errno = 0;
        *keyp = ftok(path, (int)value);
        if (*keyp == -1 && errno) /* which can be a key as well */
                return cfb_failed_with(-errno, "ftok", address->text, explain_ftok, NULL, 0, 0);
        return 0;
}

/* --- failures in words --- */

/* The queue @id as it is. Looking needs the right to read, which a sender may not have: then by its place in the kernel's table. */
static int look_at(int id, struct msqid_ds *queue) {
        if (msgctl(id, IPC_STAT, queue) == 0)
                return 0;
        if (errno != EACCES)
                return -errno;
        if (msgctl(id & ((1 << INDEX_BITS) - 1), MSG_STAT_ANY, queue) == id ||
            msgctl(id & ((1 << INDEX_BITS_EXTENDED) - 1), MSG_STAT_ANY, queue) == id)
                return 0;
        return -EACCES;
}

static int64_t owner_of(key_t key) {
        struct msqid_ds queue;
        int id = msgget(key, 0);

        return id >= 0 && look_at(id, &queue) == 0
                       ? cfb_queue_pack_owner(queue.msg_perm.uid, queue.msg_perm.mode)
                       : -1;
}

/* a: owner and mode, packed, or -1. */
static size_t explain_access(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: %s: no permission to %s the queue: ", failure->subject,
                   failure->call, failure->detail);
        cfb_queue_append_owner(text, text_cap, &used, failure->a);
        cfb_append(text, text_cap, &used,
                   strcmp(failure->detail, "remove") == 0 || strcmp(failure->detail, "change") == 0
                           ? "; its owner, its creator or root can"
                           : "; give it rights with mode=, owner= or group= where it listens");
        return used;
}

static size_t explain_missing(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used,
                   "%s: %s: no queue has the key 0x%08x in this IPC namespace; the side that listens creates "
                   "it, start it first",
                   failure->subject, failure->call, (unsigned)failure->a);
        return used;
}

static size_t explain_msgmni(const struct cfb_failure *failure, char *text, size_t text_cap) {
        struct msginfo info;
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: msgget says ENOSPC: kernel.msgmni = %" PRId64 " queues",
                   failure->subject, cfb_queue_sysctl(SYSCTL "msgmni", 32000));
        if (msgctl(0, MSG_INFO, (struct msqid_ds *)(void *)&info) >= 0)
                cfb_append(text, text_cap, &used, ", %d exist (ipcs -q)", info.msgpool);
        cfb_append(text, text_cap, &used,
                   "; raise it with sysctl kernel.msgmni=N, or remove queues with ipcrm");
        return used;
}

/* a: the capacity asked for. */
static size_t explain_msgmnb(const struct cfb_failure *failure, char *text, size_t text_cap) {
        int64_t limit = cfb_queue_sysctl(SYSCTL "msgmnb", DEFAULT_MSGMNB);
        size_t used = 0;

        cfb_append(text, text_cap, &used,
                   "%s: msgctl says EPERM: capacity=%" PRId64 ": kernel.msgmnb allows %" PRId64
                   " bytes without CAP_SYS_RESOURCE; raise it with sysctl kernel.msgmnb=%" PRId64,
                   failure->subject, failure->a, limit, failure->a);
        return used;
}

/* a: bytes of the message, b: the limit; detail: its name. */
static size_t explain_limit(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used,
                   "%s: %s: the message is too large: %" PRId64 " bytes, %s allows %" PRId64,
                   failure->subject, failure->call, failure->a, failure->detail, failure->b);
        if (strcmp(failure->detail, "kernel.msgmax") == 0)
                cfb_append(text, text_cap, &used, "; raise it with sysctl kernel.msgmax=%" PRId64,
                           failure->a);
        else
                cfb_append(text, text_cap, &used, "; raise it with capacity=%" PRId64, failure->a);
        return used;
}

static size_t explain_removed(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used,
                   "%s: %s: the queue was removed while in use, with what was in it: the side that created "
                   "it has closed, or "
                   "somebody said ipcrm or confab rm; open it again",
                   failure->subject, failure->call);
        return used;
}

static int open_failed(const struct cfb_address *address, int error, key_t key, const char *access) {
        cfb_explainer *explain = error == ENOENT   ? explain_missing
                                 : error == ENOSPC ? explain_msgmni
                                 : error == EACCES ? explain_access
                                                   : NULL;

        return cfb_failed_with(-error, "msgget", address->text, explain, access,
                               error == EACCES ? owner_of(key) : (int64_t)(uint32_t)key, 0);
}

/* @error of msgsnd or msgrcv, other than what makes one wait. */
static int call_failed(const confab_endpoint *endpoint, int error, const char *call) {
        const struct sysv_state *state = cfb_state(endpoint);
        bool sending = strcmp(call, "msgsnd") == 0;

        if (error == EIDRM ||
            error == EINVAL) /* an id that is no longer in the table is invalid, not removed */
                return cfb_failed_with(-EIDRM, call, confab_address(endpoint), explain_removed, NULL, 0, 0);
        if (error == EACCES)
                return cfb_failed_with(-error, call, confab_address(endpoint), explain_access,
                                       sending ? "send to" : "receive from", owner_of(state->key), 0);
        return cfb_failed(-error, call, confab_address(endpoint));
}

static int too_large(const confab_endpoint *endpoint, uint64_t len, const char *limit, uint64_t max) {
        return cfb_failed_with(-EMSGSIZE, "msgsnd", confab_address(endpoint), explain_limit, limit,
                               (int64_t)len, (int64_t)max);
}

/* --- opening --- */

static uint32_t direction_of(const confab_endpoint *endpoint, uint32_t usual) {
        return endpoint->address.direction ? endpoint->address.direction : usual;
}

static int start_timer(confab_endpoint *endpoint) {
        struct sysv_state *state = cfb_state(endpoint);
        int64_t every_ns = endpoint->address.poll_ns;
        struct itimerspec spec = {.it_interval = {.tv_sec = (time_t)(every_ns / 1000000000),
                                                  .tv_nsec = (long)(every_ns % 1000000000)},
                                  .it_value = {.tv_nsec = 1}};

        if (!every_ns)
                return 0;
        state->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (state->timer < 0 || timerfd_settime(state->timer, 0, &spec, NULL) < 0)
                return cfb_failed(-errno, "timerfd_create", endpoint->address.text);
        return 0;
}

/* What the address asks for and msgget could not give: owner, group, capacity. */
static int change_queue(const confab_endpoint *endpoint, struct msqid_ds *queue, bool created) {
        const struct cfb_address *address = &endpoint->address;
        const struct sysv_state *state = cfb_state(endpoint);
        bool resized = address->capacity && address->capacity != queue->msg_qbytes, given_away = false;

        if (resized)
                queue->msg_qbytes = (msglen_t)address->capacity;
        if (created && (address->owner != UINT32_MAX || address->group != UINT32_MAX)) {
                given_away = true;
                if (address->owner != UINT32_MAX)
                        queue->msg_perm.uid = address->owner;
                if (address->group != UINT32_MAX)
                        queue->msg_perm.gid = address->group;
                queue->msg_perm.mode = (unsigned short)address->mode;
        }
        if ((!resized && !given_away) || msgctl(state->id, IPC_SET, queue) == 0)
                return 0;
        if (errno == EPERM && resized &&
            address->capacity > (uint64_t)cfb_queue_sysctl(SYSCTL "msgmnb", DEFAULT_MSGMNB))
                return cfb_failed_with(-EPERM, "msgctl", address->text, explain_msgmnb, NULL,
                                       (int64_t)address->capacity, 0);
        if (errno == EPERM)
                return cfb_failed_with(-EPERM, "msgctl", address->text, explain_access, "change",
                                       owner_of(state->key), 0);
        return cfb_failed(-errno, "msgctl", address->text);
}

/* The queue is found, or @created: makes it what the address says, or checks that it is. */
static int attach(confab_endpoint *endpoint, uint32_t direction, bool listening, bool created) {
        const struct cfb_address *address = &endpoint->address;
        struct sysv_state *state = cfb_state(endpoint);
        const char *call = listening ? "listen" : "open";
        struct msqid_ds queue;
        int r;

        endpoint->direction = direction;
        r = look_at(state->id, &queue);
        if (r < 0)
                return call_failed(endpoint, -r, "msgctl");
        if (!created) {
                if (listening && (r = cfb_queue_check_foreign(address, call, queue.msg_perm.uid)) < 0)
                        return r;
                r = cfb_queue_check_asked(address, call, queue.msg_perm.uid, queue.msg_perm.gid,
                                          queue.msg_perm.mode);
                if (r < 0)
                        return r;
        }
        r = change_queue(endpoint, &queue, created);
        if (r < 0)
                return r;
        state->capacity = queue.msg_qbytes;
        state->message_max = msgmax();
        if (direction == CONFAB_SEND) {
                state->staged_cap = HEAD + smaller(state->message_max, endpoint->max);
                state->staged = cfb_allocate_untouched(state->staged_cap);
                if (!state->staged)
                        return cfb_failed(-ENOMEM, call, address->text);
        }
        return start_timer(endpoint);
}

static int sysv_open(confab_endpoint *endpoint, int64_t deadline_ns) {
        struct sysv_state *state = cfb_state(endpoint);
        uint32_t direction = direction_of(endpoint, CONFAB_SEND);
        int r;

        (void)deadline_ns;
        state->timer = -1;
        r = key_of(&endpoint->address, &state->key);
        if (r < 0)
                return r;
        state->id = msgget(state->key, direction == CONFAB_SEND ? 0200 : 0400);
        if (state->id < 0)
                return open_failed(&endpoint->address, errno, state->key,
                                   direction == CONFAB_SEND ? "send to" : "receive from");
        return attach(endpoint, direction, false, false);
}

static int sysv_listen(confab_endpoint *endpoint, int64_t deadline_ns) {
        const struct cfb_address *address = &endpoint->address;
        struct sysv_state *state = cfb_state(endpoint);
        uint32_t direction = direction_of(endpoint, CONFAB_RECEIVE);
        bool gives_away = address->owner != UINT32_MAX || address->group != UINT32_MAX;
        int r;

        (void)deadline_ns;
        state->timer = -1;
        r = key_of(address, &state->key);
        if (r < 0)
                return r;
        for (int i = 0; i < RACES; i++) {
                /* Unlike files a queue gets its mode whatever the umask. */
                state->id =
                        msgget(state->key, IPC_CREAT | IPC_EXCL |
                                                   (int)(gives_away ? address->mode & 0600 : address->mode));
                if (state->id >= 0) {
                        state->creator = cfb_owner_here();
                        endpoint->owns_name = true; /* also for a persistent one until it is complete */
                        r = attach(endpoint, direction, true, true);
                        if (r >= 0)
                                endpoint->owns_name = address->lifetime != CFB_LIFETIME_PERSISTENT;
                        return r;
                }
                if (errno != EEXIST)
                        break;
                state->id = msgget(state->key, direction == CONFAB_SEND ? 0200 : 0400);
                if (state->id >= 0)
                        return attach(endpoint, direction, true, false);
                if (errno != ENOENT)
                        break;
        }
        return open_failed(address, errno, state->key, direction == CONFAB_SEND ? "send to" : "receive from");
}

/* --- messages --- */

/* Where the kernel puts and finds the type: right in front of the bytes. */
static void *with_type(unsigned char *bytes) {
        return bytes + HEAD - sizeof(long);
}

/* A try found nothing to do: the ticking descriptor may rest until the next tick. */
static int has_to_wait(const struct sysv_state *state) {
        uint64_t ticks;

        if (state->timer >= 0) {
                ssize_t n = read(state->timer, &ticks, sizeof(ticks));

                (void)n; /* EAGAIN: it has not ticked since */
        }
        return -EAGAIN;
}

/* Sends what is staged: 0, -EAGAIN, -EINTR (only without IPC_NOWAIT), or another failure, recorded. */
static int send_staged(confab_endpoint *endpoint, int flags) {
        struct sysv_state *state = cfb_state(endpoint);
        struct msqid_ds queue;
        int error;

        if (msgsnd(state->id, with_type(state->staged), state->staged_len, flags) == 0)
                return 0;
        error = errno;
        if (error == EINTR)
                return -EINTR;
        if (error == EAGAIN) {
                /* One that is larger than the whole queue would wait for ever. */
                if (state->staged_len > state->capacity && look_at(state->id, &queue) == 0) {
                        state->capacity = queue.msg_qbytes;
                        if (state->staged_len > state->capacity)
                                return too_large(endpoint, state->staged_len,
                                                 "the queue's capacity (msg_qbytes)", state->capacity);
                }
                return has_to_wait(state);
        }
        if (error == EINVAL && look_at(state->id, &queue) == 0) { /* it is there, so msgmax was lowered */
                state->message_max = msgmax();
                return too_large(endpoint, state->staged_len, "kernel.msgmax", state->message_max);
        }
        return call_failed(endpoint, error, "msgsnd");
}

/* Copies @message of @len bytes behind its type. */
static int stage(confab_endpoint *endpoint, const struct confab_message *message, uint64_t len) {
        struct sysv_state *state = cfb_state(endpoint);
        long type = message->type ? (long)message->type : 1;

        if (message->type > LONG_MAX)
                return cfb_failed_with(-EINVAL, "send", confab_address(endpoint), NULL,
                                       "a type is at most 2147483647 here", 0, 0);
        if (len > state->message_max && len > (state->message_max = msgmax()))
                return too_large(endpoint, len, "kernel.msgmax", state->message_max);
        if (len > state->staged_cap - HEAD) { /* msgmax was raised since the endpoint was opened */
                unsigned char *larger = cfb_allocate_untouched(HEAD + len);

                if (!larger)
                        return cfb_failed(-ENOMEM, "send", confab_address(endpoint));
                cfb_release(state->staged);
                state->staged = larger;
                state->staged_cap = HEAD + len;
        }
        memcpy(with_type(state->staged), &type, sizeof(type));
        cfb_queue_gather(state->staged + HEAD, message);
        state->staged_len = len;
        return 0;
}

static int64_t sysv_send(confab_endpoint *endpoint, const struct confab_message *message) {
        struct sysv_state *state = cfb_state(endpoint);
        uint64_t len = cfb_message_len(message);
        int r = 0;

        if (!state->sent) {
                r = stage(endpoint, message, len);
                if (r >= 0)
                        r = send_staged(endpoint, IPC_NOWAIT);
                if (r < 0)
                        return r;
        }
        state->sent = false;
        state->staged_len = 0;
        state->n_naps = 0;
        return (int64_t)len;
}

static int grow(confab_endpoint *endpoint, struct cfb_buffer **bufferp) {
        size_t room = (*bufferp)->cap - HEAD;
        struct cfb_buffer *larger;

        if (room >= endpoint->max)
                return (int)cfb_too_large(endpoint, "receive", 0, endpoint->max);
        larger = cfb_buffer_take_large(endpoint->pool,
                                       HEAD + (size_t)smaller(2 * (uint64_t)room + HEAD, endpoint->max));
        if (!larger)
                return cfb_failed(-ENOMEM, "receive", confab_address(endpoint));
        cfb_buffer_unref(*bufferp);
        *bufferp = larger;
        return 0;
}

/* Its length, -EAGAIN, -EINTR (only without IPC_NOWAIT), or another failure, recorded. */
static int64_t receive_into(confab_endpoint *endpoint, struct cfb_buffer **bufferp, int64_t wanted,
                            int flags) {
        struct sysv_state *state = cfb_state(endpoint);
        ssize_t n;
        int r;

        /* On 32 bits: no message has a higher type than LONG_MAX, so "up to" more is "up to" that. */
        if (wanted < -LONG_MAX)
                wanted = -LONG_MAX;
        if (wanted > LONG_MAX)
                return cfb_failed_with(-EINVAL, "receive", confab_address(endpoint), NULL,
                                       "a type is at most 2147483647 here", 0, 0);
        for (;;) {
                n = msgrcv(state->id, with_type((*bufferp)->bytes), (*bufferp)->cap - HEAD, (long)wanted,
                           flags);
                if (n >= 0)
                        return n;
                if (errno == ENOMSG)
                        return has_to_wait(state);
                if (errno == EINTR)
                        return -EINTR;
                if (errno != E2BIG)
                        return call_failed(endpoint, errno, "msgrcv");
                r = grow(endpoint, bufferp);
                if (r < 0)
                        return r;
        }
}

static int sysv_receive(confab_endpoint *endpoint, struct confab_message *message,
                        struct cfb_buffer **bufferp, const struct confab_filter *filter) {
        struct sysv_state *state = cfb_state(endpoint);
        int64_t n;
        long type;

        if (state->taken) {
                cfb_buffer_unref(*bufferp);
                *bufferp = cfb_steal(&state->taken);
                n = (int64_t)state->taken_len;
        } else {
                state->wanted = filter ? filter->type : 0;
                n = receive_into(endpoint, bufferp, state->wanted, IPC_NOWAIT);
                if (n < 0)
                        return (int)n;
        }
        memcpy(&type, with_type((*bufferp)->bytes), sizeof(type));
        message->data = (*bufferp)->bytes + HEAD;
        message->data_len = (uint64_t)n;
        message->type = type;
        state->n_naps = 0;
        return 1;
}

/* --- waiting --- */

static int nap(confab_endpoint *endpoint, uint32_t direction, int64_t deadline_ns) {
        struct sysv_state *state = cfb_state(endpoint);
        unsigned n = state->n_naps++;
        int64_t nap_ns = NAP_LAST_NS;
        int r;

        if (n < N_YIELDS && confab_now() < deadline_ns) {
                r = cfb_wait_ended(endpoint, direction);
                if (r >= 0)
                        sched_yield();
        } else {
                if (n >= N_YIELDS && n - N_YIELDS < 8)
                        nap_ns = (int64_t)NAP_FIRST_NS << (n - N_YIELDS);
                r = cfb_wait_nap(endpoint, direction, nap_ns, deadline_ns);
        }
        if (r < 0)
                state->n_naps = 0;
        return r;
}

/* One blocking call; what it did is kept for the next step. */
static int block(confab_endpoint *endpoint, uint32_t direction, struct cfb_buffer **bufferp) {
        struct sysv_state *state = cfb_state(endpoint);
        int64_t n;

        if (direction == CONFAB_RECEIVE) {
                n = receive_into(endpoint, bufferp, state->wanted, 0);
                if (n >= 0) {
                        state->taken = cfb_steal(bufferp);
                        state->taken_len = (size_t)n;
                }
        } else {
                n = send_staged(endpoint, 0);
                state->sent = n >= 0;
        }
        return n < 0 ? (int)n : 0;
}

static void unrefp(struct cfb_buffer **bufferp) {
        cfb_buffer_unref(*bufferp);
}

static int wait_blocked(confab_endpoint *endpoint, uint32_t direction) {
        CFB_CLEANUP(unrefp) struct cfb_buffer *buffer = NULL;
        struct sysv_state *state = cfb_state(endpoint);
        int r;

        if (direction == CONFAB_RECEIVE && !(buffer = cfb_buffer_take(endpoint->pool)))
                return cfb_failed(-ENOMEM, "receive", confab_address(endpoint));
        if (cfb_nudge_begin(&state->nudge) < 0)
                return nap(endpoint, direction, CONFAB_FOREVER);
        for (;;) {
                r = cfb_wait_ended(endpoint, direction); /* [W1], with [N1] in place of the wake descriptor */
                if (r < 0)
                        break;
                r = block(endpoint, direction, &buffer);
                if (r != -EINTR) /* some signal: look why */
                        break;
        }
        cfb_nudge_end(&state->nudge);
        return r;
}

static int sysv_wait(confab_endpoint *endpoint, uint32_t direction, int64_t deadline_ns) {
        if (deadline_ns <= CONFAB_NOW)
                return -EAGAIN;
        return deadline_ns == CONFAB_FOREVER ? wait_blocked(endpoint, direction)
                                             : nap(endpoint, direction, deadline_ns);
}

static void sysv_interrupt(confab_endpoint *endpoint) {
        struct sysv_state *state = cfb_state(endpoint);

        cfb_nudge(&state->nudge);
}

/* For a sender: room for what was last refused, or for something small. */
static int sysv_ready(confab_endpoint *endpoint, uint32_t direction) {
        struct sysv_state *state = cfb_state(endpoint);
        struct msqid_ds queue;
        int r = look_at(state->id, &queue);

        if (r < 0)
                return 1; /* the call will say what is wrong */
        if (direction == CONFAB_RECEIVE)
                return queue.msg_qnum > 0;
        return queue.msg_cbytes + state->staged_len <= queue.msg_qbytes && queue.msg_qnum < queue.msg_qbytes;
}

static int sysv_descriptor(confab_endpoint *endpoint, uint32_t direction, struct pollfd *pollfd) {
        const struct sysv_state *state = cfb_state(endpoint);

        if (!(endpoint->direction & direction))
                return cfb_unsupported_of(endpoint, "descriptor",
                                          direction == CONFAB_SEND ? "sending" : "receiving");
        if (state->timer < 0)
                return cfb_unsupported_of(endpoint, "descriptor", "a descriptor to wait on without poll=MS");
        *pollfd = (struct pollfd){.fd = state->timer, .events = POLLIN};
        return 0;
}

static size_t sysv_buffer_cap(const confab_endpoint *endpoint) {
        const struct sysv_state *state = cfb_state(endpoint);

        return HEAD + (size_t)smaller(smaller(state->message_max, endpoint->max), BUFFER_ROOM);
}

/* --- the end --- */

static void sysv_close(confab_endpoint *endpoint) {
        struct sysv_state *state = cfb_state(endpoint);

        if (endpoint->owns_name && cfb_owner_is_here(&state->creator) && msgget(state->key, 0) == state->id)
                msgctl(state->id, IPC_RMID, NULL);
        if (state->timer >= 0)
                close(state->timer);
        cfb_buffer_unref(state->taken);
        cfb_release(state->staged);
}

static int sysv_remove(const struct cfb_address *address) {
        key_t key;
        int r = key_of(address, &key), id;

        if (r < 0)
                return r;
        id = msgget(key, 0);
        if (id < 0)
                return open_failed(address, errno, key, "remove");
        if (msgctl(id, IPC_RMID, NULL) == 0)
                return 0;
        if (errno == EPERM)
                return cfb_failed_with(-EPERM, "msgctl", address->text, explain_access, "remove",
                                       owner_of(key), 0);
        return cfb_failed(errno == EIDRM || errno == EINVAL ? -ENOENT : -errno, "msgctl", address->text);
}

const struct cfb_transport cfb_tr_sysv = {
        .scheme = "sysv",
        .summary = "System V message queue of the kernel, with types",
        .example = "sysv://0x5eed0001",
        .keys = CFB_KEY(MODE) | CFB_KEY(OWNER) | CFB_KEY(GROUP) | CFB_KEY(CAPACITY) | CFB_KEY(MAX) |
                CFB_KEY(DIRECTION) | CFB_KEY(LIFETIME) | CFB_KEY(POLL),
        .state_len = sizeof(struct sysv_state),
        .properties = sysv_properties,
        .check = sysv_check,
        .open = sysv_open,
        .listen = sysv_listen,
        .send = sysv_send,
        .receive = sysv_receive,
        .wait = sysv_wait,
        .ready = sysv_ready,
        .interrupt = sysv_interrupt,
        .descriptor = sysv_descriptor,
        .remove = sysv_remove,
        .close = sysv_close,
        .buffer_cap = sysv_buffer_cap,
};
