/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_BASE_SIGNALS_H
#define CFB_BASE_SIGNALS_H
/* What all parts that meet signals have in common: the table, names, what may be done with which. */
#include <confab/signal.h>
#include <signal.h>
#include <stddef.h>

/* A signal as it came, decoded from whichever of the kernel's two forms. */
void cfb_signal_decode(struct confab_signal_received *received, const siginfo_t *info);

/* "SIGINT", "SIGRTMIN+3", "42" where there is none of that number; as snprintf, at most 16 bytes with the NUL. */
void cfb_signal_name(char name[16], int number);

/* The number of @len bytes of @text, which need not end there; -EINVAL, not recorded, for lists inside of addresses. */
int cfb_signal_number_of(const char *text, size_t len);

/* -EINVAL, recorded for @call: programs have no signal @number. 0 is one only where @zero. */
int cfb_signal_check(const char *call, int number, int zero);
/*
 * Also -EINVAL for those that nobody can catch, and -EBUSY for the one that base/nudge.h has taken; with @message also -EINVAL for
 * faults, which cannot wait in a descriptor.
 */
int cfb_signal_check_catch(const char *call, int number, int message);

/* Records and returns @error: a rule, @why in at most 119 bytes, said of @subject as it is. */
int cfb_signal_refuse(int error, const char *call, const char *subject, const char *why);

#endif
