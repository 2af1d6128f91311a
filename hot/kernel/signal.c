/* Signals: sending, masks, dispositions, and signalfd.
 *
 * Nothing native is involved: signals are queued here and taken when a task returns to user mode (signal_next), where
 * the shim builds the handler's frame, and where the tasks of a stopped process sleep until it continues.
 */
#include "signal.h"
#include "async.h"
#include "credentials.h"
#include "internal.h"
#include "process.h"
#include "syscalls.h"
#include <asm/poll.h>
#include <linux/resource.h>

struct queued_signal {
    struct list node;
    struct signal_info info;
};

static bool ignored_by_default(int signo) {
    return signo == KSIGCHLD || signo == KSIGURG || signo == KSIGWINCH || signo == KSIGCONT;
}

static uint64_t const STOPS = 1u << (KSIGSTOP - 1) | 1u << (KSIGTSTP - 1) | 1u << (KSIGTTIN - 1) | 1u << (KSIGTTOU - 1);

/* ---- Queues ---- */

void signal_queue_init(struct signal_queue *queue) {
    queue->set = 0;
    list_init(&queue->entries);
}

void signal_queue_clear(struct host *host, struct signal_queue *queue) {
    list_for_each_safe(node, &queue->entries) {
        list_remove(node);
        kfree(host, list_entry(node, struct queued_signal, node));
    }
    queue->set = 0;
}

static uint64_t queue_length(const struct signal_queue *queue) {
    uint64_t length = 0;
    list_for_each(node, &queue->entries) length++;
    return length;
}

/* Signals that wait for processes of the same user: what RLIMIT_SIGPENDING counts. Timers have one each of their own.
 */
static uint64_t user_pending(const struct process *process) {
    uint32_t user = credentials_of(process)->user.real;
    uint64_t count = 0;
    list_for_each(node, &process->host->processes) {
        const struct process *other = list_entry(node, struct process, host_node);
        if (credentials_of(other)->user.real != user)
            continue;
        count += queue_length(&other->signals);
        list_for_each(timer, &other->posix_timers) count++;
        list_for_each(task, &other->tasks) count += queue_length(&list_entry(task, struct task, process_node)->signals);
    }
    return count;
}

bool signal_limit_reached(const struct process *process) {
    uint64_t limit = process->limits[RLIMIT_SIGPENDING][0];
    return limit != UINT64_MAX && user_pending(process) >= limit;
}

/* Beyond the limit a signal is only marked, without what comes with it, or is refused where that would be noticed
 * (__send_signal_locked of Linux). Standard signals of the kernel and of kill, and those of timers, have no limit. */
static int queue_over_limit(struct signal_queue *queue, int signo, const struct signal_info *info) {
    if (signo >= KSIGRTMIN && info && info->code != 0 /* SI_USER */)
        return -EAGAIN;
    queue->set |= signal_bit(signo);
    return 0;
}

static int queue_add(const struct process *target, struct signal_queue *queue, int signo,
                     const struct signal_info *info) {
    struct host *host = target->host;
    if (signo < KSIGRTMIN && (queue->set & signal_bit(signo)) && !(info && info->code == SIGNAL_OF_TIMER))
        return 0; /* standard signals are not queued twice, but for those of timers, which have entries of their own */
    bool limited = signo < KSIGRTMIN ? info && info->code < 0 : true;
    if (limited && !(info && info->code == SIGNAL_OF_TIMER) && signal_limit_reached(target))
        return queue_over_limit(queue, signo, info);
    struct queued_signal *queued = kalloc(host, sizeof *queued);
    if (!queued)
        return -EAGAIN;
    if (info)
        queued->info = *info;
    queued->info.signo = signo;
    list_push_back(&queue->entries, &queued->node);
    queue->set |= signal_bit(signo);
    return 0;
}

/* Takes the lowest signal of `set`, as Linux does: synchronous faults come through signal_force, before all of these.
 */
