/* Raw sockets (raw(7), RFC 3542 for IPv6): packets of one protocol, without ports, as ping, traceroute and routing
 * daemons use them. They hear all packets of their protocol beside whoever else does.
 * Called by inet.c (as a family's attempts), inet_options.c and ip.c (raw_input); calls ip.c for output.
 *
 * A packet that a program builds with its header is sent where the call says, and on a link where that header says. The
 * sum over an IPv4 header is filled in for those who see one: on the simulated wire it is 0.
 */
#include "raw.h"
#include "checksum.h"
#include "credentials.h"
#include <linux/capability.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/poll.h>

#define PACKET_MAX 65535u       /* of IPv6 without its header */
#define OWN_HEADER_PROTOCOL 255 /* IPPROTO_RAW: for sending packets with their headers only */
#define ICMP6_CHECKSUM 2
/* From <linux/icmp.h> and <linux/icmpv6.h>, which include libc's <sys/socket.h>. */
#define ICMP_FILTER 1
#define ICMPV6_FILTER 1

struct raw {
    struct list node; /* in net->raw_sockets */
    struct socket *socket;
    bool header_included; /* IP_HDRINCL, IPV6_HDRINCL */
    int32_t checksum;     /* IPV6_CHECKSUM: where it goes, -1: nowhere */
    uint32_t filter;      /* ICMP_FILTER: a bit for each type that is not heard */
    uint32_t filter6[8];  /* ICMPV6_FILTER: the same */
};

static struct raw *raw_of(const struct socket *socket) { return socket->family_data; }

/* ---- Checksums: RFC 8200 section 8.1 ---- */

static uint32_t pseudo_header(const struct packet *packet, uint32_t length) {
    return checksum_add(length + packet->data[6], packet->data + 8, 32);
}

void icmp_put_checksum(struct packet *packet) {
    uint8_t *icmp = packet->data + packet->transport;
    uint32_t length = packet->length - packet->transport;
    put16(icmp + ICMP6_CHECKSUM, 0);
    put16(icmp + ICMP6_CHECKSUM,
          checksum_fold(checksum_add(packet_is_v6(packet) ? pseudo_header(packet, length) : 0, icmp, length)));
}

/* ---- Life ---- */

int raw_create(struct task *task, struct socket *socket) {
    struct host *host = socket->host;
    if (!credentials_capable(task, CAP_NET_RAW))
        return -EPERM;
    struct raw *raw = kalloc(host, sizeof *raw);
    if (!raw)
        return -ENOBUFS;
    raw->socket = socket;
    raw->header_included = socket->protocol == OWN_HEADER_PROTOCOL;
    raw->checksum = socket->family == AF_INET6 && socket->protocol == PROTOCOL_ICMPV6 ? ICMP6_CHECKSUM : -1;
    socket->family_data = raw;
    socket->local_port = (uint16_t)socket->protocol; /* as Linux shows it */
    list_push_back(&host->net->raw_sockets, &raw->node);
    return 0;
}

void raw_close(struct socket *socket) {
    struct raw *raw = raw_of(socket);
    if (raw) {
        list_remove(&raw->node);
        kfree(socket->host, raw);
        socket->family_data = NULL;
    }
    socket_free(socket);
}

int raw_bind(struct socket *socket, struct ip_address address) {
    bool v6 = socket->family == AF_INET6;
    if (socket->state != SOCKET_UNCONNECTED)
        return -EINVAL;
    if (v6 && ip_is_v4(address) && !ip_is_any(address))
        return -EADDRNOTAVAIL;
    bool many = ip_is_multicast(address) || (ip_is_v4(address) && ip_v4(address) == UINT32_MAX);
    if (!ip_is_any(address) && !many && !inet_is_local(socket->host, address) && !socket->free_bind)
        return -EADDRNOTAVAIL;
    socket->local_address = socket->bound_address = address;
    return 0;
}

int raw_connect(struct socket *socket, struct ip_address address, uint16_t port) {
    address = inet_destination(socket, address);
    /* An IPv4 address that an earlier connect gave an AF_INET6 socket stays, and has no way to others. */
    bool mapped = socket->family == AF_INET6 && ip_is_v4(socket->local_address);
    int error = inet_route(socket, 0, mapped ? socket->local_address : socket->bound_address, address);
    if (error)
        return error;
    socket->local_address =
        ip_is_any(socket->bound_address) ? inet_source_address(socket->host, address) : socket->bound_address;
    socket->remote_address = address;
    socket->remote_port = port;
    socket->state = SOCKET_CONNECTED;
    return 0;
}

