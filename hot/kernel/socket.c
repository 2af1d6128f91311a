/* The socket system calls, and what the families share: memory, waking, options of level SOL_SOCKET, messages with
 * control data. Called by the system call table; calls inet.c, unix_socket.c and netlink.c through the attempts of
 * socket.h, and sleeps where these answer -EAGAIN.
 */
#include "socket.h"
#include "async.h"
#include "credentials.h"
#include "filter.h"
#include "internal.h"
#include "packet_socket.h"
#include "process.h"
#include "raw.h"
#include "rights.h"
#include "signal.h"
#include "syscalls.h"
#include "tcp.h"
#include <asm/fcntl.h>
#include <asm/ioctls.h>
#include <asm/socket.h>
#include <linux/capability.h>
#include <linux/in.h>
#include <linux/ipv6.h>
#include <linux/netlink.h>
#include <linux/poll.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <linux/time_types.h>

#define SEGMENTS_MAX 1024u /* UIO_MAXIOV */
#define SEGMENTS_INLINE 8u
#define TRANSFER_MAX 0x7ffff000u /* MAX_RW_COUNT */
#define OPTION_MAX 256u
#define PROTOCOL_MAX 263 /* IPPROTO_MAX */
/* net.core.[rw]mem_max, and the smallest buffers Linux grants (SOCK_MIN_SNDBUF, SOCK_MIN_RCVBUF). */
#define BUFFER_MAX 212992u
#define SEND_BUFFER_MIN 4608u
#define RECEIVE_BUFFER_MIN 2304u
#define PRIORITY_OF_ALL 6 /* what SO_PRIORITY takes without a capability */

struct user_message_vector { /* struct mmsghdr */
    struct user_message message;
    uint32_t length, padding;
};

/* ---- Memory and waking ---- */

struct socket *socket_create(struct host *host, int family, int type, int protocol) {
    struct socket *socket = kalloc(host, sizeof(*socket));
    if (!socket)
        return NULL;
    socket->host = host;
    socket->family = family;
    socket->type = type;
    socket->protocol = protocol;
    list_init(&socket->port_node);
    list_init(&socket->connection_node);
    bool stream = (family == AF_INET || family == AF_INET6) && type == SOCK_STREAM;
    /* The configured sizes are TCP's; the others have Linux's net.core.[rw]mem_default. */
    socket->send_buffer = stream ? host->send_buffer : BUFFER_MAX;
    socket->receive_buffer = stream ? host->receive_buffer : BUFFER_MAX;
    socket->send_timeout = socket->receive_timeout = NEVER;
    socket->ttl = 64;
    socket->mtu_discover = IP_PMTUDISC_WANT;
    socket->multicast_ttl = 1;
    socket->multicast_loop = true;
    socket->multicast_address = IP4_ANY;
    socket->v6 =
        (struct socket_options6){.hop_limit = -1,
                                 .multicast_hops = 1,
                                 .mtu_discover = IPV6_PMTUDISC_WANT,
                                 .multicast_loop = true,
                                 .kept = {UINT64_C(1) << IPV6_MULTICAST_ALL, UINT64_C(1) << (IPV6_AUTOFLOWLABEL - 64)}};
    socket->local_address = socket->remote_address = socket->bound_address = family == AF_INET6 ? IP6_ANY : IP4_ANY;
    socket->low_water = 1;
    socket->hints = (struct socket_hints){.multicast_all = true, .incoming_cpu = -1};
    socket->stamp = NEVER;
    socket->cookie = ++host->net->next_cookie;
    return socket;
}

void socket_free(struct socket *socket) {
    struct host *host = socket->host;
    inet_unbind(socket);
    struct packet *packet;
    while ((packet = packet_queue_pop(&socket->receive)))
        packet_free(host, packet);
    error_queue_clear(socket);
    kfree(host, socket->filter);
    socket->filter = NULL;
    datagram_drop(socket);
    socket->dead = true;
    if (!socket->queued_packets)
        kfree(host, socket);
}

/* A task that sleeps in a receive takes the data itself (Linux: SOCKWQ_ASYNC_WAITDATA). */
static bool somebody_receives(const struct file *file) {
    list_for_each(node, &file->wait.waiters) {
        const struct wait_entry *entry = list_entry(node, struct wait_entry, node);
        if (entry->kind == WAIT_TASK && entry == &((const struct task *)entry->owner)->wait && entry->events & POLLIN)
            return true;
    }
    return false;
}

static void tell_owner(struct socket *socket, uint32_t events) {
    struct file *file = socket->file;
    if (events & POLLERR) {
        async_tell(socket->host, file, ASYNC_ERROR);
    } else if (events & POLLIN && events & POLLOUT) {
        return;
    } else if (events & POLLIN && !somebody_receives(file)) {
        async_tell(socket->host, file, events & POLLHUP ? ASYNC_HANG_UP : ASYNC_IN);
    } else if (events & POLLOUT && socket->no_space) {
        socket->no_space = false;
        async_tell(socket->host, file, ASYNC_OUT);
    }
}

void socket_wake(struct socket *socket, uint32_t events) {
    struct file *file = socket->file;
    socket->host->net->names_due |= socket->name_server;
    if (!file)
        return;
    if (file->flags & FASYNC)
        tell_owner(socket, events);
    wake_up(socket->host, &file->wait, events);
}

void socket_urgent(struct socket *socket) {
    if (socket->file)
        async_tell_urgent(socket->host, socket->file);
}

void socket_set_error(struct socket *socket, int error) {
    socket->error = error;
    socket_wake(socket, POLLERR | POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
}

void socket_write_space(struct socket *socket) {
    if (socket->tcp)
        tcp_write_space(socket);
    else if (socket->queued_bytes < socket->send_buffer / 2)
        socket_wake(socket, POLLOUT | POLLWRNORM | POLLWRBAND);
}

void socket_broken_pipe(struct task *task) {
    struct signal_info info = {.signo = KSIGPIPE, .u.queue.pid = task->process->pid};
    (void)signal_send_task(task, KSIGPIPE, &info);
}

/* ---- Finding the socket of a descriptor ---- */

static bool is_socket(const struct file *file) {
    return file->kind == FILE_SOCKET_INET || file->kind == FILE_SOCKET_UNIX || file->kind == FILE_SOCKET_NETLINK ||
           file->kind == FILE_SOCKET_PACKET;
}

static struct file *socket_file(struct task *task, uint64_t fd, int *error) {
    struct file *file = fd_file(task, (int)fd);
    *error = !file ? -EBADF : is_socket(file) ? 0 : -ENOTSOCK;
    return *error ? NULL : file;
}

/* The deadline of a call that starts now; a time-out that has been used up by a restart begins again, as in Linux. */
static int64_t deadline_of(const struct host *host, int64_t timeout) {
    return timeout >= NEVER - host->now ? NEVER : host->now + timeout;
}

/* What an unsuccessful wait means to the caller (Linux: sock_intr_errno). */
static int wait_result(int result, int64_t deadline, int on_timeout) {
    if (result == -ETIMEDOUT)
        return on_timeout;
    return result == -ERESTARTSYS && deadline != NEVER ? -EINTR : result;
}

/* ---- Names ---- */

static int name_from_user(uint8_t *name, uint64_t address, uint64_t length) {
    if ((int32_t)length < 0 || (uint32_t)length > SOCKET_NAME_MAX)
        return -EINVAL;
    memset(name, 0, SOCKET_NAME_MAX);
    return copy_from_user(name, address, (uint32_t)length);
}

/* The name is cut to the room there is; the length says how long it really is. */
static int name_to_user(const uint8_t *name, uint32_t length, uint64_t address, uint64_t length_address) {
    int32_t room;
    int error = copy_from_user(&room, length_address, sizeof(room));
    if (error)
        return error;
    if (room < 0)
        return -EINVAL;
    error = copy_to_user(address, name, KMIN((uint32_t)room, length));
    return error ? error : copy_to_user(length_address, &length, sizeof(length));
}

static uint32_t name_of(const struct socket *socket, uint8_t *name, bool peer) {
    switch (socket->family) {
    case AF_UNIX:
        return unix_name(socket, name, peer);
    case AF_NETLINK:
        return netlink_name(socket, name, peer);
    case AF_PACKET:
        return packet_socket_name(socket, name);
    default:
        return inet_name(socket, name, peer);
    }
}

static int64_t get_name(struct task *task, const uint64_t *a, bool peer) {
    int error;
    struct file *file = socket_file(task, a[0], &error);
    if (!file)
        return error;
    uint8_t name[SOCKET_NAME_MAX];
    if (peer && file->kind == FILE_SOCKET_PACKET)
        return -EOPNOTSUPP;
    uint32_t length = name_of(file->object, name, peer);
    return length ? name_to_user(name, length, a[1], a[2]) : -ENOTCONN;
}

int64_t sys_getsockname(struct task *task, const uint64_t *a) { return get_name(task, a, false); }

int64_t sys_getpeername(struct task *task, const uint64_t *a) { return get_name(task, a, true); }

/* ---- Creating ---- */

static int create_raw(struct task *task, int family, int protocol, struct socket **created) {
    if (!protocol)
        return -EPROTONOSUPPORT;
    *created = socket_create(task->host, family, SOCK_RAW, protocol);
    if (!*created)
        return -ENOBUFS;
    int error = raw_create(task, *created);
    if (error)
        socket_free(*created);
    return error;
}

static int create_inet(struct task *task, int family, int type, int protocol, struct socket **created) {
    struct host *host = task->host;
    if (protocol < 0 || protocol >= PROTOCOL_MAX)
        return -EINVAL;
    if (type == SOCK_RAW)
        return create_raw(task, family, protocol, created);
    if (type != SOCK_STREAM && type != SOCK_DGRAM)
        return -ESOCKTNOSUPPORT;
    int own = type == SOCK_STREAM ? PROTOCOL_TCP : PROTOCOL_UDP;
    int echo = family == AF_INET ? PROTOCOL_ICMP : PROTOCOL_ICMPV6;
    if (protocol && protocol != own)
        return type == SOCK_DGRAM && protocol == echo ? -EACCES : -EPROTONOSUPPORT;
    struct socket *socket = socket_create(host, family, type, own);
    if (!socket)
        return -ENOBUFS;
    if (type == SOCK_STREAM && tcp_create(socket)) {
        socket_free(socket);
        return -ENOBUFS;
    }
    *created = socket;
    return 0;
}

static int create_unix(struct host *host, int type, int protocol, struct socket **created) {
    if (protocol && protocol != AF_UNIX)
        return -EPROTONOSUPPORT;
    if (type == SOCK_RAW)
        type = SOCK_DGRAM;
    if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_SEQPACKET)
        return -ESOCKTNOSUPPORT;
    struct socket *socket = socket_create(host, AF_UNIX, type, 0);
    if (!socket)
        return -ENOMEM;
    if (unix_create(socket)) {
        socket_free(socket);
        return -ENOMEM;
    }
    *created = socket;
    return 0;
}

