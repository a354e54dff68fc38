/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Any bytes as the text of a pipeline: refused with a place within the text, or read into stages which, written down again with every word
 * in quotes, are read as the same.
 */
#include "fuzz.h"

#include <confab/process.h>
#include <errno.h>
#include <string.h>

struct text {
        char *bytes;
        size_t len, cap;
};

static void put(struct text *text, const char *bytes, size_t len) {
        if (text->len + len >= text->cap) {
                text->cap = (text->len + len) * 2 + 64;
                text->bytes = realloc(text->bytes, text->cap);
                must(text->bytes);
        }
        memcpy(text->bytes + text->len, bytes, len);
        text->len += len;
        text->bytes[text->len] = '\0';
}

static void put_quoted(struct text *text, const char *word) {
        put(text, "'", 1);
        for (; *word; word++)
                if (*word == '\'')
                        put(text, "'\\''", 4);
                else
                        put(text, word, 1);
        put(text, "' ", 2);
}

static void put_redirection(struct text *text, const struct confab_redirection *redirection) {
        static const char *const signs[] = {"", "<", ">", ">>"};
        char words[64];

        must(redirection->descriptor >= 0);
        switch (redirection->kind) {
        case CONFAB_REDIRECT_READ:
        case CONFAB_REDIRECT_WRITE:
        case CONFAB_REDIRECT_APPEND:
                must(redirection->name);
                snprintf(words, sizeof(words), "%d%s ", redirection->descriptor, signs[redirection->kind]);
                put(text, words, strlen(words));
                put_quoted(text, redirection->name);
                break;
        case CONFAB_REDIRECT_COPY:
                must(redirection->source >= 0 && !redirection->name);
                snprintf(words, sizeof(words), "%d>&%d ", redirection->descriptor, redirection->source);
                put(text, words, strlen(words));
                break;
        default:
                must(redirection->kind == CONFAB_REDIRECT_CLOSE && !redirection->name);
                snprintf(words, sizeof(words), "%d<&- ", redirection->descriptor);
                put(text, words, strlen(words));
        }
}

static void write_down(struct text *text, const struct confab_pipeline *pipeline) {
        must(pipeline->n_stages > 0);
        for (unsigned i = 0; i < pipeline->n_stages; i++) {
                const struct confab_stage *stage = &pipeline->stages[i];

                must(stage->size == sizeof(*stage) && stage->argv[0] && !stage->envp && !stage->directory);
                if (i > 0)
                        put(text, "| ", 2);
                for (const char *const *word = stage->argv; *word; word++)
                        put_quoted(text, *word);
                for (unsigned k = 0; k < stage->n_redirections; k++)
                        put_redirection(text, &stage->redirections[k]);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t data_len) {
        struct text first = {0}, second = {0}, given = {0};
        struct confab_pipeline *pipeline = NULL;
        char sentence[1024];
        int r;

        put(&given, (const char *)data, data_len);
        r = confab_pipeline_parse(&pipeline, given.bytes);
        must(r == 0 || r == -EINVAL);
        if (r < 0) {
                const char *place;
                unsigned long at;

                must(!pipeline && confab_explain(sentence, sizeof(sentence)) > 0);
                place = strstr(sentence, "': byte ");
                for (const char *next = place; next;
                     next = strstr(next + 1, "': byte ")) /* the text may say so too */
                        place = next;
                must(place);
                at = strtoul(place + strlen("': byte "), NULL, 10);
                must(at >= 1 && at <= strlen(given.bytes) + 1);
        } else {
                write_down(&first, pipeline);
                confab_pipeline_free(pipeline);
                must(confab_pipeline_parse(&pipeline, first.bytes) == 0);
                write_down(&second, pipeline);
                confab_pipeline_free(pipeline);
                must(strcmp(first.bytes, second.bytes) == 0);
        }
        free(given.bytes);
        free(first.bytes);
        free(second.bytes);
        return 0;
}
