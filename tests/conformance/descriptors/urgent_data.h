/* The programs about urgent data: what all stream sockets do alike. connected() is theirs. */
#ifndef URGENT_DATA_H
#define URGENT_DATA_H

#include "inet.h"

#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/uio.h>

/* pair[0] sends, pair[1] receives. */
static void connected(int pair[2]);

#define HOLDS(what, condition) printf("%s: %s\n", what, (condition) ? "yes" : "no")

static int urgent_signals;

UNUSED_FUNCTION void count_signal(int signo) {
    (void)signo;
    urgent_signals++;
}

UNUSED_FUNCTION void put_signals(const char *what) {
    printf("%s: %d SIGURG\n", what, urgent_signals);
    urgent_signals = 0;
}

/* What the next calls would say. */
UNUSED_FUNCTION void put_state(const char *what, int fd) {
    int mark = -1, unread = -1;
    MUST(ioctl(fd, SIOCATMARK, &mark));
    MUST(ioctl(fd, FIONREAD, &unread));
    printf("%s: %s, FIONREAD %d, ", what, mark ? "at the mark" : "not at the mark", unread);
    put_poll("poll", fd);
}

UNUSED_FUNCTION void put_receive(const char *what, int fd, size_t length, int flags) {
    char bytes[64] = {0};
    struct iovec part = {bytes, length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    errno = 0;
    ssize_t got = recvmsg(fd, &message, flags | MSG_DONTWAIT);
    put_result(what, got, errno);
    if (got > 0)
        put_bytes("  data", bytes, (size_t)got < length ? (size_t)got : length);
    if (got >= 0 && message.msg_flags & MSG_OOB)
        printf("  out of band\n");
}

UNUSED_FUNCTION void say(int fd, const char *text, int flags) {
    put_result(text, send(fd, text, strlen(text), flags), errno);
    pause_ms(20);
}

UNUSED_FUNCTION int oob_inline(int fd, int on) { return setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on); }

static void marks(void) {
    section("one byte out of band");
    int pair[2];
    connected(pair);
    put_receive("without any", pair[1], 1, MSG_OOB);
    put_state("before", pair[1]);
    say(pair[0], "abc", MSG_OOB);
    put_state("urgent c", pair[1]);
    put_receive("peek at it", pair[1], 1, MSG_OOB | MSG_PEEK);
    put_receive("peek in the stream", pair[1], 10, MSG_PEEK);
    put_receive("take it", pair[1], 10, MSG_OOB);
    put_receive("take it again", pair[1], 10, MSG_OOB);
    put_state("was taken", pair[1]);
    say(pair[0], "def", 0);
    put_receive("up to the mark", pair[1], 10, 0);
    put_state("there", pair[1]);
    put_receive("behind it", pair[1], 10, 0);
    put_state("empty", pair[1]);
    close(pair[0]), close(pair[1]);

    section("never taken");
    connected(pair);
    say(pair[0], "ab", 0);
    say(pair[0], "c", MSG_OOB);
    say(pair[0], "de", 0);
    put_receive("one byte", pair[1], 1, 0);
    put_receive("up to the mark", pair[1], 10, 0);
    put_state("at the mark", pair[1]);
    put_receive("peek behind it", pair[1], 10, MSG_PEEK);
    put_receive("behind it", pair[1], 10, 0);
    put_receive("too late", pair[1], 1, MSG_OOB);
    close(pair[0]), close(pair[1]);

    section("in line");
    connected(pair);
    FACT("SO_OOBINLINE", oob_inline(pair[1], 1));
    say(pair[0], "abc", MSG_OOB);
    say(pair[0], "def", 0);
    put_state("urgent c", pair[1]);
    put_receive("out of band", pair[1], 1, MSG_OOB);
    put_receive("up to the mark", pair[1], 10, 0);
    put_state("at the mark", pair[1]);
    put_receive("with the urgent byte", pair[1], 10, 0);
    put_state("behind it", pair[1]);
    close(pair[0]), close(pair[1]);

    section("made in line later");
    connected(pair);
    say(pair[0], "abc", MSG_OOB);
    FACT("SO_OOBINLINE", oob_inline(pair[1], 1));
    put_receive("up to the mark", pair[1], 10, 0);
    put_receive("the urgent byte", pair[1], 10, 0);
    close(pair[0]), close(pair[1]);

    section("two of them");
    connected(pair);
    say(pair[0], "ab", MSG_OOB);
    say(pair[0], "cd", MSG_OOB);
    put_state("the second is the urgent one", pair[1]);
    put_receive("it", pair[1], 1, MSG_OOB);
    put_receive("the first is in the stream", pair[1], 10, 0);
    put_state("at the mark", pair[1]);
    close(pair[0]), close(pair[1]);

    section("alone, first and last");
    connected(pair);
    say(pair[0], "x", MSG_OOB);
    put_state("nothing else", pair[1]);
    put_receive("in the stream", pair[1], 10, 0);
    put_receive("out of band", pair[1], 1, MSG_OOB);
    say(pair[0], "y", MSG_OOB);
    put_receive("another", pair[1], 1, MSG_OOB);
    say(pair[0], "tail", 0);
    put_receive("what follows", pair[1], 10, 0);
    close(pair[0]), close(pair[1]);
}

