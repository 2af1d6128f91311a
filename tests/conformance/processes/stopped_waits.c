/* Waits with a time-out that the process is stopped in: what they return, and whether the time of the stop counts. */
#include "calls.h"
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>

#define MS INT64_C(1000000)
#define TIMEOUT 1000 /* ms */

static int pipes[2];

static long with_poll(void) { return poll(&(struct pollfd){.fd = pipes[0], .events = POLLIN}, 1, TIMEOUT); }
static long with_ppoll(void) {
    struct timespec time = {TIMEOUT / 1000, 0};
    return ppoll(&(struct pollfd){.fd = pipes[0], .events = POLLIN}, 1, &time, NULL);
}
static long with_select(void) {
    struct timeval time = {TIMEOUT / 1000, 0};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(pipes[0], &set);
    return select(pipes[0] + 1, &set, NULL, NULL, &time);
}
static long with_pselect(void) {
    struct timespec time = {TIMEOUT / 1000, 0};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(pipes[0], &set);
    return pselect(pipes[0] + 1, &set, NULL, NULL, &time, NULL);
}
static long with_epoll(void) {
    struct epoll_event event = {.events = EPOLLIN};
    int fd = epoll_create1(0);
    epoll_ctl(fd, EPOLL_CTL_ADD, pipes[0], &event);
    long result = epoll_wait(fd, &event, 1, TIMEOUT);
    int error = errno;
    close(fd);
    errno = error;
    return result;
}
static long with_nanosleep(void) { return nanosleep(&(struct timespec){TIMEOUT / 1000, 0}, NULL); }
static long with_recv(void) {
    int pair[2];
    char byte;
    struct timeval time = {TIMEOUT / 1000, 0};
    socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
    setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
    long result = recv(pair[0], &byte, 1, 0);
    int error = errno;
    close(pair[0]);
    close(pair[1]);
    errno = error;
    return result;
}
static long with_sigtimedwait(void) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    return sigtimedwait(&set, NULL, &(struct timespec){TIMEOUT / 1000, 0});
}

static const struct {
    const char *name;
    long (*wait)(void);
} waits[] = {{"poll", with_poll},
             {"ppoll", with_ppoll},
             {"select", with_select},
             {"pselect", with_pselect},
             {"epoll_wait", with_epoll},
             {"nanosleep", with_nanosleep},
             {"recv with SO_RCVTIMEO", with_recv},
             {"sigtimedwait", with_sigtimedwait}};
#define WAITS (sizeof waits / sizeof *waits)

struct outcome {
    long result, passed_ms;
    int error;
};

/* All at once: each is stopped after 100 ms, half of them until 400 ms, the others until 1900 ms. */
int main(void) {
    begin();
    struct outcome *outcomes =
        mmap(NULL, sizeof *outcomes * 2 * WAITS, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t children[2 * WAITS];
    if (pipe(pipes))
        return 1;
    for (size_t i = 0; i < 2 * WAITS; i++) {
        children[i] = fork();
        if (children[i])
            continue;
        int64_t start = now_ns(CLOCK_MONOTONIC);
        errno = 0;
        outcomes[i].result = waits[i / 2].wait();
        outcomes[i].error = errno;
        outcomes[i].passed_ms = (now_ns(CLOCK_MONOTONIC) - start) / MS;
        _exit(0);
    }
    nap(100);
    for (size_t i = 0; i < 2 * WAITS; i++)
        kill(children[i], SIGSTOP);
    for (size_t late = 0; late < 2; late++) {
        nap(late ? 1500 : 300);
        for (size_t i = late; i < 2 * WAITS; i += 2)
            kill(children[i], SIGCONT);
    }
    for (size_t i = 0; i < 2 * WAITS; i++) {
        const struct outcome *outcome = &outcomes[i];
        waitpid(children[i], NULL, 0);
        printf("%s, stopped %s: %ld %s after %s ms\n", waits[i / 2].name, i % 2 ? "beyond its time-out" : "for a while",
               outcome->result, outcome->result < 0 ? strerrorname_np(outcome->error) : "",
               outcome->passed_ms < 900    ? "few"
               : outcome->passed_ms < 1700 ? "about 1000"
               : outcome->passed_ms < 2700 ? "about 1900"
                                           : "more");
    }
    return 0;
}
