/* Giving the turn to managed processes, and getting it back: also from those that die with it or never return it.
 *
 * The shard sleeps on host->shard_turn. It wakes now and then to see whether the process that has the turn still lives,
 * whether the user wants to stop, and whether the turn has lasted too long. Nothing of the arena may be changed before
 * the turn is back. A process that died inside the kernel has left the arena half changed, and a hostile or broken one
 * may have left anything there: then the host is given up (host_break), and the run goes on without it.
 */
#include "engine.h"
#include "guard.h"
#include "hot/kernel/caller.h"
#include "hot/kernel/internal.h"
#include "hot/kernel/process.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOOK_AFTER (20 * NS_PER_MS)

int64_t wall_clock(void) {
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now); /* the C library's asks the processor, see cpu.c */
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

static int wait_status(int native_status) {
    /* Without Linux' core-dump bit: whether a core was written is the machine's affair. */
    return WIFSIGNALED(native_status) ? WAIT_STATUS_SIGNAL(WTERMSIG(native_status))
                                      : WAIT_STATUS_EXIT(WEXITSTATUS(native_status));
}

static int remember_death(struct engine *engine, struct engine_host *host, pid_t pid, int status) {
    if (host->death_count == host->death_capacity) {
        size_t capacity = host->death_capacity ? 2 * host->death_capacity : 8;
        struct death *deaths = realloc(host->deaths, capacity * sizeof *deaths);
        if (!deaths)
            return engine_fail(engine, ENGINE_OS_ERROR, ENOMEM, host->name, "no memory");
        host->deaths = deaths;
        host->death_capacity = capacity;
    }
    host->deaths[host->death_count++] = (struct death){pid, status};
    return 0;
}

/* Reaps what has ended of one configured process. The whole tree of it is one real process group, and all of it are
 * children of the shard. */
static int collect_group(struct engine *engine, struct engine_host *host, struct managed *managed) {
    while (managed->group) {
        int status;
        pid_t pid = waitpid(-managed->group, &status, WNOHANG | __WALL);
        if (pid > 0) {
            if (remember_death(engine, host, pid, status))
                return -1;
        } else if (pid < 0 && errno == ECHILD) {
            managed->group = 0; /* the number may be somebody else's from now on */
        } else {
            break;
        }
    }
    return 0;
}

static int collect(struct engine *engine, struct engine_host *host) {
    for (uint32_t i = 0; i < host->process_count; i++)
        if (collect_group(engine, host, &host->processes[i]))
            return -1;
    return 0;
}

/* Whose process this is that has ended and is not reaped yet; NULL: nobody's here. */
static struct managed *find_group(struct engine *engine, pid_t pid, struct engine_host **host) {
    pid_t group = getpgid(pid);
    for (uint32_t i = 0; i < engine->host_count && group > 0; i++)
        for (uint32_t j = 0; j < engine->hosts[i].process_count; j++)
            if (engine->hosts[i].processes[j].group == group) {
                *host = &engine->hosts[i];
                return &engine->hosts[i].processes[j];
            }
    return NULL;
}

/* Asking for one group makes the real kernel walk all children, so all are asked for at once, and groups only if
 * somebody has ended. */
static int collect_all(struct engine *engine) {
    for (;;) {
        siginfo_t ended = {.si_pid = 0};
        struct engine_host *host;
        if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT | __WALL) || !ended.si_pid)
            return 0;
        struct managed *managed = find_group(engine, ended.si_pid, &host);
        if (!managed)
            break;
        size_t deaths = host->death_count;
        if (collect_group(engine, host, managed))
            return -1;
        if (host->death_count == deaths)
            break;
    }
    /* A child that is not ours to reap stands before those that are. */
    for (uint32_t i = 0; i < engine->host_count; i++)
        if (collect(engine, &engine->hosts[i]))
            return -1;
    return 0;
}

/* ---- Hosts that are given up ---- */

void engine_warn(struct engine *engine, const struct engine_host *host, const char *text) {
    struct engine_line *lines = realloc(engine->lines, (engine->line_count + 1) * sizeof *lines);
    char *copy = strdup(text);
    if (lines)
        engine->lines = lines;
    if (!lines || !copy) {
        free(copy);
        return;
    }
    engine->lines[engine->line_count++] =
        (struct engine_line){host->kernel->now, (uint32_t)(host - engine->hosts), copy};
    engine->warnings = true;
}

void host_skip(struct engine *engine, struct engine_host *host) {
    queue_skip(&host->queue, &engine->pool, engine->window_end);
    engine->next_time[host - engine->hosts] = queue_next(&host->queue);
}