static int queue_take(struct host *host, struct signal_queue *queue, uint64_t set, struct signal_info *info) {
    set &= queue->set;
    if (!set)
        return 0;
    int signo = __builtin_ctzll(set) + 1;
    bool more = false;
    struct queued_signal *found = NULL;
    list_for_each(node, &queue->entries) {
        struct queued_signal *queued = list_entry(node, struct queued_signal, node);
        if (queued->info.signo != signo)
            continue;
        if (found) {
            more = true;
            break;
        }
        found = queued;
    }
    if (!more)
        queue->set &= ~signal_bit(signo);
    if (!found) { /* it was only marked */
        memset(info, 0, sizeof *info);
        info->signo = signo;
        return signo;
    }
    *info = found->info;
    list_remove(&found->node);
    kfree(host, found);
    return signo;
}

static void queue_drop(struct host *host, struct signal_queue *queue, int signo) {
    struct signal_info info;
    while (queue_take(host, queue, signal_bit(signo), &info))
        continue;
}

/* ---- signalfd ---- */

struct signalfd {
    struct list node; /* in host->signalfds */
    struct host *host;
    struct file *file;
    uint64_t mask;
};

static void signalfds_wake(struct host *host) {
    list_for_each(node, &host->signalfds) wake_up(host, &list_entry(node, struct signalfd, node)->file->wait, POLLIN);
}

static int take_for(struct task *task, uint64_t set, struct signal_info *info) {
    int signo = queue_take(task->host, &task->signals, set, info);
    if (!signo)
        signo = queue_take(task->host, &task->process->signals, set, info);
    if (signo && info->code == SIGNAL_OF_TIMER)
        posix_timer_taken(task->process, info);
    if (signo == KSIGALRM)
        itimer_taken(task->process);
    return signo;
}

/* struct signalfd_siginfo, include/uapi/linux/signalfd.h */
struct signalfd_record {
    uint32_t signo;
    int32_t error, code;
    uint32_t pid, uid;
    int32_t fd;
    uint32_t tid, band, overrun, trap;
    int32_t status, value_int;
    uint64_t value_pointer, utime, stime, address;
    uint8_t padding[48];
};
_Static_assert(sizeof(struct signalfd_record) == 128, "as Linux lays it out");

static int64_t signalfd_read(struct task *task, struct file *file, struct uio *to, const int64_t *position) {
    (void)position;
    const struct signalfd *signalfd = file->object;
    int64_t total = 0;
    if (to->remaining < sizeof(struct signalfd_record))
        return -EINVAL;
    while (to->remaining >= sizeof(struct signalfd_record)) {
        struct signal_info info;
        int signo = take_for(task, signalfd->mask, &info);
        if (!signo)
            break;
        struct signalfd_record record = {.signo = (uint32_t)signo,
                                         .code = info.code,
                                         .pid = (uint32_t)info.u.queue.pid,
                                         .uid = (uint32_t)info.u.queue.uid};
        if (info.code == SIGNAL_OF_TIMER) {
            record.pid = record.uid = 0;
            record.tid = (uint32_t)info.u.timer.timer_id;
            record.overrun = (uint32_t)info.u.timer.overrun;
        }
        if (signo == KSIGCHLD)
            record.status = info.u.child.status;
        else if (info.code >= ASYNC_IN && info.code <= ASYNC_HANG_UP && signo != KSIGSYS)
            record.pid = record.uid = 0, record.band = (uint32_t)info.u.file.band, record.fd = info.u.file.fd;
        else
            record.value_pointer = info.u.queue.value, record.value_int = (int32_t)info.u.queue.value;
        int result = uio_copy_out(to, &record, sizeof record);
        if (result)
            return total ? total : result;
        total += (int64_t)sizeof record;
    }
    return total ? total : -EAGAIN;
}

/* What who asks could read: its own signals and those of its process, whoever made the descriptor. */
static uint32_t signalfd_poll(struct file *file) {
    const struct signalfd *signalfd = file->object;
    const struct task *task = signalfd->host->current;
    if (!task)
        return 0;
    return (task->signals.set | task->process->signals.set) & signalfd->mask ? POLLIN : 0;
}

static void signalfd_release(struct host *host, struct file *file) {
    struct signalfd *signalfd = file->object;
    list_remove(&signalfd->node);
    kfree(host, signalfd);
}

