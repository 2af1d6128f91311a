/* Fuzz target for the kernel's call interface: scripts of system calls by several processes of two hosts.
 *
 *   clang -fsanitize=fuzzer,address,undefined -iquote hot/kernel -iquote tests/c -I. tests/fuzz/fuzz_system_calls.c \
 *       tests/fuzz/native_calls.c tests/c/harness.c hot/kernel/[a-z]*.c -o fuzz_system_calls
 *
 * With gcc, tests/fuzz/explore.c is the driver: its header tells how to build and run it. An input is a script; whoever
 * has the turn takes the next call from it, so that calls which sleep and calls that wake them meet. Arguments are
 * made by kind: some that the call means, some on the edge, some hostile. Pointers lead into 64 KiB of user memory, to
 * its ends, or nowhere. Processes fork, start threads, exec, send signals and are killed from outside. At the end all
 * of them must be gone and must have given back what they had: memory, ports, connections, descriptors.
 */
#include <string.h>
#include <sys/mman.h>

#include "explore.h"
#include "harness.h"
#include "hot/kernel/ipc.h"
#include "hot/kernel/process.h"
#include "hot/kernel/signal.h"
#include "hot/kernel/socket.h"
#include "hot/kernel/syscall.h"
#include "native_calls.h"

#define USER_START UINT64_C(0x50000000) /* below the shadow memory of AddressSanitizer */
#define USER_SIZE 65536u
#define HOSTS NATIVE_HOSTS
#define PROCESSES_MAX 24u
#define EVENTS_MAX 3000u

/* ---- The script ---- */

static struct {
    const uint8_t *at, *end;
} script;

static bool over(void) { return script.at >= script.end; }

static uint64_t take(unsigned bytes) {
    uint64_t value = 0;
    while (bytes--)
        value = value << 8 | (over() ? 0 : *script.at++);
    return value;
}

static uint32_t below(uint32_t bound) { return (uint32_t)take(1) % bound; }

#define PICK(...)                                                                                                      \
    (((const uint64_t[]){__VA_ARGS__})[below((uint32_t)(sizeof (const uint64_t[]){__VA_ARGS__} / sizeof(uint64_t)))])

/* ---- Arguments ---- */

static uint64_t hostile_number(void) {
    return below(8) ? PICK(0, 1, 2, 0x7f, 0x80, 0xfff, 0x1000, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
                           INT64_MAX, UINT64_C(1) << 63, UINT64_MAX, UINT64_MAX - 1, UINT64_MAX - 4095)
                    : take(8);
}

static uint64_t hostile_pointer(void) {
    uint64_t edge = USER_START + USER_SIZE - below(64);
    return PICK(0, 8, USER_START - 4, edge, edge, edge, USER_START + USER_SIZE, ARENA_REGION_BASE,
                UINT64_C(0x600000000000), UINT64_C(1) << 63, UINT64_MAX - 7);
}

/* User memory that the call under construction does not use yet. */
static uint32_t used;

static void *room(uint32_t length) {
    if (used + length > USER_SIZE)
        used = 0;
    void *memory = (void *)(USER_START + used);
    used += (length + 15) & ~15u;
    return memory;
}

static uint64_t bytes_of(const void *value, uint32_t length) {
    void *memory = room(length);
    memcpy(memory, value, length);
    return (uint64_t)memory;
}

static uint64_t buffer(void) {
    uint32_t length = below(2) ? below(32) : 0;
    uint8_t *memory = room(length ? length : 256);
    for (uint32_t i = 0; i < length; i++)
        memory[i] = (uint8_t)take(1);
    return (uint64_t)memory;
}

static uint64_t length_of_buffer(void) {
    return below(8) ? PICK(0, 1, 2, 3, 4, 8, 12, 16, 28, 64, 110, 128, 255, 1000, 4096, 20000, 65536)
                    : hostile_number();
}

static uint64_t number(uint64_t value) { return bytes_of(&value, sizeof value); }

static uint64_t descriptor(void) {
    uint32_t choice = below(64);
    return choice < 56 ? choice % 14 : PICK(UINT64_MAX, (uint64_t)-100, 63, 1024, 0x7fffffff, 0x80000000);
}

static uint64_t small(void) { return below(16) ? (uint64_t)(int8_t)take(1) : hostile_number(); }

