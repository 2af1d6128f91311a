/* PACKET_RX_RING (Documentation/networking/packet_mmap.rst): frames in memory that a program has mapped, versions 1 and
 * 2, as libpcap wants one. TPACKET_V3 and PACKET_TX_RING are refused, as by kernels before 3.2 and 2.6.31.
 *
 * The ring is memory of the arena: whoever has the turn writes it, and the program maps that part of the arena's file a
 * second time. A mapping keeps the file open, and so the socket, as in Linux.
 */
#include "internal.h"
#include "mm.h"
#include "packet_socket.h"
#include "shim/layout.h"
#include <asm/mman.h>
#include <linux/mman.h>

#define PAGE UINT64_C(4096)
#define HEADER 32u /* of both versions; the name behind it */
_Static_assert(sizeof(struct tpacket_hdr) == HEADER && sizeof(struct tpacket2_hdr) == HEADER, "as Linux has them");
#define ALIGN_UP(value) (((value) + TPACKET_ALIGNMENT - 1u) & ~(TPACKET_ALIGNMENT - 1u))
#define LINK_HEADER_MIN 16u /* room that Linux leaves for it */

int packet_ring_header_length(int32_t version) {
    switch (version) {
    case TPACKET_V1:
        return (int)sizeof(struct tpacket_hdr);
    case TPACKET_V2:
        return (int)sizeof(struct tpacket2_hdr);
    default:
        return -EINVAL;
    }
}

void packet_ring_free(struct host *host, struct packet_ring *ring) {
    kfree(host, ring->allocation);
    *ring = (struct packet_ring){.mappings = ring->mappings};
}

static int check_request(const struct packet_socket *own, const struct tpacket_req *request) {
    uint32_t least = HEADER + (uint32_t)sizeof(struct sockaddr_ll) + own->reserve;
    if ((int32_t)request->tp_block_size <= 0 || request->tp_block_size % PAGE || request->tp_frame_size < least ||
        request->tp_frame_size % TPACKET_ALIGNMENT || request->tp_frame_size > request->tp_block_size)
        return -EINVAL;
    uint64_t frames = (uint64_t)(request->tp_block_size / request->tp_frame_size) * request->tp_block_nr;
    return frames == request->tp_frame_nr ? 0 : -EINVAL;
}

static int create(struct host *host, const struct tpacket_req *request, struct packet_ring *ring) {
    uint64_t size = (uint64_t)request->tp_block_size * request->tp_block_nr;
    if (size > ARENA_STRIDE)
        return -ENOMEM;
    void *allocation = kalloc(host, size + PAGE);
    if (!allocation)
        return -ENOMEM;
    *ring = (struct packet_ring){.memory = (uint8_t *)(((uintptr_t)allocation + PAGE - 1) & ~(uintptr_t)(PAGE - 1)),
                                 .allocation = allocation,
                                 .size = size,
                                 .block_size = request->tp_block_size,
                                 .frame_size = request->tp_frame_size,
                                 .frames_per_block = request->tp_block_size / request->tp_frame_size,
                                 .frame_count = request->tp_frame_nr};
    return 0;
}

int packet_ring_set(struct socket *socket, const void *value, uint32_t length) {
    struct packet_socket *own = packet_socket_of(socket);
    struct tpacket_req request;
    struct packet_ring ring = {.memory = NULL};
    if (length < sizeof request)
        return -EINVAL;
    memcpy(&request, value, sizeof request);
    if (own->ring.mappings)
        return -EBUSY;
    if (request.tp_block_nr) {
        if (own->ring.memory)
            return -EBUSY;
        int error = check_request(own, &request);
        if (!error)
            error = create(socket->host, &request, &ring);
        if (error)
            return error;
    } else if (request.tp_frame_nr) {
        return -EINVAL;
    }
    packet_ring_free(socket->host, &own->ring);
    own->ring = ring;
    struct packet *packet; /* what came before belongs to the other way of reading */
    while ((packet = packet_queue_pop(&socket->receive)) != NULL) {
        socket->receive_used -= packet->charge;
        packet_free(socket->host, packet);
    }
    return 0;
}

static uint8_t *frame_at(const struct packet_ring *ring, uint32_t index) {
    return ring->memory + (uint64_t)(index / ring->frames_per_block) * ring->block_size +
           (uint64_t)(index % ring->frames_per_block) * ring->frame_size;
}

/* The first field of either header; version 1 has it longer, with zeros behind. */
static uint32_t status_at(const struct packet_ring *ring, uint32_t index) {
    return __atomic_load_n((const uint32_t *)(const void *)frame_at(ring, index), __ATOMIC_ACQUIRE);
}

