/* Who may be bound beside whom: IPv4, IPv6 and dual-stack sockets on one port. */
#include "inet6.h"

static const struct {
    int family;
    const char *address;
    int only;
} places[] = {{AF_INET, "0.0.0.0", 0},
              {AF_INET, "127.0.0.1", 0},
              {AF_INET6, "::", 0},
              {AF_INET6, "::", 1},
              {AF_INET6, "::1", 0},
              {AF_INET6, "::1", 1},
              {AF_INET6, "::ffff:127.0.0.1", 0},
              {AF_INET6, "::ffff:0.0.0.0", 0}};
#define PLACES (sizeof places / sizeof places[0])

static int place(size_t which, int type, int option, uint16_t port) {
    int fd = (int)MUST(socket(places[which].family, type, 0)), result;
    if (option)
        set_option(fd, SOL_SOCKET, option, 1);
    if (places[which].family == AF_INET6) {
        set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, places[which].only);
        result = bind6(fd, name6(places[which].address, port));
    } else {
        struct sockaddr_in name = loopback(port);
        inet_pton(AF_INET, places[which].address, &name.sin_addr);
        result = bind_to(fd, name);
    }
    if (result) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

/* A port that nobody has in either family. One that Linux gives to an IPv4 socket may be in use by one of IPv6, if only
 * by a connection that ended some seconds ago. */
static uint16_t free_port(int type) {
    int fd = (int)MUST(socket(AF_INET6, type, 0));
    set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    MUST(bind6(fd, name6("::", 0)));
    uint16_t port = port_of(fd);
    close(fd);
    return port;
}

static void matrix(const char *what, int type, int option) {
    section(what);
    for (size_t a = 0; a < PLACES; a++) {
        printf("%s only %d:", places[a].address, places[a].only);
        for (size_t b = 0; b < PLACES; b++) {
            int first = place(a, type, option, free_port(type));
            int second = place(b, type, option, port_of(first));
            const char *result = second < 0 ? strerrorname_np(errno) : "bound";
            if (second >= 0 && type == SOCK_STREAM) {
                MUST(listen(first, 1));
                result = listen(second, 1) ? "does not listen" : "listens";
            }
            printf(" %s", result);
            close(first);
            if (second >= 0)
                close(second);
        }
        printf("\n");
    }
}

static void refused_names(void) {
    section("names that cannot be bound");
    int fd = socket6(SOCK_DGRAM), stream = socket6(SOCK_STREAM);
    struct sockaddr_in6 name = name6("::1", 0);
    FACT("short", bind(fd, (struct sockaddr *)&name, 23));
    FACT("RFC 2133", bind(fd, (struct sockaddr *)&name, 24));
    FACT("twice", bind6(fd, name));
    close(fd);
    fd = socket6(SOCK_DGRAM);
    struct sockaddr_in v4 = loopback(0);
    struct sockaddr_storage room = {0};
    memcpy(&room, &v4, sizeof v4);
    FACT("sockaddr_in", bind(fd, (struct sockaddr *)&room, SIZE6));
    FACT("sockaddr_in, its length", bind(fd, (struct sockaddr *)&room, sizeof v4));
    name.sin6_family = AF_UNSPEC;
    FACT("unspecified", bind6(fd, name));
    FACT("no address of this machine", bind6(fd, name6("2001:db8::77", 0)));
    FACT("mapped, no address of this machine", bind6(fd, name6("::ffff:1.2.3.4", 0)));
    FACT("link-local without a scope", bind6(fd, name6("fe80::1", 0)));
    name = name6("fe80::1", 0);
    name.sin6_scope_id = 1;
    FACT("link-local of lo", bind6(fd, name));
    FACT("multicast without a scope", bind6(fd, name6("ff02::1", 0)));
    FACT("multicast, stream", bind6(stream, name6("ff02::1", 0)));
    set_option(stream, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    FACT("mapped, but IPv6 only", bind6(stream, name6("::ffff:127.0.0.1", 0)));
    FACT("bound all the same", bind6(fd, name6("::1", 0)));
    FACT("IPV6_V6ONLY after that", set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1));
    put_own_name("name", fd);
    close(fd);
    close(stream);
}

/* Of several that fit, the one that fits best gets it. */
static void which_gets_it(int type) {
    static const char *const names[] = {"IPv4 any", "both any", "::1 itself", "127.0.0.1 itself"};
    section(type == SOCK_STREAM ? "streams go to" : "datagrams go to");
    int fds[4];
    uint16_t port = free_port(type);
    static const size_t which[] = {0, 2, 4, 1};
    for (size_t i = 0; i < 4; i++) {
        fds[i] = place(which[i], type, SO_REUSEPORT, port);
        if (fds[i] < 0) {
            FACT(names[i], -1);
            return;
        }
        if (type == SOCK_STREAM)
            MUST(listen(fds[i], 4));
    }
    for (int closed = 0; closed < 3; closed++) {
        for (int v6 = 0; v6 < 2; v6++) {
            int client = (int)MUST(socket(v6 ? AF_INET6 : AF_INET, type, 0));
            int result = v6 ? connect6(client, name6("::1", port)) : connect_to(client, loopback(port));
            if (result == 0 && type == SOCK_DGRAM)
                MUST(send(client, "x", 1, 0));
            const char *found = result ? strerrorname_np(errno) : "nobody";
            for (size_t i = 0; i < 4; i++) {
                struct pollfd entry = {fds[i], POLLIN, 0};
                if (fds[i] < 0 || poll(&entry, 1, 0) != 1)
                    continue;
                found = names[i];
                if (type == SOCK_STREAM)
                    close((int)MUST(accept(fds[i], NULL, NULL)));
                else
                    recv(fds[i], (char[8]){0}, 8, 0);
            }
            printf("%s, %d closed: %s\n", v6 ? "::1" : "127.0.0.1", closed, found);
            close(client);
        }
        /* The addresses' own, then IPv4's, so that "both" is left. */
        if (closed == 0) {
            close(fds[2]);
            close(fds[3]);
            fds[2] = fds[3] = -1;
        } else if (closed == 1) {
            close(fds[0]);
            fds[0] = -1;
        }
    }
    for (size_t i = 0; i < 4; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

int main(void) {
    begin();
    matrix("datagrams", SOCK_DGRAM, 0);
    matrix("datagrams, SO_REUSEADDR", SOCK_DGRAM, SO_REUSEADDR);
    matrix("datagrams, SO_REUSEPORT", SOCK_DGRAM, SO_REUSEPORT);
    matrix("streams", SOCK_STREAM, 0);
    matrix("streams, SO_REUSEADDR", SOCK_STREAM, SO_REUSEADDR);
    matrix("streams, SO_REUSEPORT", SOCK_STREAM, SO_REUSEPORT);
    refused_names();
    which_gets_it(SOCK_DGRAM);
    which_gets_it(SOCK_STREAM);
    return 0;
}
