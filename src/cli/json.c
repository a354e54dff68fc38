/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include "json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void cli_json_init(struct cli_json *json, FILE *file) {
        *json = (struct cli_json){.file = file};
}

/* The length of the UTF-8 character at @bytes (RFC 3629: no surrogates, no longer forms than needed); 0: it is none. */
static size_t utf8_len(const unsigned char *bytes, size_t len) {
        unsigned char first = bytes[0];
        size_t need = first < 0x80   ? 1
                      : first < 0xc2 ? 0
                      : first < 0xe0 ? 2
                      : first < 0xf0 ? 3
                      : first < 0xf5 ? 4
                                     : 0;

        if (need == 0 || need > len)
                return 0;
        for (size_t i = 1; i < need; i++)
                if ((bytes[i] & 0xc0) != 0x80)
                        return 0;
        if ((first == 0xe0 && bytes[1] < 0xa0) || (first == 0xed && bytes[1] > 0x9f) ||
            (first == 0xf0 && bytes[1] < 0x90) || (first == 0xf4 && bytes[1] > 0x8f))
                return 0;
        return need;
}

static void put_text(FILE *file, const unsigned char *text, size_t len) {
        putc('"', file);
        for (size_t at = 0; at < len;) {
                size_t n = utf8_len(text + at, len - at);

                if (n == 0) {
                        fputs("\xef\xbf\xbd", file);
                        at++;
                        continue;
                }
                if (text[at] == '"' || text[at] == '\\')
                        fprintf(file, "\\%c", text[at]);
                else if (text[at] == '\n')
                        fputs("\\n", file);
                else if (text[at] < 0x20 || text[at] == 0x7f)
                        fprintf(file, "\\u%04x", text[at]);
                else
                        fwrite(text + at, 1, n, file);
                at += n;
        }
        putc('"', file);
}

/* What comes before a value: a comma where one stands already, and the key. */
static void begin_value(struct cli_json *json, const char *key) {
        uint32_t bit = UINT32_C(1) << json->depth;

        if (json->depth > 0 && (json->more & bit) != 0)
                fputs(", ", json->file);
        json->more |= bit;
        if (key != NULL) {
                put_text(json->file, (const unsigned char *)key, strlen(key));
                fputs(": ", json->file);
        }
}

static void open_level(struct cli_json *json, const char *key, bool array) {
        begin_value(json, key);
        if (json->depth >= 31)
                abort(); /* a bug of the command's */
        putc(array ? '[' : '{', json->file);
        json->depth++;
        json->more &= ~(UINT32_C(1) << json->depth);
        if (array)
                json->array |= UINT32_C(1) << json->depth;
        else
                json->array &= ~(UINT32_C(1) << json->depth);
}

void cli_json_object(struct cli_json *json, const char *key) {
        open_level(json, key, false);
}

void cli_json_array(struct cli_json *json, const char *key) {
        open_level(json, key, true);
}

void cli_json_end(struct cli_json *json) {
        putc((json->array >> json->depth & 1) != 0 ? ']' : '}', json->file);
        if (--json->depth == 0)
                putc('\n', json->file);
}

void cli_json_text(struct cli_json *json, const char *key, const char *text) {
        begin_value(json, key);
        if (text == NULL)
                fputs("null", json->file);
        else
                put_text(json->file, (const unsigned char *)text, strlen(text));
}

void cli_json_signed(struct cli_json *json, const char *key, int64_t value) {
        begin_value(json, key);
        fprintf(json->file, "%lld", (long long)value);
}

void cli_json_unsigned(struct cli_json *json, const char *key, uint64_t value) {
        begin_value(json, key);
        fprintf(json->file, "%llu", (unsigned long long)value);
}

void cli_json_real(struct cli_json *json, const char *key, double value) {
        begin_value(json, key);
        if (isfinite(value))
                fprintf(json->file, "%.10g", value);
        else
                fputs("null", json->file);
}

void cli_json_truth(struct cli_json *json, const char *key, bool value) {
        begin_value(json, key);
        fputs(value ? "true" : "false", json->file);
}

void cli_json_number(struct cli_json *json, const char *key, const char *text) {
        const char *digits = text == NULL ? "" : text[0] == '-' ? text + 1 : text;
        size_t n = strspn(digits, "0123456789");
        bool number = n > 0 && (digits[0] != '0' || n == 1);

        if (number && digits[n] == '.') {
                size_t fraction = strspn(digits + n + 1, "0123456789");

                number = fraction > 0 && digits[n + 1 + fraction] == '\0';
        } else if (number) {
                number = digits[n] == '\0';
        }
        begin_value(json, key);
        fputs(number ? text : "null", json->file);
}

static void put_base64(FILE *file, const unsigned char *data, size_t len) {
        static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

        putc('"', file);
        for (size_t at = 0; at < len; at += 3) {
                size_t n = len - at < 3 ? len - at : 3;
                uint32_t group = (uint32_t)data[at] << 16;

                if (n > 1)
                        group |= (uint32_t)data[at + 1] << 8;
                if (n > 2)
                        group |= data[at + 2];
                putc(digits[group >> 18], file);
                putc(digits[group >> 12 & 63], file);
                putc(n > 1 ? digits[group >> 6 & 63] : '=', file);
                putc(n > 2 ? digits[group & 63] : '=', file);
        }
        putc('"', file);
}

void cli_json_bytes(struct cli_json *json, const char *key, const void *data, size_t data_len) {
        const unsigned char *bytes = data;
        bool text = true;

        for (size_t at = 0; at < data_len && text;) {
                size_t n = utf8_len(bytes + at, data_len - at);

                text = n > 0;
                at += n;
        }
        begin_value(json, key);
        if (text)
                put_text(json->file, bytes, data_len);
        else
                put_base64(json->file, bytes, data_len);
        cli_json_text(json, "encoding", text ? "text" : "base64");
}
