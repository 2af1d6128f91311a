/* AF_UNIX: stream, datagram and seqpacket sockets inside one host, with descriptors and credentials.
 * Called by socket.c; calls rights.c, file.c and fs.c (for the files that stand for names).
 *
 * A pathname socket is an empty regular file, so that stat, unlink and EADDRINUSE work; the table here maps the file's
 * identity to the socket, and so follows renames and links. stat does not say S_IFSOCK.
 *
 * What waits to be read is charged to the receiver but limited by the sender's buffer: for connected pairs that is the
 * same as Linux's charging of the sender, and nothing is left behind by a sender that goes.
 */
#include "async.h"
#include "credentials.h"
#include "fs.h"
#include "internal.h"
#include "rights.h"
#include "socket.h"
#include "syscalls.h"
#include <asm/stat.h>
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/poll.h>
#include <linux/sockios.h>
#include <linux/un.h>

#define NAME_BUCKETS 32u
#define DATAGRAM_QUEUE 10u /* net.unix.max_dgram_qlen */
#define CHUNK 32768u       /* of a stream, in one message */
#define AUTOBIND_NAMES 0x100000u
#define PATH_OFFSET ((uint32_t)offsetof(struct sockaddr_un, sun_path))

struct unix_name {
    struct list node;      /* in unix_domain.buckets */
    struct socket *socket; /* that is bound to it; NULL: gone, others still show the name */
    uint32_t references;
    uint64_t device, inode; /* of a pathname; inode 0: abstract */
    uint32_t length;
    uint8_t bytes[sizeof(struct sockaddr_un)];
};

struct unix_message {
    struct unix_message *next;
    struct socket_rights *rights;
    struct unix_name *sender; /* NULL: not bound */
    int32_t credentials[3];
    uint32_t charge, length, offset;
    uint8_t data[];
};

struct unix_domain {
    struct list buckets[NAME_BUCKETS];
    struct wait_queue room; /* senders and connectors that wait for somebody's queue */
    uint32_t next_name;
};

struct unix_socket {
    struct socket *socket, *peer;
    struct unix_name *name, *peer_name;
    struct list clients, client_node;  /* datagram sockets connected to this one */
    struct list pending, pending_node; /* connections that wait for accept */
    uint32_t pending_count, backlog;
    struct unix_message *head, *tail;
    struct unix_message *urgent; /* of the queue: the byte of the last MSG_OOB, until it is read or passed by */
    uint32_t messages;
    bool refused; /* a connected datagram socket's peer is gone */
};

static struct unix_socket *of(const struct socket *socket) { return socket->family_data; }

static bool connection_oriented(const struct socket *socket) { return socket->type != SOCK_DGRAM; }

static struct unix_domain *domain_of(struct host *host) {
    struct net *net = host->net;
    if (net->unix_domain)
        return net->unix_domain;
    struct unix_domain *domain = kalloc(host, sizeof(*domain));
    if (!domain)
        return NULL;
    for (uint32_t i = 0; i < NAME_BUCKETS; i++)
        list_init(&domain->buckets[i]);
    wait_queue_init(&domain->room);
    net->unix_domain = domain;
    return domain;
}

int unix_create(struct socket *socket) {
    struct host *host = socket->host;
    if (!domain_of(host))
        return -ENOMEM;
    struct unix_socket *unix_socket = kalloc(host, sizeof(*unix_socket));
    if (!unix_socket)
        return -ENOMEM;
    list_init(&unix_socket->clients);
    list_init(&unix_socket->client_node);
    list_init(&unix_socket->pending);
    list_init(&unix_socket->pending_node);
    unix_socket->socket = socket;
    socket->family_data = unix_socket;
    return 0;
}

/* ---- Names ---- */

static uint32_t abstract_hash(const uint8_t *bytes, uint32_t length) {
    uint32_t hash = UINT32_C(2166136261); /* FNV-1a */
    for (uint32_t i = 0; i < length; i++)
        hash = (hash ^ bytes[i]) * UINT32_C(16777619);
    return hash;
}

static struct list *bucket_of(struct unix_domain *domain, const struct unix_name *name) {
    uint32_t hash = name->inode ? (uint32_t)name->inode : abstract_hash(name->bytes, name->length);
    return &domain->buckets[hash % NAME_BUCKETS];
}

