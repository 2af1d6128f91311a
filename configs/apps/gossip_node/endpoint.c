/* See endpoint.h. */
#include "endpoint.h"

#include <arpa/inet.h>
#include <endian.h>
#include <stdio.h>
#include <string.h>

struct endpoint endpoint_of(const struct sockaddr_storage *name) {
    struct endpoint endpoint = {.middle = ENDPOINT_IPV4};
    if (name->ss_family == AF_INET) {
        struct sockaddr_in ipv4;
        memcpy(&ipv4, name, sizeof ipv4);
        endpoint.address = ntohl(ipv4.sin_addr.s_addr);
        endpoint.port = ntohs(ipv4.sin_port);
        return endpoint;
    }
    struct sockaddr_in6 ipv6;
    memcpy(&ipv6, name, sizeof ipv6);
    uint32_t words[4];
    memcpy(words, &ipv6.sin6_addr, sizeof words);
    endpoint.high = (uint64_t)ntohl(words[0]) << 32 | ntohl(words[1]);
    endpoint.middle = ntohl(words[2]);
    endpoint.address = ntohl(words[3]);
    endpoint.port = ntohs(ipv6.sin6_port);
    return endpoint;
}

socklen_t endpoint_name(struct endpoint endpoint, int family, struct sockaddr_storage *name) {
    if (family == AF_INET) {
        struct sockaddr_in ipv4 = {.sin_family = AF_INET, .sin_port = htons(endpoint.port)};
        ipv4.sin_addr.s_addr = htonl(endpoint.address);
        memcpy(name, &ipv4, sizeof ipv4);
        return sizeof ipv4;
    }
    struct sockaddr_in6 ipv6 = {.sin6_family = AF_INET6, .sin6_port = htons(endpoint.port)};
    uint64_t high = htobe64(endpoint.high);
    uint32_t low[2] = {htonl(endpoint.middle), htonl(endpoint.address)};
    memcpy(&ipv6.sin6_addr, &high, sizeof high);
    memcpy((uint8_t *)&ipv6.sin6_addr + sizeof high, low, sizeof low);
    memcpy(name, &ipv6, sizeof ipv6);
    return sizeof ipv6;
}

const char *endpoint_text(struct endpoint endpoint, char text[ENDPOINT_TEXT_MAX]) {
    struct sockaddr_storage name;
    char address[INET6_ADDRSTRLEN] = "";
    if (endpoint_is_ipv4(endpoint)) {
        struct in_addr ipv4 = {.s_addr = htonl(endpoint.address)};
        inet_ntop(AF_INET, &ipv4, address, sizeof address);
        snprintf(text, ENDPOINT_TEXT_MAX, "%s:%u", address, endpoint.port);
        return text;
    }
    endpoint_name(endpoint, AF_INET6, &name);
    inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)&name)->sin6_addr, address, sizeof address);
    snprintf(text, ENDPOINT_TEXT_MAX, "[%s]:%u", address, endpoint.port);
    return text;
}
