/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Addresses as people see them: which characters may be shown, percent-encoding, and the sentences for what is wrong.
 *
 * Only positions (in bytes of the text, from 1) and numbers of keys and mechanisms are recorded when an address is refused; the lists in
 * the sentences are made when somebody asks. A program that probes addresses pays for none of them.
 */
#include "core/address_text.h"

#include "core/key.h"
#include "core/transport.h"

#include <errno.h>
#include <string.h>

/* Writing: what is shown of an address in sentences, and percent-encoding. */

static void put(char *text, size_t text_cap, size_t *used, char c) {
        if (*used + 1 < text_cap) {
                text[*used] = c;
                text[*used + 1] = '\0';
        }
        (*used)++;
}

static void put_code(char *text, size_t text_cap, size_t *used, unsigned char byte) {
        static const char digits[] = "0123456789ABCDEF";

        put(text, text_cap, used, '%');
        put(text, text_cap, used, digits[byte >> 4]);
        put(text, text_cap, used, digits[byte & 15]);
}

void cfb_address_encode(char *text, size_t text_cap, size_t *used, const char *raw, size_t raw_len) {
        for (size_t i = 0; i < raw_len; i++)
                if (cfb_is_alpha(raw[i]) || cfb_is_digit(raw[i]) || (raw[i] && strchr("-._~/:@[],", raw[i])))
                        put(text, text_cap, used, raw[i]);
                else
                        put_code(text, text_cap, used, (unsigned char)raw[i]);
}

/* @len bytes of @from as they can be shown: what is no printable character becomes a percent code; cut to a whole one. */
static void show(char *text, size_t text_cap, const char *from, size_t len) {
        size_t used = 0;

        text[0] = '\0';
        for (size_t i = 0; i < len;) {
                unsigned n = cfb_character_len(from + i);

                if (n == 0 || n > len - i || cfb_is_control(from + i)) {
                        if (used + 4 > text_cap)
                                return;
                        put_code(text, text_cap, &used, (unsigned char)from[i]);
                        i++;
                        continue;
                }
                if (used + n + 1 > text_cap)
                        return;
                while (n--)
                        put(text, text_cap, &used, from[i++]);
        }
}

/* Failures: recorded as numbers, put into words on request. */

int64_t cfb_transport_number(const struct cfb_transport *transport) {
        for (int i = 0; cfb_transports[i]; i++)
                if (cfb_transports[i] == transport)
                        return i;
        return -1;
}

static void begin_sentence(const struct cfb_failure *failure, char *text, size_t text_cap, size_t *used) {
        if (text_cap)
                text[0] = '\0';
        cfb_append(text, text_cap, used, "%s: ", failure->subject);
}

/* Whether @a becomes @b by at most @changes letters changed, added, left out or exchanged: close enough to ask if it was meant. */
static bool is_near(const char *a, const char *b, unsigned changes) {
        while (*a && *a == *b) {
                a++;
                b++;
        }
        if (!*a && !*b)
                return true;
        if (changes == 0)
                return false;
        if (*a && *b && a[1] && a[0] == b[1] && a[1] == b[0] && is_near(a + 2, b + 2, changes - 1))
                return true;
        return (*a && *b && is_near(a + 1, b + 1, changes - 1)) || (*a && is_near(a + 1, b, changes - 1)) ||
               (*b && is_near(a, b + 1, changes - 1));
}

static unsigned changes_allowed(const char *word) {
        return strlen(word) < 3 ? 0 : strlen(word) < 5 ? 1 : 2;
}

static void append_schemes(const char *word, char *text, size_t text_cap, size_t *used) {
        for (int i = 0; cfb_transports[i]; i++)
                if (is_near(word, cfb_transports[i]->scheme, changes_allowed(word))) {
                        cfb_append(text, text_cap, used, "; perhaps %s:// is meant",
                                   cfb_transports[i]->scheme);
                        break;
                }
        cfb_append(text, text_cap, used, "; there are");
        for (int i = 0; cfb_transports[i]; i++)
                cfb_append(text, text_cap, used, "%s %s", i ? "," : "", cfb_transports[i]->scheme);
}

static void append_keys(const struct cfb_transport *transport, const char *word, char *text, size_t text_cap,
                        size_t *used) {
        bool any = false;

        for (unsigned i = 0; i < CFB_N_KEYS; i++)
                if ((transport->keys >> i & 1) && is_near(word, cfb_keys[i].name, changes_allowed(word))) {
                        cfb_append(text, text_cap, used, "; perhaps %s= is meant", cfb_keys[i].name);
                        break;
                }
        for (unsigned i = 0; i < CFB_N_KEYS; i++)
                if (transport->keys >> i & 1) {
                        cfb_append(text, text_cap, used, any ? ", %s" : "; it has %s", cfb_keys[i].name);
                        any = true;
                }
        if (!any)
                cfb_append(text, text_cap, used, "; it has no keys");
}

size_t cfb_explain_place(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        begin_sentence(failure, text, text_cap, &used);
        cfb_append(text, text_cap, &used, "%s", failure->detail);
        if (failure->a)
                cfb_append(text, text_cap, &used, " (position %lld)", (long long)failure->a);
        return used;
}

