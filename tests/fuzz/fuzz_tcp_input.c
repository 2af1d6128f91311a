/* Fuzz target for TCP: segments of any bytes into connections in every state, between a program's calls.
 *
 *   clang -fsanitize=fuzzer,address,undefined -iquote hot/kernel -iquote tests/c -I. tests/fuzz/fuzz_tcp_input.c \
 *       tests/c/harness.c hot/kernel/[a-z]*.c -o fuzz_tcp_input
 *   gcc -fsanitize=address,undefined -DSTANDALONE -iquote hot/kernel -iquote tests/c -I. tests/fuzz/fuzz_tcp_input.c \
 *       tests/c/harness.c hot/kernel/[a-z]*.c -o fuzz_tcp_input
 *
 * The second has its own driver: `fuzz_tcp_input N [SEED]` runs N scripts, always the same for one seed, and
 * `fuzz_tcp_input -- FILE...` replays inputs. An input is a script of calls, segments and pauses; after each step the
 * books of every connection must balance, and at the end all memory must have been given back.
 */
#include <string.h>

#include "harness.h"
#include "hot/kernel/socket.h"
#include "hot/kernel/tcp.h"

#include <linux/tcp.h>

#define SOCKETS 6
#define LISTENER 5
#define PEER UINT32_C(0x0a000002)
#define PORT 80
#define SEGMENT_MAX 1600u

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

struct script {
    const uint8_t *at, *end;
};

static struct network *network;
static struct host *host;
static struct task *task;
static struct socket *sockets[SOCKETS];

static uint32_t take(struct script *script, unsigned bytes) {
    uint32_t value = 0;
    while (bytes--)
        value = value << 8 | (script->at < script->end ? *script->at++ : 0);
    return value;
}

/* The version of IP is the script's first choice. */
static bool v6;

static struct ip_address peer_address(void) { return v6 ? harness_address6(1) : ip4_address(PEER); }

static uint32_t make_name(uint8_t name[SOCKET_NAME_MAX], struct ip_address address, uint16_t port) {
    return inet_put_name(name, v6 ? AF_INET6 : AF_INET, address, port, 0);
}

/* Writes the IP header of a packet from the peer. */
static void put_header(uint8_t *packet, uint32_t length) {
    if (v6) {
        packet[0] = 0x60;
        put16(packet + 4, (uint16_t)(length - IP6_HEADER));
        packet[6] = PROTOCOL_TCP;
        ip_put(packet + 8, peer_address());
        ip_put(packet + 24, host->address6);
    } else {
        packet[0] = 0x45;
        put16(packet + 2, (uint16_t)length);
        packet[8] = 64;
        packet[9] = PROTOCOL_TCP;
        put32(packet + 12, PEER);
        put32(packet + 16, host->address);
    }
}

/* ---- The books ---- */

static uint32_t list_length(const struct list *head) {
    uint32_t length = 0;
    list_for_each(node, head) length++;
    return length;
}

static uint32_t unread(const struct packet *packet) {
    uint32_t bytes = 0;
    for (; packet; packet = packet->next)
        bytes += packet->length - packet->offset;
    return bytes;
}

