/* Clocks, sleeping, interval timers, alarm, POSIX timers and their overruns. */
#include "calls.h"
#include <linux/futex.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>

static volatile sig_atomic_t expired;
static void expire(int signo) {
    (void)signo;
    expired++;
}

static void clocks(void) {
    static const clockid_t ids[] = {CLOCK_REALTIME,
                                    CLOCK_MONOTONIC,
                                    CLOCK_PROCESS_CPUTIME_ID,
                                    CLOCK_THREAD_CPUTIME_ID,
                                    CLOCK_MONOTONIC_RAW,
                                    CLOCK_REALTIME_COARSE,
                                    CLOCK_MONOTONIC_COARSE,
                                    CLOCK_BOOTTIME,
                                    CLOCK_REALTIME_ALARM,
                                    CLOCK_BOOTTIME_ALARM,
                                    CLOCK_TAI,
                                    10,
                                    99};
    struct timespec time;
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        long result = clock_gettime(ids[i], &time);
        printf("clock %d: %s", ids[i], result ? strerrorname_np(errno) : "read");
        result = clock_getres(ids[i], &time);
        bool fine = time.tv_sec == 0 && time.tv_nsec == 1,
             coarse = ids[i] == CLOCK_REALTIME_COARSE || ids[i] == CLOCK_MONOTONIC_COARSE;
        printf(", resolution %s\n", result ? strerrorname_np(errno) : coarse || fine ? "as it should be" : "other");
    }
    int64_t before = now_ns(CLOCK_MONOTONIC), real = now_ns(CLOCK_REALTIME);
    nap(5);
    HOLDS(now_ns(CLOCK_MONOTONIC) - before >= 5000000);
    HOLDS(now_ns(CLOCK_REALTIME) - real >= 5000000);
    HOLDS(now_ns(CLOCK_BOOTTIME) >= before);
    clockid_t clock;
    CODE(clock_getcpuclockid(0, &clock));
    FACT(clock_gettime(clock, &time));
    CODE(clock_getcpuclockid(1 << 21, &clock));
    struct tms times_of_us;
    HOLDS(times(&times_of_us) > 0);
    struct timeval now;
    FACT(gettimeofday(&now, NULL));
    HOLDS(llabs((long long)now.tv_sec - now_ns(CLOCK_REALTIME) / 1000000000) <= 1);
}

static void sleeping(void) {
    struct timespec time = {0, 1000000000}, past = {0, 5}, negative = {0, -1};
    FACT(nanosleep(&time, NULL));
    FACT(nanosleep(&negative, NULL));
    FACT(syscall(SYS_nanosleep, NULL, NULL));
    CODE(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &past, NULL));
    CODE(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &past, NULL));
    CODE(clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL));
    CODE(clock_nanosleep(CLOCK_MONOTONIC_RAW, 0, &past, NULL));
    CODE(clock_nanosleep(CLOCK_MONOTONIC_COARSE, 0, &past, NULL));
    CODE(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &past, NULL));
    CODE(clock_nanosleep(CLOCK_BOOTTIME, 0, &past, NULL));
    CODE(clock_nanosleep(99, 0, &past, NULL));
    int64_t start = now_ns(CLOCK_MONOTONIC), until = start + 4000000;
    time = (struct timespec){until / 1000000000, until % 1000000000};
    CODE(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL));
    HOLDS(now_ns(CLOCK_MONOTONIC) >= until);
}

