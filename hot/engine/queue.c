/* Events of one host, and the pool that packets in flight come from.
 *
 * Called by route.c (arrivals) and run.c; calls nothing. No allocation per packet once the pool has grown. Most packets
 * of a host arrive in the order in which they are routed: those cost a place in a ring, the others a way through a
 * heap.
 */
#include "engine.h"

#include <stdlib.h>
#include <string.h>

static const uint32_t class_sizes[PACKET_CLASSES] = {256, 2048, 16384, 66560};

struct wire_packet *pool_take(struct packet_pool *pool, const uint8_t *bytes, uint32_t length) {
    uint32_t class = 0;
    while (class < PACKET_CLASSES && class_sizes[class] < sizeof(struct wire_packet) + length)
        class++;
    if (class == PACKET_CLASSES)
        return NULL;
    struct wire_packet *packet = pool->free[class];
    if (packet)
        pool->free[class] = packet->next;
    else if (!(packet = malloc(class_sizes[class])))
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
    for (uint32_t class = 0; class < PACKET_CLASSES; class++) {
        for (struct wire_packet *packet; (packet = pool->free[class]) != NULL;) {
            pool->free[class] = packet->next;
            free(packet);
        }
    }
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

static int heap_push(struct event_queue *queue, const struct event *event) {
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

static int ring_push(struct event_queue *queue, const struct event *event) {
    if (queue->ring_count == queue->ring_capacity) {
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
    }
    *ring_at(queue, queue->ring_count++) = *event;
    return 0;
}

int queue_push(struct event_queue *queue, const struct event *event) {
    /* Starts and shutdowns lie far ahead: behind one of them nothing would be in order for long. */
    bool in_order =
        event->kind == EVENT_PACKET && (!queue->ring_count || earlier(ring_at(queue, queue->ring_count - 1), event));
    return in_order ? ring_push(queue, event) : heap_push(queue, event);
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
