/* Virtual files: /proc, /sys and the devices, as a simulated machine shows them.
 *
 * path.c asks where a name leads, fs.c opens what this file found. One row per name; contents are generated when the
 * file is opened and fixed from then on.
 */
#include "credentials.h"
#include "fs_internal.h"
#include "ipc.h"
#include "mm.h"
#include "process.h"
#include "scheduling.h"
#include "signal.h"
#include "socket.h"
#include "tty.h"

#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/poll.h>
#include <linux/stat.h>

#define KERNEL_RELEASE "6.1.0-antumbra" /* as uname says */
#define MEMORY_KIB 4194304

typedef void generator(struct text *text, struct task *task, const struct virtual_name *found);

struct virtual_row {
    const char *name;
    const char *constant; /* the contents, or NULL: */
    generator *generate;
    uint16_t permissions;
    uint8_t kind;
    bool private; /* of a process: for those who may inspect it */
};

struct virtual_file {
    uint32_t mode, user, group;
    uint64_t number;
    char *bytes;
    size_t length;
    struct snapshot *snapshot;
    struct virtual_name found;
    char name[];
};

/* ---- Text ---- */

static bool text_reserve(struct text *text, size_t more) {
    if (text->length + more <= text->capacity)
        return true;
    size_t capacity = KMAX(text->capacity * 2, (size_t)1000);
    while (capacity < text->length + more)
        capacity *= 2;
    char *bytes = kalloc_raw(text->host, capacity);
    if (!bytes) {
        text->failed = true;
        return false;
    }
    if (text->length)
        memcpy(bytes, text->bytes, text->length);
    kfree(text->host, text->bytes);
    text->bytes = bytes;
    text->capacity = capacity;
    return true;
}

void text_append(struct text *text, const char *bytes, size_t length) {
    if (!length || !text_reserve(text, length))
        return;
    memcpy(text->bytes + text->length, bytes, length);
    text->length += length;
}

void text_printf(struct text *text, const char *format, ...) {
    char line[512];
    __builtin_va_list arguments;
    __builtin_va_start(arguments, format);
    int length = kvprintf(line, sizeof line, format, arguments);
    __builtin_va_end(arguments);
    text_append(text, line, KMIN((size_t)length, sizeof line - 1));
}

/* ---- Contents ---- */

static int64_t ticks(int64_t time_ns) { return time_ns / (NS_PER_S / 100); }

static unsigned thread_count(const struct process *process) {
    unsigned count = 0;
    list_for_each(node, &process->tasks) count++;
    return count;
}

static const struct task *named_task(const struct virtual_name *found) {
    const struct process *process = found->process;
    list_for_each(node, &process->tasks) {
        const struct task *task = list_entry(node, struct task, process_node);
        if (task->tid == found->tid)
            return task;
    }
    return list_empty(&process->tasks) ? NULL : list_entry(process->tasks.next, struct task, process_node);
}

static const char *comm_of(const struct virtual_name *found) {
    const struct task *task = named_task(found);
    return task ? task->comm : "";
}

static char state_of(const struct virtual_name *found, const struct task *reader) {
    if (found->process->zombie)
        return 'Z';
    if (found->process->stopped)
        return 'T';
    const struct task *task = named_task(found);
    return task == reader || (task && task->state == TASK_RUNNABLE) ? 'R' : 'S';
}

static int32_t parent_pid(const struct process *process) { return process->parent ? process->parent->pid : 1; }

static void process_command_line(struct text *text, struct task *task, const struct virtual_name *found) {
    (void)task;
    text_append(text, found->process->command_line, found->process->command_line_length);
}

static void process_environment(struct text *text, struct task *task, const struct virtual_name *found) {
    (void)task;
    text_append(text, found->process->environment, found->process->environment_length);
}

/* ---- Mappings: the real ones, without what belongs to the simulator or differs between machines ---- */

static const char *parse_hexadecimal(const char *at, uint64_t *value) {
    for (*value = 0; *at; at++) {
        int digit = *at >= '0' && *at <= '9' ? *at - '0' : *at >= 'a' && *at <= 'f' ? *at - 'a' + 10 : -1;
        if (digit < 0)
            break;
        *value = *value * 16 + (uint64_t)digit;
    }
    return *at ? at + 1 : at;
}

/* The virtual inode number of a mapped file; of one that has no name any more, a number made from its last one. */
static uint64_t mapped_number(struct task *task, const char *path) {
    struct stat status;
    if (native_stat(AT_FDCWD, path, 0, &status) != 0)
        return virtual_number(path);
    const struct inode *inode = inode_get(task->host, &status, path_below(path, task->host->directory) != NULL);
    return inode ? inode->number : 0;
}

#define ARENA_FILE "/memfd:antumbra-host" /* as hot/engine/spawn.c names it */

/* One line of the real file: start-end permissions offset device inode name. */
static void mapping(struct text *text, struct task *task, const struct process *process, char *line) {
    uint64_t start, end;
    const char *permissions = parse_hexadecimal(parse_hexadecimal(line, &start), &end);
    if (mm_reserved(start, end - start))
        return;
    const char *offset = permissions;
    while (*offset && *offset != ' ')
        offset++;
    offset += *offset == ' ';
    const char *field = offset;
    for (int fields = 0; *field && fields < 3; fields++) {
        while (*field && *field != ' ')
            field++;
        while (*field == ' ')
            field++;
    }
    char *name = line + (field - line);
    if (strncmp(name, "[v", 2) == 0) /* the vDSO and its kin do not exist in the simulation */
        return;
    uint64_t number = 0, place;
    const struct segment *segment = NULL;
    const struct file *ring = mm_file_at(process, start);
    (void)parse_hexadecimal(offset, &place);
    if (strncmp(name, ARENA_FILE, strlen(ARENA_FILE)) == 0)
        segment = segment_at(task->host, place);
    char segment_name[40], segment_offset[20];
    if (segment) { /* System V shared memory: a part of the arena's file (shm.c) */
        number = (uint64_t)segment_id(segment);
        kprintf(segment_name, sizeof segment_name, "/SYSV%08x (deleted)", (uint32_t)segment_key(segment));
        kprintf(segment_offset, sizeof segment_offset, "%08lx", place - segment_offset_of(segment));
        name = segment_name;
        offset = segment_offset;
    } else if (ring) { /* of a packet socket: another part of it */
        number = file_number(task->host, ring);
        kprintf(segment_name, sizeof segment_name, "socket:[%lu]", number);
        name = segment_name;
        offset = "00000000";
    } else if (*name == '/') {
        number = mapped_number(task, name);
        char *shown = kalloc_raw(task->host, FS_PATH_MAX);
        if (shown && kprintf(shown, FS_PATH_MAX, "%s", name) < FS_PATH_MAX &&
            !fs_real_to_virtual(task->host, shown, FS_PATH_MAX) && strlen(shown) <= strlen(name))
            memcpy(name, shown, strlen(shown) + 1);
        kfree(task->host, shown);
    }
    bool heap = !*name && process->brk > process->brk_start && start <= process->brk && end >= process->brk_start;
    char head[128];
    int length = kprintf(head, sizeof head, "%08lx-%08lx %.4s %.8s %s %lu ", start, end, permissions, offset,
                         segment  ? "00:01"
                         : number ? "08:01"
                                  : "00:00",
                         number);
    text_append(text, head, KMIN((size_t)length, sizeof head - 1));
    const char *label = heap ? "[heap]" : name;
    for (; *label && length < 73; length++)
        text_append(text, " ", 1);
    text_append(text, label, strlen(label));
    text_append(text, "\n", 1);
}

