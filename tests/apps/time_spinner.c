/*
 * Spins on a clock until time has passed, as programs with short waits do: on clock_gettime until 1 ms has
 * passed, or on rdtsc until CYCLES have. If time stands still for a running program, it never ends.
 */
#include "common.h"

#include <x86intrin.h>

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
        usage("time_spinner [clock | rdtsc [CYCLES]]");
    }
    return 0;
}
