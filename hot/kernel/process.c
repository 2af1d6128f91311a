/* Processes and threads: fork, clone, exit, wait, process groups, and what execve does to kernel state.
 *
 * The dispatcher and the shim call these. Nobody is torn down from outside: a task that must end is marked and woken,
 * its call unwinds, and it ends itself on the way back to user mode. Only process_abandon, for processes that the real
 * world has ended, cleans up after them.
 */
#include "process.h"
#include "credentials.h"
#include "fdtable.h"
#include "fs.h"
#include "fs_internal.h"
#include "futex.h"
#include "inotify.h"
#include "internal.h"
#include "ipc.h"
#include "mm.h"
#include "pidfd.h"
#include "scheduling.h"
#include "signal.h"
#include "syscalls.h"
#include "tty.h"
#include <linux/elf.h>
#include <linux/fcntl.h>
#include <linux/sched.h>
#include <linux/wait.h>

/* ---- Birth ---- */

/* Takes a reference of its own to the credentials. */
static struct task *task_create(struct process *process, struct credentials *credentials) {
    struct host *host = process->host;
    struct task *task = kalloc(host, sizeof *task);
    if (!task)
        return NULL;
    list_init(&task->run_node);
    list_init(&task->waits);
    list_init(&task->futex_node);
    list_init(&task->wait.node);
    list_init(&task->wait.owner_node);
    timer_init(&task->timer, TIMER_TASK, 0, task);
    signal_queue_init(&task->signals);
    task->host = host;
    task->process = process;
    task->credentials = credentials_get(credentials);
    task->tid = host->next_pid++;
    task->state = TASK_RUNNABLE;
    task->altstack_flags = KSS_DISABLE;
    task->timer_slack = 50000;
    list_push_back(&process->tasks, &task->process_node);
    return task;
}

static void task_free(struct task *task) {
    struct host *host = task->host;
    struct process *process = task->process;
    list_remove(&task->process_node);
    process->ended_cpu_ns += task->cpu_total_ns;
    signal_queue_clear(host, &task->signals);
    file_drop_held(task);
    kfree(host, task->exec);
    kfree(host, task->scratch);
    if (list_empty(&process->tasks) && !process->credentials)
        process->credentials = task->credentials;
    else
        credentials_put(host, task->credentials);
    kfree(host, task);
}

static struct process *process_allocate(struct host *host, struct process *parent) {
    struct process *process = kalloc(host, sizeof *process);
    if (!process)
        return NULL;
    process->host = host;
    process->parent = parent;
    list_init(&process->host_node);
    list_init(&process->tasks);
    list_init(&process->children);
    list_init(&process->sibling_node);
    list_init(&process->posix_timers);
    list_init(&process->shared_maps);
    list_init(&process->undos);
    list_init(&process->pidfds);
    wait_queue_init(&process->child_wait);
    wait_queue_init(&process->exit_wait);
    signal_queue_init(&process->signals);
    timer_init(&process->itimer, TIMER_ITIMER, 0, process);
    process->exit_signal = KSIGCHLD;
    process->strace_fd = -1;
    process->config_index = UINT32_MAX;
    process->umask = 022;
    process->dumpable = true;
    process->start_time = host->now;
    return process;
}

static void process_free(struct process *process) {
    struct host *host = process->host;
    list_remove(&process->host_node);
    list_remove(&process->sibling_node);
    pidfd_forget(process);
    credentials_put(host, process->credentials);
    kfree(host, process->actions);
    kfree(host, process->executable);
    kfree(host, process->command_line);
    kfree(host, process->environment);
    kfree(host, process->root);
    kfree(host, process);
}

static void enter_host(struct process *process, struct task *task) {
    process->pid = task->tid;
    list_push_back(&process->host->processes, &process->host_node);
    if (process->parent)
        list_push_back(&process->parent->children, &process->sibling_node);
}

struct task *process_create(struct host *host, struct process *parent, uint32_t user, uint32_t group) {
    struct process *process = process_allocate(host, parent);
    if (!process)
        return NULL;
    process->files = fd_table_create(host);
    process->actions = kalloc(host, SIGNAL_COUNT * sizeof *process->actions);
    struct credentials *credentials = credentials_create(host, user, group);
    struct task *task = process->files && process->actions && credentials ? task_create(process, credentials) : NULL;
    credentials_put(host, credentials);
    if (!task) {
        if (process->files)
            fd_table_put(host, process->files, false);
        process_free(process);
        return NULL;
    }
    process->mm = host->next_mm++;
    enter_host(process, task);
    process->process_group = process->session = process->pid;
    for (size_t i = 0; i < ARRAY_LENGTH(process->limits); i++)
        process->limits[i][0] = process->limits[i][1] = UINT64_MAX;
    process->limits[3][0] = 8 << 20;                       /* RLIMIT_STACK */
    process->limits[4][0] = 0;                             /* RLIMIT_CORE */
    process->limits[6][0] = process->limits[6][1] = 32768; /* RLIMIT_NPROC */
    process->limits[7][0] = 1024;                          /* RLIMIT_NOFILE */
    process->limits[7][1] = 1 << 20;
    process->limits[8][0] = process->limits[8][1] = 8 << 20; /* RLIMIT_MEMLOCK */
    process->limits[13][0] = process->limits[13][1] = 0;     /* RLIMIT_NICE */
    process->limits[14][0] = process->limits[14][1] = 0;     /* RLIMIT_RTPRIO */
    return task;
}

static char *duplicate(struct host *host, const char *bytes, size_t length) {
    if (!bytes)
        return NULL;
    char *copy = kalloc(host, length + 1);
    if (copy)
        memcpy(copy, bytes, length);
    return copy;
}

