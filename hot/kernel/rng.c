/* Random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
 *
 * Counter based, so that a number depends on (seed, entity, purpose, counter) and on nothing else: not on who draws
 * it, nor when. bridge/rng.py computes the same function.
 */
#include "kernel.h"

static void philox4x32_10(uint32_t counter[4], uint32_t key0, uint32_t key1) {
    for (int round = 0; round < 10; round++) {
        uint64_t product0 = (uint64_t)0xD2511F53u * counter[0];
        uint64_t product1 = (uint64_t)0xCD9E8D57u * counter[2];
        uint32_t high0 = (uint32_t)(product0 >> 32), high1 = (uint32_t)(product1 >> 32);
        uint32_t next0 = high1 ^ counter[1] ^ key0, next2 = high0 ^ counter[3] ^ key1;
        counter[0] = next0;
        counter[1] = (uint32_t)product1;
        counter[2] = next2;
        counter[3] = (uint32_t)product0;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
}

uint64_t rng_at(uint64_t seed, uint32_t entity, uint32_t purpose, uint64_t counter) {
    uint32_t words[4] = {(uint32_t)counter, (uint32_t)(counter >> 32), entity, purpose};
    philox4x32_10(words, (uint32_t)seed, (uint32_t)(seed >> 32));
    return words[0] | (uint64_t)words[1] << 32;
}

uint64_t rng_next(struct host *host, enum rng_purpose purpose) {
    return rng_at(host->seed, host->id, purpose, host->rng_counter[purpose]++);
}

void rng_fill(struct host *host, enum rng_purpose purpose, void *bytes, size_t length) {
    for (uint8_t *at = bytes; length;) {
        uint64_t word = rng_next(host, purpose);
        size_t part = KMIN(length, sizeof word);
        memcpy(at, &word, part);
        at += part;
        length -= part;
    }
}
