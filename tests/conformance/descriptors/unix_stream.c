/* Unix stream and seqpacket sockets: names, pairs, connections, the ends of them. */
#include "facts.h"

#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/un.h>

static struct sockaddr_un path_name(const char *path) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strncpy(name.sun_path, path, sizeof name.sun_path - 1);
    return name;
}

static int bind_path(int fd, const char *path) {
    struct sockaddr_un name = path_name(path);
    return bind(fd, (struct sockaddr *)&name, sizeof name);
}

static int connect_path(int fd, const char *path) {
    struct sockaddr_un name = path_name(path);
    return connect(fd, (struct sockaddr *)&name, sizeof name);
}

/* An abstract name: '@' stands for the NUL. */
static socklen_t abstract(struct sockaddr_un *name, const char *text) {
    memset(name, 0, sizeof *name);
    name->sun_family = AF_UNIX;
    int written = snprintf(name->sun_path, sizeof name->sun_path, "%s%s", text, own_mark());
    name->sun_path[0] = 0;
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)written);
}

static void put_name(const char *what, int fd, bool peer) {
    struct sockaddr_un name;
    socklen_t length = sizeof name;
    memset(&name, 0xee, sizeof name);
    int result =
        peer ? getpeername(fd, (struct sockaddr *)&name, &length) : getsockname(fd, (struct sockaddr *)&name, &length);
    if (result) {
        printf("%s: %s\n", what, strerrorname_np(errno));
        return;
    }
    hide_mark(name.sun_path, sizeof name.sun_path);
    printf("%s: family %d, length %u", what, name.sun_family, length);
    put_bytes("", name.sun_path, length < sizeof name ? length - 2 : sizeof name.sun_path);
}

static void put_receive(const char *what, int fd, size_t length, int flags) {
    char bytes[256];
    errno = 0;
    ssize_t got = recv(fd, bytes, length, flags);
    put_result(what, got, errno);
    if (got > 0)
        put_bytes("  data", bytes, (size_t)got < length ? (size_t)got : length);
}

static int unread(int fd) {
    int bytes = -7;
    return ioctl(fd, FIONREAD, &bytes) ? -1 : bytes;
}

static void names(int type) {
    int a = socket(AF_UNIX, type, 0), b = socket(AF_UNIX, type, 0);
    struct sockaddr_un name;
    put_name("unbound", a, false);
    put_name("unbound peer", a, true);
    FACT("bind", bind_path(a, "sock"));
    put_name("bound", a, false);
    FACT("bind again", bind_path(a, "other"));
    FACT("same name", bind_path(b, "sock"));
    FACT("no such folder", bind_path(b, "nowhere/sock"));
    struct stat status;
    FACT("stat", stat("sock", &status));
    FACT("connect before listen", connect_path(b, "sock"));
    FACT("listen", listen(a, 2));
    FACT("connect to a missing file", connect_path(b, "missing"));
    FACT("connect to a file", (close(open("file", O_CREAT | O_WRONLY, 0600)), connect_path(b, "file")));
    FACT("connect", connect_path(b, "sock"));
    put_name("the client's own", b, false);
    put_name("the client's peer", b, true);
    name = path_name("x");
    socklen_t length = sizeof name;
    int c = FACT_FD("accept", accept(a, (struct sockaddr *)&name, &length));
    printf("name of an unbound client: length %u\n", length);
    put_name("the server's own", c, false);
    put_name("the server's peer", c, true);
    FACT("connect again", connect_path(b, "sock"));
    FACT("accept on a connection", accept(c, NULL, NULL));
    FACT("listen on a connection", listen(c, 1));
    FACT("rename", rename("sock", "moved"));
    int d = socket(AF_UNIX, type, 0);
    FACT("connect by the new name", connect_path(d, "moved"));
    FACT("unlink", unlink("moved"));
    int e = socket(AF_UNIX, type, 0);
    FACT("connect after unlink", connect_path(e, "moved"));
    close(a);
    FACT("bind to the name of a removed one", bind_path(e, "sock"));
    close(e);
    FACT("the file stays", stat("sock", &status));
    e = socket(AF_UNIX, type, 0);
    FACT("nobody behind it", connect_path(e, "sock"));
    FACT("still taken", bind_path(e, "sock"));
    unlink("sock"), unlink("file");
    put_poll("connected to a listener that closed", d);
    put_receive("recv from it", d, 10, MSG_DONTWAIT);
    close(b), close(c), close(d), close(e);

    a = socket(AF_UNIX, type, 0), b = socket(AF_UNIX, type, 0);
    length = abstract(&name, "@abstract");
    FACT("abstract bind", bind(a, (struct sockaddr *)&name, length));
    put_name("abstract", a, false);
    FACT("same abstract", bind(b, (struct sockaddr *)&name, length));
    FACT("abstract with one more NUL", bind(b, (struct sockaddr *)&name, length + 1));
    put_name("is another", b, false);
    listen(a, 1);
    c = socket(AF_UNIX, type, 0);
    FACT("abstract connect", connect(c, (struct sockaddr *)&name, length));
    put_name("peer", c, true);
    close(a), close(b), close(c);
    c = socket(AF_UNIX, type, 0);
    FACT("gone with its socket", connect(c, (struct sockaddr *)&name, length));
    FACT("autobind", bind(c, (struct sockaddr *)&name, sizeof(sa_family_t)));
    length = sizeof name;
    getsockname(c, (struct sockaddr *)&name, &length);
    printf("autobound: length %u, first byte %d\n", length, name.sun_path[0]);
    close(c);
    c = socket(AF_UNIX, type, 0);
    name.sun_family = AF_INET;
    FACT("wrong family", bind(c, (struct sockaddr *)&name, sizeof name));
    FACT("too long", bind(c, (struct sockaddr *)&name, sizeof name + 1));
    FACT("listen without a name", listen(c, 1));
    FACT("accept without listen", accept(c, NULL, NULL));
    int other = socket(AF_UNIX, type == SOCK_STREAM ? SOCK_SEQPACKET : SOCK_STREAM, 0);
    bind_path(c, "typed");
    listen(c, 1);
    FACT("another type connects", connect_path(other, "typed"));
    FACT("shutdown of an unconnected one", shutdown(other, SHUT_RDWR));
    put_poll("unconnected", other);
    FACT("send unconnected", send(other, "x", 1, MSG_NOSIGNAL));
    FACT("recv unconnected", recv(other, &name, 1, MSG_DONTWAIT));
    put_poll("listener", c);
    close(c), close(other);
    unlink("typed");
}

