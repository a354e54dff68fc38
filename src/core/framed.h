/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_CORE_FRAMED_H
#define CFB_CORE_FRAMED_H
/* Messages over a byte stream: frame=line and frame=record on any stream endpoint. See framed.c. */
#include "core/message.h"

struct cfb_framed;

int cfb_framed_new(struct cfb_framed **framedp, enum cfb_frame_kind kind, uint64_t max);
struct cfb_framed *cfb_framed_free(struct cfb_framed *framed);
/* Turns a stream's properties into those of messages over it. */
void cfb_framed_properties(struct confab_properties *properties, enum cfb_frame_kind kind, uint64_t max);

/* As confab_send and confab_receive, which call them. */
int64_t cfb_framed_send(struct confab_endpoint *endpoint, const struct confab_message *message,
                        int64_t deadline_ns);
int cfb_framed_receive(struct confab_endpoint *endpoint, struct confab_message *message, int64_t deadline_ns);

/* A last line without its newline is a message as well: for what programs print, not for peers, whose end within one is a failure. */
void cfb_framed_take_rest(struct cfb_framed *framed);

/* Whether the next receive has an answer without reading: a whole message, a refusal, the end. */
bool cfb_framed_ready(struct confab_endpoint *endpoint);
/* Wraps *@pollfd so that it also polls ready for what is buffered. */
int cfb_framed_descriptor(struct confab_endpoint *endpoint, struct pollfd *pollfd);

/*
 * The same without descriptors, for the event loop: @told is called in the receiving thread after each receive with the new state,
 * and by close with GONE. One at a time; NULL takes it away.
 */
enum cfb_framed_state { CFB_FRAMED_WAITS, CFB_FRAMED_READY, CFB_FRAMED_GONE };
void cfb_framed_tell(struct confab_endpoint *endpoint, void (*told)(void *data, enum cfb_framed_state state),
                     void *data);

#endif
