/* Datagrams of SIZE bytes from one program to another: `send` goes as fast as it may, `receive` counts until `end`.
 *
 *   udp_flood receive PORT
 *   udp_flood send NAME PORT COUNT SIZE */
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char bytes[65536];

static int receive(int fd, struct sockaddr_in address) {
    long count = 0;
    ssize_t length;
    if (bind(fd, (struct sockaddr *)&address, sizeof address))
        return 1;
    while ((length = recv(fd, bytes, sizeof bytes, 0)) != 3)
        count += length > 0;
    printf("%ld\n", count);
    return 0;
}

static int flood(int fd, const char *name, const char *port, long count, size_t size) {
    struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_DGRAM}, *found;
    if (getaddrinfo(name, port, &hints, &found) || connect(fd, found->ai_addr, found->ai_addrlen))
        return 1;
    for (long i = 0; i < count; i++)
        if (send(fd, bytes, size, 0) < 0)
            return 1;
    /* The receiver must see one of these. */
    for (int i = 0; i < 20; i++) {
        usleep(50000);
        (void)!send(fd, "end", 3, 0);
    }
    return 0;
}

int main(int argc, char **argv) {
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET};
    if (fd >= 0 && argc == 3 && strcmp(argv[1], "receive") == 0) {
        address.sin_port = htons((unsigned short)atoi(argv[2]));
        return receive(fd, address);
    }
    if (fd < 0 || argc != 6 || strcmp(argv[1], "send") != 0)
        return 2;
    return flood(fd, argv[2], argv[3], atol(argv[4]), (size_t)atol(argv[5]));
}
