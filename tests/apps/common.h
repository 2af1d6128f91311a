/*
 * For the test programs of this folder: ordinary Linux programs, each one file, that run natively and in the
 * simulator. They print facts and exit with 0, or say what was not so and exit with 1 (2 for wrong
 * arguments).
 *
 *   gcc -O2 -Wall -Wextra -Werror -pthread NAME.c -o NAME
 */
#ifndef COMMON_H
#define COMMON_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define REQUIRE(condition)                                                                                             \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            int error_ = errno;                                                                                        \
            fflush(stdout);                                                                                            \
            fprintf(stderr, "%s:%d: not true: %s (errno %d, %s)\n", __FILE__, __LINE__, #condition, error_,            \
                    strerror(error_));                                                                                 \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

__attribute__((unused, noreturn)) static void usage(const char *text) {
    fprintf(stderr, "usage: %s\n", text);
    exit(2);
}

__attribute__((unused)) static int64_t clock_ns(clockid_t clock) {
    struct timespec now;
    REQUIRE(clock_gettime(clock, &now) == 0);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Byte at a position of the data that transfers are checked with. */
__attribute__((unused)) static uint8_t pattern(uint64_t position) {
    return (uint8_t)((position * 0x9E3779B97F4A7C15u) >> 56);
}

#endif
