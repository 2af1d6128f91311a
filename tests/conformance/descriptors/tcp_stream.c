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

int main(void) {
    begin();
    names();
    stream();
    return 0;
}
