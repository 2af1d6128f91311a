/* Signals about files (fcntl(2), "Managing signals"): the owner of a description, SIGIO and SIGURG.
 *
 * file.c and socket.c call it for system calls, pipe.c, socket.c and the families where something happens to a file:
 * that may be in the shard. It calls signal.c to send.
 */
#include "async.h"
#include "credentials.h"
#include "process.h"
#include "signal.h"

#include <asm/ioctls.h>
#include <asm/poll.h>
#include <linux/fcntl.h>
#include <linux/sockios.h>

#define SIGNAL_OF_FILE (-5) /* si_code SI_SIGIO: of a signal whose own codes mean something else */

/* Users are those of who named the owner: the signals come from it. */
struct file_owner {
    int32_t type, id; /* F_OWNER_*; 0: nobody */
    uint32_t real_user, effective_user;
    int32_t signo; /* F_SETSIG; 0: SIGIO without further information */
    int32_t fd;    /* by which O_ASYNC was set */
};

static struct file_owner *owner_of(struct host *host, struct file *file) {
    if (!file->owner)
        file->owner = kalloc(host, sizeof *file->owner);
    return file->owner;
}

/* ---- Naming ---- */

/* Whether a thread, process, group or session has this number. */
static bool exists(struct host *host, int32_t id) {
    if (task_find(host, id))
        return true;
    list_for_each(node, &host->processes) {
        const struct process *process = list_entry(node, struct process, host_node);
        if (!process_reaped(process) && (process->pid == id || process->process_group == id || process->session == id))
            return true;
    }
    return false;
}

static int64_t set_owner(struct task *task, struct file *file, int32_t type, int32_t id) {
    if (id && !exists(task->host, id))
        return -ESRCH;
    struct file_owner *owner = owner_of(task->host, file);
    if (!owner)
        return -ENOMEM;
    owner->type = type;
    owner->id = id;
    owner->real_user = task->credentials->user.real;
    owner->effective_user = task->credentials->user.effective;
    return 0;
}

static int64_t set_owner_number(struct task *task, struct file *file, int32_t number) {
    if (number == INT32_MIN)
        return -EINVAL;
    return number < 0 ? set_owner(task, file, F_OWNER_PGRP, -number) : set_owner(task, file, F_OWNER_PID, number);
}

static struct f_owner_ex shown_owner(struct host *host, const struct file *file) {
    struct f_owner_ex shown = {.type = F_OWNER_TID};
    if (file->owner) {
        shown.type = file->owner->type;
        shown.pid = exists(host, file->owner->id) ? file->owner->id : 0;
    }
    return shown;
}

static int32_t owner_number(struct host *host, const struct file *file) {
    struct f_owner_ex owner = shown_owner(host, file);
    return owner.type == F_OWNER_PGRP ? -owner.pid : owner.pid;
}

static int64_t set_signal(struct host *host, struct file *file, uint64_t signo) {
    if (signo > SIGNAL_COUNT)
        return -EINVAL;
    struct file_owner *owner = owner_of(host, file);
    if (!owner)
        return -ENOMEM;
    owner->signo = (int32_t)signo;
    return 0;
}

int64_t async_fcntl(struct task *task, struct file *file, int command, uint64_t argument) {
    struct f_owner_ex owner;
    switch (command) {
    case F_SETOWN:
        return set_owner_number(task, file, (int32_t)argument);
    case F_GETOWN:
        return owner_number(task->host, file);
    case F_SETOWN_EX:
        if (copy_from_user(&owner, argument, sizeof owner))
            return -EFAULT;
        if (owner.type != F_OWNER_TID && owner.type != F_OWNER_PID && owner.type != F_OWNER_PGRP)
            return -EINVAL;
        return set_owner(task, file, owner.type, owner.pid);
    case F_GETOWN_EX: /* what libc asks for F_GETOWN */
        owner = shown_owner(task->host, file);
        return copy_to_user(argument, &owner, sizeof owner);
    case F_SETSIG:
        return set_signal(task->host, file, argument);
    case F_GETSIG:
        return file->owner ? file->owner->signo : 0;
    default:
        return -EINVAL;
    }
}

