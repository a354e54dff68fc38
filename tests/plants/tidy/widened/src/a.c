/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
long a(int seconds) {
        return seconds * 1000;
}
