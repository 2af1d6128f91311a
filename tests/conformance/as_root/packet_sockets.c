/* Packet sockets on the loopback: what they hear and are told of it, filters, rings, sending, options. */
#include "own_network.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define PORT 4242
#define FRAME_SIZE 2048u
#define BLOCK_SIZE 4096u
#define FRAMES 4u

static struct sockaddr_ll on(const char *interface, int protocol) {
    return (struct sockaddr_ll){.sll_family = AF_PACKET,
                                .sll_protocol = htons((uint16_t)protocol),
                                .sll_ifindex = (int)if_nametoindex(interface)};
}

static int open_on_lo(int type, int protocol) {
    int fd = (int)MUST(socket(AF_PACKET, type, htons((uint16_t)protocol)));
    struct sockaddr_ll name = on("lo", protocol);
    MUST(bind(fd, (struct sockaddr *)&name, sizeof name));
    return fd;
}

static struct sockaddr_in to4(int port) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return name;
}

static struct sockaddr_in6 to6(int port) {
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    name.sin6_addr = in6addr_loopback;
    return name;
}

/* A datagram from a port to one where a socket listens. */
static int sender, listener, sender6, listener6;

static void begin_talk(void) {
    int *sockets[] = {&sender, &listener};
    for (int i = 0; i < 2; i++) {
        *sockets[i] = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
        struct sockaddr_in name = to4(PORT + i);
        MUST(bind(*sockets[i], (struct sockaddr *)&name, sizeof name));
    }
    int *sockets6[] = {&sender6, &listener6};
    for (int i = 0; i < 2; i++) {
        *sockets6[i] = (int)MUST(socket(AF_INET6, SOCK_DGRAM, 0));
        struct sockaddr_in6 name = to6(PORT + i);
        MUST(bind(*sockets6[i], (struct sockaddr *)&name, sizeof name));
    }
}

static void say(const char *text) {
    struct sockaddr_in name = to4(PORT + 1);
    MUST(sendto(sender, text, strlen(text), 0, (struct sockaddr *)&name, sizeof name));
}

static void say6(const char *text) {
    struct sockaddr_in6 name = to6(PORT + 1);
    MUST(sendto(sender6, text, strlen(text), 0, (struct sockaddr *)&name, sizeof name));
}

static void put_sender(const struct sockaddr_ll *name) {
    printf(" protocol %04x interface %d type %u kind %u address %u bytes", ntohs(name->sll_protocol), name->sll_ifindex,
           name->sll_hatype, name->sll_pkttype, name->sll_halen);
    for (int i = 0; i < 8; i++)
        printf(" %02x", name->sll_addr[i]);
}

/* An IP packet that carries UDP, without what differs from run to run: identification and checksums. */
static void put_packet(const uint8_t *p, ssize_t length) {
    uint32_t header = p[0] >> 4 == 6 ? 40 : 20;
    if (length < (ssize_t)header + 8) {
        printf(" %zd bytes of version %d\n", length, p[0] >> 4);
        return;
    }
    const struct udphdr *udp = (const void *)(p + header);
    printf(" IPv%d ports %d %d length %d text %.*s\n", p[0] >> 4, ntohs(udp->source), ntohs(udp->dest), ntohs(udp->len),
           (int)(length - header - 8), (const char *)(udp + 1));
}

static void hear_message(const char *what, int fd, size_t room, int flags) {
    uint8_t data[2048] = {0};
    struct sockaddr_ll from = {0};
    union {
        char bytes[256];
        struct cmsghdr header;
    } control;
    struct iovec part = {data, room};
    struct msghdr message = {&from, sizeof from, &part, 1, &control, sizeof control, 0};
    ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT | flags);
    if (got < 0) {
        printf("%s: %s\n", what, strerrorname_np(errno));
        return;
    }
    printf("%s: %zd bytes flags %x name %u", what, got, message.msg_flags, message.msg_namelen);
    put_sender(&from);
    for (struct cmsghdr *at = CMSG_FIRSTHDR(&message); at; at = CMSG_NXTHDR(&message, at)) {
        if (at->cmsg_level == SOL_PACKET && at->cmsg_type == PACKET_AUXDATA) {
            struct tpacket_auxdata about;
            memcpy(&about, CMSG_DATA(at), sizeof about);
            printf(" auxdata %u of %u, mac %u net %u", about.tp_snaplen, about.tp_len, about.tp_mac, about.tp_net);
        } else {
            printf(" control %d %d", at->cmsg_level, at->cmsg_type);
        }
    }
    int type = 0;
    socklen_t length = sizeof type;
    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length);
    if (type == SOCK_RAW && (size_t)got >= room)
        printf("\n");
    else if (type == SOCK_RAW)
        put_packet(data + ETH_HLEN, got - ETH_HLEN);
    else
        put_packet(data, got);
}

static void hear(const char *what, int fd) { hear_message(what, fd, 2048, 0); }

