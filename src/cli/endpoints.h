/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CLI_ENDPOINTS_H
#define CLI_ENDPOINTS_H
/* Addresses as the commands take them, and messages as they print them. */
#include "command.h"

/* @address has the key @key, as its mechanism does ("direction"); @address gives it already. */
bool cli_has_key(const char *address, const char *key);
bool cli_gives_key(const char *address, const char *key);
/* @address with "key=value" behind it; the caller's. */
char *cli_with_key(const char *address, const char *pair);
/* @address opened for @direction where its mechanism can do one way alone; what the address itself says wins. */
struct confab_options cli_one_way(const char *address, uint32_t direction);
/* A byte stream without message boundaries: as an address that can be given frame=, and as it was opened. */
bool cli_is_stream_address(const char *address);
bool cli_is_stream(const confab_endpoint *endpoint);
bool cli_accepts(const confab_endpoint *listener); /* its messages come over connections */

/* All of @data to standard output, at once (no buffer of stdio in between). CLI_DONE, or CLI_FAILED after a complaint. */
int cli_print_bytes(const struct cli_args *args, const void *data, size_t data_len);
/* What stdio has buffered goes out now. As cli_print_bytes. */
int cli_flush(const struct cli_args *args);
/* One message as a JSON object on a line; @endpoint is where it came from. As cli_print_bytes. */
int cli_print_json(const struct cli_args *args, const confab_endpoint *endpoint,
                   const struct confab_message *message);
/* Who sent it, for people: an address, "pid 12, uid 1000", or "". */
void cli_peer_words(const confab_endpoint *endpoint, const struct confab_peer *peer, char *text,
                    size_t text_cap);

/* Tells on stderr where @listener is, if @asked left that to the kernel (port 0, unix://@): nobody could find it else. */
void cli_tell_chosen(const struct cli_args *args, const confab_endpoint *listener, const char *asked);

/* Tells on stderr what the library has to tell outside of results (confab_on_event). */
void cli_tell_events(const struct cli_args *args);
/* A command behind exec:// ended badly, which has been told; known for certain once its endpoint is closed. */
bool cli_command_failed(void);

#endif