/* The new process of fork and vfork: everything that Linux copies. */
static struct task *process_fork(struct task *task, const struct clone_request *request) {
    struct process *old = task->process;
    struct host *host = old->host;
    struct process *parent = request->flags & CLONE_PARENT ? old->parent : old;
    struct process *process = process_allocate(host, parent);
    if (!process)
        return NULL;
    process->files = request->flags & CLONE_FILES ? fd_table_share(old->files) : fd_table_copy(host, old->files);
    process->actions = kalloc(host, SIGNAL_COUNT * sizeof *process->actions);
    process->executable = duplicate(host, old->executable, old->executable ? strlen(old->executable) : 0);
    process->command_line = duplicate(host, old->command_line, old->command_line_length);
    process->command_line_length = old->command_line_length;
    process->environment = duplicate(host, old->environment, old->environment_length);
    process->environment_length = process->environment ? old->environment_length : 0;
    process->root = duplicate(host, old->root, old->root ? strlen(old->root) : 0);
    bool complete = process->files && process->actions && !process->root == !old->root;
    struct task *child = complete ? task_create(process, task->credentials) : NULL;
    if (!child || mm_copy(process, old) != 0) {
        if (child)
            task_free(child);
        if (process->files)
            fd_table_put(host, process->files, false);
        process_free(process);
        return NULL;
    }
    memcpy(process->actions, old->actions, SIGNAL_COUNT * sizeof *process->actions);
    if (request->flags & CLONE_CLEAR_SIGHAND)
        signal_clear_handlers(process);
    process->mm = request->flags & CLONE_VM ? old->mm : host->next_mm++;
    if ((process->program_users = old->program_users))
        ++*process->program_users;
    if ((process->program = old->program))
        inode_hold(process->program, INODE_RUN);
    process->umask = old->umask;
    process->personality = old->personality;
    process->brk_start = old->brk_start;
    process->brk = old->brk;
    process->brk_limit = old->brk_limit;
    memcpy(process->limits, old->limits, sizeof process->limits);
    process->dumpable = old->dumpable;
    process->no_new_privileges = old->no_new_privileges;
    process->strace_fd = old->strace_fd;
    process->exit_signal = request->flags & CLONE_PARENT ? old->exit_signal : request->exit_signal;
    enter_host(process, child);
    process->process_group = old->process_group;
    process->session = old->session;
    process->terminal = old->terminal;
    if (!(request->flags & CLONE_VM) || (request->flags & CLONE_VFORK)) { /* else it would be the parent's, in use */
        child->altstack_base = task->altstack_base;
        child->altstack_size = task->altstack_size;
        child->altstack_flags = task->altstack_flags;
    }
    return child;
}

static void end_vfork(struct task *task) {
    struct task *parent = task->vfork_parent;
    task->vfork_parent = NULL;
    if (parent)
        task_wake(parent);
}

static void discard_child(struct task *child, bool new_process) {
    struct process *process = child->process;
    task_free(child);
    if (!new_process)
        return;
    fd_table_put(process->host, process->files, false);
    mm_release(process);
    if (process->program_users)
        --*process->program_users; /* its parent runs it still */
    if (process->program)
        inode_drop(process->host, process->program, INODE_RUN);
    process_free(process);
}

/* RLIMIT_NPROC: how many threads a user may have. Root may have more. */
static bool too_many(const struct task *task) {
    uint64_t limit = task->process->limits[6 /* RLIMIT_NPROC */][0], count = 0;
    uint32_t user = task->credentials->user.real;
    if (!user || credentials_capable(task, CAP_SYS_RESOURCE) || credentials_capable(task, CAP_SYS_ADMIN))
        return false;
    list_for_each(process_node, &task->host->processes) {
        const struct process *process = list_entry(process_node, struct process, host_node);
        list_for_each(node, &process->tasks) {
            count += list_entry(node, struct task, process_node)->credentials->user.real == user;
        }
    }
    return count >= limit;
}

/* The task that `parent` waits for in vfork, in the process of this number; NULL: it waits no more. */
static struct task *vfork_child(const struct task *parent, int32_t pid) {
    struct process *process = process_find(parent->host, pid);
    struct task *child = process ? process_task(process) : NULL;
    return child && child->vfork_parent == parent ? child : NULL;
}

static int64_t do_clone(struct task *task, const struct clone_request *request) {
    struct host *host = task->host;
    uint64_t flags = request->flags;
    bool thread = flags & CLONE_THREAD;
    if ((thread && !(flags & CLONE_SIGHAND)) || ((flags & CLONE_SIGHAND) && !(flags & CLONE_VM)) ||
        ((flags & CLONE_SIGHAND) && (flags & CLONE_CLEAR_SIGHAND)))
        return -EINVAL;
    if ((flags & CLONE_PIDFD) && ((flags & CLONE_DETACHED) || thread))
        return -EINVAL;
    if (thread && !(flags & CLONE_FILES)) {
        platform_warn(host, task, "clone: a thread with its own descriptor table is not supported");
        return -EINVAL;
    }
    if (flags &
        (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET))
        return -EPERM;
    if ((flags & CLONE_VM) && !thread && !(flags & CLONE_VFORK) && request->stack == 0)
        return -EINVAL;
    if (too_many(task))
        return -EAGAIN;
    struct task *child = thread ? task_create(task->process, task->credentials) : process_fork(task, request);
    if (!child)
        return -EAGAIN;
    memcpy(child->comm, task->comm, sizeof child->comm);
    child->signal_mask = task->signal_mask;
    scheduling_inherit(child, task);
    child->timer_slack = task->timer_slack;
    if (flags & CLONE_CHILD_CLEARTID)
        child->clear_child_tid = request->child_tid;
    int32_t tid = child->tid;
    int result = 0, pidfd = -1;
    if (flags & CLONE_PARENT_SETTID) { /* as Linux: a bad address is the program's loss */
        int ignored = copy_to_user(request->parent_tid, &tid, sizeof tid);
        (void)ignored;
    }
    if (result == 0 && (flags & CLONE_PIDFD)) {
        pidfd = pidfd_open(task, child->process);
        result = pidfd < 0 ? pidfd : copy_to_user(request->pidfd, &pidfd, sizeof pidfd);
    }
    int64_t native = result == 0 ? platform_clone(task, child, request) : result;
    if (native < 0) {
        if (pidfd >= 0)
            (void)fd_close(task, pidfd);
        discard_child(child, !thread);
        return native;
    }
    child->native_tid = (uint32_t)native;
    if (!thread)
        child->process->native_pid = (uint32_t)native;
    if (thread)
        host->counters.threads++;
    else
        host->counters.forks++;
    list_push_back(&host->run_queue, &child->run_node);
    if (flags & CLONE_VFORK) {
        child->vfork_parent = task;
        /* Only the child's exec or end goes on here; a fatal signal of ours waits for it, as in Linux. */
        int32_t pid = child->process->pid;
        for (struct task *waited; (waited = vfork_child(task, pid)) != NULL;) {
            task->woken = false;
            uint64_t mask = task->signal_mask;
            task->signal_mask = UNINTERRUPTIBLE;
            int ignored = task_block(task, NEVER);
            task->signal_mask = mask;
            if (ignored == -ERESTARTSYS) { /* killed: the child must not wake a task that is gone */
                if ((waited = vfork_child(task, pid)) != NULL)
                    waited->vfork_parent = NULL;
                break;
            }
        }
    }
    return tid;
}

