/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * Alarms: a POSIX timer each, which sends its signal with its value to the process (SI_TIMER).
 *
 * Timers do not live through fork, and their numbers begin anew in the child: deleting one there by its old number could hit a timer of the
 * child's own, so whose it is is looked at first.
 */
#include "base/cancel.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/owner.h"
#include "base/signals.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

struct confab_alarm {
        timer_t timer;
        struct cfb_owner owner;
};

static struct timespec timespec_of(int64_t ns) {
        return (struct timespec){.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)};
}

static int refuse(const char *call, int64_t interval_ns) {
        return interval_ns < 0
                       ? cfb_failed_with(-EINVAL, call, NULL, NULL, "an interval is not negative", 0, 0)
                       : 0;
}

int confab_alarm_set(confab_alarm *alarm, int64_t deadline_ns, int64_t interval_ns) {
        struct itimerspec spec = {.it_interval = timespec_of(interval_ns)};
        int r = refuse("alarm_set", interval_ns);

        if (r < 0)
                return r;
        if (!cfb_owner_is_here(&alarm->owner))
                return cfb_failed_with(-EOWNERDEAD, "alarm_set", NULL, NULL,
                                       "alarms do not live through fork: make one in the child", 0, 0);
        if (deadline_ns != CONFAB_FOREVER)
                spec.it_value = timespec_of(deadline_ns > 0 ? deadline_ns : 1); /* 0 would stop it */
        if (timer_settime(alarm->timer, TIMER_ABSTIME, &spec, NULL) < 0)
                return cfb_failed(-errno, "timer_settime", NULL);
        return 0;
}

int confab_alarm_new(confab_alarm **alarmp, int number, int32_t value, int64_t deadline_ns,
                     int64_t interval_ns) {
        CFB_UNCANCELLED;
        struct sigevent event = {
                .sigev_notify = SIGEV_SIGNAL, .sigev_signo = number, .sigev_value.sival_int = value};
        confab_alarm *alarm;
        int r = alarmp ? cfb_signal_check("alarm_new", number, 0) : cfb_failed(-EINVAL, "alarm_new", "NULL");

        if (r < 0 || (r = refuse("alarm_new", interval_ns)) < 0)
                return r;
        alarm = cfb_allocate(sizeof(*alarm));
        if (!alarm)
                return cfb_failed(-ENOMEM, "alarm_new", NULL);
        alarm->owner = cfb_owner_here();
        if (timer_create(CLOCK_MONOTONIC, &event, &alarm->timer) < 0) {
                r = errno == EAGAIN
                            ? cfb_failed_with(-EAGAIN, "timer_create", NULL, NULL,
                                              "RLIMIT_SIGPENDING: each alarm takes one; ulimit -i", 0, 0)
                            : cfb_failed(-errno, "timer_create", NULL);
                cfb_release(alarm);
                return r;
        }
        r = confab_alarm_set(alarm, deadline_ns, interval_ns);
        if (r < 0) {
                confab_alarm_free(alarm);
                return r;
        }
        *alarmp = alarm;
        return 0;
}

confab_alarm *confab_alarm_free(confab_alarm *alarm) {
        if (alarm && cfb_owner_is_here(&alarm->owner))
                timer_delete(alarm->timer);
        cfb_release(alarm);
        return NULL;
}
