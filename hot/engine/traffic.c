/* What each host has sent to each other host, for the metrics: packets and their bytes.
 *
 * Called by route.c for every packet that is not lost on its way; calls nothing. A table per host, open addressing,
 * that grows with the number of hosts it has sent to.
 */
#include "engine.h"

#include <stdlib.h>

#define FIRST_CAPACITY 8u

static struct traffic_entry *find(const struct traffic *traffic, uint32_t destination) {
    uint32_t mask = traffic->capacity - 1, place = (destination * 0x9E3779B1u) & mask;
    while (traffic->entries[place].packets && traffic->entries[place].destination != destination)
        place = (place + 1) & mask;
    return &traffic->entries[place];
}

static int grow(struct traffic *traffic) {
    struct traffic larger = {.capacity = traffic->capacity ? 2 * traffic->capacity : FIRST_CAPACITY,
                             .count = traffic->count};
    larger.entries = calloc(larger.capacity, sizeof *larger.entries);
    if (!larger.entries)
        return -1;
    for (uint32_t i = 0; i < traffic->capacity; i++)
        if (traffic->entries[i].packets)
            *find(&larger, traffic->entries[i].destination) = traffic->entries[i];
    free(traffic->entries);
    *traffic = larger;
    return 0;
}

int traffic_count(struct traffic *traffic, uint32_t destination, uint32_t length) {
    if (2 * traffic->count >= traffic->capacity && grow(traffic))
        return -1;
    struct traffic_entry *entry = find(traffic, destination);
    if (!entry->packets) {
        entry->destination = destination;
        traffic->count++;
    }
    entry->packets++;
    entry->bytes += length;
    return 0;
}

void traffic_free(struct traffic *traffic) {
    free(traffic->entries);
    *traffic = (struct traffic){0};
}
