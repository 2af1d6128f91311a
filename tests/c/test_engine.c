/* The engine without processes: order of events, bandwidth, the router's queue, paths, columns, capture files. */
#include "harness.h"
#include "hot/engine/engine.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

#define MBIT INT64_C(1000000)
#define ADDRESS(n) (UINT32_C(0x0b000001) + (n)) /* 11.0.0.1 ... */
#define COLD_FIRST UINT32_C(0x64400000)         /* 100.64.0.0 */

static void check_order(const struct event *before, const struct event *event) {
    CHECK(before->time <= event->time);
    if (before->time == event->time) {
        CHECK((before->kind == EVENT_PACKET) >= (event->kind == EVENT_PACKET));
        if ((before->kind == EVENT_PACKET) == (event->kind == EVENT_PACKET)) {
            CHECK(before->source <= event->source);
            CHECK(before->source < event->source || before->id <= event->id);
        }
    }
}

static struct event pop_first(struct event_queue *queue, struct packet_pool *pool) {
    struct event first = *queue_first(queue), popped = queue_pop(queue);
    CHECK(first.time == popped.time && first.id == popped.id && first.source == popped.source);
    if (popped.kind == EVENT_PACKET)
        pool_give(pool, popped.u.packet);
    return popped;
}

static void push_packet(struct event_queue *queue, struct packet_pool *pool, const struct event *event) {
    struct wire_packet *packet = pool_take(pool, (const uint8_t *)"", 1);
    CHECK(packet && queue_push_packet(queue, event->time, event->source, event->id, packet) == 0);
}

/* More than a slab of each length, of all sizes, so that many do not fit what is left of one. */
static void packets_in_flight_keep_their_bytes(void) {
    static struct wire_packet *packets[20000];
    static uint8_t bytes[65580];
    struct packet_pool pool = {0};
    uint64_t random = 5;
    CHECK(pool_take(&pool, bytes, 66560) == NULL);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < ARRAY_LENGTH(packets); i++) {
            uint64_t draw = test_random(&random);
            uint32_t length = (uint32_t)(draw % 100 ? draw % 1700 : draw % sizeof bytes) + 4;
            memset(bytes, (int)(i % 251), length);
            memcpy(bytes, &i, 4);
            packets[i] = pool_take(&pool, bytes, length);
            CHECK(packets[i] && packets[i]->length == length);
        }
        for (uint32_t i = 0; i < ARRAY_LENGTH(packets); i++) {
            uint32_t length = packets[i]->length;
            CHECK(memcmp(packets[i]->bytes, &i, 4) == 0);
            for (uint32_t at = 4; at < length; at++)
                CHECK(packets[i]->bytes[at] == i % 251);
            pool_give(&pool, packets[i]);
        }
    }
    pool_free(&pool);
}

static void events_of_a_host_are_popped_in_order(void) {
    struct packet_pool pool = {0};
    struct event_queue queue = {0};
    uint64_t random = 7;
    for (int i = 0; i < 5000; i++) {
        uint64_t draw = test_random(&random);
        struct event event = {.time = (int64_t)(draw % 50), .id = (draw >> 8) % 100};
        event.source = (uint32_t)((draw >> 16) % 5);
        event.kind = (draw >> 24) % 2 ? EVENT_PACKET : EVENT_START;
        if (event.kind == EVENT_PACKET)
            push_packet(&queue, &pool, &event);
        else
            CHECK(queue_push(&queue, &event) == 0);
    }
    struct event before = pop_first(&queue, &pool);
    while (queue_first(&queue)) {
        struct event event = pop_first(&queue, &pool);
        check_order(&before, &event);
        before = event;
    }
    CHECK_EQUAL(queue_next(&queue), NEVER);
    queue_free(&queue, &pool);
    pool_free(&pool);
}

