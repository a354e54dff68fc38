/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * shm:// - a channel of shared memory between two processes: whole messages of any size, both ways, without a system call while both run.
 *
 *   listen   a unix socket (seqpacket) at the name's path, taken and given back as unix:// does
 *   open     connect;  make the memory (sealed) and a pair of bells;  map;  send HELLO with the memory and one bell; sending may begin
 *   accept   accept;  receive HELLO, check all of it, map. A HELLO that is not there yet is looked for by each call on the endpoint:
 *            nobody waits for a client that connects and says nothing
 *   pair     the same without a name: a pair of sockets and of bells, one memory that both ends map
 *
 * The connection stays open: it says who the peer is (SO_PEERCRED), carries bells and descriptors (shm_wait.c), and hangs up when the peer has
 * closed or died, however it died: that is the life sign. What was published by then is received first.
 *
 * Fork: a child has neither the mapping (MADV_DONTFORK) nor, by the handler below, the sockets: else it would keep its parent's conversations from
 * ending. It gets -EOWNERDEAD from all but close. The ends of a pair keep their sockets and the memory's descriptor for confab_adopt, which maps
 * anew; that conversation ends when the last process that holds an end has closed it. Children of a raw clone or vfork run no handlers and must exec.
 *
 * exec closes everything (close-on-exec), which ends the conversation.
 *
 * A process that dies leaves its socket file behind, nothing else; the next listener replaces it. The memory goes with its last user.
 */
#include "base/cleanup.h"
#include "base/memory.h"
#include "core/message.h"
#include "shm/name.h"
#include "transport/shm_channel.h"
#include "transport/unix_name.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

struct shm_state {
        struct cfb_channel channel; /* first: shm_channel.c finds it as the endpoint's state */
        struct cfb_unix_held *held; /* listeners: the socket file */
};

/* --- all channels of the process, for fork --- */

static pthread_mutex_t attaching = PTHREAD_MUTEX_INITIALIZER; /* before lock */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct cfb_channel *channels; /* under lock, as the links */
static uint64_t n_forks;             /* under lock */

static void before_fork(void) {
        pthread_mutex_lock(&attaching);
        pthread_mutex_lock(&lock);
}

static void after_fork_parent(void) {
        n_forks++;
        pthread_mutex_unlock(&lock);
        pthread_mutex_unlock(&attaching);
}

/* The mappings are not here, and what stands at their places may be another's. */
static void after_fork_child(void) {
        for (struct cfb_channel *channel = channels; channel; channel = channel->next) {
                channel->shared = NULL;
                channel->out_memory.bytes = channel->in_memory.bytes = NULL;
                for (struct cfb_channel_left *left = channel->left; left; left = left->next)
                        left->memory.bytes = NULL;
                cfb_channel_eyes_close(channel);
                if (channel->paired)
                        continue;
                for (int side = 0; side < 2; side++)
                        cfb_closep(&channel->endpoint->fds[side]);
        }
        pthread_mutex_unlock(&lock);
        pthread_mutex_unlock(&attaching);
}

static void prepare(void) {
        pthread_atfork(before_fork, after_fork_parent, after_fork_child);
}

static void enlist(struct cfb_channel *channel) {
        pthread_once(&once, prepare);
        pthread_mutex_lock(&lock);
        channel->forks = n_forks;
        channel->next = channels;
        channel->linkp = &channels;
        if (channels)
                channels->linkp = &channel->next;
        channels = channel;
        pthread_mutex_unlock(&lock);
}

/* Whether a child may have the same end of a pair, and be the one who uses it. */
static bool may_be_a_childs(struct cfb_channel *channel) {
        bool forked;

        if (!channel->paired || channel->sender.position || channel->receiver.position)
                return false;
        pthread_mutex_lock(&lock);
        forked = channel->forks != n_forks;
        pthread_mutex_unlock(&lock);
        return forked;
}

static void delist(struct cfb_channel *channel) {
        if (!channel->linkp)
                return;
        pthread_mutex_lock(&lock);
        *channel->linkp = channel->next;
        if (channel->next)
                channel->next->linkp = channel->linkp;
        channel->linkp = NULL;
        pthread_mutex_unlock(&lock);
}

/* --- properties --- */

