/*
 * Allocation for a program that cannot do anything useful without memory: it says so and exits with 3.
 */
#ifndef GOSSIP_MEMORY_H
#define GOSSIP_MEMORY_H

#include <stddef.h>

void *memory_allocate(size_t bytes);

/* Makes room for at least `wanted` items of `item_size` bytes, doubling *capacity; the items may move. */
void *memory_grow(void *items, size_t *capacity, size_t wanted, size_t item_size);

#endif
