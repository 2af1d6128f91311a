/* Packet sockets that divide what they hear among themselves (PACKET_FANOUT). */
#define _GNU_SOURCE
#include "own_network.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/udp.h>

#define MEMBERS 3
#define IGNORE_OUTGOING 0x4000 /* PACKET_FANOUT_FLAG_IGNORE_OUTGOING; not in older headers */

static int members[MEMBERS], listeners[2];

static int open_on(const char *interface, int protocol) {
    int fd = (int)MUST(socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0));
    struct sockaddr_ll name = {.sll_family = AF_PACKET,
                               .sll_protocol = htons((uint16_t)protocol),
                               .sll_ifindex = (int)if_nametoindex(interface)};
    MUST(bind(fd, (struct sockaddr *)&name, sizeof name));
    return fd;
}

static int join(int fd, int id, int how) {
    int value = id | how << 16;
    return setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &value, sizeof value);
}

static void put_group(const char *what, int fd) {
    unsigned value = 77;
    socklen_t length = sizeof value;
    FACT(what, getsockopt(fd, SOL_PACKET, PACKET_FANOUT, &value, &length));
    printf("  %#x, %u bytes\n", value, length);
}

static void open_members(int protocol, int how) {
    for (int i = 0; i < MEMBERS; i++) {
        members[i] = open_on("lo", protocol);
        FACT("join", join(members[i], 7, how));
    }
}

static void close_members(void) {
    for (int i = 0; i < MEMBERS; i++)
        close(members[i]);
}

/* The frames that a member heard: their data, and whether they were going out. */
static int put_heard(const char *what, int fd) {
    char bytes[256];
    int count = 0;
    struct sockaddr_ll name;
    socklen_t length = sizeof name;
    printf("%s:", what);
    for (ssize_t got; (got = recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&name, &length)) > 0; count++)
        printf(" %.*s%s", (int)got - 42, bytes + 42, name.sll_pkttype == PACKET_OUTGOING ? " out" : "");
    printf("\n");
    return count;
}

static void put_all_heard(void) {
    for (int i = 0; i < MEMBERS; i++)
        put_heard("  heard", members[i]);
}

static void say(int from, int to, const char *text) {
    struct sockaddr_in name;
    socklen_t length = sizeof name;
    MUST(getsockname(listeners[to], (struct sockaddr *)&name, &length));
    MUST(sendto(listeners[from], text, strlen(text), 0, (struct sockaddr *)&name, length));
}

static void say_some(void) {
    for (char text[2] = "a"; *text <= 'g'; ++*text)
        say(0, 1, text);
}

static void refused(void) {
    section("refused");
    int one = open_on("lo", ETH_P_IP), two = open_on("lo", ETH_P_IP);
    long both = PACKET_FANOUT_LB << 16;
    put_group("at first", one);
    FACT("too short", setsockopt(one, SOL_PACKET, PACKET_FANOUT, &both, 2));
    FACT("too long", setsockopt(one, SOL_PACKET, PACKET_FANOUT, &both, 7));
    FACT("unknown", join(one, 1, 99));
    FACT("data of no group", setsockopt(one, SOL_PACKET, PACKET_FANOUT_DATA, &both, sizeof both));
    FACT("join", join(one, 1, PACKET_FANOUT_LB));
    put_group("then", one);
    FACT("twice", join(one, 1, PACKET_FANOUT_LB));
    FACT("data of another kind", setsockopt(one, SOL_PACKET, PACKET_FANOUT_DATA, &both, sizeof both));
    FACT("another kind", join(two, 1, PACKET_FANOUT_HASH));
    FACT("with another flag", join(two, 1, PACKET_FANOUT_LB | IGNORE_OUTGOING));
    struct sockaddr_ll name = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = 1};
    FACT("bound to another", bind(one, (struct sockaddr *)&name, sizeof name));
    int other = open_on("lo", ETH_P_ALL);
    FACT("of another protocol", join(other, 1, PACKET_FANOUT_LB));
    close(other);
    FACT("join", join(two, 1, PACKET_FANOUT_LB));
    close(one);
    close(two);
    one = open_on("lo", ETH_P_IP);
    FACT("when all have left", join(one, 1, PACKET_FANOUT_HASH));
    close(one);

    section("how many");
    struct {
        unsigned id_and_how, most;
    } wanted = {3 | PACKET_FANOUT_LB << 16, 1 << 17};
    one = open_on("lo", ETH_P_IP), two = open_on("lo", ETH_P_IP);
    FACT("too many", setsockopt(one, SOL_PACKET, PACKET_FANOUT, &wanted, sizeof wanted));
    wanted.most = 1;
    FACT("one", setsockopt(one, SOL_PACKET, PACKET_FANOUT, &wanted, sizeof wanted));
    wanted.most = 2;
    FACT("another number", setsockopt(two, SOL_PACKET, PACKET_FANOUT, &wanted, sizeof wanted));
    FACT("one too many", join(two, 3, PACKET_FANOUT_LB));
    close(one);

    section("numbers of their own");
    int three = open_on("lo", ETH_P_IP);
    FACT("with a number", join(three, 5, PACKET_FANOUT_LB | PACKET_FANOUT_FLAG_UNIQUEID));
    FACT("without", join(three, 0, PACKET_FANOUT_LB | PACKET_FANOUT_FLAG_UNIQUEID));
    FACT("another", join(two, 0, PACKET_FANOUT_LB | PACKET_FANOUT_FLAG_UNIQUEID));
    unsigned value[2] = {0};
    socklen_t length = sizeof value[0];
    MUST(getsockopt(two, SOL_PACKET, PACKET_FANOUT, &value[0], &length));
    MUST(getsockopt(three, SOL_PACKET, PACKET_FANOUT, &value[1], &length));
    printf("%d %#x %#x\n", value[0] != value[1], value[0] >> 16, value[1] >> 16);
    close(two);
    close(three);
}

