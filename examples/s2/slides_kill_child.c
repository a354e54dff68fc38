/* SPDX-License-Identifier: MIT */ /* added */
/* Copyright (c) The confab authors */ /* added */
/* clang-format off */ /* added */
/* The slides' own parent that kills its child (document S2), letter by letter; ours is kill_child.c. Lines marked "added" mend what they leave out. */ /* added */
#include <signal.h> /* added */
#include <stdio.h> /* added */
#include <string.h> /* added */
#include <sys/wait.h> /* added */
#include <unistd.h> /* added */

int main(void) { /* added */
int status; /* added */
int pid = fork()
; /* added */
if(pid == 0) {
 while(1); //infinite loop
 //terminates on SIGKILL
}
//parent
kill(pid, SIGKILL)
; /* added */
waitpid(pid, &status, 0); /* added */
printf("the child ended by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status))); /* added */
} /* added */