static struct unix_name *name_get(struct unix_name *name) {
    if (name)
        name->references++;
    return name;
}

static void name_put(struct host *host, struct unix_name *name) {
    if (name && --name->references == 0)
        kfree(host, name);
}

static bool same_name(const struct unix_name *a, const struct unix_name *b) {
    if (a->inode || b->inode)
        return a->inode == b->inode && a->device == b->device;
    return a->length == b->length && !memcmp(a->bytes, b->bytes, a->length);
}

static struct unix_name *find_name(struct unix_domain *domain, const struct unix_name *wanted, int type) {
    list_for_each(node, bucket_of(domain, wanted)) {
        struct unix_name *name = list_entry(node, struct unix_name, node);
        if (same_name(name, wanted) && (!type || name->socket->type == type))
            return name;
    }
    return NULL;
}

/* A sockaddr_un in canonical form: a path ends with one NUL that counts, an abstract name is all its bytes. */
static int parse_name(const uint8_t *bytes, uint32_t length, struct unix_name *name) {
    memset(name, 0, sizeof(*name));
    uint16_t family;
    memcpy(&family, bytes, sizeof(family));
    if (length <= PATH_OFFSET || length > sizeof(struct sockaddr_un))
        return -EINVAL;
    if (family != AF_UNIX)
        return -EINVAL;
    memcpy(name->bytes, bytes, length);
    name->length = length;
    if (!bytes[PATH_OFFSET])
        return 0;
    uint32_t end = PATH_OFFSET;
    while (end < length && bytes[end])
        end++;
    memset(name->bytes + end, 0, sizeof(name->bytes) - end);
    name->length = end + 1; /* 111 where the path fills sun_path: Linux adds the NUL, too */
    return 0;
}

static bool is_path(const struct unix_name *name) { return name->bytes[PATH_OFFSET] != 0; }

static void path_text(const struct unix_name *name, char *text) {
    uint32_t length = KMIN(name->length, (uint32_t)sizeof(name->bytes)) - PATH_OFFSET;
    memcpy(text, name->bytes + PATH_OFFSET, length);
    text[length] = 0;
}

/* Creates the file that stands for the name, as open would. */
static int64_t create_file(struct task *task, struct unix_name *name) {
    char path[sizeof(struct sockaddr_un)];
    path_text(name, path);
    uint64_t arguments[6] = {(uint64_t)AT_FDCWD, (uint64_t)path, O_CREAT | O_EXCL | O_WRONLY, 0777};
    int64_t fd = sys_openat(task, arguments);
    if (fd < 0)
        return fd == -EEXIST ? -EADDRINUSE : fd;
    struct stat status;
    int64_t result =
        platform_syscall(__NR_fstat, (uint64_t)fd_entry(task, (int)fd)->native_fd, (uint64_t)&status, 0, 0, 0, 0);
    name->device = status.st_dev;
    name->inode = status.st_ino;
    (void)fd_close(task, (int)fd);
    return result;
}

static int64_t identify_file(struct task *task, struct unix_name *name) {
    char text[sizeof(struct sockaddr_un)];
    path_text(name, text);
    char *path = kalloc_raw(task->host, FS_PATH_MAX);
    if (!path)
        return -ENOMEM;
    struct stat status;
    int64_t result = fs_resolve_path(task, AT_FDCWD, text, path, FS_PATH_MAX);
    if (result >= 0)
        result = platform_syscall(__NR_newfstatat, (uint64_t)AT_FDCWD, (uint64_t)path, (uint64_t)&status, 0, 0, 0);
    kfree(task->host, path);
    if (result < 0)
        return result;
    name->device = status.st_dev;
    name->inode = status.st_ino;
    return 0;
}

static void forget_binding(struct unix_name *name) {
    list_remove(&name->node);
    name->socket = NULL;
}

static int attach_name(struct socket *socket, const struct unix_name *wanted) {
    struct unix_domain *domain = domain_of(socket->host);
    struct unix_name *name = kalloc(socket->host, sizeof(*name));
    if (!name)
        return -ENOMEM;
    *name = *wanted;
    list_init(&name->node);
    name->references = 1;
    name->socket = socket;
    /* A new file may have the number of one that was removed while a socket was still bound to it. */
    struct unix_name *old = name->inode ? find_name(domain, name, 0) : NULL;
    if (old)
        forget_binding(old);
    list_push_back(bucket_of(domain, name), &name->node);
    of(socket)->name = name;
    return 0;
}

