/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include "mechanisms.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

static const char *const all[] = {
        "pipe://",
        "fifo://",
        "shm://",
        "unix://",
        "unix://?type=seqpacket",
        "unix://?type=datagram",
        "tcp://",
        "udp://",
        "mq://",
        "sysv://",
        "exec://",
        "fd://",
        "stdio://",
};

static bool built(const char *address) {
        const char *scheme;

        for (unsigned i = 0; confab_mechanism(i, &scheme, NULL, NULL) == 0; i++)
                if (strncmp(address, scheme, strlen(scheme)) == 0 && address[strlen(scheme)] == ':')
                        return true;
        return false;
}

const char *mechanisms_address(unsigned index) {
        for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
                if (built(all[i]) && index-- == 0)
                        return all[i];
        return NULL;
}

const char *mechanisms_name(const char *address, char *name, size_t name_cap) {
        const char *end = strstr(address, "://"), *type = strstr(address, "type=");

        snprintf(name, name_cap, "%.*s%s%s", end ? (int)(end - address) : (int)strlen(address), address,
                 type                                ? " "
                 : strncmp(address, "unix:", 5) == 0 ? " stream"
                                                     : "",
                 type ? type + 5 : "");
        return name;
}

void mechanisms_pin(struct measure_job *job) {
        cpu_set_t set;
        int n = 0;

        if (sched_getaffinity(0, sizeof(set), &set) < 0)
                return;
        for (int cpu = 0; cpu < CPU_SETSIZE && n < 2; cpu++)
                if (CPU_ISSET((unsigned)cpu, &set))
                        job->cpus[n++] = cpu;
        if (n < 2)
                job->cpus[0] = job->cpus[1] = -1;
}
