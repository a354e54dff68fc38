/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * A message of signal:// is one number, as decimal text, because it is read by people, shells and programs of every byte order, and passed on to
 * mechanisms that know nothing of signals. There is one way of writing each number, so that what arrives is byte for byte what was sent.
 * Rejected: four bytes, which a shell cannot type; taking both, since "1234" is both.
 */
#include "process/signal_message.h"

#include "base/error.h"
#include "base/signals.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

bool cfb_signal_number_read(int32_t *valuep, const void *data, size_t len) {
        const char *p = data, *end = p + len;
        bool negative = len > 0 && *p == '-';
        int64_t value = 0;

        p += negative;
        if (p == end || len > CFB_SIGNAL_TEXT_MAX || (*p == '0' && (end - p > 1 || negative)))
                return false;
        for (; p < end; p++) {
                if (*p < '0' || *p > '9')
                        return false;
                value = value * 10 + (*p - '0'); /* at most 11 digits */
        }
        if (negative)
                value = -value;
        if (value < INT32_MIN || value > INT32_MAX)
                return false;
        *valuep = (int32_t)value;
        return true;
}

size_t cfb_signal_write(unsigned char *text, struct confab_peer *peer,
                        const struct confab_signal_received *received) {
        bool from_child = received->flags & CONFAB_RECEIVED_STATUS;
        char number[CFB_SIGNAL_TEXT_MAX + 1];
        int len;

        *peer = (struct confab_peer){
                .size = sizeof(*peer),
                .flags = received->flags & CONFAB_RECEIVED_CLAIMED ? 0 : CONFAB_PEER_CREDENTIALS,
                .pid = received->pid,
                .uid = received->uid,
                .gid = UINT32_MAX};
        if (!from_child && !(received->flags & CONFAB_RECEIVED_VALUE))
                return 0;
        len = snprintf(number, sizeof(number), "%" PRId32, from_child ? received->status : received->value);
        memcpy(text, number, (size_t)len);
        return (size_t)len;
}

int confab_signal_read(struct confab_signal_received *received, const struct confab_message *message) {
        int32_t value = 0;
        bool claimed;

        if (!received || received->size < sizeof(*received))
                return cfb_failed_with(-EINVAL, "signal_read", NULL, NULL, "received->size is not set", 0, 0);
        if (!message || !message->peer || message->type < 1 || message->type > SIGRTMAX ||
            (message->data_len && !cfb_signal_number_read(&value, message->data, message->data_len)))
                return cfb_failed_with(-EINVAL, "signal_read", NULL, NULL,
                                       "this message was not received from signal://", 0, 0);
        claimed = !(message->peer->flags & CONFAB_PEER_CREDENTIALS);
        *received = (struct confab_signal_received){.size = sizeof(*received),
                                                    .number = (int32_t)message->type,
                                                    .pid = message->peer->pid,
                                                    .uid = message->peer->uid,
                                                    .flags = claimed ? CONFAB_RECEIVED_CLAIMED : 0};
        if (message->data_len && message->type == SIGCHLD && !claimed) {
                received->status = value;
                received->flags |= CONFAB_RECEIVED_STATUS;
        } else if (message->data_len) {
                received->value = value;
                received->flags |= CONFAB_RECEIVED_VALUE;
        }
        return 0;
}
