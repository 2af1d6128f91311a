/* Timers that signal: alarm, setitimer, timer_create, and the limit of CPU time.
 *
 * Those of wall-clock time are on the host's heap (timer.c). Those of CPU time look whenever CPU time is charged
 * (syscall.c): where it is free, as by default, they never expire.
 */
#include "internal.h"
#include "process.h"
#include "signal.h"
#include "syscalls.h"

#include <linux/resource.h>
#include <linux/time.h>

/* A timer whose signal is ignored still looks whether it is: not more often than Linux' clock ticks. */
#define TICK (4 * NS_PER_MS)

struct posix_timer {
    struct list node; /* in process->posix_timers */
    struct process *process;
    struct timer timer;
    int64_t interval;
    int32_t id, signo, tid;
    int32_t overrun; /* expirations that the last signal taken stands for, besides its own */
    bool queued;     /* its signal waits to be taken; only then the next interval starts */
    uint64_t value;
    bool silent;       /* SIGEV_NONE */
    int clock;         /* CLOCK_REALTIME, _MONOTONIC, _PROCESS_CPUTIME_ID or _THREAD_CPUTIME_ID */
    int32_t clock_tid; /* whose CPU time the last one is */
    bool counts;       /* a timer of CPU time that is armed: timer.when is its moment */
};

static bool of_cpu(const struct posix_timer *posix) {
    return posix->clock == CLOCK_PROCESS_CPUTIME_ID || posix->clock == CLOCK_THREAD_CPUTIME_ID;
}

/* What its clock says. That of a thread that has ended stands still. */
static int64_t clock_now(const struct posix_timer *posix) {
    if (!of_cpu(posix))
        return posix->process->host->now;
    if (posix->clock == CLOCK_PROCESS_CPUTIME_ID)
        return process_cpu_time(posix->process);
    const struct task *task = task_find(posix->process->host, posix->clock_tid);
    return task ? task->cpu_total_ns : 0;
}

static void arm(struct posix_timer *posix, int64_t when) {
    if (of_cpu(posix)) {
        posix->timer.when = when;
        posix->counts = posix->process->cpu_timers = true;
    } else {
        timer_arm(posix->process->host, &posix->timer, when);
    }
}

static void disarm(struct posix_timer *posix) {
    posix->counts = false;
    timer_cancel(posix->process->host, &posix->timer);
}

static bool armed(const struct posix_timer *posix) { return posix->counts || timer_armed(&posix->timer); }

static struct posix_timer *posix_timer_find(struct process *process, int id) {
    list_for_each(node, &process->posix_timers) {
        struct posix_timer *posix = list_entry(node, struct posix_timer, node);
        if (posix->id == id)
            return posix;
    }
    return NULL;
}

static void expire(struct posix_timer *posix) {
    struct host *host = posix->process->host;
    if (!posix->silent) {
        struct signal_info info = {.signo = posix->signo, .code = SIGNAL_OF_TIMER};
        info.u.timer.timer_id = posix->id;
        info.u.timer.value = posix->value;
        struct task *target = posix->tid ? task_find(host, posix->tid) : NULL;
        struct signal_queue *queue = target ? &target->signals : &posix->process->signals;
        if (target)
            (void)signal_send_task(target, posix->signo, &info);
        else if (!posix->tid)
            (void)signal_send_process(posix->process, posix->signo, &info);
        posix->queued = (queue->set & signal_bit(posix->signo)) != 0;
    } else {
        posix->queued = true; /* nobody is told: timer_gettime works out what has passed meanwhile */
    }
    if (posix->interval && !posix->queued) {
        int64_t rounds = posix->interval < TICK ? TICK / posix->interval : 1;
        arm(posix, time_add(posix->timer.when, rounds * posix->interval));
    }
}

void signal_timer(struct timer *timer) {
    if (timer->kind != TIMER_ITIMER) {
        expire(timer->owner);
        return;
    }
    struct process *process = timer->owner;
    struct signal_info info = {.signo = KSIGALRM, .code = SIGNAL_OF_KERNEL};
    (void)signal_send_process(process, KSIGALRM, &info);
}

