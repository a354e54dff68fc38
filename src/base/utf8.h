/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_BASE_UTF8_H
#define CFB_BASE_UTF8_H
/* Characters of UTF-8, as far as text from outside must be checked before it is shown. */
#include <stdbool.h>

/*
 * The length of the UTF-8 character at @text: 1 to 4; 0 where there is none. Shortest forms only, no surrogates. Looks at no byte behind
 * a NUL. Control characters have a length too.
 */
unsigned cfb_character_len(const char *text);
/* Of a whole character: one of C0, DEL, or C1 (U+0080 to U+009F, which some terminals obey too). */
bool cfb_is_control(const char *text);

#endif
