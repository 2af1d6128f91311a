/* Raw sockets over the loopback: echoes, filters, headers that programs build, and who may have them. */
#include "raw.h"

#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <sys/ioctl.h>

#ifndef ICMP_FILTER
#define ICMP_FILTER 1
#endif

static uint16_t sum(const void *bytes, size_t length) {
    const uint8_t *p = bytes;
    uint32_t total = 0;
    for (; length > 1; p += 2, length -= 2)
        total += (uint32_t)(p[0] << 8 | p[1]);
    if (length)
        total += (uint32_t)(p[0] << 8);
    while (total >> 16)
        total = (total & 0xffff) + (total >> 16);
    return htons((uint16_t)~total);
}

/* What came: of IPv4 the header's facts, then type, code and the first bytes of the rest. */
static void hear(const char *what, int fd, bool v6) {
    uint8_t data[2048];
    struct sockaddr_in6 from;
    socklen_t length = sizeof from;
    ssize_t got = recvfrom(fd, data, sizeof data, MSG_DONTWAIT, (struct sockaddr *)&from, &length);
    if (got < 0) {
        printf("%s: %s\n", what, strerrorname_np(errno));
        return;
    }
    char text[INET6_ADDRSTRLEN] = "";
    const struct sockaddr_in *from4 = (const struct sockaddr_in *)&from;
    inet_ntop(v6 ? AF_INET6 : AF_INET, v6 ? (const void *)&from.sin6_addr : &from4->sin_addr, text, sizeof text);
    printf("%s: %zd bytes from %s port %d name %u", what, got, text, ntohs(from4->sin_port), length);
    const uint8_t *rest = data;
    if (!v6) {
        const struct iphdr *ip = (const void *)data;
        printf(" ttl %d protocol %d total %d sum %d", ip->ttl, ip->protocol, ntohs(ip->tot_len), sum(data, 20));
        rest += 20;
    }
    printf(" type %d code %d then %.8s\n", rest[0], rest[1], rest + 8);
}

static void nothing(const char *what, int fd) {
    char byte;
    ssize_t got = recv(fd, &byte, 1, MSG_DONTWAIT);
    printf("%s: %zd %s\n", what, got, got < 0 ? strerrorname_np(errno) : "");
}

static void creating(void) {
    section("creating");
    FACT("protocol 0", socket(AF_INET, SOCK_RAW, 0));
    FACT("protocol 256", socket(AF_INET, SOCK_RAW, 256));
    FACT("protocol -1", socket(AF_INET, SOCK_RAW, -1));
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    int value = -1;
    socklen_t length = sizeof value;
    FACT("SO_TYPE", getsockopt(fd, SOL_SOCKET, SO_TYPE, &value, &length));
    printf("%d\n", value);
    FACT("SO_PROTOCOL", getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &value, &length));
    printf("%d\n", value);
    struct sockaddr_in name = to4("127.0.0.1", 7);
    length = sizeof name;
    FACT("getsockname", getsockname(fd, (struct sockaddr *)&name, &length));
    printf("%s port %d\n", inet_ntoa(name.sin_addr), ntohs(name.sin_port));
    FACT("getpeername", getpeername(fd, (struct sockaddr *)&name, &length));
    FACT("listen", listen(fd, 1));
    FACT("accept", accept(fd, NULL, NULL));
    FACT("send", send(fd, "x", 1, 0));
    name = to4("11.99.99.99", 0);
    FACT("bind to another's", bind(fd, (struct sockaddr *)&name, sizeof name));
    name = to4("127.0.0.1", 7);
    FACT("bind", bind(fd, (struct sockaddr *)&name, sizeof name));
    FACT("getsockname", getsockname(fd, (struct sockaddr *)&name, &length));
    printf("%s port %d\n", inet_ntoa(name.sin_addr), ntohs(name.sin_port));
    FACT("connect", connect(fd, (struct sockaddr *)&name, sizeof name));
    FACT("bind again", bind(fd, (struct sockaddr *)&name, sizeof name));
    name.sin_family = AF_UNSPEC;
    FACT("disconnect", connect(fd, (struct sockaddr *)&name, sizeof name));
    FACT("getpeername", getpeername(fd, (struct sockaddr *)&name, &length));
    close(fd);
    fd = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
    struct sockaddr_in6 name6 = to6("::1", 0);
    length = sizeof name6;
    FACT("getsockname", getsockname(fd, (struct sockaddr *)&name6, &length));
    printf("port %d\n", ntohs(name6.sin6_port));
    name6 = to6("::1", 9);
    FACT("to a port that is not its protocol", sendto(fd, "12345678", 8, 0, (struct sockaddr *)&name6, sizeof name6));
    close(fd);
}

