/* Arguments that only a fuzzer thinks of: bits above an int, numbers of no signal, times past the end, no time at all.
 */
#include "calls.h"
#include <limits.h>
#include <linux/sched.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>

#define HIGH (INT64_C(1) << 32)

static volatile sig_atomic_t told;
static void tell(int signo) {
    (void)signo;
    told++;
}

static void numbers_are_ints(void) {
    struct itimerval value = {{0, 0}, {1000, 0}}, old;
    siginfo_t info;
    struct timespec time = {0, 0};
    alarm(0);
    FACT(syscall(SYS_setitimer, HIGH, &value, NULL));
    FACT(getitimer(ITIMER_REAL, &old));
    HOLDS(old.it_value.tv_sec >= 999 && old.it_value.tv_sec <= 1000);
    memset(&value, 0, sizeof value);
    FACT(setitimer(ITIMER_REAL, &value, NULL));
    memset(&info, 0, sizeof info);
    info.si_code = SI_QUEUE;
    FACT(syscall(SYS_rt_sigqueueinfo, getpid(), HIGH, &info));
    FACT(syscall(SYS_clock_nanosleep, HIGH | CLOCK_THREAD_CPUTIME_ID, 0, &time, NULL));
    FACT(kill(INT_MIN, 0));
    FACT(syscall(SYS_wait4, INT_MIN, NULL, 0, NULL));
    alarm(20);
}

static void exit_signals(void) {
    signal(SIGUSR1, tell);
    static const int signals[] = {0, SIGUSR1, 64, 65, 255};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
        int status;
        told = 0;
        if (signals[i] == 64)
            signal(64, tell);
        pid_t pid = (pid_t)syscall(SYS_clone, signals[i], NULL, NULL, NULL, NULL);
        if (!pid)
            syscall(SYS_exit_group, 3);
        printf("signal %d: without __WALL %d", signals[i], waitpid(pid, &status, 0) == -1 ? errno == ECHILD : -1);
        printf(", with it %d", waitpid(pid, &status, __WALL) == pid && WEXITSTATUS(status) == 3);
        printf(", told %d\n", told);
        struct clone_args arguments = {.exit_signal = (unsigned)signals[i]};
        pid = (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
        if (!pid)
            syscall(SYS_exit_group, 4);
        printf("clone3: %s", pid < 0 ? strerrorname_np(errno) : "done");
        printf(", %d\n", pid > 0 && waitpid(pid, &status, __WALL) == pid);
    }
    struct clone_args arguments = {.flags = CLONE_PARENT, .exit_signal = SIGCHLD};
    FACT(syscall(SYS_clone3, &arguments, sizeof arguments));
    arguments = (struct clone_args){.exit_signal = HIGH};
    FACT(syscall(SYS_clone3, &arguments, sizeof arguments));
}

static void short_intervals(void) {
    struct itimerspec each = {{0, 1}, {0, 1}}, seen;
    uint64_t count = 0;
    int timer = timerfd_create(CLOCK_MONOTONIC, 0), epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    FACT(epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &event));
    FACT(timerfd_settime(timer, 0, &each, NULL));
    nap(2);
    FACT(epoll_wait(epoll, &event, 1, 1000));
    FACT(epoll_wait(epoll, &event, 1, 20)); /* nobody has read: it does not go on */
    FACT(read(timer, &count, sizeof count));
    HOLDS(count > 1000000);
    each = (struct itimerspec){{0, 1000000}, {0, 1000000}};
    FACT(timerfd_settime(timer, 0, &each, NULL));
    nap(20);
    FACT(timerfd_gettime(timer, &seen));
    HOLDS(seen.it_value.tv_nsec <= 1000000 && seen.it_interval.tv_nsec == 1000000);
    FACT(read(timer, &count, sizeof count));
    HOLDS(count >= 20);
    close(timer);
    close(epoll);

    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    sigprocmask(SIG_BLOCK, &set, &old);
    struct itimerval interval = {{0, 1}, {0, 1}};
    FACT(setitimer(ITIMER_REAL, &interval, NULL));
    nap(5);
    FACT(sigwaitinfo(&set, NULL));
    FACT(sigwaitinfo(&set, NULL));
    memset(&interval, 0, sizeof interval);
    FACT(setitimer(ITIMER_REAL, &interval, NULL));
    while (sigtimedwait(&set, NULL, &(struct timespec){0, 0}) > 0)
        continue;
    sigprocmask(SIG_SETMASK, &old, NULL);

    timer_t silent;
    struct sigevent nobody = {.sigev_notify = SIGEV_NONE};
    FACT(timer_create(CLOCK_MONOTONIC, &nobody, &silent));
    each = (struct itimerspec){{0, 1}, {0, 1}};
    FACT(timer_settime(silent, 0, &each, NULL));
    nap(2);
    FACT(timer_gettime(silent, &seen));
    HOLDS(seen.it_interval.tv_nsec == 1);
    FACT(timer_delete(silent));
    struct sigevent ignored = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGURG};
    FACT(timer_create(CLOCK_MONOTONIC, &ignored, &silent));
    FACT(timer_settime(silent, 0, &each, NULL));
    nap(20);
    FACT(timer_delete(silent));
}

static void times_past_the_end(void) {
    const time_t end = INT64_MAX;
    struct itimerval value = {{end, 999999}, {end, 999999}}, old;
    struct itimerspec spec = {{end, 999999999}, {end, 999999999}}, left;
    alarm(0);
    FACT(setitimer(ITIMER_REAL, &value, NULL));
    nap(2);
    FACT(getitimer(ITIMER_REAL, &old));
    HOLDS(old.it_value.tv_sec > 1000000000);
    memset(&value, 0, sizeof value);
    FACT(setitimer(ITIMER_REAL, &value, NULL));
    timer_t timer;
    FACT(timer_create(CLOCK_MONOTONIC, NULL, &timer));
    FACT(timer_settime(timer, 0, &spec, NULL));
    nap(2);
    FACT(timer_gettime(timer, &left));
    HOLDS(left.it_value.tv_sec > 1000000000);
    FACT(timer_delete(timer));
    alarm(20);
}

int main(void) {
    begin();
    numbers_are_ints();
    exit_signals();
    short_intervals();
    times_past_the_end();
    return 0;
}
