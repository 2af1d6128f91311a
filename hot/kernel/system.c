/* What a host says of itself and lets a process set: names, limits, scheduling, random bytes, prctl.
 *
 * Called by the dispatcher. Every answer is the same on every machine.
 */
#include "credentials.h"
#include "internal.h"
#include "process.h"
#include "syscalls.h"
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/random.h>
#include <linux/resource.h>

int64_t sys_uname(struct task *task, const uint64_t *a) {
    char names[6][65];
    memset(names, 0, sizeof names);
    kprintf(names[0], 65, "Linux");
    kprintf(names[1], 65, "%s", task->host->name);
    kprintf(names[2], 65, "6.1.0-antumbra");
    kprintf(names[3], 65, "#1 SMP PREEMPT_DYNAMIC 2000-01-01");
    kprintf(names[4], 65, "x86_64");
    kprintf(names[5], 65, "(none)");
    return copy_to_user(a[0], names, sizeof names);
}

int64_t sys_sysinfo(struct task *task, const uint64_t *a) {
    struct {
        int64_t uptime;
        uint64_t loads[3], total, free, shared, buffer, total_swap, free_swap;
        uint16_t processes, padding;
        uint64_t total_high, free_high;
        uint32_t unit;
    } info = {0};
    info.uptime = clock_monotonic(task->host) / NS_PER_S;
    info.total = UINT64_C(4) << 30;
    info.free = UINT64_C(3) << 30;
    info.unit = 1;
    list_for_each(node, &task->host->processes) info.processes++;
    return copy_to_user(a[0], &info, sizeof info);
}

int64_t sys_getrandom(struct task *task, const uint64_t *a) {
    uint8_t bytes[256];
    uint64_t length = KMIN(a[1], 33554431); /* as Linux caps it */
    const uint64_t contrary = GRND_RANDOM | GRND_INSECURE;
    if ((a[2] & ~(uint64_t)(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE)) || (a[2] & contrary) == contrary)
        return -EINVAL;
    for (uint64_t done = 0; done < length;) {
        uint64_t part = KMIN(length - done, sizeof bytes);
        rng_fill(task->host, RNG_HOST_RANDOM, bytes, part);
        if (copy_to_user(a[0] + done, bytes, part))
            return done ? (int64_t)done : -EFAULT;
        done += part;
    }
    return (int64_t)length;
}

/* The real limits stay what the shard set: it is the simulated kernel that keeps to these. */
int64_t sys_prlimit64(struct task *task, const uint64_t *a) {
    struct process *process = a[0] ? process_find(task->host, (int)a[0]) : task->process;
    uint32_t resource = (uint32_t)a[1];
    uint64_t given[2], old[2];
    if (!process)
        return -ESRCH;
    if (resource >= ARRAY_LENGTH(process->limits))
        return -EINVAL;
    if (!credentials_may_limit(task, process))
        return -EPERM;
    memcpy(old, process->limits[resource], sizeof old);
    if (a[2]) {
        if (copy_from_user(given, a[2], sizeof given))
            return -EFAULT;
        if (given[0] > given[1])
            return -EINVAL;
        if (given[1] > old[1] && !credentials_capable(task, CAP_SYS_RESOURCE))
            return -EPERM;
        memcpy(process->limits[resource], given, sizeof given);
    }
    return a[3] ? copy_to_user(a[3], old, sizeof old) : 0;
}

int64_t sys_getrlimit(struct task *task, const uint64_t *a) {
    return sys_prlimit64(task, (const uint64_t[6]){0, a[0], 0, a[1]});
}

int64_t sys_setrlimit(struct task *task, const uint64_t *a) {
    return a[1] ? sys_prlimit64(task, (const uint64_t[6]){0, a[0], a[1], 0}) : -EFAULT;
}

