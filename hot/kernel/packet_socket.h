/* AF_PACKET sockets, for socket.c, mm.c, link.c and ip.c, and what packet_socket.c and packet_ring.c share. */
#ifndef ANTUMBRA_KERNEL_PACKET_SOCKET_H
#define ANTUMBRA_KERNEL_PACKET_SOCKET_H

#include "socket.h"
#include <linux/if_packet.h>

#define SOL_PACKET 263
#define ETHERNET_HEADER 14u
#define ETHERTYPE_ALL 0x0003 /* ETH_P_ALL */
#define ETHERTYPE_IP 0x0800
#define ETHERTYPE_ARP 0x0806
#define ETHERTYPE_IP6 0x86dd

/* A frame on its way into packet sockets. */
struct frame {
    const uint8_t *bytes; /* from the Ethernet header on */
    uint32_t length;
    uint16_t protocol;
    uint32_t interface;
    uint8_t kind; /* PACKET_HOST, PACKET_OUTGOING */
};

struct packet_ring {
    uint8_t *memory; /* page-aligned, size bytes; NULL: no ring */
    void *allocation;
    uint64_t size;
    uint32_t block_size, frame_size, frames_per_block, frame_count;
    uint32_t head;     /* the frame to be written next */
    uint32_t mappings; /* of its memory, by programs */
};

struct packet_socket {
    struct list node; /* in net->packet_sockets */
    struct socket *socket;
    uint16_t protocol;  /* that it hears; 0: none */
    uint32_t interface; /* 0: all */
    bool auxiliary_data, original_device, ignore_outgoing, loss, bypass;
    int32_t version; /* TPACKET_V1 or TPACKET_V2 */
    uint32_t reserve;
    int32_t timestamp, copy_threshold;
    uint32_t packets, drops; /* since they were last asked for; packets without the drops */
    struct packet_ring ring;
    struct packet_group *group; /* NULL: it hears alone */
};

static inline struct packet_socket *packet_socket_of(const struct socket *socket) { return socket->family_data; }

/* 0, -EPERM without CAP_NET_RAW, -ENOBUFS. */
__attribute__((warn_unused_result)) int packet_socket_create(struct task *task, struct socket *socket);
void packet_socket_close(struct socket *socket); /* frees it */
int packet_socket_bind(struct socket *socket, const uint8_t *name, uint32_t length);
uint32_t packet_socket_name(const struct socket *socket, uint8_t *name);
int64_t packet_socket_send(struct socket *socket, struct uio *from, int flags, const struct socket_message *message);
int64_t packet_socket_receive(struct socket *socket, struct uio *to, int flags, struct socket_message *message);
int packet_socket_set_option(struct socket *socket, int name, const void *value, uint32_t length);
int packet_socket_get_option(struct socket *socket, int name, void *value, uint32_t *length);

/* Shows an IP packet that passes an interface to the packet sockets that hear it. `kind`: PACKET_HOST of those that
 * come, PACKET_OUTGOING of those that go, which their sender (packet->owner) does not hear. The packet stays. */
void packet_socket_tap(struct host *host, const struct packet *packet, uint32_t interface, uint8_t kind);

/* The packet as a frame of an interface, its checksums filled in: the caller's to free. NULL: no memory. */
uint8_t *packet_frame(struct host *host, const struct packet *packet, uint32_t interface, uint8_t kind,
                      uint32_t *length);

/* ---- packet_group.c ---- */
int packet_group_join(struct packet_socket *own, const void *value, uint32_t length); /* PACKET_FANOUT */
void packet_group_leave(struct packet_socket *own);
uint32_t packet_group_setting(const struct packet_socket *own);
bool packet_group_ignores_outgoing(const struct packet_group *group);
struct packet_socket *packet_group_choose(struct packet_group *group, const struct frame *frame);
bool packet_group_speaks(const struct packet_socket *own);

/* ---- packet_ring.c ---- */
int packet_ring_set(struct socket *socket, const void *value, uint32_t length); /* PACKET_RX_RING */
int packet_ring_header_length(int32_t version);                                 /* PACKET_HDRLEN; -EINVAL */
void packet_ring_free(struct host *host, struct packet_ring *ring);
bool packet_ring_has_room(const struct packet_socket *own);
/* Whether a frame of the ring is too short for so much. */
bool packet_ring_cuts(const struct packet_socket *own, uint32_t length);
/* Writes a frame whose first `length` bytes passed the filter; there is room. `copied`: it waits as a whole, too. */
void packet_ring_write(struct socket *socket, const struct frame *frame, uint32_t length,
                       const struct sockaddr_ll *name, bool copied);
bool packet_ring_readable(const struct packet_socket *own);
/* Maps it: the address or -errno. */
int64_t packet_ring_map(struct task *task, struct file *file, uint64_t address, uint64_t length, uint64_t protection,
                        uint64_t flags, uint64_t offset);
/* mm.c's: one mapping more or less. */
void packet_ring_mapped(struct file *file, int32_t change);

#endif
