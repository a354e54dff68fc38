/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* Any text as an address: read or refused in a sentence that can be shown; what is read survives being written again. */
#include "core/address.h"

#include "base/error.h"
#include "fuzz.h"
#include "mechanisms.h"

#include <errno.h>
#include <string.h>

/* Also cut anywhere: what explainers write must stay within what they are given. */
static void explain(size_t cap) {
        char whole[4096], *cut = malloc(cap ? cap : 1);
        size_t len = confab_explain(whole, sizeof(whole));

        must(len > 0 && len < sizeof(whole) && strlen(whole) == len);
        for (size_t i = 0; i < len; i++)
                must((unsigned char)whole[i] >= 0x20 && whole[i] != 0x7F);
        must(cut);
        must(confab_explain(cut, cap) == len);
        must(!cap || strlen(cut) < cap);
        free(cut);
}

static void check_read(const struct cfb_address *address, size_t place) {
        char again[3 * CFB_ADDRESS_MAX + 16] = "every://";
        struct cfb_address other;
        size_t used = 8;
        int r;

        for (const char *p = address->rest; *p; p++)
                must((unsigned char)*p >= 0x20 && *p != 0x7F);
        must(address->mode <= 0777 && address->max > 0 && address->direction <= CONFAB_BOTH);
        must(!(address->given & ~address->transport->keys));
        cfb_address_encode(again, sizeof(again), &used, address->rest, strlen(address->rest));
        must(used < sizeof(again) && strlen(again) == used);
        r = cfb_address_init(&other, again, NULL);
        must(r == (used > CFB_ADDRESS_MAX ? -ENAMETOOLONG : 0));
        if (r == 0)
                must(strcmp(other.rest, address->rest) == 0 && !other.given);
        cfb_address_fini(&other);

        must(cfb_address_refuse(address, place, "no") == -EINVAL);
        explain(place);
        must(cfb_unsupported(address, "send", "that") == -EOPNOTSUPP);
        explain(place);
}

/* The keys as they are told, of whatever mechanism is named. */
static void list_keys(const char *scheme) {
        const char *name, *values, *help;
        unsigned n = 0;
        int r;

        while ((r = confab_key(scheme, n, &name, &values, &help)) == 0) {
                must(name[0] && values[0] && help[0]);
                n++;
        }
        must(n <= CFB_N_KEYS && (r == -ENOENT || (r == -EINVAL && n == 0)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len) {
        char *text = malloc(data_len + 1);
        struct cfb_address address;
        int r;

        must(text);
        memcpy(text, data, data_len);
        text[data_len] = '\0';
        r = cfb_address_init(&address, text, NULL);
        must(r == 0 || r == -EINVAL || r == -EOPNOTSUPP || r == -ENAMETOOLONG);
        if (r < 0) {
                must(!address.text && !address.rest && !address.from);
                explain(data_len);
        } else {
                check_read(&address, data_len ? data[data_len - 1] : 0);
        }
        cfb_address_fini(&address);
        text[strcspn(text, ":")] = '\0';
        list_keys(text);
        free(text);
        return 0;
}