static int autobind(struct socket *socket) {
    struct unix_domain *domain = domain_of(socket->host);
    struct unix_name name = {.length = PATH_OFFSET + 6};
    name.bytes[0] = AF_UNIX;
    for (uint32_t tried = 0; tried < AUTOBIND_NAMES; tried++) {
        char digits[8];
        kprintf(digits, sizeof(digits), "%05x", domain->next_name++ & (AUTOBIND_NAMES - 1));
        memcpy(name.bytes + PATH_OFFSET + 1, digits, 5);
        if (!find_name(domain, &name, socket->type))
            return attach_name(socket, &name);
    }
    return -ENOSPC;
}

int unix_bind(struct task *task, struct socket *socket, const uint8_t *bytes, uint32_t length) {
    struct unix_name name;
    uint16_t family;
    memcpy(&family, bytes, sizeof(family));
    if (length == PATH_OFFSET && family == AF_UNIX)
        return of(socket)->name ? 0 : autobind(socket);
    int error = parse_name(bytes, length, &name);
    if (error)
        return error;
    if (of(socket)->name)
        return -EINVAL;
    if (!is_path(&name))
        return find_name(domain_of(task->host), &name, socket->type) ? -EADDRINUSE : attach_name(socket, &name);
    error = (int)create_file(task, &name);
    return error ? error : attach_name(socket, &name);
}

/* The socket that a name stands for. */
static int find_socket(struct task *task, const uint8_t *bytes, uint32_t length, int type, struct socket **found) {
    struct unix_name wanted;
    int error = parse_name(bytes, length, &wanted);
    if (error)
        return error;
    bool path = is_path(&wanted);
    if (path) {
        error = (int)identify_file(task, &wanted);
        if (error)
            return error;
    }
    struct unix_name *name = find_name(domain_of(task->host), &wanted, path ? 0 : type);
    if (!name)
        return -ECONNREFUSED;
    *found = name->socket;
    return name->socket->type == type ? 0 : -EPROTOTYPE;
}

static uint32_t put_name(uint8_t *bytes, const struct unix_name *name) {
    uint16_t family = AF_UNIX;
    memset(bytes, 0, SOCKET_NAME_MAX);
    memcpy(bytes, &family, sizeof(family));
    if (!name)
        return sizeof(family);
    memcpy(bytes, name->bytes, sizeof(name->bytes));
    return name->length;
}

uint32_t unix_name(const struct socket *socket, uint8_t *bytes, bool peer) {
    const struct unix_socket *unix_socket = of(socket);
    if (!peer)
        return put_name(bytes, unix_socket->name);
    return socket->state == SOCKET_CONNECTED ? put_name(bytes, unix_socket->peer_name) : 0;
}

/* ---- Messages ---- */

static uint32_t charge_of(uint32_t length) {
    return length <= 3000 ? packet_charge(length) : length + 768; /* long ones sit in whole pages */
}

static void message_free(struct host *host, struct unix_message *message) {
    rights_drop(host, message->rights);
    name_put(host, message->sender);
    kfree(host, message);
}

static void message_push(struct socket *receiver, struct unix_message *message) {
    struct unix_socket *to = of(receiver);
    if (to->tail)
        to->tail->next = message;
    else
        to->head = message;
    to->tail = message;
    to->messages++;
    receiver->receive_used += message->charge;
    if (message == to->urgent)
        socket_urgent(receiver);
    socket_wake(receiver, POLLIN | POLLRDNORM | (message == to->urgent ? POLLPRI | POLLRDBAND : 0));
}

static uint32_t unread(const struct unix_message *message) { return message->length - message->offset; }

static void wake_room(struct host *host) { wake_up(host, &domain_of(host)->room, 0); }

/* Those that may send to this socket learn that there is room. */
static void wake_senders(struct socket *socket) {
    struct unix_socket *unix_socket = of(socket);
    uint32_t events = POLLOUT | POLLWRNORM | POLLWRBAND;
    if (connection_oriented(socket)) {
        if (unix_socket->peer)
            socket_wake(unix_socket->peer, events);
        return;
    }
    list_for_each(node, &unix_socket->clients)
        socket_wake(list_entry(node, struct unix_socket, client_node)->socket, events);
    wake_room(socket->host);
}

