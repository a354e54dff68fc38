/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * signal://PID, signal://-GROUP, signal://self - signals as messages: the type is the signal's number, the data its value in decimal text.
 *
 *   sending     a pidfd and pidfd_send_signal (a group: kill); nothing to wait on where RLIMIT_SIGPENDING leaves no room, hence naps
 *   receiving   the signals of signal= are blocked in the thread that listens, so that they stay pending, and a signalfd reads them
 *
 * What the kernel does and we cannot change: a signal to a process goes to any thread that does not block it, so they must be blocked in all
 * (best before the first is started); standard signals merge while one waits; the lowest number comes first, whatever was sent first.
 *
 * One endpoint of a process takes a signal: two would take each other's, and the one closed first would unblock it for both.
 *
 * Closing drops what was not received and unblocks what was not blocked before, in the thread that listened: any other mask is somebody else's.
 * Without dropping it a signal left over would do what it does by default, which is to end the process.
 *
 * Fork: a signalfd read in the child brings the child's own signals, and the name says the parent. So receiving there is refused, until confab_adopt
 * makes it the child's own. Sending goes on in both. A death leaves nothing behind.
 */
#include "base/memory.h"
#include "base/signals.h"
#include "core/message.h"
#include "core/transport.h"
#include "process/signal_message.h"
#include "process/signal_send.h"
#include "transport/queue.h"

#include <inttypes.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
        N_YIELDS = 4, /* tries before the first nap */
        NAP_FIRST_NS = 20 * 1000,
        NAP_LAST_NS = 5 * 1000 * 1000,
        MANY = 64,         /* signals in one read */
        DROPPED = 1 << 20, /* at most, at close: somebody may send on and on */
};

struct signal_state {
        int fd;              /* a pidfd, or the signalfd; -1: a group */
        int32_t target;      /* sending: the process, or the group's number negative */
        unsigned n_naps;     /* since the last message */
        uint32_t generation; /* of the process that receives */
        long thread;         /* that blocked them */
        sigset_t taken, unblock;
        sigset_t filter; /* what the last step looked for */
        bool filtered;
};

/* [T1] by signal: the generation of the process in which an endpoint takes it; 0, or an ancestor's: nobody does. Fork needs no lock. */
static _Atomic uint32_t taken_in[_NSIG];

/* A set as bits: signal n is bit n - 1. */
static uint64_t bit_of(int number) {
        return UINT64_C(1) << (number - 1);
}

static bool all_queued(const struct cfb_address *address) {
        return address->signals && !(address->signals & (bit_of(SIGRTMIN) - 1));
}

static void signal_properties(struct confab_properties *properties, const struct cfb_address *address,
                              const confab_endpoint *endpoint) {
        const struct signal_state *state = endpoint ? cfb_state(endpoint) : NULL;
        bool sends = state && state->target, queued = all_queued(address) && address->rest[0] != '-';

        *properties = (struct confab_properties){
                .size = sizeof(*properties),
                .addressing = CONFAB_ADDRESSING_NUMBER,
                .reach = CONFAB_REACH_MACHINE,
                .connection = CONFAB_CONNECTION_NONE,
                .direction = CONFAB_DIRECTION_SIMPLEX,
                .boundaries = CONFAB_BOUNDARIES_MESSAGE,
                .order =
                        address->signals & (address->signals - 1) ? CONFAB_ORDER_PRIORITY : CONFAB_ORDER_FIFO,
                .loss = queued ? CONFAB_LOSS_NONE : CONFAB_LOSS_POSSIBLE,
                .when_full = queued ? CONFAB_FULL_WAIT : CONFAB_FULL_DROP,
                .peer_gone = CONFAB_GONE_UNNOTICED,
                .empty = queued ? CONFAB_NO : CONFAB_YES,
                .types = CONFAB_YES,
                .waiting = sends ? CONFAB_WAITING_NAPS : CONFAB_WAITING_DESCRIPTOR,
                .after_fork = sends ? CONFAB_FORK_SHARED : CONFAB_FORK_OWNER,
                .message_max = CFB_SIGNAL_TEXT_MAX,
                .atomic_max = UINT64_MAX,
        };
}

/* --- addresses --- */

