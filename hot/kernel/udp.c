/* UDP (RFC 768): sending, receiving, and what arrives.
 * Called by inet.c (input, and the socket's file operations); calls inet.c for names, ports and output.
 *
 * A datagram above the MTU travels as one packet: there are no fragments between simulated hosts.
 */
#include "dns.h"
#include "raw.h"

#include <linux/in.h>
#include <linux/poll.h>

/* Most data of a datagram: IPv4's length counts its header, IPv6's does not. */
#define UDP_DATA_MAX (65535u - IP_HEADER - UDP_HEADER)
#define UDP_DATA_MAX6 (65535u - UDP_HEADER)

uint32_t udp_data_length(const struct packet *packet) { return packet->length - packet->transport - UDP_HEADER; }

uint32_t datagram_begins(const struct socket *socket, const struct packet *packet) {
    return socket->type == SOCK_RAW ? raw_data_begins(packet) : packet->transport + UDP_HEADER;
}

static uint32_t headers_to(struct ip_address destination) { return ip_header_length(destination) + UDP_HEADER; }

static uint32_t data_max(struct ip_address destination) { return ip_is_v4(destination) ? UDP_DATA_MAX : UDP_DATA_MAX6; }

/* Where a datagram goes, checked; the socket is bound afterwards. */
static int choose_destination(struct socket *socket, const struct udp_message *to, struct ip_address *address,
                              uint16_t *port) {
    if (to->has_address) {
        if (!to->port)
            return -EINVAL;
        *address = inet_destination(socket, to->address);
        *port = to->port;
    } else {
        if (socket->state != SOCKET_CONNECTED)
            return -EDESTADDRREQ;
        *address = socket->remote_address;
        *port = socket->remote_port;
    }
    if (ip_is_v4(*address) && ip_v4(*address) == UINT32_MAX && !socket->broadcast)
        return -EACCES;
    bool chosen = to->has_local_address && !ip_is_any(to->local_address);
    uint32_t interface = datagram_asked(to, *address)->interface;
    int error = inet_route(socket, interface, chosen ? to->local_address : socket->local_address, *address);
    if (!error && chosen && !inet_is_local(socket->host, to->local_address))
        error = ip_is_v4(*address) ? -ENETUNREACH : -EINVAL;
    return error ? error : inet_autobind(socket);
}

static void transmit(struct socket *socket, struct packet *packet, struct ip_address source,
                     struct ip_address destination, uint16_t port, const struct packet_options *options) {
    uint32_t header = ip_header_length(destination);
    uint8_t *udp = packet->data + header;
    put16(udp, socket->local_port);
    put16(udp + 2, port);
    put16(udp + 4, (uint16_t)(packet->length - header));
    put16(udp + 6, 0);
    ip_header(socket->host, packet, PROTOCOL_UDP, source, destination, socket);
    ip_header_options(packet, options);
    packet->owner = socket;
    packet->charge = packet_charge(packet->length);
    ip_transmit(socket->host, packet, inet_way(socket, options->interface, destination));
}

/* The datagram that MSG_MORE began: its names are in its headers already. */
static void transmit_pending(struct socket *socket) {
    struct packet *packet = datagram_take(socket);
    transmit(socket, packet, packet_source(packet), packet_destination(packet),
             get16(packet->data + packet->transport + 2), &socket->pending_options);
}

static int64_t gather(struct socket *socket, struct uio *from, const struct udp_message *to) {
    uint32_t length = (uint32_t)from->remaining;
    int error = 0;
    if (!socket->pending) {
        struct ip_address address;
        uint16_t port;
        error = choose_destination(socket, to, &address, &port);
        if (!error)
            error = datagram_begin(socket, to, address, headers_to(address), length);
        if (error)
            return error;
        put16(socket->pending->data + socket->pending->transport + 2, port);
    }
    const struct packet *packet = socket->pending;
    struct ip_address destination = packet_destination(packet);
    error = datagram_add(socket, from, data_max(destination) + headers_to(destination),
                         get16(packet->data + packet->transport + 2));
    return error ? error : (int64_t)length;
}

int udp_cork(struct task *task, struct socket *socket, bool cork) {
    (void)task;
    socket->pending_cork = cork;
    if (!cork && socket->pending)
        transmit_pending(socket);
    return 0;
}

