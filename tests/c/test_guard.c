/* A shard whose host's memory holds anything at all: the host is given up, and nothing else is harmed.
 *
 * Linked with the kernel as the shard has it: its stores ask guard_hooks.c. */
#include "harness.h"
#include "hot/engine/engine.h"
#include "hot/engine/guard.h"
#include "hot/kernel/socket.h"

#include <string.h>

#define ADDRESS(n) (UINT32_C(0x0b000001) + (n)) /* 11.0.0.1 ... */
#define BYSTANDERS 65536

static const uint32_t addresses[] = {ADDRESS(0), ADDRESS(1), ADDRESS(2)}, ids[] = {0, 1, 2};
static int32_t nodes[3];
static uint32_t local[3] = {0, 1, 2};

static int find_path(struct engine *engine, size_t source_node, size_t destination_node, struct path *path) {
    (void)engine, (void)source_node, (void)destination_node;
    *path = (struct path){.latency_ns = 2 * NS_PER_MS, .loss = 0.01};
    return 0;
}

static void three_hosts(struct engine *engine, uint64_t seed) {
    *engine = (struct engine){.shim_fd = -1, .min_used_latency = NEVER};
    engine->options.seed = seed;
    engine->options.send_buffer = engine->options.receive_buffer = 1 << 20;
    struct ip_address address6 = ip4_address(0); /* none */
    for (uint32_t i = 0; i < 3; i++) {
        struct engine_host *host =
            engine_add_host(engine, i, "abc" + i, ADDRESS(i), address6, "/tmp", "/tmp", 100000000, 100000000);
        CHECK(host && host_wake(engine, host) == 0);
    }
    engine->local_of_host = local;
    engine->find_path = find_path;
    engine->routes = (struct route_table){
        .address_count = 3,
        .node_count = 1,
        .host_count = 3,
        .addresses = addresses,
        .address_ids = ids,
        .node_of_host = nodes,
    };
    CHECK(route_init(&engine->routes) == 0);
}

struct transfer {
    struct socket *listener, *sender, *receiver;
    uint64_t sent, received;
};

static struct socket *make_socket(struct host *host) {
    struct socket *socket = socket_create(host, AF_INET, SOCK_STREAM, PROTOCOL_TCP);
    CHECK(socket && tcp_create(socket) == 0);
    return socket;
}

static void transfer_open(struct engine *engine, struct transfer *transfer, uint32_t from, uint32_t to) {
    uint8_t name[16] = {AF_INET};
    put16(name + 2, 8080);
    *transfer = (struct transfer){.listener = make_socket(engine->hosts[to].kernel)};
    CHECK_EQUAL(inet_bind_name(NULL, transfer->listener, name, sizeof name), 0);
    CHECK_EQUAL(tcp_listen(transfer->listener, 8), 0);
    put32(name + 4, ADDRESS(to));
    transfer->sender = make_socket(engine->hosts[from].kernel);
    CHECK_EQUAL(inet_connect(NULL, transfer->sender, name, sizeof name), -EINPROGRESS);
    engine->next_time[from] = 0;
}

/* What a program would do: inside the host, before it is damaged. */
static void transfer_go_on(struct engine *engine, struct transfer *transfer, uint32_t from, bool receive) {
    static uint8_t bytes[8192];
    struct buffer_uio holder;
    if (receive) {
        if (!transfer->receiver)
            transfer->receiver = tcp_accept(transfer->listener);
        int64_t length = 1;
        while (transfer->receiver && length > 0) {
            length = tcp_receive(NULL, transfer->receiver, buffer_uio(&holder, bytes, sizeof bytes), 0,
                                 &(struct socket_message){0});
            transfer->received += length > 0 ? (uint64_t)length : 0;
        }
        return;
    }
    int64_t length = tcp_send(NULL, transfer->sender, buffer_uio(&holder, bytes, sizeof bytes), 0);
    transfer->sent += length > 0 ? (uint64_t)length : 0;
    engine->next_time[from] = engine->window_end;
}

/* What a program may do to its arena: random words, words of elsewhere in the arena, small numbers, whole pages. */
static void damage(struct host *kernel, uint64_t *random) {
    uint64_t used = kernel->arena.unused - (uint64_t)kernel;
    uint64_t writes = 1 + test_random(random) % 64;
    uint64_t kind = test_random(random) % 5;
    for (uint64_t i = 0; i < writes; i++) {
        uint64_t value = test_random(random);
        uint64_t *word = (uint64_t *)((uint8_t *)kernel + (test_random(random) % used & ~UINT64_C(7)));
        if (kind == 1)
            value = (uint64_t)kernel + (value % used & ~UINT64_C(7));
        else if (kind == 2)
            value %= 3;
        else if (kind == 3)
            value = 0x7fff00000000 + (value & 0xffffffff);
        if (kind == 4)
            memset((void *)((uint64_t)word & ~UINT64_C(4095)), (int)value, 4096);
        else
            *word = value;
    }
}

