/* TCP Fast Open as net.ipv4.tcp_fastopen has it by default: clients ask for cookies, listeners give none. Root's, for a
 * raw socket sees the SYN, and natively the kernel remembers of a place what it was asked for before. */
#include "own_network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>

static struct sockaddr_in place = {.sin_family = AF_INET};

static int stream_socket(int flags) { return (int)MUST(socket(AF_INET, SOCK_STREAM | flags, 0)); }

static int set(int fd, int option, int value) { return setsockopt(fd, SOL_TCP, option, &value, sizeof value); }

static int get(int fd, int option) {
    int value = -7;
    socklen_t length = sizeof value;
    return getsockopt(fd, SOL_TCP, option, &value, &length) ? -1 : value;
}

static ssize_t send_to(int fd, const char *text, int flags, const struct sockaddr_in *to) {
    return sendto(fd, text, strlen(text), flags | MSG_NOSIGNAL, (const struct sockaddr *)to, sizeof *to);
}

static void put_arrived(int listener) {
    char bytes[64];
    int fd = accept(listener, NULL, NULL);
    await(fd, POLLIN);
    ssize_t got = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    put_result("arrived", got, errno);
    if (got > 0)
        put_bytes("  data", bytes, (size_t)got);
    printf("of the child: queue %d\n", get(fd, TCP_FASTOPEN));
    close(fd);
}

/* The options of the first SYN to the listener's port that the raw socket hears. */
static void put_options(int raw) {
    uint8_t p[256];
    for (ssize_t got; (got = recv(raw, p, sizeof p, MSG_DONTWAIT)) > 0;) {
        const struct tcphdr *tcp = (const void *)(p + sizeof(struct iphdr));
        if (tcp->dest != place.sin_port || !tcp->syn)
            continue;
        printf("SYN with %zd bytes of data, options:", got - (ssize_t)sizeof(struct iphdr) - tcp->doff * 4);
        const uint8_t *option = (const uint8_t *)(tcp + 1), *end = (const uint8_t *)tcp + tcp->doff * 4;
        for (; option < end && *option; option += *option == 1 ? 1 : option[1])
            printf(*option == 1 ? " -" : " %d of %d", option[0], option[1]);
        printf("\n");
        break;
    }
    while (recv(raw, p, sizeof p, MSG_DONTWAIT) > 0)
        ;
}

static void listeners(int fd) {
    section("listener");
    FACT("queue at first", get(fd, TCP_FASTOPEN));
    FACT("set", set(fd, TCP_FASTOPEN, 5));
    FACT("get", get(fd, TCP_FASTOPEN));
    MUST(listen(fd, 5));
    FACT("larger than any", set(fd, TCP_FASTOPEN, 1000000));
    FACT("get", get(fd, TCP_FASTOPEN));
    FACT("negative", set(fd, TCP_FASTOPEN, -1));
    FACT("TCP_FASTOPEN_CONNECT", set(fd, TCP_FASTOPEN_CONNECT, 1));
    FACT("send", send_to(fd, "x", MSG_FASTOPEN, &place));
}

static void put_keys(const char *what, int fd, socklen_t room) {
    unsigned char keys[64] = {0};
    socklen_t length = room;
    FACT(what, getsockopt(fd, SOL_TCP, TCP_FASTOPEN_KEY, keys, &length));
    put_bytes("  keys", keys, length < sizeof keys ? length : sizeof keys);
}

static void keys(int fd) {
    section("keys");
    static const char two[] = "the first is usedthe second is not";
    put_keys("at first", fd, 64);
    FACT("too short", setsockopt(fd, SOL_TCP, TCP_FASTOPEN_KEY, two, 15));
    FACT("between", setsockopt(fd, SOL_TCP, TCP_FASTOPEN_KEY, two, 20));
    FACT("too long", setsockopt(fd, SOL_TCP, TCP_FASTOPEN_KEY, two, 33));
    put_keys("still none", fd, 64);
    FACT("two", setsockopt(fd, SOL_TCP, TCP_FASTOPEN_KEY, two, 32));
    put_keys("both", fd, 64);
    put_keys("as many as there is room for", fd, 20);
    put_keys("no room", fd, 0);
    FACT("one", setsockopt(fd, SOL_TCP, TCP_FASTOPEN_KEY, two + 1, 16));
    put_keys("one", fd, 64);
    int to = stream_socket(0);
    MUST(connect(to, (struct sockaddr *)&place, sizeof place));
    FACT("of a connection", setsockopt(to, SOL_TCP, TCP_FASTOPEN_KEY, two, 32));
    put_keys("its own", to, 64);
    int accepted = (int)MUST(accept(fd, NULL, NULL));
    put_keys("of the child", accepted, 64);
    close(accepted);
    close(to);
}

