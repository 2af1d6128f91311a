/* AF_PACKET sockets (packet(7)): frames of an interface as they pass it, for tcpdump and its kin, and frames to send.
 * Called by socket.c (system calls), link.c and ip.c (packet_socket_tap); calls filter.c, packet_group.c,
 * packet_ring.c, and ip.c for output.
 *
 * The simulated wire carries IP packets. Their Ethernet headers exist here alone: eth0 leads to a router whose address
 * is always the same, which every frame goes to and comes from; on lo all addresses are 0. Frames are seen where
 * capture files see them, behind the uplink's and the downlink's relays, and their checksums are filled in.
 */
#include "packet_socket.h"
#include "checksum.h"
#include "credentials.h"
#include "filter.h"
#include "link.h"
#include "raw.h"
#include <linux/capability.h>
#include <linux/poll.h>

#define HARDWARE_LENGTH 6u
#define HARDWARE_ETHER 1u /* ARPHRD_* */
#define HARDWARE_LOOPBACK 772u
#define ARP_LENGTH 28u
/* RFC 4861, 4.3, 4.4, 4.6.1 */
#define NEIGHBOUR_SOLICITATION 135
#define NEIGHBOUR_ADVERTISEMENT 136
#define SOLICITATION_LENGTH 24u
#define ADVERTISEMENT_LENGTH 32u
#define ADVERTISEMENT_SOLICITED 0x40
#define TARGET_LINK_ADDRESS 2
#define ICMP6_HOPS 255
#define NAME_HEADER ((uint32_t)offsetof(struct sockaddr_ll, sll_addr))
#define MEMBERSHIP_MIN ((uint32_t)sizeof(struct packet_mreq))

/* What a frame in a receive queue starts with. */
struct note {
    uint32_t interface, original_length;
    uint16_t protocol; /* of the frame */
    uint8_t kind, padding;
};

static uint16_t hardware_type(uint32_t interface) {
    return interface == INTERFACE_LO ? HARDWARE_LOOPBACK : HARDWARE_ETHER;
}

/* ---- Life ---- */

int packet_socket_create(struct task *task, struct socket *socket) {
    struct host *host = socket->host;
    if (!credentials_capable(task, CAP_NET_RAW))
        return -EPERM;
    struct packet_socket *own = kalloc(host, sizeof *own);
    if (!own)
        return -ENOBUFS;
    uint16_t protocol = (uint16_t)socket->protocol; /* in network order */
    own->socket = socket;
    socket->protocol = 0; /* as SO_PROTOCOL shows it */
    own->protocol = (uint16_t)(protocol << 8 | protocol >> 8);
    socket->family_data = own;
    list_push_back(&host->net->packet_sockets, &own->node);
    return 0;
}

void packet_socket_close(struct socket *socket) {
    struct packet_socket *own = packet_socket_of(socket);
    if (own) {
        packet_group_leave(own);
        list_remove(&own->node);
        packet_ring_free(socket->host, &own->ring);
        kfree(socket->host, own);
        socket->family_data = NULL;
    }
    socket_free(socket);
}

int packet_socket_bind(struct socket *socket, const uint8_t *name, uint32_t length) {
    struct packet_socket *own = packet_socket_of(socket);
    struct sockaddr_ll wanted;
    if (length < sizeof wanted)
        return -EINVAL;
    memcpy(&wanted, name, sizeof wanted);
    if (wanted.sll_family != AF_PACKET)
        return -EINVAL;
    if (own->group)
        return -EINVAL;
    if (wanted.sll_ifindex && !interface_name((uint32_t)wanted.sll_ifindex))
        return -ENODEV;
    own->interface = (uint32_t)wanted.sll_ifindex;
    if (wanted.sll_protocol)
        own->protocol = get16((const uint8_t *)&wanted.sll_protocol);
    return 0;
}

static void put_name(struct host *host, struct sockaddr_ll *name, uint16_t protocol, uint32_t interface) {
    memset(name, 0, sizeof *name);
    name->sll_family = AF_PACKET;
    put16((uint8_t *)&name->sll_protocol, protocol);
    name->sll_ifindex = (int)interface;
    if (!interface)
        return;
    name->sll_hatype = hardware_type(interface);
    name->sll_halen = HARDWARE_LENGTH;
    interface_hardware_address(host, interface, name->sll_addr);
}

