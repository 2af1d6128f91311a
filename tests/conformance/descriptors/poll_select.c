/* poll, ppoll, select, pselect: what is ready of many kinds of files, time-outs, signals, errors. */
#include "facts.h"

#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/syscall.h>

static volatile int signals;

static void on_signal(int signo) {
    (void)signo;
    signals++;
}

static void polling(void) {
    section("poll");
    int ends[2], file = (int)MUST(open("file", O_CREAT | O_RDWR, 0600)), folder = (int)MUST(open(".", O_RDONLY));
    MUST(pipe(ends));
    put_poll("file", file);
    put_poll("folder", folder);
    put_poll("/dev/null", (int)MUST(open("/dev/null", O_RDWR)));
    put_poll("/dev/zero", (int)MUST(open("/dev/zero", O_RDONLY)));
    put_poll("pipe to read", ends[0]);
    put_poll("pipe to write", ends[1]);
    put_poll("closed", 777);
    put_poll("negative", -1);
    struct pollfd entries[3] = {{ends[0], POLLIN, 9}, {-5, POLLIN, 9}, {ends[1], 0, 9}};
    FACT("nothing", poll(entries, 3, 10));
    printf("revents %d %d %d\n", entries[0].revents, entries[1].revents, entries[2].revents);
    (void)!write(ends[1], "x", 1);
    FACT("one", poll(entries, 3, -1));
    put_events("events", (unsigned)entries[0].revents);
    entries[2].events = POLLOUT;
    entries[1].fd = 777;
    FACT("three", poll(entries, 3, 0));
    put_events("second", (unsigned)entries[1].revents);
    put_events("third", (unsigned)entries[2].revents);
    FACT("none at all", poll(NULL, 0, 10));
    FACT("wrong address", poll(nowhere, 1, 0));
    struct rlimit limit, small;
    getrlimit(RLIMIT_NOFILE, &limit);
    small = limit;
    small.rlim_cur = 10;
    setrlimit(RLIMIT_NOFILE, &small);
    static struct pollfd many[20];
    for (int i = 0; i < 20; i++)
        many[i].fd = -1;
    FACT("more than the limit", poll(many, 20, 0));
    setrlimit(RLIMIT_NOFILE, &limit);
    FACT("within the limit", poll(many, 20, 0));
    struct timespec bad = {0, 1000000000}, negative = {-1, 0}, little = {0, 5000000};
    FACT("ppoll, bad time", ppoll(many, 20, &bad, NULL));
    FACT("ppoll, negative time", ppoll(many, 20, &negative, NULL));
    FACT("ppoll", ppoll(many, 20, &little, NULL));
    sigset_t mask;
    sigemptyset(&mask);
    FACT("ppoll, bad size of the mask", syscall(SYS_ppoll, many, 20, &little, &mask, 4));
    close(ends[1]);
    put_poll("writer gone, data", ends[0]);
    char byte;
    (void)!read(ends[0], &byte, 1);
    put_poll("writer gone", ends[0]);
    close(ends[0]);
    MUST(pipe(ends));
    close(ends[0]);
    put_poll("reader gone", ends[1]);
    int copy = dup(ends[1]);
    struct pollfd twice[2] = {{copy, POLLOUT, 0}, {copy, POLLOUT, 0}};
    FACT("the same twice", poll(twice, 2, 0));
    close(copy), close(ends[1]), close(file), close(folder);
    unlink("file");
}

/* Both ends of a pipe in both sets. */
static void fill_sets(const int *ends, fd_set *reads, fd_set *writes) {
    FD_ZERO(reads);
    FD_ZERO(writes);
    for (int i = 0; i < 2; i++) {
        FD_SET(ends[i], reads);
        FD_SET(ends[i], writes);
    }
}

static void put_sets(const char *what, int result, fd_set *read_set, fd_set *write_set, int a, int b) {
    put_result(what, result, errno);
    printf("  read %d %d write %d %d\n", FD_ISSET(a, read_set) != 0, FD_ISSET(b, read_set) != 0,
           FD_ISSET(a, write_set) != 0, FD_ISSET(b, write_set) != 0);
}

