/* Unix sockets: names, connections, datagrams, passed descriptors and credentials. */
#include "harness.h"

#include "hot/kernel/fs.h"
#include "hot/kernel/process.h"
#include "hot/kernel/rights.h"
#include "hot/kernel/socket.h"
#include "hot/kernel/syscalls.h"

#include <asm/socket.h>
#include <linux/poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIMIT_NOFILE 7

typedef int64_t call_function(struct task *task, const uint64_t *a);

static int64_t call(struct task *task, call_function *function, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                    uint64_t e, uint64_t f) {
    uint64_t arguments[6] = {a, b, c, d, e, f};
    int64_t result = function(task, arguments);
    file_drop_held(task);
    net_run_backlog(task->host);
    return result;
}

static uint64_t pointer(const void *object) { return (uint64_t)object; }

struct name {
    uint16_t family;
    char path[108];
    uint32_t length;
};

static struct name path_name(const char *path) {
    struct name name = {.family = AF_UNIX, .length = (uint32_t)(2 + strlen(path) + 1)};
    memcpy(name.path, path, strlen(path));
    return name;
}

static struct name abstract_name(const char *text) {
    struct name name = {.family = AF_UNIX, .length = (uint32_t)(3 + strlen(text))};
    memcpy(name.path + 1, text, strlen(text));
    return name;
}

static int open_socket(struct task *task, int type) {
    int64_t fd = call(task, sys_socket, AF_UNIX, (uint64_t)type, 0, 0, 0, 0);
    CHECK(fd >= 0);
    return (int)fd;
}

static void open_pair(struct task *task, int type, int pair[2]) {
    CHECK_EQUAL(call(task, sys_socketpair, AF_UNIX, (uint64_t)type, 0, pointer(pair), 0, 0), 0);
}

static int64_t do_bind(struct task *task, int fd, const struct name *name) {
    return call(task, sys_bind, (uint64_t)fd, pointer(name), name->length, 0, 0, 0);
}

static int64_t do_connect(struct task *task, int fd, const struct name *name) {
    return call(task, sys_connect, (uint64_t)fd, pointer(name), name->length, 0, 0, 0);
}

static int64_t do_listen(struct task *task, int fd, int backlog) {
    return call(task, sys_listen, (uint64_t)fd, (uint64_t)backlog, 0, 0, 0, 0);
}

static int64_t do_accept(struct task *task, int fd) { return call(task, sys_accept, (uint64_t)fd, 0, 0, 0, 0, 0); }

static int64_t do_send(struct task *task, int fd, const void *data, size_t length, int flags) {
    return call(task, sys_sendto, (uint64_t)fd, pointer(data), length, (uint64_t)(flags | MSG_NOSIGNAL), 0, 0);
}

static int64_t send_to(struct task *task, int fd, const void *data, size_t length, const struct name *name) {
    return call(task, sys_sendto, (uint64_t)fd, pointer(data), length, 0, pointer(name), name->length);
}

static int64_t do_receive(struct task *task, int fd, void *data, size_t length, int flags) {
    return call(task, sys_recvfrom, (uint64_t)fd, pointer(data), length, (uint64_t)flags, 0, 0);
}

static uint32_t poll_of(struct task *task, int fd) { return file_poll(fd_file(task, fd)); }

static void unconnected_sockets_answer_as_in_linux(void) {
    struct network *network = network_create(1, 1);
    struct task *task = task_fake(network->hosts[0]);
    char byte = 0;
    int stream = open_socket(task, SOCK_STREAM), packets = open_socket(task, SOCK_SEQPACKET);
    int datagrams = open_socket(task, SOCK_DGRAM);
    CHECK_EQUAL(do_receive(task, stream, &byte, 1, 0), -EINVAL);
    CHECK_EQUAL(do_send(task, stream, &byte, 1, 0), -ENOTCONN);
    CHECK_EQUAL(poll_of(task, stream), POLLOUT | POLLHUP | POLLWRNORM | POLLWRBAND);
    CHECK_EQUAL(do_receive(task, packets, &byte, 1, 0), -ENOTCONN);
    CHECK_EQUAL(do_send(task, datagrams, &byte, 1, 0), -ENOTCONN);
    CHECK_EQUAL(do_listen(task, stream, 1), -EINVAL);
    CHECK_EQUAL(do_listen(task, datagrams, 1), -EOPNOTSUPP);
    network_free(network);
}

