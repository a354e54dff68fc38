/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * The keys of addresses: one table for what the reader takes, what confab_key tells, and what the manual prints.
 *
 * A reader gets the decoded value and answers why it does not take it, as a number: the sentence is made when somebody asks for it.
 * Nothing is taken in part: "64kk", "5 s" and "0x10" are refused.
 */
#include "core/key.h"

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/signals.h"
#include "core/address_text.h"
#include "core/transport.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

/* The largest size, and how the list of keys says so. */
#if SIZE_MAX > 0xFFFFFFFF
#define SIZE_LIMIT (UINT64_C(1) << 40)
#define SIZE_TEXT  "a size up to 1T"
#else
#define SIZE_LIMIT (UINT64_C(1) << 30)
#define SIZE_TEXT  "a size up to 1G"
#endif

const char *const cfb_whys[] = {
        [CFB_NO_VALUE] = "it needs a value",
        [CFB_NO_WORD] = "that is none of its words",
        [CFB_NO_NUMBER] = "that is not a number",
        [CFB_NO_SIZE] = "that is not a size; sizes look like 4096, 64k, 16MiB, 1G",
        [CFB_NO_DURATION] = "that is not a duration; durations look like 20ms, 5s, 2min",
        [CFB_NO_MODE] = "that is not a mode; modes are octal, like 0640",
        [CFB_OUT_OF_RANGE] = "that is out of range",
        [CFB_NO_USER] = "there is no user of that name",
        [CFB_NO_GROUP] = "there is no group of that name",
        [CFB_EMPTY] = "the value is empty",
        [CFB_NO_SIGNAL] =
                "that is not a list of signals; they look like USR1,RTMIN+1 and confab signal lists them",
};

static const struct cfb_word frames[] = {
        {"none", CFB_FRAME_NONE}, {"line", CFB_FRAME_LINE}, {"record", CFB_FRAME_RECORD}, {0}};
static const struct cfb_word directions[] = {
        {"both", CONFAB_BOTH}, {"send", CONFAB_SEND}, {"receive", CONFAB_RECEIVE}, {0}};
static const struct cfb_word lifetimes[] = {
        {"creator", CFB_LIFETIME_CREATOR}, {"persistent", CFB_LIFETIME_PERSISTENT}, {0}};
static const struct cfb_word types[] = {
        {"stream", SOCK_STREAM}, {"seqpacket", SOCK_SEQPACKET}, {"datagram", SOCK_DGRAM}, {0}};
static const struct cfb_word families[] = {{"any", AF_UNSPEC}, {"4", AF_INET}, {"6", AF_INET6}, {0}};
static const struct cfb_word trusts[] = {
        {"auto", CFB_TRUST_AUTO}, {"yes", CFB_TRUST_YES}, {"no", CFB_TRUST_NO}, {0}};
static const struct cfb_word waitings[] = {
        {"auto", CFB_WAITING_AUTO}, {"spin", CFB_WAITING_SPIN}, {"block", CFB_WAITING_BLOCK}, {0}};
static const struct cfb_word switches[] = {{"yes", 1}, {"no", 0}, {"true", 1}, {"false", 0},
                                           {"1", 1},   {"0", 0},  {0}};

/* Reading values. */

/* Decimal digits at *@textp, which is moved behind them. False: none, or more than 64 bits. */
static bool read_digits(uint64_t *valuep, const char **textp) {
        const char *p = *textp;
        uint64_t value = 0;

        if (!cfb_is_digit(*p))
                return false;
        for (; cfb_is_digit(*p); p++)
                if (__builtin_mul_overflow(value, 10, &value) ||
                    __builtin_add_overflow(value, (unsigned)(*p - '0'), &value))
                        value = UINT64_MAX; /* stays there: 10^30 is out of range, not unreadable */
        *valuep = value;
        *textp = p;
        return true;
}

int cfb_key_store(struct cfb_address *address, const struct cfb_key *key, uint64_t value) {
        unsigned char *field = (unsigned char *)address + key->at;
        uint32_t word = (uint32_t)value;
        bool flag = value != 0;

        if (key->most && (value < key->least || value > key->most))
                return CFB_OUT_OF_RANGE;
        if (key->len == sizeof(value))
                memcpy(field, &value, sizeof(value));
        else if (key->len == sizeof(word))
                memcpy(field, &word, sizeof(word));
        else
                memcpy(field, &flag, sizeof(flag));
        return CFB_FINE;
}

