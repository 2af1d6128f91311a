/*
 * The address of a node, in host byte order. Everything in this program names peers by it; only endpoint.c makes socket
 * addresses and text of it. An IPv4 address is in its IPv4-mapped form: ::ffff:a.b.c.d.
 */
#ifndef GOSSIP_ENDPOINT_H
#define GOSSIP_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define ENDPOINT_IPV4 0xffff

struct endpoint {
    uint64_t high;    /* the first 64 bits */
    uint32_t middle;  /* the next 32; ENDPOINT_IPV4 after high 0: an IPv4 address */
    uint32_t address; /* the last 32: what messages and responses know a node by */
    uint16_t port;
};

static inline bool endpoint_equal(struct endpoint a, struct endpoint b) {
    return a.address == b.address && a.port == b.port && a.middle == b.middle && a.high == b.high;
}

static inline bool endpoint_is_ipv4(struct endpoint a) { return a.high == 0 && a.middle == ENDPOINT_IPV4; }

/* A sockaddr_in or sockaddr_in6. */
struct endpoint endpoint_of(const struct sockaddr_storage *name);
/* Its name for a socket of this family, AF_INET or AF_INET6, which may be either for IPv4; the length. */
socklen_t endpoint_name(struct endpoint endpoint, int family, struct sockaddr_storage *name);

#define ENDPOINT_TEXT_MAX 56
/* a.b.c.d:port or [address]:port. */
const char *endpoint_text(struct endpoint endpoint, char text[ENDPOINT_TEXT_MAX]);

#endif
