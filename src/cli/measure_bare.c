/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * What a good C programmer would write by hand, without confab: blocking descriptors, one bare system call a message, no
 * poll, no deadlines, no descriptions of errors. It is what `ratio_to_raw` compares with, so it must be as fast as it can be:
 * connected datagram sockets, TCP_NODELAY, buffers that are used again, the message's type written in place before its bytes.
 *
 * Everything is made in near before far exists, and inherited; only exec://, whose child inherits nothing, opens two FIFOs.
 */
#include "measure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct kind {
        const char *scheme;
        const char *type; /* what the address must hold; NULL: anything */
        const char *calls;
        int (*make)(struct measure_job *job);
        ssize_t (*send)(int out, const void *data, size_t data_len);
        ssize_t (*receive)(int in, void *data, size_t cap);
};

struct measure_bare {
        const struct kind *kind;
        int out, in;
        bool lossy, queue;
};

/* Two one-way pairs become near's and far's ends. */
static void place(struct measure_job *job, const int there[2], const int back[2]) {
        job->bare_fds[0] = there[1];
        job->bare_fds[1] = back[0];
        job->bare_fds[2] = back[1];
        job->bare_fds[3] = there[0];
}

static int make_pipes(struct measure_job *job) {
        int there[2], back[2];

        if (pipe(there) < 0)
                return -errno;
        if (pipe(back) < 0)
                return -errno;
        place(job, there, back);
        return 0;
}

static int make_fifos(struct measure_job *job) {
        char path[MEASURE_TEXT];
        int ends[2][2];

        for (int i = 0; i < 2; i++) {
                snprintf(path, sizeof(path), "%s/bare%d", job->folder, i);
                if (mkfifo(path, 0600) < 0)
                        return -errno;
                /* For reading first and without waiting: then opening for writing finds a reader at once. */
                ends[i][0] = open(path, O_RDONLY | O_NONBLOCK);
                ends[i][1] = open(path, O_WRONLY);
                if (ends[i][0] < 0 || ends[i][1] < 0)
                        return -errno;
                if (fcntl(ends[i][0], F_SETFL, 0) < 0)
                        return -errno;
        }
        place(job, ends[0], ends[1]);
        return 0;
}

static int make_unix(struct measure_job *job, int type) {
        int pair[2];

        if (socketpair(AF_UNIX, type, 0, pair) < 0)
                return -errno;
        job->bare_fds[0] = job->bare_fds[1] = pair[0];
        job->bare_fds[2] = job->bare_fds[3] = pair[1];
        return 0;
}

static int make_unix_stream(struct measure_job *job) {
        return make_unix(job, SOCK_STREAM);
}

static int make_unix_seqpacket(struct measure_job *job) {
        return make_unix(job, SOCK_SEQPACKET);
}

static int make_unix_datagram(struct measure_job *job) {
        return make_unix(job, SOCK_DGRAM);
}

