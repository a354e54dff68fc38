/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* The pause before sleeping: as long as said, not where it cannot help, and given up where it does not. */
#include "base/pause.h"
#include "harness.h"

#include <confab/types.h>

enum { SLEPT_NS = CFB_PAUSE_NS + CFB_PAUSE_AWAKE_NS };

TEST(it_lasts) {
        struct cfb_pause pause = {0};
        int64_t before_ns = confab_now(), begin_ns = cfb_pause(&pause, CONFAB_FOREVER);

        check(begin_ns >= before_ns);
        check(confab_now() >= begin_ns + CFB_PAUSE_NS);
}

TEST(a_deadline_is_not_overslept) {
        struct cfb_pause pause = {0};

        check_eq(cfb_pause(&pause, confab_now() + CFB_PAUSE_NS - 1), 0);
        check_eq(cfb_pause(&pause, CONFAB_NOW), 0);
        check_eq(pause.left_out, 0);
}

/* How many waits go without a pause before one has it again. */
static unsigned without(struct cfb_pause *pause) {
        unsigned n = 0;

        for (; pause->left_out; n++)
                check_eq(cfb_pause(pause, CONFAB_FOREVER), 0);
        return n;
}

TEST(fruitless_ones_become_rare) {
        struct cfb_pause pause = {0};
        unsigned expected = 1;

        for (int i = 0; i < 12; i++) {
                cfb_pause_judge(&pause, 1, 1 + SLEPT_NS);
                check_eq(without(&pause), expected);
                expected = expected < CFB_PAUSE_LEAVES_OUT / 2 ? expected * 2 + 1 : CFB_PAUSE_LEAVES_OUT - 1;
        }
        check_eq(expected, CFB_PAUSE_LEAVES_OUT - 1);
}

TEST(a_good_one_is_repeated) {
        struct cfb_pause pause = {0};

        for (int i = 0; i < 12; i++) {
                cfb_pause_judge(&pause, 1, 1 + SLEPT_NS);
                without(&pause);
        }
        cfb_pause_judge(&pause, 1, SLEPT_NS);
        check_eq(without(&pause), 0);
        cfb_pause_judge(&pause, 1, 1 + SLEPT_NS);
        check_eq(without(&pause), 1);
}
