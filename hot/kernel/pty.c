/* Pseudo-terminals: /dev/ptmx, /dev/pts/<n> and /dev/tty (pty(7); Linux: pty.c, tty_io.c, tty_ioctl.c).
 *
 * fs.c opens them by what virtual.c found, file.c calls the operations. Both ends are files of one kind. tty_line.c
 * makes of bytes what the settings say, tty_jobs.c knows sessions.
 */
#include "credentials.h"
#include "fs_internal.h"
#include "process.h"
#include "signal.h"
#include "syscalls.h"
#include "tty.h"

#include <asm/ioctls.h>
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/poll.h>

#define CHUNK 512u
#define TENTH (NS_PER_S / 10)
#define DEVICES_OF_SYSTEM 5u /* major number of /dev/tty and /dev/ptmx */
#define FIRST_INODE 3u       /* of /dev/pts/0 */

/* What an open file of a terminal has as its object. */
struct terminal_end {
    struct list node; /* in terminal->slaves */
    struct terminal *terminal;
    struct file *file;
    bool master;
    bool by_tty; /* opened as /dev/tty */
    bool cut;    /* by vhangup: the terminal goes on without this */
};

static struct terminal_end *end_of(const struct file *file) { return file->object; }
static bool hung_up(const struct terminal_end *end) { return end->cut || !end->terminal->master; }

/* ---- Waking ---- */

void terminal_wake_master(struct terminal *terminal, uint32_t events) {
    if (terminal->master)
        wake_up(terminal->host, &terminal->master->wait, events);
}

void terminal_wake_programs(struct terminal *terminal, uint32_t events) {
    list_for_each(node, &terminal->slaves)
        wake_up(terminal->host, &list_entry(node, struct terminal_end, node)->file->wait, events);
}

void terminal_tell(struct terminal *terminal, uint8_t news, uint8_t instead) {
    if (!terminal->packets)
        return;
    terminal->news = (uint8_t)((terminal->news & ~instead) | news);
    terminal_wake_master(terminal, POLLIN | POLLRDNORM | POLLPRI);
}

/* ---- Birth and death ---- */

static const struct termios2 defaults = {
    .c_iflag = ICRNL | IXON,
    .c_oflag = OPOST | ONLCR,
    .c_cflag = B38400 | CS8 | CREAD,
    .c_lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
    .c_cc = {[VINTR] = 3,
             [VQUIT] = 034,
             [VERASE] = 0177,
             [VKILL] = 025,
             [VEOF] = 4,
             [VMIN] = 1,
             [VSTART] = 021,
             [VSTOP] = 023,
             [VSUSP] = 032,
             [VREPRINT] = 022,
             [VDISCARD] = 017,
             [VWERASE] = 027,
             [VLNEXT] = 026},
    .c_ispeed = 38400,
    .c_ospeed = 38400,
};

static struct terminal *numbered(struct host *host, int32_t number) {
    list_for_each(node, &host->terminals) {
        struct terminal *terminal = list_entry(node, struct terminal, node);
        if (terminal->number == number)
            return terminal;
    }
    return NULL;
}

struct terminal *terminal_find(struct host *host, int32_t number) {
    struct terminal *terminal = numbered(host, number);
    return terminal && terminal->master ? terminal : NULL;
}

static void free_unused(struct terminal *terminal) {
    if (terminal->master || !list_empty(&terminal->slaves))
        return;
    list_remove(&terminal->node);
    kfree(terminal->host, terminal);
}

static void release(struct host *host, struct file *file) {
    struct terminal_end *end = end_of(file);
    struct terminal *terminal = end->terminal;
    if (end->master) {
        terminal->master = NULL;
        jobs_hang_up(terminal);
        terminal_wake_programs(terminal, 0);
    } else {
        list_remove(&end->node);
        terminal->left = list_empty(&terminal->slaves);
        if (terminal->left)
            terminal_wake_master(terminal, POLLIN | POLLRDNORM | POLLHUP);
    }
    kfree(host, end);
    free_unused(terminal);
}

