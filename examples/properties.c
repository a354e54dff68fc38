/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* A program that asks what mechanisms promise: those that reach other processes of this machine, keep boundaries and lose nothing. */
#include <confab/confab.h>
#include <stdio.h>

int main(int n_arguments, char **arguments) {
        const char *scheme, *summary, *example, *name;
        struct confab_properties properties;
        char value[100];

        /* An address: everything about it. */
        for (int i = 1; i < n_arguments; i++) {
                properties.size = sizeof(properties);
                if (confab_properties(&properties, arguments[i]) < 0) {
                        confab_explain(value, sizeof(value));
                        return fprintf(stderr, "%s\n", value), 1;
                }
                for (unsigned p = 0; confab_property(&properties, p, &name, NULL, value, sizeof(value)) >= 0;
                     p++)
                        printf("%s\t%s\t%s\n", arguments[i], name, value);
        }
        if (n_arguments > 1)
                return 0;

        /* None: which mechanisms do. Where only opening could tell, the default speaks. */
        for (unsigned m = 0; confab_mechanism(m, &scheme, &summary, &example) == 0; m++) {
                properties.size = sizeof(properties);
                if (confab_properties(&properties, example) == 0 && properties.reach != CONFAB_REACH_FAMILY &&
                    properties.boundaries == CONFAB_BOUNDARIES_MESSAGE && properties.loss == CONFAB_LOSS_NONE)
                        printf("%s\t%s\n", scheme, summary);
        }
        return 0;
}
