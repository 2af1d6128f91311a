/* UDP (RFC 768): sending, receiving, and what arrives.
 * Called by inet.c (input, and the socket's file operations); calls inet.c for names, ports and output.
 *
 * A datagram above the MTU travels as one packet: there are no fragments between simulated hosts.
 */
#include "socket.h"
#include <linux/in.h>
#include <linux/poll.h>

#define UDP_DATA_MAX (65535u - IP_HEADER - UDP_HEADER)
#define HEADERS (IP_HEADER + UDP_HEADER)

uint32_t udp_data_length(const struct packet *packet) { return packet->length - HEADERS; }

/* Where a datagram goes, checked; the socket is bound afterwards. */
static int choose_destination(struct socket *socket, const struct udp_message *to, uint32_t *address, uint16_t *port) {
    if (to->has_address) {
        if (!to->port)
            return -EINVAL;
        *address = to->address ? to->address : LOOPBACK_ADDRESS;
        *port = to->port;
    } else {
        if (socket->state != SOCKET_CONNECTED)
            return -EDESTADDRREQ;
        *address = socket->remote_address;
        *port = socket->remote_port;
    }
    if (*address == UINT32_MAX && !socket->broadcast)
        return -EACCES;
    if (to->has_local_address && to->local_address && !inet_is_local(socket->host, to->local_address))
        return -EINVAL;
    int error = inet_route(socket, to->has_local_address ? to->local_address : socket->local_address, *address);
    return error ? error : inet_autobind(socket);
}

static uint32_t choose_source(const struct socket *socket, const struct udp_message *to, uint32_t destination) {
    if (to->has_local_address && to->local_address)
        return to->local_address;
    return socket->local_address ? socket->local_address : inet_source_address(socket->host, destination);
}

static void transmit(struct socket *socket, struct packet *packet, uint32_t source, uint32_t destination,
                     uint16_t port) {
    uint8_t *udp = packet->data + IP_HEADER;
    put16(udp, socket->local_port);
    put16(udp + 2, port);
    put16(udp + 4, (uint16_t)(packet->length - IP_HEADER));
    put16(udp + 6, 0);
    ip_header(socket->host, packet, PROTOCOL_UDP, source, destination, socket);
    packet->owner = socket;
    packet->charge = packet_charge(packet->length);
    ip_output(socket->host, packet);
}

/* The datagram that MSG_MORE began: its names are in its headers already. */
static void transmit_pending(struct socket *socket) {
    struct packet *packet = socket->pending;
    socket->pending = NULL;
    uint32_t source = get32(packet->data + 12), destination = get32(packet->data + 16);
    transmit(socket, packet, source, destination, get16(packet->data + IP_HEADER + 2));
}

