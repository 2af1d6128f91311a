/* Addresses of both families in one type: 128 bits, an IPv4 address in its IPv4-mapped form ::ffff:a.b.c.d (RFC 4291,
 * 2.5.5.2). Tables and comparisons need not know the family, and a dual-stack socket has the names that it shows.
 */
#ifndef ANTUMBRA_KERNEL_IP_H
#define ANTUMBRA_KERNEL_IP_H

#include <stdbool.h>
#include <stdint.h>

struct ip_address {
    uint64_t high, low; /* in the machine's order */
};

#define IP4_PREFIX (UINT64_C(0xffff) << 32)
#define IP4_ANY ((struct ip_address){0, IP4_PREFIX})
#define IP6_ANY ((struct ip_address){0, 0})
#define IP6_LOOPBACK ((struct ip_address){0, 1})

static inline struct ip_address ip4_address(uint32_t address) { return (struct ip_address){0, IP4_PREFIX | address}; }
static inline bool ip_is_v4(struct ip_address a) { return a.high == 0 && a.low >> 32 == 0xffff; }
static inline uint32_t ip_v4(struct ip_address a) { return (uint32_t)a.low; }
static inline bool ip_equal(struct ip_address a, struct ip_address b) { return a.low == b.low && a.high == b.high; }
static inline bool ip_is_any(struct ip_address a) { return a.high == 0 && (a.low == 0 || a.low == IP4_PREFIX); }
static inline bool ip_is_loopback(struct ip_address a) {
    return ip_is_v4(a) ? ip_v4(a) >> 24 == 127 : a.high == 0 && a.low == 1;
}
static inline bool ip_is_multicast(struct ip_address a) {
    return ip_is_v4(a) ? ip_v4(a) >> 28 == 0xe : a.high >> 56 == 0xff;
}
/* fe80::/10; IPv4's 169.254/16 has no scope that programs would have to name. */
static inline bool ip_is_link_local(struct ip_address a) { return a.high >> 54 == 0x3fa; }
/* An address that means something only together with an interface: link-local, unicast or multicast (RFC 4007). */
static inline bool ip_needs_scope(struct ip_address a) {
    return ip_is_link_local(a) || (a.high >> 56 == 0xff && (a.high >> 48 & 0xf) <= 2);
}

static inline uint64_t ip_get64(const uint8_t *p) {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | p[i];
    return value;
}
static inline void ip_put64(uint8_t *p, uint64_t value) {
    for (int i = 7; i >= 0; i--, value >>= 8)
        p[i] = (uint8_t)value;
}
/* 16 bytes as on the wire. */
static inline struct ip_address ip_get(const uint8_t *p) { return (struct ip_address){ip_get64(p), ip_get64(p + 8)}; }
static inline void ip_put(uint8_t *p, struct ip_address a) {
    ip_put64(p, a.high);
    ip_put64(p + 8, a.low);
}

#endif
