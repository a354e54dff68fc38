/* SPDX-License-Identifier: MIT */ /* added */
/* Copyright (c) The confab authors */ /* added */
/* clang-format off */ /* added */
/* The slides' own pipe from a child to its parent (document S0), letter by letter; ours is pipe_child_parent.c. Lines marked "added" mend what they leave out. */ /* added */
#include <stdio.h> /* added */
#include <sys/wait.h> /* added */
#include <unistd.h> /* added */

int main(void) { /* added */
int pid; /* added */
int fd[2];
char m[] = "message for parent";
char y[100];
pipe(fd); // create pipe
pid = fork(); // create child process
if (pid == 0) {
    // child executes this
    close(fd[0]); // close read end of pipe
    write(fd[1],m,19);
#if 0 /* added */
    ...
#endif /* added */
} else {
    // parent executes this
    close(fd[1]); // close write end of pipe
    read(fd[0],y,100);
#if 0 /* added */
    ...
#endif /* added */
    printf("parent received: %s\n", y); /* added */
    wait(NULL); /* added */
}
} /* added */
