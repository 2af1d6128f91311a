/* What the files of the socket layer share, and the constants of the socket system calls that uapi headers leave to
 * libc. socket.c serves the calls; each family (inet.c, unix_socket.c, netlink.c) supplies the non-blocking attempts
 * below.
 */
#ifndef ANTUMBRA_KERNEL_SOCKET_H
#define ANTUMBRA_KERNEL_SOCKET_H

#include "net.h"
#include <asm/fcntl.h>
#include <asm/poll.h>
#include <linux/if_packet.h>

#define AF_UNSPEC 0
#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AF_NETLINK 16
#define AF_PACKET 17

#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define SOCK_RAW 3
#define SOCK_SEQPACKET 5
#define SOCK_TYPE_MASK 0xf
#define SOCK_CLOEXEC 02000000
#define SOCK_NONBLOCK 04000

#define MSG_OOB 0x1
#define MSG_PEEK 0x2
#define MSG_DONTROUTE 0x4
#define MSG_CTRUNC 0x8
#define MSG_TRUNC 0x20
#define MSG_DONTWAIT 0x40
#define MSG_EOR 0x80
#define MSG_WAITALL 0x100
#define MSG_CONFIRM 0x800
#define MSG_ERRQUEUE 0x2000
#define MSG_NOSIGNAL 0x4000
#define MSG_MORE 0x8000
#define MSG_WAITFORONE 0x10000
#define MSG_FASTOPEN 0x20000000
#define MSG_CMSG_CLOEXEC 0x40000000

#define SHUT_RD 0
#define SHUT_WR 1
#define SHUT_RDWR 2

#define SOL_TCP 6
#define SOL_UDP 17
#define SOL_NETLINK 270
#define SCM_RIGHTS 1
#define SCM_CREDENTIALS 2
#define SCM_MAX_FD 253
#define SOMAXCONN 4096

#define SOCKET_NAME_MAX 128 /* sizeof(struct sockaddr_storage) */

/* What became of a datagram that was sent: struct sock_extended_err, and who told. */
struct extended_error {
    int32_t number; /* errno */
    uint8_t origin, type, code;
    bool has_offender; /* to be shown */
    uint32_t info, data, interface;
    struct ip_address offender; /* of a time stamp: the packet's own source */
    bool has_time;
    int64_t time;
};

/* struct msghdr and struct cmsghdr of x86-64. */
struct user_message {
    uint64_t name;
    uint32_t name_length, padding;
    uint64_t segments, segment_count;
    uint64_t control, control_length;
    uint32_t flags, padding2;
};
struct control_header {
    uint64_t length;
    int32_t level, type;
};
#define CONTROL_ALIGN(length) (((length) + 7u) & ~UINT64_C(7))

struct socket_rights; /* rights.h: files on their way */

/* The parts of a message that are not data, in and out. */
struct socket_message {
    uint32_t name_length; /* 0: none */
    uint8_t name[SOCKET_NAME_MAX];
    struct socket_rights *rights; /* sent: NULL once taken; received: the caller's to deliver or drop */
    bool has_credentials;
    int32_t credentials[3]; /* pid, uid, gid */
    bool has_source;        /* packet information (IP_PKTINFO, IPV6_PKTINFO), sent or received */
    struct ip_address local_address;
    uint32_t interface;
    bool has_time;
    int64_t time;
    uint32_t drops;                 /* of datagrams by the socket, before this one */
    int32_t ttl, tos;               /* of a received datagram (IPv6: hop limit, traffic class); -1: none */
    struct packet_options asked[2]; /* sent: of IPv4, of IPv6 */
    int32_t out_flags;              /* MSG_TRUNC, MSG_EOR, MSG_OOB of recvmsg */
    bool goes_on;                   /* of a stream, in: this receive has taken something before it slept */
    bool ends;      /* of a stream, out: what follows belongs to another receive (files, an urgent mark) */
    bool has_error; /* MSG_ERRQUEUE */
    struct extended_error error;
    bool has_stamping; /* SO_TIMESTAMPING, sent */
    uint32_t stamping;
    bool has_unread; /* TCP_INQ */
    int32_t unread;
    bool has_auxiliary; /* PACKET_AUXDATA */
    struct tpacket_auxdata auxiliary;
};

/* The pending error, as a result: it is told once. */
static inline int socket_take_error(struct socket *socket) {
    int error = socket->error;
    socket->error = 0;
    return -error;
}

/* Whether a call with these MSG_* flags may not sleep. */
static inline bool socket_nonblocking(const struct socket *socket, int flags) {
    return (flags & MSG_DONTWAIT) || (socket->file && (socket->file->flags & O_NONBLOCK));
}

