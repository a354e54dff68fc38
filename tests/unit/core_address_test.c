/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Addresses: what is taken, what is refused and in which words (FAULTS row 20 for names), against a table of mechanisms of the test's
 * own, so that a mechanism's change of keys does not change what is tested here.
 */
#include "core/address.h"

#include "base/error.h"
#include "core/key.h"
#include "core/transport.h"
#include "guarded.h"
#include "harness.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static const struct cfb_transport every = {.scheme = "every", .keys = (UINT64_C(1) << CFB_N_KEYS) - 1};
static const struct cfb_transport none = {.scheme = "none"};
static const struct cfb_transport some = {.scheme = "some-2.x+y", .keys = CFB_KEY(MAX) | CFB_KEY(FRAME)};
const struct cfb_transport *const cfb_transports[] = {&every, &none, &some, NULL};

static uint64_t field(const struct cfb_address *address, unsigned number) {
        const struct cfb_key *key = &cfb_keys[number];
        const unsigned char *at = (const unsigned char *)address + key->at;
        uint64_t value;
        uint32_t word;

        if (key->len == 1)
                return *at;
        if (key->len == sizeof(word)) {
                memcpy(&word, at, sizeof(word));
                return word;
        }
        memcpy(&value, at, sizeof(value));
        return value;
}

