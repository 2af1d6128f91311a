/* IP packets of one host, both versions: headers, the egress queue, loopback, and what a wire brings.
 * Called by udp.c, tcp_out.c and icmp.c (output), by link.c (net_receive, net_egress_*, net_left) and at the end of
 * every system call (net_run_backlog); calls raw_input, udp_input, tcp_input, icmp_input and packet_socket_tap.
 *
 * A packet above the MTU travels whole: there are no fragments between simulated hosts. IPv6 packets have no extension
 * headers and no flow label.
 */
#include "dns.h"
#include "packet_socket.h"
#include "raw.h"
#include <linux/in.h>
#include <linux/in6.h>

#define DEFAULT_TTL 64
#define DONT_FRAGMENT 0x4000u
#define FRAGMENT_MASK 0x3fffu /* more fragments, and the offset */
/* struct sk_buff, struct skb_shared_info and the headroom of a packet, which Linux charges to a socket's buffer. */
#define SKB_SIZE 256u
#define SKB_SHARED 320u
#define SKB_HEADROOM 64u
#define SKB_LINEAR 16384u /* above this the data sits in whole pages */

/* ---- Packets ---- */

struct packet *packet_create(struct host *host, uint32_t length) {
    struct packet *packet = kalloc_raw(host, sizeof(*packet) + length);
    if (!packet)
        return NULL;
    memset(packet, 0, sizeof(*packet));
    packet->length = length;
    packet->time = host->now;
    return packet;
}

void packet_free(struct host *host, struct packet *packet) {
    struct socket *owner = packet->owner;
    if (owner && packet->queued) {
        owner->queued_bytes -= packet->charge;
        owner->queued_packets--;
        if (owner->dead && !owner->queued_packets)
            kfree(host, owner);
    }
    kfree(host, packet);
}

uint32_t packet_charge(uint32_t length) {
    if (length > SKB_LINEAR)
        return SKB_SIZE + 512 + length;
    uint32_t allocation = 512;
    while (allocation < length + SKB_HEADROOM + SKB_SHARED)
        allocation *= 2;
    return SKB_SIZE + allocation;
}

void packet_queue_push(struct packet_queue *queue, struct packet *packet) {
    packet->next = NULL;
    if (queue->tail)
        queue->tail->next = packet;
    else
        queue->head = packet;
    queue->tail = packet;
    queue->packets++;
    queue->bytes += packet->length;
}

struct packet *packet_queue_pop(struct packet_queue *queue) {
    struct packet *packet = queue->head;
    if (!packet)
        return NULL;
    queue->head = packet->next;
    if (!queue->head)
        queue->tail = NULL;
    queue->packets--;
    queue->bytes -= packet->length;
    packet->next = NULL;
    return packet;
}

/* ---- Addresses ---- */

struct ip_address inet_link_local(const struct host *host) {
    uint8_t hardware[6];
    interface_hardware_address(host, INTERFACE_ETH, hardware);
    uint64_t identifier = (uint64_t)(hardware[0] ^ 2u) << 56 | (uint64_t)hardware[1] << 48 |
                          (uint64_t)hardware[2] << 40 | UINT64_C(0xfffe) << 24 | (uint64_t)hardware[3] << 16 |
                          (uint64_t)hardware[4] << 8 | hardware[5];
    return (struct ip_address){UINT64_C(0xfe80) << 48, identifier};
}

bool inet_is_local(const struct host *host, struct ip_address address) {
    if (ip_is_v4(address))
        return ip_v4(address) == host->address || ip_is_loopback(address);
    return ip_equal(address, host->address6) || ip_is_loopback(address) ||
           (ip_is_link_local(address) && ip_equal(address, inet_link_local(host)));
}

struct ip_address inet_source_address(const struct host *host, struct ip_address destination) {
    if (ip_is_v4(destination))
        return ip_is_loopback(destination) ? IP4_LOOPBACK : ip4_address(host->address);
    if (ip_is_loopback(destination))
        return IP6_LOOPBACK;
    return ip_is_link_local(destination) ? inet_link_local(host) : host->address6;
}

static int route_v4(const struct socket *socket, uint32_t source, uint32_t destination) {
    bool local = inet_is_local(socket->host, ip4_address(destination));
    if (destination == UINT32_MAX || destination >> 28 == 0xe)
        return -ENETUNREACH; /* no broadcast and no multicast between simulated hosts */
    if (destination >> 24 == 0 || destination >> 28 == 0xf)
        return -EINVAL;
    if (!local && source >> 24 == 127)
        return -EINVAL; /* a loopback source never leaves the host */
    return 0;
}