static uint64_t flags(void) {
    switch (below(4)) {
    case 0:
        return 0;
    case 1:
        return UINT64_C(1) << below(32);
    case 2:
        return UINT64_C(1) << below(32) | UINT64_C(1) << below(32);
    default:
        return take(4);
    }
}

static const char *const names[] = {"a",
                                    "b",
                                    "d",
                                    "d/a",
                                    "d/b",
                                    "program",
                                    "script",
                                    "l",
                                    "fifo",
                                    ".",
                                    "",
                                    "u",
                                    "/proc",
                                    "/proc/self",
                                    "/dev/null",
                                    "/dev/fd/3",
                                    "/proc/self/fd",
                                    "/dev/urandom",
                                    "/dev/shm/x",
                                    "/proc/self/fd/4",
                                    "/proc/cpuinfo",
                                    "/etc/hosts",
                                    "/srv/host1/a"};

static uint64_t path(void) {
    uint32_t choice = below(ARRAY_LENGTH(names) + 1);
    if (choice == ARRAY_LENGTH(names)) {
        uint8_t *text = room(5000);
        memset(text, below(2) ? '/' : 'x', 4999);
        text[below(2) ? 4095 : 4999] = 0;
        return (uint64_t)text;
    }
    return bytes_of(names[choice], (uint32_t)strlen(names[choice]) + 1);
}

static uint64_t strings(void) {
    uint64_t pointers[5];
    uint32_t count = below(4);
    for (uint32_t i = 0; i < count; i++)
        pointers[i] = path();
    pointers[count] = below(8) ? 0 : hostile_pointer();
    return bytes_of(pointers, (count + 1) * 8);
}

/* Writes a socket's name; its length. */
static uint32_t name_of_socket(uint8_t name[128]) {
    uint16_t port = (uint16_t)PICK(0, 1, 80, 80, 80, 81, 53, 9000, 40000, 65535);
    memset(name, 0, 128);
    switch (below(6)) {
    case 0:
    case 1:
        return inet_put_name(name, AF_INET,
                             ip4_address((uint32_t)PICK(0x0a000001, 0x0a000002, 0x7f000001, 0, 0x0a000009, 0xffffffff)),
                             port, 0);
    case 2: {
        const struct ip_address addresses[] = {harness_address6(0),     harness_address6(1),    {0, 1}, IP6_ANY,
                                               ip4_address(0x0a000002), {0xff02000000000000, 1}};
        return inet_put_name(name, AF_INET6, addresses[below(ARRAY_LENGTH(addresses))], port,
                             (uint32_t)PICK(0, 1, 2, 9));
    }
    case 3:
        put16(name, 0);
        name[0] = 1; /* AF_UNIX */
        memcpy(name + 2, below(2) ? "u\0\0\0\0\0\0\0" : "\0abstract", 9);
        return (uint32_t)PICK(2, 3, 4, 11, 110);
    case 4:
        name[0] = 16; /* AF_NETLINK */
        name[4] = (uint8_t)take(1);
        if (name[4] < 128)
            return 12;
        name[0] = 17; /* AF_PACKET */
        put16(name + 2, (uint16_t)PICK(0x0003, 0x0800, 0x86dd, 0));
        name[4] &= 3; /* the interface */
        return 20;
    default:
        for (uint32_t i = 0; i < 16; i++)
            name[i] = (uint8_t)take(1);
        return (uint32_t)take(1) % 129;
    }
}

/* The length of the last name that was made, for the argument behind it. */
static uint64_t name_length;

static uint64_t socket_name(void) {
    uint8_t name[128];
    name_length = name_of_socket(name);
    return bytes_of(name, sizeof name);
}

static uint64_t vector_count;

static uint64_t vector(void) {
    uint64_t segments[8][2];
    vector_count = below(8);
    for (uint32_t i = 0; i < vector_count; i++) {
        segments[i][0] = below(16) ? buffer() : hostile_pointer();
        segments[i][1] = length_of_buffer();
    }
    return bytes_of(segments, (uint32_t)vector_count * 16);
}

static uint32_t control(uint8_t *bytes) {
    uint32_t length = 0;
    for (uint32_t count = below(4); count; count--) {
        uint64_t level = PICK(1, 1, 0, 41, 17, 6, 255);
        uint32_t type = (uint32_t)PICK(1, 1, 2, 8, 11, 50, 52, 67, 103), payload = 4 * below(8);
        uint64_t size = below(8) ? 16 + payload : hostile_number();
        memcpy(bytes + length, &size, 8);
        memcpy(bytes + length + 8, &level, 4);
        memcpy(bytes + length + 12, &type, 4);
        for (uint32_t i = 0; i < payload; i += 4)
            memcpy(bytes + length + 16 + i, &(uint32_t){(uint32_t)take(1) % 16}, 4);
        length += 16 + ((payload + 7) & ~7u);
    }
    return length;
}

