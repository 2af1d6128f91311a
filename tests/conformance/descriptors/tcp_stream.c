/* TCP over loopback: connecting, data, the ends of a connection, and what poll and the calls say at each step. */
#include "stream.h"

static void connected(int pair[2]) { tcp_pair(pair); }

static void names(void) {
    section("names");
    int listening = listener(4), fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in name;
    socklen_t length = sizeof name;
    FACT("getpeername of a fresh socket", getpeername(fd, (struct sockaddr *)&name, &length));
    FACT("getsockname of a fresh socket", getsockname(fd, (struct sockaddr *)&name, &length));
    printf("family %d port %d address %x length %u\n", name.sin_family, ntohs(name.sin_port), name.sin_addr.s_addr,
           length);
    MUST(connect_to(fd, name_of(listening)));
    length = sizeof name;
    memset(&name, 0, sizeof name);
    int accepted = accept(listening, (struct sockaddr *)&name, &length);
    printf("accepted from the client's own name: %d, length %u\n", name.sin_port == name_of(fd).sin_port, length);
    length = 4;
    memset(&name, 0xff, sizeof name);
    FACT("getpeername into 4 bytes", getpeername(accepted, (struct sockaddr *)&name, &length));
    printf("length %u, address untouched %d\n", length, name.sin_addr.s_addr == 0xffffffff);
    length = (socklen_t)-1;
    FACT("getpeername with a negative length", getpeername(accepted, (struct sockaddr *)&name, &length));
    FACT("getpeername of a listener", getpeername(listening, (struct sockaddr *)&name, &length));
    FACT("accept on a connection", accept(accepted, NULL, NULL));
    FACT("listen on a connection", listen(accepted, 1));
    FACT("connect again", connect_to(fd, name_of(listening)));
    FACT("connect of a listener", connect_to(listening, name_of(listening)));
    FACT("sendto with a name on a connection", sendto(fd, "named", 5, 0, (struct sockaddr *)&name, sizeof name));
    put_receive("which arrives", accepted, 10, 0);
    close(fd), close(accepted), close(listening);
}

#ifndef IP_PKTOPTIONS
#define IP_PKTOPTIONS 9
#endif

static void put_packet_options(const char *what, int fd, socklen_t room) {
    union {
        char bytes[256];
        struct cmsghdr header;
    } control;
    memset(&control, 0, sizeof control);
    int result = getsockopt(fd, IPPROTO_IP, IP_PKTOPTIONS, &control, &room);
    put_result(what, result, errno);
    printf("  %u bytes\n", room);
    if (result)
        return;
    struct msghdr message = {.msg_control = &control, .msg_controllen = room};
    for (struct cmsghdr *item = CMSG_FIRSTHDR(&message); item; item = CMSG_NXTHDR(&message, item)) {
        printf("  level %d kind %d", item->cmsg_level, item->cmsg_type);
        put_bytes("", CMSG_DATA(item), item->cmsg_len - CMSG_LEN(0));
    }
}

/* What a connection keeps of the SYN that it came by. */
static void packet_options(void) {
    section("IP_PKTOPTIONS");
    int listening = listener(4), fd = socket(AF_INET, SOCK_STREAM, 0), tos = 0x20, ttl = 33, on = 1;
    MUST(setsockopt(fd, IPPROTO_IP, IP_TOS, &tos, sizeof tos));
    MUST(setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl));
    MUST(connect_to(fd, name_of(listening)));
    int accepted = (int)MUST(accept(listening, NULL, NULL));
    const int asked[] = {IP_PKTINFO, IP_RECVTTL, IP_RECVTOS};
    for (size_t i = 0; i < 3; i++) {
        put_packet_options("accepted", accepted, 256);
        MUST(setsockopt(accepted, IPPROTO_IP, asked[i], &on, sizeof on));
        MUST(setsockopt(fd, IPPROTO_IP, asked[i], &on, sizeof on));
    }
    for (socklen_t room = 0; room < 90; room += 18)
        put_packet_options("little room", accepted, room);
    put_packet_options("connected", fd, 256);
    put_packet_options("listening", listening, 256);
    FACT("set", setsockopt(fd, IPPROTO_IP, IP_PKTOPTIONS, &on, sizeof on));
    close(fd);
    fd = socket(AF_INET, SOCK_DGRAM, 0);
    put_packet_options("datagrams", fd, 256);
    close(fd), close(accepted), close(listening);
}

int main(void) {
    begin();
    names();
    packet_options();
    stream();
    return 0;
}
