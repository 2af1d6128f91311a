/*
 * The address of a node: what recvfrom reports and sendto takes, in host byte order. Everything in this
 * program names peers by it; only main.c and node.c turn it into a sockaddr.
 */
#ifndef GOSSIP_ENDPOINT_H
#define GOSSIP_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>

struct endpoint {
    uint32_t address;
    uint16_t port;
};

static inline bool endpoint_equal(struct endpoint a, struct endpoint b) {
    return a.address == b.address && a.port == b.port;
}

#endif