static void selecting(void) {
    section("select");
    int ends[2];
    MUST(pipe(ends));
    fd_set reads, writes;
    struct timeval time = {0, 0};
    int most = ends[1] + 1;
    fill_sets(ends, &reads, &writes);
    put_sets("idle", select(most, &reads, &writes, NULL, &time), &reads, &writes, ends[0], ends[1]);
    (void)!write(ends[1], "x", 1);
    fill_sets(ends, &reads, &writes);
    put_sets("data", select(most, &reads, &writes, NULL, NULL), &reads, &writes, ends[0], ends[1]);
    fill_sets(ends, &reads, &writes);
    put_sets("only below the count", select(ends[1], &reads, &writes, NULL, &time), &reads, &writes, ends[0], ends[1]);
    close(ends[0]);
    fill_sets((int[]){ends[1], ends[1]}, &reads, &writes);
    put_sets("the reader is gone", select(most, &reads, &writes, NULL, &time), &reads, &writes, ends[0], ends[1]);
    FD_ZERO(&reads);
    FD_SET(ends[0], &reads);
    FACT("a closed descriptor", select(most, &reads, NULL, NULL, &time));
    printf("sets stay: %d\n", FD_ISSET(ends[0], &reads) != 0);
    FACT("negative count", select(-1, NULL, NULL, NULL, &time));
    FD_ZERO(&reads);
    FACT("nothing", select(most, &reads, NULL, NULL, &time));
    time = (struct timeval){0, 20000};
    FACT("sleep", select(0, NULL, NULL, NULL, &time));
    printf("time left: %ld %ld\n", (long)time.tv_sec, (long)time.tv_usec);
    time = (struct timeval){5, 0};
    FD_ZERO(&writes);
    FD_SET(ends[1], &writes);
    FACT("ready", select(most, NULL, &writes, NULL, &time));
    printf("time left is almost all: %d\n", time.tv_sec >= 4);
    time = (struct timeval){-1, 0};
    FACT("negative time", select(0, NULL, NULL, NULL, &time));
    time = (struct timeval){0, 2000000};
    FD_ZERO(&writes);
    FD_SET(ends[1], &writes);
    FACT("microseconds beyond a second", select(most, NULL, &writes, NULL, &time));
    FACT("wrong address", select(most, nowhere, NULL, NULL, &time));
    struct timespec bad = {0, -5}, little = {0, 1000000};
    FACT("pselect, bad time", pselect(0, NULL, NULL, NULL, &bad, NULL));
    FACT("pselect", pselect(0, NULL, NULL, NULL, &little, NULL));
    printf("its time is constant: %ld\n", little.tv_nsec);
    int high = fcntl(ends[1], F_DUPFD, 900);
    FD_ZERO(&writes);
    FD_SET(high, &writes);
    FACT("descriptor 900", select(901, NULL, &writes, NULL, NULL));
    FACT("count beyond all open ones", select(1024, NULL, &writes, NULL, NULL));
    printf("is set: %d\n", FD_ISSET(900, &writes) != 0);
    close(high), close(ends[1]);
}

static void interrupted(void) {
    section("signals");
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    sigset_t blocked, none, now;
    sigemptyset(&blocked), sigemptyset(&none);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    raise(SIGUSR1);
    FACT("poll, blocked", poll(NULL, 0, 10));
    printf("handled %d\n", signals);
    struct timespec second = {1, 0};
    FACT("ppoll lets it through", ppoll(NULL, 0, &second, &none));
    printf("handled %d\n", signals);
    sigprocmask(SIG_BLOCK, NULL, &now);
    printf("mask is back: %d\n", sigismember(&now, SIGUSR1));
    raise(SIGUSR1);
    FACT("pselect lets it through", pselect(0, NULL, NULL, NULL, &second, &none));
    printf("handled %d\n", signals);
    raise(SIGUSR1);
    int ends[2];
    MUST(pipe(ends));
    struct pollfd ready = {ends[1], POLLOUT, 0};
    FACT("ready at once: the signal waits", ppoll(&ready, 1, &second, &none));
    printf("handled %d\n", signals);
    sigprocmask(SIG_UNBLOCK, &blocked, NULL);
    printf("handled %d\n", signals);
    for (int i = 0; i < 3; i++) {
        fflush(stdout);
        pid_t parent = getpid(), child = fork();
        if (!child) {
            pause_ms(40);
            kill(parent, SIGUSR1);
            _exit(0);
        }
        struct timeval time = {3, 0};
        if (i == 0)
            FACT("poll is interrupted", poll(NULL, 0, 3000));
        else if (i == 1)
            FACT("select is interrupted", select(0, NULL, NULL, NULL, &time));
        else {
            signal(SIGUSR1, SIG_IGN);
            FACT("an ignored signal does not", poll(NULL, 0, 100));
        }
        waitpid(child, NULL, 0);
    }
    /* Another process closes the last end while this one waits. */
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        close(ends[0]);
        pause_ms(40);
        _exit(0);
    }
    close(ends[1]);
    ready = (struct pollfd){ends[0], POLLIN, 0};
    FACT("hang-up ends the wait", poll(&ready, 1, 3000));
    put_events("events", (unsigned)ready.revents);
    waitpid(child, NULL, 0);
    close(ends[0]);
}

int main(void) {
    begin();
    polling();
    selecting();
    interrupted();
    return 0;
}
