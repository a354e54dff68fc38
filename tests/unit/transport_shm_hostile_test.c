/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * A peer that lies, over a real channel (FAULTS 12-18, 43): it connects to a listener, says HELLO by hand and writes what it likes where it likes.
 * The victim answers with valid messages or errors from a short list, in time, keeps no descriptor, and other clients of its listener go on.
 * SCRIBBLES says how many words the scribblers write (suite check: 10^6, ./run soak: 10^8).
 */
#include "base/libc.h"
#include "conversation.h"
#include "harness.h"
#include "transport/shm_channel.h"

#include <confab/confab.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static confab_endpoint *victim_listens(const char *address) {
        char folder[4096];

        check(getcwd(folder, sizeof(folder)));
        setenv("CONFAB_DIR", folder, 1);
        return listen_on(address);
}

/* --- the liar --- */

struct liar {
        int socket, memory_fd, bell, given_bell;
        struct cfb_channel_shared *shared;
        struct cfb_ring_sender sender; /* an honest one, until told otherwise */
};

static int sealed(size_t len, int seals) {
        int fd = memfd_create("liar", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        check(fd >= 0 && ftruncate(fd, (off_t)len) == 0 && (!seals || fcntl(fd, F_ADD_SEALS, seals) == 0));
        return fd;
}

enum { ALL_SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL };

static int tell_fds(int socket, const void *bytes, size_t len, const int *fds, unsigned n_fds) {
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(sizeof(int) * CFB_DESCRIPTORS_MAX)];
        } control;
        struct iovec part = {(void *)(uintptr_t)bytes, len};
        struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};

        memset(&control, 0, sizeof(control));
        if (n_fds) {
                header.msg_control = &control;
                header.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
                control.header.cmsg_level = SOL_SOCKET;
                control.header.cmsg_type = SCM_RIGHTS;
                control.header.cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
                memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * n_fds);
        }
        return restarted(cfb_sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT)) < 0 ? -errno : 0;
}

static int liar_socket(void) {
        struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "victim.channel"};
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

        check(fd >= 0);
        check(restarted(connect(fd, (struct sockaddr *)&name, sizeof(name))) == 0);
        return fd;
}

static const struct cfb_channel_packet hello = {
        .kind = CFB_CHANNEL_HELLO, .n_slots = CFB_CHANNEL_VERSION, .position = CFB_CHANNEL_MAGIC};

/* Connects, with all it needs for HELLO, which is not said yet. */
static void liar_begin(struct liar *liar) {
        int bells[2];
        struct cfb_ring_memory ring = {.n_slots = CFB_CHANNEL_SLOTS, .n_units = CFB_CHANNEL_UNITS};

        *liar = (struct liar){.socket = liar_socket()};
        liar->memory_fd = sealed(CFB_CHANNEL_LEN, ALL_SEALS);
        check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, bells) == 0);
        liar->bell = bells[0];
        liar->given_bell = bells[1]; /* kept, so that it can be meddled with */
        liar->shared = mmap(NULL, CFB_CHANNEL_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, liar->memory_fd, 0);
        check(liar->shared != MAP_FAILED);
        liar->shared->magic = CFB_CHANNEL_MAGIC;
        liar->shared->version = CFB_CHANNEL_VERSION;
        liar->shared->len = CFB_CHANNEL_LEN;
        atomic_store(&liar->shared->ends[1].max, UINT64_C(1) << 24);
        atomic_store(&liar->shared->ends[1].flags, CFB_CHANNEL_ATTACHED);
        ring.bytes = (unsigned char *)liar->shared + CFB_CHANNEL_HEAD +
                     cfb_ring_len(CFB_CHANNEL_SLOTS, CFB_CHANNEL_UNITS);
        check_eq(cfb_ring_send_from(&liar->sender, &liar->shared->lines[1], &ring, 0), 0);
}

static void liar_says_hello(struct liar *liar) {
        check_eq(tell_fds(liar->socket, &hello, sizeof(hello), (int[]){liar->memory_fd, liar->given_bell}, 2),
                 0);
}

