/* IP_RECVERR and MSG_ERRQUEUE: errors of datagrams that come back, with the datagram and who told. */
#include "inet.h"

#include <linux/errqueue.h>

static void put_queued(int fd, size_t room, size_t control_room) {
    char bytes[2048], control[512];
    struct sockaddr_in name = {0};
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
    printf("  flags 0x%x, name of %u bytes, to %s, port %s\n", (unsigned)message.msg_flags, message.msg_namelen,
           inet_ntoa(name.sin_addr),
           ntohs(name.sin_port) == 1 ? "as it was"
           : ntohs(name.sin_port)    ? "other"
                                     : "none");
    for (struct cmsghdr *item = CMSG_FIRSTHDR(&message); item; item = CMSG_NXTHDR(&message, item)) {
        struct {
            struct sock_extended_err error;
            struct sockaddr_in offender;
        } told = {0};
        printf("  level %d, type %d, %zu bytes\n", item->cmsg_level, item->cmsg_type, (size_t)item->cmsg_len);
        if (item->cmsg_len >= CMSG_LEN(sizeof told)) {
            memcpy(&told, CMSG_DATA(item), sizeof told);
            printf("  %s, origin %u, type %u, code %u, info %u, from family %u %s\n",
                   strerrorname_np((int)told.error.ee_errno), told.error.ee_origin, told.error.ee_type,
                   told.error.ee_code, told.error.ee_info, told.offender.sin_family, inet_ntoa(told.offender.sin_addr));
        }
    }
}

static void put_pending(int fd) {
    int error = -1;
    socklen_t length = sizeof error;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    printf("SO_ERROR %s\n", error ? strerrorname_np(error) : "none");
}

static ssize_t send_nowhere(int fd, size_t length) {
    static char bytes[65536];
    struct sockaddr_in name = loopback(1); /* nobody is there */
    memset(bytes, 'x', sizeof bytes);
    memcpy(bytes, "a datagram of some length", 25);
    return sendto(fd, bytes, length, 0, (struct sockaddr *)&name, sizeof name);
}

static void ports_unreachable(void) {
    section("ports unreachable");
    int fd = udp_socket(), on = 1, off = 0;
    put_queued(fd, 100, 512);
    FACT("before", send_nowhere(fd, 25));
    put_queued(fd, 100, 512);
    FACT("IP_RECVERR", setsockopt(fd, SOL_IP, IP_RECVERR, &on, sizeof on));
    FACT("sendto", send_nowhere(fd, 25));
    await(fd, POLLERR);
    put_poll("with an error", fd);
    FACT("the next call tells", send_nowhere(fd, 25));
    put_poll("told", fd);
    put_queued(fd, 100, 512);
    put_queued(fd, 100, 512);
    put_poll("empty", fd);
    put_pending(fd);
    FACT("sendto", send_nowhere(fd, 25));
    put_queued(fd, 100, 512); /* taking it takes the pending error, too */
    put_pending(fd);
    FACT("sendto", send_nowhere(fd, 25));
    put_pending(fd);
    FACT("sendto", send_nowhere(fd, 25));
    put_pending(fd);
    put_queued(fd, 4, 512); /* the next one is pending again */
    put_pending(fd);
    put_queued(fd, 100, 0);
    put_pending(fd);
    FACT("sendto", send_nowhere(fd, 0));
    put_queued(fd, 100, 20);
    FACT("sendto", send_nowhere(fd, 1000));
    put_queued(fd, 2000, 512); /* as much as the message about it quotes */
    FACT("sendto", send_nowhere(fd, 25));
    FACT("not any more", setsockopt(fd, SOL_IP, IP_RECVERR, &off, sizeof off));
    put_queued(fd, 100, 512);
    put_pending(fd);
    close(fd);
}

static void errors_of_its_own(void) {
    section("too long");
    int fd = udp_socket(), on = 1, mode = IP_PMTUDISC_DO;
    FACT("IP_RECVERR", setsockopt(fd, SOL_IP, IP_RECVERR, &on, sizeof on));
    FACT("IP_MTU_DISCOVER", setsockopt(fd, SOL_IP, IP_MTU_DISCOVER, &mode, sizeof mode));
    FACT("more than any datagram", send_nowhere(fd, 65508));
    put_queued(fd, 100, 512);
    put_pending(fd);
    close(fd);
}

/* An error in the queue is no reason to look again and again for data. */
static void waiting(void) {
    section("waiting for data");
    int fd = udp_socket(), on = 1;
    char byte;
    struct timeval time = {0, 50000};
    FACT("IP_RECVERR", setsockopt(fd, SOL_IP, IP_RECVERR, &on, sizeof on));
    FACT("SO_RCVTIMEO", setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time));
    FACT("sendto", send_nowhere(fd, 25));
    await(fd, POLLERR);
    put_pending(fd);
    FACT("recv", recv(fd, &byte, 1, 0));
    FACT("read", read(fd, &byte, 1));
    put_poll("the error is still there", fd);
    FACT("SO_SELECT_ERR_QUEUE", setsockopt(fd, SOL_SOCKET, SO_SELECT_ERR_QUEUE, &on, sizeof on));
    put_poll("urgent", fd);
    close(fd);
}

static void streams(void) {
    section("streams");
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    put_queued(fd, 100, 512);
    close(fd);
}

int main(void) {
    begin();
    ports_unreachable();
    errors_of_its_own();
    waiting();
    streams();
    return 0;
}
