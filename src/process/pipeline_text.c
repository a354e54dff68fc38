/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * The text of a pipeline: what a POSIX shell reads as one pipeline of simple commands without expansions, and nothing else.
 *
 *      pipeline:  stage { ('|' | '|&') stage }
 *      stage:     { word | redirection }, at least one word
 *      word:      characters, '...', "...", \c, joined
 *      redirection: [digits] ('<' | '>' | '>>') name  or  [digits] ('<&' | '>&') (digits | '-')
 *
 * What a shell would treat in another way than "these characters" is refused, with its place: a text means here what it means in sh,
 * or nothing. So '*', '~', '#', '$x' outside of quotes, NAME=value in the place of the program and reserved words are refused; '$' alone, '{}' and ']' are
 * themselves, as in sh.
 *
 * Two passes over the text with one reader: the first counts, the second writes into one allocation of that size.
 */
#include "base/cancel.h"
#include "base/error.h"
#include "base/memory.h"

#include <confab/process.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

enum token { TOKEN_END, TOKEN_WORD, TOKEN_PIPE, TOKEN_PIPE_BOTH, TOKEN_REDIRECTION };

/* The places of the second pass; in the first they are NULL and only counted. */
struct reader {
        const char *text, *at;
        char *characters;
        size_t n_characters;
        /* Of the last token. */
        const char *token; /* where it began */
        bool quoted;       /* a word with a quote or backslash in it */
        int32_t descriptor, source;
        uint32_t kind;
};

/* Everything read: counts in the first pass, and the places in the second. */
struct parts {
        struct confab_stage *stages;
        const char **words;
        struct confab_redirection *redirections;
        unsigned n_stages, n_words, n_redirections;
};

static size_t explain_text(const struct cfb_failure *failure, char *text, size_t text_cap) {
        size_t used = 0;

        cfb_append(text, text_cap, &used, "pipeline '%s': byte %lld: %s", failure->subject,
                   (long long)failure->a, failure->detail);
        if (failure->b)
                cfb_append(
                        text, text_cap, &used,
                        "; that is a shell's work: put it into quotes if it means itself, else sh -c '...'");
        return used;
}

/* @shell: a shell could do it. */
static int refuse(const struct reader *reader, const char *at, bool shell, const char *why) {
        return cfb_failed_with(-EINVAL, "parse", reader->text, explain_text, why, at - reader->text + 1,
                               shell);
}

static void put(struct reader *reader, char c) {
        if (reader->characters)
                reader->characters[reader->n_characters] = c;
        reader->n_characters++;
}

static bool begins_name(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c) {
        return c >= '0' && c <= '9';
}

/* '$' with what follows would be replaced by a shell. Before anything else it is a dollar. */
static bool expands(const char *dollar, bool in_quotes) {
        char next = dollar[1];

        return begins_name(next) || is_digit(next) || (next && strchr("{(@*#?-$!", next)) ||
               (!in_quotes && (next == '\'' || next == '"'));
}

static int read_single(struct reader *reader) {
        const char *open = reader->at++;

        while (*reader->at && *reader->at != '\'')
                put(reader, *reader->at++);
        if (!*reader->at)
                return refuse(reader, open, false, "this ' has no other one to close it");
        reader->at++;
        return 0;
}

static int read_double(struct reader *reader) {
        const char *open = reader->at++;

        for (; *reader->at && *reader->at != '"'; reader->at++) {
                const char *at = reader->at;

                if (*at == '`' || (*at == '$' && expands(at, true)))
                        return refuse(reader, at, true,
                                      *at == '`' ? "a ` begins a command"
                                                 : "a $ begins a variable or a command");
                if (*at == '\\' && at[1] == '\n') {
                        reader->at++;
                        continue;
                }
                if (*at == '\\' && at[1] && strchr("$`\"\\", at[1]))
                        reader->at++;
                put(reader, *reader->at);
        }
        if (!*reader->at)
                return refuse(reader, open, false, "this \" has no other one to close it");
        reader->at++;
        return 0;
}