static int read_word(struct cfb_address *address, const struct cfb_key *key, const char *value) {
        for (const struct cfb_word *word = key->words; word->text; word++)
                if (strcmp(word->text, value) == 0)
                        return cfb_key_store(address, key, word->value);
        return CFB_NO_WORD;
}

/* The one kind of key that may stand without a value. */
static int read_switch(struct cfb_address *address, const struct cfb_key *key, const char *value) {
        return value ? read_word(address, key, value) : cfb_key_store(address, key, 1);
}

static int read_number(struct cfb_address *address, const struct cfb_key *key, const char *value) {
        uint64_t number;

        if (!read_digits(&number, &value) || *value)
                return CFB_NO_NUMBER;
        return cfb_key_store(address, key, number);
}

struct unit {
        const char *text;
        uint64_t factor;
};

/* A number with one of @units behind it, or, where @plain is not 0, with none. */
static int read_with_unit(struct cfb_address *address, const struct cfb_key *key, const char *value,
                          const struct unit *units, uint64_t plain, int why) {
        uint64_t number;

        if (!read_digits(&number, &value))
                return why;
        if (!*value) {
                if (!plain && number)
                        return why;
                return __builtin_mul_overflow(number, plain, &number) ? CFB_OUT_OF_RANGE
                                                                      : cfb_key_store(address, key, number);
        }
        for (; units->text; units++)
                if (strcmp(units->text, value) == 0)
                        return __builtin_mul_overflow(number, units->factor, &number)
                                       ? CFB_OUT_OF_RANGE
                                       : cfb_key_store(address, key, number);
        return why;
}

static int read_size(struct cfb_address *address, const struct cfb_key *key, const char *value) {
        /* As coreutils have it: k and KiB count in 1024, kB in 1000. */
        static const struct unit units[] = {{"k", 1 << 10},
                                            {"K", 1 << 10},
                                            {"KiB", 1 << 10},
                                            {"kB", 1000},
                                            {"M", 1 << 20},
                                            {"MiB", 1 << 20},
                                            {"MB", 1000000},
                                            {"G", 1 << 30},
                                            {"GiB", 1 << 30},
                                            {"GB", 1000000000},
                                            {"T", UINT64_C(1) << 40},
                                            {"TiB", UINT64_C(1) << 40},
                                            {"TB", UINT64_C(1000000000000)},
                                            {0}};

        return read_with_unit(address, key, value, units, 1, CFB_NO_SIZE);
}

static int read_duration(struct cfb_address *address, const struct cfb_key *key, const char *value) {
        static const struct unit units[] = {{"ns", 1},
                                            {"us", 1000},
                                            {"ms", 1000000},
                                            {"s", 1000000000},
                                            {"min", UINT64_C(60000000000)},
                                            {"h", UINT64_C(3600000000000)},
                                            {0}};

        return read_with_unit(address, key, value, units, key->unit, CFB_NO_DURATION);
}

static int read_mode(struct cfb_address *address, const struct cfb_key *key, const char *value) {
        uint64_t mode = 0;

        if (!*value)
                return CFB_EMPTY;
        for (; *value >= '0' && *value <= '7'; value++)
                mode = mode > key->most ? mode : mode * 8 + (unsigned)(*value - '0');
        return *value ? CFB_NO_MODE : cfb_key_store(address, key, mode);
}

static int read_text(struct cfb_address *address, const struct cfb_key *key, const char *value) {
        char *copy;

        if (!*value)
                return CFB_EMPTY;
        copy = cfb_copy_text(value);
        if (!copy)
                return -ENOMEM;
        memcpy((unsigned char *)address + key->at, &copy, sizeof(copy));
        return CFB_FINE;
}

/*
 * The number of a user or group. Its entry can be longer than any fixed buffer (groups with thousands of members), so the
 * buffer grows until the C library is content; past a mebibyte the name counts as unknown.
 */