static int64_t gather(struct socket *socket, struct uio *from, const struct udp_message *to) {
    struct host *host = socket->host;
    struct packet *packet = socket->pending;
    uint32_t used = packet ? packet->length : HEADERS;
    if (from->remaining > UDP_DATA_MAX + HEADERS - used)
        return -EMSGSIZE;
    uint32_t needed = used + (uint32_t)from->remaining, added = needed - used;
    if (!packet || needed > socket->pending_capacity) {
        uint32_t capacity = KMIN(needed * 2, UDP_DATA_MAX + HEADERS);
        struct packet *larger = packet_create(host, capacity);
        if (!larger)
            return -ENOBUFS;
        if (packet) {
            memcpy(larger->data, packet->data, used);
            packet_free(host, packet);
        } else {
            uint32_t address;
            uint16_t port;
            int error = choose_destination(socket, to, &address, &port);
            if (error) {
                packet_free(host, larger);
                return error;
            }
            put32(larger->data + 12, choose_source(socket, to, address));
            put32(larger->data + 16, address);
            put16(larger->data + IP_HEADER + 2, port);
        }
        larger->length = used;
        socket->pending = packet = larger;
        socket->pending_capacity = capacity;
    }
    if (uio_copy_in(from, packet->data + used, added))
        return -EFAULT;
    packet->length = needed;
    return added;
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
    if (from->remaining > UDP_DATA_MAX)
        return -EMSGSIZE;
    if (flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (socket->error) {
        int error = socket->error;
        socket->error = 0;
        return -error;
    }
    if (socket->write_shutdown)
        return -EPIPE;
    bool more = (flags & MSG_MORE) || socket->pending_cork;
    if (more || socket->pending) {
        int64_t gathered = gather(socket, from, to);
        if (gathered >= 0 && !more)
            transmit_pending(socket);
        return gathered;
    }
    uint32_t address;
    uint16_t port;
    int error = choose_destination(socket, to, &address, &port);
    if (error)
        return error;
    if (socket->queued_bytes >= socket->send_buffer)
        return -EAGAIN;
    uint32_t length = (uint32_t)from->remaining;
    uint32_t mtu = inet_is_local(host, address) ? LOOPBACK_MTU : MTU;
    if (length + HEADERS > mtu && socket->mtu_discover >= IP_PMTUDISC_DO && socket->mtu_discover <= IP_PMTUDISC_PROBE)
        return -EMSGSIZE;
    struct packet *packet = packet_create(host, HEADERS + length);
    if (!packet)
        return -ENOBUFS;
    if (uio_copy_in(from, packet->data + HEADERS, length)) {
        packet_free(host, packet);
        return -EFAULT;
    }
    transmit(socket, packet, choose_source(socket, to, address), address, port);
    return length;
}

int64_t udp_receive(struct task *task, struct socket *socket, struct uio *to, int flags, struct udp_message *from) {
    (void)task;
    struct host *host = socket->host;
    if (socket->error) {
        int error = socket->error;
        socket->error = 0;
        return -error;
    }
    struct packet *packet = socket->receive.head;
    if (!packet)
        return socket->read_shutdown && !socket_nonblocking(socket, flags) ? 0 : -EAGAIN;
    uint32_t length = udp_data_length(packet);
    uint32_t copied = (uint32_t)KMIN((uint64_t)length, (uint64_t)to->remaining);
    from->has_address = true;
    from->address = get32(packet->data + 12);
    from->port = get16(packet->data + IP_HEADER);
    from->local_address = get32(packet->data + 16);
    from->ttl = packet->data[8];
    from->tos = packet->data[1];
    from->time = packet->time;
    from->full_length = length;
    int error = uio_copy_out(to, packet->data + HEADERS, copied);
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
    uint8_t *udp = packet->data + IP_HEADER;
    uint32_t claimed = packet->length >= HEADERS ? get16(udp + 4) : 0;
    if (claimed < UDP_HEADER || claimed > packet->length - IP_HEADER) {
        host->counters.packets_malformed++;
        packet_free(host, packet);
        return;
    }
    packet->length = IP_HEADER + claimed; /* the rest is padding */
    uint32_t source = get32(packet->data + 12), destination = get32(packet->data + 16);
    struct socket *socket = inet_find_datagram(host, destination, get16(udp + 2), source, get16(udp));
    uint32_t interface = inet_is_local(host, source) ? INTERFACE_LO : INTERFACE_ETH;
    if (!socket || (socket->bound_interface && socket->bound_interface != interface)) {
        host->counters.packets_dropped_no_socket++;
        icmp_port_unreachable(host, packet);
        packet_free(host, packet);
        return;
    }
    if (socket->receive_used > socket->receive_buffer) { /* Linux: one datagram may overshoot */
        host->counters.packets_dropped_buffer++;
        socket->drops++;
        packet_free(host, packet);
        return;
    }
    packet->charge = packet_charge(packet->length);
    socket->receive_used += packet->charge;
    packet_queue_push(&socket->receive, packet);
    socket_wake(socket, POLLIN | POLLRDNORM);
}

uint32_t udp_poll(const struct socket *socket) {
    uint32_t events = 0;
    if (socket->error)
        events |= POLLERR;
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
