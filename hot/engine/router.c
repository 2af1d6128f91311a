/* The queue in front of a host's downlink: CoDel (RFC 8289), with the target of 10 ms that Shadow's users know.
 *
 * A packet that has left this queue may still wait for the downlink's tokens, one at a time. There is no limit in
 * packets, as in Shadow; one in bytes keeps a flood from taking all memory.
 */
#include "engine.h"
#include "hot/kernel/net.h"

#include <math.h>

#define TARGET (10 * NS_PER_MS)
#define INTERVAL (100 * NS_PER_MS)
#define QUEUE_LIMIT (UINT64_C(32) << 20)

void router_push(struct router *router, struct packet_pool *pool, struct wire_packet *packet, int64_t now) {
    /* RFC 8289 section 5.4: what finds the queue full does not count in CoDel's computations. */
    if (router->bytes + packet->length > QUEUE_LIMIT) {
        router->drops_full++;
        pool_give(pool, packet);
        return;
    }
    packet->queued_at = now;
    packet->next = NULL;
    router->bytes += packet->length;
    if (router->tail)
        router->tail->next = packet;
    else
        router->head = packet;
    router->tail = packet;
}

/* dodequeue() of RFC 8289 section 5.5. */
static struct wire_packet *dequeue(struct router *router, int64_t now, bool *may_drop) {
    struct wire_packet *packet = router->head;
    *may_drop = false;
    if (!packet) {
        router->interval_end = 0;
        return NULL;
    }
    router->head = packet->next;
    if (!router->head)
        router->tail = NULL;
    router->bytes -= packet->length;
    if (now - packet->queued_at < TARGET || router->bytes <= MTU)
        router->interval_end = 0;
    else if (router->interval_end == 0)
        router->interval_end = now + INTERVAL;
    else
        *may_drop = now >= router->interval_end;
    return packet;
}

/* The square root is exactly rounded by IEEE 754, so every machine drops the same packets. */
static int64_t control_law(int64_t time, uint64_t count) {
    return time + llround((double)INTERVAL / sqrt((double)count));
}

static void drop(struct router *router, struct packet_pool *pool, struct wire_packet *packet) {
    router->drops_delay++;
    pool_give(pool, packet);
}

/* deque() of RFC 8289 section 5.6. */
struct wire_packet *router_pop(struct router *router, struct packet_pool *pool, int64_t now) {
    bool may_drop;
    struct wire_packet *packet = dequeue(router, now, &may_drop);
    if (!may_drop) {
        router->dropping = false;
        return packet;
    }
    if (!router->dropping) {
        drop(router, pool, packet);
        packet = dequeue(router, now, &may_drop);
        router->dropping = true;
        uint64_t delta = router->drop_count - router->previous_drop_count;
        bool recently = router->ever_dropped && now - router->drop_next < 16 * INTERVAL;
        router->drop_count = recently && delta > 1 ? delta : 1;
        router->drop_next = control_law(now, router->drop_count);
        router->previous_drop_count = router->drop_count;
        router->ever_dropped = true;
        return packet;
    }
    while (router->dropping && now >= router->drop_next) {
        drop(router, pool, packet);
        router->drop_count++;
        packet = dequeue(router, now, &may_drop);
        if (may_drop)
            router->drop_next = control_law(router->drop_next, router->drop_count);
        else
            router->dropping = false;
    }
    return packet;
}

void router_clear(struct router *router, struct packet_pool *pool) {
    for (struct wire_packet *packet; (packet = router->head) != NULL;) {
        router->head = packet->next;
        pool_give(pool, packet);
    }
    router->tail = NULL;
    router->bytes = 0;
}