static void message(uint64_t header[7]) {
    uint8_t bytes[256];
    header[0] = below(3) ? socket_name() : 0;
    header[1] = header[0] ? name_length : 0;
    header[2] = vector();
    header[3] = below(16) ? vector_count : hostile_number();
    uint32_t length = below(2) ? control(bytes) : 0;
    header[4] = length ? bytes_of(bytes, sizeof bytes) : below(2) ? buffer() : 0;
    header[5] = length ? length : PICK(0, 8, 16, 24, 64, 256, UINT64_MAX);
    header[6] = 0;
}

static uint64_t messages(uint32_t count) {
    uint64_t headers[4][8];
    for (uint32_t i = 0; i < count; i++) {
        message(headers[i]);
        headers[i][7] = 0;
    }
    return bytes_of(headers, count * 64);
}

static int64_t seconds(void) { return (int64_t)(below(4) ? PICK(0, 0, 0, 1, 5, 1000) : hostile_number()); }

static uint64_t times(uint32_t count) {
    int64_t values[4];
    for (uint32_t i = 0; i < count; i++) {
        values[2 * i] = seconds();
        values[2 * i + 1] = (int64_t)PICK(0, 0, 1, 1000, 999999, 1000000, 999999999, 1000000000, UINT64_MAX);
    }
    return bytes_of(values, count * 16);
}

static uint64_t poll_count;

static uint64_t polls(void) {
    uint32_t entries[8][2];
    poll_count = below(9);
    for (uint32_t i = 0; i < poll_count; i++) {
        entries[i][0] = (uint32_t)descriptor();
        entries[i][1] = (uint32_t)take(2);
    }
    return bytes_of(entries, (uint32_t)poll_count * 8);
}

static uint64_t epoll_event(void) {
    uint8_t event[12];
    uint32_t events = (uint32_t)(take(1) | PICK(0, 1u << 31, 1u << 30, 1u << 28, 1u << 29, 0x2000));
    memcpy(event, &events, 4);
    memset(event + 4, (int)take(1), 8);
    return bytes_of(event, sizeof event);
}

static uint64_t signal_set(void) {
    return number(PICK(0, UINT64_MAX, 1 << 9, 1 << 13, 1 << 16, UINT64_C(1) << 40, take(8)));
}

static uint64_t signal_action(void) {
    uint64_t action[4] = {PICK(0, 1, USER_START, USER_START), 0, USER_START, PICK(0, UINT64_MAX)};
    action[1] = PICK(0, 1, 2, 4, 0x10000000, 0x40000000, 0x80000000, UINT64_MAX);
    return bytes_of(action, sizeof action);
}

static uint64_t event_of_signal(void) { /* struct sigevent */
    int32_t event[16] = {0};
    event[2] = (int32_t)PICK(10, 14, 34, 64, 65, 0);
    event[3] = (int32_t)PICK(0, 1, 2, 4, 9);
    event[4] = 1000 + (int32_t)below(6);
    return bytes_of(event, sizeof event);
}

static uint64_t semaphore_operations(void) {
    int16_t operations[6][3];
    vector_count = 1 + below(6);
    for (uint32_t i = 0; i < vector_count; i++) {
        operations[i][0] = (int16_t)below(4);
        operations[i][1] = (int16_t)PICK(0, 1, 2, (uint16_t)-1, (uint16_t)-2, 32767, 32768);
        operations[i][2] = (int16_t)PICK(0, 04000, 010000, 014000);
    }
    return bytes_of(operations, (uint32_t)vector_count * 6);
}

static uint64_t process_number(void) {
    return PICK(0, 0, 1000, 1001, 1002, 1003, 1004, 1005, UINT64_MAX, (uint64_t)-1000, 1, 0x80000000);
}