/* As paths of several latencies have it: mostly in order, with others before and after, while events are taken out. */
static void events_keep_their_order_while_others_come(void) {
    struct packet_pool pool = {0};
    struct event_queue queue = {0};
    uint64_t random = 11;
    struct event start = {.time = 4000000, .kind = EVENT_START}, before = {.time = -1};
    size_t waiting = 1;
    CHECK(queue_push(&queue, &start) == 0);
    for (int64_t now = 0, id = 0; now < 200000; now++) {
        for (uint64_t i = 0, count = test_random(&random) % 4; i < count; i++, id++, waiting++) {
            uint64_t draw = test_random(&random);
            int64_t latency = draw % 10 ? 1000 : 500 + (int64_t)(draw >> 8) % 4000;
            struct event event = {.time = now + latency, .id = (uint64_t)id, .source = (uint32_t)(draw >> 40) % 3};
            push_packet(&queue, &pool, &event);
        }
        for (; queue_next(&queue) <= now; waiting--) {
            struct event event = queue_pop(&queue);
            check_order(&before, &event);
            pool_give(&pool, event.u.packet);
            before = event;
        }
    }
    CHECK_EQUAL(queue.heap_count + queue.ring_count, waiting);
    CHECK(queue.ring_count > 0 && queue.heap_count > 1);
    queue_free(&queue, &pool);
    pool_free(&pool);
}

/* Sends `count` packets as fast as the bucket allows; returns when the last one left. */
static int64_t drain(struct token_bucket *bucket, int64_t now, int count, uint32_t length) {
    for (int i = 0; i < count; i++) {
        int64_t when = bucket_take(bucket, now, length);
        if (when > now) {
            now = when;
            CHECK_EQUAL(bucket_take(bucket, now, length), now);
        }
    }
    return now;
}

static void a_token_bucket_passes_its_rate_exactly(void) {
    static const int64_t rates[] = {56000, 1 * MBIT, 10 * MBIT + 1, 999 * MBIT, 100000 * MBIT};
    for (size_t i = 0; i < ARRAY_LENGTH(rates); i++) {
        struct token_bucket bucket;
        bucket_init(&bucket, rates[i]);
        int64_t bits = INT64_C(100000) * 1500 * 8, burst = rates[i] / 1000 + 1500 * 8;
        int64_t expected = (int64_t)((double)(bits - burst) / (double)rates[i] * 1e9);
        int64_t taken = drain(&bucket, 0, 100000, 1500);
        CHECK(taken >= expected - 100000 && taken <= expected + 100000);
    }
}

static void a_packet_larger_than_the_bucket_waits_for_its_own_serialisation(void) {
    struct token_bucket bucket;
    bucket_init(&bucket, 10 * MBIT);
    CHECK_EQUAL(bucket_take(&bucket, NS_PER_S, 60000), NS_PER_S + (60000 - 1500 - 1250) * 800);
    CHECK_EQUAL(bucket_take(&bucket, NS_PER_S + 45800000, 60000), NS_PER_S + 45800000);
    CHECK_EQUAL(bucket_take(&bucket, NS_PER_S + 45800000, 1500), NS_PER_S + 45800000 + 1500 * 800);
}

static struct packet *arrival_at(struct host *host, int64_t time) {
    struct packet *packet = packet_create(host, 1500);
    CHECK(packet);
    packet->time = time;
    return packet;
}

/* Packets come at `in` bits per second, and leave at 10 Mbit/s, for `seconds`; returns the number dropped. */
static uint64_t overload(int64_t in, int64_t seconds, int64_t *last_delay) {
    struct network *network = network_create(1, 1);
    struct host *host = network->hosts[0];
    struct router router = {0};
    int64_t arrival = 0;
    for (host->now = 0; host->now < seconds * NS_PER_S; host->now += 1200000) {
        for (; arrival <= host->now; arrival += INT64_C(12000) * NS_PER_S / in)
            router_push(host, &router, arrival_at(host, arrival));
        struct packet *packet = router_pop(host, &router);
        if (packet) {
            *last_delay = host->now - packet->time;
            packet_free(host, packet);
        }
    }
    network_free(network);
    return router.drops_delay;
}

static void codel_drops_only_from_a_standing_queue(void) {
    int64_t delay;
    CHECK_EQUAL(overload(9 * MBIT, 10, &delay), 0);
    CHECK(delay < 10 * NS_PER_MS);
    CHECK(overload(11 * MBIT, 30, &delay) > 100);
}

