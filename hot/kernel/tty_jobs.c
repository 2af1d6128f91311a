/* Sessions and their terminals: who is in the foreground, and the signals that come of it (Linux: tty_jobctrl.c).
 *
 * pty.c calls it for ioctl, reads and writes, process.c when a session's leader ends. It calls signal.c.
 */
#include "credentials.h"
#include "process.h"
#include "signal.h"
#include "tty.h"

#include <asm/ioctls.h>
#include <linux/capability.h>
#include <linux/fcntl.h>

static bool is_leader(const struct process *process) { return process->session == process->pid; }

int64_t jobs_check(struct task *task, const struct terminal *terminal, int signo) {
    struct process *process = task->process;
    if (process->terminal != terminal || !terminal->foreground || process->process_group == terminal->foreground)
        return 0;
    if ((task->signal_mask & signal_bit(signo)) || process->actions[signo - 1].handler == KSIG_IGN)
        return signo == KSIGTTIN ? -EIO : 0;
    if (signal_group_orphaned(process))
        return -EIO;
    signal_send_group(task->host, process->process_group, signo);
    return -ERESTARTSYS;
}

void jobs_signal_foreground(const struct terminal *terminal, int signo) {
    if (terminal->foreground)
        signal_send_group(terminal->host, terminal->foreground, signo);
}

/* Nobody of the session has the terminal any more. */
static void clear_session(struct terminal *terminal) {
    list_for_each(node, &terminal->host->processes) {
        struct process *process = list_entry(node, struct process, host_node);
        if (process->terminal == terminal)
            process->terminal = NULL;
    }
    terminal->session = terminal->foreground = 0;
}

void jobs_take_terminal(struct task *task, struct terminal *terminal) {
    terminal->session = task->process->session;
    terminal->foreground = task->process->process_group;
    task->process->terminal = terminal;
}

/* The leader is told; what else was in the foreground learns of it when the leader ends. */
void jobs_hang_up(struct terminal *terminal) {
    struct process *leader = terminal->session ? process_find(terminal->host, terminal->session) : NULL;
    if (leader && is_leader(leader) && !leader->zombie) {
        struct signal_info info = {.signo = KSIGHUP, .code = SIGNAL_OF_KERNEL};
        leader->lost_foreground = terminal->foreground;
        (void)signal_send_process(leader, KSIGHUP, &info);
        info.signo = KSIGCONT;
        (void)signal_send_process(leader, KSIGCONT, &info);
    }
    clear_session(terminal);
}

void terminal_session_ends(struct process *process) {
    struct terminal *terminal = process->terminal;
    if (!is_leader(process))
        return;
    if (terminal) {
        jobs_signal_foreground(terminal, KSIGHUP);
        clear_session(terminal);
    } else if (process->lost_foreground) {
        signal_send_group(process->host, process->lost_foreground, KSIGHUP);
        signal_send_group(process->host, process->lost_foreground, KSIGCONT);
    }
}

/* ---- ioctl ---- */

static int64_t set_controlling(struct task *task, struct terminal *terminal, const struct file *file, uint64_t steal) {
    struct process *process = task->process;
    if (is_leader(process) && terminal->session == process->session)
        return 0;
    if (!is_leader(process) || process->terminal)
        return -EPERM;
    if (terminal->session && (steal != 1 || !credentials_capable(task, CAP_SYS_ADMIN)))
        return -EPERM;
    if ((file->flags & O_ACCMODE) == O_WRONLY && !credentials_capable(task, CAP_SYS_ADMIN))
        return -EPERM;
    if (terminal->session)
        clear_session(terminal);
    jobs_take_terminal(task, terminal);
    return 0;
}

static int64_t give_up(struct task *task, struct terminal *terminal) {
    struct process *process = task->process;
    if (process->terminal != terminal)
        return -ENOTTY;
    if (is_leader(process)) {
        jobs_signal_foreground(terminal, KSIGHUP);
        jobs_signal_foreground(terminal, KSIGCONT);
        clear_session(terminal);
    }
    process->terminal = NULL;
    return 0;
}

/* The session of a process group; 0: there is no such group. */
static int32_t session_of_group(struct host *host, int32_t group) {
    list_for_each(node, &host->processes) {
        const struct process *process = list_entry(node, struct process, host_node);
        if (process->process_group == group && !process_reaped(process))
            return process->session;
    }
    return 0;
}

static int64_t set_foreground(struct task *task, struct terminal *terminal, uint64_t user) {
    int32_t group;
    const struct process *process = task->process;
    int64_t result = jobs_check(task, terminal, KSIGTTOU);
    if (result)
        return result == -EIO ? -ENOTTY : result;
    if (process->terminal != terminal || terminal->session != process->session)
        return -ENOTTY;
    if (copy_from_user(&group, user, sizeof group))
        return -EFAULT;
    if (group < 0)
        return -EINVAL;
    int32_t session = session_of_group(task->host, group);
    if (session != process->session)
        return session ? -EPERM : -ESRCH;
    terminal->foreground = group;
    return 0;
}

int64_t jobs_ioctl(struct task *task, struct terminal *terminal, const struct file *file, bool master, uint32_t command,
                   uint64_t argument) {
    bool foreign = !master && task->process->terminal != terminal;
    switch (command) {
    case TIOCSCTTY:
        return set_controlling(task, terminal, file, argument);
    case TIOCNOTTY:
        return give_up(task, terminal);
    case TIOCGPGRP:
        return foreign ? -ENOTTY : copy_to_user(argument, &terminal->foreground, sizeof terminal->foreground);
    case TIOCSPGRP:
        return set_foreground(task, terminal, argument);
    case TIOCGSID:
        if (foreign || !terminal->session)
            return -ENOTTY;
        return copy_to_user(argument, &terminal->session, sizeof terminal->session);
    default:
        return JOBS_OTHER;
    }
}