static void liar_ends(struct liar *liar) {
        cfb_ring_sender_fini(&liar->sender);
        munmap(liar->shared, CFB_CHANNEL_LEN);
        close(liar->socket);
        close(liar->memory_fd);
        close(liar->bell);
        close(liar->given_bell);
}

static void liar_sends(struct liar *liar, size_t len) {
        unsigned char *bytes;

        if (cfb_ring_claim(&liar->sender, len, &bytes) < 0)
                return;
        memset(bytes, 'x', len);
        cfb_ring_commit(&liar->sender, len, len, 0);
}

static struct cfb_ring_slot *slot_of(struct liar *liar, int end, unsigned i) {
        return (struct cfb_ring_slot *)((unsigned char *)liar->shared + CFB_CHANNEL_HEAD +
                                        (size_t)end * cfb_ring_len(CFB_CHANNEL_SLOTS, CFB_CHANNEL_UNITS)) +
               i;
}

/* --- the victim --- */

static int answers(int64_t r) {
        static const int known[] = {EPROTO, ECONNRESET, EPIPE, EAGAIN, ETIMEDOUT, EMSGSIZE};

        if (r >= 0)
                return 1;
        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
                if (r == -known[i])
                        return 1;
        check_says("an answer from the list");
        return 0;
}

/* One message, every byte of it looked at. */
static int victim_receives(confab_endpoint *victim, int64_t deadline_ns) {
        struct confab_message message = confab_message_of(NULL, 0);
        int r = confab_receive(victim, &message, NULL, deadline_ns);
        unsigned sum = 0;

        check(answers(r));
        if (r == 1) {
                for (uint64_t i = 0; i < message.data_len; i++)
                        sum += ((const volatile unsigned char *)message.data)[i];
                confab_release(victim, &message);
        }
        return sum == UINT32_MAX ? 0 : r; /* used */
}

static int64_t victim_sends(confab_endpoint *victim, size_t len, int64_t deadline_ns) {
        static const char bytes[32768];
        struct confab_message message = confab_message_of(bytes, len);
        int64_t r = confab_send(victim, &message, deadline_ns);

        check(answers(r));
        return r;
}

static void all_it_can(confab_endpoint *victim) {
        static const size_t lens[] = {0, 1, 40, 41, 100, 4000, 20000};

        for (int i = 0; i < 6; i++)
                if (victim_receives(victim, i < 5 ? CONFAB_NOW : after_ms(1)) <= 0 && i < 5)
                        i = 4;
        for (unsigned i = 0; i < 70; i++)
                victim_sends(victim, lens[i % 7], i < 69 ? CONFAB_NOW : after_ms(1));
        victim_receives(victim, CONFAB_NOW);
}

/* Somebody else comes to the same listener. */
static void others_go_on(confab_endpoint *listener) {
        confab_endpoint *client = open_to("shm://victim"), *served = accept_of(listener);

        send_text(client, "are you there?");
        receive_text(served, "are you there?");
        send_text(served, "yes");
        receive_text(client, "yes");
        confab_close(client);
        confab_close(served);
}

/* --- HELLO --- */

enum what {
        GOOD,
        FOLDER,
        ZERO,
        NOWHERE,
        PIPE,
        OPEN,
        HALF_SEALED,
        UNWRITABLE,
        SMALL,
        LARGE,
        STREAM,
        DATAGRAM,
        INET,
        DAMAGED,
        N_WHAT
};

