/* IPv4 of one host: packets in and out, the egress queue, loopback, ports and connection tables.
 * Called by udp.c and tcp*.c (output, tables), by link.c (net_receive, net_egress_*, net_left) and at the end of every
 * system call (net_run_backlog); calls udp_input and tcp_input.
 */
#include "credentials.h"
#include "socket.h"
#include "tcp.h"
#include <asm/ioctls.h>
#include <linux/capability.h>
#include <linux/in.h>
#include <linux/udp.h>

#define UNPRIVILEGED_PORT 1024u /* net.ipv4.ip_unprivileged_port_start */
#define EPHEMERAL_FIRST 32768u  /* net.ipv4.ip_local_port_range */
#define EPHEMERAL_LAST 60999u
#define FIRST_BUCKETS 16u
#define DEFAULT_TTL 64
#define ICMP_DEST_UNREACH 3 /* RFC 792 */
#define ICMP_PORT_UNREACH 3
#define DONT_FRAGMENT 0x4000u
#define FRAGMENT_MASK 0x3fffu /* more fragments, and the offset */
/* Errors sent per second and in one burst (Linux: icmp_msgs_per_sec, icmp_msgs_burst). */
#define ICMP_PER_SECOND 1000
#define ICMP_BURST 50u
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

/* ---- The tables ---- */

static uint32_t mix(uint32_t value) {
    value ^= value >> 16;
    value *= UINT32_C(0x7feb352d);
    value ^= value >> 15;
    value *= UINT32_C(0x846ca68b);
    return value ^ (value >> 16);
}

static uint32_t connection_hash(int protocol, uint32_t local, uint16_t local_port, uint32_t remote,
                                uint16_t remote_port) {
    uint32_t ports = ((uint32_t)local_port << 16) | remote_port;
    return mix(remote ^ mix(ports ^ mix(local ^ (uint32_t)protocol)));
}

static uint32_t socket_hash(const struct socket *socket, bool connection) {
    if (!connection)
        return mix(socket->local_port);
    return connection_hash(socket->protocol, socket->local_address, socket->local_port, socket->remote_address,
                           socket->remote_port);
}

static int table_create(struct host *host, struct socket_table *table, uint32_t buckets) {
    table->buckets = kalloc(host, buckets * sizeof(struct list));
    if (!table->buckets)
        return -ENOMEM;
    table->mask = buckets - 1;
    for (uint32_t i = 0; i < buckets; i++)
        list_init(&table->buckets[i]);
    return 0;
}

/* Doubles the buckets; a full arena only makes them longer. The order inside a bucket is kept. */
static void table_grow(struct host *host, struct socket_table *table, bool connection) {
    struct socket_table old = *table;
    if (table_create(host, table, (old.mask + 1) * 2)) {
        *table = old;
        return;
    }
    for (uint32_t i = 0; i <= old.mask; i++) {
        list_for_each_safe(node, &old.buckets[i]) {
            struct socket *socket = connection ? list_entry(node, struct socket, connection_node)
                                               : list_entry(node, struct socket, port_node);
            list_remove(node);
            list_push_back(&table->buckets[socket_hash(socket, connection) & table->mask], node);
        }
    }
    kfree(host, old.buckets);
}

static struct list *port_bucket(struct net *net, uint16_t port) {
    return &net->ports.buckets[mix(port) & net->ports.mask];
}

static bool is_connection(const struct socket *socket) { return list_linked(&socket->connection_node); }

/* Sockets that input may look for by port alone stand before connections, so that a lookup stops at the first of these.
 */
static void ports_add(struct socket *socket) {
    struct net *net = socket->host->net;
    if (!list_linked(&socket->port_node)) {
        if (net->ports.count++ > net->ports.mask)
            table_grow(socket->host, &net->ports, false);
    } else {
        list_remove(&socket->port_node);
    }
    struct list *bucket = port_bucket(net, socket->local_port);
    if (is_connection(socket)) {
        list_push_back(bucket, &socket->port_node);
        return;
    }
    /* In order of binding, behind the others of their sort. */
    struct list *before = bucket;
    while (before->next != bucket && !is_connection(list_entry(before->next, struct socket, port_node)))
        before = before->next;
    list_push_front(before, &socket->port_node);
}

