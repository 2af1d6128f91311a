/* Files on their way through Unix sockets (SCM_RIGHTS).
 *
 * socket.c makes them of descriptors and installs them in the receiver; unix_socket.c keeps them with its messages.
 *
 * A simulated file travels as a reference. Of a real file only a process can hold the real descriptor, and the sender
 * may close its own, or end, before anybody receives it. So real descriptors travel through a real socket that every
 * process of the host has open (host->rights_fd, connected to itself): the real kernel holds them, whoever dies. One
 * real datagram goes with one simulated message and begins with its number; who wants another one than the first puts
 * those before it behind again. The shard cannot reach that socket: what it drops is taken out by the next task that
 * sends or receives files.
 */
#include "rights.h"
#include "credentials.h"
#include "internal.h"
#include "process.h"
#include "socket.h"

#include <asm/socket.h>
#include <asm/unistd.h>
#include <linux/capability.h>
#include <linux/resource.h>

/* struct msghdr with room for one control item, as the real kernel takes it. */
struct mail {
    struct user_message message;
    struct user_iovec segment;
    uint64_t number;
    struct control_header header;
    int32_t fds[SCM_MAX_FD + 1]; /* even, so that the item ends aligned */
};

static void mail_prepare(struct mail *mail, uint32_t count) {
    memset(&mail->message, 0, sizeof mail->message);
    mail->segment = (struct user_iovec){(uint64_t)&mail->number, sizeof mail->number};
    mail->message.segments = (uint64_t)&mail->segment;
    mail->message.segment_count = 1;
    mail->message.control = (uint64_t)&mail->header;
    mail->header = (struct control_header){sizeof mail->header + count * sizeof mail->fds[0], SOL_SOCKET, SCM_RIGHTS};
    mail->message.control_length = CONTROL_ALIGN(mail->header.length);
}

/* Copies of the descriptors go; the caller's stay open. */
static int64_t mail_send(struct host *host, struct mail *mail, uint32_t count) {
    mail_prepare(mail, count);
    int64_t sent = platform_syscall(__NR_sendmsg, (uint64_t)host->rights_fd, (uint64_t)&mail->message,
                                    MSG_DONTWAIT | MSG_NOSIGNAL, 0, 0, 0);
    if (sent >= 0)
        host->net->mail_count++;
    return sent < 0 ? sent : 0;
}

/* The first: how many descriptors came, or -errno. */
static int64_t mail_receive(struct host *host, struct mail *mail) {
    mail_prepare(mail, SCM_MAX_FD);
    int64_t received =
        platform_syscall(__NR_recvmsg, (uint64_t)host->rights_fd, (uint64_t)&mail->message, MSG_DONTWAIT, 0, 0, 0);
    if (received < 0)
        return received;
    host->net->mail_count--;
    if (received != sizeof mail->number)
        return -EBADMSG;
    if (mail->message.control_length < sizeof mail->header || mail->header.length <= sizeof mail->header)
        return 0; /* the process may have no more descriptors */
    return (int64_t)KMIN((mail->header.length - sizeof mail->header) / sizeof mail->fds[0], (uint64_t)SCM_MAX_FD);
}

static void close_all(const int32_t *fds, int64_t count) {
    for (int64_t i = 0; i < count; i++)
        (void)platform_syscall(__NR_close, (uint64_t)fds[i], 0, 0, 0, 0, 0);
}

/* The real descriptors of a message, or copies of them if they are to stay there as well. How many, or -errno. */
static int64_t mail_fetch(struct host *host, uint64_t number, bool stay, struct mail *mail) {
    for (uint32_t left = host->net->mail_count; left; left--) {
        int64_t count = mail_receive(host, mail);
        if (count < 0)
            return count;
        bool found = mail->number == number;
        if (!found || stay) {
            int64_t error = mail_send(host, mail, (uint32_t)count);
            if (error)
                platform_warn(host, NULL, "files on their way through a socket are lost: errno %d", (int)-error);
        }
        if (found)
            return count;
        close_all(mail->fds, count);
    }
    return -ENOENT;
}

/* ---- Keeping account ---- */

static void forget(struct host *host, struct socket_rights *rights) {
    list_remove(&rights->node);
    kfree(host, rights);
}

/* References to files from `first` on, which nobody will install. */
static void put_files(struct host *host, struct socket_rights *rights, uint32_t first) {
    for (uint32_t i = first; i < rights->count; i++)
        file_put(host, rights->files[i].file);
    host->net->files_travelling -= rights->borrowed ? 0 : rights->count;
    rights->count = 0;
}

