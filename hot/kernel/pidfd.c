/* pidfd: a descriptor for a process. Readable when the process has ended; process.c tells when.
 *
 * The dispatcher calls the system calls, file.c the operations.
 */
#include "pidfd.h"
#include "credentials.h"
#include "internal.h"
#include "process.h"
#include "signal.h"
#include "syscalls.h"
#include <asm/poll.h>

struct pidfd {
    struct list node;        /* in process->pidfds */
    struct process *process; /* NULL: reaped */
    struct file *file;
};

int pidfd_open(struct task *task, struct process *process) {
    struct host *host = task->host;
    struct pidfd *pidfd = kalloc(host, sizeof *pidfd);
    struct file *file = pidfd ? file_create(host, FILE_PIDFD, 2 /* O_RDWR */, pidfd) : NULL;
    if (!file) {
        kfree(host, pidfd);
        return -ENOMEM;
    }
    pidfd->process = process;
    pidfd->file = file;
    list_push_back(&process->pidfds, &pidfd->node);
    return fd_install(task, file, 0, true, -1);
}

bool pidfd_is(struct task *task, int fd) {
    const struct file *file = fd_file(task, fd);
    return file && file->kind == FILE_PIDFD;
}

struct process *pidfd_process(struct task *task, int fd) {
    return pidfd_is(task, fd) ? ((struct pidfd *)fd_file(task, fd)->object)->process : NULL;
}

void pidfd_wake(struct process *process) {
    list_for_each(node, &process->pidfds) {
        struct pidfd *pidfd = list_entry(node, struct pidfd, node);
        wake_up(process->host, &pidfd->file->wait, POLLIN);
    }
}

void pidfd_forget(struct process *process) {
    list_for_each_safe(node, &process->pidfds) {
        struct pidfd *pidfd = list_entry(node, struct pidfd, node);
        list_remove(&pidfd->node);
        pidfd->process = NULL;
    }
}

static uint32_t pidfd_poll(struct file *file) {
    const struct pidfd *pidfd = file->object;
    return !pidfd->process || pidfd->process->zombie ? POLLIN | POLLRDNORM : 0;
}

static void pidfd_release(struct host *host, struct file *file) {
    struct pidfd *pidfd = file->object;
    list_remove(&pidfd->node);
    kfree(host, pidfd);
}

const struct file_operations pidfd_operations = {
    .name = "anon_inode:[pidfd]",
    .poll = pidfd_poll,
    .release = pidfd_release,
};

int64_t sys_pidfd_open(struct task *task, const uint64_t *a) {
    if ((int)a[0] <= 0 || (a[1] & ~UINT64_C(04000) /* O_NONBLOCK */))
        return -EINVAL;
    struct process *process = process_find(task->host, (int)a[0]);
    if (!process || process_reaped(process))
        return -ESRCH;
    int fd = pidfd_open(task, process);
    if (fd >= 0)
        fd_file(task, fd)->flags |= (uint32_t)a[1];
    return fd;
}

int64_t sys_pidfd_send_signal(struct task *task, const uint64_t *a) {
    struct process *process = pidfd_process(task, (int)a[0]);
    if (!process)
        return pidfd_is(task, (int)a[0]) ? -ESRCH : -EBADF;
    if ((int)a[1] < 0 || (int)a[1] > SIGNAL_COUNT)
        return -EINVAL;
    struct signal_info info = {.signo = (int)a[1], .u.queue.pid = task->process->pid};
    info.u.queue.uid = (int32_t)task->credentials->user.real;
    if (a[2] && copy_from_user(&info, a[2], sizeof info))
        return -EFAULT;
    if (!credentials_may_signal(task, process, (int)a[1]))
        return -EPERM;
    return a[1] ? signal_send_process(process, (int)a[1], &info) : 0;
}
