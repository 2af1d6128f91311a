/* One window: every host's events before its end, in order, and the turns that they cause.
 *
 * At one time, packets come first (by source and its event number), then the host's own events, then kernel timers;
 * then the threads that became runnable have the turn; then what they sent goes through the uplink relay.
 */
#include "engine.h"
#include "hot/kernel/internal.h"
#include "hot/kernel/process.h"

#include <string.h>

#define REAP_INTERVAL (200 * NS_PER_MS)

int host_schedule(struct engine *engine, struct engine_host *host, int64_t time, enum event_kind kind,
                  uint32_t process) {
    struct event event = {.time = time, .id = host->local_events++, .kind = kind};
    event.u.process = process;
    if (queue_push(&host->queue, &event))
        return engine_fail(engine, ENGINE_OS_ERROR, ENOMEM, host->kernel->name, "no memory for events");
    int64_t *next = &engine->next_time[host - engine->hosts];
    *next = KMIN(*next, time);
    return 0;
}

static int capture(struct engine *engine, struct engine_host *host, const uint8_t *bytes, uint32_t length) {
    int result = host->pcap ? pcap_write(host->pcap, host->kernel->now, bytes, length) : 0;
    if (result)
        return engine_fail(engine, ENGINE_OS_ERROR, -result, host->pcap_path, "the capture file cannot be written");
    return 0;
}

/* Shadow's bootstrap phase: bandwidth is unlimited and nothing is lost, so that networks form quickly. */
static int64_t take_bandwidth(const struct engine *engine, struct token_bucket *bucket, int64_t now, uint32_t length) {
    return now < engine->options.bootstrap_end ? now : bucket_take(bucket, now, length);
}

static int run_uplink(struct engine *engine, struct engine_host *host) {
    struct host *kernel = host->kernel;
    if (host->uplink_scheduled)
        return 0;
    for (struct packet *packet; (packet = net_egress_peek(kernel)) != NULL;) {
        int64_t when = take_bandwidth(engine, &host->uplink, kernel->now, packet->length);
        if (when > kernel->now) {
            host->uplink_scheduled = true;
            return host_schedule(engine, host, when, EVENT_UPLINK, 0);
        }
        net_egress_pop(kernel);
        int result = capture(engine, host, packet->data, packet->length);
        if (result == 0)
            result = route_packet(engine, host, packet->data, packet->length);
        net_sent(kernel, packet);
        if (result)
            return result;
    }
    return 0;
}

static int run_downlink(struct engine *engine, struct engine_host *host) {
    struct host *kernel = host->kernel;
    if (host->downlink_scheduled)
        return 0;
    for (;;) {
        struct wire_packet *packet =
            host->arriving ? host->arriving : router_pop(&host->router, &engine->pool, kernel->now);
        host->arriving = NULL;
        if (!packet)
            return 0;
        int64_t when = take_bandwidth(engine, &host->downlink, kernel->now, packet->length);
        if (when > kernel->now) {
            host->arriving = packet;
            host->downlink_scheduled = true;
            return host_schedule(engine, host, when, EVENT_DOWNLINK, 0);
        }
        int result = capture(engine, host, packet->bytes, packet->length);
        net_receive(kernel, packet->bytes, packet->length);
        pool_give(&engine->pool, packet);
        if (result)
            return result;
    }
}

static void shut_down(struct engine_host *host, uint32_t index) {
    const struct managed *managed = &host->processes[index];
    struct process *process = managed->started ? process_find(host->kernel, managed->pid) : NULL;
    if (!process || process->zombie)
        return;
    struct signal_info info = {.signo = managed->shutdown_signal}; /* code 0, SI_USER, from nobody's pid */
    (void)signal_send_process(process, managed->shutdown_signal, &info);
}

static int handle(struct engine *engine, struct engine_host *host, const struct event *event) {
    switch ((enum event_kind)event->kind) {
    case EVENT_PACKET:
        router_push(&host->router, &engine->pool, event->u.packet, event->time);
        return run_downlink(engine, host);
    case EVENT_DOWNLINK:
        host->downlink_scheduled = false;
        return run_downlink(engine, host);
    case EVENT_UPLINK:
        host->uplink_scheduled = false;
        return run_uplink(engine, host);
    case EVENT_START:
        return process_spawn(engine, host, event->u.process);
    case EVENT_SHUTDOWN:
        shut_down(host, event->u.process);
        return 0;
    }
    return engine_fail(engine, ENGINE_BROKEN, 0, host->kernel->name, "an event of unknown kind %u", event->kind);
}

int host_run_tasks(struct engine *engine, struct engine_host *host) {
    struct host *kernel = host->kernel;
    for (;;) {
        net_run_backlog(kernel);
        for (struct task *task; (task = task_next(kernel)) != NULL;)
            if (turn_give(engine, host, task))
                return -1;
        if (run_uplink(engine, host))
            return -1;
        /* What left the host may have made room for its senders. */
        net_run_backlog(kernel);
        if (list_empty(&kernel->run_queue) && (host->uplink_scheduled || !net_egress_peek(kernel)))
            return 0;
    }
}

static int run_host(struct engine *engine, struct engine_host *host, int64_t end) {
    struct host *kernel = host->kernel;
    int64_t time;
    while ((time = KMIN(queue_next(&host->queue), timer_next(kernel))) < end) {
        kernel->now = KMAX(kernel->now, time);
        while (queue_next(&host->queue) <= kernel->now) {
            struct event event = queue_pop(&host->queue);
            engine->events_executed++;
            if (handle(engine, host, &event))
                return -1;
        }
        if (timer_next(kernel) <= kernel->now) {
            engine->events_executed++;
            timers_run(kernel);
        }
        if (host_run_tasks(engine, host))
            return -1;
    }
    engine->next_time[host - engine->hosts] = time;
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
