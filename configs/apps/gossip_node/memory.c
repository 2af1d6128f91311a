/* See memory.h. */
#include "memory.h"

#include <stdio.h>
#include <stdlib.h>

static void *checked(void *block) {
    if (block == NULL) {
        fputs("gossip-node: out of memory\n", stderr);
        exit(3);
    }
    return block;
}

void *memory_allocate(size_t bytes) { return checked(calloc(1, bytes > 0 ? bytes : 1)); }

void *memory_grow(void *items, size_t *capacity, size_t wanted, size_t item_size) {
    if (wanted <= *capacity) {
        return items;
    }
    size_t larger = *capacity > 0 ? *capacity : 8;
    while (larger < wanted) {
        larger *= 2;
    }
    *capacity = larger;
    return checked(reallocarray(items, larger, item_size));
}