/* As in Linux, it hears nothing from then on, and is bound to nothing. */
void raw_disconnect(struct socket *socket) {
    list_remove(&raw_of(socket)->node);
    socket->local_address = socket->remote_address = socket->bound_address =
        socket->family == AF_INET6 ? IP6_ANY : IP4_ANY;
    socket->local_port = socket->remote_port = 0;
    socket->state = SOCKET_UNCONNECTED;
}

/* ---- Sending ---- */

static bool has_type(const struct socket *socket) {
    return socket->protocol == (socket->family == AF_INET ? PROTOCOL_ICMP : PROTOCOL_ICMPV6);
}

/* The header that the program wrote, with what Linux fills in (raw(7)): nothing of IPv6. 0 or -EINVAL. */
static int complete_header(struct socket *socket, struct packet *packet, struct ip_address source) {
    uint8_t *p = packet->data;
    if (socket->family == AF_INET6) {
        packet->transport = IP6_HEADER;
        return packet->length < IP6_HEADER ? -EINVAL : 0;
    }
    if (packet->length < IP_HEADER || p[0] != 0x45) /* no options here, see ip.c */
        return -EINVAL;
    put16(p + 2, (uint16_t)packet->length);
    if (!get16(p + 4))
        put16(p + 4, socket->host->net->ip_id++);
    put16(p + 10, 0);
    if (!get32(p + 12))
        put32(p + 12, ip_v4(source));
    packet->transport = IP_HEADER;
    return 0;
}

/* Whether anybody takes an IPv6 packet with the header that the program wrote; cuts off what is behind its end. */
static bool is_whole6(struct packet *packet) {
    uint32_t total = IP6_HEADER + get16(packet->data + 4);
    if (packet->data[0] >> 4 != 6 || total > packet->length)
        return false;
    packet->length = total;
    return true;
}

static int put_checksum(const struct socket *socket, struct packet *packet) {
    const struct raw *raw = raw_of(socket);
    if (raw->checksum < 0)
        return 0;
    uint32_t length = packet->length - packet->transport, place = (uint32_t)raw->checksum;
    uint8_t *transport = packet->data + packet->transport;
    if (place + 2 > length)
        return -EINVAL;
    put16(transport + place, 0);
    put16(transport + place, checksum_fold(checksum_add(pseudo_header(packet, length), transport, length)));
    return 0;
}

/* `length`: of what is sent. */
static int choose_destination(const struct socket *socket, const struct udp_message *to, size_t length,
                              struct ip_address *address) {
    bool v6 = socket->family == AF_INET6;
    if (to->has_address) {
        bool any = socket->protocol == OWN_HEADER_PROTOCOL && to->port <= UINT8_MAX;
        if (v6 && to->port && to->port != socket->protocol && !any)
            return -EINVAL;
        *address = inet_destination(socket, to->address);
    } else {
        if (socket->state != SOCKET_CONNECTED)
            return -EDESTADDRREQ;
        *address = socket->remote_address;
    }
    if (!raw_of(socket)->header_included && has_type(socket) && length < 2)
        return -EFAULT; /* Linux looks at type and code before it does anything else */
    if (v6 && ip_is_v4(*address) && to->has_address)
        return -ENETUNREACH;
    if (!v6 && ip_v4(*address) == UINT32_MAX && !socket->broadcast)
        return -EACCES;
    return inet_route(socket, to->asked[v6].interface, socket->local_address, *address);
}

static void transmit(struct socket *socket, struct packet *packet, struct ip_address destination,
                     const struct packet_options *options) {
    packet->owner = socket;
    packet->charge = packet_charge(packet->length);
    packet->for_host = inet_is_local(socket->host, destination);
    ip_transmit(socket->host, packet, inet_way(socket, options->interface, destination));
}

/* A packet with the header that the program wrote. */
static int64_t send_built(struct socket *socket, struct uio *from, const struct udp_message *to,
                          struct ip_address destination) {
    struct host *host = socket->host;
    uint32_t length = (uint32_t)from->remaining;
    if (length > inet_mtu(host, destination))
        return -EMSGSIZE;
    if (socket->write_shutdown)
        return -EPIPE;
    struct packet *packet = packet_create(host, length);
    if (!packet)
        return -ENOBUFS;
    int error = uio_copy_in(from, packet->data, length) ? -EFAULT : 0;
    if (!error)
        error = complete_header(socket, packet, datagram_source(socket, to, destination));
    if (!error && socket->family == AF_INET6 && !is_whole6(packet)) {
        host->counters.packets_malformed++;
        packet_free(host, packet);
        return length;
    }
    if (error) {
        packet_free(host, packet);
        return error;
    }
    timestamping_begin(socket, packet, to->stamping);
    transmit(socket, packet, destination, datagram_asked(to, destination));
    return length;
}