static uint64_t clone_arguments(void) {
    uint64_t arguments[11] = {PICK(0, 0x50f00, 0x10f00, 0x4100, 0x100, 0x400, 0x1000, 0x800000, UINT64_MAX)};
    arguments[0] |= below(2) ? flags() & ~UINT64_C(0xff) : 0;
    arguments[1] = arguments[2] = arguments[3] = buffer();
    arguments[4] = PICK(17, 17, 0, 10, 64, 65, UINT64_MAX);
    arguments[5] = USER_START;
    arguments[6] = 4096;
    return bytes_of(arguments, sizeof arguments);
}

static uint64_t filter_program(void) { /* struct sock_fprog */
    uint64_t program[2] = {1 + below(4), buffer()};
    return bytes_of(program, sizeof program);
}

static uint64_t ring_request(void) { /* struct tpacket_req */
    const uint32_t request[4] = {(uint32_t)PICK(4096, 4096, 8192, 1000), (uint32_t)PICK(1, 2, 0, 0xffffffff),
                                 (uint32_t)PICK(2048, 1024, 128, 16), (uint32_t)PICK(2, 4, 8, 0)};
    return bytes_of(request, sizeof request);
}

static uint64_t socket_option_value(void) {
    static const uint32_t multicast[] = {0x010000e0, 0x0100000a, 1};
    switch (below(5)) {
    case 0:
    case 1:
        return number(PICK(0, 1, 2, 64, 255, 256, 1500, 65536, 0xffffffff, 0x80000000));
    case 2:
        return times(1);
    case 3:
        return bytes_of(multicast, sizeof multicast);
    default:
        switch (below(4)) {
        case 0:
            return bytes_of("cubic\0reno\0lo\0eth0", 19);
        case 1:
            return filter_program();
        case 2:
            return ring_request();
        default:
            return buffer();
        }
    }
}

/* Arguments by letter: those of the system call table, and some for what they do not tell apart. */
static uint64_t argument(char kind) {
    if (!below(24)) /* anything where anything else is meant */
        return below(2) ? hostile_number() : hostile_pointer();
    switch (kind) {
    case 'f':
        return descriptor();
    case 's':
        return path();
    case 'd':
    case 'l':
        return small();
    case 'u':
        return length_of_buffer();
    case 'x':
    case 'o':
        return flags();
    case 'w':
        return PICK(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, (uint64_t)-6, (uint64_t)-2);
    case 'g':
        return PICK(0, 1, 2, 9, 10, 12, 13, 14, 15, 17, 18, 19, 20, 23, 32, 34, 64, 65, UINT64_MAX);
    case 'p':
    case 'b':
        return buffer();
    case 'a':
        return socket_name();
    case 'A':
        return below(4) ? name_length : length_of_buffer();
    case 'n':
        return number(PICK(0, 2, 16, 28, 110, 128, 0xffffffff));
    case 'm': {
        uint64_t header[7];
        message(header);
        return bytes_of(header, sizeof header);
    }
    case 'M':
        return messages(3);
    case 'v':
        return vector();
    case 'V':
        return below(8) ? vector_count : hostile_number();
    case 't':
        return below(4) ? times(1) : 0;
    case 'T':
        return times(2);
    case 'e':
        return epoll_event();
    case 'P':
        return polls();
    case 'N':
        return below(8) ? poll_count : hostile_number();
    case 'G':
        return signal_set();
    case 'z':
        return below(16) ? 8 : length_of_buffer();
    case 'H':
        return signal_action();
    case 'E':
        return event_of_signal();
    case 'q':
        return semaphore_operations();
    case 'i':
        return process_number();
    case 'k':
        return PICK(0, 0, 1, 2, 3, UINT64_MAX);
    case 'K':
        return PICK(0, 01000, 02000, 03000, 01666, 03600, 04000, 06000);
    case 'C':
        return PICK(0, 1, 2, 3, 11, 12, 13, 14, 15, 16, 17, 18, 19);
    case 'W':
        return USER_START + 16 * below(4) + (below(16) ? 0 : 2);
    case 'D':
        return PICK(1, 2, 2, 10, 10, 16, 17, 0, 255);
    case 'X':
        return PICK(1, 1, 2, 2, 3, 5, 6) | PICK(0, 0, 04000, 02000000);
    case 'r':
        return PICK(0, 0, 0, 6, 17, 1, 58, 255, 4, 15);
    case 'L':
        return PICK(1, 263 /* SOL_PACKET */, 0, 6, 17, 41, 58, 255, 270);
    case 'Q':
        return take(1) % 80;
    case 'S':
        return socket_option_value();
    case 'c':
        return PICK(0x5421, 0x541b, 0x5411, 0x8905, 0x8901, 0x8912, 0x8913, 0x8915, 0x8927, 0x8910, 0x8933, 0x8921,
                    0x5401, 0x5413, 0x5452, 0x5450, 0x5451, 0x8904, 0x894c, 0x8906, 0x5460, 2);
    case 'Y':
        return PICK(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 15, 16, 36, 37, 38, 1024, 1025, 1026, 1030, 1031, 1032, 1033,
                    1034, 1036);
    case 'y':
        return below(3) ? small() : buffer();
    case 'Z':
        return strings();
    case 'B':
        return clone_arguments();
    case 'R':
        return PICK(0x50f00, 0x10f00, 0x100 | 17, 0x4100 | 17, 17, 0x1200011, 0x1000 | 17) | (below(4) ? 0 : flags());
    case 'J':
        return PICK(0, 1, 4, 8, 0x40, 0x41, 0x1000000, 0x1000005, 9, 10) | (below(4) ? 0 : flags());
    default:
        return hostile_number();
    }
}

