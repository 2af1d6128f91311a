/* A window: every host's events before its end, in order, and the turns that they cause.
 *
 * A host gets what is due (its inbox) and then runs on, in the kernel's host_next, as far as it may: here while no task
 * is runnable, in the managed thread that has the turn otherwise. So a host costs two hand-overs a window, not two a
 * packet. What it sent and captured is taken from it when the turn is back. Starts and shutdowns of processes are the
 * shard's own events; at one time they come after packets. Where a window tells nobody else anything, the next one
 * follows without asking the loop of windows (bridge/window.py).
 */
#include "engine.h"
#include "guard.h"
#include "hot/kernel/internal.h"
#include "hot/kernel/process.h"

#include <string.h>

#define LONGEST_PACKET (65535u + IP6_HEADER)
/* Of wall-clock time: then the user may want to stop, or to see how far it is. */
#define LONGEST_SPELL (20 * NS_PER_MS)
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

/* ---- What is done to an arena: under guard ---- */

struct step {
    struct engine *engine;
    struct engine_host *host;
    int64_t end;
    int64_t limit; /* how far the host went by itself: to `end`, to an event of the shard's own, or to an arrival that
                      it has not got yet */
    int64_t next_time; /* of the host's own events */
    struct task *task; /* has the turn next; NULL: nobody before the limit */
    bool full;         /* stopped before the limit, to be drained */
    int result;
};

/* Moves arrivals before `end` into the host. */
static int64_t feed(struct step *step, struct host *kernel) {
    struct event_queue *queue = &step->host->queue;
    uint64_t bytes = 0;
    const struct event *first;
    for (int64_t time, last = 0; (first = queue_first(queue)) && (time = first->time) < step->end; last = time) {
        if (first->kind != EVENT_PACKET || (bytes >= FEED_LIMIT && time > last))
            return time;
        struct wire_packet *wire = first->u.packet;
        /* First, since it may not return: the event stays where it is freed later. */
        link_arrival(kernel, time, wire->bytes, wire->length);
        bytes += wire->length;
        (void)queue_pop(queue);
        pool_give(&step->engine->pool, wire);
    }
    return step->end;
}

static void advance(struct host *kernel, void *context) {
    struct step *step = context;
    step->limit = kernel->limit = feed(step, kernel);
    step->task = host_next(kernel);
    step->full = link_full(kernel);
    step->next_time = host_next_time(kernel);
    if (step->task && !guard_holds(kernel, step->task, sizeof *step->task))
        guard_fail("a task outside of the host's memory");
    if (!step->task && !step->full && step->next_time < step->limit)
        guard_fail("a clock that does not move on");
    step->engine->warnings |= !list_empty(&kernel->warnings);
}

/* The next packet of a queue of the host's; what it says of itself is true. */
static struct packet *take(const struct step *step, struct host *kernel, struct packet_queue *queue, uint64_t *bytes) {
    const struct packet *head = queue->head;
    if (!head)
        return NULL;
    if (!guard_holds(kernel, head, sizeof *head) || head->length < IP_HEADER || head->length > LONGEST_PACKET ||
        !guard_holds(kernel, head, sizeof *head + head->length) || head->time < 0 || head->time >= step->end)
        guard_fail("a packet that cannot be");
    *bytes += sizeof *head + head->length;
    if (*bytes > ARENA_STRIDE)
        guard_fail("a list without an end");
    return packet_queue_pop(queue);
}

/* Takes what the host has sent and captured. */
static void drain(struct host *kernel, void *context) {
    struct step *step = context;
    struct engine_host *host = step->host;
    struct packet *packet;
    uint64_t bytes = 0;
    if (host->link->captured.head && !host->pcap)
        guard_fail("a capture that nobody asked for");
    while ((packet = take(step, kernel, &host->link->captured, &bytes)) != NULL) {
        guard_suspend();
        int error = pcap_write(host->pcap, packet->time, packet->data, packet->length);
        if (error)
            step->result = engine_fail(step->engine, ENGINE_OS_ERROR, -error, host->pcap_path,
                                       "the capture file cannot be written");
        guard_resume();
        packet_free(kernel, packet);
    }
    bool captured = bytes > 0;
    bytes = 0;
    while ((packet = take(step, kernel, &host->link->outbox, &bytes)) != NULL) {
        guard_suspend();
        if (step->result == 0)
            step->result = route_packet(step->engine, host, packet);
        guard_resume();
        packet_free(kernel, packet);
    }
    if (step->full && !captured && !bytes)
        guard_fail("a link that is full of nothing");
    /* Also if they said otherwise of themselves. */
    host->link->captured.bytes = host->link->outbox.bytes = 0;
}

struct shutdown {
    int32_t pid;
    int signal;
};

static void shut_down(struct host *kernel, void *context) {
    const struct shutdown *shutdown = context;
    struct process *process = process_find(kernel, shutdown->pid);
    if (!process || process->zombie)
        return;
    struct signal_info info = {.signo = shutdown->signal}; /* code 0, SI_USER, from nobody's pid */
    (void)signal_send_process(process, shutdown->signal, &info);
}