static void a_host_whose_memory_is_damaged_harms_nobody_else(void) {
    static uint8_t before[BYSTANDERS];
    uint8_t *bystander = malloc(BYSTANDERS);
    CHECK(bystander);
    test_pattern(bystander, BYSTANDERS, 0, 1);
    memcpy(before, bystander, BYSTANDERS);
    unsigned broken = 0, survived = 0;
    uint64_t undisturbed = 0;
    for (uint64_t seed = 0; seed < 400; seed++) {
        uint64_t random = seed;
        struct engine engine;
        struct transfer victims, others;
        three_hosts(&engine, 5);
        transfer_open(&engine, &victims, 0, 1);
        transfer_open(&engine, &others, 1, 2);
        unsigned when = seed ? (unsigned)(test_random(&random) % 60) : 1000; /* 0: never */
        for (unsigned window = 0; window < 120; window++) {
            CHECK_EQUAL(engine_run_until(&engine, (window + 1) * NS_PER_MS), 0);
            if (window == when)
                damage(engine.hosts[0].kernel, &random);
            if (window < when) {
                transfer_go_on(&engine, &victims, 0, false);
                transfer_go_on(&engine, &victims, 1, true);
            } else if (!engine.hosts[0].broken) {
                engine.next_time[0] = engine.window_end;
            }
            transfer_go_on(&engine, &others, 1, false);
            transfer_go_on(&engine, &others, 2, true);
        }
        for (unsigned i = 1; i < 3; i++)
            if (engine.hosts[i].broken)
                fprintf(stderr, "    seed %lu: host %u: %s\n", (unsigned long)seed, i, engine.hosts[i].broken);
        CHECK(!engine.hosts[1].broken && !engine.hosts[2].broken);
        if (seed == 0) {
            undisturbed = others.received;
            fprintf(stderr, "    %lu %lu bytes\n", (unsigned long)others.received, (unsigned long)victims.received);
            CHECK(undisturbed > 100000 && victims.received > 100000 && !engine.hosts[0].broken);
        }
        /* The others' traffic shares a link with the victim's: more, if anything, when it stops. */
        CHECK(others.received >= undisturbed / 2);
        CHECK(memcmp(before, bystander, BYSTANDERS) == 0);
        *(engine.hosts[0].broken ? &broken : &survived) += 1;
        engine_close(&engine);
        route_free(&engine.routes);
    }
    fprintf(stderr, "    %u of 400 hosts were given up\n", broken);
    CHECK(broken > 40 && survived > 40);
    free(bystander);
}

static void store_elsewhere(struct host *kernel, void *context) {
    (void)kernel;
    memset(context, 1, 8);
    guard_check_other_store((uintptr_t)context, 8);
}

static void turn_in_circles(struct host *kernel, void *context) {
    (void)context;
    while (!list_empty(&kernel->run_queue)) /* it holds itself: see below */
        __asm__ volatile("" ::: "memory");
}

static void fault(struct host *kernel, void *context) {
    (void)kernel;
    *(volatile uint64_t *)context = 1;
}

static void recurse(struct host *kernel, void *context) {
    volatile uint8_t frame[4096];
    frame[0] = context != NULL;
    if (frame[0] < 2)
        recurse(kernel, context);
    frame[1] = frame[0];
}

static void each_kind_of_harm_is_told_apart(void) {
    struct engine engine;
    three_hosts(&engine, 1);
    struct host *kernel = engine.hosts[0].kernel;
    uint64_t *outside = malloc(sizeof *outside);
    CHECK(outside);
    CHECK(!guard_call(kernel, store_elsewhere, outside));
    CHECK(strstr(guard_problem(), "outside of the host's memory"));
    CHECK(!guard_call(kernel, fault, (void *)16));
    CHECK(strstr(guard_problem(), "wild pointer"));
    CHECK(!guard_call(kernel, recurse, outside));
    CHECK(strstr(guard_problem(), "wild pointer"));
    struct list node;
    list_push_back(&kernel->run_queue, &node);
    CHECK(!guard_call(kernel, turn_in_circles, NULL));
    CHECK(strstr(guard_problem(), "list without an end"));
    free(outside);
    engine_close(&engine);
    route_free(&engine.routes);
}

