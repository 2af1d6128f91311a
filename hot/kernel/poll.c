/* poll, ppoll, select, pselect6: waiting for any of many descriptors, named anew in each call.
 *
 * The system call table calls this. Both families are one list of (descriptor, events) here.
 */
#include "fs.h"
#include "internal.h"
#include "signal.h"
#include "syscalls.h"

#include <linux/fcntl.h>
#include <linux/poll.h>
#include <linux/time_types.h>

#define LIMIT_NOFILE 7
#define READ_EVENTS (POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR) /* what makes a set of select true */
#define WRITE_EVENTS (POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR)
#define EXCEPTION_EVENTS POLLPRI

struct wanted {
    int fd;
    uint32_t events; /* that count, POLLERR and POLLHUP only if they are named */
    uint32_t ready;
    bool waits; /* `wait` is in a queue */
    struct wait_entry wait;
};

/* ---- Time-outs and masks ---- */

int64_t deadline_of_timespec(const struct host *host, const struct __kernel_timespec *time, int64_t *deadline) {
    if (time->tv_sec < 0 || time->tv_nsec < 0 || time->tv_nsec >= NS_PER_S)
        return -EINVAL;
    int64_t seconds_left = (NEVER - host->now) / NS_PER_S;
    *deadline = time->tv_sec >= seconds_left ? NEVER : host->now + time->tv_sec * NS_PER_S + time->tv_nsec;
    return 0;
}

int64_t deadline_of_milliseconds(const struct host *host, int64_t milliseconds) {
    if (milliseconds < 0 || milliseconds > (NEVER - host->now) / NS_PER_MS)
        return NEVER;
    return host->now + milliseconds * NS_PER_MS;
}

int64_t call_mask_set(struct task *task, uint64_t user_mask, uint64_t size) {
    uint64_t mask;
    if (!user_mask)
        return 0;
    if (size != sizeof mask)
        return -EINVAL;
    if (copy_from_user(&mask, user_mask, sizeof mask))
        return -EFAULT;
    task->saved_mask = task->signal_mask;
    signal_set_mask(task, mask);
    return 0;
}

int64_t call_mask_restore(struct task *task, uint64_t user_mask, int64_t result) {
    if (!user_mask)
        return result;
    if (result == -ERESTARTNOHAND || result == -EINTR)
        task->restore_mask = true;
    else
        signal_set_mask(task, task->saved_mask);
    return result;
}

/* ---- The wait itself ---- */

static int64_t look(struct task *task, struct wanted *wanted, size_t count) {
    int64_t ready = 0;
    for (size_t i = 0; i < count; i++) {
        wanted[i].ready = 0;
        if (wanted[i].fd < 0)
            continue;
        struct file *file = fd_file(task, wanted[i].fd);
        if (!file || (file->flags & O_PATH))
            wanted[i].ready = POLLNVAL;
        else
            wanted[i].ready = file_poll(file) & wanted[i].events;
        ready += wanted[i].ready != 0;
    }
    return ready;
}

/* The number of descriptors that are ready, 0 at the deadline, or -ERESTARTNOHAND. Descriptors are looked up again
 * after each sleep: the queue of a file that was closed has let go of its waiters. */
static int64_t wait_for_any(struct task *task, struct wanted *wanted, size_t count, int64_t deadline) {
    for (;;) {
        int64_t ready = look(task, wanted, count);
        if (ready || deadline <= task->host->now)
            return ready;
        for (size_t i = 0; i < count; i++) {
            struct file *file = fd_file(task, wanted[i].fd);
            wanted[i].waits = file != NULL;
            if (file)
                wait_add(&file->wait, &wanted[i].wait, task, wanted[i].events | POLLERR | POLLHUP);
        }
        int result = task_block(task, deadline);
        for (size_t i = 0; i < count; i++)
            if (wanted[i].waits)
                wait_remove(&wanted[i].wait);
        if (result == -ERESTARTSYS) {
            ready = look(task, wanted, count);
            return ready ? ready : -ERESTARTNOHAND;
        }
    }
}