static void creating(void) {
    section("creating");
    FACT("stream", socket(AF_PACKET, SOCK_STREAM, 0));
    FACT("pair", socketpair(AF_PACKET, SOCK_RAW, 0, (int[2]){0}));
    int fd = FACT_FD("raw", socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)));
    struct sockaddr_ll name = {0};
    socklen_t length = sizeof name;
    FACT("getsockname", getsockname(fd, (struct sockaddr *)&name, &length));
    printf("%u", length);
    put_sender(&name);
    printf("\n");
    FACT("getpeername", getpeername(fd, (struct sockaddr *)&name, &length));
    FACT("listen", listen(fd, 1));
    FACT("accept", accept(fd, NULL, NULL));
    FACT("shutdown", shutdown(fd, SHUT_RD));
    name = on("lo", ETH_P_IP);
    FACT("connect", connect(fd, (struct sockaddr *)&name, sizeof name));
    FACT("bind a short name", bind(fd, (struct sockaddr *)&name, 12));
    name.sll_family = AF_INET;
    FACT("bind another family", bind(fd, (struct sockaddr *)&name, sizeof name));
    name = on("lo", ETH_P_IP);
    name.sll_ifindex = 77;
    FACT("bind to nothing", bind(fd, (struct sockaddr *)&name, sizeof name));
    name = on("lo", ETH_P_IP);
    FACT("bind", bind(fd, (struct sockaddr *)&name, sizeof name));
    length = sizeof name;
    FACT("getsockname", getsockname(fd, (struct sockaddr *)&name, &length));
    printf("%u", length);
    put_sender(&name);
    printf("\n");
    name = on("lo", 0);
    FACT("bind to no protocol", bind(fd, (struct sockaddr *)&name, sizeof name));
    length = sizeof name;
    FACT("getsockname", getsockname(fd, (struct sockaddr *)&name, &length));
    put_sender(&name);
    printf("\n");
    int value = -1;
    length = sizeof value;
    FACT("SO_PROTOCOL", getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &value, &length));
    printf("%x\n", value);
    FACT("SO_DOMAIN", getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &value, &length));
    printf("%d\n", value);
    FACT("send", send(fd, "", 0, 0));
    close(fd);
    IN_CHILD("without capabilities", {
        MUST(setuid(65534));
        FACT("raw", socket(AF_PACKET, SOCK_RAW, 0));
        FACT("stream", socket(AF_PACKET, SOCK_STREAM, 0));
    });
}

static void hearing(void) {
    section("hearing");
    int all = open_on_lo(SOCK_RAW, ETH_P_ALL), ip = open_on_lo(SOCK_DGRAM, ETH_P_IP),
        ip6 = open_on_lo(SOCK_RAW, ETH_P_IPV6);
    int incoming = open_on_lo(SOCK_DGRAM, ETH_P_ALL), one = 1;
    FACT("IGNORE_OUTGOING", setsockopt(incoming, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one));
    struct timeval stamp;
    FACT("SIOCGSTAMP", ioctl(all, SIOCGSTAMP, &stamp));
    put_poll("nothing yet", all);
    hear("nothing yet", all);
    say("four");
    say6("six");
    put_poll("something", all);
    int unread = 0;
    FACT("FIONREAD", ioctl(all, FIONREAD, &unread));
    printf("%d\n", unread);
    for (int i = 0; i < 5; i++)
        hear("all", all);
    for (int i = 0; i < 2; i++)
        hear("ip", ip);
    for (int i = 0; i < 2; i++)
        hear("ip6", ip6);
    for (int i = 0; i < 3; i++)
        hear("incoming", incoming);
    FACT("SIOCGSTAMP", ioctl(all, SIOCGSTAMP, &stamp));
    struct tpacket_stats statistics = {9, 9};
    socklen_t length = sizeof statistics;
    for (int i = 0; i < 2; i++) {
        FACT("PACKET_STATISTICS", getsockopt(all, SOL_PACKET, PACKET_STATISTICS, &statistics, &length));
        printf("%u of %u lost\n", statistics.tp_drops, statistics.tp_packets);
    }
    say("a longer text than there is room for");
    hear_message("cut", all, 20, MSG_PEEK);
    hear_message("cut, with its length", all, 20, MSG_TRUNC | MSG_PEEK);
    hear_message("MSG_OOB", all, 20, MSG_OOB);
    hear_message("MSG_ERRQUEUE", all, 20, MSG_ERRQUEUE);
    hear("whole", all);
    hear("whole", all);
    FACT("AUXDATA", setsockopt(all, SOL_PACKET, PACKET_AUXDATA, &one, sizeof one));
    FACT("AUXDATA", setsockopt(ip, SOL_PACKET, PACKET_AUXDATA, &one, sizeof one));
    FACT("SO_TIMESTAMP", setsockopt(all, SOL_SOCKET, SO_TIMESTAMP, &one, sizeof one));
    hear("ip before", ip);
    say("auxiliary");
    hear("all", all);
    hear("all", all);
    hear("ip", ip);
    close(all);
    close(ip);
    close(ip6);
    close(incoming);
}

static void attach(int fd, const char *what, struct sock_filter *program, unsigned short length) {
    struct sock_fprog request = {length, program};
    FACT(what, setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &request, sizeof request));
}

#define ATTACH(fd, what, ...)                                                                                          \
    do {                                                                                                               \
        struct sock_filter program_[] = {__VA_ARGS__};                                                                 \
        attach(fd, what, program_, sizeof program_ / sizeof program_[0]);                                              \
    } while (0)