uint32_t packet_socket_name(const struct socket *socket, uint8_t *name) {
    const struct packet_socket *own = packet_socket_of(socket);
    struct sockaddr_ll bound;
    put_name(socket->host, &bound, own->protocol, own->interface);
    memcpy(name, &bound, sizeof bound);
    return NAME_HEADER + bound.sll_halen;
}

/* ---- Receiving ---- */

/* Whether the sender is the socket itself, or of its group. */
static bool is_own(const struct packet_socket *own, const struct socket *sender) {
    if (!own->group || !sender || sender->family != AF_PACKET || sender->dead)
        return own->socket == sender;
    return own->group == packet_socket_of(sender)->group;
}

static bool hears(const struct packet_socket *own, const struct frame *frame, const struct socket *sender) {
    if (is_own(own, sender) || (own->interface && own->interface != frame->interface))
        return false;
    bool ignores = own->group ? packet_group_ignores_outgoing(own->group) : own->ignore_outgoing;
    if (own->protocol == ETHERTYPE_ALL)
        return frame->kind != PACKET_OUTGOING || !ignores;
    /* Linux shows what goes out to those alone who hear everything. */
    return own->protocol == frame->protocol && frame->kind != PACKET_OUTGOING;
}

static uint32_t filtered(const struct packet_socket *own, const struct frame *frame, uint32_t begin) {
    const struct socket *socket = own->socket;
    const struct filter_input input = {.bytes = frame->bytes,
                                       .length = frame->length,
                                       .begin = begin,
                                       .network = ETHERNET_HEADER,
                                       .has_link = true,
                                       .protocol = frame->protocol,
                                       .hardware_type = hardware_type(frame->interface),
                                       .kind = frame->kind,
                                       .interface = frame->interface};
    uint32_t whole = frame->length - begin;
    return socket->filter ? KMIN(filter_run(socket->host, socket->filter, &input), whole) : whole;
}

static bool enqueue(struct socket *socket, const struct note *note, const uint8_t *bytes, uint32_t kept) {
    struct host *host = socket->host;
    if (socket->receive_used >= socket->receive_buffer)
        return false;
    struct packet *packet = packet_create(host, (uint32_t)sizeof *note + kept);
    if (!packet)
        return false;
    memcpy(packet->data, note, sizeof *note);
    memcpy(packet->data + sizeof *note, bytes, kept);
    packet->charge = packet_charge(kept);
    socket->receive_used += packet->charge;
    packet_queue_push(&socket->receive, packet);
    return true;
}

/* What a program is told of a frame: where it came from. */
static void put_sender(struct host *host, struct sockaddr_ll *name, uint16_t protocol, uint32_t interface,
                       uint8_t kind) {
    put_name(host, name, protocol, interface);
    name->sll_pkttype = kind;
    if (kind != PACKET_OUTGOING && interface)
        interface_router_address(interface, name->sll_addr);
}

/* What the ring's frame cuts waits as a whole, if the program wants that (PACKET_COPY_THRESH); as in Linux, that copy
 * does not tell where it is from. */
static bool give_by_ring(struct packet_socket *own, const struct frame *frame, uint32_t begin, uint32_t kept) {
    struct socket *socket = own->socket;
    if (!packet_ring_has_room(own))
        return false;
    const struct note note = {.protocol = frame->protocol};
    bool copied = own->copy_threshold && packet_ring_cuts(own, kept) &&
                  enqueue(socket, &note, frame->bytes + begin, frame->length - begin);
    struct sockaddr_ll name;
    put_sender(socket->host, &name, frame->protocol, frame->interface, frame->kind);
    packet_ring_write(socket, frame, kept, &name, copied);
    return true;
}

static bool give_by_queue(struct packet_socket *own, const struct frame *frame, uint32_t begin, uint32_t kept) {
    const struct note note = {.interface = frame->interface,
                              .original_length = frame->length - begin,
                              .protocol = frame->protocol,
                              .kind = frame->kind};
    return enqueue(own->socket, &note, frame->bytes + begin, kept);
}

static void give(struct packet_socket *own, const struct frame *frame) {
    struct socket *socket = own->socket;
    uint32_t begin = socket->type == SOCK_RAW ? 0 : ETHERNET_HEADER, kept = filtered(own, frame, begin);
    if (!kept)
        return;
    bool taken = own->ring.memory ? give_by_ring(own, frame, begin, kept) : give_by_queue(own, frame, begin, kept);
    if (!taken) {
        own->drops++;
        socket->drops++;
        return;
    }
    own->packets++;
    socket_wake(socket, POLLIN | POLLRDNORM);
}