static void properties(struct confab_properties *properties, const struct cfb_address *address,
                       const struct confab_endpoint *endpoint) {
        bool paired = address->rest && !address->rest[0];

        (void)endpoint;
        *properties = (struct confab_properties){
                .size = sizeof(*properties),
                .addressing = paired ? CONFAB_ADDRESSING_NONE : CONFAB_ADDRESSING_NAME,
                .reach = paired ? CONFAB_REACH_FAMILY : CONFAB_REACH_MACHINE,
                .connection = paired ? CONFAB_CONNECTION_MADE : CONFAB_CONNECTION_ACCEPTED,
                .direction = CONFAB_DIRECTION_DUPLEX,
                .boundaries = CONFAB_BOUNDARIES_MESSAGE,
                .order = CONFAB_ORDER_FIFO,
                .loss = CONFAB_LOSS_NONE,
                .when_full = CONFAB_FULL_WAIT,
                .peer_gone = CONFAB_GONE_ERROR,
                .end = CONFAB_YES,
                .half_close = CONFAB_YES,
                .empty = CONFAB_YES,
                .descriptors = CONFAB_YES,
                .credentials = CONFAB_CREDENTIALS_CONNECTION,
                .reply = CONFAB_NO,
                .types = CONFAB_NO,
                .waiting = CONFAB_WAITING_DESCRIPTOR,
                .in_place = CONFAB_YES,
                .residue = paired ? CONFAB_RESIDUE_NONE : CONFAB_RESIDUE_FILE,
                .after_fork = CONFAB_FORK_OWNER,
                .message_max = address->max,
                .atomic_max = UINT64_MAX,
                .capacity = 0,
        };
}

static int check(const struct cfb_address *address) {
        size_t at;
        const char *why =
                address->rest[0] ? cfb_shared_name_check(address->rest, &at) : NULL; /* none: pairs */

        return why ? cfb_address_refuse(address, at, why) : 0;
}

/* --- attaching --- */

static int refused(const struct confab_endpoint *endpoint, int error, const char *call,
                   const char *sentence) {
        return cfb_failed_with(error, call, confab_address(endpoint), NULL, sentence, 0, 0);
}

static bool trusts(const struct confab_endpoint *endpoint, const struct ucred *who) {
        switch (endpoint->address.trust) {
        case CFB_TRUST_YES:
                return true;
        case CFB_TRUST_NO:
                return false;
        default:
                return who->uid == geteuid();
        }
}

static void start(struct confab_endpoint *endpoint, int end) {
        struct cfb_channel *channel = cfb_state(endpoint);

        channel->endpoint = endpoint;
        channel->generation = cfb_generation;
        channel->end = end;
        channel->memory_fd = -1;
        endpoint->polls = true;
        endpoint->direction = CONFAB_BOTH;
}

int cfb_channel_attach(struct confab_endpoint *endpoint, int memory_fd, int end, bool made) {
        struct cfb_channel *channel = cfb_state(endpoint);
        struct cfb_channel_shared *shared;
        struct cfb_ring_memory rings[2];
        bool registered = cfb_park_register();
        void *memory;
        int r = cfb_shared_map(&memory, memory_fd, CFB_CHANNEL_LEN);

        if (r < 0)
                return cfb_failed(r, "mmap", confab_address(endpoint));
        shared = memory;
        if (made) {
                shared->magic = CFB_CHANNEL_MAGIC;
                shared->version = CFB_CHANNEL_VERSION;
                shared->len = CFB_CHANNEL_LEN;
        } else if (shared->magic != CFB_CHANNEL_MAGIC || shared->version != CFB_CHANNEL_VERSION ||
                   shared->len != CFB_CHANNEL_LEN) {
                cfb_shared_unmap(memory, CFB_CHANNEL_LEN);
                return refused(endpoint, -EPROTO, "attach", "the head of the channel's memory is damaged");
        }
        for (int i = 0; i < 2; i++)
                rings[i] = (struct cfb_ring_memory){
                        .bytes = (unsigned char *)memory + CFB_CHANNEL_HEAD +
                                 (size_t)i * cfb_ring_len(CFB_CHANNEL_SLOTS, CFB_CHANNEL_UNITS),
                        .n_slots = CFB_CHANNEL_SLOTS,
                        .n_units = CFB_CHANNEL_UNITS,
                };
        channel->out = &shared->lines[end];
        channel->in = &shared->lines[!end];
        channel->in_place = trusts(endpoint, &channel->who);
        r = cfb_ring_send_from(&channel->sender, channel->out, &rings[end], 0);
        if (r >= 0)
                r = cfb_ring_receive_from(&channel->receiver, channel->in, &rings[!end], 0);
        if (r < 0) {
                cfb_ring_sender_fini(&channel->sender);
                cfb_ring_receiver_fini(&channel->receiver);
                cfb_shared_unmap(memory, CFB_CHANNEL_LEN);
                return cfb_failed(r, "open", confab_address(endpoint));
        }
        channel->shared = shared;
        atomic_store_explicit(&shared->ends[end].max, endpoint->max, memory_order_relaxed);
        atomic_store_explicit(&shared->ends[end].flags,
                              CFB_CHANNEL_ATTACHED | (registered ? CFB_CHANNEL_REGISTERED : 0),
                              memory_order_release); /* [C1] */
        channel->registered = registered;
        cfb_channel_is_attached(channel);
        enlist(channel);
        for (int side = 0; side < 2; side++)
                atomic_store_explicit(&channel->open_generation[side], channel->generation,
                                      memory_order_release);                   /* [C2] */
        atomic_store_explicit(&channel->attached, true, memory_order_release); /* [C2] */
        return 0;
}