const struct file_operations signalfd_operations = {
    .name = "anon_inode:[signalfd]",
    .read = signalfd_read,
    .poll = signalfd_poll,
    .release = signalfd_release,
};

#define SFD_CLOEXEC 02000000
#define SFD_NONBLOCK 04000

int64_t sys_signalfd4(struct task *task, const uint64_t *a) {
    struct host *host = task->host;
    uint64_t mask;
    int fd = (int)a[0], flags = (int)a[3];
    if (a[2] != sizeof mask || (flags & ~(SFD_CLOEXEC | SFD_NONBLOCK)))
        return -EINVAL;
    if (copy_from_user(&mask, a[1], sizeof mask))
        return -EFAULT;
    mask &= ~UNBLOCKABLE;
    if (fd != -1) {
        struct file *file = fd_file(task, fd);
        if (!file)
            return -EBADF;
        if (file->kind != FILE_SIGNALFD)
            return -EINVAL;
        ((struct signalfd *)file->object)->mask = mask;
        signalfds_wake(host);
        return fd;
    }
    struct signalfd *signalfd = kalloc(host, sizeof *signalfd);
    struct file *file =
        signalfd ? file_create(host, FILE_SIGNALFD, 2 | (uint32_t)(flags & SFD_NONBLOCK), signalfd) : NULL;
    if (!file) {
        kfree(host, signalfd);
        return -ENOMEM;
    }
    signalfd->host = host;
    signalfd->file = file;
    signalfd->mask = mask;
    list_push_back(&host->signalfds, &signalfd->node);
    return fd_install(task, file, 0, flags & SFD_CLOEXEC, -1);
}

int64_t sys_signalfd(struct task *task, const uint64_t *a) {
    return sys_signalfd4(task, (const uint64_t[6]){a[0], a[1], a[2], 0});
}

/* ---- Sending ---- */

static bool is_ignored(const struct process *process, int signo) {
    const struct signal_action *action = &process->actions[signo - 1];
    if (signo == KSIGKILL)
        return false;
    if (action->handler == KSIG_IGN)
        return true;
    return action->handler == KSIG_DFL && ignored_by_default(signo);
}

/* Signals of `set` that wait for the process or for one of its tasks are forgotten. */
static void discard(struct process *process, uint64_t set) {
    struct host *host = process->host;
    for (int signo = 1; signo <= SIGNAL_COUNT; signo++) {
        if (!(set & signal_bit(signo)))
            continue;
        queue_drop(host, &process->signals, signo);
        list_for_each(node, &process->tasks)
            queue_drop(host, &list_entry(node, struct task, process_node)->signals, signo);
    }
    posix_timers_discarded(process, set);
}

static void wake_tasks(struct process *process) {
    list_for_each(node, &process->tasks) task_wake(list_entry(node, struct task, process_node));
}

/* What sending does at once, whatever becomes of the signal (prepare_signal of Linux). Returns whether it is to be
 * queued: an ignored signal is, while it is blocked. */
static bool prepare(struct process *process, int signo, uint64_t mask) {
    if (process->zombie || process->dying)
        return false;
    if (signal_bit(signo) & STOPS) {
        discard(process, signal_bit(KSIGCONT));
    } else if (signo == KSIGCONT || signo == KSIGKILL) {
        if (signo == KSIGCONT)
            discard(process, STOPS);
        if (process->stopped) {
            process->stopped = false;
            process->stop_report = 0;
            process->continue_report = process->continue_unreported = signo == KSIGCONT;
            wake_tasks(process);
            if (process->continue_report && process->parent)
                wake_up(process->host, &process->parent->child_wait, 0);
        }
    }
    return !is_ignored(process, signo) || (mask & signal_bit(signo));
}

/* The signals that end a task's sleep. */
static uint64_t wakes_for(const struct task *task) { return ~task->signal_mask | UNBLOCKABLE | task->awaited_signals; }

int signal_send_task(struct task *task, int signo, const struct signal_info *info) {
    if (!prepare(task->process, signo, task->signal_mask))
        return 0;
    int result = queue_add(task->process, &task->signals, signo, info);
    if (result)
        return result;
    if (task_signal_pending(task))
        task_wake(task);
    signalfds_wake(task->host);
    return 0;
}

