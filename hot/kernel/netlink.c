/* AF_NETLINK, NETLINK_ROUTE: what getifaddrs, Go and iproute ask about interfaces, addresses and routes; and the same
 * answers as ioctls. Called by socket.c and by the ioctl operations of all sockets; calls nobody.
 *
 * Every host has lo (127.0.0.1/8, ::1/128) and eth0 (its address/24, its IPv6 address/64, a link-local one), and
 * reaches everybody else through eth0.
 */
#include "socket.h"
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/poll.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>

#define REQUEST_MAX 32768u
#define ANSWER_MAX 4096u
#define LOOPBACK_PREFIX 8u
#define METRIC_LINK 256u /* IPv6 routes of the kernel's own, and those of users (IP6_RT_PRIO_ADDRCONF, _USER) */
#define METRIC_USER 1024u
#define TRANSMIT_QUEUE 1000u
#define HARDWARE_ETHER 1u /* ARPHRD_* */
#define HARDWARE_LOOPBACK 772u
#define INTERFACE_UP 0x1u /* IFF_*; linux/if.h would include libc's headers */
#define INTERFACE_BROADCAST 0x2u
#define INTERFACE_LOOPBACK 0x8u
#define INTERFACE_RUNNING 0x40u
#define INTERFACE_LOWER_UP 0x10000u
#define OPERATIONAL_UNKNOWN 0u
#define OPERATIONAL_UP 6u
#define INTERFACE_NAME_MAX 16u

/* struct ifreq and struct ifconf of x86-64. */
struct interface_request {
    char name[INTERFACE_NAME_MAX];
    uint8_t value[24];
};
struct interface_configuration {
    int32_t length, padding;
    uint64_t buffer;
};

/* ---- Interfaces ---- */

uint32_t interface_of_name(const char *name) {
    if (!strcmp(name, "lo"))
        return INTERFACE_LO;
    return strcmp(name, "eth0") ? 0 : INTERFACE_ETH;
}

const char *interface_name(uint32_t interface) {
    return interface == INTERFACE_LO ? "lo" : interface == INTERFACE_ETH ? "eth0" : NULL;
}

/* Locally administered (02), then 41 ('A') and the IPv4 address; zeros for lo. */
void interface_hardware_address(const struct host *host, uint32_t interface, uint8_t address[6]) {
    memset(address, 0, 6);
    if (interface != INTERFACE_ETH)
        return;
    address[0] = 0x02;
    address[1] = 0x41;
    put32(address + 2, host->address);
}

/* As that of a host whose IPv4 address is 0. */
void interface_router_address(uint32_t interface, uint8_t address[6]) {
    memset(address, 0, 6);
    if (interface != INTERFACE_ETH)
        return;
    address[0] = 0x02;
    address[1] = 0x41;
}

static uint32_t interface_flags(uint32_t interface) {
    uint32_t kind = interface == INTERFACE_LO ? INTERFACE_LOOPBACK : INTERFACE_BROADCAST;
    return INTERFACE_UP | INTERFACE_RUNNING | kind;
}

static uint32_t interface_address(const struct host *host, uint32_t interface) {
    return interface == INTERFACE_LO ? LOOPBACK_ADDRESS : host->address;
}

static uint32_t interface_mtu(uint32_t interface) { return interface == INTERFACE_LO ? LOOPBACK_MTU : MTU; }

static void put_address(uint8_t *value, uint32_t address) {
    (void)inet_put_name(value, AF_INET, ip4_address(address), 0, 0);
}

static int64_t interface_list(struct host *host, uint64_t argument) {
    struct interface_configuration configuration;
    if (copy_from_user(&configuration, argument, sizeof(configuration)))
        return -EFAULT;
    int32_t used = 0, size = (int32_t)sizeof(struct interface_request);
    for (uint32_t interface = INTERFACE_LO; interface <= INTERFACE_ETH; interface++) {
        struct interface_request request = {0};
        const char *name = interface_name(interface);
        memcpy(request.name, name, strlen(name));
        put_address(request.value, interface_address(host, interface));
        if (configuration.buffer) {
            if (configuration.length - used < size)
                break;
            if (copy_to_user(configuration.buffer + (uint64_t)used, &request, sizeof(request)))
                return -EFAULT;
        }
        used += size;
    }
    configuration.length = used;
    return copy_to_user(argument, &configuration, sizeof(configuration));
}