static void pair_data(int type) {
    int pair[2];
    MUST(socketpair(AF_UNIX, type, 0, pair));
    put_name("one's name", pair[0], false);
    put_name("one's peer", pair[0], true);
    put_poll("idle", pair[0]);
    FACT("send", send(pair[0], "hello ", 6, 0));
    FACT("send", send(pair[0], "world", 5, 0));
    put_poll("with data", pair[1]);
    printf("FIONREAD %d\n", unread(pair[1]));
    put_receive("peek", pair[1], 4, MSG_PEEK);
    put_receive("recv few", pair[1], 3, 0);
    put_receive("recv many", pair[1], 100, 0);
    put_receive("recv more", pair[1], 100, MSG_DONTWAIT);
    put_receive("recv none", pair[1], 100, MSG_DONTWAIT);
    FACT("empty send", send(pair[0], "", 0, 0));
    put_poll("after an empty send", pair[1]);
    put_receive("recv", pair[1], 10, MSG_DONTWAIT);
    send(pair[0], "abcdef", 6, 0);
    put_receive("MSG_TRUNC", pair[1], 3, MSG_TRUNC | MSG_DONTWAIT);
    put_receive("rest", pair[1], 10, MSG_DONTWAIT);
    FACT("recv of 0 bytes", recv(pair[1], NULL, 0, MSG_DONTWAIT));
    struct sockaddr_un name = path_name("somewhere");
    FACT("sendto with a name", sendto(pair[0], "x", 1, 0, (struct sockaddr *)&name, sizeof name));
    put_receive("drained", pair[1], 10, MSG_DONTWAIT);
    FACT("read into a wrong address", (send(pair[0], "z", 1, 0), read(pair[1], nowhere, 1)));
    put_receive("then", pair[1], 10, MSG_DONTWAIT);
    FACT("pwrite", pwrite(pair[0], "x", 1, 0));
    FACT("lseek", lseek(pair[0], 0, SEEK_SET));
    struct ucred who;
    socklen_t length = sizeof who;
    FACT("SO_PEERCRED", getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &who, &length));
    printf("mine: %d\n", who.pid == getpid() && who.uid == getuid());
    close(pair[0]), close(pair[1]);
}

