/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
#include "conversation.h"
#include "core/endpoint.h"
#include "harness.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Before the harness ends the test: a check that names its line says more than "timed out". */
int64_t soon(void) {
        return confab_after(harness_time_limit_ns() / 5 * 4);
}

int64_t after_ms(int64_t ms) {
        return confab_after(ms * 1000000);
}

int64_t elapsed_ms(int64_t since_ns) {
        return (confab_now() - since_ns) / 1000000;
}

const char *explained(void) {
        static _Thread_local char text[2048];

        confab_explain(text, sizeof(text));
        return text;
}

void check_says(const char *words) {
        if (!strstr(explained(), words))
                check_str(explained(), words); /* shows both */
}

confab_endpoint *listen_on(const char *address) {
        confab_endpoint *endpoint = NULL;

        check_ok(confab_listen(&endpoint, address, NULL, soon()));
        return endpoint;
}

confab_endpoint *open_to(const char *address) {
        confab_endpoint *endpoint = NULL;

        check_ok(confab_open(&endpoint, address, NULL, soon()));
        return endpoint;
}

confab_endpoint *accept_of(confab_endpoint *listener) {
        confab_endpoint *endpoint = NULL;

        check_ok(confab_accept(&endpoint, listener, soon()));
        return endpoint;
}

void close_pair(confab_endpoint *ends[2]) {
        for (int i = 0; i < 2; i++)
                ends[i] = confab_close(ends[i]);
}

unsigned port_of(const confab_endpoint *endpoint) {
        const char *colon = strrchr(confab_address(endpoint), ':');

        check(colon);
        return (unsigned)strtoul(colon + 1, NULL, 10);
}

void until_used(confab_endpoint *endpoint, uint32_t direction) {
        int side = direction == CONFAB_SEND ? CFB_SENDING : CFB_RECEIVING;

        while (!atomic_load(&endpoint->busy[side]) && !atomic_load(&endpoint->waiter[side]))
                nap_ms(1);
}

int64_t try_send(confab_endpoint *endpoint, const char *text, int64_t deadline_ns) {
        struct confab_message message = confab_message_of(text, strlen(text));

        return confab_send(endpoint, &message, deadline_ns);
}

void send_text(confab_endpoint *endpoint, const char *text) {
        check_eq(check_ok(try_send(endpoint, text, soon())), strlen(text));
}

int try_receive(confab_endpoint *endpoint, char *text, size_t text_cap, int64_t deadline_ns) {
        struct confab_message message = confab_message_of(NULL, 0);
        int r = confab_receive(endpoint, &message, NULL, deadline_ns);

        if (r == 1) {
                check(message.data_len < text_cap);
                if (message.data_len)
                        memcpy(text, message.data, message.data_len);
                text[message.data_len] = '\0';
                confab_release(endpoint, &message);
        }
        return r;
}

void receive_text(confab_endpoint *endpoint, const char *text) {
        struct confab_message message = confab_message_of(NULL, 0);

        check_eq(check_ok(confab_receive(endpoint, &message, NULL, soon())), 1);
        check_eq(message.data_len, strlen(text));
        check_mem(message.data, text, strlen(text));
        confab_release(endpoint, &message);
}

bool folder_is_empty(void) {
        DIR *dir = opendir(".");
        unsigned n = 0;

        check(dir);
        while (readdir(dir))
                n++;
        closedir(dir);
        return n == 2; /* "." and ".." */
}

int reap(pid_t pid) {
        int status;

        check_eq(restarted(waitpid(pid, &status, 0)), pid);
        return status;
}

void ended_well(pid_t pid) {
        check_eq(reap(pid), 0);
}

void as_user(uid_t uid, void (*body)(void)) {
        pid_t pid = fork();

        if (pid == 0) {
                if (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
                        _exit(2);
                body();
                _exit(0);
        }
        ended_well(pid);
}

void write_sysctl(const char *path, const char *value) {
        int fd = open(path, O_WRONLY | O_CLOEXEC);

        if (fd < 0 || write(fd, value, strlen(value)) < 0)
                skip("needs root to set the limits of a private IPC namespace");
        close(fd);
}