void itimer_taken(struct process *process) {
    int64_t interval = process->itimer_interval;
    if (!interval || timer_armed(&process->itimer))
        return;
    int64_t missed = (process->host->now - process->itimer.when) / interval;
    timer_arm(process->host, &process->itimer, time_add(process->itimer.when + missed * interval, interval));
}

/* Expirations that nobody has been told of yet, and the next one. */
static int64_t posix_timer_missed(const struct posix_timer *posix) {
    return (clock_now(posix) - posix->timer.when) / posix->interval;
}

static void posix_timer_go_on(struct posix_timer *posix) {
    posix->queued = false;
    if (!posix->interval)
        return;
    int64_t missed = posix_timer_missed(posix);
    posix->overrun = (int32_t)KMIN(missed, INT32_MAX);
    arm(posix, time_add(posix->timer.when + missed * posix->interval, posix->interval));
}

void posix_timer_taken(struct process *process, struct signal_info *info) {
    struct posix_timer *posix = posix_timer_find(process, info->u.timer.timer_id);
    if (!posix || !posix->queued || posix->silent)
        return;
    posix->overrun = 0;
    posix_timer_go_on(posix);
    info->u.timer.overrun = posix->overrun;
}

void posix_timers_discarded(struct process *process, uint64_t set) {
    list_for_each(node, &process->posix_timers) {
        struct posix_timer *posix = list_entry(node, struct posix_timer, node);
        if (posix->queued && !posix->silent && (set & signal_bit(posix->signo)))
            posix_timer_go_on(posix);
    }
}

void posix_timers_free(struct process *process) {
    list_for_each_safe(node, &process->posix_timers) {
        struct posix_timer *posix = list_entry(node, struct posix_timer, node);
        timer_cancel(process->host, &posix->timer);
        list_remove(&posix->node);
        kfree(process->host, posix);
    }
}

/* ---- CPU time ---- */

/* ITIMER_VIRTUAL and ITIMER_PROF: all CPU time is the program's own. */
static void count_interval_timer(struct process *process, struct cpu_itimer *itimer, int signo, int64_t cpu) {
    if (!itimer->when || cpu < itimer->when)
        return;
    struct signal_info info = {.signo = signo, .code = SIGNAL_OF_KERNEL};
    itimer->when = itimer->interval ? time_add(cpu, itimer->interval) : 0;
    (void)signal_send_process(process, signo, &info);
}

/* RLIMIT_CPU: a signal at the soft limit and each second from then on, the end at the hard one. */
static void count_limit(struct process *process, int64_t cpu) {
    uint64_t *limit = process->limits[RLIMIT_CPU], seconds = (uint64_t)(cpu / NS_PER_S);
    struct signal_info info = {.signo = KSIGXCPU, .code = SIGNAL_OF_KERNEL};
    if (seconds >= limit[1]) {
        info.signo = KSIGKILL;
        (void)signal_send_process(process, KSIGKILL, &info);
    } else if (seconds >= limit[0]) {
        limit[0] = seconds + 1;
        (void)signal_send_process(process, KSIGXCPU, &info);
    }
}

void signal_cpu_time(struct process *process) {
    int64_t cpu = process_cpu_time(process);
    if (process->limits[RLIMIT_CPU][0] != UINT64_MAX)
        count_limit(process, cpu);
    if (!process->cpu_timers)
        return;
    count_interval_timer(process, &process->cpu_itimers[0], KSIGVTALRM, cpu);
    count_interval_timer(process, &process->cpu_itimers[1], KSIGPROF, cpu);
    bool left = process->cpu_itimers[0].when || process->cpu_itimers[1].when;
    list_for_each(node, &process->posix_timers) {
        struct posix_timer *posix = list_entry(node, struct posix_timer, node);
        if (posix->counts && clock_now(posix) >= posix->timer.when) {
            posix->counts = false;
            expire(posix);
        }
        left |= posix->counts;
    }
    process->cpu_timers = left;
}

/* ---- System calls ---- */

struct user_timeval {
    int64_t seconds, microseconds;
};

static struct user_timeval timeval_of(int64_t time) {
    return (struct user_timeval){time / NS_PER_S, time % NS_PER_S / NS_PER_US};
}