size_t cfb_explain_control(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        begin_sentence(failure, text, text_cap, &used);
        cfb_append(text, text_cap, &used,
                   "%s at position %lld is a control character; no address may hold one, encoded or not",
                   failure->detail, (long long)failure->a);
        return used;
}

size_t cfb_explain_percent(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        begin_sentence(failure, text, text_cap, &used);
        cfb_append(text, text_cap, &used,
                   "'%s' at position %lld is no percent code; write %% and two hexadecimal digits, %%25 for "
                   "the sign itself",
                   failure->detail, (long long)failure->a);
        return used;
}

size_t cfb_explain_shape(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        begin_sentence(failure, text, text_cap, &used);
        cfb_append(text, text_cap, &used,
                   "at position %lld, '://' was expected after the name of a mechanism",
                   (long long)failure->a);
        if (failure->detail[0] == '/')
                cfb_append(text, text_cap, &used,
                           "; a path alone is no address: write unix://%s or fifo://%s", failure->detail,
                           failure->detail);
        append_schemes(failure->detail, text, text_cap, &used);
        return used;
}

size_t cfb_explain_scheme(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        begin_sentence(failure, text, text_cap, &used);
        cfb_append(text, text_cap, &used, "there is no mechanism '%s' (position %lld)", failure->detail,
                   (long long)failure->a);
        append_schemes(failure->detail, text, text_cap, &used);
        return used;
}

size_t cfb_explain_key(const struct cfb_failure *failure, char *text, size_t text_cap) {
        const struct cfb_transport *transport = cfb_transports[failure->b];
        size_t used = 0;

        begin_sentence(failure, text, text_cap, &used);
        if (!failure->a)
                cfb_append(text, text_cap, &used, "%s:// does not have %s=, given by the options",
                           transport->scheme, failure->detail);
        else if (failure->error == -EOPNOTSUPP)
                cfb_append(text, text_cap, &used, "%s:// does not have the key '%s' (position %lld)",
                           transport->scheme, failure->detail, (long long)failure->a);
        else
                cfb_append(text, text_cap, &used, "there is no key '%s' (position %lld) for %s://",
                           failure->detail, (long long)failure->a, transport->scheme);
        append_keys(transport, failure->error == -EOPNOTSUPP ? "" : failure->detail, text, text_cap, &used);
        return used;
}

size_t cfb_explain_value(const struct cfb_failure *failure, char *text, size_t text_cap) {
        const struct cfb_key *key = &cfb_keys[failure->b & 0xFF];
        size_t used = 0;

        begin_sentence(failure, text, text_cap, &used);
        if (failure->a)
                cfb_append(text, text_cap, &used, "%s=%s (position %lld): ", key->name, failure->detail,
                           (long long)failure->a);
        else
                cfb_append(text, text_cap, &used, "%s= is %s in the options: ", key->name, failure->detail);
        cfb_append(text, text_cap, &used, "%s; %s= takes: %s", cfb_whys[failure->b >> 8], key->name,
                   key->values);
        return used;
}

size_t cfb_explain_twice(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        begin_sentence(failure, text, text_cap, &used);
        cfb_append(text, text_cap, &used,
                   "the key '%s' at position %lld stands at position %lld already; leave one out",
                   failure->detail, (long long)failure->a, (long long)failure->b);
        return used;
}

size_t cfb_explain_length(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        begin_sentence(failure, text, text_cap, &used);
        cfb_append(text, text_cap, &used, "the address is longer than %d bytes (position %lld)",
                   CFB_ADDRESS_MAX, (long long)failure->a);
        return used;
}

/* detail: what; b: number of the mechanism. */
static size_t explain_unsupported(const struct cfb_failure *failure, char *text, size_t text_cap) {
        const struct cfb_transport *transport = failure->b >= 0 ? cfb_transports[failure->b] : NULL;
        size_t used = 0;

        begin_sentence(failure, text, text_cap, &used);
        cfb_append(text, text_cap, &used, "%s: %s:// does not have %s", failure->call,
                   transport ? transport->scheme : "this mechanism", failure->detail);
        if (transport)
                cfb_append(text, text_cap, &used, "; confab-%s(7) says what it has", transport->scheme);
        return used;
}

int cfb_refuse(int error, const char *text, cfb_explainer *explain, const char *from, size_t len, int64_t a,
               int64_t b) {
        char subject[sizeof(((struct cfb_failure *)NULL)->subject)],
                detail[sizeof(((struct cfb_failure *)NULL)->detail)];

        show(subject, sizeof(subject), text, strnlen(text, sizeof(subject)));
        show(detail, sizeof(detail), from, len);
        return cfb_failed_with(error, "address", subject, explain, detail, a, b);
}

int cfb_refuse_place(const char *text, int64_t position, const char *why) {
        return cfb_refuse(-EINVAL, text, cfb_explain_place, why, strlen(why), position, 0);
}

void cfb_record_unsupported(const struct cfb_address *address, const char *call, const char *what) {
        const char *text = address->text ? address->text : address->transport->scheme;

        (void)cfb_refuse(-EOPNOTSUPP, text, explain_unsupported, what, strlen(what), 0,
                         cfb_transport_number(address->transport));
        cfb_last_failure()->call = call;
}