static void checks(void) {
    section("checks of filters");
    int fd = open_on_lo(SOCK_RAW, ETH_P_IP);
    static struct sock_filter many[4097];
    for (int i = 0; i < 4097; i++)
        many[i] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 1);
    attach(fd, "none", many, 0);
    attach(fd, "most", many, 4096);
    attach(fd, "too many", many, 4097);
    attach(fd, "nowhere", nowhere, 1);
    FACT("short", setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, many, 8));
    ATTACH(fd, "no return", BPF_STMT(BPF_LD | BPF_IMM, 1));
    ATTACH(fd, "jump to the end", BPF_STMT(BPF_JMP | BPF_JA, 0), BPF_STMT(BPF_RET | BPF_K, 1));
    ATTACH(fd, "jump beyond it", BPF_STMT(BPF_JMP | BPF_JA, 1), BPF_STMT(BPF_RET | BPF_K, 1));
    ATTACH(fd, "jump far", BPF_STMT(BPF_JMP | BPF_JA, UINT32_MAX), BPF_STMT(BPF_RET | BPF_K, 1));
    ATTACH(fd, "true beyond", BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0), BPF_STMT(BPF_RET | BPF_K, 1));
    ATTACH(fd, "false beyond", BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1), BPF_STMT(BPF_RET | BPF_K, 1));
    ATTACH(fd, "division by 0", BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), BPF_STMT(BPF_RET | BPF_K, 1));
    ATTACH(fd, "modulo 0", BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, 0), BPF_STMT(BPF_RET | BPF_K, 1));
    ATTACH(fd, "shift by 31", BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 31), BPF_STMT(BPF_RET | BPF_K, 1));
    ATTACH(fd, "shift by 32", BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 32), BPF_STMT(BPF_RET | BPF_K, 1));
    ATTACH(fd, "word 16", BPF_STMT(BPF_ST, 16), BPF_STMT(BPF_RET | BPF_K, 1));
    ATTACH(fd, "unwritten word", BPF_STMT(BPF_LD | BPF_MEM, 3), BPF_STMT(BPF_RET | BPF_K, 1));
    ATTACH(fd, "written word", BPF_STMT(BPF_ST, 3), BPF_STMT(BPF_LD | BPF_MEM, 3), BPF_STMT(BPF_RET | BPF_K, 1));
    ATTACH(fd, "written on one way", BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1), BPF_STMT(BPF_ST, 3),
           BPF_STMT(BPF_LD | BPF_MEM, 3), BPF_STMT(BPF_RET | BPF_K, 1));
    ATTACH(fd, "written on both", BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 2), BPF_STMT(BPF_ST, 3),
           BPF_STMT(BPF_JMP | BPF_JA, 1), BPF_STMT(BPF_STX, 3), BPF_STMT(BPF_LDX | BPF_MEM, 3),
           BPF_STMT(BPF_RET | BPF_K, 1));
    ATTACH(fd, "return X", BPF_STMT(BPF_RET | BPF_X, 0));
    ATTACH(fd, "return A", BPF_STMT(BPF_RET | BPF_A, 0));
    ATTACH(fd, "unknown ancillary", BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)SKF_AD_OFF + SKF_AD_MAX),
           BPF_STMT(BPF_RET | BPF_K, 1));
    ATTACH(fd, "no instruction", {0xffff, 0, 0, 0}, BPF_STMT(BPF_RET | BPF_K, 1));
    /* Every code there can be: which ones are known? */
    char known[257] = "";
    for (int code = 0; code < 256; code++) {
        struct sock_filter program[] = {
            {(uint16_t)code, 0, 0, 1}, {(uint16_t)code, 0, 0, 0}, BPF_STMT(BPF_RET | BPF_K, 1)};
        bool jumps = (code & 7) == BPF_JMP;
        bool reads = ((code & 7) == BPF_LD || (code & 7) == BPF_LDX) && (code & 0xe0) == BPF_MEM;
        if (jumps)
            program[0].k = program[1].k = 0;
        if (reads)
            program[0] = (struct sock_filter)BPF_STMT(BPF_ST, 0);
        if ((code & 7) == BPF_ALU)
            program[1].k = 1;
        struct sock_fprog request = {3, program};
        known[code] = setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &request, sizeof request) ? '.' : 'x';
    }
    printf("codes: %s\n", known);
    close(fd);
}

/* Sends one datagram and tells what a filter leaves of it. */
static void leaves(const char *what, int fd) {
    uint8_t data[2048];
    while (recv(fd, data, sizeof data, MSG_DONTWAIT) > 0)
        continue;
    say("filtered");
    printf("%s: %zd\n", what, recv(fd, data, sizeof data, MSG_DONTWAIT | MSG_TRUNC));
}

#define LEAVES(what, ...)                                                                                              \
    do {                                                                                                               \
        ATTACH(raw, what, __VA_ARGS__);                                                                                \
        leaves(what ", raw", raw);                                                                                     \
        ATTACH(cooked, what, __VA_ARGS__);                                                                             \
        leaves(what ", cooked", cooked);                                                                               \
    } while (0)
#define LOAD(size, at) BPF_STMT(BPF_LD | (size) | BPF_ABS, (uint32_t)(at))
#define RETURN_A BPF_STMT(BPF_RET | BPF_A, 0)

