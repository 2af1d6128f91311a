/* The simulated network stack of one host: sockets, IPv4 and IPv6 input and output, UDP, TCP, loopback.
 *
 *   socket.c   the system calls and what all socket families share (options, names, control messages)
 *   inet.c     AF_INET and AF_INET6: ports, connection tables, names   inet_options.c   their options
 *   ip.c       addresses; packets in and out, the egress queue, loopback
 *   icmp.c     errors between hosts
 *   udp.c      datagrams
 *   packet_socket.c packet_ring.c   frames of an interface, as they pass   filter.c  programs that choose among them
 *   unix_socket.c netlink.c   the other families
 *   tcp.c tcp_in.c tcp_out.c tcp_timer.c tcp_congestion.c   TCP
 *
 * A packet is an IPv4 or IPv6 packet exactly as on the wire (a header of 20 or 40 bytes without options or extension
 * headers, then UDP, TCP or ICMP): what the engine carries, what pcap files hold and what crosses shards are these
 * bytes. Checksums are left 0 (checksum.c fills them in for those who look).
 */
#ifndef ANTUMBRA_KERNEL_NET_H
#define ANTUMBRA_KERNEL_NET_H

#include "kernel.h"

#define IP_HEADER 20u
#define IP6_HEADER 40u
#define UDP_HEADER 8u
#define TCP_HEADER 20u
#define MTU 1500u
#define LOOPBACK_MTU 65536u
#define PROTOCOL_ICMP 1
#define PROTOCOL_TCP 6
#define PROTOCOL_UDP 17
#define PROTOCOL_IPV6 41
#define PROTOCOL_ICMPV6 58
#define LOOPBACK_ADDRESS UINT32_C(0x7f000001)
#define IP4_LOOPBACK ip4_address(LOOPBACK_ADDRESS)
#define IP4_LINK_PREFIX 24u /* of addresses on eth0 */
#define IP4_LINK_MASK UINT32_C(0xffffff00)
#define IP6_LINK_PREFIX 64u
#define INTERFACE_LO 1u
#define INTERFACE_ETH 2u

struct packet {
    struct packet *next;
    struct socket *owner; /* whose queued_bytes it counts in, from ip_output until it left the host; NULL: nobody's */
    uint32_t charge;      /* bytes it counts for; a receive queue counts them in receive_used */
    uint32_t length;      /* of data: the whole IP packet */
    uint32_t transport;   /* length of its IP header */
    uint32_t offset;      /* first unread payload byte (receive queues) */
    uint32_t drops;       /* datagrams that its socket had lost before (SO_RXQ_OVFL) */
    bool queued;          /* counted in the owner's queued_bytes */
    bool for_host;        /* of a raw socket: sent to this host, whatever its header says */
    uint8_t stamps;       /* timestamping.c: those to be told of, a bit for each SCM_TSTAMP_* */
    uint32_t stamp_number;
    int64_t time; /* when it was received (SO_TIMESTAMP), or sent */
    uint8_t data[];
};
struct packet_queue {
    struct packet *head, *tail;
    uint32_t packets;
    uint64_t bytes;
};

/* A hash table of sockets that doubles its buckets as it fills. */
struct socket_table {
    struct list *buckets;
    uint32_t mask, count;
};

struct unix_domain; /* unix_socket.c */

/* Packets of one socket that wait for the uplink's relay, where sockets take turns. */
struct egress_turn {
    struct list node; /* in net->turns while something waits */
    struct packet_queue waiting;
};