static struct unix_message *message_pop(struct socket *socket) {
    struct unix_socket *unix_socket = of(socket);
    struct unix_message *message = unix_socket->head;
    unix_socket->head = message->next;
    if (!unix_socket->head)
        unix_socket->tail = NULL;
    if (message == unix_socket->urgent)
        unix_socket->urgent = NULL;
    unix_socket->messages--;
    socket->receive_used -= message->charge;
    return message;
}

static struct unix_message *message_create(struct task *task, struct socket *socket, struct uio *from, uint32_t length,
                                           struct socket_message *parts, int *error) {
    struct host *host = socket->host;
    struct unix_message *message = kalloc_raw(host, sizeof(*message) + length);
    if (!message) {
        *error = -ENOBUFS;
        return NULL;
    }
    memset(message, 0, sizeof(*message));
    if (uio_copy_in(from, message->data, length)) {
        kfree(host, message);
        *error = -EFAULT;
        return NULL;
    }
    message->length = length;
    message->charge = charge_of(length);
    message->sender = name_get(of(socket)->name);
    message->rights = parts->rights;
    parts->rights = NULL;
    if (message->rights)
        message->rights->sender = 0;
    message->credentials[0] = task->process->pid;
    message->credentials[1] = (int32_t)task->credentials->user.real;
    message->credentials[2] = (int32_t)task->credentials->group.real;
    if (parts->has_credentials)
        memcpy(message->credentials, parts->credentials, sizeof(message->credentials));
    return message;
}

/* ---- Sending ---- */

static bool queue_full(const struct socket *from, const struct socket *to) {
    return to != from && of(to)->peer != from && of(to)->messages > DATAGRAM_QUEUE;
}

static void leave_peer(struct socket *socket) {
    list_remove(&of(socket)->client_node);
    of(socket)->peer = NULL;
    name_put(socket->host, of(socket)->peer_name);
    of(socket)->peer_name = NULL;
}

static int datagram_destination(struct task *task, struct socket *socket, const struct socket_message *message,
                                struct socket **to) {
    struct unix_socket *unix_socket = of(socket);
    if (message->name_length)
        return find_socket(task, message->name, message->name_length, SOCK_DGRAM, to);
    if (unix_socket->refused) {
        unix_socket->refused = false;
        socket->state = SOCKET_UNCONNECTED;
        return -ECONNREFUSED;
    }
    *to = unix_socket->peer;
    return *to ? 0 : -ENOTCONN;
}

static int64_t send_datagram(struct task *task, struct socket *socket, struct uio *from,
                             struct socket_message *message) {
    struct socket *to = NULL;
    int error = datagram_destination(task, socket, message, &to);
    if (error)
        return error;
    if (socket->write_shutdown || to->read_shutdown)
        return -EPIPE;
    if (of(to)->peer && of(to)->peer != socket)
        return -EPERM; /* it takes from its own peer alone */
    uint32_t length = (uint32_t)from->remaining;
    if (from->remaining > socket->send_buffer - 32)
        return -EMSGSIZE;
    if (queue_full(socket, to) || to->receive_used >= socket->send_buffer)
        return -EAGAIN;
    struct unix_message *sent = message_create(task, socket, from, length, message, &error);
    if (!sent)
        return error;
    message_push(to, sent);
    return length;
}

static int64_t send_connected(struct task *task, struct socket *socket, struct uio *from, int flags,
                              struct socket_message *message) {
    struct socket *to = of(socket)->peer;
    bool urgent = (flags & MSG_OOB) != 0; /* the last byte */
    if (urgent && (socket->type != SOCK_STREAM || !from->remaining))
        return -EOPNOTSUPP;
    if (message->name_length && socket->type == SOCK_STREAM)
        return socket->state == SOCKET_CONNECTED ? -EISCONN : -EOPNOTSUPP;
    if (socket->state != SOCKET_CONNECTED)
        return -ENOTCONN;
    if (socket->write_shutdown || !to || to->read_shutdown)
        return -EPIPE;
    bool stream = socket->type == SOCK_STREAM;
    if (!stream && from->remaining > socket->send_buffer - 32)
        return -EMSGSIZE;
    if (stream && !from->remaining)
        return 0;
    if (to->receive_used >= socket->send_buffer)
        return -EAGAIN;
    size_t chunk = KMIN(CHUNK, socket->send_buffer / 2);
    uint32_t length = (uint32_t)(stream ? KMIN(from->remaining, chunk) : from->remaining);
    if (urgent && length == from->remaining && length > 1) {
        length--;
        urgent = false; /* goes by itself, in a message of its own */
    }
    int error;
    struct unix_message *sent = message_create(task, socket, from, length, message, &error);
    if (!sent)
        return error;
    if (urgent && !from->remaining)
        of(to)->urgent = sent;
    message_push(to, sent);
    return length;
}

