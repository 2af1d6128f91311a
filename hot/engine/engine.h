/* The engine: a shard's side of direct execution. It owns the hosts' arenas, carries packets between them over paths,
 * gives each host what is due in a window, and hands the turn to managed processes. What happens inside a host is the
 * kernel's (hot/kernel/link.c), whoever runs it.
 *
 *   queue.c    events of one host in order; packets in flight and their pool
 *   route.c    addresses to hosts, loss and latency, what leaves the shard
 *   pcap.c     capture files
 *   run.c      one window                                       turn.c     processes that hold the turn; their death
 *   guard.c    kernel code on an arena that may hold anything   cpu.c      instructions that trap
 *   spawn.c    arenas, the start and the end of processes       platform.c what the kernel asks of the shard
 *   binding.c  the Python extension module
 *
 * Engine state is ordinary memory of the shard: only the kernel's state is shared with processes. Functions that can
 * fail return 0, or -1 after engine_fail said why; a failed engine can only be closed.
 */
#ifndef ANTUMBRA_ENGINE_H
#define ANTUMBRA_ENGINE_H

#include "hot/kernel/link.h"

#include <stdio.h>
#include <sys/types.h>

#define NO_HOST UINT32_MAX

/* ---- Packets in flight ---- */

struct wire_packet {
    struct wire_packet *next;
    uint32_t length;
    uint32_t size_class;
    uint8_t bytes[];
};
#define PACKET_CLASSES 8u
struct pool_slab;
struct packet_pool {
    struct wire_packet *free[PACKET_CLASSES];
    struct pool_slab *slabs;    /* the newest first */
    size_t slab_length, unused; /* of the newest: all of it, and what no packet has had yet */
};
/* NULL: no memory. */
__attribute__((warn_unused_result)) struct wire_packet *pool_take(struct packet_pool *pool, const uint8_t *bytes,
                                                                  uint32_t length);
void pool_give(struct packet_pool *pool, struct wire_packet *packet);
void pool_free(struct packet_pool *pool);

/* ---- Events of one host ---- */

enum event_kind { EVENT_PACKET, EVENT_START, EVENT_SHUTDOWN };

/* Ordered by (time, packets first, source, id): the same on every shard, since a packet's names are its source's. */
struct event {
    int64_t time;
    uint64_t id;
    uint32_t source; /* HostId of the sender; 0 for local events */
    uint32_t kind;
    union {
        struct wire_packet *packet;
        uint32_t process;
    } u;
};
/* Packets that come in order, as those of one path do, stand in a ring; everything else in a heap. */
struct event_queue {
    struct event *heap;
    size_t heap_count, heap_capacity;
    struct event *ring;
    size_t ring_first, ring_count, ring_capacity; /* a power of two */
};
/* 0, or -1: no memory. A packet has its own, for there are many. */
__attribute__((warn_unused_result)) int queue_push(struct event_queue *queue, const struct event *event);
__attribute__((warn_unused_result)) int queue_push_packet(struct event_queue *queue, int64_t time, uint32_t source,
                                                          uint64_t id, struct wire_packet *packet);
const struct event *queue_first(const struct event_queue *queue);                  /* NULL: empty */
struct event queue_pop(struct event_queue *queue);                                 /* not of an empty queue */
void queue_skip(struct event_queue *queue, struct packet_pool *pool, int64_t end); /* drops what is before `end` */
void queue_free(struct event_queue *queue, struct packet_pool *pool);
static inline int64_t queue_next(const struct event_queue *queue) {
    const struct event *first = queue_first(queue);
    return first ? first->time : NEVER;
}

/* ---- Capture files (pcap.c) ---- */

struct pcap;
struct pcap *pcap_open(const char *path, uint32_t capture_size);                         /* NULL: errno says why */
int pcap_write(struct pcap *pcap, int64_t time, const uint8_t *packet, uint32_t length); /* 0 or -errno */
int pcap_close(struct pcap *pcap);                                                       /* 0 or -errno */

/* ---- Packets between hosts (traffic.c) ---- */

struct traffic_entry {
    uint64_t packets, bytes; /* no packets: free */
    uint32_t destination;    /* HostId */
};

struct traffic {
    struct traffic_entry *entries; /* [capacity], a power of two or 0 */
    uint32_t count, capacity;
};

__attribute__((warn_unused_result)) int traffic_count(struct traffic *traffic, uint32_t destination,
                                                      uint32_t length); /* -1: no memory */