static void interval_timers(void) {
    struct itimerval value = {{0, 2000}, {0, 1000}}, old;
    signal(SIGALRM, expire);
    alarm(0);
    FACT(setitimer(ITIMER_REAL, &value, NULL));
    while (expired < 3)
        pause();
    FACT(getitimer(ITIMER_REAL, &old));
    printf("interval %ld us, running %d\n", (long)old.it_interval.tv_usec, old.it_value.tv_usec > 0);
    value = (struct itimerval){{0, 0}, {0, 0}};
    FACT(setitimer(ITIMER_REAL, &value, &old));
    printf("was %ld\n", (long)old.it_interval.tv_usec);
    FACT(getitimer(ITIMER_REAL, &old));
    printf("now %ld %ld\n", (long)old.it_value.tv_usec, (long)old.it_value.tv_sec);
    value = (struct itimerval){{5, 0}, {0, 0}}; /* off: the signal of another does not start it */
    FACT(setitimer(ITIMER_REAL, &value, NULL));
    raise(SIGALRM);
    FACT(getitimer(ITIMER_REAL, &old));
    printf("off: %ld %ld\n", (long)old.it_interval.tv_sec, (long)(old.it_value.tv_sec + (old.it_value.tv_usec > 0)));
    value = (struct itimerval){{0, 0}, {0, 1000000}};
    FACT(setitimer(ITIMER_REAL, &value, NULL));
    value = (struct itimerval){{0, 0}, {-1, 0}};
    FACT(setitimer(ITIMER_REAL, &value, NULL));
    FACT(setitimer((enum __itimer_which)9, &value, NULL));
    FACT(getitimer((enum __itimer_which)9, &old));
    FACT(alarm(100));
    FACT(alarm(50));
    getitimer(ITIMER_REAL, &old);
    printf("alarm is the real timer: %ld\n", (long)(old.it_value.tv_sec + (old.it_value.tv_usec > 0)));
    FACT(alarm(20));
    expired = 0;
}

static volatile sig_atomic_t overruns, values, codes;
static void on_timer(int signo, siginfo_t *info, void *context) {
    (void)signo, (void)context;
    expired++;
    overruns = info->si_overrun;
    values = info->si_value.sival_int;
    codes = info->si_code;
}

static void posix_timers(void) {
    timer_t timer, other;
    struct sigaction action = {.sa_sigaction = on_timer, .sa_flags = SA_SIGINFO};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN, .sigev_value.sival_int = 42};
    struct itimerspec value = {{0, 0}, {0, 1000000}}, old;
    sigset_t set;
    sigaction(SIGRTMIN, &action, NULL);
    FACT(timer_create(CLOCK_MONOTONIC, &event, &timer));
    FACT(timer_gettime(timer, &old));
    printf("not armed: %ld %ld\n", (long)old.it_value.tv_sec, old.it_value.tv_nsec);
    FACT(timer_settime(timer, 0, &value, NULL));
    while (!expired)
        pause();
    printf("code %d value %d overrun %d\n", codes, values, overruns);
    FACT(timer_gettime(timer, &old));
    printf("fired: %ld %ld\n", (long)old.it_value.tv_sec, old.it_value.tv_nsec);
    /* Expirations while the signal is blocked are counted, not queued. */
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    expired = 0;
    value = (struct itimerspec){{0, 1000000}, {0, 1000000}};
    FACT(timer_settime(timer, 0, &value, NULL));
    nap(30);
    FACT(timer_gettime(timer, &old));
    HOLDS(old.it_value.tv_nsec > 0 && old.it_value.tv_nsec <= 1000000);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    HOLDS(expired >= 1);
    value = (struct itimerspec){{0, 0}, {0, 0}};
    FACT(timer_settime(timer, 0, &value, &old));
    printf("interval was %ld\n", old.it_interval.tv_nsec);
    sigprocmask(SIG_BLOCK, &set, NULL);
    value = (struct itimerspec){{0, 1000000}, {0, 1000000}};
    timer_settime(timer, 0, &value, NULL);
    nap(20);
    siginfo_t info;
    HOLDS(sigwaitinfo(&set, &info) == SIGRTMIN);
    HOLDS(info.si_overrun >= 10);
    HOLDS(timer_getoverrun(timer) == info.si_overrun);
    value = (struct itimerspec){{0, 0}, {0, 0}};
    timer_settime(timer, 0, &value, NULL);
    while (sigtimedwait(&set, &info, &(struct timespec){0, 0}) > 0)
        continue;
    value = (struct itimerspec){{0, 0}, {1, 0}};
    FACT(timer_settime(timer, TIMER_ABSTIME, &value, NULL)); /* long ago */
    HOLDS(sigwaitinfo(&set, &info) == SIGRTMIN);
    printf("overrun of one shot: %d\n", info.si_overrun);
    value = (struct itimerspec){{0, 0}, {0, 1000000000}};
    FACT(timer_settime(timer, 0, &value, NULL));
    FACT(timer_delete(timer));
    FACT(syscall(SYS_timer_delete, 1234));
    FACT(syscall(SYS_timer_gettime, 1234, &old));
    FACT(syscall(SYS_timer_settime, 1234, 0, &value, NULL));
    FACT(syscall(SYS_timer_getoverrun, 1234));
    event.sigev_notify = SIGEV_NONE;
    FACT(timer_create(CLOCK_REALTIME, &event, &other));
    value = (struct itimerspec){{0, 0}, {100, 0}};
    FACT(timer_settime(other, 0, &value, NULL));
    FACT(timer_gettime(other, &old));
    HOLDS(old.it_value.tv_sec >= 99);
    FACT(timer_delete(other));
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = 0;
    FACT(timer_create(CLOCK_REALTIME, &event, &other));
    event.sigev_signo = 65;
    FACT(timer_create(CLOCK_REALTIME, &event, &other));
    event = (struct sigevent){.sigev_notify = 17, .sigev_signo = SIGUSR1};
    FACT(timer_create(CLOCK_REALTIME, &event, &other));
    event = (struct sigevent){.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN};
    event._sigev_un._tid = 1 << 21;
    FACT(timer_create(CLOCK_REALTIME, &event, &other));
    event._sigev_un._tid = gettid();
    FACT(timer_create(CLOCK_REALTIME, &event, &other));
    value = (struct itimerspec){{0, 0}, {0, 1000000}};
    FACT(timer_settime(other, 0, &value, NULL));
    HOLDS(sigwaitinfo(&set, &info) == SIGRTMIN && info.si_code == SI_TIMER);
    FACT(timer_create(99, NULL, &timer));
    pid_t pid = fork();
    if (pid == 0) {
        FACT(timer_gettime(other, &old)); /* timers are not inherited */
        _exit(0);
    }
    wait_and_show("child", pid);
    FACT(timer_delete(other));
}

