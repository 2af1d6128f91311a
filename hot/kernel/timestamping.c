/* SO_TIMESTAMPING of UDP and raw sockets (Documentation/networking/timestamping.rst of Linux): when datagrams came, and
 * when they left, by software alone: no device here keeps time.
 *
 * socket.c sets and shows the option; udp.c and raw.c ask for stamps of what they send; ip.c and link.c say when a
 * packet went to its interface and left by it. The stamp goes into the sender's error queue (error_queue.c).
 */
#include "packet_socket.h"
#include <linux/time.h> /* errqueue.h needs it */

#include <linux/errqueue.h>
#include <linux/in.h>
#include <linux/net_tstamp.h>

/* As Linux 6.1 knows them. */
#define KNOWN (2u * SOF_TIMESTAMPING_BIND_PHC - 1u)
/* What control data of a message may ask for: when that message is sent. */
#define RECORDED                                                                                                       \
    (uint32_t)(SOF_TIMESTAMPING_TX_HARDWARE | SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_TX_SCHED |               \
               SOF_TIMESTAMPING_TX_ACK)

bool timestamping_serves(const struct socket *socket) {
    return is_inet(socket) && (socket->type == SOCK_DGRAM || socket->type == SOCK_RAW);
}

int timestamping_set(struct socket *socket, bool new, const void *value, uint32_t length) {
    uint32_t flags;
    if (length < sizeof flags)
        return -EINVAL;
    memcpy(&flags, value, sizeof flags);
    bool without_packet = flags & SOF_TIMESTAMPING_OPT_TSONLY;
    if ((flags & ~KNOWN) || ((flags & SOF_TIMESTAMPING_OPT_STATS) && !without_packet))
        return -EINVAL;
    if (flags & SOF_TIMESTAMPING_BIND_PHC)
        return -EOPNOTSUPP;
    if ((flags & SOF_TIMESTAMPING_OPT_ID) && !(socket->stamping.flags & SOF_TIMESTAMPING_OPT_ID))
        socket->stamping.next_number = 0;
    socket->stamping.flags = flags;
    socket->stamping.new = new;
    return 0;
}

void timestamping_get(const struct socket *socket, bool new, uint32_t value[2]) {
    value[0] = !new || socket->stamping.new ? socket->stamping.flags : 0;
    value[1] = 0; /* of no device's clock */
}

int timestamping_asked(uint32_t flags, struct socket_message *message) {
    if (flags & ~RECORDED)
        return -EINVAL;
    message->has_stamping = true;
    message->stamping = flags;
    return 0;
}

uint32_t timestamping_of(const struct socket *socket, const struct socket_message *message) {
    return message->has_stamping ? message->stamping : socket->stamping.flags & RECORDED;
}

void timestamping_begin(struct socket *socket, struct packet *packet, uint32_t flags) {
    packet->stamps = (uint8_t)(flags & SOF_TIMESTAMPING_TX_SOFTWARE ? 1u << SCM_TSTAMP_SND : 0u);
    packet->stamps |= (uint8_t)(flags & SOF_TIMESTAMPING_TX_SCHED ? 1u << SCM_TSTAMP_SCHED : 0u);
    const uint32_t counted = SOF_TIMESTAMPING_TX_HARDWARE | SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_TX_SCHED;
    if ((flags & counted) && (socket->stamping.flags & SOF_TIMESTAMPING_OPT_ID))
        packet->stamp_number = socket->stamping.next_number++;
}

static void tell(struct host *host, const struct packet *packet, uint32_t interface, uint32_t what) {
    struct socket *owner = packet->owner;
    if (!(packet->stamps >> what & 1) || !owner || owner->dead)
        return;
    struct extended_error error = {.number = ENOMSG,
                                   .origin = SO_EE_ORIGIN_TIMESTAMPING,
                                   .info = what,
                                   .offender = packet_source(packet),
                                   .interface = interface,
                                   .has_time = true,
                                   .time = host->now};
    if (owner->stamping.flags & SOF_TIMESTAMPING_OPT_ID)
        error.data = packet->stamp_number;
    uint32_t length = 0;
    uint8_t *frame = NULL;
    if (!(owner->stamping.flags & SOF_TIMESTAMPING_OPT_TSONLY)) {
        frame = packet_frame(host, packet, interface, PACKET_OUTGOING, &length);
        if (!frame)
            return;
    }
    error_queue_add(owner, &error, packet_destination(packet), 0, frame, length);
    kfree(host, frame);
}

void timestamping_scheduled(struct host *host, const struct packet *packet, uint32_t interface) {
    tell(host, packet, interface, SCM_TSTAMP_SCHED);
}

void timestamping_left(struct host *host, const struct packet *packet, uint32_t interface) {
    tell(host, packet, interface, SCM_TSTAMP_SND);
}

bool timestamping_shows(const struct socket *socket, const struct socket_message *message) {
    if (!message->has_time || !(socket->stamping.flags & SOF_TIMESTAMPING_SOFTWARE))
        return false;
    return (message->has_error && message->error.origin == SO_EE_ORIGIN_TIMESTAMPING) ||
           (socket->stamping.flags & SOF_TIMESTAMPING_RX_SOFTWARE) || socket->timestamp;
}

void timestamping_describe(const struct socket *socket, const uint8_t *frame, uint32_t length,
                           struct socket_message *message) {
    bool names_it = socket->family == AF_INET6 || (socket->stamping.flags & SOF_TIMESTAMPING_OPT_CMSG);
    if (!length || !names_it)
        return;
    const uint8_t *header = frame + ETHERNET_HEADER;
    bool v6 = header[0] >> 4 == 6;
    message->error.has_offender = true;
    message->has_source = true;
    message->local_address = v6 ? ip_get(header + 24) : ip4_address(get32(header + 16));
    message->interface = message->error.interface;
    message->ttl = header[v6 ? 7 : 8];
    message->tos = v6 ? (uint8_t)(get16(header) >> 4) : header[1];
}
