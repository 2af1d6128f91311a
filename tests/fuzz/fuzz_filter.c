/* Fuzz target for classic BPF: programs of any bytes, checked and run over packets of any bytes.
 *
 *   clang -fsanitize=fuzzer,address,undefined -iquote hot/kernel -iquote tests/c -I. tests/fuzz/fuzz_filter.c \
 *       tests/c/harness.c hot/kernel/[a-z]*.c -o fuzz_filter
 *
 * With -DSTANDALONE it has its own driver: `fuzz_filter N [SEED]` runs N inputs, always the same for one seed. An input
 * is a number of instructions, their bytes, and a packet. Every program is run, also one that the check refuses: it
 * lies where processes can write, and must do no more harm than to let a packet through. What a checked one says does
 * not depend on what is beyond the packet or in memory that it has not written.
 */
#include <string.h>

#include "filter.h"
#include "harness.h"
#include "hot/kernel/net.h"
#include <linux/bpf_common.h>

#define INSTRUCTIONS_MAX 64u
#define PACKET_MAX 128u

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static bool asks_for_chance(const struct filter *filter) {
    for (uint32_t i = 0; i < filter->length; i++)
        if (filter->program[i].k == (uint32_t)(SKF_AD_OFF + SKF_AD_RANDOM))
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    static struct network *network;
    if (!network)
        network = network_create(1, 1);
    if (length < 2)
        return 0;
    uint32_t count = 1 + bytes[0] % INSTRUCTIONS_MAX, begin = bytes[1] % 20;
    size_t size = count * sizeof(struct sock_filter);
    bytes += 2;
    length -= 2;
    if (length < size)
        return 0;
    struct filter *filter = malloc(sizeof *filter + size);
    CHECK(filter);
    filter->length = count;
    memcpy(filter->program, bytes, size);
    bytes += size;
    uint32_t rest = KMIN((uint32_t)(length - size), PACKET_MAX);
    uint8_t *packet = malloc(rest ? rest : 1); /* of its own, so that the sanitizer sees the end */
    CHECK(packet);
    memcpy(packet, bytes, rest);
    const struct filter_input input = {.bytes = packet,
                                       .length = rest,
                                       .begin = KMIN(begin, rest),
                                       .network = KMIN(14u, rest),
                                       .has_link = begin % 2,
                                       .protocol = 0x0800,
                                       .interface = INTERFACE_ETH};
    uint32_t first = filter_run(network->hosts[0], filter, &input);
    if (!filter_check(filter->program, count) && !asks_for_chance(filter)) {
        CHECK_EQUAL(filter_run(network->hosts[0], filter, &input), first);
        CHECK_EQUAL(BPF_CLASS(filter->program[count - 1].code), BPF_RET);
    }
    free(packet);
    free(filter);
    return 0;
}

#ifdef STANDALONE

static uint64_t state;

static uint32_t below(uint32_t bound) { return (uint32_t)(test_random(&state) >> 16) % bound; }

/* Mostly sensible, so that programs get past the check. */
static struct sock_filter instruction(uint32_t after) {
    static const uint16_t codes[] = {BPF_LD | BPF_W | BPF_ABS,
                                     BPF_LD | BPF_H | BPF_ABS,
                                     BPF_LD | BPF_B | BPF_ABS,
                                     BPF_LD | BPF_W | BPF_IND,
                                     BPF_LD | BPF_B | BPF_IND,
                                     BPF_LD | BPF_LEN,
                                     BPF_LD | BPF_IMM,
                                     BPF_LD | BPF_MEM,
                                     BPF_LDX | BPF_B | BPF_MSH,
                                     BPF_LDX | BPF_MEM,
                                     BPF_LDX | BPF_IMM,
                                     BPF_ST,
                                     BPF_STX,
                                     BPF_ALU | BPF_ADD | BPF_K,
                                     BPF_ALU | BPF_SUB | BPF_X,
                                     BPF_ALU | BPF_DIV | BPF_X,
                                     BPF_ALU | BPF_MOD | BPF_X,
                                     BPF_ALU | BPF_LSH | BPF_X,
                                     BPF_ALU | BPF_NEG,
                                     BPF_JMP | BPF_JA,
                                     BPF_JMP | BPF_JEQ | BPF_K,
                                     BPF_JMP | BPF_JGT | BPF_X,
                                     BPF_JMP | BPF_JSET,
                                     BPF_MISC | BPF_TAX,
                                     BPF_MISC | BPF_TXA,
                                     BPF_RET | BPF_A,
                                     BPF_RET | BPF_K};
    struct sock_filter made = {.code = codes[below(ARRAY_LENGTH(codes))]};
    if (!below(200))
        made.code = (uint16_t)below(65536);
    made.k = below(8) ? below(16) : UINT32_MAX - below(0x201000);
    if (BPF_CLASS(made.code) == BPF_JMP) {
        made.k = BPF_OP(made.code) == BPF_JA ? below(after + 1 + !below(100)) : made.k;
        made.jt = (uint8_t)below(KMIN(after, 200u) + 1 + !below(100));
        made.jf = (uint8_t)below(KMIN(after, 200u) + 1 + !below(100));
    }
    return made;
}

static uint32_t make_input(uint8_t *bytes) {
    uint32_t count = 1 + below(24), length = 2;
    bytes[0] = (uint8_t)(count - 1);
    bytes[1] = (uint8_t)below(256);
    for (uint32_t i = 0; i < count; i++, length += (uint32_t)sizeof(struct sock_filter)) {
        struct sock_filter made = instruction(count - 1 - i ? count - 2 - i : 0);
        if (i == 0) /* a word that was written */
            made = (struct sock_filter){.code = BPF_ST, .k = below(16)};
        if (i == count - 1 && below(20))
            made = (struct sock_filter){.code = BPF_RET | BPF_A};
        memcpy(bytes + length, &made, sizeof made);
    }
    for (uint32_t i = below(PACKET_MAX); i; i--)
        bytes[length++] = (uint8_t)below(256);
    return length;
}

int main(int count, char **arguments) {
    harness_begin("fuzz_filter");
    unsigned long runs = count > 1 ? strtoul(arguments[1], NULL, 10) : 1000;
    state = count > 2 ? strtoull(arguments[2], NULL, 10) : 1;
    static uint8_t bytes[2 + INSTRUCTIONS_MAX * sizeof(struct sock_filter) + PACKET_MAX];
    while (runs--)
        (void)LLVMFuzzerTestOneInput(bytes, make_input(bytes));
    return 0;
}

#endif
