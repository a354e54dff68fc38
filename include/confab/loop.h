/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#ifndef CONFAB_LOOP_H
#define CONFAB_LOOP_H
/*
 * The event loop: descriptors, timers, signals, children and endpoints, told by callbacks in one thread.
 *
 * A loop belongs to the thread that runs it; only confab_loop_stop and confab_loop_wake are safe from other threads and
 * from signal handlers. It hides no thread and no global state, and it runs inside a foreign loop by one descriptor.
 * In a forked child it answers -EOWNERDEAD to all but confab_loop_free, which leaves the parent's loop as it is.
 */
#include <confab/endpoint.h>

CONFAB_BEGIN_DECLS

typedef struct confab_loop confab_loop;
/* Something a loop watches. Owned by the loop; confab_loop_remove ends it, also from inside its own callback. */
typedef struct confab_source confab_source;

/*
 * Told that @source is ready. @events: poll's bits for descriptors, CONFAB_RECEIVE and CONFAB_SEND for endpoints, the count of
 * expirations for timers, the signal's number, the child's status as waitpid has it (UINT32_MAX: somebody else reaped it).
 * Returns 0 to go on; a negative value ends confab_loop_run, which returns it.
 */
typedef int (*confab_source_callback)(confab_source *source, uint32_t events, void *data);

/*
 * A loop in *@loopp, the caller's (confab_loop_free, outside of its callbacks; it frees its sources and closes nothing that was lent).
 */
CONFAB_API int confab_loop_new(confab_loop **loopp);
CONFAB_API confab_loop *confab_loop_free(confab_loop *loop);

/*
 * Watches @descriptor (lent; remove the source before closing it) for poll's @events (POLLIN, POLLOUT; 0: nothing for now), level-
 * triggered. @sourcep may be NULL in all of these. -EEXIST: this loop watches that descriptor already; it can have one source.
 */
CONFAB_API int confab_loop_add_descriptor(confab_source **sourcep, confab_loop *loop, int descriptor,
                                          uint32_t events, confab_source_callback callback, void *data);
/*
 * Fires at @deadline_ns (CONFAB_FOREVER: not until it is set) and then every @interval_ns; 0: once, then the source is removed
 * when its callback returns, unless that set it again.
 */
CONFAB_API int confab_loop_add_timer(confab_source **sourcep, confab_loop *loop, int64_t deadline_ns,
                                     int64_t interval_ns, confab_source_callback callback, void *data);
/*
 * Takes @signal_number as an event (signalfd): it is blocked in the calling thread until that thread removes the source. Block it in
 * the other threads too, best before they start. -EINVAL: SIGKILL, SIGSTOP and synchronous faults cannot be taken.
 * -EBUSY: another source of this loop has it, or the library (confab_signal_handle).
 */
CONFAB_API int confab_loop_add_signal(confab_source **sourcep, confab_loop *loop, int signal_number,
                                      confab_source_callback callback, void *data);
/* Told once when the child @pid has ended (pidfd), after reaping it; then the source is removed. -ECHILD: no child of ours. */
CONFAB_API int confab_loop_add_child(confab_source **sourcep, confab_loop *loop, int32_t pid,
                                     confab_source_callback callback, void *data);
/*
 * Watches @endpoint (lent; remove the source before closing it) for @direction: CONFAB_RECEIVE (also: a connection to
 * accept), CONFAB_SEND or both. What is watched for receiving is received from in the loop's thread alone, what for sending is sent on in
 * it alone. CONFAB_SEND: what a stream has queued of a message that was cut short is sent by the loop first, and @callback told once it has
 * gone; so who sends with CONFAB_NOW watches for it while confab_send without a message says -EAGAIN. A listener that ran
 * out of descriptors (-EMFILE) is looked at again 100 ms later.
 */
CONFAB_API int confab_loop_add_endpoint(confab_source **sourcep, confab_loop *loop, confab_endpoint *endpoint,
                                        uint32_t direction, confab_source_callback callback, void *data);

/* What an endpoint is watched for (0: nothing for now), or a descriptor's poll events; a timer's new first time. */
CONFAB_API int confab_loop_change(confab_source *source, uint32_t events);
CONFAB_API int confab_loop_set_timer(confab_source *source, int64_t deadline_ns, int64_t interval_ns);
/* Ends a source. Its callback is not called again, not even for what has happened already. Accepts NULL; returns NULL. */
CONFAB_API confab_source *confab_loop_remove(confab_source *source);

/*
 * Runs until confab_loop_stop (returns 0, also for one before the run), a callback's negative answer (returned), or an error of the
 * kernel's. -EBUSY: called from inside one of its callbacks, as confab_loop_once.
 */
CONFAB_API int confab_loop_run(confab_loop *loop);
/* Waits until @deadline_ns for the next events and calls their callbacks. Returns how many were called (0: none, at the deadline). */
CONFAB_API int confab_loop_once(confab_loop *loop, int64_t deadline_ns);
/* Ends confab_loop_run after the callback under way, or wakes confab_loop_once early. Any thread, any signal handler. */
CONFAB_API void confab_loop_stop(confab_loop *loop);
CONFAB_API void confab_loop_wake(confab_loop *loop);
/* Readable while the loop has something to do: watch it from a foreign loop, then call confab_loop_once(loop, CONFAB_NOW). */
CONFAB_API int confab_loop_descriptor(const confab_loop *loop);

CONFAB_END_DECLS
#endif