void traffic_free(struct traffic *traffic);

/* ---- Hosts, processes, the engine ---- */

struct managed {
    char *path, *name;               /* the program that is loaded; what its output files are named after */
    char **arguments, **environment; /* NULL-terminated */
    uint32_t argument_count, environment_count;
    int64_t start_time, shutdown_time; /* NEVER: none */
    int shutdown_signal;
    uint32_t uid, gid; /* simulated */
    bool started;
    int32_t pid; /* simulated */
    pid_t group; /* real process group of the whole tree; 0: not started, or all of it is gone */
};

struct death {
    pid_t pid;
    int status;
};

struct engine_host {
    struct host *kernel; /* NULL until a process is configured, or a packet comes: 100,000 idle hosts need no arenas */
    struct link *link;   /* the kernel's; here, because pointers of the arena are not to be trusted */
    char *broken;        /* why nothing of the arena may be used any more; NULL: it may */
    uint32_t id, address;
    struct ip_address address6;
    char *name, *directory, *etc_directory;
    char real_names[REAL_NAMES_MAX]; /* as in struct host; whoever adds the host sets it */
    int64_t uplink_bps, downlink_bps;
    int arena_fd;
    int rights_fd; /* of the kernel's rights.c */
    struct event_queue queue;
    uint64_t packet_events, local_events; /* counters that name events */
    struct ip_address last_address;       /* one remembered look-up */
    uint32_t last_destination;
    struct pcap *pcap;
    char *pcap_path;
    struct managed *processes;
    uint32_t process_count;
    struct death *deaths; /* of real processes, to be told to the kernel once the turn is back */
    size_t death_count, death_capacity;
    uint64_t drops_loss, drops_no_route;
    struct traffic traffic; /* sent to other hosts */
};

struct path {
    uint64_t name;      /* source node x node_count + destination node + 1; 0: this place of the cache is empty */
    int64_t latency_ns; /* negative: there is none */
    double loss;
};

/* The paths that packets took lately: each has one place, where the last that was asked for stays. With few nodes no
 * two paths share one. What is not there is asked for again, so forgetting changes no result. */
#define MOST_PATHS ((size_t)1 << 20)
/* A line for the log that is the engine's own. */
struct engine_line {
    int64_t time;
    uint32_t place;
    char *text;
};

struct route_table {
    size_t address_count, range_count, node_count, host_count;
    const uint32_t *addresses, *address_ids;                   /* IPv4, sorted by address */
    const uint32_t *range_first, *range_size, *range_first_id; /* sorted by first address */
    struct ip_address prefix6; /* with an IPv4 address as its last 32 bits: the IPv6 address of the same host */
    size_t exception_count;
    const uint8_t *exceptions;     /* 16 bytes each, sorted: IPv6 addresses that do not follow this rule ... */
    const uint32_t *exception_ids; /* ... and whose they are; NO_HOST: nobody's */
    const int32_t *node_of_host;
    struct path *paths; /* [2^path_bits] */
    uint32_t path_bits;
};

/* Events for hosts of others, as columns. */
struct outbound {
    size_t count, capacity;
    int64_t *deliver_time;
    uint32_t *source, *destination;
    uint64_t *source_event;
    int64_t *payload_offset; /* capacity + 1 */
    uint8_t *payload;
    size_t payload_capacity;
};

enum engine_error { ENGINE_WORKS, ENGINE_INTERRUPTED, ENGINE_OS_ERROR, ENGINE_BROKEN };

struct engine_options {
    uint64_t seed;
    int64_t bootstrap_end;
    int64_t turn_limit_ns;
    uint32_t strace_mode;
    bool model_cpu, send_autotune, receive_autotune, round_robin;
    int64_t call_cost_ns, max_unapplied_cpu_ns;
    uint32_t send_buffer, receive_buffer;
};

struct engine {
    struct engine_options options;
    int shim_fd;
    struct engine_host *hosts; /* by HostId, ascending */
    int64_t *next_time;        /* of each host */
    uint32_t host_count, host_capacity;
    uint32_t *local_of_host; /* [routes.host_count], place in `hosts` or NO_HOST */
    struct route_table routes;
    struct packet_pool pool;
    struct outbound outbound;
    int64_t window_end;
    int64_t min_used_latency;
    uint64_t events_executed;
    uint64_t fingerprint; /* sum over all packets sent to other hosts, docs/formats.md */
    int64_t last_reap;    /* wall clock */
    bool warnings;        /* some host has lines for the log */
    struct engine_line *lines;
    size_t line_count;
    bool (*interrupted)(struct engine *engine); /* asked while a process keeps the turn */
    /* Asked for the latency and loss of a path; -1 after engine_fail. */
    int (*find_path)(struct engine *engine, size_t source_node, size_t destination_node, struct path *path);
    void *context;
    enum engine_error error;
    int error_number;
    char message[1024], where[600];
};