static void echoes(void) {
    section("echoes");
    int fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), other = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    struct {
        struct icmphdr header;
        char data[8];
    } request = {.header = {.type = ICMP_ECHO, .un.echo = {.id = htons(77), .sequence = htons(1)}}, .data = "echo me"};
    request.header.checksum = sum(&request, sizeof request);
    struct sockaddr_in name = to4("127.0.0.1", 0);
    FACT("request", sendto(fd, &request, sizeof request, 0, (struct sockaddr *)&name, sizeof name));
    int unread = 0;
    FACT("FIONREAD", ioctl(fd, FIONREAD, &unread));
    printf("%d\n", unread);
    struct pollfd poller = {.fd = fd, .events = POLLIN | POLLOUT};
    FACT("poll", poll(&poller, 1, 0));
    printf("%#x\n", poller.revents);
    hear("the request itself", fd, false);
    hear("the reply", fd, false);
    hear("no more", fd, false);
    hear("another hears it", other, false);
    hear("and the reply", other, false);

    uint32_t filter = ~(1u << ICMP_ECHOREPLY);
    FACT("ICMP_FILTER", setsockopt(fd, IPPROTO_RAW, ICMP_FILTER, &filter, sizeof filter));
    filter = 0;
    socklen_t length = sizeof filter;
    FACT("ICMP_FILTER", getsockopt(fd, IPPROTO_RAW, ICMP_FILTER, &filter, &length));
    printf("%#x %u\n", filter, length);
    FACT("ICMP_FILTER of another protocol",
         setsockopt(socket(AF_INET, SOCK_RAW, OWN_PROTOCOL), IPPROTO_RAW, ICMP_FILTER, &filter, sizeof filter));
    FACT("request", sendto(fd, &request, sizeof request, 0, (struct sockaddr *)&name, sizeof name));
    hear("the reply alone", fd, false);
    hear("no more", fd, false);
    request.header.type = 99;
    request.header.checksum = 0;
    FACT("unknown type", sendto(fd, &request, sizeof request, 0, (struct sockaddr *)&name, sizeof name));
    hear("itself", fd, false);
    hear("no more", fd, false);
    FACT("nothing at all", sendto(fd, "", 0, 0, (struct sockaddr *)&name, sizeof name));
    close(fd);
    close(other);
}

static void echoes6(void) {
    section("echoes of IPv6");
    int fd = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);
    struct {
        struct icmp6_hdr header;
        char data[8];
    } request = {.header = {.icmp6_type = ICMP6_ECHO_REQUEST, .icmp6_dataun.icmp6_un_data16 = {htons(9), htons(1)}},
                 .data = "echo me"};
    struct sockaddr_in6 name = to6("::1", 0);
    FACT("request", sendto(fd, &request, sizeof request, 0, (struct sockaddr *)&name, sizeof name));
    hear("the request itself", fd, true);
    hear("the reply", fd, true);
    hear("no more", fd, true);
    struct icmp6_filter filter;
    ICMP6_FILTER_SETBLOCKALL(&filter);
    ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
    FACT("ICMP6_FILTER", setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter));
    FACT("request", sendto(fd, &request, sizeof request, 0, (struct sockaddr *)&name, sizeof name));
    hear("the reply alone", fd, true);
    hear("no more", fd, true);
    int offset = 2;
    FACT("IPV6_CHECKSUM", setsockopt(fd, IPPROTO_IPV6, IPV6_CHECKSUM, &offset, sizeof offset));
    close(fd);
    fd = socket(AF_INET6, SOCK_RAW, OWN_PROTOCOL);
    socklen_t length = sizeof offset;
    FACT("IPV6_CHECKSUM", getsockopt(fd, IPPROTO_IPV6, IPV6_CHECKSUM, &offset, &length));
    printf("%d\n", offset);
    offset = 3;
    FACT("odd", setsockopt(fd, IPPROTO_IPV6, IPV6_CHECKSUM, &offset, sizeof offset));
    offset = 4;
    FACT("even", setsockopt(fd, IPPROTO_IPV6, IPV6_CHECKSUM, &offset, sizeof offset));
    FACT("too short for it", sendto(fd, "1234", 4, 0, (struct sockaddr *)&name, sizeof name));
    FACT("with a checksum", sendto(fd, "abcd\0\0gh", 8, 0, (struct sockaddr *)&name, sizeof name));
    uint8_t data[16];
    FACT("received", recv(fd, data, sizeof data, MSG_DONTWAIT));
    printf("%.4s %02x%02x %.2s\n", data, data[4], data[5], data + 6);
    close(fd);
}

