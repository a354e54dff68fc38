/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef MYSOCKS_H
#define MYSOCKS_H
/*
 * mysocks: six calls for clients and servers over TCP, those of the course "Fundamentos de Sistemas de Operação" (FCT, 2013), on confab.
 *
 * A channel is a number above 0 for a socket. It is no descriptor: read(2), dup2(2), poll(2) and close(2) do not know it (EBADF).
 * A forked process has copies of its parent's channels; each process closes those it does not use.
 * Errors: -1, and errno says why: EBADF, no such channel; EINVAL, an argument that cannot be; EOPNOTSUPP, a channel of the other kind;
 * ECANCELED, closed by another thread meanwhile; else what the system says. confab_explain tells it in a sentence.
 * Blocking: acceptServerSocket, connectSocket, readSocket and writeSocket wait without a deadline. No signal ends a wait, and writing to a
 * peer that has gone is an error (EPIPE, ECONNRESET), never a SIGPIPE.
 * Threads: any; one at a time reads a channel, one at a time writes it. Link with -lmysocks.
 */
#ifdef __cplusplus
extern "C" {
#endif
#define MYSOCKS_API __attribute__((visibility("default")))

/* Server: a channel that takes connections to @port (1 to 65535) on every interface of this machine. > 0; -1. EADDRINUSE: taken. */
MYSOCKS_API int serverSocket(int port);

/* Server: waits for the next client of @channel, of serverSocket. > 0: a channel to read from and write to that client; -1. */
MYSOCKS_API int acceptServerSocket(int channel);

/* Client: connects to @port of @host, a name or an address. > 0: a channel to read from and write to the server; -1. */
MYSOCKS_API int connectSocket(const char *host, int port);

/* Writes the @length (at least 1) bytes at @bytes. > 0: how many were sent, all of them; -1. */
MYSOCKS_API int writeSocket(int channel, const void *bytes, int length);

/*
 * Reads at least 1 byte and at most @length (at least 1) to @buffer: a stream has no boundaries, what was written at once may come in parts.
 * > 0: how many were received; 0: the peer has closed and everything it sent was read; -1.
 */
MYSOCKS_API int readSocket(int channel, void *buffer, int length);

/* Closes a channel of any kind. What this process wrote still arrives. 0; -1. */
MYSOCKS_API int closeSocket(int channel);

#ifdef __cplusplus
}
#endif
#endif
