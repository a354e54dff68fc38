/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CLI_MECHANISMS_H
#define CLI_MECHANISMS_H
/* Which mechanisms bench and demo take where none is named. */
#include "command.h"
#include "measure.h"

/* Number @index of those in this build, as an address with a temporary name: "unix://?type=seqpacket". NULL past the last. */
const char *mechanisms_address(unsigned index);
/* A short name for tables and plots: "unix seqpacket". */
const char *mechanisms_name(const char *address, char *name, size_t name_cap);
/* near and far on the first two processors this process may use; on one both may run where they like. */
void mechanisms_pin(struct measure_job *job);

#endif
