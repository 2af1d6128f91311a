/* Fuzz target for IPv4 and IPv6 input: packets of any bytes to a host with listening, bound and connected sockets.
 *
 *   clang -fsanitize=fuzzer,address,undefined -iquote hot/kernel -iquote tests/c -I. tests/fuzz/fuzz_net_receive.c \
 *       tests/c/harness.c hot/kernel/[a-z]*.c -o fuzz_net_receive
 *   gcc -fsanitize=address,undefined -DSTANDALONE -iquote hot/kernel -iquote tests/c -I. tests/fuzz/fuzz_net_receive.c
 * \ tests/c/harness.c hot/kernel/[a-z]*.c -o fuzz_net_receive
 *
 * The second has its own driver: `fuzz_net_receive N [SEED]` runs N inputs, always the same for one seed, and
 * `fuzz_net_receive -- FILE...` replays inputs. An input is a sequence of packets, each after its length in two bytes.
 * A packet never reaches beyond its bytes (each is a buffer of its own, for the sanitizer), buffers stay within their
 * limits, and at the end all memory must have been given back.
 */
#include <string.h>

#include "harness.h"
#include "hot/kernel/socket.h"

#define PEER UINT32_C(0x0a000002)
#define PEER6 harness_address6(1)
#define BOUND_PORT 9000
#define CONNECTED_PORT 9001
#define CONNECTED6_PORT 9002
#define TCP_PORT 80
#define INPUT_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* Of both families. */
static struct socket *datagram_socket(struct host *host, uint16_t port) {
    struct socket *socket = socket_create(host, AF_INET6, SOCK_DGRAM, PROTOCOL_UDP);
    CHECK(socket && inet_bind(socket, IP6_ANY, port) == 0);
    return socket;
}

static void connect_datagram(struct task *task, struct socket *socket, struct ip_address to) {
    uint8_t name[SOCKET_NAME_MAX];
    uint32_t length = inet_put_name(name, AF_INET6, to, BOUND_PORT, 0);
    CHECK_EQUAL(inet_connect(task, socket, name, length), 0);
}

static void feed(struct network *network, struct host *host, const uint8_t *bytes, size_t length) {
    while (length >= 2) {
        uint32_t size = KMIN((uint32_t)get16(bytes), (uint32_t)length - 2);
        uint8_t *packet = malloc(size ? size : 1);
        CHECK(packet);
        memcpy(packet, bytes + 2, size);
        network_inject(network, host, packet, size);
        free(packet);
        bytes += 2 + size;
        length -= 2 + size;
    }
}

static void drain(struct task *task, struct socket *socket) {
    static uint8_t data[65536];
    for (;;) {
        struct buffer_uio holder;
        struct socket_message message = {0};
        CHECK(socket->receive_used <= socket->receive_buffer + packet_charge(65535));
        int64_t received = inet_receive(task, socket, buffer_uio(&holder, data, sizeof data), 0, &message);
        if (received == -EAGAIN)
            break;
    }
    for (;;) {
        struct buffer_uio holder;
        struct socket_message message = {0};
        uint8_t control[ERROR_CONTROL_MAX];
        if (error_queue_receive(socket, buffer_uio(&holder, data, sizeof data), &message) == -EAGAIN)
            break;
        CHECK(error_queue_control(socket, &message.error, control) <= ERROR_CONTROL_MAX);
    }
    CHECK_EQUAL(socket->receive_used, 0);
    CHECK(!socket->receive.head);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    struct network *network = network_create(1, 1);
    struct host *host = network->hosts[0];
    struct task *task = task_fake(host);
    uint64_t before = host->arena.bytes_in_use;
    struct socket *bound = datagram_socket(host, BOUND_PORT), *connected = datagram_socket(host, CONNECTED_PORT);
    struct socket *connected6 = datagram_socket(host, CONNECTED6_PORT);
    struct socket *listener = socket_create(host, AF_INET6, SOCK_STREAM, PROTOCOL_TCP);
    bound->receive_errors = bound->v6.receive_errors = true;
    connect_datagram(task, connected, ip4_address(PEER));
    connect_datagram(task, connected6, PEER6);
    CHECK(listener && !tcp_create(listener) && !inet_bind(listener, IP6_ANY, TCP_PORT) && !tcp_listen(listener, 8));
    feed(network, host, bytes, length);
    drain(task, bound);
    drain(task, connected);
    drain(task, connected6);
    udp_close(bound);
    udp_close(connected);
    udp_close(connected6);
    tcp_close(listener);
    network_run_for(network, 600 * NS_PER_S);
    CHECK_EQUAL(host->net->ports.count, 0);
    CHECK_EQUAL(host->net->connections.count, 0);
    /* The heap of timers keeps the room it grew to. */
    CHECK(host->arena.bytes_in_use <= before + 4096);
    network_free(network);
    return 0;
}

