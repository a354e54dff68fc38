/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CONFAB_TYPES_H
#define CONFAB_TYPES_H
/*
 * Types every other header uses: handles, deadlines, the allocator, failures in words, events.
 *
 * Results, everywhere: 0 or a count on success, a negative errno on failure. Nothing sets errno.
 * Public structs begin with their own size in bytes; 0 in any other field means "default".
 */
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define CONFAB_BEGIN_DECLS extern "C" {
#define CONFAB_END_DECLS   }
#else
#define CONFAB_BEGIN_DECLS
#define CONFAB_END_DECLS
#endif
#define CONFAB_API __attribute__((visibility("default")))

#define CONFAB_VERSION_MAJOR 0
#define CONFAB_VERSION_MINOR 1
#define CONFAB_VERSION_PATCH 0

CONFAB_BEGIN_DECLS

/* One end of a conversation, whatever carries it. Made by confab_open, confab_listen, confab_accept, confab_pair. */
typedef struct confab_endpoint confab_endpoint;

/*
 * Deadlines: absolute times of CLOCK_MONOTONIC in nanoseconds. Every call that can block takes one.
 * CONFAB_NOW does not wait (the call answers -EAGAIN where it would have to); CONFAB_FOREVER has no end.
 * Any other deadline that passes is answered with -ETIMEDOUT.
 */
#define CONFAB_NOW     ((int64_t)0)
#define CONFAB_FOREVER INT64_MAX

/* The monotonic clock now, in ns. Never fails, never blocks, any thread, any signal handler. */
CONFAB_API int64_t confab_now(void);

/* The deadline @duration_ns from now: CONFAB_NOW if it is <= 0, CONFAB_FOREVER if it is CONFAB_FOREVER or overflows. */
CONFAB_API int64_t confab_after(int64_t duration_ns);

/* The version of the library in use, "0.1.0". Borrowed for ever. */
CONFAB_API const char *confab_version(void);

/*
 * The last failure of this thread as one sentence without a newline: what was tried, on what, what failed, what to try.
 * Written into @text (at most @text_cap bytes with the final NUL; cut at the end of a UTF-8 character).
 * Returns the length the whole sentence has, as snprintf does; 0 and "" where nothing has failed yet.
 * A later success does not erase it. Does not block; looks limits up in /proc, so it is not async-signal-safe.
 */
CONFAB_API size_t confab_explain(char *text, size_t text_cap);

/*
 * Memory of the library: malloc and free unless set. Must be called before any other call of this header's siblings;
 * -EBUSY afterwards, -EINVAL where one of the two is NULL. Both functions may be called from any thread.
 * allocate() returns memory aligned as malloc's, or NULL; release() accepts NULL.
 */
struct confab_allocator {
        uint32_t size;
        uint32_t flags; /* 0 */
        void *(*allocate)(size_t len, void *data);
        void (*release)(void *memory, void *data);
        void *data;
};
CONFAB_API int confab_set_allocator(const struct confab_allocator *allocator);

/*
 * What the library has to tell outside of a result. The library itself never writes to stderr.
 * The callback runs in the thread whose call noticed it, inside that call: it must not call the endpoint in question.
 */
enum confab_event_kind {
        CONFAB_EVENT_STALE_SOCKET_REPLACED =
                1, /* nobody listened on the socket file; a new one took its place */
        CONFAB_EVENT_DESCRIPTORS_REFUSED =
                2, /* a peer sent more descriptors than taken; all were closed; value: how many came */
        CONFAB_EVENT_ACCEPT_PAUSED =
                3, /* no descriptors left; accepting goes on later; value: RLIMIT_NOFILE */
        CONFAB_EVENT_CHILD_ENDED =
                4, /* the child behind exec:// has ended; value: its status as waitpid has it */
        CONFAB_EVENT_CHILD_KILLED = 5, /* it did not end by itself and was killed; value: its pid */
        CONFAB_EVENT_SERVICE_FULL = 6, /* as many clients as may be; more wait; value: how many */
        CONFAB_EVENT_SERVICE_PAUSED =
                7, /* nothing left to serve a client with, it waits; value: the errno that says what */
        CONFAB_EVENT_CLIENT_FAILED =
                8, /* a client's function or program failed to serve it; value: the negative errno */
        CONFAB_EVENT_CLIENT_PROCESS_ENDED = 9, /* not with 0; value: its status as waitpid has it */
        CONFAB_EVENT_CLIENT_OUT_OF_TIME =
                10, /* idle_ns or client_ns are over, it is ended; value: its process, 0: none */
        CONFAB_EVENT_WORKER_ENDED = 11, /* and is started again; value: its status as waitpid has it */
        CONFAB_EVENT_SUCCESSOR_FAILED =
                12, /* the service goes on; value: its status as waitpid has it, or the negative errno of starting it */
        CONFAB_EVENT_PEER_REFUSED =
                13, /* it broke the rules of the shared memory, the channel is closed; value: its pid */
};
struct confab_event {
        uint32_t size;
        uint32_t kind;       /* enum confab_event_kind */
        const char *address; /* of the endpoint; borrowed until the callback returns */
        int64_t value;
};
/* One callback per process; NULL takes it away. Any thread; does not block. */
CONFAB_API void confab_on_event(void (*callback)(const struct confab_event *event, void *data), void *data);

CONFAB_END_DECLS
#endif
