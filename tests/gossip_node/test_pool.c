/* The pool of transactions: found again, in order, with the timers of each, and bounded. */
#include "pool.h"

#include <string.h>

#include "check.h"

static struct transaction *add(struct pool *pool, uint32_t sequence, int64_t over_ns) {
    uint8_t hash[WIRE_HASH_SIZE];
    struct wire_transaction what = {.origin = 1, .sequence = sequence, .size = 9, .type = WIRE_PLAIN};
    wire_write_hash(hash, &what);
    CHECK(pool_find(pool, hash) == NULL);
    struct transaction *added = pool_add(pool, hash, &what, over_ns);
    CHECK(added == NULL || pool_find(pool, hash) == added);
    return added;
}

static struct transaction *find(const struct pool *pool, uint32_t sequence) {
    uint8_t hash[WIRE_HASH_SIZE];
    struct wire_transaction what = {.origin = 1, .sequence = sequence, .size = 9, .type = WIRE_PLAIN};
    wire_write_hash(hash, &what);
    return pool_find(pool, hash);
}

static void transactions_are_found_until_their_lives_are_over(void) {
    struct pool pool;
    pool_open(&pool, 70);
    struct pool_timer timer;
    CHECK(pool_next_time(&pool) == INT64_MAX && !pool_due(&pool, &timer, INT64_MAX - 1));
    for (uint32_t i = 1; i <= 1000; i++) {
        struct transaction *added = add(&pool, i, (int64_t)(i * 7919 % 1000));
        CHECK(added != NULL && added->state == TRANSACTION_LACKING && added->what.sequence == i);
        CHECK(!pool_has(added->known, 69) && !pool_has(added->offered, 69));
    }
    uint32_t expected = 1;
    for (struct transaction *at = pool.first; at != NULL; at = at->next) {
        CHECK(at->what.sequence == expected++);
    }
    for (int64_t now = 0; now < 1000; now++) {
        CHECK(pool_next_time(&pool) == now);
        CHECK(pool_due(&pool, &timer, now));
        CHECK(timer.kind == POOL_OVER && timer.transaction->over_ns == now);
        uint32_t sequence = timer.transaction->what.sequence;
        pool_remove(&pool, timer.transaction);
        CHECK(find(&pool, sequence) == NULL && !pool_due(&pool, &timer, now));
        for (uint32_t other = 1 + (uint32_t)now % 37; other <= 1000; other += 37) {
            CHECK((find(&pool, other) != NULL) == ((int64_t)(other * 7919 % 1000) > now));
        }
    }
    CHECK(pool.first == NULL && pool.last == NULL && pool.count == 0);
    pool_close(&pool);
}

static void timers_come_in_the_order_of_time_then_of_scheduling_and_none_after_the_end(void) {
    struct pool pool;
    pool_open(&pool, 1);
    struct transaction *a = add(&pool, 1, 100), *b = add(&pool, 2, 50);
    pool_schedule(&pool, a, POOL_FETCH, 20);
    pool_schedule(&pool, b, POOL_FETCH, 10);
    pool_schedule(&pool, b, POOL_VALID, 20);
    pool_schedule(&pool, b, POOL_TIMEOUT, 50); /* not before its end: never */
    a->attempt = 3;
    pool_schedule(&pool, a, POOL_TIMEOUT, 99);
    const struct {
        const struct transaction *transaction;
        enum pool_timer_kind kind;
        int64_t due_ns;
        uint32_t attempt;
    } expected[] = {{b, POOL_FETCH, 10, 0}, {a, POOL_FETCH, 20, 0},   {b, POOL_VALID, 20, 0},
                    {b, POOL_OVER, 50, 0},  {a, POOL_TIMEOUT, 99, 3}, {a, POOL_OVER, 100, 0}};
    struct pool_timer timer;
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        CHECK(!pool_due(&pool, &timer, expected[i].due_ns - 1));
        CHECK(pool_due(&pool, &timer, expected[i].due_ns));
        CHECK(timer.transaction == expected[i].transaction && timer.kind == expected[i].kind);
        CHECK(timer.due_ns == expected[i].due_ns && timer.attempt == expected[i].attempt);
    }
    CHECK(pool_next_time(&pool) == INT64_MAX);
    pool_close(&pool);
}

static void sets_of_peers_are_each_transactions_own(void) {
    struct pool pool;
    pool_open(&pool, 130);
    struct transaction *a = add(&pool, 1, 1), *b = add(&pool, 2, 1);
    static const size_t peers[] = {0, 63, 64, 129};
    for (size_t i = 0; i < sizeof peers / sizeof peers[0]; i++) {
        pool_put(a->known, peers[i]);
        CHECK(pool_has(a->known, peers[i]) && !pool_has(a->offered, peers[i]) && !pool_has(b->known, peers[i]));
        pool_put(a->offered, peers[i]);
        pool_drop(a->known, peers[i]);
        CHECK(!pool_has(a->known, peers[i]) && pool_has(a->offered, peers[i]));
    }
    pool_close(&pool);
}

static void there_is_an_end_to_what_is_remembered(void) {
    struct pool pool;
    pool_open(&pool, 1);
    for (uint32_t i = 1; i <= POOL_MAX_TRANSACTIONS; i++) {
        CHECK(add(&pool, i, i) != NULL);
    }
    CHECK(add(&pool, POOL_MAX_TRANSACTIONS + 1, 1) == NULL);
    struct pool_timer timer;
    CHECK(pool_due(&pool, &timer, 1) && timer.kind == POOL_OVER);
    pool_remove(&pool, timer.transaction);
    CHECK(add(&pool, POOL_MAX_TRANSACTIONS + 1, 1) != NULL);
    pool_close(&pool);
}

int main(void) {
    transactions_are_found_until_their_lives_are_over();
    timers_come_in_the_order_of_time_then_of_scheduling_and_none_after_the_end();
    sets_of_peers_are_each_transactions_own();
    there_is_an_end_to_what_is_remembered();
    return 0;
}