static int look_up(uint64_t *idp, const char *name, bool group) {
        for (size_t len = 1024; len <= 1 << 20; len *= 4) {
                CFB_CLEANUP(cfb_releasep) char *buffer = cfb_allocate_untouched(len);
                struct group group_entry, *found_group = NULL;
                struct passwd user_entry, *found_user = NULL;
                int r;

                if (!buffer)
                        return -ENOMEM;
                if (group)
                        r = getgrnam_r(name, &group_entry, buffer, len, &found_group);
                else
                        r = getpwnam_r(name, &user_entry, buffer, len, &found_user);
                if (r == ERANGE)
                        continue;
                if (!found_group && !found_user)
                        break;
                *idp = group ? found_group->gr_gid : found_user->pw_uid;
                return CFB_FINE;
        }
        return group ? CFB_NO_GROUP : CFB_NO_USER;
}

static int read_id(struct cfb_address *address, const struct cfb_key *key, const char *value, bool group) {
        const char *end = value;
        uint64_t id;
        int r;

        if (!*value)
                return CFB_EMPTY;
        if (!read_digits(&id, &end) || *end) { /* names may begin with a digit */
                r = look_up(&id, value, group);
                if (r)
                        return r;
        }
        return cfb_key_store(address, key, id);
}

static int read_owner(struct cfb_address *address, const struct cfb_key *key, const char *value) {
        return read_id(address, key, value, false);
}

static int read_group(struct cfb_address *address, const struct cfb_key *key, const char *value) {
        return read_id(address, key, value, true);
}

/* Names or numbers between commas. */
static int read_signals(struct cfb_address *address, const struct cfb_key *key, const char *value) {
        uint64_t signals = 0;
        int first = 0;

        for (;; value++) {
                size_t len = strcspn(value, ",");
                int number = cfb_signal_number_of(value, len);

                if (number < 1)
                        return CFB_NO_SIGNAL;
                first = first ? first : number;
                signals |= UINT64_C(1) << (number - 1);
                value += len;
                if (!*value)
                        break;
        }
        address->signal_first = first;
        return cfb_key_store(address, key, signals);
}

#define FIELD(field) \
        .at = offsetof(struct cfb_address, field), .len = sizeof(((struct cfb_address *)NULL)->field)

