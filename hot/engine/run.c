/* One window: every host's events before its end, in order, and the turns that they cause.
 *
 * A host gets what is due (its inbox) and then runs on, in the kernel's host_next, as far as it may: here while no task
 * is runnable, in the managed thread that has the turn otherwise. So a host costs two hand-overs a window, not two a
 * packet. What it sent and captured is taken from it when the turn is back. Starts and shutdowns of processes are the
 * shard's own events; at one time they come after packets.
 */
#include "engine.h"
#include "hot/kernel/internal.h"
#include "hot/kernel/process.h"

#include <string.h>

#define REAP_INTERVAL (200 * NS_PER_MS)
/* A host gets no more of a window at once, so that a window of any length needs little of its arena. */
#define FEED_LIMIT (UINT64_C(256) << 10)

int host_schedule(struct engine *engine, struct engine_host *host, int64_t time, enum event_kind kind,
                  uint32_t process) {
    struct event event = {.time = time, .id = host->local_events++, .kind = kind};
    event.u.process = process;
    if (queue_push(&host->queue, &event))
        return engine_fail(engine, ENGINE_OS_ERROR, ENOMEM, host->name, "no memory for events");
    int64_t *next = &engine->next_time[host - engine->hosts];
    *next = KMIN(*next, time);
    return 0;
}

/* Moves arrivals before `end` into the host. Returns how far the host may then go on by itself: to `end`, to an event
 * of the shard's own, or to an arrival that it has not got yet. */
static int64_t feed(struct engine *engine, struct engine_host *host, int64_t end) {
    struct host *kernel = host->kernel;
    struct packet_queue *inbox = &kernel->link->inbox;
    for (int64_t time; (time = queue_next(&host->queue)) < end;) {
        if (host->queue.heap[0].kind != EVENT_PACKET || (inbox->bytes >= FEED_LIMIT && time > inbox->tail->time))
            return time;
        struct wire_packet *wire = queue_pop(&host->queue).u.packet;
        struct packet *packet = packet_create(kernel, wire->length);
        if (packet) {
            memcpy(packet->data, wire->bytes, wire->length);
            packet->time = time;
            packet_queue_push(inbox, packet);
        } else {
            kernel->counters.packets_dropped_buffer++;
        }
        pool_give(&engine->pool, wire);
    }
    return end;
}

/* Takes what the host has sent and captured. */
static int drain(struct engine *engine, struct engine_host *host) {
    struct host *kernel = host->kernel;
    struct link *link = kernel->link;
    int result = 0;
    for (struct packet *packet; (packet = packet_queue_pop(&link->captured)) != NULL;) {
        int error = pcap_write(host->pcap, packet->time, packet->data, packet->length);
        packet_free(kernel, packet);
        if (error)
            result =
                engine_fail(engine, ENGINE_OS_ERROR, -error, host->pcap_path, "the capture file cannot be written");
    }
    for (struct packet *packet; (packet = packet_queue_pop(&link->outbox)) != NULL;) {
        if (result == 0)
            result = route_packet(engine, host, packet);
        packet_free(kernel, packet);
    }
    return result;
}

static void shut_down(struct engine_host *host, uint32_t index) {
    const struct managed *managed = &host->processes[index];
    struct process *process = managed->started ? process_find(host->kernel, managed->pid) : NULL;
    if (!process || process->zombie)
        return;
    struct signal_info info = {.signo = managed->shutdown_signal}; /* code 0, SI_USER, from nobody's pid */
    (void)signal_send_process(process, managed->shutdown_signal, &info);
}

/* The instant of an event of the shard's own: nobody else lets time pass meanwhile. */
static int run_own_events(struct engine *engine, struct engine_host *host, int64_t time) {
    struct host *kernel = host->kernel;
    kernel->limit = 0;
    kernel->now = KMAX(kernel->now, time);
    host_take_packets(kernel);
    while (queue_next(&host->queue) <= time) {
        struct event event = queue_pop(&host->queue);
        kernel->counters.events++;
        if (event.kind == EVENT_SHUTDOWN)
            shut_down(host, event.u.process);
        else if (process_spawn(engine, host, event.u.process))
            return -1;
    }
    host_take_the_rest(kernel);
    return 0;
}

static int run_host(struct engine *engine, struct engine_host *host, int64_t end) {
    if (host_wake(engine, host))
        return -1;
    struct host *kernel = host->kernel;
    uint64_t events = kernel->counters.events;
    for (;;) {
        int64_t limit = kernel->limit = feed(engine, host, end);
        struct task *task = host_next(kernel);
        if (task && turn_give(engine, host, task))
            return -1;
        bool more = task || link_full(kernel);
        if (drain(engine, host))
            return -1;
        if (more)
            continue;
        if (limit >= end)
            break;
        if (host->queue.heap[0].kind != EVENT_PACKET && run_own_events(engine, host, limit))
            return -1;
    }
    engine->events_executed += kernel->counters.events - events;
    engine->next_time[host - engine->hosts] = KMIN(queue_next(&host->queue), host_next_time(kernel));
    engine->warnings |= !list_empty(&kernel->warnings);
    return 0;
}

static void reap_now_and_then(struct engine *engine) {
    int64_t now = wall_clock();
    if (now - engine->last_reap < REAP_INTERVAL)
        return;
    engine->last_reap = now;
    for (uint32_t i = 0; i < engine->host_count; i++)
        reap_dead(engine, &engine->hosts[i]);
}

int engine_run_until(struct engine *engine, int64_t window_end) {
    engine->outbound.count = 0;
    engine->window_end = window_end;
    reap_now_and_then(engine);
    for (uint32_t i = 0; i < engine->host_count; i++)
        if (engine->next_time[i] < window_end && run_host(engine, &engine->hosts[i], window_end))
            return -1;
    return 0;
}

int64_t engine_next_time(const struct engine *engine) {
    int64_t earliest = NEVER;
    for (uint32_t i = 0; i < engine->host_count; i++)
        earliest = KMIN(earliest, engine->next_time[i]);
    return earliest;
}
