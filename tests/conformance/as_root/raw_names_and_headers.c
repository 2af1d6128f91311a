/* Raw sockets: the names that they take, and IPv6 headers that programs build (IPV6_HDRINCL, IPPROTO_RAW). */
#include "descriptors/inet.h"
#include "raw.h"

#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/ip6.h>

#ifndef IPV6_HDRINCL
#define IPV6_HDRINCL 36
#endif
#define SOL_RAW 255

#define BIND(fd, name) bind(fd, (struct sockaddr *)&(name), sizeof(name))
#define CONNECT(fd, name) connect(fd, (struct sockaddr *)&(name), sizeof(name))
#define SEND(fd, bytes, length, name) sendto(fd, bytes, length, MSG_NOSIGNAL, (struct sockaddr *)&(name), sizeof(name))

static void hear(int fd) {
    static char bytes[70000];
    ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    put_result("  heard", got, errno);
    if (got > 0)
        put_bytes("  data", bytes, got < 20 ? (size_t)got : 20);
}

static void names(void) {
    section("names, IPv4");
    int fd = (int)MUST(socket(AF_INET, SOCK_RAW, OWN_PROTOCOL)), other = (int)MUST(dup(fd));
    struct sockaddr_in name = to4("127.0.0.1", 0), unspecified = {.sin_family = AF_UNSPEC};
    name.sin_family = AF_INET6;
    FACT("another family", BIND(fd, name));
    name = to4("224.0.0.1", 0);
    FACT("multicast", BIND(fd, name));
    name = to4("255.255.255.255", 0);
    FACT("broadcast", BIND(fd, name));
    name = to4("198.51.100.1", 0);
    FACT("somebody else", BIND(fd, name));
    name = to4("0.0.0.0", 0);
    FACT("all", BIND(fd, name));
    close(other);
    name = to4("127.0.0.1", 0);
    FACT("send with a short name", sendto(fd, "x", 1, 0, (struct sockaddr *)&name, 4));
    name.sin_family = AF_UNIX;
    FACT("send to another family", SEND(fd, "x", 1, name));
    name.sin_family = AF_UNSPEC;
    FACT("send to none", SEND(fd, "x", 1, name));
    FACT("out-of-band", recv(fd, &(char){0}, 1, MSG_OOB | MSG_DONTWAIT));
    int sender = (int)MUST(socket(AF_INET, SOCK_RAW, OWN_PROTOCOL)), icmp;
    name = to4("127.0.0.1", 0);
    FACT("connect", CONNECT(fd, name));
    printf("port %d\n", ntohs(name_of(fd).sin_port));
    FACT("disconnect", CONNECT(fd, unspecified));
    printf("port %d\n", ntohs(name_of(fd).sin_port));
    while (recv(fd, &(char){0}, 1, MSG_DONTWAIT) >= 0)
        ;
    FACT("send", SEND(sender, "x", 1, name));
    hear(fd);
    FACT("shutdown", shutdown(sender, SHUT_WR));
    FACT("send", SEND(sender, "x", 1, name));
    icmp = (int)MUST(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
    name = to4("255.255.255.255", 0);
    FACT("too short for ICMP, to where it may not", SEND(icmp, "x", 1, name));
    close(fd), close(sender), close(icmp);
}

static void names6(void) {
    section("names, IPv6");
    int fd = (int)MUST(socket(AF_INET6, SOCK_RAW, OWN_PROTOCOL));
    struct sockaddr_in6 name = to6("::1", 0);
    name.sin6_family = AF_INET;
    FACT("another family", BIND(fd, name));
    name.sin6_family = AF_UNSPEC;
    FACT("none", BIND(fd, name));
    name = to6("ff02::1", 0);
    FACT("of a link", BIND(fd, name));
    name.sin6_scope_id = 1;
    FACT("of a link, with it", BIND(fd, name));
    FACT("SO_BINDTOIFINDEX", option_of(fd, SOL_SOCKET, SO_BINDTOIFINDEX));
    socklen_t length = sizeof name;
    MUST(getsockname(fd, (struct sockaddr *)&name, &length));
    printf("scope %u\n", name.sin6_scope_id);
    name = to6("fe80::1", 0);
    FACT("somebody else's, of that link", BIND(fd, name));
    close(fd);
    fd = (int)MUST(socket(AF_INET6, SOCK_RAW, OWN_PROTOCOL));
    name = to6("::1", 0);
    name.sin6_family = AF_UNIX;
    FACT("send to another family", SEND(fd, "x", 1, name));
    struct sockaddr_in name4 = to4("127.0.0.1", 0);
    FACT("send to a name of IPv4", SEND(fd, "x", 1, name4));
    close(fd);
}

static void options(void) {
    section("options");
    int raw = (int)MUST(socket(AF_INET6, SOCK_RAW, OWN_PROTOCOL)), udp = (int)MUST(socket(AF_INET6, SOCK_DGRAM, 0)),
        icmp = (int)MUST(socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6)), one = 1;
    FACT("IP_TTL, set", set_option(raw, IPPROTO_IP, IP_TTL, 5));
    FACT("IP_TTL", option_of(raw, IPPROTO_IP, IP_TTL));
    FACT("IP_HDRINCL, set", set_option(raw, IPPROTO_IP, IP_HDRINCL, 1));
    FACT("IP_HDRINCL", option_of(raw, IPPROTO_IP, IP_HDRINCL));
    FACT("IPV6_HDRINCL", option_of(raw, IPPROTO_IPV6, IPV6_HDRINCL));
    FACT("IPV6_HDRINCL, set", set_option(raw, IPPROTO_IPV6, IPV6_HDRINCL, 7));
    FACT("IPV6_HDRINCL", option_of(raw, IPPROTO_IPV6, IPV6_HDRINCL));
    FACT("the same of SOL_RAW, set", set_option(raw, SOL_RAW, IPV6_HDRINCL, 0));
    FACT("the same of SOL_RAW", option_of(raw, SOL_RAW, IPV6_HDRINCL));
    FACT("IPV6_HDRINCL, short", setsockopt(raw, IPPROTO_IPV6, IPV6_HDRINCL, &one, 2));
    FACT("of a datagram socket, set", set_option(udp, IPPROTO_IPV6, IPV6_HDRINCL, 1));
    FACT("of a datagram socket", option_of(udp, IPPROTO_IPV6, IPV6_HDRINCL));
    static const int places[] = {4, -1, 3, 2};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        printf("checksum at %d\n", places[i]);
        FACT("ICMPv6, IPV6_CHECKSUM of SOL_RAW, set", set_option(icmp, SOL_RAW, IPV6_CHECKSUM, places[i]));
        printf("then %d\n", option_of(icmp, SOL_RAW, IPV6_CHECKSUM));
        FACT("ICMPv6, of IPPROTO_IPV6, set", set_option(icmp, IPPROTO_IPV6, IPV6_CHECKSUM, places[i]));
    }
    close(raw), close(udp), close(icmp);
    int frames = (int)MUST(socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)));
    struct msghdr message = {.msg_iov = NULL};
    FACT("frames, MSG_CMSG_CLOEXEC", recvmsg(frames, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC));
    FACT("frames, MSG_WAITALL", recvmsg(frames, &message, MSG_DONTWAIT | MSG_WAITALL));
    close(frames);
}