int64_t sys_clone(struct task *task, const uint64_t *a) {
    struct clone_request request = {
        .flags = a[0] & 0xffffff00u,
        .exit_signal = (int)(a[0] & 0xff),
        .stack = a[1],
        .parent_tid = a[2],
        .child_tid = a[3],
        .tls = a[4],
        .pidfd = a[2], /* shares the argument with parent_tid */
    };
    if ((request.flags & CLONE_PIDFD) && (request.flags & CLONE_PARENT_SETTID))
        return -EINVAL;
    return do_clone(task, &request);
}

int64_t sys_clone3(struct task *task, const uint64_t *a) {
    struct clone_args args = {0};
    if (a[1] < CLONE_ARGS_SIZE_VER0)
        return -EINVAL;
    if (a[1] > 4096)
        return -E2BIG;
    int result = copy_from_user(&args, a[0], KMIN(a[1], sizeof args));
    if (result)
        return result;
    if ((args.flags & ~(uint64_t)(UINT32_MAX | CLONE_CLEAR_SIGHAND | CLONE_INTO_CGROUP)) ||
        (args.flags & (CLONE_DETACHED | 0x7f)) || args.exit_signal > SIGNAL_COUNT ||
        ((args.flags & (CLONE_THREAD | CLONE_PARENT)) && args.exit_signal) || !args.stack != !args.stack_size)
        return -EINVAL;
    if (args.set_tid_size || (args.flags & (CLONE_INTO_CGROUP | CLONE_NEWTIME)))
        return -EPERM;
    struct clone_request request = {
        .flags = args.flags,
        .exit_signal = (int)args.exit_signal,
        .stack = args.stack ? args.stack + args.stack_size : 0,
        .stack_size = args.stack_size,
        .parent_tid = args.parent_tid,
        .child_tid = args.child_tid,
        .tls = args.tls,
        .pidfd = args.pidfd,
    };
    return do_clone(task, &request);
}

int64_t sys_fork(struct task *task, const uint64_t *a) {
    (void)a;
    struct clone_request request = {.exit_signal = KSIGCHLD};
    return do_clone(task, &request);
}

int64_t sys_vfork(struct task *task, const uint64_t *a) {
    (void)a;
    struct clone_request request = {.flags = CLONE_VM | CLONE_VFORK, .exit_signal = KSIGCHLD};
    return do_clone(task, &request);
}

/* ---- Death ---- */

struct process *process_find(struct host *host, int32_t pid) {
    list_for_each(node, &host->processes) {
        struct process *process = list_entry(node, struct process, host_node);
        if (process->pid == pid)
            return process;
    }
    return NULL;
}

struct task *task_find(struct host *host, int32_t tid) {
    list_for_each(process_node, &host->processes) {
        struct process *process = list_entry(process_node, struct process, host_node);
        list_for_each(node, &process->tasks) {
            struct task *task = list_entry(node, struct task, process_node);
            if (task->tid == tid)
                return task;
        }
    }
    return NULL;
}

/* What a dead task leaves behind in kernel structures. No user memory is touched. */
static void task_detach(struct task *task) {
    timer_cancel(task->host, &task->timer);
    list_remove(&task->run_node);
    futex_forget(task);
    list_for_each_safe(node, &task->waits) wait_remove(list_entry(node, struct wait_entry, owner_node));
    file_drop_held(task);
    end_vfork(task);
    /* A parent that dies in vfork is not woken by its child any more. */
    list_for_each(process_node, &task->host->processes) {
        struct process *process = list_entry(process_node, struct process, host_node);
        list_for_each(node, &process->tasks) {
            struct task *other = list_entry(node, struct task, process_node);
            if (other->vfork_parent == task)
                other->vfork_parent = NULL;
        }
    }
    task->state = TASK_DEAD;
}

static void reap(struct process *process) { process_free(process); }

/* The si_code that tells how a process ended. */
static int end_code(int32_t status) {
    return status & 0x80 ? CHILD_DUMPED : status & 0x7f ? CHILD_KILLED : CHILD_EXITED;
}

