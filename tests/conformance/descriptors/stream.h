/* Data of a TCP connection over loopback, its ends, and what poll and the calls say at each step: what both families do
 * alike. connected() is the program's. */
#ifndef STREAM_H
#define STREAM_H

#include "inet.h"

#include <pthread.h>
#include <sys/ioctl.h>

/* pair[0] connected, pair[1] was accepted. */
static void connected(int pair[2]);

static int unread(int fd) {
    int bytes = -7;
    return ioctl(fd, FIONREAD, &bytes) ? -1 : bytes;
}

static void put_receive(const char *what, int fd, size_t length, int flags) {
    char bytes[256];
    memset(bytes, 0, sizeof bytes);
    ssize_t got = recv(fd, bytes, length, flags);
    put_result(what, got, errno);
    if (got > 0)
        put_bytes("  data", bytes, (size_t)got < length ? (size_t)got : length);
}

static void data(void) {
    section("data");
    int pair[2];
    char block[100];
    connected(pair);
    put_poll("idle connection", pair[0]);
    put_receive("recv without data", pair[1], 10, MSG_DONTWAIT);
    FACT("send", send(pair[0], "hello world", 11, 0));
    await(pair[1], POLLIN);
    put_poll("with data", pair[1]);
    printf("FIONREAD %d\n", unread(pair[1]));
    put_receive("peek", pair[1], 5, MSG_PEEK);
    put_receive("peek again", pair[1], 20, MSG_PEEK);
    put_receive("recv part", pair[1], 6, 0);
    FACT("truncating recv discards", recv(pair[1], NULL, 2, MSG_TRUNC));
    printf("FIONREAD %d\n", unread(pair[1]));
    put_receive("recv the rest", pair[1], 20, 0);
    FACT("recv of 0 bytes", recv(pair[1], block, 0, MSG_DONTWAIT));
    FACT("send of 0 bytes", send(pair[0], "", 0, 0));
    FACT("recv with a wrong address",
         (send(pair[0], "abc", 3, 0), await(pair[1], POLLIN), recv(pair[1], nowhere, 3, 0)));
    put_receive("still there", pair[1], 10, 0);
    FACT("out-of-band recv without any", recv(pair[1], block, 1, MSG_OOB));
    FACT("send from a wrong address", send(pair[0], nowhere, 3, 0));
    IN_CHILD("sender in two steps", {
        send(pair[0], "first ", 6, 0);
        pause_ms(50);
        send(pair[0], "second", 6, 0);
    });
    put_receive("MSG_WAITALL", pair[1], 12, MSG_WAITALL);
    FACT("MSG_MORE", send(pair[0], "more ", 5, MSG_MORE));
    FACT("and the rest", send(pair[0], "rest", 4, 0));
    pause_ms(30);
    put_receive("together", pair[1], 50, 0);
    put_receive("error queue", pair[1], 10, MSG_ERRQUEUE | MSG_DONTWAIT);
    FACT("write", write(pair[1], "back", 4));
    await(pair[0], POLLIN);
    FACT("read", read(pair[0], block, sizeof block));
    FACT("pread", pread(pair[0], block, 1, 0));
    FACT("lseek", lseek(pair[0], 0, SEEK_CUR));
    FACT("ftruncate", ftruncate(pair[0], 0));
    FACT("fsync", fsync(pair[0]));
    close(pair[0]), close(pair[1]);
}

static void halves(void) {
    section("shutdown");
    int pair[2], fd = socket(AF_INET, SOCK_STREAM, 0);
    char block[64];
    FACT("of a fresh socket", shutdown(fd, SHUT_WR));
    put_poll("fresh socket", fd);
    close(fd);
    connected(pair);
    FACT("with a bad direction", shutdown(pair[0], 3));
    send(pair[0], "last words", 10, 0);
    FACT("SHUT_WR", shutdown(pair[0], SHUT_WR));
    FACT("SHUT_WR again", shutdown(pair[0], SHUT_WR));
    pause_ms(30);
    put_poll("the side that shut", pair[0]);
    put_poll("the other side", pair[1]);
    FACT("send after it", send(pair[0], "x", 1, MSG_NOSIGNAL));
    put_receive("recv data", pair[1], 50, 0);
    put_receive("recv end", pair[1], 50, 0);
    put_receive("recv end again", pair[1], 50, 0);
    put_receive("peek at the end", pair[1], 50, MSG_PEEK);
    FACT("the other still sends", send(pair[1], "reply", 5, 0));
    await(pair[0], POLLIN);
    put_receive("and is heard", pair[0], 50, 0);
    FACT("SHUT_WR of the other", shutdown(pair[1], SHUT_WR));
    pause_ms(30);
    put_poll("both shut, first", pair[0]);
    put_poll("both shut, second", pair[1]);
    FACT("shutdown when all is over", shutdown(pair[1], SHUT_RDWR));
    put_error("SO_ERROR", pair[1]);
    close(pair[0]), close(pair[1]);

    connected(pair);
    FACT("SHUT_RD", shutdown(pair[0], SHUT_RD));
    put_poll("after SHUT_RD", pair[0]);
    put_receive("recv after SHUT_RD", pair[0], 10, 0);
    FACT("the peer sends nevertheless", send(pair[1], "data", 4, MSG_NOSIGNAL));
    pause_ms(30);
    put_receive("and it is read", pair[0], 10, MSG_DONTWAIT);
    close(pair[0]), close(pair[1]);

    connected(pair);
    FACT("SHUT_RDWR", shutdown(pair[0], SHUT_RDWR));
    pause_ms(30);
    put_poll("after SHUT_RDWR", pair[0]);
    put_poll("its peer", pair[1]);
    put_receive("recv", pair[0], 10, 0);
    FACT("send", send(pair[0], "x", 1, MSG_NOSIGNAL));
    IN_CHILD("send without MSG_NOSIGNAL", send(pair[0], "x", 1, 0));
    IN_CHILD("write", (void)!write(pair[0], "x", 1));
    signal(SIGPIPE, SIG_IGN);
    FACT("write with SIGPIPE ignored", write(pair[0], "x", 1));
    signal(SIGPIPE, SIG_DFL);
    FACT("read", read(pair[0], block, sizeof block));
    close(pair[0]), close(pair[1]);
}