/* The process (> 0) or group (< 0) that @rest names; 0: nobody that may be signalled by accident. */
static int32_t target_of(const char *rest) {
        bool group = *rest == '-';
        int64_t number = 0;

        if (strcmp(rest, "self") == 0)
                return getpid();
        rest += group;
        if (*rest < '1' || *rest > '9')
                return 0;
        for (; *rest >= '0' && *rest <= '9' && number <= INT32_MAX; rest++)
                number = number * 10 + (*rest - '0');
        if (*rest || number > INT32_MAX || (group && number == 1))
                return 0;
        return (int32_t)(group ? -number : number);
}

static int signal_check(const struct cfb_address *address) {
        if (target_of(address->rest))
                return 0;
        return cfb_address_refuse(
                address, 0,
                strcmp(address->rest, "-1") == 0 || strcmp(address->rest, "0") == 0
                        ? "the kernel would take it for every process, or for all of your own group"
                        : "signals go to a process, a group or self: signal://1234, signal://-1234");
}

/* --- sending --- */

static int signal_open_sender(confab_endpoint *endpoint) {
        const struct cfb_address *address = &endpoint->address;
        struct signal_state *state = cfb_state(endpoint);
        int r;

        state->fd = -1;
        state->target = target_of(address->rest);
        endpoint->direction = CONFAB_SEND;
        if (state->target > 0) {
                r = cfb_signal_open("open", address->text, state->target);
                if (r == -ESRCH)
                        return cfb_signal_failed(-ENOENT, "open", address->text, state->target);
                if (r >= 0)
                        state->fd = r;
                return r < 0 ? r : 0;
        }
        r = cfb_signal_group_step(-state->target, 0);
        return r < 0 ? cfb_signal_failed(r == -ESRCH ? -ENOENT : r, "open", address->text, state->target) : 0;
}

/* Which signal @message is, or -EINVAL. */
static int number_of(const confab_endpoint *endpoint, const struct confab_message *message) {
        if (!message->type && !endpoint->address.signal_first)
                return cfb_signal_refuse(
                        -EINVAL, "send", confab_address(endpoint),
                        "which signal? say it in the address (signal=USR1) or as the message's type");
        if (message->type > SIGRTMAX)
                return cfb_signal_refuse(
                        -EINVAL, "send", confab_address(endpoint),
                        "the type of a message is a signal's number here: confab signal lists them");
        if (message->type) {
                int r = cfb_signal_check("send", (int)message->type, 0);

                return r < 0 ? r : (int)message->type;
        }
        return endpoint->address.signal_first;
}

static int64_t signal_send_step(confab_endpoint *endpoint, const struct confab_message *message) {
        struct signal_state *state = cfb_state(endpoint);
        uint64_t len = cfb_message_len(message);
        unsigned char text[CFB_SIGNAL_TEXT_MAX];
        int number = number_of(endpoint, message), r;
        int32_t value = 0;

        if (number < 0)
                return number;
        if (len > CFB_SIGNAL_TEXT_MAX)
                return cfb_too_large(endpoint, "send", len, CFB_SIGNAL_TEXT_MAX);
        cfb_queue_gather(text, message);
        if (len && !cfb_signal_number_read(&value, text, len))
                return cfb_signal_refuse(-EINVAL, "send", confab_address(endpoint),
                                         "a message is one number, -2147483648 to 2147483647, without plus, "
                                         "spaces or leading zeros, or empty");
        if (len && state->target < 0)
                return cfb_unsupported_of(endpoint, "send", "a value to a group; send an empty message");
        r = state->target < 0 ? cfb_signal_group_step(-state->target, number)
                              : cfb_signal_step(state->fd, number, len ? &value : NULL);
        if (r == -EAGAIN)
                return r;
        state->n_naps = 0;
        if (r < 0)
                return cfb_signal_failed(r == -ESRCH ? -EPIPE : r, "send", confab_address(endpoint),
                                         state->target);
        return (int64_t)len;
}

/* --- receiving --- */

static void unclaim(uint64_t signals) {
        for (int number = 1; number < _NSIG; number++)
                if (signals & bit_of(number))
                        atomic_store(&taken_in[number], 0); /* [T1] */
}