static const struct good {
        const char *text, *rest;
        int number; /* of the one key that is given; -1: none */
        uint64_t value;
} goods[] = {
        {"every://", "", -1, 0},
        {"none://", "", -1, 0},
        {"EVERY://x", "x", -1, 0},
        {"some-2.x+y://a:b@c/d", "a:b@c/d", -1, 0},
        {"every:///tmp/a", "/tmp/a", -1, 0},
        {"every://%2Ftmp%2fa%20b", "/tmp/a b", -1, 0},
        {"every://a b+c#d", "a b+c#d", -1, 0},
        {"every://%3Fmode=1%26", "?mode=1&", -1, 0},
        {"every://%25%32%35", "%25", -1, 0},
        {"every://%ff%80", "\xff\x80", -1, 0},
        {"every://\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", -1, 0},
        {"every://[::1]:80", "[::1]:80", -1, 0},
        {"every://a://b", "a://b", -1, 0},
        {"every://x&y=z", "x&y=z", -1, 0},
        {"every://..", "..", -1, 0},
        {"every:////..//.", "//..//.", -1, 0},
        {"every://name...", "name...", -1, 0},
        {"every://x?frame=none", "x", CFB_KEY_NUMBER_FRAME, CFB_FRAME_NONE},
        {"every://x?frame=line", "x", CFB_KEY_NUMBER_FRAME, CFB_FRAME_LINE},
        {"every://x?frame=r%65cord", "x", CFB_KEY_NUMBER_FRAME, CFB_FRAME_RECORD},
        {"every://x?mode=0", "x", CFB_KEY_NUMBER_MODE, 0},
        {"every://x?mode=640", "x", CFB_KEY_NUMBER_MODE, 0640},
        {"every://x?mode=0777", "x", CFB_KEY_NUMBER_MODE, 0777},
        {"every://x?owner=root", "x", CFB_KEY_NUMBER_OWNER, 0},
        {"every://x?owner=4294967294", "x", CFB_KEY_NUMBER_OWNER, 4294967294},
        {"every://x?group=root", "x", CFB_KEY_NUMBER_GROUP, 0},
        {"every://x?group=12", "x", CFB_KEY_NUMBER_GROUP, 12},
        {"every://x?capacity=1", "x", CFB_KEY_NUMBER_CAPACITY, 1},
        {"every://x?capacity=64k", "x", CFB_KEY_NUMBER_CAPACITY, 65536},
        {"every://x?capacity=64K", "x", CFB_KEY_NUMBER_CAPACITY, 65536},
        {"every://x?capacity=64KiB", "x", CFB_KEY_NUMBER_CAPACITY, 65536},
        {"every://x?capacity=64kB", "x", CFB_KEY_NUMBER_CAPACITY, 64000},
        {"every://x?max=16MiB", "x", CFB_KEY_NUMBER_MAX, 16 << 20},
        {"every://x?max=2MB", "x", CFB_KEY_NUMBER_MAX, 2000000},
        {"every://x?max=1G", "x", CFB_KEY_NUMBER_MAX, 1 << 30},
        {"every://x?max=1GB", "x", CFB_KEY_NUMBER_MAX, 1000000000},
#if SIZE_MAX > 0xFFFFFFFF
        {"every://x?max=1T", "x", CFB_KEY_NUMBER_MAX, UINT64_C(1) << 40},
        {"every://x?max=1TB", "x", CFB_KEY_NUMBER_MAX, UINT64_C(1000000000000)},
#endif
        {"every://x?max=00001", "x", CFB_KEY_NUMBER_MAX, 1},
        {"every://x?direction=both", "x", CFB_KEY_NUMBER_DIRECTION, CONFAB_BOTH},
        {"every://x?direction=send", "x", CFB_KEY_NUMBER_DIRECTION, CONFAB_SEND},
        {"every://x?direction=receive", "x", CFB_KEY_NUMBER_DIRECTION, CONFAB_RECEIVE},
        {"every://x?lifetime=creator", "x", CFB_KEY_NUMBER_LIFETIME, CFB_LIFETIME_CREATOR},
        {"every://x?lifetime=persistent", "x", CFB_KEY_NUMBER_LIFETIME, CFB_LIFETIME_PERSISTENT},
        {"every://x?backlog=1", "x", CFB_KEY_NUMBER_BACKLOG, 1},
        {"every://x?backlog=65535", "x", CFB_KEY_NUMBER_BACKLOG, 65535},
        {"every://x?type=stream", "x", CFB_KEY_NUMBER_TYPE, SOCK_STREAM},
        {"every://x?type=seqpacket", "x", CFB_KEY_NUMBER_TYPE, SOCK_SEQPACKET},
        {"every://x?type=datagram", "x", CFB_KEY_NUMBER_TYPE, SOCK_DGRAM},
        {"every://x?duplex", "x", CFB_KEY_NUMBER_DUPLEX, 1},
        {"every://?duplex=yes", "", CFB_KEY_NUMBER_DUPLEX, 1},
        {"every://x?duplex=no", "x", CFB_KEY_NUMBER_DUPLEX, 0},
        {"every://x?take", "x", CFB_KEY_NUMBER_TAKE, 1},
        {"every://x?take=0", "x", CFB_KEY_NUMBER_TAKE, 0},
        {"every://x?poll=5", "x", CFB_KEY_NUMBER_POLL, 5000000},
        {"every://x?poll=100us", "x", CFB_KEY_NUMBER_POLL, 100000},
        {"every://x?poll=20ms", "x", CFB_KEY_NUMBER_POLL, 20000000},
        {"every://x?poll=1h", "x", CFB_KEY_NUMBER_POLL, UINT64_C(3600000000000)},
        {"every://x?from=%2Ftmp%2fx", "x", CFB_KEY_NUMBER_FROM, 0},
        {"every://x?from=a=b?c", "x", CFB_KEY_NUMBER_FROM, 0},
        {"every://x?family=4", "x", CFB_KEY_NUMBER_FAMILY, AF_INET},
        {"every://x?family=6", "x", CFB_KEY_NUMBER_FAMILY, AF_INET6},
        {"every://x?family=any", "x", CFB_KEY_NUMBER_FAMILY, AF_UNSPEC},
        {"every://x?grace=0", "x", CFB_KEY_NUMBER_GRACE, 0},
        {"every://x?grace=1500ns", "x", CFB_KEY_NUMBER_GRACE, 1500},
        {"every://x?grace=2min", "x", CFB_KEY_NUMBER_GRACE, UINT64_C(120000000000)},
        {"every://x?message-size=8192", "x", CFB_KEY_NUMBER_MESSAGE_SIZE, 8192},
};