static void sending(int listener, int raw) {
    section("MSG_FASTOPEN");
    int fd = stream_socket(0);
    FACT("sendto", send_to(fd, "hello", MSG_FASTOPEN, &place));
    put_options(raw);
    put_arrived(listener);
    FACT("again", send_to(fd, "hello", MSG_FASTOPEN, &place));
    FACT("without a name", send(fd, "x", 1, MSG_FASTOPEN));
    FACT("queue of a connection", set(fd, TCP_FASTOPEN, 5));
    FACT("TCP_FASTOPEN_CONNECT", set(fd, TCP_FASTOPEN_CONNECT, 1));
    close(fd);
    fd = stream_socket(SOCK_NONBLOCK);
    FACT("not blocking", send_to(fd, "hello", MSG_FASTOPEN, &place));
    await(fd, POLLOUT);
    FACT("again", send_to(fd, "hello", MSG_FASTOPEN, &place));
    put_arrived(listener);
    close(fd);
    fd = stream_socket(0);
    FACT("MSG_DONTWAIT", send_to(fd, "hello", MSG_FASTOPEN | MSG_DONTWAIT, &place));
    await(fd, POLLOUT);
    FACT("then", send(fd, "later", 5, 0));
    put_arrived(listener);
    close(fd);
    fd = stream_socket(0);
    FACT("without a name", send(fd, "x", 1, MSG_FASTOPEN));
    FACT("with a short one", sendto(fd, "x", 1, MSG_FASTOPEN, (struct sockaddr *)&place, 1));
    struct sockaddr_in other = {.sin_family = AF_UNSPEC};
    FACT("with one of no family", send_to(fd, "x", MSG_FASTOPEN, &other));
    other.sin_family = AF_INET6;
    FACT("with one of another", send_to(fd, "x", MSG_FASTOPEN, &other));
    FACT("nothing", send_to(fd, "", MSG_FASTOPEN, &place));
    put_poll("connected by it", fd);
    close(accept(listener, NULL, NULL));
    close(fd);
    struct sockaddr_in nobody = place;
    nobody.sin_port = htons(9);
    fd = stream_socket(0);
    FACT("to nobody", send_to(fd, "hello", MSG_FASTOPEN, &nobody));
    FACT("then", send(fd, "hello", 5, MSG_NOSIGNAL));
    FACT("to somebody", send_to(fd, "hello", MSG_FASTOPEN, &place));
    put_arrived(listener);
    close(fd);
    fd = stream_socket(SOCK_NONBLOCK);
    FACT("to nobody, not blocking", send_to(fd, "hello", MSG_FASTOPEN, &nobody));
    await(fd, POLLOUT);
    FACT("again", send_to(fd, "hello", MSG_FASTOPEN, &nobody));
    close(fd);
    fd = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
    FACT("a datagram", send_to(fd, "hello", MSG_FASTOPEN, &nobody));
    close(fd);
}

static void connecting(int listener, int raw) {
    section("TCP_FASTOPEN_CONNECT");
    int fd = stream_socket(0);
    FACT("at first", get(fd, TCP_FASTOPEN_CONNECT));
    FACT("2", set(fd, TCP_FASTOPEN_CONNECT, 2));
    FACT("1", set(fd, TCP_FASTOPEN_CONNECT, 1));
    while (recv(raw, &(char){0}, 1, MSG_DONTWAIT) > 0)
        ;
    FACT("connect", connect(fd, (struct sockaddr *)&place, sizeof place));
    FACT("send", send(fd, "later", 5, 0));
    put_arrived(listener);
    FACT("still set", get(fd, TCP_FASTOPEN_CONNECT));
    FACT("too late", set(fd, TCP_FASTOPEN_CONNECT, 0));
    close(fd);
}

int main(void) {
    begin();
    own_network();
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = stream_socket(0), raw = (int)MUST(socket(AF_INET, SOCK_RAW, IPPROTO_TCP));
    MUST(bind(listener, (struct sockaddr *)&place, sizeof place));
    MUST(getsockname(listener, (struct sockaddr *)&place, &(socklen_t){sizeof place}));
    listeners(listener);
    keys(listener);
    sending(listener, raw);
    connecting(listener, raw);
    return 0;
}
