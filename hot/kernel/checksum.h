/* Internet checksums (RFC 1071), for those who see them: the simulated network leaves them 0. See checksum.c. */
#ifndef ANTUMBRA_KERNEL_CHECKSUM_H
#define ANTUMBRA_KERNEL_CHECKSUM_H

#include <stdint.h>

/* The sum of 16-bit words, after `before`; an odd last byte counts as if a 0 followed. */
uint32_t checksum_add(uint32_t before, const uint8_t *bytes, uint32_t length);
/* What goes into the header. */
uint16_t checksum_fold(uint32_t total);
/* Writes the checksums of a whole IP packet of either version: of IPv4's header, and of UDP, TCP and ICMP. */
void checksum_fill(uint8_t *packet, uint32_t length);

#endif
