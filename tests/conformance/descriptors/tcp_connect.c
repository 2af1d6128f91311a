/* The ways to a connection: refused, non-blocking, repeated; the backlog; who may have a port. */
#include "inet.h"

static int tcp_socket(int flags) { return (int)MUST(socket(AF_INET, SOCK_STREAM | flags, 0)); }

static void refused(void) {
    section("refused");
    int gone = listener(1);
    struct sockaddr_in nobody = name_of(gone);
    close(gone);
    int fd = tcp_socket(0);
    FACT("blocking connect", connect_to(fd, nobody));
    put_poll("afterwards", fd);
    put_error("SO_ERROR", fd);
    FACT("connect again", connect_to(fd, nobody));
    FACT("send", send(fd, "x", 1, MSG_NOSIGNAL));
    char byte;
    FACT("recv", recv(fd, &byte, 1, 0));
    int listening = listener(1);
    FACT("the same socket to a listener", connect_to(fd, name_of(listening)));
    close(fd);

    fd = tcp_socket(SOCK_NONBLOCK);
    int result = connect_to(fd, nobody);
    printf("non-blocking connect: %s\n", result ? strerrorname_np(errno) : "0");
    await(fd, POLLOUT);
    put_poll("when it failed", fd);
    put_error("SO_ERROR", fd);
    put_error("SO_ERROR again", fd);
    put_poll("after SO_ERROR", fd);
    close(fd);

    fd = tcp_socket(SOCK_NONBLOCK);
    connect_to(fd, nobody);
    await(fd, POLLOUT);
    FACT("a second connect tells the error", connect_to(fd, nobody));
    close(fd), close(listening);
}

