/* What the files of the kernel use of each other beyond kernel.h: the functions that dispatch by kind. */
#ifndef ANTUMBRA_KERNEL_INTERNAL_H
#define ANTUMBRA_KERNEL_INTERNAL_H

#include "kernel.h"
#include "net.h"

/* Time as programs see it (time.c). CLOCK_MONOTONIC starts at an uptime, for 0 means "unset" to some programs. */
#define BOOT_UPTIME (1000 * NS_PER_S)
static inline int64_t clock_realtime(const struct host *host) { return EPOCH_SECONDS * NS_PER_S + host->now; }
static inline int64_t clock_monotonic(const struct host *host) { return BOOT_UPTIME + host->now; }

/* What is later than the clock can show is as good as never. */
static inline int64_t time_of(int64_t seconds, int64_t nanoseconds) {
    return seconds >= NEVER / NS_PER_S ? NEVER : seconds * NS_PER_S + nanoseconds;
}
static inline int64_t time_add(int64_t time, int64_t duration) {
    int64_t sum;
    return __builtin_add_overflow(time, duration, &sum) ? NEVER : sum;
}

/* The deadline of a call with a relative time-out: its first one if it goes on after a stop. */
static inline int64_t restart_deadline(struct task *task, int64_t deadline) {
    int64_t first = task->restart_deadline;
    task->restart_deadline = 0;
    return first ? first : deadline;
}

struct task *task_next(struct host *host); /* takes the first runnable task off the queue; NULL if none */
void timer_fire(struct host *host, struct timer *timer);
void task_timer(struct timer *timer);                      /* task.c */
void timerfd_fire(struct host *host, struct timer *timer); /* timerfd.c */
void signal_timer(struct timer *timer);                    /* itimer.c: ITIMER_REAL and POSIX timers */
/* Whether a task that sleeps in epoll_wait is woken (epoll.c). */
bool epoll_wake(struct host *host, struct wait_entry *entry, uint32_t events);

#endif
