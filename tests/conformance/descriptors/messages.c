/* sendmsg, recvmsg, sendmmsg, recvmmsg: scatter lists, flags of what came, control data. */
#include "inet.h"

#include <sys/un.h>

static void put_flags(int flags) {
    printf("  flags:%s%s%s%s%s\n", flags & MSG_TRUNC ? " TRUNC" : "", flags & MSG_CTRUNC ? " CTRUNC" : "",
           flags & MSG_EOR ? " EOR" : "", flags & MSG_OOB ? " OOB" : "", flags & MSG_CMSG_CLOEXEC ? " CLOEXEC" : "");
}

static void put_control(struct msghdr *message) {
    for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control; control = CMSG_NXTHDR(message, control)) {
        printf("  control level %d type %d length %zu\n", control->cmsg_level, control->cmsg_type,
               (size_t)control->cmsg_len);
        if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_PKTINFO) {
            struct in_pktinfo information;
            memcpy(&information, CMSG_DATA(control), sizeof information);
            printf("    interface %d", information.ipi_ifindex);
            printf(" local %s", inet_ntoa(information.ipi_spec_dst));
            printf(" header %s\n", inet_ntoa(information.ipi_addr));
        }
        if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_TTL)
            printf("    ttl %d\n", *(int *)(void *)CMSG_DATA(control));
        if (control->cmsg_level == IPPROTO_IP && control->cmsg_type == IP_TOS)
            printf("    tos %d\n", *CMSG_DATA(control));
        if (control->cmsg_level == SOL_SOCKET && control->cmsg_type == SCM_CREDENTIALS) {
            struct ucred who;
            memcpy(&who, CMSG_DATA(control), sizeof who);
            printf("    my pid %d, my uid %d\n", who.pid == getpid(), who.uid == getuid());
        }
    }
}

static void put_receive(const char *what, int fd, size_t first, size_t second, size_t room, int flags) {
    char a[100] = {0}, b[100] = {0};
    struct sockaddr_storage name;
    union {
        char bytes[256];
        struct cmsghdr align;
    } control;
    struct iovec parts[2] = {{a, first}, {b, second}};
    struct msghdr message = {&name, sizeof name, parts, 2, room ? &control : NULL, room, 0x55};
    errno = 0;
    ssize_t got = recvmsg(fd, &message, flags);
    put_result(what, got, errno);
    if (got < 0)
        return;
    put_bytes("  first", a, strlen(a));
    put_bytes("  second", b, strlen(b));
    printf("  name length %u, control length %zu\n", message.msg_namelen, (size_t)message.msg_controllen);
    put_flags(message.msg_flags);
    put_control(&message);
}

static ssize_t send_parts(int fd, const char *first, const char *second, struct sockaddr_in *to, int flags) {
    struct iovec parts[2] = {{(void *)first, strlen(first)}, {(void *)second, strlen(second)}};
    struct msghdr message = {to, to ? sizeof *to : 0, parts, 2, NULL, 0, 0};
    return sendmsg(fd, &message, flags);
}