/* Marks @signals as taken by an endpoint of this process; false: one of them is already. */
static bool claim(uint64_t signals) {
        for (int number = 1; number < _NSIG; number++) {
                uint32_t before;

                if (!(signals & bit_of(number)))
                        continue;
                before = atomic_load(&taken_in[number]); /* [T1] */
                if (before == cfb_generation ||
                    !atomic_compare_exchange_strong(&taken_in[number], &before, cfb_generation)) {
                        unclaim(signals & (bit_of(number) - 1));
                        return false;
                }
        }
        return true;
}

/* Blocks what is taken in this thread, and notes what was not blocked before. */
static void block(struct signal_state *state) {
        sigset_t before;

        pthread_sigmask(SIG_BLOCK, &state->taken, &before);
        sigemptyset(&state->unblock);
        for (int number = 1; number <= SIGRTMAX; number++)
                if (sigismember(&state->taken, number) == 1 && sigismember(&before, number) == 0)
                        sigaddset(&state->unblock, number);
        state->thread = syscall(SYS_gettid);
        state->generation = cfb_generation;
}

/* signal://PID?signal=USR1,RTMIN+1: where others send to, the first one first. */
static int name_it(confab_endpoint *endpoint) {
        const struct cfb_address *address = &endpoint->address;
        char text[1024], name[16];
        size_t used = 0;

        cfb_signal_name(name, address->signal_first);
        cfb_append(text, sizeof(text), &used, "signal://%d?signal=%s", (int)getpid(), name + 3);
        for (int number = 1; number <= SIGRTMAX; number++)
                if ((address->signals & bit_of(number)) && number != address->signal_first) {
                        cfb_signal_name(name, number);
                        cfb_append(text, sizeof(text), &used, ",%s", name + 3);
                }
        cfb_release(endpoint->name);
        endpoint->name = cfb_copy_text(text);
        return endpoint->name ? 0 : cfb_failed(-ENOMEM, "listen", address->text);
}

static int signal_listen(confab_endpoint *endpoint, int64_t deadline_ns) {
        const struct cfb_address *address = &endpoint->address;
        struct signal_state *state = cfb_state(endpoint);
        int r;

        (void)deadline_ns;
        state->fd = -1;
        if (address->direction == CONFAB_SEND)
                return cfb_unsupported(address, "listen", "sending on the side that listens");
        if (target_of(address->rest) != getpid())
                return cfb_address_refuse(address, 0,
                                          "a process receives its own signals only: signal://self");
        if (!address->signals)
                return cfb_signal_refuse(
                        -EINVAL, "listen", address->text,
                        "which signals? signal=USR1,RTMIN+1 says it; the others keep their way");
        sigemptyset(&state->taken);
        for (int number = 1; number <= SIGRTMAX; number++)
                if (address->signals & bit_of(number)) {
                        if ((r = cfb_signal_check_catch("listen", number, 1)) < 0)
                                return r;
                        sigaddset(&state->taken, number);
                }
        if ((r = name_it(endpoint)) < 0)
                return r;
        if (!claim(address->signals))
                return cfb_signal_refuse(-EADDRINUSE, "listen", address->text,
                                         "another endpoint of this process takes one of these signals");
        block(state);
        endpoint->direction = CONFAB_RECEIVE;
        endpoint->polls = true;
        state->fd = signalfd(-1, &state->taken, SFD_CLOEXEC | SFD_NONBLOCK);
        return state->fd < 0 ? cfb_failed(-errno, "signalfd", address->text) : 0;
}

static int signal_open(confab_endpoint *endpoint, int64_t deadline_ns) {
        if (endpoint->address.direction == CONFAB_RECEIVE)
                return signal_listen(endpoint, deadline_ns);
        return signal_open_sender(endpoint);
}

/* The two forms of the kernel's differ in layout only. */
static void decode(struct confab_signal_received *received, const struct signalfd_siginfo *from) {
        siginfo_t info;

        memset(&info, 0, sizeof(info));
        info.si_signo = (int)from->ssi_signo;
        info.si_code = from->ssi_code;
        if (info.si_code != SI_TIMER) { /* whose number and overruns lie there */
                info.si_pid = (pid_t)from->ssi_pid;
                info.si_uid = from->ssi_uid;
        }
        if (info.si_signo == SIGCHLD && info.si_code > 0)
                info.si_status = from->ssi_status;
        else
                info.si_value.sival_int = from->ssi_int;
        cfb_signal_decode(received, &info);
}