static void headers(void) {
    section("headers");
    static char bytes[70000] = {0x60};
    struct ip6_hdr *header = (struct ip6_hdr *)bytes;
    int raw = (int)MUST(socket(AF_INET6, SOCK_RAW, IPPROTO_RAW)),
        heard = (int)MUST(socket(AF_INET6, SOCK_RAW, OWN_PROTOCOL));
    struct sockaddr_in6 name = to6("::1", 0);
    header->ip6_plen = htons(8);
    header->ip6_nxt = OWN_PROTOCOL;
    header->ip6_hlim = 9;
    header->ip6_src = header->ip6_dst = in6addr_loopback;
    memcpy(bytes + sizeof *header, "payload!", 8);
    FACT("IPV6_HDRINCL", option_of(raw, IPPROTO_IPV6, IPV6_HDRINCL));
    static const struct {
        const char *what;
        size_t length;
    } lengths[] = {{"whole", 48}, {"less than a header", 39}, {"a header alone", 40}, {"more than it says", 60}};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        FACT(lengths[i].what, SEND(raw, bytes, lengths[i].length, name));
        hear(heard);
    }
    FACT("the longest", SEND(raw, bytes, 65536, name));
    hear(heard);
    FACT("too long", SEND(raw, bytes, 65537, name));
    header->ip6_plen = htons(100);
    FACT("less than it says", SEND(raw, bytes, 48, name));
    hear(heard);
    header->ip6_plen = htons(8);
    bytes[0] = 0x40;
    FACT("of no such version", SEND(raw, bytes, 48, name));
    hear(heard);
    bytes[0] = 0x60;
    name.sin6_port = htons(99);
    FACT("another protocol in the name", SEND(raw, bytes, 48, name));
    hear(heard);
    name.sin6_port = htons(256);
    FACT("none that there is", SEND(raw, bytes, 48, name));
    name.sin6_port = 0;
    inet_pton(AF_INET6, "2001:db8::5", &header->ip6_dst);
    FACT("with another destination than the call's", SEND(raw, bytes, 48, name));
    hear(heard);
    header->ip6_dst = in6addr_loopback;
    FACT("without a name", send(raw, bytes, 48, 0));
    FACT("connect", CONNECT(raw, name));
    FACT("send", send(raw, bytes, 48, 0));
    hear(heard);
    FACT("without the option", set_option(raw, IPPROTO_IPV6, IPV6_HDRINCL, 0));
    name.sin6_port = htons(OWN_PROTOCOL);
    FACT("with a protocol", SEND(raw, "hi", 2, name));
    hear(heard);
    close(raw), close(heard);
}