/* A zombie's parent gets its signal; one that does not care for its children has it reaped at once. */
static void tell_parent(struct process *process) {
    struct process *parent = process->parent;
    struct signal_action *action = &parent->actions[KSIGCHLD - 1];
    bool unwanted = action->handler == KSIG_IGN || (action->flags & KSA_NOCLDWAIT);
    if (process->exit_signal && process->exit_signal <= SIGNAL_COUNT) { /* clone takes any byte */
        struct signal_info info = {.signo = process->exit_signal};
        bool killed = process->exit_status & 0x7f;
        info.code = end_code(process->exit_status);
        info.u.child.pid = process->pid;
        info.u.child.uid = (int32_t)credentials_of(process)->user.real;
        info.u.child.status = killed ? process->exit_status & 0x7f : process->exit_status >> 8 & 0xff;
        (void)signal_send_process(parent, process->exit_signal, &info);
    }
    if (unwanted && process->exit_signal == KSIGCHLD)
        reap(process);
    wake_up(parent->host, &parent->child_wait, 0);
}

/* The parent of `child` is gone. Without a subreaper it is init's, which reaps at once what is or becomes a zombie. */
static void adopt(struct process *child, struct process *reaper) {
    list_remove(&child->sibling_node);
    child->parent = reaper;
    child->exit_signal = KSIGCHLD;
    if (reaper)
        list_push_back(&reaper->children, &child->sibling_node);
    if (child->parent_death_signal && !child->zombie) {
        struct signal_info info = {.signo = child->parent_death_signal};
        (void)signal_send_process(child, child->parent_death_signal, &info);
    }
    if (child->zombie && reaper)
        tell_parent(child);
    else if (child->zombie)
        reap(child);
    else if (child->stopped)
        signal_orphaned(child);
}

static void program_event(struct host *host, const char *path, uint32_t mask) {
    int64_t fd = platform_syscall(2 /* open */, (uint64_t)path, 012000000 /* O_PATH | O_CLOEXEC */, 0, 0, 0, 0);
    if (fd < 0)
        return;
    inotify_descriptor(host, (int)fd, mask);
    (void)platform_syscall(3 /* close */, (uint64_t)fd, 0, 0, 0, 0, 0);
}

/* The process does not run its program any more. Who watches the file learns when nobody does. */
static void leave_program(struct process *process) {
    struct host *host = process->host;
    uint32_t *users = process->program_users;
    process->program_users = NULL;
    if (process->program)
        inode_drop(host, process->program, INODE_RUN);
    process->program = NULL;
    if (!users || --*users)
        return;
    kfree(host, users);
    if (process->executable && inotify_active(host))
        program_event(host, process->executable, IN_CLOSE_NOWRITE);
}

/* The last task is gone: descriptors close, children are orphaned, the parent learns of it. */
static void process_finish(struct process *process, bool in_process) {
    struct host *host = process->host;
    process->zombie = true;
    fd_table_put(host, process->files, in_process);
    process->files = NULL;
    terminal_session_ends(process);
    leave_program(process);
    mm_release(process);
    semaphores_undo(process);
    signal_process_release(process);
    struct process *reaper = process->parent;
    while (reaper && (!reaper->subreaper || reaper->zombie))
        reaper = reaper->parent;
    list_for_each_safe(node, &process->children) adopt(list_entry(node, struct process, sibling_node), reaper);
    pidfd_wake(process);
    if (process->config_index != UINT32_MAX)
        return; /* the shard reads the status and reaps */
    if (process->parent)
        tell_parent(process);
    else
        reap(process);
}

void process_exit_group(struct process *process, int status) {
    if (process->dying || process->zombie)
        return;
    process->dying = true;
    process->exit_status = status;
    list_for_each(node, &process->tasks) {
        struct task *task = list_entry(node, struct task, process_node);
        task->dying = true;
        task_wake(task);
    }
}

void task_exit(struct task *task, int code) {
    struct host *host = task->host;
    struct process *process = task->process;
    futex_exit(task); /* robust list and clear_child_tid, in user memory */
    task_detach(task);
    bool last = process->tasks.next->next == &process->tasks;
    if (last && !process->dying)
        process->exit_status = WAIT_STATUS_EXIT(code);
    task_free(task);
    if (last)
        process_finish(process, true);
    else if (process->tasks.next->next == &process->tasks)
        wake_up(host, &process->exit_wait, 0); /* an execve may wait to be alone */
    net_run_backlog(host);
    struct task *next = task_next(host);
    host->current = next;
    platform_exit(host, next, last);
}

void process_abandon(struct process *process, int status) {
    struct host *host = process->host;
    if (process->zombie)
        return;
    process->dying = true;
    process->exit_status = status;
    list_for_each_safe(node, &process->tasks) {
        struct task *task = list_entry(node, struct task, process_node);
        task_detach(task);
        task_free(task);
    }
    process_finish(process, false); /* which may free it */
    net_run_backlog(host);
}

int64_t sys_exit(struct task *task, const uint64_t *a) { task_exit(task, (int)a[0]); }

int64_t sys_exit_group(struct task *task, const uint64_t *a) {
    process_exit_group(task->process, WAIT_STATUS_EXIT((int)a[0]));
    task_exit(task, (int)a[0]);
}

/* ---- Waiting ---- */

static bool wait_matches(const struct process *self, const struct process *child, int64_t which) {
    if (which > 0)
        return child->pid == which;
    if (which == 0)
        return child->process_group == self->process_group;
    return which == -1 || child->process_group == -which;
}

/* What a wait finds: `code` and `status` as waitid gives them. */
struct wait_event {
    struct process *child;
    int32_t code, status;
};

static bool wait_event_of(struct process *child, int options, struct wait_event *event) {
    event->child = child;
    if (child->zombie) {
        event->code = end_code(child->exit_status);
        event->status = event->code == CHILD_EXITED ? child->exit_status >> 8 & 0xff : child->exit_status & 0x7f;
        return options & WEXITED;
    }
    if (child->stopped && child->stop_report && (options & WSTOPPED)) {
        event->code = CHILD_STOPPED;
        event->status = child->stop_report;
        return true;
    }
    if (child->continue_report && (options & WCONTINUED)) {
        event->code = CHILD_CONTINUED;
        event->status = KSIGCONT;
        return true;
    }
    return false;
}