/* Characters that outside of quotes are not themselves. */
static const struct {
        char character;
        const char *why;
} specials[] = {
        {'$', "a $ begins a variable or a command"},
        {'`', "a ` begins a command"},
        {'*', "a * matches file names"},
        {'?', "a ? matches file names"},
        {'[', "a [ matches file names"},
        {';', "a ; begins another command"},
        {'&', "an & starts in the background or joins commands"},
        {'(', "a ( begins a group of commands"},
        {')', "a ) ends a group of commands"},
        {'\n', "a new line begins another command"},
};

static const char *why_special(const char *at, bool first) {
        for (size_t i = 0; i < sizeof(specials) / sizeof(specials[0]); i++)
                if (specials[i].character == *at)
                        return *at == '$' && !expands(at, false) ? NULL : specials[i].why;
        if (first && *at == '~')
                return "a ~ stands for a home directory";
        if (first && *at == '#')
                return "a # begins a comment";
        return NULL;
}

/* Whether what stands before @at, back to a blank, is of an address: tcp://host:7?key&key. */
static bool is_in_address(const struct reader *reader, const char *at) {
        for (const char *c = at; c > reader->text && !strchr(" \t\n<>|", c[-1]); c--)
                if (strncmp(c, "://", 3) == 0)
                        return true;
        return false;
}

static int refuse_special(const struct reader *reader, const char *at, const char *why) {
        if ((*at == '?' || *at == '&') && is_in_address(reader, at))
                return refuse(reader, at, false, "an address with a ? or an & in it goes into quotes");
        if (at[0] == '&' && at[1] == '>')
                return refuse(reader, at, false, "&> is written as > FILE 2>&1 here");
        return refuse(reader, at, true, why);
}

static bool ends_word(char c) {
        return c == '\0' || strchr(" \t\n|<>&;()", c);
}

/* A word at reader->at, with its final NUL. */
static int read_word(struct reader *reader) {
        const char *begin = reader->at;
        int r;

        reader->quoted = false;
        while (!ends_word(*reader->at)) {
                const char *at = reader->at, *why;

                if (*at == '\'' || *at == '"') {
                        reader->quoted = true;
                        r = *at == '"' ? read_double(reader) : read_single(reader);
                        if (r < 0)
                                return r;
                        continue;
                }
                if (*at == '\\') {
                        if (!at[1])
                                return refuse(reader, at, false, "nothing follows this \\");
                        if (at[1] != '\n') { /* a line goes on */
                                reader->quoted = true;
                                put(reader, at[1]);
                        }
                        reader->at += 2;
                        continue;
                }
                why = why_special(at, at == begin);
                if (why)
                        return refuse_special(reader, at, why);
                put(reader, *at);
                reader->at++;
        }
        put(reader, '\0');
        return 0;
}

/* Digits at @*atp as a descriptor number; -1: there are none, or too many. */
static int32_t read_number(const char **atp) {
        int32_t number = 0;
        const char *at = *atp;

        while (is_digit(*at) && number < 10000)
                number = number * 10 + (*at++ - '0');
        if (at == *atp || is_digit(*at))
                return -1;
        *atp = at;
        return number;
}

