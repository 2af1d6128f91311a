/* How a task asks to be scheduled: policy, priority, nice value, affinity, I/O priority.
 *
 * Called by the dispatcher. All of it is kept, inherited, shown, and refused as Linux does; nothing of it has an
 * effect, since a host has one CPU, runs its tasks in the order in which they became runnable, and never takes the CPU
 * away.
 */
#include "scheduling.h"
#include "credentials.h"
#include "internal.h"
#include "process.h"
#include "syscalls.h"
#include <linux/capability.h>
#include <linux/ioprio.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/sched/types.h>

#define POLICY_KEPT (-1) /* of sched_setparam: the policy stays */
#define HIGHEST_REAL_TIME 99

/* The 48 bytes that the first kernels with sched_setattr had, and the 56 that are known here. */
#define ATTRIBUTES_AT_LEAST SCHED_ATTR_SIZE_VER0
#define ATTRIBUTES_KNOWN SCHED_ATTR_SIZE_VER1

static bool is_real_time(int32_t policy) { return policy == SCHED_FIFO || policy == SCHED_RR; }

static bool is_policy(int32_t policy) {
    return is_real_time(policy) || policy == SCHED_NORMAL || policy == SCHED_BATCH || policy == SCHED_IDLE;
}

/* 0 means the caller. */
static struct task *task_meant(struct task *task, int tid) { return tid ? task_find(task->host, tid) : task; }

void scheduling_inherit(struct task *child, const struct task *parent) {
    struct scheduling *own = &child->scheduling;
    *own = parent->scheduling;
    if (!own->reset_on_fork)
        return;
    if (is_real_time(own->policy))
        *own = (struct scheduling){.io_priority = own->io_priority};
    own->nice = KMAX(own->nice, 0);
    own->reset_on_fork = false;
}

int32_t scheduling_shown_priority(const struct scheduling *scheduling) {
    return is_real_time(scheduling->policy) ? -1 - scheduling->priority : 20 + scheduling->nice;
}

/* ---- Policies ---- */

/* Whether `task` may give `target` this without CAP_SYS_NICE. RLIMIT_NICE and RLIMIT_RTPRIO are the target's. */
static bool is_allowed(const struct task *task, const struct task *target, const struct scheduling *wanted) {
    const struct scheduling *now = &target->scheduling;
    const uint64_t (*limits)[2] = target->process->limits;
    bool may_favour = (uint64_t)(20 - wanted->nice) <= limits[RLIMIT_NICE][0];
    if (is_real_time(wanted->policy)) {
        uint64_t limit = limits[RLIMIT_RTPRIO][0];
        if ((wanted->policy != now->policy && !limit) ||
            (wanted->priority > now->priority && (uint64_t)wanted->priority > limit))
            return false;
    } else if (wanted->nice < now->nice && !may_favour) {
        return false;
    }
    if (now->policy == SCHED_IDLE && wanted->policy != SCHED_IDLE &&
        (uint64_t)(20 - now->nice) > limits[RLIMIT_NICE][0])
        return false;
    return credentials_may_schedule(task, target->process) && (!now->reset_on_fork || wanted->reset_on_fork);
}

static int64_t schedule(struct task *task, struct task *target, const struct scheduling *wanted) {
    if (wanted->priority < 0 || wanted->priority > HIGHEST_REAL_TIME || !is_policy(wanted->policy) ||
        is_real_time(wanted->policy) != (wanted->priority != 0))
        return -EINVAL;
    if (!is_allowed(task, target, wanted) && !credentials_capable(task, CAP_SYS_NICE))
        return -EPERM;
    target->scheduling = *wanted;
    return 0;
}

static int64_t set_policy(struct task *task, int tid, int32_t policy, uint64_t parameter) {
    int32_t priority;
    if (!parameter || tid < 0)
        return -EINVAL;
    if (copy_from_user(&priority, parameter, sizeof priority))
        return -EFAULT;
    struct task *target = task_meant(task, tid);
    if (!target)
        return -ESRCH;
    struct scheduling wanted = target->scheduling;
    wanted.priority = priority;
    if (policy != POLICY_KEPT) {
        wanted.policy = policy & ~SCHED_RESET_ON_FORK;
        wanted.reset_on_fork = policy & SCHED_RESET_ON_FORK;
    }
    return schedule(task, target, &wanted);
}

