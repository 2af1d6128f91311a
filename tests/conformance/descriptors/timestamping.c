/* SO_TIMESTAMPING: when a datagram came, and in the error queue when it left, with the packet or without. */
#include "inet6.h"

#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <net/if.h>
#include <netinet/udp.h>

enum {
    SOFTWARE = SOF_TIMESTAMPING_SOFTWARE,
    RECEIVED = SOF_TIMESTAMPING_RX_SOFTWARE,
    SENT = SOF_TIMESTAMPING_TX_SOFTWARE,
    SCHEDULED = SOF_TIMESTAMPING_TX_SCHED,
    NUMBERED = SOF_TIMESTAMPING_OPT_ID,
    ALONE = SOF_TIMESTAMPING_OPT_TSONLY,
};

static bool recent(struct timespec at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    double age = (double)(now.tv_sec - at.tv_sec) + (double)(now.tv_nsec - at.tv_nsec) / 1e9;
    return age >= 0 && age < 5;
}

static void put_item(const struct cmsghdr *item) {
    printf("  level %d, type %d, %zu bytes", item->cmsg_level, item->cmsg_type, (size_t)item->cmsg_len);
    if (item->cmsg_level == SOL_SOCKET && item->cmsg_len == CMSG_LEN(sizeof(struct scm_timestamping))) {
        struct scm_timestamping stamps;
        memcpy(&stamps, CMSG_DATA(item), sizeof stamps);
        for (int i = 0; i < 3; i++)
            printf(", %s", !stamps.ts[i].tv_sec ? "none" : recent(stamps.ts[i]) ? "recent" : "other");
    } else if (item->cmsg_level == SOL_IP && item->cmsg_type == IP_PKTINFO) {
        struct in_pktinfo info;
        char name[IF_NAMESIZE] = "none", address[INET_ADDRSTRLEN];
        memcpy(&info, CMSG_DATA(item), sizeof info);
        if_indextoname((unsigned)info.ipi_ifindex, name);
        printf(", %s %s", name, inet_ntop(AF_INET, &info.ipi_addr, address, sizeof address));
        printf(" %s", inet_ntop(AF_INET, &info.ipi_spec_dst, address, sizeof address));
    } else if (item->cmsg_type == IP_RECVERR || item->cmsg_type == IPV6_RECVERR) {
        struct {
            struct sock_extended_err error;
            struct sockaddr_in6 offender;
        } told = {0};
        memcpy(&told, CMSG_DATA(item), item->cmsg_len - CMSG_LEN(0));
        printf(", %s, origin %u, type %u, code %u, info %u, data %u, from family %u",
               strerrorname_np((int)told.error.ee_errno), told.error.ee_origin, told.error.ee_type, told.error.ee_code,
               told.error.ee_info, told.error.ee_data, told.offender.sin6_family);
    }
    printf("\n");
}

/* What is shown of a packet leaves out what differs: numbers of packets and of ports, and sums over them. */
static void put_packet(const unsigned char *bytes, size_t length, bool v6) {
    size_t header = v6 ? 40 : 20;
    printf("  a packet of %zu bytes", length);
    if (length >= 14 + header + 8) {
        printf(", type %02x%02x, version %d, ", bytes[12], bytes[13], bytes[14] >> 4);
        put_bytes("data", bytes + 14 + header + 8, length - 14 - header - 8);
    } else {
        printf("\n");
    }
}

static bool put_message(const char *what, int fd, int flags, size_t room) {
    unsigned char bytes[2048], control[512];
    struct sockaddr_in6 name;
    struct iovec part = {bytes, room};
    struct msghdr message = {.msg_name = &name,
                             .msg_namelen = sizeof name,
                             .msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
    int domain;
    socklen_t size = sizeof domain;
    getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size);
    errno = 0;
    ssize_t got = recvmsg(fd, &message, flags | MSG_DONTWAIT);
    put_result(what, got, errno);
    if (got < 0)
        return false;
    printf("  flags 0x%x, name of %u bytes\n", (unsigned)message.msg_flags, message.msg_namelen);
    if (flags & MSG_ERRQUEUE && got)
        put_packet(bytes, (size_t)got, domain == AF_INET6);
    for (struct cmsghdr *item = CMSG_FIRSTHDR(&message); item; item = CMSG_NXTHDR(&message, item))
        put_item(item);
    return true;
}

static void put_all(const char *what, int fd) {
    while (put_message(what, fd, MSG_ERRQUEUE, 2048))
        continue;
}

static void choose(const char *what, int fd, unsigned flags) {
    FACT(what, setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof flags));
}