/* The Ethernet header that a packet has on an interface. */
static void put_link_header(const struct host *host, uint8_t *header, const struct frame *frame) {
    uint8_t own[HARDWARE_LENGTH], router[HARDWARE_LENGTH];
    bool out = frame->kind == PACKET_OUTGOING;
    interface_hardware_address(host, frame->interface, own);
    interface_router_address(frame->interface, router);
    memcpy(header, out ? router : own, HARDWARE_LENGTH);
    memcpy(header + HARDWARE_LENGTH, out ? own : router, HARDWARE_LENGTH);
    put16(header + 2 * HARDWARE_LENGTH, frame->protocol);
}

static bool anybody_hears(const struct host *host, const struct frame *frame, const struct socket *sender) {
    list_for_each(node, &host->net->packet_sockets) {
        if (hears(list_entry(node, struct packet_socket, node), frame, sender))
            return true;
    }
    return false;
}

static void show(struct host *host, const struct frame *frame, const struct socket *sender) {
    list_for_each(node, &host->net->packet_sockets) {
        struct packet_socket *own = list_entry(node, struct packet_socket, node);
        if (own->group && !packet_group_speaks(own))
            continue;
        if (hears(own, frame, sender))
            give(own->group ? packet_group_choose(own->group, frame) : own, frame);
    }
}

static struct frame frame_of(const struct packet *packet, uint32_t interface, uint8_t kind) {
    return (struct frame){.length = ETHERNET_HEADER + packet->length,
                          .protocol = packet_is_v6(packet) ? ETHERTYPE_IP6 : ETHERTYPE_IP,
                          .interface = interface,
                          .kind = kind};
}

uint8_t *packet_frame(struct host *host, const struct packet *packet, uint32_t interface, uint8_t kind,
                      uint32_t *length) {
    struct frame frame = frame_of(packet, interface, kind);
    uint8_t *bytes = kalloc_raw(host, frame.length);
    if (!bytes)
        return NULL;
    put_link_header(host, bytes, &frame);
    memcpy(bytes + ETHERNET_HEADER, packet->data, packet->length);
    checksum_fill(bytes + ETHERNET_HEADER, packet->length);
    *length = frame.length;
    return bytes;
}

void packet_socket_tap(struct host *host, const struct packet *packet, uint32_t interface, uint8_t kind) {
    if (list_empty(&host->net->packet_sockets))
        return;
    struct frame frame = frame_of(packet, interface, kind);
    if (!anybody_hears(host, &frame, packet->owner))
        return;
    uint8_t *bytes = packet_frame(host, packet, interface, kind, &frame.length);
    if (!bytes) {
        platform_warn(host, NULL, "packet sockets miss a packet of %u bytes: the host has no memory", packet->length);
        return;
    }
    frame.bytes = bytes;
    show(host, &frame, packet->owner);
    kfree(host, bytes);
}

/* ARP (RFC 826) of Ethernet and IPv4. The router answers for everybody but the host itself (RFC 1027), at once: it is
 * how a program learns where its frames go. Natively the kernel asks for itself; here it need not. */
static void ask_router(const struct socket *socket, const uint8_t *request, uint32_t length) {
    static const uint8_t fixed[] = {0, 1, 0x08, 0, 6, 4, 0, 1}; /* Ethernet, IPv4, their lengths, a request */
    struct host *host = socket->host;
    uint8_t bytes[ETHERNET_HEADER + ARP_LENGTH];
    struct frame frame = {.bytes = bytes,
                          .length = sizeof bytes,
                          .protocol = ETHERTYPE_ARP,
                          .interface = INTERFACE_ETH,
                          .kind = PACKET_OUTGOING};
    if (length < ARP_LENGTH)
        return;
    uint8_t *answer = bytes + ETHERNET_HEADER;
    memcpy(answer, request, ARP_LENGTH);
    put_link_header(host, bytes, &frame);
    memset(bytes, 0xff, HARDWARE_LENGTH);
    show(host, &frame, socket);
    uint32_t wanted = get32(request + 24);
    if (memcmp(request, fixed, sizeof fixed) || wanted == host->address)
        return;
    answer[7] = 2; /* a reply: from the router, for the address that was asked for */
    interface_router_address(INTERFACE_ETH, answer + 8);
    put32(answer + 14, wanted);
    memcpy(answer + 18, request + 8, HARDWARE_LENGTH + 4);
    frame.kind = PACKET_HOST;
    put_link_header(host, bytes, &frame);
    show(host, &frame, NULL);
}