static void check_books(const struct tcp *tcp) {
    uint32_t sent = 0, sacked = 0, lost = 0, memory = 0, next = tcp->snd_una;
    bool unsent = false;
    list_for_each(node, &tcp->queue) {
        const struct tcp_segment *segment = list_entry(node, struct tcp_segment, node);
        CHECK(segment->length <= segment->capacity);
        CHECK(node == tcp->queue.next || segment->sequence == next);
        next = tcp_segment_end(segment);
        unsent |= segment == tcp->unsent;
        CHECK_EQUAL(unsent, segment->transmissions == 0);
        sent += segment->transmissions != 0;
        sacked += segment->sacked;
        lost += segment->lost;
        memory += (uint32_t)sizeof *segment + segment->capacity;
        CHECK(!segment->sacked || !list_linked(&segment->order));
    }
    CHECK(list_empty(&tcp->queue) || next == tcp->write_sequence);
    CHECK_EQUAL(unsent, tcp->unsent != NULL);
    CHECK_EQUAL(sent, tcp->packets_out);
    CHECK_EQUAL(sacked, tcp->sacked_out);
    CHECK_EQUAL(lost, tcp->lost_out);
    CHECK_EQUAL(lost, list_length(&tcp->lost));
    CHECK_EQUAL(sent - sacked - lost, list_length(&tcp->sent));
    CHECK_EQUAL(memory, tcp->socket->send_used);
    CHECK(!tcp_after(tcp->snd_una, tcp->snd_nxt) && !tcp_after(tcp->snd_nxt, tcp->write_sequence));
    CHECK_EQUAL(unread(tcp->ready_head), tcp->ready_bytes);
    CHECK_EQUAL(unread(tcp->disorder_head), tcp->disorder_bytes);
    CHECK_EQUAL(tcp->ready_head == NULL, tcp->ready_tail == NULL);
    CHECK_EQUAL(tcp->disorder_head == NULL, tcp->disorder_tail == NULL);
    CHECK(tcp->sack_count <= TCP_SACK_BLOCKS);
    CHECK(!tcp_before(tcp->snd_up, tcp->snd_una) && !tcp_after(tcp->snd_up, tcp->write_sequence));
    CHECK(!tcp->urgent || tcp->orphan || !tcp_before(tcp->urgent_sequence, tcp_read_sequence(tcp)));
    CHECK(tcp->cwnd >= 1 && tcp->ssthresh >= 2);
    CHECK(tcp->state == TCP_CLOSE || tcp->state == TCP_LISTEN || tcp->state == TCP_TIME_WAIT || !tcp->packets_out ||
          tcp->retransmit.when != NEVER); /* what is out is under a timer */
}

static void check_all(void) {
    for (unsigned i = 0; i < SOCKETS; i++) {
        if (!sockets[i])
            continue;
        check_books(sockets[i]->tcp);
        (void)tcp_poll(sockets[i]);
        list_for_each(node, &sockets[i]->tcp->handshakes) check_books(list_entry(node, struct tcp, child_node));
        list_for_each(node, &sockets[i]->tcp->accepted) check_books(list_entry(node, struct tcp, child_node));
    }
}

/* ---- Steps of a script ---- */

static struct tcp *any_tcp(struct script *script) {
    uint32_t choice = take(script, 1);
    struct socket *socket = sockets[choice % SOCKETS];
    if (socket && socket->tcp->state == TCP_LISTEN) {
        const struct list *children = choice & 64 ? &socket->tcp->accepted : &socket->tcp->handshakes;
        if (!list_empty(children))
            return list_entry(children->next, struct tcp, child_node);
    }
    return socket ? socket->tcp : NULL;
}

/* A number near `base`: small distances, in both directions, matter most. */
static uint32_t near(struct script *script, uint32_t base) {
    uint32_t kind = take(script, 1);
    switch (kind & 7) {
    case 0:
    case 1:
    case 2:
        return base;
    case 3:
        return base + kind / 8;
    case 4:
        return base - kind / 8;
    case 5:
        return base + take(script, 2);
    case 6:
        return base - take(script, 2);
    default:
        return take(script, 4);
    }
}

static uint32_t put_options(struct script *script, const struct tcp *tcp, uint8_t *p) {
    uint32_t kinds = take(script, 1), length = 0;
    if (kinds & 1 && tcp) { /* timestamps as they should be, or nearly */
        p[0] = p[1] = 1;
        p[2] = 8;
        p[3] = 10;
        put32(p + 4, near(script, tcp->timestamp_recent));
        put32(p + 8, near(script, tcp_clock(tcp)));
        length = 12;
    }
    if (kinds & 2 && tcp) {
        uint32_t blocks = 1 + (kinds >> 6) % 2;
        p[length] = p[length + 1] = 1;
        p[length + 2] = 5;
        p[length + 3] = (uint8_t)(2 + 8 * blocks);
        for (uint32_t i = 0; i < blocks; i++) {
            uint32_t start = near(script, tcp->snd_una);
            put32(p + length + 4 + 8 * i, start);
            put32(p + length + 8 + 8 * i, near(script, start + 100));
        }
        length += 4 + 8 * blocks;
    }
    if (kinds & 4 && length <= 24) { /* a SYN's options */
        static const uint8_t options[] = {2, 4, 5, 180, 1, 3, 3, 7, 4, 2, 1, 1};
        memcpy(p + length, options, sizeof options);
        length += sizeof options;
    }
    if (kinds & 8) /* nonsense */
        for (uint32_t i = (kinds >> 4) % 4; i && length + 4 <= 40; i--, length += 4)
            put32(p + length, take(script, 4));
    return length;
}