static void a_stream_pair_carries_bytes_and_ends(void) {
    struct network *network = network_create(1, 1);
    struct task *task = task_fake(network->hosts[0]);
    int pair[2];
    char text[16];
    open_pair(task, SOCK_STREAM | SOCK_NONBLOCK, pair);
    CHECK_EQUAL(do_send(task, pair[0], "one", 3, 0), 3);
    CHECK_EQUAL(do_send(task, pair[0], "two", 3, 0), 3);
    CHECK_EQUAL(do_receive(task, pair[1], text, 16, MSG_PEEK), 6);
    CHECK_EQUAL(do_receive(task, pair[1], text, 4, 0), 4);
    CHECK_EQUAL(do_receive(task, pair[1], text + 4, 16, 0), 2);
    CHECK(!memcmp(text, "onetwo", 6));
    CHECK_EQUAL(do_receive(task, pair[1], text, 1, 0), -EAGAIN);
    CHECK_EQUAL(call(task, sys_shutdown, (uint64_t)pair[1], SHUT_WR, 0, 0, 0, 0), 0);
    CHECK_EQUAL(do_receive(task, pair[0], text, 1, 0), 0);
    CHECK(poll_of(task, pair[0]) & POLLRDHUP);
    CHECK_EQUAL(do_send(task, pair[1], text, 1, 0), -EPIPE);
    CHECK_EQUAL(do_send(task, pair[0], "x", 1, 0), 1);
    /* Closed with something unread: a reset, then the end. */
    CHECK_EQUAL(fd_close(task, pair[1]), 0);
    CHECK(poll_of(task, pair[0]) & POLLHUP && poll_of(task, pair[0]) & POLLERR);
    CHECK_EQUAL(do_receive(task, pair[0], text, 1, 0), -ECONNRESET);
    CHECK_EQUAL(do_receive(task, pair[0], text, 1, 0), 0);
    CHECK_EQUAL(do_send(task, pair[0], text, 1, 0), -EPIPE);
    CHECK_EQUAL(fd_close(task, pair[0]), 0);
    network_free(network);
}

static uint8_t big[1000000], copy[sizeof big];

static void write_all(struct task *task, void *argument) {
    const int *pair = argument;
    CHECK_EQUAL(call(task, sys_write, (uint64_t)pair[0], pointer(big), sizeof big, 0, 0, 0), (int64_t)sizeof big);
    CHECK_EQUAL(fd_close(task, pair[0]), 0);
}

static void read_all(struct task *task, void *argument) {
    const int *pair = argument;
    CHECK_EQUAL(do_receive(task, pair[1], copy, sizeof copy, MSG_WAITALL), (int64_t)sizeof copy);
    char byte;
    CHECK_EQUAL(do_receive(task, pair[1], &byte, 1, 0), 0);
}

static void a_blocking_write_waits_for_the_reader(void) {
    struct network *network = network_create(1, 1);
    int pair[2];
    test_pattern(big, sizeof big, 0, 1);
    struct task *writer = task_start(network->hosts[0], write_all, pair);
    struct task *reader = task_start(network->hosts[0], read_all, pair);
    reader->process->files = writer->process->files;
    writer->process->files->references++;
    open_pair(writer, SOCK_STREAM, pair);
    network_run(network);
    CHECK(task_finished(writer) && task_finished(reader));
    CHECK(!memcmp(big, copy, sizeof big));
    network_free(network);
}

