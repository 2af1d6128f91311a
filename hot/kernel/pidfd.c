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
    if ((int)a[0] <= 0 || ((uint32_t)a[1] & ~04000u /* O_NONBLOCK */))
        return -EINVAL;
    struct process *process = process_find(task->host, (int)a[0]);
    if (!process || process_reaped(process)) /* a thread that stands for no process is there, but of no use */
        return task_find(task->host, (int)a[0]) ? -EINVAL : -ESRCH;
    int fd = pidfd_open(task, process);
    if (fd >= 0)
        fd_file(task, fd)->flags |= (uint32_t)a[1];
    return fd;
}

int64_t sys_pidfd_send_signal(struct task *task, const uint64_t *a) {
    struct process *process = pidfd_process(task, (int)a[0]);
    int signo = (int)a[1];
    if ((uint32_t)a[3])
        return -EINVAL;
    if (!pidfd_is(task, (int)a[0]))
        return -EBADF;
    struct signal_info info = {.signo = signo, .u.queue.pid = task->process->pid};
    info.u.queue.uid = (int32_t)task->credentials->user.real;
    if (a[2]) {
        if (copy_from_user(&info, a[2], sizeof info))
            return -EFAULT;
        if (info.signo != signo)
            return -EINVAL;
        if (process != task->process && signal_is_forged(&info))
            return -EPERM;
    }
    if (!process)
        return -ESRCH;
    if (signo < 0 || signo > SIGNAL_COUNT)
        return -EINVAL;
    if (!credentials_may_signal(task, process, signo))
        return -EPERM;
    return signo ? signal_send_process(process, signo, &info) : 0;
}