static void in_turn(void) {
    section("in turn");
    open_members(ETH_P_IP, PACKET_FANOUT_LB);
    int alone = open_on("lo", ETH_P_IP);
    say_some();
    put_heard("alone", alone);
    put_all_heard();
    section("when one leaves");
    close(members[0]);
    members[0] = open_on("lo", ETH_P_IP);
    say_some();
    put_all_heard();
    close(alone);
    close_members();

    section("in turn, with what goes out");
    open_members(ETH_P_ALL, PACKET_FANOUT_LB);
    say_some();
    put_all_heard();
    close_members();
    section("in turn, without what goes out");
    open_members(ETH_P_ALL, PACKET_FANOUT_LB | IGNORE_OUTGOING);
    put_group("member", members[2]);
    say_some();
    put_all_heard();
    close_members();
    section("one of them ignores what goes out");
    int on = 1;
    for (int i = 0; i < MEMBERS; i++) {
        members[i] = open_on("lo", ETH_P_ALL);
        if (i == 1)
            MUST(setsockopt(members[i], SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof on));
        FACT("join", join(members[i], 7, PACKET_FANOUT_LB));
    }
    say_some();
    put_all_heard();
    close_members();
}

static void by_processor(void) {
    section("by processor");
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    MUST(sched_setaffinity(0, sizeof first, &first));
    open_members(ETH_P_IP, PACKET_FANOUT_CPU);
    say_some();
    put_all_heard();
    close_members();
    section("by queue");
    open_members(ETH_P_IP, PACKET_FANOUT_QM);
    say_some();
    put_all_heard();
    close_members();
}

/* Which of them depends on the machine. */
static void by_flow(void) {
    section("by flow");
    open_members(ETH_P_IP, PACKET_FANOUT_HASH);
    for (int i = 0; i < 5; i++) {
        say(0, 1, "there");
        say(1, 0, "back");
    }
    int heard = 0, total = 0;
    for (int i = 0; i < MEMBERS; i++) {
        char bytes[256];
        int count = 0;
        while (recv(members[i], bytes, sizeof bytes, 0) > 0)
            count++;
        heard += count > 0;
        total += count;
    }
    printf("%d, all by %d\n", total, heard);
    close_members();
}

static void of_members(void) {
    section("sent by a member");
    open_members(ETH_P_ALL, PACKET_FANOUT_LB);
    int alone = open_on("lo", ETH_P_ALL);
    struct {
        struct ether_header link;
        struct iphdr ip;
        struct udphdr udp;
        char text;
    } __attribute__((packed)) frame = {
        .link.ether_type = htons(ETH_P_IP),
        .ip = {.version = 4, .ihl = 5, .ttl = 9, .protocol = IPPROTO_UDP, .tot_len = htons(29)},
        .udp = {.source = htons(1), .dest = htons(2), .len = htons(9)},
        .text = 'm'};
    frame.ip.saddr = frame.ip.daddr = htonl(INADDR_LOOPBACK);
    uint32_t sum = 0;
    for (size_t i = 0; i < 10; i++)
        sum += ((const uint16_t *)(const void *)((const char *)&frame + sizeof frame.link))[i];
    frame.ip.check = (uint16_t)~((sum & 0xffff) + (sum >> 16));
    FACT("send", send(members[1], &frame, sizeof frame, 0));
    put_all_heard();
    char bytes[200];
    int count = 0;
    while (recv(alone, bytes, sizeof bytes, 0) > 0)
        count++;
    printf("another: more than one: %d\n", count > 1);
    close(alone);
    close_members();
}

int main(void) {
    begin();
    own_network();
    for (int i = 0; i < 2; i++) {
        listeners[i] = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
        struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        MUST(bind(listeners[i], (struct sockaddr *)&name, sizeof name));
    }
    refused();
    in_turn();
    by_processor();
    by_flow();
    of_members();
    return 0;
}