/* What filters find in netlink attributes, of types 1 to 3; 2 holds 5 and 6. Cooked, they begin behind IP and UDP. */
static void attributes(int raw, int cooked) {
    static const uint16_t sent[] = {6, 1, 77, 0, 20, 2, 4, 5, 8, 6, 99, 99, 4, 0x4003, 3, 3};
    static const struct {
        const char *name;
        uint32_t what, from, type;
    } searches[] = {{"the first", SKF_AD_NLATTR, 28, 1},       {"another", SKF_AD_NLATTR, 28, 2},
                    {"one of a nest", SKF_AD_NLATTR, 28, 5},   {"with a flag", SKF_AD_NLATTR, 28, 3},
                    {"in no nest", SKF_AD_NLATTR_NEST, 28, 1}, {"in a nest", SKF_AD_NLATTR_NEST, 36, 6},
                    {"its first", SKF_AD_NLATTR_NEST, 36, 5},  {"behind the nest", SKF_AD_NLATTR_NEST, 36, 3},
                    {"from the end", SKF_AD_NLATTR, 56, 3},    {"beyond", SKF_AD_NLATTR, 58, 3},
                    {"no type", SKF_AD_NLATTR, 28, 9},         {"far away", SKF_AD_NLATTR, UINT32_MAX, 1}};
    for (size_t i = 0; i < sizeof searches / sizeof searches[0]; i++) {
        uint8_t data[2048];
        ATTACH(cooked, searches[i].name, BPF_STMT(BPF_LD | BPF_IMM, searches[i].from),
               BPF_STMT(BPF_LDX | BPF_IMM, searches[i].type), LOAD(BPF_W, SKF_AD_OFF + searches[i].what),
               BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 1), RETURN_A);
        while (recv(raw, data, sizeof data, MSG_DONTWAIT) > 0 || recv(cooked, data, sizeof data, MSG_DONTWAIT) > 0)
            continue;
        struct sockaddr_in name = to4(PORT + 1);
        MUST(sendto(sender, sent, sizeof sent, 0, (struct sockaddr *)&name, sizeof name));
        printf("attribute, %s: %zd\n", searches[i].name, recv(cooked, data, sizeof data, MSG_DONTWAIT | MSG_TRUNC));
    }
}

