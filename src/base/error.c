/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * The last failure of a thread, and confab_explain, which makes a sentence of it.
 *
 * Recording copies at most 350 bytes and formats nothing, because programs probe with CONFAB_NOW and open in loops; -EAGAIN
 * is not recorded at all by its callers. The record is thread-local with the initial-exec model: writing it from any thread
 * allocates nothing.
 */
#include "base/error.h"

#include "base/cancel.h"
#include "base/libc.h"
#include "base/utf8.h"

#include <confab/types.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local struct cfb_failure last;

static void copy_cut(char *to, size_t to_cap, const char *from) {
        size_t len = from ? strlen(from) : 0;

        if (len >= to_cap) {
                len = to_cap - 1;
                while (len && ((unsigned char)from[len] & 0xC0) == 0x80) /* not within a character */
                        len--;
        }
        if (len)
                memcpy(to, from, len);
        to[len] = '\0';
}

void cfb_record_with(int error, const char *call, const char *subject, cfb_explainer *explain,
                     const char *detail, int64_t a, int64_t b) {
        last.error = error;
        last.call = call;
        copy_cut(last.subject, sizeof(last.subject), subject);
        copy_cut(last.detail, sizeof(last.detail), detail);
        last.a = a;
        last.b = b;
        last.explain = explain;
        (void)cfb_trace(error);
}

void cfb_record(int error, const char *call, const char *subject) {
        cfb_record_with(error, call, subject, NULL, NULL, 0, 0);
}

struct cfb_failure *cfb_last_failure(void) {
        return &last;
}

#ifdef CFB_DEBUG
#include <stdlib.h>

int cfb_trace_at(int result, const char *file, int line) {
        if (result < 0 && getenv("CONFAB_TRACE"))
                dprintf(2, "confab: %d (%s) at %s:%d\n", result, cfb_errno_text(-result), file, line);
        return result;
}
#endif

void cfb_append(char *text, size_t text_cap, size_t *used, const char *format, ...) {
        va_list arguments;
        int n;

        va_start(arguments, format);
        n = vsnprintf(*used < text_cap ? text + *used : NULL, *used < text_cap ? text_cap - *used : 0, format,
                      arguments);
        va_end(arguments);
        if (n > 0)
                *used += (size_t)n;
}

/* What errno alone lets one advise; an explainer knows more. */
static const struct {
        int error;
        const char *means, *hint;
} generals[] = {
        {ETIMEDOUT, "the deadline passed", "give it more time, or see whether the other side still runs"},
        {EAGAIN, "it would have to wait", "call again later or with a deadline"},
        {EINTR, "confab_interrupt ended the wait", NULL},
        {ECANCELED, "another thread closed the endpoint", NULL},
        {ENOMEM, "no memory", NULL},
        {EACCES, "no permission", NULL},
        {EPERM, "not permitted", NULL},
        {ENOENT, "it does not exist", "start the side that listens, or create it first"},
        {ECONNREFUSED, "connection refused", "nobody listens there: start the side that listens"},
        {EADDRINUSE, "somebody else has this address",
         "end the program that listens there, or take another address"},
        {EPIPE, "the other side has gone", NULL},
        {ECONNRESET, "the other side ended the connection without closing it", NULL},
        {EMFILE, "no descriptor is left in this process", "raise RLIMIT_NOFILE (ulimit -n)"},
        {ENFILE, "no descriptor is left on this machine", "raise the sysctl fs.file-max"},
        {EOWNERDEAD, "this end belongs to the process that forked",
         "call confab_adopt, or open one in the child"},
};

static size_t explain_general(const struct cfb_failure *failure, char *text, size_t text_cap) {
        const char *means = cfb_errno_text(-failure->error), *hint = NULL;
        size_t used = 0;

        for (size_t i = 0; i < sizeof(generals) / sizeof(generals[0]); i++)
                if (generals[i].error == -failure->error) {
                        means = generals[i].means;
                        hint = generals[i].hint;
                }
        if (text_cap)
                text[0] = '\0';
        if (failure->subject[0])
                cfb_append(text, text_cap, &used, "%s: ", failure->subject);
        if (failure->call)
                cfb_append(text, text_cap, &used, "%s: ", failure->call);
        cfb_append(text, text_cap, &used, "%s", means ? means : "unknown error");
        if (failure->detail[0])
                cfb_append(text, text_cap, &used, " (%s)", failure->detail);
        if (hint)
                cfb_append(text, text_cap, &used, "; %s", hint);
        return used;
}

/* A sentence cut in the middle of a UTF-8 character would make the whole line invalid for its reader. */
static void cut_whole_characters(char *text, size_t text_cap, size_t len) {
        size_t at;

        if (!text_cap || len < text_cap)
                return;
        at = text_cap - 1;
        while (at > 0 && ((unsigned char)text[at - 1] & 0xC0) == 0x80)
                at--;
        if (at > 0 && (unsigned char)text[at - 1] >= 0xC0) {
                unsigned char lead = (unsigned char)text[at - 1];
                size_t need = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;

                if (text_cap - 1 - (at - 1) < need)
                        text[at - 1] = '\0';
        }
}

/* Subjects come from outside: nothing of theirs gives orders to a terminal, and no reader of UTF-8 trips over them. */
static void make_harmless(char *text, size_t text_cap) {
        size_t i = 0;

        while (i < text_cap && text[i]) {
                unsigned n = cfb_character_len(text + i);
                bool shown = n && !cfb_is_control(text + i);

                if (n == 0)
                        n = 1;
                while (n--) {
                        if (!shown)
                                text[i] = '?';
                        i++;
                }
        }
}

size_t confab_explain(char *text, size_t text_cap) {
        CFB_UNCANCELLED;
        size_t len;

        if (!last.error) {
                if (text_cap)
                        text[0] = '\0';
                return 0;
        }
        len = (last.explain ? last.explain : explain_general)(&last, text, text_cap);
        cut_whole_characters(text, text_cap, len);
        make_harmless(text, text_cap);
        return len;
}