/* More is sent than the peer's window takes; the peer reads after a while. What close waits for is that, or its time.
 */
static void lingering(int seconds, int reader_sleeps_ms) {
    static char block[65536];
    int pair[2];
    connected(pair);
    struct linger linger = {1, seconds};
    MUST(setsockopt(pair[0], SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    for (int idle = 0; idle < 3;) {
        idle = send(pair[0], block, sizeof block, 0) > 0 ? 0 : idle + 1;
        pause_ms(2);
    }
    pid_t reader = fork();
    if (!reader) {
        close(pair[0]);
        pause_ms(reader_sleeps_ms);
        while (recv(pair[1], block, sizeof block, 0) > 0)
            ;
        _exit(0);
    }
    close(pair[1]);
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    FACT("close of what cannot be sent", close(pair[0]));
    clock_gettime(CLOCK_MONOTONIC, &end);
    long took_ms = (end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000;
    printf("it waited %s\n", took_ms < 200 ? "hardly" : took_ms < 20000 ? "long enough" : "too long");
    kill(reader, SIGKILL);
    waitpid(reader, NULL, 0);
}

static int replacing[2];

static void *replace(void *given) {
    (void)given;
    dup2(replacing[0], replacing[1]);
    return NULL;
}

/* dup2 over a socket that lingers: the number is never free meanwhile. */
static void lingering_replaced(void) {
    static char block[65536];
    int pair[2];
    pthread_t thread;
    connected(pair);
    struct linger linger = {1, 1};
    MUST(setsockopt(pair[0], SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    for (int idle = 0; idle < 3;) {
        idle = send(pair[0], block, sizeof block, 0) > 0 ? 0 : idle + 1;
        pause_ms(2);
    }
    replacing[0] = pair[1];
    replacing[1] = pair[0];
    pthread_create(&thread, NULL, replace, NULL);
    pause_ms(200);
    int fd = (int)MUST(open("/dev/null", O_RDONLY));
    printf("the number was free: %d\n", fd == pair[0]);
    pthread_join(thread, NULL);
    FACT("what is there now", getpeername(pair[0], (struct sockaddr *)block, &(socklen_t){16}));
    close(fd), close(pair[0]), close(pair[1]);
}

static void closing(void) {
    section("close");
    int pair[2];
    char block[64];
    connected(pair);
    close(pair[1]);
    pause_ms(30);
    put_poll("the peer closed", pair[0]);
    put_receive("recv", pair[0], 10, 0);
    FACT("first send after it", send(pair[0], "x", 1, MSG_NOSIGNAL));
    pause_ms(30);
    put_poll("then the reset came", pair[0]);
    FACT("second send", send(pair[0], "x", 1, MSG_NOSIGNAL));
    put_receive("recv", pair[0], 10, 0);
    put_error("SO_ERROR", pair[0]);
    close(pair[0]);

    connected(pair);
    send(pair[0], "never read", 10, 0);
    await(pair[1], POLLIN);
    close(pair[1]);
    pause_ms(30);
    put_poll("closed with unread data", pair[0]);
    FACT("recv", recv(pair[0], block, sizeof block, 0));
    FACT("recv again", recv(pair[0], block, sizeof block, 0));
    FACT("send", send(pair[0], "x", 1, MSG_NOSIGNAL));
    close(pair[0]);

    connected(pair);
    send(pair[0], "never read", 10, 0);
    await(pair[1], POLLIN);
    close(pair[1]);
    pause_ms(30);
    put_error("reset, by SO_ERROR", pair[0]);
    put_error("and cleared by it", pair[0]);
    FACT("recv", recv(pair[0], block, sizeof block, 0));
    close(pair[0]);

    connected(pair);
    struct linger linger = {1, 0};
    send(pair[1], "lost", 4, 0);
    await(pair[0], POLLIN);
    MUST(setsockopt(pair[1], SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    close(pair[1]);
    pause_ms(30);
    put_poll("closed with SO_LINGER 0", pair[0]);
    put_receive("recv", pair[0], 10, 0);
    put_receive("recv again", pair[0], 10, 0);
    struct sockaddr_storage name;
    socklen_t length = sizeof name;
    FACT("getpeername", getpeername(pair[0], (struct sockaddr *)&name, &length));
    FACT("shutdown", shutdown(pair[0], SHUT_WR));
    close(pair[0]);

    connected(pair);
    send(pair[1], "tail", 4, 0);
    close(pair[1]);
    pause_ms(30);
    put_poll("data and then the end", pair[0]);
    put_receive("recv", pair[0], 10, 0);
    put_receive("recv", pair[0], 10, 0);
    close(pair[0]);

    connected(pair);
    linger = (struct linger){1, 2};
    MUST(setsockopt(pair[0], SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
    send(pair[0], "lingering", 9, 0);
    FACT("close with SO_LINGER 2", close(pair[0]));
    put_receive("recv", pair[1], 20, 0);
    close(pair[1]);
    lingering(1, 60000);
    lingering(60, 300);
    lingering_replaced();
}

static void put_hint(const char *what, int fd, size_t length) {
    char bytes[64];
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr header;
    } control;
    struct iovec part = {bytes, length};
    struct msghdr message = {NULL, 0, &part, 1, &control, sizeof control, 0};
    ssize_t got = recvmsg(fd, &message, MSG_DONTWAIT);
    put_result(what, got, errno);
    const struct cmsghdr *item = got < 0 ? NULL : CMSG_FIRSTHDR(&message);
    int hint = -7;
    if (item)
        memcpy(&hint, CMSG_DATA(item), sizeof hint);
    if (item)
        printf("  level %d kind %d, unread %d\n", item->cmsg_level, item->cmsg_type, hint);
}

static void hints(void) {
    section("TCP_INQ");
    int pair[2], value = 2;
    connected(pair);
    FACT("set 2", setsockopt(pair[1], IPPROTO_TCP, TCP_INQ, &value, sizeof value));
    put_hint("without data", pair[1], 4);
    MUST(send(pair[0], "0123456789", 10, 0));
    await(pair[1], POLLIN);
    put_hint("not asked for", pair[1], 1);
    value = 1;
    FACT("set 1", setsockopt(pair[1], IPPROTO_TCP, TCP_INQ, &value, sizeof value));
    put_hint("a part", pair[1], 4);
    put_hint("nothing", pair[1], 0);
    put_hint("the rest", pair[1], 5);
    put_hint("no data", pair[1], 5);
    MUST(send(pair[0], "abc", 3, 0));
    close(pair[0]);
    await(pair[1], POLLRDHUP);
    put_hint("before the end", pair[1], 1);
    put_hint("up to the end", pair[1], 2);
    put_hint("the end", pair[1], 2);
    close(pair[1]);
}

static void filling(void) {
    section("full buffers");
    int pair[2];
    static char block[65536];
    connected(pair);
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    long long sent = 0, received = 0;
    for (int idle = 0; idle < 3;) {
        ssize_t done = send(pair[0], block, sizeof block, 0);
        if (done > 0)
            sent += done, idle = 0;
        else
            idle++, pause_ms(30);
    }
    FACT("send to a full connection", send(pair[0], block, 1, 0));
    printf("took more than 100000 bytes: %d\n", sent > 100000);
    put_poll("full", pair[0]);
    shutdown(pair[0], SHUT_WR);
    for (ssize_t done; (done = recv(pair[1], block, sizeof block, 0)) > 0;)
        received += done;
    printf("all of it was received: %d\n", sent == received);
    close(pair[0]), close(pair[1]);
    struct timeval timeout = {0, 30000};
    connected(pair);
    MUST(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout));
    put_receive("recv with SO_RCVTIMEO", pair[0], 10, 0);
    MUST(setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout));
    for (;;) {
        ssize_t done = send(pair[0], block, sizeof block, 0);
        if (done == (ssize_t)sizeof block)
            continue;
        printf("SO_SNDTIMEO gave a part or EAGAIN: %d\n", done > 0 || errno == EAGAIN);
        break;
    }
    close(pair[0]), close(pair[1]);
    /* The smallest buffer there is: a segment that was begun is filled nevertheless. */
    connected(pair);
    int smallest = 1, on = 1;
    MUST(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &smallest, sizeof smallest));
    MUST(setsockopt(pair[0], IPPROTO_TCP, TCP_CORK, &on, sizeof on));
    bool part = false;
    ssize_t done;
    for (sent = 0; (done = send(pair[0], block, 100, MSG_DONTWAIT)) > 0; sent += done)
        part = part || done < 100;
    printf("corked, more than 30000 bytes: %d, the last of a segment a part: %d\n", sent > 30000, part);
    close(pair[0]), close(pair[1]);
}

static void stream(void) {
    data();
    halves();
    closing();
    filling();
    hints();
}

#endif