/* One round: the first child that matches and has something to tell; *any: whether there is one to wait for. */
static bool find_event(struct process *self, int64_t which, int options, struct wait_event *event, bool *any) {
    *any = false;
    list_for_each(node, &self->children) {
        struct process *child = list_entry(node, struct process, sibling_node);
        bool clone = child->exit_signal != KSIGCHLD;
        if (!wait_matches(self, child, which) || (!(options & __WALL) && clone != ((options & (int)__WCLONE) != 0)))
            continue;
        if (wait_event_of(child, options, event))
            return true;
        *any = *any || !child->zombie;
    }
    return false;
}

/* Waits for what `options` asks for; 0, with no child under WNOHANG, or -ECHILD, -ERESTARTSYS. */
static int wait_for(struct task *task, int64_t which, int options, struct wait_event *event) {
    struct process *self = task->process;
    for (;;) {
        bool any;
        if (find_event(self, which, options, event, &any))
            return 0;
        event->child = NULL;
        if (!any || (options & WNOHANG))
            return any ? 0 : -ECHILD;
        wait_add(&self->child_wait, &task->wait, task, 0);
        int result = task_block(task, NEVER);
        wait_remove(&task->wait);
        if (result)
            return result;
    }
}

/* The CPU time of a child and of those that it has waited for. */
static int64_t whole_cpu_time(const struct process *child) { return process_cpu_time(child) + child->children_cpu_ns; }

static void consume(struct process *self, const struct wait_event *event) {
    if (event->child->zombie) {
        self->children_cpu_ns += whole_cpu_time(event->child);
        reap(event->child);
    } else if (event->code == CHILD_STOPPED) {
        event->child->stop_report = 0;
    } else {
        event->child->continue_report = false;
    }
}

/* struct rusage of a child: of what is in it only CPU time exists here. */
static int usage_to_user(uint64_t user, int64_t cpu) {
    int64_t usage[18] = {cpu / NS_PER_S, cpu % NS_PER_S / NS_PER_US};
    return user ? copy_to_user(user, usage, sizeof usage) : 0;
}

int64_t sys_wait4(struct task *task, const uint64_t *a) {
    int options = (int)a[2];
    if (options & ~(WNOHANG | WUNTRACED | WCONTINUED | __WNOTHREAD | (int)__WCLONE | __WALL))
        return -EINVAL;
    if ((int)a[0] == INT32_MIN)
        return -ESRCH;
    struct wait_event event;
    int result = wait_for(task, (int)a[0], options | WEXITED, &event);
    if (result || !event.child)
        return result;
    int32_t pid = event.child->pid;
    int32_t status = event.code == CHILD_STOPPED     ? event.status << 8 | 0x7f
                     : event.code == CHILD_CONTINUED ? 0xffff
                                                     : event.child->exit_status;
    int64_t cpu = whole_cpu_time(event.child);
    consume(task->process, &event);
    if (a[1] && (result = copy_to_user(a[1], &status, sizeof status)))
        return result;
    result = usage_to_user(a[3], cpu);
    return result ? result : pid;
}

int64_t sys_waitid(struct task *task, const uint64_t *a) {
    int type = (int)a[0], options = (int)a[3];
    int64_t which = (int)a[1];
    bool nonblocking = false;
    if (!(options & (WEXITED | WSTOPPED | WCONTINUED)) ||
        (options & ~(WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | __WNOTHREAD | (int)__WCLONE | __WALL)))
        return -EINVAL;
    switch (type) {
    case P_ALL:
        which = -1;
        break;
    case P_PID:
        if (which <= 0)
            return -EINVAL;
        break;
    case P_PGID:
        if (which < 0)
            return -EINVAL;
        which = -(which ? which : task->process->process_group);
        break;
    case P_PIDFD: {
        if (!pidfd_is(task, (int)which))
            return -EBADF;
        struct process *target = pidfd_process(task, (int)which);
        if (!target)
            return -ECHILD;
        which = target->pid;
        nonblocking = fd_file(task, (int)a[1])->flags & 04000; /* O_NONBLOCK */
        break;
    }
    default:
        return -EINVAL;
    }
    struct wait_event event;
    int result = wait_for(task, which, options | (nonblocking ? WNOHANG : 0), &event);
    if (result)
        return result;
    if (!event.child && nonblocking && !(options & WNOHANG))
        return -EAGAIN;
    struct signal_info info = {0};
    if (event.child) {
        result = usage_to_user(a[4], whole_cpu_time(event.child));
        info.signo = KSIGCHLD;
        info.code = event.code;
        info.u.child.pid = event.child->pid;
        info.u.child.uid = (int32_t)credentials_of(event.child)->user.real;
        info.u.child.status = event.status;
        if (!(options & WNOWAIT))
            consume(task->process, &event);
    }
    if (result)
        return result;
    return a[2] ? copy_to_user(a[2], &info, sizeof info) : 0;
}

/* ---- Program start ---- */

struct exec_request *exec_request_create(struct host *host, const char *path, const char *const *arguments,
                                         uint32_t argument_count, const char *const *environment,
                                         uint32_t environment_count) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < argument_count; i++)
        bytes += strlen(arguments[i]) + 1;
    for (uint32_t i = 0; i < environment_count; i++)
        bytes += strlen(environment[i]) + 1;
    struct exec_request *request = kalloc(host, sizeof *request + bytes);
    if (!request || strlen(path) >= sizeof request->path) {
        kfree(host, request);
        return NULL;
    }
    memcpy(request->path, path, strlen(path) + 1);
    memcpy(request->named, path, strlen(path) + 1);
    request->argument_count = argument_count;
    request->environment_count = environment_count;
    request->bytes = (uint32_t)bytes;
    char *at = request->strings;
    for (uint32_t i = 0; i < argument_count + environment_count; i++) {
        const char *text = i < argument_count ? arguments[i] : environment[i - argument_count];
        size_t length = strlen(text) + 1;
        memcpy(at, text, length);
        at += length;
    }
    return request;
}