static void show_setting(int fd, int name) {
    unsigned setting[3] = {9, 9, 9};
    socklen_t length = sizeof setting;
    FACT("getsockopt", getsockopt(fd, SOL_SOCKET, name, setting, &length));
    printf("  %u bytes: 0x%x %u\n", length, setting[0], setting[1]);
}

// Linux notes when packets come as long as any socket wants that, and begins in a worker, some time after the first
// does: this one does from then on, as long as the program runs, when packets are stamped.
static void begin_to_note(void) {
    int from = udp_socket(), to = udp_socket();
    unsigned flags = SOFTWARE | RECEIVED;
    MUST(connect_to(from, name_of(to)));
    MUST(setsockopt(to, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof flags));
    bool is_stamped = false;
    while (!is_stamped) {
        char byte, control[512];
        struct iovec part = {&byte, 1};
        struct msghdr message = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        MUST(send(from, "a", 1, 0));
        MUST(recvmsg(to, &message, 0));
        is_stamped = CMSG_FIRSTHDR(&message);
    }
    close(from);
}

static void settings(void) {
    section("settings");
    int fd = udp_socket();
    unsigned char byte = 1;
    unsigned both[2] = {SOFTWARE | RECEIVED, 0};
    show_setting(fd, SO_TIMESTAMPING);
    show_setting(fd, SO_TIMESTAMPING_NEW);
    FACT("a byte", setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &byte, sizeof byte));
    FACT("both", setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, both, sizeof both));
    show_setting(fd, SO_TIMESTAMPING);
    show_setting(fd, SO_TIMESTAMPING_NEW);
    choose("unknown", fd, 1u << 30);
    show_setting(fd, SO_TIMESTAMPING);
    choose("statistics with packets", fd, SOFTWARE | SOF_TIMESTAMPING_OPT_STATS);
    choose("statistics", fd, SOFTWARE | ALONE | SOF_TIMESTAMPING_OPT_STATS);
    choose("a clock of no device", fd, SOFTWARE | SOF_TIMESTAMPING_BIND_PHC);
    choose("all of hardware", fd,
           SOF_TIMESTAMPING_TX_HARDWARE | SOF_TIMESTAMPING_RX_HARDWARE | SOF_TIMESTAMPING_SYS_HARDWARE |
               SOF_TIMESTAMPING_RAW_HARDWARE | SOF_TIMESTAMPING_OPT_PKTINFO | SOF_TIMESTAMPING_OPT_TX_SWHW);
    show_setting(fd, SO_TIMESTAMPING);
    FACT("new", setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING_NEW, both, sizeof both));
    show_setting(fd, SO_TIMESTAMPING);
    show_setting(fd, SO_TIMESTAMPING_NEW);
    close(fd);
}

static void received(void) {
    section("received");
    static const int names[] = {SO_TIMESTAMP, SO_TIMESTAMPNS, SO_TIMESTAMP_NEW, SO_TIMESTAMPNS_NEW};
    int from = udp_socket(), to = udp_socket(), off = 0;
    socklen_t length;
    MUST(connect_to(from, name_of(to)));
    FACT("send", send(from, "a", 1, 0));
    put_message("without", to, 0, 100);
    choose("software alone", to, SOFTWARE);
    choose("receive alone", to, RECEIVED);
    FACT("send", send(from, "a", 1, 0));
    put_message("receive alone", to, 0, 100);
    choose("both", to, SOFTWARE | RECEIVED);
    FACT("send", send(from, "a", 1, 0));
    put_message("both", to, 0, 100);
    unsigned flags = SOFTWARE | RECEIVED;
    FACT("new", setsockopt(to, SOL_SOCKET, SO_TIMESTAMPING_NEW, &flags, sizeof flags));
    FACT("send", send(from, "a", 1, 0));
    put_message("new", to, 0, 100);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        int on = 1;
        FACT("besides", setsockopt(to, SOL_SOCKET, names[i], &on, sizeof on));
        for (size_t j = 0; j < sizeof names / sizeof names[0]; j++) {
            length = sizeof on;
            on = -1;
            getsockopt(to, SOL_SOCKET, names[j], &on, &length);
            printf("  option %d: %d\n", names[j], on);
        }
        FACT("send", send(from, "a", 1, 0));
        put_message("besides", to, 0, 100);
    }
    choose("neither", to, 0);
    FACT("send", send(from, "a", 1, 0));
    put_message("still", to, 0, 100);
    FACT("off", setsockopt(to, SOL_SOCKET, SO_TIMESTAMP, &off, sizeof off));
    FACT("send", send(from, "a", 1, 0));
    put_message("off", to, 0, 100);
    close(from);
    close(to);
}

