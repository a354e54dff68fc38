/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/* The transports of this build, in the order lists show them. A new one is one file and two lines here. */
#include "core/transport.h"

#include <stddef.h>

extern const struct cfb_transport cfb_tr_exec;
extern const struct cfb_transport cfb_tr_fd;
extern const struct cfb_transport cfb_tr_fifo;
extern const struct cfb_transport cfb_tr_mq;
extern const struct cfb_transport cfb_tr_pipe;
extern const struct cfb_transport cfb_tr_sysv;
extern const struct cfb_transport cfb_tr_stdio;
extern const struct cfb_transport cfb_tr_unix;
extern const struct cfb_transport cfb_tr_tcp;
extern const struct cfb_transport cfb_tr_udp;
extern const struct cfb_transport cfb_tr_signal;
extern const struct cfb_transport cfb_tr_shm;

const struct cfb_transport *const cfb_transports[] = {
        &cfb_tr_pipe, &cfb_tr_fifo, &cfb_tr_exec, &cfb_tr_fd,   &cfb_tr_stdio,  &cfb_tr_shm, &cfb_tr_unix,
        &cfb_tr_tcp,  &cfb_tr_udp,  &cfb_tr_mq,   &cfb_tr_sysv, &cfb_tr_signal, NULL,
};