static struct terminal_end *open_end(struct terminal *terminal, uint32_t flags) {
    const uint32_t transient = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC | O_NOATIME;
    const uint32_t large_file = 0100000;
    struct host *host = terminal->host;
    struct terminal_end *end = kalloc(host, sizeof *end);
    struct file *file = end ? file_create(host, FILE_TERMINAL, (flags & ~transient) | large_file, end) : NULL;
    if (!file) {
        kfree(host, end);
        return NULL;
    }
    list_init(&end->node);
    end->terminal = terminal;
    end->file = file;
    return end;
}

static int64_t open_master(struct task *task, uint32_t flags) {
    struct host *host = task->host;
    int32_t number = 0;
    while (numbered(host, number))
        number++;
    struct terminal *terminal = number < TERMINALS_MAX ? kalloc(host, sizeof *terminal) : NULL;
    if (!terminal)
        return number < TERMINALS_MAX ? -ENOMEM : -ENOSPC;
    terminal->host = host;
    terminal->number = number;
    list_init(&terminal->slaves);
    terminal->locked = true;
    terminal->settings = defaults;
    terminal->user = task->credentials->user.filesystem;
    terminal->group = TERMINAL_GROUP;
    terminal->mode = TERMINAL_MODE;
    struct terminal_end *end = open_end(terminal, flags);
    if (!end) {
        kfree(host, terminal);
        return -ENOMEM;
    }
    end->master = true;
    terminal->master = end->file;
    list_push_back(&host->terminals, &terminal->node);
    return fd_install(task, end->file, 0, (flags & O_CLOEXEC) != 0, -1);
}

static int64_t open_programs_end(struct task *task, struct terminal *terminal, uint32_t flags, bool by_tty) {
    struct process *process = task->process;
    if (terminal->locked || !terminal->master)
        return -EIO;
    struct terminal_end *end = open_end(terminal, flags);
    if (!end)
        return -ENOMEM;
    end->by_tty = by_tty;
    list_push_back(&terminal->slaves, &end->node);
    terminal->left = false;
    bool reads = (flags & O_ACCMODE) != O_WRONLY, leader = process->session == process->pid;
    if (!(flags & O_NOCTTY) && reads && leader && !process->terminal && !terminal->session)
        jobs_take_terminal(task, terminal);
    return fd_install(task, end->file, 0, (flags & O_CLOEXEC) != 0, -1);
}

int64_t terminal_open(struct task *task, const char *name, const struct virtual_name *found, uint32_t flags) {
    if ((flags & O_CREAT) && (flags & O_EXCL))
        return -EEXIST;
    if (flags & O_DIRECTORY)
        return -ENOTDIR;
    if (flags & O_PATH)
        return virtual_open(task, name, found, flags);
    static const uint8_t wanted[4] = {4, 2, 6, 6};
    int64_t permitted = virtual_permit(task, found, wanted[flags & O_ACCMODE]);
    if (permitted)
        return permitted;
    if (found->terminal)
        return open_programs_end(task, found->terminal, flags, false);
    if (strcmp(name, "/dev/tty") != 0)
        return open_master(task, flags);
    if (!task->process->terminal)
        return -ENXIO;
    return open_programs_end(task, task->process->terminal, flags | O_NOCTTY, true);
}

int64_t terminal_reopen(struct task *task, const struct file *file, uint32_t flags) {
    const struct terminal_end *end = end_of(file);
    return end->master ? open_master(task, flags) : open_programs_end(task, end->terminal, flags, end->by_tty);
}

/* ---- Reading ---- */

static int64_t give_line(struct terminal *terminal, struct uio *to, size_t available) {
    uint8_t bytes[CHUNK];
    int64_t total = 0;
    do {
        size_t taken = line_take(terminal, bytes, KMIN(available, sizeof bytes));
        if (uio_copy_out(to, bytes, taken))
            return total ? total : -EFAULT;
        available -= taken;
        total += (int64_t)taken;
    } while (available);
    return total;
}

/* How long a read of bytes, not lines, waits still (termios(3), MIN and TIME); `since`: the call, or the last byte. */
static int64_t deadline_of(const struct terminal *terminal, size_t waiting, int64_t since) {
    int64_t minimum = terminal->settings.c_cc[VMIN], time = terminal->settings.c_cc[VTIME] * TENTH;
    if (minimum && (!time || !waiting))
        return NEVER;
    return since + time;
}

