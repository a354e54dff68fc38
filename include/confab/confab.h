/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CONFAB_CONFAB_H
#define CONFAB_CONFAB_H
/* All of confab: include this one. */
#include <confab/endpoint.h>
#include <confab/loop.h>
#include <confab/message.h>
#include <confab/process.h>
#include <confab/service.h>
#include <confab/signal.h>
#include <confab/sync.h>
#include <confab/transfer.h>
#include <confab/types.h>
#endif
