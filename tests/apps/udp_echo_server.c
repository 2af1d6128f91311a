/* Sends every datagram back to where it came from. With a COUNT it ends after so many. */
#include "inet.h"

int main(int argc, char **argv) {
    if (argc < 2 || argc > 3) {
        usage("udp_echo_server PORT [COUNT]");
    }
    long count = argc > 2 ? atol(argv[2]) : 0;
    int fd = inet_bound(argv[1], SOCK_DGRAM);
    static uint8_t bytes[65536];
    long long total = 0;
    for (long echoed = 0; count == 0 || echoed < count; echoed++) {
        struct sockaddr_in from;
        socklen_t from_length = sizeof from;
        ssize_t length = recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &from_length);
        REQUIRE(length >= 0);
        REQUIRE(sendto(fd, bytes, (size_t)length, 0, (struct sockaddr *)&from, from_length) == length);
        total += length;
    }
    printf("echoed %ld datagrams %lld bytes\n", count, total);
    return 0;
}
