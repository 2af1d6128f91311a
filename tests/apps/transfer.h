/*
 * A checked transfer over a connected TCP socket, blocking or (non-blocking) with epoll, in chunks of any
 * size. The client's request is a direction, 'u' for up or 'd' for down, and the number of bytes
 * (big-endian).
 */
#ifndef TRANSFER_H
#define TRANSFER_H

#include "inet.h"

#include <endian.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>

#define REQUEST_SIZE 9

struct transfer_options {
    size_t chunk;
    int epoll;
    const char *congestion; /* NULL: the kernel's default */
};

struct transfer {
    int fd;
    int epoll; /* -1: blocking */
    uint8_t *chunk;
    size_t chunk_size;
};

/* Reads --chunk N, --epoll and --congestion NAME; returns the index of the first other argument, or 0 if one is wrong.
 */
__attribute__((unused)) static int transfer_parse(struct transfer_options *options, int argc, char **argv, int at) {
    *options = (struct transfer_options){.chunk = 16384};
    for (; at < argc; at++) {
        if (strcmp(argv[at], "--epoll") == 0) {
            options->epoll = 1;
        } else if (strcmp(argv[at], "--chunk") == 0 && at + 1 < argc && atol(argv[at + 1]) > 0) {
            options->chunk = (size_t)atol(argv[++at]);
        } else if (strcmp(argv[at], "--congestion") == 0 && at + 1 < argc) {
            options->congestion = argv[++at];
        } else {
            return strncmp(argv[at], "--", 2) == 0 ? 0 : at;
        }
    }
    return at;
}

static void transfer_open(struct transfer *transfer, int fd, const struct transfer_options *options) {
    *transfer = (struct transfer){.fd = fd, .epoll = -1, .chunk_size = options->chunk};
    transfer->chunk = malloc(options->chunk);
    REQUIRE(transfer->chunk != NULL);
    if (options->congestion) {
        socklen_t length = (socklen_t)strlen(options->congestion);
        REQUIRE(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, options->congestion, length) == 0);
    }
    if (options->epoll) {
        int flags = fcntl(fd, F_GETFL);
        REQUIRE(flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0);
        transfer->epoll = epoll_create1(EPOLL_CLOEXEC);
        REQUIRE(transfer->epoll >= 0);
        struct epoll_event event = {.events = 0};
        REQUIRE(epoll_ctl(transfer->epoll, EPOLL_CTL_ADD, fd, &event) == 0);
    }
}

static void transfer_close(struct transfer *transfer) {
    if (transfer->epoll >= 0) {
        close(transfer->epoll);
    }
    close(transfer->fd);
    free(transfer->chunk);
}

__attribute__((unused)) static void transfer_wait(struct transfer *transfer, uint32_t events) {
    struct epoll_event event = {.events = events};
    REQUIRE(epoll_ctl(transfer->epoll, EPOLL_CTL_MOD, transfer->fd, &event) == 0);
    REQUIRE(epoll_wait(transfer->epoll, &event, 1, -1) == 1);
}

static void transfer_write(struct transfer *transfer, const void *bytes, size_t length) {
    for (size_t done = 0; done < length;) {
        ssize_t written = send(transfer->fd, (const uint8_t *)bytes + done, length - done, MSG_NOSIGNAL);
        if (written < 0 && errno == EAGAIN && transfer->epoll >= 0) {
            transfer_wait(transfer, EPOLLOUT);
            continue;
        }
        REQUIRE(written > 0);
        done += (size_t)written;
    }
}

/* At least one byte, or 0 at the end of the stream. */
static size_t transfer_read(struct transfer *transfer, void *bytes, size_t length) {
    for (;;) {
        ssize_t got = recv(transfer->fd, bytes, length, 0);
        if (got < 0 && errno == EAGAIN && transfer->epoll >= 0) {
            transfer_wait(transfer, EPOLLIN);
            continue;
        }
        REQUIRE(got >= 0);
        return (size_t)got;
    }
}

__attribute__((unused)) static void transfer_read_all(struct transfer *transfer, void *bytes, size_t length) {
    for (size_t done = 0; done < length;) {
        size_t got = transfer_read(transfer, (uint8_t *)bytes + done, length - done);
        REQUIRE(got > 0);
        done += got;
    }
}

__attribute__((unused)) static void transfer_send_pattern(struct transfer *transfer, uint64_t bytes) {
    for (uint64_t at = 0; at < bytes;) {
        size_t part = bytes - at < transfer->chunk_size ? (size_t)(bytes - at) : transfer->chunk_size;
        for (size_t i = 0; i < part; i++) {
            transfer->chunk[i] = pattern(at + i);
        }
        transfer_write(transfer, transfer->chunk, part);
        at += part;
    }
}

/* Reads to the end of the stream, which must be after `bytes` bytes, each as it must be. */
__attribute__((unused)) static void transfer_check_pattern(struct transfer *transfer, uint64_t bytes) {
    uint64_t at = 0;
    for (size_t got; (got = transfer_read(transfer, transfer->chunk, transfer->chunk_size)) > 0; at += got) {
        REQUIRE(at + got <= bytes);
        for (size_t i = 0; i < got; i++) {
            REQUIRE(transfer->chunk[i] == pattern(at + i));
        }
    }
    REQUIRE(at == bytes);
}

#endif