static int interface_value(struct host *host, uint32_t command, uint32_t interface, uint8_t *value) {
    int32_t number;
    memset(value, 0, sizeof(((struct interface_request *)0)->value));
    switch (command) {
    case SIOCGIFADDR:
    case SIOCGIFDSTADDR:
        put_address(value, interface_address(host, interface));
        return 0;
    case SIOCGIFBRDADDR:
        put_address(value, interface == INTERFACE_LO ? 0 : host->address | ~IP4_LINK_MASK);
        return 0;
    case SIOCGIFNETMASK:
        put_address(value, interface == INTERFACE_LO ? UINT32_C(0xff000000) : IP4_LINK_MASK);
        return 0;
    case SIOCGIFHWADDR:
        value[0] = (uint8_t)(interface == INTERFACE_LO ? HARDWARE_LOOPBACK & 0xff : HARDWARE_ETHER);
        value[1] = (uint8_t)(interface == INTERFACE_LO ? HARDWARE_LOOPBACK >> 8 : 0);
        interface_hardware_address(host, interface, value + 2);
        return 0;
    case SIOCGIFFLAGS: {
        uint16_t flags = (uint16_t)interface_flags(interface);
        memcpy(value, &flags, sizeof(flags));
        return 0;
    }
    case SIOCGIFINDEX:
        number = (int32_t)interface;
        break;
    case SIOCGIFMTU:
        number = (int32_t)interface_mtu(interface);
        break;
    case SIOCGIFTXQLEN:
        number = (int32_t)TRANSMIT_QUEUE;
        break;
    case SIOCGIFMETRIC:
        number = 0;
        break;
    default:
        return -EOPNOTSUPP;
    }
    memcpy(value, &number, sizeof(number));
    return 0;
}

static int64_t interface_name_of_index(uint64_t argument) {
    struct interface_request request;
    if (copy_from_user(&request, argument, sizeof(request)))
        return -EFAULT;
    int32_t index;
    memcpy(&index, request.value, sizeof(index));
    const char *name = interface_name((uint32_t)index);
    if (!name)
        return -ENODEV;
    memset(request.name, 0, sizeof(request.name));
    memcpy(request.name, name, strlen(name));
    return copy_to_user(argument, &request, sizeof(request));
}

int64_t interface_ioctl(struct host *host, uint32_t command, uint64_t argument) {
    switch (command) {
    case SIOCGIFCONF:
        return interface_list(host, argument);
    case SIOCGIFNAME:
        return interface_name_of_index(argument);
    case SIOCGIFADDR:
    case SIOCGIFDSTADDR:
    case SIOCGIFBRDADDR:
    case SIOCGIFNETMASK:
    case SIOCGIFHWADDR:
    case SIOCGIFFLAGS:
    case SIOCGIFINDEX:
    case SIOCGIFMTU:
    case SIOCGIFTXQLEN:
    case SIOCGIFMETRIC:
    case SIOCETHTOOL:
        break;
    case SIOCSIFADDR:
    case SIOCSIFBRDADDR:
    case SIOCSIFNETMASK:
    case SIOCSIFFLAGS:
    case SIOCSIFMTU:
    case SIOCSIFHWADDR:
    case SIOCSIFNAME:
    case SIOCADDRT:
    case SIOCDELRT:
        return -EPERM; /* the network is the experiment's */
    default:
        return -ENOIOCTLCMD;
    }
    struct interface_request request;
    if (copy_from_user(&request, argument, sizeof(request)))
        return -EFAULT;
    request.name[INTERFACE_NAME_MAX - 1] = 0;
    uint32_t interface = interface_of_name(request.name);
    if (!interface)
        return -ENODEV;
    int error = interface_value(host, command, interface, request.value);
    return error ? error : copy_to_user(argument, &request, sizeof(request));
}

/* ---- Answers ---- */

/* Messages of one datagram. What does not fit is left out; everything we say fits. */
struct answer {
    struct packet *packet;
    struct nlmsghdr *message; /* being written */
};