static void mapped(void) {
    section("IPv4 addresses of AF_INET6 sockets");
    int fd = (int)MUST(socket(AF_INET6, SOCK_RAW, OWN_PROTOCOL));
    struct sockaddr_in name = to4("127.0.0.1", 0);
    FACT("connect to one of AF_INET", CONNECT(fd, name));
    struct sockaddr_in6 name6 = to6("::ffff:127.0.0.1", 7), own, peer;
    socklen_t own_length = sizeof own, peer_length = sizeof peer;
    char text[2][INET6_ADDRSTRLEN];
    FACT("connect to a mapped one", CONNECT(fd, name6));
    FACT("getsockname", getsockname(fd, (struct sockaddr *)&own, &own_length));
    FACT("getpeername", getpeername(fd, (struct sockaddr *)&peer, &peer_length));
    printf("%s %d, %s %d\n", inet_ntop(AF_INET6, &own.sin6_addr, text[0], sizeof text[0]), ntohs(own.sin6_port),
           inet_ntop(AF_INET6, &peer.sin6_addr, text[1], sizeof text[1]), ntohs(peer.sin6_port));
    int listener = (int)MUST(socket(AF_INET, SOCK_RAW, OWN_PROTOCOL));
    FACT("send", send(fd, "nobody", 6, 0));
    FACT("what comes of it", recv(listener, &name, sizeof name, MSG_DONTWAIT));
    name6 = to6("::1", 0);
    FACT("connect to another", CONNECT(fd, name6));
    FACT("send", send(fd, "somebody", 8, 0));
    FACT("what comes of it", recv(listener, &name, sizeof name, MSG_DONTWAIT));
    close(fd), close(listener);
}

int main(void) {
    begin();
    names();
    names6();
    mapped();
    options();
    headers();
    return 0;
}
