/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include <confab/types.h>

#define TEXT_OF(value) #value
#define TEXT(value)    TEXT_OF(value)

const char *confab_version(void) {
        return TEXT(CONFAB_VERSION_MAJOR) "." TEXT(CONFAB_VERSION_MINOR) "." TEXT(CONFAB_VERSION_PATCH);
}