static int create_netlink(struct host *host, int type, int protocol, struct socket **created) {
    if (type != SOCK_RAW && type != SOCK_DGRAM)
        return -ESOCKTNOSUPPORT;
    if (protocol != NETLINK_ROUTE)
        return -EPROTONOSUPPORT;
    *created = socket_create(host, AF_NETLINK, type, protocol);
    return *created ? 0 : -ENOBUFS;
}

static int create_packet(struct task *task, int type, int protocol, struct socket **created) {
    if (type != SOCK_RAW && type != SOCK_DGRAM)
        return credentials_capable(task, CAP_NET_RAW) ? -ESOCKTNOSUPPORT : -EPERM;
    *created = socket_create(task->host, AF_PACKET, type, protocol);
    if (!*created)
        return -ENOBUFS;
    int error = packet_socket_create(task, *created);
    if (error)
        socket_free(*created);
    return error;
}

static int create(struct task *task, int family, int type, int protocol, struct socket **created) {
    switch (family) {
    case AF_INET:
    case AF_INET6:
        return create_inet(task, family, type, protocol, created);
    case AF_UNIX:
        return create_unix(task->host, type, protocol, created);
    case AF_NETLINK:
        return create_netlink(task->host, type, protocol, created);
    case AF_PACKET:
        return create_packet(task, type, protocol, created);
    default:
        return -EAFNOSUPPORT;
    }
}

static void destroy(struct socket *socket) {
    if (socket->family == AF_UNIX)
        unix_close(socket);
    else if (socket->protocol == PROTOCOL_TCP && socket->tcp)
        tcp_close(socket);
    else if (is_inet(socket) && socket->type == SOCK_RAW)
        raw_close(socket);
    else if (socket->family == AF_PACKET)
        packet_socket_close(socket);
    else
        socket_free(socket);
}

static enum file_kind file_kind_of(int family) {
    switch (family) {
    case AF_UNIX:
        return FILE_SOCKET_UNIX;
    case AF_NETLINK:
        return FILE_SOCKET_NETLINK;
    case AF_PACKET:
        return FILE_SOCKET_PACKET;
    default:
        return FILE_SOCKET_INET;
    }
}

/* A descriptor for the socket, which goes with it on failure. */
static int install(struct task *task, struct socket *socket, int flags) {
    uint32_t status = O_RDWR | ((flags & SOCK_NONBLOCK) ? O_NONBLOCK : 0);
    struct file *file = file_create(task->host, file_kind_of(socket->family), status, socket);
    if (!file) {
        destroy(socket);
        return -ENOMEM;
    }
    socket->file = file;
    return fd_install(task, file, 0, (flags & SOCK_CLOEXEC) != 0, -1);
}