static int something(enum what what, int pipe_end) {
        switch (what) {
        case FOLDER:
                return open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        case ZERO:
                return open("/dev/zero", O_RDWR | O_CLOEXEC);
        case NOWHERE:
                return open(".", O_PATH | O_CLOEXEC);
        case PIPE:
                return dup(pipe_end);
        case OPEN:
                return sealed(CFB_CHANNEL_LEN, 0);
        case HALF_SEALED:
                return sealed(CFB_CHANNEL_LEN, F_SEAL_GROW);
        case UNWRITABLE:
                return sealed(CFB_CHANNEL_LEN, ALL_SEALS | F_SEAL_WRITE);
        case SMALL:
                return sealed(CFB_CHANNEL_LEN - 4096, ALL_SEALS);
        case LARGE:
                return sealed(CFB_CHANNEL_LEN + 4096, ALL_SEALS);
        case STREAM:
                return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        case DATAGRAM:
                return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        case INET:
                return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        default:
                return sealed(CFB_CHANNEL_LEN, ALL_SEALS); /* zeroes: no head */
        }
}

static void refused_by(confab_endpoint *listener) {
        confab_endpoint *victim = accept_of(listener);
        int r = victim_receives(victim, soon());

        check(r == -EPROTO || r == -ECONNRESET);
        check(victim_sends(victim, 1, soon()) < 0);
        check_eq(victim_receives(victim, CONFAB_NOW), r); /* and so for ever */
        confab_close(victim);
}

TEST(descriptors_of_every_kind_in_hello) {
        confab_endpoint *listener = victim_listens("shm://victim");
        int pipes[2];

        check(pipe2(pipes, O_CLOEXEC) == 0);
        for (int place = 0; place < 2; place++)
                for (enum what what = FOLDER; what < N_WHAT; what++) {
                        struct liar liar;
                        int wrong = something(what, pipes[0]), fds[2];

                        check(wrong >= 0);
                        liar_begin(&liar);
                        fds[place] = wrong;
                        fds[!place] = place ? liar.memory_fd : liar.given_bell;
                        check_eq(tell_fds(liar.socket, &hello, sizeof(hello), fds, 2), 0);
                        refused_by(listener);
                        liar_ends(&liar);
                        close(wrong);
                }
        others_go_on(listener);
        close(pipes[0]);
        close(pipes[1]);
        confab_close(listener);
}

TEST(packets_of_every_kind_instead_of_hello) {
        static const unsigned counts[] = {0, 1, 3, 4, 100, 253};
        confab_endpoint *listener = victim_listens("shm://victim");
        struct liar liar;

        for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) { /* too few, too many */
                int fds[CFB_DESCRIPTORS_MAX];

                liar_begin(&liar);
                for (unsigned f = 0; f < counts[i]; f++)
                        fds[f] = f % 2 ? liar.given_bell : liar.memory_fd;
                check_eq(tell_fds(liar.socket, &hello, sizeof(hello), fds, counts[i]), 0);
                refused_by(listener);
                liar_ends(&liar);
        }
        for (size_t len = 0; len <= 2 * sizeof(hello);
             len += 4) { /* half a HELLO, an empty packet, too long a one */
                unsigned char bytes[2 * sizeof(hello)] = {0};

                if (len == sizeof(hello))
                        continue;
                memcpy(bytes, &hello, sizeof(hello));
                liar_begin(&liar);
                check_eq(tell_fds(liar.socket, bytes, len, (int[]){liar.memory_fd, liar.given_bell}, 2), 0);
                refused_by(listener);
                liar_ends(&liar);
        }
        for (int i = 0; i < 4; i++) {
                struct cfb_channel_packet packet = hello;

                liar_begin(&liar);
                *(uint32_t *[]){&packet.kind, &packet.kind, &packet.n_slots,
                                (uint32_t *)&packet.position}[i] = i == 1 ? CFB_CHANNEL_MEMORY : UINT32_MAX;
                check_eq(tell_fds(liar.socket, &packet, sizeof(packet),
                                  (int[]){liar.memory_fd, liar.given_bell}, 2),
                         0);
                refused_by(listener);
                liar_ends(&liar);
        }
        others_go_on(listener);
        confab_close(listener);
}

