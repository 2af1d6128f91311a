/* Who is at the other end of a Unix socket: SO_PEERCRED and SCM_CREDENTIALS, between users. */
#include "calls.h"
#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static pid_t parent;

static const char *whose(pid_t pid) {
    return pid == parent ? "parent" : pid == getpid() ? "own" : pid ? "other" : "none";
}

static void show_peer(const char *what, int fd) {
    struct ucred peer;
    socklen_t length = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length))
        printf("%s: %s\n", what, strerrorname_np(errno));
    else
        printf("%s: %s %d %d\n", what, whose(peer.pid), (int)peer.uid, (int)peer.gid);
}

/* Sends a byte; says that it comes from these, if any. */
static long send_as(int fd, const struct ucred *claimed) {
    union {
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr align;
    } control = {0};
    struct iovec part = {"x", 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (claimed) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        *header = (struct cmsghdr){CMSG_LEN(sizeof *claimed), SOL_SOCKET, SCM_CREDENTIALS};
        memcpy(CMSG_DATA(header), claimed, sizeof *claimed);
    }
    return sendmsg(fd, &message, 0);
}

static void show_sender(const char *what, int fd) {
    union {
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr align;
    } control = {0};
    char byte;
    struct iovec part = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
    struct ucred sender;
    if (recvmsg(fd, &message, 0) != 1 || !CMSG_FIRSTHDR(&message)) {
        printf("%s: nobody\n", what);
        return;
    }
    memcpy(&sender, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof sender);
    printf("%s: %s %d %d\n", what, whose(sender.pid), (int)sender.uid, (int)sender.gid);
}

int main(void) {
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), pair[2], on = 1;
    struct sockaddr_un name = {AF_UNIX, "peers"};
    begin();
    parent = getpid();
    FACT(setgroups(0, NULL));
    FACT(chmod(".", 0777));
    FACT(bind(listener, (struct sockaddr *)&name, sizeof name));
    FACT(chmod("peers", 0777));
    show_peer("before", listener);
    FACT(setresgid(10, 11, 12));
    FACT(setresuid(20, 21, 0));
    FACT(listen(listener, 5));
    show_peer("listening", listener);
    FACT(setresuid(-1, 0, -1));
    FACT(setresgid(0, 0, 0));
    FACT(setresuid(0, 0, 0));
    FACT(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    FACT(setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
    show_peer("pair", pair[1]);
    pid_t child = fork();
    if (!child) {
        FACT(setresgid(500, 501, 502));
        FACT(setresuid(1000, 1001, 1002));
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        FACT(connect(fd, (struct sockaddr *)&name, sizeof name));
        show_peer("the listener", fd);
        show_peer("the pair's maker", pair[1]);
        FACT(send_as(pair[1], NULL));
        FACT(send_as(pair[1], &(struct ucred){getpid(), 1002, 502}));
        FACT(send_as(pair[1], &(struct ucred){getpid(), 1001, 500}));
        FACT(send_as(pair[1], &(struct ucred){getpid(), 0, 500}));
        FACT(send_as(pair[1], &(struct ucred){getpid(), 1000, 0}));
        FACT(send_as(pair[1], &(struct ucred){getpid(), -1, 500}));
        FACT(send_as(pair[1], &(struct ucred){parent, 1000, 500}));
        exit(0);
    }
    wait_and_show("child", child);
    int fd = accept(listener, NULL, NULL);
    show_peer("the client", fd);
    show_sender("of itself", pair[0]);
    show_sender("saved", pair[0]);
    show_sender("effective", pair[0]);
    FACT(send_as(pair[1], &(struct ucred){parent, 5, 6}));
    show_sender("root says so", pair[0]);
    FACT(send_as(pair[1], &(struct ucred){0x3fffffff, 5, 6}));
    return 0;
}
