/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Properties in words: one table row per field names it, says what it means, and lists the words of its values. The manual's table, confab
 * properties and the conformance suite are made from it.
 */
#include "base/cancel.h"
#include "base/cleanup.h"
#include "core/endpoint.h"
#include "core/framed.h"
#include "core/transport.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct row {
        const char *name, *help;
        size_t offset;
        const char *words[4]; /* none: a number */
        bool wide;            /* uint64_t: a size in bytes */
        const char *none;     /* what 0 is called in a number; NULL: "0" */
};

#define FIELD(field) offsetof(struct confab_properties, field)

static const struct row rows[] = {
        {"addressing", "how the other end is named", FIELD(addressing), {NULL}, false, NULL},
        {"reach",
         "how far apart the processes may be",
         FIELD(reach),
         {"family", "machine", "network"},
         false,
         NULL},
        {"connection",
         "whether the ends connect before they talk",
         FIELD(connection),
         {"none", "accepted", "made"},
         false,
         NULL},
        {"direction",
         "which way messages go",
         FIELD(direction),
         {"simplex", "half-duplex", "duplex"},
         false,
         NULL},
        {"boundaries",
         "whether a message arrives as one",
         FIELD(boundaries),
         {"stream", "message"},
         false,
         NULL},
        {"order", "in which order messages arrive", FIELD(order), {"none", "fifo", "priority"}, false, NULL},
        {"loss",
         "whether a sent message can be lost while both sides live",
         FIELD(loss),
         {"none", "possible"},
         false,
         NULL},
        {"when-full",
         "what sending does when nobody receives",
         FIELD(when_full),
         {"wait", "drop"},
         false,
         NULL},
        {"peer-gone",
         "what sending meets when the receiver has gone",
         FIELD(peer_gone),
         {"error", "unnoticed"},
         false,
         NULL},
        {"end",
         "whether the receiver learns that the last sender has gone",
         FIELD(end),
         {"no", "yes"},
         false,
         NULL},
        {"half-close",
         "whether one direction can be closed alone",
         FIELD(half_close),
         {"no", "yes"},
         false,
         NULL},
        {"empty", "whether a message without bytes arrives as one", FIELD(empty), {"no", "yes"}, false, NULL},
        {"descriptors",
         "whether descriptors travel in messages",
         FIELD(descriptors),
         {"no", "yes"},
         false,
         NULL},
        {"credentials",
         "what the kernel says about the sender",
         FIELD(credentials),
         {"none", "connection", "message"},
         false,
         NULL},
        {"reply", "whether a message says to whom an answer goes", FIELD(reply), {"no", "yes"}, false, NULL},
        {"types", "whether messages have types to receive by", FIELD(types), {"no", "yes"}, false, NULL},
        {"priorities", "how many priorities there are", FIELD(priorities), {NULL}, false, "none"},
        {"waiting", "what a program can wait on", FIELD(waiting), {"descriptor", "naps"}, false, NULL},
        {"in-place",
         "whether messages are written and read without a copy",
         FIELD(in_place),
         {"no", "yes"},
         false,
         NULL},
        {"residue",
         "what stays in the system when the owner is killed",
         FIELD(residue),
         {"none", "file", "queue"},
         false,
         NULL},
        {"after-fork", "who may use an inherited end", FIELD(after_fork), {"shared", "owner"}, false, NULL},
        {"message-max", "bytes in the largest message", FIELD(message_max), {NULL}, true, "0"},
        {"atomic-max",
         "bytes of one send that nobody else's get between",
         FIELD(atomic_max),
         {NULL},
         true,
         "none"},
        {"capacity",
         "bytes that fit before a sender waits, in the largest messages",
         FIELD(capacity),
         {NULL},
         true,
         "unknown"},
};

static const char *const addressings[] = {"none", "path", "name", "host-port", "key", "number", "command"};

int confab_property(const struct confab_properties *properties, unsigned index, const char **namep,
                    const char **helpp, char *text, size_t text_cap) {
        const struct row *row = &rows[index];
        const char *word = NULL;
        uint64_t value;
        size_t used = 0;

        if (!properties || properties->size < sizeof(*properties) || (!text && text_cap))
                return cfb_failed(-EINVAL, "property", NULL);
        if (index >= CFB_ARRAY_LEN(rows))
                return -ENOENT; /* the usual end of a list: no failure to explain */
        if (namep)
                *namep = row->name;
        if (helpp)
                *helpp = row->help;
        if (text_cap)
                text[0] = '\0';
        if (row->wide) {
                memcpy(&value, (const char *)properties + row->offset, sizeof(value));
        } else {
                uint32_t narrow;

                memcpy(&narrow, (const char *)properties + row->offset, sizeof(narrow));
                value = narrow;
        }
        if (row->words[0])
                word = value < CFB_ARRAY_LEN(row->words) ? row->words[value] : NULL;
        else if (row->offset == FIELD(addressing))
                word = value < CFB_ARRAY_LEN(addressings) ? addressings[value] : NULL;
        else if (!value)
                word = row->none;
        else if (row->wide && value == UINT64_MAX)
                word = "unlimited";
        if (word)
                cfb_append(text, text_cap, &used, "%s", word);
        else
                cfb_append(text, text_cap, &used, "%" PRIu64, value);
        return (int)used;
}

int confab_properties(struct confab_properties *properties, const char *text) {
        CFB_UNCANCELLED;
        CFB_CLEANUP(cfb_address_fini) struct cfb_address address = {0};
        struct confab_properties found = {.size = sizeof(found)};
        int r;

        if (!properties || properties->size < sizeof(*properties) || !text)
                return cfb_failed_with(-EINVAL, "properties", text, NULL, "properties->size is not set", 0,
                                       0);
        r = cfb_address_read(&address, text, NULL);
        if (r < 0)
                return r;
        address.transport->properties(&found, &address, NULL);
        if (address.frame)
                cfb_framed_properties(&found, address.frame, address.max);
        *properties = found;
        return 0;
}

int confab_endpoint_properties(struct confab_properties *properties, const confab_endpoint *endpoint) {
        if (!properties || properties->size < sizeof(*properties) || !endpoint)
                return cfb_failed_with(-EINVAL, "properties", endpoint ? confab_address(endpoint) : NULL,
                                       NULL, "properties->size is not set", 0, 0);
        *properties = endpoint->properties;
        return 0;
}

int confab_mechanism(unsigned index, const char **schemep, const char **summaryp, const char **examplep) {
        for (unsigned i = 0; cfb_transports[i]; i++)
                if (i == index) {
                        if (schemep)
                                *schemep = cfb_transports[i]->scheme;
                        if (summaryp)
                                *summaryp = cfb_transports[i]->summary;
                        if (examplep)
                                *examplep = cfb_transports[i]->example;
                        return 0;
                }
        return -ENOENT;
}