TEST(a_client_that_says_nothing) {
        confab_endpoint *listener = victim_listens("shm://victim"), *victim;
        struct liar liar;
        int64_t begin_ns;

        for (int ends = 0; ends < 2; ends++) {
                liar_begin(&liar);
                victim = accept_of(listener);
                check_eq(victim_receives(victim, CONFAB_NOW), -EAGAIN);
                check_eq(victim_sends(victim, 1, CONFAB_NOW), -EAGAIN);
                begin_ns = confab_now();
                check_eq(victim_receives(victim, after_ms(20)), -ETIMEDOUT);
                check_eq(victim_sends(victim, 1, after_ms(20)), -ETIMEDOUT);
                check(elapsed_ms(begin_ns) >= 40);
                others_go_on(listener);
                if (ends) { /* and goes */
                        liar_ends(&liar);
                        check_eq(victim_receives(victim, soon()), -ECONNRESET);
                } else { /* and then does */
                        liar_says_hello(&liar);
                        liar_sends(&liar, 5);
                        check_eq(victim_receives(victim, soon()), 1);
                        check_eq(victim_sends(victim, 7, soon()), 7);
                        liar_ends(&liar);
                }
                confab_close(victim);
        }
        confab_close(listener);
}

/* --- fields --- */

/* @poke lies before what is done; the victim's first answer that is an error. */
static void told(confab_endpoint *listener, const char *field, void (*poke)(struct liar *liar)) {
        struct liar liar;
        confab_endpoint *victim;
        int r;

        liar_begin(&liar);
        liar_says_hello(&liar);
        victim = accept_of(listener);
        liar_sends(&liar, 10);
        liar_sends(&liar, 100);
        poke(&liar);
        r = 1;
        for (int i = 0; i < 4 && r == 1; i++)
                r = victim_receives(victim, CONFAB_NOW);
        for (int i = 0; i < 300 && r == -EAGAIN; i++) {
                r = (int)victim_sends(victim, 30, CONFAB_NOW);
                if (r >= 0)
                        r = -EAGAIN;
                else if (r == -EAGAIN)
                        break;
        }
        if (r != -EPROTO)
                check_str("-EPROTO was the answer to", field);
        check_eq(victim_receives(victim, CONFAB_NOW), -EPROTO);
        check_eq(victim_sends(victim, 1, CONFAB_NOW), -EPROTO);
        confab_close(victim);
        liar_ends(&liar);
}

#define LIE(name, statement)                        \
        static void lie_##name(struct liar *liar) { \
                statement;                          \
        }
LIE(kind, atomic_store(&slot_of(liar, 1, 0)->kind, 0))
LIE(kind_4, atomic_store(&slot_of(liar, 1, 0)->kind, 4))
LIE(stamp_ahead, atomic_store(&slot_of(liar, 1, 0)->stamp, 2))
LIE(stamp_far, atomic_store(&slot_of(liar, 1, 0)->stamp, UINT64_MAX))
LIE(len_in_slot, atomic_store(&slot_of(liar, 1, 0)->len, CFB_RING_INLINE + 1))
LIE(len_beyond, atomic_store(&slot_of(liar, 1, 1)->len, CFB_CHANNEL_UNITS *CFB_RING_UNIT + 1))
LIE(place_beyond, atomic_store(&slot_of(liar, 1, 1)->place, CFB_CHANNEL_UNITS))
LIE(place_max, atomic_store(&slot_of(liar, 1, 1)->place, UINT32_MAX))
LIE(descriptors, atomic_store(&slot_of(liar, 1, 0)->n_descriptors, 1))
LIE(freed, atomic_store(&liar->shared->lines[0].freed, 1000000))
LIE(moved, cfb_ring_move(&liar->sender))

TEST(lies_are_told) {
        static const char *const modes[] = {"shm://victim?trust=yes", "shm://victim?trust=no"};

        for (int i = 0; i < 2; i++) {
                confab_endpoint *listener = victim_listens(modes[i]);

                told(listener, "kind", lie_kind);
                told(listener, "kind 4", lie_kind_4);
                told(listener, "stamp", lie_stamp_ahead);
                told(listener, "stamp, far", lie_stamp_far);
                told(listener, "len", lie_len_in_slot);
                told(listener, "len beyond data", lie_len_beyond);
                told(listener, "place", lie_place_beyond);
                told(listener, "place, max", lie_place_max);
                told(listener, "n_descriptors", lie_descriptors);
                told(listener, "freed", lie_freed);
                told(listener, "moved to nowhere", lie_moved);
                others_go_on(listener);
                confab_close(listener);
        }
}

