/* SPDX-License-Identifier: MIT */ /* added */
/* Copyright (c) The confab authors */ /* added */
/* clang-format off */ /* added */
/* The slides' own examples of signals (document S3), letter by letter; ours is signals.c. Lines marked "added" mend what they leave out. */ /* added */
/* S3_SECONDS in the environment shortens the alarm, so that tests need not wait 30 s. */ /* added */
#include <signal.h>       /* signal(), kill() */
#include <unistd.h>                /* getpid() */

#include <sys/types.h>             /* pid_t */
#include <stdio.h> /* added */
#include <stdlib.h> /* added */

static void handler(int signum) { (void)signum; (void)!write(STDOUT_FILENO, "alarm\n", 6); } /* added */
static unsigned set_alarm(unsigned s) { return alarm(getenv("S3_SECONDS") ? (unsigned)atoi(getenv("S3_SECONDS")) : s); } /* added */

int main(void) { /* added */
pid_t pid = getpid();              /* own PID */

printf("%d stops\n", (int)pid); fflush(stdout); /* added */
kill(pid, SIGSTOP);       /* send the STOP signal */
puts("continued"); fflush(stdout); /* added */

#if 0 /* added */
You can do the same in the command line: kill -STOP <PID>
#endif /* added */

signal(SIGCLD, SIG_IGN);  /* ignore child stops events */

signal(SIGINT, SIG_IGN);  /* ignore the CTRL+C */
raise(SIGINT); puts("SIGINT ignored"); fflush(stdout); /* added */

signal(SIGINT, SIG_DFL);  /* set the default handler */

#define alarm handler /* added */ /* the slides call two things alarm */
signal(SIGALRM, alarm);   /* set a special handler function */

#if 0 /* added */ /* above: C wants it before it is used */
void alarm(int signum) { ... }  /* the handler... */
#endif /* added */
#undef alarm /* added */
#define alarm set_alarm /* added */

alarm(30);                /* set and ALARM signal for 30 secs */
pause(); /* added */
} /* added */