int64_t unix_send(struct task *task, struct socket *socket, struct uio *from, int flags,
                  struct socket_message *message) {
    if (connection_oriented(socket))
        return send_connected(task, socket, from, flags, message);
    if (flags & MSG_OOB)
        return -EOPNOTSUPP;
    return send_datagram(task, socket, from, message);
}

/* ---- Receiving ---- */

static void take_parts(struct host *host, struct unix_message *message, bool peek, struct socket_message *parts) {
    parts->has_credentials = true;
    memcpy(parts->credentials, message->credentials, sizeof(parts->credentials));
    if (!message->rights)
        return;
    parts->rights = peek ? rights_borrow(host, message->rights) : message->rights;
    if (!peek)
        message->rights = NULL;
}

static int64_t receive_message(struct socket *socket, struct uio *to, int flags, struct socket_message *parts) {
    struct unix_message *message = of(socket)->head;
    uint32_t copied = (uint32_t)KMIN((size_t)message->length, to->remaining);
    int64_t result = (flags & MSG_TRUNC) ? message->length : copied;
    if (copied < message->length)
        parts->out_flags |= MSG_TRUNC;
    if (message->sender && socket->type == SOCK_DGRAM)
        parts->name_length = put_name(parts->name, message->sender);
    if (uio_copy_out(to, message->data, copied))
        result = -EFAULT;
    bool peek = (flags & MSG_PEEK) != 0;
    take_parts(socket->host, message, peek, parts);
    if (!peek) {
        message_free(socket->host, message_pop(socket));
        wake_senders(socket);
    }
    return result;
}

/* The byte of the last MSG_OOB (Linux: unix_stream_recv_urg). What is left of it marks its place in the stream. */
static int64_t receive_urgent(struct socket *socket, struct uio *to, int flags, struct socket_message *parts) {
    struct unix_socket *unix_socket = of(socket);
    struct unix_message *message = unix_socket->urgent;
    if (socket->out_of_band_inline || !message)
        return -EINVAL;
    if (!(flags & MSG_PEEK)) {
        unix_socket->urgent = NULL;
        message->offset = message->length;
        struct unix_message *head = unix_socket->head;
        if (head->next == message && !unread(head)) /* the mark just before it is of no use any more */
            message_free(socket->host, message_pop(socket));
    }
    if (uio_copy_out(to, message->data, KMIN(to->remaining, (size_t)1)))
        return -EFAULT;
    parts->out_flags |= MSG_OOB;
    return 1;
}

/* What a receive that has come to this message goes on with (Linux: manage_oob): the mark of an urgent byte that was
 * read, and one that was not and is not in line, end the receive, or are passed by at its beginning. */
static struct unix_message *pass_mark(struct socket *socket, struct unix_message *message, bool peek, bool received) {
    struct unix_socket *unix_socket = of(socket);
    if (!unread(message)) {
        if (received && !unix_socket->urgent)
            return NULL;
        struct unix_message *next = message->next;
        if (!peek)
            message_free(socket->host, message_pop(socket));
        message = next;
    }
    if (!message || message != unix_socket->urgent)
        return message;
    if (received)
        return NULL;
    struct unix_message *next = message->next;
    if (socket->out_of_band_inline)
        next = message;
    if (peek)
        return next;
    unix_socket->urgent = NULL;
    if (next != message)
        message_free(socket->host, message_pop(socket));
    return next;
}

/* Bytes of several messages run together; files and marks of urgent bytes end a receive, and so does another sender
 * where credentials are wanted. */