/* Every 32 bits of head and of some slots, each with every interesting value, before and after a conversation. */
TEST_TIMEOUT(every_word_every_value, 300) {
        static const int64_t steps[] = {0, 1, -1, 2, 64, -64, 192, 1 << 20, INT32_MAX};
        static const uint32_t values[] = {0,  1,  2,  3,      4,       40,        41,
                                          63, 64, 65, 0xffff, 0x10000, INT32_MAX, UINT32_MAX};
        enum { N = sizeof(steps) / sizeof(steps[0]) + sizeof(values) / sizeof(values[0]) };
        confab_endpoint *listener = NULL;
        unsigned n = 0;

        for (size_t at = 0; at < CFB_CHANNEL_LEN; at += 4) {
                size_t ring = cfb_ring_len(CFB_CHANNEL_SLOTS, CFB_CHANNEL_UNITS);
                bool head = at < sizeof(struct cfb_channel_shared) && (at < 48 || at % 128 < 16);
                bool slot = at >= CFB_CHANNEL_HEAD &&
                            (at - CFB_CHANNEL_HEAD) % ring < (size_t)4 * CFB_RING_UNIT &&
                            at % CFB_RING_UNIT < 24;

                if (!head && !slot)
                        continue;
                for (int i = 0; i < N; i++) {
                        struct liar liar;
                        confab_endpoint *victim;
                        uint32_t *word;
                        size_t v = (size_t)i - sizeof(steps) / sizeof(steps[0]);

                        if (n % 256 == 0) {
                                confab_close(listener);
                                listener = victim_listens(n % 512 ? "shm://victim?trust=yes"
                                                                  : "shm://victim?trust=no");
                        }
                        liar_begin(&liar);
                        word = (uint32_t *)liar.shared + at / 4;
                        if (n % 3 == 0)
                                *word = (size_t)i < sizeof(steps) / sizeof(steps[0])
                                                ? *word + (uint32_t)steps[i]
                                                : values[v];
                        liar_says_hello(&liar);
                        victim = accept_of(listener);
                        liar_sends(&liar, 10);
                        liar_sends(&liar, 100);
                        victim_sends(victim, 10, CONFAB_NOW);
                        victim_sends(victim, 100, CONFAB_NOW);
                        if (n % 3 == 1)
                                victim_receives(victim, CONFAB_NOW);
                        if (n % 3)
                                __atomic_store_n(word,
                                                 (size_t)i < sizeof(steps) / sizeof(steps[0])
                                                         ? *word + (uint32_t)steps[i]
                                                         : values[v],
                                                 __ATOMIC_RELAXED);
                        all_it_can(victim);
                        confab_close(victim);
                        liar_ends(&liar);
                        n++;
                }
        }
        others_go_on(listener);
        confab_close(listener);
        check(n > 1000);
}

/* --- larger rings --- */

static int memory_packet(struct liar *liar, uint32_t n_slots, uint32_t n_units, int fd) {
        struct cfb_channel_packet packet = {.kind = CFB_CHANNEL_MEMORY,
                                            .n_slots = n_slots,
                                            .n_units = n_units,
                                            .position = liar->sender.position + 1};

        return tell_fds(liar->socket, &packet, sizeof(packet), &fd, 1);
}