/* One CPU per host, whatever the machine has. */
int64_t sys_sched_getaffinity(struct task *task, const uint64_t *a) {
    (void)task;
    uint64_t mask = 1;
    if (a[1] < sizeof mask || (a[1] & 7))
        return -EINVAL;
    return copy_to_user(a[2], &mask, sizeof mask) ? -EFAULT : (int64_t)sizeof mask;
}

int64_t sys_getcpu(struct task *task, const uint64_t *a) {
    (void)task;
    uint32_t zero = 0;
    if ((a[0] && copy_to_user(a[0], &zero, sizeof zero)) || (a[1] && copy_to_user(a[1], &zero, sizeof zero)))
        return -EFAULT;
    return 0;
}

int64_t sys_sched_yield(struct task *task, const uint64_t *a) {
    (void)a;
    task_yield(task);
    return 0;
}

int64_t sys_sched_getparam(struct task *task, const uint64_t *a) {
    (void)task;
    int32_t priority = 0;
    return a[1] ? copy_to_user(a[1], &priority, sizeof priority) : -EINVAL;
}

int64_t sys_sched_getscheduler(struct task *task, const uint64_t *a) {
    if ((int)a[0] < 0)
        return -EINVAL;
    return !a[0] || task_find(task->host, (int)a[0]) ? 0 /* SCHED_OTHER */ : -ESRCH;
}

/* SCHED_FIFO and SCHED_RR have priorities; SCHED_OTHER, SCHED_BATCH, SCHED_IDLE and SCHED_DEADLINE have none. */
static int64_t priority_bound(uint64_t policy, int64_t real_time) {
    if (policy == 1 || policy == 2)
        return real_time;
    return policy == 0 || policy == 3 || policy == 5 || policy == 6 ? 0 : -EINVAL;
}

int64_t sys_sched_get_priority_max(struct task *task, const uint64_t *a) {
    (void)task;
    return priority_bound(a[0], 99);
}

int64_t sys_sched_get_priority_min(struct task *task, const uint64_t *a) {
    (void)task;
    return priority_bound(a[0], 1);
}

int64_t sys_sched_rr_get_interval(struct task *task, const uint64_t *a) {
    (void)task;
    int64_t interval[2] = {0, 4 * NS_PER_MS};
    return copy_to_user(a[1], interval, sizeof interval);
}

/* Whether PRIO_PROCESS, PRIO_PGRP or PRIO_USER with `who` mean this task. */
static bool priority_of(const struct task *self, const struct task *task, int which, int who) {
    if (which == PRIO_PROCESS)
        return who ? task->tid == who : task == self;
    if (which == PRIO_PGRP)
        return task->process->process_group == (who ? who : self->process->process_group);
    return task->credentials->user.real == (who ? (uint32_t)who : self->credentials->user.real);
}

/* Who may not be favoured may be put back only (RLIMIT_NICE is how far a user may go). */
static int64_t set_nice(const struct task *self, struct task *task, int32_t nice) {
    if (!credentials_may_schedule(self, task->process))
        return -EPERM;
    if (nice < task->nice && (uint64_t)(20 - nice) > self->process->limits[RLIMIT_NICE][0] &&
        !credentials_capable(self, CAP_SYS_NICE))
        return -EACCES;
    task->nice = nice;
    return 0;
}

/* Nice values are kept and shown; the scheduler is first come, first served. */
int64_t sys_getpriority(struct task *task, const uint64_t *a) {
    int64_t highest = -ESRCH;
    if ((int)a[0] < PRIO_PROCESS || (int)a[0] > PRIO_USER)
        return -EINVAL;
    list_for_each(process_node, &task->host->processes) {
        const struct process *process = list_entry(process_node, struct process, host_node);
        list_for_each(node, &process->tasks) {
            const struct task *meant = list_entry(node, struct task, process_node);
            if (priority_of(task, meant, (int)a[0], (int)a[1]))
                highest = KMAX(highest, 20 - meant->nice); /* as the raw call encodes it */
        }
    }
    return highest;
}

