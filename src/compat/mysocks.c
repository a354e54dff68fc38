/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * The six calls of mysocks.h: a table from channels to endpoints of tcp://, with nothing but libconfab's public calls behind it.
 *
 * Channels. A number is a slot's index in its low 16 bits and the slot's generation above them. Generations begin at 16, so that a channel is at
 * least 2^20 and no descriptor's number (fs.nr_open), and change when the slot is used again, so that a closed channel's number is refused
 * rather than meeting a stranger's connection. Slots lie in chunks that stay until the process ends: a look-up needs the lock for a moment only.
 *
 * Reading. An endpoint lends what has come, and a caller may ask for less: the rest stays lent to the slot for the next readSocket.
 *
 * Closing while another thread reads, writes or accepts. Each call counts itself in n_users. closeSocket marks the slot, so that nobody
 * comes in any more, and interrupts those inside (confab_interrupt keeps for who has not begun to wait yet); the last one out closes.
 *
 * Forking. The child has the slots, the rests and the descriptors; the calls of the parent's other threads do not exist there, so the count begins again.
 */
#include <mysocks.h>

#include <confab/endpoint.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
        N_CHUNKS = 64,
        CHUNK_LEN = 1024,
        INDEX_BITS = 16,
        FIRST_GENERATION = 16,
        LAST_GENERATION = 0x7fff,
        NO_MORE = -1
};

struct channel {
        confab_endpoint *endpoint;  /* NULL: the slot is free */
        struct confab_message rest; /* lent, and not wholly read yet */
        size_t rest_at;
        unsigned generation;
        unsigned n_users;
        bool closing;
        int index;
        int next_free; /* index, or NO_MORE */
};

static struct channel *chunks[N_CHUNKS];
static int n_slots, first_free = NO_MORE;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int failed(int64_t error) {
        /* EINTR comes from closeSocket's interrupt alone */
        errno = error == -EINTR ? ECANCELED : (int)-error;
        return -1;
}

static struct channel *slot(int index) {
        return &chunks[index / CHUNK_LEN][index % CHUNK_LEN];
}

/* --- forking --- */

static void before_fork(void) {
        pthread_mutex_lock(&lock);
}

static void after_fork_parent(void) {
        pthread_mutex_unlock(&lock);
}

