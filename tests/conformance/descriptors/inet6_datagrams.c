/* Datagrams of IPv6 and dual-stack sockets: names, sizes, errors, control messages. */
#include "inet6.h"

static int datagram6(const char *address) {
    int fd = socket6(SOCK_DGRAM);
    MUST(bind6(fd, name6(address, 0)));
    return fd;
}

static void put_received(const char *what, int fd) {
    char bytes[64];
    struct sockaddr_storage name = {0};
    socklen_t length = sizeof name;
    errno = 0;
    ssize_t received = recvfrom(fd, bytes, sizeof bytes, MSG_DONTWAIT, (struct sockaddr *)&name, &length);
    put_result(what, received, errno);
    if (received >= 0)
        put_name("  from", &name, length);
}

static void sending(void) {
    section("sending");
    int both = datagram6("::"), v6 = datagram6("::1"), mapped = datagram6("::ffff:127.0.0.1"), v4 = udp_socket();
    struct sockaddr_in6 to = name6("::1", port_of(both));
    struct sockaddr_in old = loopback(port_of(both));
    FACT("::1 to both", sendto(v6, "a", 1, 0, (struct sockaddr *)&to, SIZE6));
    put_received("received", both);
    FACT("IPv4 to both", sendto(v4, "ab", 2, 0, (struct sockaddr *)&old, sizeof old));
    put_received("received", both);
    FACT("mapped to both, by sockaddr_in", sendto(mapped, "abc", 3, 0, (struct sockaddr *)&old, sizeof old));
    put_received("received", both);
    to = name6("::ffff:127.0.0.1", port_of(v4));
    FACT("both to IPv4", sendto(both, "abcd", 4, 0, (struct sockaddr *)&to, SIZE6));
    put_received("received", v4);
    to = name6("::", port_of(v6));
    FACT("both to ::", sendto(both, "abcde", 5, 0, (struct sockaddr *)&to, SIZE6));
    put_received("received", v6);
    to = name6("::", port_of(mapped));
    FACT("mapped to ::", sendto(mapped, "abcde", 5, 0, (struct sockaddr *)&to, SIZE6));
    put_received("received", mapped);
    FACT("::1 to mapped",
         sendto(v6, "a", 1, 0, (struct sockaddr *)&(struct sockaddr_in6[]){name6("::ffff:127.0.0.1", 9)}, SIZE6));
    FACT("mapped to ::1",
         sendto(mapped, "a", 1, 0, (struct sockaddr *)&(struct sockaddr_in6[]){name6("::1", 9)}, SIZE6));
    FACT("no port", sendto(v6, "a", 1, 0, (struct sockaddr *)&(struct sockaddr_in6[]){name6("::1", 0)}, SIZE6));
    to = name6("::1", 9);
    FACT("short name", sendto(v6, "a", 1, 0, (struct sockaddr *)&to, 20));
    to.sin6_family = AF_UNSPEC;
    FACT("unspecified", sendto(v6, "a", 1, 0, (struct sockaddr *)&to, SIZE6));
    to.sin6_family = 77;
    FACT("another family", sendto(v6, "a", 1, 0, (struct sockaddr *)&to, SIZE6));
    FACT("no name", send(v6, "a", 1, 0));
    close(both);
    close(v6);
    close(mapped);
    close(v4);
}

static void sizes(void) {
    section("sizes");
    static char bytes[70000];
    int a = datagram6("::1"), b = datagram6("::1"), both = datagram6("::");
    MUST(connect6(a, name6("::1", port_of(b))));
    FACT("most", send(a, bytes, 65527, 0));
    FACT("received", recv(b, bytes, sizeof bytes, 0));
    FACT("one more", send(a, bytes, 65528, 0));
    struct sockaddr_in6 to = name6("::ffff:127.0.0.1", 9);
    FACT("IPv4's most", sendto(both, bytes, 65507, 0, (struct sockaddr *)&to, SIZE6));
    FACT("one more", sendto(both, bytes, 65508, 0, (struct sockaddr *)&to, SIZE6));
    FACT("nothing", send(a, bytes, 0, 0));
    FACT("received", recv(b, bytes, sizeof bytes, 0));
    FACT("in pieces", send(a, "abc", 3, MSG_MORE));
    FACT("last piece", send(a, "def", 3, 0));
    FACT("received", recv(b, bytes, sizeof bytes, 0));
    put_bytes("data", bytes, 6);
    set_option(a, IPPROTO_IPV6, IPV6_DONTFRAG, 1);
    FACT("IPV6_DONTFRAG, larger than a packet", send(a, bytes, 65500, 0));
    FACT("a packet", send(a, bytes, 65488, 0));
    close(a);
    close(b);
    close(both);
}

