/* MSG_OOB on Unix streams (Linux has it since 5.15). */
#include "urgent_data.h"

static void connected(int pair[2]) { MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair)); }

static void others(void) {
    section("other sockets");
    int pair[2];
    char byte = 'x';
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    FACT("send of nothing", send(pair[0], "", 0, MSG_OOB));
    FACT("SIOCATMARK to a wrong address", ioctl(pair[0], SIOCATMARK, nowhere));
    FACT("send from a wrong address", send(pair[0], nowhere, 1, MSG_OOB));
    FACT("send", send(pair[0], "a", 1, MSG_OOB));
    FACT("recv to a wrong address", recv(pair[1], nowhere, 1, MSG_OOB));
    close(pair[0]), close(pair[1]);
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    FACT("send, never read", send(pair[0], "a", 1, MSG_OOB));
    close(pair[1]);
    FACT("which the sender sees", recv(pair[0], &byte, 1, 0));
    close(pair[0]);
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    FACT("send", send(pair[0], "a", 1, MSG_OOB));
    FACT("and taken", recv(pair[1], &byte, 1, MSG_OOB));
    close(pair[1]);
    FACT("which the sender sees", recv(pair[0], &byte, 1, 0));
    close(pair[0]);
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    FACT("send of a datagram", send(pair[0], "a", 1, MSG_OOB));
    FACT("recv of a datagram", recv(pair[1], &byte, 1, MSG_OOB | MSG_DONTWAIT));
    close(pair[0]), close(pair[1]);
    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair));
    FACT("send of a packet", send(pair[0], "a", 1, MSG_OOB));
    FACT("recv of a packet", recv(pair[1], &byte, 1, MSG_OOB | MSG_DONTWAIT));
    close(pair[0]), close(pair[1]);
    int fresh = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    FACT("recv on a fresh socket", recv(fresh, &byte, 1, MSG_OOB | MSG_DONTWAIT));
    close(fresh);
}

int main(void) {
    begin();
    marks();
    waits();
    owners();
    ends();
    others();
    return 0;
}
