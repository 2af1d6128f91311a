/* Events of one host in a binary heap, and the pool that packets in flight come from.
 *
 * Called by route.c (arrivals) and run.c; calls nothing. No allocation per packet once the pool has grown.
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

int queue_push(struct event_queue *queue, const struct event *event) {
    if (queue->count == queue->capacity) {
        size_t capacity = queue->capacity ? 2 * queue->capacity : 16;
        struct event *heap = realloc(queue->heap, capacity * sizeof *heap);
        if (!heap)
            return -1;
        queue->heap = heap;
        queue->capacity = capacity;
    }
    size_t index = queue->count++;
    while (index && earlier(event, &queue->heap[(index - 1) / 2])) {
        queue->heap[index] = queue->heap[(index - 1) / 2];
        index = (index - 1) / 2;
    }
    queue->heap[index] = *event;
    return 0;
}

struct event queue_pop(struct event_queue *queue) {
    struct event first = queue->heap[0];
    struct event last = queue->heap[--queue->count];
    size_t index = 0;
    for (size_t child; (child = 2 * index + 1) < queue->count; index = child) {
        if (child + 1 < queue->count && earlier(&queue->heap[child + 1], &queue->heap[child]))
            child++;
        if (!earlier(&queue->heap[child], &last))
            break;
        queue->heap[index] = queue->heap[child];
    }
    queue->heap[index] = last;
    return first;
}

void queue_clear(struct event_queue *queue, struct packet_pool *pool) {
    for (size_t i = 0; i < queue->count; i++)
        if (queue->heap[i].kind == EVENT_PACKET)
            pool_give(pool, queue->heap[i].u.packet);
    queue->count = 0;
}
