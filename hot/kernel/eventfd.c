/* eventfd: a 64-bit counter that can be waited for. file.c calls the operations. */
#include "internal.h"
#include "syscalls.h"

#include <linux/fcntl.h>
#include <linux/poll.h>

#define EFD_SEMAPHORE 1u
#define COUNT_MAX (UINT64_MAX - 1)

struct eventfd {
    uint64_t count;
    bool semaphore;
};

static int64_t eventfd_read(struct task *task, struct file *file, struct uio *to, const int64_t *position) {
    (void)position;
    struct eventfd *event = file->object;
    if (to->remaining < sizeof event->count)
        return -EINVAL;
    if (!event->count)
        return -EAGAIN;
    uint64_t value = event->semaphore ? 1 : event->count;
    event->count -= value;
    wake_up(task->host, &file->wait, POLLOUT);
    /* As in Linux, what could not be copied out is gone. */
    return uio_copy_out(to, &value, sizeof value) ? -EFAULT : (int64_t)sizeof value;
}

static int64_t eventfd_write(struct task *task, struct file *file, struct uio *from, const int64_t *position) {
    (void)position;
    struct eventfd *event = file->object;
    uint64_t value;
    if (from->remaining < sizeof value)
        return -EINVAL;
    struct uio look = *from; /* the attempt may have to be made again */
    if (uio_copy_in(&look, &value, sizeof value))
        return -EFAULT;
    if (value == UINT64_MAX)
        return -EINVAL;
    if (value > COUNT_MAX - event->count)
        return -EAGAIN;
    *from = look;
    event->count += value;
    wake_up(task->host, &file->wait, POLLIN);
    return sizeof value;
}

static uint32_t eventfd_poll(struct file *file) {
    const struct eventfd *event = file->object;
    return (event->count ? POLLIN : 0) | (event->count < COUNT_MAX ? POLLOUT : 0);
}

static void eventfd_release(struct host *host, struct file *file) { kfree(host, file->object); }

const struct file_operations eventfd_operations = {
    .name = "anon_inode:[eventfd]",
    .read = eventfd_read,
    .write = eventfd_write,
    .poll = eventfd_poll,
    .release = eventfd_release,
};

int64_t sys_eventfd2(struct task *task, const uint64_t *a) {
    uint32_t flags = (uint32_t)a[1];
    if (flags & ~(EFD_SEMAPHORE | O_CLOEXEC | O_NONBLOCK))
        return -EINVAL;
    struct eventfd *event = kalloc(task->host, sizeof *event);
    struct file *file = event ? file_create(task->host, FILE_EVENTFD, O_RDWR | (flags & O_NONBLOCK), event) : NULL;
    if (!file) {
        kfree(task->host, event);
        return -ENOMEM;
    }
    event->count = (uint32_t)a[0];
    event->semaphore = flags & EFD_SEMAPHORE;
    return fd_install(task, file, 0, flags & O_CLOEXEC, -1);
}

int64_t sys_eventfd(struct task *task, const uint64_t *a) { return sys_eventfd2(task, (const uint64_t[]){a[0], 0}); }
