/*
 * What a node remembers about messages: ids that it has seen (so that each is delivered and forwarded once)
 * and the messages of its last heartbeats (so that it can announce them with IHAVE and answer IWANT).
 */
#ifndef GOSSIP_CACHE_H
#define GOSSIP_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A set of message ids: open addressing with linear probing. All zero is the empty set. */
struct id_slot {
    uint64_t id;
    bool used;
};

struct id_set {
    struct id_slot *slots;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
};

bool id_set_contains(const struct id_set *set, uint64_t id);
bool id_set_add(struct id_set *set, uint64_t id); /* false if it was there */
void id_set_remove(struct id_set *set, uint64_t id);
void id_set_clear(struct id_set *set);
void id_set_free(struct id_set *set);

/* Ids that were seen less than `lifetime_ns` ago. */
struct seen_entry {
    uint64_t id;
    int64_t expires_ns;
};

struct seen_cache {
    int64_t lifetime_ns;
    struct id_set ids;
    struct seen_entry *queue; /* in the order of expiry, from `first` */
    size_t first;
    size_t end;
    size_t capacity;
};

void seen_cache_open(struct seen_cache *seen, int64_t lifetime_ns);
void seen_cache_close(struct seen_cache *seen);
bool seen_cache_contains(const struct seen_cache *seen, uint64_t id);
/* Returns false if it was there; its lifetime is then not extended. Calls come in the order of time. */
bool seen_cache_add(struct seen_cache *seen, uint64_t id, int64_t now_ns);
void seen_cache_expire(struct seen_cache *seen, int64_t now_ns);

/* A message as this node forwards it: `hops` is what goes into its datagrams. */
struct stored_message {
    uint64_t id;
    uint32_t origin;
    uint64_t publish_time_ns;
    uint16_t topic;
    uint16_t hops;
    uint32_t size;
    uint8_t payload[];
};

struct stored_message *stored_message_new(uint32_t size);

/* The messages of the last MESSAGE_CACHE_WINDOWS heartbeat intervals; the newest window has index 0. */
#define MESSAGE_CACHE_WINDOWS 6
#define MESSAGE_CACHE_GOSSIP_WINDOWS 3

struct message_window {
    struct stored_message **messages;
    size_t count;
    size_t capacity;
};

struct message_cache {
    struct message_window windows[MESSAGE_CACHE_WINDOWS];
};

void message_cache_close(struct message_cache *cache);
/* Takes the message over. */
void message_cache_put(struct message_cache *cache, struct stored_message *message);
const struct stored_message *message_cache_find(const struct message_cache *cache, uint64_t id);
/* Begins a new window and forgets the oldest. */
void message_cache_shift(struct message_cache *cache);
/* Ids of the topic in the windows that are announced, newest window first; returns how many, at most `room`.
 */
size_t message_cache_gossip_ids(const struct message_cache *cache, uint16_t topic, uint64_t *ids, size_t room);
/* How many messages the announced windows hold, whatever their topic. */
size_t message_cache_gossip_count(const struct message_cache *cache);

#endif
