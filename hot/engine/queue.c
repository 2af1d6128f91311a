/* Events of one host, and the pool that packets in flight come from.
 *
 * Called by route.c (arrivals) and run.c; calls nothing. No allocation per packet once the pool has grown. Most packets
 * of a host arrive in the order in which they are routed: those cost a place in a ring, the others a way through a
 * heap.
 */
#include "engine.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Whole cache lines; 1536 bytes hold a packet as long as the MTU. */
static const uint32_t class_sizes[PACKET_CLASSES] = {128, 256, 640, 1088, 1536, 4096, 16384, 66560};

/* Slabs grow with what is in flight, up to a huge page: packets lie scattered, and each page of 4 KiB would be looked
 * up in the page tables anew. */
#define CACHE_LINE 64u
#define SLAB_LEAST ((size_t)128 << 10)
#define SLAB_MOST ((size_t)2 << 20)

struct pool_slab {
    struct pool_slab *next; /* packets begin at the next cache line */
};

static struct wire_packet *carve(struct packet_pool *pool, uint32_t size) {
    if (pool->unused < size) {
        size_t length = pool->slabs ? KMIN(2 * pool->slab_length, SLAB_MOST) : SLAB_LEAST;
        struct pool_slab *slab = aligned_alloc(length, length);
        if (!slab)
            return NULL;
        if (length == SLAB_MOST)
            (void)madvise(slab, length, MADV_HUGEPAGE); /* without, it is slower */
        slab->next = pool->slabs;
        pool->slabs = slab;
        pool->slab_length = length;
        pool->unused = length - CACHE_LINE;
    }
    struct wire_packet *packet = (struct wire_packet *)((uint8_t *)pool->slabs + pool->slab_length - pool->unused);
    pool->unused -= size;
    return packet;
}

struct wire_packet *pool_take(struct packet_pool *pool, const uint8_t *bytes, uint32_t length) {
    uint32_t class = 0;
    while (class < PACKET_CLASSES && class_sizes[class] < sizeof(struct wire_packet) + length)
        class++;
    if (class == PACKET_CLASSES)
        return NULL;
    struct wire_packet *packet = pool->free[class];
    if (packet)
        pool->free[class] = packet->next;
    else if (!(packet = carve(pool, class_sizes[class])))
        return NULL;
    packet->next = NULL;
    packet->length = length;
    packet->size_class = class;
    memcpy(packet->bytes, bytes, length);
    return packet;
}

void pool_give(struct packet_pool *pool, struct wire_packet *packet) {
    packet->next = pool->free[packet->size_class];
    pool->free[packet->size_class] = packet;
}

void pool_free(struct packet_pool *pool) {
    for (struct pool_slab *slab; (slab = pool->slabs) != NULL;) {
        pool->slabs = slab->next;
        free(slab);
    }
    *pool = (struct packet_pool){0};
}

static bool earlier(const struct event *left, const struct event *right) {
    if (left->time != right->time)
        return left->time < right->time;
    bool left_local = left->kind != EVENT_PACKET, right_local = right->kind != EVENT_PACKET;
    if (left_local != right_local)
        return right_local;
    if (left->source != right->source)
        return left->source < right->source;
    return left->id < right->id;
}

/* Into the heap, and so starts and shutdowns, too: behind one of them in the ring nothing would be in order for long,
 * for they lie far ahead. */
int queue_push(struct event_queue *queue, const struct event *event) {
    if (queue->heap_count == queue->heap_capacity) {
        size_t capacity = queue->heap_capacity ? 2 * queue->heap_capacity : 16;
        struct event *heap = realloc(queue->heap, capacity * sizeof *heap);
        if (!heap)
            return -1;
        queue->heap = heap;
        queue->heap_capacity = capacity;
    }
    size_t index = queue->heap_count++;
    while (index && earlier(event, &queue->heap[(index - 1) / 2])) {
        queue->heap[index] = queue->heap[(index - 1) / 2];
        index = (index - 1) / 2;
    }
    queue->heap[index] = *event;
    return 0;
}

static struct event heap_pop(struct event_queue *queue) {
    struct event first = queue->heap[0];
    struct event last = queue->heap[--queue->heap_count];
    size_t index = 0;
    for (size_t child; (child = 2 * index + 1) < queue->heap_count; index = child) {
        if (child + 1 < queue->heap_count && earlier(&queue->heap[child + 1], &queue->heap[child]))
            child++;
        if (!earlier(&queue->heap[child], &last))
            break;
        queue->heap[index] = queue->heap[child];
    }
    queue->heap[index] = last;
    return first;
}

static struct event *ring_at(const struct event_queue *queue, size_t place) {
    return &queue->ring[(queue->ring_first + place) & (queue->ring_capacity - 1)];
}

static int ring_grow(struct event_queue *queue) {
    size_t capacity = queue->ring_capacity ? 2 * queue->ring_capacity : 16;
    struct event *ring = malloc(capacity * sizeof *ring);
    if (!ring)
        return -1;
    for (size_t i = 0; i < queue->ring_count; i++)
        ring[i] = *ring_at(queue, i);
    free(queue->ring);
    queue->ring = ring;
    queue->ring_first = 0;
    queue->ring_capacity = capacity;
    return 0;
}

int queue_push_packet(struct event_queue *queue, int64_t time, uint32_t source, uint64_t id,
                      struct wire_packet *packet) {
    struct event event = {.time = time, .id = id, .source = source, .kind = EVENT_PACKET, .u = {.packet = packet}};
    if (queue->ring_count && !earlier(ring_at(queue, queue->ring_count - 1), &event))
        return queue_push(queue, &event);
    if (queue->ring_count == queue->ring_capacity && ring_grow(queue))
        return -1;
    /* Not by a copy of `event`: its wide loads would wait until the stores of the packet's bytes have left the
     * processor, for they span several stores behind those. */
    struct event *place = ring_at(queue, queue->ring_count++);
    place->time = time;
    place->id = id;
    place->source = source;
    place->kind = EVENT_PACKET;
    place->u.packet = packet;
    return 0;
}

static bool ring_is_first(const struct event_queue *queue) {
    return queue->ring_count && (!queue->heap_count || earlier(ring_at(queue, 0), &queue->heap[0]));
}

const struct event *queue_first(const struct event_queue *queue) {
    if (ring_is_first(queue))
        return ring_at(queue, 0);
    return queue->heap_count ? &queue->heap[0] : NULL;
}

struct event queue_pop(struct event_queue *queue) {
    if (!ring_is_first(queue))
        return heap_pop(queue);
    struct event first = *ring_at(queue, 0);
    queue->ring_first++;
    queue->ring_count--;
    return first;
}

void queue_skip(struct event_queue *queue, struct packet_pool *pool, int64_t end) {
    for (const struct event *first; (first = queue_first(queue)) && first->time < end;) {
        struct event event = queue_pop(queue);
        if (event.kind == EVENT_PACKET)
            pool_give(pool, event.u.packet);
    }
}

void queue_free(struct event_queue *queue, struct packet_pool *pool) {
    for (size_t i = 0; i < queue->heap_count; i++)
        if (queue->heap[i].kind == EVENT_PACKET)
            pool_give(pool, queue->heap[i].u.packet);
    for (size_t i = 0; i < queue->ring_count; i++)
        pool_give(pool, ring_at(queue, i)->u.packet);
    free(queue->heap);
    free(queue->ring);
    *queue = (struct event_queue){0};
}