TEST(moved_to_wrong_memory) {
        static const struct {
                uint32_t n_slots, n_units;
                int seals;
                int more; /* bytes */
        } wrong[] = {
                {1024, 8192, 0, 0},         {1024, 8192, ALL_SEALS, 4096},  {1024, 8192, ALL_SEALS, -4096},
                {1000, 8192, ALL_SEALS, 0}, {0, 8192, ALL_SEALS, 0},        {32, 8192, ALL_SEALS, 0},
                {8192, 8192, ALL_SEALS, 0}, {1024, 0, ALL_SEALS, 0},        {1024, 192, ALL_SEALS, 0},
                {1024, 383, ALL_SEALS, 0},  {1u << 31, 8192, ALL_SEALS, 0}, {1024, UINT32_MAX, ALL_SEALS, 0},
        };
        confab_endpoint *listener = victim_listens("shm://victim");

        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
                struct liar liar;
                confab_endpoint *victim;
                size_t len = cfb_ring_len(wrong[i].n_slots % 65536, wrong[i].n_units % 65536);
                int fd = sealed((size_t)((ptrdiff_t)len + wrong[i].more), wrong[i].seals);

                liar_begin(&liar);
                liar_says_hello(&liar);
                victim = accept_of(listener);
                check_eq(memory_packet(&liar, wrong[i].n_slots, wrong[i].n_units, fd), 0);
                cfb_ring_move(&liar.sender);
                check_eq(victim_receives(victim, soon()), -EPROTO);
                confab_close(victim);
                close(fd);
                liar_ends(&liar);
        }
        others_go_on(listener);
        confab_close(listener);
}

/* Each larger than the last, without a message between: it ends soon, in one call. */
TEST(moved_for_ever) {
        confab_endpoint *listener = victim_listens("shm://victim?max=1MiB"), *victim;
        struct cfb_ring_memory memory = {.n_slots = 64, .n_units = 384}, before = {0};
        struct liar liar;
        int moves = 0, r = -EAGAIN;

        liar_begin(&liar);
        liar_says_hello(&liar);
        victim = accept_of(listener);
        for (; r == -EAGAIN && moves < 1000; moves++, memory.n_units *= 2) {
                int fd;

                memory.len = cfb_ring_len(memory.n_slots, memory.n_units);
                fd = sealed(memory.len, ALL_SEALS);
                memory.bytes = mmap(NULL, memory.len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
                check(memory.bytes != MAP_FAILED);
                check_eq(memory_packet(&liar, memory.n_slots, memory.n_units, fd), 0);
                cfb_ring_move(&liar.sender);
                check_eq(cfb_ring_send_from(&liar.sender, &liar.shared->lines[1], &memory,
                                            liar.sender.position),
                         0);
                if (before.bytes)
                        munmap(before.bytes, before.len);
                before = memory;
                close(fd);
                r = victim_receives(victim, CONFAB_NOW);
        }
        munmap(before.bytes, before.len);
        check_eq(r, -EPROTO);
        check(moves > 4 && moves < 32);
        confab_close(victim);
        liar_ends(&liar);
        confab_close(listener);
}

/* --- the socket --- */

static int n_open(void) {
        DIR *dir = opendir("/proc/self/fd");
        int n = 0;

        check(dir);
        while (readdir(dir))
                n++;
        closedir(dir);
        return n;
}

TEST(descriptors_without_messages) {
        confab_endpoint *listener = victim_listens("shm://victim"), *victim;
        struct cfb_channel_packet packet = {.kind = CFB_CHANNEL_DESCRIPTORS};
        int fds[CFB_DESCRIPTORS_MAX], before, r = -EAGAIN;
        struct liar liar;

        liar_begin(&liar);
        liar_says_hello(&liar);
        victim = accept_of(listener);
        for (int i = 0; i < CFB_DESCRIPTORS_MAX; i++)
                fds[i] = 0;
        before = n_open();
        for (int i = 0;
             i < 50 && tell_fds(liar.socket, &packet, sizeof(packet), fds, i ? CFB_DESCRIPTORS_MAX : 1) == 0;
             i++)
                packet.position++;
        for (int i = 0; i < 3000 && r == -EAGAIN; i++) /* a look at the socket now and then */
                r = victim_receives(victim, CONFAB_NOW);
        check_eq(r, -EPROTO);
        check(n_open() - before <= 3 * CFB_DESCRIPTORS_MAX);
        others_go_on(listener);
        confab_close(victim);
        liar_ends(&liar);
        confab_close(listener);
}

/* The runner counts descriptors at the end. */
TEST(descriptors_where_none_belong) {
        confab_endpoint *listener = victim_listens("shm://victim"), *victim;
        int fds[4] = {0, 0, 0, 0}, one = 1;

        for (int way = 0; way < 6; way++) {
                struct cfb_channel_packet packet = {.kind = way == 2 ? CFB_CHANNEL_HELLO : 77};
                size_t len = way == 0 ? 0 : way == 1 ? 3 : sizeof(packet);
                struct liar liar;
                int before;

                liar_begin(&liar);
                liar_says_hello(&liar);
                victim = accept_of(listener);
                victim_receives(victim, after_ms(1)); /* a thread's first wait makes a descriptor */
                before = n_open();
                if (way < 4) {
                        check_eq(tell_fds(liar.socket, &packet, len, fds, 4), 0);
                } else { /* the bell: descriptors in it, and what its giver may ask the kernel for (SO_PASSPIDFD; before Linux 6.5 nothing) */
                        setsockopt(liar.given_bell, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one));
                        if (way == 5)
                                setsockopt(liar.given_bell, SOL_SOCKET, 76, &one, sizeof(one));
                        check_eq(tell_fds(liar.bell, &packet, 1, fds, 4), 0);
                        while (victim_sends(victim, 40, CONFAB_NOW) >= 0)
                                ;
                        victim_sends(victim, 40, after_ms(20));
                }
                victim_receives(victim, after_ms(10));
                check_eq(n_open(), before);
                confab_close(victim);
                liar_ends(&liar);
        }
        others_go_on(listener);
        confab_close(listener);
}

