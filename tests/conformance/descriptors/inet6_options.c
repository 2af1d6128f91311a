/* Options of level IPPROTO_IPV6: defaults, ranges, which sockets have them. */
#include "inet6.h"

static const struct {
    const char *name;
    int option;
} options[] = {{"IPV6_V6ONLY", IPV6_V6ONLY},
               {"IPV6_UNICAST_HOPS", IPV6_UNICAST_HOPS},
               {"IPV6_MINHOPCOUNT", IPV6_MINHOPCOUNT},
               {"IPV6_MULTICAST_HOPS", IPV6_MULTICAST_HOPS},
               {"IPV6_MULTICAST_LOOP", IPV6_MULTICAST_LOOP},
               {"IPV6_MULTICAST_IF", IPV6_MULTICAST_IF},
               {"IPV6_MTU", IPV6_MTU},
               {"IPV6_MTU_DISCOVER", IPV6_MTU_DISCOVER},
               {"IPV6_RECVERR", IPV6_RECVERR},
               {"IPV6_RECVPKTINFO", IPV6_RECVPKTINFO},
               {"IPV6_RECVHOPLIMIT", IPV6_RECVHOPLIMIT},
               {"IPV6_RECVTCLASS", IPV6_RECVTCLASS},
               {"IPV6_TCLASS", IPV6_TCLASS},
               {"IPV6_DONTFRAG", IPV6_DONTFRAG},
               {"IPV6_RECVPATHMTU", IPV6_RECVPATHMTU},
               {"IPV6_RECVRTHDR", IPV6_RECVRTHDR},
               {"IPV6_TRANSPARENT", IPV6_TRANSPARENT},
               {"IPV6_FREEBIND", IPV6_FREEBIND},
               {"IPV6_UNICAST_IF", IPV6_UNICAST_IF},
               {"IPV6_AUTOFLOWLABEL", 70},
               {"IPV6_MULTICAST_ALL", IPV6_MULTICAST_ALL}};

static void defaults(const char *what, int fd) {
    section(what);
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        int value = -7777;
        socklen_t length = sizeof value;
        errno = 0;
        int result = getsockopt(fd, IPPROTO_IPV6, options[i].option, &value, &length);
        if (result)
            put_result(options[i].name, result, errno);
        else
            printf("%s: %d, %u bytes\n", options[i].name, value, length);
    }
}

static void setting(const char *what, int type) {
    static const int values[] = {-2, -1, 0, 1, 2, 5, 6, 255, 256, 1280, 5000};
    section(what);
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (options[i].option == IPV6_TRANSPARENT || options[i].option == IPV6_UNICAST_IF ||
            options[i].option == IPV6_MULTICAST_IF)
            continue; /* of privileges and interfaces */
        printf("%s:", options[i].name);
        for (size_t j = 0; j < sizeof values / sizeof values[0]; j++) {
            int fd = socket6(type);
            int result = set_option(fd, IPPROTO_IPV6, options[i].option, values[j]);
            if (result)
                printf(" %s", strerrorname_np(errno));
            else
                printf(" %d", option_of(fd, IPPROTO_IPV6, options[i].option));
            close(fd);
        }
        printf("\n");
    }
}

static void shapes(void) {
    section("lengths");
    int fd = socket6(SOCK_DGRAM), value = 1;
    unsigned char byte = 1;
    FACT("a byte", setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &byte, 1));
    FACT("nothing", setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &value, 0));
    FACT("nowhere", setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, nowhere, 4));
    long wide = 1;
    FACT("more", setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &wide, sizeof wide));
    socklen_t length = 1;
    unsigned char bytes[8] = {9, 9, 9, 9, 9, 9, 9, 9};
    FACT("one byte of it", getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, bytes, &length));
    printf("length %u, %d %d\n", length, bytes[0], bytes[1]);
    length = 8;
    FACT("more room", getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, bytes, &length));
    printf("length %u, %d %d %d\n", length, bytes[0], bytes[3], bytes[4]);
    close(fd);
}

static void preferences(void) {
    section("IPV6_ADDR_PREFERENCES");
    static const int values[] = {0, 1, 2, 4, 0x100, 0x400, 0x401, 3, 8, 0x800, 0x808, 0x500, 5, 0x10000, 0x402};
    int fd = socket6(SOCK_DGRAM);
    FACT("at first", option_of(fd, IPPROTO_IPV6, IPV6_ADDR_PREFERENCES));
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        int result = set_option(fd, IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, values[i]);
        printf("%#x: %s, then %#x\n", values[i], result ? strerrorname_np(errno) : "taken",
               option_of(fd, IPPROTO_IPV6, IPV6_ADDR_PREFERENCES));
    }
    close(fd);
}

static void of_both_levels(void) {
    section("options of IPv4 on sockets of both families");
    int fd = socket6(SOCK_DGRAM), v4 = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    FACT("set IP_TTL", set_option(fd, IPPROTO_IP, IP_TTL, 9));
    FACT("IP_TTL", option_of(fd, IPPROTO_IP, IP_TTL));
    FACT("IPV6_UNICAST_HOPS", option_of(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS));
    FACT("set IP_TOS", set_option(fd, IPPROTO_IP, IP_TOS, 16));
    FACT("IPV6_TCLASS", option_of(fd, IPPROTO_IPV6, IPV6_TCLASS));
    FACT("IPv6's of an IPv4 socket, set", set_option(v4, IPPROTO_IPV6, IPV6_V6ONLY, 1));
    FACT("IPv6's of an IPv4 socket", getsockopt(v4, IPPROTO_IPV6, IPV6_V6ONLY, &(int){0}, &(socklen_t){4}));
    FACT("another level, set", set_option(fd, 99, 1, 1));
    FACT("another level", getsockopt(fd, 99, 1, &(int){0}, &(socklen_t){4}));
    MUST(connect6(fd, name6("::1", 9)));
    FACT("IPV6_MTU, connected", option_of(fd, IPPROTO_IPV6, IPV6_MTU));
    MUST(connect6(fd, name6("::ffff:127.0.0.1", 9)));
    FACT("IPV6_MTU, connected to IPv4", option_of(fd, IPPROTO_IPV6, IPV6_MTU));
    close(fd);
    close(v4);
}

int main(void) {
    begin();
    int datagram = socket6(SOCK_DGRAM), stream = socket6(SOCK_STREAM);
    defaults("defaults of datagram sockets", datagram);
    defaults("defaults of stream sockets", stream);
    close(datagram);
    close(stream);
    setting("setting, datagram", SOCK_DGRAM);
    setting("setting, stream", SOCK_STREAM);
    shapes();
    preferences();
    of_both_levels();
    return 0;
}
