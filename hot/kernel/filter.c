/* Classic BPF (bpf(4) of BSD, Documentation/networking/filter.rst of Linux): the programs that libpcap writes, their
 * check and their interpreter. Called by socket.c, and where packets enter sockets (packet_socket.c, udp.c, raw.c).
 *
 * The check is Linux's: a program that it has passed ends, stays within itself and its memory, and reads no word of
 * that memory which it has not written. The interpreter does not rely on it, because programs lie where processes can
 * write: it takes a jump that leads out of the program for its end.
 */
#include "filter.h"
#include "packet_socket.h"
#include <linux/bpf_common.h>

#define PROGRAM_MAX 4096u /* BPF_MAXINSNS */
#define ANCILLARY ((uint32_t)SKF_AD_OFF)
#define NETWORK ((uint32_t)SKF_NET_OFF)
#define LINK ((uint32_t)SKF_LL_OFF)

/* ---- The check ---- */

static bool is_known_ancillary(uint32_t offset) {
    switch (offset - ANCILLARY) {
    case SKF_AD_PROTOCOL:
    case SKF_AD_PKTTYPE:
    case SKF_AD_IFINDEX:
    case SKF_AD_NLATTR:
    case SKF_AD_NLATTR_NEST:
    case SKF_AD_MARK:
    case SKF_AD_QUEUE:
    case SKF_AD_HATYPE:
    case SKF_AD_RXHASH:
    case SKF_AD_CPU:
    case SKF_AD_ALU_XOR_X:
    case SKF_AD_VLAN_TAG:
    case SKF_AD_VLAN_TAG_PRESENT:
    case SKF_AD_RANDOM:
    case SKF_AD_VLAN_TPID:
    case SKF_AD_PAY_OFFSET:
        return true;
    default:
        return false;
    }
}

static bool valid_arithmetic(const struct sock_filter *at) {
    bool constant = BPF_SRC(at->code) == BPF_K;
    switch (BPF_OP(at->code)) {
    case BPF_ADD:
    case BPF_SUB:
    case BPF_MUL:
    case BPF_OR:
    case BPF_AND:
    case BPF_XOR:
        return true;
    case BPF_DIV:
    case BPF_MOD:
        return !constant || at->k;
    case BPF_LSH:
    case BPF_RSH:
        return !constant || at->k < 32;
    case BPF_NEG:
        return constant;
    default:
        return false;
    }
}

static bool valid_load(const struct sock_filter *at) {
    bool index_register = BPF_CLASS(at->code) == BPF_LDX;
    uint16_t size = BPF_SIZE(at->code);
    if (size > BPF_B)
        return false;
    switch (BPF_MODE(at->code)) {
    case BPF_IMM:
        return size == BPF_W;
    case BPF_LEN:
        return size == BPF_W;
    case BPF_MEM:
        return size == BPF_W && at->k < BPF_MEMWORDS;
    case BPF_MSH:
        return index_register && size == BPF_B;
    case BPF_ABS:
        return !index_register && (at->k < ANCILLARY || is_known_ancillary(at->k));
    case BPF_IND:
        return !index_register;
    default:
        return false;
    }
}

/* `after`: how many instructions follow. */
static bool valid_jump(const struct sock_filter *at, uint32_t after) {
    switch (BPF_OP(at->code)) {
    case BPF_JA:
        return BPF_SRC(at->code) == BPF_K && at->k < after;
    case BPF_JEQ:
    case BPF_JGT:
    case BPF_JGE:
    case BPF_JSET:
        return at->jt < after && at->jf < after;
    default:
        return false;
    }
}

static bool valid_instruction(const struct sock_filter *at, uint32_t after) {
    uint16_t code = at->code;
    if (code > 0xff)
        return false;
    switch (BPF_CLASS(code)) {
    case BPF_LD:
    case BPF_LDX:
        return valid_load(at);
    case BPF_ST:
    case BPF_STX:
        return code == BPF_CLASS(code) && at->k < BPF_MEMWORDS;
    case BPF_ALU:
        return valid_arithmetic(at);
    case BPF_JMP:
        return valid_jump(at, after);
    case BPF_RET:
        return code == (BPF_RET | BPF_K) || code == (BPF_RET | BPF_A);
    default:
        return code == (BPF_MISC | BPF_TAX) || code == (BPF_MISC | BPF_TXA);
    }
}

