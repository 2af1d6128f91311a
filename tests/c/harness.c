/* See harness.h. Set HARNESS_TRACE=1 to see each packet that leaves a host. */
#include "harness.h"
#include "hot/kernel/credentials.h"
#include "hot/kernel/socket.h"
#include "hot/kernel/syscalls.h"

#include <linux/un.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#else
#define __sanitizer_start_switch_fiber(save, bottom, size) ((void)(save), (void)(bottom), (void)(size))
#define __sanitizer_finish_switch_fiber(saved, bottom, size) ((void)(saved), *(bottom) = NULL, *(size) = 0)
#define __asan_unpoison_memory_region(address, size) ((void)(address))
#endif

#define STACK_SIZE ((size_t)256 << 10)
#define MAX_COROUTINES 256

struct coroutine {
    ucontext_t context;
    struct task *task; /* NULL: it has ended, and its stack may be used again */
    void (*body)(struct task *task, void *argument);
    void *argument;
    void *stack;
    void *fake_stack; /* AddressSanitizer's, while it does not run */
};

static const char *current_test = "(no test)";
static struct coroutine *coroutines[MAX_COROUTINES];
static size_t coroutine_count;
static struct coroutine shard; /* what runs when no task does */
static bool quiet;
static size_t shard_stack_size;
static struct coroutine *running = &shard;
static struct network *the_network;
static void (*program_body)(struct task *task, void *argument);
static uint64_t user_start, user_length; /* length 0: all of the process's own memory but the first page */
static int64_t (*native_calls)(long number, const uint64_t arguments[6]);

void harness_begin(const char *name) {
    current_test = name;
    fprintf(stderr, "  %s\n", name);
}

static void say_when(void) {
    if (the_network)
        fprintf(stderr, "  at virtual time %.6f s\n", (double)the_network->now / 1e9);
}

void harness_failed(const char *file, int line, const char *condition) {
    fprintf(stderr, "%s:%d: %s: CHECK(%s) failed\n", file, line, current_test, condition);
    say_when();
    exit(1);
}

void harness_differ(const char *file, int line, const char *left, const char *right, long long left_value,
                    long long right_value) {
    fprintf(stderr, "%s:%d: %s: %s is %lld, but %s is %lld\n", file, line, current_test, left, left_value, right,
            right_value);
    say_when();
    exit(1);
}

/* ---- The platform ---- */

static bool is_user_memory(uint64_t address, size_t length) {
    if (!user_length)
        return address >= 4096;
    return address >= user_start && address - user_start <= user_length &&
           length <= user_length - (address - user_start);
}

void harness_user_memory(uint64_t start, size_t length) {
    user_start = start;
    user_length = length;
}

int copy_from_user(void *destination, uint64_t source, size_t length) {
    if (length && !is_user_memory(source, length))
        return -EFAULT;
    if (length)
        memcpy(destination, (const void *)source, length);
    return 0;
}

int copy_to_user(uint64_t destination, const void *source, size_t length) {
    if (length && !is_user_memory(destination, length))
        return -EFAULT;
    if (length)
        memcpy((void *)destination, source, length);
    return 0;
}

int64_t string_from_user(char *destination, uint64_t source, size_t capacity) {
    for (size_t length = 0; length < capacity; length++) {
        if (!is_user_memory(source + length, 1))
            return -EFAULT;
        destination[length] = *(const char *)(source + length);
        if (!destination[length])
            return (int64_t)length;
    }
    return -ENAMETOOLONG;
}

void harness_native(int64_t (*call)(long number, const uint64_t arguments[6])) { native_calls = call; }

int harness_rights_socket(void) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int32_t length = sizeof name;
    int64_t fd = harness_syscall(SYS_socket, AF_UNIX, SOCK_DGRAM, 0, 0, 0, 0);
    uint64_t at = (uint64_t)&name;
    CHECK(fd >= 0 && !harness_syscall(SYS_bind, (uint64_t)fd, at, sizeof name.sun_family, 0, 0, 0));
    CHECK(!harness_syscall(SYS_getsockname, (uint64_t)fd, at, (uint64_t)&length, 0, 0, 0));
    CHECK(!harness_syscall(SYS_connect, (uint64_t)fd, at, (uint64_t)length, 0, 0, 0));
    return (int)fd;
}

const void *platform_map_table(const struct host *host, const char *table, size_t *size) {
    (void)host, (void)table, (void)size;
    return NULL;
}

void platform_unmap_table(const void *bytes, size_t size) { (void)bytes, (void)size; }

