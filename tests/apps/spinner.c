/* Spins without a system call: for ever, or for ITERATIONS. A simulator has to name it and end it. */
#include "common.h"

int main(int argc, char **argv) {
    uint64_t iterations = argc > 1 ? strtoull(argv[1], NULL, 10) : UINT64_MAX;
    volatile uint64_t count = 0;
    printf("spinning\n");
    fflush(stdout);
    while (count < iterations) {
        count++;
    }
    printf("spun %llu\n", (unsigned long long)count);
    return 0;
}
