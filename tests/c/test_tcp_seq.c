/* Properties of sequence arithmetic and reassembly: whatever the order, overlap and repetition in which pieces of a
 * stream arrive, the program reads the stream, and what is told by SACK is what is held. */
#include <string.h>

#include "harness.h"
#include "hot/kernel/socket.h"
#include "hot/kernel/tcp.h"

#define PEER UINT32_C(0x0a000002)
#define PEER_PORT 4321
#define PORT 80
#define STREAM 30000u

static struct network *network;
static struct host *host;
static struct task *task;

static void comparison_is_an_order_within_half_the_circle(void) {
    uint64_t random = 1;
    for (int i = 0; i < 100000; i++) {
        uint32_t a = (uint32_t)test_random(&random);
        uint32_t b = a + (uint32_t)(test_random(&random) & 0x7fffffff);
        uint32_t c = b + (uint32_t)(test_random(&random) % (0x80000000u - (b - a)));
        CHECK(!tcp_before(a, a) && !tcp_after(a, a));
        CHECK_EQUAL(tcp_before(a, b), a != b);
        CHECK_EQUAL(tcp_after(b, a), a != b);
        CHECK_EQUAL(tcp_before(a, b) && tcp_before(b, c), a != b && b != c);
        CHECK(!(tcp_before(a, b) && tcp_before(b, c)) || tcp_before(a, c) || c - a == 0x80000000u);
        CHECK_EQUAL(tcp_before(a, b), tcp_before(a + c, b + c)); /* only distance counts */
    }
}

/* ---- A connection whose peer is this test ---- */

static void inject(uint32_t sequence, uint32_t acknowledgement, uint8_t flags, uint32_t offset, uint32_t length) {
    static uint8_t packet[IP_HEADER + TCP_HEADER + STREAM];
    uint32_t total = IP_HEADER + TCP_HEADER + length;
    memset(packet, 0, IP_HEADER + TCP_HEADER);
    packet[0] = 0x45;
    put16(packet + 2, (uint16_t)total);
    packet[8] = 64;
    packet[9] = PROTOCOL_TCP;
    put32(packet + 12, PEER);
    put32(packet + 16, host->address);
    uint8_t *p = packet + IP_HEADER;
    put16(p, PEER_PORT);
    put16(p + 2, PORT);
    put32(p + 4, sequence);
    put32(p + 8, acknowledgement);
    p[12] = TCP_HEADER / 4 << 4;
    p[13] = flags;
    put16(p + 14, 65535);
    test_pattern(p + TCP_HEADER, length, offset, 1);
    network_inject(network, host, packet, total);
}

/* A SYN that permits SACK. */
static void inject_syn(uint32_t sequence) {
    uint8_t packet[IP_HEADER + TCP_HEADER + 4] = {0x45, 0, 0, IP_HEADER + TCP_HEADER + 4, 0, 0, 0, 0, 64, PROTOCOL_TCP};
    put32(packet + 12, PEER);
    put32(packet + 16, host->address);
    uint8_t *p = packet + IP_HEADER;
    put16(p, PEER_PORT);
    put16(p + 2, PORT);
    put32(p + 4, sequence);
    p[12] = (TCP_HEADER + 4) / 4 << 4;
    p[13] = TCP_SYN;
    put16(p + 14, 65535);
    p[TCP_HEADER] = 4;
    p[TCP_HEADER + 1] = 2;
    network_inject(network, host, packet, sizeof packet);
}

static struct tcp *accept_from(uint32_t initial) {
    struct socket *listener = socket_create(host, AF_INET, SOCK_STREAM, PROTOCOL_TCP);
    uint8_t name[16] = {AF_INET};
    put16(name + 2, PORT);
    CHECK(listener && tcp_create(listener) == 0);
    CHECK_EQUAL(inet_bind_name(task, listener, name, sizeof name), 0);
    CHECK_EQUAL(tcp_listen(listener, 1), 0);
    inject_syn(initial);
    CHECK(!list_empty(&listener->tcp->handshakes));
    struct tcp *tcp = list_entry(listener->tcp->handshakes.next, struct tcp, child_node);
    inject(initial + 1, tcp->snd_nxt, TCP_ACK, 0, 0);
    CHECK(tcp_accept(listener) == tcp->socket);
    tcp_close(listener);
    return tcp;
}

/* What is held beyond the hole, byte by byte, must be what the packets there say and what SACK tells, up to its limit.
 */