static void filters(void) {
    section("what filters see");
    int raw = open_on_lo(SOCK_RAW, ETH_P_IP), cooked = open_on_lo(SOCK_DGRAM, ETH_P_IP);
    LEAVES("all", BPF_STMT(BPF_RET | BPF_K, UINT32_MAX));
    LEAVES("ten", BPF_STMT(BPF_RET | BPF_K, 10));
    LEAVES("none", BPF_STMT(BPF_RET | BPF_K, 0));
    LEAVES("length", BPF_STMT(BPF_LD | BPF_LEN, 0), BPF_STMT(BPF_ALU | BPF_SUB | BPF_K, 1), RETURN_A);
    LEAVES("first byte", LOAD(BPF_B, 0), BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 1), RETURN_A);
    LEAVES("a byte beyond", LOAD(BPF_B, 2000), BPF_STMT(BPF_RET | BPF_K, 9));
    LEAVES("half a word beyond", BPF_STMT(BPF_LD | BPF_LEN, 0), BPF_STMT(BPF_MISC | BPF_TAX, 0),
           BPF_STMT(BPF_LD | BPF_W | BPF_IND, (uint32_t)-2), BPF_STMT(BPF_RET | BPF_K, 9));
    LEAVES("IP header", LOAD(BPF_B, SKF_NET_OFF + 9), RETURN_A);
    LEAVES("type of frame", LOAD(BPF_H, SKF_LL_OFF + 12), BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 6), RETURN_A);
    LEAVES("protocol", LOAD(BPF_W, SKF_AD_OFF + SKF_AD_PROTOCOL), BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 6), RETURN_A);
    LEAVES("kind", LOAD(BPF_W, SKF_AD_OFF + SKF_AD_PKTTYPE), BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 7), RETURN_A);
    LEAVES("interface", LOAD(BPF_W, SKF_AD_OFF + SKF_AD_IFINDEX), BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 7), RETURN_A);
    LEAVES("hardware", LOAD(BPF_W, SKF_AD_OFF + SKF_AD_HATYPE), BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, 29), RETURN_A);
    LEAVES("tag", LOAD(BPF_W, SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT), BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 3), RETURN_A);
    LEAVES("exclusive or", BPF_STMT(BPF_LD | BPF_IMM, 12), BPF_STMT(BPF_LDX | BPF_IMM, 6),
           LOAD(BPF_W, SKF_AD_OFF + SKF_AD_ALU_XOR_X), RETURN_A);
    LEAVES("header length", BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 14), BPF_STMT(BPF_MISC | BPF_TXA, 0), RETURN_A);
    LEAVES("division by X", BPF_STMT(BPF_LD | BPF_IMM, 12), BPF_STMT(BPF_LDX | BPF_IMM, 0),
           BPF_STMT(BPF_ALU | BPF_DIV | BPF_X, 0), BPF_STMT(BPF_RET | BPF_K, 9));
    LEAVES("shift by X", BPF_STMT(BPF_LD | BPF_IMM, 3), BPF_STMT(BPF_LDX | BPF_IMM, 33),
           BPF_STMT(BPF_ALU | BPF_LSH | BPF_X, 0), RETURN_A);
    LEAVES("negation", BPF_STMT(BPF_LD | BPF_IMM, (uint32_t)-7), BPF_STMT(BPF_ALU | BPF_NEG, 0), RETURN_A);
    LEAVES("unsigned", BPF_STMT(BPF_LD | BPF_IMM, (uint32_t)-7), BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 7, 0, 1),
           BPF_STMT(BPF_RET | BPF_K, 5), BPF_STMT(BPF_RET | BPF_K, 3));
    LEAVES("payload", LOAD(BPF_W, SKF_AD_OFF + SKF_AD_PAY_OFFSET), RETURN_A);
    attributes(raw, cooked);
    LEAVES("memory", BPF_STMT(BPF_LD | BPF_IMM, 11), BPF_STMT(BPF_ST, 15), BPF_STMT(BPF_LDX | BPF_MEM, 15),
           BPF_STMT(BPF_MISC | BPF_TXA, 0), RETURN_A);

    struct sock_filter got[4] = {{0}};
    socklen_t length = 0;
    FACT("SO_GET_FILTER", getsockopt(raw, SOL_SOCKET, SO_GET_FILTER, got, &length));
    printf("%u\n", length);
    length = 3;
    FACT("SO_GET_FILTER", getsockopt(raw, SOL_SOCKET, SO_GET_FILTER, got, &length));
    int one = 1, zero = 0;
    FACT("SO_DETACH_FILTER", setsockopt(raw, SOL_SOCKET, SO_DETACH_FILTER, &one, sizeof one));
    FACT("SO_DETACH_FILTER", setsockopt(raw, SOL_SOCKET, SO_DETACH_FILTER, &one, sizeof one));
    length = sizeof got;
    FACT("SO_GET_FILTER", getsockopt(raw, SOL_SOCKET, SO_GET_FILTER, got, &length));
    printf("%u\n", length);
    leaves("detached", raw);
    ATTACH(raw, "attach", BPF_STMT(BPF_RET | BPF_K, 10));
    length = 4;
    FACT("SO_GET_FILTER", getsockopt(raw, SOL_SOCKET, SO_GET_FILTER, got, &length));
    printf("%u: %x %u\n", length, got[0].code, got[0].k);
    FACT("SO_LOCK_FILTER", setsockopt(raw, SOL_SOCKET, SO_LOCK_FILTER, &one, sizeof one));
    ATTACH(raw, "attach to the locked", BPF_STMT(BPF_RET | BPF_K, 20));
    FACT("detach from the locked", setsockopt(raw, SOL_SOCKET, SO_DETACH_FILTER, &one, sizeof one));
    FACT("unlock", setsockopt(raw, SOL_SOCKET, SO_LOCK_FILTER, &zero, sizeof zero));
    leaves("locked", raw);
    int value = -1;
    length = sizeof value;
    FACT("SO_LOCK_FILTER", getsockopt(raw, SOL_SOCKET, SO_LOCK_FILTER, &value, &length));
    printf("%d\n", value);
    FACT("SO_BPF_EXTENSIONS", getsockopt(raw, SOL_SOCKET, SO_BPF_EXTENSIONS, &value, &length));
    printf("%d\n", value);
    close(raw);
    close(cooked);

    /* Of UDP they see the header, and cannot cut it. */
    char data[64];
    while (recv(listener, data, sizeof data, MSG_DONTWAIT) > 0)
        continue;
    ATTACH(listener, "UDP", LOAD(BPF_H, 4), BPF_STMT(BPF_ALU | BPF_SUB | BPF_K, 3), RETURN_A);
    say("filtered");
    FACT("UDP", recv(listener, data, sizeof data, MSG_DONTWAIT));
    ATTACH(listener, "UDP", BPF_STMT(BPF_RET | BPF_K, 1));
    say("filtered");
    FACT("UDP", recv(listener, data, sizeof data, MSG_DONTWAIT));
    ATTACH(listener, "UDP", BPF_STMT(BPF_RET | BPF_K, 0));
    say("filtered");
    FACT("UDP", recv(listener, data, sizeof data, MSG_DONTWAIT));
    FACT("detach", setsockopt(listener, SOL_SOCKET, SO_DETACH_FILTER, &one, sizeof one));
    int icmp = (int)MUST(socket(AF_INET, SOCK_RAW, IPPROTO_UDP));
    ATTACH(icmp, "raw", LOAD(BPF_B, 9), BPF_STMT(BPF_ALU | BPF_ADD | BPF_K, 4), RETURN_A);
    say("filtered");
    FACT("raw", recv(icmp, data, sizeof data, MSG_DONTWAIT));
    close(icmp);
}

