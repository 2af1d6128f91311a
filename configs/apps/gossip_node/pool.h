/*
 * The transactions that are alive, as far as a node has heard of them: which it has, which it fetches, what its
 * execution peers know, and when something is to be done about one. execution.c decides; nothing is sent from here.
 */
#ifndef GOSSIP_POOL_H
#define GOSSIP_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire.h"

/* Bounds what peers can make a node remember. */
#define POOL_MAX_TRANSACTIONS 65536

enum transaction_state {
    TRANSACTION_LACKING,    /* nobody is left that could be asked */
    TRANSACTION_WAITING,    /* heard of; to be asked for in a while */
    TRANSACTION_ASKED,      /* asked for, of one peer */
    TRANSACTION_VALIDATING, /* it has come, and is not passed on yet */
    TRANSACTION_HERE,
};

struct transaction {
    uint8_t hash[WIRE_HASH_SIZE];
    struct wire_transaction what;
    enum transaction_state state;
    uint16_t hops;    /* what goes into its datagrams */
    uint32_t attempt; /* how often it has been asked for */
    size_t asked;     /* whom, in the state ASKED */
    int64_t over_ns;
    struct transaction *previous; /* in the order in which they were heard of */
    struct transaction *next;
    uint64_t *known;   /* a bit for each peer: it has the transaction, or has been told of it */
    uint64_t *offered; /* it has announced the transaction, and has not been asked */
};

enum pool_timer_kind {
    POOL_FETCH,
    POOL_TIMEOUT,
    POOL_VALID,
    POOL_OVER,
};

struct pool_timer {
    int64_t due_ns;
    uint64_t order; /* of those that are due at the same time */
    enum pool_timer_kind kind;
    uint32_t attempt;
    struct transaction *transaction;
};

struct pool {
    size_t words; /* of a set of peers */
    struct transaction **slots;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
    struct transaction *first;
    struct transaction *last;
    struct pool_timer *timers; /* a heap */
    size_t timer_count;
    size_t timer_capacity;
    uint64_t order;
};

void pool_open(struct pool *pool, size_t most_peers);
void pool_close(struct pool *pool);

/* NULL if it has not been heard of. */
struct transaction *pool_find(const struct pool *pool, const uint8_t *hash);
/* One that has not been heard of; NULL if there are too many. It has a POOL_OVER timer. */
struct transaction *pool_add(struct pool *pool, const uint8_t *hash, const struct wire_transaction *what,
                             int64_t over_ns);
/* One whose POOL_OVER timer has been taken: it has no other, as none is later. */
void pool_remove(struct pool *pool, struct transaction *transaction);

/* Without effect if the transaction's life is over by then. */
void pool_schedule(struct pool *pool, struct transaction *transaction, enum pool_timer_kind kind, int64_t due_ns);
/* INT64_MAX if nothing is to come. */
int64_t pool_next_time(const struct pool *pool);
/* Takes the first timer that is due. */
bool pool_due(struct pool *pool, struct pool_timer *timer, int64_t now_ns);

static inline bool pool_has(const uint64_t *set, size_t peer) { return set[peer / 64] >> (peer % 64) & 1; }
static inline void pool_put(uint64_t *set, size_t peer) { set[peer / 64] |= UINT64_C(1) << (peer % 64); }
static inline void pool_drop(uint64_t *set, size_t peer) { set[peer / 64] &= ~(UINT64_C(1) << (peer % 64)); }

#endif
