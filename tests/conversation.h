/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CONFAB_TESTS_CONVERSATION_H
#define CONFAB_TESTS_CONVERSATION_H
/*
 * What tests of endpoints say to them. Each fails the test unless it does what its name says; only those called try_ give back what the
 * library answered.
 */
#include <confab/confab.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The deadline of what must happen: near the end of the test's own time, however busy the machine. */
int64_t soon(void);
/* The deadline of what must not happen, or of a wait that is measured. */
int64_t after_ms(int64_t ms);
int64_t elapsed_ms(int64_t since_ns);

/* The sentence of the last failure of this thread, until the next call. */
const char *explained(void);
void check_says(const char *words);

confab_endpoint *listen_on(const char *address);
confab_endpoint *open_to(const char *address);
confab_endpoint *accept_of(confab_endpoint *listener);
void close_pair(confab_endpoint *ends[2]);
/* The port at the end of its address. */
unsigned port_of(const confab_endpoint *endpoint);

/* Until another thread is inside a call on @endpoint in @direction: one that only begins after close is not close's to end. */
void until_used(confab_endpoint *endpoint, uint32_t direction);

void send_text(confab_endpoint *endpoint, const char *text);
/* The next message is @text. */
void receive_text(confab_endpoint *endpoint, const char *text);
int64_t try_send(confab_endpoint *endpoint, const char *text, int64_t deadline_ns);
/* What came is in @text, with a 0 behind it, where 1 is given back. */
int try_receive(confab_endpoint *endpoint, char *text, size_t text_cap, int64_t deadline_ns);

/* Whether nothing at all is in the working folder. */
bool folder_is_empty(void);
/* Waits for a child: its status, as waitpid has it. */
int reap(pid_t pid);
/* Waits for a child that ends with 0. */
void ended_well(pid_t pid);
/* Runs @body in a child as another user, who has no capabilities: whether it can depends on who runs the tests. */
void as_user(uid_t uid, void (*body)(void));
/* A limit of a private IPC namespace; skips the test where only root may set it. */
void write_sysctl(const char *path, const char *value);

#endif