static const struct bad {
        const char *text;
        int error;
        int position;      /* in bytes from 1; 0: the failure has none */
        const char *words; /* that the sentence must hold */
} bads[] = {
        {"", -EINVAL, 1, "'://' was expected"},
        {"x", -EINVAL, 2, "'://' was expected"},
        {"://", -EINVAL, 1, "there are every, none, some-2.x+y"},
        {"every:", -EINVAL, 6, "perhaps every:// is meant"},
        {"every:/x", -EINVAL, 6, "'://' was expected"},
        {"every//x", -EINVAL, 6, "'://' was expected"},
        {"/tmp/x", -EINVAL, 1, "write unix:///tmp/x or fifo:///tmp/x"},
        {" every://x", -EINVAL, 1, "'://' was expected"},
        {"2every://x", -EINVAL, 1, "'://' was expected"},
        {"ev%65ry://x", -EINVAL, 3, "'://' was expected"},
        {"evry://x", -EINVAL, 1, "there is no mechanism 'evry'"},
        {"evry://x", -EINVAL, 1, "perhaps every:// is meant"},
        {"evrey://x", -EINVAL, 1, "perhaps every:// is meant"},
        {"tcp2://x", -EINVAL, 1, "there are every, none, some-2.x+y"},
        {"everything://x", -EINVAL, 1, "there is no mechanism 'everything' (position 1); there are"},
        {"every://a%", -EINVAL, 10, "'%' at position 10 is no percent code"},
        {"every://a%4", -EINVAL, 10, "'%4' at position 10"},
        {"every://a%4g", -EINVAL, 10, "'%4g' at position 10"},
        {"every://a%g4b", -EINVAL, 10, "'%g4' at position 10"},
        {"every://a?max=%", -EINVAL, 15, "'%' at position 15"},
        {"every://a?m%zz=1", -EINVAL, 12, "'%zz' at position 12"},
        {"every://a%00b", -EINVAL, 10, "%00 at position 10 is a control character"},
        {"every://a%1fb", -EINVAL, 10, "%1f at position 10 is a control character"},
        {"every://a%7F", -EINVAL, 10, "%7F at position 10 is a control character"},
        {"every://a\nb", -EINVAL, 10, "%0A at position 10 is a control character"},
        {"every://\x1b[31m", -EINVAL, 9, "%1B at position 9"},
        {"every://\x7f", -EINVAL, 9, "%7F at position 9"},
        {"every://\xc2\x9b", -EINVAL, 9, "%C2%9B at position 9"},
        {"every://x?from=\t", -EINVAL, 16, "%09 at position 16"},
        {"every://\xff", -EINVAL, 9, "not UTF-8"},
        {"every://\xc3", -EINVAL, 9, "not UTF-8"},
        {"every://\xc3\x28", -EINVAL, 9, "not UTF-8"},
        {"every://\xc0\xaf", -EINVAL, 9, "not UTF-8"},
        {"every://\xe0\x9f\xbf", -EINVAL, 9, "not UTF-8"},
        {"every://\xe2\x82", -EINVAL, 9, "not UTF-8"},
        {"every://\xed\xa0\x80", -EINVAL, 9, "not UTF-8"},
        {"every://\xf0\x8f\xbf\xbf", -EINVAL, 9, "not UTF-8"},
        {"every://\xf0\x9f\x98", -EINVAL, 9, "not UTF-8"},
        {"every://\xf4\x90\x80\x80", -EINVAL, 9, "not UTF-8"},
        {"every://\xf5\x80\x80\x80", -EINVAL, 9, "not UTF-8"},
        {"every://a\x80", -EINVAL, 10, "percent codes, like %E9"},
        {"every://x?", -EINVAL, 11, "a key is missing"},
        {"every://x?=1", -EINVAL, 11, "a key is missing"},
        {"every://x?max=1&", -EINVAL, 17, "a key is missing"},
        {"every://x?max=1&&mode=1", -EINVAL, 17, "a key is missing"},
        {"every://x?mod=1", -EINVAL, 11, "there is no key 'mod' (position 11) for every://"},
        {"every://x?mod=1", -EINVAL, 11, "perhaps mode= is meant"},
        {"every://x?colour=1", -EINVAL, 11, "it has frame, mode, owner"},
        {"every://x?MAX=1", -EINVAL, 11, "there is no key 'MAX'"},
        {"every://x?m%61x=1", -EINVAL, 11, "there is no key 'm%61x'"},
        {"every://x? max=1", -EINVAL, 11, "there is no key ' max'"},
        {"every://x?maxi=1", -EINVAL, 11, "there is no key 'maxi'"},
        {"none://x?colour", -EINVAL, 10, "it has no keys"},
        {"none://x?max=1", -EOPNOTSUPP, 10,
         "none:// does not have the key 'max' (position 10); it has no keys"},
        {"some-2.x+y://?mode=1", -EOPNOTSUPP, 15,
         "does not have the key 'mode' (position 15); it has frame, max"},
        {"every://x?max=1&max=1", -EINVAL, 17, "the key 'max' at position 17 stands at position 11 already"},
        {"every://x?take&duplex&take=no", -EINVAL, 23, "stands at position 11 already"},
        {"every://x?max", -EINVAL, 11, "it needs a value; max= takes: 16MiB"},
        {"every://x?max=", -EINVAL, 15, "not a size"},
        {"every://x?max=0", -EINVAL, 15, "out of range"},
        {"every://x?max=-1", -EINVAL, 15, "not a size"},
        {"every://x?max=1.5k", -EINVAL, 15, "not a size"},
        {"every://x?max=k", -EINVAL, 15, "sizes look like 4096, 64k, 16MiB, 1G"},
        {"every://x?max=64kk", -EINVAL, 15, "max=64kk (position 15): that is not a size"},
        {"every://x?max=64 k", -EINVAL, 15, "not a size"},
        {"every://x?max=0x10", -EINVAL, 15, "not a size"},
        {"every://x?max=2T", -EINVAL, 15, "out of range"},
        {"every://x?max=18446744073709551615", -EINVAL, 15, "out of range"},
        {"every://x?max=18446744073709551616", -EINVAL, 15, "out of range"},
        {"every://x?max=18446744073709551616T", -EINVAL, 15, "out of range"},
        {"every://x?max=16777217T", -EINVAL, 15, "out of range"},
        {"every://x?capacity=0", -EINVAL, 20, "out of range"},
        {"every://x?message-size=many", -EINVAL, 24, "not a size"},
        {"every://x?mode=", -EINVAL, 16, "the value is empty"},
        {"every://x?mode=8", -EINVAL, 16, "modes are octal"},
        {"every://x?mode=u+x", -EINVAL, 16, "modes are octal"},
        {"every://x?mode=1000", -EINVAL, 16, "out of range"},
        {"every://x?mode=7777777777777777777777777777", -EINVAL, 16, "out of range"},
        {"every://x?owner=", -EINVAL, 17, "the value is empty"},
        {"every://x?owner=no-such-user", -EINVAL, 17, "there is no user of that name"},
        {"every://x?owner=4294967295", -EINVAL, 17, "out of range"},
        {"every://x?owner=-1", -EINVAL, 17, "there is no user"},
        {"every://x?group=no-such-group", -EINVAL, 17, "there is no group of that name"},
        {"every://x?frame=lines", -EINVAL, 17, "that is none of its words; frame= takes: none, line, record"},
        {"every://x?frame", -EINVAL, 11, "it needs a value"},
        {"every://x?frame=Line", -EINVAL, 17, "none of its words"},
        {"every://x?direction=up", -EINVAL, 21, "both, send, receive"},
        {"every://x?lifetime=last", -EINVAL, 20, "creator, persistent"},
        {"every://x?backlog=0", -EINVAL, 19, "out of range"},
        {"every://x?backlog=65536", -EINVAL, 19, "out of range"},
        {"every://x?backlog=1k", -EINVAL, 19, "not a number"},
        {"every://x?backlog=", -EINVAL, 19, "not a number"},
        {"every://x?type=dgram", -EINVAL, 16, "stream, seqpacket, datagram"},
        {"every://x?duplex=", -EINVAL, 18, "no, yes"},
        {"every://x?take=maybe", -EINVAL, 16, "no, yes"},
        {"every://x?poll=0", -EINVAL, 16, "out of range"},
        {"every://x?poll=99us", -EINVAL, 16, "out of range"},
        {"every://x?poll=2h", -EINVAL, 16, "out of range"},
        {"every://x?poll=fast", -EINVAL, 16, "durations look like 20ms, 5s, 2min"},
        {"every://x?grace=5", -EINVAL, 17, "not a duration"},
        {"every://x?grace=5 s", -EINVAL, 17, "not a duration"},
        {"every://x?grace=25h", -EINVAL, 17, "out of range"},
        {"every://x?grace=99999999999999h", -EINVAL, 17, "out of range"},
        {"every://x?family=5", -EINVAL, 18, "any, 4, 6"},
        {"every://x?from=", -EINVAL, 16, "the value is empty"},
        {"every://x?from", -EINVAL, 11, "it needs a value"},
};