static void process_mappings(struct text *text, struct task *task, const struct virtual_name *found) {
    const struct process *process = found->process;
    struct text real = {.host = task->host};
    char path[40] = "/proc/self/maps";
    if (process->zombie)
        return;
    if (process != task->process)
        kprintf(path, sizeof path, "/proc/%u/maps", process->native_pid);
    int64_t fd = platform_syscall(__NR_open, (uint64_t)(uintptr_t)path, O_RDONLY, 0, 0, 0, 0);
    if (fd < 0)
        return;
    for (int64_t got = 1; got > 0;) {
        char part[2048];
        got = platform_syscall(__NR_read, (uint64_t)fd, (uint64_t)(uintptr_t)part, sizeof part, 0, 0, 0);
        if (got > 0)
            text_append(&real, part, (size_t)got);
    }
    platform_syscall(__NR_close, (uint64_t)fd, 0, 0, 0, 0, 0);
    text_append(&real, "", 1);
    for (char *line = real.bytes; !real.failed && line && *line;) {
        char *next = line;
        while (*next && *next != '\n')
            next++;
        bool last = !*next;
        *next = '\0';
        mapping(text, task, process, line);
        line = last ? NULL : next + 1;
    }
    text->failed |= real.failed;
    kfree(task->host, real.bytes);
}

static void process_comm(struct text *text, struct task *task, const struct virtual_name *found) {
    (void)task;
    text_printf(text, "%s\n", comm_of(found));
}

static void process_stat(struct text *text, struct task *task, const struct virtual_name *found) {
    const struct process *process = found->process;
    const struct task *shown = named_task(found);
    const struct scheduling scheduling = shown ? shown->scheduling : (struct scheduling){0};
    const struct terminal *terminal = process->terminal;
    text_printf(text, "%d (%s) %c %d %d %d %u %d 4194304 0 0 0 0 %ld 0 %ld 0 %d %d %u 0 %ld 268435456 16384 ",
                found->tid, comm_of(found), state_of(found, task), parent_pid(process), process->process_group,
                process->session, terminal_device(terminal),
                terminal && terminal->foreground ? terminal->foreground : -1, ticks(process_cpu_time(process)),
                ticks(process->children_cpu_ns), scheduling_shown_priority(&scheduling), scheduling.nice,
                thread_count(process), ticks(BOOT_UPTIME + process->start_time));
    text_printf(text, "18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 0 %d %d 0 0 0 0 0 0 0 0 0 0 %d\n",
                scheduling.priority, scheduling.policy, process->zombie ? process->exit_status : 0);
}

static void process_statm(struct text *text, struct task *task, const struct virtual_name *found) {
    (void)task;
    (void)found;
    text_printf(text, "65536 16384 2048 1024 0 32768 0\n");
}

static void process_status(struct text *text, struct task *task, const struct virtual_name *found) {
    const struct process *process = found->process;
    const struct task *shown = named_task(found);
    char state = state_of(found, task);
    text_printf(text, "Name:\t%s\nUmask:\t%04u\nState:\t%c (%s)\nTgid:\t%d\nNgid:\t0\nPid:\t%d\nPPid:\t%d\n",
                comm_of(found), (process->umask >> 6 & 7) * 100 + (process->umask >> 3 & 7) * 10 + (process->umask & 7),
                state,
                state == 'R'   ? "running"
                : state == 'Z' ? "zombie"
                : state == 'T' ? "stopped"
                               : "sleeping",
                process->pid, found->tid, parent_pid(process));
    const struct credentials *credentials = shown ? shown->credentials : credentials_of(process);
    const struct identity *user = &credentials->user, *group = &credentials->group;
    text_printf(text, "TracerPid:\t0\nUid:\t%u\t%u\t%u\t%u\nGid:\t%u\t%u\t%u\t%u\nFDSize:\t%u\nGroups:\t", user->real,
                user->effective, user->saved, user->filesystem, group->real, group->effective, group->saved,
                group->filesystem, process->files ? process->files->capacity : 0);
    for (uint32_t i = 0; i < credentials->group_count; i++)
        text_printf(text, "%u ", credentials->groups[i]);
    text_append(text, "\n", 1);
    text_printf(text, "VmPeak:\t  262144 kB\nVmSize:\t  262144 kB\nVmLck:\t%8lu kB\nVmPin:\t       0 kB\n",
                mm_locked_bytes(process) / 1024);
    text_printf(text, "VmHWM:\t   65536 kB\nVmRSS:\t   65536 kB\n"
                      "VmData:\t  131072 kB\nVmStk:\t     132 kB\nVmSwap:\t       0 kB\n");
    text_printf(text, "Threads:\t%u\nSigQ:\t0/32768\nSigPnd:\t%016lx\nShdPnd:\t%016lx\nSigBlk:\t%016lx\n",
                thread_count(process), shown ? shown->signals.set : 0, process->signals.set,
                shown ? shown->signal_mask : 0);
    uint64_t ignored = 0, caught = 0;
    for (int signo = 1; signo <= SIGNAL_COUNT; signo++) {
        uint64_t handler = process->actions[signo - 1].handler;
        ignored |= handler == KSIG_IGN ? signal_bit(signo) : 0;
        caught |= handler != KSIG_IGN && handler != KSIG_DFL ? signal_bit(signo) : 0;
    }
    text_printf(text, "SigIgn:\t%016lx\nSigCgt:\t%016lx\n", ignored, caught);
    text_printf(text, "CapInh:\t%016lx\nCapPrm:\t%016lx\nCapEff:\t%016lx\nCapBnd:\t%016lx\nCapAmb:\t%016lx\n",
                credentials->inheritable, credentials->permitted, credentials->effective, credentials->bounding,
                credentials->ambient);
    text_printf(text, "NoNewPrivs:\t%d\nSeccomp:\t0\n", process->no_new_privileges);
    text_printf(text, "Cpus_allowed:\t1\nCpus_allowed_list:\t0\nMems_allowed:\t1\nMems_allowed_list:\t0\n"
                      "voluntary_ctxt_switches:\t0\nnonvoluntary_ctxt_switches:\t0\n");
}