/* clang-format off */
const struct cfb_key cfb_keys[CFB_N_KEYS] = {
        [CFB_KEY_NUMBER_FRAME] = {
                "frame", "none, line, record",
                "message boundaries in a byte stream: none, one message a line, or the record marking of RFC 5531",
                read_word, FIELD(frame), .words = frames },
        [CFB_KEY_NUMBER_MODE] = {
                "mode", "0600, octal up to 0777",
                "permissions of what gets a name in the system, whatever the umask is",
                read_mode, FIELD(mode), .most = 0777 },
        [CFB_KEY_NUMBER_OWNER] = {
                "owner", "the caller, a user's name or number",
                "owner of what gets a name in the system",
                read_owner, FIELD(owner), .most = UINT32_MAX - 1 },
        [CFB_KEY_NUMBER_GROUP] = {
                "group", "the caller's, a group's name or number",
                "group of what gets a name in the system",
                read_group, FIELD(group), .most = UINT32_MAX - 1 },
        [CFB_KEY_NUMBER_CAPACITY] = {
                "capacity", "the mechanism's own, " SIZE_TEXT,
                "how much may wait to be received: bytes (pipes, sockets, sysv) or messages (mq)",
                read_size, FIELD(capacity), .least = 1, .most = SIZE_LIMIT },
        [CFB_KEY_NUMBER_MAX] = {
                "max", "16MiB, " SIZE_TEXT,
                "bytes in the largest message that is sent or received; a stream without frame= has no messages and no largest one",
                read_size, FIELD(max), .least = 1, .most = SIZE_LIMIT },
        [CFB_KEY_NUMBER_DIRECTION] = {
                "direction", "both, send, receive",
                "which directions this end uses; where a mechanism has one only, opening sends and listening receives",
                read_word, FIELD(direction), .words = directions },
        [CFB_KEY_NUMBER_LIFETIME] = {
                "lifetime", "creator, persistent",
                "whether closing removes the name that was created, or leaves it",
                read_word, FIELD(lifetime), .words = lifetimes },
        [CFB_KEY_NUMBER_BACKLOG] = {
                "backlog", "4096, a number up to 65535",
                "connections that may wait to be accepted",
                read_number, FIELD(backlog), .least = 1, .most = 65535 },
        [CFB_KEY_NUMBER_TYPE] = {
                "type", "stream, seqpacket, datagram",
                "kind of the socket: connected bytes, connected messages, or messages without a connection",
                read_word, FIELD(type), .words = types },
        [CFB_KEY_NUMBER_DUPLEX] = {
                "duplex", "no, yes (also without a value)",
                "a pair of pipes, so that both ends send and receive",
                read_switch, FIELD(duplex), .words = switches, .alone = true },
        [CFB_KEY_NUMBER_POLL] = {
                "poll", "none, milliseconds or a duration of 100us to 1h",
                "how often to look, so that there is a descriptor to wait on where the kernel offers none",
                read_duration, FIELD(poll_ns), .least = 100000, .most = UINT64_C(3600000000000), .unit = 1000000 },
        [CFB_KEY_NUMBER_TAKE] = {
                "take", "no, yes (also without a value)",
                "the descriptor becomes the endpoint's own: close-on-exec at once, closed at close",
                read_switch, FIELD(take), .words = switches, .alone = true },
        [CFB_KEY_NUMBER_FROM] = {
                "from", "chosen by the kernel, an address of this side",
                "the local end: host:port for udp and tcp, a path or @name for unix datagrams",
                read_text, FIELD(from) },
        [CFB_KEY_NUMBER_FAMILY] = {
                "family", "any, 4, 6",
                "only IPv4, or only IPv6",
                read_word, FIELD(family), .words = families },
        [CFB_KEY_NUMBER_GRACE] = {
                "grace", "5s, a duration up to 24h",
                "how long closing waits for the child to end by itself before it is told to",
                read_duration, FIELD(grace_ns), .most = UINT64_C(86400000000000) },
        [CFB_KEY_NUMBER_MESSAGE_SIZE] = {
                "message-size", "the kernel's, " SIZE_TEXT,
                "bytes reserved for each message of a queue that is created",
                read_size, FIELD(message_size), .least = 1, .most = SIZE_LIMIT },
        [CFB_KEY_NUMBER_SIGNAL] = {
                "signal", "none, names or numbers between commas: USR1,RTMIN+1",
                "signals to receive; where messages are sent, the first is what those without a type are",
                read_signals, FIELD(signals) },
        [CFB_KEY_NUMBER_TRUST] = {
                "trust", "auto (yes where the peer is the same user), yes, no",
                "whether the peer may be lent to: without trust each message is copied before it is shown, so that it cannot change any more",
                read_word, FIELD(trust), .words = trusts },
        [CFB_KEY_NUMBER_WAIT] = {
                "wait", "auto, spin, block",
                "how to wait: a moment on the processor while that pays, then asleep; always on the processor; always asleep",
                read_word, FIELD(waiting), .words = waitings },
};
/* clang-format on */

int confab_key(const char *scheme, unsigned index, const char **namep, const char **valuesp,
               const char **helpp) {
        const struct cfb_transport *transport = NULL;

        for (int i = 0; scheme && cfb_transports[i]; i++)
                if (strcasecmp(cfb_transports[i]->scheme, scheme) == 0)
                        transport = cfb_transports[i];
        if (!transport)
                return cfb_refuse(-EINVAL, scheme ? scheme : "(NULL)", cfb_explain_scheme,
                                  scheme ? scheme : "", scheme ? strnlen(scheme, 100) : 0, 1, 0);
        for (unsigned i = 0; i < CFB_N_KEYS; i++) {
                if (!(transport->keys >> i & 1) || index-- > 0)
                        continue;
                if (namep)
                        *namep = cfb_keys[i].name;
                if (valuesp)
                        *valuesp = cfb_keys[i].values;
                if (helpp)
                        *helpp = cfb_keys[i].help;
                return 0;
        }
        return -ENOENT;
}
