/* See cache.h. */
#include "cache.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

/* The slot of the id, or the free slot where it belongs. The set has a free slot. */
static size_t id_set_slot(const struct id_set *set, uint64_t id) {
    size_t mask = set->capacity - 1;
    size_t at = (size_t)((id * 0x9E3779B97F4A7C15u) >> 32) & mask;
    while (set->slots[at].used && set->slots[at].id != id) {
        at = (at + 1) & mask;
    }
    return at;
}

static void id_set_enlarge(struct id_set *set) {
    struct id_set larger = {.capacity = set->capacity > 0 ? set->capacity * 2 : 64, .count = set->count};
    larger.slots = memory_allocate(larger.capacity * sizeof *larger.slots);
    for (size_t i = 0; i < set->capacity; i++) {
        if (set->slots[i].used) {
            larger.slots[id_set_slot(&larger, set->slots[i].id)] = set->slots[i];
        }
    }
    free(set->slots);
    *set = larger;
}

bool id_set_contains(const struct id_set *set, uint64_t id) {
    return set->count > 0 && set->slots[id_set_slot(set, id)].used;
}

bool id_set_add(struct id_set *set, uint64_t id) {
    if ((set->count + 1) * 2 > set->capacity) {
        id_set_enlarge(set);
    }
    struct id_slot *slot = &set->slots[id_set_slot(set, id)];
    if (slot->used) {
        return false;
    }
    *slot = (struct id_slot){.id = id, .used = true};
    set->count++;
    return true;
}

void id_set_remove(struct id_set *set, uint64_t id) {
    if (!id_set_contains(set, id)) {
        return;
    }
    size_t mask = set->capacity - 1;
    size_t hole = id_set_slot(set, id);
    set->slots[hole].used = false;
    set->count--;
    /* The rest of the run of used slots is put back, so that no probe stops at the hole too early. */
    for (size_t at = (hole + 1) & mask; set->slots[at].used; at = (at + 1) & mask) {
        struct id_slot moved = set->slots[at];
        set->slots[at].used = false;
        set->slots[id_set_slot(set, moved.id)] = moved;
    }
}

void id_set_clear(struct id_set *set) {
    if (set->count > 0) {
        memset(set->slots, 0, set->capacity * sizeof *set->slots);
        set->count = 0;
    }
}

void id_set_free(struct id_set *set) {
    free(set->slots);
    memset(set, 0, sizeof *set);
}

void seen_cache_open(struct seen_cache *seen, int64_t lifetime_ns) {
    memset(seen, 0, sizeof *seen);
    seen->lifetime_ns = lifetime_ns;
}

void seen_cache_close(struct seen_cache *seen) {
    id_set_free(&seen->ids);
    free(seen->queue);
    memset(seen, 0, sizeof *seen);
}

bool seen_cache_contains(const struct seen_cache *seen, uint64_t id) { return id_set_contains(&seen->ids, id); }

bool seen_cache_add(struct seen_cache *seen, uint64_t id, int64_t now_ns) {
    if (!id_set_add(&seen->ids, id)) {
        return false;
    }
    if (seen->end == seen->capacity && seen->first > seen->end / 2) {
        memmove(seen->queue, seen->queue + seen->first, (seen->end - seen->first) * sizeof *seen->queue);
        seen->end -= seen->first;
        seen->first = 0;
    }
    seen->queue = memory_grow(seen->queue, &seen->capacity, seen->end + 1, sizeof *seen->queue);
    seen->queue[seen->end++] = (struct seen_entry){.id = id, .expires_ns = now_ns + seen->lifetime_ns};
    return true;
}

void seen_cache_expire(struct seen_cache *seen, int64_t now_ns) {
    while (seen->first < seen->end && seen->queue[seen->first].expires_ns <= now_ns) {
        id_set_remove(&seen->ids, seen->queue[seen->first++].id);
    }
}

struct stored_message *stored_message_new(uint32_t size) {
    struct stored_message *message = memory_allocate(sizeof *message + size);
    message->size = size;
    return message;
}

static void message_window_free(struct message_window *window) {
    for (size_t i = 0; i < window->count; i++) {
        free(window->messages[i]);
    }
    free(window->messages);
}

void message_cache_close(struct message_cache *cache) {
    for (size_t w = 0; w < MESSAGE_CACHE_WINDOWS; w++) {
        message_window_free(&cache->windows[w]);
    }
    memset(cache, 0, sizeof *cache);
}

void message_cache_put(struct message_cache *cache, struct stored_message *message) {
    struct message_window *window = &cache->windows[0];
    window->messages = memory_grow(window->messages, &window->capacity, window->count + 1, sizeof *window->messages);
    window->messages[window->count++] = message;
}

const struct stored_message *message_cache_find(const struct message_cache *cache, uint64_t id) {
    for (size_t w = 0; w < MESSAGE_CACHE_WINDOWS; w++) {
        const struct message_window *window = &cache->windows[w];
        for (size_t i = 0; i < window->count; i++) {
            if (window->messages[i]->id == id) {
                return window->messages[i];
            }
        }
    }
    return NULL;
}

void message_cache_shift(struct message_cache *cache) {
    message_window_free(&cache->windows[MESSAGE_CACHE_WINDOWS - 1]);
    memmove(&cache->windows[1], &cache->windows[0], (MESSAGE_CACHE_WINDOWS - 1) * sizeof cache->windows[0]);
    memset(&cache->windows[0], 0, sizeof cache->windows[0]);
}

size_t message_cache_gossip_ids(const struct message_cache *cache, uint16_t topic, uint64_t *ids, size_t room) {
    size_t found = 0;
    for (size_t w = 0; w < MESSAGE_CACHE_GOSSIP_WINDOWS; w++) {
        const struct message_window *window = &cache->windows[w];
        for (size_t i = 0; i < window->count && found < room; i++) {
            if (window->messages[i]->topic == topic) {
                ids[found++] = window->messages[i]->id;
            }
        }
    }
    return found;
}

size_t message_cache_gossip_count(const struct message_cache *cache) {
    size_t count = 0;
    for (size_t w = 0; w < MESSAGE_CACHE_GOSSIP_WINDOWS; w++) {
        count += cache->windows[w].count;
    }
    return count;
}
