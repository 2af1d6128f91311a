/* What a host says of itself and lets a process set: names, limits, random bytes, prctl.
 *
 * Called by the dispatcher. Every answer is the same on every machine.
 */
#include "credentials.h"
#include "internal.h"
#include "process.h"
#include "syscalls.h"
#include <asm/unistd.h>
#include <linux/capability.h>
#include <linux/personality.h>
#include <linux/prctl.h>
#include <linux/random.h>
#include <linux/resource.h>

#define DESCRIPTORS_MAX (UINT64_C(1) << 20) /* fs.nr_open: what no limit may exceed */

int64_t sys_uname(struct task *task, const uint64_t *a) {
    char names[6][NODE_NAME_MAX + 1];
    uint32_t personality = task->process->personality;
    memset(names, 0, sizeof names);
    kprintf(names[0], sizeof names[0], "Linux");
    memcpy(names[1], task->host->node_name, sizeof names[1]);
    kprintf(names[2], sizeof names[2], personality & UNAME26 ? "2.6.61-antumbra" : "6.1.0-antumbra");
    kprintf(names[3], sizeof names[3], "#1 SMP PREEMPT_DYNAMIC 2000-01-01");
    kprintf(names[4], sizeof names[4], (personality & PER_MASK) == PER_LINUX32 ? "i686" : "x86_64");
    memcpy(names[5], task->host->domain_name, sizeof names[5]);
    return copy_to_user(a[0], names, sizeof names);
}

static int64_t set_name(struct task *task, char name[NODE_NAME_MAX + 1], uint64_t given, int length) {
    char fresh[NODE_NAME_MAX + 1] = {0};
    if (!credentials_capable(task, CAP_SYS_ADMIN))
        return -EPERM;
    if (length < 0 || length > NODE_NAME_MAX)
        return -EINVAL;
    if (copy_from_user(fresh, given, (size_t)length))
        return -EFAULT;
    memcpy(name, fresh, sizeof fresh);
    return 0;
}

/* What a host calls itself. Others find it by the name of its configuration. */
int64_t sys_sethostname(struct task *task, const uint64_t *a) {
    return set_name(task, task->host->node_name, a[0], (int)a[1]);
}

int64_t sys_setdomainname(struct task *task, const uint64_t *a) {
    return set_name(task, task->host->domain_name, a[0], (int)a[1]);
}

int64_t sys_personality(struct task *task, const uint64_t *a) {
    uint32_t old = task->process->personality;
    if ((uint32_t)a[0] != UINT32_MAX)
        task->process->personality = (uint32_t)a[0];
    return old;
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
    const uint32_t contrary = GRND_RANDOM | GRND_INSECURE;
    const uint32_t flags = (uint32_t)a[2];
    if ((flags & ~(uint32_t)(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE)) || (flags & contrary) == contrary)
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
    struct process *process = (int)a[0] ? process_find(task->host, (int)a[0]) : task->process;
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
        if (resource == RLIMIT_NOFILE && given[1] > DESCRIPTORS_MAX)
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
    case PR_SET_THP_DISABLE: /* memory is the real process's, and children and programs inherit it there */
    case PR_GET_THP_DISABLE:
        if (a[2] || a[3] || a[4] || ((int)a[0] == PR_GET_THP_DISABLE && a[1]))
            return -EINVAL;
        return platform_syscall(__NR_prctl, a[0], a[1] != 0, 0, 0, 0, 0);
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