static void connections_remove(struct socket *socket) {
    if (!is_connection(socket))
        return;
    list_remove(&socket->connection_node);
    socket->host->net->connections.count--;
}

struct socket *inet_find_connection(struct host *host, uint8_t protocol, uint32_t local, uint16_t local_port,
                                    uint32_t remote, uint16_t remote_port) {
    struct socket_table *table = &host->net->connections;
    uint32_t hash = connection_hash(protocol, local, local_port, remote, remote_port);
    list_for_each(node, &table->buckets[hash & table->mask]) {
        struct socket *socket = list_entry(node, struct socket, connection_node);
        if (socket->remote_address == remote && socket->remote_port == remote_port &&
            socket->local_port == local_port && socket->local_address == local && socket->protocol == protocol)
            return socket;
    }
    return NULL;
}

/* The unconnected socket that gets what arrives for this name: one bound to the address before one bound to any; among
 * equals with SO_REUSEPORT the one that `turn` falls on, else the latest. */
static struct socket *find_bound(struct host *host, int protocol, uint32_t local, uint16_t port, uint32_t turn) {
    struct list *bucket = port_bucket(host->net, port);
    struct socket *best = NULL;
    uint32_t equals = 0;
    list_for_each(node, bucket) {
        struct socket *socket = list_entry(node, struct socket, port_node);
        if (is_connection(socket))
            break;
        if (socket->local_port != port || socket->protocol != protocol ||
            (socket->local_address && socket->local_address != local))
            continue;
        if (protocol == PROTOCOL_TCP && socket->state != SOCKET_LISTENING)
            continue;
        if (best && best->local_address && !socket->local_address)
            continue;
        if (best && best->local_address == socket->local_address && best->reuse_port && socket->reuse_port) {
            equals++;
            continue;
        }
        best = socket;
        equals = 1;
    }
    if (equals < 2)
        return best;
    uint32_t wanted = turn % equals;
    list_for_each(node, bucket) {
        struct socket *socket = list_entry(node, struct socket, port_node);
        if (is_connection(socket))
            break;
        if (socket->local_port == port && socket->protocol == protocol && socket->reuse_port &&
            socket->local_address == best->local_address &&
            (protocol != PROTOCOL_TCP || socket->state == SOCKET_LISTENING) && wanted-- == 0)
            return socket;
    }
    return best;
}

struct socket *inet_find_listener(struct host *host, uint32_t local, uint16_t local_port) {
    struct socket *socket = find_bound(host, PROTOCOL_TCP, local, local_port, host->net->next_listener);
    if (socket && socket->reuse_port)
        host->net->next_listener++;
    return socket;
}

struct socket *inet_find_datagram(struct host *host, uint32_t local, uint16_t local_port, uint32_t remote,
                                  uint16_t remote_port) {
    struct socket *socket = inet_find_connection(host, PROTOCOL_UDP, local, local_port, remote, remote_port);
    if (socket)
        return socket;
    return find_bound(host, PROTOCOL_UDP, local, local_port, mix(remote ^ mix(remote_port)));
}

static bool names_overlap(const struct socket *a, uint32_t address) {
    return !a->local_address || !address || a->local_address == address;
}

static bool may_share(const struct socket *a, const struct socket *b) {
    if (a->reuse_port && b->reuse_port)
        return true;
    if (!a->reuse_address || !b->reuse_address)
        return false;
    return a->protocol == PROTOCOL_UDP || (a->state != SOCKET_LISTENING && b->state != SOCKET_LISTENING);
}

static bool port_conflict(struct socket *socket, uint32_t address, uint16_t port) {
    list_for_each(node, port_bucket(socket->host->net, port)) {
        struct socket *other = list_entry(node, struct socket, port_node);
        if (other != socket && other->local_port == port && other->protocol == socket->protocol &&
            names_overlap(other, address) && !may_share(socket, other))
            return true;
    }
    return false;
}

/* As port_conflict, for a connecting socket: it only must not take the names of another connection, nor a port that a
 * program asked for. */