static const struct call {
    uint16_t number;
    char arguments[8];
} told[] = {
    {0, "fbu"},      {1, "fbu"},      {3, "f"},        {7, "PNd"},      {13, "gHpz"},  {14, "dGpz"},    {16, "fcS"},
    {17, "fbul"},    {19, "fvV"},     {20, "fvV"},     {22, "p"},       {23, "upppt"}, {25, "puuxp"},   {29, "kuK"},
    {30, "dpx"},     {31, "dCp"},     {32, "f"},       {33, "ff"},      {35, "tp"},    {36, "dp"},      {37, "d"},
    {38, "dTp"},     {40, "ffpu"},    {41, "DXr"},     {42, "faA"},     {43, "fan"},   {44, "fbuxaA"},  {45, "fbuxan"},
    {46, "fmx"},     {47, "fmx"},     {48, "fd"},      {49, "faA"},     {50, "fd"},    {51, "fan"},     {52, "fan"},
    {53, "DXrp"},    {54, "fLQSu"},   {55, "fLQSn"},   {56, "Rbbbb"},   {57, ""},      {58, ""},        {59, "sZZ"},
    {60, "d"},       {61, "ipxp"},    {62, "ig"},      {64, "kdK"},     {65, "dqV"},   {66, "ddCp"},    {68, "kK"},
    {69, "dpux"},    {70, "dpulx"},   {71, "dCp"},     {72, "fYy"},     {73, "fd"},    {78, "fpu"},     {109, "ii"},
    {112, ""},       {126, "pp"},     {127, "pu"},     {128, "Gptz"},   {129, "igp"},  {130, "Gz"},     {131, "pp"},
    {157, "dxxxx"},  {160, "dp"},     {200, "ig"},     {202, "WJdtWd"}, {213, "d"},    {217, "fpu"},    {218, "p"},
    {220, "dqVt"},   {222, "wEp"},    {223, "dxTp"},   {224, "dp"},     {226, "d"},    {230, "wxtp"},   {232, "fpdd"},
    {233, "fCfe"},   {234, "iig"},    {247, "diptp"},  {254, "fsx"},    {255, "fd"},   {257, "fsxo"},   {258, "fso"},
    {263, "fsx"},    {264, "fsfs"},   {270, "upppt"},  {271, "PNtGz"},  {273, "pu"},   {275, "fpfpux"}, {276, "ffux"},
    {281, "fpddGz"}, {283, "wx"},     {285, "fxll"},   {286, "fxTp"},   {288, "fanx"}, {289, "fGzx"},   {290, "ux"},
    {291, "x"},      {292, "ffx"},    {293, "px"},     {294, "x"},      {297, "iigp"}, {299, "fMVxt"},  {302, "ddpp"},
    {307, "fMVx"},   {319, "sx"},     {326, "fpfpux"}, {424, "fgpx"},   {434, "ix"},   {435, "Bu"},     {436, "uux"},
    {437, "fspu"},   {441, "fpdtGz"}, {41, "DXr"},     {41, "DXr"},     {42, "faA"},   {49, "faA"},     {50, "f"},
};

static const struct call table[] = {
#define CALL(number, name, function, arguments, flags) {number, arguments},
#include "hot/kernel/syscall_table.h"
#undef CALL
};

static bool excluded(uint64_t number) {
    return number == 15 /* rt_sigreturn */ || number == 158 /* arch_prctl */; /* of the shim */
}

