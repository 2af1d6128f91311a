/* What a datagram's control data ask for it alone, and which interface it leaves by. */
#include "inet.h"

#include <net/if.h>

static int bound6(void) {
    int fd = (int)MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    MUST(bind(fd, (struct sockaddr *)&name, sizeof name));
    return fd;
}

/* Sends a byte to `to` with one item of control data; -1 and errno as sendmsg. */
static ssize_t send_with(int fd, const void *to, socklen_t length, int level, int type, const void *data, size_t size) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(64)];
    } control;
    memset(&control, 0, sizeof control);
    control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(size), .cmsg_level = level, .cmsg_type = type};
    memcpy(CMSG_DATA(&control.header), data, size);
    struct iovec bytes = {"x", 1};
    struct msghdr message = {.msg_name = (void *)(uintptr_t)to,
                             .msg_namelen = length,
                             .msg_iov = &bytes,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = CMSG_SPACE(size)};
    return sendmsg(fd, &message, 0);
}

static void hear(int fd) {
    char byte, control[256];
    struct iovec bytes = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    if (recvmsg(fd, &message, MSG_DONTWAIT) < 0) {
        printf("  heard: %s\n", strerrorname_np(errno));
        return;
    }
    printf("  heard:");
    for (struct cmsghdr *item = CMSG_FIRSTHDR(&message); item; item = CMSG_NXTHDR(&message, item)) {
        int number = 0;
        memcpy(&number, CMSG_DATA(item), item->cmsg_len - CMSG_LEN(0) < 4 ? 1 : 4);
        printf(" %s %d",
               item->cmsg_level == IPPROTO_IP && item->cmsg_type == IP_TTL          ? "ttl"
               : item->cmsg_level == IPPROTO_IP && item->cmsg_type == IP_TOS        ? "tos"
               : item->cmsg_level == IPPROTO_IPV6 && item->cmsg_type == IPV6_TCLASS ? "class"
                                                                                    : "hops",
               number);
    }
    printf("\n");
}

static void of_one_packet(void) {
    section("IPv4");
    int from = udp_socket(), to = udp_socket();
    struct sockaddr_in name = name_of(to);
    MUST(set_option(to, IPPROTO_IP, IP_RECVTTL, 1));
    MUST(set_option(to, IPPROTO_IP, IP_RECVTOS, 1));
    MUST(set_option(from, IPPROTO_IP, IP_TTL, 33));
    static const int values[] = {-1, 0, 1, 46, 255, 256};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        unsigned char byte = (unsigned char)values[i];
        printf("%d\n", values[i]);
        FACT("IP_TTL", send_with(from, &name, sizeof name, IPPROTO_IP, IP_TTL, &values[i], 4));
        hear(to);
        FACT("IP_TOS", send_with(from, &name, sizeof name, IPPROTO_IP, IP_TOS, &values[i], 4));
        hear(to);
        FACT("IP_TOS of a byte", send_with(from, &name, sizeof name, IPPROTO_IP, IP_TOS, &byte, 1));
        hear(to);
        FACT("IP_TTL of a byte", send_with(from, &name, sizeof name, IPPROTO_IP, IP_TTL, &byte, 1));
        hear(to);
    }
    FACT("corked", set_option(from, IPPROTO_UDP, 1, 1));
    int ttl = 9;
    FACT("begun with IP_TTL", send_with(from, &name, sizeof name, IPPROTO_IP, IP_TTL, &ttl, 4));
    ttl = 10;
    FACT("continued with another", send_with(from, &name, sizeof name, IPPROTO_IP, IP_TTL, &ttl, 4));
    FACT("sent", set_option(from, IPPROTO_UDP, 1, 0));
    hear(to);
    close(from);
    close(to);
}

static void of_one_packet6(void) {
    section("IPv6");
    int from = bound6(), to = bound6();
    struct sockaddr_in6 name;
    socklen_t length = sizeof name;
    MUST(getsockname(to, (struct sockaddr *)&name, &length));
    MUST(set_option(to, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1));
    MUST(set_option(to, IPPROTO_IPV6, IPV6_RECVTCLASS, 1));
    MUST(set_option(from, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 33));
    static const int values[] = {-2, -1, 0, 1, 46, 255, 256};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        printf("%d\n", values[i]);
        FACT("IPV6_HOPLIMIT", send_with(from, &name, length, IPPROTO_IPV6, IPV6_HOPLIMIT, &values[i], 4));
        hear(to);
        if (values[i] != -1) { /* which is another value in some versions of Linux */
            FACT("IPV6_TCLASS", send_with(from, &name, length, IPPROTO_IPV6, IPV6_TCLASS, &values[i], 4));
            hear(to);
        }
        FACT("IPV6_DONTFRAG", send_with(from, &name, length, IPPROTO_IPV6, IPV6_DONTFRAG, &values[i], 4));
        hear(to);
    }
    int ttl = 5;
    FACT("IP_TTL means nothing to it", send_with(from, &name, length, IPPROTO_IP, IP_TTL, &ttl, 4));
    hear(to);
    close(from);
    close(to);
}