static bool connect_conflict(struct socket *socket, uint16_t port) {
    if (inet_find_connection(socket->host, (uint8_t)socket->protocol, socket->local_address, port,
                             socket->remote_address, socket->remote_port))
        return true;
    list_for_each(node, port_bucket(socket->host->net, port)) {
        struct socket *other = list_entry(node, struct socket, port_node);
        if (other != socket && other->local_port == port && other->protocol == socket->protocol &&
            (other->bound_by_user || !is_connection(other)))
            return true;
    }
    return false;
}

static int choose_port(struct socket *socket, uint32_t address, bool connecting, uint16_t *port) {
    struct net *net = socket->host->net;
    for (uint32_t tried = EPHEMERAL_FIRST; tried <= EPHEMERAL_LAST; tried++) {
        uint16_t candidate = net->next_ephemeral;
        net->next_ephemeral = candidate == EPHEMERAL_LAST ? (uint16_t)EPHEMERAL_FIRST : (uint16_t)(candidate + 1);
        /* A port that somebody shares was asked for by number. */
        bool reuse_address = socket->reuse_address, reuse_port = socket->reuse_port;
        socket->reuse_address = socket->reuse_port = false;
        bool taken = connecting ? connect_conflict(socket, candidate) : port_conflict(socket, address, candidate);
        socket->reuse_address = reuse_address;
        socket->reuse_port = reuse_port;
        if (!taken) {
            *port = candidate;
            return 0;
        }
    }
    return connecting ? -EADDRNOTAVAIL : -EADDRINUSE;
}

int inet_bind(struct socket *socket, uint32_t address, uint16_t port) {
    bool multicast = (address >> 28) == 0xe || address == UINT32_MAX;
    if (address && !inet_is_local(socket->host, address) && !socket->free_bind &&
        !(multicast && socket->protocol == PROTOCOL_UDP))
        return -EADDRNOTAVAIL;
    if (!port) {
        if (socket->bind_late) { /* IP_BIND_ADDRESS_NO_PORT: connect chooses */
            socket->local_address = address;
            return 0;
        }
        int error = choose_port(socket, address, false, &port);
        if (error)
            return error;
    } else if (port_conflict(socket, address, port)) {
        return -EADDRINUSE;
    }
    socket->local_address = address;
    socket->local_port = port;
    ports_add(socket);
    return 0;
}

int inet_autobind(struct socket *socket) {
    if (socket->local_port)
        return 0;
    bool connecting = socket->protocol == PROTOCOL_TCP && socket->remote_port;
    int error = choose_port(socket, socket->local_address, connecting, &socket->local_port);
    if (error)
        return connecting ? error : -EAGAIN; /* Linux: EAGAIN from a send that finds no port */
    /* A connection enters the port table with its names, when it is known to be one. */
    if (!connecting)
        ports_add(socket);
    return 0;
}

int inet_connected(struct socket *socket) {
    struct net *net = socket->host->net;
    struct socket *other = inet_find_connection(socket->host, (uint8_t)socket->protocol, socket->local_address,
                                                socket->local_port, socket->remote_address, socket->remote_port);
    /* Linux lets several datagram sockets connect to the same place, and gives all to the latest. */
    if (other && other != socket && socket->protocol == PROTOCOL_TCP)
        return -EADDRNOTAVAIL;
    connections_remove(socket);
    if (net->connections.count++ > net->connections.mask)
        table_grow(socket->host, &net->connections, true);
    list_push_front(&net->connections.buckets[socket_hash(socket, true) & net->connections.mask],
                    &socket->connection_node);
    ports_add(socket);
    return 0;
}

void inet_disconnected(struct socket *socket) {
    connections_remove(socket);
    socket->remote_address = 0;
    socket->remote_port = 0;
    socket->local_address = socket->bound_address;
    if (socket->bound_by_user) {
        ports_add(socket); /* TCP gave the port back when the connection failed */
        return;
    }
    inet_unbind(socket);
    socket->local_port = 0;
}

void inet_unbind(struct socket *socket) {
    connections_remove(socket);
    if (!list_linked(&socket->port_node))
        return;
    list_remove(&socket->port_node);
    socket->host->net->ports.count--;
}