int64_t sys_sched_setscheduler(struct task *task, const uint64_t *a) {
    return (int)a[1] < 0 ? -EINVAL : set_policy(task, (int)a[0], (int32_t)a[1], a[2]);
}

int64_t sys_sched_setparam(struct task *task, const uint64_t *a) {
    return set_policy(task, (int)a[0], POLICY_KEPT, a[1]);
}

int64_t sys_sched_getscheduler(struct task *task, const uint64_t *a) {
    if ((int)a[0] < 0)
        return -EINVAL;
    const struct task *target = task_meant(task, (int)a[0]);
    if (!target)
        return -ESRCH;
    return target->scheduling.policy | (target->scheduling.reset_on_fork ? SCHED_RESET_ON_FORK : 0);
}

int64_t sys_sched_getparam(struct task *task, const uint64_t *a) {
    if (!a[1] || (int)a[0] < 0)
        return -EINVAL;
    const struct task *target = task_meant(task, (int)a[0]);
    if (!target)
        return -ESRCH;
    return copy_to_user(a[1], &target->scheduling.priority, sizeof target->scheduling.priority);
}

/* Attributes of any size: a longer one than is known here must be 0 where it is not known. */
static int64_t attributes_from_user(struct sched_attr *attributes, uint64_t address) {
    uint32_t size, known = ATTRIBUTES_KNOWN;
    memset(attributes, 0, sizeof *attributes);
    if (copy_from_user(&size, address, sizeof size))
        return -EFAULT;
    size = size ? size : ATTRIBUTES_AT_LEAST;
    bool fits = size >= ATTRIBUTES_AT_LEAST && size <= 4096;
    for (uint32_t at = ATTRIBUTES_KNOWN; fits && at < size; at++) {
        uint8_t byte;
        if (copy_from_user(&byte, address + at, 1))
            return -EFAULT;
        fits = !byte;
    }
    if (!fits)
        return copy_to_user(address, &known, sizeof known) ? -EFAULT : -E2BIG;
    if (copy_from_user(attributes, address, KMIN(size, sizeof *attributes)))
        return -EFAULT;
    return attributes->sched_flags & SCHED_FLAG_UTIL_CLAMP && size < ATTRIBUTES_KNOWN ? -EINVAL : 0;
}

int64_t sys_sched_setattr(struct task *task, const uint64_t *a) {
    struct sched_attr attributes;
    if (!a[1] || (int)a[0] < 0 || (uint32_t)a[2])
        return -EINVAL;
    int64_t error = attributes_from_user(&attributes, a[1]);
    if (error)
        return error;
    if ((int32_t)attributes.sched_policy < 0)
        return -EINVAL;
    struct task *target = task_meant(task, (int)a[0]);
    if (!target)
        return -ESRCH;
    struct scheduling wanted = target->scheduling;
    if (!(attributes.sched_flags & SCHED_FLAG_KEEP_POLICY)) {
        wanted.policy = (int32_t)attributes.sched_policy;
        wanted.reset_on_fork = attributes.sched_flags & SCHED_FLAG_RESET_ON_FORK;
    }
    if (!(attributes.sched_flags & SCHED_FLAG_KEEP_PARAMS)) {
        wanted.priority = attributes.sched_priority > HIGHEST_REAL_TIME ? -1 : (int32_t)attributes.sched_priority;
        if (!is_real_time(wanted.policy))
            wanted.nice = KMIN(KMAX(attributes.sched_nice, -20), 19);
    }
    if (attributes.sched_flags & ~(uint64_t)SCHED_FLAG_ALL)
        return -EINVAL;
    return schedule(task, target, &wanted);
}

int64_t sys_sched_getattr(struct task *task, const uint64_t *a) {
    uint32_t size = (uint32_t)a[2];
    if (!a[1] || (int)a[0] < 0 || size > 4096 || size < ATTRIBUTES_AT_LEAST || (uint32_t)a[3])
        return -EINVAL;
    const struct task *target = task_meant(task, (int)a[0]);
    if (!target)
        return -ESRCH;
    const struct scheduling *now = &target->scheduling;
    struct sched_attr attributes = {
        .size = KMIN(size, ATTRIBUTES_KNOWN),
        .sched_policy = (uint32_t)now->policy,
        .sched_flags = now->reset_on_fork ? SCHED_FLAG_RESET_ON_FORK : 0,
        .sched_nice = is_real_time(now->policy) ? 0 : now->nice,
        .sched_priority = (uint32_t)now->priority,
        .sched_util_max = 1024,
    };
    return copy_to_user(a[1], &attributes, attributes.size);
}

