/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* The record of a failure, and the sentence: whatever came from outside, it can be shown and cut. */
#include "base/error.h"
#include "base/libc.h"

#include "base/utf8.h"
#include "harness.h"

#include <confab/types.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>

static const char *sentence(void) {
        static char text[1024];

        check(confab_explain(text, sizeof(text)) < sizeof(text));
        return text;
}

static size_t explain_numbers(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used, "%s: %s: %s %lld of ", failure->subject, failure->call,
                   failure->detail, (long long)failure->a);
        cfb_append(text, text_cap, &used, "%lld", (long long)failure->b);
        return used;
}

TEST(nothing_has_failed_yet) {
        char text[8] = "x";

        check_eq(confab_explain(text, sizeof(text)), 0);
        check_str(text, "");
        check_eq(confab_explain(NULL, 0), 0);
}

TEST(sentences) {
        check_eq(cfb_failed(-ENOENT, "open", "fifo:///x"), -ENOENT);
        check(strstr(sentence(), "fifo:///x: open: it does not exist; "));
        check_eq(cfb_failed(-EXDEV, NULL, NULL), -EXDEV);
        check_str(sentence(), cfb_errno_text(EXDEV));
        cfb_failed_with(-EINVAL, "send", "a://", NULL, "why so", 0, 0);
        check_str(sentence(), "a://: send: Invalid argument (why so)");
        cfb_failed_with(-EINVAL, "send", "a://", explain_numbers, "part", 3, INT64_MIN);
        check_str(sentence(), "a://: send: part 3 of -9223372036854775808");
        check_eq(cfb_last_failure()->a, 3);
}

/* As snprintf: the whole length, however little is written; never a character in part. */
TEST(sentences_cut_anywhere) {
        char whole[256], cut[256];
        size_t len;

        cfb_failed(-ENOENT, "open",
                   "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80-x-\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
        len = confab_explain(whole, sizeof(whole));
        check_eq(len, strlen(whole));
        check_eq(confab_explain(NULL, 0), len);
        for (size_t cap = 1; cap <= len + 1; cap++) {
                size_t at = 0;

                memset(cut, '#', sizeof(cut));
                check_eq(confab_explain(cut, cap), len);
                check_eq(cut[cap], '#');
                check(strlen(cut) < cap && strlen(cut) + 4 >= cap);
                check_mem(cut, whole, strlen(cut));
                while (cut[at]) {
                        check(cfb_character_len(cut + at) > 0);
                        at += cfb_character_len(cut + at);
                }
        }
}

TEST(long_subjects_are_cut_at_a_character) {
        char subject[400];

        for (size_t shift = 0; shift < 4; shift++) {
                memset(subject, 'a', sizeof(subject));
                for (size_t i = shift; i + 4 < sizeof(subject); i += 4)
                        memcpy(subject + i, "\xf0\x9f\x98\x80", 4);
                subject[sizeof(subject) - 1] = '\0';
                cfb_failed_with(-EINVAL, "open", subject, NULL, subject, 0, 0);
                check(!strchr(sentence(), '?'));
                for (const char *p = sentence(); *p; p += cfb_character_len(p))
                        check(cfb_character_len(p) > 0);
        }
}

/* Escape sequences in the one and the other range, and bytes that are no text at all. */
TEST(nothing_from_outside_reaches_a_terminal) {
        cfb_failed(-EINVAL, "open", "a\x1b[31m\n\x7f\xc2\x9b\x9b\xff\xc3z\xc3\xa4");
        check(strstr(sentence(), "a?[31m???????z\xc3\xa4: open: "));
}

static void *fail_elsewhere(void *unused) {
        cfb_failed(-EPERM, "open", "elsewhere");
        return unused;
}

TEST(each_thread_has_its_own) {
        pthread_t thread;

        cfb_failed(-ENOENT, "open", "here");
        check_eq(pthread_create(&thread, NULL, fail_elsewhere, NULL), 0);
        check_eq(pthread_join(thread, NULL), 0);
        check(strstr(sentence(), "here: open: "));
}