static void limit_value(struct text *text, uint64_t value) {
    if (value == UINT64_MAX)
        text_printf(text, "%-20s ", "unlimited");
    else {
        char digits[24];
        kprintf(digits, sizeof digits, "%lu", value);
        text_printf(text, "%-20s ", digits);
    }
}

static void process_limits(struct text *text, struct task *task, const struct virtual_name *found) {
    (void)task;
    static const char *const names[16][2] = {
        {"Max cpu time", "seconds"},    {"Max file size", "bytes"},      {"Max data size", "bytes"},
        {"Max stack size", "bytes"},    {"Max core file size", "bytes"}, {"Max resident set", "bytes"},
        {"Max processes", "processes"}, {"Max open files", "files"},     {"Max locked memory", "bytes"},
        {"Max address space", "bytes"}, {"Max file locks", "locks"},     {"Max pending signals", "signals"},
        {"Max msgqueue size", "bytes"}, {"Max nice priority", ""},       {"Max realtime priority", ""},
        {"Max realtime timeout", "us"},
    };
    text_printf(text, "%-25s %-20s %-20s %-10s\n", "Limit", "Soft Limit", "Hard Limit", "Units");
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        text_printf(text, "%-25s ", names[i][0]);
        limit_value(text, found->process->limits[i][0]);
        limit_value(text, found->process->limits[i][1]);
        text_printf(text, "%-10s\n", names[i][1]);
    }
}

static void link_self(struct text *text, struct task *task, const struct virtual_name *found) {
    (void)found;
    text_printf(text, "%d", task->process->pid);
}

static void link_thread_self(struct text *text, struct task *task, const struct virtual_name *found) {
    (void)found;
    text_printf(text, "%d/task/%d", task->process->pid, task->tid);
}

/* Symbolic links in the executable's path are resolved, as Linux shows it. */
static void link_executable(struct text *text, struct task *task, const struct virtual_name *found) {
    const char *path = found->process->executable;
    if (!path)
        return;
    char *real = kalloc_raw(task->host, FS_PATH_MAX);
    int64_t fd = real ? platform_syscall(__NR_open, (uint64_t)(uintptr_t)path, O_PATH, 0, 0, 0, 0) : -ENOMEM;
    if (fd >= 0) {
        if (native_path((int)fd, real, FS_PATH_MAX) >= 0 && !fs_real_to_virtual(task->host, real, FS_PATH_MAX))
            path = real;
        platform_syscall(__NR_close, (uint64_t)fd, 0, 0, 0, 0, 0);
    }
    text_append(text, path, strlen(path));
    kfree(task->host, real);
}

static void link_working_directory(struct text *text, struct task *task, const struct virtual_name *found) {
    char link[40];
    kprintf(link, sizeof link, "/proc/%u/cwd", found->process->native_pid);
    char *real = kalloc_raw(task->host, FS_PATH_MAX);
    if (!real)
        return;
    const char *from = found->process == task->process ? "/proc/self/cwd" : link;
    int64_t length =
        platform_syscall(__NR_readlink, (uint64_t)(uintptr_t)from, (uint64_t)(uintptr_t)real, FS_PATH_MAX - 1, 0, 0, 0);
    if (length >= 0) {
        real[length] = '\0';
        if (!fs_real_to_virtual(task->host, real, FS_PATH_MAX))
            text_append(text, real, strlen(real));
    }
    kfree(task->host, real);
}

static void uuid_text(struct text *text, uint64_t high, uint64_t low) {
    high = (high & ~UINT64_C(0xf000)) | 0x4000; /* RFC 9562: version 4, variant 10 */
    low = (low & ~(UINT64_C(3) << 62)) | UINT64_C(2) << 62;
    text_printf(text, "%08lx-%04lx-%04lx-%04lx-%012lx\n", high >> 32, high >> 16 & 0xffff, high & 0xffff, low >> 48,
                low & UINT64_C(0xffffffffffff));
}

static void random_uuid(struct text *text, struct task *task, const struct virtual_name *found) {
    (void)found;
    uint64_t high = rng_next(task->host, RNG_HOST_RANDOM);
    uuid_text(text, high, rng_next(task->host, RNG_HOST_RANDOM));
}

static void boot_id(struct text *text, struct task *task, const struct virtual_name *found) {
    (void)found;
    const struct host *host = task->host; /* counters that rng_next never reaches */
    uuid_text(text, rng_at(host->seed, host->id, RNG_KERNEL, UINT64_MAX),
              rng_at(host->seed, host->id, RNG_KERNEL, UINT64_MAX - 1));
}

static void host_name(struct text *text, struct task *task, const struct virtual_name *found) {
    (void)found;
    text_printf(text, "%s\n", task->host->node_name);
}

static void domain_name(struct text *text, struct task *task, const struct virtual_name *found) {
    (void)found;
    text_printf(text, "%s\n", task->host->domain_name);
}

static void uptime(struct text *text, struct task *task, const struct virtual_name *found) {
    (void)found;
    int64_t hundredths = clock_monotonic(task->host) / (NS_PER_S / 100);
    text_printf(text, "%ld.%02ld %ld.%02ld\n", hundredths / 100, hundredths % 100, hundredths / 100, hundredths % 100);
}

static void machine_stat(struct text *text, struct task *task, const struct virtual_name *found) {
    (void)found;
    int64_t idle = ticks(clock_monotonic(task->host));
    text_printf(text, "cpu  0 0 0 %ld 0 0 0 0 0 0\ncpu0 0 0 0 %ld 0 0 0 0 0 0\nintr 0\nctxt 0\nbtime %ld\n", idle, idle,
                EPOCH_SECONDS - BOOT_UPTIME / NS_PER_S);
    text_printf(text, "processes %d\nprocs_running 1\nprocs_blocked 0\n", task->host->next_pid);
}

