/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* The keys as man/confab-address.7.scd has them, from the table the reader uses. tests/manual_keys.sh compares. */
#include "core/key.h"
#include "core/transport.h"

#include <stdio.h>

int main(void) {
        for (unsigned i = 0; i < CFB_N_KEYS; i++) {
                bool any = false;

                printf("*%s=* %s\n\t%c%s. ", cfb_keys[i].name, cfb_keys[i].values,
                       cfb_keys[i].help[0] -
                               (cfb_keys[i].help[0] >= 'a' && cfb_keys[i].help[0] <= 'z' ? 32 : 0),
                       cfb_keys[i].help + 1);
                for (int j = 0; cfb_transports[j]; j++)
                        if (cfb_transports[j]->keys >> i & 1) {
                                printf("%s%s", any ? ", " : "For ", cfb_transports[j]->scheme);
                                any = true;
                        }
                printf("%s.\n\n", any ? "" : "For no mechanism yet");
        }
        return 0;
}
