/* Unix datagram sockets: names, peers, limits, and what happens when a peer goes. */
#include "facts.h"

#include <sys/ioctl.h>
#include <sys/un.h>

static socklen_t abstract(struct sockaddr_un *name, const char *text) {
    memset(name, 0, sizeof *name);
    name->sun_family = AF_UNIX;
    int written = snprintf(name->sun_path + 1, sizeof name->sun_path - 1, "%s%s", text, own_mark());
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)written);
}

static int bound(const char *text) {
    struct sockaddr_un name;
    socklen_t length = abstract(&name, text);
    int fd = (int)MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
    MUST(bind(fd, (struct sockaddr *)&name, length));
    return fd;
}

static ssize_t send_to(int fd, const char *data, const char *text, int flags) {
    struct sockaddr_un name;
    socklen_t length = abstract(&name, text);
    return sendto(fd, data, strlen(data), flags, (struct sockaddr *)&name, length);
}

static int connect_name(int fd, const char *text) {
    struct sockaddr_un name;
    socklen_t length = abstract(&name, text);
    return connect(fd, (struct sockaddr *)&name, length);
}

static void put_receive(const char *what, int fd, size_t size, int flags) {
    char bytes[256];
    struct sockaddr_un name = {0};
    socklen_t length = sizeof name;
    errno = 0;
    ssize_t got = recvfrom(fd, bytes, size, flags, (struct sockaddr *)&name, &length);
    put_result(what, got, errno);
    if (got >= 0) {
        put_bytes("  data", bytes, (size_t)got < size ? (size_t)got : size);
        hide_mark(name.sun_path, sizeof name.sun_path);
        printf("  from length %u", length);
        put_bytes("", name.sun_path, length > 2 ? length - 2 : 0);
    }
}

int main(void) {
    begin();
    own_mark();
    section("datagrams");
    int a = bound("a"), b = bound("b"), anonymous = socket(AF_UNIX, SOCK_DGRAM, 0);
    put_poll("idle", a);
    FACT("to b", send_to(a, "from a", "b", 0));
    FACT("to b", send_to(anonymous, "anonymous", "b", 0));
    FACT("empty", send_to(a, "", "b", 0));
    int bytes = -7;
    ioctl(b, FIONREAD, &bytes);
    printf("FIONREAD %d\n", bytes);
    put_poll("with data", b);
    put_receive("peek", b, 3, MSG_PEEK);
    put_receive("cut", b, 3, MSG_TRUNC);
    put_receive("anonymous", b, 100, 0);
    put_receive("empty", b, 100, 0);
    put_receive("nothing", b, 100, MSG_DONTWAIT);
    FACT("to nobody", send_to(a, "x", "nobody", 0));
    FACT("without a name", send(a, "x", 1, 0));
    FACT("out of band", send_to(a, "x", "b", MSG_OOB));
    FACT("listen", listen(a, 1));
    FACT("accept", accept(a, NULL, NULL));

    section("connected");
    FACT("connect", connect_name(a, "b"));
    FACT("send", send(a, "to b", 4, 0));
    FACT("sendto elsewhere", (bound("c"), send_to(a, "to c", "c", 0)));
    put_receive("b has", b, 100, 0);
    FACT("b connects to another", connect_name(b, "c"));
    FACT("a may not send to b", send(a, "x", 1, 0));
    FACT("nor anonymous", send_to(anonymous, "x", "b", 0));
    FACT("nor connect", connect_name(anonymous, "b"));
    struct sockaddr unspecified = {.sa_family = AF_UNSPEC};
    FACT("b disconnects", connect(b, &unspecified, sizeof unspecified));
    FACT("a sends again", send(a, "again", 5, 0));
    put_receive("b has", b, 100, 0);
    put_poll("a, connected", a);
    close(b);
    put_poll("a after b closed", a);
    FACT("send", send(a, "x", 1, 0));
    FACT("send again", send(a, "x", 1, 0));
    FACT("a connects to nobody", connect_name(a, "b"));

    section("limits");
    b = bound("b");
    FACT("connect", connect_name(a, "b"));
    fcntl(a, F_SETFL, O_NONBLOCK);
    int sent = 0;
    while (send(a, "0123456789", 10, 0) > 0)
        sent++;
    FACT("queue full", send(a, "x", 1, 0));
    printf("sent %d\n", sent);
    put_poll("full", a);
    put_receive("take one", b, 20, 0);
    put_poll("room again", a);
    while (recv(b, &bytes, 4, MSG_DONTWAIT) >= 0)
        ;
    static char large[400000];
    FACT("100000 bytes", send(a, large, 100000, 0));
    FACT("400000 bytes", send(a, large, 400000, 0));
    FACT("received", recv(b, large, sizeof large, 0));

    section("shutdown");
    FACT("a SHUT_WR", shutdown(a, SHUT_WR));
    FACT("send", send(a, "x", 1, MSG_NOSIGNAL));
    IN_CHILD("send", send(a, "x", 1, 0));
    put_poll("a", a);
    put_poll("b", b);
    FACT("b SHUT_RD", shutdown(b, SHUT_RD));
    FACT("to b", send_to(anonymous, "x", "b", MSG_NOSIGNAL));
    FACT("recv", recv(b, large, 1, 0));
    FACT("recv without waiting", recv(b, large, 1, MSG_DONTWAIT));
    put_poll("b", b);
    close(a), close(b), close(anonymous);

    section("pair");
    int pair[2];
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    send(pair[0], "one", 3, 0), send(pair[0], "two", 3, 0);
    put_receive("first", pair[1], 100, 0);
    put_receive("second", pair[1], 100, 0);
    close(pair[0]);
    put_poll("the peer closed", pair[1]);
    FACT("recv", recv(pair[1], large, 10, MSG_DONTWAIT));
    FACT("send", send(pair[1], "x", 1, MSG_NOSIGNAL));
    FACT("send", send(pair[1], "x", 1, MSG_NOSIGNAL));
    close(pair[1]);
    return 0;
}