/* A timer whose number cannot be told is none: it does not count for RLIMIT_SIGPENDING. */
static void untold_timers(void) {
    int32_t timer;
    struct rlimit limit;
    getrlimit(RLIMIT_SIGPENDING, &limit);
    long refused = 0;
    for (rlim_t i = 0; i < 2 * limit.rlim_cur && i < 200000; i++)
        refused += syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, 8) == -1 && errno == EFAULT;
    printf("all refused: %d\n", refused >= (long)limit.rlim_cur);
    DONE(syscall(SYS_timer_create, CLOCK_MONOTONIC, NULL, &timer));
    DONE(syscall(SYS_timer_delete, timer));
}

/* A loop that only looks ends when time has passed, whatever it looks at. */
static void looking(void) {
    int64_t end = now_ns(CLOCK_MONOTONIC) + 2000000, now;
    uint32_t word = 0;
    while ((now = now_ns(CLOCK_MONOTONIC)) <= end) { /* not only until it has come */
        struct timespec left = {0, (long)(end - now)};
        if (ppoll(NULL, 0, &left, NULL) != 0 || getpid() == getppid() || syscall(SYS_futex, &word, FUTEX_WAKE, 1) != 0)
            break;
    }
    HOLDS(now > end);
    pid_t pid = fork();
    if (pid == 0) {
        nap(2);
        _exit(3);
    }
    int status;
    pid_t ended;
    while ((ended = waitpid(pid, &status, WNOHANG)) == 0)
        continue;
    HOLDS(ended == pid && WEXITSTATUS(status) == 3);
    struct itimerval timer = {{0, 0}, {0, 2000}};
    signal(SIGALRM, expire);
    expired = 0;
    FACT(setitimer(ITIMER_REAL, &timer, NULL));
    do
        getitimer(ITIMER_REAL, &timer);
    while (timer.it_value.tv_sec != 0 || timer.it_value.tv_usec != 0);
    // What is left is rounded down: it is 0 for the last part of a microsecond, too.
    while (!expired)
        getitimer(ITIMER_REAL, &timer);
    HOLDS(expired == 1);
}

int main(void) {
    begin();
    clocks();
    looking();
    sleeping();
    interval_timers();
    posix_timers();
    untold_timers();
    return 0;
}