int64_t sys_setpriority(struct task *task, const uint64_t *a) {
    int32_t nice = KMIN(KMAX((int32_t)a[2], -20), 19);
    int64_t result = -ESRCH;
    if ((int)a[0] < PRIO_PROCESS || (int)a[0] > PRIO_USER)
        return -EINVAL;
    list_for_each(process_node, &task->host->processes) {
        struct process *process = list_entry(process_node, struct process, host_node);
        list_for_each(node, &process->tasks) {
            struct task *meant = list_entry(node, struct task, process_node);
            if (!priority_of(task, meant, (int)a[0], (int)a[1]))
                continue;
            int64_t one = set_nice(task, meant, nice);
            result = result == -ESRCH || one ? one : result;
        }
    }
    return result;
}

/* Advice and settings that have no meaning in a simulated host: accepted. */
int64_t sys_accept_silently(struct task *task, const uint64_t *a) {
    (void)task, (void)a;
    return 0;
}

int64_t sys_refuse_permission(struct task *task, const uint64_t *a) {
    (void)task, (void)a;
    return -EPERM;
}

int64_t sys_not_implemented(struct task *task, const uint64_t *a) {
    (void)task, (void)a;
    return -ENOSYS;
}

/* Every command of membarrier is optional; a kernel without them answers so. */
int64_t sys_membarrier(struct task *task, const uint64_t *a) {
    (void)task;
    return (int)a[0] == 0 ? 0 : -EINVAL; /* MEMBARRIER_CMD_QUERY */
}

int64_t sys_prctl(struct task *task, const uint64_t *a) {
    struct process *process = task->process;
    switch ((int)a[0]) {
    case PR_SET_NAME: {
        char name[16];
        int64_t length = string_from_user(name, a[1], sizeof name);
        if (length == -EFAULT)
            return length;
        name[15] = '\0';
        memcpy(task->comm, name, sizeof name);
        return 0;
    }
    case PR_GET_NAME:
        return copy_to_user(a[1], task->comm, sizeof task->comm);
    case PR_GET_DUMPABLE:
        return process->dumpable;
    case PR_SET_DUMPABLE:
        if (a[1] > 1)
            return -EINVAL;
        process->dumpable = a[1];
        return 0;
    case PR_SET_PDEATHSIG:
        if (a[1] > SIGNAL_COUNT)
            return -EINVAL;
        process->parent_death_signal = (int32_t)a[1];
        return 0;
    case PR_GET_PDEATHSIG:
        return copy_to_user(a[1], &process->parent_death_signal, sizeof process->parent_death_signal);
    case PR_SET_TIMERSLACK:
        task->timer_slack = (int64_t)a[1] > 0 ? a[1] : 50000;
        return 0;
    case PR_GET_TIMERSLACK:
        return (int64_t)task->timer_slack;
    case PR_SET_NO_NEW_PRIVS:
        if (a[1] != 1 || a[2] || a[3] || a[4])
            return -EINVAL;
        process->no_new_privileges = true;
        return 0;
    case PR_GET_NO_NEW_PRIVS:
        return a[1] || a[2] || a[3] || a[4] ? -EINVAL : process->no_new_privileges;
    case PR_SET_CHILD_SUBREAPER:
        process->subreaper = a[1] != 0;
        return 0;
    case PR_GET_CHILD_SUBREAPER: {
        int32_t subreaper = process->subreaper;
        return copy_to_user(a[1], &subreaper, sizeof subreaper);
    }
    case PR_SET_THP_DISABLE:
    case PR_GET_THP_DISABLE:
    case PR_GET_SECCOMP:
        return 0;
    case PR_GET_TSC: {
        int32_t enabled = PR_TSC_ENABLE;
        return copy_to_user(a[1], &enabled, sizeof enabled);
    }
    case PR_SET_SECCOMP: /* sandboxes of programs would fight with ours */
    case PR_SET_TSC:
        return -EPERM;
    case PR_SET_VMA:
        return -EINVAL; /* as kernels without CONFIG_ANON_VMA_NAME */
    default:
        return credentials_prctl(task, a);
    }
}