int64_t sys_socket(struct task *task, const uint64_t *a) {
    int flags = (int)a[1] & ~SOCK_TYPE_MASK;
    if (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
        return -EINVAL;
    struct socket *socket;
    int error = create(task, (int)a[0], (int)a[1] & SOCK_TYPE_MASK, (int)a[2], &socket);
    return error ? error : install(task, socket, flags);
}

int64_t sys_socketpair(struct task *task, const uint64_t *a) {
    int type = (int)a[1] & SOCK_TYPE_MASK, flags = (int)a[1] & ~SOCK_TYPE_MASK;
    if (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
        return -EINVAL;
    if ((int)a[0] != AF_UNIX)
        return (int)a[0] == AF_INET || (int)a[0] == AF_INET6 || (int)a[0] == AF_NETLINK || (int)a[0] == AF_PACKET
                   ? -EOPNOTSUPP
                   : -EAFNOSUPPORT;
    struct socket *first, *second;
    int error = create_unix(task->host, type, (int)a[2], &first);
    if (error)
        return error;
    error = create_unix(task->host, type, (int)a[2], &second);
    if (error) {
        destroy(first);
        return error;
    }
    unix_pair(task, first, second);
    int32_t pair[2];
    pair[0] = install(task, first, flags);
    if (pair[0] < 0) {
        destroy(second);
        return pair[0];
    }
    pair[1] = install(task, second, flags);
    if (pair[1] < 0) {
        fd_close(task, pair[0]);
        return pair[1];
    }
    error = copy_to_user(a[3], pair, sizeof(pair));
    if (error) {
        fd_close(task, pair[0]);
        fd_close(task, pair[1]);
    }
    return error;
}

/* ---- Binding, listening, accepting, connecting ---- */

int64_t sys_bind(struct task *task, const uint64_t *a) {
    int error;
    struct file *file = socket_file(task, a[0], &error);
    if (!file)
        return error;
    uint8_t name[SOCKET_NAME_MAX];
    error = name_from_user(name, a[1], a[2]);
    if (error)
        return error;
    struct socket *socket = file->object;
    uint32_t length = (uint32_t)a[2];
    switch (socket->family) {
    case AF_UNIX:
        return unix_bind(task, socket, name, length);
    case AF_NETLINK:
        return netlink_bind(task, socket, name, length);
    case AF_PACKET:
        return packet_socket_bind(socket, name, length);
    default:
        return inet_bind_name(task, socket, name, length);
    }
}

static int listen_inet(struct socket *socket, int backlog) {
    if (socket->type != SOCK_STREAM)
        return -EOPNOTSUPP;
    if (socket->state != SOCKET_UNCONNECTED && socket->state != SOCKET_LISTENING)
        return -EINVAL;
    int error = socket->state == SOCKET_UNCONNECTED ? inet_autobind(socket) : 0;
    if (!error)
        error = inet_check_listen(socket);
    return error ? error : tcp_listen(socket, backlog);
}

int64_t sys_listen(struct task *task, const uint64_t *a) {
    int error;
    struct file *file = socket_file(task, a[0], &error);
    if (!file)
        return error;
    struct socket *socket = file->object;
    /* Compared unsigned, so that a negative backlog means the largest. */
    int backlog = (int)KMIN((uint32_t)a[1], (uint32_t)SOMAXCONN);
    switch (socket->family) {
    case AF_UNIX:
        return unix_listen(task, socket, backlog);
    case AF_NETLINK:
    case AF_PACKET:
        return -EOPNOTSUPP;
    default:
        return listen_inet(socket, backlog);
    }
}

static bool is_listening(const struct socket *socket) { return socket->state == SOCKET_LISTENING; }

static int64_t accept(struct task *task, const uint64_t *a, int flags) {
    int error;
    struct file *file = socket_file(task, a[0], &error);
    if (!file)
        return error;
    if (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
        return -EINVAL;
    struct socket *listener = file->object;
    if (listener->type == SOCK_DGRAM || listener->type == SOCK_RAW ||
        !(is_inet(listener) || listener->family == AF_UNIX))
        return -EOPNOTSUPP;
    int64_t deadline = deadline_of(task->host, listener->receive_timeout);
    for (;;) {
        if (!is_listening(listener))
            return -EINVAL;
        error = file_wait(task, file, POLLIN, false, deadline);
        if (error)
            return wait_result(error, deadline, -EAGAIN);
        if (listener->error) {
            error = -listener->error;
            listener->error = 0;
            return error;
        }
        /* The descriptor is reserved before the connection leaves the queue: without one it stays there. */
        uint32_t status = O_RDWR | ((flags & SOCK_NONBLOCK) ? O_NONBLOCK : 0);
        struct file *accepted = file_create(task->host, (enum file_kind)file->kind, status, NULL);
        if (!accepted)
            return -ENOMEM;
        int fd = fd_install(task, accepted, 0, (flags & SOCK_CLOEXEC) != 0, -1);
        if (fd < 0)
            return fd;
        struct socket *socket = !is_listening(listener)       ? NULL
                                : listener->family == AF_UNIX ? unix_accept(listener)
                                                              : tcp_accept(listener);
        if (!socket) {
            fd_close(task, fd);
            continue;
        }
        socket->file = accepted;
        accepted->object = socket;
        if (!a[1])
            return fd;
        uint8_t name[SOCKET_NAME_MAX];
        uint32_t length = name_of(socket, name, true);
        /* A peer that is gone already: Linux fails the call, and the connection is lost. */
        error = length ? name_to_user(name, length, a[1], a[2]) : -ECONNABORTED;
        if (error) {
            fd_close(task, fd);
            return error;
        }
        return fd;
    }
}

int64_t sys_accept(struct task *task, const uint64_t *a) { return accept(task, a, 0); }

int64_t sys_accept4(struct task *task, const uint64_t *a) { return accept(task, a, (int)a[3]); }

static int connect_inet(struct task *task, struct file *file, const uint8_t *name, uint32_t length, bool nonblocking) {
    struct socket *socket = file->object;
    int result = inet_connect(task, socket, name, length);
    if ((result != -EINPROGRESS && result != -EALREADY) || nonblocking)
        return result;
    int64_t deadline = deadline_of(task->host, socket->send_timeout);
    while (socket->state == SOCKET_CONNECTING) {
        int error = file_wait(task, file, POLLOUT, false, deadline);
        if (!error && task_signal_pending(task))
            error = -ERESTARTSYS; /* even if it has just succeeded, as in Linux */
        if (error)
            return wait_result(error, deadline, result);
    }
    return inet_connect(task, socket, name, length); /* tells how it ended */
}

static int connect_unix(struct task *task, struct file *file, const uint8_t *name, uint32_t length) {
    struct socket *socket = file->object;
    int64_t deadline = deadline_of(task->host, socket->send_timeout);
    for (;;) {
        int result = unix_connect(task, socket, name, length);
        if (result != -EAGAIN || (file->flags & O_NONBLOCK))
            return result;
        file_hold(task, file);
        result = unix_wait_room(task, deadline);
        if (result)
            return wait_result(result, deadline, -EAGAIN);
    }
}

int64_t sys_connect(struct task *task, const uint64_t *a) {
    int error;
    struct file *file = socket_file(task, a[0], &error);
    if (!file)
        return error;
    uint8_t name[SOCKET_NAME_MAX];
    error = name_from_user(name, a[1], a[2]);
    if (error)
        return error;
    struct socket *socket = file->object;
    switch (socket->family) {
    case AF_UNIX:
        return connect_unix(task, file, name, (uint32_t)a[2]);
    case AF_NETLINK:
        return 0; /* the kernel is the only peer */
    case AF_PACKET:
        return -EOPNOTSUPP;
    default:
        return connect_inet(task, file, name, (uint32_t)a[2], (file->flags & O_NONBLOCK) != 0);
    }
}

int64_t sys_shutdown(struct task *task, const uint64_t *a) {
    int error;
    struct file *file = socket_file(task, a[0], &error);
    if (!file)
        return error;
    int how = (int)a[1];
    if (how < SHUT_RD || how > SHUT_RDWR)
        return -EINVAL;
    bool read = how != SHUT_WR, write = how != SHUT_RD;
    struct socket *socket = file->object;
    if (socket->family == AF_UNIX)
        return unix_shutdown(socket, read, write);
    if (!is_inet(socket))
        return -EOPNOTSUPP;
    if (socket->type == SOCK_STREAM)
        return tcp_shutdown(socket, read, write);
    /* As in Linux, one that is not connected is shut down too: programs end the waits of others so. */
    socket->read_shutdown |= read;
    socket->write_shutdown |= write;
    socket_wake(socket, POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
    return socket->state == SOCKET_CONNECTED ? 0 : -ENOTCONN;
}

/* ---- Sending ---- */

static int64_t try_send(struct task *task, struct socket *socket, struct uio *from, int flags,
                        struct socket_message *message) {
    switch (socket->family) {
    case AF_UNIX:
        return unix_send(task, socket, from, flags, message);
    case AF_NETLINK:
        return netlink_send(task, socket, from, flags, message);
    case AF_PACKET:
        return packet_socket_send(socket, from, flags, message);
    default:
        return inet_send(task, socket, from, flags, message);
    }
}

/* Waits until sending may succeed. An unconnected Unix datagram waits for room in somebody else's queue. */
static int wait_to_send(struct task *task, struct file *file, bool nonblocking, int64_t deadline) {
    const struct socket *socket = file->object;
    if (nonblocking || (file->flags & O_NONBLOCK))
        return -EAGAIN;
    file_hold(task, file);
    int result = socket->family == AF_UNIX && socket->type == SOCK_DGRAM ? unix_wait_room(task, deadline)
                                                                         : file_sleep(task, file, POLLOUT, deadline);
    return wait_result(result, deadline, -EAGAIN);
}

/* MSG_FASTOPEN: connects first. The data follow the handshake, for nobody gives cookies. */
static int connect_by_sending(struct task *task, struct file *file, int flags, const struct socket_message *message) {
    struct socket *socket = file->object;
    uint16_t family = (uint16_t)socket->family;
    uint8_t nameless[sizeof family]; /* one that is connected says so first, and only then that this is no name */
    memcpy(nameless, &family, sizeof family);
    bool named = message->name_length != 0;
    if (message->name_length >= sizeof family)
        memcpy(&family, message->name, sizeof family);
    if (family == AF_UNSPEC)
        return -EOPNOTSUPP;
    socket->tcp->settings.fast_open_once = true;
    int result =
        connect_inet(task, file, named ? message->name : nameless,
                     named ? message->name_length : (uint32_t)sizeof nameless, socket_nonblocking(socket, flags));
    socket->tcp->settings.fast_open_once = false; /* where it came to no SYN */
    return result;
}

static int64_t send(struct task *task, struct file *file, struct uio *from, int flags, struct socket_message *message) {
    struct socket *socket = file->object;
    if ((flags & MSG_FASTOPEN) && socket->tcp) {
        int error = connect_by_sending(task, file, flags, message);
        if (error)
            return error;
    }
    int64_t deadline = deadline_of(task->host, socket->send_timeout), total = 0, result;
    bool stream = socket->type == SOCK_STREAM;
    for (;;) {
        result = try_send(task, socket, from, flags, message);
        if (result > 0)
            total += result;
        if (result >= 0 && (!stream || !from->remaining))
            return total;
        if (result > 0) {
            message->rights = NULL; /* they went with the first bytes */
            continue;
        }
        if (result != -EAGAIN)
            break;
        socket->no_space = true;
        result = wait_to_send(task, file, (flags & MSG_DONTWAIT) != 0, deadline);
        if (result)
            break;
    }
    if (total)
        return total;
    if (result == -EPIPE && stream && !(flags & MSG_NOSIGNAL))
        socket_broken_pipe(task);
    return result;
}

int64_t sys_sendto(struct task *task, const uint64_t *a) {
    int error;
    struct file *file = socket_file(task, a[0], &error);
    if (!file)
        return error;
    struct socket_message message = {.ttl = -1, .tos = -1};
    if (a[4]) {
        error = name_from_user(message.name, a[4], a[5]);
        if (error)
            return error;
        message.name_length = (uint32_t)a[5];
    }
    struct user_iovec segment = {a[1], KMIN(a[2], (uint64_t)TRANSFER_MAX)};
    struct uio from;
    uio_init(&from, &segment, 1);
    return send(task, file, &from, (int)a[3], &message);
}

/* The scatter list of a message: in `few` where it fits, else in memory that task->scratch owns. */
static int segments_from_user(struct task *task, uint64_t address, uint64_t count, struct user_iovec *few,
                              struct uio *uio) {
    if (count > SEGMENTS_MAX)
        return -EMSGSIZE;
    struct user_iovec *segments = few;
    if (count > SEGMENTS_INLINE) {
        segments = task->scratch = kalloc_raw(task->host, count * sizeof(*segments));
        if (!segments)
            return -ENOMEM;
    }
    if (copy_from_user(segments, address, count * sizeof(*segments)))
        return -EFAULT;
    uint64_t total = 0;
    for (uint64_t i = 0; i < count; i++) {
        if ((int64_t)segments[i].length < 0)
            return -EINVAL;
        segments[i].length = KMIN(segments[i].length, TRANSFER_MAX - total);
        total += segments[i].length;
    }
    uio_init(uio, segments, count);
    return 0;
}

static void scratch_free(struct task *task) {
    kfree(task->host, task->scratch);
    task->scratch = NULL;
}

/* The files of all SCM_RIGHTS items of a message, which travel and arrive as one. */
struct sent_files {
    uint32_t count;
    int32_t fds[SCM_MAX_FD];
};

static int files_from_user(struct task *task, uint64_t address, uint64_t length, struct sent_files *files) {
    uint64_t count = length / sizeof(int32_t);
    if (count > SCM_MAX_FD - files->count)
        return -EINVAL;
    int32_t *fds = files->fds + files->count;
    if (copy_from_user(fds, address, count * sizeof(fds[0])))
        return -EFAULT;
    for (uint64_t i = 0; i < count; i++)
        if (!fd_entry(task, fds[i]))
            return -EBADF;
    files->count += (uint32_t)count;
    return 0;
}

static bool is_one_of(const struct identity *identity, uint32_t id) {
    return id == identity->real || id == identity->effective || id == identity->saved;
}

/* Whether a task may say that it is this process, user and group. */
static int check_credentials(const struct task *task, const int32_t claimed[3]) {
    const struct credentials *own = task->credentials;
    if (claimed[1] == -1 || claimed[2] == -1)
        return -EINVAL;
    if ((claimed[0] != task->process->pid && !credentials_capable(task, CAP_SYS_ADMIN)) ||
        (!is_one_of(&own->user, (uint32_t)claimed[1]) && !credentials_capable(task, CAP_SETUID)) ||
        (!is_one_of(&own->group, (uint32_t)claimed[2]) && !credentials_capable(task, CAP_SETGID)))
        return -EPERM;
    return process_find(task->host, claimed[0]) ? 0 : -ESRCH;
}

/* -1 stands for what the socket has. */
static int ask6(struct packet_options *asked, int type, int32_t number) {
    if (number < (type == IPV6_DONTFRAG ? 0 : -1) || number > (type == IPV6_DONTFRAG ? 1 : 255))
        return -EINVAL;
    switch (type) {
    case IPV6_DONTFRAG:
        asked->has_dont_fragment = true;
        asked->dont_fragment = number != 0;
        return 0;
    case IPV6_TCLASS:
        asked->has_tos = number >= 0;
        asked->tos = (uint8_t)number;
        return 0;
    default:
        asked->has_ttl = number >= 0;
        asked->ttl = (uint8_t)number;
        return 0;
    }
}

/* Control data of level IPPROTO_IPV6 (RFC 3542, 6). */
static int control_item6(const struct socket *socket, const struct control_header *header, uint64_t address,
                         uint64_t length, struct socket_message *message) {
    struct packet_options *asked = &message->asked[1];
    struct in6_pktinfo information;
    int32_t number;
    switch (header->type) {
    case IPV6_PKTINFO:
    case IPV6_2292PKTINFO:
        if (length < sizeof(information))
            return -EINVAL;
        if (copy_from_user(&information, address, sizeof(information)))
            return -EFAULT;
        if (information.ipi6_ifindex && socket->bound_interface &&
            socket->bound_interface != (uint32_t)information.ipi6_ifindex)
            return -EINVAL;
        if (information.ipi6_ifindex && !interface_name((uint32_t)information.ipi6_ifindex))
            return -ENODEV;
        message->has_source = true;
        message->asked[0].interface = asked->interface = (uint32_t)information.ipi6_ifindex;
        message->local_address = ip_get(information.ipi6_addr.s6_addr);
        return 0;
    case IPV6_HOPLIMIT:
    case IPV6_2292HOPLIMIT:
    case IPV6_TCLASS:
    case IPV6_DONTFRAG:
        if (length != sizeof(number))
            return -EINVAL;
        if (copy_from_user(&number, address, sizeof(number)))
            return -EFAULT;
        return ask6(asked, header->type, number);
    default:
        return -EINVAL;
    }
}

static int control_item4(const struct control_header *header, uint64_t address, uint64_t length,
                         struct socket_message *message) {
    struct packet_options *asked = &message->asked[0];
    struct in_pktinfo information;
    int32_t number = 0;
    switch (header->type) {
    case IP_PKTINFO:
        if (length != sizeof(information))
            return -EINVAL;
        if (copy_from_user(&information, address, sizeof(information)))
            return -EFAULT;
        message->has_source = true;
        message->local_address = ip4_address(get32((const uint8_t *)&information.ipi_spec_dst));
        if (information.ipi_ifindex)
            asked->interface = (uint32_t)information.ipi_ifindex;
        return 0;
    case IP_TTL:
    case IP_TOS: /* which may also be a single byte */
        if (length != sizeof(number) && (header->type == IP_TTL || length != 1))
            return -EINVAL;
        if (copy_from_user(&number, address, length))
            return -EFAULT;
        if (number < (header->type == IP_TTL) || number > 255)
            return -EINVAL;
        *(header->type == IP_TTL ? &asked->has_ttl : &asked->has_tos) = true;
        *(header->type == IP_TTL ? &asked->ttl : &asked->tos) = (uint8_t)number;
        return 0;
    default:
        return -EINVAL;
    }
}

static int control_item(struct task *task, const struct socket *socket, const struct control_header *header,
                        uint64_t address, struct socket_message *message, struct sent_files *files) {
    uint64_t length = header->length - sizeof(*header);
    if (header->level == SOL_SOCKET && header->type == SCM_RIGHTS)
        return socket->family == AF_UNIX ? files_from_user(task, address, length, files) : 0;
    if (header->level == SOL_SOCKET && header->type == SCM_CREDENTIALS) {
        if (is_inet(socket))
            return 0;
        if (length != sizeof(message->credentials))
            return -EINVAL;
        message->has_credentials = true;
        if (copy_from_user(message->credentials, address, sizeof(message->credentials)))
            return -EFAULT;
        return check_credentials(task, message->credentials);
    }
    if (header->level == SOL_SOCKET && (header->type == SO_TIMESTAMPING_OLD || header->type == SO_TIMESTAMPING_NEW) &&
        timestamping_serves(socket)) {
        uint32_t flags;
        if (length != sizeof(flags))
            return -EINVAL;
        return copy_from_user(&flags, address, length) ? -EFAULT : timestamping_asked(flags, message);
    }
    if (header->level == IPPROTO_IPV6 && socket->family == AF_INET6)
        return control_item6(socket, header, address, length, message);
    if (header->level == IPPROTO_IP && is_inet(socket))
        return control_item4(header, address, length, message);
    return header->level == SOL_SOCKET ? -EINVAL : 0; /* other levels are not looked at */
}

static int control_from_user(struct task *task, const struct socket *socket, const struct user_message *user,
                             struct socket_message *message) {
    if (user->control_length > INT32_MAX)
        return -ENOBUFS;
    struct sent_files files = {.count = 0};
    uint64_t at = 0;
    while (user->control_length >= sizeof(struct control_header) &&
           at <= user->control_length - sizeof(struct control_header)) {
        struct control_header header;
        if (copy_from_user(&header, user->control + at, sizeof(header)))
            return -EFAULT;
        if (header.length < sizeof(header) || header.length > user->control_length - at)
            return -EINVAL;
        int error = control_item(task, socket, &header, user->control + at + sizeof(header), message, &files);
        if (error)
            return error;
        at += CONTROL_ALIGN(header.length);
    }
    return files.count ? rights_create(task, files.fds, files.count, &message->rights) : 0;
}

static int64_t send_message(struct task *task, struct file *file, const struct user_message *user, int flags) {
    struct socket *socket = file->object;
    struct socket_message message = {.ttl = -1, .tos = -1};
    struct user_iovec few[SEGMENTS_INLINE];
    struct uio from;
    int64_t result = 0;
    if (user->name && user->name_length) {
        message.name_length = KMIN(user->name_length, SOCKET_NAME_MAX);
        result =
            (int32_t)user->name_length < 0 ? -EINVAL : copy_from_user(message.name, user->name, message.name_length);
    }
    if (!result)
        result = segments_from_user(task, user->segments, user->segment_count, few, &from);
    if (!result && user->control)
        result = control_from_user(task, socket, user, &message);
    if (!result)
        result = send(task, file, &from, flags, &message);
    rights_drop(task->host, message.rights);
    scratch_free(task);
    return result;
}

int64_t sys_sendmsg(struct task *task, const uint64_t *a) {
    int error;
    struct file *file = socket_file(task, a[0], &error);
    if (!file)
        return error;
    struct user_message user;
    error = copy_from_user(&user, a[1], sizeof(user));
    return error ? error : send_message(task, file, &user, (int)a[2]);
}

int64_t sys_sendmmsg(struct task *task, const uint64_t *a) {
    int error;
    struct file *file = socket_file(task, a[0], &error);
    if (!file)
        return error;
    uint32_t count = KMIN((uint32_t)a[2], SEGMENTS_MAX), sent = 0;
    file_hold(task, file);
    for (; sent < count; sent++) {
        uint64_t address = a[1] + sent * sizeof(struct user_message_vector);
        struct user_message user;
        int64_t result = copy_from_user(&user, address, sizeof(user));
        if (!result)
            result = send_message(task, file, &user, (int)a[3]);
        if (result >= 0) {
            uint32_t length = (uint32_t)result;
            result = copy_to_user(address + offsetof(struct user_message_vector, length), &length, sizeof(length));
        }
        if (result < 0)
            return sent ? sent : result;
        /* As in Linux, each message over loopback has arrived when the next one is sent. */
        net_run_backlog(task->host);
    }
    return sent;
}

/* ---- Receiving ---- */

static int64_t try_receive(struct task *task, struct socket *socket, struct uio *to, int flags,
                           struct socket_message *message) {
    switch (socket->family) {
    case AF_UNIX:
        return unix_receive(task, socket, to, flags, message);
    case AF_NETLINK:
        return netlink_receive(task, socket, to, flags, message);
    case AF_PACKET:
        return packet_socket_receive(socket, to, flags, message);
    default:
        return inet_receive(task, socket, to, flags, message);
    }
}

static int64_t receive(struct task *task, struct file *file, struct uio *to, int flags,
                       struct socket_message *message) {
    struct socket *socket = file->object;
    if ((flags & MSG_ERRQUEUE) && (is_inet(socket) || socket->family == AF_PACKET))
        return error_queue_receive(socket, to, message);
    bool stream = socket->type == SOCK_STREAM;
    size_t wanted = 0; /* a stream's receive goes on until it has so much */
    if (stream && !(flags & MSG_PEEK))
        wanted = (flags & MSG_WAITALL) ? to->remaining : KMIN(to->remaining, (size_t)KMAX(socket->low_water, 1));
    int64_t deadline = deadline_of(task->host, socket->receive_timeout);
    int64_t total = 0, result;
    for (;;) {
        message->goes_on = total > 0;
        result = try_receive(task, socket, to, flags, message);
        if (result > 0)
            total += result;
        if (result == 0 || (result > 0 && ((size_t)total >= wanted || message->ends)))
            return total;
        if (result == -ERESTARTSYS)
            result = wait_result((int)result, deadline, -EAGAIN);
        if (result < 0 && result != -EAGAIN)
            break;
        /* A datagram socket that was shut down is ready, and yet has nothing for those who do not wait. */
        result = socket_nonblocking(socket, flags) ? -EAGAIN : file_sleep(task, file, POLLIN, deadline);
        if (result) {
            result = wait_result((int)result, deadline, -EAGAIN);
            break;
        }
    }
    return total ? total : result;
}

int64_t sys_recvfrom(struct task *task, const uint64_t *a) {
    int error;
    struct file *file = socket_file(task, a[0], &error);
    if (!file)
        return error;
    struct socket_message message = {.ttl = -1, .tos = -1};
    struct user_iovec segment = {a[1], KMIN(a[2], (uint64_t)TRANSFER_MAX)};
    struct uio to;
    uio_init(&to, &segment, 1);
    int64_t received = receive(task, file, &to, (int)a[3], &message);
    rights_drop(task->host, message.rights); /* there is no room for them in this call */
    if (received < 0 || !a[4])
        return received;
    error = name_to_user(message.name, message.name_length, a[4], a[5]);
    return error ? error : received;
}

struct control_writer {
    uint64_t address, room, used;
    bool cut;
};

/* One item of control data; cut where room ends (Linux: put_cmsg). */
static int control_put(struct control_writer *writer, int level, int type, const void *data, uint32_t length) {
    uint64_t room = writer->room - writer->used;
    if (room < sizeof(struct control_header)) {
        writer->cut = true;
        return 0;
    }
    struct control_header header = {sizeof(header) + length, level, type};
    if (header.length > room) {
        writer->cut = true;
        header.length = room;
    }
    uint64_t at = writer->address + writer->used;
    if (copy_to_user(at, &header, sizeof(header)) ||
        copy_to_user(at + sizeof(header), data, header.length - sizeof(header)))
        return -EFAULT;
    writer->used += KMIN(CONTROL_ALIGN(sizeof(header) + length), room);
    return 0;
}

static int put_rights(struct task *task, struct control_writer *writer, struct socket_message *message, int flags) {
    uint64_t room = writer->room - writer->used, header = sizeof(struct control_header);
    uint32_t fits = room <= header ? 0 : (uint32_t)KMIN((room - header) / sizeof(int32_t), (uint64_t)SCM_MAX_FD);
    uint32_t count = message->rights->count;
    int32_t numbers[SCM_MAX_FD];
    uint32_t taken = rights_take(task, message->rights, (flags & MSG_CMSG_CLOEXEC) != 0, numbers, fits);
    message->rights = NULL;
    if (taken < count)
        writer->cut = true;
    return taken ? control_put(writer, SOL_SOCKET, SCM_RIGHTS, numbers, (uint32_t)(taken * sizeof(int32_t))) : 0;
}

static int put_time(struct control_writer *writer, const struct socket *socket, int64_t time) {
    static const int types[2][2] = {{SO_TIMESTAMP_OLD, SO_TIMESTAMPNS_OLD}, {SO_TIMESTAMP_NEW, SO_TIMESTAMPNS_NEW}};
    int64_t real = EPOCH_SECONDS * NS_PER_S + time;
    int64_t stamp[2] = {real / NS_PER_S, real % NS_PER_S};
    if (!socket->timestamp_ns)
        stamp[1] /= NS_PER_US;
    return control_put(writer, SOL_SOCKET, types[socket->stamping.new][socket->timestamp_ns], stamp, sizeof(stamp));
}

/* struct scm_timestamping: by software, and two of hardware. */
static int put_stamping(struct control_writer *writer, const struct socket *socket, int64_t time) {
    int64_t real = EPOCH_SECONDS * NS_PER_S + time;
    int64_t stamps[3][2] = {{real / NS_PER_S, real % NS_PER_S}, {0, 0}, {0, 0}};
    return control_put(writer, SOL_SOCKET, socket->stamping.new ? SO_TIMESTAMPING_NEW : SO_TIMESTAMPING_OLD, stamps,
                       sizeof(stamps));
}

static int put_packet_info(struct control_writer *writer, const struct socket *socket,
                           const struct socket_message *message) {
    uint32_t local = ip_v4(message->local_address);
    bool loopback = message->has_error ? message->interface == INTERFACE_LO : local != socket->host->address;
    struct in_pktinfo information = {.ipi_ifindex = (int)(loopback ? INTERFACE_LO : INTERFACE_ETH)};
    put32((uint8_t *)&information.ipi_spec_dst, message->has_error ? ip_v4(message->error.offender) : local);
    put32((uint8_t *)&information.ipi_addr, local);
    return control_put(writer, IPPROTO_IP, IP_PKTINFO, &information, sizeof(information));
}

static int put_packet_info6(struct control_writer *writer, const struct socket_message *message) {
    struct in6_pktinfo information = {.ipi6_ifindex = (int)message->interface};
    ip_put(information.ipi6_addr.s6_addr, message->local_address);
    return control_put(writer, IPPROTO_IPV6, IPV6_PKTINFO, &information, sizeof(information));
}

/* What the options ask to hear of a datagram's IP header. */
static int put_about_v4(struct control_writer *writer, const struct socket *socket,
                        const struct socket_message *message) {
    int error = 0;
    uint8_t tos = (uint8_t)message->tos;
    if (socket->packet_info)
        error = put_packet_info(writer, socket, message);
    if (!error && socket->packet_ttl)
        error = control_put(writer, IPPROTO_IP, IP_TTL, &message->ttl, sizeof(message->ttl));
    if (!error && socket->packet_tos)
        error = control_put(writer, IPPROTO_IP, IP_TOS, &tos, sizeof(tos));
    return error;
}

static int put_about_v6(struct control_writer *writer, const struct socket *socket,
                        const struct socket_message *message) {
    int error = 0;
    if (socket->v6.packet_hops)
        error = control_put(writer, IPPROTO_IPV6, IPV6_HOPLIMIT, &message->ttl, sizeof(message->ttl));
    if (!error && socket->v6.packet_class)
        error = control_put(writer, IPPROTO_IPV6, IPV6_TCLASS, &message->tos, sizeof(message->tos));
    return error;
}

static int put_error(struct control_writer *writer, const struct socket *socket, const struct extended_error *error) {
    uint8_t control[ERROR_CONTROL_MAX];
    bool v6 = socket->family == AF_INET6;
    uint32_t length = error_queue_control(socket, error, control);
    return control_put(writer, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVERR : IP_RECVERR, control, length);
}

static int control_to_user(struct task *task, const struct socket *socket, struct socket_message *message, int flags,
                           struct control_writer *writer) {
    int error = 0;
    if (message->has_time && socket->timestamp)
        error = put_time(writer, socket, message->time);
    if (!error && timestamping_shows(socket, message))
        error = put_stamping(writer, socket, message->time);
    if (!error && message->has_unread)
        error = control_put(writer, SOL_TCP, TCP_INQ, &message->unread, sizeof(message->unread));
    if (!error && socket->hints.tell_drops && message->drops)
        error = control_put(writer, SOL_SOCKET, SO_RXQ_OVFL, &message->drops, sizeof(message->drops));
    if (!error && socket->v6.packet_info && message->has_source)
        error = put_packet_info6(writer, message);
    if (!error && message->has_source)
        error = ip_is_v4(message->local_address) ? put_about_v4(writer, socket, message)
                                                 : put_about_v6(writer, socket, message);
    if (!error && message->has_error)
        error = put_error(writer, socket, &message->error);
    if (!error && socket->pass_credentials && message->has_credentials)
        error = control_put(writer, SOL_SOCKET, SCM_CREDENTIALS, message->credentials, sizeof(message->credentials));
    if (!error && message->has_auxiliary)
        error = control_put(writer, SOL_PACKET, PACKET_AUXDATA, &message->auxiliary, sizeof(message->auxiliary));
    if (!error && message->rights)
        error = put_rights(task, writer, message, flags);
    return error;
}

static int64_t receive_message(struct task *task, struct file *file, uint64_t address, int flags) {
    struct user_message user;
    if (copy_from_user(&user, address, sizeof(user)))
        return -EFAULT;
    if ((int32_t)user.name_length < 0)
        return -EINVAL;
    struct socket_message message = {.ttl = -1, .tos = -1};
    struct user_iovec few[SEGMENTS_INLINE];
    struct uio to;
    int64_t received = segments_from_user(task, user.segments, user.segment_count, few, &to);
    if (!received)
        received = receive(task, file, &to, flags, &message);
    if (received >= 0) {
        struct control_writer writer = {user.control, user.control ? user.control_length : 0, 0, false};
        int error = control_to_user(task, file->object, &message, flags, &writer);
        if (!error && user.name) {
            error = copy_to_user(user.name, message.name, KMIN(user.name_length, message.name_length));
            user.name_length = message.name_length;
        }
        user.control_length = writer.used;
        user.flags = (uint32_t)(message.out_flags | (writer.cut ? MSG_CTRUNC : 0) | (flags & MSG_CMSG_CLOEXEC));
        if (!error)
            error = copy_to_user(address, &user, sizeof(user));
        if (error)
            received = error;
    }
    rights_drop(task->host, message.rights);
    scratch_free(task);
    return received;
}

int64_t sys_recvmsg(struct task *task, const uint64_t *a) {
    int error;
    struct file *file = socket_file(task, a[0], &error);
    return file ? receive_message(task, file, a[1], (int)a[2]) : error;
}

/* What is left of a time-out after the last message, as Linux leaves it to the program. */
static int put_time_left(int64_t deadline, int64_t now, uint64_t address) {
    int64_t left = KMAX(deadline - now, INT64_C(0));
    const struct __kernel_timespec timeout = {left / NS_PER_S, left % NS_PER_S};
    return deadline == NEVER ? 0 : copy_to_user(address, &timeout, sizeof(timeout));
}

int64_t sys_recvmmsg(struct task *task, const uint64_t *a) {
    int error;
    struct file *file = socket_file(task, a[0], &error);
    if (!file)
        return error;
    int flags = (int)a[3];
    int64_t deadline = NEVER;
    if (a[4]) {
        struct __kernel_timespec timeout;
        if (copy_from_user(&timeout, a[4], sizeof(timeout)))
            return -EFAULT;
        if (timeout.tv_sec < 0 || timeout.tv_nsec < 0 || timeout.tv_nsec >= NS_PER_S)
            return -EINVAL;
        if (timeout.tv_sec < NEVER / NS_PER_S - 1)
            deadline = deadline_of(task->host, timeout.tv_sec * NS_PER_S + timeout.tv_nsec);
    }
    struct socket *socket = file->object;
    if (socket->error)
        return socket_take_error(socket);
    uint32_t count = KMIN((uint32_t)a[2], SEGMENTS_MAX), received = 0;
    int64_t received_at = 0;
    file_hold(task, file);
    while (received < count) {
        uint64_t address = a[1] + received * sizeof(struct user_message_vector);
        int64_t result = receive_message(task, file, address, flags & ~MSG_WAITFORONE);
        if (result >= 0) {
            uint32_t length = (uint32_t)result;
            result = copy_to_user(address + offsetof(struct user_message_vector, length), &length, sizeof(length));
        }
        if (result < 0) {
            if (!received)
                return result;
            if (result != -EAGAIN)
                socket->error = (int)-result; /* the next call tells */
            break;
        }
        received++;
        received_at = task->host->now;
        if (flags & MSG_WAITFORONE)
            flags |= MSG_DONTWAIT;
        /* Linux looks at the time-out only here, after each message. */
        if (received_at >= deadline)
            break;
    }
    if (received && put_time_left(deadline, received_at, a[4]))
        return -EFAULT;
    return received;
}

/* ---- Options of level SOL_SOCKET ---- */

static int set_timeout(int64_t *timeout, const void *value, uint32_t length) {
    struct __kernel_sock_timeval given;
    if (length < sizeof(given))
        return -EINVAL;
    memcpy(&given, value, sizeof(given));
    if (given.tv_usec < 0 || given.tv_usec >= 1000000)
        return -EDOM;
    if (given.tv_sec < 0)
        *timeout = 0;
    else if ((!given.tv_sec && !given.tv_usec) || given.tv_sec >= NEVER / NS_PER_S - 1)
        *timeout = NEVER;
    else
        *timeout = given.tv_sec * NS_PER_S + given.tv_usec * NS_PER_US;
    return 0;
}

/* Linux doubles what is asked for, to have room for its own structures. */
static uint32_t buffer_size(int32_t asked, bool force, uint32_t minimum) {
    uint32_t size = asked < 0 ? (uint32_t)INT32_MAX / 2 : (uint32_t)asked;
    if (!force)
        size = KMIN(size, BUFFER_MAX);
    size = KMIN(size, (uint32_t)INT32_MAX / 2);
    return KMAX(size * 2, minimum);
}

static int bind_to_device(struct socket *socket, const void *value, uint32_t length) {
    char name[16] = {0};
    memcpy(name, value, KMIN(length, (uint32_t)sizeof(name) - 1));
    if (!name[0]) {
        socket->bound_interface = 0;
        return 0;
    }
    uint32_t interface = interface_of_name(name);
    if (!interface)
        return -ENODEV;
    socket->bound_interface = interface;
    return 0;
}

/* Whether the task lacks what setting this option to this value takes (sk_setsockopt of Linux). */
static int check_privilege(const struct task *task, int name, int32_t number) {
    bool admin = credentials_capable(task, CAP_NET_ADMIN);
    switch (name) {
    case SO_DEBUG:
        return number && !admin ? -EACCES : 0;
    case SO_SNDBUFFORCE:
    case SO_RCVBUFFORCE:
        return admin ? 0 : -EPERM;
    case SO_PREFER_BUSY_POLL:
        return number && !admin ? -EPERM : 0;
    case SO_PRIORITY:
        if (number >= 0 && number <= PRIORITY_OF_ALL)
            return 0;
        __attribute__((fallthrough));
    case SO_MARK:
        return admin || credentials_capable(task, CAP_NET_RAW) ? 0 : -EPERM;
    default:
        return 0;
    }
}

/* -ENOPROTOOPT: no option of these. */
static int set_hint(struct socket_hints *hints, int name, int32_t number) {
    switch (name) {
    case SO_DEBUG:
        hints->debug = number != 0;
        return 0;
    case SO_NO_CHECK:
        hints->no_checksum = number != 0;
        return 0;
    case SO_RXQ_OVFL:
        hints->tell_drops = number != 0;
        return 0;
    case SO_SELECT_ERR_QUEUE:
        hints->errors_urgent = number != 0;
        return 0;
    case SO_PREFER_BUSY_POLL:
        hints->prefer_busy_poll = number != 0;
        return 0;
    case SO_BUSY_POLL:
        if (number < 0)
            return -EINVAL;
        hints->busy_poll_us = number;
        return 0;
    case SO_INCOMING_CPU:
        hints->incoming_cpu = number;
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

static int get_hint(const struct socket_hints *hints, int name, int32_t *number) {
    switch (name) {
    case SO_DEBUG:
        *number = hints->debug;
        return 0;
    case SO_NO_CHECK:
        *number = hints->no_checksum;
        return 0;
    case SO_RXQ_OVFL:
        *number = hints->tell_drops;
        return 0;
    case SO_SELECT_ERR_QUEUE:
        *number = hints->errors_urgent;
        return 0;
    case SO_PREFER_BUSY_POLL:
        *number = hints->prefer_busy_poll;
        return 0;
    case SO_BUSY_POLL:
        *number = hints->busy_poll_us;
        return 0;
    case SO_INCOMING_CPU:
        *number = hints->incoming_cpu;
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

static int set_number(struct socket *socket, int name, int32_t number) {
    switch (name) {
    case SO_REUSEADDR:
        socket->reuse_address = number != 0;
        return 0;
    case SO_REUSEPORT:
        socket->reuse_port = number != 0;
        return 0;
    case SO_KEEPALIVE:
        socket->keepalive = number != 0;
        if (socket->protocol == PROTOCOL_TCP)
            tcp_arm_keepalive(socket->tcp);
        return 0;
    case SO_BROADCAST:
        socket->broadcast = number != 0;
        return 0;
    case SO_SNDBUF:
    case SO_SNDBUFFORCE:
        socket->send_buffer = buffer_size(number, name == SO_SNDBUFFORCE, SEND_BUFFER_MIN);
        socket->send_buffer_set = true;
        socket_wake(socket, POLLOUT | POLLWRNORM);
        return 0;
    case SO_RCVBUF:
    case SO_RCVBUFFORCE:
        socket->receive_buffer = buffer_size(number, name == SO_RCVBUFFORCE, RECEIVE_BUFFER_MIN);
        socket->receive_buffer_set = true;
        return 0;
    case SO_RCVLOWAT:
        socket->low_water = number < 0 ? INT32_MAX : number ? number : 1;
        return 0;
    case SO_PRIORITY:
        socket->priority = number;
        return 0;
    case SO_MARK:
        socket->mark = number;
        return 0;
    case SO_TIMESTAMP_OLD:
    case SO_TIMESTAMP_NEW:
    case SO_TIMESTAMPNS_OLD:
    case SO_TIMESTAMPNS_NEW:
        socket->timestamp = number != 0;
        socket->timestamp_ns = number && (name == SO_TIMESTAMPNS_OLD || name == SO_TIMESTAMPNS_NEW);
        if (number)
            socket->stamping.new = name == SO_TIMESTAMP_NEW || name == SO_TIMESTAMPNS_NEW;
        return 0;
    case SO_PASSCRED:
        if (socket->family != AF_UNIX && socket->family != AF_NETLINK)
            return -EOPNOTSUPP;
        socket->pass_credentials = number != 0;
        return 0;
    case SO_OOBINLINE:
        socket->out_of_band_inline = number != 0;
        return 0;
    case SO_DONTROUTE:
        socket->dont_route = number != 0;
        return 0;
    case SO_BINDTOIFINDEX: /* as in Linux, also of an interface that is not there */
        if (number < 0)
            return -EINVAL;
        socket->bound_interface = (uint32_t)number;
        return 0;
    case SO_TYPE:
    case SO_PROTOCOL:
    case SO_DOMAIN:
    case SO_ERROR:
    case SO_ACCEPTCONN:
    case SO_SNDLOWAT:
        return -ENOPROTOOPT;
    default:
        return set_hint(&socket->hints, name, number);
    }
}

/* Datagrams and frames pass through programs; nobody's streams do here. */
static bool may_filter(const struct socket *socket) {
    return socket->family == AF_PACKET || (is_inet(socket) && socket->type != SOCK_STREAM);
}

static int set_filter(struct socket *socket, int name, const void *value, uint32_t length) {
    int32_t number;
    if (length < sizeof(number))
        return -EINVAL;
    memcpy(&number, value, sizeof(number));
    if (socket->filter_locked && (name != SO_LOCK_FILTER || !number))
        return -EPERM;
    switch (name) {
    case SO_ATTACH_FILTER:
        return filter_attach(socket->host, &socket->filter, value, length);
    case SO_DETACH_FILTER:
        if (!socket->filter)
            return -ENOENT;
        kfree(socket->host, socket->filter);
        socket->filter = NULL;
        return 0;
    default:
        socket->filter_locked = number != 0;
        return 0;
    }
}

/* Lengths are numbers of instructions. */
static int64_t get_filter(const struct socket *socket, uint64_t value, uint64_t length_address, uint32_t room) {
    const struct filter *filter = socket->filter;
    uint32_t length = filter ? filter->length : 0;
    if (room && length) {
        if (room < length)
            return -EINVAL;
        if (copy_to_user(value, filter->program, length * sizeof(filter->program[0])))
            return -EFAULT;
    }
    return copy_to_user(length_address, &length, sizeof(length));
}

uint32_t socket_filtered(const struct socket *socket, const struct packet *packet, uint32_t begin) {
    uint32_t whole = packet->length - begin;
    if (!socket->filter)
        return whole;
    const struct filter_input input = {.bytes = packet->data,
                                       .length = packet->length,
                                       .begin = begin,
                                       .protocol = packet_is_v6(packet) ? ETHERTYPE_IP6 : ETHERTYPE_IP,
                                       .kind = PACKET_HOST,
                                       .interface = inet_interface(socket->host, packet_source(packet))};
    return KMIN(filter_run(socket->host, socket->filter, &input), whole);
}

static int set_socket_option(struct task *task, struct socket *socket, int name, const void *value, uint32_t length) {
    if (name == SO_BINDTODEVICE)
        return bind_to_device(socket, value, length);
    if ((name == SO_ATTACH_FILTER || name == SO_DETACH_FILTER || name == SO_LOCK_FILTER) && may_filter(socket))
        return set_filter(socket, name, value, length);
    if (length < sizeof(int32_t))
        return -EINVAL;
    int32_t number;
    memcpy(&number, value, sizeof(number));
    switch (name) {
    case SO_LINGER: {
        int32_t seconds;
        if (length < 2 * sizeof(int32_t))
            return -EINVAL;
        memcpy(&seconds, (const uint8_t *)value + sizeof(number), sizeof(seconds));
        socket->linger = number != 0;
        if (number)
            socket->linger_seconds = seconds;
        return 0;
    }
    case SO_RCVTIMEO_OLD:
    case SO_RCVTIMEO_NEW:
        return set_timeout(&socket->receive_timeout, value, length);
    case SO_SNDTIMEO_OLD:
    case SO_SNDTIMEO_NEW:
        return set_timeout(&socket->send_timeout, value, length);
    case SO_TIMESTAMPING_OLD:
    case SO_TIMESTAMPING_NEW:
        return timestamping_serves(socket) ? timestamping_set(socket, name == SO_TIMESTAMPING_NEW, value, length)
                                           : -ENOPROTOOPT;
    default:
        break;
    }
    int error = check_privilege(task, name, number);
    return error ? error : set_number(socket, name, number);
}

int64_t sys_setsockopt(struct task *task, const uint64_t *a) {
    int error;
    struct file *file = socket_file(task, a[0], &error);
    if (!file)
        return error;
    int level = (int)a[1], name = (int)a[2];
    if ((int32_t)a[4] < 0)
        return -EINVAL;
    uint32_t length = KMIN((uint32_t)a[4], OPTION_MAX);
    uint8_t value[OPTION_MAX];
    if (copy_from_user(value, a[3], length))
        return -EFAULT;
    struct socket *socket = file->object;
    if (level == SOL_SOCKET)
        error = set_socket_option(task, socket, name, value, length);
    else if (is_inet(socket))
        error = inet_set_option(task, socket, level, name, value, length);
    else if (socket->family == AF_PACKET && level == SOL_PACKET)
        error = packet_socket_set_option(socket, name, value, length);
    else if (socket->family == AF_NETLINK && level == SOL_NETLINK)
        error = netlink_set_option(socket, name, value, length);
    else
        error = socket->family == AF_UNIX ? -EOPNOTSUPP : -ENOPROTOOPT;
    /* Linux has no IPv6 options on other sockets either. */
    if (error == -ENOPROTOOPT && (level != PROTOCOL_IPV6 || socket->family == AF_INET6))
        platform_warn(task->host, task, "setsockopt: level %d option %d is not supported", level, name);
    return error;
}

static int get_number(struct socket *socket, int name, int32_t *number) {
    switch (name) {
    case SO_ERROR:
        *number = socket->error;
        socket->error = 0;
        return 0;
    case SO_TYPE:
        *number = socket->type;
        return 0;
    case SO_DOMAIN:
        *number = socket->family;
        return 0;
    case SO_PROTOCOL:
        *number = socket->protocol;
        return 0;
    case SO_ACCEPTCONN:
        *number = is_listening(socket);
        return 0;
    case SO_REUSEADDR:
        *number = socket->reuse_address;
        return 0;
    case SO_REUSEPORT:
        *number = socket->reuse_port;
        return 0;
    case SO_KEEPALIVE:
        *number = socket->keepalive;
        return 0;
    case SO_BROADCAST:
        *number = socket->broadcast;
        return 0;
    case SO_SNDBUF:
        *number = (int32_t)socket->send_buffer;
        return 0;
    case SO_RCVBUF:
        *number = (int32_t)socket->receive_buffer;
        return 0;
    case SO_RCVLOWAT:
        *number = socket->low_water;
        return 0;
    case SO_SNDLOWAT:
        *number = 1;
        return 0;
    case SO_PRIORITY:
        *number = socket->priority;
        return 0;
    case SO_MARK:
        *number = socket->mark;
        return 0;
    case SO_TIMESTAMP_OLD:
        *number = socket->timestamp && !socket->timestamp_ns && !socket->stamping.new;
        return 0;
    case SO_TIMESTAMP_NEW:
        *number = socket->timestamp && socket->stamping.new;
        return 0;
    case SO_TIMESTAMPNS_OLD:
        *number = socket->timestamp_ns && !socket->stamping.new;
        return 0;
    case SO_TIMESTAMPNS_NEW:
        *number = socket->timestamp_ns && socket->stamping.new;
        return 0;
    case SO_PASSCRED:
        *number = socket->pass_credentials;
        return 0;
    case SO_BINDTOIFINDEX:
        *number = (int32_t)socket->bound_interface;
        return 0;
    case SO_OOBINLINE:
        *number = socket->out_of_band_inline;
        return 0;
    case SO_DONTROUTE:
        *number = socket->dont_route;
        return 0;
    case SO_LOCK_FILTER:
        *number = socket->filter_locked;
        return 0;
    case SO_BPF_EXTENSIONS: /* what else programs can load: SKF_AD_* below this */
        *number = SKF_AD_MAX;
        return 0;
    case SO_INCOMING_NAPI_ID:
        *number = 0;
        return 0;
    default:
        return get_hint(&socket->hints, name, number);
    }
}

static uint32_t put_value(void *value, uint32_t room, const void *bytes, size_t length) {
    uint32_t copied = KMIN(room, (uint32_t)length);
    memcpy(value, bytes, copied);
    return copied;
}

static uint32_t put_timeout(void *value, uint32_t room, int64_t timeout) {
    int64_t pair[2] = {0, 0};
    if (timeout != NEVER) {
        pair[0] = timeout / NS_PER_S;
        pair[1] = timeout % NS_PER_S / NS_PER_US;
    }
    return put_value(value, room, pair, sizeof(pair));
}

static int get_socket_option(struct socket *socket, int name, uint8_t *value, uint32_t *length) {
    uint32_t room = *length;
    int32_t number;
    switch (name) {
    case SO_TIMESTAMPING_OLD:
    case SO_TIMESTAMPING_NEW: {
        uint32_t pair[2];
        timestamping_get(socket, name == SO_TIMESTAMPING_NEW, pair);
        *length = put_value(value, room, pair, sizeof(pair));
        return 0;
    }
    case SO_LINGER: {
        int32_t pair[2] = {socket->linger, socket->linger_seconds};
        *length = put_value(value, room, pair, sizeof(pair));
        return 0;
    }
    case SO_RCVTIMEO_OLD:
    case SO_RCVTIMEO_NEW:
        *length = put_timeout(value, room, socket->receive_timeout);
        return 0;
    case SO_SNDTIMEO_OLD:
    case SO_SNDTIMEO_NEW:
        *length = put_timeout(value, room, socket->send_timeout);
        return 0;
    case SO_PEERCRED: {
        static const int32_t nobody[3] = {0, -1, -1};
        *length = put_value(value, room, socket->peer[0] ? socket->peer : nobody, sizeof(nobody));
        return 0;
    }
    case SO_PEERNAME: {
        uint8_t name_bytes[SOCKET_NAME_MAX];
        uint32_t name_length = name_of(socket, name_bytes, true);
        if (!name_length)
            return -ENOTCONN;
        if (name_length < room)
            room = name_length;
        *length = put_value(value, room, name_bytes, name_length);
        return 0;
    }
    case SO_PEERSEC:
        return -ENOPROTOOPT;
    case SO_BINDTODEVICE: {
        const char *device = socket->bound_interface ? interface_name(socket->bound_interface) : "";
        if (!device)
            return -ENODEV;
        size_t size = socket->bound_interface ? strlen(device) + 1 : 0;
        if (room < size)
            return -EINVAL;
        *length = put_value(value, room, device, size);
        return 0;
    }
    case SO_COOKIE:
        if (room < sizeof(socket->cookie))
            return -EINVAL;
        *length = put_value(value, room, &socket->cookie, sizeof(socket->cookie));
        return 0;
    case SO_MEMINFO: {
        uint32_t memory[9] = {socket->receive_used,
                              socket->receive_buffer,
                              socket->queued_bytes,
                              socket->send_buffer,
                              0,
                              socket->send_used,
                              0,
                              0,
                              (uint32_t)socket->drops};
        *length = put_value(value, room, memory, sizeof(memory));
        return 0;
    }
    default: {
        int error = get_number(socket, name, &number);
        if (!error)
            *length = put_value(value, room, &number, sizeof(number));
        return error;
    }
    }
}

int64_t sys_getsockopt(struct task *task, const uint64_t *a) {
    int error;
    struct file *file = socket_file(task, a[0], &error);
    if (!file)
        return error;
    int level = (int)a[1], name = (int)a[2];
    int32_t room;
    if (copy_from_user(&room, a[4], sizeof(room)))
        return -EFAULT;
    if (room < 0)
        return -EINVAL;
    uint8_t value[OPTION_MAX];
    uint32_t length = KMIN((uint32_t)room, OPTION_MAX);
    struct socket *socket = file->object;
    if (level == SOL_SOCKET && name == SO_GET_FILTER && may_filter(socket))
        return get_filter(socket, a[3], a[4], (uint32_t)room);
    if (level == SOL_SOCKET) {
        error = get_socket_option(socket, name, value, &length);
    } else if (is_inet(socket)) {
        error = inet_get_option(socket, level, name, value, &length);
    } else if (socket->family == AF_NETLINK && level == SOL_NETLINK) {
        error = netlink_get_option(socket, name, value, &length);
    } else if (socket->family == AF_PACKET && level == SOL_PACKET) {
        if (copy_from_user(value, a[3], KMIN(length, (uint32_t)sizeof(int32_t)))) /* some options are questions */
            return -EFAULT;
        error = packet_socket_get_option(socket, name, value, &length);
    } else {
        error = socket->family == AF_UNIX ? -EOPNOTSUPP : -ENOPROTOOPT;
    }
    if (error == -ENOPROTOOPT && (level != PROTOCOL_IPV6 || socket->family == AF_INET6))
        platform_warn(task->host, task, "getsockopt: level %d option %d is not supported", level, name);
    if (error)
        return error;
    if (copy_to_user(a[3], value, length))
        return -EFAULT;
    return copy_to_user(a[4], &length, sizeof(length));
}

int64_t socket_stamp_ioctl(const struct socket *socket, uint32_t command, uint64_t argument) {
    bool microseconds = command == SIOCGSTAMP_OLD || command == SIOCGSTAMP_NEW;
    if (!microseconds && command != SIOCGSTAMPNS_OLD && command != SIOCGSTAMPNS_NEW)
        return -ENOIOCTLCMD;
    if (socket->stamp == NEVER)
        return -ENOENT;
    int64_t real = EPOCH_SECONDS * NS_PER_S + socket->stamp;
    int64_t stamp[2] = {real / NS_PER_S, real % NS_PER_S};
    if (microseconds)
        stamp[1] /= NS_PER_US;
    return copy_to_user(argument, stamp, sizeof(stamp));
}

int64_t socket_ioctl(struct task *task, struct file *file, uint32_t command, uint64_t argument, int64_t unread,
                     int64_t unsent) {
    if (command != FIONREAD && command != TIOCOUTQ) {
        int64_t result = interface_ioctl(task->host, command, argument);
        return result == -ENOIOCTLCMD ? async_ioctl(task, file, command, argument) : result;
    }
    int64_t bytes = command == FIONREAD ? unread : unsent;
    if (bytes < 0)
        return bytes;
    int32_t number = (int32_t)KMIN(bytes, (int64_t)INT32_MAX);
    return copy_to_user(argument, &number, sizeof(number));
}