/* Bells for nothing, without end: the deadline holds. */
TEST(bells_for_nothing) {
        confab_endpoint *listener = victim_listens("shm://victim"), *victim;
        struct liar liar;
        pid_t pid;

        liar_begin(&liar);
        liar_says_hello(&liar);
        victim = accept_of(listener);
        while (victim_sends(victim, 40, CONFAB_NOW) >= 0)
                ;
        pid = fork();
        if (pid == 0) {
                for (;;) {
                        send(liar.socket, "b", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
                        send(liar.bell, "b", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
                }
        }
        check(pid > 0);
        for (int i = 0; i < 5; i++) {
                check_eq(victim_receives(victim, after_ms(10)), -ETIMEDOUT);
                check_eq(victim_sends(victim, 40, after_ms(10)), -ETIMEDOUT);
        }
        kill(pid, SIGKILL);
        reap(pid);
        confab_close(victim);
        liar_ends(&liar);
        confab_close(listener);
}

/* --- all of it at random --- */

static uint64_t random_of(uint64_t *state) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        return *state;
}

/* Mostly what may change at any time, the bytes of messages; of the rest now and then a word, so that the victim gets some way. */
static void scribble(struct liar *liar, uint64_t *state) {
        uint64_t what = random_of(state), value = random_of(state);
        size_t at = (size_t)(random_of(state) % (CFB_CHANNEL_LEN / 4));
        size_t in_unit = at % (CFB_RING_UNIT / 4), in_ring = at * 4 - CFB_CHANNEL_HEAD;
        uint32_t *words = (uint32_t *)liar->shared;
        bool is_slot = at * 4 >= CFB_CHANNEL_HEAD && in_unit < 6 &&
                       in_ring % cfb_ring_len(CFB_CHANNEL_SLOTS, CFB_CHANNEL_UNITS) <
                               (size_t)CFB_CHANNEL_SLOTS * CFB_RING_UNIT;

        if (what % 64 == 0) /* the lines */
                at %= sizeof(struct cfb_channel_shared) / 4;
        else if (is_slot && what % 8)
                at += 8;
        if (what % 16 < 12) /* what could be a position, a length, a kind */
                value %= what % 16 < 6 ? 5 : 200;
        __atomic_store_n(&words[at], (uint32_t)value, __ATOMIC_RELAXED);
        if (what % 5 == 0)
                liar_sends(liar, value % 150);
        if (what % 5003 == 0)
                fallocate(liar->memory_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                          (off_t)(at * 4 / 4096 * 4096), 4096);
        if (what % 4001 == 0)
                check(ftruncate(liar->memory_fd, (off_t)at) < 0);
        if (what % 499 == 0) {
                struct cfb_channel_packet packet = {.kind = (uint32_t)(value % 6),
                                                    .n_slots = 1u << value % 13,
                                                    .n_units = (uint32_t)(value % 9000),
                                                    .position = random_of(state) % 8};

                tell_fds(what % 2 ? liar->socket : liar->bell, &packet, value % (sizeof(packet) + 1),
                         (int[]){liar->memory_fd, 0}, (unsigned)(value % 3));
        }
}

static bool has_hung_up(int socket) {
        struct pollfd pollfd = {.fd = socket, .events = POLLRDHUP};

        return poll(&pollfd, 1, 0) > 0;
}

static void scribbles(uint64_t n) {
        uint64_t state = 0x9e3779b97f4a7c15 ^ n, done = 0;

        while (done < n) {
                struct liar liar;
                uint64_t round = 50 + random_of(&state) % 4000;

                liar_begin(&liar);
                for (int i = 0; i < 10; i++)
                        liar_sends(&liar, (size_t)i * 20);
                tell_fds(liar.socket, &hello, sizeof(hello), (int[]){liar.memory_fd, liar.given_bell},
                         2); /* the victim may have had enough */
                for (int i = 0; i < 20 && !atomic_load(&liar.shared->ends[0].flags) && round % 4; i++)
                        sched_yield();
                for (uint64_t i = 0; i < round && (i % 64 || !has_hung_up(liar.socket)); i++, done++) {
                        scribble(&liar, &state);
                        if (i % 256 == 0) /* now and then, or the victim sees only what it has become */
                                sched_yield();
                }
                liar_ends(&liar);
        }
}

TEST_TIMEOUT(a_scribbler, 600) {
        const char *given = getenv("SCRIBBLES");
        uint64_t n = given ? strtoull(given, NULL, 0) : 100000;
        confab_endpoint *listener = NULL;
        uint64_t n_served = 0, n_came = 0, n_lies = 0;

        for (int trusted = 0; trusted < 2; trusted++) {
                int status;
                pid_t pid;

                listener = victim_listens(trusted ? "shm://victim?trust=yes" : "shm://victim?trust=no");
                pid = fork();
                if (pid == 0) {
                        scribbles(n / 2);
                        _exit(0);
                }
                check(pid > 0);
                while (restarted(waitpid(pid, &status, WNOHANG)) == 0) {
                        confab_endpoint *victim = NULL;
                        int r = confab_accept(&victim, listener, after_ms(20));

                        if (r < 0) {
                                check(r == -ETIMEDOUT || r == -EAGAIN);
                                continue;
                        }
                        n_served++;
                        for (int i = 0; i < 300; i++) {
                                int64_t s = victim_sends(victim, i % 3 ? 30 : 700, CONFAB_NOW);

                                r = victim_receives(victim, i % 50 == 49 ? after_ms(1) : CONFAB_NOW);
                                n_came += r == 1;
                                n_lies += r == -EPROTO;
                                if (s < 0 && s != -EAGAIN && r <= 0 && r != -EAGAIN)
                                        break;
                        }
                        confab_close(victim);
                }
                check_eq(status, 0);
                while (1) { /* those it left in the queue */
                        confab_endpoint *victim = NULL;

                        if (confab_accept(&victim, listener, CONFAB_NOW) < 0)
                                break;
                        all_it_can(victim);
                        confab_close(victim);
                }
                others_go_on(listener);
                confab_close(listener);
        }
        printf("%llu channels, %llu messages, %llu lies\n", (unsigned long long)n_served,
               (unsigned long long)n_came, (unsigned long long)n_lies);
        check(n_served > 10 && n_came > 0 && n_lies > 0);
}
