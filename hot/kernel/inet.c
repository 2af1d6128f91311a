/* AF_INET and AF_INET6 sockets of one host: ports, connection tables, names, connecting; their files.
 * Called by socket.c (system calls), udp.c and tcp*.c (tables) and icmp.c; calls udp.c, raw.c and tcp.c for what they
 * make of sending and receiving, and ip.c for addresses.
 */
#include "credentials.h"
#include "raw.h"
#include "tcp.h"
#include <linux/capability.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/sockios.h>

#define UNPRIVILEGED_PORT 1024u /* net.ipv4.ip_unprivileged_port_start, which is IPv6's too, as the next */
#define EPHEMERAL_FIRST 32768u  /* net.ipv4.ip_local_port_range */
#define EPHEMERAL_LAST 60999u
#define FIRST_BUCKETS 16u
#define NAME6_MIN 24u /* RFC 2133's sockaddr_in6, without a scope */

/* ---- The tables ---- */

static uint32_t mix(uint32_t value) {
    value ^= value >> 16;
    value *= UINT32_C(0x7feb352d);
    value ^= value >> 15;
    value *= UINT32_C(0x846ca68b);
    return value ^ (value >> 16);
}

/* Of IPv4 the address itself. */
static uint32_t folded(struct ip_address address) {
    if (ip_is_v4(address))
        return ip_v4(address);
    return (uint32_t)address.low ^
           mix((uint32_t)(address.low >> 32) ^ mix((uint32_t)address.high ^ mix((uint32_t)(address.high >> 32))));
}

static uint32_t connection_hash(int protocol, struct ip_address local, uint16_t local_port, struct ip_address remote,
                                uint16_t remote_port) {
    uint32_t ports = ((uint32_t)local_port << 16) | remote_port;
    return mix(folded(remote) ^ mix(ports ^ mix(folded(local) ^ (uint32_t)protocol)));
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

struct socket *inet_find_connection(struct host *host, uint8_t protocol, struct ip_address local, uint16_t local_port,
                                    struct ip_address remote, uint16_t remote_port) {
    struct socket_table *table = &host->net->connections;
    uint32_t hash = connection_hash(protocol, local, local_port, remote, remote_port);
    list_for_each(node, &table->buckets[hash & table->mask]) {
        struct socket *socket = list_entry(node, struct socket, connection_node);
        if (ip_equal(socket->remote_address, remote) && socket->remote_port == remote_port &&
            socket->local_port == local_port && ip_equal(socket->local_address, local) && socket->protocol == protocol)
            return socket;
    }
    return NULL;
}

/* How well an unconnected socket fits what arrives for this address, 0: not at all. One bound to the address comes
 * before one bound to any, and IPv4's own socket before one of both families (Linux: compute_score). */
static uint32_t fitness(const struct socket *socket, struct ip_address local) {
    if (ip_equal(socket->local_address, local))
        return socket->family == AF_INET ? 4 : 3;
    if (!ip_is_any(socket->local_address))
        return 0;
    if (ip_is_v4(socket->local_address) ? !ip_is_v4(local) : ip_is_v4(local) && socket->only_v6)
        return 0;
    return socket->family == AF_INET ? 2 : 1;
}

/* The unconnected socket that gets what arrives for this name: the fittest; among equals with SO_REUSEPORT the one that
 * `turn` falls on, else the latest. */
static struct socket *find_bound(struct host *host, int protocol, struct ip_address local, uint16_t port,
                                 uint32_t turn) {
    struct list *bucket = port_bucket(host->net, port);
    struct socket *best = NULL;
    uint32_t equals = 0, best_fit = 0;
    list_for_each(node, bucket) {
        struct socket *socket = list_entry(node, struct socket, port_node);
        if (is_connection(socket))
            break;
        if (socket->local_port != port || socket->protocol != protocol ||
            (protocol == PROTOCOL_TCP && socket->state != SOCKET_LISTENING))
            continue;
        uint32_t fit = fitness(socket, local);
        if (!fit || fit < best_fit)
            continue;
        if (fit == best_fit && best->reuse_port && socket->reuse_port) {
            equals++;
            continue;
        }
        best = socket;
        best_fit = fit;
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
            fitness(socket, local) == best_fit && (protocol != PROTOCOL_TCP || socket->state == SOCKET_LISTENING) &&
            wanted-- == 0)
            return socket;
    }
    return best;
}