static void *append(struct answer *answer, size_t length) {
    struct packet *packet = answer->packet;
    uint32_t aligned = (uint32_t)NLMSG_ALIGN(length);
    if (aligned > ANSWER_MAX - packet->length)
        return NULL;
    void *place = packet->data + packet->length;
    memset(place, 0, aligned);
    packet->length += aligned;
    if (answer->message)
        answer->message->nlmsg_len += aligned;
    return place;
}

static void *message_begin(struct answer *answer, const struct nlmsghdr *request, uint16_t type, uint16_t flags,
                           uint32_t port, size_t length) {
    answer->message = NULL;
    struct nlmsghdr *header = append(answer, sizeof(*header));
    if (!header)
        return NULL;
    header->nlmsg_len = sizeof(*header);
    header->nlmsg_type = type;
    header->nlmsg_flags = flags;
    header->nlmsg_seq = request->nlmsg_seq;
    header->nlmsg_pid = port;
    answer->message = header;
    return append(answer, length);
}

static void put_attribute(struct answer *answer, uint16_t type, const void *data, size_t length) {
    struct rtattr *attribute = append(answer, sizeof(*attribute) + length);
    if (!attribute)
        return;
    attribute->rta_type = type;
    attribute->rta_len = (uint16_t)(sizeof(*attribute) + length);
    memcpy((uint8_t *)attribute + sizeof(*attribute), data, length);
}

static void put_number(struct answer *answer, uint16_t type, uint32_t number) {
    put_attribute(answer, type, &number, sizeof(number));
}

static void put_byte(struct answer *answer, uint16_t type, uint8_t byte) {
    put_attribute(answer, type, &byte, sizeof(byte));
}

/* 4 or 16 bytes. */
static void put_ip(struct answer *answer, uint16_t type, struct ip_address address) {
    uint8_t bytes[16];
    ip_put(bytes, address);
    if (ip_is_v4(address))
        put_attribute(answer, type, bytes + 12, 4);
    else
        put_attribute(answer, type, bytes, sizeof(bytes));
}

static void put_text(struct answer *answer, uint16_t type, const char *text) {
    put_attribute(answer, type, text, strlen(text) + 1);
}

static void describe_link(const struct host *host, struct answer *answer, const struct nlmsghdr *request,
                          uint16_t flags, uint32_t port, uint32_t interface) {
    bool loopback = interface == INTERFACE_LO;
    struct ifinfomsg *link = message_begin(answer, request, RTM_NEWLINK, flags, port, sizeof(*link));
    if (!link)
        return;
    link->ifi_type = (uint16_t)(loopback ? HARDWARE_LOOPBACK : HARDWARE_ETHER);
    link->ifi_index = (int)interface;
    link->ifi_flags = interface_flags(interface) | INTERFACE_LOWER_UP;
    uint8_t address[6], everybody[6];
    interface_hardware_address(host, interface, address);
    memset(everybody, loopback ? 0 : 0xff, sizeof(everybody));
    put_text(answer, IFLA_IFNAME, interface_name(interface));
    put_number(answer, IFLA_TXQLEN, TRANSMIT_QUEUE);
    put_byte(answer, IFLA_OPERSTATE, (uint8_t)(loopback ? OPERATIONAL_UNKNOWN : OPERATIONAL_UP));
    put_byte(answer, IFLA_LINKMODE, 0);
    put_number(answer, IFLA_MTU, interface_mtu(interface));
    put_number(answer, IFLA_GROUP, 0);
    put_number(answer, IFLA_NUM_TX_QUEUES, 1);
    put_number(answer, IFLA_NUM_RX_QUEUES, 1);
    put_byte(answer, IFLA_CARRIER, 1);
    put_text(answer, IFLA_QDISC, loopback ? "noqueue" : "pfifo_fast");
    put_attribute(answer, IFLA_ADDRESS, address, sizeof(address));
    put_attribute(answer, IFLA_BROADCAST, everybody, sizeof(everybody));
}