static void waits(void) {
    section("receives that wait");
    int pair[2];
    char bytes[16] = {0};
    connected(pair);
    IN_CHILD("the sender", {
        pause_ms(20);
        send(pair[0], "ab", 2, 0);
        pause_ms(20);
        send(pair[0], "c", 1, MSG_OOB);
        pause_ms(20);
        send(pair[0], "def", 3, 0);
    });
    FACT("MSG_WAITALL ends at the mark", recv(pair[1], bytes, 5, MSG_WAITALL));
    put_bytes("data", bytes, 2);
    FACT("and the next one begins behind it", recv(pair[1], bytes, 3, MSG_WAITALL));
    put_bytes("data", bytes, 3);
    struct pollfd entry = {pair[1], POLLPRI, 0};
    fflush(stdout);
    pid_t child = fork();
    if (!child) {
        pause_ms(20);
        send(pair[0], "u", 1, MSG_OOB);
        _exit(0);
    }
    FACT("poll for POLLPRI", poll(&entry, 1, 5000));
    put_events("events", (unsigned short)entry.revents);
    fd_set except;
    FD_ZERO(&except);
    FD_SET(pair[1], &except);
    struct timeval time = {0, 0};
    FACT("select for exceptions", select(pair[1] + 1, NULL, NULL, &except, &time));
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLPRI};
    MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, pair[1], &event));
    FACT("epoll_wait", epoll_wait(epoll, &event, 1, 1000));
    printf("EPOLLPRI %d, nothing else %d\n", !!(event.events & EPOLLPRI), !(event.events & ~(unsigned)EPOLLPRI));
    put_receive("it", pair[1], 1, MSG_OOB);
    FACT("epoll_wait afterwards", epoll_wait(epoll, &event, 1, 0));
    waitpid(child, NULL, 0);
    close(epoll), close(pair[0]), close(pair[1]);
}

static void owners(void) {
    section("SIGURG");
    int pair[2];
    connected(pair);
    signal(SIGURG, count_signal);
    say(pair[0], "a", MSG_OOB);
    put_signals("without an owner");
    FACT("F_SETOWN", fcntl(pair[1], F_SETOWN, getpid()));
    HOLDS("F_GETOWN", fcntl(pair[1], F_GETOWN) == getpid());
    say(pair[0], "b", MSG_OOB);
    put_signals("the process");
    say(pair[0], "c", 0);
    put_signals("ordinary data");
    struct f_owner_ex owner = {F_OWNER_TID, getpid()};
    FACT("F_SETOWN_EX", fcntl(pair[1], F_SETOWN_EX, &owner));
    say(pair[0], "d", MSG_OOB);
    put_signals("the thread");
    setpgid(0, 0);
    FACT("a group", fcntl(pair[1], F_SETOWN, -getpgrp()));
    memset(&owner, 0, sizeof owner);
    FACT("F_GETOWN_EX", fcntl(pair[1], F_GETOWN_EX, &owner));
    HOLDS("the group", owner.type == F_OWNER_PGRP && owner.pid == getpgrp());
    say(pair[0], "e", MSG_OOB);
    put_signals("the group");
    int number = getpid();
    FACT("SIOCSPGRP", ioctl(pair[1], SIOCSPGRP, &number));
    number = 0;
    FACT("SIOCGPGRP", ioctl(pair[1], SIOCGPGRP, &number));
    HOLDS("it", number == getpid());
    number = -getpgrp();
    FACT("FIOSETOWN", ioctl(pair[1], FIOSETOWN, &number));
    FACT("FIOGETOWN", ioctl(pair[1], FIOGETOWN, &number));
    HOLDS("it", number == -getpgrp());
    FACT("nobody", fcntl(pair[1], F_SETOWN, 0));
    FACT("F_GETOWN of nobody", fcntl(pair[1], F_GETOWN));
    say(pair[0], "f", MSG_OOB);
    put_signals("nobody");
    FACT("no such process", fcntl(pair[1], F_SETOWN, 4000000));
    FACT("no such group", fcntl(pair[1], F_SETOWN, -4000000));
    FACT("the least number", fcntl(pair[1], F_SETOWN, INT32_MIN));
    owner.type = 7;
    FACT("no such type", fcntl(pair[1], F_SETOWN_EX, &owner));
    FACT("a wrong address", fcntl(pair[1], F_SETOWN_EX, nowhere));
    FACT("SIOCSPGRP from a wrong address", ioctl(pair[1], SIOCSPGRP, nowhere));
    close(pair[0]), close(pair[1]);
}

static void ends(void) {
    section("the end of the stream");
    int pair[2];
    connected(pair);
    say(pair[0], "ab", MSG_OOB);
    FACT("shutdown", shutdown(pair[0], SHUT_WR));
    pause_ms(20);
    put_state("all has come", pair[1]);
    put_receive("up to the mark", pair[1], 10, 0);
    put_receive("out of band", pair[1], 1, MSG_OOB);
    put_receive("the end", pair[1], 10, 0);
    put_receive("out of band, at the end", pair[1], 1, MSG_OOB);
    FACT("send after shutdown", send(pair[0], "x", 1, MSG_OOB | MSG_NOSIGNAL));
    close(pair[0]), close(pair[1]);
}

#endif