/* Non-blocking attempts of the families. Sizes or -errno; -EAGAIN means: wait for POLLIN or POLLOUT and try again. */
int64_t inet_send(struct task *task, struct socket *socket, struct uio *from, int flags,
                  struct socket_message *message);
int64_t inet_receive(struct task *task, struct socket *socket, struct uio *to, int flags,
                     struct socket_message *message);
int inet_connect(struct task *task, struct socket *socket, const uint8_t *name, uint32_t length);
/* The datagram socket that gets what comes from `remote`; NULL: nobody. */
struct socket *inet_find_datagram(struct host *host, struct ip_address local, uint16_t local_port,
                                  struct ip_address remote, uint16_t remote_port);
/* 0, or why a packet cannot go there: -ENETUNREACH, -EHOSTUNREACH, -EINVAL, -ENODEV. `asked`: the interface that the
 * message names, or 0. */
int inet_route(const struct socket *socket, uint32_t asked, struct ip_address source, struct ip_address destination);
/* INTERFACE_* that it leaves by. */
uint32_t inet_way(const struct socket *socket, uint32_t asked, struct ip_address destination);
/* Writes into a packet's header what its message asks for. */
void ip_header_options(struct packet *packet, const struct packet_options *options);
static inline bool is_inet(const struct socket *socket) {
    return socket->family == AF_INET || socket->family == AF_INET6;
}
/* What an address to send to means: the wildcards are the loopback address. */
struct ip_address inet_destination(const struct socket *socket, struct ip_address address);
void icmp_create(struct net *net);
void icmp_port_unreachable(struct host *host, const struct packet *cause);
void icmp_input(struct host *host, struct packet *packet); /* takes the packet; both versions */
/* error_queue.c. Data are the datagram's own, without headers. */
void error_queue_add(struct socket *socket, const struct extended_error *error, struct ip_address destination,
                     uint16_t port, const uint8_t *data, uint32_t length);
int64_t error_queue_receive(struct socket *socket, struct uio *to, struct socket_message *message);
void error_queue_clear(struct socket *socket);
/* Control data of IP_RECVERR or IPV6_RECVERR, as the socket's family is; the length. */
#define ERROR_CONTROL_MAX 44u
uint32_t error_queue_control(const struct socket *socket, const struct extended_error *error,
                             uint8_t control[ERROR_CONTROL_MAX]);
/* timestamping.c: SO_TIMESTAMPING. */
bool timestamping_serves(const struct socket *socket);
int timestamping_set(struct socket *socket, bool new, const void *value, uint32_t length);
void timestamping_get(const struct socket *socket, bool new, uint32_t value[2]);
/* Of a message's control data. 0 or -EINVAL. */
int timestamping_asked(uint32_t flags, struct socket_message *message);
/* SOF_TIMESTAMPING_TX_* that a message is sent with, and a packet that is its own with that. */
uint32_t timestamping_of(const struct socket *socket, const struct socket_message *message);
void timestamping_begin(struct socket *socket, struct packet *packet, uint32_t flags);
/* A packet goes to its interface, and leaves by it. */
void timestamping_scheduled(struct host *host, const struct packet *packet, uint32_t interface);
void timestamping_left(struct host *host, const struct packet *packet, uint32_t interface);
/* Whether a message that was received tells of its time as SO_TIMESTAMPING does. */
bool timestamping_shows(const struct socket *socket, const struct socket_message *message);
/* What else is told with a stamp in the error queue, by the frame that was sent (`length` 0: none). */
void timestamping_describe(const struct socket *socket, const uint8_t *frame, uint32_t length,
                           struct socket_message *message);
/* datagram.c: sending of UDP and raw sockets. What the message asks for, of this version of IP. */
const struct packet_options *datagram_asked(const struct udp_message *to, struct ip_address destination);
/* The address that a datagram to there comes from: what the message says, or is bound, or the host's. */
struct ip_address datagram_source(const struct socket *socket, const struct udp_message *to,
                                  struct ip_address destination);
/* Whether the program forbids what would be fragments: IP_MTU_DISCOVER, IPV6_MTU_DISCOVER, IPV6_DONTFRAG. */
bool datagram_must_fit(const struct socket *socket, const struct packet_options *asked, struct ip_address destination);
/* -EMSGSIZE. Tells of the MTU, too, if the program wants to hear of errors (ip_local_error, ipv6_local_error of
 * Linux). */
int datagram_too_long(struct socket *socket, struct ip_address destination, uint16_t port);
/* socket->pending, with room for headers and a first piece. Names are in its header, the rest of that is the caller's
 * to write. 0 or -ENOBUFS. */
int datagram_begin(struct socket *socket, const struct udp_message *to, struct ip_address destination, uint32_t headers,
                   uint32_t length);
