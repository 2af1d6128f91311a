/* Timers and the three ways to wait: timerfd, setitimer, alarm, eventfd with poll, select and epoll. */
#include "common.h"

#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/time.h>
#include <sys/timerfd.h>

#define MS INT64_C(1000000)

static volatile sig_atomic_t alarms;

static void on_alarm(int number) {
    (void)number;
    alarms++;
}

static int64_t now_ns(void) { return clock_ns(CLOCK_MONOTONIC); }

static void one_timerfd(void) {
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    uint64_t expirations;
    REQUIRE(fd >= 0);
    REQUIRE(read(fd, &expirations, 8) < 0 && errno == EAGAIN);
    int64_t start = now_ns();
    struct itimerspec setting = {.it_value.tv_nsec = 30 * MS};
    REQUIRE(timerfd_settime(fd, 0, &setting, NULL) == 0);
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    REQUIRE(poll(&waiting, 1, 5) == 0);
    REQUIRE(poll(&waiting, 1, -1) == 1 && waiting.revents == POLLIN);
    REQUIRE(now_ns() - start >= 30 * MS);
    REQUIRE(read(fd, &expirations, 8) == 8);
    printf("timerfd expirations %llu\n", (unsigned long long)expirations);
    REQUIRE(timerfd_gettime(fd, &setting) == 0 && setting.it_value.tv_nsec == 0);
    int64_t at = now_ns() + 10 * MS;
    setting = (struct itimerspec){.it_value = {at / (1000 * MS), at % (1000 * MS)}};
    REQUIRE(timerfd_settime(fd, TFD_TIMER_ABSTIME, &setting, NULL) == 0);
    REQUIRE(poll(&waiting, 1, -1) == 1 && now_ns() >= at);
    printf("timerfd absolute ok\n");
    close(fd);
}

static void periodic_timerfd(void) {
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    int epoll = epoll_create1(0);
    REQUIRE(fd >= 0 && epoll >= 0);
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = 77};
    REQUIRE(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    REQUIRE(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0 && errno == EEXIST);
    struct itimerspec setting = {.it_value.tv_nsec = 10 * MS, .it_interval.tv_nsec = 10 * MS};
    int64_t start = now_ns();
    REQUIRE(timerfd_settime(fd, 0, &setting, NULL) == 0);
    uint64_t total = 0, expirations;
    while (total < 5) {
        REQUIRE(epoll_wait(epoll, &event, 1, -1) == 1 && event.data.u64 == 77);
        REQUIRE(read(fd, &expirations, 8) == 8);
        total += expirations;
    }
    REQUIRE(now_ns() - start >= 50 * MS);
    usleep(35000);
    REQUIRE(read(fd, &expirations, 8) == 8 && expirations >= 3); /* those that were missed are counted */
    printf("periodic timerfd ok\n");
    close(epoll);
    close(fd);
}

static void signal_timers(void) {
    struct sigaction action = {.sa_handler = on_alarm};
    REQUIRE(sigaction(SIGALRM, &action, NULL) == 0);
    struct itimerval interval = {.it_value.tv_usec = 10000, .it_interval.tv_usec = 10000};
    REQUIRE(setitimer(ITIMER_REAL, &interval, NULL) == 0);
    while (alarms < 5) {
        pause();
    }
    struct itimerval off = {0}, before;
    REQUIRE(setitimer(ITIMER_REAL, &off, &before) == 0 && before.it_interval.tv_usec == 10000);
    printf("setitimer ok\n");
    alarms = 0;
    int64_t start = now_ns();
    REQUIRE(alarm(100) == 0 && alarm(1) >= 99);
    struct timespec long_time = {.tv_sec = 60}, left;
    REQUIRE(nanosleep(&long_time, &left) < 0 && errno == EINTR);
    REQUIRE(alarms == 1 && now_ns() - start >= 1000 * MS && left.tv_sec >= 50);
    printf("alarm ok\n");
}

static void eventfds(void) {
    int counting = eventfd(3, EFD_NONBLOCK), semaphore = eventfd(2, EFD_NONBLOCK | EFD_SEMAPHORE);
    uint64_t value = 4;
    REQUIRE(counting >= 0 && semaphore >= 0);
    REQUIRE(write(counting, &value, 8) == 8);
    REQUIRE(read(counting, &value, 8) == 8);
    printf("eventfd %llu\n", (unsigned long long)value);
    REQUIRE(read(counting, &value, 8) < 0 && errno == EAGAIN);
    for (int i = 0; i < 2; i++) {
        REQUIRE(read(semaphore, &value, 8) == 8 && value == 1);
    }
    REQUIRE(read(semaphore, &value, 8) < 0 && errno == EAGAIN);
    value = UINT64_MAX - 1;
    REQUIRE(write(counting, &value, 8) == 8);
    struct pollfd full = {.fd = counting, .events = POLLIN | POLLOUT};
    REQUIRE(poll(&full, 1, 0) == 1 && full.revents == POLLIN);
    printf("eventfd limits ok\n");
    close(counting);
    close(semaphore);
}

static void readiness(void) {
    int ends[2];
    fd_set readable, writable;
    REQUIRE(pipe(ends) == 0);
    FD_ZERO(&readable);
    FD_SET(ends[0], &readable);
    struct timeval timeout = {.tv_usec = 5000};
    int64_t start = now_ns();
    REQUIRE(select(ends[1] + 1, &readable, NULL, NULL, &timeout) == 0 && now_ns() - start >= 5 * MS);
    REQUIRE(write(ends[1], "x", 1) == 1);
    FD_SET(ends[0], &readable);
    FD_ZERO(&writable);
    FD_SET(ends[1], &writable);
    REQUIRE(select(ends[1] + 1, &readable, &writable, NULL, NULL) == 2);

    int epoll = epoll_create1(0);
    struct epoll_event edge = {.events = EPOLLIN | EPOLLET, .data.fd = ends[0]};
    REQUIRE(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &edge) == 0);
    REQUIRE(epoll_wait(epoll, &edge, 1, 0) == 1);
    REQUIRE(epoll_wait(epoll, &edge, 1, 0) == 0); /* the edge has been reported */
    REQUIRE(write(ends[1], "y", 1) == 1);
    REQUIRE(epoll_wait(epoll, &edge, 1, 0) == 1);
    struct epoll_event once = {.events = EPOLLIN | EPOLLONESHOT};
    REQUIRE(epoll_ctl(epoll, EPOLL_CTL_MOD, ends[0], &once) == 0);
    REQUIRE(epoll_wait(epoll, &edge, 1, 0) == 1 && epoll_wait(epoll, &edge, 1, 0) == 0);
    start = now_ns();
    REQUIRE(epoll_wait(epoll, &edge, 1, 5) == 0 && now_ns() - start >= 5 * MS);
    close(ends[1]);
    char two[3];
    REQUIRE(read(ends[0], two, 3) == 2);
    struct pollfd hung_up = {.fd = ends[0], .events = POLLIN};
    REQUIRE(poll(&hung_up, 1, -1) == 1 && hung_up.revents == POLLHUP);
    printf("select, poll and epoll ok\n");
    close(ends[0]);
    close(epoll);
}

int main(void) {
    one_timerfd();
    periodic_timerfd();
    signal_timers();
    eventfds();
    readiness();
    return 0;
}
