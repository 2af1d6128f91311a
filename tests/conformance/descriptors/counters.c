/* eventfd, timerfd, signalfd. */
#include "facts.h"

#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

static ssize_t add_to(int fd, uint64_t value) { return write(fd, &value, sizeof value); }

static void put_read(const char *what, int fd) {
    uint64_t value = 0;
    errno = 0;
    ssize_t got = read(fd, &value, sizeof value);
    if (got < 0)
        printf("%s: %s\n", what, strerrorname_np(errno));
    else
        printf("%s: %zd bytes, %llu\n", what, got, (unsigned long long)value);
}

static void events(void) {
    section("eventfd");
    int fd = FACT_FD("create", eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC));
    char bytes[16];
    FACT("bad flags", eventfd(0, 0x100));
    printf("flags %o %d\n", fcntl(fd, F_GETFL), fcntl(fd, F_GETFD));
    put_poll("with 3", fd);
    put_read("read", fd);
    put_read("read again", fd);
    put_poll("empty", fd);
    FACT("short read", read(fd, bytes, 7));
    FACT("short write", write(fd, bytes, 7));
    FACT("add", add_to(fd, 5));
    FACT("add", add_to(fd, 6));
    FACT("long read", read(fd, bytes, 16));
    FACT("the largest", add_to(fd, UINT64_MAX - 1));
    put_poll("full", fd);
    FACT("one more", add_to(fd, 1));
    FACT("too large a number", add_to(fd, UINT64_MAX));
    FACT("zero fits", add_to(fd, 0));
    put_read("read", fd);
    FACT("write from nowhere", write(fd, nowhere, 8));
    FACT("read to nowhere", (add_to(fd, 9), read(fd, nowhere, 8)));
    put_read("then", fd);
    FACT("lseek", lseek(fd, 0, SEEK_SET));
    FACT("pread", pread(fd, bytes, 8, 0));
    close(fd);
    fd = eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK);
    put_read("semaphore", fd);
    put_read("semaphore", fd);
    put_read("semaphore", fd);
    put_read("semaphore", fd);
    close(fd);
    fd = eventfd(0, 0);
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        pause_ms(40);
        add_to(fd, 42);
        _exit(0);
    }
    put_read("a read waits", fd);
    waitpid(child, NULL, 0);
    add_to(fd, UINT64_MAX - 1);
    fflush(stdout);
    child = fork();
    if (!child) {
        pause_ms(40);
        uint64_t value = 0;
        ssize_t got = read(fd, &value, sizeof value);
        _exit(got == 8 && value == UINT64_MAX - 1 ? 3 : 4);
    }
    FACT("a write waits", add_to(fd, 7));
    int status = 0;
    waitpid(child, &status, 0);
    put_status("for the child to read", status);
    put_read("left", fd);
    close(fd);
}

static void set_timer(const char *what, int fd, int flags, long first_ms, long every_ms) {
    struct itimerspec value = {{every_ms / 1000, every_ms % 1000 * 1000000L},
                               {first_ms / 1000, first_ms % 1000 * 1000000L}},
                      old;
    FACT(what, timerfd_settime(fd, flags, &value, &old));
}

static void timers(void) {
    section("timerfd");
    FACT("bad clock", timerfd_create(77, 0));
    FACT("clock of the process", timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0));
    FACT("bad flags", timerfd_create(CLOCK_MONOTONIC, 1));
    int fd = FACT_FD("create", timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
    struct itimerspec value = {{0, 0}, {0, 0}};
    printf("flags %o %d\n", fcntl(fd, F_GETFL) & O_NONBLOCK, fcntl(fd, F_GETFD));
    put_poll("not set", fd);
    put_read("not set", fd);
    FACT("get", timerfd_gettime(fd, &value));
    printf("%ld %ld\n", (long)value.it_value.tv_sec, value.it_value.tv_nsec);
    set_timer("once", fd, 0, 30, 0);
    put_read("too early", fd);
    await(fd, POLLIN);
    put_poll("expired", fd);
    char bytes[16];
    FACT("short read", read(fd, bytes, 4));
    put_read("once", fd);
    put_read("and no more", fd);
    FACT("get", timerfd_gettime(fd, &value));
    printf("%ld %ld\n", (long)value.it_value.tv_sec, value.it_value.tv_nsec);
    set_timer("periodic", fd, 0, 10, 50);
    pause_ms(135);
    put_read("three times", fd);
    FACT("get", timerfd_gettime(fd, &value));
    printf("interval %ld, left no more than it: %d\n", value.it_interval.tv_nsec, value.it_value.tv_nsec <= 50000000);
    set_timer("stop", fd, 0, 0, 0);
    put_read("stopped", fd);
    set_timer("an hour", fd, 0, 3600000, 0);
    FACT("get", timerfd_gettime(fd, &value));
    printf("most of it is left: %d\n", value.it_value.tv_sec >= 3590);
    struct itimerspec old, past = {{0, 0}, {0, 1}};
    FACT("a time in the past", timerfd_settime(fd, TFD_TIMER_ABSTIME, &past, &old));
    printf("the old one was: %d\n", old.it_value.tv_sec >= 3590);
    await(fd, POLLIN);
    put_read("expires at once", fd);
    value.it_value.tv_nsec = 1000000000;
    FACT("bad nanoseconds", timerfd_settime(fd, 0, &value, NULL));
    value.it_value = (struct timespec){-1, 0};
    FACT("negative", timerfd_settime(fd, 0, &value, NULL));
    FACT("bad flags", timerfd_settime(fd, 8, &past, NULL));
    FACT("nowhere", timerfd_settime(fd, 0, nowhere, NULL));
    FACT("not a timer", timerfd_settime(0, 0, &past, NULL));
    FACT("nothing", timerfd_gettime(999, &value));
    FACT("write", write(fd, bytes, 8));
    set_timer("again", fd, 0, 10, 0);
    pause_ms(20);
    set_timer("setting forgets expirations", fd, 0, 1000, 0);
    put_read("none", fd);
    close(fd);
    fd = timerfd_create(CLOCK_REALTIME, 0);
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_nsec += 20000000;
    if (now.tv_nsec >= 1000000000)
        now.tv_sec++, now.tv_nsec -= 1000000000;
    value = (struct itimerspec){{0, 0}, now};
    FACT("absolute", timerfd_settime(fd, TFD_TIMER_ABSTIME, &value, NULL));
    put_read("a read waits", fd);
    struct timespec then;
    clock_gettime(CLOCK_REALTIME, &then);
    printf("until then: %d\n", then.tv_sec > now.tv_sec || (then.tv_sec == now.tv_sec && then.tv_nsec >= now.tv_nsec));
    set_timer("before fork", fd, 0, 20, 0);
    IN_CHILD("in a child", put_read("the child reads", fd));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    put_read("the parent has nothing", fd);
    close(fd);
}