void cfb_channel_detach(struct confab_endpoint *endpoint) {
        struct cfb_channel *channel = cfb_state(endpoint);
        bool ours = channel->generation == cfb_generation && channel->shared;

        /* Of a pair each process closes the end it does not use: that must not end the conversation of the one that does. */
        if (ours && !may_be_a_childs(channel))
                cfb_channel_shutdown(endpoint, CONFAB_BOTH);
        delist(channel);
        cfb_channel_eyes_close(channel);
        while (channel->arrivals) {
                struct cfb_channel_arrival *arrival = channel->arrivals;

                channel->arrivals = arrival->next;
                cfb_channel_arrival_free(arrival);
        }
        while (channel->left) {
                struct cfb_channel_left *left = channel->left;

                channel->left = left->next;
                cfb_shared_unmap(left->memory.bytes, left->memory.len);
                cfb_release(left);
        }
        cfb_ring_sender_fini(&channel->sender);
        cfb_ring_receiver_fini(&channel->receiver);
        cfb_shared_unmap(channel->out_memory.bytes, channel->out_memory.len);
        cfb_shared_unmap(channel->in_memory.bytes, channel->in_memory.len);
        cfb_shared_unmap(channel->shared, CFB_CHANNEL_LEN);
        cfb_pool_unref(channel->copies);
        if (channel->memory_fd >= 0)
                close(channel->memory_fd);
}

/* --- making channels --- */

/* In a slot stands a length of 32 bits, and a ring that is twice as long has to be mapped. */
static void bound_max(struct confab_endpoint *endpoint) {
        const uint64_t most = UINT64_C(1) << (sizeof(size_t) > 4 ? 31 : 28);

        if (endpoint->max > most)
                endpoint->max = most;
}

static int who_is(struct confab_endpoint *endpoint) {
        struct cfb_channel *channel = cfb_state(endpoint);
        socklen_t len = sizeof(channel->who);

        return getsockopt(endpoint->fds[CFB_RECEIVING], SOL_SOCKET, SO_PEERCRED, &channel->who, &len) < 0
                       ? cfb_socket_failed(-errno, "getsockopt", endpoint)
                       : 0;
}

static int path_of(char *path, const struct cfb_address *address, bool make, const char *call) {
        return cfb_shared_path(path, address->rest, ".channel", make, call, address->text);
}