static int64_t read_programs_end(struct task *task, struct file *file, struct uio *to) {
    struct terminal_end *end = end_of(file);
    struct terminal *terminal = end->terminal;
    int64_t since = task->host->now, woken = 0;
    size_t before = 0;
    bool slept = false;
    if (!to->remaining)
        return 0;
    for (;;) {
        if (hung_up(end))
            return slept && !end->cut ? -EIO : 0;
        int64_t result = jobs_check(task, terminal, KSIGTTIN);
        if (result)
            return result;
        bool canonical = (terminal->settings.c_lflag & ICANON) != 0, at_once = woken || (file->flags & O_NONBLOCK);
        size_t waiting = canonical ? 0 : line_waiting(terminal);
        int64_t available = line_available(terminal, to->remaining, at_once ? 1 : terminal->settings.c_cc[VMIN]);
        if (available >= 0)
            return give_line(terminal, to, (size_t)available);
        if (file->flags & O_NONBLOCK)
            return canonical || terminal->settings.c_cc[VMIN] || terminal->settings.c_cc[VTIME] ? -EAGAIN : 0;
        if (woken)
            return woken == -ETIMEDOUT ? 0 : woken;
        if (waiting != before)
            since = task->host->now;
        before = waiting;
        int64_t deadline = canonical ? NEVER : deadline_of(terminal, waiting, since);
        woken = file_sleep(task, file, POLLIN | POLLRDNORM, deadline);
        slept = true;
    }
}

static int64_t read_master(struct terminal *terminal, struct uio *to) {
    uint32_t used = terminal->output_head - terminal->output_tail;
    int64_t total = 0;
    if (!to->remaining)
        return 0;
    if (!used && !(terminal->packets && terminal->news))
        return terminal->left ? -EIO : -EAGAIN;
    if (terminal->packets) {
        uint8_t news = terminal->news; /* TIOCPKT_DATA: none */
        if (uio_copy_out(to, &news, 1))
            return -EFAULT;
        terminal->news = 0;
        if (news)
            return 1;
        total = 1;
    }
    while (used && to->remaining) {
        uint32_t at = terminal->output_tail % sizeof terminal->output;
        size_t part = KMIN(KMIN(used, (uint32_t)sizeof terminal->output - at), to->remaining);
        if (uio_copy_out(to, terminal->output + at, part))
            return total ? total : -EFAULT;
        terminal->output_tail += (uint32_t)part;
        used -= (uint32_t)part;
        total += (int64_t)part;
    }
    if (line_printing_room(terminal))
        terminal_wake_programs(terminal, POLLOUT | POLLWRNORM);
    return total;
}

static int64_t terminal_read(struct task *task, struct file *file, struct uio *to, const int64_t *position) {
    (void)position;
    const struct terminal_end *end = end_of(file);
    return end->master ? read_master(end->terminal, to) : read_programs_end(task, file, to);
}

/* ---- Writing ---- */

static int64_t terminal_write(struct task *task, struct file *file, struct uio *from, const int64_t *position) {
    (void)position;
    const struct terminal_end *end = end_of(file);
    struct terminal *terminal = end->terminal;
    uint8_t bytes[CHUNK];
    int64_t total = 0;
    if (!end->master && hung_up(end))
        return -EIO;
    if (!end->master && (terminal->settings.c_lflag & TOSTOP)) {
        int64_t result = jobs_check(task, terminal, KSIGTTOU);
        if (result)
            return result;
    }
    while (from->remaining) {
        struct uio look = *from; /* what does not fit is asked for again */
        size_t part = KMIN(from->remaining, sizeof bytes);
        if (uio_copy_in(&look, bytes, part))
            return total ? total : -EFAULT;
        size_t done = end->master ? line_type(terminal, bytes, part) : line_print(terminal, bytes, part);
        uio_advance(from, done);
        total += (int64_t)done;
        if (done < part)
            break;
    }
    return total || !from->remaining ? total : -EAGAIN;
}