static void describe_address(const struct host *host, struct answer *answer, const struct nlmsghdr *request,
                             uint32_t port, uint32_t interface) {
    bool loopback = interface == INTERFACE_LO;
    struct ifaddrmsg *address = message_begin(answer, request, RTM_NEWADDR, NLM_F_MULTI, port, sizeof(*address));
    if (!address)
        return;
    address->ifa_family = AF_INET;
    address->ifa_prefixlen = (uint8_t)(loopback ? LOOPBACK_PREFIX : IP4_LINK_PREFIX);
    address->ifa_flags = IFA_F_PERMANENT;
    address->ifa_scope = loopback ? RT_SCOPE_HOST : RT_SCOPE_UNIVERSE;
    address->ifa_index = interface;
    struct ip_address own = ip4_address(interface_address(host, interface));
    put_ip(answer, IFA_ADDRESS, own);
    put_ip(answer, IFA_LOCAL, own);
    if (!loopback)
        put_ip(answer, IFA_BROADCAST, ip4_address(host->address | ~IP4_LINK_MASK));
    put_text(answer, IFA_LABEL, interface_name(interface));
    put_number(answer, IFA_FLAGS, IFA_F_PERMANENT);
    struct ifa_cacheinfo forever = {.ifa_prefered = UINT32_MAX, .ifa_valid = UINT32_MAX};
    put_attribute(answer, IFA_CACHEINFO, &forever, sizeof(forever));
}

/* The IPv6 addresses of a host, in the order of their interfaces. */
struct address6 {
    struct ip_address address;
    uint32_t interface;
    uint8_t prefix, scope;
};
enum { ADDRESSES6 = 3 };

static void list_addresses6(const struct host *host, struct address6 list[ADDRESSES6]) {
    list[0] = (struct address6){IP6_LOOPBACK, INTERFACE_LO, 128, RT_SCOPE_HOST};
    list[1] = (struct address6){host->address6, INTERFACE_ETH, IP6_LINK_PREFIX, RT_SCOPE_UNIVERSE};
    list[2] = (struct address6){inet_link_local(host), INTERFACE_ETH, IP6_LINK_PREFIX, RT_SCOPE_LINK};
}

static void describe_address6(struct answer *answer, const struct nlmsghdr *request, uint32_t port,
                              const struct address6 *own) {
    struct ifaddrmsg *address = message_begin(answer, request, RTM_NEWADDR, NLM_F_MULTI, port, sizeof(*address));
    if (!address)
        return;
    address->ifa_family = AF_INET6;
    address->ifa_prefixlen = own->prefix;
    address->ifa_flags = IFA_F_PERMANENT;
    address->ifa_scope = own->scope;
    address->ifa_index = own->interface;
    put_ip(answer, IFA_ADDRESS, own->address);
    struct ifa_cacheinfo forever = {.ifa_prefered = UINT32_MAX, .ifa_valid = UINT32_MAX};
    put_attribute(answer, IFA_CACHEINFO, &forever, sizeof(forever));
    put_number(answer, IFA_FLAGS, IFA_F_PERMANENT);
}

static void describe_addresses(const struct host *host, struct answer *answer, const struct nlmsghdr *request,
                               uint32_t port, uint8_t family) {
    for (uint32_t interface = INTERFACE_LO; family != AF_INET6 && interface <= INTERFACE_ETH; interface++)
        describe_address(host, answer, request, port, interface);
    struct address6 list[ADDRESSES6];
    list_addresses6(host, list);
    for (size_t i = 0; family != AF_INET && i < ADDRESSES6; i++)
        describe_address6(answer, request, port, &list[i]);
}

struct route {
    uint8_t table, type, scope, prefix;
    uint32_t interface;
    struct ip_address destination, source;
};

