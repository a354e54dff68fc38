/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_TRANSPORT_QUEUE_H
#define CFB_TRANSPORT_QUEUE_H
/* What the kernel's two kinds of message queues have in common: sysctl figures, gathered messages, owners in words. */
#include "core/endpoint.h"

#include <sys/types.h>

/* The number in a file of /proc/sys, or @otherwise where it cannot be read. */
int64_t cfb_queue_sysctl(const char *path, int64_t otherwise);

/* The parts of @message one behind the other at @to, which has room for them. */
void cfb_queue_gather(unsigned char *to, const struct confab_message *message);

/* Who may and who is: two ids and a mode in the one number a failure has room for. */
int64_t cfb_queue_pack_owner(uid_t uid, unsigned mode);
/* "its owner is user 0 and its mode 0600, you are user 1000"; @packed < 0: they could not be seen. */
void cfb_queue_append_owner(char *text, size_t text_cap, size_t *used, int64_t packed);

/* -EEXIST: the queue has @there where @asked was asked for with the key @key. */
int cfb_queue_differs(const struct cfb_address *address, const char *call, const char *key, uint64_t there,
                      uint64_t asked);

/* A queue that was there before: mode=, owner= and group= are what the address asks for, or -EEXIST with the failure recorded. */
int cfb_queue_check_asked(const struct cfb_address *address, const char *call, uid_t uid, gid_t gid,
                          unsigned mode);

/*
 * Before listening on a queue somebody else made: it must belong to the caller, to root, or to owner=, else -EPERM. Who plants a
 * queue in advance could read what is meant for the service.
 */
int cfb_queue_check_foreign(const struct cfb_address *address, const char *call, uid_t uid);

#endif