static void refused(void) {
    section("nobody there");
    int gone = datagram6("::1"), fd = socket6(SOCK_DGRAM), mapped = socket6(SOCK_DGRAM);
    uint16_t port = port_of(gone);
    close(gone);
    MUST(connect6(fd, name6("::1", port)));
    MUST(connect6(mapped, name6("::ffff:127.0.0.1", port)));
    FACT("first", send(fd, "x", 1, 0));
    put_poll("poll", fd);
    FACT("second", send(fd, "x", 1, 0));
    FACT("third", send(fd, "x", 1, 0));
    FACT("receive", recv(fd, (char[4]){0}, 4, MSG_DONTWAIT));
    FACT("mapped, first", send(mapped, "x", 1, 0));
    FACT("mapped, second", send(mapped, "x", 1, 0));
    close(fd);
    close(mapped);
    fd = socket6(SOCK_DGRAM);
    struct sockaddr_in6 to = name6("::1", port);
    FACT("unconnected", sendto(fd, "x", 1, 0, (struct sockaddr *)&to, SIZE6));
    FACT("again", sendto(fd, "x", 1, 0, (struct sockaddr *)&to, SIZE6));
    set_option(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
    FACT("IPV6_RECVERR", sendto(fd, "x", 1, 0, (struct sockaddr *)&to, SIZE6));
    put_error("error", fd);
    close(fd);
}

static void put_control(const char *what, int fd) {
    char data[16], control[256], text[INET6_ADDRSTRLEN];
    struct iovec segment = {data, sizeof data};
    struct sockaddr_storage name;
    struct msghdr message = {.msg_name = &name,
                             .msg_namelen = sizeof name,
                             .msg_iov = &segment,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    FACT(what, recvmsg(fd, &message, MSG_DONTWAIT));
    for (struct cmsghdr *item = CMSG_FIRSTHDR(&message); item; item = CMSG_NXTHDR(&message, item)) {
        int number;
        if (item->cmsg_level == IPPROTO_IPV6 && item->cmsg_type == IPV6_PKTINFO) {
            struct in6_pktinfo information;
            memcpy(&information, CMSG_DATA(item), sizeof information);
            inet_ntop(AF_INET6, &information.ipi6_addr, text, sizeof text);
            printf("  IPV6_PKTINFO %zu bytes: %s, interface %u\n", (size_t)item->cmsg_len, text,
                   information.ipi6_ifindex);
        } else if (item->cmsg_level == IPPROTO_IP && item->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo information;
            memcpy(&information, CMSG_DATA(item), sizeof information);
            printf("  IP_PKTINFO %s\n", inet_ntop(AF_INET, &information.ipi_addr, text, sizeof text));
        } else {
            memcpy(&number, CMSG_DATA(item), sizeof number);
            if (item->cmsg_len < CMSG_LEN(sizeof number))
                number = *(unsigned char *)CMSG_DATA(item);
            printf("  level %d type %d length %zu: %d\n", item->cmsg_level, item->cmsg_type, (size_t)item->cmsg_len,
                   number);
        }
    }
}

static void control(void) {
    section("control messages");
    int both = datagram6("::"), fd = socket6(SOCK_DGRAM), v4 = udp_socket();
    FACT("IPV6_RECVPKTINFO", set_option(both, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1));
    FACT("IPV6_RECVHOPLIMIT", set_option(both, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1));
    FACT("IPV6_RECVTCLASS", set_option(both, IPPROTO_IPV6, IPV6_RECVTCLASS, 1));
    set_option(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 17);
    set_option(fd, IPPROTO_IPV6, IPV6_TCLASS, 0x28);
    MUST(connect6(fd, name6("::1", port_of(both))));
    MUST(connect_to(v4, loopback(port_of(both))));
    MUST(send(fd, "x", 1, 0));
    put_control("IPv6", both);
    MUST(send(v4, "x", 1, 0));
    put_control("IPv4", both);
    FACT("IP_PKTINFO", set_option(both, IPPROTO_IP, IP_PKTINFO, 1));
    FACT("IP_RECVTTL", set_option(both, IPPROTO_IP, IP_RECVTTL, 1));
    FACT("IP_RECVTOS", set_option(both, IPPROTO_IP, IP_RECVTOS, 1));
    MUST(send(v4, "x", 1, 0));
    put_control("IPv4, with options of both", both);
    MUST(send(fd, "x", 1, 0));
    put_control("IPv6, with options of both", both);

    section("the source by IPV6_PKTINFO");
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(struct in6_pktinfo))];
    } item = {.header = {CMSG_LEN(sizeof(struct in6_pktinfo)), IPPROTO_IPV6, IPV6_PKTINFO}};
    struct in6_pktinfo information = {.ipi6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in6 to = name6("::1", port_of(both));
    struct iovec segment = {"y", 1};
    struct msghdr message = {.msg_name = &to,
                             .msg_namelen = SIZE6,
                             .msg_iov = &segment,
                             .msg_iovlen = 1,
                             .msg_control = &item,
                             .msg_controllen = sizeof item};
    int sender = socket6(SOCK_DGRAM);
    memcpy(CMSG_DATA(&item.header), &information, sizeof information);
    FACT("::1", sendmsg(sender, &message, 0));
    put_received("received", both);
    inet_pton(AF_INET6, "2001:db8::9", &information.ipi6_addr);
    memcpy(CMSG_DATA(&item.header), &information, sizeof information);
    FACT("not ours", sendmsg(sender, &message, 0));
    information = (struct in6_pktinfo){.ipi6_ifindex = 99};
    memcpy(CMSG_DATA(&item.header), &information, sizeof information);
    FACT("no such interface", sendmsg(sender, &message, 0));
    item.header.cmsg_len = CMSG_LEN(4);
    FACT("too short", sendmsg(sender, &message, 0));
    int hops = 300;
    item.header.cmsg_type = IPV6_HOPLIMIT;
    memcpy(CMSG_DATA(&item.header), &hops, sizeof hops);
    FACT("hop limit out of range", sendmsg(sender, &message, 0));
    close(sender);
    close(both);
    close(fd);
    close(v4);
}

int main(void) {
    begin();
    sending();
    sizes();
    refused();
    control();
    return 0;
}
