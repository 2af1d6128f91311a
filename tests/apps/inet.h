/* IPv4 sockets for the test programs: opening them by name and port. */
#ifndef INET_H
#define INET_H

#include "common.h"

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

__attribute__((unused)) static struct sockaddr_in inet_resolve(const char *host, const char *port, int type) {
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = type};
    struct addrinfo *found = NULL;
    int error = getaddrinfo(host, port, &hints, &found);
    if (error != 0) {
        fprintf(stderr, "cannot resolve %s: %s\n", host, gai_strerror(error));
        exit(1);
    }
    struct sockaddr_in address;
    memcpy(&address, found->ai_addr, sizeof address);
    freeaddrinfo(found);
    return address;
}

__attribute__((unused)) static int inet_bound(const char *port, int type) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    int one = 1;
    int fd = socket(AF_INET, type, 0);
    REQUIRE(fd >= 0);
    REQUIRE(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0);
    REQUIRE(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

#endif