static void options(void) {
    section("options");
    int fd = (int)MUST(socket(AF_PACKET, SOCK_RAW, 0));
    static const int names[] = {PACKET_AUXDATA, PACKET_ORIGDEV,   PACKET_VERSION,         PACKET_RESERVE,
                                PACKET_LOSS,    PACKET_TIMESTAMP, PACKET_IGNORE_OUTGOING, PACKET_QDISC_BYPASS};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        static const int values[] = {1, 0, 2, -1};
        for (size_t j = 0; j < 4; j++) {
            char what[32];
            int value = values[j], now = -7;
            socklen_t length = sizeof now;
            if (names[i] == PACKET_VERSION && values[j] == 2)
                continue; /* below */
            snprintf(what, sizeof what, "option %d = %d", names[i], value);
            FACT(what, setsockopt(fd, SOL_PACKET, names[i], &value, sizeof value));
            FACT(what, getsockopt(fd, SOL_PACKET, names[i], &now, &length));
            printf("%d\n", now);
        }
        FACT("short", setsockopt(fd, SOL_PACKET, names[i], "x", 1));
    }
    for (int version = TPACKET_V1; version <= TPACKET_V2; version++) {
        int value = version;
        socklen_t length = sizeof value;
        FACT("PACKET_HDRLEN", getsockopt(fd, SOL_PACKET, PACKET_HDRLEN, &value, &length));
        printf("%d\n", value);
    }
    int value = 9;
    socklen_t length = sizeof value;
    FACT("PACKET_HDRLEN of 9", getsockopt(fd, SOL_PACKET, PACKET_HDRLEN, &value, &length));
    length = 2;
    FACT("PACKET_HDRLEN, short", getsockopt(fd, SOL_PACKET, PACKET_HDRLEN, &value, &length));
    FACT("unknown", setsockopt(fd, SOL_PACKET, 999, &value, sizeof value));
    length = sizeof value;
    FACT("unknown", getsockopt(fd, SOL_PACKET, 999, &value, &length));
    FACT("of IP", setsockopt(fd, IPPROTO_IP, IP_TTL, &value, sizeof value));
    struct packet_mreq request = {.mr_ifindex = (int)if_nametoindex("lo"), .mr_type = PACKET_MR_PROMISC};
    FACT("ADD_MEMBERSHIP", setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, sizeof request));
    FACT("ADD_MEMBERSHIP, short", setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, 8));
    FACT("DROP_MEMBERSHIP", setsockopt(fd, SOL_PACKET, PACKET_DROP_MEMBERSHIP, &request, sizeof request));
    request.mr_alen = 8;
    FACT("a long address", setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, sizeof request));
    request.mr_alen = 0;
    request.mr_ifindex = 77;
    FACT("of no interface", setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, sizeof request));
    close(fd);
}

static void set_ring(const char *what, int fd, unsigned block, unsigned blocks, unsigned frame, unsigned frames) {
    struct tpacket_req request = {block, blocks, frame, frames};
    FACT(what, setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof request));
}

static void *frame_at(void *ring, unsigned index) { return (char *)ring + index * FRAME_SIZE; }

static void show_frame(const char *what, const void *place, int version) {
    const struct tpacket_hdr *first = place;
    const struct tpacket2_hdr *second = place;
    bool v1 = version == TPACKET_V1;
    unsigned long status = v1 ? first->tp_status : second->tp_status;
    printf("%s: status %lx", what, status & (TP_STATUS_USER | TP_STATUS_COPY | TP_STATUS_LOSING));
    if (!(status & TP_STATUS_USER)) {
        printf("\n");
        return;
    }
    unsigned mac = v1 ? first->tp_mac : second->tp_mac, net = v1 ? first->tp_net : second->tp_net;
    unsigned kept = v1 ? first->tp_snaplen : second->tp_snaplen;
    printf(" %u of %u at %u %u", kept, v1 ? first->tp_len : second->tp_len, mac, net);
    printf(" time %s", (v1 ? first->tp_sec : second->tp_sec) > 900000000 ? "set" : "not set");
    put_sender((const struct sockaddr_ll *)(const void *)((const char *)place + 32));
    put_packet((const uint8_t *)place + net, (ssize_t)(mac + kept) - (ssize_t)net);
}

static void give_back(void *place, int version) {
    if (version == TPACKET_V1)
        ((struct tpacket_hdr *)place)->tp_status = TP_STATUS_KERNEL;
    else
        ((struct tpacket2_hdr *)place)->tp_status = TP_STATUS_KERNEL;
}

static void requests_of_rings(void) {
    section("requests of rings");
    int fd = open_on_lo(SOCK_RAW, ETH_P_IP);
    struct tpacket_req request = {BLOCK_SIZE, 2, FRAME_SIZE, FRAMES};
    FACT("short", setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &request, 8));
    set_ring("no page", fd, 2048, 2, FRAME_SIZE, 2);
    set_ring("small frames", fd, BLOCK_SIZE, 1, 32, 128);
    set_ring("crooked frames", fd, BLOCK_SIZE, 1, 1000, 4);
    set_ring("long frames", fd, BLOCK_SIZE, 1, 8192, 1);
    set_ring("too many frames", fd, BLOCK_SIZE, 2, FRAME_SIZE, 5);
    set_ring("frames without blocks", fd, 0, 0, 0, 4);
    FACT("mmap without a ring", (intptr_t)mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 0));
    set_ring("right", fd, BLOCK_SIZE, 2, FRAME_SIZE, FRAMES);
    set_ring("again", fd, BLOCK_SIZE, 2, FRAME_SIZE, FRAMES);
    int version = TPACKET_V2;
    FACT("PACKET_VERSION with a ring", setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version));
    FACT("PACKET_RESERVE with a ring", setsockopt(fd, SOL_PACKET, PACKET_RESERVE, &version, sizeof version));
    FACT("mmap half", (intptr_t)mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0));
    FACT("mmap behind", (intptr_t)mmap(NULL, 8192, PROT_READ, MAP_SHARED, fd, 4096));
    void *ring = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    printf("mmap: %s\n", ring == MAP_FAILED ? "failed" : "done");
    set_ring("away while it is mapped", fd, 0, 0, 0, 0);
    munmap(ring, 8192);
    set_ring("away", fd, 0, 0, 0, 0);
    say("after the ring");
    hear("after the ring", fd);
    close(fd);
}