int host_break(struct engine *engine, struct engine_host *host, const char *format, ...) {
    char problem[1200], text[1400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(problem, sizeof problem, format, arguments);
    va_end(arguments);
    host->broken = strdup(problem);
    if (!host->broken)
        return engine_fail(engine, ENGINE_OS_ERROR, ENOMEM, host->name, "no memory");
    host_end_processes(host);
    host_skip(engine, host);
    host->death_count = 0;
    snprintf(text, sizeof text, "the host is given up, and its processes are ended: %s", problem);
    engine_warn(engine, host, text);
    return 0;
}

/* ---- The dead ---- */

/* Tells the kernel of processes that ended without its doing. Those that ended through it are zombies there or gone. */
static void bury(struct host *kernel, void *context) {
    struct engine_host *host = context;
    for (size_t i = 0; i < host->death_count; i++) {
        const struct death *death = &host->deaths[i];
        list_for_each_safe(node, &kernel->processes) {
            struct process *process = list_entry(node, struct process, host_node);
            if (process->zombie || process->native_pid != (uint32_t)death->pid)
                continue;
            struct task *task = process_task(process);
            bool killed = WIFSIGNALED(death->status);
            platform_warn(kernel, NULL, "process %s (pid %d) ended outside of the simulation: %s %d",
                          task ? task->comm : "?", process->pid, killed ? "signal" : "exit code",
                          killed ? WTERMSIG(death->status) : WEXITSTATUS(death->status));
            process_abandon(process, wait_status(death->status));
            break;
        }
    }
    host->death_count = 0;
}

static int bury_all(struct engine *engine, struct engine_host *host) {
    if (host->death_count && !guard_call(host->kernel, bury, host))
        return host_break(engine, host, "%s, when processes had ended", guard_problem());
    return 0;
}

int reap_dead(struct engine *engine) {
    if (collect_all(engine))
        return -1;
    for (uint32_t i = 0; i < engine->host_count; i++)
        if (!engine->hosts[i].broken && bury_all(engine, &engine->hosts[i]))
            return -1;
    return 0;
}

/* ---- Who has the turn ---- */

/* What the arena says of it, copied; only numbers that are checked are used. */
struct holder {
    bool known;
    bool half_done;     /* inside the kernel, since it got the turn */
    uint32_t *waits_on; /* it was given the turn and has not taken it yet */
    pid_t pid, tid;
    int32_t simulated_pid;
    char comm[17];
    uint32_t call;
    uint64_t call_site;
};

static void look_at_holder(struct host *kernel, void *context) {
    struct holder *holder = context;
    struct task *task = __atomic_load_n(&kernel->current, __ATOMIC_ACQUIRE);
    if (!task)
        return; /* it is being handed over right now */
    if (!guard_holds(kernel, task, sizeof *task))
        guard_fail("a task outside of the host's memory has the turn");
    const struct process *process = task->process;
    if (!guard_holds(kernel, process, sizeof *process))
        guard_fail("a process outside of the host's memory has the turn");
    /* One that was given the turn and never took it has not begun anything. */
    bool taken = !__atomic_load_n(&task->turn, __ATOMIC_ACQUIRE);
    holder->half_done = taken && kernel->in_kernel;
    holder->waits_on = taken ? NULL : &task->turn;
    holder->pid = (pid_t)process->native_pid;
    holder->tid = (pid_t)task->native_tid;
    holder->simulated_pid = process->pid;
    snprintf(holder->comm, sizeof holder->comm, "%.16s", task->comm);
    holder->call = task->in_call;
    holder->call_site = task->call_site;
    holder->known = true;
}

/* A number from the arena is signalled or traced only if it is a process of this host. */
static bool is_ours(const struct engine_host *host, pid_t pid) {
    pid_t group = pid > 0 ? getpgid(pid) : -1;
    for (uint32_t i = 0; i < host->process_count; i++)
        if (group > 0 && host->processes[i].group == group)
            return true;
    return false;
}

static const struct death *death_of(const struct engine_host *host, const struct holder *holder) {
    for (size_t i = 0; holder->known && i < host->death_count; i++)
        if (host->deaths[i].pid == holder->pid)
            return &host->deaths[i];
    return NULL;
}

/* "libc.so.6+0x1234" for an address of a real process, or for the call site behind a stub of the shim's. */
static void describe_address(pid_t pid, uint64_t address, char *out, size_t capacity) {
    char path[64], maps[65536];
    uint8_t code[STUB_BEFORE + STUB_AFTER];
    struct iovec here = {code, sizeof code}, there = {(void *)(address - STUB_BEFORE), sizeof code};
    if (process_vm_readv(pid, &here, 1, &there, 1, 0) == (ssize_t)sizeof code)
        address = caller_origin(address, code);
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *file = fopen(path, "re");
    size_t length = file ? fread(maps, 1, sizeof maps - 1, file) : 0;
    if (file)
        fclose(file);
    maps[length] = '\0';
    caller_describe(maps, address, out, capacity);
}

/* Registers of a thread that is stopped for the purpose and let go again. */
static void describe_thread(pid_t pid, pid_t tid, char *out, size_t capacity) {
    snprintf(out, capacity, "its registers cannot be read");
    if (ptrace(PTRACE_SEIZE, tid, NULL, NULL))
        return;
    int status;
    struct user_regs_struct registers;
    bool stopped =
        ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) == 0 && waitpid(tid, &status, __WALL) == tid && WIFSTOPPED(status);
    if (stopped && ptrace(PTRACE_GETREGS, tid, NULL, &registers) == 0) {
        char place[300];
        describe_address(pid, registers.rip, place, sizeof place);
        snprintf(out, capacity, "rip %s rsp 0x%llx rbp 0x%llx rax 0x%llx rdi 0x%llx rsi 0x%llx rdx 0x%llx", place,
                 registers.rsp, registers.rbp, registers.rax, registers.rdi, registers.rsi, registers.rdx);
    }
    ptrace(PTRACE_DETACH, tid, NULL, NULL);
}