static uint32_t terminal_poll(struct file *file) {
    const struct terminal_end *end = end_of(file);
    const struct terminal *terminal = end->terminal;
    bool readable, writable;
    uint32_t events = 0;
    if (end->master) {
        bool news = terminal->packets && terminal->news;
        readable = news || terminal->output_head != terminal->output_tail;
        writable = line_typing_room(terminal);
        events = (terminal->left ? POLLHUP : 0) | (news ? POLLPRI : 0);
    } else {
        if (hung_up(end))
            return POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDNORM | POLLWRNORM;
        const uint8_t *special = terminal->settings.c_cc;
        readable = line_available(terminal, LINE_SIZE, special[VTIME] ? 1 : special[VMIN]) >= 0;
        writable = line_printing_room(terminal);
    }
    return events | (readable ? POLLIN | POLLRDNORM : 0) | (writable ? POLLOUT | POLLWRNORM : 0);
}

/* ---- Settings ---- */

static uint32_t speed_of(uint32_t flags, uint32_t old) {
    static const uint32_t low[] = {0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400};
    static const uint32_t high[] = {0,       57600,   115200,  230400,  460800,  500000,  576000,  921600,
                                    1000000, 1152000, 1500000, 2000000, 2500000, 3000000, 3500000, 4000000};
    uint32_t code = flags & CBAUD;
    if (code == BOTHER)
        return old;
    return code & CBAUDEX ? high[code & 15] : low[code & 15];
}

/* What is fixed stays as it was (unset_locked_termios of Linux). */
static void keep_fixed(const struct terminal *terminal, struct termios2 *settings) {
    const struct termios2 *old = &terminal->settings;
    const struct termios *fixed = &terminal->fixed;
    settings->c_iflag ^= (settings->c_iflag ^ old->c_iflag) & fixed->c_iflag;
    settings->c_oflag ^= (settings->c_oflag ^ old->c_oflag) & fixed->c_oflag;
    settings->c_cflag ^= (settings->c_cflag ^ old->c_cflag) & fixed->c_cflag;
    settings->c_lflag ^= (settings->c_lflag ^ old->c_lflag) & fixed->c_lflag;
    if (fixed->c_line)
        settings->c_line = old->c_line;
    for (size_t i = 0; i < sizeof fixed->c_cc; i++)
        if (fixed->c_cc[i])
            settings->c_cc[i] = old->c_cc[i];
}

static int64_t set_fixed(struct task *task, struct terminal *terminal, uint64_t user) {
    if (!credentials_capable(task, CAP_CHECKPOINT_RESTORE) && !credentials_capable(task, CAP_SYS_ADMIN))
        return -EPERM;
    struct termios fixed;
    if (copy_from_user(&fixed, user, sizeof fixed))
        return -EFAULT;
    terminal->fixed = fixed;
    return 0;
}

static int64_t set_settings(struct task *task, struct terminal *terminal, uint64_t user, size_t size, bool flush) {
    int64_t result = jobs_check(task, terminal, KSIGTTOU);
    struct termios2 settings = terminal->settings;
    if (result)
        return result;
    if (copy_from_user(&settings, user, size))
        return -EFAULT;
    settings.c_ospeed = speed_of(settings.c_cflag, settings.c_ospeed);
    settings.c_ispeed = settings.c_cflag >> IBSHIFT & CBAUD ? speed_of(settings.c_cflag >> IBSHIFT, settings.c_ispeed)
                                                            : settings.c_ospeed;
    keep_fixed(terminal, &settings);
    settings.c_cflag = (settings.c_cflag & ~(uint32_t)(CSIZE | PARENB)) | CS8 | CREAD;
    if (flush) {
        line_flush_input(terminal);
        terminal_tell(terminal, TIOCPKT_FLUSHREAD, 0);
    }
    line_set(terminal, &settings);
    return 0;
}

static int64_t set_size(struct terminal *terminal, uint64_t user) {
    struct window_size size;
    if (copy_from_user(&size, user, sizeof size))
        return -EFAULT;
    if (memcmp(&size, &terminal->size, sizeof size) == 0)
        return 0;
    jobs_signal_foreground(terminal, KSIGWINCH);
    terminal->size = size;
    return 0;
}