static size_t strings_length(const struct exec_request *request, uint32_t count) {
    const char *at = request->strings;
    for (uint32_t i = 0; i < count; i++)
        at += strlen(at) + 1;
    return (size_t)(at - request->strings);
}

void process_set_program(struct task *task, const struct exec_request *request) {
    struct process *process = task->process;
    struct host *host = task->host;
    leave_program(process);
    process->program_users = kalloc(host, sizeof *process->program_users);
    if (process->program_users)
        *process->program_users = 1;
    kfree(host, process->executable);
    kfree(host, process->command_line);
    process->executable = duplicate(host, request->path, strlen(request->path));
    size_t length = strings_length(request, request->argument_count);
    process->command_line = duplicate(host, request->strings, length);
    process->command_line_length = process->command_line ? (uint32_t)length : 0;
    kfree(host, process->environment);
    process->environment = duplicate(host, request->strings + length, request->bytes - length);
    process->environment_length = process->environment ? (uint32_t)(request->bytes - length) : 0;
    const char *name = request->by_descriptor ? request->path : request->named;
    for (const char *at = name; *at; at++)
        name = *at == '/' ? at + 1 : name;
    memset(task->comm, 0, sizeof task->comm);
    memcpy(task->comm, name, KMIN(strlen(name), sizeof task->comm - 1));
}

void process_enter_program(struct task *task, const struct exec_request *request) {
    struct process *process = task->process;
    struct stat status;
    bool own = path_below(request->path, task->host->directory) != NULL;
    if (native_stat(AT_FDCWD, request->path, 0, &status) == 0)
        process->program = inode_find(task->host, &status, own);
    if (process->program)
        inode_hold(process->program, INODE_RUN);
}

#define EXEC_STRING_MAX (size_t)(128u << 10) /* MAX_ARG_STRLEN: one argument, with its NUL */

/* Copies a NULL-terminated vector of strings after what `request` holds already. */
static int append_vector(struct exec_request *request, size_t capacity, uint64_t vector, uint32_t *count) {
    *count = 0;
    for (; vector; vector += 8) {
        uint64_t text;
        int result = copy_from_user(&text, vector, sizeof text);
        if (result)
            return result;
        if (!text)
            return 0;
        int64_t length =
            string_from_user(request->strings + request->bytes, text, KMIN(capacity - request->bytes, EXEC_STRING_MAX));
        if (length < 0)
            return length == -ENAMETOOLONG ? -E2BIG : (int)length;
        request->bytes += (uint32_t)length + 1;
        ++*count;
    }
    return 0;
}

/* Bytes that arguments, environment and the pointers to them may take: a quarter of the stack's limit, within bounds
 * (bprm_stack_limits of Linux). */
static size_t exec_limit(const struct process *process) {
    return KMAX(KMIN(process->limits[3 /* RLIMIT_STACK */][0] / 4, UINT64_C(6) << 20), EXEC_STRING_MAX);
}

static size_t exec_bytes(const struct exec_request *request) {
    return request->bytes + strlen(request->named) + 1 +
           (request->argument_count + (size_t)request->environment_count) * sizeof(uint64_t);
}

static char *append_string(char *at, const char *text, size_t length) {
    memcpy(at, text, length);
    at[length] = '\0';
    return at + length + 1;
}

/* Puts the interpreter and its argument before the arguments, and the script's path in place of argv[0]. */
static int insert_interpreter(struct host *host, struct exec_request **slot, size_t capacity, const char *line,
                              const char *script) {
    struct exec_request *old = *slot;
    const char *start = line + 2;
    while (*start == ' ' || *start == '\t')
        start++;
    const char *end = start;
    while (*end && *end != ' ' && *end != '\t')
        end++;
    const char *argument = end;
    while (*argument == ' ' || *argument == '\t')
        argument++;
    size_t argument_length = strlen(argument);
    while (argument_length && (argument[argument_length - 1] == ' ' || argument[argument_length - 1] == '\t'))
        argument_length--;
    size_t name_length = (size_t)(end - start), script_length = strlen(script);
    if (!name_length)
        return -ENOEXEC;
    size_t skip = old->argument_count ? strlen(old->strings) + 1 : 0;
    size_t added = name_length + 1 + (argument_length ? argument_length + 1 : 0) + script_length + 1;
    if (old->bytes - skip + added > capacity)
        return -E2BIG;
    struct exec_request *request = kalloc_raw(host, sizeof *request + capacity);
    if (!request)
        return -ENOMEM;
    *request = *old;
    memcpy(request->path, start, name_length);
    request->path[name_length] = '\0';
    char *at = request->strings;
    at = append_string(at, start, name_length);
    if (argument_length)
        at = append_string(at, argument, argument_length);
    at = append_string(at, script, script_length);
    memcpy(at, old->strings + skip, old->bytes - skip);
    request->bytes = (uint32_t)(old->bytes - skip + added);
    request->argument_count = old->argument_count - (old->argument_count ? 1 : 0) + 2 + (argument_length ? 1 : 0);
    kfree(host, old);
    *slot = request;
    return 0;
}

