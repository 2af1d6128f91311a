/* The name server that every host finds at its loopback address. */
#ifndef ANTUMBRA_KERNEL_DNS_H
#define ANTUMBRA_KERNEL_DNS_H

#include "net.h"

#define DNS_PORT 53

/* A datagram to port 53 of the loopback address, which no socket has: answers it, if the experiment's names are known.
 * False: there is no name server. The packet stays the caller's. */
bool dns_input(struct host *host, const struct packet *packet);

#endif
