/* Fuzz target for IPv4 input: packets of any bytes to a host with listening, bound and connected sockets.
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
#define BOUND_PORT 9000
#define CONNECTED_PORT 9001
#define TCP_PORT 80
#define INPUT_MAX 4096u

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static struct socket *datagram_socket(struct host *host, uint16_t port) {
    struct socket *socket = socket_create(host, AF_INET, SOCK_DGRAM, PROTOCOL_UDP);
    CHECK(socket && inet_bind(socket, 0, port) == 0);
    return socket;
}

static void connect_datagram(struct task *task, struct socket *socket) {
    uint8_t name[16];
    uint32_t length = inet_put_name(name, PEER, BOUND_PORT);
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
    CHECK_EQUAL(socket->receive_used, 0);
    CHECK(!socket->receive.head);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    struct network *network = network_create(1, 1);
    struct host *host = network->hosts[0];
    struct task *task = task_fake(host);
    uint64_t before = host->arena.bytes_in_use;
    struct socket *bound = datagram_socket(host, BOUND_PORT), *connected = datagram_socket(host, CONNECTED_PORT);
    struct socket *listener = socket_create(host, AF_INET, SOCK_STREAM, PROTOCOL_TCP);
    bound->receive_errors = true;
    connect_datagram(task, connected);
    CHECK(listener && !tcp_create(listener) && !inet_bind(listener, 0, TCP_PORT) && !tcp_listen(listener, 8));
    feed(network, host, bytes, length);
    drain(task, bound);
    drain(task, connected);
    udp_close(bound);
    udp_close(connected);
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

/* A packet that would be taken, so that mutations get past the first checks. */
static uint32_t make_valid(uint8_t *packet) {
    static const uint16_t ports[] = {BOUND_PORT, CONNECTED_PORT, TCP_PORT, 7};
    static const uint8_t protocols[] = {PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, PROTOCOL_UDP};
    uint8_t protocol = protocols[below(4)];
    uint32_t length = IP_HEADER + 40 + below(60);
    uint8_t *transport = packet + IP_HEADER;
    for (uint32_t i = 0; i < length; i++)
        packet[i] = (uint8_t)below(256);
    packet[0] = 0x45;
    put16(packet + 2, (uint16_t)length);
    put16(packet + 6, 0);
    packet[9] = protocol;
    put32(packet + 12, PEER);
    put32(packet + 16, 0x0a000001u);
    put16(transport, BOUND_PORT);
    put16(transport + 2, ports[below(4)]);
    if (protocol == PROTOCOL_UDP)
        put16(transport + 4, (uint16_t)(length - IP_HEADER - below(3)));
    if (protocol == PROTOCOL_TCP)
        transport[12] = (uint8_t)((5 + below(6)) << 4);
    if (protocol == PROTOCOL_ICMP) {
        transport[0] = transport[1] = 3;
        transport[8] = 0x45;
        transport[17] = PROTOCOL_UDP;
        put32(transport + 20, 0x0a000001u);
        put32(transport + 24, PEER);
        put16(transport + 28, ports[below(4)]);
        put16(transport + 30, BOUND_PORT);
    }
    return length;
}

static uint32_t make_input(uint8_t *bytes) {
    uint32_t length = 0;
    for (uint32_t packets = 1 + below(20); packets; packets--) {
        uint8_t *packet = bytes + length + 2;
        uint32_t size = make_valid(packet);
        for (uint32_t faults = below(4); faults; faults--)
            packet[below(below(2) ? size : IP_HEADER + 8)] = (uint8_t)below(256);
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
