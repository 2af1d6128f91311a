/* Internet sockets as programs see them: names, options, datagrams, streams, errors; interfaces over ioctl and netlink.
 */
#include "harness.h"

#include "hot/kernel/signal.h"
#include "hot/kernel/socket.h"
#include "hot/kernel/syscalls.h"

#include <asm/fcntl.h>
#include <asm/ioctls.h>
#include <asm/socket.h>
#include <linux/if_addr.h>
#include <linux/in.h>
#include <linux/poll.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <linux/udp.h>
#include <string.h>

#define HOST1 0x0a000001u
#define HOST2 0x0a000002u

typedef int64_t call_function(struct task *task, const uint64_t *a);

/* One system call, with what the dispatcher does at its end. */
static int64_t call(struct task *task, call_function *function, uint64_t a, uint64_t b, uint64_t c, uint64_t d,
                    uint64_t e, uint64_t f) {
    uint64_t arguments[6] = {a, b, c, d, e, f};
    int64_t result = function(task, arguments);
    file_drop_held(task);
    net_run_backlog(task->host);
    return result;
}

struct address {
    uint8_t bytes[16];
};

static struct address address_of(uint32_t ip, uint16_t port) {
    struct address address;
    inet_put_name(address.bytes, AF_INET, ip4_address(ip), port, 0);
    return address;
}

static uint64_t pointer(const void *object) { return (uint64_t)object; }

static int open_socket(struct task *task, int type) {
    int64_t fd = call(task, sys_socket, AF_INET, (uint64_t)type, 0, 0, 0, 0);
    CHECK(fd >= 0);
    return (int)fd;
}

static int64_t do_bind(struct task *task, int fd, uint32_t ip, uint16_t port) {
    struct address address = address_of(ip, port);
    return call(task, sys_bind, (uint64_t)fd, pointer(&address), sizeof address, 0, 0, 0);
}

static int64_t do_connect(struct task *task, int fd, uint32_t ip, uint16_t port) {
    struct address address = address_of(ip, port);
    return call(task, sys_connect, (uint64_t)fd, pointer(&address), sizeof address, 0, 0, 0);
}

static int64_t do_send(struct task *task, int fd, const void *data, size_t length, int flags) {
    return call(task, sys_sendto, (uint64_t)fd, pointer(data), length, (uint64_t)flags, 0, 0);
}

static int64_t send_to(struct task *task, int fd, const void *data, size_t length, uint32_t ip, uint16_t port) {
    struct address address = address_of(ip, port);
    return call(task, sys_sendto, (uint64_t)fd, pointer(data), length, 0, pointer(&address), sizeof address);
}

static int64_t do_receive(struct task *task, int fd, void *data, size_t length, int flags) {
    return call(task, sys_recvfrom, (uint64_t)fd, pointer(data), length, (uint64_t)flags, 0, 0);
}

static int64_t set_number(struct task *task, int fd, int level, int name, int value) {
    return call(task, sys_setsockopt, (uint64_t)fd, (uint64_t)level, (uint64_t)name, pointer(&value), sizeof value, 0);
}

static int get_number(struct task *task, int fd, int level, int name) {
    int value = -1;
    uint32_t length = sizeof value;
    CHECK_EQUAL(
        call(task, sys_getsockopt, (uint64_t)fd, (uint64_t)level, (uint64_t)name, pointer(&value), pointer(&length), 0),
        0);
    return value;
}

static uint16_t port_of(struct task *task, int fd, uint32_t *ip) {
    struct address address;
    uint32_t length = sizeof address;
    CHECK_EQUAL(call(task, sys_getsockname, (uint64_t)fd, pointer(&address), pointer(&length), 0, 0, 0), 0);
    CHECK_EQUAL(length, sizeof address);
    if (ip)
        *ip = get32(address.bytes + 4);
    return get16(address.bytes + 2);
}

static uint32_t poll_of(struct task *task, int fd) { return file_poll(fd_file(task, fd)); }

/* ---- Creating ---- */

static void sockets_are_refused_as_linux_refuses_them(void) {
    struct network *network = network_create(1, 1);
    struct task *task = task_fake(network->hosts[0]);
    CHECK_EQUAL(call(task, sys_socket, 5 /* AF_APPLETALK */, SOCK_STREAM, 0, 0, 0, 0), -EAFNOSUPPORT);
    CHECK_EQUAL(call(task, sys_socket, AF_PACKET, SOCK_STREAM, 0, 0, 0, 0), -ESOCKTNOSUPPORT);
    CHECK_EQUAL(call(task, sys_socket, AF_INET, SOCK_RAW, 0, 0, 0, 0), -EPROTONOSUPPORT);
    CHECK_EQUAL(call(task, sys_socket, AF_INET, SOCK_STREAM, PROTOCOL_UDP, 0, 0, 0), -EPROTONOSUPPORT);
    CHECK_EQUAL(call(task, sys_socket, AF_INET, SOCK_STREAM | 0x100, 0, 0, 0, 0), -EINVAL);
    CHECK_EQUAL(call(task, sys_bind, 77, 0, 0, 0, 0, 0), -EBADF);
    int fd = open_socket(task, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC);
    CHECK(fd_entry(task, fd)->close_on_exec && (fd_file(task, fd)->flags & O_NONBLOCK));
    CHECK_EQUAL(get_number(task, fd, SOL_SOCKET, SO_TYPE), SOCK_DGRAM);
    CHECK_EQUAL(get_number(task, fd, SOL_SOCKET, SO_DOMAIN), AF_INET);
    CHECK_EQUAL(get_number(task, fd, SOL_SOCKET, SO_PROTOCOL), PROTOCOL_UDP);
    CHECK_EQUAL(call(task, sys_listen, (uint64_t)fd, 5, 0, 0, 0, 0), -EOPNOTSUPP);
    CHECK_EQUAL(call(task, sys_accept, (uint64_t)fd, 0, 0, 0, 0, 0), -EOPNOTSUPP);
    network_free(network);
}