static int listen_shm(struct confab_endpoint *endpoint, int64_t deadline_ns) {
        struct shm_state *state = cfb_state(endpoint);
        const struct cfb_address *address = &endpoint->address;
        CFB_CLEANUP(cfb_closep) int fd = -1;
        char path[CFB_SHARED_PATH_MAX];
        int r;

        (void)deadline_ns;
        if (!address->rest[0])
                return cfb_address_refuse(address, 0, "a listener needs a name: shm://name");
        r = path_of(path, address, true, "listen");
        if (r >= 0)
                r = cfb_socket_new(&fd, endpoint, AF_UNIX, SOCK_SEQPACKET, SOCK_NONBLOCK);
        if (r >= 0)
                r = cfb_unix_bind(&state->held, endpoint, fd, path);
        if (r < 0)
                return r;
        bound_max(endpoint);
        endpoint->owns_name = address->lifetime != CFB_LIFETIME_PERSISTENT;
        if (listen(fd, (int)address->backlog) < 0)
                return cfb_socket_failed(-errno, "listen", endpoint);
        endpoint->listening = true;
        endpoint->polls = true;
        endpoint->fds[CFB_RECEIVING] = cfb_steal_fd(&fd);
        return 0;
}

/* Memory for a new channel. */
static int make_memory(const struct confab_endpoint *endpoint, int *fdp) {
        int fd = cfb_shared_new("confab-channel", CFB_CHANNEL_LEN);

        if (fd < 0)
                return cfb_failed_with(fd, "memfd_create", confab_address(endpoint), NULL,
                                       "there is no memory for a channel (36 KiB)", 0, 0);
        *fdp = fd;
        return 0;
}