struct net {
    struct packet_queue egress;      /* waiting for the uplink's relay, first come first served */
    struct list turns;               /* of struct egress_turn, the next one first: instead, if host->round_robin */
    struct egress_turn nobodys_turn; /* of packets without an owner */
    struct packet_queue backlog;     /* loopback packets, delivered by net_run_backlog */
    bool in_backlog;
    struct socket_table ports;       /* by port (struct socket.port_node); unconnected ones first in a bucket */
    struct socket_table connections; /* connected sockets, by their four names (struct socket.connection_node) */
    struct list raw_sockets;         /* struct raw (raw.c) */
    struct list packet_sockets;      /* struct packet_socket */
    struct unix_domain *unix_domain;
    struct socket *name_listener; /* dns.c: NULL until somebody connects */
    struct list name_connections; /* of struct tcp.child_node */
    bool names_due;               /* something happened to these */
    struct list rights;           /* struct socket_rights: files on their way through Unix sockets */
    uint64_t files_travelling;    /* in these */
    uint64_t next_mail;           /* rights.c: numbers of real datagrams, and how many wait */
    uint32_t mail_count;
    uint64_t next_cookie;
    int64_t icmp_time; /* token bucket of the errors we send (Linux: icmp_msgs_per_sec) */
    uint32_t icmp_tokens;
    uint32_t next_listener;  /* turns among listeners that share a port by SO_REUSEPORT */
    uint16_t next_ephemeral; /* starts at a place drawn from RNG_KERNEL, 32768..60999 */
    uint16_t ip_id;
};

/* Options of level IPPROTO_IPV6. */
struct socket_options6 {
    int32_t hop_limit, multicast_hops; /* -1: the host's */
    int32_t traffic_class;
    uint32_t multicast_interface, unicast_interface;
    uint8_t source_preferences; /* IPV6_ADDR_PREFERENCES: those that were chosen */
    uint8_t mtu_discover;       /* IPV6_PMTUDISC_* */
    uint8_t minimum_hops;       /* IPV6_MINHOPCOUNT */
    uint64_t kept[2];           /* options that change nothing here, kept and shown: a bit for each number */
    bool packet_info, packet_hops, packet_class, receive_errors, dont_fragment, multicast_loop;
};

/* Options of level SOL_SOCKET that change little here, or nothing: kept and shown. */
struct socket_hints {
    bool debug, no_checksum, prefer_busy_poll;
    bool tell_drops;      /* SO_RXQ_OVFL: with each datagram */
    bool errors_urgent;   /* SO_SELECT_ERR_QUEUE: POLLPRI besides POLLERR */
    bool multicast_all;   /* IP_MULTICAST_ALL */
    int32_t busy_poll_us; /* SO_BUSY_POLL */
    int32_t incoming_cpu; /* -1: none yet */
};

/* SO_TIMESTAMPING. */
struct socket_stamping {
    uint32_t flags; /* SOF_TIMESTAMPING_* */
    uint32_t next_number;
    bool new; /* control data of this and of SO_TIMESTAMP have the types of their *_NEW options */
};

/* What a message asks for itself alone, by control data; the rest is as the socket has it. */
struct packet_options {
    uint32_t interface; /* IP_PKTINFO, IPV6_PKTINFO; 0: none */
    bool has_ttl, has_tos, has_dont_fragment, dont_fragment;
    uint8_t ttl, tos; /* IPv6: hop limit, traffic class */
};

enum socket_state { SOCKET_UNCONNECTED, SOCKET_LISTENING, SOCKET_CONNECTING, SOCKET_CONNECTED, SOCKET_DISCONNECTED };

struct tcp; /* tcp.h */
struct queued_error;
struct filter; /* filter.h */