static void fill(struct confab_message *message, struct cfb_buffer *buffer,
                 const struct confab_signal_received *received) {
        message->type = received->number;
        message->data_len = cfb_signal_write(buffer->bytes, &buffer->peer, received);
        message->peer = &buffer->peer;
}

static int check_owner(const confab_endpoint *endpoint, const char *call) {
        const struct signal_state *state = cfb_state(endpoint);

        return state->generation == cfb_generation
                       ? 0
                       : cfb_signal_refuse(-EOWNERDEAD, call, confab_address(endpoint),
                                           "these are the signals of the process that forked; confab_adopt "
                                           "makes it receive "
                                           "this one's");
}

/* As many as there are and @infos holds. */
static int read_some(const confab_endpoint *endpoint, struct signalfd_siginfo *infos, unsigned n_infos) {
        struct signal_state *state = cfb_state(endpoint);
        ssize_t n = read(state->fd, infos, n_infos * sizeof(*infos));

        state->filtered = false;
        if (n >= (ssize_t)sizeof(*infos))
                return (int)((size_t)n / sizeof(*infos));
        return n < 0 && errno == EAGAIN ? -EAGAIN
                                        : cfb_failed(n < 0 ? -errno : -EIO, "read", confab_address(endpoint));
}

/* By type: signalfd has no choice, but taking pending signals has. N: that one; -N: the lowest up to N, which the kernel gives first. */
static int take_filtered(const confab_endpoint *endpoint, siginfo_t *info, int64_t type) {
        static const struct timespec at_once;
        struct signal_state *state = cfb_state(endpoint);

        sigemptyset(&state->filter);
        for (int number = 1; number <= SIGRTMAX; number++)
                if (sigismember(&state->taken, number) == 1 && (type > 0 ? number == type : number <= -type))
                        sigaddset(&state->filter, number);
        state->filtered = true;
        if (sigtimedwait(&state->filter, info, &at_once) > 0)
                return 1;
        return errno == EAGAIN || errno == EINTR
                       ? -errno
                       : cfb_failed(-errno, "sigtimedwait", confab_address(endpoint));
}

static int signal_receive_step(confab_endpoint *endpoint, struct confab_message *message,
                               struct cfb_buffer **bufferp, const struct confab_filter *filter) {
        struct confab_signal_received received;
        struct signalfd_siginfo info;
        siginfo_t taken_info;
        int r = check_owner(endpoint, "receive");

        if (r < 0)
                return r;
        if (filter && filter->type) {
                r = take_filtered(endpoint, &taken_info, filter->type);
                if (r < 0)
                        return r;
                cfb_signal_decode(&received, &taken_info);
        } else {
                r = read_some(endpoint, &info, 1);
                if (r < 0)
                        return r;
                decode(&received, &info);
        }
        fill(message, *bufferp, &received);
        return 1;
}

static int signal_receive_many(confab_endpoint *endpoint, struct confab_message *messages,
                               struct cfb_buffer **buffers, unsigned n_messages) {
        struct signalfd_siginfo infos[MANY];
        int n = check_owner(endpoint, "receive_many");

        if (n >= 0)
                n = read_some(endpoint, infos, n_messages < MANY ? n_messages : MANY);
        for (int i = 0; i < n; i++) {
                struct confab_signal_received received;

                decode(&received, &infos[i]);
                fill(&messages[i], buffers[i], &received);
        }
        return n;
}

static size_t signal_buffer_cap(const confab_endpoint *endpoint) {
        (void)endpoint;
        return 16;
}

/* --- waiting --- */

