/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Handlers: one function of ours is installed for all; it decodes what came and calls the one the table has for that signal.
 *
 *   [H1] set:      handlers[n] = new (release);   sigaction(n)
 *        restore:  sigaction(n, as it was);       handlers[n] = as it was (release)
 *        signal:   h = handlers[n] (acquire);     h(...)
 *
 * A signal that comes between the two steps, in another thread, calls the old or the new function, both of which are somebody's handlers of it; it
 * never finds none, because none is put back only where our function was not installed before.
 *
 * The masks during a handler are empty but for the signal itself: a slow handler of one signal does not keep others waiting.
 */
#include "base/cancel.h"
#include "base/error.h"
#include "base/signals.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

static _Atomic(confab_signal_handler) handlers[_NSIG];

/* What lies in confab_signal_before.kept. */
struct kept {
        struct sigaction action;
        confab_signal_handler handler;
        uint32_t magic;
};
enum { MAGIC = 0x53474e4c };
static_assert(sizeof(struct kept) <= sizeof(((struct confab_signal_before *)NULL)->kept),
              "grow confab_signal_before");

static void dispatch(int number, siginfo_t *info, void *context) {
        confab_signal_handler handler =
                atomic_load_explicit(&handlers[number], memory_order_acquire); /* [H1] */
        struct confab_signal_received received;
        int saved = errno;

        (void)context;
        cfb_signal_decode(&received, info);
        if (handler)
                handler(&received);
        errno = saved;
}

static bool is_ours(const struct sigaction *action) {
        return (action->sa_flags & SA_SIGINFO) && action->sa_sigaction == dispatch;
}

static int set(struct confab_signal_before *before, const char *call, int number,
               const struct sigaction *action, confab_signal_handler handler) {
        struct kept kept = {.magic = MAGIC};
        int r = cfb_signal_check_catch(call, number, 0);

        if (r < 0)
                return r;
        if (before && before->size < sizeof(*before))
                return cfb_failed_with(-EINVAL, call, NULL, NULL, "before->size is not set", 0, 0);
        kept.handler = handler ? atomic_exchange_explicit(&handlers[number], handler,
                                                          memory_order_acq_rel) /* [H1] */
                               : atomic_load_explicit(&handlers[number], memory_order_acquire);
        if (sigaction(number, action, &kept.action) < 0) {
                char name[16];

                r = -errno;
                cfb_signal_name(name, number);
                return cfb_failed(r, "sigaction", name);
        }
        if (before) {
                *before = (struct confab_signal_before){.size = sizeof(*before), .number = number};
                memcpy(before->kept, &kept, sizeof(kept));
        }
        return 0;
}

int confab_signal_handle(struct confab_signal_before *before, int number, confab_signal_handler handler,
                         uint32_t flags) {
        struct sigaction action = {.sa_sigaction = dispatch, .sa_flags = SA_SIGINFO | SA_ONSTACK};

        if (!handler || (flags & ~(CONFAB_HANDLE_INTERRUPTS | CONFAB_HANDLE_ONCE)))
                return cfb_failed_with(-EINVAL, "signal_handle", NULL, NULL,
                                       handler ? "there are no such flags" : "the handler is NULL", 0, 0);
        if (!(flags & CONFAB_HANDLE_INTERRUPTS))
                action.sa_flags |= SA_RESTART;
        if (flags & CONFAB_HANDLE_ONCE)
                action.sa_flags |= (int)SA_RESETHAND;
        return set(before, "signal_handle", number, &action, handler);
}

int confab_signal_ignore(struct confab_signal_before *before, int number) {
        return set(before, "signal_ignore", number, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
}

int confab_signal_default(struct confab_signal_before *before, int number) {
        return set(before, "signal_default", number, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
}

int confab_signal_restore(const struct confab_signal_before *before) {
        struct kept kept;
        int r;

        if (before)
                memcpy(&kept, before->kept, sizeof(kept));
        if (!before || before->size < sizeof(*before) || kept.magic != MAGIC)
                return cfb_failed_with(
                        -EINVAL, "signal_restore", NULL, NULL,
                        "nothing was kept in it: confab_signal_handle, _ignore and _default do", 0, 0);
        r = cfb_signal_check_catch("signal_restore", before->number, 0);
        if (r < 0)
                return r;
        if (sigaction(before->number, &kept.action, NULL) < 0)
                return cfb_failed(-errno, "sigaction", NULL);
        if (is_ours(&kept.action))
                atomic_store_explicit(&handlers[before->number], kept.handler,
                                      memory_order_release); /* [H1] */
        return 0;
}
