/* The queue in front of a host's downlink: CoDel (RFC 8289), with the target of 10 ms that Shadow's users know.
 *
 * A packet that has left this queue may still wait for the downlink's tokens, one at a time. There is no limit in
 * packets, as in Shadow; one in bytes keeps a flood from taking all memory.
 */
#include "link.h"

#define TARGET (10 * NS_PER_MS)
#define INTERVAL (100 * NS_PER_MS)
#define QUEUE_LIMIT (UINT64_C(32) << 20)

void router_push(struct host *host, struct router *router, struct packet *packet) {
    /* RFC 8289 section 5.4: what finds the queue full does not count in CoDel's computations. */
    if (router->queue.bytes + packet->length > QUEUE_LIMIT) {
        router->drops_full++;
        packet_free(host, packet);
        return;
    }
    packet_queue_push(&router->queue, packet);
}

/* dodequeue() of RFC 8289 section 5.5. */
static struct packet *dequeue(struct router *router, int64_t now, bool *may_drop) {
    struct packet *packet = packet_queue_pop(&router->queue);
    *may_drop = false;
    if (!packet) {
        router->interval_end = 0;
        return NULL;
    }
    if (now - packet->time < TARGET || router->queue.bytes <= MTU)
        router->interval_end = 0;
    else if (router->interval_end == 0)
        router->interval_end = now + INTERVAL;
    else
        *may_drop = now >= router->interval_end;
    return packet;
}

static uint64_t square_root(uint64_t value) {
    uint64_t root = 0;
    for (uint64_t bit = UINT64_C(1) << 31; bit; bit >>= 1)
        if ((root + bit) * (root + bit) <= value)
            root += bit;
    return root;
}

/* time + INTERVAL / sqrt(count), rounded to the nearest nanosecond k: the largest with (2k - 1)^2 count <= (2
 * INTERVAL)^2. In integers, because a managed process, whose floating-point registers are the program's, runs this too.
 */
int64_t router_control_law(int64_t time, uint64_t count) {
    const uint64_t twice = 2 * INTERVAL;
    return time + (int64_t)((square_root(twice * twice / count) + 1) / 2);
}

static void drop(struct host *host, struct router *router, struct packet *packet) {
    router->drops_delay++;
    packet_free(host, packet);
}

/* deque() of RFC 8289 section 5.6. */
struct packet *router_pop(struct host *host, struct router *router) {
    int64_t now = host->now;
    bool may_drop;
    struct packet *packet = dequeue(router, now, &may_drop);
    if (!may_drop) {
        router->dropping = false;
        return packet;
    }
    if (!router->dropping) {
        drop(host, router, packet);
        packet = dequeue(router, now, &may_drop);
        router->dropping = true;
        uint64_t delta = router->drop_count - router->previous_drop_count;
        bool recently = router->ever_dropped && now - router->drop_next < 16 * INTERVAL;
        router->drop_count = recently && delta > 1 ? delta : 1;
        router->drop_next = router_control_law(now, router->drop_count);
        router->previous_drop_count = router->drop_count;
        router->ever_dropped = true;
        return packet;
    }
    while (router->dropping && now >= router->drop_next) {
        drop(host, router, packet);
        router->drop_count++;
        packet = dequeue(router, now, &may_drop);
        if (may_drop)
            router->drop_next = router_control_law(router->drop_next, router->drop_count);
        else
            router->dropping = false;
    }
    return packet;
}