static int64_t receive_stream(struct socket *socket, struct uio *to, int flags, struct socket_message *parts) {
    bool peek = (flags & MSG_PEEK) != 0;
    int64_t total = 0;
    struct unix_message *message = of(socket)->head;
    while (message && to->remaining && !parts->ends) {
        bool received = total || parts->goes_on;
        message = pass_mark(socket, message, peek, received);
        if (!message) {
            parts->ends = received;
            break;
        }
        struct unix_message *next = message->next;
        if (received && socket->pass_credentials &&
            memcmp(message->credentials, parts->credentials, sizeof(parts->credentials))) {
            parts->ends = true;
            break;
        }
        uint32_t copied = (uint32_t)KMIN((size_t)unread(message), to->remaining);
        if (uio_copy_out(to, message->data + message->offset, copied)) {
            total = total ? total : -EFAULT;
            break;
        }
        parts->ends = message->rights != NULL;
        take_parts(socket->host, message, peek, parts);
        total += copied;
        if (!peek) {
            message->offset += copied;
            if (message->offset == message->length)
                message_free(socket->host, message_pop(socket));
        }
        message = next;
    }
    if (!peek)
        wake_senders(socket);
    return total;
}

int64_t unix_receive(struct task *task, struct socket *socket, struct uio *to, int flags,
                     struct socket_message *message) {
    (void)task;
    bool stream = socket->type == SOCK_STREAM, nothing = !to->remaining;
    if (connection_oriented(socket) && socket->state != SOCKET_CONNECTED)
        return stream ? -EINVAL : -ENOTCONN;
    if (flags & MSG_OOB)
        return stream ? receive_urgent(socket, to, flags, message) : -EOPNOTSUPP;
    if (of(socket)->head) {
        int64_t received =
            stream ? receive_stream(socket, to, flags, message) : receive_message(socket, to, flags, message);
        if (received || nothing || !stream || message->ends)
            return received; /* else there was only the mark of an urgent byte */
    }
    if (socket->error)
        return socket_take_error(socket);
    /* A datagram socket only says so to those who would wait. */
    bool end = socket->read_shutdown && (connection_oriented(socket) || !socket_nonblocking(socket, flags));
    return end ? 0 : -EAGAIN;
}

int64_t unix_unread(const struct socket *socket) {
    if (socket->state == SOCKET_LISTENING)
        return -EINVAL;
    int64_t total = 0;
    for (const struct unix_message *message = of(socket)->head; message; message = message->next) {
        total += unread(message);
        if (socket->type == SOCK_DGRAM)
            break;
    }
    return total;
}

int unix_wait_room(struct task *task, int64_t deadline) {
    wait_add(&domain_of(task->host)->room, &task->wait, task, 0);
    int result = task_block(task, deadline);
    wait_remove(&task->wait);
    return result;
}

/* ---- Connections ---- */

/* `socket` sends to `peer` from now on. */
static void join(struct socket *socket, struct socket *peer) {
    struct unix_socket *unix_socket = of(socket);
    unix_socket->peer = peer;
    unix_socket->peer_name = name_get(of(peer)->name);
    unix_socket->refused = false;
    socket->state = SOCKET_CONNECTED;
    if (!connection_oriented(socket))
        list_push_back(&of(peer)->clients, &unix_socket->client_node);
}

/* What the other end of `socket`, or its clients, learn of the task. */
static void stamp(const struct task *task, struct socket *socket) {
    socket->peer[0] = task->process->pid;
    socket->peer[1] = (int32_t)task->credentials->user.effective;
    socket->peer[2] = (int32_t)task->credentials->group.effective;
}

void unix_pair(struct task *task, struct socket *first, struct socket *second) {
    join(first, second);
    join(second, first);
    stamp(task, first);
    stamp(task, second);
}

static int connect_datagram(struct task *task, struct socket *socket, const uint8_t *bytes, uint32_t length) {
    uint16_t family;
    memcpy(&family, bytes, sizeof(family));
    struct socket *peer = NULL;
    if (family != AF_UNSPEC) {
        int error = find_socket(task, bytes, length, SOCK_DGRAM, &peer);
        if (error)
            return error;
        if (of(peer)->peer && of(peer)->peer != socket)
            return -EPERM;
    }
    if (of(socket)->peer)
        leave_peer(socket);
    of(socket)->refused = false;
    socket->state = SOCKET_UNCONNECTED;
    if (peer)
        join(socket, peer);
    return 0;
}

