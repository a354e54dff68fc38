/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Options and the values of keys. The input: which mechanism, which key, a struct confab_options of any size, then the key's
 * value as it stands in the address.
 */
#include "core/address.h"
#include "core/key.h"

#include "base/error.h"
#include "fuzz.h"
#include "mechanisms.h"

#include <errno.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len) {
        struct confab_options options, *placed = NULL;
        struct cfb_address address;
        char *text, sentence[4096];
        uint32_t size;
        size_t cap;
        int r;

        if (data_len < 2 + sizeof(options))
                return 0;
        memcpy(&options, data + 2, sizeof(options));
        /* The struct must have the bytes it says, as a caller's has; sizes nobody has are refused before they are looked at. */
        size = options.size;
        cap = size > sizeof(options) && size <= 4096 ? size : sizeof(options);
        placed = calloc(1, cap);
        must(placed);
        memcpy(placed, &options, sizeof(options));
        if (cap > sizeof(options) && (data[0] & 0x80))
                ((unsigned char *)placed)[cap - 1] = data[1];

        cap = 64 + data_len;
        text = malloc(cap);
        must(text);
        if (data[0] & 0x40)
                snprintf(text, cap, "%s://", cfb_transports[(data[0] & 0x3F) % 3]->scheme);
        else
                snprintf(text, cap, "every://?%s=%.*s", cfb_keys[data[1] % CFB_N_KEYS].name,
                         (int)(data_len - 2 - sizeof(options)), (const char *)data + 2 + sizeof(options));

        r = cfb_address_init(&address, text, placed);
        must(r == 0 || r == -EINVAL || r == -EOPNOTSUPP || r == -ENAMETOOLONG);
        if (r < 0) {
                size_t len = confab_explain(sentence, sizeof(sentence));

                must(len > 0 && len < sizeof(sentence) && !address.text);
        } else {
                must(size >= sizeof(options) && size <= 4096 && !options.flags && !options.reserved);
                must(!options.mode || address.mode == options.mode);
                must(!options.max_len || address.max == options.max_len);
                must(!options.capacity || address.capacity == options.capacity);
                must(!options.backlog || address.backlog == options.backlog);
                must(!options.direction || address.direction == options.direction);
                must(address.mode <= 0777 && address.max > 0 && address.max <= UINT64_C(1) << 40);
                must(address.backlog >= 1 && address.backlog <= 65535 && address.direction <= CONFAB_BOTH);
                must(address.poll_ns >= 0 && address.grace_ns >= 0);
        }
        cfb_address_fini(&address);
        free(text);
        free(placed);
        return 0;
}