static int64_t priority_bound(uint64_t policy, int64_t real_time) {
    if (is_real_time((int32_t)policy))
        return real_time;
    return is_policy((int32_t)policy) || (int32_t)policy == SCHED_DEADLINE ? 0 : -EINVAL;
}

int64_t sys_sched_get_priority_max(struct task *task, const uint64_t *a) {
    (void)task;
    return priority_bound(a[0], HIGHEST_REAL_TIME);
}

int64_t sys_sched_get_priority_min(struct task *task, const uint64_t *a) {
    (void)task;
    return priority_bound(a[0], 1);
}

int64_t sys_sched_rr_get_interval(struct task *task, const uint64_t *a) {
    if ((int)a[0] < 0)
        return -EINVAL;
    const struct task *target = task_meant(task, (int)a[0]);
    if (!target)
        return -ESRCH;
    int32_t policy = target->scheduling.policy;
    int64_t slice = policy == SCHED_FIFO ? 0 : policy == SCHED_RR ? 100 * NS_PER_MS : 4 * NS_PER_MS;
    return copy_to_user(a[1], (const int64_t[2]){0, slice}, 2 * sizeof(int64_t));
}

int64_t sys_sched_yield(struct task *task, const uint64_t *a) {
    (void)a;
    task_yield(task);
    return 0;
}

/* ---- The one CPU of a host, whatever the machine has ---- */

int64_t sys_sched_setaffinity(struct task *task, const uint64_t *a) {
    uint8_t first = 0; /* CPUs 0 to 7: any others do not exist */
    if ((uint32_t)a[1] && copy_from_user(&first, a[2], sizeof first))
        return -EFAULT;
    const struct task *target = task_meant(task, (int)a[0]);
    if (!target)
        return -ESRCH;
    if (!credentials_may_schedule(task, target->process))
        return -EPERM;
    return first & 1 ? 0 : -EINVAL;
}

int64_t sys_sched_getaffinity(struct task *task, const uint64_t *a) {
    uint64_t mask = 1;
    if ((uint32_t)a[1] < sizeof mask || (a[1] & 7))
        return -EINVAL;
    if (!task_meant(task, (int)a[0]))
        return -ESRCH;
    return copy_to_user(a[2], &mask, sizeof mask) ? -EFAULT : (int64_t)sizeof mask;
}

int64_t sys_getcpu(struct task *task, const uint64_t *a) {
    (void)task;
    uint32_t zero = 0;
    if ((a[0] && copy_to_user(a[0], &zero, sizeof zero)) || (a[1] && copy_to_user(a[1], &zero, sizeof zero)))
        return -EFAULT;
    return 0;
}

/* ---- Nice values and I/O priorities: of a thread, a process group, or all of a user ---- */

enum whose { WHOSE_THREAD, WHOSE_GROUP, WHOSE_USER };

static bool is_meant(const struct task *self, const struct task *task, enum whose whose, int who) {
    if (whose == WHOSE_THREAD)
        return who ? task->tid == who : task == self;
    if (whose == WHOSE_GROUP)
        return task->process->process_group == (who ? who : self->process->process_group);
    return task->credentials->user.real == (who ? (uint32_t)who : self->credentials->user.real);
}

/* Calls `one` for each that is meant; returns -ESRCH if nobody is. */
static int64_t for_all_meant(struct task *self, enum whose whose, int who, void *context,
                             void (*one)(struct task *self, struct task *task, void *context)) {
    int64_t result = -ESRCH;
    list_for_each(process_node, &self->host->processes) {
        struct process *process = list_entry(process_node, struct process, host_node);
        list_for_each(node, &process->tasks) {
            struct task *task = list_entry(node, struct task, process_node);
            if (!is_meant(self, task, whose, who))
                continue;
            result = 0;
            one(self, task, context);
        }
    }
    return result;
}

struct setting {
    int32_t value;
    int64_t error;
};