/* The other end of a new connection, waiting for accept. */
static struct socket *embryo(struct task *task, struct socket *client, struct socket *listener) {
    struct socket *server = socket_create(task->host, AF_UNIX, listener->type, 0);
    if (!server)
        return NULL;
    if (unix_create(server)) {
        socket_free(server);
        return NULL;
    }
    of(server)->name = name_get(of(listener)->name);
    server->pass_credentials = listener->pass_credentials;
    join(server, client);
    join(client, server);
    stamp(task, server);
    memcpy(client->peer, listener->peer, sizeof(client->peer));
    list_push_back(&of(listener)->pending, &of(server)->pending_node);
    of(listener)->pending_count++;
    return server;
}

int unix_connect(struct task *task, struct socket *socket, const uint8_t *bytes, uint32_t length) {
    if (length < sizeof(uint16_t))
        return -EINVAL;
    if (!connection_oriented(socket))
        return connect_datagram(task, socket, bytes, length);
    struct socket *listener = NULL;
    int error = find_socket(task, bytes, length, socket->type, &listener);
    if (error)
        return error;
    if (listener->state != SOCKET_LISTENING)
        return -ECONNREFUSED;
    if (socket->state != SOCKET_UNCONNECTED)
        return socket->state == SOCKET_CONNECTED ? -EISCONN : -EINVAL;
    if (of(listener)->pending_count > of(listener)->backlog)
        return -EAGAIN;
    if (!embryo(task, socket, listener))
        return -ENOMEM;
    socket_wake(listener, POLLIN | POLLRDNORM);
    socket_wake(socket, POLLOUT | POLLWRNORM);
    return 0;
}

int unix_listen(struct task *task, struct socket *socket, int backlog) {
    if (!connection_oriented(socket))
        return -EOPNOTSUPP;
    if (!of(socket)->name || (socket->state != SOCKET_UNCONNECTED && socket->state != SOCKET_LISTENING))
        return -EINVAL;
    socket->state = SOCKET_LISTENING;
    of(socket)->backlog = (uint32_t)backlog;
    stamp(task, socket);
    wake_room(socket->host);
    return 0;
}

struct socket *unix_accept(struct socket *socket) {
    struct unix_socket *listener = of(socket);
    if (list_empty(&listener->pending))
        return NULL;
    struct unix_socket *server = list_entry(listener->pending.next, struct unix_socket, pending_node);
    list_remove(&server->pending_node);
    listener->pending_count--;
    wake_room(socket->host);
    return server->socket;
}

int unix_shutdown(struct socket *socket, bool read, bool write) {
    struct socket *peer = of(socket)->peer;
    uint32_t events = POLLIN | POLLOUT | POLLHUP | POLLRDHUP | POLLRDNORM | POLLWRNORM;
    socket->read_shutdown |= read;
    socket->write_shutdown |= write;
    if (peer && connection_oriented(socket)) {
        peer->read_shutdown |= write;
        peer->write_shutdown |= read;
        socket_wake(peer, events);
        if (write && peer->file)
            async_tell(peer->host, peer->file, read ? ASYNC_HANG_UP : ASYNC_IN);
    }
    socket_wake(socket, events);
    return 0;
}

/* ---- The end ---- */

static void close_peer(struct socket *socket, bool reset) {
    struct socket *peer = of(socket)->peer;
    uint32_t events = POLLIN | POLLOUT | POLLHUP | POLLRDHUP | POLLRDNORM | POLLWRNORM;
    of(socket)->peer = NULL;
    if (!connection_oriented(socket)) {
        list_remove(&of(socket)->client_node);
        return;
    }
    of(peer)->peer = NULL;
    peer->read_shutdown = peer->write_shutdown = true;
    if (reset)
        peer->error = ECONNRESET;
    socket_wake(peer, events);
    if (peer->file)
        async_tell(peer->host, peer->file, ASYNC_HANG_UP);
}

static void close_clients(struct socket *socket) {
    list_for_each_safe(node, &of(socket)->clients) {
        struct unix_socket *client = list_entry(node, struct unix_socket, client_node);
        list_remove(node);
        client->peer = NULL;
        client->refused = true;
        socket_wake(client->socket, POLLOUT | POLLWRNORM);
    }
}

