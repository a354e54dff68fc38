/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CONFAB_FUZZ_H
#define CONFAB_FUZZ_H
/*
 * A fuzz target is one function that is fed bytes; whatever they are, it must return 0. libFuzzer drives it in ./run fuzz, and
 * replay.c feeds it the kept inputs in ./run check.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len);

/* An assertion that is there in every build. */
#define must(expr)                                                                              \
        do {                                                                                    \
                if (!(expr)) {                                                                  \
                        fprintf(stderr, "%s:%d: must(%s) failed\n", __FILE__, __LINE__, #expr); \
                        abort();                                                                \
                }                                                                               \
        } while (0)

#endif