/* Opens what is to be run, if the task may run it; `real`: its path. */
static int64_t open_program(struct task *task, int directory, const char *named, char *real, size_t room) {
    int64_t result = fs_resolve_path(task, directory, named, real, room);
    if (result < 0)
        return result;
    result = platform_syscall(21 /* access */, (uint64_t)real, 1 /* X_OK */, 0, 0, 0, 0);
    if (result < 0)
        return result;
    struct stat status;
    result = native_stat(AT_FDCWD, real, 0, &status);
    if (!result && (status.st_mode & MODE_TYPE) != MODE_REGULAR) /* opening a FIFO would sleep */
        result = -EACCES;
    const struct inode *inode = result ? NULL : inode_seen(task->host, &status);
    if (inode && inode->uses[INODE_WRITTEN])
        result = -ETXTBSY;
    if (result < 0)
        return result;
    int64_t fd = platform_syscall(2 /* open */, (uint64_t)real, 02000000 /* O_CLOEXEC */, 0, 0, 0, 0);
    if (fd >= 0)
        inotify_descriptor(task->host, (int)fd, IN_OPEN);
    return fd;
}

/* Does not tell inotify. */
static int64_t read_program(int64_t fd, void *to, uint64_t length, uint64_t offset) {
    return platform_syscall(17 /* pread64 */, (uint64_t)fd, (uint64_t)to, length, offset, 0, 0);
}

static bool is_elf(const Elf64_Ehdr *elf) {
    return memcmp(elf->e_ident, ELFMAG "\2\1", SELFMAG + 2) == 0 && elf->e_machine == EM_X86_64;
}

/* The name of what loads the program, which may be none. As load_elf_binary of Linux refuses them. */
static int64_t read_interpreter(int64_t fd, const Elf64_Ehdr *elf, char *name, size_t room) {
    name[0] = '\0';
    for (uint32_t i = 0; i < elf->e_phnum; i++) {
        Elf64_Phdr header;
        uint64_t place = elf->e_phoff + i * sizeof header;
        if (elf->e_phentsize != sizeof header || read_program(fd, &header, sizeof header, place) != sizeof header)
            return -ENOEXEC;
        if (header.p_type != PT_INTERP)
            continue;
        if (header.p_filesz < 2 || header.p_filesz > room)
            return -ENOEXEC;
        if (read_program(fd, name, header.p_filesz, header.p_offset) != (int64_t)header.p_filesz)
            return -EIO;
        return name[header.p_filesz - 1] ? -ENOEXEC : 0;
    }
    return 0;
}

/* Whether what loads the program may be run: it is written by nobody while this looks, and may be afterwards. */
static int64_t check_interpreter(struct task *task, const char *name, char *real, size_t room) {
    Elf64_Ehdr elf;
    int64_t fd = open_program(task, AT_FDCWD, name, real, room);
    if (fd < 0)
        return fd;
    int64_t length = read_program(fd, &elf, sizeof elf, 0);
    inotify_descriptor(task->host, (int)fd, IN_ACCESS);
    inotify_descriptor(task->host, (int)fd, IN_CLOSE_NOWRITE);
    (void)platform_syscall(3 /* close */, (uint64_t)fd, 0, 0, 0, 0, 0);
    if (length < 0)
        return length;
    if (length < (int64_t)sizeof elf)
        return -EIO;
    return is_elf(&elf) ? 0 : -ELIBBAD;
}

/* Looks at the beginning of a file that is to be run. 1: it is a program, with what loads it; 0: a script. */
static int64_t look_at_program(struct task *task, int64_t fd, char head[256], struct exec_request *request) {
    int64_t length = read_program(fd, head, 255, 0);
    inotify_descriptor(task->host, (int)fd, IN_ACCESS);
    Elf64_Ehdr elf;
    memcpy(&elf, head, sizeof elf);
    bool program = length >= (int64_t)sizeof elf && is_elf(&elf) && (elf.e_type == ET_EXEC || elf.e_type == ET_DYN);
    int64_t result = KMIN(length, 0);
    request->interpreter[0] = '\0';
    if (program) {
        char name[4096];
        result = read_interpreter(fd, &elf, name, sizeof name);
        if (!result && name[0])
            result = check_interpreter(task, name, request->interpreter, sizeof request->interpreter);
    } else if (length >= 0) {
        head[length] = '\0';
        result = length < 3 || head[0] != '#' || head[1] != '!' ? -ENOEXEC : 0;
    }
    if (!program || result) /* otherwise it stays open as long as somebody runs it */
        inotify_descriptor(task->host, (int)fd, IN_CLOSE_NOWRITE);
    (void)platform_syscall(3 /* close */, (uint64_t)fd, 0, 0, 0, 0, 0);
    return result ? result : program;
}

/* Follows #! lines until the path is a program that the loader can map. */
static int64_t resolve_program(struct task *task, struct exec_request **request, size_t capacity, int directory,
                               char *named) {
    for (int depth = 0; depth < 5; depth++) {
        char real[4096], head[256];
        int64_t fd = open_program(task, directory, named, real, sizeof real);
        if (fd < 0)
            return fd;
        int64_t result = look_at_program(task, fd, head, *request);
        if (result < 0)
            return result;
        if (result) {
            memcpy((*request)->path, real, strlen(real) + 1);
            return 0;
        }
        char *line_end = head;
        while (*line_end && *line_end != '\n')
            line_end++;
        *line_end = '\0';
        result = insert_interpreter(task->host, request, capacity, head, depth ? named : (*request)->named);
        if (result < 0)
            return result;
        memcpy(named, (*request)->path, strlen((*request)->path) + 1);
        directory = AT_FDCWD;
    }
    return -ELOOP;
}