/* The interface that is named for a packet to there; 0: none is. */
static uint32_t named_interface(const struct socket *socket, uint32_t asked, struct ip_address destination) {
    if (asked)
        return asked;
    if (socket->bound_interface || socket->type == SOCK_STREAM)
        return socket->bound_interface;
    return ip_is_v4(destination) ? socket->unicast_interface : socket->v6.unicast_interface;
}

/* On lo, a packet of IPv4 for somebody else is sent, and nobody takes it, as in Linux. */
uint32_t inet_way(const struct socket *socket, uint32_t asked, struct ip_address destination) {
    if (inet_is_local(socket->host, destination))
        return INTERFACE_LO;
    return named_interface(socket, asked, destination) == INTERFACE_LO ? INTERFACE_LO : INTERFACE_ETH;
}

int inet_route(const struct socket *socket, uint32_t asked, struct ip_address source, struct ip_address destination) {
    if (asked && !interface_name(asked))
        return -ENODEV;
    if (ip_is_v4(destination)) {
        if (socket->family == AF_INET6 && (socket->only_v6 || (!ip_is_v4(source) && !ip_is_any(source))))
            return -ENETUNREACH;
        return route_v4(socket, ip_v4(source), ip_v4(destination));
    }
    if (ip_is_v4(source))
        return -EAFNOSUPPORT;
    if (ip_is_multicast(destination))
        return -ENETUNREACH;
    if (inet_is_local(socket->host, destination))
        return 0;
    if (ip_is_link_local(destination))
        return -EHOSTUNREACH; /* hosts have no neighbours on a common link */
    return named_interface(socket, asked, destination) == INTERFACE_LO ? -ENETUNREACH : 0;
}

/* ---- Output ---- */

static void header_v4(struct host *host, struct packet *packet, uint8_t protocol, uint32_t source, uint32_t destination,
                      const struct socket *options) {
    uint8_t *p = packet->data;
    uint32_t mtu = inet_mtu(host, ip4_address(destination));
    bool whole = packet->length <= mtu && (!options || options->mtu_discover != IP_PMTUDISC_DONT);
    p[0] = 0x45;
    p[1] = options ? (uint8_t)options->tos : 0;
    put16(p + 2, (uint16_t)packet->length);
    put16(p + 4, host->net->ip_id++);
    put16(p + 6, whole ? DONT_FRAGMENT : 0);
    p[8] = options ? (uint8_t)options->ttl : DEFAULT_TTL;
    p[9] = protocol;
    put16(p + 10, 0);
    put32(p + 12, source);
    put32(p + 16, destination);
}

/* RFC 8200, 3. */
static void header_v6(struct packet *packet, uint8_t protocol, struct ip_address source, struct ip_address destination,
                      const struct socket *options) {
    uint8_t *p = packet->data;
    uint32_t traffic_class = options ? (uint32_t)options->v6.traffic_class : 0;
    put32(p, UINT32_C(6) << 28 | traffic_class << 20);
    put16(p + 4, (uint16_t)(packet->length - IP6_HEADER));
    p[6] = protocol;
    p[7] = options && options->v6.hop_limit >= 0 ? (uint8_t)options->v6.hop_limit : DEFAULT_TTL;
    ip_put(p + 8, source);
    ip_put(p + 24, destination);
}

void ip_header(struct host *host, struct packet *packet, uint8_t protocol, struct ip_address source,
               struct ip_address destination, const struct socket *options) {
    packet->transport = ip_header_length(destination);
    if (ip_is_v4(destination))
        header_v4(host, packet, protocol, ip_v4(source), ip_v4(destination), options);
    else
        header_v6(packet, protocol, source, destination, options);
}

void ip_header_options(struct packet *packet, const struct packet_options *options) {
    uint8_t *p = packet->data;
    bool v6 = packet_is_v6(packet);
    if (options->has_ttl)
        p[v6 ? 7 : 8] = options->ttl;
    if (options->has_tos && v6)
        put16(p, (uint16_t)(6u << 12 | (uint32_t)options->tos << 4 | (p[1] & 0xfu)));
    else if (options->has_tos)
        p[1] = options->tos;
}

static void wait_for_turn(struct net *net, struct egress_turn *turn, struct packet *packet) {
    if (!turn->waiting.head)
        list_push_back(&net->turns, &turn->node);
    packet_queue_push(&turn->waiting, packet);
}

