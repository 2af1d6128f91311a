/*
 * gossip-node: a gossipsub peer over plain UDP datagrams (docs/gossip-datagram.md). This file owns the
 * socket, the clock and the signals and turns them into calls of node.c. Exit codes: 0 done, 2 wrong
 * arguments, 3 the system refused something.
 */
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "node.h"
#include "options.h"
#include "report.h"

/* How many datagrams are read before timers get their turn again. */
#define DATAGRAMS_PER_TURN 256

#define RECEIVE_BUFFER_BYTES (4 << 20)

static void fail(const char *what) {
    fprintf(stderr, "gossip-node: %s: %s\n", what, strerror(errno));
    exit(3);
}

static int checked(int result, const char *what) {
    if (result < 0) {
        fail(what);
    }
    return result;
}

static int64_t monotonic_ns(void) {
    struct timespec now;
    checked(clock_gettime(CLOCK_MONOTONIC, &now), "clock_gettime");
    return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

static int open_socket(struct endpoint listen_at) {
    int family = endpoint_is_ipv4(listen_at) ? AF_INET : AF_INET6;
    int fd = checked(socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");
    int buffer_bytes = RECEIVE_BUFFER_BYTES; /* the kernel gives what it allows */
    checked(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof buffer_bytes), "setsockopt(SO_RCVBUF)");
    if (family == AF_INET6) { /* both families, whatever the machine's default is */
        int no = 0;
        checked(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no), "setsockopt(IPV6_V6ONLY)");
    }
    struct sockaddr_storage name;
    socklen_t length = endpoint_name(listen_at, family, &name);
    checked(bind(fd, (const struct sockaddr *)&name, length), "bind");
    return fd;
}

static int open_signals(void) {
    sigset_t ending;
    sigemptyset(&ending);
    sigaddset(&ending, SIGTERM);
    sigaddset(&ending, SIGINT);
    checked(sigprocmask(SIG_BLOCK, &ending, NULL), "sigprocmask");
    return checked(signalfd(-1, &ending, SFD_NONBLOCK | SFD_CLOEXEC), "signalfd");
}

static void watch(int epoll, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
    checked(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

static void set_timer(int timer, int64_t at_ns) {
    struct itimerspec setting = {.it_value = {.tv_sec = at_ns / NS_PER_S, .tv_nsec = at_ns % NS_PER_S}};
    checked(timerfd_settime(timer, TFD_TIMER_ABSTIME, &setting, NULL), "timerfd_settime");
}

static void receive_datagrams(struct node *node) {
    /* One byte more than the largest datagram, so that a larger one has a wrong length even when cut off. */
    static uint8_t bytes[WIRE_MAX_DATAGRAM + 1];
    for (int i = 0; i < DATAGRAMS_PER_TURN; i++) {
        struct sockaddr_storage name;
        socklen_t name_length = sizeof name;
        ssize_t length = recvfrom(node->socket, bytes, sizeof bytes, 0, (struct sockaddr *)&name, &name_length);
        if (length < 0) {
            if (errno != EAGAIN && errno != EINTR) {
                fail("recvfrom");
            }
            return;
        }
        node_receive(node, bytes, (size_t)length, endpoint_of(&name), monotonic_ns());
    }
}

static void clear_timer(int timer) {
    uint64_t expirations;
    if (read(timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN) {
        fail("read from the timer");
    }
}

static void run(struct node *node, int timer, int signals, int64_t end_ns) {
    int epoll = checked(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
    watch(epoll, node->socket);
    watch(epoll, timer);
    watch(epoll, signals);
    bool ended = false;
    while (!ended) {
        int64_t next_ns = node_next_time(node);
        set_timer(timer, next_ns < end_ns ? next_ns : end_ns);
        struct epoll_event events[3];
        int ready = epoll_wait(epoll, events, 3, -1);
        if (ready < 0 && errno != EINTR) {
            fail("epoll_wait");
        }
        for (int i = 0; i < ready; i++) {
            if (events[i].data.fd == node->socket) {
                receive_datagrams(node);
            } else if (events[i].data.fd == timer) {
                clear_timer(timer);
            } else {
                ended = true;
            }
        }
        int64_t now_ns = monotonic_ns();
        node_advance(node, now_ns);
        ended = ended || now_ns >= end_ns;
    }
    close(epoll);
}

int main(int argument_count, char **arguments) {
    struct options options;
    options_parse(&options, argument_count, arguments);
    int signals = open_signals();
    int socket = open_socket(options.listen);
    int timer = checked(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC), "timerfd_create");

    int64_t start_ns = monotonic_ns();
    report_start(&options);
    struct node node;
    node_open(&node, &options, socket, start_ns);
    run(&node, timer, signals, options.run_for_ns > 0 ? start_ns + options.run_for_ns : INT64_MAX);
    node_close(&node);

    close(timer);
    close(socket);
    close(signals);
    options_free(&options);
    return 0;
}
