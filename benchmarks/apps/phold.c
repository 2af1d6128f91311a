/* PHOLD with programs: a message that comes is held for a random time, then sent on to a random member.
 *
 *   phold MEMBERS SELF SECONDS MEAN_US     MEMBERS: a file with "address port" of each member, one a line
 *
 * Each member starts with one message of its own, stops after SECONDS and prints how many it sent. */
#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#define MEMBERS_MAX 4096

static uint64_t state;

static uint64_t draw(void) { /* SplitMix64 */
    uint64_t z = state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

int main(int argc, char **argv) {
    static struct sockaddr_in members[MEMBERS_MAX];
    char address[64], message[64] = "phold";
    unsigned port, count = 0;
    if (argc != 5)
        return 2;
    FILE *file = fopen(argv[1], "r");
    while (file && count < MEMBERS_MAX && fscanf(file, "%63s %u", address, &port) == 2) {
        members[count] = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        inet_pton(AF_INET, address, &members[count++].sin_addr);
    }
    unsigned self = (unsigned)atoi(argv[2]);
    double seconds = atof(argv[3]), mean = atof(argv[4]) * 1e-6;
    if (self >= count)
        return 2;
    fclose(file);
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (bind(fd, (struct sockaddr *)&members[self], sizeof members[self]))
        return 1;
    struct timeval wait = {0, 100000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    state = self;
    long sent = 0;
    double end = now() + seconds;
    for (int first = 1; now() < end; first = 0) {
        if (!first && recv(fd, message, sizeof message, 0) < 0)
            continue;
        double hold = -mean * log(1 - (double)(draw() >> 11) * 0x1p-53);
        struct timespec time = {(time_t)hold, (long)((hold - (double)(time_t)hold) * 1e9)};
        nanosleep(&time, NULL);
        const struct sockaddr_in *to = &members[draw() % count];
        sent += sendto(fd, message, sizeof message, 0, (const struct sockaddr *)to, sizeof *to) > 0;
    }
    printf("%ld\n", sent);
    return 0;
}
