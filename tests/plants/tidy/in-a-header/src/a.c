/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include "a.h"

int a(int second) {
        return second;
}