struct socket *inet_find_listener(struct host *host, struct ip_address local, uint16_t local_port) {
    struct socket *socket = find_bound(host, PROTOCOL_TCP, local, local_port, host->net->next_listener);
    if (socket && socket->reuse_port)
        host->net->next_listener++;
    return socket;
}

struct socket *inet_find_datagram(struct host *host, struct ip_address local, uint16_t local_port,
                                  struct ip_address remote, uint16_t remote_port) {
    struct socket *socket = inet_find_connection(host, PROTOCOL_UDP, local, local_port, remote, remote_port);
    if (socket)
        return socket;
    return find_bound(host, PROTOCOL_UDP, local, local_port, mix(folded(remote) ^ mix(remote_port)));
}

static bool takes_v4(const struct socket *socket, struct ip_address address) {
    return ip_is_v4(address) || (ip_is_any(address) && !socket->only_v6);
}

/* Whether `a` and `b`, this one at `address`, would both get some packet: in either version of IP that both take, one
 * stands for all addresses or they have the same. */
static bool names_overlap(const struct socket *a, const struct socket *b, struct ip_address address) {
    bool v4 = takes_v4(a, a->local_address) && takes_v4(b, address);
    bool v6 = !ip_is_v4(a->local_address) && !ip_is_v4(address);
    return (v4 || v6) && (ip_is_any(a->local_address) || ip_is_any(address) || ip_equal(a->local_address, address));
}

static bool may_share(const struct socket *a, const struct socket *b) {
    if (a->reuse_port && b->reuse_port)
        return true;
    if (!a->reuse_address || !b->reuse_address)
        return false;
    return a->protocol == PROTOCOL_UDP || (a->state != SOCKET_LISTENING && b->state != SOCKET_LISTENING);
}