static void udp(void) {
    section("udp");
    int a = udp_socket(), b = udp_socket();
    struct sockaddr_in to = name_of(b);
    FACT("sendmsg", send_parts(a, "hello ", "world", &to, 0));
    put_receive("recvmsg", b, 8, 8, 256, 0);
    send_parts(a, "hello ", "world", &to, 0);
    put_receive("cut", b, 3, 3, 256, 0);
    send_parts(a, "hello ", "world", &to, 0);
    put_receive("cut and told", b, 3, 3, 0, MSG_TRUNC);
    set_option(b, IPPROTO_IP, IP_PKTINFO, 1);
    set_option(b, IPPROTO_IP, IP_RECVTTL, 1);
    set_option(b, IPPROTO_IP, IP_RECVTOS, 1);
    set_option(b, SOL_SOCKET, SO_TIMESTAMP, 1);
    set_option(a, IPPROTO_IP, IP_TTL, 17);
    set_option(a, IPPROTO_IP, IP_TOS, 0x20);
    send_parts(a, "with ", "control", &to, 0);
    put_receive("control", b, 20, 20, 256, 0);
    send_parts(a, "with ", "control", &to, 0);
    put_receive("little room for control", b, 20, 20, 40, 0);
    send_parts(a, "with ", "control", &to, 0);
    put_receive("no room for control", b, 20, 20, 0, 0);
    send_parts(a, "x", "y", &to, 0);
    put_receive("peek with control", b, 20, 20, 256, MSG_PEEK);
    put_receive("and taken", b, 20, 20, 256, 0);
    FACT("no parts", sendmsg(a, &(struct msghdr){.msg_name = &to, .msg_namelen = sizeof to}, 0));
    put_receive("is empty", b, 20, 20, 0, 0);
    FACT("too many parts",
         sendmsg(a, &(struct msghdr){.msg_name = &to, .msg_namelen = sizeof to, .msg_iovlen = 1025}, 0));
    FACT("wrong address of the message", sendmsg(a, nowhere, 0));
    FACT("recvmsg to a wrong address", recvmsg(b, nowhere, MSG_DONTWAIT));
    struct iovec huge[2] = {{(void *)"x", 1}, {(void *)"y", (size_t)-1}};
    FACT("negative length of a part",
         sendmsg(a, &(struct msghdr){.msg_iov = huge, .msg_iovlen = 2, .msg_name = &to, .msg_namelen = sizeof to}, 0));
    union {
        char bytes[CMSG_SPACE(sizeof(struct in_pktinfo))];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec part = {(void *)"sourced", 7};
    struct msghdr message = {&to, sizeof to, &part, 1, &control, sizeof control, 0};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = IPPROTO_IP;
    header->cmsg_type = IP_PKTINFO;
    header->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
    struct in_pktinfo information = {0};
    information.ipi_spec_dst.s_addr = htonl(0x7f000005);
    memcpy(CMSG_DATA(header), &information, sizeof information);
    int any = socket(AF_INET, SOCK_DGRAM, 0);
    FACT("IP_PKTINFO names the source", sendmsg(any, &message, 0));
    struct sockaddr_in from = {0};
    socklen_t length = sizeof from;
    char bytes[20];
    FACT("received", recvfrom(b, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &length));
    printf("from %s\n", inet_ntoa(from.sin_addr));
    header->cmsg_type = 200;
    FACT("unknown control of IP", sendmsg(any, &message, 0));
    header->cmsg_level = 222;
    FACT("unknown level", sendmsg(any, &message, 0));
    header->cmsg_level = SOL_SOCKET;
    FACT("unknown control of the socket", sendmsg(any, &message, 0));
    header->cmsg_len = 3;
    FACT("short control", sendmsg(any, &message, 0));
    header->cmsg_len = 3000;
    FACT("long control", sendmsg(any, &message, 0));
    header->cmsg_len = CMSG_LEN(4);
    header->cmsg_type = SCM_RIGHTS;
    FACT("descriptors through inet", sendmsg(any, &message, 0));
    close(a), close(b), close(any);
}

/* What recvmmsg leaves of a time-out: it is looked at after each message, and written back if there was one. */
static void time_left(int a, int b, struct mmsghdr *messages) {
    static const struct timespec constant = {3, 0};
    struct timespec timeout = {3, 500000000};
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        pause_ms(200);
        send(a, "late", 4, 0);
        _exit(0);
    }
    FACT("recvmmsg of one that comes late", recvmmsg(b, messages, 1, 0, &timeout));
    printf("what is left: %s\n", timeout.tv_sec == 3 && timeout.tv_nsec <= 300000000 ? "less" : "all, or nothing");
    waitpid(child, NULL, 0);
    timeout.tv_nsec = 500000000;
    FACT("none that does not wait", recvmmsg(b, messages, 1, MSG_DONTWAIT, &timeout));
    printf("what is left: %ld\n", timeout.tv_nsec);
    send(a, "x", 1, 0);
    await(b, POLLIN);
    FACT("a time-out that cannot be written", recvmmsg(b, messages, 1, 0, (struct timespec *)(uintptr_t)&constant));
    FACT("the message is gone", recvmmsg(b, messages, 1, MSG_DONTWAIT, NULL));
}