#ifdef STANDALONE

static uint64_t state;

static uint32_t below(uint32_t bound) { return (uint32_t)(test_random(&state) >> 16) % bound; }

static void put_header(uint8_t *packet, uint8_t protocol, uint32_t length, bool v6, bool outgoing) {
    packet[0] = v6 ? 0x60 : 0x45;
    if (v6) {
        put16(packet + 4, (uint16_t)(length - IP6_HEADER));
        packet[6] = protocol;
        ip_put(packet + (outgoing ? 24 : 8), PEER6);
        ip_put(packet + (outgoing ? 8 : 24), harness_address6(0));
    } else {
        put16(packet + 2, (uint16_t)length);
        put16(packet + 6, 0);
        packet[9] = protocol;
        put32(packet + (outgoing ? 16 : 12), PEER);
        put32(packet + (outgoing ? 12 : 16), 0x0a000001u);
    }
}

/* A packet that would be taken, so that mutations get past the first checks. */
static uint32_t make_valid(uint8_t *packet) {
    static const uint16_t ports[] = {BOUND_PORT, CONNECTED_PORT, CONNECTED6_PORT, TCP_PORT, 7};
    bool v6 = below(2);
    const uint8_t protocols[] = {v6 ? PROTOCOL_ICMPV6 : PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_UDP};
    uint8_t protocol = protocols[below(4)];
    uint32_t ip = v6 ? IP6_HEADER : IP_HEADER, length = ip + 60 + below(60);
    uint8_t *transport = packet + ip;
    for (uint32_t i = 0; i < length; i++)
        packet[i] = (uint8_t)below(256);
    put_header(packet, protocol, length, v6, false);
    put16(transport, BOUND_PORT);
    put16(transport + 2, ports[below(5)]);
    if (protocol == PROTOCOL_UDP)
        put16(transport + 4, (uint16_t)(length - ip - below(3)));
    if (protocol == PROTOCOL_TCP)
        transport[12] = (uint8_t)((5 + below(6)) << 4);
    if (protocol == PROTOCOL_ICMP || protocol == PROTOCOL_ICMPV6) {
        transport[0] = v6 ? 1 : 3;
        transport[1] = v6 ? 4 : 3;
        put_header(transport + 8, PROTOCOL_UDP, length - ip - 8, v6, true);
        put16(transport + 8 + ip, ports[below(5)]);
        put16(transport + 10 + ip, BOUND_PORT);
    }
    return length;
}

static uint32_t make_input(uint8_t *bytes) {
    uint32_t length = 0;
    for (uint32_t packets = 1 + below(20); packets; packets--) {
        uint8_t *packet = bytes + length + 2;
        uint32_t size = make_valid(packet);
        for (uint32_t faults = below(4); faults; faults--)
            packet[below(below(2) ? size : IP6_HEADER + 8)] = (uint8_t)below(256);
        if (!below(8))
            size = below(size);
        put16(bytes + length, (uint16_t)size);
        length += 2 + size;
    }
    return length;
}

static int replay(const char *path) {
    static uint8_t bytes[1 << 20];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 1;
    }
    size_t length = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    return LLVMFuzzerTestOneInput(bytes, length);
}

int main(int count, char **arguments) {
    harness_begin("fuzz_net_receive");
    if (count > 1 && !strcmp(arguments[1], "--")) {
        for (int i = 2; i < count; i++)
            if (replay(arguments[i]))
                return 1;
        return 0;
    }
    unsigned long runs = count > 1 ? strtoul(arguments[1], NULL, 10) : 1000;
    state = count > 2 ? strtoull(arguments[2], NULL, 10) : 1;
    static uint8_t bytes[INPUT_MAX];
    while (runs--)
        (void)LLVMFuzzerTestOneInput(bytes, make_input(bytes));
    return 0;
}

#endif