static uint64_t descriptor_limit(const struct task *task) {
    return KMIN(task->process->limits[LIMIT_NOFILE][0], UINT64_C(1) << 20);
}

/* ---- poll ---- */

static int64_t do_poll(struct task *task, uint64_t user, uint32_t count, int64_t deadline) {
    if (count > descriptor_limit(task))
        return -EINVAL;
    struct host *host = task->host;
    struct wanted *wanted = kalloc(host, (count + 1) * sizeof *wanted);
    if (!wanted)
        return -ENOMEM;
    task->scratch = wanted;
    int64_t result = 0;
    for (uint32_t i = 0; i < count && !result; i++) {
        struct pollfd asked;
        if (copy_from_user(&asked, user + i * sizeof asked, sizeof asked))
            result = -EFAULT;
        wanted[i].fd = asked.fd;
        wanted[i].events = (uint16_t)asked.events | POLLERR | POLLHUP;
    }
    if (!result) {
        result = wait_for_any(task, wanted, count, deadline);
        for (uint32_t i = 0; i < count && result >= 0; i++) {
            short events = (short)wanted[i].ready;
            if (copy_to_user(user + i * sizeof(struct pollfd) + offsetof(struct pollfd, revents), &events,
                             sizeof events))
                result = -EFAULT;
        }
    }
    task->scratch = NULL;
    kfree(host, wanted);
    return result;
}

int64_t sys_poll(struct task *task, const uint64_t *a) {
    int64_t deadline = restart_deadline(task, deadline_of_milliseconds(task->host, (int)a[2]));
    int64_t result = do_poll(task, a[0], (uint32_t)a[1], deadline);
    if (result != -ERESTARTNOHAND || deadline == NEVER)
        return result;
    /* Only poll goes on to its first deadline after a stop; its kin write back what is left, or start anew. */
    task->restart_deadline = deadline;
    return -ERESTART_RESTARTBLOCK;
}

/* The kernel tells how much of a time-out was left; libc hides it where the standard says so. */
static void give_time_left(const struct host *host, uint64_t user, int64_t deadline, bool microseconds) {
    int64_t left = deadline > host->now ? deadline - host->now : 0;
    struct __kernel_timespec time = {left / NS_PER_S, left % NS_PER_S / (microseconds ? NS_PER_US : 1)};
    if (deadline != NEVER && copy_to_user(user, &time, sizeof time))
        return; /* a constant in read-only memory: Linux does not mind either */
}

int64_t sys_ppoll(struct task *task, const uint64_t *a) {
    struct __kernel_timespec time;
    int64_t deadline = NEVER;
    if (a[2]) {
        if (copy_from_user(&time, a[2], sizeof time))
            return -EFAULT;
        if (deadline_of_timespec(task->host, &time, &deadline))
            return -EINVAL;
    }
    int64_t result = call_mask_set(task, a[3], a[4]);
    if (result)
        return result;
    result = do_poll(task, a[0], (uint32_t)a[1], deadline);
    if (a[2])
        give_time_left(task->host, a[2], deadline, false);
    return call_mask_restore(task, a[3], result);
}

/* ---- select ---- */

#define SELECT_SETS 3
static const uint32_t set_events[SELECT_SETS] = {READ_EVENTS, WRITE_EVENTS, EXCEPTION_EVENTS};

static bool bit_of(const uint64_t *set, uint32_t fd) { return set[fd / 64] >> (fd % 64) & 1; }

/* Leaves the bits of the three sets that hold; returns how many. */
static int64_t keep_ready(uint64_t *const *sets, uint32_t fds, const struct wanted *wanted, size_t count) {
    int64_t bits = 0;
    for (size_t set = 0; set < SELECT_SETS; set++) {
        if (fds % 64)
            sets[set][fds / 64] &= (UINT64_C(1) << (fds % 64)) - 1;
        for (size_t i = 0; i < count; i++) {
            uint32_t fd = (uint32_t)wanted[i].fd;
            if (!bit_of(sets[set], fd))
                continue;
            if (wanted[i].ready & set_events[set])
                bits++;
            else
                sets[set][fd / 64] &= ~(UINT64_C(1) << (fd % 64));
        }
    }
    return bits;
}

