/* Loopback sockets, for the programs of this folder. */
#ifndef INET_H
#define INET_H

#include "facts.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

UNUSED_FUNCTION struct sockaddr_in loopback(uint16_t port) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
    name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return name;
}

UNUSED_FUNCTION int bind_to(int fd, struct sockaddr_in name) { return bind(fd, (struct sockaddr *)&name, sizeof name); }

UNUSED_FUNCTION int connect_to(int fd, struct sockaddr_in name) {
    return connect(fd, (struct sockaddr *)&name, sizeof name);
}

UNUSED_FUNCTION struct sockaddr_in name_of(int fd) {
    struct sockaddr_in name = {0};
    socklen_t length = sizeof name;
    MUST(getsockname(fd, (struct sockaddr *)&name, &length));
    return name;
}

/* A listener at a port that the kernel chooses. */
UNUSED_FUNCTION int listener(int backlog) {
    int fd = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(bind_to(fd, loopback(0)));
    MUST(listen(fd, backlog));
    return fd;
}

/* A connection over loopback: pair[0] connected, pair[1] was accepted. */
UNUSED_FUNCTION void tcp_pair(int pair[2]) {
    int listening = listener(8);
    pair[0] = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(connect_to(pair[0], name_of(listening)));
    pair[1] = (int)MUST(accept(listening, NULL, NULL));
    close(listening);
}

UNUSED_FUNCTION int udp_socket(void) {
    int fd = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    MUST(bind_to(fd, loopback(0)));
    return fd;
}

UNUSED_FUNCTION int option_of(int fd, int level, int name) {
    int value = -7777;
    socklen_t length = sizeof value;
    return getsockopt(fd, level, name, &value, &length) ? -1 : value;
}

UNUSED_FUNCTION int set_option(int fd, int level, int name, int value) {
    return setsockopt(fd, level, name, &value, sizeof value);
}

UNUSED_FUNCTION void put_error(const char *what, int fd) {
    int error = option_of(fd, SOL_SOCKET, SO_ERROR);
    printf("%s: %s\n", what, error ? strerrorname_np(error) : "no error");
}

#endif