/* Remembers the first failure; returns -1. */
int engine_fail(struct engine *engine, enum engine_error error, int number, const char *where, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* spawn.c */
__attribute__((warn_unused_result)) int engine_init(struct engine *engine, const char *shim_path);
__attribute__((warn_unused_result)) int host_wake(struct engine *engine, struct engine_host *host); /* has a kernel */
struct engine_host *engine_add_host(struct engine *engine, uint32_t id, const char *name, uint32_t address,
                                    struct ip_address address6, const char *directory, const char *etc_directory,
                                    int64_t uplink_bps, int64_t downlink_bps); /* NULL: failed */
/* Takes a copy of everything. */
__attribute__((warn_unused_result)) int engine_add_process(struct engine *engine, struct engine_host *host,
                                                           const struct managed *process);
__attribute__((warn_unused_result)) int process_spawn(struct engine *engine, struct engine_host *host,
                                                      uint32_t index); /* returns with the turn back */
void host_end_processes(struct engine_host *host);                     /* at once, the whole trees */
void engine_close(struct engine *engine); /* again: harmless. Capture files that could not be written: engine_fail */

/* turn.c */
__attribute__((warn_unused_result)) int turn_give(struct engine *engine, struct engine_host *host, struct task *task);
__attribute__((warn_unused_result)) int turn_wait_back(struct engine *engine, struct engine_host *host);
__attribute__((warn_unused_result)) int reap_dead(struct engine *engine); /* of all hosts; the shard has the turn */
/* Gives a host up: ends its processes, says why. The run goes on without it: 0. Its events stay until their
 * time: whoever sends it something awaits that, and cannot know on another shard; windows start where it would happen.
 */
int host_break(struct engine *engine, struct engine_host *host, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void host_skip(struct engine *engine, struct engine_host *host); /* one given up: to the window's end */
/* A line for the log, from a host that may be broken. */
void engine_warn(struct engine *engine, const struct engine_host *host, const char *text);
int64_t wall_clock(void);

/* cpu.c: of this thread, as engine_run_until is called by; harmless again */
void cpu_trap(void);
bool cpu_release(void); /* whether they trapped */

/* route.c */
__attribute__((warn_unused_result)) int route_init(struct route_table *table); /* node_count is set. -1: no memory */
void route_free(struct route_table *table);
uint32_t route_find(const struct route_table *table, struct ip_address address); /* HostId or NO_HOST */
/* Sends one packet that left the host's uplink at packet->time. */
__attribute__((warn_unused_result)) int route_packet(struct engine *engine, struct engine_host *host,
                                                     const struct packet *packet);
__attribute__((warn_unused_result)) int route_arrival(struct engine *engine, struct engine_host *destination,
                                                      int64_t time, uint32_t source, uint64_t source_event,
                                                      const uint8_t *bytes, uint32_t length);
void outbound_free(struct outbound *outbound);

/* run.c */
extern const char *engine_etc_directory; /* of the host that runs: platform.c knows no engine */
__attribute__((warn_unused_result)) int engine_run_until(struct engine *engine, int64_t window_end);

/* Windows in a row, as bridge/window.py would open them one by one. */
struct window_bounds {
    int64_t start, runahead;
    int64_t stop;   /* no window goes beyond */
    int64_t others; /* no window but the first does: somebody else has an event then */
};
struct window_record {
    int64_t start, end, executed, next_event, wall_ns;
    uint64_t fingerprint;
};
/* Returns how many were run: all of `records` that are written. The last one's events for others are in `outbound`,
 * those before caused none. Only the last may have left warnings, or have changed min_used_latency. After a failure
 * (see engine->error) those are told that came before. */
__attribute__((warn_unused_result)) size_t engine_run_windows(struct engine *engine, const struct window_bounds *bounds,
                                                              struct window_record *records, size_t capacity);
int64_t engine_next_time(const struct engine *engine);
__attribute__((warn_unused_result)) int host_schedule(struct engine *engine, struct engine_host *host, int64_t time,
                                                      enum event_kind kind, uint32_t process);

#endif
