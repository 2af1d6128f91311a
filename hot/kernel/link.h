/* The host's access link: what leaves through the uplink's relay, what arrives through the router's queue and the
 * downlink's relay, and how the host's time passes.
 *
 *   relay.c   token buckets: bandwidth           router.c  the queue before the downlink (CoDel)
 *   link.c    the two directions, and host_next: the host's own events in order
 *
 * All of it is in the arena, so that whoever has the turn can let the host's time pass: the shard, or a managed thread
 * that has nothing else to do. The shard puts what is due into `inbox` and takes what has left out of `outbox`; routes,
 * losses, latencies and files are its business.
 */
#ifndef ANTUMBRA_KERNEL_LINK_H
#define ANTUMBRA_KERNEL_LINK_H

#include "net.h"

struct token_bucket {
    int64_t rate;     /* bits per second = tokens per nanosecond: a token is a bit divided by 10^9 */
    int64_t capacity; /* tokens */
    int64_t tokens;
    int64_t updated;
    bool waiting; /* a packet waits for its tokens: they may gather beyond the capacity */
};
void bucket_init(struct token_bucket *bucket, int64_t rate_bps);
/* Takes the tokens of a packet of `length` bytes and returns `now`, or returns when to try again. */
int64_t bucket_take(struct token_bucket *bucket, int64_t now, uint32_t length);

struct router {
    struct packet_queue queue; /* packet->time: when it came */
    int64_t interval_end;      /* 0: the standing delay is below the target */
    int64_t drop_next;
    uint64_t drop_count, previous_drop_count;
    bool dropping, ever_dropped;
    uint64_t drops_delay, drops_full;
};
void router_push(struct host *host, struct router *router, struct packet *packet); /* takes it; packet->time is set */
struct packet *router_pop(struct host *host, struct router *router);               /* NULL: empty */
int64_t router_control_law(int64_t time, uint64_t count);

/* A packet waits for the tokens of a relay. */
struct link_wait {
    int64_t until; /* NEVER: none waits */
    uint64_t order;
};

struct link {
    struct packet_queue inbox;    /* of the shard: arrivals before host->limit, packet->time when; in order */
    struct packet_queue outbox;   /* for the shard: what has left the uplink, packet->time when */
    struct packet_queue captured; /* for the shard: copies for the capture file, packet->time when */
    bool capture;
    int64_t bootstrap_end; /* Shadow's bootstrap phase: bandwidth is unlimited, so that networks form quickly */
    struct token_bucket uplink, downlink;
    struct link_wait uplink_wait, downlink_wait;
    uint64_t waits;          /* so far: the order of two that end at one time */
    struct packet *arriving; /* left the router's queue and waits for the downlink */
    struct router router;
};

__attribute__((warn_unused_result)) int link_create(struct host *host); /* host->link, unlimited; 0 or -ENOMEM */
/* The shard's: an arrival, not before the last one's time. */
void link_arrival(struct host *host, int64_t time, const uint8_t *bytes, uint32_t length);
/* Has so much gathered for the shard that it should take it before the host goes on? */
bool link_full(const struct host *host);
/* When the host has something to do next; NEVER: nothing. */
int64_t host_next_time(const struct host *host);
/* The next task to run. Where none is runnable, the host's time passes, event by event, until one is, or until
 * host->limit or link_full: then NULL, and the turn is the shard's. It does not matter who calls it, nor how often;
 * with a limit of 0 no time passes. */
struct task *host_next(struct host *host);
/* The two halves of one instant: packets, then the rest. Between them the shard has its own events. */
void host_take_packets(struct host *host);
void host_take_the_rest(struct host *host);

#endif
