/* SPDX-License-Identifier: MIT */ /* added */
/* Copyright (c) The confab authors */ /* added */
/* clang-format off */ /* added */
/* The slides' own handler of Ctrl-C (document S2), letter by letter; ours is sigint.c. Lines marked "added" mend what they leave out. */ /* added */
#include <signal.h> /* added */
#include <stdio.h> /* added */
#include <unistd.h> /* added */
#define print (void)!write(STDOUT_FILENO, "caught signal\n", 14); (void) /* added */ /* it is no C; and printf does not belong into a handler */
#define exit() _exit(0) /* added */ /* exit needs a status, and does not belong into a handler */
void sigint_handler(int sig); /* added */
#pragma GCC diagnostic ignored "-Wunused-parameter" /* added */

void sigint_handler(int sig) {
    print "caught signal"
    ; /* added */
    exit()
    ; /* added */
}
int main() {
    signal(SIGINT, sigint_handler)
    ; /* added */
    puts("type Ctrl-C"); fflush(stdout); /* added */
    for (;;) pause(); /* added */
#if 0 /* added */
    ...
#endif /* added */
}