void ip_transmit(struct host *host, struct packet *packet, uint32_t interface) {
    struct net *net = host->net;
    struct socket *owner = packet->owner;
    packet->time = host->now;
    if (owner) {
        packet->queued = true;
        owner->queued_bytes += packet->charge;
        owner->queued_packets++;
    }
    if (packet->stamps)
        timestamping_scheduled(host, packet, interface);
    if (interface == INTERFACE_LO) {
        packet_socket_tap(host, packet, INTERFACE_LO, PACKET_OUTGOING);
        if (packet->stamps)
            timestamping_left(host, packet, INTERFACE_LO);
        packet_queue_push(&net->backlog, packet);
        return;
    }
    host->counters.packets_sent++;
    host->counters.bytes_sent += packet->length;
    if (host->round_robin)
        wait_for_turn(net, owner ? &owner->egress : &net->nobodys_turn, packet);
    else
        packet_queue_push(&net->egress, packet);
}

void ip_output(struct host *host, struct packet *packet) {
    bool local = inet_is_local(host, packet_destination(packet));
    ip_transmit(host, packet, local ? INTERFACE_LO : INTERFACE_ETH);
}

static struct egress_turn *next_turn(struct net *net) {
    return list_empty(&net->turns) ? NULL : list_entry(net->turns.next, struct egress_turn, node);
}

struct packet *net_egress_peek(struct host *host) {
    const struct egress_turn *turn = next_turn(host->net);
    return turn ? turn->waiting.head : host->net->egress.head;
}

void net_egress_pop(struct host *host) {
    struct net *net = host->net;
    struct egress_turn *turn = next_turn(net);
    (void)packet_queue_pop(turn ? &turn->waiting : &net->egress);
    if (!turn)
        return;
    list_remove(&turn->node);
    if (turn->waiting.head)
        list_push_back(&net->turns, &turn->node);
}

/* The packet is no longer its sender's; the sender may send more. */
void net_left(struct host *host, struct packet *packet) {
    struct socket *owner = packet->owner;
    if (!owner || !packet->queued)
        return;
    packet->owner = NULL;
    packet->queued = false;
    owner->queued_bytes -= packet->charge;
    owner->queued_packets--;
    if (!owner->dead)
        socket_write_space(owner);
    else if (!owner->queued_packets)
        kfree(host, owner);
}

/* ---- Input ---- */

/* A header of a transport protocol, and for TCP its options, fits in `length` bytes. */
static bool transport_fits(uint8_t protocol, const uint8_t *transport, uint32_t length) {
    if (protocol != PROTOCOL_TCP)
        return length >= UDP_HEADER ||
               (protocol != PROTOCOL_UDP && protocol != PROTOCOL_ICMP && protocol != PROTOCOL_ICMPV6);
    if (length < TCP_HEADER)
        return false;
    uint32_t header = (uint32_t)(transport[12] >> 4) * 4;
    return header >= TCP_HEADER && header <= length;
}

/* `sound`: its transport header is whole. Raw sockets take any. */
static void ip_input(struct host *host, struct packet *packet, bool sound) {
    packet->time = host->now;
    bool heard = raw_input(host, packet);
    if (!sound) {
        host->counters.packets_malformed++;
        packet_free(host, packet);
        return;
    }
    switch (packet->data[packet_is_v6(packet) ? 6 : 9]) {
    case PROTOCOL_UDP:
        udp_input(host, packet);
        break;
    case PROTOCOL_TCP:
        tcp_input(host, packet);
        break;
    case PROTOCOL_ICMP:
    case PROTOCOL_ICMPV6:
        icmp_input(host, packet);
        break;
    default:
        if (!heard)
            host->counters.packets_dropped_no_socket++;
        packet_free(host, packet);
    }
}

/* Length of the packet in `bytes`, 0 if it is none that this host would take from a wire. */
static uint32_t check_v4(struct host *host, const uint8_t *bytes, uint32_t length) {
    if (length < IP_HEADER || bytes[0] != 0x45 || bytes[9] == PROTOCOL_ICMPV6)
        return 0;
    uint32_t total = get16(bytes + 2);
    if (total < IP_HEADER || total > length || (get16(bytes + 6) & FRAGMENT_MASK) ||
        !transport_fits(bytes[9], bytes + IP_HEADER, total - IP_HEADER))
        return 0;
    uint32_t source = get32(bytes + 12), destination = get32(bytes + 16);
    /* RFC 1812 section 5.3.7: these never come from another host. */
    if (inet_is_local(host, ip4_address(source)) || source >> 28 >= 0xe || source == 0 || destination >> 24 == 127)
        return 0;
    return total;
}

