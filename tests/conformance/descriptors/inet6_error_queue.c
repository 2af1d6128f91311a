/* IPV6_RECVERR and MSG_ERRQUEUE, and what of IP_RECVERR a socket of both families has. */
#include "inet6.h"

#include <linux/errqueue.h>

static void put_address(const char *what, const struct sockaddr_in6 *name) {
    char text[INET6_ADDRSTRLEN] = "-";
    if (name->sin6_family == AF_INET6)
        inet_ntop(AF_INET6, &name->sin6_addr, text, sizeof text);
    else if (name->sin6_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)name)->sin_addr, text, sizeof text);
    printf("%s family %d %s, port %s, scope %u\n", what, name->sin6_family, text,
           ntohs(name->sin6_port) == 1 ? "as it was"
           : name->sin6_port           ? "other"
                                       : "none",
           name->sin6_family == AF_INET6 ? name->sin6_scope_id : 0);
}

static void put_queued(int fd, size_t room, size_t control_room) {
    char bytes[2048], control[512];
    struct sockaddr_in6 name = {0};
    struct iovec part = {bytes, room};
    struct msghdr message = {.msg_name = &name,
                             .msg_namelen = sizeof name,
                             .msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = control_room};
    errno = 0;
    ssize_t got = recvmsg(fd, &message, MSG_ERRQUEUE);
    put_result("recvmsg", got, errno);
    if (got < 0)
        return;
    put_bytes("  data", bytes, (size_t)got < 16 ? (size_t)got : 16);
    printf("  flags 0x%x, name of %u bytes\n", (unsigned)message.msg_flags, message.msg_namelen);
    put_address("  to", &name);
    for (struct cmsghdr *item = CMSG_FIRSTHDR(&message); item; item = CMSG_NXTHDR(&message, item)) {
        struct {
            struct sock_extended_err error;
            struct sockaddr_in6 offender;
        } told = {0};
        printf("  level %d, type %d, %zu bytes\n", item->cmsg_level, item->cmsg_type, (size_t)item->cmsg_len);
        memcpy(&told, CMSG_DATA(item), item->cmsg_len - CMSG_LEN(0));
        if (item->cmsg_len < CMSG_LEN(sizeof told.error))
            continue;
        printf("  %s, origin %u, type %u, code %u, info %u\n", strerrorname_np((int)told.error.ee_errno),
               told.error.ee_origin, told.error.ee_type, told.error.ee_code, told.error.ee_info);
        put_address("  from", &told.offender);
    }
}

/* Nobody is there. */
static ssize_t send_nowhere(int fd, const char *address, size_t length) {
    static char bytes[70000];
    struct sockaddr_in6 name = name6(address, 1);
    memset(bytes, 'x', sizeof bytes);
    memcpy(bytes, "a datagram of some length", 25);
    return sendto(fd, bytes, length, 0, (struct sockaddr *)&name, sizeof name);
}

static void ports_unreachable(const char *address, int level, int option) {
    section(address);
    int fd = socket6(SOCK_DGRAM);
    FACT("before", send_nowhere(fd, address, 25));
    put_queued(fd, 100, 512);
    FACT("on", set_option(fd, level, option, 1));
    FACT("sendto", send_nowhere(fd, address, 25));
    put_poll("with an error", fd);
    FACT("the next call tells", send_nowhere(fd, address, 25));
    put_poll("told", fd);
    put_queued(fd, 100, 512);
    put_queued(fd, 100, 512);
    put_poll("empty", fd);
    FACT("sendto", send_nowhere(fd, address, 25));
    put_queued(fd, 100, 512); /* taking it takes the pending error, too */
    put_error("SO_ERROR", fd);
    FACT("sendto", send_nowhere(fd, address, 25));
    put_error("SO_ERROR", fd);
    FACT("sendto", send_nowhere(fd, address, 25));
    put_error("SO_ERROR", fd);
    put_queued(fd, 4, 512); /* the next one is pending again */
    put_error("SO_ERROR", fd);
    put_queued(fd, 100, 0);
    put_error("SO_ERROR", fd);
    FACT("sendto", send_nowhere(fd, address, 0));
    put_queued(fd, 100, 20);
    FACT("sendto", send_nowhere(fd, address, 1000));
    put_queued(fd, 2000, 512); /* as much as the message about it quotes */
    FACT("sendto", send_nowhere(fd, address, 25));
    FACT("off", set_option(fd, level, option, 0));
    put_queued(fd, 100, 512);
    put_error("SO_ERROR", fd);
    close(fd);
}

static void connected_one(const char *address, int level, int option) {
    section("connected");
    int fd = socket6(SOCK_DGRAM);
    char byte;
    FACT("on", set_option(fd, level, option, 1));
    FACT("connect", connect6(fd, name6(address, 1)));
    FACT("send", send(fd, "x", 1, 0));
    await(fd, POLLERR);
    FACT("recv", recv(fd, &byte, 1, MSG_DONTWAIT));
    put_queued(fd, 100, 512);
    close(fd);
}

static void errors_of_its_own(void) {
    section("too long");
    int fd = socket6(SOCK_DGRAM);
    FACT("IPV6_RECVERR", set_option(fd, IPPROTO_IPV6, IPV6_RECVERR, 1));
    FACT("IPV6_MTU_DISCOVER", set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO));
    FACT("more than fits", send_nowhere(fd, "::1", 65508));
    put_queued(fd, 100, 512);
    put_error("SO_ERROR", fd);
    close(fd);
}

int main(void) {
    begin();
    ports_unreachable("::1", IPPROTO_IPV6, IPV6_RECVERR);
    ports_unreachable("::ffff:127.0.0.1", IPPROTO_IP, IP_RECVERR);
    ports_unreachable("::ffff:127.0.0.1", IPPROTO_IPV6, IPV6_RECVERR);
    connected_one("::1", IPPROTO_IPV6, IPV6_RECVERR);
    connected_one("::ffff:127.0.0.1", IPPROTO_IP, IP_RECVERR);
    errors_of_its_own();
    section("streams");
    int fd = socket6(SOCK_STREAM);
    put_queued(fd, 100, 512);
    close(fd);
    return 0;
}