static void rings(int version, int type) {
    section(version == TPACKET_V1 ? "a ring of version 1" : "a ring of version 2");
    int fd = (int)MUST(socket(AF_PACKET, type, 0));
    FACT("PACKET_VERSION", setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version));
    int reserve = 4;
    if (version == TPACKET_V2)
        FACT("PACKET_RESERVE", setsockopt(fd, SOL_PACKET, PACKET_RESERVE, &reserve, sizeof reserve));
    set_ring("ring", fd, BLOCK_SIZE, 2, FRAME_SIZE, FRAMES);
    void *ring = mmap(NULL, FRAMES * FRAME_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (ring == MAP_FAILED) {
        printf("no ring: %s\n", strerrorname_np(errno));
        return;
    }
    struct sockaddr_ll name = on("lo", ETH_P_IP);
    FACT("bind", bind(fd, (struct sockaddr *)&name, sizeof name));
    put_poll("empty", fd);
    say("one");
    put_poll("one frame", fd);
    hear("not by recv", fd);
    say("two");
    show_frame("0", frame_at(ring, 0), version);
    show_frame("1", frame_at(ring, 1), version);
    show_frame("2", frame_at(ring, 2), version);
    char longest[1901];
    memset(longest, 'x', sizeof longest - 1);
    longest[1900] = 0;
    say("three");
    say("four");
    say("lost");
    struct tpacket_stats statistics;
    give_back(frame_at(ring, 0), version);
    say("five");
    show_frame("0", frame_at(ring, 0), version);
    socklen_t length = sizeof statistics;
    FACT("PACKET_STATISTICS", getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &statistics, &length));
    printf("%u of %u lost\n", statistics.tp_drops, statistics.tp_packets);
    for (unsigned i = 0; i < FRAMES; i++)
        give_back(frame_at(ring, i), version);
    put_poll("given back", fd);
    say("six");
    show_frame("1", frame_at(ring, 1), version);
    ATTACH(fd, "filter", BPF_STMT(BPF_RET | BPF_K, 46));
    say("seven");
    show_frame("2", frame_at(ring, 2), version);
    FACT("detach", setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &reserve, sizeof reserve));
    say(longest);
    printf("%u\n", ((struct tpacket2_hdr *)frame_at(ring, 3))->tp_snaplen);
    /* The child has the ring too, and the mapping outlives the descriptor. */
    for (unsigned i = 0; i < FRAMES; i++)
        give_back(frame_at(ring, i), version);
    close(fd);
    say("eight");
    show_frame("0", frame_at(ring, 0), version);
    IN_CHILD("child", {
        show_frame("0", frame_at(ring, 0), version);
        say("nine");
        show_frame("1", frame_at(ring, 1), version);
    });
    show_frame("1", frame_at(ring, 1), version);
    munmap(ring, FRAMES * FRAME_SIZE);
}

/* What is longer than a frame of the ring may be had as a whole (PACKET_COPY_THRESH). */
static void copies(int type) {
    section(type == SOCK_RAW ? "copies of long frames" : "copies of long packets");
    int fd = (int)MUST(socket(AF_PACKET, type, 0)), on_or_off = 1, version = TPACKET_V2;
    MUST(setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version));
    set_ring("ring", fd, BLOCK_SIZE, 1, 256, 16);
    char *ring = mmap(NULL, BLOCK_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    struct sockaddr_ll name = on("lo", ETH_P_IP);
    MUST(bind(fd, (struct sockaddr *)&name, sizeof name));
    MUST(setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on_or_off, sizeof on_or_off));
    char text[301];
    memset(text, 'x', sizeof text - 1);
    text[300] = 0;
    say(text);
    hear("without", fd);
    FACT("PACKET_COPY_THRESH", setsockopt(fd, SOL_PACKET, PACKET_COPY_THRESH, &on_or_off, sizeof on_or_off));
    say(text);
    put_poll("with it", fd);
    say("short");
    show_frame("0", ring, version);
    show_frame("1", ring + 256, version);
    show_frame("2", ring + 512, version);
    hear("a copy", fd);
    hear("not of the short one", fd);
    ATTACH(fd, "filter", BPF_STMT(BPF_RET | BPF_K, 250));
    say(text);
    show_frame("3", ring + 768, version);
    hear("all that the filter cut", fd);
    ATTACH(fd, "filter", BPF_STMT(BPF_RET | BPF_K, 100));
    say(text);
    show_frame("4", ring + 1024, version);
    hear("nothing that fits then", fd);
    FACT("detach", setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &on_or_off, sizeof on_or_off));
    for (int i = 0; i < 12; i++)
        say(text);
    int count = 0;
    while (recv(fd, text, sizeof text, MSG_DONTWAIT) > 0)
        count++;
    printf("as many as the ring had room for: %d\n", count);
    munmap(ring, BLOCK_SIZE);
    close(fd);
}

/* A frame with a UDP datagram from PORT to PORT + 1. Linux takes none of IPv4 whose source is its own. */
static size_t build(uint8_t *frame, uint32_t destination, const char *text) {
    struct ether_header link = {.ether_type = htons(ETH_P_IP)};
    size_t data = strlen(text);
    struct iphdr ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP};
    ip.tot_len = htons((uint16_t)(28 + data));
    ip.saddr = htonl(INADDR_LOOPBACK);
    ip.daddr = htonl(destination);
    uint32_t sum = 0;
    for (int i = 0; i < 10; i++)
        sum += ((uint16_t *)(void *)&ip)[i];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    ip.check = (uint16_t)~sum;
    struct udphdr udp = {.source = htons(PORT), .dest = htons(PORT + 1), .len = htons((uint16_t)(8 + data))};
    memcpy(frame, &link, sizeof link);
    memcpy(frame + 14, &ip, sizeof ip);
    memcpy(frame + 34, &udp, sizeof udp);
    memcpy(frame + 42, text, data);
    return 42 + data;
}

