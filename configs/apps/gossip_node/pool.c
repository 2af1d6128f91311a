/* See pool.h. */
#include "pool.h"

#include <stdlib.h>
#include <string.h>

#include "memory.h"

void pool_open(struct pool *pool, size_t most_peers) { *pool = (struct pool){.words = (most_peers + 63) / 64}; }

void pool_close(struct pool *pool) {
    for (struct transaction *at = pool->first, *next; at != NULL; at = next) {
        next = at->next;
        free(at);
    }
    free(pool->slots);
    free(pool->timers);
    memset(pool, 0, sizeof *pool);
}

static uint64_t mixed(const uint8_t *hash) {
    uint64_t words[WIRE_HASH_SIZE / 8], value = 0;
    memcpy(words, hash, sizeof words);
    for (size_t i = 0; i < WIRE_HASH_SIZE / 8; i++) {
        value = (value ^ words[i]) * 0x9E3779B97F4A7C15u;
        value ^= value >> 32;
    }
    return value;
}

/* The slot of a transaction, or the free slot where it belongs. There is a free slot. */
static size_t slot_of(const struct pool *pool, const uint8_t *hash) {
    size_t mask = pool->capacity - 1;
    size_t at = (size_t)mixed(hash) & mask;
    while (pool->slots[at] != NULL && memcmp(pool->slots[at]->hash, hash, WIRE_HASH_SIZE) != 0) {
        at = (at + 1) & mask;
    }
    return at;
}

struct transaction *pool_find(const struct pool *pool, const uint8_t *hash) {
    return pool->count > 0 ? pool->slots[slot_of(pool, hash)] : NULL;
}

static void enlarge(struct pool *pool) {
    free(pool->slots);
    pool->capacity = pool->capacity > 0 ? pool->capacity * 2 : 64;
    pool->slots = memory_allocate(pool->capacity * sizeof(struct transaction *));
    for (struct transaction *at = pool->first; at != NULL; at = at->next) {
        pool->slots[slot_of(pool, at->hash)] = at;
    }
}

struct transaction *pool_add(struct pool *pool, const uint8_t *hash, const struct wire_transaction *what,
                             int64_t over_ns) {
    if (pool->count == POOL_MAX_TRANSACTIONS) {
        return NULL;
    }
    if ((pool->count + 1) * 2 > pool->capacity) {
        enlarge(pool);
    }
    struct transaction *added = memory_allocate(sizeof *added + 2 * pool->words * sizeof(uint64_t));
    memcpy(added->hash, hash, WIRE_HASH_SIZE);
    added->what = *what;
    added->over_ns = over_ns;
    added->known = (uint64_t *)(added + 1);
    added->offered = added->known + pool->words;
    added->previous = pool->last;
    *(pool->last != NULL ? &pool->last->next : &pool->first) = added;
    pool->last = added;
    pool->slots[slot_of(pool, hash)] = added;
    pool->count++;
    pool_schedule(pool, added, POOL_OVER, over_ns);
    return added;
}

void pool_remove(struct pool *pool, struct transaction *transaction) {
    size_t mask = pool->capacity - 1;
    size_t hole = slot_of(pool, transaction->hash);
    pool->slots[hole] = NULL;
    pool->count--;
    /* The rest of the run of used slots is put back, so that no probe stops at the hole too early. */
    for (size_t at = (hole + 1) & mask; pool->slots[at] != NULL; at = (at + 1) & mask) {
        struct transaction *moved = pool->slots[at];
        pool->slots[at] = NULL;
        pool->slots[slot_of(pool, moved->hash)] = moved;
    }
    *(transaction->previous != NULL ? &transaction->previous->next : &pool->first) = transaction->next;
    *(transaction->next != NULL ? &transaction->next->previous : &pool->last) = transaction->previous;
    free(transaction);
}

/* Timers */

static bool is_before(const struct pool_timer *a, const struct pool_timer *b) {
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->order < b->order;
}

static void swap(struct pool_timer *a, struct pool_timer *b) {
    struct pool_timer kept = *a;
    *a = *b;
    *b = kept;
}

void pool_schedule(struct pool *pool, struct transaction *transaction, enum pool_timer_kind kind, int64_t due_ns) {
    if (kind != POOL_OVER && due_ns >= transaction->over_ns) {
        return;
    }
    pool->timers = memory_grow(pool->timers, &pool->timer_capacity, pool->timer_count + 1, sizeof *pool->timers);
    size_t at = pool->timer_count++;
    pool->timers[at] = (struct pool_timer){
        .due_ns = due_ns,
        .order = pool->order++,
        .kind = kind,
        .attempt = transaction->attempt,
        .transaction = transaction,
    };
    for (; at > 0 && is_before(&pool->timers[at], &pool->timers[(at - 1) / 2]); at = (at - 1) / 2) {
        swap(&pool->timers[at], &pool->timers[(at - 1) / 2]);
    }
}

int64_t pool_next_time(const struct pool *pool) { return pool->timer_count > 0 ? pool->timers[0].due_ns : INT64_MAX; }

bool pool_due(struct pool *pool, struct pool_timer *timer, int64_t now_ns) {
    if (pool_next_time(pool) > now_ns) {
        return false;
    }
    *timer = pool->timers[0];
    pool->timers[0] = pool->timers[--pool->timer_count];
    for (size_t at = 0, child; (child = 2 * at + 1) < pool->timer_count; at = child) {
        if (child + 1 < pool->timer_count && is_before(&pool->timers[child + 1], &pool->timers[child])) {
            child++;
        }
        if (!is_before(&pool->timers[child], &pool->timers[at])) {
            break;
        }
        swap(&pool->timers[child], &pool->timers[at]);
    }
    return true;
}