void datagram_name(struct packet *packet, struct ip_address source, struct ip_address destination);
/* Adds a piece, up to `most` bytes with all headers. 0, or an error: then nothing is left of it, as in Linux. */
int datagram_add(struct socket *socket, struct uio *from, uint32_t most, uint16_t port);
struct packet *datagram_take(struct socket *socket); /* it is the caller's */
void datagram_drop(struct socket *socket);
/* UDP_CORK. */
int udp_cork(struct task *task, struct socket *socket, bool cork);
uint32_t udp_data_length(const struct packet *packet);
/* How many bytes of a packet that came, from `begin` on, the socket's filter lets through; 0: it is dropped. */
uint32_t socket_filtered(const struct socket *socket, const struct packet *packet, uint32_t begin);
/* Where in a received packet the data that a UDP or raw socket gives begin. */
uint32_t datagram_begins(const struct socket *socket, const struct packet *packet);
void socket_broken_pipe(struct task *task); /* SIGPIPE */
int inet_bind_name(struct task *task, struct socket *socket, const uint8_t *name, uint32_t length);
/* Writes a sockaddr_in or sockaddr_in6, as `family` is, and returns its length. `interface`: of link-local ones. */
uint32_t inet_put_name(uint8_t *name, int family, struct ip_address address, uint16_t port, uint32_t interface);
uint32_t inet_name(const struct socket *socket, uint8_t *name, bool peer); /* length; 0: not connected */
int inet_set_option(struct task *task, struct socket *socket, int level, int name, const void *value, uint32_t length);
int inet_get_option(struct socket *socket, int level, int name, void *value, uint32_t *length);

__attribute__((warn_unused_result)) int unix_create(struct socket *socket);
void unix_close(struct socket *socket); /* frees it */
int64_t unix_send(struct task *task, struct socket *socket, struct uio *from, int flags,
                  struct socket_message *message);
int64_t unix_receive(struct task *task, struct socket *socket, struct uio *to, int flags,
                     struct socket_message *message);
int unix_connect(struct task *task, struct socket *socket, const uint8_t *name, uint32_t length); /* -EAGAIN: backlog */
int unix_bind(struct task *task, struct socket *socket, const uint8_t *name, uint32_t length);
int unix_listen(struct task *task, struct socket *socket, int backlog);
struct socket *unix_accept(struct socket *socket); /* NULL: nobody waits */
void unix_pair(struct task *task, struct socket *first, struct socket *second);
int unix_shutdown(struct socket *socket, bool read, bool write);
uint32_t unix_name(const struct socket *socket, uint8_t *name, bool peer);
int64_t unix_unread(const struct socket *socket);
/* Sleeps until a datagram socket, any one of the host, has room again. Results of task_block. */
__attribute__((warn_unused_result)) int unix_wait_room(struct task *task, int64_t deadline);
int64_t netlink_send(struct task *task, struct socket *socket, struct uio *from, int flags,
                     struct socket_message *message);
int64_t netlink_receive(struct task *task, struct socket *socket, struct uio *to, int flags,
                        struct socket_message *message);
int netlink_bind(struct task *task, struct socket *socket, const uint8_t *name, uint32_t length);
int netlink_set_option(struct socket *socket, int name, const void *value, uint32_t length);
int netlink_get_option(const struct socket *socket, int name, void *value, uint32_t *length);
uint32_t netlink_name(const struct socket *socket, uint8_t *name, bool peer);

/* SIOC* requests about interfaces, which any socket answers; -ENOIOCTLCMD where `command` is none. */
#define ENOIOCTLCMD 515
int64_t interface_ioctl(struct host *host, uint32_t command, uint64_t argument);
/* SIOCGSTAMP and SIOCGSTAMPNS; -ENOIOCTLCMD where `command` is neither. */
int64_t socket_stamp_ioctl(const struct socket *socket, uint32_t command, uint64_t argument);
/* FIONREAD and TIOCOUTQ, of what is unread and unsent [bytes, or -errno], and what async_ioctl and interface_ioctl
 * know. */
int64_t socket_ioctl(struct task *task, struct file *file, uint32_t command, uint64_t argument, int64_t unread,
                     int64_t unsent);
/* Of a poll operation, which also asks to be told. */
static inline uint32_t socket_note_room(struct socket *socket, uint32_t events) {
    if (!(events & POLLOUT))
        socket->no_space = true;
    return events;
}
/* INTERFACE_* of a name, 0: no such interface. */
uint32_t interface_of_name(const char *name);
const char *interface_name(uint32_t interface);
void interface_hardware_address(const struct host *host, uint32_t interface, uint8_t address[6]);
/* Of the other end of the link: of eth0 a router, which leads to everybody; zeros for lo. */
void interface_router_address(uint32_t interface, uint8_t address[6]);

#endif