/* The first packet: what it has to be, or -EPROTO. */
static int receive_hello(struct confab_endpoint *endpoint, int *memory_fdp, int *bell_fdp) {
        union {
                struct cmsghdr header;
                char room[CMSG_SPACE(sizeof(int) * CFB_DESCRIPTORS_MAX)];
        } control;
        struct cfb_channel_packet packet = {0};
        struct iovec part = {&packet, sizeof(packet)};
        struct msghdr header = {.msg_iov = &part,
                                .msg_iovlen = 1,
                                .msg_control = &control,
                                .msg_controllen = sizeof(control)};
        int fds[CFB_DESCRIPTORS_MAX];
        uint32_t n_fds = 0;
        ssize_t n = recvmsg(endpoint->fds[CFB_RECEIVING], &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

        if (n < 0)
                return cfb_socket_failed(-errno, "accept", endpoint);
        for (struct cmsghdr *found = CMSG_FIRSTHDR(&header); found; found = CMSG_NXTHDR(&header, found))
                if (found->cmsg_level == SOL_SOCKET && found->cmsg_type == SCM_RIGHTS) {
                        n_fds = (uint32_t)((found->cmsg_len - CMSG_LEN(0)) / sizeof(int));
                        memcpy(fds, CMSG_DATA(found), n_fds * sizeof(int));
                }
        if ((size_t)n == sizeof(packet) && packet.kind == CFB_CHANNEL_HELLO &&
            packet.position == CFB_CHANNEL_MAGIC && packet.n_slots == CFB_CHANNEL_VERSION && n_fds == 2 &&
            !(header.msg_flags & (MSG_CTRUNC | MSG_TRUNC))) {
                *memory_fdp = fds[0];
                *bell_fdp = fds[1];
                return 0;
        }
        for (uint32_t i = 0; i < n_fds; i++)
                close(fds[i]);
        if (n == 0) /* or an empty packet, which is no HELLO either */
                return refused(endpoint, -ECONNRESET, "accept", "the client went away");
        if ((size_t)n == sizeof(packet) && packet.position == CFB_CHANNEL_MAGIC &&
            packet.n_slots != CFB_CHANNEL_VERSION)
                return refused(endpoint, -EPROTO, "accept",
                               "the client speaks another version of the channel; this is version 1");
        return refused(endpoint, -EPROTO, "accept", "who connected speaks no channel: use confab there, too");
}

/* A bell has to be a unix socket, and nothing that polling or sending could hang on. */
static bool is_bell(int fd) {
        int domain = 0, type = 0;
        socklen_t len = sizeof(domain);

        return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && domain == AF_UNIX &&
               getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET;
}

static int attach_now(struct confab_endpoint *endpoint) {
        struct cfb_channel *channel = cfb_state(endpoint);
        CFB_CLEANUP(cfb_closep) int memory_fd = -1;
        size_t len;
        int r = receive_hello(endpoint, &memory_fd, &endpoint->fds[CFB_SENDING]);

        if (r < 0)
                return r;
        if (!is_bell(endpoint->fds[CFB_SENDING]) ||
            cfb_shared_check(memory_fd, CFB_CHANNEL_LEN, CFB_CHANNEL_LEN, &len) < 0)
                return refused(endpoint, -EPROTO, "accept", "what the client sent is no channel");
        r = cfb_channel_attach(endpoint, memory_fd, 0, false);
        if (r < 0)
                return r;
        cfb_channel_eyes_follow(endpoint);
        /* [P1] Its client may sleep until somebody can follow it to a larger ring. */
        if (cfb_park_look(&channel->in->sender_park, false))
                cfb_channel_rouse(endpoint, CFB_SENDING);
        return 0;
}

int cfb_channel_attach_late(struct confab_endpoint *endpoint) {
        struct cfb_channel *channel = cfb_state(endpoint);
        int r = 0;

        pthread_mutex_lock(&attaching); /* a sending and a receiving thread may come at once */
        if (!channel->attached) {
                r = channel->failed[CFB_RECEIVING] ? channel->failed[CFB_RECEIVING] : attach_now(endpoint);
                if (r < 0 && r != -EAGAIN)
                        channel->failed[CFB_SENDING] = channel->failed[CFB_RECEIVING] = r;
        }
        pthread_mutex_unlock(&attaching);
        return r;
}

static int accept_shm(struct confab_endpoint *endpoint, struct confab_endpoint *listener) {
        struct cfb_socket_name name;
        int fd, r;

        start(endpoint, 0);
        endpoint->address.trust = listener->address.trust;
        r = cfb_socket_accept(&fd, &name, listener);
        if (r < 0)
                return r;
        endpoint->fds[CFB_RECEIVING] = fd;
        r = who_is(endpoint);
        if (r >= 0)
                cfb_channel_attach_late(
                        endpoint); /* what stands against it is told by the first call that needs it */
        return r;
}

static int open_shm(struct confab_endpoint *endpoint, int64_t deadline_ns) {
        const struct cfb_channel_packet hello = {
                .kind = CFB_CHANNEL_HELLO, .n_slots = CFB_CHANNEL_VERSION, .position = CFB_CHANNEL_MAGIC};
        const struct cfb_address *address = &endpoint->address;
        CFB_CLEANUP(cfb_closep) int memory_fd = -1;
        CFB_CLEANUP(cfb_closep) int theirs = -1;
        char path[CFB_SHARED_PATH_MAX];
        int bells[2], fd, r;

        if (!address->rest[0])
                return cfb_address_refuse(address, 0, "to open one it needs a name: shm://name");
        start(endpoint, 1);
        bound_max(endpoint);
        r = path_of(path, address, false, "open");
        if (r >= 0)
                r = cfb_socket_new(&fd, endpoint, AF_UNIX, SOCK_SEQPACKET, SOCK_NONBLOCK);
        if (r < 0)
                return r;
        endpoint->fds[CFB_RECEIVING] = fd;
        r = cfb_unix_connect_until(endpoint, fd, path, deadline_ns);
        if (r < 0)
                return r;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, bells) < 0)
                return cfb_socket_failed(-errno, "socketpair", endpoint);
        endpoint->fds[CFB_SENDING] = bells[0];
        theirs = bells[1];
        r = make_memory(endpoint, &memory_fd);
        if (r >= 0)
                r = who_is(endpoint);
        if (r >= 0)
                r = cfb_channel_attach(endpoint, memory_fd, 1, true);
        if (r < 0)
                return r;
        r = cfb_channel_tell(endpoint, &hello, (int[]){memory_fd, theirs}, 2);
        return r < 0 ? cfb_socket_failed(r == -EAGAIN ? -ECONNREFUSED : r, "open", endpoint) : 0;
}