struct socket {
    struct host *host;
    struct file *file; /* NULL after close (TCP goes on closing) and before accept */
    int family, type, protocol;
    uint32_t state;
    /* Names. AF_INET6 with ::ffff:a.b.c.d talks IPv4; with :: it takes both, unless only_v6. Ports in the machine's
     * order. */
    struct ip_address local_address, remote_address; /* "any" of the family: any, not connected */
    uint16_t local_port, remote_port;
    bool bound_by_user;              /* the program asked for the port */
    bool only_v6;                    /* IPV6_V6ONLY */
    struct ip_address bound_address; /* what the program bound: what local_address goes back to when not connected */
    uint32_t netlink_port;
    uint32_t netlink_options; /* of level SOL_NETLINK: a bit for each number */
    struct socket_hints hints;
    struct list port_node, connection_node;
    /* options */
    uint32_t send_buffer, receive_buffer;     /* bytes */
    bool send_buffer_set, receive_buffer_set; /* by the program: no autotuning */
    uint32_t send_used, receive_used;         /* bytes charged: TCP's send queue; what waits to be read */
    uint32_t queued_bytes, queued_packets;    /* handed to ip_output and still in this host (UDP's send buffer, TSQ) */
    bool dead;                                /* socket_free was called; the memory goes with its last queued packet */
    int64_t send_timeout, receive_timeout;    /* ns, NEVER = none */
    int error;                                /* SO_ERROR: positive errno, cleared by reading */
    bool reuse_address, reuse_port, keepalive, broadcast, out_of_band_inline, dont_route, no_delay, cork, packet_info,
        timestamp, receive_errors;
    struct socket_stamping stamping;
    bool linger;
    int32_t linger_seconds;
    bool timestamp_ns, packet_ttl, packet_tos, pass_credentials, bind_late, free_bind;
    bool connect_pending; /* a non-blocking connect's outcome was not reported yet */
    bool no_space;        /* a send or poll found no room: O_ASYNC tells when there is */
    uint8_t mtu_discover; /* IP_PMTUDISC_* */
    bool multicast_loop;
    int32_t multicast_ttl;
    struct ip_address multicast_address; /* IP_MULTICAST_IF */
    struct socket_options6 v6;
    uint32_t bound_interface;   /* SO_BINDTODEVICE: 0, INTERFACE_LO or INTERFACE_ETH */
    uint32_t unicast_interface; /* IP_UNICAST_IF: where no other is named; 0: none */
    uint32_t syn_interface;     /* of the SYN that an accepted connection came by, for IP_PKTOPTIONS; 0: none */
    uint8_t syn_tos;
    uint8_t minimum_ttl; /* IP_MINTTL */
    uint64_t cookie;
    int32_t peer[3]; /* SO_PEERCRED: process, user, group; process 0 = none */
    int32_t priority, mark, tos, ttl, low_water;
    bool read_shutdown, write_shutdown;
    struct packet_queue receive; /* UDP datagrams, netlink answers; TCP keeps its own */
    struct packet *pending;      /* datagram.c: what was gathered so far */
    uint32_t pending_capacity;
    bool pending_cork;
    struct packet_options pending_options;
    struct queued_error *errors, *last_error; /* error_queue.c */
    bool name_server;                         /* dns.c has it, not a program */
    struct egress_turn egress;
    uint64_t drops;        /* datagrams that found the receive buffer full */
    int64_t stamp;         /* SIOCGSTAMP: when the datagram that was read last came; NEVER: none */
    struct filter *filter; /* SO_ATTACH_FILTER; NULL: none */
    bool filter_locked;    /* SO_LOCK_FILTER */
    struct tcp *tcp;
    void *family_data; /* other families */
};

