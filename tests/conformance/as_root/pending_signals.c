/* RLIMIT_SIGPENDING: how many signals can wait for the processes of a user. As a user of its own, who has no others. */
#include "calls.h"
#include <sys/resource.h>

static void send(int signo, int value) {
    union sigval with = {.sival_int = value};
    errno = 0;
    long result = sigqueue(getpid(), signo, with);
    printf("sigqueue of %d with %d: %s\n", signo, value, result ? strerrorname_np(errno) : "sent");
}

static void take_all(const sigset_t *set) {
    siginfo_t info;
    struct timespec none = {0, 0};
    for (;;) {
        memset(&info, 0, sizeof info);
        int signo = sigtimedwait(set, &info, &none);
        if (signo < 0)
            break;
        printf("  %d, code %d, %s, value %d\n", signo, info.si_code,
               info.si_pid == getpid() ? "from here" : "from nobody",
               info.si_code == SI_QUEUE ? info.si_value.sival_int : 0);
    }
}

int main(void) {
    begin();
    if (setuid(54321))
        return 1;
    struct rlimit limit = {3, 3};
    sigset_t all;
    sigfillset(&all);
    sigdelset(&all, SIGALRM);
    sigprocmask(SIG_BLOCK, &all, NULL);
    FACT(setrlimit(RLIMIT_SIGPENDING, &limit));
    for (int i = 1; i <= 5; i++)
        send(SIGRTMIN, i);
    send(SIGUSR1, 6); /* is only marked */
    FACT(kill(getpid(), SIGRTMIN + 1));
    FACT(kill(getpid(), SIGUSR2)); /* has no limit */
    take_all(&all);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    timer_t timers[4];
    for (int i = 0; i < 4; i++) {
        errno = 0;
        printf("timer %d: %s\n", i,
               timer_create(CLOCK_MONOTONIC, &event, &timers[i]) ? strerrorname_np(errno) : "made");
    }
    send(SIGRTMIN, 7);
    FACT(timer_delete(timers[0]));
    send(SIGRTMIN, 8);
    pid_t child = fork(); /* the same user, and another process */
    if (!child) {
        send(SIGRTMIN, 9);
        send(SIGRTMIN, 10);
        exit(0);
    }
    wait_and_show("child", child);
    take_all(&all);
    return 0;
}
