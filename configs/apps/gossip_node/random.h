/*
 * The node's own random numbers (splitmix64): which peers to graft, prune and tell about messages, and the
 * phase of its heartbeat. Not for secrets.
 */
#ifndef GOSSIP_RANDOM_H
#define GOSSIP_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct random {
    uint64_t state;
};

uint64_t random_next(struct random *random);

/* Uniform in [0, bound); bound > 0. */
uint64_t random_below(struct random *random, uint64_t bound);

/* Brings a uniformly chosen subset of `wanted` of the `count` items to the front, in random order. */
void random_choose(struct random *random, size_t *items, size_t count, size_t wanted);

#endif
