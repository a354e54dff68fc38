/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include "base/utf8.h"

unsigned cfb_character_len(const char *text) {
        const unsigned char *p = (const unsigned char *)text;

        if (p[0] < 0x80)
                return 1;
        if (p[0] < 0xC2 || p[0] > 0xF4 || (p[1] & 0xC0) != 0x80)
                return 0;
        if (p[0] < 0xE0)
                return 2;
        if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) || (p[2] & 0xC0) != 0x80)
                return 0;
        if (p[0] < 0xF0)
                return 3;
        if ((p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F) || (p[3] & 0xC0) != 0x80)
                return 0;
        return 4;
}

bool cfb_is_control(const char *text) {
        unsigned char first = (unsigned char)text[0];

        return first < 0x20 || first == 0x7F ||
               (first == 0xC2 && (unsigned char)text[1] >= 0x80 && (unsigned char)text[1] < 0xA0);
}
