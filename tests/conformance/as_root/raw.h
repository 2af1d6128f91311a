/* Names for raw sockets, and a protocol that nobody else speaks. */
#ifndef ANTUMBRA_CONFORMANCE_RAW_H
#define ANTUMBRA_CONFORMANCE_RAW_H

#include "facts.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define OWN_PROTOCOL 253 /* RFC 3692: for experiments */

UNUSED_FUNCTION struct sockaddr_in to4(const char *address, int port) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, address, &name.sin_addr);
    return name;
}

UNUSED_FUNCTION struct sockaddr_in6 to6(const char *address, int port) {
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    inet_pton(AF_INET6, address, &name.sin6_addr);
    return name;
}

#endif