/* A sentence is one line that can be shown anywhere. */
static const char *sentence(void) {
        static char text[2048];
        size_t len = confab_explain(text, sizeof(text));

        check(len > 0 && len < sizeof(text));
        for (const char *p = text; *p; p++)
                check((unsigned char)*p >= 0x20 && *p != 0x7F);
        return text;
}

TEST(good_addresses_are_read) {
        for (size_t i = 0; i < sizeof(goods) / sizeof(goods[0]); i++) {
                const struct good *good = &goods[i];
                struct cfb_address address;

                check_ok(cfb_address_init(&address, good->text, NULL));
                check_str(address.text, good->text);
                check_str(address.rest, good->rest);
                check_eq(address.given, good->number < 0 ? 0 : UINT64_C(1) << good->number);
                if (good->number >= 0 && good->number != CFB_KEY_NUMBER_FROM)
                        check_eq(field(&address, (unsigned)good->number), good->value);
                cfb_address_fini(&address);
        }
}

TEST(defaults_and_many_keys) {
        struct cfb_address address;

        check_ok(cfb_address_init(&address, "every://x", NULL));
        check(address.transport == &every);
        check_eq(address.rest_at, 8);
        check_eq(address.frame, CFB_FRAME_NONE);
        check_eq(address.mode, 0600);
        check_eq(address.owner, UINT32_MAX);
        check_eq(address.group, UINT32_MAX);
        check_eq(address.capacity, 0);
        check_eq(address.max, 16 << 20);
        check_eq(address.direction, 0);
        check_eq(address.lifetime, CFB_LIFETIME_CREATOR);
        check_eq(address.backlog, 4096);
        check_eq(address.type, 0);
        check(!address.duplex && !address.take && !address.from);
        check_eq(address.poll_ns, 0);
        check_eq(address.grace_ns, INT64_C(5000000000));
        check_eq(address.family, AF_UNSPEC);
        check_eq(address.message_size, 0);
        cfb_address_fini(&address);

        check_ok(cfb_address_init(&address, "every://%40a?from=b%26c&take&mode=0644&grace=1s&max=1k", NULL));
        check_str(address.rest, "@a");
        check_str(address.from, "b&c");
        check(address.take);
        check_eq(address.mode, 0644);
        check_eq(address.grace_ns, 1000000000);
        check_eq(address.max, 1024);
        check_eq(address.given,
                 CFB_KEY(FROM) | CFB_KEY(TAKE) | CFB_KEY(MODE) | CFB_KEY(GRACE) | CFB_KEY(MAX));
        cfb_address_fini(&address);
        cfb_address_fini(&address); /* twice does no harm */
}