static void ports_are_shared_only_where_linux_allows_it(void) {
    struct network *network = network_create(1, 1);
    struct task *task = task_fake(network->hosts[0]);
    int a = open_socket(task, SOCK_DGRAM), b = open_socket(task, SOCK_DGRAM), c = open_socket(task, SOCK_STREAM);
    CHECK_EQUAL(do_bind(task, a, 0x08080808, 53), -EADDRNOTAVAIL);
    CHECK_EQUAL(do_bind(task, a, 0, 53), 0);
    CHECK_EQUAL(do_bind(task, a, 0, 54), -EINVAL);
    CHECK_EQUAL(do_bind(task, b, HOST1, 53), -EADDRINUSE);
    CHECK_EQUAL(do_bind(task, c, 0, 53), 0); /* TCP has ports of its own */
    CHECK_EQUAL(set_number(task, b, SOL_SOCKET, SO_REUSEADDR, 1), 0);
    CHECK_EQUAL(do_bind(task, b, HOST1, 53), -EADDRINUSE); /* both must want it */
    CHECK_EQUAL(set_number(task, a, SOL_SOCKET, SO_REUSEADDR, 1), 0);
    CHECK_EQUAL(do_bind(task, b, HOST1, 53), 0);
    int d = open_socket(task, SOCK_STREAM), e = open_socket(task, SOCK_STREAM);
    CHECK_EQUAL(do_bind(task, d, 0x7f000001, 80), 0);
    CHECK_EQUAL(do_bind(task, e, HOST1, 80), 0); /* different addresses do not meet */
    CHECK_EQUAL(fd_close(task, d), 0);
    int f = open_socket(task, SOCK_STREAM);
    CHECK_EQUAL(do_bind(task, f, 0x7f000001, 80), 0);
    network_free(network);
}

static void ephemeral_ports_depend_on_the_seed_alone(void) {
    uint16_t ports[3];
    for (int run = 0; run < 3; run++) {
        struct network *network = network_create(1, run == 2 ? 8 : 7);
        struct task *task = task_fake(network->hosts[0]);
        int fd = open_socket(task, SOCK_DGRAM);
        CHECK_EQUAL(do_bind(task, fd, 0, 0), 0);
        ports[run] = port_of(task, fd, NULL);
        CHECK(ports[run] >= 32768 && ports[run] <= 60999);
        network_free(network);
    }
    CHECK_EQUAL(ports[0], ports[1]);
    CHECK(ports[0] != ports[2]);
}

static void every_ephemeral_port_is_given_out_before_bind_fails(void) {
    struct network *network = network_create(1, 1);
    struct host *host = network->hosts[0];
    struct socket **sockets = calloc(28232, sizeof(struct socket *));
    CHECK(sockets);
    for (int i = 0; i < 28232; i++) {
        sockets[i] = socket_create(host, AF_INET, SOCK_DGRAM, PROTOCOL_UDP);
        CHECK_EQUAL(inet_bind(sockets[i], IP4_ANY, 0), 0);
        for (int j = KMAX(0, i - 3); j < i; j++)
            CHECK(sockets[i]->local_port != sockets[j]->local_port);
    }
    struct socket *last = socket_create(host, AF_INET, SOCK_DGRAM, PROTOCOL_UDP);
    CHECK_EQUAL(inet_bind(last, IP4_ANY, 0), -EADDRINUSE);
    CHECK_EQUAL(inet_autobind(last), -EAGAIN);
    uint16_t freed = sockets[100]->local_port;
    socket_free(sockets[100]);
    CHECK_EQUAL(inet_bind(last, IP4_ANY, 0), 0);
    CHECK_EQUAL(last->local_port, freed);
    for (int i = 0; i < 28232; i++)
        if (i != 100)
            socket_free(sockets[i]);
    socket_free(last);
    CHECK_EQUAL(host->net->ports.count, 0);
    free(sockets);
    network_free(network);
}

/* ---- Datagrams ---- */

static void datagrams_cross_the_network_whole(void) {
    struct network *network = network_create(2, 1);
    struct task *one = task_fake(network->hosts[0]), *two = task_fake(network->hosts[1]);
    static uint8_t sent[65507], received[65508];
    test_pattern(sent, sizeof sent, 0, 1);
    int server = open_socket(two, SOCK_DGRAM | SOCK_NONBLOCK), client = open_socket(one, SOCK_DGRAM);
    CHECK_EQUAL(do_bind(two, server, 0, 9000), 0);
    size_t sizes[] = {0, 1, 1472, 1473, 65507};
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        CHECK_EQUAL(send_to(one, client, sent, sizes[i], HOST2, 9000), (int64_t)sizes[i]);
        CHECK_EQUAL(do_receive(two, server, received, sizeof received, 0), -EAGAIN);
        network_run(network);
        struct address from;
        uint32_t length = sizeof from;
        CHECK_EQUAL(call(two, sys_recvfrom, (uint64_t)server, pointer(received), sizeof received, 0, pointer(&from),
                         pointer(&length)),
                    (int64_t)sizes[i]);
        CHECK(test_pattern_matches(received, sizes[i], 0, 1));
        CHECK_EQUAL(get32(from.bytes + 4), HOST1);
        CHECK_EQUAL(get16(from.bytes + 2), port_of(one, client, NULL));
    }
    CHECK_EQUAL(send_to(one, client, sent, 65508, HOST2, 9000), -EMSGSIZE);
    CHECK_EQUAL(send_to(one, client, sent, 1, HOST2, 0), -EINVAL);
    CHECK_EQUAL(send_to(one, client, sent, 1, UINT32_MAX, 9), -EACCES);
    CHECK_EQUAL(set_number(one, client, SOL_SOCKET, SO_BROADCAST, 1), 0);
    CHECK_EQUAL(send_to(one, client, sent, 1, UINT32_MAX, 9), -ENETUNREACH);
    CHECK_EQUAL(do_send(one, client, sent, 1, 0), -EDESTADDRREQ);
    CHECK_EQUAL(set_number(one, client, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO), 0);
    CHECK_EQUAL(send_to(one, client, sent, 1473, HOST2, 9000), -EMSGSIZE);
    network_free(network);
}

static void peek_and_truncation_follow_linux(void) {
    struct network *network = network_create(1, 1);
    struct task *task = task_fake(network->hosts[0]);
    int a = open_socket(task, SOCK_DGRAM | SOCK_NONBLOCK);
    CHECK_EQUAL(do_bind(task, a, 0x7f000001, 5000), 0);
    CHECK_EQUAL(do_connect(task, a, 0x7f000001, 5000), 0); /* to itself */
    CHECK_EQUAL(do_send(task, a, "hello", 5, 0), 5);
    char text[8] = {0};
    int waiting = 0;
    CHECK_EQUAL(call(task, sys_ioctl, (uint64_t)a, FIONREAD, pointer(&waiting), 0, 0, 0), 0);
    CHECK_EQUAL(waiting, 5);
    CHECK_EQUAL(do_receive(task, a, text, 2, MSG_PEEK), 2);
    CHECK_EQUAL(do_receive(task, a, text, 2, MSG_PEEK | MSG_TRUNC), 5);
    CHECK(poll_of(task, a) & POLLIN);
    struct user_iovec segments[2] = {{pointer(text), 1}, {pointer(text + 1), 2}};
    uint64_t message[7] = {0, 0, pointer(segments), 2, 0, 0, 0};
    CHECK_EQUAL(call(task, sys_recvmsg, (uint64_t)a, pointer(message), 0, 0, 0, 0), 3);
    CHECK(!memcmp(text, "hel", 3));
    CHECK_EQUAL((uint32_t)message[6], MSG_TRUNC);
    CHECK_EQUAL(do_receive(task, a, text, 2, 0), -EAGAIN);
    CHECK_EQUAL(do_receive(task, a, text, 2, MSG_ERRQUEUE), -EAGAIN);
    CHECK_EQUAL(call(task, sys_write, (uint64_t)a, pointer(text), 0, 0, 0, 0), 0); /* an empty datagram */
    CHECK_EQUAL(call(task, sys_read, (uint64_t)a, pointer(text), 8, 0, 0, 0), 0);
    network_free(network);
}