static void begin_instant(struct host *kernel, void *context) {
    const struct step *step = context;
    kernel->limit = 0; /* nobody lets time pass */
    kernel->now = KMAX(kernel->now, step->limit);
    host_take_packets(kernel);
}

static void end_instant(struct host *kernel, void *context) {
    (void)context;
    host_take_the_rest(kernel);
}

/* ---- */

/* The instant of an event of the shard's own. */
static int run_own_events(struct step *step) {
    struct engine *engine = step->engine;
    struct engine_host *host = step->host;
    if (!guard_call(host->kernel, begin_instant, step))
        return host_break(engine, host, "%s", guard_problem());
    while (!host->broken && queue_next(&host->queue) <= step->limit) {
        struct event event = queue_pop(&host->queue);
        const struct managed *managed = &host->processes[event.u.process];
        struct shutdown shutdown = {managed->pid, managed->shutdown_signal};
        engine->events_executed++;
        if (event.kind == EVENT_START) {
            if (process_spawn(engine, host, event.u.process))
                return -1;
        } else if (managed->started && !guard_call(host->kernel, shut_down, &shutdown)) {
            return host_break(engine, host, "%s", guard_problem());
        }
    }
    if (!host->broken && !guard_call(host->kernel, end_instant, step))
        return host_break(engine, host, "%s", guard_problem());
    return 0;
}

const char *engine_etc_directory;

static int run_host(struct engine *engine, struct engine_host *host, int64_t end) {
    if (host_wake(engine, host))
        return -1;
    engine_etc_directory = host->etc_directory;
    uint64_t events = host->kernel->counters.events;
    struct step step = {.engine = engine, .host = host, .end = end};
    while (!host->broken) {
        if (!guard_call(host->kernel, advance, &step))
            return host_break(engine, host, "%s", guard_problem());
        if (step.task && turn_give(engine, host, step.task))
            return -1;
        if (host->broken)
            break;
        if (!guard_call(host->kernel, drain, &step))
            return host_break(engine, host, "%s", guard_problem());
        if (step.result)
            return -1;
        if (step.task || step.full)
            continue;
        if (step.limit >= end) {
            engine->events_executed += host->kernel->counters.events - events;
            engine->next_time[host - engine->hosts] = KMIN(queue_next(&host->queue), step.next_time);
            break;
        }
        if (queue_first(&host->queue)->kind != EVENT_PACKET && run_own_events(&step))
            return -1;
    }
    return 0;
}

static int reap_now_and_then(struct engine *engine, int64_t now) {
    if (now - engine->last_reap < REAP_INTERVAL)
        return 0;
    engine->last_reap = now;
    return reap_dead(engine);
}

static int run_window(struct engine *engine, int64_t window_end, int64_t now) {
    engine->outbound.count = 0;
    engine->window_end = window_end;
    if (reap_now_and_then(engine, now))
        return -1;
    for (uint32_t i = 0; i < engine->host_count; i++) {
        if (engine->next_time[i] >= window_end)
            continue;
        if (engine->hosts[i].broken)
            host_skip(engine, &engine->hosts[i]);
        else if (run_host(engine, &engine->hosts[i], window_end))
            return -1;
    }
    return 0;
}

int engine_run_until(struct engine *engine, int64_t window_end) {
    int result = run_window(engine, window_end, wall_clock());
    (void)cpu_release();
    return result;
}

/* The end of the window that starts at `start`. */
static int64_t end_from(const struct window_bounds *bounds, int64_t start) {
    return bounds->stop - start <= bounds->runahead ? bounds->stop : start + bounds->runahead;
}

size_t engine_run_windows(struct engine *engine, const struct window_bounds *bounds, struct window_record *records,
                          size_t capacity) {
    int64_t began = wall_clock(), now = began, used_latency = engine->min_used_latency, next = bounds->start;
    size_t count = 0;
    do {
        struct window_record *record = &records[count];
        uint64_t executed = engine->events_executed, fingerprint = engine->fingerprint;
        record->start = next;
        record->end = end_from(bounds, next);
        if (run_window(engine, record->end, now))
            break;
        int64_t after = wall_clock();
        record->next_event = next = engine_next_time(engine);
        record->executed = (int64_t)(engine->events_executed - executed);
        record->fingerprint = engine->fingerprint - fingerprint;
        record->wall_ns = after - now;
        now = after;
        count++;
        if (next < record->end)
            break; /* which the loop of windows reports */
    } while (count < capacity && now - began < LONGEST_SPELL && next < bounds->stop &&
             end_from(bounds, next) <= bounds->others && !engine->outbound.count && !engine->warnings &&
             engine->min_used_latency == used_latency);
    (void)cpu_release();
    return count;
}

int64_t engine_next_time(const struct engine *engine) {
    int64_t earliest = NEVER;
    for (uint32_t i = 0; i < engine->host_count; i++)
        earliest = KMIN(earliest, engine->next_time[i]);
    return earliest;
}