static void end(struct host *host, struct socket_rights *rights) {
    if (rights->number && !rights->borrowed) {
        struct mail mail;
        int64_t count = mail_fetch(host, rights->number, false, &mail);
        if (count == -EBADF) { /* this is the shard */
            rights->abandoned = true;
            return;
        }
        close_all(mail.fds, count);
    }
    forget(host, rights);
}

void rights_drop(struct host *host, struct socket_rights *rights) {
    if (!rights)
        return;
    put_files(host, rights, 0);
    end(host, rights);
}

/* What the shard dropped, and what senders had not handed over when they died. */
static void clear_abandoned(struct host *host) {
    list_for_each_safe(node, &host->net->rights) {
        struct socket_rights *rights = list_entry(node, struct socket_rights, node);
        const struct process *sender = rights->sender ? process_find(host, rights->sender) : NULL;
        if (rights->abandoned || (rights->sender && (!sender || sender->zombie)))
            rights_drop(host, rights);
    }
}

/* Linux: too_many_unix_fds. Per user, so that nobody hides files without end in sockets. */
static bool too_many(const struct task *task) {
    const struct net *net = task->host->net;
    uint64_t limit = task->process->limits[RLIMIT_NOFILE][0], count = 0;
    if (net->files_travelling <= limit)
        return false;
    list_for_each(node, &net->rights) {
        const struct socket_rights *rights = list_entry(node, struct socket_rights, node);
        count += rights->user == task->credentials->user.real && !rights->borrowed ? rights->count : 0;
    }
    return count > limit && !credentials_capable(task, CAP_SYS_RESOURCE) && !credentials_capable(task, CAP_SYS_ADMIN);
}

static struct socket_rights *create(struct host *host, uint32_t room) {
    struct socket_rights *rights = kalloc(host, sizeof *rights + room * sizeof rights->files[0]);
    if (rights)
        list_push_back(&host->net->rights, &rights->node);
    return rights;
}

/* ---- Sending ---- */

int rights_create(struct task *task, const int32_t *fds, uint32_t count, struct socket_rights **created) {
    struct host *host = task->host;
    struct mail mail;
    uint32_t natives = 0;
    clear_abandoned(host);
    for (uint32_t i = 0; i < count; i++)
        if (!fd_entry(task, fds[i]))
            return -EBADF;
    if (too_many(task))
        return -ETOOMANYREFS;
    struct socket_rights *rights = create(host, count);
    if (!rights)
        return -ENOMEM;
    rights->sender = task->process->pid;
    rights->user = task->credentials->user.real;
    for (uint32_t i = 0; i < count; i++) {
        const struct fd_entry *entry = fd_entry(task, fds[i]);
        file_get(entry->file);
        rights->files[i].file = entry->file;
        rights->files[i].native = entry->native_fd >= 0;
        if (entry->native_fd >= 0)
            mail.fds[natives++] = entry->native_fd;
    }
    rights->count = count;
    host->net->files_travelling += count;
    *created = rights;
    if (!natives)
        return 0;
    mail.number = ++host->net->next_mail;
    int64_t error = mail_send(host, &mail, natives);
    if (!error)
        rights->number = mail.number;
    return error ? -ETOOMANYREFS : 0; /* the real kernel's own limits */
}

struct socket_rights *rights_borrow(struct host *host, const struct socket_rights *rights) {
    struct socket_rights *copy = create(host, rights->count);
    if (!copy)
        return NULL;
    copy->number = rights->number;
    copy->borrowed = true;
    copy->count = rights->count;
    for (uint32_t i = 0; i < copy->count; i++) {
        copy->files[i] = rights->files[i];
        file_get(copy->files[i].file);
    }
    return copy;
}

/* ---- Receiving ---- */

uint32_t rights_take(struct task *task, struct socket_rights *rights, bool close_on_exec, int32_t *numbers,
                     uint32_t capacity) {
    struct host *host = task->host;
    struct mail mail;
    uint32_t taken = 0, installed = 0, next = 0;
    clear_abandoned(host);
    int64_t natives = rights->number ? mail_fetch(host, rights->number, rights->borrowed, &mail) : 0;
    while (taken < rights->count && installed < capacity) {
        bool native = rights->files[taken].native;
        if (native && next >= natives)
            break;
        int fd = fd_install(task, rights->files[taken].file, 0, close_on_exec, native ? mail.fds[next] : -1);
        taken++; /* the reference and the descriptor went with it */
        next += native;
        if (fd < 0)
            break;
        numbers[installed++] = fd;
    }
    close_all(mail.fds + next, natives - next);
    put_files(host, rights, taken);
    forget(host, rights);
    return installed;
}