static int make_tcp(struct measure_job *job) {
        struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t name_len = sizeof(name);
        int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
        int near = socket(AF_INET, SOCK_STREAM, 0), far;

        if (listener < 0 || near < 0 || bind(listener, (struct sockaddr *)&name, name_len) < 0 ||
            getsockname(listener, (struct sockaddr *)&name, &name_len) < 0 || listen(listener, 1) < 0 ||
            connect(near, (struct sockaddr *)&name, name_len) < 0)
                return -errno;
        far = accept(listener, NULL, NULL);
        if (far < 0)
                return -errno;
        setsockopt(near, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        setsockopt(far, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        close(listener);
        job->bare_fds[0] = job->bare_fds[1] = near;
        job->bare_fds[2] = job->bare_fds[3] = far;
        return 0;
}

static int make_udp(struct measure_job *job) {
        enum { PATIENCE_US = 50 * 1000 };
        struct timeval patience = {.tv_usec = PATIENCE_US};
        struct sockaddr_in names[2];
        int fds[2];

        for (int i = 0; i < 2; i++) {
                socklen_t name_len = sizeof(names[i]);

                names[i] = (struct sockaddr_in){.sin_family = AF_INET,
                                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
                fds[i] = socket(AF_INET, SOCK_DGRAM, 0);
                if (fds[i] < 0 || bind(fds[i], (struct sockaddr *)&names[i], name_len) < 0 ||
                    getsockname(fds[i], (struct sockaddr *)&names[i], &name_len) < 0)
                        return -errno;
                setsockopt(fds[i], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        }
        for (int i = 0; i < 2; i++)
                if (connect(fds[i], (struct sockaddr *)&names[!i], sizeof(names[!i])) < 0)
                        return -errno;
        job->bare_fds[0] = job->bare_fds[1] = fds[0];
        job->bare_fds[2] = job->bare_fds[3] = fds[1];
        return 0;
}

static int make_mq(struct measure_job *job) {
        struct mq_attr attr = {.mq_maxmsg = 10, .mq_msgsize = 8192};
        int ends[2][2];

        for (int i = 0; i < 2; i++) {
                char name[64];

                snprintf(name, sizeof(name), "/confab-bare-%d-%d", getpid(), i);
                ends[i][0] = mq_open(name, O_RDONLY | O_CREAT | O_EXCL, 0600, &attr);
                if (ends[i][0] < 0)
                        return -errno;
                ends[i][1] = mq_open(name, O_WRONLY);
                mq_unlink(name); /* both ends are open: the name is not needed */
                if (ends[i][1] < 0)
                        return -errno;
        }
        place(job, ends[0], ends[1]);
        return 0;
}

static int make_sysv(struct measure_job *job) {
        int ids[2];

        for (int i = 0; i < 2; i++) {
                ids[i] = msgget(IPC_PRIVATE, 0600 | IPC_CREAT);
                if (ids[i] < 0) {
                        int error = errno;

                        if (i)
                                msgctl(ids[0], IPC_RMID, NULL);
                        return -error;
                }
        }
        place(job, (int[]){ids[0], ids[0]}, (int[]){ids[1], ids[1]});
        return 0;
}

static ssize_t by_write(int out, const void *data, size_t data_len) {
        return write(out, data, data_len);
}

static ssize_t by_read(int in, void *data, size_t cap) {
        return read(in, data, cap);
}

static ssize_t by_send(int out, const void *data, size_t data_len) {
        return send(out, data, data_len, MSG_NOSIGNAL);
}

static ssize_t by_receive(int in, void *data, size_t cap) {
        return recv(in, data, cap, 0);
}

static ssize_t by_mq_send(int out, const void *data, size_t data_len) {
        return mq_send(out, data, data_len, 0) < 0 ? -1 : (ssize_t)data_len;
}

static ssize_t by_mq_receive(int in, void *data, size_t cap) {
        return mq_receive(in, data, cap, NULL);
}

/* struct msgbuf's type lies before the bytes: the room has 16 of them in front. */
static ssize_t by_msgsnd(int out, const void *data, size_t data_len) {
        long *type = (long *)((uintptr_t)data - sizeof(long));

        *type = 1;
        return msgsnd(out, type, data_len, 0) < 0 ? -1 : (ssize_t)data_len;
}

static ssize_t by_msgrcv(int in, void *data, size_t cap) {
        return msgrcv(in, (char *)data - sizeof(long), cap, 0, 0);
}

static const struct kind kinds[] = {
        {"pipe", NULL, "write/read", make_pipes, by_write, by_read},
        {"stdio", NULL, "write/read", make_pipes, by_write, by_read},
        {"fifo", NULL, "write/read", make_fifos, by_write, by_read},
        {"exec", NULL, "write/read", make_fifos, by_write, by_read},
        {"fd", NULL, "write/read", make_unix_stream, by_write, by_read},
        {"unix", "seqpacket", "send/recv", make_unix_seqpacket, by_send, by_receive},
        {"unix", "datagram", "send/recv", make_unix_datagram, by_send, by_receive},
        {"unix", NULL, "send/recv", make_unix_stream, by_send, by_receive},
        {"tcp", NULL, "send/recv", make_tcp, by_send, by_receive},
        {"udp", NULL, "send/recv", make_udp, by_send, by_receive},
        {"mq", NULL, "mq_send/mq_receive", make_mq, by_mq_send, by_mq_receive},
        {"sysv", NULL, "msgsnd/msgrcv", make_sysv, by_msgsnd, by_msgrcv},
};

static const struct kind *find(const struct measure_job *job) {
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
                if (strcmp(kinds[i].scheme, job->scheme) == 0 &&
                    (!kinds[i].type || strstr(job->address[0], kinds[i].type)))
                        return &kinds[i];
        return NULL;
}

const char *measure_bare_calls(const struct measure_job *job) {
        const struct kind *kind = find(job);

        return kind ? kind->calls : "";
}

static bool is_queue_id(const struct measure_job *job) {
        return strcmp(job->scheme, "sysv") == 0;
}

int measure_bare_make(struct measure_job *job) {
        const struct kind *kind = find(job);
        int r;

        for (int i = 0; i < 4; i++)
                job->bare_fds[i] = -1;
        if (!kind)
                return MEASURE_NOT_HERE;
        r = kind->make(job);
        if (r < 0)
                return measure_fail(job, r, "the bare %s of %s cannot be made: %s", kind->calls, job->label,
                                    strerror(-r));
        /* mq_open sets FD_CLOEXEC by itself; the others are born without it. */
        for (int i = 0; i < 4 && !is_queue_id(job); i++)
                fcntl(job->bare_fds[i], F_SETFD, 0);
        return 0;
}

void measure_bare_clean(struct measure_job *job, bool near) {
        const int *theirs = &job->bare_fds[near ? 2 : 0];

        if (is_queue_id(job))
                return;
        close(theirs[0]);
        if (theirs[1] != theirs[0])
                close(theirs[1]);
}

void measure_bare_remove(struct measure_job *job) {
        if (!job->bare || !is_queue_id(job))
                return;
        for (int i = 0; i < 2; i++)
                if (job->bare_fds[i] >= 0)
                        msgctl(job->bare_fds[i], IPC_RMID, NULL);
}

int measure_bare_open(struct measure_bare **barep, struct measure_job *job, bool near) {
        struct measure_bare *bare = calloc(1, sizeof(*bare));

        if (!bare)
                return -ENOMEM;
        bare->kind = find(job);
        bare->lossy = job->lossy;
        bare->queue = is_queue_id(job);
        bare->out = job->bare_fds[near ? 0 : 2];
        bare->in = job->bare_fds[near ? 1 : 3];
        if (!near && job->way == MEASURE_EXEC) {
                char path[MEASURE_TEXT];

                snprintf(path, sizeof(path), "%s/bare0", job->folder);
                bare->in = open(path, O_RDONLY | O_CLOEXEC);
                snprintf(path, sizeof(path), "%s/bare1", job->folder);
                bare->out = open(path, O_WRONLY | O_CLOEXEC);
                if (bare->in < 0 || bare->out < 0) {
                        int error = errno;

                        measure_bare_close(bare);
                        return measure_fail(job, -error, "%s: %s", path, strerror(error));
                }
        }
        *barep = bare;
        return 0;
}

struct measure_bare *measure_bare_close(struct measure_bare *bare) {
        if (!bare)
                return NULL;
        if (!bare->queue) {
                close(bare->out);
                if (bare->in != bare->out)
                        close(bare->in);
        }
        free(bare);
        return NULL;
}

int64_t measure_bare_send(struct measure_bare *bare, const void *data, size_t data_len) {
        ssize_t n = bare->kind->send(bare->out, data, data_len);

        return n < 0 ? -errno : n;
}

int64_t measure_bare_receive(struct measure_bare *bare, void *data, size_t cap) {
        ssize_t n = bare->kind->receive(bare->in, data, cap);

        return n < 0 ? -errno : n;
}