static int transmit_pending(struct socket *socket) {
    struct packet *packet = datagram_take(socket);
    struct ip_address destination = packet_destination(packet);
    uint8_t protocol = packet->data[packet_is_v6(packet) ? 6 : 9];
    ip_header(socket->host, packet, protocol, packet_source(packet), destination, socket);
    ip_header_options(packet, &socket->pending_options);
    int error = put_checksum(socket, packet);
    if (error)
        packet_free(socket->host, packet);
    else
        transmit(socket, packet, destination, &socket->pending_options);
    return error;
}

/* A piece of a packet, or all of it. */
static int64_t send_data(struct socket *socket, struct uio *from, int flags, const struct udp_message *to,
                         struct ip_address destination) {
    uint32_t length = (uint32_t)from->remaining;
    int error = 0;
    if (!socket->pending) {
        bool named = socket->family == AF_INET6 && to->has_address && to->port;
        error = datagram_begin(socket, to, destination, ip_header_length(destination), length);
        if (error)
            return error;
        socket->pending->data[ip_is_v4(destination) ? 9 : 6] = (uint8_t)(named ? to->port : socket->protocol);
    } else if (ip_is_v4(destination)) {
        /* As in Linux, the last piece says where all of it goes; of IPv6 the first. */
        datagram_name(socket->pending, datagram_source(socket, to, destination), destination);
    }
    error = datagram_add(socket, from, PACKET_MAX + (ip_is_v4(destination) ? 0 : IP6_HEADER), 0);
    if (!error && !(flags & MSG_MORE))
        error = transmit_pending(socket);
    return error ? error : (int64_t)length;
}

/* To an IPv4 address that an AF_INET6 socket is connected to: Linux sends it as it is, in a packet of IPv6, which no
 * host takes. */
static int64_t send_mapped(struct socket *socket, uint64_t length, struct ip_address destination) {
    bool built = raw_of(socket)->header_included;
    if (length > (built ? inet_mtu(socket->host, destination) : PACKET_MAX - IP_HEADER))
        return -EMSGSIZE;
    if (built && socket->write_shutdown)
        return -EPIPE;
    socket->host->counters.packets_malformed++;
    return built && length < IP6_HEADER ? -EINVAL : (int64_t)length;
}