int inet_check_listen(struct socket *socket) {
    list_for_each(node, port_bucket(socket->host->net, socket->local_port)) {
        struct socket *other = list_entry(node, struct socket, port_node);
        if (is_connection(other))
            break;
        if (other != socket && other->local_port == socket->local_port && other->protocol == socket->protocol &&
            other->state == SOCKET_LISTENING && names_overlap(other, socket->local_address) &&
            !(other->reuse_port && socket->reuse_port))
            return -EADDRINUSE;
    }
    return 0;
}

/* ---- Addresses ---- */

static bool is_loopback(uint32_t address) { return address >> 24 == 127; }

bool inet_is_local(const struct host *host, uint32_t address) {
    return address == host->address || is_loopback(address);
}

uint32_t inet_source_address(const struct host *host, uint32_t destination) {
    return is_loopback(destination) ? LOOPBACK_ADDRESS : host->address;
}

int inet_route(const struct socket *socket, uint32_t source, uint32_t destination) {
    bool local = inet_is_local(socket->host, destination);
    if (destination == UINT32_MAX || destination >> 28 == 0xe)
        return -ENETUNREACH; /* no broadcast and no multicast between simulated hosts */
    if (destination >> 24 == 0 || destination >> 28 == 0xf)
        return -EINVAL;
    if (!local && is_loopback(source))
        return -EINVAL; /* a loopback source never leaves the host */
    if (!local && socket->bound_interface == INTERFACE_LO)
        return -ENETUNREACH;
    return 0;
}

/* ---- Output ---- */