/* No word is read before it was written on every way there: `written[i]` has the bits of the words that are, at i. */
static bool reads_what_was_written(const struct sock_filter *program, uint32_t length) {
    uint16_t written[PROGRAM_MAX], now = 0;
    memset(written, 0xff, length * sizeof written[0]);
    for (uint32_t i = 0; i < length; i++) {
        const struct sock_filter *at = &program[i];
        now &= written[i];
        switch (BPF_CLASS(at->code)) {
        case BPF_ST:
        case BPF_STX:
            now |= (uint16_t)(1u << at->k);
            break;
        case BPF_LD:
        case BPF_LDX:
            if (BPF_MODE(at->code) == BPF_MEM && !(now >> at->k & 1))
                return false;
            break;
        case BPF_JMP:
            if (BPF_OP(at->code) == BPF_JA) {
                written[i + 1 + at->k] &= now;
            } else {
                written[i + 1 + at->jt] &= now;
                written[i + 1 + at->jf] &= now;
            }
            now = UINT16_MAX;
            break;
        default:
            break;
        }
    }
    return true;
}

int filter_check(const struct sock_filter *program, uint32_t length) {
    if (!length || length > PROGRAM_MAX)
        return -EINVAL;
    for (uint32_t i = 0; i < length; i++)
        if (!valid_instruction(&program[i], length - 1 - i))
            return -EINVAL;
    if (BPF_CLASS(program[length - 1].code) != BPF_RET)
        return -EINVAL;
    return reads_what_was_written(program, length) ? 0 : -EINVAL;
}

int filter_attach(struct host *host, struct filter **filter, const void *value, uint32_t length) {
    struct { /* struct sock_fprog */
        uint16_t length;
        uint64_t program;
    } given;
    if (length != sizeof given)
        return -EINVAL;
    memcpy(&given, value, sizeof given);
    if (!given.program || !given.length || given.length > PROGRAM_MAX)
        return -EINVAL;
    size_t size = given.length * sizeof(struct sock_filter);
    struct filter *new = kalloc_raw(host, sizeof *new + size);
    if (!new)
        return -ENOMEM;
    new->length = given.length;
    int error = copy_from_user(new->program, given.program, size);
    if (!error)
        error = filter_check(new->program, new->length);
    if (error) {
        kfree(host, new);
        return error;
    }
    kfree(host, *filter);
    *filter = new;
    return 0;
}

/* ---- The interpreter ---- */

struct machine {
    const struct filter_input *input;
    uint32_t a, x, memory[BPF_MEMWORDS];
};

/* 1, 2 or 4 bytes in network order; false: they are not all there. */
static bool load_bytes(const struct filter_input *input, int64_t at, uint32_t size, uint32_t *value) {
    if (at < 0 || at + size > input->length)
        return false;
    *value = 0;
    for (uint32_t i = 0; i < size; i++)
        *value = *value << 8 | input->bytes[at + i];
    return true;
}

static bool load_packet(const struct filter_input *input, uint32_t offset, uint32_t size, uint32_t *value) {
    if (offset <= INT32_MAX)
        return load_bytes(input, (int64_t)input->begin + offset, size, value);
    if (offset >= NETWORK)
        return load_bytes(input, (int64_t)input->network + (offset - NETWORK), size, value);
    return offset >= LINK && input->has_link && load_bytes(input, offset - LINK, size, value);
}

/* Where the payload of an IP packet begins, behind the header of its transport protocol (Linux: skb_get_poff); of ARP,
 * where its packet begins. 0: it is nothing of these. */
