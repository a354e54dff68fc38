/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * What each mechanism itself reads: host and port, names, paths, keys, numbers behind "://", and the peers a program hands back. Nothing is
 * opened. The input: which mechanism, then the rest of an address with its keys; or, highest bit of the first byte set, a struct confab_peer.
 */
#include <confab/confab.h>

#include "fuzz.h"

#include <string.h>

static void read_peer(const uint8_t *data, size_t data_len) {
        struct confab_peer peer = {0};
        char text[600], again[600]; /* an abstract name of 107 bytes, each a percent code */
        size_t len;

        memcpy(&peer, data, data_len < sizeof(peer) ? data_len : sizeof(peer));
        peer.size = sizeof(peer);
        len = confab_peer_address(&peer, text, sizeof(text));
        must(len == 0 || (len < sizeof(text) && strlen(text) == len));
        must(confab_peer_address(&peer, NULL, 0) == len);
        for (size_t i = 0; i < len; i++)
                must((unsigned char)text[i] >= 0x20 && text[i] != 0x7F);
        must(confab_peer_address(&peer, again, len) == len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len) {
        struct confab_properties properties = {.size = sizeof(properties)};
        const char *scheme = NULL;
        unsigned n = 0;
        char *text, sentence[4096];
        int r;

        if (data_len < 1)
                return 0;
        if (data[0] & 0x80) {
                read_peer(data + 1, data_len - 1);
                return 0;
        }
        while (confab_mechanism(n, NULL, NULL, NULL) == 0)
                n++;
        must(n > 0 && confab_mechanism(data[0] % n, &scheme, NULL, NULL) == 0);
        must(asprintf(&text, "%s://%.*s", scheme, (int)data_len - 1, (const char *)data + 1) >= 0);
        r = confab_properties(&properties, text);
        must(r <= 0);
        if (r < 0) {
                size_t len = confab_explain(sentence, sizeof(sentence));

                must(len > 0 && len < sizeof(sentence));
        } else {
                const char *name;

                for (unsigned i = 0;
                     confab_property(&properties, i, &name, NULL, sentence, sizeof(sentence)) >= 0; i++)
                        must(name[0] && sentence[0]);
        }
        free(text);
        return 0;
}