static int nap(confab_endpoint *endpoint, int64_t deadline_ns) {
        struct signal_state *state = cfb_state(endpoint);
        unsigned n = state->n_naps++;
        int r;

        if (n < N_YIELDS && deadline_ns > CONFAB_NOW && confab_now() < deadline_ns) {
                sched_yield();
                return cfb_wait_ended(endpoint, CONFAB_SEND);
        }
        n = n < N_YIELDS ? 0 : n - N_YIELDS;
        r = cfb_wait_nap(endpoint, CONFAB_SEND, n < 8 ? (int64_t)NAP_FIRST_NS << n : NAP_LAST_NS,
                         deadline_ns);
        if (r < 0)
                state->n_naps = 0;
        if (r == -ETIMEDOUT)
                return cfb_signal_failed(r, "send", confab_address(endpoint), state->target);
        return r;
}

static int signal_wait(confab_endpoint *endpoint, uint32_t direction, int64_t deadline_ns) {
        struct signal_state *state = cfb_state(endpoint);
        int r;

        if (direction == CONFAB_SEND)
                return nap(endpoint, deadline_ns);
        if (deadline_ns <= CONFAB_NOW)
                return -EAGAIN;
        /* What the filter leaves out must not wake us again and again. */
        if (state->filtered)
                signalfd(state->fd, &state->filter, 0);
        r = cfb_wait_descriptor(endpoint, direction, state->fd, POLLIN, deadline_ns);
        if (state->filtered)
                signalfd(state->fd, &state->taken, 0);
        return r;
}

static int signal_ready(confab_endpoint *endpoint, uint32_t direction) {
        const struct signal_state *state = cfb_state(endpoint);

        return direction == CONFAB_SEND && (state->target < 0 || cfb_signal_has_room(state->target));
}

static int signal_descriptor(confab_endpoint *endpoint, uint32_t direction, struct pollfd *pollfd) {
        const struct signal_state *state = cfb_state(endpoint);

        if (direction == CONFAB_SEND || !(endpoint->direction & CONFAB_RECEIVE))
                return cfb_unsupported_of(endpoint, "descriptor",
                                          direction == CONFAB_SEND
                                                  ? "a descriptor that tells when there is room"
                                                  : "receiving on this end");
        *pollfd = (struct pollfd){.fd = state->fd, .events = POLLIN};
        return 0;
}

/* --- fork, close --- */

static int signal_adopt(confab_endpoint *endpoint) {
        struct signal_state *state = cfb_state(endpoint);
        int fd, r;

        if (state->target || state->generation == cfb_generation)
                return 0;
        if ((r = name_it(endpoint)) < 0)
                return r;
        /* The old one is shared with the parent, and what watches it there would go on watching the parent's. */
        fd = signalfd(-1, &state->taken, SFD_CLOEXEC | SFD_NONBLOCK);
        if (fd < 0)
                return cfb_failed(-errno, "signalfd", endpoint->address.text);
        if (!claim(endpoint->address.signals)) {
                close(fd);
                return cfb_signal_refuse(-EADDRINUSE, "adopt", endpoint->address.text,
                                         "another endpoint of this process takes one of these signals");
        }
        close(state->fd);
        state->fd = fd;
        block(state);
        return 0;
}

static void signal_close(confab_endpoint *endpoint) {
        static const struct timespec at_once;
        struct signal_state *state = cfb_state(endpoint);

        if (state->fd >= 0)
                close(state->fd);
        if (!state->generation || state->generation != cfb_generation)
                return;
        if (state->thread == syscall(SYS_gettid)) {
                for (int i = 0; i < DROPPED && sigtimedwait(&state->unblock, NULL, &at_once) > 0; i++)
                        ;
                pthread_sigmask(SIG_UNBLOCK, &state->unblock, NULL);
        }
        unclaim(endpoint->address.signals);
}

const struct cfb_transport cfb_tr_signal = {
        .scheme = "signal",
        .summary = "signals with a number as their value, received as messages",
        .example = "signal://self?signal=USR1,RTMIN+1",
        .keys = CFB_KEY(SIGNAL) | CFB_KEY(DIRECTION),
        .state_len = sizeof(struct signal_state),
        .properties = signal_properties,
        .check = signal_check,
        .open = signal_open,
        .listen = signal_listen,
        .send = signal_send_step,
        .receive = signal_receive_step,
        .receive_many = signal_receive_many,
        .adopt = signal_adopt,
        .wait = signal_wait,
        .ready = signal_ready,
        .descriptor = signal_descriptor,
        .close = signal_close,
        .buffer_cap = signal_buffer_cap,
};
