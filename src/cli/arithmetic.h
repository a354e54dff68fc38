/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CLI_ARITHMETIC_H
#define CLI_ARITHMETIC_H
/*
 * The little of libm that confab demo needs. Loading libm and libnettle is a tenth of what the command costs to start, whatever it then does: so this
 * is written out, and nettle is linked statically where it can be. Good to nine digits.
 */

static inline double cli_least(double a, double b) {
        return a < b ? a : b;
}

static inline double cli_most(double a, double b) {
        return a > b ? a : b;
}

/* 2 atanh((x - 1) / (x + 1)) is the logarithm; near 1 its series needs a few terms only. */
static inline double cli_log2(double x) {
        double whole = 0, y, power, sum = 0;

        if (!(x >= 1e-300 && x <= 1e300)) /* nothing measured is; and the loops end */
                return x > 1 ? 1000 : -1000;
        while (x > 1.5) {
                x /= 2;
                whole++;
        }
        while (x < 0.75) {
                x *= 2;
                whole--;
        }
        y = (x - 1) / (x + 1);
        power = y;
        for (int i = 1; i < 30; i += 2) {
                sum += power / i;
                power *= y * y;
        }
        return whole + 2 * sum / 0.69314718055994530942;
}

/* The powers of ten just below @x and just above it; @x itself where it is one. */
static inline double cli_decade_below(double x) {
        double decade = 1;

        while (decade * 10 <= x && decade < 1e300)
                decade *= 10;
        while (decade > x && decade > 1e-300)
                decade /= 10;
        return decade;
}

static inline double cli_decade_above(double x) {
        double decade = cli_decade_below(x);

        return decade < x ? decade * 10 : decade;
}

/* Newton's, from above: it cannot overshoot. */
static inline double cli_cube_root(double x) {
        double root = x > 1 ? x : 1, next;

        if (x <= 0)
                return 0;
        while ((next = (2 * root + x / (root * root)) / 3) < root)
                root = next;
        return root;
}

#endif
