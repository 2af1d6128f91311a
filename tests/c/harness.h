/* What the C tests of the kernel stand on: hosts in one program, wires between them, and a clock moved by hand.
 *
 * The harness plays the parts that the shim and the engine play in a run: it supplies the platform functions, gives the
 * turn to tasks (coroutines, so that blocking system calls work), carries packets and advances virtual time from event
 * to event. Nothing here reads the wall clock, so a test does the same thing every time.
 */
#ifndef ANTUMBRA_TESTS_HARNESS_H
#define ANTUMBRA_TESTS_HARNESS_H

#include <stdio.h>
#include <stdlib.h>

#include "hot/kernel/internal.h"

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            harness_failed(__FILE__, __LINE__, #condition);                                                            \
    } while (0)
#define CHECK_EQUAL(left, right)                                                                                       \
    do {                                                                                                               \
        long long left_value = (long long)(left), right_value = (long long)(right);                                    \
        if (left_value != right_value)                                                                                 \
            harness_differ(__FILE__, __LINE__, #left, #right, left_value, right_value);                                \
    } while (0)
/* Names a test in messages and runs it. */
#define RUN(test)                                                                                                      \
    do {                                                                                                               \
        harness_begin(#test);                                                                                          \
        test();                                                                                                        \
    } while (0)

void harness_begin(const char *name);
__attribute__((noreturn)) void harness_failed(const char *file, int line, const char *condition);
__attribute__((noreturn)) void harness_differ(const char *file, int line, const char *left, const char *right,
                                              long long left_value, long long right_value);

#define NETWORK_HOSTS 8

/* A host's way into the network. Serialisation happens at both ends: at the source's uplink (the kernel sees the
 * back-pressure) and at a bottleneck in the network (a drop-tail queue, whose losses congestion control sees). */
struct wire {
    int64_t latency_ns;
    uint64_t uplink_bps;       /* 0 = no limit */
    uint64_t bottleneck_bps;   /* 0 = none */
    uint64_t bottleneck_queue; /* bytes that may wait at the bottleneck */
    /* Decide about packet number `index` (from 0) of this host: whether it is lost, how much later it comes. */
    bool (*lose)(void *context, uint64_t index, const uint8_t *bytes, uint32_t length);
    int64_t (*delay)(void *context, uint64_t index, const uint8_t *bytes, uint32_t length);
    void *context;
    /* state */
    int64_t uplink_free, bottleneck_free;
    uint64_t packets, bytes, lost;
};

struct flying_packet {
    int64_t when;
    uint64_t sequence;
    struct host *destination;
    uint32_t length;
    uint8_t bytes[];
};

struct network {
    int64_t now;
    uint32_t host_count;
    struct host *hosts[NETWORK_HOSTS];
    struct wire wires[NETWORK_HOSTS]; /* by source host */
    struct flying_packet **flying;    /* binary heap by (when, sequence), from index 1 */
    size_t flying_count, flying_capacity;
    uint64_t flying_sequence;
    uint64_t events;
};

/* Hosts 10.0.0.1, 10.0.0.2, ... named host1, host2, ...; 10 ms wires without limits. One network at a time. */
/* fd41:6e74:756d::10.0.0.(host + 1). */
struct ip_address harness_address6(uint32_t host);
struct network *network_create(uint32_t host_count, uint64_t seed);
void network_free(struct network *network);
/* Runs whatever is runnable or due now, then moves to the next event if that is not after `limit`.
 * False: nothing is left to do until then. */
bool network_step(struct network *network, int64_t limit);
void network_run_until(struct network *network, int64_t time); /* the clock shows `time` afterwards */
void network_run_for(struct network *network, int64_t duration);
void network_run(struct network *network); /* until no event is left */
/* Hands a packet to a host as if it came from the wire now. */
void network_inject(struct network *network, struct host *host, const uint8_t *bytes, uint32_t length);

/* A process with one task and no program: for calling kernel functions directly. */
struct task *task_fake(struct host *host);
/* A task whose program is `body`, on its own stack, so that it may block. Runs when the network is stepped. */
struct task *task_start(struct host *host, void (*body)(struct task *task, void *argument), void *argument);
bool task_finished(const struct task *task);
/* The same for a task that exists: process_create's, say. */
void task_run(struct task *task, void (*body)(struct task *task, void *argument), void *argument);

/* What host->rights_fd is: for hosts whose tasks pass real files. The caller closes it. */
int harness_rights_socket(void);

/* ---- For tests that make any system call ---- */

/* From now on clone starts `body` in the child, execve starts it anew, and exit ends the coroutine. */
void harness_programs(void (*body)(struct task *task, void *argument));
/* The tasks of a process will never run again, and are about to be freed by process_abandon. */
void harness_forget(const struct process *process);
void harness_quiet(void); /* the kernel's warnings are not shown */
/* All that is user memory; length 0: everything but the first page, as it is in the beginning. */
void harness_user_memory(uint64_t start, size_t length);
/* Who answers the kernel's real system calls instead of the machine; NULL: the machine. */
void harness_native(int64_t (*call)(long number, const uint64_t arguments[6]));
int64_t harness_syscall(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f);

/* A uio over one buffer. */
struct buffer_uio {
    struct user_iovec segment;
    struct uio uio;
};
struct uio *buffer_uio(struct buffer_uio *holder, const void *buffer, size_t length);

/* Deterministic bytes and numbers for tests, independent of the kernel's own. */
uint64_t test_random(uint64_t *state);
void test_pattern(uint8_t *bytes, size_t length, uint64_t offset, uint64_t seed);
bool test_pattern_matches(const uint8_t *bytes, size_t length, uint64_t offset, uint64_t seed);

#endif
