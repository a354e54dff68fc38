/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Addresses: scheme://rest?key=value&key=value, read once into a struct.
 *
 * The text is not trusted: it comes from command lines, configurations and other machines. It is checked as a whole first (length,
 * UTF-8, control characters, percent codes), then cut at "://", '?', '&' and '=', then decoded: so a percent code never makes a
 * separator, and whatever is decoded has been checked already.
 *
 * Rules beyond RFC 3986, each because a typing error must not become another address:
 * - Every printable character but '?' and '%' may stand in rest as itself (exec://ls -l), and every one but '&' and '%' in a value.
 *   '+' is a plus. There are no fragments: '#' is a character like others.
 * - A control character is refused as itself and as a percent code: no address can rewrite a terminal or a log it is shown in.
 *   Other bytes that are not UTF-8 can be given by percent codes, for file names made that way.
 * - A key stands once; unknown keys, empty ones and values that are not wholly understood are refused.
 *
 * The sentences for what is wrong are in address_text.c, the keys and the readers of their values in key.c.
 */
#include "core/address.h"

#include "base/cleanup.h"
#include "base/error.h"
#include "base/memory.h"
#include "core/address_text.h"
#include "core/key.h"
#include "core/transport.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MAX_LEN_DEFAULT  (UINT64_C(16) << 20)
#define BACKLOG_DEFAULT  4096
#define GRACE_DEFAULT_NS (INT64_C(5) * 1000000000)

static int64_t position(const char *text, const char *at) {
        return at - text + 1;
}

static int hex_value(char c) {
        if (cfb_is_digit(c))
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        if (c >= 'A' && c <= 'F')
                return c - 'A' + 10;
        return -1;
}

/* Everything that can be said about the characters alone, so that what comes later may trust them. */
static int check_characters(const char *text) {
        const char *p = text;

        while (*p) {
                unsigned n = cfb_character_len(p);

                if (n == 0)
                        return cfb_refuse_place(
                                text, position(text, p),
                                "that byte is not UTF-8; give other bytes by percent codes, like %E9");
                if (cfb_is_control(p))
                        return cfb_refuse(-EINVAL, text, cfb_explain_control, p, n, position(text, p), 0);
                if (*p == '%') {
                        int high = hex_value(p[1]), low = high < 0 ? -1 : hex_value(p[2]);

                        if (low < 0)
                                return cfb_refuse(-EINVAL, text, cfb_explain_percent, p, strnlen(p, 3),
                                                  position(text, p), 0);
                        n = 3;
                        if (high < 2 || (high == 7 && low == 15))
                                return cfb_refuse(-EINVAL, text, cfb_explain_control, p, n, position(text, p),
                                                  0);
                }
                p += n;
        }
        return 0;
}

/* Decodes @len checked bytes into @to, which has room for them and the NUL. */
static void decode(char *to, const char *from, size_t len) {
        const char *end = from + len;

        while (from < end)
                if (*from == '%') {
                        *to++ = (char)(hex_value(from[1]) * 16 + hex_value(from[2]));
                        from += 3;
                } else {
                        *to++ = *from++;
                }
        *to = '\0';
}

static int read_scheme(struct cfb_address *address, const char *text) {
        size_t len = 0;

        while (cfb_is_alpha(text[len]) ||
               (len && (cfb_is_digit(text[len]) || (text[len] && strchr("+-.", text[len])))))
                len++;
        if (len == 0 || strncmp(text + len, "://", 3) != 0)
                return cfb_refuse(-EINVAL, text, cfb_explain_shape, text,
                                  text[0] == '/' ? strcspn(text, "?") : len, position(text, text + len), 0);
        for (int i = 0; cfb_transports[i]; i++) {
                const char *scheme = cfb_transports[i]->scheme;

                if (strlen(scheme) == len && strncasecmp(scheme, text, len) == 0) {
                        address->transport = cfb_transports[i];
                        address->rest_at = len + 3;
                        return 0;
                }
        }
        return cfb_refuse(-EINVAL, text, cfb_explain_scheme, text, len, 1, 0);
}

/* One "key=value" or "key": @len bytes at @pair. */
static int read_pair(struct cfb_address *address, const char *pair, size_t len, int64_t places[CFB_N_KEYS]) {
        const char *text = address->text, *equals = memchr(pair, '=', len);
        size_t name_len = equals ? (size_t)(equals - pair) : len, value_len = equals ? len - name_len - 1 : 0;
        CFB_CLEANUP(cfb_releasep) char *value = NULL;
        unsigned number = 0;
        int why;

        if (name_len == 0)
                return cfb_refuse_place(text, position(text, pair), "a key is missing");
        while (number < CFB_N_KEYS && !(strncmp(cfb_keys[number].name, pair, name_len) == 0 &&
                                        cfb_keys[number].name[name_len] == '\0'))
                number++;
        if (number == CFB_N_KEYS || !(address->transport->keys >> number & 1))
                return cfb_refuse(number == CFB_N_KEYS ? -EINVAL : -EOPNOTSUPP, text, cfb_explain_key, pair,
                                  name_len, position(text, pair), cfb_transport_number(address->transport));
        if (places[number])
                return cfb_refuse(-EINVAL, text, cfb_explain_twice, pair, name_len, position(text, pair),
                                  places[number]);
        places[number] = position(text, pair);
        if (equals) {
                value = cfb_allocate_untouched(value_len + 1);
                if (!value)
                        return cfb_failed(-ENOMEM, "address", text);
                decode(value, equals + 1, value_len);
        }
        why = !value && !cfb_keys[number].alone ? CFB_NO_VALUE
                                                : cfb_keys[number].read(address, &cfb_keys[number], value);
        if (why < 0)
                return cfb_failed(why, "address", text);
        if (why)
                return cfb_refuse(-EINVAL, text, cfb_explain_value, equals ? equals + 1 : "", value_len,
                                  position(text, equals ? equals + 1 : pair), (int64_t)why << 8 | number);
        address->given |= UINT64_C(1) << number;
        return 0;
}

static int read_keys(struct cfb_address *address, const char *p) {
        int64_t places[CFB_N_KEYS] = {0};

        for (;;) {
                size_t len = strcspn(p, "&");
                int r = read_pair(address, p, len, places);

                if (r < 0)
                        return r;
                if (!p[len])
                        return 0;
                p += len + 1;
        }
}

/* Laying the options over. */

static int refuse_options(const struct cfb_address *address, const char *why) {
        return cfb_refuse_place(address->text, 0, why);
}

static int lay_field(struct cfb_address *address, unsigned number, uint64_t value) {
        char shown[24];
        int n;

        if (!value)
                return 0;
        if (!(address->transport->keys >> number & 1))
                return cfb_refuse(-EOPNOTSUPP, address->text, cfb_explain_key, cfb_keys[number].name,
                                  strlen(cfb_keys[number].name), 0, cfb_transport_number(address->transport));
        if (cfb_key_store(address, &cfb_keys[number], value) != CFB_FINE ||
            (number == CFB_KEY_NUMBER_DIRECTION && value > CONFAB_BOTH)) {
                n = snprintf(shown, sizeof(shown), number == CFB_KEY_NUMBER_MODE ? "0%llo" : "%llu",
                             (unsigned long long)value);
                return cfb_refuse(-EINVAL, address->text, cfb_explain_value, shown, (size_t)n, 0,
                                  CFB_OUT_OF_RANGE << 8 | number);
        }
        address->given |= UINT64_C(1) << number;
        return 0;
}

static int lay_options(struct cfb_address *address, const struct confab_options *options) {
        const struct {
                unsigned number;
                uint64_t value;
        } fields[] = {
                {CFB_KEY_NUMBER_DIRECTION, options->direction}, {CFB_KEY_NUMBER_MODE, options->mode},
                {CFB_KEY_NUMBER_BACKLOG, options->backlog},     {CFB_KEY_NUMBER_MAX, options->max_len},
                {CFB_KEY_NUMBER_CAPACITY, options->capacity},
        };
        const unsigned char *bytes = (const unsigned char *)options;
        int r;

        if (options->flags || options->reserved)
                return refuse_options(address, "flags and reserved must be 0 in struct confab_options");
        /* A program built for a later version may have more fields: fine as long as it does not use them. */
        for (size_t i = sizeof(*options); i < options->size; i++)
                if (bytes[i])
                        return refuse_options(
                                address,
                                "a field is set in struct confab_options that this version does not know");
        for (size_t i = 0; i < CFB_ARRAY_LEN(fields); i++) {
                r = lay_field(address, fields[i].number, fields[i].value);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int read_address(struct cfb_address *address, const char *text, const struct confab_options *options) {
        size_t rest_len;
        int r;

        r = check_characters(text);
        if (r < 0)
                return r;
        r = read_scheme(address, text);
        if (r < 0)
                return r;
        rest_len = strcspn(text + address->rest_at, "?");
        address->text = cfb_copy_text(text);
        address->rest = cfb_allocate_untouched(rest_len + 1);
        if (!address->text || !address->rest)
                return cfb_failed(-ENOMEM, "address", text);
        decode(address->rest, text + address->rest_at, rest_len);
        if (text[address->rest_at + rest_len] == '?') {
                r = read_keys(address, address->text + address->rest_at + rest_len + 1);
                if (r < 0)
                        return r;
        }
        return options ? lay_options(address, options) : 0;
}

int cfb_address_init(struct cfb_address *address, const char *text, const struct confab_options *options) {
        int r;

        *address = (struct cfb_address){
                .mode = 0600,
                .owner = UINT32_MAX,
                .group = UINT32_MAX,
                .max = MAX_LEN_DEFAULT,
                .backlog = BACKLOG_DEFAULT,
                .grace_ns = GRACE_DEFAULT_NS,
        };
        if (!text)
                return cfb_refuse_place("(NULL)", 0, "no address was given");
        if (strnlen(text, CFB_ADDRESS_MAX + 1) > CFB_ADDRESS_MAX)
                return cfb_refuse(-ENAMETOOLONG, text, cfb_explain_length, "", 0, CFB_ADDRESS_MAX + 1, 0);
        if (options && (options->size < sizeof(*options) || options->size > 4096))
                return cfb_refuse_place(text, 0, "size is not set in struct confab_options");
        r = read_address(address, text, options);
        if (r < 0)
                cfb_address_fini(address);
        return r;
}

void cfb_address_fini(struct cfb_address *address) {
        cfb_release(address->text);
        cfb_release(address->rest);
        cfb_release(address->from);
        address->text = address->rest = address->from = NULL;
}

int cfb_address_refuse(const struct cfb_address *address, size_t at, const char *why) {
        const char *p;

        if (!address->text)
                return cfb_refuse_place(address->transport->scheme, 0, why);
        p = address->text + address->rest_at;
        for (; at && *p && *p != '?'; at--)
                p += *p == '%' ? 3 : 1;
        return cfb_refuse(-EINVAL, address->text, cfb_explain_place, why, strlen(why),
                          position(address->text, p), 0);
}
