/* See limits.h. */
#include "limits.h"

#include <stdlib.h>

#include "memory.h"

void limits_open(struct limits *limits, const struct options *options) {
    *limits = (struct limits){.options = options};
    limits->buckets = memory_allocate(options->limit_count * sizeof *limits->buckets);
}

void limits_close(struct limits *limits) {
    for (size_t i = 0; i < limits->options->limit_count; i++) {
        free(limits->buckets[i].items);
    }
    free(limits->buckets);
}

/* The bucket of a peer, or NULL if it is full; others that are full again are forgotten on the way. */
static struct bucket *find(struct buckets *buckets, struct endpoint peer, int64_t now_ns) {
    size_t i = 0;
    while (i < buckets->count) {
        if (buckets->items[i].full_ns <= now_ns) {
            buckets->items[i] = buckets->items[--buckets->count];
        } else if (endpoint_equal(buckets->items[i].peer, peer)) {
            return &buckets->items[i];
        } else {
            i++;
        }
    }
    return NULL;
}

static bool take(struct buckets *buckets, const struct limit *limit, struct endpoint peer, uint16_t tokens,
                 int64_t now_ns) {
    int64_t token_ns = limit->period_ns / limit->tokens;
    struct bucket *bucket = find(buckets, peer, now_ns);
    int64_t full_ns = (bucket != NULL ? bucket->full_ns : now_ns) + tokens * token_ns;
    if (full_ns - now_ns > limit->tokens * token_ns || (bucket == NULL && buckets->count == LIMITS_MAX_PEERS)) {
        return false;
    }
    if (bucket == NULL) {
        buckets->items = memory_grow(buckets->items, &buckets->capacity, buckets->count + 1, sizeof *buckets->items);
        bucket = &buckets->items[buckets->count++];
    }
    *bucket = (struct bucket){.peer = peer, .full_ns = full_ns};
    return true;
}

bool limits_admit(struct limits *limits, uint16_t protocol, struct endpoint peer, uint16_t chunks, int64_t now_ns) {
    for (size_t i = 0; i < limits->options->limit_count; i++) {
        const struct limit *limit = &limits->options->limits[i];
        if (limit->protocol == protocol) {
            return take(&limits->buckets[i], limit, peer, chunks > 0 ? chunks : 1, now_ns);
        }
    }
    return true;
}
