/* Descriptors sent through Unix sockets: to oneself, to a child and back, files, pipes and sockets. */
#include "facts.h"

#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>

#define MOST 8
union control {
    char bytes[CMSG_SPACE(MOST * sizeof(int))];
    struct cmsghdr align;
};

static ssize_t pass(int through, const int *fds, unsigned count, const char *text) {
    union control control = {{0}};
    struct iovec part = {(void *)text, strlen(text)};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control};
    message.msg_controllen = CMSG_SPACE(count * sizeof(int));
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof(int));
    memcpy(CMSG_DATA(header), fds, count * sizeof(int));
    return sendmsg(through, &message, 0);
}

/* Takes what came; prints how many descriptors, and leaves them in fds. */
static int take(const char *what, int through, int *fds, size_t room, int flags) {
    union control control = {{0}};
    char bytes[64];
    struct iovec part = {bytes, sizeof bytes};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = room ? &control : NULL, .msg_controllen = room};
    errno = 0;
    ssize_t got = recvmsg(through, &message, flags);
    put_result(what, got, errno);
    if (got < 0)
        return 0;
    put_bytes("  data", bytes, (size_t)got);
    int count = 0;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_type == SCM_RIGHTS) {
        count = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(header), (size_t)count * sizeof(int));
    }
    printf("  %d descriptors%s\n", count, message.msg_flags & MSG_CTRUNC ? ", some lost" : "");
    return count;
}

