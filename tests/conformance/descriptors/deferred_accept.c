/* TCP_DEFER_ACCEPT: how it counts, whom it keeps waiting, and until when. */
#include "inet.h"

static void counting(void) {
    section("seconds become retransmissions");
    static const int seconds[] = {-1, 0, 1, 2, 3, 4, 7, 8, 30, 60, 100, 1000, 100000};
    int fd = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        int result = set_option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, seconds[i]);
        printf("%d: %d, then %d\n", seconds[i], result, option_of(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT));
    }
    close(fd);
}

static int deferring_listener(int seconds) {
    int fd = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(set_option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, seconds));
    MUST(bind_to(fd, loopback(0)));
    MUST(listen(fd, 8));
    return fd;
}

static int connected_to(int listening) {
    int fd = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(connect_to(fd, name_of(listening)));
    return fd;
}

static void until_data(void) {
    section("until data come");
    int listening = deferring_listener(5), fd = connected_to(listening);
    pause_ms(100);
    put_poll("connected", listening);
    put_poll("the client", fd);
    FACT("send", send(fd, "hello", 5, 0));
    await(listening, POLLIN);
    put_poll("with data", listening);
    int accepted = FACT_FD("accept", accept(listening, NULL, NULL));
    char bytes[16];
    FACT("recv at once", recv(accepted, bytes, sizeof bytes, MSG_DONTWAIT));
    FACT("the option of what was accepted", option_of(accepted, IPPROTO_TCP, TCP_DEFER_ACCEPT));
    close(accepted);
    close(fd);
    close(listening);
}

static void until_the_end(void) {
    section("until the peer has ended");
    int listening = deferring_listener(5), fd = connected_to(listening);
    pause_ms(100);
    put_poll("connected", listening);
    FACT("shutdown", shutdown(fd, SHUT_WR));
    await(listening, POLLIN);
    int accepted = FACT_FD("accept", accept(listening, NULL, NULL));
    char bytes[16];
    FACT("recv", recv(accepted, bytes, sizeof bytes, 0));
    close(accepted);
    close(fd);
    close(listening);
}

static int64_t milliseconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void until_time_is_up(int seconds) {
    int64_t begin = milliseconds();
    int listening = deferring_listener(seconds), fd = connected_to(listening);
    await(listening, POLLIN);
    int64_t waited = milliseconds() - begin;
    printf("%d s: %s\n", seconds, waited < 700 ? "soon" : waited < 2000 ? "after 1 s" : "after 3 s");
    int accepted = FACT_FD("accept", accept(listening, NULL, NULL));
    FACT("send", send(accepted, "hello", 5, 0));
    char bytes[16];
    FACT("recv", recv(fd, bytes, sizeof bytes, 0));
    close(accepted);
    close(fd);
    close(listening);
}

/* One who connects, and waits for data, sends no ACK without any: the other side learns later that it is connected. */
static void connecting(void) {
    section("of the one that connects");
    int listening = listener(8), fd = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(set_option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 3));
    MUST(connect_to(fd, name_of(listening)));
    pause_ms(50);
    put_poll("after 50 ms", listening);
    pause_ms(250);
    put_poll("after 300 ms", listening);
    close(fd);
    fd = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    close((int)MUST(accept(listening, NULL, NULL)));
    MUST(set_option(fd, IPPROTO_TCP, TCP_QUICKACK, 0));
    MUST(connect_to(fd, name_of(listening)));
    pause_ms(50);
    put_poll("without quick ACKs", listening);
    FACT("send", send(fd, "hello", 5, 0));
    await(listening, POLLIN);
    put_poll("with data", listening);
    close(fd);
    close(listening);
}

int main(void) {
    begin();
    counting();
    until_data();
    until_the_end();
    section("until time is up");
    until_time_is_up(0);
    until_time_is_up(1);
    until_time_is_up(2);
    connecting();
    return 0;
}
