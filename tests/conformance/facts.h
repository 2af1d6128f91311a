/*
 * For the programs of these folders: each runs natively and in the simulator, and prints the same bytes in both. They
 * print facts (results, names of errors, data, order), and nothing that may rightly differ (process ids, addresses of
 * memory, ports that the kernel chose, how long something took).
 */
#ifndef FACTS_H
#define FACTS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define UNUSED_FUNCTION __attribute__((unused)) static

/* An address where no memory is; volatile, so that the compiler does not know it. */
__attribute__((unused)) static void *volatile nowhere = (void *)8;

/* Call first: the program ends, whatever hangs in it, and its output is not lost when it does. */
UNUSED_FUNCTION void begin(void) {
    close_range(3, ~0U, 0); /* of who started it */
    setvbuf(stdout, NULL, _IOLBF, 0);
    alarm(20);
}

UNUSED_FUNCTION void section(const char *name) { printf("== %s\n", name); }

UNUSED_FUNCTION void put_result(const char *what, long long result, int error) {
    if (result == -1)
        printf("%s: %s\n", what, strerrorname_np(error) ? strerrorname_np(error) : "?");
    else
        printf("%s: %lld\n", what, result);
}

/* The result of a call, or the name of its error. */
#define FACT(what, call)                                                                                               \
    do {                                                                                                               \
        errno = 0;                                                                                                     \
        long long result_ = (long long)(call);                                                                         \
        put_result(what, result_, errno);                                                                              \
    } while (0)

/* The same for a call whose positive results (descriptors, ids) mean nothing. Evaluates to the result. */
#define FACT_FD(what, call)                                                                                            \
    __extension__({                                                                                                    \
        errno = 0;                                                                                                     \
        int fd_ = (int)(call);                                                                                         \
        put_result(what, fd_ < 0 ? -1 : 0, errno);                                                                     \
        fd_;                                                                                                           \
    })

/* What has to work for the rest to mean anything. Evaluates to the result. */
#define MUST(call)                                                                                                     \
    __extension__({                                                                                                    \
        long long must_ = (long long)(call);                                                                           \
        if (must_ < 0) {                                                                                               \
            printf("%s:%d: %s: %s\n", __FILE_NAME__, __LINE__, #call, strerrorname_np(errno));                         \
            exit(1);                                                                                                   \
        }                                                                                                              \
        must_;                                                                                                         \
    })

UNUSED_FUNCTION void put_bytes(const char *what, const void *bytes, size_t length) {
    printf("%s: \"", what);
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = ((const unsigned char *)bytes)[i];
        if (byte >= ' ' && byte < 127 && byte != '"' && byte != '\\')
            putchar(byte);
        else
            printf("\\x%02x", byte);
    }
    printf("\"\n");
}

/* Abstract names are the machine's: the end of such a name, so that two runs at once do not meet. Always as long. */
UNUSED_FUNCTION const char *own_mark(void) {
    static char mark[16];
    if (!mark[0])
        snprintf(mark, sizeof mark, "+%010d", getpid());
    return mark;
}

/* The same without it, in place, for printing. */
UNUSED_FUNCTION void hide_mark(void *bytes, size_t length) {
    char *mark = memmem(bytes, length, own_mark(), strlen(own_mark()));
    if (mark)
        memset(mark, '#', strlen(own_mark()));
}

UNUSED_FUNCTION void put_events(const char *what, unsigned events) {
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = {{POLLIN, "IN"},         {POLLPRI, "PRI"},       {POLLOUT, "OUT"},       {POLLERR, "ERR"},
                 {POLLHUP, "HUP"},       {POLLNVAL, "NVAL"},     {POLLRDNORM, "RDNORM"}, {POLLRDBAND, "RDBAND"},
                 {POLLWRNORM, "WRNORM"}, {POLLWRBAND, "WRBAND"}, {POLLRDHUP, "RDHUP"}};
    printf("%s:", what);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (events & names[i].bit)
            printf(" %s", names[i].name);
    printf("\n");
}

/* What poll says of a descriptor now. */
UNUSED_FUNCTION void put_poll(const char *what, int fd) {
    struct pollfd entry = {fd, POLLIN | POLLPRI | POLLOUT | POLLRDHUP | POLLRDNORM | POLLWRNORM, 0};
    poll(&entry, 1, 0);
    put_events(what, (unsigned short)entry.revents);
}

UNUSED_FUNCTION void pause_ms(int milliseconds) {
    struct timespec time = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    while (nanosleep(&time, &time) < 0 && errno == EINTR)
        ;
}

/* Waits until a descriptor shows any of the events; for what the network does on its own time. */
UNUSED_FUNCTION void await(int fd, short events) {
    struct pollfd entry = {fd, events, 0};
    poll(&entry, 1, 5000);
}

UNUSED_FUNCTION void put_status(const char *what, int status) {
    if (WIFEXITED(status))
        printf("%s: exit %d\n", what, WEXITSTATUS(status));
    else if (WIFSIGNALED(status))
        printf("%s: SIG%s\n", what, sigabbrev_np(WTERMSIG(status)));
    else
        printf("%s: status %x\n", what, (unsigned)status);
}

/* Runs `body` in a child and prints how it ended. Output stays in order, for each side flushes at each line. */
#define IN_CHILD(what, body)                                                                                           \
    do {                                                                                                               \
        fflush(stdout);                                                                                                \
        pid_t child_ = fork();                                                                                         \
        if (!child_) {                                                                                                 \
            body;                                                                                                      \
            fflush(stdout);                                                                                            \
            _exit(0);                                                                                                  \
        }                                                                                                              \
        int status_ = 0;                                                                                               \
        waitpid(child_, &status_, 0);                                                                                  \
        put_status(what, status_);                                                                                     \
    } while (0)

#endif