int64_t platform_syscall(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f) {
    if (native_calls)
        return native_calls(number, (const uint64_t[6]){a, b, c, d, e, f});
    return harness_syscall(number, a, b, c, d, e, f);
}

int64_t harness_syscall(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f) {
    register uint64_t r10 __asm__("r10") = d;
    register uint64_t r8 __asm__("r8") = e;
    register uint64_t r9 __asm__("r9") = f;
    int64_t result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static struct coroutine *coroutine_of(const struct task *task) {
    for (size_t i = 0; i < coroutine_count; i++)
        if (coroutines[i]->task == task)
            return coroutines[i];
    fprintf(stderr, "%s: a task without a program of its own was to block or run\n", current_test);
    exit(1);
}

/* Behind each switch, on the stack that was switched to. */
static void arrive(struct coroutine *self, const struct coroutine *from) {
    const void *bottom;
    size_t size;
    __sanitizer_finish_switch_fiber(self->fake_stack, &bottom, &size);
    if (from == &shard && !shard.stack) {
        shard.stack = (void *)(uintptr_t)bottom;
        shard_stack_size = size;
    }
}

static size_t stack_size_of(const struct coroutine *coroutine) {
    return coroutine == &shard ? shard_stack_size : STACK_SIZE;
}

void platform_switch(struct host *host, struct task *self, struct task *next) {
    (void)host;
    if (self == next)
        return;
    struct coroutine *from = running, *to = next ? coroutine_of(next) : &shard;
    CHECK(from == (self ? coroutine_of(self) : &shard));
    running = to;
    __sanitizer_start_switch_fiber(&from->fake_stack, to->stack, stack_size_of(to));
    swapcontext(&from->context, &to->context);
    arrive(from, NULL);
}

/* The running coroutine is left for good. */
static __attribute__((noreturn)) void leave_for(struct task *next) {
    running = next ? coroutine_of(next) : &shard;
    __sanitizer_start_switch_fiber(NULL, running->stack, stack_size_of(running));
    setcontext(&running->context);
    abort();
}

static void coroutine_entry(unsigned index) {
    struct coroutine *self = coroutines[index];
    struct host *host = self->task->host;
    arrive(self, &shard);
    self->body(self->task, self->argument);
    net_run_backlog(host);
    self->task->state = TASK_DEAD;
    struct task *next = task_next(host);
    host->current = next;
    leave_for(next);
}

/* One without a task: an ended one's, or new. */
static size_t free_coroutine(void) {
    size_t index = 0;
    while (index < coroutine_count && (coroutines[index]->task || coroutines[index] == running))
        index++;
    if (index == coroutine_count && index < MAX_COROUTINES) {
        coroutines[index] = calloc(1, sizeof **coroutines);
        CHECK(coroutines[index]);
        coroutines[index]->stack = malloc(STACK_SIZE);
        CHECK(coroutines[index]->stack);
        coroutine_count++;
    }
    return index;
}

static struct coroutine *coroutine_create(struct task *task, void (*body)(struct task *task, void *argument),
                                          void *argument) {
    const size_t index = free_coroutine();
    if (index == MAX_COROUTINES)
        return NULL;
    struct coroutine *const coroutine = coroutines[index];
    __asan_unpoison_memory_region(coroutine->stack, STACK_SIZE); /* of whoever left it from inside a function */
    coroutine->task = task;
    coroutine->body = body;
    coroutine->argument = argument;
    coroutine->fake_stack = NULL;
    CHECK(getcontext(&coroutine->context) == 0);
    coroutine->context.uc_stack.ss_sp = coroutine->stack;
    coroutine->context.uc_stack.ss_size = STACK_SIZE;
    coroutine->context.uc_link = NULL;
    makecontext(&coroutine->context, (void (*)(void))coroutine_entry, 1, (unsigned)index);
    return coroutine;
}

void harness_quiet(void) { quiet = true; }

void platform_warn(struct host *host, struct task *task, const char *format, ...) {
    (void)task;
    if (quiet)
        return;
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "  [%s] ", host->name);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

/* What needs a real process of its own: no test of a kernel without processes gets there. */
static __attribute__((noreturn)) void needs_process(const char *what) {
    fprintf(stderr, "%s: %s needs a real process\n", current_test, what);
    exit(1);
}

void harness_programs(void (*body)(struct task *task, void *argument)) { program_body = body; }

int64_t platform_clone(struct task *parent, struct task *child, const struct clone_request *request) {
    (void)request;
    if (!program_body)
        needs_process("clone");
    if (!coroutine_create(child, program_body, NULL))
        return -EAGAIN;
    return parent->process == child->process ? child->tid : (int64_t)parent->process->native_pid;
}

void platform_exec(struct task *task) {
    if (!program_body)
        needs_process("execve");
    kfree(task->host, task->exec);
    task->exec = NULL;
    struct coroutine *old = running;
    old->task = NULL;
    CHECK(coroutine_create(task, program_body, NULL) != NULL);
    leave_for(task);
}

void platform_exit(struct host *host, struct task *next, bool whole_process) {
    (void)host;
    (void)whole_process;
    if (!program_body)
        needs_process("exit");
    running->task = NULL; /* the kernel has freed it */
    leave_for(next);
}

void harness_forget(const struct process *process) {
    list_for_each(node, &process->tasks) coroutine_of(list_entry(node, struct task, process_node))->task = NULL;
}

int64_t sys_arch_prctl(struct task *task, const uint64_t *a) {
    (void)task;
    (void)a;
    needs_process("arch_prctl");
}

int64_t sys_rt_sigreturn(struct task *task, const uint64_t *a) {
    (void)task;
    (void)a;
    needs_process("rt_sigreturn");
}

/* ---- Tasks ---- */

struct task *task_fake(struct host *host) {
    struct process *process = kalloc(host, sizeof *process);
    struct task *task = kalloc(host, sizeof *task);
    struct fd_table *files = kalloc(host, sizeof *files);
    struct signal_action *actions = kalloc(host, SIGNAL_COUNT * sizeof *actions);
    struct credentials *credentials = credentials_create(host, 0, 0);
    CHECK(process && task && files && actions && credentials);
    files->references = 1;
    process->host = host;
    process->pid = process->process_group = process->session = host->next_pid++;
    process->native_pid = (uint32_t)getpid();
    process->files = files;
    process->actions = actions;
    process->strace_fd = -1;
    process->exit_signal = SIGCHLD;
    process->mm = host->next_mm++;
    for (size_t i = 0; i < ARRAY_LENGTH(process->limits); i++)
        process->limits[i][0] = process->limits[i][1] = 1024;
    list_init(&process->tasks);
    list_init(&process->children);
    list_init(&process->sibling_node);
    list_init(&process->signals.entries);
    list_init(&process->posix_timers);
    list_init(&process->shared_maps);
    wait_queue_init(&process->child_wait);
    wait_queue_init(&process->exit_wait);
    timer_init(&process->itimer, TIMER_ITIMER, 0, process);
    list_push_back(&host->processes, &process->host_node);
    task->host = host;
    task->process = process;
    task->tid = process->pid;
    task->state = TASK_RUNNABLE;
    task->credentials = credentials;
    process->dumpable = true;
    list_init(&task->run_node);
    list_init(&task->waits);
    list_init(&task->signals.entries);
    list_init(&task->futex_node);
    list_init(&task->wait.node);
    list_init(&task->wait.owner_node);
    timer_init(&task->timer, TIMER_TASK, 0, task);
    list_push_back(&process->tasks, &task->process_node);
    return task;
}

struct task *task_start(struct host *host, void (*body)(struct task *task, void *argument), void *argument) {
    struct task *task = task_fake(host);
    task_run(task, body, argument);
    return task;
}

void task_run(struct task *task, void (*body)(struct task *task, void *argument), void *argument) {
    CHECK(coroutine_create(task, body, argument) != NULL);
    list_push_back(&task->host->run_queue, &task->run_node);
}

bool task_finished(const struct task *task) { return task->state == TASK_DEAD; }

static void run_tasks(struct host *host) {
    for (struct task *task; (task = task_next(host));) {
        host->current = task;
        platform_switch(host, NULL, task);
        CHECK(host->current == NULL);
    }
    net_run_backlog(host);
}

/* ---- The network ---- */

struct network *network_create(uint32_t host_count, uint64_t seed) {
    CHECK(!the_network && host_count <= NETWORK_HOSTS);
    struct network *network = calloc(1, sizeof *network);
    CHECK(network);
    for (uint32_t i = 0; i < host_count; i++) {
        void *base = (void *)(ARENA_REGION_BASE + i * ARENA_STRIDE);
        void *got = mmap(base, ARENA_STRIDE, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
        CHECK(got == base);
        char name[16];
        snprintf(name, sizeof name, "host%u", i + 1);
        network->hosts[i] = host_create(base, ARENA_STRIDE, i, seed, name, 0x0a000001u + i, harness_address6(i));
        CHECK(network->hosts[i]);
        network->wires[i].latency_ns = 10 * NS_PER_MS;
    }
    network->host_count = host_count;
    the_network = network;
    return network;
}

void network_free(struct network *network) {
    for (uint32_t i = 0; i < network->host_count; i++)
        munmap((void *)(ARENA_REGION_BASE + i * ARENA_STRIDE), ARENA_STRIDE);
    for (size_t i = 0; i < coroutine_count; i++) {
        free(coroutines[i]->stack);
        free(coroutines[i]);
    }
    coroutine_count = 0;
    for (size_t i = 1; i <= network->flying_count; i++)
        free(network->flying[i]);
    free(network->flying);
    free(network);
    the_network = NULL;
}

static bool flies_before(const struct flying_packet *left, const struct flying_packet *right) {
    return left->when != right->when ? left->when < right->when : left->sequence < right->sequence;
}

static void flying_push(struct network *network, struct flying_packet *packet) {
    if (network->flying_count + 1 >= network->flying_capacity) {
        network->flying_capacity = network->flying_capacity ? 2 * network->flying_capacity : 64;
        network->flying = realloc(network->flying, network->flying_capacity * sizeof(struct flying_packet *));
        CHECK(network->flying);
    }
    size_t index = ++network->flying_count;
    for (; index > 1 && flies_before(packet, network->flying[index / 2]); index /= 2)
        network->flying[index] = network->flying[index / 2];
    network->flying[index] = packet;
}

static struct flying_packet *flying_pop(struct network *network) {
    struct flying_packet *first = network->flying[1], *last = network->flying[network->flying_count--];
    size_t index = 1, count = network->flying_count;
    for (size_t child; (child = 2 * index) <= count; index = child) {
        if (child < count && flies_before(network->flying[child + 1], network->flying[child]))
            child++;
        if (!flies_before(network->flying[child], last))
            break;
        network->flying[index] = network->flying[child];
    }
    network->flying[index] = last;
    return first;
}

struct ip_address harness_address6(uint32_t host) {
    return (struct ip_address){UINT64_C(0xfd416e74756d0000), 0x0a000001u + host};
}

static struct host *host_of(const struct network *network, struct ip_address address) {
    for (uint32_t i = 0; i < network->host_count; i++)
        if (ip_equal(address, ip4_address(network->hosts[i]->address)) ||
            ip_equal(address, network->hosts[i]->address6))
            return network->hosts[i];
    return NULL;
}

static int64_t transmission_time(uint32_t length, uint64_t bits_per_second) {
    return (int64_t)((uint64_t)length * 8 * NS_PER_S / bits_per_second);
}

static void trace(const struct network *network, const uint8_t *p, uint32_t length, const char *fate) {
    if (!getenv("HARNESS_TRACE"))
        return;
    bool v6 = p[0] >> 4 == 6;
    uint32_t ip = v6 ? IP6_HEADER : IP_HEADER;
    uint8_t protocol = p[v6 ? 6 : 9];
    fprintf(stderr, "%12.6f %u>%u ", (double)network->now / 1e9, p[v6 ? 23 : 15], p[v6 ? 39 : 19]);
    if (protocol == PROTOCOL_TCP && length >= ip + TCP_HEADER) {
        const uint8_t *t = p + ip;
        uint32_t header = (uint32_t)(t[12] >> 4) * 4;
        fprintf(stderr, "%u>%u %s%s%s%s seq %u +%u ack %u win %u options %u", get16(t), get16(t + 2),
                t[13] & 2 ? "S" : "", t[13] & 1 ? "F" : "", t[13] & 4 ? "R" : "", t[13] & 16 ? "." : "", get32(t + 4),
                length - ip - header, get32(t + 8), get16(t + 14), header - TCP_HEADER);
    } else {
        fprintf(stderr, "protocol %u", protocol);
    }
    fprintf(stderr, " length %u%s\n", length, fate);
}

/* Lets what waits in a host's egress queue leave, as far as its uplink allows by now. */
static void drain_egress(struct network *network, uint32_t index) {
    struct host *host = network->hosts[index];
    struct wire *wire = &network->wires[index];
    struct packet *packet;
    while ((packet = net_egress_peek(host))) {
        if (wire->uplink_bps) {
            if (wire->uplink_free > network->now)
                return;
            wire->uplink_free = network->now + transmission_time(packet->length, wire->uplink_bps);
        }
        net_egress_pop(host);
        uint64_t number = wire->packets++;
        wire->bytes += packet->length;
        struct host *destination = host_of(network, packet_destination(packet));
        bool lost = !destination;
        if (wire->lose && wire->lose(wire->context, number, packet->data, packet->length))
            lost = true;
        int64_t when = KMAX(network->now, wire->uplink_free) + wire->latency_ns;
        if (!lost && wire->bottleneck_bps) {
            int64_t start = KMAX(network->now, wire->bottleneck_free);
            uint64_t waiting = (uint64_t)(start - network->now) * wire->bottleneck_bps / (8 * (uint64_t)NS_PER_S);
            if (waiting + packet->length > wire->bottleneck_queue) {
                lost = true;
            } else {
                wire->bottleneck_free = start + transmission_time(packet->length, wire->bottleneck_bps);
                when = wire->bottleneck_free + wire->latency_ns;
            }
        }
        trace(network, packet->data, packet->length, lost ? " LOST" : "");
        if (lost) {
            wire->lost++;
        } else {
            if (wire->delay)
                when += wire->delay(wire->context, number, packet->data, packet->length);
            struct flying_packet *flying = malloc(sizeof *flying + packet->length);
            CHECK(flying);
            flying->when = when;
            flying->sequence = network->flying_sequence++;
            flying->destination = destination;
            flying->length = packet->length;
            memcpy(flying->bytes, packet->data, packet->length);
            flying_push(network, flying);
        }
        net_left(host, packet);
        packet_free(host, packet);
        net_run_backlog(host);
    }
}

static void run_present(struct network *network) {
    for (uint32_t i = 0; i < network->host_count; i++) {
        run_tasks(network->hosts[i]);
        drain_egress(network, i);
    }
}

static int64_t next_event(struct network *network) {
    int64_t next = network->flying_count ? network->flying[1]->when : NEVER;
    for (uint32_t i = 0; i < network->host_count; i++) {
        next = KMIN(next, timer_next(network->hosts[i]));
        if (net_egress_peek(network->hosts[i]))
            next = KMIN(next, KMAX(network->now, network->wires[i].uplink_free));
    }
    return next;
}

static void set_time(struct network *network, int64_t time) {
    network->now = KMAX(network->now, time);
    for (uint32_t i = 0; i < network->host_count; i++)
        network->hosts[i]->now = network->now;
}

bool network_step(struct network *network, int64_t limit) {
    run_present(network);
    int64_t next = next_event(network);
    if (next == NEVER || next > limit)
        return false;
    network->events++;
    set_time(network, next);
    if (network->flying_count && network->flying[1]->when <= network->now) {
        struct flying_packet *packet = flying_pop(network);
        network_inject(network, packet->destination, packet->bytes, packet->length);
        free(packet);
    }
    for (uint32_t i = 0; i < network->host_count; i++)
        if (timer_next(network->hosts[i]) <= network->now)
            timers_run(network->hosts[i]);
    run_present(network);
    return true;
}

void network_run_until(struct network *network, int64_t time) {
    while (network_step(network, time))
        ;
    set_time(network, time);
}

void network_run_for(struct network *network, int64_t duration) { network_run_until(network, network->now + duration); }

void network_run(struct network *network) {
    while (network_step(network, NEVER))
        ;
}

void network_inject(struct network *network, struct host *host, const uint8_t *bytes, uint32_t length) {
    (void)network;
    struct packet *packet = packet_create(host, length);
    CHECK(packet);
    memcpy(packet->data, bytes, length);
    net_receive(host, packet);
    net_run_backlog(host);
}

/* ---- Small helpers ---- */

struct uio *buffer_uio(struct buffer_uio *holder, const void *buffer, size_t length) {
    holder->segment.base = (uint64_t)buffer;
    holder->segment.length = length;
    uio_init(&holder->uio, &holder->segment, 1);
    return &holder->uio;
}

uint64_t test_random(uint64_t *state) { /* SplitMix64 */
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static uint8_t pattern_byte(uint64_t offset, uint64_t seed) {
    return (uint8_t)(((offset + seed) * UINT64_C(0x9E3779B97F4A7C15)) >> 56);
}

void test_pattern(uint8_t *bytes, size_t length, uint64_t offset, uint64_t seed) {
    for (size_t i = 0; i < length; i++)
        bytes[i] = pattern_byte(offset + i, seed);
}

bool test_pattern_matches(const uint8_t *bytes, size_t length, uint64_t offset, uint64_t seed) {
    for (size_t i = 0; i < length; i++)
        if (bytes[i] != pattern_byte(offset + i, seed))
            return false;
    return true;
}