/* Behind [digits] a '<' or '>' stands at reader->at. */
static int read_redirection(struct reader *reader, int32_t descriptor) {
        const char *at = reader->at;
        bool output = *at == '>';

        reader->descriptor = descriptor >= 0 ? descriptor : output;
        reader->kind = output ? CONFAB_REDIRECT_WRITE : CONFAB_REDIRECT_READ;
        at++;
        if (output && *at == '>') {
                reader->kind = CONFAB_REDIRECT_APPEND;
                at++;
        } else if (*at == '&') {
                at++;
                reader->source = read_number(&at);
                if (reader->source >= 0) {
                        reader->kind = CONFAB_REDIRECT_COPY;
                } else if (*at == '-') {
                        reader->kind = CONFAB_REDIRECT_CLOSE;
                        at++;
                }
                if (reader->kind <= CONFAB_REDIRECT_APPEND || !ends_word(*at))
                        return refuse(reader, at, false,
                                      "a descriptor's number or - is wanted here, as in 2>&1");
                reader->at = at;
                return TOKEN_REDIRECTION;
        }
        if (*at == '<' || *at == '>' || *at == '|')
                return refuse(reader, at, true, "this redirection is not known here");
        at += strspn(at, " \t");
        if (ends_word(*at))
                return refuse(reader, at, false, "the name of a file or an address is missing");
        reader->at = at;
        return TOKEN_REDIRECTION; /* its name follows as a word */
}

/* White space, and lines that go on: behind a pipe, and at the ends, new lines are white space too. */
static void skip_space(struct reader *reader, bool new_lines) {
        for (;;) {
                const char *at = reader->at;

                if (*at == ' ' || *at == '\t' || (new_lines && *at == '\n'))
                        reader->at++;
                else if (at[0] == '\\' && at[1] == '\n')
                        reader->at += 2;
                else
                        break;
        }
        if (reader->at[strspn(reader->at, " \t\n")] == '\0')
                reader->at += strlen(reader->at);
}

static int read_token(struct reader *reader) {
        const char *at;
        int32_t number;
        int r;

        at = reader->token = reader->at;
        if (!*at)
                return TOKEN_END;
        if (*at == '|' && at[1] == '|')
                return refuse(reader, at, true, "a || joins commands");
        if (*at == '|') {
                reader->at += at[1] == '&' ? 2 : 1;
                return at[1] == '&' ? TOKEN_PIPE_BOTH : TOKEN_PIPE;
        }
        number = read_number(&at);
        if (*at == '<' || *at == '>') {
                reader->at = at;
                return read_redirection(reader, number);
        }
        if (number < 0 && is_digit(*at) && strchr("<>", at[strspn(at, "0123456789")]) &&
            at[strspn(at, "0123456789")])
                return refuse(reader, at, false, "the number of this descriptor is too large");
        if (ends_word(*at) && at == reader->token)
                return refuse_special(reader, at, why_special(at, true));
        r = read_word(reader);
        return r < 0 ? r : TOKEN_WORD;
}

/* What a shell does not look for in PATH. */
static const char *const reserved[] = {"!",    "{",  "}",   "case", "do", "done", "elif",  "else",
                                       "esac", "fi", "for", "if",   "in", "then", "until", "while"};

static int check_program(const struct reader *reader) {
        size_t len = (size_t)(reader->at - reader->token), name_len = 0;

        for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
                if (strlen(reserved[i]) == len && strncmp(reader->token, reserved[i], len) == 0)
                        return refuse(reader, reader->token, true, "this is a word of the shell's language");
        while (begins_name(reader->token[name_len]) || (name_len > 0 && is_digit(reader->token[name_len])))
                name_len++;
        if (name_len > 0 && reader->token[name_len] == '=')
                return refuse(reader, reader->token, true,
                              "this sets a variable (env NAME=value COMMAND does so too)");
        return 0;
}

static void add_word(struct parts *parts, const char *word) {
        if (parts->words)
                parts->words[parts->n_words] = word;
        parts->n_words++;
}

static int add_redirection(struct reader *reader, struct parts *parts) {
        struct confab_redirection redirection = {
                .kind = reader->kind, .descriptor = reader->descriptor, .source = reader->source};
        size_t name_at = reader->n_characters;

        if (reader->kind <= CONFAB_REDIRECT_APPEND) {
                int r = read_word(reader);

                if (r < 0)
                        return r;
        }
        if (parts->redirections) {
                if (reader->kind <= CONFAB_REDIRECT_APPEND)
                        redirection.name = reader->characters + name_at;
                if (reader->kind != CONFAB_REDIRECT_COPY)
                        redirection.source = 0;
                parts->redirections[parts->n_redirections] = redirection;
        }
        parts->n_redirections++;
        return 0;
}