int signal_send_process(struct process *process, int signo, const struct signal_info *info) {
    struct task *leader = process_task(process);
    if (!leader)
        return 0;
    /* Blocked only if every thread blocks it. */
    uint64_t mask = ~UINT64_C(0);
    list_for_each(node, &process->tasks) mask &= list_entry(node, struct task, process_node)->signal_mask;
    if (!prepare(process, signo, mask))
        return 0;
    int result = queue_add(process, &process->signals, signo, info);
    if (result)
        return result;
    /* The first thread that wants it takes it; a fatal one reaches the others through process_exit_group. */
    list_for_each(node, &process->tasks) {
        struct task *task = list_entry(node, struct task, process_node);
        if (signo == KSIGKILL || (wakes_for(task) & signal_bit(signo))) {
            task_wake(task);
            break;
        }
    }
    signalfds_wake(process->host);
    return 0;
}

bool task_signal_pending(const struct task *task) {
    uint64_t pending = task->signals.set | task->process->signals.set;
    if (task->signal_mask == UNINTERRUPTIBLE)
        return task->dying || (pending & signal_bit(KSIGKILL));
    return task->dying || task->process->stopped || (pending & wakes_for(task));
}

void signal_force(struct task *task, int signo, const struct signal_info *info) {
    struct signal_action *action = &task->process->actions[signo - 1];
    if ((task->signal_mask & signal_bit(signo)) || action->handler == KSIG_IGN) {
        action->handler = KSIG_DFL;
        task->signal_mask &= ~signal_bit(signo);
    }
    (void)queue_add(task->process, &task->signals, signo, info);
}

/* ---- Delivery ---- */

static uint64_t const SYNCHRONOUS = 1u << (KSIGSEGV - 1) | 1u << (KSIGBUS - 1) | 1u << (KSIGILL - 1) |
                                    1u << (KSIGTRAP - 1) | 1u << (KSIGFPE - 1) | 1u << (KSIGSYS - 1);

/* Tells the parent of a stop or of a continuation. */
static void tell_parent(struct process *process, int code, int status) {
    struct process *parent = process->parent;
    if (!parent)
        return;
    const struct signal_action *action = &parent->actions[KSIGCHLD - 1];
    if (action->handler != KSIG_IGN && !(action->flags & KSA_NOCLDSTOP)) {
        struct signal_info info = {.signo = KSIGCHLD, .code = code};
        info.u.child.pid = process->pid;
        info.u.child.uid = (int32_t)credentials_of(process)->user.real;
        info.u.child.status = status;
        (void)signal_send_process(parent, KSIGCHLD, &info);
    }
    wake_up(process->host, &parent->child_wait, 0);
}

/* Nobody of the same session outside of the group could continue its members: stops of a terminal are not for them. */
bool signal_group_orphaned(const struct process *process) {
    list_for_each(node, &process->host->processes) {
        const struct process *member = list_entry(node, struct process, host_node);
        const struct process *parent = member->parent;
        if (member->process_group == process->process_group && !member->zombie && parent &&
            parent->process_group != member->process_group && parent->session == member->session)
            return false;
    }
    return true;
}

void signal_send_group(struct host *host, int32_t group, int signo) {
    struct signal_info info = {.signo = signo, .code = SIGNAL_OF_KERNEL};
    list_for_each(node, &host->processes) {
        struct process *member = list_entry(node, struct process, host_node);
        if (member->process_group == group)
            (void)signal_send_process(member, signo, &info);
    }
}

void signal_orphaned(struct process *process) {
    if (!signal_group_orphaned(process))
        return;
    signal_send_group(process->host, process->process_group, KSIGHUP);
    signal_send_group(process->host, process->process_group, KSIGCONT);
}

static void stop(struct process *process, int signo) {
    process->stopped = true;
    process->stop_report = signo;
    process->continue_report = process->continue_unreported = false;
    wake_tasks(process); /* their calls unwind, and they sleep in signal_next */
    tell_parent(process, CHILD_STOPPED, signo);
}