static int open_count(void) {
    int count = 0;
    for (int fd = 0; fd < 64; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void to_itself(void) {
    section("to itself");
    int pair[2], fds[MOST], before, ends[2];
    char bytes[32] = {0};
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    int file = (int)MUST(open("shared", O_CREAT | O_RDWR | O_TRUNC, 0600));
    before = open_count();
    (void)!write(file, "0123456789", 10);
    FACT("a file", pass(pair[0], &file, 1, "file"));
    close(file);
    take("received", pair[1], fds, CMSG_SPACE(4), 0);
    FACT("the position is shared", lseek(fds[0], 0, SEEK_CUR));
    FACT("read through it", pread(fds[0], bytes, 10, 0));
    put_bytes("it says", bytes, 10);
    printf("FD_CLOEXEC %d\n", fcntl(fds[0], F_GETFD));
    printf("open as before: %d\n", open_count() == before);
    FACT("pass it again", pass(pair[0], fds, 1, "again"));
    int again[MOST];
    take("with MSG_CMSG_CLOEXEC", pair[1], again, CMSG_SPACE(4), MSG_CMSG_CLOEXEC);
    printf("FD_CLOEXEC %d\n", fcntl(again[0], F_GETFD));
    (void)!write(again[0], "abc", 3);
    FACT("one description", lseek(fds[0], 0, SEEK_CUR));
    close(again[0]);
    MUST(pipe(ends));
    int three[3] = {ends[0], ends[1], fds[0]};
    FACT("three", pass(pair[0], three, 3, "three"));
    close(ends[0]), close(ends[1]), close(fds[0]);
    take("received", pair[1], fds, CMSG_SPACE(12), 0);
    (void)!write(fds[1], "through", 7);
    FACT("the pipe works", read(fds[0], bytes, sizeof bytes));
    close(fds[1]);
    FACT("and ends", read(fds[0], bytes, sizeof bytes));
    MUST(pipe(ends));
    three[0] = ends[0], three[1] = ends[1], three[2] = fds[2];
    pass(pair[0], three, 3, "room for two");
    take("room for two", pair[1], again, CMSG_SPACE(8), 0);
    close(again[0]), close(again[1]);
    pass(pair[0], three, 3, "no room");
    take("room for none", pair[1], again, 0, 0);
    before = open_count();
    pass(pair[0], three, 1, "plain");
    FACT("recv without control", recv(pair[1], bytes, sizeof bytes, 0));
    printf("nothing opened: %d\n", open_count() == before);
    pass(pair[0], three, 1, "peeked");
    if (take("peek", pair[1], again, CMSG_SPACE(4), MSG_PEEK))
        close(again[0]);
    if (take("and take", pair[1], again, CMSG_SPACE(4), 0))
        close(again[0]);
    three[0] = 999;
    FACT("a bad descriptor", pass(pair[0], three, 1, "bad"));
    pass(pair[0], &three[1], 1, "one");
    pass(pair[0], &three[2], 1, "two");
    (void)!send(pair[0], "plain", 5, 0);
    take("messages with descriptors", pair[1], again, CMSG_SPACE(12), 0);
    close(again[0]);
    take("do not run together", pair[1], again, CMSG_SPACE(12), 0);
    close(again[0]);
    pass(pair[0], &three[2], 1, "abcdef");
    FACT("first bytes", recv(pair[1], bytes, 2, 0));
    take("the descriptor went with them", pair[1], again, CMSG_SPACE(12), 0);
    FACT("no data", pass(pair[0], &three[2], 1, ""));
    FACT("nothing came", recv(pair[1], bytes, 2, MSG_DONTWAIT));
    before = open_count();
    pass(pair[0], &ends[1], 1, "in flight");
    close(ends[1]);
    close(pair[0]), close(pair[1]);
    FACT("closed with the socket", read(ends[0], bytes, sizeof bytes));
    close(ends[0]), close(fds[0]), close(fds[2]);
    unlink("shared");
    printf("open at the end: %d\n", open_count());
}

static void to_a_child(int type) {
    int pair[2], ends[2], fds[MOST];
    char bytes[32] = {0};
    MUST(socketpair(AF_UNIX, type, 0, pair));
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        close(pair[0]);
        int count = take("the child gets", pair[1], fds, CMSG_SPACE(8), 0);
        if (count == 2) {
            FACT("it reads the file", read(fds[0], bytes, 5));
            put_bytes("it says", bytes, 5);
            FACT("and writes the pipe", write(fds[1], "from child", 10));
        }
        int made = open("made", O_CREAT | O_RDWR | O_TRUNC, 0600);
        (void)!write(made, "by the child", 12);
        fflush(stdout);
        pass(pair[1], &made, 1, "back");
        (void)!recv(pair[1], bytes, sizeof bytes, 0);
        _exit(0);
    }
    close(pair[1]);
    MUST(pipe(ends));
    int file = (int)MUST(open("given", O_CREAT | O_RDWR | O_TRUNC, 0600));
    (void)!write(file, "0123456789", 10);
    lseek(file, 2, SEEK_SET);
    int both[2] = {file, ends[1]};
    pass(pair[0], both, 2, "both");
    close(ends[1]);
    int count = take("what the child sent", pair[0], fds, CMSG_SPACE(8), 0);
    if (count == 1) {
        FACT("it can be read", pread(fds[0], bytes, sizeof bytes, 0));
        put_bytes("it says", bytes, 12);
        close(fds[0]);
    }
    send(pair[0], "end", 3, 0);
    waitpid(child, NULL, 0);
    FACT("the parent reads the pipe", read(ends[0], bytes, sizeof bytes));
    FACT("and its end", read(ends[0], bytes, sizeof bytes));
    FACT("the position moved", lseek(file, 0, SEEK_CUR));
    close(ends[0]), close(file), close(pair[0]);
    unlink("given"), unlink("made");
}

/* Takes what the sender left behind, and says whether it is the file at the place that the sender left it at. */
static void inherit(const char *what, int through) {
    int fds[MOST];
    char bytes[8] = {0};
    if (take(what, through, fds, CMSG_SPACE(MOST * sizeof(int)), 0) < 2)
        return;
    FACT("  the position", lseek(fds[0], 0, SEEK_CUR));
    FACT("  reads", read(fds[0], bytes, 3));
    put_bytes("  says", bytes, 3);
    FACT("  writes the second", write(fds[1], "heir", 4));
    close(fds[0]), close(fds[1]);
}

/* Real files in flight outlive their senders, however these end. */
static void from_the_dead(bool killed) {
    int pair[2];
    char bytes[64] = {0};
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    int before = open_count();
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        for (int i = 0; i < 3; i++) {
            int both[2] = {open("legacy", O_CREAT | O_RDWR | O_TRUNC, 0600), open("trace", O_CREAT | O_RDWR, 0600)};
            (void)!write(both[0], "0123456789", 10);
            lseek(both[0], 4 + i, SEEK_SET);
            lseek(both[1], 4 * i, SEEK_SET);
            pass(pair[0], both, 2, "legacy");
            close(both[0]), close(both[1]);
        }
        unlink("legacy");
        if (killed)
            for (;;)
                pause();
        _exit(0);
    }
    pause_ms(50);
    if (killed)
        kill(child, SIGKILL);
    int status;
    waitpid(child, &status, 0);
    put_status("the sender", status);
    inherit("first", pair[1]);
    /* Another one takes the second, and dies with it; the third goes with the socket. */
    IN_CHILD("an heir", inherit("second", pair[1]));
    int trace = (int)MUST(open("trace", O_RDONLY));
    FACT("the trace", read(trace, bytes, sizeof bytes));
    put_bytes("says", bytes, 8);
    close(trace);
    printf("open as before: %d\n", open_count() == before);
    close(pair[0]), close(pair[1]);
    unlink("trace");
}

