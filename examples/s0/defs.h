/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * What the slides of document S0 include and do not show. Not a line of it is theirs.
 * S0_PORT in the environment moves the server, so that tests can run beside each other.
 */
#ifndef S0_DEFS_H
#define S0_DEFS_H
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DOMAIN       AF_INET
#define PORT         ((unsigned short)(getenv("S0_PORT") ? atoi(getenv("S0_PORT")) : 17000))
#define BUF_LEN      (512)
#define CLIENT_STR   "hello from the client"
#define SERVER_STR   "hello from the server"
#define CLIENT_BYTES (sizeof(CLIENT_STR)) /* with the final NUL: the slides print what they read */
#define SERVER_BYTES (sizeof(SERVER_STR))
#endif
