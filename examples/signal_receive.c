/* SPDX-License-Identifier: MIT */
/* Copyright (c) The confab authors */
/*
 * A service that hears signals and messages in one wait: signal_receive ADDRESS (udp://..., unix:///path?type=datagram)
 * SIGUSR1 asks how much came, SIGRTMIN+1 brings a number, SIGALRM says each second that it lives, SIGTERM ends it. No handler, no race.
 */
#include <confab/confab.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static void need(int64_t result) {
        char why[512];

        if (result >= 0)
                return;
        confab_explain(why, sizeof(why));
        fprintf(stderr, "%s\n", why);
        exit(1);
}

int main(int argc, char *argv[]) {
        struct confab_interest interests[2] = {{.direction = CONFAB_RECEIVE}, {.direction = CONFAB_RECEIVE}};
        const char *address = argc > 1 ? argv[1] : "udp://127.0.0.1:0";
        confab_alarm *alarm;
        int n_came = 0, running = 1;

        need(confab_listen(&interests[0].endpoint, "signal://self?signal=USR1,RTMIN+1,ALRM,TERM", NULL,
                           CONFAB_NOW));
        need(confab_listen(&interests[1].endpoint, address, NULL, CONFAB_FOREVER));
        need(confab_alarm_new(&alarm, SIGALRM, 0, confab_after(1000000000), 1000000000));
        printf("%s\n", confab_address(interests[0].endpoint));
        while (running) {
                struct confab_message message = confab_message_of(NULL, 0);

                fflush(stdout);
                need(confab_wait(interests, 2, CONFAB_FOREVER));
                if (interests[1].ready) {
                        need(confab_receive(interests[1].endpoint, &message, NULL, CONFAB_NOW));
                        printf("message: %.*s\n", (int)message.data_len, (const char *)message.data);
                        confab_release(interests[1].endpoint, &message);
                        n_came++;
                        continue;
                }
                need(confab_receive(interests[0].endpoint, &message, NULL, CONFAB_NOW));
                if (message.type == SIGUSR1)
                        printf("%d came; process %u asks\n", n_came, message.peer->pid);
                else if (message.type == SIGALRM)
                        printf("still here\n");
                else if (message.type == SIGTERM)
                        running = 0;
                else /* SIGRTMIN+1: each one arrives, in order */
                        printf("number: %.*s\n", (int)message.data_len, (const char *)message.data);
                confab_release(interests[0].endpoint, &message);
        }
        confab_alarm_free(alarm);
        confab_close(interests[1].endpoint);
        confab_close(interests[0].endpoint);
        return 0;
}