static void check_disorder(const struct tcp *tcp, const bool *arrived, uint32_t first) {
    uint32_t bytes = 0, last_end = tcp->rcv_nxt;
    for (const struct packet *packet = tcp->disorder_head; packet; packet = packet->next) {
        CHECK_EQUAL(packet->transport, IP_HEADER);
        uint32_t header = IP_HEADER + (uint32_t)(packet->data[IP_HEADER + 12] >> 4) * 4;
        uint32_t start = get32(packet->data + IP_HEADER + 4) + (packet->offset - header);
        CHECK(!tcp_before(start, last_end));
        for (uint32_t i = packet->offset; i < packet->length; i++)
            CHECK(arrived[start - first + (i - packet->offset)]);
        last_end = start + packet->length - packet->offset;
        bytes += packet->length - packet->offset;
    }
    uint32_t held = 0;
    for (uint32_t i = tcp->rcv_nxt - first; i < STREAM; i++)
        held += arrived[i];
    CHECK_EQUAL(bytes, held);
    CHECK_EQUAL(bytes, tcp->disorder_bytes);
    for (uint32_t i = 0; i < tcp->sack_count; i++) {
        struct tcp_sack_block block = tcp->sack_blocks[i];
        CHECK(tcp_after(block.start, tcp->rcv_nxt) && tcp_before(block.start, block.end));
        for (uint32_t at = block.start - first; at < block.end - first && at < STREAM; at++)
            CHECK(arrived[at]);
        for (uint32_t j = 0; j < i; j++)
            CHECK(tcp_after(block.start, tcp->sack_blocks[j].end) || tcp_before(block.end, tcp->sack_blocks[j].start));
    }
    CHECK(held || !tcp->sack_count);
}

static void scramble(uint64_t seed) {
    uint64_t random = seed;
    network = network_create(1, seed);
    host = network->hosts[0];
    task = task_fake(host);
    /* Somewhere on the circle, often where the numbers wrap inside the stream. */
    uint32_t initial = seed % 2 ? (uint32_t)test_random(&random) : 0u - (uint32_t)(test_random(&random) % STREAM);
    struct tcp *tcp = accept_from(initial);
    uint32_t first = initial + 1, largest = 1 + (uint32_t)(test_random(&random) % 3000), read = 0;
    static bool arrived[STREAM];
    static uint8_t bytes[STREAM];
    memset(arrived, 0, sizeof arrived);
    bool ended = false;
    for (int step = 0; !ended; step++) {
        CHECK(step < 1000000);
        uint32_t start = (uint32_t)(test_random(&random) % STREAM);
        if (test_random(&random) % 4 == 0 || step > 20000) /* as a sender would: what is missing */
            start = KMIN(tcp->rcv_nxt - first, STREAM - 1);
        uint32_t length = 1 + (uint32_t)(test_random(&random) % largest);
        length = KMIN(length, STREAM - start);
        bool fin = start + length == STREAM && test_random(&random) % 2;
        bool inside = start < tcp->rcv_nxt - first + tcp_receive_window(tcp);
        inject(first + start, tcp->snd_nxt, (uint8_t)(TCP_ACK | (fin ? TCP_FIN : 0)), start, length);
        if (inside)
            memset(arrived + start, true, length);
        if (test_random(&random) % 3 == 0) {
            struct buffer_uio holder;
            size_t want = 1 + test_random(&random) % 4000;
            int64_t got =
                tcp_receive(task, tcp->socket, buffer_uio(&holder, bytes, want), 0, &(struct socket_message){0});
            if (got > 0) {
                CHECK(test_pattern_matches(bytes, (size_t)got, read, 1));
                read += (uint32_t)got;
            }
            ended = got == 0;
        }
        if (!tcp->fin_received)
            check_disorder(tcp, arrived, first);
        if (test_random(&random) % 8 == 0)
            network_run_for(network, 5 * NS_PER_MS);
    }
    CHECK_EQUAL(read, STREAM);
    CHECK_EQUAL(tcp->rcv_nxt, first + STREAM + 1);
    tcp_close(tcp->socket);
    network_run(network);
    network_free(network);
}

static void any_order_and_overlap_gives_the_stream(void) {
    for (uint64_t seed = 1; seed <= 60; seed++)
        scramble(seed);
}

int main(void) {
    RUN(comparison_is_an_order_within_half_the_circle);
    RUN(any_order_and_overlap_gives_the_stream);
    return 0;
}