static void messages_keep_their_boundaries(void) {
    struct network *network = network_create(1, 1);
    struct task *task = task_fake(network->hosts[0]);
    int types[] = {SOCK_DGRAM, SOCK_SEQPACKET};
    for (size_t i = 0; i < 2; i++) {
        int pair[2];
        char text[8];
        open_pair(task, types[i] | SOCK_NONBLOCK, pair);
        CHECK_EQUAL(do_send(task, pair[0], "first", 5, 0), 5);
        CHECK_EQUAL(do_send(task, pair[0], "", 0, 0), 0);
        CHECK_EQUAL(do_send(task, pair[0], "third", 5, 0), 5);
        CHECK_EQUAL(do_receive(task, pair[1], text, 2, MSG_TRUNC), 5);
        CHECK_EQUAL(do_receive(task, pair[1], text, 8, 0), 0);
        CHECK_EQUAL(do_receive(task, pair[1], text, 8, 0), 5);
        CHECK_EQUAL(do_send(task, pair[0], big, 300000, 0), -EMSGSIZE);
        CHECK_EQUAL(fd_close(task, pair[1]), 0);
        CHECK_EQUAL(do_send(task, pair[0], "x", 1, 0), i == 0 ? -ECONNREFUSED : -EPIPE);
        CHECK_EQUAL(do_send(task, pair[0], "x", 1, 0), i == 0 ? -ENOTCONN : -EPIPE);
    }
    network_free(network);
}

static void listeners_queue_connections_up_to_their_backlog(void) {
    struct network *network = network_create(1, 1);
    struct task *task = task_fake(network->hosts[0]);
    struct name name = abstract_name("service"), got;
    int listener = open_socket(task, SOCK_STREAM | SOCK_NONBLOCK), clients[3];
    char text[8];
    CHECK_EQUAL(do_bind(task, listener, &name), 0);
    CHECK_EQUAL(do_bind(task, open_socket(task, SOCK_STREAM), &name), -EADDRINUSE);
    CHECK_EQUAL(do_connect(task, open_socket(task, SOCK_STREAM), &name), -ECONNREFUSED);
    CHECK_EQUAL(do_listen(task, listener, 1), 0);
    for (int i = 0; i < 3; i++) {
        clients[i] = open_socket(task, SOCK_STREAM | SOCK_NONBLOCK);
        CHECK_EQUAL(do_connect(task, clients[i], &name), i < 2 ? 0 : -EAGAIN);
    }
    CHECK_EQUAL(do_connect(task, clients[0], &name), -EISCONN);
    CHECK_EQUAL(do_send(task, clients[0], "early", 5, 0), 5);
    CHECK_EQUAL(poll_of(task, listener), POLLIN | POLLRDNORM);
    int64_t server = do_accept(task, listener);
    CHECK(server >= 0);
    CHECK_EQUAL(do_receive(task, (int)server, text, 8, 0), 5);
    got.length = sizeof got;
    CHECK_EQUAL(call(task, sys_getsockname, (uint64_t)server, pointer(&got), pointer(&got.length), 0, 0, 0), 0);
    CHECK_EQUAL(got.length, name.length);
    CHECK(!memcmp(got.path, name.path, 8));
    got.length = sizeof got;
    CHECK_EQUAL(call(task, sys_getpeername, (uint64_t)server, pointer(&got), pointer(&got.length), 0, 0, 0), 0);
    CHECK_EQUAL(got.length, 2); /* the client has no name */
    int32_t credentials[3];
    uint32_t length = sizeof credentials;
    CHECK_EQUAL(call(task, sys_getsockopt, (uint64_t)server, SOL_SOCKET, SO_PEERCRED, pointer(credentials),
                     pointer(&length), 0),
                0);
    CHECK_EQUAL(credentials[0], task->process->pid);
    /* The listener goes: who was not accepted yet is reset. */
    CHECK_EQUAL(fd_close(task, listener), 0);
    CHECK_EQUAL(do_receive(task, clients[1], text, 1, 0), -ECONNRESET);
    CHECK_EQUAL(do_connect(task, clients[2], &name), -ECONNREFUSED);
    network_free(network);
}

