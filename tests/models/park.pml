/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * The event count of src/shm/park.h, for spin (check.sh runs it): a sleeper that takes N things, a waker that publishes them, an interrupter in the
 * sleeper's process. Each process has a store buffer of x86 (TSO): its stores reach memory later, in order; it reads its own first; a
 * read-modify-write or a fence waits until the buffer is empty. membarrier waits until every buffer is.
 *
 *   SLEEPER_FENCE   0: none; the arm is a plain store   1: the arm is a read-modify-write   2: then membarrier, too
 *   WAKER_FENCE     0: none but the compiler's          1: looks by a read-modify-write
 *   LOOK_FIRST      1: the sleeper looks before it arms, and not after
 *   POKE_LAST       1: the interrupter pokes before it says why
 *
 * Nobody sleeps for ever: no end state but that where all have ended. (What is published is a count; the deadline is taken only by DEADLINE.)
 */
#ifndef SLEEPER_FENCE
#define SLEEPER_FENCE 2
#endif
#ifndef WAKER_FENCE
#define WAKER_FENCE 0
#endif
#ifndef LOOK_FIRST
#define LOOK_FIRST 0
#endif
#ifndef POKE_LAST
#define POKE_LAST 0
#endif
#ifndef N
#define N 3
#endif

#define FUTEX 1
#define BELL  2
#define POKE  4

byte park = 0;            /* in shared memory */
byte there = 0;           /* published, as memory has it */
byte unseen = 0;          /* of these, stores still in the waker's buffer */
bool armed_unseen = false; /* the sleeper's plain store, in its buffer */
byte armed_with = 0;
bool interrupted = false; /* a reason that the sleeper looks at after it armed */
bool futex_asleep = false;
byte bells = 0;           /* packets in the socket */
bool over = false;        /* the interrupter has done its part */
byte taken = 0;

/* A store reaches memory whenever it likes. */
active proctype drains() {
end:
        do
        :: atomic { unseen > 0 -> there++; unseen-- }
        :: atomic { armed_unseen -> park = park | armed_with; armed_unseen = false }
        od
}

/* What cfb_park_wake does: one exchange, a call for each bit. */
inline wake(bits) {
        atomic { (unseen == 0) -> bits = park; park = 0 }
        if
        :: (bits & FUTEX) -> futex_asleep = false
        :: else
        fi;
        if
        :: (bits & BELL) -> bells++
        :: else
        fi;
        bits = 0
}

active proctype waker() {
        byte i = 0, seen = 0;

        do
        :: i < N ->
                unseen++; /* publish */
#if WAKER_FENCE
                atomic { (unseen == 0) -> seen = park };
#else
                seen = park;
#endif
                if
                :: seen != 0 -> wake(seen)
                :: else
                fi;
                seen = 0;
                i++
        :: else -> break
        od
}

active proctype interrupter() {
        byte before = 0;

#if POKE_LAST
        atomic { before = park; park = park | POKE };
        if
        :: (before & FUTEX) -> futex_asleep = false
        :: else
        fi;
        interrupted = true;
#else
        interrupted = true; /* seq_cst */
        atomic { before = park; park = park | POKE };
        if
        :: (before & FUTEX) -> futex_asleep = false
        :: else
        fi;
#endif
        over = true
}

inline arm(bits) {
#if SLEEPER_FENCE == 0
        atomic { (!armed_unseen) -> armed_with = bits; armed_unseen = true };
#else
        atomic { (!armed_unseen) -> park = park | bits };
#endif
#if SLEEPER_FENCE == 2
        (unseen == 0); /* membarrier */
#endif
}

inline disarm() {
        atomic { (!armed_unseen) -> park = 0 }
}

active proctype sleeper() {
        bool saw_interrupt = false;
        bool looked = false;

        do
        :: taken < N || !saw_interrupt ->
                looked = false;
                if /* the quick look, or none */
                :: there > taken -> taken++; goto again
                :: else
                fi;
#if LOOK_FIRST
                looked = (there > taken);
#endif
                if
                :: true -> /* on the futex */
                        arm(FUTEX);
#if !LOOK_FIRST
                        looked = (there > taken);
#endif
                        if
                        :: looked || (interrupted && !saw_interrupt) -> skip
                        :: else ->
                                /* The kernel compares and goes to sleep in one step; what is in the buffer it has written by then. */
                                atomic {
                                        (!armed_unseen);
                                        if
                                        :: park == FUTEX -> futex_asleep = true
                                        :: else
                                        fi
                                };
                                if
                                :: !futex_asleep -> skip
#ifdef DEADLINE
                                :: atomic { futex_asleep -> futex_asleep = false }
#endif
                                fi
                        fi;
                        disarm()
                :: true -> /* in poll, on the bell; the wake descriptor tells of interrupts, see core/wait.c */
                        arm(BELL);
#if !LOOK_FIRST
                        looked = (there > taken);
#endif
                        if
                        :: looked || (interrupted && !saw_interrupt) -> skip
                        :: else ->
                                if
                                :: bells > 0 -> bells--
                                :: interrupted && !saw_interrupt -> skip
#ifdef DEADLINE
                                :: true -> skip
#endif
                                fi
                        fi;
                        disarm()
                fi;
again:
                if
                :: interrupted && !saw_interrupt -> saw_interrupt = true
                :: else
                fi
        :: else -> break
        od;
        assert(taken == N)
}