TEST(bad_addresses_are_refused_with_their_position) {
        for (size_t i = 0; i < sizeof(bads) / sizeof(bads[0]); i++) {
                const struct bad *bad = &bads[i];
                struct cfb_address address;
                const char *said;
                char place[40];

                check_eq(cfb_address_init(&address, bad->text, NULL), bad->error);
                check(!address.text && !address.rest && !address.from);
                said = sentence();
                snprintf(place, sizeof(place), "position %d", bad->position);
                if (!strstr(said, bad->words) || !strstr(said, place)) {
                        printf("%s\n  says: %s\n  without: %s, %s\n", bad->text, said, place, bad->words);
                        check(!"the sentence");
                }
        }
}

/* Whatever happens to a byte: taken or refused, never a byte read behind the end, and a sentence that can be shown. */
static void try_placed(struct guarded *guarded, const char *text, size_t len) {
        struct cfb_address address;
        char *placed = (char *)guarded_put(guarded, text, len + 1);
        int r = cfb_address_init(&address, placed, NULL);

        check(r <= 0);
        if (r < 0)
                sentence();
        cfb_address_fini(&address);
}

static void try_changed(struct guarded *guarded, const char *text) {
        static const char changes[] = "%?&=:/\n\x7f\x80\xc2\xe2\xf0\xff"
                                      "09a";
        char changed[256] = {0};
        size_t len = strlen(text);

        check(len < sizeof(changed));
        for (size_t i = 0; i <= len; i++) {
                memcpy(changed, text, i);
                changed[i] = '\0';
                try_placed(guarded, changed, i);
                memcpy(changed, text, len + 1);
                for (size_t j = 0; i < len && j < sizeof(changes) - 1; j++) {
                        changed[i] = changes[j];
                        try_placed(guarded, changed, len);
                }
        }
}