static int pair_shm(struct confab_endpoint *ends[2]) {
        CFB_CLEANUP(cfb_closep) int memory_fd = -1;
        int bells[2], fds[2], r;

        if (ends[0]->address.rest[0])
                return cfb_address_refuse(&ends[0]->address, 0, "a pair has no name: say shm://");
        r = make_memory(ends[0], &memory_fd);
        if (r < 0)
                return r;
        for (int i = 0; i < 2; i++)
                start(ends[i], i);
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
                return cfb_socket_failed(-errno, "socketpair", ends[0]);
        for (int i = 0; i < 2; i++)
                ends[i]->fds[CFB_RECEIVING] = fds[i];
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, bells) < 0)
                return cfb_socket_failed(-errno, "socketpair", ends[0]);
        for (int i = 0; i < 2; i++)
                ends[i]->fds[CFB_SENDING] = bells[i];
        for (int i = 0; i < 2; i++) {
                struct cfb_channel *channel = cfb_state(ends[i]);

                bound_max(ends[i]);
                channel->paired = true;
                r = who_is(ends[i]);
                if (r >= 0)
                        r = cfb_channel_attach(ends[i], memory_fd, i, i == 0);
                if (r < 0)
                        return r;
                channel->memory_fd = fcntl(memory_fd, F_DUPFD_CLOEXEC, 0);
                if (channel->memory_fd < 0)
                        return cfb_socket_failed(-errno, "fcntl", ends[i]);
        }
        return 0;
}

static int adopt_shm(struct confab_endpoint *endpoint) {
        struct cfb_channel *channel = cfb_state(endpoint);

        if (endpoint->listening)
                return 0;
        if (channel->generation == cfb_generation)
                return 0;
        if (!channel->paired)
                return refused(endpoint, -EOWNERDEAD, "adopt",
                               "only the ends of a pair are handed to a child; open one here");
        if (channel->sender.position || channel->receiver.position || channel->claimed)
                return refused(endpoint, -EBUSY, "adopt", "the end was used before the fork");
        delist(channel);
        cfb_ring_sender_fini(&channel->sender);
        cfb_ring_receiver_fini(&channel->receiver);
        channel->generation = cfb_generation;
        return cfb_channel_attach(endpoint, channel->memory_fd, channel->end, false);
}

static void close_shm(struct confab_endpoint *endpoint) {
        struct shm_state *state = cfb_state(endpoint);

        state->held = cfb_unix_let_go(state->held, endpoint->address.lifetime == CFB_LIFETIME_PERSISTENT);
        if (!endpoint->listening && state->channel.endpoint)
                cfb_channel_detach(endpoint);
}

static int peer_of(const struct confab_endpoint *endpoint, struct confab_peer *peer) {
        const struct cfb_channel *channel = cfb_state(endpoint);

        if (endpoint->listening)
                return refused(endpoint, -ENOTCONN, "peer", "this end has no single peer");
        peer->flags |= CONFAB_PEER_CREDENTIALS;
        peer->pid = (uint32_t)channel->who.pid;
        peer->uid = channel->who.uid;
        peer->gid = channel->who.gid;
        return 0;
}

static int remove_shm(const struct cfb_address *address) {
        char path[CFB_SHARED_PATH_MAX];
        int r = path_of(path, address, false, "remove");

        return r < 0 ? r : cfb_unix_remove_path(address, path);
}

const struct cfb_transport cfb_tr_shm = {
        .scheme = "shm",
        .summary = "shared memory between two processes, without a system call while both run",
        .example = "shm://name",
        .keys = CFB_KEY(MODE) | CFB_KEY(OWNER) | CFB_KEY(GROUP) | CFB_KEY(MAX) | CFB_KEY(DIRECTION) |
                CFB_KEY(LIFETIME) | CFB_KEY(BACKLOG) | CFB_KEY(TRUST) | CFB_KEY(WAIT),
        .state_len = sizeof(struct shm_state),
        .properties = properties,
        .check = check,
        .open = open_shm,
        .listen = listen_shm,
        .accept = accept_shm,
        .pair = pair_shm,
        .send = cfb_channel_send,
        .send_many = cfb_channel_send_many,
        .receive = cfb_channel_receive,
        .release = cfb_channel_release,
        .claim = cfb_channel_claim,
        .commit = cfb_channel_commit,
        .abort = cfb_channel_abort,
        .adopt = adopt_shm,
        .wait = cfb_channel_wait,
        .ready = cfb_channel_ready,
        .interrupt = cfb_channel_interrupt,
        .descriptor = cfb_channel_descriptor,
        .shutdown = cfb_channel_shutdown,
        .peer = peer_of,
        .remove = remove_shm,
        .close = close_shm,
};