int64_t async_ioctl(struct task *task, struct file *file, uint32_t command, uint64_t argument) {
    int32_t number;
    switch (command) {
    case FIOSETOWN:
    case SIOCSPGRP:
        if (copy_from_user(&number, argument, sizeof number))
            return -EFAULT;
        return set_owner_number(task, file, number);
    case FIOGETOWN:
    case SIOCGPGRP:
        number = owner_number(task->host, file);
        return copy_to_user(argument, &number, sizeof number);
    default:
        return -ENOTTY;
    }
}

int async_set(struct task *task, struct file *file, int fd, bool on) {
    if (on && !(file->flags & FASYNC)) {
        struct file_owner *owner = owner_of(task->host, file);
        if (!owner)
            return -ENOMEM;
        owner->fd = fd;
    }
    file->flags = on ? file->flags | FASYNC : file->flags & ~(uint32_t)FASYNC;
    return 0;
}

/* ---- Telling ---- */

static bool permitted(const struct file_owner *owner, const struct credentials *target) {
    const struct identity *user = &target->user;
    return owner->effective_user == 0 || owner->effective_user == user->saved || owner->effective_user == user->real ||
           owner->real_user == user->saved || owner->real_user == user->real;
}

/* To whom the owner's number refers now. */
static void send(struct host *host, const struct file_owner *owner, int signo, const struct signal_info *info) {
    if (owner->type == F_OWNER_TID) {
        struct task *task = task_find(host, owner->id);
        if (task && permitted(owner, task->credentials) && signal_send_task(task, signo, info))
            (void)signal_send_task(task, KSIGIO, NULL);
        return;
    }
    list_for_each(node, &host->processes) {
        struct process *process = list_entry(node, struct process, host_node);
        int32_t number = owner->type == F_OWNER_PGRP ? process->process_group : process->pid;
        if (number != owner->id || process->zombie || !permitted(owner, credentials_of(process)))
            continue;
        /* Where no more can be queued, SIGIO tells that something was lost. */
        if (signal_send_process(process, signo, info))
            (void)signal_send_process(process, KSIGIO, NULL);
    }
}

static bool has_codes_of_its_own(int signo) {
    return signo == KSIGILL || signo == KSIGFPE || signo == KSIGSEGV || signo == KSIGBUS || signo == KSIGTRAP ||
           signo == KSIGCHLD || signo == KSIGSYS;
}

void async_signal(struct host *host, const struct file *file, enum async_reason reason) {
    static const int64_t bands[] = {[ASYNC_IN] = POLLIN | POLLRDNORM,
                                    [ASYNC_OUT] = POLLOUT | POLLWRNORM | POLLWRBAND,
                                    [ASYNC_MESSAGE] = POLLIN | POLLRDNORM | POLLMSG,
                                    [ASYNC_ERROR] = POLLERR,
                                    [ASYNC_URGENT] = POLLPRI | POLLRDBAND,
                                    [ASYNC_HANG_UP] = POLLHUP | POLLERR};
    const struct file_owner *owner = file->owner;
    if (!owner || !owner->id)
        return;
    struct signal_info info = {.signo = KSIGIO, .code = SIGNAL_OF_KERNEL};
    if (owner->signo) {
        info.signo = owner->signo;
        info.code = has_codes_of_its_own(owner->signo) ? SIGNAL_OF_FILE : (int32_t)reason;
        info.u.file.band = bands[reason];
        info.u.file.fd = owner->fd;
    }
    send(host, owner, info.signo, &info);
}

void async_tell_urgent(struct host *host, const struct file *file) {
    const struct file_owner *owner = file->owner;
    if (!owner || !owner->id)
        return;
    struct signal_info info = {.signo = KSIGURG, .code = SIGNAL_OF_KERNEL};
    send(host, owner, KSIGURG, &info);
    /* Those who asked for a signal of their own get that, too. */
    if (owner->signo)
        async_tell(host, file, ASYNC_URGENT);
}