static void put_info(const char *what, int fd) {
    struct signalfd_siginfo info = {0};
    errno = 0;
    ssize_t got = read(fd, &info, sizeof info);
    if (got < 0)
        printf("%s: %s\n", what, strerrorname_np(errno));
    else
        printf("%s: %zd bytes, SIG%s code %d value %d from me %d status %d\n", what, got,
               info.ssi_signo < 32 ? sigabbrev_np((int)info.ssi_signo) : "RT", info.ssi_code, info.ssi_int,
               info.ssi_pid == (unsigned)getpid(), info.ssi_status);
}

static void signals(void) {
    section("signalfd");
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1), sigaddset(&mask, SIGUSR2), sigaddset(&mask, SIGRTMIN), sigaddset(&mask, SIGCHLD);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    int fd = FACT_FD("create", signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC));
    FACT("bad flags", signalfd(-1, &mask, 1));
    FACT("not a signalfd", signalfd(0, &mask, 0));
    FACT("nothing", signalfd(999, &mask, 0));
    put_poll("nothing pending", fd);
    put_info("nothing", fd);
    kill(getpid(), SIGUSR2), kill(getpid(), SIGUSR1), kill(getpid(), SIGUSR1);
    put_poll("pending", fd);
    put_info("lowest first", fd);
    put_info("then", fd);
    put_info("a second one of the same was lost", fd);
    union sigval value = {.sival_int = 11};
    sigqueue(getpid(), SIGRTMIN, value);
    value.sival_int = 12;
    sigqueue(getpid(), SIGRTMIN, value);
    value.sival_int = 13;
    sigqueue(getpid(), SIGUSR1, value);
    struct signalfd_siginfo several[4];
    FACT("short read", read(fd, several, 100));
    FACT("several", read(fd, several, sizeof several) / (ssize_t)sizeof several[0]);
    for (int i = 0; i < 3; i++)
        printf("  value %d\n", several[i].ssi_int);
    fflush(stdout);
    pid_t child = fork();
    if (!child)
        _exit(7);
    fcntl(fd, F_SETFL, 0);
    put_info("a child ended", fd);
    waitpid(child, NULL, 0);
    fflush(stdout);
    if (!(child = fork())) {
        put_poll("nothing of a child's own", fd);
        kill(getpid(), SIGUSR1);
        put_poll("a child's own", fd);
        put_info("a child sees its own", fd);
        fflush(stdout);
        _exit(0);
    }
    waitpid(child, NULL, 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    put_info("its end", fd);
    put_info("not the child's signal", fd);
    raise(SIGUSR1);
    put_info("raise", fd);
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 77};
    struct itimerspec soon = {{0, 0}, {0, 1000000}};
    MUST(timer_create(CLOCK_MONOTONIC, &event, &timer));
    MUST(timer_settime(timer, 0, &soon, NULL));
    await(fd, POLLIN);
    FACT("of a timer", read(fd, several, sizeof several[0]));
    printf("  code %d, value %d, overrun %u, pid %u, uid %u, timer's number %d\n", several[0].ssi_code,
           several[0].ssi_int, several[0].ssi_overrun, several[0].ssi_pid, several[0].ssi_uid,
           several[0].ssi_tid == (unsigned)(uintptr_t)timer);
    timer_delete(timer);
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    printf("change the mask: %d\n", signalfd(fd, &mask, 0) == fd);
    raise(SIGUSR1);
    put_info("not wanted any more", fd);
    raise(SIGUSR2);
    put_info("wanted", fd);
    FACT("write", write(fd, several, 8));
    close(fd);
    struct timespec zero = {0, 0};
    sigaddset(&mask, SIGUSR1);
    FACT("still pending", sigtimedwait(&mask, NULL, &zero) == SIGUSR1);
}

int main(void) {
    begin();
    events();
    timers();
    signals();
    return 0;
}