/* Interval and what is left of the current one. `which` is ITIMER_REAL, _VIRTUAL or _PROF. */
static void itimer_read(const struct process *process, int which, struct user_timeval out[2]) {
    const struct cpu_itimer *counted = which ? &process->cpu_itimers[which - 1] : NULL;
    bool runs = counted ? counted->when != 0 : timer_armed(&process->itimer);
    int64_t left = !runs     ? 0
                   : counted ? KMAX(counted->when - process_cpu_time(process), NS_PER_US)
                             : KMAX(process->itimer.when - process->host->now, NS_PER_US);
    out[0] = timeval_of(counted ? counted->interval : process->itimer_interval);
    out[1] = timeval_of(left);
}

int64_t sys_getitimer(struct task *task, const uint64_t *a) {
    struct user_timeval value[2];
    if ((int)a[0] < 0 || (int)a[0] > 2)
        return -EINVAL;
    itimer_read(task->process, (int)a[0], value);
    return copy_to_user(a[1], value, sizeof value);
}

int64_t sys_setitimer(struct task *task, const uint64_t *a) {
    struct process *process = task->process;
    struct user_timeval given[2] = {{0, 0}, {0, 0}}, old[2];
    int which = (int)a[0];
    if (which < 0 || which > 2)
        return -EINVAL;
    if (a[1] && copy_from_user(given, a[1], sizeof given))
        return -EFAULT;
    for (int i = 0; i < 2; i++)
        if (given[i].seconds < 0 || given[i].microseconds < 0 || given[i].microseconds >= 1000000)
            return -EINVAL;
    itimer_read(process, which, old);
    int64_t interval = time_of(given[0].seconds, given[0].microseconds * NS_PER_US);
    int64_t value = time_of(given[1].seconds, given[1].microseconds * NS_PER_US);
    if (which == 0) {
        timer_cancel(process->host, &process->itimer);
        process->itimer_interval = value ? interval : 0; /* else a SIGALRM of any sender would start it */
        if (value)
            timer_arm(process->host, &process->itimer, time_add(process->host->now, value));
    } else {
        process->cpu_itimers[which - 1] =
            (struct cpu_itimer){.when = value ? time_add(process_cpu_time(process), value) : 0, .interval = interval};
        process->cpu_timers |= value != 0;
    }
    return a[2] ? copy_to_user(a[2], old, sizeof old) : 0;
}

int64_t sys_alarm(struct task *task, const uint64_t *a) {
    struct process *process = task->process;
    int64_t left = timer_armed(&process->itimer) ? process->itimer.when - process->host->now : 0;
    timer_cancel(process->host, &process->itimer);
    process->itimer_interval = 0;
    if ((uint32_t)a[0])
        timer_arm(process->host, &process->itimer, process->host->now + (int64_t)(uint32_t)a[0] * NS_PER_S);
    return left ? KMAX((left + NS_PER_S / 2) / NS_PER_S, 1) : 0;
}

/* The clock that an id means, and whose: of CPU time, only of the task's own process. 0, -EINVAL. */
static int64_t timer_clock(const struct task *task, int id, int *clock, int32_t *tid) {
    *clock = id;
    *tid = task->tid;
    if (id == CLOCK_REALTIME || id == CLOCK_MONOTONIC || id == CLOCK_BOOTTIME || id == CLOCK_PROCESS_CPUTIME_ID ||
        id == CLOCK_THREAD_CPUTIME_ID)
        return 0;
    int32_t owner = ~(id >> 3); /* clock_getcpuclockid, pthread_getcpuclockid */
    bool thread = id & 4;
    const struct task *target = thread && owner ? task_find(task->host, owner) : task;
    if (id >= 0 || (id & 3) == 3 || !target || target->process != task->process ||
        (!thread && owner && owner != task->process->pid))
        return -EINVAL;
    *clock = thread ? CLOCK_THREAD_CPUTIME_ID : CLOCK_PROCESS_CPUTIME_ID;
    *tid = target->tid;
    return 0;
}

