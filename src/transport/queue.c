/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include "transport/queue.h"

#include "base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int64_t cfb_queue_sysctl(const char *path, int64_t otherwise) {
        CFB_CLEANUP(cfb_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
        char text[32];
        int64_t value;
        ssize_t n;

        n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
        if (n <= 0)
                return otherwise;
        text[n] = '\0';
        return sscanf(text, "%" SCNd64, &value) == 1 ? value : otherwise;
}

void cfb_queue_gather(unsigned char *to, const struct confab_message *message) {
        if (!message->n_iov && message->data_len)
                memcpy(to, message->data, message->data_len);
        for (uint32_t i = 0; i < message->n_iov; i++) {
                if (message->iov[i].iov_len)
                        memcpy(to, message->iov[i].iov_base, message->iov[i].iov_len);
                to += message->iov[i].iov_len;
        }
}

int64_t cfb_queue_pack_owner(uid_t uid, unsigned mode) {
        return (int64_t)((uint64_t)uid << 16 | (mode & 07777));
}

void cfb_queue_append_owner(char *text, size_t text_cap, size_t *used, int64_t packed) {
        if (packed >= 0)
                cfb_append(text, text_cap, used, "its owner is user %" PRId64 " and its mode %04o, ",
                           packed >> 16, (unsigned)(packed & 07777));
        cfb_append(text, text_cap, used, "you are user %u", (unsigned)geteuid());
}

/* detail: the key; a: what is there; b: what was asked for. */
static size_t explain_differs(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: the queue exists and has ", failure->subject);
        if (strcmp(failure->detail, "mode") == 0)
                cfb_append(text, text_cap, &used, "mode=%04o, asked for was %04o", (unsigned)failure->a,
                           (unsigned)failure->b);
        else
                cfb_append(text, text_cap, &used, "%s=%" PRId64 ", asked for was %" PRId64, failure->detail,
                           failure->a, failure->b);
        cfb_append(text, text_cap, &used,
                   "; leave %s= out to take it as it is, or remove it first (confab rm ADDRESS)",
                   failure->detail);
        return used;
}

int cfb_queue_differs(const struct cfb_address *address, const char *call, const char *key, uint64_t there,
                      uint64_t asked) {
        return cfb_failed_with(-EEXIST, call, address->text, explain_differs, key, (int64_t)there,
                               (int64_t)asked);
}

static size_t explain_foreign(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used,
                   "%s: the queue exists and belongs to user %" PRId64 ", you are user %" PRId64
                   ": whoever owns it can read what is sent to it; add owner=%" PRId64 " if that is meant",
                   failure->subject, failure->a, failure->b, failure->a);
        return used;
}

int cfb_queue_check_asked(const struct cfb_address *address, const char *call, uid_t uid, gid_t gid,
                          unsigned mode) {
        if ((address->given & CFB_KEY(MODE)) && (mode & 0777) != address->mode)
                return cfb_queue_differs(address, call, "mode", mode & 0777, address->mode);
        if (address->group != UINT32_MAX && gid != address->group)
                return cfb_queue_differs(address, call, "group", gid, address->group);
        if (address->owner != UINT32_MAX && uid != address->owner)
                return cfb_queue_differs(address, call, "owner", uid, address->owner);
        return 0;
}

int cfb_queue_check_foreign(const struct cfb_address *address, const char *call, uid_t uid) {
        if (address->owner != UINT32_MAX || uid == geteuid() || uid == 0)
                return 0;
        return cfb_failed_with(-EPERM, call, address->text, explain_foreign, NULL, uid, geteuid());
}
