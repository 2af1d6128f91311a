/* Options of inet and Unix sockets: defaults, what setting them leaves, and what is refused. */
#include "inet.h"

#include <net/if.h>
#include <sys/un.h>

#define NAME(level, option) {#option, level, option}
static const struct {
    const char *name;
    int level, option;
} numbers[] = {
    NAME(SOL_SOCKET, SO_REUSEADDR),
    NAME(SOL_SOCKET, SO_TYPE),
    NAME(SOL_SOCKET, SO_ERROR),
    NAME(SOL_SOCKET, SO_DONTROUTE),
    NAME(SOL_SOCKET, SO_BROADCAST),
    NAME(SOL_SOCKET, SO_KEEPALIVE),
    NAME(SOL_SOCKET, SO_OOBINLINE),
    NAME(SOL_SOCKET, SO_PRIORITY),
    NAME(SOL_SOCKET, SO_REUSEPORT),
    NAME(SOL_SOCKET, SO_RCVLOWAT),
    NAME(SOL_SOCKET, SO_SNDLOWAT),
    NAME(SOL_SOCKET, SO_TIMESTAMP),
    NAME(SOL_SOCKET, SO_ACCEPTCONN),
    NAME(SOL_SOCKET, SO_PROTOCOL),
    NAME(SOL_SOCKET, SO_DOMAIN),
    NAME(SOL_SOCKET, SO_MARK),
    NAME(SOL_SOCKET, SO_TIMESTAMPNS),
    NAME(SOL_SOCKET, SO_NO_CHECK),
    NAME(SOL_SOCKET, SO_RXQ_OVFL),
    NAME(SOL_SOCKET, SO_SELECT_ERR_QUEUE),
    NAME(SOL_SOCKET, SO_DEBUG),
    NAME(SOL_SOCKET, SO_BINDTOIFINDEX),
    NAME(SOL_SOCKET, SO_INCOMING_CPU),
    NAME(IPPROTO_IP, IP_MULTICAST_ALL),
    NAME(IPPROTO_IP, IP_TOS),
    NAME(IPPROTO_IP, IP_TTL),
    NAME(IPPROTO_IP, IP_MINTTL),
    NAME(IPPROTO_IP, IP_PKTINFO),
    NAME(IPPROTO_IP, IP_RECVERR),
    NAME(IPPROTO_IP, IP_RECVTTL),
    NAME(IPPROTO_IP, IP_RECVTOS),
    NAME(IPPROTO_IP, IP_MTU_DISCOVER),
    NAME(IPPROTO_IP, IP_MULTICAST_TTL),
    NAME(IPPROTO_IP, IP_MULTICAST_LOOP),
    NAME(IPPROTO_IP, IP_FREEBIND),
    NAME(IPPROTO_IP, IP_MTU),
    NAME(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT),
    NAME(IPPROTO_IP, IP_TRANSPARENT),
    NAME(IPPROTO_IP, IP_HDRINCL),
    NAME(IPPROTO_TCP, TCP_NODELAY),
    NAME(IPPROTO_TCP, TCP_CORK),
    NAME(IPPROTO_TCP, TCP_KEEPIDLE),
    NAME(IPPROTO_TCP, TCP_KEEPINTVL),
    NAME(IPPROTO_TCP, TCP_KEEPCNT),
    NAME(IPPROTO_TCP, TCP_SYNCNT),
    NAME(IPPROTO_TCP, TCP_DEFER_ACCEPT),
    NAME(IPPROTO_TCP, TCP_QUICKACK),
    NAME(IPPROTO_TCP, TCP_USER_TIMEOUT),
    NAME(IPPROTO_TCP, TCP_WINDOW_CLAMP),
    NAME(IPPROTO_TCP, TCP_LINGER2),
    NAME(IPPROTO_TCP, TCP_FASTOPEN),
    NAME(IPPROTO_TCP, 999),
    NAME(SOL_SOCKET, 999),
    NAME(IPPROTO_IP, 999),
    NAME(77, 1),
};

static void defaults(const char *what, int fd) {
    section(what);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        int value = -7777;
        socklen_t length = sizeof value;
        errno = 0;
        int result = getsockopt(fd, numbers[i].level, numbers[i].option, &value, &length);
        if (result)
            printf("%s: %s\n", numbers[i].name, strerrorname_np(errno));
        else
            printf("%s: %d, length %u\n", numbers[i].name, value, length);
    }
}

