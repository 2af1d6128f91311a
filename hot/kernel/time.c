/* Clocks and sleeping. Time is the host's virtual time; only sleeping lets it pass.
 *
 * Called by the dispatcher. CPU clocks count the modelled CPU time, which is 0 unless the CPU model is on.
 */
#include "internal.h"
#include "process.h"
#include "signal.h"
#include "syscalls.h"
#include <linux/time.h>

struct user_timespec {
    int64_t seconds, nanoseconds;
};

int64_t process_cpu_time(const struct process *process) {
    int64_t total = process->ended_cpu_ns;
    list_for_each(node, &process->tasks) total += list_entry(node, struct task, process_node)->cpu_total_ns;
    return total;
}

/* Clocks of CPU time of other processes, and of other threads of the task's own, are negative numbers
 * (include/linux/posix-timers.h). */
static int64_t read_foreign_clock(const struct task *task, int clock, int64_t *value) {
    int32_t id = ~(clock >> 3);
    if ((clock & 3) == 3) /* of a device */
        return -EINVAL;
    if (clock & 4) {
        const struct task *thread = id ? task_find(task->host, id) : task;
        if (!thread || thread->process != task->process)
            return -EINVAL;
        *value = thread->cpu_total_ns;
        return 0;
    }
    const struct process *process = id ? process_find(task->host, id) : task->process;
    if (!process || process_reaped(process))
        return -EINVAL;
    *value = process_cpu_time(process);
    return 0;
}

static int64_t read_clock(const struct task *task, int clock, int64_t *value) {
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
    case CLOCK_TAI:
        *value = clock_realtime(task->host);
        return 0;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_RAW:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_BOOTTIME:
        *value = clock_monotonic(task->host);
        return 0;
    case CLOCK_PROCESS_CPUTIME_ID:
        *value = process_cpu_time(task->process);
        return 0;
    case CLOCK_THREAD_CPUTIME_ID:
        *value = task->cpu_total_ns;
        return 0;
    default:
        return clock < 0 ? read_foreign_clock(task, clock, value) : -EINVAL;
    }
}

int64_t sys_clock_gettime(struct task *task, const uint64_t *a) {
    int64_t value;
    int64_t result = read_clock(task, (int)a[0], &value);
    if (result)
        return result;
    struct user_timespec time = {value / NS_PER_S, value % NS_PER_S};
    return copy_to_user(a[1], &time, sizeof time);
}

int64_t sys_clock_getres(struct task *task, const uint64_t *a) {
    int64_t value;
    int64_t result = read_clock(task, (int)a[0], &value);
    if (result || !a[1])
        return result;
    struct user_timespec time = {0, 1};
    return copy_to_user(a[1], &time, sizeof time);
}

int64_t sys_gettimeofday(struct task *task, const uint64_t *a) {
    int64_t value = clock_realtime(task->host);
    struct user_timespec time = {value / NS_PER_S, value % NS_PER_S / NS_PER_US}; /* a timeval: microseconds */
    int32_t zone[2] = {0, 0};
    if (a[0] && copy_to_user(a[0], &time, sizeof time))
        return -EFAULT;
    return a[1] ? copy_to_user(a[1], zone, sizeof zone) : 0;
}

int64_t sys_time(struct task *task, const uint64_t *a) {
    int64_t seconds = clock_realtime(task->host) / NS_PER_S;
    return a[0] && copy_to_user(a[0], &seconds, sizeof seconds) ? -EFAULT : seconds;
}

/* The simulation owns the clock: a program may try to set it, as on a host where it lacks CAP_SYS_TIME. */
int64_t sys_clock_settime(struct task *task, const uint64_t *a) {
    (void)task, (void)a;
    return -EPERM;
}

static int64_t sleep_until(struct task *task, int64_t deadline) {
    int result;
    do
        result = task_block(task, deadline);
    while (result == 0);
    return result;
}

static int64_t sleep_relative(struct task *task, const struct user_timespec *time, uint64_t remaining) {
    struct host *host = task->host;
    int64_t ns = time->seconds > NEVER / NS_PER_S / 2 ? NEVER / 2 : time->seconds * NS_PER_S + time->nanoseconds;
    int64_t deadline = restart_deadline(task, host->now + ns);
    if (ns == 0) {
        task_yield(task);
        return 0;
    }
    int64_t result = sleep_until(task, deadline);
    if (result == -ETIMEDOUT)
        return 0;
    int64_t left = KMAX(deadline - host->now, 0);
    struct user_timespec rest = {left / NS_PER_S, left % NS_PER_S};
    if (remaining && copy_to_user(remaining, &rest, sizeof rest))
        return -EFAULT;
    task->restart_deadline = deadline;
    return -ERESTART_RESTARTBLOCK;
}

static bool bad_time(const struct user_timespec *time) {
    return time->seconds < 0 || time->nanoseconds < 0 || time->nanoseconds >= NS_PER_S;
}

int64_t sys_nanosleep(struct task *task, const uint64_t *a) {
    struct user_timespec time;
    if (copy_from_user(&time, a[0], sizeof time))
        return -EFAULT;
    return bad_time(&time) ? -EINVAL : sleep_relative(task, &time, a[1]);
}

int64_t sys_clock_nanosleep(struct task *task, const uint64_t *a) {
    struct user_timespec time;
    int64_t value;
    int clock = (int)a[0];
    int64_t result = read_clock(task, clock, &value);
    if (result)
        return result;
    if (clock == CLOCK_THREAD_CPUTIME_ID || clock == CLOCK_MONOTONIC_RAW || clock == CLOCK_REALTIME_COARSE ||
        clock == CLOCK_MONOTONIC_COARSE)
        return -EOPNOTSUPP;
    if (copy_from_user(&time, a[2], sizeof time))
        return -EFAULT;
    if (bad_time(&time))
        return -EINVAL;
    if (!((int)a[1] & TIMER_ABSTIME))
        return sleep_relative(task, &time, a[3]);
    int64_t wanted = time.seconds > NEVER / NS_PER_S / 2 ? NEVER / 2 : time.seconds * NS_PER_S + time.nanoseconds;
    result = sleep_until(task, wanted - value + task->host->now);
    return result == -ETIMEDOUT ? 0 : -ERESTARTNOHAND;
}

int64_t sys_times(struct task *task, const uint64_t *a) {
    const int64_t tick = NS_PER_S / 100;
    int64_t ticks[4] = {process_cpu_time(task->process) / tick, 0, task->process->children_cpu_ns / tick, 0};
    if (a[0] && copy_to_user(a[0], ticks, sizeof ticks))
        return -EFAULT;
    return clock_monotonic(task->host) / tick;
}

int64_t sys_getrusage(struct task *task, const uint64_t *a) {
    int64_t usage[18] = {0};
    int who = (int)a[0];
    if (who != 0 && who != -1 && who != 1)
        return -EINVAL;
    int64_t cpu = who == 1   ? task->cpu_total_ns
                  : who == 0 ? process_cpu_time(task->process)
                             : task->process->children_cpu_ns;
    usage[0] = cpu / NS_PER_S;
    usage[1] = cpu % NS_PER_S / NS_PER_US;
    usage[4] = 16384; /* ru_maxrss in KiB: real memory is not the simulated host's */
    return copy_to_user(a[1], usage, sizeof usage);
}