/* Who may not be favoured may be put back only (RLIMIT_NICE is how far a user may go). */
static void set_nice(struct task *self, struct task *task, void *context) {
    struct setting *setting = context;
    if (!credentials_may_schedule(self, task->process))
        setting->error = -EPERM;
    else if (setting->value < task->scheduling.nice &&
             (uint64_t)(20 - setting->value) > task->process->limits[RLIMIT_NICE][0] &&
             !credentials_capable(self, CAP_SYS_NICE))
        setting->error = -EACCES;
    else
        task->scheduling.nice = setting->value;
}

static void most_favoured(struct task *self, struct task *task, void *context) {
    (void)self;
    int64_t *highest = context;
    *highest = KMAX(*highest, 20 - task->scheduling.nice); /* as the raw call encodes it */
}

int64_t sys_getpriority(struct task *task, const uint64_t *a) {
    int64_t highest = 0;
    if ((int)a[0] < PRIO_PROCESS || (int)a[0] > PRIO_USER)
        return -EINVAL;
    int64_t error = for_all_meant(task, (enum whose)(int)a[0], (int)a[1], &highest, most_favoured);
    return error ? error : highest;
}

int64_t sys_setpriority(struct task *task, const uint64_t *a) {
    struct setting setting = {.value = KMIN(KMAX((int32_t)a[2], -20), 19)};
    if ((int)a[0] < PRIO_PROCESS || (int)a[0] > PRIO_USER)
        return -EINVAL;
    int64_t error = for_all_meant(task, (enum whose)(int)a[0], (int)a[1], &setting, set_nice);
    return error ? error : setting.error;
}

static void set_io_priority(struct task *self, struct task *task, void *context) {
    struct setting *setting = context;
    const struct identity *user = &credentials_of(task->process)->user;
    if (user->real != self->credentials->user.effective && user->real != self->credentials->user.real &&
        !credentials_capable(self, CAP_SYS_NICE))
        setting->error = -EPERM;
    else
        task->scheduling.io_priority = (uint16_t)setting->value;
}

static void best_io_priority(struct task *self, struct task *task, void *context) {
    (void)self;
    int32_t *best = context, own = task->scheduling.io_priority;
    if (IOPRIO_PRIO_CLASS(own) == IOPRIO_CLASS_NONE) /* among several, that which follows from the nice value */
        own = IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, (task->scheduling.nice + 20) / 5);
    *best = *best < 0 ? own : KMIN(*best, own);
}

static bool io_whose(int which, enum whose *whose) {
    if (which < IOPRIO_WHO_PROCESS || which > IOPRIO_WHO_USER)
        return false;
    *whose = (enum whose)(which - IOPRIO_WHO_PROCESS);
    return true;
}

int64_t sys_ioprio_set(struct task *task, const uint64_t *a) {
    struct setting setting = {.value = (int32_t)a[2]};
    int class = IOPRIO_PRIO_CLASS(setting.value), level = IOPRIO_PRIO_DATA(setting.value);
    enum whose whose;
    switch (class) {
    case IOPRIO_CLASS_RT:
        if (!credentials_capable(task, CAP_SYS_ADMIN) && !credentials_capable(task, CAP_SYS_NICE))
            return -EPERM;
        break;
    case IOPRIO_CLASS_BE:
    case IOPRIO_CLASS_IDLE:
        break;
    case IOPRIO_CLASS_NONE:
        if (level)
            return -EINVAL;
        break;
    default:
        return -EINVAL;
    }
    if ((class == IOPRIO_CLASS_RT || class == IOPRIO_CLASS_BE) && level >= IOPRIO_NR_LEVELS)
        return -EINVAL;
    if (!io_whose((int)a[0], &whose))
        return -EINVAL;
    int64_t error = for_all_meant(task, whose, (int)a[1], &setting, set_io_priority);
    return error ? error : setting.error;
}

int64_t sys_ioprio_get(struct task *task, const uint64_t *a) {
    int32_t best = -1;
    enum whose whose;
    if (!io_whose((int)a[0], &whose))
        return -EINVAL;
    if (whose == WHOSE_THREAD) {
        const struct task *target = task_meant(task, (int)a[1]);
        return target ? target->scheduling.io_priority : -ESRCH;
    }
    int64_t error = for_all_meant(task, whose, (int)a[1], &best, best_io_priority);
    return error ? error : best;
}