static uint32_t check_v6(struct host *host, const uint8_t *bytes, uint32_t length) {
    if (length < IP6_HEADER || bytes[6] == PROTOCOL_ICMP)
        return 0;
    uint32_t total = IP6_HEADER + get16(bytes + 4);
    if (total > length || !transport_fits(bytes[6], bytes + IP6_HEADER, total - IP6_HEADER))
        return 0;
    struct ip_address source = ip_get(bytes + 8), destination = ip_get(bytes + 24);
    /* RFC 4291 sections 2.5.2, 2.5.3, 2.7; RFC 4038 section 4.2: IPv4-mapped addresses are never on a wire. */
    if (inet_is_local(host, source) || ip_is_multicast(source) || ip_is_any(source) || ip_is_loopback(source) ||
        ip_is_loopback(destination) || ip_is_v4(source) || ip_is_v4(destination))
        return 0;
    return total;
}

static uint32_t packet_check(struct host *host, const uint8_t *bytes, uint32_t length) {
    return length && bytes[0] >> 4 == 6 ? check_v6(host, bytes, length) : check_v4(host, bytes, length);
}

static bool built_by_program(const struct packet *packet) {
    const struct socket *owner = packet->owner;
    return owner && (owner->type == SOCK_RAW || owner->family == AF_PACKET);
}

/* Whether the host takes a packet that came by lo out of a packet socket: Linux does not believe in an IPv4 source of
 * its own, nor in an IPv4 loopback address, of what it has not routed itself (fib_validate_source). */
static bool is_for(const struct host *host, const struct packet *packet) {
    struct ip_address source = packet_source(packet), destination = packet_destination(packet);
    return inet_is_local(host, destination) &&
           (packet_is_v6(packet) || !(inet_is_local(host, source) || ip_is_loopback(destination)));
}

/* What a program has built itself, and sends to its own host. */
static bool is_sound(const struct packet *packet) {
    bool v6 = packet_is_v6(packet);
    uint8_t protocol = packet->data[v6 ? 6 : 9];
    return protocol != (v6 ? PROTOCOL_ICMP : PROTOCOL_ICMPV6) && (v6 || !(get16(packet->data + 6) & FRAGMENT_MASK)) &&
           transport_fits(protocol, packet->data + packet->transport, packet->length - packet->transport);
}

void net_receive(struct host *host, struct packet *packet) {
    uint32_t total = packet_check(host, packet->data, packet->length);
    if (!total) {
        host->counters.packets_malformed++;
        packet_free(host, packet);
        return;
    }
    host->counters.packets_received++;
    host->counters.bytes_received += total;
    if (!inet_is_local(host, packet_destination(packet))) {
        host->counters.packets_dropped_no_socket++;
        packet_free(host, packet);
        return;
    }
    packet->length = total; /* the rest is padding */
    packet->transport = packet_is_v6(packet) ? IP6_HEADER : IP_HEADER;
    ip_input(host, packet, true);
    net_run_backlog(host);
}

/* The name server answers between two packets, when nothing is being done to its connections. */
static struct packet *next_after_names(struct host *host) {
    dns_serve(host);
    return packet_queue_pop(&host->net->backlog);
}

void net_deliver_backlog(struct host *host) {
    struct net *net = host->net;
    net->in_backlog = true;
    struct packet *packet;
    while ((packet = net->names_due ? next_after_names(host) : packet_queue_pop(&net->backlog))) {
        bool sound = !built_by_program(packet) || is_sound(packet);
        bool framed = packet->owner && packet->owner->family == AF_PACKET;
        bool taken =
            framed ? is_for(host, packet) : packet->for_host || inet_is_local(host, packet_destination(packet));
        net_left(host, packet);
        packet_socket_tap(host, packet, INTERFACE_LO, PACKET_HOST);
        if (taken)
            ip_input(host, packet, sound);
        else
            packet_free(host, packet);
    }
    net->in_backlog = false;
}

int net_create(struct host *host) {
    struct net *net = kalloc(host, sizeof(*net));
    if (!net)
        return -ENOMEM;
    host->net = net;
    list_init(&net->turns);
    icmp_create(net);
    return inet_create(host);
}