void unix_close(struct socket *socket) {
    struct host *host = socket->host;
    struct unix_socket *unix_socket = of(socket);
    /* An embryo's clients, and a peer with something unread here, see a reset. */
    const struct unix_message *first = unix_socket->head;
    if (first && connection_oriented(socket) && !unread(first))
        first = first->next;
    bool reset = first || list_linked(&unix_socket->pending_node);
    list_remove(&unix_socket->pending_node);
    if (unix_socket->peer)
        close_peer(socket, reset);
    close_clients(socket);
    while (!list_empty(&unix_socket->pending)) {
        struct unix_socket *server = list_entry(unix_socket->pending.next, struct unix_socket, pending_node);
        unix_close(server->socket);
    }
    if (unix_socket->name && unix_socket->name->socket == socket)
        forget_binding(unix_socket->name);
    wake_room(host);
    while (unix_socket->head)
        message_free(host, message_pop(socket));
    name_put(host, unix_socket->name);
    name_put(host, unix_socket->peer_name);
    kfree(host, unix_socket);
    socket_free(socket);
}

/* ---- Files ---- */

static int64_t read_file(struct task *task, struct file *file, struct uio *to, const int64_t *position) {
    if (position)
        return -ESPIPE;
    if (!to->remaining)
        return 0; /* unlike recv, which looks at the socket */
    struct socket_message message = {.ttl = -1, .tos = -1};
    int64_t received = unix_receive(task, file->object, to, 0, &message);
    rights_drop(task->host, message.rights); /* read has no room for them */
    return received;
}

static int64_t write_file(struct task *task, struct file *file, struct uio *from, const int64_t *position) {
    if (position)
        return -ESPIPE;
    struct socket_message message = {.ttl = -1, .tos = -1};
    struct socket *socket = file->object;
    int64_t sent = unix_send(task, socket, from, 0, &message);
    if (sent == -EAGAIN)
        socket->no_space = true;
    if (sent == -EPIPE && socket->type == SOCK_STREAM)
        socket_broken_pipe(task);
    return sent;
}

static bool writable(const struct socket *socket) {
    const struct socket *peer = of(socket)->peer;
    if (socket->state == SOCKET_LISTENING)
        return false;
    if (!peer)
        return true;
    if (!connection_oriented(socket) && queue_full(socket, peer))
        return false;
    return peer->receive_used * UINT64_C(4) <= socket->send_buffer;
}

static uint32_t poll_file(struct file *file) {
    struct socket *socket = file->object;
    const struct unix_socket *unix_socket = of(socket);
    uint32_t events = 0;
    if (socket->error)
        events |= POLLERR;
    if (socket->read_shutdown)
        events |= POLLRDHUP | POLLIN | POLLRDNORM;
    if ((socket->read_shutdown && socket->write_shutdown) ||
        (connection_oriented(socket) && socket->state == SOCKET_UNCONNECTED))
        events |= POLLHUP;
    if (unix_socket->head || !list_empty(&unix_socket->pending))
        events |= POLLIN | POLLRDNORM;
    if (unix_socket->urgent)
        events |= POLLPRI;
    if (writable(socket))
        events |= POLLOUT | POLLWRNORM | POLLWRBAND;
    return socket_note_room(socket, events);
}

static void release_file(struct host *host, struct file *file) {
    (void)host;
    struct socket *socket = file->object;
    if (!socket)
        return; /* accept reserved the descriptor and found nobody */
    socket->file = NULL;
    unix_close(socket);
}

/* Whether the next receive begins at an urgent byte or where one was read (SIOCATMARK). */
static bool at_mark(const struct socket *socket) {
    const struct unix_message *urgent = of(socket)->urgent, *head = of(socket)->head;
    return head && (head == urgent || (!unread(head) && (!urgent || head->next == urgent)));
}

static int64_t ioctl_file(struct task *task, struct file *file, uint32_t command, uint64_t argument) {
    const struct socket *socket = file->object;
    int64_t unsent = of(socket)->peer ? of(socket)->peer->receive_used : 0;
    if (command == SIOCATMARK) {
        if (socket->type != SOCK_STREAM)
            return -EOPNOTSUPP;
        int32_t mark = at_mark(socket);
        return copy_to_user(argument, &mark, sizeof(mark));
    }
    return socket_ioctl(task, file, command, argument, unix_unread(socket),
                        socket->state == SOCKET_LISTENING ? -EINVAL : unsent);
}

const struct file_operations unix_operations = {
    .name = "socket",
    .stream = true,
    .read = read_file,
    .write = write_file,
    .poll = poll_file,
    .release = release_file,
    .ioctl = ioctl_file,
};