/* Neighbour discovery (RFC 4861): the router answers for everybody but the host itself (as a proxy, 7.2.8). Natively a
 * host's own questions are the kernel's affair, too. False: it is no question of that sort. */
static bool ask_neighbour(const struct socket *socket, const struct packet *request) {
    struct host *host = socket->host;
    const uint8_t *p = request->data, *icmp = p + IP6_HEADER;
    if (!packet_is_v6(request) || p[6] != PROTOCOL_ICMPV6 || request->length < IP6_HEADER + SOLICITATION_LENGTH ||
        icmp[0] != NEIGHBOUR_SOLICITATION)
        return false;
    packet_socket_tap(host, request, INTERFACE_ETH, PACKET_OUTGOING);
    struct ip_address asker = packet_source(request), wanted = ip_get(icmp + 8);
    if (p[7] != ICMP6_HOPS || ip_is_any(asker) || ip_is_multicast(wanted) || ip_is_link_local(wanted) ||
        inet_is_local(host, wanted))
        return true;
    struct packet *answer = packet_create(host, IP6_HEADER + ADVERTISEMENT_LENGTH);
    if (!answer)
        return true;
    ip_header(host, answer, PROTOCOL_ICMPV6, wanted, asker, NULL);
    answer->data[7] = ICMP6_HOPS;
    uint8_t *out = answer->data + IP6_HEADER;
    memset(out, 0, ADVERTISEMENT_LENGTH);
    out[0] = NEIGHBOUR_ADVERTISEMENT;
    out[4] = ADVERTISEMENT_SOLICITED;
    ip_put(out + 8, wanted);
    out[24] = TARGET_LINK_ADDRESS;
    out[25] = 1; /* eight bytes */
    interface_router_address(INTERFACE_ETH, out + 26);
    icmp_put_checksum(answer);
    packet_socket_tap(host, answer, INTERFACE_ETH, PACKET_HOST);
    packet_free(host, answer);
    return true;
}

int64_t packet_socket_receive(struct socket *socket, struct uio *to, int flags, struct socket_message *message) {
    const struct packet_socket *own = packet_socket_of(socket);
    if (flags & ~(MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC | MSG_ERRQUEUE))
        return -EINVAL;
    struct packet *packet = socket->receive.head;
    if (!packet)
        return -EAGAIN;
    struct note note;
    memcpy(&note, packet->data, sizeof note);
    const uint8_t *data = packet->data + sizeof note;
    uint32_t length = packet->length - (uint32_t)sizeof note, copied = (uint32_t)KMIN((size_t)length, to->remaining);
    uint32_t skipped = socket->type == SOCK_RAW ? 0 : ETHERNET_HEADER;
    struct sockaddr_ll name;
    put_sender(socket->host, &name, note.protocol, note.interface, note.kind);
    memcpy(message->name, &name, sizeof name);
    message->name_length = sizeof name;
    message->has_time = true;
    message->time = packet->time;
    socket->stamp = packet->time;
    if (own->auxiliary_data) {
        const struct tpacket_auxdata about = {.tp_status = TP_STATUS_USER,
                                              .tp_len = note.original_length,
                                              .tp_snaplen = length,
                                              .tp_net = (uint16_t)(ETHERNET_HEADER - skipped)};
        message->auxiliary = about;
        message->has_auxiliary = true;
    }
    if (copied < length)
        message->out_flags |= MSG_TRUNC;
    int error = uio_copy_out(to, data, copied);
    if (!(flags & MSG_PEEK)) {
        socket->receive_used -= packet->charge;
        packet_free(socket->host, packet_queue_pop(&socket->receive));
    }
    if (error)
        return error;
    return flags & MSG_TRUNC ? length : copied;
}

/* ---- Sending ---- */

/* Where a frame goes: as the message says, or as is bound. */
static int choose_way(const struct socket *socket, const struct socket_message *message, uint32_t *interface,
                      uint16_t *protocol) {
    const struct packet_socket *own = packet_socket_of(socket);
    *interface = own->interface;
    *protocol = own->protocol;
    if (message->name_length) {
        struct sockaddr_ll name;
        if (message->name_length < sizeof name)
            return -EINVAL;
        memcpy(&name, message->name, sizeof name);
        if (message->name_length < NAME_HEADER + name.sll_halen)
            return -EINVAL;
        *interface = (uint32_t)name.sll_ifindex;
        *protocol = get16((const uint8_t *)&name.sll_protocol);
    }
    return interface_name(*interface) ? 0 : -ENXIO;
}

