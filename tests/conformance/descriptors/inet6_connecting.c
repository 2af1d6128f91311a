/* IPv6 and dual-stack sockets that connect, accept and talk: names, errors, both families. */
#include "inet6.h"

static void creating(void) {
    section("creating");
    FACT("stream, udp", socket(AF_INET6, SOCK_STREAM, IPPROTO_UDP));
    FACT("seqpacket", socket(AF_INET6, SOCK_SEQPACKET, 0));
    FACT("unknown protocol", socket(AF_INET6, SOCK_STREAM, 250));
    FACT("protocol out of range", socket(AF_INET6, SOCK_STREAM, 99999));
    int pair[2];
    FACT("socketpair", socketpair(AF_INET6, SOCK_STREAM, 0, pair));
    int fd = socket6(SOCK_STREAM);
    FACT("SO_DOMAIN", option_of(fd, SOL_SOCKET, SO_DOMAIN));
    FACT("SO_PROTOCOL", option_of(fd, SOL_SOCKET, SO_PROTOCOL));
    put_own_name("unbound", fd);
    put_peer_name("peer", fd);
    MUST(listen(fd, 1));
    put_own_name("listening at any port", fd);
    close(fd);
}

/* Where a connect leads and which name it gives, with a socket bound to `bound` (or not). */
static void connecting(int type, const char *bound, const char *to, int only) {
    char what[128];
    int fd = socket6(type);
    snprintf(what, sizeof what, "%s from %s to %s%s", type == SOCK_STREAM ? "stream" : "datagram",
             bound ? bound : "nowhere", to, only ? ", IPv6 only" : "");
    if (only)
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (bound)
        MUST(bind6(fd, name6(bound, 0)));
    int result = connect6(fd, name6(to, 9));
    put_result(what, result, errno);
    if (!result) { /* a failed one leaves traces in Linux that mean nothing */
        put_own_name("  own", fd);
        put_peer_name("  peer", fd);
    }
    close(fd);
}

static void all_connects(void) {
    static const char *const pairs[][2] = {{NULL, "::1"},
                                           {NULL, "::"},
                                           {NULL, "::ffff:127.0.0.1"},
                                           {NULL, "::ffff:0.0.0.0"},
                                           {"::", "::"},
                                           {"::1", "::1"},
                                           {"::1", "::ffff:127.0.0.1"},
                                           {"::ffff:127.0.0.1", "::1"},
                                           {"::ffff:127.0.0.1", "::"},
                                           {"::ffff:127.0.0.1", "::ffff:127.0.0.1"},
                                           {"::ffff:0.0.0.0", "::1"},
                                           {"::ffff:0.0.0.0", "::ffff:127.0.0.1"},
                                           {NULL, "fe80::1"}};
    section("connecting");
    for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
        for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
            connecting(type, pairs[i][0], pairs[i][1], 0);
        connecting(type, NULL, "::ffff:127.0.0.1", 1);
        connecting(type, NULL, "::1", 1);
    }
}

static void names_of_connect(void) {
    section("names that connect takes");
    int datagram = socket6(SOCK_DGRAM), stream = socket6(SOCK_STREAM), v4 = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    struct sockaddr_in6 name = name6("::1", 9);
    struct sockaddr_in old = loopback(9);
    FACT("short, datagram", connect(datagram, (struct sockaddr *)&name, 23));
    FACT("short, stream", connect(stream, (struct sockaddr *)&name, 23));
    FACT("sockaddr_in, stream", connect_to(stream, old));
    FACT("sockaddr_in, datagram", connect_to(datagram, old));
    put_own_name("own", datagram);
    put_peer_name("peer", datagram);
    FACT("sockaddr_in6 to an IPv4 socket", connect6(v4, name));
    name.sin6_family = AF_UNSPEC;
    FACT("unspecified", connect6(datagram, name));
    put_own_name("own after that", datagram);
    put_peer_name("peer after that", datagram);
    close(datagram);
    datagram = socket6(SOCK_DGRAM);
    name.sin6_family = AF_INET6;
    FACT("RFC 2133", connect(datagram, (struct sockaddr *)&name, 24));
    close(datagram);
    datagram = socket6(SOCK_DGRAM);
    set_option(datagram, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    FACT("sockaddr_in, IPv6 only", connect_to(datagram, old));
    close(datagram);
    close(stream);
    close(v4);
}

static void streams(void) {
    section("a listener of both families");
    int listening = socket6(SOCK_STREAM);
    MUST(bind6(listening, name6("::", 0)));
    MUST(listen(listening, 8));
    put_own_name("listener", listening);
    uint16_t port = port_of(listening);
    for (int way = 0; way < 3; way++) {
        int client;
        if (way == 0) {
            client = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
            MUST(connect_to(client, loopback(port)));
        } else {
            client = socket6(SOCK_STREAM);
            MUST(connect6(client, name6(way == 1 ? "::1" : "::ffff:127.0.0.1", port)));
        }
        struct sockaddr_storage name;
        socklen_t length = sizeof name;
        int server = (int)MUST(accept(listening, (struct sockaddr *)&name, &length));
        put_name("accepted", &name, length);
        put_own_name("its own name", server);
        put_peer_name("its peer", server);
        put_own_name("client", client);
        put_peer_name("client's peer", client);
        FACT("SO_DOMAIN", option_of(server, SOL_SOCKET, SO_DOMAIN));
        struct tcp_info information = {0};
        MUST(getsockopt(client, IPPROTO_TCP, TCP_INFO, &information, &(socklen_t){sizeof information}));
        printf("advertised MSS %u, path MTU %u\n", information.tcpi_advmss, information.tcpi_pmtu);
        FACT("IPV6_ADDRFORM", option_of(server, IPPROTO_IPV6, 1));
        char bytes[8] = {0};
        MUST(send(client, "hello", 5, 0));
        FACT("received", recv(server, bytes, sizeof bytes, 0));
        put_bytes("data", bytes, 5);
        close(client);
        FACT("end", recv(server, bytes, sizeof bytes, 0));
        close(server);
    }
    int client = socket6(SOCK_STREAM);
    MUST(connect6(client, name6("::1", port)));
    struct sockaddr_in6 cut = {0};
    socklen_t room = 8;
    int server = (int)MUST(accept(listening, (struct sockaddr *)&cut, &room));
    printf("accept with little room: %u, family %d\n", room, cut.sin6_family);
    close(server);
    close(client);
    close(listening);
    client = socket6(SOCK_STREAM);
    FACT("nobody listens", connect6(client, name6("::1", port)));
    close(client);
}

static void only_v6(void) {
    section("a listener of IPv6 only");
    int listening = socket6(SOCK_STREAM), client = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    set_option(listening, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    MUST(bind6(listening, name6("::", 0)));
    MUST(listen(listening, 8));
    FACT("IPv4", connect_to(client, loopback(port_of(listening))));
    close(client);
    client = socket6(SOCK_STREAM);
    FACT("IPv6", connect6(client, name6("::1", port_of(listening))));
    int server = (int)MUST(accept(listening, NULL, NULL));
    FACT("IPV6_V6ONLY of the child", option_of(server, IPPROTO_IPV6, IPV6_V6ONLY));
    close(server);
    close(client);
    close(listening);
}

int main(void) {
    begin();
    creating();
    all_connects();
    names_of_connect();
    streams();
    only_v6();
    return 0;
}
