/* Unix sockets: pairs of each type, listening by path and by abstract name, and descriptors sent along. */
#include "common.h"

#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

static void stream_pair(void) {
    int ends[2];
    char bytes[8];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
    REQUIRE(write(ends[0], "abc", 3) == 3 && write(ends[0], "def", 3) == 3);
    REQUIRE(recv(ends[1], bytes, 4, MSG_PEEK) == 4 && memcmp(bytes, "abcd", 4) == 0);
    REQUIRE(read(ends[1], bytes, 8) == 6 && memcmp(bytes, "abcdef", 6) == 0); /* no borders inside */
    REQUIRE(recv(ends[1], bytes, 8, MSG_DONTWAIT) < 0 && errno == EAGAIN);
    REQUIRE(shutdown(ends[0], SHUT_WR) == 0 && read(ends[1], bytes, 8) == 0);
    REQUIRE(write(ends[1], "back", 4) == 4 && read(ends[0], bytes, 8) == 4);
    close(ends[1]);
    REQUIRE(send(ends[0], "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
    close(ends[0]);
    printf("stream pair ok\n");
}

static void datagram_pair(int type, const char *name) {
    int ends[2];
    char bytes[8];
    REQUIRE(socketpair(AF_UNIX, type, 0, ends) == 0);
    REQUIRE(send(ends[0], "abc", 3, 0) == 3 && send(ends[0], "defg", 4, 0) == 4);
    REQUIRE(recv(ends[1], bytes, 8, 0) == 3);
    REQUIRE(recv(ends[1], bytes, 2, MSG_TRUNC) == 4); /* the rest of a datagram is lost, its length is told */
    REQUIRE(recv(ends[1], bytes, 8, MSG_DONTWAIT) < 0 && errno == EAGAIN);
    close(ends[0]);
    close(ends[1]);
    printf("%s pair ok\n", name);
}

static void serve_child(struct sockaddr_un address, socklen_t length, const char *name) {
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    REQUIRE(listener >= 0 && bind(listener, (struct sockaddr *)&address, length) == 0);
    REQUIRE(listen(listener, 4) == 0);
    fflush(stdout);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        uint8_t bytes[1000];
        REQUIRE(fd >= 0 && connect(fd, (struct sockaddr *)&address, length) == 0);
        for (uint64_t at = 0; at < 1000000; at += sizeof bytes) {
            for (size_t i = 0; i < sizeof bytes; i++) {
                bytes[i] = pattern(at + i);
            }
            for (size_t done = 0; done < sizeof bytes;) {
                ssize_t written = write(fd, bytes + done, sizeof bytes - done);
                REQUIRE(written > 0);
                done += (size_t)written;
            }
        }
        _exit(0);
    }
    int fd = accept(listener, NULL, NULL);
    REQUIRE(fd >= 0);
    struct ucred peer;
    socklen_t peer_length = sizeof peer;
    REQUIRE(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &peer_length) == 0 && peer.pid == child);
    uint8_t bytes[7777];
    uint64_t total = 0;
    for (ssize_t got; (got = read(fd, bytes, sizeof bytes)) != 0; total += (uint64_t)got) {
        REQUIRE(got > 0);
        for (ssize_t i = 0; i < got; i++) {
            REQUIRE(bytes[i] == pattern(total + (uint64_t)i));
        }
    }
    int status;
    REQUIRE(waitpid(child, &status, 0) == child && status == 0);
    printf("%s stream %llu bytes ok\n", name, (unsigned long long)total);
    close(fd);
    close(listener);
}

static void named_streams(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "unixpair.socket");
    unlink(address.sun_path);
    serve_child(address, sizeof address, "path");
    int late = socket(AF_UNIX, SOCK_STREAM, 0);
    REQUIRE(connect(late, (struct sockaddr *)&address, sizeof address) < 0 && errno == ECONNREFUSED);
    REQUIRE(unlink(address.sun_path) == 0);
    REQUIRE(connect(late, (struct sockaddr *)&address, sizeof address) < 0 && errno == ENOENT);
    close(late);

    struct sockaddr_un abstract = {.sun_family = AF_UNIX};
    int length = snprintf(abstract.sun_path + 1, sizeof abstract.sun_path - 1, "unixpair-%d", getpid());
    serve_child(abstract, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length), "abstract");
}

static void named_datagrams(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX}, from;
    socklen_t from_length = sizeof from;
    char bytes[8];
    snprintf(address.sun_path, sizeof address.sun_path, "unixpair.datagrams");
    unlink(address.sun_path);
    int receiver = socket(AF_UNIX, SOCK_DGRAM, 0), sender = socket(AF_UNIX, SOCK_DGRAM, 0);
    REQUIRE(bind(receiver, (struct sockaddr *)&address, sizeof address) == 0);
    REQUIRE(sendto(sender, "abc", 3, 0, (struct sockaddr *)&address, sizeof address) == 3);
    REQUIRE(recvfrom(receiver, bytes, 8, 0, (struct sockaddr *)&from, &from_length) == 3);
    REQUIRE(from_length <= sizeof(sa_family_t)); /* the sender has no name */
    REQUIRE(unlink(address.sun_path) == 0);
    close(receiver);
    close(sender);
    printf("path datagrams ok\n");
}

union control {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

static void send_descriptor(int socket, int fd) {
    union control control = {0};
    struct iovec data = {.iov_base = "d", .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.bytes};
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
    REQUIRE(sendmsg(socket, &message, 0) == 1);
}

static int receive_descriptor(int socket) {
    union control control = {0};
    char byte;
    int fd;
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control.bytes};
    REQUIRE(recvmsg(socket, &message, MSG_CMSG_CLOEXEC) == 1 && byte == 'd');
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    REQUIRE(header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS);
    memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
}

static void descriptors(void) {
    int ends[2], pipe_ends[2];
    char bytes[8];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0 && pipe(pipe_ends) == 0);
    fflush(stdout);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        close(pipe_ends[0]);
        close(pipe_ends[1]);
        int fd = receive_descriptor(ends[1]);
        REQUIRE(write(fd, "through", 7) == 7);
        _exit(0);
    }
    send_descriptor(ends[0], pipe_ends[1]);
    close(pipe_ends[1]); /* it is open in the message, or in the child */
    REQUIRE(read(pipe_ends[0], bytes, 8) == 7 && memcmp(bytes, "through", 7) == 0);
    int status;
    REQUIRE(waitpid(child, &status, 0) == child && status == 0);
    REQUIRE(read(pipe_ends[0], bytes, 8) == 0);
    close(ends[0]);
    close(ends[1]);
    close(pipe_ends[0]);
    printf("descriptors ok\n");
}

int main(void) {
    stream_pair();
    datagram_pair(SOCK_DGRAM, "datagram");
    datagram_pair(SOCK_SEQPACKET, "sequenced packet");
    named_streams();
    named_datagrams();
    descriptors();
    return 0;
}