static uint32_t payload_offset(const struct filter_input *input) {
    const uint8_t *bytes = input->bytes + input->network;
    uint32_t length = input->length > input->network ? input->length - input->network : 0, at, protocol, offset;
    if (input->protocol == ETHERTYPE_ARP)
        return input->network - KMIN(input->begin, input->network);
    if (input->protocol == ETHERTYPE_IP && length >= IP_HEADER && (bytes[0] & 0xfu) >= IP_HEADER / 4) {
        at = (bytes[0] & 0xfu) * 4;
        protocol = bytes[9];
    } else if (input->protocol == ETHERTYPE_IP6 && length >= IP6_HEADER) {
        at = IP6_HEADER;
        protocol = bytes[6];
    } else {
        return 0;
    }
    switch (protocol) {
    case PROTOCOL_TCP:
        offset = at + 12 < length ? KMAX((uint32_t)(bytes[at + 12] >> 4) * 4, TCP_HEADER) : 0;
        break;
    case PROTOCOL_UDP:
    case PROTOCOL_ICMP:
    case PROTOCOL_ICMPV6:
        offset = UDP_HEADER; /* those of ICMP are as long */
        break;
    default:
        offset = 0;
    }
    uint32_t end = input->network + KMIN(at, length) + offset;
    return end > input->begin ? end - input->begin : 0;
}

#define ATTRIBUTE_HEADER 4u
#define ATTRIBUTE_TYPE 0x3fffu /* NLA_TYPE_MASK */

/* From there on, the place of the netlink attribute of type X; 0: none. */
static uint32_t find_attribute(const struct filter_input *input, uint32_t from, uint32_t end, uint32_t type) {
    while (end - from >= ATTRIBUTE_HEADER) {
        uint16_t header[2]; /* length and type, as this machine has them */
        memcpy(header, input->bytes + input->begin + from, sizeof header);
        if (header[0] < ATTRIBUTE_HEADER || header[0] > end - from)
            return 0;
        if ((header[1] & ATTRIBUTE_TYPE) == type)
            return from;
        uint32_t step = (header[0] + 3u) & ~3u;
        if (step > end - from)
            return 0;
        from += step;
    }
    return 0;
}

/* Linux: bpf_skb_get_nlattr and bpf_skb_get_nlattr_nest. A is the place of the first attribute, or of what holds it. */
static uint32_t attribute(const struct machine *machine, bool nested) {
    const struct filter_input *input = machine->input;
    uint32_t length = input->length > input->begin ? input->length - input->begin : 0, from = machine->a;
    if (length < ATTRIBUTE_HEADER || from > length - ATTRIBUTE_HEADER)
        return 0;
    if (!nested)
        return find_attribute(input, from, length, machine->x);
    uint16_t held;
    memcpy(&held, input->bytes + input->begin + from, sizeof held);
    if (held < ATTRIBUTE_HEADER || held > length - from)
        return 0;
    return find_attribute(input, from + ATTRIBUTE_HEADER, from + held, machine->x);
}

static void load_ancillary(struct host *host, struct machine *machine, uint32_t what) {
    const struct filter_input *input = machine->input;
    switch (what) {
    case SKF_AD_PROTOCOL:
        machine->a = input->protocol;
        break;
    case SKF_AD_PKTTYPE:
        machine->a = input->kind;
        break;
    case SKF_AD_IFINDEX:
        machine->a = input->interface;
        break;
    case SKF_AD_HATYPE:
        machine->a = input->hardware_type;
        break;
    case SKF_AD_ALU_XOR_X:
        machine->a ^= machine->x;
        break;
    case SKF_AD_NLATTR:
    case SKF_AD_NLATTR_NEST:
        machine->a = attribute(machine, what == SKF_AD_NLATTR_NEST);
        break;
    case SKF_AD_PAY_OFFSET:
        machine->a = payload_offset(input);
        break;
    case SKF_AD_RANDOM:
        machine->a = (uint32_t)rng_next(host, RNG_KERNEL);
        break;
    default: /* marks, queues, hashes, tags: packets have none here; and there is one CPU */
        machine->a = 0;
    }
}