static void put_header(const struct packet_socket *own, uint8_t *place, const struct tpacket2_hdr *header) {
    if (own->version == TPACKET_V2) {
        memcpy(place + sizeof header->tp_status, (const uint8_t *)header + sizeof header->tp_status,
               sizeof *header - sizeof header->tp_status);
        return;
    }
    const struct tpacket_hdr first = {.tp_len = header->tp_len,
                                      .tp_snaplen = header->tp_snaplen,
                                      .tp_mac = header->tp_mac,
                                      .tp_net = header->tp_net,
                                      .tp_sec = header->tp_sec,
                                      .tp_usec = header->tp_nsec / (uint32_t)NS_PER_US};
    memcpy(place, &first, sizeof first);
}

/* Where a packet's network header is in a frame of the ring, and where what the program is given begins. */
static uint32_t network_place(const struct packet_socket *own) {
    return ALIGN_UP(HEADER + (uint32_t)sizeof(struct sockaddr_ll)) + LINK_HEADER_MIN + own->reserve;
}

static uint32_t data_place(const struct packet_socket *own) {
    return network_place(own) - (own->socket->type == SOCK_RAW ? ETHERNET_HEADER : 0);
}

bool packet_ring_has_room(const struct packet_socket *own) {
    return status_at(&own->ring, own->ring.head) == TP_STATUS_KERNEL;
}

bool packet_ring_cuts(const struct packet_socket *own, uint32_t length) {
    return data_place(own) + length > own->ring.frame_size;
}

void packet_ring_write(struct socket *socket, const struct frame *frame, uint32_t length,
                       const struct sockaddr_ll *name, bool copied) {
    struct packet_socket *own = packet_socket_of(socket);
    struct packet_ring *ring = &own->ring;
    uint8_t *place = frame_at(ring, ring->head);
    uint32_t skipped = socket->type == SOCK_RAW ? 0 : ETHERNET_HEADER;
    uint32_t network = network_place(own), data = data_place(own);
    uint32_t kept = data < ring->frame_size ? KMIN(length, ring->frame_size - data) : 0;
    int64_t real = EPOCH_SECONDS * NS_PER_S + socket->host->now;
    const struct tpacket2_hdr header = {.tp_len = frame->length - skipped,
                                        .tp_snaplen = kept,
                                        .tp_mac = (uint16_t)data,
                                        .tp_net = (uint16_t)network,
                                        .tp_sec = (uint32_t)(real / NS_PER_S),
                                        .tp_nsec = (uint32_t)(real % NS_PER_S)};
    put_header(own, place, &header);
    memcpy(place + HEADER, name, sizeof *name);
    memcpy(place + data, frame->bytes + skipped, kept);
    ring->head = ring->head + 1 < ring->frame_count ? ring->head + 1 : 0;
    uint32_t status = TP_STATUS_USER | (own->drops ? TP_STATUS_LOSING : 0) | (copied ? TP_STATUS_COPY : 0);
    __atomic_store_n((uint32_t *)(void *)place, status, __ATOMIC_RELEASE);
}

/* The frame before the next one to be written is the program's to read. */
bool packet_ring_readable(const struct packet_socket *own) {
    const struct packet_ring *ring = &own->ring;
    uint32_t previous = (ring->head ? ring->head : ring->frame_count) - 1;
    return ring->memory && status_at(ring, previous) != TP_STATUS_KERNEL;
}

void packet_ring_mapped(struct file *file, int32_t change) {
    const struct socket *socket = file->object;
    packet_socket_of(socket)->ring.mappings += (uint32_t)change;
}

int64_t packet_ring_map(struct task *task, struct file *file, uint64_t address, uint64_t length, uint64_t protection,
                        uint64_t flags, uint64_t offset) {
    const struct socket *socket = file->object;
    const struct packet_ring *ring = &packet_socket_of(socket)->ring;
    if (offset || !ring->memory || length != ring->size || (flags & MAP_TYPE) == MAP_PRIVATE)
        return -EINVAL;
    const struct shared_object object = {.identity = task->host->next_mm++,
                                         .file = file,
                                         .fd = SHIM_FD_ARENA,
                                         .file_offset = (uint64_t)(uintptr_t)ring->memory - (uintptr_t)task->host};
    return mm_map_shared(task, address, length, protection, flags & (MAP_FIXED | MAP_FIXED_NOREPLACE), &object);
}