static void codel_enters_dropping_after_one_interval_above_the_target(void) {
    struct network *network = network_create(1, 1);
    struct host *host = network->hosts[0];
    struct router router = {0};
    for (int i = 0; i < 10; i++)
        router_push(host, &router, arrival_at(host, 0));
    static const int64_t times[] = {9, 10, 109, 110};
    static const uint64_t drops[] = {0, 0, 0, 1};
    for (size_t i = 0; i < ARRAY_LENGTH(times); i++) {
        host->now = times[i] * NS_PER_MS;
        packet_free(host, router_pop(host, &router));
        CHECK_EQUAL(router.drops_delay, drops[i]);
    }
    network_free(network);
}

static void codel_drops_at_the_intervals_of_its_control_law(void) {
    for (uint64_t count = 1; count < 3000000; count += 1 + count / 1000)
        CHECK_EQUAL(router_control_law(7, count), 7 + llround(100e6 / sqrt((double)count)));
}

/* ---- Two hosts ---- */

static struct ip_address address6(uint32_t host) {
    return (struct ip_address){UINT64_C(0xfd416e74756d0000), ADDRESS(host)};
}

static const uint32_t addresses[] = {ADDRESS(0), ADDRESS(1)}, ids[] = {0, 1};
static const uint32_t range_first[] = {COLD_FIRST}, range_size[] = {1000}, range_id[] = {2};
static int32_t nodes[1002];
static int64_t latency[] = {1 * NS_PER_MS, 50 * NS_PER_MS, 50 * NS_PER_MS, -1};
static double loss[4];
static uint32_t local[1002];

static int asked; /* how often a path was looked up */

static int find_path(struct engine *engine, size_t source_node, size_t destination_node, struct path *path) {
    (void)engine;
    asked++;
    path->latency_ns = latency[2 * source_node + destination_node];
    path->loss = loss[2 * source_node + destination_node];
    return 0;
}

static void two_hosts(struct engine *engine, uint64_t seed, int64_t bps, double path_loss) {
    *engine = (struct engine){.shim_fd = -1, .min_used_latency = NEVER};
    engine->options.seed = seed;
    engine->options.send_buffer = engine->options.receive_buffer = 1 << 20;
    CHECK(engine_add_host(engine, 0, "a", ADDRESS(0), address6(0), "/tmp", "/tmp", bps, bps));
    CHECK(engine_add_host(engine, 1, "b", ADDRESS(1), address6(1), "/tmp", "/tmp", bps, bps));
    CHECK(host_wake(engine, &engine->hosts[0]) == 0);
    memset(local, 0xff, sizeof local);
    local[0] = 0;
    local[1] = 1;
    nodes[1] = 1;
    loss[1] = path_loss;
    engine->local_of_host = local;
    engine->routes = (struct route_table){
        .address_count = 2,
        .range_count = 1,
        .node_count = 2,
        .host_count = 1002,
        .addresses = addresses,
        .address_ids = ids,
        .range_first = range_first,
        .range_size = range_size,
        .range_first_id = range_id,
        .prefix6 = {UINT64_C(0xfd416e74756d0000), 0},
        .node_of_host = nodes,
    };
    CHECK(route_init(&engine->routes) == 0);
    engine->find_path = find_path;
}

static void send_from_a(struct engine *engine, struct ip_address destination, int count, uint32_t length) {
    struct host *kernel = engine->hosts[0].kernel;
    for (int i = 0; i < count; i++) {
        struct packet *packet = packet_create(kernel, length);
        CHECK(packet);
        memset(packet->data, 0, length);
        uint32_t ip = ip_header_length(destination);
        put16(packet->data + ip, 1000);
        put16(packet->data + ip + 2, 2000);
        put16(packet->data + ip + 4, (uint16_t)(length - ip));
        ip_header(kernel, packet, PROTOCOL_UDP, inet_source_address(kernel, destination), destination, NULL);
        ip_output(kernel, packet);
    }
    kernel->now = engine->window_end;
    engine->next_time[0] = engine->window_end;
}

static void run_all(struct engine *engine) {
    for (int64_t next; (next = engine_next_time(engine)) != NEVER;)
        CHECK(engine_run_until(engine, next + NS_PER_MS) == 0);
}