TEST_TIMEOUT(every_truncation_and_change_stays_in_bounds, 60) {
        struct guarded guarded = guarded_new(4096);

        for (size_t i = 0; i < sizeof(goods) / sizeof(goods[0]); i++)
                if (!strstr(goods[i].text, "owner") && !strstr(goods[i].text, "group"))
                        try_changed(&guarded, goods[i].text);
        for (size_t i = 0; i < sizeof(bads) / sizeof(bads[0]); i++)
                if (!strstr(bads[i].text, "owner") && !strstr(bads[i].text, "group"))
                        try_changed(&guarded, bads[i].text);
        guarded_free(&guarded);
}

/* FAULTS row 20. What `..` and '/' mean is the mechanism's affair: here they must arrive as they are, and nothing else may. */
TEST(names_with_tricks) {
        struct cfb_address address;
        char *text = malloc(10011);

        check_eq(cfb_address_init(&address, NULL, NULL), -EINVAL);
        check(strstr(sentence(), "no address was given"));
        memcpy(text, "every://", 8);
        memset(text + 8, 'x', 10002);
        text[10008] = '\0';
        check_eq(cfb_address_init(&address, text, NULL), -ENAMETOOLONG);
        check(strstr(sentence(), "longer than 4096 bytes (position 4097)"));
        text[CFB_ADDRESS_MAX + 1] = '\0';
        check_eq(cfb_address_init(&address, text, NULL), -ENAMETOOLONG);
        text[CFB_ADDRESS_MAX] = '\0';
        check_ok(cfb_address_init(&address, text, NULL));
        check_eq(strlen(address.rest), CFB_ADDRESS_MAX - 8);
        cfb_address_fini(&address);
        /* Far behind what a sentence shows, the position is still right. */
        text[4000] = '%';
        check_eq(cfb_address_init(&address, text, NULL), -EINVAL);
        check(strstr(sentence(), "position 4001"));
        free(text);

        check_ok(cfb_address_init(&address, "every://a/../..%2f%2E%2e/\xc3\x84\xc3\xa4...", NULL));
        check_str(address.rest, "a/../../../\xc3\x84\xc3\xa4...");
        cfb_address_fini(&address);
}

