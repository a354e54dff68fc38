/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_TRANSPORT_UNIX_NAME_H
#define CFB_TRANSPORT_UNIX_NAME_H
/* Names of unix sockets: paths of any length, abstract names, and who may take a path. See unix_name.c. */
#include "transport/socket.h"

/* A socket file of ours: what is needed to remove it, and only it. */
struct cfb_unix_held;

/* Refuses what can be no name, with @what ("rest" has a position in @address, "from" has none). "" is refused too. */
int cfb_unix_check(const struct cfb_address *address, const char *name, bool is_rest);
/*
 * Binds @fd to @name (a path, "@abstract", or "@": any free abstract name). *@heldp is NULL for abstract names, else the caller's,
 * for cfb_unix_let_go. -EADDRINUSE: somebody has it; -EEXIST: the path is something else.
 */
int cfb_unix_bind(struct cfb_unix_held **heldp, struct confab_endpoint *endpoint, int fd, const char *name);
/* Connects @fd. As connect(2): may block where @fd does. */
int cfb_unix_connect(struct confab_endpoint *endpoint, int fd, const char *name);
/* The same until @deadline_ns, also where the listener's backlog is full; leaves @fd, which is O_NONBLOCK, blocking. 0 or -errno recorded. */
int cfb_unix_connect_until(struct confab_endpoint *endpoint, int fd, const char *name, int64_t deadline_ns);
/* Removes the file if it is still ours and this is the process that made it; frees. Accepts NULL; returns NULL. */
struct cfb_unix_held *cfb_unix_let_go(struct cfb_unix_held *held, bool keep_file);
/* Removes the socket file at @path: -EEXIST where it is something else. */
int cfb_unix_remove(const struct cfb_address *address);
int cfb_unix_remove_path(const struct cfb_address *address, const char *path);

#endif