static void a_packet_takes_the_latency_of_its_path(void) {
    struct engine engine;
    two_hosts(&engine, 1, 100 * MBIT, 0);
    send_from_a(&engine, ip4_address(ADDRESS(1)), 1, 100);
    run_all(&engine);
    CHECK_EQUAL(engine.hosts[1].kernel->counters.packets_received, 1);
    CHECK_EQUAL(engine.hosts[1].kernel->now, 50 * NS_PER_MS);
    CHECK_EQUAL(engine.min_used_latency, 50 * NS_PER_MS);
    engine_close(&engine);
}

static void a_host_without_processes_has_a_kernel_once_a_packet_comes(void) {
    struct engine engine;
    two_hosts(&engine, 1, 100 * MBIT, 0);
    CHECK(engine_run_until(&engine, 5 * NS_PER_MS) == 0);
    CHECK(!engine.hosts[1].kernel);
    send_from_a(&engine, ip4_address(ADDRESS(1)), 1, 500);
    run_all(&engine);
    CHECK_EQUAL(engine.hosts[1].kernel->counters.packets_received, 1);
    CHECK_EQUAL(engine.hosts[0].kernel->counters.packets_received, 1); /* nobody listens there */
    engine_close(&engine);
}

static void a_path_is_asked_for_once(void) {
    struct engine engine;
    two_hosts(&engine, 1, 100 * MBIT, 0);
    asked = 0;
    send_from_a(&engine, ip4_address(ADDRESS(1)), 20, 500);
    send_from_a(&engine, ip4_address(COLD_FIRST), 20, 500);
    run_all(&engine);
    CHECK_EQUAL(asked, 3); /* there, to the tail, and back with what no socket wants */
    CHECK_EQUAL(engine.hosts[1].kernel->counters.packets_received, 20);
    engine_close(&engine);
}

static int find_own_path(struct engine *engine, size_t source_node, size_t destination_node, struct path *path) {
    (void)engine;
    asked++;
    path->latency_ns = (int64_t)(NS_PER_MS * (1 + source_node) + destination_node);
    path->loss = 0;
    return 0;
}

/* Sends to all identities from a node, and checks that every packet met its own path. */
static void send_along_all_paths(struct engine *engine, uint32_t source, uint32_t identities) {
    nodes[0] = (int32_t)source;
    engine->outbound.count = 0;
    struct host *kernel = engine->hosts[0].kernel;
    struct packet *packet = packet_create(kernel, 28);
    CHECK(packet);
    memset(packet->data, 0, 28);
    for (uint32_t i = 0; i < identities; i++) {
        put32(packet->data + 16, COLD_FIRST + i);
        CHECK(route_packet(engine, &engine->hosts[0], packet) == 0);
        CHECK_EQUAL(engine->outbound.deliver_time[i], (int64_t)NS_PER_MS * (1 + source) + nodes[2 + i]);
    }
    packet_free(kernel, packet);
}

/* 3,000 x 3,000 pairs do not all fit: some take each other's place. */
static void of_too_many_paths_some_are_asked_for_again(void) {
    enum { NODES = 3000, IDENTITIES = 400 };
    struct engine engine;
    two_hosts(&engine, 1, 100 * MBIT, 0);
    route_free(&engine.routes);
    engine.routes.node_count = NODES;
    CHECK(route_init(&engine.routes) == 0);
    engine.find_path = find_own_path;
    for (int i = 0; i < IDENTITIES; i++)
        nodes[2 + i] = 3 * i;
    asked = 0;
    for (uint32_t source = 0; source < NODES; source++)
        send_along_all_paths(&engine, source, IDENTITIES);
    CHECK_EQUAL(asked, NODES * IDENTITIES);
    send_along_all_paths(&engine, NODES - 1, 10); /* still there */
    CHECK_EQUAL(asked, NODES * IDENTITIES);
    send_along_all_paths(&engine, 0, IDENTITIES);
    CHECK(asked > NODES * IDENTITIES);
    memset(nodes, 0, sizeof nodes);
    engine_close(&engine);
}