static void nonblocking(void) {
    section("non-blocking");
    int listening = listener(4), fd = tcp_socket(SOCK_NONBLOCK);
    FACT("accept on a blocking listener made non-blocking",
         (fcntl(listening, F_SETFL, O_NONBLOCK), accept(listening, NULL, NULL)));
    FACT("connect", connect_to(fd, name_of(listening)));
    await(fd, POLLOUT);
    put_poll("connected", fd);
    put_error("SO_ERROR", fd);
    FACT("connect again", connect_to(fd, name_of(listening)));
    FACT("and again", connect_to(fd, name_of(listening)));
    put_poll("listener", listening);
    int accepted = FACT_FD("accept4", accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
    printf("O_NONBLOCK %d FD_CLOEXEC %d\n", (fcntl(accepted, F_GETFL) & O_NONBLOCK) != 0, fcntl(accepted, F_GETFD));
    close(accepted), close(fd);
    fd = tcp_socket(0);
    connect_to(fd, name_of(listening));
    await(listening, POLLIN);
    accepted = accept(listening, NULL, NULL);
    printf("O_NONBLOCK is not inherited: %d\n", !(fcntl(accepted, F_GETFL) & O_NONBLOCK));
    FACT("accept4 with bad flags", accept4(listening, NULL, NULL, 1));
    FACT("accept on something else", accept(0, NULL, NULL));
    FACT("accept on nothing", accept(999, NULL, NULL));
    close(accepted), close(fd);
    FACT("accept of a datagram socket", accept(udp_socket(), NULL, NULL));
    fd = tcp_socket(0);
    FACT("accept before listen", accept(fd, NULL, NULL));
    put_poll("listener without connections", listening);
    close(fd), close(listening);
}

static void unspecified(void) {
    section("names");
    int fd = tcp_socket(0), listening = listener(4);
    struct sockaddr_in name = name_of(listening);
    FACT("short name", connect(fd, (struct sockaddr *)&name, 4));
    name.sin_family = AF_UNIX;
    FACT("wrong family", connect(fd, (struct sockaddr *)&name, sizeof name));
    name.sin_family = AF_INET6;
    FACT("inet6 family", connect(fd, (struct sockaddr *)&name, sizeof name));
    name.sin_family = AF_UNSPEC;
    FACT("AF_UNSPEC on a fresh socket", connect(fd, (struct sockaddr *)&name, sizeof name));
    FACT("no memory", connect(fd, nowhere, sizeof name));
    FACT("no length", connect(fd, (struct sockaddr *)&name, 0));
    FACT("enormous length", connect(fd, (struct sockaddr *)&name, 4096));
    name = name_of(listening);
    name.sin_addr.s_addr = htonl(INADDR_ANY);
    FACT("0.0.0.0 is this host", connect_to(fd, name));
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    getpeername(fd, (struct sockaddr *)&peer, &length);
    printf("peer %s\n", inet_ntoa(peer.sin_addr));
    name.sin_family = AF_UNSPEC;
    FACT("AF_UNSPEC disconnects", connect(fd, (struct sockaddr *)&name, sizeof name));
    FACT("no peer any more", getpeername(fd, (struct sockaddr *)&peer, &length));
    FACT("connect again", connect_to(fd, name_of(listening)));
    close(fd);
    fd = tcp_socket(0);
    name = loopback(ntohs(name_of(listening).sin_port));
    inet_aton("127.9.8.7", &name.sin_addr);
    FACT("connect to 127.9.8.7 where 127.0.0.1 listens", connect_to(fd, name));
    close(fd), close(listening);
    fd = tcp_socket(0);
    inet_aton("255.255.255.255", &name.sin_addr);
    FACT("broadcast", connect_to(fd, name));
    inet_aton("224.0.0.1", &name.sin_addr);
    FACT("multicast", connect_to(fd, name));
    close(fd);
}

static void backlog(void) {
    section("backlog");
    int listening = listener(1), clients[8], accepted = 0;
    for (int i = 0; i < 3; i++) {
        clients[i] = tcp_socket(SOCK_NONBLOCK);
        connect_to(clients[i], name_of(listening));
    }
    pause_ms(50);
    put_poll("first client of a backlog of 1", clients[0]);
    put_poll("second client", clients[1]);
    put_poll("third client", clients[2]);
    fcntl(listening, F_SETFL, O_NONBLOCK);
    while (accept(listening, NULL, NULL) >= 0)
        accepted++;
    printf("waiting to be accepted: %d\n", accepted);
    await(clients[2], POLLOUT);
    pause_ms(50);
    put_poll("third client, later", clients[2]);
    FACT("larger backlog", listen(listening, 8));
    close(listening);
    listening = listener(8);
    int fd = tcp_socket(0);
    MUST(connect_to(fd, name_of(listening)));
    close(listening);
    pause_ms(30);
    put_poll("the listener closed before accept", fd);
    char byte;
    FACT("recv", recv(fd, &byte, 1, 0));
    close(fd);
    listening = listener(8);
    FACT("shutdown of a listener for writing", shutdown(listening, SHUT_WR));
    FACT("shutdown of a listener", shutdown(listening, SHUT_RDWR));
    put_poll("listener after it", listening);
    FACT("accept", accept(listening, NULL, NULL));
    FACT("listen again", listen(listening, 2));
    close(listening);
    listening = listener(8);
    fd = tcp_socket(0);
    MUST(connect_to(fd, name_of(listening)));
    send(fd, "early", 5, 0);
    close(fd);
    pause_ms(30);
    put_poll("a client that came and went", listening);
    fd = FACT_FD("accept", accept(listening, NULL, NULL));
    char bytes[10];
    FACT("its data", recv(fd, bytes, sizeof bytes, 0));
    FACT("its end", recv(fd, bytes, sizeof bytes, 0));
    close(fd), close(listening);
}

static void ports(void) {
    section("ports");
    int first = tcp_socket(0), second = tcp_socket(0);
    FACT("bind", bind_to(first, loopback(0)));
    struct sockaddr_in name = name_of(first), any = name;
    any.sin_addr.s_addr = htonl(INADDR_ANY);
    FACT("bind twice", bind_to(first, loopback(0)));
    FACT("the same port", bind_to(second, name));
    FACT("the same port, any address", bind_to(second, any));
    set_option(first, SOL_SOCKET, SO_REUSEADDR, 1);
    FACT("with SO_REUSEADDR on one", bind_to(second, name));
    set_option(second, SOL_SOCKET, SO_REUSEADDR, 1);
    FACT("with SO_REUSEADDR on both", bind_to(second, name));
    FACT("the first listens", listen(first, 1));
    FACT("the second listens", listen(second, 1));
    close(second);
    second = tcp_socket(0);
    set_option(second, SOL_SOCKET, SO_REUSEADDR, 1);
    FACT("SO_REUSEADDR beside a listener", bind_to(second, name));
    name.sin_addr.s_addr = htonl(0x7f000002);
    FACT("another loopback address", bind_to(second, name));
    FACT("listens too", listen(second, 1));
    close(first), close(second);

    first = tcp_socket(0), second = tcp_socket(0);
    int third = tcp_socket(0);
    set_option(first, SOL_SOCKET, SO_REUSEPORT, 1);
    set_option(second, SOL_SOCKET, SO_REUSEPORT, 1);
    bind_to(first, loopback(0));
    name = name_of(first);
    FACT("SO_REUSEPORT on both", bind_to(second, name));
    FACT("SO_REUSEPORT on one", bind_to(third, name));
    FACT("listen", listen(first, 8));
    FACT("listen too", listen(second, 8));
    int client = tcp_socket(0);
    FACT("connect to one of them", connect_to(client, name));
    struct pollfd both[2] = {{first, POLLIN, 0}, {second, POLLIN, 0}};
    FACT("one has it", poll(both, 2, 1000));
    close(first), close(second), close(third), close(client);

    /* A connection that was accepted keeps the port in TIME_WAIT or open: SO_REUSEADDR is for that. */
    int listening = listener(2), fd = tcp_socket(0);
    name = name_of(listening);
    connect_to(fd, name);
    int accepted = accept(listening, NULL, NULL);
    close(listening);
    first = tcp_socket(0);
    FACT("port of an open connection", bind_to(first, name));
    set_option(first, SOL_SOCKET, SO_REUSEADDR, 1);
    FACT("port of an open connection with SO_REUSEADDR", bind_to(first, name));
    close(accepted);
    pause_ms(20);
    close(fd);
    pause_ms(20);
    second = tcp_socket(0);
    FACT("port in TIME_WAIT", bind_to(second, name));
    close(first), close(second);

    fd = tcp_socket(0);
    name = loopback(0);
    inet_aton("203.0.113.77", &name.sin_addr);
    FACT("bind to an address of others", bind_to(fd, name));
    FACT("bind with a short name", bind(fd, (struct sockaddr *)&name, 8));
    name.sin_family = AF_INET6;
    FACT("bind with another family", bind_to(fd, name));
    name = loopback(0);
    name.sin_family = AF_UNSPEC;
    FACT("bind AF_UNSPEC to an address", bind_to(fd, name));
    name.sin_addr.s_addr = 0;
    FACT("bind AF_UNSPEC to any", bind_to(fd, name));
    close(fd);
    fd = tcp_socket(0);
    FACT("listen without bind", listen(fd, 1));
    printf("got a port: %d\n", name_of(fd).sin_port != 0);
    FACT("bind a listener", bind_to(fd, loopback(0)));
    close(fd);

    section("kinds");
    FACT("SOCK_STREAM, udp", socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
    FACT("SOCK_DGRAM, tcp", socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP));
    FACT("SOCK_SEQPACKET", socket(AF_INET, SOCK_SEQPACKET, 0));
    FACT("unknown type", socket(AF_INET, 9, 0));
    FACT("bad flags", socket(AF_INET, SOCK_STREAM | 0x100000, 0));
    FACT("unknown protocol", socket(AF_INET, SOCK_STREAM, 250));
    FACT("protocol out of range", socket(AF_INET, SOCK_STREAM, 99999));
    FACT("unknown family", socket(250, SOCK_STREAM, 0));
    FACT("family out of range", socket(-3, SOCK_STREAM, 0));
    int pair[2];
    FACT("socketpair of inet", socketpair(AF_INET, SOCK_STREAM, 0, pair));
    FACT("socketpair of nothing", socketpair(250, SOCK_STREAM, 0, pair));
}

int main(void) {
    begin();
    refused();
    nonblocking();
    unspecified();
    backlog();
    ports();
    return 0;
}
