/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_PROCESS_SIGNAL_SEND_H
#define CFB_PROCESS_SIGNAL_SEND_H
/* Sending signals in single steps: confab_signal_send and signal:// are made of these. */
#include <stdbool.h>
#include <stdint.h>

/* A pidfd of @pid (> 0), or -errno with the failure recorded for @call about @subject. */
int cfb_signal_open(const char *call, const char *subject, int32_t pid);

/* To the process behind @pidfd, with @value if it is not NULL. 0 or -errno, nothing recorded. */
int cfb_signal_step(int pidfd, int number, const int32_t *value);
/* To the group @group (> 1). */
int cfb_signal_group_step(int32_t group, int number);

/* Records @error (a step's, -ETIMEDOUT after its -EAGAIN, -ENOENT or -EPIPE for its -ESRCH) of sending to @pid, or to the group -@pid; returns it. */
int cfb_signal_failed(int error, const char *call, const char *subject, int32_t pid);

/* Whether the limit of @pid leaves room for one more signal; true where that cannot be seen. */
bool cfb_signal_has_room(int32_t pid);

/* The process behind @pidfd, 0: it has been waited for, or is not visible from here. */
int32_t cfb_signal_pid_of(int pidfd);

#endif