/* Of the end that asks: what comes in at the master is what programs put out. */
static int64_t flush(struct task *task, struct terminal *terminal, bool master, uint64_t which) {
    int64_t result = master ? 0 : jobs_check(task, terminal, KSIGTTOU);
    if (result)
        return result;
    if (which != TCIFLUSH && which != TCOFLUSH && which != TCIOFLUSH)
        return -EINVAL;
    uint8_t news = 0; /* of what programs flush */
    if (which == TCIOFLUSH || (which == TCIFLUSH) != master) {
        line_flush_input(terminal);
        news |= TIOCPKT_FLUSHREAD;
    }
    if (which == TCIOFLUSH || (which == TCOFLUSH) != master) {
        line_flush_output(terminal);
        news |= TIOCPKT_FLUSHWRITE;
    }
    if (!master)
        terminal_tell(terminal, news, 0);
    return 0;
}

static int64_t flow(struct task *task, struct terminal *terminal, uint64_t what) {
    int64_t result = jobs_check(task, terminal, KSIGTTOU);
    if (result)
        return result;
    switch (what) {
    case TCOOFF:
    case TCOON:
        line_hold(terminal, what == TCOOFF);
        return 0;
    case TCIOFF: /* asks who types to stop, by a byte of its output */
    case TCION: {
        uint8_t byte = terminal->settings.c_cc[what == TCIOFF ? VSTOP : VSTART];
        if (byte)
            (void)line_print(terminal, &byte, 1);
        return 0;
    }
    default:
        return -EINVAL;
    }
}

static int64_t give_number(uint64_t user, int32_t number) { return copy_to_user(user, &number, sizeof number); }

static int64_t set_packets(struct terminal *terminal, uint64_t user) {
    int32_t number;
    if (copy_from_user(&number, user, sizeof number))
        return -EFAULT;
    if (number && !terminal->packets)
        terminal->news = 0;
    terminal->packets = number != 0;
    return 0;
}

/* A byte as if it came from the other end (TIOCSTI; as with dev.tty.legacy_tiocsti, which Linux has set by default). */
static int64_t type_for(struct task *task, struct terminal *terminal, bool master, uint64_t user) {
    uint8_t byte;
    if ((master || task->process->terminal != terminal) && !credentials_capable(task, CAP_SYS_ADMIN))
        return -EPERM;
    if (copy_from_user(&byte, user, sizeof byte))
        return -EFAULT;
    if (master)
        line_print_raw(terminal, byte);
    else
        (void)line_type(terminal, &byte, 1);
    return 0;
}

static int64_t master_ioctl(struct task *task, struct terminal *terminal, uint32_t command, uint64_t argument) {
    int32_t number;
    switch (command) {
    case TIOCGPTN:
        return give_number(argument, terminal->number);
    case TIOCSPTLCK:
        if (copy_from_user(&number, argument, sizeof number))
            return -EFAULT;
        terminal->locked = number != 0;
        return 0;
    case TIOCGPTLCK:
        return give_number(argument, terminal->locked);
    case TIOCPKT:
        return set_packets(terminal, argument);
    case TIOCGPKT:
        return give_number(argument, terminal->packets);
    case TIOCGPTPEER:
        return open_programs_end(task, terminal, (uint32_t)argument, false);
    case FIONREAD:
        return give_number(argument, (int32_t)(terminal->output_head - terminal->output_tail));
    default:
        return -ENOTTY;
    }
}

static int64_t common_ioctl(struct task *task, struct terminal *terminal, bool master, uint32_t command,
                            uint64_t argument) {
    switch (command) {
    case TCGETS:
        return copy_to_user(argument, &terminal->settings, sizeof(struct termios));
    case TCGETS2:
        return copy_to_user(argument, &terminal->settings, sizeof terminal->settings);
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
        return set_settings(task, terminal, argument, sizeof(struct termios), command == TCSETSF);
    case TCSETS2:
    case TCSETSW2:
    case TCSETSF2:
        return set_settings(task, terminal, argument, sizeof terminal->settings, command == TCSETSF2);
    case TIOCGLCKTRMIOS:
        return copy_to_user(argument, &terminal->fixed, sizeof terminal->fixed);
    case TIOCSLCKTRMIOS:
        return set_fixed(task, terminal, argument);
    case TIOCSTI:
        return type_for(task, terminal, master, argument);
    case TIOCGWINSZ:
        return copy_to_user(argument, &terminal->size, sizeof terminal->size);
    case TIOCSWINSZ:
        return set_size(terminal, argument);
    case TCFLSH:
        return flush(task, terminal, master, argument);
    case TCXONC:
        return flow(task, terminal, argument);
    case TCSBRK: /* what was written has been sent: there is no wire */
    case TCSBRKP:
        return jobs_check(task, terminal, KSIGTTOU);
    case TIOCOUTQ:
    case TIOCGETD: /* N_TTY, the only discipline */
        return give_number(argument, 0);
    case FIONREAD:
        return give_number(argument, (int32_t)line_waiting(terminal));
    default:
        return -ENOTTY;
    }
}