static void many(void) {
    section("several at once");
    int a = udp_socket(), b = udp_socket();
    connect_to(a, name_of(b));
    char texts[4][20] = {"first", "second", "third", "fourth"};
    struct iovec parts[4];
    struct mmsghdr messages[4];
    memset(messages, 0, sizeof messages);
    for (int i = 0; i < 4; i++) {
        parts[i] = (struct iovec){texts[i], strlen(texts[i])};
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    FACT("sendmmsg", sendmmsg(a, messages, 4, 0));
    printf("lengths %u %u %u %u\n", messages[0].msg_len, messages[1].msg_len, messages[2].msg_len, messages[3].msg_len);
    char got[4][20];
    memset(got, 0, sizeof got);
    for (int i = 0; i < 4; i++) {
        parts[i] = (struct iovec){got[i], 4};
        messages[i].msg_len = 99;
        messages[i].msg_hdr.msg_flags = 0;
    }
    FACT("recvmmsg of three", recvmmsg(b, messages, 3, 0, NULL));
    for (int i = 0; i < 4; i++)
        printf("%s %u %d\n", got[i], messages[i].msg_len, messages[i].msg_hdr.msg_flags & MSG_TRUNC);
    FACT("MSG_WAITFORONE", recvmmsg(b, messages, 4, MSG_WAITFORONE, NULL));
    FACT("nothing there", recvmmsg(b, messages, 4, MSG_DONTWAIT, NULL));
    struct timespec zero = {0, 0}, bad = {0, -1};
    FACT("bad time-out", recvmmsg(b, messages, 4, MSG_DONTWAIT, &bad));
    send(a, "x", 1, 0), send(a, "y", 1, 0);
    pause_ms(10);
    FACT("zero time-out", recvmmsg(b, messages, 4, 0, &zero));
    printf("left of it: %ld s %ld ns\n", (long)zero.tv_sec, zero.tv_nsec);
    FACT("the other", recvmmsg(b, messages, 4, MSG_DONTWAIT, NULL));
    FACT("none wanted", recvmmsg(b, messages, 0, MSG_DONTWAIT, NULL));
    time_left(a, b, messages);
    FACT("none sent", sendmmsg(a, messages, 0, 0));
    messages[1].msg_hdr.msg_iov = nowhere;
    FACT("the second is wrong", sendmmsg(a, messages, 4, 0));
    close(a), close(b);
}

static void local(void) {
    section("unix");
    int pair[2];
    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
    send_parts(pair[0], "seq", "packet", NULL, 0);
    put_receive("seqpacket", pair[1], 20, 20, 100, 0);
    send_parts(pair[0], "seq", "packet", NULL, MSG_EOR);
    put_receive("with MSG_EOR", pair[1], 20, 20, 100, 0);
    send_parts(pair[0], "seq", "packet", NULL, 0);
    put_receive("cut", pair[1], 2, 2, 100, 0);
    close(pair[0]), close(pair[1]);
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    send_parts(pair[0], "str", "eam", NULL, 0);
    put_receive("stream", pair[1], 2, 2, 100, 0);
    put_receive("stream, rest", pair[1], 20, 2, 100, 0);
    set_option(pair[1], SOL_SOCKET, SO_PASSCRED, 1);
    send_parts(pair[0], "who ", "am I", NULL, 0);
    put_receive("credentials", pair[1], 20, 20, 100, 0);
    send_parts(pair[0], "who ", "am I", NULL, 0);
    put_receive("no room for credentials", pair[1], 20, 20, 0, 0);
    struct ucred other = {1, 0, 0}, mine = {getpid(), getuid(), getgid()};
    union {
        char bytes[CMSG_SPACE(sizeof(struct ucred))];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec part = {(void *)"explicit", 8};
    struct msghdr message = {NULL, 0, &part, 1, &control, sizeof control, 0};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_CREDENTIALS;
    header->cmsg_len = CMSG_LEN(sizeof mine);
    memcpy(CMSG_DATA(header), &mine, sizeof mine);
    FACT("explicit credentials", sendmsg(pair[0], &message, 0));
    put_receive("arrive", pair[1], 20, 20, 100, 0);
    other.pid = 99999999;
    memcpy(CMSG_DATA(header), &other, sizeof other);
    FACT("of a process that is not there", sendmsg(pair[0], &message, 0));
    header->cmsg_len = CMSG_LEN(4);
    FACT("short credentials", sendmsg(pair[0], &message, 0));
    close(pair[0]), close(pair[1]);
}

int main(void) {
    begin();
    udp();
    many();
    local();
    return 0;
}