static void describe_route(struct answer *answer, const struct nlmsghdr *request, uint16_t flags, uint32_t port,
                           const struct route *route) {
    struct rtmsg *message = message_begin(answer, request, RTM_NEWROUTE, flags, port, sizeof(*message));
    if (!message)
        return;
    bool v6 = !ip_is_v4(route->destination);
    message->rtm_family = v6 ? AF_INET6 : AF_INET;
    message->rtm_dst_len = route->prefix;
    message->rtm_table = route->table;
    bool kernels = route->table == RT_TABLE_LOCAL || (v6 && route->prefix);
    message->rtm_protocol = kernels ? RTPROT_KERNEL : RTPROT_BOOT;
    message->rtm_scope = route->scope;
    message->rtm_type = route->type;
    put_number(answer, RTA_TABLE, route->table);
    bool listed = flags & NLM_F_MULTI; /* of a table, else the one to a place: Linux has another order there */
    if (route->prefix)
        put_ip(answer, RTA_DST, route->destination);
    if (!listed && !v6)
        put_number(answer, RTA_OIF, route->interface);
    if (!ip_is_any(route->source)) /* IPv6 routes leave the choice to the addresses */
        put_ip(answer, RTA_PREFSRC, route->source);
    if (v6)
        put_number(answer, RTA_PRIORITY, route->table == RT_TABLE_LOCAL ? 0 : kernels ? METRIC_LINK : METRIC_USER);
    if (listed || v6)
        put_number(answer, RTA_OIF, route->interface);
    if (!listed) {
        const struct rta_cacheinfo never_used = {.rta_used = 0};
        put_attribute(answer, RTA_CACHEINFO, &never_used, sizeof(never_used));
    }
}

static void describe_routes(const struct host *host, struct answer *answer, const struct nlmsghdr *request,
                            uint32_t port) {
    struct ip_address own = ip4_address(host->address), network = ip4_address(host->address & IP4_LINK_MASK);
    const struct route routes[] = {
        {RT_TABLE_MAIN, RTN_UNICAST, RT_SCOPE_LINK, 0, INTERFACE_ETH, IP4_ANY, own},
        {RT_TABLE_MAIN, RTN_UNICAST, RT_SCOPE_LINK, IP4_LINK_PREFIX, INTERFACE_ETH, network, own},
        {RT_TABLE_LOCAL, RTN_LOCAL, RT_SCOPE_HOST, 32, INTERFACE_ETH, own, own},
        {RT_TABLE_LOCAL, RTN_LOCAL, RT_SCOPE_HOST, LOOPBACK_PREFIX, INTERFACE_LO,
         ip4_address(LOOPBACK_ADDRESS & 0xff000000u), IP4_LOOPBACK},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(routes); i++)
        describe_route(answer, request, NLM_F_MULTI, port, &routes[i]);
}

static void describe_routes6(const struct host *host, struct answer *answer, const struct nlmsghdr *request,
                             uint32_t port) {
    struct ip_address network = {host->address6.high, 0}, link = {inet_link_local(host).high, 0};
    const struct route routes[] = {
        {RT_TABLE_MAIN, RTN_UNICAST, RT_SCOPE_UNIVERSE, IP6_LINK_PREFIX, INTERFACE_ETH, network, IP6_ANY},
        {RT_TABLE_MAIN, RTN_UNICAST, RT_SCOPE_UNIVERSE, IP6_LINK_PREFIX, INTERFACE_ETH, link, IP6_ANY},
        {RT_TABLE_MAIN, RTN_UNICAST, RT_SCOPE_UNIVERSE, 0, INTERFACE_ETH, IP6_ANY, IP6_ANY},
        {RT_TABLE_LOCAL, RTN_LOCAL, RT_SCOPE_UNIVERSE, 128, INTERFACE_LO, IP6_LOOPBACK, IP6_ANY},
        {RT_TABLE_LOCAL, RTN_LOCAL, RT_SCOPE_UNIVERSE, 128, INTERFACE_ETH, host->address6, IP6_ANY},
        {RT_TABLE_LOCAL, RTN_LOCAL, RT_SCOPE_UNIVERSE, 128, INTERFACE_ETH, inet_link_local(host), IP6_ANY},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(routes); i++)
        describe_route(answer, request, NLM_F_MULTI, port, &routes[i]);
}

/* ---- Requests ---- */

/* An attribute of a request whose fixed part has `fixed` bytes; NULL: not there. */
static const uint8_t *find_attribute(const struct nlmsghdr *request, size_t fixed, uint16_t type, uint32_t *length) {
    const uint8_t *bytes = (const uint8_t *)request;
    size_t at = sizeof(*request) + NLMSG_ALIGN(fixed);
    while (at + sizeof(struct rtattr) <= request->nlmsg_len) {
        struct rtattr attribute;
        memcpy(&attribute, bytes + at, sizeof(attribute));
        if (attribute.rta_len < sizeof(attribute) || attribute.rta_len > request->nlmsg_len - at)
            return NULL;
        if (attribute.rta_type == type) {
            *length = (uint32_t)(attribute.rta_len - sizeof(attribute));
            return bytes + at + sizeof(attribute);
        }
        at += NLMSG_ALIGN(attribute.rta_len);
    }
    return NULL;
}

