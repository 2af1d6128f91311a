/* Transfers bytes of a known pattern to ("up") or from ("down") tcp_server and checks them. */
#include "transfer.h"

static int connect_to(struct sockaddr_in server, struct transfer *transfer, const struct transfer_options *options) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    REQUIRE(fd >= 0);
    transfer_open(transfer, fd, options);
    int result = connect(fd, (struct sockaddr *)&server, sizeof server);
    if (result < 0 && errno == EINPROGRESS && options->epoll) {
        transfer_wait(transfer, EPOLLOUT);
        int error;
        socklen_t length = sizeof error;
        REQUIRE(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0);
        errno = error;
        result = error == 0 ? 0 : -1;
    }
    return result;
}

int main(int argc, char **argv) {
    struct transfer_options options;
    int direction = argc > 4 ? argv[3][0] : 0;
    if ((direction != 'u' && direction != 'd') || transfer_parse(&options, argc, argv, 5) != argc) {
        usage("tcp_client HOST PORT up|down BYTES [--chunk N] [--epoll] [--congestion NAME]");
    }
    uint64_t bytes = strtoull(argv[4], NULL, 10);
    struct sockaddr_in server = inet_resolve(argv[1], argv[2], SOCK_STREAM);
    struct transfer transfer;
    int64_t start = clock_ns(CLOCK_MONOTONIC);
    REQUIRE(connect_to(server, &transfer, &options) == 0);
    int64_t connected = clock_ns(CLOCK_MONOTONIC);

    uint8_t request[REQUEST_SIZE] = {(uint8_t)direction};
    uint64_t wire_bytes = htobe64(bytes);
    memcpy(request + 1, &wire_bytes, 8);
    transfer_write(&transfer, request, sizeof request);
    if (direction == 'u') {
        uint8_t reply[8];
        transfer_send_pattern(&transfer, bytes);
        REQUIRE(shutdown(transfer.fd, SHUT_WR) == 0);
        transfer_read_all(&transfer, reply, sizeof reply);
        REQUIRE(memcmp(reply, &wire_bytes, 8) == 0);
        REQUIRE(transfer_read(&transfer, reply, 1) == 0);
    } else {
        transfer_check_pattern(&transfer, bytes);
    }
    int64_t end = clock_ns(CLOCK_MONOTONIC);
    transfer_close(&transfer);
    printf("%s bytes %llu ok 1 connect_ns %lld elapsed_ns %lld\n", direction == 'u' ? "up" : "down",
           (unsigned long long)bytes, (long long)(connected - start), (long long)(end - start));
    return 0;
}