/* False: the program ends, and lets nothing through. */
static bool load(struct host *host, struct machine *machine, const struct sock_filter *at) {
    const struct filter_input *input = machine->input;
    bool index_register = BPF_CLASS(at->code) == BPF_LDX;
    uint32_t size = BPF_SIZE(at->code) == BPF_W ? 4 : BPF_SIZE(at->code) == BPF_H ? 2 : 1, value = 0;
    switch (BPF_MODE(at->code)) {
    case BPF_IMM:
        value = at->k;
        break;
    case BPF_LEN:
        value = input->length - input->begin;
        break;
    case BPF_MEM:
        value = machine->memory[at->k % BPF_MEMWORDS];
        break;
    case BPF_MSH: /* the length of an IPv4 header */
        if (!load_packet(input, at->k, 1, &value))
            return false;
        value = (value & 0xf) * 4;
        break;
    case BPF_ABS:
        if (at->k >= ANCILLARY) {
            load_ancillary(host, machine, at->k - ANCILLARY);
            return true;
        }
        if (!load_packet(input, at->k, size, &value))
            return false;
        break;
    default: /* BPF_IND */
        if (!load_packet(input, machine->x + at->k, size, &value))
            return false;
    }
    *(index_register ? &machine->x : &machine->a) = value;
    return true;
}

static bool calculate(struct machine *machine, const struct sock_filter *at) {
    uint32_t b = BPF_SRC(at->code) == BPF_X ? machine->x : at->k, op = BPF_OP(at->code);
    if (!b && (op == BPF_DIV || op == BPF_MOD))
        return false;
    switch (op) {
    case BPF_ADD:
        machine->a += b;
        break;
    case BPF_SUB:
        machine->a -= b;
        break;
    case BPF_MUL:
        machine->a *= b;
        break;
    case BPF_DIV:
        machine->a /= b;
        break;
    case BPF_MOD:
        machine->a %= b;
        break;
    case BPF_OR:
        machine->a |= b;
        break;
    case BPF_AND:
        machine->a &= b;
        break;
    case BPF_XOR:
        machine->a ^= b;
        break;
    case BPF_LSH:
        machine->a <<= b & 31;
        break;
    case BPF_RSH:
        machine->a >>= b & 31;
        break;
    default: /* BPF_NEG */
        machine->a = 0u - machine->a;
    }
    return true;
}

/* How many instructions are passed over. */
static uint32_t jump(const struct machine *machine, const struct sock_filter *at) {
    uint32_t a = machine->a, b = BPF_SRC(at->code) == BPF_X ? machine->x : at->k;
    switch (BPF_OP(at->code)) {
    case BPF_JA:
        return at->k;
    case BPF_JEQ:
        return a == b ? at->jt : at->jf;
    case BPF_JGT:
        return a > b ? at->jt : at->jf;
    case BPF_JGE:
        return a >= b ? at->jt : at->jf;
    default: /* BPF_JSET */
        return a & b ? at->jt : at->jf;
    }
}

uint32_t filter_run(struct host *host, const struct filter *filter, const struct filter_input *input) {
    struct machine machine = {.input = input};
    for (uint64_t i = 0; i < KMIN(filter->length, PROGRAM_MAX); i++) {
        const struct sock_filter *at = &filter->program[i];
        switch (BPF_CLASS(at->code)) {
        case BPF_LD:
        case BPF_LDX:
            if (!load(host, &machine, at))
                return 0;
            break;
        case BPF_ST:
            machine.memory[at->k % BPF_MEMWORDS] = machine.a;
            break;
        case BPF_STX:
            machine.memory[at->k % BPF_MEMWORDS] = machine.x;
            break;
        case BPF_ALU:
            if (!calculate(&machine, at))
                return 0;
            break;
        case BPF_JMP:
            i += jump(&machine, at);
            break;
        case BPF_RET:
            return BPF_RVAL(at->code) == BPF_A ? machine.a : at->k;
        default:
            if (BPF_MISCOP(at->code) == BPF_TAX)
                machine.x = machine.a;
            else
                machine.a = machine.x;
        }
    }
    return 0;
}
