/* IPv6 and dual-stack sockets over loopback, for the programs of this folder. */
#ifndef INET6_H
#define INET6_H

#include "inet.h"

#define SIZE6 sizeof(struct sockaddr_in6)

UNUSED_FUNCTION struct sockaddr_in6 name6(const char *text, uint16_t port) {
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (inet_pton(AF_INET6, text, &name.sin6_addr) != 1)
        printf("%s is no address\n", text);
    return name;
}

UNUSED_FUNCTION int bind6(int fd, struct sockaddr_in6 name) { return bind(fd, (struct sockaddr *)&name, SIZE6); }

UNUSED_FUNCTION int connect6(int fd, struct sockaddr_in6 name) { return connect(fd, (struct sockaddr *)&name, SIZE6); }

UNUSED_FUNCTION int socket6(int type) { return (int)MUST(socket(AF_INET6, type, 0)); }

UNUSED_FUNCTION uint16_t port_of(int fd) {
    struct sockaddr_in6 name = {0};
    socklen_t length = sizeof name;
    MUST(getsockname(fd, (struct sockaddr *)&name, &length));
    return ntohs(name.sin6_port); /* where sockaddr_in has it, too */
}

/* A connection over ::1: pair[0] connected, pair[1] was accepted. */
UNUSED_FUNCTION void tcp6_pair(int pair[2]) {
    int listening = socket6(SOCK_STREAM);
    MUST(bind6(listening, name6("::1", 0)));
    MUST(listen(listening, 8));
    pair[0] = socket6(SOCK_STREAM);
    MUST(connect6(pair[0], name6("::1", port_of(listening))));
    pair[1] = (int)MUST(accept(listening, NULL, NULL));
    close(listening);
}

/* Family, length, address, and whether there is a port: which one is the kernel's choice. */
UNUSED_FUNCTION void put_name(const char *what, const void *bytes, socklen_t length) {
    struct sockaddr_in6 name = {0};
    char text[INET6_ADDRSTRLEN];
    memcpy(&name, bytes, length < sizeof name ? length : sizeof name);
    if (name.sin6_family == AF_INET6) {
        inet_ntop(AF_INET6, &name.sin6_addr, text, sizeof text);
        printf("%s: inet6 %u bytes, %s, port %d, flow %u, scope %u\n", what, length, text, name.sin6_port != 0,
               name.sin6_flowinfo, name.sin6_scope_id);
    } else {
        inet_ntop(AF_INET, &((const struct sockaddr_in *)bytes)->sin_addr, text, sizeof text);
        printf("%s: family %d %u bytes, %s, port %d\n", what, name.sin6_family, length, text, name.sin6_port != 0);
    }
}

UNUSED_FUNCTION void put_own_name(const char *what, int fd) {
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    if (getsockname(fd, (struct sockaddr *)&name, &length))
        FACT(what, -1);
    else
        put_name(what, &name, length);
}

UNUSED_FUNCTION void put_peer_name(const char *what, int fd) {
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    errno = 0;
    int result = getpeername(fd, (struct sockaddr *)&name, &length);
    if (result)
        put_result(what, result, errno);
    else
        put_name(what, &name, length);
}

#endif