int64_t udp_send(struct task *task, struct socket *socket, struct uio *from, int flags, const struct udp_message *to) {
    (void)task;
    struct host *host = socket->host;
    if (from->remaining > UINT16_MAX)
        return -EMSGSIZE;
    if (flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (socket->error)
        return socket_take_error(socket);
    if (socket->write_shutdown)
        return -EPIPE;
    bool more = (flags & MSG_MORE) || socket->pending_cork;
    if (more || socket->pending) {
        int64_t gathered = gather(socket, from, to);
        if (gathered >= 0 && !more)
            transmit_pending(socket);
        return gathered;
    }
    struct ip_address address;
    uint16_t port;
    int error = choose_destination(socket, to, &address, &port);
    if (error)
        return error;
    if (from->remaining > data_max(address))
        return datagram_too_long(socket, address, port);
    if (socket->queued_bytes >= socket->send_buffer)
        return -EAGAIN;
    uint32_t length = (uint32_t)from->remaining, headers = headers_to(address);
    if (length + headers > inet_mtu(host, address) && datagram_must_fit(socket, datagram_asked(to, address), address))
        return datagram_too_long(socket, address, port);
    struct packet *packet = packet_create(host, headers + length);
    if (!packet)
        return -ENOBUFS;
    if (uio_copy_in(from, packet->data + headers, length)) {
        packet_free(host, packet);
        return -EFAULT;
    }
    timestamping_begin(socket, packet, to->stamping);
    transmit(socket, packet, datagram_source(socket, to, address), address, port, datagram_asked(to, address));
    return length;
}

int64_t udp_receive(struct task *task, struct socket *socket, struct uio *to, int flags, struct udp_message *from) {
    (void)task;
    struct host *host = socket->host;
    if (socket->error)
        return socket_take_error(socket);
    struct packet *packet = socket->receive.head;
    if (!packet)
        return socket->read_shutdown && !socket_nonblocking(socket, flags) ? 0 : -EAGAIN;
    uint32_t begin = datagram_begins(socket, packet);
    uint32_t length = packet->length - begin;
    uint32_t copied = (uint32_t)KMIN((uint64_t)length, (uint64_t)to->remaining);
    from->has_address = true;
    from->address = packet_source(packet);
    from->port = socket->type == SOCK_RAW ? 0 : get16(packet->data + packet->transport);
    from->local_address = packet_destination(packet);
    from->interface = inet_interface(host, from->address);
    bool v6 = packet_is_v6(packet);
    from->ttl = packet->data[v6 ? 7 : 8];
    from->tos = v6 ? (uint8_t)(get16(packet->data) >> 4) : packet->data[1];
    from->time = packet->time;
    from->drops = packet->drops;
    from->full_length = length;
    int error = uio_copy_out(to, packet->data + begin, copied);
    if (!(flags & MSG_PEEK)) {
        /* As in Linux, a datagram that could not be copied out is gone. */
        socket->receive_used -= packet->charge;
        packet_free(host, packet_queue_pop(&socket->receive));
    }
    if (error)
        return error;
    return (flags & MSG_TRUNC) ? length : copied;
}

void udp_input(struct host *host, struct packet *packet) {
    uint32_t header = packet->transport;
    uint8_t *udp = packet->data + header;
    uint32_t claimed = packet->length >= header + UDP_HEADER ? get16(udp + 4) : 0;
    if (claimed < UDP_HEADER || claimed > packet->length - header) {
        host->counters.packets_malformed++;
        packet_free(host, packet);
        return;
    }
    packet->length = header + claimed; /* the rest is padding */
    struct ip_address source = packet_source(packet), destination = packet_destination(packet);
    struct socket *socket = inet_find_datagram(host, destination, get16(udp + 2), source, get16(udp));
    if (!socket && dns_input(host, packet)) {
        packet_free(host, packet);
        return;
    }
    if (!socket || (socket->bound_interface && socket->bound_interface != inet_interface(host, source))) {
        host->counters.packets_dropped_no_socket++;
        icmp_port_unreachable(host, packet);
        packet_free(host, packet);
        return;
    }
    if (socket->filter) {
        uint32_t kept = socket_filtered(socket, packet, header);
        if (!kept) {
            host->counters.packets_dropped_no_socket++;
            packet_free(host, packet);
            return;
        }
        packet->length = header + KMAX(kept, UDP_HEADER);
    }
    if (socket->receive_used > socket->receive_buffer) { /* Linux: one datagram may overshoot */
        host->counters.packets_dropped_buffer++;
        socket->drops++;
        packet_free(host, packet);
        return;
    }
    packet->charge = packet_charge(packet->length);
    packet->drops = (uint32_t)socket->drops;
    socket->receive_used += packet->charge;
    packet_queue_push(&socket->receive, packet);
    socket_wake(socket, POLLIN | POLLRDNORM);
}

uint32_t udp_poll(const struct socket *socket) {
    uint32_t events = 0;
    if (socket->error || socket->errors)
        events |= POLLERR | (socket->hints.errors_urgent ? POLLPRI : 0);
    if (socket->read_shutdown)
        events |= POLLRDHUP | POLLIN | POLLRDNORM;
    if (socket->read_shutdown && socket->write_shutdown)
        events |= POLLHUP;
    if (socket->receive.head)
        events |= POLLIN | POLLRDNORM;
    if (socket->queued_bytes < socket->send_buffer / 2)
        events |= POLLOUT | POLLWRNORM | POLLWRBAND;
    return events;
}

void udp_close(struct socket *socket) { socket_free(socket); }
