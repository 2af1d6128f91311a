/* The IPv6 side of the loopback interface, as libraries ask for it. */
#include "inet6.h"

#include <ifaddrs.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netdb.h>

static void addresses(void) {
    section("getifaddrs");
    struct ifaddrs *list;
    MUST(getifaddrs(&list));
    for (struct ifaddrs *entry = list; entry; entry = entry->ifa_next) {
        if (strcmp(entry->ifa_name, "lo") || !entry->ifa_addr || entry->ifa_addr->sa_family != AF_INET6)
            continue;
        put_name("address", entry->ifa_addr, SIZE6);
        put_name("mask", entry->ifa_netmask, SIZE6);
        printf("broadcast %d, data %d\n", entry->ifa_broadaddr != NULL, entry->ifa_data != NULL);
    }
    freeifaddrs(list);
}

/* What the kernel itself says of ::1: RTM_GETADDR. */
static void dump(unsigned char family) {
    struct {
        struct nlmsghdr header;
        struct ifaddrmsg address;
    } request = {{sizeof request, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, 0}, {.ifa_family = family}};
    static char answer[65536];
    int fd = (int)MUST(socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)), inet = 0, loopback6 = 0;
    bool inet_first = true;
    MUST(send(fd, &request, sizeof request, 0));
    for (bool done = false; !done;) {
        int length = (int)MUST(recv(fd, answer, sizeof answer, 0));
        for (struct nlmsghdr *item = (struct nlmsghdr *)(void *)answer; NLMSG_OK(item, length);
             item = NLMSG_NEXT(item, length)) {
            struct ifaddrmsg *address = NLMSG_DATA(item);
            done |= item->nlmsg_type == NLMSG_DONE;
            if (item->nlmsg_type != RTM_NEWADDR)
                continue;
            inet += address->ifa_family == AF_INET;
            if (address->ifa_family == AF_INET && loopback6)
                inet_first = false;
            if (address->ifa_family != AF_INET6 || address->ifa_index != 1)
                continue;
            loopback6++;
            printf("prefix %d, scope %d, flags %#x:", address->ifa_prefixlen, address->ifa_scope, address->ifa_flags);
            int rest = (int)IFA_PAYLOAD(item);
            for (struct rtattr *part = IFA_RTA(address); RTA_OK(part, rest); part = RTA_NEXT(part, rest))
                if (part->rta_type != 11) /* IFA_PROTO came with Linux 5.18 */
                    printf(" %d (%zu bytes)", part->rta_type, (size_t)RTA_PAYLOAD(part));
            printf("\n");
        }
    }
    printf("family %d: IPv4 %d, before IPv6 %d, ::1 %d\n", family, inet > 0, inet_first, loopback6);
    close(fd);
}

static void resolver(const char *what, const char *node, int family, int flags) {
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = flags}, *list;
    int error = getaddrinfo(node, "80", &hints, &list);
    printf("%s: %d\n", what, error);
    if (error)
        return;
    for (struct addrinfo *entry = list; entry; entry = entry->ai_next)
        put_name("  found", entry->ai_addr, entry->ai_addrlen);
    freeaddrinfo(list);
}

int main(void) {
    begin();
    addresses();
    section("netlink");
    dump(AF_UNSPEC);
    dump(AF_INET6);
    dump(AF_INET);
    section("getaddrinfo");
    resolver("passive", NULL, AF_UNSPEC, AI_PASSIVE);
    resolver("active", NULL, AF_UNSPEC, 0);
    resolver("numeric, as configured", "::1", AF_UNSPEC, AI_NUMERICHOST | AI_ADDRCONFIG);
    resolver("IPv4 mapped", "127.0.0.1", AF_INET6, AI_NUMERICHOST | AI_V4MAPPED);
    resolver("IPv4, not mapped", "127.0.0.1", AF_INET6, AI_NUMERICHOST);
    resolver("scope", "fe80::1%lo", AF_UNSPEC, AI_NUMERICHOST);
    section("files");
    char line[256];
    FILE *file = fopen("/proc/net/if_inet6", "re");
    while (file && fgets(line, sizeof line, file))
        if (strstr(line, " lo"))
            printf("%s", line);
    if (file)
        fclose(file);
    return 0;
}