static void a_thousand_packets_take_what_the_bandwidth_says(void) {
    struct engine engine;
    two_hosts(&engine, 1, 10 * MBIT, 0);
    send_from_a(&engine, ip4_address(ADDRESS(1)), 1000, 1500);
    run_all(&engine);
    CHECK_EQUAL(engine.hosts[1].kernel->counters.packets_received, 1000);
    /* All but the burst of 1 ms and one MTU, at 800 ns a byte. */
    CHECK_EQUAL(engine.hosts[1].kernel->now, 50 * NS_PER_MS + (1000 * 1500 - 1500 - 1250) * 800);
    engine_close(&engine);
}

static uint64_t lost(uint64_t seed) {
    struct engine engine;
    two_hosts(&engine, seed, 100000 * MBIT, 0.1);
    send_from_a(&engine, ip4_address(ADDRESS(1)), 10000, 100);
    run_all(&engine);
    uint64_t count = engine.hosts[0].drops_loss;
    CHECK_EQUAL(engine.hosts[1].kernel->counters.packets_received + count, 10000);
    engine_close(&engine);
    return count;
}

static void loss_follows_its_probability_and_the_seed(void) {
    uint64_t first = lost(1);
    CHECK(first > 880 && first < 1120); /* four standard deviations */
    CHECK_EQUAL(lost(1), first);
    CHECK(lost(2) != first);
}

static void bootstrap_has_neither_loss_nor_bandwidth(void) {
    struct engine engine;
    two_hosts(&engine, 1, 1 * MBIT, 1.0);
    engine.options.bootstrap_end = NS_PER_S;
    CHECK(host_wake(&engine, &engine.hosts[1]) == 0);
    for (uint32_t i = 0; i < 2; i++)
        engine.hosts[i].kernel->link->bootstrap_end = NS_PER_S;
    send_from_a(&engine, ip4_address(ADDRESS(1)), 100, 1500);
    run_all(&engine);
    CHECK_EQUAL(engine.hosts[1].kernel->counters.packets_received, 100);
    CHECK_EQUAL(engine.hosts[1].kernel->now, 50 * NS_PER_MS);
    engine_close(&engine);
}

static void packets_for_others_leave_as_columns_after_the_window(void) {
    struct engine engine;
    two_hosts(&engine, 1, 100 * MBIT, 0);
    send_from_a(&engine, ip4_address(COLD_FIRST + 5), 3, 200);
    CHECK(engine_run_until(&engine, 5 * NS_PER_MS) == 0);
    CHECK_EQUAL(engine.outbound.count, 3);
    for (size_t i = 0; i < 3; i++) {
        CHECK_EQUAL(engine.outbound.destination[i], 7);
        CHECK_EQUAL(engine.outbound.deliver_time[i], 5 * NS_PER_MS); /* the path takes 1 ms, the window 5 */
        CHECK_EQUAL(engine.outbound.source_event[i], i);
        CHECK_EQUAL(engine.outbound.payload_offset[i + 1], 200 * (int64_t)(i + 1));
        CHECK_EQUAL(get32(engine.outbound.payload + engine.outbound.payload_offset[i] + 16), COLD_FIRST + 5);
    }
    engine_close(&engine);
}