bool signal_next(struct task *task, struct signal_delivery *delivery) {
    struct process *process = task->process;
    for (;;) {
        if (task->dying)
            task_exit(task, 0);
        if (process->stopped) {
            task_pause(task);
            continue;
        }
        if (process->continue_unreported) {
            process->continue_unreported = false;
            tell_parent(process, CHILD_CONTINUED, KSIGCONT);
        }
        uint64_t deliverable = ~(task->signal_mask & ~UNBLOCKABLE);
        struct signal_info info;
        int signo = queue_take(task->host, &task->signals, deliverable & SYNCHRONOUS, &info);
        if (!signo)
            signo = take_for(task, deliverable, &info);
        if (!signo) {
            if (task->restore_mask) {
                task->signal_mask = task->saved_mask;
                task->restore_mask = false;
                if (task_signal_pending(task))
                    continue;
            }
            return false;
        }
        struct signal_action *action = &process->actions[signo - 1];
        if (is_ignored(process, signo))
            continue;
        if (action->handler == KSIG_DFL && (signal_bit(signo) & STOPS)) {
            if (signo == KSIGSTOP || !signal_group_orphaned(process))
                stop(process, signo);
            continue;
        }
        if (action->handler == KSIG_DFL || signo == KSIGKILL) {
            bool core = signo == KSIGQUIT || signo == KSIGABRT || signo == KSIGXCPU || signo == KSIGXFSZ ||
                        (signal_bit(signo) & SYNCHRONOUS);
            process_exit_group(process, WAIT_STATUS_SIGNAL(signo) | (core && process->limits[4][0] ? 0x80 : 0));
            task_exit(task, 0);
        }
        delivery->signo = signo;
        delivery->info = info;
        delivery->action = *action;
        delivery->saved_mask = task->restore_mask ? task->saved_mask : task->signal_mask;
        task->restore_mask = false;
        task->signal_mask |= action->mask & ~UNBLOCKABLE;
        if (!(action->flags & KSA_NODEFER))
            task->signal_mask |= signal_bit(signo);
        if (action->flags & KSA_RESETHAND)
            action->handler = KSIG_DFL;
        return true;
    }
}

void signal_set_mask(struct task *task, uint64_t mask) {
    task->signal_mask = mask & ~UNBLOCKABLE;
    /* What this thread no longer takes, another may. */
    uint64_t shared = task->process->signals.set & task->signal_mask;
    if (!shared)
        return;
    list_for_each(node, &task->process->tasks) {
        struct task *other = list_entry(node, struct task, process_node);
        if (other != task && (shared & wakes_for(other)))
            task_wake(other);
    }
}

void signal_clear_handlers(struct process *process) {
    for (int i = 0; i < SIGNAL_COUNT; i++) {
        struct signal_action *action = &process->actions[i];
        uint64_t handler = action->handler == KSIG_IGN ? KSIG_IGN : KSIG_DFL;
        memset(action, 0, sizeof *action);
        action->handler = handler;
    }
}

void signal_exec(struct process *process) {
    signal_clear_handlers(process);
    posix_timers_free(process); /* interval timers and alarm go on */
}

/* ---- System calls on dispositions and masks ---- */

#define SIGSET_SIZE 8

int64_t sys_rt_sigaction(struct task *task, const uint64_t *a) {
    int signo = (int)a[0];
    if (a[3] != SIGSET_SIZE || signo < 1 || signo > SIGNAL_COUNT)
        return -EINVAL;
    struct signal_action *action = &task->process->actions[signo - 1], old = *action, changed;
    if (a[1]) {
        if (signo == KSIGKILL || signo == KSIGSTOP)
            return -EINVAL;
        if (copy_from_user(&changed, a[1], sizeof changed))
            return -EFAULT;
        *action = changed;
        action->mask &= ~UNBLOCKABLE;
        if (is_ignored(task->process, signo))
            discard(task->process, signal_bit(signo));
    }
    return a[2] ? copy_to_user(a[2], &old, sizeof old) : 0;
}

