/* Raw sockets, for inet.c, inet_options.c, ip.c and icmp.c; see raw.c. */
#ifndef ANTUMBRA_KERNEL_RAW_H
#define ANTUMBRA_KERNEL_RAW_H

#include "socket.h"

#define SOL_RAW 255
#define SOL_ICMPV6 58

/* 0, -EPERM without CAP_NET_RAW, -ENOBUFS. */
__attribute__((warn_unused_result)) int raw_create(struct task *task, struct socket *socket);
void raw_close(struct socket *socket); /* frees it */
int raw_bind(struct socket *socket, struct ip_address address);
int raw_connect(struct socket *socket, struct ip_address address, uint16_t port);
void raw_disconnect(struct socket *socket);
int64_t raw_send(struct socket *socket, struct uio *from, int flags, const struct udp_message *to);
/* Where in a received packet the data of a raw socket begin. */
uint32_t raw_data_begins(const struct packet *packet);
/* Copies for the raw sockets that hear a packet which has arrived; whether there are any. */
bool raw_input(struct host *host, const struct packet *packet);
/* -ENOPROTOOPT: none of theirs. */
int raw_set_option(struct socket *socket, int level, int name, const void *value, uint32_t length);
int raw_get_option(const struct socket *socket, int level, int name, void *value, uint32_t *length);
/* The checksum of an ICMP or ICMPv6 packet that is complete else. */
void icmp_put_checksum(struct packet *packet);

#endif
