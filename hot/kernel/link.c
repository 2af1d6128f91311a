/* Both directions of the access link, and the host's events in order.
 *
 * At one time packets come first (by source and its event number: the shard's order), then packets that waited for
 * bandwidth, then kernel timers; then the tasks that became runnable have the turn; then what they sent goes through
 * the uplink's relay. Called by task.c, when a task has nothing to do, and by the shard; calls ip.c, packet_socket.c
 * and timer.c.
 */
#include "link.h"
#include "internal.h"
#include "packet_socket.h"

/* The shard takes over after so many bytes, so that a window of any length needs little of the arena. */
#define FULL_AFTER (UINT64_C(256) << 10)

int link_create(struct host *host) {
    struct link *link = kalloc(host, sizeof *link);
    if (!link)
        return -ENOMEM;
    bucket_init(&link->uplink, NEVER);
    bucket_init(&link->downlink, NEVER);
    link->uplink_wait.until = link->downlink_wait.until = NEVER;
    host->link = link;
    return 0;
}

void link_arrival(struct host *host, int64_t time, const uint8_t *bytes, uint32_t length) {
    struct packet *packet = packet_create(host, length);
    if (!packet) {
        host->counters.packets_dropped_buffer++;
        return;
    }
    memcpy(packet->data, bytes, length);
    packet->time = time;
    packet_queue_push(&host->link->inbox, packet);
}

bool link_full(const struct host *host) { return host->link->outbox.bytes + host->link->captured.bytes >= FULL_AFTER; }

static int64_t take_bandwidth(const struct host *host, struct token_bucket *bucket, uint32_t length) {
    return host->now < host->link->bootstrap_end ? host->now : bucket_take(bucket, host->now, length);
}

static void wait_until(struct link *link, struct link_wait *wait, int64_t when) {
    wait->until = when;
    wait->order = link->waits++;
}

static void capture(struct host *host, const struct packet *packet) {
    if (!host->link->capture)
        return;
    struct packet *copy = packet_create(host, packet->length);
    if (!copy) {
        platform_warn(host, NULL, "a packet of %u bytes is missing in the capture file: the host has no memory",
                      packet->length);
        return;
    }
    memcpy(copy->data, packet->data, packet->length);
    packet_queue_push(&host->link->captured, copy);
}

static void run_uplink(struct host *host) {
    struct link *link = host->link;
    if (link->uplink_wait.until != NEVER)
        return;
    for (struct packet *packet; (packet = net_egress_peek(host)) != NULL;) {
        int64_t when = take_bandwidth(host, &link->uplink, packet->length);
        if (when > host->now) {
            wait_until(link, &link->uplink_wait, when);
            return;
        }
        net_egress_pop(host);
        capture(host, packet);
        packet_socket_tap(host, packet, INTERFACE_ETH, PACKET_OUTGOING);
        if (packet->stamps)
            timestamping_left(host, packet, INTERFACE_ETH);
        net_left(host, packet);
        packet->time = host->now;
        packet_queue_push(&link->outbox, packet);
    }
}

static void run_downlink(struct host *host) {
    struct link *link = host->link;
    if (link->downlink_wait.until != NEVER)
        return;
    for (;;) {
        struct packet *packet = link->arriving ? link->arriving : router_pop(host, &link->router);
        link->arriving = NULL;
        if (!packet)
            return;
        int64_t when = take_bandwidth(host, &link->downlink, packet->length);
        if (when > host->now) {
            link->arriving = packet;
            wait_until(link, &link->downlink_wait, when);
            return;
        }
        capture(host, packet);
        packet_socket_tap(host, packet, INTERFACE_ETH, PACKET_HOST);
        net_receive(host, packet);
    }
}

void host_take_packets(struct host *host) {
    struct link *link = host->link;
    while (link->inbox.head && link->inbox.head->time <= host->now) {
        host->counters.events++;
        router_push(host, &link->router, packet_queue_pop(&link->inbox));
        run_downlink(host);
    }
}

static bool due(const struct host *host, const struct link_wait *wait, const struct link_wait *other) {
    return wait->until <= host->now && (other->until > host->now || wait->until < other->until ||
                                        (wait->until == other->until && wait->order < other->order));
}

void host_take_the_rest(struct host *host) {
    struct link *link = host->link;
    for (;;) {
        if (due(host, &link->uplink_wait, &link->downlink_wait)) {
            link->uplink_wait.until = NEVER;
            host->counters.events++;
            run_uplink(host);
        } else if (due(host, &link->downlink_wait, &link->uplink_wait)) {
            link->downlink_wait.until = NEVER;
            host->counters.events++;
            run_downlink(host);
        } else {
            break;
        }
    }
    if (timer_next(host) <= host->now) {
        host->counters.events++;
        timers_run(host);
    }
    net_run_backlog(host);
}

int64_t host_next_time(const struct host *host) {
    const struct link *link = host->link;
    int64_t time = KMIN(timer_next(host), KMIN(link->uplink_wait.until, link->downlink_wait.until));
    return link->inbox.head ? KMIN(time, link->inbox.head->time) : time;
}

struct task *host_next(struct host *host) {
    for (;;) {
        struct task *task = task_next(host);
        if (task || !host->limit)
            return task;
        run_uplink(host);
        /* What left the host may have made room for its senders. */
        net_run_backlog(host);
        if (!list_empty(&host->run_queue) || (host->link->uplink_wait.until == NEVER && net_egress_peek(host)))
            continue;
        int64_t time = host_next_time(host);
        if (time >= host->limit || link_full(host))
            return NULL;
        host->now = KMAX(host->now, time);
        host_take_packets(host);
        host_take_the_rest(host);
    }
}