/* Whether the wire carries it: an IP packet of a version, and of the length that it says. Sets packet->transport. */
static bool is_carried(struct packet *packet, uint16_t protocol) {
    const uint8_t *p = packet->data;
    uint32_t total;
    if (protocol == ETHERTYPE_IP && packet->length >= IP_HEADER && p[0] == 0x45) {
        total = get16(p + 2);
        packet->transport = IP_HEADER;
    } else if (protocol == ETHERTYPE_IP6 && packet->length >= IP6_HEADER && p[0] >> 4 == 6) {
        total = IP6_HEADER + get16(p + 4);
        packet->transport = IP6_HEADER;
    } else {
        return false;
    }
    if (total < packet->transport || total > packet->length)
        return false;
    packet->length = total; /* the rest fills the frame up */
    return true;
}

int64_t packet_socket_send(struct socket *socket, struct uio *from, int flags, const struct socket_message *message) {
    struct host *host = socket->host;
    uint32_t interface, header = socket->type == SOCK_RAW ? ETHERNET_HEADER : 0;
    uint16_t protocol;
    (void)flags;
    if (socket->error)
        return socket_take_error(socket);
    int error = choose_way(socket, message, &interface, &protocol);
    if (error)
        return error;
    if (from->remaining > (interface == INTERFACE_LO ? LOOPBACK_MTU : MTU) + header)
        return -EMSGSIZE;
    if (from->remaining < header)
        return -EINVAL;
    if (socket->queued_bytes >= socket->send_buffer)
        return -EAGAIN;
    uint32_t length = (uint32_t)from->remaining - header;
    uint8_t link[ETHERNET_HEADER];
    struct packet *packet = packet_create(host, length);
    if (!packet)
        return -ENOBUFS;
    if (uio_copy_in(from, link, header) || uio_copy_in(from, packet->data, length)) {
        packet_free(host, packet);
        return -EFAULT;
    }
    if (header)
        protocol = get16(link + 2 * HARDWARE_LENGTH);
    if (!is_carried(packet, protocol)) { /* nobody at the other end of the link understands it */
        if (protocol == ETHERTYPE_ARP && interface == INTERFACE_ETH)
            ask_router(socket, packet->data, length);
        else
            host->counters.packets_malformed++;
        packet_free(host, packet);
        return length + header;
    }
    packet->owner = socket;
    if (interface == INTERFACE_ETH && ask_neighbour(socket, packet)) {
        packet_free(host, packet);
        return length + header;
    }
    packet->charge = packet_charge(packet->length);
    ip_transmit(host, packet, interface);
    return length + header;
}

/* ---- Options ---- */

static int set_membership(const void *value, uint32_t length) {
    struct packet_mreq request;
    if (length < MEMBERSHIP_MIN)
        return -EINVAL;
    memcpy(&request, value, sizeof request);
    if (!interface_name((uint32_t)request.mr_ifindex))
        return -ENODEV;
    /* There is nothing on the link that is not for this host. */
    return request.mr_alen > HARDWARE_LENGTH ? -EINVAL : 0;
}