static void set_and_get(const char *what, int fd, int level, int option, int value) {
    char text[100];
    snprintf(text, sizeof text, "%s = %d", what, value);
    FACT(text, set_option(fd, level, option, value));
    FACT("  now", option_of(fd, level, option));
}
#define SET(fd, level, option, value) set_and_get(#option, fd, level, option, value)

/* How much a buffer may be enlarged is the machine's setting; it is told where Linux tells it. */
static void limit(int fd, const char *what, int option, const char *path) {
    int most = 0, asked[2] = {100000000, -5};
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%d", &most) != 1)
        most = 0;
    if (file)
        fclose(file);
    for (int i = 0; i < 2; i++) {
        set_option(fd, SOL_SOCKET, option, asked[i]);
        printf("%s = %d is twice what %s says: %d\n", what, asked[i], path,
               option_of(fd, SOL_SOCKET, option) == 2 * most);
    }
}

static void setting(void) {
    section("setting");
    int tcp = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0),
        local = socket(AF_UNIX, SOCK_STREAM, 0);
    SET(tcp, SOL_SOCKET, SO_REUSEADDR, 5);
    SET(tcp, SOL_SOCKET, SO_KEEPALIVE, 1);
    SET(tcp, SOL_SOCKET, SO_BROADCAST, 1);
    SET(tcp, SOL_SOCKET, SO_OOBINLINE, 1);
    SET(tcp, SOL_SOCKET, SO_DONTROUTE, 1);
    SET(tcp, SOL_SOCKET, SO_SNDBUF, 10000);
    SET(tcp, SOL_SOCKET, SO_SNDBUF, 1);
    SET(tcp, SOL_SOCKET, SO_RCVBUF, 10000);
    SET(tcp, SOL_SOCKET, SO_RCVBUF, 1);
    limit(tcp, "SO_SNDBUF", SO_SNDBUF, "/proc/sys/net/core/wmem_max");
    limit(tcp, "SO_RCVBUF", SO_RCVBUF, "/proc/sys/net/core/rmem_max");
    SET(udp, SOL_SOCKET, SO_RCVBUF, 65536);
    SET(udp, SOL_SOCKET, SO_SNDBUF, 65536);
    SET(local, SOL_SOCKET, SO_SNDBUF, 65536);
    SET(tcp, SOL_SOCKET, SO_RCVLOWAT, 0);
    SET(tcp, SOL_SOCKET, SO_RCVLOWAT, 100);
    SET(tcp, SOL_SOCKET, SO_SNDLOWAT, 5);
    SET(tcp, SOL_SOCKET, SO_PRIORITY, 3);
    SET(tcp, SOL_SOCKET, SO_TYPE, 3);
    SET(tcp, SOL_SOCKET, SO_ERROR, 3);
    SET(tcp, SOL_SOCKET, SO_ACCEPTCONN, 1);
    SET(tcp, SOL_SOCKET, SO_TIMESTAMP, 1);
    SET(tcp, SOL_SOCKET, SO_TIMESTAMPNS, 1);
    FACT("SO_TIMESTAMP then", option_of(tcp, SOL_SOCKET, SO_TIMESTAMP));
    SET(udp, SOL_SOCKET, SO_NO_CHECK, 2);
    SET(udp, SOL_SOCKET, SO_RXQ_OVFL, 1);
    SET(udp, SOL_SOCKET, SO_SELECT_ERR_QUEUE, 1);
    SET(udp, SOL_SOCKET, SO_INCOMING_CPU, 0);
    SET(udp, SOL_SOCKET, SO_BINDTOIFINDEX, 1); /* lo is the first everywhere */
    SET(udp, SOL_SOCKET, SO_BINDTOIFINDEX, -1);
    SET(udp, SOL_SOCKET, SO_BINDTOIFINDEX, 77777);
    char device[16];
    socklen_t room = sizeof device;
    FACT("SO_BINDTODEVICE of that", getsockopt(udp, SOL_SOCKET, SO_BINDTODEVICE, device, &room));
    SET(udp, SOL_SOCKET, SO_BINDTOIFINDEX, 0);
    SET(udp, IPPROTO_IP, IP_MULTICAST_ALL, 0);
    SET(udp, IPPROTO_IP, IP_MULTICAST_ALL, 2);
    SET(local, SOL_SOCKET, SO_PASSCRED, 1);
    SET(tcp, IPPROTO_IP, IP_TOS, 0x10);
    SET(tcp, IPPROTO_IP, IP_TOS, 0x1ff);
    SET(udp, IPPROTO_IP, IP_TOS, 0x13);
    SET(udp, IPPROTO_IP, IP_TTL, 5);
    SET(udp, IPPROTO_IP, IP_TTL, 0);
    SET(udp, IPPROTO_IP, IP_TTL, 256);
    SET(udp, IPPROTO_IP, IP_TTL, -1);
    SET(udp, IPPROTO_IP, IP_PKTINFO, 1);
    SET(udp, IPPROTO_IP, IP_MULTICAST_TTL, 9);
    SET(tcp, IPPROTO_IP, IP_MULTICAST_TTL, 9);
    SET(udp, IPPROTO_IP, IP_MULTICAST_LOOP, 0);
    SET(udp, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
    SET(udp, IPPROTO_IP, IP_MTU_DISCOVER, 77);
    SET(tcp, IPPROTO_TCP, TCP_NODELAY, 2);
    SET(tcp, IPPROTO_TCP, TCP_CORK, 1);
    SET(tcp, IPPROTO_TCP, TCP_KEEPIDLE, 33);
    SET(tcp, IPPROTO_TCP, TCP_KEEPIDLE, 0);
    SET(tcp, IPPROTO_TCP, TCP_KEEPIDLE, 40000);
    SET(tcp, IPPROTO_TCP, TCP_KEEPINTVL, 44);
    SET(tcp, IPPROTO_TCP, TCP_KEEPCNT, 7);
    SET(tcp, IPPROTO_TCP, TCP_KEEPCNT, 128);
    SET(tcp, IPPROTO_TCP, TCP_SYNCNT, 3);
    SET(tcp, IPPROTO_TCP, TCP_SYNCNT, 0);
    SET(tcp, IPPROTO_TCP, TCP_USER_TIMEOUT, 1234);
    SET(tcp, IPPROTO_TCP, TCP_USER_TIMEOUT, -1);
    SET(tcp, IPPROTO_TCP, TCP_MAXSEG, 1000);
    SET(tcp, IPPROTO_TCP, TCP_MAXSEG, 10);
    SET(tcp, IPPROTO_TCP, TCP_QUICKACK, 0);
    SET(tcp, IPPROTO_TCP, TCP_LINGER2, 10);
    SET(tcp, IPPROTO_TCP, TCP_LINGER2, -1);
    SET(udp, IPPROTO_TCP, TCP_NODELAY, 1);
    SET(local, IPPROTO_TCP, TCP_NODELAY, 1);
    SET(local, IPPROTO_IP, IP_TTL, 1);
    close(tcp), close(udp), close(local);
}

