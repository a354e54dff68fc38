/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* Sleeping and waking between two processes: no wake-up is lost, none is made where nobody sleeps; spinning learns. */
#include "conversation.h"
#include "harness.h"
#include "shm/park.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

struct shared {
        _Atomic uint32_t park;
        _Alignas(128) _Atomic uint64_t published;
        _Alignas(128) _Atomic uint32_t back_park;
        _Alignas(128) _Atomic uint64_t back;
};

static struct shared *share(void) {
        struct shared *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

        check(shared != MAP_FAILED);
        return shared;
}

static void publish(_Atomic uint64_t *word, _Atomic uint32_t *park, uint64_t value, bool light) {
        atomic_store_explicit(word, value, memory_order_release);
        if (cfb_park_look(park, light))
                cfb_park_wake(park);
}

/* Sleeps at once: the other side comes just before, in between and after. */
static void await(_Atomic uint64_t *word, _Atomic uint32_t *park, uint64_t value, bool light) {
        while (atomic_load_explicit(word, memory_order_acquire) < value) {
                cfb_park_arm(park, CFB_PARK_FUTEX, light);
                if (atomic_load_explicit(word, memory_order_acquire) < value)
                        check_eq(cfb_park_sleep(park, soon()), 0); /* -ETIMEDOUT: a wake-up was lost */
                cfb_park_disarm(park);
        }
}

static void hand_off(bool light, uint64_t n) {
        struct shared *shared = share();
        pid_t child = fork();

        check(child >= 0);
        if (child == 0) {
                if (light)
                        check(cfb_park_register());
                for (uint64_t i = 1; i <= n; i++) {
                        await(&shared->published, &shared->park, i, light);
                        publish(&shared->back, &shared->back_park, i, light);
                }
                _exit(0);
        }
        if (light)
                check(cfb_park_register());
        for (uint64_t i = 1; i <= n; i++) {
                publish(&shared->published, &shared->park, i, light);
                await(&shared->back, &shared->back_park, i, light);
        }
        ended_well(child);
}

TEST_TIMEOUT(hand_offs_with_membarrier, 120) {
        if (!cfb_park_register()) /* an emulator */
                return hand_off(false, 1000);
        hand_off(true, 20000);
}

TEST_TIMEOUT(hand_offs_with_full_fences, 120) {
        hand_off(false, 20000);
}

TEST(a_deadline_ends_a_sleep) {
        struct shared *shared = share();
        int64_t begin_ns = confab_now();

        cfb_park_arm(&shared->park, CFB_PARK_FUTEX, false);
        check_eq(cfb_park_sleep(&shared->park, after_ms(30)), -ETIMEDOUT);
        check(elapsed_ms(begin_ns) >= 30);
        check_eq(cfb_park_sleep(&shared->park, 1), -ETIMEDOUT); /* long past */
}

TEST(nothing_armed_is_no_sleep) {
        struct shared *shared = share();

        check_eq(cfb_park_sleep(&shared->park, soon()), 0);
        cfb_park_arm(&shared->park, CFB_PARK_FUTEX, false);
        cfb_park_poke(&shared->park); /* before the sleep: it is not slept through */
        check_eq(cfb_park_sleep(&shared->park, soon()), 0);
}

TEST(a_bell_is_asked_for) {
        struct shared *shared = share();

        cfb_park_arm(&shared->park, CFB_PARK_BELL, false);
        check(cfb_park_wake(&shared->park));
        check_eq(shared->park, 0);
        check(!cfb_park_wake(&shared->park));
        cfb_park_arm(&shared->park, CFB_PARK_FUTEX, false);
        check(!cfb_park_wake(&shared->park));
}

TEST(a_killed_sleeper_costs_nothing) {
        struct shared *shared = share();
        pid_t child = fork();

        check(child >= 0);
        if (child == 0) {
                cfb_park_arm(&shared->park, CFB_PARK_FUTEX, false);
                cfb_park_sleep(&shared->park, CONFAB_FOREVER);
                _exit(0);
        }
        while (!shared->park)
                nap_ms(1);
        kill(child, SIGKILL);
        check_eq(reap(child), SIGKILL);
        publish(&shared->published, &shared->park, 1, true);
        check_eq(shared->park, 0);
        await(&shared->published, &shared->park, 1, false);
}

/* --- spinning --- */

static bool spins(struct cfb_spin *spin) {
        cfb_spin_begin(spin, CONFAB_FOREVER);
        return spin->until_ns != 0;
}

TEST(spinning_learns) {
        struct cfb_spin spin = {0};
        unsigned left_out = 0;

        if (sysconf(_SC_NPROCESSORS_ONLN) < 2) {
                check(!spins(&spin)); /* it would keep the other side from running */
                return;
        }
        for (int i = 0; i < 10; i++) { /* a good one is repeated */
                check(spins(&spin));
                cfb_spin_judge(&spin, true);
        }
        check(spins(&spin));
        cfb_spin_judge(&spin, false);
        for (unsigned expected = 1; expected < CFB_SPIN_LEAVES_OUT * 2; expected *= 2) {
                for (left_out = 0; !spins(&spin); left_out++)
                        cfb_spin_judge(&spin, false);
                check_eq(left_out, expected);
                cfb_spin_judge(&spin, false);
        }
        for (left_out = 0; !spins(&spin); left_out++)
                ;
        check_eq(left_out, CFB_SPIN_LEAVES_OUT); /* and not rarer than that */
        cfb_spin_judge(&spin, true);
        check(spins(&spin));
}

TEST(spinning_ends) {
        struct cfb_spin spin = {0};
        int64_t begin_ns = confab_now();

        if (!spins(&spin))
                return;
        while (cfb_spin_next(&spin))
                ;
        check(confab_now() >= begin_ns + CFB_SPIN_NS);
        cfb_spin_begin(&spin, confab_now() - 1);
        check(!cfb_spin_next(&spin)); /* no time left */
}
