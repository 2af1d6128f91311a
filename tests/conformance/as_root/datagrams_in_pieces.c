/* What is sent with MSG_MORE is one datagram, of raw sockets as of UDP. */
#include "own_network.h"
#include "raw.h"

#include <netinet/ip.h>

static char large[65536];

static void set(int fd, int level, int option, int value) { MUST(setsockopt(fd, level, option, &value, sizeof value)); }

static void piece(const char *what, int fd, const void *data, size_t length, int flags) {
    FACT(what, send(fd, data, length, flags));
}

/* A packet of IPv4 with its header's facts, of IPv6 without. */
static void hear(const char *what, int fd, bool v6) {
    static uint8_t bytes[65536];
    ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    put_result(what, got, errno);
    if (got < 0)
        return;
    const struct iphdr *ip = (const void *)bytes;
    size_t header = v6 ? 0 : sizeof *ip;
    if (!v6) {
        char address[INET_ADDRSTRLEN];
        inet_ntop(AF_INET, &ip->daddr, address, sizeof address);
        printf("  to %s, ttl %d, tos %d, %d bytes\n", address, ip->ttl, ip->tos, ntohs(ip->tot_len));
    }
    put_bytes("  data", bytes + header, (size_t)got - header < 40 ? (size_t)got - header : 40);
}

static void raw4(void) {
    section("raw sockets of IPv4");
    int fd = (int)MUST(socket(AF_INET, SOCK_RAW, OWN_PROTOCOL));
    struct sockaddr_in first = to4("127.0.0.1", 0), second = to4("127.0.0.2", 0);
    struct sockaddr *one = (struct sockaddr *)&first, *two = (struct sockaddr *)&second;
    set(fd, IPPROTO_IP, IP_TOS, 8);
    FACT("a piece", sendto(fd, "one ", 4, MSG_MORE, one, sizeof first));
    hear("nothing yet", fd, false);
    piece("without a name", fd, "more ", 5, MSG_MORE);
    set(fd, IPPROTO_IP, IP_TTL, 7);
    FACT("to another", sendto(fd, "two ", 4, MSG_MORE, two, sizeof second));
    FACT("nothing", sendto(fd, "", 0, MSG_MORE, two, sizeof second));
    hear("nothing yet", fd, false);
    FACT("the last", sendto(fd, "three", 5, 0, two, sizeof second));
    hear("all of it", fd, false);
    FACT("the next", sendto(fd, "next", 4, 0, two, sizeof second));
    hear("alone", fd, false);
    MUST(connect(fd, one, sizeof first));
    piece("a piece", fd, "kept ", 5, MSG_MORE);
    set(fd, IPPROTO_IP, IP_HDRINCL, 1);
    struct {
        struct iphdr ip;
        char data[8];
    } packet = {.ip = {.version = 4, .ihl = 5, .ttl = 3, .protocol = OWN_PROTOCOL, .daddr = first.sin_addr.s_addr},
                .data = "built"};
    piece("with a header", fd, &packet, sizeof packet, MSG_MORE);
    hear("at once", fd, false);
    set(fd, IPPROTO_IP, IP_HDRINCL, 0);
    piece("the rest", fd, "still", 5, 0);
    hear("both", fd, false);
    piece("nothing", fd, "", 0, MSG_MORE);
    piece("nothing", fd, "", 0, 0);
    hear("a header", fd, false);
    piece("large", fd, large, 65000, MSG_MORE);
    piece("as large as can be", fd, large, 515, MSG_MORE);
    piece("the last", fd, "", 0, 0);
    hear("all of it", fd, false);
    piece("large", fd, large, 65000, MSG_MORE);
    piece("too large", fd, large, 516, 0);
    hear("nothing", fd, false);
    piece("the next", fd, "next", 4, 0);
    hear("alone", fd, false);
    piece("a piece", fd, "lost", 4, MSG_MORE);
    piece("from nowhere", fd, (void *)8, 4, MSG_MORE);
    piece("the next", fd, "next", 4, 0);
    hear("what came", fd, false);
    piece("a piece", fd, "lost", 4, MSG_MORE);
    FACT("shutdown", shutdown(fd, SHUT_WR));
    piece("the rest", fd, "next", 4, 0);
    hear("what came", fd, false);
    close(fd);
}

