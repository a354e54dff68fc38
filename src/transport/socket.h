/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CFB_TRANSPORT_SOCKET_H
#define CFB_TRANSPORT_SOCKET_H
/*
 * What unix, tcp and udp have in common: names and peers, single non-blocking steps, options, accepting, and the words for
 * what goes wrong. See socket.c.
 */
#include "base/syscall.h"
#include "core/transport.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

/* The first byte of a peer's opaque address: whose it is. */
enum cfb_socket_kind { CFB_SOCKET_UNIX = 1, CFB_SOCKET_TCP = 2, CFB_SOCKET_UDP = 3 };

/* What bind, connect and sendto take. */
struct cfb_socket_name {
        socklen_t len;
        union {
                struct sockaddr any;
                struct sockaddr_un un;
                struct sockaddr_in in;
                struct sockaddr_in6 in6;
        };
};

/*
 * The layout of confab_peer.address. It is read and written with memcpy: the caller's copy may lie anywhere.
 * @local is where a datagram arrived (udp on a wildcard address): the answer leaves from there.
 */
struct cfb_socket_peer {
        uint8_t kind;
        uint8_t type; /* SOCK_* */
        uint8_t local_family;
        uint8_t name_len;
        union {
                struct sockaddr any;
                struct sockaddr_un un;
                struct {
                        union {
                                struct sockaddr_in in;
                                struct sockaddr_in6 in6;
                        };
                        uint32_t local_interface;
                        unsigned char local[16];
                } inet;
        };
};
_Static_assert(sizeof(struct cfb_socket_peer) <= sizeof(((struct confab_peer *)NULL)->address),
               "a peer fits");

/* Fills @peer's address; a name without an address in it (an unbound socket's) leaves it without. */
void cfb_socket_peer_set(struct confab_peer *peer, enum cfb_socket_kind kind, int type,
                         const struct cfb_socket_name *name);
/* The same without a copy: where the kernel may write the name (128 bytes less the head), then told how long it was. */
static inline void *cfb_socket_peer_place(struct confab_peer *peer) {
        return peer->address + offsetof(struct cfb_socket_peer, any);
}
void cfb_socket_peer_placed(struct confab_peer *peer, enum cfb_socket_kind kind, int type,
                            socklen_t name_len);
/* Reads it back: -EINVAL where @peer is none of this kind's. */
int cfb_socket_peer_read(struct cfb_socket_peer *read, const struct confab_peer *peer,
                         enum cfb_socket_kind kind);

/* A new socket, close-on-exec, with the address's capacity= set, in *@fdp, the caller's. @flags: SOCK_NONBLOCK or 0. */
int cfb_socket_new(int *fdp, const struct confab_endpoint *endpoint, int family, int type, int flags);
/* capacity= on a socket that was made otherwise. */
int cfb_socket_set_capacity(const struct confab_endpoint *endpoint, int fd);
/* Makes @fd both sides of @endpoint. */
void cfb_socket_use(struct confab_endpoint *endpoint, int fd);
/* Ours leave here as others expect them: SOCK_NONBLOCK served connecting only. */
int cfb_socket_set_blocking(int fd);

/* Records a failure, to be put into words by what was called and what errno it was; returns @error. */
int cfb_socket_failed(int error, const char *call, const struct confab_endpoint *endpoint);

/* One step; -EAGAIN where it would wait. @name: to whom, or NULL where connected. Descriptors only where the family has them. */
int64_t cfb_socket_send(struct confab_endpoint *endpoint, const struct confab_message *message,
                        const struct cfb_socket_name *name);
/* The same for a message of data alone, to the connected receiver. */
static inline int64_t cfb_socket_send_data(struct confab_endpoint *endpoint,
                                           const struct confab_message *message) {
        int64_t n = cfb_sys_send(endpoint->fds[CFB_SENDING], message->data, message->data_len,
                                 MSG_DONTWAIT | MSG_NOSIGNAL);

        return __builtin_expect(n < 0, false) ? cfb_socket_failed((int)n, "send", endpoint) : n;
}
/* Bytes of a stream without anything around them: 1, or 0 at the end. */
static inline int cfb_socket_receive(struct confab_endpoint *endpoint, struct confab_message *message,
                                     struct cfb_buffer *buffer) {
        int64_t n = cfb_sys_recv(endpoint->fds[CFB_RECEIVING], buffer->bytes, buffer->cap, MSG_DONTWAIT);

        if (__builtin_expect(n < 0, false))
                return cfb_socket_failed((int)n, "receive", endpoint);
        message->data_len = (uint64_t)n;
        return n > 0;
}
/* The msghdr's data part for @message; *@part holds it where the message has no iov of its own. */
void cfb_socket_parts(struct msghdr *header, struct iovec *part, const struct confab_message *message);

enum {
        CFB_SOCKET_BATCH = 32
}; /* messages in one sendmmsg or recvmmsg: what the arrays on the stack are made for */

/*
 * What one recvmmsg brought: @take makes each a message in its buffer (1, 0: the end, or what is wrong with it). One that is wrong is left
 * out, its buffer moved behind those kept, and told by the next receive by way of *@pendingp: those behind it were read with it. Returns
 * as receive_many.
 */
typedef int cfb_socket_take(struct confab_endpoint *endpoint, struct confab_message *message,
                            struct cfb_buffer *buffer, struct msghdr *header, uint64_t n);
int cfb_socket_take_many(struct confab_endpoint *endpoint, struct confab_message *messages,
                         struct cfb_buffer **buffers, struct mmsghdr *headers, int came,
                         cfb_socket_take *take, int *pendingp);

/* accept4, after a look whether it would wait where the listener is lent: the descriptor (close-on-exec, blocking) in *@fdp and who it is in *@name. -EAGAIN also after connections that died queued. */
int cfb_socket_accept(int *fdp, struct cfb_socket_name *name, struct confab_endpoint *listener);
int cfb_socket_shutdown(struct confab_endpoint *endpoint, uint32_t direction);

/*
 * fd:// hands a socket of @type it found over to the transport of its family: they become that endpoint's transport and fill its
 * state, as accept does. @listening: it is a listening one, which only accepts. The socket may be shared with other processes.
 */
int cfb_unix_adopt(struct confab_endpoint *endpoint, int fd, int type, bool listening);
int cfb_tcp_adopt(struct confab_endpoint *endpoint, int fd, bool listening);
int cfb_udp_adopt(struct confab_endpoint *endpoint, int fd);
extern const struct cfb_transport cfb_tr_unix, cfb_tr_tcp, cfb_tr_udp;

/* The same with what it was tried on beside the address: a path, one of several addresses. */
int cfb_socket_failed_on(int error, const char *call, const char *subject, const char *on);
/* Records a failure that has its words already. */
cfb_explainer cfb_socket_explain_sentence;
static inline int cfb_socket_refused(int error, const char *call, const char *subject, const char *sentence) {
        return cfb_failed_with(error, call, subject, cfb_socket_explain_sentence, sentence, 0, 0);
}
/* -EMSGSIZE: @len bytes, where @max fit. */
int cfb_socket_too_large(const char *call, const struct confab_endpoint *endpoint, uint64_t len,
                         uint64_t max);

#endif