static void send_asking(int fd, const char *what, unsigned flags, size_t length) {
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(unsigned long))];
    } control;
    struct iovec part = {"asked", 5};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_SPACE(length)};
    memset(&control, 0, sizeof control);
    control.header = (struct cmsghdr){CMSG_LEN(length), SOL_SOCKET, SO_TIMESTAMPING};
    memcpy(CMSG_DATA(&control.header), &flags, sizeof flags);
    FACT(what, sendmsg(fd, &message, 0));
}

static void sent(int family) {
    section(family == AF_INET ? "sent" : "sent by IPv6");
    int from = (int)MUST(socket(family, SOCK_DGRAM, 0)), to = (int)MUST(socket(family, SOCK_DGRAM, 0)), on = 1;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } name = {.v6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT}};
    if (family == AF_INET)
        name.v4 = loopback(0);
    socklen_t length = family == AF_INET ? sizeof name.v4 : sizeof name.v6;
    MUST(bind(to, &name.any, length));
    MUST(getsockname(to, &name.any, &length));
    MUST(connect(from, &name.any, length));
    choose("without a reporter", from, SENT);
    FACT("send", send(from, "silent", 6, 0));
    put_poll("after it", from);
    put_all("told", from);
    choose("with packets", from, SENT | SOFTWARE);
    FACT("send", send(from, "first", 5, 0));
    put_poll("after it", from);
    put_message("cut", from, MSG_ERRQUEUE, 20);
    put_poll("told", from);
    choose("with numbers", from, SENT | SOFTWARE | NUMBERED | SOF_TIMESTAMPING_OPT_CMSG);
    FACT("send", send(from, "zero", 4, 0));
    FACT("send", send(from, "one", 3, 0));
    put_all("told", from);
    choose("again", from, SENT | SOFTWARE | NUMBERED | ALONE | SCHEDULED);
    FACT("send", send(from, "two", 3, 0));
    put_all("told", from);
    choose("without numbers", from, SENT | SOFTWARE | ALONE);
    FACT("send", send(from, "none", 4, 0));
    put_all("told", from);
    choose("numbers begin anew", from, SENT | SOFTWARE | NUMBERED | ALONE);
    FACT("send more", send(from, "ze", 2, MSG_MORE));
    FACT("send more", send(from, "r", 1, MSG_MORE));
    FACT("send", send(from, "o", 1, 0));
    FACT("send", send(from, "next", 4, 0));
    put_all("told", from);
    choose("nothing but reports", from, SOFTWARE | NUMBERED | ALONE);
    send_asking(from, "by message", SENT, sizeof(unsigned));
    put_all("told", from);
    send_asking(from, "both", SENT | SCHEDULED, sizeof(unsigned));
    put_all("told", from);
    send_asking(from, "not a time of sending", RECEIVED, sizeof(unsigned));
    send_asking(from, "too long", SENT, sizeof(unsigned long));
    choose("for all", from, SENT | SOFTWARE | ALONE);
    send_asking(from, "but this", 0, sizeof(unsigned));
    put_all("told", from);
    FACT("SO_SELECT_ERR_QUEUE", setsockopt(from, SOL_SOCKET, SO_SELECT_ERR_QUEUE, &on, sizeof on));
    if (family == AF_INET) {
        MUST(setsockopt(from, SOL_IP, IP_PKTINFO, &on, sizeof on));
        MUST(setsockopt(from, SOL_IP, IP_RECVTTL, &on, sizeof on));
    }
    choose("with names", from, SENT | SOFTWARE | SOF_TIMESTAMPING_OPT_CMSG);
    FACT("send", send(from, "named", 5, 0));
    put_poll("after it", from);
    put_all("told", from);
    choose("none with nothing", from, SENT | SOFTWARE | ALONE | SOF_TIMESTAMPING_OPT_CMSG);
    FACT("send", send(from, "named", 5, 0));
    put_all("told", from);
    char bytes[64];
    put_bytes("what came", bytes, (size_t)recv(to, bytes, sizeof bytes, 0));
    close(to);
    FACT("IP_RECVERR", setsockopt(from, family == AF_INET ? SOL_IP : SOL_IPV6,
                                  family == AF_INET ? IP_RECVERR : IPV6_RECVERR, &on, sizeof on));
    FACT("to nobody", send(from, "lost", 4, 0));
    await(from, POLLERR);
    int error = -1;
    length = sizeof error;
    put_message("what left", from, MSG_ERRQUEUE, 2048);
    getsockopt(from, SOL_SOCKET, SO_ERROR, &error, &length);
    printf("SO_ERROR %s\n", error ? strerrorname_np(error) : "none");
    FACT("to nobody", send(from, "lost", 4, 0));
    close(from);
}

int main(void) {
    begin();
    begin_to_note();
    settings();
    received();
    sent(AF_INET);
    sent(AF_INET6);
    return 0;
}