static int set_number(struct packet_socket *own, int name, int32_t number) {
    switch (name) {
    case PACKET_VERSION:
        if (number != TPACKET_V1 && number != TPACKET_V2)
            return -EINVAL;
        if (own->ring.memory)
            return -EBUSY;
        own->version = number;
        return 0;
    case PACKET_RESERVE:
        if (number < 0)
            return -EINVAL;
        if (own->ring.memory)
            return -EBUSY;
        own->reserve = (uint32_t)number;
        return 0;
    case PACKET_AUXDATA:
        own->auxiliary_data = number != 0;
        return 0;
    case PACKET_ORIGDEV: /* no interface is part of another */
        own->original_device = number != 0;
        return 0;
    case PACKET_IGNORE_OUTGOING:
        if (number < 0 || number > 1)
            return -EINVAL;
        own->ignore_outgoing = number != 0;
        return 0;
    case PACKET_COPY_THRESH:
        own->copy_threshold = number;
        return 0;
    case PACKET_TIMESTAMP: /* there is one clock */
        own->timestamp = number;
        return 0;
    case PACKET_LOSS: /* of sending rings */
        own->loss = number != 0;
        return 0;
    case PACKET_QDISC_BYPASS: /* there is one way to the link */
        own->bypass = number != 0;
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

int packet_socket_set_option(struct socket *socket, int name, const void *value, uint32_t length) {
    int32_t number;
    switch (name) {
    case PACKET_ADD_MEMBERSHIP:
    case PACKET_DROP_MEMBERSHIP:
        return set_membership(value, length);
    case PACKET_FANOUT:
        return packet_group_join(packet_socket_of(socket), value, length);
    case PACKET_FANOUT_DATA: /* no group here is divided by a program */
        return -EINVAL;
    case PACKET_RX_RING:
        return packet_ring_set(socket, value, length);
    case PACKET_VERSION:
    case PACKET_RESERVE:
    case PACKET_COPY_THRESH:
    case PACKET_LOSS:
    case PACKET_TIMESTAMP:
    case PACKET_QDISC_BYPASS:
        if (length != sizeof number)
            return -EINVAL;
        break;
    default:
        if (length < sizeof number)
            return -EINVAL;
    }
    memcpy(&number, value, sizeof number);
    return set_number(packet_socket_of(socket), name, number);
}

static int get_statistics(struct packet_socket *own, void *value, uint32_t *length) {
    const struct tpacket_stats statistics = {.tp_packets = own->packets + own->drops, .tp_drops = own->drops};
    own->packets = own->drops = 0;
    *length = KMIN(*length, (uint32_t)sizeof statistics);
    memcpy(value, &statistics, *length);
    return 0;
}

int packet_socket_get_option(struct socket *socket, int name, void *value, uint32_t *length) {
    struct packet_socket *own = packet_socket_of(socket);
    int32_t number = 0;
    switch (name) {
    case PACKET_STATISTICS:
        return get_statistics(own, value, length);
    case PACKET_FANOUT:
        number = (int32_t)packet_group_setting(own);
        break;
    case PACKET_AUXDATA:
        number = own->auxiliary_data;
        break;
    case PACKET_ORIGDEV:
        number = own->original_device;
        break;
    case PACKET_IGNORE_OUTGOING:
        number = own->ignore_outgoing;
        break;
    case PACKET_VERSION:
        number = own->version;
        break;
    case PACKET_HDRLEN: /* asks about the version in the buffer */
        if (*length < sizeof number)
            return -EINVAL;
        memcpy(&number, value, sizeof number);
        number = packet_ring_header_length(number);
        if (number < 0)
            return number;
        break;
    case PACKET_RESERVE:
        number = (int32_t)own->reserve;
        break;
    case PACKET_COPY_THRESH:
        number = own->copy_threshold;
        break;
    case PACKET_TIMESTAMP:
        number = own->timestamp;
        break;
    case PACKET_LOSS:
        number = own->loss;
        break;
    case PACKET_QDISC_BYPASS:
        number = own->bypass;
        break;
    default:
        return -ENOPROTOOPT;
    }
    *length = KMIN(*length, (uint32_t)sizeof number);
    memcpy(value, &number, *length);
    return 0;
}

/* ---- Files ---- */

static int64_t read_file(struct task *task, struct file *file, struct uio *to, const int64_t *position) {
    (void)task;
    if (position)
        return -ESPIPE;
    struct socket_message message = {.ttl = -1, .tos = -1};
    return packet_socket_receive(file->object, to, 0, &message);
}

static int64_t write_file(struct task *task, struct file *file, struct uio *from, const int64_t *position) {
    (void)task;
    if (position)
        return -ESPIPE;
    const struct socket_message message = {.ttl = -1, .tos = -1};
    return packet_socket_send(file->object, from, 0, &message);
}

static uint32_t poll_file(struct file *file) {
    const struct socket *socket = file->object;
    uint32_t events = udp_poll(socket);
    return packet_ring_readable(packet_socket_of(socket)) ? events | POLLIN | POLLRDNORM : events;
}

static void release_file(struct host *host, struct file *file) {
    (void)host;
    struct socket *socket = file->object;
    socket->file = NULL;
    packet_socket_close(socket);
}

static int64_t ioctl_file(struct task *task, struct file *file, uint32_t command, uint64_t argument) {
    const struct socket *socket = file->object;
    const struct packet *next = socket->receive.head;
    int64_t unread = next ? (int64_t)(next->length - sizeof(struct note)) : 0;
    int64_t result = socket_stamp_ioctl(socket, command, argument);
    return result == -ENOIOCTLCMD ? socket_ioctl(task, file, command, argument, unread, socket->queued_bytes) : result;
}

const struct file_operations packet_operations = {
    .name = "socket",
    .stream = false,
    .read = read_file,
    .write = write_file,
    .poll = poll_file,
    .release = release_file,
    .ioctl = ioctl_file,
};