static void lengths(void) {
    section("lengths");
    int fd = socket(AF_INET, SOCK_STREAM, 0), value = 1;
    FACT("set with 1 byte", setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, 1));
    FACT("set with 0 bytes", setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, 0));
    FACT("set TCP_NODELAY with 1 byte", setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, 1));
    FACT("set IP_TOS with 1 byte", setsockopt(fd, IPPROTO_IP, IP_TOS, &value, 1));
    FACT("set with a negative length", setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, (socklen_t)-1));
    FACT("set from a wrong address", setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, nowhere, 4));
    unsigned char bytes[64];
    memset(bytes, 0xee, sizeof bytes);
    socklen_t length = 1;
    FACT("get 1 byte", getsockopt(fd, SOL_SOCKET, SO_TYPE, bytes, &length));
    printf("length %u: %02x %02x\n", length, bytes[0], bytes[1]);
    length = 1;
    FACT("get 1 byte of IP_TTL", getsockopt(fd, IPPROTO_IP, IP_TTL, bytes, &length));
    printf("length %u: %02x %02x\n", length, bytes[0], bytes[1]);
    length = 40;
    FACT("get 40 bytes", getsockopt(fd, SOL_SOCKET, SO_TYPE, bytes, &length));
    printf("length %u\n", length);
    length = (socklen_t)-1;
    FACT("get with a negative length", getsockopt(fd, SOL_SOCKET, SO_TYPE, bytes, &length));
    FACT("get without a length", getsockopt(fd, SOL_SOCKET, SO_TYPE, bytes, NULL));
    FACT("get of a file", getsockopt(0, SOL_SOCKET, SO_TYPE, bytes, &length));
    FACT("get of nothing", getsockopt(-1, SOL_SOCKET, SO_TYPE, bytes, &length));

    struct linger linger = {1, 5}, got = {0};
    length = sizeof got;
    FACT("SO_LINGER", setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    getsockopt(fd, SOL_SOCKET, SO_LINGER, &got, &length);
    printf("%d %d\n", got.l_onoff, got.l_linger);
    FACT("SO_LINGER with 4 bytes", setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, 4));
    struct timeval time = {3, 500000}, had = {0};
    length = sizeof had;
    FACT("SO_RCVTIMEO", setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time));
    getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &had, &length);
    printf("%ld.%06ld\n", (long)had.tv_sec, (long)had.tv_usec);
    time = (struct timeval){1, 1000000};
    FACT("SO_SNDTIMEO out of range", setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time));
    time = (struct timeval){-1, 0};
    FACT("SO_SNDTIMEO negative", setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time));
    FACT("SO_SNDTIMEO short", setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, 8));
    char name[64] = {0};
    length = sizeof name;
    FACT("SO_BINDTODEVICE", setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3));
    FACT("get", getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &length));
    printf("%s %u\n", name, length);
    FACT("SO_BINDTODEVICE of nothing", setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "nope7", 6));
    length = sizeof name;
    FACT("TCP_CONGESTION of nothing", setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "nope", 4));
    FACT("TCP_CONGESTION reno", setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
    FACT("get", getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &length));
    printf("%s %u\n", name, length);
    close(fd);

    section("tcp_info");
    int pair[2];
    tcp_pair(pair);
    struct tcp_info info = {0};
    length = sizeof info;
    FACT("TCP_INFO", getsockopt(pair[0], IPPROTO_TCP, TCP_INFO, &info, &length));
    printf("state %d, options %x, retransmits %d\n", info.tcpi_state, info.tcpi_options & 7, info.tcpi_retransmits);
    length = 1;
    FACT("TCP_INFO of 1 byte", getsockopt(pair[0], IPPROTO_TCP, TCP_INFO, &info, &length));
    printf("length %u\n", length);
    FACT("SO_ACCEPTCONN of a connection", option_of(pair[1], SOL_SOCKET, SO_ACCEPTCONN));
    int listening = listener(3);
    FACT("SO_ACCEPTCONN of a listener", option_of(listening, SOL_SOCKET, SO_ACCEPTCONN));
    length = sizeof info;
    getsockopt(listening, IPPROTO_TCP, TCP_INFO, &info, &length);
    printf("listener state %d, waiting %u, backlog %u\n", info.tcpi_state, info.tcpi_unacked, info.tcpi_sacked);

    section("inherited");
    set_option(listening, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(listening, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(listening, IPPROTO_TCP, TCP_KEEPIDLE, 55);
    set_option(listening, IPPROTO_IP, IP_TTL, 33);
    set_option(listening, SOL_SOCKET, SO_REUSEADDR, 1);
    linger = (struct linger){1, 4};
    setsockopt(listening, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    connect_to(client, name_of(listening));
    fd = accept(listening, NULL, NULL);
    FACT("TCP_NODELAY", option_of(fd, IPPROTO_TCP, TCP_NODELAY));
    FACT("SO_KEEPALIVE", option_of(fd, SOL_SOCKET, SO_KEEPALIVE));
    FACT("TCP_KEEPIDLE", option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE));
    FACT("IP_TTL", option_of(fd, IPPROTO_IP, IP_TTL));
    FACT("SO_REUSEADDR", option_of(fd, SOL_SOCKET, SO_REUSEADDR));
    length = sizeof got;
    getsockopt(fd, SOL_SOCKET, SO_LINGER, &got, &length);
    printf("SO_LINGER %d %d\n", got.l_onoff, got.l_linger);
    FACT("IP_MTU of a connection", option_of(fd, IPPROTO_IP, IP_MTU));
    close(fd), close(client), close(listening), close(pair[0]), close(pair[1]);
}

int main(void) {
    begin();
    int tcp = socket(AF_INET, SOCK_STREAM, 0), udp = socket(AF_INET, SOCK_DGRAM, 0),
        local = socket(AF_UNIX, SOCK_STREAM, 0);
    defaults("defaults of TCP", tcp);
    defaults("defaults of UDP", udp);
    defaults("defaults of a Unix socket", local);
    close(tcp), close(udp), close(local);
    setting();
    lengths();
    return 0;
}