static void inject_near(struct script *script) {
    uint8_t packet[SEGMENT_MAX + 256] = {0};
    struct tcp *tcp = any_tcp(script);
    const struct socket *socket = tcp ? tcp->socket : NULL;
    uint32_t flags = take(script, 1), options, ip = v6 ? IP6_HEADER : IP_HEADER;
    uint8_t *p = packet + ip;
    bool connected = socket && socket->remote_port;
    put16(p, connected ? socket->remote_port : (uint16_t)(1024 + flags % 4));
    put16(p + 2, socket && socket->local_port ? socket->local_port : PORT);
    put32(p + 4, near(script, tcp ? tcp->rcv_nxt : 0));
    put32(p + 8, near(script, tcp ? tcp->snd_nxt : 0));
    p[13] = flags & 0x40 ? (uint8_t)TCP_ACK : (uint8_t)(flags & 0x3f);
    put16(p + 14, (uint16_t)near(script, 500));
    if (p[13] & TCP_URG)
        put16(p + 18, (uint16_t)near(script, 1));
    options = put_options(script, tcp, p + TCP_HEADER);
    p[12] = (uint8_t)((TCP_HEADER + options) / 4 << 4);
    uint32_t payload = take(script, 2) % SEGMENT_MAX;
    uint32_t length = ip + TCP_HEADER + options + (payload & 1 ? payload : 0);
    put_header(packet, length);
    network_inject(network, host, packet, length);
}

static void inject_raw(struct script *script) {
    uint8_t packet[IP6_HEADER + 64] = {0};
    uint32_t ip = v6 ? IP6_HEADER : IP_HEADER, length = ip + take(script, 1) % 64;
    put_header(packet, length);
    for (uint32_t i = ip; i < length; i++)
        packet[i] = (uint8_t)take(script, 1);
    network_inject(network, host, packet, length);
}

static void open_socket(uint32_t index, uint32_t choice) {
    if (sockets[index])
        return;
    struct socket *socket = socket_create(host, v6 ? AF_INET6 : AF_INET, SOCK_STREAM, PROTOCOL_TCP);
    CHECK(socket && tcp_create(socket) == 0);
    uint8_t name[SOCKET_NAME_MAX];
    sockets[index] = socket;
    socket->reuse_address = true;
    if (index == LISTENER) {
        uint32_t length = make_name(name, v6 ? IP6_ANY : IP4_ANY, PORT);
        if (inet_bind_name(task, socket, name, length) == 0)
            CHECK_EQUAL(tcp_listen(socket, 2), 0);
        return;
    }
    struct ip_address loopback = v6 ? IP6_LOOPBACK : IP4_LOOPBACK;
    uint32_t length = make_name(name, choice & 1 ? loopback : peer_address(), PORT);
    (void)inet_connect(task, socket, name, length);
}

