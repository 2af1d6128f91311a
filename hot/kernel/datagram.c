/* What UDP and raw sockets have in common when they send: where from, what is too long, and what is gathered piece by
 * piece (MSG_MORE, UDP_CORK). Called by udp.c and raw.c, which write the headers when the datagram is whole.
 */
#include "socket.h"
#include <linux/time.h> /* errqueue.h needs it */

#include <linux/errqueue.h>
#include <linux/in.h>

const struct packet_options *datagram_asked(const struct udp_message *to, struct ip_address destination) {
    return &to->asked[!ip_is_v4(destination)];
}

struct ip_address datagram_source(const struct socket *socket, const struct udp_message *to,
                                  struct ip_address destination) {
    if (to->has_local_address && !ip_is_any(to->local_address))
        return to->local_address;
    return ip_is_any(socket->local_address) ? inet_source_address(socket->host, destination) : socket->local_address;
}

bool datagram_must_fit(const struct socket *socket, const struct packet_options *asked, struct ip_address destination) {
    bool v4 = ip_is_v4(destination);
    int mode = v4 ? socket->mtu_discover : socket->v6.mtu_discover;
    return (!v4 && (asked->has_dont_fragment ? asked->dont_fragment : socket->v6.dont_fragment)) ||
           (mode >= IP_PMTUDISC_DO && mode <= IP_PMTUDISC_PROBE);
}

int datagram_too_long(struct socket *socket, struct ip_address destination, uint16_t port) {
    bool v4 = ip_is_v4(destination);
    struct extended_error error = {
        .number = EMSGSIZE, .origin = SO_EE_ORIGIN_LOCAL, .info = inet_mtu(socket->host, destination)};
    if (v4 ? socket->receive_errors : socket->v6.receive_errors)
        error_queue_add(socket, &error, destination, v4 ? socket->remote_port : port, NULL, 0);
    return -EMSGSIZE;
}

/* ---- Pieces ---- */

void datagram_name(struct packet *packet, struct ip_address source, struct ip_address destination) {
    uint8_t *p = packet->data;
    if (packet_is_v6(packet)) {
        ip_put(p + 8, source);
        ip_put(p + 24, destination);
    } else {
        put32(p + 12, ip_v4(source));
        put32(p + 16, ip_v4(destination));
    }
}

int datagram_begin(struct socket *socket, const struct udp_message *to, struct ip_address destination, uint32_t headers,
                   uint32_t length) {
    struct packet *packet = packet_create(socket->host, headers + length);
    if (!packet)
        return -ENOBUFS;
    packet->length = headers;
    packet->transport = ip_header_length(destination);
    packet->data[0] = ip_is_v4(destination) ? 0x45 : 0x60;
    datagram_name(packet, datagram_source(socket, to, destination), destination);
    timestamping_begin(socket, packet, to->stamping);
    socket->pending = packet;
    socket->pending_capacity = headers + length;
    socket->pending_options = *datagram_asked(to, destination);
    return 0;
}

void datagram_drop(struct socket *socket) {
    if (socket->pending)
        packet_free(socket->host, socket->pending);
    socket->pending = NULL;
}

static int make_room(struct socket *socket, uint32_t needed, uint32_t most) {
    struct packet *packet = socket->pending;
    if (needed <= socket->pending_capacity)
        return 0;
    uint32_t capacity = KMIN(needed * 2, most);
    struct packet *larger = packet_create(socket->host, capacity);
    if (!larger)
        return -ENOBUFS;
    memcpy(larger->data, packet->data, packet->length);
    larger->length = packet->length;
    larger->transport = packet->transport;
    larger->stamps = packet->stamps;
    larger->stamp_number = packet->stamp_number;
    packet_free(socket->host, packet);
    socket->pending = larger;
    socket->pending_capacity = capacity;
    return 0;
}

static int add(struct socket *socket, struct uio *from, uint32_t most, uint16_t port) {
    const struct packet *packet = socket->pending;
    struct ip_address destination = packet_destination(packet);
    uint32_t used = packet->length, needed = used + (uint32_t)from->remaining;
    if (needed > most || (needed > inet_mtu(socket->host, destination) &&
                          datagram_must_fit(socket, &socket->pending_options, destination)))
        return datagram_too_long(socket, destination, port);
    int error = make_room(socket, needed, most);
    if (error)
        return error;
    if (uio_copy_in(from, socket->pending->data + used, needed - used))
        return -EFAULT;
    socket->pending->length = needed;
    return 0;
}

int datagram_add(struct socket *socket, struct uio *from, uint32_t most, uint16_t port) {
    int error = add(socket, from, most, port);
    if (error)
        datagram_drop(socket);
    return error;
}

struct packet *datagram_take(struct socket *socket) {
    struct packet *packet = socket->pending;
    socket->pending = NULL;
    return packet;
}