void ip_header(struct host *host, struct packet *packet, uint8_t protocol, uint32_t source, uint32_t destination,
               const struct socket *options) {
    uint8_t *p = packet->data;
    uint32_t mtu = inet_is_local(host, destination) ? LOOPBACK_MTU : MTU;
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

void ip_output(struct host *host, struct packet *packet) {
    struct net *net = host->net;
    struct socket *owner = packet->owner;
    packet->time = host->now;
    if (owner) {
        packet->queued = true;
        owner->queued_bytes += packet->charge;
        owner->queued_packets++;
    }
    if (inet_is_local(host, get32(packet->data + 16))) {
        packet_queue_push(&net->backlog, packet);
        return;
    }
    host->counters.packets_sent++;
    host->counters.bytes_sent += packet->length;
    packet_queue_push(&net->egress, packet);
}

struct packet *net_egress_peek(struct host *host) { return host->net->egress.head; }

void net_egress_pop(struct host *host) { (void)packet_queue_pop(&host->net->egress); }

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

static bool icmp_allowed(struct host *host) {
    struct net *net = host->net;
    int64_t elapsed = host->now - net->icmp_time;
    int64_t earned = KMIN(elapsed, NS_PER_S) / (NS_PER_S / ICMP_PER_SECOND);
    if (earned > 0) {
        net->icmp_tokens = (uint32_t)KMIN(net->icmp_tokens + earned, (int64_t)ICMP_BURST);
        net->icmp_time = host->now;
    }
    if (!net->icmp_tokens)
        return false;
    net->icmp_tokens--;
    return true;
}

/* RFC 792, 1122 section 3.2.2.1: destination unreachable, port unreachable, with the header and 8 bytes of the cause.
 */
void icmp_port_unreachable(struct host *host, const struct packet *cause) {
    uint32_t quoted = KMIN(cause->length, IP_HEADER + 8);
    uint32_t source = get32(cause->data + 16), destination = get32(cause->data + 12);
    if (!inet_is_local(host, destination) && !icmp_allowed(host))
        return;
    struct packet *packet = packet_create(host, IP_HEADER + 8 + quoted);
    if (!packet)
        return;
    uint8_t *icmp = packet->data + IP_HEADER;
    memset(icmp, 0, 8);
    icmp[0] = ICMP_DEST_UNREACH;
    icmp[1] = ICMP_PORT_UNREACH;
    memcpy(icmp + 8, cause->data, quoted);
    ip_header(host, packet, PROTOCOL_ICMP, source, destination, NULL);
    ip_output(host, packet);
}

static void icmp_input(struct host *host, struct packet *packet) {
    const uint8_t *icmp = packet->data + IP_HEADER, *quoted = icmp + 8;
    if (packet->length < IP_HEADER + 8 + IP_HEADER + 8) {
        host->counters.packets_malformed++;
    } else if (icmp[0] == ICMP_DEST_UNREACH && icmp[1] == ICMP_PORT_UNREACH && quoted[0] == 0x45 &&
               quoted[9] == PROTOCOL_UDP) {
        const uint8_t *ports = quoted + IP_HEADER;
        struct socket *socket =
            inet_find_datagram(host, get32(quoted + 12), get16(ports), get32(quoted + 16), get16(ports + 2));
        if (socket && (is_connection(socket) || socket->receive_errors))
            socket_set_error(socket, ECONNREFUSED);
    }
    packet_free(host, packet);
}

static void ip_input(struct host *host, struct packet *packet) {
    packet->time = host->now;
    switch (packet->data[9]) {
    case PROTOCOL_UDP:
        udp_input(host, packet);
        break;
    case PROTOCOL_TCP:
        tcp_input(host, packet);
        break;
    case PROTOCOL_ICMP:
        icmp_input(host, packet);
        break;
    default:
        host->counters.packets_dropped_no_socket++;
        packet_free(host, packet);
    }
}

/* Length of the packet in `bytes`, 0 if it is none that this host would take from a wire. */
static uint32_t packet_check(struct host *host, const uint8_t *bytes, uint32_t length) {
    if (length < IP_HEADER || bytes[0] != 0x45)
        return 0;
    uint32_t total = get16(bytes + 2), transport = IP_HEADER;
    if (total < IP_HEADER || total > length || (get16(bytes + 6) & FRAGMENT_MASK))
        return 0;
    if (bytes[9] == PROTOCOL_TCP)
        transport += TCP_HEADER;
    else if (bytes[9] == PROTOCOL_UDP || bytes[9] == PROTOCOL_ICMP)
        transport += UDP_HEADER;
    if (total < transport)
        return 0;
    if (bytes[9] == PROTOCOL_TCP) {
        uint32_t header = (uint32_t)(bytes[IP_HEADER + 12] >> 4) * 4;
        if (header < TCP_HEADER || IP_HEADER + header > total)
            return 0;
    }
    uint32_t source = get32(bytes + 12), destination = get32(bytes + 16);
    /* RFC 1812 section 5.3.7: these never come from another host. */
    if (inet_is_local(host, source) || source >> 28 >= 0xe || source == 0 || is_loopback(destination))
        return 0;
    return total;
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
    if (!inet_is_local(host, get32(packet->data + 16))) {
        host->counters.packets_dropped_no_socket++;
        packet_free(host, packet);
        return;
    }
    packet->length = total; /* the rest is padding */
    ip_input(host, packet);
    net_run_backlog(host);
}

void net_run_backlog(struct host *host) {
    struct net *net = host->net;
    if (net->in_backlog)
        return; /* what delivery sends is delivered by the loop that runs already */
    net->in_backlog = true;
    struct packet *packet;
    while ((packet = packet_queue_pop(&net->backlog))) {
        net_left(host, packet);
        ip_input(host, packet);
    }
    net->in_backlog = false;
}

int net_create(struct host *host) {
    struct net *net = kalloc(host, sizeof(*net));
    if (!net)
        return -ENOMEM;
    if (table_create(host, &net->ports, FIRST_BUCKETS) || table_create(host, &net->connections, FIRST_BUCKETS)) {
        kfree(host, net->ports.buckets);
        kfree(host, net);
        return -ENOMEM;
    }
    net->icmp_tokens = ICMP_BURST;
    net->next_ephemeral =
        (uint16_t)(EPHEMERAL_FIRST + rng_next(host, RNG_KERNEL) % (EPHEMERAL_LAST - EPHEMERAL_FIRST + 1));
    host->net = net;
    return 0;
}

/* ---- What socket.c asks of a family ---- */

uint32_t inet_name(const struct socket *socket, uint8_t *name, bool peer) {
    bool connected = socket->protocol == PROTOCOL_UDP ? socket->remote_port != 0 : socket->state == SOCKET_CONNECTED;
    if (peer && !connected)
        return 0;
    return inet_put_name(name, peer ? socket->remote_address : socket->local_address,
                         peer ? socket->remote_port : socket->local_port);
}

uint32_t inet_put_name(uint8_t *name, uint32_t address, uint16_t port) {
    memset(name, 0, sizeof(struct sockaddr_in));
    name[0] = AF_INET; /* sin_family is in the machine's order */
    put16(name + 2, port);
    put32(name + 4, address);
    return sizeof(struct sockaddr_in);
}

static uint16_t name_family(const uint8_t *name) {
    uint16_t family;
    memcpy(&family, name, sizeof(family));
    return family;
}

int inet_bind_name(struct task *task, struct socket *socket, const uint8_t *name, uint32_t length) {
    if (length < sizeof(struct sockaddr_in))
        return -EINVAL;
    uint32_t address = get32(name + 4);
    uint16_t port = get16(name + 2);
    /* Compatibility of Linux: AF_UNSPEC with the wildcard address. */
    if (name_family(name) != AF_INET && !(name_family(name) == AF_UNSPEC && !address))
        return -EAFNOSUPPORT;
    if (port && port < UNPRIVILEGED_PORT && !credentials_capable(task, CAP_NET_BIND_SERVICE))
        return -EACCES;
    if (socket->state != SOCKET_UNCONNECTED || socket->local_port || socket->bound_address)
        return -EINVAL;
    int error = inet_bind(socket, address, port);
    if (error)
        return error;
    socket->bound_address = address;
    socket->bound_by_user = socket->local_port != 0;
    return 0;
}

/* Fills the four names in; undone by inet_disconnected. */
static int choose_names(struct socket *socket, uint32_t address, uint16_t port) {
    address = address ? address : LOOPBACK_ADDRESS;
    int error = inet_route(socket, socket->local_address, address);
    if (error)
        return error;
    if (socket->protocol == PROTOCOL_UDP) { /* binds first: a port that nobody else has */
        error = inet_autobind(socket);
        if (error)
            return error;
    }
    if (!socket->local_address)
        socket->local_address = inet_source_address(socket->host, address);
    socket->remote_address = address;
    socket->remote_port = port;
    return 0;
}

static int datagram_connect(struct socket *socket, const uint8_t *name, uint32_t length) {
    if (name_family(name) == AF_UNSPEC) {
        if (socket->state == SOCKET_CONNECTED)
            inet_disconnected(socket);
        socket->state = SOCKET_UNCONNECTED;
        return 0;
    }
    if (length < sizeof(struct sockaddr_in))
        return -EINVAL;
    if (name_family(name) != AF_INET)
        return -EAFNOSUPPORT;
    /* A second connect moves the socket; the port stays. */
    connections_remove(socket);
    socket->local_address = socket->bound_address;
    socket->state = SOCKET_UNCONNECTED;
    int error = choose_names(socket, get32(name + 4), get16(name + 2));
    if (!error)
        error = inet_connected(socket);
    if (!error)
        socket->state = SOCKET_CONNECTED;
    return error;
}

/* A stream that may connect or listen again; names that the program bound stay (Linux: tcp_disconnect). */
static void stream_unconnected(struct socket *socket) {
    socket->state = SOCKET_UNCONNECTED;
    socket->connect_pending = false;
    socket->read_shutdown = socket->write_shutdown = false;
    inet_disconnected(socket);
}

static int stream_disconnect(struct socket *socket) {
    if (socket->state == SOCKET_LISTENING)
        (void)tcp_shutdown(socket, true, true);
    else if (socket->state == SOCKET_CONNECTED)
        tcp_reset_and_done(socket->tcp, 0);
    else if (socket->state == SOCKET_CONNECTING)
        tcp_done(socket->tcp, ECONNRESET);
    stream_unconnected(socket);
    return 0;
}

static int stream_connect(struct socket *socket, const uint8_t *name, uint32_t length) {
    bool pending = socket->connect_pending;
    if (name_family(name) == AF_UNSPEC)
        return stream_disconnect(socket);
    switch (socket->state) {
    case SOCKET_LISTENING:
        return -EISCONN;
    case SOCKET_CONNECTING:
        return -EALREADY;
    case SOCKET_CONNECTED:
        /* The first connect after an asynchronous one succeeded tells so. */
        socket->connect_pending = false;
        return pending ? 0 : -EISCONN;
    default:
        break;
    }
    if (pending) {
        int error = socket->error ? socket->error : ECONNABORTED;
        socket->error = 0;
        stream_unconnected(socket);
        return -error;
    }
    if (socket->state == SOCKET_DISCONNECTED)
        return -EISCONN;
    if (length < sizeof(struct sockaddr_in))
        return -EINVAL;
    if (name_family(name) != AF_INET)
        return -EAFNOSUPPORT;
    int error = choose_names(socket, get32(name + 4), get16(name + 2));
    if (!error)
        error = inet_autobind(socket);
    if (!error)
        error = inet_connected(socket);
    if (!error)
        error = tcp_connect(socket);
    socket->connect_pending = error == -EINPROGRESS;
    if (error && error != -EINPROGRESS)
        inet_disconnected(socket);
    return error;
}

int inet_connect(struct task *task, struct socket *socket, const uint8_t *name, uint32_t length) {
    (void)task;
    if (length < sizeof(uint16_t))
        return -EINVAL;
    return socket->type == SOCK_STREAM ? stream_connect(socket, name, length) : datagram_connect(socket, name, length);
}

int64_t inet_send(struct task *task, struct socket *socket, struct uio *from, int flags,
                  struct socket_message *message) {
    if (socket->type == SOCK_STREAM)
        return tcp_send(task, socket, from, flags);
    struct udp_message to = {.has_local_address = message->has_source, .local_address = message->local_address};
    if (message->name_length) {
        if (message->name_length < sizeof(struct sockaddr_in))
            return -EINVAL;
        if (name_family(message->name) != AF_INET && name_family(message->name) != AF_UNSPEC)
            return -EAFNOSUPPORT;
        to.has_address = true;
        to.port = get16(message->name + 2);
        to.address = get32(message->name + 4);
    }
    return udp_send(task, socket, from, flags, &to);
}

int64_t inet_receive(struct task *task, struct socket *socket, struct uio *to, int flags,
                     struct socket_message *message) {
    if (socket->type == SOCK_STREAM)
        return tcp_receive(task, socket, to, flags);
    size_t space = to->remaining;
    struct udp_message from = {0};
    int64_t received = udp_receive(task, socket, to, flags, &from);
    if (received < 0 || !from.has_address)
        return received;
    message->name_length = inet_put_name(message->name, from.address, from.port);
    message->has_source = true;
    message->local_address = from.local_address;
    message->has_time = true;
    message->time = from.time;
    message->ttl = from.ttl;
    message->tos = from.tos;
    if (from.full_length > space)
        message->out_flags |= MSG_TRUNC;
    return received;
}

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

static int set_ip_option(struct socket *socket, int name, const void *value, uint32_t length) {
    int32_t number;
    int error = option_value(value, length, &number);
    if (error)
        return error;
    switch (name) {
    case IP_TOS:
        /* The two ECN bits of a stream are TCP's. */
        socket->tos = socket->type == SOCK_STREAM ? (number & ~3 & 0xff) | (socket->tos & 3) : number & 0xff;
        return 0;
    case IP_TTL:
        if (number != -1 && (number < 1 || number > 255))
            return -EINVAL;
        socket->ttl = number == -1 ? DEFAULT_TTL : number;
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
        socket->multicast_address = get32((const uint8_t *)value + (length >= sizeof(struct ip_mreqn) ? 4 : 0));
        if (socket->multicast_address && !inet_is_local(socket->host, socket->multicast_address))
            return -EADDRNOTAVAIL;
        return 0;
    case IP_MULTICAST_ALL:
    case IP_UNICAST_IF:
        return 0; /* there is one way out, and no multicast */
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
        *number = inet_is_local(socket->host, socket->remote_address) ? 65535 : (int32_t)MTU; /* a packet has no more */
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
        put32((uint8_t *)number, socket->multicast_address);
        return 0;
    case IP_MULTICAST_ALL:
        *number = 1;
        return 0;
    case IP_UNICAST_IF:
    case IP_TRANSPARENT:
        *number = 0;
        return 0;
    default:
        return -ENOPROTOOPT;
    }
}

int inet_set_option(struct task *task, struct socket *socket, int level, int name, const void *value, uint32_t length) {
    int32_t number;
    switch (level) {
    case IPPROTO_IP:
        return set_ip_option(socket, name, value, length);
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

int inet_get_option(struct socket *socket, int level, int name, void *value, uint32_t *length) {
    int32_t number;
    int error;
    switch (level) {
    case IPPROTO_IP:
        if (name == IP_OPTIONS) {
            *length = 0;
            return 0;
        }
        error = get_ip_option(socket, name, &number);
        break;
    case SOL_TCP:
        return socket->type == SOCK_STREAM ? tcp_get_option(socket, name, value, length) : -EOPNOTSUPP;
    case SOL_UDP:
        error = socket->type == SOCK_DGRAM && name == UDP_CORK ? 0 : -ENOPROTOOPT;
        number = socket->pending_cork;
        break;
    default:
        return -EOPNOTSUPP; /* setting gives ENOPROTOOPT */
    }
    if (error)
        return error;
    /* A short buffer gets a single byte where that holds the value. */
    if (*length > 0 && *length < sizeof(number) && number >= 0 && number < 256) {
        *(uint8_t *)value = (uint8_t)number;
        *length = 1;
        return 0;
    }
    *length = KMIN(*length, (uint32_t)sizeof(number));
    memcpy(value, &number, *length);
    return 0;
}

/* ---- Files ---- */

static int64_t read_file(struct task *task, struct file *file, struct uio *to, const int64_t *position) {
    if (position)
        return -ESPIPE;
    if (!to->remaining)
        return 0; /* unlike recv, which looks at the socket */
    struct socket_message message = {.ttl = -1, .tos = -1};
    return inet_receive(task, file->object, to, 0, &message);
}

static int64_t write_file(struct task *task, struct file *file, struct uio *from, const int64_t *position) {
    if (position)
        return -ESPIPE;
    struct socket_message message = {.ttl = -1, .tos = -1};
    int64_t sent = inet_send(task, file->object, from, 0, &message);
    if (sent == -EPIPE && ((struct socket *)file->object)->type == SOCK_STREAM)
        socket_broken_pipe(task);
    return sent;
}

static uint32_t poll_file(struct file *file) {
    struct socket *socket = file->object;
    return socket->type == SOCK_STREAM ? tcp_poll(socket) : udp_poll(socket);
}

static void release_file(struct host *host, struct file *file) {
    (void)host;
    struct socket *socket = file->object;
    if (!socket)
        return; /* accept reserved the descriptor and found nobody */
    socket->file = NULL;
    if (socket->type == SOCK_STREAM)
        tcp_close(socket);
    else
        udp_close(socket);
}

static int64_t ioctl_file(struct task *task, struct file *file, uint32_t command, uint64_t argument) {
    struct socket *socket = file->object;
    int64_t bytes;
    switch (command) {
    case FIONREAD:
        if (socket->type == SOCK_STREAM)
            bytes = socket->state == SOCKET_LISTENING ? -EINVAL : tcp_unread(socket);
        else
            bytes = socket->receive.head ? udp_data_length(socket->receive.head) : 0;
        break;
    case TIOCOUTQ:
        if (socket->type == SOCK_STREAM)
            bytes = socket->state == SOCKET_LISTENING ? -EINVAL : tcp_unsent(socket);
        else
            bytes = socket->queued_bytes;
        break;
    default:
        bytes = interface_ioctl(task->host, command, argument);
        return bytes == -ENOIOCTLCMD ? -ENOTTY : bytes;
    }
    if (bytes < 0)
        return bytes;
    int32_t number = (int32_t)KMIN(bytes, (int64_t)INT32_MAX);
    return copy_to_user(argument, &number, sizeof(number));
}

const struct file_operations inet_operations = {
    .name = "socket",
    .stream = true,
    .read = read_file,
    .write = write_file,
    .poll = poll_file,
    .release = release_file,
    .ioctl = ioctl_file,
};