static void a_closed_port_refuses_connected_sockets(void) {
    struct network *network = network_create(2, 1);
    struct task *task = task_fake(network->hosts[0]);
    char byte = 0;
    for (int remote = 0; remote < 2; remote++) {
        int fd = open_socket(task, SOCK_DGRAM | SOCK_NONBLOCK);
        CHECK_EQUAL(do_connect(task, fd, remote ? HOST2 : LOOPBACK_ADDRESS, 7), 0);
        CHECK_EQUAL(do_send(task, fd, &byte, 1, 0), 1);
        network_run(network);
        CHECK(poll_of(task, fd) & POLLERR);
        CHECK_EQUAL(do_receive(task, fd, &byte, 1, 0), -ECONNREFUSED);
        CHECK_EQUAL(do_receive(task, fd, &byte, 1, 0), -EAGAIN);
        CHECK_EQUAL(do_send(task, fd, &byte, 1, 0), 1);
        network_run(network);
        CHECK_EQUAL(get_number(task, fd, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
        CHECK_EQUAL(get_number(task, fd, SOL_SOCKET, SO_ERROR), 0);
        CHECK_EQUAL(do_send(task, fd, &byte, 1, 0), 1);
        network_run(network);
        CHECK_EQUAL(do_send(task, fd, &byte, 1, 0), -ECONNREFUSED);
    }
    int unconnected = open_socket(task, SOCK_DGRAM | SOCK_NONBLOCK);
    CHECK_EQUAL(send_to(task, unconnected, &byte, 1, HOST2, 7), 1);
    network_run(network);
    CHECK_EQUAL(do_receive(task, unconnected, &byte, 1, 0), -EAGAIN);
    CHECK_EQUAL(network->hosts[1]->counters.packets_dropped_no_socket, 4);
    network_free(network);
}

static void unreachable_answers_are_limited(void) {
    struct network *network = network_create(2, 1);
    struct task *task = task_fake(network->hosts[0]);
    int fd = open_socket(task, SOCK_DGRAM);
    for (int i = 0; i < 100; i++)
        CHECK_EQUAL(send_to(task, fd, "x", 1, HOST2, 7), 1);
    network_run(network);
    CHECK_EQUAL(network->hosts[1]->counters.packets_sent, 50);
    network_free(network);
}

static void connected_datagram_sockets_hear_their_peer_alone(void) {
    struct network *network = network_create(2, 1);
    struct task *one = task_fake(network->hosts[0]), *two = task_fake(network->hosts[1]);
    int any = open_socket(one, SOCK_DGRAM | SOCK_NONBLOCK), peer = open_socket(one, SOCK_DGRAM | SOCK_NONBLOCK);
    int a = open_socket(two, SOCK_DGRAM), b = open_socket(two, SOCK_DGRAM);
    char text[4];
    uint32_t ip;
    CHECK_EQUAL(set_number(one, any, SOL_SOCKET, SO_REUSEADDR, 1), 0);
    CHECK_EQUAL(set_number(one, peer, SOL_SOCKET, SO_REUSEADDR, 1), 0);
    CHECK_EQUAL(do_bind(one, any, 0, 9000), 0);
    CHECK_EQUAL(do_bind(one, peer, 0, 9000), 0);
    CHECK_EQUAL(do_bind(two, a, 0, 1111), 0);
    CHECK_EQUAL(do_bind(two, b, 0, 2222), 0);
    CHECK_EQUAL(do_connect(one, peer, HOST2, 1111), 0);
    CHECK_EQUAL(port_of(one, peer, &ip), 9000);
    CHECK_EQUAL(ip, HOST1);
    CHECK_EQUAL(send_to(two, a, "a", 1, HOST1, 9000), 1);
    CHECK_EQUAL(send_to(two, b, "b", 1, HOST1, 9000), 1);
    network_run(network);
    CHECK_EQUAL(do_receive(one, peer, text, 4, 0), 1);
    CHECK(text[0] == 'a');
    CHECK_EQUAL(do_receive(one, peer, text, 4, 0), -EAGAIN);
    CHECK_EQUAL(do_receive(one, any, text, 4, 0), 1);
    CHECK(text[0] == 'b');
    /* Connected elsewhere, then disconnected: the bound name comes back. */
    CHECK_EQUAL(do_connect(one, peer, HOST2, 2222), 0);
    uint8_t unspecified[16] = {0};
    CHECK_EQUAL(call(one, sys_connect, (uint64_t)peer, pointer(unspecified), sizeof unspecified, 0, 0, 0), 0);
    CHECK_EQUAL(port_of(one, peer, &ip), 9000);
    CHECK_EQUAL(ip, 0);
    uint32_t length = sizeof unspecified;
    CHECK_EQUAL(call(one, sys_getpeername, (uint64_t)peer, pointer(unspecified), pointer(&length), 0, 0, 0), -ENOTCONN);
    network_free(network);
}

static void a_full_receive_buffer_drops_and_counts(void) {
    struct network *network = network_create(1, 1);
    struct task *task = task_fake(network->hosts[0]);
    int server = open_socket(task, SOCK_DGRAM | SOCK_NONBLOCK), client = open_socket(task, SOCK_DGRAM);
    CHECK_EQUAL(do_bind(task, server, 0, 9000), 0);
    CHECK_EQUAL(set_number(task, server, SOL_SOCKET, SO_RCVBUF, 4096), 0);
    CHECK_EQUAL(get_number(task, server, SOL_SOCKET, SO_RCVBUF), 8192);
    for (int i = 0; i < 100; i++)
        CHECK_EQUAL(send_to(task, client, "x", 1, LOOPBACK_ADDRESS, 9000), 1);
    /* 768 bytes are charged for each small datagram, and the last may overshoot. */
    int64_t expected = 8192 / 768 + 1;
    CHECK_EQUAL(network->hosts[0]->counters.packets_dropped_buffer, 100 - expected);
    char byte;
    for (int64_t i = 0; i < expected; i++)
        CHECK_EQUAL(do_receive(task, server, &byte, 1, 0), 1);
    CHECK_EQUAL(do_receive(task, server, &byte, 1, 0), -EAGAIN);
    CHECK_EQUAL(((struct socket *)fd_file(task, server)->object)->receive_used, 0);
    network_free(network);
}

struct blocked {
    int fd;
    int64_t result, finished;
};

static void send_many(struct task *task, void *argument) {
    struct blocked *blocked = argument;
    static const uint8_t data[1000];
    blocked->fd = open_socket(task, SOCK_DGRAM);
    CHECK_EQUAL(set_number(task, blocked->fd, SOL_SOCKET, SO_SNDBUF, 4096), 0);
    for (int i = 0; i < 100; i++)
        CHECK_EQUAL(send_to(task, blocked->fd, data, sizeof data, HOST2, 9000), 1000);
    blocked->finished = task->host->now;
}

static void a_full_send_buffer_blocks_until_the_uplink_took_it(void) {
    struct network *network = network_create(2, 1);
    network->wires[0].uplink_bps = 1028 * 8 * 100; /* one datagram in 10 ms */
    struct blocked blocked = {0};
    struct task *task = task_start(network->hosts[0], send_many, &blocked);
    network_run(network);
    CHECK(task_finished(task));
    CHECK(blocked.finished > 900 * NS_PER_MS && blocked.finished < 1000 * NS_PER_MS);
    struct socket *socket = fd_file(task, blocked.fd)->object;
    CHECK_EQUAL(socket->queued_bytes, 0);
    CHECK_EQUAL(network->wires[0].packets, 100);
    network_free(network);
}

static void a_closed_socket_outlives_its_queued_packets(void) {
    struct network *network = network_create(2, 1);
    struct host *host = network->hosts[0];
    struct task *task = task_fake(host);
    network->wires[0].uplink_bps = 8000;
    int fd = open_socket(task, SOCK_DGRAM);
    uint64_t before = host->arena.bytes_in_use;
    for (int i = 0; i < 5; i++)
        CHECK_EQUAL(send_to(task, fd, "x", 1, HOST2, 9000), 1);
    CHECK_EQUAL(fd_close(task, fd), 0);
    network_run(network);
    CHECK_EQUAL(network->wires[0].packets, 5);
    CHECK(host->arena.bytes_in_use < before);
    network_free(network);
}

static void receive_with_timeout(struct task *task, void *argument) {
    struct blocked *blocked = argument;
    int64_t timeout[2] = {1, 500000};
    char byte;
    blocked->fd = open_socket(task, SOCK_DGRAM);
    CHECK_EQUAL(do_bind(task, blocked->fd, 0, 9000), 0);
    CHECK_EQUAL(call(task, sys_setsockopt, (uint64_t)blocked->fd, SOL_SOCKET, SO_RCVTIMEO_OLD, pointer(timeout),
                     sizeof timeout, 0),
                0);
    blocked->result = do_receive(task, blocked->fd, &byte, 1, 0);
    blocked->finished = task->host->now;
}

static void receive_timeouts_end_in_virtual_time(void) {
    struct network *network = network_create(1, 1);
    struct blocked blocked = {0};
    struct task *task = task_start(network->hosts[0], receive_with_timeout, &blocked);
    network_run(network);
    CHECK_EQUAL(blocked.result, -EAGAIN);
    CHECK_EQUAL(blocked.finished, 1500 * NS_PER_MS);
    int64_t timeout[2] = {0, 1000000};
    CHECK_EQUAL(call(task, sys_setsockopt, (uint64_t)blocked.fd, SOL_SOCKET, SO_RCVTIMEO_OLD, pointer(timeout),
                     sizeof timeout, 0),
                -EDOM);
    uint32_t length = sizeof timeout;
    CHECK_EQUAL(call(task, sys_getsockopt, (uint64_t)blocked.fd, SOL_SOCKET, SO_RCVTIMEO_OLD, pointer(timeout),
                     pointer(&length), 0),
                0);
    CHECK_EQUAL(timeout[0], 1);
    CHECK_EQUAL(timeout[1], 500000);
    network_free(network);
}

static void control_messages_tell_time_and_address(void) {
    struct network *network = network_create(2, 1);
    struct task *one = task_fake(network->hosts[0]), *two = task_fake(network->hosts[1]);
    int client = open_socket(one, SOCK_DGRAM), server = open_socket(two, SOCK_DGRAM | SOCK_NONBLOCK);
    CHECK_EQUAL(do_bind(two, server, 0, 9000), 0);
    CHECK_EQUAL(set_number(two, server, IPPROTO_IP, IP_PKTINFO, 1), 0);
    CHECK_EQUAL(set_number(two, server, IPPROTO_IP, IP_RECVTTL, 1), 0);
    CHECK_EQUAL(set_number(two, server, SOL_SOCKET, SO_TIMESTAMPNS_OLD, 1), 0);
    CHECK_EQUAL(set_number(one, client, IPPROTO_IP, IP_TTL, 9), 0);
    CHECK_EQUAL(send_to(one, client, "x", 1, HOST2, 9000), 1);
    network_run(network);
    uint64_t control[16] = {0};
    char byte;
    struct user_iovec segment = {pointer(&byte), 1};
    uint64_t message[7] = {0, 0, pointer(&segment), 1, pointer(control), sizeof control, 0};
    CHECK_EQUAL(call(two, sys_recvmsg, (uint64_t)server, pointer(message), 0, 0, 0, 0), 1);
    CHECK_EQUAL(message[5], 32 + 32 + 24);
    CHECK_EQUAL(control[0], 32);
    CHECK_EQUAL((int32_t)(control[1] >> 32), SO_TIMESTAMPNS_OLD);
    CHECK_EQUAL(control[2], EPOCH_SECONDS);
    CHECK_EQUAL(control[3], 10 * NS_PER_MS);
    CHECK_EQUAL(control[4], 28);
    CHECK_EQUAL((int32_t)(control[5] >> 32), IP_PKTINFO);
    CHECK_EQUAL((int32_t)control[6], INTERFACE_ETH);
    CHECK_EQUAL(get32((uint8_t *)control + 56), HOST2);
    CHECK_EQUAL(control[8], 20);
    CHECK_EQUAL((int32_t)(control[9] >> 32), IP_TTL);
    CHECK_EQUAL((int32_t)control[10], 9);
    /* Room for the header alone: cut, and said so. */
    CHECK_EQUAL(send_to(one, client, "x", 1, HOST2, 9000), 1);
    network_run(network);
    message[5] = 16;
    CHECK_EQUAL(call(two, sys_recvmsg, (uint64_t)server, pointer(message), 0, 0, 0, 0), 1);
    CHECK_EQUAL((uint32_t)message[6], MSG_CTRUNC);
    /* The source address may be chosen by a control message. */
    uint64_t choice[5] = {28, (uint64_t)IP_PKTINFO << 32, 0, 0, 0};
    put32((uint8_t *)choice + 20, HOST1);
    struct address to = address_of(HOST1, 9000);
    uint64_t outgoing[7] = {pointer(&to), sizeof to, pointer(&segment), 1, pointer(choice), 32, 0};
    int local = open_socket(one, SOCK_DGRAM | SOCK_NONBLOCK);
    CHECK_EQUAL(do_bind(one, local, 0, 9000), 0);
    CHECK_EQUAL(call(one, sys_sendmsg, (uint64_t)client, pointer(outgoing), 0, 0, 0, 0), 1);
    put32((uint8_t *)choice + 20, HOST2);
    CHECK_EQUAL(call(one, sys_sendmsg, (uint64_t)client, pointer(outgoing), 0, 0, 0, 0), -ENETUNREACH);
    struct address from;
    uint32_t length = sizeof from;
    CHECK_EQUAL(call(one, sys_recvfrom, (uint64_t)local, pointer(&byte), 1, 0, pointer(&from), pointer(&length)), 1);
    CHECK_EQUAL(get32(from.bytes + 4), HOST1);
    network_free(network);
}

static void many_messages_go_in_one_call(void) {
    struct network *network = network_create(1, 1);
    struct task *task = task_fake(network->hosts[0]);
    int server = open_socket(task, SOCK_DGRAM), client = open_socket(task, SOCK_DGRAM);
    CHECK_EQUAL(do_bind(task, server, 0, 9000), 0);
    CHECK_EQUAL(do_connect(task, client, LOOPBACK_ADDRESS, 9000), 0);
    char texts[20][32];
    struct user_iovec segments[20];
    uint64_t vector[20][8] = {{0}};
    for (size_t i = 0; i < 20; i++) {
        memset(texts[i], 'a' + (int)i, 32);
        segments[i] = (struct user_iovec){pointer(texts[i]), i};
        vector[i][2] = pointer(&segments[i]);
        vector[i][3] = 1;
    }
    CHECK_EQUAL(call(task, sys_sendmmsg, (uint64_t)client, pointer(vector), 20, 0, 0, 0), 20);
    for (size_t i = 0; i < 20; i++)
        segments[i].length = 32;
    CHECK_EQUAL(call(task, sys_recvmmsg, (uint64_t)server, pointer(vector), 7, 0, 0, 0), 7);
    CHECK_EQUAL((uint32_t)vector[6][7], 6);
    CHECK_EQUAL(call(task, sys_recvmmsg, (uint64_t)server, pointer(vector), 20, MSG_WAITFORONE, 0, 0), 13);
    CHECK(texts[12][0] == 'a' + 19);
    CHECK_EQUAL(call(task, sys_recvmmsg, (uint64_t)server, pointer(vector), 20, MSG_DONTWAIT, 0, 0), -EAGAIN);
    CHECK_EQUAL(call(task, sys_sendmmsg, (uint64_t)client, 8, 1, 0, 0, 0), -EFAULT);
    network_free(network);
}

static void msg_more_gathers_one_datagram(void) {
    struct network *network = network_create(1, 1);
    struct task *task = task_fake(network->hosts[0]);
    int server = open_socket(task, SOCK_DGRAM | SOCK_NONBLOCK), client = open_socket(task, SOCK_DGRAM);
    char text[16];
    CHECK_EQUAL(do_bind(task, server, 0, 9000), 0);
    CHECK_EQUAL(do_connect(task, client, LOOPBACK_ADDRESS, 9000), 0);
    CHECK_EQUAL(do_send(task, client, "one ", 4, MSG_MORE), 4);
    CHECK_EQUAL(do_send(task, client, "two ", 4, MSG_MORE), 4);
    CHECK_EQUAL(do_receive(task, server, text, 16, 0), -EAGAIN);
    CHECK_EQUAL(do_send(task, client, "three", 5, 0), 5);
    CHECK_EQUAL(do_receive(task, server, text, 16, 0), 13);
    CHECK(!memcmp(text, "one two three", 13));
    CHECK_EQUAL(set_number(task, client, SOL_UDP, UDP_CORK, 1), 0);
    CHECK_EQUAL(do_send(task, client, "corked", 6, 0), 6);
    CHECK_EQUAL(do_receive(task, server, text, 16, 0), -EAGAIN);
    CHECK_EQUAL(set_number(task, client, SOL_UDP, UDP_CORK, 0), 0);
    CHECK_EQUAL(do_receive(task, server, text, 16, 0), 6);
    CHECK_EQUAL(do_send(task, client, "x", 1, MSG_MORE), 1); /* dropped with the socket */
    CHECK_EQUAL(fd_close(task, client), 0);
    network_free(network);
}

static void shutdown_of_datagram_sockets(void) {
    struct network *network = network_create(1, 1);
    struct task *task = task_fake(network->hosts[0]);
    int fd = open_socket(task, SOCK_DGRAM);
    char byte;
    CHECK_EQUAL(call(task, sys_shutdown, (uint64_t)fd, SHUT_RD, 0, 0, 0, 0), -ENOTCONN);
    CHECK_EQUAL(do_connect(task, fd, LOOPBACK_ADDRESS, 9), 0);
    CHECK_EQUAL(call(task, sys_shutdown, (uint64_t)fd, 3, 0, 0, 0, 0), -EINVAL);
    CHECK_EQUAL(call(task, sys_shutdown, (uint64_t)fd, SHUT_RDWR, 0, 0, 0, 0), 0);
    CHECK_EQUAL(do_receive(task, fd, &byte, 1, 0), 0);
    CHECK_EQUAL(do_send(task, fd, &byte, 1, 0), -EPIPE);
    CHECK(poll_of(task, fd) & POLLHUP);
    network_free(network);
}

/* ---- Streams ---- */

static uint8_t big[200000];

static void serve_once(struct task *task, void *argument) {
    struct blocked *blocked = argument;
    int fd = open_socket(task, SOCK_STREAM);
    CHECK_EQUAL(do_bind(task, fd, 0, 80), 0);
    CHECK_EQUAL(call(task, sys_listen, (uint64_t)fd, 5, 0, 0, 0, 0), 0);
    CHECK_EQUAL(get_number(task, fd, SOL_SOCKET, SO_ACCEPTCONN), 1);
    CHECK_EQUAL(do_connect(task, fd, HOST1, 1), -EISCONN);
    struct address peer;
    uint32_t length = sizeof peer;
    int64_t accepted = call(task, sys_accept4, (uint64_t)fd, pointer(&peer), pointer(&length), SOCK_CLOEXEC, 0, 0);
    CHECK(accepted > fd && fd_entry(task, (int)accepted)->close_on_exec);
    CHECK_EQUAL(get32(peer.bytes + 4), HOST1);
    static uint8_t got[sizeof big];
    CHECK_EQUAL(do_receive(task, (int)accepted, got, sizeof got, MSG_WAITALL), (int64_t)sizeof got);
    CHECK(test_pattern_matches(got, sizeof got, 0, 3));
    CHECK_EQUAL(do_receive(task, (int)accepted, got, 1, 0), 0);
    CHECK_EQUAL(do_send(task, (int)accepted, "bye", 3, 0), 3);
    CHECK_EQUAL(fd_close(task, (int)accepted), 0);
    blocked->finished = task->host->now;
}

static void fetch_once(struct task *task, void *argument) {
    struct blocked *blocked = argument;
    int fd = blocked->fd = open_socket(task, SOCK_STREAM);
    char text[8];
    CHECK_EQUAL(do_connect(task, fd, HOST2, 80), 0);
    CHECK_EQUAL(do_connect(task, fd, HOST2, 80), -EISCONN);
    CHECK_EQUAL(do_send(task, fd, big, sizeof big, 0), (int64_t)sizeof big); /* more than the buffer: it blocks */
    CHECK_EQUAL(call(task, sys_shutdown, (uint64_t)fd, SHUT_WR, 0, 0, 0, 0), 0);
    CHECK_EQUAL(do_receive(task, fd, text, 8, 0), 3);
    CHECK_EQUAL(do_receive(task, fd, text, 8, 0), 0);
    CHECK_EQUAL(do_send(task, fd, "x", 1, MSG_NOSIGNAL), -EPIPE);
    CHECK(!(task->signals.set & signal_bit(KSIGPIPE)));
    CHECK_EQUAL(do_send(task, fd, "x", 1, 0), -EPIPE);
    CHECK(task->signals.set & signal_bit(KSIGPIPE));
    blocked->finished = task->host->now;
}

static void a_stream_carries_everything_through_blocking_calls(void) {
    struct network *network = network_create(2, 1);
    struct blocked server = {0}, client = {0};
    test_pattern(big, sizeof big, 0, 3);
    task_start(network->hosts[1], serve_once, &server);
    struct task *fetcher = task_start(network->hosts[0], fetch_once, &client);
    fetcher->signal_mask = signal_bit(KSIGPIPE);
    network_run_for(network, 100 * NS_PER_S);
    CHECK(server.finished > 0 && client.finished > 0);
    network_free(network);
}

static void non_blocking_connects_report_once(void) {
    struct network *network = network_create(2, 1);
    struct task *one = task_fake(network->hosts[0]), *two = task_fake(network->hosts[1]);
    int listener = open_socket(two, SOCK_STREAM | SOCK_NONBLOCK);
    CHECK_EQUAL(do_bind(two, listener, 0, 80), 0);
    CHECK_EQUAL(call(two, sys_listen, (uint64_t)listener, 5, 0, 0, 0, 0), 0);
    CHECK_EQUAL(call(two, sys_accept, (uint64_t)listener, 0, 0, 0, 0, 0), -EAGAIN);
    int fd = open_socket(one, SOCK_STREAM | SOCK_NONBLOCK);
    CHECK_EQUAL(do_connect(one, fd, HOST2, 80), -EINPROGRESS);
    CHECK_EQUAL(do_connect(one, fd, HOST2, 80), -EALREADY);
    CHECK(!(poll_of(one, fd) & POLLOUT));
    network_run_for(network, NS_PER_S);
    CHECK(poll_of(one, fd) & POLLOUT);
    CHECK_EQUAL(get_number(one, fd, SOL_SOCKET, SO_ERROR), 0);
    CHECK_EQUAL(do_connect(one, fd, HOST2, 80), 0);
    CHECK_EQUAL(do_connect(one, fd, HOST2, 80), -EISCONN);
    CHECK(call(two, sys_accept, (uint64_t)listener, 0, 0, 0, 0, 0) >= 0);
    /* Nobody listens there. */
    int refused = open_socket(one, SOCK_STREAM | SOCK_NONBLOCK);
    CHECK_EQUAL(do_connect(one, refused, HOST2, 81), -EINPROGRESS);
    network_run_for(network, NS_PER_S);
    CHECK(poll_of(one, refused) & POLLERR);
    CHECK_EQUAL(do_connect(one, refused, HOST2, 81), -ECONNREFUSED);
    /* The socket may try again, as in Linux. */
    CHECK_EQUAL(do_connect(one, refused, HOST2, 80), -EINPROGRESS);
    network_run_for(network, NS_PER_S);
    CHECK_EQUAL(do_connect(one, refused, HOST2, 80), 0);
    int other = open_socket(one, SOCK_STREAM | SOCK_NONBLOCK);
    CHECK_EQUAL(do_connect(one, other, HOST2, 81), -EINPROGRESS);
    network_run_for(network, NS_PER_S);
    CHECK_EQUAL(get_number(one, other, SOL_SOCKET, SO_ERROR), ECONNREFUSED);
    CHECK_EQUAL(do_connect(one, other, HOST2, 80), -ECONNABORTED); /* the reason was read already */
    network_free(network);
}

static void two_sockets_bound_alike_cannot_both_listen(void) {
    struct network *network = network_create(1, 1);
    struct task *task = task_fake(network->hosts[0]);
    int a = open_socket(task, SOCK_STREAM), b = open_socket(task, SOCK_STREAM);
    CHECK_EQUAL(set_number(task, a, SOL_SOCKET, SO_REUSEADDR, 1), 0);
    CHECK_EQUAL(set_number(task, b, SOL_SOCKET, SO_REUSEADDR, 1), 0);
    CHECK_EQUAL(do_bind(task, a, 0, 80), 0);
    CHECK_EQUAL(do_bind(task, b, 0, 80), 0);
    CHECK_EQUAL(call(task, sys_listen, (uint64_t)a, 5, 0, 0, 0, 0), 0);
    CHECK_EQUAL(call(task, sys_listen, (uint64_t)b, 5, 0, 0, 0, 0), -EADDRINUSE);
    int c = open_socket(task, SOCK_STREAM);
    CHECK_EQUAL(set_number(task, c, SOL_SOCKET, SO_REUSEADDR, 1), 0);
    CHECK_EQUAL(do_bind(task, c, HOST1, 80), -EADDRINUSE);
    CHECK_EQUAL(fd_close(task, a), 0);
    CHECK_EQUAL(call(task, sys_listen, (uint64_t)b, 5, 0, 0, 0, 0), 0);
    network_free(network);
}

static void listeners_of_a_reuse_port_group_take_turns(void) {
    struct network *network = network_create(1, 1);
    struct task *task = task_fake(network->hosts[0]);
    int listeners[2];
    for (int i = 0; i < 2; i++) {
        listeners[i] = open_socket(task, SOCK_STREAM | SOCK_NONBLOCK);
        CHECK_EQUAL(set_number(task, listeners[i], SOL_SOCKET, SO_REUSEPORT, 1), 0);
        CHECK_EQUAL(do_bind(task, listeners[i], 0, 80), 0);
        CHECK_EQUAL(call(task, sys_listen, (uint64_t)listeners[i], 5, 0, 0, 0, 0), 0);
    }
    for (int i = 0; i < 4; i++)
        CHECK_EQUAL(do_connect(task, open_socket(task, SOCK_STREAM | SOCK_NONBLOCK), LOOPBACK_ADDRESS, 80),
                    -EINPROGRESS);
    for (int i = 0; i < 2; i++) {
        CHECK(call(task, sys_accept, (uint64_t)listeners[i], 0, 0, 0, 0, 0) >= 0);
        CHECK(call(task, sys_accept, (uint64_t)listeners[i], 0, 0, 0, 0, 0) >= 0);
        CHECK_EQUAL(call(task, sys_accept, (uint64_t)listeners[i], 0, 0, 0, 0, 0), -EAGAIN);
    }
    network_free(network);
}

static void accept_without_a_free_descriptor_keeps_the_connection(void) {
    struct network *network = network_create(1, 1);
    struct task *task = task_fake(network->hosts[0]), *client = task_fake(network->hosts[0]);
    int listener = open_socket(task, SOCK_STREAM | SOCK_NONBLOCK);
    CHECK_EQUAL(do_bind(task, listener, 0, 80), 0);
    CHECK_EQUAL(call(task, sys_listen, (uint64_t)listener, 5, 0, 0, 0, 0), 0);
    CHECK_EQUAL(do_connect(client, open_socket(client, SOCK_STREAM | SOCK_NONBLOCK), LOOPBACK_ADDRESS, 80),
                -EINPROGRESS);
    task->process->limits[7][0] = (uint64_t)listener + 1;
    CHECK_EQUAL(call(task, sys_accept, (uint64_t)listener, 0, 0, 0, 0, 0), -EMFILE);
    task->process->limits[7][0] = 1024;
    CHECK_EQUAL(call(task, sys_accept, (uint64_t)listener, 0, 0, 0, 0, 0), listener + 1);
    network_free(network);
}

/* ---- Options ---- */

static void buffer_sizes_are_doubled_and_bounded(void) {
    struct network *network = network_create(1, 1);
    struct task *task = task_fake(network->hosts[0]);
    int fd = open_socket(task, SOCK_DGRAM);
    CHECK_EQUAL(get_number(task, fd, SOL_SOCKET, SO_SNDBUF), 212992);
    CHECK_EQUAL(set_number(task, fd, SOL_SOCKET, SO_SNDBUF, 1), 0);
    CHECK_EQUAL(get_number(task, fd, SOL_SOCKET, SO_SNDBUF), 4608);
    CHECK_EQUAL(set_number(task, fd, SOL_SOCKET, SO_RCVBUF, 1), 0);
    CHECK_EQUAL(get_number(task, fd, SOL_SOCKET, SO_RCVBUF), 2304);
    CHECK_EQUAL(set_number(task, fd, SOL_SOCKET, SO_SNDBUF, 100000), 0);
    CHECK_EQUAL(get_number(task, fd, SOL_SOCKET, SO_SNDBUF), 200000);
    CHECK_EQUAL(set_number(task, fd, SOL_SOCKET, SO_SNDBUF, 10000000), 0);
    CHECK_EQUAL(get_number(task, fd, SOL_SOCKET, SO_SNDBUF), 425984);
    CHECK_EQUAL(set_number(task, fd, SOL_SOCKET, SO_SNDBUFFORCE, 10000000), 0);
    CHECK_EQUAL(get_number(task, fd, SOL_SOCKET, SO_SNDBUF), 20000000);
    CHECK_EQUAL(set_number(task, fd, SOL_SOCKET, SO_TYPE, 1), -ENOPROTOOPT);
    CHECK_EQUAL(set_number(task, fd, SOL_SOCKET, 9999, 1), -ENOPROTOOPT);
    CHECK_EQUAL(set_number(task, fd, SOL_TCP, 1, 1), -ENOPROTOOPT);
    CHECK_EQUAL(set_number(task, fd, IPPROTO_IP, IP_TTL, 256), -EINVAL);
    CHECK_EQUAL(set_number(task, fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, 0), -ENODEV);
    CHECK_EQUAL(call(task, sys_setsockopt, (uint64_t)fd, SOL_SOCKET, SO_BINDTODEVICE, pointer("wlan0"), 6, 0), -ENODEV);
    CHECK_EQUAL(call(task, sys_setsockopt, (uint64_t)fd, SOL_SOCKET, SO_BINDTODEVICE, pointer("lo"), 2, 0), 0);
    CHECK_EQUAL(send_to(task, fd, "x", 1, HOST2, 9), 1);
    uint8_t byte = 0xff;
    uint32_t length = 1;
    CHECK_EQUAL(call(task, sys_getsockopt, (uint64_t)fd, IPPROTO_IP, IP_TTL, pointer(&byte), pointer(&length), 0), 0);
    CHECK_EQUAL(byte, 64);
    CHECK_EQUAL(length, 1);
    network_free(network);
}

/* ---- Interfaces ---- */

static void interfaces_answer_ioctls(void) {
    struct network *network = network_create(1, 1);
    struct task *task = task_fake(network->hosts[0]);
    int fd = open_socket(task, SOCK_DGRAM);
    uint8_t requests[2][40];
    struct {
        int32_t length, padding;
        uint64_t buffer;
    } configuration = {sizeof requests, 0, pointer(requests)};
    CHECK_EQUAL(call(task, sys_ioctl, (uint64_t)fd, SIOCGIFCONF, pointer(&configuration), 0, 0, 0), 0);
    CHECK_EQUAL(configuration.length, 80);
    CHECK(!strcmp((char *)requests[0], "lo") && !strcmp((char *)requests[1], "eth0"));
    CHECK_EQUAL(get32(requests[1] + 20), HOST1);
    CHECK_EQUAL(call(task, sys_ioctl, (uint64_t)fd, SIOCGIFINDEX, pointer(requests[1]), 0, 0, 0), 0);
    CHECK_EQUAL(requests[1][16], INTERFACE_ETH);
    CHECK_EQUAL(call(task, sys_ioctl, (uint64_t)fd, SIOCGIFFLAGS, pointer(requests[0]), 0, 0, 0), 0);
    CHECK_EQUAL(requests[0][16], 0x49); /* up, loopback, running */
    CHECK_EQUAL(call(task, sys_ioctl, (uint64_t)fd, SIOCSIFFLAGS, pointer(requests[0]), 0, 0, 0), -EPERM);
    strcpy((char *)requests[0], "eth9");
    CHECK_EQUAL(call(task, sys_ioctl, (uint64_t)fd, SIOCGIFMTU, pointer(requests[0]), 0, 0, 0), -ENODEV);
    CHECK_EQUAL(call(task, sys_ioctl, (uint64_t)fd, 0x1234, pointer(requests[0]), 0, 0, 0), -ENOTTY);
    network_free(network);
}

struct request {
    struct nlmsghdr header;
    struct rtgenmsg body;
};

static void netlink_dumps_links_addresses_and_routes(void) {
    struct network *network = network_create(1, 1);
    struct task *task = task_fake(network->hosts[0]);
    int64_t fd = call(task, sys_socket, AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE, 0, 0, 0);
    CHECK(fd >= 0);
    static const struct {
        uint16_t type, answer;
        int count;
    } dumps[] = {{RTM_GETLINK, RTM_NEWLINK, 2}, {RTM_GETADDR, RTM_NEWADDR, 2}, {RTM_GETROUTE, RTM_NEWROUTE, 4}};
    for (size_t i = 0; i < ARRAY_LENGTH(dumps); i++) {
        struct request request = {{sizeof request, dumps[i].type, NLM_F_REQUEST | NLM_F_DUMP, (uint32_t)i, 0},
                                  {AF_INET}};
        CHECK_EQUAL(do_send(task, (int)fd, &request, sizeof request, 0), sizeof request);
        _Alignas(8) uint8_t answer[4096];
        int64_t length = do_receive(task, (int)fd, answer, sizeof answer, 0);
        CHECK(length > 0);
        int count = 0;
        for (int64_t at = 0; at < length; count++) {
            const struct nlmsghdr *header = (const void *)(answer + at);
            CHECK_EQUAL(header->nlmsg_type, dumps[i].answer);
            CHECK_EQUAL(header->nlmsg_seq, i);
            CHECK_EQUAL(header->nlmsg_pid, task->process->pid);
            CHECK(header->nlmsg_flags & NLM_F_MULTI);
            CHECK(header->nlmsg_len >= sizeof *header && at + header->nlmsg_len <= length);
            at += NLMSG_ALIGN(header->nlmsg_len);
        }
        CHECK_EQUAL(count, dumps[i].count);
        CHECK_EQUAL(do_receive(task, (int)fd, answer, sizeof answer, 0), 20);
        CHECK_EQUAL(((const struct nlmsghdr *)(const void *)answer)->nlmsg_type, NLMSG_DONE);
    }
    struct request change = {{sizeof change, RTM_NEWLINK, NLM_F_REQUEST | NLM_F_ACK, 9, 0}, {0}};
    CHECK_EQUAL(do_send(task, (int)fd, &change, sizeof change, 0), sizeof change);
    _Alignas(8) uint8_t answer[64];
    CHECK_EQUAL(do_receive(task, (int)fd, answer, sizeof answer, 0), 36);
    CHECK_EQUAL(((const struct nlmsgerr *)(const void *)(answer + 16))->error, -EPERM);
    network_free(network);
}

static void malformed_netlink_requests_do_no_harm(void) {
    struct network *network = network_create(1, 1);
    struct task *task = task_fake(network->hosts[0]);
    int64_t fd = call(task, sys_socket, AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE, 0, 0, 0);
    uint64_t state = 5;
    for (int round = 0; round < 20000; round++) {
        _Alignas(8) uint8_t bytes[128], answer[8192];
        size_t length = test_random(&state) % sizeof bytes;
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)test_random(&state);
        struct nlmsghdr *header = (void *)bytes;
        header->nlmsg_len = (uint32_t)(test_random(&state) % 140);
        header->nlmsg_type = (uint16_t)(test_random(&state) % 130);
        header->nlmsg_flags = (uint16_t)(test_random(&state) | NLM_F_REQUEST);
        CHECK(do_send(task, (int)fd, bytes, length, 0) >= 0);
        while (do_receive(task, (int)fd, answer, sizeof answer, 0) >= 0)
            ;
    }
    network_free(network);
}

static void malformed_packets_are_dropped_and_counted(void) {
    struct network *network = network_create(1, 1);
    struct host *host = network->hosts[0];
    struct task *task = task_fake(host);
    int fd = open_socket(task, SOCK_DGRAM | SOCK_NONBLOCK);
    CHECK_EQUAL(do_bind(task, fd, 0, 9000), 0);
    uint8_t good[32] = {0x45, 0, 0, 32, 0, 0, 0,    0,    64, PROTOCOL_UDP, 0, 0, 10,  0,   0,   2,
                        10,   0, 0, 1,  0, 7, 0x23, 0x28, 0,  12,           0, 0, 'd', 'a', 't', 'a'};
    char text[8];
    network_inject(network, host, good, sizeof good);
    CHECK_EQUAL(do_receive(task, fd, text, 8, 0), 4);
    static const struct {
        size_t index;
        uint8_t value;
    } faults[] = {{0, 0x46}, {0, 0x65}, {3, 33}, {3, 19}, {6, 0x20}, {12, 127}, {15, 1}, {25, 7}, {25, 13}, {16, 127}};
    for (size_t i = 0; i < ARRAY_LENGTH(faults); i++) {
        uint8_t bad[sizeof good];
        memcpy(bad, good, sizeof good);
        bad[faults[i].index] = faults[i].value;
        network_inject(network, host, bad, sizeof bad);
        CHECK_EQUAL(host->counters.packets_malformed, i + 1);
    }
    for (uint32_t length = 0; length < sizeof good; length++)
        network_inject(network, host, good, length);
    CHECK_EQUAL(do_receive(task, fd, text, 8, 0), -EAGAIN);
    network_free(network);
}

int main(void) {
    RUN(sockets_are_refused_as_linux_refuses_them);
    RUN(ports_are_shared_only_where_linux_allows_it);
    RUN(ephemeral_ports_depend_on_the_seed_alone);
    RUN(every_ephemeral_port_is_given_out_before_bind_fails);
    RUN(datagrams_cross_the_network_whole);
    RUN(peek_and_truncation_follow_linux);
    RUN(a_closed_port_refuses_connected_sockets);
    RUN(unreachable_answers_are_limited);
    RUN(connected_datagram_sockets_hear_their_peer_alone);
    RUN(a_full_receive_buffer_drops_and_counts);
    RUN(a_full_send_buffer_blocks_until_the_uplink_took_it);
    RUN(a_closed_socket_outlives_its_queued_packets);
    RUN(receive_timeouts_end_in_virtual_time);
    RUN(control_messages_tell_time_and_address);
    RUN(many_messages_go_in_one_call);
    RUN(msg_more_gathers_one_datagram);
    RUN(shutdown_of_datagram_sockets);
    RUN(a_stream_carries_everything_through_blocking_calls);
    RUN(non_blocking_connects_report_once);
    RUN(two_sockets_bound_alike_cannot_both_listen);
    RUN(listeners_of_a_reuse_port_group_take_turns);
    RUN(accept_without_a_free_descriptor_keeps_the_connection);
    RUN(buffer_sizes_are_doubled_and_bounded);
    RUN(interfaces_answer_ioctls);
    RUN(netlink_dumps_links_addresses_and_routes);
    RUN(malformed_netlink_requests_do_no_harm);
    RUN(malformed_packets_are_dropped_and_counted);
    return 0;
}
