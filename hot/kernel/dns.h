/* The name server that every host finds at its loopback address, over UDP and TCP. */
#ifndef ANTUMBRA_KERNEL_DNS_H
#define ANTUMBRA_KERNEL_DNS_H

#include "net.h"

#define DNS_PORT 53

/* A datagram to port 53 of the loopback address, which no socket has: answers it, if the experiment's names are known.
 * False: there is no name server. The packet stays the caller's. */
bool dns_input(struct host *host, const struct packet *packet);
/* The listening socket of the name server, for a segment to a port that nobody else listens on; NULL: not its port, or
 * there is no name server. */
struct socket *dns_listener(struct host *host, const struct packet *packet);
/* Reads and answers what has come over its connections; they and the listener have set net->names_due. */
void dns_serve(struct host *host);

#endif
