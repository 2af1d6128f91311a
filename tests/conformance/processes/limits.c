/* Resource limits that programs run into: sizes of files, and timers of CPU time that has not passed. */
#include "calls.h"
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>

static volatile sig_atomic_t signals;
static void count(int signo) {
    (void)signo;
    signals++;
}

/* While the limit holds nothing is printed: standard output is a file, too, where this is simulated. */
#define LIMITED(call)                                                                                                  \
    do {                                                                                                               \
        limit(1000);                                                                                                   \
        signals = 0;                                                                                                   \
        long result_ = (long)(call);                                                                                   \
        int error_ = errno;                                                                                            \
        limit(RLIM_INFINITY);                                                                                          \
        errno = error_;                                                                                                \
        fact(#call, result_);                                                                                          \
        printf("    signals %d, size %ld\n", (int)signals, size());                                                    \
    } while (0)

static int fd;
static char bytes[3000];

static void limit(rlim_t size) {
    struct rlimit given = {size, RLIM_INFINITY};
    setrlimit(RLIMIT_FSIZE, &given);
}

static long size(void) {
    struct stat status;
    fstat(fd, &status);
    return status.st_size;
}

static void file_sizes(void) {
    signal(SIGXFSZ, count);
    fd = open("file", O_CREAT | O_RDWR | O_TRUNC, 0600);
    LIMITED(write(fd, bytes, 600));
    LIMITED(write(fd, bytes, 600));
    LIMITED(write(fd, bytes, 1));
    LIMITED(write(fd, bytes, 0));
    LIMITED(pwrite(fd, bytes, 10, 995));
    LIMITED(pwrite(fd, bytes, 10, 1000));
    LIMITED(pwrite(fd, bytes, 10, 0));
    LIMITED(ftruncate(fd, 1001));
    LIMITED(ftruncate(fd, 500));
    LIMITED(truncate("file", 2000));
    LIMITED(writev(fd, (struct iovec[]){{bytes, 100}, {bytes, 100}}, 2));
    lseek(fd, 450, SEEK_SET);
    LIMITED(writev(fd, (struct iovec[]){{bytes, 300}, {bytes, 300}, {bytes, 5}}, 3));
    FACT(ftruncate(fd, 2000));
    LIMITED(ftruncate(fd, 1500));
    LIMITED(ftruncate(fd, 1600));
    fcntl(fd, F_SETFL, O_APPEND);
    LIMITED(write(fd, bytes, 1));
    LIMITED(pwrite(fd, bytes, 1, 0));
    close(fd);
    pid_t child = fork();
    if (!child) {
        signal(SIGXFSZ, SIG_DFL);
        fd = open("file", O_RDWR | O_TRUNC);
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        limit(10);
        (void)!write(fd, bytes, 20);
        (void)!write(fd, bytes, 20);
        _exit(0);
    }
    wait_and_show("without a handler", child);
}

static void cpu_timers(void) {
    clockid_t clocks[] = {CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, 0, 0};
    clock_getcpuclockid(0, &clocks[2]);
    clock_getcpuclockid(getpid(), &clocks[3]);
    signal(SIGALRM, count);
    for (size_t i = 0; i < sizeof clocks / sizeof *clocks; i++) {
        timer_t timer;
        struct itimerspec value = {{0, 0}, {1000, 0}};
        FACT(timer_create(clocks[i], NULL, &timer));
        FACT(timer_settime(timer, 0, &value, NULL));
        signals = 0;
        nap(30);
        FACT(timer_gettime(timer, &value));
        printf("left: %s, signals %d\n", value.it_value.tv_sec >= 990 ? "nearly all" : "little", (int)signals);
        FACT(timer_delete(timer));
    }
    timer_t timer;
    FACT(timer_create(12345, NULL, &timer));
    FACT(timer_create(-6, NULL, &timer) == 0);
}

static void interval_timers(void) {
    static const int kinds[] = {ITIMER_VIRTUAL, ITIMER_PROF};
    for (size_t i = 0; i < 2; i++) {
        struct itimerval value = {{5, 0}, {1000, 0}}, old;
        FACT(setitimer(kinds[i], &value, NULL));
        FACT(getitimer(kinds[i], &old));
        printf("every %d s, %s\n", (int)old.it_interval.tv_sec, old.it_value.tv_sec >= 990 ? "not soon" : "soon");
        memset(&value, 0, sizeof value);
        FACT(setitimer(kinds[i], &value, &old));
        printf("it was %s\n", old.it_value.tv_sec >= 990 ? "not soon" : "soon");
        FACT(getitimer(kinds[i], &old));
        printf("now %d\n", (int)(old.it_value.tv_sec + old.it_value.tv_usec + old.it_interval.tv_sec));
    }
}

int main(void) {
    begin();
    file_sizes();
    cpu_timers();
    interval_timers();
    return 0;
}