static void a_queue_of_packets_is_believed_as_far_as_it_is_possible(void) {
    static const char *const what[] = {"outside", "too long", "of the future"};
    for (size_t i = 0; i < ARRAY_LENGTH(what); i++) {
        struct engine engine;
        three_hosts(&engine, 1);
        struct host *kernel = engine.hosts[0].kernel;
        struct packet *packet = packet_create(kernel, 100);
        CHECK(packet);
        memset(packet->data, 0, 100);
        struct packet_queue *outbox = &kernel->link->outbox;
        packet_queue_push(outbox, packet);
        if (i == 0)
            outbox->head = (struct packet *)&engine;
        else if (i == 1)
            packet->length = 70000;
        else
            packet->time = NEVER;
        engine.next_time[0] = 0;
        CHECK_EQUAL(engine_run_until(&engine, NS_PER_MS), 0);
        CHECK(engine.hosts[0].broken);
        CHECK_EQUAL(engine.line_count, 1);
        CHECK(strstr(engine.lines[0].text, "given up"));
        engine_close(&engine);
        route_free(&engine.routes);
    }
}

/* Whoever sent them cannot know, on another shard. */
static void events_of_a_host_that_is_given_up_are_awaited_until_their_time(void) {
    static const uint8_t bytes[20] = {0x45};
    static const int64_t times[] = {NS_PER_MS / 2, 3 * NS_PER_MS, 7 * NS_PER_MS};
    struct engine engine;
    three_hosts(&engine, 1);
    for (size_t i = 0; i < 2; i++)
        CHECK_EQUAL(route_arrival(&engine, &engine.hosts[0], times[i], 1, i, bytes, sizeof bytes), 0);
    engine.hosts[0].kernel->link->outbox.head = (struct packet *)&engine;
    CHECK_EQUAL(engine_run_until(&engine, NS_PER_MS), 0);
    CHECK(engine.hosts[0].broken);
    uint64_t executed = engine.events_executed;
    CHECK_EQUAL(engine_next_time(&engine), times[1]);
    CHECK_EQUAL(route_arrival(&engine, &engine.hosts[0], times[2], 1, 2, bytes, sizeof bytes), 0);
    CHECK_EQUAL(engine_next_time(&engine), times[1]);
    CHECK_EQUAL(engine_run_until(&engine, times[1]), 0);
    CHECK_EQUAL(engine_next_time(&engine), times[1]);
    CHECK_EQUAL(engine_run_until(&engine, times[1] + 1), 0);
    CHECK_EQUAL(engine_next_time(&engine), times[2]);
    CHECK_EQUAL(engine_run_until(&engine, times[2] + 1), 0);
    CHECK_EQUAL(engine_next_time(&engine), NEVER);
    CHECK_EQUAL(engine.events_executed, executed);
    engine_close(&engine);
    route_free(&engine.routes);
}

static void a_timer_that_says_it_is_not_armed_fires_once(void) {
    struct engine engine;
    three_hosts(&engine, 1);
    struct host *kernel = engine.hosts[0].kernel;
    struct timer *inside = kalloc(kernel, sizeof *inside);
    CHECK(inside);
    timer_init(inside, TIMER_NONE, 0, NULL);
    timer_arm(kernel, inside, NS_PER_MS / 2);
    inside->heap_index = 0;
    engine.next_time[0] = 0;
    CHECK_EQUAL(engine_run_until(&engine, NS_PER_MS), 0);
    CHECK(!engine.hosts[0].broken);
    CHECK_EQUAL(kernel->timer_count, 0);
    engine_close(&engine);
    route_free(&engine.routes);
}

static void whoever_reads_the_processors_clock_while_that_traps_can(void) {
    cpu_trap();
    CHECK(__builtin_ia32_rdtsc());
    CHECK(!cpu_release());
}

int main(void) {
    CHECK_EQUAL(guard_start(), 0);
    RUN(whoever_reads_the_processors_clock_while_that_traps_can);
    RUN(each_kind_of_harm_is_told_apart);
    RUN(a_queue_of_packets_is_believed_as_far_as_it_is_possible);
    RUN(events_of_a_host_that_is_given_up_are_awaited_until_their_time);
    RUN(a_timer_that_says_it_is_not_armed_fires_once);
    RUN(a_host_whose_memory_is_damaged_harms_nobody_else);
    return 0;
}
