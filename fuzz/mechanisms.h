/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CONFAB_FUZZ_MECHANISMS_H
#define CONFAB_FUZZ_MECHANISMS_H
/* The table of mechanisms for targets that read addresses: every key is reachable, and nothing depends on what is built in. */
#include "core/transport.h"

static const struct cfb_transport every = {.scheme = "every", .keys = (UINT64_C(1) << CFB_N_KEYS) - 1};
static const struct cfb_transport none = {.scheme = "none"};
static const struct cfb_transport some = {.scheme = "some-2.x+y", .keys = CFB_KEY(MAX) | CFB_KEY(FRAME)};
const struct cfb_transport *const cfb_transports[] = {&every, &none, &some, NULL};

#endif