static inline uint16_t get16(const uint8_t *p) { return (uint16_t)((p[0] << 8) | p[1]); }
static inline uint32_t get32(const uint8_t *p) {
    return ((uint32_t)p[0] << 24) | ((uint32_t)p[1] << 16) | ((uint32_t)p[2] << 8) | (uint32_t)p[3];
}
static inline void put16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
}
static inline void put32(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static inline uint32_t ip_header_length(struct ip_address destination) {
    return ip_is_v4(destination) ? IP_HEADER : IP6_HEADER;
}
static inline bool packet_is_v6(const struct packet *packet) { return packet->data[0] >> 4 == 6; }
static inline struct ip_address packet_source(const struct packet *packet) {
    return packet_is_v6(packet) ? ip_get(packet->data + 8) : ip4_address(get32(packet->data + 12));
}
static inline struct ip_address packet_destination(const struct packet *packet) {
    return packet_is_v6(packet) ? ip_get(packet->data + 24) : ip4_address(get32(packet->data + 16));
}

/* ---- ip.c ---- */
__attribute__((warn_unused_result)) int net_create(struct host *host); /* host->net; 0 or -ENOMEM */
__attribute__((warn_unused_result)) struct packet *packet_create(struct host *host,
                                                                 uint32_t length); /* data is not cleared */
void packet_free(struct host *host, struct packet *packet); /* no longer counted in its owner's queued_bytes */
/* Memory that a packet of `length` bytes costs in Linux (skb truesize): what buffers are charged. */
uint32_t packet_charge(uint32_t length);
void packet_queue_push(struct packet_queue *queue, struct packet *packet);
struct packet *packet_queue_pop(struct packet_queue *queue);
/* Writes the header of packet->length bytes, ip_header_length(destination) of them, in front of what the caller put
 * after it. Both addresses are of one family. */
void ip_header(struct host *host, struct packet *packet, uint8_t protocol, struct ip_address source,
               struct ip_address destination, const struct socket *options);
/* Sends: loopback and the host's own address go to the backlog, the rest to the egress queue. Takes the packet. Where
 * it has an owner, its charge is added to queued_bytes until it left the host; then socket_write_space(owner) is
 * called. */
void ip_output(struct host *host, struct packet *packet);
/* The same by an interface that the caller has chosen (INTERFACE_*; inet_way). */
void ip_transmit(struct host *host, struct packet *packet, uint32_t interface);
/* What arrives from the wire: takes the packet. Malformed ones are dropped and counted. */
void net_receive(struct host *host, struct packet *packet);
/* Delivers loopback packets until none is left: at the end of every system call, timer run and input. What delivery
 * sends is delivered by the run that is on its way already. */
void net_deliver_backlog(struct host *host);
static inline void net_run_backlog(struct host *host) {
    const struct net *net = host->net;
    if ((net->backlog.head || net->names_due) && !net->in_backlog)
        net_deliver_backlog(host);
}
/* The uplink's relay (link.c) takes packets in order; one that has left is told to its sender, who may send more, and
 * is the caller's. */
struct packet *net_egress_peek(struct host *host);
void net_egress_pop(struct host *host); /* removes the head without freeing */
void net_left(struct host *host, struct packet *packet);
bool inet_is_local(const struct host *host, struct ip_address address);
/* The host's own, or the loopback address of the family. */
struct ip_address inet_source_address(const struct host *host, struct ip_address destination);
struct ip_address inet_link_local(const struct host *host); /* fe80:: and eth0's hardware address (RFC 4291, app. A) */
/* INTERFACE_* that a packet from there comes by. */
static inline uint32_t inet_interface(const struct host *host, struct ip_address source) {
    return inet_is_local(host, source) ? INTERFACE_LO : INTERFACE_ETH;
}
/* Largest packet on the way to there. */
static inline uint32_t inet_mtu(const struct host *host, struct ip_address destination) {
    if (!inet_is_local(host, destination))
        return MTU;
    return ip_is_v4(destination) ? UINT16_MAX : LOOPBACK_MTU; /* the length of an IPv4 packet has 16 bits */
}

/* ---- inet.c: ports and connections. Ports in the machine's order. ---- */
__attribute__((warn_unused_result)) int inet_create(struct host *host); /* the tables; 0 or -ENOMEM */
__attribute__((warn_unused_result)) int inet_bind(struct socket *socket, struct ip_address address,
                                                  uint16_t port); /* port 0: ephemeral; -EADDRINUSE, -EADDRNOTAVAIL */
/* Before connect or send, where no port is bound yet. With its remote names set it may share a port with connections to
 * other places. -EADDRNOTAVAIL when ports have run out. */
__attribute__((warn_unused_result)) int inet_autobind(struct socket *socket);
void inet_unbind(struct socket *socket); /* leaves both tables */
/* Enters the connection table with its four names, and the port table where it is not there yet (accepted sockets).
 * Called again after a name changed. -EADDRNOTAVAIL: another socket has these names. */
__attribute__((warn_unused_result)) int inet_connected(struct socket *socket);
/* Leaves the connection table and forgets the remote name; keeps the local one only where the program bound it. */
void inet_disconnected(struct socket *socket);
/* 0, or -EADDRINUSE where another socket listens on the same port (two may be bound by SO_REUSEADDR). */
__attribute__((warn_unused_result)) int inet_check_listen(struct socket *socket);
/* Sockets of `protocol` (PROTOCOL_TCP or PROTOCOL_UDP). */
struct socket *inet_find_connection(struct host *host, uint8_t protocol, struct ip_address local, uint16_t local_port,
                                    struct ip_address remote, uint16_t remote_port);
struct socket *inet_find_listener(struct host *host, struct ip_address local, uint16_t local_port); /* listening TCP */

/* ---- socket.c ---- */
__attribute__((warn_unused_result)) struct socket *socket_create(struct host *host, int family, int type,
                                                                 int protocol); /* no file yet */
void socket_free(struct socket *socket); /* leaves the tables, drops receive and pending; TCP's own queues are empty */
void socket_write_space(struct socket *socket); /* a charged packet left: UDP wakes writers, TCP sends more */
/* Wakes socket->file's waiters, if it has a file. Those of O_ASYNC hear of input, room and the peer's end; not of
 * changes of the whole state (input and output at once). */
void socket_wake(struct socket *socket, uint32_t events);
void socket_urgent(struct socket *socket);               /* urgent data are announced: SIGURG */
void socket_set_error(struct socket *socket, int error); /* and wakes with POLLERR */

/* ---- udp.c ---- non-blocking; flags are MSG_* */
struct udp_message {
    struct ip_address address; /* the other end */
    uint16_t port;
    bool has_address;                   /* sendto named one */
    bool has_local_address;             /* IP_PKTINFO named the source to send from */
    struct ip_address local_address;    /* received on, or to send from (IP_PKTINFO) */
    const struct packet_options *asked; /* to send with: [0] of IPv4, [1] of IPv6; NULL when received */
    uint32_t stamping;                  /* to send with: SOF_TIMESTAMPING_TX_* */
    uint32_t interface;                 /* received by */
    uint8_t ttl, tos;                   /* received with; of IPv6: hop limit, traffic class */
    int64_t time;
    uint32_t drops;     /* see struct packet */
    size_t full_length; /* of the datagram, for MSG_TRUNC */
};
int64_t udp_send(struct task *task, struct socket *socket, struct uio *from, int flags, const struct udp_message *to);
int64_t udp_receive(struct task *task, struct socket *socket, struct uio *to, int flags, struct udp_message *from);
void udp_input(struct host *host, struct packet *packet); /* takes the packet */
uint32_t udp_poll(const struct socket *socket);
void udp_close(struct socket *socket);

/* ---- tcp.c: what socket.c and inet.c need of TCP. All non-blocking. ---- */
__attribute__((warn_unused_result)) int tcp_create(struct socket *socket); /* 0 or -ENOMEM */
int tcp_connect(struct socket *socket); /* names are set; sends SYN; -EINPROGRESS, or an error */
int tcp_listen(struct socket *socket, int backlog);
struct socket *tcp_accept(struct socket *socket); /* NULL: nothing established waits */
int64_t tcp_send(struct task *task, struct socket *socket, struct uio *from,
                 int flags); /* bytes taken, -EAGAIN, -EPIPE, ... */
struct socket_message;       /* socket.h */
int64_t tcp_receive(struct task *task, struct socket *socket, struct uio *to, int flags,
                    struct socket_message *message); /* MSG_PEEK, MSG_TRUNC, MSG_OOB; 0 = end */
bool tcp_at_mark(const struct socket *socket);       /* SIOCATMARK */
bool tcp_has_unread(const struct socket *socket);
int tcp_shutdown(struct socket *socket, bool read, bool write);
/* The last descriptor of a socket is being closed: sleeps as SO_LINGER says (inet.c). */
void inet_linger(struct task *task, struct file *file);
bool tcp_lingers(const struct socket *socket); /* the peer has not acknowledged all and the end of it */
void tcp_close(struct socket *socket);         /* the file is gone; frees the socket now or when TCP is done */
uint32_t tcp_poll(const struct socket *socket);
int64_t tcp_unread(const struct socket *socket);  /* FIONREAD */
int64_t tcp_unsent(const struct socket *socket);  /* SIOCOUTQ */
int tcp_keepalive_changed(struct socket *socket); /* SO_KEEPALIVE was set */
/* level IPPROTO_TCP; values in kernel memory. -ENOPROTOOPT if unknown. */
int tcp_set_option(struct socket *socket, int name, const void *value, uint32_t length);
int tcp_get_option(struct socket *socket, int name, void *value, uint32_t *length);
void tcp_input(struct host *host, struct packet *packet); /* takes the packet; answers RST where nobody listens */
void tcp_timer(struct host *host, struct timer *timer);
void tcp_write_space(struct socket *socket); /* part of what it sent has left the host: send more (TSQ) */

#endif
