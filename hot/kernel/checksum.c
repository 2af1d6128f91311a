/* Internet checksums (RFC 1071). Called by raw.c and packet_socket.c, whose programs look at headers, and by the engine
 * for capture files, so that tools do not call every packet damaged.
 */
#include "checksum.h"
#include "net.h"

uint32_t checksum_add(uint32_t before, const uint8_t *bytes, uint32_t length) {
    for (; length > 1; bytes += 2, length -= 2)
        before += get16(bytes);
    return length ? before + (uint32_t)(bytes[0] << 8) : before;
}

uint16_t checksum_fold(uint32_t total) {
    while (total >> 16)
        total = (total & 0xffff) + (total >> 16);
    return (uint16_t)~total;
}

/* `pseudo_header`: sum over addresses, protocol and length (RFC 9293, 3.1; RFC 8200, 8.1). */
static void fill_transport(uint8_t protocol, uint8_t *transport, uint32_t rest, uint32_t pseudo_header) {
    if (protocol == PROTOCOL_UDP && rest >= UDP_HEADER) {
        put16(transport + 6, 0);
        uint16_t checksum = checksum_fold(checksum_add(pseudo_header, transport, rest));
        put16(transport + 6, checksum ? checksum : 0xffff); /* RFC 768: 0 would say "none" */
    } else if (protocol == PROTOCOL_TCP && rest >= TCP_HEADER) {
        put16(transport + 16, 0);
        put16(transport + 16, checksum_fold(checksum_add(pseudo_header, transport, rest)));
    } else if ((protocol == PROTOCOL_ICMP || protocol == PROTOCOL_ICMPV6) && rest >= 4) {
        put16(transport + 2, 0);
        put16(transport + 2,
              checksum_fold(checksum_add(protocol == PROTOCOL_ICMP ? 0 : pseudo_header, transport, rest)));
    }
}

void checksum_fill(uint8_t *packet, uint32_t length) {
    bool v6 = length && packet[0] >> 4 == 6;
    uint32_t header = v6 ? IP6_HEADER : IP_HEADER;
    if (length < header)
        return;
    uint32_t rest = length - header;
    uint8_t protocol = packet[v6 ? 6 : 9];
    uint32_t pseudo_header = checksum_add(protocol + rest, packet + (v6 ? 8 : 12), v6 ? 32 : 8);
    if (!v6) {
        put16(packet + 10, 0);
        put16(packet + 10, checksum_fold(checksum_add(0, packet, IP_HEADER)));
    }
    fill_transport(protocol, packet + header, rest, pseudo_header);
}
