/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CLI_JSON_H
#define CLI_JSON_H
/*
 * Writing JSON: values go out as they come, nothing is kept. @key is the name inside an object, NULL inside an array and at
 * the top. Write errors show when stdout is closed.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct cli_json {
        FILE *file;
        uint32_t depth;
        uint32_t more;  /* bit by depth: a value stands there already, so a comma comes first */
        uint32_t array; /* bit by depth: it is an array */
};

void cli_json_init(struct cli_json *json, FILE *file);
void cli_json_object(struct cli_json *json, const char *key); /* until cli_json_end; at most 31 deep */
void cli_json_array(struct cli_json *json, const char *key);
void cli_json_end(
        struct cli_json *json); /* of the innermost object or array; of the outermost: a newline too */
void cli_json_text(struct cli_json *json, const char *key,
                   const char *text); /* UTF-8; NULL: null. Bad bytes become U+FFFD */
void cli_json_signed(struct cli_json *json, const char *key, int64_t value);
void cli_json_unsigned(struct cli_json *json, const char *key, uint64_t value);
void cli_json_real(struct cli_json *json, const char *key, double value); /* not finite: null */
void cli_json_truth(struct cli_json *json, const char *key, bool value);
/* A number already in words ("12", "0.97"); null where it is none. */
void cli_json_number(struct cli_json *json, const char *key, const char *text);
/* Any bytes, as two members: @key, and "encoding": "text" (UTF-8) or "base64". Inside an object only. */
void cli_json_bytes(struct cli_json *json, const char *key, const void *data, size_t data_len);

#endif
