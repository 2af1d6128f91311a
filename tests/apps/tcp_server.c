/* Serves the transfers of tcp_client, one connection after the other, and checks what it receives. */
#include "transfer.h"

#include <arpa/inet.h>

static void serve(int fd, const struct transfer_options *options) {
    struct transfer transfer;
    uint8_t request[REQUEST_SIZE];
    uint64_t bytes;
    transfer_open(&transfer, fd, options);
    transfer_read_all(&transfer, request, sizeof request);
    memcpy(&bytes, request + 1, 8);
    bytes = be64toh(bytes);
    REQUIRE(request[0] == 'u' || request[0] == 'd');
    if (request[0] == 'u') {
        transfer_check_pattern(&transfer, bytes);
        transfer_write(&transfer, request + 1, 8);
    } else {
        transfer_send_pattern(&transfer, bytes);
    }
    transfer_close(&transfer);
    printf("served %s %llu bytes ok\n", request[0] == 'u' ? "up" : "down", (unsigned long long)bytes);
    fflush(stdout);
}

int main(int argc, char **argv) {
    struct transfer_options options;
    int last = argc > 1 ? transfer_parse(&options, argc, argv, 2) : 0;
    if (last == 0 || argc - last > 1) {
        usage("tcp_server PORT [--chunk N] [--epoll] [--congestion NAME] [CONNECTIONS]");
    }
    long connections = last < argc ? atol(argv[last]) : 1;
    int listener = inet_bound(argv[1], SOCK_STREAM);
    REQUIRE(listen(listener, 16) == 0);
    for (long i = 0; i < connections; i++) {
        int fd = accept(listener, NULL, NULL);
        REQUIRE(fd >= 0);
        serve(fd, &options);
    }
    close(listener);
    return 0;
}
