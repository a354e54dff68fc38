/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include "not_there.h"