static void ends(int type) {
    int pair[2];
    char byte;
    MUST(socketpair(AF_UNIX, type, 0, pair));
    send(pair[0], "left", 4, 0);
    FACT("SHUT_WR", shutdown(pair[0], SHUT_WR));
    put_poll("the side that shut", pair[0]);
    put_poll("the other", pair[1]);
    FACT("send", send(pair[0], "x", 1, MSG_NOSIGNAL));
    IN_CHILD("send with a signal", send(pair[0], "x", 1, 0));
    put_receive("recv", pair[1], 10, 0);
    put_receive("end", pair[1], 10, 0);
    FACT("the other way", send(pair[1], "back", 4, 0));
    put_receive("recv", pair[0], 10, 0);
    FACT("SHUT_RD", shutdown(pair[0], SHUT_RD));
    FACT("now the other way too", send(pair[1], "x", 1, MSG_NOSIGNAL));
    put_poll("all shut, first", pair[0]);
    put_poll("all shut, second", pair[1]);
    FACT("bad direction", shutdown(pair[0], 9));
    close(pair[0]), close(pair[1]);

    MUST(socketpair(AF_UNIX, type, 0, pair));
    send(pair[0], "left", 4, 0);
    close(pair[0]);
    put_poll("the peer closed", pair[1]);
    FACT("send", send(pair[1], "x", 1, MSG_NOSIGNAL));
    put_receive("what it left", pair[1], 10, 0);
    put_receive("end", pair[1], 10, 0);
    put_name("its name", pair[1], true);
    close(pair[1]);

    MUST(socketpair(AF_UNIX, type, 0, pair));
    send(pair[0], "never read", 10, 0);
    close(pair[1]);
    put_poll("the peer closed with unread data", pair[0]);
    FACT("recv", recv(pair[0], &byte, 1, 0));
    FACT("recv again", recv(pair[0], &byte, 1, 0));
    FACT("send", send(pair[0], "x", 1, MSG_NOSIGNAL));
    close(pair[0]);

    MUST(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair));
    printf("flags %d %d\n", (fcntl(pair[0], F_GETFL) & O_NONBLOCK) != 0, fcntl(pair[1], F_GETFD));
    static char block[4096];
    int taken = 0;
    while (send(pair[0], block, sizeof block, 0) > 0)
        taken++;
    FACT("send to a full one", send(pair[0], block, sizeof block, 0));
    printf("took between 10 and 100 blocks: %d\n", taken > 10 && taken < 100);
    put_poll("full", pair[0]);
    while (recv(pair[1], block, sizeof block, 0) > 0)
        ;
    put_poll("drained", pair[0]);
    static char large[0x400000];
    if (type == SOCK_SEQPACKET)
        FACT("too large a message", send(pair[0], large, sizeof large, 0));
    close(pair[0]), close(pair[1]);

    struct sockaddr_un name;
    socklen_t length = abstract(&name, "@backlog");
    int a = socket(AF_UNIX, type, 0), clients[4];
    MUST(bind(a, (struct sockaddr *)&name, length));
    MUST(listen(a, 1));
    for (int i = 0; i < 4; i++) {
        clients[i] = socket(AF_UNIX, type | SOCK_NONBLOCK, 0);
        FACT("connect to a backlog of 1", connect(clients[i], (struct sockaddr *)&name, length));
    }
    put_poll("not connected yet", clients[3]);
    put_poll("connected, not accepted", clients[0]);
    FACT("send before accept", send(clients[0], "early", 5, 0));
    int b = accept(a, NULL, NULL);
    put_receive("received after", b, 10, 0);
    FACT("now there is room", connect(clients[2], (struct sockaddr *)&name, length));
    send(clients[1], "lost", 4, 0);
    close(a);
    put_poll("the listener closed before accept", clients[1]);
    FACT("recv", recv(clients[1], &byte, 1, MSG_DONTWAIT));
    FACT("recv again", recv(clients[1], &byte, 1, MSG_DONTWAIT));
    FACT("send", send(clients[1], "x", 1, MSG_NOSIGNAL));
    for (int i = 0; i < 4; i++)
        close(clients[i]);
    close(b);
}

int main(void) {
    begin();
    own_mark();
    section("stream names"), names(SOCK_STREAM);
    section("stream data"), pair_data(SOCK_STREAM);
    section("stream ends"), ends(SOCK_STREAM);
    section("seqpacket names"), names(SOCK_SEQPACKET);
    section("seqpacket data"), pair_data(SOCK_SEQPACKET);
    section("seqpacket ends"), ends(SOCK_SEQPACKET);
    return 0;
}
