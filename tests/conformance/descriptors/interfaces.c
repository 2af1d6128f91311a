/* Interfaces, by ioctl and by getifaddrs: what is there on any machine. */
#include "facts.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

static int ask(int fd, const char *name, unsigned long command, struct ifreq *request) {
    memset(request, 0, sizeof *request);
    strncpy(request->ifr_name, name, IFNAMSIZ - 1);
    return ioctl(fd, command, request);
}

/* The form of the table; which routes there are is the machine's. */
static void routes(void) {
    section("/proc/net/route");
    FILE *file = fopen("/proc/net/route", "re");
    char line[256], interface[IFNAMSIZ] = "";
    unsigned to, mask, flags, lines = 0, wrong = 0;
    if (!file || !fgets(line, sizeof line, file))
        return;
    printf("%s", line);
    for (; fgets(line, sizeof line, file); lines++) {
        int fields = sscanf(line, "%15s %8X %*8X %4X %*d %*u %*d %8X", interface, &to, &flags, &mask);
        wrong += fields != 4 || strlen(line) != 128 || !if_nametoindex(interface) || (to & ~mask) || !(flags & 1);
    }
    printf("lines that are wrong: %u\n", wrong);
    fclose(file);
}

int main(void) {
    begin();
    routes();
    section("ioctl");
    int fd = socket(AF_INET, SOCK_DGRAM, 0), local = socket(AF_UNIX, SOCK_STREAM, 0);
    struct ifreq request;
    FACT("SIOCGIFINDEX of lo", ask(fd, "lo", SIOCGIFINDEX, &request));
    printf("%d\n", request.ifr_ifindex);
    FACT("SIOCGIFNAME of 1", ioctl(fd, SIOCGIFNAME, &request));
    printf("%s\n", request.ifr_name);
    FACT("SIOCGIFFLAGS of lo", ask(fd, "lo", SIOCGIFFLAGS, &request));
    printf("up %d loopback %d running %d multicast %d\n", (request.ifr_flags & IFF_UP) != 0,
           (request.ifr_flags & IFF_LOOPBACK) != 0, (request.ifr_flags & IFF_RUNNING) != 0,
           (request.ifr_flags & IFF_MULTICAST) != 0);
    FACT("SIOCGIFADDR of lo", ask(fd, "lo", SIOCGIFADDR, &request));
    struct sockaddr_in address;
    memcpy(&address, &request.ifr_addr, sizeof address);
    printf("%d %s\n", address.sin_family, inet_ntoa(address.sin_addr));
    FACT("SIOCGIFNETMASK of lo", ask(fd, "lo", SIOCGIFNETMASK, &request));
    memcpy(&address, &request.ifr_addr, sizeof address);
    printf("%s\n", inet_ntoa(address.sin_addr));
    FACT("SIOCGIFMTU of lo", ask(fd, "lo", SIOCGIFMTU, &request));
    printf("%d\n", request.ifr_mtu);
    FACT("SIOCGIFHWADDR of lo", ask(fd, "lo", SIOCGIFHWADDR, &request));
    printf("kind %d\n", request.ifr_hwaddr.sa_family == ARPHRD_LOOPBACK);
    FACT("SIOCGIFINDEX of nothing", ask(fd, "nope7", SIOCGIFINDEX, &request));
    FACT("SIOCGIFADDR of nothing", ask(fd, "nope7", SIOCGIFADDR, &request));
    memset(&request, 0, sizeof request);
    request.ifr_ifindex = 777;
    FACT("SIOCGIFNAME of nothing", ioctl(fd, SIOCGIFNAME, &request));
    FACT("through a Unix socket", ask(local, "lo", SIOCGIFINDEX, &request));
    FACT("through a file", ask(0, "lo", SIOCGIFINDEX, &request));
    FACT("to nowhere", ioctl(fd, SIOCGIFINDEX, nowhere));
    struct ifreq list[32];
    struct ifconf configuration = {.ifc_len = sizeof list, .ifc_req = list};
    FACT("SIOCGIFCONF", ioctl(fd, SIOCGIFCONF, &configuration));
    bool found = false;
    for (size_t i = 0; i < (size_t)configuration.ifc_len / sizeof list[0]; i++)
        found = found || !strcmp(list[i].ifr_name, "lo");
    printf("lo is there: %d\n", found);
    configuration = (struct ifconf){.ifc_len = 0};
    FACT("how large", ioctl(fd, SIOCGIFCONF, &configuration));
    printf("at least one: %d\n", configuration.ifc_len >= (int)sizeof list[0]);
    close(fd), close(local);

    section("options of netlink sockets");
    static const int options[] = {NETLINK_PKTINFO, NETLINK_NO_ENOBUFS,     NETLINK_CAP_ACK,
                                  NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK, 77};
    int netlink = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE), on = 5, shown, group = 0;
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        socklen_t length = sizeof shown;
        shown = -1;
        FACT("before", getsockopt(netlink, SOL_NETLINK, options[i], &shown, &length));
        FACT("set", setsockopt(netlink, SOL_NETLINK, options[i], &on, sizeof on));
        FACT("get", getsockopt(netlink, SOL_NETLINK, options[i], &shown, &length));
        printf("%d\n", shown);
    }
    FACT("short", setsockopt(netlink, SOL_NETLINK, NETLINK_EXT_ACK, &on, 2));
    FACT("no group", setsockopt(netlink, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group));
    group = 1;
    FACT("a group", setsockopt(netlink, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group));
    close(netlink);

    section("names");
    printf("if_nametoindex %u, of nothing %u\n", if_nametoindex("lo"), if_nametoindex("nope7"));
    char name[IF_NAMESIZE];
    printf("if_indextoname %s\n", if_indextoname(1, name));
    struct if_nameindex *all = if_nameindex();
    printf("first %u %s\n", all[0].if_index, all[0].if_name);
    if_freenameindex(all);

    section("getifaddrs");
    struct ifaddrs *addresses;
    FACT("getifaddrs", getifaddrs(&addresses));
    bool others = false;
    for (struct ifaddrs *entry = addresses; entry; entry = entry->ifa_next) {
        if (strcmp(entry->ifa_name, "lo")) {
            others = true;
            continue;
        }
        if (!entry->ifa_addr || entry->ifa_addr->sa_family == AF_INET6)
            continue; /* a machine may be without it */
        printf("%s family %d, mask %d, up %d\n", entry->ifa_name, entry->ifa_addr->sa_family,
               entry->ifa_netmask != NULL, (entry->ifa_flags & IFF_UP) != 0);
        if (entry->ifa_addr->sa_family == AF_INET) {
            memcpy(&address, entry->ifa_addr, sizeof address);
            printf("  %s\n", inet_ntoa(address.sin_addr));
            memcpy(&address, entry->ifa_netmask, sizeof address);
            printf("  %s\n", inet_ntoa(address.sin_addr));
        }
    }
    printf("there are others: %d\n", others);
    freeifaddrs(addresses);
    return 0;
}