static void ipv6_addresses_follow_the_rule_or_are_exceptions(void) {
    struct engine engine;
    two_hosts(&engine, 1, 100 * MBIT, 0);
    struct ip_address prefix = engine.routes.prefix6, cold = {prefix.high, COLD_FIRST + 999};
    CHECK_EQUAL(route_find(&engine.routes, (struct ip_address){prefix.high, ADDRESS(1)}), 1);
    CHECK_EQUAL(route_find(&engine.routes, cold), 1001);
    CHECK_EQUAL(route_find(&engine.routes, (struct ip_address){prefix.high, COLD_FIRST + 1000}), NO_HOST);
    CHECK_EQUAL(route_find(&engine.routes, (struct ip_address){prefix.high + 1, ADDRESS(1)}), NO_HOST);
    CHECK_EQUAL(route_find(&engine.routes, (struct ip_address){prefix.high, UINT64_C(1) << 32 | ADDRESS(1)}), NO_HOST);
    /* Host 1 has an address of its own, below and not instead of the computed one, which nobody has then. */
    struct ip_address own = {UINT64_C(0x20010db800000000), 7};
    uint8_t exceptions[32];
    static const uint32_t exception_ids[] = {1, NO_HOST};
    ip_put(exceptions, own);
    ip_put(exceptions + 16, (struct ip_address){prefix.high, ADDRESS(1)});
    engine.routes.exceptions = exceptions;
    engine.routes.exception_ids = exception_ids;
    engine.routes.exception_count = 2;
    CHECK_EQUAL(route_find(&engine.routes, own), 1);
    CHECK_EQUAL(route_find(&engine.routes, (struct ip_address){own.high, 8}), NO_HOST);
    CHECK_EQUAL(route_find(&engine.routes, (struct ip_address){prefix.high, ADDRESS(1)}), NO_HOST);
    CHECK_EQUAL(route_find(&engine.routes, (struct ip_address){prefix.high, ADDRESS(0)}), 0);
    engine_close(&engine);
}

/* Populations that share places have addresses in one order and ids in another. */
static void addresses_of_several_ranges_lead_to_their_ids(void) {
    static const uint32_t first[] = {COLD_FIRST, COLD_FIRST + 300, COLD_FIRST + 400, COLD_FIRST + 600};
    static const uint32_t size[] = {300, 100, 150, 400}, id[] = {402, 2, 702, 852};
    struct engine engine;
    two_hosts(&engine, 1, 100 * MBIT, 0);
    engine.routes.range_first = first;
    engine.routes.range_size = size;
    engine.routes.range_first_id = id;
    engine.routes.range_count = ARRAY_LENGTH(first);
    for (size_t i = 0; i < ARRAY_LENGTH(first); i++)
        for (uint32_t number = 0; number < size[i]; number++)
            CHECK_EQUAL(route_find(&engine.routes, ip4_address(first[i] + number)), id[i] + number);
    CHECK_EQUAL(route_find(&engine.routes, ip4_address(COLD_FIRST + 550)), NO_HOST); /* between two ranges */
    CHECK_EQUAL(route_find(&engine.routes, ip4_address(COLD_FIRST + 1000)), NO_HOST);
    CHECK_EQUAL(route_find(&engine.routes, address6(1)), 1);
    CHECK_EQUAL(route_find(&engine.routes, (struct ip_address){address6(1).high, COLD_FIRST + 350}), 52);
    engine_close(&engine);
}

static void both_versions_of_ip_meet_the_same_path(void) {
    for (int v6 = 0; v6 < 2; v6++) {
        struct engine engine;
        two_hosts(&engine, 1, 10 * MBIT, 0);
        send_from_a(&engine, v6 ? address6(1) : ip4_address(ADDRESS(1)), 100, 1500);
        run_all(&engine);
        CHECK_EQUAL(engine.hosts[1].kernel->counters.packets_received, 100);
        CHECK_EQUAL(engine.hosts[1].kernel->counters.bytes_received, 150000);
        static int64_t ended;
        CHECK(!v6 || engine.hosts[1].kernel->now == ended);
        ended = engine.hosts[1].kernel->now;
        engine_close(&engine);
    }
}

/* Where the shard stops to look must not be seen: one long window, or many that end anywhere. */
static uint64_t fingerprint_in_windows_of(int64_t window, uint64_t *received, uint64_t *events) {
    struct engine engine;
    two_hosts(&engine, 3, 20 * MBIT, 0.05);
    send_from_a(&engine, ip4_address(ADDRESS(1)), 2000, 1400);
    for (int64_t end = window; engine_next_time(&engine) != NEVER; end += window)
        CHECK(engine_run_until(&engine, KMIN(end, 10 * NS_PER_S)) == 0);
    *received = engine.hosts[1].kernel->counters.packets_received;
    *events = engine.events_executed;
    uint64_t fingerprint = engine.fingerprint;
    engine_close(&engine);
    return fingerprint;
}