int64_t sys_timer_create(struct task *task, const uint64_t *a) {
    struct {
        uint64_t value;
        int32_t signo, notify, tid, padding[11];
    } event = {.signo = KSIGALRM, .notify = 0};
    struct host *host = task->host;
    int clock;
    int32_t clock_tid;
    if (timer_clock(task, (int)a[0], &clock, &clock_tid))
        return -EINVAL;
    if (a[1] && copy_from_user(&event, a[1], sizeof event))
        return -EFAULT;
    bool silent = event.notify == 1, thread = event.notify == 4;
    if (!silent && (event.signo < 1 || event.signo > SIGNAL_COUNT))
        return -EINVAL;
    if (event.notify != 0 && !silent && !thread)
        return -EINVAL;
    const struct task *target = thread ? task_find(host, event.tid) : NULL;
    if (thread && (!target || target->process != task->process))
        return -EINVAL;
    struct posix_timer *posix = signal_limit_reached(task->process) ? NULL : kalloc(host, sizeof *posix);
    if (!posix)
        return -EAGAIN;
    posix->process = task->process;
    posix->id = task->process->next_timer_id++;
    posix->signo = event.signo;
    posix->tid = thread ? event.tid : 0;
    posix->value = a[1] ? event.value : (uint64_t)posix->id;
    posix->silent = silent;
    posix->clock = clock;
    posix->clock_tid = clock_tid;
    timer_init(&posix->timer, TIMER_POSIX, 0, posix);
    list_push_back(&task->process->posix_timers, &posix->node);
    if (!copy_to_user(a[2], &posix->id, sizeof posix->id))
        return 0;
    list_remove(&posix->node);
    kfree(host, posix);
    return -EFAULT;
}

static void posix_timer_read(const struct posix_timer *posix, int64_t out[4]) {
    int64_t when = posix->timer.when;
    if (posix->queued && posix->interval)
        when = time_add(when + posix_timer_missed(posix) * posix->interval, posix->interval);
    bool runs = armed(posix) || (posix->queued && posix->interval);
    int64_t left = runs ? KMAX(when - clock_now(posix), 1) : 0;
    out[0] = posix->interval / NS_PER_S;
    out[1] = posix->interval % NS_PER_S;
    out[2] = left / NS_PER_S;
    out[3] = left % NS_PER_S;
}

int64_t sys_timer_settime(struct task *task, const uint64_t *a) {
    struct posix_timer *posix = posix_timer_find(task->process, (int)a[0]);
    struct host *host = task->host;
    int64_t given[4], old[4];
    if (!posix || !a[2])
        return -EINVAL;
    if (copy_from_user(given, a[2], sizeof given))
        return -EFAULT;
    if (given[0] < 0 || given[2] < 0 || given[1] < 0 || given[1] >= NS_PER_S || given[3] < 0 || given[3] >= NS_PER_S)
        return -EINVAL;
    posix_timer_read(posix, old);
    disarm(posix);
    posix->queued = false;
    posix->overrun = 0;
    posix->interval = time_of(given[0], given[1]);
    int64_t value = time_of(given[2], given[3]);
    if (value) {
        int64_t now = clock_now(posix);
        if (!((int)a[1] & TIMER_ABSTIME))
            value = time_add(value, now);
        else if (!of_cpu(posix))
            value -= (posix->clock == CLOCK_REALTIME ? clock_realtime(host) : clock_monotonic(host)) - now;
        arm(posix, KMAX(value, now));
        if (posix->counts && value <= now) {
            posix->counts = false;
            expire(posix);
        }
    }
    return a[3] ? copy_to_user(a[3], old, sizeof old) : 0;
}

int64_t sys_timer_gettime(struct task *task, const uint64_t *a) {
    const struct posix_timer *posix = posix_timer_find(task->process, (int)a[0]);
    int64_t value[4];
    if (!posix)
        return -EINVAL;
    posix_timer_read(posix, value);
    return copy_to_user(a[1], value, sizeof value);
}

int64_t sys_timer_getoverrun(struct task *task, const uint64_t *a) {
    const struct posix_timer *posix = posix_timer_find(task->process, (int)a[0]);
    return posix ? posix->overrun : -EINVAL;
}

int64_t sys_timer_delete(struct task *task, const uint64_t *a) {
    struct posix_timer *posix = posix_timer_find(task->process, (int)a[0]);
    if (!posix)
        return -EINVAL;
    timer_cancel(task->host, &posix->timer);
    list_remove(&posix->node);
    kfree(task->host, posix);
    return 0;
}