static int64_t select_on(struct task *task, uint64_t *const *sets, uint32_t fds, int64_t deadline) {
    struct host *host = task->host;
    size_t count = 0;
    struct wanted *wanted = kalloc(host, (fds + 1) * sizeof *wanted);
    if (!wanted)
        return -ENOMEM;
    task->scratch = wanted;
    int64_t result = 0;
    for (uint32_t fd = 0; fd < fds && !result; fd++) {
        uint32_t events = 0;
        for (size_t set = 0; set < SELECT_SETS; set++)
            events |= bit_of(sets[set], fd) ? set_events[set] : 0;
        if (!events)
            continue;
        if (!fd_file(task, (int)fd))
            result = -EBADF;
        wanted[count].fd = (int)fd;
        wanted[count++].events = events | POLLNVAL;
    }
    if (!result)
        result = wait_for_any(task, wanted, count, deadline);
    if (result >= 0)
        result = keep_ready(sets, fds, wanted, count);
    task->scratch = NULL;
    kfree(host, wanted);
    return result;
}

static int64_t do_select(struct task *task, int32_t given_fds, const uint64_t *users, int64_t deadline) {
    if (given_fds < 0)
        return -EINVAL;
    uint32_t fds = KMIN((uint32_t)given_fds, KMAX(task->process->files->capacity, 64u));
    size_t words = (fds + 63) / 64;
    uint64_t *block = kalloc(task->host, SELECT_SETS * words * 8 + 8);
    if (!block)
        return -ENOMEM;
    uint64_t *sets[SELECT_SETS];
    int64_t result = 0;
    for (size_t set = 0; set < SELECT_SETS; set++) {
        sets[set] = block + set * words;
        if (users[set] && words && copy_from_user(sets[set], users[set], words * 8))
            result = -EFAULT;
    }
    if (!result)
        result = select_on(task, sets, fds, deadline);
    for (size_t set = 0; set < SELECT_SETS && result >= 0; set++)
        if (users[set] && words && copy_to_user(users[set], sets[set], words * 8))
            result = -EFAULT;
    kfree(task->host, block);
    return result;
}

int64_t sys_select(struct task *task, const uint64_t *a) {
    struct __kernel_timespec time; /* a timeval */
    int64_t deadline = NEVER;
    if (a[4]) {
        if (copy_from_user(&time, a[4], sizeof time))
            return -EFAULT;
        if (time.tv_sec < 0 || time.tv_nsec < 0)
            return -EINVAL;
        time.tv_sec = KMIN(time.tv_sec, NEVER / NS_PER_S) + time.tv_nsec / 1000000;
        time.tv_nsec = time.tv_nsec % 1000000 * NS_PER_US;
        if (deadline_of_timespec(task->host, &time, &deadline))
            return -EINVAL;
    }
    int64_t result = do_select(task, (int32_t)a[0], a + 1, deadline);
    if (a[4])
        give_time_left(task->host, a[4], deadline, true);
    return result;
}

int64_t sys_pselect6(struct task *task, const uint64_t *a) {
    struct __kernel_timespec time;
    int64_t deadline = NEVER;
    uint64_t mask[2] = {0, 0}; /* address and size */
    if (a[4]) {
        if (copy_from_user(&time, a[4], sizeof time))
            return -EFAULT;
        if (deadline_of_timespec(task->host, &time, &deadline))
            return -EINVAL;
    }
    if (a[5] && copy_from_user(mask, a[5], sizeof mask))
        return -EFAULT;
    int64_t result = call_mask_set(task, mask[0], mask[1]);
    if (result)
        return result;
    result = do_select(task, (int32_t)a[0], a + 1, deadline);
    if (a[4])
        give_time_left(task->host, a[4], deadline, false);
    return call_mask_restore(task, mask[0], result);
}