static void load_average(struct text *text, struct task *task, const struct virtual_name *found) {
    (void)found;
    unsigned count = 0;
    list_for_each(node, &task->host->processes) count++;
    text_printf(text, "0.00 0.00 0.00 1/%u %d\n", count, task->host->next_pid - 1);
}

static void net_devices(struct text *text, struct task *task, const struct virtual_name *found) {
    (void)found;
    const struct host_counters *counters = &task->host->counters;
    text_printf(text, "Inter-|   Receive                                                |  Transmit\n"
                      " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop "
                      "fifo colls carrier compressed\n");
    text_printf(text, "    lo:       0       0    0    0    0     0          0         0        0       0    0    0    "
                      "0     0       0          0\n");
    text_printf(text, "  eth0: %lu %lu 0 %lu 0 0 0 0 %lu %lu 0 0 0 0 0 0\n", counters->bytes_received,
                counters->packets_received, counters->packets_dropped_buffer, counters->bytes_sent,
                counters->packets_sent);
}

static void hardware_address(struct text *text, struct task *task, const struct virtual_name *found) {
    (void)found;
    uint8_t a[6];
    interface_hardware_address(task->host, INTERFACE_ETH, a);
    text_printf(text, "%02x:%02x:%02x:%02x:%02x:%02x\n", a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* Addresses are shown as this machine reads them from the wire; lines are filled up to 127 places. */
static void net_route4(struct text *text, uint32_t to, uint32_t mask) {
    char line[128];
    kprintf(line, sizeof line, "eth0\t%08X\t00000000\t0001\t0\t0\t0\t%08X\t0\t0\t0", __builtin_bswap32(to),
            __builtin_bswap32(mask));
    text_printf(text, "%-127s\n", line);
}

static void net_routes4(struct text *text, struct task *task, const struct virtual_name *found) {
    (void)found;
    text_printf(text, "%-127s\n",
                "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT");
    net_route4(text, 0, 0);
    net_route4(text, task->host->address & IP4_LINK_MASK, IP4_LINK_MASK);
}

static void hexadecimal(struct text *text, struct ip_address address) {
    text_printf(text, "%016lx%016lx", address.high, address.low);
}

/* Address, interface, prefix length, scope (IPV6_ADDR_*), flags (IFA_F_PERMANENT), name. */
static void net_addresses6(struct text *text, struct task *task, const struct virtual_name *found) {
    (void)found;
    const struct host *host = task->host;
    hexadecimal(text, host->address6);
    text_printf(text, " 02 40 00 80     eth0\n");
    hexadecimal(text, inet_link_local(host));
    text_printf(text, " 02 40 20 80     eth0\n");
    hexadecimal(text, IP6_LOOPBACK);
    text_printf(text, " 01 80 10 80       lo\n");
}

static void net_route6(struct text *text, struct ip_address to, uint32_t prefix, uint32_t metric, uint32_t flags,
                       const char *interface) {
    hexadecimal(text, to);
    text_printf(text, " %02x %032x 00 %032x %08x 00000001 00000000 %08x %8s\n", prefix, 0, 0, metric, flags, interface);
}

static void net_routes6(struct text *text, struct task *task, const struct virtual_name *found) {
    (void)found;
    const struct host *host = task->host;
    struct ip_address link = inet_link_local(host);
    net_route6(text, (struct ip_address){host->address6.high, 0}, IP6_LINK_PREFIX, 256, 0x1, "eth0");
    net_route6(text, (struct ip_address){link.high, 0}, IP6_LINK_PREFIX, 256, 0x1, "eth0");
    net_route6(text, IP6_ANY, 0, 1024, 0x1, "eth0");
    net_route6(text, IP6_LOOPBACK, 128, 0, 0x80200001, "lo");
    net_route6(text, host->address6, 128, 0, 0x80200001, "eth0");
    net_route6(text, link, 128, 0, 0x80200001, "eth0");
}

#define GENERATED_FILE(name, function, permissions) {name, NULL, function, permissions, NAME_FILE, false}
#define CONSTANT_FILE(name, text) {name, text, NULL, 0444, NAME_FILE, false}
#define LINK_TO(name, text) {name, text, NULL, 0777, NAME_LINK, false}

/* Below /proc/<pid>/ and /proc/<pid>/task/<tid>/. */
static const struct virtual_row process_rows[] = {
    CONSTANT_FILE("cgroup", "0::/\n"),
    GENERATED_FILE("cmdline", process_command_line, 0444),
    GENERATED_FILE("comm", process_comm, 0644),
    {"cwd", NULL, link_working_directory, 0777, NAME_LINK, true},
    {"environ", NULL, process_environment, 0400, NAME_FILE, true},
    {"exe", NULL, link_executable, 0777, NAME_LINK, true},
    {"fd", NULL, NULL, 0500, NAME_DIRECTORY, false},
    GENERATED_FILE("limits", process_limits, 0444),
    {"maps", NULL, process_mappings, 0444, NAME_FILE, true},
    CONSTANT_FILE("mountinfo", "1 0 8:1 / / rw,relatime - ext4 /dev/root rw\n"
                               "2 1 0:5 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw\n"
                               "3 1 0:6 / /sys rw,nosuid,nodev,noexec,relatime - sysfs sysfs rw\n"
                               "4 1 0:7 / /dev rw,nosuid - devtmpfs devtmpfs rw\n"
                               "5 4 0:8 / /dev/shm rw,nosuid,nodev - tmpfs tmpfs rw\n"
                               "6 1 0:9 / /run rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw\n"),
    CONSTANT_FILE("mounts", "/dev/root / ext4 rw,relatime 0 0\n"
                            "proc /proc proc rw,nosuid,nodev,noexec,relatime 0 0\n"
                            "sysfs /sys sysfs rw,nosuid,nodev,noexec,relatime 0 0\n"
                            "devtmpfs /dev devtmpfs rw,nosuid 0 0\n"
                            "tmpfs /dev/shm tmpfs rw,nosuid,nodev 0 0\n"
                            "tmpfs /run tmpfs rw,nosuid,nodev,noexec,relatime 0 0\n"),
    {"oom_score", "0\n", NULL, 0444, NAME_FILE, false},
    {"oom_score_adj", "0\n", NULL, 0644, NAME_FILE, false},
    {"root", "/", NULL, 0777, NAME_LINK, true},
    GENERATED_FILE("stat", process_stat, 0444),
    GENERATED_FILE("statm", process_statm, 0444),
    GENERATED_FILE("status", process_status, 0444),
    {"task", NULL, NULL, 0555, NAME_DIRECTORY, false},
};

static const struct virtual_row rows[] = {
    LINK_TO("/dev/fd", "/proc/self/fd"),
    {"/dev/ptmx", NULL, NULL, 0666, NAME_TERMINAL, false},
    {"/dev/pts", NULL, NULL, 0755, NAME_DIRECTORY, false},
    {"/dev/pts/ptmx", NULL, NULL, 0666, NAME_TERMINAL, false},
    {"/dev/random", NULL, NULL, 0666, NAME_RANDOM, false},
    LINK_TO("/dev/stderr", "/proc/self/fd/2"),
    LINK_TO("/dev/stdin", "/proc/self/fd/0"),
    LINK_TO("/dev/stdout", "/proc/self/fd/1"),
    {"/dev/tty", NULL, NULL, 0666, NAME_TERMINAL, false},
    {"/dev/urandom", NULL, NULL, 0666, NAME_RANDOM, false},
    LINK_TO("/etc/mtab", "/proc/self/mounts"),
    CONSTANT_FILE("/proc/cmdline", "root=/dev/root ro\n"),
    CONSTANT_FILE("/proc/cpuinfo",
                  "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 42\n"
                  "model name\t: Antumbra Virtual CPU\nstepping\t: 1\ncpu MHz\t\t: 1000.000\ncache size\t: 4096 KB\n"
                  "physical id\t: 0\nsiblings\t: 1\ncore id\t\t: 0\ncpu cores\t: 1\napicid\t\t: 0\n"
                  "initial apicid\t: 0\nfpu\t\t: yes\nfpu_exception\t: yes\ncpuid level\t: 13\nwp\t\t: yes\n"
                  "flags\t\t: fpu vme de pse tsc msr pae mce cx8 apic sep mtrr pge mca cmov pat pse36 clflush mmx fxsr "
                  "sse sse2 syscall nx lm constant_tsc rep_good nopl cpuid pni ssse3 cx16 sse4_1 sse4_2 popcnt "
                  "hypervisor lahf_lm\nbugs\t\t:\nbogomips\t: 2000.00\nclflush size\t: 64\ncache_alignment\t: 64\n"
                  "address sizes\t: 46 bits physical, 48 bits virtual\npower management:\n\n"),
    CONSTANT_FILE("/proc/filesystems", "nodev\tsysfs\nnodev\ttmpfs\nnodev\tproc\nnodev\tdevtmpfs\n\text4\n"),
    GENERATED_FILE("/proc/loadavg", load_average, 0444),
    CONSTANT_FILE("/proc/meminfo",
                  "MemTotal:        4194304 kB\nMemFree:         3145728 kB\nMemAvailable:    3670016 kB\n"
                  "Buffers:           65536 kB\nCached:           524288 kB\nSwapCached:            0 kB\n"
                  "Active:           524288 kB\nInactive:         262144 kB\nSwapTotal:             0 kB\n"
                  "SwapFree:              0 kB\nDirty:                 0 kB\nWriteback:             0 kB\n"
                  "AnonPages:        262144 kB\nMapped:            65536 kB\nShmem:                 0 kB\n"
                  "Slab:              65536 kB\nCommitLimit:     2097152 kB\nCommitted_AS:     524288 kB\n"
                  "VmallocTotal:   34359738367 kB\nHugePages_Total:       0\nHugePages_Free:        0\n"
                  "Hugepagesize:       2048 kB\n"),
    LINK_TO("/proc/mounts", "self/mounts"),
    GENERATED_FILE("/proc/net/dev", net_devices, 0444),
    GENERATED_FILE("/proc/net/if_inet6", net_addresses6, 0444),
    GENERATED_FILE("/proc/net/ipv6_route", net_routes6, 0444),
    GENERATED_FILE("/proc/net/route", net_routes4, 0444),
    {"/proc/self", NULL, link_self, 0777, NAME_LINK, false},
    GENERATED_FILE("/proc/stat", machine_stat, 0444),
    CONSTANT_FILE("/proc/sys/fs/file-max", "1048576\n"),
    CONSTANT_FILE("/proc/sys/fs/inotify/max_queued_events", "16384\n"),
    CONSTANT_FILE("/proc/sys/fs/inotify/max_user_instances", "128\n"),
    CONSTANT_FILE("/proc/sys/fs/inotify/max_user_watches", "65536\n"),
    CONSTANT_FILE("/proc/sys/fs/nr_open", "1048576\n"),
    CONSTANT_FILE("/proc/sys/fs/pipe-max-size", "1048576\n"),
    CONSTANT_FILE("/proc/sys/kernel/cap_last_cap", "40\n"),
    GENERATED_FILE("/proc/sys/kernel/domainname", domain_name, 0444),
    GENERATED_FILE("/proc/sys/kernel/hostname", host_name, 0444),
    CONSTANT_FILE("/proc/sys/kernel/ngroups_max", "65536\n"),
    CONSTANT_FILE("/proc/sys/kernel/osrelease", KERNEL_RELEASE "\n"),
    CONSTANT_FILE("/proc/sys/kernel/ostype", "Linux\n"),
    CONSTANT_FILE("/proc/sys/kernel/pid_max", "4194304\n"),
    GENERATED_FILE("/proc/sys/kernel/random/boot_id", boot_id, 0444),
    CONSTANT_FILE("/proc/sys/kernel/random/entropy_avail", "256\n"),
    CONSTANT_FILE("/proc/sys/kernel/random/poolsize", "256\n"),
    GENERATED_FILE("/proc/sys/kernel/random/uuid", random_uuid, 0444),
    CONSTANT_FILE("/proc/sys/kernel/threads-max", "32768\n"),
    CONSTANT_FILE("/proc/sys/kernel/version", "#1 Antumbra\n"),
    CONSTANT_FILE("/proc/sys/net/core/rmem_max", "212992\n"),
    CONSTANT_FILE("/proc/sys/net/core/somaxconn", "4096\n"),
    CONSTANT_FILE("/proc/sys/net/core/wmem_max", "212992\n"),
    CONSTANT_FILE("/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
    CONSTANT_FILE("/proc/sys/net/ipv4/ip_unprivileged_port_start", "1024\n"),
    CONSTANT_FILE("/proc/sys/net/ipv6/bindv6only", "0\n"),
    CONSTANT_FILE("/proc/sys/net/ipv6/conf/all/disable_ipv6", "0\n"),
    CONSTANT_FILE("/proc/sys/net/ipv6/conf/default/disable_ipv6", "0\n"),
    CONSTANT_FILE("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "0\n"),
    CONSTANT_FILE("/proc/sys/net/ipv6/conf/lo/disable_ipv6", "0\n"),
    CONSTANT_FILE("/proc/sys/vm/max_map_count", "65530\n"),
    CONSTANT_FILE("/proc/sys/vm/overcommit_memory", "0\n"),
    {"/proc/thread-self", NULL, link_thread_self, 0777, NAME_LINK, false},
    GENERATED_FILE("/proc/uptime", uptime, 0444),
    CONSTANT_FILE("/proc/version", "Linux version " KERNEL_RELEASE " (antumbra) (gcc) #1 Antumbra\n"),
    GENERATED_FILE("/sys/class/net/eth0/address", hardware_address, 0444),
    CONSTANT_FILE("/sys/class/net/eth0/carrier", "1\n"),
    CONSTANT_FILE("/sys/class/net/eth0/ifindex", "2\n"),
    CONSTANT_FILE("/sys/class/net/eth0/mtu", "1500\n"),
    CONSTANT_FILE("/sys/class/net/eth0/operstate", "up\n"),
    CONSTANT_FILE("/sys/class/net/eth0/statistics/rx_fifo_errors", "0\n"),
    CONSTANT_FILE("/sys/class/net/eth0/statistics/rx_missed_errors", "0\n"),
    CONSTANT_FILE("/sys/class/net/eth0/type", "1\n"),
    CONSTANT_FILE("/sys/class/net/lo/address", "00:00:00:00:00:00\n"),
    CONSTANT_FILE("/sys/class/net/lo/carrier", "1\n"),
    CONSTANT_FILE("/sys/class/net/lo/ifindex", "1\n"),
    CONSTANT_FILE("/sys/class/net/lo/mtu", "65536\n"),
    CONSTANT_FILE("/sys/class/net/lo/operstate", "unknown\n"),
    CONSTANT_FILE("/sys/class/net/lo/statistics/rx_fifo_errors", "0\n"),
    CONSTANT_FILE("/sys/class/net/lo/statistics/rx_missed_errors", "0\n"),
    CONSTANT_FILE("/sys/class/net/lo/type", "772\n"),
    CONSTANT_FILE("/sys/devices/system/cpu/online", "0\n"),
    CONSTANT_FILE("/sys/devices/system/cpu/possible", "0\n"),
    CONSTANT_FILE("/sys/devices/system/cpu/present", "0\n"),
    CONSTANT_FILE("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
    CONSTANT_FILE("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "2097152\n"),
};

/* Names that a machine may well lack, and that programs look for wherever they run: no warning about them. */
static const char *const optional_names[] = {"/proc/cgroups",           "/proc/sys/crypto", "/sys/class/net",
                                             "/sys/devices/system/cpu", "/sys/fs",          "/sys/kernel/mm/hugepages"};

/* What is below /var is real but for these, which lead to where the host has directories of its own. */
static const struct virtual_row links_in_var[] = {LINK_TO("/var/lock", "/run/lock"), LINK_TO("/var/run", "/run")};

static const struct virtual_row directory_row = {"", NULL, NULL, 0555, NAME_DIRECTORY, false};

/* ---- Finding ---- */

static void found_row(struct virtual_name *found, const struct virtual_row *row) {
    found->kind = row->kind;
    found->row = row;
}

/* A row of this name, or a directory that rows are below of. */
static bool find_row(const struct virtual_row *table, size_t count, const char *name, struct virtual_name *found) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(table[i].name, name) == 0) {
            found_row(found, &table[i]);
            return true;
        }
        if (path_below(table[i].name, name)) {
            found_row(found, &directory_row);
            return true;
        }
    }
    return false;
}

/* A decimal number that is a whole component; returns what follows it, NULL if there is none. */
static const char *parse_number(const char *text, int32_t *number) {
    const char *at = text;
    int64_t value = 0;
    while (*at >= '0' && *at <= '9' && value <= INT32_MAX)
        value = value * 10 + (*at++ - '0');
    *number = (int32_t)value;
    return at == text || value > INT32_MAX || (*at && *at != '/') ? NULL : at;
}

/* `rest` is "" or "/..." behind /proc/<pid>. */
static void find_in_process(const char *rest, struct virtual_name *found) {
    const char *thread = path_below(rest, "/task");
    int32_t number;
    if (thread && *thread) {
        const struct task *named = NULL;
        rest = parse_number(thread + 1, &number);
        if (rest)
            list_for_each(node, &found->process->tasks) if (list_entry(node, struct task, process_node)->tid == number)
                named = list_entry(node, struct task, process_node);
        bool zombie = rest && found->process->zombie && number == found->process->pid;
        if ((!named && !zombie) || path_below(rest, "/task"))
            return;
        found->tid = number;
    }
    if (!*rest) {
        found_row(found, &directory_row);
        return;
    }
    const char *descriptor = path_below(rest, "/fd");
    if (descriptor && *descriptor) {
        const struct fd_table *files = found->process->files;
        const char *end = parse_number(descriptor + 1, &number);
        if (!end || *end || !files || (uint32_t)number >= files->capacity || !files->entries[number].file)
            return;
        found->kind = NAME_DESCRIPTOR;
        found->fd = number;
        return;
    }
    (void)find_row(process_rows, ARRAY_LENGTH(process_rows), rest + 1, found);
}

/* `rest` is "/..." behind /dev/pts, or NULL. */
static void find_terminal(struct host *host, const char *rest, struct virtual_name *found) {
    int32_t number;
    const char *end = rest && *rest ? parse_number(rest + 1, &number) : NULL;
    if (end && !*end)
        found->terminal = terminal_find(host, number);
    if (found->terminal)
        found->kind = NAME_TERMINAL;
}

void virtual_find(struct task *task, const char *name, struct virtual_name *found) {
    *found = (struct virtual_name){.kind = NAME_REAL, .fd = -1};
    for (size_t i = 0; i < ARRAY_LENGTH(links_in_var); i++)
        if (strcmp(name, links_in_var[i].name) == 0)
            found_row(found, &links_in_var[i]);
    const char *proc = path_below(name, "/proc"), *device = path_below(name, "/dev");
    if (strcmp(name, "/etc/mtab") == 0 || proc || path_below(name, "/sys") || (device && *device)) {
        found->kind = NAME_MISSING;
        found->error = -ENOENT;
    } else {
        return;
    }
    if (device) {
        if (strcmp(device, "/null") == 0 || strcmp(device, "/zero") == 0 || strcmp(device, "/full") == 0 ||
            path_below(device, "/shm"))
            found->kind = NAME_REAL;
        else if (!find_row(rows, ARRAY_LENGTH(rows), name, found))
            find_terminal(task->host, path_below(device, "/pts"), found);
        return;
    }
    int32_t pid;
    const char *rest = proc && *proc ? parse_number(proc + 1, &pid) : NULL;
    if (rest) {
        found->process = process_find(task->host, pid);
        found->tid = pid;
        if (found->process && !process_reaped(found->process))
            find_in_process(rest, found);
        return;
    }
    if (find_row(rows, ARRAY_LENGTH(rows), name, found))
        return;
    for (size_t i = 0; i < ARRAY_LENGTH(optional_names); i++)
        if (path_below(name, optional_names[i]))
            return;
    if (fs_first_time(task->host, virtual_number(name)))
        platform_warn(task->host, task, "%s does not exist in the simulation", name);
}

uint64_t virtual_number(const char *name) {
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 16777619u;
    return hash | UINT64_C(1) << 32;
}

uint32_t virtual_mode(const struct virtual_name *found) {
    switch ((enum virtual_kind)found->kind) {
    case NAME_TERMINAL:
        return MODE_CHARACTER | (found->terminal ? found->terminal->mode : found->row->permissions);
    case NAME_RANDOM:
        return MODE_CHARACTER | found->row->permissions;
    case NAME_DIRECTORY:
        return MODE_DIRECTORY | found->row->permissions;
    case NAME_LINK:
        return MODE_LINK | found->row->permissions;
    case NAME_DESCRIPTOR:
        return MODE_LINK | 0700;
    default:
        return MODE_REGULAR | found->row->permissions;
    }
}

void virtual_owner(const struct virtual_name *found, uint32_t *user, uint32_t *group) {
    bool own = found->process && found->process->dumpable;
    const struct credentials *credentials = own ? credentials_of(found->process) : NULL;
    *user = own ? credentials->user.effective : 0;
    *group = own ? credentials->group.effective : 0;
    if (found->terminal) {
        *user = found->terminal->user;
        *group = found->terminal->group;
    }
}

int64_t virtual_permit(const struct task *task, const struct virtual_name *found, uint32_t wanted) {
    uint32_t user, group;
    bool private = found->kind == NAME_DESCRIPTOR || (found->row && found->row->private);
    if (private && !credentials_may_inspect(task, found->process))
        return -EACCES;
    virtual_owner(found, &user, &group);
    return credentials_permit(task, virtual_mode(found), user, group, wanted) ? 0 : -EACCES;
}

/* ---- Links ---- */

static int64_t descriptor_link(struct task *task, const struct virtual_name *found, char *out, size_t capacity) {
    struct host *host = task->host;
    const struct fd_entry *entry = &found->process->files->entries[found->fd];
    const struct file *file = entry->file;
    if (file->kind == FILE_NATIVE) {
        char link[48];
        kprintf(link, sizeof link, "/proc/%u/fd/%d", found->process->native_pid, entry->native_fd);
        int64_t length = found->process == task->process
                             ? native_path(entry->native_fd, out, capacity)
                             : platform_syscall(__NR_readlink, (uint64_t)(uintptr_t)link, (uint64_t)(uintptr_t)out,
                                                capacity - 1, 0, 0, 0);
        if (length < 0)
            return length;
        out[length] = '\0';
        int result = fs_real_to_virtual(host, out, capacity);
        return result ? result : (int64_t)strlen(out);
    }
    const char *name = file_operations(file)->name;
    if (file->kind == FILE_TERMINAL)
        return terminal_link(file, out, capacity);
    if (file->kind == FILE_VIRTUAL)
        return kprintf(out, capacity, "%s", ((const struct virtual_file *)file->object)->name);
    if (strncmp(name, "anon_inode:", 11) == 0)
        return kprintf(out, capacity, "%s", name);
    return kprintf(out, capacity, "%s:[%lu]", name, file_number(host, file));
}

int64_t virtual_link(struct task *task, const char *name, const struct virtual_name *found, char *out,
                     size_t capacity) {
    (void)name;
    int64_t permitted = virtual_permit(task, found, 0);
    if (permitted)
        return permitted;
    if (found->kind == NAME_DESCRIPTOR)
        return descriptor_link(task, found, out, capacity);
    struct text text = {.host = task->host};
    if (found->row->generate)
        found->row->generate(&text, task, found);
    else
        text_append(&text, found->row->constant, strlen(found->row->constant));
    int64_t result = text.failed ? -ENOMEM : !text.length ? -ENOENT : text.length >= capacity ? -ENAMETOOLONG : 0;
    if (!result) {
        memcpy(out, text.bytes, text.length);
        out[text.length] = '\0';
        result = (int64_t)text.length;
    }
    kfree(task->host, text.bytes);
    return result;
}

/* ---- Open files ---- */

int64_t virtual_open(struct task *task, const char *name, const struct virtual_name *found, uint32_t flags) {
    struct host *host = task->host;
    uint32_t mode = virtual_mode(found);
    bool directory = (mode & MODE_TYPE) == MODE_DIRECTORY, writes = (flags & O_ACCMODE) != O_RDONLY;
    if ((flags & O_CREAT) && (flags & O_EXCL))
        return -EEXIST;
    if ((flags & O_DIRECTORY) && !directory)
        return -ENOTDIR;
    if (writes && directory)
        return -EISDIR;
    if (writes && !(mode & 0222))
        return -EACCES;
    static const uint8_t wanted[4] = {4, 2, 6, 6};
    int64_t permitted = virtual_permit(task, found, flags & O_PATH ? 0 : wanted[flags & O_ACCMODE]);
    if (permitted)
        return permitted;
    size_t name_size = strlen(name) + 1;
    struct virtual_file *virtual = kalloc(host, sizeof *virtual + name_size);
    if (!virtual)
        return -ENOMEM;
    virtual->mode = mode;
    virtual_owner(found, &virtual->user, &virtual->group);
    virtual->number = virtual_number(name);
    virtual->found = *found;
    virtual->found.process = NULL; /* it may be gone when the directory is read */
    memcpy(virtual->name, name, name_size);
    struct text text = {.host = host};
    if (found->kind == NAME_FILE && found->row->generate)
        found->row->generate(&text, task, found);
    else if (found->kind == NAME_FILE)
        text_append(&text, found->row->constant, strlen(found->row->constant));
    virtual->bytes = text.bytes;
    virtual->length = text.length;
    struct file *file = text.failed ? NULL : file_create(host, FILE_VIRTUAL, flags & ~(uint32_t)O_CLOEXEC, virtual);
    if (!file) {
        kfree(host, text.bytes);
        kfree(host, virtual);
        return -ENOMEM;
    }
    return fd_install(task, file, 0, flags & O_CLOEXEC, -1);
}

const char *virtual_file_name(const struct file *file) { return ((const struct virtual_file *)file->object)->name; }

const char *virtual_directory_name(const struct file *file) {
    if (file->kind != FILE_VIRTUAL)
        return NULL;
    const struct virtual_file *virtual = file->object;
    return (virtual->mode & MODE_TYPE) == MODE_DIRECTORY ? virtual->name : NULL;
}

struct snapshot **virtual_snapshot_slot(struct file *file) {
    return virtual_directory_name(file) ? &((struct virtual_file *)file->object)->snapshot : NULL;
}

void virtual_stat(const struct file *file, struct stat *status) {
    const struct virtual_file *virtual = file->object;
    status_synthetic(status, virtual->mode, virtual->number);
    status->st_uid = virtual->user;
    status->st_gid = virtual->group;
    if ((virtual->mode & MODE_TYPE) == MODE_CHARACTER)
        status->st_rdev = strcmp(virtual->name, "/dev/random") == 0 ? 0x108 : 0x109;
}

/* The components that follow `prefix` in a table, each once: rows are sorted by name. */
static void list_rows(struct snapshot *snapshot, const struct virtual_row *table, size_t count, const char *prefix) {
    char last[64] = "";
    for (size_t i = 0; i < count; i++) {
        const char *rest = *prefix ? path_below(table[i].name, prefix) : table[i].name;
        if (!rest || !*rest)
            continue;
        rest += *rest == '/';
        size_t length = 0;
        while (rest[length] && rest[length] != '/')
            length++;
        char name[64];
        kprintf(name, sizeof name, "%.*s", (int)length, rest);
        if (strcmp(name, last) == 0)
            continue;
        memcpy(last, name, sizeof last);
        uint8_t type = rest[length] || table[i].kind == NAME_DIRECTORY ? 4  /* DT_DIR */
                       : table[i].kind == NAME_TERMINAL                ? 2  /* DT_CHR */
                       : table[i].kind == NAME_LINK                    ? 10 /* DT_LNK */
                                                                       : 8 /* DT_REG */;
        snapshot_add(snapshot, name, virtual_number(table[i].name), type);
    }
}

static void add_number(struct snapshot *snapshot, int32_t number, uint8_t type) {
    char name[16];
    kprintf(name, sizeof name, "%d", number);
    snapshot_add(snapshot, name, virtual_number(name), type);
}

int64_t virtual_snapshot(struct task *task, struct file *file, struct snapshot *snapshot) {
    const struct virtual_file *virtual = file->object;
    struct virtual_name found;
    virtual_find(task, virtual->name, &found);
    if (found.kind != NAME_DIRECTORY)
        return -ENOENT;
    snapshot_add(snapshot, ".", virtual->number, 4);
    snapshot_add(snapshot, "..", virtual->number, 4);
    if (!found.process) {
        list_rows(snapshot, rows, ARRAY_LENGTH(rows), virtual->name);
        if (strcmp(virtual->name, "/dev/pts") == 0)
            list_for_each(node, &task->host->terminals) {
                const struct terminal *terminal = list_entry(node, struct terminal, node);
                if (terminal->master)
                    add_number(snapshot, terminal->number, 2 /* DT_CHR */);
            }
        if (strcmp(virtual->name, "/proc") == 0)
            list_for_each(node, &task->host->processes) {
                const struct process *process = list_entry(node, struct process, host_node);
                if (!process_reaped(process))
                    add_number(snapshot, process->pid, 4);
            }
    } else if (found.row == &directory_row) {
        list_rows(snapshot, process_rows, ARRAY_LENGTH(process_rows), "");
    } else if (strcmp(found.row->name, "fd") == 0) {
        const struct fd_table *files = found.process->files;
        for (uint32_t fd = 0; files && fd < files->capacity; fd++)
            if (files->entries[fd].file)
                add_number(snapshot, (int32_t)fd, 10);
    } else {
        list_for_each(node, &found.process->tasks)
            add_number(snapshot, list_entry(node, struct task, process_node)->tid, 4);
    }
    return 0;
}

static int64_t virtual_read(struct task *task, struct file *file, struct uio *to, const int64_t *position) {
    const struct virtual_file *virtual = file->object;
    if (virtual_directory_name(file))
        return -EISDIR;
    if (virtual->found.kind == NAME_RANDOM) {
        uint8_t bytes[256];
        int64_t total = 0;
        while (to->remaining) {
            size_t part = KMIN(to->remaining, sizeof bytes);
            rng_fill(task->host, RNG_HOST_RANDOM, bytes, part);
            if (uio_copy_out(to, bytes, part))
                return total ? total : -EFAULT;
            total += (int64_t)part;
        }
        return total;
    }
    uint64_t at = (uint64_t)(position ? *position : file->position);
    size_t part = at < virtual->length ? KMIN(to->remaining, virtual->length - at) : 0;
    if (part && uio_copy_out(to, virtual->bytes + at, part))
        return -EFAULT;
    if (!position)
        file->position += (int64_t)part;
    return (int64_t)part;
}

/* What is written to a setting or to the entropy pool changes nothing. */
static int64_t virtual_write(struct task *task, struct file *file, struct uio *from, const int64_t *position) {
    (void)task;
    (void)file;
    (void)position;
    size_t length = from->remaining;
    uio_advance(from, length);
    return (int64_t)length;
}

static void virtual_release(struct host *host, struct file *file) {
    struct virtual_file *virtual = file->object;
    snapshot_free(host, virtual->snapshot);
    kfree(host, virtual->bytes);
    kfree(host, virtual);
}

int64_t virtual_size(const struct file *file) { return (int64_t)((const struct virtual_file *)file->object)->length; }

const struct file_operations virtual_operations = {
    .name = "virtual",
    .read = virtual_read,
    .write = virtual_write,
    .release = virtual_release,
};
