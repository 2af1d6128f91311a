/* Options of AF_INET and AF_INET6 sockets: levels IPPROTO_IP and IPPROTO_IPV6, and the way to TCP's and UDP's.
 * Called by socket.c; calls tcp.c and udp.c. Sockets of both families have the options of both levels, as in Linux.
 */
#include "raw.h"
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/udp.h>

#define DEFAULT_TTL 64
#define IP6_MTU_MIN 1280 /* RFC 8200, 5 */
#define ECN_MASK 3
#define MULTICAST_REQUEST6 20u /* struct ipv6_mreq */

/* ---- Options of level IPPROTO_IP ---- */

static int option_value(const void *value, uint32_t length, int32_t *result) {
    if (length >= sizeof(*result))
        memcpy(result, value, sizeof(*result));
    else if (length >= 1)
        *result = *(const uint8_t *)value; /* Linux takes single bytes at this level */
    else
        return -EINVAL;
    return 0;
}

/* IP_UNICAST_IF and IPV6_UNICAST_IF: the number of an interface, in network order. */
static int set_unicast_interface(const struct socket *socket, uint32_t *setting, const void *value, uint32_t length) {
    if (length != sizeof(*setting))
        return -EINVAL;
    uint32_t interface = get32(value);
    if (interface && !interface_name(interface))
        return -EADDRNOTAVAIL;
    if (interface && socket->bound_interface)
        return -EINVAL;
    *setting = interface;
    return 0;
}

static int set_ip_option(struct socket *socket, int name, const void *value, uint32_t length) {
    int32_t number;
    int error = option_value(value, length, &number);
    if (error)
        return error;
    switch (name) {
    case IP_TOS:
        /* The two ECN bits of a stream are TCP's. */
        socket->tos =
            socket->type == SOCK_STREAM ? (number & ~ECN_MASK & 0xff) | (socket->tos & ECN_MASK) : number & 0xff;
        return 0;
    case IP_TTL:
        if (number != -1 && (number < 1 || number > 255))
            return -EINVAL;
        socket->ttl = number == -1 ? DEFAULT_TTL : number;
        return 0;
    case IP_MINTTL:
        if (number < 0 || number > 255)
            return -EINVAL;
        socket->minimum_ttl = (uint8_t)number;
        return 0;
    case IP_PKTINFO:
        socket->packet_info = number != 0;
        return 0;
    case IP_RECVTTL:
        socket->packet_ttl = number != 0;
        return 0;
    case IP_RECVTOS:
        socket->packet_tos = number != 0;
        return 0;
    case IP_RECVERR:
        socket->receive_errors = number != 0;
        if (!number)
            error_queue_clear(socket);
        return 0;
    case IP_MTU_DISCOVER:
        if (number < IP_PMTUDISC_DONT || number > IP_PMTUDISC_OMIT)
            return -EINVAL;
        socket->mtu_discover = (uint8_t)number;
        return 0;
    case IP_FREEBIND:
        socket->free_bind = number != 0;
        return 0;
    case IP_BIND_ADDRESS_NO_PORT:
        socket->bind_late = number != 0;
        return 0;
    case IP_MULTICAST_TTL:
        if (socket->type == SOCK_STREAM || number < -1 || number > 255)
            return -EINVAL;
        socket->multicast_ttl = number == -1 ? 1 : number;
        return 0;
    case IP_MULTICAST_LOOP:
        socket->multicast_loop = number != 0;
        return 0;
    case IP_MULTICAST_IF:
        if (length < sizeof(struct in_addr))
            return -EINVAL;
        socket->multicast_address =
            ip4_address(get32((const uint8_t *)value + (length >= sizeof(struct ip_mreqn) ? 4 : 0)));
        if (!ip_is_any(socket->multicast_address) && !inet_is_local(socket->host, socket->multicast_address))
            return -EADDRNOTAVAIL;
        return 0;
    case IP_MULTICAST_ALL: /* there is no multicast */
        if (number != 0 && number != 1)
            return -EINVAL;
        socket->hints.multicast_all = number;
        return 0;
    case IP_UNICAST_IF:
        return set_unicast_interface(socket, &socket->unicast_interface, value, length);
    case IP_ADD_MEMBERSHIP:
    case IP_ADD_SOURCE_MEMBERSHIP:
        return -ENODEV; /* as on a machine whose interfaces are not capable of multicast */
    case IP_DROP_MEMBERSHIP:
    case IP_DROP_SOURCE_MEMBERSHIP:
        return -EADDRNOTAVAIL;
    case IP_TRANSPARENT:
        return -EPERM;
    default:
        return -ENOPROTOOPT;
    }
}