static const char *const far4 = "198.51.100.9", *const far6 = "2001:db8::9"; /* of documentation: nobody's */

static void interfaces(void) {
    section("interfaces of IPv4");
    int fd = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    uint32_t lo = htonl(1);
    long wide = lo;
    FACT("IP_UNICAST_IF at first", option_of(fd, IPPROTO_IP, IP_UNICAST_IF));
    FACT("one that is not there", set_option(fd, IPPROTO_IP, IP_UNICAST_IF, (int)htonl(77777)));
    FACT("-1", set_option(fd, IPPROTO_IP, IP_UNICAST_IF, -1));
    FACT("in eight bytes", setsockopt(fd, IPPROTO_IP, IP_UNICAST_IF, &wide, sizeof wide));
    FACT("in one byte", setsockopt(fd, IPPROTO_IP, IP_UNICAST_IF, &wide, 1));
    FACT("lo", set_option(fd, IPPROTO_IP, IP_UNICAST_IF, (int)lo));
    printf("then %#x\n", (unsigned)option_of(fd, IPPROTO_IP, IP_UNICAST_IF));
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(9)};
    inet_pton(AF_INET, far4, &to.sin_addr);
    FACT("sent far, by lo", sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to));
    FACT("connected far, by lo", connect_to(fd, to));
    FACT("SO_BINDTOIFINDEX", set_option(fd, SOL_SOCKET, SO_BINDTOIFINDEX, 1));
    FACT("lo again", set_option(fd, IPPROTO_IP, IP_UNICAST_IF, (int)lo));
    FACT("none", set_option(fd, IPPROTO_IP, IP_UNICAST_IF, 0));
    FACT("sent far, bound to lo", sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to));
    close(fd);
    fd = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    struct in_pktinfo information = {.ipi_ifindex = 77777};
    FACT("IP_PKTINFO, no such interface",
         send_with(fd, &to, sizeof to, IPPROTO_IP, IP_PKTINFO, &information, sizeof information));
    information.ipi_ifindex = 1;
    FACT("IP_PKTINFO, far by lo",
         send_with(fd, &to, sizeof to, IPPROTO_IP, IP_PKTINFO, &information, sizeof information));
    information = (struct in_pktinfo){.ipi_spec_dst.s_addr = htonl(0xc6336408)};
    FACT("IP_PKTINFO, somebody else's source",
         send_with(fd, &to, sizeof to, IPPROTO_IP, IP_PKTINFO, &information, sizeof information));
    close(fd);
    fd = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    FACT("of a stream", set_option(fd, IPPROTO_IP, IP_UNICAST_IF, (int)lo));
    close(fd);
}

static void interfaces6(void) {
    section("interfaces of IPv6");
    int fd = (int)MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
    inet_pton(AF_INET6, far6, &to.sin6_addr);
    FACT("one that is not there", set_option(fd, IPPROTO_IPV6, IPV6_UNICAST_IF, (int)htonl(77777)));
    FACT("lo", set_option(fd, IPPROTO_IPV6, IPV6_UNICAST_IF, (int)htonl(1)));
    printf("then %#x\n", (unsigned)option_of(fd, IPPROTO_IPV6, IPV6_UNICAST_IF));
    FACT("sent far, by lo", sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof to));
    FACT("connected far, by lo", connect(fd, (struct sockaddr *)&to, sizeof to));
    FACT("none", set_option(fd, IPPROTO_IPV6, IPV6_UNICAST_IF, 0));
    struct in6_pktinfo information = {.ipi6_ifindex = 1};
    FACT("IPV6_PKTINFO, far by lo",
         send_with(fd, &to, sizeof to, IPPROTO_IPV6, IPV6_PKTINFO, &information, sizeof information));
    FACT("SO_BINDTOIFINDEX", set_option(fd, SOL_SOCKET, SO_BINDTOIFINDEX, 1));
    FACT("lo, when bound", set_option(fd, IPPROTO_IPV6, IPV6_UNICAST_IF, (int)htonl(1)));
    information.ipi6_ifindex = 2;
    FACT("IPV6_PKTINFO, another than bound",
         send_with(fd, &to, sizeof to, IPPROTO_IPV6, IPV6_PKTINFO, &information, sizeof information));
    close(fd);
}

int main(void) {
    begin();
    of_one_packet();
    if (access("/proc/net/if_inet6", F_OK) == 0)
        of_one_packet6();
    interfaces();
    if (access("/proc/net/if_inet6", F_OK) == 0)
        interfaces6();
    return 0;
}
