/* What the programs of processes and files print: facts, one a line, that are the same on Linux and in the simulation.
 */
#ifndef ANTUMBRA_CONFORMANCE_CALLS_H
#define ANTUMBRA_CONFORMANCE_CALLS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Whatever goes wrong, a program ends; and what it prints is whole lines, also of processes that are killed. */
static inline void begin(void) {
    alarm(20);
    setvbuf(stdout, NULL, _IOLBF, 0);
}

static inline long fact(const char *what, long result) {
    int error = errno;
    if (result == -1)
        printf("%s = -1 %s\n", what, strerrorname_np(error));
    else
        printf("%s = %ld\n", what, result);
    errno = error;
    return result;
}

/* The value of a call that gives -1 and errno. */
#define FACT(call) fact(#call, (long)(call))
/* A call whose value differs legitimately (a descriptor, an id): only whether it worked. */
#define DONE(call) done(#call, (long)(call))
/* A condition. */
#define HOLDS(condition) printf("%s: %s\n", #condition, (condition) ? "yes" : "no")
/* A function that returns an errno value, as those of pthreads. */
#define CODE(call) code(#call, call)

static inline long done(const char *what, long result) {
    int error = errno;
    if (result == -1)
        printf("%s = -1 %s\n", what, strerrorname_np(error));
    else
        printf("%s: done\n", what);
    errno = error;
    return result;
}

static inline int code(const char *what, int error) {
    printf("%s = %s\n", what, error ? strerrorname_np(error) : "0");
    return error;
}

static inline void show_status(const char *what, int status) {
    if (WIFEXITED(status))
        printf("%s: exited %d\n", what, WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
        printf("%s: killed by SIG%s%s\n", what, sigabbrev_np(WTERMSIG(status)), WCOREDUMP(status) ? ", core" : "");
    else if (WIFSTOPPED(status))
        printf("%s: stopped by SIG%s\n", what, sigabbrev_np(WSTOPSIG(status)));
    else if (WIFCONTINUED(status))
        printf("%s: continued\n", what);
    else
        printf("%s: status 0x%x\n", what, (unsigned)status);
}

static inline void wait_and_show(const char *what, pid_t pid) {
    int status = 0;
    if (waitpid(pid, &status, 0) != pid)
        printf("%s: waitpid: %s\n", what, strerrorname_np(errno));
    else
        show_status(what, status);
}

static inline void nap(long milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    while (nanosleep(&time, &time) && errno == EINTR)
        continue;
}

static inline int64_t now_ns(clockid_t clock) {
    struct timespec time = {0, 0};
    clock_gettime(clock, &time);
    return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

/* The state letter that /proc shows of a thread (0: there is none). */
static inline char thread_state(pid_t process, pid_t thread) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", process, thread);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t length = read(fd, line, sizeof line - 1);
    close(fd);
    if (length <= 0)
        return 0;
    line[length] = '\0';
    const char *end = strrchr(line, ')');
    return end ? end[2] : '\0';
}

static inline void until_state(pid_t process, pid_t thread, char state) {
    while (thread_state(process, thread) != state)
        nap(1);
    nap(5); /* it may have slept in passing, on its way to what the test is about */
    while (thread_state(process, thread) != state)
        nap(1);
}

#endif