static void echoes(void) {
    section("echoes");
    int fd = (int)MUST(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
    struct sockaddr_in name = to4("127.0.0.1", 0);
    MUST(connect(fd, (struct sockaddr *)&name, sizeof name));
    /* Type 99 is answered by nobody. */
    piece("half a type", fd, "c", 1, MSG_MORE);
    piece("a type", fd, "c\0\0\0", 4, MSG_MORE);
    piece("a byte", fd, "x", 1, MSG_MORE);
    piece("the rest", fd, "rest", 4, 0);
    hear("it", fd, false);
    close(fd);
}

static void raw6(void) {
    section("raw sockets of IPv6");
    int fd = (int)MUST(socket(AF_INET6, SOCK_RAW, OWN_PROTOCOL));
    struct sockaddr_in6 name = to6("::1", 0), other = to6("::1", OWN_PROTOCOL);
    FACT("a piece", sendto(fd, "one ", 4, MSG_MORE, (struct sockaddr *)&name, sizeof name));
    hear("nothing yet", fd, true);
    piece("without a name", fd, "more ", 5, MSG_MORE);
    FACT("the last", sendto(fd, "two", 3, 0, (struct sockaddr *)&other, sizeof other));
    hear("all of it", fd, true);
    MUST(connect(fd, (struct sockaddr *)&name, sizeof name));
    set(fd, IPPROTO_IPV6, IPV6_CHECKSUM, 4);
    piece("a piece", fd, "abcd", 4, MSG_MORE);
    piece("its sum", fd, "\0\0", 2, MSG_MORE);
    piece("the rest", fd, "gh", 2, 0);
    hear("with a checksum", fd, true);
    piece("a piece", fd, "abcd", 4, MSG_MORE);
    piece("too short for it", fd, "e", 1, 0);
    piece("the next", fd, "abcd\0\0gh", 8, 0);
    hear("alone", fd, true);
    piece("large", fd, large, 65000, MSG_MORE);
    piece("as large as can be", fd, large, 535, 0);
    hear("all of it", fd, true);
    piece("large", fd, large, 65000, MSG_MORE);
    piece("too large", fd, large, 536, 0);
    hear("nothing", fd, true);
    piece("the next", fd, "abcd\0\0gh", 8, 0);
    hear("alone", fd, true);
    set(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO);
    piece("larger than a packet", fd, large, 65497, 0);
    piece("large", fd, large, 65000, MSG_MORE);
    piece("larger than a packet", fd, large, 497, 0);
    piece("a packet", fd, large, 65496, 0);
    hear("that", fd, true);
    close(fd);
}

static void datagrams(int family, size_t most) {
    section(family == AF_INET ? "UDP" : "UDP by IPv6");
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } name = {.v6 = to6("::1", 0)};
    socklen_t length = sizeof name.v6;
    if (family == AF_INET) {
        name.v4 = to4("127.0.0.1", 0);
        length = sizeof name.v4;
    }
    int to = (int)MUST(socket(family, SOCK_DGRAM, 0)), fd = (int)MUST(socket(family, SOCK_DGRAM, 0));
    MUST(bind(to, &name.any, length));
    MUST(getsockname(to, &name.any, &length));
    MUST(connect(fd, &name.any, length));
    piece("large", fd, large, 65000, MSG_MORE);
    piece("as large as can be", fd, large, most - 65000, 0);
    hear("all of it", to, true);
    piece("large", fd, large, 65000, MSG_MORE);
    piece("too large", fd, large, most - 65000 + 1, 0);
    hear("nothing", to, true);
    piece("the next", fd, "next", 4, 0);
    hear("alone", to, true);
    piece("a piece", fd, "lost", 4, MSG_MORE);
    piece("from nowhere", fd, (void *)8, 4, MSG_MORE);
    piece("the next", fd, "next", 4, 0);
    hear("what came", to, true);
    set(fd, family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6, family == AF_INET ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER,
        IP_PMTUDISC_DO);
    piece("large", fd, large, 65000, MSG_MORE);
    piece("larger than a packet", fd, large, most - 65000, 0);
    hear("nothing", to, true);
    close(fd);
    close(to);
}

int main(void) {
    begin();
    own_network();
    raw4();
    echoes();
    raw6();
    datagrams(AF_INET, 65507);
    datagrams(AF_INET6, 65527);
    return 0;
}