static void names_come_from_the_kernel_when_asked(void) {
    struct network *network = network_create(1, 1);
    struct task *task = task_fake(network->hosts[0]);
    for (int i = 0; i < 3; i++) {
        struct name none = {.family = AF_UNIX, .length = 2}, got = {.length = sizeof got};
        char expected[8];
        int fd = open_socket(task, SOCK_DGRAM);
        CHECK_EQUAL(do_bind(task, fd, &none), 0);
        CHECK_EQUAL(call(task, sys_getsockname, (uint64_t)fd, pointer(&got), pointer(&got.length), 0, 0, 0), 0);
        CHECK_EQUAL(got.length, 8);
        snprintf(expected, sizeof expected, "%05x", (unsigned)i);
        CHECK(!got.path[0] && !memcmp(got.path + 1, expected, 5));
    }
    network_free(network);
}

static void a_datagram_queue_fills_and_drains(void) {
    struct network *network = network_create(1, 1);
    struct task *task = task_fake(network->hosts[0]);
    struct name name = abstract_name("log"), sender = abstract_name("me");
    int server = open_socket(task, SOCK_DGRAM | SOCK_NONBLOCK), client = open_socket(task, SOCK_DGRAM | SOCK_NONBLOCK);
    CHECK_EQUAL(do_bind(task, server, &name), 0);
    CHECK_EQUAL(do_bind(task, client, &sender), 0);
    for (int i = 0; i < 11; i++)
        CHECK_EQUAL(send_to(task, client, "x", 1, &name), 1);
    CHECK_EQUAL(send_to(task, client, "x", 1, &name), -EAGAIN);
    CHECK_EQUAL(do_connect(task, client, &name), 0);
    CHECK(!(poll_of(task, client) & POLLOUT));
    char byte;
    struct name from;
    from.length = sizeof from;
    CHECK_EQUAL(call(task, sys_recvfrom, (uint64_t)server, pointer(&byte), 1, 0, pointer(&from), pointer(&from.length)),
                1);
    CHECK_EQUAL(from.length, sender.length);
    CHECK(poll_of(task, client) & POLLOUT);
    CHECK_EQUAL(do_send(task, client, "x", 1, 0), 1);
    network_free(network);
}

static void send_when_full(struct task *task, void *argument) {
    struct name name = abstract_name("log");
    int *done = argument;
    int client = open_socket(task, SOCK_DGRAM);
    for (int i = 0; i < 50; i++)
        CHECK_EQUAL(send_to(task, client, "x", 1, &name), 1);
    *done = 1;
}

static void receive_fifty(struct task *task, void *argument) {
    const int *server = argument;
    char byte;
    for (int i = 0; i < 50; i++)
        CHECK_EQUAL(do_receive(task, *server, &byte, 1, 0), 1);
}

static void a_blocked_datagram_sender_goes_on_when_there_is_room(void) {
    struct network *network = network_create(1, 1);
    struct name name = abstract_name("log");
    int server, done = 0;
    task_start(network->hosts[0], send_when_full, &done);
    struct task *receiver = task_start(network->hosts[0], receive_fifty, &server);
    server = open_socket(receiver, SOCK_DGRAM);
    CHECK_EQUAL(do_bind(receiver, server, &name), 0);
    network_run(network);
    CHECK(done && task_finished(receiver));
    network_free(network);
}

