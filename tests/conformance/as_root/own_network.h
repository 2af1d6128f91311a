/* A network of its own for a program that runs natively as root. */
#ifndef ANTUMBRA_CONFORMANCE_OWN_NETWORK_H
#define ANTUMBRA_CONFORMANCE_OWN_NETWORK_H

#include "facts.h"

#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* Nobody else sends there, and no place is remembered; a simulated host has one, and may not make another. */
static inline void own_network(void) {
    if (unshare(CLONE_NEWNET) < 0)
        return;
    int fd = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    struct ifreq request = {.ifr_name = "lo"};
    MUST(ioctl(fd, SIOCGIFFLAGS, &request));
    request.ifr_flags |= IFF_UP;
    MUST(ioctl(fd, SIOCSIFFLAGS, &request));
    close(fd);
}

#endif