int64_t sys_rt_sigprocmask(struct task *task, const uint64_t *a) {
    uint64_t old = task->signal_mask, given;
    if (a[3] != SIGSET_SIZE)
        return -EINVAL;
    if (a[1]) {
        if (copy_from_user(&given, a[1], sizeof given))
            return -EFAULT;
        switch ((int)a[0]) {
        case 0: /* SIG_BLOCK */
            signal_set_mask(task, old | given);
            break;
        case 1: /* SIG_UNBLOCK */
            signal_set_mask(task, old & ~given);
            break;
        case 2: /* SIG_SETMASK */
            signal_set_mask(task, given);
            break;
        default:
            return -EINVAL;
        }
    }
    return a[2] ? copy_to_user(a[2], &old, sizeof old) : 0;
}

int64_t sys_rt_sigpending(struct task *task, const uint64_t *a) {
    uint64_t pending = (task->signals.set | task->process->signals.set) & task->signal_mask;
    if (a[1] > sizeof pending)
        return -EINVAL;
    return copy_to_user(a[0], &pending, a[1]);
}

int64_t sys_rt_sigsuspend(struct task *task, const uint64_t *a) {
    uint64_t mask;
    if (a[1] != SIGSET_SIZE)
        return -EINVAL;
    if (copy_from_user(&mask, a[0], sizeof mask))
        return -EFAULT;
    task->saved_mask = task->signal_mask;
    task->restore_mask = true;
    signal_set_mask(task, mask);
    while (task_block(task, NEVER) == 0)
        continue;
    return -ERESTARTNOHAND;
}

int64_t sys_pause(struct task *task, const uint64_t *a) {
    (void)a;
    while (task_block(task, NEVER) == 0)
        continue;
    return -ERESTARTNOHAND;
}

int64_t sys_rt_sigtimedwait(struct task *task, const uint64_t *a) {
    uint64_t set;
    int64_t deadline = NEVER, time[2];
    if (a[3] != SIGSET_SIZE)
        return -EINVAL;
    if (copy_from_user(&set, a[0], sizeof set))
        return -EFAULT;
    set &= ~UNBLOCKABLE;
    if (a[2]) {
        if (copy_from_user(time, a[2], sizeof time))
            return -EFAULT;
        if (time[0] < 0 || time[1] < 0 || time[1] >= NS_PER_S)
            return -EINVAL;
        deadline = task->host->now + KMIN(time[0], NEVER / NS_PER_S / 2) * NS_PER_S + time[1];
    }
    for (;;) {
        struct signal_info info;
        int signo = take_for(task, set, &info);
        if (signo)
            return a[1] && copy_to_user(a[1], &info, sizeof info) ? -EFAULT : signo;
        task->awaited_signals = set;
        int result = task_block(task, deadline);
        task->awaited_signals = 0;
        if (result == -ETIMEDOUT)
            return -EAGAIN;
        if (result == -ERESTARTSYS && !((task->signals.set | task->process->signals.set) & set))
            return -EINTR;
    }
}

bool signal_on_altstack(const struct task *task, uint64_t stack) {
    return task->altstack_size && stack - task->altstack_base - 1 < task->altstack_size;
}

int64_t sys_sigaltstack(struct task *task, const uint64_t *a) {
    struct {
        uint64_t base;
        int32_t flags, padding;
        uint64_t size;
    } stack, old = {task->altstack_base, task->altstack_flags, 0, task->altstack_size};
    bool on_it = !(task->altstack_flags & KSS_AUTODISARM) && signal_on_altstack(task, task->user_stack);
    if (on_it)
        old.flags |= KSS_ONSTACK;
    if (a[0]) {
        if (copy_from_user(&stack, a[0], sizeof stack))
            return -EFAULT;
        int mode = stack.flags & ~KSS_AUTODISARM;
        if (on_it)
            return -EPERM;
        if (mode != 0 && mode != KSS_ONSTACK && mode != KSS_DISABLE)
            return -EINVAL;
        if (mode != KSS_DISABLE && stack.size < 2048)
            return -ENOMEM;
        task->altstack_base = mode == KSS_DISABLE ? 0 : stack.base;
        task->altstack_size = mode == KSS_DISABLE ? 0 : stack.size;
        task->altstack_flags = (stack.flags & KSS_AUTODISARM) | (mode == KSS_DISABLE ? KSS_DISABLE : 0);
    }
    return a[1] ? copy_to_user(a[1], &old, sizeof old) : 0;
}