int64_t raw_send(struct socket *socket, struct uio *from, int flags, const struct udp_message *to) {
    struct ip_address address;
    if (from->remaining > PACKET_MAX + (socket->family == AF_INET6 ? IP6_HEADER : 0))
        return -EMSGSIZE;
    if (flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (socket->error)
        return socket_take_error(socket);
    int error = choose_destination(socket, to, from->remaining, &address);
    if (error)
        return error;
    if (socket->family == AF_INET6 && ip_is_v4(address))
        return send_mapped(socket, from->remaining, address);
    if (socket->queued_bytes >= socket->send_buffer)
        return -EAGAIN;
    return raw_of(socket)->header_included ? send_built(socket, from, to, address)
                                           : send_data(socket, from, flags, to, address);
}

/* ---- Receiving ---- */

/* IPv4 packets come with their header, those of IPv6 without. */
uint32_t raw_data_begins(const struct packet *packet) { return packet_is_v6(packet) ? packet->transport : 0; }

static bool hears(const struct raw *raw, const struct packet *packet, uint8_t protocol) {
    const struct socket *socket = raw->socket;
    bool v6 = packet_is_v6(packet);
    struct ip_address source = packet_source(packet), destination = packet_destination(packet);
    if (socket->family != (v6 ? AF_INET6 : AF_INET) || socket->protocol != protocol)
        return false;
    if ((!ip_is_any(socket->local_address) && !ip_equal(socket->local_address, destination)) ||
        (!ip_is_any(socket->remote_address) && !ip_equal(socket->remote_address, source)) ||
        (socket->bound_interface && socket->bound_interface != inet_interface(socket->host, source)))
        return false;
    uint8_t type = packet->length > packet->transport ? packet->data[packet->transport] : 0;
    if (protocol == PROTOCOL_ICMP)
        return type >= 32 || !(raw->filter >> type & 1);
    return protocol != PROTOCOL_ICMPV6 || !(raw->filter6[type >> 5] >> (type & 31) & 1);
}

static void give(struct socket *socket, const struct packet *packet) {
    struct host *host = socket->host;
    struct packet *copy = NULL;
    uint32_t begin = raw_data_begins(packet), kept = socket_filtered(socket, packet, begin);
    if (!kept && socket->filter)
        return;
    if (socket->receive_used <= socket->receive_buffer)
        copy = packet_create(host, begin + kept);
    if (!copy) {
        host->counters.packets_dropped_buffer++;
        socket->drops++;
        return;
    }
    copy->transport = packet->transport;
    memcpy(copy->data, packet->data, copy->length);
    if (!packet_is_v6(packet) && copy->length >= IP_HEADER)
        put16(copy->data + 10, checksum_fold(checksum_add(0, copy->data, IP_HEADER)));
    copy->charge = packet_charge(copy->length);
    socket->receive_used += copy->charge;
    copy->drops = (uint32_t)socket->drops;
    packet_queue_push(&socket->receive, copy);
    socket_wake(socket, POLLIN | POLLRDNORM);
}

bool raw_input(struct host *host, const struct packet *packet) {
    uint8_t protocol = packet->data[packet_is_v6(packet) ? 6 : 9];
    bool heard = false;
    list_for_each(node, &host->net->raw_sockets) {
        const struct raw *raw = list_entry(node, struct raw, node);
        if (hears(raw, packet, protocol)) {
            give(raw->socket, packet);
            heard = true;
        }
    }
    return heard;
}

/* ---- Options ---- */

static bool is_header_option(const struct socket *socket, int level, int name) {
    if (socket->family == AF_INET)
        return level == IPPROTO_IP && name == IP_HDRINCL;
    return (level == IPPROTO_IPV6 || level == SOL_RAW) && name == IPV6_HDRINCL;
}

int raw_set_option(struct socket *socket, int level, int name, const void *value, uint32_t length) {
    struct raw *raw = raw_of(socket);
    int32_t number = 0;
    memcpy(&number, value, KMIN(length, sizeof number));
    if (is_header_option(socket, level, name)) {
        if (length < (level == IPPROTO_IP ? 1 : sizeof number))
            return -EINVAL;
        raw->header_included = number != 0;
        return 0;
    }
    if (level == SOL_RAW && name == ICMP_FILTER && socket->family == AF_INET) {
        if (socket->protocol != PROTOCOL_ICMP)
            return -EOPNOTSUPP;
        memcpy(&raw->filter, value, KMIN(length, sizeof raw->filter));
        return 0;
    }
    if (level == SOL_ICMPV6 && name == ICMPV6_FILTER && socket->family == AF_INET6) {
        if (socket->protocol != PROTOCOL_ICMPV6)
            return -EOPNOTSUPP;
        memcpy(raw->filter6, value, KMIN(length, sizeof raw->filter6));
        return 0;
    }
    if ((level == IPPROTO_IPV6 || level == SOL_RAW) && name == IPV6_CHECKSUM && socket->family == AF_INET6) {
        if (length < sizeof number)
            return -EINVAL;
        /* RFC 3542 section 3.1; Linux has another way for those who insist. */
        if (socket->protocol == PROTOCOL_ICMPV6 && level == IPPROTO_IPV6)
            return -EINVAL;
        if (number > 0 && number & 1)
            return -EINVAL;
        raw->checksum = number < 0 ? -1 : number;
        return 0;
    }
    return -ENOPROTOOPT;
}

int raw_get_option(const struct socket *socket, int level, int name, void *value, uint32_t *length) {
    const struct raw *raw = raw_of(socket);
    int32_t number;
    const void *from = &number;
    uint32_t size = sizeof number;
    if (is_header_option(socket, level, name)) {
        number = raw->header_included;
    } else if (level == SOL_RAW && name == ICMP_FILTER && socket->family == AF_INET) {
        if (socket->protocol != PROTOCOL_ICMP)
            return -EOPNOTSUPP;
        from = &raw->filter;
    } else if (level == SOL_ICMPV6 && name == ICMPV6_FILTER && socket->family == AF_INET6) {
        if (socket->protocol != PROTOCOL_ICMPV6)
            return -EOPNOTSUPP;
        from = raw->filter6;
        size = sizeof raw->filter6;
    } else if ((level == IPPROTO_IPV6 || level == SOL_RAW) && name == IPV6_CHECKSUM && socket->family == AF_INET6) {
        number = raw->checksum;
    } else {
        return -ENOPROTOOPT;
    }
    *length = KMIN(*length, size);
    memcpy(value, from, *length);
    return 0;
}