static int64_t terminal_ioctl(struct task *task, struct file *file, uint32_t command, uint64_t argument) {
    const struct terminal_end *end = end_of(file);
    if (!end->master && hung_up(end))
        return command == TIOCSPGRP ? -ENOTTY : -EIO;
    int64_t result = jobs_ioctl(task, end->terminal, file, end->master, command, argument);
    if (result == JOBS_OTHER && end->master)
        result = master_ioctl(task, end->terminal, command, argument);
    if (result == JOBS_OTHER || (end->master && result == -ENOTTY))
        result = common_ioctl(task, end->terminal, end->master, command, argument);
    return result;
}

/* Who has the terminal loses it, with all that are open; it can be opened anew, as it was at first. */
int64_t sys_vhangup(struct task *task, const uint64_t *a) {
    (void)a;
    struct terminal *terminal = task->process->terminal;
    if (!credentials_capable(task, CAP_SYS_TTY_CONFIG))
        return -EPERM;
    if (!terminal)
        return 0;
    list_for_each(node, &terminal->slaves) list_entry(node, struct terminal_end, node)->cut = true;
    jobs_hang_up(terminal);
    line_flush_input(terminal);
    terminal_tell(terminal, TIOCPKT_FLUSHREAD, 0);
    line_set(terminal, &defaults);
    terminal_wake_programs(terminal, 0);
    return 0;
}

const struct file_operations terminal_operations = {
    .name = "tty",
    .stream = true,
    .read = terminal_read,
    .write = terminal_write,
    .poll = terminal_poll,
    .release = release,
    .ioctl = terminal_ioctl,
};

/* ---- Status ---- */

static void fill_status(struct stat *status, const struct terminal *terminal, bool by_tty) {
    if (terminal) {
        status_synthetic(status, MODE_CHARACTER | terminal->mode, FIRST_INODE + (uint64_t)terminal->number);
        status->st_rdev = terminal_device(terminal);
        status->st_uid = terminal->user;
        status->st_gid = terminal->group;
    } else { /* /dev/tty or /dev/ptmx */
        status_synthetic(status, MODE_CHARACTER | 0666, virtual_number(by_tty ? "/dev/tty" : "/dev/ptmx"));
        status->st_rdev = DEVICES_OF_SYSTEM << 8 | (by_tty ? 0u : 2u);
        status->st_gid = TERMINAL_GROUP;
    }
}

void terminal_status(const struct file *file, struct stat *status) {
    const struct terminal_end *end = end_of(file);
    fill_status(status, end->master || end->by_tty ? NULL : end->terminal, end->by_tty);
}

void terminal_name_status(const char *name, const struct virtual_name *found, struct stat *status) {
    fill_status(status, found->terminal, strcmp(name, "/dev/tty") == 0);
}

int64_t terminal_link(const struct file *file, char *out, size_t capacity) {
    const struct terminal_end *end = end_of(file);
    if (end->master || end->by_tty)
        return kprintf(out, capacity, "%s", end->master ? "/dev/ptmx" : "/dev/tty");
    return kprintf(out, capacity, "/dev/pts/%d%s", end->terminal->number, end->terminal->master ? "" : " (deleted)");
}

struct terminal *terminal_behind(const struct file *file) {
    const struct terminal_end *end = file->kind == FILE_TERMINAL ? end_of(file) : NULL;
    return end && !end->master ? end->terminal : NULL;
}