static int answer_link(struct socket *socket, struct answer *answer, const struct nlmsghdr *request) {
    struct ifinfomsg link;
    if (request->nlmsg_len < sizeof(*request) + sizeof(link))
        return -EINVAL;
    memcpy(&link, request + 1, sizeof(link));
    uint32_t interface = (uint32_t)link.ifi_index, length;
    const uint8_t *name = find_attribute(request, sizeof(link), IFLA_IFNAME, &length);
    if (!interface && name) {
        char text[INTERFACE_NAME_MAX] = {0};
        memcpy(text, name, KMIN(length, INTERFACE_NAME_MAX - 1));
        interface = interface_of_name(text);
    }
    if (!interface_name(interface))
        return -ENODEV;
    describe_link(socket->host, answer, request, 0, socket->netlink_port, interface);
    return 0;
}

static int answer_route(struct socket *socket, struct answer *answer, const struct nlmsghdr *request) {
    uint32_t length;
    const uint8_t *bytes = find_attribute(request, sizeof(struct rtmsg), RTA_DST, &length);
    bool v6 = *(const uint8_t *)(request + 1) == AF_INET6; /* rtm_family */
    if (!bytes || length < (v6 ? 16 : sizeof(uint32_t)))
        return -EINVAL;
    const struct host *host = socket->host;
    struct ip_address destination = v6 ? ip_get(bytes) : ip4_address(get32(bytes));
    bool local = inet_is_local(host, destination);
    struct route route = {local ? RT_TABLE_LOCAL : RT_TABLE_MAIN,
                          local ? RTN_LOCAL : RTN_UNICAST,
                          RT_SCOPE_UNIVERSE,
                          v6 ? 128 : 32,
                          local ? INTERFACE_LO : INTERFACE_ETH,
                          destination,
                          inet_source_address(host, destination)};
    describe_route(answer, request, 0, socket->netlink_port, &route);
    return 0;
}

static int answer_dump(struct socket *socket, struct answer *answer, const struct nlmsghdr *request) {
    uint8_t family = request->nlmsg_len > sizeof(*request) ? *(const uint8_t *)(request + 1) : AF_UNSPEC;
    bool ours = family == AF_UNSPEC || family == AF_INET || family == AF_INET6;
    switch (request->nlmsg_type) {
    case RTM_GETLINK:
        for (uint32_t interface = INTERFACE_LO; interface <= INTERFACE_ETH; interface++)
            describe_link(socket->host, answer, request, NLM_F_MULTI, socket->netlink_port, interface);
        return 0;
    case RTM_GETADDR:
        if (ours)
            describe_addresses(socket->host, answer, request, socket->netlink_port, family);
        return 0;
    case RTM_GETROUTE:
        if (ours && family != AF_INET6)
            describe_routes(socket->host, answer, request, socket->netlink_port);
        if (ours && family != AF_INET)
            describe_routes6(socket->host, answer, request, socket->netlink_port);
        return 0;
    case RTM_GETNEIGH:
    case RTM_GETRULE:
        return 0; /* there are none */
    default:
        return -EOPNOTSUPP;
    }
}

