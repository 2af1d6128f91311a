/* Streams that take only what comes from near (IP_MINTTL, IPV6_MINHOPCOUNT): all else is as if it were lost. */
#include "inet6.h"

#include <netinet/tcp.h>

struct family {
    int family, level, hops, least;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } name;
    socklen_t length;
};

static int stream(const struct family *family, int hops) {
    int fd = (int)MUST(socket(family->family, SOCK_STREAM | SOCK_NONBLOCK, 0));
    MUST(set_option(fd, family->level, family->hops, hops));
    return fd;
}

static bool readable(int fd, int milliseconds) {
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    return poll(&poller, 1, milliseconds) > 0;
}

static void show_data(const char *what, int fd, int milliseconds) {
    char bytes[32];
    if (!readable(fd, milliseconds)) {
        printf("%s: nothing\n", what);
        return;
    }
    ssize_t got = recv(fd, bytes, sizeof bytes, 0);
    put_result(what, got, errno);
    if (got > 0)
        put_bytes("  data", bytes, (size_t)got);
}

static void try(const char *what, struct family *family) {
    section(what);
    int listener = stream(family, 255);
    FACT("-1", set_option(listener, family->level, family->least, -1));
    FACT("256", set_option(listener, family->level, family->least, 256));
    FACT("200", set_option(listener, family->level, family->least, 200));
    MUST(bind(listener, &family->name.any, family->length));
    MUST(getsockname(listener, &family->name.any, &family->length));
    MUST(listen(listener, 5));
    int far = stream(family, 199), near = stream(family, 200);
    FACT("from far", connect(far, &family->name.any, family->length));
    FACT("from near", connect(near, &family->name.any, family->length));
    await(near, POLLOUT);
    int accepted = (int)MUST(accept4(listener, NULL, NULL, SOCK_NONBLOCK));
    printf("of the child: %d\n", option_of(accepted, family->level, family->least));
    printf("another: %d\n", readable(listener, 100));
    put_poll("the far one", far);
    close(far);
    FACT("send", send(near, "near", 4, 0));
    show_data("it", accepted, 1000);
    MUST(set_option(near, family->level, family->hops, 100));
    FACT("send", send(near, "far", 3, 0));
    show_data("it", accepted, 100);
    MUST(set_option(near, family->level, family->hops, 250));
    show_data("again, from near", accepted, 5000);
    MUST(set_option(near, family->level, family->least, 255));
    FACT("back", send(accepted, "back", 4, 0));
    show_data("it", near, 100);
    close(near);
    MUST(set_option(accepted, family->level, family->least, 0));
    close(accepted);
    close(listener);
}

int main(void) {
    begin();
    struct family v4 = {.family = AF_INET, .level = IPPROTO_IP, .hops = IP_TTL, .least = IP_MINTTL};
    v4.name.v4 = loopback(0);
    v4.length = sizeof v4.name.v4;
    try("IPv4", &v4);
    struct family v6 = {
        .family = AF_INET6, .level = IPPROTO_IPV6, .hops = IPV6_UNICAST_HOPS, .least = IPV6_MINHOPCOUNT};
    v6.name.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    v6.length = sizeof v6.name.v6;
    try("IPv6", &v6);
    return 0;
}
