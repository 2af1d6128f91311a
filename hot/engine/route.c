/* From an address to a host, over a path: loss and latency are applied at the source, with the source's random numbers.
 *
 * Called by run.c for packets that left an uplink, and by the binding for those that other participants sent. What is
 * for a host of this shard goes into that host's queue; the rest is gathered as columns.
 */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

#define KIND_PACKET 1u /* bridge.batch.EventKind.PACKET */

static size_t last_not_after(const uint32_t *sorted, size_t count, uint32_t value) {
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (sorted[middle] <= value)
            low = middle + 1;
        else
            high = middle;
    }
    return low; /* one past it; 0: none */
}

static uint32_t find_v4(const struct route_table *table, uint32_t address) {
    size_t place = last_not_after(table->addresses, table->address_count, address);
    if (place && table->addresses[place - 1] == address)
        return table->address_ids[place - 1];
    place = last_not_after(table->range_first, table->range_count, address);
    if (place && address - table->range_first[place - 1] < table->range_size[place - 1])
        return table->range_first_id[place - 1] + (address - table->range_first[place - 1]);
    return NO_HOST;
}

static uint32_t find_v6(const struct route_table *table, struct ip_address address) {
    size_t low = 0, high = table->exception_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        struct ip_address exception = ip_get(table->exceptions + 16 * middle);
        if (ip_equal(exception, address))
            return table->exception_ids[middle];
        if (exception.high < address.high || (exception.high == address.high && exception.low < address.low))
            low = middle + 1;
        else
            high = middle;
    }
    bool follows_rule = address.high == table->prefix6.high && address.low >> 32 == table->prefix6.low >> 32;
    return follows_rule ? find_v4(table, (uint32_t)address.low) : NO_HOST;
}

uint32_t route_find(const struct route_table *table, struct ip_address address) {
    return ip_is_v4(address) ? find_v4(table, ip_v4(address)) : find_v6(table, address);
}

int route_init(struct route_table *table) {
    size_t pairs = table->node_count * table->node_count;
    table->path_bits = 0;
    while ((size_t)1 << table->path_bits < KMIN(pairs, MOST_PATHS))
        table->path_bits++;
    table->paths = calloc((size_t)1 << table->path_bits, sizeof *table->paths);
    return table->paths ? 0 : -1;
}

void route_free(struct route_table *table) {
    free(table->paths);
    table->paths = NULL;
}

static const struct path *find_path(struct engine *engine, uint32_t source, uint32_t destination) {
    struct route_table *table = &engine->routes;
    size_t from = (size_t)table->node_of_host[source], to = (size_t)table->node_of_host[destination];
    uint64_t pair = (uint64_t)from * table->node_count + to;
    size_t size = (size_t)1 << table->path_bits;
    /* Fibonacci hashing, where not every pair has a place of its own. */
    size_t place = table->node_count * table->node_count <= size
                       ? (size_t)pair
                       : (size_t)((pair * 0x9E3779B97F4A7C15ull) >> (64 - table->path_bits));
    struct path *path = &table->paths[place];
    if (path->name != pair + 1) {
        struct path found = {.name = pair + 1};
        if (engine->find_path(engine, from, to, &found))
            return NULL;
        *path = found;
    }
    return path;
}

static int grow(void **column, size_t count, size_t size) {
    void *grown = realloc(*column, count * size);
    if (!grown)
        return -1;
    *column = grown;
    return 0;
}

static int outbound_reserve(struct outbound *out, uint32_t length) {
    if (out->count == out->capacity) {
        size_t capacity = out->capacity ? 2 * out->capacity : 1024;
        if (grow((void **)&out->deliver_time, capacity, sizeof *out->deliver_time) ||
            grow((void **)&out->source, capacity, sizeof *out->source) ||
            grow((void **)&out->destination, capacity, sizeof *out->destination) ||
            grow((void **)&out->source_event, capacity, sizeof *out->source_event) ||
            grow((void **)&out->payload_offset, capacity + 1, sizeof *out->payload_offset))
            return -1;
        out->capacity = capacity;
    }
    size_t used = out->count ? (size_t)out->payload_offset[out->count] : 0;
    if (used + length > out->payload_capacity) {
        size_t capacity = 2 * out->payload_capacity + length + 65536;
        if (grow((void **)&out->payload, capacity, 1))
            return -1;
        out->payload_capacity = capacity;
    }
    return 0;
}

void outbound_free(struct outbound *out) {
    free(out->deliver_time);
    free(out->source);
    free(out->destination);
    free(out->source_event);
    free(out->payload_offset);
    free(out->payload);
    memset(out, 0, sizeof *out);
}

static int no_memory(struct engine *engine) {
    return engine_fail(engine, ENGINE_OS_ERROR, ENOMEM, "", "no memory for packets in flight");
}