static void protocols(void) {
    section("a protocol of our own");
    int fd = socket(AF_INET, SOCK_RAW, OWN_PROTOCOL), bound = socket(AF_INET, SOCK_RAW, OWN_PROTOCOL);
    struct sockaddr_in name = to4("127.0.0.2", 0);
    FACT("bind", bind(bound, (struct sockaddr *)&name, sizeof name));
    name = to4("127.0.0.1", 0);
    int ttl = 9;
    FACT("IP_TTL", setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl));
    FACT("send", sendto(fd, "12345678hello", 13, 0, (struct sockaddr *)&name, sizeof name));
    hear("heard", fd, false);
    nothing("not by the one that is bound elsewhere", bound);
    FACT("connect", connect(bound, (struct sockaddr *)&name, sizeof name));
    FACT("send", send(bound, "12345678again", 13, 0));
    hear("heard", fd, false);
    FACT("too long", sendto(fd, "x", (size_t)70000, 0, (struct sockaddr *)&name, sizeof name));
    FACT("out of band", sendto(fd, "x", 1, MSG_OOB, (struct sockaddr *)&name, sizeof name));
    close(bound);

    section("headers of our own");
    int value = 1;
    socklen_t length = sizeof value;
    FACT("IP_HDRINCL", getsockopt(fd, IPPROTO_IP, IP_HDRINCL, &value, &length));
    printf("%d\n", value);
    value = 1;
    FACT("IP_HDRINCL", setsockopt(fd, IPPROTO_IP, IP_HDRINCL, &value, sizeof value));
    FACT("IP_HDRINCL", getsockopt(fd, IPPROTO_IP, IP_HDRINCL, &value, &length));
    printf("%d\n", value);
    struct {
        struct iphdr ip;
        char data[16];
    } packet = {.ip = {.version = 4, .ihl = 5, .ttl = 3, .protocol = OWN_PROTOCOL, .daddr = name.sin_addr.s_addr},
                .data = "12345678built"};
    FACT("send", sendto(fd, &packet, sizeof packet, 0, (struct sockaddr *)&name, sizeof name));
    hear("heard", fd, false);
    FACT("too short", sendto(fd, &packet, 10, 0, (struct sockaddr *)&name, sizeof name));
    int raw = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
    FACT("IP_HDRINCL of IPPROTO_RAW", getsockopt(raw, IPPROTO_IP, IP_HDRINCL, &value, &length));
    printf("%d\n", value);
    FACT("send", sendto(raw, &packet, sizeof packet, 0, (struct sockaddr *)&name, sizeof name));
    hear("heard", fd, false);
    nothing("not by the sender", raw);
    close(raw);
    close(fd);
}

static void beside_others(void) {
    section("beside UDP");
    int listener = socket(AF_INET, SOCK_DGRAM, 0), sender = socket(AF_INET, SOCK_DGRAM, 0);
    int raw = socket(AF_INET, SOCK_RAW, IPPROTO_UDP), icmp = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
    struct sockaddr_in name = to4("127.0.0.1", 0);
    socklen_t length = sizeof name;
    FACT("bind", bind(listener, (struct sockaddr *)&name, sizeof name));
    getsockname(listener, (struct sockaddr *)&name, &length);
    FACT("send", sendto(sender, "datagram", 8, 0, (struct sockaddr *)&name, length));
    char data[128];
    FACT("the listener", recv(listener, data, sizeof data, MSG_DONTWAIT));
    FACT("the raw socket", recv(raw, data, sizeof data, MSG_DONTWAIT));
    struct udphdr header = {.source = htons(5), .dest = name.sin_port, .len = htons(8 + 4)};
    memcpy(data, &header, sizeof header);
    memcpy(data + 8, "made", 4);
    FACT("a datagram made by hand", sendto(raw, data, 12, 0, (struct sockaddr *)&name, length));
    memset(data, 0, sizeof data);
    FACT("the listener", recvfrom(listener, data, sizeof data, MSG_DONTWAIT, (struct sockaddr *)&name, &length));
    printf("%s from port %d\n", data, ntohs(name.sin_port));
    FACT("its own copy", recv(raw, data, sizeof data, MSG_DONTWAIT));
    FACT("half a header", sendto(raw, data, 4, 0, (struct sockaddr *)&name, length));
    FACT("its own copy", recv(raw, data, sizeof data, MSG_DONTWAIT));
    nothing("not the listener", listener);
    getsockname(listener, (struct sockaddr *)&name, &length);
    close(listener);
    FACT("send to nobody", sendto(sender, "datagram", 8, 0, (struct sockaddr *)&name, length));
    hear("unreachable", icmp, false);
    close(raw);
    close(icmp);
    close(sender);
}

int main(void) {
    begin();
    creating();
    echoes();
    echoes6();
    protocols();
    beside_others();
    section("without the right to");
    FACT("setuid", setuid(65534));
    FACT("IPv4", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
    FACT("IPv6", socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6));
    FACT("protocol 0", socket(AF_INET, SOCK_RAW, 0));
    return 0;
}