static void call(struct script *script) {
    static uint8_t bytes[20000];
    uint32_t choice = take(script, 1), index = take(script, 1) % SOCKETS, size = take(script, 2) % sizeof bytes;
    struct socket *socket = sockets[index];
    struct buffer_uio holder;
    int32_t value = (int32_t)(size % 300);
    if (!socket) {
        open_socket(index, choice);
        return;
    }
    switch (choice % 8) {
    case 0:
    case 1:
        (void)tcp_send(task, socket, buffer_uio(&holder, bytes, size),
                       (choice & 64 ? MSG_MORE : 0) | (choice & 32 ? MSG_OOB : 0));
        break;
    case 2:
    case 3:
        socket->out_of_band_inline = choice & 128;
        (void)tcp_receive(task, socket, buffer_uio(&holder, bytes, size),
                          (choice & 64 ? MSG_PEEK : 0) | (choice & 32 ? MSG_OOB : 0), &(struct socket_message){0});
        break;
    case 4:
        (void)tcp_shutdown(socket, choice & 64, choice & 128);
        break;
    case 5:
        socket->linger = choice & 64;
        sockets[index] = NULL;
        tcp_close(socket);
        break;
    case 6:
        (void)tcp_set_option(socket, (int)(choice / 8), &value, sizeof value);
        break;
    default:
        if (socket->tcp->state == TCP_LISTEN && !sockets[choice / 8 % LISTENER])
            sockets[choice / 8 % LISTENER] = tcp_accept(socket);
        else
            socket->receive_buffer = 256 + size * 8;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    struct script script = {bytes, bytes + length};
    v6 = take(&script, 1) & 1;
    network = network_create(1, 1);
    host = network->hosts[0];
    task = task_fake(host);
    timer_arm(host, &task->timer, 0); /* the heap's own memory stays */
    timer_cancel(host, &task->timer);
    uint64_t ports = host->net->ports.mask, connections = host->net->connections.mask;
    uint64_t baseline = host->arena.bytes_in_use;
    while (script.at < script.end) {
        uint32_t step = take(&script, 1);
        if (step < 120)
            inject_near(&script);
        else if (step < 130)
            inject_raw(&script);
        else if (step < 200)
            call(&script);
        else
            network_run_for(network, (int64_t)(take(&script, 1) + 1) * (step & 1 ? NS_PER_MS : 50 * NS_PER_US));
        if (step == 255)
            network_run_for(network, 30 * NS_PER_S);
        net_run_backlog(host);
        check_all();
    }
    for (unsigned i = 0; i < SOCKETS; i++) {
        struct socket *socket = sockets[i];
        sockets[i] = NULL;
        if (socket)
            tcp_close(socket);
    }
    network_run(network);
    if (ports == host->net->ports.mask && connections == host->net->connections.mask)
        CHECK_EQUAL(host->arena.bytes_in_use, baseline);
    network_free(network);
    return 0;
}

#ifdef STANDALONE

static int replay(const char *path) {
    static uint8_t bytes[1 << 17];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 2;
    }
    size_t length = fread(bytes, 1, sizeof bytes, file);
    fclose(file);
    LLVMFuzzerTestOneInput(bytes, length);
    return 0;
}

int main(int argument_count, char **arguments) {
    if (argument_count > 2 && strcmp(arguments[1], "--") == 0) {
        int result = 0;
        for (int i = 2; i < argument_count && result == 0; i++)
            result = replay(arguments[i]);
        return result;
    }
    if (argument_count < 2) {
        fputs("usage: fuzz_tcp_input N [SEED] | fuzz_tcp_input -- FILE...\n", stderr);
        return 2;
    }
    static uint8_t bytes[4096];
    unsigned long runs = strtoul(arguments[1], NULL, 10);
    uint64_t state = argument_count > 2 ? strtoull(arguments[2], NULL, 10) : 1;
    harness_begin("fuzz_tcp_input");
    for (unsigned long i = 0; i < runs; i++) {
        uint64_t seed = state++, random = seed;
        size_t length = test_random(&random) % sizeof bytes;
        for (size_t at = 0; at < length; at++)
            bytes[at] = (uint8_t)test_random(&random);
        if (getenv("FUZZ_VERBOSE"))
            fprintf(stderr, "seed %llu, %zu bytes\n", (unsigned long long)seed, length);
        LLVMFuzzerTestOneInput(bytes, length);
    }
    printf("%lu inputs\n", runs);
    return 0;
}

#endif