static int answer_one(struct socket *socket, struct answer *answer, const struct nlmsghdr *request) {
    if ((request->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP)
        return answer_dump(socket, answer, request);
    switch (request->nlmsg_type) {
    case RTM_GETLINK:
        return answer_link(socket, answer, request);
    case RTM_GETROUTE:
        return answer_route(socket, answer, request);
    case RTM_GETADDR:
    case RTM_GETNEIGH:
    case RTM_GETRULE:
        return -EOPNOTSUPP;
    default:
        /* The others of each group of four change something (RTM_NEW, RTM_DEL, RTM_SET). */
        return request->nlmsg_type >= RTM_BASE && request->nlmsg_type <= RTM_MAX ? -EPERM : -EOPNOTSUPP;
    }
}

static bool answer_begin(struct socket *socket, struct answer *answer) {
    answer->message = NULL;
    answer->packet = packet_create(socket->host, ANSWER_MAX);
    if (!answer->packet)
        return false;
    answer->packet->length = 0;
    return true;
}

static void answer_end(struct socket *socket, struct answer *answer) {
    struct packet *packet = answer->packet;
    if (!packet->length || socket->receive_used > socket->receive_buffer) {
        socket->drops += packet->length != 0;
        packet_free(socket->host, packet);
        return;
    }
    packet->charge = packet_charge(packet->length);
    socket->receive_used += packet->charge;
    packet_queue_push(&socket->receive, packet);
    socket_wake(socket, POLLIN | POLLRDNORM);
}

static void acknowledge(struct answer *answer, const struct nlmsghdr *request, uint32_t port, int error) {
    struct nlmsgerr *result = message_begin(answer, request, NLMSG_ERROR, 0, port, sizeof(*result));
    if (!result)
        return;
    result->error = error;
    result->msg = *request;
}

/* NLMSG_DONE comes in a datagram of its own, as from Linux. */
static void finish_dump(struct socket *socket, const struct nlmsghdr *request) {
    struct answer answer;
    if (!answer_begin(socket, &answer))
        return;
    (void)message_begin(&answer, request, NLMSG_DONE, NLM_F_MULTI, socket->netlink_port, sizeof(int32_t));
    answer_end(socket, &answer);
}

static int64_t handle(struct socket *socket, const struct nlmsghdr *request) {
    if (!(request->nlmsg_flags & NLM_F_REQUEST))
        return 0;
    struct answer answer;
    if (!answer_begin(socket, &answer))
        return -ENOBUFS;
    int error = request->nlmsg_type < NLMSG_MIN_TYPE ? 0 : answer_one(socket, &answer, request);
    bool dump = !error && request->nlmsg_type >= NLMSG_MIN_TYPE && (request->nlmsg_flags & NLM_F_DUMP) == NLM_F_DUMP;
    if (error || (!dump && (request->nlmsg_flags & NLM_F_ACK)))
        acknowledge(&answer, request, socket->netlink_port, error);
    answer_end(socket, &answer);
    if (dump)
        finish_dump(socket, request);
    return 0;
}

static void name_port(struct task *task, struct socket *socket) {
    if (!socket->netlink_port)
        socket->netlink_port = (uint32_t)task->process->pid;
}

int64_t netlink_send(struct task *task, struct socket *socket, struct uio *from, int flags,
                     struct socket_message *message) {
    (void)message; /* there is nobody to talk to but the kernel */
    if (flags & MSG_OOB)
        return -EOPNOTSUPP;
    if (from->remaining > REQUEST_MAX)
        return -EMSGSIZE;
    size_t length = from->remaining, at = 0;
    uint8_t *bytes = kalloc_raw(task->host, length + sizeof(struct nlmsghdr));
    if (!bytes)
        return -ENOBUFS;
    name_port(task, socket);
    int64_t result = uio_copy_in(from, bytes, length);
    while (!result && length - at >= sizeof(struct nlmsghdr)) {
        /* Messages start at multiples of four from 16-byte aligned memory. */
        const struct nlmsghdr *request = (const struct nlmsghdr *)(const void *)(bytes + at);
        if (request->nlmsg_len < sizeof(*request) || request->nlmsg_len > length - at)
            break;
        result = handle(socket, request);
        at += KMIN((size_t)NLMSG_ALIGN(request->nlmsg_len), length - at);
    }
    kfree(task->host, bytes);
    return result ? result : (int64_t)length;
}

static uint32_t put_netlink_name(uint8_t *name, uint32_t port) {
    struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_pid = port};
    memcpy(name, &address, sizeof(address));
    return sizeof(address);
}