static uint32_t add_words(uint32_t sum, const void *bytes, size_t length) {
    const uint8_t *p = bytes;
    for (; length > 1; p += 2, length -= 2)
        sum += (uint32_t)(p[0] << 8 | p[1]);
    return length ? sum + (uint32_t)(p[0] << 8) : sum;
}

/* The same over IPv6, where checksums are not optional. */
static size_t build6(uint8_t *frame, const char *text) {
    struct ether_header link = {.ether_type = htons(ETH_P_IPV6)};
    size_t data = strlen(text);
    struct ip6_hdr ip = {
        .ip6_vfc = 0x60, .ip6_plen = htons((uint16_t)(8 + data)), .ip6_nxt = IPPROTO_UDP, .ip6_hlim = 64};
    ip.ip6_src = ip.ip6_dst = in6addr_loopback;
    struct udphdr udp = {.source = htons(PORT), .dest = htons(PORT + 1), .len = ip.ip6_plen};
    uint32_t sum = IPPROTO_UDP + 8 + (uint32_t)data;
    sum = add_words(add_words(add_words(sum, &ip.ip6_src, 32), &udp, 8), text, data);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    udp.check = htons((uint16_t)~sum);
    memcpy(frame, &link, sizeof link);
    memcpy(frame + 14, &ip, sizeof ip);
    memcpy(frame + 54, &udp, sizeof udp);
    memcpy(frame + 62, text, data);
    return 62 + data;
}

static void sending(void) {
    section("sending");
    uint8_t frame[70000] = {0};
    char data[64];
    while (recv(listener, data, sizeof data, MSG_DONTWAIT) > 0 || recv(listener6, data, sizeof data, MSG_DONTWAIT) > 0)
        continue;
    int raw = (int)MUST(socket(AF_PACKET, SOCK_RAW, 0)), cooked = (int)MUST(socket(AF_PACKET, SOCK_DGRAM, 0));
    int hearing = open_on_lo(SOCK_RAW, ETH_P_ALL);
    struct sockaddr_ll name = on("lo", ETH_P_IP);
    size_t length = build(frame, INADDR_LOOPBACK, "by frame");
    FACT("to nowhere", send(raw, frame, length, 0));
    FACT("raw", sendto(raw, frame, length, 0, (struct sockaddr *)&name, sizeof name));
    FACT("UDP", recv(listener, data, sizeof data, MSG_DONTWAIT));
    hear("heard", hearing);
    hear("heard", hearing);
    hear("heard", hearing);
    FACT("short name", sendto(raw, frame, length, 0, (struct sockaddr *)&name, 12));
    FACT("short frame", sendto(raw, frame, 13, 0, (struct sockaddr *)&name, sizeof name));
    FACT("long frame", sendto(raw, frame, 66000, 0, (struct sockaddr *)&name, sizeof name));
    name.sll_halen = 6;
    FACT("cooked", sendto(cooked, frame + 14, length - 14, 0, (struct sockaddr *)&name, sizeof name));
    FACT("UDP", recv(listener, data, sizeof data, MSG_DONTWAIT));
    name.sll_ifindex = 77;
    FACT("by no interface", sendto(cooked, frame + 14, length - 14, 0, (struct sockaddr *)&name, sizeof name));
    name = on("lo", ETH_P_IP);
    FACT("bind", bind(raw, (struct sockaddr *)&name, sizeof name));
    while (recv(hearing, frame, sizeof frame, MSG_DONTWAIT) > 0)
        continue;
    length = build(frame, INADDR_LOOPBACK, "bound");
    FACT("bound", write(raw, frame, length));
    FACT("UDP", recv(listener, data, sizeof data, MSG_DONTWAIT));
    for (int i = 0; i < 3; i++)
        hear("others hear", hearing);
    for (int i = 0; i < 2; i++)
        hear("oneself", raw);
    length = build(frame, 0x0b000001, "to a stranger");
    FACT("to a stranger", write(raw, frame, length));
    FACT("UDP", recv(listener, data, sizeof data, MSG_DONTWAIT));
    frame[14] = 0x65;
    FACT("a wrong version", write(raw, frame, length));
    FACT("UDP", recv(listener, data, sizeof data, MSG_DONTWAIT));
    name = on("lo", ETH_P_IPV6);
    length = build6(frame, "by frame of IPv6");
    FACT("IPv6", sendto(raw, frame, length, 0, (struct sockaddr *)&name, sizeof name));
    FACT("UDP", recv(listener6, data, sizeof data, MSG_DONTWAIT));
    FACT("IPv6, cooked", sendto(cooked, frame + 14, length - 14, 0, (struct sockaddr *)&name, sizeof name));
    FACT("UDP", recv(listener6, data, sizeof data, MSG_DONTWAIT));
    close(raw);
    close(cooked);
    close(hearing);
}

int main(void) {
    begin();
    own_network();
    begin_talk();
    creating();
    hearing();
    checks();
    filters();
    options();
    requests_of_rings();
    rings(TPACKET_V1, SOCK_RAW);
    rings(TPACKET_V2, SOCK_RAW);
    rings(TPACKET_V2, SOCK_DGRAM);
    copies(SOCK_RAW);
    copies(SOCK_DGRAM);
    sending();
    return 0;
}
