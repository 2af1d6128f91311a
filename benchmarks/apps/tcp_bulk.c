/* BYTES over TCP from one program to another, over CONNECTIONS at once; `receive` prints bytes and nanoseconds.
 *
 *   tcp_bulk receive PORT CONNECTIONS
 *   tcp_bulk send ADDRESS PORT CONNECTIONS BYTES    BYTES: of all connections together */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 64

static char bytes[128 * 1024];

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000ll + time.tv_nsec;
}

static int receive(struct sockaddr_in address, nfds_t count) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), reuse = 1;
    struct pollfd open[CONNECTIONS_MAX];
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64))
        return 1;
    long long total = 0, started = 0;
    for (nfds_t i = 0; i < count; i++) {
        open[i] = (struct pollfd){accept(listener, NULL, NULL), POLLIN, 0};
        if (open[i].fd < 0)
            return 1;
        if (!started)
            started = now();
    }
    for (nfds_t left = count; left;) {
        if (poll(open, count, -1) < 0)
            return 1;
        for (nfds_t i = 0; i < count; i++) {
            if (!open[i].revents)
                continue;
            ssize_t length = recv(open[i].fd, bytes, sizeof bytes, 0);
            if (length < 0)
                return 1;
            total += length;
            if (length == 0) {
                open[i].fd = -1;
                left--;
            }
        }
    }
    printf("%lld %lld\n", total, now() - started);
    return 0;
}

static int transmit(struct sockaddr_in address, nfds_t count, long long each) {
    struct pollfd open[CONNECTIONS_MAX];
    long long left[CONNECTIONS_MAX];
    for (nfds_t i = 0; i < count; i++) {
        open[i] = (struct pollfd){socket(AF_INET, SOCK_STREAM, 0), POLLOUT, 0};
        left[i] = each;
        if (open[i].fd < 0 || connect(open[i].fd, (struct sockaddr *)&address, sizeof address))
            return 1;
    }
    for (nfds_t busy = count; busy;) {
        if (poll(open, count, -1) < 0)
            return 1;
        for (nfds_t i = 0; i < count; i++) {
            if (!open[i].revents)
                continue;
            size_t length = left[i] < (long long)sizeof bytes ? (size_t)left[i] : sizeof bytes;
            ssize_t sent = send(open[i].fd, bytes, length, MSG_DONTWAIT);
            if (sent < 0)
                return 1;
            left[i] -= sent;
            if (left[i] == 0) {
                close(open[i].fd);
                open[i].fd = -1;
                busy--;
            }
        }
    }
    return 0;
}

int main(int argc, char **argv) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    if (argc == 4 && strcmp(argv[1], "receive") == 0) {
        address.sin_port = htons((unsigned short)atoi(argv[2]));
        long count = atol(argv[3]);
        return count < 1 || count > CONNECTIONS_MAX ? 2 : receive(address, (nfds_t)count);
    }
    if (argc != 6 || strcmp(argv[1], "send") != 0 || inet_pton(AF_INET, argv[2], &address.sin_addr) != 1)
        return 2;
    address.sin_port = htons((unsigned short)atoi(argv[3]));
    long count = atol(argv[4]);
    return count < 1 || count > CONNECTIONS_MAX ? 2 : transmit(address, (nfds_t)count, atoll(argv[5]) / count);
}
