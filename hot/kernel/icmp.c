/* ICMP (RFC 792) and ICMPv6 (RFC 4443): "port unreachable", sent and heard, and answers to echo requests.
 * Called by udp.c and ip.c; calls ip.c for output and inet.c to find the socket that an error is about.
 */
#include "raw.h"

#include <linux/time.h> /* errqueue.h needs it */

#include <linux/errqueue.h>

#define UNREACHABLE 3 /* type and code */
#define PORT_UNREACHABLE 3
#define ECHO_REPLY 0
#define ECHO_REQUEST 8
#define ECHO_REQUEST6 128
#define ECHO_REPLY6 129
#define UNREACHABLE6 1
#define PORT_UNREACHABLE6 4
#define ICMP_HEADER 8u
#define IP6_MTU_MIN 1280u /* RFC 8200, 5 */
#define ERROR_MAX 576u    /* RFC 1812, 4.3.2.3 */
/* Errors sent per second and in one burst (Linux: icmp_msgs_per_sec, icmp_msgs_burst). */
#define PER_SECOND 1000
#define BURST 50u

void icmp_create(struct net *net) { net->icmp_tokens = BURST; }

static bool allowed(struct host *host) {
    struct net *net = host->net;
    int64_t elapsed = host->now - net->icmp_time;
    int64_t earned = KMIN(elapsed, NS_PER_S) / (NS_PER_S / PER_SECOND);
    if (earned > 0) {
        net->icmp_tokens = (uint32_t)KMIN(net->icmp_tokens + earned, (int64_t)BURST);
        net->icmp_time = host->now;
    }
    if (!net->icmp_tokens)
        return false;
    net->icmp_tokens--;
    return true;
}

/* As much of the cause as fits: RFC 1812 section 4.3.2.3 for IPv4, RFC 4443 section 2.4 (c) for IPv6. */
void icmp_port_unreachable(struct host *host, const struct packet *cause) {
    bool v6 = packet_is_v6(cause);
    uint32_t most = v6 ? IP6_MTU_MIN - IP6_HEADER - ICMP_HEADER : ERROR_MAX - IP_HEADER - ICMP_HEADER;
    uint32_t quoted = KMIN(cause->length, most);
    struct ip_address source = packet_destination(cause), destination = packet_source(cause);
    if (!inet_is_local(host, destination) && !allowed(host))
        return;
    uint32_t header = ip_header_length(destination);
    struct packet *packet = packet_create(host, header + ICMP_HEADER + quoted);
    if (!packet)
        return;
    uint8_t *icmp = packet->data + header;
    memset(icmp, 0, ICMP_HEADER);
    icmp[0] = v6 ? UNREACHABLE6 : UNREACHABLE;
    icmp[1] = v6 ? PORT_UNREACHABLE6 : PORT_UNREACHABLE;
    memcpy(icmp + ICMP_HEADER, cause->data, quoted);
    ip_header(host, packet, v6 ? PROTOCOL_ICMPV6 : PROTOCOL_ICMP, source, destination, NULL);
    icmp_put_checksum(packet);
    ip_output(host, packet);
}

/* RFC 1122 section 3.2.2.6, RFC 4443 section 4.2: the same data, from the address that was asked. */
static void echo(struct host *host, const struct packet *request) {
    bool v6 = packet_is_v6(request);
    struct ip_address source = packet_destination(request), destination = packet_source(request);
    struct packet *reply = packet_create(host, request->length);
    if (!reply)
        return;
    memcpy(reply->data, request->data, request->length);
    ip_header(host, reply, v6 ? PROTOCOL_ICMPV6 : PROTOCOL_ICMP, source, destination, NULL);
    reply->data[reply->transport] = v6 ? ECHO_REPLY6 : ECHO_REPLY;
    icmp_put_checksum(reply);
    ip_output(host, reply);
}

/* What the quoted packet was: its source is this host. NULL: not a UDP packet of the same version. */
static struct socket *sender_of(struct host *host, const uint8_t *quoted, bool v6) {
    const uint8_t *ports = quoted + (v6 ? IP6_HEADER : IP_HEADER);
    if (v6 ? quoted[0] >> 4 != 6 || quoted[6] != PROTOCOL_UDP : quoted[0] != 0x45 || quoted[9] != PROTOCOL_UDP)
        return NULL;
    struct ip_address source = v6 ? ip_get(quoted + 8) : ip4_address(get32(quoted + 12));
    struct ip_address destination = v6 ? ip_get(quoted + 24) : ip4_address(get32(quoted + 16));
    return inet_find_datagram(host, source, get16(ports), destination, get16(ports + 2));
}

static void queue_error(struct socket *socket, const struct packet *packet, const uint8_t *icmp) {
    bool v6 = packet_is_v6(packet);
    const uint8_t *quoted = icmp + ICMP_HEADER, *udp = quoted + (v6 ? IP6_HEADER : IP_HEADER), *data = udp + UDP_HEADER;
    struct extended_error error = {.number = ECONNREFUSED,
                                   .origin = v6 ? SO_EE_ORIGIN_ICMP6 : SO_EE_ORIGIN_ICMP,
                                   .type = icmp[0],
                                   .code = icmp[1],
                                   .has_offender = true,
                                   .offender = packet_source(packet),
                                   .has_time = true,
                                   .time = packet->time};
    struct ip_address destination = v6 ? ip_get(quoted + 24) : ip4_address(get32(quoted + 16));
    error_queue_add(socket, &error, destination, get16(udp + 2), data,
                    (uint32_t)(packet->data + packet->length - data));
}

void icmp_input(struct host *host, struct packet *packet) {
    bool v6 = packet_is_v6(packet);
    const uint8_t *icmp = packet->data + packet->transport;
    if (icmp[0] == (v6 ? ECHO_REQUEST6 : ECHO_REQUEST) && !icmp[1]) {
        echo(host, packet);
    } else if (icmp[0] != (v6 ? UNREACHABLE6 : UNREACHABLE)) {
        /* Whoever asked hears the reply by a raw socket. */
    } else if (packet->length < packet->transport + ICMP_HEADER + (v6 ? IP6_HEADER : IP_HEADER) + UDP_HEADER) {
        host->counters.packets_malformed++;
    } else if (icmp[1] == (v6 ? PORT_UNREACHABLE6 : PORT_UNREACHABLE)) {
        struct socket *socket = sender_of(host, icmp + ICMP_HEADER, v6);
        bool listens = socket && (v6 ? socket->v6.receive_errors : socket->receive_errors);
        if (listens)
            queue_error(socket, packet, icmp);
        if (socket && (list_linked(&socket->connection_node) || listens))
            socket_set_error(socket, ECONNREFUSED);
    }
    packet_free(host, packet);
}
