/* Capture files: classic pcap with nanoseconds, raw IP packets of both versions, times of the emulated calendar.
 *
 * The simulated network leaves checksums 0; they are computed here, so that tools do not call every packet damaged.
 */
#include "engine.h"
#include "hot/kernel/checksum.h"
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

int pcap_write(struct pcap *pcap, int64_t time, const uint8_t *packet, uint32_t length) {
    uint32_t kept = KMIN(length, PACKET_LIMIT), captured = KMIN(kept, pcap->capture_size);
    memcpy(pcap->packet, packet, kept);
    checksum_fill(pcap->packet, kept);
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
