/* Capture files: classic pcap with nanoseconds, raw IP packets of both versions, times of the emulated calendar.
 *
 * The simulated network leaves checksums 0; they are computed here, so that tools do not call every packet damaged.
 */
#include "engine.h"
#include "hot/kernel/net.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_SIZE 65536u
#define PACKET_LIMIT (IP6_HEADER + 65535u)

struct pcap {
    FILE *file;
    uint32_t capture_size;
    uint8_t packet[PACKET_LIMIT];
    char buffer[BUFFER_SIZE];
};

/* Little-endian on every machine, like the machines that this runs on. */
struct pcap_header {
    uint32_t magic;
    uint16_t major, minor;
    uint32_t zone, accuracy, capture_size, link_type;
};
struct pcap_record {
    uint32_t seconds, nanoseconds, captured, length;
};

struct pcap *pcap_open(const char *path, uint32_t capture_size) {
    struct pcap *pcap = malloc(sizeof *pcap);
    if (!pcap)
        return NULL;
    pcap->capture_size = capture_size;
    pcap->file = fopen(path, "wbe");
    const struct pcap_header header = {0xa1b23c4d, 2, 4, 0, 0, capture_size, 101 /* LINKTYPE_RAW */};
    if (!pcap->file || setvbuf(pcap->file, pcap->buffer, _IOFBF, BUFFER_SIZE) ||
        fwrite(&header, sizeof header, 1, pcap->file) != 1) {
        int error = errno;
        if (pcap->file)
            fclose(pcap->file);
        free(pcap);
        errno = error;
        return NULL;
    }
    return pcap;
}

/* RFC 1071. */
static uint32_t sum(const uint8_t *bytes, uint32_t length, uint32_t start) {
    uint32_t total = start;
    for (; length > 1; length -= 2, bytes += 2)
        total += (uint32_t)((bytes[0] << 8) | bytes[1]);
    return length ? total + (uint32_t)(bytes[0] << 8) : total;
}

static uint16_t folded(uint32_t total) {
    while (total >> 16)
        total = (total & 0xffff) + (total >> 16);
    return (uint16_t)~total;
}

/* `pseudo_header`: sum over addresses, protocol and length (RFC 9293, 3.1; RFC 8200, 8.1). */
static void fill_transport(uint8_t protocol, uint8_t *transport, uint32_t rest, uint32_t pseudo_header) {
    if (protocol == PROTOCOL_UDP && rest >= UDP_HEADER) {
        put16(transport + 6, 0);
        uint16_t checksum = folded(sum(transport, rest, pseudo_header));
        put16(transport + 6, checksum ? checksum : 0xffff); /* RFC 768: 0 would say "none" */
    } else if (protocol == PROTOCOL_TCP && rest >= TCP_HEADER) {
        put16(transport + 16, 0);
        put16(transport + 16, folded(sum(transport, rest, pseudo_header)));
    } else if ((protocol == PROTOCOL_ICMP || protocol == PROTOCOL_ICMPV6) && rest >= 4) {
        put16(transport + 2, 0);
        put16(transport + 2, folded(sum(transport, rest, protocol == PROTOCOL_ICMP ? 0 : pseudo_header)));
    }
}

static void fill_checksums(uint8_t *packet, uint32_t length) {
    bool v6 = length && packet[0] >> 4 == 6;
    uint32_t header = v6 ? IP6_HEADER : IP_HEADER;
    if (length < header)
        return;
    uint32_t rest = length - header;
    uint8_t protocol = packet[v6 ? 6 : 9];
    uint32_t pseudo_header = sum(packet + (v6 ? 8 : 12), v6 ? 32 : 8, protocol + rest);
    if (!v6) {
        put16(packet + 10, 0);
        put16(packet + 10, folded(sum(packet, IP_HEADER, 0)));
    }
    fill_transport(protocol, packet + header, rest, pseudo_header);
}

int pcap_write(struct pcap *pcap, int64_t time, const uint8_t *packet, uint32_t length) {
    uint32_t kept = KMIN(length, PACKET_LIMIT), captured = KMIN(kept, pcap->capture_size);
    memcpy(pcap->packet, packet, kept);
    fill_checksums(pcap->packet, kept);
    const struct pcap_record record = {(uint32_t)(EPOCH_SECONDS + time / NS_PER_S), (uint32_t)(time % NS_PER_S),
                                       captured, length};
    if (fwrite(&record, sizeof record, 1, pcap->file) != 1 || fwrite(pcap->packet, 1, captured, pcap->file) != captured)
        return -errno;
    return 0;
}

int pcap_close(struct pcap *pcap) {
    int result = fclose(pcap->file) ? -errno : 0;
    free(pcap);
    return result;
}