/* One stage up to its pipe or the end; the token that ended it, or -EINVAL. */
static int read_stage(struct reader *reader, struct parts *parts) {
        unsigned first_word = parts->n_words, first_redirection = parts->n_redirections;
        const char *begin;
        int token, r = 0;

        skip_space(reader, true);
        begin = reader->at;
        for (;; skip_space(reader, false)) {
                size_t at = reader->n_characters;

                token = read_token(reader);
                if (token == TOKEN_WORD) {
                        if (parts->n_words == first_word)
                                r = check_program(reader);
                        add_word(parts, reader->characters ? reader->characters + at : NULL);
                } else if (token == TOKEN_REDIRECTION) {
                        r = add_redirection(reader, parts);
                } else {
                        break;
                }
                if (r < 0)
                        return r;
        }
        if (token < 0)
                return token;
        if (parts->n_words == first_word)
                return refuse(reader, begin, false, "a program's name is missing here");
        if (token == TOKEN_PIPE_BOTH) {
                if (parts->redirections)
                        parts->redirections[parts->n_redirections] = (struct confab_redirection){
                                .kind = CONFAB_REDIRECT_COPY, .descriptor = 2, .source = 1};
                parts->n_redirections++;
        }
        if (parts->stages)
                parts->stages[parts->n_stages] = (struct confab_stage){
                        .size = sizeof(*parts->stages),
                        .n_redirections = parts->n_redirections - first_redirection,
                        .redirections = parts->redirections + first_redirection,
                        .argv = parts->words + first_word,
                };
        parts->n_stages++;
        add_word(parts, NULL);
        return token;
}

static int read_all(struct reader *reader, struct parts *parts) {
        int token;

        reader->at = reader->text;
        reader->n_characters = 0;
        parts->n_stages = parts->n_words = parts->n_redirections = 0;
        do
                token = read_stage(reader, parts);
        while (token == TOKEN_PIPE || token == TOKEN_PIPE_BOTH);
        return token;
}

int confab_pipeline_parse(struct confab_pipeline **pipelinep, const char *text) {
        CFB_UNCANCELLED;
        struct reader reader = {.text = text};
        struct confab_pipeline *pipeline;
        struct parts parts = {0};
        unsigned char *memory;
        int r;

        if (!pipelinep || !text)
                return cfb_failed(-EINVAL, "parse", "NULL");
        r = read_all(&reader, &parts);
        if (r < 0)
                return r;
        memory = cfb_allocate(sizeof(*pipeline) + parts.n_stages * sizeof(*parts.stages) +
                              parts.n_redirections * sizeof(*parts.redirections) +
                              parts.n_words * sizeof(*parts.words) + reader.n_characters);
        if (!memory)
                return cfb_failed(-ENOMEM, "parse", text);
        pipeline = (struct confab_pipeline *)memory;
        memory += sizeof(*pipeline);
        parts.stages = (struct confab_stage *)memory;
        memory += parts.n_stages * sizeof(*parts.stages);
        parts.redirections = (struct confab_redirection *)memory;
        memory += parts.n_redirections * sizeof(*parts.redirections);
        parts.words = (const char **)memory;
        memory += parts.n_words * sizeof(*parts.words);
        reader.characters = (char *)memory;
        read_all(&reader, &parts); /* as before, now with places */
        *pipeline = (struct confab_pipeline){
                .size = sizeof(*pipeline), .n_stages = parts.n_stages, .stages = parts.stages};
        *pipelinep = pipeline;
        return 0;
}

struct confab_pipeline *confab_pipeline_free(struct confab_pipeline *pipeline) {
        cfb_release(pipeline);
        return NULL;
}
