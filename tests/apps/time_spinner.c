/*
 * Spins on a clock until time has passed, as programs with short waits do: on clock_gettime until 1 ms has
 * passed, or on rdtsc until CYCLES have; or polls until an instant has gone by, not only come, as Ruby's threads do,
 * or asks whether its child has ended, or looks for a tick of a clock between two readings, not between two pairs of
 * them, as MariaDB does, or looks for a file or a process by their names. If time stands still for a running program,
 * it never ends.
 */
#include "common.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

static uint64_t poll_beyond(int64_t end) {
    uint64_t rounds = 0;
    for (int64_t now; (now = clock_ns(CLOCK_MONOTONIC)) <= end; rounds++) {
        struct timespec left = {(end - now) / 1000000000, (end - now) % 1000000000};
        if (ppoll(NULL, 0, &left, NULL) != 0 || getpid() == 0)
            exit(1);
    }
    return rounds;
}

static uint64_t ask_for_child(void) {
    uint64_t rounds = 0;
    pid_t child = fork();
    if (child == 0) {
        usleep(1000);
        _exit(0);
    }
    while (waitpid(child, NULL, WNOHANG) == 0)
        rounds++;
    return rounds;
}

/* A child makes the file after a while, and ends some time later. */
static uint64_t look_for(const char *how) {
    uint64_t rounds = 0;
    struct stat status;
    signal(SIGCHLD, SIG_IGN);
    unlink("awaited");
    pid_t child = fork();
    if (child == 0) {
        usleep(1000);
        close(creat("awaited", 0644));
        _exit(0);
    }
    if (strcmp(how, "stat") == 0)
        for (; stat("awaited", &status); rounds++)
            continue;
    else if (strcmp(how, "access") == 0)
        for (; access("awaited", F_OK); rounds++)
            continue;
    else if (strcmp(how, "open") == 0)
        for (; open("awaited", O_RDONLY) < 0 && access("elsewhere", F_OK); rounds++)
            continue;
    else
        for (; kill(child, 0) == 0; rounds++)
            continue;
    return rounds;
}

/* Many cheap calls that are no spin: each asks something else, or something is done in between. No time passes. */
static uint64_t ask_much(void) {
    uint64_t rounds = 0;
    struct stat status;
    char name[32];
    for (int fd = creat("written", 0644); rounds < 1000000; rounds++) {
        snprintf(name, sizeof name, "name-%llu", (unsigned long long)rounds);
        if (stat(name, &status) == 0 || fstat(fd, &status) || kill(getpid(), 0))
            exit(1);
        if (rounds % 100 == 0 && write(fd, name, 1) != 1)
            exit(1);
    }
    return rounds;
}

/* Twice, with a reading more in between: where readings and ticks keep step, one of the two finds none. */
static uint64_t find_ticks(void) {
    uint64_t rounds = 0;
    for (int phase = 0; phase < 2; phase++) {
        for (unsigned ticks = 0; ticks < 3; rounds++) {
            int64_t before = clock_ns(CLOCK_MONOTONIC_COARSE) / 1000000;
            ticks += clock_ns(CLOCK_MONOTONIC_COARSE) / 1000000 != before;
        }
        (void)clock_ns(CLOCK_MONOTONIC_COARSE);
    }
    return rounds;
}

static uint64_t rounds_of(const char *how, int64_t start) {
    if (strcmp(how, "poll") == 0)
        return poll_beyond(start + 1000000);
    if (strcmp(how, "child") == 0)
        return ask_for_child();
    if (strcmp(how, "ticks") == 0)
        return find_ticks();
    if (strcmp(how, "much") == 0)
        return ask_much();
    if (strcmp(how, "stat") && strcmp(how, "access") && strcmp(how, "open") && strcmp(how, "kill"))
        usage("time_spinner [clock | rdtsc [CYCLES] | poll | child | ticks | stat | access | open | kill | much]");
    return look_for(how);
}

int main(int argc, char **argv) {
    uint64_t readings = 0;
    if (argc == 1 || strcmp(argv[1], "clock") == 0) {
        int64_t start = clock_ns(CLOCK_MONOTONIC), now;
        do {
            now = clock_ns(CLOCK_MONOTONIC);
            readings++;
        } while (now - start < 1000000);
        printf("clock elapsed_ns %lld readings %llu\n", (long long)(now - start), (unsigned long long)readings);
    } else if (strcmp(argv[1], "rdtsc") == 0) {
        uint64_t cycles = argc > 2 ? strtoull(argv[2], NULL, 10) : 2000000;
        uint64_t start = __rdtsc(), now;
        do {
            now = __rdtsc();
            readings++;
        } while (now - start < cycles);
        printf("rdtsc elapsed_cycles %llu readings %llu\n", (unsigned long long)(now - start),
               (unsigned long long)readings);
    } else {
        int64_t start = clock_ns(CLOCK_MONOTONIC);
        readings = rounds_of(argv[1], start);
        printf("%s elapsed_ns %lld rounds %llu\n", argv[1], (long long)(clock_ns(CLOCK_MONOTONIC) - start),
               (unsigned long long)readings);
    }
    return 0;
}