int route_arrival(struct engine *engine, struct engine_host *destination, int64_t time, uint32_t source,
                  uint64_t source_event, const uint8_t *bytes, uint32_t length) {
    if (time < engine->window_end)
        return engine_fail(engine, ENGINE_BROKEN, 0, destination->name,
                           "event %llu of host %u is for %lld ns, and this host has already reached %lld ns",
                           (unsigned long long)source_event, source, (long long)time, (long long)engine->window_end);
    struct wire_packet *packet = pool_take(&engine->pool, bytes, length);
    if (!packet)
        return no_memory(engine);
    if (queue_push_packet(&destination->queue, time, source, source_event, packet)) {
        pool_give(&engine->pool, packet);
        return no_memory(engine);
    }
    int64_t *next = &engine->next_time[destination - engine->hosts];
    *next = KMIN(*next, time);
    return 0;
}

static int route_elsewhere(struct engine *engine, struct engine_host *host, uint32_t destination, int64_t time,
                           const uint8_t *bytes, uint32_t length) {
    struct outbound *out = &engine->outbound;
    if (outbound_reserve(out, length))
        return no_memory(engine);
    if (out->count == 0)
        out->payload_offset[0] = 0;
    size_t place = out->count++;
    out->deliver_time[place] = time;
    out->source[place] = host->id;
    out->source_event[place] = host->packet_events++;
    out->destination[place] = destination;
    memcpy(out->payload + out->payload_offset[place], bytes, length);
    out->payload_offset[place + 1] = out->payload_offset[place] + length;
    return 0;
}

static uint64_t mixed(uint64_t state, uint64_t word) {
    state = (state ^ word) * 0x9E3779B97F4A7C15u;
    return state ^ (state >> 32);
}

static uint64_t mixed_lane(uint64_t lane, const uint8_t *bytes) {
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    lane = mixed(lane, word);
    /* One by one: a vector of SSE2 has no multiplication of 64 bits, and what gcc makes instead is slow. */
    __asm__("" : "+r"(lane));
    return lane;
}

/* One packet's part of the fingerprint that bridge/batch_kernels.py computes of batches: equal for equal events. */
static uint64_t fingerprint(int64_t time, uint32_t source, uint32_t destination, uint64_t source_event,
                            const uint8_t *bytes, uint32_t length) {
    uint64_t state = mixed(0, (uint64_t)time);
    state = mixed(state, (uint64_t)source << 32 | destination);
    state = mixed(state, source_event);
    state = mixed(state, (uint64_t)KIND_PACKET << 32 | length);
    /* Four lanes, of which none waits for another; no array, which would be in memory. */
    uint64_t first = state, second = ~state, third = state >> 32, fourth = ~(state >> 32);
    uint32_t at = 0;
    for (; length - at >= 32; at += 32) {
        first = mixed_lane(first, bytes + at);
        second = mixed_lane(second, bytes + at + 8);
        third = mixed_lane(third, bytes + at + 16);
        fourth = mixed_lane(fourth, bytes + at + 24);
    }
    state = mixed(mixed(mixed(mixed(state, first), second), third), fourth);
    for (; at < length; at += 8) {
        uint64_t word = 0;
        memcpy(&word, bytes + at, KMIN(length - at, 8u));
        state = mixed(state, word);
    }
    return state;
}

int route_packet(struct engine *engine, struct engine_host *host, const struct packet *packet) {
    const uint8_t *bytes = packet->data;
    uint32_t length = packet->length;
    const struct route_table *routes = &engine->routes;
    struct ip_address address = bytes[0] >> 4 == 6 ? ip_get(bytes + 24) : ip4_address(get32(bytes + 16));
    if (!ip_equal(address, host->last_address)) {
        host->last_address = address;
        host->last_destination = route_find(routes, address);
    }
    uint32_t destination = host->last_destination;
    if (destination == NO_HOST) {
        host->drops_no_route++;
        return 0;
    }
    const struct path *path = find_path(engine, host->id, destination);
    if (!path)
        return -1;
    int64_t latency = path->latency_ns;
    if (latency < 0) {
        host->drops_no_route++;
        return 0;
    }
    if (path->loss > 0 && packet->time >= engine->options.bootstrap_end &&
        (double)(rng_next(host->kernel, RNG_PACKET_LOSS) >> 11) * 0x1p-53 < path->loss) {
        host->drops_loss++;
        return 0;
    }
    if (traffic_count(&host->traffic, destination, length))
        return no_memory(engine);
    engine->min_used_latency = KMIN(engine->min_used_latency, latency);
    /* A configured window may be longer than this path: what is sent inside a window never arrives inside it. */
    int64_t time = KMAX(packet->time + latency, engine->window_end);
    engine->fingerprint += fingerprint(time, host->id, destination, host->packet_events, bytes, length);
    uint32_t local = engine->local_of_host[destination];
    if (local == NO_HOST)
        return route_elsewhere(engine, host, destination, time, bytes, length);
    return route_arrival(engine, &engine->hosts[local], time, host->id, host->packet_events++, bytes, length);
}