/* A lock ends with the last descriptor of its description, also where that one was never received. */
static void the_last_one(void) {
    int pair[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    IN_CHILD("a sender with a lock", {
        int fd = open("locked", O_CREAT | O_RDWR, 0600);
        flock(fd, LOCK_EX);
        pass(pair[0], &fd, 1, "lock");
    });
    int own = (int)MUST(open("locked", O_RDWR));
    FACT("while it is in flight", flock(own, LOCK_EX | LOCK_NB));
    int fds[MOST];
    take("taken without room", pair[1], fds, CMSG_SPACE(0), 0);
    FACT("when it is gone", flock(own, LOCK_EX | LOCK_NB));
    FACT("unlock", flock(own, LOCK_UN));
    IN_CHILD("another one", {
        int fd = open("locked", O_RDWR);
        flock(fd, LOCK_EX);
        pass(pair[0], &fd, 1, "lock");
    });
    FACT("while it is in flight", flock(own, LOCK_EX | LOCK_NB));
    close(pair[0]), close(pair[1]);
    FACT("when the socket is closed", flock(own, LOCK_EX | LOCK_NB));
    close(own);
    unlink("locked");
}

/* Messages on two sockets are taken in another order than they were sent in. */
static void in_another_order(void) {
    int first[2], second[2], fds[MOST], count = 0;
    char name[16], bytes[4] = {0};
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, first));
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, second));
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "file%d", i);
        int fd = (int)MUST(open(name, O_CREAT | O_RDWR | O_TRUNC, 0600));
        (void)!write(fd, name, 5);
        pass(i % 2 ? first[0] : second[0], &fd, 1, name);
        close(fd);
        unlink(name);
    }
    for (int i = 0; i < 10; i++) {
        if (take("taken", (i < 5 ? first : second)[1], fds, CMSG_SPACE(4), i == 7 ? MSG_PEEK : 0) != 1)
            continue;
        count++;
        (void)!pread(fds[0], bytes, 1, 4);
        put_bytes("  it is", bytes, 1);
        close(fds[0]);
    }
    printf("%d of them\n", count);
    take("the one that was looked at", second[1], fds, CMSG_SPACE(4), 0);
    close(fds[0]);
    close(first[0]), close(first[1]), close(second[0]), close(second[1]);
}

/* The files of several items come as those of one. */
static void in_two_items(void) {
    section("in two items");
    int pair[2], fds[MOST], zero = (int)MUST(open("/dev/null", O_RDONLY));
    union {
        char bytes[2 * CMSG_SPACE(2 * sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    struct iovec part = {"two", 3};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    *header =
        (struct cmsghdr){.cmsg_len = CMSG_LEN(2 * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(header), (int[]){zero, pair[0]}, 2 * sizeof(int));
    struct cmsghdr *second = (struct cmsghdr *)(control.bytes + CMSG_SPACE(2 * sizeof(int)));
    *second = *header;
    memcpy(CMSG_DATA(second), (int[]){pair[1], 999}, 2 * sizeof(int));
    FACT("with one that is none", sendmsg(pair[0], &message, 0));
    memcpy(CMSG_DATA(second), (int[]){pair[1], zero}, 2 * sizeof(int));
    FACT("all good", sendmsg(pair[0], &message, 0));
    int count = take("recvmsg", pair[1], fds, CMSG_SPACE(MOST * sizeof(int)), 0);
    for (int i = 0; i < count; i++) {
        int type = -7777;
        socklen_t length = sizeof type;
        FACT("a socket", getsockopt(fds[i], SOL_SOCKET, SO_TYPE, &type, &length));
        close(fds[i]);
    }
    close(zero), close(pair[0]), close(pair[1]);
}

int main(void) {
    begin();
    to_itself();
    section("to a child, stream");
    to_a_child(SOCK_STREAM);
    section("to a child, datagram");
    to_a_child(SOCK_DGRAM);
    section("from senders that have ended");
    from_the_dead(false);
    section("from senders that were killed");
    from_the_dead(true);
    section("the last descriptor");
    the_last_one();
    section("in another order");
    in_another_order();
    in_two_items();
    return 0;
}
