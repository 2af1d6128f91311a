/* UDP over loopback: datagrams, connected sockets, errors that come back, flags, timeouts. */
#include "inet.h"

#include <sys/ioctl.h>

static ssize_t send_to(int fd, const char *text, struct sockaddr_in name, int flags) {
    return sendto(fd, text, strlen(text), flags, (struct sockaddr *)&name, sizeof name);
}

static void put_receive(const char *what, int fd, size_t length, int flags) {
    char bytes[256];
    struct sockaddr_in from = {0};
    socklen_t name_length = sizeof from;
    errno = 0;
    ssize_t got = recvfrom(fd, bytes, length, flags, (struct sockaddr *)&from, &name_length);
    put_result(what, got, errno);
    if (got >= 0) {
        put_bytes("  data", bytes, (size_t)got < length ? (size_t)got : length);
        printf("  from %s, length %u\n", inet_ntoa(from.sin_addr), name_length);
    }
}

static void datagrams(void) {
    section("datagrams");
    int a = udp_socket(), b = udp_socket();
    struct sockaddr_in to = name_of(b);
    put_poll("idle", b);
    FACT("sendto", send_to(a, "one", to, 0));
    FACT("sendto", send_to(a, "two two", to, 0));
    FACT("empty", send_to(a, "", to, 0));
    FACT("sendto", send_to(a, "four", to, 0));
    await(b, POLLIN);
    put_poll("with data", b);
    int bytes = -7;
    ioctl(b, FIONREAD, &bytes);
    printf("FIONREAD %d\n", bytes);
    put_receive("peek", b, 2, MSG_PEEK);
    put_receive("first", b, 100, 0);
    put_receive("second cut", b, 3, MSG_TRUNC);
    ioctl(b, FIONREAD, &bytes);
    printf("FIONREAD before an empty one %d\n", bytes);
    put_receive("third is empty", b, 100, 0);
    put_receive("fourth into nothing", b, 0, 0);
    put_receive("nothing left", b, 100, MSG_DONTWAIT);
    ioctl(b, FIONREAD, &bytes);
    printf("FIONREAD %d\n", bytes);
    FACT("send without a peer", send(a, "x", 1, 0));
    FACT("write without a peer", write(a, "x", 1));
    FACT("port 0", send_to(a, "x", loopback(0), 0));
    to.sin_family = AF_UNIX;
    FACT("other family", send_to(a, "x", to, 0));
    to.sin_family = AF_UNSPEC;
    FACT("AF_UNSPEC", send_to(a, "unspecified", to, 0));
    put_receive("arrived", b, 100, MSG_DONTWAIT);
    to.sin_family = AF_INET;
    FACT("short name", sendto(a, "x", 1, 0, (struct sockaddr *)&to, 8));
    FACT("out of band", send_to(a, "x", to, MSG_OOB));
    FACT("recv out of band", recv(b, &bytes, 1, MSG_OOB | MSG_DONTWAIT));
    FACT("wrong address of data", sendto(a, nowhere, 4, 0, (struct sockaddr *)&to, sizeof to));
    inet_aton("255.255.255.255", &to.sin_addr);
    FACT("broadcast without SO_BROADCAST", send_to(a, "x", to, 0));
    FACT("listen", listen(a, 1));
    static char large[70000];
    to = name_of(b);
    FACT("65507 bytes", sendto(a, large, 65507, 0, (struct sockaddr *)&to, sizeof to));
    FACT("65508 bytes", sendto(a, large, 65508, 0, (struct sockaddr *)&to, sizeof to));
    await(b, POLLIN);
    FACT("received whole", recv(b, large, sizeof large, 0));
    struct timeval timeout = {0, 20000};
    setsockopt(b, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    put_receive("SO_RCVTIMEO", b, 10, 0);
    FACT("MSG_MORE", send_to(a, "in two ", to, MSG_MORE));
    FACT("the rest", send(a, "parts", 5, 0));
    put_receive("one datagram", b, 100, 0);
    close(a), close(b);
}

static void connected(void) {
    section("connected");
    int a = udp_socket(), b = udp_socket(), c = udp_socket();
    struct sockaddr_in name;
    socklen_t length = sizeof name;
    FACT("getpeername", getpeername(a, (struct sockaddr *)&name, &length));
    FACT("connect", connect_to(a, name_of(b)));
    FACT("getpeername", getpeername(a, (struct sockaddr *)&name, &length));
    printf("is b: %d\n", name.sin_port == name_of(b).sin_port);
    FACT("send", send(a, "to b", 4, 0));
    put_receive("b gets it", b, 100, 0);
    FACT("sendto someone else", send_to(a, "to c", name_of(c), 0));
    put_receive("c gets it", c, 100, 0);
    send_to(c, "from c", name_of(a), 0);
    send_to(b, "from b", name_of(a), 0);
    pause_ms(20);
    put_receive("a hears only b", a, 100, MSG_DONTWAIT);
    put_receive("nothing more", a, 100, MSG_DONTWAIT);
    FACT("connect elsewhere", connect_to(a, name_of(c)));
    name = name_of(c);
    name.sin_family = AF_UNSPEC;
    FACT("disconnect", connect_to(a, name));
    FACT("getpeername", getpeername(a, (struct sockaddr *)&name, &length));
    FACT("send", send(a, "x", 1, 0));
    put_poll("unconnected", a);
    FACT("shutdown unconnected", shutdown(a, SHUT_RDWR));
    FACT("connect to port 0", connect_to(a, loopback(0)));
    close(a);
    a = socket(AF_INET, SOCK_DGRAM, 0);
    FACT("connect binds", connect_to(a, name_of(b)));
    printf("local %s, port given %d\n", inet_ntoa(name_of(a).sin_addr), name_of(a).sin_port != 0);
    name.sin_family = AF_UNSPEC;
    connect_to(a, name);
    printf("after disconnect %s, port %d\n", inet_ntoa(name_of(a).sin_addr), name_of(a).sin_port != 0);
    FACT("connect to itself", (bind_to(a, loopback(0)), connect_to(a, name_of(a))));
    FACT("talk to itself", send(a, "me", 2, 0));
    put_receive("heard", a, 10, MSG_DONTWAIT);
    close(a), close(b), close(c);
}

static void unreachable(void) {
    section("nobody there");
    int gone = udp_socket(), a = udp_socket();
    struct sockaddr_in nobody = name_of(gone);
    char byte;
    close(gone);
    FACT("sendto", send_to(a, "x", nobody, 0));
    pause_ms(20);
    FACT("unconnected does not hear", recv(a, &byte, 1, MSG_DONTWAIT));
    FACT("connect", connect_to(a, nobody));
    FACT("send", send(a, "x", 1, 0));
    pause_ms(20);
    put_poll("the error is here", a);
    FACT("recv", recv(a, &byte, 1, MSG_DONTWAIT));
    FACT("recv again", recv(a, &byte, 1, MSG_DONTWAIT));
    send(a, "x", 1, 0);
    pause_ms(20);
    FACT("send tells too", send(a, "x", 1, 0));
    FACT("send again", send(a, "x", 1, 0));
    pause_ms(20);
    put_error("SO_ERROR", a);
    put_error("cleared", a);
    send(a, "x", 1, 0);
    pause_ms(20);
    FACT("write tells too", write(a, "x", 1));
    close(a);
}

static void halves(void) {
    section("shutdown");
    int a = udp_socket(), b = udp_socket();
    char byte;
    connect_to(a, name_of(b));
    connect_to(b, name_of(a));
    FACT("SHUT_WR", shutdown(a, SHUT_WR));
    FACT("send", send(a, "x", 1, MSG_NOSIGNAL));
    IN_CHILD("send without MSG_NOSIGNAL", send(a, "x", 1, 0));
    put_poll("after SHUT_WR", a);
    send(b, "hi", 2, 0);
    put_receive("still hears", a, 10, 0);
    FACT("SHUT_RD", shutdown(a, SHUT_RD));
    put_poll("after SHUT_RD", a);
    FACT("recv", recv(a, &byte, 1, 0));
    FACT("recv without waiting", recv(a, &byte, 1, MSG_DONTWAIT));
    send(b, "more", 4, 0);
    pause_ms(20);
    put_receive("what comes later", a, 10, MSG_DONTWAIT);
    close(a), close(b);
    int c = udp_socket(); /* not connected: Linux refuses, and does it nevertheless */
    IN_CHILD("a receive that a shutdown ends", {
        int d = dup(c);
        pid_t child = fork();
        if (!child) {
            pause_ms(50);
            shutdown(d, SHUT_RDWR);
            _exit(0);
        }
        FACT("recv", recv(d, &(char){0}, 1, 0));
    });
    put_poll("poll", c);
    FACT("recv", recv(c, &(char){0}, 1, 0));
    FACT("recv that does not wait", recv(c, &(char){0}, 1, MSG_DONTWAIT));
    struct sockaddr_in nobody = loopback(9);
    FACT("sendto", sendto(c, "x", 1, MSG_NOSIGNAL, (struct sockaddr *)&nobody, sizeof nobody));
    close(c);
}

static void ports(void) {
    section("ports");
    int a = udp_socket(), b = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in name = name_of(a);
    FACT("the same port", bind_to(b, name));
    set_option(a, SOL_SOCKET, SO_REUSEADDR, 1);
    set_option(b, SOL_SOCKET, SO_REUSEADDR, 1);
    FACT("SO_REUSEADDR", bind_to(b, name));
    int c = udp_socket();
    send_to(c, "whose", name, 0);
    pause_ms(20);
    put_receive("the older", a, 10, MSG_DONTWAIT);
    put_receive("the newer", b, 10, MSG_DONTWAIT);
    close(b);
    b = socket(AF_INET, SOCK_DGRAM, 0);
    set_option(b, SOL_SOCKET, SO_REUSEPORT, 1);
    FACT("SO_REUSEPORT on one", bind_to(b, name));
    name.sin_addr.s_addr = htonl(0x7f000003);
    FACT("another address", bind_to(b, name));
    send_to(c, "specific", name, 0);
    put_receive("goes there", b, 20, 0);
    close(a), close(b);
    a = udp_socket();
    int one = 1;
    setsockopt(a, SOL_SOCKET, SO_RCVBUF, &one, sizeof one);
    for (int i = 0; i < 50; i++)
        send_to(c, "0123456789", name_of(a), 0);
    pause_ms(20);
    int got = 0;
    char bytes[20];
    while (recv(a, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        got++;
    printf("a small buffer holds some and not all: %d\n", got > 0 && got < 50);
    close(a), close(c);
}

/* SO_RXQ_OVFL: how many were lost before, with each datagram that was queued since. */
static void losses(void) {
    section("losses");
    int fd = udp_socket(), on = 1, small = 4096, queued = 0;
    const int sent = 40;
    struct sockaddr_in name = name_of(fd);
    char block[1000] = {0};
    FACT("SO_RXQ_OVFL", setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on));
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    for (int i = 0; i < sent; i++)
        MUST(sendto(fd, block, sizeof block, 0, (struct sockaddr *)&name, sizeof name));
    for (bool last = false; !last; queued++) {
        union {
            char bytes[64];
            struct cmsghdr aligned;
        } control;
        struct iovec part = {block, sizeof block};
        struct msghdr message = {
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        if (recvmsg(fd, &message, MSG_DONTWAIT) < 0) {
            MUST(sendto(fd, block, sizeof block, 0, (struct sockaddr *)&name, sizeof name));
            MUST(recvmsg(fd, &message, 0));
            last = true;
        }
        const struct cmsghdr *item = CMSG_FIRSTHDR(&message);
        uint32_t lost = 0;
        if (item)
            memcpy(&lost, CMSG_DATA(item), sizeof lost);
        if (last)
            printf("lost: %d\n", item && item->cmsg_type == SO_RXQ_OVFL && (int)lost == sent - queued);
        else if (item)
            printf("too early\n");
    }
    close(fd);
}

int main(void) {
    begin();
    datagrams();
    connected();
    unreachable();
    halves();
    ports();
    losses();
    return 0;
}
