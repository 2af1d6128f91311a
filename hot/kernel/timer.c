/* Timers: one binary heap per host, ordered by (when, order of arming).
 *
 * The shard calls timers_run when the earliest one is due; that calls the owner's function by the timer's kind, since
 * function pointers cannot be shared between the shim and the engine.
 */
#include "internal.h"

void timer_init(struct timer *timer, enum timer_kind kind, uint8_t detail, void *owner) {
    memset(timer, 0, sizeof *timer);
    timer->owner = owner;
    timer->kind = (uint8_t)kind;
    timer->detail = detail;
}

static bool earlier(const struct timer *left, const struct timer *right) {
    return left->when != right->when ? left->when < right->when : left->sequence < right->sequence;
}

static void place(struct host *host, struct timer *timer, uint32_t index) {
    host->timer_heap[index] = timer;
    timer->heap_index = index;
}

static void sift_up(struct host *host, struct timer *timer, uint32_t index) {
    while (index > 1 && earlier(timer, host->timer_heap[index / 2])) {
        place(host, host->timer_heap[index / 2], index);
        index /= 2;
    }
    place(host, timer, index);
}

static void sift_down(struct host *host, struct timer *timer, uint32_t index) {
    for (uint32_t child; (child = 2 * index) <= host->timer_count; index = child) {
        if (child < host->timer_count && earlier(host->timer_heap[child + 1], host->timer_heap[child]))
            child++;
        if (!earlier(host->timer_heap[child], timer))
            break;
        place(host, host->timer_heap[child], index);
    }
    place(host, timer, index);
}

static bool reserve(struct host *host) {
    if (host->timer_count + 1 < host->timer_capacity)
        return true;
    uint32_t capacity = host->timer_capacity ? host->timer_capacity * 2 : 30;
    struct timer **heap = kalloc(host, capacity * sizeof *heap);
    if (!heap)
        return false;
    if (host->timer_heap)
        memcpy(heap, host->timer_heap, (host->timer_count + 1) * sizeof *heap);
    kfree(host, host->timer_heap);
    host->timer_heap = heap;
    host->timer_capacity = capacity;
    return true;
}

void timer_arm(struct host *host, struct timer *timer, int64_t when) {
    timer_cancel(host, timer);
    timer->when = when;
    timer->sequence = host->timer_sequence++;
    if (!reserve(host)) {
        timer_fire(host, timer);
        return;
    }
    host->timer_count++;
    sift_up(host, timer, host->timer_count);
}

static void remove_at(struct host *host, uint32_t index) {
    struct timer *last = host->timer_heap[host->timer_count--];
    if (index > host->timer_count)
        return;
    if (index > 1 && earlier(last, host->timer_heap[index / 2]))
        sift_up(host, last, index);
    else
        sift_down(host, last, index);
}

void timer_cancel(struct host *host, struct timer *timer) {
    uint32_t index = timer->heap_index;
    if (index == 0)
        return;
    timer->heap_index = 0;
    remove_at(host, index);
}

int64_t timer_next(const struct host *host) { return host->timer_count ? host->timer_heap[1]->when : NEVER; }

void timers_run(struct host *host) {
    while (host->timer_count && host->timer_heap[1]->when <= host->now) {
        struct timer *timer = host->timer_heap[1];
        remove_at(host, 1); /* wherever the timer says that it is: a process may have written to it */
        timer->heap_index = 0;
        timer_fire(host, timer);
    }
    net_run_backlog(host);
}

void timer_fire(struct host *host, struct timer *timer) {
    switch ((enum timer_kind)timer->kind) {
    case TIMER_TASK:
        task_timer(timer);
        return;
    case TIMER_TIMERFD:
        timerfd_fire(host, timer);
        return;
    case TIMER_ITIMER:
    case TIMER_POSIX:
        signal_timer(timer);
        return;
    case TIMER_TCP:
        tcp_timer(host, timer);
        return;
    case TIMER_NONE:
    case TIMER_KINDS:
        break;
    }
    platform_warn(host, NULL, "a timer of unknown kind %u fired", timer->kind);
}
