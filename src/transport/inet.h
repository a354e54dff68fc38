/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_TRANSPORT_INET_H
#define CFB_TRANSPORT_INET_H
/* host:port, for tcp and udp: reading it, looking it up, and showing it. See inet.c. */
#include "transport/socket.h"

struct addrinfo;

/* The transports' check: rest= and from= are host:port with a port number or a service name; positions in what is refused. */
int cfb_inet_check(const struct cfb_address *address);
/* Refuses an address that cannot be connected to: no host, port 0. */
int cfb_inet_check_open(const struct cfb_address *address);

/*
 * Looks @text ("host:port", checked before) up: a list for freeaddrinfo in *@listp. Blocks as long as the resolver does.
 * @passive: to bind; then an empty host is every interface. -ENOENT: no such host; -EINVAL: no such service.
 */
int cfb_inet_look_up(struct addrinfo **listp, const struct confab_endpoint *endpoint, const char *text,
                     int family, int type, bool passive);
void cfb_inet_free(struct addrinfo **listp); /* for CFB_CLEANUP */

/* Binds @fd to from=, where the address has one, in @family. */
int cfb_inet_bind_from(const struct confab_endpoint *endpoint, int fd, int family, int type);
/*
 * A socket bound to the address in *@fdp, the caller's: the first result that can be had; every interface: IPv6 and IPv4 in one.
 * @flags: SOCK_NONBLOCK or 0; @prepare sets options before bind (may be NULL).
 */
int cfb_inet_listen(int *fdp, const struct confab_endpoint *endpoint, int type, int flags,
                    int (*prepare)(int fd));
/* After binding to port 0: the endpoint's name with the port it got. */
int cfb_inet_name_chosen(struct confab_endpoint *endpoint, int fd, const char *scheme);

/* "127.0.0.1:80" or "[::1]:80", appended as cfb_append does, fit to stand in an address. IPv4 within IPv6 is shown as IPv4. */
void cfb_inet_append(char *text, size_t text_cap, size_t *used, const struct sockaddr *name);
/* A peer of @kind as an address. */
size_t cfb_inet_peer_address(const struct confab_peer *peer, enum cfb_socket_kind kind, const char *scheme,
                             char *text, size_t text_cap);
/* Records a failure on one of several results: which one is said beside the address. */
int cfb_inet_failed(int error, const char *call, const struct confab_endpoint *endpoint,
                    const struct sockaddr *name);

#endif