/* The turn has lasted too long: the process is named and ended. */
static int end_holder(struct engine *engine, struct engine_host *host, const struct holder *holder) {
    if (!holder->known || !is_ours(host, holder->pid) || !is_ours(host, holder->tid))
        return host_break(engine, host, "the turn has been away for %lld s, and no process of the host has it",
                          (long long)(engine->options.turn_limit_ns / NS_PER_S));
    char registers[600], site[300], text[1200];
    describe_thread(holder->pid, holder->tid, registers, sizeof registers);
    describe_address(holder->pid, holder->call_site, site, sizeof site);
    snprintf(text, sizeof text,
             "process %s (pid %d, real pid %d) has kept the turn for %lld s: %s; its last system call was number %u, "
             "made at %s; it is ended",
             holder->comm, holder->simulated_pid, holder->pid, (long long)(engine->options.turn_limit_ns / NS_PER_S),
             registers, holder->call, site);
    engine_warn(engine, host, text);
    kill(holder->pid, SIGKILL);
    int status;
    if (waitpid(holder->pid, &status, __WALL) == holder->pid)
        return remember_death(engine, host, holder->pid, status);
    return 0;
}

int turn_wait_back(struct engine *engine, struct engine_host *host) {
    struct host *kernel = host->kernel;
    const struct timespec look_after = {0, LOOK_AFTER};
    int64_t started = 0;
    uint64_t steps = 0;
    while (!__atomic_load_n(&kernel->shard_turn, __ATOMIC_ACQUIRE)) {
        if (syscall(SYS_futex, &kernel->shard_turn, FUTEX_WAIT, 0, &look_after, NULL, 0) == 0 || errno == EAGAIN)
            continue;
        if (engine->interrupted && engine->interrupted(engine))
            return engine_fail(engine, ENGINE_INTERRUPTED, 0, host->name, "interrupted");
        if (collect(engine, host))
            return -1;
        struct holder holder = {0};
        if (!guard_call(kernel, look_at_holder, &holder))
            return host_break(engine, host, "%s", guard_problem());
        uint64_t now_steps = __atomic_load_n(&kernel->counters.switches, __ATOMIC_RELAXED) +
                             (uint64_t)__atomic_load_n(&kernel->now, __ATOMIC_RELAXED);
        if (!started || steps != now_steps) {
            steps = now_steps;
            started = wall_clock();
        } else if (wall_clock() - started > engine->options.turn_limit_ns && end_holder(engine, host, &holder)) {
            return -1;
        }
        if (host->broken)
            return 0;
        if (holder.waits_on) /* whoever gave it the turn may have died before it could wake it */
            syscall(SYS_futex, holder.waits_on, FUTEX_WAKE, 1, NULL, NULL, 0);
        const struct death *death = death_of(host, &holder);
        if (death && holder.half_done)
            return host_break(engine, host,
                              "process %s (pid %d) ended by %s %d inside of the simulated kernel (system call %u), and "
                              "has left it half changed",
                              holder.comm, holder.simulated_pid, WIFSIGNALED(death->status) ? "signal" : "exit code",
                              WIFSIGNALED(death->status) ? WTERMSIG(death->status) : WEXITSTATUS(death->status),
                              holder.call);
        if (death)
            break;
    }
    kernel->current = NULL;
    kernel->shard_turn = 0;
    return bury_all(engine, host);
}

int turn_give(struct engine *engine, struct engine_host *host, struct task *task) {
    cpu_trap();
    host->kernel->current = task;
    __atomic_store_n(&task->turn, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &task->turn, FUTEX_WAKE, 1, NULL, NULL, 0);
    return turn_wait_back(engine, host);
}