TEST(options_are_laid_over_the_keys) {
        struct confab_options options = {.size = sizeof(options)};
        struct cfb_address address;

        check_ok(cfb_address_init(&address, "every://?mode=0640&max=5", &options));
        check_eq(address.mode, 0640);
        check_eq(address.max, 5);
        cfb_address_fini(&address);

        options.mode = 0666;
        options.max_len = 1 << 20;
        options.capacity = 9;
        options.backlog = 7;
        options.direction = CONFAB_SEND;
        check_ok(cfb_address_init(&address, "every://?mode=0640&max=5&direction=both", &options));
        check_eq(address.mode, 0666);
        check_eq(address.max, 1 << 20);
        check_eq(address.capacity, 9);
        check_eq(address.backlog, 7);
        check_eq(address.direction, CONFAB_SEND);
        check_eq(address.given,
                 CFB_KEY(MODE) | CFB_KEY(MAX) | CFB_KEY(CAPACITY) | CFB_KEY(BACKLOG) | CFB_KEY(DIRECTION));
        cfb_address_fini(&address);
}

TEST(options_that_do_not_fit_are_refused) {
        static const struct {
                struct confab_options options;
                const char *address;
                int error;
                const char *words;
        } cases[] = {
                {{.mode = 01000}, "every://", -EINVAL, "mode= is 01000 in the options: that is out of range"},
                {{.direction = 4}, "every://", -EINVAL, "direction= is 4 in the options"},
                {{.backlog = 65536}, "every://", -EINVAL, "backlog= is 65536 in the options"},
                {{.max_len = UINT64_MAX}, "every://", -EINVAL, "max= is 18446744073709551615 in the options"},
                {{.capacity = UINT64_MAX}, "every://", -EINVAL, "capacity= is"},
                {{.flags = 1}, "every://", -EINVAL, "flags and reserved must be 0"},
                {{.reserved = 1}, "every://", -EINVAL, "flags and reserved must be 0"},
                {{.mode = 0600},
                 "some-2.x+y://",
                 -EOPNOTSUPP,
                 "does not have mode=, given by the options; it has frame, max"},
                {{.max_len = 1}, "none://", -EOPNOTSUPP, "it has no keys"},
                {{.mode = 0600}, "every://?mode", -EINVAL, "it needs a value"},
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                struct confab_options options = cases[i].options;
                struct cfb_address address;

                options.size = sizeof(options);
                check_eq(cfb_address_init(&address, cases[i].address, &options), cases[i].error);
                check(strstr(sentence(), cases[i].words));
                check(!address.text);
        }
}

/* The struct grows at its end: an old one is refused only below today's size, a newer one as soon as it uses what is new. */
TEST(options_of_another_size) {
        struct {
                struct confab_options options;
                uint64_t newer;
        } later = {.options = {.size = sizeof(later)}};
        struct cfb_address address;

        check_ok(cfb_address_init(&address, "every://", &later.options));
        cfb_address_fini(&address);
        later.newer = 1;
        check_eq(cfb_address_init(&address, "every://", &later.options), -EINVAL);
        check(strstr(sentence(), "this version does not know"));
        later.options.size = sizeof(later.options) - 1;
        check_eq(cfb_address_init(&address, "every://", &later.options), -EINVAL);
        check(strstr(sentence(), "size is not set"));
        later.options.size = UINT32_MAX;
        check_eq(cfb_address_init(&address, "every://", &later.options), -EINVAL);
}