/* ---- kill and its kin ---- */

static struct signal_info info_from(struct task *task, int signo, int code) {
    struct signal_info info = {.signo = signo, .code = code, .u.queue.pid = task->process->pid};
    info.u.queue.uid = (int32_t)task->credentials->user.real;
    return info;
}

static bool bad_signal(uint64_t signo) { return (int)signo < 0 || (int)signo > SIGNAL_COUNT; }

int64_t sys_kill(struct task *task, const uint64_t *a) {
    int pid = (int)a[0], signo = (int)a[1];
    if (pid == INT32_MIN) /* the number of no group */
        return -ESRCH;
    struct signal_info info = info_from(task, signo, 0 /* SI_USER */);
    int64_t result = -ESRCH;
    list_for_each_safe(node, &task->host->processes) {
        struct process *process = list_entry(node, struct process, host_node);
        bool match = pid > 0     ? process->pid == pid
                     : pid == -1 ? process != task->process
                                 : process->process_group == (pid ? -pid : task->process->process_group);
        if (!match || process_reaped(process))
            continue;
        if (bad_signal(a[1])) /* who is not there comes first */
            return -EINVAL;
        if (!credentials_may_signal(task, process, signo)) {
            result = result == 0 ? 0 : -EPERM;
            continue;
        }
        result = 0; /* of a group, one that may have it is enough */
        if (signo)
            (void)signal_send_process(process, signo, &info);
    }
    return result;
}

static int64_t send_thread(struct task *task, int group, int tid, int signo, const struct signal_info *info) {
    struct task *target = task_find(task->host, tid);
    if (!target || (group > 0 && target->process->pid != group))
        return -ESRCH;
    if (bad_signal((uint64_t)signo))
        return -EINVAL;
    if (!credentials_may_signal(task, target->process, signo))
        return -EPERM;
    return signo ? signal_send_task(target, signo, info) : 0;
}

int64_t sys_tkill(struct task *task, const uint64_t *a) {
    struct signal_info info = info_from(task, (int)a[1], -6 /* SI_TKILL */);
    if ((int)a[0] <= 0)
        return -EINVAL;
    return send_thread(task, 0, (int)a[0], (int)a[1], &info);
}

int64_t sys_tgkill(struct task *task, const uint64_t *a) {
    struct signal_info info = info_from(task, (int)a[2], -6 /* SI_TKILL */);
    if ((int)a[0] <= 0 || (int)a[1] <= 0)
        return -EINVAL;
    return send_thread(task, (int)a[0], (int)a[1], (int)a[2], &info);
}

int64_t sys_rt_sigqueueinfo(struct task *task, const uint64_t *a) {
    struct signal_info info;
    struct process *process = process_find(task->host, (int)a[0]);
    if (copy_from_user(&info, a[2], sizeof info))
        return -EFAULT;
    if ((int)a[0] != task->tid && signal_is_forged(&info))
        return -EPERM;
    if (!process)
        return -ESRCH;
    if (bad_signal(a[1]))
        return -EINVAL;
    if (!credentials_may_signal(task, process, (int)a[1]))
        return -EPERM;
    return (int)a[1] ? signal_send_process(process, (int)a[1], &info) : 0;
}

int64_t sys_rt_tgsigqueueinfo(struct task *task, const uint64_t *a) {
    struct signal_info info;
    if (copy_from_user(&info, a[3], sizeof info))
        return -EFAULT;
    if ((int)a[0] <= 0 || (int)a[1] <= 0)
        return -EINVAL;
    if ((int)a[1] != task->tid && signal_is_forged(&info))
        return -EPERM;
    return send_thread(task, (int)a[0], (int)a[1], (int)a[2], &info);
}

void signal_process_release(struct process *process) {
    timer_cancel(process->host, &process->itimer);
    posix_timers_free(process);
    signal_queue_clear(process->host, &process->signals);
}
