/*
 * Sends datagrams of varied sizes to udp_echo_server, one after the other, checks each echo byte by byte and
 * prints its round-trip time. A datagram without an echo within TIMEOUT_MS is sent again, up to ten times.
 */
#include "inet.h"

#include <sys/time.h>

#define ATTEMPTS 10

static uint8_t sent[65536];
static uint8_t received[65536];

static size_t make_datagram(uint32_t number, size_t largest) {
    size_t size = 4 + (size_t)(number * 7919u) % (largest - 3);
    memcpy(sent, &number, 4);
    for (size_t i = 4; i < size; i++) {
        sent[i] = pattern(number * 65536u + i);
    }
    return size;
}

/* The echo of an earlier attempt at an earlier datagram is passed over. False after the timeout. */
static int receive_echo(int fd, size_t size) {
    for (;;) {
        ssize_t length = recv(fd, received, sizeof received, 0);
        if (length < 0) {
            REQUIRE(errno == EAGAIN);
            return 0;
        }
        REQUIRE(length >= 4);
        if (memcmp(received, sent, 4) == 0) {
            REQUIRE((size_t)length == size);
            REQUIRE(memcmp(received, sent, size) == 0);
            return 1;
        }
    }
}

int main(int argc, char **argv) {
    if (argc < 4 || argc > 6) {
        usage("udp_client HOST PORT COUNT [LARGEST_SIZE [TIMEOUT_MS]]");
    }
    uint32_t count = (uint32_t)atol(argv[3]);
    size_t largest = argc > 4 ? (size_t)atol(argv[4]) : 1400;
    long timeout_ms = argc > 5 ? atol(argv[5]) : 5000;
    if (largest < 4 || largest > 65507 || timeout_ms < 1) {
        usage("udp_client: LARGEST_SIZE is from 4 to 65507, TIMEOUT_MS at least 1");
    }
    struct sockaddr_in server = inet_resolve(argv[1], argv[2], SOCK_DGRAM);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    REQUIRE(fd >= 0);
    struct timeval timeout = {.tv_sec = timeout_ms / 1000, .tv_usec = timeout_ms % 1000 * 1000};
    REQUIRE(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) == 0);
    REQUIRE(connect(fd, (struct sockaddr *)&server, sizeof server) == 0);
    unsigned resent = 0;
    for (uint32_t number = 0; number < count; number++) {
        size_t size = make_datagram(number, largest);
        int64_t start;
        int attempt = 0;
        do {
            REQUIRE(attempt < ATTEMPTS);
            resent += attempt++ > 0;
            start = clock_ns(CLOCK_MONOTONIC);
            REQUIRE(send(fd, sent, size, 0) == (ssize_t)size);
        } while (!receive_echo(fd, size));
        printf("datagram %u size %zu rtt_ns %lld\n", number, size, (long long)(clock_ns(CLOCK_MONOTONIC) - start));
    }
    printf("ok %u datagrams, %u sent again\n", count, resent);
    return 0;
}