/* ---- A process's program ---- */

static uint32_t processes_of(const struct host *host) {
    uint32_t count = 0;
    list_for_each(node, &host->processes) {
        const struct process *process = list_entry(node, struct process, host_node);
        list_for_each(task, &process->tasks) count++;
    }
    return count;
}

static bool makes_task(uint64_t number) { return (number >= 56 && number <= 58) || number == 435; }

/* As the shim does on the way back to the program, whose handlers return at once. */
static bool went_on(struct task *task) {
    struct signal_delivery delivery;
    bool handled = false;
    while (signal_next(task, &delivery)) {
        handled = true;
        signal_set_mask(task, delivery.saved_mask);
    }
    return handled;
}

static bool is_restart(int64_t result) {
    return result == -ERESTARTSYS || result == -ERESTARTNOINTR || result == -ERESTARTNOHAND ||
           result == -ERESTART_RESTARTBLOCK;
}

static void call(struct task *task, uint64_t number, const uint64_t arguments[6]) {
    for (unsigned restarts = 0;; restarts++) {
        CHECK(restarts < 10000);
        task->user_stack = USER_START + 4096;
        int64_t result = syscall_dispatch(task, number, arguments);
        CHECK(task->host->current == task && task->state == TASK_RUNNABLE);
        CHECK(!task->held[0] && !task->held[1]);
        CHECK(list_empty(&task->waits) && !list_linked(&task->futex_node) && !timer_armed(&task->timer));
        if (went_on(task) || !is_restart(result))
            return;
    }
}

static void step(struct task *task) {
    uint64_t arguments[6] = {0};
    uint32_t choice = below(4);
    const struct call *chosen = choice ? &told[take(1) % ARRAY_LENGTH(told)] : &table[take(2) % ARRAY_LENGTH(table)];
    if (choice == 1) /* neighbours of what is told, by the table's own letters */
        for (uint32_t i = 0; i < ARRAY_LENGTH(table); i++)
            if (table[i].number == chosen->number)
                chosen = &table[i];
    uint64_t wanted = chosen->number;
    for (int i = 0; chosen->arguments[i] && i < 6; i++)
        arguments[i] = argument(chosen->arguments[i]);
    if (getenv("FUZZ_VERBOSE"))
        fprintf(stderr, "%s %d/%d: %s(0x%llx, 0x%llx, 0x%llx, 0x%llx, 0x%llx, 0x%llx)\n", task->host->name,
                task->process->pid, task->tid, syscall_name(wanted), (unsigned long long)arguments[0],
                (unsigned long long)arguments[1], (unsigned long long)arguments[2], (unsigned long long)arguments[3],
                (unsigned long long)arguments[4], (unsigned long long)arguments[5]);
    if (excluded(wanted) || (makes_task(wanted) && processes_of(task->host) >= PROCESSES_MAX))
        return;
    call(task, wanted, arguments);
}

static void program(struct task *task, void *unused) {
    (void)unused;
    used = 64; /* before it are the futexes */
    while (!over())
        step(task);
    call(task, 231 /* exit_group */, (const uint64_t[6]){0});
}

/* ---- The shard's part ---- */

static void start(struct host *host, uint32_t user) {
    struct task *task = process_create(host, NULL, user, user);
    CHECK(task);
    struct process *process = task->process;
    process->native_pid = (uint32_t)task->tid;
    process->brk_start = process->brk = UINT64_C(0x500000000);
    process->brk_limit = UINT64_C(0x600000000);
    task_run(task, program, NULL);
}

/* A stranger's packet, whose port and flags the script chooses. */
static void inject(struct network *network, struct host *host) {
    uint8_t packet[64] = {0x45};
    uint32_t length = IP_HEADER + (uint32_t)PICK(8, 20, 28, 40);
    put16(packet + 2, (uint16_t)length);
    packet[8] = 64;
    packet[9] = (uint8_t)PICK(PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_ICMP);
    put32(packet + 12, (uint32_t)PICK(0x0a000002, 0x0a000001, 0x0a000009));
    put32(packet + 16, host->address);
    for (uint32_t i = IP_HEADER; i < length; i++)
        packet[i] = (uint8_t)take(1);
    put16(packet + 22, (uint16_t)PICK(80, 81, 53, 9000));
    packet[32] = 0x50;
    network_inject(network, host, packet, length);
}