static int get_ip_option(struct socket *socket, int name, int32_t *number) {
    switch (name) {
    case IP_HDRINCL: /* of raw sockets alone, but any can ask */
        *number = 0;
        return 0;
    case IP_TOS:
        *number = socket->tos;
        return 0;
    case IP_TTL:
        *number = socket->ttl;
        return 0;
    case IP_MINTTL:
        *number = socket->minimum_ttl;
        return 0;
    case IP_PKTINFO:
        *number = socket->packet_info;
        return 0;
    case IP_RECVTTL:
        *number = socket->packet_ttl;
        return 0;
    case IP_RECVTOS:
        *number = socket->packet_tos;
        return 0;
    case IP_RECVERR:
        *number = socket->receive_errors;
        return 0;
    case IP_MTU_DISCOVER:
        *number = socket->mtu_discover;
        return 0;
    case IP_MTU:
        if (socket->state != SOCKET_CONNECTED)
            return -ENOTCONN;
        *number = (int32_t)inet_mtu(socket->host, socket->remote_address);
        return 0;
    case IP_FREEBIND:
        *number = socket->free_bind;
        return 0;
    case IP_BIND_ADDRESS_NO_PORT:
        *number = socket->bind_late;
        return 0;
    case IP_MULTICAST_TTL:
        *number = socket->multicast_ttl;
        return 0;
    case IP_MULTICAST_LOOP:
        *number = socket->multicast_loop;
        return 0;
    case IP_MULTICAST_IF:
        put32((uint8_t *)number, ip_v4(socket->multicast_address));
        return 0;
    case IP_MULTICAST_ALL:
        *number = socket->hints.multicast_all;
        return 0;
    case IP_UNICAST_IF:
        put32((uint8_t *)number, socket->unicast_interface);
        return 0;
    case IP_TRANSPARENT:
        *number = 0;
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

/* ---- Options of level IPPROTO_IPV6 (RFC 3493, 5; RFC 3542) ---- */

static int set_flag(bool *flag, int32_t number) {
    *flag = number != 0;
    return 0;
}

/* RFC 5014. What an address is preferred for, the one address that a host has to send from has or has not: nothing is
 * chosen. */
static int set_source_preferences(struct socket_options6 *v6, int32_t number) {
    const int32_t kept = IPV6_PREFER_SRC_PUBLIC | IPV6_PREFER_SRC_TMP | IPV6_PREFER_SRC_COA;
    static const int32_t contrary[] = {
        IPV6_PREFER_SRC_PUBLIC | IPV6_PREFER_SRC_TMP, IPV6_PREFER_SRC_PUBLIC | IPV6_PREFER_SRC_PUBTMP_DEFAULT,
        IPV6_PREFER_SRC_TMP | IPV6_PREFER_SRC_PUBTMP_DEFAULT, IPV6_PREFER_SRC_HOME | IPV6_PREFER_SRC_COA,
        IPV6_PREFER_SRC_CGA | IPV6_PREFER_SRC_NONCGA};
    for (size_t i = 0; i < ARRAY_LENGTH(contrary); i++)
        if ((number & contrary[i]) == contrary[i])
            return -EINVAL;
    v6->source_preferences = (uint8_t)(number & kept);
    return 0;
}

static int32_t source_preferences(const struct socket_options6 *v6) {
    int32_t chosen = v6->source_preferences;
    if (!(chosen & (IPV6_PREFER_SRC_PUBLIC | IPV6_PREFER_SRC_TMP)))
        chosen |= IPV6_PREFER_SRC_PUBTMP_DEFAULT;
    return chosen & IPV6_PREFER_SRC_COA ? chosen : chosen | IPV6_PREFER_SRC_HOME;
}

static int set_ipv6_option(struct socket *socket, int name, const void *value, uint32_t length) {
    struct socket_options6 *v6 = &socket->v6;
    bool stream = socket->type == SOCK_STREAM;
    int32_t number;
    if (length < sizeof(number))
        return -EINVAL;
    memcpy(&number, value, sizeof(number));
    switch (name) {
    case IPV6_V6ONLY:
        return socket->local_port ? -EINVAL : set_flag(&socket->only_v6, number);
    case IPV6_RECVPKTINFO:
    case IPV6_2292PKTINFO:
        return set_flag(&v6->packet_info, number);
    case IPV6_RECVHOPLIMIT:
    case IPV6_2292HOPLIMIT:
        return set_flag(&v6->packet_hops, number);
    case IPV6_RECVTCLASS:
        return set_flag(&v6->packet_class, number);
    case IPV6_RECVERR:
        if (!number)
            error_queue_clear(socket);
        return set_flag(&v6->receive_errors, number);
    case IPV6_DONTFRAG:
        return set_flag(&v6->dont_fragment, number);
    case IPV6_FREEBIND:
        return set_flag(&socket->free_bind, number);
    case IPV6_TCLASS:
        if (number < -1 || number > 255)
            return -EINVAL;
        number = KMAX(number, 0);
        v6->traffic_class = stream ? (number & ~ECN_MASK) | (v6->traffic_class & ECN_MASK) : number;
        return 0;
    case IPV6_UNICAST_HOPS:
        if (number < -1 || number > 255)
            return -EINVAL;
        v6->hop_limit = number;
        return 0;
    case IPV6_MINHOPCOUNT:
        if (number < 0 || number > 255)
            return -EINVAL;
        v6->minimum_hops = (uint8_t)number;
        return 0;
    case IPV6_MULTICAST_HOPS:
        if (stream)
            return -ENOPROTOOPT;
        if (number < -1 || number > 255)
            return -EINVAL;
        v6->multicast_hops = number == -1 ? 1 : number;
        return 0;
    case IPV6_MULTICAST_LOOP:
        return number != 0 && number != 1 ? -EINVAL : set_flag(&v6->multicast_loop, number);
    case IPV6_MULTICAST_IF:
        if (stream)
            return -ENOPROTOOPT;
        if (number && !interface_name((uint32_t)number))
            return -ENODEV;
        v6->multicast_interface = (uint32_t)number;
        return 0;
    case IPV6_MTU_DISCOVER:
        if (number < IPV6_PMTUDISC_DONT || number > IPV6_PMTUDISC_OMIT)
            return -EINVAL;
        v6->mtu_discover = (uint8_t)number;
        return 0;
    case IPV6_MTU: /* of fragments, which there are none of */
        return number && number < IP6_MTU_MIN ? -EINVAL : 0;
    case IPV6_ADD_MEMBERSHIP:
    case IPV6_DROP_MEMBERSHIP:
        if (length < MULTICAST_REQUEST6)
            return -EINVAL;
        if (stream)
            return -EPROTO;
        /* As on a machine whose interfaces are not capable of multicast. */
        return name == IPV6_ADD_MEMBERSHIP ? -ENODEV : -EADDRNOTAVAIL;
    case IPV6_MULTICAST_ALL:
    case IPV6_AUTOFLOWLABEL:
    case IPV6_FLOWINFO_SEND:
    case IPV6_FLOWINFO:
    case IPV6_RECVPATHMTU:
    case IPV6_RECVRTHDR:
    case IPV6_RECVHOPOPTS:
    case IPV6_RECVDSTOPTS:
        /* There is no multicast, flow label or extension header, and a path's MTU never changes. */
        v6->kept[name / 64] &= ~(UINT64_C(1) << name % 64);
        v6->kept[name / 64] |= (uint64_t)(number != 0) << name % 64;
        return 0;
    case IPV6_UNICAST_IF:
        return set_unicast_interface(socket, &v6->unicast_interface, value, length);
    case IPV6_ADDR_PREFERENCES:
        return set_source_preferences(v6, number);
    case IPV6_TRANSPARENT:
        return number ? -EPERM : 0;
    default:
        return -ENOPROTOOPT;
    }
}

static int get_ipv6_option(const struct socket *socket, int name, int32_t *number) {
    const struct socket_options6 *v6 = &socket->v6;
    switch (name) {
    case IPV6_V6ONLY:
        *number = socket->only_v6;
        return 0;
    case IPV6_RECVPKTINFO:
    case IPV6_2292PKTINFO:
        *number = v6->packet_info;
        return 0;
    case IPV6_RECVHOPLIMIT:
    case IPV6_2292HOPLIMIT:
        *number = v6->packet_hops;
        return 0;
    case IPV6_RECVTCLASS:
        *number = v6->packet_class;
        return 0;
    case IPV6_RECVERR:
        *number = v6->receive_errors;
        return 0;
    case IPV6_DONTFRAG:
        *number = v6->dont_fragment;
        return 0;
    case IPV6_FREEBIND:
        *number = socket->free_bind;
        return 0;
    case IPV6_TCLASS:
        *number = v6->traffic_class;
        return 0;
    case IPV6_UNICAST_HOPS:
        *number = v6->hop_limit < 0 ? DEFAULT_TTL : v6->hop_limit;
        return 0;
    case IPV6_MINHOPCOUNT:
        *number = v6->minimum_hops;
        return 0;
    case IPV6_MULTICAST_HOPS:
        *number = v6->multicast_hops;
        return 0;
    case IPV6_MULTICAST_LOOP:
        *number = v6->multicast_loop;
        return 0;
    case IPV6_MULTICAST_IF:
        *number = (int32_t)v6->multicast_interface;
        return 0;
    case IPV6_MTU_DISCOVER:
        *number = v6->mtu_discover;
        return 0;
    case IPV6_MTU:
        if (socket->state != SOCKET_CONNECTED)
            return -ENOTCONN;
        *number = (int32_t)inet_mtu(socket->host, socket->remote_address);
        return 0;
    case IPV6_ADDRFORM:
        if (socket->state != SOCKET_CONNECTED)
            return -ENOTCONN;
        *number = socket->family;
        return 0;
    case IPV6_MULTICAST_ALL:
    case IPV6_AUTOFLOWLABEL:
    case IPV6_FLOWINFO_SEND:
    case IPV6_FLOWINFO:
    case IPV6_RECVPATHMTU:
    case IPV6_RECVRTHDR:
    case IPV6_RECVHOPOPTS:
    case IPV6_RECVDSTOPTS:
        *number = (int32_t)(v6->kept[name / 64] >> name % 64 & 1);
        return 0;
    case IPV6_UNICAST_IF:
        put32((uint8_t *)number, v6->unicast_interface);
        return 0;
    case IPV6_ADDR_PREFERENCES:
        *number = source_preferences(v6);
        return 0;
    case IPV6_TRANSPARENT:
        *number = 0;
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

/* ---- All levels ---- */

/* Other sockets of IPv6 may talk IPv4, too. */
static bool lacks_ip_options(const struct socket *socket) {
    return socket->family == AF_INET6 && socket->type == SOCK_RAW;
}

int inet_set_option(struct task *task, struct socket *socket, int level, int name, const void *value, uint32_t length) {
    int32_t number;
    if (socket->type == SOCK_RAW) {
        int error = raw_set_option(socket, level, name, value, length);
        if (error != -ENOPROTOOPT)
            return error;
    }
    switch (level) {
    case IPPROTO_IP:
        return lacks_ip_options(socket) ? -ENOPROTOOPT : set_ip_option(socket, name, value, length);
    case IPPROTO_IPV6:
        return socket->family == AF_INET6 ? set_ipv6_option(socket, name, value, length) : -ENOPROTOOPT;
    case SOL_TCP:
        return socket->type == SOCK_STREAM ? tcp_set_option(socket, name, value, length) : -ENOPROTOOPT;
    case SOL_UDP:
        if (socket->type != SOCK_DGRAM || name != UDP_CORK)
            return -ENOPROTOOPT;
        if (length < sizeof(number))
            return -EINVAL;
        memcpy(&number, value, sizeof(number));
        return udp_cork(task, socket, number != 0);
    default:
        return -ENOPROTOOPT;
    }
}

/* One item of control data, cut where room ends (Linux: put_cmsg). */
static void put_item(uint8_t *value, uint32_t room, uint32_t *used, int type, const void *data, uint32_t size) {
    uint32_t left = room - *used;
    if (left < sizeof(struct control_header))
        return;
    uint32_t whole = (uint32_t)sizeof(struct control_header) + size, kept = KMIN(whole, left);
    uint32_t space = KMIN((uint32_t)CONTROL_ALIGN(whole), left);
    const struct control_header header = {kept, IPPROTO_IP, type};
    memset(value + *used, 0, space);
    memcpy(value + *used, &header, sizeof header);
    memcpy(value + *used + sizeof header, data, kept - sizeof header);
    *used += space;
}

/* IP_PKTOPTIONS: what messages of a stream would tell of their packets, as far as it is known. */
static int get_packet_options(const struct socket *socket, uint8_t *value, uint32_t *length) {
    if (socket->type != SOCK_STREAM || socket->family != AF_INET)
        return -ENOPROTOOPT;
    uint32_t used = 0;
    struct in_pktinfo information = {.ipi_ifindex = (int)socket->syn_interface};
    put32((uint8_t *)&information.ipi_spec_dst, ip_v4(socket->local_address));
    information.ipi_addr = information.ipi_spec_dst;
    int32_t tos = socket->syn_tos;
    if (socket->packet_info)
        put_item(value, *length, &used, IP_PKTINFO, &information, sizeof information);
    if (socket->packet_ttl)
        put_item(value, *length, &used, IP_TTL, &socket->multicast_ttl, sizeof socket->multicast_ttl);
    if (socket->packet_tos)
        put_item(value, *length, &used, IP_TOS, &tos, sizeof tos);
    *length = used;
    return 0;
}

int inet_get_option(struct socket *socket, int level, int name, void *value, uint32_t *length) {
    int32_t number;
    int error;
    if (socket->type == SOCK_RAW) {
        error = raw_get_option(socket, level, name, value, length);
        if (error != -ENOPROTOOPT)
            return error;
    }
    switch (level) {
    case IPPROTO_IP:
        if (lacks_ip_options(socket))
            return -ENOPROTOOPT;
        if (name == IP_OPTIONS) {
            *length = 0;
            return 0;
        }
        if (name == IP_PKTOPTIONS)
            return get_packet_options(socket, value, length);
        error = get_ip_option(socket, name, &number);
        break;
    case SOL_TCP:
        return socket->type == SOCK_STREAM ? tcp_get_option(socket, name, value, length) : -EOPNOTSUPP;
    case SOL_UDP:
        error = socket->type == SOCK_DGRAM && name == UDP_CORK ? 0 : -ENOPROTOOPT;
        number = socket->pending_cork;
        break;
    case IPPROTO_IPV6:
        error = socket->family == AF_INET6 ? get_ipv6_option(socket, name, &number) : -EOPNOTSUPP;
        break;
    default:
        return socket->family == AF_INET6 ? -ENOPROTOOPT : -EOPNOTSUPP; /* setting gives ENOPROTOOPT */
    }
    if (error)
        return error;
    /* A short buffer gets a single byte where that holds the value. */
    if (level != IPPROTO_IPV6 && *length > 0 && *length < sizeof(number) && number >= 0 && number < 256) {
        *(uint8_t *)value = (uint8_t)number;
        *length = 1;
        return 0;
    }
    *length = KMIN(*length, (uint32_t)sizeof(number));
    memcpy(value, &number, *length);
    return 0;
}
