/* Classic BPF programs that sockets carry (SO_ATTACH_FILTER); see filter.c. */
#ifndef ANTUMBRA_KERNEL_FILTER_H
#define ANTUMBRA_KERNEL_FILTER_H

#include "kernel.h"
#include <linux/filter.h>

struct filter {
    uint32_t length;
    struct sock_filter program[];
};

/* What a program looks at: a packet, where in it loads begin, and what is known beside its bytes. */
struct filter_input {
    const uint8_t *bytes;
    uint32_t length;  /* of bytes */
    uint32_t begin;   /* offset 0 of the program's loads */
    uint32_t network; /* where the IP header is: SKF_NET_OFF */
    bool has_link;    /* bytes start with a link header: SKF_LL_OFF */
    uint16_t protocol, hardware_type;
    uint8_t kind; /* PACKET_HOST... */
    uint32_t interface;
};

/* 0, or -EINVAL where Linux would not take it either. */
__attribute__((warn_unused_result)) int filter_check(const struct sock_filter *program, uint32_t length);
/* How many bytes, from `begin` on, the program lets through; 0: none, drop it. Only a program that was checked. */
uint32_t filter_run(struct host *host, const struct filter *filter, const struct filter_input *input);
/* SO_ATTACH_FILTER, with the bytes of a struct sock_fprog: a checked copy in `*filter`, instead of what was there. */
__attribute__((warn_unused_result)) int filter_attach(struct host *host, struct filter **filter, const void *value,
                                                      uint32_t length);

#endif
