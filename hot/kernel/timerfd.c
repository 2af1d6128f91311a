/* timerfd: expirations of a clock that can be read and waited for.
 *
 * file.c calls the operations, timer.c timerfd_fire (in the shard).
 */
#include "internal.h"
#include "syscalls.h"

#include <linux/fcntl.h>
#include <linux/poll.h>
#include <linux/time.h>
#include <linux/time_types.h>
#include <linux/timerfd.h>

struct timerfd {
    struct file *file;
    struct timer timer;
    int64_t interval;     /* ns, 0 = once */
    uint64_t expirations; /* not read yet */
    int clock;
};

/* The time of one of its clocks now: they all run at the pace of the simulation, from different origins. */
static int64_t clock_now(const struct host *host, int clock) {
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_ALARM ? clock_realtime(host) : clock_monotonic(host);
}

void timerfd_fire(struct host *host, struct timer *timer) {
    struct timerfd *timerfd = timer->owner;
    timerfd->expirations++;
    wake_up(host, &timerfd->file->wait, POLLIN);
}

/* One that has expired goes on when somebody looks, with all the expirations that have passed meanwhile: as in Linux,
 * and however short the interval, it costs one event. */
static void go_on(struct host *host, struct timerfd *timerfd) {
    if (!timerfd->interval || !timerfd->expirations || timer_armed(&timerfd->timer))
        return;
    int64_t missed = (host->now - timerfd->timer.when) / timerfd->interval;
    timerfd->expirations += (uint64_t)missed;
    timer_arm(host, &timerfd->timer, time_add(timerfd->timer.when + missed * timerfd->interval, timerfd->interval));
}

static int64_t timerfd_read(struct task *task, struct file *file, struct uio *to, const int64_t *position) {
    (void)position;
    struct timerfd *timerfd = file->object;
    if (to->remaining < sizeof timerfd->expirations)
        return -EINVAL;
    go_on(task->host, timerfd);
    uint64_t expirations = timerfd->expirations;
    if (!expirations)
        return -EAGAIN;
    if (uio_copy_out(to, &expirations, sizeof expirations))
        return -EFAULT;
    timerfd->expirations = 0;
    return sizeof expirations;
}

static uint32_t timerfd_poll(struct file *file) {
    const struct timerfd *timerfd = file->object;
    return timerfd->expirations ? POLLIN : 0;
}

static void timerfd_release(struct host *host, struct file *file) {
    struct timerfd *timerfd = file->object;
    timer_cancel(host, &timerfd->timer);
    kfree(host, timerfd);
}

const struct file_operations timerfd_operations = {
    .name = "anon_inode:[timerfd]",
    .read = timerfd_read,
    .poll = timerfd_poll,
    .release = timerfd_release,
};

int64_t sys_timerfd_create(struct task *task, const uint64_t *a) {
    int clock = (int)a[0];
    uint32_t flags = (uint32_t)a[1];
    bool known = clock == CLOCK_REALTIME || clock == CLOCK_MONOTONIC || clock == CLOCK_BOOTTIME ||
                 clock == CLOCK_REALTIME_ALARM || clock == CLOCK_BOOTTIME_ALARM;
    if (!known || (flags & ~(uint32_t)(TFD_CLOEXEC | TFD_NONBLOCK)))
        return -EINVAL;
    struct timerfd *timerfd = kalloc(task->host, sizeof *timerfd);
    struct file *file =
        timerfd ? file_create(task->host, FILE_TIMERFD, O_RDWR | (flags & TFD_NONBLOCK), timerfd) : NULL;
    if (!file) {
        kfree(task->host, timerfd);
        return -ENOMEM;
    }
    timerfd->file = file;
    timerfd->clock = clock;
    timer_init(&timerfd->timer, TIMER_TIMERFD, 0, timerfd);
    return fd_install(task, file, 0, (flags & TFD_CLOEXEC) != 0, -1);
}

static bool valid(const struct __kernel_timespec *time) {
    return time->tv_sec >= 0 && time->tv_nsec >= 0 && time->tv_nsec < NS_PER_S;
}

static struct __kernel_timespec from_ns(int64_t ns) {
    return (struct __kernel_timespec){.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};
}

static struct __kernel_itimerspec current_value(struct host *host, struct timerfd *timerfd) {
    go_on(host, timerfd);
    struct __kernel_itimerspec value = {.it_interval = from_ns(timerfd->interval)};
    if (timer_armed(&timerfd->timer))
        value.it_value = from_ns(KMAX(timerfd->timer.when - host->now, (int64_t)1));
    return value;
}

static int64_t timerfd_of(struct task *task, int fd, struct timerfd **timerfd) {
    const struct file *file = fd_file(task, fd);
    if (!file)
        return -EBADF;
    if (file->kind != FILE_TIMERFD)
        return -EINVAL;
    *timerfd = file->object;
    return 0;
}

int64_t sys_timerfd_settime(struct task *task, const uint64_t *a) {
    struct host *host = task->host;
    struct __kernel_itimerspec wanted, old;
    struct timerfd *timerfd;
    uint32_t flags = (uint32_t)a[1];
    if (copy_from_user(&wanted, a[2], sizeof wanted))
        return -EFAULT;
    if ((flags & ~(uint32_t)(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)) || !valid(&wanted.it_value) ||
        !valid(&wanted.it_interval))
        return -EINVAL;
    int64_t result = timerfd_of(task, (int)a[0], &timerfd);
    if (result)
        return result;
    old = current_value(host, timerfd);
    timer_cancel(host, &timerfd->timer);
    timerfd->expirations = 0;
    timerfd->interval = time_of(wanted.it_interval.tv_sec, wanted.it_interval.tv_nsec);
    int64_t value = time_of(wanted.it_value.tv_sec, wanted.it_value.tv_nsec);
    if (value) {
        int64_t origin = flags & TFD_TIMER_ABSTIME ? clock_now(host, timerfd->clock) : 0;
        int64_t wait = value - origin; /* an absolute time may have passed */
        int64_t when = time_add(host->now, wait);
        if (when > host->now) {
            timer_arm(host, &timerfd->timer, when);
        } else {
            timerfd->timer.when = when;
            timerfd_fire(host, &timerfd->timer);
        }
    }
    return a[3] ? copy_to_user(a[3], &old, sizeof old) : 0;
}

int64_t sys_timerfd_gettime(struct task *task, const uint64_t *a) {
    struct timerfd *timerfd;
    int64_t result = timerfd_of(task, (int)a[0], &timerfd);
    if (result)
        return result;
    struct __kernel_itimerspec value = current_value(task->host, timerfd);
    return copy_to_user(a[1], &value, sizeof value);
}
