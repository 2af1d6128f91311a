/* The caches: the id set against a plain array, lifetimes, and the windows of the message cache. */
#include "cache.h"

#include <string.h>

#include "check.h"
#include "random.h"

static void id_set_agrees_with_a_plain_array(void) {
    struct random random = {.state = 1};
    struct id_set set = {0};
    static bool present[2000];
    size_t count = 0;
    for (int step = 0; step < 200000; step++) {
        size_t key = (size_t)random_below(&random, 2000);
        uint64_t id = key << 48 | key % 7; /* many share their low bits; 0 is an id like any other */
        if (random_below(&random, 2) == 0) {
            CHECK(id_set_add(&set, id) == !present[key]);
            count += !present[key];
            present[key] = true;
        } else {
            id_set_remove(&set, id);
            count -= present[key];
            present[key] = false;
        }
        CHECK(set.count == count);
        size_t other = (size_t)random_below(&random, 2000);
        CHECK(id_set_contains(&set, (uint64_t)other << 48 | other % 7) == present[other]);
    }
    id_set_clear(&set);
    CHECK(set.count == 0 && !id_set_contains(&set, 0));
    CHECK(id_set_add(&set, 0) && !id_set_add(&set, 0));
    id_set_free(&set);
}

static void seen_ids_expire_after_their_lifetime(void) {
    struct seen_cache seen;
    seen_cache_open(&seen, 120);
    CHECK(seen_cache_add(&seen, 7, 1000));
    CHECK(!seen_cache_add(&seen, 7, 1100)); /* does not extend it */
    CHECK(seen_cache_add(&seen, 8, 1100));
    seen_cache_expire(&seen, 1119);
    CHECK(seen_cache_contains(&seen, 7));
    seen_cache_expire(&seen, 1120);
    CHECK(!seen_cache_contains(&seen, 7) && seen_cache_contains(&seen, 8));
    CHECK(seen_cache_add(&seen, 7, 1120));
    seen_cache_close(&seen);
}

static void steady_traffic_does_not_grow_the_seen_cache(void) {
    struct seen_cache seen;
    seen_cache_open(&seen, 100);
    for (int64_t now = 0; now < 100000; now++) {
        CHECK(seen_cache_add(&seen, (uint64_t)now, now));
        seen_cache_expire(&seen, now);
        CHECK(seen.ids.count <= 100);
    }
    CHECK(seen.capacity <= 512 && seen.ids.capacity <= 512);
    seen_cache_close(&seen);
}

static void put(struct message_cache *cache, uint64_t id, uint16_t topic) {
    struct stored_message *message = stored_message_new(3);
    message->id = id;
    message->topic = topic;
    memcpy(message->payload, "abc", 3);
    message_cache_put(cache, message);
}

static void messages_are_announced_for_three_windows_and_kept_for_six(void) {
    struct message_cache cache = {0};
    put(&cache, 1, 1);
    put(&cache, 2, 2);
    put(&cache, 3, 1);
    for (int window = 0; window < MESSAGE_CACHE_WINDOWS + 2; window++) {
        uint64_t ids[4];
        bool announced = window < MESSAGE_CACHE_GOSSIP_WINDOWS;
        CHECK(message_cache_gossip_count(&cache) == (announced ? 3 : 0));
        CHECK(message_cache_gossip_ids(&cache, 1, ids, 4) == (announced ? 2 : 0));
        CHECK(!announced || (ids[0] == 1 && ids[1] == 3));
        CHECK(message_cache_gossip_ids(&cache, 1, ids, 1) == (announced ? 1 : 0));
        CHECK(message_cache_gossip_ids(&cache, 3, ids, 4) == 0);
        const struct stored_message *found = message_cache_find(&cache, 3);
        CHECK((found != NULL) == (window < MESSAGE_CACHE_WINDOWS));
        CHECK(found == NULL || memcmp(found->payload, "abc", 3) == 0);
        message_cache_shift(&cache);
    }
    put(&cache, 4, 1);
    message_cache_close(&cache);
}

int main(void) {
    id_set_agrees_with_a_plain_array();
    seen_ids_expire_after_their_lifetime();
    steady_traffic_does_not_grow_the_seen_cache();
    messages_are_announced_for_three_windows_and_kept_for_six();
    return 0;
}
