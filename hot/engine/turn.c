/* Giving the turn to managed processes, and getting it back: also from those that die with it or never return it.
 *
 * The shard sleeps on host->shard_turn. It wakes now and then to see whether the process that has the turn still lives,
 * whether the user wants to stop, and whether the turn has lasted too long. Nothing of the arena may be changed before
 * the turn is back.
 */
#include "engine.h"
#include "hot/kernel/internal.h"
#include "hot/kernel/process.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOOK_AFTER (20 * NS_PER_MS)

int64_t wall_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
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

/* Reaps what has ended. The whole tree of a configured process is one real process group, and all of it are children
 * of the shard. */
static int collect(struct engine *engine, struct engine_host *host) {
    for (uint32_t i = 0; i < host->process_count; i++) {
        struct managed *managed = &host->processes[i];
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
    }
    return 0;
}

/* Tells the kernel of processes that ended without its doing. Those that ended through it are zombies there or gone. */
static void bury(struct engine_host *host) {
    struct host *kernel = host->kernel;
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

void reap_dead(struct engine *engine, struct engine_host *host) {
    if (collect(engine, host) == 0)
        bury(host);
}

/* Whether the process that has the turn is among the dead: then nobody has it. */
static bool holder_died(const struct engine_host *host) {
    const struct task *task = __atomic_load_n(&host->kernel->current, __ATOMIC_RELAXED);
    if (!task)
        return false;
    for (size_t i = 0; i < host->death_count; i++)
        if ((uint32_t)host->deaths[i].pid == task->process->native_pid)
            return true;
    return false;
}

/* "libc.so.6+0x1234" for an address of a real process. */
static void describe_address(pid_t pid, uint64_t address, char *out, size_t capacity) {
    char path[64], line[1024];
    snprintf(out, capacity, "0x%llx", (unsigned long long)address);
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    FILE *maps = fopen(path, "re");
    if (!maps)
        return;
    while (fgets(line, sizeof line, maps)) {
        unsigned long long start, end, offset;
        int name = 0;
        if (sscanf(line, "%llx-%llx %*s %llx %*s %*s %n", &start, &end, &offset, &name) < 3 || address < start ||
            address >= end)
            continue;
        line[strcspn(line, "\n")] = '\0';
        const char *base = name ? strrchr(line + name, '/') : NULL;
        if (name && line[name])
            snprintf(out, capacity, "0x%llx (%s+0x%llx)", (unsigned long long)address, base ? base + 1 : line + name,
                     (unsigned long long)address - start + offset);
        break;
    }
    fclose(maps);
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
static int end_holder(struct engine *engine, struct engine_host *host) {
    const struct task *task = __atomic_load_n(&host->kernel->current, __ATOMIC_ACQUIRE);
    if (!task)
        return 0; /* it is being handed over right now */
    pid_t pid = (pid_t)task->process->native_pid, tid = (pid_t)task->native_tid;
    char registers[600], site[300], text[1200];
    describe_thread(pid, tid, registers, sizeof registers);
    describe_address(pid, task->call_site, site, sizeof site);
    snprintf(text, sizeof text,
             "process %s (pid %d, real pid %d) has kept the turn for %lld s: %s; its last system call was number %u, "
             "made at %s; it is ended",
             task->comm, task->process->pid, pid, (long long)(engine->options.turn_limit_ns / NS_PER_S), registers,
             task->in_call, site);
    kill(pid, SIGKILL);
    int status;
    if (waitpid(pid, &status, __WALL) == pid && remember_death(engine, host, pid, status))
        return -1;
    warning_add(host->kernel, text); /* nobody runs any more */
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
            return engine_fail(engine, ENGINE_INTERRUPTED, 0, kernel->name, "interrupted");
        if (collect(engine, host))
            return -1;
        uint64_t now_steps = __atomic_load_n(&kernel->counters.switches, __ATOMIC_RELAXED) +
                             __atomic_load_n(&kernel->counters.events, __ATOMIC_RELAXED);
        if (!started || steps != now_steps) {
            steps = now_steps;
            started = wall_clock();
        } else if (wall_clock() - started > engine->options.turn_limit_ns && end_holder(engine, host)) {
            return -1;
        }
        if (holder_died(host))
            break;
    }
    kernel->current = NULL;
    kernel->shard_turn = 0;
    bury(host);
    return 0;
}

int turn_give(struct engine *engine, struct engine_host *host, struct task *task) {
    host->kernel->current = task;
    __atomic_store_n(&task->turn, 1, __ATOMIC_RELEASE);
    syscall(SYS_futex, &task->turn, FUTEX_WAKE, 1, NULL, NULL, 0);
    return turn_wait_back(engine, host);
}
