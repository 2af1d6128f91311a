/* See random.h. */
#include "random.h"

uint64_t random_next(struct random *random) {
    random->state += 0x9E3779B97F4A7C15u;
    uint64_t z = random->state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

uint64_t random_below(struct random *random, uint64_t bound) {
    /* The high half of a 128-bit product: its bias is below bound / 2^64. */
    return (uint64_t)(((unsigned __int128)random_next(random) * bound) >> 64);
}

void random_choose(struct random *random, size_t *items, size_t count, size_t wanted) {
    for (size_t i = 0; i < wanted && i < count; i++) {
        size_t other = i + (size_t)random_below(random, count - i);
        size_t item = items[i];
        items[i] = items[other];
        items[other] = item;
    }
}