/* One that died in the real world, which the shard has noticed. */
static void kill_one(struct host *host) {
    uint32_t skip = below(4);
    list_for_each(node, &host->processes) {
        struct process *process = list_entry(node, struct process, host_node);
        if (process->zombie || skip--)
            continue;
        harness_forget(process);
        process_abandon(process, WAIT_STATUS_SIGNAL(9));
        return;
    }
}

static void act(struct network *network) {
    struct host *host = network->hosts[below(HOSTS)];
    switch (below(4)) {
    case 0:
        kill_one(host);
        native_calls_lost();
        break;
    case 1:
        if (processes_of(host) < PROCESSES_MAX)
            start(host, below(2) ? 0 : 1000);
        break;
    default:
        inject(network, host);
    }
}

static void run(struct network *network, int64_t duration) {
    uint64_t events = network->events + EVENTS_MAX;
    int64_t until = network->now + duration;
    while (network->events < events && network_step(network, until))
        continue;
}

/* What a program leaves behind when it ends, and is not a leak: System V objects. */
static void remove_objects(struct host *host) {
    struct task *task = task_fake(host);
    static const uint64_t calls[] = {[IPC_SHARED_MEMORY] = 31, [IPC_SEMAPHORES] = 66, [IPC_MESSAGES] = 71};
    for (int kind = 0; host->ipc && kind < IPC_KINDS; kind++) {
        while (!list_empty(&host->ipc->objects[kind])) {
            uint64_t id = (uint64_t)list_entry(host->ipc->objects[kind].next, struct ipc_object, node)->id;
            uint64_t arguments[6] = {id, kind == IPC_SEMAPHORES ? 0 : IPC_RMID, kind == IPC_SEMAPHORES ? IPC_RMID : 0};
            CHECK_EQUAL(syscall_dispatch(task, calls[kind], arguments), 0);
        }
    }
}

static void end_all(struct network *network) {
    for (uint32_t i = 0; i < HOSTS; i++)
        list_for_each(node, &network->hosts[i]->processes)
            process_exit_group(list_entry(node, struct process, host_node), 0);
    run(network, 0);
    network_run_for(network, 2000 * NS_PER_S); /* what was sent is given up, TIME_WAIT passes */
    for (uint32_t i = 0; i < HOSTS; i++) {
        struct host *host = network->hosts[i];
        CHECK(list_empty(&host->processes));
        CHECK(list_empty(&host->run_queue) && list_empty(&host->signalfds) && list_empty(&host->inotifies));
        CHECK_EQUAL(host->timer_count, 0);
        CHECK_EQUAL(host->net->ports.count, 0);
        CHECK_EQUAL(host->net->connections.count, 0);
        remove_objects(host);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    static bool ready;
    if (!ready) {
        CHECK(mmap((void *)USER_START, USER_SIZE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == (void *)USER_START);
        harness_begin("fuzz_system_calls");
        harness_user_memory(USER_START, USER_SIZE);
        harness_programs(program);
        if (!getenv("FUZZ_VERBOSE"))
            harness_quiet();
        ready = true;
    }
    memset((void *)USER_START, 0, USER_SIZE);
    script.at = bytes;
    script.end = bytes + length;
    struct network *network = network_create(HOSTS, 1);
    native_calls_begin(network->hosts);
    uint32_t options = (uint32_t)take(1);
    uint64_t before[HOSTS];
    for (uint32_t i = 0; i < HOSTS; i++) {
        struct host *host = network->hosts[i];
        before[i] = host->arena.bytes_in_use;
        host->model_cpu = options & 1;
        host->round_robin = options & 8;
        host->call_cost_ns = 100;
        host->max_unapplied_cpu_ns = 1000;
        start(host, options & 2 ? 1000 : 0);
    }
    start(network->hosts[0], options & 4 ? 1000 : 0);
    for (;;) {
        run(network, (int64_t)PICK(0, NS_PER_MS, NS_PER_S, 100 * NS_PER_S));
        if (over())
            break;
        act(network);
    }
    end_all(network);
    native_calls_end();
    for (uint32_t i = 0; i < HOSTS; i++)
        if (network->hosts[i]->arena.bytes_in_use > before[i] + 65536) {
            fprintf(stderr, "%s: %llu bytes before, %llu after\n", network->hosts[i]->name,
                    (unsigned long long)before[i], (unsigned long long)network->hosts[i]->arena.bytes_in_use);
            abort();
        }
    network_free(network);
    return 0;
}