static void results_do_not_depend_on_where_windows_end(void) {
    uint64_t received, events, other_received, other_events;
    uint64_t first = fingerprint_in_windows_of(50 * NS_PER_MS, &received, &events);
    CHECK(received > 1800 && received < 2000);
    static const int64_t windows[] = {NS_PER_MS, 777777, 49999999};
    for (size_t i = 0; i < ARRAY_LENGTH(windows); i++) {
        CHECK_EQUAL(fingerprint_in_windows_of(windows[i], &other_received, &other_events), first);
        CHECK_EQUAL(other_received, received);
        CHECK_EQUAL(other_events, events);
    }
}

static void unknown_addresses_are_counted(void) {
    struct engine engine;
    two_hosts(&engine, 1, 100 * MBIT, 0);
    CHECK_EQUAL(route_find(&engine.routes, ip4_address(COLD_FIRST + 999)), 1001);
    CHECK_EQUAL(route_find(&engine.routes, ip4_address(COLD_FIRST + 1000)), NO_HOST);
    CHECK_EQUAL(route_find(&engine.routes, ip4_address(ADDRESS(1))), 1);
    send_from_a(&engine, ip4_address(UINT32_C(0x01020304)), 4, 100);
    run_all(&engine);
    CHECK_EQUAL(engine.hosts[0].drops_no_route, 4);
    engine_close(&engine);
}

static void captures_hold_packets_with_valid_checksums(void) {
    char path[] = "/tmp/antumbra-test-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    struct pcap *pcap = pcap_open(path, 48);
    CHECK(pcap);
    uint8_t packet[64] = {0x45};
    put16(packet + 2, sizeof packet);
    packet[9] = PROTOCOL_UDP;
    put32(packet + 12, ADDRESS(0));
    put32(packet + 16, ADDRESS(1));
    put16(packet + 24, sizeof packet - IP_HEADER);
    CHECK_EQUAL(pcap_write(pcap, 3 * NS_PER_S + 7, packet, sizeof packet), 0);
    CHECK_EQUAL(pcap_close(pcap), 0);
    uint8_t file[256];
    CHECK_EQUAL(read(fd, file, sizeof file), 24 + 16 + 48);
    uint32_t record[4];
    memcpy(record, file + 24, sizeof record);
    CHECK_EQUAL(record[0], EPOCH_SECONDS + 3);
    CHECK_EQUAL(record[1], 7);
    CHECK_EQUAL(record[2], 48);
    CHECK_EQUAL(record[3], 64);
    uint32_t sum = 0;
    for (int i = 0; i < 20; i += 2)
        sum += get16(file + 40 + i);
    CHECK_EQUAL((sum & 0xffff) + (sum >> 16), 0xffff);
    CHECK(get16(file + 40 + 26) != 0);
    close(fd);
    unlink(path);
}

int main(void) {
    RUN(packets_in_flight_keep_their_bytes);
    RUN(events_of_a_host_are_popped_in_order);
    RUN(events_keep_their_order_while_others_come);
    RUN(a_token_bucket_passes_its_rate_exactly);
    RUN(a_packet_larger_than_the_bucket_waits_for_its_own_serialisation);
    RUN(codel_drops_only_from_a_standing_queue);
    RUN(codel_enters_dropping_after_one_interval_above_the_target);
    RUN(codel_drops_at_the_intervals_of_its_control_law);
    RUN(a_packet_takes_the_latency_of_its_path);
    RUN(a_host_without_processes_has_a_kernel_once_a_packet_comes);
    RUN(a_path_is_asked_for_once);
    RUN(of_too_many_paths_some_are_asked_for_again);
    RUN(a_thousand_packets_take_what_the_bandwidth_says);
    RUN(loss_follows_its_probability_and_the_seed);
    RUN(bootstrap_has_neither_loss_nor_bandwidth);
    RUN(packets_for_others_leave_as_columns_after_the_window);
    RUN(ipv6_addresses_follow_the_rule_or_are_exceptions);
    RUN(addresses_of_several_ranges_lead_to_their_ids);
    RUN(both_versions_of_ip_meet_the_same_path);
    RUN(results_do_not_depend_on_where_windows_end);
    RUN(unknown_addresses_are_counted);
    RUN(captures_hold_packets_with_valid_checksums);
    return 0;
}
