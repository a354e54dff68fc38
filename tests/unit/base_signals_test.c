/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include "base/signals.h"
#include "harness.h"

#include <confab/confab.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static struct confab_signal described(int number) {
        struct confab_signal signal = {.size = sizeof(signal)};

        check_ok(confab_signal_describe(&signal, number));
        check_eq(signal.number, number);
        return signal;
}

TEST(names_lead_to_numbers) {
        static const struct {
                const char *name;
                int number;
        } known[] = {{"INT", SIGINT},  {"SIGINT", SIGINT}, {"int", SIGINT},    {"SigInt", SIGINT},
                     {"2", 2},         {"0", 0},           {"CLD", SIGCHLD},   {"POLL", SIGIO},
                     {"iot", SIGABRT}, {"64", 64},         {"SIGSYS", SIGSYS}, {"02", 2}};

        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
                check_eq(confab_signal_number(known[i].name), known[i].number);
        check_eq(confab_signal_number("RTMIN"), SIGRTMIN);
        check_eq(confab_signal_number("RTMIN+3"), SIGRTMIN + 3);
        check_eq(confab_signal_number("sigrtmax-1"), SIGRTMAX - 1);
        check_eq(confab_signal_number("RTMAX"), SIGRTMAX);
}

TEST(what_is_no_name_is_refused_with_what_there_is) {
        static const char *const wrong[] = {"",       "SIG",     "FOO",        "RTMIN-1", "RTMAX+1",
                                            "RTMIN+", "RTMIN+x", "RTMIN+99",   "RTMINI",  "SIGSIGINT",
                                            "-1",     "65",      "32",         "1000",    " INT",
                                            "INT ",   "RT",      "99999999999"};
        char text[400];

        for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
                check_eq(confab_signal_number(wrong[i]), -EINVAL);
        check_eq(confab_signal_number(NULL), -EINVAL);
        check_eq(confab_signal_number("HUPP"), -EINVAL);
        confab_explain(text, sizeof(text));
        check(strstr(text, "HUPP") && strstr(text, "RTMIN+3") && strstr(text, "confab signal"));
}

/* The table is whole, its names lead back to it, and the default actions are what the kernel does. */
TEST(the_table_is_the_kernels) {
        int n = 0;

        for (int number = 1; number <= SIGRTMAX; number++) {
                struct confab_signal signal = {.size = sizeof(signal)};

                if (confab_signal_describe(&signal, number) < 0) {
                        check(number > 31 && number < SIGRTMIN);
                        continue;
                }
                n++;
                check_eq(signal.number, number);
                check_eq(confab_signal_number(signal.name), number);
                check(strlen(signal.comment) > 5 && strlen(signal.comment) < 90);
                check_eq((signal.flags & CONFAB_SIGNAL_QUEUED) != 0, number >= SIGRTMIN);
        }
        check_eq(n, 31 + SIGRTMAX - SIGRTMIN + 1);
        check_eq(described(SIGKILL).flags, CONFAB_SIGNAL_UNCATCHABLE);
        check_eq(described(SIGSTOP).flags, CONFAB_SIGNAL_UNCATCHABLE);
        check_eq(described(SIGSEGV).flags, CONFAB_SIGNAL_FAULT);
        check_str(described(SIGCHLD).action_name, "ignore");
        check_str(described(SIGCONT).action_name, "continue");
        check_str(described(SIGTSTP).action_name, "stop");
        check_str(described(SIGQUIT).action_name, "core");
        check_str(described(SIGTERM).action_name, "terminate");
        check_str(described(SIGRTMIN + 1).name, "SIGRTMIN+1");
        check_str(described(SIGRTMAX - 2).name, "SIGRTMAX-2");
        check_str(described(SIGRTMAX).name, "SIGRTMAX");
}

TEST(the_c_librarys_own_are_refused) {
        struct confab_signal signal = {.size = sizeof(signal)};
        char text[400];

        check_eq(confab_signal_describe(&signal, 32), -EINVAL);
        confab_explain(text, sizeof(text));
        check(strstr(text, "the C library"));
        check_eq(confab_signal_describe(&signal, 0), -EINVAL);
        check_eq(confab_signal_describe(&signal, -2), -EINVAL);
        check_eq(confab_signal_describe(&signal, 65), -EINVAL);
        signal.size = 0;
        check_eq(confab_signal_describe(&signal, 1), -EINVAL);
}

TEST(numbers_within_lists) {
        check_eq(cfb_signal_number_of("USR1,USR2", 4), SIGUSR1);
        check_eq(cfb_signal_number_of("USR1,USR2", 3), -EINVAL);
        check_eq(cfb_signal_number_of("RTMIN+1x", 7), SIGRTMIN + 1);
        check_eq(cfb_signal_number_of("10,", 2), 10);
        check_eq(cfb_signal_number_of("", 0), -EINVAL);
}

/* Which fields of a siginfo mean anything depends on its code, and only some codes are the kernel's. */
TEST(what_came_is_decoded_by_its_code) {
        static const struct {
                int number, code, status;
                uint32_t flags;
                bool who;
                int32_t becomes;
        } cases[] = {
                {SIGUSR1, SI_USER, 0, 0, true, 0},
                {SIGUSR1, SI_TKILL, 0, 0, true, 0},
                {SIGUSR1, SI_QUEUE, 0, CONFAB_RECEIVED_VALUE | CONFAB_RECEIVED_CLAIMED, true, 0},
                {SIGCHLD, SI_KERNEL, 0, 0, false, 0},
                {SIGALRM, SI_KERNEL, 0, 0, false, 0},
                {SIGCHLD, CLD_EXITED, 3, CONFAB_RECEIVED_STATUS, true, 3 << 8},
                {SIGCHLD, CLD_KILLED, SIGTERM, CONFAB_RECEIVED_STATUS, true, SIGTERM},
                {SIGCHLD, CLD_DUMPED, SIGSEGV, CONFAB_RECEIVED_STATUS, true, SIGSEGV | 0x80},
                {SIGCHLD, CLD_STOPPED, SIGSTOP, CONFAB_RECEIVED_STATUS, true, SIGSTOP << 8 | 0x7F},
                {SIGCHLD, CLD_CONTINUED, SIGCONT, CONFAB_RECEIVED_STATUS, true, 0xFFFF},
                {SIGCHLD, SI_USER, 0, 0, true, 0},
        };

        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
                struct confab_signal_received received;
                siginfo_t info = {0};

                info.si_signo = cases[i].number;
                info.si_code = cases[i].code;
                if (cases[i].who) {
                        info.si_pid = 77;
                        info.si_uid = 88;
                }
                if (cases[i].flags & CONFAB_RECEIVED_VALUE)
                        info.si_value.sival_int = -5;
                if (cases[i].number == SIGCHLD && cases[i].code > 0)
                        info.si_status = cases[i].status;
                cfb_signal_decode(&received, &info);
                check_eq(received.number, cases[i].number);
                check_eq(received.flags, cases[i].flags);
                check_eq(received.pid, cases[i].who ? 77 : 0);
                check_eq(received.uid, cases[i].who ? 88 : 0);
                check_eq(received.value, cases[i].flags & CONFAB_RECEIVED_VALUE ? -5 : 0);
                check_eq(received.status, cases[i].becomes);
        }
}
