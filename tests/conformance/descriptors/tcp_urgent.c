/* Urgent data of TCP: MSG_OOB, SO_OOBINLINE, SIOCATMARK, POLLPRI, SIGURG and who gets it. */
#include "urgent_data.h"

static void connected(int pair[2]) {
    tcp_pair(pair);
    set_option(pair[0], IPPROTO_TCP, TCP_NODELAY, 1);
}

/* The mark may lie ahead of what has arrived; here the receiver's buffer is full. */
static void ahead(void) {
    section("announced, but not here yet");
    int pair[2], listening = listener(1), size = 4096;
    static char block[262144];
    FACT("SO_RCVBUF", setsockopt(listening, SOL_SOCKET, SO_RCVBUF, &size, sizeof size));
    FACT("inherited SO_OOBINLINE", oob_inline(listening, 1));
    pair[0] = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(connect_to(pair[0], name_of(listening)));
    pair[1] = (int)MUST(accept(listening, NULL, NULL));
    printf("SO_OOBINLINE %d\n", option_of(pair[1], SOL_SOCKET, SO_OOBINLINE));
    FACT("out of line", oob_inline(pair[1], 0));
    memset(block, 'x', sizeof block);
    long sent = 0;
    for (ssize_t more; (more = send(pair[0], block, sizeof block, MSG_DONTWAIT)) > 0;)
        sent += more;
    HOLDS("more than the receiver takes", sent > 8192);
    shutdown(pair[0], SHUT_WR);
    int mark = -1;
    FACT("SIOCATMARK", ioctl(pair[1], SIOCATMARK, &mark));
    printf("mark %d\n", mark);
    put_receive("nothing is urgent", pair[1], 1, MSG_OOB);
    long received = 0;
    for (ssize_t more; (more = recv(pair[1], block, sizeof block, 0)) > 0;)
        received += more;
    HOLDS("all came", received == sent);
    close(pair[0]), close(pair[1]), close(listening);
}

static void others(void) {
    section("other states and sockets");
    int fd = socket(AF_INET, SOCK_STREAM, 0), listening = listener(1), datagrams = udp_socket(), mark = -1;
    FACT("recv on a fresh socket", recv(fd, &mark, 1, MSG_OOB | MSG_DONTWAIT));
    FACT("send on a fresh socket", send(fd, "x", 1, MSG_OOB | MSG_NOSIGNAL));
    FACT("SIOCATMARK of a fresh socket", ioctl(fd, SIOCATMARK, &mark));
    printf("mark %d\n", mark);
    FACT("recv on a listener", recv(listening, &mark, 1, MSG_OOB | MSG_DONTWAIT));
    FACT("SIOCATMARK of a listener", ioctl(listening, SIOCATMARK, &mark));
    FACT("SIOCATMARK of a datagram socket", ioctl(datagrams, SIOCATMARK, &mark));
    FACT("SIOCATMARK to a wrong address", ioctl(fd, SIOCATMARK, nowhere));
    FACT("F_GETOWN_EX before any owner", fcntl(fd, F_GETOWN_EX, &(struct f_owner_ex){9, 9}));
    FACT("F_GETOWN before any owner", fcntl(fd, F_GETOWN));
    int ends[2];
    MUST(pipe(ends));
    FACT("SIOCSPGRP of a pipe", ioctl(ends[0], SIOCSPGRP, &mark));
    FACT("SIOCATMARK of a pipe", ioctl(ends[0], SIOCATMARK, &mark));
    close(fd), close(listening), close(datagrams), close(ends[0]), close(ends[1]);
}

int main(void) {
    begin();
    marks();
    waits();
    owners();
    ends();
    ahead();
    others();
    return 0;
}