static void a_path_is_a_file_and_follows_it(void) {
    struct network *network = network_create(1, 1);
    struct task *task = task_fake(network->hosts[0]);
    char directory[] = "/tmp/antumbra-unix-XXXXXX", path[64], moved[64];
    CHECK(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/socket", directory);
    snprintf(moved, sizeof moved, "%s/moved", directory);
    struct name name = path_name(path), other = path_name(moved);
    int listener = open_socket(task, SOCK_STREAM | SOCK_NONBLOCK);
    CHECK_EQUAL(do_connect(task, open_socket(task, SOCK_STREAM), &name), -ENOENT);
    CHECK_EQUAL(do_bind(task, listener, &name), 0);
    CHECK_EQUAL(do_listen(task, listener, 5), 0);
    CHECK(access(path, F_OK) == 0);
    CHECK_EQUAL(do_bind(task, open_socket(task, SOCK_STREAM), &name), -EADDRINUSE);
    CHECK_EQUAL(do_connect(task, open_socket(task, SOCK_DGRAM), &name), -EPROTOTYPE);
    CHECK_EQUAL(do_connect(task, open_socket(task, SOCK_STREAM), &name), 0);
    CHECK(rename(path, moved) == 0);
    CHECK_EQUAL(do_connect(task, open_socket(task, SOCK_STREAM), &name), -ENOENT);
    CHECK_EQUAL(do_connect(task, open_socket(task, SOCK_STREAM), &other), 0);
    CHECK_EQUAL(fd_close(task, listener), 0);
    CHECK_EQUAL(do_connect(task, open_socket(task, SOCK_STREAM), &other), -ECONNREFUSED);
    CHECK(unlink(moved) == 0 && rmdir(directory) == 0);
    network_free(network);
}

struct message {
    uint64_t name;
    uint64_t name_length;
    uint64_t segments, count, control, control_length, flags;
};

static int64_t send_rights(struct task *task, int fd, const char *text, const int32_t *files, size_t count) {
    uint64_t control[8] = {16 + count * sizeof(int32_t), SOL_SOCKET | (uint64_t)SCM_RIGHTS << 32};
    memcpy(control + 2, files, count * sizeof(int32_t));
    struct user_iovec segment = {pointer(text), strlen(text)};
    struct message message = {0, 0, pointer(&segment), 1, pointer(control), control[0], 0};
    return call(task, sys_sendmsg, (uint64_t)fd, pointer(&message), 0, 0, 0, 0);
}

static int64_t receive_rights(struct task *task, int fd, char *text, uint64_t *control, struct message *message) {
    static struct user_iovec segment;
    segment = (struct user_iovec){pointer(text), 16};
    *message = (struct message){0, 0, pointer(&segment), 1, pointer(control), message->control_length, 0};
    return call(task, sys_recvmsg, (uint64_t)fd, pointer(message), MSG_CMSG_CLOEXEC, 0, 0, 0);
}

static void descriptors_travel_with_messages(void) {
    struct network *network = network_create(1, 1);
    struct task *task = task_fake(network->hosts[0]);
    int pair[2], passed[2];
    char text[16];
    uint64_t control[8];
    struct message message = {.control_length = sizeof control};
    open_pair(task, SOCK_STREAM | SOCK_NONBLOCK, pair);
    open_pair(task, SOCK_STREAM | SOCK_NONBLOCK, passed);
    int32_t bad = 99;
    CHECK_EQUAL(send_rights(task, pair[0], "x", &bad, 1), -EBADF);
    /* Plain bytes run into the first message with files; what follows them is read apart. */
    CHECK_EQUAL(do_send(task, pair[0], "ab", 2, 0), 2);
    CHECK_EQUAL(send_rights(task, pair[0], "cd", &passed[0], 1), 2);
    CHECK_EQUAL(do_send(task, pair[0], "ef", 2, 0), 2);
    CHECK_EQUAL(fd_close(task, passed[0]), 0); /* the message keeps it open */
    CHECK_EQUAL(receive_rights(task, pair[1], text, control, &message), 4);
    CHECK_EQUAL(control[0], 20);
    int32_t fd = (int32_t)control[2];
    CHECK(fd_entry(task, fd)->close_on_exec);
    CHECK_EQUAL(do_receive(task, pair[1], text, 16, 0), 2);
    CHECK_EQUAL(do_send(task, fd, "through", 7, 0), 7);
    CHECK_EQUAL(do_receive(task, passed[1], text, 16, 0), 7);
    /* Without room: cut, and the descriptor is closed. */
    CHECK_EQUAL(send_rights(task, pair[0], "g", &fd, 1), 1);
    CHECK_EQUAL(fd_close(task, fd), 0);
    message.control_length = 8;
    CHECK_EQUAL(receive_rights(task, pair[1], text, control, &message), 1);
    CHECK((uint32_t)message.flags & MSG_CTRUNC);
    CHECK_EQUAL(do_receive(task, passed[1], text, 1, 0), 0); /* the other end is gone */
    /* Who only looks gets the files too; they stay with the message. */
    open_pair(task, SOCK_STREAM | SOCK_NONBLOCK, passed);
    CHECK_EQUAL(send_rights(task, pair[0], "p", &passed[0], 1), 1);
    message.control_length = sizeof control;
    for (int i = 0; i < 2; i++) {
        static struct user_iovec segment;
        segment = (struct user_iovec){pointer(text), 16};
        struct message peeked = {0, 0, pointer(&segment), 1, pointer(control), sizeof control, 0};
        CHECK_EQUAL(call(task, sys_recvmsg, (uint64_t)pair[1], pointer(&peeked), i ? 0 : MSG_PEEK, 0, 0, 0), 1);
        CHECK_EQUAL(fd_file(task, (int)control[2])->references, i ? 2 : 3);
        CHECK_EQUAL(fd_close(task, (int)control[2]), 0);
    }
    CHECK_EQUAL(fd_file(task, passed[0])->references, 1);
    /* Never received: dropped with the socket. */
    CHECK_EQUAL(send_rights(task, pair[0], "h", &passed[1], 1), 1);
    struct file *file = fd_file(task, passed[1]);
    CHECK_EQUAL(file->references, 2);
    CHECK_EQUAL(fd_close(task, pair[1]), 0);
    CHECK_EQUAL(file->references, 1);
    network_free(network);
}

static int64_t nothing_native(long number, const uint64_t arguments[6]) {
    (void)number, (void)arguments;
    return -EBADF; /* as in the shard */
}

/* An entry for the real standard error output. */
static int native_entry(struct task *task) {
    struct file *file = fs_native_file(task->host, 2);
    CHECK(file);
    int fd = fd_install(task, file, 0, false, dup(2));
    CHECK(fd >= 0);
    return fd;
}

static void real_files_in_flight_outlive_the_sender_and_are_closed_in_the_end(void) {
    struct network *network = network_create(1, 1);
    struct host *host = network->hosts[0];
    struct task *sender = process_create(host, NULL, 0, 0), *task = process_create(host, NULL, 0, 0);
    int pair[2], lowest = dup(2);
    char text[16];
    uint64_t control[8];
    struct message message = {.control_length = sizeof control};
    host->rights_fd = harness_rights_socket();
    open_pair(task, SOCK_DGRAM, pair);
    /* The sender has the sockets too. */
    int shared = fd_install(sender, (file_get(fd_file(task, pair[0])), fd_file(task, pair[0])), 0, false, -1);
    int32_t fd = native_entry(sender);
    for (int i = 0; i < 3; i++)
        CHECK_EQUAL(send_rights(sender, shared, "x", &fd, 1), 1);
    CHECK_EQUAL(host->net->mail_count, 3);
    CHECK_EQUAL(fd_close(sender, fd), 0);
    process_abandon(sender->process, WAIT_STATUS_SIGNAL(9));
    CHECK_EQUAL(receive_rights(task, pair[1], text, control, &message), 1);
    fd = (int32_t)control[2];
    struct stat one, other;
    CHECK(fstat(fd_entry(task, fd)->native_fd, &one) == 0 && fstat(2, &other) == 0);
    CHECK(one.st_ino == other.st_ino && one.st_dev == other.st_dev);
    CHECK_EQUAL(fd_close(task, fd), 0);
    /* The shard ends the receiver: it cannot reach the real descriptors, and the next one who passes files can. */
    struct task *heir = process_create(host, NULL, 0, 0);
    harness_native(nothing_native);
    process_abandon(task->process, WAIT_STATUS_SIGNAL(9));
    harness_native(NULL);
    CHECK_EQUAL(host->net->mail_count, 2);
    CHECK_EQUAL(host->net->files_travelling, 0);
    open_pair(heir, SOCK_DGRAM, pair);
    fd = native_entry(heir);
    CHECK_EQUAL(send_rights(heir, pair[0], "y", &fd, 1), 1);
    CHECK_EQUAL(host->net->mail_count, 1);
    CHECK_EQUAL(fd_close(heir, fd), 0);
    CHECK_EQUAL(fd_close(heir, pair[0]), 0);
    CHECK_EQUAL(fd_close(heir, pair[1]), 0);
    CHECK_EQUAL(host->net->mail_count, 0);
    CHECK(list_empty(&host->net->rights));
    close(host->rights_fd);
    close(lowest);
    CHECK_EQUAL(dup(2), lowest); /* nothing has stayed open */
    close(lowest);
    network_free(network);
}

static void files_in_flight_are_limited_for_users_without_privilege(void) {
    struct network *network = network_create(1, 1);
    struct task *task = task_fake(network->hosts[0]);
    int pair[2];
    open_pair(task, SOCK_STREAM | SOCK_NONBLOCK, pair);
    task->process->limits[LIMIT_NOFILE][0] = 8;
    const int32_t fds[3] = {pair[0], pair[1], pair[0]};
    for (int i = 0; i < 5; i++) /* root may */
        CHECK_EQUAL(send_rights(task, pair[0], "x", fds, 3), 1);
    uint64_t arguments[6] = {77};
    CHECK_EQUAL(sys_setuid(task, arguments), 0);
    for (int i = 0; i < 4; i++) /* root's do not count; the limit itself may be passed by one message */
        CHECK_EQUAL(send_rights(task, pair[0], "x", fds, 3), i < 3 ? 1 : -ETOOMANYREFS);
    network_free(network);
}

static void credentials_name_the_sender(void) {
    struct network *network = network_create(1, 1);
    struct task *task = task_fake(network->hosts[0]);
    int pair[2], on = 1;
    char text[16];
    uint64_t control[8] = {0};
    struct message message = {.control_length = sizeof control};
    open_pair(task, SOCK_DGRAM, pair);
    CHECK_EQUAL(call(task, sys_setsockopt, (uint64_t)pair[1], SOL_SOCKET, SO_PASSCRED, pointer(&on), sizeof on, 0), 0);
    CHECK_EQUAL(do_send(task, pair[0], "x", 1, 0), 1);
    CHECK_EQUAL(receive_rights(task, pair[1], text, control, &message), 1);
    CHECK_EQUAL(control[0], 28);
    CHECK_EQUAL((int32_t)(control[1] >> 32), SCM_CREDENTIALS);
    CHECK_EQUAL((int32_t)control[2], task->process->pid);
    network_free(network);
}

static void closing_everything_gives_all_memory_back(void) {
    struct network *network = network_create(1, 1);
    struct host *host = network->hosts[0];
    struct task *task = task_fake(host);
    uint64_t before = 0;
    for (int round = 0; round < 3; round++) {
        int pair[2];
        struct name name = abstract_name("memory");
        int listener = open_socket(task, SOCK_STREAM);
        CHECK_EQUAL(do_bind(task, listener, &name), 0);
        CHECK_EQUAL(do_listen(task, listener, 5), 0);
        int client = open_socket(task, SOCK_STREAM);
        CHECK_EQUAL(do_connect(task, client, &name), 0);
        CHECK_EQUAL(do_send(task, client, "unread", 6, 0), 6);
        open_pair(task, SOCK_DGRAM, pair);
        CHECK_EQUAL(send_rights(task, pair[0], "x", &client, 1), 1);
        for (int fd = 0; fd < 16; fd++)
            if (fd_file(task, fd))
                CHECK_EQUAL(fd_close(task, fd), 0);
        if (round == 1)
            before = host->arena.bytes_in_use;
    }
    CHECK_EQUAL(host->arena.bytes_in_use, before);
    network_free(network);
}

int main(void) {
    RUN(unconnected_sockets_answer_as_in_linux);
    RUN(a_stream_pair_carries_bytes_and_ends);
    RUN(a_blocking_write_waits_for_the_reader);
    RUN(messages_keep_their_boundaries);
    RUN(listeners_queue_connections_up_to_their_backlog);
    RUN(names_come_from_the_kernel_when_asked);
    RUN(a_datagram_queue_fills_and_drains);
    RUN(a_blocked_datagram_sender_goes_on_when_there_is_room);
    RUN(a_path_is_a_file_and_follows_it);
    RUN(descriptors_travel_with_messages);
    RUN(real_files_in_flight_outlive_the_sender_and_are_closed_in_the_end);
    RUN(files_in_flight_are_limited_for_users_without_privilege);
    RUN(credentials_name_the_sender);
    RUN(closing_everything_gives_all_memory_back);
    return 0;
}