static bool port_conflict(struct socket *socket, struct ip_address address, uint16_t port) {
    list_for_each(node, port_bucket(socket->host->net, port)) {
        struct socket *other = list_entry(node, struct socket, port_node);
        if (other != socket && other->local_port == port && other->protocol == socket->protocol &&
            names_overlap(other, socket, address) && !may_share(socket, other))
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

static int choose_port(struct socket *socket, struct ip_address address, bool connecting, uint16_t *port) {
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

int inet_bind(struct socket *socket, struct ip_address address, uint16_t port) {
    bool multicast = ip_is_multicast(address) || (ip_is_v4(address) && ip_v4(address) == UINT32_MAX);
    if (!ip_is_any(address) && !inet_is_local(socket->host, address) && !socket->free_bind &&
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
    socket->remote_address = socket->family == AF_INET6 ? IP6_ANY : IP4_ANY;
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
            other->state == SOCKET_LISTENING && names_overlap(other, socket, socket->local_address) &&
            !(other->reuse_port && socket->reuse_port))
            return -EADDRINUSE;
    }
    return 0;
}

int inet_create(struct host *host) {
    struct net *net = host->net;
    list_init(&net->raw_sockets);
    list_init(&net->packet_sockets);
    list_init(&net->name_connections);
    list_init(&net->rights);
    if (table_create(host, &net->ports, FIRST_BUCKETS) || table_create(host, &net->connections, FIRST_BUCKETS))
        return -ENOMEM;
    net->next_ephemeral =
        (uint16_t)(EPHEMERAL_FIRST + rng_next(host, RNG_KERNEL) % (EPHEMERAL_LAST - EPHEMERAL_FIRST + 1));
    return 0;
}

/* ---- What socket.c asks of a family ---- */

uint32_t inet_name(const struct socket *socket, uint8_t *name, bool peer) {
    bool connected = socket->protocol == PROTOCOL_UDP ? socket->remote_port != 0 : socket->state == SOCKET_CONNECTED;
    if (peer && !connected)
        return 0;
    return inet_put_name(name, socket->family, peer ? socket->remote_address : socket->local_address,
                         peer ? socket->remote_port : socket->local_port, socket->bound_interface);
}

uint32_t inet_put_name(uint8_t *name, int family, struct ip_address address, uint16_t port, uint32_t interface) {
    uint32_t length = family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    memset(name, 0, length);
    name[0] = (uint8_t)family; /* in the machine's order */
    put16(name + 2, port);
    if (family != AF_INET6) {
        put32(name + 4, ip_v4(address));
        return length;
    }
    ip_put(name + 8, address);
    if (ip_needs_scope(address))
        memcpy(name + offsetof(struct sockaddr_in6, sin6_scope_id), &interface, sizeof(interface));
    return length;
}

/* A socket address, taken apart. */
struct inet_name {
    struct ip_address address;
    uint16_t port;
    uint32_t scope; /* interface, of a link-local address; 0: none was named */
};

static uint16_t name_family(const uint8_t *name) {
    uint16_t family;
    memcpy(&family, name, sizeof(family));
    return family;
}

static int take_name4(const uint8_t *name, uint32_t length, struct inet_name *taken) {
    if (length < sizeof(struct sockaddr_in))
        return -EINVAL;
    if (name_family(name) != AF_INET)
        return -EAFNOSUPPORT;
    *taken = (struct inet_name){ip4_address(get32(name + 4)), get16(name + 2), 0};
    return 0;
}

/* A socket address of the socket's own family. A link-local one needs an interface, its own or the socket's. */
static int take_name(const struct socket *socket, const uint8_t *name, uint32_t length, struct inet_name *taken) {
    if (socket->family == AF_INET)
        return take_name4(name, length, taken);
    if (length < NAME6_MIN)
        return -EINVAL;
    if (name_family(name) != AF_INET6)
        return -EAFNOSUPPORT;
    *taken = (struct inet_name){ip_get(name + 8), get16(name + 2), 0};
    if (!ip_needs_scope(taken->address))
        return 0;
    if (length >= sizeof(struct sockaddr_in6))
        memcpy(&taken->scope, name + offsetof(struct sockaddr_in6, sin6_scope_id), sizeof(taken->scope));
    if (!taken->scope)
        taken->scope = socket->bound_interface;
    return taken->scope && (!socket->bound_interface || socket->bound_interface == taken->scope) ? 0 : -EINVAL;
}

/* As take_name; sockets of both families may also send to, and connect to, a sockaddr_in. */
static int take_destination(const struct socket *socket, const uint8_t *name, uint32_t length,
                            struct inet_name *taken) {
    bool v4 = socket->family == AF_INET6 && name_family(name) == AF_INET;
    return v4 ? take_name4(name, length, taken) : take_name(socket, name, length, taken);
}

/* `error`: what is wrong with the name. Linux does not look at the family of an IPv4 name here. */
static int bind_raw(struct socket *socket, const uint8_t *name, int error, const struct inet_name *wanted) {
    if (error == -EAFNOSUPPORT)
        return socket->family == AF_INET ? raw_bind(socket, ip4_address(get32(name + 4))) : -EINVAL;
    if (error)
        return error;
    if (wanted->scope)
        socket->bound_interface = wanted->scope;
    return raw_bind(socket, wanted->address);
}

int inet_bind_name(struct task *task, struct socket *socket, const uint8_t *name, uint32_t length) {
    struct inet_name wanted;
    int error = take_name(socket, name, length, &wanted);
    if (socket->type == SOCK_RAW)
        return bind_raw(socket, name, error, &wanted);
    /* Compatibility of Linux: AF_UNSPEC with the wildcard address. */
    if (error == -EAFNOSUPPORT && socket->family == AF_INET && name_family(name) == AF_UNSPEC && !get32(name + 4)) {
        wanted = (struct inet_name){IP4_ANY, get16(name + 2), 0};
        error = 0;
    }
    if (error)
        return error;
    bool v6 = !ip_is_v4(wanted.address);
    if (v6 && ip_is_multicast(wanted.address) && socket->type == SOCK_STREAM)
        return -EINVAL;
    if (wanted.port && wanted.port < UNPRIVILEGED_PORT && !credentials_capable(task, CAP_NET_BIND_SERVICE))
        return -EACCES;
    if (socket->state != SOCKET_UNCONNECTED || socket->local_port || !ip_is_any(socket->bound_address))
        return -EINVAL;
    if (!v6 && socket->only_v6)
        return -EINVAL;
    if (wanted.scope)
        socket->bound_interface = wanted.scope; /* even if the rest fails, as in Linux */
    error = inet_bind(socket, wanted.address, wanted.port);
    if (error)
        return error;
    socket->bound_address = wanted.address;
    socket->bound_by_user = socket->local_port != 0;
    return 0;
}

struct ip_address inet_destination(const struct socket *socket, struct ip_address address) {
    if (!ip_is_any(address))
        return address;
    return ip_is_v4(address) || ip_is_v4(socket->local_address) ? IP4_LOOPBACK : IP6_LOOPBACK;
}

/* Fills the four names in; undone by inet_disconnected. */
static int choose_names(struct socket *socket, const struct inet_name *to) {
    struct ip_address address = inet_destination(socket, to->address);
    int error = inet_route(socket, 0, socket->local_address, address);
    if (error)
        return error;
    if (socket->protocol == PROTOCOL_UDP) { /* binds first: a port that nobody else has */
        error = inet_autobind(socket);
        if (error)
            return error;
    }
    if (to->scope)
        socket->bound_interface = to->scope;
    if (ip_is_any(socket->local_address))
        socket->local_address = inet_source_address(socket->host, address);
    socket->remote_address = address;
    socket->remote_port = to->port;
    return 0;
}

static int datagram_connect(struct socket *socket, const uint8_t *name, uint32_t length) {
    if (name_family(name) == AF_UNSPEC) {
        if (socket->type == SOCK_RAW)
            raw_disconnect(socket);
        else if (socket->state == SOCKET_CONNECTED)
            inet_disconnected(socket);
        socket->state = SOCKET_UNCONNECTED;
        return 0;
    }
    struct inet_name to;
    int error = take_destination(socket, name, length, &to);
    if (error)
        return error;
    if (socket->type == SOCK_RAW) {
        if (name_family(name) != socket->family)
            return -EAFNOSUPPORT;
        error = raw_connect(socket, to.address, to.port);
        if (!error && to.scope)
            socket->bound_interface = to.scope;
        return error;
    }
    if (socket->only_v6 && name_family(name) == AF_INET)
        return -EAFNOSUPPORT;
    /* A second connect moves the socket; the port stays. */
    connections_remove(socket);
    socket->local_address = socket->bound_address;
    socket->state = SOCKET_UNCONNECTED;
    error = choose_names(socket, &to);
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
    struct inet_name to;
    int error = take_name(socket, name, length, &to);
    if (!error)
        error = choose_names(socket, &to);
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
    struct udp_message to = {.has_local_address = message->has_source,
                             .local_address = message->local_address,
                             .asked = message->asked,
                             .stamping = timestamping_of(socket, message)};
    bool raw = socket->type == SOCK_RAW;
    uint16_t unspecified = AF_UNSPEC, family = raw && socket->family == AF_INET6 ? AF_INET6 : AF_INET;
    if (message->name_length >= sizeof(family) && !memcmp(message->name, &unspecified, sizeof(unspecified))) {
        if (socket->family == AF_INET6 && !raw)
            message->name_length = 0; /* as if there were none */
        else
            memcpy(message->name, &family, sizeof(family));
    }
    if (message->name_length) {
        struct inet_name name;
        int error = (raw ? take_name : take_destination)(socket, message->name, message->name_length, &name);
        if (error)
            return error == -EAFNOSUPPORT && socket->family == AF_INET6 && !raw ? -EINVAL : error;
        to.has_address = true;
        to.port = name.port;
        to.address = name.address;
    }
    return raw ? raw_send(socket, from, flags, &to) : udp_send(task, socket, from, flags, &to);
}

int64_t inet_receive(struct task *task, struct socket *socket, struct uio *to, int flags,
                     struct socket_message *message) {
    if (socket->type == SOCK_STREAM) {
        int64_t received = tcp_receive(task, socket, to, flags, message);
        message->has_unread = received >= 0 && socket->tcp->settings.tell_unread;
        message->unread = tcp_unread_hint(socket->tcp);
        return received;
    }
    if (socket->type == SOCK_RAW && flags & MSG_OOB)
        return -EOPNOTSUPP;
    size_t space = to->remaining;
    struct udp_message from = {0};
    int64_t received = udp_receive(task, socket, to, flags, &from);
    if (received < 0 || !from.has_address)
        return received;
    message->name_length = inet_put_name(message->name, socket->family, from.address, from.port, from.interface);
    message->has_source = true;
    message->local_address = from.local_address;
    message->interface = from.interface;
    message->has_time = true;
    message->time = socket->stamp = from.time;
    message->drops = from.drops;
    message->ttl = from.ttl;
    message->tos = from.tos;
    if (from.full_length > space)
        message->out_flags |= MSG_TRUNC;
    return received;
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
    struct socket *socket = file->object;
    if (sent == -EAGAIN)
        socket->no_space = true;
    if (sent == -EPIPE && socket->type == SOCK_STREAM)
        socket_broken_pipe(task);
    return sent;
}

static uint32_t poll_file(struct file *file) {
    struct socket *socket = file->object;
    return socket_note_room(socket, socket->type == SOCK_STREAM ? tcp_poll(socket) : udp_poll(socket));
}

static void release_file(struct host *host, struct file *file) {
    (void)host;
    struct socket *socket = file->object;
    if (!socket)
        return; /* accept reserved the descriptor and found nobody */
    socket->file = NULL;
    if (socket->type == SOCK_STREAM)
        tcp_close(socket);
    else if (socket->type == SOCK_RAW)
        raw_close(socket);
    else
        udp_close(socket);
}

void inet_linger(struct task *task, struct file *file) {
    struct socket *socket = file->object;
    if (!socket || socket->type != SOCK_STREAM || !socket->linger || socket->linger_seconds <= 0 ||
        socket->state != SOCKET_CONNECTED || tcp_has_unread(socket))
        return; /* what was not read ends the connection at once */
    int64_t deadline = task->host->now + socket->linger_seconds * NS_PER_S;
    (void)tcp_shutdown(socket, false, true);
    struct file **slot = NULL; /* the file is in no table: whoever dies here still lets go of it */
    for (size_t i = 0; i < ARRAY_LENGTH(task->held) && !slot; i++)
        slot = task->held[i] ? NULL : &task->held[i];
    if (slot)
        *slot = file;
    int result = 0;
    while (!result && tcp_lingers(socket)) {
        wait_add(&file->wait, &task->wait, task, 0);
        result = task_block(task, deadline);
        wait_remove(&task->wait);
    }
    if (slot)
        *slot = NULL;
}

static int64_t ioctl_file(struct task *task, struct file *file, uint32_t command, uint64_t argument) {
    struct socket *socket = file->object;
    int64_t stamp = socket_stamp_ioctl(socket, command, argument);
    if (stamp != -ENOIOCTLCMD)
        return stamp;
    if (socket->type == SOCK_STREAM && command == SIOCATMARK) {
        int32_t at_mark = tcp_at_mark(socket);
        return copy_to_user(argument, &at_mark, sizeof(at_mark));
    }
    if (socket->type == SOCK_STREAM && socket->state == SOCKET_LISTENING)
        return socket_ioctl(task, file, command, argument, -EINVAL, -EINVAL);
    if (socket->type == SOCK_STREAM)
        return socket_ioctl(task, file, command, argument, tcp_unread(socket), tcp_unsent(socket));
    const struct packet *next = socket->receive.head;
    int64_t unread = next ? next->length - datagram_begins(socket, next) : 0;
    return socket_ioctl(task, file, command, argument, unread, socket->queued_bytes);
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