TEST(encoding_gives_back_what_was_encoded) {
        struct cfb_address address;
        char raw[256], text[1024] = "every://";
        size_t used = 8, raw_len = 0;

        for (unsigned byte = 0x20; byte < 256; byte++)
                if (byte != 0x7F)
                        raw[raw_len++] = (char)byte;
        raw[raw_len] = '\0';
        cfb_address_encode(text, sizeof(text), &used, raw, raw_len);
        check_eq(used, strlen(text));
        check_ok(cfb_address_init(&address, text, NULL));
        check_str(address.rest, raw);
        cfb_address_fini(&address);

        memcpy(text, "every://?from=", 15);
        used = 14;
        cfb_address_encode(text, sizeof(text), &used, raw, raw_len);
        check_ok(cfb_address_init(&address, text, NULL));
        check_str(address.from, raw);
        cfb_address_fini(&address);

        used = 0;
        cfb_address_encode(text, sizeof(text), &used, "aZ09-._~/:@[],", 14);
        check_str(text, "aZ09-._~/:@[],");
        used = 0;
        cfb_address_encode(text, sizeof(text), &used, "\0\x1f", 2);
        check_str(text, "%00%1F");
}

TEST(encoding_counts_what_does_not_fit) {
        char text[8];
        size_t used = 0;

        cfb_address_encode(NULL, 0, &used, "a b", 3);
        check_eq(used, 5);
        memset(text, '#', sizeof(text));
        used = 0;
        cfb_address_encode(text, 4, &used, "a b", 3);
        check_eq(used, 5);
        check_str(text, "a%2");
        check_eq(text[4], '#');
}

TEST(a_mechanism_refuses_at_a_place_in_the_text) {
        struct cfb_address address;

        check_ok(cfb_address_init(&address, "every://h%20t:x?max=1", NULL));
        check_str(address.rest, "h t:x");
        check_eq(cfb_address_refuse(&address, 4, "the port is not a number"), -EINVAL);
        check_str(sentence(), "every://h%20t:x?max=1: the port is not a number (position 15)");
        check_eq(cfb_address_refuse(&address, 0, "no"), -EINVAL);
        check(strstr(sentence(), "(position 9)"));
        check_eq(cfb_address_refuse(&address, 900, "no"), -EINVAL); /* behind the end: at the end */
        check(strstr(sentence(), "(position 16)"));
        check_eq(cfb_unsupported(&address, "send", "descriptors in messages"), -EOPNOTSUPP);
        check_str(sentence(), "every://h%20t:x?max=1: send: every:// does not have descriptors in messages; "
                              "confab-every(7) says what it has");
        cfb_address_fini(&address);
}

TEST(keys_are_told_as_they_are_read) {
        static const char *const names[] = {
#define X(NAME, text) [CFB_KEY_NUMBER_##NAME] = #text,
                CFB_KEYS(X)
#undef X
        };
        const char *name = NULL, *values = NULL, *help = NULL;

        for (unsigned i = 0; i < CFB_N_KEYS; i++) {
                check_eq(confab_key("every", i, &name, &values, &help), 0);
                check_str(name, names[i]);
                check(values[0] && help[0]);
                check_eq(confab_key("every", i, NULL, NULL, NULL), 0);
        }
        check_eq(confab_key("every", CFB_N_KEYS, &name, NULL, NULL), -ENOENT);
        check_eq(confab_key("some-2.X+y", 0, &name, NULL, NULL), 0);
        check_str(name, "frame");
        check_eq(confab_key("some-2.x+y", 1, &name, NULL, NULL), 0);
        check_str(name, "max");
        check_eq(confab_key("some-2.x+y", 2, &name, NULL, NULL), -ENOENT);
        check_eq(confab_key("none", 0, &name, NULL, NULL), -ENOENT);
        check_eq(confab_key("nope", 0, &name, NULL, NULL), -EINVAL);
        check_eq(confab_key(NULL, 0, &name, NULL, NULL), -EINVAL);
}