int64_t netlink_receive(struct task *task, struct socket *socket, struct uio *to, int flags,
                        struct socket_message *message) {
    struct packet *packet = socket->receive.head;
    if (!packet)
        return -EAGAIN;
    uint32_t length = packet->length, copied = (uint32_t)KMIN((size_t)length, to->remaining);
    message->name_length = put_netlink_name(message->name, 0);
    message->has_credentials = true; /* from the kernel: zeros */
    if (copied < length)
        message->out_flags |= MSG_TRUNC;
    int error = uio_copy_out(to, packet->data, copied);
    if (!(flags & MSG_PEEK)) {
        socket->receive_used -= packet->charge;
        packet_free(task->host, packet_queue_pop(&socket->receive));
    }
    if (error)
        return error;
    return (flags & MSG_TRUNC) ? length : copied;
}

int netlink_bind(struct task *task, struct socket *socket, const uint8_t *name, uint32_t length) {
    struct sockaddr_nl address;
    if (length < sizeof(address))
        return -EINVAL;
    memcpy(&address, name, sizeof(address));
    if (address.nl_family != AF_NETLINK)
        return -EINVAL;
    if (socket->netlink_port && address.nl_pid != socket->netlink_port)
        return -EINVAL;
    socket->netlink_port = address.nl_pid;
    name_port(task, socket);
    return 0;
}

/* What is about messages that never come here is kept and shown. Nothing is ever announced to a group. */
#define KEPT_OPTIONS                                                                                                   \
    (1u << NETLINK_PKTINFO | 1u << NETLINK_BROADCAST_ERROR | 1u << NETLINK_NO_ENOBUFS | 1u << NETLINK_CAP_ACK |        \
     1u << NETLINK_EXT_ACK | 1u << NETLINK_GET_STRICT_CHK)

static bool is_kept(int name) { return name >= 0 && name < 32 && (KEPT_OPTIONS >> name & 1); }

int netlink_set_option(struct socket *socket, int name, const void *value, uint32_t length) {
    int32_t number = 0; /* what a short value means */
    if (length >= sizeof(number))
        memcpy(&number, value, sizeof(number));
    if (name == NETLINK_ADD_MEMBERSHIP || name == NETLINK_DROP_MEMBERSHIP)
        return number > 0 && number <= RTNLGRP_MAX ? 0 : -EINVAL;
    if (!is_kept(name))
        return -ENOPROTOOPT;
    socket->netlink_options &= ~(1u << name);
    socket->netlink_options |= (uint32_t)(number != 0) << name;
    return 0;
}

int netlink_get_option(const struct socket *socket, int name, void *value, uint32_t *length) {
    int32_t number = is_kept(name) ? (int32_t)(socket->netlink_options >> name & 1) : 0;
    if (!is_kept(name))
        return -ENOPROTOOPT;
    if (*length < sizeof(number))
        return -EINVAL;
    *length = sizeof(number);
    memcpy(value, &number, sizeof(number));
    return 0;
}

uint32_t netlink_name(const struct socket *socket, uint8_t *name, bool peer) {
    return put_netlink_name(name, peer ? 0 : socket->netlink_port);
}

/* ---- Files ---- */

static int64_t read_file(struct task *task, struct file *file, struct uio *to, const int64_t *position) {
    if (position)
        return -ESPIPE;
    struct socket_message message = {.ttl = -1, .tos = -1};
    return netlink_receive(task, file->object, to, 0, &message);
}

static int64_t write_file(struct task *task, struct file *file, struct uio *from, const int64_t *position) {
    if (position)
        return -ESPIPE;
    struct socket_message message = {.ttl = -1, .tos = -1};
    return netlink_send(task, file->object, from, 0, &message);
}

static uint32_t poll_file(struct file *file) {
    const struct socket *socket = file->object;
    return POLLOUT | POLLWRNORM | (socket->receive.head ? (uint32_t)(POLLIN | POLLRDNORM) : 0);
}

static void release_file(struct host *host, struct file *file) {
    (void)host;
    socket_free(file->object);
}

static int64_t ioctl_file(struct task *task, struct file *file, uint32_t command, uint64_t argument) {
    (void)file;
    int64_t result = interface_ioctl(task->host, command, argument);
    return result == -ENOIOCTLCMD ? -ENOTTY : result;
}

const struct file_operations netlink_operations = {
    .name = "socket",
    .stream = false,
    .read = read_file,
    .write = write_file,
    .poll = poll_file,
    .release = release_file,
    .ioctl = ioctl_file,
};