static int64_t do_execve(struct task *task, int directory, uint64_t path, uint64_t arguments, uint64_t environment,
                         bool allow_empty) {
    struct host *host = task->host;
    struct process *process = task->process;
    char *named = kalloc_raw(host, 4096);
    /* Not cleared: only the pages that the strings fill are ever touched. */
    size_t capacity = exec_limit(process);
    struct exec_request *request = kalloc_raw(host, sizeof *request + capacity);
    int64_t result = -ENOMEM;
    if (!named || !request)
        goto out;
    request->argument_count = request->environment_count = request->bytes = 0;
    result = string_from_user(named, path, 4096);
    if (result < 0)
        goto out;
    if (directory == AT_FDCWD || named[0] == '/')
        kprintf(request->named, sizeof request->named, "%s", named);
    else
        kprintf(request->named, sizeof request->named, "/dev/fd/%d%s%s", directory, named[0] ? "/" : "", named);
    request->by_descriptor = allow_empty && !named[0];
    if (!named[0] && !allow_empty) {
        result = -ENOENT;
        goto out;
    }
    result = append_vector(request, capacity, arguments, &request->argument_count);
    if (result == 0 && request->argument_count == 0) { /* nobody finds no argv[0] at all */
        request->strings[request->bytes++] = '\0';
        request->argument_count = 1;
    }
    if (result == 0)
        result = append_vector(request, capacity, environment, &request->environment_count);
    if (result == 0 && exec_bytes(request) > capacity)
        result = -E2BIG;
    if (result == 0)
        result = resolve_program(task, &request, capacity, directory, named);
    if (result == 0) {
        struct program_owner owner;
        fs_program_owner(task, request->path, &owner);
        result = credentials_exec(task, owner.mode, owner.user, owner.group);
    }
    if (result)
        goto out;
    /* Alone from here on: the other threads end, as in Linux' de_thread. */
    list_for_each(node, &process->tasks) {
        struct task *other = list_entry(node, struct task, process_node);
        if (other != task) {
            other->dying = true;
            task_wake(other);
        }
    }
    uint64_t mask = task->signal_mask;
    task->signal_mask = UNINTERRUPTIBLE; /* what is pending is the new program's, but for SIGKILL */
    while (result != -ERESTARTSYS && process->tasks.next->next != &process->tasks) {
        wait_add(&process->exit_wait, &task->wait, task, 0);
        result = task_block(task, NEVER);
        wait_remove(&task->wait);
    }
    task->signal_mask = mask;
    if (result == -ERESTARTSYS)
        goto out;
    kfree(host, named);
    task->tid = process->pid;
    task->native_tid = process->native_pid; /* the real execve gives the caller the leader's id too */
    futex_exit(task);                       /* robust locks of the old memory */
    process->executed = true;
    process->exit_signal = KSIGCHLD;
    process_set_program(task, request);
    process_enter_program(task, request);
    fd_table_exec(task);
    signal_exec(process);
    task->altstack_flags = 2;
    task->altstack_base = task->altstack_size = 0;
    task->clear_child_tid = task->robust_list = 0;
    mm_release(process);
    process->mm = host->next_mm++;
    end_vfork(task);
    host->counters.execs++;
    task->exec = request;
    platform_exec(task);
out:
    kfree(host, named);
    kfree(host, request);
    return result;
}

int64_t sys_execve(struct task *task, const uint64_t *a) { return do_execve(task, AT_FDCWD, a[0], a[1], a[2], false); }

int64_t sys_execveat(struct task *task, const uint64_t *a) {
    if (a[4] & ~(uint64_t)AT_EMPTY_PATH)
        return -EINVAL;
    return do_execve(task, (int)a[0], a[1], a[2], a[3], a[4] & AT_EMPTY_PATH);
}

/* ---- Identities ---- */

int64_t sys_getpid(struct task *task, const uint64_t *a) {
    (void)a;
    return task->process->pid;
}

int64_t sys_gettid(struct task *task, const uint64_t *a) {
    (void)a;
    return task->tid;
}

int64_t sys_getppid(struct task *task, const uint64_t *a) {
    (void)a;
    return task->process->parent ? task->process->parent->pid : 1;
}

int64_t sys_set_tid_address(struct task *task, const uint64_t *a) {
    task->clear_child_tid = a[0];
    return task->tid;
}

static struct process *process_or_self(struct task *task, int pid) {
    return pid ? process_find(task->host, pid) : task->process;
}

int64_t sys_getpgid(struct task *task, const uint64_t *a) {
    struct process *process = process_or_self(task, (int)a[0]);
    return process ? process->process_group : -ESRCH;
}

int64_t sys_getpgrp(struct task *task, const uint64_t *a) {
    (void)a;
    return task->process->process_group;
}

static bool group_in_session(struct host *host, int32_t group, int32_t session) {
    list_for_each(node, &host->processes) {
        const struct process *process = list_entry(node, struct process, host_node);
        if (process->process_group == group && process->session == session)
            return true;
    }
    return false;
}

int64_t sys_setpgid(struct task *task, const uint64_t *a) {
    struct process *self = task->process, *process = process_or_self(task, (int)a[0]);
    int32_t group = (int)a[1] ? (int)a[1] : (int)a[0] ? (int)a[0] : self->pid;
    if (group < 0)
        return -EINVAL;
    if (!process || (process != self && process->parent != self))
        return -ESRCH;
    if (process->session != self->session)
        return -EPERM;
    if (process != self && process->executed)
        return -EACCES;
    if (process->session == process->pid)
        return -EPERM;
    if (group != process->pid && !group_in_session(task->host, group, self->session))
        return -EPERM;
    process->process_group = group;
    return 0;
}

int64_t sys_getsid(struct task *task, const uint64_t *a) {
    struct process *process = process_or_self(task, (int)a[0]);
    return process ? process->session : -ESRCH;
}

int64_t sys_setsid(struct task *task, const uint64_t *a) {
    (void)a;
    struct process *process = task->process;
    list_for_each(node, &task->host->processes) {
        if (list_entry(node, struct process, host_node)->process_group == process->pid)
            return -EPERM;
    }
    process->session = process->process_group = process->pid;
    process->terminal = NULL;
    return process->pid;
}