static void after_fork_child(void) {
        for (int i = 0; i < n_slots; i++)
                slot(i)->n_users = 0;
        pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void watch_forks(void) {
        pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

/* --- the table --- */

/* One more free slot, at the end. Called with the lock. */
static int grow(void) {
        struct channel **chunkp = &chunks[n_slots / CHUNK_LEN];

        if (!*chunkp)
                *chunkp = calloc(CHUNK_LEN, sizeof(**chunkp));
        if (!*chunkp)
                return -ENOMEM;
        *slot(n_slots) =
                (struct channel){.generation = FIRST_GENERATION, .index = n_slots, .next_free = first_free};
        first_free = n_slots++;
        return 0;
}

/* A number for @endpoint, which is the table's from now on; it is closed if there is no number left. */
static int add(confab_endpoint *endpoint) {
        int r = 0, number = 0;

        pthread_mutex_lock(&lock);
        if (first_free == NO_MORE)
                r = n_slots < N_CHUNKS * CHUNK_LEN ? grow() : -EMFILE;
        if (r == 0) {
                struct channel *channel = slot(first_free);

                first_free = channel->next_free;
                channel->endpoint = endpoint;
                channel->rest = confab_message_of(NULL, 0);
                channel->n_users = 0;
                channel->closing = false;
                number = (int)(channel->generation << INDEX_BITS) | channel->index;
        }
        pthread_mutex_unlock(&lock);
        if (r == 0)
                return number;
        confab_close(endpoint);
        return failed(r);
}

/* The slot of @number, held until leave(); NULL with errno set: there is no such channel. */
static struct channel *enter(int number) {
        int index = number & ((1 << INDEX_BITS) - 1);
        struct channel *channel = NULL;

        pthread_mutex_lock(&lock);
        if (number > 0 && index < n_slots) {
                channel = slot(index);
                if (channel->endpoint && !channel->closing &&
                    channel->generation == (unsigned)number >> INDEX_BITS)
                        channel->n_users++;
                else
                        channel = NULL;
        }
        pthread_mutex_unlock(&lock);
        if (!channel)
                errno = EBADF;
        return channel;
}

/* Gives the slot back once nobody uses it any more and it is to be closed. Keeps errno. */
static void leave(struct channel *channel) {
        int error = errno;
        confab_endpoint *ended = NULL;

        pthread_mutex_lock(&lock);
        if (--channel->n_users == 0 && channel->closing)
                ended = channel->endpoint;
        pthread_mutex_unlock(&lock);
        if (!ended)
                return;
        confab_release(ended, &channel->rest);
        confab_close(ended);
        pthread_mutex_lock(&lock);
        channel->endpoint = NULL;
        channel->generation =
                channel->generation < LAST_GENERATION ? channel->generation + 1 : FIRST_GENERATION;
        channel->next_free = first_free;
        first_free = channel->index;
        pthread_mutex_unlock(&lock);
        errno = error;
}

/* --- the six calls --- */

int serverSocket(int port) {
        confab_endpoint *endpoint;
        char address[32];
        int r;

        if (port < 1 || port > 65535) /* 0, any free one, could not be told to the clients */
                return failed(-EINVAL);
        snprintf(address, sizeof(address), "tcp://:%d", port);
        r = confab_listen(&endpoint, address, NULL, CONFAB_FOREVER);
        return r < 0 ? failed(r) : add(endpoint);
}

int acceptServerSocket(int number) {
        struct channel *channel = enter(number);
        confab_endpoint *client;
        int r;

        if (!channel)
                return -1;
        r = confab_accept(&client, channel->endpoint, CONFAB_FOREVER);
        r = r < 0 ? failed(r) : add(client);
        leave(channel);
        return r;
}

/* "tcp://host:port"; everything in a name that means something in an address goes as a code. -EINVAL: it does not fit. */
static int address_of(char *text, size_t cap, const char *host, int port) {
        bool digits = strchr(host, ':'); /* IPv6 in digits */
        char coded[768];
        size_t len = 0;

        for (; *host && len + 4 <= sizeof(coded); host++) {
                bool plain = (*host >= 'a' && *host <= 'z') || (*host >= 'A' && *host <= 'Z') ||
                             (*host >= '0' && *host <= '9') || strchr(".-_:", *host);

                len += (size_t)snprintf(coded + len, sizeof(coded) - len, plain ? "%c" : "%%%02X",
                                        (unsigned char)*host);
        }
        if (*host || !len)
                return -EINVAL;
        snprintf(text, cap, digits ? "tcp://[%s]:%d" : "tcp://%s:%d", coded, port);
        return 0;
}

int connectSocket(const char *host, int port) {
        confab_endpoint *endpoint;
        char address[800];
        int r;

        if (!host || port < 1 || port > 65535)
                return failed(-EINVAL);
        r = address_of(address, sizeof(address), host, port);
        if (r < 0)
                return failed(r);
        r = confab_open(&endpoint, address, NULL, CONFAB_FOREVER);
        return r < 0 ? failed(r) : add(endpoint);
}

int writeSocket(int number, const void *bytes, int length) {
        struct confab_message message;
        struct channel *channel;
        int64_t n;

        if (!bytes || length <= 0) /* 0 bytes: the table has no answer to it but an error */
                return failed(-EINVAL);
        channel = enter(number);
        if (!channel)
                return -1;
        message = confab_message_of(bytes, (size_t)length);
        n = confab_send(channel->endpoint, &message, CONFAB_FOREVER);
        if (n >= 0 && n < length) /* closeSocket alone cuts it; what went out is nobody's to go on from */
                n = -EINTR;
        if (n < 0)
                failed(n);
        leave(channel);
        return n < 0 ? -1 : (int)n;
}

/* What lies in the rest, else what comes: 1, or as confab_receive. */
static int fill(struct channel *channel) {
        if (channel->rest.data_len)
                return 1;
        channel->rest_at = 0;
        return confab_receive(channel->endpoint, &channel->rest, NULL, CONFAB_FOREVER);
}

int readSocket(int number, void *buffer, int length) {
        struct channel *channel;
        size_t n = 0;
        int r;

        if (!buffer || length <= 0) /* 0 bytes would look like the end */
                return failed(-EINVAL);
        channel = enter(number);
        if (!channel)
                return -1;
        r = fill(channel);
        if (r > 0) {
                n = channel->rest.data_len - channel->rest_at;
                n = n < (size_t)length ? n : (size_t)length;
                memcpy(buffer, (const char *)channel->rest.data + channel->rest_at, n);
                channel->rest_at += n;
                if (channel->rest_at == channel->rest.data_len)
                        confab_release(channel->endpoint, &channel->rest);
        } else if (r < 0) {
                failed(r);
        }
        leave(channel);
        return r < 0 ? -1 : (int)n;
}

int closeSocket(int number) {
        struct channel *channel = enter(number);

        if (!channel)
                return -1;
        pthread_mutex_lock(&lock);
        /* two threads may have come in before one of them marks it: the second has closed nothing */
        bool mine = !channel->closing;
        channel->closing = true;
        if (channel->n_users > 1)
                confab_interrupt(channel->endpoint);
        pthread_mutex_unlock(&lock);
        leave(channel);
        return mine ? 0 : failed(-EBADF);
}
